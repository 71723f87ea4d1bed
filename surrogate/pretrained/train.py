"""Learns the predictions from a NAS-Bench-101 table, `make pretrained TABLE=nb101.arrow`; about an hour of one core.

Graph networks rank the cells by accuracy, others by training time; a monotone curve makes accuracies and seconds of
what they say. One cell in ten, see `held_out`, is never learnt from, so that anybody with the table can judge.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, norm, spearmanr
from sklearn.isotonic import IsotonicRegression

from nas.nasbench101.catalogue import CELLS
from nas.table.table import Table
from surrogate.gnn import Network, Schedule
from surrogate.pretrained.predicted import BUNDLED, Noise, Predictions, load, save
from surrogate.ranker import Doubles, in_parts, normal_scores
from surrogate.saved import load as load_network
from surrogate.saved import save as save_network
from surrogate.threads import one_thread

Chosen = NDArray[np.bool_]
MEMBERS = {"accuracy": 3, "seconds": 1}
MANY_LABELS = Schedule(batch=512, epochs=30, decay=0.01, steps=1 << 30)
KNOTS, BINS = 81, 24
LEVELS = norm.cdf(np.linspace(-3.5, 3.5, 29))
"""Of noise: denser where it is rare."""
FAILED = 4.0
"""Trainings are taken for failed that are so many median deviations below what is predicted."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="a table of all NAS-Bench-101, see `archsweep table import`")
    parser.add_argument("--out", type=Path, default=BUNDLED, help="file of the predictions; the networks go beside it")
    options = parser.parse_args()
    table = Table(options.table)
    save(predictions(table, options.out.parent), options.out)
    print(json.dumps(judged(table, options.out), indent=1))


def held_out() -> NDArray[np.int64]:
    """The catalogue numbers that nothing is learnt from: a tenth of all, drawn uniformly."""
    return np.sort(np.random.default_rng(0).permutation(CELLS)[: CELLS // 10])


def predictions(table: Table, folder: Path) -> Predictions:
    """Learnt from a table's largest budget. Networks that ``folder`` has, learnt so, are kept."""
    runs, seconds = observed(table, "final_test_accuracy"), observed(table, "final_training_time").mean(1)
    learnt = np.isfinite(runs).all(1) & np.isfinite(seconds)
    learnt[held_out()] = False
    accuracy = predicted("accuracy", runs.mean(1), learnt, table.fingerprint, folder)
    about = {"table": table.fingerprint, "cells": int(learnt.sum()), "epochs": table.budgets[-1]}
    return Predictions(
        accuracy,
        np.exp(predicted("seconds", np.log(seconds), learnt, table.fingerprint, folder)),
        noise(accuracy[learnt], runs[learnt]),
        about,
    )


def observed(table: Table, metric: str) -> Doubles:
    """Values at the largest budget, float64 (cells, repeats) by catalogue number, NaN where unknown."""
    values = np.full((CELLS, table.repeats), np.nan)
    values[table.cells] = table.metric(metric)[:, -1]
    return values


def predicted(name: str, truth: Doubles, learnt: Chosen, trained_on: str, folder: Path) -> Doubles:
    """Of every cell, float64 (cells,)."""
    path = folder / f"{name}.safetensors"
    learning = f"{trained_on}, {MEMBERS[name]} networks, {MANY_LABELS}"
    network, earlier = load_network(path) if path.exists() else (None, None)
    if network is None or earlier != learning:
        print(f"learning {name} from {learnt.sum():,} cells", flush=True)
        network = Network(MEMBERS[name], schedule=MANY_LABELS)
        with one_thread():
            network.learn(np.flatnonzero(learnt), normal_scores(truth[learnt]), 0)
        save_network(network, path, learning)
    scores = in_parts(network.score, np.arange(CELLS))
    return monotone(scores[learnt], truth[learnt])(scores)


def monotone(scores: Doubles, truth: Doubles) -> Callable[[Doubles], Doubles]:
    """The mean of the truth at a score, rising: through the means of bins that are smaller towards both ends."""
    edges = np.quantile(scores, norm.cdf(np.linspace(-4, 4, KNOTS)))
    bins = np.digitize(scores, edges)
    count = np.bincount(bins, minlength=KNOTS + 1)
    there = count > 0
    at, means = (np.bincount(bins, values, KNOTS + 1)[there] / count[there] for values in (scores, truth))
    rising = IsotonicRegression().fit(at, means, count[there]).predict(at)
    return lambda asked: np.asarray(np.interp(asked, at, rising), np.float64)


def noise(accuracy: Doubles, runs: Doubles) -> Noise:
    """How single trainings scatter: run 0 less the mean of the others, narrowed to what one run does around its own.

    Where the others are far below the prediction one of them failed, and run 0 did not do as much better.
    """
    others, repeats = runs[:, 1:].mean(1), runs.shape[1]
    errors = (runs[:, 0] - others) * np.sqrt((repeats - 1) / repeats)
    edges = np.quantile(accuracy, np.arange(1, BINS) / BINS)
    bins, quantiles, best = np.digitize(accuracy, edges), np.empty((BINS, len(LEVELS))), np.empty(BINS)
    for number in range(BINS):
        off = (others - accuracy)[bins == number]
        sound = off > -FAILED * np.median(np.abs(off))
        quantiles[number] = np.quantile(errors[bins == number][sound], LEVELS)
        best[number] = runs[bins == number].max()
    means = np.trapezoid(quantiles, LEVELS) / (LEVELS[-1] - LEVELS[0])
    return Noise(edges, LEVELS, quantiles - means[:, None], best)


def judged(table: Table, path: Path) -> dict[str, float]:
    """How good the predictions in a file are on the cells that were held out."""
    known, cells = load(path), held_out()
    truth = observed(table, "final_test_accuracy")[cells].mean(1)
    seconds = observed(table, "final_training_time")[cells].mean(1)
    error = np.abs(known.seconds[cells] / seconds - 1)
    return {
        "kendall_tau": float(kendalltau(known.accuracy[cells], truth).statistic),
        "spearman": float(spearmanr(known.accuracy[cells], truth).statistic),
        "mean_absolute_error": float(np.abs(known.accuracy[cells] - truth).mean()),
        "median_error_of_seconds": float(np.median(error)),
    }


if __name__ == "__main__":
    main()
