"""Moves in words, and what a step may change. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from controller.entries import Change
from controller.moves.model import Action, Batch, Move, Step, Verb

_PUBLISH = {Verb.ADD, Verb.POINT, Verb.UNTIE, Verb.REMOVE}


def publishes(verb: Verb) -> bool:
    """Whether entries change with it."""
    return verb in _PUBLISH


def applied(move: Move, action: Action, now: datetime, *, back: bool) -> Move:
    """The account after an action. `revision` is that of the action, once it is published; what is entered without one
    waits for none."""
    to_target = move.goal(back=back) == move.target
    after = replace(move, quiet_at=action.quiet_at)
    if action.verb == Verb.NOTE:
        return after
    after = replace(after, step=action.step, revision=None)
    if action.step != move.step:
        after = replace(after, since=now)
    match action.verb:
        case Verb.ADD:
            return replace(after, holds_target=True) if to_target else replace(after, holds_source=True)
        case Verb.POINT:
            return replace(after, at_target=to_target, tied=True, moved_at=now)
        case Verb.UNTIE:
            return replace(after, tied=False)
        case Verb.REMOVE:
            return replace(after, holds_source=False) if to_target else replace(after, holds_target=False)
        case _:
            return after


def strangers(verb: Verb, move: Move, changes: Iterable[Change], *, back: bool) -> list[Change]:
    """Changes that are not the step's: rows of the account were changed by somebody and are not applied yet."""
    goal, other = move.goal(back=back), move.other(back=back)

    def expected(change: Change) -> bool:
        address = change.address
        match verb:
            case Verb.ADD:
                return (address.kind, address.scope, change.verb) == ("media", goal, "create")
            case Verb.REMOVE:
                return (address.kind, address.scope, change.verb) == ("media", other, "delete")
            case _:
                here = (address.kind, address.table, address.key) == ("edge", "account", move.account)
                return here and _rest(change.old) == _rest(change.new)

    return [change for change in changes if not expected(change)]


def _rest(value: str | None) -> list[str]:
    """An account's pairs, without those that say where it is."""
    pairs = (value or "").split(";")
    return [pair for pair in pairs if not pair.startswith(("cluster=", "was="))]


@dataclass(frozen=True, slots=True)
class Wanted:
    """An account of a plan. `entries`: how many its media nodes hold; `calls`: up on the cluster it leaves; `notes`:
    what somebody should know before."""

    account: str
    source: str
    target: str
    nodes: tuple[str, ...] = ()
    entries: int = 0
    calls: int = 0
    why: str = ""
    notes: tuple[str, ...] = ()


def plan(draft: Batch, wanted: Sequence[Wanted], names_s: float, identity: str) -> Iterator[str]:
    """A plan as lines of text."""
    accounts = "1 account" if len(wanted) == 1 else f"{len(wanted)} accounts"
    yield f"move plan {identity}  {accounts}"
    width = max(len(one.account) for one in wanted)
    for number, one in enumerate(wanted):
        canary = "canary; " if number < draft.canary and len(wanted) > 1 else ""
        up = "1 call is up" if one.calls == 1 else f"{one.calls} calls are up"
        yield (
            f"  ~ {one.account:<{width}}  {one.source} -> {one.target}  {canary}{one.entries:,} entries to "
            f"{' '.join(one.nodes)}; {up} on {one.source}" + (f"; {one.why}" if one.why else "")
        )
        yield from (f"      ! {note}" for note in one.notes)
    yield "  each account:"
    yield "    add      its entries go to the nodes of the new cluster, and are read back there"
    yield "    move     edges and names change in one revision; new calls go there. Registrations are not touched"
    yield f"    wait     {names_s:g} s, until old answers of name servers are forgotten"
    then = {
        "wait": "then it waits for their end, or for you",
        "remove": "then their entries go all the same: who talks goes on, without next steps",
    }[draft.after_drain]
    yield (
        f"    drain    until no call of it is up on the old cluster; {draft.drain_s:g} s, {then}. "
        "Who talks there, and what meets there, is led there"
    )
    yield "    remove   its entries leave the nodes of the old cluster"
    if len(wanted) > draft.canary > 0:
        first = "the first account" if draft.canary == 1 else f"the first {draft.canary} accounts"
        yield f"  {first} alone, and watched for {draft.watch_s:g} s; then at most {draft.at_once} at once"
    elif len(wanted) > 1:
        yield f"  at most {draft.at_once} at once"
    yield f"  stops when more than {draft.failed_pct:g} % of the calls of accounts that moved fail"
    yield "  stop, go on, take back at any step: dialplane account moves stop | resume | rollback"


def progress(move: Move, why: str, *, back: bool) -> str:
    """One account, for a progress line and for listings."""
    way = f"back to {move.source}" if back else f"{move.source} -> {move.target}"
    if move.step in (Step.DONE, Step.ROLLED_BACK):
        return f"{move.account}  {move.step.replace('_', ' ')}: it is at {move.at}"
    return f"{move.account}  {way}  {move.step}" + (f": {why}" if why else "")
