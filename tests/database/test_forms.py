"""The forms of `controller.schema.forms` and the rules of the database judge alike, and say the same."""

# ruff: noqa: E501
from __future__ import annotations

import psycopg
import pytest

from controller.schema.explain import FORMS as WORDS
from controller.schema.forms import PATTERNS, RANGES, wanted

VALUES = [
    *("", " ", "a", "A", "0", "9", "-1", "+", "*", "#", ".", "-", "_", "@", "a b", " a", "a ", "a\n", "\na", "a\r\nb", "a\tb"),
    *("a;b", "a=b", "a'b", 'a"b', "a\\b", "a$b", "a`b", "a{b", "a}b", "a<b", "a>b", "a|b", "a,b", "a(b)", "a&b", "a%b"),
    *("a\u00a0b", "a\u200bb", "a\u2028b", "a\u202eb", "a\u2066b", "\ufeffa", "a\u0085b", "a\u007fb", "ü", "O’Brien", "漢字", "😀"),
    *("a" * 32, "a" * 33, "a" * 64, "a" * 65, "a" * 80, "a" * 81, "a" * 128, "a" * 129, "ü" * 80, "ü" * 81),
    *("-a", "a-", "a--b", "a.b", ".a", "a.", "a..b", "a_b", "acme.example", "ACME.example", "acme.example.", "a.b-", "a.-b"),
    *("a." * 126 + "a", "a." * 127 + "a", "x" * 63 + ".de", "x" * 64 + ".de", "1.2.3.4", "1.2.3", "256.1.1.1", "01.2.3.4", "a.1"),
    *("+4930", "+49305550", "+0123456", "+1234567890123456", "+123456789012345", "4930", "49+30", "1" * 15, "1" * 16, "1" * 17),
    *("12", "112", "1234567", "٣٤", "１２", "DE", "de", "De", "DEU", "en", "en_GB", "en-GB", "deu", "e"),
    *("0" * 32, "0" * 40, "0" * 64, "G" * 32, "A" * 32, "f" * 31, "f" * 32 + "\n"),
    *("a@b.de", "a@b", "a.b@c.de", ".a@c.de", "a..b@c.de", "a@c.de\n", "a b@c.de", "a@-c.de", "a" * 250 + "@c.de"),
    *("busy", "busy ", "voicemail", "extension:102", "extension:", "extension:1;2", "number:+49301234567", "number:030", "hangup\n"),
    *("UTC", "Europe/Berlin", "Europe", "europe/berlin", "Etc/GMT+3", "America/Argentina/Buenos_Aires", "acme/welcome", "a/b/c/d/e"),
    *("+4930*", "+*", "anonymous", "X-Tag", "group:sales", "group:", "menu:Main", "policy:main", "voicemail:600", "voicemail:a"),
    *("1", "600", "601", "1000", "1001", "65535", "65536", "100000", "100001", "99999999999999999999", "1.5", "1e3", "0x10"),
]  # fmt: skip
FORMS = [*PATTERNS, *RANGES, "label_form"]


@pytest.fixture(scope="module")
def connection(database: str) -> psycopg.Connection:
    return psycopg.connect(database, autocommit=True)


def judge(form: str) -> str:
    """Function of the database that judges values of this form."""
    return "control.fits_" + form.removesuffix("_form").removesuffix("_range").removesuffix("_single")


def fits(connection: psycopg.Connection, form: str, base: str, value: str) -> bool:
    """Whether the database takes the value."""
    read = connection.execute("SELECT pg_input_is_valid(%s, %s)", (value, base)).fetchone()
    if read != (True,):
        return False
    row = connection.execute(f"SELECT {judge(form)}(%s::text::{base})".encode(), (value,)).fetchone()
    return row == (True,)


@pytest.mark.parametrize("form", [form for form in FORMS if not form.startswith("setting_")])
def test_python_and_database_judge_alike(connection: psycopg.Connection, form: str) -> None:
    differing = []
    accepted = 0
    base = "integer" if form in RANGES else "text"
    for value in VALUES:
        found = fits(connection, form, base, value)
        expected = wanted(form, value) is None
        accepted += expected
        # PostgreSQL also reads 0x10, " 1" and 0001 as integers; the file must be plain.
        looser = form in RANGES and not expected and (not value.isdecimal() or value.startswith("0"))
        if found != expected and not looser:
            differing.append((value, found, expected))
    assert differing == []
    assert accepted > 0


@pytest.mark.parametrize("form", WORDS)
def test_python_and_database_say_the_same(connection: psycopg.Connection, form: str) -> None:
    row = connection.execute("SELECT obj_description(%s::regproc)", (judge(form),)).fetchone()
    assert row == (WORDS[form],)


def test_settings_are_judged_alike(connection: psycopg.Connection) -> None:
    for form, statement in (
        ("setting_name", "INSERT INTO settings (name, value) VALUES (%s, 'x')"),
        ("setting_value", "INSERT INTO settings (name, value) VALUES ('x', %s)"),
    ):
        for value in VALUES:
            try:
                with connection.transaction(force_rollback=True):
                    connection.execute(statement.encode(), (value,))
                fits = True
            except psycopg.errors.CheckViolation:
                fits = False
            assert fits == (wanted(form, value) is None), (form, value)


def test_addresses_that_are_accepted_are_addresses(connection: psycopg.Connection) -> None:
    for value in ("10.0.0.1", "2001:db8::1", "10.0.0.0/24", "10.0.0.1/24", "::ffff:1.2.3.4", "fe80::1%eth0", "x", "1.2.3", "10.0.0.1/32"):  # fmt: skip
        if wanted("address", value) is None:
            assert fits(connection, "host_address_single", "inet", value), value
        if wanted("network", value) is None:
            row = connection.execute("SELECT pg_input_is_valid(%s, 'cidr')", (value,)).fetchone()
            assert row == (True,), value
