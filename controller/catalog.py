"""The tables a node holds: one line per table, the only place that knows them all.

Key and value formats are written out in ARCHITECTURE.md, "Tables of a node".
"""

from __future__ import annotations

from typing import NamedTuple

from controller.entries import Kind, State


class Table(NamedTuple):
    """A table of one kind of node.

    `operation` is the live operation one changed entry costs, `cost` the same for people to read.
    """

    kind: Kind
    name: str
    state: State
    operation: str
    cost: str
    about: str


_E, _M, _C, _O = Kind.EDGE, Kind.MEDIA, State.CONFIGURATION, State.OPERATIONAL
_HTABLE = ("htable.sets / htable.delete", "1 item, calls kept")
_DIALPLAN = ("AMI DialplanExtensionAdd / Remove", "1 extension, calls kept")

TABLES: dict[tuple[str, str], Table] = {
    (table.kind.value, table.name): table
    for table in (
        Table(_E, "account", _C, *_HTABLE, "account: cluster, limits, country"),
        Table(_E, "domain", _C, *_HTABLE, "SIP domain: its account"),
        Table(_E, "credential", _C, *_HTABLE, "device: digest HA1, account, user, limit"),
        Table(_E, "shared", _C, *_HTABLE, "device: groups it joins by registering, and their numbers"),
        Table(_E, "lamp", _C, *_HTABLE, "extension that phones of the account may watch: its user"),
        Table(_E, "lead", _C, *_HTABLE, "extension, user or group of an account: whose devices it means"),
        Table(_E, "number", _C, *_HTABLE, "E.164 number: its account"),
        Table(
            _E,
            "service",
            _C,
            *_HTABLE,
            "extension or number of an account: the service it asks for, if not voice",
        ),
        Table(_E, "trunk", _C, *_HTABLE, "trunk: where it is, how to sign in, limits"),
        Table(_E, "trunk_address", _C, *_HTABLE, "source address: the trunk it belongs to"),
        Table(_E, "media_node", _C, *_HTABLE, "source address: the media node it belongs to"),
        Table(_E, "overflow", _C, *_HTABLE, "cluster: the one that takes over when it cannot"),
        Table(_E, "edge_node", _C, *_HTABLE, "source address: the edge it belongs to"),
        Table(_E, "emergency", _C, *_HTABLE, "emergency number of a country"),
        Table(
            _E,
            "registration",
            _C,
            "uac.reg_add / uac.reg_remove",
            "1 registration sent",
            "trunk registration",
        ),
        Table(_E, "target", _O, *_HTABLE, "cluster: the media nodes that take calls now"),
        Table(_E, "block", _O, *_HTABLE, "what may not call or be called"),
        Table(_E, "allow", _O, *_HTABLE, "what rules of fraud may not block"),
        Table(_E, "shed", _O, *_HTABLE, "overloaded cluster, and accounts above their share of it"),
        Table(_E, "dnd", _O, *_HTABLE, "user who does not want to be disturbed"),
        Table(_M, "dialplan", _C, *_DIALPLAN, "one extension of one context"),
        Table(_M, "mailbox", _C, "row in the node's SQLite file", "1 row, calls kept", "voicemail box"),
        Table(
            _M,
            "policy",
            _C,
            "row in the node's SQLite file",
            "1 row, calls kept",
            "what decides about calls of an account",
        ),
        Table(_M, "file", _C, "file and module reload", "1 reload, calls kept", "a configuration file"),
        Table(
            _M, "flag", _O, "AMI DBPut / DBDel", "1 item, calls kept", "AstDB family/key read by the dialplan"
        ),
    )
}


def table(kind: str, name: str) -> Table:
    """The table of that name. KeyError names what is missing: an entry of an unknown table is our defect."""
    return TABLES[kind, name]
