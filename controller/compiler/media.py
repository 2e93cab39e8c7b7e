"""What a media node must hold: dialplan, mailboxes, files. The text comes from templates/asterisk/."""

from __future__ import annotations

from collections.abc import Iterator

from controller.compiler import dialplan, dialplan_shared
from controller.desired.model import Account, System
from controller.entries import EVERYWHERE, Address, Entry


def account_entries(account: Account, system: System) -> Iterator[Entry]:
    """Everything the media nodes that serve the account hold for it."""
    name, clusters = account.name, account.held_by
    tables = {"dialplan": dialplan.account_dialplan(account, system), "mailbox": dialplan.mailboxes(account)}
    for table, held in tables.items():
        for key, value in held.items():
            for cluster in clusters:
                yield Entry(Address("media", cluster, table, key), value, name)


def system_entries(system: System) -> Iterator[Entry]:
    """What every media node holds for all accounts."""
    for key, value in dialplan_shared.shared_dialplan(system).items():
        yield Entry(Address("media", EVERYWHERE, "dialplan", key), value)
    for path, content in dialplan_shared.media_files(system).items():
        yield Entry(Address("media", EVERYWHERE, "file", path), content)
