"""What is decided per call, where the rendered dialplan asks for it: groups, policies, users that forward, menus. Pure.

The decision is that of `decide`, as the live call gets it; what the program leads to is followed as the dialplan does.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence

from controller.errors import BadPolicy, InputError, TemplateError
from controller.policy import Entries, Step, media, model, program
from controller.policy.decide import Decision, decide
from controller.policy.media import Application, said
from controller.policy.patterns import best
from controller.queues.callback import called_back
from controller.queues.model import Queue

_REMEMBERING = frozenset({"round_robin", "least_recent", "fewest_calls"})
_OUTCOMES = ("silent", "busy", "away")
_CONDITIONS = ("no answer", "busy", "no device registered")


class Follower(media.Walk):
    """The whole way of a call through a media node.

    `fallbacks`: what was asked for -> what happens when no AGI server answers in time. The last steps tell it.
    """

    def __init__(self, leg: media.Leg, entries: Entries, depth: int = 0) -> None:
        super().__init__(leg, entries, depth)
        self.fallbacks: dict[str, str] = {}
        self._snapshot: model.Snapshot | None = None
        caller = self._data(f":user:{leg.caller}")
        if not leg.trunk:
            self._language = caller[5] or self._language
        own = leg.device.partition("@")[0]
        self._number_shown = leg.number if leg.trunk else caller[2] or re.sub(r"[^+*#0-9a-zA-Z]", "", own)

    def start(self) -> None:
        """As media.Walk, then what would happen without Python."""
        super().start()
        for asked, instead in self.fallbacks.items():
            self.steps.append(Step("media", f"without Python, {asked}", instead))

    # ------------------------------------------------------------------------------------------------- dp-decide

    def _decide(
        self, extension: str, one: Application, _: list[Application], rest: list[Application]
    ) -> None:
        kind, name, *reached = one.arguments
        decision = self._decision(kind, name, *reached)
        if not decision.program:
            self.steps.extend(decision.reasons)
            self._run(extension, rest)
            return
        self.fallbacks.setdefault(f"{kind} {name}", ", ".join(_plain(rest)))
        self._memory(kind, name)
        acts = [Application(act.context, tuple(map(str, act.arguments))) for act in decision.program]
        self._perform(acts, decision.reasons)

    def _decision(self, kind: str, name: str, extension: str = "") -> Decision:
        try:
            decision = decide(self._call(kind, name, extension), self._account(), self._entries.now)
            program.lines(decision.program)
        except (BadPolicy, TemplateError) as error:
            return Decision((), (Step("policy", "no decision", str(error)),))
        return decision

    def _call(self, kind: str, name: str, extension: str = "") -> model.Call:
        """As dp-decide hands it to the AGI server."""
        leg = self.leg
        return model.Call(
            leg.account, leg.call_id, kind, name, self._number_shown, leg.caller, leg.device, leg.trunk, leg.called,
            self._language, leg.headers, self._depth, extension,
        )  # fmt: skip

    def _account(self) -> model.Snapshot:
        if self._snapshot is None:
            self._snapshot = self._entries.snapshot(self.leg.cluster, self.leg.account)
        return self._snapshot

    def _memory(self, kind: str, name: str) -> None:
        account = self._account()
        if (
            kind == "group"
            and account.groups[name].strategy in _REMEMBERING
            and name not in account.live.turns
        ):
            self.steps.append(
                Step("group", f"group {name} begins anew", "nothing is known of calls it had before")
            )

    def _perform(self, acts: Sequence[Application], reasons: Sequence[Step]) -> None:
        """A program, whose reasons say what each act does."""
        *first, last = acts
        # Of dp-otherwise the last reasons are its three steps.
        told = len(reasons) - (len(_OUTCOMES) if last.name == "dp-otherwise" else 0)
        self.steps.extend(reasons[:told])
        for act in first:
            self._act(act)
        if last.name == "dp-otherwise":
            outcomes = zip(reasons[told:], last.arguments, strict=True)
            self._one_of(dict(zip(_OUTCOMES, outcomes, strict=True)))
        elif last.name == "dp-next":
            self._go(last.arguments[0])
        elif last.name == "dp-reject":
            self._event("dp.refused", last.arguments[0])
        else:
            self._site(last.arguments[0])

    def _act(self, act: Application) -> None:
        if act.name == "dp-caller":
            self._language = act.arguments[0] or self._language
        elif act.name == "dp-record":
            self.recording.record(*act.arguments)
        elif act.name in ("dp-more", "dp-legs"):
            if act.name == "dp-legs":
                self._event("dp.ring", f"{act.arguments[0]} for {act.arguments[1]} s")
                phones = [leg.partition("~")[0] for leg in act.arguments[0].split("&")]
                self.steps += self.recording.told("internal", phones)
            for leg in act.arguments[0].split("&"):
                if leg.startswith("+"):
                    self._branch(functools.partial(self._forwarded, leg.partition("~")[0]))

    def _site(self, name: str) -> None:
        self._say(f"application {name} of the site", f"if the node has a context site-{name}, else 404")

    # -------------------------------------------------------------------------------------- without a decision

    def _legs(self, _: str, one: Application, before: list[Application], rest: list[Application]) -> None:
        """A group as it is rendered: all at once."""
        more = [line for line in before if line.name in ("dp-more", "dp-record")]
        otherwise = next((line for line in rest if line.name == "dp-otherwise"), None)
        self._say(_plain([*more, one])[-1], "as the group is rendered, without a decision")
        for act in (*more, one):
            self._act(act)
        if otherwise is not None:
            steps = zip(_OUTCOMES, _CONDITIONS, otherwise.arguments, strict=True)
            self._one_of(
                {
                    outcome: (Step("media", f"then {said(step)}", f"if {condition}"), step)
                    for outcome, condition, step in steps
                }
            )

    def _step(self, _: str, one: Application, *__: list[Application]) -> None:
        self._say(f"then {said(one.arguments[0])}", "as it is rendered, without a decision")
        self._go(one.arguments[0])

    # ------------------------------------------------------------------------------------------------------- queues

    def _queue(self, _: str, one: Application, __: list[Application], rest: list[Application]) -> None:
        """A queue: who rings depends on who is free then (`dialplane queue show`)."""
        name, _music, record = one.arguments
        if record:
            self.recording.record(record, f"queue {name}")
        self._event("dp.queue", name)
        self.fallbacks.setdefault(f"queue {name}", ", ".join(_plain(rest)))
        users, queue = self._account().users, self._account().queues.get(name)
        if queue is None:
            self._say(
                f"wait in queue {name}",
                "the AGI server does not know it: its members ring as they are rendered",
            )
            return
        members = (
            f"{len(queue.members)} members" if len(queue.members) != 1 else f"member {queue.members[0].user}"
        )
        wanted = " ".join(f"{skill}:{level}" for skill, level in queue.required_skills.items())
        self._say(
            f"wait in queue {name}: {queue.strategy.replace('_', ' ')}, {queue.ring_time_s} s each",
            f"{members}{f' with {wanted}' if wanted else ''}; who is free then decides (dialplane queue show)",
        )
        if queue.alert_limit:
            ordered = sorted(queue.members, key=lambda place: place.priority_alert)
            self._say(
                f"alert {queue.alert_limit} telephones at once, more every {queue.alert_pace_ms} ms",
                f"in this order: {', '.join(place.user for place in ordered)} (priority_alert)",
            )
        if queue.autopause_after:
            calls = f"{queue.autopause_after} calls in a row" if queue.autopause_after > 1 else "a call"
            self._say(
                f"a member who lets {calls} ring out pauses", "autopause_after; dialplane queue unpause"
            )
        phones = [aor for place in queue.members if place.user in users for aor in users[place.user].devices]
        self.steps += self.recording.told("internal", phones)
        if queue.callback:
            self.steps.append(
                Step("media", f"if 1 is pressed: {self._calls_back(queue)}", _tries(queue), under=1)
            )
        ways = (
            (queue.max_waiting is not None, queue.on_full, f"if {queue.max_waiting} wait already"),
            (not queue.join_empty or queue.leave_empty, queue.on_empty, "if no member is on duty"),
            (
                queue.max_wait_s is not None,
                queue.on_timeout,
                f"if nobody took the call in {queue.max_wait_s} s",
            ),
        )
        outcomes: dict[str, tuple[Step, str]] = {}
        for holds, step, why in ways:
            if holds:
                before = outcomes[step][0].why + " or " if step in outcomes else ""
                outcomes[step] = Step("media", f"then {said(step)}", before + why), step
        if outcomes:
            self._one_of(outcomes)

    def _calls_back(self, queue: Queue) -> str:
        """As dp-queue-number and the AGI server judge the number that is shown; another one may be typed."""
        leg, permission = self.leg, queue.callback_permission
        if not leg.trunk:
            devices = self._account().users[leg.caller].devices if leg.caller in self._account().users else ()
            return f"call {', '.join(devices) or leg.device} back"
        if permission == "internal":
            return "nobody outside is called back"
        asked = f"ask for a {'national number' if permission == 'national' else 'number'}, and call that back"
        country = self._context(f"country-{self._country}")
        pattern = best(country, self._number_shown)
        one = media.application(country[pattern]) if pattern else None
        if (
            one is None
            or one.name != "dp-e164"
            or self._number_shown in self._context(f"emergency-{self._country}")
        ):
            return asked
        number = media.expand(one.arguments[-1], self._number_shown)
        own = number in self._context(f"inbound-{leg.account}")
        try:
            permitted = not own and (permission == "international" or self._class(number) == "national")
            return f"call {called_back(number)} back" if permitted else asked
        except InputError:
            return asked

    # ----------------------------------------------------------------------------------------- menus, what leads on

    def _goto(self, extension: str, one: Application, *_: list[Application]) -> None:
        """An extension that leads to a group, a policy or a menu."""
        target = one.arguments[1]
        self._say(
            f"to {target[1:].replace(':', ' ', 1).replace(':', '-')}", f"extension {extension} leads there"
        )
        self._reach(target, f"{target} is not rendered for {self.leg.account}")

    def _menu(self, extension: str, one: Application, *_: list[Application]) -> None:
        name, greeting, timeout_s, tries, invalid, _longest, direct, on_timeout, on_invalid = one.arguments
        self._say(
            f"menu {name}: play {greeting}", f"{tries} times at most, {timeout_s} s for a key after each"
        )
        self._event("dp.menu", name)
        keys = f":key:{extension.removeprefix(':menu:')}:"
        outcomes = {
            key.removeprefix(keys): (f"{key.removeprefix(keys)} is pressed", application_step(value))
            for key, value in sorted(self._own.items())
            if key.startswith(keys) and re.fullmatch(r"[0-9*#]+", key.removeprefix(keys))
        }
        outcomes["nothing"] = ("nothing is pressed", on_timeout)
        outcomes["wrong"] = (f"only wrong keys are pressed ({invalid})", on_invalid)
        if direct:
            self._say("then any extension that rings somebody", "if its number is dialled")
        self._one_of(
            {
                key: (Step("media", f"then {said(step)}", f"if {condition}"), step)
                for key, (condition, step) in outcomes.items()
            }
        )


def _tries(queue: Queue) -> str:
    times = f"{queue.callback_tries} times at most, {queue.callback_pause_s} s apart"
    return (
        f"in its turn, a member first; {times}"
        if queue.callback_tries > 1
        else "in its turn, a member first; once"
    )


def application_step(value: str) -> str:
    """`group:sales` of `Return(group:sales,more)`."""
    return media.application(value).arguments[0]


def _plain(lines: Iterable[Application]) -> list[str]:
    """What rendered lines do, in words."""
    told: list[str] = []
    legs: list[str] = []
    for line in lines:
        if line.name == "dp-record":
            told.append(f"recorded ({line.arguments[0]}, {line.arguments[1]})")
        elif line.name == "dp-more":
            legs += line.arguments[0].split("&")
        elif line.name == "dp-legs":
            legs += line.arguments[0].split("&")
            told.append(f"ring {', '.join(map(_leg, legs))} for {line.arguments[1]} s")
        elif line.name == "dp-user":
            legs += line.arguments[3].split("&") if line.arguments[3] else []
            told.append(f"ring {', '.join(legs)} for {line.arguments[2]} s" if legs else "ring nobody")
            told += _then(line.arguments[4:])
        elif line.name == "dp-queue-alone":
            legs += line.arguments[0].split("&")
            told.append(f"ring {', '.join(map(_leg, legs))} for {line.arguments[1]} s, again and again")
        elif line.name == "dp-otherwise":
            told += _then(line.arguments)
        elif line.name == "dp-next":
            told.append(said(line.arguments[0]))
    return told


def _leg(leg: str) -> str:
    address, _, delay_s = leg.partition("~")
    return f"{address} after {delay_s} s" if delay_s else address


def _then(steps: Sequence[str]) -> list[str]:
    if len(set(steps)) == 1:
        return [f"then {said(steps[0])}"]
    return [f"if {condition} {said(step)}" for condition, step in zip(_CONDITIONS, steps, strict=True)]


Follower.applications = {
    **media.Walk.applications,
    "dp-decide": Follower._decide,
    "dp-legs": Follower._legs,
    "dp-next": Follower._step,
    "dp-menu": Follower._menu,
    "dp-queue": Follower._queue,
    "Goto": Follower._goto,
}
