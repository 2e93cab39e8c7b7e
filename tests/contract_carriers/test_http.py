"""What is said to a carrier over HTTP, and by it: the connector and the double of a carrier hold to the same words."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from controller.errors import DatabaseError
from controller.messages import http
from controller.messages.carriers import Carrier
from controller.messages.http import Inbound, Text, genuine, parsed, send, server, signature
from tests.carrier import CarrierDouble

TEXT = Text("5f0c-7", "+4930555010", "+33123456789", "Grüße, привет 🙂")


@pytest.fixture
def double() -> Iterator[CarrierDouble]:
    with CarrierDouble().running() as one:
        yield one


def carrier(double: CarrierDouble, **changes: Any) -> Carrier:
    return Carrier("sms", double.url, double.token, double.secret)._replace(**changes)


# --- out ------------------------------------------------------------------------------------------------------------


def test_a_carrier_takes_a_message_once_however_often_it_comes(double: CarrierDouble) -> None:
    for tries in (0, 1):
        assert send(carrier(double), TEXT, tries).state == "delivered"
    assert double.taken == {
        "5f0c-7": {"id": "5f0c-7", "from": "+4930555010", "to": "+33123456789", "text": "Grüße, привет 🙂"}
    }


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_later(double: CarrierDouble, status: int) -> None:
    double.answers = [(status, {})]
    found = send(carrier(double), TEXT, 1)
    assert (found.state, found.status, found.pause_s) == ("due", status, 15)


def test_no_sooner_than_it_says(double: CarrierDouble) -> None:
    double.answers = [
        (429, {"Retry-After": "120"}),
        (503, {"Retry-After": "999999"}),
        (503, {"Retry-After": "soon"}),
    ]
    assert [send(carrier(double), TEXT, 0).pause_s for _ in range(3)] == [120, 3600, 5]


@pytest.mark.parametrize("status", [400, 403, 404, 422, 302])
def test_never(double: CarrierDouble, status: int) -> None:
    double.answers = [(status, {"Location": "/elsewhere"})]
    assert send(carrier(double), TEXT, 0).state == "failed"
    assert len(double.requests) == 1


def test_a_wrong_token(double: CarrierDouble) -> None:
    found = send(carrier(double, token="other"), TEXT, 0)
    assert (found.state, found.status, double.taken) == ("failed", 401, {})


def test_nobody_there(double: CarrierDouble) -> None:
    found = send(carrier(double, url="http://127.0.0.1:9/"), TEXT, 0)
    assert (found.state, found.status, found.pause_s) == ("due", None, 5)


def test_a_silent_one(double: CarrierDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TIMEOUT_S", 0.2)
    double.pause_s = 1.0
    assert send(carrier(double), TEXT, 0).state == "due"


# --- in -------------------------------------------------------------------------------------------------------------

SAID = {"id": "c-1", "from": "+33123456789", "to": "+4930555010", "text": "Привет"}


class Door:
    """The server, and what it was given to keep."""

    def __init__(self) -> None:
        self.kept: list[Inbound] = []
        self.away = False
        self.carriers = (Carrier("sms", secret="secret"), Carrier("deaf", "http://127.0.0.1:9/"))

    def keep(self, one: Inbound) -> str | None:
        if self.away:
            raise DatabaseError("away")
        self.kept.append(one)
        return "the-id" if one.to == "+4930555010" else None


@pytest.fixture
def door() -> Iterator[tuple[Door, str]]:
    one = Door()
    listening = server(("127.0.0.1", 0), one.carriers, one.keep)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield one, f"http://127.0.0.1:{listening.server_address[1]}"
    listening.shutdown()
    listening.server_close()


def test_what_comes_is_kept(door: tuple[Door, str], double: CarrierDouble) -> None:
    one, url = door
    assert double.bring(f"{url}/sms/messages", SAID) == (202, {"message": "the-id"})
    assert one.kept == [Inbound("sms", "c-1", "+33123456789", "+4930555010", "Привет")]
    assert double.bring(f"{url}/sms/messages", SAID | {"to": "+4930999"})[0] == 404


@pytest.mark.parametrize(
    ("path", "how"),
    [
        ("/sms/messages", {"signed": "t=1,v1=00"}),
        ("/sms/messages", {"signed": ""}),
        ("/sms/messages", {"at": 1_000_000}),
        ("/deaf/messages", {}),
        ("/other/messages", {}),
        ("/", {}),
    ],
)
def test_who_is_not_known(
    door: tuple[Door, str], double: CarrierDouble, path: str, how: dict[str, Any]
) -> None:
    one, url = door
    assert double.bring(f"{url}{path}", SAID, **how)[0] == 401
    assert one.kept == []


def test_a_body_that_was_changed(door: tuple[Door, str], double: CarrierDouble) -> None:
    one, url = door
    other = signature("secret", int(time.time()), b"{}")
    assert double.bring(f"{url}/sms/messages", SAID, signed=other)[0] == 401
    assert one.kept == []


@pytest.mark.parametrize(
    "said",
    [
        b"no JSON", b"[]", {}, SAID | {"text": ""}, SAID | {"to": "110"}, SAID | {"from": "a b"}, SAID | {"id": 7},
        SAID | {"text": "a\0b"},
    ],
)  # fmt: skip
def test_what_cannot_be_used(door: tuple[Door, str], double: CarrierDouble, said: Any) -> None:
    one, url = door
    assert double.bring(f"{url}/sms/messages", said)[0] == 400
    assert one.kept == []


def test_without_the_database_it_comes_again(door: tuple[Door, str], double: CarrierDouble) -> None:
    one, url = door
    one.away = True
    assert double.bring(f"{url}/sms/messages", SAID)[0] == 503


def test_too_long(door: tuple[Door, str], double: CarrierDouble) -> None:
    one, url = door
    try:
        status = double.bring(f"{url}/sms/messages", SAID | {"text": "x" * 70_000})[0]
    except OSError:
        status = 413  # the server said so and closed before it had read all
    assert (status, one.kept) == (413, [])


def test_signatures_grow_old() -> None:
    header = signature("secret", 1000, b"x")
    assert genuine("secret", header, b"x", 1299)
    assert not genuine("secret", header, b"x", 1301)
    assert not genuine("", header, b"x", 1000)
    assert not genuine("secret", header, b"y", 1000)


def test_a_sender_by_name() -> None:
    assert parsed("sms", b'{"id":"1","from":"Parcel","to":"+4930555010","text":"x"}').sender == "Parcel"
