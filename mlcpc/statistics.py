r"""What values of a few seeds say: means, Student-t intervals, paired differences, verdicts.

Nothing here is ever stored: records hold values, and these functions are asked when a page is
made. With n seeds, mean x̄ and standard deviation s the 95 % interval of the mean is

.. math:: \bar x \pm t_{0.975,\,n-1}\; s / \sqrt n .

It covers the true mean in 95 of 100 experiments if values are normal, for two seeds as for ten.
Two settings that share their seeds are compared by the differences seed by seed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from mlcpc.records import Metric

LEVEL = 0.95
POWER = 0.8


@dataclass(frozen=True)
class Summary:
    """A mean and what is known of it.

    Args:
        mean: mean of the values.
        interval: 95 % Student-t interval of the mean; None for a single value.
        detectable: the true difference from zero that an experiment with as many values and this
            spread would call clear with probability 0.8; None for a single value.
        count: number of values.
        unit: unit of all of these.
    """

    mean: float
    interval: tuple[float, float] | None
    detectable: float | None
    count: int
    unit: str

    @property
    def clear(self) -> bool:
        """Say whether the interval excludes zero."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)

    def __str__(self) -> str:
        if self.interval is None:
            return f"{self.mean:.4g} {self.unit}"
        return f"{self.mean:.4g} [{self.interval[0]:.4g}, {self.interval[1]:.4g}] {self.unit}"


def summary(values: Metric | Sequence[float], unit: str = "") -> Summary:
    """Mean, interval and detectable difference of values.

    Args:
        values: a metric, or numbers; values that are None are left out.
        unit: unit of the numbers; a metric has its own.

    Raises:
        ValueError: no value, or one that is not finite.

    Example:
        >>> print(summary([0.81, 0.84, 0.83], "share"))
        0.8267 [0.7887, 0.8646] share
    """
    if isinstance(values, Metric):
        unit = values.unit
    numbers = values.numbers if isinstance(values, Metric) else values
    found = [float(each) for each in numbers]
    if not found or not all(map(math.isfinite, found)):
        raise ValueError(f"values is {found}; valid: at least one finite number")
    mean, count = math.fsum(found) / len(found), len(found)
    if count == 1:
        return Summary(mean, None, None, 1, unit)
    spread = math.sqrt(math.fsum((each - mean) ** 2 for each in found) / (count - 1))
    half = student_t(count - 1) * spread / math.sqrt(count)
    return Summary(mean, (mean - half, mean + half), detectable(spread, count), count, unit)


def paired(ours: Metric, theirs: Metric) -> Metric:
    """The differences ours − theirs, seed by seed; None for a seed without a value on both sides.

    Raises:
        ValueError: other units, another number of seeds.
    """
    if ours.unit != theirs.unit:
        raise ValueError(f"unit is {theirs.unit!r}; valid: {ours.unit!r}, as the other metric")
    if len(ours.values) != len(theirs.values) or (ours.per, theirs.per) != ("seed", "seed"):
        raise ValueError(
            f"values are {len(ours.values)} per {ours.per} and {len(theirs.values)} per "
            f"{theirs.per}; valid: one for each of the same seeds"
        )
    pairs = zip(ours.values, theirs.values, strict=True)
    return Metric(
        ours.unit, tuple(None if one is None or two is None else one - two for one, two in pairs)
    )


def difference(ours: Metric, theirs: Metric) -> Summary:
    """Summary of the paired differences ours − theirs, seed by seed.

    A seed that lacks a value on one side or on both is left out.

    Raises:
        ValueError: other units, another number of seeds, no seed with both values.
    """
    return summary(paired(ours, theirs))


def over_groups(groups: Sequence[Metric]) -> Summary:
    """Summary over seeds of a mean over groups that share their seeds, such as pairs of networks.

    Values of a seed are averaged over groups first: groups with shared seeds are not independent,
    so an interval over groups would be too narrow.

    Raises:
        ValueError: no group, other units or numbers of seeds, a seed without value in some group.
    """
    if not groups or len({(each.unit, len(each.values), each.per) for each in groups}) > 1:
        raise ValueError("groups differ in unit or seeds; valid: metrics of the same seeds")
    columns = list(zip(*(each.values for each in groups), strict=True))
    if any(value is None for column in columns for value in column):
        raise ValueError("groups lack a value; valid: a value for every seed and group")
    return summary([math.fsum(column) / len(column) for column in columns], groups[0].unit)


def verdict(found: Summary, more: str = "more", less: str = "less") -> str:
    """``more`` or ``less`` if the interval excludes zero, else "no clear difference"."""
    if not found.clear:
        return "no clear difference"
    return more if found.mean > 0 else less


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rank correlation, from −1 to 1: Pearson's of ranks, where ties share a rank.

    Returns:
        NaN where one side is constant.

    Raises:
        ValueError: other lengths, fewer than 2 pairs, a number that is not finite.

    Example:
        >>> rank_correlation([1, 2, 3, 4], [10, 30, 20, 40])
        0.8
    """
    import numpy as np
    from scipy.stats import rankdata

    one, two = (np.asarray(each, dtype=float) for each in (x, y))
    if one.ndim != 1 or one.shape != two.shape or len(one) < 2:
        raise ValueError(f"x and y have {one.shape} and {two.shape}; valid: as many, at least 2")
    if not (np.isfinite(one).all() and np.isfinite(two).all()):
        raise ValueError("x or y holds NaN or infinity; valid: finite numbers")
    one, two = (rankdata(each) - (len(one) + 1) / 2 for each in (one, two))
    scale = math.sqrt(float(one @ one) * float(two @ two))
    return float(one @ two) / scale if scale else math.nan


def bootstrap(
    of: Callable[[Any], float], count: int, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of a statistic of units that are drawn again with replacement.

    Args:
        of: takes the places of the drawn units, an array of integers, and gives a number. Draws
            where it is NaN are left out.
        count: number of units, at least 3.
        draws, seed: how many draws, and of which random seed.

    Raises:
        ValueError: fewer than 3 units, no draw with a number.
    """
    import numpy as np

    if count < 3 or draws < 1:
        raise ValueError(f"count is {count}, draws is {draws}; valid: at least 3 and 1")
    places = np.random.default_rng(seed).integers(count, size=(draws, count))
    found = np.array([of(each) for each in places])
    if np.isnan(found).all():
        raise ValueError("the statistic is NaN in every draw; valid: one that is a number")
    low, high = np.nanquantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def student_t(freedom: int, level: float = LEVEL) -> float:
    """Return the quantile of Student's t for a two-sided interval of this level."""
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, freedom))


def detectable(spread: float, count: int) -> float:
    """Smallest true mean that a t test on so many values calls clear with probability 0.8.

    Args:
        spread: standard deviation of one value.
        count: number of values, at least 2.

    Returns:
        the mean, in the unit of the spread.
    """
    return spread * _detectable_effect(count)


@cache
def _detectable_effect(count: int) -> float:
    """The same for values of standard deviation one, by the power given the sample deviation."""
    import numpy as np
    from scipy.optimize import brentq
    from scipy.stats import chi2, norm

    nodes, weights = np.polynomial.legendre.leggauss(400)
    deviation = np.sqrt(chi2.ppf((nodes + 1) / 2, count - 1) / (count - 1))
    edge, root = student_t(count - 1) * deviation, math.sqrt(count)

    def lacking(effect: float) -> float:
        power = norm.cdf(effect * root - edge) + norm.cdf(-effect * root - edge)
        return float(weights @ power) / 2 - POWER

    return brentq(lacking, 0.0, 10 * student_t(count - 1))


@dataclass(frozen=True)
class Source:
    """One line of an analysis of variance.

    Args:
        squares: sum of squares.
        freedom: degrees of freedom.
        share: part of the total sum of squares, from 0 to 1.
        f: mean square over that of the source with the seeds; None where it is not asked, or where
            the latter is zero.
        p: chance of an F as large if the source has no effect; None with ``f``.
    """

    squares: float
    freedom: int
    share: float
    f: float | None = None
    p: float | None = None


def variance(
    table: Sequence[Sequence[Sequence[float]]], factors: tuple[str, str]
) -> dict[str, Source]:
    r"""Analysis of variance of values (first factor, second factor, seed), one in each cell.

    .. math:: y_{ijs} = \mu + a_i + b_j + (ab)_{ij} + c_s + (ac)_{is} + (bc)_{js} + \epsilon_{ijs}

    All cells share the seeds, so they are no independent trials: what a factor does must stand out
    from how much it does so from seed to seed. The error of a factor is therefore its interaction
    with the seed, that of the interaction of both is the rest. With two levels this is the paired
    t test of :func:`difference`.

    Args:
        table: the values.
        factors: names of the two factors.

    Returns:
        the two factors, "interaction", "seed", each factor " × seed", and "rest".

    Raises:
        ValueError: a table with a missing value, or with fewer than two levels, factors or seeds.

    Example:
        >>> found = variance([[[1, 1.1], [1.2, 1.3]], [[3, 3.1], [3.1, 3.3]]], ("row", "column"))
        >>> found["row"].share > 0.9, found["row"].p < 0.02, found["rest"].freedom
        (True, True, 1)
    """
    import numpy as np
    from scipy.stats import f as fisher

    values = np.array(table, dtype=float)
    if values.ndim != 3 or min(values.shape) < 2 or not np.isfinite(values).all():
        raise ValueError(
            f"table has shape {values.shape}; valid: finite (first, second, seeds), each at least 2"
        )
    left, parts = values - values.mean(), {}
    total = float((left**2).sum())
    one, two = factors
    kept = {one: (0,), two: (1,), "seed": (2,), "interaction": (0, 1), f"{one} × seed": (0, 2),
            f"{two} × seed": (1, 2), "rest": (0, 1, 2)}  # fmt: skip
    for name, axes in kept.items():  # what is left, averaged over all other axes, in this order
        others = tuple(axis for axis in range(3) if axis not in axes)
        part = left.mean(others, keepdims=True) if others else left
        squares = float((np.broadcast_to(part, values.shape) ** 2).sum())
        parts[name] = squares, math.prod(values.shape[axis] - 1 for axis in axes)
        left = left - part
    errors = {one: f"{one} × seed", two: f"{two} × seed", "interaction": "rest"}
    found = {}
    for name in (one, two, "interaction", "seed", f"{one} × seed", f"{two} × seed", "rest"):
        (squares, freedom), f, p = parts[name], None, None
        if name in errors and parts[errors[name]][0] > 1e-12 * total:
            noise, of_noise = parts[errors[name]]
            f = squares / freedom / (noise / of_noise)
            p = float(fisher.sf(f, freedom, of_noise))
        found[name] = Source(squares, freedom, squares / total if total else 0.0, f, p)
    return found
