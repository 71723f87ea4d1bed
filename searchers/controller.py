"""A recurrent controller trained by policy gradient (Zoph and Le, 2017, arXiv:1611.01578; ENAS, arXiv:1802.03268).

A cell is a string of tokens, shorter for a smaller cell: of each vertex its operation, then a bit for every earlier
vertex, whether an edge comes from there; a token that ends the operations, unless there are five; the output's bits.
An LSTM reads the tokens so far and says how likely each next one is. After a trial with objective r, Adam takes a step
along (r - baseline) * grad log p(string), the baseline a moving average of r. Settings: ENAS's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from nas.nasbench101.catalogue import LABELS
from nas.nasbench101.cell import Cell
from nas.nasbench101.graph import EDGE_SPOTS, INTERIOR, MAX_EDGES, MAX_VERTICES, edge_bit
from nas.nasbench101.space import CellSpace
from nas.trial import Proposal, Trial
from surrogate.threads import one_thread

END, ABSENT, PRESENT, START = range(LABELS, LABELS + 4)
"""The tokens that are no operation; START is only read."""
LONGEST = EDGE_SPOTS + INTERIOR + 1
TEMPERATURE, TANH = 5.0, 2.5
SPREAD = 0.1
AT_ONCE, ATTEMPTS = 8, 10
"""Strings written side by side, and how often, before a cell is drawn uniformly instead."""


@dataclass
class Controller:
    """Asynchronous: a trial's gradient is taken at the weights of the moment when it is told.

    Strings that name no cell of the space, or one with unused vertices, cost nothing, earn nothing, and are written
    anew. Failed trials teach nothing. Weights are float64, the first ones the same in every search.
    """

    space: CellSpace
    hidden: int = field(default=100, metadata={"help": "units of the LSTM"})
    learning_rate: float = field(default=3.5e-4, metadata={"help": "of Adam"})
    entropy: float = field(default=1e-4, metadata={"help": "weight of the string's entropy beside its reward"})
    momentum: float = field(default=0.95, metadata={"help": "weight of the past in the baseline"})

    def __post_init__(self) -> None:
        if self.hidden < 1 or self.learning_rate <= 0 or self.entropy < 0 or not 0 <= self.momentum < 1:
            raise ValueError(
                "hidden must be at least 1, learning_rate positive, entropy not negative and momentum in [0, 1), "
                f"got {self}"
            )
        self._policy = Policy(self.hidden)
        self._adam = torch.optim.Adam(self._policy.parameters(), lr=self.learning_rate)
        self._baseline: float | None = None

    @one_thread()
    def ask(self, pending: Collection[Proposal], rng: Generator) -> Proposal:
        for _ in range(ATTEMPTS):
            for draft in self._policy.write(rng):
                cell = self.space.find(draft.frame, draft.labels)
                if cell is not None and cell.vertices == len(draft.labels) + 2:
                    return Proposal(cell)
        return Proposal(self.space.sample(rng), provenance={"by": "random"})

    @one_thread()
    def tell(self, trial: Trial) -> None:
        if trial.result is None:
            return
        reward = trial.result.objective
        if self._baseline is None:
            self._baseline = reward
        log_likelihood, entropy = self._policy.score(tokens(trial.proposal.cell.pruned))
        loss = -(reward - self._baseline) * log_likelihood - self.entropy * entropy
        self._adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        self._adam.step()
        self._baseline = self.momentum * self._baseline + (1 - self.momentum) * reward


@dataclass
class Draft:
    """A cell being written. source: of the edge that is decided next; -1 if it is an operation, or the end of them."""

    frame: int = 0
    labels: list[int] = field(default_factory=list)
    source: int = -1
    closed: bool = False

    @property
    def done(self) -> bool:
        return self.closed and self.source > len(self.labels)

    @property
    def allowed(self) -> tuple[int, ...]:
        """The tokens that may come next."""
        if self.source < 0:
            return (*range(LABELS), END)
        return (ABSENT,) if self.done or self.frame.bit_count() == MAX_EDGES else (ABSENT, PRESENT)

    def add(self, token: int) -> None:
        """Appends a token that is allowed; to a cell that is done, nothing."""
        if token == END:
            self.closed, self.source = True, 0
        elif token < LABELS:
            self.labels.append(token)
            self.source = 0
        elif not self.done:
            target = MAX_VERTICES - 1 if self.closed else len(self.labels)
            self.frame |= (token == PRESENT) << edge_bit(self.source, target)
            self.source += 1
            if not self.closed and self.source == target:
                self.closed = target == INTERIOR
                self.source = 0 if self.closed else -1


def tokens(cell: Cell) -> list[int]:
    """The string of a cell that has no unused vertices."""
    matrix, written = cell.matrix, []
    for vertex, label in enumerate(cell.labels, 1):
        written += [label, *(ABSENT + matrix[:vertex, vertex])]
    end = [END] if len(cell.labels) < INTERIOR else []
    return [int(token) for token in (*written, *end, *(ABSENT + matrix[:-1, -1]))]


class Policy(nn.Module):
    """How likely each next token is, given those before it."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(START + 1, hidden, dtype=torch.float64)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True, dtype=torch.float64)
        self.out = nn.Linear(hidden, START, bias=False, dtype=torch.float64)
        drawn = np.random.default_rng(0)  # torch's own generator may change between versions
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.from_numpy(drawn.uniform(-SPREAD, SPREAD, weight.shape)))

    def write(self, rng: Generator) -> list[Draft]:
        """Some strings, drawn."""
        drafts = [Draft() for _ in range(AT_ONCE)]
        last, state = [START] * AT_ONCE, None
        with torch.no_grad():
            while not all(draft.done for draft in drafts):
                read, state = self.lstm(self.embed(torch.tensor(last)[:, None]), state)
                cumulated = self._log(read[:, 0], [draft.allowed for draft in drafts]).exp().cumsum(1).numpy()
                drawn = rng.random(AT_ONCE) * cumulated[:, -1]
                last = (cumulated <= drawn[:, None]).sum(1).tolist()
                for draft, token in zip(drafts, last, strict=True):
                    draft.add(token)
        return drafts

    def score(self, string: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The logarithm of a string's probability, and the summed entropies of its tokens' distributions."""
        draft, allowed = Draft(), []
        for token in string:
            allowed.append(draft.allowed)
            draft.add(token)
        read, _ = self.lstm(self.embed(torch.tensor([[START, *string[:-1]]])))
        logs = self._log(read[0], allowed)
        chosen = logs[torch.arange(len(string)), torch.tensor(string)]
        return chosen.sum(), -(logs.exp() * logs.clamp(min=torch.finfo(logs.dtype).min)).sum()

    def _log(self, read: Tensor, allowed: Sequence[Sequence[int]]) -> Tensor:
        """Log-probabilities of the next token, (rows, tokens), minus infinity where it is not allowed."""
        mask = torch.full((len(read), START), -torch.inf, dtype=read.dtype)
        for row, some in zip(mask, allowed, strict=True):
            row[list(some)] = 0
        logits = TANH * torch.tanh(self.out(read) / TEMPERATURE)
        return torch.log_softmax(logits + mask, 1)
