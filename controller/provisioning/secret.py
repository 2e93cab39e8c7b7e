"""The secrets of a phone. Pure but for the token, which is drawn.

A token is 256 random bits that only the phone has; what is stored is its SHA-256, which nobody can search through. A
password follows from the token, the device and a generation, so a phone that fetches twice gets the same one, and no
row ever holds it: whoever has all of the database has neither.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

_PASSWORD_CHARACTERS = 32


def new_token() -> str:
    """One more token: 43 characters of letters, digits, - and _."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What is stored of a token: 64 hex digits."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_token(token: str, stored: str) -> bool:
    """Whether a token is the one of that digest."""
    return hmac.compare_digest(digest(token), stored)


def password(token: str, aor: str, generation: int) -> str:
    """The password of a device (`name@domain`) in that generation: 32 characters."""
    mac = hmac.new(token.encode(), f"dialplane:{aor}:{generation}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac).decode()[:_PASSWORD_CHARACTERS]


def digests(aor: str, word: str) -> tuple[str, str]:
    """HA1 of a device by MD5 and SHA-256, in hex."""
    name, _, domain = aor.partition("@")
    text = f"{name}:{domain}:{word}".encode()
    return hashlib.md5(text, usedforsecurity=False).hexdigest(), hashlib.sha256(text).hexdigest()
