"""What a search of several goals reports: the front that brute force finds, and its hypervolume."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from nas.nasbench101.cell import Cell
from nas.nasbench101.network import catalogue_costs
from nas.trial import Proposal, Result, Trial
from orchestrator.records.front import WORST, Front
from orchestrator.records.state import State
from orchestrator.search.search import Search
from orchestrator.settings.config import parse
from searchers.goals import Goal
from searchers.nsga2 import Nsga2

GOALS = (Goal.ACCURACY, Goal.PARAMETERS, Goal.SECONDS)


def told(number: int, cell: int, accuracy: float, seconds: float | None, epochs: int | None = None) -> Trial:
    trial = Trial(number, Proposal(Cell.numbered(cell), epochs), 0, 0, 0.0)
    return trial.succeeded(Result(accuracy, seconds), 0.0, 1.0)


def test_the_front_is_what_brute_force_finds_and_the_hypervolume_what_sampling_finds() -> None:
    rng = np.random.default_rng(0)
    front = Front(GOALS, 108, 1_000.0)
    cells, accuracies, seconds = rng.integers(423_624, size=200), rng.uniform(size=200), rng.uniform(1, 1_000, size=200)
    for number in range(200):
        front(told(number, int(cells[number]), float(accuracies[number]), float(seconds[number])), State())
    parameters = catalogue_costs()[cells, 0]
    values = np.stack([accuracies, 1 - parameters / WORST[Goal.PARAMETERS], 1 - seconds / 1_000], 1)
    beaten = [
        any((values[other] >= one).all() and (values[other] > one).any() for other in range(200)) for one in values
    ]
    assert sorted(best.trial for best in front.points) == np.flatnonzero(~np.array(beaten)).tolist()
    samples = rng.uniform(size=(100_000, 3))
    share = (samples[:, None] <= values[None, ~np.array(beaten)]).all(2).any(1).mean()
    assert front.hypervolume == pytest.approx(share, abs=0.01)


def test_equals_short_trainings_and_failures_add_nothing() -> None:
    front = Front((Goal.ACCURACY, Goal.SECONDS), 108, 10.0)
    assert front.hypervolume == 0
    front(told(0, 7, 0.9, 5.0, 108), State())
    for trial in (told(1, 8, 0.9, 5.0), told(2, 9, 0.99, 1.0, 4), told(3, 10, 0.99, None)):
        front(trial, State())
    front(Trial(4, Proposal(Cell.numbered(7)), 0, 0, 0.0).failed("no", 0.0, 1.0), State())
    assert [best.trial for best in front.points] == [0]
    assert front.hypervolume == pytest.approx(0.9 * 0.5)
    assert front.to_json()[0] == {
        "trial": 0, "hash": Cell.numbered(7).module_hash, "accuracy": 0.9, "seconds": 5.0
    }  # fmt: skip


def test_without_a_longest_training_there_is_a_front_and_no_hypervolume() -> None:
    front = Front((Goal.ACCURACY, Goal.SECONDS), 108, None)
    front(told(0, 7, 0.9, 5.0), State())
    assert len(front.points) == 1
    assert front.hypervolume is None


def test_no_cell_costs_more_than_the_worst() -> None:
    assert catalogue_costs().max(0).tolist() == [WORST[Goal.PARAMETERS], WORST[Goal.MACS]]


@pytest.mark.parametrize(
    ("searcher", "goals"),
    [
        ({"name": "nsga2", "population": 10}, {"accuracy", "parameters", "seconds"}),
        ({"name": "optuna", "sampler": "motpe", "goals": ["accuracy", "macs"]}, {"accuracy", "macs"}),
        ({"name": "random"}, None),
    ],
)
def test_a_search_of_several_goals_leaves_its_front(
    searcher: dict[str, object], goals: set[str] | None, small_table: Path, tmp_path: Path
) -> None:
    values = {
        "table": str(small_table),
        "trials": 40,
        "searcher": searcher,
        "tracking": {"uri": f"sqlite:///{tmp_path}/m.db"},
    }
    summary = Search(parse(values, "test"), tmp_path / "run").run()
    found = json.loads((tmp_path / "run" / "result.json").read_bytes())
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_bytes().splitlines()]
    logged = [line["metrics"] for line in lines if "metrics" in line]
    assert (tmp_path / "run" / "front.png").is_file() is (goals is not None)
    if goals is None:
        assert found["front"] is found["hypervolume"] is None
        assert not any("hypervolume" in metrics for metrics in logged)
        return
    assert summary.front
    assert set(summary.front[0]) == {"trial", "hash", *goals}
    assert found["front"] == summary.front
    assert logged[-1]["hypervolume"] == found["hypervolume"] == summary.hypervolume
    grown = [metrics["hypervolume"] for metrics in logged]
    assert grown == sorted(grown)
    trials = pyarrow.parquet.read_table(tmp_path / "run" / "trajectory.parquet").to_pylist()
    assert max(row["objective"] for row in trials) == max(best["accuracy"] for best in summary.front)


def test_a_repeated_result_takes_as_long_as_the_first(small_table: Path, tmp_path: Path) -> None:
    """It costs nothing, but the cell trains no faster: repeats must not fill the front, nor NSGA-II's survivors."""
    values = {"table": str(small_table), "trials": 300, "searcher": {"name": "nsga2", "population": 10}}
    search = Search(parse({**values, "tracking": {"enabled": False}}, "test"), tmp_path / "run")
    summary = search.run()
    assert summary.duplicates > 50
    assert summary.front
    assert min(best["seconds"] for best in summary.front) > 0
    assert isinstance(search.searcher, Nsga2)
    alive = search.searcher._parents + search.searcher._children
    assert all(seconds < 0 for _, (_, _, seconds) in alive)
