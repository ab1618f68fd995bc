"""Checked exercises: every typical mistake is named, right answers pass in any form.

What is right is worked out here once more, without the table that the checker reads: with the laws
and bounds of the package, by enumeration, by automatic differentiation or by hand.
"""

import itertools
import math
import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from conftest import ROOT
from scipy import stats
from scipy.optimize import brentq

from mlcpc import bounds, exact, problems, records
from mlcpc.book import classes, exercises, laws, mistakes, published
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


def first(holds, start=1):
    return next(k for k in itertools.count(start) if holds(k))


def flipped(chance):
    """Information of a fair bit and of itself, flipped with this chance, in nats."""
    return exact.from_counts([[1 - chance, chance], [chance, 1 - chance]]).mi.item()


def slopes(of, *at):
    """Derivatives, by automatic differentiation."""
    at = [each.clone().requires_grad_() for each in at]
    return torch.autograd.grad(of(*at), at)


def error(name, k):
    """Mean squared error of k batches on average, from the paper's read-offs."""
    bias, variance = (published.numbers()[f"{kind} {name} at 10, joint"].value
                      for kind in ("bias", "variance"))
    return bias**2 + variance / k


def last(name):
    epochs = records.read("distill-fashion-mnist-subset-resnet56-resnet20-ml-cpc").arrays["epochs"]
    return np.mean([each[-1][name] for each in epochs])


ADA, R = flipped(0.25), np.array([1.5, 0.5])  # information and ratios of her table
COPY = exact.Joint(torch.eye(8, dtype=torch.float64) / 8)
FOUR = exact.Joint(0.92 * torch.eye(4, dtype=torch.float64) / 4 + 0.02 / 4)
EDGE = bounds.alpha_batch(128)
ANSWERS = {  # a number, a few, or what computes them; for a code exercise a function of its cases
    "ex-mi-erasure": lambda: exact.from_counts([[3, 0, 1], [0, 3, 1]]).mi.item(),
    "ex-mi-half": lambda: brentq(lambda q: flipped(q) - math.log(2) / 2, 0.5, 1),
    "ex-mi-counts": lambda p: sum(
        stats.entropy(each.flatten(), base=2) * sign
        for each, sign in ((p.sum(0), 1), (p.sum(1), 1), (p, -1))),
    "ex-dp-lines": lambda: first(lambda k: flipped((1 - 0.8**k) / 2) < 0.1),
    "ex-dp-merges": lambda p: {(j, k) for j, k in itertools.combinations(range(p.shape[1]), 2)
                               if np.linalg.matrix_rank(p[:, [j, k]]) == 1},
    "ex-vb-knob": lambda: tuple(np.linalg.solve([[1, 1], [1, -1]], 1 + np.log(R)).tolist()),
    "ex-vb-gradient": lambda joint, f: slopes(
        lambda f: (joint.table * f).sum() - (joint.product * f.exp()).sum().log(), f)[0],
    "ex-vb-two": lambda: ADA - np.mean([math.log((a + b) / 2) for a in R for b in R]),
    "ex-vb-needed": lambda: first(lambda n: Fraction(16**2 - 16, 16 * n) <= Fraction(1, 100)),
    "ex-vb-in-batch": lambda s: s.diagonal().mean() - np.logaddexp.reduce([
        float(s[cell]) - math.log(len(s) * (len(s) - 1))
        for cell in itertools.permutations(range(len(s)), 2)]),
    "ex-cpc-hand": lambda: brentq(lambda t: 3 / (8 * t) - 1 / (2 * (t + 1)), 0.1, 99),
    "ex-cpc-batch": lambda: first(lambda m: math.log(m) >= 8),
    "ex-cpc-code": lambda s: (bounds.cpc(*bounds.split(s)),
                              *slopes(lambda s: bounds.cpc(*bounds.split(s)), s)),
    "ex-cpc-tenth": lambda: first(lambda m: FOUR.mi - exact.expected(
        bounds.cpc, FOUR, FOUR.log_ratio, 1, m, negatives="shared") <= 0.1, 2),
    "ex-cpc-bets": lambda joint, x, shown:
        (given := joint.table[x, shown] / joint.table.sum(0)[shown]) / given.sum(),
    "ex-alpha-nat": lambda: brentq(lambda a: bounds.ceiling(128, a) - 6, 0.1, 1),
    "ex-alpha-gradient": lambda f, a: slopes(lambda f: bounds.cpc(f[:1], f[None, 1:], a), f)[0],
    "ex-alpha-crossing": lambda: brentq(
        lambda a: (5 / (1 + 2 * a)) ** 3 - 729 / 256 * (5 - 2 * a), 0.1, 1),
    # (1 + v)/v² times Taylor's remainder v² ∫ (1 − s) e^(−vs) ds of e^(−v).
    "ex-alpha-range": lambda m: m / (m - 1) * stats.beta(1, 2).expect(
        lambda s: math.exp(-s / (m - 1))) / 2,
    "ex-te-gain": lambda: bounds.cpc(torch.tensor([math.log(0.9)]).double(), torch.full(
        (1, 127), math.log(0.1 / 127)).double(), 2 / math.e).item(),
    "ex-bd-tau": lambda: first(
        lambda m: m / 2 * (m + 1 - math.sqrt((m - 1) * (m + 3))) > 0.9, 2),
    "ex-bd-code": lambda u, p, a: sum(
        q * np.prod([(2 * x / (a * x + (2 - a) * y)) ** r for y, r in zip(u, p, strict=True)])
        for x, q in zip(u, p, strict=True)),
    "ex-ml-loud": lambda: brentq(lambda g: math.log(16 / (15 + g)) + math.log(2), 1, 99),
    "ex-ml-gradient": lambda p, q, a: slopes(lambda p, q: bounds.ml_cpc(p, q, a), p, q),
    "ex-ml-unfair": lambda: brentq(
        lambda c: np.mean([a / (2 * a + b) for a in (1, c) for b in (1, c)]) - 0.3, 5, 99),
    "ex-ml-heavy": lambda n, m, w: brentq(
        lambda a: a * n - w * (m - a) / (m - 1), 0, m, xtol=1e-15),
    "ex-ml-choose": lambda: brentq(lambda a: bounds.ceiling(32, a) - 6, 0.01, 1),
    "ex-ml-code": lambda s, a: bounds.ml_cpc(*bounds.split(s), a),
    "ex-ib-four": Fraction(4, (1 + 1) * (2 + 1)),
    "ex-ib-ten": lambda: first(lambda n: bounds.ceiling(n, bounds.alpha_batch(n)) >= 10, 2),
    "ex-bd-size": lambda: first(lambda n: max(
        laws.copy_gap(n, round(n * (n - 1) / 2 / mu), bounds.alpha_min(n, n))
        for mu in (4.4, 4.8, 5.2, 5.6)) > 0, 100),
    "ex-many-undo": lambda g, a: -((1 / g - a) / (1 - a)).log(),  # 1/g* = a + (1 − a)/r
    "ex-many-batch-noise": (2 * (128 - EDGE) / 127 / EDGE / 128 + 1 / 128) / 4,
    "ex-stair-step": problems.CorrelatedGaussian(2.0).rho,
    "ex-stair-batch": lambda: first(lambda n: bounds.ceiling(n, bounds.alpha_min(n, n)) >= 10, 2),
    "ex-stair-cubic": stats.chi2(7).sf(stats.chi2(1).isf(0.1)),  # y^6 tilts one square to seven
    "ex-stair-average": lambda: first(lambda k: error("ml_cpc:0.0001", k) < error("cpc:0.01", k)),
    "ex-rivals-batch": lambda: brentq(lambda n: math.exp(2 * 11) / n**2 - math.exp(2 * 10), 1, 9),
    "ex-rivals-window": np.sqrt(np.full(50, 150.0**2).sum()) / 50,
    "ex-choose-batch": lambda: first(lambda n: n**2 - n + 1 >= math.expm1(10) / math.expm1(0.1)),
    "ex-choose-room": math.log(2 - math.exp(-50)),
    "ex-beyond-pair": np.log(1 * 2 / np.linalg.det([[1, 1], [1, 2]])) / 2,
    "ex-beyond-tails": lambda: first(
        lambda nu: problems.StudentT(problems.dense_gaussian(5, 5, 0.0), nu).mi < 0.01, 2),
    "ex-beyond-code": lambda value, truth, factor: max(value / truth, truth / value) <= factor,
    "ex-own-p": lambda: first(lambda B: Fraction(1, B + 1) <= Fraction(1, 1000)),
    "ex-self-code": lambda repeats: stats.entropy(
        [times for times, kinds in repeats for _ in range(kinds)]),
    "ex-rep-ceiling": Fraction(4096 + 1, 10**4),
    "ex-rep-queue": lambda: first(lambda K: (K + 1) * (K + 2) / 2 > 10**8 / 100),
    "ex-rep-groups": stats.entropy([1, 2, 1]),
    "ex-rep-decay": (10, 0.1),
    "ex-rep-peak": lambda: max(
        np.linspace(0, 1, 10**5), key=lambda t: (1 + np.cos(np.pi * t)) * 100**t),
    "ex-kd-few": lambda: first(lambda K: COPY.mi - classes.perfect_cpc(1 / 8, K + 1) <= 0.1),
    "ex-kd-simplex": lambda: brentq(
        lambda tau: math.log1p(16_384 * math.exp(-10 / 9 / tau)) - 1, 0.05, 1),
    "ex-kd-chance": Fraction(10, 200 - 1),
    "ex-kd-wins": lambda: first(lambda wins: stats.binomtest(wins, 13).pvalue <= 1 / 20, 7),
    "ex-kd-half": lambda: last("cross entropy") / last("contrast"),
    "ex-far-ranks": -(-(10**9) * 128 * 2 // (16 * 2**30)),
    "ex-far-merge": lambda parts: np.logaddexp.reduce([c + math.log(s) for c, s in parts]),
    "ex-usable-number": ADA,
    "ex-enc-ten": max(sum((place >= cut) == place % 2 for place in range(10)) / 10
                      for cut in range(11)),
    "ex-enc-code": lambda one, two, z:
        (z - two(one(0.0))) / (two(one(1.0)) - two(one(0.0))),
    "ex-ce-level": bounds.ceiling(64),
    "ex-dep-number": exact.from_counts(np.eye(10)).mi.item(),
    "ex-known-error": lambda: brentq(
        lambda e: 10 * (math.log(2) - flipped(2 * e * (1 - e))) - 0.1 * math.log(2), 1e-9, 0.1),
    "ex-tb-number": 1 - (math.log(10) - 1.5) / math.log(4),
    "ex-tb-code": lambda a, b, p: np.log(a.numpy() @ np.diag(1 / p.numpy()) @ b.numpy().T),
}
ROUNDED = {  # as the page asks for it, or as its solution prints it
    "ex-mi-half": 0.89, "ex-vb-knob": (0.856, 0.549), "ex-vb-two": 0.203, "ex-alpha-nat": 0.3173,
    "ex-alpha-crossing": 0.638, "ex-te-gain": 5.02, "ex-ml-unfair": 19.95, "ex-stair-cubic": 0.91,
    "ex-many-batch-noise": 0.18, "ex-rep-peak": 0.62, "ex-kd-simplex": 0.12, "ex-kd-half": 0.061,
    "ex-usable-number": 0.131, "ex-ce-level": 4.16, "ex-dep-number": 2.30,
    "ex-known-error": 0.00043, "ex-tb-number": 0.42, "ex-stair-step": 0.43, "ex-rivals-window": 21,
    "ex-ib-four": 0.667, "ex-rep-ceiling": 0.4097, "ex-rivals-batch": 2.72,
}
ASKED = re.compile(r":label: (ex-[a-z-]+)\n(?:(?!\{solution\}).)*?"
                   r"(?:two|three|four)\s+(?:digits|decimals)(?=.*?check\(\"\1\")", re.S | re.I)


def test_every_checked_exercise_has_a_right_answer_here():
    assert set(ANSWERS) == set(TABLE)
    pages = [path.read_text() for path in (ROOT / "notebooks").glob("*.md")]
    assert {label for page in pages for label in ASKED.findall(page)} <= set(ROUNDED)


@pytest.mark.parametrize("label", CODE)
def test_right_functions_pass_in_any_form(label):
    right = ANSWERS[label]

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
        return each.detach().numpy() if isinstance(each, torch.Tensor) else np.asarray(each)

    def as_list(each):
        return each.tolist() if hasattr(each, "tolist") else each

    forms = [right, changed(as_numpy), changed(as_list), changed(torch.as_tensor),
             TABLE[label].right]
    assert [(form, said) for form in forms if (said := judge(label, form)) != RIGHT] == []


@pytest.mark.parametrize("label", NUMBERS)
def test_right_numbers_pass_in_any_form(label):
    right, known = value(ANSWERS[label]), value(TABLE[label].right)
    forms = [right, ROUNDED.get(label, right), known]
    if isinstance(right, tuple):
        forms += [list(right), np.array(right), torch.tensor(right), torch.tensor(right).double()]
    else:
        number, near = float(right), TABLE[label].within / 2
        forms += [number, np.float64(number), np.array([number]), torch.tensor(number),
                  torch.tensor(number).double(), Fraction(number), [number]]
        forms += ([int(number), np.int64(number), torch.tensor(int(number))]
                  if TABLE[label].whole else [known - near, known + near])
    assert [(form, said) for form in forms if (said := judge(label, form)) != RIGHT] == []


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
