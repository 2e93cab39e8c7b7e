"""Verdicts in force, what is allowed whatever they say, and what an account may not call at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from controller.fraud.metrics import Destinations
from controller.fraud.model import (
    CRITICAL,
    ENFORCE,
    FAILED_AUTH,
    MESSAGE,
    PERMISSION,
    REGISTER,
    RELEASED,
    SCOPES,
    START,
    Allow,
    Event,
    Permission,
    Rule,
    Verdict,
    subjects,
)

_PERMISSION_S = 3600
_SILENCES = frozenset(("outbound_off", "suspend", "rotate"))


class Holding:
    """What `Engine` knows beside its counters."""

    def __init__(self, allows: Iterable[Allow], permissions: Iterable[Permission]) -> None:
        self._by_source: dict[str, list[Allow]] = {}
        self._by_account: dict[str, list[Allow]] = {}
        for allow in allows:
            if allow.source:
                self._by_source.setdefault(allow.source, []).append(allow)
            else:
                self._by_account.setdefault(allow.owner.account, []).append(allow)
        self._permissions: dict[str, list[Permission]] = {}
        for permission in sorted(permissions, key=lambda one: -one.owner.rank):
            self._permissions.setdefault(permission.cls, []).append(permission)
        self._held: dict[tuple[str, str], Verdict] = {}
        self.blocking: dict[tuple[str, str], dict[str, Verdict]] = {}

    def allowed(self, event: Event, now: float) -> bool:
        """Whether an allow-list takes it out of everything."""
        if not (self._by_source or self._by_account):
            return False
        return any(
            (allow.until is None or now < allow.until)
            and (allow.what == "*" or event.called.startswith(allow.what))
            and allow.owner.fits(event)
            for allows in (
                self._by_source.get(event.source, ()),
                self._by_account.get(event.account, ()),
                self._by_account.get("", ()) if event.account else (),
            )
            for allow in allows
        )

    def permission(self, event: Event) -> Permission | None:
        """The permission that holds for the class of what is called; None: nobody says anything."""
        return next((one for one in self._permissions.get(event.cls, ()) if one.owner.fits(event)), None)

    def forbidden(self, event: Event, now: float) -> Verdict | None:
        """Whether who calls may not call that class."""
        holds = self.permission(event) if self._permissions else None
        if holds is None or holds.allowed:
            return None
        scope = "user" if event.user else "account"
        rule = permission_rule(holds, scope)
        (subject,) = subjects(event, scope) or ("",)
        held = self._held.get((rule.key, subject))
        if held is not None and now < held.until:
            return held
        evidence = tuple(one for one in (event.called, event.call) if one)
        until = now + _PERMISSION_S
        return Verdict(
            rule, scope, subject, CRITICAL, 1, 1, now, until, evidence=evidence, account=event.account
        )

    def said(self, rule: Rule, subject: str, now: float) -> str | None:
        """The level that a rule holds at for a subject."""
        held = self._held.get((rule.key, subject))
        return held.level if held is not None and now < held.until else None

    def hold(self, verdict: Verdict) -> None:
        """It is in force until it says."""
        self._held[verdict.rule.key, verdict.subject] = verdict
        if verdict.level == CRITICAL:
            blocking = self.blocking.setdefault((verdict.scope, verdict.subject), {})
            blocking[verdict.rule.key] = verdict

    def holds(self, verdict: Verdict) -> bool:
        """Whether it is this one that is in force, and none that came after it."""
        return self._held.get((verdict.rule.key, verdict.subject)) is verdict

    def drop(self, verdict: Verdict) -> None:
        """It is in force no more."""
        self._held.pop((verdict.rule.key, verdict.subject), None)
        place = (verdict.scope, verdict.subject)
        blocking = self.blocking.get(place, {})
        blocking.pop(verdict.rule.key, None)
        if not blocking:
            self.blocking.pop(place, None)

    def release(self, now: float) -> list[Verdict]:
        """What is over by now, as verdicts `released`."""
        over = [held for held in self._held.values() if held.until <= now]
        for verdict in over:
            self.drop(verdict)
        return [replace(verdict, level=RELEASED, at=now) for verdict in over]

    def in_force(self) -> tuple[Verdict, ...]:
        """All of them, warnings too."""
        return tuple(self._held.values())

    def blocks(self, event: Event, now: float, *, as_if: bool) -> Verdict | None:
        """The verdict that stops an event; None: it goes on."""
        if event.emergency or self.allowed(event, now):
            return None
        forbidden = self.forbidden(event, now) if event.kind in (START, MESSAGE) else None
        if forbidden is not None and (as_if or forbidden.rule.mode == ENFORCE):
            return forbidden
        if not self.blocking:
            return None
        for scope in SCOPES:
            for subject in subjects(event, scope):
                for verdict in self.blocking.get((scope, subject), {}).values():
                    if now < verdict.until and covers(verdict, event, as_if=as_if):
                        return verdict
        return None


def permission_rule(holds: Permission, scope: str) -> Rule:
    """The rule that verdicts about a permission name."""
    return Rule(
        f"{PERMISSION}{holds.cls.replace('_', '-')}", "calls", scope, 1, critical=1, destinations=(holds.cls,),
        actions=("notify", "block_destination"), release_s=_PERMISSION_S, mode=holds.mode, owner=holds.owner,
        origin=holds.origin,
    )  # fmt: skip


def covers(verdict: Verdict, event: Event, *, as_if: bool) -> bool:
    """Whether the actions of a verdict stop an event of its subject."""
    actions = verdict.would if as_if else verdict.actions
    if "block_source" in actions and verdict.scope == "source":
        return True
    if event.kind in (FAILED_AUTH, REGISTER):
        return "rotate" in actions
    if event.kind not in (START, MESSAGE) or event.cls == "internal":
        return False
    if not _SILENCES.isdisjoint(actions):
        return True
    return "block_destination" in actions and Destinations(verdict.rule.destinations).fits(event)
