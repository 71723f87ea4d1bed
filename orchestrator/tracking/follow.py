"""Logs a search, or a sweep with its arms, to MLflow by following its metrics file, in a process of its own.

One run a search, the same one when the search is resumed: a key in the folder, kept as a tag, finds it even if the
server died while it made the run. The search never waits for the server: while that is away, this process tries again;
what it has not logged when it ends, `archsweep track DIR` logs later. A step is logged once: steps travel whole, and
the run itself says which step it has last.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from textwrap import shorten
from typing import Any
from uuid import uuid4

import orjson
from filelock import FileLock, Timeout

from nas.errors import ArchsweepError, DataError
from nas.files import replacing
from orchestrator.records.folder import METRICS_FILE
from orchestrator.settings.secrets import without_secrets
from orchestrator.tracking.arms import Children
from orchestrator.tracking.store import KEY_FILE, LOCK_FILE, LOG_FILE, PAUSE, POLL, RUN_ID_FILE, connect, is_new

STEPS_AT_ONCE = 100  # MLflow takes 1,000 metrics in one log_batch
LAST_TRIES = 5
"""How often the server may fail once the search has ended."""
KEY_TAG = "archsweep.key"


def follow(run_dir: Path, uri: str, alive: Callable[[], bool], turn: float = -1) -> None:
    """Logs the run in a folder until its metrics file ends, or until ``alive`` says that nobody writes it any more.

    turn: seconds to wait for another process that logs it; -1 means for ever. Raises whatever MLflow raises once nobody
    is alive, or has failed `LAST_TRIES` times since the file ended; before, waits and tries again.
    """
    with FileLock(run_dir / LOCK_FILE, timeout=turn):
        tries = LAST_TRIES
        while True:
            try:
                _log(run_dir, connect(uri), alive)
                (run_dir / LOG_FILE).unlink(missing_ok=True)
                return
            except Exception as error:  # an MLflow store may raise anything, from SQLAlchemy's errors to requests'
                _note(run_dir, error)
                tries -= b'\n{"end"' in (run_dir / METRICS_FILE).read_bytes()
                if not tries or not alive():
                    raise
                time.sleep(PAUSE)


def track(run_dir: Path, uri: str) -> str:
    """Brings the MLflow run of a folder up to date; its id. Raises `ArchsweepError`."""
    if not (run_dir / METRICS_FILE).is_file():
        raise DataError(f"{run_dir} holds no tracked search; give the folder of a run, searched without --no-track")
    try:
        follow(run_dir, uri, lambda: False, turn=PAUSE)
    except Timeout:
        raise ArchsweepError(f"the search in {run_dir} is being tracked right now; wait for its end") from None
    except Exception as error:
        raise ArchsweepError(f"not tracked: {_reason(error)}") from None
    return (run_dir / RUN_ID_FILE).read_text().strip()


def logged(run_dir: Path, uri: str) -> dict[str, list[tuple[int, float]]]:
    """The steps and values of every metric in the MLflow run of a folder. Raises `ArchsweepError`."""
    file = run_dir / RUN_ID_FILE
    if not file.is_file():
        raise DataError(f"{run_dir} has no MLflow run; `archsweep track {run_dir}` makes one")
    try:
        client = connect(uri)
        run = client.get_run(file.read_text().strip())
        return {
            name: sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name))
            for name in run.data.metrics
        }
    except Exception as error:  # as in `follow`
        raise ArchsweepError(f"cannot read the MLflow run of {run_dir}: {_reason(error)}") from None


def _log(run_dir: Path, client: Any, alive: Callable[[], bool]) -> None:
    lines = _tail(run_dir / METRICS_FILE, alive)
    first = next(lines, None)
    if first is None:
        raise DataError(f"{run_dir / METRICS_FILE} is empty: the search was killed as it began; resume it first")
    run_id, logged = _begin(run_dir, client, first[0]["run"])
    children = Children(client, _experiment(run_dir, client, first[0]["run"]["experiment"]), run_id, run_dir)
    status, artifacts, tags = "KILLED", [], {}
    for batch in ([first[1:]], lines):
        for chunk in batch:
            _log_steps(client, run_id, [line for line in chunk if line.get("step", 0) > logged.get(_counter(line), 0)])
            children.log([line["arm"] for line in chunk if "arm" in line])
            for line in chunk:
                if "end" in line:
                    status, artifacts, tags = line["end"], line["artifacts"], line.get("tags", {})
    for path in artifacts:
        client.log_artifact(run_id, path)
    for name, value in tags.items():
        client.set_tag(run_id, name, value)
    client.set_terminated(run_id, status)


def _tail(path: Path, alive: Callable[[], bool]) -> Iterator[list[dict[str, Any]]]:
    """The whole lines of a file as they come, some at a time, until one says "end" or nobody is there to write more."""
    rest = b""
    with path.open("rb") as file:
        while True:
            was_alive = alive()
            *lines, rest = (rest + file.read()).split(b"\n")
            parsed = [orjson.loads(line) for line in lines]
            if parsed:
                yield parsed
            if (parsed and "end" in parsed[-1]) or not was_alive:
                return
            time.sleep(POLL)


def _log_steps(client: Any, run_id: str, lines: Sequence[dict[str, Any]]) -> None:
    from mlflow.entities import Metric

    for first in range(0, len(lines), STEPS_AT_ONCE):
        metrics = [
            Metric(_prefix(line) + name, value, line["time"], line["step"])
            for line in lines[first : first + STEPS_AT_ONCE]
            for name, value in line["metrics"].items()
        ]
        client.log_batch(run_id, metrics=metrics)


def _prefix(line: dict[str, Any]) -> str:
    """What the names of a line's metrics begin with: curves of trainings have a group of their own."""
    return f"{line['curve']}/" if "curve" in line else ""


def _counter(line: dict[str, Any]) -> str:
    """The metric that counts the steps of such lines."""
    return _prefix(line) + ("epoch" if "curve" in line else "finished")


def _begin(run_dir: Path, client: Any, run: dict[str, Any]) -> tuple[str, dict[str, float]]:
    """The MLflow run of this folder, made if need be, and the latest value of every metric that it has."""
    from mlflow.entities import Param

    file = run_dir / RUN_ID_FILE
    known = _known(client, file.read_text().strip()) if file.exists() else None
    if known is not None:
        client.update_run(known.info.run_id, status="RUNNING")
        return known.info.run_id, dict(known.data.metrics)
    experiment, key = _experiment(run_dir, client, run["experiment"]), _key(run_dir)
    made = client.search_runs([experiment], f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
    tags = {**run["tags"], KEY_TAG: key}
    run_id: str = (made[0] if made else client.create_run(experiment, tags=tags, run_name=run["name"])).info.run_id
    client.log_batch(run_id, params=[Param(name, str(value)) for name, value in run["params"].items()])
    with replacing(file) as temporary:
        temporary.write_text(run_id)
    return run_id, {}


def _known(client: Any, run_id: str) -> Any:
    """The run of this id, None if it was deleted or is another store's."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return run if run.info.lifecycle_stage == "active" else None


def _key(run_dir: Path) -> str:
    """What names this folder's search in any store; no id of MLflow's, so it is known before there is a run."""
    file = run_dir / KEY_FILE
    if not file.exists():
        with replacing(file) as temporary:
            temporary.write_text(uuid4().hex)
    return file.read_text()


def _experiment(run_dir: Path, client: Any, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    local = client.tracking_uri.startswith("sqlite:")
    artifacts = (run_dir.absolute().parent / "mlartifacts").as_uri() if local else None
    return str(client.create_experiment(name, artifact_location=artifacts))


def _note(run_dir: Path, error: Exception) -> None:
    (run_dir / LOG_FILE).write_text(_reason(error) + "\n", encoding="utf-8")


def _reason(error: Exception) -> str:
    """One line for an error, without secrets."""
    lines = str(error).strip().splitlines()
    return shorten(f"{type(error).__name__}: {without_secrets(lines[0]) if lines else ''}", 300, placeholder=" ...")


def main() -> None:
    """Follows the run in the folder given, for as long as the process given lives, which started this one."""
    run_dir, parent, uri = Path(sys.argv[1]), int(sys.argv[2]), os.environ["MLFLOW_TRACKING_URI"]
    if is_new(uri):
        with suppress(Exception):  # what is wrong, `follow` will note
            connect(uri)
    os.nice(int(sys.argv[3]))
    follow(run_dir, uri, lambda: os.getppid() == parent)


if __name__ == "__main__":
    main()
