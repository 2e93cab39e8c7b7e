"""doctor: what is wrong with this installation, each with its remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import click
from psycopg import Connection

from controller import mover
from controller.cli.common import chosen_url, format_option, rows
from controller.desired import read
from controller.errors import DatabaseError
from controller.plan.notes import notes
from controller.revision import store, wait
from controller.schema.database import connect
from controller.schema.migrate import pending

# An AGI server says every 5 s that it lives.
_AGI_SILENT_S = 20
# The active controller looks every 5 s, and says so when it has looked; a big plan takes it a minute.
_CONTROLLER_SILENT_S = 90
_AGI = """
SELECT n.name, CASE WHEN s.heard_at > now() - make_interval(secs => %s) THEN 1 END, s.error, s.decisions, s.failures
  FROM public.nodes AS n JOIN public.clusters AS c ON c.id = n.cluster_id
  LEFT JOIN control.agi_state AS s ON s.node = n.name
 WHERE EXISTS (SELECT FROM control.entries AS e WHERE e.kind = 'media' AND e.scope = c.name AND e.tbl = 'policy')
 ORDER BY n.name"""


class Finding(NamedTuple):
    """One thing looked at. `remedy` is empty when it is as it should be."""

    about: str
    found: str
    remedy: str = ""


@click.command("doctor")
@format_option
@click.pass_context
def doctor_command(ctx: click.Context, form: str) -> None:
    """Look at the whole installation and say what is wrong, each with its remedy. Changes nothing.

    Ends with 1 when something is wrong.

    \b
    Example:
      dialplane doctor
    """
    found = list(examine(chosen_url()))
    rows(
        form,
        ["", "about", "found", "remedy"],
        (("wrong" if one.remedy else "ok", one.about, one.found, one.remedy or None) for one in found),
    )
    ctx.exit(1 if any(one.remedy for one in found) else 0)


def examine(url: str) -> Iterator[Finding]:
    """Every check, in the order in which a cause hides others."""
    try:
        with connect(url) as connection:
            version = connection.info.server_version // 10000
            yield Finding("database", f"PostgreSQL {version} answers")
            waiting = pending(url)
            if waiting:
                yield Finding("schema", f"{len(waiting)} migrations are missing", "dialplane db migrate")
                return
            yield Finding("schema", "up to date")
            for check in _CHECKS:
                yield from check(connection)
    except DatabaseError as error:
        yield Finding(
            "database", str(error), "start it, or name another with --database or DIALPLANE_DATABASE"
        )


def _nodes(connection: Connection[Any]) -> Iterator[Finding]:
    newest = store.newest(connection)
    states = wait.states(connection)
    if not states:
        yield Finding("nodes", "none", "add rows to table nodes (see the operator's guide)")
    for state in states:
        if state.silent_s is None:
            remedy = f"start the agent on {state.node}: dialplane agent run (DIALPLANE_NODE={state.node})"
        elif state.down:
            remedy = f"look at the agent on {state.node}: journalctl -u dialplane-agent"
        elif state.last_error:
            remedy = "the sentence says what; the agent tries again by itself"
        elif state.revision < newest:
            remedy = f"wait, then look at the agent on {state.node} if it stays behind"
        elif "base file" in (state.drift_detail or ""):
            remedy = f"a fixed file on {state.node} was edited: put it back (agent install --base), then agent prepare"
        elif state.drift:
            remedy = f"dialplane node show {state.node}; dialplane verify"
        else:
            remedy = ""
        drift = f", {state.drift} entries differ" if state.drift else ""
        yield Finding(f"node {state.node}", state.sentence(newest) + drift, remedy)


def _agi(connection: Connection[Any]) -> Iterator[Finding]:
    """Media nodes whose accounts decide: does the AGI server there answer."""
    for node, heard, error, decisions, failures in connection.execute(_AGI, (_AGI_SILENT_S,)):
        about = f"decisions on {node}"
        remedy = f"systemctl status dialplane-agi on {node}; meanwhile calls go on by their fallback"
        if heard is None:
            yield Finding(about, f"no AGI server heard of for {_AGI_SILENT_S} s", remedy)
        elif error:
            yield Finding(about, f"the AGI server cannot decide: {error}", remedy)
        else:
            told = ", ".join(f"{count} {kind}" for kind, count in sorted(failures.items()))
            yield Finding(about, f"{decisions} made" + (f", not made: {told}" if told else ""))


def _controller(connection: Connection[Any]) -> Iterator[Finding]:
    """What the active controller found at its last look."""
    row = connection.execute(
        """SELECT host, sentence, wrong, extract(epoch FROM clock_timestamp() - heard_at)::float8
             FROM control.controller_state"""
    ).fetchone()
    start = "start one (systemctl start dialplane-controller): without it blocks stay when their time is over"
    if row is None:
        yield Finding("controller", "none was ever heard of", start)
        return
    host, sentence, wrong, silent_s = row
    if silent_s > _CONTROLLER_SILENT_S:
        yield Finding(
            "controller", f"none heard of for {wait.duration(silent_s)}, the last one was on {host}", start
        )
    elif wrong:
        remedy = "correct what the sentence names: the controller looks again every 5 s; what was published is live"
        yield Finding("controller", f"on {host}: {sentence}", remedy)
    else:
        yield Finding("controller", f"on {host}: {sentence}")


def _agreement(connection: Connection[Any]) -> Iterator[Finding]:
    """What the active controller found at its last look to disagree about accounts."""
    row = connection.execute(
        """SELECT sentence, looked_at, EXISTS (
                SELECT FROM control.disagreements d WHERE d.since < a.looked_at - interval '5 s')
             FROM control.agreement a"""
    ).fetchone()
    if row is None:
        return  # the controller says of itself that it does not look
    # What one look finds is often on its way: rows that are about to be applied, a node that compares.
    sentence, looked_at, stays = row
    remedy = "dialplane verify names each, asks name servers too, and repairs what it can" if stays else ""
    yield Finding("agreement", f"at {looked_at:%Y-%m-%d %H:%M}: {sentence}", remedy)


def _rows(connection: Connection[Any]) -> Iterator[Finding]:
    wanting = notes(read.system(connection))
    for note in wanting:
        sentence, _, table = note.rpartition(" (")
        yield Finding("rows", sentence, f"add rows ({table.rstrip(')')})")
    if not wanting:
        yield Finding("rows", "every cluster and country has what it needs")


def _waiting(connection: Connection[Any]) -> Iterator[Finding]:
    row = connection.execute(
        "SELECT count(DISTINCT account), min(at), now() - min(at) > interval '1 day' FROM control.pending_changes"
    ).fetchone()
    accounts, since, old = row or (0, None, False)
    if not accounts:
        yield Finding("changes", "none waiting")
        return
    found = f"rows of {accounts} accounts changed since {since:%Y-%m-%d %H:%M} and are not applied"
    yield Finding("changes", found, "dialplane plan, then dialplane apply" if old else "")


def _held(connection: Connection[Any]) -> Iterator[Finding]:
    for account, revision in connection.execute(
        "SELECT account, revision FROM control.held ORDER BY account"
    ):
        name = f"account {account}" if account else "shared rows"
        yield Finding(name, f"held back by rollback {revision}", "correct its rows, then dialplane apply")


def _moves(connection: Connection[Any]) -> Iterator[Finding]:
    """Accounts on their way to another cluster, and moves that somebody has to decide about."""
    for one in mover.sentences(connection):
        remedy = (
            "dialplane account moves list; then show, resume or rollback" if one.wrong or one.differs else ""
        )
        yield Finding("moves", one.sentence, remedy)
    for number, why in connection.execute(
        "SELECT id, why FROM control.moves WHERE state = 'stopped' ORDER BY id"
    ):
        yield Finding(
            f"move {number}",
            f"stopped: {why}",
            f"dialplane account moves resume {number}, or rollback {number}",
        )


def _messages(connection: Connection[Any]) -> Iterator[Finding]:
    """Messages that nobody looks at, and those that wait for a device or a carrier."""
    row = connection.execute(
        """SELECT count(*), count(*) FILTER (WHERE state = 'accepted' AND at < now() - interval '30 s')
             FROM control.messages WHERE ended_at IS NULL"""
    ).fetchone()
    waiting, unseen = row or (0, 0)
    if unseen:
        remedy = "start what delivers them: systemctl start dialplane-messages (dialplane message serve)"
        yield Finding("messages", f"{unseen} were accepted and nobody looks at them", remedy)
    elif waiting:
        yield Finding("messages", f"{waiting} wait for their devices (dialplane message list --waiting)")


def _fraud(connection: Connection[Any]) -> Iterator[Finding]:
    """Whether somebody follows what is going on, where that was ever wanted; what incidents wait for."""
    row = connection.execute(
        """SELECT EXISTS (SELECT FROM control.fraud_usual),
                  EXISTS (SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
                           WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()
                             AND (l.classid::bigint << 32 | l.objid::bigint) = hashtext('dialplane.fraud')::bigint),
                  (SELECT count(*) FROM control.fraud_verdicts AS v
                    WHERE v.level = 'critical' AND v.until > now() AND NOT EXISTS (
                        SELECT FROM control.fraud_verdicts AS r
                         WHERE (r.rule, r.owner, r.subject, r.level) = (v.rule, v.owner, v.subject, 'released')
                           AND r.at >= v.at))"""
    ).fetchone()
    wanted, works, verdicts = row or (False, False, 0)
    if works:
        yield Finding("fraud", f"is followed; {verdicts} critical verdicts in force (dialplane fraud status)")
    elif wanted:
        remedy = "start what follows it: systemctl start dialplane-fraud (dialplane fraud serve)"
        yield Finding("fraud", "nobody follows calls, messages and sign-ins", remedy)
    row = connection.execute(
        """SELECT count(*) FILTER (WHERE a.state = 'pending' AND a.at < now() - interval '30 s'),
                  count(*) FILTER (WHERE a.state = 'failed')
             FROM control.fraud_actions a JOIN public.fraud_incidents i ON i.id = a.incident_id
            WHERE i.state = 'open'"""
    ).fetchone()
    waiting, failed = row or (0, 0)
    if waiting:
        yield Finding(
            "fraud", f"{waiting} actions wait for nodes", "start the controller, or dialplane fraud resume"
        )
    if failed:
        yield Finding("fraud", f"{failed} actions failed", "dialplane fraud incidents NUMBER says why")


def _kept(connection: Connection[Any]) -> Iterator[Finding]:
    """Logs that grow: how long they are kept, and whether somebody removes what is older."""
    for what, days, oldest, overdue in connection.execute(
        """SELECT what, days, oldest, oldest < now() - make_interval(days => days + 2)
             FROM control.retention ORDER BY what"""
    ):
        found = f"kept {f'{days} days' if days else 'forever'}"
        if oldest:
            found += f", the oldest row is of {oldest:%Y-%m-%d}"
        yield Finding(f"log {what}", found, "start the controller: it removes old rows" if overdue else "")


_CHECKS: tuple[Callable[[Connection[Any]], Iterator[Finding]], ...] = (
    _nodes,
    _agi,
    _controller,
    _agreement,
    _rows,
    _waiting,
    _held,
    _moves,
    _messages,
    _fraud,
    _kept,
)
