"""The loop of an agent: keep one server at the newest revision, and say so.

Order of a change: (1) one SQLite transaction writes entries and the pending list; (2) live operations; (3) each is read
back; (4) the pending list is cleared and the revision reported. Each side may be away: without the
database the server goes on and is still verified; without the server changes wait in the state file, from
which it starts. Killed anywhere, the next agent finds the pending list, or the mark `unverified`, and finishes.

`Agent` holds the decisions of the loop and is driven by `run`; every cycle ends in one sentence (`status`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime

from controller.agent.questions import Questions
from controller.agent.server import Failures, Server, Slice
from controller.agent.settings import Settings
from controller.agent.state import State, Wanted
from controller.agent.store import Report, Store
from controller.agent.texts import first, texts
from controller.agent.verify import Comparison, Difference, covered, described, differences, edited, unlike
from controller.agreement.digests import Digests
from controller.errors import (
    DatabaseError,
    DialplaneError,
    InputError,
    NodeError,
    NodeRefused,
    NodeUnreachable,
    StateError,
)
from controller.wire.files import fingerprints
from controller.wire.machine import Load

log = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
_CHUNK = 2_000
_BACKOFF_S = (0.2, 5.0)
# A key the server refuses is tried again at this pace, and whenever it changes.
_REFUSED_AGAIN_S = 30.0


class Agent:
    """One node. `catch_up`, `finish` and `verify` are the three things it does; one at a time (`_server_lock`)."""

    def __init__(self, settings: Settings, state: State, server: Server, store: Store) -> None:
        self.settings = settings
        self.state = state
        self.server = server
        self.store = store
        self.status = "starting"
        self._group = state.get("group") or ""
        self._server_lock = asyncio.Lock()
        self.questions = Questions(server, state, self._server_lock, self.reload)
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        self._verify_now = asyncio.Event()
        self._asked_again = False
        self._hurry = False
        self._started: str | None = None
        self._agent_started = store.now()
        self._calls: int | None = None
        self._load = Load()
        self._load_pct: int | None = None
        self._verified_revision: int | None = None
        self._verified_at: datetime | None = None
        self._drift = 0
        self._drift_detail: str | None = None
        # Of the last comparison, until they are reported.
        self._digests: dict[str, Digests] = {}
        self._reload = False
        # Of a media node: how many calls each account has. What a predecessor told is taken back once.
        self.accounts: Callable[[], Mapping[str, int]] | None = None
        self._counted = True
        self._left: str | None = None
        self._server_error: str | None = None
        self._failures: dict[tuple[str, str], str] = {}
        self._retry_at = 0.0

    # --- catching up ----------------------------------------------------------------------------

    async def catch_up(self) -> None:
        """Stage what the database has beyond the held revision, and bring it to the server. DatabaseError: away."""
        held = self.state.held()
        step = await self.store.step(self._group, held, self.state.get("digest") or "")
        self._group = step.group
        if step.changes is None or self._reload or (self.state.get("group") or "") != self._group:
            self._reload = False
            async with self._server_lock:
                revision, count = await asyncio.to_thread(self.store.snapshot, self.state, self._group)
            self._say(f"revision {revision} loaded as a snapshot of {count} entries")
            self._ask_for_verify()
        elif step.revision > held:
            async with self._server_lock:
                self.state.stage(step.changes, step.revision, step.digest)
                for change in step.changes:
                    self._failures.pop((change.table, change.key), None)
            self._retry_at = 0.0
        # Only now is it known that what is held belongs to this database.
        self._news.set()
        await self.finish()

    async def finish(self) -> bool:
        """Do what is pending, read it back, clear it; True: nothing is left."""
        now = asyncio.get_running_loop().time()
        if self._failures and now >= self._retry_at:
            self._failures.clear()
        while True:
            async with self._server_lock:
                waiting = self.state.pending(_CHUNK + len(self._failures))
                pending = [one for one in waiting if (one.table, one.key) not in self._failures]
                if not pending:
                    return not waiting
                try:
                    failures, wrong = await self._bring(pending)
                except NodeUnreachable as error:
                    self._server_away(error)
                    return False
                self._server_error = None
                refused = failures | {(one.table, one.key): f"read back: {one}" for one in wrong}
                self.state.clear(one for one in pending if (one.table, one.key) not in refused)
                if refused:
                    self._failures.update(refused)
                    self._retry_at = now + _REFUSED_AGAIN_S
            text = f"{len(pending) - len(refused)} operations done and read back"
            if refused:
                text += f", {len(refused)} refused: {texts(refused)}"
            self._say(f"revision {self.state.live()} live, {text}")

    async def _bring(self, wanted: list[Wanted]) -> tuple[Failures, list[Difference]]:
        """Apply and read back; once more what the read-back did not show. Failures, and what still differs."""
        try:
            failures = await self.server.apply(wanted)
            rest = [one for one in wanted if (one.table, one.key) not in failures]
            wrong = unlike(rest, await self._read(rest))
            if wrong:
                failures |= await self.server.apply([one.repair for one in wrong])
                again = [one.repair for one in wrong if (one.table, one.key) not in failures]
                wrong = unlike(again, await self._read(again))
        except NodeRefused as error:
            return {(one.table, one.key): str(error) for one in wanted}, []
        return failures, wrong

    async def _read(self, wanted: Iterable[Wanted]) -> dict[tuple[str, str], str | None]:
        tables: dict[str, list[str]] = {}
        for one in wanted:
            tables.setdefault(one.table, []).append(one.key)
        found: dict[tuple[str, str], str | None] = {}
        for table, keys in tables.items():
            for key, value in (await self.server.read(table, keys)).items():
                found[table, key] = value
        return found

    # --- comparing ------------------------------------------------------------------------------

    async def verify(self) -> None:
        """Compare everything with the server and repair it. NodeUnreachable: it is away, try again."""
        await self.finish()
        if self._server_error:
            return
        self._asked_again = False
        hurry, self._hurry = self._hurry, False
        doubts, reason = self.state.doubts(), self.state.get("unverified")
        started = (await self.server.running()).started
        if reason == "snapshot":
            async with self._server_lock:
                await self.server.fill()
        seen = Comparison(self.state.held(), reason)
        for table in self.server.tables:
            after: str | None = ""
            while after is not None:
                async with self._server_lock:
                    part, after = await self.server.slice(table, after)
                    await self._compare(table, part, seen)
                seen.compared += len(part.meant)
                if self._asked_again:
                    return
                pause_ms = 0 if hurry or reason is not None else self.settings.verify_pause_ms
                await asyncio.sleep(pause_ms / 1000)
            await self._surplus(table, seen)
        now = (await self.server.running()).started
        if now == started and self.state.doubts() == doubts and not self._asked_again:
            if not seen.left:
                self.state.verified(doubts)
            self._verified(seen)
        else:
            self._verify_now.set()

    async def _compare(self, table: str, part: Slice, seen: Comparison) -> None:
        """Repair what differs, but what is pending or was refused: that has its own way."""
        apart = {(one.table, one.key) for one in self.state.pending(_CHUNK)} | self._failures.keys()
        wrong = [one for one in differences(table, part) if (one.table, one.key) not in apart]
        repaired: dict[str, str | None] = {}
        if wrong:
            failures, still = await self._bring([one.repair for one in wrong])
            keys = failures.keys() | {(one.table, one.key) for one in still}
            seen.left += [one for one in wrong if (one.table, one.key) in keys]
            seen.found += wrong
            repaired = {one.key: one.expected for one in wrong if (one.table, one.key) not in keys}
        seen.note(self.server.kind, table, part, repaired)

    async def _surplus(self, table: str, seen: Comparison) -> None:
        """Keys nobody meant in a table too big to list: the server reads the table anew."""
        async with self._server_lock:
            more = await self.server.surplus(table)
            if not more:
                return
            extra = Difference(table, f"{more} keys that cannot be listed", None, "values nobody meant")
            seen.found.append(extra)
            refused = await self.server.refill(table)
            if refused is not None or await self.server.surplus(table):
                seen.left.append(extra._replace(found=refused or "still there after a reload"))

    def _verified(self, seen: Comparison) -> None:
        # What a fresh server lacks was not changed by hand.
        if seen.repaired and seen.reason is None:
            self.state.put(repaired=int(self.state.get("repaired") or 0) + seen.repaired)
        drift = seen.drift(self._base_drift())
        self._drift = len(drift)
        coverage = self.server.coverage()
        told = [covered(coverage, self.settings.verify_interval_s)] if coverage is not None else []
        self._drift_detail = "; ".join(([described(drift)] if drift else []) + told) or None
        self._left = f"cannot be repaired: {described(seen.left)}" if seen.left else None
        self._verified_revision, self._verified_at = seen.revision, self.store.now()
        self._digests = seen.digests(self.server.kind)
        self._say(seen.sentence(drift, told))

    def _base_drift(self) -> list[Difference]:
        """Fixed files edited by hand since the server was prepared: reported, not repaired."""
        recorded = json.loads(self.state.get("base") or "{}")
        now = fingerprints(self.settings.base_files, [self.settings.files])
        return edited(recorded, now)

    def reload(self) -> None:
        """Load everything anew from the database, and compare: what the state file holds is in doubt."""
        self._reload = True
        self._wake.set()

    def _ask_for_verify(self) -> None:
        """A comparison under way starts anew: it may have passed what it is asked about."""
        self._asked_again = True
        self._verify_now.set()

    # --- being there ----------------------------------------------------------------------------

    async def watch(self) -> None:
        """Look whether the server restarted; then everything on it is in doubt."""
        try:
            started, self._calls = await self.server.running()
        except NodeError as error:
            self._server_away(error)
            return
        if self._server_error is not None:
            self._server_error = None
            self._say("the server answers")
            self._wake.set()
        if started != self._started:
            if self._started is not None:
                self.state.doubt("server restarted")
                self._say(f"the server restarted ({started})")
            self._started = started
            self._ask_for_verify()

    def _server_away(self, error: NodeError) -> None:
        if self._server_error is None:
            log.warning("%s: %s", self.settings.node, error)
        self._server_error = str(error)
        self.status = str(error)

    def _state_away(self, error: StateError) -> None:
        if self.status != str(error):
            log.warning("%s: %s", self.settings.node, error)
        self.status = str(error)
        self._news.set()

    def _say(self, sentence: str) -> None:
        self.status = sentence
        self._news.set()
        log.info("%s: %s", self.settings.node, sentence)

    def report(self) -> Report:
        """The node's state as it is known now."""
        error = self.state.failure or self._server_error or texts(self._failures) or self._left
        return Report(
            revision=self.state.live(),
            verified_revision=self._verified_revision,
            verified_at=self._verified_at,
            drift=self._drift,
            drift_detail=self._drift_detail,
            repaired=int(self.state.get("repaired") or 0),
            last_error=error,
            server_started=self._started,
            agent_started=self._agent_started,
            pending=self.state.pending_count(),
            up=self._server_error is None,
            calls=self._calls,
            load_pct=self._load_pct,
        )

    # --- the tasks ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(), name="follow")
            tasks.create_task(self._beat(), name="beat")
            tasks.create_task(self._verify_loop(), name="verify")

    async def _follow(self) -> None:
        """The database: connect, catch up, then at each notification; again after a loss."""
        delay_s, most_s = _BACKOFF_S
        while True:
            try:
                node = await self.store.connect(self.server.kind)
                self._group = node.group
                self._say(f"connected to the database, group {node.group}")
                delay_s = _BACKOFF_S[0]
                self._news.clear()
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._listen())
                    tasks.create_task(self._work())
                    tasks.create_task(self._tell())
            except* (DatabaseError, InputError, OSError) as group:
                error = first(group)
                log.warning("%s: %s; the server goes on with what it holds", self.settings.node, error)
                self.status = str(error)
            await self.store.close()
            await asyncio.sleep(delay_s * random.uniform(0.7, 1.0))  # noqa: S311 - jitter, no secret
            delay_s = min(delay_s * 2, most_s)

    async def _listen(self) -> None:
        async for channel in self.store.notifications():
            if channel == "dialplane_verify":
                # Somebody waits for the answer.
                self._hurry = True
                self._ask_for_verify()
            else:
                self._wake.set()

    async def _work(self) -> None:
        """Catch up whenever woken."""
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.catch_up()
                if self.state.failure:
                    self.state.touch()
            except StateError as error:
                self._state_away(error)
            self._news.set()

    async def _tell(self) -> None:
        """Report what is new at once, and a sign of life every HEARTBEAT_S however long an operation takes."""
        await self._news.wait()
        while True:
            self._news.clear()
            if self._digests and self._verified_revision is not None and self._verified_at is not None:
                # Before the report: who waits for that looks at these next.
                told, self._digests = self._digests, {}
                await self.store.digests(self._verified_revision, self._group, self._verified_at, told)
            await self._tell_accounts(wanted=await self.store.report(self.report()))
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._news.wait()

    async def _tell_accounts(self, *, wanted: bool) -> None:
        """The calls of each account, while the cluster is nearly full."""
        if self.accounts is not None and (wanted or self._counted):
            await self.store.accounts(self.accounts() if wanted else None)
            self._counted = wanted

    async def _beat(self) -> None:
        """The server: does it run, did it restart, is something still to be done."""
        while True:
            self._load_pct = self._load.look()
            try:
                await self.watch()
                if self.state.pending_count() and self._server_error is None:
                    await self.finish()
            except NodeError as error:
                self._server_away(error)
            except StateError as error:
                self._state_away(error)
            if self.state.failure:
                self._wake.set()
            await asyncio.sleep(HEARTBEAT_S if self._server_error is None else HEARTBEAT_S / 4)

    async def _verify_loop(self) -> None:
        """After the start, on demand, and every `verify_interval_s`."""
        self._verify_now.set()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.settings.verify_interval_s or None):
                    await self._verify_now.wait()
            self._verify_now.clear()
            try:
                await self.verify()
            except StateError as error:
                self._state_away(error)
            except DialplaneError as error:
                self._server_error = str(error)
                log.warning("%s: not verified: %s", self.settings.node, error)
            if self.state.get("unverified") and not self._verify_now.is_set():
                # Without the server, or with what it refuses: again until it is shown.
                away = self._server_error or self.state.failure
                await asyncio.sleep(HEARTBEAT_S if away else _REFUSED_AGAIN_S)
                self._verify_now.set()
            self._wake.set()
