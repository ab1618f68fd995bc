"""References: nbval compares what it can see, the guard and the comparer see to the rest."""

import json
from pathlib import Path

import nbformat
import pytest
import reference
from project import CHAPTERS, REFERENCE, Refusal, names, read_notebook

# The smallest PNG: one transparent pixel.
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAA"
    "AABJRU5ErkJggg=="
)


def nbval(project, path: Path):
    return project.run("-m", "pytest", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider",
                       "-q", str(path))


@pytest.fixture
def references(project) -> Path:
    reference.write()
    return project / REFERENCE


def tampered(path: Path, change) -> Path:
    notebook = read_notebook(path)
    change(notebook)
    nbformat.write(notebook, path)
    return path


def set_value(notebook):
    notebook.cells[1].outputs[0].text = "value 43\n"


def test_nbval_passes_the_reference_and_fails_a_tampered_one(project, references):
    path = references / "01_first.ipynb"
    # nbval works in the folder of the notebook, the small book's records lie at its root.
    (path.parent / "results").symlink_to(project / "results")
    done = nbval(project, path)
    assert done.returncode == 0, done.stdout
    done = nbval(project, tampered(path, set_value))
    assert done.returncode == 1 and "value 43" in done.stdout


def test_nbval_passes_a_reference_whose_image_was_stripped(project):
    source = ("from IPython.display import Image, display\nimport base64\n"
              f'display(Image(data=base64.b64decode("{PIXEL}")))')
    output = nbformat.v4.new_output("display_data", {
        "image/png": PIXEL, "text/plain": "<IPython.core.display.Image object>"})
    cell = nbformat.v4.new_code_cell(source, execution_count=1, outputs=[output])
    kernel = {"name": "python3", "display_name": "Python 3"}
    chapter = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel})
    kept = reference.text_reference(chapter)
    assert "image/png" not in kept.cells[0].outputs[0].data
    nbformat.write(kept, project / "image.ipynb")
    done = nbval(project, project / "image.ipynb")
    assert done.returncode == 0, done.stdout


def test_guard_passes_fresh_references(references):
    assert reference.guard_faults() == []


def test_guard_finds_a_cell_that_was_never_run(references):
    def clear(notebook):
        notebook.cells[2].execution_count = None
        notebook.cells[2].outputs = []

    tampered(references / "01_first.ipynb", clear)
    assert reference.guard_faults() == ["reference 01_first: code cell 3 has no execution count"]


def test_guard_finds_a_warning_in_an_output(references):
    def warn(notebook):
        notebook.cells[2].outputs = [nbformat.v4.new_output("stream", name="stderr", text="oh\n")]

    tampered(references / "01_first.ipynb", warn)
    assert reference.guard_faults() == ["reference 01_first: code cell 3 warns: oh"]


def test_guard_finds_a_reference_of_other_code(project, references):
    project.edit("notebooks/02_second.md", "other.THREE", "other.THREE + 0")
    assert "reference 02_second holds other code" in reference.guard_faults()[0]


def test_guard_finds_missing_and_orphaned_references(references):
    (references / "01_first.ipynb").rename(references / "03_third.ipynb")
    (references / "arrays/02_second.json").unlink()
    assert reference.guard_faults() == [
        "01_first has no reference; run make reference",
        "02_second has no reference; run make reference",
        "reference 03_third has no notebook",
    ]


def test_reference_of_another_profile_is_refused(project):
    def full(notebook):
        notebook.metadata["mlcpc"]["profile"] = "full"

    tampered(CHAPTERS / "01_first.ipynb", full)
    with pytest.raises(Refusal, match="executed at profile 'full'"):
        reference.write()


def kept(**changes) -> dict:
    return {"fig-a": {"rtol": 1e-6, "atol": 1e-8, "arrays": {"x": [1.0, 2.0], **changes}}}


def test_arrays_within_tolerance_pass():
    assert reference.array_faults(kept(), kept(x=[1.0, 2.0000001]), "page") == []


@pytest.mark.parametrize("message, fresh", [
    ("fig-a.x differs from the reference by 0.001", kept(x=[1.0, 2.001])),
    ("fig-a.x differs from the reference by nan", kept(x=[1.0, float("nan")])),
    ("fig-a.x has shape (3,), the reference (2,)", kept(x=[1.0, 2.0, 3.0])),
    ("fig-a keeps x, y, the reference x", kept(y=[1.0])),
    ("figure fig-a is gone", {}),
    ("figure fig-b has no reference", {**kept(), "fig-b": kept()["fig-a"]}),
])
def test_drift_of_arrays_is_found(message, fresh):
    found = reference.array_faults(kept(), fresh, "page")
    assert len(found) == 1 and message in found[0]


def test_arrays_are_written_so_that_they_can_be_read(references):
    text = (references / "arrays/01_first.json").read_text()
    assert json.loads(text) == {"fig-first": {"rtol": 1e-6, "atol": 1e-8,
                                              "arrays": {"y": [1.0, 2.0]}}}
    assert '   "y": [1.0, 2.0]\n' in text
    assert json.loads((references / "arrays/02_second.json").read_text()) == {}


def test_the_book_has_all_its_references(real):
    assert reference.guard_faults() == []


@pytest.mark.parametrize("name", sorted(
    path.stem for path in (Path(__file__).parent.parent / "notebooks").glob("*.md")))
def test_arrays_behind_the_figures_of_the_book(real, name):
    assert name in names()
    old = json.loads(reference.arrays_file(name).read_text())
    fresh = reference.arrays(reference.chapter_of(name))
    assert reference.array_faults(old, fresh, name) == []
