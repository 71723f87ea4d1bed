"""What every surrogate of the registry owes those who use it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import kendalltau

from nas.errors import DataError
from nas.nasbench101.catalogue import CELLS
from nas.nasbench101.features import graph_features
from nas.table.table import Table
from surrogate.base import COVERAGE, Predictor
from surrogate.blend import Taught
from surrogate.controls import ParametersOnly
from surrogate.gnn import Network
from surrogate.named import SURROGATES, make_surrogate
from surrogate.ranker import PART, in_parts, normal_scores
from surrogate.saved import load, save
from surrogate.threads import one_thread

LABELS, TESTED = 120, 2_000
NOISE = 0.004
SLOW = {"blend", "flow+prior", "blend+prior"}
every_surrogate = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in SURROGATES]
)


@pytest.fixture(scope="module")
def cells() -> NDArray[np.int64]:
    return np.random.default_rng(7).choice(CELLS, LABELS + TESTED, replace=False)


@pytest.fixture(scope="module")
def accuracies(cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of one training: deep paths of 3x3 convolutions help, pooling does not, and no two trainings agree."""
    columns = graph_features(cells).astype(float)
    truth = 0.9 + 0.01 * columns[:, 15] - 0.006 * columns[:, 4] + 0.004 * np.log(columns[:, 5])
    return truth + np.random.default_rng(8).normal(0, NOISE, len(cells))


@pytest.fixture(scope="module", autouse=True)
def alone() -> Iterator[None]:
    with one_thread():
        yield


def fitted(name: str, cells: NDArray[np.int64], accuracies: NDArray[np.float64], seed: int = 0) -> Predictor:
    model = make_surrogate(name)
    model.fit(cells[:LABELS], accuracies[:LABELS], seed)
    return model


@pytest.fixture(scope="module")
def trained(cells: NDArray[np.int64], accuracies: NDArray[np.float64]) -> Callable[[str], Predictor]:
    """A surrogate, fitted once with seed 3."""
    return cache(partial(fitted, cells=cells, accuracies=accuracies, seed=3))


@every_surrogate
def test_predictions_are_numbers_in_their_intervals_and_rank_cells(
    name: str,
    trained: Callable[[str], Predictor],
    cells: NDArray[np.int64],
    accuracies: NDArray[np.float64],
) -> None:
    predicted = trained(name).predict(cells[LABELS:])
    assert len(predicted) == TESTED
    assert np.isfinite([predicted.mean, predicted.low, predicted.high, predicted.score]).all()
    assert (predicted.low <= predicted.mean).all()
    assert (predicted.mean <= predicted.high).all()
    assert np.abs(predicted.mean - accuracies[LABELS:]).mean() < accuracies[LABELS:].std()
    assert kendalltau(predicted.score, accuracies[LABELS:])[0] > 0.5


@every_surrogate
def test_what_is_predicted_of_a_cell_does_not_depend_on_the_others(
    name: str, trained: Callable[[str], Predictor], cells: NDArray[np.int64]
) -> None:
    model = trained(name)
    asked = cells[LABELS : LABELS + 50]
    together = model.predict(asked)
    turned = model.predict(asked[::-1])
    np.testing.assert_allclose(turned.score[::-1], together.score, atol=1e-4)
    np.testing.assert_allclose(model.predict(asked[:1]).score, together.score[:1], atol=1e-4)


@every_surrogate
def test_fitting_again_gives_the_same_in_another_process(
    name: str, trained: Callable[[str], Predictor], cells: NDArray[np.int64], accuracies: NDArray[np.float64]
) -> None:
    script = f"""
import numpy as np
import torch
torch.set_num_threads(1)
from nas.nasbench101.catalogue import CELLS
from surrogate.named import make_surrogate
cells = np.random.default_rng(7).choice(CELLS, {LABELS + TESTED}, replace=False)
model = make_surrogate({name!r})
model.fit(cells[:{LABELS}], np.frombuffer(bytes.fromhex({accuracies[:LABELS].tobytes().hex()!r})), 3)
print(model.predict(cells[-20:]).score.tobytes().hex())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    here = trained(name).predict(cells[-20:]).score
    assert done.stdout.strip() == here.tobytes().hex()


def test_conformal_intervals_hold_what_they_promise(cells: NDArray[np.int64], accuracies: NDArray[np.float64]) -> None:
    inside = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(cells))
        predicted = fitted("flow", cells[order], accuracies[order]).predict(cells[order][LABELS:])
        left = accuracies[order][LABELS:]
        inside.append(((predicted.low <= left) & (left <= predicted.high)).mean())
    assert abs(np.mean(inside) - COVERAGE) < 0.05


@every_surrogate
@pytest.mark.parametrize("labels", [(0.9, 0.9, 0.9, 0.9), (0.1, 0.9, 0.9, 0.5)])
def test_labels_that_are_all_alike_or_few_are_no_error(name: str, labels: tuple[float, ...]) -> None:
    model = make_surrogate(name)
    model.fit(np.arange(100, 104), np.array(labels), 0)
    assert np.isfinite(model.predict(np.arange(50)).score).all()


def test_many_cells_are_scored_in_parts_and_in_order_and_threads_are_left_as_they_were() -> None:
    cells = np.random.default_rng(0).permutation(CELLS)[: 3 * PART + 5]
    threads = torch.get_num_threads()
    said = in_parts(lambda part: np.stack([part + 0.5, -part.astype(float)]), cells)
    assert np.array_equal(said, [cells + 0.5, -cells.astype(float)])
    assert in_parts(lambda part: part.astype(float), cells[:0]).shape == (0,)
    assert torch.get_num_threads() == threads


def test_networks_learn_from_what_they_are_taught_where_labels_are_few(
    cells: NDArray[np.int64], accuracies: NDArray[np.float64]
) -> None:
    known, unlabelled, rest = slice(0, 10), slice(10, 1_000), slice(1_000, None)
    tau = {}
    for taught in (None, (cells[unlabelled], accuracies[unlabelled])):
        network = Network(1)
        network.learn(cells[known], accuracies[known], 0, taught)
        tau[taught is None] = kendalltau(network.score(cells[rest]), accuracies[rest])[0]
    assert tau[False] > tau[True] + 0.05


def test_a_blend_scores_on_the_scale_that_it_learnt(cells: NDArray[np.int64], accuracies: NDArray[np.float64]) -> None:
    blend = Taught(network=Network(1), unlabelled=300)
    scores = normal_scores(accuracies)
    blend.learn(cells[:LABELS], scores[:LABELS], 0)
    apart = blend.apart()
    assert apart.teacher.process.noise is blend.teacher.process.noise
    for ranker in (blend.teacher.process, blend.teacher.trees, blend.network):
        assert 0.4 < ranker.score(cells[LABELS:]).std() < 1.6
    assert kendalltau(blend.score(cells[LABELS:]), scores[LABELS:])[0] > 0.5


def test_a_network_that_was_saved_says_the_same(
    cells: NDArray[np.int64], accuracies: NDArray[np.float64], tmp_path: Path
) -> None:
    network, file = Network(2), tmp_path / "network.safetensors"
    network.learn(cells[:30], accuracies[:30], 0)
    save(network, file, "these cells")
    loaded, trained_on = load(file)
    assert trained_on == "these cells"
    assert loaded.score(cells[-50:]).tobytes() == network.score(cells[-50:]).tobytes()
    for damaged in (b"", file.read_bytes()[:-7], b"\x80\x04K\x01."):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match="no network"):
            load(file)


@every_surrogate
def test_real_cells_are_ranked_better_than_by_their_size(name: str, curves_table: Path) -> None:
    table = Table(curves_table)
    runs = table.metric("final_test_accuracy")[:, -1]
    rows = np.random.default_rng(0).choice(len(table), LABELS + TESTED, replace=False)
    cells, seen, truth = np.asarray(table.cells)[rows], runs[rows, 0], runs[rows].mean(1)
    tau = {}
    for each in (make_surrogate(name), ParametersOnly()):
        each.fit(cells[:LABELS], seen[:LABELS], 0)
        tau[type(each)] = kendalltau(each.predict(cells[LABELS:]).score, truth[LABELS:])[0]
    ours, theirs = tau.values()
    assert ours > theirs + 0.05


@pytest.mark.parametrize("name", ["trees", "flow"])
def test_a_seed_may_be_as_large_as_a_search_allows(name: str) -> None:
    cells = np.arange(0, 300, 10)
    for seed in ((1 << 63) - 1, 5_000_000_000):
        make_surrogate(name).fit(cells, np.linspace(0.8, 0.9, 30), seed)
