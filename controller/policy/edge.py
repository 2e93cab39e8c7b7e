"""The edge's half of a decision: the rules of kamailio/devices.cfg and trunks.cfg over the same tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from controller.policy import Call, Entries, Step


class Verdict(NamedTuple):
    """`action`: refuse (target: code and phrase), straight (target: AOR), media (target: cluster)."""

    action: str
    target: str
    account: str
    called: str
    caller: str
    steps: tuple[Step, ...]


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
            account, called = _from_trunk(call, entries, step)
        else:
            account, caller = _from_device(call, entries, step)
    except _Refused as refusal:
        return Verdict("refuse", str(refusal), account, called, caller, tuple(steps))
    if call.device is not None:
        straight = _straight(call, entries)
        if straight:
            step(f"straight to {straight}", "one device, no next step: no media node needed")
            return Verdict("straight", straight, account, called, caller, tuple(steps))
    cluster = fields(entries.edge("account", account) or "").get("cluster", "")
    targets = entries.edge("target", cluster)
    if not targets:
        step("refuse 503 Service Unavailable", f"cluster {cluster or 'unknown'} has no enabled media node")
        return Verdict("refuse", "503 Service Unavailable", account, called, caller, tuple(steps))
    step(f"to cluster {cluster}", f"account {account} is served there; targets: {targets}")
    return Verdict("media", cluster, account, called, caller, tuple(steps))


def fields(value: str) -> dict[str, str]:
    """`name=value` pairs of an htable value."""
    return dict(pair.partition("=")[::2] for pair in value.split(";") if pair)


def _from_device(call: Call, entries: Entries, step: _Say) -> tuple[str, str]:
    credential = entries.edge("credential", call.device or "")
    if credential is None:
        step("refuse 407 Proxy Authentication Required", f"no device {call.device} is enabled")
        raise _Refused("407 Proxy Authentication Required")
    device = fields(credential)
    account = device["account"]
    step(f"device {call.device} of account {account}", "its digest is known")
    held = fields(entries.edge("account", account) or "")
    if entries.edge("emergency", f"{held.get('country', '')}:{call.called}") is not None:
        step(
            f"{call.called} is an emergency number of {held['country']}",
            "no limit, block or suspension applies",
        )
        return account, device.get("user", "")
    if not held or held.get("status") == "suspended":
        step("refuse 403 Account Suspended", f"account {account} is suspended")
        raise _Refused("403 Account Suspended")
    blocked = _blocked(entries, account, call.device or "", call.called, call.source or "")
    if blocked:
        step("refuse 403 Blocked", blocked)
        raise _Refused("403 Blocked")
    return account, device.get("user", "")


def _from_trunk(call: Call, entries: Entries, step: _Say) -> tuple[str, str]:
    trunk = entries.edge("trunk", call.trunk or "")
    if trunk is None:
        step("refuse 403 Forbidden", f"no trunk {call.trunk} is enabled")
        raise _Refused("403 Forbidden")
    account = entries.edge("number", call.called)
    if account is None:
        step("refuse 404 Not Found", f"no account owns {call.called}")
        raise _Refused("404 Not Found")
    step(f"{call.called} belongs to account {account}", f"it came by trunk {call.trunk}")
    held = fields(entries.edge("account", account) or "")
    if held.get("status") == "suspended":
        step("refuse 403 Account Suspended", f"account {account} is suspended")
        raise _Refused("403 Account Suspended")
    return account, call.called


def _blocked(entries: Entries, account: str, device: str, called: str, source: str) -> str | None:
    """The reason of the block with the longest prefix, account before all before device; None: not blocked."""
    prefixes = [called[:length] for length in range(len(called), 0, -1)]
    keys = [
        f"{scope}:{prefix}"
        for prefix in prefixes
        for scope in (f"account:{account}", "all:*", f"device:{device}")
    ]
    keys += [f"account:{account}:*", f"device:{device}:*", f"source:{source}:*"]
    for key in keys:
        reason = entries.edge("block", key)
        if reason is not None:
            return f"block {key}: {reason}"
    return None


def _straight(call: Call, entries: Entries) -> str | None:
    domain = (call.device or "").partition("@")[2]
    dialled = f"{call.called}@{domain}"
    found = entries.edge("straight", dialled)
    if found:
        return found
    peer, caller = entries.edge("credential", dialled), entries.edge("credential", call.device or "")
    if peer and caller and fields(peer)["account"] == fields(caller)["account"]:
        return dialled
    return None
