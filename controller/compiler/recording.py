"""Dialplan of what is recorded: snapshot -> text. Pure.

Rendered by templates/asterisk/recording.conf.j2; what is done with it is written in asterisk/extensions_recording.conf.
"""

from __future__ import annotations

from controller.compiler.dialplan_text import data_key
from controller.compiler.media_templates import render
from controller.desired.model import Account
from controller.escape import Raw, name


def render_recording(account: Account) -> str:
    """What the dialplan looks up before it records a call of the account; empty: nothing of it is recorded."""
    if not account.recording:
        return ""
    kinds = {user.name: Raw("&".join(user.record_calls)) for user in account.users if user.enabled}
    modes = {user.name: user.record for user in account.users}
    return render(
        "recording.conf.j2",
        {
            "account": name(account.name),
            "announcement": account.record_announcement,
            "users": [
                (name(data_key(user)), calls) for user, calls in kinds.items() if modes[user] == "always"
            ],
            "devices": [
                (name(data_key(device.aor)), kinds[device.user])
                for device in account.devices
                if device.enabled and device.user in kinds and modes[device.user] == "on_demand"
            ],
        },
    )
