"""Runs beside the name servers of tests/bench/names.py: asks them, changes rows, says what it measured (JSON)."""

from __future__ import annotations

import json
import multiprocessing
import random
import selectors
import socket
import struct
import sys
import time
from collections.abc import Sequence
from typing import Any

import psycopg

PORT = 53
SERVICES = ("voice", "voicemail", "conference", "queue", "messaging", "pstn", "app")
_SRV = 33
_LOST_S = 1.0


def packet(number: int, name: str) -> bytes:
    """A question for SRV records, with EDNS."""
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.rstrip(".").split(".")) + b"\0"
    edns = b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0)
    return struct.pack(">HHHHHH", number, 0, 1, 0, 0, 1) + labels + struct.pack(">HH", _SRV, 1) + edns


def names(accounts: Sequence[str], zone: str, chance: random.Random) -> list[str]:
    """Names of as many accounts, each of some service."""
    return [f"_sip._tcp.{chance.choice(SERVICES)}.{one}.{zone}" for one in accounts]


def load(address: str, asked: Sequence[str], seconds: float, window: int) -> dict[str, float]:
    """Questions per second that were answered with records, `window` under way; lost ones are counted."""
    packets = [packet(number % 65536, name) for number, name in enumerate(asked)]
    answered = lost = sent = 0
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel,
        selectors.DefaultSelector() as selector,
    ):
        channel.connect((address, PORT))
        channel.setblocking(False)
        selector.register(channel, selectors.EVENT_READ)
        began = time.monotonic()
        pending = 0
        while time.monotonic() - began < seconds:
            while pending < window:
                channel.send(packets[sent % len(packets)])
                sent += 1
                pending += 1
            if not selector.select(_LOST_S):
                lost += pending
                pending = 0
                continue
            try:
                while True:
                    reply = channel.recv(4096)
                    pending -= 1
                    # NOERROR, and records in it.
                    if reply[3] & 15 == 0 and reply[6:8] != b"\0\0":
                        answered += 1
                    else:
                        lost += 1
            except BlockingIOError:
                pass
        took = time.monotonic() - began
    return {"per_second": answered / took, "lost": lost}


def answer(channel: socket.socket, asked: bytes) -> bytes:
    """One question; the answer as bytes, none after a second."""
    channel.send(asked)
    try:
        return channel.recv(4096)
    except TimeoutError:
        return b""


def changes(
    address: str, url: str, zone: str, accounts: Sequence[str], clusters: Sequence[str]
) -> list[float]:
    """Move each account to the next cluster; seconds from its commit to the answer that says so."""
    took: list[float] = []
    with (
        psycopg.connect(url, autocommit=True) as connection,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel,
    ):
        channel.connect((address, PORT))
        channel.settimeout(1)
        for number, account in enumerate(accounts):
            asked = packet(number, f"_sip._tcp.voice.{account}.{zone}")
            before = answer(channel, asked)
            cluster = next(
                one for one in clusters if bytes([len(one)]) + one.encode() + b"\5nodes" not in before
            )
            wanted = bytes([len(cluster)]) + cluster.encode() + b"\5nodes"
            connection.execute(
                "UPDATE public.accounts SET cluster_id = (SELECT id FROM public.clusters WHERE name = %s) "
                "WHERE name = %s",
                (cluster, account),
            )
            began = time.monotonic()
            while wanted not in answer(channel, asked):
                if time.monotonic() - began > 10:
                    break
            took.append(time.monotonic() - began)
    return took


def main(asked: dict[str, Any]) -> dict[str, Any]:
    """What `asked` says: `load` of an address, or `changes` while it is loaded."""
    chance = random.Random(1)
    accounts = [f"bench{number:06d}" for number in chance.sample(range(asked["accounts"]), asked["sample"])]
    if asked["what"] == "load":
        return load(
            asked["address"], names(accounts, asked["zone"], chance), asked["seconds"], asked["window"]
        )
    # Forked: this file is no module there.
    others = multiprocessing.get_context("fork").Process(
        target=load,
        args=(asked["address"], names(accounts, asked["zone"], chance), asked["seconds"], asked["window"]),
    )
    others.start()
    try:
        moved = accounts[: asked["moves"]]
        return {"took_s": changes(asked["address"], asked["url"], asked["zone"], moved, asked["clusters"])}
    finally:
        others.kill()
        others.join()


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
