"""Exact expectations against brute force, the theorem on random joints, and the search."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcpc import bounds, exact
from mlcpc.experiments import boundary

TABLE = [[0.3, 0.1], [0.15, 0.45]]


def random_pairs(count, a, b, seed):
    """Joints from nearly uniform to nearly deterministic, with critics of every size."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(2, count, a, b, generator=generator, dtype=torch.float64)
    spread = torch.logspace(-1, 0.7, count, dtype=torch.float64)[:, None, None]
    table = (draw[0] * spread).flatten(1).softmax(1).view(count, a, b)
    return exact.Joint(table), draw[1] * spread.flip(0) * 2


def brute_force(bound, joint, log_critic, n, m, alpha, negatives):
    """Every ordered draw, one after the other, with no grouping."""
    a, b = joint.table.shape
    p_x, p_y = (marginal.tolist() for marginal in joint.marginals)
    cells = list(itertools.product(range(a), range(b)))
    total = 0.0
    for positives in itertools.product(cells, repeat=n):
        p = math.prod(joint.table[x, y].item() for x, y in positives)
        if negatives == "in_batch":
            options = [
                [
                    [[(x, positives[k][1]) for k in range(n) if k != j]]
                    for j, (x, _) in enumerate(positives)
                ]
            ]
            boards = [[row[0] for row in options[0]]]
        elif negatives == "shared":
            rows = [
                [[(x, y) for y in ys] for ys in itertools.product(range(b), repeat=m - 1)]
                for x, _ in positives
            ]
            boards = itertools.product(*rows)
        else:
            rows = [list(itertools.product(cells, repeat=m - 1))] * n
            boards = itertools.product(*rows)
        for board in boards:
            q = {
                "in_batch": lambda pair: 1.0,
                "shared": lambda pair: p_y[pair[1]],
                "independent": lambda pair: p_x[pair[0]] * p_y[pair[1]],
            }[negatives]
            probability = p * math.prod(q(pair) for row in board for pair in row)
            f_p = torch.stack([log_critic[x, y] for x, y in positives])
            f_n = torch.stack([torch.stack([log_critic[x, y] for x, y in row]) for row in board])
            total += probability * bound(f_p, f_n, alpha).item()
    return total


# In the batch m = n; independent draws at n = m = 3 are too many for a loop.
SIZES = [
    (n, m, negatives)
    for n, m in [(1, 2), (1, 3), (2, 2), (2, 3), (3, 3)]
    for negatives in exact.DESIGNS
    if (n == m or negatives != "in_batch") and (n, m, negatives) != (3, 3, "independent")
]


@pytest.mark.parametrize("bound", [bounds.cpc, bounds.ml_cpc])
@pytest.mark.parametrize("n, m, negatives", SIZES)
def test_equals_brute_force(bound, n, m, negatives):
    joint, critic = random_pairs(1, 2, 2, seed=n + m)
    joint, critic = exact.Joint(joint.table[0]), critic[0]
    value = exact.expected(bound, joint, critic, n, m, 0.7, negatives)
    assert abs(value - brute_force(bound, joint, critic, n, m, 0.7, negatives)) < 1e-10


def test_alphabets_of_different_sizes_equal_brute_force():
    joint = exact.Joint([[0.1, 0.2, 0.05], [0.3, 0.05, 0.3]])
    critic = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    for negatives in exact.DESIGNS:
        value = exact.expected(bounds.ml_cpc, joint, critic, 2, 2, 0.7, negatives)
        truth = brute_force(bounds.ml_cpc, joint, critic, 2, 2, 0.7, negatives)
        assert abs(value - truth) < 1e-10


def test_cpc_does_not_depend_on_the_number_of_anchors():
    joint, critic = random_pairs(4, 2, 2, seed=0)
    for negatives in ("independent", "shared"):
        one = exact.expected(bounds.cpc, joint, critic, 1, 3, 0.5, negatives)
        three = exact.expected(bounds.cpc, joint, critic, 3, 3, 0.5, negatives)
        assert torch.allclose(one, three, rtol=0, atol=1e-12)


def test_probabilities_of_the_draws_sum_to_one():
    joint, critic = random_pairs(8, 3, 2, seed=1)

    def one(positive, negative, alpha):
        return (positive.sum(-1) + negative.sum((-2, -1))) * 0 + 1

    for negatives in exact.DESIGNS:
        total = exact.expected(one, joint, critic, 3, 3, 1.0, negatives)
        assert torch.allclose(total, torch.ones(8, dtype=torch.float64), rtol=0, atol=1e-12)


def test_batches_and_tensors_of_alpha_equal_single_calls():
    joint, critic = random_pairs(3, 2, 3, seed=2)
    alpha = torch.tensor([0.3, 1.0, 2.0], dtype=torch.float64)
    values = exact.expected(bounds.ml_cpc, joint, critic, 2, 2, alpha, "shared")
    for k in range(3):
        single = exact.expected(
            bounds.ml_cpc, exact.Joint(joint.table[k]), critic[k], 2, 2, alpha[k].item(), "shared"
        )
        assert abs(values[k] - single) < 1e-12


def test_zero_probabilities_and_an_infinite_best_critic():
    joint = exact.Joint([[0.5, 0.0], [0.0, 0.5]])
    for negatives in exact.DESIGNS:
        value = exact.expected(bounds.cpc, joint, joint.log_ratio, 2, 2, 1.0, negatives)
        # A copy of one bit: the negative is told apart exactly when it differs.
        assert abs(value - math.log(2) / 2) < 1e-12


@pytest.mark.parametrize("negatives", ["independent", "shared"])
@pytest.mark.parametrize("alphabet", [(2, 2), (3, 3)])
@pytest.mark.parametrize("size", [(2, 2), (2, 3), (3, 2), (3, 3)])
def test_theorem_on_a_thousand_joints_and_critics(negatives, alphabet, size):
    n, m = size
    lowest = bounds.alpha_min(n, m)
    joint, critic = random_pairs(1000, *alphabet, seed=10 * n + m)
    # Half of the critics are near the best one, where the bound is tight.
    critic[::2] = joint.log_ratio[::2] + 0.1 * critic[::2]
    for alpha in (lowest, (lowest + 1) / 2, 1.0):
        for part in range(0, 1000, 100):
            some = exact.Joint(joint.table[part : part + 100])
            value = exact.expected(
                bounds.ml_cpc, some, critic[part : part + 100], n, m, alpha, negatives
            )
            assert (value - some.mi).max() <= 1e-9


@pytest.mark.parametrize("negatives", exact.DESIGNS)
@pytest.mark.parametrize("size, least", [(2, 1e-2), (3, 1e-3)])
def test_search_breaks_the_bound_at_half_alpha_min(negatives, size, least):
    alpha = bounds.alpha_min(size, size) / 2
    worst = exact.search(bounds.ml_cpc, size, size, alpha, negatives, steps=150)
    assert worst.gap > least
    # The find is a counter-example by itself, whatever the search did.
    value = exact.expected(
        bounds.ml_cpc, worst.joint, worst.log_critic, size, size, alpha, negatives
    )
    assert abs(value - worst.joint.mi - worst.gap) < 1e-9


@pytest.mark.parametrize("negatives", exact.DESIGNS)
@pytest.mark.parametrize("size", [(2, 2), (3, 3)])
@pytest.mark.parametrize("alphabet", [(2, 2), (3, 3)])
def test_search_does_not_break_the_bound_at_alpha_min(negatives, size, alphabet):
    if (size, alphabet) == ((3, 3), (3, 3)) and negatives == "independent":
        alphabet = (2, 3)  # half a million draws a step would take minutes
    worst = exact.search(
        bounds.ml_cpc, *size, bounds.alpha_min(*size), negatives, alphabet, restarts=8, steps=120
    )
    assert worst.gap <= 1e-9


def test_search_breaks_false_twins():
    assert exact.search(bounds.cpc, 1, 2, 0.5, steps=150).gap > 0.06

    def no_positive_in_the_denominator(positive, negative, alpha):
        return positive.mean(-1) - negative.flatten(-2).logsumexp(-1) + math.log(4)

    assert exact.search(no_positive_in_the_denominator, 2, 2, 1.0, steps=50).gap > 0.1


def test_search_repeats_and_depends_on_its_seed():
    first, again, other = (
        exact.search(bounds.cpc, 1, 2, 0.5, seed=seed, restarts=2, steps=20) for seed in (0, 0, 1)
    )
    assert first.gap == again.gap and torch.equal(first.log_critic, again.log_critic)
    assert first.gap != other.gap


def test_grouped_counts_are_the_counts_that_are_summed():
    for pooled, negatives in [(True, "independent"), (False, "independent"), (False, "shared")]:
        draws = exact._enumerate(2, 3, 2, 3, negatives, pooled)
        shape = torch.broadcast_shapes(draws.positive.shape[:-1], draws.negative.shape[:-2])
        assert math.prod(shape) == exact.count_configurations(2, 3, 2, 3, negatives, pooled)
    draws = exact._enumerate(2, 3, 3, 3, "in_batch", True)
    assert len(draws.positive) == exact.count_configurations(2, 3, 3, 3, "in_batch", True)


@given(st.integers(1, 5), st.integers(1, 4))
@settings(deadline=None, max_examples=20)
def test_multisets_count_every_order(kinds, size):
    draws, log_count = exact._multisets(kinds, size)
    assert len(draws) == math.comb(kinds + size - 1, size)
    assert len({tuple(draw) for draw in draws.tolist()}) == len(draws)
    assert abs(sum(math.exp(each) for each in log_count) - kinds**size) < 1e-8


class TestJoint:
    def test_information_two_ways_and_by_hand(self):
        joint = exact.Joint(TABLE)
        by_ratio = (joint.table * joint.log_ratio).sum()
        by_hand = sum(
            p * math.log(p / (sum(row) * (TABLE[0][y] + TABLE[1][y])))
            for row in TABLE
            for y, p in enumerate(row)
        )
        assert abs(joint.mi - by_ratio) < 1e-12 and abs(joint.mi - by_hand) < 1e-12

    def test_marginals_and_product(self):
        joint = exact.Joint(TABLE)
        p_x, p_y = joint.marginals
        assert torch.allclose(p_x, torch.tensor([0.4, 0.6], dtype=torch.float64))
        assert torch.allclose(p_y, torch.tensor([0.45, 0.55], dtype=torch.float64))
        assert abs(exact.Joint(joint.product).mi) < 1e-12

    def test_samples_follow_the_table(self):
        joint = exact.Joint([[0.3, 0.1, 0.0], [0.15, 0.4, 0.05]])
        count = 40_000
        x, y = joint.sample(count, torch.Generator().manual_seed(0))
        seen = torch.bincount(x * 3 + y, minlength=6).view(2, 3) / count
        error = (joint.table * (1 - joint.table) / count).sqrt()
        assert ((seen - joint.table).abs() <= 4 * error).all()

    @pytest.mark.parametrize("table, message", [
        ([[0.5, 0.6]], "table sums to 1.1; valid: 1 within 1e-9"),
        ([[0.5, 0.4]], "table sums to 0.9; valid"),
        ([[1.2, -0.2]], "table contains -0.2; valid"),
        ([[0.5, math.nan]], "table contains nan|table contains -inf"),
        ([[0.5, math.inf]], "table contains"),
        ([0.5, 0.5], r"table has shape \(2,\); valid: \(…, a, b\)"),
        ([[]], "table has shape"),
    ])  # fmt: skip
    def test_refuses(self, table, message):
        with pytest.raises(ValueError, match=message):
            exact.Joint(table)

    def test_refuses_one_bad_table_in_a_batch(self):
        good = torch.full((2, 2), 0.25, dtype=torch.float64)
        with pytest.raises(ValueError, match="table sums to 1.1"):
            exact.Joint(torch.stack([good, good * 1.1]))


@pytest.mark.parametrize("change, message", [
    ({"negatives": "fresh"}, "negatives is 'fresh'; valid: independent, shared, in_batch"),
    ({"negatives": "in_batch", "m": 3}, "m is 3; valid with negatives from the batch"),
    ({"n": 0}, "n is 0; valid"),
    ({"m": 1}, "m is 1; valid"),
    ({"alpha": 0.0}, "alpha is 0.0; valid: 0 < alpha <= m = 2"),
    ({"alpha": -1.0}, "alpha is -1.0; valid"),
    ({"alpha": 2.1}, "alpha is 2.1; valid"),
    ({"log_critic": torch.zeros(3, 2)}, "log_critic has shape"),
    ({"log_critic": torch.full((2, 2), math.nan)}, "contains nan"),
])  # fmt: skip
def test_bad_input_is_named(change, message):
    arguments = {"log_critic": torch.zeros(2, 2), "n": 2, "m": 2, "alpha": 1.0} | change
    with pytest.raises(ValueError, match=message):
        exact.expected(bounds.ml_cpc, exact.Joint(TABLE), **arguments)


def test_a_request_too_large_is_refused_with_its_count():
    joint = exact.Joint(torch.full((5, 5), 0.04, dtype=torch.float64))
    count = exact.count_configurations(5, 5, 6, 6, "independent", True)
    with pytest.raises(ValueError, match=f"needs {count:,} configurations; valid: at most"):
        exact.expected(bounds.ml_cpc, joint, torch.zeros(5, 5), 6, 6)


def test_a_bound_that_depends_on_order_is_refused():
    def first_row_only(positive, negative, alpha):
        return positive[..., 0] - negative[..., 0, :].logsumexp(-1)

    with pytest.raises(ValueError, match="bound depends on the order"):
        exact.expected(first_row_only, exact.Joint(TABLE), torch.zeros(2, 2), 2, 2)


def test_bad_search_is_named():
    for change in ({"restarts": 0}, {"steps": 0}, {"alphabet": (0, 2)}):
        with pytest.raises(ValueError, match=f"{next(iter(change))} is 0; valid: at least 1"):
            exact.search(bounds.cpc, 1, 2, **change)


def test_a_search_may_start_from_a_known_violation():
    copy = exact.Joint(torch.eye(2, dtype=torch.float64) / 2)
    match = -60.0 * (1 - torch.eye(2))
    arguments = (bounds.ml_cpc, 2, 2, 0.45, "in_batch")
    blind = exact.search(*arguments, restarts=4, steps=20)
    near = exact.search(*arguments, restarts=4, steps=20, start=(copy, match))
    assert blind.gap < 1e-6 and near.gap > 0.05
    assert near.joint.table.shape == near.log_critic.shape == (2, 2)


def test_random_cases_are_seeded_and_span_weak_to_strong_dependence():
    joints, scores = exact.random_cases(200, (3, 4), seed=1)
    again, same = exact.random_cases(200, (3, 4), seed=1)
    other, _ = exact.random_cases(200, (3, 4), seed=2)
    assert joints.table.shape == scores.shape == (200, 3, 4)
    assert torch.equal(joints.table, again.table) and torch.equal(scores, same)
    assert not torch.equal(joints.table, other.table)
    assert joints.mi[:20].mean() < 0.02 < 0.2 < joints.mi[-20:].mean()
    # What the chapters drew before the function was shared.
    generator = torch.Generator().manual_seed(1)
    normal = torch.randn(2, 200, 3, 4, generator=generator, dtype=torch.float64)
    assert torch.equal(scores, 2 * normal[1])


def test_from_counts_divides_by_the_total():
    joint = exact.from_counts([[3, 1], [1, 3]])
    assert torch.equal(joint.table, torch.tensor([[3.0, 1], [1, 3]], dtype=torch.float64) / 8)
    batch = exact.from_counts(torch.ones(5, 2, 3))
    assert torch.allclose(batch.table.sum((-2, -1)), torch.ones(5, dtype=torch.float64))
    for wrong, message in (([[0, 0]], "counts sum to 0"), ([[2, -1]], "table contains -1")):
        with pytest.raises(ValueError, match=message):
            exact.from_counts(wrong)


def test_random_boards_fit_the_bounds():
    positive, negative = exact.random_boards(5, 3, 4, seed=1)
    assert positive.shape == (5, 3) and negative.shape == (5, 3, 3)
    assert exact.bounds.ml_cpc(positive, negative).shape == (5,)
    assert torch.equal(positive, exact.random_boards(5, 3, 4, seed=1)[0])


@pytest.mark.parametrize("call, message", [
    (lambda: exact.random_cases(0), "count is 0"),
    (lambda: exact.random_cases(1, (0, 2)), "alphabet is 0"),
    (lambda: exact.random_boards(1, 1, 1), "m is 1"),
])
def test_random_cases_name_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_boundary_cells():
    sizes = {"sizes": ((1, 2),), "batch_sizes": (2,)}
    config = boundary.BoundaryConfig(**sizes, ratios=(0.5, 2.5), seeds=(0,))
    found = [cell.settings for cell in boundary.EXPERIMENT.cells(config)]
    # α_min is 1 at n = 1, so a ratio of 2.5 would put α above m = 2 there.
    assert [(each["n"], each["design"], each["ratio"]) for each in found] == [
        (1, "independent", 0.5), (1, "shared", 0.5), (2, "in_batch", 0.5), (2, "in_batch", 2.5),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="ratios is 0; valid"):
        boundary.BoundaryConfig(ratios=(0,))
