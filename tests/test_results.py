"""What a search leaves: rows that equal the journal, pictures that open, the same bytes twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib.image
import pyarrow.parquet
import pytest

from nas.nasbench101.cell import Cell
from nas.table.importing import import_table
from nas.trial import Result, Status
from orchestrator.pictures.cell import SHORT
from orchestrator.records import results
from orchestrator.records.journal import Reading
from orchestrator.records.results import SCHEMA, save_trials
from orchestrator.records.state import State
from orchestrator.records.trajectory import Trajectory
from orchestrator.search.pictures import save_pictures
from orchestrator.search.search import Search
from orchestrator.settings.config import parse

PICTURES = ("regret.png", "best_cell.svg")


def search(run_dir: Path, table: Path, **values: Any) -> Search:
    described = {"table": table, "trials": 60, "tracking": {"enabled": False}, **values}
    job = Search(parse(described, "test"), run_dir)
    job.run()
    return job


@pytest.fixture(scope="module")
def job(small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Search:
    return search(tmp_path_factory.mktemp("results") / "run", small_table)


def rows(path: Path) -> list[dict[str, Any]]:
    table = pyarrow.parquet.read_table(path)
    assert table.schema.equals(SCHEMA)
    listed: list[dict[str, Any]] = table.to_pylist()
    return listed


def test_every_row_is_a_finished_trial_of_the_journal(job: Search) -> None:
    finished = [trial for trial in Reading(job.run_dir / "journal.jsonl") if trial.status is not Status.PENDING]
    listed = rows(job.run_dir / "trajectory.parquet")
    assert len(listed) == len(finished) == 60
    for row, trial in zip(listed, finished, strict=True):
        assert (row["trial"], row["status"], row["worker"]) == (trial.number, "told", trial.worker)
        assert Cell.from_json({name: row[name] for name in ("adjacency", "operations")}) == trial.proposal.cell
        assert row["cell"] == trial.proposal.cell.key
        assert json.loads(row["provenance"]) == trial.proposal.provenance
        assert (row["asked"], row["started"], row["finished"]) == (trial.asked, trial.started, trial.finished)
        for name in Result.__dataclass_fields__:
            assert row[name] == getattr(trial.result, name)


def test_a_failed_trial_has_its_reason_and_no_result(tmp_path: Path) -> None:
    source, table = tmp_path / "half.csv", tmp_path / "half.arrow"
    source.write_text(
        "adjacency,operations,epochs,validation_accuracy,training_time\n"
        '010001000,"input,conv3x3-bn-relu,output",108,0.9,10\n'
        '010001000,"input,conv1x1-bn-relu,output",108,0.8,\n'
    )
    import_table(source, table)
    search(tmp_path / "run", table, searcher={"name": "random"}, trials=20)
    for row in rows(tmp_path / "run" / "trajectory.parquet"):
        if row["status"] == "failed":
            assert "training time is unknown" in row["failure"]
            assert row["objective"] is row["source"] is None
        else:
            assert (row["failure"], row["objective"]) == (None, 0.9)
    assert {row["status"] for row in rows(tmp_path / "run" / "trajectory.parquet")} == {"told", "failed"}


def test_rows_are_written_a_bounded_number_at_a_time(
    job: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "ROWS_AT_ONCE", 7)
    save_trials(Reading(job.run_dir / "journal.jsonl"), tmp_path / "few.parquet")
    assert pyarrow.parquet.ParquetFile(tmp_path / "few.parquet").num_row_groups == 9
    assert rows(tmp_path / "few.parquet") == rows(job.run_dir / "trajectory.parquet")


def test_the_summary_is_what_the_rows_say(job: Search) -> None:
    listed = rows(job.run_dir / "trajectory.parquet")
    summary = json.loads((job.run_dir / "result.json").read_text())
    best = max(listed, key=lambda row: row["objective"])
    assert summary["best_objective"] == best["objective"]
    assert summary["best_test_accuracy"] == best["reported"]
    assert summary["best_hash"] == Cell.numbered(best["cell"]).module_hash
    assert summary["clock_seconds"] == listed[-1]["finished"]
    assert summary["trials"] - summary["duplicates"] == len({row["cell"] for row in listed})
    assert summary["regret"] >= 0


def test_the_trajectory_is_the_running_best(job: Search) -> None:
    objectives = [row["objective"] for row in rows(job.run_dir / "trajectory.parquet")]
    records = [n for n, value in enumerate(objectives, 1) if value > max(objectives[: n - 1], default=-1)]
    assert [point.finished for point in job.trajectory.points] == records
    assert [point.objective for point in job.trajectory.points] == [objectives[n - 1] for n in records]


def test_the_pictures_open_and_show_the_best_cell(job: Search) -> None:
    image = matplotlib.image.imread(job.run_dir / "regret.png")
    assert image.shape == (480, 840, 4)
    assert image.min() < image.max()
    svg = ElementTree.parse(job.run_dir / "best_cell.svg").getroot()
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    words = {"".join(text.itertext()).strip() for text in svg.iter("{http://www.w3.org/2000/svg}text")}
    best = job.trajectory.points[-1]
    assert any(best.cell.module_hash in word for word in words)
    for operation in best.cell.pruned.operations:
        assert SHORT.get(operation, operation).split("\n")[0] in words


def test_the_files_are_the_same_bytes_twice(job: Search, tmp_path: Path, small_table: Path) -> None:
    search(tmp_path / "again", small_table)
    for name in (*PICTURES, "trajectory.parquet", "config.toml"):
        assert (tmp_path / "again" / name).read_bytes() == (job.run_dir / name).read_bytes(), name


def test_a_search_without_any_result_has_a_picture_still(tmp_path: Path) -> None:
    assert [path.name for path in save_pictures(tmp_path, [], 0)] == ["regret.png"]
    assert matplotlib.image.imread(tmp_path / "regret.png").size


def test_where_no_test_accuracy_is_known_regret_is_not_made_up(tmp_path: Path) -> None:
    source, table = tmp_path / "a.csv", tmp_path / "a.arrow"
    source.write_text(
        "adjacency,operations,epochs,validation_accuracy,training_time\n"
        '010001000,"input,conv3x3-bn-relu,output",108,0.9,10\n'
    )
    import_table(source, table)
    search(tmp_path / "run", table, trials=3)
    summary = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (summary["best_objective"], summary["best_test_accuracy"], summary["regret"]) == (0.9, None, None)
    assert (tmp_path / "run" / "regret.png").exists()


def test_an_equal_objective_is_no_new_incumbent(job: Search) -> None:
    trajectory, state = Trajectory(1.0), State()
    for trial in Reading(job.run_dir / "journal.jsonl"):
        state.fold(trial)
        if trial.status is Status.TOLD:
            trajectory(trial, state)
            before = len(trajectory.points)
            trajectory(trial, state)
            assert len(trajectory.points) == before
