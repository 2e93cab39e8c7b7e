"""From an account's place to its names, and from each name to its targets. Pure.

A forwarding name `<service>.<account>.<zone>` has SRV records to the media nodes of the cluster that serves it
(priority 10), then of the overflow cluster (20). A device name `<account>.<device_zone>` has them to the edges of the
account's device group. Targets have address records under names of their own, never an account's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

SERVICES = ("voice", "voicemail", "conference", "queue", "messaging", "pstn", "app")
# Prefix of a device name -> whether it needs TLS.
TRANSPORTS = {"_sip._udp": False, "_sip._tcp": False, "_sips._tcp": True}
MOST_TARGETS = 8
# Places that the overflow keeps among them.
_FOR_OVERFLOW = 2
OWN, OVERFLOW = 10, 20


@dataclass(frozen=True, slots=True)
class Record:
    """One record, `data` as dig shows it; names end with a dot."""

    name: str
    ttl: int
    type: str  # SOA | NS | A | AAAA | SRV
    data: str

    def __str__(self) -> str:
        """A line of dig's answer section, and of a zone file."""
        return f"{self.name} {self.ttl} IN {self.type} {self.data}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for all names. `name_servers`: host, and its address where it lies in our zones."""

    zone: str
    device_zone: str
    name_servers: tuple[tuple[str, str | None], ...]
    ttl_s: int


@dataclass(frozen=True, slots=True)
class MediaNode:
    """An enabled media node. `why`: it takes no calls now, None: it does; `share`: 0 to 1, what of its weight holds."""

    name: str
    cluster: str
    address: str
    port: int
    weight: int
    why: str | None = None
    share: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class EdgeNode:
    """An enabled edge, as phones are told of it. `tls_port` None: no TLS."""

    name: str
    group: str
    address: str
    port: int
    tls_port: int | None
    weight: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where an account is served: service -> cluster and overflow; `group` None: every edge."""

    account: str
    group: str | None
    services: Mapping[str, tuple[str, str | None]]


@dataclass(frozen=True, slots=True)
class Nodes:
    """All nodes that names lead to, by cluster and by device group (None: all edges)."""

    media: Mapping[str, tuple[MediaNode, ...]] = field(default_factory=dict)
    edges: Mapping[str | None, tuple[EdgeNode, ...]] = field(default_factory=dict)


def nodes(media: Iterable[MediaNode], edges: Sequence[EdgeNode]) -> Nodes:
    """Nodes by what they belong to."""
    clusters: dict[str, tuple[MediaNode, ...]] = {}
    for node in media:
        clusters[node.cluster] = (*clusters.get(node.cluster, ()), node)
    groups: dict[str | None, tuple[EdgeNode, ...]] = {None: tuple(edges)}
    for edge in edges:
        groups[edge.group] = (*groups.get(edge.group, ()), edge)
    return Nodes(clusters, groups)


def _order(account: str, weight: int, name: str) -> tuple[int, str]:
    """The heaviest first; among equals each account has an order of its own, so that none of many goes without calls.

    256 orders, by the first byte of the account's MD5: dns.records lists them once for all accounts.
    """
    lot = hashlib.md5(account.encode(), usedforsecurity=False).hexdigest()[:2]
    return -weight, hashlib.md5((lot + name).encode(), usedforsecurity=False).hexdigest()


def _tier(account: str, cluster: Sequence[MediaNode], *, live: bool) -> list[tuple[int, MediaNode]]:
    """Nodes of a cluster with their weights, in order. If none takes calls, all: silence of agents empties no name."""
    takers = [node for node in cluster if live and node.why is None]
    weighed = (
        # As numeric rounds in SQL.
        [(max(1, int((node.weight * node.share).to_integral_value(ROUND_HALF_UP))), node) for node in takers]
        if takers
        else [(node.weight, node) for node in cluster]
    )
    return sorted(weighed, key=lambda one: _order(account, one[0], one[1].name))


def forwarding(
    place: Place, service: str, known: Nodes, settings: Settings, *, live: bool = True
) -> tuple[Record, ...]:
    """SRV records of a forwarding name, at most 8. `live` False: as zone transfers have it, without live conditions."""
    cluster, overflow = place.services[service]
    second = _tier(place.account, known.media.get(overflow, ()) if overflow else (), live=live)
    room = MOST_TARGETS - min(_FOR_OVERFLOW, len(second))
    first = _tier(place.account, known.media.get(cluster, ()), live=live)[:room]
    name = f"_sip._tcp.{service}.{place.account}.{settings.zone}."
    chosen = [(OWN, *one) for one in first] + [(OVERFLOW, *one) for one in second]
    return tuple(
        Record(
            name,
            settings.ttl_s,
            "SRV",
            f"{priority} {weight} {node.port} {node.name}.{node.cluster}.nodes.{settings.zone}.",
        )
        for priority, weight, node in chosen[:MOST_TARGETS]
    )


def device(place: Place, transport: str, known: Nodes, settings: Settings) -> tuple[Record, ...]:
    """SRV records of a device name over a transport (a key of TRANSPORTS), at most 8."""
    secure = TRANSPORTS[transport]
    edges = [edge for edge in known.edges.get(place.group, ()) if not secure or edge.tls_port is not None]
    edges.sort(key=lambda edge: _order(place.account, edge.weight, edge.name))
    name = f"{transport}.{place.account}.{settings.device_zone}."
    return tuple(
        Record(
            name,
            settings.ttl_s,
            "SRV",
            f"{OWN} {edge.weight} {edge.tls_port if secure else edge.port} "
            f"{edge.name}.edges.{settings.device_zone}.",
        )
        for edge in edges[:MOST_TARGETS]
    )


def of_account(
    place: Place, known: Nodes, settings: Settings, *, live: bool = True
) -> Iterator[tuple[str, tuple[Record, ...]]]:
    """Every name of an account, with what stands there."""
    for service in SERVICES:
        name = f"_sip._tcp.{service}.{place.account}.{settings.zone}."
        yield name, forwarding(place, service, known, settings, live=live)
    for transport in TRANSPORTS:
        yield (
            f"{transport}.{place.account}.{settings.device_zone}.",
            device(place, transport, known, settings),
        )


def _address(name: str, ttl: int, address: str) -> Record:
    return Record(name, ttl, "AAAA" if ":" in address else "A", address)


def addresses(known: Nodes, settings: Settings) -> Iterator[Record]:
    """Address records of the targets."""
    for cluster in known.media.values():
        for node in cluster:
            yield _address(f"{node.name}.{node.cluster}.nodes.{settings.zone}.", settings.ttl_s, node.address)
    for edge in known.edges.get(None, ()):
        yield _address(f"{edge.name}.edges.{settings.device_zone}.", settings.ttl_s, edge.address)


def of_zone(zone: str, settings: Settings) -> tuple[Record, ...]:
    """NS records of a zone."""
    return tuple(Record(f"{zone}.", settings.ttl_s, "NS", f"{host}.") for host, _ in settings.name_servers)
