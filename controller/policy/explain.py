"""`route explain`: both halves of a decision as one list of steps. No call is placed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from controller.policy import Call, Entries, Step, edge, media
from controller.policy.follow import Follower


def call_from(
    caller: str, called: str, *, trunk: str | None = None, headers: Mapping[str, str] | None = None
) -> Call:
    """A call as the command line names it: `device@domain` calling, or any number arriving by `trunk`."""
    if trunk:
        return Call(called, trunk=trunk, caller=caller, headers=headers or {})
    return Call(called, device=caller, headers=headers or {})


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
        number=verdict.caller if call.trunk else "",
        call_id=call.call_id,
        headers=call.headers,
    )
    walk = Follower(leg, entries)
    walk.start()
    return (*verdict.steps, *walk.steps)


def text(steps: tuple[Step, ...]) -> Iterator[str]:
    """Aligned lines: where, what, why; what holds under a condition stands further in."""
    said = [f"{'  ' * step.under}{step.what}" for step in steps]
    width = min(max(map(len, said), default=0), 60)
    for number, (step, what) in enumerate(zip(steps, said, strict=True), 1):
        yield f"{number:>2}  {step.where:<6} {what:<{width}}  {step.why}"


def as_json(steps: tuple[Step, ...]) -> list[dict[str, Any]]:
    """The steps as plain data."""
    return [step._asdict() for step in steps]
