"""A node's own files: where it listens, its secrets, its empty registration store. Made once, at installation.

`dialplane agent install edge --address 198.51.100.1` writes below /etc/kamailio and /var/lib/kamailio;
`dialplane agent install media --address 198.51.100.21` below /etc/asterisk; `dialplane agent install names ...` below
/etc/powerdns. Safe to run again: secrets and registrations stay. Needs no database. With `--base` the fixed files of
`kamailio/` or `asterisk/` come along.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import jinja2
import yaml

from controller.compiler.media_local import Local, local_files
from controller.entries import server_id
from controller.errors import InputError
from controller.fraud.ranges import table
from controller.messages.outbox import LATER
from controller.schema.database import VARIABLE, without_password
from controller.share import fixed_files, templates_dir

# Prefixes in a line of the script, for people to read.
_CLASSES_A_LINE = 40


def edge_files(variables: dict[str, Any]) -> dict[str, str]:
    """File name -> content of an edge's rendered files. `variables` override templates/kamailio/defaults.yaml.

    InputError names variables that do not exist.
    """
    folder = templates_dir() / "kamailio"
    known: dict[str, Any] = yaml.safe_load((folder / "defaults.yaml").read_text())
    if unknown := sorted(set(variables) - set(known)):
        raise InputError(f"no such variable: {', '.join(unknown)}; there are: {', '.join(known)}")
    values = known | variables
    peers, own = values["peers"] or {}, server_id(values["node"])
    homes = {server_id(name): address for name, address in peers.items()} if isinstance(peers, dict) else {}
    if len(homes) != len(peers) or own in homes:
        raise InputError(
            f"peers: {peers}: must be the other edges, name: address:port, and not {values['node']}"
        )
    values |= {"server_id": own, "homes": homes}
    return _rendered(folder, ("local.cfg", "peers.cfg", "tls.cfg", "default"), values) | {
        "classes.cfg": _classes()
    }


def _classes() -> str:
    """What numbers are by their first digits, as the edge reads it at its start (kamailio/blocks.cfg, CLASS)."""
    said = [f"{prefix}={one}" for prefix, one in sorted(table().items())]
    lines = [
        f'    $var(said) = "{",".join(said[at : at + _CLASSES_A_LINE])}"; route(CLASSES_SAID);'
        for at in range(0, len(said), _CLASSES_A_LINE)
    ]
    head = (
        "# Written at installation from the package phonenumbers: three digits, what numbers are that begin so,\n"
        "# and how long prefixes are that say more; and those.\n"
    )
    return head + "route[CLASSES] {\n" + "\n".join(lines) + "\n}\n"


def names_files(values: dict[str, Any]) -> dict[str, str]:
    """File name -> content of a name server's files; `primary` empty: it is on the rows, else it transfers zones."""
    files = ("pdns.conf", "named.conf") if values["primary"] else ("pdns.conf",)
    return _rendered(templates_dir() / "pdns", files, values)


def _rendered(folder: Path, files: Sequence[str], values: dict[str, Any]) -> dict[str, str]:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  configuration, not HTML: the values are the operator's own
    )
    return {name: environment.get_template(f"{name}.j2").render(values) for name in files}


def _write(path: Path, content: str, mode: int) -> None:
    """Writes beside and renames: a server that starts meanwhile reads the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(content)
        os.fchmod(stream.fileno(), mode)
    new.replace(path)


def kept_secret(path: Path) -> str:
    """The secret in a file of mode 0600; made when there is none."""
    if not path.exists():
        _write(path, secrets.token_hex(24), 0o600)
    return path.read_text().strip()


def base_files(server: str, folder: Path) -> list[Path]:
    """Copy the fixed configuration files of `kamailio` or `asterisk` into `folder`; those that were written."""
    written = []
    for source in fixed_files(server):
        target = folder / source.name
        if not target.exists() or target.read_bytes() != source.read_bytes():
            _write(target, source.read_text(), 0o644)
            written.append(target)
    return written


_base_option = click.option(
    "--base", is_flag=True, help="Copy the fixed configuration files too (packaged servers)."
)


@click.group()
def main() -> None:
    """Make the files of this machine's edge, media node or name server, at installation. Safe to run again."""


@main.command()
@_base_option
@click.option("--address", required=True, help="Where it listens for SIP, and what it tells phones.")
@click.option("--variables", type=click.Path(exists=True, path_type=Path), help="YAML over defaults.yaml.")
@click.option(
    "--configuration", type=click.Path(path_type=Path), default=Path("/etc/kamailio"), show_default=True
)
@click.option(
    "--service-file",
    type=click.Path(path_type=Path),
    default=Path("/etc/default/kamailio"),
    show_default=True,
    help="What Debian's unit starts Kamailio with; written with --base.",
)
@click.option("--set", "more", multiple=True, metavar="NAME=YAML", help="One variable.")
def edge(
    base: bool,
    address: str,
    variables: Path | None,
    configuration: Path,
    service_file: Path,
    more: tuple[str, ...],
) -> None:
    """Files of an edge: local.cfg, tls.cfg, the memory Kamailio starts with, the stores of registrations and messages.

    \b
    Example:
      dialplane agent install edge --address 198.51.100.1 --base
    """
    if base:
        base_files("kamailio", configuration)
    values: dict[str, Any] = yaml.safe_load(variables.read_text()) or {} if variables else {}
    values |= {name: yaml.safe_load(text) for name, _, text in (one.partition("=") for one in more)}
    transports = {"udp": 5060, "tcp": 5060} | ({"tls": 5061} if values.get("tls") else {})
    own = {
        "listen": [
            {"transport": kind, "address": address, "port": port, "advertise": None}
            for kind, port in transports.items()
        ],
        "advertised": f"{address}:5060",
    }
    values = own | values
    files = edge_files(values)
    service = files.pop("default")
    for name, content in files.items():
        _write(configuration / name, content, 0o644)
    if base:
        _write(service_file, service, 0o644)
    for variable, script in (("location_db", "location.sql"), ("messages_db", "messages.sql")):
        store = Path(values.get(variable, f"/var/lib/kamailio/{Path(script).stem}.db"))
        store.parent.mkdir(parents=True, exist_ok=True)
        with sqlite3.connect(store) as connection:
            connection.executescript((configuration / script).read_text())
            known = {column[1] for column in connection.execute("PRAGMA table_info(message)")}
            for name in (one for one in LATER if known and one not in known):
                # A file of an edge that was installed before its messages said so.
                connection.execute(f"ALTER TABLE message ADD COLUMN {name} TEXT NOT NULL DEFAULT ''")
        connection.close()
        store.chmod(0o660)  # Kamailio, of the same group, writes it


@main.command()
@_base_option
@click.option("--address", required=True, help="Where it listens for SIP of the edges.")
@click.option("--external-address", help="What others see, behind 1:1 NAT.")
@click.option("--local-net", help="CIDR that is reached without that NAT.")
@click.option(
    "--configuration", type=click.Path(path_type=Path), default=Path("/etc/asterisk"), show_default=True
)
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path),
    default=Path("/var/lib/dialplane/ami.secret"),
    show_default=True,
    help="The agent's AMI secret; made when missing.",
)
def media(
    base: bool,
    address: str,
    external_address: str | None,
    local_net: str | None,
    configuration: Path,
    secret_file: Path,
) -> None:
    """Files of a media node: dialplane-local/, the AMI secret.

    \b
    Example:
      dialplane agent install media --address 198.51.100.21 --base
    """
    if base:
        base_files("asterisk", configuration)
    local = Local(address, kept_secret(secret_file), external_address=external_address, local_net=local_net)
    for name, content in local_files(local).items():
        _write(configuration / "dialplane-local" / name, content, 0o640)


def _host(server: str) -> str:
    """The address in `address`, `address:port` or `[IPv6]:port`."""
    if server.startswith("["):
        return server[1:].partition("]")[0]
    return server.partition(":")[0] if server.count(":") == 1 else server


@main.command()
@click.option("--address", required=True, help="Where it listens; several joined with commas.")
@click.option("--port", type=int, default=53, show_default=True, help="Where it listens, UDP and TCP.")
@click.option(
    "--database",
    metavar="URL",
    envvar=VARIABLE,
    help="PostgreSQL with the rows, as a member of dialplane_dns; the password stands in PGPASSFILE.",
)
@click.option("--secondary", "secondaries", multiple=True, help="Address that may transfer the zones.")
@click.option("--primary", help="Instead of a database: ADDRESS[:PORT] of the server whose zones it keeps.")
@click.option(
    "--zone", default="dialplane.internal", show_default=True, help="With --primary: the setting zone."
)
@click.option("--device-zone", help="With --primary: the setting device_zone.  [default: phones.<zone>]")
@click.option("--threads", type=click.IntRange(1, 64), default=4, show_default=True, help="Connections held.")
@click.option(
    "--configuration", type=click.Path(path_type=Path), default=Path("/etc/powerdns"), show_default=True
)
@click.option(
    "--zones",
    type=click.Path(path_type=Path),
    default=Path("/var/lib/powerdns"),
    show_default=True,
    help="Where transferred zones are kept.",
)
@click.option(
    "--purged",
    is_flag=True,
    help="With --database: keep answers between questions; `dialplane agent names` beside it takes them back.",
)
@click.option("--socket-dir", default="/run/pdns", show_default=True, help="Where pdns_control finds it.")
def names(
    address: str,
    port: int,
    database: str | None,
    secondaries: tuple[str, ...],
    primary: str | None,
    zone: str,
    device_zone: str | None,
    threads: int,
    configuration: Path,
    zones: Path,
    purged: bool,
    socket_dir: str,
) -> None:
    """Files of a name server (PowerDNS): pdns.conf, and named.conf where it keeps zones of another.

    \b
    Examples:
      dialplane agent install names --address 198.51.100.51 --database postgresql://dns@db.example.net/dialplane
      dialplane agent install names --address 198.51.100.52 --primary 198.51.100.51
    """
    if not primary and not database:
        raise InputError("name the rows with --database, or the server whose zones are kept with --primary")
    files = names_files(
        {
            "address": address,
            "port": port,
            "database": "" if primary else without_password(database or ""),
            "secondaries": secondaries,
            "primary": primary or "",
            "primary_host": _host(primary or ""),
            "zone": zone,
            "device_zone": device_zone or f"phones.{zone}",
            "threads": threads,
            "configuration": configuration,
            "zones": zones,
            "purged": purged,
            "socket_dir": socket_dir,
        }
    )
    for name, content in files.items():
        _write(configuration / name, content, 0o644)
