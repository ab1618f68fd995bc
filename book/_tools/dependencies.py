"""What a notebook depends on: the modules it imports, theirs in turn, and the records it reads.

Everything is read from the source text, nothing is imported.
"""

import ast
import re
import sys
from pathlib import Path

from project import NOTEBOOKS, PACKAGE, RESULTS, Refusal, code_cells, main, read_notebook


def tree(source: str, origin: str) -> ast.Module:
    """The parsed source; `%magic` and `!shell` lines count as empty."""
    source = re.sub(r"^\s*[%!].*$", "", source, flags=re.MULTILINE)
    try:
        return ast.parse(source)
    except SyntaxError as error:
        line = (error.text or "").rstrip()
        raise Refusal(f"{origin}: syntax error, {error.msg}: {line}") from None


def module_file(name: str) -> Path | None:
    """The file of a module of the package: `mlcpc.bounds` -> mlcpc/bounds.py."""
    path = Path(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def imported(parsed: ast.AST, package: str = "") -> set[str]:
    """Full names of the package's modules that the code imports, at any depth of the code."""
    found = set()
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # `from .bounds import cpc` inside the package
                base = ".".join(filter(None, [package, base]))
            found.add(base)
            found |= {f"{base}.{alias.name}" for alias in node.names}
    own = {name for name in found if name.split(".")[0] == PACKAGE.name}
    return {name for name in own if module_file(name)} | ({PACKAGE.name} if own else set())


def module_imports(path: Path) -> set[str]:
    """Modules of the package that one of its files imports directly."""
    return imported(tree(path.read_text(), str(path)), PACKAGE.name)


def closure(modules: set[str]) -> list[Path]:
    """Files of the modules and of everything of ours that they import."""
    files, waiting = set(), set(modules)
    while waiting:
        path = module_file(waiting.pop())
        if path not in files:
            files.add(path)
            waiting |= module_imports(path)
    return sorted(files)


def records(parsed: ast.AST, origin: str) -> list[Path]:
    """Records that the code reads: `records.read("NAME")` -> results/NAME.json, and paper.csv.

    `records.read_all("NAME-*")` reads as many as there are, and none is no fault.
    """
    found = set()
    for node in ast.walk(parsed):
        if isinstance(node, ast.ImportFrom) and node.module == f"{PACKAGE.name}.records":
            raise Refusal(f"{origin}: write `from mlcpc import records` and `records.read(...)`, "
                          "or a change of a record would not rebuild the page")
        if not isinstance(node, ast.Call):
            continue
        if ast.unparse(node.func).endswith("published.numbers"):
            found.add(RESULTS / "paper.csv")
        function = ast.unparse(node.func)
        if not function.endswith(("records.read", "records.read_all")):
            continue
        name = node.args[0] if node.args else None
        if not (isinstance(name, ast.Constant) and isinstance(name.value, str)):
            raise Refusal(f"{origin}: {function} needs the record's name as a literal text, or a "
                          "change of the record would not rebuild the page")
        if function.endswith("read_all"):
            found |= set(RESULTS.glob(f"{name.value}.json"))
        else:
            found.add(RESULTS / f"{name.value}.json")
    return sorted(found)


def of(name: str) -> tuple[list[Path], list[Path]]:
    """(modules, records) that the notebook of this name needs."""
    source = NOTEBOOKS / f"{name}.md"
    code = "\n".join(cell.source for cell in code_cells(read_notebook(source)))
    parsed = tree(code, str(source))
    needed = records(parsed, str(source))
    for record in needed:
        if not record.is_file():
            raise Refusal(f"{source} reads the record {record}, which does not exist")
    return closure(imported(parsed)), needed


def inputs(name: str) -> list[str]:
    """Everything that the executed notebook is made from, its tool left out."""
    modules, needed = of(name)
    return [str(path) for path in [NOTEBOOKS / f"{name}.md", *modules, *needed]]


if __name__ == "__main__":
    main(lambda: print("\n".join(inputs(sys.argv[1]))))
