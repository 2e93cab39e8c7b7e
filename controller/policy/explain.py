"""`route explain`: both halves of a decision as one list of steps. No call is placed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from controller.policy import Call, Entries, Step, edge, media


def call_from(caller: str, called: str, *, trunk: str | None = None) -> Call:
    """A call as the command line names it: `device@domain` calling, or any number arriving by `trunk`."""
    return Call(called, trunk=trunk) if trunk else Call(called, device=caller)


def explain(call: Call, entries: Entries) -> tuple[Step, ...]:
    """Every step of the decision on the published entries, edge first."""
    verdict = edge.decide(call, entries)
    if verdict.action != "media":
        return verdict.steps
    leg = media.Leg(
        cluster=verdict.target,
        account=verdict.account,
        called=verdict.called,
        caller=verdict.caller if call.device else "",
        device=call.device or "",
        trunk=call.trunk or "",
        ring=verdict.ring,
    )
    return (*verdict.steps, *media.decide(leg, entries))


def text(steps: tuple[Step, ...]) -> Iterator[str]:
    """Aligned lines: where, what, why."""
    width = max((len(step.what) for step in steps), default=0)
    for number, step in enumerate(steps, 1):
        yield f"{number:>2}  {step.where:<6} {step.what:<{min(width, 60)}}  {step.why}"


def as_json(steps: tuple[Step, ...]) -> list[dict[str, Any]]:
    """The steps as plain data."""
    return [step._asdict() for step in steps]
