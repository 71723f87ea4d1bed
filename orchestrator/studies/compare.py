"""`archsweep compare`: how well surrogates rank the cells of a table from few labels.

A run fits one surrogate on training 0 of n cells drawn uniformly with its seed, and is judged by the mean accuracy of
all cells of the table. What is done is in ``compare.jsonl``, a header and a line a run, so a comparison that was
stopped goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from nas.errors import ArchsweepError, DataError
from nas.table.table import Table
from orchestrator.records.lines import LineReader, LineWriter
from orchestrator.records.lock import locked
from surrogate.base import Prediction
from surrogate.named import SURROGATES, has_learnt, learnt_from, make_surrogate, refuse_learnt
from workers.table import Column

VERSION = 1
LABELS = (100, 172, 424, 4_236)
"""As in the papers; the shares 0.024, 0.04, 0.1 and 1 % of NAS-Bench-101."""
RUNS, LOCK = "compare.jsonl", ".compare.lock"
SHARES = {"precision_at_1pct": 0.01, "precision_at_01pct": 0.001}
BESTS = (10, 100)
BINS = 20
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Arm:
    """A surrogate, and how many cells it is fitted on."""

    surrogate: str
    labels: int


@dataclass(frozen=True)
class Measured:
    """A run. metrics: see `judged`. reliability: (bins, 3), cells by what is predicted of them: the mean predicted, the
    mean true accuracy, the share within the interval."""

    arm: Arm
    seed: int
    metrics: Mapping[str, float]
    reliability: list[list[float]]


@dataclass(frozen=True)
class Truth:
    """Of a table at its largest budget, by row: catalogue numbers, training 0, and the mean over trainings."""

    cells: NDArray[np.int32]
    seen: Doubles
    mean: Doubles

    @classmethod
    def of(cls, table: Table, column: Column) -> Truth:
        """Cells whose training 0 the table has. Raises `DataError` if there are none."""
        name = f"final_{column}_accuracy"
        if name not in table.names:
            raise DataError(f"{table.path} has no {column} accuracy; choose another --objective")
        values = table.metric(name)[:, -1]
        known = ~np.isnan(values[:, 0])
        if not known.any():
            raise DataError(f"{table.path} has no {column} accuracy of any first training")
        return cls(table.cells[known], values[known, 0], np.nanmean(values[known], 1))


Observer = Callable[[Measured, Prediction | None, Truth], None]
"""Called with every run, what was predicted (None where the run was there already), and what is true."""


@dataclass(frozen=True)
class Comparison:
    """What is compared."""

    table: Table
    column: Column
    arms: tuple[Arm, ...]
    seeds: int
    truth: Truth

    @classmethod
    def of(cls, path: Path, column: Column, surrogates: Sequence[str], labels: Sequence[int], seeds: int) -> Comparison:
        """surrogates: empty means all that do not know the table. labels: empty means those of `LABELS` that are at
        most half of the table.

        Raises `ArchsweepError` on what cannot be compared.
        """
        table = Table(path)
        truth = Truth.of(table, column)
        known = len(truth.cells)
        for name in surrogates:
            make_surrogate(name)
            refuse_learnt(name, table)
        counts = labels or [count for count in LABELS if count <= known / 2]
        if not counts:
            raise ArchsweepError(f"{path} has {known} cells with such accuracies, too few to compare on")
        if min(counts) < 2 or max(counts) > known:
            raise ArchsweepError(f"{path} has {known} such cells; give --labels from 2 to {known}, got {list(counts)}")
        chosen = surrogates or [name for name in SURROGATES if not has_learnt(name, table)]
        arms = tuple(dict.fromkeys(Arm(name, count) for count in counts for name in chosen))
        return cls(table, column, arms, seeds, truth)

    @property
    def header(self) -> dict[str, Any]:
        """What the folder's runs have in common."""
        return {"compare": VERSION, "table": self.table.fingerprint, "objective": self.column}

    @contextmanager
    def alone(self, out: Path) -> Iterator[None]:
        """Holds the folder. Raises `ArchsweepError` if another process does, or if it holds another comparison."""
        _done(out / RUNS, LineReader(out / RUNS), self.header)
        with locked(out / LOCK, f"another process compares in {out}; wait for it, or choose another folder", str(out)):
            yield

    def run(self, out: Path, observers: Iterable[Observer] = ()) -> list[Measured]:
        """Makes the runs that the folder lacks; returns all, by arm, then by seed. To be called `alone`.

        Raises `ArchsweepError`.
        """
        observers = list(observers)
        done, runs = _opened(out / RUNS, self.header)
        with closing(runs):
            for seed in range(self.seeds):
                for arm in self.arms:
                    predicted = None
                    if (arm, seed) not in done:
                        done[arm, seed], predicted = measured(arm, seed, self.truth)
                        runs.append(_line(done[arm, seed]))
                        runs.flush()
                    for observe in observers:
                        observe(done[arm, seed], predicted, self.truth)
        return [done[arm, seed] for arm in self.arms for seed in range(self.seeds)]


def measured(arm: Arm, seed: int, truth: Truth) -> tuple[Measured, Prediction]:
    """One run. The cells drawn depend on the seed and the number of labels alone, so that surrogates are paired."""
    rows = np.random.default_rng(seed).choice(len(truth.cells), arm.labels, replace=False)
    model = make_surrogate(arm.surrogate)
    clocks = [_clocks()]
    model.fit(truth.cells[rows], truth.seen[rows], seed)
    clocks.append(_clocks())
    predicted = model.predict(truth.cells)
    clocks.append(_clocks())
    (fit, fit_cpu), (score, score_cpu) = np.diff(clocks, axis=0).tolist()
    seconds = {"fit_seconds": fit, "score_seconds": score, "fit_cpu_seconds": fit_cpu, "score_cpu_seconds": score_cpu}
    unseen = np.ones(len(truth.cells), bool)
    unseen[rows] = False
    metrics = judged(predicted, truth, unseen) | seconds
    return Measured(arm, seed, metrics, reliability(predicted, truth)), predicted


def judged(predicted: Prediction, truth: Truth, unseen: NDArray[np.bool_]) -> dict[str, float]:
    """How well the scores rank cells by their mean accuracy, and how often the interval holds.

    precision: which share of the best cells is among as many that are predicted best. best_of_n: the true accuracy of
    the best among the n predicted best. coverage: the share of unseen cells whose training 0 is in the interval. error:
    mean distance of the predicted from the true accuracy.
    """
    order = np.argsort(-predicted.score, kind="stable")
    best = np.argsort(-truth.mean, kind="stable")
    inside = _inside(predicted, truth)[unseen]
    return {
        "kendall_tau": float(kendalltau(predicted.score, truth.mean)[0]),
        "spearman": float(spearmanr(predicted.score, truth.mean)[0]),
        **{name: _shared(order, best, share) for name, share in SHARES.items()},
        **{f"best_of_{count}": float(truth.mean[order[:count]].max()) for count in BESTS},
        "coverage": float(inside.mean()) if len(inside) else float("nan"),
        "error": float(np.abs(predicted.mean - truth.mean).mean()),
    }


def reliability(predicted: Prediction, truth: Truth) -> list[list[float]]:
    """See `Measured`; bins of equally many cells."""
    bins = np.array_split(np.argsort(predicted.mean, kind="stable"), min(BINS, len(predicted)))
    inside = _inside(predicted, truth)
    return [[float(values[rows].mean()) for values in (predicted.mean, truth.mean, inside)] for rows in bins]


def summarised(runs: Sequence[Measured]) -> list[dict[str, Any]]:
    """A row an arm: means over seeds, of seconds the median (only the first run encodes the cells)."""
    rows = []
    for arm in dict.fromkeys(run.arm for run in runs):
        mine = [run.metrics for run in runs if run.arm == arm]
        row: dict[str, Any] = {"surrogate": arm.surrogate, "labels": arm.labels, "seeds": len(mine)}
        for name in mine[0]:
            values = np.array([metrics[name] for metrics in mine])
            row[name] = float(np.median(values) if name.endswith("seconds") else values.mean())
            if name == "kendall_tau" and len(mine) > 1:
                row["kendall_tau_error"] = float(values.std(ddof=1) / len(mine) ** 0.5)
        rows.append(row)
    return rows


def _inside(predicted: Prediction, truth: Truth) -> NDArray[np.bool_]:
    return (predicted.low <= truth.seen) & (truth.seen <= predicted.high)


def _shared(order: NDArray[np.intp], best: NDArray[np.intp], share: float) -> float:
    count = max(1, int(share * len(order)))
    return len(np.intersect1d(order[:count], best[:count])) / count


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _line(run: Measured) -> dict[str, Any]:
    about = {"surrogate": run.arm.surrogate, "labels": run.arm.labels, "seed": run.seed}
    return about | learnt_from(run.arm.surrogate) | {"metrics": run.metrics, "reliability": run.reliability}


def _opened(path: Path, header: Mapping[str, Any]) -> tuple[dict[tuple[Arm, int], Measured], LineWriter]:
    """The runs that there are, and the file, to be appended. Raises `ArchsweepError` if it is another comparison's."""
    reader = LineReader(path)
    done = _done(path, reader, header)
    runs = LineWriter(path, reader.position)
    if not reader.position:
        runs.append(header)
    return done, runs


def _done(path: Path, reader: LineReader, header: Mapping[str, Any]) -> dict[tuple[Arm, int], Measured]:
    """The runs of a file, none if there is no file. Raises `ArchsweepError` if it is another comparison's."""
    done: dict[tuple[Arm, int], Measured] = {}
    records = iter(reader) if path.exists() else iter(())
    theirs = next(records, None)
    if theirs is not None and any(theirs.get(name) != value for name, value in header.items()):
        raise ArchsweepError(f"{path} belongs to a comparison on another table or objective; choose another --out")
    for line in records:
        arm = Arm(line["surrogate"], line["labels"])
        if line.get("prior") != learnt_from(arm.surrogate).get("prior"):
            raise ArchsweepError(f"{path} has runs of {arm.surrogate} with another prior; choose another --out")
        metrics = {name: float("nan") if value is None else value for name, value in line["metrics"].items()}
        done[arm, line["seed"]] = Measured(arm, line["seed"], metrics, line["reliability"])
    return done
