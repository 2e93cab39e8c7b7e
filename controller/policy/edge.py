"""The edge's half of a decision: the rules of kamailio/devices.cfg and trunks.cfg over the same tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from controller.policy import Call, Entries, Step, nodes
from controller.policy.blocks import blocked


class Verdict(NamedTuple):
    """`action`: refuse (target: code and phrase), straight (target: AOR), media (target: cluster)."""

    action: str
    target: str
    account: str
    called: str
    caller: str
    steps: tuple[Step, ...]
    ring: str = ""  # X-DP-Ring: device whose name was dialled, and its user


_DIALLED = re.compile(r"[A-Za-z0-9+*#._~!%-]{1,64}").fullmatch
_OUTSIDE = re.compile(r"[+]?[0-9]+").fullmatch
_NUMBER = re.compile(r"[A-Za-z0-9+]{1,32}").fullmatch
ONNET = "onnet"

_Say = Callable[[str, str], None]


class _Refused(Exception):
    """Ends the walk with a SIP answer."""


def decide(call: Call, entries: Entries) -> Verdict:
    """What an edge does with a new INVITE."""
    steps: list[Step] = []
    account = caller = ""
    called = call.called

    def step(what: str, why: str) -> None:
        steps.append(Step("edge", what, why))

    try:
        if call.trunk is not None:
            account, called, caller = _from_trunk(call, entries, step)
        else:
            account, caller = _from_device(call, entries, step)
        ring = ""
        if call.trunk is None and not is_emergency(entries, account, called):
            _watched(call, account, entries, step)
            straight, why = _straight(call, account, entries)
            if straight and why:
                step(f"straight to {straight}", why)
                return Verdict("straight", straight, account, called, caller, tuple(steps))
            ring = straight
        urgent = call.trunk is None and is_emergency(entries, account, called)
        cluster = _cluster(account, called, entries, step, by_device=call.trunk is None, emergency=urgent)
    except _Refused as refusal:
        return Verdict("refuse", str(refusal), account, called, caller, tuple(steps))
    return Verdict("media", cluster, account, called, caller, tuple(steps), ring)


def on_net(number: str, entries: Entries) -> Verdict:
    """What an edge does with a media node's call to a number that an account here owns (trunks.cfg, ON_NET)."""
    steps: list[Step] = []
    account = entries.edge("number", number) or ""

    def step(what: str, why: str) -> None:
        steps.append(Step("edge", what, why))

    try:
        step(f"{number} belongs to account {account}", "the number of another account stays inside")
        _allowed(account, "", number, "", entries, step)
        cluster = _cluster(account, number, entries, step, by_device=False)
    except _Refused as refusal:
        return Verdict("refuse", str(refusal), account, number, "", tuple(steps))
    return Verdict("media", cluster, account, number, "", tuple(steps))


def is_emergency(entries: Entries, account: str, called: str) -> bool:
    """Whether a device of the account calls an emergency number with that."""
    country = fields(entries.edge("account", account) or "").get("country", "")
    return entries.edge("emergency", f"{country}:{called}") is not None


def to_e164(called: str, trunk: dict[str, str]) -> str:
    """A number as the trunk writes it, in E.164 (trunks.cfg, TO_E164)."""
    if called.startswith("+"):
        return called
    if trunk.get("format") != "national":
        return f"+{called}"
    if called.startswith("00"):
        return f"+{called[2:]}"
    return f"+{trunk.get('code', '')}{called.removeprefix(trunk.get('np', ''))}"


def caller_e164(caller: str, trunk: dict[str, str]) -> str:
    """Who calls by the trunk, in E.164 where that can be told (trunks.cfg, CALLER)."""
    if not re.fullmatch(r"[0-9]{7,17}", caller):
        return caller
    code, prefix, number = trunk.get("code", ""), trunk.get("np", ""), caller
    if caller.startswith("00"):
        number = caller[2:]
    elif trunk.get("format") == "national":
        if code and prefix and caller.startswith(prefix):
            number = code + caller.removeprefix(prefix)
        elif code and (not prefix or (prefix == code and re.fullmatch(r"[2-9][0-9]{9}", caller))):
            number = code + caller
        else:
            return caller
    return f"+{number}" if re.fullmatch(r"[1-9][0-9]{6,14}", number) else caller


def from_e164(number: str, trunk: dict[str, str]) -> str:
    """A number as it goes out by the trunk (trunks.cfg, FROM_E164): anything without + stays."""
    form, code = trunk.get("format", ""), trunk.get("code", "")
    if form in ("", "e164") or not number.startswith("+"):
        return number
    digits = number[1:]
    if form == "digits":
        return digits
    if code and digits.startswith(code):
        return trunk.get("np", "") + digits[len(code) :]
    return f"00{digits}"


def fields(value: str) -> dict[str, str]:
    """`name=value` pairs of an htable value."""
    return dict(pair.partition("=")[::2] for pair in value.split(";") if pair)


def _from_device(call: Call, entries: Entries, step: _Say) -> tuple[str, str]:
    credential = entries.edge("credential", call.device or "")
    if credential is None:
        _refuse(step, "407 Proxy Authentication Required", f"no device {call.device} is enabled")
    device = fields(credential)
    account = device["account"]
    if not _DIALLED(call.called):
        _refuse(step, "484 Address Incomplete", f"{call.called!r} is nothing that can be dialled")
    step(f"device {call.device} of account {account}", "its digest is known")
    held = fields(entries.edge("account", account) or "")
    if is_emergency(entries, account, call.called):
        step(
            f"{call.called} is an emergency number of {held['country']}",
            "no limit, block or suspension applies",
        )
        return account, device.get("user", "")
    _allowed(account, call.device or "", call.called, call.source or "", entries, step)
    return account, device.get("user", "")


def _from_trunk(call: Call, entries: Entries, step: _Say) -> tuple[str, str, str]:
    if not _NUMBER(call.called):
        _refuse(step, "484 Address Incomplete", f"{call.called!r} is no number")
    trunk = entries.edge("trunk", call.trunk or "")
    if trunk is None:
        _refuse(step, "404 No Such Trunk", f"no trunk {call.trunk} is enabled")
    called = to_e164(call.called, fields(trunk))
    account = entries.edge("number", called)
    if account is None:
        _refuse(step, "404 Not Found", f"no account owns {called}")
    step(f"{called} belongs to account {account}", f"it came by trunk {call.trunk}")
    caller = caller_e164(call.caller, fields(trunk))
    if caller != call.caller:
        step(f"caller {caller}", f"{call.caller} as trunk {call.trunk} writes numbers")
    _allowed(account, "", called, call.source or "", entries, step)
    return account, called, caller


def _allowed(account: str, device: str, called: str, source: str, entries: Entries, step: _Say) -> None:
    held = fields(entries.edge("account", account) or "")
    if not held or held.get("status") == "suspended":
        _refuse(step, "403 Account Suspended", f"account {account} is suspended")
    owner = entries.edge("number", called)
    outside = bool(device) and called.startswith("+") and owner != account
    reason = blocked(entries, account, device, called, source, outside=outside)
    if reason:
        _refuse(step, "403 Blocked", reason)


class Place(NamedTuple):
    """Where a call is served (kamailio/media.cfg, route[ASSIGN]).

    The service asked for, the cluster that has it, and the one that takes over ("": none).
    """

    service: str
    cluster: str
    over: str


def assigned(entries: Entries, account: str, called: str, *, by_device: bool) -> Place:
    """The forwarding name of a call, `<service>.<account>.<zone>`, and the clusters it leads to."""
    held = fields(entries.edge("account", account) or "")
    service = entries.edge("service", f"{account}/{called}") or "voice"
    longest = int(held.get("ext", 0))
    if service == "voice" and by_device and longest and len(called) > longest and _OUTSIDE(called):
        service = "pstn"
    if service in held:
        cluster, _, over = held[service].partition("/")
        return Place(service, cluster, over)
    cluster = held.get("cluster", "")
    return Place(service, cluster, entries.edge("overflow", cluster) or "")


def _cluster(
    account: str, called: str, entries: Entries, step: _Say, *, by_device: bool, emergency: bool = False
) -> str:
    place = assigned(entries, account, called, by_device=by_device)
    if not emergency and (why := nodes.shed(entries, account, place.cluster, place.over)):
        if fields(entries.edge("account", account) or "").get("sorry") == "1":
            why += "; a media node with room says so first"
        _refuse(step, "503 Overloaded", why)
    was = fields(entries.edge("account", account) or "").get("was")
    if was:
        step(
            f"account {account} moves from cluster {was}",
            "who is in a call there, conferences and parked calls there are still led there",
        )
    drawn = "by weight, but the node where the device talks already goes first" if by_device else "by weight"
    found = nodes.choice(entries, place.cluster, place.over)
    for cluster in filter(None, (place.cluster, place.over)):
        passed = nodes.passed(entries, cluster, found)
        if cluster == found.cluster:
            served = "takes over" if cluster == place.over else "is served there"
            among = nodes.candidates(entries, cluster)
            why = f"{place.service} of account {account} {served}; drawn {drawn}: {among}{passed}"
            if cluster == place.cluster and place.over:
                spare = nodes.candidates(entries, place.over)
                why += f"; then cluster {place.over} takes over: {spare or 'no node of it takes calls'}"
            step(f"to cluster {cluster}", why)
            return cluster
        step(f"not to cluster {cluster}", f"no media node of it takes calls{passed}")
    step("refuse 503 Service Unavailable", f"no cluster takes calls of account {account} now")
    raise _Refused("503 Service Unavailable")


def _refuse(step: _Say, answer: str, why: str) -> NoReturn:
    step(f"refuse {answer}", why)
    raise _Refused(answer)


def _watched(call: Call, account: str, entries: Entries, step: _Say) -> None:
    """Whether phones may watch what is dialled (lamps.cfg)."""
    domain = (call.device or "").partition("@")[2]
    owner, _, whose = (entries.edge("lamp", f"{call.called}@{domain}") or "").partition("/")
    if owner and owner == account:
        shows = "whether a call waits in the slot" if whose.startswith("*") else f"the state of user {whose}"
        step(f"phones of {account} may watch {call.called}", f"its lamp shows {shows}")


def _straight(call: Call, account: str, entries: Entries) -> tuple[str, str]:
    """The device to ring and why no media node is needed; else X-DP-Ring (or nothing) and no reason."""
    domain = (call.device or "").partition("@")[2]
    dialled = f"{call.called}@{domain}"
    lead = fields(entries.edge("lead", f"{account}/{call.called}") or "")
    found = lead.get("device", "") if lead.get("straight") == "1" else ""
    own = entries.edge("credential", call.device or "")
    if found and _needed(entries.edge("credential", found), own, entries):
        return "", ""
    if found:
        return found, "one device, no next step: no media node needed, unless NAT is in between or it is away"
    peer = entries.edge("credential", dialled)
    if not peer or not own or fields(peer)["account"] != fields(own)["account"]:
        return "", ""
    if re.fullmatch(r"[0-9*]+", call.called) or _needed(peer, own, entries):
        return f"{dialled} {fields(peer).get('user', '')}", ""
    return dialled, "a device dialled by its name: no media node needed, unless NAT is in between"


def _needed(peer: str | None, caller: str | None, entries: Entries) -> bool:
    """Whether a call between two devices needs a media node: who is called does not want to be disturbed (it knows what
    the caller gets instead), or one of them is recorded."""
    called = fields(peer or "")
    if "1" in (called.get("tape"), fields(caller or "").get("tape")):
        return True
    return entries.edge("dnd", f"{called.get('account', '')}/{called.get('user', '')}") is not None
