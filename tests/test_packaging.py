"""pyproject.toml, requirements.lock and environment.yml describe the same environment."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent


def locked(text: str) -> dict[str, str]:
    """Package -> version; anything but `name==version` is a fault."""
    pins = {}
    for line in text.splitlines():
        found = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line)
        assert found, f"not a plain pin: {line!r}"
        pins[canonicalize_name(found.group(1))] = found.group(2)
    return pins


def faults(project: dict, pins: dict[str, str]) -> list[str]:
    """Direct dependencies that the lock does not satisfy."""
    wanted = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted += extra
    found = []
    for requirement in map(Requirement, wanted):
        version = pins.get(canonicalize_name(requirement.name))
        if version is None or not requirement.specifier.contains(version):
            found.append(f"{requirement} is locked as {version}")
    return found


@pytest.fixture
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def pins() -> dict[str, str]:
    return locked((ROOT / "requirements.lock").read_text())


def test_lock_satisfies_the_project(project, pins):
    assert faults(project, pins) == []


@pytest.mark.parametrize("package, version", [("jupyter-book", "2.0.0"), ("torch", "2.5.1"),
                                              ("snakemake", "8.0.0"), ("numpy", None)])
def test_lock_that_does_not_fit_is_found(project, pins, package, version):
    pins.pop(package) if version is None else pins.update({package: version})
    assert len(faults(project, pins)) == 1


@pytest.mark.parametrize("line", ["torch==2.13.0+cpu", "-e .", "torch>=2",
                                  "mlcpc @ file:///somewhere", "--index-url https://example.org"])
def test_lock_holds_plain_pins_only(line):
    with pytest.raises(AssertionError, match="not a plain pin"):
        locked(line)


def test_pins_that_must_not_move(project, pins):
    assert pins["torch"] == "2.13.0"
    assert pins["jupyter-book"].startswith("1.")
    assert project["requires-python"] == ">=3.11"
    assert project["dependencies"] == ["torch>=2.6", "numpy", "safetensors", "tqdm"]


def test_conda_environment_takes_the_lock(project):
    packages = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert f"python{project['requires-python']}" in packages
    assert packages[-1] == {"pip": ["-r requirements.lock", "-e ."]}


def test_installed_environment_is_the_locked_one(pins):
    from importlib import metadata

    # Tests that need the last three skip without them, so here they must be there.
    for name in ("torch", "numpy", "jupyter-book", "papermill", "nbval", "snakemake",
                 "accelerate", "kornia", "scikit-learn"):
        assert metadata.version(name).split("+")[0] == pins[name]


def test_version_is_the_same_everywhere(project):
    import mlcpc

    assert mlcpc.__version__ == project["version"]


def test_code_style():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_continuous_integration_runs_the_test_command():
    script = (ROOT / ".ci/run").read_text()
    assert script.rstrip().endswith("make test")
    assert "set -euo pipefail" in script and "MLCPC_REQUIRE_BROWSER=1" in script
    workflow = yaml.safe_load((ROOT / ".github/workflows/book.yml").read_text())
    steps = [step.get("run") for step in workflow["jobs"]["build"]["steps"]]
    assert "make book" in steps and ".ci/run" in steps


def test_files_that_the_readme_names_are_there():
    text = (ROOT / "README.md").read_text()
    linked = re.findall(r"\]\(([^):#]+)\)", text)
    assert any(path.endswith(".png") for path in linked)
    assert [path for path in linked if not (ROOT / path).exists()] == []
