"""Programs: lines that stay lines, with what people wrote inside their arguments."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller import escape
from controller.errors import TemplateError
from controller.policy import media, program
from controller.policy.program import MAX_LINE_BYTES, Act, Leg


@given(st.text(max_size=60), st.text(max_size=60))
@example("ends in a backslash \\", "")
def test_no_text_leaves_its_argument(first: str, second: str) -> None:
    line = Act("dp-caller", (first, second)).line
    assert "\n" not in line
    assert "${" not in line
    folded = tuple(escape.SPACE.sub(" ", one).strip() for one in (first, second))
    assert media.application(f"Gosub({line})").arguments == folded


def test_legs_that_do_not_fit_are_collected_before() -> None:
    legs = [Leg(f"device-{number}@{'x' * 60}.example", number) for number in range(50)]
    acts = program.ring(legs, 600, "sc")
    assert [act.context for act in acts] == ["dp-more"] * (len(acts) - 1) + ["dp-legs"]
    assert len(acts) > 4
    assert all(len(act.line.encode()) <= MAX_LINE_BYTES for act in acts)
    joined = "&".join(act.arguments[0] for act in acts)
    assert joined == "&".join(f"{leg.address}~{leg.delay_s}" if leg.delay_s else leg.address for leg in legs)
    assert acts[-1].line.endswith(",600,sc)")


@pytest.mark.parametrize("address", ["a&b@acme.example", "a,b", "${X}", "", "a b", "a)"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(TemplateError, match="cannot be a name"):
        program.ring([Leg(address)], 20)


def test_a_line_that_is_too_long_is_refused() -> None:
    with pytest.raises(TemplateError, match="at most 900 bytes"):
        _ = Act("dp-caller", ("", "ü" * 500)).line
