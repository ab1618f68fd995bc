"""What a reader can take in: no class over 120 lines, no function over 60, docstrings left out."""

import ast

import pytest
from conftest import ROOT

LIMITS = {ast.ClassDef: 120, ast.FunctionDef: 60}


def lines_of_code(node: ast.AST) -> int:
    """Lines of a definition without docstrings."""
    prose = 0
    for each in ast.walk(node):
        if isinstance(each, (ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(each):
            prose += each.body[0].end_lineno - each.body[0].lineno + 1
    return node.end_lineno - node.lineno + 1 - prose


def too_long(source: str) -> list[str]:
    return [f"{node.name}: {lines_of_code(node)}" for node in ast.walk(ast.parse(source))
            if type(node) in LIMITS and lines_of_code(node) > LIMITS[type(node)]]  # fmt: skip


FILES = [*sorted((ROOT / "mlcpc").rglob("*.py")), *sorted((ROOT / "book/_tools").glob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_definitions_are_short(path):
    assert too_long(path.read_text()) == []


def test_a_long_function_would_be_found():
    body = "\n".join(["    x = 1"] * 60)
    assert too_long(f"def long():\n{body}\n") == ["long: 61"]
    assert too_long(f'def short():\n    """{"line " * 3}\n\n    more."""\n{body[:-10]}\n') == []
