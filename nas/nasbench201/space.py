"""NAS-Bench-201 (arXiv:2001.00326), which is NATS-Bench's topology space (arXiv:2009.00437)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from nas.errors import ArchsweepError
from nas.moves import VectorMoves
from nas.nasbench201 import features
from nas.nasbench201.cell import (
    EDGES,
    N_CELLS,
    NONE,
    OPERATIONS,
    EdgeCell,
    cells,
    cells_by_rank,
    class_keys,
    operations_of,
    operations_table,
    rank_of,
    representatives,
)
from nas.nasbench201.cost import DATASETS, Dataset, costs
from nas.space import Diagram, Edge, Keys, Node

N_CLASSES = 6_466
"""Classes of isomorphic cells by the published rule, see `nas.nasbench201.cell.representatives`."""


@dataclass(frozen=True)
class EdgeCode:
    """A cell as the operations of its six edges."""

    classes: bool
    choices: tuple[int, ...] = (len(OPERATIONS),) * len(EDGES)
    names: tuple[str, ...] = tuple(f"edge_{source}_{target}" for source, target in EDGES)

    def encode(self, architecture: EdgeCell) -> NDArray[np.float64]:
        return np.array(architecture.operations, np.float64)

    def decode(self, vector: ArrayLike) -> EdgeCell:
        values = vector if isinstance(vector, list) else np.asarray(vector).tolist()
        if len(values) != len(EDGES) or not all(0 <= value < len(OPERATIONS) for value in values):
            raise ArchsweepError(f"vector {values}: expected {len(EDGES)} numbers from 0 to {len(OPERATIONS) - 1}")
        return cells_by_rank(self.classes)[rank_of(values)]


@dataclass
class EdgeSpace(VectorMoves[EdgeCell]):
    """The 15,625 cells of NAS-Bench-201; keys are the published indices, which NATS-Bench shares.

    dataset: whose classes and image size the costs are counted for. classes: whether isomorphic cells are one
    architecture, which has the cell of the smallest index for all of them; 6,466 by the published rule.
    """

    dataset: Dataset = "cifar10"
    classes: bool = False
    name = "nasbench201"

    def __post_init__(self) -> None:
        if self.dataset not in DATASETS:
            raise ArchsweepError(f"unknown data set {self.dataset!r}; choose from {', '.join(DATASETS)}")
        self.size = N_CLASSES if self.classes else N_CELLS
        self.codes = {"edges": EdgeCode(self.classes)}

    @property
    def definition(self) -> Mapping[str, Any]:
        given: dict[str, Any] = {}
        if self.dataset != "cifar10":
            given["dataset"] = self.dataset
        return given | ({"classes": True} if self.classes else {})

    def keys(self) -> Keys:
        return np.array(class_keys()) if self.classes else np.arange(N_CELLS)

    def at(self, key: int) -> EdgeCell:
        if not 0 <= key < N_CELLS:
            raise ArchsweepError(f"NAS-Bench-201 has no cell {key}; expected an index from 0 to {N_CELLS - 1}")
        if self.classes and representatives()[key] != key:
            raise ArchsweepError(f"cell {key} is isomorphic to cell {representatives()[key]}, which stands for both")
        return cells()[key]

    def from_json(self, value: Any) -> EdgeCell:
        """Returns the cell of ``{"arch": STRING}`` or of the published string alone. Raises `ArchsweepError`."""
        arch = value["arch"] if isinstance(value, dict) and value.keys() == {"arch"} else value
        if not isinstance(arch, str):
            raise ArchsweepError(f'{value!r} is no NAS-Bench-201 cell; expected {{"arch": "|...~0|+|...|"}}')
        return self._canonical(operations_of(arch))

    def __contains__(self, architecture: object) -> bool:
        return isinstance(architecture, EdgeCell) and architecture == self._canonical(architecture.operations)

    def _canonical(self, operations: tuple[int, ...]) -> EdgeCell:
        return cells_by_rank(self.classes)[rank_of(operations)]

    def named(self, text: str) -> EdgeCell:
        """Returns the cell of a published string or index, of its class where classes are what counts."""
        if not (text.isascii() and text.isdigit()):
            return self.from_json(text)
        if int(text) >= N_CELLS:
            return self.at(int(text))
        return self._canonical(cells()[int(text)].operations)

    def name_of(self, architecture: EdgeCell) -> str:
        return architecture.arch

    def sample(self, rng: Generator) -> EdgeCell:
        drawn = int(rng.random() * (N_CLASSES if self.classes else N_CELLS))
        return cells()[class_keys()[drawn] if self.classes else drawn]

    def features(self, keys: Keys) -> NDArray[np.float32]:
        return features.features(self.dataset)[_checked(keys)]

    def flow(self, keys: Keys) -> NDArray[np.float32]:
        return features.flow(self.dataset)[_checked(keys)]

    def paths(self, keys: Keys) -> NDArray[np.float32]:
        return features.paths()[_checked(keys)]

    def graphs(self, keys: Keys) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return features.graphs(operations_table()[_checked(keys)])

    def cost(self, architecture: EdgeCell) -> Mapping[str, float]:
        parameters, macs = _cost_table(self.dataset)[architecture.key].tolist()
        return {"parameters": parameters, "macs": macs}

    def costs(self, keys: Keys) -> NDArray[np.int64]:
        """Returns parameters and multiply-accumulates, int64 (architectures, 2)."""
        return _cost_table(self.dataset)[_checked(keys)]

    def diagram(self, architecture: EdgeCell) -> Diagram:
        """Returns the cell's four tensors, joined by its operations."""
        nodes = [Node(label, "tensor") for label in ("input", "1", "2", "output")]
        edges = [
            Edge(source, target, OPERATIONS[operation], OPERATIONS[operation])
            for (source, target), operation in zip(EDGES, architecture.operations, strict=True)
            if operation != NONE
        ]
        return Diagram(tuple(nodes), tuple(edges))


@cache
def _cost_table(dataset: Dataset) -> NDArray[np.int64]:
    return costs(operations_table(), dataset)


def _checked(keys: Keys) -> Keys:
    """Returns keys. Raises `ArchsweepError` on one that is no published index; a negative one would count backwards."""
    keys = np.asarray(keys)
    if keys.size and (keys.min() < 0 or keys.max() >= N_CELLS):
        raise ArchsweepError(f"keys from {keys.min()} to {keys.max()}: NAS-Bench-201 has 0 to {N_CELLS - 1}")
    return keys
