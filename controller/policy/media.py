"""The media node's half of a decision: the order of asterisk/extensions.conf over the rendered contexts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from controller.policy import Entries, Step, edge
from controller.policy.patterns import best

# The base dialplan follows at most so many next steps (DP_DEPTH in asterisk/extensions.conf).
DEPTH_LIMIT = 8


class Leg(NamedTuple):
    """What an edge handed over."""

    cluster: str
    account: str
    called: str
    caller: str
    device: str
    trunk: str
    ring: str = ""


class Application(NamedTuple):
    """`Gosub(dp-user,s,1(alice,...))` taken apart: name `dp-user`, arguments unescaped."""

    name: str
    arguments: tuple[str, ...]


def decide(leg: Leg, entries: Entries, depth: int = 0) -> tuple[Step, ...]:
    """Every step, in the order in which it is taken; what depends on the phones is written as a condition.

    `depth`: next steps followed before, in the account that calls this one.
    """
    walk = _Walk(leg, entries, depth)
    walk.start()
    return tuple(walk.steps)


def application(line: str) -> Application:
    """Take one dialplan line apart; a Gosub is named after the context it goes to."""
    name, _, rest = line.partition("(")
    arguments = rest.removesuffix(")")
    if name == "Gosub" and (found := re.match(r"([^,]+),s,1\((.*)\)$", arguments, re.DOTALL)):
        name, arguments = found[1], found[2]
    parts = re.findall(r"(?:^|,)((?:\\.|[^\\,])*)", arguments, re.DOTALL)
    return Application(name, tuple(re.sub(r"\\(.)", r"\1", part) for part in parts))


class _Walk:
    def __init__(self, leg: Leg, entries: Entries, depth: int) -> None:
        self.leg = leg
        self._depth = depth  # dp-next, dp-forward and own numbers count (DP_DEPTH)
        self._conditional = (
            False  # one level of what follows is told; the live call goes on by the same rules
        )
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
            self._dial(leg.called, self._permission())

    def _dial(self, called: str, permission: str) -> None:
        if called in self._own and not called.startswith(":"):
            self._extension(called)
        elif self.leg.ring:
            device, _, user = self.leg.ring.partition(" ")
            self._say(f"ring {device} for 60 s", f"the name of a device{f' of user {user}' if user else ''}")
        else:
            self._outside(called, permission)

    def _deeper(self) -> bool:
        """One next step more; False: one too many."""
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            self._say(f"announcement, {self._code(603)}", f"more than {DEPTH_LIMIT} next steps")
        return self._depth <= DEPTH_LIMIT

    def _extension(self, extension: str) -> None:
        lines = self._own[extension].split("\n")
        one = application(lines[-1])
        act = _APPLICATIONS.get(one.name)
        if act is None:
            self._say(lines[-1], f"extension {extension} of {self.leg.account}")
        else:
            act(self, extension, one, lines)

    def _ring(self, extension: str, one: Application, lines: list[str]) -> None:
        user, _, ring_time_s, devices, no_answer, busy, unregistered = one.arguments
        rung = [application(line).arguments[0] for line in lines[:-1]] + ([devices] if devices else [])
        why = f"extension {extension} of {self.leg.account} is user {user}"
        if rung:
            self._say(f"ring {', '.join('&'.join(rung).split('&'))} for {ring_time_s} s", why)
            self._next("no answer", no_answer)
            self._next("busy", busy)
            self._next("no device registered", unregistered)
        else:
            self._say("ring nobody", f"{why}, who has no enabled device")
            self._next("no device", unregistered)

    def _next(self, condition: str, step: str) -> None:
        action, _, target = step.partition(":")
        self._say(f"then {action} {target}".rstrip(), f"if {condition}")
        if self._conditional or action not in ("extension", "number"):
            return
        self._conditional, before = True, self._depth
        if self._deeper():
            if action == "number":
                self._forwarded(target)
            elif target in self._own:
                self._extension(target)
            else:
                self._say("announcement, 404", f"{target} is no extension of {self.leg.account}")
        self._conditional, self._depth = False, before

    def _voicemail(self, extension: str, one: Application, _: list[str]) -> None:
        self._say(f"voicemail {one.arguments[0]}", f"extension {extension} takes messages")

    def _voicemail_main(self, extension: str, _: Application, __: list[str]) -> None:
        self._say("listen to voicemail", f"extension {extension}")

    def _echo(self, extension: str, _: Application, __: list[str]) -> None:
        self._say("echo test", f"extension {extension}")

    def _announcement(self, extension: str, one: Application, _: list[str]) -> None:
        self._say(f"announcement {one.arguments[0]}", f"extension {extension}")

    def _forward(self, extension: str, one: Application, _: list[str]) -> None:
        self._say(f"forward to {one.arguments[0]}", f"extension {extension}")
        self._forwarded(one.arguments[0])

    def _forwarded(self, number: str) -> None:
        """dp-forward: what the rows name needs no permission of the caller."""
        if self._deeper():
            self._number(number, "international")

    def _inbound(self, number: str, why: str) -> None:
        found = self._context(f"inbound-{self.leg.account}").get(number)
        if found is None:
            self._say("announcement, 404", f"{number} is no number of {self.leg.account}")
            return
        extension = application(found).arguments[1]
        self._say(f"to extension {extension}", f"{number} leads there; {why}")
        if extension in self._own:
            self._extension(extension)

    def _outside(self, called: str, permission: str) -> None:
        country = self._context(f"country-{self._country}")
        pattern = best(country, called)
        if pattern is None:
            self._say(
                "announcement, 404", f"{called} is neither an extension nor a number in {self._country}"
            )
            return
        one = application(country[pattern])
        number = _expand(one.arguments[-1], called)
        self._say(f"number {number}", f"{called} as dialled in {self._country}")
        if one.name == "dp-short":
            if self._permitted("national", permission):
                self._route(_expand(one.arguments[0], called), number, "national")
        else:
            self._number(number, permission)

    def _number(self, number: str, permission: str) -> None:
        """dp-e164: own numbers stay inside; then the permission; then the trunks."""
        if number in self._context(f"inbound-{self.leg.account}"):
            if self._deeper():
                self._inbound(number, "the account's own number stays inside")
            return
        wanted = self._class(number)
        if self._permitted(wanted, permission):
            self._route(number, number, wanted)

    def _permitted(self, wanted: str, permission: str) -> bool:
        if permission == "international" or permission == wanted == "national":
            return True
        self._say(
            "announcement, 403", f"a {wanted} number, but the caller may dial {permission or 'no'} ones"
        )
        return False

    def _route(self, number: str, routed: str, wanted: str) -> None:
        """dp-out: the trunks of the longest prefix, own routes before shared ones; then what the edge does with it."""
        digits = routed.lstrip("+")
        trunks = ""
        for context in (f"routes-{self.leg.account}", "routes"):
            routes = self._context(context)
            pattern = best(routes, digits)
            if pattern:
                trunks = application(routes[pattern]).arguments[0]
                whose = "shared route" if context == "routes" else "route of the account"
                why = f"{whose} {pattern.strip('_!')}, a {wanted} number"
                break
        if self._entries.edge("number", number) is not None:
            self._on_net(number)
        elif not trunks:
            self._say(
                "refuse 404 Not Found", f"no route fits {routed} (table routes), and no account here owns it"
            )
        elif reason := edge.blocked(self._entries, self.leg.account, self.leg.device, number, ""):
            self._say(
                f"refuse {self._code(403)} Blocked", f"the edge lets {number} out by no trunk: {reason}"
            )
        else:
            self._say(f"dial {number} by {_trunks(trunks)}", why)

    def _on_net(self, number: str) -> None:
        verdict = edge.on_net(number, self._entries)
        self._say(f"dial {number} inside", "another account here owns it")
        self.steps.extend(verdict.steps)
        if verdict.action == "refuse":
            self.steps[-1] = Step("edge", "refuse 480 Temporarily Unavailable", verdict.steps[-1].why)
        else:
            leg = Leg(verdict.target, verdict.account, number, "", "", edge.ONNET)
            self.steps.extend(decide(leg, self._entries, self._depth))

    def _class(self, e164: str) -> str:
        classes = self._context(f"class-{self._country}")
        pattern = best(classes, e164)
        return application(classes[pattern]).arguments[0] if pattern else "international"

    def _permission(self) -> str:
        user = self._own.get(f":user:{self.leg.caller.replace('-', ':')}")
        return application(user).arguments[0] if user else "internal"

    def _context(self, name: str) -> dict[str, str]:
        return self._entries.dialplan(self.leg.cluster, name)

    def _code(self, code: int) -> int:
        """What an edge makes of the code when another account called (trunks.cfg, ON_NET)."""
        return 480 if self.leg.trunk == edge.ONNET else code

    def _say(self, what: str, why: str) -> None:
        self.steps.append(Step("media", what, why))


_APPLICATIONS: dict[str, Callable[[_Walk, str, Application, list[str]], None]] = {
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
