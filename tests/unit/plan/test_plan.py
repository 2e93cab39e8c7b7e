from __future__ import annotations

import json

import pytest

from controller.entries import Address, Change, Entry
from controller.errors import BadRows
from controller.plan import Plan, callers, difference, safety, show
from controller.plan.reasons import reason, redact
from controller.plan.summary import Summary


def planned(
    *changes: Change, base: int = 1, nodes: dict[str, tuple[str, frozenset[str]]] | None = None
) -> Plan:
    summary = Summary()
    summary.add(changes)
    return Plan(base, summary, None, nodes=nodes or {})


SECRET = "c0ffee" * 5 + "00"


def address(table: str, key: str, kind: str = "edge", scope: str = "*") -> Address:
    return Address(kind, scope, table, key)


def change(table: str, key: str, old: str | None, new: str | None, kind: str = "edge") -> Change:
    where = address(table, key, kind)
    return Change(where, old, new, "acme", reason(where, old, new))


CREDENTIAL = f"account=acme;user=alice;md5={SECRET};limit=2"


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (change("credential", "a@b", CREDENTIAL, CREDENTIAL.replace("limit=2", "limit=3")), "limit 2 -> 3"),
        (change("credential", "a@b", CREDENTIAL, CREDENTIAL.replace("c0ff", "ffff")), "md5 changed"),
        (change("credential", "a@b", CREDENTIAL, CREDENTIAL.replace(";limit=2", "")), "limit 2 -> none"),
        (change("credential", "a@b", None, CREDENTIAL), "new device"),
        (change("number", "+49301", "acme", None), "number is gone"),
        (change("domain", "d.example", "acme", "globex"), "acme -> globex"),
        (change("dialplan", "c/101", "Gosub(x,s,1(a,25,b))", "Gosub(x,s,1(a,30,b))", "media"), "25 -> 30"),
    ],
)
def test_a_change_says_why(one: Change, said: str) -> None:
    assert one.reason == said


def test_no_form_of_a_plan_shows_a_secret() -> None:
    mailbox = json.dumps({"fullname": "A", "pin": SECRET})
    plan = planned(
        change("credential", "a@b", None, CREDENTIAL),
        change("credential", "c@d", CREDENTIAL, CREDENTIAL.replace("c0ffee", "facade")),
        change("mailbox", "101@acme", None, mailbox, "media"),
        change("registration", "t", f"user=u;ha1={SECRET}", None),
    )
    printed = "\n".join(show.text(plan)) + json.dumps(show.as_json(plan))
    assert SECRET not in printed
    assert "facade" not in printed
    assert redact("credential", CREDENTIAL) == "account=acme;user=alice;md5=***;limit=2"


def test_two_rows_at_one_place_are_both_named() -> None:
    where = address("number", "+49301")
    with pytest.raises(BadRows, match=r"number \+49301: claimed by globex and by acme"):
        difference.index([Entry(where, "acme", "acme"), Entry(where, "globex", "globex")])


HERE = "cluster=c1;status=active"


@pytest.mark.parametrize(
    ("new", "danger"),
    [
        ("cluster=c2;status=active", True),
        ("cluster=c2;status=active;was=c1", False),  # a step of a move
        ("cluster=c1;status=active;was=c2", False),
        ("cluster=c1;status=suspended", False),
    ],
)
def test_an_account_that_goes_to_another_cluster_at_once_is_a_danger(new: str, danger: bool) -> None:
    found = safety.precious(change("account", "acme", HERE, new))
    assert (found is not None) == danger
    assert found is None or "dialplane account move acme --to c2 goes step by step" in found.sentence
    assert safety.precious(change("account", "acme", None, new)) is None


def test_of_many_dangers_the_first_are_named() -> None:
    moved = [change("account", f"a{n}", HERE, HERE.replace("c1", "c2")) for n in range(100)]
    assert len(planned(*moved).summary.precious) == 20


def test_a_big_share_of_deletes_is_a_danger_with_number_and_limit() -> None:
    (danger,) = safety.mass({("edge", "number"): 30}, {("edge", "number"): 100})
    assert danger.sentence == "deletes 30 of 100 edge number entries (30 %); the limit is 10 %"
    assert list(safety.mass({("edge", "number"): 30}, {("edge", "number"): 1000})) == []
    assert list(safety.mass({("edge", "number"): 20}, {("edge", "number"): 100})) == []


@pytest.mark.parametrize(
    "one",
    [
        change("emergency", "DE:112", "1", None),
        change("media_node", "10.0.0.1", "media1", None),
        change("dialplan", "emergency-DE/112", "Gosub(x)", None, "media"),
    ],
)
def test_losing_help_is_a_danger(one: Change) -> None:
    assert safety.precious(one) is not None
    assert safety.precious(one._replace(new="x")) is None


def test_callers_are_named_and_many_are_counted() -> None:
    few = [change("dialplan", f"account-acme/{n}", "A()", "B()", "media") for n in (101, 102)]
    many = [change("credential", f"d{n}@x", None, CREDENTIAL) for n in range(12)]
    assert callers.notices(few) == ["calls to 101, 102 go differently"]
    assert callers.notices(many) == ["d0@x, d1@x and 10 more can register"]


def test_a_plan_reads_like_a_sentence() -> None:
    plan = planned(
        change("credential", "a@b", CREDENTIAL, CREDENTIAL.replace("limit=2", "limit=3")),
        base=812,
        nodes={"edge1": ("edge", frozenset({"g1"})), "media1": ("media", frozenset({"c1"}))},
    )
    lines = list(show.text(plan))
    assert lines[0] == f"plan {plan.id}  on revision 812  2 nodes"
    assert "account acme" in lines[1]
    assert lines[1].endswith("a@b may make 3 calls at once")
    assert lines[2].split() == [
        "edge1",
        "credential",
        "~",
        "a@b",
        "limit",
        "2",
        "->",
        "3",
        "1",
        "item,",
        "calls",
        "kept",
    ]
    assert lines[-1] == "0 add, 1 change, 0 remove; worst: 1 item, calls kept; safe"


def test_the_digest_does_not_depend_on_order_but_on_every_part() -> None:
    one, two = change("number", "+491", None, "acme"), change("number", "+492", None, "acme")
    assert planned(one, two).digest == planned(two, one).digest
    assert (
        planned(
            one,
        ).digest
        != planned(
            two,
        ).digest
    )
    assert (
        planned(
            one,
        ).digest
        != planned(one._replace(new="globex")).digest
    )


def test_data_that_no_caller_dials_is_not_told_to_callers() -> None:
    changes = [
        change("dialplan", "account-acme/:user:alice", "Return(a)", "Return(b)", "media"),
        change("dialplan", "class-DE/_+49X!", None, "Return(national)", "media"),
        change("dialplan", "routes/_49!", "Return(a*1)", "Return(b*1)", "media"),
    ]
    assert callers.notices(changes) == ["calls to numbers like 49 leave by other trunks"]
