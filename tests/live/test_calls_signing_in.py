"""Registration and digest authentication as phones meet them (RFC 3261, RFC 8760)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.live.company import BOB, DESK1, EVERYONE
from tests.live.phones import Phones


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_phone_registers(phones: Phones, transport: str) -> None:
    leg = phones.register(replace(DESK1, transport=transport))
    assert leg.ok, leg
    assert leg.codes[-2:] == [401, 200]
    assert leg.received[-1].headers("Contact"), "the answer lists the contacts that are bound"


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_both_digests_are_offered_and_taken(phones: Phones, algorithm: str) -> None:
    leg = phones.register(DESK1, algorithm=algorithm)
    assert leg.ok, leg
    challenge = next(message for message in leg.received if message.status == 401)
    offered = [one.rpartition("algorithm=")[2].split(",")[0] for one in challenge.headers("WWW-Authenticate")]
    assert sorted(offered) == ["MD5", "SHA-256"]
    answered = [message for message in leg.messages if message.sent][-1].headers("Authorization")[0]
    assert f"algorithm={algorithm}" in answered.replace('"', ""), answered


def test_wrong_password_and_unknown_user_get_the_same_answer(phones: Phones) -> None:
    wrong = phones.register(replace(DESK1, password="not-it"), expect=401)
    unknown = phones.register(replace(DESK1, user="nobody"), expect=401)
    assert wrong.ok, wrong
    assert unknown.ok, unknown
    assert wrong.codes[-1] == unknown.codes[-1] == 401

    def shape(leg: object) -> set[str]:
        text = leg.received[-1].text  # type: ignore[attr-defined]
        return {line.partition(":")[0] for line in text.splitlines()}

    assert shape(wrong) == shape(unknown)


def test_an_overheard_answer_is_worth_nothing(phones: Phones) -> None:
    leg = phones.register(BOB, replay=401)
    assert leg.ok, leg
    assert "stale=true" in leg.received[-1].text.lower().replace(" ", "")


def test_a_phone_signs_off(phones: Phones) -> None:
    assert phones.register(BOB).ok
    leg = phones.register(BOB, expires=0)
    assert leg.ok, leg
    assert not [one for one in leg.received[-1].headers("Contact") if f":{BOB.port}" in one]


def test_everyone_registers(phones: Phones) -> None:
    legs = [phones.register(phone) for phone in EVERYONE]
    assert all(leg.ok for leg in legs), "\n".join(map(str, legs))
