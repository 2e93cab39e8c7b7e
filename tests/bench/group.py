"""A call to a group of fifty: from the caller's first INVITE, which is challenged, to the last telephone that rings.

Edge and media node run with their agents as at an installation, SIPp's telephones beside them: one decision over AGI,
fifty legs back through the edge.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from controller import pipeline
from controller.schema import synthetic
from controller.schema.database import connect
from tests.bench.figures import Figure, median
from tests.bench.lab import ROOT, Failed, Lab, say
from tests.bench.world import EDGE, World, add_nodes
from tests.live.phones import render

MEMBERS, CALLS = 50, 8
MEDIA = "media1"
_DOMAIN, _CALLER, _GROUP = "bench000000.example", f"d{MEMBERS + 1}", "700"
# A call rings for so long after the first telephone did: all others must ring by then.
_RING_MS, _EVERY_MS = 1_500, 2_500

_ROWS = (
    "DELETE FROM public.nodes WHERE kind = 'media' AND name <> %(media)s",
    "INSERT INTO public.groups (account_id, name, display_name) SELECT id, 'all', 'All' FROM public.accounts",
    """
    INSERT INTO public.group_members (account_id, group_id, user_id)
    SELECT u.account_id, g.id, u.id FROM public.groups AS g JOIN public.users AS u USING (account_id)
     WHERE u.name <> %(caller)s""",
    """
    INSERT INTO public.extensions (account_id, extension, kind, group_id)
    SELECT account_id, %(group)s, 'group', id FROM public.groups""",
)


class Line(NamedTuple):
    """A message of SIPp's short log: when (in s), whether it was sent, its call, its first line."""

    at: float
    sent: bool
    call: str
    start: str


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """Until all ring, and until the first does."""
    world, phones, folder = _place(lab)
    say(f"{CALLS} calls to a group of {MEMBERS}")
    edge, own = _addresses(world)
    lab.execute(
        phones, "sipp", edge, "-sf", f"{folder}/call.xml", "-i", own, "-p", "5090",
        "-au", _CALLER, "-ap", synthetic.password(f"{_CALLER}@{_DOMAIN}"), "-key", "rtp", "20000",
        "-r", "1", "-rp", str(_EVERY_MS), "-l", "1", "-m", str(CALLS), "-nostdin", "-timeout", "90", "-timeout_error",
        "-trace_shortmsg", "-shortmessage_file", f"{folder}/caller.log",
    )  # fmt: skip
    took = times(read(folder / "caller.log"), read(folder / "phones.log"))
    last, first = ([one[at] for one in took] for at in (1, 0))
    note = f"median of {CALLS} calls, worst {max(last):.0f}; the first telephone after {median(first):.0f} ms"
    yield Figure("group_of_50.all_ring", median(last), "ms", note=note)


def _place(lab: Lab) -> tuple[World, str, Path]:
    """The servers, and fifty telephones that ring until the caller gives up: container and folder."""
    world = World(lab, 0)
    world.database, world.devices = "groups", MEMBERS + 1
    network, world.net = lab.network()
    edge, own = _addresses(world)
    postgres = lab.postgres
    postgres.create(world.database)
    with connect(postgres.url(world.database, "postgres")) as connection:
        synthetic.fill(connection, 1, MEMBERS + 1)
    add_nodes(world.connect("admin"), world.net)
    with connect(postgres.url(world.database, "admin")) as connection:
        for statement in _ROWS:
            connection.execute(
                statement.encode(), {"media": MEDIA, "caller": f"u{MEMBERS + 1}", "group": _GROUP}
            )
    with connect(postgres.url(world.database, "admin")) as connection:
        pipeline.publish(connection, pipeline.make_plan(connection), author="bench", reason="a group")
    world.close()
    for node in (EDGE, MEDIA):
        world.containers[node] = world.node(node, network)
    world.wait_verified(world.newest(), 120, (EDGE, MEDIA))
    folder = lab.folder / "group"
    folder.mkdir()
    rings = {"user": "member", "domain": _DOMAIN, "ending": "cancelled"}
    calls = {"user": _CALLER, "domain": _DOMAIN, "to": _GROUP, "ending": "cancel", "ring_ms": _RING_MS}
    (folder / "answer.xml").write_text(render("answer", **rings))
    (folder / "call.xml").write_text(render("call", **calls))
    (folder / "register.xml").write_text((ROOT / "tests/bench/scenarios/register.xml").read_text())
    names = [f"d{number}" for number in range(1, MEMBERS + 1)]
    lines = (
        f"{name};{_DOMAIN};[authentication username={name} password={synthetic.password(f'{name}@{_DOMAIN}')}]"
        for name in names
    )
    (folder / "devices.csv").write_text("\n".join(["SEQUENTIAL", *lines, ""]))
    phones = lab.start("phones", "phones", "-v", f"{folder}:{folder}", "--ip", own, network=network)
    lab.execute(
        phones, "sipp", edge, "-sf", f"{folder}/register.xml", "-inf", f"{folder}/devices.csv",
        "-i", own, "-p", "5070", "-r", "50", "-m", str(MEMBERS), "-nostdin", "-timeout", "30", "-timeout_error",
    )  # fmt: skip
    lab.execute(
        phones, "sh", "-c",
        f"exec sipp -sf {folder}/answer.xml -i {own} -p 5070 -key rtp 20002 -nostdin -trace_shortmsg"
        f" -shortmessage_file {folder}/phones.log >/dev/null 2>&1 &",
    )  # fmt: skip
    return world, phones, folder


def _addresses(world: World) -> tuple[str, str]:
    """Of the edge, with its port, and of the telephones."""
    return f"{world.net}.11:5060", f"{world.net}.31"


def read(path: Path) -> list[Line]:
    """Lines: day, time, seconds since 1970, S or R, call id, CSeq, first line; separated by tabs."""
    found = []
    for line in path.read_text().splitlines():
        _, _, seconds, way, call, _, start = line.split("\t", 6)
        found.append(Line(float(seconds), way == "S", call, start))
    return found


def times(caller: Sequence[Line], phones: Sequence[Line]) -> list[tuple[float, float]]:
    """Of each call: ms from its INVITE to the first and to the last of all telephones that ring."""
    began: dict[str, float] = {}
    for line in caller:
        if line.sent and line.start.startswith("INVITE "):
            began.setdefault(line.call, line.at)
    rang = [line.at for line in phones if line.sent and line.start.startswith("SIP/2.0 180")]
    found = []
    for begin, end in itertools.pairwise([*began.values(), math.inf]):
        own = [at for at in rang if begin <= at < end]
        if len(own) != MEMBERS:
            raise Failed(f"{len(own)} telephones rang, not {MEMBERS}")
        found.append(((min(own) - begin) * 1000, (max(own) - begin) * 1000))
    if len(found) != CALLS:
        raise Failed(f"{len(found)} calls were made, not {CALLS}")
    return found
