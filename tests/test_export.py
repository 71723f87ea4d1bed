"""Searches as Optuna studies, and searches that start from what others found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from nas.errors import ArchsweepError
from nas.nasbench101.cell import Cell
from nas.nasbench101.space import CellSpace, Encoding
from nas.trial import Proposal, Result, Trial
from orchestrator.records.folder import JOURNAL
from orchestrator.records.journal import Reading
from orchestrator.records.state import State
from orchestrator.search.search import Search
from orchestrator.settings.config import Config, parse
from searchers.optuna_study import distributions, export, told


@pytest.fixture(autouse=True)
def quiet_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def settings(table: Path, **values: object) -> Config:
    base = {"table": str(table), "trials": 30, "tracking": {"enabled": False}, "searcher": {"name": "random"}}
    return parse({**base, **values}, "test")


@pytest.fixture
def searched(small_table: Path, tmp_path: Path) -> Path:
    """A finished search."""
    Search(settings(small_table), tmp_path / "first").run()
    return tmp_path / "first"


@pytest.mark.parametrize("storage", ["sqlite:///{}/studies.db", "{}/studies.log"])
def test_optuna_opens_what_is_exported(archsweep: Callable, searched: Path, tmp_path: Path, storage: str) -> None:
    url = storage.format(tmp_path)
    done = archsweep("export", "optuna", searched, url)
    assert done.stdout == "30 trials in study 'first'\n"
    assert archsweep("export", "optuna", searched, url).stdout == done.stdout
    backend = url if "://" in url else optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(url))
    study = optuna.load_study(study_name="first", storage=backend)
    finished = [trial for trial in Reading(searched / JOURNAL) if trial.result is not None]
    assert [trial.value for trial in study.trials] == [trial.result.objective for trial in finished]
    assert study.best_trial.user_attrs["module_hash"] == json.loads((searched / "result.json").read_text())["best_hash"]
    importances = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
    )
    assert len(importances) == 26
    assert [cell.key for cell, _, _ in told(url)] == [trial.proposal.cell.key for trial in finished]


def test_trials_cut_short_are_pruned_and_failed_ones_failed(tmp_path: Path) -> None:
    asked = [Trial(n, Proposal(Cell.numbered(n), epochs), 0, 0, float(n)) for n, epochs in enumerate((4, 12, 12))]
    brief, whole = (trial.succeeded(Result(0.5 + trial.number / 10, 9.0), 0, 50) for trial in asked[:2])
    url = f"sqlite:///{tmp_path}/studies.db"
    export([brief, whole, asked[2].failed("it was made to", 0, 50)], url, "a", {})
    trials = optuna.load_study(study_name="a", storage=url).trials
    assert [trial.state for trial in trials] == [TrialState.PRUNED, TrialState.COMPLETE, TrialState.FAIL]
    assert trials[0].intermediate_values == {4: 0.5}
    assert trials[2].user_attrs["failure"] == "it was made to"
    assert [(cell.key, *rest) for cell, *rest in told(url)] == [(0, 4, 0.5), (1, 12, 0.6)]


def test_a_search_that_went_on_is_exported_once_more(searched: Path, tmp_path: Path) -> None:
    url, finished = f"sqlite:///{tmp_path}/studies.db", [t for t in Reading(searched / JOURNAL) if t.finished]
    export(finished[:7], url, "a", {"seed": 1})
    export(finished, url, "a", {"seed": 1})
    assert len(optuna.load_study(study_name="a", storage=url).trials) == len(finished)
    with pytest.raises(ArchsweepError, match="another study of the name 'a'"):
        export(finished, url, "a", {"seed": 2})


def test_a_warm_start_is_told_and_not_counted(searched: Path, small_table: Path, tmp_path: Path) -> None:
    """Evolution, told 30 cells, mutates from its first trial on; the journal needs its source no more."""
    evolution = {"name": "evolution", "population": 20, "tournament": 5}
    config = settings(small_table, searcher=evolution, warm_start=str(searched), trials=40)
    whole = Search(config, tmp_path / "whole").run()
    assert whole.trials == 40
    reading = Reading(tmp_path / "whole" / JOURNAL)
    assert len(reading.earlier) == len(
        [t for t in Reading(searched / JOURNAL) if t.result is not None and t.result.source != "ledger"]
    )
    first = next(iter(reading))
    assert first.proposal.provenance["by"] == "mutation"
    assert first.proposal.provenance["parent"] < 0

    def stop(_: object, state: State) -> None:
        if state.finished == 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Search(config, tmp_path / "parts").run([stop])
    (searched / JOURNAL).rename(tmp_path / "gone")
    Search(config, tmp_path / "parts").run()
    assert (tmp_path / "parts" / JOURNAL).read_bytes() == (tmp_path / "whole" / JOURNAL).read_bytes()


def test_a_warm_start_reads_any_study_of_cells(small_table: Path, tmp_path: Path) -> None:
    """Also one that Optuna itself made, in another encoding; what is no cell of the table is left out."""
    url, space = f"sqlite:///{tmp_path}/own.db", CellSpace(range(91))
    study = optuna.create_study(storage=url, direction="maximize")
    of = distributions(Encoding.B)
    study.optimize(lambda trial: sum(trial._suggest(name, d) for name, d in of.items()) / 300, n_trials=5)
    cells = [space.encode(cell, Encoding.B).astype(int).tolist() for cell in map(Cell.numbered, (3, 90))]
    for vector in cells:
        params = dict(zip(of, vector, strict=True))
        study.add_trial(optuna.trial.create_trial(params=params, distributions=of, value=0.5))
    job = Search(settings(small_table, warm_start=url), tmp_path / "run")
    job.run()
    assert {3, 90} <= {trial.proposal.cell.key for trial in Reading(tmp_path / "run" / JOURNAL).earlier}


def test_a_warm_start_counts_what_was_trained_as_long_as_here(curves_table: Path, tmp_path: Path) -> None:
    """Of a multi-fidelity search its last rung, and nothing of a search with fewer epochs; one that did says them."""
    rungs = settings(curves_table, searcher={"name": "hyperband"}, trials=150)
    Search(rungs, tmp_path / "rungs", pictures=False).run()
    brief = {"objective": {"epochs": 4}}
    Search(settings(curves_table, **brief), tmp_path / "brief", pictures=False).run()

    def told_before(source: str, **values: object) -> list[int | None]:
        config = settings(curves_table, warm_start=str(tmp_path / source), **values)
        return [trial.proposal.epochs for trial in Search(config, tmp_path / "new")._earlier]

    assert set(told_before("rungs")) == {108}
    assert set(told_before("rungs", **brief)) == {4}
    assert len(set(told_before("rungs", searcher={"name": "hyperband"}))) > 1
    assert set(told_before("brief", **brief)) == {4}
    with pytest.raises(ArchsweepError, match="brief has no finished trial, of 108 epochs, of a cell"):
        told_before("brief")


def test_a_study_that_minimises_is_no_warm_start_and_what_is_not_finite_no_result(tmp_path: Path) -> None:
    of, space = distributions(Encoding.A), CellSpace()
    for direction, name in (("minimize", "down"), ("maximize", "up")):
        study = optuna.create_study(storage=f"sqlite:///{tmp_path}/{name}.db", directions=[direction, "minimize"])
        for number, value in enumerate((0.9, float("-inf"))):
            params = dict(zip(of, space.encode(Cell.numbered(number), Encoding.A).tolist(), strict=True))
            study.add_trial(optuna.trial.create_trial(params=params, distributions=of, values=[value, 1.0]))
    assert [value for *_, value in told(f"sqlite:///{tmp_path}/up.db")] == [0.9]
    with pytest.raises(ArchsweepError, match="minimises its value"):
        list(told(f"sqlite:///{tmp_path}/down.db"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nonesuch", "there is no nonesuch"),
        ("sqlite:///nonesuch.db", "there is no nonesuch.db"),
        ("{}", "holds no search"),
        ("{}/first", "maximised validation accuracy"),
    ],
)
def test_a_wrong_warm_start_leaves_nothing(
    searched: Path, small_table: Path, tmp_path: Path, source: str, message: str
) -> None:
    config = settings(small_table, warm_start=source.format(tmp_path), objective={"column": "test"})
    with pytest.raises(ArchsweepError, match=message):
        Search(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("url", ["nosuch://x", "sqlite:////no/such/folder/x.db", "/no/such/folder/x.log"])
def test_a_storage_that_cannot_be_used_is_one_line(archsweep: Callable, searched: Path, url: str) -> None:
    done = archsweep("export", "optuna", searched, url)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Optuna's storage cannot be used" in done.stderr


def test_a_file_that_is_no_journal_of_optunas_stays_as_it_is(
    archsweep: Callable, searched: Path, tmp_path: Path
) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text("# my notes\n")
    done = archsweep("export", "optuna", searched, notes)
    assert (done.returncode, done.stderr) == (
        2,
        f"archsweep: {notes} is no journal of Optuna's; SQLite is sqlite:///{notes}\n",
    )
    assert notes.read_text() == "# my notes\n"
