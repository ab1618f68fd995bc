"""Checked exercises: every typical mistake is named, right answers pass in any form."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from mlcpc.book import exercises, mistakes
from mlcpc.book.exercises import RIGHT, UNFILLED, judge

TABLE = mistakes.TABLE
PLANTED = [(label, place) for label, entry in TABLE.items() for place in range(len(entry.slips))]
CODE = [label for label, entry in TABLE.items() if entry.code]
NUMBERS = [label for label, entry in TABLE.items() if not entry.code]


def value(thing):
    return thing() if callable(thing) else thing


def test_there_are_enough_planted_mistakes():
    assert len(PLANTED) >= 240
    assert all(len(entry.slips) >= 3 for entry in TABLE.values())


@pytest.mark.parametrize("label, place", PLANTED)
def test_a_planted_mistake_is_named(label, place):
    slip = TABLE[label].slips[place]
    answer = slip.gives if TABLE[label].code else value(slip.gives)
    assert judge(label, answer) == slip.says


@pytest.mark.parametrize("label", TABLE)
def test_a_mistake_is_told_by_its_own_sentence(label):
    said = [slip.says for slip in TABLE[label].slips]
    assert len(set(said)) == len(said) and RIGHT not in said and UNFILLED not in said


@pytest.mark.parametrize("label", CODE)
def test_right_functions_pass_in_any_form(label):
    right = TABLE[label].right

    def changed(kind):
        def answer(*case):
            result = right(*case)
            if isinstance(result, set):
                return frozenset(result)
            if isinstance(result, tuple):
                return tuple(kind(each) for each in result)
            return kind(result)
        return answer

    def as_numpy(each):
        return each.numpy() if isinstance(each, torch.Tensor) else np.asarray(each)

    def as_list(each):
        return each.tolist() if isinstance(each, torch.Tensor) else each

    forms = [right, changed(as_numpy), changed(as_list), changed(torch.as_tensor)]
    assert [judge(label, form) for form in forms] == [RIGHT] * 4


@pytest.mark.parametrize("label", NUMBERS)
def test_right_numbers_pass_in_any_form(label):
    right, within = value(TABLE[label].right), TABLE[label].within
    if isinstance(right, tuple):
        forms = [right, list(right), np.array(right), torch.tensor(right, dtype=torch.float64)]
    else:
        near = right if TABLE[label].whole else right + within / 2
        forms = [right, np.float64(right), torch.tensor(float(right)).double(),
                 Fraction(right), [right], near]
    assert [judge(label, form) for form in forms] == [RIGHT] * len(forms)


BAD = ["0.3", "right", math.nan, math.inf, -math.inf, [], [1.0] * 7, {}, object(), True, 1j,
       torch.ones(2, 3), ["a"], [[1, 2], [3]], print, b"1", np.array(["x"])]


def sentence(said: str) -> bool:
    return said not in (RIGHT, UNFILLED) and len(said) > 15 and "Traceback" not in said


@pytest.mark.parametrize("label", NUMBERS)
def test_a_bad_number_gets_a_sentence(label):
    assert [bad for bad in BAD if not sentence(judge(label, bad))] == []


def bad_functions():
    def raises(*case):
        return [][1]

    return {
        "raises": raises, "takes nothing": lambda: 1, "text": lambda *case: "0.3",
        "nan": lambda *case: math.nan, "infinity": lambda *case: math.inf,
        "shape": lambda *case: torch.ones(7, 7), "object": lambda *case: object(),
        "half": lambda *case: [None, 1], "dictionary": lambda *case: {"a": 1},
        "a text": "0.3", "a number": 3, "a list": [1],
    }


@pytest.mark.parametrize("label", CODE)
def test_a_bad_function_gets_a_sentence(label):
    assert [name for name, bad in bad_functions().items()
            if not sentence(judge(label, bad))] == []


@pytest.mark.parametrize("label", TABLE)
def test_an_unfilled_stub_is_no_mistake(label):
    assert judge(label, None) == UNFILLED
    if TABLE[label].code:
        assert judge(label, lambda *case: None) == UNFILLED


def test_an_answer_may_change_its_arguments_without_harm():
    def greedy(scores, alpha):
        right = mistakes.ml_value(scores, alpha)
        scores.zero_()
        return right

    assert judge("ex-ml-code", greedy) == RIGHT == judge("ex-ml-code", greedy)


def test_another_wrong_answer_is_told_where():
    assert judge("ex-alpha-nat", 0.9) == "not right: too large"
    assert judge("ex-cpc-batch", 2980.5).endswith("no whole number, and one is asked for")
    assert judge("ex-vb-knob", (0.8562, 7)) == "not right: look again at number 2"
    assert "wanted" in judge("ex-ml-heavy", lambda n, m, w: 0.123)


def test_check_prints_and_offers_hints(capsys):
    exercises.check("ex-alpha-nat", None)
    exercises.check("ex-alpha-nat", 0.9)
    exercises._told.clear()
    for _ in range(3):
        exercises.hint("ex-alpha-nat")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == UNFILLED and lines[2] == 'A hint: exercises.hint("ex-alpha-nat")'
    assert [line[:11] for line in lines[3:]] == ["hint 1 of 2", "hint 2 of 2", "hint 1 of 2"]


def test_single_precision_is_right_too():
    assert judge("ex-ml-code", lambda s, a: mistakes.ml_value(s, a).float()) == RIGHT
    assert judge("ex-ml-code", lambda s, a: mistakes.ml_value(s, a).float() + 1) != RIGHT


def test_an_attempt_that_can_not_be_used_gets_a_sentence(capsys):
    for answer in (None, 2.0, "two", [1], object()):
        exercises.attempt(answer, lambda number: f"{number / 2:g}")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [UNFILLED, "1"] and len(lines) == 5
    assert all("can not be used: TypeError" in line for line in lines[2:])


def test_an_unknown_exercise_is_refused():
    with pytest.raises(ValueError, match="ex-none"):
        exercises.judge("ex-none", 1)
    with pytest.raises(ValueError, match="ex-none"):
        exercises.hint("ex-none")
