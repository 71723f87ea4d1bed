"""What a filter's rejections were worth: a table knows the truth of every cell that a search passed over.

Control arms are searches of the same configuration whose filter knows nothing (blind: at random, at the same rate),
the number of parameters, what boosted trees know, or the truth (oracle).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from nas.errors import ArchsweepError
from nas.trial import Status, Trial
from orchestrator.records.folder import CONFIG, JOURNAL
from orchestrator.records.journal import Reading
from orchestrator.search.search import Search
from orchestrator.search.sources import benchmark
from orchestrator.settings.config import Config, TrainConfig, parse
from orchestrator.settings.values import read_toml
from surrogate.controls import ORACLE
from workers.table import true_accuracies

CONTROLS = ("blind", "parameters", "trees", ORACLE)
TOP_SHARE = 0.01
Accuracies = NDArray[np.float64]


@dataclass(frozen=True)
class Audit:
    """Accuracies are fractions, differences of them too; NaN where there is nothing to judge.

    decisions: trials that were preferred to others. looked: distinct cells that were told or rejected. rejected:
    distinct cells that were rejected and never told. good: of those looked at, the truly best hundredth of the table.
    false_rejects: share of the good that was rejected. passed_over: mean over the decisions of how much better than the
    chosen the best candidate truly was. regret: how much better than the best told the best rejected truly is, at least
    0. best: the highest true accuracy told. All of these by test accuracy at the most epochs. bias, error, tau: of what
    was predicted of the rejected, at the time, with what it was predicted of, the search's objective: mean difference,
    mean absolute difference, Kendall's tau.
    """

    decisions: int
    looked: int
    rejected: int
    good: int
    false_rejects: float
    passed_over: float
    regret: float
    bias: float
    error: float
    tau: float
    best: float


def audit(trials: Iterable[Trial], truth: Accuracies, objective: Callable[[int | None], Accuracies]) -> Audit:
    """Of finished trials; truth: float64, by catalogue number, NaN where unknown.

    objective: the same of what a trial of so many epochs observes (None: of one that does not say), less its noise.
    """
    finished = [trial for trial in trials if trial.status is not Status.PENDING]
    told = {trial.proposal.cell.key for trial in finished if trial.result is not None}
    predicted = np.array(
        [(key, mean, objective(trial.proposal.epochs)[key]) for trial in finished for key, mean in rejections(trial)]
    ).reshape(-1, 3)
    lost = set(predicted[:, 0].astype(int).tolist()) - told
    threshold = float(np.nanquantile(truth, 1 - TOP_SHARE))
    good = {key for key in told | lost if truth[key] >= threshold}
    passed_over = [
        max(float(truth[key]) for key, _ in [*others, (trial.proposal.cell.key, 0.0)])
        - float(truth[trial.proposal.cell.key])
        for trial in finished
        if (others := list(rejections(trial)))
    ]
    means, came = predicted[~np.isnan(predicted[:, 2]), 1:].T
    best, best_lost = (max((float(truth[key]) for key in keys), default=math.nan) for keys in (told, lost))
    return Audit(
        decisions=len(passed_over),
        looked=len(told | lost),
        rejected=len(lost),
        good=len(good),
        false_rejects=len(good & lost) / len(good) if good else math.nan,
        passed_over=_mean(np.array(passed_over)),
        regret=max(0.0, best_lost - best) if lost else 0.0,
        bias=_mean(means - came),
        error=_mean(np.abs(means - came)),
        tau=float(kendalltau(means, came).statistic) if len(means) > 1 else math.nan,
        best=best,
    )


def rejections(trial: Trial) -> Iterator[tuple[int, float]]:
    """The cells that this trial was preferred to, and the accuracies that were predicted of them."""
    noted = trial.proposal.provenance.get("filter", {})
    yield from zip(noted.get("rejected", ()), noted.get("means", ()), strict=True)


def audit_run(run_dir: Path) -> Audit:
    """Of the search in a folder, by its own benchmark. Raises `ArchsweepError`."""
    config = described(run_dir)
    known = benchmark(config)
    assert known is not None, "it was checked"
    column, most = config.objective.column, config.objective.epochs

    @cache
    def objective(epochs: int | None) -> Accuracies:
        return true_accuracies(known, column, epochs or most)

    return audit(Reading(run_dir / JOURNAL), true_accuracies(known), objective)


def control_runs(run_dir: Path) -> Iterator[tuple[str, Path]]:
    """Runs each control arm of a filtered search, in a folder beside it, or finishes it there; its name and folder."""
    run_dir = run_dir.absolute()  # whose parent is another folder even if it is "."
    config = described(run_dir)
    assert config.filter is not None, "it was checked"
    for name in CONTROLS:
        filtered = config.filter.model_copy(
            update={"surrogate": name, "tau": -1.0}
        )  # a filter that closed would compare nothing
        tracking = config.tracking.model_copy(update={"enabled": False})
        folder = run_dir.parent / f"{run_dir.name}-{name}"
        Search(config.model_copy(update={"filter": filtered, "tracking": tracking}), folder).run()
        yield name, folder


def described(run_dir: Path) -> Config:
    """The configuration of a filtered search on a benchmark. Raises `ArchsweepError`."""
    if not (run_dir / JOURNAL).is_file():
        raise ArchsweepError(f"{run_dir} holds no search; name the folder of one")
    config = parse(read_toml(run_dir / CONFIG), str(run_dir / CONFIG))
    if config.filter is None or isinstance(config.evaluator, TrainConfig):
        raise ArchsweepError(f"the search in {run_dir} had no filter, or no table; search with --filter to audit one")
    return config


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else math.nan
