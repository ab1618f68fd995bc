"""Shared by the tests of the book: its tools on the path, and a small book to break."""

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
for folder in ("book/_tools", "book/_ext"):
    sys.path.insert(0, str(ROOT / folder))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test draws from its own fixed stream; MLCPC_TEST_SEED tries another one."""
    import numpy as np
    import torch

    seed = int(os.environ.get("MLCPC_TEST_SEED", 0))
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@pytest.fixture
def results(tmp_path, monkeypatch) -> Path:
    """A folder for records."""
    monkeypatch.setenv("MLCPC_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


@contextmanager
def started(arguments: list[str], **options) -> Iterator[subprocess.Popen]:
    """A process with a group of its own, of which nothing is left when the test has ended."""

    # A shell starts what it puts into the background without SIGINT, and children inherit that.
    def listening() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = subprocess.Popen(
        arguments, start_new_session=True, text=True, preexec_fn=listening, **options
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(happened: Callable[[], bool], process: subprocess.Popen, seconds: float = 200) -> None:
    """Wait for what a process does; fail if it ends, or takes longer than any busy machine."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, f"ended with {process.returncode}"
        assert time.monotonic() < deadline
        time.sleep(0.02)


HEADER = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

"""

# A stand-in for the package: as much as the tools use, without torch, so that a build takes
# seconds. The real package and the tools meet in the real build that precedes the tests.
MODULES = {
    "__init__": '__version__ = "0.0.0"\n',
    "records": '''
import json, pathlib


class Record(dict):
    __getattr__ = dict.__getitem__


def read(name):
    return Record(json.loads(pathlib.Path(f"results/{name}.json").read_text()))


def read_all(folder):
    return {path.stem: read(path.stem) for path in sorted(folder.glob("*.json"))}


def provenance(seconds):
    return {"device": "a test machine", "commit": None, "wall_seconds": seconds,
            "versions": {"python": "3", "torch": "0"}}
''',
    "statistics": "",
    "book/__init__": "",
    "book/published": '''
VERDICTS = ()


class Tolerance:
    def __init__(self, *arguments, **more):
        pass


def numbers():
    return {}
''',
    "experiments/__init__": "",
    "experiments/base": "def state(record):\n    return 'current'\n",
    "base": "ONE = 1\n",
    "upper": "from mlcpc.base import ONE\n\nTWO = ONE + ONE\n",
    "other": "THREE = 3\n",
    "checks": '''
from IPython.display import publish_display_data


def show(text, **metadata):
    publish_display_data({"text/plain": text}, metadata)


def checked(label):
    common = {"label": label, "kind": "numeric"}
    show("checked: numeric", mlcpc_checks=[
        {**common, "claim": "true", "excess": 0.0, "limit": 1e-9},
        {**common, "claim": "false twin", "twin": "too strong", "excess": 0.5, "limit": 0.1},
    ])


def keep(name, values):
    show("arrays behind " + name, mlcpc_arrays={
        "name": name, "rtol": 1e-6, "atol": 1e-8, "arrays": {"y": values}})
''',
}

FIRST = HEADER + """# First page

```{code-cell} ipython3
:tags: [parameters]

profile = "quick"
steps = 3
```

```{code-cell} ipython3
from mlcpc import checks, records, upper

print("value", upper.TWO + records.read("used")["value"])
```

```{prf:theorem} A claim
:label: thm-first

Two is two.
```

```{code-cell} ipython3
:tags: [check]

checks.checked("thm-first")
```

```{code-cell} ipython3
checks.keep("fig-first", [1.0, 2.0])
```
"""

SECOND = HEADER + """# Second page

```{code-cell} ipython3
:tags: [parameters]

profile = "quick"
```

```{code-cell} ipython3
from mlcpc import other

print("value", other.THREE)
```

See [the first page](01_first.ipynb).
"""

RECORD = {
    "experiment": "x", "version": 1, "profile": "quick", "command": "mlcpc run x", "config": {},
    "seeds": [0], "metrics": {}, "arrays": {},
    "provenance": {"device": "a test machine", "versions": {}, "wall_seconds": 1.0},
}

TOC = """format: jb-book
root: intro
parts:
  - caption: Part
    chapters:
      - file: chapters/01_first
      - file: chapters/02_second
  - caption: Reference
    chapters:
      - file: generated/ledger
      - file: generated/paper
      - file: generated/records
        sections:
          - glob: generated/records/*
"""


class Project:
    """A small book in a folder of its own, built and changed by the tests."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __truediv__(self, path: str) -> Path:
        return self.folder / path

    def run(self, *command: str, **options) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, *command], cwd=self.folder, capture_output=True, text=True,
            timeout=300, env={**os.environ, "PYTHONPATH": str(self.folder)}, **options,
        )

    def build(self, *options: str) -> subprocess.CompletedProcess:
        return self.run("book/_tools/build.py", *options)

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self / path).read_text()
        assert old in text
        (self / path).write_text(text.replace(old, new))


def write_small_book(folder: Path) -> None:
    for path in ("book/_tools", "book/_ext", "book/_static"):
        shutil.copytree(ROOT / path, folder / path,
                        ignore=shutil.ignore_patterns("__pycache__", "records"))
    for path in ("Snakefile", "_config.yml"):
        shutil.copy(ROOT / path, folder)
    for path in ("mlcpc", "notebooks", "results"):
        (folder / path).mkdir()
    for path in ("mlcpc/book", "mlcpc/experiments"):
        (folder / path).mkdir()
    for name, text in MODULES.items():
        (folder / f"mlcpc/{name}.py").write_text(text)
    (folder / "requirements.lock").write_text("")
    (folder / "notebooks/01_first.md").write_text(FIRST)
    (folder / "notebooks/02_second.md").write_text(SECOND)
    for name, value in (("used", 40), ("unused", 50)):
        (folder / f"results/{name}.json").write_text(json.dumps({**RECORD, "name": name,
                                                                 "value": value}))
    (folder / "results/paper.csv").write_text("")
    (folder / "_toc.yml").write_text(TOC)
    (folder / "book/intro.md").write_text("# Small book\n\nSee [](generated/ledger.md).\n")
    (folder / "book/references.bib").write_text("")


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """The small book, built once for all test processes; tests work on copies."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = base / "small-book"
    with open(base / "small-book.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the first process builds, the others wait
        if not (folder / "first_build.txt").exists():
            write_small_book(folder)
            done = Project(folder).build()
            assert done.returncode == 0, done.stdout + done.stderr
            (folder / "first_build.txt").write_text(done.stdout)
    return folder


@pytest.fixture
def project(built, tmp_path, monkeypatch) -> Project:
    """A built copy of the small book, and the working directory in it."""
    shutil.copytree(built, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")
    return Project(tmp_path / "project")


@pytest.fixture
def real(monkeypatch) -> Path:
    """The real book's folder as working directory; the site must have been built."""
    monkeypatch.chdir(ROOT)
    assert (ROOT / "book/_build/html/index.html").is_file(), "no site: run make book first"
    return ROOT


@pytest.fixture(scope="session")
def chromium() -> None:
    """Skips a test where there is no Chromium, unless MLCPC_REQUIRE_BROWSER is set."""
    import devtools

    if devtools.browser() is None:
        if os.environ.get("MLCPC_REQUIRE_BROWSER"):
            pytest.fail(f"MLCPC_REQUIRE_BROWSER is set; looked for {', '.join(devtools.NAMES)}")
        pytest.skip(f"no browser on this machine; looked for {', '.join(devtools.NAMES)}")


@pytest.fixture
def shown(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "IPython.display.publish_display_data", lambda data, metadata: seen.append((data, metadata))
    )
    return seen


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy, since building writes into the folder that it builds from."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "mlcpc", folder / "mlcpc")
    command = ["wheel", ".", "--no-deps", "--no-build-isolation", "--quiet", "-w", "wheels"]
    done = subprocess.run([sys.executable, "-m", "pip", *command], cwd=folder,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next((folder / "wheels").iterdir())
