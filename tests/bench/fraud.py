"""The fraud engine: events a second on one core, memory, and what the rules that come with it are worth on seeds that
changed none of them."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

import psutil

from controller.fraud import defaults
from controller.fraud.corpus import HELD_OUT
from controller.fraud.corpus.generate import corpus
from controller.fraud.corpus.score import FALSE_BLOCKS, MOST_CALLS, MOST_MESSAGES, STOPPED_PCT, Score, score
from controller.fraud.engine import Engine
from controller.fraud.model import ANSWER, END, REGISTER, START, Event
from tests.bench.figures import Figure
from tests.bench.lab import Lab, say

_EVENTS_A_SECOND = 20_000
_ACCOUNTS, _DAYS = 300, 3
_SCOPES, _DEVICES_AN_ACCOUNT = 100_000, 10
_CALLS = 4
_TURNS = 3
_TICK_S = 5


def measure(_: Lab, __: Sequence[int]) -> Iterator[Figure]:
    """All of them; no server is needed."""
    yield speed()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        scopes, counters, used_mb = pool.submit(memory).result()
    note = f"of {scopes:,} devices, users, accounts, addresses, {_CALLS} calls each in an hour: {counters:,} counters"
    yield Figure(
        "fraud.memory", used_mb * _SCOPES / scopes, "MB", note=f"for {_SCOPES:,} active scopes: {note}"
    )
    yield from worth()


def speed() -> Figure:
    """A day of a corpus through the engine with the default rules, and a look at live calls every 5 s of it."""
    made = corpus(HELD_OUT[0], _ACCOUNTS, 1)
    events = [event for event, _ in made.events()]
    seconds = []
    for _ in range(_TURNS):
        engine = Engine(defaults.RULES, permissions=defaults.PERMISSIONS, profiles=made.profiles)
        feed, tick = engine.feed, engine.tick
        ticked = 0.0
        began = time.process_time()
        for event in events:
            feed(event)
            if event.at > ticked + _TICK_S:
                ticked = event.at
                tick(ticked)
        seconds.append(time.process_time() - began)
    note = f"{len(events):,} events of a day, {len(defaults.RULES)} rules; processor time, best of {_TURNS}"
    return Figure(
        "fraud.events_per_second",
        len(events) / min(seconds),
        "/s",
        _EVENTS_A_SECOND,
        at_least=True,
        note=note,
    )


def memory() -> tuple[int, int, float]:
    """Scopes, counters, and what they take in MB: every device calls abroad."""
    devices = _SCOPES * _DEVICES_AN_ACCOUNT // (2 * _DEVICES_AN_ACCOUNT + 2)
    process = psutil.Process(os.getpid())
    engine = Engine(defaults.RULES, permissions=defaults.PERMISSIONS)
    before = process.memory_info().rss
    at = 1_777_975_200.0
    for turn in range(_CALLS):
        for number in range(devices):
            at += 900 / devices
            for event in _call(at, turn, number):
                engine.feed(event)
    accounts = -(-devices // _DEVICES_AN_ACCOUNT)
    return 2 * devices + 2 * accounts, engine.size(), (process.memory_info().rss - before) / 1e6


def _call(at: float, turn: int, number: int) -> Iterator[Event]:
    account, call = f"a{number // _DEVICES_AN_ACCOUNT}", f"{turn}-{number}"
    begun = Event(
        f"{call}/s", at, START, account, call, f"u{number}", (), f"u{number}@{account}.example", "",
        f"198.18.{number // 2560 % 256}.{number // 10 % 256}", "phone/1", f"+2162{number * 7 + turn:07}", "TN",
        "high_risk", rate=0.5,
    )  # fmt: skip
    if turn == 0:
        yield begun._replace(id=f"{call}/r", kind=REGISTER, call="")
    yield begun
    yield begun._replace(id=f"{call}/a", kind=ANSWER)
    yield begun._replace(id=f"{call}/e", kind=END, duration_s=60, talk_s=30, cost=0.25)


def worth() -> Iterator[Figure]:
    """The corpus figures with their promises."""
    found = Score()
    for seed in HELD_OUT:
        found.add(score(corpus(seed, _ACCOUNTS, _DAYS)))
        say(f"  seed {seed}: {found.events:,} events so far")
    seeds = ", ".join(map(str, HELD_OUT))
    note = f"{len(found.outcomes)} campaigns, {found.account_days:,.0f} account days, held-out seeds {seeds}"
    slow = [one for one in found.outcomes if not one.campaign.fast]
    minutes = sum(one.minutes for one in slow) / max(1, len(slow))
    yield Figure("fraud.campaigns_stopped", found.stopped_pct, "%", STOPPED_PCT, at_least=True, note=note)
    yield Figure(
        "fraud.calls_lost", found.most_calls, "calls", MOST_CALLS, note="by a fast campaign, at most"
    )
    yield Figure("fraud.messages_lost", found.most_messages, "messages", MOST_MESSAGES, note="the same")
    yield Figure("fraud.minutes_lost", minutes, "min", note="by a slow campaign, in the mean")
    yield Figure(
        "fraud.false_blocks", found.false_blocks, "/1,000/d", FALSE_BLOCKS,
        note=f"{len(found.false)} for 1,000 accounts and day; {found.refused} calls refused by permission",
    )  # fmt: skip
