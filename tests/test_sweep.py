"""Sweeps: what a file means, what a kill changes (nothing), where arms run, what they leave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import ray
from mlflow import MlflowClient

from nas.errors import ArchsweepError
from orchestrator.processes import ProcessDied, completed
from orchestrator.records.finished import Record
from orchestrator.search.search import Search
from orchestrator.settings.config import Config, parse
from orchestrator.studies.audit import audit_run
from orchestrator.sweep import launch_ray
from orchestrator.sweep.arm import Outcome, Task, is_done, run_arm
from orchestrator.sweep.launch import _chained, inline, launcher
from orchestrator.sweep.page import page
from orchestrator.sweep.plan import plan
from orchestrator.sweep.report import report
from orchestrator.sweep.state import Manifest, Results, standing
from orchestrator.sweep.sweep import Sweep
from orchestrator.tracking.arms import ARM_TAG, KIND_TAG, PARENT_TAG

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Until = Callable[[Callable[[], object]], None]

EXAMPLE = Path(__file__).parents[1] / "examples" / "sweep.toml"


def values(table: Path, **sweep: Any) -> dict[str, Any]:
    """A small sweep, untracked."""
    axes = {"searcher": ["random", {"name": "evolution", "population": 10, "label": "evo"}]}
    return {
        "table": str(table),
        "trials": 30,
        "tracking": {"enabled": False},
        "sweep": {"seeds": 3, "axes": axes, **sweep},
    }


def swept(table: Path, folder: Path, launch: Any = inline, **sweep: Any) -> Results:
    return Sweep(plan(values(table, **sweep), "test", folder), folder).run(launch)


def test_arms_are_the_product_of_axes_and_seeds_the_first_seed_of_every_group_first(
    small_table: Path, tmp_path: Path
) -> None:
    axes = {
        "searcher": ["random", {"name": "evolution", "population": 10}],
        "pool.workers": [1, 4],
        "filter": [{}, {"policy": "top", "label": "filtered"}],
    }
    planned = plan(values(small_table, seeds=[5, 7], axes=axes), "test", tmp_path)
    labels = [group.label for group in planned.groups]
    assert labels[:3] == ["random, workers 1, no filter", "random, workers 1, filtered", "random, workers 4, no filter"]
    assert labels[-1] == "evolution population 10, workers 4, filtered"
    assert [arm.config.seed for arm in planned.arms] == [5] * 8 + [7] * 8
    last = planned.arms[-1].config
    assert (last.searcher.name, last.searcher.parameters, last.pool.workers) == ("evolution", {"population": 10}, 4)
    assert last.filter is not None
    assert planned.arms[0].config.filter is None
    filtered = values(small_table, axes={"filter": [{}, {"policy": "space"}]}) | {"filter": {"policy": "top"}}
    assert [group.label for group in plan(filtered, "test", tmp_path).groups] == ["filter", "space"]


def test_other_settings_are_another_folder_and_more_seeds_are_not(small_table: Path, tmp_path: Path) -> None:
    first = plan(values(small_table), "test", tmp_path)
    more = plan(values(small_table, seeds=5), "test", tmp_path)
    other = plan({**values(small_table), "trials": 31}, "test", tmp_path)
    folders = [{arm.folder for arm in planned.arms} for planned in (first, more, other)]
    assert folders[0] < folders[1]
    assert not folders[0] & folders[2]


def test_the_written_file_is_the_same_sweep(small_table: Path, tmp_path: Path) -> None:
    import tomllib

    first = plan(values(small_table, stop={"confidence": 0.9}), "test", tmp_path)
    again = plan(tomllib.loads(first.to_toml()), "test", tmp_path)
    assert [arm.folder for arm in again.arms] == [arm.folder for arm in first.arms]
    assert again.sweep == first.sweep


def test_table_surrogate_and_live_arms_mix_and_say_who_evaluated(small_table: Path, tmp_path: Path) -> None:
    axes = {
        "searcher": ["random"],
        "evaluator": [
            "table",
            {"kind": "surrogate", "surrogate": "trees", "labels": 20, "label": "surrogate"},
            {"kind": "train", "dataset": "digits", "max_vertices": 3, "label": "live"},
        ],
    }
    planned = plan(values(small_table, axes=axes) | {"objective": {"epochs": 4}}, "test", tmp_path)
    assert [group.label for group in planned.groups] == ["random, table", "random, surrogate", "random, live"]
    assert [arm.config.pool.kind for arm in planned.arms[:3]] == ["simulated", "simulated", "inline"]


def test_predictions_compare_with_a_table_whichever_comes_first(small_table: Path, tmp_path: Path) -> None:
    for kinds in (["table", "pretrained-nb101"], ["pretrained-nb101", "table"]):
        objective = {"objective": {"column": "test"}}
        planned = plan(values(small_table, axes={"evaluator": kinds}) | objective, "test", tmp_path)
        again = plan(tomllib.loads(planned.to_toml()), "test", tmp_path)
        assert [group.label for group in planned.groups] == [group.label for group in again.groups] == kinds
        assert {arm.config.evaluator.kind: arm.config.table for arm in again.arms} == {
            "table": small_table,
            "pretrained-nb101": None,
        }


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"axes": {"seed": [1]}}, "seed is no axis"),
        ({"axes": {"searcher": []}}, "searcher has no value to try"),
        ({"axes": {"searcher": ["random", "random"]}}, "the same name"),
        ({"axes": {"searcher": ["rendom"]}}, "did you mean 'random'"),
        ({"axes": {"pool.workers": [0]}}, "pool.workers = 0"),
        ({"axes": {"nonsense": [1]}}, "unknown key 'nonsense'"),
        ({"axes": {"pool.kind": ["ray"]}}, "--address"),
        ({"seeds": [1, 1]}, "twice"),
        ({"seeds": []}, "seeds: 0 are not 1 to 100,000"),
        ({"seeds": 0}, "seeds: 0 are not 1 to 100,000"),
        ({"seeds": 10**12}, "seeds: 1,000,000,000,000 are not 1 to 100,000"),
        ({"seeds": [-1]}, "seed"),
        ({"stop": {"confidence": 2}}, "confidence"),
        ({"axis": {}}, "unknown key 'axis'"),
    ],
    ids=str,
)
def test_a_wrong_sweep_is_refused_before_anything_is_written(
    sweep: dict[str, Any], message: str, small_table: Path, tmp_path: Path
) -> None:
    with pytest.raises(ArchsweepError, match=message):
        Sweep(plan(values(small_table, **sweep), "test", tmp_path / "s"), tmp_path / "s").run(inline)
    assert not (tmp_path / "s").exists()


def test_a_folder_of_something_else_is_left_alone(small_table: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ArchsweepError, match=r"notes\.txt"):
        swept(small_table, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_arm_is_the_search_of_its_configuration(small_table: Path, tmp_path: Path) -> None:
    swept(small_table, tmp_path / "s")
    arm = plan(values(small_table), "test", tmp_path).arms[-1]
    Search(arm.config, tmp_path / "alone").run()
    journal = (tmp_path / "s" / arm.folder / "journal.jsonl").read_bytes()
    assert journal == (tmp_path / "alone" / "journal.jsonl").read_bytes()


def test_arms_that_are_done_are_not_run_again_and_seeds_may_be_added(small_table: Path, tmp_path: Path) -> None:
    swept(small_table, tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("arms/*/*/result.json")}
    results = swept(small_table, tmp_path, seeds=4)
    assert len(times) == 6
    assert len(results.done) == 8
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


def test_a_failing_arm_is_reported_the_rest_goes_on_and_it_is_tried_again(small_table: Path, tmp_path: Path) -> None:
    arm = plan(values(small_table), "test", tmp_path).arms[2]
    folder = tmp_path / arm.folder
    folder.mkdir(parents=True)
    (tmp_path / "sweep.json").write_text("{}")
    (folder / "notes.txt").write_text("in the way")
    results = swept(small_table, tmp_path)
    assert list(results.failures) == [arm.folder]
    assert "notes.txt" in results.failures[arm.folder]
    assert len(results.done) == 5
    stands, _ = standing(tmp_path)
    assert (stands.done, stands.failed, stands.begun) == (5, 1, 0)
    assert arm.folder in page(report(tmp_path)[0])
    (folder / "notes.txt").unlink()
    assert not swept(small_table, tmp_path).failures
    assert standing(tmp_path)[0].failed == 0


def test_a_sweeps_arms_are_verified_together(small_table: Path, tmp_path: Path, archsweep: Run) -> None:
    results = swept(small_table, tmp_path / "s")
    done = archsweep("verify", tmp_path / "s")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("agrees with result.json") == len(results.done) > 1


def test_an_exception_in_an_arm_is_a_failure_with_its_traceback(small_table: Path, tmp_path: Path) -> None:
    config = parse({k: v for k, v in values(small_table).items() if k != "sweep"}, "test")
    broken = config.model_copy(update={"searcher": None})
    outcome = run_arm(Task(broken, tmp_path / "arms" / "g" / "0"))
    assert outcome.failure is not None
    assert "Traceback" in (tmp_path / "arms" / "g" / "0.failure").read_text()


def test_a_process_that_dies_says_which_tasks_were_in_flight() -> None:
    with pytest.raises(ProcessDied) as died:
        list(completed(os._exit, [3], 1))
    assert died.value.tasks == [3]


def test_a_task_that_was_taken_for_a_dead_process_is_not_lost() -> None:
    tasks = iter([0, signal.SIGKILL, 0])
    found = completed(signal.raise_signal, tasks, 1)
    assert next(found) == (0, None)
    time.sleep(2)  # the process is dead before the next task is taken, or the machine is very busy
    with pytest.raises(ProcessDied) as died:
        next(found)
    assert [*died.value.tasks, *tasks] == [signal.SIGKILL, 0]


def test_tasks_outlive_the_processes_that_were_to_take_them() -> None:
    waiting = iter(Task(Config(), Path(name)) for name in "abc")
    chained = _chained([], waiting)
    next(chained)
    chained.close()
    assert [task.folder.name for task in waiting] == ["b", "c"]


@pytest.mark.parametrize("where", ["cores", pytest.param("ray", marks=pytest.mark.slow)])
def test_arms_are_the_same_wherever_they_run(
    where: str, small_table: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if where == "ray":
        request.getfixturevalue("ray_cluster")
    swept(small_table, tmp_path / "here" / "s")
    results = swept(small_table, tmp_path / "there" / "s", launcher(2, "auto" if where == "ray" else None))
    assert not results.failures
    assert page(report(tmp_path / "there" / "s")[0]) == page(report(tmp_path / "here" / "s")[0])


@pytest.mark.slow
def test_a_cluster_without_a_core_is_told_of_and_then_given_up(
    small_table: Path, tmp_path: Path, ray_down: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(launch_ray, "QUIET", 0.2)
    monkeypatch.setattr(launch_ray, "PATIENCE", 1.0)
    ray.init(num_cpus=0, include_dashboard=False, log_to_driver=False, configure_logging=False)
    with pytest.raises(ArchsweepError, match="no core for 1 s; run the same command again"):
        swept(small_table, tmp_path / "s", launcher(1, "auto"))
    assert caplog.messages.count("the Ray cluster has no core now; waiting 1 s for one") == 1
    ray.shutdown()
    assert len(swept(small_table, tmp_path / "s").done) == 6


def test_a_sweep_stops_when_it_has_seen_enough_and_says_the_same_when_resumed(
    small_table: Path, tmp_path: Path
) -> None:
    axes = {"searcher": ["random", {"name": "random", "sampling": "edges"}]}
    stop = {"margin": 100.0, "first": 3}
    results = swept(small_table, tmp_path, seeds=9, axes=axes, stop=stop)
    assert results.enough == 3
    assert len(results.done) == 6
    assert swept(small_table, tmp_path, seeds=9, axes=axes, stop=stop).enough == 3
    assert "Stopped after 3 seeds" in page(report(tmp_path)[0])


def test_what_is_enough_does_not_depend_on_later_seeds(small_table: Path, tmp_path: Path) -> None:
    manifest = Manifest.of(plan(values(small_table, seeds=40, stop={}), "test", tmp_path))
    rng = np.random.default_rng(3)
    losses = rng.normal(size=(40, 2)) / 1_000 + [0, 0.01]
    short, long = Results(manifest), Results(manifest)
    for place, arm in enumerate(short.arms()):
        outcome = Outcome(30, 0.9, float(losses.flat[place]))
        long.add(arm, outcome)
        if place < 20:
            short.add(arm, outcome)
    assert short.enough == long.enough == 10


def test_losses_are_of_one_kind_though_some_arms_know_no_regret(small_table: Path, tmp_path: Path) -> None:
    results = Results(Manifest.of(plan(values(small_table, seeds=2), "test", tmp_path)))
    first, second, third, fourth = results.arms()
    results.add(first, Outcome(30, 0.9, 0.01))
    results.add(third, Outcome(30, 0.8, 0.02))
    assert results.losses[:, 0].tolist() == [0.01, 0.02]
    results.add(second, Outcome(30, 0.7, None))
    results.add(fourth, Outcome(30, 0.6, None))
    np.testing.assert_allclose(results.losses, [[0.1, 0.3], [0.2, 0.4]])


@pytest.mark.parametrize("searcher", ["random", "hyperband"])
def test_incumbents_read_back_are_those_that_the_search_had(searcher: str, small_table: Path, tmp_path: Path) -> None:
    told = {key: value for key, value in values(small_table).items() if key != "sweep"}
    job = Search(parse({**told, "trials": 200, "searcher": {"name": searcher}}, "test"), tmp_path, pictures=False)
    job.run()
    found, points = Record(tmp_path).incumbents, job.trajectory.points
    assert found.queries.tolist() == [point.finished for point in points]
    assert found.objective.tolist() == [point.objective for point in points]
    assert found.regret == pytest.approx([point.regret for point in points])
    assert found.clock == pytest.approx([point.clock for point in points])


def test_fronts_count_what_was_trained_to_the_end_only(curves_table: Path, tmp_path: Path) -> None:
    told = values(curves_table, seeds=1, axes={"searcher": ["random", "hyperband"]}) | {"trials": 150}
    found = Sweep(plan(told, "test", tmp_path), tmp_path).run(inline)
    assert not found.failures
    (front,) = (group.seconds for group in report(tmp_path)[0].groups if group.group.label == "hyperband")
    (folder,) = (tmp_path / arm for arm in found.done if "hyperband" in arm)
    record = Record(folder)
    whole = record.epochs == record.epochs.max()
    assert 0 < whole.sum() < len(record)
    assert len(front.cost) > 0
    assert set(front.cost) <= set(record.floats("training_seconds")[whole])


def test_the_report_needs_nothing_but_itself(small_table: Path, tmp_path: Path) -> None:
    swept(small_table, tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert "<script" not in text
    assert "url(http" not in text
    assert " src=" not in text
    assert "<link" not in text.replace('<link rel="icon" href="data:,">', "")
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text
    arms = pyarrow.parquet.read_table(tmp_path / "report.parquet").to_pylist()
    assert {(row["searcher"], row["seed"]) for row in arms} == {(s, n) for s in ("random", "evo") for n in range(3)}
    assert all(row["incumbent_regret"][-1] == pytest.approx(row["regret"]) for row in arms)


def test_the_report_audits_filters_and_says_what_workers_cost(small_table: Path, tmp_path: Path) -> None:
    always_open = {"policy": "top", "surrogate": "trees", "labels": 5, "tau": -1.0, "candidates": 5, "label": "trees"}
    axes = {"filter": [{}, always_open], "pool.cluster": [[{"count": 4, "price": 2.0}]]}
    swept(small_table, tmp_path, axes=axes, seeds=2)
    found, arms = report(tmp_path)
    (audit,) = found.audits
    audits = [audit_run(tmp_path / row["folder"]) for row in arms.to_pylist() if "trees" in row["searcher"]]
    assert audit.seeds == len(audits) == 2
    assert audit.mean["rejected"] == np.mean([one.rejected for one in audits]) > 0
    assert "Filter audit" in page(found)
    hours = np.array([row["clock_seconds"] for row in arms.to_pylist()]) / 3_600
    assert arms["cost"].to_pylist() == pytest.approx(8 * hours)
    assert ">cost<" in page(found)


def test_a_label_cannot_break_out_of_the_page(small_table: Path, tmp_path: Path) -> None:
    axes = {"searcher": [{"name": "random", "label": "<script>alert(1)</script>"}]}
    swept(small_table, tmp_path, axes=axes)
    assert "<script>" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_a_sweep_that_is_killed_gives_the_same_report(
    kills: int, archsweep: Run, start: Start, until: Until, small_table: Path, tmp_path: Path
) -> None:
    flags = ("sweep", EXAMPLE, "--table", small_table, "--set", "trials=60", "--no-track", "--jobs", 2)
    flags += ("--seeds", max(6, 2 * kills), "--out")
    whole = archsweep(*flags, tmp_path / "whole" / "s")
    assert whole.returncode == 0, whole.stderr
    folder = tmp_path / "killed" / "s"
    for kill in range(kills):
        process = start(*flags, folder)
        until(lambda: len([*folder.glob("arms/*/*/result.json")]) > kill or process.poll() is not None)  # noqa: B023
        process.send_signal(signal.SIGKILL if kill % 2 == 0 else signal.SIGINT)
        process.wait(60)
    done = archsweep(*flags, folder)
    assert done.returncode == 0, done.stderr
    for name in ("report.html", "report.parquet"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / "s" / name).read_bytes()


@pytest.mark.filterwarnings("ignore")  # MLflow's and SQLAlchemy's own
def test_the_example_runs_and_every_arm_is_one_child_in_mlflow(
    archsweep: Run, small_table: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "s"
    flags = ("sweep", EXAMPLE, "--table", small_table, "--set", "trials=40", "--out", folder)
    for seeds in (2, 5):  # the second adds arms to the same run
        done = archsweep(*flags, "--seeds", seeds, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["done"] == 2 * seeds
        assert not done.stderr
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("archsweep")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=100)
    (parent,) = [run for run in runs if PARENT_TAG not in run.data.tags]
    nested = [run for run in runs if PARENT_TAG in run.data.tags]
    assert {run.data.tags[PARENT_TAG] for run in nested} == {parent.info.run_id}
    means = [run.info.run_name for run in nested if run.data.tags[KIND_TAG] == "mean"]
    assert sorted(means) == [f"{searcher}, mean of {n}" for searcher in ("evolution", "random") for n in (2, 5)]
    children = [run for run in nested if run.data.tags[KIND_TAG] == "arm"]
    assert len({run.data.tags[ARM_TAG] for run in children}) == len(children) == 10
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert sorted(run.data.params["seed"] for run in children if run.data.params["searcher"] == "random") == sorted(
        map(str, range(5))
    )
    assert {item.path for item in client.list_artifacts(parent.info.run_id)} >= {"report.html", "report.parquet"}
    one = children[0]
    summary = json.loads((folder / one.data.tags[ARM_TAG] / "result.json").read_text())
    assert one.data.metrics["regret"] == pytest.approx(summary["regret"])
    history = client.get_metric_history(one.info.run_id, "regret")
    assert [point.step for point in history] == sorted(point.step for point in history)
    assert history[-1].step == 40
    assert client.get_run(one.info.run_id).info.artifact_uri


def test_status_names_what_it_shows_where_some_arm_has_no_regret(
    archsweep: Run, small_table: Path, tmp_path: Path
) -> None:
    swept(small_table, tmp_path)
    assert "regret (points)" in archsweep("sweep", "status", tmp_path).stdout
    path = next(tmp_path.glob("arms/*/*/result.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"regret": None}))
    shown = archsweep("sweep", "status", tmp_path).stdout
    assert "1 - objective (points)" in shown
    assert "regret" not in shown


def test_status_and_report_of_no_sweep_are_one_line(archsweep: Run, tmp_path: Path) -> None:
    done = archsweep("sweep", "status", tmp_path)
    assert done.returncode == 2
    assert "holds no sweep" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    with pytest.raises(ArchsweepError, match="holds no sweep"):
        report(tmp_path)


def test_failed_arms_make_the_exit_code_one(archsweep: Run, small_table: Path, tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text('trials = 10\n[sweep]\nseeds = 2\n[sweep.axes]\nsearcher = ["random"]\n')
    flags = (
        "sweep",
        tmp_path / "sweep.toml",
        "--table",
        small_table,
        "--no-track",
        "--jobs",
        1,
        "--out",
        tmp_path / "s",
    )
    assert archsweep(*flags).returncode == 0
    (result,) = (tmp_path / "s").glob("arms/*/1/result.json")
    result.unlink()
    result.with_name("journal.jsonl").write_text("nonsense\n")
    done = archsweep(*flags)
    assert done.returncode == 1
    assert "1 failed" in done.stdout
    assert not is_done(result.parent)
