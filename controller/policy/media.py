"""The media node's half of a decision: the order of asterisk/extensions.conf over the rendered contexts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from controller.policy import Entries, Step
from controller.policy.patterns import best

# The base dialplan follows at most so many next steps (DP_DEPTH in asterisk/extensions.conf).
DEPTH_LIMIT = 8
_CLASSES = ("internal", "national", "international")


class Leg(NamedTuple):
    """What an edge handed over."""

    cluster: str
    account: str
    called: str
    caller: str
    device: str
    trunk: str


class Application(NamedTuple):
    """`Gosub(dp-user,s,1(alice,...))` taken apart: name `dp-user`, arguments unescaped."""

    name: str
    arguments: tuple[str, ...]


def decide(leg: Leg, entries: Entries) -> tuple[Step, ...]:
    """Every step, in the order in which it is taken; what depends on the phones is written as a condition."""
    walk = _Walk(leg, entries)
    walk.start()
    return tuple(walk.steps)


def application(line: str) -> Application:
    """Take one dialplan line apart; a Gosub is named after the context it goes to."""
    name, _, rest = line.partition("(")
    arguments = rest.removesuffix(")")
    if name == "Gosub" and (found := re.match(r"([^,]+),s,1\((.*)\)$", arguments, re.DOTALL)):
        name, arguments = found[1], found[2]
    parts = re.split(r"(?<!\\),", arguments)
    return Application(name, tuple(re.sub(r"\\(.)", r"\1", part) for part in parts))


class _Walk:
    def __init__(self, leg: Leg, entries: Entries) -> None:
        self.leg = leg
        self.steps: list[Step] = []
        self._entries = entries
        self._own = entries.dialplan(leg.cluster, f"account-{leg.account}")
        self._country = application(self._own.get(":account", "Return()")).arguments[0]

    def start(self) -> None:
        """The order: emergency, trunk, own extension, number."""
        leg = self.leg
        emergency = self._context(f"emergency-{self._country}")
        if leg.called in emergency and not leg.trunk:
            trunks = application(emergency[leg.called]).arguments[-1]
            self._say(
                f"emergency call by {_trunks(trunks)}",
                f"{leg.called} is an emergency number of {self._country}",
            )
        elif leg.trunk:
            self._inbound(leg.called, "it came by a trunk: only numbers of the account can be reached")
        else:
            self._dial(leg.called, self._permission(), depth=0)

    def _dial(self, called: str, permission: str, *, depth: int) -> None:
        if depth > DEPTH_LIMIT:
            self._say("announcement, 25", f"more than {DEPTH_LIMIT} next steps")
        elif called in self._own and not called.startswith(":"):
            self._extension(called, depth)
        else:
            self._outside(called, permission)

    def _extension(self, extension: str, depth: int) -> None:
        lines = self._own[extension].split("\n")
        one = application(lines[-1])
        act = _APPLICATIONS.get(one.name)
        if act is None:
            self._say(lines[-1], f"extension {extension} of {self.leg.account}")
        else:
            act(self, extension, one, lines, depth)

    def _ring(self, extension: str, one: Application, lines: list[str], depth: int) -> None:
        user, _, ring_time_s, devices, no_answer, busy, unregistered = one.arguments
        rung = [application(line).arguments[0] for line in lines[:-1]] + ([devices] if devices else [])
        why = f"extension {extension} of {self.leg.account} is user {user}"
        if rung:
            self._say(f"ring {', '.join('&'.join(rung).split('&'))} for {ring_time_s} s", why)
            self._next("no answer", no_answer, depth)
            self._next("busy", busy, depth)
            self._next("no device registered", unregistered, depth)
        else:
            self._say("ring nobody", f"{why}, who has no enabled device")
            self._next("no device", unregistered, depth)

    def _next(self, condition: str, step: str, depth: int) -> None:
        action, _, target = step.partition(":")
        self._say(f"then {action} {target}".rstrip(), f"if {condition}")
        if depth:  # one level of what follows is told; the live call goes on by the same rules
            return
        if action == "extension":
            self._dial(target, self._permission(), depth=depth + 1)
        elif action == "number":
            self._outside(target, "international")

    def _voicemail(self, extension: str, one: Application, _: list[str], __: int) -> None:
        self._say(f"voicemail {one.arguments[0]}", f"extension {extension} takes messages")

    def _voicemail_main(self, extension: str, _: Application, __: list[str], ___: int) -> None:
        self._say("listen to voicemail", f"extension {extension}")

    def _echo(self, extension: str, _: Application, __: list[str], ___: int) -> None:
        self._say("echo test", f"extension {extension}")

    def _announcement(self, extension: str, one: Application, _: list[str], __: int) -> None:
        self._say(f"announcement {one.arguments[0]}", f"extension {extension}")

    def _forward(self, extension: str, one: Application, _: list[str], __: int) -> None:
        self._say(f"forward to {one.arguments[0]}", f"extension {extension}")
        self._outside(one.arguments[0], "international")

    def _inbound(self, number: str, why: str) -> bool:
        found = self._context(f"inbound-{self.leg.account}").get(number)
        if found is None:
            if self.leg.trunk:
                self._say("announcement, 404", f"{number} is no number of {self.leg.account}")
            return False
        extension = application(found).arguments[1]
        self._say(f"to extension {extension}", f"{number} leads there; {why}")
        self._dial(extension, "internal", depth=0)
        return True

    def _outside(self, called: str, permission: str) -> None:
        e164 = routed = called
        if not called.startswith("+") or called in self._context(f"country-{self._country}"):
            country = self._context(f"country-{self._country}")
            pattern = best(country, called)
            if pattern is None:
                self._say(
                    "announcement, 404", f"{called} is neither an extension nor a number in {self._country}"
                )
                return
            one = application(country[pattern])
            e164 = _expand(one.arguments[-1], called)
            routed = _expand(one.arguments[0], called)
            self._say(f"number {e164}", f"{called} as dialled in {self._country}")
        if self._inbound(e164, "the account's own number stays inside"):
            return
        wanted = self._class(e164)
        if _CLASSES.index(wanted) > _CLASSES.index(permission):
            self._say("announcement, 403", f"a {wanted} number, but the caller may dial {permission} ones")
            return
        self._route(e164, routed, wanted)

    def _route(self, e164: str, routed: str, wanted: str) -> None:
        digits = e164.lstrip("+")
        for context in (f"routes-{self.leg.account}", "routes"):
            routes = self._context(context)
            pattern = best(routes, e164) or best(routes, digits)
            if pattern:
                trunks = application(routes[pattern]).arguments[0]
                whose = "shared route" if context == "routes" else "route of the account"
                self._say(
                    f"dial {routed} by {_trunks(trunks)}", f"{whose} {pattern.strip('_!')}, a {wanted} number"
                )
                return
        if self._entries.edge("number", e164) is not None:
            self._say(f"dial {e164} inside", "no route, but another account here owns it")
        else:
            self._say("announcement, 404", f"no route fits {e164} (table routes)")

    def _class(self, e164: str) -> str:
        classes = self._context(f"class-{self._country}")
        pattern = best(classes, e164)
        return application(classes[pattern]).arguments[0] if pattern else "international"

    def _permission(self) -> str:
        user = self._own.get(f":user:{self.leg.caller.replace('-', ':')}")
        return application(user).arguments[0] if user else "internal"

    def _context(self, name: str) -> dict[str, str]:
        return self._entries.dialplan(self.leg.cluster, name)

    def _say(self, what: str, why: str) -> None:
        self.steps.append(Step("media", what, why))


_APPLICATIONS: dict[str, Callable[[_Walk, str, Application, list[str], int], None]] = {
    "dp-user": _Walk._ring,
    "dp-voicemail": _Walk._voicemail,
    "dp-voicemail-main": _Walk._voicemail_main,
    "dp-echo": _Walk._echo,
    "dp-announcement": _Walk._announcement,
    "dp-forward": _Walk._forward,
}


def _trunks(value: str) -> str:
    """`a*3&b*1|c*1` for people: `a (75 %) or b (25 %), then c`."""
    groups = []
    for group in value.split("|"):
        members = [member.partition("*")[::2] for member in group.split("&")]
        total = sum(int(weight or 1) for _, weight in members)
        groups.append(
            " or ".join(
                name if len(members) == 1 else f"{name} ({100 * int(weight or 1) // total} %)"
                for name, weight in members
            )
        )
    return ", then ".join(groups)


def _expand(template: str, called: str) -> str:
    """`+49${EXTEN:1}` with the dialled number put in."""
    return re.sub(r"\$\{EXTEN(?::(\d+))?\}", lambda found: called[int(found[1] or 0) :], template)
