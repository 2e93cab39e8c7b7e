"""`route explain` on the sample company: tests/cases/explain, which the live tests place as real calls too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from controller import pipeline
from controller.policy import explain
from controller.revision.entries import Published

pytestmark = pytest.mark.thorough

CASES = [
    case
    for path in sorted((Path(__file__).parents[1] / "cases" / "explain").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text())
]


@pytest.fixture(scope="module")
def published(sample: str) -> Iterator[psycopg.Connection[Any]]:
    """The sample company as it is."""
    with psycopg.connect(sample) as connection:
        publish(connection)
        yield connection


def publish(connection: psycopg.Connection[Any]) -> None:
    plan = pipeline.make_plan(connection)
    if plan.changes:
        pipeline.publish(connection, plan, author="test", reason="test", unsafe_reason="a test")
    connection.commit()


def told(connection: psycopg.Connection[Any], case: dict[str, Any]) -> list[str]:
    """What is said of the call of a case."""
    call, at = case["call"], case.get("at")
    asked = explain.call_from(
        call.get("from", ""), call["to"], trunk=call.get("trunk"), headers=call.get("headers")
    )
    # YAML gives a time with a zone in UTC, but without saying so.
    when = at.replace(tzinfo=at.tzinfo or UTC) if at else None
    return [step.what for step in explain.explain(asked, Published(connection, when))]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_what_is_said_of_a_call(
    published: psycopg.Connection[Any],
    new_database: Callable[[str], str],
    published_sample: str,
    case: dict[str, Any],
) -> None:
    if "given" not in case:
        assert told(published, case) == case["steps"]
        return
    with psycopg.connect(new_database(published_sample)) as changed:
        for statement in case["given"]:
            changed.execute(statement)
        publish(changed)
        assert told(changed, case) == case["steps"]
