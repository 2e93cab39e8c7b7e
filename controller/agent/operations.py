"""What to do so that a server holds what is meant: frozen operations, decided without touching anything.

The order inside one extension (`extension_operations`): every line from the last to the first, then what is left over.
A call that enters finds line 1 of the old or of the new value, never none; once it finds the new line 1, all later
lines are new. `DialplanExtensionRemove` without a priority takes a whole extension away in one go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controller.agent.state import Wanted
from controller.agent.values import Line, lines, pairs, split_context
from controller.errors import UnsafeValue

Params = tuple[str | int, ...]


class Rpc(NamedTuple):
    """One JSON-RPC request for a key; an answer with `fine_code` is as good as success."""

    table: str
    key: str
    method: str
    params: Params
    fine_code: int | None = None


class Ami(NamedTuple):
    """One AMI action for a key; `may_fail`: what it removes may be gone already."""

    table: str
    key: str
    action: str
    fields: tuple[tuple[str, str], ...]
    may_fail: bool = False


# File names below /etc/asterisk/dialplane.d, up to the first dash or dot: the module that reads them.
RELOADS: dict[str, str] = {
    "acl": "acl",
    "ccss": "ccss",
    "confbridge": "app_confbridge.so",
    "extensions": "pbx_config.so",
    "features": "features",
    "followme": "app_followme.so",
    "indications": "indications",
    "logger": "logger",
    "manager": "manager",
    "musiconhold": "res_musiconhold.so",
    "parking": "res_parking.so",
    "pjsip": "res_pjsip.so",
    "queues": "app_queue.so",
    "rtp": "rtp",
    "voicemail": "app_voicemail.so",
}


# Families of AstDB that are dialplane's own: a key there that no entry names was put there by hand.
FLAG_FAMILIES = ("away", "dnd", "override")


def edge_operations(wanted: Iterable[Wanted]) -> Iterator[Rpc]:
    """Requests that make Kamailio hold `wanted`."""
    for table, key, value in wanted:
        if table == "registration":
            yield Rpc(table, key, "uac.reg_remove", (key,), fine_code=404)
            if value is not None:
                yield Rpc(table, key, "uac.reg_add", registration_params(key, value))
        elif value is None:
            yield Rpc(table, key, "htable.delete", (table, key), fine_code=404)
        else:
            yield Rpc(table, key, "htable.sets", (table, key, value))


def registration_params(trunk: str, value: str) -> Params:
    """Parameters of `uac.reg_add`; a dot stands for an empty one. The Contact's user part is the trunk's name."""
    fields = pairs(value)
    user, host = fields.get("user", ""), fields.get("host", "")
    if not (user and host):
        raise UnsafeValue(f"registration {trunk}: needs user and host")
    proxy = f"sip:{host}:{fields.get('port', '5060')};transport={fields.get('transport', 'udp')}"
    return (
        *(trunk, user, host, user, host, fields.get("realm", "."), user, ".", fields.get("ha1", "."), proxy),
        *(int(fields.get("expires", "600")), 0, 0, ".", ".", "."),
    )


def extension_operations(key: str, meant: str | None, found: str | None) -> Iterator[Ami]:
    """Actions that turn an extension from what was found into what is meant."""
    context, extension = split_context(key)
    place = (("Context", context), ("Extension", extension))
    if meant is None:
        if found is not None:
            yield Ami("dialplan", key, "DialplanExtensionRemove", place, may_fail=True)
        return
    there = {line.priority: line for line in lines(found)} if found is not None else {}
    new = {line.priority: line for line in lines(meant)}
    for line in sorted(new.values(), key=_order, reverse=True):
        if there.get(line.priority) != line:
            yield Ami(
                "dialplan",
                key,
                "DialplanExtensionAdd",
                (
                    *place,
                    ("Priority", line.priority),
                    ("Application", line.app),
                    *((("ApplicationData", line.data),) if line.data else ()),
                    ("Replace", "yes"),
                ),
            )
    for line in sorted(there.values(), key=_order, reverse=True):
        if line.priority not in new:
            yield Ami(
                "dialplan",
                key,
                "DialplanExtensionRemove",
                (*place, ("Priority", line.priority)),
                may_fail=True,
            )


def _order(line: Line) -> int:
    return 0 if line.priority == "hint" else int(line.priority)


def flag_operation(key: str, value: str | None) -> Ami:
    """The action that sets or removes a flag of AstDB."""
    family, slash, name = key.partition("/")
    if not (family and slash and name):
        raise UnsafeValue(f"flag {key!r}: not family/key")
    place = (("Family", family), ("Key", name))
    if value is None:
        return Ami("flag", key, "DBDel", place, may_fail=True)
    return Ami("flag", key, "DBPut", (*place, ("Val", value)))


def module_of(path: str) -> str:
    """The module that reads a file. UnsafeValue: none does, so nothing would tell Asterisk of the change."""
    name = path.rpartition("/")[2]
    stem = name.partition("-")[0].partition(".")[0]
    if stem not in RELOADS:
        known = ", ".join(sorted(RELOADS))
        raise UnsafeValue(f"file {path!r}: no module reads it; its name must begin with one of {known}")
    return RELOADS[stem]
