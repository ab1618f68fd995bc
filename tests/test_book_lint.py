"""The lint finds what it is for, leaves alone what it must, and the book passes it."""

from pathlib import Path

import lint
import nbformat
import pytest
from project import read_notebook


@pytest.mark.parametrize("text", [
    "It falls by 0.35 in all.",
    "About 12 % of the pairs.",
    "About 12% of the pairs.",
    "It takes 14 s to run.",
    "It takes 10 minutes.",
    "The gap is 2 nats wide.",
    "The gap is $x$, that is 0.5.",
    "Needs 3 GiB of memory.",
    "* a list item with 1.5 in it",
    "<b>0.5</b> of them",
    ":::{note}\nThe gap is 0.5.\n:::",
    "```{exercise} A title\n:label: ex-a\n\nThe gap is 0.5.\n```",
])
def test_typed_number_is_found(text):
    assert lint.typed_numbers(text, "page")


@pytest.mark.parametrize("text", [
    "The gap is $0.35$ nats.",
    "$$\nx = 0.5\n$$",
    "```{math}\n:label: eq-1\nx = 0.5\n```",
    "```python\nx = 0.5\n```",
    "Type `x = 0.5` here, or ``y `0.5` ``.",
    "See [the paper](https://example.org/2.5/x), arXiv <https://example.org/1.2>.",
    '<input type="range"\n step="0.5"> <b class="x1.5">text</b>',
    "Two pages, 7 notebooks, in 2020.",
    "Bounds of 12 pairs.",
    "```{figure} x.png\n:width: 0.5\n```",
    "Python 3.11 <!-- number: requires-python of pyproject.toml -->",
])
def test_what_is_no_typed_number_is_left_alone(text):
    assert lint.typed_numbers(text, "page") == []


def test_an_exception_needs_a_source():
    assert lint.typed_numbers("It is 0.5. <!-- number: -->", "page")


def code(source, *tags):
    return nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)})


PARAMETERS = code('profile = "quick"', "parameters")


def notebook(*cells, kernel="python3", first=PARAMETERS):
    return nbformat.v4.new_notebook(
        cells=[first, *cells],
        metadata={"kernelspec": {"name": kernel, "display_name": kernel}},
    )


def test_a_good_notebook_has_no_fault():
    assert lint.notebook_faults(notebook(code("print('a; b')  # x", "hide-input")), "page") == []


@pytest.mark.parametrize("message, broken", [
    ("trailing semicolon", notebook(code("axes.plot(x);"))),
    ("trailing semicolon", notebook(code("axes.plot(x);  # quiet"))),
    ("unknown tag 'chekc'", notebook(code("x", "chekc"))),
    ("unknown tag 'nbval-skip'", notebook(code("x", "nbval-skip"))),
    ("a check has one tag", notebook(code("x", "check", "hide-input"))),
    ("kernelspec is 'python4'", notebook(kernel="python4")),
    ("line of 80 characters", notebook(code("x" * 80))),
    ("seeds nothing", notebook(code("net = networks.build('resnet20', 10, 1)"))),
    ("must have the tag `parameters`", notebook(first=code("x"))),
])
def test_fault_of_a_notebook_is_found(message, broken):
    assert any(message in fault for fault in lint.notebook_faults(broken, "page"))


@pytest.mark.parametrize("text", [
    ":label: thm-first", "(thm-first)=", "$$\nx\n$$ (thm-first)",
])
def test_duplicate_label_is_found(project, text):
    with open(project / "book/intro.md", "a") as page:
        page.write(f"\n{text}\n")
    assert "label 'thm-first' is defined 2 times" in lint.faults()


def test_page_outside_the_contents_is_found(project):
    (project / "book/lost.md").write_text("# Lost\n")
    project.edit("_toc.yml", "02_second", "02_gone")
    found = lint.faults()
    assert "_toc.yml leaves out lost" in found
    assert "_toc.yml leaves out chapters/02_second" in found
    assert "_toc.yml lists chapters/02_gone, which does not exist" in found


def test_command_fails_on_a_typed_number(project):
    assert project.run("book/_tools/lint.py").returncode == 0
    project.edit("book/intro.md", "See", "It is 0.5. See")
    done = project.run("book/_tools/lint.py")
    assert done.returncode == 1 and "typed number '0.5'" in done.stderr


def test_options_of_a_cell_do_not_count_as_code(project):
    assert "tags" not in "".join(
        cell.source for cell in read_notebook(Path("notebooks/01_first.md")).cells)


def test_the_book_has_no_fault(real):
    assert lint.faults() == []
