from __future__ import annotations

import sqlite3
from pathlib import Path

from click.testing import CliRunner, Result

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
        f"messages_db={tmp_path / 'messages.db'}",
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


def test_an_edge_that_kept_messages_before_they_said_who_wrote_them(tmp_path: Path) -> None:
    messages = tmp_path / "m.db"
    words = ["edge", "--base", "--address", "198.51.100.1", "--configuration", str(tmp_path)]
    words += ["--service-file", str(tmp_path / "default"), "--set", f"location_db={tmp_path / 'l.db'}"]
    words += ["--set", f"messages_db={messages}"]
    install(*words)
    row = "INSERT INTO message VALUES ('i', 1, 'acme', 'd', 'u', '103', '', 'several', -1, '', '')"
    with sqlite3.connect(messages) as connection:
        connection.execute("ALTER TABLE message DROP COLUMN source")
        connection.execute("ALTER TABLE message DROP COLUMN agent")
        connection.execute(row)
    connection.close()
    for _ in range(2):
        install(*words)
    with sqlite3.connect(messages) as connection:
        assert connection.execute("SELECT id, source, agent FROM message").fetchall() == [("i", "", "")]
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


def test_a_name_server_is_on_the_rows_or_on_the_zones_of_another(tmp_path: Path) -> None:
    def install(*arguments: str) -> Result:
        return CliRunner().invoke(
            main,
            [
                "agent",
                "install",
                "names",
                "--address",
                "198.51.100.51",
                "--configuration",
                str(tmp_path),
                *arguments,
            ],
        )

    done = install("--database", "postgresql://dns@db.example.net/dialplane", "--secondary", "198.51.100.52")
    assert done.exit_code == 0, done.output
    content = (tmp_path / "pdns.conf").read_text()
    assert "launch=gpgsql\n" in content
    assert "allow-axfr-ips=198.51.100.52\n" in content
    assert "user=dns dbname=dialplane host=db.example.net" in content
    assert not (tmp_path / "named.conf").exists()
    assert install("--database", "dbname=dialplane").exit_code == 0
    assert "disable-axfr=yes\n" in (tmp_path / "pdns.conf").read_text()

    for primary, host in (
        ("198.51.100.51:5300", "198.51.100.51"),
        ("[2001:db8::1]:53", "2001:db8::1"),
        ("::1", "::1"),
    ):
        assert install("--primary", primary, "--zone", "dp.example").exit_code == 0
        assert f"allow-notify-from={host}\n" in (tmp_path / "pdns.conf").read_text()
        zones = (tmp_path / "named.conf").read_text()
        assert f"masters {{ {primary}; }}" in zones
        assert 'zone "phones.dp.example"' in zones


def test_a_name_server_s_file_holds_no_password(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        main,
        ["agent", "install", "names", "--address", "198.51.100.51", "--configuration", str(tmp_path),
         "--database", "postgresql://dns:secret@db/dialplane"],
    )  # fmt: skip
    assert done.exit_code == 2
    assert "leave the password out" in done.stderr
    assert "secret" not in done.output
    assert list(tmp_path.iterdir()) == []
    words = ["agent", "install", "names", "--address", "198.51.100.51"]
    done = CliRunner().invoke(main, words, env={"DIALPLANE_DATABASE": ""})
    assert "name the rows with --database" in done.stderr


def test_edges_that_know_each_other_have_different_names(tmp_path: Path) -> None:
    words = ["edge", "--base", "--address", "198.51.100.1", "--configuration", str(tmp_path)]
    words += ["--service-file", str(tmp_path / "default"), "--set", f"location_db={tmp_path / 'l.db'}"]
    words += ["--set", f"messages_db={tmp_path / 'm.db'}"]
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
