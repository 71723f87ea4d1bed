"""How well surrogates rank the whole of NAS-Bench-101 from few labels.

    python benchmarks/compare_surrogates.py --table nb101.arrow [--seeds 5] [--labels 100,172,424,4236]

Fitted on run 0 of n cells drawn uniformly, tested on the mean test accuracy of all 423,624. `cover` is the share of
cells whose run 1, which nothing was fitted on, lies within the 90 % interval. CPU seconds are of one thread, apart from
the cells' features, which are computed once.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np
from resumable import RESULTS, Found, Runs, row
from scipy.stats import kendalltau, spearmanr

from nas.catalogue import CELLS
from nas.table import Table
from surrogate.named import SURROGATES, make_surrogate

TOP = (0.01, 0.001)


def accuracies(table: Path) -> np.ndarray:
    """Final test accuracies, (cells, 3), by catalogue number."""
    opened = Table(table)
    found = np.full((CELLS, opened.repeats), np.nan)
    found[np.asarray(opened.cells)] = opened.metric("final_test_accuracy")[:, -1]
    return found


def measured(arm: str, seed: int, table: Path) -> Found:
    name, labels = arm.split()
    runs = accuracies(table)
    truth = runs.mean(1)
    cells = np.random.default_rng(seed).choice(CELLS, int(labels), replace=False)
    model = make_surrogate(name)
    began = time.process_time()
    model.fit(cells, runs[cells, 0], seed)
    fitted = time.process_time()
    model.predict(np.arange(CELLS))  # features of the whole catalogue are kept
    scored = time.process_time()
    predicted = model.predict(np.arange(CELLS))
    again = time.process_time()
    order, best = np.argsort(-predicted.score, kind="stable"), np.argsort(-truth, kind="stable")
    unseen = np.setdiff1d(np.arange(CELLS), cells)
    covered = (predicted.low <= runs[:, 1]) & (runs[:, 1] <= predicted.high)
    return {
        "kendall_tau": float(kendalltau(predicted.score, truth)[0]),
        "spearman": float(spearmanr(predicted.score, truth)[0]),
        **{
            f"precision_at_{share:.1%}": len(np.intersect1d(order[: int(share * CELLS)], best[: int(share * CELLS)]))
            / int(share * CELLS)
            for share in TOP
        },
        "best_of_10": float(truth[order[:10]].max()),
        "cover": float(covered[unseen].mean()),
        "fit_seconds": fitted - began,
        "score_seconds": again - scored,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--labels", default="100,172,424,4236")
    parser.add_argument("--surrogate", action="append", choices=list(SURROGATES))
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    arms = [f"{name} {n}" for n in given.labels.split(",") for name in given.surrogate or SURROGATES]
    runs = Runs(RESULTS / "surrogates.jsonl")
    runs.fill(arms, given.seeds, partial(measured, table=given.table), given.jobs)
    columns = "kendall_tau spearman precision_at_1.0% precision_at_0.1% best_of_10 cover fit_seconds score_seconds"
    print(row("surrogate", "labels", "seeds", *columns.split()))
    print(row(*["---"] * 11))
    for arm in arms:
        found = runs.of(arm, given.seeds)
        values = np.array([[one[column] for column in columns.split()] for one in found])
        error = values[:, 0].std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
        means = values.mean(0)
        print(row(*arm.split(), len(found), f"{means[0]:.3f} ± {error:.3f}", *(f"{mean:.3f}" for mean in means[1:])))


if __name__ == "__main__":
    main()
