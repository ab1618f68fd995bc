"""More questions on the core of :func:`mlcpc.estimate`: relevance, pairs of columns, conditions."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mlcpc.estimation import Estimate, estimate, several
from mlcpc.samples import read


def relevance(
    X: object, y: object, *, columns: object = None, discrete: object = "auto", **options: object
) -> tuple[np.ndarray, np.ndarray]:
    """Information of each column of X about y, and a p-value of independence for each.

    scikit-learn takes it as a ``score_func``: ``SelectKBest(mlcpc.relevance, k=10)``. Every value
    is a lower bound for that column alone: what columns only tell together, none of them shows.

    The critics of all columns are trained as one stack.

    Args:
        X: (N, d) samples, one column a feature.
        y: (N,) or (N, k) samples.
        columns: places of the columns to score, or None for all; others get NaN.
        discrete: as in :func:`mlcpc.estimate`, for X or as a pair (of X, of y).
        options: further options of :func:`mlcpc.estimate`.

    Returns:
        values in nats, at least 0, and p-values, both (d,).

    Raises:
        ValueError: as :func:`mlcpc.estimate`; a constant column has value 0 and p-value 1.

    Example:
        >>> X = np.random.default_rng(0).standard_normal((200, 2))
        >>> values, p_values = relevance(X, X[:, 0] ** 3, steps=1, width=8)
        >>> bool(values[0] > 2 > 0.1 > values[1]), float(p_values[0])
        (True, 0.001)
    """
    of_x, of_y = discrete if isinstance(discrete, tuple) and len(discrete) == 2 else (discrete,) * 2
    if isinstance(of_y, (list, np.ndarray)):
        of_y = "auto"
    table = read("X", X, of_x)
    count = len(table.kinds)
    asked = range(count) if columns is None else [int(each) for each in columns]
    if any(not 0 <= place < count for place in asked):
        raise ValueError(f"columns is {list(asked)}; valid: places from 0 to {count - 1}")
    values, p_values = np.full(count, np.nan), np.full(count, np.nan)
    constant = [place for place in asked if np.ptp(table.values[:, place]) == 0]
    values[constant], p_values[constant] = 0.0, 1.0
    varied = [place for place in asked if place not in constant]
    pairs = []
    for place in varied:
        kind = True if table.kinds[place] == "classes" else (False if of_x is False else "auto")
        pairs.append((table.values[:, place], y, (kind, of_y)))
    for place, found in zip(varied, several(pairs, **options), strict=True):
        values[place], p_values[place] = max(0.0, found.mi), found.p_value
    return values, p_values


def pairwise(X: object, **options: object) -> np.ndarray:
    """Information between every two columns of X.

    Args:
        X: (N, d) samples.
        options: options of :func:`mlcpc.estimate`; ``discrete`` is "auto", True or False here.

    Returns:
        (d, d) lower bounds in nats, symmetric and at least 0; the diagonal is NaN, since a
        measured column says infinitely much about itself.

    Raises:
        ValueError: as :func:`mlcpc.estimate`; a constant column has value 0 with every other.

    Example:
        >>> X = np.random.default_rng(0).standard_normal((200, 2))
        >>> pairwise(np.c_[X, X[:, 0] + X[:, 1]], steps=1, width=8).round(1)[0, 1:] > 0.1
        array([False,  True])
    """
    table = read("X", X, options.pop("discrete", "auto"))
    count = len(table.kinds)
    found = np.full((count, count), np.nan)
    places, pairs = [], []
    for i, j in zip(*np.triu_indices(count, 1), strict=True):
        pair = [table.values[:, place] for place in (i, j)]
        found[i, j] = found[j, i] = 0.0
        if min(np.ptp(each) for each in pair) > 0:
            kinds = tuple(True if table.kinds[place] == "classes" else "auto" for place in (i, j))
            places.append((i, j))
            pairs.append((*pair, kinds))
    for (i, j), each in zip(places, several(pairs, **options), strict=True):
        found[i, j] = found[j, i] = max(0.0, each.mi)
    return found


@dataclass(frozen=True, eq=False)
class Conditional:
    """I(X; Y | Z) as a difference of two lower bounds: an estimate, and no bound itself.

    Args:
        mi: the estimate in nats.
        joint: estimate of I(X, Z; Y).
        known: estimate of I(Z; Y).

    Example:
        >>> x, z, y = np.random.default_rng(0).standard_normal((3, 200))
        >>> print(str(conditional(x, x + y, z, steps=1, width=8)).split(":")[0][-8:])
        no bound
    """

    mi: float
    joint: Estimate
    known: Estimate

    def __float__(self) -> float:
        return self.mi

    @property
    def warnings(self) -> tuple[str, ...]:
        """The doubts of both estimates."""
        return tuple(self._warnings())

    def _warnings(self) -> Iterator[str]:
        for name, found in (("I(X, Z; Y)", self.joint), ("I(Z; Y)", self.known)):
            yield from (f"{name}: {said}" for said in found.warnings)

    def __str__(self) -> str:
        return (
            f"about {max(0.0, self.mi):.3f} nats, no bound: {self.joint.mi:.3f} of both "
            f"less {self.known.mi:.3f} of Z alone"
        ) + "".join(f"\n  warning: {each}" for each in self.warnings)


def conditional(x: object, y: object, z: object, **options: object) -> Conditional:
    """I(X; Y | Z) by the chain rule, I(X, Z; Y) − I(Z; Y).

    Both terms are lower bounds, so their difference is an estimate without a guarantee: it is too
    low where the first misses more, too high where the second does.

    Args:
        x, y, z: (N,) or (N, d) samples.
        options: options of :func:`mlcpc.estimate`; ``discrete`` is "auto" or False here, and text
            must be given as numbers.

    Raises:
        ValueError: as :func:`mlcpc.estimate`.

    Example:
        >>> x, z, y = np.random.default_rng(0).standard_normal((3, 300))
        >>> found = conditional(x, x + y, z, steps=1, width=8)  # true: log(2) / 2
        >>> 0.2 < float(found) < 0.5
        True
    """
    tables = [read(name, each) for name, each in (("x", x), ("z", z))]
    if len(tables[0]) != len(tables[1]):
        raise ValueError(f"z has {len(tables[1])} samples; valid: as many as x, {len(tables[0])}")
    both = np.concatenate([each.values for each in tables], axis=1)
    kinds = np.array([kind == "classes" for each in tables for kind in each.kinds])
    if kinds.any():
        both = [
            column.astype(int).astype(str) if kind else column
            for column, kind in zip(both.T, kinds, strict=True)
        ]
        both = np.array(both, dtype=object).T
    joint = estimate(both, y, **options)
    known = estimate(z, y, **options)
    return Conditional(joint.mi - known.mi, joint, known)
