"""Arrays on disk: safetensors with JSON in its header, so that reading one never runs code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from nas.errors import DataError
from nas.files import replacing


def save_arrays(arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any], path: Path) -> None:
    """Writes them with what there is to say about them, whole or not at all. Raises `DataError`."""
    with replacing(path) as temporary:
        try:
            save_file(dict(arrays), temporary, {"about": json.dumps(about)})
        except SafetensorError as error:  # e.g. of a disk that is full
            raise DataError(f"cannot write {path}: {error}") from None
