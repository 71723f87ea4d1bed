"""What a search is told: a TOML file, flags, or both, checked before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from nas.errors import ArchsweepError
from nas.table.packaged import PACKAGED
from nas.table.records import available_cores
from orchestrator.records.journal import Durability
from orchestrator.settings.secrets import has_secret
from orchestrator.settings.values import flat, merged, without_none
from surrogate.named import DEFAULT_SURROGATE
from workers.cluster import WorkerClass
from workers.recipe import Crop, LearningRate, Optimizer, WeightDecay
from workers.table import Objective

DEFAULT_TRIALS = 1_000
MOST_WORKERS = 100_000


Checked = TypeVar("Checked", bound=BaseModel)


class Section(BaseModel):
    """A frozen part of a configuration that takes no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SearcherConfig(BaseModel):
    """A searcher's name; every other key is one of its parameters."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = "evolution"

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class FilterConfig(BaseModel):
    """Parameters of the filter in front of the searcher, see `searchers.filtered`; a policy switches it on."""

    model_config = ConfigDict(extra="allow", frozen=True)

    policy: str

    @property
    def parameters(self) -> dict[str, Any]:
        return self.model_dump()


class PoolConfig(Section):
    """Where evaluations run.

    workers: slots, that is trials in flight; inline there is one. dispatch: ``generation`` waits for all in flight
    before it asks for more. speed_spread: simulated only, of workers that are else alike; or cluster: classes of
    workers, see `WorkerClass`, whose counts make up ``workers``. The rest is for Ray only, see `RayPool`, `HostSpec`:
    trial_seconds and memory_gib (2**30 bytes) are what one evaluation may take, patience_seconds how long to wait for a
    worker when the last one is gone, cpus and gpus what a trainer sets aside.
    """

    kind: Literal["simulated", "inline", "ray"] = "simulated"
    workers: int = Field(default=8, ge=1, le=MOST_WORKERS)
    dispatch: Literal["async", "generation"] = "async"
    speed_spread: float = Field(default=0.0, ge=0, le=5)
    cluster: tuple[WorkerClass, ...] = ()
    retries: int = Field(default=3, ge=0)
    address: str | None = None
    cpus: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    gpus: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    trial_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    memory_gib: float | None = Field(default=None, gt=0, le=1 << 20)
    patience_seconds: float = Field(default=300.0, ge=0, allow_inf_nan=False)

    @property
    def memory_bytes(self) -> int | None:
        return None if self.memory_gib is None else int(self.memory_gib * (1 << 30))

    @model_validator(mode="after")
    def _cluster_is_whole(self) -> Self:
        if not self.cluster:
            return self
        count = sum(kind.count for kind in self.cluster)
        if "workers" not in self.model_fields_set:
            object.__setattr__(self, "workers", count)
        wrong = {
            "only the simulated pool takes a cluster": self.kind != "simulated",
            "the spread of speeds belongs into the classes": self.speed_spread > 0,
            f"the classes have {count} workers, not {self.workers}; leave workers out": self.workers != count,
            f"{count:,} workers are more than {MOST_WORKERS:,}": count > MOST_WORKERS,
            "it leaves before it joins": any(kind.leaves and kind.leaves <= kind.joins for kind in self.cluster),
            "one class at least must not leave": all(kind.leaves for kind in self.cluster),
        }
        for message in (text for text, is_so in wrong.items() if is_so):
            raise PydanticCustomError("cluster", message)
        return self

    @property
    def classes(self) -> tuple[WorkerClass, ...]:
        """The workers, class by class."""
        count = 1 if self.kind == "inline" else self.workers
        return self.cluster or (WorkerClass(count, speed_spread=self.speed_spread),)


RAY_ONLY = ("address", "retries", "trial_seconds", "memory_gib", "patience_seconds")
"""Keys of a pool that only Ray heeds."""
UNIDENTIFYING = {*RAY_ONLY, "cpus", "gpus"}
"""Keys of a pool on which no result depends."""


class TableConfig(Section):
    """Results are looked up in the benchmark table that `Config.table` names."""

    kind: Literal["table"] = "table"


class GridConfig(Section):
    """Values to try of fields of `Recipe`; none means the preset's."""

    optimizer: tuple[Optimizer, ...] = ()
    learning_rate: tuple[LearningRate, ...] = ()
    weight_decay: tuple[WeightDecay, ...] = ()
    crop: tuple[Crop, ...] = ()
    flip: tuple[bool, ...] = ()

    @property
    def choices(self) -> dict[str, tuple[Any, ...]]:
        return {name: values for name, values in self if values}


class TrainConfig(Section):
    """Cells are trained, see `workers.recipe`.

    dataset: None means the preset's. data: folder of the data set's files. device: None means cuda if the pool's
    trainers have GPUs, else cpu. max_vertices: of the cells searched. grid: every combination is tried for every cell,
    and the best validation accuracy counts.
    """

    kind: Literal["train"]
    preset: str = "cpu"
    dataset: str | None = None
    data: Path | None = None
    device: str | None = None
    max_vertices: int = Field(default=7, ge=2, le=7)
    grid: GridConfig = GridConfig()

    @field_validator("data")
    @classmethod
    def _absolute(cls, data: Path | None) -> Path | None:
        return None if data is None else data.expanduser().absolute()


class SurrogateConfig(Section):
    """A surrogate, fitted on so many cells of the table, drawn with a seed, answers in the table's place."""

    kind: Literal["surrogate"]
    surrogate: str = DEFAULT_SURROGATE
    labels: int = Field(default=424, ge=2)
    seed: int = Field(default=0, ge=0, lt=1 << 63)


class PretrainedConfig(Section):
    """The predictions of all NAS-Bench-101 that come with archsweep answer; they are of test accuracies."""

    kind: Literal["pretrained-nb101"]


EvaluatorConfig = Annotated[TableConfig | TrainConfig | SurrogateConfig | PretrainedConfig, Field(discriminator="kind")]


class TrackingConfig(Section):
    """MLflow. uri: MLFLOW_TRACKING_URI if that is set, else an SQLite file beside the run's folder."""

    enabled: bool = True
    uri: str | None = None
    experiment: str = Field(default="archsweep", min_length=1)

    @field_validator("uri")
    @classmethod
    def _no_password(cls, uri: str | None) -> str | None:
        if uri is not None and has_secret(uri):
            raise PydanticCustomError(
                "password",
                "a password does not belong in a file; set MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, in the environment",
            )
        return uri


class Config(Section):
    """A whole search.

    table: None means the one that comes with archsweep. trials: asked in all, 1,000 if no budget is given.
    budget_seconds: training seconds of the told trials. duplicates: whether a proposal isomorphic to one that was
    answered or is in flight shares its result, at no cost, or is evaluated again. durability: when the disk has the
    journal, see `Journal`; by default ``second`` on the simulated clock, otherwise ``turn``. warm_start: folder of a
    search, or URL of an Optuna storage, whose results the searcher is told first.
    """

    table: Path | None = None
    trials: int | None = Field(default=None, ge=1, le=1 << 53)
    budget_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    duplicates: Literal["reuse", "evaluate"] = "reuse"
    durability: Durability | None = None
    warm_start: str | None = Field(default=None, min_length=1)
    searcher: SearcherConfig = SearcherConfig()
    evaluator: EvaluatorConfig = TableConfig()
    filter: FilterConfig | None = None
    objective: Objective = Objective()
    pool: PoolConfig = PoolConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:
        """Live training takes real time: by default on Ray, a trainer a core. What is pretrained has no validation."""
        evaluator = values.get("evaluator") if isinstance(values, Mapping) else None
        match evaluator.get("kind") if isinstance(evaluator, Mapping) else None:
            case "train":
                return merged({"pool": {"kind": "ray", "workers": available_cores()}}, values)
            case "pretrained-nb101":
                return merged({"objective": {"column": "test"}}, values)
        return values

    @field_validator("table")
    @classmethod
    def _absolute(cls, table: Path | None) -> Path | None:
        return None if table is None else table.expanduser().absolute()

    @property
    def trial_limit(self) -> int | None:
        """The number of trials asked in all; None if only the budget in seconds ends the search."""
        return DEFAULT_TRIALS if self.trials is None and self.budget_seconds is None else self.trials

    @property
    def label(self) -> str:
        """What the search is on, in a word, for the names of folders."""
        if self.evaluator.kind == "table":
            return (self.table or PACKAGED).stem
        return getattr(self.evaluator, "dataset", None) or self.evaluator.kind

    def identity(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """What makes it this search and no other, as flat JSON values: all that its results may depend on.

        source: what the evaluator's results depend on, see `Source.identity`.
        """
        left_out = {"tracking", "durability", "evaluator", "table"}
        values = self.model_dump(mode="json", exclude={**dict.fromkeys(left_out, True), "pool": UNIDENTIFYING})
        values["trials"] = self.trial_limit
        return flat({**source, **values})

    def to_toml(self) -> str:
        """The configuration as `load` reads it."""
        return tomli_w.dumps(without_none(self.model_dump(mode="json")))


def parse(values: Mapping[str, Any], where: str) -> Config:
    """The configuration of these tables. Raises `ArchsweepError` naming ``where`` and the first wrong key."""
    return checked(Config, values, where)


def checked(model: type[Checked], values: Mapping[str, Any], where: str) -> Checked:
    """The model of these tables. Raises `ArchsweepError` naming ``where`` and the first wrong key."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        kind = first["loc"][1:2] if first["loc"][:1] == ("evaluator",) else ()  # the branch of the union
        key = ".".join(str(part) for part in first["loc"] if part not in (*LITERAL_BRANCHES, *kind))
        match first["type"]:
            case "extra_forbidden" | "unexpected_keyword_argument":
                message = f"unknown key {key!r}{_instead(model, first['loc'])}"
            case "model_type" | "model_attributes_type" if key in MAIN:
                message = f"{key} = {first['input']!r}: it is a section, of which {key}.{MAIN[key]} is the main key"
            case "union_tag_not_found":
                message = f"key '{key}.kind' is missing; with flags: --evaluator KIND"
            case "missing" if key == "filter.policy":
                message = f"key '{key}' is missing; with flags: --filter POLICY"
            case "union_tag_invalid":
                context = first["ctx"]
                message = f"{key}.kind = {context['tag']!r}: choose from {context['expected_tags']}"
            case "missing":
                message = f"key {key!r} is missing"
            case "password" | "cluster" | "seeds":  # and the input is not repeated
                message = f"{key}: {first['msg']}"
            case _:
                message = f"{key} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"
        raise ArchsweepError(f"{where}: {message}") from None


MAIN = {"searcher": "name", "evaluator": "kind", "filter": "policy", "pool": "kind"}
"""Section -> the key that says most of it."""


def _instead(model: type[BaseModel], where: tuple[Any, ...]) -> str:
    """What to say of a key that a model does not know."""
    if where == ("sweep",):
        return "; a file with [sweep] is for `archsweep sweep`"
    part: Any = model
    for name in where[:-1]:
        field = getattr(part, "model_fields", {}).get(name)
        part = None if field is None else field.annotation
    near = get_close_matches(str(where[-1]), getattr(part, "model_fields", ()), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


LITERAL_BRANCHES = ("literal['sample','mean']", "int")
