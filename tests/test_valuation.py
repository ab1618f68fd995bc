"""Values of held-out scores: the bounds, their errors, and p-values that are exact."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from mlcpc import bounds, records, valuation
from mlcpc.valuation import PROVED, Valuation

ALL = (*PROVED, Valuation("cpc", 1.0), Valuation("ml_cpc", 0.3))


def scores(n, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    found = torch.randn(n, n, generator=generator, dtype=torch.float64)
    return found + scale * torch.eye(n, dtype=torch.float64)


@pytest.mark.parametrize("how", ALL, ids=str)
def test_values_are_those_of_the_bounds(how):
    table = scores(30)
    expected = getattr(bounds, how.bound)(*bounds.split(table), how.alpha_of(30))
    assert abs(how(table)[0] - expected) < 1e-10


def weighted(how, table, weight):
    """The bound with a weight for each pair, as a positive and as a negative."""
    n = len(table)
    alpha = how.alpha_of(n)
    log_weight = weight.log()
    weights = torch.full_like(table, math.log((n - alpha) / (n - 1))) + log_weight
    total = weight.sum()
    if how.bound == "cpc":
        own = torch.diagonal(table) + math.log(
            alpha
        )  # the own pair counts once, whatever its weight
        off = (table + weights).masked_fill(torch.eye(n, dtype=bool), -math.inf).logsumexp(1)
        rows = torch.logaddexp(own, off) - math.log(n)
        return (weight * (table.diagonal() - rows)).sum() / total
    pairs = table + weights + log_weight[:, None]
    diagonal = torch.eye(n, dtype=bool)
    pairs = pairs.masked_fill(diagonal, 0) + torch.diag(
        table.diagonal() + math.log(alpha) + log_weight
    )
    return (weight * table.diagonal()).sum() / total - pairs.logsumexp((0, 1)) + 2 * math.log(n)


@pytest.mark.parametrize("how", ALL, ids=str)
def test_influence_is_the_derivative_by_the_weight_of_a_pair(how):
    table = scores(12)
    weight = torch.ones(12, dtype=torch.float64, requires_grad=True)
    value = weighted(how, table, weight)
    assert abs(value.item() - how(table)[0]) < 1e-10
    (gradient,) = torch.autograd.grad(value, weight)
    expected = 12 * (gradient - gradient.mean()).numpy()
    assert np.abs(how(table)[1] - expected).max() < 1e-10


@pytest.mark.parametrize("how", PROVED, ids=str)
def test_the_standard_error_is_that_of_the_jackknife(how):
    table = scores(60)
    without = []
    for k in range(60):
        kept = torch.arange(60) != k
        without.append(how(table[kept][:, kept])[0])
    jackknife = math.sqrt(59 / 60 * ((np.array(without) - np.mean(without)) ** 2).sum())
    assert abs(valuation.standard_error(how(table)[1]) / jackknife - 1) < 0.03


def test_pairs_of_a_group_are_one_for_the_error():
    influence = np.repeat([1.0, -1.0], 50)
    groups = np.repeat([0, 1], 50)
    assert valuation.standard_error(influence) < 0.11
    assert abs(valuation.standard_error(influence, groups) - 1.0) < 1e-12


def test_ceilings_of_a_block():
    assert abs(PROVED[1].ceiling(128) - 8.64) < 0.01
    assert abs(PROVED[0].ceiling(128) - math.log(128) - 0.307) < 1e-3


def test_what_is_proved():
    assert all(each.proved(100) for each in PROVED)
    assert Valuation("cpc", 1.0).proved(100) and Valuation("ml_cpc", 1.0).proved(100)
    assert not Valuation("cpc", 0.5).proved(100) and not Valuation("ml_cpc", 0.01).proved(100)


def test_p_values_are_uniform_under_independence():
    """Any critic, here a fixed one, on pairs that are independent: 300 draws."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(300):
        x, y = generator.standard_normal((2, 15))
        block = torch.from_numpy(np.outer(x, y) + x[:, None] ** 2)
        found.append(valuation.permutation_p_value([block], generator, count=99))
    assert kstest(found, "uniform").pvalue > 0.05
    ties = [
        valuation.permutation_p_value([torch.zeros(9, 9)], generator, count=19) for _ in range(300)
    ]
    assert kstest(ties, "uniform").pvalue > 0.001 and min(ties) >= 0.05


def test_p_value_of_a_strong_dependence_is_the_smallest_there_is():
    generator = np.random.default_rng(0)
    block = scores(50, scale=8.0)
    assert valuation.permutation_p_value([block, block], generator, count=199) == 1 / 200
    assert valuation.shifted_p_value(block, generator, 5) == 1 / 42


def test_what_goes_unseen_falls_with_rows_and_grows_with_columns():
    assert valuation.unseen(4000, 5, 5) < valuation.unseen(1000, 5, 5)
    assert valuation.unseen(1000, 5, 5) < valuation.unseen(1000, 100, 100)
    values, seen = records.read("unseen").metrics, []
    for name in (each.removesuffix(", truth") for each in values if each.endswith(", truth")):
        dim = int(name.split()[-2])
        assert set(values[f"{name}, truth"].values) == {valuation.unseen(500, dim, dim)}
        lower, p = (values[f"{name}, {each}"].values for each in ("lower", "p_value"))
        seen.append(np.mean([a > 0 or b <= 0.05 for a, b in zip(lower, p, strict=True)]))
    assert min(seen) >= 0.5
