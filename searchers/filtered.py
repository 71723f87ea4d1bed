"""A filter in front of any searcher: a surrogate decides which of its proposals are worth an evaluation.

The searcher is asked several times, with its state untouched, one stretch of the random stream after the other; what is
isomorphic, told or pending is dropped; a policy chooses among the rest by what the surrogate predicts. A share passes
unseen: the first candidate, whatever is predicted of it. On that share the filter measures how well its surrogate ranks
what this searcher proposes (Kendall's tau), and while that is poor, or too little is known, everything passes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.random import Generator

from nas.nasbench101.cell import Cell
from nas.nasbench101.space import CellSpace
from nas.trial import Proposal, Trial
from searchers import policies
from searchers.base import Rejectable, Searcher
from searchers.evidence import Evidence, Ranked, hopeful
from searchers.learned import Learned, keys_of
from searchers.policies import Choice
from surrogate.base import Prediction, Predictor
from surrogate.named import DEFAULT_SURROGATE, make_surrogate

ORIGIN = ("vector", "parent", "predicted")
"""What a searcher notes on how it made a cell, which is wrong of a cell that takes its place."""


class Policy(StrEnum):
    """Which candidates pass.

    top: one of the k predicted best. quantile: the first that is predicted above a quantile of recent ones. ei: highest
    expected improvement. thompson: highest draw from what is thought possible. space: one of the k predicted best of
    the whole space, in place of what the searcher proposed.
    """

    TOP = "top"
    QUANTILE = "quantile"
    EI = "ei"
    THOMPSON = "thompson"
    SPACE = "space"


@dataclass
class Filtered:
    """A searcher around another.

    Until the filter opens, the search is the unfiltered one. In a search of several budgets each has evidence of its
    own, candidates keep the epochs that the searcher asked for, and a cell that was told at other epochs passes: that
    it is trained on is the searcher's verdict.
    """

    space: CellSpace
    inner: Searcher
    policy: Policy = field(default=Policy.TOP, metadata={"help": "top, quantile, ei, thompson or space, see above"})
    surrogate: str | Callable[[], Predictor] = field(
        default=DEFAULT_SURROGATE, metadata={"help": "name of a model, or what makes one in Python"}
    )
    candidates: int = field(default=20, metadata={"help": "proposals asked of the searcher for one that passes"})
    top: int = field(default=1, metadata={"help": "k of top, ei and space: one of so many best passes"})
    quantile: float = field(default=0.8, metadata={"help": "share of candidates that the quantile policy stops"})
    optimism: float = field(
        default=0.0, metadata={"help": "standard deviations added to what top, quantile and space rank by"}
    )
    unseen: float = field(default=0.1, metadata={"help": "share that passes whatever is predicted of it"})
    labels: int = field(default=30, metadata={"help": "cells told before it opens; the first model has half of them"})
    batch: int = field(default=10, metadata={"help": "cells told between two fits of the model"})
    tau: float = field(
        default=0.1, metadata={"help": "Kendall's tau on what passed unseen, below which it closes; -1: never"}
    )
    lag: int = field(
        default=0, metadata={"help": "cells told while the next model is fitted beside the search; 0: it waits"}
    )

    def __post_init__(self) -> None:
        if self.candidates < 1 or self.top < 1:
            raise ValueError(f"candidates and top must be at least 1, got {self.candidates} and {self.top}")
        if not 0 <= self.quantile < 1 or not 0 <= self.unseen <= 1:
            raise ValueError(f"quantile must be in [0, 1) and unseen in [0, 1], got {self.quantile} and {self.unseen}")
        if self.labels < 4:
            raise ValueError(f"labels must be at least 4, got {self.labels}")
        self._evidence: dict[int | None, Evidence] = {}
        self._evidence_at(None).learned.make()  # refuses what the schedule and the surrogates refuse

    def ask(self, pending: Collection[Proposal], rng: Generator) -> Proposal:
        first = self.inner.ask(pending, rng)
        evidence = self._evidence.get(first.epochs)
        model = evidence.learned.model() if evidence else None
        if evidence is None or model is None or self._goes_on(first):
            return first
        if not evidence.suffices(self.labels, self.tau):
            return _noted(first, {"by": "closed", **_outlook(model.predict(keys_of([first.cell])), evidence)})
        taken = evidence.learned.taken([proposal for proposal in pending if proposal.epochs == first.epochs])
        candidates = self._drawn(first, taken, pending, rng)
        if not candidates:
            return _noted(first, {"by": "nothing new", "looked": self.candidates})
        if isinstance(model, Ranked):
            candidates += [_in_place_of(candidates[0], key) for key in model.best(self.top, taken)]
        return self._decided(candidates, model, evidence, rng)

    def tell(self, trial: Trial) -> None:
        rejected = trial.proposal.provenance.get("filter", {}).get("rejected", [])
        if isinstance(self.inner, Rejectable):
            self.inner.reject([Cell.numbered(key) for key in rejected])
        self.inner.tell(trial)
        self._evidence_at(trial.proposal.epochs).tell(trial, rejected)

    def _drawn(
        self, first: Proposal, taken: Container[int], pending: Collection[Proposal], rng: Generator
    ) -> list[Proposal]:
        """What the searcher proposes for the epochs of its first proposal, one of each cell that is not taken."""
        fresh: dict[int, Proposal] = {}
        for number in range(self.candidates):
            proposal = self.inner.ask(pending, rng) if number else first
            if proposal.epochs == first.epochs and proposal.cell.key not in taken:
                fresh.setdefault(proposal.cell.key, proposal)
        return list(fresh.values())

    def _goes_on(self, proposal: Proposal) -> bool:
        """Whether it trains a cell on that was told at other epochs: a verdict of the searcher's, on evidence."""
        others = (evidence for epochs, evidence in self._evidence.items() if epochs != proposal.epochs)
        return any(proposal.cell.key in evidence.learned.known for evidence in others)

    def _decided(
        self, candidates: Sequence[Proposal], model: Predictor, evidence: Evidence, rng: Generator
    ) -> Proposal:
        """The candidate that passes, with the decision in its provenance."""
        predicted = hopeful(model.predict(keys_of([proposal.cell for proposal in candidates])), self.optimism)
        choice = self._choice(predicted, model, evidence, rng)
        unseen = rng.random() < self.unseen
        chosen = 0 if unseen else choice.chosen
        key = candidates[chosen].cell.key
        looked = 1 if isinstance(model, Ranked) else choice.looked
        rejected = [] if unseen else [i for i in range(looked) if candidates[i].cell.key != key]
        decision = {
            "by": "unseen" if unseen else self.policy.value,
            **_outlook(predicted[[chosen]], evidence),
            "score": _rounded(choice.scores[chosen]),
            "threshold": _rounded(choice.threshold),
            "probability": _rounded((1 - self.unseen) * choice.probabilities[chosen] + self.unseen * (chosen == 0)),
            "looked": len(self.space) if isinstance(model, Ranked) else looked,
            "rejected": [candidates[i].cell.key for i in rejected],
            "means": [_rounded(predicted.mean[i]) for i in rejected],
        }
        return _noted(candidates[chosen], decision)

    def _choice(self, predicted: Prediction, model: Predictor, evidence: Evidence, rng: Generator) -> Choice:
        match self.policy:
            case Policy.TOP | Policy.SPACE:
                return policies.top(predicted, self.top, rng)
            case Policy.EI:
                return policies.expected_improvement(predicted, max(evidence.learned.values), self.top, rng)
            case Policy.THOMPSON:
                return policies.thompson(predicted, rng)
            case Policy.QUANTILE:
                recent = hopeful(model.predict(np.array(evidence.recent)), self.optimism).score
                return policies.quantile(predicted, float(np.quantile(recent, self.quantile)))

    def _evidence_at(self, epochs: int | None) -> Evidence:
        if epochs not in self._evidence:
            self._evidence[epochs] = Evidence(Learned(self._model, self.labels // 2, self.batch, self.lag))
        return self._evidence[epochs]

    def _model(self) -> Predictor:
        model = make_surrogate(self.surrogate) if isinstance(self.surrogate, str) else self.surrogate()
        return Ranked(model, self.space, self.optimism) if self.policy is Policy.SPACE else model


def _in_place_of(proposal: Proposal, key: int) -> Proposal:
    """Another cell in the searcher's place for this one: its epochs, its bracket and rung."""
    kept = {name: value for name, value in proposal.provenance.items() if name not in ORIGIN}
    return Proposal(Cell.numbered(key), proposal.epochs, kept)


def _noted(proposal: Proposal, decision: Mapping[str, Any]) -> Proposal:
    return replace(proposal, provenance={**proposal.provenance, "filter": decision})


def _outlook(predicted: Prediction, evidence: Evidence) -> dict[str, Any]:
    """Which model (it is named by the number of cells that it was fitted on), and what it predicts of one cell."""
    return {"model": evidence.learned.fitted, "mean": _rounded(predicted.mean[0])}


def _rounded(value: float) -> float:
    return round(float(value), 5)
