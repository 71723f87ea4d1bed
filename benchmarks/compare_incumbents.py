"""Whether the best of a search is better chosen by the one noisy run that was seen, or by a smoothed estimate.

    python benchmarks/compare_incumbents.py --table nb101.arrow [--seeds 20]

The searches are those of `compare_searchers.py`. After so many queries a rule takes one of the cells seen; the figure
is its test error, mean over its three runs. An estimate is ``weight`` * observed + (1 - weight) * predicted from the
other cells, for the hundred cells that were observed to be best: by a random forest (out of bag) or by a Gaussian
process (leave-one-out) on graph and path features. ``seen`` takes the truly best cell, which no rule can beat.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from compare_searchers import ARMS, CHEAP, MARKS, observations, truth
from numpy.typing import NDArray
from resumable import RESULTS, Found, Runs, mean_and_error, row
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.preprocessing import StandardScaler

from nas.nasbench101.features import graph_features, path_encoding

MOST, SHORT_PATHS = 100, 40
Values = NDArray[np.float64]
Prediction = Callable[[Values, Values], Values]


def forest(features: Values, values: Values) -> Values:
    """Out of bag; a hundred trees leave no cell without a tree that has not seen it."""
    model = RandomForestRegressor(100, oob_score=True, min_samples_leaf=2, max_features=0.3, random_state=0)
    fitted = model.fit(features, values)
    return np.asarray(fitted.oob_prediction_)


def process(features: Values, values: Values) -> Values:
    """Leave-one-out of a Gaussian process of which length, scale and noise are fitted: y - (K^-1 y) / diag(K^-1)."""
    scaled = StandardScaler().fit_transform(features)
    width = scaled.shape[1] ** 0.5
    kernel = ConstantKernel(1, (1e-2, 1e2)) * RBF(width, (width / 10, width * 10)) + WhiteKernel(0.3, (1e-2, 10))
    mean, spread = values.mean(), values.std() or 1.0
    standard = (values - mean) / spread
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = GaussianProcessRegressor(kernel).fit(scaled, standard)
    inverse = np.linalg.inv(fitted.kernel_(scaled))
    return mean + spread * (standard - inverse @ standard / np.diag(inverse))


RULES: dict[str, tuple[Prediction | None, float]] = {
    "one run": (None, 1.0),
    "forest, 0.9": (forest, 0.9),
    "forest, 0.7": (forest, 0.7),
    "process, 0.9": (process, 0.9),
    "process, 0.7": (process, 0.7),
}
"""Rule -> what predicts, and the weight of what was observed."""


def run(table: Path, label: str, seed: int) -> Found:
    """Of every rule: test error (%) of its choice at every mark."""
    observed, mean, _ = truth(table)
    keys = np.array(list(observations(table, label, seed)))
    errors: Found = {rule: [] for rule in (*RULES, "seen")}
    for mark in MARKS:
        seen = np.unique(keys[:mark])
        top = seen[np.argsort(-observed[seen], kind="stable")[:MOST]]
        features = np.concatenate([graph_features(top), path_encoding(top, SHORT_PATHS)], 1)
        predicted = {predict: predict(features, observed[top]) for predict in (forest, process)}
        for rule, (predict, weight) in RULES.items():
            other = predicted[predict] if predict else observed[top]
            chosen = top[np.argmax(weight * observed[top] + (1 - weight) * other)]
            errors[rule].append(round(100 * (1 - float(mean[chosen])), 4))
        errors["seen"].append(round(100 * (1 - float(mean[seen].max())), 4))
    return errors


def markdown(runs: Runs, seeds: int) -> str:
    """Test error of one run's choice, and by how much the others differ from it, ± standard error of the difference."""
    lines = [row("searcher", "seeds", "rule", *(f"{mark:,}" for mark in MARKS)), row(*["---"] * (3 + len(MARKS)))]
    others = (*list(RULES)[1:], "seen")
    for label in cheap():
        if found := runs.of(label, seeds):
            base = np.array([one["one run"] for one in found])
            lines.append(row(label, len(found), "one run", *mean_and_error(base)))
            lines += [row("", "", rule, *signed(np.array([one[rule] for one in found]) - base)) for rule in others]
    everything = [found for label in cheap() for found in runs.of(label, seeds)]
    for rule in others:
        difference = np.array([np.subtract(one[rule], one["one run"]) for one in everything])
        lines.append(row("all", len(everything), rule, *signed(difference)))
    return "\n".join(lines)


def signed(differences: Values) -> list[str]:
    return [cell if cell.startswith("-") else f"+{cell}" for cell in mean_and_error(differences)]


def cheap() -> list[str]:
    return [label for label, (_, _, queries) in ARMS.items() if queries == CHEAP]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True, help="test108.parquet of NB101_DATA, imported")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--results", type=Path, default=RESULTS / "incumbents.jsonl", help="file of the runs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    runs = Runs(options.results)
    runs.fill(cheap(), options.seeds, partial(run, options.table), options.jobs)
    print(markdown(runs, options.seeds))


if __name__ == "__main__":
    main()
