"""What is rendered, as files a person can read: tests/golden/. `UPDATE_GOLDEN=1 pytest` writes them anew."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from controller.compiler import dialplan, dialplan_shared
from tests.media.decided import DECIDED
from tests.unit.samples import ACME, SYSTEM

GOLDEN = Path(__file__).parents[2] / "golden"


def check(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    expected = path.read_text()
    difference = "\n".join(difflib.unified_diff(expected.splitlines(), text.splitlines(), name, "rendered"))
    assert not difference, f"\n{difference}\nUPDATE_GOLDEN=1 writes what is rendered now"


def test_account() -> None:
    check("account-acme.conf", dialplan.render_account(ACME, SYSTEM))


def test_account_whose_calls_are_decided() -> None:
    check("account-dec-1.conf", dialplan.render_account(DECIDED, SYSTEM))


def test_shared() -> None:
    check("shared.conf", dialplan_shared.render_shared(SYSTEM))


def test_edges() -> None:
    check("pjsip-edges.conf", dialplan_shared.media_files(SYSTEM)["pjsip-edges.conf"])
