"""What a search has to know of live training. Without torch, which only what trains needs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from nas.nasbench101.catalogue import cells_up_to
from nas.nasbench101.graph import MAX_VERTICES
from nas.trial import Proposal
from workers.base import Evaluator
from workers.datasets import load
from workers.live import LiveTraining
from workers.recipe import Setting
from workers.source import Seconds, Source

ETA = 3
"""Budgets of multi-fidelity searchers shrink by this factor, as NAS-Bench-101's do."""


@dataclass(frozen=True)
class TrainSpec:
    """What a live evaluator does, in values that travel to other processes; `TrainEvaluator` makes it of this.

    settings: what is tried for every cell, on the same images; the best one counts. column: the accuracy that is the
    objective. folder: of the images, None to look in the usual places. live: the folder of trainings under way (see
    `workers.live`), so that another evaluator goes on with one whose process died. device: as torch names it, e.g.
    ``cpu`` or ``cuda``. seed: of the trainings that rungs are parts of.
    """

    settings: tuple[Setting, ...]
    column: Literal["validation", "test"] = "validation"
    folder: Path | None = None
    live: Path | None = None
    device: str = "cpu"
    seed: int = 0

    def training(self, proposal: Proposal, seed: int) -> tuple[int, list[LiveTraining]]:
        """The seed that a proposal is trained with, and the files of its trainings, one a setting; none without `live`.

        Proposals of the same cell that name their epochs are rungs of one training: its seed is the cell's own.
        """
        if proposal.epochs is not None:
            seed = int(np.random.SeedSequence((self.seed, proposal.cell.key)).generate_state(1)[0])
        if self.live is None:
            return seed, []
        numbers = range(len(self.settings))
        return seed, [LiveTraining.of(self.live, proposal.cell, seed, number, proposal.epochs) for number in numbers]


def make_trainer(spec: TrainSpec) -> Evaluator:
    """The evaluator of a spec, in the process that trains. Raises `DataError` if the images are missing."""
    from workers.train_evaluator import TrainEvaluator  # torch takes seconds to import

    return TrainEvaluator(spec)


def check(spec: TrainSpec) -> None:
    """Raises `ArchsweepError` if this machine lacks the images or the device."""
    load(spec.settings[0].data, spec.folder)
    if spec.device != "cpu":
        from workers.trainer import check_device  # torch takes seconds to import

        check_device(spec.device)


def train_source(spec: TrainSpec, max_vertices: int = MAX_VERTICES) -> Source:
    """What a search on the cells of so many vertices has to know."""
    make, first = partial(make_trainer, spec), spec.settings[0]
    return Source(
        here=make,
        elsewhere=make,
        identity={
            "evaluator": {
                "kind": "train",
                "device": spec.device,
                "max_vertices": max_vertices,
                "rungs": "continue",
                **first.to_json(),
                **({"grid": [asdict(setting.recipe) for setting in spec.settings]} if len(spec.settings) > 1 else {}),
            }
        },
        tags={"archsweep.dataset": first.data.dataset},
        budgets=budgets_up_to(first.recipe.epochs),
        cells=None if max_vertices == MAX_VERTICES else cells_up_to(max_vertices),
        seconds=Seconds.MEASURED,
        alone=True,
        trainings=None if spec.live is None else partial(trainings, spec),
        check=partial(check, spec),
    )


def trainings(spec: TrainSpec, proposal: Proposal, seed: int) -> list[LiveTraining]:
    """The files of a proposal's trainings, one a setting."""
    return spec.training(proposal, seed)[1]


def budgets_up_to(epochs: int) -> tuple[int, ...]:
    """These epochs, a third of them, a ninth, as long as those are whole; ascending."""
    budgets = [epochs]
    while budgets[0] % ETA == 0:
        budgets.insert(0, budgets[0] // ETA)
    return tuple(budgets)
