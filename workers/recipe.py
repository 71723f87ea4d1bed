"""How to train: images, skeleton, optimisation. Plain values, without torch, so that the command line starts fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt

from nas.errors import ArchsweepError
from nas.nasbench101.network import Skeleton
from workers.datasets import DataSpec

Optimizer = Literal["rmsprop", "sgd", "adamw"]
LearningRate = Annotated[float, Gt(0), Le(1e6)]
WeightDecay = Annotated[float, Ge(0), Le(1e6)]
Crop = Annotated[int, Ge(0), Le(32)]
Momentum = Annotated[float, Gt(0), Lt(1)]
"""Types with their ranges, which are checked where values come from a file."""


@dataclass(frozen=True)
class Recipe:
    """How one training goes; the defaults are NAS-Bench-101's.

    optimizer: ``rmsprop`` is TensorFlow's, with epsilon 1 inside the root; ``sgd`` has Nesterov's momentum; ``adamw``
    takes its momentum as beta1 and decays weights apart from the gradient, the others through it.
    learning_rate: multiplied by the cosine from 1 to 0 over all steps, and by ``step / warmup`` during the first
    ``warmup`` steps; the published code leaves out the first step, which is a warm-up of 1.
    weight_decay: of L2, on every trainable. normalisation_momentum: of batch normalisation's moving averages.
    crop: pixels of black padding before a random crop; flip: mirror half of the images.
    """

    epochs: int = 108
    batch: int = 256
    optimizer: Optimizer = "rmsprop"
    learning_rate: LearningRate = 0.2
    momentum: Momentum = 0.9
    weight_decay: WeightDecay = 1e-4
    warmup: Annotated[int, Ge(0)] = 1
    normalisation_momentum: Momentum = 0.997
    crop: Crop = 4
    flip: bool = True


@dataclass(frozen=True)
class Setting:
    """Everything but the cell and the seed. Raises `ArchsweepError` if a number is out of range."""

    data: DataSpec
    skeleton: Skeleton
    recipe: Recipe

    def __post_init__(self) -> None:
        if self.recipe.epochs < 1:
            raise ArchsweepError(f"a training has at least 1 epoch, got {self.recipe.epochs}")
        if not 1 <= self.recipe.batch <= self.data.train:
            raise ArchsweepError(
                f"a batch has 1 to {self.data.train:,} images, the training set; got {self.recipe.batch}"
            )

    def trained_for(self, epochs: int | None) -> Setting:
        """The same with another number of epochs; None changes nothing."""
        return self if epochs is None else replace(self, recipe=replace(self.recipe, epochs=epochs))

    def grid(self, choices: Mapping[str, Sequence[Any]]) -> tuple[Setting, ...]:
        """Every combination of these values of the recipe's fields; only itself if there are none."""
        combinations = (dict(zip(choices, values, strict=True)) for values in product(*choices.values()))
        return tuple(replace(self, recipe=replace(self.recipe, **changes)) for changes in combinations)

    def to_json(self) -> dict[str, Any]:
        """All of it as nested JSON values."""
        return asdict(self)


SHAPES = {"digits": (1, 8), "fashion-mnist": (1, 28), "cifar-10": (3, 32)}
"""Channels and side of the images of every data set."""

FULL = {
    "digits": DataSpec("digits", 1_000, 398, 399),
    "fashion-mnist": DataSpec("fashion-mnist", 50_000, 10_000, 10_000),
    "cifar-10": DataSpec("cifar-10", 40_000, 10_000, 10_000),
}
QUICK = {
    "digits": DataSpec("digits", 1_000, 398, 399),
    "fashion-mnist": DataSpec("fashion-mnist", 5_000, 5_000, 5_000, pool=2, scored=1_000),
    "cifar-10": DataSpec("cifar-10", 5_000, 5_000, 5_000, pool=2, scored=1_000),
}
QUICK_RECIPE = Recipe(
    epochs=6,
    batch=128,
    optimizer="sgd",
    learning_rate=0.2,
    weight_decay=5e-4,
    warmup=10,
    normalisation_momentum=0.9,
    crop=0,
    flip=False,
)
DIGITS_RECIPE = replace(QUICK_RECIPE, epochs=9, batch=32, learning_rate=0.1)  # so few images make few steps an epoch
QUICK_SKELETON = Skeleton(stem_channels=8, cells_per_stack=1)
"""With 4 channels the repeats of a cell differ twice as much as with 8, at most of the cost."""
DIGITS_SKELETON = replace(QUICK_SKELETON, stem_channels=4)
PRESETS = {
    "nasbench101": ("cifar-10", {name: (spec, Skeleton(), Recipe()) for name, spec in FULL.items()}),
    "cpu": (
        "digits",
        {
            "digits": (QUICK["digits"], DIGITS_SKELETON, DIGITS_RECIPE),
            "fashion-mnist": (QUICK["fashion-mnist"], QUICK_SKELETON, QUICK_RECIPE),
            "cifar-10": (QUICK["cifar-10"], QUICK_SKELETON, QUICK_RECIPE),
        },
    ),
}
"""Preset -> its data set if none is named; images, skeleton and recipe by data set."""


def preset(name: str, dataset: str | None = None) -> Setting:
    """A preset on one of the data sets. Raises `ArchsweepError` if there is none such."""
    if name not in PRESETS:
        raise ArchsweepError(f"unknown preset {name!r}; choose from {', '.join(PRESETS)}")
    usual, settings = PRESETS[name]
    dataset = usual if dataset is None else dataset
    if dataset not in settings:
        raise ArchsweepError(f"unknown data set {dataset!r}; choose from {', '.join(settings)}")
    channels, side = SHAPES[dataset]
    spec, skeleton, recipe = settings[dataset]
    return Setting(spec, replace(skeleton, image_size=side // spec.pool, image_channels=channels), recipe)
