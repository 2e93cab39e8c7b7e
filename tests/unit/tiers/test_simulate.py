"""The simulation: the same seed is the same result, each event alone does what it must, by the rules of the product."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from controller.cli import main
from controller.errors import BadRows
from controller.tiers import events, plot, rendezvous, story, world
from controller.tiers.events import Event
from controller.tiers.reports import Reports
from controller.tiers.simulate import Outcome, Result, simulate
from controller.tiers.world import Size

pytestmark = pytest.mark.thorough

SMALL = Size(nodes=60, edges=16, accounts=3000, hours=2, seed=5)
NIGHT, DAY_S = Size(nodes=64, edges=16, accounts=3000, hours=9.5, seed=5), 9 * 3600.0


def test_the_same_seed_is_the_same_result_bit_by_bit() -> None:
    happens = events.default(2, 60, 16)
    one, again = (simulate(SMALL, happens) for _ in range(2))
    assert json.dumps(story.data(one)) == json.dumps(story.data(again))
    assert plot.svg(one) == plot.svg(again)
    other = simulate(Size(60, 16, 3000, 2, seed=6), happens)
    assert story.data(other)["total"] != story.data(one)["total"]


def test_nodes_that_report_nothing_new_need_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """The short cut of reports leaves out no change: looking at every node each time gives the same."""
    happens = [Event(DAY_S, "node_freeze", 3), Event(DAY_S + 300, "load_swing", 2, 600, 3.0)]
    short = simulate(NIGHT, happens)
    monkeypatch.setattr(Reports, "_news", lambda self, *_: np.arange(len(self.rows)))
    assert story.data(simulate(NIGHT, happens)) == story.data(short)


def test_accounts_are_placed_as_rendezvous_places_them() -> None:
    weights = {"c001": 3200.0, "c002": 0.0, "c003": 4800.0, "c004": 1600.0}
    names = [world.account_name(n) for n in range(500)]
    found = [list(weights)[n] for n in world.placed(world.digests(names), weights)]
    assert found == [rendezvous.place(name, weights) for name in names]


def alone(kind: str, count: int = 1, factor: float = 1.0, for_s: float = 600) -> tuple[Outcome, Result]:
    """One event in the busy time of a level installation."""
    result = simulate(
        NIGHT, [Event(DAY_S - 3600, "rebalance", 500, 60), Event(DAY_S, kind, count, for_s, factor)]
    )
    return result.outcomes[-1], result


@pytest.mark.parametrize("kind", ["reports_lost", "control_away"])
def test_calls_need_neither_reports_nor_the_database(kind: str) -> None:
    found, _ = alone(kind, 20)
    assert found.count.tried > 1000
    # Nodes that are not heard of take no calls while another of their cluster is: the few that are left may be
    # overloaded, and so may those that take over.
    assert found.count.shed_below == (found.count.shed if kind == "control_away" else 0) == 0
    assert found.count.trouble - found.count.shed == found.count.lost_talking == 0
    assert found.recovered_s == 0 or found.count.shed


def test_a_crashed_node_costs_its_calls_and_no_new_one() -> None:
    found, _ = alone("node_crash", 3)
    assert found.count.lost_talking == found.up > 0
    assert found.count.trouble == 0
    assert found.count.retried >= found.ringing > 0


def test_calls_are_late_by_two_seconds_until_a_frozen_node_is_missed() -> None:
    found, _ = alone("node_freeze", 2)
    assert (found.count.lost_talking, found.count.lost_ringing) == (found.up, found.ringing)
    assert found.count.delayed > 0
    assert found.count.longest_s == 2
    assert found.recovered_s is not None
    assert 3 <= found.recovered_s <= 6


def test_a_lost_cluster_overflows() -> None:
    found, _ = alone("cluster_loss", 1)
    assert found.count.overflowed > 0
    assert 2 <= found.count.longest_s <= 16


def test_phones_of_a_crashed_edge_are_reachable_again() -> None:
    found, _ = alone("edge_crash", 1)
    assert found.count.unreachable > 0
    assert found.count.refused == found.count.lost_talking == 0
    assert found.recovered_s is not None
    assert found.recovered_s < 240


def test_accounts_that_call_much_more_overflow() -> None:
    found, result = alone("load_swing", 1, factor=4.0, for_s=1200)
    assert found.count.overflowed > 0
    assert found.level_s is None or found.level_s > 0
    assert sum(one.refused for one in result.samples) == found.count.refused


def test_a_rebalancing_levels_clusters_and_loses_nothing() -> None:
    result = simulate(NIGHT, [Event(DAY_S, "rebalance", 500, 60)])
    assert result.proposal is not None
    assert result.proposal.after <= 1.10 + 1e-6 < result.proposal.before
    before = np.mean([one.cluster_max for one in result.samples if DAY_S - 600 < one.at_s <= DAY_S])
    after = np.mean([one.cluster_max for one in result.samples if one.at_s > DAY_S + 1200])
    assert after < before
    assert result.outcomes[0].count.trouble == 0


def test_one_more_cluster_takes_its_part_and_nothing_else_moves() -> None:
    moved, between, part = simulate(Size(80, 4, 50_000, 0.1), []).one_more
    assert between == 0
    assert moved == pytest.approx(50_000 * part, rel=0.1)


def test_nodes_get_calls_by_weight() -> None:
    mean, p99, most = simulate(Size(16, 4, 2000, 10), []).distribution_pct
    assert mean <= p99 <= most < 5


@pytest.mark.parametrize("nodes", [1, 3, 9])
def test_a_very_small_installation_can_lose_all_its_nodes(nodes: int) -> None:
    result = simulate(Size(nodes, 2, 20, 2), events.default(2, nodes, 2))
    lost = next(one for one in result.outcomes if one.event.kind == "cluster_loss")
    assert (lost.count.refused > 0) == (nodes < 9)
    assert plot.svg(result).endswith("</svg>\n")


def test_every_problem_of_a_file_of_failures_is_named() -> None:
    data = [{"at": 9, "kind": "node_crash"}, {"at": "10:00", "kind": "fire", "count": 0, "size": 1}, "x"]
    with pytest.raises(BadRows) as error:
        events.read(data)
    said = error.value.problems
    assert [one.partition(": ")[2].partition(":")[0] for one in said] == [
        "at",
        "size",
        "kind",
        "count",
        "write a mapping, for example {at",
    ]
    assert all(one.startswith("item ") for one in said)


def test_the_page_shows_the_tables_there_are() -> None:
    page = (Path(__file__).parents[3] / "controller" / "docs" / "scale.md").read_text()
    shown = [" ".join(line.split()) for line in page.splitlines()]
    for table in story.tables(simulate(SMALL, events.default(2, 60, 16))):
        if table.title in {"Events", "All calls", "Placement"}:
            assert shown[shown.index(table.title) + 1] == " ".join(table.columns)
            kinds = [row[0] if table.title != "Events" else row[1] for row in table.rows]
            assert all(any(kind in line for line in shown) for kind in kinds), table.title


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run() -> Run:
    def call(*words: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(main, ["simulate", *words])
        return done.exit_code, done.stdout, done.stderr

    return call


FEW = ("--nodes", "24", "--edges", "4", "--accounts", "500", "--hours", "1")


def test_tables_align_and_progress_is_on_stderr(run: Run) -> None:
    code, out, err = run(*FEW)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "24 media nodes in 3 clusters, 4 edges in 2 device groups, 500 accounts, 1 h, seed 1"
    at = next(n for n, line in enumerate(lines) if line.startswith("calls tried"))
    ends = {len(line.split("  0.0")[0]) for line in lines[at : at + 8] if line.endswith("  0.0")}
    assert len(ends) <= 1
    assert "placing 500 accounts" in err
    assert "placing" not in out


def test_json_and_a_picture(run: Run, tmp_path: Path) -> None:
    picture, file = tmp_path / "day.svg", tmp_path / "bad.yaml"
    file.write_text('- {at: "00:10", kind: node_crash, count: 2, for_s: 60}\n')
    code, out, _ = run(*FEW, "--format", "json", "--plot", str(picture), "--failures", str(file))
    assert code == 0
    data = json.loads(out)
    assert [one["event"]["kind"] for one in data["events"]] == ["node_crash"]
    assert len(data["samples"]) == 60
    root = ET.fromstring(picture.read_text())
    said = [one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "1  00:10  node_crash: 2 media nodes, 60 s" in said
    assert "hours and minutes after the start" in said


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--edges", "3"), "error: --edges 3: two edges make a device group; write an even number"),
        (("--plot", "day.png"), "error: --plot day.png: the picture is SVG; name a file that ends with .svg"),
        (("--failures", "/nowhere.yaml"), "error: --failures /nowhere.yaml: No such file or directory"),
    ],
)
def test_what_cannot_be_used_is_said(run: Run, words: tuple[str, ...], error: str) -> None:
    code, _, err = run(*words)
    assert (code, err.strip()) == (2, error)


def test_without_numpy_the_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    code, _, err = run()
    assert code == 2
    assert (
        err.strip()
        == "error: simulate needs numpy, which is not installed: pip install 'dialplane[simulate]'"
    )
