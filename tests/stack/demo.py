"""`make demo`: the sample company goes live, phones call each other, and each call is told as a short story.

Everything shown is what the product itself prints or has written down; nothing is acted. The stack keeps running.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.live import stack
from tests.live.company import APP1, BOB, CARRIER, DESK1, LOBBY
from tests.live.phones import Leg, Phone, PhoneError, Phones

BEGAN = time.monotonic()
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def _paint(text: str, code: str) -> str:
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def title(text: str) -> None:
    """A heading with the time since the demonstration began."""
    print(f"\n{_paint(f'[{time.monotonic() - BEGAN:3.0f} s] {text}', '1')}", flush=True)


def tell(text: str) -> None:
    """A paragraph."""
    print(textwrap.indent(textwrap.fill(text, 100), "  "), flush=True)


def show(*arguments: str, ok: Sequence[int] = (0,), limit_s: float = 90) -> int:
    """Runs the real command at the operator's seat, its output as it is."""
    print(_paint(f"  $ dialplane {' '.join(arguments)}", "36"), flush=True)
    seat = ["docker", "exec", "-u", "dialplane", stack.container("ops"), "dialplane", *arguments]
    done = subprocess.run(
        seat, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit_s, check=False
    )
    print(textwrap.indent(done.stdout.rstrip(), "  "), flush=True)
    if done.returncode not in ok:
        raise SystemExit(f"dialplane {' '.join(arguments)} ended with {done.returncode}")
    return done.returncode


def sentence(record: dict[str, Any]) -> str:
    """A call record in words."""
    way = f"through {record['media_node']}" if record["media_node"] else "straight, no media node"
    if record["trunk"]:
        way += f", trunk {record['trunk']}"
    length = f"talked {record['talk_ms'] / 1000:.1f} s" if record["talk_ms"] else "never answered"
    return (
        f"Record {record['call_id'][:8]}: {record['direction']}, {record['caller']} to {record['called']}, "
        f"by {record['edge']} {way}; {length}; {record['cause_text'] or record['cause']}, "
        f"ended by {record['ended_by']}."
    )


def story(heading: str, before: str, call: Callable[[], tuple[str, bool]]) -> bool:
    """One call: what is about to happen, what the phones saw, what was decided, what was written down."""
    title(heading)
    tell(before)
    since = stack.now()
    try:
        seen, fine = call()
    except (PhoneError, TimeoutError) as error:
        seen, fine = f"It did not work: {error}", False
    tell(seen)
    try:
        record = stack.until(lambda: stack.newest_call(since), "a call record", limit_s=10)
    except AssertionError:
        tell("No call record was written within 10 s.")
        return False
    assert record
    tell(sentence(record))
    show("call", "trace", record["call_id"], ok=(0, 1, 2))
    return fine


def heard(leg: Leg, phone: Phone) -> str:
    """How much of a phone's voice arrived, in words."""
    return f"{leg.hears(phone) / 50:.1f} s"


def both(caller: tuple[Leg, Phone, str], called: tuple[Leg, Phone, str]) -> tuple[str, bool]:
    """Who heard whom; whether everything went as meant."""
    (one, phone, name), (other, far, far_name) = caller, called
    if not (one.ok and other.ok):
        return f"It did not work:\n{one}\n{other}", False
    fine = one.hears(far) > 0 and other.hears(phone) > 0
    return (
        f"{name} heard {far_name} for {heard(one, far)}, {far_name} heard {name} for {heard(other, phone)}.",
        fine,
    )


def main() -> int:
    """Tells the whole story; 0 when every call went as meant."""
    phones = Phones(stack.container("phones"))
    carrier_a, carrier_b = Phones(stack.container("carrier-a")), Phones(stack.container("carrier-b"))

    title("A company in rows")
    tell("Two accounts, five people, their phones, numbers and carriers, from a YAML file into PostgreSQL.")
    show("import", stack.SAMPLE)
    title("What that would change on the servers, before anything is touched")
    if show("plan", ok=(0, 3)) == 3:
        title("Made live on every node, and read back")
        show("apply", "--yes", "--reason", "the sample company")
    title("Proof: what runs is what was meant")
    show("verify")

    title("The phones register")
    for phone in (DESK1, APP1, BOB, LOBBY):
        leg = phones.register(phone)
        tell(f"{phone.user}@{phone.domain}: {' then '.join(map(str, leg.codes))}")

    def straight() -> tuple[str, bool]:
        with phones.answering(LOBBY) as [lobby]:
            bob = phones.run("call", BOB, to="103", talk_ms=700)
            return both((bob, BOB, "Bob"), (lobby.wait(), LOBBY, "the lobby"))

    def two_devices() -> tuple[str, bool]:
        with (
            phones.answering(DESK1, ending="cancelled") as [desk],
            phones.answering(APP1, ring_ms=600) as [app],
        ):
            bob = phones.run("call", BOB, to="101", talk_ms=700)
            seen, fine = both((bob, BOB, "Bob"), (app.wait(), APP1, "Alice's app"))
            given_up = desk.wait()
        return f"{seen} Her desk phone {'rang and was called off' if given_up.ok else 'did not ring'}.", fine

    def inbound() -> tuple[str, bool]:
        with phones.answering(BOB) as [bob]:
            far = carrier_a.run(
                "call", CARRIER, to="+4930555012", host="10.213.0.11", challenge=0, talk_ms=700
            )
            return both((far, CARRIER, "The outside caller"), (bob.wait(), BOB, "Bob"))

    def failover() -> tuple[str, bool]:
        with carrier_a.answering(CARRIER, answer=503) as [first], carrier_b.answering(CARRIER) as [second]:
            bob = phones.run("call", BOB, to="0891234567", talk_ms=700)
            refused = first.wait()
            seen, fine = both((bob, BOB, "Bob"), (second.wait(), CARRIER, "the far end"))
        return f"carrier-a {'said 503' if refused.called else 'was not asked'}. {seen}", fine

    def emergency() -> tuple[str, bool]:
        with carrier_a.answering(CARRIER) as [far]:
            bob = phones.run("call", BOB, to="112", talk_ms=500)
            return both((bob, BOB, "Bob"), (far.wait(), CARRIER, "the emergency desk"))

    fine = [
        story(
            "Bob calls the lobby",
            "103 rings one device and nothing else: the edge sends it straight.",
            straight,
        ),
        story(
            "Bob calls Alice",
            "101 rings Alice's desk phone and her app; she takes it on the app.",
            two_devices,
        ),
        story("Somebody calls Bob's number", "carrier-a brings a call to +49 30 555012.", inbound),
        story("Bob calls Munich", "carrier-a is first choice, and out of order today.", failover),
        story("Bob calls 112", "Emergency calls pass every limit and block.", emergency),
    ]

    title("A row changes while everything runs")
    tell("The lobby's phone may now hold two calls.")
    stack.sql(
        "UPDATE public.devices SET call_limit = 3 - call_limit WHERE name = 'lobby' AND call_limit IS NOT NULL"
    )
    show("plan", ok=(0, 3))
    show("apply", "--yes", "--reason", "the lobby is busy")

    title(f"{sum(fine)} of {len(fine)} calls went as meant. The stack keeps running. Worth trying next:")
    seat = "docker compose exec -u dialplane ops dialplane"
    for command, why in (
        ("route explain bob@acme.example 0891234567", "every step of a decision, no call placed"),
        ("history", "who changed what and why; then `rollback`"),
        ("doctor", "what is wrong with this installation, and the remedy"),
    ):
        print(f"  {seat} {command}\n      {why}")
    print("\n  make down        removes every trace")
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
