"""Laws and counter-examples of the book: closed forms against enumeration, and the status map."""

import itertools
import math

import matplotlib as mpl
import numpy as np
import pytest
import torch

from mlcpc import bounds, exact
from mlcpc.book import figures, laws, status


def naive_phi(u, p, alpha, m):
    beta, total = (m - alpha) / (m - 1), 0.0
    for value, chance in zip(u, p, strict=True):
        mean = 0.0
        for others in itertools.product(range(len(u)), repeat=m - 1):
            weight = math.prod(p[k] for k in others)
            mean += weight * math.log(alpha * value + beta * sum(u[k] for k in others))
        total += chance * m * value * math.exp(-mean)
    return total


@pytest.mark.parametrize("m, alpha", [(2, 0.3), (3, 0.7), (4, 1.0), (5, 2.0)])
def test_log_phi_equals_its_definition(m, alpha):
    generator = torch.Generator().manual_seed(m)
    u = torch.rand(3, generator=generator, dtype=torch.float64) * 4 + 0.1
    p = torch.rand(3, generator=generator, dtype=torch.float64)
    p = p / p.sum()
    found = laws.log_phi(u.log(), p.log(), alpha, m).exp().item()
    assert abs(found - naive_phi(u.tolist(), p.tolist(), alpha, m)) < 1e-10
    scaled = laws.log_phi(u.log() + 3, p.log(), alpha, m).exp().item()
    assert abs(found - scaled) < 1e-10  # a scale of the critic changes nothing


def test_a_cyclic_joint_reaches_log_phi():
    log_u = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    value, joint, score = laws.cyclic(log_u, 0.4, 3)
    for design in ("independent", "shared"):
        L = exact.expected(bounds.cpc, joint, score, 1, 3, 0.4, design)
        assert abs(L - joint.mi - value) < 1e-10


def test_two_values_are_a_law_like_any_other():
    for m, alpha, p in [(2, 0.7, 0.9), (4, 0.6, 0.7), (6, 0.5, 0.4)]:
        law = torch.tensor([[1e-250, 1.0], [1 - p, p]], dtype=torch.float64).log()
        gap = laws.two_point_gap(alpha, m, np.array(p))
        assert abs(gap - laws.log_phi(law[0], law[1], alpha, m).item()) < 1e-9


def test_two_point_ends_where_printed():
    printed = {3: 0.64166577, 4: 0.60280209, 5: 0.58156515, 6: 0.56818165, 10: 0.54310348}
    for m, value in printed.items():
        assert abs(laws.two_point(m) - value) < 2e-8
    assert laws.two_point(2) == bounds.TWO_OVER_E


def test_the_worst_law_breaks_below_and_not_at_two_over_e():
    assert laws.worst_law(0.72, 2, 2, 8, 150)[0] > 2e-4
    assert laws.worst_law(bounds.TWO_OVER_E, 2, 2, 8, 150)[0] < 1e-9


def test_five_sevenths_serves_three_candidates_and_not_two():
    for m in (3, 4):
        assert laws.worst_law(5 / 7, m, 2, 8, 150)[0] < 1e-9
    rare = torch.tensor([[1e-200, 1.0], [0.03, 0.97]], dtype=torch.float64).log()
    assert laws.log_phi(rare[0], rare[1], 5 / 7, 2) > 4e-4


def test_copies_are_counted():
    for n, K in [(2, 2), (3, 2), (3, 4), (4, 3)]:
        joint = exact.Joint(torch.eye(K, dtype=torch.float64) / K)
        match = -60.0 * (1 - torch.eye(K, dtype=torch.float64))
        J = exact.expected(bounds.ml_cpc, joint, match, n, n, 0.4, "in_batch")
        assert abs(J - joint.mi - laws.copy_gap(n, K, 0.4)) < 1e-9
    chance, left_out = laws.collisions(100, 1000)
    assert left_out < 1e-7 and abs(chance @ np.arange(61) - 4950 / 1000) < 1e-5
    edge = laws.copy_edge(128)
    assert 1.001 < edge / bounds.alpha_min(128, 128) < 1.0185
    assert laws.limit_gap(5.2255, 1.018) > 4e-5 > 0 > laws.limit_gap(5.2255, 1.019)


def test_a_sub_board_of_one_row_is_cpc():
    generator = torch.Generator().manual_seed(0)
    raw = torch.rand(4, 2, 3, generator=generator, dtype=torch.float64)
    table = raw / raw.sum((-2, -1), keepdim=True)
    score = torch.randn(4, 2, 3, generator=generator, dtype=torch.float64)
    alpha, m = 0.8, 3
    c = alpha * (m - 1) / (m - alpha)  # ratio of the weights of a positive and a negative
    gap = laws.sub_board_gap(table, score, c, a=0, b=m - 1)
    L = exact.expected(bounds.cpc, exact.Joint(table), score, 1, m, alpha, "shared")
    assert torch.allclose(gap, L - exact.Joint(table).mi, rtol=0, atol=1e-12)


def test_sub_boards_keep_to_their_constant():
    copy = torch.eye(2, dtype=torch.float64)[None]
    tau = bounds.TWO_OVER_E
    assert laws.sub_board_gap(copy / 2, -60 * (1 - copy), tau / (2 - tau)) < 0
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(2, 12, 2, 2, generator=generator, dtype=torch.float64)
    start[:, 0] = 6 * copy[0] - 6

    def attack(c):
        return laws.ascend(
            lambda point: laws.sub_board_gap(
                point[0].flatten(1).softmax(1).view_as(point[0]), point[1], c
            ),
            start,
            200,
        )[0]

    assert attack(0.40) > 0.005 and attack(tau / (2 - tau)) < 1e-9


def test_ranges_are_ordered_and_come_from_the_package():
    for n, m in [(2, 2), (3, 3), (2, 5), (128, 128)]:
        found = {each.game: each for each in status.ranges(n, m)}
        assert len(found) == (4 if n == m else 3)
        for game, each in found.items():
            negatives, normaliser = status.GAMES[game]
            negatives = negatives if n == m else negatives.replace("in_batch", "shared")
            assert each.proved == bounds.alpha_safe(negatives, n, m, normaliser)
            assert 0 < each.refuted <= each.proved
    two = {each.game: each for each in status.ranges(2)}["CPC, any negatives"]
    assert two.refuted == two.proved  # nothing is open for two candidates
    with pytest.raises(ValueError, match="^n is 1; valid"):
        status.ranges(1)


def test_the_map_shows_the_ranges(shown):
    with mpl.rc_context():
        figure = figures.status_map(8)
    kept = shown[0][1]["mlcpc_arrays"]
    assert kept["name"] == "fig-status"
    assert kept["arrays"]["proved"] == [each.proved for each in status.ranges(8)]
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == list(status.GAMES)
