"""Dialplan: snapshot -> text -> entries."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import escape
from controller.compiler import dialplan, dialplan_shared, dialplan_text, media_templates
from controller.compiler.media_local import Local, local_files
from controller.desired.model import Extension, Node, Route, Step
from controller.errors import TemplateError
from tests.unit.samples import ACME, ALICE, CARRIER, SYSTEM, device

ROOT = Path(__file__).parents[3]


def separate(arguments: str) -> list[str]:
    """What Asterisk makes of an argument list: __ast_app_separate_args with remove_chars, main/app.c."""
    found, part, depth, quoted, place = [], "", 0, False, 0
    while place < len(arguments):
        char = arguments[place]
        if char == "\\":
            place += 1
            part += arguments[place] if place < len(arguments) else ""
        elif char == '"':
            quoted = not quoted
        elif char == "," and not depth and not quoted:
            found.append(part)
            part = ""
        else:
            depth += (char in "([") - (char in ")]" and depth > 0)
            part += char
        place += 1
    return [*found, part]


@given(st.text(max_size=200), st.text(max_size=200))
def test_no_text_leaves_its_argument(first: str, second: str) -> None:
    written = [escape.argument(one) for one in (first, second)]
    line = f"Return({written[0]},{written[1]})"
    assert "\n" not in line
    assert "\r" not in line
    assert not re.search(r"\$[{\[]", line)
    folded = [escape.SPACE.sub(" ", one).strip() for one in (first, second)]
    assert separate(line[len("Return(") : -1]) == folded
    parsed = dialplan_text.parse_dialplan(f"[a]\nexten => 1,1,{line}\nexten => 2,1,Return()\n", "x")
    assert parsed == {"a/1": line, "a/2": "Return()"}


@given(st.text(max_size=300), st.text(max_size=60))
def test_account_text_stays_in_the_account(display: str, language: str) -> None:
    account = replace(ACME, users=(replace(ALICE, display_name=display), ACME.users[1]), language=language)
    entries = dialplan.account_dialplan(account, SYSTEM)
    assert entries.keys() == dialplan.account_dialplan(ACME, SYSTEM).keys()
    for key, value in entries.items():
        assert key.startswith(("account-acme/", "inbound-acme/"))
        assert value.count("\n") == 0
        assert len(value.encode()) <= dialplan_text.MAX_LINE_BYTES


@given(st.text(min_size=1, max_size=20).filter(lambda text: not escape.NAME(text)))
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(TemplateError):
        escape.name(text)


@pytest.mark.parametrize("extension", ["_X.", ":account"])
def test_an_extension_is_no_pattern_and_no_data(extension: str) -> None:
    account = replace(
        ACME,
        extensions=(
            Extension(extension, "echo", None, None, 1, Step("hangup"), Step("hangup"), Step("hangup")),
        ),
    )
    with pytest.raises(TemplateError, match="pattern"):
        dialplan.account_dialplan(account, SYSTEM)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a]\nexten => 1,1,Answer\n", {"a/1": "Answer()"}),
        ("[a]\nexten=>1,1,Answer() ; why\nsame => n,Echo()\n", {"a/1": "Answer()\nEcho()"}),
        (
            "; x\n\n[a]\n  exten => 1,hint,Custom:1\n  same => 1,Hangup(17)",
            {"a/1": "hint:Custom:1\nHangup(17)"},
        ),
        (r"[a]" "\n" r"exten => 1,1,Return(a\;b)", {"a/1": r"Return(a\;b)"}),
        ("[a]\nexten => _0[1-9]X!,1,Goto(b,${EXTEN},1)", {"a/_0[1-9]X!": "Goto(b,${EXTEN},1)"}),
        ("[a]\nexten => 1,1,A()\nexten => 2,1,B()\nexten => 1,2,C()", {"a/1": "A()\nC()", "a/2": "B()"}),
    ],
)
def test_parse(text: str, expected: dict[str, str]) -> None:
    assert dialplan_text.parse_dialplan(text, "origin") == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("exten => 1,1,Answer()", "line 1: an extension before"),
        ("[a]\nsame => n,Answer()", "line 2: `same` before"),
        ("[a]\nexten => 1,2,Answer()", "line 2: priority 2 where 1"),
        ("[a]\nexten => 1,1,Answer()\nexten => 1,1,Echo()", "line 3: priority 1 where 2"),
        ("[a]\nexten => 1,n(label),Answer()", "line 2: neither"),
        ("[a]\nexten => 1,1,${APP}()", "line 2: not of the form"),
        ("[a]\nexten => 1/5,1,Answer()", "line 2: neither"),
        ("[a]\ninclude => b", "line 2: neither"),
        ("[a]\nexten => 1,1,NoOp(" + "x" * 900 + ")", "longer than 900 bytes"),
        ("[a]\nexten => 1,1,NoOp(" + "ä" * 450 + ")", "longer than 900 bytes"),
        ("[a](+)", "line 1: neither"),
    ],
)
def test_parse_is_strict(text: str, why: str) -> None:
    with pytest.raises(TemplateError, match=re.escape(why)) as caught:
        dialplan_text.parse_dialplan(text, "account.conf.j2")
    assert str(caught.value).startswith("account.conf.j2: rendered line")


def test_disabled_devices_do_not_ring() -> None:
    account = replace(ACME, devices=(device("desk1", "alice", enabled=False), device("app1", "alice")))
    assert ",app1@acme.example," in dialplan.account_dialplan(account, SYSTEM)["account-acme/101"]


def test_a_user_without_devices_is_unregistered() -> None:
    value = dialplan.account_dialplan(replace(ACME, devices=()), SYSTEM)["account-acme/103"]
    assert value == "Gosub(dp-user,s,1(lobby,internal,25,,hangup,busy,hangup))"


def test_many_devices_take_several_lines() -> None:
    devices = tuple(device(f"device-with-a-long-name-{number:03}", "alice") for number in range(40))
    value = dialplan.account_dialplan(replace(ACME, devices=devices), SYSTEM)["account-acme/101"]
    *more, last = value.split("\n")
    assert all(line.startswith("Gosub(dp-more,s,1(") for line in more)
    assert last.startswith("Gosub(dp-user,s,1(alice,")
    assert sorted(re.findall(r"[\w-]+@acme\.example", value)) == sorted(one.aor for one in devices)


def test_routes_by_prefix_priority_and_weight() -> None:
    trunks = {one: replace(CARRIER, name=one) for one in ("a", "b", "c-1")} | {
        "off": replace(CARRIER, name="off", enabled=False)
    }
    rows = [Route("49", "c-1", 20, 1), Route("49", "b", 10, 1), Route("49", "a", 10, 3), Route("", "a", 1, 1)]
    rows += [Route("1", "off", 1, 1)]
    assert dialplan_text.routes(rows, trunks) == [("_X!", "a*1"), ("_49!", "a*3&b*1|c-1*1")]


def test_mailbox_values_are_json() -> None:
    assert {key: json.loads(value) for key, value in dialplan.mailboxes(ACME).items()} == {
        "101@acme": {"fullname": "Alice", "email": "alice@acme.example", "pin": None, "language": "de"}
    }


def test_language_of_the_user_before_that_of_the_account() -> None:
    account = replace(ACME, users=(replace(ALICE, language="fr"), ACME.users[1]))
    entries = dialplan.account_dialplan(account, SYSTEM)
    assert entries["account-acme/:user:alice"].endswith(",Alice,fr)")
    assert json.loads(dialplan.mailboxes(account)["101@acme"])["language"] == "fr"


def test_endpoints_of_several_edges() -> None:
    system = replace(SYSTEM, nodes=(Node("e2", "edge", "g1", "10.0.0.2", 5061, 1), *SYSTEM.nodes))
    text = dialplan_shared.media_files(system)["pjsip-edges.conf"]
    assert re.findall(r"^\[(.+)\]", text, re.M) == [*["edge"] * 3, *["edge-edge1"] * 3]
    assert dialplan_shared.shared_dialplan(system)["system/:edges"] == "Return(edge&edge-edge1)"
    assert text.count("qualify_frequency = 2") == 2
    assert r"outbound_proxy = sip:10.0.0.2:5061\;transport=tcp\;lr" in text


def test_local_files() -> None:
    files = local_files(Local("10.0.0.5", "abc123", external_address="192.0.2.7", local_net="10.0.0.0/24"))
    assert "bind = 10.0.0.5:5060" in files["pjsip.conf"]
    assert "external_media_address = 192.0.2.7" in files["pjsip.conf"]
    assert files["manager.conf"] == "secret = abc123\n"


@pytest.mark.parametrize("secret", ["a;b", "a\nb", "", "a b", "a\\"])
def test_a_secret_that_would_change_the_file_is_refused(secret: str) -> None:
    with pytest.raises(TemplateError, match=r"local-manager\.conf\.j2"):
        local_files(Local("10.0.0.5", secret))


def test_a_broken_template_is_named_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "asterisk").mkdir()
    (tmp_path / "asterisk" / "account.conf.j2").write_text("[a]\n{{ nobody.knows }}\n")
    monkeypatch.setattr(media_templates, "templates_dir", lambda: tmp_path)
    media_templates.environment.cache_clear()
    media_templates._template.cache_clear()
    try:
        with pytest.raises(TemplateError, match=r"account\.conf\.j2:2: 'nobody' is undefined"):
            dialplan.account_dialplan(ACME, SYSTEM)
    finally:
        media_templates.environment.cache_clear()
        media_templates._template.cache_clear()


def test_every_subroutine_named_is_in_the_base_dialplan() -> None:
    base = "".join(path.read_text() for path in (ROOT / "asterisk").glob("extensions*.conf"))
    contexts = set(re.findall(r"^\[([\w-]+)\]", base, re.M))
    named = set()
    for path in (ROOT / "templates" / "asterisk").glob("*.conf.j2"):
        named |= set(re.findall(r"(?:Gosub|Goto)\((dp-[\w-]+),", path.read_text()))
    named |= set(re.findall(r"(?:Gosub|Goto|\?)\(?(dp-[\w-]+),", base))
    assert named <= contexts


def test_pin_digest_is_what_asterisk_computes() -> None:
    """SHA1() over `mailbox@account:pin`: dp-voicemail-main of the base dialplan writes it the same way."""
    base = (ROOT / "asterisk" / "extensions.conf").read_text()
    assert "${SHA1(${box}@${DP_ACCOUNT}:${FILTER(0-9,${pin})})}" in base
    assert len(hashlib.sha1(b"101@acme:1").hexdigest()) == 40
