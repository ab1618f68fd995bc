"""Checked exercises: an answer goes in, one sentence comes out that says what is right or wrong.

A page holds a stub and a call::

    my_alpha = None  # your answer
    exercises.check("ex-alpha-nat", my_alpha)

What is right, and which mistakes are typical, stands in :mod:`mlcpc.book.mistakes`. A mistake is a
wrong value, or a wrong function: an answer that agrees with it is told what went wrong. Any other
wrong answer is told where it differs. Nothing that a reader writes ends with a traceback.
"""

import copy
import math
import numbers
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
import torch

from mlcpc.book import mistakes
from mlcpc.book.mistakes import Exercise

UNFILLED = "no answer yet"
RIGHT = "right"
SINGLE = 1e-5  # relative distance that single precision may cost
SHOWN = 60  # characters of a value in a message

_told: dict[str, int] = {}  # hints given so far


class Unreadable(Exception):
    """An answer that cannot be compared; the message is for the reader."""


def check(label: str, answer: object) -> None:
    """Print what :func:`judge` says, and after a wrong answer how to get a hint."""
    said = judge(label, answer)
    if said not in (RIGHT, UNFILLED) and _entry(label).hints:
        said += f'\nA hint: exercises.hint("{label}")'
    print(said)


def points(label: str, answer: object) -> int:
    """Print what :func:`judge` says, and return 1 for a right answer, else 0."""
    said = judge(label, answer)
    print(said)
    return int(said == RIGHT)


def solution(label: str) -> Any:
    """The right answer of an exercise: a number or a few, or a function."""
    exercise = _entry(label)
    return exercise.right if exercise.code else _wanted(exercise.right)


def judge(label: str, answer: object) -> str:
    """Say of an answer whether it is right, which typical mistake it is, or where it differs.

    Args:
        label: label of the exercise on its page.
        answer: a number or a few, or a function; None while the stub is not filled in.

    Raises:
        ValueError: there is no checked exercise of this label.
    """
    exercise = _entry(label)
    if answer is None:
        return UNFILLED
    try:
        return _judge_code(exercise, answer) if exercise.code else _judge_number(exercise, answer)
    except Unreadable as problem:
        return str(problem)


def attempt(answer: object, judged: Callable[[Any], str]) -> None:
    """Print what a page says of an attempt to break a claim; an unusable one gets a sentence.

    Args:
        answer: whatever the reader put in; None while there is nothing.
        judged: says in a sentence what the answer does.
    """
    if answer is None:
        print(UNFILLED)
        return
    try:
        said = judged(answer)
    except Exception as error:
        said = (f"{_short(answer)} can not be used: {type(error).__name__}, {_short(error)}; "
                "look at the comment behind the stub for what is asked")
    print(said)


def hint(label: str) -> None:
    """Print the next hint of an exercise; after the last one they begin again."""
    hints = _entry(label).hints
    if not hints:
        print("there is no hint for this exercise")
        return
    step = _told.get(label, 0) % len(hints)
    _told[label] = step + 1
    print(f"hint {step + 1} of {len(hints)}: {hints[step]}")


def _entry(label: str) -> Exercise:
    if label not in mistakes.TABLE:
        raise ValueError(
            f"label is {label!r}; valid: the checked exercises, {', '.join(mistakes.TABLE)}"
        )
    return mistakes.TABLE[label]


@cache
def _called(function: Callable[[], Any]) -> Any:
    return function()


def _wanted(value: Any) -> Any:
    """A number that the table computes only when it is asked for."""
    return _called(value) if callable(value) else value


def _judge_number(exercise: Exercise, answer: object) -> str:
    right = _array(_wanted(exercise.right))
    found = _read(answer, right.shape)
    if exercise.whole and not np.all(found == np.round(found)):
        return f"{_short(answer)} is no whole number, and one is asked for"
    if np.all(np.abs(found - right) <= exercise.within):
        return RIGHT
    for slip in exercise.slips:
        if np.all(np.abs(found - _array(_wanted(slip.gives))) <= exercise.within):
            return slip.says
    if right.ndim:
        wrong = [str(place + 1) for place in range(right.size)
                 if abs(found.ravel()[place] - right.ravel()[place]) > exercise.within]
        return f"not right: look again at number {' and '.join(wrong)}"
    return "not right: too large" if found > right else "not right: too small"


def _read(answer: object, shape: tuple[int, ...]) -> np.ndarray:
    """An answer of the shape that is asked for."""
    wanted = "one number" if not shape else f"{shape[0]} numbers"
    if isinstance(answer, str):
        raise Unreadable(f"{_short(answer)} is a text; put {wanted}, without quotation marks")
    if callable(answer):
        raise Unreadable(f"a function is no answer here; put {wanted}, such as its result")
    if isinstance(answer, bool) or isinstance(answer, complex):
        raise Unreadable(f"{_short(answer)} is no real number; put {wanted}")
    try:
        found = _array(answer)
    except Unreadable:
        raise Unreadable(f"{_short(answer)} can not be read; put {wanted}") from None
    if found.shape != shape and found.size == math.prod(shape):
        found = found.reshape(shape)
    if found.shape != shape:
        held = "a single number" if not found.shape else f"shape {found.shape}"
        raise Unreadable(f"{wanted} wanted; your answer has {held}")
    if np.isnan(found).any():
        raise Unreadable("your answer is NaN, not a number: somewhere a logarithm of a negative "
                         "number or zero divided by zero")
    if np.isinf(found).any():
        raise Unreadable("your answer is infinite; the right one is not")
    return found


def _judge_code(exercise: Exercise, answer: object) -> str:
    if isinstance(answer, str):
        return "a text is no function; put the name of your function, without quotation marks"
    if not callable(answer):
        return f"{_short(answer)} is no function; write one in the place of the stub"
    results = []
    for case in exercise.cases:
        try:
            result = answer(*copy.deepcopy(case))
        except Exception as error:
            return (f"your function stops on the arguments {_short(case)} with "
                    f"{type(error).__name__}: {_short(error)}")
        if result is None and not results:
            return UNFILLED
        if isinstance(result, str):
            return f"your function returns the text {_short(result)}; values are wanted"
        results.append(result)
    return _compare(exercise, results)


def _compare(exercise: Exercise, results: list) -> str:
    """The verdict on what a function returned, one entry a case."""
    wanted = [_parts(result) for result in _outputs(exercise.right, exercise.cases)]
    try:
        found = [_parts(result) for result in results]
    except Unreadable:
        return ("your function returns something that is no number, array or set of numbers: "
                + _short(results[0]))
    within = max(exercise.within, SINGLE if any(map(_single, results)) else 0.0)
    if all(_same(a, b, within) for a, b in zip(found, wanted, strict=True)):
        return RIGHT
    for slip in exercise.slips:
        given = [_parts(result) for result in _outputs(slip.gives, exercise.cases)]
        if all(_same(a, b, within) for a, b in zip(found, given, strict=True)):
            return slip.says
    for case, mine, right in zip(exercise.cases, found, wanted, strict=True):
        if _same(mine, right, within):
            continue
        shapes, valid = ([part.shape for part in parts] for parts in (mine, right))
        if shapes != valid:
            return f"for {_short(case)} shape {_shapes(valid)} is wanted, found {_shapes(shapes)}"
        if any(np.isnan(part).any() for part in mine):
            return f"for {_short(case)} your function gives NaN, not a number"
        if any(np.isinf(part).any() for part in mine):
            return f"for {_short(case)} your function gives infinity: an exponential overflows"
        return f"for {_short(case)} wanted {_listed(right)}, found {_listed(mine)}"
    raise AssertionError("unreachable")


def _outputs(function: Callable, cases: Iterable[tuple]) -> list:
    with np.errstate(all="ignore"):
        return [function(*copy.deepcopy(case)) for case in cases]


def _array(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().double().numpy()
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise Unreadable("no number") from None


def _parts(result: Any) -> list[np.ndarray]:
    """A result as arrays: each member of a tuple by itself, the elements of a set in order."""
    if isinstance(result, (set, frozenset)):
        members = sorted(result, key=repr)
        return [_array(sorted(map(list, members)) if members and isinstance(members[0], tuple)
                       else members)]
    if isinstance(result, tuple) and not all(isinstance(each, numbers.Real) for each in result):
        return [_array(each) for each in result]
    found = _array(result)
    return [found.reshape(()) if found.size == 1 else found]


def _single(result: Any) -> bool:
    """Whether a result is in single precision."""
    members = result if isinstance(result, tuple) else (result,)
    return any(str(getattr(each, "dtype", "")).endswith(("float32", "float16")) for each in members)


def _same(found: list[np.ndarray], wanted: list[np.ndarray], within: float) -> bool:
    """Equal shapes, and values within a distance relative to the largest; NaN equals NaN."""
    if [part.shape for part in found] != [part.shape for part in wanted]:
        return False
    for mine, right in zip(found, wanted, strict=True):
        finite = np.abs(right[np.isfinite(right)])
        scale = max(1.0, finite.max()) if finite.size else 1.0
        if not np.allclose(mine, right, rtol=0, atol=within * scale, equal_nan=True):
            return False
    return True


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    text = " ".join(str(value).split()) if isinstance(value, Exception) else text
    return text if len(text) <= SHOWN else text[:SHOWN] + " …"


def _shapes(shapes: list[tuple]) -> str:
    return " and ".join("one number" if not shape else str(shape) for shape in shapes)


def _listed(parts: list[np.ndarray]) -> str:
    return " and ".join(_short(np.round(part, 6).tolist()) for part in parts)
