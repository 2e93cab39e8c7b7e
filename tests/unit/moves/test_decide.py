"""What comes next in a move: each step, what it waits for, and the way back."""

from __future__ import annotations

from typing import Any

import pytest

from controller.entries import Address, Change
from controller.moves import say
from controller.moves.decide import canary_holds, decide, turned
from controller.moves.model import Batch, Facts, Move, Step, Verb
from tests.unit.moves.moving import at, batch, facts, move, nodes, only, quiet

ADDING, MOVING, WAITING, DRAINING, REMOVING = (
    Step.ADDING,
    Step.MOVING,
    Step.WAITING,
    Step.DRAINING,
    Step.REMOVING,
)
HELD = move(REMOVING, holds_source=False, revision=8)
LAST = nodes(8)
FAILED = tuple(one._replace(problem="failed: x") if one.name == "media3" else one for one in nodes())


@pytest.mark.parametrize(
    ("one", "having", "verb", "step", "why"),
    [
        (move(), facts(), "add", ADDING, "to the media nodes of c2"),
        (move(ADDING), facts(having=nodes(media3=4)), "note", ADDING,
         "until the nodes of c2 have it: media3: at revision 4, not 5"),
        (move(ADDING), facts(having=FAILED), "note", ADDING,
         "until the nodes of c2 have it: media3: failed: x"),
        # One that is away takes no calls, and catches up before it does.
        (move(ADDING), facts(having=nodes(media3="not heard of for 12 s")), "point", MOVING, "new calls go to c2"),
        (move(ADDING), facts(having=nodes(media3="away", media4="away")), "note", ADDING,
         "no media node of c2 is heard of"),
        # What the nodes of the old cluster have, and edges, does not matter yet.
        (move(ADDING), facts(having=nodes(media1=1, edge1=1)), "point", MOVING, "new calls go to c2"),
        # An edge that is away may still send calls by what it knew.
        (move(MOVING), facts(having=nodes(edge2="not heard of for 3 h")), "note", MOVING,
         "until the edges know: edge2: not heard of for 3 h"),
        (move(MOVING), facts(having=nodes(media1=1)), "enter", WAITING, "15 s for answers of name servers"),
        (move(WAITING), facts(14.9), "note", WAITING,
         "until 08:00:15 UTC, when old answers of name servers are forgotten"),
        (move(WAITING), facts(15), "enter", DRAINING, "calls that are up go on"),
        (move(DRAINING), facts(calls={"acme": 2}), "note", DRAINING, "until 2 calls on c1 are over"),
        (move(DRAINING), facts(), "note", DRAINING, "until no call was seen on c1 for 5 s"),
        (quiet(move(DRAINING), 0), facts(4.9), "note", DRAINING, "until no call was seen on c1 for 5 s"),
        (quiet(move(DRAINING), 0), facts(5), "untie", REMOVING, "nobody is led to c1 any more"),
        (quiet(move(DRAINING, tied=False), 0), facts(5), "enter", REMOVING, "no call is up on c1"),
        (quiet(move(DRAINING), 0), facts(5, having=nodes(media2="not heard of for 4 s")), "note", DRAINING,
         "until it is known what calls are up on c1: media2: not heard of for 4 s"),
        (move(REMOVING), facts(having=nodes(edge1=6)), "note", REMOVING,
         "until the edges know: edge1: at revision 6, not 7"),
        # One came before the edges knew.
        (move(REMOVING), facts(calls={"acme": 1}), "note", REMOVING, "until 1 call on c1 is over"),
        (quiet(move(REMOVING), 0), facts(5), "remove", REMOVING, "from the media nodes of c1"),
        (HELD, facts(having=nodes(media1=7)), "note", REMOVING,
         "until the nodes of c1 gave it up: media1: at revision 7, not 8"),
        (HELD, facts(having=nodes(media1="not heard of for 12 s")), "enter", Step.DONE, "it is at c2"),
        (HELD, facts(having=LAST), "enter", Step.DONE, "it is at c2"),
    ],
)  # fmt: skip
def test_each_step_waits_for_what_it_needs(one: Move, having: Facts, verb: str, step: Step, why: str) -> None:
    action = only(decide(batch(one), having))
    assert (action.verb.value, action.step, action.why) == (verb, step, why)


def test_only_the_end_of_its_calls_ends_an_account_s_drain_whatever_the_time() -> None:
    for calls in (1, 0):
        late = facts(3601, calls={"acme": calls}, having=nodes(media2="not heard of for 4 s"))
        action = only(decide(batch(move(DRAINING)), late))
        assert (action.verb, action.wrong) == (Verb.NOTE, True)
        assert action.why.endswith(", longer than 3600 s: waits for their end, or for you")
    assert not only(decide(batch(move(DRAINING)), facts(3599, calls={"acme": 1}))).wrong


def test_a_batch_may_say_that_entries_go_after_a_while() -> None:
    late = facts(3601, calls={"acme": 1})
    rows: dict[str, Any] = {"after_drain": "remove"}
    assert only(decide(batch(move(DRAINING), **rows), late)).verb == Verb.UNTIE
    assert only(decide(batch(move(REMOVING), **rows), late)).verb == Verb.REMOVE
    early = facts(3599, calls={"acme": 1})
    assert only(decide(batch(move(DRAINING), **rows), early)).verb == Verb.NOTE
    assert only(decide(batch(move(REMOVING), **rows), early)).verb == Verb.NOTE


def test_nodes_that_hold_it_for_another_reason_need_not_drain() -> None:
    """c2 takes over for c1, or serves some of its services."""
    over = tuple(
        one._replace(groups=("c1", "c2"), problem="not heard of") if one.name in ("media1", "media2") else one
        for one in nodes()
    )
    assert only(decide(batch(move(DRAINING)), facts(having=over))).verb == Verb.UNTIE
    silent = facts(having=nodes(media1="away", media2="away"), apart={"acme": frozenset({"c1"})})
    assert only(decide(batch(move(DRAINING)), silent)).verb == Verb.NOTE


def canaries(*steps: Step, **changes: Any) -> Batch:
    """The first of these accounts is the canary."""
    moves = [move(step, f"a{number}") for number, step in enumerate(steps)]
    return batch(
        Move(**{name: getattr(moves[0], name) for name in moves[0].__slots__} | {"canary": True}),
        *moves[1:],
        **changes,
    )


def started(one: Batch, seconds: float = 0) -> list[str]:
    return [
        action.account
        for action in decide(one, facts(seconds)).actions
        if action.step == ADDING and action.verb == Verb.ADD
    ]


def test_the_canary_goes_first_and_is_watched() -> None:
    planned = (Step.PLANNED,) * 3
    assert started(canaries(*planned)) == ["a0"]
    for step in (ADDING, MOVING, WAITING, DRAINING, REMOVING):
        assert started(canaries(step, *planned)) == []
    assert started(canaries(Step.DONE, *planned), 59) == []
    assert canary_holds(canaries(Step.DONE, *planned), at(59)).startswith(
        "the canary is watched until 08:01:00 UTC"
    )
    assert started(canaries(Step.DONE, *planned), 60) == ["a1", "a2", "a3"]
    assert started(canaries(Step.DONE, *planned, at_once=2), 60) == ["a1", "a2"]
    assert started(canaries(Step.DONE, DRAINING, *planned, at_once=2), 60) == ["a2"]


@pytest.mark.parametrize(
    ("made", "failed", "stops"), [(100, 5, False), (100, 6, True), (3, 1, True), (0, 0, False)]
)
def test_it_stops_when_too_many_calls_of_accounts_that_moved_fail(
    made: int, failed: int, stops: bool
) -> None:
    one = batch(move(WAITING, made=made, failed=failed), move(account="globex"))
    outcome = decide(one, facts())
    assert (outcome.state == "stopped") == stops
    assert not stops or (outcome.actions, outcome.why) == (
        (),
        f"{failed} of {made} calls of accounts that moved failed, more than 5 %; "
        f"most of account acme ({failed} of {made})",
    )
    # A way back is not stopped by that.
    assert decide(batch(*one.moves, back=True), facts()).state == "running"


def test_a_batch_that_does_not_run_does_nothing() -> None:
    for state in ("stopped", "done", "rolled_back"):
        assert decide(batch(move(ADDING), state=state), facts()).actions == ()


def test_it_ends_when_every_account_is_over() -> None:
    assert decide(batch(HELD, move(Step.DONE, "globex")), facts(having=LAST)).state == "done"
    assert decide(batch(HELD, move(account="globex")), facts(having=LAST)).state == "running"
    back = move(REMOVING, holds_target=False, at_target=False, revision=8)
    ended = decide(batch(back, move(Step.ROLLED_BACK, "globex"), back=True), facts(having=LAST))
    assert (ended.state, ended.why) == ("rolled_back", "all accounts are back where they were")


@pytest.mark.parametrize(
    ("one", "step", "verb", "then"),
    [
        (move(ADDING), DRAINING, "note", DRAINING),  # nothing was sent there: what was added goes
        (move(MOVING), ADDING, "point", MOVING),
        (move(WAITING), ADDING, "point", MOVING),
        (move(DRAINING), ADDING, "point", MOVING),
        (move(REMOVING), ADDING, "point", MOVING),
        (HELD, ADDING, "add", ADDING),
        (move(Step.DONE), Step.PLANNED, "add", ADDING),
    ],
)
def test_it_can_be_taken_back_from_every_step(one: Move, step: Step, verb: str, then: Step) -> None:
    (after,) = turned(batch(one))
    assert after.step == step
    action = only(decide(batch(after, back=True), facts()))
    assert (action.verb.value, action.step) == (verb, then)


def test_what_was_not_begun_is_back_at_once() -> None:
    (after,) = turned(batch(move()))
    assert (after.step, after.at) == (Step.ROLLED_BACK, "c1")


def change(kind: str, scope: str, table: str, key: str, old: str | None, new: str | None) -> Change:
    return Change(Address(kind, scope, table, key), old, new, "acme", "")


ACCOUNT = "cluster=c1;status=active;country=DE;ext=3"


def test_a_step_publishes_nothing_but_itself() -> None:
    """What somebody changed in the rows and did not apply is his to apply."""
    one = move()
    to_c2 = change("media", "c2", "dialplan", "account-acme/101", None, "x")
    to_c1 = change("media", "c1", "dialplan", "account-acme/109", None, "x")
    assert say.strangers(Verb.ADD, one, [to_c2], back=False) == []
    assert say.strangers(Verb.ADD, one, [to_c2, to_c1], back=False) == [to_c1]
    assert say.strangers(Verb.ADD, one, [to_c1], back=True) == []
    here = change("edge", "*", "account", "acme", ACCOUNT, ACCOUNT.replace("c1", "c2") + ";was=c1")
    limited = change("edge", "*", "account", "acme", ACCOUNT, ACCOUNT.replace("c1", "c2") + ";limit=3")
    assert say.strangers(Verb.POINT, one, [here], back=False) == []
    assert say.strangers(Verb.UNTIE, one, [limited], back=False) == [limited]
    gone = change("media", "c1", "dialplan", "account-acme/101", "x", None)
    assert say.strangers(Verb.REMOVE, one, [gone], back=False) == []
    assert say.strangers(Verb.REMOVE, one, [gone, here], back=False) == [here]
    assert say.strangers(Verb.REMOVE, one, [gone], back=True) == [gone]
