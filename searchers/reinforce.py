"""REINFORCE with independent logits (Ying et al., 2019, arXiv:1902.09635, after Williams, 1992).

One categorical distribution for each of 21 edges and five operations, logits zero at first. After a trial with
objective r and choices a: logits += rate * (r - baseline) * (onehot(a) - softmax(logits)), and the baseline is an
exponential moving average of r. Settings: ``run_reinforce.py`` of automl/nas_benchmarks.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nas.nasbench101.catalogue import LABELS
from nas.nasbench101.graph import EDGE_SPOTS, INTERIOR
from nas.nasbench101.space import ATTEMPTS, CellSpace, Encoding
from nas.trial import Proposal, Trial


@dataclass
class Reinforce:
    """Asynchronous: a trial's gradient is taken at the logits of the moment when it is told.

    Draws outside the space cost nothing, earn nothing, and are repeated. Failed trials teach nothing.
    """

    space: CellSpace
    learning_rate: float = field(default=0.1, metadata={"help": "step along the gradient"})
    momentum: float = field(default=0.9, metadata={"help": "weight of the past in the baseline"})

    def __post_init__(self) -> None:
        if self.learning_rate <= 0 or not 0 <= self.momentum < 1:
            raise ValueError(f"learning_rate must be positive and momentum in [0, 1), got {self}")
        self._edges = np.zeros((EDGE_SPOTS, 2))
        self._operations = np.zeros((INTERIOR, LABELS))
        self._baseline: float | None = None

    def ask(self, pending: Collection[Proposal], rng: Generator) -> Proposal:
        present, chosen = _softmax(self._edges)[:, 1], np.cumsum(_softmax(self._operations), 1)[:, :-1]
        for _ in range(ATTEMPTS):
            draws = rng.random(EDGE_SPOTS + INTERIOR)
            labels = (draws[EDGE_SPOTS:, None] > chosen).sum(1).tolist()
            frame = sum(1 << int(bit) for bit in np.flatnonzero(draws[:EDGE_SPOTS] < present))
            cell = self.space.find(frame, labels)
            if cell is not None:
                return Proposal(cell)
        return Proposal(self.space.sample(rng), provenance={"by": "random"})

    def tell(self, trial: Trial) -> None:
        if trial.result is None:
            return
        reward = trial.result.objective
        if self._baseline is None:
            self._baseline = reward
        advantage = reward - self._baseline
        actions = self.space.encode(trial.proposal.cell, Encoding.A).astype(int)
        for logits, taken in ((self._edges, actions[:EDGE_SPOTS]), (self._operations, actions[EDGE_SPOTS:])):
            onehot = np.eye(logits.shape[1])[taken]
            logits += self.learning_rate * advantage * (onehot - _softmax(logits))
        self._baseline = self.momentum * self._baseline + (1 - self.momentum) * reward


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    softmax: NDArray[np.float64] = powers / powers.sum(1, keepdims=True)
    return softmax
