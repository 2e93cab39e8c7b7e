"""What disagrees about accounts, and what is done about it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.agreement import compare, digests
from controller.agreement.compare import Placed, Suspicion, Told
from controller.dns.compare import Difference

TABLE = {f"a{number}": f"cluster=c{number % 3};status=active" for number in range(2_000)}
WHOLE = digests.of(TABLE.items())


def told(**more: Any) -> Told:
    plain = Told("edge1", "edge", "account", 7, False, WHOLE, WHOLE, ())
    return plain._replace(**more)


def test_what_is_the_same_is_no_suspicion_whatever_its_order() -> None:
    assert compare.suspicions([told(found=digests.of(reversed(TABLE.items())))]) == ([], [])


@given(
    st.dictionaries(
        st.sampled_from(list(TABLE)), st.sampled_from([None, "cluster=c9;status=active"]), min_size=1
    )
)
def test_the_buckets_of_what_differs_are_suspected_and_no_others(edits: dict[str, str | None]) -> None:
    held = {key: value for key, value in {**TABLE, **edits}.items() if value is not None}
    found, missing = compare.suspicions([told(found=digests.of(held.items()))])
    assert missing == []
    assert [set(one.buckets) for one in found] == [{digests.bucket(key) for key in edits}]


def test_what_was_published_since_is_passed_over() -> None:
    held = digests.of((TABLE | {"a1": "cluster=c9;status=active"}).items())
    assert compare.suspicions([told(found=held, passed=[digests.bucket("a1")])]) == ([], [])


def test_a_node_that_told_nothing_is_one_finding_and_a_silent_one_none() -> None:
    tables = [told(table=table, found=None) for table in digests.TABLES["edge"]]
    _, missing = compare.suspicions(tables)
    assert [(one.account, one.where, one.found) for one in missing] == [(None, "edge1", None)]
    assert compare.suspicions([one._replace(silent=True) for one in tables]) == ([], [])


def test_keys_that_differ_name_their_accounts() -> None:
    suspicion = Suspicion("edge1", "edge", "account", (3,))
    expected = {"acme": "cluster=c1", "gone": "cluster=c1", "same": "cluster=c2"}
    found = {"acme": "cluster=c2", "same": "cluster=c2", "gone": None, "extra": "cluster=c1"}
    rows = [
        (one.account, one.what, one.expected, one.found) for one in compare.keys(suspicion, expected, found)
    ]
    assert rows == [
        ("acme", "account acme", "cluster=c1", "cluster=c2"),
        ("extra", "account extra", None, "cluster=c1"),
        ("gone", "account gone", "cluster=c1", None),
    ]
    held = Suspicion("media1", "media", "dialplan", (3,))
    [one] = compare.keys(held, {"account-acme/:account": "Return(DE)"}, {"account-acme/:account": None})
    assert (one.account, one.what, one.where) == ("acme", "account on the node", "media1")


def test_a_table_that_is_all_wrong_is_named_in_part() -> None:
    rows = list(compare.keys(Suspicion("edge1", "edge", "account", (3,)), TABLE, {}))
    assert len(rows) == compare.MOST_KEYS + 1
    assert rows[-1].found == f"{len(TABLE) - compare.MOST_KEYS} keys more"


@pytest.mark.parametrize(
    ("pending", "held", "done"),
    [(True, False, compare.APPLY), (True, True, compare.HELD), (False, False, compare.APPLY_ALL)],
)
def test_rows_that_are_ahead_say_what_to_do(pending: bool, held: bool, done: str) -> None:
    [one] = compare.placed([Placed("acme", "place", "cluster=c2", "cluster=c1", pending, held)])
    assert (one.where, one.done) == ("published", done)


def test_a_name_belongs_to_an_account() -> None:
    accounts = {"acme.dialplane.internal.": "acme", "acme.phones.dialplane.internal.": "acme"}
    names = (
        "_sip._tcp.voice.acme.dialplane.internal.",
        "_sip._udp.acme.phones.dialplane.internal.",
        "media1.c1.nodes.x.",
    )
    found = compare.named([Difference("10.0.0.51", name, "SRV", "a", "b") for name in names], accounts)
    assert [one.account for one in found] == ["acme", "acme", None]


def test_a_sentence_sums_up() -> None:
    assert "agree about every account" in compare.summed([])
    rows = list(compare.keys(Suspicion("edge1", "edge", "account", (3,)), {"acme": "cluster=c1"}, {}))
    assert compare.summed(rows).startswith(
        "1 disagree; account acme: account acme at edge1: expected cluster=c1, found"
    )
