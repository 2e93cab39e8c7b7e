"""Whether a number may be called back: anybody chooses it, by what a telephone shows or by its keys. Pure.

The dialplan has made it E.164 by the rules for outgoing calls, and has compared its class with the permission of the
queue (dp-queue-number). What is left are numbers that cost who calls them, and those that nobody calls from.
"""

from __future__ import annotations

import re

import phonenumbers
from phonenumbers import PhoneNumberType as Type

from controller.errors import InputError

# Not: premium rate, shared cost, personal numbers (whose calls go on at the caller's cost), pagers, voicemail, unknown.
_CALLED = (
    Type.FIXED_LINE, Type.MOBILE, Type.FIXED_LINE_OR_MOBILE, Type.TOLL_FREE, Type.VOIP, Type.UAN,
)  # fmt: skip
_WORDS = {
    Type.PREMIUM_RATE: "a premium rate number",
    Type.SHARED_COST: "a shared cost number",
    Type.PERSONAL_NUMBER: "a personal number",
    Type.PAGER: "a pager",
    Type.VOICEMAIL: "a voicemail",
}


def called_back(number: str) -> str:
    """The E.164 number itself. InputError says why it is not called back."""
    if not re.fullmatch(r"\+[1-9][0-9]{4,14}", number):
        raise InputError(f"{number[:40]!r} is no E.164 number")
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException as error:
        raise InputError(f"{number} is no telephone number: {error}") from None
    kind = phonenumbers.number_type(parsed)
    if kind not in _CALLED:
        raise InputError(f"{number} is {_WORDS.get(kind, 'no number that anybody calls from')}")
    return number
