"""The page table counts what a lecture has, and refuses a page that is too long for one."""

from pathlib import Path

import budget
import nbformat
import pytest
from budget import BUDGET, Size
from conftest import ROOT
from project import names, read_notebook

SMALL = Size(words=100, minutes=5, statements=1, lines=10, cell=10, plot=10, source=100,
             figures=1, exercises=4)


def code(source, *tags, figure=False):
    metadata = {"tags": list(tags)}
    if figure:
        metadata["mystnb"] = {"figure": {"name": "fig-x"}}
    return nbformat.v4.new_code_cell(source, metadata=metadata)


def counted(*cells) -> Size:
    cells = [nbformat.v4.new_markdown_cell(cell) if isinstance(cell, str) else cell
             for cell in cells]
    return budget.size(nbformat.v4.new_notebook(cells=cells), "one\ntwo\n")


@pytest.mark.parametrize("text, words", [
    ("Three words here.", 3),
    ("A formula $x + y$ is one word.", 6),
    ("So is `a b c`, a piece of code.", 7),
    ("$$\nx = y\n$$ (eq-x)\n\nAfter it.", 2),
    ("```{prf:theorem} A title\n:label: thm-x\n\nIt holds.\n```", 2),
    (":::{exercise} A title\n:label: ex-x\n\nProve it now.\n:::", 3),
    ("See [the page](x.ipynb).", 3),
])
def test_words_are_those_that_are_read(text, words):
    assert budget.words(text) == words


def test_solutions_are_words_but_no_minutes():
    lecture = "word " * 200
    home = ":::{solution} ex-x\n" + "word " * 1000 + "\n:::"
    assert counted(lecture).minutes == counted(lecture + "\n\n" + home).minutes == 2
    assert counted(lecture + "\n\n" + home).words == 1200


def test_code_is_counted_where_the_reader_sees_it():
    size = counted(code("a\n\nb"), code("c\n" * 20, "hide-input"), code("d\n" * 30, "check"))
    assert size.lines == 2 and size.cell == 30 and size.plot == 0
    drawn = counted(code("d\n" * 35, "hide-input", figure=True))
    assert drawn.cell == 0 and drawn.plot == 35 and drawn.figures == 1


def test_statements_and_exercises_are_counted():
    box = ":::{{prf:{kind}}} Name\n:label: {kind}-x\n\nText.\n:::"
    size = counted(*(box.format(kind=kind) for kind in ("theorem", "lemma", "definition")),
                   "```{exercise} One\n:label: ex-1\n\nDo.\n```",
                   ":::{exercise} Two\n:label: ex-2\n\nDo.\n:::")
    assert size.statements == 2 and size.exercises == 2 and size.source == 2


def test_a_page_within_the_budget_has_no_fault():
    assert budget.faults({"x": BUDGET}) == []


@pytest.mark.parametrize("field", [name for name in Size.__annotations__ if name != "exercises"])
def test_a_page_a_quarter_above_the_budget_fails(field):
    limit = getattr(BUDGET, field)
    allowed = Size(**{**vars(SMALL), field: int(limit * 1.25)})
    above = Size(**{**vars(SMALL), field: int(limit * 1.25) + 1})
    assert budget.faults({"x": allowed}) == []
    (fault,) = budget.faults({"x": above})
    assert f"x has {field} {getattr(above, field)}; budget {limit}" in fault


def test_too_few_exercises_are_a_fault():
    few = Size(**{**vars(SMALL), "exercises": 3})
    assert budget.faults({"x": few}) == ["x has 3 exercises; at least 4"]


def test_the_command_prints_the_table_and_fails_on_a_long_page(project):
    """The small book has no exercises, which is a fault of its own."""
    project.edit("book/_tools/budget.py", "EXERCISES = 4", "EXERCISES = 0")
    done = project.run("book/_tools/budget.py")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("page ") and "01_first" in done.stdout
    project.edit("notebooks/01_first.md", "# First page", "# First page\n\n" + "word " * 4000)
    done = project.run("book/_tools/budget.py")
    assert done.returncode == 1
    assert "01_first has words 4" in done.stdout and "budget 3000, at most 3750" in done.stdout


def test_the_pages_of_the_book_are_within_the_budget(monkeypatch):
    monkeypatch.chdir(ROOT)
    sizes = {name: budget.size(read_notebook(Path(f"notebooks/{name}.md")),
                               Path(f"notebooks/{name}.md").read_text()) for name in names()}
    assert budget.faults(sizes) == []
