"""What an attempt comes to, and what the deliveries of a message come to together. Pure.

A delivery is `held` until its turn, `due`, `away` (its device is not registered), `sending`, or over. Of a message
that one gets after the other (`taking` one) the next place has its turn when everybody of those before is away or
has refused; when all are away, whoever registers first has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from controller.messages.model import OVER, Held, Outcome

# Pauses between tries, in seconds; the last one stays.
_PAUSES_S = (5.0, 15.0, 60.0, 300.0, 900.0)
# What a phone will not do later either (RFC 3261): wrong or unknown method, type, size, address, and 6xx.
_NEVER = frozenset(
    {400, 401, 402, 403, 404, 405, 406, 407, 413, 414, 415, 416, 420, 421, 484, 485, 488, 489, 493}
)
_NEVER_5XX = frozenset({501, 505, 513, 555})
_OK, _REDIRECTED, _BAD, _SERVER, _GLOBAL = 200, 300, 400, 500, 600


class Settled(NamedTuple):
    """`states`: deliveries that change; `state`: of the message; `over`: nobody waits any more; `status`, `reason`:
    told of."""

    states: dict[int, str]
    state: str
    over: bool
    status: int | None
    reason: str


def answered(status: int, reason: str, tries: int, *, away: bool = False) -> Outcome:
    """What an answer means: `tries` is how often it was tried before this time; `away`: the device is not
    registered."""
    if away:
        return Outcome("away", status, reason)
    if _OK <= status < _REDIRECTED:
        return Outcome("delivered", status, reason)
    if status in _NEVER or status in _NEVER_5XX or status >= _GLOBAL or status < _BAD:
        return Outcome("failed", status, reason)
    return unheard(reason, tries, status)


def unheard(reason: str, tries: int, status: int | None = None) -> Outcome:
    """Nobody answered, or not now: again after a while."""
    return Outcome("due", status, reason, _PAUSES_S[min(tries, len(_PAUSES_S) - 1)])


def settle(taking: str, deliveries: Sequence[Held]) -> Settled:
    """What becomes of the deliveries of a message, and of the message, as they stand."""
    meant = [one for one in deliveries if one.purpose == "to"]
    states: dict[int, str] = {}
    if taking == "one":
        if any(one.state == "delivered" for one in meant):
            states = {one.id: "withdrawn" for one in meant if one.state in ("held", "due", "away")}
        elif not any(one.state in ("due", "sending") for one in meant):
            turns = sorted({one.place for one in meant if one.state == "held"})
            states = {one.id: "due" for one in meant if one.state == "held" and one.place == turns[0]}
    now = {one.id: states.get(one.id, one.state) for one in deliveries}
    over = all(state in OVER for state in now.values())
    ends = [one for one in meant if one.state in OVER]
    last = next((one for one in ends if one.state == "delivered"), ends[-1] if ends else None)
    if any(one.state == "delivered" for one in meant):
        state = "delivered"
    elif any(now[one.id] not in OVER for one in meant):
        state = "open"
    else:
        state = "expired" if any(one.state == "expired" for one in meant) else "failed"
    return Settled(
        states,
        state,
        over,
        last.status if last else None,
        last.reason if last and state != "delivered" else "",
    )
