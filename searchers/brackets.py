"""Brackets of successive halving, shared by the searchers that stop bad cells early.

A bracket evaluates many cells at a small budget, the best 1/eta of them at the next, and so on (Jamieson and Talwalkar,
2016, arXiv:1502.07943). Hyperband (Li et al., 2018, arXiv:1603.06560) runs brackets in turn that begin with ever fewer
cells at ever larger budgets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil

from nas.nasbench101.cell import Cell
from nas.trial import Proposal, Trial

NASBENCH101_BUDGETS = (4, 12, 36, 108)


@dataclass(frozen=True)
class Slot:
    """A place in a bracket for the next trial. promoted: the cell to train longer; None on the lowest rung."""

    bracket: int
    rung: int
    epochs: int
    place: int
    promoted: Cell | None

    def provenance(self, by: str) -> dict[str, int | str]:
        return {"by": by, "bracket": self.bracket, "rung": self.rung, "place": self.place}


@dataclass
class _Bracket:
    """Told cells of each rung with their objectives, minus infinity for a failure."""

    told: list[list[tuple[float, Cell]]]


@dataclass
class Brackets:
    """Which place is to be filled next: a fold of the tells, asked with what is pending.

    A rung opens when the one below is complete. A worker that finds no open place begins the next bracket, so that none
    waits for stragglers. shapes: of the brackets that run in turn, the first budget's index and the size of each rung.
    """

    budgets: tuple[int, ...]
    shapes: list[tuple[int, list[int]]]
    _open: dict[int, _Bracket] = field(default_factory=dict)
    _begun: int = 0

    def next(self, pending: Collection[Proposal]) -> Slot:
        """The first free place of the oldest bracket that has one."""
        flying = Counter((p.provenance["bracket"], p.provenance["rung"]) for p in pending if "bracket" in p.provenance)
        begun = max([self._begun, *(bracket + 1 for bracket, _ in flying)])
        for bracket in [*self._open, *range(self._begun, begun)]:
            slot = self._slot(bracket, flying, pending)
            if slot is not None:
                return slot
        first, _ = self.shapes[begun % len(self.shapes)]
        return Slot(begun, 0, self.budgets[first], 0, None)

    def _slot(self, number: int, flying: Counter[tuple[int, int]], pending: Collection[Proposal]) -> Slot | None:
        first, sizes = self.shapes[number % len(self.shapes)]
        told = self._open[number].told if number in self._open else [[] for _ in sizes]
        for rung, (size, done) in enumerate(zip(sizes, told, strict=True)):
            if len(done) == size:
                continue
            place = len(done) + flying[number, rung]
            if place >= size:
                return None
            promoted = self._promoted(number, rung, told, pending) if rung else None
            return Slot(number, rung, self.budgets[first + rung], place, promoted)
        return None

    def _promoted(
        self, number: int, rung: int, told: list[list[tuple[float, Cell]]], pending: Collection[Proposal]
    ) -> Cell:
        """The best cell of the rung below that is not on this one yet."""
        here = Counter(cell.key for _, cell in told[rung])
        here.update(
            p.cell.key for p in pending if p.provenance.get("bracket") == number and p.provenance.get("rung") == rung
        )
        for _, cell in sorted(told[rung - 1], key=lambda pair: -pair[0]):
            if not here[cell.key]:
                return cell
            here[cell.key] -= 1  # a rung may hold a cell twice
        raise AssertionError("a rung is never larger than the one below")

    def tell(self, trial: Trial) -> None:
        """Fills the place that the trial's provenance names."""
        noted = trial.proposal.provenance
        if "bracket" not in noted:
            return
        number = noted["bracket"]
        _, sizes = self.shapes[number % len(self.shapes)]
        while self._begun <= number:
            _, fresh = self.shapes[self._begun % len(self.shapes)]
            self._open[self._begun] = _Bracket([[] for _ in fresh])
            self._begun += 1
        objective = float("-inf") if trial.result is None else trial.result.objective
        told = self._open[number].told
        told[noted["rung"]].append((objective, trial.proposal.cell))
        if len(told[-1]) == sizes[-1]:
            del self._open[number]


def checked(budgets: tuple[int, ...], eta: float) -> None:
    """Raises ValueError unless budgets ascend and eta is above 1."""
    if not budgets or any(low >= high for low, high in pairwise(budgets)) or budgets[0] < 1:
        raise ValueError(f"budgets must be positive and ascend, got {budgets}")
    if eta <= 1:
        raise ValueError(f"eta must be above 1, got {eta}")


def halving_shape(levels: int, eta: float) -> tuple[int, list[int]]:
    """One cell at the largest of so many budgets, eta times as many at each smaller one."""
    return 0, [max(1, round(eta ** (levels - 1 - rung))) for rung in range(levels)]


def hyperband_shapes(levels: int, eta: float) -> list[tuple[int, list[int]]]:
    """Algorithm 1 of Hyperband: bracket s begins with ceil(levels / (s + 1) * eta**s) cells and has s + 1 rungs."""
    shapes = []
    for s in reversed(range(levels)):
        cells = ceil(levels / (s + 1) * eta**s)
        shapes.append((levels - 1 - s, [max(1, int(cells / eta**rung)) for rung in range(s + 1)]))
    return shapes
