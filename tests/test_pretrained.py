"""The benchmark that comes with archsweep: predictions of all NAS-Bench-101."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from scipy.stats import kendalltau, norm

from nas.errors import DataError
from nas.nasbench101.catalogue import CELLS
from nas.nasbench101.cell import Cell
from nas.table.longformat import read
from nas.table.table import METRICS, Table
from nas.trial import Proposal
from orchestrator.records.folder import RESULT, TRIALS
from surrogate.pretrained.predicted import BUNDLED, Noise, Predicted, Predictions, load, save
from surrogate.pretrained.train import held_out, monotone, noise
from surrogate.saved import load as load_network
from tests.conftest import Run
from workers.pretrained_source import pretrained_source
from workers.table import Objective

TOP = 0.93
"""Where run-to-run noise hides most of what differs."""


@pytest.fixture(scope="module")
def predicted() -> Predicted:
    return Predicted()


@pytest.fixture(scope="module")
def truth(data: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """By catalogue number: test accuracies of three runs, (cells, 3), and training seconds, NaN where not measured."""
    records = read(data / "test108.parquet")
    measured = pq.read_table(data / "test108.parquet", columns=["training_time_measured"])[0].to_numpy()
    runs, seconds = np.full((CELLS, 3), np.nan), np.full(CELLS, np.nan)
    runs[records.cells, records.repeats] = records.metrics[:, METRICS.index("final_test_accuracy")]
    seconds[records.cells[measured]] = records.metrics[measured, METRICS.index("final_training_time")]
    return runs, seconds


def test_cells_left_out_of_training_are_ranked_as_they_are(
    predicted: Predicted, truth: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> None:
    cells, (runs, seconds) = held_out(), truth
    known = load(BUNDLED)
    assert kendalltau(known.accuracy[cells], runs[cells].mean(1)).statistic >= 0.90
    assert np.abs(known.accuracy[cells] - runs[cells].mean(1)).mean() < 0.01
    there = cells[np.isfinite(seconds[cells])]
    assert len(there) > 2_000
    assert np.median(np.abs(known.seconds[there] / seconds[there] - 1)) <= 0.02


def test_single_runs_scatter_as_the_real_ones_do(
    predicted: Predicted, truth: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> None:
    runs, ours = truth[0], predicted.metric("final_test_accuracy")[:, 0]
    for low, high in ((0.88, 0.91), (0.91, TOP), (TOP, 1)):
        spread = {}
        for name, some in (("real", runs), ("ours", ours)):
            among = some[(some.mean(1) >= low) & (some.mean(1) < high)]
            other = among[:, 1] if name == "real" else among[:, 1:].mean(1)
            spread[name] = np.median(np.abs(among[:, 0] - other))
        assert spread["ours"] == pytest.approx(spread["real"], rel=0.15)
    assert ours.max() == pytest.approx(runs.max(), abs=0.005)


def test_the_networks_beside_it_rank_alike(predicted: Predicted) -> None:
    cells = np.random.default_rng(0).choice(CELLS, 2_000, replace=False)
    known = load(BUNDLED)
    for name, values in (("accuracy", known.accuracy), ("seconds", known.seconds)):
        network, trained_on = load_network(BUNDLED.with_name(f"{name}.safetensors"))
        assert trained_on.startswith(known.about["table"])
        assert kendalltau(network.score(cells), values[cells]).statistic > 0.995


def test_all_that_ships_is_a_few_megabytes() -> None:
    assert sum(file.stat().st_size for file in BUNDLED.parent.iterdir() if file.is_file()) < 4_000_000


def test_an_evaluator_says_that_it_predicts(predicted: Predicted) -> None:
    runs = predicted.metric("final_test_accuracy")[:, 0]
    best = Proposal(Cell.numbered(int(runs.mean(1).argmax())))
    source = pretrained_source(Objective("test", 1))
    result = source.here()(best, 0)
    assert result.source == source.tags["archsweep.source"] == "predicted"
    assert result.objective == result.test_accuracy == runs[best.cell.key, 1]
    assert result.reported == source.best
    assert source.identity["evaluator.fingerprint"] == predicted.fingerprint
    assert source.elsewhere()(best, 0) == result


def test_a_search_marks_all_that_it_reports(tmp_path: Path, archsweep: Run) -> None:
    out = tmp_path / "run"
    done = archsweep("search", "--evaluator", "pretrained-nb101", "--trials", 40, "--no-track", "--out", out)
    assert done.returncode == 0, done.stderr
    for row in ("its objective", "its mean test accuracy", "regret"):
        assert "(predicted)" in next(line for line in done.stdout.splitlines() if row in line)
    assert json.loads((out / RESULT).read_text())["best_source"] == "predicted"
    assert set(pq.read_table(out / TRIALS)["source"].to_pylist()) <= {"predicted", "ledger"}
    assert "(predicted)" in (out / "best_cell.svg").read_text()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--table", "t.arrow"), "is a benchmark of its own; drop the table"),
        (("--epochs", 4), "predicts trainings of 108 epochs; got 4"),
        (("--repeat", 3), "has repeats 0 to 2; got repeat 3"),
        (("--objective", "validation"), "has no validation accuracy at 108 epochs; choose --objective test"),
    ],
)
def test_what_it_cannot_serve_is_one_line(flags: tuple[object, ...], said: str, tmp_path: Path, archsweep: Run) -> None:
    out = tmp_path / "run"
    done = archsweep("search", "--evaluator", "pretrained-nb101", "--no-track", "--out", out, *flags)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not out.exists()


def test_a_filtered_search_is_audited_by_the_predictions(tmp_path: Path, archsweep: Run) -> None:
    out = tmp_path / "run"
    flags = ("--filter", "top", "--filter-parameter", "labels=20", "--filter-parameter", "tau=-1")
    done = archsweep("search", "--evaluator", "pretrained-nb101", "--trials", 60, "--no-track", "--out", out, *flags)
    assert done.returncode == 0, done.stderr
    done = archsweep("audit", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


@pytest.mark.slow
def test_as_a_table_it_stays_marked(predicted: Predicted, tmp_path: Path, archsweep: Run) -> None:
    out = tmp_path / "predicted.arrow"
    done = archsweep("table", "pretrained", out)
    assert done.returncode == 0, done.stderr
    table = Table(out)
    assert np.array_equal(table.metric("final_test_accuracy"), predicted.metric("final_test_accuracy")[table.cells])
    assert "predicted by pretrained-nb101" in archsweep("table", "info", out).stdout
    done = archsweep(
        "search", "--table", out, "--objective", "test", "--trials", 9, "--no-track", "--out", tmp_path / "run"
    )
    assert "(predicted)" in done.stdout


def test_a_file_that_was_saved_says_the_same_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    rng, file = np.random.default_rng(0), tmp_path / "some.safetensors"
    some = Predictions(
        rng.random(CELLS),
        5_000 * rng.random(CELLS),
        Noise(np.array([0.5]), np.array([0.0, 1.0]), np.eye(2), np.ones(2)),
        {"a": 1},
    )
    save(some, file)
    loaded = load(file)
    assert np.abs(loaded.accuracy - some.accuracy).max() <= 1 / 65_535
    assert np.abs(loaded.seconds - some.seconds).max() <= 5_000 / 65_535
    assert loaded.noise.quantiles.tolist() == some.noise.quantiles.tolist()
    assert loaded.noise.best.tolist() == some.noise.best.tolist()
    assert loaded.about == {"a": 1}
    for damaged in (b"", file.read_bytes()[:-7], b"\x80\x04K\x01."):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match="no predictions"):
            load(file)


def test_a_curve_rises_through_the_means_of_what_was_seen() -> None:
    scores = np.random.default_rng(0).normal(size=50_000)
    truth = norm.cdf(scores) + np.random.default_rng(1).normal(scale=0.1, size=50_000)
    said = monotone(scores, truth)(np.linspace(-3, 3, 61))
    assert (np.diff(said) >= 0).all()
    assert np.abs(said - norm.cdf(np.linspace(-3, 3, 61))).max() < 0.03


def test_noise_is_that_of_single_runs_by_accuracy_and_one_sided_where_runs_fail() -> None:
    rng = np.random.default_rng(0)
    accuracy = rng.uniform(0.8, 0.9, 200_000)
    deviation = np.where(accuracy < 0.85, 0.01, 0.002)
    runs = accuracy[:, None] + deviation[:, None] * rng.normal(size=(200_000, 3))
    runs[:, 1:] = runs[:, 1:].mean(1, keepdims=True)  # all that is known of two of the published runs
    failed = rng.random(200_000) < 0.02
    runs[failed, 0] -= 0.3
    runs[np.roll(failed, 1), 1:] -= 0.15
    known = noise(accuracy, runs)
    for at, wanted in ((0.81, 0.01), (0.89, 0.002)):
        drawn = known.drawn(np.full(40_000, at), 1, 7)[:, 0]
        assert np.median(np.abs(drawn - np.median(drawn))) / norm.ppf(0.75) == pytest.approx(wanted, rel=0.15)
        assert drawn.min() < at - 0.2
        assert drawn.max() < at + 8 * wanted
        assert drawn.max() <= runs.max()
