"""What a search leaves for people and programs: one summary, and every trial as a row of a Parquet file."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from nas.files import replacing
from nas.trial import Status, Trial
from orchestrator.records.journal import RESULT_FIELDS

ROWS_AT_ONCE = 65_536

SCHEMA = pa.schema(
    [
        ("trial", pa.int64()),
        ("status", pa.string()),
        ("adjacency", pa.string()),
        ("operations", pa.string()),
        ("cell", pa.int32()),
        ("epochs", pa.int32()),
        ("worker", pa.int32()),
        ("asked", pa.float64()),
        ("started", pa.float64()),
        ("finished", pa.float64()),
        ("objective", pa.float64()),
        ("train_accuracy", pa.float64()),
        ("validation_accuracy", pa.float64()),
        ("test_accuracy", pa.float64()),
        ("reported", pa.float64()),
        ("training_seconds", pa.float64()),
        ("parameters", pa.int64()),
        ("source", pa.string()),
        ("failure", pa.string()),
        ("provenance", pa.string()),
    ]
)
"""One row a finished trial, in the order in which they finished; see `Trial` and `Result` for units."""


@dataclass(frozen=True)
class Measured:
    """What a search took in wall seconds in the process that finished it: of one that was resumed, the last part only.

    spans: see `orchestrator.search.spans.PARTS`.
    """

    wall_seconds: float
    trials_per_second: float
    spans: Mapping[str, float]

    @property
    def binds(self) -> str | None:
        """The part that took most; None if no trial ran, or all was over before anyone looked."""
        looked = self.trials_per_second and any(self.spans.values())
        return max(self.spans, key=self.spans.__getitem__) if looked else None

    def tags(self) -> dict[str, str]:
        """For tracking."""
        seconds = {f"archsweep.seconds.{part}": f"{value:.3f}" for part, value in self.spans.items()}
        return {**seconds, "archsweep.binds": self.binds or "unknown"}


def measured_before(path: Path) -> Measured | None:
    """What a result file says was measured; None if there is none or it is of another version."""
    try:
        values = json.loads(path.read_bytes())
        return Measured(*(values[field.name] for field in fields(Measured)))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


@dataclass(frozen=True)
class Summary:
    """The outcome of a search. Accuracies and regret are fractions; clock_seconds is the pool's clock.

    ignored: completions that came late or again, of trials that had finished. utilisation, busy_seconds, queue_seconds,
    cost: see `Usage`; cost is None where the workers have no price. hypervolume, front: see `Front`; None where
    accuracy is the only goal. best_source: who says what the best cell is worth: table, surrogate, predicted, train.
    From wall_seconds to binds see `Measured`: these alone differ between two runs on the
    simulated clock.
    """

    trials: int
    failed: int
    duplicates: int
    ignored: int
    best_hash: str | None
    best_objective: float | None
    best_test_accuracy: float | None
    best_source: str | None
    regret: float | None
    clock_seconds: float
    utilisation: float | None
    busy_seconds: float
    queue_seconds: float
    cost: float | None
    hypervolume: float | None
    front: list[dict[str, Any]] | None
    wall_seconds: float
    trials_per_second: float
    spans: Mapping[str, float]
    binds: str | None
    run_dir: str
    mlflow_run_id: str | None

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def save_trials(trials: Iterable[Trial], path: Path) -> None:
    """Writes the finished ones among these trials, a bounded number at a time."""
    rows = (_row(trial) for trial in trials if trial.status is not Status.PENDING)
    with replacing(path) as temporary, pa.parquet.ParquetWriter(temporary, SCHEMA) as writer:
        for batch in batched(rows, ROWS_AT_ONCE):
            writer.write_batch(pa.RecordBatch.from_pylist(batch, SCHEMA))


def batched(rows: Iterable[dict[str, Any]], size: int) -> Iterable[list[dict[str, Any]]]:
    """Lists of at most ``size`` rows (`itertools.batched` is Python 3.12's)."""
    iterator = iter(rows)
    return iter(lambda: list(itertools.islice(iterator, size)), [])


def _row(trial: Trial) -> dict[str, Any]:
    proposal, result = trial.proposal, trial.result
    return {
        "trial": trial.number,
        "status": trial.status.value,
        "cell": proposal.cell.key,
        **proposal.cell.to_json(),
        "epochs": proposal.epochs,
        "worker": trial.worker,
        "asked": trial.asked,
        "started": trial.started,
        "finished": trial.finished,
        "failure": trial.failure,
        "provenance": json.dumps(proposal.provenance) if proposal.provenance else None,
        **({name: getattr(result, name) for name in RESULT_FIELDS} if result else {}),
    }
