"""Registration and digest authentication as phones meet them (RFC 3261, RFC 8760)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

import pytest

from tests.live.company import BOB, DESK1, EVERYONE
from tests.live.phones import Leg, Phone, Phones


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_a_phone_registers(phones: Phones, transport: str) -> None:
    leg = phones.register(replace(DESK1, transport=transport))
    assert leg.ok, leg
    assert leg.codes[-2:] == [401, 200]
    assert leg.received[-1].headers("Contact"), "the answer lists the contacts that are bound"


def challenges(phones: Phones) -> list[dict[str, str]]:
    """What the edge asks for: one set of digest parameters for each algorithm."""
    refused = phones.register(replace(DESK1, password="not-it"), expect=401)
    assert refused.ok, refused
    return [
        dict(re.findall(r'(\w+)="?([^",]+)', one)) for one in refused.received[-1].headers("WWW-Authenticate")
    ]


def answer(challenge: dict[str, str], phone: Phone) -> str:
    """The Authorization header's value for a REGISTER (RFC 7616)."""
    make = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}[challenge["algorithm"]]

    def digest(*parts: str) -> str:
        return make(":".join(parts).encode()).hexdigest()

    uri, nonce, count, own = f"sip:{phone.domain}", challenge["nonce"], "00000001", "c0ffee"
    ha1, ha2 = digest(phone.user, challenge["realm"], phone.password), digest("REGISTER", uri)
    response = digest(ha1, nonce, count, own, "auth", ha2)
    return (
        f'Digest username="{phone.user}", realm="{challenge["realm"]}", nonce="{nonce}", uri="{uri}", qop=auth, '
        f'nc={count}, cnonce="{own}", response="{response}", algorithm={challenge["algorithm"]}'
    )


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_both_digests_are_offered_and_taken(phones: Phones, algorithm: str) -> None:
    offered = {one["algorithm"]: one for one in challenges(phones)}
    assert list(offered) == ["SHA-256", "MD5"], "the stronger first"
    leg = phones.register(DESK1, authorization=answer(offered[algorithm], DESK1))
    assert leg.ok, leg


def test_wrong_password_and_unknown_user_get_the_same_answer(phones: Phones) -> None:
    wrong = phones.register(replace(DESK1, password="not-it"), expect=401)
    unknown = phones.register(replace(DESK1, user="nobody"), expect=401)
    assert wrong.ok, wrong
    assert unknown.ok, unknown
    assert wrong.codes[-1] == unknown.codes[-1] == 401

    def shape(leg: Leg) -> list[str]:
        return [line.partition(":")[0] for line in leg.received[-1].text.splitlines()]

    assert shape(wrong) == shape(unknown)


def test_an_overheard_answer_is_worth_nothing(phones: Phones) -> None:
    leg = phones.register(BOB)
    assert leg.ok, leg
    overheard = [message for message in leg.messages if message.sent][-1].headers("Authorization")[0]
    thief = phones.register(replace(BOB, port=5199), authorization=overheard, expect=401)
    assert thief.ok, thief
    assert "stale=true" in thief.received[-1].text.lower().replace(" ", "")


def test_a_phone_signs_off(phones: Phones) -> None:
    assert phones.register(BOB).ok
    leg = phones.register(BOB, expires=0)
    assert leg.ok, leg
    assert not [one for one in leg.received[-1].headers("Contact") if f":{BOB.port}" in one]


def test_everyone_registers(phones: Phones) -> None:
    legs = [phones.register(phone) for phone in EVERYONE]
    assert all(leg.ok for leg in legs), "\n".join(map(str, legs))
