"""The text of a message, for carriers that take nothing else; numbers as people dial them. Pure."""

from __future__ import annotations

import re

import phonenumbers

from controller.messages.cpim import CPIM

_SHORTEST = len("+4930123")
# A code: four to eight digits, in two halves at most, that are part of no longer number, price, time or word.
_DIGITS = re.compile(r"(?<![\w+.,/-])(?:[A-Z]-)?\d{3,4}[ -]?\d{1,4}(?![\w/]|[.,:-]\d)")
# What it is called where many codes are sent; or it stands alone, or as in https://wicg.github.io/sms-one-time-codes/.
_CALLED = re.compile(
    r"\b(?:code|otp|pin|tan|passcode|password|passwort|verif\w*|login|confirm\w*|best(?:ä|ae)tig\w*|c[oó]digo|clave|codice"
    r"|kod|kode|mot de passe)\b|код|парол|验证码|驗證碼|認証|인증|رمز|كود|קוד|รหัส|कोड",
    re.IGNORECASE,
)
_BOUND = re.compile(r"@[a-z0-9.-]+ #\w{4,10}\s*$")
_ALONE = 12


def one_time_code(said: str) -> bool:
    """Whether a message carries a one-time code, as far as words tell."""
    digits = _DIGITS.search(said)
    if digits is None or not 4 <= sum(one.isdigit() for one in digits[0]) <= 8:  # noqa: PLR2004 - as above
        return _BOUND.search(said) is not None
    return bool(len(said.strip()) <= _ALONE or _CALLED.search(said) or _BOUND.search(said))


def plain(content_type: str, body: bytes) -> str | None:
    """What it says; None: it is no text. Inside message/cpim, what that carries."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == CPIM:
        _, _, inner = body.replace(b"\r\n", b"\n").partition(b"\n\n")
        head, found, rest = inner.partition(b"\n\n")
        said = re.search(rb"^content-type:\s*(\S[^\n]*)", head, re.I | re.M)
        if not found or said is None or said[1].lower().startswith(CPIM.encode()):
            return None
        return plain(said[1].decode("ascii", "replace"), rest)
    if not kind.startswith("text/plain"):
        return None
    charset = re.search(r'charset="?([A-Za-z0-9._-]+)', content_type, re.I)
    try:
        return body.decode(charset[1] if charset else "utf-8", "replace")
    except LookupError:
        return body.decode("utf-8", "replace")


def e164(number: str, country: str) -> str | None:
    """A number as somebody in that country dials it, with +; None: it is none."""
    try:
        parsed = phonenumbers.parse(number, country or None)
    except phonenumbers.NumberParseException:
        return None
    found = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    # What is shorter is no number of anybody's: 112 is +49112 to the library.
    return found if phonenumbers.is_possible_number(parsed) and len(found) >= _SHORTEST else None
