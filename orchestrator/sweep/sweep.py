"""A sweep in one folder: many searches, begun, resumed, finished.

The folder holds ``sweep.toml``, as it was told; ``sweep.json``, what its groups and seeds are; ``arms/GROUP/SEED``, an
ordinary search folder each; and the report. An arm's result.json alone says that it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nas.errors import ArchsweepError
from nas.files import replacing
from orchestrator.records.folder import LOCK
from orchestrator.records.lock import locked
from orchestrator.search.search import INTERRUPTED_PATIENCE
from orchestrator.settings.values import flat
from orchestrator.sweep.arm import Outcome, Task
from orchestrator.sweep.launch import Launcher
from orchestrator.sweep.log import SweepLog
from orchestrator.sweep.page import save_page
from orchestrator.sweep.plan import SweepPlan
from orchestrator.sweep.report import Report, report, save_arms
from orchestrator.sweep.state import MANIFEST, Manifest, Results
from orchestrator.tracking.store import PATIENCE, default_uri
from orchestrator.tracking.tracker import Tracker

TOLD = "sweep.toml"
PATIENCE_AN_ARM = 0.1
"""Seconds that tracking gets at the end for every arm, above what it gets for a search."""

Observer = Callable[[str, Outcome | None], None]
"""Hears of every arm, by its folder: None as it begins, then what became of it."""


class Sweep:
    """A sweep, checked and ready."""

    def __init__(self, plan: SweepPlan, folder: Path) -> None:
        self.plan, self.folder = plan, folder.absolute()
        self.manifest = Manifest.of(plan)
        self.tracking_error: str | None = None
        refuse_other_files(self.folder)

    def run(self, launch: Launcher, observe: Observer = lambda *_: None) -> Results:
        """Runs every arm that is not done, until the last has ended or `Results.enough` are done.

        An exception (a KeyboardInterrupt, say) leaves the folder ready to be resumed.
        """
        taken = f"another process sweeps in {self.folder}; wait for it, or choose another --out"
        with locked(self.folder / LOCK, taken, f"in {self.folder}"):
            with replacing(self.folder / TOLD) as temporary:
                temporary.write_text(self.plan.to_toml(), encoding="utf-8")
            self.manifest.write(self.folder)
            results = Results.read(self.folder, self.manifest)
            results.failures.clear()  # they are tried again
            with self._tracked(results) as tracked:
                self._run(results, launch, [*tracked, observe])
        return results

    @contextmanager
    def _tracked(self, results: Results) -> Iterator[list[Observer]]:
        """Tracks what happens inside, if it should be, and reports it: the observer that does."""
        tracking = self.plan.first.tracking
        if not tracking.enabled:
            yield []
            self._report(results)
            return
        log = SweepLog(self.folder, self._described(), self.plan.arms, results.done)
        tracker = Tracker(self.folder, tracking.uri or default_uri(self.folder.parent))
        try:
            yield [log]
            found, files = self._report(results)
        except BaseException:
            log.killed()
            tracker.join(INTERRUPTED_PATIENCE)
            raise
        log.finished(found, [self.folder / TOLD, *files])
        self.tracking_error = tracker.join(PATIENCE + len(results.done) * PATIENCE_AN_ARM)

    def _report(self, results: Results) -> tuple[Report | None, list[Path]]:
        """What was found, and the files that say so; nothing if every arm failed."""
        if not results.done:
            return None, []
        found, arms = report(self.folder)
        return found, [save_page(found, self.folder), save_arms(arms, self.folder)]

    def _described(self) -> dict[str, Any]:
        """What tracking calls this sweep."""
        sweep = self.plan.sweep
        values = flat(self.plan.first.model_dump(mode="json", exclude={"tracking", "seed"}))
        varied = tuple(f"{axis}." for axis in sweep.axes)
        same = {key: value for key, value in values.items() if not f"{key}.".startswith(varied)}
        return {
            "name": sweep.name or self.folder.name,
            "experiment": self.plan.first.tracking.experiment,
            "params": {**same, "arms": len(self.plan.arms), "seeds": len(sweep.seeds)},
            "tags": {
                "archsweep.kind": "sweep",
                "archsweep.run_dir": str(self.folder),
                "archsweep.version": version("archsweep"),
            },
        }

    def _run(self, results: Results, launch: Launcher, observers: Sequence[Observer]) -> None:
        enough = results.enough

        def waiting() -> Iterator[Task]:
            for arm in self.plan.arms:
                if enough is not None:
                    return
                if arm.folder not in results.done:
                    for observe in observers:
                        observe(arm.folder, None)
                    yield Task(arm.config, self.folder / arm.folder)

        for task, outcome in launch(waiting()):
            arm = str(task.folder.relative_to(self.folder))
            results.add(arm, outcome)
            for observe in observers:
                observe(arm, outcome)
            enough = results.enough


def refuse_other_files(folder: Path) -> None:
    """Raises `ArchsweepError` if the folder holds anything but a sweep, before anything is written there."""
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    others = sorted(name for name in names if not name.startswith((LOCK, TOLD, f".{TOLD}.", f".{MANIFEST}.")))
    if others and MANIFEST not in names:
        raise ArchsweepError(f"{folder} holds no sweep but other files ({others[0]}); choose a new folder")
