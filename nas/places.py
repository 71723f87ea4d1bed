"""Choices of a user's space: reading their definition, conditions between them, counting and drawing networks."""

from __future__ import annotations

import math
import re
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nas.errors import ArchsweepError

Scalar = str | int | float | bool
NAME = re.compile(r"[A-Za-z][\w.-]*")
OPTIONS = ("values", "repeat", "when")
OFF = -1
"""The digit of a choice that is not made."""
MOST_CASES = 2**18
"""Limit on the cases that are enumerated to count networks."""
MOST_COPIES = 1_000


@dataclass(frozen=True, slots=True)
class Place:
    """A choice to be made.

    base: its name without the number of a repetition. when: earlier places, each with the digits that it must have for
    this choice to be made. A digit is the position of a value among ``values``.
    """

    name: str
    base: str
    values: tuple[Scalar, ...]
    when: tuple[tuple[int, frozenset[int]], ...] = ()

    def is_on(self, digits: Sequence[int] | Mapping[int, int]) -> bool:
        """Returns whether the choice is made, given the digits of the earlier ones."""
        return all(digits[other] in allowed for other, allowed in self.when)

    def digit(self, value: object) -> int | None:
        """Returns the position of a JSON value, None if it is no choice. 3.0 is 3; true is not 1."""
        for digit, own in enumerate(self.values):
            if own == value and isinstance(own, bool) == isinstance(value, bool):
                return digit
        return None

    def digit_of_text(self, text: str) -> int | None:
        """Returns the position of the value that is written like this, None if there is none."""
        return next((digit for digit, value in enumerate(self.values) if text_of(value) == text), None)


def text_of(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def settle(places: Sequence[Place], digits: Sequence[int], rng: Generator | None = None) -> list[int]:
    """Returns the digits with `OFF` for choices that are not made.

    rng: draws choices that are made but `OFF` in ``digits``; without it there must be none.
    """
    settled: list[int] = []
    for place, digit in zip(places, digits, strict=True):
        if place.when and not place.is_on(settled):
            digit = OFF
        elif digit == OFF and rng is not None:
            digit = int(rng.random() * len(place.values))
        settled.append(digit)
    return settled


# How a definition is read.


def parse(definition: Mapping[str, Any]) -> tuple[list[Place], dict[str, Place | Scalar]]:
    """Returns the places and, by name in the order of the definition, the place or fixed value of each name.

    Raises `ArchsweepError` naming the choice that is wrong.
    """
    places: list[Place] = []
    layout: dict[str, Place | Scalar] = {}
    for name, given in definition.items():
        if not NAME.fullmatch(name):
            raise ArchsweepError(f"choice {name!r}: a name is a letter, then letters, digits, '_', '.' or '-'")
        parts = [(name, given)] if _is_scalar(given) else [(place.name, place) for place in _read(name, given, places)]
        for own_name, part in parts:
            if own_name in layout:
                raise ArchsweepError(f"choice {own_name!r} is defined twice")
            layout[own_name] = part
        places += [part for _, part in parts if isinstance(part, Place)]
    return places, layout


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _read(name: str, given: Any, earlier: Sequence[Place]) -> list[Place]:
    """Returns the places of one name."""
    options = given if isinstance(given, dict) else {"values": given}
    unknown = [option for option in options if option not in OPTIONS]
    if unknown or "values" not in options:
        raise ArchsweepError(
            f"choice {name!r}: {f'unknown option {unknown[0]!r}' if unknown else 'no values'}; "
            "expected a value, a list of values, or { values = [...], repeat = ..., when = { ... } }"
        )
    values, when = _values(name, options["values"]), options.get("when", {})
    if not isinstance(when, dict):
        raise ArchsweepError(f"choice {name!r}: when = {when!r}; expected e.g. {{ depth = [2, 4] }}")
    if "repeat" not in options:
        return [Place(name, name, values, _conditions(name, when, "", earlier))]
    return [
        Place(f"{name}_{copy}", name, values, counted + _conditions(name, when, f"_{copy}", earlier))
        for copy, counted in enumerate(_copies(name, options["repeat"], earlier))
    ]


def _values(name: str, given: Any) -> tuple[Scalar, ...]:
    if not isinstance(given, list) or not given or not all(_is_scalar(value) for value in given):
        raise ArchsweepError(f"choice {name!r}: {given!r}; expected a list of strings, numbers, true or false")
    seen: set[object] = set()
    for value in given:
        forms = {text_of(value), (isinstance(value, bool), value)}  # what names and JSON tell apart
        if forms & seen:
            raise ArchsweepError(f"choice {name!r}: two values are written {text_of(value)}")
        seen |= forms
    return tuple(given)


def _copies(name: str, repeat: Any, earlier: Sequence[Place]) -> list[tuple[tuple[int, frozenset[int]], ...]]:
    """Returns the condition, if any, under which each copy of a repeated choice is made."""
    index = next((index for index, place in enumerate(earlier) if place.name == repeat), None)
    lengths = (repeat,) if index is None else earlier[index].values
    if not all(type(length) is int and 0 <= length <= MOST_COPIES for length in lengths) or lengths == (0,):
        raise ArchsweepError(
            f"choice {name!r}: repeat = {repeat!r}; expected a number from 1 to {MOST_COPIES:,}, "
            "or the name of an earlier choice of such numbers"
        )
    copies = range(max(map(int, lengths)))
    if index is None:
        return [() for _ in copies]
    enough = [frozenset(digit for digit, length in enumerate(lengths) if int(length) > copy) for copy in copies]
    return [((index, digits),) if earlier[index].when or len(digits) < len(lengths) else () for digits in enough]


def _conditions(
    name: str, when: Mapping[str, Any], suffix: str, earlier: Sequence[Place]
) -> tuple[tuple[int, frozenset[int]], ...]:
    """Returns the conditions of ``when``; a copy of a repeated choice depends on the same copy of another one."""
    indices = {place.name: index for index, place in enumerate(earlier)}
    return tuple(
        _condition(name, other, given, indices.get(other, indices.get(f"{other}{suffix}")), earlier)
        for other, given in when.items()
    )


def _condition(
    name: str, other: str, given: Any, index: int | None, earlier: Sequence[Place]
) -> tuple[int, frozenset[int]]:
    if index is None:
        known = ", ".join(place.name for place in earlier) or "none"
        raise ArchsweepError(f"choice {name!r}: when names {other!r}, which is no earlier choice; these are: {known}")
    digits = [earlier[index].digit(value) for value in (given if isinstance(given, list) else [given])]
    if not digits or None in digits:
        choices = ", ".join(map(text_of, earlier[index].values))
        raise ArchsweepError(f"choice {name!r}: when {other} = {given!r}; choose from {choices}")
    return index, frozenset(digit for digit in digits if digit is not None)


# How networks are counted and drawn.


@dataclass(frozen=True, slots=True)
class Case:
    """Digits of the places that others depend on, and which of the other places of a component are then made."""

    digits: dict[int, int]
    free: list[int]
    networks: int


class Component:
    """Places that depend on each other, in all cases of those that decide whether others are made."""

    def __init__(self, places: Sequence[Place], members: Sequence[int]) -> None:
        self._counts = {index: len(places[index].values) for index in members}
        deciding = sorted({other for index in members for other, _ in places[index].when})
        self.cases = [
            self._case(digits, [i for i in members if i not in deciding and places[i].is_on(digits)])
            for digits in _cases(places, deciding)
        ]
        self._cumulative = list(accumulate(case.networks for case in self.cases))
        self.total = self._cumulative[-1]

    def _case(self, digits: dict[int, int], free: list[int]) -> Case:
        return Case(digits, free, math.prod(self._counts[index] for index in free))

    def draw(self, rng: Generator) -> Iterator[tuple[int, int]]:
        """Yields places that are made, with digits, so that all networks are equally likely."""
        case = self.cases[-1]
        if len(self.cases) > 1:
            # `hi`: the product may be rounded up to the total
            case = self.cases[bisect(self._cumulative, rng.random() * self.total, hi=len(self.cases) - 1)]
        yield from case.digits.items()
        for index, draw in zip(case.free, rng.random(len(case.free)).tolist(), strict=True):
            yield index, int(draw * self._counts[index])

    def keys(self, strides: Sequence[int]) -> NDArray[np.int64]:
        """Returns this component's part of the keys of all networks, int64 (total,)."""
        parts = []
        for case in self.cases:
            base = sum(max(digit, 0) * strides[index] for index, digit in case.digits.items())
            steps = [np.arange(self._counts[index]) * strides[index] for index in case.free]
            parts.append(reduce(outer_sum, steps, np.array([base])))
        return np.concatenate(parts)


def outer_sum(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the sums of all pairs, int64 (one x other,)."""
    return np.add.outer(one, other).ravel()


def _cases(places: Sequence[Place], deciding: Sequence[int]) -> list[dict[int, int]]:
    cases: list[dict[int, int]] = [{}]
    for index in deciding:
        counts = [len(places[index].values) if places[index].is_on(case) else 0 for case in cases]
        if sum(counts) > MOST_CASES:
            raise ArchsweepError(f"more than {MOST_CASES:,} cases decide which choices are made; give fewer conditions")
        cases = [
            case | {index: digit}
            for case, count in zip(cases, counts, strict=True)
            for digit in (range(count) if count else (OFF,))
        ]
    return cases


def components(places: Sequence[Place]) -> list[Component]:
    """Returns places grouped by what depends on what; those that depend on nothing are one component."""
    groups = [{index} for index, _ in enumerate(places)]
    for index, place in enumerate(places):
        for other, _ in place.when:
            joined = groups[index] | groups[other]
            for member in joined:
                groups[member] = joined
    alone = {index for index, group in enumerate(groups) if len(group) == 1}
    linked = {min(group): group for group in groups if len(group) > 1}
    return [Component(places, sorted(group)) for group in ([alone] if alone else []) + list(linked.values())]
