"""A recorded call on other entries: where it would go now, against where it went. Pure.

A record says in its decisions what the dialplan did (`dp.*`, asterisk/extensions.conf). The same way is walked on the
entries in question by the functions of the live call, and each place that is reached is compared. Where phones or the
caller's keys decided, they decide as they did; the first place that differs ends the walk, since nobody knows what
they would have done there. What was not recorded (headers, who was registered) makes a decision unknown, not different.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from controller.policy import Entries, Step, media, model
from controller.policy.conditions import Situation, matches
from controller.policy.decide import Decision
from controller.policy.edge import fields
from controller.policy.follow import Follower

SAME, ELSEWHERE, UNKNOWN = "same", "elsewhere", "unknown"
_BEGIN = re.compile(r"dialled (\S*) user (\S*) trunk (\S*) from (.*)")
_RANG = re.compile(r"\b([A-Z]+) cause (\d*)$")
_PLACES = frozenset(
    {
        "dp.ring",
        "dp.voicemail",
        "dp.route",
        "dp.emergency",
        "dp.refused",
        "dp.menu",
        "dp.next",
        "dp.queue",
        "dp.home",
    }
)
# Of dp.next the steps that are a place themselves; the others lead to one.
_ENDS = ("busy", "hangup", "announce")
# What came of a place, not where a call went.
_NO_PLACE = re.compile(r"no trunk took|wrong PIN|listen |no call is parked|no slot of")
_SPOKEN = {
    "dp.queue": "wait in queue", "dp.home": "meet at",
    "dp.ring": "ring", "dp.voicemail": "voicemail", "dp.route": "dial", "dp.emergency": "emergency call",
    "dp.refused": "refuse:", "dp.menu": "menu", "dp.next": "", "straight": "straight to",
}  # fmt: skip
# dp-legs writes so much of its legs.
_LEGS_CHARS = 500
_REJECTED = "21"
# Not an event of the dialplan: dp.queue tells of both ends of a wait.
_LEFT = "left"


class Place(NamedTuple):
    """Where a call went: an event of the dialplan. `outcome`: what came of it, where that decides what is next."""

    event: str
    text: str
    outcome: str = ""

    @property
    def spoken(self) -> str:
        """For people."""
        text = self.text
        if self.event == "dp.ring":
            text = text.replace("~", " after ").replace("&", ", ")
        elif self.event in ("dp.route", "dp.emergency"):
            number, _, trunks = text.partition(" by ")
            text = f"{number} by {media.in_words(trunks)}"
        return f"{_SPOKEN[self.event]} {text}".strip()


class Recorded(NamedTuple):
    """A call as its record tells it. `lacking`: why nothing can be said of it."""

    leg: media.Leg
    places: tuple[Place, ...]
    lacking: str = ""


class Verdict(NamedTuple):
    """`was` and `would`: the first place that differs; `why`: what decides so now, or what is not known."""

    verdict: str
    was: str = ""
    would: str = ""
    why: str = ""


def recorded(record: Mapping[str, Any], cluster: str) -> Recorded | None:
    """A row of control.call_records; None: no media node had it, and it did not go straight to a phone."""
    leg = media.Leg(
        cluster, record["account"], record["called"] or "", "", _device(record["caller"]), "",
        call_id=record["call_id"],
    )  # fmt: skip
    places: list[Place] = []
    begun, rings, lacking = False, False, ""
    for event, text in _without_waits(record["decisions"]):
        if event == "dp.begin" and (found := _BEGIN.match(text)):
            called, user, trunk, number = found.groups()
            leg = leg._replace(called=called, caller=user, trunk=trunk, number=number.strip())
            begun = True
        elif event == "dp.transfer":
            break
        elif event == "dp.fallback":
            lacking = "it was not decided then: no AGI server answered its node"
        elif event in _CAME_OF and (event != "dp.menu" or ": " in text):
            rings = rings and event != "dp.rang"
            places[-1:] = [one._replace(outcome=_CAME_OF[event](text)) for one in places[-1:]]
        elif not rings and _is_place(event, text):
            places.append(Place(event, text))
            rings = event == "dp.ring"
    if begun:
        return Recorded(leg, tuple(places), lacking)
    if any(one.get("leg") == "straight" for one in record["legs"]):
        return Recorded(leg, (Place("straight", leg.called),))
    return None


def _without_waits(decisions: Iterable[Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    """Event and text. Whom a queue rings depends on who is free, not on rows: `_LEFT` says how the wait ended."""
    waits = False
    for said in decisions:
        event, text = said["step"], said["text"]
        if event == "dp.queue":
            name, _, step = text.partition(" left: ")
            waits = not step
            yield (_LEFT, step) if step else (event, name)
        elif not waits:
            yield event, text


def replay(call: Recorded, entries: Entries) -> Verdict:
    """Where the call would go by these entries."""
    if call.lacking:
        return Verdict(UNKNOWN, why=call.lacking)
    leg = call.leg
    if call.places[:1] and call.places[0].event == "straight":
        domain = leg.device.partition("@")[2]
        lead = fields(entries.edge("lead", f"{leg.account}/{leg.called}") or "")
        if lead.get("straight") == "1" or entries.edge("credential", f"{leg.called}@{domain}"):
            return Verdict(SAME)
    else:
        leg = leg._replace(ring=_by_name(leg, entries))
    walk = _Again(leg, entries, call.places)
    with contextlib.suppress(_Over):
        walk.start()
    return walk.verdict()


def _is_place(event: str, text: str) -> bool:
    if event == "dp.next":
        return text.partition(":")[0] in _ENDS
    return event in _PLACES and not _NO_PLACE.match(text)


def _device(caller: str | None) -> str:
    return caller if caller and "@" in caller else ""


def _outcome(text: str) -> str:
    """What Dial found, as dp-said reads it. Answered, or given up by the caller: nothing comes next."""
    found = _RANG.search(text)
    status, cause = found.groups() if found else ("", "")
    if status in ("ANSWER", "CANCEL", ""):
        return ""
    if status == "NOANSWER":
        return "silent"
    return "busy" if status == "BUSY" or cause == _REJECTED else "away"


def _left(text: str) -> str:
    """The step."""
    return text


def _pressed(text: str) -> str:
    """`welcome: 1`, `welcome: extension 101`, `welcome: nothing was pressed`, `welcome: 99 is no choice`."""
    said = text.partition(": ")[2]
    if said == "nothing was pressed":
        return "nothing"
    return "wrong" if said.endswith(" is no choice") else said


# What came of the place before.
_CAME_OF = {"dp.rang": _outcome, "dp.menu": _pressed, _LEFT: _left}


def _by_name(leg: media.Leg, entries: Entries) -> str:
    """X-DP-Ring: an own device whose name was dialled, and its user."""
    aor = f"{leg.called}@{leg.device.partition('@')[2]}"
    found = entries.edge("credential", aor) if leg.device else None
    if found is None or f"account={leg.account};" not in f"{found};":
        return ""
    user = re.search(r"(?:^|;)user=([^;]*)", found)
    return f"{aor} {user[1] if user else ''}"


def _not_known(group: model.Group) -> str:
    """Why nobody knows who would have rung in the group; empty: it is known."""
    if group.one_call:
        return f"group {group.name} takes one call at a time: whether another one rang is not recorded"
    if any(member.joins for member in group.members):
        return f"members of group {group.name} join by registering: who was registered is not recorded"
    return ""


class _Over(Exception):
    """The walk ends: the call was over, something differs, or is not known."""


class _Again(Follower):
    """The way of a recorded call, phones and keys as they were."""

    def __init__(self, leg: media.Leg, entries: Entries, places: tuple[Place, ...]) -> None:
        super().__init__(leg, entries)
        self._was = places
        self._reached: list[Place] = []
        self._from = 0
        self._more: list[str] = []
        self._unknown = ""

    def start(self) -> None:
        media.Walk.start(self)

    def _last(self) -> str:
        """Where the call goes: the last step that waits for no key."""
        return next((step.what for step in reversed(self.steps) if not step.under), self.steps[-1].what)

    def verdict(self) -> Verdict:
        """What the walk showed."""
        if self._unknown:
            return Verdict(UNKNOWN, why=self._unknown)
        for was, now in zip(self._was, self._reached, strict=False):
            if not self._same(was, now):
                return Verdict(ELSEWHERE, was.spoken, now.spoken, self._because())
        if len(self._was) > len(self._reached):
            return Verdict(ELSEWHERE, self._was[len(self._reached)].spoken, self._last(), self._because())
        if len(self._reached) > len(self._was) and (not self._was or self._was[-1].outcome):
            return Verdict(ELSEWHERE, "nothing that is recorded", self._reached[-1].spoken, self._because())
        # A call that was answered or given up is over there, though it would have gone on.
        return Verdict(SAME)

    def _because(self) -> str:
        """The decision that led here."""
        decided = [
            step for step in self.steps
            if step.where in ("policy", "user", "group") and step.what.startswith(("rule", "then", "forward", "ring"))
            and not step.what.endswith("does not hold")
        ]  # fmt: skip
        step = (decided or self.steps)[-1]
        return f"{step.what}: {step.why}"

    # ------------------------------------------------------------------------------------------- what Follower does

    def _event(self, name: str, text: str) -> None:
        if not _is_place(name, text):
            return
        self._reached.append(Place(name, text))
        place = len(self._reached) - 1
        if place >= len(self._was) or not self._same(self._was[place], self._reached[place]):
            raise _Over

    def _one_of(self, outcomes: Mapping[str, tuple[Step, str]]) -> None:
        if set(outcomes) == {"late"} and len(self._was) > len(self._reached):
            # A parked call that went somewhere was not taken.
            self._go(outcomes["late"][1])
            return
        if set(outcomes) == {""}:
            self._go(outcomes[""][1])
            return
        said = {one.outcome for one in self._was[self._from : len(self._reached)]}
        happened = next(
            (one for one in ("silent", "busy", "away", *outcomes) if one in said and one in outcomes), ""
        )
        if "nothing" in outcomes:
            happened = self._keys()
        if not happened:
            raise _Over
        self._from = len(self._reached)
        if happened in outcomes:
            told, step = outcomes[happened]
            self.steps.append(told)
            self._go(step)
        elif happened.startswith("extension "):
            self._go(happened.replace(" ", ":"))
        else:
            self.steps.append(Step("media", f"{happened} is no choice now", "keys of the menu"))

    def _keys(self) -> str:
        """What was pressed in the menu that was reached last; empty: the call ended in it."""
        here = len(self._reached) - 1
        pressed = self._was[here].outcome
        return "" if pressed in ("nothing", "wrong") and here + 1 == len(self._was) else pressed

    def _on_net(self, number: str) -> None:
        """The other account has a record of its own."""
        raise _Over

    def _act(self, act: media.Application) -> None:
        """Legs outside belong to the ring."""
        if act.name == "dp-caller":
            super()._act(act)
        elif act.name == "dp-more":
            self._more.append(act.arguments[0])
        elif act.name == "dp-legs":
            legs = "&".join([*self._more, act.arguments[0]])
            self._more = []
            self._event("dp.ring", f"{legs} for {act.arguments[1]} s")

    def _decision(self, kind: str, name: str, extension: str = "") -> Decision:
        account = self._account()
        if kind == "policy" and name in account.policies:
            self._unknown = self._not_recorded(account, account.policies[name])
            if self._unknown:
                raise _Over
        group = account.groups.get(name) if kind == "group" else None
        if group is not None:
            self._unknown = _not_known(group)
            if self._unknown:
                raise _Over
            turn = self._turn(group, account)
            turns = {**account.live.turns, name: turn}
            self._snapshot = replace(account, live=replace(account.live, turns=turns))
        return super()._decision(kind, name, extension)

    # -------------------------------------------------------------------------------------- what was not recorded

    def _not_recorded(self, account: model.Snapshot, policy: model.Policy) -> str:
        """Why nobody knows what the policy would have done; empty: it is known."""
        call = self._call("policy", policy.name)
        situation = Situation(call, account, self._entries.now)
        for rule in policy.rules:
            asked = rule.condition
            counts = asked.presence in ("registered", "unregistered") or asked.min_devices is not None
            counts = counts or asked.max_devices is not None
            known = replace(
                asked,
                header=None,
                presence="" if counts else asked.presence,
                min_devices=None,
                max_devices=None,
            )
            if not matches(known, situation).holds:
                continue
            if asked.header:
                return f"rule {rule.position} of policy {policy.name} asks for header {asked.header[0]}: not recorded"
            if counts:
                return f"rule {rule.position} of policy {policy.name} asks who was registered: not recorded"
            if rule.effect.action != "next":
                return ""
        return ""

    def _turn(self, group: model.Group, account: model.Snapshot) -> model.Turn:
        """A memory by which the members ring as they did: whose turn it was is not what is asked."""
        order: list[str] = []
        for one in self._was[len(self._reached) :]:
            if one.event != "dp.ring":
                break
            rang = self._parties(one.text.rpartition(" for ")[0])
            order += [
                one.key for one in group.members if self._parties(one.key) & rang and one.key not in order
            ]
        keys = [member.key for member in group.members]
        if not order or order[0] not in keys:
            return model.Turn()
        place = {key: index for index, key in enumerate([*order, *(key for key in keys if key not in order)])}
        today = self._entries.now.astimezone(account.account.zone).date().isoformat()
        return model.Turn(keys[keys.index(order[0]) - 1], place, place, today)

    def _same(self, was: Place, now: Place) -> bool:
        if was.event == "straight":
            return now.event == "dp.ring" and self._is_called(now.text.rpartition(" for ")[0])
        if was.event != now.event:
            return False
        if was.event != "dp.ring":
            return was.text == now.text
        before, after = (one.text.rpartition(" for ")[0] for one in (was, now))
        if len(before) >= _LEGS_CHARS:
            return self._parties(before.rpartition("&")[0]) <= self._parties(after)
        return self._parties(before) == self._parties(after)

    def _is_called(self, text: str) -> bool:
        """Whether the owner of the dialled extension rings, or the device of the dialled name."""
        owner = next(
            (one for one in self._account().users.values() if one.extension == self.leg.called), None
        )
        if owner is not None:
            return self._parties(text) == set(owner.devices)
        return self._data(f":user:{text}")[2] == self.leg.called or text.partition("@")[0] == self.leg.called

    def _parties(self, text: str) -> frozenset[str]:
        """Who rings: addresses; of a user, the devices."""
        users = self._account().users
        parties: set[str] = set()
        for leg in text.split("&"):
            address = leg.partition("~")[0]
            parties |= set(users[address].devices) if address in users else {address}
        return frozenset(parties)
