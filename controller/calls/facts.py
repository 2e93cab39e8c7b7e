"""What a spool line says, in one shape for both halves. Pure.

Edge lines are described at the top of `kamailio/events.cfg`, media lines in `asterisk/cel_custom.conf`.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

#: A line of a media node that was written before the dialplan knew the call is joined by Asterisk's linkedid.
LINKED = "linked:"
#: `call_id` of facts about a server, not a call.
NODE = "node:"
#: `call_id` of facts about the registration of a device, and about sign-ins that failed from an address.
DEVICE = "device:"
SOURCE = "source:"
#: `call_id` of facts about a message that an edge relayed, refused or accepted: rows of controller/messages/, too.
MESSAGE = "message:"
#: `call_id`s of what is no call, so that no record is made of it.
NO_CALLS = (LINKED, NODE, DEVICE, SOURCE, MESSAGE)
RESTART = "restart"
GONE = "gone"
EDGE_EVENTS = frozenset(("start", "answered", "end", "failed"))
REGISTERED = "registered"
REGISTRATION_EVENTS = frozenset((REGISTERED, GONE))
REFUSED_SIGN_IN = "refused_sign_in"


@dataclass(frozen=True, slots=True)
class Fact:
    """One event as one node saw it. (node, file_id, position) says which line it is: twice the same is once."""

    call_id: str
    node: str
    at: dt.datetime
    event: str
    file_id: str
    position: int
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def line(self) -> tuple[str, str, int]:
        """Which line of which file of which node it is."""
        return (self.node, self.file_id, self.position)


def parse(line: bytes, node: str, file_id: str, position: int) -> Fact:
    """The fact a whole line states. ValueError says what is wrong with the line."""
    said = json.loads(line)
    if not isinstance(said, dict):
        raise TypeError("not a JSON object")
    # PostgreSQL stores no NUL, no lone surrogate, no infinity: such a line would stop all those behind it.
    if "\0" in json.dumps(said, ensure_ascii=False, allow_nan=False).encode().decode() or b"\\u0000" in line:
        raise ValueError("NUL in a line")
    event, at_s, call = _media(said, node) if "eventtype" in said else _edge(said)
    at = dt.datetime.fromtimestamp(at_s, dt.UTC)
    return Fact(call, node, at, event, file_id, position, said)


def _media(said: dict[str, Any], node: str) -> tuple[str, float, str]:
    event = str(said["eventtype"])
    if event == "USER_DEFINED":
        event = str(said.get("eventname") or event)
    call = str(said.get("userfield") or "") or f"{LINKED}{node}/{said['linkedid']}"
    return event, float(said["eventtime"]), call


def _edge(said: dict[str, Any]) -> tuple[str, float, str]:
    event, at_s = str(said["event"]), float(said["ts"]) / 1000
    # What strangers chose stands in lines as in a URL.
    for name in ("agent", "aor") if event == REFUSED_SIGN_IN else ("agent",):
        if isinstance(said.get(name), str):
            said[name] = readable(said[name])
    if event == REFUSED_SIGN_IN:
        call = SOURCE + str(said["source"])
        if not isinstance(said["aor"], str) or not isinstance(said["count"], int) or said["count"] < 1:
            raise ValueError(f"event {event!r} of {call!r} names nobody, or counts nothing")
    elif "aor" in said:
        call = DEVICE + str(said["aor"])
        if event not in REGISTRATION_EVENTS or "@" not in call:
            raise ValueError(f"event {event!r} of {call!r} is none of a registration")
    elif "message" in said:
        call = MESSAGE + str(uuid.UUID(said["message"]))
        if event != "message" or not isinstance(said["status"], int):
            raise ValueError(f"event {event!r} of {call!r} is none of a message")
    else:
        call = str(said["call"])
        if event not in EDGE_EVENTS or not call:
            raise ValueError(f"event {event!r} of call {call!r} is none of an edge")
    return event, at_s, call


def readable(text: str) -> str:
    """What an edge wrote as in a URL, fit for a row and a terminal."""
    return "".join(char if char.isprintable() else "?" for char in unquote_plus(text, errors="replace"))


def gone(node: str, call_id: str, leg: str, kind: str, at: dt.datetime) -> Fact:
    """An edge no longer has the dialog `leg` (`kind`: in, out, straight) and never told of its end."""
    detail = {"id": leg, "leg": kind, "event": GONE}
    return Fact(call_id, node, at, GONE, f"{GONE} {call_id} {kind}", int(leg.partition(":")[2] or 0), detail)


def restart(node: str, started_at: dt.datetime) -> Fact:
    """The server of `node` started: what it carried before is over. Stated twice, it is one fact."""
    return Fact(NODE + node, node, started_at, RESTART, RESTART, int(started_at.timestamp()))
