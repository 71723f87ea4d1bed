"""One search in one folder: begun, resumed, finished.

The folder holds ``config.toml``, ``journal.jsonl``, and at the end ``result.json``, ``trajectory.parquet``,
``regret.png`` and ``best_cell.svg``. The journal alone is what counts; the rest is made from it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nas.errors import DataError
from nas.files import replacing
from nas.nasbench101.space import CellSpace
from nas.trial import LEDGER, Status, Trial
from orchestrator.records.folder import CONFIG, JOURNAL, LOCK, RESULT, TRIALS, refuse_other_files
from orchestrator.records.front import Front
from orchestrator.records.journal import Journal, Reading
from orchestrator.records.lock import locked
from orchestrator.records.metrics import MetricsFile
from orchestrator.records.results import Measured, Summary, measured_before, save_trials
from orchestrator.records.state import Budget, State
from orchestrator.records.trajectory import Trajectory
from orchestrator.records.usage import Usage
from orchestrator.search.curves import Curves
from orchestrator.search.identity import check_budgets, check_clock, refuse_another
from orchestrator.search.loop import Observer, Streams, finish, run
from orchestrator.search.pictures import save_front, save_pictures
from orchestrator.search.pools import opened
from orchestrator.search.sources import LIVE, filter_parameters, open_source
from orchestrator.search.spans import parts_of, watched
from orchestrator.search.warm_start import earlier
from orchestrator.settings.config import Config
from orchestrator.settings.values import flat
from orchestrator.tracking.store import RUN_ID_FILE, default_uri
from orchestrator.tracking.tracker import Tracker
from searchers.goals import pursued
from searchers.registry import make_filtered, make_searcher
from surrogate.named import learnt_from
from workers.base import Pool
from workers.ledger import Ledger
from workers.live import forget_checkpoints

INTERRUPTED_PATIENCE = 5.0
"""Seconds that tracking gets to log the rest of a search that was interrupted; a resumed search catches up."""
SIMULATED_FLUSH = 1.0
"""Seconds between hand-overs of the journal on the simulated clock, see `Journal`."""


class Search:
    """A search, checked and ready: everything that can be wrong with its input is found here, before DIR is touched.

    pictures: whether it leaves any, which takes longer than a short search. Raises `ArchsweepError`.
    """

    def __init__(self, config: Config, run_dir: Path, pictures: bool = True) -> None:
        self.config, self.run_dir, self._pictures = config, run_dir, pictures
        self.source = source = open_source(config, run_dir)
        check_clock(config, source)
        if config.pool.kind == "ray":
            if config.pool.address is None:
                if "RAY_ADDRESS" not in os.environ:  # else evaluators are made where this process cannot look
                    source.check()
            else:
                from workers.ray_fleet import check_address  # Ray takes a second to import

                check_address(config.pool.address)
        self._evaluator = None if config.pool.kind == "ray" else source.here()
        surrogate = None if config.filter is None else config.filter.parameters.get("surrogate")
        self.identity = config.identity({**source.identity, **learnt_from(surrogate)})
        self.space = CellSpace(source.cells)
        self.searcher = make_searcher(config.searcher.name, self.space, config.searcher.parameters, source.budgets)
        check_budgets(self.searcher, source)
        budgets = getattr(self.searcher, "budgets", source.budgets[-1:])
        if config.filter is not None:
            self.searcher = make_filtered(self.space, self.searcher, filter_parameters(config))
        # Of a search that has begun, the journal knows.
        warm_start = None if (run_dir / JOURNAL).exists() else config.warm_start
        self._earlier = earlier(warm_start, self.space, self.identity, budgets) if warm_start else []
        self.budget = Budget(config.trial_limit, config.budget_seconds)
        self.trajectory = Trajectory(source.best)
        self.usage = Usage(config.pool.classes)
        goals = pursued(self.searcher)
        self.front = Front(goals, source.budgets[-1], source.longest()) if len(goals) > 1 else None
        self.state = State()
        self.measured: Measured | None = None
        self.ignored = 0
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
                self.measured = self._search(reading, [*self._folds, *metrics, *observers])
            forget_checkpoints(self.run_dir / LIVE)
            return self._summarise(self.measured)

    @property
    def _folds(self) -> list[Observer]:
        return [self.trajectory, self.usage, *([self.front] if self.front else [])]

    @contextmanager
    def _tracked(self) -> Iterator[list[Observer]]:
        """Tracks what happens inside, if it should be: the observer that does."""
        if not self.config.tracking.enabled:
            yield []
            self._save_artifacts()
            return
        metrics = MetricsFile(self.run_dir, self.trajectory, self.usage, self._described(), self.front)
        tracker = Tracker(self.run_dir, self.config.tracking.uri or default_uri(self.run_dir.absolute().parent))
        trainings = self.source.trainings
        try:
            if trainings is None:
                yield [metrics]
            else:
                with Curves(trainings, self.state, metrics.curve) as watching:
                    yield [metrics, watching]
            artifacts = self._save_artifacts()
        except BaseException:
            metrics.end("KILLED")
            tracker.join(INTERRUPTED_PATIENCE)
            raise
        metrics.end("FINISHED", artifacts, self.measured.tags() if self.measured else None)
        self.tracking_error = tracker.join()
        self.mlflow_run_id = tracker.run_id

    def _search(self, reading: Reading, observers: Sequence[Observer]) -> Measured:
        """Replays, then searches on."""
        ledger = Ledger() if self.config.duplicates == "reuse" else None
        generation_ends = False
        for trial in reading.earlier:
            self.searcher.tell(trial)
        for trial in reading:
            if trial.worker >= self.config.pool.workers:
                raise DataError(f"{self.run_dir / JOURNAL} has trial {trial.number} on worker {trial.worker}")
            if trial.status is Status.PENDING:
                self.state.fold(trial)
                generation_ends = False
                if ledger is not None:
                    ledger.ask(trial)
            else:
                finish(trial, self.searcher, self.state, observers)
                generation_ends |= trial.result is None or trial.result.source != LEDGER
                if ledger is not None:
                    ledger.learn(trial)
        replayed = self.state.finished
        with (
            closing(self._journal(reading.position)) as journal,
            closing(self._pool(ledger, generation_ends)) as pool,
            watched(parts_of(self.searcher, pool, self._evaluator, journal, observers)) as spans,
        ):
            began, streams = time.monotonic(), Streams(self.config.seed)
            self.ignored = run(
                self.searcher, pool, journal, self.budget, self.state, streams, [*observers, self._end_trainings]
            )
            seconds = time.monotonic() - began
        new = self.state.finished - replayed
        before = None if new else measured_before(self.run_dir / RESULT)
        return before or Measured(seconds, new / seconds, spans)

    def _end_trainings(self, trial: Trial, _: State) -> None:
        """An observer of new trials: what is on record needs no checkpoint, but for a rung that another may follow."""
        if self.source.trainings is None:
            return
        for live in self.source.trainings(trial.proposal, trial.seed):
            below = live.rung is not None and live.rung < self.source.budgets[-1]
            live.end(may_go_on=below and trial.result is not None)

    def _begun(self) -> Reading:
        """The folder's journal, begun if there is none; refuses that of another search."""
        path = self.run_dir / JOURNAL
        described = Reading(path).search if path.exists() else None
        if described is not None:
            refuse_another(self.run_dir, described, self.identity)
        for leftover in self.run_dir.glob(".*.part"):  # of a kill while `replacing`
            if not leftover.name.startswith(f".{RUN_ID_FILE}."):  # which is the tracker's
                leftover.unlink(missing_ok=True)
        with replacing(self.run_dir / CONFIG) as temporary:
            temporary.write_text(self.config.to_toml(), encoding="utf-8")
        if described is None:
            Journal.create(path, self.identity, earlier=self._earlier).close()
        return Reading(path)

    def _journal(self, position: int) -> Journal:
        """The journal, to go on with. On the simulated clock nothing has to be on record before anything."""
        simulated = self.config.pool.kind == "simulated"
        durability = self.config.durability or ("second" if simulated else "turn")
        return Journal(self.run_dir / JOURNAL, position, durability, SIMULATED_FLUSH if simulated else 0.0)

    def _pool(self, ledger: Ledger | None, generation_ends: bool) -> Pool:
        """The pool of the configuration, its clock where the journal left it.

        generation_ends: whether a trial has finished since the last one was asked, other than from the ledger.
        """
        return opened(self.config, self.source, self._evaluator, self.state, ledger, generation_ends)

    def _described(self) -> dict[str, Any]:
        """What tracking calls this search: tags to filter by, parameters to compare."""
        config = self.config
        return {
            "name": f"{config.searcher.name} seed {config.seed}",
            "experiment": config.tracking.experiment,
            "params": flat(config.model_dump(mode="json", exclude={"tracking"})),
            "tags": {
                "archsweep.searcher": config.searcher.name,
                "archsweep.evaluator": config.evaluator.kind,
                **self.source.tags,
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
        pictures = save_pictures(self.run_dir, self.trajectory.points, self.state.finished) if self._pictures else []
        if self._pictures and self.front is not None and self.front.points:
            pictures.append(save_front(self.run_dir, self.front))
        return [self.run_dir / CONFIG, trials, *pictures]

    def _summarise(self, measured: Measured) -> Summary:
        state, best = self.state, self.trajectory.incumbent
        summary = Summary(
            trials=state.finished,
            failed=state.failed,
            duplicates=state.duplicates,
            ignored=self.ignored,
            best_hash=best.cell.module_hash if best else None,
            best_objective=best.objective if best else None,
            best_test_accuracy=best.test_accuracy if best else None,
            best_source=best.source if best else None,
            regret=best.regret if best else None,
            clock_seconds=state.clock,
            utilisation=self.usage.utilisation(state.clock),
            busy_seconds=self.usage.busy,
            queue_seconds=self.usage.queued,
            cost=self.usage.cost(state.clock),
            hypervolume=None if self.front is None else self.front.hypervolume,
            front=None if self.front is None else self.front.to_json(),
            wall_seconds=measured.wall_seconds,
            trials_per_second=measured.trials_per_second,
            spans=measured.spans,
            binds=measured.binds,
            run_dir=str(self.run_dir),
            mlflow_run_id=self.mlflow_run_id,
        )
        with replacing(self.run_dir / RESULT) as temporary:
            temporary.write_text(summary.to_json() + "\n", encoding="utf-8")
        return summary
