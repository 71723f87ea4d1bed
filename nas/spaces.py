"""Every space by name, and how to make one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.plugins import Entry, Registry
from nas.space import AnySpace

SPACES = Registry(
    "space",
    "archsweep.spaces",
    {
        "nasbench101": Entry("nas.nasbench101.space:CellSpace", "423,624 cells: operations on vertices, up to 9 edges"),
        "nasbench201": Entry("nas.nasbench201.space:EdgeSpace", "15,625 cells: one of 5 operations on each of 6 edges"),
        "choices": Entry("nas.choices:Choices", "named choices of your own, fixed or conditional"),
    },
)
DEFAULT_SPACE = "nasbench101"


def make_space(name: str, definition: Mapping[str, Any] | None = None) -> AnySpace:
    """Returns the space of a registry name or ``package.module:Name``, with these keyword arguments.

    Raises `ArchsweepError` on an unknown name or argument.
    """
    space: AnySpace = SPACES.make(name, (), definition or {})
    return space
