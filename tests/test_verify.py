"""`archsweep verify` passes what is whole and names what is not."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from nas.errors import DataError
from orchestrator.records.lines import LineReader, LineWriter
from orchestrator.records.metrics import MetricsFile
from orchestrator.records.verify import Audit, verify
from orchestrator.search.search import Search
from orchestrator.settings.config import parse

Run = Callable[..., subprocess.CompletedProcess[str]]
Records = list[dict[str, Any]]

FILES = ("result.json", "trajectory.parquet", "metrics.jsonl")


@pytest.fixture(scope="module")
def whole(small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 60 trials on the simulated clock; its metrics as tracking would have them."""
    run_dir = tmp_path_factory.mktemp("verify") / "run"
    settings = {"table": small_table, "trials": 60, "searcher": {"name": "random"}, "tracking": {"enabled": False}}
    job = Search(parse(settings, "test"), run_dir)
    run_dir.mkdir()
    metrics = MetricsFile(run_dir, job.trajectory, job.usage, {})
    (run_dir / "metrics.jsonl").rename(run_dir / ".lock.metrics")  # or it would be no folder of a search
    job.run([metrics])
    metrics.end("FINISHED", ())
    (run_dir / ".lock.metrics").rename(run_dir / "metrics.jsonl")
    return run_dir


@pytest.fixture
def run_dir(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def records(run_dir: Path) -> Records:
    return list(LineReader(run_dir / "journal.jsonl"))


def rewrite(run_dir: Path, lines: Records) -> None:
    """A journal of these lines, each with a checksum that is right."""
    writer = LineWriter(run_dir / "journal.jsonl", 0)
    for line in lines:
        writer.append({name: value for name, value in line.items() if name != "crc"})
    writer.close()


def first(lines: Records, kind: str, after: int = 0) -> int:
    return next(place for place, line in enumerate(lines) if kind in line and place > after)


def test_a_whole_run_is_counted(whole: Path) -> None:
    assert verify(whole) == Audit(str(whole), 121, 60, 60, 0, 0, FILES)


def test_every_cut_of_a_whole_journal_is_whole(run_dir: Path) -> None:
    written = (run_dir / "journal.jsonl").read_bytes()
    for name in FILES:
        (run_dir / name).unlink()
    for cut in range(0, len(written), 97):
        (run_dir / "journal.jsonl").write_bytes(written[:cut])
        audit = verify(run_dir)
        assert audit.asked == audit.told + audit.failed + audit.pending
        assert audit.lines == written[:cut].count(b"\n")


def told_again(lines: Records) -> None:
    place = first(lines, "tell")
    lines.insert(place + 1, lines[place])


def told_but_never_asked(lines: Records) -> None:
    lines[first(lines, "tell")]["tell"] = 59


def not_asked(lines: Records) -> None:
    del lines[first(lines, "ask", 3)]


def asked_twice(lines: Records) -> None:
    place = first(lines, "ask")
    lines.insert(place + 1, lines[place])


def back_in_time(lines: Records) -> None:
    lines[first(lines, "ask", 50)]["at"] = 0.5


def started_before_it_was_asked(lines: Records) -> None:
    lines[first(lines, "tell", 50)]["started"] = -1.0


def without_a_number(lines: Records) -> None:
    lines[first(lines, "tell")]["result"]["objective"] = None


def without_a_reason(lines: Records) -> None:
    line = lines[first(lines, "tell")]
    line["fail"] = line.pop("tell")
    del line["result"]


def two_events(lines: Records) -> None:
    lines[first(lines, "tell")]["fail"] = 3


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (told_again, "is told again"),
        (told_but_never_asked, "trial 59 was never asked"),
        (not_asked, "it asks trial 4; the next one is 3"),
        (asked_twice, "it asks trial 0; the next one is 1"),
        (back_in_time, "the clock goes back"),
        (started_before_it_was_asked, "started at -1.0"),
        (without_a_number, "told without a result"),
        (without_a_reason, "failed without a reason"),
        (two_events, "not one event"),
    ],
)
def test_a_journal_that_contradicts_itself_is_refused_with_its_line(
    damage: Callable[[Records], None], named: str, run_dir: Path
) -> None:
    lines = records(run_dir)
    damage(lines)
    rewrite(run_dir, lines)
    with pytest.raises(DataError, match=named) as error:
        verify(run_dir)
    assert "journal.jsonl: line " in str(error.value)


def change_result(run_dir: Path, **changes: object) -> None:
    path = run_dir / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_step(run_dir: Path, name: str, add: float) -> None:
    path = run_dir / "metrics.jsonl"
    *before, last = path.read_text().splitlines()[:-1]
    step = json.loads(last)
    step["metrics"][name] += add
    path.write_text("\n".join([*before, json.dumps(step), '{"end": "FINISHED", "artifacts": []}', ""]))


def without_a_row(run_dir: Path) -> None:
    path = run_dir / "trajectory.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda folder: change_result(folder, trials=61), "result.json: trials is 61; the journal has 60"),
        (lambda folder: change_result(folder, best_objective=0.99), "best_objective is 0.99"),
        (lambda folder: change_step(folder, "objective", 0.001), "metrics.jsonl: step 60 has objective"),
        (lambda folder: change_step(folder, "regret", 0.001), "regret is counted from"),
        (without_a_row, "trajectory.parquet: the rows of batch 1 are not the journal's"),
        (lambda folder: rewrite(folder, records(folder)[:-1]), "the journal has"),
    ],
)
def test_a_file_that_disagrees_with_the_journal_is_named(
    damage: Callable[[Path], None], named: str, run_dir: Path
) -> None:
    damage(run_dir)
    with pytest.raises(DataError, match=named):
        verify(run_dir)


def test_many_runs_are_checked_and_every_broken_one_is_named(archsweep: Run, run_dir: Path, whole: Path) -> None:
    good = archsweep("verify", whole, "--json")
    assert (good.returncode, json.loads(good.stdout)["told"]) == (0, 60)
    lines = records(run_dir)
    told_again(lines)
    rewrite(run_dir, lines)
    done = archsweep("verify", run_dir, whole, run_dir.parent)
    assert done.returncode == 2
    assert done.stdout.startswith(f"{whole}: 121 lines, asked 60 = told 60 + failed 0 + pending 0; agrees with ")
    complaints = done.stderr.splitlines()
    assert ["is told again" in complaints[0], "holds no search" in complaints[1], len(complaints)] == [True, True, 2]
