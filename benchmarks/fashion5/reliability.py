"""How reliable a build's trainings are: ``python reliability.py JOURNAL [NAS-Bench-101's test108.parquet]``."""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.stats import spearmanr

from nas.cell import Cell
from nas.table import METRICS
from orchestrator.lines import LineReader


def trainings(journal: Path) -> tuple[list[int], list[int], NDArray[np.float64]]:
    """Budgets, catalogue numbers of the cells that have all of them, metrics (cells, budgets, repeats, 8)."""
    header, *records = LineReader(journal)
    budgets = header["plan"]["budgets"]
    found = {(record["cell"], record["epochs"]): record["metrics"] for record in records}
    cells = sorted({cell for cell, _ in found if all((cell, epochs) in found for epochs in budgets)})
    return budgets, cells, np.array([[found[cell, epochs] for epochs in budgets] for cell in cells], np.float64)


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    both = np.isfinite(a) & np.isfinite(b)
    return float(spearmanr(a[both], b[both])[0])


def published(path: Path, cells: list[int]) -> NDArray[np.float64]:
    """NAS-Bench-101's mean test accuracy at 108 epochs of the same cells."""
    keys = {tuple(Cell.numbered(cell).to_json().values()): row for row, cell in enumerate(cells)}
    columns = pq.read_table(path, columns=["adjacency", "operations", "test_accuracy"]).to_pydict()
    total, count = np.zeros(len(cells)), np.zeros(len(cells))
    for adjacency, operations, accuracy in zip(*columns.values(), strict=True):
        row = keys.get((adjacency, operations))
        if row is not None:
            total[row] += accuracy
            count[row] += 1
    return total / count


def main() -> None:
    budgets, cells, metrics = trainings(Path(sys.argv[1]))
    test = metrics[..., METRICS.index("final_test_accuracy")]
    validation = metrics[..., METRICS.index("final_validation_accuracy")]
    seconds = metrics[..., METRICS.index("final_training_time")]
    print(f"{len(cells)} cells, {int(np.isnan(metrics).any(3).sum())} trainings diverged")
    for b, epochs in enumerate(budgets):
        repeats = [spearman(validation[:, b, r], validation[:, b, s]) for r, s in combinations(range(test.shape[2]), 2)]
        means = np.nanmean(validation[:, b], 1)
        deviation = np.median(np.nanstd(validation[:, b], 1, ddof=1))
        print(
            f"{epochs} epochs: Spearman between repeats {np.mean(repeats):.3f}; validation accuracy {means.mean():.4f},"
            f" {means.min():.4f} to {means.max():.4f}, deviation {means.std():.4f}; median repeat deviation"
            f" {deviation:.4f}; validation-test {spearman(means, np.nanmean(test[:, b], 1)):.3f};"
            f" {np.nansum(seconds[:, b], 1).mean():.1f} s a cell"
        )
    for a, b in combinations(range(len(budgets)), 2):
        rho = spearman(np.nanmean(validation[:, a], 1), np.nanmean(validation[:, b], 1))
        print(f"Spearman between {budgets[a]} and {budgets[b]} epochs: {rho:.3f}")
    if len(sys.argv) > 2:
        theirs = published(Path(sys.argv[2]), cells)
        for b, epochs in enumerate(budgets):
            print(f"Spearman of {epochs} epochs with NAS-Bench-101: {spearman(np.nanmean(test[:, b], 1), theirs):.3f}")


if __name__ == "__main__":
    main()
