"""Queue `one` of the company as a test wants it, what is known of its members, and who rang when.

The AGI server runs for a whole module: what it holds of the account is written anew by each test.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace

from controller.compiler.policy import account_entries
from controller.desired.model import Device, QueueMember, User
from tests.media.node import MediaNode
from tests.media.peer import Edge, Leg
from tests.media.queues import NUMBER, PHONES, WAITING, queue_of
from tests.media.resident import Resident, awaited
from tests.media.sip import Sip

# A caller whom nobody took is looked at again once a second; the rest is for a machine that is busy.
TICK_S, SLACK_S = 1.0, 1.5
AT_ONCE_S = 0.4
_TABLES = ("queue_callers", "queue_member_stats", "queue_events", "registrations", "registrars", "node_state",
           "call_records")  # fmt: skip


class Floor:
    """Everybody who has to do with the queue."""

    def __init__(self, edge: Edge, served: Resident, media: MediaNode) -> None:
        self.edge, self.served, self.media = edge, served, media
        awaited(
            lambda: not self.rows("SELECT FROM control.queue_callers WHERE state <> 'gone'"),
            "callers of the test before are still there",
        )
        for table in _TABLES:
            self.rows(f"DELETE FROM control.{table}")

    # -------------------------------------------------------------------------------------------------- the rows

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        return self.served.rows(query, *values)

    def queue(self, *members: str | QueueMember, **changes: object) -> None:
        """The queue from now on."""
        held = replace(WAITING, queues=(queue_of("one", *members, **changes),))
        self.served.hold({one.address.key: one.value for one in account_entries(held)})

    def crowd(self, *members: QueueMember, **changes: object) -> None:
        """These members instead of the company, each with a phone of the same name."""
        names = [one.user for one in members]
        held = replace(
            WAITING,
            users=tuple(User(one, one.title(), None, None, "national", True) for one in names),
            devices=tuple(Device(one, "wait.example", one, "", "", None, None, True) for one in names),
            extensions=(), groups=(), numbers=(), queues=(queue_of("one", *members, **changes),),
        )  # fmt: skip
        self.served.hold({one.address.key: one.value for one in account_entries(held)})

    def history(self, member: str, *, rang: str, talked: str, calls: int) -> None:
        """When a member rang and talked last, as intervals before now, and calls it took today."""
        self.rows(
            "INSERT INTO control.queue_member_stats"
            " (account, queue, member, last_offer_at, last_call_at, day, calls_today)"
            " VALUES ('wait-1', 'one', %s, clock_timestamp() - %s::interval, clock_timestamp() - %s::interval,"
            " (clock_timestamp() AT TIME ZONE 'UTC')::date, %s)",
            member, rang, talked, calls,
        )  # fmt: skip

    def rests(self, member: str, seconds: float = 3600) -> None:
        """A member wraps up for so long, from now; 0: no more."""
        self.rows(
            "INSERT INTO control.queue_member_stats AS s (account, queue, member, wrap_until)"
            " VALUES ('wait-1', 'one', %s, clock_timestamp() + make_interval(secs => %s))"
            " ON CONFLICT (account, member, queue) DO UPDATE SET wrap_until = excluded.wrap_until",
            member, seconds,
        )  # fmt: skip

    def registered(self, aors: Iterable[str], contacts: int = 1) -> None:
        """What the one edge tells, which has compared: a device without a row is registered nowhere."""
        self.rows(
            "INSERT INTO control.node_state (node, kind, agent_started, heard_at)"
            " VALUES ('edge1', 'edge', clock_timestamp(), clock_timestamp() + interval '1 hour')"
            " ON CONFLICT DO NOTHING"
        )
        self.rows("INSERT INTO control.registrars VALUES ('edge1', clock_timestamp()) ON CONFLICT DO NOTHING")
        self.rows(
            "INSERT INTO control.registrations (aor, edge, contacts, since)"
            " SELECT aor, 'edge1', %s, clock_timestamp() FROM unnest(%s::text[]) AS a (aor)"
            " ON CONFLICT (aor, edge) DO UPDATE SET contacts = excluded.contacts",
            contacts, list(aors),
        )  # fmt: skip

    def gone(self, member: str) -> None:
        """The row of its registration goes away."""
        self.rows("DELETE FROM control.registrations WHERE aor = %s", PHONES[member])

    # ------------------------------------------------------------------------------------------------- the calls

    def call(self, number: str = "+4930123") -> Leg:
        """From outside."""
        return self.edge.call(NUMBER, "wait-1", number, Trunk="carrier")

    def joins(self, number: str = "+4930123") -> Leg:
        """A call that has its place in the queue."""
        so_far = len(self.states())
        leg = self.call(number)
        awaited(lambda: len(self.states()) > so_far, "the caller does not wait")
        return leg

    def rang(self) -> list[str]:
        return [one.user for one in self.edge.invites]

    def rings(self, count: int, limit_s: float = 20.0) -> list[Sip]:
        """The first so many INVITEs of phones."""
        awaited(lambda: len(self.edge.invites) >= count, f"not {count} phones rang: {self.rang()}", limit_s)
        return self.edge.invites[:count]

    def states(self) -> list[str]:
        return [str(row[0]) for row in self.rows("SELECT state FROM control.queue_callers ORDER BY id")]

    def outcomes(self) -> list[str]:
        query = "SELECT outcome FROM control.queue_callers WHERE outcome IS NOT NULL ORDER BY id"
        return [str(row[0]) for row in self.rows(query)]

    def happened(self) -> list[str]:
        query = "SELECT concat_ws(' ', event, member) FROM control.queue_events ORDER BY id"
        return [str(row[0]) for row in self.rows(query)]

    def stopped(self, invite: Sip) -> float:
        """When a phone that rang was told to stop."""
        return leg_of(self.edge, invite).wait("CANCEL").at


def leg_of(edge: Edge, invite: Sip) -> Leg:
    """What a phone makes of an INVITE."""
    leg = awaited(lambda: edge.legs.get(invite.get("call-id")), "the phone does not ring")
    assert leg is not None
    return leg


def apart(invites: list[Sip]) -> list[float]:
    """Seconds between one and the next."""
    return [after.at - before.at for before, after in itertools.pairwise(invites)]


def between(seconds: float, least_s: float, most_s: float) -> bool:
    """Within these; on a busy machine what began is seen a moment later than what followed."""
    return least_s - 0.25 <= seconds <= most_s
