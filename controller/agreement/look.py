"""One look: what the database alone tells, and what agents say of keys that are in doubt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from controller.agreement import compare, store
from controller.agreement.compare import Finding, Suspicion
from controller.calls import store as commands
from controller.errors import NodeError

if TYPE_CHECKING:
    from psycopg import Connection

# So many nodes are asked for keys; a fault that many have is seen on a few.
_MOST_ASKED = 20
_ASK_S = 10.0


class Seen(NamedTuple):
    """What disagrees, and tables of nodes whose keys are not known yet."""

    findings: list[Finding]
    suspicions: list[Suspicion]


def database(connection: Connection[Any], *, repair: bool) -> Seen:
    """Rows against what is published, and that against what agents read from their servers. `repair`: publish targets
    again."""
    findings = list(compare.placed(store.placed(connection)))
    findings += store.targets(connection) if repair else []
    findings += store.empty_clusters(connection)
    suspicions, missing = compare.suspicions(store.told(connection))
    return Seen(findings + missing, suspicions)


def unnamed(seen: Seen) -> list[Finding]:
    """The suspicions alone, without asking anybody."""
    return [compare.unnamed(one) for one in seen.suspicions]


def keys(connection: Connection[Any], url: str, suspicions: list[Suspicion]) -> list[Finding]:
    """Which keys differ, from the nodes; what they do not say is one finding each. The nodes load everything anew."""
    if not suspicions:
        return []
    expected = {one: store.entries(connection, one) for one in suspicions[:_MOST_ASKED]}
    found = asyncio.run(_ask(url, expected))
    findings: list[Finding] = []
    for one in suspicions:
        if (held := found.get(one)) is None:
            findings.append(compare.unnamed(one))
        else:
            findings += compare.keys(one, expected[one], held)
    store.reload(connection, (one.where for one in findings))
    return findings


async def _ask(
    url: str, expected: Mapping[Suspicion, Mapping[str, str]]
) -> dict[Suspicion, Mapping[str, str | None]]:
    found: dict[Suspicion, Mapping[str, str | None]] = {}

    async def one(connection: commands.Connection, about: Suspicion) -> None:
        arguments = {
            "table": about.table,
            "buckets": list(about.buckets),
            "keys": list(expected[about]),
        }
        try:
            found[about] = (await commands.ask(connection, about.node, "held", arguments, _ASK_S))["entries"]
        except NodeError:
            return  # its buckets are said

    async with commands.connect(url) as connection:
        await asyncio.gather(*(one(connection, about) for about in expected))
    return found


def periodic(connection: Connection[Any]) -> list[Finding]:
    """The controller's look: asks nobody; nodes in doubt load everything anew. What it found is kept for doctor."""
    began = time.monotonic()
    seen = database(connection, repair=True)
    findings = seen.findings + unnamed(seen)
    store.reload(connection, (one.node for one in seen.suspicions))
    took_ms = round((time.monotonic() - began) * 1000)
    store.keep(connection, findings, compare.summed(findings), took_ms)
    connection.commit()
    return findings
