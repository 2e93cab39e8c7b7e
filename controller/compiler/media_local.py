"""Files of one media node that say where it is: rendered once, when the node is installed."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from controller.compiler.media_templates import render


@dataclass(frozen=True, slots=True)
class Local:
    """Where a media node listens and what it is called from outside.

    `external_address` and `local_net` (CIDR) are for a node behind a 1:1 NAT, else None.
    """

    listen_address: str
    manager_secret: str
    sip_port: int = 5060
    external_address: str | None = None
    local_net: str | None = None
    rtp_first: int = 10000
    rtp_last: int = 20000


def local_files(local: Local) -> dict[str, str]:
    """Path below /etc/asterisk/dialplane-local/ -> content. `manager.conf` holds a secret: mode 0640, owner asterisk.

    TemplateError when a value cannot be written where it goes.
    """
    values = asdict(local)
    return {name: render(f"local-{name}.j2", values) for name in ("pjsip.conf", "rtp.conf", "manager.conf")}
