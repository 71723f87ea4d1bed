"""`archsweep table build` and `archsweep train`, from the command line."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from nas.errors import ArchsweepError, DataError
from nas.nasbench101.cell import Cell
from nas.nasbench101.hashes import cell_of_hash
from nas.nasbench101.network import cost
from nas.table.table import METRICS, Table
from orchestrator.cli.main import main
from orchestrator.cli.progress import Curves, sparkline
from orchestrator.records.lines import LineReader, LineWriter
from orchestrator.tables.build import Plan, build
from workers.recipe import preset
from workers.trainer import Epoch

Start = Callable[..., subprocess.Popen[str]]
BUILD = ("--dataset", "digits", "--max-vertices", "3", "--budgets", "1,2", "--repeats", "2")
PLAN = Plan(3, preset("cpu", "digits"), (1, 2), repeats=2)
Archsweep = Callable[..., tuple[int, str, str]]
CHAIN = '{"adjacency": "010001000", "operations": "input,conv3x3-bn-relu,output"}'


@pytest.fixture
def archsweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Archsweep:
    """Runs the command in this process, in an empty folder: its exit code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["archsweep", *arguments])
        before = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit) as ended:
            main()
        signal.signal(signal.SIGTERM, before)
        return int(ended.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished build of the seven cells of up to three vertices, in one process."""
    out = tmp_path_factory.mktemp("built") / "table.arrow"
    build(PLAN, out, workers=1)
    return out


def accuracies(path: Path) -> dict[str, list[float]]:
    table = Table(path)
    return {name: table.metric(name).tolist() for name in METRICS if name.endswith("accuracy")}


def test_a_built_table_is_whole(built: Path) -> None:
    table = Table(built)
    assert (len(table), table.budgets, table.repeats) == (7, (1, 2), 2)
    assert sorted(table.cells.tolist()) == list(range(7))
    for name in METRICS:
        assert np.isfinite(table.metric(name)).all(), name
    assert (table.metric("final_training_time") > table.metric("halfway_training_time")).all()
    for row in range(7):
        assert table.parameters[row] == cost(table.cell(row), PLAN.setting.skeleton).parameters
        assert table.module_hash(row) == table.cell(row).module_hash
    assert np.ptp(table.metric("final_test_accuracy"), axis=2).max() > 0


def await_no_process_of(group: int) -> None:
    for _ in range(400):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("training processes outlived the build")


def test_a_build_that_is_killed_at_any_moment_goes_on_to_the_same_accuracies(
    built: Path, tmp_path: Path, archsweep: Archsweep, start: Start
) -> None:
    out, journal = tmp_path / "table.arrow", tmp_path / "table.arrow.journal"
    for number in (signal.SIGKILL, signal.SIGINT):
        lines = journal.read_bytes().count(b"\n") if journal.exists() else 0
        process = start("table", "build", str(out), *BUILD, "--workers", "2", cwd=tmp_path)
        while not journal.exists() or journal.read_bytes().count(b"\n") < lines + 2:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        _, errors = process.communicate(timeout=100)
        await_no_process_of(process.pid)
        assert not out.exists()
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "archsweep: interrupted; run the same command again to go on"
    journal.write_bytes(journal.read_bytes()[:-3])  # torn
    code, output, errors = archsweep("table", "build", str(out), *BUILD, "--workers", "1")
    assert (code, output) == (0, f"{out}: 7 cells, budgets [1, 2] epochs, 2 repeats\n"), errors
    assert accuracies(out) == accuracies(built)


def test_a_limited_build_is_the_start_of_the_whole_one(built: Path, tmp_path: Path) -> None:
    out, heard = tmp_path / "table.arrow", []
    few = build(PLAN, out, 1, limit=2)
    assert few.cells.tolist() == sorted(few.cells.tolist(), key=lambda n: Cell.numbered(n).module_hash)
    assert set(few.cells.tolist()) == set(PLAN.cells()[:2].tolist())
    whole = Table(built)
    rows = whole.rows(few.cells)
    for name, values in accuracies(out).items():
        assert (whole.metric(name)[rows] == values).all()
    build(PLAN, out, 1, limit=3, report=lambda *counts: heard.append(counts))
    assert heard == [(6, 9), (7, 9), (9, 9)]


def test_a_journal_of_another_build_is_refused(built: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.arrow"
    journal = built.with_name("table.arrow.journal").read_bytes()
    (tmp_path / "table.arrow.journal").write_bytes(journal)
    for plan, message in (
        (replace(PLAN, seed=1), "seed = 0, not 1"),
        (replace(PLAN, setting=preset("cpu", "digits").trained_for(3)), "setting.recipe.epochs = 9, not 3"),
    ):
        with pytest.raises(ArchsweepError, match=message):
            build(plan, out, 1)
    for wrong, message in ((b"abc\n", "line 1 is damaged"), (journal.replace(b"0.", b"1.", 1), "line .* is damaged")):
        (tmp_path / "table.arrow.journal").write_bytes(wrong)
        with pytest.raises(DataError, match=message):
            build(PLAN, out, 1)
    assert not out.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"cell": None},
        {"cell": [1]},
        {"epochs": 5},
        {"metrics": [[0.5] * 8]},
        {"metrics": "x"},
        {"metrics": [["x"] * 8] * 2},
    ],
)
def test_a_line_that_is_no_training_of_the_build_is_named(built: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    out = tmp_path / "table.arrow"
    path = tmp_path / "table.arrow.journal"
    records = list(LineReader(built.with_name("table.arrow.journal")))
    writer = LineWriter(path, 0)
    for record in (records[0], {**records[1], **change}):
        writer.append(record)
    writer.close()
    with pytest.raises(DataError, match="has a line that is no training of this build"):
        build(PLAN, out, 1)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("recipe", "optimizer", "adam"),
        ("recipe", "learning_rate", "a"),
        ("recipe", "learning_rate", float("nan")),
        ("recipe", "crop", -30),
        ("recipe", "momentum", -1),
        ("recipe", "layers", 3),
        ("data", "dataset", ["x"]),
        ("data", "validation", 0),
        ("data", "pool", 0),
        ("skeleton", "stacks", 0),
    ],
)
def test_a_plan_from_a_file_is_checked(part: str, key: str, value: Any) -> None:
    values = PLAN.to_json()
    values["setting"][part][key] = value
    with pytest.raises(ValueError, match=key):
        Plan.from_json(values)


def test_a_plan_goes_through_json_and_may_lack_what_is_newer() -> None:
    values = PLAN.to_json()
    assert Plan.from_json(values) == PLAN
    nasbench = Plan(2, preset("nasbench101"), (4,))
    older = nasbench.to_json()
    del older["setting"]["recipe"]["flip"]
    assert Plan.from_json(older) == nasbench


def test_the_space_of_five_vertices_is_trained_in_a_random_order() -> None:
    cells = replace(PLAN, max_vertices=5).cells()
    assert sorted(cells.tolist()) == list(range(2_532))
    assert abs(np.corrcoef(cells, np.arange(2_532))[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_vertices": 8}, "2 to 7 vertices, got 8"),
        ({"budgets": ()}, "ascending"),
        ({"budgets": (3, 1)}, "ascending"),
        ({"budgets": (0, 1)}, "ascending"),
        ({"repeats": 0}, "at least one repeat"),
    ],
)
def test_impossible_plans_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ArchsweepError, match=message):
        replace(PLAN, **change)  # type: ignore[arg-type]


def test_train_goes_on_after_being_killed_and_prints_json(tmp_path: Path, archsweep: Archsweep, start: Start) -> None:
    arguments = ("train", "--cell", CHAIN, "--epochs", "30", "--json")
    process = start(*arguments, cwd=tmp_path)
    while not list(tmp_path.glob("runs/checkpoints/*/*.safetensors")):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert archsweep(*arguments, "--epochs", "1")[0] == 0, "another training, which leaves the first alone"
    code, output, errors = archsweep(*arguments)
    assert code == 0, errors
    values = json.loads(output)
    assert values["module_hash"] == Cell.from_json(CHAIN).module_hash
    assert values["test_accuracy"] > 0.8
    curves = list(tmp_path.glob("runs/checkpoints/*/*.jsonl"))
    kept = max(curves, key=lambda path: path.stat().st_size)  # the other one is of the training for one epoch
    lines = [json.loads(line) for line in kept.read_bytes().splitlines()]
    again = [line["epoch"] for line in lines if line["by"] == lines[-1]["by"]]
    assert again == list(range(again[0], 31))
    assert again[0] > 1, "it began anew"
    assert [row["epoch"] for row in values["curve"]] == [line["epoch"] for line in lines]
    assert not list(tmp_path.glob("runs/checkpoints/*/*.safetensors"))


def test_train_shows_its_result(archsweep: Archsweep) -> None:
    code, output, _ = archsweep("train", "--hash", Cell.from_json(CHAIN).module_hash, "--epochs", "1")
    assert code == 0
    assert "validation accuracy" in output


def test_curves_are_drawn_on_a_terminal() -> None:
    shown = io.StringIO()
    with Curves(Console(file=shown, force_terminal=True, width=100)) as curves:
        for number in (1, 2):
            curves(Epoch(number, 2, 1 / number, 0.4 * number, 0.3 * number, 1.0))
    assert "epoch 2/2" in shown.getvalue()
    assert "validation accuracy   0.6000 ▁█" in shown.getvalue()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "name one cell"),
        (["train", "--cell", "{"], "not JSON"),
        (["train", "--hash", "12"], "not a module_hash"),
        (["train", "--cell", CHAIN, "--preset", "gpu"], "unknown preset 'gpu'"),
        (["train", "--cell", CHAIN, "--dataset", "mnist"], "unknown data set 'mnist'"),
        (["train", "--cell", CHAIN, "--epochs", "0"], "at least 1 epoch"),
        (["train", "--cell", CHAIN, "--device", "tpu"], "no device 'tpu'"),
        (["train", "--cell", CHAIN, "--dataset", "cifar-10", "--data", "."], "get cifar-10-binary"),
        (["table", "build", "x.arrow", "--budgets", "1;2"], "expected numbers of epochs"),
        (["table", "build", "file/x.arrow", "--dataset", "digits"], "cannot write file/x.arrow"),
        (["table", "build", "x.arrow", "--dataset", "digits", "--limit", "0"], "--limit must be at least 1"),
        (["table", "build", "x.arrow", "--dataset", "digits", "--workers", "0"], "--workers must be at least 1"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, archsweep: Archsweep
) -> None:
    (tmp_path / "file").touch()
    code, _, errors = archsweep(*arguments)
    assert code == 2
    assert errors.startswith("archsweep: ")
    assert message in errors
    assert errors.count("\n") == 1


def test_a_hash_finds_its_cell() -> None:
    for number in (0, 6, 2_531):
        assert cell_of_hash(Cell.numbered(number).module_hash).key == number


def test_sparklines_span_their_values() -> None:
    assert sparkline([0.0, 1.0, 0.5], 9) == "▁█▅"
    assert sparkline([2.0, 2.0], 9) == "▁▁"
    assert sparkline([9.0, 0.0, 7.0], 2) == "▁█"
