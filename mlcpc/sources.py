"""The code that a function depends on, as text: what a record's hash is taken of.

Nothing is imported or run. A member of a module is followed into all that it reads, in its module
and in the other modules of the package. What a record can not depend on is left out: docstrings,
comments, blank lines, and modules that only carry numbers about (``PLUMBING``).

Followed are names and attributes of modules, ``bounds.ml_cpc``. What is looked up by a text at run
time, ``getattr(bounds, name)``, is not seen, and has to be named beside the function.
"""

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# They check, store and draw. A number that one of them makes, such as runs.metric, is named.
PLUMBING = frozenset({"checks", "figures", "ledger", "runs", "shapes", "sources"})


@dataclass(frozen=True, eq=False)
class Module:
    """A module's text by top-level statement.

    Args:
        lines: of the file.
        defined: name → statements that bind or change it.
        imported: name → (module of the package, member of it or None).
    """

    lines: list[str]
    defined: dict[str, list[ast.stmt]]
    imported: dict[str, tuple[str, str | None]]


def used_by(name: str, package: Path) -> str:
    """The statements that ``module.member``, or a whole module, depends on, without prose.

    Args:
        name: ``bounds.ml_cpc``, ``bounds``, or ``benchmarks/allpairs.measure`` for a script that
            stands beside the package.
        package: folder of the package.

    Raises:
        ValueError: a module that is neither in the package nor beside it, or a name that its
            module lacks.
    """
    stem, _, member = name.partition(".")
    first = module(stem, package)
    if member and member not in first.defined:
        known = ", ".join(sorted(first.defined))
        raise ValueError(f"{member} is not in mlcpc.{stem}; valid: {known}")
    left = [(stem, each) for each in ([member] if member else first.defined)]
    asked, needed = set(), {}
    while left:
        stem, word = pair = left.pop()
        if pair in asked:
            continue
        asked.add(pair)
        here = module(stem, package)
        for node in here.defined.get(word, []):
            if node in needed.setdefault(stem, set()):
                continue
            needed[stem].add(node)
            for read, attribute in _all_reads(node, here):
                left.append((stem, read))
                other, imported = here.imported.get(read, (None, None))
                if other and other not in PLUMBING and (imported or attribute):
                    left.append((other, imported or attribute))
    parts = []
    for stem, nodes in sorted(needed.items()):
        here = module(stem, package)
        for node in sorted(nodes, key=lambda each: each.lineno):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                parts.append(_imports(node, {word for of, word in asked if of == stem}))
            else:
                parts.append(_text(node, here))
    return "\n".join(parts)


def module(stem: str, package: Path) -> Module:
    """The parsed module of a name."""
    path = (package.parent if "/" in stem else package) / f"{stem}.py"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in package.glob("*.py")))
        raise ValueError(f"module {stem} is not in mlcpc; valid: {known}")
    return _parsed(path.read_text(), package.name)


@cache
def _parsed(source: str, package: str) -> Module:
    defined, imported = {}, {}
    for node in ast.parse(source).body:
        for name in _binds(node):
            defined.setdefault(name, []).append(node)
        for each in ast.walk(node):
            if isinstance(each, ast.ImportFrom) and each.module:
                root, _, stem = each.module.partition(".")
                for alias in each.names if root == package else ():
                    name = alias.asname or alias.name
                    imported[name] = (stem, alias.name) if stem else (alias.name, None)
    return Module(source.splitlines(), defined, imported)


def _binds(node: ast.stmt) -> set[str]:
    """Names that a top-level statement binds, or whose value it changes."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        # A function that registers itself with another one is a part of that one.
        registers = (each.func if isinstance(each, ast.Call) else each
                     for each in node.decorator_list)  # fmt: skip
        return {node.name} | {_base(each) for each in registers if isinstance(each, ast.Attribute)}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {_bound_by(alias) for alias in node.names}
    if isinstance(node, ast.Expr):  # TABLE.update(…); a docstring binds nothing
        call = node.value
        return {_base(call.func)} - {""} if isinstance(call, ast.Call) else set()
    found = set()
    for each in ast.walk(node):
        if isinstance(each, (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
            found |= _binds(each)
        elif isinstance(each, (ast.Name, ast.Subscript, ast.Attribute)) and isinstance(
            each.ctx, (ast.Store, ast.Del)
        ):
            found.add(_base(each))
    return found - {""}


def _base(node: ast.expr) -> str:
    """``table`` of ``table``, ``table["a"]`` and ``table.update``."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _bound_by(alias: ast.alias) -> str:
    return (alias.asname or alias.name).split(".")[0]


def _reads(node: ast.AST, here: Module, annotation: bool = False) -> Iterator[tuple[str, str]]:
    """(name, attribute or nothing) of what a statement reads.

    An annotation makes no number, but the methods of a class that it names may.
    """
    if isinstance(node, ast.Name):
        if not annotation or _is_class(node.id, here):
            yield node.id, ""
        return
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        if not annotation or node.value.id in here.imported:
            yield node.value.id, node.attr
        return
    for key, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _reads(child, here, annotation or key in ("annotation", "returns"))


def _is_class(name: str, here: Module) -> bool:
    return name in here.imported or any(
        isinstance(node, ast.ClassDef) for node in here.defined.get(name, [])
    )


@cache
def _all_reads(node: ast.stmt, here: Module) -> frozenset[tuple[str, str]]:
    return frozenset(_reads(node, here))


def _imports(node: ast.Import | ast.ImportFrom, asked: set[str]) -> str:
    """The import of what is asked for: a name beside it, imported later, changes no number."""
    names = [each for each in node.names if _bound_by(each) in asked]
    if isinstance(node, ast.Import):
        return ast.unparse(ast.Import(names))
    return ast.unparse(ast.ImportFrom(node.module, names, node.level))


@cache
def _text(node: ast.stmt, here: Module) -> str:
    begin = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
    return without_prose("\n".join(here.lines[begin - 1 : node.end_lineno]))


def without_prose(source: str) -> str:
    """Source text without docstrings, comments and blank lines."""
    prose = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(
            node
        ):
            prose.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    kept = (line.rstrip() for number, line in enumerate(lines, start=1) if number not in prose)
    return "\n".join(line for line in kept if line)
