"""Any sampler of Optuna (Akiba et al., 2019, arXiv:1907.10902) as a searcher.

Optuna keeps a study that every ask changes; a searcher's `ask` may change nothing. So the study here holds what was
told, and nothing else. An ask works on a copy of the sampler whose generators are seeded from ``rng``; pending
proposals join the study as RUNNING trials, vectors that name no cell as FAIL or PRUNED ones, and all of these leave it
with the ask. What a sampler notes on its trial (NSGA-II's generation, say) and on the study (QMC's position) travels in
the proposal's provenance until it is told. What it would note at the first ask after a tell (CMA-ES's distribution,
NSGA-II's parents) is made by such an ask in `tell`, seeded from the number of trials: a fold of the tells, again.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Collection, Container, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import optuna
from numpy.random import Generator
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseGASampler, BaseSampler, BruteForceSampler, CmaEsSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.errors import InvalidCellError
from nas.nasbench101.cell import Cell
from nas.nasbench101.space import CellSpace, Encoding
from nas.trial import Proposal, Trial
from searchers.goals import Goal, reached
from searchers.optuna_study import distributions, parameters
from searchers.reseeding import reseed

ATTEMPTS = 25
"""Vectors asked for one proposal before a cell is drawn uniformly instead."""
PICKLED = ("cma:optimizer", "sepcma:optimizer", "cmawm:optimizer")
"""Attributes in which CMA-ES pickles itself: made again from the tells, never read from a journal."""


class SamplerName(StrEnum):
    """Optuna's samplers. motpe is TPE for several goals; gp needs torch, cmaes the package of that name."""

    TPE = "tpe"
    MOTPE = "motpe"
    GP = "gp"
    CMAES = "cmaes"
    NSGAII = "nsgaii"
    NSGAIII = "nsgaiii"
    QMC = "qmc"
    BRUTEFORCE = "bruteforce"
    RANDOM = "random"


class Invalid(StrEnum):
    """What an invalid vector is told as: FAIL, which samplers forget, or PRUNED, from which TPE learns to avoid it."""

    FAIL = "fail"
    PRUNED = "pruned"


SAMPLERS: dict[SamplerName, Callable[..., BaseSampler]] = {
    SamplerName.TPE: optuna.samplers.TPESampler,
    SamplerName.MOTPE: optuna.samplers.TPESampler,
    SamplerName.GP: optuna.samplers.GPSampler,
    SamplerName.CMAES: CmaEsSampler,
    SamplerName.NSGAII: optuna.samplers.NSGAIISampler,
    SamplerName.NSGAIII: optuna.samplers.NSGAIIISampler,
    SamplerName.QMC: optuna.samplers.QMCSampler,
    SamplerName.BRUTEFORCE: BruteForceSampler,
    SamplerName.RANDOM: optuna.samplers.RandomSampler,
}


@dataclass
class OptunaSearch:
    """One vector of the encoding a trial, every component a parameter of the study."""

    space: CellSpace
    sampler: SamplerName | BaseSampler = field(
        default=SamplerName.TPE, metadata={"help": "name of a sampler, or one made in Python"}
    )
    encoding: Encoding = field(default=Encoding.A, metadata={"help": "A, B or C, how a cell is written as a vector"})
    goals: tuple[Goal, ...] | None = field(
        default=None,
        metadata={"help": "accuracy, parameters, macs, seconds; by default accuracy, for motpe parameters too"},
    )
    invalid: Invalid = field(default=Invalid.FAIL, metadata={"help": "fail or pruned: how invalid vectors are told"})
    options: dict[str, bool | int | float | str] = field(
        default_factory=dict, metadata={"help": "arguments of Optuna's sampler class"}
    )

    def __post_init__(self) -> None:
        multiple = self.sampler is SamplerName.MOTPE
        self.goals = self._goals = self.goals or ((Goal.ACCURACY, Goal.PARAMETERS) if multiple else (Goal.ACCURACY,))
        self._sampler = _made(self.sampler, self.options)
        numeric = isinstance(self._sampler, CmaEsSampler)
        if isinstance(self._sampler, BruteForceSampler) and self.encoding is Encoding.C:
            raise ValueError("brute force needs a finite encoding, A or B")
        self._distributions = distributions(self.encoding, numeric)
        for name, part in list(vars(self._sampler).items()):
            if isinstance(part, optuna.search_space.IntersectionSearchSpace):
                setattr(self._sampler, name, _KnownSpace(self._distributions))
        # Optuna has all of a brute-force search's failures visited, the other samplers none.
        self._keeps_invalid = self.invalid is Invalid.PRUNED or isinstance(self._sampler, BruteForceSampler)
        self._advances = isinstance(self._sampler, CmaEsSampler | BaseGASampler)
        self._storage = _Memory(len(self._goals))

    def ask(self, pending: Collection[Proposal], rng: Generator) -> Proposal:
        told, attrs = len(self._storage.trials), dict(self._storage.attrs)
        sampler = self._seeded(int(rng.integers(1 << 32)))
        invalid: list[list[float]] = []
        try:
            for proposal in pending:
                self._add(proposal, TrialState.RUNNING)
            for _ in range(ATTEMPTS):
                trial = self._sampled(sampler)
                vector = list(trial.params.values())
                try:
                    cell = self.space.decode(vector, self.encoding)
                except InvalidCellError:
                    trial.state = self._invalid_state
                    invalid.append(vector)
                    continue
                return Proposal(cell, provenance=self._provenance(vector, trial, invalid, attrs))
            return Proposal(self.space.sample(rng), provenance={"by": "random"})
        finally:
            del self._storage.trials[told:]
            self._storage.attrs = attrs

    def tell(self, trial: Trial) -> None:
        values = reached(trial, self._goals)
        state = TrialState.FAIL if values is None else TrialState.COMPLETE
        frozen = self._add(trial.proposal, TrialState.RUNNING)
        if not isinstance(self._sampler, BruteForceSampler):  # which looks whether it may end its loop
            self._sampler.after_trial(self._study(), frozen, state, values)
        frozen.state, frozen.values = state, None if values is None else list(values)
        if self._advances and state is TrialState.COMPLETE:
            self._advance(frozen)

    def reject(self, cells: Collection[Cell]) -> None:
        """A filter's rejections are pruned trials: what the sampler hears of them is that they were not worth it."""
        for cell in cells:
            self._add(Proposal(cell), TrialState.PRUNED)

    def _add(self, proposal: Proposal, state: TrialState) -> FrozenTrial:
        """Puts a proposal into the study, and before it the invalid vectors that led to it."""
        noted = proposal.provenance
        for vector in noted.get("invalid", ()):
            self._storage.push(parameters(vector, self._distributions), self._distributions, self._invalid_state)
        vector = noted.get("vector")
        if vector is None:
            vector = self.space.encode(proposal.cell, self.encoding).tolist()
        for key, value in noted.get("study", {}).items():
            self._storage.attrs[key] = max(value, self._storage.attrs.get(key, value))
        trial = self._storage.push(parameters(vector, self._distributions), self._distributions, state)
        trial.system_attrs.update(_travelling(noted.get("trial", {})))
        return trial

    @property
    def _invalid_state(self) -> TrialState:
        return TrialState.PRUNED if self.invalid is Invalid.PRUNED else TrialState.FAIL

    def _sampled(self, sampler: BaseSampler) -> FrozenTrial:
        """A trial with the next vector, in the study as a running one; what `Study.ask` does, less the bookkeeping."""
        study = Study(_Memory.NAME, self._storage, sampler)  # a new one, as a study caches its trials
        trial = self._storage.push({}, {}, TrialState.RUNNING)
        sampler.before_trial(study, trial)
        relative = sampler.sample_relative(study, trial, sampler.infer_relative_search_space(study, trial))
        for name, distribution in self._distributions.items():
            value = relative.get(name)
            if value is None:
                value = sampler.sample_independent(study, trial, name, distribution)
            trial.params[name] = value
            trial.distributions[name] = distribution
        return trial

    def _provenance(
        self, vector: list[float], trial: FrozenTrial, invalid: list[list[float]], before: dict[str, Any]
    ) -> dict[str, Any]:
        noted: dict[str, Any] = {"by": type(self._sampler).__name__}
        if self.encoding is not Encoding.A:  # whose vector can be read off the cell
            noted["vector"] = vector
        on_trial = _travelling(trial.system_attrs)
        on_study = {
            key: value
            for key, value in self._storage.attrs.items()
            if isinstance(value, int) and before.get(key) != value
        }
        more = {"trial": on_trial, "study": on_study, "invalid": invalid if self._keeps_invalid else []}
        return noted | {key: value for key, value in more.items() if value}

    def _advance(self, last: FrozenTrial) -> None:
        """Lets the sampler note on the study and on the last trial what it notes when it next samples."""
        trial = self._storage.push({}, {}, TrialState.RUNNING)
        sampler = self._seeded(trial.number)
        study = Study(_Memory.NAME, self._storage, sampler)
        sampler.sample_relative(study, trial, sampler.infer_relative_search_space(study, trial))
        self._storage.trials.pop()
        last.system_attrs.update({k: v for k, v in trial.system_attrs.items() if k.startswith(PICKLED)})

    def _seeded(self, seed: int) -> BaseSampler:
        sampler = copy.deepcopy(self._sampler)
        reseed(sampler, seed, leave=_KnownSpace)
        return sampler

    def _study(self) -> Study:
        return Study(_Memory.NAME, self._storage, self._sampler)


class _Memory(optuna.storages.InMemoryStorage):
    """A study's trials in a plain list, which an ask can lengthen and cut back; a trial's id is its number."""

    NAME = "archsweep"

    def __init__(self, goals: int) -> None:
        super().__init__()
        self.trials: list[FrozenTrial] = []
        self.attrs: dict[str, Any] = {}
        self._directions = [StudyDirection.MAXIMIZE] * goals

    def push(
        self, params: dict[str, Any], distributions: dict[str, BaseDistribution], state: TrialState
    ) -> FrozenTrial:
        number = len(self.trials)
        # Of two equal dictionaries of distributions that are one object, Optuna finds the equality at once.
        trial = FrozenTrial(number, state, None, None, None, params, distributions, {}, {}, {}, number)
        self.trials.append(trial)
        return trial

    def get_study_id_from_name(self, study_name: str) -> int:
        return 0

    def get_study_name_from_id(self, study_id: int) -> str:
        return self.NAME

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._directions

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self.attrs

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self.attrs[key] = value

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self.trials[trial_id]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        chosen = [trial for trial in self.trials if states is None or trial.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        complete = [trial for trial in self.trials if trial.state is TrialState.COMPLETE]
        return max(complete, key=lambda trial: trial.values[0])

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.trials[trial_id].system_attrs[key] = value


class _KnownSpace(optuna.search_space.IntersectionSearchSpace):
    """What Optuna finds out from all trials at every ask is known here: every trial has every parameter."""

    def __init__(self, distributions: dict[str, BaseDistribution]) -> None:
        super().__init__()
        self._known = dict(sorted(distributions.items()))

    def calculate(self, study: Study, use_cache: bool = False) -> dict[str, BaseDistribution]:
        trials = study.get_trials(deepcopy=False)
        finished = (TrialState.COMPLETE, TrialState.PRUNED)
        return self._known if any(trial.state in finished for trial in trials) else {}

    def __deepcopy__(self, memo: dict[int, Any]) -> _KnownSpace:
        return self


def _made(sampler: SamplerName | BaseSampler, options: dict[str, Any]) -> BaseSampler:
    if isinstance(sampler, BaseSampler):
        if options:
            raise ValueError("options are for a sampler by name; give them to the sampler object itself")
        return copy.deepcopy(sampler)
    defaults = {"warn_independent_sampling": False} if sampler in (SamplerName.QMC, SamplerName.CMAES) else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return SAMPLERS[sampler](**defaults | options)
    except TypeError as error:
        raise ValueError(f"options: {error}") from None
    except ImportError as error:
        raise ValueError(f"sampler {sampler} needs a package that is not installed: {error}") from None


def _travelling(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """What of a trial's attributes a journal may hold: not what the vector says already, and never CMA-ES's pickles,
    which its sampler would load, whoever wrote the journal."""
    left_out = (*PICKLED, "tpe:relative_params", "gp:relative_params")
    return {key: value for key, value in attrs.items() if not key.startswith(left_out)}
