"""Settings of an agent: `/etc/dialplane/agent.ini` (section `agent`), overridden by the environment.

| ini              | environment            | default |
|------------------|------------------------|---------|
| node             | DIALPLANE_NODE         | name of the host |
| kind             | DIALPLANE_KIND         | as the database says; before it is reached: what is installed here |
| database         | DIALPLANE_DATABASE     | (libpq's own variables) |
| state            | DIALPLANE_STATE        | /var/lib/dialplane |
| server_group     | DIALPLANE_SERVER_GROUP | kamailio or asterisk, if there is such a group |
| rpc_socket       | DIALPLANE_RPC_SOCKET   | /run/dialplane/kamailio.sock |
| ami_host         | DIALPLANE_AMI_HOST     | 127.0.0.1 |
| ami_port         | DIALPLANE_AMI_PORT     | 5038 |
| ami_user         | DIALPLANE_AMI_USER     | agent |
| ami_secret_file  | DIALPLANE_AMI_SECRET_FILE | /var/lib/dialplane/ami.secret |
| files            | DIALPLANE_FILES        | /etc/asterisk/dialplane.d |
| spool            | DIALPLANE_SPOOL        | /var/spool/dialplane/calls |
| recordings       | DIALPLANE_RECORDINGS   | /var/spool/asterisk/monitor |
| location         | DIALPLANE_LOCATION     | /var/lib/kamailio/location.db |
| messages         | DIALPLANE_MESSAGES     | /var/lib/kamailio/messages.db |
| base_files       | DIALPLANE_BASE_FILES   | /etc/kamailio or /etc/asterisk (`:` between several) |
| verify_interval_s| DIALPLANE_VERIFY_INTERVAL_S | 600 |
| verify_pause_ms  | DIALPLANE_VERIFY_PAUSE_MS   | 5 |

Passwords stand in files: the AMI secret in `ami_secret_file`, the database's in libpq's password file (PGPASSFILE).
"""

from __future__ import annotations

import configparser
import grp
import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.entries import Kind
from controller.errors import InputError

INI = Path("/etc/dialplane/agent.ini")


@dataclass(frozen=True, slots=True)
class Settings:
    """What one agent needs to know."""

    node: str
    kind: Kind
    database: str = ""
    state: Path = Path("/var/lib/dialplane")
    server_group: str | None = None
    rpc_socket: Path = Path("/run/dialplane/kamailio.sock")
    ami_host: str = "127.0.0.1"
    ami_port: int = 5038
    ami_user: str = "agent"
    ami_secret_file: Path = Path("/var/lib/dialplane/ami.secret")
    files: Path = Path("/etc/asterisk/dialplane.d")
    spool: Path = Path("/var/spool/dialplane/calls")
    recordings: Path = Path("/var/spool/asterisk/monitor")
    location: Path = Path("/var/lib/kamailio/location.db")
    messages: Path = Path("/var/lib/kamailio/messages.db")
    base_files: tuple[Path, ...] = ()
    verify_interval_s: float = 600
    verify_pause_ms: float = 5

    @property
    def state_file(self) -> Path:
        """The SQLite file."""
        return self.state / "state.db"


def from_environment(environment: Mapping[str, str] = os.environ, ini: Path = INI) -> Settings:
    """Settings of this process. InputError names every value that cannot be used."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(ini)
        section: Mapping[str, str] = parser["agent"] if parser.has_section("agent") else {}
    except configparser.Error as error:
        raise InputError(f"{ini}: {error}") from None

    def text(name: str, otherwise: str) -> str:
        return environment.get(f"DIALPLANE_{name.upper()}") or section.get(name) or otherwise

    problems: list[str] = []

    def number(name: str, otherwise: float) -> float:
        given = text(name, str(otherwise))
        try:
            value = float(given)
        except ValueError:
            value = -1
        if value < 0:
            problems.append(f"{name} (DIALPLANE_{name.upper()}): {given!r} is no number of 0 or more")
        return value

    kind_text = text("kind", "media" if shutil.which("asterisk") else "edge")
    if kind_text not in list(Kind):
        problems.append(f"kind (DIALPLANE_KIND): {kind_text!r} is neither edge nor media")
    kind = Kind(kind_text) if kind_text in list(Kind) else Kind.EDGE
    server = "kamailio" if kind is Kind.EDGE else "asterisk"
    group = text("server_group", server)
    if group == server and not _exists(group):
        group = ""
    elif group and not _exists(group):
        problems.append(f"server_group (DIALPLANE_SERVER_GROUP): no Unix group {group!r} on this machine")
    state = Path(text("state", "/var/lib/dialplane"))
    settings = Settings(
        node=text("node", socket.gethostname().partition(".")[0]),
        kind=kind,
        database=text("database", ""),
        state=state,
        server_group=group or None,
        rpc_socket=Path(text("rpc_socket", "/run/dialplane/kamailio.sock")),
        ami_host=text("ami_host", "127.0.0.1"),
        ami_port=int(number("ami_port", 5038)),
        ami_user=text("ami_user", "agent"),
        ami_secret_file=Path(text("ami_secret_file", str(state / "ami.secret"))),
        files=Path(text("files", "/etc/asterisk/dialplane.d")),
        spool=Path(text("spool", "/var/spool/dialplane/calls")),
        recordings=Path(text("recordings", "/var/spool/asterisk/monitor")),
        location=Path(text("location", "/var/lib/kamailio/location.db")),
        messages=Path(text("messages", "/var/lib/kamailio/messages.db")),
        base_files=tuple(Path(one) for one in text("base_files", f"/etc/{server}").split(":") if one),
        verify_interval_s=number("verify_interval_s", 600),
        verify_pause_ms=number("verify_pause_ms", 5),
    )
    if problems:
        raise InputError("agent settings: " + "; ".join(problems))
    return settings


def _exists(group: str) -> bool:
    try:
        grp.getgrnam(group)
    except KeyError:
        return False
    return True
