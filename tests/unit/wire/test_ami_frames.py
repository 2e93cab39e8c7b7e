"""What goes out and comes in on AMI, without a socket."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import NodeRefused, UnsafeValue
from controller.wire.ami_frames import MAX_LINE_BYTES, Answer, Frames, encode, headers

GREETING = b"Asterisk Call Manager/11.0.0\r\n"


@given(st.text(), st.text(), st.text())
def test_a_value_never_leaves_its_line(action: str, header: str, value: str) -> None:
    try:
        frame = encode(action, "7", {header: value})
    except UnsafeValue:
        return
    lines = frame.decode().removesuffix("\r\n\r\n").split("\r\n")
    assert lines == [f"Action: {action}", "ActionID: 7", f"{header}: {value}"]
    assert b"\0" not in frame
    assert frame.count(b"\n") == 4


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Key", "a\r\nAction: Command"),
        ("Key", "a\n"),
        ("Key", "a\0b"),
        ("Key", " leading"),
        ("Key", "x" * MAX_LINE_BYTES),
        ("Key", ["good", "bad\r"]),
        ("Key", "\ud800"),
        ("Key: x\r\nAction", "Command"),
        ("", "x"),
        ("ActionID", "x"),
        ("action", "Originate"),
        ("Variable", ["x"] * 127),
    ],
)
def test_what_asterisk_would_read_otherwise_is_refused(header: str, value: str | list[str]) -> None:
    with pytest.raises(UnsafeValue):
        encode("DBPut", "1", {header: value})


def test_the_longest_line_and_the_most_lines_go() -> None:
    line = "x" * (MAX_LINE_BYTES - len("Key: "))
    assert len(encode("DBPut", "1", {"Key": line})) > MAX_LINE_BYTES
    assert encode("Originate", "1", {"Variable": ["x"] * 126}).count(b"\r\n") == 129


STREAM = (
    GREETING
    + b"Response: Success\r\nActionID: 1\r\nMessage: \r\n\r\n"
    + "Event: Größe\r\nValue: ä: ö\r\nChanVariable: A=1\r\nChanVariable: B=2\r\nEmpty: \r\n\r\n".encode()
    + b"garbage without a colon\r\n\r\n"
    + b"Response: Success\r\nOutput: one\r\nOutput: \r\n\r\n"
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_messages_do_not_depend_on_how_reads_cut_them(cuts: list[int]) -> None:
    frames = Frames()
    edges = [0, *sorted(cuts), len(STREAM)]
    got = [
        headers(message)
        for start, end in itertools.pairwise(edges)
        for message in frames.feed(STREAM[start:end])
    ]
    assert frames.greeting == "Asterisk Call Manager/11.0.0"
    assert got == [
        {"Response": "Success", "ActionID": "1", "Message": ""},
        {"Event": "Größe", "Value": "ä: ö", "ChanVariable": "A=1\nB=2", "Empty": ""},
        {"Response": "Success", "Output": "one\n"},
    ]


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH\r\n", b"Asterisk\r\n", b"\0\0\0\0", b"x" * 3000])
def test_another_server_is_named_as_such(greeting: bytes) -> None:
    with pytest.raises(NodeRefused, match="not an AMI server"):
        list(Frames().feed(greeting))


def test_a_message_without_an_end_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.wire.ami_frames.MAX_MESSAGE_BYTES", 1000)
    frames = Frames()
    list(frames.feed(GREETING))
    with pytest.raises(NodeRefused, match="without an end"):
        list(frames.feed(b"Event: X\r\n" * 101))


def answer(*messages: bytes) -> tuple[Answer, list[bool | None]]:
    frames, one = Frames(), Answer()
    return one, [one.add(message) for message in frames.feed(GREETING + b"".join(messages))]


def test_a_list_ends_with_its_closing_event() -> None:
    one, complete = answer(
        b"Response: Success\r\nEventList: start\r\n\r\n",
        b"Event: Item\r\nName: a\r\n\r\n",
        b"Event: ItemComplete\r\nName: no end yet\r\n\r\n",
        b"Event: ListDone\r\nEventList: Complete\r\nListItems: 2\r\n\r\n",
    )
    assert complete == [False, False, False, True]
    assert one.response is not None
    assert one.response.ok
    assert [event["Name"] for event in one.response.events] == ["a", "no end yet"]


def test_a_cancelled_list_is_an_error() -> None:
    one, _ = answer(
        b"Response: Success\r\nEventList: start\r\n\r\n",
        b"Event: ListDone\r\nEventList: cancelled\r\n\r\n",
    )
    assert one.response is not None
    assert not one.response.ok


def test_an_event_about_an_action_is_not_its_answer() -> None:
    one, complete = answer(
        b"Event: OriginateResponse\r\nResponse: Failure\r\n\r\n", b"Response: Error\r\n\r\n"
    )
    assert complete == [None, True]
    assert one.response is not None
    with pytest.raises(NodeRefused, match="calling: Asterisk refused"):
        one.response.check("calling")
