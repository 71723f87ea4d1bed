"""What a search is told: a TOML file, flags, or both, checked before anything is touched."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from nas.errors import ArchsweepError
from workers.table import Objective

DEFAULT_TRIALS = 1_000


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


class PoolConfig(Section):
    """Where evaluations run.

    workers: slots, that is trials in flight. speed_spread: simulated only, see `worker_speeds`. address and retries:
    Ray only, see `RayPool`.
    """

    kind: Literal["simulated", "inline", "ray"] = "simulated"
    workers: int = Field(default=8, ge=1, le=100_000)
    speed_spread: float = Field(default=0.0, ge=0, le=5)
    retries: int = Field(default=3, ge=0)
    address: str | None = None


class TrackingConfig(Section):
    """MLflow. uri: MLFLOW_TRACKING_URI if that is set, else an SQLite file beside the run's folder."""

    enabled: bool = True
    uri: str | None = None
    experiment: str = Field(default="archsweep", min_length=1)

    @field_validator("uri")
    @classmethod
    def _no_password(cls, uri: str | None) -> str | None:
        if uri is not None and urlsplit(uri).password is not None:
            raise PydanticCustomError(
                "password",
                "a password does not belong in a file; set MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, in the environment",
            )
        return uri


class Config(Section):
    """A whole search.

    trials: asked in all, 1,000 if no budget is given. budget_seconds: training seconds of the told trials. duplicates:
    whether a proposal isomorphic to an answered one is answered from the ledger, at no cost, or evaluated again.
    warm_start: folder of a search, or URL of an Optuna storage, whose results the searcher is told first.
    """

    table: Path
    trials: int | None = Field(default=None, ge=1, le=1 << 53)
    budget_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    duplicates: Literal["reuse", "evaluate"] = "reuse"
    warm_start: str | None = Field(default=None, min_length=1)
    searcher: SearcherConfig = SearcherConfig()
    objective: Objective = Objective()
    pool: PoolConfig = PoolConfig()
    tracking: TrackingConfig = TrackingConfig()

    @field_validator("table")
    @classmethod
    def _absolute(cls, table: Path) -> Path:
        return table.expanduser().absolute()

    @property
    def trial_limit(self) -> int | None:
        """The number of trials asked in all; None if only the budget in seconds ends the search."""
        return DEFAULT_TRIALS if self.trials is None and self.budget_seconds is None else self.trials

    def identity(self, table_fingerprint: str) -> dict[str, Any]:
        """What makes it this search and no other, as flat JSON values: all that its results may depend on."""
        values = self.model_dump(mode="json")
        del values["tracking"], values["pool"]["address"], values["pool"]["retries"]
        values["table"] = table_fingerprint
        values["trials"] = self.trial_limit
        return flat(values)

    def to_toml(self) -> str:
        """The configuration as `load` reads it."""
        return tomli_w.dumps(_without_none(self.model_dump(mode="json")))


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, keys joined by dots."""
    joined: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            joined |= flat(value, f"{prefix}{key}.")
        else:
            joined[prefix + key] = value
    return joined


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises `ArchsweepError`."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArchsweepError(f"cannot read configuration {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArchsweepError(f"{path} is not TOML: {error}") from None


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``over`` in their place, table by table."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        result[key] = merged(below, value) if both else value  # type: ignore[arg-type]  # both are mappings
    return result


def parse(values: Mapping[str, Any], where: str) -> Config:
    """The configuration of these tables. Raises `ArchsweepError` naming ``where`` and the first wrong key."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part not in LITERAL_BRANCHES)
        match first["type"]:
            case "extra_forbidden" | "unexpected_keyword_argument":
                message = f"unknown key {key!r}"
            case "missing" if key == "table":
                message = 'no table given; name one with --table FILE or `table = "FILE"`'
            case "missing":
                message = f"key {key!r} is missing"
            case "password":  # and the input is not repeated
                message = f"{key}: {first['msg']}"
            case _:
                message = f"{key} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"
        raise ArchsweepError(f"{where}: {message}") from None


LITERAL_BRANCHES = ("literal['sample','mean']", "int")


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None
    }
