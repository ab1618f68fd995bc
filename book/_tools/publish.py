"""Executed notebooks as they go on the branch that the Colab and Binder buttons point to.

    GITHUB_REPOSITORY=owner/name python book/_tools/publish.py FOLDER
"""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

sys.path.insert(0, "book/_ext")
import launch
from project import CHAPTERS, RESULTS, Refusal, main, names, read_notebook


def requirement(slug: str, commit: str) -> str:
    """The package at the commit that made the notebooks, as pip takes it."""
    return f"mlcpc @ git+https://github.com/{slug}@{commit}"


def with_install(notebook, slug: str, commit: str):
    """The notebook with a first cell that brings package and records where they are missing."""
    source = (
        "# This page needs the book's package and records. Colab does not have them yet.\n"
        "try:\n    import mlcpc\nexcept ImportError:\n"
        f"    !git clone --quiet https://github.com/{slug} mlcpc-book\n"
        f"    !git -C mlcpc-book checkout --quiet {commit}\n"
        "    %pip install --quiet ./mlcpc-book matplotlib\n"
        "    %env MLCPC_RESULTS=mlcpc-book/results"
    )
    notebook.cells.insert(0, nbformat.v4.new_code_cell(source, id="install"))
    return notebook


def commit() -> str:
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True,
                          check=True).stdout.strip()


def offer(folder: Path, slug: str) -> None:
    """The notebooks of a folder, each with its first cell, for readers who download one."""
    here = commit()
    for path in folder.glob("*.ipynb"):
        nbformat.write(with_install(read_notebook(path), slug, here), path)


def publish() -> None:
    slug = launch.repository()
    if len(sys.argv) != 2 or not slug:
        raise Refusal("needs a folder, and a GitHub repository in GITHUB_REPOSITORY or as origin")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    here = commit()
    for name in names():
        notebook = with_install(read_notebook(CHAPTERS / f"{name}.ipynb"), slug, here)
        nbformat.write(notebook, folder / f"{name}.ipynb")
    # Binder installs the package from this file and runs beside the records.
    (folder / "requirements.txt").write_text(f"{requirement(slug, here)}\nmatplotlib\n")
    shutil.copytree(RESULTS, folder / "results", dirs_exist_ok=True)


if __name__ == "__main__":
    main(publish, speak=print)
