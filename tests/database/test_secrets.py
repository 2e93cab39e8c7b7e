"""Passwords and PINs: only digests are kept, and nothing repeats them."""

from __future__ import annotations

import hashlib

import psycopg
import pytest

SECRET = "päss:word%1"


def test_device_password_becomes_both_digests(rows: psycopg.Connection) -> None:
    rows.execute("SELECT set_device_password('desk1@acme.example', %s)", (SECRET,))
    whole = f"desk1:acme.example:{SECRET}".encode()
    assert rows.execute("SELECT ha1_md5, ha1_sha256 FROM devices WHERE name = 'desk1'").fetchone() == (
        hashlib.md5(whole, usedforsecurity=False).hexdigest(),
        hashlib.sha256(whole).hexdigest(),
    )


def test_pin_becomes_a_digest_and_null_takes_it_away(rows: psycopg.Connection) -> None:
    rows.execute("SELECT set_mailbox_pin('101', 'acme', '987654')")
    digest = hashlib.sha1(b"101@acme:987654", usedforsecurity=False).hexdigest()
    find = "SELECT pin_digest FROM voicemail_boxes WHERE mailbox = '101'"
    assert rows.execute(find).fetchone() == (digest,)
    rows.execute("SELECT set_mailbox_pin('101', 'acme', NULL)")
    assert rows.execute(find).fetchone() == (None,)


def test_trunk_password_becomes_a_digest(rows: psycopg.Connection) -> None:
    rows.execute("SELECT set_trunk_password('carrier-a', 'us', 'carrier-a.example', %s)", (SECRET,))
    digest = hashlib.md5(f"us:carrier-a.example:{SECRET}".encode(), usedforsecurity=False).hexdigest()
    found = rows.execute("SELECT auth_user, auth_realm, auth_ha1_md5 FROM trunks WHERE name = 'carrier-a'")
    assert found.fetchone() == ("us", "carrier-a.example", digest)


REFUSED = [
    ("set_device_password('desk1@acme.example', %s)", "short", "8 to 128 characters"),
    ("set_device_password('desk1@acme.example', %s)", "eight\ncharacters", "8 to 128 characters"),
    ("set_device_password('desk1@acme.example', %s)", None, "8 to 128 characters"),
    ("set_device_password('desk8@acme.example', %s)", SECRET, "name@domain"),
    ("set_mailbox_pin('101', 'acme', %s)", "12", "4 to 10 digits"),
    ("set_mailbox_pin('101', 'acme', %s)", "12345x", "4 to 10 digits"),
    ("set_mailbox_pin('999', 'acme', %s)", "987654", "voicemail_boxes"),
    ("set_trunk_password('carrier-x', 'us', 'r', %s)", SECRET, "Create it first"),
    ("set_trunk_password('carrier-a', 'us', 'r', %s)", "", "the carrier gave you"),
]


@pytest.mark.parametrize(("call", "secret", "hint"), REFUSED)
def test_refusals_do_not_repeat_the_secret(
    rows: psycopg.Connection, call: str, secret: str | None, hint: str
) -> None:
    with pytest.raises(psycopg.Error) as refused:
        rows.execute(f"SELECT {call}".encode(), (secret,))
    assert hint in (refused.value.diag.message_hint or "")
    if secret:
        assert secret not in str(refused.value)


def test_a_clear_password_in_a_digest_column_is_not_repeated(rows: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        rows.execute("UPDATE devices SET ha1_md5 = 'my clear password'")
    assert "my clear" not in str(refused.value)
