"""Hyperband (Li et al., 2018, arXiv:1603.06560): brackets of successive halving from daring to cautious, in turn."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from numpy.random import Generator

from nas.nasbench101.space import CellSpace
from nas.trial import Proposal, Trial
from searchers.brackets import NASBENCH101_BUDGETS, Brackets, checked, hyperband_shapes


@dataclass
class Hyperband:
    """Cells of a bracket's lowest rung are drawn uniformly. Workers without work begin the next bracket."""

    space: CellSpace
    budgets: tuple[int, ...] = field(default=NASBENCH101_BUDGETS, metadata={"help": "epochs, by default the table's"})
    eta: float = field(default=3.0, metadata={"help": "one in so many cells goes up"})

    def __post_init__(self) -> None:
        checked(self.budgets, self.eta)
        self._brackets = Brackets(self.budgets, hyperband_shapes(len(self.budgets), self.eta))

    def ask(self, pending: Collection[Proposal], rng: Generator) -> Proposal:
        slot = self._brackets.next(pending)
        if slot.promoted is not None:
            return Proposal(slot.promoted, slot.epochs, slot.provenance("promotion"))
        return Proposal(self.space.sample(rng), slot.epochs, slot.provenance("random"))

    def tell(self, trial: Trial) -> None:
        self._brackets.tell(trial)
