"""Parts by name: built-in ones, entry points of installed packages, and a user's own as ``package.module:Name``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, packages_distributions, version
from inspect import Parameter, signature
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from nas.errors import ArchsweepError

OURS = frozenset({"archsweep", "nas", "orchestrator", "searchers", "surrogate", "workers"})


@dataclass(frozen=True)
class Entry:
    """Where a part is (``module:name``, imported when first used), one line on it, and more that a registry keeps."""

    where: str
    summary: str
    kind: str = ""
    paper: str = ""

    def load(self) -> Any:
        """Imports the part. Raises `ArchsweepError` naming what cannot be imported."""
        return load(self.where)


@dataclass(frozen=True)
class Origin:
    """Where a part that is not built in comes from: its name, version (None if unknown), folder of its module."""

    name: str
    version: str | None
    folder: str

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "version": self.version}


def load(where: str, folder: str | None = None) -> Any:
    """Imports ``package.module:Name``, looking in ``folder`` (None: the working directory) after all else.

    Raises `ArchsweepError` naming what cannot be imported and why.
    """
    module_name, _, name = where.partition(":")
    path = str(Path.cwd()) if folder is None else folder
    if path not in sys.path and "" not in sys.path:
        sys.path.append(path)  # last, so that nothing there hides an installed module
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise ArchsweepError(
                f"cannot import {where!r}: there is no module {error.name!r}; run in its folder, or install it"
            ) from None
        raise ArchsweepError(f"cannot import {where!r}: its module needs {error.name!r}, which is not there") from None
    except ArchsweepError:
        raise
    except Exception as error:  # a user's module may raise anything
        raise ArchsweepError(f"cannot import {where!r}: {type(error).__name__}: {error}") from None
    part: Any = module
    for attribute in name.split("."):
        if not hasattr(part, attribute):
            raise ArchsweepError(_nothing_there(module, where, name))
        part = getattr(part, attribute)
    return part


def _nothing_there(module: ModuleType, where: str, name: str) -> str:
    names = [key for key in vars(module) if not key.startswith("_")]
    near = get_close_matches(name, names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    hidden = ""
    if module.__name__.partition(".")[0] in OURS:
        hidden = f" (it is {getattr(module, '__file__', 'built in')}: is a module of yours hidden by one of that name?)"
    return f"cannot import {where!r}: its module has no {name!r}{hint}{hidden}"


@dataclass(frozen=True)
class Registry:
    """Parts of one kind by name.

    what: the kind, as messages call it. group: of entry points of installed packages.
    """

    what: str
    group: str
    builtin: Mapping[str, Entry]

    def __iter__(self) -> Iterator[str]:
        return iter(self.builtin)

    def __contains__(self, name: object) -> bool:
        return name in self.builtin

    def __getitem__(self, name: str) -> Entry:
        return self.builtin[name]

    def __len__(self) -> int:
        return len(self.builtin)

    def installed(self) -> dict[str, EntryPoint]:
        """Returns the entry points of installed packages that are not built in."""
        return {point.name: point for point in entry_points(group=self.group) if point.name not in self.builtin}

    def names(self) -> list[str]:
        return [*self.builtin, *self.installed()]

    def load(self, name: str) -> Any:
        """Returns the class or function of a name. Raises `ArchsweepError` on an unknown one."""
        if name in self.builtin:
            return self.builtin[name].load()
        if ":" in name:
            return load(name)
        point = self.installed().get(name)
        if point is None:
            raise unknown(self.what, name, self.names())
        return load(f"{point.module}:{point.attr}")

    def origin(self, name: str) -> Origin | None:
        """Returns where a part comes from; None for a built-in one."""
        if name in self.builtin:
            return None
        point = self.installed().get(name)
        where = name if point is None else f"{point.module}:{point.attr}"
        module = import_module(where.partition(":")[0])
        file = getattr(module, "__file__", None)
        depth = module.__name__.count(".") + (file is not None and Path(file).name == "__init__.py")
        folder = "" if file is None else str(Path(file).resolve().parents[depth])
        return Origin(where, _version(module), folder)

    def make(self, name: str, parts: tuple[Any, ...], parameters: Mapping[str, Any]) -> Any:
        """Makes the part of a name from positional parts and checked parameters. Raises `ArchsweepError`."""
        return make(self.load(name), f"{self.what} {name!r}", parts, parameters)


def _version(module: ModuleType) -> str | None:
    """The version of the package that a module belongs to, by its own word or its distribution's."""
    top = sys.modules[module.__name__.partition(".")[0]]
    own = getattr(top, "__version__", None)
    if isinstance(own, str):
        return own
    try:
        return version(packages_distributions()[top.__name__][0])
    except (KeyError, PackageNotFoundError):
        return None


def unknown(what: str, name: str, known: Any) -> ArchsweepError:
    """Returns the error for a name that is not in a registry, with the nearest one that is."""
    near = get_close_matches(name, list(known), 1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}"
    return ArchsweepError(f"unknown {what} {name!r}; {hint}")


def parameters_of(make: Any) -> dict[str, tuple[Any, Any, str]]:
    """Returns (type, default, help) of every parameter of a class or function that has a default."""
    hints = get_type_hints(
        vars(make).get("__init__", make) if isinstance(make, type) and not is_dataclass(make) else make
    )
    if is_dataclass(make):
        return {
            f.name: (hints[f.name], _default(f), f.metadata.get("help", ""))
            for f in fields(make)
            if f.init and not f.name.startswith("_") and _default(f) is not MISSING
        }
    return {
        name: (hints.get(name, Any), parameter.default, "")
        for name, parameter in signature(make).parameters.items()
        if parameter.default is not Parameter.empty
    }


def _default(parameter: Field[Any]) -> Any:
    return parameter.default if parameter.default_factory is MISSING else parameter.default_factory()


def make(
    part: Any,
    what: str,
    parts: tuple[Any, ...],
    parameters: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
) -> Any:
    """Calls a class or function with positional parts and parameters that its annotations check.

    what: its name in messages. defaults: in place of the part's own. Raises `ArchsweepError` naming a parameter that
    is unknown or has a wrong value.
    """
    accepted = signature(part).parameters.values()
    open_ended = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in accepted)
    known = parameters_of(part)
    for parameter in () if open_ended else parameters:
        if parameter not in known:
            raise unknown(f"parameter of {what}:", parameter, known)
    over = defaults or {}
    model = create_model(  # type: ignore[call-overload]  # fields made from another class
        "Parameters",
        __config__=ConfigDict(extra="allow" if open_ended else "forbid", arbitrary_types_allowed=True),
        **{name: (hint, over.get(name, default)) for name, (hint, default, _) in known.items()},
    )
    try:
        return part(*parts, **dict(model(**parameters)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(part for part in map(str, first["loc"]) if "[" not in part)  # less the branches of a union
        raise ArchsweepError(f"{what}: {where} = {first['input']!r}: {first['msg']}") from None
    except ArchsweepError:
        raise
    except (ValueError, TypeError) as error:
        raise ArchsweepError(f"{what}: {error}") from None
