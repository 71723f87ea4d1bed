"""The same search three times: on the table, on a surrogate of it, and on the table behind a filter.

Each is charged what it would have cost: a query is a training, on the surrogate the labels that it was fitted on and
the one cell that is taken in the end; seconds are those of the simulated cluster, in which labels train side by side,
and that cell after them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.nasbench101.cell import Cell
from nas.table.table import Table
from nas.trial import Proposal
from orchestrator.records.results import Summary
from orchestrator.search.search import Search
from orchestrator.settings.config import Config, SurrogateConfig, parse
from orchestrator.settings.values import merged
from workers.surrogate_source import drawn
from workers.table import TableEvaluator

ARMS = ("table", "surrogate", "filtered")


@dataclass(frozen=True)
class Found:
    """One search. test_accuracy: the true mean of the cell that it took for the best; regret: to the best there is."""

    arm: str
    seed: int
    queries: int
    seconds: float
    test_accuracy: float | None
    regret: float | None


def compare_searches(values: Mapping[str, Any], out: Path, seeds: int, labels: int, surrogate: str) -> Iterator[Found]:
    """Runs, or finishes, every arm and seed in a folder of its own below ``out``. Raises `ArchsweepError`.

    values: the tables of the configuration that the arms share, see `Config`; all but what an arm is and its seed.
    """
    chosen = {"kind": "surrogate", "surrogate": surrogate, "labels": labels}
    changes: dict[str, dict[str, Any]] = {
        "table": {},
        "surrogate": {"evaluator": chosen},
        "filtered": {"filter": {"policy": "top", "surrogate": surrogate}},
    }
    for seed in range(seeds):
        searches = {}
        for arm in ARMS:
            change = merged(changes[arm], {"evaluator": {"seed": seed}}) if arm == "surrogate" else changes[arm]
            config = parse(merged(values, merged(change, {"seed": seed})), f"compare, {arm}")
            searches[arm] = Search(config, out / f"{arm}-seed{seed}")
        for arm, search in searches.items():  # not before all are found to be sound
            summary = search.run()
            queries, seconds = _charged(search.config, summary)
            yield Found(arm, seed, queries, seconds, summary.best_test_accuracy, summary.regret)


def _charged(config: Config, summary: Summary) -> tuple[int, float]:
    """Trainings, and seconds on the simulated cluster."""
    if not isinstance(config.evaluator, SurrogateConfig):
        return summary.trials, summary.clock_seconds
    assert config.table is not None, "a surrogate has one"
    known = Table(config.table)
    table = TableEvaluator(known, config.objective)
    cells, seeds = drawn(known.cells, config.evaluator.labels, config.evaluator.seed)
    results = [table(Proposal(Cell.numbered(int(key))), int(seed)) for key, seed in zip(cells, seeds, strict=True)]
    labels = float(np.sum([result.paid for result in results])) / config.pool.workers
    if summary.best_hash is None:
        return config.evaluator.labels, labels
    best = known.cell(known.row_of_hash(summary.best_hash))
    return config.evaluator.labels + 1, labels + table(Proposal(best), config.seed).paid


def means(found: list[Found]) -> list[dict[str, Any]]:
    """A row an arm: means over its seeds."""
    rows = []
    for arm in ARMS:
        mine = [asdict(one) for one in found if one.arm == arm]
        names = ("queries", "seconds", "test_accuracy", "regret")
        rows.append(
            {"arm": arm, "seeds": len(mine)}
            | {name: float(np.mean([np.nan if one[name] is None else one[name] for one in mine])) for name in names}
        )
    return rows
