"""Surrogates by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from nas.errors import ArchsweepError
from surrogate.base import Predictor
from surrogate.controls import Blind, ParametersOnly

if TYPE_CHECKING:
    from nas.table.table import Benchmark  # which takes pyarrow


def _trees() -> Predictor:
    from surrogate.ensemble import Ensemble, Model  # scikit-learn takes a second to import

    return Ensemble(Model.TREES, 1)


def _gp() -> Predictor:
    from surrogate.gaussian_process import GaussianProcess

    return GaussianProcess()


def _flow() -> Predictor:
    from surrogate.blend import Flow
    from surrogate.calibrated import Calibrated

    return Calibrated(Flow)


def _gnn() -> Predictor:
    from surrogate.calibrated import Calibrated
    from surrogate.gnn import Network  # torch takes seconds to import

    return Calibrated(Network)


def _blend() -> Predictor:
    from surrogate.blend import Taught
    from surrogate.calibrated import Calibrated

    return Calibrated(Taught)


def _gp_prior() -> Predictor:
    from surrogate.gaussian_process import GaussianProcess
    from surrogate.prior.known import Informed, bundled

    return GaussianProcess(lambda: Informed(bundled().process(), bundled()))


def _flow_prior() -> Predictor:
    from surrogate.blend import Flow
    from surrogate.calibrated import Calibrated
    from surrogate.prior.known import Informed, bundled

    return Calibrated(lambda: Informed(Flow(bundled().process()), bundled()))


def _blend_prior() -> Predictor:
    from surrogate.blend import Flow, Taught
    from surrogate.calibrated import Calibrated
    from surrogate.prior.known import Informed, bundled

    return Calibrated(lambda: Taught(Informed(Flow(bundled().process()), bundled())))


INFORMED: Mapping[str, Callable[[], Predictor]] = {
    "gp+prior": _gp_prior,
    "flow+prior": _flow_prior,
    "blend+prior": _blend_prior,
}
"""Those that know the measured table."""
SURROGATES: Mapping[str, Callable[[], Predictor]] = {
    "trees": _trees,
    "gp": _gp,
    "flow": _flow,
    "gnn": _gnn,
    "blend": _blend,
    **INFORMED,
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


def learnt_from(name: object) -> dict[str, str]:
    """What a search whose results depend on this surrogate depends on besides its name, for the search's identity."""
    if name not in INFORMED:
        return {}
    from surrogate.prior.known import fingerprint

    return {"prior": fingerprint()}


def has_learnt(name: object, table: Benchmark) -> bool:
    """Whether the surrogate of this name knows the very trainings that a table holds."""
    if name not in INFORMED:
        return False
    from surrogate.prior.known import bundled

    return bool(table.made.get("plan") == bundled().about["plan"])


def refuse_learnt(name: object, table: Benchmark) -> None:
    """Raises `ArchsweepError` if it does: it would be asked for what it was told."""
    if has_learnt(name, table):
        raise ArchsweepError(f"{name} has learnt from {table.path} itself; choose another surrogate or table")
