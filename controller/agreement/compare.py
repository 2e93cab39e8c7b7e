"""What disagrees, as rows with what is done about each. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from controller.agreement import digests
from controller.agreement.digests import Digests
from controller.dns.compare import Difference

APPLY = "report only: dialplane apply"
APPLY_ALL = "report only: no change of rows explains it; dialplane apply --all publishes it anew"
HELD = "report only: held back by a rollback; correct its rows, then dialplane apply"
AGAIN = "published again"
SNAPSHOT = "its agent loads everything anew and compares"
CHECK = "report only: dialplane dns check"
LIST = "report only: dialplane node list"
NO_REPORT = "report only: dialplane verify has it compared now"
# Of each node and table so many keys are named; the rest is one row with their number.
MOST_KEYS = 100


class Finding(NamedTuple):
    """One disagreement. `account` None: it is about all; `where`: a node, a name server, or what is published;
    `expected`, `found` None: nothing; `done`: what is done about it, or the remedy."""

    account: str | None
    what: str
    where: str
    expected: str | None
    found: str | None
    done: str


class Placed(NamedTuple):
    """An account (None: what all share) whose published entries say otherwise than its rows. `pending`: rows changed
    that no revision accounts for; `held`: a rollback holds it back."""

    account: str | None
    what: str
    expected: str | None
    found: str | None
    pending: bool
    held: bool


class Told(NamedTuple):
    """What a node's agent told of a table, read from its server.

    Args:
        node: Its name.
        kind: `edge` or `media`.
        table: Of `digests.TABLES`.
        revision: What the node held when the comparison began; None: it never told.
        silent: Its agent is not heard of.
        found: The digests, None as `revision`.
        expected: Of what is published for the node.
        passed: Buckets in which something was published since: they are read back when it arrives.
    """

    node: str
    kind: str
    table: str
    revision: int | None
    silent: bool
    found: Digests | None
    expected: Digests
    passed: Collection[int]


class Suspicion(NamedTuple):
    """Buckets of a node's table whose keys are to be asked for."""

    node: str
    kind: str
    table: str
    buckets: tuple[int, ...]


def placed(found: Iterable[Placed]) -> Iterator[Finding]:
    """Rows against what is published."""
    for one in found:
        done = HELD if one.held else APPLY if one.pending else APPLY_ALL
        yield Finding(one.account, one.what, "published", one.expected, one.found, done)


def suspicions(told: Iterable[Told]) -> tuple[list[Suspicion], list[Finding]]:
    """Which tables of which nodes differ, and nodes that told nothing to compare."""
    suspected: list[Suspicion] = []
    missing: dict[str, Finding] = {}
    for one in told:
        if one.silent:
            continue  # said of the node as a whole
        if one.found is None:
            missing[one.node] = Finding(None, "comparison", one.node, "told by its agent", None, NO_REPORT)
        elif buckets := digests.differing(one.expected, one.found, one.passed):
            suspected.append(Suspicion(one.node, one.kind, one.table, tuple(buckets)))
    return suspected, list(missing.values())


def unnamed(one: Suspicion) -> Finding:
    """A suspicion whose keys nobody named."""
    found = f"other entries in {len(one.buckets)} of {digests.BUCKETS} buckets"
    return Finding(None, f"table {one.table}", one.node, "as published", found, SNAPSHOT)


def keys(
    suspicion: Suspicion, expected: Mapping[str, str], found: Mapping[str, str | None]
) -> Iterator[Finding]:
    """What the node holds under the keys of its suspicious buckets, against what is published."""
    named = 0
    wrong = [key for key in dict.fromkeys((*expected, *found)) if expected.get(key) != found.get(key)]
    for key in sorted(wrong)[:MOST_KEYS]:
        named += 1
        account = digests.account_of(suspicion.table, key)
        what = "account on the node" if suspicion.table == "dialplan" else f"{suspicion.table} {key}"
        yield Finding(account, what, suspicion.node, expected.get(key), found.get(key), SNAPSHOT)
    if len(wrong) > named:
        more = f"{len(wrong) - named} keys more"
        yield Finding(None, f"table {suspicion.table}", suspicion.node, "as published", more, SNAPSHOT)


def named(differences: Iterable[Difference], accounts: Mapping[str, str]) -> Iterator[Finding]:
    """What name servers answer. `accounts`: the end of a name (`<account>.<zone>.`) -> account."""
    for one in differences:
        labels = one.name.split(".")
        ends = (".".join(labels[number:]) for number in range(len(labels)))
        account = next((accounts[end] for end in ends if end in accounts), None)
        yield Finding(account, f"{one.name} {one.type}", one.server, one.wanted, one.got, CHECK)


def summed(findings: Collection[Finding]) -> str:
    """One sentence, for a log and for doctor."""
    if not findings:
        return "rows, edges, media nodes and what is published agree about every account"
    first = next(iter(findings))
    account = f"account {first.account}: " if first.account else ""
    return (
        f"{len(findings)} disagree; {account}{first.what} at {first.where}: expected {first.expected or 'nothing'}, "
        f"found {first.found or 'nothing'} ({first.done})"
    )
