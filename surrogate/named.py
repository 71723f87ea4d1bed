"""Surrogates by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nas.errors import ArchsweepError
from surrogate.base import Predictor
from surrogate.controls import Blind, ParametersOnly


def _trees() -> Predictor:
    from surrogate.ensemble import Ensemble, Model  # scikit-learn takes a second to import

    return Ensemble(Model.TREES, 1)


def _gp() -> Predictor:
    from surrogate.gaussian_process import GaussianProcess

    return GaussianProcess()


def _flow() -> Predictor:
    from surrogate.blend import flow

    return flow()


def _gnn() -> Predictor:
    from surrogate.calibrated import Calibrated
    from surrogate.gnn import Network  # torch takes seconds to import

    return Calibrated(Network)


def _blend() -> Predictor:
    from surrogate.blend import blend

    return blend()


SURROGATES: Mapping[str, Callable[[], Predictor]] = {
    "trees": _trees,
    "gp": _gp,
    "flow": _flow,
    "gnn": _gnn,
    "blend": _blend,
}
CONTROLS: Mapping[str, Callable[[], Predictor]] = {"blind": Blind, "parameters": ParametersOnly}
"""To compare with; not offered."""
DEFAULT_SURROGATE = "trees"


def make_surrogate(name: str) -> Predictor:
    """The surrogate of this name. Raises `ArchsweepError`."""
    made = {**SURROGATES, **CONTROLS}.get(name)
    if made is None:
        raise ArchsweepError(f"unknown surrogate {name!r}; choose from {', '.join(SURROGATES)}")
    return made()
