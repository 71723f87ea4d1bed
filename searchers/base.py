"""What a searcher owes the loop."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol, runtime_checkable

from numpy.random import Generator

from nas.nasbench101.cell import Cell
from nas.trial import Proposal, Trial


class Searcher(Protocol):
    """Proposes cells and learns from what became of them.

    Its first constructor argument is the `CellSpace`; its parameters follow, each with a default, as dataclass fields.
    """

    def ask(self, pending: Collection[Proposal], rng: Generator) -> Proposal:
        """The next proposal: a cell of the space.

        A pure function of the tells so far, in their order, of ``pending`` (asked but not told, in the order asked) and
        of ``rng``. Asking twice with the same three gives the same proposal and changes nothing.
        """
        ...

    def tell(self, trial: Trial) -> None:
        """Takes in a finished trial, exactly once; a failed one has ``result`` None.

        State is a fold of the tells: the same tells in the same order lead to the same searcher in any process.
        """
        ...


@runtime_checkable
class Rejectable(Protocol):
    """A searcher that wants to know which of its proposals a filter did not let through."""

    def reject(self, cells: Collection[Cell]) -> None:
        """Takes in cells that will never be evaluated, before the trial that was preferred to them is told."""
        ...
