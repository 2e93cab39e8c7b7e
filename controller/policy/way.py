"""One call on a media node: what an edge handed over, the dialplan's lines, and what is said of each step."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from controller.policy import Entries, Step, edge
from controller.policy.model import DEPTH_LIMIT
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


class Way:
    """The steps of one call so far, and its account's dialplan: `media.Walk` walks.

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

    def _go(self, step: str) -> None:
        """Where a step leads; what it is was said."""
        raise NotImplementedError

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

    def _reach(self, extension: str, missing: str) -> None:
        if extension in self._own:
            self._extension(extension)
        else:
            self._say("announcement, 404", missing)
            self._event("dp.refused", missing)

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


def said(step: str) -> str:
    """`voicemail:101` for people."""
    return step.replace(":", " ", 1)
