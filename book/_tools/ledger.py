"""The ledger page: every numbered statement of the book beside the check that was executed.

A statement without a check that held, without a false twin that broke, or a check without a
statement fails the build.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from kernel import checked
from project import CHAPTERS, LEDGER, Refusal, main, names, read_notebook, replacing

BOX = re.compile(
    r"^(?:`{3,}|:{3,})\{prf:(?P<kind>theorem|lemma|proposition|corollary)\}[ \t]*(?P<title>.*)\n"
    r"(?P<options>(?:[ \t]*:[\w-]+:.*\n)*)",
    re.MULTILINE,
)


@dataclass
class Statement:
    """A numbered box, and what the check cells after it have shown."""

    label: str
    title: str
    chapter: str
    true: list[dict] = field(default_factory=list)
    twins: list[dict] = field(default_factory=list)
    seconds: float = 0.0


def boxes(text: str) -> list[tuple[str, str]]:
    """(label, title) of every statement in a Markdown text; no label is an empty label."""
    found = []
    for box in BOX.finditer(text):
        label = re.search(r":label:[ \t]*(\S+)", box["options"])
        found.append((label.group(1) if label else "", box["title"].strip() or box["kind"].title()))
    return found


def checks(cell) -> list[dict]:
    """What `ledger.holds` and `ledger.breaks` published in an executed cell."""
    return [check for output in cell.outputs
            for check in output.get("metadata", {}).get("mlcpc_checks", [])]


def collect(chapters: dict[str, object]) -> tuple[list[Statement], list[str]]:
    """Statements in the order of the book, and everything that is wrong with them."""
    statements, faults = {}, []
    for name, notebook in chapters.items():
        here = set()
        for cell in notebook.cells:
            if cell.cell_type != "code":
                for label, title in boxes(cell.source):
                    if not label:
                        faults.append(f"{name}: the statement {title!r} has no label")
                    elif label in statements:
                        faults.append(f"{name}: label {label} is used twice")
                    else:
                        statements[label] = Statement(label, title, name)
                        here.add(label)
                continue
            for check in checks(cell):
                label = check["label"]
                if label not in here:
                    faults.append(f"{name}: a check names {label}, but no statement "
                                  "with this label comes before it on the page")
                    continue
                if "check" not in cell.metadata.get("tags", []):
                    faults.append(f"{name}: the cell that checks {label} lacks the tag `check`")
                faults += judged(check, name)
                statement = statements[label]
                (statement.true if check["claim"] == "true" else statement.twins).append(check)
            for label in {check["label"] for check in checks(cell)} & here:
                statements[label].seconds += cell.metadata.get("papermill", {}).get("duration") or 0
    for statement in statements.values():
        if not statement.true:
            faults.append(f"{statement.chapter}: {statement.label} has no check that holds")
        if not statement.twins:
            faults.append(f"{statement.chapter}: {statement.label} has no false twin that breaks")
    return list(statements.values()), faults


def judged(check: dict, name: str) -> list[str]:
    """The verdict once more, from the published numbers."""
    excess, limit = check["excess"], check["limit"]
    fits = excess <= limit if check["claim"] == "true" else 0 < limit <= excess
    return [] if fits else [f"{name}: the check of {check['label']} ({check['claim']}) "
                            f"has excess {excess:g} against {limit:g}"]


def row(statement: Statement, kernel: dict[str, str]) -> str:
    tightest = min(statement.true, key=lambda check: check["limit"] - check["excess"])
    kinds = ", ".join(dict.fromkeys(check["kind"] for check in statement.true))
    twins = "; ".join(f"{twin['twin']}: {twin['excess']:.1e}" for twin in statement.twins)
    columns = [
        f"{{prf:ref}}`{statement.label}` {statement.title}", kinds,
        f"{tightest['excess']:.1e} (allowed {tightest['limit']:.0e})",
        f"{statement.seconds:.1f}", twins, kernel.get(statement.label, ""),
    ]
    return "* - " + "\n  - ".join(columns)


def page(statements: list[Statement]) -> str:
    """The ledger as MyST Markdown."""
    header = ["Statement", "Kind of check", "Largest excess", "Seconds", "False twin: broken by",
              "Kernel"]
    kernel = checked()
    rows = ["* - " + "\n  - ".join(header), *(row(statement, kernel) for statement in statements)]
    also = sum(statement.label in kernel for statement in statements)
    return "\n".join([
        "# Ledger\n",
        "Every numbered statement of the book has been executed. This page is made from the",
        "executed notebooks, so a statement that has lost its check stops the build.\n",
        "*Excess* is how far a claim is from being true. A bound $J \\le I$ has excess $J - I$,",
        "an equality has the absolute difference of its sides. The largest excess over all",
        "instances must stay within what is allowed for rounding. A *false twin* is the same",
        "statement made slightly too strong, and the same kind of check must break it.\n",
        "On the pages each check is folded into one line. Its *margin* is how far the closest",
        "instance stays from making the statement false; a margin below the rounding of the sums",
        "means that equality is reached. A click on the fold shows the code.\n",
        f"The book has {len(statements)} statements."
        + (f" The last column names the proofs in Rocq of {also} of them; what a kernel is, and "
           "what exactly it has checked, says [its page](../kernel.md).\n" if kernel else "\n"),
        ":::{list-table}\n:header-rows: 1\n:class: ledger\n", *rows, ":::\n",
    ])


def write() -> None:
    chapters = {name: read_notebook(CHAPTERS / f"{name}.ipynb") for name in names()}
    statements, faults = collect(chapters)
    for path in sorted(Path("book").glob("*.md")):
        faults += [f"{path}: the statement {label or title!r} stands outside the notebooks, "
                   "where nothing checks it" for label, title in boxes(path.read_text())]
    if faults:
        raise Refusal("the ledger is not complete\n" + "\n".join(faults))
    with replacing(LEDGER) as scratch:
        scratch.write_text(page(statements))


if __name__ == "__main__":
    main(write)
