"""Moving accounts: a plan of moves, its batch, and the walk through the steps.

    draft    says what a move would do, and everything that stands against it
    begin    writes the batch that was shown
    walk     looks at every batch that runs, and does what controller/moves/decide.py says, one transaction for each
             step: the account's row of the move, its cluster, its entries and the revision change together
    turn     sends a batch back, from wherever its accounts are

Whoever walks (the controller, a command that follows its move) may be killed at any point, and several may walk at
once: a step is taken only by who finds the account's row as it was decided on, under the publishers' lock.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection

from controller import pipeline
from controller.errors import BadRows, DialplaneError, InputError, StalePlan
from controller.moves import decide, say, store
from controller.moves.model import Action, Batch, Facts, Move, Step
from controller.revision import store as revisions

Say = Callable[[str], None]


class Draft(NamedTuple):
    """A plan of moves. `id`: six digits over what is asked and what it would touch; `names_s`: see `Facts`."""

    batch: Batch
    wanted: tuple[say.Wanted, ...]
    names_s: float
    id: str


class _NotYet(DialplaneError):
    """A step cannot be taken before somebody did something."""


def draft(
    connection: Connection[Any],
    asked: Sequence[tuple[str, str, str]],
    limits: Batch,
    *,
    messages: str = "",
) -> Draft:
    """What a move of these accounts would do: (account, cluster, why) in order, canaries first.

    `messages`: why voicemail messages may stay behind, "": they may not. Raises BadRows with everything that stands
    against it.
    """
    problems: list[str] = []
    # A device group may have thousands of accounts, and few clusters.
    names = cache(lambda query, *of: tuple(name for (name,) in connection.execute(query, of)))
    wanted = [_wanted(connection, *one, messages, names, problems) for one in asked]
    often = Counter(account for account, _, _ in asked)
    problems += [f"account {one}: named twice" for one in sorted(often) if often[one] > 1]
    if not wanted:
        problems.append("no account is named")
    if problems:
        raise BadRows(problems)
    names_s = store.facts(connection, limits).names_s
    whole = json.dumps([
        [(one.account, one.source, one.target, one.entries) for one in wanted],
        [limits.canary, limits.watch_s, limits.at_once, limits.failed_pct, limits.drain_s, limits.after_drain],
        messages,
    ])  # fmt: skip
    return Draft(limits, tuple(wanted), names_s, hashlib.sha256(whole.encode()).hexdigest()[:6])


_ASKED = """
    SELECT a.id, c.name, t.id IS NOT NULL, m.move,
           (SELECT count(*) FROM public.voicemail_boxes b WHERE b.account_id = a.id),
           c.voicemail_store, t.voicemail_store,
           ARRAY(SELECT s.service || ' by ' || o.name FROM public.account_services s
                   JOIN public.clusters o ON o.id = s.cluster_id WHERE s.account_id = a.id ORDER BY s.service),
           (SELECT count(*) FROM control.entries e WHERE e.kind = 'media' AND e.scope = c.name AND e.account = a.name),
           EXISTS (SELECT FROM control.pending_changes p WHERE p.account = a.name)
               OR EXISTS (SELECT FROM control.held h WHERE h.account = a.name)
      FROM public.accounts a
      JOIN public.clusters c ON c.id = a.cluster_id
      LEFT JOIN public.clusters t ON t.name = %(target)s
      LEFT JOIN control.moving m ON m.account = a.name
     WHERE a.name = %(account)s"""
_NODES = """
    SELECT n.name FROM public.nodes n JOIN public.clusters c ON c.id = n.cluster_id
     WHERE c.name = %s AND n.kind = 'media' AND n.state = 'enabled' ORDER BY n.name"""
# Nodes that hold what the one cluster holds, and not what the other does.
_HOLDERS = """
    SELECT n.name FROM public.nodes n CROSS JOIN LATERAL string_to_array(control.node_group(n.name), '+') AS g
     WHERE %s = ANY (g) AND %s <> ALL (g)"""


def _wanted(
    connection: Connection[Any],
    account: str,
    target: str,
    why: str,
    messages: str,
    names: Callable[..., tuple[str, ...]],
    problems: list[str],
) -> say.Wanted:
    """One account of a plan; what stands against it is added to `problems`. `names` reads a query's names, once."""
    row = connection.execute(_ASKED, {"account": account, "target": target}).fetchone()
    if row is None:
        problems.append(f"there is no account {account} (table accounts)")
        return say.Wanted(account, "", target)
    _, source, known, moving, boxes, old_store, new_store, apart, entries, pending = row
    nodes = names(_NODES, target)
    if not known:
        problems.append(f"there is no cluster {target} (table clusters)")
    elif moving is not None:
        problems.append(
            f"account {account} is on its way in move {moving}: dialplane account moves show {moving}"
        )
    elif source == target:
        problems.append(f"account {account} is at cluster {target} already")
    elif not nodes:
        problems.append(f"cluster {target} has no enabled media node for account {account} (table nodes)")
    shared = old_store is not None and old_store == new_store
    if known and source != target and boxes and not shared and not messages:
        problems.append(
            f"account {account} has {_count(boxes, 'mailbox')}, and {source} and {target} do not share their messages: "
            "if they do, say so in clusters.voicemail_store; else --leave-messages REASON leaves them behind"
        )
    notes = []
    if boxes and not shared:
        notes.append(f"messages in {_count(boxes, 'mailbox')} stay on {source}: copy them ({messages})")
    if apart:
        notes.append(f"stays where it is: {', '.join(apart)} (table account_services)")
    if pending:
        notes.append("its rows changed and are not applied: it waits for that (dialplane plan)")
    calls = store.calls(connection, account, names(_HOLDERS, source, target))
    return say.Wanted(account, source, target, nodes, entries, calls, why, tuple(notes))


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}es"


def begin(connection: Connection[Any], made: Draft, *, author: str, reason: str, messages: str = "") -> int:
    """Write the batch; whoever walks takes it from there. Its number. Commit is the caller's."""
    return store.create(connection, made.batch, made.wanted, author, reason, messages)


def walk(connection: Connection[Any], tell: Say = lambda _: None) -> None:
    """Look at every batch that runs, and do what is due. Sentences of what was done go to `tell`."""
    for number in store.running(connection):
        connection.commit()
        look(connection, number, tell)
    connection.commit()


def walked(connection: Connection[Any]) -> bool:
    """A controller is heard of, and takes the steps."""
    row = connection.execute(
        "SELECT heard_at > clock_timestamp() - interval '15 s' FROM control.controller_state"
    ).fetchone()
    connection.commit()
    return bool(row and row[0])


def look(connection: Connection[Any], number: int, tell: Say = lambda _: None) -> None:
    """One look at one batch."""
    store.count(connection, number)
    connection.commit()
    batch = store.batch(connection, number)
    if batch is None or batch.state != "running":
        connection.rollback()
        return
    facts = store.facts(connection, batch)
    connection.commit()
    outcome = decide.decide(batch, facts)
    moves = {move.account: move for move in batch.moves}
    whole = True
    for action in outcome.actions:
        whole &= _act(connection, batch, moves[action.account], action, facts, tell)
    # Somebody may have come before one of the actions: then it is looked at again.
    state = outcome.state if whole or outcome.state == "stopped" else "running"
    if store.conclude(connection, batch, state, outcome.why):
        tell(f"move {number} is {state.replace('_', ' ')}: {outcome.why}")
    connection.commit()


def _act(
    connection: Connection[Any], batch: Batch, move: Move, action: Action, facts: Facts, tell: Say
) -> bool:
    """Do one thing, in one transaction; False: it could not be done now."""
    after = say.applied(move, action, facts.now, back=batch.back)
    try:
        with connection.transaction():
            if not _still(connection, batch, move, publishing=say.publishes(action.verb)):
                return False
            if after == move:
                _note(connection, batch, action)
                return True
            store.save(connection, batch.id, after, why=action.why, wrong=action.wrong, calls=action.calls)
            number = _publish(connection, batch, move, after, action)
    except StalePlan:
        return False
    except (DialplaneError, psycopg.errors.IntegrityError) as error:
        said = error.diag.message_primary if isinstance(error, psycopg.Error) else str(error)
        store.note(connection, batch.id, move.account, f"{action.verb} refused: {said}", wrong=True)
        connection.commit()
        return False
    if after.step != move.step or number is not None:
        told = say.progress(after, action.why, back=batch.back)
        tell(f"move {batch.id}: {told}" + (f" (revision {number})" if number is not None else ""))
    return True


def _still(connection: Connection[Any], batch: Batch, move: Move, *, publishing: bool) -> bool:
    """Nobody came before us. Locks: first the publishers', then the rows, as everywhere."""
    if publishing:
        connection.execute(f"SET LOCAL lock_timeout = '{revisions.LOCK_TIMEOUT_S}s'")
        try:
            connection.execute(revisions.PUBLISH_LOCK)
        except psycopg.errors.LockNotAvailable:
            raise StalePlan("another publisher holds the lock") from None
    found = store.locked(connection, batch.id, move.account)
    return found is not None and found == (move, "running", batch.back)


def _note(connection: Connection[Any], batch: Batch, action: Action) -> None:
    store.note(
        connection,
        batch.id,
        action.account,
        action.why,
        wrong=action.wrong,
        quiet_at=action.quiet_at,
        calls=action.calls,
    )


def _publish(
    connection: Connection[Any], batch: Batch, move: Move, after: Move, action: Action
) -> int | None:
    """Publish what follows from the rows as they are now, and nothing else; the revision, None: nothing does."""
    if not say.publishes(action.verb):
        return None
    held = store.held(connection, move.account)
    if held is not None:
        raise _NotYet(
            f"revision {held} rolled it back, its rows are held: dialplane apply publishes them again"
        )
    if after.at != move.at:
        store.point(connection, after)
    plan = pipeline.make_step(connection, move.account)
    strange = say.strangers(action.verb, move, plan.changes, back=batch.back)
    if strange:
        one = strange[0].address
        raise _NotYet(
            f"rows of {move.account} changed and are not applied ({one.table} {one.key}): "
            "dialplane apply, or take them back"
        )
    if plan.empty:
        number = revisions.newest(connection)
    else:
        reason = f"move {batch.id}: {move.account}, {action.verb}: {action.why}"
        author = connection.execute("SELECT author FROM control.moves WHERE id = %s", (batch.id,)).fetchone()
        number = pipeline.publish(
            connection,
            plan,
            author=author[0] if author else "controller",
            reason=reason,
        )
    store.save(connection, batch.id, replace(after, revision=number), why=action.why)
    return number


def stop(connection: Connection[Any], number: int, why: str) -> None:
    """Nothing of the batch goes on until somebody resumes it. Commit is the caller's."""
    batch = _batch(connection, number)
    if batch.state != "running":
        raise InputError(f"move {number} is {batch.state.replace('_', ' ')}: there is nothing to stop")
    connection.execute("UPDATE control.moves SET state = 'stopped', why = %s WHERE id = %s", (why, number))


def resume(connection: Connection[Any], number: int, changed: Mapping[str, Any]) -> None:
    """Go on, with other limits if some are given (column -> value). Commit is the caller's."""
    batch = _batch(connection, number)
    if batch.state not in ("running", "stopped"):
        raise InputError(f"move {number} is {batch.state.replace('_', ' ')}: there is nothing to go on with")
    batch = replace(batch, state="running", **changed)
    if not batch.back and (bad := decide.too_many_failed(batch)):
        raise InputError(
            f"move {number} would stop again: {bad}; allow more with --failed-pct, or roll it back"
        )
    connection.execute(
        """
        UPDATE control.moves SET state = 'running', why = '', canary = %s, watch_s = %s, at_once = %s, failed_pct = %s,
               drain_s = %s, after_drain = %s WHERE id = %s""",
        (
            batch.canary, batch.watch_s, batch.at_once, batch.failed_pct, batch.drain_s, batch.after_drain, number,
        ),
    )  # fmt: skip


def turn(connection: Connection[Any], number: int) -> list[str]:
    """Send every account of a batch back; sentences about those that cannot. Commit is the caller's."""
    batch = _batch(connection, number)
    if batch.back:
        raise InputError(
            f"move {number} goes back already, or went back: dialplane account moves show {number}"
        )
    left = []
    for before, after in zip(batch.moves, decide.turned(batch), strict=True):
        if before.step == Step.DONE and (elsewhere := _elsewhere(connection, before)):
            left.append(f"{before.account} stays: {elsewhere}")
            continue
        store.save(connection, number, replace(after, since=_now(connection)))
    connection.execute(
        "UPDATE control.moves SET back = true, state = 'running', why = '', ended_at = NULL WHERE id = %s",
        (number,),
    )
    return left


def _elsewhere(connection: Connection[Any], move: Move) -> str:
    """Why an account that was moved cannot go back; "": it can."""
    row = connection.execute(
        """
        SELECT c.name, m.move FROM public.accounts a
          JOIN public.clusters c ON c.id = a.cluster_id
          LEFT JOIN control.moving m ON m.account = a.name WHERE a.name = %s""",
        (move.account,),
    ).fetchone()
    if row is None:
        return "it is gone"
    if row[1] is not None:
        return f"it is on its way in move {row[1]}"
    return "" if row[0] == move.at else f"it is at {row[0]} by now"


def _now(connection: Connection[Any]) -> Any:
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    return row[0] if row else None


def _batch(connection: Connection[Any], number: int) -> Batch:
    """The batch, its row locked. InputError: there is none."""
    connection.execute("SELECT FROM control.moves WHERE id = %s FOR UPDATE", (number,))
    batch = store.batch(connection, number)
    if batch is None:
        raise InputError(f"there is no move {number} (dialplane account moves list)")
    return batch


class OnItsWay(NamedTuple):
    """An account that moves, in a sentence. `differs`: what is published for it is not what its move says."""

    sentence: str
    wrong: bool
    differs: bool


def sentences(connection: Connection[Any]) -> list[OnItsWay]:
    """What is on its way, and whether edges are told, and nodes hold, what each move says."""
    found = []
    for row in connection.execute(_AGREE):
        move, account, cluster, beside, tied, step, state, why, wrong, told, was, here, there = row
        words = f"account {account} is on its way in move {move} ({state}), {step}, at {cluster}"
        words += f", held by {beside} too" if beside else ""
        words += f"; {why}" if why else ""
        lacking = [name for name, held in ((cluster, here), (beside, there)) if name and not held]
        differs = (told, was) != (cluster, beside if tied else None) or bool(lacking)
        if differs:
            words += f". It differs: edges are told {told or 'nothing'}{f' and {was}' if was else ''}"
            words += f"; nothing is published for {', '.join(lacking)}" if lacking else ""
        found.append(OnItsWay(words, wrong, differs))
    return found


# An entry of the account as edges have it, and how many entries there are at each cluster that holds it.
_AGREE = r"""
    SELECT m.move, m.account, m.cluster, m.beside, m.tied, m.step, m.state, m.why, m.wrong,
           substring(e.value FROM '(?:^|;)cluster=([^;]+)'), substring(e.value FROM ';was=([^;]+)'),
           (SELECT count(*) FROM control.entries h
             WHERE h.account = m.account AND h.kind = 'media' AND h.scope = m.cluster),
           (SELECT count(*) FROM control.entries h
             WHERE h.account = m.account AND h.kind = 'media' AND h.scope = m.beside)
      FROM control.moving m
      LEFT JOIN control.entries e ON (e.kind, e.scope, e.tbl, e.key) = ('edge', '*', 'account', m.account)
     WHERE m.step <> 'planned'
     ORDER BY m.move, m.account"""
