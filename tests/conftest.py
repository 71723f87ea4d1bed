"""What tests share: the real data, and tables made of it once per session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from nas.importing import import_table

DATA = Path(os.environ.get("NB101_DATA", Path(__file__).parents[2] / "shared" / "data" / "nb101"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real NAS-Bench-101 files; tests that need it are skipped where it is missing."""
    if not DATA.is_dir():
        pytest.skip(f"no NAS-Bench-101 data at {DATA}; set NB101_DATA")
    return DATA


@pytest.fixture(scope="session")
def small_table(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 91 cells of up to four vertices, four budgets, three repeats, all metrics (EC-NAS-Bench)."""
    path = tmp_path_factory.mktemp("tables") / "small.arrow"
    import_table(data / "ecnas_4v9e.tfrecord", path)
    return path


@pytest.fixture(scope="session")
def curves_table(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20,001 cells at four budgets, one repeat, validation accuracy and training time."""
    path = tmp_path_factory.mktemp("tables") / "curves.arrow"
    import_table(data / "curves20k.parquet", path)
    return path


@pytest.fixture
def ray_cluster() -> Iterator[None]:
    """A real Ray on this machine, started when a test first needs it, shared by the session."""
    if not ray.is_initialized():
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield


@pytest.fixture
def ray_down() -> None:
    """No Ray in this process."""
    ray.shutdown()
