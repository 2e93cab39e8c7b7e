"""A supervisor whose call comes to another node than the talk of the queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.database.conftest import new_database, postgresql  # noqa: F401 - fixtures
from tests.edge.message import Message
from tests.edge.phone import Endpoint, Leg
from tests.media.heard import hears
from tests.media.peer import Audio
from tests.media.queues import WAITING
from tests.media.resident import Resident, awaited, residing
from tests.media.site import SIP_PORT, Site, standing

DOMAIN = "wait.example"
LIMIT_S = 30.0


@pytest.fixture(scope="module")
def site(asterisk_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with standing(asterisk_image, tmp_path_factory.mktemp("edge"), WAITING) as site:
        yield site


@pytest.fixture(scope="module")
def served(site: Site, new_database: Callable[..., str]) -> Iterator[Resident]:  # noqa: F811
    """Only the first node has an AGI server: who listens needs none."""
    with residing(site.nodes["media1"], WAITING, new_database()) as server:
        yield server


class Phone:
    """A telephone that is registered, with ear and mouth."""

    def __init__(self, site: Site, name: str, port: int) -> None:
        address = site.edge.address
        self.line = Endpoint(name, DOMAIN, address, (address, SIP_PORT), port=port)
        self.audio = Audio(address)
        self.line.register()

    def calls(self, extension: str) -> Leg:
        """Until it is answered."""
        invite = self.line.invite(f"sip:{extension}@{DOMAIN}", sdp=self.audio.sdp())
        answer = self.line.final(invite, LIMIT_S)
        assert answer.status == 200, answer.start
        self.audio.talk_to(answer.body)
        return self.line.established(invite, answer)

    def answers(self) -> Message:
        invite = self.line.expect("INVITE", LIMIT_S)
        sdp = (("Content-Type", "application/sdp"),)
        self.line.answer(invite, 200, "OK", headers=sdp, body=self.audio.sdp())
        self.audio.talk_to(invite.body)
        self.line.expect("ACK", LIMIT_S)
        return invite

    def close(self) -> None:
        self.audio.close()
        self.line.close()


@pytest.fixture
def phones(site: Site) -> Iterator[list[Phone]]:
    """Of mia, ned, oda and pam."""
    made = [Phone(site, f"w{number}", 5090 + number) for number in range(1, 5)]
    yield made
    for phone in made:
        phone.close()


def test_a_supervisor_listens_whispers_and_speaks_across_nodes(
    site: Site, served: Resident, phones: list[Phone]
) -> None:
    member, _, caller, supervisor = phones
    site.lead("media1")
    talk = caller.calls("700")
    member.answers()
    states = "SELECT node, state FROM control.queue_callers"
    awaited(lambda: served.rows(states) == [("media1", "talking")], "nobody talks")
    assert hears(member.audio)
    caller.audio.mute = member.audio.mute = True

    site.lead("media2")
    listens = supervisor.calls("709")
    awaited(lambda: site.told("dp.supervise one") == {"media1", "media2"}, "it is not led on")
    assert not hears(member.audio, 1.5), "the supervisor only listens"
    caller.audio.mute = False
    assert hears(supervisor.audio)
    caller.audio.mute, member.audio.mute = True, False
    assert hears(supervisor.audio)
    member.audio.mute = True
    supervisor.audio.digits.put("5")
    assert hears(member.audio)
    assert not hears(caller.audio, 1.5), "whispered to the member alone"
    supervisor.audio.digits.put("6")
    assert hears(caller.audio)
    assert hears(member.audio)

    caller.line.within(talk, "BYE")
    member.line.answer(member.line.expect("BYE", LIMIT_S), 200)
    supervisor.line.expect("BYE", LIMIT_S)
    assert listens.call_id
    for node in site.nodes.values():
        awaited(lambda n=node: "0 active channels" in n.cli("core show channels count"), "it goes on")  # type: ignore[misc]
