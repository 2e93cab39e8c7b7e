"""The resident controller: one active, others standing by. Every cycle ends in one sentence.

What it does: publishes safe plans by itself when told to (`--auto`), takes the steps of accounts that move
(controller/mover.py), has nodes do what incidents of fraud wait for, ends what is over (blocks, overrides, do not
disturb), removes rows of logs that were kept long
enough, and says what is pending. Calls and nodes do not need it:
with the controller away, rows wait and everything else goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection

from controller import mover, pipeline
from controller.agreement import compare, look
from controller.compiler import media_templates
from controller.errors import BadRows, DatabaseError, DialplaneError, StalePlan, TemplateError
from controller.fraud import nodes
from controller.plan import Plan, show
from controller.revision import store
from controller.schema.database import connect

log = logging.getLogger("dialplane.controller")

# The active controller holds this session lock. PostgreSQL frees it at once when the process ends, and within 11 s when
# its host falls silent (controller/wire/postgresql.py).
ACTIVE_LOCK = "SELECT pg_try_advisory_lock(hashtext('dialplane.controller'))"
STANDBY_S = 2.0
TICK_S = 5.0
# How often it looks for media nodes that fell silent, and at accounts that move.
LOOK_S = 1.0
# How often it looks whether all agree about every account, and how long after it became active.
AGREE_S, AGREE_FIRST_S = 300.0, 20.0
# When something disagreed it looks again so soon.
AGREE_AGAIN_S = 30.0
# How often it looks for old rows, and how many of each table it removes at once.
FORGET_S = 600.0
# After a defect in what nodes are asked for incidents of fraud.
ENFORCE_AGAIN_S = 5.0
FORGET_ROWS = 5_000
RECONNECT_S = (0.2, 0.5, 1.0, 2.0, 5.0)
# A connection that was good for so long is no attempt that failed.
LASTED_S = 30.0

_TELL = """
    INSERT INTO control.controller_state (host, process, publishes, since, sentence, wrong)
    VALUES (%(host)s, %(process)s, %(publishes)s, clock_timestamp(), %(sentence)s, %(wrong)s)
    ON CONFLICT (active) DO UPDATE SET
        host = excluded.host, process = excluded.process, publishes = excluded.publishes,
        since = CASE WHEN %(first)s THEN excluded.since ELSE controller_state.since END,
        heard_at = clock_timestamp(), sentence = excluded.sentence, wrong = excluded.wrong"""


class Cycle(NamedTuple):
    """One look: what was found and done. `wrong`: no plan could be made of the rows, what was published stays."""

    sentence: str
    wrong: bool = False


def run(url: str, *, auto: bool, stop: Callable[[], bool] = lambda: False) -> None:
    """Run until `stop()`; survives the database going away."""
    failures = 0
    while not stop():
        began = time.monotonic()
        try:
            with connect(url, autocommit=True) as listener, connect(url) as worker:
                _active(listener, worker, url, auto=auto, stop=stop)
        except DatabaseError as error:
            failures = 0 if time.monotonic() - began > LASTED_S else failures
            pause = RECONNECT_S[min(failures, len(RECONNECT_S) - 1)]
            failures += 1
            log.warning("%s Again in %.1f s.", error, pause)
            time.sleep(pause)


def _active(
    listener: Connection[Any], worker: Connection[Any], url: str, *, auto: bool, stop: Callable[[], bool]
) -> None:
    standing_by = False
    while not stop():
        row = listener.execute(ACTIVE_LOCK).fetchone()
        if row and row[0]:
            break
        if not standing_by:
            log.info("another controller is active: standing by")
            standing_by = True
        time.sleep(STANDBY_S)
    log.info("active; safe plans are %s", "published by themselves" if auto else "left for `dialplane apply`")
    listener.execute("LISTEN dialplane_change")
    over = threading.Event()
    # Apart: at a million accounts it takes seconds, and nodes that fall silent must not wait for it.
    threading.Thread(target=agree, args=(url, over), name="agreement", daemon=True).start()
    # So must verdicts of fraud, whose calls go on until they are ended.
    threading.Thread(target=enforce, args=(url, over), name="fraud", daemon=True).start()
    try:
        _work(listener, worker, auto=auto, stop=stop)
    finally:
        over.set()


def agree(url: str, over: threading.Event, first_s: float = AGREE_FIRST_S) -> None:
    """Look every AGREE_S whether rows, what is published and nodes agree about every account, until `over`."""
    pause_s, last = first_s, ""
    while not over.wait(pause_s):
        pause_s = AGREE_S
        try:
            with connect(url) as connection:
                found = look.periodic(connection)
            sentence = compare.summed(found)
            pause_s = AGREE_AGAIN_S if found else AGREE_S
        except Exception as error:  # noqa: BLE001  the outermost door of a loop
            known = isinstance(error, DialplaneError | psycopg.Error)
            sentence = f"no look at agreement: {error if known else _defect(error)}"
        if sentence != last:
            log.info("%s", sentence)
            last = sentence


def enforce(url: str, over: threading.Event) -> None:
    """Have nodes do what incidents of fraud wait for, until `over`."""
    said = ""
    while not over.is_set():
        try:
            asyncio.run(nodes.follow(url, over.is_set))
        except Exception as error:  # noqa: BLE001  the outermost door of a loop
            known = isinstance(error, DialplaneError | psycopg.Error)
            sentence = f"incidents of fraud wait: {error if known else _defect(error)}"
            if sentence != said:
                log.warning("%s", sentence)
            said = sentence
            over.wait(ENFORCE_AGAIN_S)


def _work(
    listener: Connection[Any], worker: Connection[Any], *, auto: bool, stop: Callable[[], bool]
) -> None:
    last: Cycle | None = None
    failing = ""
    forget_at = look_at = time.monotonic()
    cycle_at = 0.0
    while not stop():
        # First the change that somebody waits for; what has a time of its own comes after.
        if time.monotonic() >= cycle_at:
            cycle_at = time.monotonic() + TICK_S
            found = cycle(worker, auto=auto)
            _tell(worker, found, auto=auto, first=last is None)
            if found != last:
                log.log(logging.ERROR if found.wrong else logging.INFO, "%s", found.sentence)
                last = found
        if time.monotonic() >= look_at:
            look_at = time.monotonic() + LOOK_S
            look_at_nodes(worker)
            failing, before = look_at_moves(worker), failing
            if failing and failing != before:
                log.error("accounts that move: %s", failing)
        if time.monotonic() >= forget_at and not forget(worker):
            forget_at = time.monotonic() + FORGET_S
        for _ in listener.notifies(timeout=max(0.0, look_at - time.monotonic()), stop_after=1):
            cycle_at = 0.0


def look_at_nodes(connection: Connection[Any]) -> None:
    """Media nodes that fell silent or behind get no more calls: no report of theirs says so."""
    row = connection.execute("SELECT control.look_at_nodes()").fetchone()
    connection.commit()
    if row and row[0]:
        log.info("revision %d: which media nodes take calls has changed (dialplane node list)", row[0])
    row = connection.execute("SELECT control.look_at_overloads()").fetchone()
    connection.commit()
    if row and row[0]:
        log.info("revision %d: overload has changed (control.overloads)", row[0])


def look_at_moves(connection: Connection[Any]) -> str:
    """Accounts on their way take the next step that is due; why they could not, in words."""
    try:
        mover.walk(connection, log.info)
    except Exception as error:  # the outermost door of a loop
        if connection.closed:
            raise
        connection.rollback()
        return str(error) if isinstance(error, DialplaneError | psycopg.Error) else _defect(error)
    return ""


def cycle(connection: Connection[Any], *, auto: bool) -> Cycle:
    """Look once, act once, and say what is so.

    What cannot be planned (rows, a template, a defect of ours) is said and looked at again: it stops neither the
    release of what is over nor the controller. Only the loss of the connection ends it (psycopg.Error).
    """
    wrong = True
    try:
        plan = pipeline.make_plan(connection, with_held=not auto)
        sentence, wrong = _act(connection, plan, auto=auto), False
    except StalePlan as error:
        sentence, wrong = f"somebody else published: {error}", False
    except BadRows as error:
        sentence = f"the rows contradict each other, nothing is published: {error}"
    except Exception as error:  # the outermost door of a loop
        if connection.closed:
            raise
        if isinstance(error, TemplateError):
            media_templates.forget()
        known = isinstance(error, DialplaneError | psycopg.Error)
        sentence = f"nothing is published: {error if known else _defect(error)}"
    connection.rollback()
    released = _release(connection)
    return Cycle(f"{released}; {sentence}" if released else sentence, wrong)


def _defect(error: Exception) -> str:
    return f"{type(error).__name__}: {error} (this is a defect; DIALPLANE_DEBUG=1 dialplane plan shows where)"


def _tell(connection: Connection[Any], found: Cycle, *, auto: bool, first: bool) -> None:
    """Say it in control.controller_state, for `dialplane doctor`."""
    connection.execute(
        _TELL,
        found._asdict()
        | {"host": socket.gethostname(), "process": os.getpid(), "publishes": auto, "first": first},
    )
    connection.commit()


def forget(connection: Connection[Any], rows: int = FORGET_ROWS) -> bool:
    """Remove rows that were kept long enough, so many of each table; True: there may be more."""
    removed = connection.execute("SELECT what, removed FROM control.forget(%s)", (rows,)).fetchall()
    connection.commit()
    for what, count in removed:
        if count:
            log.info("%d old rows of %s removed", count, what)
    return any(count == rows for _, count in removed)


def _act(connection: Connection[Any], plan: Plan, *, auto: bool) -> str:
    if plan.empty:
        if store.settle(connection, plan):
            connection.commit()
        return "in sync: what is published is what the rows say"
    if not auto:
        return f"plan {plan.id} is pending: {show.sentence(plan)}"
    if plan.dangers:
        return f"plan {plan.id} is refused: {plan.dangers[0].sentence}; look at it with `dialplane plan`"
    number = pipeline.publish(connection, plan, author="controller", reason="automatic")
    connection.commit()
    return f"revision {number} published: {show.sentence(plan)}"


def _release(connection: Connection[Any]) -> str:
    """Delete what has an end that is over; what that was, in words."""
    rows = connection.execute("SELECT what, released FROM control.release_expired()").fetchall()
    connection.commit()
    return ", ".join(f"{released} {what}" for what, released in rows if released)
