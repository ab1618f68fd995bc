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
from mlcpc.book import laws

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
    elsewhere = re.findall(
        r"^def (test_\w+)", (Path(__file__).parent / "test_statistics.py").read_text(), re.M
    )
    assert here <= named and named - here <= set(elsewhere)


def test_two_alphas_of_the_figure_are_below_the_guarantee():
    alphas = [1, 0.1, 0.01, 0.001, 0.0001]
    outside = [alpha for alpha in alphas if alpha < bounds.alpha_min(128, 128)]
    assert outside == [0.001, 0.0001]
    assert all(alpha < bounds.alpha_min(128, 128) / 2 for alpha in outside)
    # The negatives of the figure come from the batch: there one more is not proved.
    proved = [alpha for alpha in alphas if alpha >= bounds.alpha_safe("in_batch", 128, 128)]
    assert proved == [1, 0.1]


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


def sharp_limit():
    """n (J − limit) at n = 16 over its value for many anchors, one for each table."""
    generator = torch.Generator().manual_seed(0)
    raw = torch.rand(10, 2, 2, generator=generator, dtype=torch.float64)
    joints = exact.Joint(raw / raw.sum((-2, -1), keepdim=True))
    f = torch.randn(10, 2, 2, generator=generator, dtype=torch.float64)
    a, g = 0.3, f.exp()
    mu = (g * (a * joints.table + (1 - a) * joints.product)).sum((-2, -1))

    def square(positive, negative, alpha):
        return (a * positive.exp().mean(-1) + (1 - a) * negative.exp().mean((-2, -1))) ** 2

    variance = exact.expected(square, joints, f, 1, 2, 2 * a) - mu**2
    J = exact.expected(bounds.ml_cpc, joints, f, 16, 2, 2 * a)
    limit = (joints.table * f).sum((-2, -1)) - mu.log()
    return 16 * (J - limit) / (variance / (2 * mu**2))


def test_alpha_min_is_not_the_smallest_weight_of_independent_negatives():
    for n, m in [(2, 2), (3, 3), (128, 128)]:
        ratio = bounds.alpha_safe("independent", n, m) / bounds.alpha_min(n, m)
        assert abs(ratio - 2 / math.e) < 1e-12
    assert bounds.alpha_safe("shared", 1, 5) == bounds.alpha_safe("in_batch", 2, 2) == 2 / math.e


def test_violations_go_on_beyond_letters_that_never_meet():
    p = np.linspace(0.2, 0.99, 400)
    for m, factor in [(3, 1.002), (4, 1.005), (5, 1.005), (8, 1.005)]:
        alpha = factor * laws.never_meet_edge(1, m)
        assert laws.two_point_gap(alpha, m, p).max() > 4e-5
        assert alpha < laws.two_point(m)
    assert laws.two_point(2) == bounds.TWO_OVER_E  # for two candidates they do end there
    assert abs(laws.never_meet_edge(1, 2) - bounds.TWO_OVER_E) < 1e-15


def test_checks_of_weights_break_beside_their_constants():
    rare = torch.tensor([[1e-200, 1.0], [0.02, 0.98]], dtype=torch.float64).log()
    assert laws.log_phi(rare[0], rare[1], 0.72, 2) > 2e-4  # CPC, two candidates: 2/e is sharp
    assert laws.log_phi(rare[0], rare[1], 2 / math.e, 2) < 0
    for n, alpha, excess in [(2, 0.45, 0.05), (3, 0.30, 0.02), (3, 0.32, 0.002)]:
        assert laws.copy_gap(n, n, alpha) > excess  # in the batch
        assert laws.copy_gap(n, n, bounds.alpha_batch(n)) < 0
    # Independent negatives: a twin at nine tenths of alpha_min would be a true statement.
    assert bounds.alpha_safe("independent", 3, 3) < 0.9 * bounds.alpha_min(3, 3)


def test_the_limit_of_many_anchors_has_its_exact_constant():
    ratio = sharp_limit()
    assert ((ratio - 1).abs() < 0.1).all()
    assert not ((10 * ratio - 1).abs() < 0.1).any()  # a constant ten times smaller is caught


def test_skew_bias_is_of_the_supremum_of_the_limit():
    assert r"\sup_f \lim" in bounds.skew_bias.__doc__
    joint = exact.Joint([[0.45, 0.05], [0.05, 0.45]])
    M = (joint.table + joint.product) / 2
    best = (joint.table / M).log()
    limit = (joint.table * best).sum()
    J = [exact.expected(bounds.ml_cpc, joint, best, n, 2, 1.0) for n in (1, 2, 4)]
    assert J[0] > J[1] > J[2] > limit + 1e-3  # so no supremum at these n is the limit's


def test_one_batch_and_a_small_weight_may_exceed_the_line():
    intro = (PAGE.parent / "intro.md").read_text()
    assert "On average, no estimate" not in intro and "a lower bound from one batch" not in intro
    joint = exact.Joint([[0.5, 0.0], [0.0, 0.5]])
    one = bounds.ml_cpc(*bounds.split(torch.tensor([[0.0, -60.0], [-60.0, 0.0]])), 0.74)
    assert one > joint.mi + 0.2  # two different letters: one batch says more than there is
    assert laws.copy_gap(2, 2, 0.45) > 0.05  # and here the mean does


def test_the_best_critic_is_not_attained_where_the_ratio_is_zero():
    table = torch.tensor([[0.5, 0.0], [0.2, 0.3]], dtype=torch.float64)
    joint, a = exact.Joint(table), 0.3
    M = a * table + (1 - a) * joint.product
    supremum = torch.xlogy(table, table / M).sum()
    missing = []
    for eps in (1e-2, 1e-4, 1e-6):
        g = (table / M).clamp(min=eps)
        missing.append(supremum - torch.xlogy(table, g).sum() + (M * g).sum().log())
    assert missing[0] > missing[1] > missing[2] > 0 and missing[2] < 1e-5


def test_the_notation_page_lists_letters_with_several_meanings():
    page = (PAGE.parent / "notation.md").read_text()
    listed = page[page.index("## Letters of a single page") :]
    for letter in ("a", "S", "M", "h", r"\varphi", "c", "k", "K"):
        row = re.search(rf"^\| \${re.escape(letter)}\$ \| (.*) \|$", listed, re.M)
        assert row and ";" in row.group(1)
    assert "The same letter means the same thing on every page" not in page


def test_three_twins_strengthen_their_statements():
    joint = exact.Joint([[0.5, 0.0], [0.0, 0.5]])
    # I ≤ min(H(X), H(Y)), and not with any smaller factor: the copy has equality.
    assert abs(joint.mi - math.log(2)) < 1e-12
    # Donsker-Varadhan ≤ I, and not ≤ 0.99 I: the log ratio has equality.
    table = exact.Joint([[0.4, 0.1], [0.1, 0.4]])
    value = (table.table * table.log_ratio).sum() - (
        table.product * table.log_ratio.exp()
    ).sum().log()
    assert abs(value - table.mi) < 1e-12 and value > 0.99 * table.mi
    # The mean share is 1/N with independent negatives, and not with every design: shared anchors
    # whose rows have different laws stay below. Here g = x with x in {0, 1}, n = m = 2.
    share = 0.0
    for mine, other in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        total = 2 * mine + other
        share += (mine / total if total else 1 / 3) / 4
    assert share < 1 / 3 - 0.01


def test_two_views_of_an_image_are_no_independent_candidates():
    n, clash = 8, -60.0  # eight images of two letters, both views equal: g = 1 on a match, else 0
    letters = torch.cartesian_prod(*[torch.arange(2)] * n)
    other = torch.where(letters[:, 1:] == letters[:, :1], 0.0, clash).double()
    positive = torch.zeros(len(letters), 1, dtype=torch.float64)
    nt_xent = bounds.cpc(positive, torch.cat([other, other], 1)[:, None]).mean()
    assert nt_xent - math.log(2) > 2e-3  # log 15 minus the loss
    assert nt_xent - math.log(2 * n - 1) + math.log(n) < math.log(2)
    assert bounds.cpc(positive, other[:, None]).mean() < math.log(2)  # one view of each other image


def test_the_relatives_are_named():
    page = (PAGE.parent / "other_losses.md").read_text()
    keys = set(re.findall(r"{cite}`(\w+)`", page))
    written = set(re.findall(r"^@\w+{(\w+),", (PAGE.parent / "references.bib").read_text(), re.M))
    assert {
        "yamada2011relative",
        "lee2022renyicl",
        "guo2022flo",
        "chuang2020debiased",
        "robinson2021hard",
        "yeh2022decoupled",
        "zhai2023siglip",
        "khosla2020supcon",
    } <= keys
    assert keys <= written
    assert all(f"**{name}" in page for name in ("RényiCL", "FLO", "SigLIP", "SupCon"))
