"""The rival bounds: naive transcriptions, where they meet, exact expectations, bad input."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_bounds import scores

from mlcpc import bounds, exact

sizes = st.tuples(st.integers(1, 5), st.integers(3, 6))
seeds = st.integers(0, 10_000)
ALL = {
    "mine": lambda p, n: bounds.mine(p, n)[0],
    "jensen_shannon": bounds.jensen_shannon,
    "nwj_by_jensen_shannon": bounds.nwj_by_jensen_shannon,
    "smile": bounds.smile,
    "tuba": lambda p, n: bounds.tuba(p, n, torch.full_like(p, 0.3)),
    "interpolated": lambda p, n: bounds.interpolated(p, n, torch.full_like(p, 0.3)),
}


def baselines(n, seed, batch=()):
    generator = torch.Generator().manual_seed(seed + 1)
    return torch.randn(*batch, n, generator=generator, dtype=torch.float64)


def naive(name, f, negatives, log_a):
    """Plain loops over Python floats."""
    n, k = len(f), len(negatives[0])
    mean_f = sum(f) / n
    flat = [each for row in negatives for each in row]
    if name == "jensen_shannon":
        positive = sum(math.log(1 + math.exp(-each)) for each in f) / n
        return -positive - sum(math.log(1 + math.exp(each)) for each in flat) / (n * k)
    if name == "nwj_by_jensen_shannon":
        return 1 + mean_f - sum(map(math.exp, flat)) / (n * k)
    if name == "smile":
        clipped = [min(max(math.exp(each), math.exp(-1.5)), math.exp(1.5)) for each in flat]
        return mean_f - math.log(sum(clipped) / (n * k))
    a = [math.exp(each) for each in log_a]
    if name == "tuba":
        of_negatives = sum(math.exp(g) / a[i] for i in range(n) for g in negatives[i]) / (n * k)
        return 1 + sum(f[i] - log_a[i] for i in range(n)) / n - of_negatives
    w, total = 0.3, 1.0
    for i in range(n):
        g = [math.exp(each) for each in negatives[i]]
        A = w * sum(g) / k + (1 - w) * a[i]
        total -= sum(each / A for each in g) / (n * k)
        for left_out in range(k):
            others = math.exp(f[i]) + sum(g[j] for j in range(k) if j != left_out)
            A = w * others / k + (1 - w) * a[i]
            total += math.log(math.exp(f[i]) / A) / (n * k)
    return total


@pytest.mark.parametrize("name, value_of", [
    ("jensen_shannon", lambda p, n, a: bounds.jensen_shannon(p, n)),
    ("nwj_by_jensen_shannon", lambda p, n, a: bounds.nwj_by_jensen_shannon(p, n)),
    ("smile", lambda p, n, a: bounds.smile(p, n, 1.5)),
    ("tuba", bounds.tuba),
    ("interpolated", lambda p, n, a: bounds.interpolated(p, n, a, 0.3)),
])  # fmt: skip
@given(size=sizes, seed=seeds)
@settings(deadline=None, max_examples=40)
def test_equals_the_formula_written_as_loops(name, value_of, size, seed):
    n, m = size
    positive, negative = scores(n, m, seed, scale=2.0)
    log_a = baselines(n, seed)
    expected = naive(name, positive.tolist(), negative.tolist(), log_a.tolist())
    assert abs(value_of(positive, negative, log_a).item() - expected) < 1e-10


@pytest.mark.parametrize("name", ALL)
def test_leading_dimensions_are_batches(name):
    positive, negative = scores(3, 4, batch=(2, 5))
    together = ALL[name](positive, negative)
    assert together.shape == (2, 5)
    alone = torch.stack(
        [torch.stack([ALL[name](positive[i, j], negative[i, j]) for j in range(5)]) for i in (0, 1)]
    )
    assert torch.allclose(together, alone, rtol=0, atol=1e-12)


def test_mine_is_donsker_varadhan_with_another_gradient():
    positive, negative = scores(4, 5, seed=3)
    negative.requires_grad_()
    value, average = bounds.mine(positive, negative, decay=0.9)
    assert abs(value - bounds.donsker_varadhan(positive, negative)) < 1e-12
    # At the first step the average is z itself, so the gradient is that of Donsker-Varadhan.
    (of_mine,) = torch.autograd.grad(value, negative)
    (of_dv,) = torch.autograd.grad(bounds.donsker_varadhan(positive, negative), negative)
    assert torch.allclose(of_mine, of_dv, rtol=0, atol=1e-12)
    # Later it divides by the average: d·z̄ + (1 − d)·z.
    z = negative.detach().exp().mean()
    old = torch.tensor(2.0, dtype=torch.float64)
    value, average = bounds.mine(positive, negative, old.log(), decay=0.75)
    assert abs(average.exp() - (0.75 * 2 + 0.25 * z)) < 1e-12
    (of_mine,) = torch.autograd.grad(value, negative)
    expected = -negative.detach().exp() / 16 / average.exp()
    assert torch.allclose(of_mine, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["nwj_by_jensen_shannon", "smile"])
def test_value_of_one_bound_gradient_of_another(name):
    positive, negative = scores(4, 5, seed=5)
    positive.requires_grad_(), negative.requires_grad_()
    here = torch.autograd.grad(ALL[name](positive, negative), (positive, negative))
    there = torch.autograd.grad(bounds.jensen_shannon(positive, negative), (positive, negative))
    for one, two in zip(here, there, strict=True):
        assert torch.allclose(one, two, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["jensen_shannon", "tuba", "interpolated"])
def test_gradients_are_right(name):
    positive, negative = scores(3, 4, seed=7)
    log_a = baselines(3, 7).requires_grad_()
    functions = {
        "jensen_shannon": lambda p, n, a: bounds.jensen_shannon(p, n) + 0 * a.sum(),
        "tuba": bounds.tuba,
        "interpolated": bounds.interpolated,
    }
    inputs = (positive.requires_grad_(), negative.requires_grad_(), log_a)
    assert torch.autograd.gradcheck(functions[name], inputs)


@given(size=sizes, seed=seeds)
@settings(deadline=None, max_examples=30)
def test_where_the_bounds_meet(size, seed):
    n, m = size
    positive, negative = scores(n, m, seed)
    log_a = baselines(n, seed)
    zero = torch.zeros(n, dtype=torch.float64)
    near = {"rtol": 0, "atol": 1e-10}
    assert torch.allclose(
        bounds.interpolated(positive, negative, log_a, 0.0),
        bounds.tuba(positive, negative, log_a),
        **near,
    )
    assert torch.allclose(
        bounds.tuba(positive, negative, zero), bounds.nwj(positive + 1, negative + 1), **near
    )
    assert torch.allclose(
        bounds.smile(positive, negative, math.inf),
        bounds.donsker_varadhan(positive, negative),
        **near,
    )
    at_one = bounds.interpolated(positive, negative, log_a, 1.0)
    assert at_one <= math.log(m - 1) + 1e-12


def test_a_weight_of_one_or_zero_has_finite_gradients():
    positive, negative = scores(3, 4)
    for weight in (0.0, 1.0, torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)):
        log_a = baselines(3, 0).requires_grad_()
        value = bounds.interpolated(positive.requires_grad_(), negative, log_a, weight).sum()
        for each in torch.autograd.grad(value, (positive, log_a)):
            assert each.isfinite().all()


@pytest.mark.parametrize("row", [[500.0, 0.0, -500.0, 499.0], [500.0, 1.0, 0.0], [0.0, 0.0, -1.0]])
def test_leave_one_out_keeps_its_digits(row):
    """Without its largest term a sum may be smaller than the rounding of the whole sum."""
    found = bounds._logsumexp_without_each(torch.tensor(row, dtype=torch.float64))
    for left_out in range(len(row)):
        others = torch.tensor(row[:left_out] + row[left_out + 1 :], dtype=torch.float64)
        assert abs(found[left_out] - others.logsumexp(0)) < 1e-10


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("design", ["independent", "shared", "in_batch"])
def test_tuba_and_interpolated_are_bounds_in_expectation(weight, design):
    """Exact expectation over random tables, critics and baselines of the anchor."""
    generator = torch.Generator().manual_seed(11)
    for _ in range(20):
        raw = torch.rand(2, 2, generator=generator, dtype=torch.float64) ** 3
        joint = exact.Joint(raw / raw.sum())
        critic = 2 * torch.randn(2, 2, generator=generator, dtype=torch.float64)
        constant = torch.randn((), generator=generator, dtype=torch.float64)

        def bound(positive, negative, alpha, constant=constant):
            log_a = constant.expand(positive.shape)
            return bounds.interpolated(positive, negative, log_a, weight)

        n = m = 3
        value = exact.expected(bound, joint, critic, n, m, 1.0, design)
        assert value <= joint.mi + 1e-9
    # The twin: with the positive inside both means it is no bound any more.
    if weight == 1.0:

        def twin(positive, negative, alpha):
            total = torch.logaddexp(positive, negative.logsumexp(-1)) - math.log(m)
            of_negatives = torch.exp(negative - total[..., None]).mean((-2, -1))
            return 1 + (positive - total).mean(-1) - of_negatives

        copy = exact.Joint([[0.5, 0.0], [0.0, 0.5]])
        match = torch.tensor([[6.0, 0.0], [0.0, 6.0]], dtype=torch.float64)
        assert exact.expected(twin, copy, match, n, m, 1.0, design) > copy.mi + 0.05


def test_jensen_shannon_at_the_log_ratio():
    """2 JS − 2 log 2, on a table."""
    joint = exact.Joint([[0.4, 0.1], [0.2, 0.3]])
    value = exact.expected(
        lambda p, n, a: bounds.jensen_shannon(p, n), joint, joint.log_ratio, 1, 2, 1.0
    )
    P, Q = joint.table, joint.product
    M = (P + Q) / 2
    js = (P * (P / M).log() + Q * (Q / M).log()).sum() / 2
    assert abs(value - (2 * js - 2 * math.log(2))) < 1e-10


@pytest.mark.parametrize("call, message", [
    (lambda p, n: bounds.mine(p, n, decay=1.0), "decay is 1.0; valid: 0 <= decay < 1"),
    (lambda p, n: bounds.mine(p, n, decay=-0.1), "decay is -0.1"),
    (lambda p, n: bounds.smile(p, n, 0.0), "clip is 0.0; valid: clip > 0"),
    (lambda p, n: bounds.smile(p, n, math.nan), "clip is nan"),
    (lambda p, n: bounds.tuba(p, n, torch.zeros(2)), r"log_baseline has shape \(2,\)"),
    (lambda p, n: bounds.tuba(p, n, torch.full((3,), math.nan)), "log_baseline contains nan"),
    (lambda p, n: bounds.interpolated(p, n, p, 1.5), "weight is 1.5; valid: 0 <= weight <= 1"),
    (lambda p, n: bounds.interpolated(p, n[:, :1], p), "negative has 1 negatives an anchor"),
    (lambda p, n: bounds.jensen_shannon(p, n[:2]), "one row|with n = 3"),
])  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(*scores(3, 4))
