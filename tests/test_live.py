"""Searches that train every cell."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from nas.errors import ArchsweepError, DataError
from nas.nasbench101.catalogue import cells_up_to
from nas.nasbench101.cell import Cell
from nas.trial import Proposal, Result, Status, Trial
from orchestrator.records.journal import Journal, Reading
from orchestrator.records.state import State
from orchestrator.search.curves import Curves
from orchestrator.search.search import Search
from orchestrator.settings.config import parse
from workers.live import CurveReader, LiveTraining
from workers.ray_fleet import HostSpec
from workers.ray_pool import RayPool
from workers.recipe import preset
from workers.train_source import TrainSpec, budgets_up_to, make_trainer, train_source, trainings

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


@pytest.mark.parametrize("searcher", ["random", "halving"])
def test_a_kill_before_a_result_is_on_record_costs_no_training(
    searcher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir, append = tmp_path / "run", Journal.append
    values = {"trials": 2, "pool": {"kind": "inline"}, "searcher": {"name": searcher}}

    def killed(self: Journal, trial: Trial) -> None:
        if (trial.number, trial.status) == (1, Status.TOLD):
            raise KeyboardInterrupt
        append(self, trial)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", killed)
        job = prepared(run_dir, **values)
        with pytest.raises(KeyboardInterrupt):
            job.run()
    (kept,) = (run_dir / "live").glob("*.safetensors")
    curve = kept.with_suffix(".jsonl")
    before = curve.stat()
    assert prepared(run_dir, **values).run().trials == 2
    assert (curve.stat().st_ino, curve.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not list((run_dir / "live").glob("*.safetensors"))


def kill_a_trainer(live: Path, epochs: int, killed: list[str]) -> None:
    """Kills the process of the first training that is seen after its first and before its last two epochs."""
    while not killed:
        for curve in live.glob("*.jsonl"):
            lines = [json.loads(line) for line in curve.read_bytes().splitlines() if line.endswith(b"}")]
            if lines and lines[-1]["epoch"] < epochs - 2:
                killed += [curve.name, lines[-1]["by"]]
                os.kill(int(lines[-1]["by"].rpartition(":")[2]), signal.SIGKILL)
                return
        time.sleep(0.01)


def search_with_a_kill(run_dir: Path, trials: int, epochs: int, **values: Any) -> list[dict[str, Any]]:
    """Searches on two trainers, one of which is killed; the curve of the training that it had."""
    job = prepared(run_dir, trials=trials, objective={"epochs": epochs}, pool={"workers": 2}, **values)
    killed: list[str] = []
    killer = threading.Thread(target=kill_a_trainer, args=(run_dir / "live", epochs, killed), daemon=True)
    killer.start()
    summary = job.run()
    assert (summary.trials, summary.failed) == (trials, 0)
    curve, by = killed
    lines = [json.loads(line) for line in (run_dir / "live" / curve).read_bytes().splitlines()]
    before = [line["epoch"] for line in lines if line["by"] == by]
    after = [line["epoch"] for line in lines if line["by"] != by]
    assert before[0] == 1 < after[0], "it began anew"
    assert after == list(range(after[0], epochs + 1))
    assert 1 <= after[0] - before[-1] <= 2  # a kill between checkpoint and curve costs the curve an epoch
    assert not list((run_dir / "live").glob("*.safetensors"))
    return lines


def test_a_training_whose_trainer_is_killed_goes_on_elsewhere_and_ends_as_if_it_had_not_been(
    tmp_path: Path, ray_cluster: None
) -> None:
    run_dir = tmp_path / "run"
    search_with_a_kill(run_dir, 2, 8)
    for trial in told(run_dir):
        alone = make_trainer(TrainSpec((preset("cpu", "digits").trained_for(8),)))(trial.proposal, trial.seed)
        assert trial.result is not None
        assert alone.objective == trial.result.objective


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.filterwarnings("ignore")  # MLflow's and SQLAlchemy's own, in the client that looks
def test_forty_cells_on_two_trainers_of_which_one_is_killed_with_their_curves_in_mlflow(
    tmp_path: Path, ray_cluster: None
) -> None:
    run_dir, epochs = tmp_path / "run", 6
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracked = {"evaluator": {**TRAIN, "max_vertices": 5}, "duplicates": "evaluate", "tracking": {"uri": uri}}
    search_with_a_kill(run_dir, 40, epochs, **tracked)
    client = MlflowClient(uri)
    run = client.get_run((run_dir / "mlflow_run_id").read_text())
    assert run.data.metrics["finished"] == 40
    for number in range(40):
        found = client.get_metric_history(run.info.run_id, f"trial_{number}/validation_accuracy")
        assert len(found) == len({point.step for point in found}) >= epochs - 1
        assert max(point.step for point in found) == epochs


def test_a_training_is_stopped_from_outside_and_what_it_has_counts(tmp_path: Path) -> None:
    spec = TrainSpec((preset("cpu", "digits").trained_for(4),), live=tmp_path)
    proposal = Proposal(Cell.numbered(1))
    LiveTraining.of(tmp_path, proposal.cell, 5).stop()
    result = make_trainer(spec)(proposal, 5)
    assert result.source == "train stopped after epoch 1"
    assert result.objective > 0
    assert make_trainer(spec)(proposal, 5) == result, "killed before its result was on record"


def test_a_rung_is_stopped_alone(tmp_path: Path) -> None:
    spec = TrainSpec((preset("cpu", "digits").trained_for(9),), live=tmp_path)
    first, second = (Proposal(Cell.numbered(1), epochs) for epochs in (3, 9))
    for live in trainings(spec, first, 5):
        live.stop()
    assert make_trainer(spec)(first, 5).source == "train stopped after epoch 1"
    assert make_trainer(spec)(second, 6).source == "train"
    for live in (*trainings(spec, first, 5), *trainings(spec, second, 6)):
        live.end()
    assert [path.suffix for path in tmp_path.iterdir()] == [".jsonl"]


def test_stop_ends_pending_trials_of_a_live_search_only(
    tmp_path: Path, archsweep: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    prepared(tmp_path / "run", trials=2, pool={"kind": "inline"}).run()
    done = archsweep("stop", tmp_path / "run", 1)
    assert (done.returncode, done.stderr) == (2, f"archsweep: trial 1 is not under way in {tmp_path / 'run'}\n")
    journal = tmp_path / "run" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]))  # the tell of trial 1
    done = archsweep("stop", tmp_path / "run", 1)
    assert done.returncode == 0, done.stderr
    (asked,) = (tmp_path / "run" / "live").glob("*.stop")
    assert asked.name.startswith(f"{list(Reading(journal))[-1].proposal.cell.key}-")


def test_who_stops_a_trial_that_waits_for_its_twin_stops_that(
    tmp_path: Path, archsweep: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    run_dir, proposal = tmp_path / "run", Proposal(Cell.numbered(1))
    job = prepared(run_dir, trials=2)
    run_dir.mkdir()
    (run_dir / "config.toml").write_text(job.config.to_toml())
    journal = Journal.create(run_dir / "journal.jsonl", job.identity)
    for number in (0, 1):
        journal.append(Trial(number, proposal, 5 + number, number, 0.0))
    journal.close()
    done = archsweep("stop", run_dir, 1)
    assert (done.returncode, done.stderr) == (0, "trial 1 waits for trial 0, the same cell, which is stopped\n")
    (asked,) = (run_dir / "live").glob("*.stop")
    assert asked.name.startswith(f"{proposal.cell.key}-5-")


class FullDisk:
    """An evaluator whose disk is full for a while: ``until`` so many evaluations have been tried there."""

    def __init__(self, tries: Path, until: int) -> None:
        self._tries, self._until = tries, until

    def __call__(self, proposal: Proposal, seed: int) -> Result:
        with self._tries.open("ab") as file:
            file.write(b".")
        if self._tries.stat().st_size <= self._until:
            raise DataError("cannot write a checkpoint: No space left on device; make room")
        return Result(0.5, 1.0)


@pytest.mark.parametrize("until", [2, 99])
def test_a_disk_that_stays_full_ends_the_search_and_no_trial(until: int, tmp_path: Path, ray_cluster: None) -> None:
    pool = RayPool(partial(FullDisk, tmp_path / "tries", until), 1, retries=3, hosts=HostSpec(trials=1))
    try:
        pool.submit(Trial(0, Proposal(Cell.numbered(1)), 5, 0, 0.0))
        if until == 2:
            assert [trial.status for trial in pool.wait()] == [Status.TOLD]
        else:
            with pytest.raises(ArchsweepError, match="No space left on device; make room"):
                pool.wait()
            assert (tmp_path / "tries").stat().st_size == 4
    finally:
        pool.close()


def test_a_promoted_cell_goes_on_where_its_rung_below_ended(tmp_path: Path) -> None:
    run_dir, values = tmp_path / "run", {"objective": {"epochs": 9}, "searcher": {"name": "halving"}}
    prepared(run_dir, trials=12, pool={"kind": "inline"}, **values).run()
    until: dict[int, int] = {}
    for trial in told(run_dir):
        key = trial.proposal.cell.key
        until[key] = max(until.get(key, 0), trial.proposal.epochs or 0)
    assert set(until.values()) >= {1, 3}
    for key, epochs in until.items():
        (curve,) = (run_dir / "live").glob(f"{key}-*.jsonl")
        assert [json.loads(line)["epoch"] for line in curve.read_bytes().splitlines()] == list(range(1, epochs + 1))


def test_a_grid_tries_every_setting_and_the_best_counts_at_the_cost_of_all(tmp_path: Path) -> None:
    settings = preset("cpu", "digits").trained_for(1).grid({"learning_rate": (1e-4, 0.1), "flip": (False,)})
    assert [setting.recipe.learning_rate for setting in settings] == [1e-4, 0.1]
    proposal = Proposal(Cell.numbered(6))
    alone = [make_trainer(TrainSpec((setting,)))(proposal, 5) for setting in settings]
    best = make_trainer(TrainSpec(settings, live=tmp_path))(proposal, 5)
    assert best.objective == max(result.objective for result in alone) > min(result.objective for result in alone)
    assert best.source == "train learning_rate=0.1"
    assert len(list(tmp_path.glob("*.jsonl"))) == 2


def test_a_grid_is_part_of_what_a_search_is() -> None:
    plain, gridded = (
        train_source(TrainSpec(preset("cpu").grid(choices))).identity for choices in ({}, {"flip": (False, True)})
    )
    assert "grid" not in plain["evaluator"]
    assert [recipe["flip"] for recipe in gridded["evaluator"]["grid"]] == [False, True]


def test_curves_reach_the_metrics_file_while_trainings_run(tmp_path: Path) -> None:
    state, written = State(), []
    trial = Trial(0, Proposal(Cell.numbered(1)), 5, 0, 0.0)
    live = LiveTraining.of(tmp_path, trial.proposal.cell, 5)
    spec = TrainSpec((preset("cpu"),), live=tmp_path)
    with Curves(partial(trainings, spec), state, lambda *found: written.append(found)) as curves:
        state.fold(trial)
        for number in (1, 2, 2):
            live.report({"epoch": number, "loss": 0.5})
        while len(written) < 2:
            time.sleep(0.01)
        live.report({"epoch": 3, "loss": 0.5})
        curves(trial.failed("x", 0.0, 1.0), state)
    assert written == [("trial_0", {"epoch": number, "loss": 0.5}) for number in (1, 2, 3)]


def test_a_curve_that_begins_anew_or_is_half_written_is_read_once(tmp_path: Path) -> None:
    reader = CurveReader(tmp_path / "curve")
    assert reader.new() == []
    reader.path.write_bytes(b'{"epoch":1}\n{"epoch":2}\n{"epo')
    assert [epoch["epoch"] for epoch in reader.new()] == [1, 2]
    reader.path.write_bytes(b'{"epoch":1}\n')
    assert reader.new() == []
    reader.path.write_bytes(b'{"epoch":1}\n{"epo{"epoch":2}\n{"epoch":1,"long":1}\n{"epoch":3}\n')
    assert [epoch["epoch"] for epoch in reader.new()] == [3]


def test_an_epoch_for_which_there_is_no_room_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = LiveTraining(tmp_path, "it")
    live.report({"epoch": 1})
    whole = live.curve.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 10, hard))
    try:
        with pytest.raises(DataError, match="make room"):
            live.report({"epoch": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert live.curve.read_bytes() == whole
    live.curve.write_bytes(whole + whole[:9])  # a power cut
    live.report({"epoch": 3})
    assert [epoch["epoch"] for epoch in CurveReader(live.curve).new()] == [1, 3]


def test_what_a_kill_left_of_a_checkpoint_is_removed(tmp_path: Path) -> None:
    values = {"trials": 1, "pool": {"kind": "inline"}}
    live = tmp_path / "run" / "live"
    prepared(tmp_path / "run", **values).run()
    for _ in range(2):  # one that runs to its end, one that has nothing left to do
        (live / ".1-2-0.safetensors.abc.part").touch()
        prepared(tmp_path / "run", **values).run()
        assert not list(live.glob(".*.part"))


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


def test_live_training_runs_on_ray_with_a_trainer_a_core_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.settings.config.available_cores", lambda: 99)
    config = parse({"evaluator": TRAIN}, "test")
    assert (config.pool.kind, config.pool.workers) == ("ray", 99)
    assert parse({"evaluator": TRAIN, "pool": {"workers": 7}}, "test").pool.workers == 7
    assert parse({"evaluator": TRAIN, "pool": {"kind": "inline"}}, "test").pool.kind == "inline"


def test_a_source_says_which_cells_and_budgets_there_are() -> None:
    source = train_source(TrainSpec((preset("cpu", "digits"),)), max_vertices=4)
    assert source.budgets == (1, 3, 9)
    assert np.array_equal(source.cells, cells_up_to(4))
    assert train_source(TrainSpec((preset("nasbench101"),))).cells is None
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
        ({"evaluator": {**TRAIN, "device": "tpu"}, "pool": {"kind": "inline"}}, "no device 'tpu'"),
        ({"evaluator": {**TRAIN, "device": "tpu"}}, "no device 'tpu'"),
        ({"evaluator": {**TRAIN, "dataset": "cifar-10", "data": "."}}, "get cifar-10"),
        ({"evaluator": {**TRAIN, "grid": {"learning_rate": [-1.0]}}}, r"evaluator\.grid\.learning_rate\.0 = -1\.0"),
        ({"evaluator": {**TRAIN, "grid": {"learning_rate": [float("inf")]}}}, r"learning_rate\.0 = inf"),
        ({"evaluator": {**TRAIN, "grid": {"crop": [100_000]}}}, r"evaluator\.grid\.crop\.0 = 100000"),
        ({"evaluator": "train"}, r"evaluator"),
        ({"evaluator": {**TRAIN, "dataset": "cifar-10", "data": "."}, "pool": {"kind": "inline"}}, "get cifar-10"),
    ],
)
def test_what_cannot_be_trained_is_one_line_before_the_folder_is_touched(
    values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ArchsweepError, match=message):
        prepared(tmp_path / "run", **values)
    assert not (tmp_path / "run").exists()
