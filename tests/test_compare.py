"""`archsweep compare`: surrogates against a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from nas.errors import ArchsweepError
from nas.table.table import Table
from orchestrator.cli.main import cli
from orchestrator.studies.compare import RUNS, Arm, Comparison, Truth, judged, measured, summarised
from orchestrator.tracking.follow import logged
from surrogate.base import normal

ARGS = ("--surrogate", "trees", "--surrogate", "gp", "--labels", "60", "--seeds", "2")


@pytest.fixture(scope="module")
def truth(curves_table: Path) -> Truth:
    return Truth.of(Table(curves_table), "test")


def run(*args: str) -> str:
    done = CliRunner().invoke(cli, ["compare", *args], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_the_truth_is_judged_perfect_and_its_opposite_worst(truth: Truth) -> None:
    known, everyone = truth.mean, np.ones(len(truth.cells), bool)
    perfect = judged(normal(known, np.full(len(known), 1.0)), truth, everyone)
    assert all(perfect[name] == pytest.approx(1) for name in perfect if name.startswith(("kend", "spear", "prec")))
    assert perfect["best_of_10"] == known.max()
    assert perfect["error"] == 0
    assert perfect["coverage"] == 1
    worst = judged(normal(-known, np.zeros(len(known))), truth, everyone)
    assert worst["kendall_tau"] == pytest.approx(-1)
    assert worst["precision_at_1pct"] == worst["coverage"] == 0


def test_coverage_is_of_unseen_cells_by_their_own_first_training(truth: Truth) -> None:
    half = np.arange(len(truth.cells)) < len(truth.cells) // 2
    exact = normal(np.where(half, truth.seen, 2.0), np.full(len(half), 1e-9))
    assert judged(exact, truth, half)["coverage"] == 1
    assert judged(exact, truth, ~half)["coverage"] == 0


def test_surrogates_of_one_seed_are_fitted_on_the_same_cells(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = []

    class Spy:
        def fit(self, cells: np.ndarray, accuracies: np.ndarray, seed: int) -> None:
            fitted.append((cells.tolist(), accuracies.tolist(), seed))

        def predict(self, cells: np.ndarray) -> object:
            return normal(cells.astype(float), np.ones(len(cells)))

    monkeypatch.setattr("orchestrator.studies.compare.make_surrogate", lambda name: Spy())
    for name, seed in (("trees", 0), ("gp", 0), ("gp", 1)):
        measured(Arm(name, 30), seed, truth)
    assert fitted[0] == fitted[1]
    assert fitted[0][0] != fitted[2][0]
    assert fitted[0][1] == [truth.seen[truth.cells == cell][0] for cell in fitted[0][0]]


def test_a_comparison_that_was_stopped_ends_like_another(curves_table: Path, tmp_path: Path) -> None:
    comparison = Comparison.of(curves_table, "test", ["gp", "trees"], [40], 2)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    for folder in ("stopped", "whole"):
        (tmp_path / folder).mkdir()
    with pytest.raises(KeyboardInterrupt):
        comparison.run(tmp_path / "stopped", [stop])
    stopped = tmp_path / "stopped" / RUNS
    stopped.write_bytes(stopped.read_bytes() + b'{"surrogate":"tr')
    fresh: list[bool] = []
    resumed = comparison.run(tmp_path / "stopped", [lambda run, predicted, truth: fresh.append(predicted is not None)])
    assert fresh == [False, True, True, True]
    whole = comparison.run(tmp_path / "whole")
    for ours, theirs in zip(resumed, whole, strict=True):
        assert (ours.arm, ours.seed, ours.reliability) == (theirs.arm, theirs.seed, theirs.reliability)
        assert ours.metrics["kendall_tau"] == theirs.metrics["kendall_tau"]
    assert [row["seeds"] for row in summarised(whole)] == [2, 2]


@pytest.mark.filterwarnings("ignore")  # MLflow's and SQLAlchemy's own
def test_json_plots_and_one_tracked_run(curves_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    out = tmp_path / "compared"
    found = json.loads(run(str(curves_table), *ARGS, "--out", str(out), "--json"))
    assert {name: list(rows) for name, rows in found.items()} == {"trees": ["60"], "gp": ["60"]}
    named = ("kendall_tau", "spearman", "precision_at_1pct", "fit_seconds", "score_seconds", "kendall_tau_error")
    assert set(named) <= set(found["gp"]["60"])
    for name in ("trees-60.svg", "gp-60.svg", "reliability-60.svg"):
        assert (out / name).read_text().startswith("<svg")
    steps = logged(out, f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert len(steps["gp-60/kendall_tau"]) == len(steps["trees-60/kendall_tau"]) == 2
    again = json.loads(run(str(curves_table), *ARGS, "--out", str(out), "--json", "--no-track"))
    assert again == found


def test_the_table_names_every_arm(curves_table: Path, tmp_path: Path) -> None:
    shown = run(
        str(curves_table), "--surrogate", "gp", "--labels", "40", "--seeds", "1", "--no-track", "--out", str(tmp_path)
    )
    assert "gp" in shown
    assert "P@1%" in shown


@pytest.mark.parametrize(
    ("surrogates", "labels", "message"),
    [(["none"], [10], "unknown surrogate 'none'"), ([], [1], r"got \[1\]"), ([], [10**7], "cells")],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_written(
    surrogates: list[str], labels: list[int], message: str, curves_table: Path
) -> None:
    with pytest.raises(ArchsweepError, match=message):
        Comparison.of(curves_table, "test", surrogates, labels, 1)


def test_who_comes_second_touches_nothing_of_a_comparison_under_way(curves_table: Path, tmp_path: Path) -> None:
    with Comparison.of(curves_table, "test", ["gp"], [20], 1).alone(tmp_path):
        (tmp_path / "metrics.jsonl").write_text("of the first")
        done = CliRunner().invoke(cli, ["compare", str(curves_table), *ARGS, "--out", str(tmp_path)])
        assert "another process compares" in str(done.exception)
        assert (tmp_path / "metrics.jsonl").read_text() == "of the first"


def test_a_comparison_counts_nothing_twice_and_mixes_no_priors(
    curves_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison = Comparison.of(curves_table, "test", ["gp+prior", "gp+prior"], [20, 20], 1)
    assert len(comparison.arms) == 1
    comparison.run(tmp_path)
    monkeypatch.setattr("surrogate.prior.known.fingerprint", lambda: "another")
    with pytest.raises(ArchsweepError, match=r"has runs of gp\+prior with another prior; choose another --out"):
        comparison.run(tmp_path)


def test_another_objective_does_not_go_on_in_the_folder(curves_table: Path, tmp_path: Path) -> None:
    Comparison.of(curves_table, "test", ["gp"], [20], 1).run(tmp_path)
    with pytest.raises(ArchsweepError, match="another table or objective"):
        Comparison.of(curves_table, "validation", ["gp"], [20], 1).run(tmp_path)
    with pytest.raises(ArchsweepError, match="another table or objective"):
        Comparison.of(curves_table, "validation", ["gp"], [20], 1).alone(tmp_path).__enter__()
