"""What the scores of held-out pairs say: a bound's value, its standard error, and a p-value.

The proved bounds on pairs that no training saw: CPC for α ≥ 2/e, and ML-CPC, whose negatives come
from the same block of n pairs, for α ≥ α_batch(n), about (8/e)/n. Its ceiling of
2 log n − 1.08 nats is far above that of CPC, log n + 0.31.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from mlcpc.bounds import TWO_OVER_E, alpha_batch
from mlcpc.estimators import Estimator
from mlcpc.shapes import Float, Tensor


@dataclass(frozen=True)
class Valuation:
    """How a block of held-out scores is valued.

    Args:
        bound: cpc or ml_cpc.
        alpha: weight of a positive; None for the smallest that is proved for a block.
    """

    bound: str
    alpha: float | None = None

    @classmethod
    def of(cls, estimator: Estimator) -> "Valuation":
        return cls(estimator.bound, estimator.setting)

    def alpha_of(self, n: int) -> float:
        """α of a block of n pairs."""
        if self.alpha is not None:
            return self.alpha
        return TWO_OVER_E if self.bound == "cpc" else alpha_batch(n)

    def ceiling(self, n: int) -> float:
        """The largest value that a block of n pairs can give, log(n/α) nats."""
        return math.log(n / self.alpha_of(n))

    def proved(self, n: int) -> bool:
        """Whether the mean is at most the information, whatever the critic."""
        least = TWO_OVER_E if self.bound == "cpc" else alpha_batch(n)
        return self.alpha_of(n) >= least * (1 - 1e-9)

    def __str__(self) -> str:
        return self.bound if self.alpha is None else f"{self.bound}:{self.alpha:g}"

    def __call__(self, scores: Float[Tensor, "n n"]) -> tuple[float, np.ndarray]:
        r"""Value in nats, and the influence of each pair on it.

        The influence of pair j is what the value gains as the weight of the pair grows, both as a
        positive and as a negative of the others; its variance over n is that of the value, as a
        jackknife would find it.

        Args:
            scores: entry (i, j) scores the pair (x_i, y_j); the diagonal holds the positives.
        """
        n = len(scores)
        scores = scores.double()
        alpha = self.alpha_of(n)
        weights = torch.full_like(scores, math.log((n - alpha) / (n - 1)))
        weights.fill_diagonal_(math.log(alpha))
        weighted = scores + weights
        positive = scores.diagonal()
        rows = weighted.logsumexp(1)
        if self.bound == "cpc":
            own = positive - rows + math.log(n)
            shares = torch.exp(weighted - rows[:, None])
            influence = own - (shares.sum(0) - shares.diagonal())
            return float(own.mean()), (influence - influence.mean()).cpu().numpy()
        total = rows.logsumexp(0)
        shares = torch.exp(weighted - total)
        influence = positive - n * (shares.sum(0) + shares.sum(1) - shares.diagonal())
        value = positive.mean() - total + 2 * math.log(n)
        return float(value), (influence - influence.mean()).cpu().numpy()


PROVED = (Valuation("cpc"), Valuation("ml_cpc"))


def standard_error(influence: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Standard error of a value from the influences of its pairs, summed within groups first."""
    sums = influence
    if groups is not None:
        sums = np.bincount(np.unique(groups, return_inverse=True)[1], influence)
    return math.sqrt((sums**2).sum() * len(sums) / max(1, len(sums) - 1)) / len(influence)


def permutation_p_value(
    blocks: list[Float[Tensor, "n n"]], generator: np.random.Generator, count: int = 999
) -> float:
    """Chance of a mean score of positives as high as this, if x and y were independent.

    If they are, every permutation of the held-out pairs in a block is as likely as the one that
    was seen, whatever the critic. So the rank of the seen mean among permuted ones is uniform.

    Args:
        blocks: held-out scores of one critic that saw none of these pairs.
        generator: draws the permutations.
        count: permutations.
    """
    seen, permuted = 0.0, np.zeros(count)
    for block in blocks:
        scores = (block - block.logsumexp(1, keepdim=True)).double().cpu().numpy()
        n = len(scores)
        seen += scores.trace()
        rows = np.arange(n)
        for k in range(count):
            permuted[k] += scores[rows, generator.permutation(n)].sum()
    return _rank(seen, permuted, generator)


def shifted_p_value(
    scores: Float[Tensor, "n n"], generator: np.random.Generator, gap: int
) -> float:
    """The same for a time series: x and y are shifted against each other, on a ring."""
    scores = (scores - scores.logsumexp(1, keepdim=True)).double().cpu().numpy()
    n = len(scores)
    rows = np.arange(n)
    shifted = np.array([scores[rows, (rows + k) % n].sum() for k in range(gap, n - gap + 1)])
    return _rank(scores.trace(), shifted, generator)


def _rank(seen: float, permuted: np.ndarray, generator: np.random.Generator) -> float:
    tolerance = 1e-9 * max(1.0, abs(seen))
    above = int((permuted > seen + tolerance).sum())
    ties = len(permuted) - above - int((permuted < seen - tolerance).sum())
    return (above + 1 + int(generator.integers(ties + 1))) / (len(permuted) + 1)


def unseen(rows: int, width_x: int, width_y: int) -> float:
    r"""Least information in nats that so many rows and columns would mostly have shown.

    Shown is a lower limit above zero, or a p-value of at most 0.05. ``calibration.py --unseen``
    draws samples with just this information, and counts.

    A critic with D parameters loses about D/(1.2N) nats to the noise of N rows, not all of which it
    learns from. Shrunk as well as can be, it keeps v = I²/(I + D/1.2N) of the information I, and v
    must stand out from its own standard error √(2v/N). D counts the pairs of columns, for linear
    dependence, and some smooth functions of each. It is a rough figure: dependence of a wilder form
    needs more rows.
    """
    parameters = width_x * width_y + 10 * (width_x + width_y)
    noise = parameters / (1.2 * rows)
    least = 8 / rows
    return (least + math.sqrt(least**2 + 4 * least * noise)) / 2
