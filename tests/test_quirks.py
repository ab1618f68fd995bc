"""Differences between the paper, its code and this book: one test for each row of the page.

The formulas that stand here for the authors' code are written from a description of it.
"""

import math
import re
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from mlcpc import bounds, exact

PAGE = Path(__file__).parent.parent / "book" / "errata.md"


def board(n, m, seed=0):
    generator = torch.Generator().manual_seed(seed)
    positive = torch.randn(n, generator=generator, dtype=torch.float64)
    return positive, torch.randn(n, m - 1, generator=generator, dtype=torch.float64)


def divergence_loss(positive, negative, alpha):
    """Pretraining: a divergence from one softmax over all logits to 1/n on each positive."""
    n, m = len(positive), negative.shape[1] + 1
    logits = torch.cat([positive[:, None], negative], 1)
    weight = torch.full((m,), (m - alpha) / (m - 1), dtype=torch.float64)
    weight[0] = alpha
    target = torch.zeros(n, m, dtype=torch.float64)
    target[:, 0] = 1 / n
    share = functional.log_softmax((logits + weight.log()).flatten(), 0)
    return functional.kl_div(share, target.flatten(), reduction="sum") / alpha


def test_every_row_names_a_test_and_every_test_has_a_row():
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text()))
    here = {name for name in globals() if name.startswith("test_")} - {
        "test_every_row_names_a_test_and_every_test_has_a_row"
    }
    assert named == here


def test_two_alphas_of_the_figure_are_below_the_guarantee():
    alphas = [1, 0.1, 0.01, 0.001, 0.0001]
    outside = [alpha for alpha in alphas if alpha < bounds.alpha_min(128, 128)]
    assert outside == [0.001, 0.0001]


def test_pretraining_loss_is_the_distance_to_the_ceiling_over_alpha():
    positive, negative = board(5, 9)
    for alpha in (8 * 10.0**-k for k in range(4)):
        ours = (bounds.ceiling(9, alpha) - bounds.ml_cpc(positive, negative, alpha)) / alpha
        assert abs(divergence_loss(positive, negative, alpha) - ours) < 1e-10 and ours >= 0


def test_the_curriculum_scales_the_step_by_one_over_alpha():
    norms = []
    for alpha in (8.0, 0.08):
        positive, negative = board(5, 9)
        positive.requires_grad_()
        divergence_loss(positive, negative, alpha).backward()
        scaled = positive.grad * alpha
        again = positive.detach().clone().requires_grad_()
        (-bounds.ml_cpc(again, negative, alpha)).backward()
        assert torch.allclose(scaled, again.grad, rtol=0, atol=1e-10)
        norms.append((positive.grad.norm() / again.grad.norm()).item())
    assert abs(norms[1] / norms[0] - 100) < 1e-6


def test_the_objective_depends_on_the_anchors_of_one_device():
    positive, negative = board(8, 9)
    whole = bounds.ml_cpc(positive, negative, 0.1)
    halves = bounds.ml_cpc(positive.view(2, 4), negative.view(2, 4, 8), 0.1).mean()
    assert abs(whole - halves) > 1e-3
    rows = bounds.cpc(positive.view(2, 4), negative.view(2, 4, 8), 0.1).mean()
    assert abs(bounds.cpc(positive, negative, 0.1) - rows) < 1e-12


def test_distillation_loss_differs_by_the_constant_log_m():
    positive, negative = board(5, 9)
    m, alpha = 9, 0.7
    beta = (m - alpha) / (m - 1)
    weighted = (alpha * positive.exp()).mean() + (m - 1) * (beta * negative.exp()).mean()
    theirs = (-positive).mean() + weighted.log()
    assert abs(theirs - (math.log(m) - bounds.ml_cpc(positive, negative, alpha))) < 1e-10


def test_a_constant_in_front_of_the_critic_cancels():
    positive, negative = board(5, 9)
    for bound in (bounds.cpc, bounds.ml_cpc):
        shifted = bound(positive - 3.7, negative - 3.7, 0.5)
        assert abs(bound(positive, negative, 0.5) - shifted) < 1e-10


def test_weight_zero_trains_plain_distillation():
    positive, negative = board(5, 9)
    student = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    embedding = positive.requires_grad_()
    plain = functional.cross_entropy(student, torch.tensor([0, 1, 2]))
    for weight in (0.0, 0.8):  # the example command, and the one that the loss was published with
        total = plain - weight * bounds.ml_cpc(embedding, negative)
        of_embedding, of_student = torch.autograd.grad(
            total, (embedding, student), retain_graph=True
        )
        assert torch.equal(of_student, torch.autograd.grad(plain, student, retain_graph=True)[0])
        assert bool((of_embedding == 0).all()) == (weight == 0)


def test_the_staircase_starts_with_one_step_at_zero():
    schedule = np.round(np.linspace(0.5, 5.5 - 1e-9, 20_000)) * 2
    assert schedule[0] == 0 and (schedule == 2).sum() == 3999 and (schedule == 10).sum() == 4000


def test_negatives_from_the_batch_are_not_the_design_of_the_proof():
    joint = exact.Joint([[0.4, 0.1], [0.05, 0.45]])
    critic = torch.tensor([[1.0, -0.5], [0.2, 0.9]])
    values = [
        exact.expected(bounds.ml_cpc, joint, critic, 2, 2, 2 / 3, design).item()
        for design in exact.DESIGNS
    ]
    assert len({round(value, 6) for value in values}) == 3
    # CPC sees one row at a time, and a row does not know where its negatives come from.
    rows = [
        exact.expected(bounds.cpc, joint, critic, 2, 2, 1.0, design).item()
        for design in ("shared", "in_batch")
    ]
    assert abs(rows[0] - rows[1]) < 1e-12


def test_at_equal_alpha_and_scores_one_normaliser_is_not_tighter():
    for seed in range(100):
        positive, negative = board(4, 6, seed)
        for alpha in (0.1, 1.0):
            shared = bounds.ml_cpc(positive, negative, alpha)
            assert shared <= bounds.cpc(positive, negative, alpha) + 1e-12


def test_a_queue_larger_than_the_data_set_meets_the_anchors_own_image():
    def share_with_own_key(images, queue):
        """Share of the anchors of an epoch with an old key of their own image in the queue."""
        rng = np.random.default_rng(0)
        order = np.concatenate([rng.permutation(images) for _ in range(4)])
        epoch = range(3 * images, 4 * images)
        return np.mean([order[now] in order[now - queue : now] for now in epoch])

    # The sizes of the command, and of a small queue, a hundred times smaller.
    assert share_with_own_key(500, 655) > 0.7
    assert share_with_own_key(500, 41) < 0.05
