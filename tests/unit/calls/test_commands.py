"""What the agent is asked, without a server."""

from __future__ import annotations

import pytest

from controller.calls.commands import _aor, _dialled, dialogs, run
from controller.errors import InputError

EV = '"call":"c1","leg":"in","edge":"edge1","account":"acme","caller":"alice","called":"102","device":"d@a","trunk":""'


def test_dialogs_are_listed_by_call() -> None:
    one = {"h_entry": 7, "h_id": 9, "call-id": "x@y", "state": 4, "start_ts": 100, "init_ts": 99}
    listed = [
        one | {"caller": {"cseq": "1"}, "variables": [{"ev": EV}, {"node": "media1"}]},
        one | {"h_id": 10, "state": 2, "variables": [{"ev": EV.replace('"in"', '"out"')}]},
        one | {"h_id": 11, "state": 5, "variables": [{"ev": EV}]},
        one | {"h_id": 12, "variables": []},
        one | {"h_id": 13, "variables": [{"ev": '"torn'}]},
    ]
    found = dialogs(listed)
    assert [(leg["id"], leg["state"], leg["leg"]) for leg in found["c1"]] == [
        ("7:9", "up", "in"),
        ("7:10", "ringing", "out"),
    ]
    assert [leg["id"] for leg in found["sip:x@y"]] == ["7:12", "7:13"]
    assert dialogs(None) == {}


@pytest.mark.parametrize("text", ["", "1,2", "1&PJSIP/x", "1\r\n", "${X}", "1)(", None, 7, "ä"])
def test_nothing_but_a_number_reaches_a_dial_string(text: object) -> None:
    with pytest.raises(InputError):
        _dialled(text)
    with pytest.raises(InputError):
        _aor(text)


async def test_arguments_that_cannot_be_used_are_a_result() -> None:
    async def handler(arguments: object) -> dict[str, object]:
        raise KeyError("call")

    assert (await run({"hangup": handler}, "hangup", {}))["outcome"] == "refused"
