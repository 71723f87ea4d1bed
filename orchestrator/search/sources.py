"""The evaluator that a configuration chooses. A new kind is a section in `config.py` and a case here."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from nas.errors import ArchsweepError
from nas.table.packaged import packaged_table
from nas.table.table import Benchmark
from orchestrator.settings.config import Config, PretrainedConfig, SurrogateConfig, TableConfig, TrainConfig
from surrogate.controls import ORACLE, Oracle
from surrogate.named import refuse_learnt
from workers.pretrained_source import predicted, pretrained_source
from workers.recipe import preset
from workers.source import Source
from workers.surrogate_source import SurrogateSpec, surrogate_source
from workers.table import open_evaluator, table_source, true_accuracies
from workers.train_source import TrainSpec, train_source

LIVE = "live"
"""The folder, in that of the run, of trainings under way."""


def open_source(config: Config, run_dir: Path) -> Source:
    """Raises `ArchsweepError` if the evaluator cannot serve the search."""
    match config.evaluator:
        case TableConfig():
            return table_source(config.table or packaged_table(), config.objective)
        case SurrogateConfig(surrogate=name, labels=labels, seed=seed):
            table = config.table or packaged_table()
            return surrogate_source(SurrogateSpec(table, config.objective, name, labels, seed))
        case TrainConfig():
            if config.table is not None:
                raise ArchsweepError("a live training looks nothing up; drop the table, or --evaluator train")
            return train_source(train_spec(config, config.evaluator, run_dir), config.evaluator.max_vertices)
        case PretrainedConfig(kind=name):
            if config.table is not None:
                raise ArchsweepError(f"{name} is a benchmark of its own; drop the table, or --evaluator {name}")
            return pretrained_source(config.objective)


def benchmark(config: Config) -> Benchmark | None:
    """What knows the truth that the search is after; None if it trains. Raises `ArchsweepError`."""
    match config.evaluator:
        case TrainConfig():
            return None
        case PretrainedConfig():
            return predicted()
        case _:
            return open_evaluator(str(config.table or packaged_table()), config.objective).table


def train_spec(config: Config, chosen: TrainConfig, run_dir: Path) -> TrainSpec:
    """How this search trains. Raises `ArchsweepError`."""
    objective = config.objective
    if objective.repeat != "sample":
        raise ArchsweepError(f"a live training has no repeats to choose from, got --repeat {objective.repeat}")
    setting = preset(chosen.preset, chosen.dataset).trained_for(objective.epochs)
    device = chosen.device or ("cuda" if config.pool.gpus else "cpu")
    settings = setting.grid(chosen.grid.choices)
    return TrainSpec(settings, objective.column, chosen.data, run_dir.absolute() / LIVE, device, config.seed)


def filter_parameters(config: Config) -> dict[str, Any]:
    """The filter's parameters; the oracle, which the audit compares with, is made of the search's benchmark."""
    assert config.filter is not None
    parameters = config.filter.parameters
    name, known = parameters.get("surrogate"), benchmark(config)
    if known is not None:
        refuse_learnt(name, known)
        if name == ORACLE:
            parameters["surrogate"] = partial(Oracle, true_accuracies(known))
    return parameters
