"""What a sweep found, as numbers: a function of its arms' results, so that any two runs of it report the same.

The HTML page is made of them in `orchestrator.sweep.page`; ``report.parquet`` holds a row an arm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from nas.errors import ArchsweepError
from nas.files import replacing
from nas.nasbench101.cell import Cell
from orchestrator.records.finished import Floats, Record
from orchestrator.statistics import Comparison, compared, interval, mean_known
from orchestrator.sweep.audits import GroupAudit, audited
from orchestrator.sweep.plan import Group, arm_folder
from orchestrator.sweep.state import Manifest, Results

ARMS_FILE = "report.parquet"
POINTS = 80
"""Places at which curves are averaged, evenly spaced on a logarithmic axis."""
BEST_CELLS = 3


@dataclass(frozen=True)
class Curve:
    """The incumbents' loss, averaged over seeds: where, its mean, half the width of its 95 % interval."""

    at: Floats
    mean: Floats
    half: Floats


@dataclass(frozen=True)
class Front:
    """Cells that no other cell of the group beats in both: what they cost, ascending, and their accuracy."""

    cost: Floats
    accuracy: Floats


@dataclass(frozen=True)
class GroupReport:
    """A group's arms together. loss, half: of the last incumbents, mean over seeds and half its 95 % interval.

    duplicates, utilisation, cost: means over seeds, NaN where unknown; cost is in the unit of the workers' prices.
    sources: who evaluated, with the share of the trials.
    """

    group: Group
    seeds: int
    trials: int
    failed: int
    loss: float
    half: float
    objective: float
    duplicates: float
    utilisation: float
    clock: float
    cost: float
    sources: dict[str, float]
    by_queries: Curve
    by_clock: Curve
    parameters: Front
    seconds: Front


@dataclass(frozen=True)
class BestCell:
    """A cell that arms ended with. accuracy: test accuracy, or the objective. arms: how many, of which groups."""

    cell: Cell
    accuracy: float
    arms: int
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """A whole sweep. known_regret: whether losses are regrets; else they are 1 - objective. groups: the best first,
    and `comparisons` count them in that order. stopped: after how many seeds it had seen enough; None if it ran on.
    """

    name: str
    arms: int
    done: int
    failures: dict[str, str]
    stopped: int | None
    known_regret: bool
    groups: tuple[GroupReport, ...]
    comparisons: tuple[Comparison, ...]
    audits: tuple[GroupAudit, ...]
    cells: tuple[BestCell, ...]


def report(folder: Path) -> tuple[Report, pa.Table]:
    """The report of a sweep's folder and its table of arms. Raises `ArchsweepError` if no arm is done."""
    manifest = Manifest.read(folder)
    results = Results.read(folder, manifest)
    seeds = manifest.seeds[: results.enough]
    counted = [[_record(folder, arm_folder(group.slug, seed), results) for seed in seeds] for group in manifest.groups]
    if not any(record for records in counted for record in records):
        raise ArchsweepError(f"no arm of {folder} is done; run the sweep first")
    known = all(record.summary["regret"] is not None for records in counted for record in records if record)
    losses = np.array([[_loss(record, known) for record in records] for records in counted]).T
    finite = [record.epochs[np.isfinite(record.epochs)] for records in counted for record in records if record]
    most = np.concatenate(finite).max(initial=0)
    groups = [_group(group, records, known, most) for group, records in zip(manifest.groups, counted, strict=True)]
    order = sorted(range(len(groups)), key=lambda place: (np.isnan(groups[place].loss), groups[place].loss, place))
    found = Report(
        folder.absolute().name,
        len(manifest.groups) * len(manifest.seeds),
        sum(record is not None for records in counted for record in records),
        dict(results.failures),
        results.enough,
        known,
        tuple(groups[place] for place in order),
        tuple(compared(losses[:, order])),
        audited(
            (manifest.groups[place].label, [record.folder for record in counted[place] if record]) for place in order
        ),
        tuple(_best_cells(manifest.groups, counted)),
    )
    rows = [
        _row(group, seed, record)
        for group, records in zip(manifest.groups, counted, strict=True)
        for seed, record in zip(seeds, records, strict=True)
        if record
    ]
    return found, pa.Table.from_pylist(rows, SCHEMA)


def save_arms(arms: pa.Table, folder: Path) -> Path:
    """Writes `ARMS_FILE` into a folder."""
    path = folder / ARMS_FILE
    with replacing(path) as temporary:
        pyarrow.parquet.write_table(arms, temporary)
    return path


SCHEMA = pa.schema(
    [
        ("searcher", pa.string()),
        ("settings", pa.map_(pa.string(), pa.string())),
        ("seed", pa.int64()),
        ("trials", pa.int64()),
        ("failed", pa.int64()),
        ("duplicates", pa.int64()),
        ("objective", pa.float64()),
        ("test_accuracy", pa.float64()),
        ("regret", pa.float64()),
        ("best_hash", pa.string()),
        ("clock_seconds", pa.float64()),
        ("utilisation", pa.float64()),
        ("cost", pa.float64()),
        ("folder", pa.string()),
        ("incumbent_queries", pa.list_(pa.int64())),
        ("incumbent_clock", pa.list_(pa.float64())),
        ("incumbent_objective", pa.list_(pa.float64())),
        ("incumbent_regret", pa.list_(pa.float64())),
    ]
)
"""Of `ARMS_FILE`. The lists hold an entry for every new incumbent; see `orchestrator.records.finished.Incumbents`."""


def _record(folder: Path, arm: str, results: Results) -> Record | None:
    return Record(folder / arm) if arm in results.done else None


def _row(group: Group, seed: int, record: Record) -> dict[str, Any]:
    summary, found = record.summary, record.incumbents
    return {
        "searcher": group.label,
        "settings": list(group.settings.items()),
        "seed": seed,
        "trials": summary["trials"],
        "failed": summary["failed"],
        "duplicates": summary["duplicates"],
        "objective": summary["best_objective"],
        "test_accuracy": summary["best_test_accuracy"],
        "regret": summary["regret"],
        "best_hash": summary["best_hash"],
        "clock_seconds": summary["clock_seconds"],
        "utilisation": summary["utilisation"],
        "cost": summary.get("cost"),
        "folder": arm_folder(group.slug, seed),
        "incumbent_queries": found.queries.tolist(),
        "incumbent_clock": found.clock.tolist(),
        "incumbent_objective": found.objective.tolist(),
        "incumbent_regret": [_none_if_nan(value) for value in found.regret.tolist()],
    }


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else value


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _loss(record: Record | None, known_regret: bool) -> float:
    if record is None or record.summary["best_objective"] is None:
        return float("nan")
    return float(record.summary["regret"] if known_regret else 1 - record.summary["best_objective"])


def _group(group: Group, records: Sequence[Record | None], known_regret: bool, epochs: float) -> GroupReport:
    there = [record for record in records if record is not None]
    losses = np.array([[_loss(record, known_regret)] for record in there]).reshape(-1, 1)
    mean, half = interval(losses)
    trials = sum(record.summary["trials"] for record in there)
    sources = Counter(source for record in there for source in record.sources if source is not None)
    return GroupReport(
        group,
        len(there),
        trials,
        sum(record.summary["failed"] for record in there),
        float(mean[0]),
        float(half[0]),
        mean_known([_or_nan(record.summary["best_objective"]) for record in there]),
        mean_known([record.summary["duplicates"] / max(record.summary["trials"], 1) for record in there]),
        mean_known([_or_nan(record.summary["utilisation"]) for record in there]),
        mean_known([record.summary["clock_seconds"] for record in there]),
        mean_known([_or_nan(record.summary.get("cost")) for record in there]),
        {name: count / max(trials, 1) for name, count in sorted(sources.items())},
        _curve(there, known_regret, "queries"),
        _curve(there, known_regret, "clock"),
        _front(there, "parameters", epochs),
        _front(there, "training_seconds", epochs),
    )


def _curve(records: Sequence[Record], known_regret: bool, axis: str) -> Curve:
    """The mean loss at every place where all the seeds have an incumbent and none has ended."""
    kept = [record for record in records if len(record.incumbents.row)]
    if not kept:
        return Curve(*(np.zeros(0),) * 3)
    starts = [float(getattr(record.incumbents, axis)[0]) for record in kept]
    ends = [len(record) if axis == "queries" else record.summary["clock_seconds"] for record in kept]
    first, last = max(starts), float(min(ends))
    if not 0 < first < last:
        at = np.array([last])
    else:
        at = np.geomspace(first, last, POINTS)
        at = np.unique(at.round()) if axis == "queries" else at
        at[[0, -1]] = first, last  # rounding must not lead outside
    values = np.array([_loss_at(record, known_regret, getattr(record.incumbents, axis), at) for record in kept])
    mean, half = interval(values)
    return Curve(at, mean, half)


def _loss_at(record: Record, known_regret: bool, steps: NDArray[Any], at: Floats) -> Floats:
    found = record.incumbents
    losses = found.regret if known_regret else 1 - found.objective
    place = np.searchsorted(steps, at, side="right") - 1
    return np.where(place < 0, np.nan, losses[place])


def _front(records: Sequence[Record], cost: str, epochs: float) -> Front:
    """Of all cells that the group's arms trained for so many epochs, the most: the accuracy is what they come to."""
    if not records:
        return Front(np.zeros(0), np.zeros(0))
    accuracy = np.concatenate([record.accuracy for record in records])
    costs = np.concatenate([record.floats(cost) for record in records])
    whole = np.concatenate([record.epochs for record in records]) >= epochs
    valid = ~np.isnan(accuracy) & (costs > 0) & whole
    order = np.lexsort((-accuracy[valid], costs[valid]))
    accuracy, costs = accuracy[valid][order], costs[valid][order]
    before = np.concatenate([[-np.inf], np.maximum.accumulate(accuracy)[:-1]]) if len(accuracy) else accuracy
    return Front(costs[accuracy > before], accuracy[accuracy > before])


def _best_cells(groups: Sequence[Group], counted: Sequence[Sequence[Record | None]]) -> list[BestCell]:
    found: dict[int, tuple[float, list[str]]] = {}
    for group, records in zip(groups, counted, strict=True):
        for record in records:
            if record is not None and len(record.incumbents.row):
                row = record.incumbents.row[-1]
                accuracy = record.accuracy[row]
                value = record.incumbents.objective[-1] if np.isnan(accuracy) else accuracy
                found.setdefault(int(record.cells[row]), (float(value), []))[1].append(group.label)
    best = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))[:BEST_CELLS]
    return [
        BestCell(Cell.numbered(number), accuracy, len(labels), tuple(dict.fromkeys(labels)))
        for number, (accuracy, labels) in best
    ]
