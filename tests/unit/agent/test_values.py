"""Values taken apart, operations decided: no server."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.agent.operations import edge_operations, extension_operations, module_of
from controller.agent.server import Slice
from controller.agent.settings import from_environment
from controller.agent.state import State, Wanted
from controller.agent.store import squashed
from controller.agent.values import canonical, lines
from controller.agent.verify import described, differences
from controller.entries import Kind
from controller.errors import InputError, UnsafeValue


def test_lines_as_asterisk_takes_them_apart() -> None:
    assert lines("hint:PJSIP/a&PJSIP/b\nDial(PJSIP/edge/sip:a(b)@c,20)\nHangup") == (
        ("hint", "PJSIP/a&PJSIP/b", ""),
        ("1", "Dial", "PJSIP/edge/sip:a(b)@c,20"),
        ("2", "Hangup", ""),
    )
    assert canonical("dialplan", "Hangup") == canonical("dialplan", "Hangup()") == "Hangup()"


def told(meant: str | None, found: str | None) -> list[tuple[str, str]]:
    return [
        (one.action.removeprefix("DialplanExtension"), dict(one.fields).get("Priority", "all"))
        for one in extension_operations("c/1", meant, found)
    ]


@pytest.mark.parametrize(
    ("meant", "found", "operations"),
    [
        ("A()\nB()", None, [("Add", "2"), ("Add", "1")]),
        ("A()\nB()", "A()\nB()", []),
        ("A()", "X()\nB()\nC()", [("Add", "1"), ("Remove", "3"), ("Remove", "2")]),
        ("A()\nB()", "hint:h\nA()\nC()", [("Add", "2"), ("Remove", "hint")]),
        ("hint:h\nA()", "A()", [("Add", "hint")]),
        (None, "A()", [("Remove", "all")]),
        (None, None, []),
        ("A()\nB()", "\nB()", [("Add", "1")]),
    ],
)
def test_an_extension_costs_what_differs(
    meant: str | None, found: str | None, operations: list[tuple[str, str]]
) -> None:
    assert told(meant, found) == operations


def test_a_registration_is_replaced_not_doubled() -> None:
    value = "user=u;host=h;ha1=x;expires=300"
    operations = list(edge_operations([Wanted("registration", "t", value)]))
    assert [one.method for one in operations] == ["uac.reg_remove", "uac.reg_add"]
    assert operations[1].params == (
        *("t", "u", "h", "u", "h", ".", "u", ".", "x", "sip:h:5060;transport=udp"),
        *(300, 0, 0, ".", ".", "."),
    )
    with pytest.raises(UnsafeValue):
        list(edge_operations([Wanted("registration", "t", "host=h")]))


def test_a_file_no_module_reads_is_refused() -> None:
    assert module_of("sub/pjsip-edges.conf") == "res_pjsip.so"
    with pytest.raises(UnsafeValue, match="no module reads it"):
        module_of("nonsense.conf")


def test_squashed_keeps_the_last_of_each_key() -> None:
    changes = [Wanted("t", "a", "1"), Wanted("t", "b", "1"), Wanted("t", "a", None)]
    assert squashed(iter(changes)) == [Wanted("t", "b", "1"), Wanted("t", "a", None)]


def test_digests_stay_out_of_reports() -> None:
    wrong = differences("credential", Slice({"a": "md5=0123;sha256=abcd"}, {"a": "md5=4567"}))
    assert described(wrong) == "credential a: expected 'md5=…;sha256=…', found 'md5=…'"
    many = differences("t", Slice({f"{n}": "1" for n in range(9)}, {}))
    assert described(many).endswith("; and 4 more")


def test_settings_name_every_problem(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        from_environment({"DIALPLANE_KIND": "toaster", "DIALPLANE_AMI_PORT": "x"}, tmp_path / "none.ini")
    assert "DIALPLANE_KIND" in str(raised.value)
    assert "DIALPLANE_AMI_PORT" in str(raised.value)


def test_environment_before_ini(tmp_path: Path) -> None:
    ini = tmp_path / "agent.ini"
    ini.write_text("[agent]\nnode = fromini\nkind = media\nstate = /x\n")
    settings = from_environment({"DIALPLANE_NODE": "fromenv"}, ini)
    assert (settings.node, settings.kind, settings.state_file) == ("fromenv", Kind.MEDIA, Path("/x/state.db"))


def test_views_are_what_the_servers_read(tmp_path: Path) -> None:
    state = State(tmp_path / "state.db")
    registration = "user=u;realm=r;ha1=h;host=192.0.2.1;port=5080;transport=tcp;expires=300"
    state.load(
        [
            ("credential", "a@b", "account=x"),
            ("registration", "t", registration),
            ("dialplan", "account-x/101", "hint:Custom:a\nNoOp(1,2)\nHangup"),
            ("mailbox", "101@x", '{"fullname": "A", "email": null, "pin": null}'),
        ],
        7,
    )
    rows = state._all("SELECT * FROM ht_credential", ())
    assert rows == [("a@b", 0, 0, "account=x", 0)]
    (row,) = state._all("SELECT l_uuid, auth_proxy, auth_ha1, expires FROM uacreg", ())
    assert row == ("t", "sip:192.0.2.1:5080;transport=tcp", "h", 300)
    # The query of res_config_sqlite3.
    query = (
        "SELECT category, var_name, var_val FROM ast_config WHERE filename = 'dialplane-accounts.conf'"
        " AND commented = 0 ORDER BY cat_metric ASC, var_metric ASC"
    )
    lines_ = state._all(query, ())
    assert lines_ == [
        ("account-x", "exten", "101,hint,Custom:a"),
        ("account-x", "exten", "101,1,NoOp(1,2)"),
        ("account-x", "exten", "101,2,Hangup()"),
    ]
    assert state.box("101", "x") == ("101", "x", "!", "A", "", "")
    assert (tmp_path / "state.db").stat().st_mode & 0o777 == 0o660
    state.close()


def test_live_follows_held_only_when_nothing_waits(tmp_path: Path) -> None:
    state = State(tmp_path / "state.db")
    change = Wanted("account", "a", "1")
    state.stage([change], 3)
    assert (state.held(), state.live(), state.pending_count()) == (3, 0, 1)
    newer = Wanted("account", "a", "2")
    state.stage([newer], 4)
    state.clear([change])  # read back too late: the newer one still waits
    assert (state.live(), state.pending(9)) == (0, [newer])
    state.clear([newer])
    assert state.live() == 4
    doubts = state.doubts()
    state.load([("account", "a", "3")], 5)
    state.verified(doubts)
    assert state.live() == 0
    state.verified(state.doubts())
    assert state.live() == 5
    state.close()
