"""Learns the prior from a table that `archsweep table build` made, `make prior`; a minute of one core.

A Gaussian process, Matern-5/2, on the rank of what a cell reached at the table's largest budget, mean of its
trainings' validation and test accuracies. What it says of all cells is the trend, its lengths are the relevance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from nas.errors import ArchsweepError, DataError
from nas.nasbench101.catalogue import CELLS
from nas.table.packaged import packaged_table
from nas.table.table import Table
from surrogate.prior.known import BUNDLED, Prior, save
from surrogate.process import Process, matern52
from surrogate.ranker import in_parts, normal_scores
from surrogate.threads import one_thread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, nargs="?", help="a measured table; the one that comes with archsweep")
    parser.add_argument("--out", type=Path, default=BUNDLED)
    options = parser.parse_args()
    try:
        save(learnt(Table(options.table or packaged_table())), options.out)
    except ArchsweepError as error:
        parser.error(str(error))


def learnt(table: Table) -> Prior:
    """What a table of a few cells says of all. Raises `DataError` on one that `archsweep table build` has not made."""
    if "plan" not in table.made:
        raise DataError(f"{table.path} does not say how it was trained; take one that `archsweep table build` made")
    accuracies = [table.metric(f"final_{column}_accuracy")[:, -1] for column in ("validation", "test")]
    means = np.concatenate(accuracies, 1).mean(1)
    known = np.isfinite(means)
    process = Process(kernel=matern52)
    with one_thread():
        process.learn(table.cells[known], normal_scores(means[known]), 0)
    trend = in_parts(process.score, np.arange(CELLS))
    assert process.inverse is not None
    logs = process.inverse.log().numpy()
    about = {"table": table.fingerprint, "cells": int(known.sum()), "plan": table.made["plan"]}
    standard = ((trend - trend.mean()) / trend.std()).astype(np.float32)
    return Prior(standard, logs - logs.mean(), about)


if __name__ == "__main__":
    main()
