"""What an edge must hold: entries of the htables. Formats: ARCHITECTURE.md, "Tables of a node"."""

from __future__ import annotations

from collections.abc import Iterator

from phonenumbers import PhoneMetadata

from controller.desired.model import Account, Device, Step, System, Trunk
from controller.entries import EVERYWHERE, Address, Entry

# An extension whose every next step the edge can do by itself needs no media node.
_STRAIGHT = (
    ("on_busy", Step("busy")),
    ("on_no_answer", Step("hangup")),
    ("on_unregistered", Step("hangup")),
)

# Kinds of extensions that are another service than voice.
SERVICE_OF = {
    "voicemail": "voicemail",
    "voicemail_main": "voicemail",
    "conference": "conference",
    "queue": "queue",
    "supervise": "queue",
    "application": "app",
}


def pairs(**values: str | int | None) -> str:
    """`name=value` pairs joined with `;`, in the order given; absent (None, empty) values are left out."""
    return ";".join(f"{name}={value}" for name, value in values.items() if value not in (None, ""))


def account_entries(account: Account) -> Iterator[Entry]:
    """Everything an edge holds for one account."""
    name = account.name

    def entry(table: str, key: str, value: str) -> Entry:
        return Entry(Address("edge", EVERYWHERE, table, key), value, name)

    yield entry(
        "account",
        name,
        pairs(
            cluster=account.cluster,
            status=account.status,
            country=account.country,
            limit=account.call_limit,
            ext=max((len(one.extension) for one in account.extensions), default=None),
            group=account.device_group,
            sorry=int(account.overload_announcement) or None,
            text=int(account.outside_messages) or None,
            was=next((one.cluster for one in account.beside if one.tied), None),
            **{one.name: f"{one.cluster}/{one.overflow or ''}" for one in account.services},
        ),
    )
    yield from (entry("service", f"{name}/{dialled}", one) for dialled, one in _services(account).items())
    yield from (entry("domain", domain, name) for domain in account.domains)
    enabled_users = {user.name for user in account.users if user.enabled}
    lamps = _lamps(account, enabled_users)
    watched = set(lamps.values())
    for dialled, whose in lamps.items():
        for domain in account.domains:
            yield entry("lamp", f"{dialled}@{domain}", f"{name}/{whose}")
    # Their calls pass a media node, which can record them.
    recorded = {user.name for user in account.users if user.record != "never"}
    devices_of: dict[str, list[Device]] = {}
    for device in account.devices:
        if not device.enabled or (device.user is not None and device.user not in enabled_users):
            continue
        if device.user is not None:
            devices_of.setdefault(device.user, []).append(device)
        marks = (";lamp=1" if device.user in watched else "") + (";tape=1" if device.user in recorded else "")
        yield entry("credential", f"{device.name}@{device.domain}", _credential(name, device) + marks)
    for aor, joined in _shared(account, devices_of).items():
        yield entry("shared", aor, ",".join(joined))
    for called, lead in _leads(account, devices_of).items():
        yield entry("lead", f"{name}/{called}", lead)
    for number in account.numbers:
        yield entry("number", number.e164, name)
    for trunk in account.trunks:
        yield from trunk_entries(trunk, account.country)


def _credential(account: str, device: Device) -> str:
    return (
        f"account={account};"
        + (f"user={device.user};" if device.user else "")
        + f"md5={device.ha1_md5};sha256={device.ha1_sha256}"
        + (f";limit={device.call_limit}" if device.call_limit is not None else "")
    )


def _lamps(account: Account, enabled_users: set[str]) -> dict[str, str]:
    """Whose state phones of the account may watch, by extension: a user's, or a parking slot's (`*701`)."""
    if not account.lamps:
        return {}
    lamps = {
        one.extension: one.user
        for one in account.extensions
        if one.kind == "user" and one.user is not None and one.user in enabled_users
    }
    # No user's name begins with a star.
    return lamps | {slot: f"*{slot}" for lot in account.parking_lots for slot in lot.numbers}


def _services(account: Account) -> dict[str, str]:
    """What leads to another service than voice: extensions, and numbers that lead to these."""
    found = {one.extension: SERVICE_OF[one.kind] for one in account.extensions if one.kind in SERVICE_OF}
    numbers = {one.e164: found[one.extension] for one in account.numbers if one.extension in found}
    return found | numbers


def _leads(account: Account, devices_of: dict[str, list[Device]]) -> dict[str, str]:
    """What extensions mean, and users and groups by name where no device has it. Numbers lead to extensions: that is
    said by the dialplan."""

    def user(name: str, *, straight: bool = False) -> str:
        devices = "+".join(one.aor for one in devices_of.get(name, ()))
        return (
            f"user={name}" + (f";device={devices}" if devices else "") + (";straight=1" if straight else "")
        )

    found = {one.name: f"group={one.name}" for one in account.groups}
    found |= {one.name: user(one.name) for one in account.users if one.enabled}
    for device in account.devices:
        found.pop(device.name, None)
    forwarded = {forwarding.user for forwarding in account.forwardings}
    # A call that may be picked up, or parked, is at a media node.
    straight = not any(extension.kind in ("pickup", "park") for extension in account.extensions)
    for one in account.extensions:
        if one.texts:
            found[one.extension] = f"application={one.target}"
        elif one.kind == "group" and one.target:
            found[one.extension] = f"group={one.target}"
        elif one.kind == "user" and one.user:
            alone = straight and one.user not in forwarded and len(devices_of.get(one.user, ())) == 1
            found[one.extension] = user(
                one.user, straight=alone and all(getattr(one, column) == step for column, step in _STRAIGHT)
            )
        else:
            found.pop(one.extension, None)
    return found


def _shared(account: Account, devices_of: dict[str, list[Device]]) -> dict[str, list[str]]:
    """Device -> `group/number` for each number of the groups it joins by registering, `group/` if there is none."""
    joining = [group for group in account.groups if any(member.joins for member in group.members)]
    if not joining:
        return {}
    enabled = {device.aor for devices in devices_of.values() for device in devices}
    enabled |= {device.aor for device in account.devices if device.enabled and device.user is None}
    found: dict[str, list[str]] = {}
    for group in joining:
        leads = [
            one.extension for one in account.extensions if (one.kind, one.target) == ("group", group.name)
        ]
        numbers = [*(one.e164 for one in account.numbers if one.extension in leads), *leads]
        for member in group.members:
            aors = [one.aor for one in devices_of.get(member.user or "", ())] or {member.device} & enabled
            for aor in aors if member.joins else ():
                joined = found.setdefault(str(aor), [])
                joined += [f"{group.name}/{number}" for number in numbers or [""]]
    return {aor: list(dict.fromkeys(joined)) for aor, joined in found.items()}


def trunk_entries(trunk: Trunk, country: str | None) -> Iterator[Entry]:
    """A trunk: where it is, which addresses it calls from, its registration. Nothing when disabled.

    `country` is whose national numbers a trunk of format `national` writes.
    """
    if not trunk.enabled:
        return

    def entry(table: str, key: str, value: str) -> Entry:
        return Entry(Address("edge", EVERYWHERE, table, key), value, trunk.account)

    yield entry(
        "trunk",
        trunk.name,
        pairs(
            host=trunk.host,
            port=trunk.port,
            transport=trunk.transport,
            account=trunk.account,
            format=trunk.number_format,
            limit=trunk.call_limit,
            user=trunk.auth_user,
            realm=trunk.auth_realm,
            ha1=trunk.auth_ha1_md5,
            **(_national(country) if trunk.number_format == "national" and country else {}),
        ),
    )
    for address in trunk.addresses:
        yield entry("trunk_address", address, trunk.name)
    if trunk.register:
        yield entry(
            "registration",
            trunk.name,
            pairs(
                user=trunk.auth_user,
                realm=trunk.auth_realm,
                ha1=trunk.auth_ha1_md5,
                host=trunk.host,
                port=trunk.port,
                transport=trunk.transport,
                expires=300,
            ),
        )


def system_entries(system: System) -> Iterator[Entry]:
    """What every edge holds for all accounts."""

    def entry(table: str, key: str, value: str) -> Entry:
        return Entry(Address("edge", EVERYWHERE, table, key), value)

    for node in system.nodes:
        if node.kind == "media":
            yield entry("media_node", node.address, node.name)
        if node.kind == "edge":
            yield entry("edge_node", node.address, node.name)
    for cluster, over in system.overflows:
        yield entry("overflow", cluster, over)
    for number in system.emergency:
        yield entry("emergency", f"{number.country}:{number.number}", "1")
    for trunk in system.trunks:
        yield from trunk_entries(trunk, system.settings.get("country"))


def _national(country: str) -> dict[str, str]:
    """Calling code and the prefix before national numbers, as the edge's number formats want them."""
    metadata = PhoneMetadata.metadata_for_region(country)
    if metadata is None:
        return {}
    return {"code": str(metadata.country_code), "np": metadata.national_prefix or ""}
