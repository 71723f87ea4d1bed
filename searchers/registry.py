"""Every searcher by name, and how to make one from a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from difflib import get_close_matches
from enum import StrEnum
from importlib import import_module
from typing import Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from nas.errors import ArchsweepError
from nas.nasbench101.space import CellSpace
from searchers.base import Searcher


class Kind(StrEnum):
    """What a searcher builds on."""

    RANDOM = "random"
    LOCAL = "local"
    EVOLUTION = "evolution"
    POLICY = "policy gradient"
    MODEL = "model"
    FIDELITY = "multi-fidelity"
    GOALS = "multi-objective"


@dataclass(frozen=True)
class Entry:
    """Where a searcher class is ("module:class", imported when first used), its kind, one line on it, its paper."""

    where: str
    kind: Kind
    summary: str
    paper: str

    @property
    def make(self) -> type[Any]:
        module, _, name = self.where.partition(":")
        made: type[Any] = getattr(import_module(module), name)
        return made

    def parameters(self) -> list[tuple[str, str, Any, str]]:
        """(name, type, default, help) of every parameter."""
        hints = get_type_hints(self.make)
        return [
            (f.name, getattr(hints[f.name], "__name__", str(hints[f.name])), _default(f), f.metadata["help"])
            for f in fields(self.make)
            if _default(f) is not MISSING
        ]


def _default(parameter: Field[Any]) -> Any:
    return parameter.default if parameter.default_factory is MISSING else parameter.default_factory()


SEARCHERS: Mapping[str, Entry] = {
    "random": Entry(
        "searchers.random_search:RandomSearch", Kind.RANDOM, "independent random cells", "Bergstra and Bengio, 2012"
    ),
    "evolution": Entry(
        "searchers.evolution:Evolution",
        Kind.EVOLUTION,
        "regularized (aging) evolution, two published variants",
        "Real et al., 2019",
    ),
    "local": Entry(
        "searchers.local_search:LocalSearch",
        Kind.LOCAL,
        "walks to better neighbours, restarts at minima",
        "White et al., 2021",
    ),
    "reinforce": Entry(
        "searchers.reinforce:Reinforce",
        Kind.POLICY,
        "policy gradient on independent logits",
        "Ying et al., 2019; Williams, 1992",
    ),
    "controller": Entry(
        "searchers.controller:Controller",
        Kind.POLICY,
        "recurrent controller that writes cells as strings",
        "Zoph and Le, 2017; Pham et al., 2018",
    ),
    "bananas": Entry(
        "searchers.bananas:Bananas", Kind.MODEL, "ensemble, path encoding, Thompson sampling", "White et al., 2021"
    ),
    "npenas": Entry(
        "searchers.npenas:Npenas", Kind.MODEL, "evolution whose mutants a predictor thins out", "Wei et al., 2022"
    ),
    "weaknas": Entry(
        "searchers.weaknas:WeakNas", Kind.MODEL, "weak predictors that rank the whole space", "Wu et al., 2021"
    ),
    "nsga2": Entry(
        "searchers.nsga2:Nsga2", Kind.GOALS, "a front of accuracy against what a network costs", "Deb et al., 2002"
    ),
    "halving": Entry(
        "searchers.successive_halving:SuccessiveHalving",
        Kind.FIDELITY,
        "successive halving, asynchronous (ASHA) or synchronous",
        "Li et al., 2020; Jamieson and Talwalkar, 2016",
    ),
    "hyperband": Entry(
        "searchers.hyperband:Hyperband", Kind.FIDELITY, "brackets of successive halving in turn", "Li et al., 2018"
    ),
    "bohb": Entry("searchers.bohb:Bohb", Kind.FIDELITY, "Hyperband with a density model", "Falkner et al., 2018"),
    "dehb": Entry("searchers.dehb:Dehb", Kind.FIDELITY, "Hyperband with differential evolution", "Awad et al., 2021"),
    "optuna": Entry(
        "searchers.optuna_search:OptunaSearch",
        Kind.MODEL,
        "any sampler of Optuna, TPE by default, on vectors",
        "Akiba et al., 2019; Bergstra et al., 2011",
    ),
}


OTHER_NAMES = {
    "asha": "'halving'",
    "sha": "'halving'",
    "successivehalving": "'halving'",
    "regularizedevolution": "'evolution'",
    "rea": "'evolution'",
    "localsearch": "'local'",
    "randomsearch": "'random'",
    "nsgaii": "'nsga2'",
    "rl": "'reinforce' or 'controller'",
    **{name: f"'optuna' with the parameter sampler={name}" for name in ("tpe", "cmaes", "motpe", "gp", "qmc")},
}
"""What others call a searcher, in lower case without hyphens and spaces."""


def unknown(kind: str, name: str, known: Mapping[str, Any]) -> ArchsweepError:
    """The error for a name that is not in a registry, with the nearest one that is."""
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}"
    return ArchsweepError(f"unknown {kind} {name!r}; {hint}")


FILTER = Entry(
    "searchers.filtered:Filtered", Kind.MODEL, "a surrogate lets the promising proposals of a searcher pass", "see docs"
)
"""The wrapper that `make_filtered` puts around a searcher; it is chosen beside a searcher, so it has no name above."""


def make_searcher(
    name: str, space: CellSpace, parameters: Mapping[str, Any], budgets: tuple[int, ...] = ()
) -> Searcher:
    """The searcher of this name. Raises `ArchsweepError` on an unknown name, parameter or value.

    budgets: epochs at which cells can be trained, ascending; the default of a multi-fidelity searcher's ``budgets``.
    """
    if name not in SEARCHERS:
        other = OTHER_NAMES.get(name.lower().replace("-", "").replace("_", "").replace(" ", ""))
        if other is not None:
            raise ArchsweepError(f"unknown searcher {name!r}; here it is {other}")
        raise unknown("searcher", name, SEARCHERS)
    entry = SEARCHERS[name]
    defaults = {"budgets": budgets} if budgets else {}
    return _made(entry, f"searcher {name!r}", (space,), parameters, defaults)


def make_filtered(space: CellSpace, inner: Searcher, parameters: Mapping[str, Any]) -> Searcher:
    """A searcher behind a filter. Raises `ArchsweepError` on an unknown parameter or value."""
    return _made(FILTER, "filter", (space, inner), parameters, {})


def _made(
    entry: Entry, what: str, parts: tuple[Any, ...], parameters: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Searcher:
    """The entry's class of these positional arguments and parameters, checked; ``what`` is its name in messages."""
    known = {parameter: defaults.get(parameter, default) for parameter, _, default, _ in entry.parameters()}
    for parameter in parameters:
        if parameter not in known:
            raise unknown(f"parameter of {what}:", parameter, known)
    hints = get_type_hints(entry.make)
    model = create_model(  # type: ignore[call-overload]  # fields made from another class
        "Parameters",
        __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=True),  # a sampler object, say
        **{key: (hints[key], default) for key, default in known.items()},
    )
    try:
        searcher: Searcher = entry.make(*parts, **dict(model(**parameters)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(part for part in map(str, first["loc"]) if "[" not in part)  # less the branches of a union
        raise ArchsweepError(f"{what}: {where} = {first['input']!r}: {first['msg']}") from None
    except ValueError as error:
        raise ArchsweepError(f"{what}: {error}") from None
    return searcher
