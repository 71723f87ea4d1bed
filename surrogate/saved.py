"""Graph networks on disk: safetensors with JSON in its header, so that reading one never runs code."""

from __future__ import annotations

import json
import math
from pathlib import Path

from safetensors import SafetensorError, safe_open

from nas.errors import DataError
from surrogate.arrays import save_arrays
from surrogate.gnn import GraphNetwork, Network

VERSION = "archsweep-gnn-2"


def save(network: Network, path: Path, trained_on: str) -> None:
    """Writes a fitted network, whole or not at all. trained_on: its labels' fingerprint, say. Raises `DataError`."""
    arrays = {
        f"{number}.{name}": value.contiguous().cpu().numpy()
        for number, (member, _) in enumerate(network.fitted)
        for name, value in member.state_dict().items()
    }
    scales = [scale for _, scale in network.fitted]
    save_arrays(arrays, {"version": VERSION, "trained_on": trained_on, "scales": scales}, path)


def load(path: Path) -> tuple[Network, str]:
    """The network, and what it was trained on. Raises `DataError` on a file that is not one."""
    fitted = []
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["about"])
            if about["version"] != VERSION:
                raise DataError(f"{path} holds no network that this archsweep reads, but {about['version']}")
            for number, (zero, unit) in enumerate(about["scales"]):
                member = GraphNetwork()
                member.load_state_dict({name: file.get_tensor(f"{number}.{name}") for name in member.state_dict()})
                scale = float(zero), float(unit)
                if not all(map(math.isfinite, scale)):
                    raise ValueError(scale)
                fitted.append((member.eval(), scale))
        return Network(len(fitted), fitted), str(about["trained_on"])
    except (OSError, SafetensorError, RuntimeError, TypeError, KeyError, ValueError) as error:
        raise DataError(f"{path} holds no network: {' '.join(str(error).split())[:100]}") from None
