"""What the Optuna adapter tells Optuna, and that it costs what Optuna costs."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas.errors import ArchsweepError
from nas.nasbench101.space import CellSpace, Encoding
from nas.trial import Proposal, Result, Trial
from orchestrator.search.loop import Streams
from searchers.optuna_search import OptunaSearch, SamplerName
from searchers.registry import make_searcher

SEEN: list[list[tuple[TrialState, tuple[float, ...] | None]]] = []
TOLD: list[TrialState] = []


class Spy(BaseSampler):
    """Random; keeps what it finds in the study, and what it is told after a trial."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        trials = study.get_trials(deepcopy=False)
        SEEN.append([(t.state, tuple(t.values) if t.values else None) for t in trials if t.number != trial.number])
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        assert isinstance(param_distribution, optuna.distributions.CategoricalDistribution)
        return int(self.rng.integers(len(param_distribution.choices)))

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        TOLD.append(state)


def outcome(number: int, proposal: Proposal, objective: float | None) -> Trial:
    trial = Trial(number, proposal, 0, 0, 0.0)
    return trial.failed("", 0, 1) if objective is None else trial.succeeded(Result(objective, 1.0), 0, 1)


def searched(searcher: OptunaSearch) -> list[tuple[TrialState, tuple[float, ...] | None]]:
    """Two trials, one told and one failed, one pending: what the sampler then sees, invalid vectors at the end."""
    streams, space = Streams(0), CellSpace()
    cells = [Proposal(space.sample(np.random.default_rng(i))) for i in range(3)]
    searcher.tell(outcome(0, cells[0], 0.9))
    searcher.tell(outcome(1, cells[1], None))
    SEEN.clear()
    for number in range(10):
        searcher.ask([cells[2]], streams(number))
    return max(SEEN, key=len)


def test_optuna_hears_of_every_trial_as_what_it_is() -> None:
    TOLD.clear()
    seen = searched(OptunaSearch(CellSpace(), sampler=Spy()))
    assert seen[:3] == [(TrialState.COMPLETE, (0.9,)), (TrialState.FAIL, None), (TrialState.RUNNING, None)]
    assert TOLD == [TrialState.COMPLETE, TrialState.FAIL]


@pytest.mark.parametrize(("invalid", "state"), [("fail", TrialState.FAIL), ("pruned", TrialState.PRUNED)])
def test_invalid_vectors_are_told_as_such_and_asked_again(invalid: str, state: TrialState) -> None:
    searcher = make_searcher("optuna", CellSpace(), {"sampler": Spy(), "invalid": invalid})
    assert isinstance(searcher, OptunaSearch)
    seen = searched(searcher)
    assert len(seen) > 3
    assert {s for s, _ in seen[3:]} == {state}


def test_pruned_vectors_stay_with_the_study_and_travel_with_the_proposal() -> None:
    searcher = make_searcher("optuna", CellSpace(), {"sampler": Spy(), "invalid": "pruned"})
    streams = Streams(0)
    asked = [searcher.ask([], streams(number)) for number in range(8)]
    pruned = sum(len(proposal.provenance.get("invalid", ())) for proposal in asked)
    for number, proposal in enumerate(asked):
        searcher.tell(outcome(number, proposal, 0.9))
    SEEN.clear()
    searcher.ask([], streams(8))
    states = [state for state, _ in SEEN[0]]
    assert pruned > 0
    assert (states.count(TrialState.PRUNED), states.count(TrialState.COMPLETE)) == (pruned, 8)


def test_an_object_of_the_users_is_left_as_it_was() -> None:
    sampler = optuna.samplers.TPESampler(seed=3, n_startup_trials=4)
    before = sampler._rng.rng.get_state()[1].tolist()
    searcher, streams = OptunaSearch(CellSpace(), sampler=sampler, encoding=Encoding.B), Streams(0)
    for number in range(12):
        searcher.tell(outcome(number, searcher.ask([], streams(number)), number / 20))
    assert sampler._rng.rng.get_state()[1].tolist() == before


@pytest.mark.parametrize("name", ["nsgaii", "nsgaiii", "cmaes"])
def test_generations_go_on(name: str) -> None:
    """What these samplers note on trials and study is not lost between asks."""
    options = {"popsize": 8} if name == "cmaes" else {"population_size": 8}
    searcher = make_searcher("optuna", CellSpace(), {"sampler": name, "encoding": "C", "options": options})
    streams, generations = Streams(0), []
    for number in range(60):
        proposal = searcher.ask([], streams(number))
        noted = [value for key, value in proposal.provenance.get("trial", {}).items() if "generation" in key]
        generations += noted
        searcher.tell(outcome(number, proposal, (number * 7 % 11) / 20))
    assert generations == sorted(generations)
    assert 5 <= generations[-1] <= 7


def test_a_low_discrepancy_sequence_does_not_repeat_itself_with_many_in_flight() -> None:
    searcher = make_searcher("optuna", CellSpace(), {"sampler": "qmc", "encoding": "C"})
    streams, pending = Streams(0), []
    for number in range(12):
        pending.append(searcher.ask(pending, streams(number)))
    positions = [max(p.provenance["study"].values()) for p in pending if "study" in p.provenance]
    assert len(positions) >= 11
    assert positions == sorted(set(positions))


def test_gp_says_what_it_lacks_or_works() -> None:
    pytest.importorskip("torch", reason="Optuna's GP needs torch")
    searcher, streams = make_searcher("optuna", CellSpace(), {"sampler": "gp", "encoding": "B"}), Streams(0)
    for number in range(13):
        searcher.tell(outcome(number, searcher.ask([], streams(number)), number / 20))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sampler": "tpa"}, "sampler"),
        ({"options": {"n_startup": 3}}, "options: .*n_startup"),
        ({"sampler": SamplerName.BRUTEFORCE, "encoding": "C"}, "finite encoding"),
        ({"sampler": Spy(), "options": {"seed": 1}}, "options are for a sampler by name"),
    ],
)
def test_wrong_parameters_are_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ArchsweepError, match=message):
        make_searcher("optuna", CellSpace(), parameters)


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_that_somebody_wrote_into_a_journal_is_not_loaded(tmp_path: Path) -> None:
    planted = {"cma:optimizer:0": pickle.dumps(Bomb(tmp_path / "exploded")).hex()}
    searcher = OptunaSearch(CellSpace(), SamplerName.CMAES)
    streams = Streams(0)
    for number in range(4):
        asked = searcher.ask((), streams(number))
        proposal = Proposal(asked.cell, provenance={**asked.provenance, "trial": planted})
        searcher.tell(outcome(number, proposal, 0.9 - number / 100))
    searcher.ask((), streams(4))
    assert not (tmp_path / "exploded").exists()
