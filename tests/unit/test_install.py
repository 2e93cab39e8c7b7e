from __future__ import annotations

import sqlite3
from pathlib import Path

from click.testing import CliRunner

from controller.cli import main
from controller.entries import server_id


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


def test_edges_that_know_each_other_have_different_names(tmp_path: Path) -> None:
    words = ["edge", "--base", "--address", "198.51.100.1", "--configuration", str(tmp_path)]
    words += ["--service-file", str(tmp_path / "default"), "--set", f"location_db={tmp_path / 'l.db'}"]
    install(*words)
    assert "WITH_PEERS" not in (tmp_path / "local.cfg").read_text()
    install(*words, "--set", "peers={edge2: 198.51.100.2:5060}")
    assert f'"!__PEERS__!{server_id("edge2")}=198.51.100.2:5060;!g"' in (tmp_path / "local.cfg").read_text()
    assert f"server_id={server_id('edge1')}\n" in (tmp_path / "local.cfg").read_text()
    assert '"sip:198.51.100.2:5060;transport=tcp"' in (tmp_path / "peers.cfg").read_text()
    for wrong in ("{edge1: 198.51.100.2:5060}", "[198.51.100.2:5060]"):
        done = CliRunner().invoke(main, ["agent", "install", *words, "--set", f"peers={wrong}"])
        assert done.exit_code == 2
        assert "peers: " in done.stderr
