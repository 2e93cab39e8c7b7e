"""What holds for all tests.

A skipped test prints its reason; where everything must run (DIALPLANE_NO_SKIPS, as `make test` sets it) it fails.
Property tests try 25 examples in `make check` and 100 in `make newest`, where tests marked `thorough` run too;
`make test` does both. None has a deadline: a machine that does other things too is no defect.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("check", deadline=None, max_examples=25)
settings.register_profile("everything", deadline=None, max_examples=100)
settings.load_profile(os.environ.get("DIALPLANE_EXAMPLES", "check"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    report: pytest.TestReport = yield
    if report.skipped and "DIALPLANE_NO_SKIPS" in os.environ and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and nothing may be skipped here: {report.longrepr}"
    return report
