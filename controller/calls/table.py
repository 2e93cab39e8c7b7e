"""Events of one Asterisk folded into the calls it carries now. Pure.

Channel events carry the channel's whole state, so one lost event costs nothing that the next does not repair.
What was hung up never comes back: the ids of the last hang-ups are remembered, and a late event of theirs is
dropped.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

Event = Mapping[str, str]

#: Where each word of a channel comes from: channel variable set by the dialplan (asterisk/extensions.conf) -> field.
VARIABLES = {"DP_CALL": "call", "DP_ACCOUNT": "account", "DP_CALLER": "user", "DP_TRUNK": "trunk"}
_REMEMBERED = 20_000
_NONE = ("", "<unknown>", "<none>")


@dataclass(frozen=True, slots=True)
class Channel:
    """One leg on a media node. `state`: down, ring, ringing, up ... `bridge`: id shared by those who talk."""

    id: str
    linked: str = ""
    name: str = ""
    state: str = ""
    caller: str = ""
    connected: str = ""
    exten: str = ""
    bridge: str = ""
    call: str = ""
    account: str = ""
    user: str = ""
    trunk: str = ""


@dataclass(slots=True)
class CallTable:
    """The channels of one node by Uniqueid."""

    channels: dict[str, Channel] = field(default_factory=dict)
    _gone: dict[str, None] = field(default_factory=dict)
    _gone_order: deque[str] = field(default_factory=deque)

    def apply(self, event: Event) -> None:
        """Take one event. Dial events state two channels."""
        name = event.get("Event", "")
        if name == "Hangup":
            self._hang_up(event.get("Uniqueid", ""))
            return
        for prefix in ("", "Dest"):
            unique = event.get(f"{prefix}Uniqueid", "")
            if unique and unique not in self._gone:
                self.channels[unique] = _seen(self.channels.get(unique, Channel(unique)), event, prefix)
        unique = event.get("Uniqueid", "")
        if unique in self.channels:
            if name == "VarSet":
                self._variable(unique, event.get("Variable", "").lstrip("_"), event.get("Value", ""))
            elif name == "BridgeEnter":
                bridge = event.get("BridgeUniqueid", "")
                self.channels[unique] = replace(self.channels[unique], bridge=bridge)
            elif name == "BridgeLeave":
                self.channels[unique] = replace(self.channels[unique], bridge="")

    def resync(self, channels: Iterable[Event]) -> None:
        """What `Status` lists is what there is; what is known of those stays known."""
        listed = [event for event in channels if event.get("Uniqueid")]
        there = {event["Uniqueid"] for event in listed}
        for unique in [one for one in self.channels if one not in there]:
            self._hang_up(unique)
        for event in listed:
            unique = event["Uniqueid"]
            seen = _seen(self.channels.get(unique, Channel(unique)), event, "")
            self.channels[unique] = replace(seen, bridge=event.get("BridgeID", ""))

    def calls(self) -> dict[str, list[Channel]]:
        """Channels by call id, first leg first; those of no dialplane call under `linked:<linkedid>`."""
        known = {one.linked: one.call for one in self.channels.values() if one.call}
        calls: dict[str, list[Channel]] = {}
        for one in sorted(self.channels.values(), key=lambda one: (one.id != one.linked, one.id)):
            calls.setdefault(one.call or known.get(one.linked) or f"linked:{one.linked}", []).append(one)
        return calls

    def accounts(self) -> dict[str, int]:
        """How many calls each account has; a call is that of its first leg that names one."""
        counted = (next((leg.account for leg in legs if leg.account), "") for legs in self.calls().values())
        return dict(Counter(filter(None, counted)))

    def _variable(self, unique: str, variable: str, value: str) -> None:
        if variable in VARIABLES and value:
            self.channels[unique] = replace(self.channels[unique], **{VARIABLES[variable]: value})

    def _hang_up(self, unique: str) -> None:
        self.channels.pop(unique, None)
        if unique and unique not in self._gone:
            self._gone[unique] = None
            self._gone_order.append(unique)
            if len(self._gone_order) > _REMEMBERED:
                del self._gone[self._gone_order.popleft()]


def _seen(channel: Channel, event: Event, prefix: str) -> Channel:
    """The channel with what this event says of it; an event that does not say leaves it."""
    said = {
        "linked": event.get(f"{prefix}Linkedid", ""),
        "name": event.get(f"{prefix}Channel", ""),
        "state": event.get(f"{prefix}ChannelStateDesc", "").lower(),
        "caller": event.get(f"{prefix}CallerIDNum", ""),
        "connected": event.get(f"{prefix}ConnectedLineNum", ""),
        "exten": event.get(f"{prefix}Exten", ""),
        # The dialplan sets it with DP_ACCOUNT, of which only the many events of class `dialplan` tell.
        "account": event.get(f"{prefix}AccountCode", ""),
    }
    # Status states variables as Variable, events as ChanVariable (if manager.conf lists them in channelvars).
    told = event.get(f"{prefix}ChanVariable", "") + "\n" + event.get(f"{prefix}Variable", "")
    for line in told.split("\n"):
        variable, _, value = line.partition("=")
        if variable in VARIABLES:
            said[VARIABLES[variable]] = value
    return replace(channel, **{key: value for key, value in said.items() if value not in _NONE})
