"""The rows of moves, and what a decision about them looks at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.rows import class_row

from controller.errors import InputError
from controller.moves import model
from controller.moves.decide import losing
from controller.moves.model import Batch, Facts, Move, Node, Step
from controller.moves.say import Wanted
from controller.revision import wait

# Q.850 causes that are a fault of ours or of a server, not an answer of who was called.
_FAULTS = [25, 27, 34, 38, 41, 63, 79, 102, 127]
_MOVE = """
    SELECT a.name, s.name, t.name, m.position <= b.canary, m.step, m.since, m.at_target, m.holds_source,
           m.holds_target, m.tied, m.revision, m.moved_at, m.quiet_at, m.made, m.failed
      FROM control.account_moves m
      JOIN control.moves b ON b.id = m.move_id
      JOIN public.accounts a ON a.id = m.account_id
      JOIN public.clusters s ON s.id = m.source_id
      JOIN public.clusters t ON t.id = m.target_id
     WHERE m.move_id = %s"""


class Line(NamedTuple):
    """One batch in a listing. `steps`: how many accounts are at each."""

    id: int
    created_at: datetime
    author: str
    state: str
    back: bool
    accounts: int
    over: int
    wrong: int
    reason: str
    why: str


class Account(NamedTuple):
    """One account of a batch in a listing."""

    account: str
    source: str
    target: str
    step: str
    since: datetime
    cluster: str
    calls: int
    made: int
    failed: int
    wrong: bool
    why: str


def running(connection: Connection[Any]) -> list[int]:
    """Batches that something is to be done for, oldest first."""
    rows = connection.execute("SELECT id FROM control.moves WHERE state = 'running' ORDER BY id")
    return [number for (number,) in rows.fetchall()]


def batch(connection: Connection[Any], number: int) -> Batch | None:
    """A batch with its accounts, in order; None: there is none of that number."""
    row = connection.execute(
        """
        SELECT state, back, canary, watch_s, at_once, failed_pct, drain_s, after_drain, why
          FROM control.moves WHERE id = %s""",
        (number,),
    ).fetchone()
    if row is None:
        return None
    moves = connection.execute(f"{_MOVE} ORDER BY m.position", (number,)).fetchall()
    return Batch(number, tuple(_move(one) for one in moves), *row)


def locked(connection: Connection[Any], number: int, account: str) -> tuple[Move, str, bool] | None:
    """An account of a batch with the batch's state and direction, both locked; None: it is not there."""
    state = connection.execute(
        "SELECT state, back FROM control.moves WHERE id = %s FOR SHARE", (number,)
    ).fetchone()
    row = connection.execute(f"{_MOVE} AND a.name = %s FOR UPDATE OF m", (number, account)).fetchone()
    return None if row is None or state is None else (_move(row), *state)


def _move(row: tuple[Any, ...]) -> Move:
    account, source, target, canary, step, *rest = row
    return Move(account, source, target, canary, Step(step), *rest)


def save(
    connection: Connection[Any],
    number: int,
    move: Move,
    *,
    why: str = "",
    wrong: bool = False,
    calls: int = 0,
) -> None:
    """Write an account's row."""
    connection.execute(
        """
        UPDATE control.account_moves AS m
           SET step = %s, since = %s, at_target = %s, holds_source = %s, holds_target = %s, tied = %s, revision = %s,
               moved_at = %s, quiet_at = %s, calls = %s, why = %s, wrong = %s
          FROM public.accounts a WHERE a.id = m.account_id AND m.move_id = %s AND a.name = %s""",
        (
            move.step.value, move.since, move.at_target, move.holds_source, move.holds_target, move.tied,
            move.revision, move.moved_at, move.quiet_at, calls, why, wrong, number, move.account,
        ),
    )  # fmt: skip


def note(
    connection: Connection[Any],
    number: int,
    account: str,
    why: str,
    *,
    wrong: bool,
    quiet_at: datetime | None = None,
    calls: int = 0,
) -> None:
    """Say what an account waits for, where that is news."""
    connection.execute(
        """
        UPDATE control.account_moves AS m SET why = %(why)s, wrong = %(wrong)s, quiet_at = %(quiet)s, calls = %(calls)s
          FROM public.accounts a
         WHERE a.id = m.account_id AND m.move_id = %(move)s AND a.name = %(account)s
           AND (m.why, m.wrong, m.quiet_at, m.calls)
               IS DISTINCT FROM (%(why)s, %(wrong)s, %(quiet)s::timestamptz, %(calls)s)""",
        {"why": why, "wrong": wrong, "quiet": quiet_at, "calls": calls, "move": number, "account": account},
    )


def point(connection: Connection[Any], move: Move) -> None:
    """The account's row says where it is."""
    connection.execute(
        "UPDATE public.accounts SET cluster_id = (SELECT id FROM public.clusters WHERE name = %s) WHERE name = %s",
        (move.at, move.account),
    )


def conclude(connection: Connection[Any], before: Batch, state: str, why: str) -> bool:
    """Write what a look at a batch ended in, unless somebody else decided meanwhile; whether it is another state."""
    done = connection.execute(
        """
        UPDATE control.moves
           SET state = %(state)s, why = %(why)s,
               ended_at = CASE WHEN %(state)s IN ('done', 'rolled_back') THEN clock_timestamp() END
         WHERE id = %(id)s AND state = 'running' AND back = %(back)s AND (state, why) <> (%(state)s, %(why)s)
        RETURNING state <> 'running'""",
        {"state": state, "why": why, "id": before.id, "back": before.back},
    ).fetchone()
    return bool(done and done[0])


def facts(connection: Connection[Any], one: Batch) -> Facts:
    """What a decision about a batch goes by."""
    groups = dict(
        connection.execute("SELECT name, coalesce(control.node_group(name), '') FROM public.nodes").fetchall()
    )
    nodes = tuple(
        Node(
            state.node, state.kind, tuple(groups[state.node].split("+")), state.revision, _problem(state),
            state.silent_s, state.state == "enabled",
        )
        for state in wait.states(connection)
        if state.node in groups
    )  # fmt: skip
    row = connection.execute(
        "SELECT clock_timestamp(), ttl_s + refresh_s FROM control.name_settings"
    ).fetchone()
    assert row is not None  # noqa: S101  the view has one row
    accounts = [move.account for move in one.moves if move.open]
    apart: dict[str, set[str]] = {}
    for account, cluster in connection.execute(
        """
        SELECT a.name, c.name FROM public.accounts a
          JOIN public.account_services s ON s.account_id = a.id
          JOIN public.clusters c ON c.id IN (s.cluster_id, s.overflow_cluster_id)
         WHERE a.name = ANY (%s)""",
        (accounts,),
    ):
        apart.setdefault(account, set()).add(cluster)
    leaving = [
        (
            move.account,
            [
                node.name
                for node in losing(
                    move, nodes, frozenset(apart.get(move.account, ())), move.other(back=one.back)
                )
            ],
        )
        for move in one.moves
        if move.step in (Step.DRAINING, Step.REMOVING)
    ]
    return Facts(
        row[0],
        nodes,
        float(row[1]),
        {account: calls(connection, account, there) for account, there in leaving},
        {account: frozenset(clusters) for account, clusters in apart.items()},
        model.QUIET_S,
    )


def _problem(state: wait.NodeState) -> str:
    """Why what a node said cannot be relied on; "": it can."""
    if state.silent_s is None:
        return "its agent never reported"
    if state.down:
        return f"not heard of for {wait.duration(state.silent_s)}"
    if state.last_error:
        return f"failed: {state.last_error}"
    return f"{state.pending} operations pending" if state.pending else ""


def calls(connection: Connection[Any], account: str, nodes: Sequence[str]) -> int:
    """Calls of an account that are up on any of these media nodes."""
    row = connection.execute("SELECT control.calls_there(%s, %s)", (account, list(nodes))).fetchone()
    return int(row[0]) if row else 0


def count(connection: Connection[Any], number: int) -> None:
    """Count the calls of accounts that moved in the last hour: what ended since, and what failed by a fault of ours.

    A call that was up when the account moved counts when it was lost.
    """
    connection.execute(
        """
        UPDATE control.account_moves AS m SET made = c.made, failed = c.failed
          FROM (SELECT o.id, count(*)::integer AS made,
                       (count(*) FILTER (
                           WHERE r.cause_text = 'lost' OR (r.answered_at IS NULL AND r.cause = ANY (%(faults)s))
                       ))::integer AS failed
                  FROM control.account_moves o
                  JOIN public.accounts a ON a.id = o.account_id
                  JOIN control.call_records r ON r.account = a.name AND r.started_at >= o.moved_at - interval '6 hours'
                 WHERE o.move_id = %(move)s AND o.moved_at > clock_timestamp() - interval '1 hour' AND r.complete
                   AND (r.started_at >= o.moved_at OR (r.cause_text = 'lost' AND r.ended_at >= o.moved_at))
                 GROUP BY o.id) AS c
         WHERE c.id = m.id AND (m.made, m.failed) <> (c.made, c.failed)""",
        {"move": number, "faults": _FAULTS},
    )


def of_group(connection: Connection[Any], group: str, target: str) -> list[str]:
    """Accounts of a device group that are not at that cluster yet, by name.

    Raises:
        InputError: There is no such group or cluster, or nobody belongs to the group.
    """
    row = connection.execute(
        """
        SELECT (SELECT id FROM public.device_groups WHERE name = %s),
               (SELECT id FROM public.clusters WHERE name = %s)""",
        (group, target),
    ).fetchone()
    assert row is not None  # noqa: S101  no FROM: one row
    if row[0] is None:
        raise InputError(f"there is no device group {group} (table device_groups)")
    if row[1] is None:
        raise InputError(f"there is no cluster {target} (table clusters)")
    found = connection.execute(
        """
        SELECT name, cluster_id = %s FROM public.accounts WHERE device_group_id = %s ORDER BY name COLLATE "C" """,
        (row[1], row[0]),
    ).fetchall()
    if not found:
        raise InputError(
            f"no account belongs to device group {group} (accounts.device_group_id; without one every edge serves them)"
        )
    return [name for name, there in found if not there]


def held(connection: Connection[Any], account: str) -> int | None:
    """The rollback that holds an account back; None: none does."""
    row = connection.execute("SELECT revision FROM control.held WHERE account = %s", (account,)).fetchone()
    return int(row[0]) if row else None


def create(
    connection: Connection[Any],
    draft: Batch,
    wanted: Sequence[Wanted],
    author: str,
    reason: str,
    messages: str,
) -> int:
    """Write a batch; its number."""
    row = connection.execute(
        """
        INSERT INTO control.moves (author, reason, canary, watch_s, at_once, failed_pct, drain_s, after_drain, messages)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id""",
        (
            author, reason, draft.canary, draft.watch_s, draft.at_once, draft.failed_pct, draft.drain_s,
            draft.after_drain, messages,
        ),
    ).fetchone()  # fmt: skip
    assert row is not None  # noqa: S101  RETURNING gives a row
    for position, one in enumerate(wanted, 1):
        connection.execute(
            """
            INSERT INTO control.account_moves (move_id, position, account_id, source_id, target_id)
            SELECT %s, %s, a.id, a.cluster_id, t.id
              FROM public.accounts a CROSS JOIN public.clusters t WHERE a.name = %s AND t.name = %s""",
            (row[0], position, one.account, one.target),
        )
    return int(row[0])


def listed(connection: Connection[Any], limit: int) -> list[Line]:
    """Batches, newest first."""
    with connection.cursor(row_factory=class_row(Line)) as cursor:
        return cursor.execute(
            """
            SELECT b.id, b.created_at, b.author, b.state, b.back, count(m.id) AS accounts,
                   count(*) FILTER (WHERE m.step IN ('done', 'rolled_back')) AS over,
                   count(*) FILTER (WHERE m.wrong) AS wrong, b.reason, b.why
              FROM control.moves b LEFT JOIN control.account_moves m ON m.move_id = b.id
             GROUP BY b.id ORDER BY b.id DESC LIMIT %s""",
            (limit,),
        ).fetchall()


def accounts(connection: Connection[Any], number: int) -> list[Account]:
    """The accounts of a batch, in order."""
    with connection.cursor(row_factory=class_row(Account)) as cursor:
        return cursor.execute(
            """
            SELECT a.name AS account, s.name AS source, t.name AS target, m.step, m.since,
                   CASE WHEN m.at_target THEN t.name ELSE s.name END AS cluster, m.calls, m.made, m.failed, m.wrong,
                   m.why
              FROM control.account_moves m
              JOIN public.accounts a ON a.id = m.account_id
              JOIN public.clusters s ON s.id = m.source_id
              JOIN public.clusters t ON t.id = m.target_id
             WHERE m.move_id = %s ORDER BY m.position""",
            (number,),
        ).fetchall()
