"""What happens to a call that reached a group, a policy or a user: a program, and a reason for each step. Pure.

Where a step leads to another group, policy, menu or extension, the program goes there, and the call asks again; what is
decided here is one thing at a time, so a decision always ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from datetime import datetime

from controller.escape import Raw, name
from controller.policy import Step, groups, program
from controller.policy.conditions import Situation, Verdict, matches, who_and_when
from controller.policy.model import DEPTH_LIMIT, Call, Effect, Forwarding, Policy, Rule, Snapshot, Turn, User
from controller.policy.program import Act, Leg

__all__ = ["Call", "Decision", "decide"]


@dataclass(frozen=True, slots=True)
class Decision:
    """`program` empty: there is nothing to decide, `reasons` say why. `turn`: what the group's memory becomes."""

    program: tuple[Act, ...]
    reasons: tuple[Step, ...]
    turn: Turn | None = None


def decide(call: Call, snapshot: Snapshot, now: datetime) -> Decision:
    """The decision for one call, at `now` (aware)."""
    decider = _DECIDERS.get(call.kind)
    found = decider(Situation(call, snapshot, now), call.name) if decider else None
    if found is None:
        why = f"account {call.account} has no {call.kind} {call.name}"
        return Decision((), (Step("policy", "no decision", why),))
    return found


# ------------------------------------------------------------------------------------------------------------ groups


def _group(situation: Situation, name: str) -> Decision | None:
    group = situation.snapshot.groups.get(name)
    if group is None:
        return None
    if group.one_call and name in situation.snapshot.live.ringing:
        busy = Step(
            "group", f"then {_said(group.on_busy)}", f"another call rings in group {name}, which takes one"
        )
        return Decision((program.go(group.on_busy, program.BUSY),), (busy,))
    ringing = groups.ring(group, situation)
    if not ringing.stages:
        nobody = Step("group", f"then {_said(group.on_nobody)}", f"nobody in group {name} is left to ring")
        return Decision((program.go(group.on_nobody),), (*ringing.reasons, nobody))
    acts = [Act("dp-caller", ("", group.prefix))] if group.prefix else []
    if group.record:
        acts.append(program.record(group.record, f"group {name}"))
    for stage in ringing.stages:
        acts += program.ring(stage.legs, stage.seconds, stage.flags)
    steps = (group.on_no_answer, group.on_busy, group.on_nobody)
    return Decision(
        (*acts, program.otherwise(*steps)), (*ringing.reasons, *_afterwards("group", *steps)), ringing.turn
    )


# ------------------------------------------------------------------------------------------------------------- users


def _user(situation: Situation, name: str) -> Decision | None:
    user = situation.snapshot.users.get(name)
    if user is None:
        return None
    user = _reached(user, situation.call.extension)
    reasons: list[Step] = []
    always = _forwarded(situation, user, "always", reasons)
    if always:
        return Decision((program.go(always),), tuple(reasons))
    before = {
        when: _forwarded(situation, user, when, reasons) for when in ("busy", "no_answer", "unregistered")
    }
    steps = replace(
        user,
        on_busy=before["busy"] or user.on_busy,
        on_no_answer=before["no_answer"] or user.on_no_answer,
        on_unregistered=before["unregistered"] or user.on_unregistered,
    )
    acts = _ring(situation, "user", steps, reasons)
    return Decision(tuple(acts), tuple(reasons))


def _reached(user: User, extension: str) -> User:
    """The user with the steps of the extension that was reached."""
    for line in user.lines:
        if line.extension == extension:
            return replace(user, **{one.name: getattr(line, one.name) for one in fields(line)})
    return user


def _forwarded(situation: Situation, user: User, when: str, reasons: list[Step]) -> str:
    """The step of the first forwarding for this that holds; empty: none."""
    for one in user.forward:
        if one.when != when:
            continue
        step = _own(user, one.step)
        verdict = _holds(situation, user, one)
        told = f"forward {user.key} to {_said(step)}{_WHEN[when]}"
        if verdict.holds:
            reasons.append(Step("user", told, verdict.why or "it is for any caller, at any time"))
            return step
        reasons.append(Step("user", f"do not {told}", verdict.why))
    return ""


def _holds(situation: Situation, user: User, one: Forwarding) -> Verdict:
    caller = situation.snapshot.users.get(situation.call.caller_user)
    if user.extension and one.step == f"extension:{user.extension}":
        return Verdict(False, f"it leads back to {user.key}")
    if caller is not None and caller.extension and one.step == f"extension:{caller.extension}":
        return Verdict(False, f"it leads back to {caller.key}, who calls")
    if one.when == "always" and situation.call.depth >= DEPTH_LIMIT:
        return Verdict(False, f"the call has followed {DEPTH_LIMIT} next steps, more are refused")
    return who_and_when(situation, one.list, one.schedule, one.open)


def _ring(situation: Situation, where: str, user: User, reasons: list[Step]) -> list[Act]:
    """Rings the devices of a user and goes on with its steps."""
    silent, busy, nobody = (
        _own(user, one) for one in (user.on_no_answer, user.on_busy, user.on_unregistered)
    )
    if user.key in situation.snapshot.live.dnd:
        reasons.append(Step(where, f"then {_said(busy)}", f"{user.key} does not want to be disturbed"))
        return [program.go(busy, program.BUSY)]
    if not user.devices:
        reasons.append(Step(where, f"then {_said(nobody)}", f"{user.key} has no enabled device"))
        return [program.go(nobody)]
    reasons.append(
        Step(where, f"ring {', '.join(user.devices)} for {user.ring_s} s", f"devices of {user.key}")
    )
    reasons += _afterwards(where, silent, busy, nobody)
    acts = [*program.ring(map(Leg, user.devices), user.ring_s), program.otherwise(silent, busy, nobody)]
    if ("inbound" if situation.call.trunk else "internal") in user.record:
        acts.insert(0, program.record("always", f"user {user.key}"))
    return acts


def _own(user: User, step: str) -> str:
    """A bare `voicemail` is the user's own box."""
    return f"voicemail:{user.mailbox}" if step == "voicemail" and user.mailbox else step


# ---------------------------------------------------------------------------------------------------------- policies


def _policy(situation: Situation, name: str) -> Decision | None:
    policy = situation.snapshot.policies.get(name)
    if policy is None:
        return None
    acts: list[Act] = []
    reasons: list[Step] = []
    for rule in policy.rules:
        told = f"rule {rule.position}{f' ({rule.comment})' if rule.comment else ''} of policy {policy.name}"
        verdict = matches(rule.condition, situation)
        if not verdict.holds:
            reasons.append(Step("policy", f"{told} does not hold", verdict.why))
            continue
        reasons.append(Step("policy", f"{told} holds: {_outcome(rule.effect)}", verdict.why))
        acts += _effects(situation, policy, rule, reasons)
        if rule.effect.action != "next":
            acts += _ACTIONS[rule.effect.action](situation, rule.effect, reasons)
            return Decision(tuple(acts), tuple(reasons))
    reasons.append(_otherwise(policy))
    return Decision((*acts, program.go(policy.otherwise)), tuple(reasons))


def _otherwise(policy: Policy) -> Step:
    return Step(
        "policy", f"then {_said(policy.otherwise)}", f"no rule of policy {policy.name} ends the search"
    )


def _outcome(effect: Effect) -> str:
    if effect.action == "next":
        return "the next rules are looked at too"
    return f"{effect.action} {effect.target}".rstrip()


def _effects(situation: Situation, policy: Policy, rule: Rule, reasons: list[Step]) -> list[Act]:
    """What a rule sets and says before it acts; rules after it see the language it set."""
    effect, why, acts = rule.effect, f"rule {rule.position} says so", []
    if effect.language or effect.caller_name:
        acts.append(Act("dp-caller", (effect.language, effect.caller_name)))
    if effect.language:
        situation.call = replace(situation.call, language=effect.language)
        reasons.append(Step("policy", f"language {effect.language}", why))
    if effect.caller_name:
        reasons.append(Step("policy", f"{effect.caller_name!r} before the caller's name", why))
    if effect.record:
        acts.append(program.record(effect.record, f"rule {rule.position} of policy {policy.name}", "1"))
    if effect.priority is not None or effect.skills:
        said = "" if effect.priority is None else str(effect.priority)
        acts.append(Act("dp-wanted", (said, Raw("&".join(map(name, effect.skills))))))
        wanted = [f"priority {said} in queues"] if said else []
        wanted += [f"members with {', '.join(effect.skills)}"] if effect.skills else []
        reasons.append(Step("policy", " and ".join(wanted), why))
    if effect.early:
        acts.append(Act("dp-early", (effect.early,)))
        reasons.append(Step("policy", f"play {effect.early} before the call is answered", why))
    if effect.late:
        acts.append(Act("dp-late", (effect.late,)))
        reasons.append(Step("policy", f"answer and play {effect.late}", why))
    return acts


def _action_ring(situation: Situation, effect: Effect, reasons: list[Step]) -> list[Act]:
    """A user with the steps of its extension, without its forwardings; or one device, with the steps of its user."""
    users, target = situation.snapshot.users, effect.target
    if "@" in target:
        owner = next((user for user in users.values() if target in user.devices), User(target))
        return _ring(situation, "policy", replace(owner, devices=(target,)), reasons)
    if target not in users:
        reasons.append(Step("policy", "refuse: unavailable", f"no user {target} is enabled"))
        return [program.reject("unavailable")]
    return _ring(situation, "policy", users[target], reasons)


def _goes(action: str) -> Callable[[Situation, Effect, list[Step]], list[Act]]:
    return lambda _, effect, __: [program.go(f"{action}:{effect.target}")]


_ACTIONS: dict[str, Callable[[Situation, Effect, list[Step]], list[Act]]] = {
    "ring": _action_ring,
    "extension": _goes("extension"),
    "group": _goes("group"),
    "queue": _goes("queue"),
    "menu": _goes("menu"),
    "voicemail": _goes("voicemail"),
    "announcement": _goes("announce"),
    "forward": _goes("number"),
    "reject": lambda _, effect, __: [program.reject(effect.target or "declined")],
    "application": lambda _, effect, __: [Act("dp-app", (effect.target,))],
}


# ----------------------------------------------------------------------------------------------------------- reasons


_WHEN = {
    "always": "",
    "busy": " when busy",
    "no_answer": " when nobody answers",
    "unregistered": " when no device is registered",
}


def _said(step: str) -> str:
    """`voicemail:101` for people."""
    return step.replace(":", " ", 1)


def _afterwards(where: str, no_answer: str, busy: str, nobody: str) -> Iterable[Step]:
    yield Step(where, f"then {_said(no_answer)}", "if no answer")
    yield Step(where, f"then {_said(busy)}", "if busy")
    yield Step(where, f"then {_said(nobody)}", "if no device registered")


_DECIDERS: dict[str, Callable[[Situation, str], Decision | None]] = {
    "group": _group,
    "policy": _policy,
    "user": _user,
}
