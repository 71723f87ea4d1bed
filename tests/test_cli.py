"""The command line: what it prints, and one line for everything that can be wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from nas.table.importing import import_table
from nas.table.table import METRICS, Table
from orchestrator.cli.main import main
from orchestrator.records.results import Summary
from searchers.registry import SEARCHERS

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Until = Callable[[Callable[[], object]], None]

COMMANDS = (
    ("search",), ("searchers",), ("table",), ("table", "import"), ("table", "info"), ("table", "query"),
    ("table", "build"), ("table", "datasheet"), ("table", "pretrained"), ("train",), ("drift",),
    ("stop",), ("track",), ("ui",),
)  # fmt: skip
CHAIN = '{"adjacency": "010001000", "operations": "input,conv3x3-bn-relu,output"}'
PASSWORD = "http://user:hunter2@127.0.0.1:5000"

SEARCH = "search --no-track --out {dir}/new --trials 5"
WRONG = {
    "a truncated TFRecord": ("table import {dir}/cut.tfrecord {dir}/new.arrow", "is cut off at byte 21300"),
    "a flipped bit in a TFRecord": ("table import {dir}/flipped.tfrecord {dir}/new.arrow", "not match its checksum"),
    "an empty TFRecord": ("table import {dir}/empty.tfrecord {dir}/new.arrow", "is empty"),
    "a source that is missing": ("table import {dir}/none.tfrecord {dir}/new.arrow", "no file at {dir}/none.tfrecord"),
    "a source of another kind": ("table import {dir}/broken.toml {dir}/new.arrow", "unknown kind of file '.toml'"),
    "a CSV without its columns": ("table import {dir}/other.csv {dir}/new.arrow", "has no column adjacency"),
    "a folder that is a file": ("table import {data}/only108_30cells.tfrecord {dir}/file/t", "cannot write {dir}/file"),
    "a folder that is missing": ("table import {data}/only108_30cells.tfrecord {dir}/no/t", "cannot write {dir}/no/t"),
    "a table that is missing": ("table info {dir}/none.arrow", "no table at {dir}/none.arrow"),
    "a file that is no table": ("table info {dir}/text.arrow", "{dir}/text.arrow is no archsweep table"),
    "a folder as a table": ("table info {dir}", "is no archsweep table"),
    "neither --hash nor --cell": ("table query {small}", "--hash MD5 or with --cell JSON"),
    "both --hash and --cell": ("table query {small} --hash aa --cell bb", "--hash MD5 or with --cell JSON"),
    "a hash that is none": ("table query {small} --hash xyz", "not a module_hash: 'xyz'"),
    "an empty hash": ("table query {small} --hash=", "not a module_hash: ''"),
    "an unknown hash": ("table query {small} --hash " + "0" * 32, "does not hold cell " + "0" * 32),
    "a cell that is no JSON": ("table query {small} --cell {{", "the cell is not JSON"),
    "an empty cell": ("table query {small} --cell=", "the cell is not JSON"),
    "JSON that is no cell": ("table query {small} --cell [1]", "not a cell: [1]"),
    "a cell outside the space": ('table query {small} --cell {{"matrix":[[0,0],[0,0]],"ops":["input","output"]}}',
                                 "input does not reach its output"),
    "a cell with an unknown operation": (
        'table query {small} --cell {{"adjacency":"010001000","operations":"input,conv5x5,output"}}',
        "unknown operation 'conv5x5'"),
    "a flag of another comparison": ("compare {small} --trials 3", "--trials belongs to --search"),
    "two surrogates to search": ("compare {small} --search --labels 9 --labels 10", "takes one --surrogate and one"),
    "no such surrogate to search": ("compare {small} --search --surrogate nope", "unknown surrogate 'nope'"),
    "a search on a table that is missing": (SEARCH + " --table {dir}/none.arrow", "no table at {dir}/none.arrow"),
    "a search on a file that is no table": (SEARCH + " --table {dir}/text.arrow", "is no archsweep table"),
    "an unknown searcher": (SEARCH + " --table {small} --searcher evolutoin",
                            "unknown searcher 'evolutoin'; did you mean 'evolution'?"),
    "a searcher by another name": (SEARCH + " --table {small} --searcher ASHA", "'ASHA'; here it is 'halving'"),
    "a sampler as searcher": (SEARCH + " --table {small} --searcher tpe", "'optuna' with the parameter sampler=tpe"),
    "an address without Ray": (SEARCH + " --table {small} --address auto", "--address is for --pool ray"),
    "retries without Ray": (SEARCH + " --table {small} --pool inline --retries 5", "this search has inline"),
    "slow workers on Ray": (SEARCH + " --table {small} --pool ray --speed-spread 1",
                            "--speed-spread is for --pool simulated"),
    "a filter without a policy": (SEARCH + " --table {small} --filter-parameter candidates=9",
                                  "'filter.policy' is missing; with flags: --filter POLICY"),
    "a recipe without training": (SEARCH + " --table {small} --preset cpu", "with flags: --evaluator KIND"),
    "a sweep as a search": (SEARCH + " {dir}/sweep.toml", "a file with [sweep] is for `archsweep sweep`"),
    "an unknown key like no other": (SEARCH + " {dir}/odd.toml", "unknown key 'qqq'"),
    "a text as section": (SEARCH + " {dir}/text.toml", "pool = 'ray': it is a section, of which pool.kind is the main"),
    "a table over notes": ("table import {data}/only108_30cells.tfrecord {dir}/text.arrow", "and is no table"),
    "predictions over notes": ("table pretrained {dir}/text.arrow", "is there, and is no table"),
    "a build over a table": ("table build {small} --dataset digits", "is there, and no journal of a build of it"),
    "a searcher like no other": (SEARCH + " --table {small} --searcher zzz", "choose from random"),
    "an unknown parameter": (SEARCH + " --table {small} -p populaton=3", "'populaton'; did you mean 'population'?"),
    "a parameter of the wrong type": (SEARCH + " --table {small} -p population=many", "population = 'many'"),
    "a parameter of no known choice": (SEARCH + " --table {small} --searcher optuna -p sampler=foo",
                                       "searcher 'optuna': sampler = 'foo': Input should be 'tpe', 'motpe'"),
    "a parameter out of range": (SEARCH + " --table {small} -p population=0", "population must be at least 1, got 0"),
    "a tournament out of range": (SEARCH + " --table {small} -p population=3", "must be 1 to population (3)"),
    "a parameter without a value": (SEARCH + " --table {small} -p population", "'population': expected KEY=VALUE"),
    "no trials": (SEARCH + " --table {small} --trials 0", "trials = 0: input should be greater than or equal to 1"),
    "negative trials": (SEARCH + " --table {small} --trials -3", "trials = -3"),
    "trials beyond counting": (SEARCH + " --table {small} --trials 9" + 20 * "9", "trials = 9" + 20 * "9"),
    "trials that are no number": (SEARCH + " --table {small} --trials many", "'many' is not a valid integer"),
    "a negative budget": (SEARCH + " --table {small} --budget-seconds -1", "budget_seconds = -1.0"),
    "an infinite budget": (SEARCH + " --table {small} --budget-seconds inf", "budget_seconds = inf"),
    "a negative seed": (SEARCH + " --table {small} --seed -1", "seed = -1"),
    "no workers": (SEARCH + " --table {small} --workers 0", "pool.workers = 0"),
    "an unknown pool": (SEARCH + " --table {small} --pool slurm", "pool.kind = 'slurm'"),
    "an unknown objective": (SEARCH + " --table {small} --objective latency", "objective.column = 'latency'"),
    "epochs that the table lacks": (SEARCH + " --table {small} --epochs 50",
                                    "has no budget of 50 epochs; choose from 4, 12, 36, 108"),
    "a rung that the table lacks": (SEARCH + " --table {small} --searcher halving -p budgets=[5,108]",
                                    "budgets has 5; cells are trained for 4 or 12 or 36 or 108 epochs"),
    "a rung beyond the recipe": (SEARCH + " --evaluator train --pool inline --searcher halving -p budgets=[9,27]",
                                 "budgets has 27; cells are trained for up to 9 epochs"),
    "no epochs": (SEARCH + " --table {small} --epochs 0", "has no budget of 0 epochs"),
    "a repeat that the table lacks": (SEARCH + " --table {small} --repeat 3", "has repeats 0 to 2; got repeat 3"),
    "a repeat that is none": (SEARCH + " --table {small} --repeat best", "objective.repeat = 'best'"),
    "no validation accuracy": (SEARCH + " --table {dir}/test_only.arrow --pool inline",
                               "has no validation accuracy at 108 epochs; choose --objective test"),
    "no training times": (SEARCH + " --table {dir}/test_only.arrow --objective test", "has no training times"),
    "TOML that is broken": (SEARCH + " {dir}/broken.toml", "{dir}/broken.toml is not TOML"),
    "TOML that is no text": (SEARCH + " {dir}/flipped.tfrecord", "is not TOML"),
    "a configuration that is missing": (SEARCH + " {dir}/none.toml", "cannot read configuration {dir}/none.toml"),
    "an unknown key": (SEARCH + " {dir}/unknown.toml",
                       "{dir}/unknown.toml: unknown key 'pool.wrokers'; did you mean 'workers'?"),
    "a value of the wrong type": (SEARCH + " {dir}/type.toml", "{dir}/type.toml: pool.workers = 'eight'"),
    "a section that is none": (SEARCH + " {dir}/section.toml", "{dir}/section.toml: pool = 8"),
    "a password in a file": (SEARCH + " {dir}/password.toml", "set MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_USERNAME"),
    "a folder below a file": (SEARCH + " --table {small} --out {dir}/file/run", "cannot write in {dir}/file/run"),
    "a file as folder": (SEARCH + " --table {small} --out {dir}/file", "cannot write in {dir}/file"),
    "a folder of other files": (SEARCH + " --table {small} --out {dir}", "holds no search but other files"),
    "nothing to track": ("track {dir}", "{dir} holds no tracked search"),
    "nothing to stop": ("stop {dir} 1", "{dir} holds no search"),
    "nothing to show": ("ui {dir}", "nothing is tracked in {dir}"),
    "an unknown command": ("serach", "No such command 'serach'"),
    "an unknown option": ("search --tabel x", "No such option"),
    "an option without its value": ("search --table", "requires an argument"),
    "an argument too many": ("searchers all", "unexpected extra argument (all)"),
    "an argument too few": ("table build", "Missing argument 'OUT'"),
}  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, data: Path) -> Path:
    """A folder of files that are wrong, each in its own way."""
    published = (data / "only108_30cells.tfrecord").read_bytes()
    (tmp_path / "cut.tfrecord").write_bytes(published[:21_300])
    middle = len(published) // 2
    flipped = published[:middle] + bytes([published[middle] ^ 1]) + published[middle + 1 :]
    (tmp_path / "flipped.tfrecord").write_bytes(flipped)
    (tmp_path / "empty.tfrecord").touch()
    (tmp_path / "file").write_text("a regular file")
    (tmp_path / "text.arrow").write_text("no table\n" * 99)
    (tmp_path / "sweep.toml").write_text("[sweep]\nseeds = 3\n")
    (tmp_path / "odd.toml").write_text("qqq = 3\n")
    (tmp_path / "text.toml").write_text('pool = "ray"\n')
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "test.csv").write_text(
        'adjacency,operations,epochs,test_accuracy\n010001000,"input,conv3x3-bn-relu,output",108,0.9\n'
    )
    import_table(tmp_path / "test.csv", tmp_path / "test_only.arrow")
    for name, text in {
        "broken": "trials = = 5",
        "unknown": 'table = "t"\n[pool]\nwrokers = 8',
        "type": 'table = "t"\n[pool]\nworkers = "eight"',
        "section": 'table = "t"\npool = 8',
        "password": f'table = "t"\n[tracking]\nuri = "{PASSWORD}"',
    }.items():
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def called(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a command that runs in this process."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sys, "argv", ["archsweep", *line.split(" ")])
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    try:
        with pytest.raises(SystemExit) as left:
            main()
    finally:
        signal.signal(signal.SIGTERM, before)
    return int(left.value.code or 0)


@pytest.mark.parametrize(("line", "named"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_one_line_that_names_it_and_nothing_is_written(
    line: str, named: str, here: Path, data: Path, small_table: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    before = contents(here)
    names = {"dir": here, "small": small_table, "data": data}
    code = called(line.format_map(names), monkeypatch)
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1, said.err
    assert said.err.startswith("archsweep: ")
    assert named.format_map(names) in said.err
    assert "hunter2" not in said.err
    assert contents(here) == before


def test_a_complaint_in_a_process_of_its_own_is_one_line_too(archsweep: Run, tmp_path: Path) -> None:
    done = archsweep("search", "--table", tmp_path / "none.arrow")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"archsweep: no table at {tmp_path}/none.arrow; make one with `archsweep table import SRC "
        f"{tmp_path}/none.arrow`\n"
    )


@pytest.mark.parametrize(
    ("ended_by", "pool"), [(signal.SIGINT, "simulated"), (signal.SIGTERM, "simulated"), (signal.SIGTERM, "ray")]
)
def test_an_interrupted_search_says_how_to_go_on_and_goes_on(
    ended_by: signal.Signals, pool: str, archsweep: Run, start: Start, until: Until, curves_table: Path, tmp_path: Path
) -> None:
    flags = (
        "search",
        "--table",
        curves_table,
        "--trials",
        12_000,
        "--no-track",
        "--out",
        tmp_path / "run",
        "--pool",
        pool,
    )
    journal = tmp_path / "run" / "journal.jsonl"
    process = start(*flags)
    until(lambda: journal.exists() and journal.stat().st_size > 100_000)
    process.send_signal(ended_by)
    out, complaint = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert complaint.strip().splitlines()[-1] == "archsweep: interrupted; run the same command again to go on"
    before = journal.read_bytes()
    assert len(before.splitlines()) < 24_000
    done = archsweep(*flags, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["trials"] == 12_000
    assert journal.read_bytes().startswith(before)


@pytest.mark.parametrize("line", ["--help", "searchers", "table info {small}", "table query {small} --cell {cell}",
                                  "search --table {small} --trials 5 --no-track --out {dir} --json",
                                  "search --table {small} --trials 5 --no-track --out {dir}"])  # fmt: skip
def test_a_reader_that_has_left_is_no_traceback(line: str, small_table: Path, tmp_path: Path, start: Start) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    cell = CHAIN.replace(" ", "")
    command = [str(Path(sys.executable).with_name("archsweep"))]
    arguments = [part.format(small=small_table, dir=tmp_path / "run", cell=cell) for part in line.split(" ")]
    done = subprocess.run(command + arguments, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.stderr == ""


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_an_example(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(" ".join((*command, "--help")), monkeypatch) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Usage: archsweep {' '.join(command)}")
    assert any(line.strip().startswith(f"archsweep {' '.join(command)}") for line in said.splitlines()[1:]), said


def test_without_a_command_the_help_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["archsweep"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert "Commands:" in "".join(capsys.readouterr())


def test_a_result_is_one_json_object_with_the_documented_keys(
    small_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(f"search --table {small_table} --trials 30 --no-track --json --out {tmp_path}/run", monkeypatch) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert list(result) == [field.name for field in fields(Summary)] == [
        "trials", "failed", "duplicates", "ignored", "best_hash", "best_objective", "best_test_accuracy", "best_source",
        "regret", "clock_seconds", "utilisation", "busy_seconds", "queue_seconds", "cost", "hypervolume", "front",
        "wall_seconds", "trials_per_second", "spans", "binds", "run_dir", "mlflow_run_id",
    ]  # fmt: skip
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == result
    assert (said.err, result["trials"], result["mlflow_run_id"]) == ("", 30, None)


def test_a_result_for_people_says_what_the_json_says(archsweep: Run, small_table: Path, tmp_path: Path) -> None:
    done = archsweep("search", "--table", small_table, "--trials", 30, "--no-track", "--out", tmp_path / "run")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert f"{result['best_objective'] * 100:.3f} %" in done.stdout
    assert f"{result['regret'] * 100:.3f} points" in done.stdout
    assert result["best_hash"] in done.stdout


def test_flags_win_over_the_file_and_the_file_over_defaults(
    small_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        f'table = "{small_table}"\ntrials = 9\nseed = 4\n[searcher]\nname = "evolution"\npopulation = 7\n'
        'tournament = 3\n[objective]\ncolumn = "test"\n[tracking]\nenabled = false\n'
    )
    line = f"search {config} --seed 5 -p population=8 --repeat 1 --epochs 36 --speed-spread 0.5 --out {tmp_path}/run"
    assert called(line, monkeypatch) == 0
    header = json.loads((tmp_path / "run" / "journal.jsonl").read_text().splitlines()[0])["search"]
    wanted: dict[str, Any] = {
        "trials": 9, "seed": 5, "searcher.name": "evolution", "searcher.population": 8, "searcher.tournament": 3,
        "objective.column": "test", "objective.repeat": 1, "objective.epochs": 36, "pool.speed_spread": 0.5,
        "pool.workers": 8, "duplicates": "reuse",
    }  # fmt: skip
    assert wanted.items() <= header.items()


def test_a_folder_is_chosen_if_none_is_given(
    small_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert called(f"search --table {small_table} --searcher random --trials 5 --seed 7 --no-track", monkeypatch) == 0
    assert (tmp_path / "runs" / "random-small-seed7" / "result.json").is_file()


def test_a_table_is_imported_and_described(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "made.arrow"
    assert called(f"table import {data}/only108_30cells.tfrecord {made}", monkeypatch) == 0
    assert capsys.readouterr().out == f"{made}: 30 cells, budgets [108] epochs, 3 repeats\n"
    assert called(f"table info {made} --json", monkeypatch) == 0
    about = json.loads(capsys.readouterr().out)
    assert set(about) == {"cells", "budgets", "repeats", "source", "fingerprint", "filled"}
    assert (about["cells"], about["budgets"], about["repeats"]) == (30, [108], 3)
    assert about["filled"] == dict.fromkeys(METRICS, 1.0)
    assert called(f"table info {made}", monkeypatch) == 0
    assert "30 cells" in " ".join(capsys.readouterr().out.split())


def test_a_query_by_hash_and_by_cell_gives_the_same(
    small_table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(f"table query {small_table} --cell {CHAIN.replace(' ', '')}", monkeypatch) == 0
    by_cell = json.loads(capsys.readouterr().out)
    assert called(f"table query {small_table} --hash {by_cell['module_hash']}", monkeypatch) == 0
    assert json.loads(capsys.readouterr().out) == by_cell
    table = Table(small_table)
    row = table.row_of_hash(by_cell["module_hash"])
    assert by_cell["trainable_parameters"] == table.parameters[row]
    assert list(by_cell["trainings"]) == ["4", "12", "36", "108"]
    third = by_cell["trainings"]["108"][2]
    assert third == {name: table.value(name, row, 3, 2) for name in METRICS}


def test_the_searchers_are_listed_with_their_parameters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called("searchers --json", monkeypatch) == 0
    listed = json.loads(capsys.readouterr().out)
    assert list(listed) == list(SEARCHERS)
    assert listed["evolution"]["parameters"]["tournament"]["default"] == 10
    assert called("searchers", monkeypatch) == 0
    said = capsys.readouterr().out
    for name, entry in SEARCHERS.items():
        assert f"{name} ({entry.kind}): {entry.summary} ({entry.paper})" in said
        assert all(f"  {parameter} = " in said for parameter, *_ in entry.parameters())


def test_the_version_is_the_installed_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("--version", monkeypatch) == 0
    assert capsys.readouterr().out.startswith("archsweep, version ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line(archsweep: Run, small_table: Path, tmp_path: Path) -> None:
    flags = ("search", "--table", small_table, "--trials", 30, "--no-track", "--out", tmp_path / "run")
    assert archsweep(*flags).returncode == 0
    whole = (tmp_path / "run" / "journal.jsonl").read_bytes()
    limited = ["bash", "-c", 'ulimit -f 8; exec "$@"', "_", shutil.which("archsweep", path=Path(sys.executable).parent)]
    (tmp_path / "run" / "journal.jsonl").write_bytes(whole[:4_000])
    done = subprocess.run([*map(str, limited), *map(str, flags)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "File too large" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert archsweep(*flags).returncode == 0
    assert (tmp_path / "run" / "journal.jsonl").read_bytes() == whole
