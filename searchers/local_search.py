"""Local search (White, Nolen and Savani, 2021, arXiv:2005.02960): walk to better neighbours, restart at a minimum.

Two published variants. ``first`` (naszilla's ``query_until_lower``): go to the first neighbour that is better.
``best``: evaluate every neighbour, then go to the best one. Neighbours differ in one edge or one operation.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

from numpy.random import Generator

from nas.nasbench101.cell import Cell
from nas.nasbench101.space import CellSpace
from nas.trial import Proposal, Trial


class Step(StrEnum):
    """Which better neighbour is walked to."""

    FIRST = "first"
    BEST = "best"


@dataclass
class LocalSearch:
    """Asynchronous: free workers evaluate neighbours in random order, none twice.

    Once all neighbours are in flight, further workers draw the starts of the next walk. A failed neighbour is a
    bad one.
    """

    space: CellSpace
    starts: int = field(default=10, metadata={"help": "random cells, from the best of which a walk starts"})
    step: Step = field(default=Step.FIRST, metadata={"help": "first or best: which better neighbour to walk to"})

    def __post_init__(self) -> None:
        if self.starts < 1:
            raise ValueError(f"starts must be at least 1, got {self.starts}")
        self._known: dict[int, float] = {}
        self._started: list[Cell] = []
        self._here: Cell | None = None
        self._neighbours: dict[int, Cell] = {}
        self._open: dict[int, Cell] = {}

    def ask(self, pending: Collection[Proposal], rng: Generator) -> Proposal:
        in_flight = {proposal.cell.key for proposal in pending}
        unseen = [cell for key, cell in self._open.items() if key not in in_flight]
        if self._here is None or not unseen:
            return Proposal(self.space.sample(rng), provenance={"by": "start"})
        return Proposal(unseen[int(rng.random() * len(unseen))], provenance={"by": "neighbour"})

    def tell(self, trial: Trial) -> None:
        cell, result = trial.proposal.cell, trial.result
        # The first result of a cell is the one that counts: walking on a second, luckier one would never end.
        self._known.setdefault(cell.key, float("-inf") if result is None else result.objective)
        self._open.pop(cell.key, None)
        if result is not None and trial.proposal.provenance.get("by") == "start":
            self._started.append(cell)
        if self._here is None and len(self._started) >= self.starts:
            self._go(max(self._started, key=lambda start: self._known[start.key]))
            self._started = []
        while self._here is not None and (moved := self._move()):
            self._go(moved)

    def _move(self) -> Cell | None:
        """The neighbour to walk to; at a minimum, ends the walk."""
        assert self._here is not None
        value = self._known[self._here.key]
        seen = [cell for key, cell in self._neighbours.items() if key not in self._open]
        best = max(seen, key=lambda cell: self._known[cell.key], default=None)
        if best is not None and self._known[best.key] > value and (self.step is Step.FIRST or not self._open):
            return best
        if not self._open:
            self._here, self._neighbours = None, {}
        return None

    def _go(self, cell: Cell) -> None:
        self._here = cell
        self._neighbours = {neighbour.key: neighbour for neighbour in self.space.neighbours(cell)}
        self._open = {key: cell for key, cell in self._neighbours.items() if key not in self._known}
