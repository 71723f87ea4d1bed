"""A space of named choices that a user makes up, in Python or in a few lines of TOML."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import reduce
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from nas.errors import ArchsweepError
from nas.moves import VectorMoves
from nas.places import OFF, Place, Scalar, components, outer_sum, parse, settle, text_of
from nas.space import Diagram, Edge, Keys, Node

LISTABLE = 2**24
"""The largest space whose keys are listed."""
LARGEST_KEY = 2**63 - 1
PLAIN = "!\"#$&'()*+/:;<>?@[]^`{|}"
"""Signs that stand for themselves in names of networks; white space, comma, equals and percent signs do not."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A network as the values of its names, chosen and fixed ones, in the order of the space's definition."""

    key: int
    items: tuple[tuple[str, Scalar], ...]

    @property
    def values(self) -> dict[str, Scalar]:
        return dict(self.items)

    def __getitem__(self, name: str) -> Scalar:
        """Returns the value of a name. Raises `KeyError` on a name that this network does not have."""
        return self.values[name]

    def to_json(self) -> dict[str, Scalar]:
        return self.values


class ChoiceCode:
    """A network as the position of each choice's value; 0 for a choice that is not made."""

    def __init__(self, space: Choices) -> None:
        self._space = space
        self.choices = tuple(len(place.values) for place in space.places)
        self.names = tuple(place.name for place in space.places)

    def encode(self, architecture: Choice) -> NDArray[np.float64]:
        return np.array(self._space.digits(architecture.key), np.float64)

    def decode(self, vector: ArrayLike) -> Choice:
        values = vector if isinstance(vector, list) else np.asarray(vector).tolist()
        if len(values) != len(self.choices):
            raise ArchsweepError(f"a vector of {len(values)} values; this space has {len(self.choices)} choices")
        for value, count, name in zip(values, self.choices, self.names, strict=True):
            if not 0 <= value < count:
                raise ArchsweepError(f"{name}: value number {value}; expected 0 to {count - 1}")
        return self._space.make([int(value) for value in values])


class Choices(VectorMoves[Choice]):
    """Named choices: ``Choices(kernel=[3, 5], depth=[1, 2, 4], stem=32)``.

    A list is a choice, a single value is fixed, and a table says more. In TOML::

        [space]
        name = "choices"
        stem = 32
        depth = [1, 2, 4]
        layer = { values = ["identity", "MB3_K3", "MB6_K5"], repeat = 8 }     # layer_0, ..., layer_7
        kernel = { values = [3, 5], when = { depth = [2, 4] } }               # only if depth is 2 or 4
        width = { values = [16, 32], repeat = "depth" }                       # as many as depth says
        size = { values = [3, 5], repeat = 8, when = { layer = "MB3_K3" } }   # size_0 if layer_0 is MB3_K3, ...

    Values are strings, numbers, true or false; `when` and `repeat` name earlier choices. Networks are drawn uniformly.

    A choice that is not made makes no difference: equal networks have equal keys. A key is the positions of the chosen
    values as the digits of a number, the first one most significant; keys of a space with conditions have gaps. The
    order of names and values is therefore a part of the definition.
    """

    name = "choices"

    def __init__(self, /, **choices: Any) -> None:
        self._definition = {name: _plain(given) for name, given in choices.items()}
        self.places, self._layout = parse(self._definition)
        if not self.places:
            raise ArchsweepError("a space of choices needs a choice, e.g. kernel = [3, 5]")
        self._radices = [len(place.values) for place in self.places]
        combinations = math.prod(self._radices)
        if combinations > LARGEST_KEY:
            raise ArchsweepError(
                f"10^{math.log10(combinations):.0f} combinations of choices; at most 2^63 - 1 have keys"
            )
        self._strides = [math.prod(self._radices[index + 1 :]) for index, _ in enumerate(self.places)]
        self._conditional = any(place.when for place in self.places)
        self._components = components(self.places)
        total = math.prod(component.total for component in self._components)
        self.size = total if total <= LISTABLE else None
        self.codes = {"choices": ChoiceCode(self)}
        self._items = self._items_by_digit()

    def _items_by_digit(self) -> list[tuple[int, tuple[tuple[str, Scalar], ...]]]:
        """Returns the place of each name and its items by digit; a fixed name has digit 0 of a place after the last."""
        indices = {place.name: index for index, place in enumerate(self.places)}
        return [
            (indices[name], tuple((name, value) for value in part.values))
            if isinstance(part, Place)
            else (len(self.places), ((name, part),))
            for name, part in self._layout.items()
        ]

    def __repr__(self) -> str:
        return f"Choices({', '.join(f'{name}={given!r}' for name, given in self._definition.items())})"

    @property
    def definition(self) -> Mapping[str, Any]:
        return self._definition

    def keys(self) -> Keys:
        """Returns all keys, ascending; only where ``size`` is known."""
        assert self.size is not None, "`nas.space.offers` says whether a space can be listed"
        return np.sort(reduce(outer_sum, (component.keys(self._strides) for component in self._components)))

    def make(self, digits: Sequence[int]) -> Choice:
        """Returns the network of the digits of all choices; of those that are not made, any digit does."""
        settled = settle(self.places, digits) if self._conditional else digits
        key = sum([digit * stride for digit, stride in zip(settled, self._strides, strict=True) if digit > 0])
        ends = [*settled, 0]
        return Choice(key, tuple([items[ends[place]] for place, items in self._items if ends[place] != OFF]))

    def digits(self, key: int) -> list[int]:
        """Returns the digits of a key, 0 for choices that are not made."""
        return [key // stride % radix for stride, radix in zip(self._strides, self._radices, strict=True)]

    def at(self, key: int) -> Choice:
        key = int(key)
        network = self.make(self.digits(key))
        if network.key != key:
            raise ArchsweepError(f"no network of this space has key {key}")
        return network

    def __contains__(self, architecture: object) -> bool:
        return isinstance(architecture, Choice) and architecture == self.make(self.digits(architecture.key))

    def from_json(self, value: Any) -> Choice:
        """Returns the network of ``{"kernel": 3, ...}``; fixed names may be left out. Raises `ArchsweepError`."""
        if not isinstance(value, dict):
            raise ArchsweepError(f'{value!r} is no network; expected {{"{self.places[0].name}": ..., ...}}')
        return self._read(value, Place.digit)

    def named(self, text: str) -> Choice:
        """Returns the network of ``kernel=3,depth=1``. Raises `ArchsweepError`."""
        pairs = [pair.partition("=") for pair in text.split(",")]
        if not all(sign for _, sign, _ in pairs):
            raise ArchsweepError(f"{text!r} names no network; expected {self.places[0].name}=...,...")
        return self._read({name.strip(): unquote(value.strip()) for name, _, value in pairs}, Place.digit_of_text)

    def name_of(self, architecture: Choice) -> str:
        """Returns ``kernel=3,depth=1``, without fixed names; white space and signs like a comma as ``%20``."""
        return ",".join(
            f"{name}={quote(text_of(value), PLAIN)}"
            for name, value in architecture.items
            if isinstance(self._layout[name], Place)
        )

    def _read(self, given: Mapping[str, Any], digit_in: Callable[[Place, Any], int | None]) -> Choice:
        for name in given:
            if name not in self._layout:
                near = get_close_matches(name, self._layout, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(self._layout)}"
                raise ArchsweepError(f"unknown choice {name!r}; {hint}")
            part = self._layout[name]
            if not isinstance(part, Place) and digit_in(Place(name, name, (part,)), given[name]) is None:
                raise ArchsweepError(f"{name} = {given[name]!r}; it is fixed to {text_of(part)}")
        digits: list[int] = []
        for place in self.places:
            digits.append(self._digit_given(place, place.is_on(digits), given, digit_in))
        return self.make(digits)

    def _digit_given(
        self, place: Place, on: bool, given: Mapping[str, Any], digit_in: Callable[[Place, Any], int | None]
    ) -> int:
        if not on:
            if place.name in given:
                raise ArchsweepError(
                    f"{place.name} = {given[place.name]!r}; it is only chosen if {self._reason(place)}"
                )
            return OFF
        choices = ", ".join(map(text_of, place.values))
        if place.name not in given:
            raise ArchsweepError(f"{place.name} is missing; choose from {choices}")
        digit = digit_in(place, given[place.name])
        if digit is None:
            raise ArchsweepError(f"{place.name} = {given[place.name]!r}; choose from {choices}")
        return digit

    def _reason(self, place: Place) -> str:
        conditions = []
        for index, digits in place.when:
            other = self.places[index]
            conditions.append(
                f"{other.name} is {' or '.join(text_of(other.values[digit]) for digit in sorted(digits))}"
            )
        return " and ".join(conditions)

    # Moves. A choice that a move switches on has no digit yet, so it is drawn.

    def sample(self, rng: Generator) -> Choice:
        digits = [OFF] * len(self.places)
        for component in self._components:
            for index, digit in component.draw(rng):
                digits[index] = digit
        return self.make(digits)

    def mutate(self, architecture: Choice, rng: Generator, rate: float = 1.0) -> Choice:
        return self._completed(architecture, super().mutate(architecture, rng, rate), rng)

    def mutate_once(self, architecture: Choice, rng: Generator) -> Choice:
        return self._completed(architecture, super().mutate_once(architecture, rng), rng)

    def _completed(self, parent: Choice, child: Choice, rng: Generator) -> Choice:
        """Draws the choices that the child makes and its parent does not."""
        if not self._conditional or parent.key == child.key:
            return child
        before = self._settled(parent)
        digits = [digit if old != OFF else OFF for digit, old in zip(self.digits(child.key), before, strict=True)]
        return self.make(settle(self.places, digits, rng))

    def crossover(self, mother: Choice, father: Choice, rng: Generator) -> Choice:
        """Takes each choice from either parent, from the one that makes it if the other does not."""
        own = (rng.random(len(self.places)) < 0.5).tolist()
        digits = [
            m if f == OFF or (keep and m != OFF) else f
            for m, f, keep in zip(self._settled(mother), self._settled(father), own, strict=True)
        ]
        return self.make(settle(self.places, digits, rng))

    def _settled(self, architecture: Choice) -> list[int]:
        return settle(self.places, self.digits(architecture.key))

    # What models and pictures read.

    def features(self, keys: Keys) -> NDArray[np.float32]:
        """Returns the code with a column for each value, float32 (architectures, features).

        A choice of two values is one column. The columns of a choice that is not made are 0; if there are two values,
        it has two columns, so that this differs from both.
        """
        keys = np.asarray(keys, np.int64)
        digits = keys[:, None] // np.array(self._strides) % np.array(self._radices)
        on = np.ones(digits.shape, bool)
        columns = []
        for index, place in enumerate(self.places):
            for other, allowed in place.when:
                on[:, index] &= on[:, other] & np.isin(digits[:, other], list(allowed))
            digit, count = digits[:, index, None], len(place.values)
            column = digit if count <= 2 and not place.when else (digit == np.arange(count)) & on[:, index, None]
            columns.append(column.astype(np.float32))
        return np.concatenate(columns, 1)

    def diagram(self, architecture: Choice) -> Diagram:
        """Returns a chain of the choices and fixed values."""
        nodes = [Node(f"{name} {text_of(value)}", self._kind(name, value)) for name, value in architecture.items]
        return Diagram(tuple(nodes), tuple(Edge(index, index + 1) for index in range(len(nodes) - 1)))

    def _kind(self, name: str, value: Scalar) -> str:
        part = self._layout[name]
        return f"{part.base} {text_of(value)}" if isinstance(part, Place) else name


def _plain(given: Any) -> Any:
    """Returns tuples as lists, as JSON has them."""
    if isinstance(given, Mapping):
        return {name: _plain(value) for name, value in given.items()}
    return [_plain(value) for value in given] if isinstance(given, list | tuple) else given
