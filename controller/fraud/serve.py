"""The process that knows what fraud is going on: `dialplane fraud serve`. One works, others stand by.

    Service(dsn).run()

It reads what edges say as it becomes rows, feeds the engine, ticks every second, and hands each verdict to
`on_verdict`, in the transaction that writes its row: once, whoever is killed when. After a start it knows what happened
before from the same rows and from records of calls, so nothing is counted twice and nothing is forgotten.
"""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import Connection

from controller.errors import DatabaseError, DialplaneError
from controller.fraud import feed, store
from controller.fraud.defaults import RATES
from controller.fraud.enforce import act
from controller.fraud.engine import Engine
from controller.fraud.explain import verdict as sentence
from controller.fraud.live import Live, Where, nowhere
from controller.fraud.model import RELEASED, Profile, Verdict
from controller.schema.database import connect

log = logging.getLogger("dialplane.fraud")

OnVerdict = Callable[[Connection[Any], Verdict], None]
# Who works holds this session lock: PostgreSQL frees it when the process ends.
_LOCK = "SELECT pg_try_advisory_lock(hashtext('dialplane.fraud'))"
STANDBY_S = 0.5
TICK_S = 1.0
_RECONNECT_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_LASTED_S = 30.0
_FORGET_S, _LEARN_S = 3_600.0, 86_400.0
# So few calls are looked through before work begins, if nobody ever did.
_AT_ONCE = 20_000
# Reading rows again takes no more than a tenth of the time.
_SPARED = 10
_RULES = ("fraud_rules", "fraud_allows", "fraud_permissions")
_PEOPLE = ("accounts", "countries", "domains", "users", "devices", "groups", "group_members")


def tell(_: Connection[Any], verdict: Verdict) -> None:
    """A verdict as a line of the log."""
    log.log(logging.INFO if verdict.level == RELEASED else logging.WARNING, "%s", sentence(verdict))


def answer(connection: Connection[Any], verdict: Verdict) -> None:
    """A line of the log, and an incident with what follows at once; nodes have their part from the controller."""
    tell(connection, verdict)
    act(connection, verdict)


class Service:
    """`on_verdict(connection, verdict)`: what follows. It runs in a transaction that is committed when it returns; what
    it raises undoes its row too, and it is called again a second later. It must not commit itself.
    """

    def __init__(
        self,
        dsn: str,
        on_verdict: OnVerdict = answer,
        stop: Callable[[], bool] = lambda: False,
        places: Where = nowhere,
    ) -> None:
        self._dsn, self._on_verdict, self._stop, self._places = dsn, on_verdict, stop, places
        self._unsaid: list[Verdict] = []
        self._failing = ""
        self._learner: Any = None

    def run(self) -> None:
        """Until `stop()`; survives the database going away."""
        failures = 0
        while not self._stop():
            began = time.monotonic()
            try:
                with (
                    connect(self._dsn, autocommit=True) as listener,
                    connect(self._dsn, autocommit=True) as worker,
                ):
                    self._active(listener, worker)
            except DatabaseError as error:
                failures = 0 if time.monotonic() - began > _LASTED_S else failures
                pause = _RECONNECT_S[min(failures, len(_RECONNECT_S) - 1)]
                failures += 1
                log.warning("%s Again in %.1f s.", error, pause)
                time.sleep(pause)

    def _active(self, listener: Connection[Any], worker: Connection[Any]) -> None:
        standing_by = False
        while not self._stop():
            row = listener.execute(_LOCK).fetchone()
            if row and row[0]:
                break
            if not standing_by:
                log.info("another process works: standing by")
                standing_by = True
            time.sleep(STANDBY_S)
        else:
            return
        for channel in feed.CHANNELS:
            listener.execute(f"LISTEN {channel}".encode())
        self._unsaid = []
        self._work(listener, _State(worker, self._places))

    def _work(self, listener: Connection[Any], state: _State) -> None:
        worker = state.worker
        self._say(worker, state.begin())
        forget_at = time.monotonic()
        tick_at = look_at = 0.0
        changed = False
        while not self._stop():
            rows, more = state.reader.read(worker, time.monotonic())
            for row in rows:
                for event in state.live.events(row):
                    self._say(worker, state.engine.feed(event, time.time()))
            if time.monotonic() >= tick_at:
                tick_at = time.monotonic() + TICK_S
                again, self._unsaid = self._unsaid, []
                self._say(worker, again + state.engine.tick(time.time()))
                self._learn(state)
            if changed and time.monotonic() >= look_at:
                began, changed = time.monotonic(), False
                self._say(worker, state.reload())
                look_at = time.monotonic() + _SPARED * (time.monotonic() - began)
            if time.monotonic() >= forget_at:
                forget_at = time.monotonic() + _FORGET_S
                feed.forget(worker)
            if not more:
                left = max(0.0, tick_at - time.monotonic())
                for heard in listener.notifies(timeout=left, stop_after=1):
                    changed = changed or heard.channel == "dialplane_change"

    def _say(self, worker: Connection[Any], found: list[Verdict]) -> None:
        """Write them and have done what follows. What cannot be done is tried again, and keeps nothing else waiting."""
        for verdict in found:
            try:
                with worker.transaction():
                    if feed.keep(worker, verdict):
                        self._on_verdict(worker, verdict)
            except psycopg.OperationalError:
                raise
            except (DialplaneError, psycopg.Error) as error:
                self._unsaid.append(verdict)
                if self._failing != str(error):
                    self._failing = str(error)
                    log.exception("%s: nothing follows yet", sentence(verdict))

    def _learn(self, state: _State) -> None:
        """Once a day another process computes what accounts usually do: minutes, where there are many calls."""
        if self._learner is not None:
            if not self._learner.is_alive():
                self._learner = None
                state.usual_again()
        elif time.time() >= state.learn_at:
            state.learn_at = time.time() + _LEARN_S
            self._learner = multiprocessing.get_context("spawn").Process(
                target=learn, args=(self._dsn,), daemon=True
            )
            self._learner.start()


def learn(dsn: str) -> None:
    """What accounts usually do, from their records of four weeks."""
    with connect(dsn) as connection:
        feed.learn(connection, RATES, time.time())


class _State:
    """The engine, and what it is made of."""

    engine: Engine
    reader: feed.Reader

    def __init__(self, worker: Connection[Any], places: Where) -> None:
        self.worker, self._places = worker, places
        self._changes = feed.changes(worker, {})
        self._setup = store.setup(worker)
        self._profiles: dict[str, Profile] = dict(self._setup.profiles)
        self._usual: dict[tuple[str, str], float] = {}
        self.live = Live(store.people(worker), self._profiles, RATES, places)
        self.learn_at = 0.0
        self.usual_again()
        if self.learn_at == 0.0 and feed.count(worker, time.time()) <= _AT_ONCE:
            with worker.transaction():
                feed.learn(worker, RATES, time.time())
            self.usual_again()

    def usual_again(self) -> None:
        """What accounts usually do, as it was computed last."""
        found, at = feed.usual(self.worker)
        self._usual.clear()
        self._usual.update(found)
        self.learn_at = 0.0 if at is None else at + _LEARN_S

    def begin(self, *, changed: bool = False) -> list[Verdict]:
        """A new engine that knows what the last one did; verdicts that nobody has said yet. `changed`: rules did, and
        new ones act upon what is going on, not upon what was over before anybody wrote them."""
        began, setup = time.monotonic(), self._setup
        self.engine = Engine(
            setup.rules, allows=setup.allows, permissions=setup.permissions, profiles=self._profiles, usual=self._usual
        )  # fmt: skip
        self.live = Live(self.live.whose, self._profiles, RATES, self._places)
        for verdict in feed.held(self.worker, setup):
            self.engine.hold(verdict)
        found: list[Verdict] = []
        now, fed = time.time(), 0
        with self.worker.transaction():
            self.worker.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            self.reader = feed.Reader(self.worker)
            for event in feed.before(self.worker, setup, self.live, RATES, now):
                fed += 1
                if event.id.startswith(feed.SEEN):
                    self.engine.learn(event)
                else:
                    found += self.engine.feed(event)
        now = time.time()
        fresh = []
        for verdict in found:
            # What is long over follows from no event of today: if it goes on it is found again.
            past_s = min(feed.FACTS_S, verdict.rule.window_s) if changed else feed.FACTS_S
            if verdict.at >= now - past_s and verdict.until > now:
                fresh.append(verdict)
            elif self.engine.holding.holds(verdict):
                self.engine.holding.drop(verdict)
        log.info(
            "works: %d events of before in %.1f s, %d rules, %d verdicts in force",
            fed, time.monotonic() - began, len(setup.rules), len(self.engine.holding.in_force()),
        )  # fmt: skip
        return fresh

    def reload(self) -> list[Verdict]:
        """What changed of rules and of people; other rules are counted from the beginning of their windows."""
        before, self._changes = self._changes, feed.changes(self.worker, self._changes)
        new = {table for table, last in self._changes.items() if last != before.get(table)}
        if new.intersection(_PEOPLE):
            self.live.whose = store.people(self.worker)
        if not new.intersection((*_RULES, *_PEOPLE)):
            return []
        rules = self._setup.rules
        self._setup = store.setup(self.worker)
        self._profiles.clear()
        self._profiles.update(self._setup.profiles)
        if self._setup.rules != rules:
            log.info("rules changed: counted anew")
            return self.begin(changed=True)
        self.engine.permit(self._setup.allows, self._setup.permissions)
        return []
