"""Messages in the stack: from phone to phone, and kept for one that is away while nothing of ours runs but the edge."""

from __future__ import annotations

from tests.live import stack
from tests.live.company import BOB, DESK1
from tests.live.phones import Phones
from tests.live.talk import went_well
from tests.live.test_frozen import AGENT, POSTGRESQL

TEXT = "Grüße, 世界 🌍"


def outcomes(since: str) -> str:
    """State of each message since then, oldest first."""
    return stack.sql(f"SELECT string_agg(state, ' ' ORDER BY at) FROM control.messages WHERE at >= '{since}'")


def test_from_phone_to_phone(phones: Phones) -> None:
    since = stack.now()
    phones.registered(BOB)
    with phones.start("texted", BOB) as bob:
        went_well(phones.run("text", DESK1, to="102", text=TEXT))
        assert bob.until("MESSAGE").text.endswith(TEXT)
    stack.until(lambda: outcomes(since) == "delivered", "the record says so")


def test_a_message_to_who_is_away_outlives_everything_and_comes_with_the_phone(phones: Phones) -> None:
    """Agent and PostgreSQL stand still when the edge accepts it."""
    since = stack.now()
    went_well(phones.register(BOB, expires=0))
    with stack.frozen("edge1", AGENT), stack.frozen("postgres", POSTGRESQL):
        went_well(phones.run("text", DESK1, to="102", text=TEXT, expect=202))
        stack.signal("edge1", "KILL", "kamailio *")
    stack.until(lambda: outcomes(since) == "open", "it is known to all", 20)
    went_well(phones.register(BOB))
    with phones.start("texted", BOB) as bob:
        assert bob.until("MESSAGE", limit_s=15).text.endswith(TEXT)
    stack.until(lambda: outcomes(since) == "delivered", "the record says so")
