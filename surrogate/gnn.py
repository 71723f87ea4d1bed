"""A graph network that ranks cells: messages along a cell's edges and against them, and what flows through it.

Every vertex has a state, at first its operation's. A layer adds ``ReLU(W h + A' F h + A B h)`` to the states h, where
A is the adjacency, so that a vertex hears of those before it and of those behind it. Read out are the output's state
and the mean of all, beside the standardised features of `surrogate.ranker`. The loss is logistic on the difference of
every pair of cells (RankNet: Burges and others, 2005): the order of cells is all that is learnt.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from threading import Lock

import numpy as np
import torch
from torch import Tensor, nn

from nas.nasbench101.catalogue import LABELS
from nas.nasbench101.features import Cells
from nas.nasbench101.flow import adjacency, vertex_kinds
from surrogate.ranker import FEATURES, Doubles, Floats, standardised
from surrogate.threads import side_by_side

WIDTH, GLOBAL = 64, 32
KINDS = 2 + LABELS
RATE = 3e-3
AT_ONCE = 512
"""Cells that are scored at a time, so that their states stay in a core's cache."""


class GraphNetwork(nn.Module):
    """Scores of cells: (cells, 7, 7) adjacency, (cells, 7, 5) kinds of vertices, (cells, 127) features -> (cells,).

    Of three layers only the second costs much: the first sees kinds alone, the last is asked at the output alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kinds = nn.Linear(KINDS, WIDTH, bias=False)
        self.first, self.second, self.last = Layer(KINDS), Layer(WIDTH), OutputLayer()
        self.flow = nn.Sequential(nn.Linear(FEATURES, GLOBAL), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(2 * WIDTH + GLOBAL, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))

    def forward(self, edges: Tensor, kinds: Tensor, features: Tensor) -> Tensor:
        there = kinds.sum(2, keepdim=True)
        states = (self.kinds(kinds) + self.first(kinds, edges)) * there
        states = (states + self.second(states, edges)) * there
        mean = states.sum(1) / there.sum(1)
        output = states[:, -1] + self.last(states, edges)
        score: Tensor = self.head(torch.cat([output, mean, self.flow(features)], 1))
        return score[:, 0]


class Layer(nn.Module):
    """What a round of messages adds to the states of vertices, (cells, 7, inputs) -> (cells, 7, width)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.own = nn.Linear(inputs, WIDTH)
        self.before = nn.Linear(inputs, WIDTH, bias=False)
        self.behind = nn.Linear(inputs, WIDTH, bias=False)

    def forward(self, states: Tensor, edges: Tensor) -> Tensor:
        heard = self.before(edges.mT @ states) + self.behind(edges @ states)
        return torch.relu(self.own(states) + heard)


class OutputLayer(nn.Module):
    """What a last round adds to the output's state, (cells, width); no vertex is behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Linear(WIDTH, WIDTH)
        self.before = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, states: Tensor, edges: Tensor) -> Tensor:
        heard = (edges[:, :, -1:] * states).sum(1)
        return torch.relu(self.own(states[:, -1]) + self.before(heard))


Inputs = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Schedule:
    """How long networks learn. batch: cells a step. decay: of the weights. steps: the most, whatever the epochs."""

    batch: int = 64
    epochs: int = 100
    decay: float = 0.3
    steps: int = 2_500


LABELS_ALONE, UNLABELLED, LABELS_AFTER = Schedule(), Schedule(256, 4), Schedule(epochs=40)
"""For the labels of a search; for what is learnt before them, and for the labels after it."""


@dataclass
class Network:
    """A `Ranker`: the mean of differently seeded members. Trains on a GPU where there is one.

    schedule: of labels that nothing was learnt before.
    fitted: each with what its scores are shifted and multiplied by; a ranking has no scale, a mean of some needs one.
    """

    members: int = 3
    fitted: list[tuple[GraphNetwork, tuple[float, float]]] = field(default_factory=list, repr=False)
    schedule: Schedule = LABELS_ALONE

    def apart(self) -> Network:
        return Network(1)

    def learn(self, cells: Cells, scores: Doubles, seed: int, taught: tuple[Cells, Doubles] | None = None) -> None:
        """taught: cells without labels, and what another ranker says of them, to be learnt first."""
        lessons = [Lesson(_inputs(cells), _tensor(scores), self.schedule if taught is None else LABELS_AFTER)]
        if taught is not None:
            lessons.insert(0, Lesson(_inputs(taught[0]), _tensor(taught[1]), UNLABELLED))
        begun = [_begun(lessons, seed * self.members + member) for member in range(self.members)]
        networks = side_by_side(partial(_trained, lessons), begun)
        self.fitted = [
            (network, _scale(_scored(network, lessons[0].inputs), lessons[0].targets)) for network in networks
        ]

    def score(self, cells: Cells) -> Doubles:
        inputs = _inputs(cells)
        said = [zero + unit * _scored(network.to(_device()), inputs) for network, (zero, unit) in self.fitted]
        return np.asarray(np.mean(said, 0), np.float64)


@dataclass(frozen=True)
class Lesson:
    """What networks are to learn."""

    inputs: Inputs
    targets: Tensor
    schedule: Schedule

    def batches(self) -> list[Tensor]:
        """The places of the cells that each step is taken on."""
        count = len(self.targets)
        parts = -(-count // self.schedule.batch)
        epochs = max(1, min(self.schedule.epochs, self.schedule.steps // parts))
        return [chosen for _ in range(epochs) for chosen in torch.randperm(count).tensor_split(parts)]


def _inputs(cells: Cells) -> Inputs:
    return _tensor(adjacency(cells)), _tensor(vertex_kinds(cells)), _tensor(standardised(cells))


def _tensor(values: Floats | Doubles) -> Tensor:
    return torch.from_numpy(values).float().to(_device())


Begun = tuple[GraphNetwork, list[list[Tensor]]]
"""A network that has learnt nothing, and the batches of every lesson."""
DRAWING = Lock()


def _begun(lessons: list[Lesson], seed: int) -> Begun:
    """All that is random in a training, drawn at once, as torch's stream of random numbers is everybody's."""
    with DRAWING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GraphNetwork().to(_device()), [lesson.batches() for lesson in lessons]


def _trained(lessons: list[Lesson], begun: Begun) -> GraphNetwork:
    network, batches = begun
    for lesson, chosen in zip(lessons, batches, strict=True):
        _learn(network, lesson, chosen)
    return network.eval()


def _learn(network: GraphNetwork, lesson: Lesson, batches: list[Tensor]) -> None:
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=lesson.schedule.decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=len(batches) + 1, pct_start=0.1)
    for batch in batches:
        chosen = batch.to(lesson.targets.device)
        loss = _misordered(network(*(values[chosen] for values in lesson.inputs)), lesson.targets[chosen])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        optimiser.step()
        schedule.step()


def _misordered(scores: Tensor, targets: Tensor) -> Tensor:
    """The mean over pairs whose order is known of log(1 + exp(-difference)); 0 if there are none."""
    better = (targets[:, None] > targets).float()
    losses = nn.functional.softplus(scores - scores[:, None]) * better
    return losses.sum() / better.sum().clamp(min=1)


def _scale(said: Doubles, targets: Tensor) -> tuple[float, float]:
    """What makes the mean and the spread of what is said that of the targets."""
    wanted = targets.double().cpu().numpy()
    unit = float(wanted.std() / (said.std() or 1.0))
    return float(wanted.mean() - unit * said.mean()), unit


@torch.inference_mode()
def _scored(network: GraphNetwork, inputs: Inputs) -> Doubles:
    parts = zip(*(torch.split(values, AT_ONCE) for values in inputs), strict=True)
    return torch.cat([network(*part) for part in parts]).double().cpu().numpy()


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
