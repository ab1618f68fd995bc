"""Tables of a class, a student's code and a teacher's code, and bounds with negatives by class.

A table p has axes (…, class c, student's code s, teacher's code t), with any leading batch
dimensions. Everything here is a sum over all boards, so sizes are small.
"""

import itertools
from collections.abc import Callable

import torch

from mlcpc import exact
from mlcpc.book import toprows
from mlcpc.shapes import Float, Tensor

Tables = Float[Tensor, "*batch c s t"]
Laws = Float[Tensor, "*batch c t"]


def random_tables(count: int, *shape: int, generator: torch.Generator) -> Tensor:
    """So many tables of a shape, each of positive float64 numbers that sum to one."""
    raw = torch.rand(count, *shape, generator=generator, dtype=torch.float64) ** 3
    return raw / raw.sum(tuple(range(1, 1 + len(shape))), keepdim=True)


def with_codes(p_t: Float[Tensor, " t"], classes: Tensor, codes: Tensor) -> Float[Tensor, "c s t"]:
    """The table of a teacher's code, given the class and the student's code of each letter t."""
    p = torch.zeros(int(classes.max()) + 1, int(codes.max()) + 1, len(p_t), dtype=torch.float64)
    p[classes, codes, torch.arange(len(p_t))] = p_t.double()
    return p


def laws(p: Tables) -> dict[str, Laws]:
    """Law of a negative's t given the anchor's class: of all images, other classes, the same."""
    p_ct = p.sum(-2)
    p_c = p_ct.sum(-1, keepdim=True)
    p_t = p_ct.sum(-2, keepdim=True)
    return {
        "all": p_t.expand_as(p_ct),
        "other": (p_t - p_ct) / (1 - p_c),
        "same": p_ct / p_c,
    }


def expected(
    bound: Callable, p: Tables, scores: Tables, n: int, m: int, alpha: float, law: Laws
) -> Float[Tensor, "*batch"]:
    """Exact mean of a bound over all boards of n anchors with m − 1 drawn negatives each.

    Args:
        bound: :func:`mlcpc.bounds.cpc`, :func:`mlcpc.bounds.ml_cpc`, or one with their arguments.
        p: the tables; anchors and their positives are drawn from them.
        scores: what the critic says of an anchor (c, s) and a code t.
        law: law of a negative given the anchor's class, one of :func:`laws`.
    """
    cells = torch.nonzero((p > 0).reshape(-1, *p.shape[-3:]).any(0))  # others have no chance
    boards = torch.tensor(list(itertools.product(cells.tolist(), repeat=n)))
    c, s, t = boards.unbind(-1)  # (boards, n) each
    drawn = torch.tensor(list(itertools.product(range(p.shape[-1]), repeat=n * (m - 1))))
    drawn = drawn.view(-1, n, m - 1)
    anchors = (c[:, None, :, None], s[:, None, :, None])
    positive = scores[..., c, s, t][..., :, None, :]
    negative = scores[..., anchors[0], anchors[1], drawn]
    chance = p[..., c, s, t].prod(-1)[..., :, None]
    chance = chance * law[..., anchors[0], drawn].flatten(-2).prod(-1)
    value = bound(positive.expand(negative.shape[:-1]), negative, alpha)
    return (chance * value).sum((-2, -1))


def divergence(p: Tables, law: Laws) -> Float[Tensor, "*batch"]:
    """Mean over anchors of KL(p(t | s, c) || law(t | c)), in nats; p must be positive."""
    given = p / p.sum(-1, keepdim=True)
    return (p * (given / law[..., :, None, :]).log()).sum((-3, -2, -1))


def inside(p: Float[Tensor, "c s t"]) -> Tensor:
    """I(S; T | C) of one table, in nats."""
    return sum(part.sum() * exact.Joint(part / part.sum()).mi for part in p if part.sum() > 0)


def perfect_cpc(match: float, m: int) -> float:
    """Value of CPC at α = 1 for a critic that knows which candidates fit, in nats.

    .. math:: \\mathbb E \\log\\frac{m}{1 + k}, \\qquad k \\sim \\mathrm{Binomial}(m - 1, p)

    Args:
        match: p, the chance that a negative fits its anchor as well as the positive does.
        m: candidates.
    """
    p, certain = torch.tensor([[match], [1.0]], dtype=torch.float64)
    return float(toprows.cpc_by_counting(p, certain, m))
