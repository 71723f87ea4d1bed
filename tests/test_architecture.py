"""The layout's rules, read from the imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("nas", "surrogate", "searchers", "workers", "orchestrator")
MAY_IMPORT = {
    "nas": set(),
    "surrogate": {"nas"},
    "searchers": {"nas", "surrogate"},
    "workers": {"nas", "surrogate"},
    "orchestrator": {"nas", "surrogate", "searchers", "workers"},
}
COMMANDS = {str(path.relative_to(ROOT)) for path in (ROOT / "orchestrator").glob("commands_*.py")}
ADAPTERS = {
    "ray": {"orchestrator/launch_ray.py", "workers/ray_fleet.py", "workers/ray_pool.py"},
    "mlflow": {"orchestrator/tracking.py", "orchestrator/tracking_arms.py"},
    "moocore": {"orchestrator/front.py"},
    "jinja2": {"orchestrator/report_html.py"},
    "optuna": {"searchers/optuna_search.py", "searchers/optuna_study.py"},
    "sqlalchemy": {"searchers/optuna_study.py"},
    "matplotlib": {"orchestrator/animation.py", "orchestrator/draw.py", "orchestrator/plots.py"},
    "google_crc32c": {"nas/tfrecord.py"},
    "google": {"nas/tfrecord.py"},
    "click": {"orchestrator/cli.py", "orchestrator/arguments.py", *COMMANDS},
    "rich": {"orchestrator/cli.py", "orchestrator/progress.py", "orchestrator/sweep_view.py", *COMMANDS},
    "safetensors": {
        "surrogate/arrays.py",
        "surrogate/pretrained/predicted.py",
        "surrogate/prior/known.py",
        "surrogate/saved.py",
        "workers/checkpoint.py",
    },
    "sklearn": {
        "surrogate/boosted.py",
        "surrogate/calibrated.py",
        "surrogate/ensemble.py",
        "surrogate/pretrained/train.py",
        "workers/datasets.py",
    },
    "torch": {
        "searchers/controller.py",
        "workers/checkpoint.py",
        "workers/network.py",
        "workers/optimizers.py",
        "workers/trainer.py",
        *(str(path.relative_to(ROOT)) for path in (ROOT / "surrogate").glob("*.py")),
    },
    "pydantic": {"orchestrator/config.py", "orchestrator/sweep_config.py", "searchers/registry.py"},
}
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The top-level modules that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    assert imported(path) & set(PACKAGES) <= MAY_IMPORT[package] | {package}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_vendor_library_lives_in_its_adapter(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    assert not [vendor for vendor in imported(path) & set(ADAPTERS) if name not in ADAPTERS[vendor]]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_unpickles(path: Path) -> None:
    assert not imported(path) & {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def test_docker_is_a_folder_of_files_and_no_package() -> None:
    assert not (ROOT / "docker" / "__init__.py").exists()
