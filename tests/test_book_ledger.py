"""The ledger is complete both ways, and says so when it is not."""

from pathlib import Path

import ledger
import nbformat
import pytest
from project import names, read_notebook

BOX = "```{prf:theorem} A claim\n:label: thm-a\n\nText.\n```"
TRUE = {"label": "thm-a", "claim": "true", "kind": "numeric", "excess": 0.0, "limit": 1e-9}
TWIN = {"label": "thm-a", "claim": "false twin", "twin": "too strong", "kind": "numeric",
        "excess": 0.5, "limit": 0.1}


def check_cell(*checks, tags=("check",)):
    outputs = [nbformat.v4.new_output("display_data", {"text/plain": "."}, metadata={
        "mlcpc_checks": list(checks)})]
    return nbformat.v4.new_code_cell("", outputs=outputs, metadata={"tags": list(tags),
                                     "papermill": {"duration": 2.0}})


def faults(*cells) -> list[str]:
    cells = [nbformat.v4.new_markdown_cell(cell) if isinstance(cell, str) else cell
             for cell in cells]
    return ledger.collect({"01_x": nbformat.v4.new_notebook(cells=cells)})[1]


def test_complete_ledger_has_no_fault():
    assert faults(BOX, check_cell(TRUE, TWIN)) == []


@pytest.mark.parametrize("message, cells", [
    ("thm-a has no check that holds", [BOX, check_cell(TWIN)]),
    ("thm-a has no false twin that breaks", [BOX, check_cell(TRUE)]),
    ("no statement with this label comes before it", [check_cell(TRUE, TWIN)]),
    ("no statement with this label comes before it", [check_cell(TRUE, TWIN), BOX]),
    ("label thm-a is used twice", [BOX, BOX, check_cell(TRUE, TWIN)]),
    ("has no label", [BOX.replace(":label: thm-a\n", "")]),
    ("lacks the tag `check`", [BOX, check_cell(TRUE, TWIN, tags=())]),
    ("has excess 0.2 against 1e-09", [BOX, check_cell({**TRUE, "excess": 0.2}, TWIN)]),
    ("has excess 0.05 against 0.1", [BOX, check_cell(TRUE, {**TWIN, "excess": 0.05})]),
    ("has excess nan against 1e-09", [BOX, check_cell({**TRUE, "excess": float("nan")}, TWIN)]),
])
def test_incomplete_ledger_is_found(message, cells):
    assert any(message in fault for fault in faults(*cells))


@pytest.mark.parametrize("kind", ["theorem", "lemma", "proposition", "corollary"])
@pytest.mark.parametrize("fence", ["```", ":::", "````"])
def test_every_kind_of_box_is_seen(kind, fence):
    text = f"{fence}{{prf:{kind}}} Name\n:class: x\n:label: l-1\n\nText.\n{fence}"
    assert ledger.boxes(text) == [("l-1", "Name")]


def test_statement_outside_the_notebooks_is_refused(project):
    box = "```{prf:lemma} Loose\n:label: lem-loose\n\nX.\n```\n\n"
    project.edit("book/intro.md", "See", box + "See")
    done = project.run("book/_tools/ledger.py")
    assert done.returncode == 1 and "'lem-loose' stands outside the notebooks" in done.stdout


def test_the_book_is_complete(real):
    chapters = {name: read_notebook(Path(f"book/chapters/{name}.ipynb")) for name in names()}
    statements, found = ledger.collect(chapters)
    assert found == [] and statements
    page = (real / "book/_build/html/generated/ledger.html").read_text()
    assert all(f"#{statement.label}" in page for statement in statements)
