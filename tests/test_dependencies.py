"""The direction of imports: book → experiments → learning → machinery → equations, never back."""

import subprocess
import sys

import dependencies
import pytest
from conftest import ROOT

# Each group may import from itself and from those before it.
GROUPS = {
    "equations": {
        "shapes", "bounds", "exact", "problems", "critics", "estimators", "losses", "allpairs",
        "candidates", "ranks", "tiles", "sameclass",
    },
    "machinery": {"config", "files", "records", "statistics", "training", "stacks"},
    "learning": {
        "datasets", "images", "networks", "memory", "encoders", "probes", "distillation",
        "half_encoders", "embeddings", "flows",
    },
    "estimation": {
        "samples", "canonical", "valuation", "crossfit", "estimation", "questions",
        "estimate_command", "integrations",
    },
    "experiments": {"experiments"},
    "book": {"book"},
    "command": {"__main__"},
}  # fmt: skip
ORDER = list(GROUPS)


def room(name: str) -> str:
    """``experiments`` of ``experiments.base``: packages are one room."""
    return name.split(".")[0]


def group(name: str) -> int:
    for place, members in enumerate(GROUPS.values()):
        if room(name) in members:
            return place
    raise AssertionError(f"say in GROUPS where mlcpc.{name} belongs")


def module_name(path) -> str:
    parts = path.relative_to(ROOT / "mlcpc").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path) -> set[str]:
    found = {name.removeprefix("mlcpc.") for name in dependencies.module_imports(path)}
    return found - {"mlcpc"}


MODULES = {module_name(path): path for path in sorted((ROOT / "mlcpc").rglob("*.py"))}
MODULES.pop("")


@pytest.mark.parametrize("name", MODULES)
def test_no_arrow_points_back(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    back = [other for other in imports(MODULES[name]) if group(other) > group(name)]
    assert not back, f"mlcpc.{name} may not import {back}"


def test_no_modules_import_each_other_in_a_circle(monkeypatch):
    monkeypatch.chdir(ROOT)
    left = {name: imports(path) & set(MODULES) - {name} for name, path in MODULES.items()}
    while ready := [name for name, needs in left.items() if not needs & set(left)]:
        for name in ready:
            del left[name]
    assert not left


def test_an_arrow_back_would_be_found(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    bounds = tmp_path / "bounds.py"
    bounds.write_text("def late():\n    from .experiments import base\n")
    assert any(group(other) > group("bounds") for other in imports(bounds))


@pytest.mark.parametrize("statement", ["import mlcpc.bounds, mlcpc.exact, mlcpc.losses",
                                       "from mlcpc import MLCPCLoss"])  # fmt: skip
def test_the_core_needs_torch_and_numpy_only(statement):
    others = ["matplotlib", "scipy", "pandas", "IPython", "jaxtyping", "beartype", "papermill",
              "sklearn", "yaml", "filelock", "accelerate", "kornia"]  # fmt: skip
    code = f"import sys\nfor name in {others}: sys.modules[name] = None\n{statement}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_blocked_import_would_be_found():
    code = "import sys\nsys.modules['matplotlib'] = None\nimport mlcpc.book.figures"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "matplotlib" in done.stderr
