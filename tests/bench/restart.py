"""An edge restarts from its own file, its agent stopped: from the start of Kamailio to the answer to an OPTIONS."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from tests.bench.figures import Figure
from tests.bench.lab import Lab, say
from tests.bench.world import EDGE

# Runs inside the edge's container.
_RESTART = """
import json, socket, subprocess, time
supervisor = ["supervisorctl", "-c", "/run/supervisord.conf"]
subprocess.run([*supervisor, "stop", "agent", "kamailio"], check=True, capture_output=True)
began = time.monotonic()
subprocess.run([*supervisor, "start", "kamailio"], check=True, capture_output=True)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
    phone.bind(("127.0.0.31", 5060))
    phone.settimeout(0.05)
    for number in range(4000):
        phone.sendto((
            "OPTIONS sip:127.0.0.11 SIP/2.0\\r\\nVia: SIP/2.0/UDP 127.0.0.31:5060;branch=z9hG4bK%d;rport\\r\\n"
            "Max-Forwards: 70\\r\\nFrom: <sip:a@b.example>;tag=1\\r\\nTo: <sip:127.0.0.11>\\r\\nCall-ID: %d\\r\\n"
            "CSeq: 1 OPTIONS\\r\\nContact: <sip:127.0.0.31>\\r\\nContent-Length: 0\\r\\n\\r\\n" % (number, number)
        ).encode(), ("127.0.0.11", 5060))
        try:
            if phone.recv(4096).startswith(b"SIP/2.0 200"):
                break
        except (TimeoutError, ConnectionRefusedError):
            time.sleep(0.01)
took = time.monotonic() - began
subprocess.run([*supervisor, "start", "agent"], check=True, capture_output=True)
print(json.dumps(took))
"""


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """Start of Kamailio with the entries of the largest world; then how long its agent compares them."""
    world = lab.world(max(sizes))
    world.run()
    say("restarting Kamailio from its file")
    with world.connect("admin") as connection:
        row = connection.execute("SELECT count(*) FROM control.entries WHERE kind = 'edge'").fetchone()
    said = lab.execute(world.containers[EDGE], "/opt/dialplane/bin/python", "-c", _RESTART, timeout_s=300)
    note = f"{row[0] if row else 0:,} entries from the agent's SQLite file; agent and database not needed"
    yield Figure("restart_edge", json.loads(said), "s", note=note)
