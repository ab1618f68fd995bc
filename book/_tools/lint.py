"""Faults of the sources that no other tool reports, found without running anything.

Numbers belong to code, so prose holds no typed decimal, percentage or number with a unit. A line
that must hold one says where it comes from: <!-- number: source -->
"""

import re
import sys
from collections import Counter
from pathlib import Path

import yaml
from project import NOTEBOOKS, Refusal, code_cells, main, names, read_notebook, tags

TAGS = {"parameters", "check", "hide-input", "hide-output", "remove-input", "remove-output",
        "remove-cell"}
CELL_WIDTH = 79  # what a page shows without scrolling; folded code may be wider
FOLDED_WIDTH = 100

NUMBER = re.compile(
    r"(?<![\w.])\d+(?:\.\d+)+(?![\w])"  # decimal
    r"|\d\s?%|\d+\s?per\s?cent\b"
    r"|(?<![\w.])\d+\s?(?:ms|s|sec|seconds?|min|minutes?|hours?|nats?|bits?|[KMGT]i?B|epochs?)\b"
)
# What is not prose: text that code, mathematics, links or directives own.
NOT_PROSE = [
    re.compile(r"^(`{3,}|~{3,}|:{3,})\{(?:math|code-block|code-cell|bibliography|toctree)\}.*?^\1$",
               re.MULTILINE | re.DOTALL),
    re.compile(r"^```(?!\{)\w*\n.*?^```$", re.MULTILINE | re.DOTALL),  # plain code fence
    re.compile(r"\$\$.*?\$\$", re.DOTALL),
    re.compile(r"\\begin\{(\w+\*?)\}.*?\\end\{\1\}", re.DOTALL),
    re.compile(r"(?<!\$)\$[^$]+\$(?!\$)"),
    re.compile(r"(?<!`)(`{1,2})(?!`).+?(?<!`)\1(?!`)", re.DOTALL),
    re.compile(r"\]\([^)]*\)"),  # target of a link
    re.compile(r"<https?://[^>]*>|https?://\S+"),
    re.compile(r"^[ \t]*:[\w-]+:.*$", re.MULTILINE),  # directive option
    re.compile(r"<!--(?!\s*number:).*?-->|</?[a-z][^<>]*>", re.DOTALL),  # comment, HTML tag
]
FOLDED = {"hide-input", "remove-input", "remove-cell", "check"}
LABELS = [
    re.compile(r"^\s*:label:\s*(\S+)\s*$", re.MULTILINE),
    re.compile(r"^\s*:name:\s*(\S+)\s*$", re.MULTILINE),
    re.compile(r"^\(([\w:.-]+)\)=\s*$", re.MULTILINE),
    re.compile(r"^\s*\$\$\s*\(([\w:.-]+)\)\s*$", re.MULTILINE),
]


# What draws first weights from torch's own generator.
WEIGHTS = re.compile(r"\bnetworks\.(?:build|Projection)\(|\bContrast\(")


def blank(match: re.Match) -> str:
    """Same lines, no text: so that line numbers stay."""
    return re.sub(r"[^\n]", " ", match.group())


def typed_numbers(text: str, origin: str) -> list[str]:
    """Numbers typed in the prose of a Markdown text."""
    marked = [bool(re.search(r"<!--\s*number:\s*\S.*?-->", line)) for line in text.splitlines()]
    for pattern in NOT_PROSE:
        text = pattern.sub(blank, text)
    return [
        f"{origin}: typed number {found.group().strip()!r} in {line.strip()!r}"
        for line, exempt in zip(text.splitlines(), marked, strict=True) if not exempt
        for found in NUMBER.finditer(line)
    ]


def labels(text: str) -> list[str]:
    """Labels that a Markdown text defines."""
    return [label for pattern in LABELS for label in pattern.findall(text)]


def notebook_faults(notebook, origin: str) -> list[str]:
    """Faults of one notebook's header, cells and prose."""
    faults = []
    kernel = notebook.metadata.get("kernelspec", {}).get("name")
    if kernel != "python3":
        faults.append(f"{origin}: kernelspec is {kernel!r}; it must be 'python3'")
    cells = code_cells(notebook)
    if not cells or "parameters" not in tags(cells[0]):
        faults.append(f"{origin}: the first code cell must have the tag `parameters`")
    code = "\n".join(cell.source for cell in cells)
    if WEIGHTS.search(code) and "torch.manual_seed(" not in code:
        faults.append(f"{origin}: builds a network and seeds nothing, so its first weights differ "
                      "from run to run; valid: torch.manual_seed(…) in the first cells")
    for number, cell in enumerate(cells, start=1):
        here = f"{origin}: code cell {number}"
        faults += [f"{here}: unknown tag {tag!r}; valid: {', '.join(sorted(TAGS))}"
                   for tag in tags(cell) if tag not in TAGS]
        if "check" in tags(cell) and len(tags(cell)) > 1:
            faults.append(f"{here}: a check has one tag, and its page folds it by itself; tags are "
                          f"{tags(cell)}")
        width = FOLDED_WIDTH if FOLDED & set(tags(cell)) else CELL_WIDTH
        for line in cell.source.splitlines():
            # nbval runs cells without history: there a semicolon does not silence the output.
            if re.sub(r"\s+#.*$", "", line).rstrip().endswith(";"):
                faults.append(f"{here}: trailing semicolon in {line.strip()!r}")
            if len(line) > width:
                faults.append(f"{here}: line of {len(line)} characters, at most {width}: "
                              f"{line.strip()!r}")
    return faults


def prose(path: Path) -> str:
    """The Markdown of a page, without its code cells."""
    if path.parent != NOTEBOOKS:
        return path.read_text(encoding="utf-8")
    cells = read_notebook(path).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def figure_names(path: Path) -> list[str]:
    """Labels that code cells give to their figures."""
    if path.parent != NOTEBOOKS:
        return []
    figures = [cell.metadata.get("mystnb", {}).get("figure", {})
               for cell in code_cells(read_notebook(path))]
    return [figure["name"] for figure in figures if "name" in figure]


def duplicates(pages: list[Path]) -> list[str]:
    """Labels that the book defines more than once."""
    found = Counter()
    for path in pages:
        found.update(labels(prose(path)) + figure_names(path))
    return [f"label {label!r} is defined {count} times" for label, count in found.items()
            if count > 1]


def toc_faults(toc: dict, pages: list[Path]) -> list[str]:
    """Pages that the table of contents leaves out, and entries without a page.

    The pages of single records come by a pattern, which Sphinx checks.
    """
    listed = [toc["root"]] + [entry["file"] for part in toc["parts"] for entry in part["chapters"]]
    written = [f"generated/{name}" for name in ("ledger", "paper", "records")] + [
        f"chapters/{path.stem}" if path.parent == NOTEBOOKS else path.stem for path in pages
    ]
    return (
        [f"_toc.yml leaves out {page}" for page in written if page not in listed]
        + [f"_toc.yml lists {page}, which does not exist" for page in listed if page not in written]
        + [f"_toc.yml lists {page} twice" for page, count in Counter(listed).items() if count > 1]
    )


def faults() -> list[str]:
    """Everything that is wrong with the sources of the book."""
    notebooks = [NOTEBOOKS / f"{name}.md" for name in names()]
    pages = notebooks + sorted(Path("book").glob("*.md"))
    found = [fault for path in notebooks
             for fault in notebook_faults(read_notebook(path), str(path))]
    found += [fault for path in pages for fault in typed_numbers(prose(path), str(path))]
    found += duplicates(pages)
    found += toc_faults(yaml.safe_load(Path("_toc.yml").read_text()), pages)
    return found


def lint() -> None:
    found = faults()
    if found:
        raise Refusal("\n".join(found))


if __name__ == "__main__":
    main(lint, speak=lambda text: print(text, file=sys.stderr))
