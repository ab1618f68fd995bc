"""The log density ratio of a normal pair, and how few directions of it are kept."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from mlcpc import canonical


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fitted(x, y, seed=0):
    cut = len(x) * 4 // 5
    generator = torch.Generator().manual_seed(seed)
    return canonical.fit(x[:cut], y[:cut], x[cut:], y[cut:], generator)


def test_log_ratio_is_that_of_the_densities():
    rho = torch.tensor([0.9, -0.3, 0.0], dtype=torch.float64)
    u, v = draw(4, 3), draw(5, 3, seed=1)
    diagonal = torch.diag(rho)
    eye = torch.eye(3, dtype=torch.float64)
    joint = MultivariateNormal(
        torch.zeros(6, dtype=torch.float64),
        torch.cat([torch.cat([eye, diagonal], 1), torch.cat([diagonal, eye], 1)]),
    )
    alone = MultivariateNormal(torch.zeros(3, dtype=torch.float64), eye)
    found = canonical.log_ratio(u, v, rho)
    for i in range(4):
        for j in range(5):
            expected = (
                joint.log_prob(torch.cat([u[i], v[j]]))
                - alone.log_prob(u[i])
                - alone.log_prob(v[j])
            )
            assert abs(found[i, j] - expected) < 1e-10
    stacked = canonical.log_ratio(u[None], v[None], rho[None])
    assert torch.allclose(stacked[0], found, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mi", [0.5, 4.0, 10.0])
def test_the_gain_is_the_information_of_a_normal_pair(mi):
    """One pair that is correlated, hidden in mixtures of columns."""
    rho = math.sqrt(-math.expm1(-2 * mi))
    z, noise = draw(20_000, 3), draw(20_000, 3, seed=1)
    other = noise.clone()
    other[:, 0] = rho * z[:, 0] + math.sqrt(1 - rho**2) * noise[:, 0]
    found = fitted(z @ draw(3, 3, seed=2), other @ draw(3, 3, seed=3))
    assert abs(found.gain - mi) < 0.05 and len(found.rho) <= 3


def test_noise_of_many_columns_is_shrunk_to_nothing():
    found = fitted(draw(1000, 100), draw(1000, 100, seed=1))
    u, v = found.coordinates(draw(500, 100, seed=2), draw(500, 100, seed=3))
    ratios = canonical.log_ratio(u, v, found.rho)
    assert abs(float(ratios.diagonal().mean())) < 0.02 and abs(found.gain) < 0.05


def test_few_latent_directions_of_many_columns_are_found():
    z = draw(2000, 2)
    to_x, to_y = draw(2, 150, seed=1), draw(2, 40, seed=3)
    x = z @ to_x + 3 * draw(2000, 150, seed=2)
    y = z @ to_y + 3 * draw(2000, 40, seed=4)
    both = torch.cat([to_x, to_y], 1)
    truth = sum(
        sign * torch.logdet(9 * torch.eye(w.shape[1]) + w.mT @ w)
        for sign, w in ((0.5, to_x), (0.5, to_y), (-0.5, both))
    )
    found = fitted(x, y)
    assert found.components in (2, 3, 5) and found.gain > 0.9 * truth


def test_weak_entries_of_many_columns_are_found():
    """100 correlations of 0.1: neither few directions nor all of them show it, entries do."""
    x = draw(2000, 100)
    y = 0.3 * x + math.sqrt(0.91) * draw(2000, 100, seed=1)
    assert fitted(x, y).gain > 4.0  # of 4.72


def test_columns_that_determine_each_other_stay_finite():
    x = draw(400, 2)
    found = fitted(x, x)
    assert math.isfinite(found.gain) and found.gain > 10
    assert torch.isfinite(canonical.log_ratio(*found.coordinates(x, x), found.rho)).all()


def test_far_rows_are_cut_off():
    x = draw(1000, 1)
    found = fitted(x, 0.5 * x + draw(1000, 1, seed=1))
    far = torch.full((1, 1), 1e6, dtype=torch.float64)
    assert torch.isfinite(canonical.log_ratio(*found.coordinates(far, -far), found.rho)).all()
    assert found.coordinates(far, far)[0].abs().max() == 5


def test_many_columns_are_reduced_by_a_search_that_is_seeded():
    x, y = draw(300, 500), draw(300, 3, seed=1)
    one, two = fitted(x, y, seed=1), fitted(x, y, seed=1)
    assert torch.equal(one.of_x, two.of_x)
