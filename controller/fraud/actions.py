"""What a verdict brings about, decided without touching anything: blocks that are rows, work that nodes have to do.

| action | becomes |
|---|---|
| notify | the incident itself, and channel `dialplane_fraud` |
| block_destination | a block for each of the rule's destinations |
| cap_calls | a cap: as many calls at the same time as the critical threshold |
| outbound_off | a block of everything that is not the account's own |
| block_source | a block of the address |
| suspend | a block of everything for the account: emergency calls alone pass |
| end_calls | nodes end what the blocks would stop now, and the call that was seen |
| unregister | nodes remove the contacts of the devices, having asked phones to fetch their configuration |
| rotate | the devices sign in with something else; contacts are removed as well |

A group stands for its members as they are then, a reseller for its accounts: each is blocked, or capped, by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from controller.fraud.destinations import block_of, classify
from controller.fraud.metrics import Destinations
from controller.fraud.model import ACTIONS, ANY, CRITICAL, ENFORCE, INTERNAL, START, Event, Verdict
from controller.fraud.ranges import begins

PENDING, DONE, FAILED = "pending", "done", "failed"
EVERYTHING, OUTSIDE = "*", "outside"
#: Scopes that have calls of their own at the edges.
_CALLERS = ("account", "user", "device")
# What an edge's blocks have no word for: nobody is defrauded by freephone numbers.
_NO_WORD = frozenset((INTERNAL, "freephone", "mobile"))


class Block(NamedTuple):
    """A row of `blocks`."""

    scope: str
    subject: str
    what: str
    most: int | None = None


class World(NamedTuple):
    """What has to be known of the subject. `homes`: its account's country, or that of each account of a reseller;
    `members`: of a group or reseller, as (scope, subject); `devices`: all of the subject."""

    homes: Mapping[str, str]
    members: tuple[tuple[str, str], ...] = ()
    devices: tuple[str, ...] = ()

    def home(self, scope: str, subject: str) -> str:
        """Country of the account of whom a block is for; empty: nobody knows."""
        known = self.homes.get(subject) if scope == "account" else None
        return next(iter(self.homes.values()), "") if known is None else known


@dataclass(frozen=True, slots=True)
class Planned:
    """One action. `target` is for whoever does it; `why`: why it cannot be done."""

    action: str
    state: str
    blocks: tuple[Block, ...] = ()
    target: dict[str, Any] = field(default_factory=dict)
    why: str = ""


def plan(verdict: Verdict, world: World) -> list[Planned]:
    """The actions of a verdict, the mildest first; none if its rule observes."""
    if verdict.rule.mode != ENFORCE:
        return []
    wanted = set(verdict.actions)
    if verdict.level != CRITICAL:
        wanted &= {"notify"}
    if "rotate" in wanted:
        wanted.add("unregister")
    whom = _whom(verdict, world)
    return [_PLANS[action](verdict, world, whom, wanted, action) for action in ACTIONS if action in wanted]


_Whom = tuple[tuple[str, str], ...]


def _notify(verdict: Verdict, world: World, whom: _Whom, wanted: set[str], action: str) -> Planned:
    return Planned(action, DONE)


def _source(verdict: Verdict, world: World, whom: _Whom, wanted: set[str], action: str) -> Planned:
    if verdict.scope != "source":
        return Planned(
            action, FAILED, why=f"a {verdict.scope} is no address: rules of scope source block one"
        )
    return Planned(action, DONE, (Block("source", verdict.subject, EVERYTHING),))


def _suspend(verdict: Verdict, world: World, whom: _Whom, wanted: set[str], action: str) -> Planned:
    accounts = _accounts(verdict, world)
    if not accounts:
        return Planned(action, FAILED, why="it belongs to no account that could be suspended")
    return Planned(action, DONE, tuple(Block(*one, EVERYTHING) for one in accounts))


def _devices(verdict: Verdict, world: World, whom: _Whom, wanted: set[str], action: str) -> Planned:
    if not world.devices:
        return Planned(action, FAILED, why=f"no device of {verdict.scope} {verdict.subject} is known")
    state = PENDING if action == "unregister" else DONE
    return Planned(action, state, target={"devices": list(world.devices)})


def _end(verdict: Verdict, world: World, whom: _Whom, wanted: set[str], action: str) -> Planned:
    return Planned(action, PENDING, target=_calls(verdict, world, whom, wanted))


def _block(verdict: Verdict, world: World, whom: _Whom, wanted: set[str], action: str) -> Planned:
    if not whom:
        return Planned(action, FAILED, why=_NOBODY[verdict.scope])
    most = max(1, int(verdict.threshold)) if action == "cap_calls" else None
    whats: dict[str, tuple[str, ...]] = {}
    for home in {world.home(*one) for one in whom}:
        whats[home] = (EVERYTHING,) if action == "cap_calls" else (OUTSIDE,)
        if action == "block_destination":
            whats[home] = whats_of(verdict.rule.destinations, home, verdict.evidence)
    blocks = tuple(Block(*one, what, most) for one in whom for what in whats[world.home(*one)])
    if not blocks:
        return Planned(action, FAILED, why="extensions are no destination that is blocked: use outbound_off")
    return Planned(action, DONE, blocks)


_PLANS = {
    "notify": _notify,
    "block_destination": _block,
    "cap_calls": _block,
    "outbound_off": _block,
    "end_calls": _end,
    "block_source": _source,
    "unregister": _devices,
    "rotate": _devices,
    "suspend": _suspend,
}
# Why there is nobody to block.
_NOBODY = {
    "source": "edges block all of an address or nothing: use block_source",
    "group": "the group has no members",
    "reseller": "the reseller has no accounts that may be blocked (accounts.reseller, fraud_allows)",
}


def _whom(verdict: Verdict, world: World) -> _Whom:
    if verdict.scope in ("group", "reseller"):
        return world.members
    return ((verdict.scope, verdict.subject),) if verdict.scope in _CALLERS else ()


def _accounts(verdict: Verdict, world: World) -> _Whom:
    if verdict.scope == "reseller":
        return world.members
    return (("account", verdict.account),) if verdict.account else ()


def whats_of(destinations: Sequence[str], home: str, evidence: Iterable[str] = ()) -> tuple[str, ...]:
    """A rule's destinations in words of `blocks.what`.

    Numbers of no plan are blocked as far as their country code is none; of those that were seen, their range is.
    """
    found: list[str] = []
    for one in destinations:
        if one == ANY:
            return (OUTSIDE,)
        if one == "mobile":
            found += begins(frozenset((home,)), mobile=True)
        elif one not in _NO_WORD:
            found.append(one)
    if "unallocated" in destinations:
        seen = (one for one in evidence if one.startswith("+") and one[1:].isdigit())
        found += [block_of(one) for one in seen if classify(one, home).cls == "unallocated"]
    return tuple(dict.fromkeys(found))


def _calls(verdict: Verdict, world: World, whom: _Whom, wanted: set[str]) -> dict[str, Any]:
    """Which calls are ended: `of` whom, `what` (everything, outside, or the rule's destinations), and those seen.

    `home` is the country of whom they are, `homes` that of accounts that are elsewhere.
    """
    what, home = "destinations", world.home("", "")
    if "suspend" in wanted:
        what, whom = "everything", _accounts(verdict, world) or whom
    elif not wanted.isdisjoint(("outbound_off", "rotate")):
        what = OUTSIDE
    return {
        "of": [list(one) for one in whom],
        "what": what,
        "destinations": list(verdict.rule.destinations),
        "home": home,
        "homes": {account: country for account, country in world.homes.items() if country != home},
        "calls": list(verdict.evidence),
    }


def is_meant(
    call: str, legs: Sequence[Mapping[str, Any]], target: Mapping[str, Any], emergency: set[str]
) -> bool:
    """Whether a live call is to be ended: `legs` as nodes tell them (controller/calls/operator.py). Never one to an
    emergency number."""
    dialled = {str(leg[name]) for leg in legs for name in ("called", "exten") if leg.get(name)}
    if dialled & emergency:
        return False
    if call in target["calls"]:
        return True
    # A reseller's accounts are many.
    accounts = {str(leg["account"]) for leg in legs if leg.get("account")}
    if not any(
        subject in accounts if scope == "account" else _is_of(scope, subject, legs)
        for scope, subject in target["of"]
    ):
        return False
    if target["what"] == "everything":
        return True
    out = {
        str(leg["called"])
        for leg in legs
        if leg.get("leg") == "out" and leg.get("trunk") and leg.get("called")
    }
    if target["what"] == OUTSIDE:
        return bool(out)
    rule = Destinations(tuple(target["destinations"]))
    elsewhere = target.get("homes", {})
    homes = {str(elsewhere.get(account, target["home"])) for account in accounts or ("",)}
    return any(rule.fits(_event(number, home)) for number in out for home in homes)


def _event(number: str, home: str) -> Event:
    country, cls = classify(number, home)
    return Event("", 0.0, START, called=number, country=country, cls=cls)


def _is_of(scope: str, subject: str, legs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a device or user calls: a device that only rings does not."""
    calling = [leg for leg in legs if leg.get("leg") in ("in", "straight")]
    if scope == "device":
        return any(leg.get("device") == subject for leg in calling) or any(
            leg.get("payer") == subject for leg in legs
        )
    account, _, user = subject.partition("/")
    return any(
        leg.get("account") == account
        and (leg.get("user") == user or (leg.get("device") and leg.get("caller") == user and leg in calling))
        for leg in legs
    )
