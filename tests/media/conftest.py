"""One media node and one edge for all tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from controller.compiler import dialplan, dialplan_shared
from controller.compiler.policy import with_identities
from tests.database.conftest import new_database, postgresql  # noqa: F401 - fixtures
from tests.media import company
from tests.media.callbacks import CALLED
from tests.media.decided import DECIDED, Agi
from tests.media.features import FEATURES
from tests.media.floor import Floor
from tests.media.node import MediaNode, image
from tests.media.peer import Edge
from tests.media.queues import WAITING
from tests.media.recorded import RECORDED
from tests.media.resident import Resident, residing


@pytest.fixture(scope="session")
def asterisk_image() -> str:
    found = image()
    if found is None:
        pytest.skip(
            "no Docker image with Asterisk (dialplane-media or DIALPLANE_MEDIA_IMAGE; make stack builds it)"
        )
    return found


@pytest.fixture(scope="session")
def media(asterisk_image: str) -> Iterator[MediaNode]:
    node = MediaNode(asterisk_image)
    try:
        yield node
    finally:
        node.remove()


@pytest.fixture(scope="session")
def the_edge(media: MediaNode) -> Edge:
    """Starts the node with the company's entries, beside an edge at the network's gateway."""
    edge = Edge(media.gateway)
    system = company.system(media.gateway, edge.port)
    media.hold(
        {
            **dialplan_shared.shared_dialplan(system),
            **dialplan.account_dialplan(company.ACME, system),
            **dialplan.account_dialplan(company.SMALL, system),
            **dialplan.account_dialplan(with_identities(DECIDED), system),
            **dialplan.account_dialplan(FEATURES, system),
            **dialplan.account_dialplan(RECORDED, system),
            **dialplan.account_dialplan(WAITING, system),
            **dialplan.account_dialplan(CALLED, system),
        },
        {**dialplan.mailboxes(company.ACME), **dialplan.mailboxes(DECIDED)},
        dialplan_shared.media_files(system),
    )
    media.start()
    edge.asterisk = (media.address, 5060)
    return edge


@pytest.fixture
def edge(the_edge: Edge) -> Iterator[Edge]:
    yield the_edge
    for leg in list(the_edge.legs.values()):
        if leg.responses and not leg.requests and any(one.code == 200 for one in leg.responses):
            leg.bye()
        elif leg.responses and all(one.code < 200 for one in leg.responses):
            # Of a test that failed: its phones would ring on in the next one.
            the_edge.cancel(leg)
    the_edge.reset()


@pytest.fixture
def agi(media: MediaNode, edge: Edge) -> Iterator[Agi]:
    """Decides what the test says; where it is not used, nothing listens."""
    server = Agi(media)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def queue_database(new_database: Callable[..., str]) -> str:  # noqa: F811
    return new_database()


@pytest.fixture
def served(media: MediaNode, edge: Edge, queue_database: str) -> Iterator[Resident]:
    """The AGI server of the node, as it is installed, and a database in which nobody waits."""
    with residing(media, WAITING, queue_database) as server:
        for table in ("callers", "member_stats", "events"):
            server.rows(f"DELETE FROM control.queue_{table}")
        yield server


@pytest.fixture(scope="module")
def staffed(media: MediaNode, the_edge: Edge, new_database: Callable[..., str]) -> Iterator[Resident]:  # noqa: F811
    """The AGI server for all tests of a module, with a database of its own."""
    with residing(media, WAITING, new_database()) as server:
        yield server


@pytest.fixture
def floor(edge: Edge, staffed: Resident, media: MediaNode) -> Floor:
    """Queue `one`, in which nobody waits."""
    return Floor(edge, staffed, media)
