"""Cells as trials of an Optuna study, and searches as studies in Optuna's storages.

What is written there Optuna's dashboard, plots and importances open; what is read back another search starts from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from nas.errors import ArchsweepError, InvalidCellError
from nas.nasbench101.catalogue import LABELS
from nas.nasbench101.cell import Cell
from nas.nasbench101.graph import EDGE_SPOTS, INTERIOR, MAX_EDGES
from nas.nasbench101.space import CellSpace, Encoding
from nas.trial import Trial

ORIGIN = "archsweep"
"""The attribute of a study that says which search it holds."""
LONGEST_LINE = 1 << 16
"""Bytes of a file's first line that are looked at."""
BEGINNING = datetime(1970, 1, 1)
"""Where the clock of a search starts; Optuna's times have no zone."""


def distributions(encoding: Encoding, numeric: bool = False) -> dict[str, BaseDistribution]:
    """One of every component, in order. numeric: without categories, for samplers that know none."""

    def choice(count: int) -> BaseDistribution:
        return IntDistribution(0, count - 1) if numeric else CategoricalDistribution(range(count))

    match encoding:
        case Encoding.A:
            edges = [choice(2) for _ in range(EDGE_SPOTS)]
        case Encoding.B:
            edges = [choice(EDGE_SPOTS) for _ in range(MAX_EDGES)]
        case Encoding.C:
            edges = [*(FloatDistribution(0, 1) for _ in range(EDGE_SPOTS)), IntDistribution(0, MAX_EDGES)]
    named = {f"edge_{i:02d}": distribution for i, distribution in enumerate(edges)}
    return named | {f"operation_{i}": choice(LABELS) for i in range(INTERIOR)}


def parameters(vector: Sequence[float], of: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """The components of a vector by name."""
    return {
        name: value if isinstance(distribution, FloatDistribution) else int(value)
        for (name, distribution), value in zip(of.items(), vector, strict=True)
    }


def export(trials: Iterable[Trial], url: str, name: str, origin: Mapping[str, Any]) -> int:
    """Adds those of a search's finished trials to its study that are not there yet; gives the number in the study.

    trials: in the order in which they finished, which must be the same every time. origin: what the search is; a study
    of another one is refused. Times are seconds of the search's clock since 1970. A trial of fewer epochs than any is
    PRUNED, with its objective as an intermediate value. Raises `ArchsweepError`.
    """
    finished = list(trials)
    most = max((trial.proposal.epochs for trial in finished if trial.proposal.epochs is not None), default=None)
    origin = {**origin, "most_epochs": most}
    with _explained(), _quietly():
        study = optuna.create_study(storage=_storage(url), study_name=name, direction="maximize", load_if_exists=True)
        there = study.get_trials(deepcopy=False)
        known = study.user_attrs.get(ORIGIN)
        if known != origin and (known is not None or there):
            raise ArchsweepError(f"the storage has another study of the name {name!r}; choose another --name")
        study.set_user_attr(ORIGIN, origin)
        space, of = CellSpace(), distributions(Encoding.A)
        for trial in islice(finished, len(there), None):
            study.add_trial(
                _frozen(trial, parameters(space.encode(trial.proposal.cell, Encoding.A).tolist(), of), most)
            )
    return len(finished)


def told(url: str) -> Iterator[tuple[Cell, int | None, float]]:
    """Cell, epochs and first value of every complete or pruned trial of a study whose parameters are an encoding's.

    url: of a storage with one study, or URL#NAME. Values that are not finite are left out. Raises `ArchsweepError`,
    also if the study's first value is to be minimised.
    """
    url, _, name = url.partition("#")
    file = url.removeprefix("sqlite:///")
    if "://" not in file and not Path(file).is_file():  # which Optuna would make
        raise ArchsweepError(f"there is no {file}; give the folder of a search, or an Optuna storage")
    with _explained(), _quietly():
        storage = _storage(url)
        names = [name] if name else optuna.get_all_study_names(storage)
        if len(names) != 1:
            choices = f"; add #NAME, one of {', '.join(sorted(names))}" if names else ""
            raise ArchsweepError(f"the storage has {len(names)} studies{choices}")
        study = optuna.load_study(study_name=names[0], storage=storage)
        if study.directions[0] is not StudyDirection.MAXIMIZE:
            raise ArchsweepError(f"study {names[0]!r} minimises its value; an accuracy is to be maximised")
        trials = study.get_trials(deepcopy=False)
    space = CellSpace()
    for trial in trials:
        complete = trial.state is TrialState.COMPLETE
        value = trial.values[0] if complete else trial.intermediate_values.get(_step(trial))
        encoding = next((e for e in Encoding if set(distributions(e)) == set(trial.params)), None)
        if value is None or not math.isfinite(value) or encoding is None:
            continue
        try:
            cell = space.decode([trial.params[part] for part in distributions(encoding)], encoding)
        except InvalidCellError:
            continue
        yield cell, trial.user_attrs.get("epochs"), value


def _frozen(trial: Trial, params: dict[str, Any], most: int | None) -> FrozenTrial:
    cell, epochs, result = trial.proposal.cell, trial.proposal.epochs, trial.result
    noted: dict[str, Any] = {"module_hash": cell.module_hash, "worker": trial.worker, "epochs": epochs}
    if result is None:
        noted["failure"] = trial.failure
    else:
        noted |= {
            "test_accuracy": result.test_accuracy if result.reported is None else result.reported,
            "training_seconds": result.training_seconds,
            "parameters": result.parameters,
        }
    brief = result is not None and most is not None and epochs is not None and epochs < most
    frozen = optuna.trial.create_trial(
        state=TrialState.FAIL if result is None else TrialState.PRUNED if brief else TrialState.COMPLETE,
        value=None if result is None or brief else result.objective,
        params=params,
        distributions=distributions(Encoding.A),
        user_attrs={key: value for key, value in noted.items() if value is not None},
        intermediate_values={} if result is None or epochs is None else {epochs: result.objective},
    )
    frozen.datetime_start = BEGINNING + timedelta(seconds=trial.asked)
    frozen.datetime_complete = BEGINNING + timedelta(seconds=trial.finished or trial.asked)
    return frozen


def _step(trial: FrozenTrial) -> int:
    return max(trial.intermediate_values, default=0)


def _storage(url: str) -> BaseStorage:
    """A database by its URL, a journal file by its path. Raises `ArchsweepError` if a file is there that is none."""
    if "://" not in url and Path(url).is_file():
        with Path(url).open("rb") as file:
            first = file.readline(LONGEST_LINE)
        if first and b'"op_code"' not in first:
            raise ArchsweepError(f"{url} is no journal of Optuna's; SQLite is sqlite:///{url}")
    return RDBStorage(url) if "://" in url else JournalStorage(JournalFileBackend(url))


@contextmanager
def _explained() -> Iterator[None]:
    """What a storage complains of, as an error of the user's, without the URL, which may hold a password."""
    try:
        yield
    except KeyError:
        raise ArchsweepError("the storage has no study of this name") from None
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ImportError, OSError, ValueError) as error:
        first = str(error.__cause__ or error).strip().splitlines()[:1] or [type(error).__name__]
        raise ArchsweepError(f"Optuna's storage cannot be used: {first[0]}") from None


@contextmanager
def _quietly() -> Iterator[None]:
    """Without Optuna's lines on standard error, and without its warnings that a storage is experimental."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)
