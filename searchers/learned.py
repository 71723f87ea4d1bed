"""What searchers with a model share: the trials told, the model fitted on the first so many, mutants of the best."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nas.nasbench101.cell import Cell
from nas.nasbench101.space import CellSpace
from nas.trial import Proposal, Trial
from surrogate.base import Prediction, Predictor, normal

UNSEEN_ATTEMPTS = 100
GROWTH = 20
SPARE = 2_000
"""Cells kept of the ranked space, more than are drawn from, since some are proposed before the next model."""
NOTHING = normal(np.zeros(0), np.zeros(0))


@dataclass(frozen=True)
class Taken:
    """Catalogue numbers that are known or in flight: two sets, as joining them at every ask would cost ever more."""

    known: Container[int]
    in_flight: Container[int]

    def __contains__(self, key: object) -> bool:
        return key in self.in_flight or key in self.known


@dataclass
class Learned:
    """The unique cells told, their objectives, and a model fitted when ``initial`` are told, then at every ``every``.

    Once that is less than 1/GROWTH of them, it is fitted when they have grown by that share, so that fitting costs
    O(n log n) in all. A model is a function of the cells told when it was due, and seeded by their number.

    lag: a model is used from so many cells after it was due. Meanwhile a thread fits it and the one before is used; who
    asks waits only if it is not ready by then. Because both moments are counts of cells, how long a fit takes changes
    no proposal. fitted: how many cells the model in use is a function of; 0 as long as there is none.
    """

    make: Callable[[], Predictor]
    initial: int
    every: int
    lag: int = 0
    cells: list[Cell] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    known: set[int] = field(default_factory=set)
    fitted: int = 0
    _due: int = 0
    _waiting: list[int] = field(default_factory=list)
    _models: dict[int, Future[Predictor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.initial < 2 or self.every < 1:
            raise ValueError(f"initial must be at least 2 and batch at least 1, got {self.initial} and {self.every}")
        if self.lag < 0:
            raise ValueError(f"lag must not be negative, got {self.lag}")
        self._due = self.initial

    def tell(self, trial: Trial) -> None:
        """The first result of every cell counts; failed cells are only known."""
        key = trial.proposal.cell.key
        if trial.result is not None and key not in self.known:
            self.cells.append(trial.proposal.cell)
            self.values.append(trial.result.objective)
            if len(self.cells) == self._due:
                self._waiting.append(self._due)
                self._due += max(self.every, self._due // GROWTH)
            while self._waiting and self._waiting[0] + self.lag <= len(self.cells):
                self.fitted = self._waiting.pop(0)
        self.known.add(key)

    def model(self) -> Predictor | None:
        """The model in use, fitted now if need be; None as long as too little was told."""
        for count in (self.fitted, *self._waiting[-1:]):  # what is in use, and the latest that will be
            if count and count not in self._models:
                self._models = {older: model for older, model in self._models.items() if older >= self.fitted}
                self._models[count] = self._fit(count)
        return self._models[self.fitted].result() if self.fitted else None

    def _fit(self, count: int) -> Future[Predictor]:
        """The model of the first ``count`` cells, in the making if there is a lag."""
        keys, values = keys_of(self.cells[:count]), np.array(self.values[:count])

        def fitted() -> Predictor:
            model = self.make()
            model.fit(keys, values, count)
            return model

        if self.lag:
            return self._thread.submit(fitted)
        future: Future[Predictor] = Future()
        future.set_result(fitted())
        return future

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, "fit")

    def taken(self, pending: Collection[Proposal]) -> Taken:
        """What is not to be proposed again."""
        return Taken(self.known, {proposal.cell.key for proposal in pending})

    def best(self, count: int) -> list[Cell]:
        """The best cells of those that the model was fitted on, best first."""
        order = np.argsort(-np.array(self.values[: self.fitted]), kind="stable")[:count]
        return [self.cells[i] for i in order]


@dataclass
class Candidates:
    """Mutants of the best cells, drawn anew with every model, and what it predicts of them.

    parents mutants are drawn of in turn, ``count`` in all.
    """

    space: CellSpace
    learned: Learned
    count: int
    parents: int
    _fitted: int = 0
    _cells: list[Cell] = field(default_factory=list)
    _predicted: Prediction = NOTHING

    def __post_init__(self) -> None:
        if self.count < 1 or self.parents < 1:
            raise ValueError(f"candidates and parents must be at least 1, got {self.count} and {self.parents}")

    def propose(
        self, pending: Collection[Proposal], rng: Generator, drawn: Callable[[Prediction], NDArray[np.float64]]
    ) -> Proposal:
        """The candidate for which ``drawn`` of what is predicted is highest; without any, a random cell."""
        cells, predicted = self._unseen(pending, rng)
        if not cells:
            cell = unseen_sample(self.space, self.learned.taken(pending), rng)
            return Proposal(cell, provenance={"by": "random"})
        chosen = int(np.argmax(drawn(predicted)))
        return Proposal(cells[chosen], provenance={"by": "model", "predicted": round(float(predicted.mean[chosen]), 6)})

    def _unseen(self, pending: Collection[Proposal], rng: Generator) -> tuple[list[Cell], Prediction]:
        """Candidates neither told nor pending, and what is predicted of them; none before there is a model."""
        model = self.learned.model()
        if model is None:
            return [], NOTHING
        if self._fitted != self.learned.fitted:
            self._fitted = self.learned.fitted
            self._cells = self._mutants(np.random.default_rng(self._fitted))
            self._predicted = model.predict(keys_of(self._cells))
        taken = self.learned.taken(pending)
        chosen = [i for i, cell in enumerate(self._cells) if cell.key not in taken]
        if chosen:
            return [self._cells[i] for i in chosen], self._predicted[chosen]
        # More was asked with this model than it had candidates: these are for this ask only.
        fresh = [cell for cell in self._mutants(rng) if cell.key not in taken]
        return (fresh, model.predict(keys_of(fresh))) if fresh else ([], NOTHING)

    def _mutants(self, rng: Generator) -> list[Cell]:
        parents = self.learned.best(self.parents)
        mutants = (self.space.mutate(parents[i % len(parents)], rng) for i in range(self.count))
        return list({cell.key: cell for cell in mutants}.values())


def unseen_sample(space: CellSpace, taken: Container[int], rng: Generator) -> Cell:
    """A cell drawn uniformly, one that is not taken unless such cells are hard to find."""
    for _ in range(UNSEEN_ATTEMPTS):
        cell = space.sample(rng)
        if cell.key not in taken:
            break
    return cell


def keys_of(cells: Sequence[Cell]) -> NDArray[np.int64]:
    """Their catalogue numbers."""
    return np.array([cell.key for cell in cells], np.int64)
