"""What a sweep consists of and how far it is, read from its folder: a fold of its arms' results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from nas.errors import DataError
from nas.files import replacing
from orchestrator.records.folder import JOURNAL, RESULT
from orchestrator.statistics import Losses, decided, looks
from orchestrator.sweep.arm import Outcome, failure_file, is_done
from orchestrator.sweep.plan import ANY_ARM, Group, StopConfig, SweepPlan, arm_folder

MANIFEST = "sweep.json"


@dataclass(frozen=True)
class Manifest:
    """What a sweep consists of, for who looks at its folder. stop: None if it runs to its last seed."""

    groups: tuple[Group, ...]
    seeds: tuple[int, ...]
    stop: StopConfig | None

    @classmethod
    def of(cls, plan: SweepPlan) -> Manifest:
        return cls(plan.groups, tuple(plan.sweep.seeds), plan.sweep.stop)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Raises `DataError` if the folder holds no sweep."""
        try:
            values = json.loads((folder / MANIFEST).read_bytes())
            stop = values["stop"] and StopConfig(**values["stop"])
            return cls(tuple(Group(**group) for group in values["groups"]), tuple(values["seeds"]), stop)
        except FileNotFoundError:
            raise DataError(f"{folder} holds no sweep; give the folder of one, made by `archsweep sweep`") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder / MANIFEST} is damaged ({error!r}); run the sweep again") from None

    def write(self, folder: Path) -> None:
        values = {
            "groups": [asdict(group) for group in self.groups],
            "seeds": self.seeds,
            "stop": self.stop and self.stop.model_dump(),
        }
        with replacing(folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def begun_arms(folder: Path) -> list[Path]:
    """The folders of a sweep's arms that have a journal; none if it is no sweep's."""
    return sorted(path.parent for path in folder.glob(f"{ANY_ARM}/{JOURNAL}"))


@dataclass
class Results:
    """What is known of the arms so far. known_regret: whether all that have a result know it. failures: by folder."""

    manifest: Manifest
    known_regret: bool = True
    done: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)
    _regrets: Losses = field(init=False, repr=False)
    _misses: Losses = field(init=False, repr=False)
    _places: dict[str, tuple[int, int]] = field(init=False, repr=False)
    _looked: dict[int, bool] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._places = {arm: divmod(place, len(self.manifest.groups)) for place, arm in enumerate(self.arms())}
        self._regrets, self._misses = np.full((2, len(self.manifest.seeds), len(self.manifest.groups)), np.nan)

    @classmethod
    def read(cls, folder: Path, manifest: Manifest) -> Results:
        """What a folder holds."""
        results = cls(manifest)
        for arm in results.arms():
            path = folder / arm
            if is_done(path):
                found = json.loads((path / RESULT).read_bytes())
                results.add(arm, Outcome(found["trials"], found["best_objective"], found["regret"]))
            elif failure_file(path).is_file():
                results.failures[arm] = failure_file(path).read_text(encoding="utf-8").partition("\n")[0]
        return results

    def arms(self) -> Iterator[str]:
        """The folder of every arm, the first seed of every group first."""
        return (arm_folder(group.slug, seed) for seed in self.manifest.seeds for group in self.manifest.groups)

    def add(self, arm: str, outcome: Outcome) -> None:
        """Hears what became of an arm."""
        self.failures.pop(arm, None)
        if outcome.failure is not None:
            self.failures[arm] = outcome.failure
            return
        self.done.add(arm)
        if outcome.best_objective is not None:
            place = self._places[arm]
            self._misses[place] = 1 - outcome.best_objective
            self.known_regret &= outcome.regret is not None
            if outcome.regret is not None:
                self._regrets[place] = outcome.regret

    @property
    def losses(self) -> Losses:
        """(seeds, groups), see `orchestrator.statistics`: regrets if all are known, else 1 - the best objectives."""
        return self._regrets if self.known_regret else self._misses

    @property
    def enough(self) -> int | None:
        """After how many seeds the searchers were told apart, or found the same; None if that is open.

        A function of the seeds up to each look, not of what else has ended by now, so that a sweep that was
        interrupted says the same.
        """
        stop = self.manifest.stop
        if stop is None:
            return None
        due = looks(stop.first, len(self.manifest.seeds))
        ended = [arm in self.done or arm in self.failures for arm in self._places]
        for seeds in due:
            if not all(ended[: seeds * len(self.manifest.groups)]):
                return None
            if seeds not in self._looked:
                alpha = (1 - stop.confidence) / len(due)
                self._looked[seeds] = decided(self.losses[:seeds], alpha, stop.margin / 100)
            if self._looked[seeds]:
                return seeds
        return None


@dataclass(frozen=True)
class Standing:
    """How many arms of a sweep's folder are where. begun: have a journal and no result."""

    arms: int
    done: int
    failed: int
    begun: int


def standing(folder: Path) -> tuple[Standing, Results]:
    """Where a sweep stands. Raises `DataError`."""
    results = Results.read(folder, Manifest.read(folder))
    arms = list(results.arms())
    rest = [arm for arm in arms if arm not in results.done and arm not in results.failures]
    begun = sum((folder / arm / JOURNAL).is_file() for arm in rest)
    return Standing(len(arms), len(results.done), len(results.failures), begun), results
