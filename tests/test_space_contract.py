"""Every space keeps the contract that plug-ins are tested against, and the contract notices what breaks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator

from archsweep.testing import SpaceContract, check_space
from nas.choices import Choice, Choices
from nas.nasbench201.cell import EdgeCell
from nas.nasbench201.space import EdgeSpace
from nas.space import AnySpace
from nas.spaces import make_space

MACRO: Mapping[str, Any] = {"layer": {"values": ["identity", "MB3_K3", "MB6_K5"], "repeat": 8}, "stem": 32}
CONDITIONAL: Mapping[str, Any] = {
    "depth": [1, 2, 4],
    "kernel": {"values": [3, 5], "when": {"depth": [2, 4]}},
    "operation": {"values": ["conv 3x3", "skip, or not"], "repeat": 3},
    "width": {"values": [16, 24.5, 64], "repeat": "depth"},
    "size": {"values": [3, 5], "repeat": 3, "when": {"operation": "conv 3x3"}},
    "bias": True,
}
SPACES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "nasbench201": ("nasbench201", {}),
    "nasbench201-classes": ("nasbench201", {"classes": True, "dataset": "ImageNet16-120"}),
    "choices": ("choices", {"kernel": [3, 5], "depth": [1, 2, 4]}),
    "choices-conditional": ("choices", CONDITIONAL),
    "choices-macro": ("choices", MACRO),
    "choices-unlisted": ("choices", {"op": {"values": [0, 1, 2], "repeat": 39}}),
}


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest) -> AnySpace:
    name, definition = SPACES[request.param]
    return make_space(name, definition)


class TestSpaces(SpaceContract):
    """The contract, over all spaces."""


class SamplesTheGlobalGenerator(EdgeSpace):
    def sample(self, rng: Generator) -> EdgeCell:
        return self.at(int(np.random.random() * 15_625))  # noqa: NPY002  # the error to be noticed


class MutatesToItself(EdgeSpace):
    def mutate_once(self, architecture: EdgeCell, rng: Generator) -> EdgeCell:
        return architecture


class LooksAtOtherKeys(EdgeSpace):
    def features(self, keys: Any) -> Any:
        features = super().features(keys)
        return features - features.mean(0) if len(keys) else features


class TakesAnyJson(Choices):
    def from_json(self, value: Any) -> Choice:
        return super().from_json(value) if isinstance(value, dict) else self.at(0)


@pytest.mark.parametrize(
    ("broken", "claim"),
    [
        (SamplesTheGlobalGenerator(), "equal generators gave different samples"),
        (MutatesToItself(), "did not change"),
        (LooksAtOtherKeys(), "depends on the other keys"),
        (TakesAnyJson(kernel=[3, 5]), r"from_json\(None\) gives"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_space_that_breaks_the_contract_is_told_which_claim_fails(broken: AnySpace, claim: str) -> None:
    with pytest.raises(AssertionError, match=claim):
        check_space(broken)


def test_a_right_space_passes_without_pytest() -> None:
    check_space(EdgeSpace())
