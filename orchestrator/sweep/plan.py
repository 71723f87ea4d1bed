"""What a sweep is told: a search's configuration, and axes along which it varies.

    trials = 300                          # everything outside [sweep] is a search, as in `archsweep search FILE`

    [sweep]
    seeds = 20                            # 0 to 19, or a list; every arm is searched with each of them

    [sweep.axes]                          # keys of a search, each with the values that it takes
    searcher = ["random", { name = "evolution", variant = "paper", label = "evolution, paper" }]
    "pool.workers" = [1, 64]

A value that is a table is merged over the section of its name, so an empty one leaves the section as it is; a string
for a section of `SHORT` sets that key. ``label`` is what report and tracking call a value. An axis may be any key of a
search, so what a search learns later is an axis, too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from nas.errors import ArchsweepError
from orchestrator.search.search import Search
from orchestrator.settings.config import MAIN, Config, Section, checked, parse
from orchestrator.settings.values import merged, nested, without_none

SHORT = {section: MAIN[section] for section in ("searcher", "evaluator", "filter")}
"""Section -> the key that a bare string sets, and that says enough of it in a label."""
MOST_SEEDS = 100_000


class StopConfig(Section):
    """When a sweep has seen enough, see `orchestrator.statistics.decided`.

    confidence: of all intervals together. margin: percentage points of regret that do not matter. first: seeds before
    the first look; every further look doubles them.
    """

    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    margin: float = Field(default=0.05, gt=0)
    first: int = Field(default=10, ge=3)


class SweepConfig(Section):
    """The axes of a sweep and what it is called. name: of its run in MLflow; None means that of its folder."""

    name: str | None = Field(default=None, min_length=1)
    seeds: list[Annotated[int, Field(ge=0, lt=1 << 63)]] = Field(default=[*range(10)])
    axes: dict[str, list[Any]] = Field(default={})
    stop: StopConfig | None = None

    @field_validator("seeds", mode="before")
    @classmethod
    def _counted(cls, seeds: Any) -> Any:
        counted = isinstance(seeds, int) and not isinstance(seeds, bool)
        count = seeds if counted else len(seeds) if isinstance(seeds, list) else 1
        if not 1 <= count <= MOST_SEEDS:
            raise PydanticCustomError(
                "seeds", "{count} are not 1 to {most}", {"count": f"{count:,}", "most": f"{MOST_SEEDS:,}"}
            )
        return [*range(seeds)] if counted else seeds

    @field_validator("seeds")
    @classmethod
    def _once_each(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise PydanticCustomError("repeated", "a seed stands there twice")
        return seeds

    @field_validator("axes")
    @classmethod
    def _not_empty(cls, axes: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for key, values in axes.items():
            if not values:
                raise PydanticCustomError("axis", "{key} has no value to try", {"key": key})
            if key == "seed" or key.startswith("tracking"):
                raise PydanticCustomError("axis", "{key} is no axis", {"key": key})
        return axes


@dataclass(frozen=True)
class Group:
    """The arms that differ in nothing but the seed: what a report compares.

    slug: names its folder; it holds a digest of the configuration, so that other settings are another folder.
    settings: the axes' values, by axis, as they are shown.
    """

    label: str
    slug: str
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Arm:
    """One search of a sweep. folder: below the sweep's."""

    group: Group
    config: Config

    @property
    def folder(self) -> str:
        return arm_folder(self.group.slug, self.config.seed)


def arm_folder(slug: str, seed: int) -> str:
    """Where the arm of a group and a seed is, below the sweep's folder."""
    return f"arms/{slug}/{seed}"


ANY_ARM = "arms/*/*"
"""The pattern of all that `arm_folder` says."""


@dataclass(frozen=True)
class SweepPlan:
    """A sweep, checked: what it was told, its groups, and every arm, the first seed of every group first.

    first: the first group's configuration, tracked; what no axis names is the same for all.
    """

    values: Mapping[str, Any]
    sweep: SweepConfig
    first: Config
    groups: tuple[Group, ...]
    arms: tuple[Arm, ...]

    def to_toml(self) -> str:
        """The file that `plan` reads back."""
        values = dict(self.values)
        if "table" in values:
            values["table"] = str(Path(values["table"]).expanduser().absolute())
        values["sweep"] = without_none(self.sweep.model_dump(mode="json"))
        return tomli_w.dumps(values)


def plan(values: Mapping[str, Any], where: str, folder: Path) -> SweepPlan:
    """The sweep that these tables describe, every arm's configuration checked, to run in a folder.

    Raises `ArchsweepError`.
    """
    base = {key: value for key, value in values.items() if key != "sweep"}
    sweep = checked(SweepConfig, values.get("sweep", {}), f"{where}: [sweep]")
    untracked = merged(base, {"tracking": {"enabled": False}})  # the sweep tracks its arms itself
    combinations = list(_combinations(sweep.axes, base))
    groups, configs = [], []
    for labels, over in combinations:
        label = ", ".join(labels.values()) or "search"
        at = f"{where}: arm {label!r}"
        config = _parsed(merged(untracked, over), at)
        digest = _digest(Search(config, folder).identity)  # which finds what else may be wrong
        groups.append(Group(label, f"{_slug(label)}-{digest}", labels))
        configs.append(config)
    if len({group.label for group in groups}) < len(groups):
        raise ArchsweepError(f"{where}: two arms have the same name; give their values a label")
    arms = tuple(
        Arm(group, config.model_copy(update={"seed": seed}))
        for seed in sweep.seeds
        for group, config in zip(groups, configs, strict=True)
    )
    first = _parsed(merged(base, combinations[0][1]), where)
    return SweepPlan(base, sweep, first, tuple(groups), arms)


def _parsed(values: Mapping[str, Any], where: str) -> Config:
    """An arm's configuration. Arms run on Ray as a whole, so their own trials do not: live training is inline."""
    if values.get("evaluator", {}).get("kind") in ("train", "pretrained-nb101"):  # no table, though other arms have one
        values = {key: value for key, value in values.items() if key != "table"}
    config = parse(values, where)
    if config.pool.kind != "ray":
        return config
    if "kind" in values.get("pool", {}):
        raise ArchsweepError(f"{where}: a sweep runs whole arms on Ray, with --address; an arm's own pool is no Ray")
    return parse(merged({"pool": {"kind": "inline", "workers": 1}}, values), where)


def _combinations(
    axes: Mapping[str, list[Any]], base: Mapping[str, Any]
) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """(axis -> label, tables to lay over the search) of every point of the product."""
    for values in product(*axes.values()):
        labels: dict[str, str] = {}
        over: dict[str, Any] = {}
        for key, value in zip(axes, values, strict=True):
            labels[key], setting = _labelled(key, value, key in base)
            over = over if setting == {} else merged(over, nested(key, setting))
        yield labels, over


def _labelled(key: str, value: Any, there: bool) -> tuple[str, Any]:
    """What a value is called, and what it sets. there: whether the search has the section already."""
    naming = SHORT.get(key)
    if not isinstance(value, Mapping):
        return (str(value), {naming: value}) if naming else (f"{key.rpartition('.')[2]} {value}", value)
    rest = {name: setting for name, setting in value.items() if name != "label"}
    shown = [str(rest[naming])] if naming in rest else [key if rest or there else f"no {key}"]
    shown += [f"{name} {setting}" for name, setting in rest.items() if name != naming]
    return str(value.get("label", " ".join(shown))), rest


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:60]


def _digest(identity: Mapping[str, Any]) -> str:
    """Of all that the results of a search may depend on, but for its seed."""
    whole = {key: value for key, value in identity.items() if key != "seed"}
    return hashlib.blake2b(json.dumps(whole, sort_keys=True).encode(), digest_size=4).hexdigest()
