"""Whole searches on the real table: trials per second and memory per trial, and what Ray and MLflow cost.

    python benchmarks/bench_search.py [--table nb101.arrow]

Without --table, test108.parquet of NB101_DATA is imported first. Every figure is the median of ROUNDS runs, each in a
process of its own; what is compared is interleaved. Machines differ and are shared: read the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from nas.table.importing import import_table
from orchestrator.search.search import Search
from orchestrator.settings.config import parse

DATA = Path(os.environ.get("NB101_DATA", Path(__file__).parents[2] / "shared" / "data" / "nb101"))
ROUNDS = 3
Settings = dict[str, object]


def measured(settings: Settings, run_dir: Path) -> dict[str, float]:
    """Trials per second and peak memory (MiB) of one search, here and now."""
    job = Search(parse(settings, "benchmark"), run_dir)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    summary = job.run()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"rate": summary.trials_per_second, "grown_mib": (after - before) / 1024}


def in_a_process(settings: Settings) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--one", json.dumps(settings), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(settings: dict[str, Settings]) -> dict[str, dict[str, float]]:
    """The medians of several settings, run in turn."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in settings}
    for _ in range(ROUNDS):
        for name, setting in settings.items():
            runs[name].append(in_a_process(setting))
    return {
        name: {key: statistics.median(run[key] for run in of_one) for key in of_one[0]} for name, of_one in runs.items()
    }


def main(table: Path) -> None:
    base: Settings = {
        "table": str(table),
        "objective": {"column": "test"},
        "pool": {"workers": 64},
        "tracking": {"enabled": False},
    }
    for searcher in ("random", "evolution"):
        sizes = {f"{n:,}": base | {"searcher": {"name": searcher}, "trials": n} for n in (1_000, 10_000, 100_000)}
        for name, found in compare(sizes).items():
            print(
                f"simulated clock, {searcher}, {name} trials: {found['rate']:,.0f} trials/s, "
                f"memory grew by {found['grown_mib']:.1f} MiB"
            )
    ray: Settings = base | {"searcher": {"name": "random"}, "pool": {"kind": "ray", "workers": 64}, "trials": 100_000}
    found = compare({"off": ray, "on": ray | {"tracking": {"enabled": True}}})
    off, on = found["off"]["rate"], found["on"]["rate"]
    print(f"Ray pool, random, 100,000 trials: {off:,.0f} trials/s; with MLflow on {on:,.0f}, {1 - on / off:.1%} less")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measured(json.loads(sys.argv[2]), Path(sys.argv[3]) / "run")))
        sys.exit()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", type=Path)
    given: Path | None = parser.parse_args().table
    with tempfile.TemporaryDirectory() as scratch:
        if given is None:
            given = Path(scratch) / "nb101.arrow"
            import_table(DATA / "test108.parquet", given)
        main(given.absolute())
