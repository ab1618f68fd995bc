"""What the checked exercises ask for, and the typical mistakes: one entry for each label.

The table is ``mistakes.yml``: there a mistake stands beside what it leads to, a number or a
function, and the sentence for whoever made it. Here are the functions that the table names. A test
plants every mistake and asks that exactly its own sentence comes back.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from mlcpc import bounds, exact, memory


@dataclass(frozen=True)
class Slip:
    """A typical mistake.

    Args:
        gives: the wrong number, or the wrong function, that the mistake leads to.
        says: the sentence for whoever made it.
    """

    gives: Any
    says: str


@dataclass(frozen=True)
class Exercise:
    """What an exercise asks for.

    Args:
        right: the number or numbers, or a function; with ``cases`` the function is compared with
            the reader's, without them it is called once and gives the number.
        slips: typical mistakes.
        within: absolute distance that still counts as equal; for functions relative to the size
            of the right values.
        cases: arguments, a tuple for each call, that a function is tried on.
        hints: help in steps.
        whole: the answer is a whole number.
    """

    right: Any
    slips: tuple[Slip, ...]
    within: float = 1e-9
    cases: tuple[tuple, ...] = ()
    hints: tuple[str, ...] = ()
    whole: bool = False

    @property
    def code(self) -> bool:
        return bool(self.cases)


E, LOG2 = math.e, math.log(2)


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that is positive at low and negative at high crosses zero."""
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) > 0 else (low, middle)
    return low


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    stream = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=stream, dtype=torch.float64)


def table(counts: list) -> torch.Tensor:
    return torch.tensor(counts, dtype=torch.float64)


def entropy(q: float) -> float:
    """Of a coin, in nats."""
    return -q * math.log(q) - (1 - q) * math.log1p(-q)


# ------------------------------------------------------------- mutual information, processing


def bits(p, base=LOG2):
    p = p / p.sum()
    product = p.sum(1, keepdim=True) * p.sum(0, keepdim=True)
    seen = p > 0
    return (p[seen] * (p[seen] / product[seen]).log()).sum() / base


def bits_of_counts_as_they_are(p):
    product = p.sum(1, keepdim=True) * p.sum(0, keepdim=True)
    seen = p > 0
    return (p[seen] * torch.log2(p[seen] / product[seen])).sum()


def bits_with_empty_cells(p):
    p = p / p.sum()
    product = p.sum(1, keepdim=True) * p.sum(0, keepdim=True)
    return (p * torch.log2(p / product)).sum()


def bits_turned_round(p):
    p = p / p.sum()
    product = p.sum(1, keepdim=True) * p.sum(0, keepdim=True)
    seen = p > 0
    return (product[seen] * torch.log2(product[seen] / p[seen])).sum()


def joint_bits(p):
    seen = p[p > 0] / p.sum()
    return -(seen * torch.log2(seen)).sum()


def merges(p, same=None):
    given = p / p.sum(0) if same is None else same(p)
    columns = range(p.shape[1])
    return {(j, k) for j in columns for k in columns if j < k
            and torch.allclose(given[:, j], given[:, k])}


COUNTS = [(table([[5, 0], [0, 5]]),), (table([[2, 4], [3, 6]]),),
          (table([[1, 0], [0, 0], [0, 1]]),), (table([[3, 1], [1, 3]]),)]
COLUMNS = [(table([[2, 4, 1], [1, 2, 3]]) / 13,), (table([[3, 1, 2], [1, 3, 2]]) / 12,),
           (table([[1, 2, 3], [1, 2, 3]]) / 12,), (table([[1, 1, 2], [3, 3, 2]]) / 12,)]


# ------------------------------------------------------------- variational bounds


def dv_gradient(joint, f, weights=None):
    tilted = (joint.product if weights is None else weights) * f.exp()
    return joint.table - tilted / tilted.sum()


def in_batch_dv(scores, log_pairs=None):
    n = len(scores)
    others = scores[~torch.eye(n, dtype=torch.bool)]
    pairs = math.log(n * (n - 1)) if log_pairs is None else log_pairs
    return scores.diagonal().mean() - torch.logsumexp(others, 0) + pairs


def in_batch_all(scores):
    return (scores.diagonal().mean() - scores.flatten().logsumexp(0)
            + 2 * math.log(len(scores)))


def others_of(scores):
    return scores[~torch.eye(len(scores), dtype=torch.bool)]


ODD = exact.from_counts([[1, 2, 3], [4, 5, 1]])
F = table([[1.0, -2, 0], [0, 1, 3]])
BATCHES = [(normal(2, 2, seed=5),), (normal(5, 5, seed=6, scale=3.0),),
           (normal(64, 64, seed=7, scale=400.0),)]
ADA = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)


# ------------------------------------------------------------- CPC


def cpc_pair(scores, value=math.log, scale=None, dim=1, sign=1):
    n = len(scores)
    log_share = scores.log_softmax(dim)
    gradient = sign * (torch.eye(n, dtype=torch.float64) - log_share.exp())
    return value(n) + log_share.diag().mean(), gradient / (n if scale is None else scale)


def cpc_overflowing(scores):
    n = len(scores)
    share = scores.exp() / scores.exp().sum(1, keepdim=True)
    return math.log(n) + share.diag().log().mean(), (torch.eye(n) - share) / n


def bets(joint, x, shown):
    return joint.log_ratio[x, shown].softmax(0)


LETTERS = exact.from_counts([[4, 1, 1], [1, 2, 3]])
FOUR = exact.Joint(0.92 * torch.eye(4, dtype=torch.float64) / 4 + 0.02 / 4)


def missed(m: int) -> float:
    """What the best critic of the four letters misses with m candidates, in nats."""
    n_one = torch.arange(m, dtype=torch.float64)  # negatives that agree with the anchor
    log_choose = (torch.lgamma(torch.tensor(float(m))) - torch.lgamma(n_one + 1)
                  - torch.lgamma(m - n_one))
    chance = (log_choose + n_one * math.log(0.25) + (m - 1 - n_one) * math.log(0.75)).exp()
    high, low = 3.76, 0.08
    rest = n_one * high + (m - 1 - n_one) * low
    value = sum(p * (math.log(m) + math.log(r) - (chance * (r + rest).log()).sum().item())
                for p, r in ((0.94, high), (0.06, low)))
    return FOUR.mi.item() - value


def fewest(allowed: float) -> int:
    return next(m for m in range(2, 300) if missed(m) <= allowed)


# ------------------------------------------------------------- weights


def weighted_gradient(f, alpha, beta=None, sign=1, target=1.0):
    m = len(f)
    beta = (m - alpha) / (m - 1) if beta is None else beta
    weights = torch.full((m,), beta, dtype=torch.float64)
    weights[0] = alpha
    goal = torch.zeros(m, dtype=torch.float64)
    goal[0] = target
    return sign * (goal - (f + weights.log()).softmax(0))


def crossing(beta: Callable[[float], float]) -> float:
    """Where CPC of the first table, with the critic 5 and 1, crosses the information."""
    def over(a):
        b = beta(a)
        return (3 / 8 * math.log(10 / (5 * a + b)) + 1 / 8 * math.log(2 / (a + 5 * b))
                + 1 / 2 * math.log(2 / (a + b)) - ADA)
    return root(over, 0.05, 1.9)


def refuted_below(m):
    v = 1 / (m - 1)
    tail = v + math.expm1(-v) if v > 1e-3 else v**2 / 2 - v**3 / 6 + v**4 / 24
    return (1 + v) / v**2 * tail


CROSS = [(2,), (3,), (5,), (10**6,)]


def contribution(alpha, share=0.9, m=128):
    return math.log(m * share / (alpha * share + (m - alpha) / (m - 1) * (1 - share)))


def share(x, y, alpha):
    return 2 * x / (alpha * x + (2 - alpha) * y)


def phi(u, p, alpha, turned=False):
    log_h = np.log(share(u[:, None], u[None, :], alpha))
    return (p * np.exp(((log_h.T if turned else log_h) * p).sum(1))).sum()


# ------------------------------------------------------------- ML-CPC


def board_gradient(positive, negative, alpha, beta=None, rows=False, target=None):
    n, m = len(positive), negative.shape[1] + 1
    b = (m - alpha) / (m - 1) if beta is None else beta
    board = torch.cat([positive[:, None] + math.log(alpha), negative + math.log(b)], 1)
    shares = board.softmax(1) / n if rows else board.flatten().softmax(0).view(n, m)
    return (1 / n if target is None else target) - shares[:, 0], -shares[:, 1:]


def board_overflowing(positive, negative, alpha):
    n, m = len(positive), negative.shape[1] + 1
    beta = (m - alpha) / (m - 1)
    Z = alpha * positive.exp().sum() + beta * negative.exp().sum()
    return 1 / n - alpha * positive.exp() / Z, -beta * negative.exp() / Z


def ml_value(scores, alpha, beta=None, boards=2, turned=False):
    n = len(scores)
    b = (n - alpha) / (n - 1) if beta is None else beta
    log_weights = torch.full_like(scores, math.log(alpha if turned else b))
    log_weights.fill_diagonal_(math.log(b if turned else alpha))
    log_Z = torch.logsumexp((scores + log_weights).flatten(), 0)
    return boards * math.log(n) + scores.diagonal().mean() - log_Z


def ml_overflowing(scores, alpha):
    n = len(scores)
    weights = torch.full_like(scores, (n - alpha) / (n - 1)).fill_diagonal_(alpha)
    return 2 * math.log(n) + scores.diagonal().mean() - (weights * scores.exp()).sum().log()


def row_value(scores, alpha):
    return bounds.cpc(*bounds.split(scores), alpha)


def heavy(n, m, w):
    return w * m / (n * (m - 1) + w)


def a_board(scale, seed):
    return tuple(scale * each[0] for each in exact.random_boards(1, 3, 4, seed=seed))


def variance_limit(n, alpha, tau=2.0, of_positives=True):
    return (tau * (n - alpha) / (n - 1) / (alpha * n) + of_positives / n) / 4


SQUARES = [(normal(2, 2, seed=5), 1.5), (normal(6, 6, seed=6), 0.1),
           (normal(6, 6, seed=7, scale=1000.0), 3.0)]
BOARDS = [(*a_board(1.0, 5), 1.0), (*a_board(1.0, 6), 0.2), (*a_board(500.0, 7), 3.0)]
BATCH = bounds.alpha_batch(128)


# ------------------------------------------------------------- estimating


def solved(value, truth, factor):
    return truth / factor <= value <= factor * truth


def counted(repeats, base=1.0):
    total = sum(times * kinds for times, kinds in repeats)
    return -sum(kinds * times / total * math.log(times / total) for times, kinds in repeats) / base


def merge(parts):
    top = max(c for c, _ in parts)
    return top + math.log(sum(s * math.exp(c - top) for c, s in parts))


def merge_overflowing(parts):
    try:
        return math.log(sum(s * math.exp(c) for c, s in parts))
    except OverflowError:
        return math.inf


KINDS = [([[1, 2]],), ([[3, 1], [1, 5]],), ([[2, 3], [1, 4]],)]
PARTS = [([(0.0, 1.0), (1.0, 2.0)],), ([(1000.0, 1.5), (998.0, 30.0), (1001.0, 2.0)],)]
RHO_TWO = math.sqrt(1 - math.exp(-0.2))


# ------------------------------------------------------------- learning, and at scale


def largest_queue(chance: float) -> int:
    return next(K for K in range(1, 10**5)
                if memory.own_key_chance(K + 1, 10_000) > chance)


PEAK = 2 / math.pi * math.atan(math.log(100) / math.pi)
SIMPLEX = (10 / 9) / math.log(16_384 / (E - 1))


# ------------------------------------------------------------- information and encoders


@dataclass(frozen=True)
class Affine:
    """A flow of one coordinate, with its inverse."""

    scale: float
    shift: float

    def __call__(self, x):
        return self.scale * x + self.shift

    def inverse(self, z):
        return (z - self.shift) / self.scale


def same_class(of_x, of_y, prior, turned=False):
    found = torch.einsum("ic,jc,c->ij", of_x, of_y, 1 / prior).log()
    return found.T if turned else found


def doubtful(of_error: Callable[[float], float], nats: float) -> float:
    """The share of errors that leaves so much in doubt, in nats."""
    return root(lambda e: nats - of_error(e), 1e-9, 0.2)


def twice(e: float) -> float:
    return entropy(2 * e * (1 - e))


def certified(nats: float, full: float = math.log(10), price: float = 2 * LOG2) -> float:
    return 1 - (full - nats) / price


FLOWS = [(Affine(2.0, 1.0), Affine(0.5, -3.0), table([0.0, 1, 4])),
         (Affine(-1.0, 0.5), Affine(3.0, 2.0), table([[1.0, -2], [0.3, 7]]))]
POSTERIORS = [(normal(3, 3, seed=8).softmax(1), normal(3, 3, seed=9).softmax(1), prior)
              for prior in (table([1.0, 1, 1]) / 3, table([0.2, 0.3, 0.5]))]


def entry(asked: dict) -> Exercise:
    """An exercise of the table; what it asks for and what mistakes lead to are computed."""
    def value(expression: object) -> Any:
        return eval(str(expression), globals())

    whole = asked.get("whole", False)
    return Exercise(
        value(asked["right"]), tuple(Slip(value(gives), says)
                                     for gives, says in asked["slips"].items()),
        value(asked.get("within", 0.5 if whole else 1e-9)), tuple(value(asked.get("cases", ()))),
        tuple(asked.get("hints", ())), whole)


TABLE = {label: entry(asked) for label, asked in yaml.safe_load(
    Path(__file__).with_suffix(".yml").read_text(encoding="utf-8")).items()}
