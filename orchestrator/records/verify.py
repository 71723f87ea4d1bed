"""Proves of a run that nothing was lost and nothing told twice, from its journal alone, and that the other files agree.

The journal is read twice: line by line with a count of its own, which shares no code with what wrote it but the format
of a line; then as the search itself would on a resume, to hold the other files against it.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

import pyarrow as pa
import pyarrow.parquet

from nas.errors import DataError
from nas.trial import Status
from orchestrator.records.folder import METRICS_FILE
from orchestrator.records.journal import Reading
from orchestrator.records.lines import LineReader
from orchestrator.records.results import save_trials
from orchestrator.records.state import State
from orchestrator.records.trajectory import Trajectory

JOURNAL, RESULT, TRIALS = "journal.jsonl", "result.json", "trajectory.parquet"
ROUNDING = 1e-12
"""Regret is a difference, so the best accuracy that it is counted from comes back but for rounding."""

History = Mapping[str, list[tuple[int, float]]]
"""The steps and values of every metric."""


@dataclass(frozen=True)
class Audit:
    """What was counted. lines: of the journal, its header too. agree: the other files that say the same."""

    run_dir: str
    lines: int
    asked: int
    told: int
    failed: int
    pending: int
    agree: tuple[str, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self))


class Count:
    """Keeps count of a journal's trials, line by line, and names the first contradiction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.lines = 0
        self.asked = self.told = self.failed = 0
        self.pending: dict[int, float] = {}
        self._clock = 0.0

    def read(self) -> None:
        """Raises `DataError`."""
        for number, record in enumerate(LineReader(self._path), 1):
            self.lines = number
            if number > 1:
                self._event(record)
                if self.asked != self.told + self.failed + len(self.pending):
                    self._refuse(
                        f"asked {self.asked} is not told {self.told} + failed {self.failed} + pending "
                        f"{len(self.pending)}"
                    )

    def _event(self, record: Mapping[str, Any]) -> None:
        kinds = [kind for kind in ("ask", "tell", "fail") if kind in record]
        if len(kinds) != 1:
            self._refuse("it is not one event")
        trial, at = record[kinds[0]], record.get("at")
        if not isinstance(trial, int) or not _is_number(at):
            self._refuse("it has no trial or no time")
        if at < self._clock:
            self._refuse(f"the clock goes back from {self._clock} to {at}")
        self._clock = at
        if kinds[0] == "ask":
            self._ask(trial, at)
        else:
            self._finish(trial, at, record)

    def _ask(self, trial: int, at: float) -> None:
        if trial != self.asked:
            self._refuse(f"it asks trial {trial}; the next one is {self.asked}")
        self.asked += 1
        self.pending[trial] = at

    def _finish(self, trial: int, at: float, record: Mapping[str, Any]) -> None:
        asked = self.pending.pop(trial, None)
        if asked is None:
            never = trial >= self.asked or trial < 0
            self._refuse(f"trial {trial} was never asked" if never else f"trial {trial} is told again")
        started = record.get("started")
        if not (_is_number(started) and asked <= started <= at):
            self._refuse(f"trial {trial} was asked at {asked}, started at {started}, finished at {at}")
        if "tell" in record:
            if not _is_number(record.get("result", {}).get("objective")):
                self._refuse(f"trial {trial} is told without a result")
            self.told += 1
        else:
            if not record.get("reason"):
                self._refuse(f"trial {trial} failed without a reason")
            self.failed += 1

    def _refuse(self, what: str) -> NoReturn:
        raise DataError(f"{self._path}: line {self.lines}: {what}")


def verify(run_dir: Path, history: History | None = None) -> Audit:
    """Checks a run, finished or not, and says what was counted.

    history: what MLflow has, to be checked too. Raises `DataError` that names the first contradiction.
    """
    journal = run_dir / JOURNAL
    if not journal.is_file():
        raise DataError(f"{run_dir} holds no search; give the folder of a run")
    count = Count(journal)
    count.read()
    steps = dict(_steps(run_dir))
    state, trajectory = _folded(journal, run_dir / METRICS_FILE, steps)
    agree = []
    finished = (run_dir / RESULT).is_file()
    if finished:
        _check_result(run_dir / RESULT, state, trajectory)
        agree.append(RESULT)
    if (run_dir / TRIALS).is_file():
        _check_trials(journal, run_dir / TRIALS)
        agree.append(TRIALS)
    if steps:
        _check_steps(run_dir / METRICS_FILE, steps, state, trajectory, finished)
        agree.append(METRICS_FILE)
    if history is not None:
        _check_history(run_dir, steps, history)
        agree.append("MLflow")
    return Audit(str(run_dir), count.lines, count.asked, count.told, count.failed, len(count.pending), tuple(agree))


def _is_number(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float) and math.isfinite(value)


def _steps(run_dir: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """The measured steps and their metrics; without a torn last line, which a killed search may leave."""
    path = run_dir / METRICS_FILE
    if not path.is_file():
        return
    last = 0
    for number, text in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            line = json.loads(text)
            if "step" not in line:
                continue
            step, metrics = int(line["step"]), dict(line["metrics"])
        except (ValueError, TypeError, KeyError):
            raise DataError(f"{path}: line {number} is no step of a search") from None
        if step <= last:
            raise DataError(f"{path}: line {number} has step {step} after step {last}")
        last = step
        yield step, metrics


def _folded(journal: Path, metrics: Path, steps: Mapping[int, Mapping[str, float]]) -> tuple[State, Trajectory]:
    """The journal's state and trajectory; every measured step is held against them as they come by."""
    state, trajectory = State(), Trajectory(None)
    for trial in Reading(journal):
        state.fold(trial)
        if trial.status is Status.PENDING:
            continue
        trajectory(trial, state)
        if state.finished in steps:
            found = steps[state.finished]
            for name, value in _measured(state, trajectory).items():
                if found.get(name) != value:
                    raise DataError(
                        f"{metrics}: step {state.finished} has {name} = {found.get(name)}; the journal has {value}"
                    )
    return state, trajectory


def _measured(state: State, trajectory: Trajectory) -> dict[str, float | None]:
    best = trajectory.incumbent
    return {
        "finished": state.finished,
        "failed": state.failed,
        "duplicate_rate": state.duplicate_rate,
        "clock_seconds": state.clock,
        "training_seconds": state.spent,
        "objective": best.objective if best else None,
        "test_accuracy": best.test_accuracy if best else None,
    }


def _check_result(path: Path, state: State, trajectory: Trajectory) -> None:
    try:
        result = json.loads(path.read_bytes())
        best = trajectory.incumbent
        expected = {
            "trials": state.asked,
            "failed": state.failed,
            "duplicates": state.duplicates,
            "best_hash": best.cell.module_hash if best else None,
            "best_objective": best.objective if best else None,
            "best_test_accuracy": best.test_accuracy if best else None,
            "clock_seconds": state.clock,
        }
        for name, value in expected.items():
            if result[name] != value:
                raise DataError(f"{path}: {name} is {result[name]}; the journal has {value}")
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is no result of a search ({error!r})") from None
    if state.pending:
        raise DataError(f"{path} says that the search ended; the journal has {len(state.pending)} pending trials")


def _check_trials(journal: Path, path: Path) -> None:
    """The table of trials has the journal's rows, in order."""
    with tempfile.TemporaryDirectory() as folder:
        expected = Path(folder) / TRIALS
        save_trials(Reading(journal), expected)
        try:
            found, wanted = pa.parquet.ParquetFile(path), pa.parquet.ParquetFile(expected)
            if not found.schema_arrow.equals(wanted.schema_arrow):
                raise DataError(f"{path} has other columns than this version writes")
            for first, (here, there) in enumerate(zip_longest(found.iter_batches(), wanted.iter_batches())):
                if here is None or there is None or not here.equals(there):
                    raise DataError(f"{path}: the rows of batch {first + 1} are not the journal's")
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path} is no table of trials ({error})") from None


def _check_steps(
    path: Path, steps: Mapping[int, Mapping[str, float]], state: State, trajectory: Trajectory, finished: bool
) -> None:
    """Every incumbent was measured, and the end; all regrets are counted from one accuracy."""
    last = max(steps)
    if finished and last != state.finished:
        raise DataError(f"{path}: the last step is {last}; the journal has {state.finished} finished trials")
    missing = [point.finished for point in trajectory.points if point.finished <= last and point.finished not in steps]
    if missing:
        raise DataError(f"{path}: the incumbent after {missing[0]} trials is missing")
    bests = [step["regret"] + step["test_accuracy"] for step in steps.values() if "regret" in step]
    if bests and max(bests) - min(bests) > ROUNDING:
        raise DataError(f"{path}: regret is counted from {min(bests)} and from {max(bests)}")


def _check_history(run_dir: Path, steps: Mapping[int, Mapping[str, float]], history: History) -> None:
    expected: dict[str, list[tuple[int, float]]] = {}
    for step, metrics in steps.items():
        for name, value in metrics.items():
            expected.setdefault(name, []).append((step, value))
    for name in sorted({*expected, *history}):
        here, there = expected.get(name, []), history.get(name, [])
        for mine, logged in zip_longest(here, there):
            if mine != logged:
                raise DataError(f"{run_dir}: MLflow has (step, {name}) = {logged}; the journal has {mine}")
