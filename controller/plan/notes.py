"""What a plan should say although it changes nothing: rows that cannot work yet."""

from __future__ import annotations

from controller.desired.model import System


def notes(system: System) -> tuple[str, ...]:
    """Sentences about shared rows that leave somebody without service."""
    found = []
    media = {node.group for node in system.nodes if node.kind == "media"}
    if not any(node.kind == "edge" for node in system.nodes):
        found.append("there is no edge: no phone can register (table nodes)")
    found += [
        f"cluster {cluster} has no media node: its accounts can only call straight (table nodes)"
        for cluster in system.clusters
        if cluster not in media
    ]
    with_emergency = {number.country for number in system.emergency}
    found += [
        f"country {country} has accounts and no emergency number (table emergency_numbers)"
        for country in system.countries
        if country not in with_emergency
    ]
    found += [
        f"emergency number {number.number} of {number.country} has no trunk to leave by (table emergency_routes)"
        for number in system.emergency
        if not number.trunks
    ]
    return tuple(found)
