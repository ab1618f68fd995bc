"""Exercises as they stand on the pages: titles, levels, and cells that ask the checker."""

import ast
import inspect
import math
import re
import sys

import numpy as np
import pytest
import torch

sys.path.insert(0, "book/_tools")
from project import NOTEBOOKS, code_cells, names, read_notebook, tags

from mlcpc import exact
from mlcpc.book import exercises, mistakes

PAGES = {name: (NOTEBOOKS / f"{name}.md").read_text() for name in names()}
HEAD = re.compile(r"^(?:`{3,}|:{3,})\{exercise\} ?(.*)\n:label: (\S+)", re.MULTILINE)
TITLE = r"(Paper|Number|Code|Break it) \((easy|medium|hard)\): \S.+"
FOUND = {label: (page, title) for page, text in PAGES.items()
         for title, label in HEAD.findall(text)}
CALL = re.compile(r'exercises\.(check|judge)\(["\']([\w-]+)["\'], ([\w.]+)')
# Pages that are as long as a page may be: their exercises are checked in the students' notebooks.
FULL = {"beyond_gaussians", "self_consistency"}


def test_there_are_enough_exercises_of_all_kinds_and_levels():
    assert len(FOUND) >= 80
    titles = [title for _, title in FOUND.values()]
    assert [title for title in titles if not re.fullmatch(TITLE, title)] == []
    kinds = {re.fullmatch(TITLE, title).group(1) for title in titles}
    levels = {re.fullmatch(TITLE, title).group(2) for title in titles}
    assert len(kinds) == 4 and len(levels) == 3


def test_every_entry_of_the_table_is_an_exercise_and_is_checked_on_its_page():
    assert set(mistakes.TABLE) <= set(FOUND)
    checked = {label for text in PAGES.values() for kind, label, _ in CALL.findall(text)
               if kind == "check"}
    assert checked <= set(mistakes.TABLE)
    assert {FOUND[label][0] for label in set(mistakes.TABLE) - checked} <= FULL


@pytest.mark.parametrize("page", PAGES)
def test_a_check_follows_its_own_exercise_and_an_unfilled_stub(page):
    text = PAGES[page]
    for found in CALL.finditer(text):
        before = HEAD.findall(text[:found.start()])
        assert before[-1][1] == found.group(2), found.group()
        if found.group(1) == "check":
            name, stub = found.group(3), text[:found.start()]
            assert re.search(rf"^{name} = None  # \S", stub, re.MULTILINE) or re.search(
                rf"^def {name}\(.*\):\n.*\n    return None$", stub, re.MULTILINE), found.group()


@pytest.mark.parametrize("page", PAGES)
def test_no_page_judges_by_itself(page):
    assert not re.search(r"def judge_|no answer yet|\"put (a|two|three|six) ", PAGES[page])


SOLVED = [(label, function, page) for page, text in PAGES.items()
          for _, label, function in CALL.findall(text) if function.startswith("solution_")]


@pytest.mark.parametrize("label, function, page", sorted(set(SOLVED)))
def test_the_solution_of_the_page_is_right(label, function, page):
    known = {"torch": torch, "np": np, "math": math, "exact": exact}
    for cell in code_cells(read_notebook(NOTEBOOKS / f"{page}.md")):
        for node in ast.parse(cell.source).body if "solution_" in cell.source else []:
            if isinstance(node, ast.FunctionDef) and node.name == function:
                exec(ast.unparse(node), known)
    assert exercises.judge(label, known[function]) == "right"


@pytest.mark.parametrize("page", PAGES)
def test_stubs_take_what_the_checker_gives(page):
    for cell in code_cells(read_notebook(NOTEBOOKS / f"{page}.md")):
        for kind, label, name in CALL.findall(cell.source):
            entry = mistakes.TABLE[label]
            stub = re.search(rf"^def {name}\((.*)\):", cell.source, re.MULTILINE)
            if kind == "check" and entry.code and stub:
                assert len(stub.group(1).split(",")) == len(entry.cases[0])
                assert len(inspect.signature(entry.right).parameters) >= len(entry.cases[0])


def test_stub_cells_are_seen():
    for page, text in PAGES.items():
        cells = code_cells(read_notebook(NOTEBOOKS / f"{page}.md"))
        hidden = [cell for cell in cells if "exercises.check(" in cell.source and tags(cell)]
        assert not hidden, (page, text[:20])
