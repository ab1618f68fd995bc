"""Laws that try to break a bound: one random number, and the counter-examples in closed form.

For one anchor everything is decided by the law of one positive random number u, the weight that
the critic gives to a candidate: see :func:`log_phi`. For many anchors in a batch the worst known
cases are copies y = x, whose collisions can be counted.
"""

import itertools
import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch

from mlcpc import bounds, exact
from mlcpc.shapes import Float, Tensor


def log_phi(
    log_u: Float[Tensor, "*batch atoms"],
    log_p: Float[Tensor, "*batch atoms"],
    alpha: float | Tensor,
    m: int,
) -> Float[Tensor, "*batch"]:
    r"""log Φ of a law with finitely many values: the largest L_α − I that the law can cause.

    .. math:: Φ = E\left[m\,u\,e^{-\ell(u)}\right], \qquad
              \ell(u) = E\left[\log\left(αu + β \sum_{k=1}^{m-1} u_k\right) \Big|\, u\right]

    Args:
        log_u: logarithms of the values, (…, atoms).
        log_p: logarithms of their probabilities, (…, atoms).
        alpha: weight of the positive in (0, m); a tensor is broadcast over the batch.
        m: candidates; u_1, …, u_{m−1} are independent copies of u.

    Returns:
        nats, (…,). At most 0 for every law exactly where CPC with this weight is a lower bound.
    """
    return torch.logsumexp(log_p + log_heights(log_u, log_p, alpha, m), -1)


def log_heights(log_u: Tensor, log_p: Tensor, alpha: float | Tensor, m: int) -> Tensor:
    """log H(u) = log(m u) − ℓ(u) at each value, (…, atoms); Φ is the mean of H."""
    alpha = torch.as_tensor(alpha, dtype=torch.float64)
    beta = (m - alpha) / (m - 1)
    others = torch.tensor([*itertools.combinations_with_replacement(range(log_u.shape[-1]), m - 1)])
    orders = [
        math.factorial(m - 1) / math.prod(math.factorial(row.count(v)) for v in set(row))
        for row in others.tolist()
    ]
    log_sum = torch.logsumexp(log_u[..., others], -1)
    term = torch.logaddexp(
        torch.log(alpha)[..., None, None] + log_u[..., :, None],
        torch.log(beta)[..., None, None] + log_sum[..., None, :],
    )
    chance = log_p[..., others].sum(-1).exp() * torch.tensor(orders, dtype=torch.float64)
    return math.log(m) + log_u - (chance[..., None, :] * term).sum(-1)


def worst_law(
    alpha: float, m: int, atoms: int, restarts: int = 32, steps: int = 400, seed: int = 0
) -> tuple[float, Tensor, Tensor]:
    """Ascend log Φ over laws with a number of values: its largest value, log u and log p.

    The first start is near the law of two values that is the worst one known.
    """
    generator = torch.Generator().manual_seed(seed)
    start = 3 * torch.randn(2, restarts, atoms, generator=generator, dtype=torch.float64)
    start[0, 0], start[1, 0] = torch.linspace(-9, 0, atoms), 0.0
    gap, point = ascend(
        lambda point: log_phi(point[0], point[1].log_softmax(-1), alpha, m), start, steps
    )
    return gap, point[0], point[1].log_softmax(-1)


def ascend(
    gap: Callable[[Tensor], Tensor], start: Float[Tensor, "k starts *point"], steps: int
) -> tuple[float, Tensor]:
    """Climb a function from many starts at once (Adam): its largest value and where it was met.

    Args:
        gap: function of points like ``start``, one value for each start.
        start: where to begin; the second dimension counts the starts.
        steps: ascent steps.
    """
    point = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([point], lr=0.1)
    worst = (-math.inf, start[:, 0])
    for _ in range(steps):
        found = gap(point)
        top = int(found.argmax())
        if found[top].item() > worst[0]:
            worst = found[top].item(), point[:, top].detach().clone()
        optimiser.zero_grad()
        (-found.sum()).backward()
        optimiser.step()
    return worst


def sub_board_gap(
    table: Float[Tensor, "batch x y"],
    score: Float[Tensor, "batch x y"],
    c: float,
    a: int = 1,
    b: int = 1,
) -> Float[Tensor, " batch"]:
    r"""Exact E[log g(x_0, y_0) − log(D/W)] − I of a sub-board with a + 1 rows and b + 1 columns.

    .. math:: D = c \sum_j g(x_j, y_0) + \sum_{k=1}^b \sum_j g(x_j, y_k), \qquad W = (a+1)(b+c)

    The pair (x_0, y_0) is drawn from the joint and all other letters from its marginals.
    """
    size_x, size_y = table.shape[-2:]
    x = torch.cartesian_prod(*[torch.arange(size_x)] * (a + 1)).view(-1, a + 1)
    y = torch.cartesian_prod(*[torch.arange(size_y)] * (b + 1)).view(-1, b + 1)
    p_x, p_y = table.sum(-1), table.sum(-2)
    chance = table[:, x[:, 0]][:, :, y[:, 0]]
    chance = chance * p_x[:, x[:, 1:]].prod(-1)[:, :, None] * p_y[:, y[:, 1:]].prod(-1)[:, None, :]
    columns = score.exp()[:, x].sum(2)[:, :, y]  # G(y_k): (batch, draws of x, draws of y, b + 1)
    D = c * columns[..., 0] + columns[..., 1:].sum(-1)
    value = score[:, x[:, 0]][:, :, y[:, 0]] - (D / (a + 1) / (b + c)).log()
    return (chance * value).sum((-2, -1)) - exact._mutual_information(table)


def cyclic(log_u: Tensor, alpha: float, m: int) -> tuple[Tensor, exact.Joint, Tensor]:
    """log Φ of equally likely values, and a joint and scores that reach it: L_α − I = log Φ.

    With K values, g(x, y) = u_{y−x} modulo K, and p(x, y) is proportional to H(g(x, y)).
    """
    K = len(log_u)
    log_p = torch.full_like(log_u, -math.log(K))
    log_height = log_heights(log_u, log_p, alpha, m)
    value = torch.logsumexp(log_p + log_height, -1)
    shift = (torch.arange(K) - torch.arange(K)[:, None]) % K
    table = (log_height - value).exp()[shift] / K**2
    return value, exact.Joint(table), log_u[shift]


def two_point_gap(alpha: float, m: int, p: np.ndarray) -> np.ndarray:
    r"""L_α − I in nats where a candidate scores 1 with chance p and else nothing.

    .. math:: -E \log \frac{α + β\,\mathrm{Bin}(m - 1, p)}{m p}

    Args:
        alpha: weight of the positive.
        m: candidates.
        p: chances in (0, 1], of any shape.
    """
    k = m - 1
    beta = (m - alpha) / k
    p = np.asarray(p, dtype=float)[..., None]
    hits = np.arange(min(k, 1000) + 1)  # with many candidates a large p is never the worst
    log_ways = np.array(
        [math.lgamma(k + 1) - math.lgamma(j + 1) - math.lgamma(k - j + 1) for j in hits]
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = np.where(hits < k, (k - hits) * np.log1p(-p), 0.0)
    chance = np.exp(log_ways + hits * np.log(p) + rest)
    return -(chance * np.log((alpha + beta * hits) / (m * p))).sum(-1)


@lru_cache
def two_point(m: int) -> float:
    """α*_m, where the law of two values stops to break CPC with m candidates: 2/e for m = 2.

    For m ≥ 3 other laws reach a little further, by less than 2e-5 for those that we searched.

    Raises:
        ValueError: m < 2.
    """
    bounds._check_count("m", m, 2)
    if m == 2:
        return bounds.TWO_OVER_E  # reached as p tends to 1
    low, high = never_meet_edge(1, m), bounds.TWO_OVER_E
    for _ in range(40):
        alpha = (low + high) / 2
        ends, points = (0.3 / (m - 1), min(0.98, 60 / (m - 1))), 160
        for _ in range(4):  # the maximum in p, by finer and finer grids
            grid = np.linspace(*ends, points)
            gap = two_point_gap(alpha, m, grid)
            top = int(gap.argmax())
            ends, points = (grid[max(top - 1, 0)], grid[min(top + 1, points - 1)]), 24
        low, high = (alpha, high) if gap[top] > 0 else (low, alpha)
    return low


def never_meet_edge(n: int, m: int) -> float:
    r"""Weight below which two letters that never meet break every design.

    .. math:: α^\circ_{n,m} = m \left(1 - \frac{1 - e^{-u}}{u}\right), \qquad u = \frac{1}{n(m-1)}
    """
    u = 1 / (n * (m - 1))
    return m * (1 + math.expm1(-u) / u)


@lru_cache
def collisions(n: int, letters: int, most: int = 60) -> tuple[np.ndarray, float]:
    """Chances of s = 0 … ``most`` pairs that agree among n uniform letters, and what is left out.

    The birthday problem: if c_k letters are held by exactly k anchors, s = Σ c_k k(k − 1)/2, and
    the number of ways is a product of factorials. Letters held by more than six are left out.
    """
    chance = np.zeros(most + 1)
    log = math.lgamma

    def fill(k: int, anchors: int, free: int, pairs: int, weight: float) -> None:
        """Choose how many letters are held by k anchors, then by fewer."""
        if k == 1:
            if anchors <= free:
                chance[pairs] += math.exp(weight - log(anchors + 1) - log(free - anchors + 1))
            return
        for held in range(anchors // k + 1):
            new_pairs = pairs + held * k * (k - 1) // 2
            if new_pairs > most or held > free:
                break
            fill(
                k - 1,
                anchors - held * k,
                free - held,
                new_pairs,
                weight - held * log(k + 1) - log(held + 1),
            )

    fill(min(n, 6), n, letters, 0, log(letters + 1) + log(n + 1) - n * math.log(letters))
    return chance, max(0.0, 1 - chance.sum())


def copy_gap(n: int, letters: int, alpha: float | np.ndarray) -> np.ndarray:
    r"""J_α − I in nats of the copy y = x in a batch of n, from below; alpha may be an array.

    .. math:: -E\left[\log \frac{(αn + 2βS) K}{n^2}\right]

    S counts the pairs of anchors that agree, with K letters. What :func:`collisions` leaves out is
    charged with the largest value of the logarithm, log K, so the result is a lower end.
    """
    chance, left_out = collisions(n, letters)
    alpha = np.asarray(alpha, dtype=float)[..., None]
    beta = (n - alpha) / (n - 1)
    pairs = np.arange(len(chance))
    value = np.log((alpha * n + 2 * beta * pairs) * letters / n**2)
    return -(chance * value).sum(-1) - left_out * math.log(letters)


@lru_cache
def copy_edge(n: int) -> float:
    """Largest weight, to six digits, at which some copy breaks a batch of n; found from below."""
    edge = 0.0
    for mu in (0.5, 0.7, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0):
        letters = max(2, round(n * (n - 1) / 2 / mu))
        low, high = edge, bounds.alpha_batch(n)
        if edge and not copy_gap(n, letters, edge) > 0:
            continue
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (middle, high) if copy_gap(n, letters, middle) > 0 else (low, middle)
        edge = low
    return edge


def limit_gap(mu: float, ratio: float) -> float:
    r"""J_α − I in nats of the copy at α = ratio · α_min, as n and K grow with n²/(2K) → mu.

    .. math:: G_c(μ) = \log μ - E\left[\log\left(\tfrac c2 + \mathrm{Poisson}(μ)\right)\right]
    """
    k = np.arange(400)
    log_chance = -mu + k * math.log(mu) - np.array([math.lgamma(j + 1) for j in k])
    return math.log(mu) - float((np.exp(log_chance) * np.log(ratio / 2 + k)).sum())
