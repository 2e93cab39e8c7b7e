"""The media node's half of a decision: the order of asterisk/extensions.conf over the rendered contexts."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from controller.policy import Entries, Step, edge
from controller.policy.model import DEPTH_LIMIT
from controller.policy.patterns import best
from controller.policy.recording import Recording


class Leg(NamedTuple):
    """What an edge handed over. `number`: what a caller by a trunk shows; lots are drawn of `call_id`."""

    cluster: str
    account: str
    called: str
    caller: str
    device: str
    trunk: str
    ring: str = ""
    number: str = ""
    call_id: str = ""
    headers: Mapping[str, str] = MappingProxyType({})


class Application(NamedTuple):
    """`Gosub(dp-user,s,1(alice,...))` taken apart: name `dp-user`, arguments unescaped."""

    name: str
    arguments: tuple[str, ...]


def application(line: str) -> Application:
    """Take one dialplan line apart; a Gosub is named after the context it goes to."""
    name, _, rest = line.partition("(")
    arguments = rest.removesuffix(")")
    if name == "Gosub" and (found := re.match(r"([^,]+),s,1\((.*)\)$", arguments, re.DOTALL)):
        name, arguments = found[1], found[2]
    parts = re.findall(r"(?:^|,)((?:\\.|[^\\,])*)", arguments, re.DOTALL)
    return Application(name, tuple(re.sub(r"\\(.)", r"\1", part) for part in parts))


class Walk:
    """The way of one call through a media node, but for what is decided per call: `follow.Follower` knows that.

    `steps` are all of them, in the order in which they are taken; what depends on the phones is written as a
    condition, and followed one level deep: the live call goes on by the same rules. `depth`: next steps followed
    before, in the account that calls this one.
    """

    applications: ClassVar[Mapping[str, Callable[..., None]]]

    def __init__(self, leg: Leg, entries: Entries, depth: int = 0) -> None:
        self.leg = leg
        self._depth = depth  # dp-next, dp-forward and own numbers count (DP_DEPTH)
        self._conditional = False
        self.steps: list[Step] = []
        self._entries = entries
        self._own = entries.dialplan(leg.cluster, f"account-{leg.account}")
        account = (*application(self._own.get(":account", "Return()")).arguments, "", "")
        self._country, self._language, self._shown, *_ = account
        self.recording = Recording(self._data, leg.caller, leg.device, leg.trunk)

    def start(self) -> None:
        """The order: emergency, trunk, own extension, number."""
        leg = self.leg
        emergency = self._context(f"emergency-{self._country}")
        if leg.called in emergency and not leg.trunk:
            trunks = application(emergency[leg.called]).arguments[-1]
            self._say(
                f"emergency call by {in_words(trunks)}",
                f"{leg.called} is an emergency number of {self._country}",
            )
            self._event("dp.emergency", f"{leg.called} by {trunks}")
        elif leg.trunk:
            self._inbound(leg.called, "it came by a trunk: only numbers of the account can be reached")
        else:
            self._dial(leg.called, self._permission())

    def _dial(self, called: str, permission: str) -> None:
        if called in self._own and not called.startswith(":"):
            self._extension(called)
        elif (pattern := best((one for one in self._own if one.startswith("_")), called)) is not None:
            self._own = self._own | {called: _expand(self._own[pattern], called)}
            self._extension(called)
        elif self.leg.ring:
            device, _, user = self.leg.ring.partition(" ")
            self._say(f"ring {device} for 60 s", f"the name of a device{f' of user {user}' if user else ''}")
            self.recording.called(user)
            self.steps += self.recording.told("internal", [device])
            self._event("dp.ring", f"{user} for 60 s")
        else:
            self._outside(called, permission)

    def _deeper(self) -> bool:
        """One next step more; False: one too many."""
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            self._say(f"announcement, {self._code(603)}", f"more than {DEPTH_LIMIT} next steps")
            self._event("dp.refused", f"more than {DEPTH_LIMIT} next steps")
        return self._depth <= DEPTH_LIMIT

    def _extension(self, extension: str) -> None:
        self._run(extension, [application(line) for line in self._own[extension].split("\n")])

    def _run(self, extension: str, lines: list[Application]) -> None:
        """The first line that is an application says what happens; what stands before it are its devices."""
        for place, one in enumerate(lines):
            act = self.applications.get(one.name)
            if act is not None:
                act(self, extension, one, lines[:place], lines[place + 1 :])
                return
        self._say(self._own[extension].split("\n")[-1], f"extension {extension} of {self.leg.account}")

    def _ring(
        self, extension: str, one: Application, before: list[Application], _: list[Application]
    ) -> None:
        user, __, ring_time_s, devices, no_answer, busy, unregistered = one.arguments
        rung = [line.arguments[0] for line in before] + ([devices] if devices else [])
        why = f"extension {extension} of {self.leg.account} is user {user}"
        if user in self._entries.snapshot(self.leg.cluster, self.leg.account).live.dnd:
            self._say(f"then {said(busy)}", f"{user} does not want to be disturbed")
            self._go(busy)
        elif rung:
            phones = "&".join(rung).split("&")
            self._say(f"ring {', '.join(phones)} for {ring_time_s} s", why)
            self.recording.called(user)
            self.steps += self.recording.told("internal", phones)
            self._event("dp.ring", f"{user} for {ring_time_s} s")
            self._one_of({
                "silent": (Step("media", f"then {said(no_answer)}", "if no answer"), no_answer),
                "busy": (Step("media", f"then {said(busy)}", "if busy"), busy),
                "away": (Step("media", f"then {said(unregistered)}", "if no device registered"), unregistered),
            })  # fmt: skip
        else:
            self._say("ring nobody", f"{why}, who has no enabled device")
            self._one_of({"": (Step("media", f"then {said(unregistered)}", "if no device"), unregistered)})

    def _one_of(self, outcomes: Mapping[str, tuple[Step, str]]) -> None:
        """One of these will happen: what is said of it, and its next step."""
        for told, step in outcomes.values():
            self.steps.append(told)
            self._branch(functools.partial(self._go, step))

    def _branch(self, follow: Callable[[], None]) -> None:
        """What comes under a condition, if this is not told of under one already."""
        if self._conditional:
            return
        before, told = (self._depth, self._language, self.recording.wish), len(self.steps)
        self._conditional = True
        follow()
        self._conditional = False
        self._depth, self._language, self.recording.wish = before
        self.steps[told:] = [step._replace(under=step.under + 1) for step in self.steps[told:]]

    def _go(self, step: str) -> None:
        """dp-next: where a step leads; what it is was said."""
        action, _, target = step.partition(":")
        self._event("dp.next", step)
        self.recording.record()
        if not self._deeper():
            return
        if action == "number":
            self._forwarded(target)
        elif action == "extension":
            self._reach(target, f"{target} is no extension of {self.leg.account}")
        elif action == "voicemail":
            self._event("dp.voicemail", f"{target}@{self.leg.account}")
        elif action in ("group", "menu", "policy", "queue"):
            self._reach(f":{action}:{target.replace('-', ':')}", f"{step} is not there")

    def _reach(self, extension: str, missing: str) -> None:
        if extension in self._own:
            self._extension(extension)
        else:
            self._say("announcement, 404", missing)
            self._event("dp.refused", missing)

    def _voicemail(self, extension: str, one: Application, *_: list[Application]) -> None:
        self._say(f"voicemail {one.arguments[0]}", f"extension {extension} takes messages")
        self._event("dp.voicemail", f"{one.arguments[0]}@{self.leg.account}")

    def _voicemail_main(self, extension: str, *_: object) -> None:
        self._say("listen to voicemail", f"extension {extension}")

    def _echo(self, extension: str, *_: object) -> None:
        self._say("echo test", f"extension {extension}")

    def _announcement(self, extension: str, one: Application, *_: list[Application]) -> None:
        self._say(f"announcement {one.arguments[0]}", f"extension {extension}")

    def _conference(self, extension: str, one: Application, *_: list[Application]) -> None:
        _number, room, pin, moderator, most, flags = one.arguments
        asked = {
            (True, True): "PIN of members or moderators",
            (True, False): "PIN",
            (False, True): "PIN of moderators",
        }
        told = [
            f"the {asked[bool(pin), bool(moderator)]} is asked for" if pin or moderator else "no PIN",
            "members wait for a moderator" if "w" in flags else "",
            f"{most} members at most" if most else "",
            "recorded, and said so" if "r" in flags else "",
        ]
        self._say(f"conference {room}, at the account's home node", "; ".join(filter(None, told)))
        self._event("dp.home", extension)

    def _membership(self, extension: str, one: Application, *_: list[Application]) -> None:
        self._say(
            f"leave group {one.arguments[0]}, or join it again", f"extension {extension}, for its members"
        )
        self._event("dp.member", one.arguments[0])

    def _pickup(self, extension: str, one: Application, *_: list[Application]) -> None:
        _code, wanted = one.arguments
        rings = f"at {wanted}" if wanted else f"somewhere in {self.leg.account}"
        self._say(f"pick up a call that rings {rings}", "this node first, then the others of the cluster")
        self._event("dp.pickup", wanted or "any")

    def _supervise(self, extension: str, one: Application, *_: list[Application]) -> None:
        _number, key, queue = one.arguments
        caller = self.leg.caller.replace("-", ":")
        if not caller or f":may:supervise:{key}:{caller}" not in self._own:
            self._say(
                "announcement, 403",
                f"{self.leg.caller or 'who calls from outside'} does not supervise {queue}",
            )
            self._event("dp.refused", f"supervisors of queue {queue} only")
            return
        self._say(
            f"listen to talks of queue {queue}",
            f"extension {extension}; this node first, then the others: 5 speaks to the member, 6 to both",
        )
        self._event("dp.supervise", queue)

    def _park(self, extension: str, one: Application, *_: list[Application]) -> None:
        _extension, lot, first, slots, wait_s, return_s, then, *_lamps = one.arguments
        last = int(first) + int(slots) - 1
        self._say(
            f"park in {lot}, the first free one of slots {first} to {last}, at the account's home node",
            f"extension {extension}; music for {wait_s} s, or until somebody dials the slot",
        )
        self._event("dp.home", extension)
        back = f"ring for {return_s} s where it was parked, " if return_s != "0" else ""
        self._one_of({"late": (Step("media", f"{back}then {said(then)}", "if nobody dials the slot"), then)})

    def _unpark(self, extension: str, one: Application, *_: list[Application]) -> None:
        self._say(
            f"take the call that is parked at {extension}, at the account's home node",
            f"a slot of parking lot {one.arguments[1]}; a call that is transferred there is parked there",
        )
        self._event("dp.home", extension)

    def _page(
        self, extension: str, one: Application, before: list[Application], _: list[Application]
    ) -> None:
        name, flags, tone, max_s, devices = one.arguments
        caller = self.leg.caller
        allowed = "r" not in flags or f":may:page:{name}:{caller}".replace("-", ":") in self._own
        if not caller or not allowed:
            why = f"{caller} may not page {name}" if caller else "who calls from outside pages nobody"
            self._say(f"announcement, {self._code(403)}", why)
            if caller:
                self._event("dp.refused", why)
            return
        chunks = [*(line.arguments[0] for line in before), devices]
        heard = [aor for aor in "&".join(chunks).split("&") if aor and aor != self.leg.device]
        told = [
            "they may answer" if "d" in flags else "they only hear",
            f"after {tone}" if tone else "",
            f"{max_s} s at most",
            "who is on the telephone or does not want to be disturbed is passed over",
        ]
        self._say(
            f"page {', '.join(heard) or 'nobody'}",
            f"extension {extension} is page {name}: {'; '.join(filter(None, told))}",
        )
        self._event("dp.page", name)

    def _forward(self, extension: str, one: Application, *_: list[Application]) -> None:
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
            self._event("dp.refused", f"{number} is no number of account {self.leg.account}")
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
            self._event("dp.refused", f"{called} is no extension and no number")
            return
        one = application(country[pattern])
        number = _expand(one.arguments[-1], called)
        self._say(f"number {number}", f"{called} as dialled in {self._country}")
        if one.name == "dp-short":
            short = _expand(one.arguments[0], called)
            if self._permitted(short, "national", permission):
                self._route(short, number, "national")
        else:
            self._number(number, permission)

    def _number(self, number: str, permission: str) -> None:
        """dp-e164: own numbers stay inside; then the permission; then the trunks."""
        if number in self._context(f"inbound-{self.leg.account}"):
            if self._deeper():
                self._inbound(number, "the account's own number stays inside")
            return
        wanted = self._class(number)
        if self._permitted(number, wanted, permission):
            self._route(number, number, wanted)

    def _permitted(self, number: str, wanted: str, permission: str) -> bool:
        if permission == "international" or permission == wanted == "national":
            return True
        self._say(
            "announcement, 403", f"a {wanted} number, but the caller may dial {permission or 'no'} ones"
        )
        self._event("dp.refused", f"{number} is {wanted}: permission {permission}")
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
        self._event("dp.route", f"{number} by {trunks or 'no trunk'}")
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
            self._say(f"dial {number} by {in_words(trunks)}", f"{why}{self._told_shown()}")
            self.steps += self.recording.told("outbound")

    def _on_net(self, number: str) -> None:
        verdict = edge.on_net(number, self._entries)
        self._say(f"dial {number} inside", "another account here owns it")
        self.steps += self.recording.told("outbound")
        self.steps.extend(verdict.steps)
        if verdict.action == "refuse":
            self.steps[-1] = Step("edge", "refuse 480 Temporarily Unavailable", verdict.steps[-1].why)
        else:
            leg = Leg(
                verdict.target, verdict.account, number, "", "", edge.ONNET,
                number=self._shows(), call_id=self.leg.call_id,
            )  # fmt: skip
            other = type(self)(leg, self._entries, self._depth)
            other.start()
            self.steps.extend(other.steps)

    def _shows(self) -> str:
        """The number that an outside party sees: of the device, else of the user, else of the account."""
        device = self._data(f":device:{self.leg.device}")
        user = self._data(f":user:{self.leg.caller}")
        return device[0] or user[1] or self._shown

    def _told_shown(self) -> str:
        """What the one who is called sees. Not told of what is only possible: a group may show a number of its own."""
        shown = "" if self._conditional else self._shows()
        return f"; it shows {shown}" if shown else ""

    def _class(self, e164: str) -> str:
        classes = self._context(f"class-{self._country}")
        pattern = best(classes, e164)
        return application(classes[pattern]).arguments[0] if pattern else "international"

    def _permission(self) -> str:
        return self._data(f":user:{self.leg.caller}")[0] or "internal"

    def _data(self, extension: str) -> tuple[str, ...]:
        """What a data extension returns; empty texts where it says nothing."""
        found = self._own.get(extension.replace("-", ":"), "Return()")
        return (*application(found).arguments, "", "", "", "", "", "")

    def _context(self, name: str) -> dict[str, str]:
        return self._entries.dialplan(self.leg.cluster, name)

    def _code(self, code: int) -> int:
        """What an edge makes of the code when another account called (trunks.cfg, ON_NET)."""
        return 480 if self.leg.trunk == edge.ONNET else code

    def _say(self, what: str, why: str) -> None:
        self.steps.append(Step("media", what, why))

    def _event(self, name: str, text: str) -> None:
        """The dialplan writes this into the call's events; a replay compares."""


Walk.applications = {
    "dp-user": Walk._ring,
    "dp-voicemail": Walk._voicemail,
    "dp-voicemail-main": Walk._voicemail_main,
    "dp-echo": Walk._echo,
    "dp-announcement": Walk._announcement,
    "dp-forward": Walk._forward,
    "dp-conference": Walk._conference,
    "dp-pickup": Walk._pickup,
    "dp-membership": Walk._membership,
    "dp-park": Walk._park,
    "dp-unpark": Walk._unpark,
    "dp-page": Walk._page,
    "dp-supervise": Walk._supervise,
}


def said(step: str) -> str:
    """`voicemail:101` for people."""
    return step.replace(":", " ", 1)


def in_words(value: str) -> str:
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
