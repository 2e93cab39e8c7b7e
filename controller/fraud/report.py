"""What a trial found, as tables and as plain data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from controller.fraud import explain
from controller.fraud.corpus import score
from controller.fraud.corpus.score import Score
from controller.fraud.trial import Effect

BLOCKED = ("at", "rule", "scope", "subject", "why", "calls", "messages", "ended", "minutes", "money")
KINDS = (
    "campaign",
    "fast",
    "of",
    "stopped",
    "median to block",
    "most calls lost",
    "most messages lost",
    "minutes lost",
    "money lost",
)


class Sum(NamedTuple):
    """All effects together; `customers`: accounts that something was blocked for."""

    verdicts: int
    customers: int
    calls: int
    messages: int
    cut: int
    minutes: float
    cost: float


def blocked(effects: Iterable[Effect]) -> list[tuple[Any, ...]]:
    """A line for each critical verdict, as BLOCKED."""
    return [
        (
            explain.moment(one.verdict.at), one.verdict.rule.name, one.verdict.scope, one.verdict.subject,
            explain.reason(one.verdict), one.calls, one.messages, one.cut, round(one.saved_s / 60, 1),
            round(one.saved_cost, 2),
        )
        for one in effects
    ]  # fmt: skip


def total(effects: Iterable[Effect]) -> Sum:
    """The sum of all."""
    found = list(effects)
    return Sum(
        len(found),
        len({one.verdict.account for one in found if one.verdict.account}),
        sum(one.calls for one in found),
        sum(one.messages for one in found),
        sum(one.cut for one in found),
        round(sum(one.saved_s for one in found) / 60, 1),
        round(sum(one.saved_cost for one in found), 2),
    )


def by_rule(effects: Iterable[Effect]) -> list[tuple[Any, ...]]:
    """Rule, verdicts, customers, calls, messages, minutes, money."""
    of: dict[str, list[Effect]] = defaultdict(list)
    for one in effects:
        of[one.verdict.rule.name].append(one)
    found = []
    for name, some in sorted(of.items()):
        here = total(some)
        found.append(
            (name, here.verdicts, here.customers, here.calls, here.messages, here.minutes, here.cost)
        )
    return found


def kinds(found: Score) -> list[tuple[Any, ...]]:
    """A line for each kind of campaign, as KINDS."""
    fast = {one.campaign.kind: one.campaign.fast for one in found.outcomes}
    return [
        (
            kind, "yes" if fast[kind] else "no", of, stopped, _time(seconds), calls, messages, round(minutes),
            round(cost, 2),
        )
        for kind, of, stopped, seconds, calls, messages, minutes, cost in found.kinds()
    ]  # fmt: skip


def sentences(found: Score) -> list[str]:
    """What the corpus says of the rules, against what is promised."""
    return [
        f"{found.stopped_pct:.1f} % of {len(found.outcomes)} campaigns stopped (promised: {score.STOPPED_PCT:g})",
        f"fast campaigns cost {found.most_calls} calls and {found.most_messages} messages each at most "
        f"(promised: {score.MOST_CALLS} and {score.MOST_MESSAGES})",
        f"{found.false_blocks:.2f} false blocks for 1,000 accounts and day: {len(found.false)} in "
        f"{found.account_days:,.0f} account days (promised: {score.FALSE_BLOCKS:g})",
        f"{found.refused} ordinary calls of a class that their account may not call; {found.warnings} warnings; "
        f"{found.events:,} events",
    ]


def data(found: Score) -> dict[str, Any]:
    """All figures of a score as plain data."""
    return {
        "events": found.events,
        "account_days": found.account_days,
        "campaigns": len(found.outcomes),
        "stopped_pct": round(found.stopped_pct, 2),
        "most_calls_lost": found.most_calls,
        "most_messages_lost": found.most_messages,
        "false_blocks_per_1000": round(found.false_blocks, 3),
        "false_blocks": [explain.verdict(one) for one in found.false],
        "refused_by_permission": found.refused,
        "warnings": found.warnings,
        "kinds": [dict(zip(KINDS, line, strict=True)) for line in kinds(found)],
    }


def _time(seconds: float) -> str:
    if seconds == float("inf"):
        return "never"
    if seconds < 120:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004
