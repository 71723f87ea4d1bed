"""Networks, recipes and trainings, on scikit-learn's digits."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from safetensors import safe_open
from safetensors.torch import save_file

from nas.errors import ArchsweepError, EvaluationError
from nas.nasbench101.cell import Cell
from nas.nasbench101.network import NASBENCH101, Skeleton, cost
from nas.table.table import METRICS
from nas.trial import Proposal, Result
from surrogate.threads import one_thread
from tests.cells import cells
from workers.base import evaluate
from workers.datasets import Data, load
from workers.live import CurveReader
from workers.network import MaxPool, Network
from workers.optimizers import TensorFlowRMSprop, make_optimizer
from workers.recipe import Recipe, preset
from workers.train_evaluator import TrainEvaluator
from workers.train_source import TrainSpec, trainings
from workers.trainer import Epoch, Training, check_device, cropped, train

INCEPTION = Cell.of(
    [
        [0, 1, 1, 1, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0],
    ],
    ["input", *(f"conv{k}x{k}-bn-relu" for k in (1, 3, 3, 3)), "maxpool3x3", "output"],
)
CELL = Cell.from_json(
    {"adjacency": "0110100101000010000100000", "operations": "input,conv3x3-bn-relu,maxpool3x3,conv1x1-bn-relu,output"}
)
SETTING = preset("cpu").trained_for(3)
SECONDS = [position for position, name in enumerate(METRICS) if name.endswith("time")]
ACCURACIES = [position for position, name in enumerate(METRICS) if name.endswith("accuracy")]


@pytest.fixture(scope="module", autouse=True)
def alone() -> Iterator[None]:
    """As in `train`: more threads wait for each other on a busy machine."""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def digits() -> Data:
    return load(SETTING.data)


def networks_equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("which", range(6))
def test_a_built_network_has_the_published_number_of_parameters(data: Path, which: int) -> None:
    rows = pq.read_table(data / "hashes.parquet").slice(which * 70_000 + 11, 1).to_pylist()[0]
    cell = Cell.from_json({"adjacency": rows["adjacency"], "operations": rows["operations"]})
    built = Network(cell)
    assert built.parameter_count == rows["trainable_parameters"] == cost(cell).parameters


def test_the_inception_like_cell_has_the_printed_number_of_parameters() -> None:
    assert Network(INCEPTION, NASBENCH101).parameter_count == 2_694_282


@settings(max_examples=60, deadline=None)
@given(cell=cells())
def test_any_cell_in_any_skeleton_gives_logits_and_the_counted_parameters(cell: Cell) -> None:
    skeleton = Skeleton(stem_channels=5, stacks=2, cells_per_stack=2, image_size=7, image_channels=2, classes=3)
    network = Network(cell, skeleton, seeds=(1, 2))
    assert network.parameter_count == cost(cell, skeleton).parameters
    logits = network(torch.zeros(4, 4, 7, 7))
    assert logits.shape == (4, 2, 3)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@settings(max_examples=30, deadline=None)
@given(cell=cells())
def test_repeats_together_compute_what_each_computes_alone(cell: Cell) -> None:
    skeleton = Skeleton(stem_channels=6, cells_per_stack=1, image_size=8, image_channels=1)
    images = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    together = Network(cell, skeleton, seeds=(7, 8, 9))
    alone = [Network(cell, skeleton, seeds=(seed,)) for seed in (7, 8, 9)]
    expected = torch.cat([network(images[:, r : r + 1]) for r, network in enumerate(alone)], 1)
    torch.testing.assert_close(together(images), expected, rtol=1e-4, atol=1e-4)


def test_the_first_step_of_repeats_together_is_each_ones_first_step(digits: Data) -> None:
    setting = replace(SETTING, recipe=replace(SETTING.recipe, warmup=0))
    together = Training(CELL, setting, digits, (3, 4, 5), "cpu")
    order = np.stack([np.random.default_rng(r).permutation(1_000)[:128] for r in range(3)])
    rngs = [np.random.default_rng(r) for r in range(3)]
    found = together._step(0, *together._images.batch(order, rngs, 0, False))
    for r, seed in enumerate((3, 4, 5)):
        alone = Training(CELL, setting, digits, (seed,), "cpu")
        expected = alone._step(0, *alone._images.batch(order[r : r + 1], rngs[:1], 0, False))
        torch.testing.assert_close(found[:, r : r + 1], expected, rtol=1e-4, atol=1e-4)
        for ours, theirs in zip(together.network.parameters(), alone.network.parameters(), strict=True):
            torch.testing.assert_close(ours.chunk(3)[r], theirs, rtol=1e-3, atol=1e-4)


def test_repeats_together_end_like_repeats_alone(digits: Data) -> None:
    gentle = replace(SETTING, recipe=replace(SETTING.recipe, learning_rate=0.01))  # rounding grows with every step
    together = train(CELL, gentle, digits, (3, 4)).metrics
    for r, seed in enumerate((3, 4)):
        alone = train(CELL, gentle, digits, (seed,)).metrics[0]
        assert np.abs(together[r] - alone)[ACCURACIES].max() < 0.01


def test_the_same_seed_gives_the_same_bits_and_another_does_not(digits: Data) -> None:
    first, again, other = (train(CELL, SETTING, digits, (seed,)).metrics[0, ACCURACIES] for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()
    assert (first[3:] > 0.5).all()


class KilledError(Exception):
    pass


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adamw"])
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_killed_training_goes_on_to_the_same_bits(digits: Data, tmp_path: Path, epoch: int, optimizer: str) -> None:
    def kill(report: Epoch) -> None:
        if report.number == epoch:
            raise KilledError

    recipe = replace(SETTING.recipe, optimizer=optimizer, learning_rate=0.01, crop=1, flip=True)
    setting, path = replace(SETTING, recipe=recipe), tmp_path / "checkpoint"
    whole = train(CELL, setting, digits, (5, 6)).metrics
    with pytest.raises(KilledError):
        train(CELL, setting, digits, (5, 6), kill, path)
    seen: list[int] = []
    resumed = train(CELL, setting, digits, (5, 6), lambda report: seen.append(report.number), path)
    assert (resumed.metrics[:, ACCURACIES] == whole[:, ACCURACIES]).all()
    assert (resumed.metrics[:, SECONDS] > 0).all()
    assert seen == list(range(epoch + 1, 4))


def test_a_checkpoint_that_is_damaged_or_another_trainings_is_not_used(digits: Data, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    whole = train(CELL, SETTING, digits, (5,), checkpoint_path=path).metrics[:, ACCURACIES]
    path.write_bytes(path.read_bytes()[:-5])
    assert (train(CELL, SETTING, digits, (5,), checkpoint_path=path).metrics[:, ACCURACIES] == whole).all()
    other = train(CELL, SETTING, digits, (6,)).metrics[:, ACCURACIES]
    assert (train(CELL, SETTING, digits, (6,), checkpoint_path=path).metrics[:, ACCURACIES] == other).all()


@pytest.mark.parametrize("damage", ["no progress", "progress cut off", "no epoch", "a weight less", "another name"])
def test_a_checkpoint_whose_parts_do_not_fit_costs_its_epochs(digits: Data, tmp_path: Path, damage: str) -> None:
    path, seen = tmp_path / "checkpoint", list[Epoch]()
    whole = train(CELL, SETTING, digits, (5,), checkpoint_path=path).metrics[:, ACCURACIES]
    with safe_open(path, "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    weight = next(name for name in tensors if name.startswith("network."))
    match damage:
        case "no progress":
            del metadata["progress"]
        case "progress cut off":
            metadata["progress"] = metadata["progress"][:-3]
        case "no epoch":
            metadata["progress"] = metadata["progress"].replace('"epoch"', '"epochs"')
        case "a weight less":
            del tensors[weight]
        case "another name":
            tensors["weights"] = tensors.pop(weight)
    save_file(tensors, path, metadata)
    again = train(CELL, SETTING, digits, (5,), seen.append, path).metrics[:, ACCURACIES]
    assert (again == whole).all()
    assert [epoch.number for epoch in seen] == [1, 2, 3]


def test_a_training_stops_when_it_is_told_to(digits: Data) -> None:
    reports: list[Epoch] = []
    outcome = train(CELL, SETTING, digits, (5,), reports.append, stopped=lambda: bool(reports))
    assert outcome.epochs == 1
    assert np.isnan(outcome.metrics[0, :4]).all()
    assert np.isfinite(outcome.metrics[0, 4:]).all()


def test_a_loss_that_is_not_a_number_is_a_failure_and_names_the_epoch(digits: Data, tmp_path: Path) -> None:
    wild = replace(SETTING, recipe=replace(SETTING.recipe, learning_rate=1e30))
    with pytest.raises(EvaluationError, match="the loss became infinite or no number in epoch 1"):
        train(CELL, wild, digits, (0, 1))
    assert evaluate(TrainEvaluator(TrainSpec((wild,))), Proposal(CELL), 0) == (
        "the loss became infinite or no number in epoch 1"
    )


def test_a_repeat_that_diverges_leaves_the_others_alone(digits: Data) -> None:
    training = Training(CELL, SETTING, digits, (0, 1), "cpu")
    weights = next(training.network.parameters())
    with torch.no_grad():
        weights[: len(weights) // 2] = torch.nan
    for _ in range(3):
        training.run_epoch()
    metrics = training.outcome().metrics
    assert np.isnan(metrics[0]).all()
    assert np.isfinite(metrics[1]).all()


@pytest.mark.parametrize("what", ["stem.convolution.weight", "stem.normalisation.running_var"])
def test_what_breaks_in_the_last_step_is_a_failure_too(
    what: str, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(CELL, SETTING, digits, (0, 1), "cpu")
    step = training._step

    def breaking(done: int, *batch: torch.Tensor) -> torch.Tensor:
        found = step(done, *batch)
        if done == 1_000 // 32 - 1:
            with torch.no_grad():
                training.network.state_dict()[what][0] = torch.inf
        return found

    monkeypatch.setattr(training, "_step", breaking)
    loss, _ = training.run_epoch()
    assert loss.isfinite().all()
    assert training.progress.lost == (0,)


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "cuda:-1", ""])
def test_a_device_that_is_not_there_is_one_line(device: str) -> None:
    with pytest.raises(ArchsweepError, match="no device"):
        check_device(device)


def test_the_evaluator_goes_on_from_its_checkpoint_which_stays_until_the_result_is_on_record(tmp_path: Path) -> None:
    def kill(report: Epoch) -> None:
        raise KilledError

    setting, proposal = SETTING.trained_for(2), Proposal(CELL)
    spec = TrainSpec((setting,), live=tmp_path / "checkpoints")
    with pytest.raises(KilledError):
        TrainEvaluator(spec, kill)(proposal, 9)
    assert len(list((tmp_path / "checkpoints").glob("*.safetensors"))) == 1
    seen: list[int] = []
    result = TrainEvaluator(spec, lambda report: seen.append(report.number))(proposal, 9)
    assert seen == [2]
    assert TrainEvaluator(spec, seen.append)(proposal, 9) == result, "lost on its way, it costs no training"
    (live,) = trainings(spec, proposal, 9)
    live.end()
    assert seen == [2]
    assert not list((tmp_path / "checkpoints").glob("*.safetensors"))
    (curve,) = (tmp_path / "checkpoints").glob("*.jsonl")
    assert [epoch["epoch"] for epoch in CurveReader(curve).new()] == [1, 2]
    fresh = TrainEvaluator(TrainSpec((setting,), column="test"))(proposal, 9)
    assert replace(fresh, objective=result.objective, training_seconds=result.training_seconds) == result
    assert (fresh.objective, result.objective) == (result.test_accuracy, result.validation_accuracy)
    assert result.parameters == cost(CELL, setting.skeleton).parameters


def test_rungs_are_parts_of_one_training_and_cost_what_they_add(tmp_path: Path) -> None:
    setting, seen = SETTING.trained_for(4), []

    def rung(epochs: int, kill_after: int = 9) -> Result:
        def heard(report: Epoch) -> None:
            seen.append((report.number, report.epochs))
            if report.number == kill_after:
                raise KilledError

        trial_seed = len(seen)
        return TrainEvaluator(TrainSpec((setting,), live=tmp_path, seed=3), heard)(Proposal(CELL, epochs), trial_seed)

    first, second = rung(1), rung(2)
    assert seen == [(1, 1), (2, 2)]
    below = rung(1)  # the checkpoint has come too far for it
    assert replace(below, training_seconds=first.training_seconds) == first
    with pytest.raises(KilledError):
        rung(4, kill_after=3)
    last = rung(4)
    assert seen[2:] == [(1, 1), (3, 4), (4, 4)]
    at_once = TrainEvaluator(TrainSpec((setting,), seed=3))(Proposal(CELL, 4), 77)
    assert replace(at_once, training_seconds=last.training_seconds) == last
    other = TrainEvaluator(TrainSpec((setting,), seed=4))(Proposal(CELL, 4), 77)
    assert other.objective != last.objective
    (curve,) = tmp_path.glob("*.jsonl")
    whole = json.loads(curve.read_bytes().splitlines()[-1])["seconds"]
    assert first.training_seconds + second.training_seconds + last.training_seconds == pytest.approx(whole)


def test_a_rung_that_is_trained_again_costs_what_it_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(1_000))
    monkeypatch.setattr(time, "thread_time", lambda: float(next(ticks)))
    evaluator = TrainEvaluator(TrainSpec((SETTING,), live=tmp_path))
    first, second, last, again = (evaluator(Proposal(CELL, epochs), 0) for epochs in (1, 2, 3, 2))
    assert again == second
    assert len({result.objective for result in (first, second, last)}) == 3
    (curve,) = tmp_path.glob("*.jsonl")
    assert [json.loads(line)["epoch"] for line in curve.read_bytes().splitlines()] == [1, 2, 3, 1, 2]


def test_accuracies_are_of_the_images_that_they_are_named_after(digits: Data) -> None:
    training = Training(CELL, replace(SETTING, data=replace(SETTING.data, scored=700)), digits, (0,), "cpu")
    training.run_epoch()
    found = dict(zip(METRICS, training.outcome().metrics[0], strict=True))
    pixels = digits.train.images.astype(np.float64)
    training.network.eval()
    for name, split in (
        ("train", digits.train.part(0, 700, 1)),
        ("validation", digits.validation),
        ("test", digits.test),
    ):
        images = torch.tensor((split.images - pixels.mean()) / pixels.std(), dtype=torch.float32)
        with torch.no_grad():
            classes = training.network(images)[:, 0].argmax(1).numpy()
        assert found[f"final_{name}_accuracy"] == pytest.approx((classes == split.labels).mean(), abs=1e-9)
    assert len({found[f"final_{name}_accuracy"] for name in ("train", "validation", "test")}) == 3


@pytest.mark.parametrize("change", [{"crop": 1}, {"flip": True}])
def test_augmentation_takes_part_in_training_and_not_in_evaluation(digits: Data, change: dict[str, Any]) -> None:
    recipe = replace(SETTING.recipe, **change)
    losses = []
    for setting in (SETTING, replace(SETTING, recipe=recipe)):
        training = Training(CELL, setting, digits, (0,), "cpu")
        before = training.accuracy(digits.test)
        assert training.accuracy(digits.test) == before
        losses.append((before, training.run_epoch()[0]))
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]


def test_the_rate_of_every_step_is_on_the_cosine(digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = replace(SETTING, recipe=replace(SETTING.recipe, epochs=2, batch=250, warmup=0, learning_rate=0.3))
    training, rates = Training(CELL, setting, digits, (0,), "cpu"), list[float]()
    step = training._optimizer.step

    def noting() -> None:
        rates.append(training._optimizer.param_groups[0]["lr"])
        step()

    monkeypatch.setattr(training._optimizer, "step", noting)
    training.run_epoch()
    training.run_epoch()
    assert rates == pytest.approx(0.15 * (1 + np.cos(np.pi * np.arange(8) / 8)))


def test_batch_normalisation_keeps_the_share_of_the_old_value_that_the_recipe_says() -> None:
    stem = Network(CELL, SETTING.skeleton, momentum=0.9).stem
    images = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = stem.convolution(images).detach()
    stem(images)
    torch.testing.assert_close(stem.normalisation.running_mean, 0.1 * found.mean((0, 2, 3)))
    torch.testing.assert_close(stem.normalisation.running_var, 0.9 + 0.1 * found.var((0, 2, 3)))


def test_pooling_takes_the_largest_of_three_by_three() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3)
    assert MaxPool()(image)[0, 0].tolist() == [[4, 5, 5], [7, 8, 8], [7, 8, 8]]


def test_sgd_has_l2_and_nesterovs_momentum() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    optimizer = make_optimizer(layer, Recipe(optimizer="sgd", learning_rate=0.1, momentum=0.8, weight_decay=0.5))
    value, momentum = layer.weight.item(), 0.0
    for gradient in (1.0, -3.0, 0.5):
        layer.weight.grad = torch.tensor([[gradient]])
        optimizer.step()
        full = gradient + 0.5 * value
        momentum = 0.8 * momentum + full
        value -= 0.1 * (full + 0.8 * momentum)
        assert layer.weight.item() == pytest.approx(value, rel=1e-5)


def test_adamw_decays_weights_apart_from_the_gradient() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    optimizer = make_optimizer(layer, Recipe(optimizer="adamw", learning_rate=0.1, momentum=0.8, weight_decay=0.5))
    before = layer.weight.item()
    layer.weight.grad = torch.tensor([[3.0]])
    optimizer.step()
    assert layer.weight.item() == pytest.approx(before * (1 - 0.1 * 0.5) - 0.1, rel=1e-5)  # a first step is of size 1
    assert optimizer.param_groups[0]["betas"][0] == 0.8


def test_rmsprop_is_tensorflows() -> None:
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = TensorFlowRMSprop([weight], lr=0.1, momentum=0.9, weight_decay=0.5)
    value, square, momentum = 2.0, 1.0, 0.0
    for gradient in (1.0, -3.0, 0.5):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        full = gradient + 0.5 * value
        square = 0.9 * square + 0.1 * full**2
        momentum = 0.9 * momentum + 0.1 * full / (square + 1.0) ** 0.5
        value -= momentum
        assert weight.item() == pytest.approx(value, rel=1e-6)


def test_the_published_recipe_skips_its_first_step_and_ends_at_zero(digits: Data) -> None:
    assert preset("nasbench101").recipe == Recipe()
    assert preset("nasbench101").skeleton == NASBENCH101
    training = Training(CELL, replace(SETTING, recipe=replace(Recipe(), epochs=4)), digits, (0,), "cpu")
    steps = 4 * (1_000 // 256)
    assert training.learning_rate(0) == 0
    assert training.learning_rate(steps // 2) == pytest.approx(0.1)
    assert training.learning_rate(steps) == pytest.approx(0)


def test_the_published_recipe_trains(digits: Data) -> None:
    setting = replace(preset("nasbench101", "digits").trained_for(2), skeleton=SETTING.skeleton)
    assert np.isfinite(train(CELL, setting, digits, (0,)).metrics).all()


def test_crops_shift_and_mirror() -> None:
    image = torch.arange(9, dtype=torch.uint8).view(1, 1, 3, 3)
    drawn = torch.tensor([[1, 1, 0], [1, 1, 1], [0, 2, 0]])
    same, mirrored, shifted = cropped(image.expand(3, 1, 3, 3), drawn, 1)
    assert same.tolist() == image[0].tolist()
    assert mirrored.tolist() == image[0].flip(2).tolist()
    assert shifted.tolist() == [[[0, 0, 0], [1, 2, 0], [4, 5, 0]]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "at least 1 epoch, got 0"),
        ({"batch": 0}, "1 to 1,000 images"),
        ({"batch": 1_001}, "1 to 1,000 images"),
    ],
)
def test_impossible_recipes_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(ArchsweepError, match=message):
        replace(SETTING, recipe=replace(SETTING.recipe, **change))
