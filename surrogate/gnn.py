"""A graph network that ranks cells: messages along a cell's edges and against them, and what flows through it.

Every vertex has a state, at first its operation's. A layer adds ``ReLU(W h + A' F h + A B h)`` to the states h, where
A is the adjacency, so that a vertex hears of those before it and of those behind it. Read out are the output's state
and the mean of all, beside the standardised features of `surrogate.ranker`. The loss is logistic on the difference of
every pair of cells (RankNet: Burges and others, 2005): the order of cells is all that is learnt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from nas.catalogue import LABELS
from nas.features import Cells
from nas.flow import adjacency, vertex_kinds
from surrogate.ranker import Doubles, standardised

WIDTH, LAYERS, GLOBAL = 64, 3, 32
KINDS = 2 + LABELS
FEATURES = 127
RATE, DECAY, BATCH, EPOCHS = 3e-3, 1e-2, 64, 100
MOST_STEPS = 2_500
"""Of the optimiser: with many labels there are fewer epochs."""
AT_ONCE = 512
"""Cells that are scored at a time, so that their states stay in a core's cache."""


class GraphNetwork(nn.Module):
    """Scores of cells: (cells, 7, 7) adjacency, (cells, 7, 5) kinds of vertices, (cells, 127) features -> (cells,)."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds = nn.Linear(KINDS, WIDTH, bias=False)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.flow = nn.Sequential(nn.Linear(FEATURES, GLOBAL), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(2 * WIDTH + GLOBAL, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))

    def forward(self, edges: Tensor, kinds: Tensor, features: Tensor) -> Tensor:
        there = kinds.sum(2, keepdim=True)
        states = self.kinds(kinds)
        for layer in self.layers:
            states = (states + layer(states, edges)) * there
        mean = states.sum(1) / there.sum(1)
        score: Tensor = self.head(torch.cat([states[:, -1], mean, self.flow(features)], 1))
        return score[:, 0]


class Layer(nn.Module):
    """What a round of messages adds to the states of vertices, (cells, 7, width)."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Linear(WIDTH, WIDTH)
        self.before = nn.Linear(WIDTH, WIDTH, bias=False)
        self.behind = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, states: Tensor, edges: Tensor) -> Tensor:
        heard = self.before(edges.mT @ states) + self.behind(edges @ states)
        return torch.relu(self.own(states) + heard)


@dataclass
class Network:
    """A `Ranker`: the mean of differently seeded members. Trains on a GPU where there is one."""

    members: int = 3
    _fitted: list[GraphNetwork] = field(default_factory=list, repr=False)
    _scales: list[tuple[float, float]] = field(default_factory=list, repr=False)

    def learn(self, cells: Cells, scores: Doubles, seed: int) -> None:
        inputs = _inputs(cells)
        targets = torch.tensor(scores, dtype=torch.float32, device=_device())
        self._fitted = [_trained(inputs, targets, seed * self.members + member) for member in range(self.members)]
        self._scales = []
        for network in self._fitted:  # a ranking has no scale; the mean over members, and a blend, need one
            said = _scored(network, inputs)
            self._scales.append((float(said.mean()), float(said.std()) / (float(scores.std()) or 1.0) or 1.0))

    def score(self, cells: Cells) -> Doubles:
        inputs = _inputs(cells)
        pairs = zip(self._fitted, self._scales, strict=True)
        said = [(_scored(network, inputs) - mean) / std for network, (mean, std) in pairs]
        return np.asarray(np.mean(said, 0), np.float64)


Inputs = tuple[Tensor, Tensor, Tensor]


def _inputs(cells: Cells) -> Inputs:
    edges, kinds, flow = (
        torch.from_numpy(values).to(_device())
        for values in (adjacency(cells), vertex_kinds(cells), standardised(cells))
    )
    return edges, kinds, flow


def _trained(inputs: Inputs, targets: Tensor, seed: int) -> GraphNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = GraphNetwork().to(_device())
        batches = list(_batches(len(targets)))
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=len(batches) + 1, pct_start=0.1)
    for batch in batches:
        chosen = batch.to(targets.device)
        loss = _misordered(network(*(values[chosen] for values in inputs)), targets[chosen])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return network.eval()


def _batches(count: int) -> Iterator[Tensor]:
    """The places of labels that each step is taken on."""
    epochs = max(1, min(EPOCHS, MOST_STEPS // -(-count // BATCH)))
    for _ in range(epochs):
        yield from torch.randperm(count).tensor_split(-(-count // BATCH))


def _misordered(scores: Tensor, targets: Tensor) -> Tensor:
    """The mean over pairs whose order is known of log(1 + exp(-difference)); 0 if there are none."""
    better = targets[:, None] > targets
    losses = nn.functional.softplus(scores - scores[:, None])[better]
    return losses.sum() / max(1, losses.numel())


@torch.inference_mode()
def _scored(network: GraphNetwork, inputs: Inputs) -> Doubles:
    parts = zip(*(torch.split(values, AT_ONCE) for values in inputs), strict=True)
    return torch.cat([network(*part) for part in parts]).double().cpu().numpy()


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
