"""Which targets a name has, in which order, and what is compared with what."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

from controller.dns import compare
from controller.dns.compare import Answer, Question
from controller.dns.names import (
    SERVICES,
    EdgeNode,
    MediaNode,
    Nodes,
    Place,
    Record,
    Settings,
    addresses,
    device,
    forwarding,
    nodes,
    of_account,
)

SETTINGS = Settings("dialplane.internal", "phones.example", (("ns1.example", None),), 5)


def place(cluster: str = "c1", overflow: str | None = "c2", account: str = "acme") -> Place:
    return Place(account, "g1", dict.fromkeys(SERVICES, (cluster, overflow)))


def media(name: str, cluster: str = "c1", weight: int = 10, **more: object) -> MediaNode:
    return MediaNode(name, cluster, "10.0.0.1", 5060, weight, **more)  # type: ignore[arg-type]


def data(known: Nodes, where: Place | None = None, **more: bool) -> list[str]:
    return [one.data for one in forwarding(where or place(), "voice", known, SETTINGS, **more)]


def test_the_cluster_comes_first_and_then_its_overflow() -> None:
    known = nodes([media("a", weight=5), media("b", weight=20), media("x", "c2"), media("y", "c3")], [])
    assert data(known) == [
        "10 20 5060 b.c1.nodes.dialplane.internal.",
        "10 5 5060 a.c1.nodes.dialplane.internal.",
        "20 10 5060 x.c2.nodes.dialplane.internal.",
    ]
    assert data(known, place(overflow=None))[-1].startswith("10 5 ")


def test_a_node_that_takes_no_calls_is_left_out_unless_no_other_takes_any() -> None:
    silent = "not heard of for 9 s"
    known = nodes([media("a", why=silent), media("b"), media("x", "c2", why=silent)], [])
    assert data(known) == [
        "10 10 5060 b.c1.nodes.dialplane.internal.",
        "20 10 5060 x.c2.nodes.dialplane.internal.",
    ]
    known = nodes([media("a", why=silent, share=Decimal(0)), media("b", why=silent)], [])
    assert sorted(data(known)) == [
        "10 10 5060 a.c1.nodes.dialplane.internal.",
        "10 10 5060 b.c1.nodes.dialplane.internal.",
    ]


def test_a_share_makes_a_weight_smaller_and_never_zero() -> None:
    known = nodes([media("a", share=Decimal("0.25")), media("b", share=Decimal("0.001"))], [])
    assert data(known) == [
        "10 3 5060 a.c1.nodes.dialplane.internal.",
        "10 1 5060 b.c1.nodes.dialplane.internal.",
    ]
    assert all(one.startswith("10 10 ") for one in data(known, live=False))


@pytest.mark.parametrize(
    ("own", "other", "shown"), [(12, 0, (8, 0)), (12, 1, (7, 1)), (12, 9, (6, 2)), (3, 9, (3, 5))]
)
def test_at_most_eight_targets_and_room_for_the_overflow(
    own: int, other: int, shown: tuple[int, int]
) -> None:
    known = nodes([*(media(f"a{n}") for n in range(own)), *(media(f"x{n}", "c2") for n in range(other))], [])
    found = Counter(one.split()[0] for one in data(known))
    assert (found["10"], found["20"]) == shown


def test_of_many_equal_nodes_every_one_gets_calls_of_some_accounts() -> None:
    known = nodes([media(f"n{number:02}") for number in range(20)], [])
    found = Counter(
        one.split()[3] for number in range(500) for one in data(known, place(account=f"account{number}"))
    )
    assert len(found) == 20
    assert min(found.values()) > 0.6 * 500 * 8 / 20


def test_phones_are_told_the_edges_of_their_group_and_tls_only_where_there_is_any() -> None:
    edges = [
        EdgeNode("e1", "g1", "198.51.100.1", 5060, 5061, 10),
        EdgeNode("e2", "g1", "2001:db8::2", 5070, None, 20),
        EdgeNode("e3", "g2", "198.51.100.3", 5060, None, 10),
    ]
    known = nodes([], edges)
    assert [one.data for one in device(place(), "_sip._udp", known, SETTINGS)] == [
        "10 20 5070 e2.edges.phones.example.",
        "10 10 5060 e1.edges.phones.example.",
    ]
    assert [one.data for one in device(place(), "_sips._tcp", known, SETTINGS)] == [
        "10 10 5061 e1.edges.phones.example."
    ]
    everywhere = Place("acme", None, {})
    assert len(device(everywhere, "_sip._tcp", known, SETTINGS)) == 3
    assert [str(one) for one in addresses(known, SETTINGS)][
        1
    ] == "e2.edges.phones.example. 5 IN AAAA 2001:db8::2"


def test_an_account_has_ten_names() -> None:
    names = [name for name, _ in of_account(place(), nodes([], []), SETTINGS)]
    assert len(names) == len(set(names)) == 10
    assert names[0] == "_sip._tcp.voice.acme.dialplane.internal."
    assert names[-1] == "_sips._tcp.acme.phones.example."


def record(data: str, ttl: int = 5) -> Record:
    return Record("n.", ttl, "SRV", data)


def test_an_answer_is_right_with_live_conditions_or_without() -> None:
    both = Question("n.", "SRV", (frozenset({record("a")}), frozenset({record("a"), record("b")})))
    assert compare.difference("s", both, Answer("NOERROR", (record("a"),))) is None
    assert compare.difference("s", both, Answer("NOERROR", (record("b"), record("a")))) is None
    found = compare.difference("s", both, Answer("NOERROR", (record("b"),)))
    assert found is not None
    assert (found.wanted, found.got) == ("a (TTL 5)", "b (TTL 5)")
    found = compare.difference("s", both, Answer("NOERROR", (record("a", 60),)))
    assert found is not None
    assert found.got == "a (TTL 60)"
    found = compare.difference("s", both, Answer("NXDOMAIN"))
    assert found is not None
    assert found.got == "NXDOMAIN"
    nothing = Question("n.", "SRV", (frozenset(),))
    assert compare.difference("s", nothing, Answer("NXDOMAIN")) is None
    found = compare.difference("s", nothing, Answer(problem="no answer"))
    assert found is not None
    assert (found.wanted, found.got) == ("no record", "no answer")


@pytest.mark.parametrize(
    ("serial", "rows", "by"), [(5, 7, 2), (7, 5, -2), (2**32 - 1, 1, 2), (1, 2**32 - 1, -2), (3, 3, 0)]
)
def test_serials_are_compared_around_the_end_of_32_bits(serial: int, rows: int, by: int) -> None:
    assert compare.behind(serial, rows) == by
