"""What a message asks to be told, and the notice (RFC 3862, RFC 5438)."""

from __future__ import annotations

from datetime import datetime
from xml.etree import ElementTree

import pytest

from controller.messages.cpim import Asked, asked, notice

HEAD = (
    "From: Alice <im:alice@acme.example>\r\nTo: <sip:103@acme.example>\r\n"
    "DateTime: 2026-11-20T10:00:00+01:00\r\n{space}"
    "{prefix}.Message-ID: 34jk324j\r\n{prefix}.Disposition-Notification: {wanted}\r\n"
    "\r\nContent-Type: {inner}\r\n\r\nHello"
)


def text(
    wanted: str = "positive-delivery, negative-delivery",
    prefix: str = "imdn",
    inner: str = "text/plain",
    space: bool = True,
) -> bytes:
    said = f"NS: {prefix} <urn:ietf:params:imdn>\r\n" if space else ""
    return HEAD.format(space=said, prefix=prefix, wanted=wanted, inner=inner).encode()


def test_asked() -> None:
    assert asked("message/cpim", text()) == Asked(
        "34jk324j", "2026-11-20T10:00:00+01:00", "im:alice@acme.example", "sip:103@acme.example", True, True
    )


@pytest.mark.parametrize(
    ("wanted", "delivered", "failed"),
    [
        ("positive-delivery", True, False),
        ("negative-delivery", False, True),
        ("display,Positive-Delivery", True, False),
    ],
)
def test_only_what_was_asked_for(wanted: str, delivered: bool, failed: bool) -> None:
    found = asked("Message/CPIM; charset=utf-8", text(wanted))
    assert found is not None
    assert (found.delivered, found.failed) == (delivered, failed)


def test_another_prefix() -> None:
    assert asked("message/cpim", text(prefix="x")) is not None
    assert asked("message/cpim", text(prefix="x", space=False)) is None


@pytest.mark.parametrize(
    ("type_", "body"),
    [
        ("text/plain", text()),
        ("message/cpim", text("display")),
        ("message/cpim", text(inner="message/imdn+xml")),
        ("message/cpim", b""),
        ("message/cpim", b"\xff\xfe\0" * 50),
    ],
)
def test_nothing_is_asked(type_: str, body: bytes) -> None:
    assert asked(type_, body) is None


@pytest.mark.parametrize("status", ["delivered", "failed"])
def test_the_notice(status: str) -> None:
    now = datetime.fromisoformat("2026-11-20T10:05:00+01:00")
    wanted = Asked("<&>", "", "sip:alice@acme.example", "", True, True)
    head, inner, xml = notice(wanted, status, "sip:103@acme.example", now).decode().split("\r\n\r\n", 2)
    assert "To: <sip:alice@acme.example>" in head
    assert "Content-Type: message/imdn+xml" in inner
    assert f"Content-Length: {len(xml)}" in inner
    tree = ElementTree.fromstring(xml)
    name = "{urn:ietf:params:xml:ns:imdn}"
    assert tree.findtext(f"{name}message-id") == "<&>"
    assert tree.findtext(f"{name}recipient-uri") == "sip:103@acme.example"
    assert tree.find(f"{name}delivery-notification/{name}status/{name}{status}") is not None
    # Nobody is told of a notice.
    assert asked("message/cpim", notice(wanted, status, "sip:103@acme.example", now)) is None
