"""The table in the box, and datasheets."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest

from nas.errors import ArchsweepError, DataError
from nas.nasbench101.catalogue import cells_up_to
from nas.table.packaged import PACKAGED, packaged_table
from nas.table.table import METRICS, Table, TableData, write
from orchestrator.cli.compare import compare
from orchestrator.cli.look import analyze
from orchestrator.cli.table import datasheet as datasheet_command
from orchestrator.cli.table import info, query, verify
from orchestrator.cli.train import drift
from orchestrator.search.search import Search
from orchestrator.settings.config import parse
from orchestrator.tables.datasheet import against, between_budgets, datasheet, reliability

Run = Callable[..., subprocess.CompletedProcess[str]]
CELLS = np.arange(400, dtype=np.int32)


def synthetic(path: Path, noise: float, repeats: int = 3) -> Table:
    """Cells whose quality is their rank; the larger of two budgets adds so much noise, the smaller three times that."""
    rng = np.random.default_rng(0)
    quality = np.linspace(0.6, 0.9, len(CELLS))[:, None, None]
    scale = np.array([3, 1])[None, :, None] * noise
    validation, test = (quality + scale * rng.normal(size=(len(CELLS), 2, repeats)) for _ in range(2))
    metrics = {
        "final_validation_accuracy": validation,
        "final_test_accuracy": test,
        "final_training_time": np.full(validation.shape, 2.0),
    }
    hashes = rng.integers(0, 256, (len(CELLS), 16), dtype=np.uint8)
    made = {"plan": {"repeats": repeats, "setting": {"recipe": {"optimizer": "sgd"}}}, "machine": {"cpu": "abacus"}}
    write(TableData(CELLS, hashes, CELLS + 1, (1, 3), metrics, "here", made), path)
    return Table(path)


def test_a_search_without_a_table_takes_the_one_in_the_box(
    small_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.table.packaged.PACKAGED", small_table)
    config = parse({"trials": 20, "tracking": {"enabled": False}}, "test")
    job = Search(config, tmp_path / "run")
    assert job.run().trials == 20
    assert job.identity["table"] == Table(small_table).fingerprint
    assert config.label == PACKAGED.stem


@pytest.mark.parametrize("command", [info, query, verify, datasheet_command, analyze, compare, drift])
def test_commands_that_read_a_table_take_the_one_in_the_box(
    command: click.Command, small_table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.table.packaged.PACKAGED", small_table)
    assert command.make_context("it", []).params["table"] == small_table
    assert command.make_context("it", ["other.arrow"]).params["table"] == Path("other.arrow")


def test_without_it_the_search_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.table.packaged.PACKAGED", tmp_path / "none.arrow")
    with pytest.raises(ArchsweepError, match="none came with this archsweep; name one "):
        Search(parse({}, "test"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_table_in_the_box_is_whole_and_as_reliable_as_it_says() -> None:
    table = Table(packaged_table())
    assert PACKAGED.stat().st_size < 4_000_000
    assert table.names == METRICS
    assert sorted(table.cells.tolist()) == cells_up_to(5).tolist()
    assert len(table.budgets) >= 3
    assert table.repeats >= 3
    assert {"plan", "machine"} <= table.made.keys()
    largest = reliability(table)[-1]
    assert largest.rho_repeats >= 0.85
    assert largest.resolution >= 10


def test_the_datasheet_beside_it_is_its_own() -> None:
    beside = PACKAGED.with_name("README.md").read_text(encoding="utf-8")
    for part in datasheet(Table(PACKAGED), "fashion5").split("\n\n")[1:]:
        assert part.strip() in beside


def test_reliability_is_what_the_values_are(tmp_path: Path) -> None:
    table = synthetic(tmp_path / "t.arrow", 0.01)
    small, large = reliability(table)
    assert small.rho_repeats < large.rho_repeats < 1
    assert small.repeat_deviation == pytest.approx(0.03, rel=0.2)
    assert large.repeat_deviation == pytest.approx(0.01, rel=0.2)
    assert large.resolution == pytest.approx(30, rel=0.3)
    assert large.deviation == pytest.approx(0.3 / np.sqrt(12), rel=0.05)
    assert large.rho_test > 0.97
    assert (large.seconds, large.diverged) == (400 * 3 * 2, 0)
    assert 0.9 < between_budgets(table)["1 and 3 epochs"] < 1
    noisy = synthetic(tmp_path / "noisy.arrow", 1.0)
    assert abs(against(noisy, table)["1 epochs"]) < 0.3 < against(table, table)["3 epochs"]


def test_a_datasheet_says_recipe_machine_time_and_reliability(tmp_path: Path, archsweep: Run) -> None:
    path = tmp_path / "t.arrow"
    table = synthetic(path, 0.01)
    sheet = datasheet(table, "t", table)
    for part in ("| setting.recipe.optimizer | sgd |", "| cpu | abacus |", "80.0 min of", "1 and 3 epochs: 0.9"):
        assert part in sheet
    done = archsweep("table", "datasheet", path, "--json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert [budget["epochs"] for budget in values["budgets"]] == [1, 3]
    assert values["made"] == table.made


def test_a_table_without_repeats_has_no_datasheet(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no repeats"):
        reliability(synthetic(tmp_path / "t.arrow", 0.01, repeats=1))
