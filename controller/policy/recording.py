"""Whether a call would be recorded, and why: the rules of asterisk/extensions_recording.conf. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from controller.policy import Step

KEY = "*1"


class Wish(NamedTuple):
    """What rows want of the next talk: `mode` always, on_demand, never or empty. `rule`: until the call is over."""

    mode: str = ""
    why: str = ""
    rule: bool = False


class Recording:
    """What rows have said so far of one call. `data` reads a data extension of the account."""

    def __init__(self, data: Callable[[str], tuple[str, ...]], caller: str, device: str, trunk: str) -> None:
        self._data = data
        self._caller, self._device, self._trunk = caller, device, trunk
        self.wish = Wish()

    def record(self, mode: str = "", why: str = "", rule: str = "") -> None:
        """dp-record; without arguments what dp-next does."""
        if rule or not self.wish.rule:
            self.wish = Wish(mode, why, rule != "")

    def called(self, user: str) -> None:
        """dp-record-user: the row of the user who is called."""
        if self._wants(f":record:{user}", "inbound" if self._trunk else "internal"):
            self.record("always", f"user {user}")

    def told(self, kind: str, devices: Iterable[str] = ()) -> list[Step]:
        """dp-tape, before `devices` or a number are dialled. `kind` of the call for who calls: internal, outbound."""
        wish = self.wish
        caller = not self._trunk and wish.mode not in ("always", "never")
        if caller and self._wants(f":record:{self._caller}", kind):
            wish = Wish("always", f"user {self._caller} calls")
        if wish.mode == "always":
            sound = self._data(":consent")[0]
            heard = "no announcement (record_announcement)"
            if sound:
                heard = f"{'who is called hears' if wish != self.wish else 'both hear'} {sound} first"
            return [Step("media", f"recorded when answered: {heard}", wish.why)]
        if wish.mode == "never":
            return [Step("media", "not recorded", wish.why)]
        found = [wish.why] if wish.mode == "on_demand" else self._keys(devices)
        if caller and self._wants(f":tape:{self._device}", kind):
            found.append(f"user {self._caller} calls")
        return [Step("media", f"recorded if {KEY} is pressed", why) for why in found]

    def _keys(self, devices: Iterable[str]) -> list[str]:
        kind = "inbound" if self._trunk else "internal"
        return [f"the user of {one} may" for one in devices if self._wants(f":tape:{one}", kind)]

    def _wants(self, key: str, kind: str) -> bool:
        return kind in self._data(key)[0].split("&")
