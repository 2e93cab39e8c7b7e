"""The server itself: a clean start, a big dialplan from SQLite, changes over AMI on top of it."""

from __future__ import annotations

import time

import pytest

from tests.media.node import SECRET, MediaNode
from tests.media.peer import Edge


def ami(media: MediaNode, *actions: str, events: str = "off", stay_s: int = 0) -> str:
    """Sends actions over AMI inside the container; everything that came back, and what came in `stay_s` more."""
    login = f"Action: Login\r\nUsername: agent\r\nSecret: {SECRET}\r\nEvents: {events}\r\n\r\n"
    asked = "".join(f"{one}\r\n\r\n" for one in actions)
    text = (login + asked + ("" if stay_s else "Action: Logoff\r\n\r\n")).replace("\r\n", "\\r\\n")
    quoted = text.replace("'", "'\\''").replace("%", "%%")
    read = f"timeout {stay_s or 5} cat <&3" + (" || true" if stay_s else "")
    return media.sh(
        f"bash -c 'exec 3<>/dev/tcp/127.0.0.1/5038; cat >&3; {read}' <<E\n$(printf '{quoted}')\n\nE"
    )


def test_start_is_clean(media: MediaNode, edge: Edge) -> None:
    before_ready = media.log().partition("Asterisk Ready")[0]
    assert [line for line in before_ready.splitlines() if "WARNING" in line or "ERROR" in line] == []
    assert "edge" in media.cli("pjsip show endpoints")


def test_only_what_is_named_is_loaded(media: MediaNode, edge: Edge) -> None:
    wanted = {
        line.split("=")[1].strip()
        for line in (media.etc / "modules.conf").read_text().splitlines()
        if line.startswith(("load =", "preload ="))
    }
    loaded = {line.split()[0] for line in media.cli("module show").splitlines() if ".so" in line}
    assert loaded == wanted


def test_ami_only_on_loopback(media: MediaNode, edge: Edge) -> None:
    assert "refused" in media.sh(f"bash -c 'exec 3<>/dev/tcp/{media.address}/5038' 2>&1 || true").lower()
    refused = ami(media, "Action: Originate\r\nChannel: Local/s@x\r\nApplication: System\r\nData: id")
    assert "Authentication accepted" in refused
    assert "Response: Error" in refused


def test_extension_by_ami_then_reload_is_sqlite_again(media: MediaNode, edge: Edge) -> None:
    media.cli("dialplan reload")
    shown = media.cli("dialplan show account-acme")
    answer = ami(
        media,
        "Action: DialplanExtensionAdd\r\nContext: account-acme\r\nExtension: 101\r\nPriority: 1\r\n"
        "Application: Gosub\r\nApplicationData: dp-echo,s,1()\r\nReplace: yes",
        "Action: DialplanExtensionAdd\r\nContext: account-new\r\nExtension: 7\r\nPriority: 1\r\n"
        "Application: Gosub\r\nApplicationData: dp-echo,s,1()\r\nReplace: yes",
        "Action: DialplanExtensionRemove\r\nContext: account-acme\r\nExtension: 102",
        "Action: Getvar\r\nVariable: EVAL_EXTEN(account-acme,101,1)",
        "Action: Getvar\r\nVariable: EVAL_EXTEN(account-acme,102,1)",
    )
    assert "Value: dp-echo,s,1()" in answer
    assert "Variable: EVAL_EXTEN(account-acme,102,1)\nValue: \n" in answer.replace("\r", "")
    assert "dp-echo" in media.cli("dialplan show 7@account-new")
    media.cli("dialplan reload")
    assert media.cli("dialplan show account-acme") == shown
    assert "no existence" in media.cli("dialplan show 7@account-new")


def test_10_000_extensions_from_sqlite(asterisk_image: str, capsys: pytest.CaptureFixture[str]) -> None:
    node = MediaNode(asterisk_image)
    try:
        devices = "a@b.example&c@d.example,voicemail:101,busy,busy"
        node.hold(
            {
                f"account-a{account}/{extension}": f"Gosub(dp-user,s,1(u,national,20,{devices}))"
                for account in range(1000)
                for extension in range(101, 111)
            },
            {},
            {},
        )
        seconds = node.start()
        assert "Gosub" in node.cli("dialplan show 110@account-a999")
        assert node.complaints() == []
        begin = time.monotonic()
        node.cli("dialplan reload")
        with capsys.disabled():
            print(
                f" start with 10,000 extensions {seconds:.2f} s, reload {time.monotonic() - begin:.2f} s",
                end="",
            )
        assert seconds < 10
    finally:
        node.remove()


def test_events_go_on_in_a_new_file_when_the_agent_takes_the_old_one(media: MediaNode, edge: Edge) -> None:
    edge.call("*777").wait("final")
    taken = (media.spool / "media.jsonl").rename(media.spool / "media.jsonl.1")
    edge.call("*777").wait("final")
    assert "dp.begin" in [one["eventtype"] for one in media.events()]
    taken.unlink()


def test_a_message_lamp_is_a_notify_through_the_edge(media: MediaNode, edge: Edge) -> None:
    ami(
        media,
        "Action: PJSIPNotify\r\nURI: sip:alice1@acme.example\r\nVariable: Event=message-summary\r\n"
        "Variable: Content-Type=application/simple-message-summary\r\nVariable: Content=Messages-Waiting: yes",
    )
    deadline = time.monotonic() + 10
    while not edge.others and time.monotonic() < deadline:
        time.sleep(0.05)
    notify = edge.others[0]
    assert notify.start.startswith("NOTIFY sip:alice1@acme.example")
    assert notify.get("event") == "message-summary"
    assert "Messages-Waiting: yes" in notify.body
