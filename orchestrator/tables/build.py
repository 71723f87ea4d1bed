"""`archsweep table build`: trains every cell of a space and writes the benchmark table.

What is done is in an append-only journal beside the table, ``OUT.journal``: first ``{"build": version, "plan": ...}``,
then, in the order in which they ended, a line a cell and budget, ``{"cell": catalogue number, "epochs": budget,
"metrics": [[eight numbers], ...]}``, a list a repeat, null where a repeat diverged. A build that was killed, or whose
journal was taken to another machine, trains what the journal lacks. Cells go in a random order, each with all its
budgets, so the table of a build that was cut short is a uniform sample.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.errors import ArchsweepError, DataError, EvaluationError
from nas.nasbench101.catalogue import cells_up_to
from nas.nasbench101.cell import Cell
from nas.nasbench101.network import cost
from nas.table.records import module_hashes
from nas.table.table import METRICS, Table, TableData, refuse_other, write
from orchestrator.processes import ProcessDied, completed
from orchestrator.records.lines import LineReader, LineWriter
from orchestrator.records.lock import locked
from orchestrator.settings.values import checked_values, flat
from workers.datasets import Data, load
from workers.recipe import Setting

VERSION = 1
SECONDS_DIGITS = 4
Task = tuple[int, int]
"""A cell's catalogue number and a budget, epochs."""
Row = list[list[float | None]]
"""The metrics of every repeat."""
Report = Callable[[int, int], None]
"""Called with (epochs trained, epochs in all); an epoch counts once a cell, whatever the repeats."""


@dataclass(frozen=True)
class Plan:
    """What a build trains. Raises `ArchsweepError` on impossible numbers.

    max_vertices: of the cells, input and output included. budgets: epochs, ascending; each is a training of its own.
    seed: of the order of the cells and of every training.
    """

    max_vertices: int
    setting: Setting
    budgets: tuple[int, ...]
    repeats: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.max_vertices <= 7:
            raise ArchsweepError(f"cells have 2 to 7 vertices, got {self.max_vertices}")
        if not self.budgets or list(self.budgets) != sorted(set(self.budgets)) or self.budgets[0] < 1:
            raise ArchsweepError(f"budgets must be ascending numbers of epochs, got {list(self.budgets)}")
        if self.repeats < 1 or self.seed < 0:
            raise ArchsweepError(f"need at least one repeat and a seed from 0 on, got {self.repeats} and {self.seed}")

    def cells(self) -> NDArray[np.int32]:
        """The catalogue numbers of all cells, in the order of training."""
        return np.random.default_rng(self.seed).permutation(cells_up_to(self.max_vertices))

    def seeds(self, task: Task) -> tuple[int, ...]:
        """The seed of every repeat of a training."""
        states = np.random.SeedSequence((self.seed, *task)).generate_state(self.repeats)
        return tuple(int(state) for state in states)

    def to_json(self) -> dict[str, Any]:
        """JSON values that say all of it."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Plan:
        """The inverse of `to_json`; what an older version did not know yet has its default.

        Raises ValueError if it is no plan that this version knows, `ArchsweepError` on impossible numbers.
        """
        return checked_values(cls, values)


def build(
    plan: Plan,
    out: Path,
    workers: int,
    limit: int | None = None,
    folder: Path | None = None,
    report: Report = lambda *_: None,
) -> Table:
    """Trains what is not trained yet and writes the table.

    workers: processes, one thread each. limit: only the first so many cells of the plan's order; a later build may go
    on with more. folder: of the images. Raises `ArchsweepError`.
    """
    if workers < 1:
        raise ArchsweepError(f"--workers must be at least 1, got {workers}")
    if limit is not None and limit < 1:
        raise ArchsweepError(f"--limit must be at least 1, got {limit}")
    if out.is_dir():  # found now, not after hours
        raise ArchsweepError(f"{out} is a folder; name a file for the table")
    refuse_other(out)
    if out.exists() and not _beside(out, "journal").exists():
        raise ArchsweepError(f"{out} is there, and no journal of a build of it; choose another file, or delete it")
    load(plan.setting.data, folder)  # missing images are found before anything is written
    cells = plan.cells()[:limit]
    taken = f"another process builds {out}; wait for it, or choose another file"
    with locked(_beside(out, "lock"), taken, str(out)):
        done, journal = _opened(plan, _beside(out, "journal"))
        with closing(journal):
            todo = [(int(n), epochs) for n in cells for epochs in plan.budgets if (int(n), epochs) not in done]
            total = len(cells) * sum(plan.budgets)
            left = sum(epochs for _, epochs in todo)
            report(total - left, total)
            for task, row in trainings(plan, todo, workers, folder):
                journal.append({"cell": task[0], "epochs": task[1], "metrics": row})
                journal.flush()
                done[task] = row
                left -= task[1]
                report(total - left, total)
        write(_table_data(plan, cells, done), out)
    return Table(out)


def _beside(out: Path, kind: str) -> Path:
    return out.with_name(f"{out.name}.{kind}")


def _opened(plan: Plan, path: Path) -> tuple[dict[Task, Row], LineWriter]:
    """What the journal knows, and the journal, to be appended. Raises `ArchsweepError` if it is another plan's."""
    done: dict[Task, Row] = {}
    reader = LineReader(path)
    records = iter(reader) if path.exists() else iter(())
    header = next(records, None)
    if header is not None:
        _check_header(header, plan, path)
        for record in records:
            done |= _read(record, plan, path)
    journal = LineWriter(path, reader.position)
    if header is None:
        journal.append({"build": VERSION, "plan": plan.to_json()})
    return done, journal


def _read(record: dict[str, Any], plan: Plan, path: Path) -> dict[Task, Row]:
    """What a line says was trained. Raises `DataError` if that is none of the plan's trainings."""
    try:
        task, row = (int(record["cell"]), int(record["epochs"])), record["metrics"]
        if task[1] in plan.budgets and np.array(row, np.float64).shape == (plan.repeats, len(METRICS)):
            return {task: row}
    except (KeyError, TypeError, ValueError):
        pass
    raise DataError(f"{path} has a line that is no training of this build; choose another file for the table")


def _check_header(header: dict[str, Any], plan: Plan, path: Path) -> None:
    try:
        theirs = flat(Plan.from_json(header["plan"]).to_json()) if header["build"] == VERSION else None
    except (KeyError, ValueError):
        theirs = None
    if theirs is None:
        raise DataError(f"{path} is no journal that this archsweep can go on with; choose another file for the table")
    for name, value in flat(plan.to_json()).items():
        if theirs[name] != value:
            raise ArchsweepError(
                f"{path} belongs to a build with {name} = {theirs[name]}, not {value};"
                " choose another file for the table, or drop the change"
            )


def trainings(plan: Plan, todo: list[Task], workers: int, folder: Path | None) -> Iterator[tuple[Task, Row]]:
    """The metrics of every task, as they are ready. workers: processes; one is this process itself."""
    if workers == 1:
        _worker[:] = [_Worker(plan, load(plan.setting.data, folder))]
        yield from ((task, _train(task)) for task in todo)
        return
    try:
        yield from completed(_train, todo, min(workers, len(todo)), _start, (plan, folder))
    except ProcessDied:
        raise ArchsweepError("a training process died; the same command goes on from here") from None


@dataclass
class _Worker:
    """What a training process holds."""

    plan: Plan
    data: Data


_worker: list[_Worker] = []


def _start(plan: Plan, folder: Path | None) -> None:
    """In a training process: reads the images."""
    _worker[:] = [_Worker(plan, load(plan.setting.data, folder))]


def _train(task: Task) -> Row:
    from workers.trainer import train  # torch, which only training processes need

    plan, data = _worker[0].plan, _worker[0].data
    number, epochs = task
    try:
        found = train(Cell.numbered(number), plan.setting.trained_for(epochs), data, plan.seeds(task)).metrics
    except EvaluationError:
        found = np.full((plan.repeats, len(METRICS)), np.nan)
    times = [position for position, name in enumerate(METRICS) if name.endswith("time")]
    found[:, times] = found[:, times].round(SECONDS_DIGITS)
    return [[None if np.isnan(value) else value for value in repeat] for repeat in found.tolist()]


def _table_data(plan: Plan, cells: NDArray[np.int32], done: dict[Task, Row]) -> TableData:
    values = np.array([[done[int(n), epochs] for epochs in plan.budgets] for n in cells], np.float64)
    skeleton = plan.setting.skeleton
    return TableData(
        cells=cells,
        hashes=module_hashes(cells, lambda *_: None),
        parameters=np.array([cost(Cell.numbered(int(n)), skeleton).parameters for n in cells], np.int32),
        budgets=plan.budgets,
        metrics={name: values[..., position] for position, name in enumerate(METRICS)},
        source=f"trainings on {plan.setting.data.dataset} by archsweep {version('archsweep')}",
        made={"plan": plan.to_json(), "machine": machine()},
    )


def machine() -> dict[str, str]:
    """What this process runs on, as far as it bears on time and rounding; a build may have begun elsewhere."""
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text(errors="replace").splitlines() if cpus.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": f"{names[0]} x {len(names)}" if names else platform.processor(),
        "python": platform.python_version(),
        "torch": version("torch"),
    }
