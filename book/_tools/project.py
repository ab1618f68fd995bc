"""Where things are, and how a tool speaks: shared by the Snakefile and every tool beside it.

All paths are relative to the repository root, which is the working directory of every tool.
"""

import os
import re
import sys
import tempfile
import traceback
from contextlib import contextmanager
from pathlib import Path

import jupytext
import nbformat

PROFILES = ("quick", "full")
NOTEBOOKS = Path("notebooks")
TOC = Path("_toc.yml")
PACKAGE = Path("mlcpc")
RESULTS = Path("results")
CHAPTERS = Path("book/chapters")
LEDGER = Path("book/generated/ledger.md")
REGISTRY = Path("book/generated/records.md")  # and a folder of this name, a page a record
PAPER = Path("book/generated/paper.md")
SITE = Path("book/_build/html")
REFERENCE = Path("tests/reference")

# build.py shows the lines that begin with this mark and keeps everything else for the log.
MARK = "mlcpc| "


class Refusal(Exception):
    """A mistake of the reader or of a source file, told in one message and without a traceback."""


def names() -> list[str]:
    """The notebooks of the book, in the order of the table of contents, forgotten ones last."""
    order = re.findall(r"chapters/(\w+)", TOC.read_text()) if TOC.is_file() else []
    found = sorted(path.stem for path in NOTEBOOKS.glob("*.md"))
    return sorted(found, key=lambda name: order.index(name) if name in order else len(order))


def asked(given: list[str]) -> list[str]:
    """The pages that a command names, or all of them if it names none."""
    unknown = set(given) - set(names())
    if unknown:
        raise Refusal(f"unknown page {', '.join(sorted(unknown))}; pages: {', '.join(names())}")
    return given or names()


def read_notebook(path: Path):
    """A notebook of either kind: MyST text or executed .ipynb."""
    if path.suffix == ".ipynb":
        return nbformat.read(path, as_version=4)
    return jupytext.reads(path.read_text(encoding="utf-8"), fmt="md:myst")


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell) -> list[str]:
    return list(cell.metadata.get("tags", []))


def hide_arrays(cell) -> None:
    """Take the arrays behind a figure off the page: MyST-NB would make a figure of them too."""
    hidden = [[place, output] for place, output in enumerate(cell.outputs)
              if "mlcpc_arrays" in output.get("metadata", {})]
    if hidden:
        cell.metadata["mlcpc_hidden"] = hidden
        cell.outputs = [output for output in cell.outputs
                        if "mlcpc_arrays" not in output.get("metadata", {})]


def all_outputs(cell) -> list:
    """Outputs as the kernel gave them, those off the page included."""
    found = list(cell.outputs)
    for place, output in cell.metadata.get("mlcpc_hidden", []):
        found.insert(place, output)
    return found


def say(text: str) -> None:
    """Print lines that the reader of `make book` sees."""
    print("\n".join(MARK + line for line in text.splitlines()), flush=True)


def check_profile(profile: str) -> str:
    """The profile itself; an unknown one is refused."""
    if profile not in PROFILES:
        raise Refusal(f"unknown profile {profile!r}; valid profiles: {', '.join(PROFILES)}")
    return profile


def plain(text: str) -> str:
    """The text without terminal colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@contextmanager
def replacing(target: Path):
    """Yield a scratch path beside the target that becomes the target only if all goes well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".part-", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
        os.chmod(scratch, 0o644)
        os.replace(scratch, target)
    finally:
        scratch.unlink(missing_ok=True)


def main(run, speak=say) -> None:
    """Run a tool: refusals and disk errors become one clear message and exit status 1."""
    try:
        run()
    except Refusal as refusal:
        speak(f"error: {refusal}")
        sys.exit(1)
    except OSError as error:
        speak(f"error: {error.filename or 'a file'} can not be read or written: {error.strerror}")
        sys.exit(1)
    except Exception:  # a fault of the tool itself: whole traceback, for whoever mends it
        speak("error: " + traceback.format_exc())
        sys.exit(1)
    except KeyboardInterrupt:
        speak("interrupted")
        sys.exit(130)
