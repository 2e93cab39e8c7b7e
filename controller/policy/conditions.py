"""Whether what a rule, a forwarding or a group's member asks of a call holds, and why. Pure.

A pattern is a number (`+49301234567`), its beginning (`+4930*`), an extension (`101`) or `anonymous`. Patterns without
`+` mean extensions, so they fit calls from inside only: a caller outside may show any number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from controller.policy import schedule
from controller.policy.model import Call, Condition, Member, Snapshot

ANONYMOUS = "anonymous"
# How the caller's number reads when the caller withholds it, or a carrier does not know it.
_WITHHELD = frozenset({"", ANONYMOUS, "restricted", "private", "unavailable", "unknown", "withheld"})


class Verdict(NamedTuple):
    """`why` reads after "because"."""

    holds: bool
    why: str


class Situation:
    """A call in its account at a moment. A schedule is looked up once."""

    __slots__ = ("_states", "call", "inside", "now", "numbers", "snapshot")

    def __init__(self, call: Call, snapshot: Snapshot, now: datetime) -> None:
        self.call = call
        self.snapshot = snapshot
        self.now = now
        self.inside = not call.trunk
        self.numbers = _numbers(call)
        self._states: dict[str, schedule.State | None] = {}

    @property
    def caller(self) -> str:
        """Who calls, for people."""
        return self.call.caller_user or (self.numbers[0] if self.numbers else ANONYMOUS)

    def schedule(self, name: str) -> schedule.State | None:
        """State of a schedule, None: there is none of that name."""
        if name not in self._states:
            found = self.snapshot.schedules.get(name)
            override = self.snapshot.live.overrides.get(name)
            self._states[name] = schedule.state(found, override, self.now) if found else None
        return self._states[name]

    def contacts(self, user: str) -> int | None:
        """Registered devices of a user; None: not known."""
        registered, found = self.snapshot.live.registered, self.snapshot.users.get(user)
        if registered is None:
            return None
        return sum(registered.get(device, 0) > 0 for device in found.devices) if found else 0

    def registered(self, aors: Iterable[str]) -> bool | None:
        """Whether one of these devices is; None: not known."""
        known = self.snapshot.live.registered or {}
        contacts = [known.get(aor) for aor in aors]
        return True if any(contacts) else None if None in contacts else False

    def is_caller(self, member: Member) -> bool:
        """Whether the member is who calls."""
        if member.user:
            user = self.snapshot.users.get(member.user)
            device = bool(self.call.device) and user is not None and self.call.device in user.devices
            return member.user == self.call.caller_user or device
        if member.device:
            return member.device == self.call.device
        return member.number in self.numbers


def matches(condition: Condition, situation: Situation) -> Verdict:
    """Whether all of it holds: then why, else the first that does not."""
    said = []
    for name, check in _CHECKS:
        value = getattr(condition, name)
        if value is None or value == "":
            continue
        verdict = check(situation, condition, value)
        if not verdict.holds:
            return verdict
        said.append(verdict.why)
    return Verdict(True, ", ".join(said) or "it has no condition")


def on_list(situation: Situation, name: str) -> Verdict:
    """Whether the caller is on a list."""
    patterns = situation.snapshot.lists.get(name)
    if patterns is None:
        return Verdict(False, f"caller list {name} is not known")
    for pattern in _patterns(situation):
        if pattern in patterns:
            return Verdict(True, f"caller {situation.caller} is on list {name} ({pattern})")
    return Verdict(False, f"caller {situation.caller} is not on list {name}")


def in_schedule(situation: Situation, name: str, wanted: bool) -> Verdict:
    """Whether a schedule is open (`wanted`) or closed."""
    state = situation.schedule(name)
    if state is None:
        return Verdict(False, f"schedule {name} is not known")
    return Verdict(
        state.open == wanted, f"{'inside' if state.open else 'outside'} schedule {name} ({state.why})"
    )


def who_and_when(situation: Situation, list_: str, schedule_: str, wanted: bool) -> Verdict:
    """For forwardings and members: both the caller and the time fit; empty asks nothing."""
    said = []
    if list_:
        verdict = on_list(situation, list_)
        if not verdict.holds:
            return verdict
        said.append(verdict.why)
    if schedule_:
        verdict = in_schedule(situation, schedule_, wanted)
        if not verdict.holds:
            return verdict
        said.append(verdict.why)
    return Verdict(True, ", ".join(said))


def _numbers(call: Call) -> tuple[str, ...]:
    """The caller's number, from outside as E.164: carriers write `+49...`, `0049...` or `49...`."""
    number = call.caller
    if number.lower() in _WITHHELD:
        return ()
    if not call.trunk or number.startswith("+"):
        return (number,)
    return (f"+{number[2:]}" if number.startswith("00") else f"+{number}",)


def _patterns(situation: Situation) -> Iterator[str]:
    """Every pattern that fits the caller, the closest first: a look-up costs the same in a list of any length."""
    for number in situation.numbers:
        yield number
        if number.startswith("+"):
            for length in range(len(number), 1, -1):
                yield f"{number[:length]}*"
    if not situation.numbers and not situation.call.caller_user:
        yield ANONYMOUS


# -------------------------------------------------------------------------------- one function per kind of condition


def _caller(situation: Situation, _: Condition, pattern: str) -> Verdict:
    if pattern in _patterns(situation):
        return Verdict(True, f"caller {situation.caller} fits {pattern}")
    return Verdict(False, f"caller {situation.caller} does not fit {pattern}")


def _list(situation: Situation, _: Condition, name: str) -> Verdict:
    return on_list(situation, name)


def _group(situation: Situation, _: Condition, name: str) -> Verdict:
    group = situation.snapshot.groups.get(name)
    if group is None:
        return Verdict(False, f"group {name} is not known")
    if any(member.enabled and situation.is_caller(member) for member in group.members):
        return Verdict(True, f"caller {situation.caller} is a member of group {name}")
    return Verdict(False, f"caller {situation.caller} is no member of group {name}")


def _called(situation: Situation, _: Condition, pattern: str) -> Verdict:
    called = situation.call.called
    if called == pattern or (
        pattern.startswith("+") and pattern.endswith("*") and called.startswith(pattern[:-1])
    ):
        return Verdict(True, f"called {called} fits {pattern}")
    return Verdict(False, f"called {called or 'nothing'} does not fit {pattern}")


def _trunk(situation: Situation, _: Condition, name: str) -> Verdict:
    if situation.call.trunk == name:
        return Verdict(True, f"it came by trunk {name}")
    came = f"by trunk {situation.call.trunk}" if situation.call.trunk else "from inside"
    return Verdict(False, f"it came {came}, not by trunk {name}")


def _inside(situation: Situation, _: Condition, wanted: bool) -> Verdict:
    came = (
        "it came from inside"
        if situation.inside
        else f"it came from outside, by trunk {situation.call.trunk}"
    )
    return Verdict(situation.inside == wanted, came)


def _schedule(situation: Situation, condition: Condition, name: str) -> Verdict:
    return in_schedule(situation, name, condition.open)


def _language(situation: Situation, _: Condition, wanted: str) -> Verdict:
    """`de` holds for `de-AT` too."""
    spoken = situation.call.language
    if spoken == wanted or spoken.replace("_", "-").startswith(f"{wanted}-"):
        return Verdict(True, f"the language is {spoken}")
    return Verdict(False, f"the language is {spoken or 'not known'}, not {wanted}")


def _presence(situation: Situation, condition: Condition, wanted: str) -> Verdict:
    user = condition.user
    if wanted == "disturb_not":
        if user in situation.snapshot.live.dnd:
            return Verdict(True, f"{user} does not want to be disturbed")
        return Verdict(False, f"{user} may be disturbed")
    contacts = situation.contacts(user)
    if contacts is None:
        return Verdict(False, f"whether {user} is registered is not known")
    is_ = "registered" if contacts else "unregistered"
    return Verdict(is_ == wanted, f"{user} is {is_}")


def _min_devices(situation: Situation, condition: Condition, least: int) -> Verdict:
    contacts = situation.contacts(condition.user)
    if contacts is None:
        return Verdict(False, f"how many devices of {condition.user} are registered is not known")
    return Verdict(
        contacts >= least, f"{contacts} devices of {condition.user} are registered, {least} at least asked"
    )


def _max_devices(situation: Situation, condition: Condition, most: int) -> Verdict:
    contacts = situation.contacts(condition.user)
    if contacts is None:
        return Verdict(False, f"how many devices of {condition.user} are registered is not known")
    return Verdict(
        contacts <= most, f"{contacts} devices of {condition.user} are registered, {most} at most asked"
    )


def _header(situation: Situation, _: Condition, wanted: tuple[str, str]) -> Verdict:
    name, value = wanted
    found = next(
        (held for one, held in situation.call.headers.items() if one.lower() == name.lower()), ""
    ).strip()
    if not found:
        return Verdict(False, f"there is no header {name}")
    if found.lower() == value.lower():
        return Verdict(True, f"header {name} is {value}")
    return Verdict(False, f"header {name} is not {value}")


def _flag(situation: Situation, _: Condition, name: str) -> Verdict:
    account = situation.snapshot.account
    held = name in account.flags
    return Verdict(held, f"account {account.name} has {'the' if held else 'no'} flag {name}")


# In this order: the first that does not hold is told.
_CHECKS: tuple[tuple[str, Callable[[Situation, Condition, Any], Verdict]], ...] = (
    ("inside", _inside),
    ("trunk", _trunk),
    ("called", _called),
    ("caller", _caller),
    ("list", _list),
    ("group", _group),
    ("language", _language),
    ("flag", _flag),
    ("header", _header),
    ("schedule", _schedule),
    ("presence", _presence),
    ("min_devices", _min_devices),
    ("max_devices", _max_devices),
)
