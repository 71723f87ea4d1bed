"""The layout's rules, read from the imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("nas", "surrogate", "searchers", "workers", "orchestrator", "archsweep")
MAY_IMPORT = {
    "nas": set(),
    "surrogate": {"nas"},
    "searchers": {"nas", "surrogate"},
    "workers": {"nas", "surrogate"},
    "orchestrator": {"nas", "surrogate", "searchers", "workers"},
    "archsweep": {"nas", "surrogate", "searchers", "workers", "orchestrator"},
}
ORDER = (
    "cli",
    "sweep",
    "studies",
    "search",
    "tables",
    "tracking",
    "settings",
    "records",
    "pictures",
    "processes",
    "statistics",
)
"""The packages of the orchestrator, then its modules: each imports only what stands below it."""
COMMANDS = {str(path.relative_to(ROOT)) for path in (ROOT / "orchestrator" / "cli").glob("*.py")}
ADAPTERS = {
    "ray": {"orchestrator/sweep/launch_ray.py", "workers/ray_fleet.py", "workers/ray_pool.py"},
    "mlflow": {"orchestrator/tracking/arms.py", "orchestrator/tracking/follow.py", "orchestrator/tracking/store.py"},
    "moocore": {"orchestrator/records/front.py"},
    "jinja2": {"orchestrator/pictures/page.py"},
    "optuna": {"searchers/optuna_search.py", "searchers/optuna_study.py"},
    "sqlalchemy": {"searchers/optuna_study.py"},
    "matplotlib": {
        "orchestrator/pictures/cell.py",
        "orchestrator/pictures/plots.py",
        "orchestrator/search/animation.py",
        "orchestrator/search/pictures.py",
    },
    "google_crc32c": {"nas/nasbench101/tfrecord.py"},
    "google": {"nas/nasbench101/tfrecord.py"},
    "click": COMMANDS,
    "rich": COMMANDS,
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
    "pydantic": {
        "nas/plugins.py",
        "orchestrator/settings/config.py",
        "orchestrator/settings/values.py",
        "orchestrator/sweep/plan.py",
        "searchers/registry.py",
    },
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


def imported_parts(path: Path) -> set[str]:
    """The parts of the orchestrator that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("orchestrator.")}
    return found


@pytest.mark.parametrize("part", ORDER)
def test_imports_go_down_in_the_orchestrator(part: str) -> None:
    folder = ROOT / "orchestrator"
    sources = sorted((folder / part).rglob("*.py")) or [folder / f"{part}.py"]
    below = {part, *ORDER[ORDER.index(part) + 1 :]}
    assert not {str(path.relative_to(ROOT)): above for path in sources if (above := imported_parts(path) - below)}


def test_every_part_of_the_orchestrator_has_its_place() -> None:
    folder = ROOT / "orchestrator"
    parts = {path.parent.name for path in folder.glob("*/__init__.py")} | {path.stem for path in folder.glob("*.py")}
    assert parts - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_vendor_library_lives_in_its_adapter(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    assert not [vendor for vendor in imported(path) & set(ADAPTERS) if name not in ADAPTERS[vendor]]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_unpickles(path: Path) -> None:
    assert not imported(path) & {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def test_docker_is_a_folder_of_files_and_no_package() -> None:
    assert not (ROOT / "docker" / "__init__.py").exists()
