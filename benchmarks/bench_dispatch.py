"""Utilisation of asynchronous against generation-synchronous dispatch, on real training times.

    python benchmarks/bench_dispatch.py [--table nb101.arrow]

Without --table, test108.parquet of NB101_DATA is imported first. The clock is simulated, so the figures are the same on
any machine. They are means over SEEDS; the table that is printed stands in docs/what-if.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from nas.table.importing import import_table
from orchestrator.records.results import Summary
from orchestrator.search.search import Search
from orchestrator.settings.config import parse

DATA = Path(os.environ.get("NB101_DATA", Path(__file__).parents[2] / "shared" / "data" / "nb101"))
SEEDS, TRIALS = range(5), 5_000
CLUSTERS: dict[str, dict[str, Any]] = {
    "alike": {},
    "speeds differ by 20 %": {"speed_spread": 0.2},
    "and 2 % of trials take 4 times as long": {"speed_spread": 0.2, "stragglers": 0.02},
}


def searched(table: Path, searcher: str, cluster: dict[str, Any], dispatch: str, seed: int) -> Summary:
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "table": table,
            "trials": TRIALS,
            "seed": seed,
            "searcher": {"name": searcher},
            "objective": {"column": "test"},
            "pool": {"cluster": [cluster], "dispatch": dispatch},
            "tracking": {"enabled": False},
        }
        return Search(parse(settings, "benchmark"), Path(folder) / "run").run()


def mean(runs: list[Summary], name: str) -> float:
    return statistics.mean(getattr(run, name) for run in runs)


def main(table: Path) -> None:
    print("| searcher | workers | they are | async | generations | hours longer | regret, async | generations |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for searcher in ("random", "evolution"):
        for workers in (8, 64):
            for name, cluster in CLUSTERS.items():
                free, held = (
                    [searched(table, searcher, {"count": workers, **cluster}, dispatch, seed) for seed in SEEDS]
                    for dispatch in ("async", "generation")
                )
                longer = mean(held, "clock_seconds") / mean(free, "clock_seconds")
                print(
                    f"| {searcher} | {workers} | {name} | {mean(free, 'utilisation'):.1%} "
                    f"| {mean(held, 'utilisation'):.1%} | {longer:.2f} x "
                    f"| {mean(free, 'regret') * 100:.2f} | {mean(held, 'regret') * 100:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", type=Path)
    given: Path | None = parser.parse_args().table
    with tempfile.TemporaryDirectory() as scratch:
        if given is None:
            given = Path(scratch) / "nb101.arrow"
            import_table(DATA / "test108.parquet", given)
        main(given.absolute())
