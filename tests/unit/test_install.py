from __future__ import annotations

import sqlite3
from pathlib import Path

from click.testing import CliRunner

from controller.cli import main


def install(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["agent", "install", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_an_edge_gets_its_files_and_an_empty_store_of_registrations(tmp_path: Path) -> None:
    store = tmp_path / "location.db"
    words = (
        "edge",
        "--base",
        "--address",
        "198.51.100.1",
        "--configuration",
        str(tmp_path),
        "--service-file",
        str(tmp_path / "default"),
        "--set",
        f"location_db={store}",
        "--set",
        "shm_mb=1024",
    )
    install(*words)
    assert "SHM_MEMORY=1024\n" in (tmp_path / "default").read_text()
    assert "198.51.100.1" in (tmp_path / "local.cfg").read_text()
    assert (tmp_path / "kamailio.cfg").exists()
    assert not (tmp_path / "entrypoint.sh").exists()
    with sqlite3.connect(store) as connection:
        connection.execute(
            "INSERT INTO location (id, ruid, username, domain) VALUES (1, 'r', 'desk1', 'acme.example')"
        )
    connection.close()
    install(*words)
    with sqlite3.connect(store) as connection:
        assert connection.execute("SELECT count(*) FROM location").fetchone() == (1,)
    connection.close()


def test_a_media_node_keeps_its_secret_and_shows_it_to_nobody(tmp_path: Path) -> None:
    secret = tmp_path / "ami.secret"
    words = (
        "media",
        "--address",
        "198.51.100.21",
        "--configuration",
        str(tmp_path),
        "--secret-file",
        str(secret),
    )
    printed = install(*words)
    first = secret.read_text()
    assert secret.stat().st_mode & 0o077 == 0
    install(*words)
    assert secret.read_text() == first
    assert first.strip() not in printed
    assert (tmp_path / "dialplane-local" / "manager.conf").stat().st_mode & 0o007 == 0


def test_a_variable_that_does_not_exist_is_named(tmp_path: Path) -> None:
    words = ["edge", "--address", "198.51.100.1", "--configuration", str(tmp_path), "--set", "colour=red"]
    done = CliRunner().invoke(main, ["agent", "install", *words])
    assert done.exit_code == 2
    assert "no such variable: colour" in done.stderr
