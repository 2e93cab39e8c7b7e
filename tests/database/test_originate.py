"""A call placed from the command line: which devices the node is asked to ring, and which of them first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from controller.calls import operator, store
from controller.calls.commands import placed
from controller.errors import InputError
from controller.schema.importer import load, read_company
from tests.database.test_calls import agent
from tests.database.test_features import COMPANY

DESK, APP = "desk1@acme.example", "app1@acme.example"
NODE = "nodes: [{name: n1, kind: media, cluster: c1, address: 10.0.0.1}]\n"


@pytest.fixture(scope="module")
def company(database: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("company") / "company.yaml"
    path.write_text(NODE + COMPANY)
    with psycopg.connect(database) as connection:
        load(connection, read_company(path))
    return database


async def asked(url: str, folder: Path, who: str) -> dict[str, Any]:
    """What the node is asked for."""
    seen: list[dict[str, Any]] = []

    async def originate(arguments: Any) -> dict[str, Any]:
        seen.append(dict(arguments))
        return {"call": "c-1"}

    async with agent(url, folder) as service, store.connect(url) as connection:
        service.handlers["originate"] = originate
        assert await operator.originate(connection, who, "102", ring_s=20) == "c-1"
    [arguments] = seen
    return arguments


@pytest.mark.parametrize(
    ("who", "devices", "first"), [("alice@acme", [APP, DESK], DESK), (APP, [APP], None), (DESK, [DESK], DESK)]
)
async def test_the_preferred_device_is_the_first(
    company: str, tmp_path: Path, who: str, devices: list[str], first: str | None
) -> None:
    arguments = await asked(company, tmp_path, who)
    assert (arguments["devices"], arguments["first"]) == (devices, first)
    assert (arguments["user"], arguments["account"]) == ("alice", "acme")


@pytest.mark.parametrize(
    ("devices", "ring_s", "said"),
    [
        ([APP, DESK], 20, (DESK, 8, 12)),
        ([APP, DESK], 6, (DESK, 3, 3)),
        ([DESK], 20, ("", 0, 20)),
    ],
    ids=["for a while", "half of a short time", "nobody else would ring"],
)
def test_how_long_it_rings_alone(devices: list[str], ring_s: int, said: tuple[str, int, int]) -> None:
    fields = placed("c-1", ring_s, {"devices": devices, "first": DESK, "account": "acme", "to": "102"})
    variables = dict(one.split("=", 1) for one in fields["Variable"])
    names = ("DP_FIRST", "DP_FIRST_S", "DP_RING_S")
    assert tuple(variables[name] for name in names) == tuple(map(str, said))


def test_a_device_with_something_else_in_its_name_is_refused() -> None:
    with pytest.raises(InputError, match="a device"):
        placed("c-1", 20, {"devices": [APP, DESK], "first": "x,evil", "account": "acme", "to": "102"})
