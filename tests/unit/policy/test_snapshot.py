"""Entries and flags as decisions see them; what cannot be read is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.errors import BadPolicy
from controller.policy.snapshot import Live, live, snapshot


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("user/alice", "{", "is no JSON"),
        ("user/alice", "[]", "is no JSON object"),
        ("user/alice", '{"devices":"a"}', "devices is no list"),
        ("user/alice", '{"devices":[1]}', "devices is no list of texts"),
        ("user/alice", '{"ring_s":"20"}', "ring_s is no int"),
        ("user/alice", '{"ring_s":true}', "ring_s is no int"),
        ("user/alice", '{"forward":[{"when":"sometimes","step":"busy"}]}', "forward: when is 'sometimes'"),
        ("group/sales", '{"strategy":"loud"}', "strategy is 'loud'"),
        ("group/sales", '{"members":[{}]}', "members: a member is exactly one of"),
        ("group/sales", '{"members":[{"user":"a","number":"+49301234"}]}', "exactly one of"),
        ("schedule/s", '{"zone":"Mars/Base"}', "zone is no time zone"),
        ("schedule/s", '{"zone":"../../etc/passwd"}', "zone is no time zone"),
        ("schedule/s", '{"times":[{"days":["monday"]}]}', "days are monday"),
        ("schedule/s", '{"times":[{"days":["mon"],"from":"9"}]}', "from is no time"),
        ("schedule/s", '{"times":[{"days":["mon"],"to":"24:01"}]}', "to is later than 24:00"),
        ("schedule/s", '{"times":[{"days":["mon"],"from_date":"2026-02-30"}]}', "from_date is no date"),
        ("schedule/s", '{"days":[{"open":true}]}', "needs a day"),
        ("schedule/s", '{"days":[{"day":"2026-12-25","from":"09:00"}]}', "both from and to"),
        ("policy/p", '{"rules":[{"do":{"action":"dance","target":"q"}}]}', "rules: action is 'dance'"),
        ("policy/p", '{"rules":[{"if":{"header":["X-A"]}}]}', "header is not a name and a value"),
        ("policy/p", '{"rules":[{"if":{"presence":"registered"}}]}', "those of a user"),
        ("policy/p", '{"rules":[{"if":[]}]}', "rules: if is no dict"),
    ],
)
def test_what_cannot_be_read_is_named(key: str, value: str, why: str) -> None:
    with pytest.raises(BadPolicy) as caught:
        snapshot("acme", {f"acme/{key}": value}, Live())
    assert str(caught.value).startswith(f"entry policy acme/{key}")
    assert why in str(caught.value)


def test_other_accounts_and_kinds_are_passed_over() -> None:
    entries = {"acme2/group/sales": "{", "acme/menu/main": "{", "other": "{", "acme/group/sales": "{}"}
    found = snapshot("acme", entries, Live())
    assert list(found.groups) == ["sales"]
    assert (found.account.name, str(found.account.zone)) == ("acme", "UTC")


def test_defaults_are_those_of_the_columns() -> None:
    found = snapshot(
        "acme", {"acme/group/sales": '{"members":[{"user":"bob"}]}', "acme/user/bob": "{}"}, Live()
    )
    group, bob = found.groups["sales"], found.users["bob"]
    assert (group.strategy, group.ring_s, group.step_s) == ("all", 25, 15)
    assert (group.on_busy, group.on_no_answer, group.on_nobody) == ("busy", "hangup", "hangup")
    assert (group.members[0].weight, group.members[0].delay_s, group.members[0].open) == (10, 0, True)
    assert (bob.ring_s, bob.on_busy, bob.on_no_answer, bob.on_unregistered) == (
        25,
        "busy",
        "hangup",
        "hangup",
    )


def test_flags_of_the_account_alone() -> None:
    flags = {
        "dnd/acme/alice": "1",
        "dnd/acme/bob": "0",
        "dnd/globex/carol": "1",
        "away/acme/sales/+491709999": "1",
        "away/acme/sales/desk1@acme.example": "1",
        "override/acme/office": "closed",
        "override/globex/office": "nonsense",
        "mwi/acme/101": "1",
    }
    found = live("acme", flags, {"a@b": 1}, ringing=["sales"])
    assert found.dnd == {"alice"}
    assert found.away == {("sales", "+491709999"), ("sales", "desk1@acme.example")}
    assert {name: one.open for name, one in found.overrides.items()} == {"office": False}
    assert found.registered == {"a@b": 1}
    assert found.ringing == {"sales"}
    assert live("acme", {}).registered is None
    assert replace(snapshot("acme", {}, Live()), live=found).live is found
