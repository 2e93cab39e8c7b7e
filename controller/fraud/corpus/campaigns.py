"""Campaigns of fraud. Each gives events of one account, all of them the campaign's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from controller.fraud.corpus.world import (
    APPS,
    COSTLY,
    PLANS,
    PREMIUM,
    Firm,
    Phone,
    Tape,
    abroad,
    address,
    number,
)
from controller.fraud.model import FAILED_AUTH, REGISTER, Event

FAST = frozenset(
    (
        "probe_then_pump",
        "forwarding_abuse",
        "callback_bait",
        "tail_scan",
        "registration_cracking",
        "sms_pumping",
    )
)
_HOUR = 3600
_MOST_CALLS = 150
_SCANNERS = ("friendly-scanner", "pplsip", "eyeBeam release 3006o", "sipcli/v1.8")
_PLACES = (
    (31.8, 35.2),
    (55.8, 37.6),
    (24.9, 67.0),
    (-23.5, -46.6),
    (35.7, 51.4),
    (14.7, -17.4),
    (40.7, -74.0),
    (1.35, 103.8),
)


@dataclass(frozen=True, slots=True)
class Campaign:
    """One, with its events in order."""

    kind: str
    name: str
    account: str
    sources: frozenset[str]
    events: tuple[Event, ...]

    @property
    def fast(self) -> bool:
        """Whether it has to be stopped within a few calls."""
        return self.kind in FAST


def _pays(rng: Random, firm: Firm) -> list[str]:
    """Numbers that share what they earn: some of one range, at times of two or three."""
    ordinary = rng.random() < 0.15
    plans = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        drawn = rng.random()
        if ordinary:
            plans.append(rng.choice(PLANS[rng.choice([one for one in PLANS if one != firm.home])][1]))
        elif drawn < 0.1:
            plans.append(PREMIUM[rng.choice([one for one in PREMIUM if one != firm.home])])
        else:
            plans.append(COSTLY[rng.choice(list(COSTLY))])
    found = []
    for plan in plans:
        first = number(rng, plan)
        found += [first] + [f"{first[:-3]}{rng.randrange(1000):03}" for _ in range(rng.randrange(5))]
    return found


def _pump(
    rng: Random, tape: Tape, firm: Firm, phone: Phone, at: float, source: str, *, device: bool = True
) -> None:
    """Keeps so many channels busy."""
    channels, numbers = rng.randrange(4, 31), _pays(rng, firm)
    free = [at + rng.uniform(0, 20) * channel / channels for channel in range(channels)]
    for _ in range(rng.randrange(60, _MOST_CALLS)):
        free.sort()
        began, talk_s = free[0], rng.uniform(120, 1800)
        tape.call(
            firm,
            phone,
            began,
            rng.choice(numbers),
            rng.uniform(1, 6),
            talk_s,
            source=source,
            agent="SIPPER",
            device=device,
        )
        free[0] = began + talk_s + rng.uniform(2, 20)


def _probe_then_pump(rng: Random, tape: Tape, firm: Firm, at: float) -> None:
    phone, source = rng.choice(firm.phones), address(rng)
    tape.sign_in(REGISTER, firm, phone.device, at, source, "SIPPER", rng.choice(_PLACES))
    for _ in range(rng.randrange(1, 5)):
        at += rng.uniform(60, 1200)
        called = rng.choice(_pays(rng, firm)) if rng.random() < 0.7 else abroad(rng, firm)
        tape.call(
            firm, phone, at, called, rng.uniform(2, 8), rng.uniform(2, 40), source=source, agent="SIPPER"
        )
    _pump(rng, tape, firm, phone, at + rng.uniform(300, 3 * _HOUR), source)


def _slow_pump(rng: Random, tape: Tape, firm: Firm, at: float) -> None:
    phone, source, numbers = rng.choice(firm.phones), address(rng), _pays(rng, firm)
    tape.sign_in(REGISTER, firm, phone.device, at, source, "SIPPER", rng.choice(_PLACES))
    end, pause = at + rng.uniform(1.5, 3) * 86_400, rng.uniform(1200, 3600)
    while at < end:
        talk_s = rng.uniform(300, 1500)
        tape.call(
            firm, phone, at, rng.choice(numbers), rng.uniform(1, 6), talk_s, source=source, agent="SIPPER"
        )
        at += talk_s + pause * rng.uniform(0.7, 1.3)


def _forwarding_abuse(rng: Random, tape: Tape, firm: Firm, at: float) -> None:
    _pump(rng, tape, firm, rng.choice(firm.phones), at, "", device=False)


def _callback_bait(rng: Random, tape: Tape, firm: Firm, at: float) -> None:
    phone, source = rng.choice(firm.phones), address(rng)
    home = rng.random() < 0.5
    plan = rng.choice(PLANS[firm.home if home else rng.choice(list(PLANS))][1])
    tape.sign_in(REGISTER, firm, phone.device, at, source, "SIPPER")
    pace = rng.uniform(1.5, 6)
    for _ in range(rng.randrange(150, 400)):
        at += pace * rng.uniform(0.8, 1.2)
        tape.call(
            firm, phone, at, number(rng, plan), rng.uniform(2, 5), 0.0, 487, source=source, agent="SIPPER"
        )


def _tail_scan(rng: Random, tape: Tape, firm: Firm, at: float) -> None:
    phone, source = rng.choice(firm.phones), address(rng)
    tails = [
        number(rng, rng.choice(list(COSTLY.values()))).removeprefix("+")
        for _ in range(rng.choice((1, 1, 2, 3)))
    ]
    pace = rng.uniform(0.2, 4)
    for turn in range(rng.randrange(60, 200)):
        prefix = "".join(rng.choice("0019") for _ in range(rng.randrange(1, 7)))
        at += pace * rng.uniform(0.8, 1.2)
        called = prefix + tails[turn % len(tails)]
        tape.call(
            firm,
            phone,
            at,
            called,
            rng.uniform(0.05, 0.4),
            0.0,
            404,
            source=source,
            agent=rng.choice(_SCANNERS),
        )


def _registration_cracking(rng: Random, tape: Tape, firm: Firm, at: float) -> None:
    source, agent = address(rng), rng.choice(_SCANNERS)
    phone = rng.choice(firm.phones)
    many = rng.random() < 0.7
    names = [str(100 + one) for one in range(rng.randrange(15, 200))] if many else [phone.user]
    pace = rng.uniform(0.03, 2.5) if many else rng.uniform(0.03, 0.4)
    for tries in range(rng.randrange(500, 900)):
        at += pace
        device = f"{names[tries % len(names)]}@{firm.name}.example"
        tape.sign_in(FAILED_AUTH, firm, device, at, source, agent)
    tape.sign_in(REGISTER, firm, phone.device, at + 1, source, agent)
    _pump(rng, tape, firm, phone, at + rng.uniform(2, 600), source)


def _sms_pumping(rng: Random, tape: Tape, firm: Firm, at: float) -> None:
    plans = (
        list(COSTLY.values())
        if rng.random() < 0.8
        else [one for _, mobile in PLANS.values() for one in mobile]
    )
    plan = rng.choice(plans)
    blocks = [number(rng, plan)[:-4] for _ in range(rng.choice((1, 1, 2, 3, 6)))]
    pace, code = 60 / rng.uniform(20, 300), rng.random() < 0.8
    for _ in range(rng.randrange(200, 400)):
        at += pace * rng.uniform(0.5, 1.5)
        used = rng.uniform(5, 60) if rng.random() < 0.02 else 0
        tape.message(firm, "web", at, f"{rng.choice(blocks)}{rng.randrange(10_000):04}", used, code=code)


def _credential_sharing(rng: Random, tape: Tape, firm: Firm, at: float) -> None:
    phone = rng.choice(firm.phones)
    strangers = [
        (address(rng), rng.choice((*APPS, *_SCANNERS, "baresip v3.9", "MicroSIP/3.21")), rng.choice(_PLACES))
        for _ in range(rng.randrange(5, 16))
    ]
    for _ in range(rng.randrange(60, 150)):
        at += rng.uniform(60, 1500)
        source, agent, place = rng.choice(strangers)
        tape.sign_in(REGISTER, firm, phone.device, at, source, agent, place)
        called = abroad(rng, firm) if rng.random() < 0.7 else rng.choice(_pays(rng, firm))
        ring_s, talk_s = rng.uniform(3, 15), rng.uniform(30, 900)
        tape.call(firm, phone, at + 5, called, ring_s, talk_s, source=source, agent=agent, place=place)


KINDS: dict[str, Callable[[Random, Tape, Firm, float], None]] = {
    "probe_then_pump": _probe_then_pump,
    "slow_pump": _slow_pump,
    "forwarding_abuse": _forwarding_abuse,
    "callback_bait": _callback_bait,
    "tail_scan": _tail_scan,
    "registration_cracking": _registration_cracking,
    "sms_pumping": _sms_pumping,
    "credential_sharing": _credential_sharing,
}


def campaign(rng: Random, kind: str, firm: Firm, began: float, days: int) -> Campaign:
    """One that begins on some day, at night more often than not, and early enough to show what it does."""
    night = rng.random() < 0.6
    day = rng.randrange(max(1, days - 3)) if kind == "slow_pump" else rng.randrange(days)
    hour = rng.choice((rng.uniform(0, 5), rng.uniform(20, 24))) if night else rng.uniform(5, 20)
    name = f"{kind} {firm.name}"
    tape = Tape(f"x-{kind}-{firm.name}")
    KINDS[kind](rng, tape, firm, began + day * 86_400 + hour * _HOUR)
    events = tuple(sorted(tape.events, key=lambda one: one.at))
    return Campaign(kind, name, firm.name, frozenset(one.source for one in events if one.source), events)
