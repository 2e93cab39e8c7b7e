"""The JSON-RPC client against answers no sound Kamailio gives."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.errors import NodeRefused, NodeUnreachable, UnsafeValue
from controller.wire.jsonrpc import JsonRpc, Refusal
from tests.contract.fake_kamailio import FakeKamailio


@pytest.fixture
def kamailio(tmp_path: Path) -> Iterator[FakeKamailio]:
    fake = FakeKamailio(tmp_path / "k.sock", ("t",))
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture
def rpc(kamailio: FakeKamailio) -> Iterator[JsonRpc]:
    client = JsonRpc(kamailio.path, timeout_s=0.3)
    yield client
    client.close()


def test_answers_come_in_the_order_asked(rpc: JsonRpc) -> None:
    assert (
        rpc.calls(("htable.sets", ("t", f"{n}", f"v{n}")) for n in range(100))
        == ["Ok. Key set to new value."] * 100
    )
    answers: list[Any] = rpc.calls(("htable.get", ("t", f"{n}")) for n in range(101))
    assert [answer["item"]["value"] for answer in answers[:100]] == [f"v{n}" for n in range(100)]
    assert answers[100] == Refusal(500, "Key name doesn't exist in htable.")


def test_a_refusal_of_one_call_is_raised_with_code_and_words(rpc: JsonRpc) -> None:
    with pytest.raises(NodeRefused, match="500 No such htable"):
        rpc.call("htable.get", "none", "k")


def test_answers_out_of_order_are_matched_by_id(kamailio: FakeKamailio, rpc: JsonRpc) -> None:
    original = kamailio._answer
    later: list[bytes] = []

    def answer(data: bytes) -> bytes | None:
        now = original(data)
        assert now is not None
        later.append(now)
        return None

    kamailio._answer = answer  # type: ignore[method-assign]
    thread = threading.Timer(0.1, lambda: _send_all(kamailio, rpc, later))
    thread.start()
    found: list[Any] = rpc.calls([("core.uptime", ()), ("core.ps", ())])
    assert "up_since" in found[0]
    assert found[1][0] == 1


def _send_all(kamailio: FakeKamailio, rpc: JsonRpc, later: list[bytes]) -> None:
    assert kamailio._socket is not None
    for text in reversed(later):
        kamailio._socket.sendto(text, str(rpc._own))


def test_a_stale_answer_is_no_answer(kamailio: FakeKamailio, rpc: JsonRpc) -> None:
    kamailio.mangle = lambda _: json.dumps({"jsonrpc": "2.0", "result": 1, "id": 999_999}).encode()
    with pytest.raises(NodeUnreachable, match=r"no answer in 0\.3 s"):
        rpc.call("core.uptime")


@pytest.mark.parametrize("garbage", [b"garbage", b"[]", b"{}", b'{"id": 1}', b"\xff\xfe", b"null"])
def test_garbage_is_said_to_be_garbage(kamailio: FakeKamailio, rpc: JsonRpc, garbage: bytes) -> None:
    kamailio.mangle = lambda _: garbage
    with pytest.raises(NodeRefused, match="not JSON-RPC"):
        rpc.call("core.uptime")
    kamailio.mangle = lambda answer: answer
    assert rpc.call("core.ps")[0] == 1


def test_an_answer_too_long_to_send_meets_the_deadline(kamailio: FakeKamailio, rpc: JsonRpc) -> None:
    for n in range(30):
        kamailio.tables["t"][f"{n}"] = "v" * 10_000
    with pytest.raises(NodeUnreachable, match="too long to send"):
        rpc.call("htable.dump", "t")
    assert rpc.call("core.ps")[0] == 1


def test_a_restarted_server_is_found_again(kamailio: FakeKamailio, rpc: JsonRpc) -> None:
    rpc.call("htable.sets", "t", "k", "v")
    kamailio.stop()
    with pytest.raises(NodeUnreachable, match="Is Kamailio running"):
        rpc.call("core.uptime")
    kamailio.start()
    assert rpc.call("core.uptime")["up_since"] == "start 2"
    kamailio.restart()
    assert rpc.call("core.uptime")["up_since"] == "start 3"


def test_a_dead_socket_file(tmp_path: Path, kamailio: FakeKamailio, rpc: JsonRpc) -> None:
    path = tmp_path / "dead.sock"
    path.touch()
    with pytest.raises(NodeUnreachable):
        JsonRpc(path).call("core.uptime")


@pytest.mark.parametrize("value", ["a\0b", "\ud800", "x" * 70_000])
def test_what_cannot_be_carried_is_not_sent(kamailio: FakeKamailio, rpc: JsonRpc, value: str) -> None:
    with pytest.raises(UnsafeValue):
        rpc.call("htable.sets", "t", "k", value)
    assert kamailio.seen == []


@pytest.mark.parametrize(
    "value", ['a"b', "a\\", "a\nb", '","method":"core.kill', "ünïcode", "{}", "s:x", "007", ""]
)
def test_no_value_breaks_out(kamailio: FakeKamailio, rpc: JsonRpc, value: str) -> None:
    rpc.call("htable.sets", "t", value or "k", value)
    assert kamailio.tables["t"] == {value or "k": value}
    assert rpc.call("htable.get", "t", value or "k")["item"]["value"] == value


def test_the_own_address_is_removed(kamailio: FakeKamailio, tmp_path: Path) -> None:
    client = JsonRpc(kamailio.path)
    client.call("core.uptime")
    assert len(list(tmp_path.glob("agent-*.sock"))) == 1
    client.close()
    assert not list(tmp_path.glob("agent-*.sock"))
