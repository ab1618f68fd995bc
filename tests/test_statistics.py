"""Statistics on reading: coverage and power are what they are said to be, pairs are paired."""

import math

import numpy as np
import pytest
import scipy.stats

from mlcpc import statistics
from mlcpc.records import Metric


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_intervals_cover_95_of_100(count):
    draws = np.random.default_rng(count).normal(3.0, 2.0, (20_000, count))
    half = statistics.student_t(count - 1) * draws.std(1, ddof=1) / math.sqrt(count)
    covered = (abs(draws.mean(1) - 3.0) <= half).mean()
    assert 0.93 <= covered <= 0.97
    assert abs(covered - 0.95) < 5 * math.sqrt(0.95 * 0.05 / len(draws))
    low, high = statistics.summary(draws[0].tolist()).interval
    assert (low, high) == pytest.approx(tuple(
        scipy.stats.t.interval(0.95, count - 1, draws[0].mean(), scipy.stats.sem(draws[0]))
    ))  # fmt: skip


def test_the_bootstrap_of_two_seeds_would_not_cover():
    """The twin: what records stored before covers half of the time."""
    generator = np.random.default_rng(0)
    draws = generator.normal(size=(2_000, 2))
    ends = np.quantile([generator.choice(each, (500, 2)).mean(1) for each in draws],
                       [0.025, 0.975], axis=1)  # fmt: skip
    assert ((ends[0] <= 0) & (0 <= ends[1])).mean() < 0.6


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_detectable_differences_are_detected_in_80_of_100(count):
    effect = statistics.detectable(1.0, count)
    draws = np.random.default_rng(count).normal(effect, 1.0, (20_000, count))
    half = statistics.student_t(count - 1) * draws.std(1, ddof=1) / math.sqrt(count)
    assert (abs(draws.mean(1)) > half).mean() == pytest.approx(0.8, abs=0.015)
    assert statistics.detectable(2.5, count) == pytest.approx(2.5 * effect)


def test_differences_are_paired_by_seed():
    ours = Metric("share", (0.5, 0.7, None, 0.9))
    theirs = Metric("share", (0.4, 0.6, 0.1, 0.8))
    found = statistics.difference(ours, theirs)
    assert found.mean == pytest.approx(0.1) and found.count == 3 and found.clear
    assert found.interval[1] - found.interval[0] < 1e-12  # unpaired it would be wide
    assert statistics.verdict(found, "ours", "theirs") == "ours"
    assert statistics.verdict(statistics.difference(theirs, ours), "ours", "theirs") == "theirs"
    noisy = statistics.difference(ours, Metric("share", (0.9, 0.2, 0.1, 0.8)))
    assert statistics.verdict(noisy) == "no clear difference"


def test_groups_that_share_seeds_are_averaged_first():
    groups = [Metric("share", (0.1, 0.2, 0.3)), Metric("share", (0.3, 0.4, 0.5))]
    found = statistics.over_groups(groups)
    assert found.count == 3 and found.mean == pytest.approx(0.3)
    assert found.interval == pytest.approx(statistics.summary([0.2, 0.3, 0.4]).interval)


def test_one_value_has_no_interval():
    found = statistics.summary(Metric("nats", (1.5,), "run"))
    assert (found.interval, found.detectable, found.clear) == (None, None, False)
    assert str(found) == "1.5 nats"
    assert str(statistics.summary([1.0, 3.0], "nats")) == "2 [-10.71, 14.71] nats"


@pytest.mark.parametrize("call, message", [
    (lambda: statistics.summary([]), "values is"),
    (lambda: statistics.summary([float("nan")]), "values is"),
    (lambda: statistics.difference(Metric("a", (1.0,)), Metric("b", (1.0,))), "unit is 'b'"),
    (lambda: statistics.difference(Metric("a", (1.0,)), Metric("a", (1.0, 2.0))), "values are 1"),
    (lambda: statistics.difference(Metric("a", (1.0,)), Metric("a", (1.0,), "run")), "values are"),
    (lambda: statistics.over_groups([]), "groups differ"),
    (lambda: statistics.over_groups([Metric("a", (1.0, None))]), "groups lack"),
])  # fmt: skip
def test_what_cannot_be_compared_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_paired_keeps_the_place_of_a_seed_without_a_value():
    ours, theirs = Metric("share", (0.5, None, 0.25)), Metric("share", (0.25, 0.5, None))
    assert statistics.paired(ours, theirs) == Metric("share", (0.25, None, None))


def test_rank_correlation_is_that_of_scipy_with_ties_too():
    draws = np.random.default_rng(4)
    for count in (2, 5, 40):
        x, y = draws.integers(0, 6, (2, count)).astype(float)
        x[0], y[0] = -1, 9  # neither is constant
        expected = scipy.stats.spearmanr(x, y).statistic
        assert abs(statistics.rank_correlation(x, y) - expected) < 1e-12
        assert abs(statistics.rank_correlation(x, np.exp(y)) - expected) < 1e-12
    assert math.isnan(statistics.rank_correlation([1, 1, 1], [1, 2, 3]))
    for bad in (([1], [1]), ([1, 2], [1, 2, 3]), ([1, math.nan], [1, 2])):
        with pytest.raises(ValueError, match="valid: "):
            statistics.rank_correlation(*bad)


def test_bootstrap_interval_of_a_mean_covers_it():
    draws, inside = np.random.default_rng(5), 0
    for trial in range(200):
        values = draws.normal(1.0, 1.0, 40)
        low, high = statistics.bootstrap(lambda rows, of=values: of[rows].mean(), 40, 200, trial)
        inside += low <= 1.0 <= high
    assert 0.88 <= inside / 200 <= 0.985
    with pytest.raises(ValueError, match="count is 2, draws is 2000; valid: at least 3"):
        statistics.bootstrap(lambda rows: 0.0, 2)
    with pytest.raises(ValueError, match="NaN in every draw"):
        statistics.bootstrap(lambda rows: math.nan, 3, 5)
