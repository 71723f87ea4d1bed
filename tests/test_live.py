"""Searches that train every cell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.catalogue import cells_up_to
from nas.errors import ArchsweepError
from nas.trial import Status, Trial
from orchestrator.config import parse
from orchestrator.journal import Reading
from orchestrator.search import Search
from workers.recipe import preset
from workers.train_source import TrainSpec, budgets_up_to, train_source

SHORT = {"objective": {"epochs": 1}, "tracking": {"enabled": False}, "searcher": {"name": "random"}}
TRAIN = {"kind": "train", "dataset": "digits", "max_vertices": 4}


def prepared(run_dir: Path, **values: Any) -> Search:
    return Search(parse({**SHORT, "evaluator": TRAIN, **values}, "test"), run_dir)


def told(run_dir: Path) -> list[Trial]:
    return [trial for trial in Reading(run_dir / "journal.jsonl") if trial.status is Status.TOLD]


def test_a_search_trains_each_cell_and_a_resumed_one_comes_to_the_same_accuracies(tmp_path: Path) -> None:
    values = {"trials": 3, "pool": {"kind": "inline"}}
    summary = prepared(tmp_path / "run", **values).run()
    assert (summary.trials, summary.failed, summary.regret) == (3, 0, None)
    first = told(tmp_path / "run")
    assert {trial.result.source for trial in first if trial.result} == {"train"}
    lines = (tmp_path / "run" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "run" / "journal.jsonl").write_bytes(b"".join(lines[:4]) + lines[4][:9])
    prepared(tmp_path / "run", **values).run()
    again = told(tmp_path / "run")
    assert [t.result.objective for t in again if t.result] == [t.result.objective for t in first if t.result]


def test_the_journal_says_how_cells_are_trained_and_another_way_is_refused(tmp_path: Path) -> None:
    values = {"trials": 1, "pool": {"kind": "inline"}}
    prepared(tmp_path / "run", **values).run()
    header = json.loads((tmp_path / "run" / "journal.jsonl").read_text().splitlines()[0])["search"]
    assert header["evaluator.recipe.optimizer"] == "sgd"
    assert "table" not in header
    for change, named in (
        ({"objective": {"epochs": 2}}, "evaluator.recipe.epochs = 1, not 2"),
        ({"evaluator": {**TRAIN, "preset": "nasbench101"}}, "evaluator.skeleton.stem_channels = 4, not 128"),
    ):
        with pytest.raises(ArchsweepError, match="holds another search") as error:
            prepared(tmp_path / "run", **values, **change).run()
        assert named in str(error.value)


def test_live_training_runs_on_ray_with_a_trainer_a_core_unless_told_otherwise() -> None:
    config = parse({"evaluator": TRAIN}, "test")
    assert config.pool.kind == "ray"
    assert parse({"evaluator": TRAIN, "pool": {"workers": 7}}, "test").pool.workers == 7
    assert parse({"evaluator": TRAIN, "pool": {"kind": "inline"}}, "test").pool.kind == "inline"


def test_a_source_says_which_cells_and_budgets_there_are() -> None:
    source = train_source(TrainSpec(preset("cpu", "digits")), max_vertices=4)
    assert source.budgets == (1, 3, 9)
    assert np.array_equal(source.cells, cells_up_to(4))
    assert train_source(TrainSpec(preset("nasbench101"))).cells is None
    assert budgets_up_to(108) == (4, 12, 36, 108)
    assert budgets_up_to(10) == (10,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pool": {"kind": "simulated"}}, "takes real time; use --pool inline or ray"),
        ({"objective": {"repeat": "mean"}}, "no repeats to choose from"),
        ({"table": "x.arrow"}, "drop the table"),
        ({"evaluator": {"kind": "trian"}}, r"evaluator\.kind = 'trian': choose from 'table', 'train'"),
        ({"evaluator": {"preset": "cpu"}}, r"key 'evaluator\.kind' is missing"),
        ({"evaluator": {**TRAIN, "layers": 3}}, r"unknown key 'evaluator\.layers'"),
        ({"evaluator": {**TRAIN, "preset": "gpu"}}, "unknown preset 'gpu'"),
        ({"evaluator": {**TRAIN, "dataset": "cifar-10", "data": "."}, "pool": {"kind": "inline"}}, "get cifar-10"),
    ],
)
def test_what_cannot_be_trained_is_one_line_before_the_folder_is_touched(
    values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ArchsweepError, match=message):
        prepared(tmp_path / "run", **values)
    assert not (tmp_path / "run").exists()
