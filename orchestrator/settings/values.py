"""Values of configurations, as TOML and flags have them: read, joined, taken apart."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from nas.errors import ArchsweepError

LARGEST = 1 << 20
"""Bytes of a configuration file."""
T = TypeVar("T")


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, keys joined by dots; tables in a list go by their place."""
    joined: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            joined |= flat(value, f"{prefix}{key}.")
        elif _are_tables(value):
            joined |= flat({str(place): table for place, table in enumerate(value)}, f"{prefix}{key}.")
        else:
            joined[prefix + key] = value
    return joined


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(table, Mapping) for table in value)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises `ArchsweepError`."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ArchsweepError(f"{path} is longer than the {LARGEST:,} bytes that a configuration may have")
        return tomllib.loads(content.decode())
    except OSError as error:
        raise ArchsweepError(f"cannot read configuration {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # an integer may be too long, a table too deep
        raise ArchsweepError(f"{path} is not TOML: {error}") from None


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``over`` in their place, table by table."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        result[key] = merged(below, value) if both else value  # type: ignore[arg-type]  # both are mappings
    return result


def nested(key: str, value: Any) -> dict[str, Any]:
    """The tables of a dotted key; a dot leads into a section."""
    first, _, rest = key.partition(".")
    return {first: nested(rest, value) if rest else value}


def setting(text: str) -> tuple[str, Any]:
    """Key and value of KEY=VALUE, as TOML has it; what is no TOML is a string. Raises `ArchsweepError`."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ArchsweepError(f"{text!r}: expected KEY=VALUE")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def checked_values(kind: type[T], values: Mapping[str, Any]) -> T:
    """The dataclass of this kind that these JSON values say, types and ranges checked.

    Raises ValueError on what is wrong, missing or unknown, and whatever the dataclass itself raises.
    """
    made = TypeAdapter(kind).validate_python(values)
    if unknown := flat(values).keys() - flat(asdict(made)).keys():  # type: ignore[call-overload]  # it is a dataclass
        raise ValueError(f"unknown {', '.join(sorted(unknown))}")
    return made


def without_none(value: Any) -> Any:
    """TOML values: tables without the keys that have none."""
    if isinstance(value, Mapping):
        return {key: without_none(below) for key, below in value.items() if below is not None}
    return [without_none(below) for below in value] if isinstance(value, list) else value
