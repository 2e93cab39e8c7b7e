"""What people expect around calls, as the dialplan does it: conferences, pickup, parking, paging, supervisors."""

from __future__ import annotations

from controller.policy import Step
from controller.policy.way import Application, Way, said


class Features(Way):
    """Extensions that lead to no telephone of a user's own."""

    def _conference(self, extension: str, one: Application, *_: list[Application]) -> None:
        _number, room, pin, moderator, most, flags = one.arguments
        asked = {
            (True, True): "PIN of members or moderators",
            (True, False): "PIN",
            (False, True): "PIN of moderators",
        }
        told = [
            f"the {asked[bool(pin), bool(moderator)]} is asked for" if pin or moderator else "no PIN",
            "members wait for a moderator" if "w" in flags else "",
            f"{most} members at most" if most else "",
            "recorded, and said so" if "r" in flags else "",
        ]
        self._say(f"conference {room}, at the account's home node", "; ".join(filter(None, told)))
        self._event("dp.home", extension)

    def _membership(self, extension: str, one: Application, *_: list[Application]) -> None:
        self._say(
            f"leave group {one.arguments[0]}, or join it again", f"extension {extension}, for its members"
        )
        self._event("dp.member", one.arguments[0])

    def _pickup(self, extension: str, one: Application, *_: list[Application]) -> None:
        _code, wanted = one.arguments
        rings = f"at {wanted}" if wanted else f"somewhere in {self.leg.account}"
        self._say(f"pick up a call that rings {rings}", "this node first, then the others of the cluster")
        self._event("dp.pickup", wanted or "any")

    def _supervise(self, extension: str, one: Application, *_: list[Application]) -> None:
        _number, key, queue = one.arguments
        caller = self.leg.caller.replace("-", ":")
        if not caller or f":may:supervise:{key}:{caller}" not in self._own:
            self._say(
                "announcement, 403",
                f"{self.leg.caller or 'who calls from outside'} does not supervise {queue}",
            )
            self._event("dp.refused", f"supervisors of queue {queue} only")
            return
        self._say(
            f"listen to talks of queue {queue}",
            f"extension {extension}; this node first, then the others: 5 speaks to the member, 6 to both",
        )
        self._event("dp.supervise", queue)

    def _park(self, extension: str, one: Application, *_: list[Application]) -> None:
        _extension, lot, first, slots, wait_s, return_s, then, *_lamps = one.arguments
        last = int(first) + int(slots) - 1
        self._say(
            f"park in {lot}, the first free one of slots {first} to {last}, at the account's home node",
            f"extension {extension}; music for {wait_s} s, or until somebody dials the slot",
        )
        self._event("dp.home", extension)
        back = f"ring for {return_s} s where it was parked, " if return_s != "0" else ""
        self._one_of({"late": (Step("media", f"{back}then {said(then)}", "if nobody dials the slot"), then)})

    def _unpark(self, extension: str, one: Application, *_: list[Application]) -> None:
        self._say(
            f"take the call that is parked at {extension}, at the account's home node",
            f"a slot of parking lot {one.arguments[1]}; a call that is transferred there is parked there",
        )
        self._event("dp.home", extension)

    def _page(
        self, extension: str, one: Application, before: list[Application], _: list[Application]
    ) -> None:
        name, flags, tone, max_s, devices = one.arguments
        caller = self.leg.caller
        allowed = "r" not in flags or f":may:page:{name}:{caller}".replace("-", ":") in self._own
        if not caller or not allowed:
            why = f"{caller} may not page {name}" if caller else "who calls from outside pages nobody"
            self._say(f"announcement, {self._code(403)}", why)
            if caller:
                self._event("dp.refused", why)
            return
        chunks = [*(line.arguments[0] for line in before), devices]
        heard = [aor for aor in "&".join(chunks).split("&") if aor and aor != self.leg.device]
        told = [
            "they may answer" if "d" in flags else "they only hear",
            f"after {tone}" if tone else "",
            f"{max_s} s at most",
            "who is on the telephone or does not want to be disturbed is passed over",
        ]
        self._say(
            f"page {', '.join(heard) or 'nobody'}",
            f"extension {extension} is page {name}: {'; '.join(filter(None, told))}",
        )
        self._event("dp.page", name)


Features.applications = {
    "dp-conference": Features._conference,
    "dp-pickup": Features._pickup,
    "dp-membership": Features._membership,
    "dp-park": Features._park,
    "dp-unpark": Features._unpark,
    "dp-page": Features._page,
    "dp-supervise": Features._supervise,
}
