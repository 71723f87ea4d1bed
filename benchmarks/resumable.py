"""The runs of a comparison in one file, a line a run, so that a command that was stopped goes on where it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.records.lines import LineReader, LineWriter

RESULTS = Path(__file__).parent / "results"
Found = dict[str, Any]


class Runs:
    """What came of every (arm, seed) so far. A run's numbers may not depend on anything but these two."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[tuple[str, int], Found] = {}
        self._position = 0
        if path.exists():
            reader = LineReader(path)
            self._found = {(line["arm"], line["seed"]): line["found"] for line in reader}
            self._position = reader.position

    def of(self, arm: str, seeds: int) -> list[Found]:
        """Of those seeds below ``seeds`` that there are, by seed."""
        return [found for seed in range(seeds) if (found := self._found.get((arm, seed))) is not None]

    def fill(self, arms: Iterable[str], seeds: int, run: Callable[[str, int], Found], jobs: int) -> None:
        """Runs what is missing of the arms, seed by seed, in so many processes of one thread."""
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[variable] = "1"
        missing = [(arm, seed) for seed in range(seeds) for arm in arms if (arm, seed) not in self._found]
        lines = LineWriter(self._path, self._position)
        pool = ProcessPoolExecutor(jobs, get_context("spawn"))
        try:
            running = {pool.submit(run, *job): job for job in missing}
            for done in as_completed(running):
                arm, seed = running[done]
                self._found[arm, seed] = done.result()
                lines.append({"arm": arm, "seed": seed, "found": self._found[arm, seed]})
                lines.flush()
        finally:
            pool.shutdown(cancel_futures=True)
            lines.close()


def mean_and_error(values: np.ndarray) -> list[str]:
    """Of (runs, columns): mean ± standard error of each column; NaN is left out, and a column of nothing else empty."""
    cells = []
    for column in values.T:
        there = column[~np.isnan(column)]
        error = there.std(ddof=1) / len(there) ** 0.5 if len(there) > 1 else np.nan
        cells.append(f"{there.mean():.2f} ± {error:.2f}" if len(there) else "")
    return cells


def row(*cells: object) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(map(str, cells)) + " |"
