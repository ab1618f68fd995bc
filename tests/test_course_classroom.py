"""Editions for students, instructors and nbgrader: no solution in the first, all in the others."""

import ast
import math
import re
import sys
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

sys.path.insert(0, "book/_tools")
import classroom
from project import NOTEBOOKS, Refusal, names, read_notebook

from mlcpc.book import mistakes


@cache
def read(name):
    return read_notebook(NOTEBOOKS / f"{name}.md")


def page(name):
    return deepcopy(read(name))


def text(notebook):
    return "\n".join(cell.source for cell in notebook.cells)


@pytest.mark.parametrize("name", names())
def test_a_students_notebook_is_whole_and_holds_no_solution(name):
    source = page(name)
    made = classroom.student(source)
    assert classroom.faults(name, made) == []
    nbformat.validate(made)
    assert "{solution}" not in text(made) and "{exercise}" not in text(made)
    assert text(made).count("**Exercise: ") == text(source).count("{exercise} ")


def test_the_instructors_notebook_has_solutions_minutes_and_wrong_pictures():
    made = text(classroom.instructor(page("cpc"), "cpc"))
    assert made.count("**Solution.**") == 4 and "min on the board" in made
    assert "stops climbing needs a better critic" in made and "def solution_cpc" in made


def test_every_checked_exercise_has_a_cell_in_the_students_notebooks():
    made = "\n".join(text(classroom.student(page(name))) for name in names())
    asked = {label for label in mistakes.TABLE if f'exercises.check("{label}"' in made}
    assert asked == set(mistakes.TABLE)


def planted(*cells):
    notebook = page("cpc")
    begin = classroom.exercises_begin(notebook)
    notebook.cells[begin + 1:begin + 1] = cells
    return classroom.student(notebook)


def test_a_label_without_words_is_a_fault():
    planted_cell = nbformat.v4.new_markdown_cell("By {eq}`eq-gone`, so.")
    assert "nothing stands for [eq-gone]" in classroom.faults("cpc", planted(planted_cell))[0]


def test_a_name_that_only_a_solution_makes_is_a_fault():
    solution = nbformat.v4.new_code_cell("made = 3", metadata={"tags": ["hide-input"]})
    user = nbformat.v4.new_code_cell("print(made)")
    assert "needs made" in classroom.faults("cpc", planted(solution, user))[0]
    assert classroom.faults("cpc", planted(user, solution))
    assert classroom.faults("cpc", planted(nbformat.v4.new_code_cell("made = 3"), user)) == []


def test_a_solution_that_is_not_hidden_is_a_fault():
    shown = nbformat.v4.new_code_cell("def solution_of_all():\n    return 42")
    assert "a solution is left" in classroom.faults("cpc", planted(shown))[0]


SOLVED = re.compile(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", re.DOTALL)


def form(cell) -> dict:
    return cell.metadata.get("nbgrader", {})


def grade(notebook) -> tuple[float, float]:
    """Points as nbgrader gives them: the value of a graded cell's last line, 0 after an error."""
    known, points, most = {"torch": torch, "np": np, "math": math}, 0, 0
    exec("from mlcpc import exact\nfrom mlcpc.book import exercises, mistakes", known)
    for cell in notebook.cells:
        if cell.cell_type != "code" or not form(cell):
            continue
        *before, last = ast.parse(cell.source).body
        for node in before:
            with suppress(NameError):  # of the page, which is not run here
                exec(compile(ast.Module([node], []), "cell", "exec"), known)
        value = eval(ast.unparse(last), known)
        if form(cell)["grade"]:
            points, most = points + value, most + form(cell)["points"]
    return points, most


def submission(notebook, put):
    """What a student hands in: of each answer what ``put(label)`` says, or nothing."""
    made = deepcopy(notebook)
    for cell in made.cells:
        if form(cell).get("solution") and cell.cell_type == "code":
            name = re.search(r"exercises\.check\(\"[\w-]+\", (\w+)\)", cell.source).group(1)
            said = put(form(cell)["grade_id"].removeprefix("answer-"))
            cell.source = SOLVED.sub(f"{name} = {said}\n" if said else "", cell.source)
    return made


@pytest.mark.parametrize("name", names())
def test_nbgrader_gives_points_for_right_answers_alone(name, capsys):
    source = classroom.nbgrader(page(name))
    full = sum(f'exercises.check("{label}"' in text(source) for label in mistakes.TABLE)
    assert grade(source) == (full, full)  # with the answers that the release leaves out
    wrong = 'mistakes.TABLE["{}"].slips[0].gives'
    assert grade(submission(source, lambda label: None)) == (0, full)
    assert grade(submission(source, lambda label: wrong.format(label))) == (0, full)
    assert grade(submission(source, lambda label: "'no idea'")) == (0, full)
    assert "Traceback" not in capsys.readouterr().out


@pytest.mark.parametrize("name", names())
def test_nbgrader_knows_every_exercise_by_its_own_name(name):
    source = classroom.nbgrader(page(name))
    nbformat.validate(source)
    marked = [form(cell) for cell in source.cells if form(cell)]
    assert len({each["grade_id"] for each in marked}) == len(marked)
    assert sum(each["grade"] for each in marked) == text(page(name)).count("{exercise} ")
    for each in marked:
        assert each["schema_version"] == 3 and not each["task"]
        assert each["locked"] == (each["grade"] and not each["solution"])
        assert ("points" in each) == each["grade"]
    assert "solution(" not in SOLVED.sub("", text(source))


def test_a_planted_fault_of_the_points_is_seen(monkeypatch):
    source = classroom.nbgrader(page("cpc"))
    monkeypatch.setattr(mistakes, "TABLE", {  # everything is right
        label: replace(entry, within=1e9) for label, entry in mistakes.TABLE.items()})
    assert grade(submission(source, lambda label: "0"))[0] > 0


def test_boxes_become_plain_markdown():
    box = ":::{prf:theorem} A title\n:label: thm-x\n\nAll is $1$, by {prf:ref}`lem-y`.\n:::"
    assert classroom.plain(box) == (
        '**Theorem: A title.** <a id="thm-x"></a>\n\nAll is $1$, by [lem-y].')
    assert classroom.plain("see {prf:ref}`thm-cpc`. {prf:ref}`thm-cpc` says").endswith(
        "theorem “CPC is a lower bound”. Theorem “CPC is a lower bound” says")
    assert re.fullmatch(r"\$\$\nx\n\\tag\{\d+\.\d+\}\n\$\$",
                        classroom.plain("$$\nx\n$$ (eq-ml-cpc)"))
    assert classroom.plain("{cite:t}`song2020multilabel`, {cite}`oord2018cpc`") == (
        "Song and Ermon (2020), (van den Oord et al., 2018)")
    assert classroom.plain("see {eq}`eq-a` and {prf:ref}`so <thm-b>`") == "see [eq-a] and so"


def test_an_unknown_page_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["classroom.py", "atlantis"])
    with pytest.raises(Refusal, match="unknown page atlantis"):
        classroom.command_line()


def small(path: Path, *sources: str) -> Path:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


def test_a_notebook_that_stops_unfilled_is_refused(tmp_path):
    with pytest.raises(Refusal, match="stops unfilled: TypeError"):
        classroom.run(small(tmp_path / "bad.ipynb", "my_answer = None", "my_answer + 1"))


@pytest.mark.parametrize("name", ["data_processing", "information_and_representations"])
def test_a_students_notebook_runs_to_the_end_unfilled(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLCPC_RESULTS", str(Path("results").resolve()))
    nbformat.write(classroom.student(page(name)), tmp_path / f"{name}.ipynb")
    classroom.run(tmp_path / f"{name}.ipynb")
    asked = text(classroom.student(page(name))).count("exercises.check(")
    assert f"{asked} stubs unfilled" in capsys.readouterr().out


def test_a_stub_cell_runs_unfilled(tmp_path, capsys):
    stub = classroom.stub("ex-alpha-nat").source
    classroom.run(small(tmp_path / "good.ipynb", stub))
    assert "1 stubs unfilled" in capsys.readouterr().out
