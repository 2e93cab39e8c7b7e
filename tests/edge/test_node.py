"""The node itself: rendered scripts, restart, tables, sockets, TLS."""

from __future__ import annotations

import socket
import ssl
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest

from tests.edge.conftest import DOMAIN, company
from tests.edge.edge import TEMPLATES, Edge, image, render, seed
from tests.edge.phone import Endpoint

pytestmark = pytest.mark.live

VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "container": {"log_stderror": True, "udp_children": 1, "tcp_children": 1, "node": "edge-9"},
    "tls and nat": {
        "tls": True,
        "listen": [
            {"transport": "udp", "address": "127.0.0.1", "port": 5070, "advertise": "203.0.113.1"},
            {"transport": "tls", "address": "127.0.0.1", "port": 5071, "advertise": "203.0.113.1:15071"},
        ],
    },
    "peers": {"peers": {"edge2": "198.51.100.2:5060", "edge3": "198.51.100.3:5060"}},
    "other paths": {"state_db": "/x/s.db", "location_db": "/x/l.db", "spool": "/x", "zone": "voip.internal"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_rendered_scripts_are_accepted(tmp_path: Path, name: str) -> None:
    config = render(tmp_path, **VARIANTS[name])
    done = subprocess.run(
        ["docker", "run", "--rm", "-v", f"{tmp_path}:{tmp_path}", "--entrypoint", "kamailio", str(image()),
         "-c", "-M", "16", "-f", str(config)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr
    assert "__" not in "".join(line for line in done.stdout.splitlines())


def test_a_missing_variable_is_an_error(tmp_path: Path) -> None:
    template = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, autoescape=False
    ).get_template("local.cfg.j2")
    with pytest.raises(jinja2.UndefinedError):
        template.render(node="edge1")


@pytest.fixture
def own(tmp_path: Path, net: str) -> Iterator[Edge]:
    """An edge of the test's own, with TLS, not started."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=edge",
         "-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "crt.pem")],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    address = f"{net}.2"
    node = Edge(
        tmp_path, address, tls=True, tls_certificate=str(tmp_path / "crt.pem"),
        tls_private_key=str(tmp_path / "key.pem"),
        listen=[
            {"transport": one, "address": address, "port": port, "advertise": None}
            for one, port in (("udp", 5060), ("tcp", 5060), ("tls", 5061))
        ],
    )  # fmt: skip
    seed(node.state, company(net))
    yield node
    node.stop()


def held(edge: Edge, aor: str) -> object:
    """The registration; its first worker loads them, while RPC is answered already."""
    deadline = time.monotonic() + 5
    while True:
        try:
            return edge.rpc("ul.lookup", "location", aor)
        except LookupError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_restart_keeps_registrations_and_tables(own: Edge, net: str) -> None:
    own.start()
    phone = Endpoint("lobby", DOMAIN, f"{net}.41", (own.address, 5060))
    caller = Endpoint("desk1", DOMAIN, f"{net}.42", (own.address, 5060))
    phone.register()
    own.stop()
    own.start()
    assert "lobby" in str(held(own, f"lobby@{DOMAIN}"))
    assert own.rpc("htable.get", "account", "acme")["item"]["value"].startswith("cluster=c1")
    invite = caller.invite(f"sip:103@{DOMAIN}")
    phone.answer(phone.expect("INVITE"), 486)
    assert caller.final(invite).status == 486
    phone.close()
    caller.close()


def test_a_process_that_does_not_end_costs_no_registration(own: Edge, net: str) -> None:
    own.variables["exit_timeout_s"] = 2
    own.start()
    phone = Endpoint("lobby", DOMAIN, f"{net}.41", (own.address, 5060))
    phone.register()
    stuck = next(one["PID"] for one in own.rpc("core.psx") if "tcp receiver" in one["DSC"])
    own.execute("sh", "-c", f"kill -STOP {stuck}")
    own.stop()
    own.start()
    assert "lobby" in str(held(own, f"lobby@{DOMAIN}"))
    phone.close()


def test_registrations_at_carriers_load_at_start(own: Edge, net: str) -> None:
    tables = company(net)
    tables["registration"] = {
        "carrier-r": f"user=acct7;realm=r.example;ha1={'a' * 32};host={net}.45;port=5060;transport=udp;expires=300"
    }
    seed(own.state, tables)
    carrier = Endpoint("registrar", "r.example", f"{net}.45", (own.address, 5060))
    own.start()
    request = carrier.expect("REGISTER", 10)
    assert request["Expires"] == "300"
    carrier.close()


def test_tls_and_sockets(own: Edge) -> None:
    own.start()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((own.address, 5061), timeout=3) as plain,
        context.wrap_socket(plain) as sock,
    ):
        sock.sendall(
            b"OPTIONS sip:acme.example SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:5;branch=z9hG4bK1\r\n"
            b"Max-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: t\r\nCSeq: 1 OPTIONS\r\n"
            b"Content-Length: 0\r\n\r\n"
        )
        assert sock.recv(4096).startswith(b"SIP/2.0 200")
    mode = stat.S_IMODE((own.home / "rpc.sock").stat().st_mode)
    assert mode & 0o007 == 0
    metrics = own.metrics()
    assert any(name.startswith("kamailio_tmx") or "dialog" in name for name in metrics)
    assert "ERROR" not in own.log()
