"""What is measured of an architecture: names of metrics, their units, which way is better; constraints on them.

A name is ``METRIC`` or ``METRIC/WHERE``, e.g. ``latency_ms/pixel3``. Any name is allowed; those that are registered
here, by what stands before the slash, have a unit and a direction.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from nas.errors import ArchsweepError


class Direction(StrEnum):
    """Which way of a metric is better."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


@dataclass(frozen=True, slots=True)
class Metric:
    """unit: as shown; a fraction is shown in percent. direction: which way is better, None if that is not said."""

    unit: str
    direction: Direction | None


FRACTION = "fraction"
UP, DOWN = Direction.MAXIMIZE, Direction.MINIMIZE
METRICS: Mapping[str, Metric] = {
    "train_accuracy": Metric(FRACTION, UP),
    "validation_accuracy": Metric(FRACTION, UP),
    "test_accuracy": Metric(FRACTION, UP),
    "top5_accuracy": Metric(FRACTION, UP),
    "accuracy": Metric(FRACTION, UP),
    "ssim": Metric("", UP),
    "loss": Metric("nats", DOWN),
    "perplexity": Metric("", DOWN),
    "parameters": Metric("", DOWN),
    "macs": Metric("", DOWN),
    "flops": Metric("", DOWN),
    "training_seconds": Metric("s", DOWN),
    "latency_ms": Metric("ms", DOWN),
    "energy_mj": Metric("mJ", DOWN),
    "memory_mib": Metric("MiB", DOWN),
    "throughput": Metric("images/s", UP),
}
UNKNOWN = Metric("", None)
NAME = re.compile(r"[A-Za-z][\w.+-]*(/[\w.+-]+)*")


def metric(name: str) -> Metric:
    """Returns what is known of a metric. Raises `ArchsweepError` on what is no name."""
    if not NAME.fullmatch(name):
        raise ArchsweepError(f"{name!r} is no name of a metric; expected e.g. validation_accuracy or latency_ms/pixel3")
    return METRICS.get(name.partition("/")[0], UNKNOWN)


def direction_of(name: str, given: Direction | str | None = None) -> Direction:
    """Returns which way of a metric is better. Raises `ArchsweepError` if neither the registry nor ``given`` says."""
    if given is not None:
        return Direction(given)
    known = metric(name).direction
    if known is None:
        near = get_close_matches(name, METRICS, 1)
        hint = f"did you mean {near[0]!r}? Else say" if near else "say"
        raise ArchsweepError(f"nothing is known of metric {name!r}; {hint} maximize or minimize")
    return known


def signed(value: float, direction: Direction) -> float:
    """Returns a value of which more is better."""
    return value if direction is Direction.MAXIMIZE else -value


def shown(name: str, value: float) -> str:
    """Returns a value as people read it, with its unit."""
    unit = metric(name).unit
    if unit == FRACTION:
        return f"{value:.3%}".replace("%", " %")
    text = f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 1_000 else f"{value:.6g}"
    return f"{text} {unit}".strip()


@dataclass(frozen=True, slots=True)
class Constraint:
    """A bound on a metric: ``metric <= bound`` or ``metric >= bound``."""

    metric: str
    upper: bool
    bound: float

    def violation(self, metrics: Mapping[str, float]) -> float:
        """Returns by how much metrics miss the bound, relative to it; 0 if they keep it, infinity if unknown."""
        value = metrics.get(self.metric)
        if value is None or math.isnan(value):
            return math.inf
        excess = value - self.bound if self.upper else self.bound - value
        return max(0.0, excess) / (abs(self.bound) or 1.0)

    def __str__(self) -> str:
        return f"{self.metric}{'<=' if self.upper else '>='}{self.bound:.12g}"


CONSTRAINT = re.compile(r"\s*([^<>=\s]+)\s*(<=|>=|≤|≥)\s*(\S+)\s*")


def parse_constraint(text: str) -> Constraint:
    """Returns the constraint that ``METRIC<=NUMBER`` or ``METRIC>=NUMBER`` says. Raises `ArchsweepError`."""
    match = CONSTRAINT.fullmatch(text)
    try:
        bound = float(match[3]) if match else math.nan
    except ValueError:
        bound = math.nan
    if match is None or not math.isfinite(bound):
        raise ArchsweepError(
            f"constraint {text!r}: expected METRIC<=NUMBER or METRIC>=NUMBER, e.g. latency_ms/pixel3<=10"
        )
    metric(match[1])
    return Constraint(match[1], match[2] in ("<=", "≤"), bound)


def violation(constraints: Sequence[Constraint], metrics: Mapping[str, float]) -> float:
    """Returns the summed relative violations of constraints; 0 for a feasible architecture."""
    return sum(constraint.violation(metrics) for constraint in constraints)
