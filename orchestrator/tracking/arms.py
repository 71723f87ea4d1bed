"""Logs the arms of a sweep to MLflow as children of the sweep's run: what a child holds, and how it is written.

A child holds what the run table sorts and filters by, and the regret curve at a few steps that all arms share, so that
curves compare in the chart view. Its trials are files in its folder, which a tag names. When the sweep is over, each
searcher gets one more child with the mean of its arms: as the latest they stand first in the table and in the charts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.records.finished import Record
from orchestrator.records.folder import RESULT

ARM_TAG, KIND_TAG, SOURCE_TAG, PARENT_TAG = "archsweep.arm", "archsweep.kind", "archsweep.source", "mlflow.parentRunId"
STEPS = tuple(sorted({round(10 ** (power / 6)) for power in range(37)}))
"""Finished trials at which a regret is logged: six a decade, up to a million."""
AT_ONCE = 50
FINISHED = "FINISHED"
PAGE = 5_000


@dataclass(frozen=True)
class Child:
    """What MLflow is told of an arm. Times in milliseconds. curve: (step, regret)."""

    name: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    curve: tuple[tuple[int, float], ...]
    started: int
    ended: int


def child(sweep: Path, arm: dict[str, Any], parent: str) -> Child:
    """The run of an arm, a function of its folder alone. arm: folder, label, seed, settings; or those of a `mean`."""
    if "curve" in arm:
        tags = {ARM_TAG: arm["folder"], PARENT_TAG: parent, KIND_TAG: "mean"}
        curve = tuple((step, value) for step, value in arm["curve"])
        return Child(arm["label"], tags, arm["settings"], arm["metrics"], curve, arm["time"], arm["time"])
    record = Record(sweep / arm["folder"])
    summary = record.summary
    ended = int((sweep / arm["folder"] / RESULT).stat().st_mtime * 1_000)
    metrics = {
        "trials": summary["trials"],
        "failed": summary["failed"],
        "duplicate_rate": summary["duplicates"] / max(summary["trials"], 1),
        "objective": summary["best_objective"],
        "test_accuracy": summary["best_test_accuracy"],
        "clock_seconds": summary["clock_seconds"],
        "hypervolume": summary.get("hypervolume"),
        "wall_seconds": summary["wall_seconds"],
    }
    sources = sorted({source for source in record.sources if source})
    return Child(
        f"{arm['label']}, seed {arm['seed']}",
        {ARM_TAG: arm["folder"], PARENT_TAG: parent, KIND_TAG: "arm", SOURCE_TAG: ", ".join(sources)},
        {**arm["settings"], "seed": str(arm["seed"])},
        {name: float(value) for name, value in metrics.items() if value is not None},
        tuple(_curve(record)),
        ended - int(summary["wall_seconds"] * 1_000),
        ended,
    )


def _curve(record: Record) -> Iterable[tuple[int, float]]:
    found = record.incumbents
    steps = [step for step in STEPS if step < len(record)] + [len(record)]
    for step in steps:
        place = int(np.searchsorted(found.queries, step, side="right")) - 1
        if place >= 0 and not np.isnan(found.regret[place]):
            yield step, float(found.regret[place])


class Children:
    """The children of a sweep's run, as MLflow has them; each arm is logged once."""

    def __init__(self, client: Any, experiment: str, parent: str, sweep: Path) -> None:
        self._client, self._experiment, self._parent, self._sweep = client, experiment, parent, sweep
        self._there: dict[str, tuple[str, str]] | None = None

    def log(self, arms: Sequence[dict[str, Any]]) -> None:
        """Logs arms that have no finished child yet; a child that was begun and not finished is logged anew."""
        there = self._there = (
            _found(self._client, self._experiment, self._parent) if self._there is None else self._there
        )
        todo = [arm for arm in arms if there.get(arm["folder"], ("", ""))[1] != FINISHED]
        for first in range(0, len(todo), AT_ONCE):
            some = todo[first : first + AT_ONCE]
            made = [child(self._sweep, arm, self._parent) for arm in some]
            if self._client.tracking_uri.startswith("sqlite:"):
                _insert(self._client, self._experiment, made)
            else:
                for one in made:
                    _log(self._client, self._experiment, one, there.get(one.tags[ARM_TAG], (None,))[0])
            there |= {arm["folder"]: ("", FINISHED) for arm in some}


def _found(client: Any, experiment: str, parent: str) -> dict[str, tuple[str, str]]:
    """Arm -> (run id, status) of the children that there are."""
    found: dict[str, tuple[str, str]] = {}
    token: str | None = None
    while True:
        page = client.search_runs([experiment], f"tags.`{PARENT_TAG}` = '{parent}'", max_results=PAGE, page_token=token)
        found |= {run.data.tags.get(ARM_TAG, ""): (run.info.run_id, run.info.status) for run in page}
        token = page.token
        if not token:
            return found


def _log(client: Any, experiment: str, made: Child, run_id: str | None) -> None:
    """Through MLflow's client: three calls."""
    from mlflow.entities import Metric, Param

    if run_id is None:
        created = client.create_run(experiment, start_time=made.started, tags=made.tags, run_name=made.name)
        run_id = created.info.run_id
    metrics = [Metric(name, value, made.ended, 0) for name, value in made.metrics.items()]
    metrics += [Metric("regret", value, made.ended, step) for step, value in made.curve]
    client.log_batch(run_id, metrics, [Param(name, value) for name, value in made.params.items()])
    client.set_terminated(run_id, FINISHED, made.ended)


def _insert(client: Any, experiment: str, children: Sequence[Child]) -> None:
    """Into MLflow's own SQLite store, all in one transaction, by MLflow's own models.

    The client takes six transactions and 25 ms of a core a run, a third of what a short search on a table takes; this
    takes one transaction for all and below 2 ms a run.
    """
    from uuid import uuid4

    from mlflow.entities import LifecycleStage, RunStatus, SourceType
    from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlRun, SqlTag

    store = client._tracking_client.store
    root = client.get_experiment(experiment).artifact_location
    rows: dict[Any, list[dict[str, Any]]] = {SqlRun: [], SqlTag: [], SqlParam: [], SqlMetric: [], SqlLatestMetric: []}
    for made in children:
        run = {"run_uuid": uuid4().hex}
        rows[SqlRun].append(
            {
                **run,
                "name": made.name,
                "source_type": SourceType.to_string(SourceType.UNKNOWN),
                "source_name": "",
                "entry_point_name": "",
                "user_id": "",
                "status": RunStatus.to_string(RunStatus.FINISHED),
                "start_time": made.started,
                "end_time": made.ended,
                "deleted_time": None,
                "source_version": "",
                "lifecycle_stage": LifecycleStage.ACTIVE,
                "artifact_uri": f"{root}/{run['run_uuid']}/artifacts",
                "experiment_id": int(experiment),
            }
        )
        tags = {**made.tags, "mlflow.runName": made.name}
        rows[SqlTag] += [{**run, "key": key, "value": value} for key, value in tags.items()]
        rows[SqlParam] += [{**run, "key": key, "value": value} for key, value in made.params.items()]
        last = [(name, value, 0) for name, value in made.metrics.items()]
        last += [("regret", value, step) for step, value in made.curve[-1:]]
        every = last + [("regret", value, step) for step, value in made.curve[:-1]]
        for kind, points in ((SqlLatestMetric, last), (SqlMetric, every)):
            rows[kind] += [
                {**run, "key": name, "value": value, "timestamp": made.ended, "step": step, "is_nan": False}
                for name, value, step in points
            ]
    with store.ManagedSessionMaker(read_only=False) as session:
        for model, values in rows.items():
            session.bulk_insert_mappings(model, values)
