"""Who carries messages to and from numbers outside: a file of the machine that runs `dialplane message serve`.

    [acme-sms]
    url = https://sms.example.net/v1/messages
    token_file = /etc/dialplane/acme-sms.token
    secret_file = /etc/dialplane/acme-sms.secret
    accounts = acme globex
    prefixes = +49 +43

    [wholesale]
    smpp = 203.0.113.9:2775
    system_id = acme
    password_file = /etc/dialplane/wholesale.password

Over HTTP: `url`: where messages go (POST); `token_file`: what is shown there (Bearer); `secret_file`: what those that
come are signed with. Or over SMPP: `smpp`, `system_id`, `password_file`. `accounts`: who may send by it, `*` (the
default): all; `prefixes`: to which numbers, `+` (the default): all. Of several the one with the longest prefix carries
it, the first in the file among equals. Secrets stand in files of their own, mode 600; no row has one.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from controller.errors import InputError

_PREFIX = re.compile(r"\+[0-9]{0,15}")
_KNOWN = {"url", "token_file", "secret_file", "smpp", "system_id", "password_file", "accounts", "prefixes"}


class Carrier(NamedTuple):
    """One section. `token`, `secret`: empty when nothing goes out, or comes in, by it over HTTP; `place`: of its
    message centre, where it speaks SMPP."""

    name: str
    url: str = ""
    token: str = ""
    secret: str = ""
    accounts: frozenset[str] = frozenset({"*"})
    prefixes: tuple[str, ...] = ("+",)
    place: tuple[str, int] | None = None
    system_id: str = ""
    password: str = ""


def read(path: Path) -> tuple[Carrier, ...]:
    """The carriers of a file. InputError names every problem, with its section."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(), str(path))
    except (OSError, configparser.Error, UnicodeDecodeError) as error:
        raise InputError(f"carriers {path}: {error}") from None
    problems: list[str] = []
    found = tuple(_carrier(parser[name], problems) for name in parser.sections())
    if problems:
        raise InputError(f"carriers {path}: " + "; ".join(problems))
    return found


def _carrier(section: configparser.SectionProxy, problems: list[str]) -> Carrier:
    name = section.name

    def wrong(what: str) -> None:
        problems.append(f"[{name}] {what}")

    def secret(option: str) -> str:
        file = section.get(option, "")
        if not file:
            return ""
        try:
            text = Path(file).read_text().strip()
        except OSError as error:
            wrong(f"{option} {file}: {error.strerror}")
            return ""
        if not text:
            wrong(f"{option} {file} is empty")
        return text

    if unknown := sorted(set(section) - _KNOWN):
        wrong(f"no such option: {', '.join(unknown)}; there are: {', '.join(sorted(_KNOWN))}")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", name):
        wrong("a name is 1 to 32 lower-case letters, digits and hyphens")
    url, prefixes = section.get("url", ""), tuple(section.get("prefixes", "+").split())
    if url and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", url):
        wrong(f"url {url!r} is none of http:// or https://")
    for prefix in prefixes:
        if not _PREFIX.fullmatch(prefix):
            wrong(f"prefix {prefix!r} is no beginning of a number with +")
    place, host, port = None, *section.get("smpp", "").rpartition(":")[::2]
    if "smpp" in section:
        if url or not (
            host and port.isdecimal() and section.get("system_id") and section.get("password_file")
        ):
            wrong("smpp is address:port, with system_id and password_file, and without a url")
        else:
            place = (host, int(port))
    elif not url and not section.get("secret_file"):
        wrong("give a url, for messages that go out, or a secret_file, for those that come in, or smpp")
    return Carrier(
        name, url, secret("token_file"), secret("secret_file"),
        frozenset(section.get("accounts", "*").split()), prefixes,
        place, section.get("system_id", ""), secret("password_file"),
    )  # fmt: skip


def choose(carriers: Sequence[Carrier], account: str, number: str) -> Carrier | None:
    """Who carries a message of the account to the number; None: nobody."""
    fitting = [
        (len(prefix), -place, one)
        for place, one in enumerate(carriers)
        if (one.url or one.place) and one.accounts & {"*", account}
        for prefix in one.prefixes
        if number.startswith(prefix)
    ]
    return max(fitting, key=lambda found: found[:2])[2] if fitting else None
