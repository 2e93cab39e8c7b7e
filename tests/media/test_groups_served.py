"""Groups from the call to the row: node, AGI server and database, as they are together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest

from controller.agi import store
from tests.database.conftest import new_database, postgresql  # noqa: F401 - fixtures
from tests.media.decided import DECIDED, SHARED
from tests.media.node import MediaNode
from tests.media.peer import Edge, Leg
from tests.media.served import serving
from tests.media.test_calls import decisions, until

CARL = {"Caller": "carl", "Device": "p4@decided.example"}
NOTICES = "SELECT outcome, member, caller, caller_user FROM control.group_notices ORDER BY id"


@pytest.fixture(scope="module")
def database(
    media: MediaNode,
    the_edge: Edge,
    new_database: Callable[[], str],  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[psycopg.Connection]:
    """The server decides for group hunt-1, which takes one call at a time and rings for half a minute."""
    groups = tuple(
        replace(one, one_call=True, ring_time_s=30, members=one.members[:2]) if one.name == "hunt-1" else one
        for one in DECIDED.groups
    )
    url = new_database()
    with pytest.MonkeyPatch.context() as patience, psycopg.connect(url, autocommit=True) as connection:
        patience.setattr(store, "DEADLINE_S", 5.0)  # a busy machine is no reason to fail
        with serving(media, replace(DECIDED, groups=groups), url, tmp_path_factory.mktemp("served")):
            yield connection


@pytest.fixture(autouse=True)
def clean(database: psycopg.Connection) -> None:
    database.execute("TRUNCATE control.group_calls, control.group_notices")


def rings(edge: Edge, phone: str, times: int) -> bool:
    return len([one for one in edge.invites if one.user == phone]) == times


def texted(edge: Edge, text: str) -> list[str]:
    """Phones that got this text; texts about a call before may still come."""
    return sorted(one.user for one in edge.others if one.method == "MESSAGE" and one.body == text)


def told(database: psycopg.Connection, *wanted: tuple[str | None, ...]) -> None:
    try:
        until(lambda: sorted(database.execute(NOTICES).fetchall(), key=str) == sorted(wanted, key=str))
    except AssertionError:
        raise AssertionError(f"{database.execute(NOTICES).fetchall()}, not {wanted}") from None


def test_of_two_callers_one_rings_and_the_next_when_it_is_over(
    edge: Edge, media: MediaNode, database: psycopg.Connection
) -> None:
    edge.answers = {"p1": "ring", "p2": "ring", "p3": "ring"}
    first = edge.call("620", "dec-1", **CARL)
    until(lambda: rings(edge, "p3", 1))
    second = edge.call(SHARED, "dec-1", "+4940123456", Trunk="second")
    assert second.wait("final").code == 486
    until(lambda: any("another call rings in group hunt-1" in one for one in decisions(media, second)))
    assert rings(edge, "p3", 1)
    edge.cancel(first)
    first.wait("487")
    told(
        database, ("missed", None, "+4940123456", None), ("missed", None, "103", "carl")
    )  # whose turn it was not, and who gave up
    edge.answers = {"p1": "ring", "p2": "ring", "p3": "answer"}
    third = edge.call(SHARED, "dec-1", "+4940123456", Trunk="second")
    third.wait("200")
    told(
        database,
        ("missed", None, "+4940123456", None),
        ("missed", None, "103", "carl"),
        ("answered", "ben", "+4940123456", None),
    )
    # Talking is not ringing.
    edge.answers = {"p1": "ring", "p2": "ring", "p3": "ring"}
    fourth = edge.call("620", "dec-1", **CARL)
    until(lambda: rings(edge, "p3", 3))
    third.hear(10)
    third.bye()
    edge.cancel(fourth)
    fourth.wait("487")
    until(lambda: "0 active channels" in media.cli("core show channels"))


def test_the_other_members_read_who_answered(edge: Edge, database: psycopg.Connection) -> None:
    edge.answers = {"p1": "ring", "p2": "ring", "p3": "answer"}
    leg: Leg = edge.call("620", "dec-1", **CARL)
    leg.wait("200")
    until(lambda: texted(edge, "hunt-1: Carl answered by Ben") == ["p1", "p2"])
    told(database, ("answered", "ben", "103", "carl"))
    leg.hear(10)
    leg.bye()


def test_a_call_that_nobody_took_is_told_once(
    edge: Edge, media: MediaNode, database: psycopg.Connection
) -> None:
    edge.answers = {"p1": "486", "p2": "486", "p3": "486"}
    leg = edge.call("620", "dec-1", **CARL)
    assert leg.wait("final").code == 486
    until(lambda: texted(edge, "hunt-1: missed call of Carl") == ["p1", "p2", "p3"])
    until(lambda: "0 active channels" in media.cli("core show channels"))
    told(database, ("missed", None, "103", "carl"))
    assert database.execute("SELECT count(*) FROM control.group_calls").fetchone() == (0,)
