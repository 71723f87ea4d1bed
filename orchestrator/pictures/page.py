"""Pages that need nothing else: styles and pictures stand in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from orchestrator.pictures.words import duration


def render(template: str, **values: Any) -> str:
    """A page of this package's templates. What is no SVG of ours is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "points": _points, "duration": _duration}
    return environment.get_template(template).render(**values)


def _percent(value: float | None, digits: int = 1) -> str:
    return "unknown" if value is None or np.isnan(value) else f"{value * 100:.{digits}f} %"


def _points(value: float) -> str:
    return "-" if np.isnan(value) else f"{value * 100:.3f}"


def _duration(seconds: float) -> str:
    return "unknown" if np.isnan(seconds) or not seconds else duration(seconds)
