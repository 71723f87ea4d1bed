"""What a code gives for nothing: moves, a grammar, a list; and any space with only some of its architectures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Generic, cast

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from nas.errors import ArchsweepError
from nas.space import A, AnySpace, Code, Draft, Grammar, Keys, Listed, categorical, offers, require

ATTEMPTS = 10_000
"""How often a draw is repeated before an architecture is sampled uniformly instead."""

DRAWS = 20
"""Draws of one change, each leading nowhere, before all changes are listed."""


class VectorMoves(Generic[A]):
    """The moves of a space, derived from its default code, whose places must be whole numbers.

    A space inherits from this and provides ``name``, ``definition``, ``size``, ``codes``, `at`, `from_json` and
    `__contains__`, see `nas.space.Space`. Vectors outside the space are drawn again. Where ``size`` is known, keys are
    taken to be 0 to ``size`` - 1 and every method draws uniformly from them; a space whose keys differ overrides
    `keys` and `sample`.
    """

    name: str
    size: int | None
    codes: Mapping[str, Code[A]]

    def at(self, key: int) -> A:
        raise NotImplementedError

    @property
    def definition(self) -> Mapping[str, Any]:
        return {}

    @cached_property
    def _code(self) -> Code[A]:
        return next(iter(self.codes.values()))

    @cached_property
    def _counts(self) -> list[int]:
        return cast(list[int], categorical(self._code, f"space {self.name!r}").tolist())

    def _vector(self, architecture: A) -> list[int]:
        return [int(value) for value in self._code.encode(architecture)]

    def sample(self, rng: Generator) -> A:
        if self.size is not None:
            return self.at(int(rng.random() * self.size))
        return self.sample_by_code(rng)

    def sample_by_code(self, rng: Generator) -> A:
        """Draws each place of the code uniformly, again if that is outside the space."""
        for _ in range(ATTEMPTS):
            drawn = self._code.decode(
                [int(u * n) for u, n in zip(rng.random(len(self._counts)), self._counts, strict=True)]
            )
            if drawn is not None:
                return drawn
        raise ArchsweepError(f"space {self.name!r} is too sparse: {ATTEMPTS:,} vectors in a row name no architecture")

    def mutate(self, architecture: A, rng: Generator, rate: float = 1.0) -> A:
        """Changes each place with probability ``rate`` / places; the child may equal its parent."""
        vector, counts = self._vector(architecture), self._counts
        chance = rate / len(counts)
        for _ in range(ATTEMPTS):
            draws = rng.random(2 * len(counts)).tolist()
            fates, steps = draws[: len(counts)], draws[len(counts) :]
            child = self._code.decode(
                [
                    (value + 1 + int(step * (count - 1))) % count if fate < chance and count > 1 else value
                    for value, count, fate, step in zip(vector, counts, fates, steps, strict=True)
                ]
            )
            if child is not None:
                return child
        return self.sample(rng)

    def mutate_once(self, architecture: A, rng: Generator) -> A:
        vector = self._vector(architecture)
        for _ in range(DRAWS):  # the same distribution as listing all changes, and ten times as fast
            child = self._code.decode(self._changed(vector, int(rng.random() * self._n_changes)))
            if child is not None and child.key != architecture.key:
                return child
        changes = list(self._changes(architecture))
        return changes[int(rng.random() * len(changes))] if changes else self.sample(rng)

    @cached_property
    def _n_changes(self) -> int:
        return sum(count - 1 for count in self._counts)

    def _changed(self, vector: list[int], change: int) -> list[int]:
        """Returns the vector with one of its possible changes, which are numbered place by place."""
        changed = vector.copy()
        for place, count in enumerate(self._counts):
            if change < count - 1:
                changed[place] = (vector[place] + 1 + change) % count
                break
            change -= count - 1
        return changed

    def neighbours(self, architecture: A) -> Sequence[A]:
        found = {architecture.key: architecture}
        for neighbour in self._changes(architecture):
            found.setdefault(neighbour.key, neighbour)
        return list(found.values())[1:]

    def _changes(self, architecture: A) -> Iterator[A]:
        """Every architecture of another key that one changed place makes of this one."""
        vector = self._vector(architecture)
        for place, count in enumerate(self._counts):
            for step in range(1, count):
                changed = [*vector[:place], (vector[place] + step) % count, *vector[place + 1 :]]
                child = self._code.decode(changed)
                if child is not None and child.key != architecture.key:
                    yield child

    def crossover(self, mother: A, father: A, rng: Generator) -> A:
        """Takes each place from either parent; the mother, if no such child is in the space."""
        pairs = list(zip(self._vector(mother), self._vector(father), strict=True))
        for _ in range(ATTEMPTS):
            own = rng.random(len(pairs)) < 0.5
            child = self._code.decode([m if keep else f for (m, f), keep in zip(pairs, own, strict=True)])
            if child is not None:
                return child
        return mother

    def grammar(self) -> Grammar[A]:
        """Returns the code as a grammar: a token a place."""
        return CodeGrammar(self._code, self._counts)

    def keys(self) -> Keys:
        """Returns all keys; only where ``size`` is known."""
        assert self.size is not None, "`nas.space.offers` says whether a space can be listed"
        return np.arange(self.size)


class CodeGrammar(Generic[A]):
    """A grammar of a code of whole numbers: place by place, the value as a token of that place's own."""

    def __init__(self, code: Code[A], counts: Sequence[int]) -> None:
        self._code, self.counts = code, counts
        self.offsets = np.concatenate([[0], np.cumsum(counts)]).astype(int).tolist()
        self.tokens: int = self.offsets[-1]
        self.longest: int = len(counts)

    def begin(self) -> Draft[A]:
        return CodeDraft(self)

    def write(self, architecture: A) -> list[int]:
        vector = self._code.encode(architecture)
        return [offset + int(value) for offset, value in zip(self.offsets[:-1], vector, strict=True)]

    def read(self, vector: Sequence[int]) -> A | None:
        """Returns the architecture of the values of all places."""
        return self._code.decode(vector)


class CodeDraft(Generic[A]):
    """A vector that is being written."""

    def __init__(self, grammar: CodeGrammar[A]) -> None:
        self._grammar = grammar
        self._values: list[int] = []

    @property
    def done(self) -> bool:
        return len(self._values) == self._grammar.longest

    @property
    def allowed(self) -> Sequence[int]:
        if self.done:
            return (0,)
        place = len(self._values)
        return range(self._grammar.offsets[place], self._grammar.offsets[place + 1])

    def add(self, token: int) -> None:
        if not self.done:
            self._values.append(token - self._grammar.offsets[len(self._values)])

    def finish(self) -> A | None:
        return self._grammar.read(self._values) if self.done else None


class Restricted(Generic[A]):
    """A space with only some of its architectures, a table's for example; everything else is the space's own.

    keys: int64, those that are left. Moves are repeated until they end inside; where that takes too long, as in a
    sparse table of a huge space, an architecture is sampled uniformly.
    """

    def __init__(self, space: AnySpace, keys: ArrayLike) -> None:
        members = np.unique(np.asarray(keys, np.int64))
        if not members.size:
            raise ArchsweepError("the search space is empty; give it at least one architecture")
        self._space, self._members = space, members
        self._inside = frozenset(members.tolist())
        self.name, self.definition, self.size = space.name, space.definition, len(members)
        self.codes = {name: _RestrictedCode(code, self._inside) for name, code in space.codes.items()}

    def keys(self) -> Keys:
        return self._members

    def __contains__(self, architecture: object) -> bool:
        return architecture in self._space and cast(Any, architecture).key in self._inside

    def at(self, key: int) -> A:
        if key not in self._inside:
            raise ArchsweepError(
                f"the search is restricted to {self.size:,} architectures of {self.name!r}; {key} is none"
            )
        return cast(A, self._space.at(key))

    def from_json(self, value: Any) -> A:
        return cast(A, self._space.from_json(value))

    def sample(self, rng: Generator) -> A:
        return cast(A, self._space.at(int(self._members[int(rng.random() * len(self._members))])))

    def sample_by_code(self, rng: Generator) -> A:
        draw = getattr(self._space, "sample_by_code", self._space.sample)
        return self._inside_or_sampled(lambda: draw(rng), rng)

    def mutate(self, architecture: A, rng: Generator, rate: float = 1.0) -> A:
        return self._inside_or_sampled(lambda: self._space.mutate(architecture, rng, rate), rng)

    def mutate_once(self, architecture: A, rng: Generator) -> A:
        near = self.neighbours(architecture)
        return near[int(rng.random() * len(near))] if near else self.sample(rng)

    def neighbours(self, architecture: A) -> Sequence[A]:
        return [near for near in self._space.neighbours(architecture) if near.key in self._inside]

    def crossover(self, mother: A, father: A, rng: Generator) -> A:
        for _ in range(SPARSE_ATTEMPTS):
            child = self._space.crossover(mother, father, rng)
            if child.key in self._inside:
                return cast(A, child)
        return mother

    def _inside_or_sampled(self, draw: Any, rng: Generator) -> A:
        for _ in range(SPARSE_ATTEMPTS):
            drawn = draw()
            if drawn.key in self._inside:
                return cast(A, drawn)
        return self.sample(rng)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._space, name)


SPARSE_ATTEMPTS = 100
"""How often a move in a restricted space is repeated."""


class _RestrictedCode(Generic[A]):
    """A code that decodes to the architectures that are left."""

    def __init__(self, code: Code[A], inside: frozenset[int]) -> None:
        self._code, self._inside = code, inside
        self.choices, self.names = code.choices, code.names

    def encode(self, architecture: A) -> NDArray[np.float64]:
        return self._code.encode(architecture)

    def decode(self, vector: ArrayLike) -> A | None:
        decoded = self._code.decode(vector)
        return None if decoded is None or decoded.key not in self._inside else decoded


def restricted(space: AnySpace, keys: ArrayLike) -> AnySpace:
    """Returns the space with only these keys; the space itself if it has no others."""
    keys = np.asarray(keys)
    if space.size is not None and len(keys) == space.size:
        return space
    own = getattr(space, "restricted", None)
    made = own(keys) if own is not None else Restricted(space, keys)
    return cast(AnySpace, made)


def all_keys(space: AnySpace, who: str) -> Keys:
    """Returns the keys of a space that can be listed. Raises `ArchsweepError`, naming ``who`` needs them."""
    require(space, Listed, who)
    return cast(Any, space).keys()  # type: ignore[no-any-return]


def sampled_keys(space: AnySpace, count: int, rng: Generator) -> Keys:
    """Returns the keys of so many architectures, none twice where the space can be listed."""
    if offers(space, Listed):
        keys = cast(Any, space).keys()
        return np.asarray(rng.choice(keys, min(count, len(keys)), replace=False))
    return np.unique([space.sample(rng).key for _ in range(count)])
