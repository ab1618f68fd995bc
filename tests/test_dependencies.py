"""Which module of mlcpc may import which: the table of the design, and torch and numpy alone."""

import subprocess
import sys
from pathlib import Path

import dependencies
import pytest

ROOT = Path(__file__).resolve().parent.parent
# Module -> modules of ours that it may import. `shapes` only holds annotations: all may use it.
ALLOWED = {
    "bounds": set(),
    "exact": {"bounds"},
    "allpairs": {"bounds"},
    "critics": set(),
    "problems": set(),
    "ledger": set(),
    "figures": set(),
    "runs": {"sources"},
    "sources": set(),
    "estimation": {"checks", "critics", "problems", "bounds", "runs"},
    "consistency": {"critics", "estimation", "images", "runs", "bounds", "problems"},
    "images": set(),
    "networks": set(),
    "memory": set(),
    "probes": {"images", "networks"},
    "shapes": set(),
    "checks": set(),
}
ALLOWED["pretraining"] = {"allpairs", "checks", "images", "memory", "networks", "probes", "runs"}
ALLOWED["distillation"] = {"bounds", "checks", "images", "memory", "networks", "runs"}
ALLOWED["__init__"] = ALLOWED["__main__"] = set(ALLOWED)


def ours(path: Path) -> set[str]:
    names = {name.removeprefix("mlcpc.") for name in dependencies.module_imports(path)}
    return names - {"mlcpc", "shapes"}


@pytest.mark.parametrize("path", sorted((ROOT / "mlcpc").glob("*.py")), ids=lambda path: path.stem)
def test_module_imports_what_it_may(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert path.stem in ALLOWED, f"say in ALLOWED what mlcpc.{path.stem} may import"
    assert ours(path) <= ALLOWED[path.stem]


def test_forbidden_import_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    bounds = tmp_path / "bounds.py"
    bounds.write_text("def late():\n    from .exact import Joint\n")
    assert not ours(bounds) <= ALLOWED["bounds"]


@pytest.mark.parametrize("statement", ["import mlcpc", "import mlcpc.bounds, mlcpc.exact"])
def test_import_needs_torch_and_numpy_only(statement):
    others = ["matplotlib", "scipy", "pandas", "IPython", "jaxtyping", "beartype", "papermill"]
    code = f"import sys\nfor name in {others}: sys.modules[name] = None\n{statement}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_blocked_import_would_be_found():
    code = "import sys\nsys.modules['matplotlib'] = None\nimport mlcpc.figures"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "matplotlib" in done.stderr
