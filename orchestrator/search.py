"""One search in one folder: begun, resumed, finished.

The folder holds ``config.toml``, ``journal.jsonl``, and at the end ``result.json``, ``trajectory.parquet``,
``regret.png`` and ``best_cell.svg``. The journal alone is what counts; the rest is made from it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nas.errors import ArchsweepError
from nas.files import replacing
from nas.space import CellSpace
from nas.table import Table
from nas.trial import Status
from orchestrator.config import Config, flat
from orchestrator.draw import save_pictures
from orchestrator.journal import Journal, Reading
from orchestrator.lock import locked
from orchestrator.loop import Observer, Streams, finish, run
from orchestrator.metrics import MetricsFile
from orchestrator.results import Summary, save_trials
from orchestrator.state import Budget, State
from orchestrator.tracking import RUN_ID_FILE, Tracker, default_uri
from orchestrator.trajectory import Trajectory
from orchestrator.warm_start import earlier
from searchers.registry import make_searcher
from workers.base import Pool
from workers.inline import InlinePool
from workers.ledger import Ledger, LedgerPool
from workers.simulated import SimulatedPool, worker_speeds
from workers.table import TableEvaluator, open_evaluator

CONFIG, JOURNAL, RESULT, TRIALS = "config.toml", "journal.jsonl", "result.json", "trajectory.parquet"
INTERRUPTED_PATIENCE = 5.0
"""Seconds that tracking gets to log the rest of a search that was interrupted; a resumed search catches up."""
LOCK = ".lock"
OWN_FILES = (LOCK, CONFIG, f".{CONFIG}.")
"""How the names begin that a search leaves if it is killed before its journal is there."""
SIMULATED_FLUSH = 1.0
"""Seconds between flushes of the journal on the simulated clock, see `Journal`."""


class Search:
    """A search, checked and ready: everything that can be wrong with its input is found here, before DIR is touched.

    Raises `ArchsweepError`.
    """

    def __init__(self, config: Config, run_dir: Path) -> None:
        self.config, self.run_dir = config, run_dir
        table = Table(config.table)
        self._evaluator = TableEvaluator(table, config.objective)
        timed = "final_training_time" in table.names
        if not timed and (config.pool.kind == "simulated" or config.budget_seconds):
            raise ArchsweepError(f"{table.path} has no training times; use --pool inline or ray, and --trials")
        if config.pool.kind == "ray" and config.pool.address is not None:
            from workers.ray_pool import check_address  # Ray takes a second to import

            check_address(config.pool.address)
        self.identity = config.identity(table.fingerprint)
        self.space = CellSpace(None if len(table) == len(CellSpace()) else table.cells)
        self.searcher = make_searcher(
            config.searcher.name, self.space, config.searcher.parameters, self._evaluator.budgets
        )
        # Of a search that has begun, the journal knows.
        source = None if (run_dir / JOURNAL).exists() else config.warm_start
        self._earlier = earlier(source, self.space, self.identity) if source else []
        self.budget = Budget(config.trial_limit, config.budget_seconds)
        self.trajectory = Trajectory(self._evaluator.best)
        self.state = State()
        self.mlflow_run_id: str | None = None
        self.tracking_error: str | None = None

    def run(self, observers: Sequence[Observer] = ()) -> Summary:
        """Begins or resumes the search and runs it to its end.

        observers hear of every finished trial, the replayed ones first. Any exception (a KeyboardInterrupt, say) leaves
        the folder ready to be resumed.
        """
        refuse_other_files(self.run_dir)
        taken = f"another process searches in {self.run_dir}; wait for it, or choose another --out"
        with locked(self.run_dir / LOCK, taken, f"in {self.run_dir}"):
            reading = self._begun()
            with self._tracked() as metrics:
                seconds, new = self._search(reading, [self.trajectory, *metrics, *observers])
            return self._summarise(seconds, new)

    @contextmanager
    def _tracked(self) -> Iterator[list[Observer]]:
        """Tracks what happens inside, if it should be: the observer that does."""
        if not self.config.tracking.enabled:
            yield []
            self._save_artifacts()
            return
        metrics = MetricsFile(self.run_dir, self.trajectory, self._described())
        tracker = Tracker(self.run_dir, self.config.tracking.uri or default_uri(self.run_dir.absolute().parent))
        try:
            yield [metrics]
            artifacts = self._save_artifacts()
        except BaseException:
            metrics.end("KILLED", ())
            tracker.join(INTERRUPTED_PATIENCE)
            raise
        metrics.end("FINISHED", artifacts)
        self.tracking_error = tracker.join()
        self.mlflow_run_id = tracker.run_id

    def _search(self, reading: Reading, observers: Sequence[Observer]) -> tuple[float, int]:
        """Replays, then searches on; gives the seconds that the latter took and the trials that it finished."""
        ledger = Ledger() if self.config.duplicates == "reuse" else None
        for trial in reading.earlier:
            self.searcher.tell(trial)
        for trial in reading:
            if trial.status is Status.PENDING:
                self.state.fold(trial)
                if ledger is not None:
                    ledger.ask(trial)
            else:
                finish(trial, self.searcher, self.state, observers)
                if ledger is not None:
                    ledger.learn(trial)
        interval = SIMULATED_FLUSH if self.config.pool.kind == "simulated" else 0.0
        replayed = self.state.finished
        with (
            closing(Journal(self.run_dir / JOURNAL, reading.position, interval)) as journal,
            closing(self._pool(ledger)) as pool,
        ):
            began = time.monotonic()
            run(self.searcher, pool, journal, self.budget, self.state, Streams(self.config.seed), observers)
            return time.monotonic() - began, self.state.finished - replayed

    def _begun(self) -> Reading:
        """The folder's journal, begun if there is none; refuses that of another search."""
        path = self.run_dir / JOURNAL
        described = Reading(path).search if path.exists() else None
        if described is not None:
            self._refuse_another(described)
        for leftover in self.run_dir.glob(".*.part"):  # of a kill while `replacing`
            if not leftover.name.startswith(f".{RUN_ID_FILE}."):  # which is the tracker's
                leftover.unlink(missing_ok=True)
        with replacing(self.run_dir / CONFIG) as temporary:
            temporary.write_text(self.config.to_toml(), encoding="utf-8")
        if described is None:
            Journal.create(path, self.identity, earlier=self._earlier).close()
        return Reading(path)

    def _refuse_another(self, described: Mapping[str, Any]) -> None:
        for key in {**described, **self.identity}:
            there, here = described.get(key), self.identity.get(key)
            if there != here:
                what = "its table has other values" if key == "table" else f"it has {key} = {there!r}, not {here!r}"
                raise ArchsweepError(
                    f"{self.run_dir} holds another search: {what}; choose another --out, or drop the change"
                )

    def _pool(self, ledger: Ledger | None) -> Pool:
        """The pool of the configuration, its clock where the journal left it."""
        config, now = self.config.pool, self.state.clock
        pool: Pool
        match config.kind:
            case "simulated":
                pool = SimulatedPool(
                    self._evaluator, worker_speeds(config.workers, config.speed_spread, self.config.seed), now
                )
            case "inline":
                pool = InlinePool(self._evaluator, now)
            case "ray":
                from workers.ray_pool import RayPool  # Ray takes a second to import

                make = partial(open_evaluator, str(self.config.table), self.config.objective)
                pool = RayPool(make, config.workers, config.address, now, config.retries)
        return pool if ledger is None else LedgerPool(pool, ledger)

    def _described(self) -> dict[str, Any]:
        """What tracking calls this search: tags to filter by, parameters to compare."""
        config = self.config
        return {
            "name": f"{config.searcher.name} seed {config.seed}",
            "experiment": config.tracking.experiment,
            "params": flat(config.model_dump(mode="json", exclude={"tracking"})),
            "tags": {
                "archsweep.searcher": config.searcher.name,
                "archsweep.evaluator": "table",
                "archsweep.table": config.table.name,
                "archsweep.pool": config.pool.kind,
                "archsweep.seed": str(config.seed),
                "archsweep.run_dir": str(self.run_dir.absolute()),
                "archsweep.version": version("archsweep"),
            },
        }

    def _save_artifacts(self) -> list[Path]:
        """Makes the files that are for people from the journal."""
        trials = self.run_dir / TRIALS
        save_trials(Reading(self.run_dir / JOURNAL), trials)
        return [
            self.run_dir / CONFIG,
            trials,
            *save_pictures(self.run_dir, self.trajectory.points, self.state.finished),
        ]

    def _summarise(self, seconds: float, new: int) -> Summary:
        state, best = self.state, self.trajectory.incumbent
        summary = Summary(
            trials=state.finished,
            failed=state.failed,
            duplicates=state.duplicates,
            best_hash=best.cell.module_hash if best else None,
            best_objective=best.objective if best else None,
            best_test_accuracy=best.test_accuracy if best else None,
            regret=best.regret if best else None,
            clock_seconds=state.clock,
            wall_seconds=seconds,
            trials_per_second=new / seconds,
            run_dir=str(self.run_dir),
            mlflow_run_id=self.mlflow_run_id,
        )
        with replacing(self.run_dir / RESULT) as temporary:
            temporary.write_text(summary.to_json() + "\n", encoding="utf-8")
        return summary


def refuse_other_files(run_dir: Path) -> None:
    """Raises `ArchsweepError` if the folder holds anything but a search, before anything is written there."""
    names = [entry.name for entry in run_dir.iterdir()] if run_dir.is_dir() else []
    others = sorted(name for name in names if not name.startswith(OWN_FILES))
    if others and JOURNAL not in names:
        raise ArchsweepError(f"{run_dir} holds no search but other files ({others[0]}); choose a new folder")
