"""Ordinary days, and the hard negatives among them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

from controller.fraud.corpus.world import (
    AGENTS,
    COSTLY,
    PLANS,
    PREMIUM,
    Firm,
    Phone,
    Tape,
    abroad,
    address,
    at_home,
    number,
)
from controller.fraud.model import FAILED_AUTH, REGISTER

HARD = ("call_centre", "conference", "holiday", "newsletter", "wrong_password", "extensions")
_HOUR, _MINUTE = 3600, 60
_WEEKEND = 5
_APART_KM = (40.7, -74.0)


def day(rng: Random, firm: Firm, date: datetime, hard: str | None) -> Tape:
    """All events of an account that begin on a day; `hard`: which hard negative is among them."""
    tape = Tape(f"{firm.name}-{date:%m%d}")
    start = date.replace(tzinfo=firm.zone).timestamp()
    busy = 0.12 if date.weekday() >= _WEEKEND else 1.0
    for phone in firm.phones:
        _calls(rng, tape, firm, phone, start, busy)
        _registers(rng, tape, firm, phone, start)
    if firm.kind == "shop":
        _codes(rng, tape, firm, start)
    if hard is not None:
        _HARD[hard](rng, tape, firm, start)
    elif firm.kind == "call_centre" and busy == 1:
        call_centre(rng, tape, firm, start)
    return tape


def _clock(rng: Random, start: float) -> float:
    """Morning and afternoon, and some at any time."""
    if rng.random() < 0.04:
        return start + rng.uniform(7, 23) * _HOUR
    middle = rng.choice((10.3, 14.6))
    return start + min(20.0, max(7.0, rng.gauss(middle, 1.3))) * _HOUR


def _ends(rng: Random, long: float = 1.0) -> tuple[float, float, int]:
    """Ringing, talk, status."""
    drawn = rng.random()
    if drawn < 0.70:
        return rng.uniform(3, 18), min(7200.0, rng.lognormvariate(4.6, 1.1) * long), 200
    if drawn < 0.82:
        return rng.uniform(0.5, 3), 0.0, 486
    if drawn < 0.94:
        return rng.uniform(12, 45), 0.0, 487 if rng.random() < 0.7 else 480
    if drawn < 0.97:
        return rng.uniform(1, 9), 0.0, 487
    return rng.uniform(0.2, 2), 0.0, 404


def _calls(rng: Random, tape: Tape, firm: Firm, phone: Phone, start: float, busy: float) -> None:
    count = min(120, int(rng.lognormvariate(2.1, 0.9) * busy))
    at = sorted(_clock(rng, start) for _ in range(count))
    for when in at:
        drawn = rng.random()
        if drawn < 0.2:
            called = str(rng.randrange(100, 200))
        elif drawn < 0.75:
            called = rng.choice(firm.contacts[phone.user])
        elif rng.random() < firm.abroad:
            called = abroad(rng, firm)
        else:
            called = at_home(rng, firm)
        if rng.random() < 0.0003:
            called = number(rng, PREMIUM[firm.home])
        ring_s, talk_s, status = _ends(rng)
        tape.call(firm, phone, when, called, ring_s, talk_s, status)
        # Who is busy is dialled again.
        for again in range(rng.randrange(1, 9) if status == 486 and rng.random() < 0.3 else 0):
            tape.call(
                firm,
                phone,
                when + 20 * (again + 1) + rng.uniform(0, 8),
                called,
                rng.uniform(0.5, 4),
                0.0,
                486,
            )
    for _ in range(rng.randrange(4) if rng.random() < 0.1 * busy else 0):
        tape.message(firm, phone.user, _clock(rng, start), number(rng, rng.choice(PLANS[firm.home][1])))


def _registers(rng: Random, tape: Tape, firm: Firm, phone: Phone, start: float) -> None:
    agent = phone.agent
    if rng.random() < 1 / 40:
        # New firmware.
        phone.agent = agent = f"{agent.partition('#')[0]}#{rng.randrange(100)}"
    times = sorted(
        start + rng.uniform(0, 24) * _HOUR for _ in range(rng.randrange(3, 12) if phone.moves else 2)
    )
    for at in times:
        source = address(rng) if phone.moves else firm.nat
        tape.sign_in(REGISTER, firm, phone.device, at, source, agent, firm.place)
    if rng.random() < 0.004:
        # A VPN with an exit elsewhere, switched on for a while.
        at = _clock(rng, start)
        tape.sign_in(REGISTER, firm, phone.device, at, address(rng), agent, _APART_KM)
        tape.sign_in(REGISTER, firm, phone.device, at + rng.uniform(600, 7200), firm.nat, agent, firm.place)
    if rng.random() < 0.01:
        at = _clock(rng, start)
        for tries in range(rng.randrange(1, 8)):
            tape.sign_in(FAILED_AUTH, firm, phone.device, at + tries * rng.uniform(5, 30), firm.nat, agent)


def _codes(rng: Random, tape: Tape, firm: Firm, start: float) -> None:
    for _ in range(rng.randrange(30, 250)):
        foreign = rng.random() < 0.08
        plan = rng.choice([one for one in PLANS if one != firm.home]) if foreign else firm.home
        used = rng.uniform(5, 70) if rng.random() < 0.85 else 0
        at = start + rng.triangular(6, 24, 19) * _HOUR
        tape.message(firm, "web", at, number(rng, rng.choice(PLANS[plan][1])), used, code=True)


def call_centre(rng: Random, tape: Tape, firm: Firm, start: float) -> None:
    """Agents dial two or three new numbers a minute, for an hour or two."""
    end = start + rng.uniform(9.5, 10.5) * _HOUR
    for phone in firm.phones[:12]:
        at = start + 9 * _HOUR + rng.uniform(0, 60)
        while at < end:
            ring_s, talk_s, status = _ends(rng, 0.3)
            tape.call(firm, phone, at, at_home(rng, firm), ring_s, talk_s, status)
            at += ring_s + talk_s + rng.uniform(2, 8)


def _conference(rng: Random, tape: Tape, firm: Firm, start: float) -> None:
    at, long = _clock(rng, start), rng.uniform(1200, 7200)
    phone = firm.phones[0]
    for member in range(rng.randrange(8, 25)):
        called = abroad(rng, firm) if rng.random() < 0.25 else at_home(rng, firm)
        tape.call(
            firm, phone, at + member * rng.uniform(0.2, 4), called, rng.uniform(4, 20), long, device=False
        )


def _holiday(rng: Random, tape: Tape, firm: Firm, start: float) -> None:
    phone = rng.choice(firm.phones)
    plan = COSTLY[rng.choice(("TN", "DO", "MV", "CU"))] if rng.random() < 0.5 else PLANS["TR"][0][0]
    hotel, at = number(rng, plan), start + rng.uniform(9, 19) * _HOUR
    for _ in range(rng.randrange(1, 6)):
        ring_s, talk_s, status = _ends(rng, 2)
        tape.call(firm, phone, at, hotel if rng.random() < 0.7 else number(rng, plan), ring_s, talk_s, status)
        at += ring_s + talk_s + rng.uniform(60, 5400)


def _newsletter(rng: Random, tape: Tape, firm: Firm, start: float) -> None:
    at, pace = start + rng.uniform(8, 17) * _HOUR, rng.uniform(0.4, 2)
    for _ in range(rng.randrange(300, 1200)):
        foreign = rng.random() < 0.05
        plan = rng.choice([one for one in PLANS if one != firm.home]) if foreign else firm.home
        tape.message(firm, "marketing", at, number(rng, rng.choice(PLANS[plan][1])))
        at += pace * rng.uniform(0.5, 1.5)


def _wrong_password(rng: Random, tape: Tape, firm: Firm, start: float) -> None:
    """One tries again and again; forty others, of whatever account, sign in well from the same address."""
    at, pace = start + rng.uniform(6, 12) * _HOUR, rng.choice((4, 10, 30, 60))
    bad = firm.phones[-1]
    for tries in range(rng.randrange(100, 600)):
        tape.sign_in(
            FAILED_AUTH, firm, bad.device, at + tries * pace * rng.uniform(0.95, 1.05), firm.nat, bad.agent
        )
    for good in range(40):
        for _ in range(3):
            device = f"g{good}@{firm.name}.example"
            tape.sign_in(REGISTER, firm, device, at + rng.uniform(0, 6) * _HOUR, firm.nat, AGENTS[good % 5])


def _extensions(rng: Random, tape: Tape, firm: Firm, start: float) -> None:
    phone, at = rng.choice(firm.phones), _clock(rng, start)
    trunk = at_home(rng, firm)[:-2]
    for extension in rng.sample(range(10, 60), rng.randrange(3, 9)) + [20, 21, 22][: rng.randrange(4)]:
        ring_s, talk_s, status = _ends(rng, 0.3)
        tape.call(firm, phone, at, f"{trunk}{extension}", ring_s, talk_s, status)
        at += ring_s + talk_s + rng.uniform(5, 60)


_HARD = {
    "call_centre": call_centre,
    "conference": _conference,
    "holiday": _holiday,
    "newsletter": _newsletter,
    "wrong_password": _wrong_password,
    "extensions": _extensions,
}


def dates(began: datetime, days: int) -> Iterator[datetime]:
    """Midnights, without a zone: each account has its own."""
    for number_ in range(days):
        yield began + timedelta(days=number_)
