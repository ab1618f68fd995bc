"""The page table: how long a lecture each page is, and which pages are too long for one.

    python book/_tools/budget.py

A page is one lecture. It fits if it stays within a quarter above each number of ``BUDGET``.
"""

import re
from dataclasses import astuple, dataclass, fields

import ledger
from lint import NOT_PROSE, blank
from project import NOTEBOOKS, Refusal, code_cells, main, names, read_notebook, tags

TOLERANCE = 1.25
EXERCISES = 4  # at least, on every page but those of NO_LECTURE
NO_LECTURE = {"findings"}  # a summary, with nothing to exercise

FENCE = re.compile(r"^(?:`{3,}|:{3,})(?:\{.*\}.*)?$", re.MULTILINE)
DISPLAY = re.compile(r"\$\$.*?\$\$(?: *\([\w:.-]+\))?", re.DOTALL)
FORMULA = re.compile(r"(?<!\$)\$[^$]+\$(?!\$)")
INLINE_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)")
WORD = re.compile(r"\w[\w'’-]*")
FOLDED = {"hide-input", "remove-cell", "remove-input", "check"}


@dataclass(frozen=True)
class Size:
    """What is counted on a page.

    Args:
        words: of the prose, exercises and solutions included; a formula in a line is one word.
        minutes: of the lecture, as :func:`minutes` reckons them.
        statements: numbered statements, each with a proof and a check.
        lines: of code that the reader sees, blank lines left out.
        cell: lines of the longest cell that draws nothing.
        plot: lines of the longest cell that draws.
        source: lines of the notebook's text.
        figures: with a caption.
        exercises: with a solution.
    """

    words: int
    minutes: int
    statements: int
    lines: int
    cell: int
    plot: int
    source: int
    figures: int
    exercises: int


BUDGET = Size(words=3000, minutes=60, statements=5, lines=250, cell=25, plot=40, source=700,
                    figures=8, exercises=6)


def without(kind: str, text: str) -> str:
    """The text without its directives of a kind, such as the solutions of exercises."""
    pattern = rf"^(?P<fence>`{{3,}}|:{{3,}})\{{{kind}\}}.*?^(?P=fence)[ \t]*$"
    return re.sub(pattern, "", text, flags=re.MULTILINE | re.DOTALL)


def words(text: str) -> int:
    """Words of a Markdown text; a formula or a piece of code in a line counts as one."""
    text = DISPLAY.sub("", text)
    text = FENCE.sub("", INLINE_CODE.sub("code", FORMULA.sub("formula", text)))
    for pattern in NOT_PROSE:
        text = pattern.sub(blank, text)
    return len(WORD.findall(text))


def minutes(text: str, statements: int, figures: int, lines: int) -> float:
    """Minutes that a lecture on the page takes, its exercises left for home.

    A hundred words a minute, three quarters of a minute to write a displayed formula, a minute to
    recall each numbered statement, a minute for a figure and for each 40 lines of code.
    """
    lecture = without("solution", without("exercise", text))
    spoken = words(lecture) / 100 + 0.75 * len(DISPLAY.findall(lecture))
    return spoken + statements + figures + lines / 40


def size(notebook, source: str) -> Size:
    """What a notebook counts, from its cells and from its text."""
    prose = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type != "code")
    # The line of the statement counts: a fold is not read.
    code = [(cell, sum(bool(line.strip()) for line in cell.source.splitlines()))
            for cell in code_cells(notebook)]
    figures = [cell for cell, _ in code if "figure" in cell.metadata.get("mystnb", {})]
    seen = sum(count for cell, count in code if not FOLDED & set(tags(cell)))
    statements = len(ledger.boxes(prose))
    return Size(
        words=words(prose),
        minutes=round(minutes(prose, statements, len(figures), seen)),
        statements=statements,
        lines=seen,
        cell=max((count for cell, count in code if cell not in figures), default=0),
        plot=max((count for cell, count in code if cell in figures), default=0),
        source=len(source.splitlines()),
        figures=len(figures),
        exercises=len(re.findall(r"^(?:`{3,}|:{3,})\{exercise\}", prose, re.MULTILINE)),
    )


def faults(sizes: dict[str, Size]) -> list[str]:
    """Pages above the budget."""
    found = []
    for name, counted in sizes.items():
        found += [
            f"{name} has {field.name} {value}; budget {limit}, at most {int(limit * TOLERANCE)}"
            for field, value, limit in zip(fields(Size), astuple(counted), astuple(BUDGET),
                                           strict=True)
            if value > int(limit * TOLERANCE)
        ]
        if counted.exercises < EXERCISES and name not in NO_LECTURE:
            found.append(f"{name} has {counted.exercises} exercises; at least {EXERCISES}")
    return found


def page_table(sizes: dict[str, Size]) -> str:
    """A line a page, as text."""
    names_ = [field.name for field in fields(Size)]
    lines = [f"{'page':24}" + "".join(f"{name:>11}" for name in names_)]
    lines += [f"{name:24}"
              + "".join(f"{value:>11}" for value in astuple(counted))
              for name, counted in sizes.items()]
    lines.append(f"{'budget':24}" + "".join(f"{value:>11}" for value in astuple(BUDGET)))
    return "\n".join(lines)


def report() -> None:
    paths = {name: NOTEBOOKS / f"{name}.md" for name in names()}
    sizes = {name: size(read_notebook(path), path.read_text()) for name, path in paths.items()}
    print(page_table(sizes))
    found = faults(sizes)
    if found:
        raise Refusal("\n".join(found))


if __name__ == "__main__":
    main(report, speak=print)
