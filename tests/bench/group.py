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

from controller.schema import synthetic
from tests.bench.figures import Figure, median
from tests.bench.installation import DOMAIN, Installation
from tests.bench.lab import Failed, Lab, say
from tests.bench.world import EDGE
from tests.live.phones import render

MEMBERS, CALLS = 50, 8
_CALLER, _GROUP = f"d{MEMBERS + 1}", "700"
# A call rings for so long after the first telephone did: all others must ring by then.
_RING_MS, _EVERY_MS = 1_500, 2_500

_ROWS = (
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
    place = Installation(
        lab, "groups", MEMBERS + 1, rows=_ROWS, values={"caller": f"u{MEMBERS + 1}", "group": _GROUP}, controller=False
    )  # fmt: skip
    place.register(range(1, MEMBERS + 1), port=5070)
    rung = place.answer(5070, rtp=20002, ending="cancelled")
    folder = place.folder
    calls = {"user": _CALLER, "domain": DOMAIN, "to": _GROUP, "ending": "cancel", "ring_ms": _RING_MS}
    (folder / "call.xml").write_text(render("call", **calls))
    say(f"{CALLS} calls to a group of {MEMBERS}")
    lab.execute(
        place.phones, "sipp", place.at(EDGE), "-sf", f"{folder}/call.xml", "-i", place.own, "-p", "5090",
        "-au", _CALLER, "-ap", synthetic.password(f"{_CALLER}@{DOMAIN}"), "-key", "rtp", "20000",
        "-r", "1", "-rp", str(_EVERY_MS), "-l", "1", "-m", str(CALLS), "-nostdin", "-timeout", "90", "-timeout_error",
        "-trace_shortmsg", "-shortmessage_file", f"{folder}/caller.log",
    )  # fmt: skip
    took = times(read(folder / "caller.log"), read(rung))
    last, first = ([one[at] for one in took] for at in (1, 0))
    note = f"median of {CALLS} calls, worst {max(last):.0f}; the first telephone after {median(first):.0f} ms"
    yield Figure("group_of_50.all_ring", median(last), "ms", note=note)


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
