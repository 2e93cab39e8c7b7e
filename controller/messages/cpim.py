"""CPIM (RFC 3862) as far as a message asks in it for notices of its delivery, and those notices (IMDN, RFC 5438). Pure.

A service in between tells of `delivered` and `failed`; that somebody has read a message is told by the phone itself.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple
from xml.sax.saxutils import escape

CPIM = "message/cpim"
_IMDN_NS = "urn:ietf:params:imdn"
_HEADER = re.compile(r"([A-Za-z][A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)?):[ \t]*(.*)")
_MOST = 4096


class Asked(NamedTuple):
    """Which notices the sender of a message wants: `id` is the sender's own, `at` as it wrote it; `sender`, `to`:
    addresses."""

    id: str
    at: str
    sender: str
    to: str
    delivered: bool
    failed: bool


def asked(content_type: str, body: bytes) -> Asked | None:
    """What a message asks for; None: nothing, or it cannot be read."""
    if content_type.partition(";")[0].strip().lower() != CPIM:
        return None
    head, _, inner = body[:_MOST].replace(b"\r\n", b"\n").partition(b"\n\n")
    headers: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").splitlines():
        if found := _HEADER.fullmatch(line.strip()):
            headers.setdefault(found[1].lower(), found[2].strip())
    # The prefix is what the message says it is, nearly always imdn.
    space = re.fullmatch(r"(\w+)\s+<urn:ietf:params:imdn>", headers.get("ns", ""))
    prefix = (space[1] if space else "imdn").lower()
    wanted = {one.strip().lower() for one in headers.get(f"{prefix}.disposition-notification", "").split(",")}
    id_ = headers.get(f"{prefix}.message-id", "")
    # A notice about a notice would go on for ever.
    if not id_ or b"message/imdn+xml" in inner[:512].lower():
        return None
    found_ = Asked(
        id_,
        headers.get("datetime", ""),
        _uri(headers.get("from", "")),
        _uri(headers.get("to", "")),
        "positive-delivery" in wanted,
        "negative-delivery" in wanted,
    )
    return found_ if found_.delivered or found_.failed else None


def _uri(value: str) -> str:
    found = re.search(r"<([^<>\s]+)>", value)
    return found[1] if found else ""


def notice(asked_: Asked, status: str, to: str, now: datetime) -> bytes:
    """A message/cpim with the notice: `status` delivered or failed; `to`: whose it is, as a URI."""
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?>\r\n'
        '<imdn xmlns="urn:ietf:params:xml:ns:imdn">\r\n'
        f"<message-id>{escape(asked_.id)}</message-id>\r\n"
        f"<datetime>{escape(asked_.at or now.isoformat(timespec='seconds'))}</datetime>\r\n"
        f"<recipient-uri>{escape(asked_.to or to)}</recipient-uri>\r\n"
        f"<delivery-notification><status><{status}/></status></delivery-notification>\r\n"
        "</imdn>\r\n"
    ).encode()
    head = (
        f"From: <{to}>\r\nTo: <{asked_.sender}>\r\nNS: imdn <{_IMDN_NS}>\r\n"
        f"imdn.Message-ID: {_id(asked_.id, status)}\r\nDateTime: {now.isoformat(timespec='seconds')}\r\n\r\n"
        "Content-Type: message/imdn+xml\r\nContent-Disposition: notification\r\n"
        f"Content-Length: {len(xml)}\r\n\r\n"
    ).encode()
    return head + xml


def _id(of: str, status: str) -> str:
    """The notice's own id: the same whenever the same is told."""
    return re.sub(r"[^A-Za-z0-9-]", "", of)[:60] + f"-{status}"
