"""Tables of a class and two codes: against sums that are written out."""

import math

import pytest
import torch

from mlcpc import bounds, exact
from mlcpc.book import classes


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def tables(count=3, *shape):
    return classes.random_tables(count, *(shape or (2, 2, 2)), generator=generator())


def test_laws_are_laws_and_mix_to_that_of_all_images():
    p = tables()
    found, p_c = classes.laws(p), p.sum((2, 3))[..., None]
    for law in found.values():
        assert torch.allclose(law.sum(-1), torch.ones(3, 2, dtype=torch.float64), atol=1e-12)
    mixed = p_c * found["same"] + (1 - p_c) * found["other"]
    assert torch.allclose(mixed, found["all"], atol=1e-12)


def test_with_negatives_of_all_images_the_mean_is_that_of_exact():
    p, scores = tables(2), torch.randn(2, 1, 2, 2, generator=generator(1), dtype=torch.float64)
    found = classes.expected(
        bounds.ml_cpc, p, scores.expand_as(p), 2, 3, 0.7, classes.laws(p)["all"]
    )
    for value, table, critic in zip(found, p.sum(1), scores[:, 0], strict=True):
        joint = exact.Joint(table)
        whole = exact.expected(bounds.ml_cpc, joint, critic, 2, 3, 0.7, "shared")
        assert abs(value - whole) < 1e-10
    alone = classes.expected(
        bounds.ml_cpc, p[0], scores[0].expand_as(p[0]), 2, 3, 0.7, classes.laws(p[0])["all"]
    )
    assert abs(alone - found[0]) < 1e-12


def test_negatives_of_other_classes_one_by_one():
    p = tables(1)
    law = classes.laws(p)["other"]
    scores = torch.randn(1, 2, 2, 2, generator=generator(2), dtype=torch.float64)
    total = 0.0
    for c in range(2):
        for s in range(2):
            for t in range(2):
                for other in range(2):
                    chance = p[0, c, s, t] * p[0, 1 - c, :, other].sum() / p[0, 1 - c].sum()
                    pair = scores[0, c, s, [t]], scores[0, c, s, [other]][None]
                    total += chance * bounds.cpc(*pair, 1.0)
    assert abs(classes.expected(bounds.cpc, p, scores, 1, 2, 1.0, law)[0] - total) < 1e-12


def test_a_divergence_from_the_same_class_is_what_is_shared_inside():
    p = tables()
    found = classes.divergence(p, classes.laws(p)["same"])
    for value, table in zip(found, p, strict=True):
        assert abs(value - classes.inside(table)) < 1e-12


def test_codes_of_letters_make_a_table():
    p = classes.with_codes(torch.tensor([0.5, 0.2, 0.3]), torch.tensor([0, 0, 1]),
                           torch.tensor([0, 1, 1]))  # fmt: skip
    assert p.shape == (2, 2, 3) and p[0, 1, 1] == pytest.approx(0.2) and p.count_nonzero() == 3


@pytest.mark.parametrize("m", [2, 3, 6])
def test_a_perfect_critic_against_all_boards(m):
    """A copy of two letters: the critic sees which candidates are equal to the anchor."""
    joint = exact.Joint([[0.5, 0.0], [0.0, 0.5]])
    fits = torch.tensor([[0.0, -60.0], [-60.0, 0.0]])
    found = exact.expected(bounds.cpc, joint, fits, 1, m, 1.0).item()
    assert abs(classes.perfect_cpc(0.5, m) - found) < 1e-10
    assert classes.perfect_cpc(1e-12, m) == pytest.approx(math.log(m))
