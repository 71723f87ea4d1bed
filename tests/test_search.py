"""Whole searches: reproducible, resumable at any line, refused where they would not be the same search."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from nas.errors import ArchsweepError
from nas.nasbench101.space import CellSpace
from nas.table.importing import import_table
from nas.table.table import Table
from nas.trial import Status, Trial
from orchestrator.records.journal import Journal, Reading
from orchestrator.records.results import Summary
from orchestrator.records.state import Budget, State
from orchestrator.records.verify import verify
from orchestrator.search.loop import Streams, run
from orchestrator.search.search import Search
from orchestrator.settings.config import parse
from searchers.registry import make_searcher
from workers.inline import InlinePool
from workers.table import Objective, TableEvaluator

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]

CLUSTER = [
    {"count": 2, "preemptions": 9.0, "restart": 0.01, "stragglers": 0.3, "joins": 0.1, "price": 0.3},
    {"count": 1, "speed": 0.7, "failures": 3.0, "leaves": 0.4, "price": 1.0},
    {"count": 1, "preemptions": 6.0, "checkpoints": False, "price": 0.2},
]
SEARCHES = {
    "random": {"searcher": {"name": "random"}, "trials": 16, "seed": 3},
    "evolution": {"searcher": {"population": 6, "tournament": 3}, "pool": {"workers": 3, "speed_spread": 0.5}},
    "generations": {"pool": {"workers": 3, "dispatch": "generation"}, "seed": 4},
    "cluster": {"pool": {"cluster": CLUSTER}, "seed": 5},
    "cluster in generations": {"pool": {"cluster": CLUSTER, "dispatch": "generation"}, "seed": 6},
    "paying again": {"searcher": {"name": "random"}, "duplicates": "evaluate", "seed": 1},
    "budget in seconds": {"searcher": {"name": "random"}, "trials": None, "budget_seconds": 8e3, "seed": 2},
}


def search(run_dir: Path, table: Path, **values: Any) -> Summary:
    return prepared(run_dir, table, **values).run()


def prepared(run_dir: Path, table: Path, **values: Any) -> Search:
    described = {"table": table, "trials": 24, "tracking": {"enabled": False}, **values}
    return Search(parse(described, "test"), run_dir)


def journal(run_dir: Path) -> bytes:
    return (run_dir / "journal.jsonl").read_bytes()


def events(run_dir: Path) -> list[Trial]:
    return list(Reading(run_dir / "journal.jsonl"))


def told(run_dir: Path) -> list[Trial]:
    return [trial for trial in events(run_dir) if trial.status is Status.TOLD]


def outcome(run_dir: Path) -> dict[str, Any]:
    """What result.json says, but for wall times and the folder's name."""
    values: dict[str, Any] = json.loads((run_dir / "result.json").read_text())
    measured = ("wall_seconds", "trials_per_second", "spans", "binds", "run_dir")
    return {name: values[name] for name in values if name not in measured}


def files(run_dir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run_dir.iterdir()}


def test_the_same_seed_gives_the_same_bytes_in_any_process(archsweep: Run, curves_table: Path, tmp_path: Path) -> None:
    flags = ("search", "--table", curves_table, "--trials", 300, "--no-track")
    for seed in ("1", "2"):
        done = archsweep(*flags, "--out", tmp_path / seed, env={"PYTHONHASHSEED": seed})
        assert done.returncode == 0, done.stderr
    search(tmp_path / "here", curves_table, trials=300)
    assert journal(tmp_path / "1") == journal(tmp_path / "2") == journal(tmp_path / "here")
    assert outcome(tmp_path / "1") == outcome(tmp_path / "2") == outcome(tmp_path / "here")


def test_another_seed_is_another_search(small_table: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        search(tmp_path / str(seed), small_table, seed=seed)
    first, second = ([(t.number, t.proposal.cell.key) for t in events(tmp_path / name)] for name in "01")
    assert first != second


@pytest.mark.parametrize("values", SEARCHES.values(), ids=SEARCHES)
def test_a_search_cut_off_anywhere_and_resumed_is_the_uninterrupted_one(
    values: dict[str, Any], small_table: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    search(whole, small_table, **values)
    expected, written = outcome(whole), journal(whole)
    ends = [0, *(at + 1 for at, byte in enumerate(written) if byte == 10)]
    cuts = [*ends, *((start + end) // 2 for start, end in pairwise(ends))]
    resumed = tmp_path / "resumed"
    search(resumed, small_table, **values)
    step = 1 if values == SEARCHES["random"] else 7
    for cut in cuts[::step]:
        (resumed / "journal.jsonl").write_bytes(written[:cut])
        search(resumed, small_table, **values)
        assert journal(resumed) == written, f"cut at byte {cut}"
        assert outcome(resumed) == expected


def told_while_a_twin_is_in_flight(happened: list[Trial]) -> int:
    """The first event that tells a cell of which another trial is pending."""
    pending: dict[int, int] = {}
    for position, trial in enumerate(happened):
        if trial.status is Status.PENDING:
            pending[trial.number] = trial.proposal.cell.key
        elif pending.pop(trial.number) in pending.values():
            return position
    pytest.fail("the search has no such event")


def test_a_trial_that_waits_for_its_twin_has_the_same_answer_after_a_resume(small_table: Path, tmp_path: Path) -> None:
    values = SEARCHES["random"]
    search(tmp_path / "run", small_table, **values)
    written = journal(tmp_path / "run")
    cut = told_while_a_twin_is_in_flight(events(tmp_path / "run"))
    (tmp_path / "run" / "journal.jsonl").write_bytes(b"".join(written.splitlines(keepends=True)[: cut + 2]))
    search(tmp_path / "run", small_table, **values)
    assert journal(tmp_path / "run") == written


class Stutterer(InlinePool):
    """Says everything twice, and the one before once more."""

    last: tuple[Trial, ...] = ()

    def wait(self) -> list[Trial]:
        (trial,) = super().wait()
        said = [trial, trial, *self.last]
        self.last = (trial,)
        return said


def test_late_and_repeated_completions_are_ignored_and_counted(small_table: Path, tmp_path: Path) -> None:
    evaluator = TableEvaluator(Table(small_table), Objective())
    journal, state = Journal.create(tmp_path / "journal.jsonl", {}), State()
    searcher, heard = make_searcher("random", CellSpace(evaluator.table.cells), {}, evaluator.budgets), []
    with closing(journal):
        ignored = run(
            searcher,
            Stutterer(evaluator),
            journal,
            Budget(20),
            state,
            Streams(0),
            [lambda t, _: heard.append(t.number)],
        )
    assert ignored == 20 + 19
    assert heard == list(range(20))
    assert verify(tmp_path).told == 20


def test_a_finished_search_run_again_changes_nothing(small_table: Path, tmp_path: Path) -> None:
    search(tmp_path / "run", small_table)
    before = files(tmp_path / "run")
    search(tmp_path / "run", small_table)
    assert files(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "it has seed = 0, not 1"),
        ({"trials": 25}, "it has trials = 24, not 25"),
        ({"trials": None, "budget_seconds": 10.0}, "it has trials = 24, not None"),
        ({"duplicates": "evaluate"}, "it has duplicates = 'reuse', not 'evaluate'"),
        ({"objective": {"repeat": 1}}, "it has objective.repeat = 'sample', not 1"),
        ({"pool": {"workers": 9}}, "it has pool.workers = 8, not 9"),
        ({"pool": {"kind": "inline"}}, "it has pool.kind = 'simulated', not 'inline'"),
        ({"searcher": {"name": "random"}}, "it has searcher.name = 'evolution', not 'random'"),
        ({"searcher": {"population": 9, "tournament": 3}}, "it has searcher.population = None, not 9"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_another_search_in_the_folder_is_refused_and_the_difference_named(
    change: dict[str, Any], named: str, small_table: Path, tmp_path: Path
) -> None:
    search(tmp_path / "run", small_table)
    before = files(tmp_path / "run")
    with pytest.raises(ArchsweepError, match="holds another search") as error:
        search(tmp_path / "run", small_table, **change)
    assert named in str(error.value)
    assert files(tmp_path / "run") == before


def test_the_same_search_on_another_table_is_refused(small_table: Path, curves_table: Path, tmp_path: Path) -> None:
    search(tmp_path / "run", small_table)
    with pytest.raises(ArchsweepError, match="its table has other values"):
        search(tmp_path / "run", curves_table)


def test_a_table_that_moved_is_the_same_table(small_table: Path, tmp_path: Path) -> None:
    search(tmp_path / "run", small_table)
    before = journal(tmp_path / "run")
    moved = tmp_path / "moved.arrow"
    moved.write_bytes(small_table.read_bytes())
    search(tmp_path / "run", moved)
    assert journal(tmp_path / "run") == before


def test_the_ledger_answers_a_duplicate_at_no_cost(small_table: Path, tmp_path: Path) -> None:
    search(tmp_path / "run", small_table, trials=200, searcher={"name": "random"})
    first: dict[int, Trial] = {}
    answered = 0
    for trial in told(tmp_path / "run"):
        assert trial.result is not None
        earlier = first.setdefault(trial.proposal.cell.key, trial)
        if trial.result.source == "ledger":
            answered += 1
            assert trial.result.paid == 0
            assert earlier.result is not None
            assert trial.result.training_seconds == earlier.result.training_seconds
            assert trial.finished == max(trial.asked, earlier.finished or 0)
            assert trial.result.objective == earlier.result.objective
        else:
            assert trial.result.paid > 0
    assert answered > 50


def test_a_duplicate_that_is_evaluated_again_is_paid_for_again(small_table: Path, tmp_path: Path) -> None:
    summary = search(tmp_path / "run", small_table, trials=200, searcher={"name": "random"}, duplicates="evaluate")
    results = [trial.result for trial in told(tmp_path / "run") if trial.result]
    assert summary.duplicates > 50
    assert all(result.source == "table" and result.paid > 0 for result in results)


def test_the_seconds_end_the_search_and_what_is_in_flight_is_finished(small_table: Path, tmp_path: Path) -> None:
    summary = search(tmp_path / "run", small_table, trials=None, budget_seconds=2e4, pool={"workers": 4})
    costs = [trial.result.paid for trial in told(tmp_path / "run") if trial.result]
    assert sum(costs) >= 2e4 > sum(costs[:-4])
    assert len(costs) == summary.trials
    assert len(events(tmp_path / "run")) == 2 * len(costs)


def test_a_search_that_knows_every_cell_ends_although_its_budget_is_not_spent(
    small_table: Path, tmp_path: Path
) -> None:
    summary = search(
        tmp_path / "run",
        small_table,
        trials=None,
        budget_seconds=1e12,
        searcher={"name": "random"},
        pool={"workers": 1},
    )
    assert summary.trials - summary.duplicates == 91
    assert summary.regret == 0


def test_a_search_in_which_every_trial_fails_ends(tmp_path: Path) -> None:
    source, table = tmp_path / "untimed.csv", tmp_path / "untimed.arrow"
    source.write_text(
        "adjacency,operations,epochs,validation_accuracy,training_time\n"
        '010001000,"input,conv3x3-bn-relu,output",4,0.5,10\n'
        '010001000,"input,conv3x3-bn-relu,output",108,0.9,\n'
    )
    import_table(source, table)
    summary = search(tmp_path / "run", table, trials=None, budget_seconds=1.0, searcher={"name": "random"})
    assert summary.failed == summary.trials > 0
    assert summary.best_hash is None
    assert "training time is unknown" in (events(tmp_path / "run")[-1].failure or "")


def test_a_folder_with_other_files_is_refused_and_left_as_it_was(small_table: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ArchsweepError, match=r"holds no search but other files \(thesis\.tex\)"):
        search(tmp_path, small_table)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_a_kill_before_the_journal_leaves_is_taken_over(small_table: Path, tmp_path: Path) -> None:
    search(tmp_path / "whole", small_table)
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    for name in (".lock", "config.toml", ".config.toml.abc.part"):
        (run_dir / name).touch()
        search(run_dir, small_table)
        assert journal(run_dir) == journal(tmp_path / "whole")
        (run_dir / "journal.jsonl").write_bytes(journal(run_dir)[:17])  # inside the header
        search(run_dir, small_table)
        assert files(run_dir).keys() == files(tmp_path / "whole").keys()
        for path in run_dir.iterdir():
            path.unlink()


def test_two_processes_cannot_search_in_one_folder(
    archsweep: Run, start: Start, until: Callable[..., None], small_table: Path, tmp_path: Path
) -> None:
    flags = ("search", "--table", small_table, "--trials", 10_000_000, "--no-track", "--out", tmp_path / "run")
    first = start(*flags)
    until((tmp_path / "run" / "journal.jsonl").exists)
    second = archsweep(*flags)
    assert second.returncode == 2
    assert f"another process searches in {tmp_path / 'run'}" in second.stderr
    first.send_signal(signal.SIGINT)
    assert first.wait() == 130


def test_a_folder_alone_resumes_what_is_in_it(archsweep: Run, small_table: Path, tmp_path: Path) -> None:
    search(tmp_path / "run", small_table, seed=3, searcher={"name": "random"})
    whole = journal(tmp_path / "run")
    (tmp_path / "run" / "journal.jsonl").write_bytes(whole[: len(whole) // 2])
    assert archsweep("search", "--out", tmp_path / "run").returncode == 0
    assert journal(tmp_path / "run") == whole


@pytest.mark.parametrize("kind", ["inline", "ray"])
def test_a_search_on_a_wall_clock_resumes_what_was_asked_and_asks_the_rest(
    kind: str, small_table: Path, tmp_path: Path, ray_cluster: None
) -> None:
    pool = {"kind": kind, "workers": 3}
    search(tmp_path / "run", small_table, pool=pool, duplicates="evaluate")
    whole = journal(tmp_path / "run")
    lines = whole.splitlines(keepends=True)
    for kept in (5, 12, 31):
        (tmp_path / "run" / "journal.jsonl").write_bytes(b"".join(lines[:kept]) + lines[kept][:9])
        summary = search(tmp_path / "run", small_table, pool=pool, duplicates="evaluate")
        assert journal(tmp_path / "run").startswith(b"".join(lines[:kept]))
        assert sorted(trial.number for trial in told(tmp_path / "run")) == list(range(24))
        assert (summary.trials, summary.failed) == (24, 0)
