"""A decision as dialplan calls, which dp-run (asterisk/extensions.conf) makes in order. Pure.

| act | does |
|---|---|
| `dp-caller` | sets language and what goes before the caller's name; empty: leaves it |
| `dp-wanted` | sets priority in queues and skills of the members who take it, joined with `&`; empty: leaves it |
| `dp-early`, `dp-late` | plays a sound before the call is answered; answers and plays it |
| `dp-record` | says whether what comes next is recorded, and why |
| `dp-more`, `dp-legs` | rings legs at once; returns when nobody answered |
| `dp-otherwise` | goes on by what the legs said: no answer, busy, nobody there |
| `dp-next` | goes on with a step |
| `dp-app`, `dp-reject` | hands over to an application of the site; refuses |

A leg is an AOR or an E.164 number, `~seconds` after it when it begins later. The last act never returns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from controller.errors import TemplateError
from controller.escape import argument, chunks, name

# Asterisk's manager discards longer lines; a program keeps to what every line of the dialplan keeps to.
MAX_LINE_BYTES = 900
_MAX_LEGS_BYTES = 800
# The last act of every program is one of these.
ENDS = frozenset({"dp-otherwise", "dp-next", "dp-app", "dp-reject"})
# Q.850 causes, told to the caller where a step ends the call.
BUSY, SILENT, ABSENT = 17, 19, 20


class Leg(NamedTuple):
    """Somebody to ring: `address` is an AOR or an E.164 number; it begins after `delay_s`."""

    address: str
    delay_s: int = 0


class Act(NamedTuple):
    """One dialplan call: a Gosub target and its arguments, not escaped (Raw: as it stands)."""

    context: str
    arguments: tuple[str, ...]

    @property
    def line(self) -> str:
        """`dp-next,s,1(voicemail:101,19)`: what Gosub takes. TemplateError if it is longer than a line may be."""
        text = f"{self.context},s,1({','.join(map(argument, self.arguments))})"
        if len(text.encode()) > MAX_LINE_BYTES:
            raise TemplateError(f"{text[:60]}...: a line of a program has at most {MAX_LINE_BYTES} bytes")
        return text


def lines(program: Iterable[Act]) -> tuple[str, ...]:
    """The program as dp-run takes it."""
    return tuple(act.line for act in program)


def ring(legs: Iterable[Leg], seconds: int, flags: str = "") -> tuple[Act, ...]:
    """Rings all legs at once for so long. Flags: `s` passes over devices with a call up, `c` asks for a key."""
    texts = (name(f"{leg.address}~{leg.delay_s}" if leg.delay_s else leg.address) for leg in legs)
    *more, last = chunks(texts, _MAX_LEGS_BYTES)
    return (*(Act("dp-more", (chunk,)) for chunk in more), Act("dp-legs", (last, str(seconds), flags)))


def otherwise(no_answer: str, busy: str, nobody: str) -> Act:
    """Goes on with the step for what the legs said."""
    return Act("dp-otherwise", (no_answer, busy, nobody))


def record(mode: str, why: str, rule: str = "") -> Act:
    """What comes next is recorded `always`, `on_demand` or `never`; `rule` 1: until the call is over."""
    return Act("dp-record", (mode, why, rule))


def go(step: str, cause: int = ABSENT) -> Act:
    """Goes on with a step; `cause` where that ends the call."""
    return Act("dp-next", (step, str(cause)))


def reject(word: str) -> Act:
    """Refuses: busy, declined, unavailable, unknown, not_found."""
    return Act("dp-reject", (word,))
