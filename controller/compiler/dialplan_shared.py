"""What all accounts share on a media node: snapshot -> text a person can read -> entries, and files. Pure.

Countries, shared routes and trunks, emergency numbers; the SIP endpoints of the edges.
"""

from __future__ import annotations

from typing import Any

from controller.compiler.dialplan_text import parse_dialplan, routes, trunk_caller_ids
from controller.compiler.media_templates import render
from controller.compiler.numbering import numbering
from controller.desired.model import Node, System, Trunk
from controller.escape import Raw, name


def render_shared(system: System) -> str:
    """The dialplan that all accounts share, as text."""
    trunks = {one.name: one for one in system.trunks}
    return render(
        "shared.conf.j2",
        {
            "zone": system.zone,
            "edges": Raw("&".join(name(endpoint) for endpoint in _edges(system))),
            "countries": [_country(country, system, trunks) for country in sorted(system.countries)],
            "routes": routes((one for one in system.routes), trunks),
            "trunks": trunk_caller_ids(system.trunks),
        },
    )


def _country(country: str, system: System, trunks: dict[str, Trunk]) -> dict[str, Any]:
    plan = numbering(country)
    emergency = [one for one in system.emergency if one.country == country]
    taken = {one.number for one in emergency}
    return {
        "name": country,
        "code": plan.code,
        "rules": [
            {"pattern": Raw(rule.pattern), "prefix": Raw(rule.prefix), "strip": rule.strip}
            for rule in plan.rules
        ],
        "shorts": [short for short in plan.shorts if short not in taken],
        "classes": [(Raw(pattern), kind) for pattern, kind in plan.classes],
        "emergency": [
            (one.number, Raw("|".join(f"{name(trunk)}*1" for trunk in one.trunks if _usable(trunk, trunks))))
            for one in emergency
        ],
    }


def _usable(trunk: str, trunks: dict[str, Trunk]) -> bool:
    return trunk in trunks and trunks[trunk].enabled


def shared_dialplan(system: System) -> dict[str, str]:
    """Dialplan entries that every media node holds: countries, shared routes, emergency numbers."""
    return parse_dialplan(render_shared(system), "templates/asterisk/shared.conf.j2")


def _edges(system: System) -> dict[str, Node]:
    """Endpoint -> edge; the first by name is `edge`."""
    edges = sorted((node for node in system.nodes if node.kind == "edge"), key=lambda node: node.name)
    return {f"edge-{edge.name}" if place else "edge": edge for place, edge in enumerate(edges)}


def media_files(system: System) -> dict[str, str]:
    """Path below /etc/asterisk/dialplane.d/ -> content."""
    edges = _edges(system)
    values = {
        "zone": system.zone,
        "edges": [
            {
                "endpoint": endpoint,
                "address": edge.address,
                "host": Raw(f"[{name(edge.address)}]") if ":" in edge.address else name(edge.address),
                "port": edge.sip_port,
            }
            for endpoint, edge in edges.items()
        ],
    }
    return {"pjsip-edges.conf": render("pjsip-edges.conf.j2", values)}
