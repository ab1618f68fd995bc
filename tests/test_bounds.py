"""The equations against naive transcriptions, laws, gradients and bad input."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcpc import bounds, exact

INF = math.inf


def scores(n, m, seed=0, batch=(), scale=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    positive = torch.randn(*batch, n, generator=generator, dtype=torch.float64)
    negative = torch.randn(*batch, n, m - 1, generator=generator, dtype=torch.float64)
    return (scale * positive).to(dtype), (scale * negative).to(dtype)


def naive_cpc(positive, negative, alpha):
    n, m = positive.shape[0], negative.shape[1] + 1
    beta = (m - alpha) / (m - 1)
    total = 0.0
    for i in range(n):
        g_ii = math.exp(positive[i])
        others = sum(math.exp(negative[i, k]) for k in range(m - 1))
        total += math.log(m * g_ii / (alpha * g_ii + beta * others))
    return total / n


def naive_ml_cpc(positive, negative, alpha):
    n, m = positive.shape[0], negative.shape[1] + 1
    beta = (m - alpha) / (m - 1)
    z = alpha * sum(math.exp(positive[j]) for j in range(n))
    z += beta * sum(math.exp(negative[j, k]) for j in range(n) for k in range(m - 1))
    return sum(math.log(n * m * math.exp(positive[i]) / z) for i in range(n)) / n


sizes = st.tuples(st.integers(1, 5), st.integers(2, 5))
seeds = st.integers(0, 10_000)
shares = st.floats(1e-4, 1.0)  # α/m


@pytest.mark.parametrize("bound, naive", [(bounds.cpc, naive_cpc), (bounds.ml_cpc, naive_ml_cpc)])
@given(size=sizes, seed=seeds, share=shares)
@settings(deadline=None, max_examples=60)
def test_equals_the_formula_written_as_loops(bound, naive, size, seed, share):
    n, m = size
    positive, negative = scores(n, m, seed, scale=2.0)
    value = bound(positive, negative, share * m)
    assert abs(value.item() - naive(positive, negative, share * m)) < 1e-10


@given(size=sizes, seed=seeds)
@settings(deadline=None, max_examples=40)
def test_donsker_varadhan_and_nwj_equal_their_formulas(size, seed):
    n, m = size
    positive, negative = scores(n, m, seed)
    exponential = [math.exp(f) for f in negative.flatten()]
    mean = sum(exponential) / len(exponential)
    expected = sum(positive.tolist()) / n
    assert abs(bounds.donsker_varadhan(positive, negative) - expected + math.log(mean)) < 1e-10
    assert abs(bounds.nwj(positive, negative) - expected + mean / math.e) < 1e-10


@pytest.mark.parametrize("bound", [bounds.cpc, bounds.ml_cpc])
@given(size=sizes, seed=seeds, share=shares, scale=st.floats(0, 50))
@settings(deadline=None, max_examples=60)
def test_never_above_the_ceiling(bound, size, seed, share, scale):
    n, m = size
    alpha = share * m
    positive, negative = scores(n, m, seed, scale=scale)
    assert bound(positive, negative, alpha) <= bounds.ceiling(m, alpha) + 1e-9
    separated = bound(positive * 0 + 1e3, negative * 0 - 1e3, alpha)
    assert abs(separated - bounds.ceiling(m, alpha)) < 1e-9


@given(size=sizes, seed=seeds, share=shares)
@settings(deadline=None, max_examples=40)
def test_laws(size, seed, share):
    n, m = size
    alpha = share * m
    positive, negative = scores(n, m, seed)
    rows = torch.arange(n, dtype=torch.float64)
    l_alpha, j_alpha = (
        bounds.cpc(positive, negative, alpha),
        bounds.ml_cpc(positive, negative, alpha),
    )
    # Constant scores carry no information.
    flat = (positive * 0 + 3, negative * 0 + 3)
    assert abs(bounds.cpc(*flat, alpha)) < 1e-12 and abs(bounds.ml_cpc(*flat, alpha)) < 1e-12
    # CPC ignores a constant of each row; ML-CPC only one constant for all.
    shifted = (positive + rows, negative + rows[:, None])
    assert abs(bounds.cpc(*shifted, alpha) - l_alpha) < 1e-10
    assert abs(bounds.ml_cpc(positive + 2, negative + 2, alpha) - j_alpha) < 1e-10
    if n > 1 and alpha < m:
        assert abs(bounds.ml_cpc(*shifted, alpha) - j_alpha) > 1e-6
    # One normaliser for all anchors is never tighter than one for each.
    assert j_alpha <= l_alpha + 1e-12
    if n == 1:
        assert abs(j_alpha - l_alpha) < 1e-12


def test_flat_softmax_is_ml_cpc():
    positive, negative = scores(4, 6)
    logits = torch.cat([positive[:, None], negative], 1).flatten()
    target = torch.zeros(4, 6, dtype=torch.float64)
    target[:, 0] = 1 / 4
    cross_entropy = torch.nn.functional.cross_entropy(logits, target.flatten())
    assert abs(bounds.ml_cpc(positive, negative) - (math.log(24) - cross_entropy)) < 1e-12


def test_row_softmax_is_cpc():
    matrix = torch.randn(7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    cross_entropy = torch.nn.functional.cross_entropy(matrix, torch.arange(7))
    assert abs(bounds.cpc(*bounds.split(matrix)) - (math.log(7) - cross_entropy)) < 1e-12


@pytest.mark.parametrize("batch", [(), (1,), (3, 2)])
def test_split_keeps_row_order(batch):
    count = math.prod(batch) * 16
    matrix = torch.arange(count, dtype=torch.float64).view(*batch, 4, 4)
    positive, negative = bounds.split(matrix)
    assert negative.shape == (*batch, 4, 3)
    for i in range(4):
        assert torch.equal(positive[..., i], matrix[..., i, i])
        others = [j for j in range(4) if j != i]
        assert torch.equal(negative[..., i, :], matrix[..., i, others])


@pytest.mark.parametrize("bound", [bounds.cpc, bounds.ml_cpc])
def test_leading_dimensions_are_batch_and_broadcast(bound):
    positive, negative = scores(3, 4, batch=(2, 5))
    value = bound(positive, negative, 0.5)
    assert value.shape == (2, 5)
    single = bound(positive[1, 4], negative[1, 4], 0.5)
    assert abs(value[1, 4] - single) < 1e-12
    outer = bound(positive[:, :1], negative[:1], 0.5)
    assert outer.shape == (2, 5)
    assert abs(outer[1, 3] - bound(positive[1, 0], negative[0, 3], 0.5)) < 1e-12


@pytest.mark.parametrize("bound", [bounds.cpc, bounds.ml_cpc])
def test_alpha_may_differ_over_the_batch(bound):
    positive, negative = scores(3, 4, batch=(2,))
    value = bound(positive, negative, torch.tensor([0.1, 2.0]))
    assert abs(value[0] - bound(positive[0], negative[0], 0.1)) < 1e-6
    assert abs(value[1] - bound(positive[1], negative[1], 2.0)) < 1e-12


ALL = [
    bounds.cpc,
    bounds.ml_cpc,
    lambda p, q: bounds.cpc(p, q, 0.1),
    lambda p, q: bounds.ml_cpc(p, q, 0.1),
    bounds.donsker_varadhan,
    bounds.nwj,
]


@pytest.mark.parametrize("bound", ALL)
def test_gradients_equal_finite_differences(bound):
    positive, negative = scores(3, 4)
    assert torch.autograd.gradcheck(
        bound, (positive.requires_grad_(), negative.requires_grad_()), atol=1e-7
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("bound", [bounds.cpc, bounds.ml_cpc])
@pytest.mark.parametrize("size", [1e4, -1e4])
@pytest.mark.parametrize("alpha", [1e-3, 1.0, 4.0])
def test_extreme_scores_are_finite_in_every_dtype(dtype, bound, size, alpha):
    positive = torch.tensor([size, 0.0, -size], dtype=dtype, requires_grad=True)
    negative = torch.full((3, 3), size, dtype=dtype, requires_grad=True)
    value = bound(positive, negative, alpha)
    value.backward()
    assert value.isfinite() and value.dtype == torch.promote_types(dtype, torch.float32)
    assert positive.grad.isfinite().all() and negative.grad.isfinite().all()


@pytest.mark.parametrize("dtype, bound_on_error", [(torch.float16, 5e-3), (torch.bfloat16, 4e-2)])
@pytest.mark.parametrize("bound", [bounds.cpc, bounds.ml_cpc])
def test_half_precision_only_loses_the_rounding_of_the_scores(dtype, bound_on_error, bound):
    positive, negative = scores(64, 64, scale=3.0)
    value = bound(positive.to(dtype), negative.to(dtype), 0.1)
    assert abs(value - bound(positive, negative, 0.1)) < bound_on_error


RIVALS = {
    "donsker_varadhan": {}, "nwj": {}, "jensen_shannon": {}, "nwj_by_jensen_shannon": {},
    "smile": {"clip": 1.0}, "tuba": {"log_baseline": torch.full((3,), 0.3, dtype=torch.float64)},
    "interpolated": {"log_baseline": torch.full((3,), 0.3, dtype=torch.float64), "weight": 0.4},
    "cpc": {"alpha": 0.7}, "ml_cpc": {"alpha": 0.7},
}  # fmt: skip


@pytest.mark.parametrize("name", RIVALS)
def test_negatives_that_are_left_out_are_as_if_they_had_not_been_there(name):
    bound, options = getattr(bounds, name), RIVALS[name]
    positive, negative = scores(3, 5)
    padded = torch.cat([negative, torch.full((3, 2), -INF, dtype=torch.float64)], dim=1)
    padded[1] = padded[1].flip(0)
    padded.requires_grad_(), positive.requires_grad_()
    value = bound(positive, padded, **options)
    assert abs(value - bound(positive, negative, **options)) < 1e-10
    value.backward()
    assert positive.grad.isfinite().all() and padded.grad.isfinite().all()
    assert (padded.grad[padded.detach() == -INF] == 0).all()


@pytest.mark.parametrize("bound", [bounds.cpc, bounds.ml_cpc])
@pytest.mark.parametrize("alpha", [0.1, 1.0, 2.0])
def test_each_row_counts_what_is_left_of_it(bound, alpha):
    positive, negative = scores(3, 4)
    negative[0, 1:] = -INF  # one negative left: m = 2
    negative[1, 2] = -INF
    rows = [bounds.cpc(positive[i : i + 1], row[row > -INF][None], alpha)
            for i, row in enumerate(negative)]  # fmt: skip
    expected = sum(rows) / 3
    if bound is bounds.ml_cpc:  # log of the mean of Z_i / m_i
        normalisers = torch.stack([(positive[i] - row).exp() for i, row in enumerate(rows)])
        expected = positive.mean() - normalisers.mean().log()
    assert abs(bound(positive, negative, alpha) - expected) < 1e-10
    if bound is bounds.ml_cpc:
        assert bound(positive, negative, alpha) <= bounds.cpc(positive, negative, alpha) + 1e-12


@pytest.mark.parametrize("bound", [bounds.cpc, bounds.ml_cpc])
def test_masked_scores_without_information_give_zero(bound):
    masked = torch.zeros(4, 4).masked_fill(torch.arange(4) > 0, -INF)
    assert abs(bound(torch.zeros(4), masked)) < 1e-6


@pytest.mark.parametrize("bound", [bounds.cpc, bounds.ml_cpc])
def test_a_row_with_nothing_left_and_a_weight_above_what_is_left_are_named(bound):
    positive, negative = scores(3, 4)
    negative[0, 2:] = -INF
    with pytest.raises(ValueError, match="alpha is 3.5; valid: 0 < alpha <= m = 3"):
        bound(positive, negative, 3.5)
    negative[2] = -INF
    with pytest.raises(ValueError, match="negative is −inf throughout row 2; valid"):
        bound(positive, negative)


@pytest.mark.parametrize("bound", [bounds.cpc, bounds.ml_cpc])
def test_a_critic_of_zero_on_positives_gives_minus_infinity(bound):
    assert bound(torch.tensor([0.0, -INF]), torch.zeros(2, 3)) == -INF


@pytest.mark.parametrize("bound", [bounds.cpc, bounds.ml_cpc])
def test_compiled_equals_eager(bound):
    positive, negative = scores(3, 4)
    compiled = torch.compile(lambda p, q: bound(p, q, 0.3), backend="eager", fullgraph=True)
    assert torch.equal(compiled(positive, negative), bound(positive, negative, 0.3))


def test_alpha_min_and_ceiling():
    assert bounds.alpha_min(1, 7) == 1.0
    assert bounds.alpha_min(2, 2) == 2 / 3
    for n, m in [(2, 3), (128, 128), (256, 65537)]:
        alpha = bounds.alpha_min(n, m)
        beta = (m - alpha) / (m - 1)
        assert abs(alpha * n - beta) < 1e-12  # a positive of n weighs as much as a negative
        assert abs(bounds.ceiling(m, alpha) - math.log(n * (m - 1) + 1)) < 1e-12


def test_alpha_batch_makes_the_board_an_average_of_sub_boards():
    printed = {2: 0.7358, 3: 0.5518, 4: 0.4905, 8: 0.2943, 32: 0.0866, 128: 0.02264}
    for n, value in printed.items():
        assert abs(bounds.alpha_batch(n) - value) < 1e-4 * value + 5e-5
    for n in range(2, 300):
        a, alpha = (n - 1) // 2, bounds.alpha_batch(n)
        b = n - 1 - a
        beta, tau = (n - alpha) / (n - 1), 2 / math.e
        c = tau * b / (b + 1 - tau)
        total = (a + 1) * (b + c)
        # Mean weight of a cell over all sub-boards, on and off the diagonal.
        assert abs(alpha * total / n**2 - c / n) < 1e-12 * c / n
        off = (b + c * a + a * b) / (n * (n - 1))
        assert abs(beta * total / n**2 - off) < 1e-12 * off
        assert abs(bounds.ceiling(n, alpha) - math.log((a + 1) * (b + 1) * math.e / 2)) < 1e-12
        assert alpha < min(8 / math.e / n, 8 / math.e * bounds.alpha_min(n, n))
    assert abs(bounds.ceiling(128, bounds.alpha_batch(128)) - 8.64) < 0.005


def test_alpha_safe_of_each_design():
    two_over_e = 2 / math.e
    for n, m in [(1, 2), (1, 9), (2, 2), (3, 5), (128, 128)]:
        smallest = bounds.alpha_min(n, m)
        assert bounds.alpha_safe("independent", n, m) == two_over_e * smallest
        assert bounds.alpha_safe("shared", n, m) == (smallest if n > 1 else two_over_e)
        for design in ("independent", "shared"):
            assert bounds.alpha_safe(design, n, m, normaliser="row") == two_over_e
        if n == m:
            assert bounds.alpha_safe("in_batch", n, n) == bounds.alpha_batch(n)
            assert bounds.alpha_safe("in_batch", n, n, "row") == two_over_e


@pytest.mark.parametrize("n, m, design, normaliser", [
    (1, 2, "shared", "row"),
    (1, 4, "independent", "row"),
    (2, 2, "independent", "batch"),
    (2, 3, "shared", "batch"),
    (3, 2, "independent", "batch"),
    (2, 2, "in_batch", "batch"),
    (3, 3, "in_batch", "batch"),
    (3, 3, "in_batch", "row"),
])  # fmt: skip
def test_no_search_breaks_a_safe_weight(n, m, design, normaliser):
    bound = bounds.cpc if normaliser == "row" else bounds.ml_cpc
    alpha = bounds.alpha_safe(design, n, m, normaliser)
    found = exact.search(bound, n, m, alpha, design, restarts=8, steps=60)
    assert found.gap < 1e-9
    letters = exact.Joint(torch.eye(2, dtype=torch.float64) / 2)
    match = 30 * torch.eye(2, dtype=torch.float64)
    near = exact.search(bound, n, m, alpha, design, restarts=4, steps=20, start=(letters, match))
    assert near.gap < 1e-9


def test_weights_a_little_below_the_proved_ones_are_broken():
    copy2, copy3 = (exact.Joint(torch.eye(K, dtype=torch.float64) / K) for K in (2, 3))
    for letters, n, alpha, excess in [(copy2, 2, 0.45, 0.05), (copy3, 3, 0.30, 0.02)]:
        match = -60.0 * (1 - torch.eye(n, dtype=torch.float64))
        J = exact.expected(bounds.ml_cpc, letters, match, n, n, alpha, "in_batch")
        assert J - letters.mi > excess and alpha < bounds.alpha_safe("in_batch", n, n)
    # CPC with two candidates, at 0.72 in place of 2/e: letters that avoid their own copy.
    other = 1 - torch.eye(50, dtype=torch.float64)
    L = exact.expected(bounds.cpc, exact.Joint(other / 2450), other.log(), 1, 2, 0.72, "shared")
    assert 2e-4 < L - math.log(50 / 49) < 3e-4
    L = exact.expected(
        bounds.cpc, exact.Joint(other / 2450), other.log(), 1, 2, bounds.TWO_OVER_E, "shared"
    )
    assert L < math.log(50 / 49)


def test_skew_bias_at_its_ends():
    ratio = torch.randn(1000, dtype=torch.float64)
    assert abs(bounds.skew_bias(ratio, 8, 8.0) - ratio.mean()) < 1e-12
    assert abs(bounds.skew_bias(ratio, 8, 1e-12)) < 1e-9
    expected = torch.log(1 - 0.25 + 0.25 * ratio.exp()).mean()
    assert abs(bounds.skew_bias(ratio, 8, 2.0) - expected) < 1e-12


BAD_SCORES = [
    ((torch.zeros(0), torch.zeros(0, 2)), "positive"),
    ((torch.tensor(1.0), torch.zeros(1, 2)), "positive"),
    ((torch.zeros(3), torch.zeros(3, 0)), "negative"),
    ((torch.zeros(3), torch.zeros(3)), "negative"),
    ((torch.zeros(3), torch.zeros(4, 2)), "negative"),
    ((torch.zeros(2, 3), torch.zeros(5, 3, 2)), "negative"),
    ((torch.tensor([0.0, math.nan]), torch.zeros(2, 2)), "positive contains nan"),
    ((torch.tensor([0.0, INF]), torch.zeros(2, 2)), "positive contains inf"),
    ((torch.zeros(2), torch.tensor([[0.0, math.nan], [0.0, 0.0]])), "negative contains nan"),
    ((torch.zeros(2), torch.tensor([[0.0, INF], [0.0, 0.0]])), "negative contains inf"),
    ((torch.zeros(2, dtype=torch.long), torch.zeros(2, 2)), "positive is torch.int64"),
    (([0.0], torch.zeros(1, 2)), "positive is list"),
]


@pytest.mark.parametrize("bound", [bounds.cpc, bounds.ml_cpc, bounds.donsker_varadhan, bounds.nwj])
@pytest.mark.parametrize("arguments, message", BAD_SCORES)
def test_bad_scores_are_named(bound, arguments, message):
    with pytest.raises(ValueError, match=f"^{message}.*; valid: "):
        bound(*arguments)


@pytest.mark.parametrize("bound", [bounds.cpc, bounds.ml_cpc])
@pytest.mark.parametrize("alpha", [0, -0.5, 4.001, math.nan, INF, "1", torch.tensor([1.0, 9.0])])
def test_bad_alpha_is_named(bound, alpha):
    with pytest.raises(ValueError, match=r"(?s)^alpha is .*; valid: 0 < alpha <= m = 4"):
        bound(torch.zeros(2, 3), torch.zeros(2, 3, 3), alpha)


@pytest.mark.parametrize("call, message", [
    (lambda: bounds.alpha_min(0, 2), "n is 0; valid: an integer of at least 1"),
    (lambda: bounds.alpha_min(1, 1), "m is 1; valid: an integer of at least 2"),
    (lambda: bounds.ceiling(1), "m is 1; valid"),
    (lambda: bounds.ceiling(2, 3), "alpha is 3; valid: 0 < alpha <= m = 2"),
    (lambda: bounds.alpha_batch(1), "n is 1; valid: an integer of at least 2"),
    (lambda: bounds.alpha_safe("fresh", 2, 2), "negatives is 'fresh'; valid: independent, shared"),
    (lambda: bounds.alpha_safe("shared", 2, 2, "all"), "normaliser is 'all'; valid: 'batch'"),
    (lambda: bounds.alpha_safe("in_batch", 2, 3), "m is 3; valid with negatives .*: m = n = 2"),
    (lambda: bounds.alpha_safe("shared", 0, 2), "n is 0; valid"),
    (lambda: bounds.split(torch.zeros(3)), "scores has shape"),
    (lambda: bounds.split(torch.zeros(2, 3)), "scores has shape"),
    (lambda: bounds.split(torch.zeros(1, 1)), "scores has shape"),
    (lambda: bounds.skew_bias(torch.tensor([math.nan]), 2), "log_ratio contains nan"),
])  # fmt: skip
def test_bad_sizes_are_named(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
