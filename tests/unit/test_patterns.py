from __future__ import annotations

import pytest

from controller.policy.media import application
from controller.policy.patterns import best, matches


@pytest.mark.parametrize(
    ("extension", "dialled", "fits"),
    [
        ("101", "101", True),
        ("101", "1011", False),
        ("_1XX", "199", True),
        ("_1XX", "19", False),
        ("_00[1-9]X!", "0049", True),
        ("_00[1-9]X!", "004", False),
        ("_0[1-9]X!", "0301", True),
        ("_0[1-9]X!", "0049", False),
        ("_+49!", "+49", True),
        ("_+49!", "+48", False),
        ("_X.", "1", False),
        ("_X.", "12", True),
        ("_X!", "1", True),
        ("_[1-35]N", "52", True),
        ("_[1-35]N", "42", False),
        ("_ZXX", "012", False),
        ("_1-2", "12", True),
    ],
)
def test_a_pattern_matches_as_asterisk_does(extension: str, dialled: str, fits: bool) -> None:
    assert matches(extension, dialled) is fits


def test_the_most_specific_pattern_wins() -> None:
    routes = ["_+!", "_+49!", "_+4930!", "_+4930555!", "+4930555010"]
    assert best(routes, "+4930555010") == "+4930555010"
    assert best(routes, "+4930555011") == "_+4930555!"
    assert best(routes, "+4930999") == "_+4930!"
    assert best(routes, "+331") == "_+!"
    assert best(routes, "110") is None


def test_a_gosub_is_named_after_where_it_goes_and_its_arguments_are_unescaped() -> None:
    one = application(r"Gosub(dp-user,s,1(alice,20,a@b&c@d,say\, hello))")
    assert one == ("dp-user", ("alice", "20", "a@b&c@d", "say, hello"))
    assert application("Return(DE,en,)") == ("Return", ("DE", "en", ""))
