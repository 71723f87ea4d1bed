"""What the measured table taught: as a file, in front of a surrogate, and where it would be cheating."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kendalltau

from nas.errors import ArchsweepError, DataError
from nas.nasbench101.catalogue import CELLS
from nas.nasbench101.features import graph_features
from nas.table.table import Table, TableData, write
from orchestrator.search.search import Search
from orchestrator.settings.config import parse
from orchestrator.studies.compare import Comparison
from surrogate.named import INFORMED, SURROGATES, make_surrogate
from surrogate.prior.known import BUNDLED, TRUST, WEIGHT, Informed, Prior, bundled, load, save
from surrogate.prior.train import learnt
from surrogate.ranker import FEATURES, Doubles, normal_scores
from surrogate.threads import one_thread

FEW = np.arange(0, 300, dtype=np.int32)


def table_of(path: Path, cells: NDArray[np.int32], accuracies: Doubles, plan: object) -> Table:
    """What `archsweep table build` would have made of this plan."""
    values = np.repeat(accuracies[:, None, None], 2, 2)
    names = ("final_validation_accuracy", "final_test_accuracy", "final_training_time")
    metrics = dict.fromkeys(names, values)
    hashes = np.random.default_rng(0).integers(0, 256, (len(cells), 16), dtype=np.uint8)
    write(TableData(cells, hashes, np.ones(len(cells), np.int32), (6,), metrics, "here", {"plan": plan}), path)
    return Table(path)


@pytest.fixture(scope="module")
def cheat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of the trainings that the bundled prior has learnt from."""
    path = tmp_path_factory.mktemp("cheat") / "fashion5.arrow"
    table_of(path, FEW, np.linspace(0.5, 0.9, len(FEW)), bundled().about["plan"])
    return path


def test_the_prior_in_the_box_says_what_it_was_learnt_from() -> None:
    prior = bundled()
    assert abs(prior.trend.mean()) < 1e-3
    assert abs(prior.trend.std() - 1) < 1e-3
    assert prior.about["plan"]["max_vertices"] == 5
    assert 1_000 < prior.about["cells"] <= 2_532
    assert BUNDLED.stat().st_size < 1_000_000


def test_a_table_teaches_which_cells_are_good_and_which_features_tell(tmp_path: Path) -> None:
    cells = np.random.default_rng(1).choice(CELLS, 250, replace=False).astype(np.int32)
    others = np.random.default_rng(2).choice(CELLS, 2_000, replace=False)
    convolutions = graph_features(cells)[:, 2].astype(float)
    accuracies = 0.8 + 0.02 * convolutions
    accuracies[0] = np.nan  # a cell whose trainings diverged
    prior = learnt(table_of(tmp_path / "some.arrow", cells, accuracies, {"seed": 4}))
    assert prior.about["cells"] == 249
    assert prior.about["plan"] == {"seed": 4}
    assert kendalltau(prior.trend[others], graph_features(others)[:, 2])[0] > 0.6
    assert prior.relevance[2] > prior.relevance.std()
    save(prior, tmp_path / "prior.safetensors")
    loaded = load(tmp_path / "prior.safetensors")
    np.testing.assert_allclose(loaded.trend, prior.trend, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(loaded.relevance, prior.relevance, rtol=1e-5)
    assert loaded.about == prior.about


def test_a_table_that_does_not_say_how_it_was_trained_teaches_nothing(small_table: Path) -> None:
    with pytest.raises(DataError, match="does not say how it was trained"):
        learnt(Table(small_table))


@pytest.mark.parametrize("damage", [b"", b"\x80\x04K\x01.", None])
def test_a_file_that_is_none_is_refused(damage: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "prior.safetensors"
    if damage is None:
        save(Prior(np.full(CELLS, np.nan, np.float32), np.zeros(FEATURES), {}), file)
    else:
        file.write_bytes(damage)
    with pytest.raises(DataError, match="holds no prior"):
        load(file)


def test_what_the_trend_does_not_say_is_learnt_and_the_doubt_is_the_process_s() -> None:
    rng = np.random.default_rng(3)
    cells, asked = rng.choice(CELLS, (2, 60), replace=False)
    scores = 5 * normal_scores(rng.random(60))
    prior = bundled()
    with one_thread():
        informed, plain = Informed(prior.process(), prior), prior.process()
        informed.learn(cells, scores, 0)
        trend = WEIGHT * scores.std() * prior.trend.astype(float)
        plain.learn(cells, scores - trend[cells], 0)
        score, doubt = informed.score_and_deviation(asked)
        expected = plain.score_and_deviation(asked)
    np.testing.assert_allclose(score, expected[0] + trend[asked])
    np.testing.assert_array_equal(doubt, expected[1])
    np.testing.assert_allclose(informed.score(asked), score, atol=1e-5)


def test_lengths_stay_where_they_were_elsewhere_unless_labels_say_otherwise() -> None:
    prior = bundled()
    cells = np.random.default_rng(4).choice(CELLS, 4, replace=False)
    process = prior.process()
    with one_thread():
        process.learn(cells, np.array([0.0, 1.0, -1.0, 0.5]), 0)
    assert process.inverse is not None
    logs = process.inverse.log().numpy()
    np.testing.assert_allclose(logs - logs.mean(), TRUST * prior.relevance, atol=0.2)
    assert Informed(process, prior).apart().inner.inverse is process.inverse


def test_real_cells_are_ranked_better_with_it_when_labels_are_few(curves_table: Path) -> None:
    table = Table(curves_table)
    runs = table.metric("final_test_accuracy")[:, -1]
    gained = []
    for seed in range(3):
        rows = np.random.default_rng(seed).choice(len(table), 2_040, replace=False)
        cells, seen, truth = np.asarray(table.cells)[rows], runs[rows, 0], runs[rows].mean(1)
        tau = []
        for prior in ("", "+prior"):
            model = make_surrogate(f"gp{prior}")
            model.fit(cells[:40], seen[:40], 0)
            tau.append(kendalltau(model.predict(cells[40:]).score, truth[40:])[0])
        gained.append(tau[1] - tau[0])
    assert np.mean(gained) > 0.01


def test_on_its_own_table_it_is_refused_before_anything_is_written(cheat: Path, tmp_path: Path) -> None:
    told = {"table": str(cheat), "trials": 5, "tracking": {"enabled": False}}
    filtered = {"filter": {"policy": "top", "surrogate": "gp+prior"}}
    asked = {"evaluator": {"kind": "surrogate", "surrogate": "gp+prior", "labels": 20}}
    for changes in (filtered, asked):
        with pytest.raises(ArchsweepError, match=r"gp\+prior has learnt from .*fashion5.arrow itself; choose"):
            Search(parse(told | changes, "test"), tmp_path / "run")
    with pytest.raises(ArchsweepError, match="itself"):
        Comparison.of(cheat, "test", ["flow+prior"], [20], 1)
    assert not (tmp_path / "run").exists()


def test_a_comparison_of_all_leaves_them_out_where_they_would_cheat(cheat: Path, curves_table: Path) -> None:
    def compared(path: Path) -> set[str]:
        return {arm.surrogate for arm in Comparison.of(path, "test", [], [20], 1).arms}

    assert compared(cheat) == SURROGATES.keys() - INFORMED.keys()
    assert compared(curves_table) == SURROGATES.keys()


@pytest.mark.parametrize(
    "learner",
    [
        {"filter": {"policy": "top", "surrogate": "gp+prior"}},
        {"evaluator": {"kind": "surrogate", "surrogate": "gp+prior", "labels": 20}},
    ],
)
def test_a_search_does_not_go_on_with_another_prior(
    learner: dict[str, object], small_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = parse({"table": str(small_table), "trials": 3, "tracking": {"enabled": False}} | learner, "test")
    assert Search(config, tmp_path / "run").run().trials == 3
    monkeypatch.setattr("surrogate.prior.known.fingerprint", lambda: "a later one's")
    with pytest.raises(ArchsweepError, match=r"it has prior = '[0-9a-f]{32}', not \"a later one's\"; choose another"):
        Search(config, tmp_path / "run").run()
