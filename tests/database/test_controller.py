"""The resident controller: what it cannot plan stops nothing else, one is active, and the next one takes over."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from controller import pipeline, reconciler
from controller.cli import main
from controller.compiler import media_templates
from controller.errors import BadRows, DatabaseError
from controller.share import templates_dir

pytestmark = pytest.mark.thorough

RING = "UPDATE extensions SET ring_time_s = 30 WHERE extension = '101'"
BLOCK = """INSERT INTO blocks (scope, subject, what, reason, expires_at)
    VALUES ('all', '*', '+88213', 'fraud', now() + interval '0.2 s')"""


@pytest.fixture
def url(published_sample: str, new_database: Callable[..., str]) -> str:
    return new_database(published_sample)


@pytest.fixture
def run(url: str) -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(main, ["--database", url, *arguments])


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The template of accounts, in a copy of all, for a site to edit."""
    shutil.copytree(templates_dir(), tmp_path / "templates")
    monkeypatch.setattr(media_templates, "templates_dir", lambda: tmp_path / "templates")
    media_templates.forget()
    yield tmp_path / "templates" / "asterisk" / "account.conf.j2"
    media_templates.forget()


def sql(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(statement.encode())
        return found.fetchall() if found.description else []


def entries(url: str) -> list[tuple[Any, ...]]:
    return sql(url, "SELECT kind, scope, tbl, key, value, revision FROM control.entries ORDER BY 1, 2, 3, 4")


def look(url: str) -> dict[str, Any]:
    """What stands in control.controller_state."""
    return dict(sql(url, "SELECT to_json(s) FROM control.controller_state AS s")[0][0])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{{ nobody.knows }}", "account.conf.j2:{line}: 'nobody' is undefined"),
        ("{% if %}", "account.conf.j2:{line}: Expected an expression, got 'end of statement block'"),
        ("{{ [].pop() }}", "account.conf.j2:{line}: pop from empty list"),
        ("{{ 'a b'|name }}", "account.conf.j2:{line}: 'a b' cannot be a name here"),
        ("neither of these", "account.conf.j2 (acme): rendered line {line}: neither a [context]"),
    ],
)
def test_a_template_that_does_not_render_is_named_and_publishes_nothing(
    run: Callable[..., Result], url: str, edited: Path, line: str, why: str
) -> None:
    before = entries(url)
    sql(url, RING)
    good = edited.read_text()
    edited.write_text(f"{line}\n{good}")
    for command in (["plan"], ["apply", "--yes", "--wait", "0"]):
        refused = run(*command)
        assert refused.exit_code == 1
        assert f"error: templates/asterisk/{why.format(line=1)}" in refused.stderr
    with psycopg.connect(url) as connection:
        found = reconciler.cycle(connection, auto=True)
        assert found.wrong
        assert found.sentence.startswith(f"nothing is published: templates/asterisk/{why.format(line=1)}")
        assert entries(url) == before
        # Corrected: the process that lives on reads it anew.
        edited.write_text(good)
        assert "published" in reconciler.cycle(connection, auto=True).sentence


@contextmanager
def controllers(url: str, *options: str) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start controllers in processes of their own, as their unit does; all are gone at the end."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", "from controller.cli import main; main()", "controller", "run", *options],
                env=os.environ | {"DIALPLANE_DATABASE": url}, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        return started[-1]

    try:
        yield start
    finally:
        for one in started:
            one.kill()
            one.communicate()


def until(condition: Callable[[], Any], limit_s: float = 15) -> float:
    """Wait until it holds; how long that took, in s."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + limit_s
        time.sleep(0.02)
    return time.monotonic() - began


def active(url: str) -> int:
    """Process of the active controller; 0: none was heard of."""
    found = sql(url, "SELECT process FROM control.controller_state")
    return int(found[0][0]) if found else 0


@pytest.mark.thorough
def test_the_standby_takes_over_when_the_active_one_is_killed(url: str) -> None:
    with controllers(url, "--auto") as start:
        first = start()
        until(lambda: active(url) == first.pid)
        second = start()
        assert second.stderr is not None
        assert "another controller is active: standing by" in second.stderr.readline()
        sql(url, RING)
        until(lambda: "published" in look(url)["sentence"])
        first.send_signal(signal.SIGKILL)
        took_s = until(lambda: active(url) == second.pid)
        assert took_s < reconciler.STANDBY_S + 2, "and a busy machine"
        # It does the work from now on.
        base = sql(url, "SELECT max(id) FROM control.revisions")
        sql(url, RING.replace("30", "31"))
        until(lambda: sql(url, "SELECT max(id) FROM control.revisions") > base)


def test_a_database_that_ends_its_connections_ends_no_controller(url: str) -> None:
    with controllers(url) as start:
        one = start()
        until(lambda: active(url) == one.pid)
        since = look(url)["since"]
        sql(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                 " AND application_name = 'dialplane'")  # fmt: skip
        until(lambda: look(url)["since"] != since)
        assert one.poll() is None


def test_with_rows_that_make_no_plan_it_lives_says_so_and_releases_what_is_over(
    url: str, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong in the plan, a defect of ours included."""
    failure: Exception = KeyError("a defect")
    monkeypatch.setattr(reconciler, "TICK_S", 0.05)
    monkeypatch.setattr(reconciler, "LOOK_S", 0.05)
    planned = 0

    def broken(*_: object, **__: object) -> None:
        nonlocal planned
        planned += 1
        raise failure

    monkeypatch.setattr(pipeline, "make_plan", broken)
    sql(url, BLOCK)
    block = "SELECT 1 FROM control.entries WHERE tbl = 'block'"
    assert sql(url, block)
    seen: list[int] = []

    def stop() -> bool:
        """After some looks: everything is over by then."""
        seen.append(planned)
        if planned == 12:
            time.sleep(0.3)
        return planned > 20

    with caplog.at_level("INFO"):
        reconciler.run(url, auto=True, stop=stop)
    assert not sql(url, block), "an expired block is gone"
    told = [one.message for one in caplog.records if "KeyError" in one.message]
    assert 1 <= len(told) <= 3, "once, and beside what was released"
    found = {one["about"]: one for one in json.loads(run("doctor", "--format", "json").stdout)}
    assert "KeyError: 'a defect' (this is a defect" in found["controller"]["found"]
    assert "looks again every 5 s" in found["controller"]["remedy"]
    assert look(url)["wrong"]
    for failure in (BadRows(["extensions acme/1: x"]), OSError(28, "No space left")):  # noqa: B007 - broken() raises it
        with psycopg.connect(url) as connection:
            assert reconciler.cycle(connection, auto=True).wrong


def test_a_lost_connection_ends_a_cycle(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("SELECT 1")
        sql(url, f"SELECT pg_terminate_backend({connection.info.backend_pid})")
        with pytest.raises(psycopg.Error):
            reconciler.cycle(connection, auto=True)
        connection.close()


def test_a_schema_that_lacks_migrations_is_asked_at_a_slower_pace(
    new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt connects, and fails at the first statement."""
    pauses: list[float] = []
    sleep = time.sleep

    def pause(seconds: float) -> None:
        """Other threads sleep as they did."""
        (pauses.append if threading.current_thread() is threading.main_thread() else sleep)(seconds)

    monkeypatch.setattr("time.sleep", pause)
    reconciler.run(new_database(None), auto=False, stop=lambda: len(pauses) == 6)
    assert pauses == [0.2, 0.5, 1.0, 2.0, 5.0, 5.0]


@pytest.mark.thorough
def test_doctor_looks_for_a_controller(
    url: str, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "TICK_S", 0.05)

    def told() -> tuple[str, str | None]:
        found = {one["about"]: one for one in json.loads(run("doctor", "--format", "json").stdout)}
        return found["controller"]["found"], found["controller"]["remedy"]

    found, remedy = told()
    assert found == "none was ever heard of"
    assert "systemctl start dialplane-controller" in str(remedy)
    looks: list[bool] = []
    reconciler.run(url, auto=False, stop=lambda: looks.append(True) or len(looks) > 4)  # type: ignore[func-returns-value]
    found, remedy = told()
    assert "in sync" in found
    assert remedy is None
    sql(url, "UPDATE control.controller_state SET heard_at = now() - interval '10 min'")
    found, remedy = told()
    assert found.startswith("none heard of for 10 min, the last one was on ")
    assert remedy


def test_problems_of_a_process_that_shares_a_plan_arrive_whole() -> None:
    import pickle

    back = pickle.loads(pickle.dumps(BadRows(["one", "two"])))
    assert str(back) == "2 problems:\n  one\n  two"
    assert back.problems == ["one", "two"]
    assert isinstance(pickle.loads(pickle.dumps(DatabaseError("x"))), DatabaseError)
