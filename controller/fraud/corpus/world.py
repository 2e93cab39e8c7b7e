"""Accounts, their telephones, and the numbers they call."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from zoneinfo import ZoneInfo

from controller.fraud.defaults import MESSAGE_COST, RATES
from controller.fraud.destinations import classify
from controller.fraud.model import ANSWER, END, MESSAGE, START, USED, Event, Profile

# d: a digit. (fixed lines, mobiles)
PLANS = {
    "DE": (("+49302ddddddd", "+49892ddddddd", "+4940dddddddd"), ("+49151dddddddd", "+49171ddddddd", "+49176dddddddd")),
    "AT": (("+4315dddddd",), ("+43664ddddddd",)),
    "GB": (("+44207ddddddd",), ("+447911dddddd", "+447400dddddd")),
    "FR": (("+33142dddddd",), ("+33612dddddd",)),
    "US": (("+12125dddddd",), ("+12135dddddd",)),
    "CH": (("+4144668dddd",), ("+4179ddddddd",)),
    "PL": (("+48226dddddd",), ("+48512dddddd",)),
    "IT": (("+3902dddddddd",), ("+39347ddddddd",)),
    "ES": (("+34910dddddd",), ("+34612dddddd",)),
    "NL": (("+31206dddddd",), ("+31612dddddd",)),
    "TR": (("+90212ddddddd",), ("+90532ddddddd",)),
}  # fmt: skip
COSTLY = {
    "TN": "+21620dddddd", "SL": "+23276dddddd", "CU": "+535ddddddd", "LV": "+37126dddddd", "MV": "+96077ddddd",
    "DO": "+18092dddddd", "GM": "+2203dddddd", "ZW": "+26377ddddddd", "SO": "+25261ddddddd", "PG": "+6757dddddddd",
    "GB": "+4470dddddddd", "882": "+88213ddddddd", "881": "+88163ddddddd", "SN": "+22177ddddddd",
}  # fmt: skip
PREMIUM = {
    "DE": "+499001dddddd",
    "AT": "+43900dddddd",
    "GB": "+449098dddddd",
    "FR": "+33899dddddd",
    "CH": "+41900dddddd",
}
HOMES = ("DE", "DE", "DE", "DE", "DE", "AT", "AT", "GB", "FR", "CH")
ZONES = {
    "DE": "Europe/Berlin",
    "AT": "Europe/Vienna",
    "GB": "Europe/London",
    "FR": "Europe/Paris",
    "CH": "Europe/Zurich",
}
AGENTS = (
    "Yealink SIP-T46U 108.86",
    "snomD785/10.1.175",
    "PolyVVX/6.4",
    "Grandstream GXP2170 1.0.11",
    "Cisco-CP8851/14.1",
)
APPS = ("Linphone-Desktop/5.2", "Acrobits/6.2 iOS", "Zoiper v5.6")
_PLACES = {"DE": (52.5, 13.4), "AT": (48.2, 16.4), "GB": (51.5, -0.1), "FR": (48.9, 2.4), "CH": (47.4, 8.5)}


def number(rng: Random, plan: str) -> str:
    """One of that form."""
    digits = plan.count("d")
    return plan[: len(plan) - digits] + str(rng.randrange(10**digits)).zfill(digits)


def address(rng: Random) -> str:
    """One of the ranges that belong to nobody."""
    return f"198.{rng.choice((18, 19))}.{rng.randrange(256)}.{rng.randrange(1, 255)}"


@dataclass(slots=True)
class Phone:
    """One device; `moves`: an application on a mobile phone, whose address changes."""

    user: str
    device: str
    agent: str
    moves: bool = False


@dataclass(slots=True)
class Firm:
    """One account. `kind`: office, trade, call_centre, shop (it sends codes), writer (newsletters)."""

    name: str
    home: str
    kind: str
    zone: ZoneInfo
    since: float | None
    nat: str
    phones: list[Phone] = field(default_factory=list)
    contacts: dict[str, list[str]] = field(default_factory=dict)
    abroad: float = 0.0

    @property
    def profile(self) -> Profile:
        """What rules want to know of it."""
        return Profile(self.home, self.zone, self.since)

    @property
    def place(self) -> tuple[float, float]:
        """Where it is."""
        return _PLACES[self.home]


def at_home(rng: Random, firm: Firm) -> str:
    """Somebody's number in its own country."""
    fixed, mobile = PLANS[firm.home]
    return number(rng, rng.choice(fixed if rng.random() < 0.55 else mobile))


def abroad(rng: Random, firm: Firm) -> str:
    """Somebody's number in another country, an ordinary one."""
    fixed, mobile = PLANS[rng.choice([one for one in PLANS if one != firm.home])]
    return number(rng, rng.choice(fixed + mobile))


_KINDS = ("office",) * 80 + ("trade",) * 10 + ("call_centre",) * 2 + ("shop",) * 5 + ("writer",) * 3
_YOUNG, _FAMILY = 0.05, 0.02


def firms(seed: int, accounts: int, began: float) -> list[Firm]:
    """The accounts of a corpus; few are large, many small."""
    rng = Random(f"firms {seed}")
    found = []
    for index in range(accounts):
        home, kind = rng.choice(HOMES), rng.choice(_KINDS)
        age = rng.uniform(0, 10) if rng.random() < _YOUNG else None
        since = None if age is None else began - age * 86_400
        firm = Firm(f"a{seed}-{index}", home, kind, ZoneInfo(ZONES[home]), since, address(rng))
        users = 12 if kind == "call_centre" else max(1, min(60, int(rng.paretovariate(1.0) * 1.6)))
        firm.abroad = rng.uniform(0.15, 0.4) if kind == "trade" else rng.choice((0, 0, 0, 0.01, 0.02, 0.05))
        for user in range(users):
            name, moves = f"u{user}", rng.random() < 0.2
            device = f"{name}@{firm.name}.example"
            firm.phones.append(Phone(name, device, rng.choice(APPS if moves else AGENTS), moves))
            firm.contacts[name] = _contacts(rng, firm)
        found.append(firm)
    return found


def _contacts(rng: Random, firm: Firm) -> list[str]:
    known = [abroad(rng, firm) if rng.random() < firm.abroad else at_home(rng, firm) for _ in range(25)]
    if rng.random() < _FAMILY * (4 if firm.kind == "trade" else 1):
        known.append(number(rng, COSTLY[rng.choice(("TN", "CU", "DO", "SN", "LV"))]))
    return known


class Tape:
    """Collects events; ids are those of the tape's name."""

    def __init__(self, name: str) -> None:
        self.events: list[Event] = []
        self._name = name
        self._calls = 0

    def call(
        self,
        firm: Firm,
        phone: Phone,
        at: float,
        called: str,
        ring_s: float,
        talk_s: float,
        status: int = 200,
        *,
        source: str = "",
        agent: str = "",
        device: bool = True,
        place: tuple[float, float] | None = None,
    ) -> None:
        """One call; no talk: it ends after the ringing with that status. `device`: false for a forwarding."""
        self._calls += 1
        call = f"{self._name}-{self._calls}"
        country, cls = classify(called, firm.home)
        rate = RATES[cls]
        base = Event(
            f"{call}/s", at, START, firm.name, call, phone.user, (), phone.device if device else "", "",
            (source or firm.nat) if device else "", (agent or phone.agent) if device else "", called, country, cls,
            rate=rate, place=place,
        )  # fmt: skip
        self.events.append(base)
        if talk_s:
            self.events.append(base._replace(id=f"{call}/a", at=at + ring_s, kind=ANSWER))
        over = base._replace(
            id=f"{call}/e", at=at + ring_s + talk_s, kind=END, duration_s=ring_s + talk_s, talk_s=talk_s,
            status=200 if talk_s else status, cost=rate * talk_s / 60,
        )  # fmt: skip
        self.events.append(over)

    def message(
        self, firm: Firm, user: str, at: float, called: str, used_after_s: float = 0, *, code: bool = False
    ) -> None:
        """One message; a code may be used so much later (0: never)."""
        self._calls += 1
        call = f"{self._name}-{self._calls}"
        country, cls = classify(called, firm.home)
        sent = Event(
            f"{call}/m", at, MESSAGE, firm.name, call, user, (), "", "", "", "", called, country, cls,
            cost=MESSAGE_COST, status=202, code=code,
        )  # fmt: skip
        self.events.append(sent)
        if used_after_s:
            self.events.append(sent._replace(id=f"{call}/a", at=at + used_after_s, kind=USED, cost=0.0))

    def sign_in(
        self,
        kind: str,
        firm: Firm,
        device: str,
        at: float,
        source: str,
        agent: str,
        place: tuple[float, float] | None = None,
    ) -> None:
        """A registration, or a failed one."""
        self._calls += 1
        user = device.partition("@")[0]
        self.events.append(
            Event(
                f"{self._name}-{self._calls}/r",
                at,
                kind,
                firm.name,
                "",
                user,
                (),
                device,
                "",
                source,
                agent,
                place=place,
            )
        )
