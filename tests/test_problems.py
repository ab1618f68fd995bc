"""Problems know their mutual information: closed form, density ratio and samples agree."""

import math

import pytest
import torch

from mlcpc.problems import CorrelatedGaussian


@pytest.mark.parametrize("mi", [0.0, 0.1, 2.0, 10.0])
@pytest.mark.parametrize("dim", [1, 3, 20])
def test_mean_log_ratio_is_the_information(mi, dim):
    problem = CorrelatedGaussian(mi, dim)
    x, y = problem.sample(50_000, torch.Generator().manual_seed(0))
    ratio = problem.log_ratio(x.double(), y.double())
    error = ratio.std() / math.sqrt(len(ratio))
    assert abs(ratio.mean() - mi) <= 4 * error + 1e-9


def test_information_formula():
    problem = CorrelatedGaussian(3.0, 7)
    assert abs(-7 / 2 * math.log(1 - problem.rho**2) - 3.0) < 1e-12


def test_log_ratio_is_that_of_the_normal_densities():
    problem = CorrelatedGaussian(1.5, 2)
    x, y = torch.randn(2, 5, 2, dtype=torch.float64)
    rho = problem.rho
    pair = torch.distributions.MultivariateNormal(
        torch.zeros(2, dtype=torch.float64),
        torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64),
    )
    single = torch.distributions.Normal(torch.tensor(0.0).double(), torch.tensor(1.0).double())
    joint = pair.log_prob(torch.stack([x, y], -1)).sum(-1)
    expected = joint - single.log_prob(x).sum(-1) - single.log_prob(y).sum(-1)
    assert torch.allclose(problem.log_ratio(x, y), expected, rtol=0, atol=1e-10)


def test_log_ratio_broadcasts_to_all_pairs():
    problem = CorrelatedGaussian(1.0, 4)
    x, y = problem.sample(6, torch.Generator().manual_seed(0))
    scores = problem.log_ratio(x[:, None], y[None])
    assert scores.shape == (6, 6)
    assert torch.allclose(scores.diagonal(), problem.log_ratio(x, y))


def test_samples_are_standard_normal_and_repeat():
    problem = CorrelatedGaussian(2.0, 3)
    x, y = problem.sample(40_000, torch.Generator().manual_seed(1))
    again, _ = problem.sample(40_000, torch.Generator().manual_seed(1))
    assert torch.equal(x, again)
    covariance = torch.cov(torch.cat([x, y], 1).T)
    expected = torch.eye(6)
    for k in range(3):
        expected[k, 3 + k] = expected[3 + k, k] = problem.rho
    assert (covariance - expected).abs().max() < 4 * math.sqrt(2 / 40_000)


def test_bad_input_is_named():
    for mi in (-0.1, math.inf, math.nan):
        with pytest.raises(ValueError, match="^mi is .*; valid: nats from 0 up"):
            CorrelatedGaussian(mi)
    with pytest.raises(ValueError, match="^dim is 0; valid: at least 1"):
        CorrelatedGaussian(1.0, 0)
