"""`archsweep drift`: whether this pipeline reproduces a table."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import ArchsweepError
from nas.table.table import Table, TableData, write
from orchestrator.tables.build import Plan, build
from orchestrator.tables.drift import drift, fewest_cells, judge
from workers.recipe import preset

Run = Callable[..., subprocess.CompletedProcess[str]]
PLAN = Plan(3, preset("cpu", "digits"), (1, 2), repeats=3)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drift") / "table.arrow"
    build(PLAN, out, workers=1)
    return out


def changed(table: Table, out: Path, **changes: object) -> Table:
    """The table with other values."""
    data = TableData(
        table.cells,
        table.hashes,
        table.parameters,
        table.budgets,
        {name: table.metric(name) for name in table.names},
        "here",
        table.made,
    )
    write(replace(data, **changes), out)  # type: ignore[arg-type]
    return Table(out)


def test_a_built_table_records_how_it_was_trained_and_is_reproduced_from_that_alone(built: Path) -> None:
    table = Table(built)
    assert Plan.from_json(table.made["plan"]) == PLAN
    assert set(table.made["machine"]) == {"system", "cpu", "python", "torch"}
    found = drift(table, None, 2, 4, 0.01, 1, 1)
    assert found.reproduced
    assert [len(cell["new"]) for cell in found.cells] == [3] * 4
    assert all(cell["new"] != cell["table"] for cell in found.cells)  # other seeds
    assert found.detectable > abs(found.shift)


def test_a_table_of_other_accuracies_is_not_reproduced_and_the_exit_code_says_so(
    built: Path, tmp_path: Path, archsweep: Run
) -> None:
    metrics = {name: Table(built).metric(name) for name in Table(built).names}
    raised = {**metrics, "final_validation_accuracy": metrics["final_validation_accuracy"] * 0.5}
    changed(Table(built), tmp_path / "raised.arrow", metrics=raised)
    flags = ("--epochs", 1, "--cells", 6, "--workers", 1, "--json")
    done = archsweep("drift", tmp_path / "raised.arrow", *flags)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert found["reproduced"] is False
    assert found["shift"] > 0
    assert found["p_shift"] < 0.005


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 30), cells=st.integers(4, 12), repeats=st.integers(2, 4))
def test_a_shift_or_a_scatter_far_beyond_the_spread_is_seen(seed: int, cells: int, repeats: int) -> None:
    rng = np.random.default_rng(seed)
    theirs, ours = rng.normal(0.8, 0.01, (2, cells, repeats))
    signs = np.where(np.arange(cells) % 2, 1, -1)[:, None]
    smallest = np.prod([2.0**-1] * cells)  # of two repeats, a cell's labels can be swapped in few ways
    shift, scatter = judge(theirs, ours + 0.2, rng).p[0], judge(theirs, ours + 0.2 * signs, rng).p
    assert shift <= 4 * smallest + 0.001
    assert scatter[1] <= 4 * smallest + 0.001
    assert scatter[0] > scatter[1]  # the cells moved apart, and not together


def test_without_drift_the_test_raises_as_many_alarms_as_it_says() -> None:
    rng = np.random.default_rng(0)
    levels = [min(judge(*rng.normal(0.8, 0.01, (2, 6, 3)), rng).p) for _ in range(150)]
    assert 0.02 <= np.mean(np.array(levels) <= 0.1) <= 0.3  # each statistic at 0.1, together at most 0.2
    same = np.full((4, 3), 0.5)
    assert judge(same, same, rng).p == (1.0, 1.0)


@pytest.mark.parametrize("level", [0.001, 0.01, 0.1])
@pytest.mark.parametrize("repeats", [2, 3, 5])
def test_as_few_cells_as_are_allowed_show_a_shift_that_is_large(repeats: int, level: float) -> None:
    rng, cells = np.random.default_rng(0), fewest_cells(repeats, level)
    for _ in range(10):
        theirs, ours = rng.normal(0.8, 0.01, (2, cells, repeats))
        assert judge(theirs, ours - 0.5, rng).p[0] <= level / 2


def test_trainings_of_a_built_table_that_diverged_may_be_drawn(built: Path, tmp_path: Path) -> None:
    metrics = {name: Table(built).metric(name).copy() for name in Table(built).names}
    metrics["final_validation_accuracy"][:3, 0, 1] = np.nan
    table = changed(Table(built), tmp_path / "diverged.arrow", metrics=metrics)
    found = drift(table, None, 1, 7, 0.01, 0, 1)
    assert sum(cell["table"].count(0.0) for cell in found.cells) == 3
    unknown = changed(table, tmp_path / "unknown.arrow", made={}, metrics=metrics)
    with pytest.raises(ArchsweepError, match="has 4 cells with 3 validation accuracies"):
        drift(unknown, preset("cpu", "digits"), 1, 7, 0.01, 0, 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cells": 8}, "has 7 cells with 3 validation accuracies at 2 epochs"),
        ({"cells": 1, "level": 0.5}, "1 cells with 3 repeats could show no drift at level 0.5; need --cells 2"),
        ({"cells": 2}, "2 cells with 3 repeats could show no drift at level 0.01; need --cells 3"),
        ({"epochs": 9}, "has no budget of 9 epochs"),
        ({"setting": preset("nasbench101")}, "parameters there and .* in this setting"),
    ],
)
def test_what_cannot_be_judged_is_one_line(values: dict[str, object], message: str, built: Path) -> None:
    given = {"setting": None, "epochs": None, "cells": 4, "level": 0.01, "seed": 0, "workers": 1, **values}
    with pytest.raises(ArchsweepError, match=message):
        drift(Table(built), **given)  # type: ignore[arg-type]


def test_a_table_that_does_not_say_how_it_was_trained_needs_a_recipe(built: Path, tmp_path: Path) -> None:
    table = Table(built)
    unknown = changed(table, tmp_path / "unknown.arrow", made={})
    assert unknown.fingerprint == table.fingerprint
    with pytest.raises(ArchsweepError, match="name a recipe with --preset"):
        drift(unknown, None, None, 4, 0.01, 0, 1)
    once = {name: table.metric(name)[:, :, :1] for name in table.names}
    with pytest.raises(ArchsweepError, match="one training a cell"):
        drift(changed(table, tmp_path / "once.arrow", metrics=once), None, None, 4, 0.01, 0, 1)
