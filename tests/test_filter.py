"""What a filter does to a search, what it leaves as it was, and what its audit says."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.errors import ArchsweepError
from nas.nasbench101.cell import Cell
from nas.nasbench101.network import catalogue_costs
from nas.nasbench101.space import CellSpace
from nas.table.table import Table
from nas.trial import Proposal, Result, Trial
from orchestrator.records.journal import Reading
from orchestrator.search.loop import Streams
from orchestrator.search.search import Search
from orchestrator.settings.config import parse
from orchestrator.studies.audit import Audit, audit, audit_run, control_runs
from orchestrator.studies.compare_search import compare_searches
from searchers import policies
from searchers.base import Searcher
from searchers.filtered import Filtered
from searchers.learned import Learned
from searchers.registry import make_filtered, make_searcher
from surrogate.base import normal
from surrogate.controls import Blind, Oracle, ParametersOnly
from surrogate.gaussian_process import GaussianProcess
from workers.surrogate_source import drawn
from workers.table import Objective, TableEvaluator

Run = Callable[..., subprocess.CompletedProcess[str]]
SPACE = CellSpace()
TRUTH = np.random.default_rng(0).uniform(0.8, 0.95, len(SPACE))
ORACLE = {"policy": "top", "surrogate": lambda: Oracle(TRUTH), "labels": 10, "tau": -1.0}


def told(number: int, proposal: Proposal) -> Trial:
    trial = Trial(number, proposal, 0, 0, float(number))
    return trial.succeeded(Result(float(TRUTH[proposal.cell.key]), 1.0), number, number + 1)


def filtered(name: str = "random", parameters: dict[str, Any] | None = None, **over: Any) -> Filtered:
    made = make_filtered(SPACE, make_searcher(name, SPACE, parameters or {}), ORACLE | over)
    assert isinstance(made, Filtered)
    return made


def play(searcher: Searcher, trials: int, seed: int = 0) -> list[Trial]:
    streams, done = Streams(seed), []
    for number in range(trials):
        done.append(told(number, searcher.ask([], streams(number))))
        searcher.tell(done[-1])
    return done


def decisions(trials: list[Trial]) -> list[dict[str, Any]]:
    return [trial.proposal.provenance["filter"] for trial in trials if "filter" in trial.proposal.provenance]


@pytest.mark.parametrize("policy", ["top", "quantile", "ei", "thompson"])
def test_what_passes_is_better_than_what_the_searcher_proposes(policy: str) -> None:
    passed = [t.result.objective for t in play(filtered(policy=policy, unseen=0.0), 60)[10:] if t.result]
    assert np.mean(passed) > 0.92  # the searcher's own mean is 0.875


def test_until_it_opens_the_search_is_the_unfiltered_one() -> None:
    plain = play(make_searcher("evolution", SPACE, {}), 40)
    closed = play(filtered("evolution", labels=1_000, tau=0.1), 40)
    assert [t.proposal.cell for t in plain] == [t.proposal.cell for t in closed]


def test_it_closes_while_its_surrogate_ranks_poorly_and_opens_for_one_that_ranks_well() -> None:
    for surrogate, opens in ((Blind, False), (ORACLE["surrogate"], True)):
        trials = play(filtered(surrogate=surrogate, tau=0.5, unseen=0.3), 80)
        by = [decision["by"] for decision in decisions(trials)]
        assert ("top" in by) == opens
        assert by[0] == "closed"


def test_a_share_passes_unseen_and_is_the_searchers_own_proposal() -> None:
    noted = decisions(play(filtered(unseen=0.3), 200))
    unseen = [decision for decision in noted if decision["by"] == "unseen"]
    assert 0.2 < len(unseen) / len(noted) < 0.4
    assert not any(decision["rejected"] for decision in unseen)
    assert all(decision["probability"] >= 0.3 for decision in unseen)


def test_known_cells_are_dropped_and_a_searcher_of_known_cells_only_is_not_starved() -> None:
    few = CellSpace([5, 17, 40])
    searcher = make_filtered(few, make_searcher("random", few, {}), ORACLE | {"labels": 4, "tau": -1.0})
    assert len(play(searcher, 30)) == 30
    keys = [t.proposal.cell.key for t in play(filtered(), 60)]
    assert len(set(keys)) == len(keys)


def test_the_whole_space_is_ranked_for_the_space_policy() -> None:
    trials = play(filtered(policy="space", unseen=0.0), 20)
    best = np.argsort(-TRUTH)[:10].tolist()
    assert [t.proposal.cell.key for t in trials[10:]] == best
    assert all(len(decision["rejected"]) == 1 for decision in decisions(trials[10:]))


def test_rejections_are_journalled_with_what_was_predicted() -> None:
    for trial in play(filtered(unseen=0.0), 30)[12:]:
        decision = trial.proposal.provenance["filter"]
        assert decision["means"] == [round(float(TRUTH[key]), 5) for key in decision["rejected"]]
        assert decision["mean"] >= max(decision["means"])
        assert len(json.dumps(decision)) < 600


def test_optuna_hears_of_rejections_as_pruned_trials_without_values() -> None:
    searcher = filtered("optuna", {"sampler": "random"}, candidates=4, unseen=0.0)
    trials = play(searcher, 20)
    storage = searcher.inner._storage  # type: ignore[attr-defined]
    pruned = [trial for trial in storage.trials if trial.state.name == "PRUNED"]
    assert len(pruned) == sum(len(decision.get("rejected", ())) for decision in decisions(trials)) > 0
    assert all(trial.values is None for trial in pruned)


def test_a_promoted_cell_passes_and_epochs_are_kept() -> None:
    trials = play(filtered("halving", {"budgets": [4, 12], "eta": 2}, unseen=0.0), 120)
    promoted = [t for t in trials if t.proposal.provenance.get("by") == "promotion"]
    assert promoted
    assert not any("filter" in t.proposal.provenance for t in promoted)
    assert {t.proposal.epochs for t in trials} == {4, 12}
    assert any(t.proposal.provenance.get("filter", {}).get("by") == "top" for t in trials)


class Slow(ParametersOnly):
    """Is fitted when the test says so."""

    go = threading.Event()

    def fit(self, cells: Any, accuracies: Any, seed: int) -> None:
        assert Slow.go.wait(60)
        super().fit(cells, accuracies, seed)


def test_with_a_lag_a_fit_runs_beside_the_search_and_changes_no_proposal() -> None:
    Slow.go.clear()
    beside = Learned(Slow, 10, 10, lag=5)
    trials = [told(n, Proposal(Cell.numbered(n * 1_000))) for n in range(15)]
    for trial in trials[:14]:
        beside.tell(trial)
        assert beside.model() is None  # and nobody waits
    Slow.go.set()
    beside.tell(trials[14])
    model = beside.model()
    replayed = Learned(ParametersOnly, 10, 10, lag=5)
    for trial in trials:
        replayed.tell(trial)
    again = replayed.model()
    assert model is not None
    assert again is not None
    assert np.array_equal(model.predict(SPACE.numbers[:50]).mean, again.predict(SPACE.numbers[:50]).mean)


def test_policies_say_how_likely_each_candidate_was() -> None:
    predicted = normal(np.array([0.90, 0.93, 0.91, 0.92]), np.full(4, 0.01))
    rng = np.random.default_rng(0)
    assert policies.top(predicted, 2, rng).probabilities.tolist() == [0, 0.5, 0, 0.5]
    assert policies.top(predicted, 2, rng).threshold == 0.92
    drawn = [policies.thompson(predicted, rng) for _ in range(200)]
    shares = np.bincount([choice.chosen for choice in drawn], minlength=4) / 200
    assert np.allclose(shares, np.mean([choice.probabilities for choice in drawn], 0), atol=0.1)
    gate = policies.quantile(predicted, 0.905)
    assert (gate.chosen, gate.looked) == (1, 2)
    assert policies.quantile(predicted, 0.99).chosen == 1
    doubtful = normal(np.array([0.90, 0.92]), np.array([0.05, 1e-6]))
    assert policies.expected_improvement(doubtful, 0.93, 1, rng).chosen == 0


def test_a_gaussian_process_doubts_most_what_is_unlike_all_that_it_was_told() -> None:
    cells = np.random.default_rng(1).choice(len(SPACE), 200, replace=False)
    size = np.log(catalogue_costs()[:, 0])
    accuracies = 0.9 + 0.01 * size / size.std()
    model = GaussianProcess()
    model.fit(cells[:60], accuracies[cells[:60]], 0)
    told, others = model.predict(cells[:60]), model.predict(cells[60:])
    assert np.abs(told.mean - accuracies[cells[:60]]).max() < 2e-3
    assert others.std.min() > told.std.max()
    far = np.abs(others.mean - accuracies[cells[60:]])
    assert (far < 2 * others.std).mean() > 0.5  # and its doubt is of the size of its error


def test_an_audit_counts_what_was_lost() -> None:
    truth = np.full(len(SPACE), 0.8)
    truth[:5_000] = 0.9
    truth[[0, 1, 2]] = [0.95, 0.94, 0.93]
    noted = {"filter": {"rejected": [0, 5_000], "means": [0.90, 0.80]}}
    done = told(0, Proposal(Cell.numbered(1), provenance=noted))
    brief = np.full(len(SPACE), 0.7)
    failed = Trial(2, Proposal(Cell.numbered(3)), 0, 0, 0.0).failed("", 0, 1)
    trials = [done, told(1, Proposal(Cell.numbered(2))), failed]
    found = audit(trials, truth, lambda epochs: truth if epochs is None else brief)
    assert (found.decisions, found.looked, found.rejected, found.good) == (1, 4, 2, 3)
    assert found.false_rejects == pytest.approx(1 / 3)
    assert found.passed_over == found.regret == pytest.approx(0.01)
    assert found.bias == pytest.approx(-0.025)
    assert found.tau == 1
    short = told(0, Proposal(Cell.numbered(1), 4, provenance=noted))
    assert audit([short], truth, lambda epochs: truth if epochs is None else brief).bias == pytest.approx(0.15)


def values(table: Path, **over: Any) -> dict[str, Any]:
    return {"table": str(table), "trials": 60, "tracking": {"enabled": False}, "searcher": {"name": "random"}, **over}


FILTER = {"policy": "quantile", "surrogate": "trees", "labels": 10, "candidates": 5, "tau": -1.0}


@pytest.mark.parametrize("lag", [0, 6])
def test_a_filtered_search_cut_off_anywhere_and_resumed_is_the_uninterrupted_one(
    lag: int, curves_table: Path, tmp_path: Path
) -> None:
    described = parse(values(curves_table, filter=FILTER | {"surrogate": "parameters", "lag": lag}), "test")
    Search(described, tmp_path / "whole").run()
    written = (tmp_path / "whole" / "journal.jsonl").read_bytes()
    assert b'"by":"quantile"' in written
    for cut in (len(written) // 2, len(written) * 3 // 4):
        Search(described, tmp_path / "cut").run()
        (tmp_path / "cut" / "journal.jsonl").write_bytes(written[:cut])
        Search(described, tmp_path / "cut").run()
        assert (tmp_path / "cut" / "journal.jsonl").read_bytes() == written


def test_the_oracles_gate_regrets_least(curves_table: Path, tmp_path: Path) -> None:
    knows_test = {"objective": {"column": "test"}, "filter": FILTER | {"policy": "top", "surrogate": "parameters"}}
    Search(parse(values(curves_table, **knows_test), "test"), tmp_path / "run").run()
    audits: dict[str, Audit] = {name: audit_run(folder) for name, folder in control_runs(tmp_path / "run")}
    assert audits["oracle"].passed_over == 0 < audits["trees"].passed_over < audits["blind"].passed_over
    assert audits["oracle"].tau > 0.99  # what is journalled is rounded
    with pytest.raises(ArchsweepError, match="holds no search"):
        audit_run(tmp_path)


def test_a_surrogate_is_searched_in_the_tables_place(curves_table: Path, tmp_path: Path) -> None:
    chosen = {"kind": "surrogate", "surrogate": "parameters", "labels": 50}
    described = values(curves_table, trials=20, evaluator=chosen)
    Search(parse(described, "test"), tmp_path / "run").run()
    results = [trial.result for trial in Reading(tmp_path / "run" / "journal.jsonl") if trial.result]
    assert {result.source for result in results} <= {"surrogate", "ledger"}
    assert all(result.objective != result.reported for result in results)
    another = parse({**described, "evaluator": chosen | {"labels": 60}}, "test")
    with pytest.raises(ArchsweepError, match=r"evaluator\.labels = 50, not 60"):
        Search(another, tmp_path / "run").run()


def test_the_command_line_filters_and_audits(archsweep: Run, curves_table: Path, tmp_path: Path) -> None:
    flags = ("--table", curves_table, "--searcher", "random", "--filter", "top", "--trials", 40, "--no-track")
    chosen = [f"--filter-parameter={key}={value}" for key, value in FILTER.items() if key != "policy"]
    done = archsweep("search", *flags, *chosen, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    audited = archsweep("audit", tmp_path / "run", "--json")
    assert json.loads(audited.stdout)["filter"]["rejected"] > 0


def test_three_searches_are_compared_by_what_they_cost(curves_table: Path, tmp_path: Path) -> None:
    found = list(compare_searches(values(curves_table, trials=40), tmp_path, 1, 30, "trees"))
    assert [one.arm for one in found] == ["table", "surrogate", "filtered"]
    assert [one.queries for one in found] == [40, 31, 40]
    assert all(one.seconds > 0 and one.test_accuracy is not None for one in found)
    table = Table(curves_table)
    evaluate, cells = TableEvaluator(table, Objective()), zip(*drawn(table.cells, 30, 0), strict=True)
    labels = sum(evaluate(Proposal(Cell.numbered(int(key))), int(seed)).paid for key, seed in cells)
    best = json.loads((tmp_path / "surrogate-seed0" / "result.json").read_text())["best_hash"]
    taken = evaluate(Proposal(table.cell(table.row_of_hash(best))), 0).paid
    assert found[1].seconds == pytest.approx(labels / 8 + taken)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"policy": "tpo"}, "filter: policy = 'tpo'"),
        ({"candidate": 3}, "unknown parameter of filter: 'candidate'; did you mean 'candidates'"),
        ({"surrogate": "gpp"}, "unknown surrogate 'gpp'; choose from"),
        ({"unseen": 2.0}, "unseen in"),
        ({"lag": -1}, "lag must not be negative"),
    ],
)
def test_wrong_parameters_are_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ArchsweepError, match=message):
        filtered(**parameters)
