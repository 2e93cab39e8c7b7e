"""Text that means something somewhere (dialplan, SQL, JSON, AMI, SIP) stays the value it is, or is refused."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.agent.operations import edge_operations, extension_operations, flag_operation
from controller.agent.state import State, Wanted
from controller.agent.values import joined, lines
from controller.calls.commands import _aor, _dialled, _word
from controller.compiler import dialplan
from controller.errors import InputError, UnsafeValue
from controller.escape import argument
from controller.wire.ami_frames import encode
from controller.wire.jsonrpc import _encode
from tests.unit.compiler.test_dialplan import separate
from tests.unit.samples import ACME, ALICE, SYSTEM

PIECES = st.sampled_from([
    *"'\"`\\,;:=&|^#%~<>()[]{}$@+*-. \t\r\n\0\x7fax1é\u2028\u202e",
    "${SHELL(id)}", "$[1+1]", "\\${X}", "&PJSIP/x", "Local/1@system", "^s^1", "exten => x", "same => n,",
    "\r\nAction: Command\r\nCommand: core stop now\r\n\r\n", "\r\nX-DP-Trunk: carrier", '" <sip:evil@example.org>',
    "--", "'; DROP TABLE entry;--", '","method":"core.kill', "\\n", "\\u000a", ";limit=9", "s:", "i:7", "%0d%0a",
])  # fmt: skip
TEXT = st.lists(PIECES, max_size=12).map("".join)


def frame_lines(action: str, fields: tuple[tuple[str, str], ...]) -> None:
    """The action has the lines it was made of and no other."""
    frame = encode(action, "7", dict(fields))
    assert frame.decode().removesuffix("\r\n\r\n").split("\r\n") == [
        f"Action: {action}", "ActionID: 7", *(f"{name}: {value}" for name, value in fields),
    ]  # fmt: skip
    assert frame.count(b"\n") == 3 + len(fields)
    assert b"\0" not in frame


@given(TEXT, TEXT, TEXT)
def test_from_a_row_to_the_action_it_stays_one_argument(display: str, box: str, company: str) -> None:
    account = replace(
        ACME,
        display_name=company,
        users=(replace(ALICE, display_name=display), *ACME.users[1:]),
        mailboxes=tuple(replace(one, display_name=box) for one in ACME.mailboxes),
    )
    plain, hostile = (dialplan.account_dialplan(one, SYSTEM) for one in (ACME, account))
    assert hostile.keys() == plain.keys()
    for key, value in hostile.items():
        assert not re.search(r"\$[{\[]", value), "would be substituted"
        assert joined(lines(value)) == value
        for line, as_before in zip(lines(value), lines(plain[key]), strict=True):
            assert line.app == as_before.app
            assert len(separate(line.data)) == len(separate(as_before.data))
        for one in extension_operations(key, value, None):
            frame_lines(one.action, one.fields)


@given(TEXT, TEXT, TEXT)
def test_a_flag_is_one_action_or_none(family: str, key: str, value: str) -> None:
    with contextlib.suppress(UnsafeValue):
        one = flag_operation(f"{family}/{key}", value)
        frame_lines(one.action, one.fields)


@given(st.sampled_from(["number", "block", "account"]), TEXT, st.none() | TEXT)
def test_a_request_to_kamailio_is_one_request(table: str, key: str, value: str | None) -> None:
    for one in edge_operations([Wanted(table, key, value)]):
        try:
            data = _encode(one.method, one.params, 7, None)
        except UnsafeValue:
            assert "\0" in key + (value or "")
            continue
        said = json.loads(data)
        assert said == {"jsonrpc": "2.0", "method": one.method, "params": list(one.params), "id": 7}
        assert b"\n" not in data


@contextlib.contextmanager
def state_file() -> Iterator[State]:
    with tempfile.TemporaryDirectory() as folder:
        state = State(Path(folder) / "state.db")
        yield state
        state.close()


@given(st.lists(st.tuples(TEXT, TEXT), max_size=5), TEXT)
@settings(max_examples=40, deadline=None)
def test_the_state_file_gives_back_what_it_was_given(changes: list[tuple[str, str]], text: str) -> None:
    line = f"Return({argument(text)})"
    wanted = dict(changes) | {"kept": "1"}
    with state_file() as state:
        state.stage([Wanted("number", key, value) for key, value in wanted.items()], 1)
        state.stage([Wanted("dialplan", "account-x/1", line)], 2)
        base = sqlite3.connect(state.path)

        def rows(query: str) -> list[Any]:
            return base.execute(query).fetchall()

        assert dict(rows("SELECT key_name, key_value FROM ht_number")) == wanted
        assert rows("SELECT var_name, var_val FROM ast_config") == [("exten", f"1,1,{line}")]
        state.stage([Wanted("number", key, None) for key, _ in changes], 3)
        assert rows("SELECT key_name FROM ht_number") == ([] if "kept" in dict(changes) else [("kept",)])
        base.close()


@given(TEXT)
def test_what_an_operator_names_holds_nothing_but_names(text: str) -> None:
    for check in (_dialled, _aor, _word):
        with contextlib.suppress(InputError):
            assert re.fullmatch(r"[A-Za-z0-9+*#._@-]*", check(text))
