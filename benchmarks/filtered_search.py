"""What a filter is worth on NAS-Bench-101: test error of the incumbent after so many queries, behind it and without it.

    python benchmarks/filtered_search.py --table nb101.arrow --out runs/filtered --seeds 50

The protocol of compare_searchers.py (a searcher observes the test accuracy of repeat 0; reported is the mean over the
three repeats), but on eight simulated workers, which take the training times of the table: a searcher does not know
what is in flight. The incumbent is chosen in three ways: by its one observed run, by what the arm's surrogate,
fitted on all that was observed, says of it, and by the mean of the two. In the arm "mean observed" there is no noise: a
searcher observes what is reported. Every (arm, seed) is a file in --out, so that
the command goes on where it was; it ends with a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nas.files import replacing
from nas.nasbench101.space import CellSpace
from nas.table.table import Table
from nas.trial import Trial
from orchestrator.records.state import Budget, State
from orchestrator.search.loop import Streams, run
from searchers.registry import make_filtered, make_searcher
from surrogate.named import make_surrogate
from workers.cluster import steady
from workers.simulated import SimulatedPool
from workers.table import Objective, TableEvaluator

MARKS = (50, 100, 150)
WORKERS = 8
WAYS = ("run", "surrogate", "both")

SPACE = {"policy": "space", "labels": 10, "batch": 5, "unseen": 0.0, "tau": -1.0}
TOP = {"policy": "top", "labels": 20, "batch": 10, "candidates": 100}


@dataclass(frozen=True)
class Arm:
    """A searcher, the filter's parameters, and which repeat is observed."""

    searcher: str
    filtered: dict[str, Any] | None = None
    repeat: Literal["mean"] | int = 0


ARMS = {
    "evolution": Arm("evolution"),
    "evolution, top 1 of 100 (gp)": Arm("evolution", TOP | {"surrogate": "gp", "optimism": 1.0}),
    "evolution, top 1 of 100 (trees)": Arm("evolution", TOP | {"surrogate": "trees"}),
    "random, whole space (gp)": Arm("random", SPACE | {"surrogate": "gp", "optimism": 2.0}),
    "random, whole space (gp+prior)": Arm("random", SPACE | {"surrogate": "gp+prior", "optimism": 2.0, "labels": 4}),
    "random, whole space (trees)": Arm("random", SPACE | {"surrogate": "trees"}),
    "random, whole space (gp), mean observed": Arm("random", SPACE | {"surrogate": "gp", "optimism": 2.0}, "mean"),
}


class Unjournalled:
    """Where a journal would be."""

    def append(self, trial: Trial) -> None: ...

    def commit(self) -> None: ...


@cache
def evaluator(path: Path, repeat: Literal["mean"] | int) -> TableEvaluator:
    return TableEvaluator(Table(path), Objective("test", repeat))


def search(path: Path, label: str, seed: int) -> dict[str, list[float]]:
    """At every mark, a way of choosing the incumbent: mean test error (%) of it; "seen": of the best that was told."""
    arm, space = ARMS[label], CellSpace()
    searcher = make_searcher(arm.searcher, space, {})
    if arm.filtered is not None:
        searcher = make_filtered(space, searcher, arm.filtered)
    told: list[Trial] = []
    pool = SimulatedPool(evaluator(path, arm.repeat), steady([1.0] * WORKERS))
    observers = [lambda trial, _: told.append(trial)]
    run(searcher, pool, Unjournalled(), Budget(MARKS[-1]), State(), Streams(seed), observers)  # type: ignore[arg-type]
    found: dict[str, list[float]] = {way: [] for way in (*WAYS, "seen", "hours")}
    for mark in MARKS:
        trials = told[:mark]
        results = [trial.result for trial in trials if trial.result is not None]
        observed = np.array([result.objective for result in results])
        truth = np.array([result.reported for result in results])
        keys = np.array([trial.proposal.cell.key for trial in trials])
        model = make_surrogate((arm.filtered or {}).get("surrogate", "gp"))
        model.fit(keys, observed, mark)
        predicted = model.predict(keys).mean
        for way, values in zip(WAYS, (observed, predicted, observed + predicted), strict=True):
            found[way].append(100 * (1 - float(truth[np.argmax(values)])))
        found["seen"].append(100 * (1 - float(truth.max())))
        found["hours"].append((trials[-1].finished or 0.0) / 3_600)
    return found


def one(path: Path, out: Path, label: str, seed: int) -> None:
    """One search into its file."""
    found = search(path, label, seed)
    with replacing(out / label / f"{seed}.json") as temporary:
        temporary.write_text(json.dumps(found))


def markdown(out: Path) -> str:
    """The table: mean over seeds ± its standard error, a line an arm and way of choosing the incumbent."""
    lines = [
        "| arm | incumbent by | seeds | " + " | ".join(map(str, MARKS)) + " |",
        "| --- | --- | ---: |" + " ---: |" * 3,
    ]
    for label in ARMS:
        read = [json.loads(file.read_text()) for file in sorted((out / label).glob("*.json"))]
        for way in (*WAYS, "seen") if read else ():
            values = np.array([one[way] for one in read])
            error = values.std(0, ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.full(len(MARKS), np.nan)
            cells = " | ".join(f"{m:.2f} ± {e:.2f}" for m, e in zip(values.mean(0), error, strict=True))
            lines.append(f"| {label} | {way} | {len(read)} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True, help="table with test accuracies and training times")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--arm", action="append", choices=ARMS, help="only these; all by default")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--report", action="store_true", help="only print what is there")
    options = parser.parse_args()
    for label in ARMS:
        (options.out / label).mkdir(parents=True, exist_ok=True)
    jobs = [(label, seed) for seed in range(options.seeds) for label in options.arm or ARMS]
    jobs = [] if options.report else [j for j in jobs if not (options.out / j[0] / f"{j[1]}.json").exists()]
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"  # the processes fill the cores
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        for done in as_completed([pool.submit(one, options.table, options.out, *job) for job in jobs]):
            done.result()
    print(markdown(options.out))


if __name__ == "__main__":
    main()
