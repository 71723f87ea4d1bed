"""Every searcher by name, and how to make one from a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from typing import Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from nas.errors import ArchsweepError
from nas.space import CellSpace
from searchers.base import Searcher
from searchers.evolution import Evolution
from searchers.random_search import RandomSearch


@dataclass(frozen=True)
class Entry:
    """A searcher class, one line on what it does, and its paper."""

    make: type[Any]
    summary: str
    paper: str

    def parameters(self) -> list[tuple[str, str, Any, str]]:
        """(name, type, default, help) of every parameter."""
        hints = get_type_hints(self.make)
        return [
            (f.name, getattr(hints[f.name], "__name__", str(hints[f.name])), f.default, f.metadata["help"])
            for f in fields(self.make)
            if f.default is not MISSING
        ]


SEARCHERS: Mapping[str, Entry] = {
    "random": Entry(RandomSearch, "independent random cells", "Bergstra and Bengio, 2012"),
    "evolution": Entry(Evolution, "regularized (aging) evolution, two published variants", "Real et al., 2019"),
}


def unknown(kind: str, name: str, known: Mapping[str, Any]) -> ArchsweepError:
    """The error for a name that is not in a registry, with the nearest one that is."""
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}"
    return ArchsweepError(f"unknown {kind} {name!r}; {hint}")


def make_searcher(name: str, space: CellSpace, parameters: Mapping[str, Any]) -> Searcher:
    """The searcher of this name. Raises `ArchsweepError` on an unknown name, parameter or value."""
    if name not in SEARCHERS:
        raise unknown("searcher", name, SEARCHERS)
    entry = SEARCHERS[name]
    known = {parameter: default for parameter, _, default, _ in entry.parameters()}
    for parameter in parameters:
        if parameter not in known:
            raise unknown(f"parameter of searcher {name!r}:", parameter, known)
    hints = get_type_hints(entry.make)
    model = create_model(  # type: ignore[call-overload]  # fields made from another class
        name, __config__=ConfigDict(extra="forbid"), **{key: (hints[key], default) for key, default in known.items()}
    )
    try:
        searcher: Searcher = entry.make(space, **dict(model(**parameters)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ArchsweepError(f"searcher {name!r}: {where} = {first['input']!r}: {first['msg']}") from None
    except ValueError as error:
        raise ArchsweepError(f"searcher {name!r}: {error}") from None
    return searcher
