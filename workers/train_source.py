"""What a search has to know of live training. Without torch, which only what trains needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from nas.catalogue import cells_up_to
from nas.graph import MAX_VERTICES
from workers.base import Evaluator
from workers.recipe import Setting
from workers.source import Seconds, Source

ETA = 3
"""Budgets of multi-fidelity searchers shrink by this factor, as NAS-Bench-101's do."""


@dataclass(frozen=True)
class TrainSpec:
    """What a live evaluator does, in values that travel to other processes; `TrainEvaluator` makes it of this.

    column: the accuracy that is the objective. folder: of the images, None to look in the usual places. checkpoints: a
    folder where unfinished trainings are kept, so that another evaluator goes on with one whose process died.
    device: as torch names it, e.g. ``cpu`` or ``cuda``.
    """

    setting: Setting
    column: Literal["validation", "test"] = "validation"
    folder: Path | None = None
    checkpoints: Path | None = None
    device: str = "cpu"


def make_trainer(spec: TrainSpec) -> Evaluator:
    """The evaluator of a spec, in the process that trains. Raises `DataError` if the images are missing."""
    from workers.train_evaluator import TrainEvaluator  # torch takes seconds to import

    return TrainEvaluator(spec)


def train_source(spec: TrainSpec, max_vertices: int = MAX_VERTICES) -> Source:
    """What a search on the cells of so many vertices has to know."""
    make = partial(make_trainer, spec)
    return Source(
        here=make,
        elsewhere=make,
        identity={
            "evaluator": {
                "kind": "train",
                "device": spec.device,
                "max_vertices": max_vertices,
                **spec.setting.to_json(),
            }
        },
        tags={"archsweep.dataset": spec.setting.data.dataset},
        budgets=budgets_up_to(spec.setting.recipe.epochs),
        cells=None if max_vertices == MAX_VERTICES else cells_up_to(max_vertices),
        seconds=Seconds.MEASURED,
    )


def budgets_up_to(epochs: int) -> tuple[int, ...]:
    """These epochs, a third of them, a ninth, as long as those are whole; ascending."""
    budgets = [epochs]
    while budgets[0] % ETA == 0:
        budgets.insert(0, budgets[0] // ETA)
    return tuple(budgets)
