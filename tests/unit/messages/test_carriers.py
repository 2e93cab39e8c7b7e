"""Who carries what, as the file says; texts and numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import InputError
from controller.messages.carriers import Carrier, choose, read
from controller.messages.text import e164, plain


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0\n")
    (tmp_path / "secret").write_text("s0\n")
    file = tmp_path / "carriers.ini"
    file.write_text(
        f"[de]\nurl = https://a.example/m\ntoken_file = {tmp_path}/token\nprefixes = +49 +43\naccounts = acme\n"
        f"[in]\nsecret_file = {tmp_path}/secret\n"
    )
    assert read(file) == (
        Carrier("de", "https://a.example/m", "t0", "", frozenset({"acme"}), ("+49", "+43")),
        Carrier("in", "", "", "s0"),
    )


def test_a_message_centre(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p0\n")
    file = tmp_path / "carriers.ini"
    file.write_text(
        f"[far]\nsmpp = 203.0.113.9:2775\nsystem_id = acme\npassword_file = {tmp_path}/password\n"
    )
    (one,) = read(file)
    assert (one.place, one.system_id, one.password) == (("203.0.113.9", 2775), "acme", "p0")
    assert choose((one,), "acme", "+33123") == one
    file.write_text("[far]\nsmpp = 203.0.113.9:2775\n")
    with pytest.raises(InputError, match="with system_id and password_file"):
        read(file)


def test_every_problem_at_once(tmp_path: Path) -> None:
    file = tmp_path / "carriers.ini"
    file.write_text(
        "[A b]\nurl = ftp://x\ncolour = red\n[two]\n[three]\nurl = http://x\nprefixes = 49\ntoken_file = /no\n"
    )
    with pytest.raises(InputError) as refused:
        read(file)
    for words in (
        "[A b] no such option: colour",
        "a name is",
        "url 'ftp://x'",
        "[two] give a url",
        "prefix '49'",
        "/no",
    ):
        assert words in str(refused.value)
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "gone")


def test_the_longest_prefix_carries() -> None:
    every, german, berlin, own = (
        Carrier("every", "http://a"),
        Carrier("german", "http://b", prefixes=("+49",)),
        Carrier("berlin", "http://c", prefixes=("+4930",)),
        Carrier("own", "http://d", accounts=frozenset({"acme"}), prefixes=("+4930",)),
    )
    all_ = (every, german, own, berlin)
    assert choose(all_, "acme", "+33123") == every
    assert choose(all_, "acme", "+49401") == german
    assert choose(all_, "acme", "+49301") == own
    assert choose(all_, "globex", "+49301") == berlin
    assert choose((german,), "acme", "+33123") is None
    assert choose((Carrier("in", secret="x"),), "acme", "+33123") is None


@pytest.mark.parametrize(
    ("type_", "body", "text"),
    [
        ("text/plain", "Grüße".encode(), "Grüße"),
        ('Text/Plain; charset="ISO-8859-1"', "Grüße".encode("latin-1"), "Grüße"),
        ("text/plain;charset=klingon", b"x", "x"),
        (
            "message/cpim",
            b"From: <im:a@b>\r\n\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\xd0\x9f",
            "П",
        ),
        ("message/cpim", b"From: <im:a@b>\r\n\r\nContent-Type: message/cpim\r\n\r\nx", None),
        ("message/cpim", b"From", None),
        ("image/png", b"x", None),
    ],
)
def test_plain(type_: str, body: bytes, text: str | None) -> None:
    assert plain(type_, body) == text


@pytest.mark.parametrize(
    ("number", "country", "found"),
    [
        ("+4930123456", "", "+4930123456"),
        ("030123456", "DE", "+4930123456"),
        ("0033123456789", "DE", "+33123456789"),
        ("12", "DE", None),
        ("lobby", "DE", None),
        ("030123456", "", None),
    ],
)
def test_numbers(number: str, country: str, found: str | None) -> None:
    assert e164(number, country) == found
