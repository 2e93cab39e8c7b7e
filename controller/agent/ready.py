"""What Asterisk reads from disk at its own start, put in place before it."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress

from controller.agent.settings import Settings
from controller.agent.state import State
from controller.wire.files import Directory

SECRET_CONF = "manager-secret.conf"  # noqa: S105  a file name


def asterisk(settings: Settings, state: State) -> str:
    """The AMI secret, made once, and every file the node holds; says how many files were written."""
    secret_file = settings.ami_secret_file
    with suppress(FileExistsError):
        handle = os.open(secret_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    directory = Directory(settings.files)
    meant = state.page("file", "", 1_000_000)
    written = 0
    for path, content in meant.items():
        if directory.read(path) != content:
            directory.write(path, content)
            written += 1
    line = f"secret = {secret_file.read_text().strip()}\n"
    if directory.read(SECRET_CONF) != line:
        directory.write(SECRET_CONF, line)
    return f"{written} of {len(meant)} files written"
