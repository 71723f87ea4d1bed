"""What README and examples/ show works as shown."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.toml"))
SEARCHES = [example for example in EXAMPLES if example.stem != "sweep"]  # which tests/test_sweep.py runs
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/**/*.md"))]


@pytest.mark.parametrize("example", SEARCHES, ids=lambda path: path.stem)
def test_an_example_runs(archsweep: Run, example: Path, small_table: Path, tmp_path: Path) -> None:
    done = archsweep(
        "search", str(example), "--table", str(small_table), "--out", str(tmp_path / "run"), "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["trials"] > 0
    assert summary["mlflow_run_id"]


def test_every_example_is_named_in_the_readme() -> None:
    assert all(f"examples/{example.name}" in README for example in EXAMPLES)


@pytest.mark.parametrize("command", re.findall(r"^\$ (archsweep .*)$", README, re.MULTILINE))
def test_a_command_of_the_readme_is_one_that_exists(archsweep: Run, command: str, tmp_path: Path) -> None:
    words = command.split()[1:]
    names = words[:2] if words[0] == "table" else words[:1]
    assert archsweep(*names, "--help", cwd=tmp_path).returncode == 0


def test_the_first_screen_works_in_order(archsweep: Run, data: Path, tmp_path: Path) -> None:
    shutil.copy(data / "only108_30cells.tfrecord", tmp_path / "nasbench_only108.tfrecord")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    commands = re.findall(r"^(?:\$ )?archsweep ((?:search|table) .*)$", README, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        done = archsweep(*command.split(), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    for run in ("first", "search"):
        assert (tmp_path / "runs" / run / "regret.png").is_file()


def test_the_script_for_nasbench_runs(archsweep: Run, data: Path, tmp_path: Path) -> None:
    assert archsweep("table", "import", str(data / "ecnas_4v9e.tfrecord"), "nb101.arrow", cwd=tmp_path).returncode == 0
    script = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert script is not None
    done = subprocess.run(
        [sys.executable, "-c", script[1]], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert 0 < float(done.stdout) < 1


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("suffix", [".tfrecord", ".arrow"])
def test_make_demo_takes_a_source_or_a_table(suffix: str, data: Path, small_table: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    table = small_table if suffix == ".arrow" else data / "ecnas_4v9e.tfrecord"
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "archsweep"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'from orchestrator.cli.main import main; main()' \"$@\"\n")
    script.chmod(0o755)
    for file in ("pyproject.toml", "constraints.txt", ".ready"):
        (tmp_path / file).touch()
    command = ["make", "demo", f"TABLE={table}", "VENV=.", "ARGS=--trials 60"]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "60 (0 failed)" in done.stdout


def test_make_demo_without_a_table_takes_the_one_in_the_box(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for file in ("pyproject.toml", "constraints.txt", ".ready"):
        (tmp_path / file).touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "archsweep").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "bin" / "archsweep").chmod(0o755)
    done = subprocess.run(
        ["make", "--no-print-directory", "demo", "VENV=."], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stdout.split() == ["search", "examples/demo.toml", "--out", "runs/demo/fashion5-search"]
