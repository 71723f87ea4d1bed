"""A Gaussian process on how signals flow through a cell, with a length for every feature.

The kernel is Matern-1/2 on standardised features. Lengths and noise are the most probable ones, the logarithm of a
length being normal around that of all, or around what is known of it: with few labels features stay alike, with more
the useless ones fade.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from nas.nasbench101.features import Cells
from surrogate.ranker import Doubles, standardised

LENGTH, NOISE = 100.0, 0.005
"""Where the search for the best begins; the noise's variance is relative to the kernel's."""
FREEDOM = 0.5
"""Standard deviation of the logarithm of a feature's length."""
STEPS, RATE, MOST_CHOSEN = 30, 0.1, 1_000
"""Lengths are chosen by so many steps of Adam on at most so many labels."""
JITTER = 1e-10
LEAST = 1e-6
"""Of the kernel's variance, what is left of it wherever one asks: below, rounding decides."""
AT_ONCE = 512
"""Cells that are scored at a time, so that their kernel stays in a core's cache."""
Kernel = Callable[[Tensor, Tensor], Tensor]
"""(some, features), (others, features) -> (some, others)"""


def matern12(some: Tensor, others: Tensor) -> Tensor:
    """Matern-1/2."""
    return torch.exp(-_distances(some, others))


def matern52(some: Tensor, others: Tensor) -> Tensor:
    """Matern-5/2, which says more of cells that are far from all known ones."""
    apart = math.sqrt(5) * _distances(some, others)
    return (1 + apart + torch.square(apart) / 3) * torch.exp(-apart)


def _distances(some: Tensor, others: Tensor) -> Tensor:
    squares = torch.square(some).sum(1)[:, None] + torch.square(others).sum(1) - 2 * some @ others.T
    return torch.sqrt(squares.clamp(min=0) + JITTER)


@dataclass
class Process:
    """A `Ranker`. inverse: of every feature's length; noise; both chosen by `learn` if they are None.

    relevance: float64 (features,), what the logarithms of the inverse lengths lie around beside that of all; None: 0.
    """

    inverse: Tensor | None = None
    noise: Tensor | None = None
    kernel: Kernel = matern12
    relevance: Doubles | None = None
    _known: Tensor = field(default_factory=lambda: torch.zeros((0, 0)), repr=False)
    _weights: Tensor = field(default_factory=lambda: torch.zeros(0), repr=False)
    _whitening: Tensor = field(default_factory=lambda: torch.zeros((0, 0)), repr=False)
    _variance: float = 0.0

    def apart(self) -> Process:
        return Process(self.inverse, self.noise, self.kernel)

    def learn(self, cells: Cells, scores: Doubles, seed: int) -> None:
        features, targets = torch.from_numpy(standardised(cells)).double(), torch.from_numpy(scores)
        if self.inverse is None or self.noise is None:
            self.inverse, self.noise = self._chosen(features[:MOST_CHOSEN], targets[:MOST_CHOSEN])
        scaled, one = features * self.inverse, torch.eye(len(targets), dtype=torch.float64)
        root = torch.linalg.cholesky(self.kernel(scaled, scaled) + self.noise * one)
        white = torch.linalg.solve_triangular(root, targets[:, None], upper=False)
        self._variance = float(torch.square(white).mean())
        self._weights = torch.linalg.solve_triangular(root.T, white, upper=True)[:, 0].float()
        self._whitening = torch.linalg.solve_triangular(root, one, upper=False).T.float()
        self._known = scaled.float()

    def score(self, cells: Cells) -> Doubles:
        return _joined([near @ self._weights for near in self._near(cells)])

    def score_and_deviation(self, cells: Cells) -> Doubles:
        """Scores, and the standard deviation of each without that of the noise, (2, cells)."""
        both = [
            torch.stack([near @ self._weights, 1 - torch.square(near @ self._whitening).sum(1)])
            for near in self._near(cells)
        ]
        score, left = _joined(both)
        return np.stack([score, np.sqrt(self._variance * np.maximum(left, LEAST))])

    def _near(self, cells: Cells) -> Iterator[Tensor]:
        """The kernel of cells, some at a time, with those known."""
        assert self.inverse is not None, "learn comes first"
        scaled = torch.from_numpy(standardised(cells)) * self.inverse.float()
        return (self.kernel(part, self._known) for part in torch.split(scaled, AT_ONCE))

    def _chosen(self, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The most probable inverse lengths and noise, the kernel's variance at its best."""
        expected = torch.zeros(features.shape[1], dtype=torch.float64)
        if self.relevance is not None:
            expected = torch.from_numpy(self.relevance)
        relevance = expected.clone().requires_grad_()
        common = torch.tensor([-np.log(LENGTH), np.log(NOISE)], dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.Adam([relevance, common], lr=RATE)
        for _ in range(STEPS):
            scaled = features * torch.exp(relevance + common[0])
            root = torch.linalg.cholesky(self.kernel(scaled, scaled) + torch.exp(common[1]) * torch.eye(len(targets)))
            solved = torch.cholesky_solve(targets[:, None], root)[:, 0]
            fit = targets @ solved / len(targets) + JITTER  # labels may be all alike
            likelihood = -len(targets) / 2 * torch.log(fit) - torch.log(torch.diagonal(root)).sum()
            loss = torch.square((relevance - expected) / FREEDOM).sum() / 2 - likelihood
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's
            optimiser.step()
            with torch.no_grad():
                common[1].clamp_(min=np.log(1e-4))  # below, rounding decides
        return torch.exp(relevance + common[0]).detach(), torch.exp(common[1]).detach()


def _joined(parts: list[Tensor]) -> Doubles:
    return np.asarray(torch.cat(parts, -1).double().numpy(), np.float64)
