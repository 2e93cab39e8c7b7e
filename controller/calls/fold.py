"""All that was said about a call -> its one record. Pure: any order, any repetition, any batches: the same record.

A call has legs: an edge's dialogs (its `id`) and a media node's channels (`uniqueid`). A leg that its own node
did not end is ended by the restart of that node: `lost`. What a half that lived says goes before that.
The record is complete when every leg is over; until then it is written as it stands.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from controller.calls.facts import GONE, RESTART, Fact

CALLER_LEGS = ("in", "straight")

#: SIP status -> Q.850 cause (RFC 3398, 8.2.6.1). What is not here: by class.
CAUSE_OF_STATUS = {
    400: 41, 401: 21, 402: 21, 403: 21, 404: 1, 405: 63, 406: 79, 407: 21, 408: 102, 410: 22, 413: 127,
    414: 127, 415: 79, 416: 127, 420: 127, 421: 127, 423: 127, 480: 18, 481: 41, 482: 25, 483: 25, 484: 28,
    485: 1, 486: 17, 487: 16, 488: 31, 500: 41, 501: 79, 502: 38, 503: 41, 504: 102, 505: 127, 513: 127,
    600: 17, 603: 21, 604: 1, 606: 31, 607: 21, 608: 21,
}  # fmt: skip
CAUSES = {
    0: "unknown", 1: "unallocated number", 16: "normal clearing", 17: "busy", 18: "no user responding",
    19: "no answer", 21: "rejected", 22: "number changed", 25: "routing error", 27: "destination out of order",
    28: "incomplete number", 31: "normal, unspecified", 34: "no circuit available", 38: "network out of order",
    41: "temporary failure", 63: "service not available", 79: "not implemented", 102: "timer expired",
    127: "interworking",
}  # fmt: skip
# The channel that rings the devices of a placed call: nobody talks on it.
_RINGS = "Local/"
LOST = 41
LOST_TEXT = "lost"


@dataclass(slots=True)
class Leg:
    """One dialog of an edge or one channel of a media node."""

    node: str
    id: str
    kind: str  # in | out | straight (edge), channel (media)
    started_at: dt.datetime
    first: dict[str, Any]
    main: bool = False
    answered_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    cause: int | None = None
    status: int | None = None
    by: str = ""
    lost: bool = False

    def text(self) -> dict[str, Any]:
        """For the record's `legs`."""
        return {
            "node": self.node,
            "leg": self.kind,
            "id": self.id,
            "party": self.first.get("channame") or self.first.get("device") or self.first.get("trunk") or "",
            "started_at": _iso(self.started_at),
            "answered_at": _iso(self.answered_at),
            "ended_at": _iso(self.ended_at),
            "cause": self.cause,
            "status": self.status,
            "lost": self.lost,
        }


@dataclass(frozen=True, slots=True)
class Record:
    """A row of control.call_records; times in UTC."""

    call_id: str
    account: str | None
    direction: str
    caller: str | None
    called: str | None
    started_at: dt.datetime
    answered_at: dt.datetime | None
    ended_at: dt.datetime | None
    duration_ms: int | None
    talk_ms: int | None
    cause: int | None
    cause_text: str | None
    ended_by: str | None
    edge: str | None
    media_node: str | None
    trunk: str | None
    complete: bool
    legs: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Recording:
    """A row of control.recordings: a file on a media node, and what wanted it."""

    node: str
    path: str
    began_at: str
    why: str


def recordings(record: Record) -> list[Recording]:
    """The recordings that the media nodes began for the call, as `dp.record` tells: `<path> <why>`."""
    return [
        Recording(one["node"], path, one["at"], why)
        for one in record.decisions
        if one["step"] == "dp.record"
        for path, _, why in (str(one["text"]).partition(" "),)
    ]


def _dialled(decisions: Iterable[dict[str, Any]]) -> str | None:
    """What a media node began with ("dialled 102 user ..."), for a call that no INVITE of a caller began."""
    said = next((one["text"] for one in decisions if one["step"] == "dp.begin"), "")
    found = re.match(r"dialled (\S+)", str(said))
    return found[1] if found else None


def fold(call_id: str, facts: Iterable[Fact]) -> Record | None:
    """The record of the call; None if nothing said belongs to a call (only restarts, or nothing)."""
    ordered = sorted({fact.line: fact for fact in facts}.values(), key=lambda one: (one.at, one.line))
    legs, decisions, restarts = _read(ordered)
    if not legs:
        return None
    for leg in legs:
        _close(leg, restarts.get(leg.node, ()))
    _close_by_media(legs)
    _placed(legs)
    main = next((leg for leg in legs if leg.kind in CALLER_LEGS), None)
    main = main or next((leg for leg in legs if leg.main), legs[0])
    edge = next((leg for leg in legs if leg.kind != "channel"), None)
    # Of several nodes the call was given to, the one that carried it: it lived, it answered, it came last.
    channel = min(
        (leg for leg in legs if leg.main),
        key=lambda leg: (leg.lost, leg.answered_at is None, -leg.started_at.timestamp()),
        default=None,
    )
    # A call placed by an operator: the device that took it calls; nobody did: the first that was rung.
    rung = min(
        (leg for leg in legs if leg.kind == "out" and main.kind == "channel"),
        key=lambda leg: (leg.answered_at is None, leg.answered_at or leg.started_at),
        default=None,
    )
    said = (main.first if main.kind != "channel" else {}) | {}
    media = channel.first if channel is not None else {}
    complete = all(leg.ended_at is not None for leg in legs)
    teller = channel if main.lost and channel is not None and not channel.lost else main
    # A phone that never took the call and is given up late does not make the call longer.
    talked = [leg for leg in legs if leg is teller or (leg.answered_at is not None and not leg.lost)]
    ended_at = _last(leg.ended_at for leg in talked) if complete else None
    cause = LOST if teller.lost else teller.cause
    answered_at = main.answered_at
    if ended_at is not None and answered_at is not None:
        answered_at = min(answered_at, ended_at)
    trunks = [leg for leg in legs if leg.first.get("trunk")]
    trunk = next((leg for leg in trunks if leg.answered_at is not None), trunks[-1] if trunks else None)
    direction = "internal" if trunk is None else "inbound" if main in trunks else "outbound"
    started_at = min(leg.started_at for leg in legs)
    return Record(
        call_id=call_id,
        account=said.get("account") or media.get("accountcode") or None,
        direction=direction,
        caller=said.get("device")
        or said.get("caller")
        or media.get("num")
        or (rung.first.get("device") if rung else None)
        or None,
        called=said.get("called") or media.get("exten") or _dialled(decisions),
        started_at=started_at,
        answered_at=answered_at,
        ended_at=ended_at,
        duration_ms=_ms(started_at, ended_at),
        talk_ms=_ms(answered_at, ended_at),
        cause=cause if complete else None,
        cause_text=(LOST_TEXT if teller.lost else CAUSES.get(cause or 0, f"cause {cause}"))
        if complete
        else None,
        ended_by=(teller.by or None) if complete else None,
        edge=edge.node if edge else None,
        media_node=channel.node
        if channel
        else (main.first.get("media") or None)
        if main.kind == "in"
        else None,
        trunk=str(trunk.first["trunk"]) if trunk else None,
        complete=complete,
        legs=[leg.text() for leg in legs],
        decisions=decisions,
    )


def _read(
    ordered: list[Fact],
) -> tuple[list[Leg], list[dict[str, Any]], dict[str, list[dt.datetime]]]:
    legs: dict[tuple[str, str], Leg] = {}
    decisions: list[dict[str, Any]] = []
    restarts: dict[str, list[dt.datetime]] = {}
    for fact in ordered:
        if fact.event == RESTART:
            restarts.setdefault(fact.node, []).append(fact.at)
        elif "eventtype" not in fact.detail:
            _edge(legs, fact, decisions)
        elif fact.event.startswith("dp."):
            decisions.append(
                {
                    "at": _iso(fact.at),
                    "node": fact.node,
                    "step": fact.event,
                    "text": extra_of(fact.detail).get("extra", ""),
                }
            )
        elif fact.event != "LINKEDID_END" and not str(fact.detail.get("channame")).startswith(_RINGS):
            _channel(legs, fact)
    return list(legs.values()), decisions, restarts


def _leg(legs: dict[tuple[str, str], Leg], fact: Fact, identity: str, kind: str) -> Leg:
    return legs.setdefault((fact.node, identity), Leg(fact.node, identity, kind, fact.at, fact.detail))


def _edge(legs: dict[tuple[str, str], Leg], fact: Fact, decisions: list[dict[str, Any]]) -> None:
    said = fact.detail
    leg = _leg(legs, fact, str(said.get("id", "")), str(said.get("leg") or "in"))
    if fact.event == GONE and leg.ended_at is None:
        leg.ended_at, leg.cause, leg.lost = fact.at, LOST, True
    elif fact.event == "answered" and leg.answered_at is None:
        leg.answered_at, leg.status = fact.at, 200
    elif fact.event in ("end", "failed") and leg.ended_at is None:
        leg.ended_at = fact.at
        leg.status = int(said.get("status") or 0) or None
        if fact.event == "end":
            leg.cause, leg.by = int(said.get("cause") or 0) or 16, str(said.get("by") or "")
        else:
            leg.cause = int(said.get("cause") or 0) or cause_of(leg.status or 0)
            leg.by = "caller" if leg.status == 487 else "edge" if said.get("reason") else "callee"  # noqa: PLR2004
        if said.get("reason"):
            text = f"{said['reason']}: {leg.status}"
            decisions.append({"at": _iso(fact.at), "node": fact.node, "step": "edge.refused", "text": text})


def _channel(legs: dict[tuple[str, str], Leg], fact: Fact) -> None:
    said = fact.detail
    leg = _leg(legs, fact, str(said.get("uniqueid", "")), "channel")
    leg.main = leg.id == said.get("linkedid")
    if fact.event == "ANSWER" and leg.answered_at is None:
        leg.answered_at = fact.at
    if fact.event in ("HANGUP", "CHAN_END"):
        leg.ended_at = leg.ended_at or fact.at
        if fact.event == "HANGUP" and leg.cause is None:
            extra = extra_of(fact.detail)
            leg.cause = int(extra.get("hangupcause") or 0)
            leg.by = "caller" if extra.get("hangupsource") == said.get("channame") else "callee"


def _placed(legs: list[Leg]) -> None:
    """A call that no channel began (an operator placed it): its caller is the device that took it."""
    channels = [leg for leg in legs if leg.kind == "channel"]
    if channels and not any(leg.main for leg in channels):
        first = min(channels, key=lambda leg: (leg.answered_at is None, leg.answered_at or leg.started_at))
        first.main = True


def _close(leg: Leg, restarts: Iterable[dt.datetime]) -> None:
    """A leg that its node did not end was ended by the first restart of the node after it began."""
    after = [at for at in restarts if at > leg.started_at]
    if leg.ended_at is None and after:
        leg.ended_at, leg.cause, leg.lost = min(after), LOST, True


def _close_by_media(legs: list[Leg]) -> None:
    """A leg from a media node to a phone or trunk lives no longer than the node's channels of the call.

    An edge states no end for a phone that was called, never answered a word and was cancelled. If it does state
    one later, that is taken instead.
    """
    for node in {leg.node for leg in legs if leg.kind == "channel"}:
        ends = [leg.ended_at for leg in legs if leg.node == node and leg.kind == "channel"]
        for leg in legs:
            if (
                leg.kind == "out"
                and leg.ended_at is None
                and leg.first.get("media") == node
                and None not in ends
            ):
                leg.ended_at = max(leg.started_at, *(at for at in ends if at is not None))
                leg.by = "media"


def cause_of(status: int) -> int:
    """Q.850 cause of a final SIP status."""
    return CAUSE_OF_STATUS.get(status) or {4: 31, 5: 41, 6: 31}.get(status // 100, 31)


def extra_of(said: dict[str, Any]) -> dict[str, Any]:
    """The `eventextra` of a line of Asterisk: JSON in a text, or text that is none."""
    extra = said.get("eventextra") or {}
    if isinstance(extra, str):
        try:
            extra = json.loads(extra)
        except ValueError:
            extra = {"extra": extra}
    return extra if isinstance(extra, dict) else {"extra": str(extra)}


def _last(times: Iterable[dt.datetime | None]) -> dt.datetime | None:
    return max((at for at in times if at is not None), default=None)


def _ms(start: dt.datetime | None, end: dt.datetime | None) -> int | None:
    return None if start is None or end is None else max(0, round((end - start).total_seconds() * 1000))


def _iso(at: dt.datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds")
