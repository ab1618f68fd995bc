r"""Finite joints, exact expectations by enumeration, and a search that tries to break a bound.

A bound is a function of random pairs. On a finite alphabet the pairs can be enumerated, so its
expectation is a finite sum and a claim "J ≤ I" can be checked to rounding, with no sampling.

Three designs of negatives, which the literature mixes up:

    independent  every negative is a fresh pair (x̄, ȳ) from the product of the marginals
    shared       the negatives of anchor j are (x_j, ȳ_jk) with fresh ȳ_jk from p(y)
    in_batch     m = n and the negatives of anchor j are (x_j, y_k), k ≠ j
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from mlcpc import bounds
from mlcpc.shapes import Float, Int, Tensor

DESIGNS = bounds._DESIGNS
LIMIT = 20_000_000  # configurations; about a minute on one core
_CHUNK = 2_000_000  # scores held at once while summing

Bound = Callable[[Tensor, Tensor, Any], Tensor]


@dataclass(frozen=True)
class Joint:
    """A joint distribution p(x, y) on finite alphabets, as a table of probabilities.

    Args:
        table: (…, a, b) probabilities; leading dimensions hold a batch of joints. Anything that
            ``torch.as_tensor`` takes; kept in float64.

    Raises:
        ValueError: entries that are negative or not finite, or a table that does not sum to one
            within 1e-9.
    """

    table: Float[Tensor, "*batch a b"]

    def __post_init__(self) -> None:
        table = torch.as_tensor(self.table, dtype=torch.float64)
        if table.ndim < 2 or table.numel() == 0:
            raise ValueError(f"table has shape {tuple(table.shape)}; valid: (…, a, b)")
        if not torch.isfinite(table).all() or (table < 0).any():
            worst = table.flatten()[table.flatten().nan_to_num(-math.inf).argmin()].item()
            raise ValueError(f"table contains {worst:g}; valid: finite probabilities of at least 0")
        total = table.sum((-2, -1))
        off = (total - 1).abs()
        if off.max() > 1e-9:
            raise ValueError(
                f"table sums to {total.flatten()[off.argmax()].item():.10g}; valid: 1 within 1e-9"
            )
        object.__setattr__(self, "table", table)

    @property
    def marginals(self) -> tuple[Float[Tensor, "*batch a"], Float[Tensor, "*batch b"]]:
        """p(x) and p(y), the sums of the table along its rows and columns."""
        return self.table.sum(-1), self.table.sum(-2)

    @property
    def product(self) -> Float[Tensor, "*batch a b"]:
        """p(x) p(y), the table of independent pairs with the same marginals."""
        p_x, p_y = self.marginals
        return p_x[..., :, None] * p_y[..., None, :]

    @property
    def log_ratio(self) -> Float[Tensor, "*batch a b"]:
        """log p(x, y) / (p(x) p(y)), −inf where p(x, y) = 0; the best critic of many bounds."""
        ratio = self.table.log() - self.product.log()
        return torch.where(self.table > 0, ratio, -math.inf)

    @property
    def mi(self) -> Float[Tensor, "*batch"]:
        r"""Mutual information :math:`\sum p(x,y) \log \frac{p(x,y)}{p(x)p(y)}` in nats."""
        return _mutual_information(self.table)

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw ``count`` pairs of letters from one table: two integer tensors (count,)."""
        if self.table.ndim != 2:
            raise ValueError(f"table has shape {tuple(self.table.shape)}; valid to sample: (a, b)")
        cells = torch.multinomial(self.table.flatten(), count, True, generator=generator)
        return cells // self.table.shape[-1], cells % self.table.shape[-1]


def expected(
    bound: Bound,
    joint: Joint,
    log_critic: Float[Tensor, "*batch a b"],
    n: int,
    m: int,
    alpha: float | Tensor = 1.0,
    negatives: str = "independent",
) -> Float[Tensor, "*batch"]:
    r"""Exact expectation of a bound, the sum over every draw of positives and negatives.

    .. math:: E[B] = \sum_{\text{draws}} p(\text{draw})\, B_α(f(\text{draw}))

    Draws that a permutation of the anchors, of one anchor's negatives, or (where the bound allows
    it) of all negatives maps onto each other have the same value; one of them is evaluated and
    counted as often as they occur. The bound is asked, on random scores, which of these
    permutations leave it unchanged.

    Args:
        bound: function of (positive (…, n), negative (…, n, m − 1), alpha), such as those of
            :mod:`mlcpc.bounds`.
        joint: the distribution of a positive pair; its batch dimensions are kept.
        log_critic: score f(x, y) of every pair of letters, (…, a, b), finite or −inf.
        n: anchors.
        m: candidates of an anchor.
        alpha: weight of a positive; a tensor is broadcast over the batch dimensions.
        negatives: "independent", "shared" or "in_batch" (which needs m = n).

    Returns:
        the expectation in the unit of the bound (nats), (…,), float64.

    Raises:
        ValueError: shapes that do not fit, an unknown design, m ≠ n in the batch, a bound that
            depends on the order of the anchors, or more than ``LIMIT`` configurations (said with
            their number before memory is used).

    Example:
        >>> joint = Joint(torch.tensor([[0.4, 0.1], [0.1, 0.4]], dtype=torch.float64))
        >>> value = expected(bounds.ml_cpc, joint, joint.log_ratio, n=2, m=2)
        >>> round(value.item(), 4), round(joint.mi.item(), 4)
        (0.0574, 0.1927)
    """
    log_critic = torch.as_tensor(log_critic, dtype=torch.float64)
    if log_critic.shape[-2:] != joint.table.shape[-2:]:
        raise ValueError(
            f"log_critic has shape {tuple(log_critic.shape)}; valid: (…, a, b) with the alphabets "
            f"of the joint, {tuple(joint.table.shape[-2:])}"
        )
    with torch.no_grad():
        return _expected(bound, joint.table, log_critic, n, m, alpha, negatives)


def from_counts(counts: Float[Tensor, "*batch a b"]) -> Joint:
    """The joint of frequencies: a table of counts, or of any weights, divided by its total.

    Args:
        counts: (…, a, b) weights of at least 0; anything that ``torch.as_tensor`` takes.

    Raises:
        ValueError: a table whose weights sum to zero, or what :class:`Joint` refuses.

    Example:
        >>> joint = from_counts(torch.tensor([[3, 1], [0, 4]]))
        >>> joint.table
        tensor([[0.3750, 0.1250],
                [0.0000, 0.5000]], dtype=torch.float64)
    """
    counts = torch.as_tensor(counts, dtype=torch.float64)
    total = counts.sum((-2, -1), keepdim=True)
    if not (total > 0).all():
        raise ValueError(f"counts sum to {total.min().item():g}; valid: above 0")
    return Joint(counts / total)


def random_cases(
    count: int, alphabet: tuple[int, int] = (2, 2), seed: int = 0
) -> tuple[Joint, Float[Tensor, "count a b"]]:
    """Random joints, from nearly uniform to nearly deterministic, each with a random critic.

    The logits of a joint are normal, with a standard deviation that grows over the batch from 0.1
    to 5. The scores are normal with standard deviation 2.

    Args:
        count: number of joints, and of critics.
        alphabet: sizes (a, b) of the two alphabets.
        seed: seed of the draws.

    Returns:
        the joints as one batch, and the scores f(x, y), (count, a, b), float64.

    Raises:
        ValueError: count or an alphabet below 1.

    Example:
        >>> joints, critics = random_cases(5, alphabet=(2, 3))
        >>> joints.table.shape, critics.shape
        (torch.Size([5, 2, 3]), torch.Size([5, 2, 3]))
    """
    bounds._check_count("count", count, 1)
    bounds._check_count("alphabet", min(alphabet), 1)
    generator = torch.Generator().manual_seed(seed)
    logits, scores = torch.randn(2, count, *alphabet, generator=generator, dtype=torch.float64)
    spread = torch.logspace(-1, 0.7, count, dtype=torch.float64)[:, None]
    table = (logits.flatten(1) * spread).softmax(1).view(count, *alphabet)
    return Joint(table), 2 * scores


def random_boards(
    count: int, n: int, m: int, seed: int = 0
) -> tuple[Float[Tensor, "count n"], Float[Tensor, "count n m-1"]]:
    """Random scores of n anchors with m candidates each, normal with standard deviation 2.

    Args:
        count: number of boards.
        n: anchors.
        m: candidates of an anchor.
        seed: seed of the draws.

    Returns:
        scores of the positives, (count, n), and of the negatives, (count, n, m − 1), float64: what
        the functions of :mod:`mlcpc.bounds` take.

    Raises:
        ValueError: count or n below 1, m below 2.

    Example:
        >>> positive, negative = random_boards(5, n=2, m=3)
        >>> positive.shape, negative.shape
        (torch.Size([5, 2]), torch.Size([5, 2, 2]))
    """
    for name, value, least in (("count", count, 1), ("n", n, 1), ("m", m, 2)):
        bounds._check_count(name, value, least)
    generator = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(count, n, m, generator=generator, dtype=torch.float64)
    return scores[..., 0], scores[..., 1:]


@dataclass(frozen=True)
class Worst:
    """What a search found: the largest J − I in nats, and the joint and critic that give it."""

    gap: float
    joint: Joint
    log_critic: Float[Tensor, "a b"]


def search(
    bound: Bound,
    n: int,
    m: int,
    alpha: float = 1.0,
    negatives: str = "independent",
    alphabet: tuple[int, int] = (2, 2),
    seed: int = 0,
    restarts: int = 32,
    steps: int = 300,
    start: tuple[Joint, Float[Tensor, "a b"]] | None = None,
) -> Worst:
    r"""Try to break a bound: ascend the exact J − I over every joint and every critic.

    The joint is a softmax of free logits and the critic is free, so each ascent is unconstrained.
    All restarts move together in one tensor; they start from joints between nearly uniform and
    nearly deterministic.

    Args:
        bound, n, m, alpha, negatives: as in :func:`expected`.
        alphabet: sizes (a, b) of the two alphabets.
        seed: seed of the starting points.
        restarts: starting points.
        steps: ascent steps of each (Adam, step size falling from 0.3 to 0).
        start: a joint and its scores to start near instead; it gives the alphabet. A violation
            that needs many letters with rare zeros is not met from random starting points.

    Returns:
        the worst point met. A positive gap is a counter-example: the bound exceeds the mutual
        information there. A gap of at most rounding is no proof.

    Raises:
        ValueError: as :func:`expected`; alphabets, restarts or steps below 1.

    Example:
        >>> worst = search(bounds.cpc, n=1, m=2, alpha=0.5, restarts=4, steps=60)
        >>> worst.gap > 0.05
        True
    """
    a, b = alphabet if start is None else start[0].table.shape
    for name, count in {"alphabet": min(a, b), "restarts": restarts, "steps": steps}.items():
        if count < 1:
            raise ValueError(f"{name} is {count}; valid: at least 1")
    generator = torch.Generator().manual_seed(seed)
    spread = torch.logspace(-1, 0.7, restarts, dtype=torch.float64)[:, None, None]
    noise = torch.randn(2, restarts, a, b, generator=generator, dtype=torch.float64)
    if start is None:
        logits, log_critic = noise[0] * spread, noise[1]
    else:  # a probability or a critic of zero has no logarithm to move; 1e-13 is as good
        logits = start[0].table.log().clamp(min=-30) + 0.01 * spread * noise[0]
        log_critic = start[1].double().clamp(min=-30) + 0.01 * spread * noise[1]
    logits, log_critic = logits.requires_grad_(), log_critic.clone().requires_grad_()
    optimiser = torch.optim.Adam([logits, log_critic], lr=0.3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.01, steps)
    worst: tuple[float, Tensor, Tensor] | None = None
    for _ in range(steps):
        table = logits.flatten(1).softmax(1).view_as(logits)
        value = _expected(bound, table, log_critic, n, m, alpha, negatives)
        gap = value - _mutual_information(table)
        top = int(gap.argmax())
        if worst is None or gap[top].item() > worst[0]:
            worst = gap[top].item(), table[top].detach().clone(), log_critic[top].detach().clone()
        optimiser.zero_grad()
        (-gap.sum()).backward()
        optimiser.step()
        schedule.step()
    assert worst is not None  # there is at least one step
    found, table, critic = worst
    # A score matters only up to a constant; pinning its largest value makes results comparable.
    return Worst(found, Joint(table / table.sum()), critic - critic.max())


def count_configurations(a: int, b: int, n: int, m: int, negatives: str, pooled: bool) -> int:
    """Number of grouped draws that :func:`expected` sums for alphabets of sizes a and b.

    Example:
        >>> count_configurations(2, 2, n=2, m=3, negatives="shared", pooled=False)
        78
    """
    cells = a * b
    if negatives == "in_batch":
        return math.comb(cells + n - 1, n)
    if negatives == "independent" and pooled:
        return math.comb(cells + n - 1, n) * math.comb(cells + n * (m - 1) - 1, n * (m - 1))
    letters = cells if negatives == "independent" else b
    rows = cells * math.comb(letters + m - 2, m - 1)
    return math.comb(rows + n - 1, n)


def _mutual_information(table: Tensor) -> Tensor:
    p_x, p_y = table.sum(-1, keepdim=True), table.sum(-2, keepdim=True)
    return (
        torch.xlogy(table, table).sum((-2, -1))
        - torch.xlogy(p_x, p_x).sum((-2, -1))
        - torch.xlogy(p_y, p_y).sum((-2, -1))
    )


@dataclass(frozen=True)
class _Draws:
    """Grouped draws: which cells the positives and the negatives are, and how often.

    Leading dimensions broadcast: where positives and negatives are independent, the draws are the
    product of two lists and are never written out. A draw occurs as often as the product of its
    two counts says.
    """

    positive: Int[Tensor, "*#draws n"]
    positive_log_count: Float[Tensor, "*#draws"]
    negative: Int[Tensor, "*#draws n negatives"]
    negative_log_count: Float[Tensor, "*#draws"]


def _expected(
    bound: Bound,
    table: Tensor,
    log_critic: Tensor,
    n: int,
    m: int,
    alpha: float | Tensor,
    negatives: str,
) -> Tensor:
    """:func:`expected` on bare tensors, with gradients to the table and the critic."""
    bounds._check_count("n", n, 1)
    bounds._check_count("m", m, 2)
    bounds._check_alpha(alpha, m)
    if negatives not in DESIGNS:
        raise ValueError(f"negatives is {negatives!r}; valid: {', '.join(DESIGNS)}")
    if negatives == "in_batch" and n != m:
        raise ValueError(f"m is {m}; valid with negatives from the batch: m = n = {n}")
    a, b = table.shape[-2:]
    pooled = _pools_negatives(bound, n, m)
    size = count_configurations(a, b, n, m, negatives, pooled)
    if size > LIMIT:
        raise ValueError(
            f"n = {n}, m = {m}, negatives = {negatives!r} on a {a}x{b} alphabet needs {size:,} "
            f"configurations; valid: at most {LIMIT:,}"
        )
    draws = _enumerate(a, b, n, m, negatives, pooled)
    log_p = table.flatten(-2).log()
    p_x, p_y = table.sum(-1), table.sum(-2)
    log_q = (p_x.log()[..., :, None] + p_y.log()[..., None, :]).flatten(-2)
    # What a negative adds to the probability of a draw beyond its anchor's: a pair of letters,
    # one letter y, or nothing because the batch already holds it.
    log_fresh = {
        "independent": log_q,
        "shared": p_y.log()[..., None, :].expand_as(table).flatten(-2),
        "in_batch": torch.zeros_like(log_q),
    }[negatives]
    scores = log_critic.flatten(-2)
    batch = torch.broadcast_shapes(log_p.shape[:-1], scores.shape[:-1])
    log_p, log_fresh, scores = (
        each.expand(*batch, -1).reshape(-1, a * b) for each in (log_p, log_fresh, scores)
    )
    alpha = torch.as_tensor(alpha, dtype=log_p.dtype).expand(batch).reshape(-1)
    size = max(1, _CHUNK // (size * n * m))  # joints summed at once
    parts = [
        _sum_over_draws(
            bound, draws, log_p[part], log_fresh[part], scores[part], alpha[part], n * m
        )
        for part in (slice(begin, begin + size) for begin in range(0, len(log_p), size))
    ]
    return torch.cat(parts).reshape(batch)


def _sum_over_draws(
    bound: Bound,
    draws: _Draws,
    log_p: Tensor,
    log_fresh: Tensor,
    scores: Tensor,
    alpha: Tensor,
    board: int,
) -> Tensor:
    """Σ p(draw) · bound(draw) for a batch of joints, a slice of the draws at a time."""
    alpha = alpha.reshape(-1, *[1] * (draws.positive.ndim - 1))
    total = torch.zeros(len(log_p), dtype=log_p.dtype)
    # To a bound, −inf leaves a negative out. Here it is a critic of zero, whose pair counts.
    low = scores.clamp(min=torch.finfo(scores.dtype).min / 8)
    shape = torch.broadcast_shapes(draws.positive.shape[:-1], draws.negative.shape[:-2])
    step = max(1, _CHUNK // (len(log_p) * math.prod(shape[1:]) * board))
    for begin in range(0, shape[0], step):
        part = slice(begin, begin + step)
        positive, positive_count = draws.positive[part], draws.positive_log_count[part]
        negative, negative_count = draws.negative, draws.negative_log_count
        if len(negative) > 1:
            negative, negative_count = negative[part], negative_count[part]
        of_positives = (positive_count + log_p[:, positive].sum(-1)).exp()
        of_negatives = (negative_count + log_fresh[:, negative].sum((-2, -1))).exp()
        probability = of_positives * of_negatives
        value = bound(scores[:, positive], low[:, negative], alpha)
        # A draw of probability zero may have the value −inf; it does not occur.
        weighted = torch.where(probability > 0, probability * value, 0.0)
        total = total + weighted.flatten(1).sum(1)
    return total


def _pools_negatives(bound: Bound, n: int, m: int) -> bool:
    """Ask a bound on random scores whether it may be grouped, and how far.

    Raises ValueError for a bound that depends on the order of the anchors or of the negatives.
    """
    generator = torch.Generator().manual_seed(0)
    positive = torch.randn(n, generator=generator, dtype=torch.float64)
    negative = torch.randn(n, m - 1, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        value = bound(positive, negative, 0.5)

        def unchanged(other_positive: Tensor, other_negative: Tensor) -> bool:
            other = bound(other_positive, other_negative, 0.5)
            return torch.allclose(other, value, rtol=0, atol=1e-12)

        # A rotation and a reversal of three or more distinct scores meet every asymmetric formula
        # that a person would write; random scores leave no room for a coincidence.
        anchors = unchanged(positive.roll(1), negative.roll(1, 0)) and unchanged(
            positive.flip(0), negative.flip(0)
        )
        candidates = unchanged(positive, negative.roll(1, 1)) and unchanged(
            positive, negative.flip(1)
        )
        if not (anchors and candidates):
            raise ValueError(
                "bound depends on the order of the anchors or of an anchor's negatives; "
                "valid: a bound that is symmetric in both"
            )
        return unchanged(positive, negative.flatten().roll(1).view_as(negative)) and unchanged(
            positive, negative.roll(1, 0)
        )


@lru_cache(maxsize=8)
def _enumerate(a: int, b: int, n: int, m: int, negatives: str, pooled: bool) -> _Draws:
    """Every group of draws; cells are numbered x·b + y."""
    cells = a * b
    if negatives == "in_batch":
        batch, log_count = _multisets(cells, n)
        x, y = batch // b, batch % b
        pairs = x[:, :, None] * b + y[:, None, :]  # (draws, n, n)
        off = ~np.eye(n, dtype=bool)
        negative = pairs[:, off].reshape(len(batch), n, n - 1)
        return _as_draws(batch, log_count, negative, np.zeros(len(batch)))
    if negatives == "independent" and pooled:
        positive, positive_count = _multisets(cells, n)
        negative, negative_count = _multisets(cells, n * (m - 1))
        return _as_draws(
            positive[:, None],
            positive_count[:, None],
            negative.reshape(1, -1, n, m - 1),
            negative_count[None],
        )
    letters = cells if negatives == "independent" else b
    choice, choice_count = _multisets(letters, m - 1)
    row_positive = np.repeat(np.arange(cells), len(choice))
    row_negative = np.tile(choice, (cells, 1))
    row_count = np.tile(choice_count, cells)
    if negatives == "shared":  # a letter ȳ becomes the pair (x of the anchor, ȳ)
        row_negative = row_positive[:, None] // b * b + row_negative
    rows, log_count = _multisets(len(row_positive), n)
    return _as_draws(row_positive[rows], log_count, row_negative[rows], row_count[rows].sum(1))


def _as_draws(*arrays: np.ndarray) -> _Draws:
    return _Draws(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))


def _multisets(kinds: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Sorted draws of ``size`` out of ``kinds``, and the log of how many orders each stands for."""
    draws = np.arange(kinds)[:, None]
    for _ in range(size - 1):
        last = draws[:, -1]
        repeats = kinds - last
        start = np.cumsum(repeats) - repeats
        following = np.arange(repeats.sum()) - np.repeat(start - last, repeats)
        draws = np.concatenate([np.repeat(draws, repeats, 0), following[:, None]], 1)
    log_count = np.full(len(draws), math.lgamma(size + 1))
    run = np.ones(len(draws))
    for k in range(1, size):
        run = np.where(draws[:, k] == draws[:, k - 1], run + 1, 1)
        log_count -= np.log(run)
    return draws, log_count
