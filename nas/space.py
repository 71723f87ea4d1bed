"""The search space as a value: what every space owes, and what a space can also offer.

A space makes architectures and knows them by their keys. Everything outside `nas` works through the Protocols of this
file; what a searcher or surrogate needs beyond `Space` is checked once, when the search is made (`require`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from nas.errors import ArchsweepError

Keys = NDArray[np.integer[Any]]
"""Keys of architectures of one space, (architectures,)."""


@runtime_checkable
class Architecture(Protocol):
    """A point of a space: frozen and hashable; only its space makes one."""

    @property
    def key(self) -> int:
        """Its identity within its space, an int64; isomorphic architectures may share one."""
        ...

    def to_json(self) -> Any:
        """The JSON value of which `Space.from_json` makes an equal architecture."""
        ...


A = TypeVar("A", bound=Architecture)
A_co = TypeVar("A_co", bound=Architecture, covariant=True)
A_contra = TypeVar("A_contra", bound=Architecture, contravariant=True)


class Code(Protocol[A]):
    """How an architecture is written as a vector."""

    @property
    def choices(self) -> tuple[int | None, ...]:
        """The number of values of each place, which are 0, 1, ...; None: a real number in [0, 1]."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """What each place says, e.g. ``operation_0``."""
        ...

    def encode(self, architecture: A) -> NDArray[np.float64]:
        """Returns the vector, float64 (places,); `decode` makes an architecture of the same key of it."""
        ...

    def decode(self, vector: ArrayLike) -> A | None:
        """Returns the architecture of a vector, or None where that is outside the space.

        Integer places are rounded down. Raises `ArchsweepError` on a wrong number of places or a value out of range.
        """
        ...


class Space(Protocol[A]):
    """All that is required of a space.

    Every method that makes an architecture makes one of the space, and draws only from the generator that it is given.
    `nas.moves.VectorMoves` derives the moves from a code.
    """

    @property
    def name(self) -> str:
        """The name in the registry, or ``package.module:Name``; stands in a journal's header and in a table."""
        ...

    @property
    def definition(self) -> Mapping[str, Any]:
        """The keyword arguments, JSON values, of which the registered class makes an equal space."""
        ...

    @property
    def size(self) -> int | None:
        """The number of architectures; None if the space is too large to be listed."""
        ...

    @property
    def codes(self) -> Mapping[str, Code[A]]:
        """Its codes by name; the first one is the default."""
        ...

    def at(self, key: int) -> A:
        """Returns the architecture of a key, in a representative form. Raises `ArchsweepError` if there is none."""
        ...

    def from_json(self, value: Any) -> A:
        """Returns the architecture that `to_json` wrote. Raises `ArchsweepError` on anything else."""
        ...

    def __contains__(self, architecture: object) -> bool: ...

    def sample(self, rng: Generator) -> A:
        """Draws an architecture uniformly."""
        ...

    def mutate(self, architecture: A, rng: Generator, rate: float = 1.0) -> A:
        """Changes each part of an architecture with a small probability, ``rate`` parts in expectation."""
        ...

    def mutate_once(self, architecture: A, rng: Generator) -> A:
        """Makes exactly one change, drawn uniformly from those that lead to another architecture of the space."""
        ...

    def neighbours(self, architecture: A) -> Sequence[A]:
        """Returns the architectures one change away, one a key, in a fixed order."""
        ...

    def crossover(self, mother: A, father: A, rng: Generator) -> A:
        """Takes each part from either parent with probability 1/2."""
        ...


AnySpace = Space[Any]


# What a space can also offer, a Protocol each. `require` reads their docstring's first line into its message.


class Listed(Protocol):
    """can be listed"""

    def keys(self) -> Keys:
        """Returns the keys of all architectures, ascending."""
        ...


class Featured(Protocol):
    """has features"""

    def features(self, keys: Keys) -> NDArray[np.float32]:
        """Returns what models read, float32 (architectures, features)."""
        ...


class Pathed(Protocol):
    """has a path encoding"""

    def paths(self, keys: Keys) -> NDArray[np.float32]:
        """Returns which sequences of operations occur, float32 0/1 (architectures, paths), frequent ones first."""
        ...


class Flowing(Protocol):
    """has flow features"""

    def flow(self, keys: Keys) -> NDArray[np.float32]:
        """Returns how signals flow through each architecture, float32 (architectures, features)."""
        ...


class Graphed(Protocol):
    """writes its architectures as graphs"""

    def graphs(self, keys: Keys) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns adjacency, float32 0/1 (architectures, vertices, vertices), and kinds of vertices, float32 0/1
        (architectures, vertices, kinds), all zeros where there is no vertex. The last vertex is the output."""
        ...


class Priced(Protocol[A_contra]):
    """counts what an architecture costs"""

    def cost(self, architecture: A_contra) -> Mapping[str, float]:
        """Returns metrics that follow from the architecture alone, ``parameters`` and ``macs`` for example."""
        ...


class Draft(Protocol[A_co]):
    """An architecture that is being written, token by token."""

    @property
    def done(self) -> bool: ...

    @property
    def allowed(self) -> Sequence[int]:
        """The tokens that may come next, at least one; of a draft that is done, one that `add` ignores."""
        ...

    def add(self, token: int) -> None: ...

    def finish(self) -> A_co | None:
        """Returns the architecture that was written, or None where it is outside the space."""
        ...


class Grammar(Protocol[A]):
    """How architectures are written as strings of tokens 0 to ``tokens`` - 1, at most ``longest`` of them."""

    @property
    def tokens(self) -> int: ...

    @property
    def longest(self) -> int: ...

    def begin(self) -> Draft[A]: ...

    def write(self, architecture: A) -> Sequence[int]:
        """Returns the string of an architecture."""
        ...


class Written(Protocol[A]):
    """has a grammar"""

    def grammar(self) -> Grammar[A]: ...


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a picture. kind: nodes of a kind share a colour."""

    label: str
    kind: str


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow of a picture between two nodes, given by their places. kind: as of `Node`, None for a plain arrow."""

    source: int
    target: int
    label: str = ""
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Diagram:
    """What a picture of an architecture shows: a directed acyclic graph, its nodes in topological order."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


class Drawn(Protocol[A_contra]):
    """draws its architectures"""

    def diagram(self, architecture: A_contra) -> Diagram: ...


class Named(Protocol[A]):
    """names its architectures"""

    def named(self, text: str) -> A:
        """Returns the architecture of a published name. Raises `ArchsweepError` if there is none."""
        ...

    def name_of(self, architecture: A) -> str:
        """Returns the published name of an architecture, without white space."""
        ...


def offers(space: object, capability: type) -> bool:
    """Returns whether a space offers what a capability Protocol of this file asks for."""
    if capability is Listed and getattr(space, "size", None) is None:
        return False
    methods = [name for name in vars(capability) if not name.startswith("_")]
    return all(callable(getattr(space, name, None)) for name in methods)


def require(space: AnySpace, capability: type, who: str) -> None:
    """Raises `ArchsweepError`, naming ``who`` needs what, if a space does not offer a capability."""
    if not offers(space, capability):
        ability = (capability.__doc__ or "").strip().splitlines()[0]
        why = "has too many architectures" if capability is Listed else "does not"
        raise ArchsweepError(f"{who} needs a space that {ability}; {space.name!r} {why}")


def name_of(space: AnySpace, architecture: Architecture) -> str:
    """Returns the published name of an architecture where its space has names, else its key."""
    named = getattr(space, "name_of", None)
    return str(named(architecture)) if named is not None else str(architecture.key)


def default_code(space: Space[A]) -> Code[A]:
    """Returns the first of a space's codes."""
    return next(iter(space.codes.values()))


def code_named(space: Space[A], name: str | None) -> Code[A]:
    """Returns a code by its name, None for the default. Raises `ArchsweepError`."""
    if name is None:
        return default_code(space)
    if name not in space.codes:
        raise ArchsweepError(f"space {space.name!r} has no code {name!r}; choose from {', '.join(space.codes)}")
    return space.codes[name]


def categorical(code: Code[A], who: str) -> NDArray[np.int64]:
    """Returns the number of values of each place, int64 (places,).

    Raises `ArchsweepError`, naming ``who`` needs it, if a place is a real number.
    """
    counts = [count for count in code.choices if count is not None]
    if len(counts) != len(code.choices):
        raise ArchsweepError(f"{who} needs a code of whole numbers, and this one has real ones; choose another code")
    return np.array(counts, np.int64)


def one_hot(space: AnySpace, keys: Keys) -> NDArray[np.float32]:
    """Returns the default code with a column for each value of a place, float32 (architectures, columns).

    A place with two values or with real ones is one column.
    """
    code = default_code(space)
    vectors = np.array([code.encode(space.at(int(key))) for key in keys]).reshape(len(keys), len(code.choices))
    columns = [
        vectors[:, place, None] if count is None or count <= 2 else vectors[:, place, None] == np.arange(count)
        for place, count in enumerate(code.choices)
    ]
    return np.concatenate(columns, 1).astype(np.float32)


def features_of(space: AnySpace, keys: Keys) -> NDArray[np.float32]:
    """Returns a space's features, or the one-hot code where it offers none; float32 (architectures, features)."""
    features = getattr(space, "features", None)
    return np.asarray(features(keys)) if features is not None else one_hot(space, keys)


def cost_of(space: AnySpace, architecture: Architecture) -> Mapping[str, float]:
    """Returns what an architecture costs where its space counts that, else nothing."""
    cost = getattr(space, "cost", None)
    return {} if cost is None else dict(cost(architecture))
