"""What comes next in a batch of moves. Pure: the same rows and facts, the same answer.

Rules, whatever was stopped, killed or taken back before:

    an account is pointed to a cluster only when all its nodes that can take calls read it back
    the other cluster gives it up only when every edge read back where it is now, old answers of name servers are
    forgotten, and no call of it was seen there for a moment (or the batch says that it need not wait for that)

A batch that goes back walks the same steps towards the source.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from controller.moves.model import OVER, Action, Batch, Facts, Move, Node, Outcome, Step, Verb


def decide(batch: Batch, facts: Facts) -> Outcome:
    """What to do with each account of a batch now; nothing for a batch that is not running."""
    if batch.state != "running":
        return Outcome((), batch.state, "")
    if not batch.back and (bad := too_many_failed(batch)):
        return Outcome((), "stopped", bad)
    actions = tuple(_actions(batch, facts))
    after = {one.account: one.step for one in actions}
    if all(after.get(move.account, move.step) in OVER for move in batch.moves):
        ended = "rolled_back" if batch.back else "done"
        return Outcome(actions, ended, _ended(batch))
    return Outcome(actions, "running", _held_up(batch, facts))


def turned(batch: Batch) -> tuple[Move, ...]:
    """The accounts of a batch that shall go back from where they are: who was not sent yet stays."""
    return tuple(_turned(move) for move in batch.moves)


def _turned(move: Move) -> Move:
    if move.step in (Step.PLANNED, Step.ROLLED_BACK):
        return replace(move, step=Step.ROLLED_BACK, revision=None)
    if move.step == Step.DONE:
        return replace(move, step=Step.PLANNED, revision=None, quiet_at=None)
    if move.at_target or not move.holds_source:
        return replace(move, step=Step.ADDING, revision=None, quiet_at=None)
    # Nothing points to the target yet: what was added there goes.
    return replace(move, step=Step.DRAINING, revision=None, quiet_at=None)


def too_many_failed(batch: Batch) -> str:
    """Why a batch has to stop: too many calls of accounts that moved fail; "": no."""
    made = sum(move.made for move in batch.moves)
    failed = sum(move.failed for move in batch.moves)
    if failed <= made * batch.failed_pct / 100:
        return ""
    worst = max(batch.moves, key=lambda move: (move.failed, move.made))
    return (
        f"{failed} of {made} calls of accounts that moved failed, more than {batch.failed_pct:g} %; "
        f"most of account {worst.account} ({worst.failed} of {worst.made})"
    )


def _ended(batch: Batch) -> str:
    return "all accounts are back where they were" if batch.back else "all accounts moved"


def _held_up(batch: Batch, facts: Facts) -> str:
    """Why those that are planned do not start; "": they do, or there are none."""
    if batch.back or not any(move.step == Step.PLANNED for move in batch.moves):
        return ""
    return canary_holds(batch, facts.now)


def canary_holds(batch: Batch, now: datetime) -> str:
    """Why the accounts after the canaries have to wait; "": they need not."""
    canaries = [move for move in batch.moves if move.canary]
    under_way = [move.account for move in canaries if move.step != Step.DONE]
    if under_way:
        return f"the canary goes first: {', '.join(under_way)}"
    ends = max((move.since for move in canaries), default=now) + timedelta(seconds=batch.watch_s)
    if canaries and now < ends:
        made, failed = sum(move.made for move in canaries), sum(move.failed for move in canaries)
        return f"the canary is watched until {ends:%H:%M:%S} UTC: {failed} of {made} calls failed"
    return ""


def _actions(batch: Batch, facts: Facts) -> Iterator[Action]:
    """One for each account that has something to do or to say."""
    room = batch.at_once - sum(move.open and move.step != Step.PLANNED for move in batch.moves)
    hold = "" if batch.back else canary_holds(batch, facts.now)
    for move in batch.moves:
        if move.step == Step.PLANNED:
            if hold and not move.canary:
                continue
            if room <= 0:
                continue
            room -= 1
            yield _added(move, batch)
        elif move.open:
            yield _next(move, batch, facts)


def _added(move: Move, batch: Batch) -> Action:
    goal = move.goal(back=batch.back)
    if move.at == goal or goal in move.held_by:
        return Action(move.account, Verb.ENTER, Step.ADDING, f"{goal} holds it already")
    return Action(move.account, Verb.ADD, Step.ADDING, f"to the media nodes of {goal}")


def _next(move: Move, batch: Batch, facts: Facts) -> Action:
    match move.step:
        case Step.ADDING:
            return _adding(move, batch, facts)
        case Step.MOVING:
            return _moving(move, facts)
        case Step.WAITING:
            return _waiting(move, facts)
        case Step.DRAINING:
            return _draining(move, batch, facts)
        case _:
            return _removing(move, batch, facts)


def _adding(move: Move, batch: Batch, facts: Facts) -> Action:
    goal = move.goal(back=batch.back)
    if goal not in move.held_by:
        return _added(move, batch)
    holders = [one for one in facts.nodes if one.kind == "media" and goal in one.groups and one.enabled]
    own = [one for one in holders if one.groups[0] == goal]
    there = [one for one in own if not one.away]
    if not there:
        return _note(move, f"no media node of {goal} is heard of", wrong=True)
    if lacking := _lacking(move, [one for one in holders if not one.away]):
        return _note(move, f"until the nodes of {goal} have it: {lacking}")
    if move.at != goal:
        return Action(move.account, Verb.POINT, Step.MOVING, f"new calls go to {goal}")
    return Action(move.account, Verb.ENTER, Step.DRAINING, "no call was sent there")


def _moving(move: Move, facts: Facts) -> Action:
    if lacking := _lacking(move, _edges(facts)):
        return _note(move, f"until the edges know: {lacking}")
    return Action(move.account, Verb.ENTER, Step.WAITING, f"{facts.names_s:g} s for answers of name servers")


def _waiting(move: Move, facts: Facts) -> Action:
    ends = move.since + timedelta(seconds=facts.names_s)
    if facts.now < ends:
        return _note(move, f"until {ends:%H:%M:%S} UTC, when old answers of name servers are forgotten")
    return Action(move.account, Verb.ENTER, Step.DRAINING, "calls that are up go on")


def _draining(move: Move, batch: Batch, facts: Facts) -> Action:
    other = move.other(back=batch.back)
    calls = facts.calls.get(move.account, 0)
    late = _late(move, batch, facts)
    if other not in move.held_by:
        return Action(move.account, Verb.ENTER, Step.REMOVING, f"the nodes of {other} do not hold it")
    busy, quiet_at = _busy(move, facts, other, calls)
    if busy and late and batch.after_drain == "remove":
        busy = ""
    if busy:
        told = f"{busy}, longer than {batch.drain_s:g} s: waits for their end, or for you" if late else busy
        return Action(move.account, Verb.NOTE, move.step, told, late, quiet_at, calls)
    if move.tied:
        # Until the edges know, calls may still come: it is looked at again then.
        return Action(move.account, Verb.UNTIE, Step.REMOVING, f"nobody is led to {other} any more")
    return Action(move.account, Verb.ENTER, Step.REMOVING, f"no call is up on {other}", False, quiet_at)


def _late(move: Move, batch: Batch, facts: Facts) -> bool:
    """Its calls had their time to end, since edges were told."""
    return (facts.now - (move.moved_at or move.since)).total_seconds() > batch.drain_s


def _busy(move: Move, facts: Facts, other: str, calls: int) -> tuple[str, datetime | None]:
    """Why the cluster is not drained ("": it is), and since when no call was seen there."""
    losing = _losing(move, facts, other)
    unknown = [f"{one.name}: {one.problem}" for one in losing if one.problem]
    if calls:
        return f"until {_calls(calls)} on {other} {'is' if calls == 1 else 'are'} over", None
    if unknown:
        return f"until it is known what calls are up on {other}: {_listed(unknown)}", None
    quiet_at = move.quiet_at or facts.now
    if (facts.now - quiet_at).total_seconds() < facts.quiet_s and losing:
        return f"until no call was seen on {other} for {facts.quiet_s:g} s", quiet_at
    return "", quiet_at


def _removing(move: Move, batch: Batch, facts: Facts) -> Action:
    other = move.other(back=batch.back)
    if other in move.held_by:
        if lacking := _lacking(move, _edges(facts)):
            return _note(move, f"until the edges know: {lacking}")
        busy, quiet_at = _busy(move, facts, other, facts.calls.get(move.account, 0))
        if busy and not (batch.after_drain == "remove" and _late(move, batch, facts)):
            calls = facts.calls.get(move.account, 0)
            return Action(move.account, Verb.NOTE, move.step, busy, False, quiet_at, calls)
        return Action(move.account, Verb.REMOVE, Step.REMOVING, f"from the media nodes of {other}")
    if lacking := _lacking(move, [one for one in _losing(move, facts, other) if not one.away]):
        return _note(move, f"until the nodes of {other} gave it up: {lacking}")
    if batch.back:
        return Action(move.account, Verb.ENTER, Step.ROLLED_BACK, f"it is at {move.at} again")
    return Action(move.account, Verb.ENTER, Step.DONE, f"it is at {move.at}")


def _edges(facts: Facts) -> list[Node]:
    return [one for one in facts.nodes if one.kind == "edge"]


def _losing(move: Move, facts: Facts, other: str) -> list[Node]:
    return losing(move, facts.nodes, facts.apart.get(move.account, frozenset()), other)


def losing(move: Move, nodes: Iterable[Node], apart: frozenset[str], other: str) -> list[Node]:
    """Media nodes that hold the account only as long as that cluster does. (`apart`: see `Facts`.)"""
    stay = {move.at, *apart} - {other}
    return [
        one for one in nodes if one.kind == "media" and other in one.groups and not stay & set(one.groups)
    ]


def _lacking(move: Move, nodes: Sequence[Node]) -> str:
    """What is missing until the account's revision is live on all of these; "": nothing."""
    if move.revision is None:
        return ""
    return _listed([told for one in nodes if (told := one.lacks(move.revision))])


def _listed(told: list[str], most: int = 3) -> str:
    more = f" and {len(told) - most} more" if len(told) > most else ""
    return "; ".join(told[:most]) + more


def _calls(number: int) -> str:
    return "1 call" if number == 1 else f"{number} calls"


def _note(move: Move, why: str, *, wrong: bool = False) -> Action:
    return Action(move.account, Verb.NOTE, move.step, why, wrong)
