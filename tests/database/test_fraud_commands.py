"""`dialplane fraud status|incidents|block|unblock|resume` and `dialplane provision`, as an operator sees them; and
where phones fetch."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from controller import reconciler
from controller.cli import main
from controller.errors import DatabaseError
from controller.provisioning import http, secret, store
from tests.database.fraud_nodes import DESK, Nodes
from tests.database.test_fraud_enforced import blocks

pytestmark = pytest.mark.thorough


@pytest.fixture
def url(published_sample: str, new_database: Callable[..., str]) -> str:
    return new_database(published_sample)


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--database", url, *arguments])


def test_a_person_blocks_looks_and_lifts(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        done = run(
            url,
            "fraud",
            "block",
            "user:acme/alice",
            "--to",
            "premium",
            "--to",
            "TN",
            "--for",
            "2h",
            "--why",
            "test",
        )
        assert done.exit_code == 0, done.output
        for words in (
            "incident 1: user acme/alice, critical, enforce: open",
            "rule by-hand of everybody",
            "seen: test",
            "blocked: user:acme/alice:premium",
            "block_destination: done",
        ):
            assert words in done.stdout
        assert set(blocks(connection)) == {"user:acme/alice", "user:acme/alice:TN", "user:acme/alice:premium"}
        row = connection.execute("SELECT until - at FROM fraud_incidents").fetchone()
        assert row is not None
        assert row[0].total_seconds() == pytest.approx(7200)
        run(url, "fraud", "block", "source:203.0.113.9")
        said = run(url, "fraud", "status")
        assert (
            "2 incidents are open, 3 blocks of theirs in force; 0 blocks were set by persons" in said.stdout
        )
        assert "source 203.0.113.9" in said.stdout
        listed = json.loads(run(url, "fraud", "incidents", "--account", "acme", "--format", "json").stdout)
        assert [(one["incident"], one["state"], one["actions"]) for one in listed] == [
            (1, "open", "block_destination")
        ]
        lifted = run(url, "fraud", "unblock", "source:203.0.113.9")
        assert lifted.stdout == "incident 2 released: its blocks are lifted\n"
        assert run(url, "fraud", "unblock", "1").exit_code == 0
        assert blocks(connection) == {}
        assert json.loads(run(url, "fraud", "incidents", "--open", "--format", "json").stdout) == []
        assert json.loads(run(url, "fraud", "status", "--format", "json").stdout)["enforced"] == 0


def test_what_nodes_did_not_do_is_said_and_done_later(url: str) -> None:
    arguments = ("fraud", "block", f"device:{DESK}", "--action", "outbound_off", "--action", "end_calls")
    with Nodes(url) as nodes:
        nodes.add("call-1")
        nodes.failing = {"media1"}
        done = run(url, *arguments)
        assert done.exit_code == 5
        assert "not done: end_calls" in done.stderr
        assert "1 actions wait for nodes" in run(url, "fraud", "status").stdout
        nodes.failing = set()
        assert run(url, "fraud", "resume").stdout == "1 actions are over, 0 wait, 0 failed\n"
    shown = run(url, "fraud", "incidents", "1").stdout
    assert "unknown: media1" in shown
    assert "ok: edge1 call-1 1:1 ended" in shown


@pytest.mark.thorough
def test_a_controller_that_is_quicker_is_waited_for(url: str) -> None:
    over = threading.Event()
    thread = threading.Thread(target=reconciler.enforce, args=(url, over))
    with Nodes(url) as nodes:
        thread.start()
        for turn in range(5):
            nodes.add(f"call-{turn}")
            nodes.contacts = {DESK: 1}
            done = run(
                url, "fraud", "block", f"device:{DESK}", "--action", "end_calls", "--action", "unregister"
            )
            assert done.exit_code == 0, done.output
            assert nodes.contacts == {}
            assert "unregister: done" in done.stdout
        over.set()
        thread.join(5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("block", "desk1@acme.example"), "write device:name@domain"),
        (("block", "device:gone@acme.example"), "there is no device gone@acme.example"),
        (("block", "user:alice"), "there is no user alice"),
        (("block", "source:300.1.1.1"), "no IP address"),
        (("block", "account:acme", "--for", "2w"), "such as 2h"),
        (("block", "account:acme", "--to", "0900"), "write a prefix with +"),
        (("unblock", "99"), "there is no incident 99"),
        (("unblock", "account:acme"), "no incident of account:acme is open"),
        (("unblock", "x"), "write device:name@domain"),
        (("incidents", "99"), "there is no incident 99"),
    ],
)
def test_what_cannot_be_done(url: str, arguments: tuple[str, ...], words: str) -> None:
    done = run(url, "fraud", *arguments)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.split())


def test_an_emergency_number_is_blocked_by_nobody(url: str) -> None:
    done = run(url, "fraud", "block", "account:acme", "--to", "+49112")
    assert done.exit_code == 5
    assert "emergency number of DE" in " ".join(done.stdout.split())


# --- provisioning ---------------------------------------------------------------------------------------------------


@contextmanager
def door(fetch: http.Fetch, used: http.Used = lambda *_: None) -> Iterator[str]:
    server = http.server(("127.0.0.1", 0), fetch, used)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def get(address: str, path: str, *authorization: str) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": authorization[0]} if authorization else {}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(f"{address}{path}", headers=headers), timeout=5
        ) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_phone_fetches_with_its_token(url: str) -> None:
    assert run(url, "provision", "token", "gone@acme.example").exit_code == 2
    token = run(url, "provision", "token", DESK).stdout.strip()
    basic = base64.b64encode(f"anybody:{token}".encode()).decode()
    with door(store.fetcher(url)) as address:
        status, said = get(address, f"/{DESK}", f"Bearer {token}")
        assert status == 200
        assert said == {
            "device": DESK, "user": "desk1", "domain": "acme.example", "server": "acme.phones.dialplane.internal",
            "generation": 1, "password": secret.password(token, DESK, 1),
        }  # fmt: skip
        assert get(address, f"/{DESK.replace('@', '%40')}", f"Basic {basic}") == (200, said)
        for path, authorization in (
            (f"/{DESK}", "Bearer " + "x" * 43), (f"/{DESK}", "Bearer short"), (f"/{DESK}", "Basic !"),
            (f"/{DESK}", f"Digest {token}"), ("/lobby@acme.example", f"Bearer {token}"), ("/", f"Bearer {token}"),
            (f"/{DESK}/x", f"Bearer {token}"),
        ):  # fmt: skip
            assert get(address, path, authorization) == (401, {"error": "a token, please"})
        assert get(address, f"/{DESK}")[0] == 401
    (line,) = json.loads(run(url, "provision", "list", "--format", "json").stdout)
    assert (line["device"], line["generation"], line["fetched"], line["fetched_from"]) == (
        DESK,
        1,
        1,
        "127.0.0.1",
    )


def test_without_a_database_it_is_asked_again() -> None:
    def away(*_: str) -> store.Handed | None:
        raise DatabaseError("away")

    with door(away) as address:
        assert get(address, f"/{DESK}", "Bearer " + "x" * 43) == (503, {"error": "not now"})


def test_serve_says_what_is_wrong(url: str) -> None:
    for arguments, words in (
        (("--listen", "4581"), "write ADDRESS:PORT"),
        (("--certificate", "/gone.pem", "--listen", "127.0.0.1:0"), "No such file"),
    ):
        done = run(url, "provision", "serve", *arguments)
        assert done.exit_code == 2
        assert words in done.stderr


def test_a_password_follows_from_token_device_and_generation() -> None:
    token = secret.new_token()
    words = {
        secret.password(token, DESK, 1),
        secret.password(token, DESK, 2),
        secret.password(token, "x@y", 1),
    }
    assert len(words | {secret.password(secret.new_token(), DESK, 1)}) == 4
    assert all(len(word) == 32 for word in words)
    assert secret.is_token(token, secret.digest(token))
    assert not secret.is_token(token + "x", secret.digest(token))


def test_served_over_tls_by_the_command_itself(url: str, tmp_path: Path) -> None:
    pem = tmp_path / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-keyout", str(pem), "-out", str(tmp_path / "crt")],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    pem.write_text(pem.read_text() + (tmp_path / "crt").read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = run(url, "provision", "token", DESK).stdout.strip()
    process = subprocess.Popen(
        [sys.executable, "-c", "from controller.cli import main; main()", "--database", url, "provision", "serve",
         "--listen", f"127.0.0.1:{port}", "--certificate", str(pem)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    request = urllib.request.Request(
        f"https://127.0.0.1:{port}/{DESK}", headers={"Authorization": f"Bearer {token}"}
    )
    trusting = ssl._create_unverified_context()
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                # A stranger who says nothing keeps nobody waiting.
                with socket.create_connection(("127.0.0.1", port)):
                    answer = urllib.request.urlopen(request, timeout=5, context=trusting)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        with answer:
            assert json.load(answer)["password"] == secret.password(token, DESK, 1)
        # Nor does one who speaks no TLS, and nobody reads what he did.
        with socket.create_connection(("127.0.0.1", port), timeout=5) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with suppress(ConnectionError):
                while stranger.recv(1000):
                    pass
    finally:
        process.kill()
        _, told = process.communicate()
    assert "Traceback" not in told
    assert "generation 1" in told
