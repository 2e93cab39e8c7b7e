"""The media node's half of a decision: the order of asterisk/extensions.conf over the rendered contexts."""

from __future__ import annotations

import re

from controller.policy import Step, edge
from controller.policy.blocks import blocked
from controller.policy.features import Features
from controller.policy.patterns import best
from controller.policy.way import Application, Leg, application, said

__all__ = ["Application", "Leg", "Walk", "application", "in_words", "said"]


class Walk(Features):
    """The way of one call through a media node, but for what is decided per call: `follow.Follower` knows that."""

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
            self._own = self._own | {called: expand(self._own[pattern], called)}
            self._extension(called)
        elif self.leg.ring:
            device, _, user = self.leg.ring.partition(" ")
            self._say(f"ring {device} for 60 s", f"the name of a device{f' of user {user}' if user else ''}")
            self.recording.called(user)
            self.steps += self.recording.told("internal", [device])
            self._event("dp.ring", f"{user} for 60 s")
        else:
            self._outside(called, permission)

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

    def _voicemail(self, extension: str, one: Application, *_: list[Application]) -> None:
        self._say(f"voicemail {one.arguments[0]}", f"extension {extension} takes messages")
        self._event("dp.voicemail", f"{one.arguments[0]}@{self.leg.account}")

    def _voicemail_main(self, extension: str, *_: object) -> None:
        self._say("listen to voicemail", f"extension {extension}")

    def _echo(self, extension: str, *_: object) -> None:
        self._say("echo test", f"extension {extension}")

    def _announcement(self, extension: str, one: Application, *_: list[Application]) -> None:
        self._say(f"announcement {one.arguments[0]}", f"extension {extension}")

    def _application(self, extension: str, one: Application, *_: list[Application]) -> None:
        name = one.arguments[0]
        self._say(
            f"application {name} of the site",
            f"extension {extension}; if the node has a context site-{name}, else 404",
        )

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
        number = expand(one.arguments[-1], called)
        self._say(f"number {number}", f"{called} as dialled in {self._country}")
        if one.name == "dp-short":
            short = expand(one.arguments[0], called)
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
        owner = self._entries.edge("number", number)
        reason = blocked(
            self._entries, self.leg.account, self.leg.device, number, "", outside=owner != self.leg.account
        )
        if reason and (owner is not None or trunks):
            self._say(
                f"refuse {self._code(403)} Blocked", f"the edge lets {number} out by no trunk: {reason}"
            )
        elif owner is not None:
            self._on_net(number)
        elif not trunks:
            self._say(
                "refuse 404 Not Found", f"no route fits {routed} (table routes), and no account here owns it"
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


Walk.applications = {
    **Features.applications,
    "dp-user": Walk._ring,
    "dp-voicemail": Walk._voicemail,
    "dp-voicemail-main": Walk._voicemail_main,
    "dp-echo": Walk._echo,
    "dp-announcement": Walk._announcement,
    "dp-app": Walk._application,
    "dp-forward": Walk._forward,
}


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


def expand(template: str, called: str) -> str:
    """`+49${EXTEN:1}` with the dialled number put in."""
    return re.sub(r"\$\{EXTEN(?::(\d+))?\}", lambda found: called[int(found[1] or 0) :], template)
