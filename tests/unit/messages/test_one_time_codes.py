"""Which messages carry a one-time code, as far as words tell."""

from __future__ import annotations

import pytest

from controller.messages.text import one_time_code


@pytest.mark.parametrize(
    "said",
    [
        "Your code is 123456", "123456", "482-913", "G-482913 is your verification code.", "Ihr Code: 4821",
        "OTP:99021", "Dein Passwort lautet 12345678.", "Su código es 0042", "【店】验证码 123456，请勿泄露",
        "رمز التحقق 123456", "Your login code is 123 456, valid for 10 minutes",
        "Sign in\n\n@example.com #747723", "PIN 1234",
    ],
)  # fmt: skip
def test_a_code(said: str) -> None:
    assert one_time_code(said)


@pytest.mark.parametrize(
    "said",
    [
        "", "See you at 8", "Lunch on 24.12.2026?", "Call me: +493012345678", "The price is 1,299.00",
        "Flat 12, code of honour",
        "2026 was a good year for all of us", "https://example.com/code/123456", "Order 123456789012 with this code",
        "Article AB1234C has a code",
    ],
)  # fmt: skip
def test_none(said: str) -> None:
    assert not one_time_code(said)
