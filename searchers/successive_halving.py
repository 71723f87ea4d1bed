"""Successive halving: many cells trained briefly, the best 1/eta of them longer.

``asynchronous`` (ASHA; Li et al., 2020, arXiv:1810.05934): a cell goes up as soon as it is among the best 1/eta of its
rung. ``synchronous`` (Jamieson and Talwalkar, 2016, arXiv:1502.07943): a rung is complete before its best go up.

On NAS-Bench-101 accuracy after 4 epochs says next to nothing about the best tenth of the cells after 108 (Spearman
0.10), so do not expect much of rungs that start there; ``budgets`` can leave them out.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

from numpy.random import Generator

from nas.nasbench101.cell import Cell
from nas.nasbench101.space import CellSpace
from nas.trial import Proposal, Trial
from searchers.brackets import NASBENCH101_BUDGETS, Brackets, checked, halving_shape


class Promotion(StrEnum):
    """When cells go up."""

    ASYNCHRONOUS = "asynchronous"
    SYNCHRONOUS = "synchronous"


@dataclass
class SuccessiveHalving:
    """Proposes (cell, epochs) with epochs one of the budgets."""

    space: CellSpace
    budgets: tuple[int, ...] = field(default=NASBENCH101_BUDGETS, metadata={"help": "epochs, by default the table's"})
    eta: float = field(default=3.0, metadata={"help": "one in so many cells goes up"})
    promotion: Promotion = field(default=Promotion.ASYNCHRONOUS, metadata={"help": "asynchronous or synchronous"})

    def __post_init__(self) -> None:
        checked(self.budgets, self.eta)
        self._brackets = Brackets(self.budgets, [halving_shape(len(self.budgets), self.eta)])
        self._rungs = [Rung() for _ in self.budgets]

    def ask(self, pending: Collection[Proposal], rng: Generator) -> Proposal:
        if self.promotion is Promotion.SYNCHRONOUS:
            slot = self._brackets.next(pending)
            cell = slot.promoted or self.space.sample(rng)
            return Proposal(cell, slot.epochs, slot.provenance("promotion" if slot.promoted else "random"))
        flying = {(proposal.epochs, proposal.cell.key) for proposal in pending}
        for level in reversed(range(len(self.budgets) - 1)):
            up = self.budgets[level + 1]
            promoted = self._rungs[level].promotable(self.eta, {key for epochs, key in flying if epochs == up})
            if promoted is not None:
                return Proposal(promoted, up, {"by": "promotion"})
        return Proposal(self.space.sample(rng), self.budgets[0], {"by": "random"})

    def tell(self, trial: Trial) -> None:
        if self.promotion is Promotion.SYNCHRONOUS:
            self._brackets.tell(trial)
            return
        if trial.proposal.epochs not in self.budgets:
            return
        level = self.budgets.index(trial.proposal.epochs)
        if level:
            self._rungs[level - 1].leave(trial.proposal.cell)
        if trial.result is not None:
            self._rungs[level].enter(trial.proposal.cell, trial.result.objective)


@dataclass
class Rung:
    """The cells told at one budget, once each: all of them, and those that have not gone up, best first."""

    _all: list[tuple[float, int]] = field(default_factory=list)
    _waiting: list[tuple[float, int]] = field(default_factory=list)
    _loss: dict[int, float] = field(default_factory=dict)
    _cells: dict[int, Cell] = field(default_factory=dict)

    def enter(self, cell: Cell, objective: float) -> None:
        if cell.key not in self._loss:
            self._loss[cell.key], self._cells[cell.key] = -objective, cell
            for ordered in (self._all, self._waiting):
                insort(ordered, (-objective, cell.key))

    def leave(self, cell: Cell) -> None:
        """The cell has been trained on the next rung, with whatever success."""
        if cell.key in self._cells:
            del self._waiting[bisect_left(self._waiting, (self._loss[cell.key], cell.key))]
            del self._cells[cell.key]

    def promotable(self, eta: float, leaving: set[int]) -> Cell | None:
        """The best cell among the best 1/eta that is not up there, nor on its way."""
        places = int(len(self._all) / eta)
        for entry in self._waiting:
            if bisect_left(self._all, entry) >= places:
                return None
            if entry[1] not in leaving:
                return self._cells[entry[1]]
        return None
