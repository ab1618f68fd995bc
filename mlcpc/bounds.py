r"""The equations: lower bounds on mutual information as pure functions of scores.

Letters, the same as in the book:

    n          anchors, each with one positive
    m          candidates of an anchor: its positive and m − 1 negatives
    f = log g  score of a pair, the logarithm of the critic g > 0
    α          weight of a positive
    β          weight of a negative, β = (m − α)/(m − 1), so that αn + βn(m − 1) = nm

Scores in, nats out. A function never sees data, models or devices. Everything stays in log space,
any leading dimensions are batch dimensions, and half-precision scores are added up in float32.
"""

import math
from numbers import Real

import torch

from mlcpc.shapes import Float, Tensor

Scores = Float[Tensor, "*#batch n"]
NegativeScores = Float[Tensor, "*#batch n negatives"]
Nats = Float[Tensor, "*batch"]


def cpc(positive: Scores, negative: NegativeScores, alpha: float | Tensor = 1.0) -> Nats:
    r"""Contrastive predictive coding, with weight α on the positive of each row.

    .. math:: L_α = \frac1n \sum_i \log \frac{m\, g_{ii}}{α g_{ii} + β \sum_k g_{ik}}

    Args:
        positive: log-critic scores of the positive pairs, (…, n).
        negative: log-critic scores of the m − 1 negatives of each anchor, (…, n, m − 1).
            −inf leaves a negative out.
        alpha: weight of the positive in (0, m]; a tensor is broadcast over the batch dimensions.

    Returns:
        L_α in nats, (…,), at most ``ceiling(m, alpha)``. In expectation it is at most the mutual
        information for α ≥ 1; below that it is not a guaranteed bound.

    Raises:
        ValueError: bad shape, α outside (0, m], NaN or +inf scores.

    Source: van den Oord et al. 2018; the weight α is Song & Ermon 2020.
    """
    positive, negative, log_alpha, log_beta, m = _prepare(positive, negative, alpha)
    of_positive = log_alpha[..., None] + positive
    of_negatives = log_beta[..., None] + torch.logsumexp(negative, dim=-1)
    log_normaliser = torch.logaddexp(of_positive, of_negatives)  # (…, n): one for each anchor
    return math.log(m) + (positive - _finite(log_normaliser)).mean(dim=-1)


def ml_cpc(positive: Scores, negative: NegativeScores, alpha: float | Tensor = 1.0) -> Nats:
    r"""Multi-label contrastive predictive coding: n positives share one normaliser.

    .. math:: J_α = \frac1n \sum_i
              \log \frac{n m\, g_{ii}}{α \sum_j g_{jj} + β \sum_j \sum_k g_{jk}}

    Args:
        positive: log-critic scores of the positive pairs, (…, n).
        negative: log-critic scores of the m − 1 negatives of each anchor, (…, n, m − 1).
            −inf leaves a negative out.
        alpha: weight of a positive in (0, m]; a tensor is broadcast over the batch dimensions.

    Returns:
        J_α in nats, (…,), at most ``ceiling(m, alpha)``. In expectation it is at most the mutual
        information for α ≥ ``alpha_min(n, m)`` if the negatives are independent or share their
        anchor, and for α ≥ 1 if they come from the batch; else it is not a guaranteed bound.

    Raises:
        ValueError: bad shape, α outside (0, m], NaN or +inf scores.

    Source: Song & Ermon 2020, "Multi-label Contrastive Predictive Coding".
    """
    positive, negative, log_alpha, log_beta, m = _prepare(positive, negative, alpha)
    n = positive.shape[-1]
    of_positives = log_alpha + torch.logsumexp(positive, dim=-1)
    of_negatives = log_beta + torch.logsumexp(negative, dim=(-2, -1))
    log_normaliser = torch.logaddexp(of_positives, of_negatives)  # (…,): one for all anchors
    return math.log(n * m) + positive.mean(dim=-1) - _finite(log_normaliser)


def donsker_varadhan(positive: Scores, negative: NegativeScores) -> Nats:
    r"""Donsker-Varadhan, with the mean over all negatives in place of the expectation.

    .. math:: \frac1n \sum_i f_{ii} - \log \frac{1}{n(m-1)} \sum_{i,k} e^{f_{ik}}

    Shapes and errors as in :func:`cpc`. With the true expectation it is at most the mutual
    information; with a mean inside the logarithm it is not a bound. Nats, (…,).

    Source: Donsker & Varadhan 1983; Belghazi et al. 2018.
    """
    positive, negative, _, _, m = _prepare(positive, negative, 1.0)
    n = positive.shape[-1]
    log_mean = torch.logsumexp(negative, dim=(-2, -1)) - math.log(n * (m - 1))
    return positive.mean(dim=-1) - log_mean


def nwj(positive: Scores, negative: NegativeScores) -> Nats:
    r"""Nguyen-Wainwright-Jordan; its best score is one plus the log density ratio.

    .. math:: \frac1n \sum_i f_{ii} - \frac{1}{e\,n(m-1)} \sum_{i,k} e^{f_{ik}}

    Shapes and errors as in :func:`cpc`. In expectation at most the mutual information. Nats, (…,).

    Source: Nguyen, Wainwright & Jordan 2010.
    """
    positive, negative, _, _, _ = _prepare(positive, negative, 1.0)
    return positive.mean(dim=-1) - torch.exp(negative - 1).mean(dim=(-2, -1))


def split(scores: Float[Tensor, "*batch n n"]) -> tuple[Tensor, Tensor]:
    """Split an in-batch score matrix into positives and negatives.

    Args:
        scores: (…, n, n) with n ≥ 2; entry (i, j) scores the pair (x_i, y_j), so the diagonal
            holds the positives.

    Returns:
        positive (…, n) and negative (…, n, n − 1), row i without its diagonal entry; m = n.

    Raises:
        ValueError: a matrix that is not square, or n < 2.
    """
    if scores.ndim < 2 or scores.shape[-1] != scores.shape[-2] or scores.shape[-1] < 2:
        raise ValueError(
            f"scores has shape {tuple(scores.shape)}; valid: (…, n, n) with n at least 2"
        )
    n = scores.shape[-1]
    positive = scores.diagonal(dim1=-2, dim2=-1)
    # Read row by row without its first entry, the flattened matrix meets a diagonal entry every
    # n + 1 steps; dropping that column leaves the off-diagonal entries in row order.
    without_first = scores.flatten(-2)[..., 1:].unflatten(-1, (n - 1, n + 1))
    negative = without_first[..., :-1].reshape(*scores.shape[:-2], n, n - 1)
    return positive, negative


def alpha_min(n: int, m: int) -> float:
    r"""Smallest weight α at which J_α is proved to be a lower bound.

    .. math:: α_{\min} = \frac{m}{n(m-1) + 1}

    At this α the ceiling is log(n(m − 1) + 1) nats. Proved for independent negatives and for
    negatives that share their anchor. With negatives from the batch a large n = m exceeds the
    mutual information at this α, by thousandths of a nat (chapter 6 of the book); there the proof
    covers α ≥ 1.

    Raises:
        ValueError: n < 1 or m < 2.

    Source: Song & Ermon 2020.
    """
    _check_count("n", n, 1)
    _check_count("m", m, 2)
    return m / (n * (m - 1) + 1)


def ceiling(m: int, alpha: float = 1.0) -> float:
    """Largest value in nats that L_α or J_α can take, log(m/α).

    Raises:
        ValueError: m < 2 or α outside (0, m].

    Source: Song & Ermon 2020.
    """
    _check_count("m", m, 2)
    _check_alpha(alpha, m)
    return math.log(m / alpha)


def skew_bias(
    log_ratio: Float[Tensor, "*batch n"], m: int, alpha: float = 1.0
) -> Float[Tensor, "*batch"]:
    r"""What J_α misses with its best critic when the anchors are many.

    .. math:: I - \sup_f J_α \to E_P\left[\log\left(1 - a + a\frac{dP}{dQ}\right)\right],
              \qquad a = α/m

    Args:
        log_ratio: log dP/dQ at pairs drawn from the joint P, (…, n).
        m: candidates of an anchor.
        alpha: weight of a positive in (0, m].

    Returns:
        the mean over the last dimension, nats, (…,); zero as α/m → 0 and I at α = m.

    Raises:
        ValueError: m < 2, α outside (0, m], NaN or +inf ratios.

    Source: the skewed divergence KL(P ‖ aP + (1 − a)Q), derived in the book's seventh chapter.
    """
    _check_count("m", m, 2)
    _check_alpha(alpha, m)
    _check_scores("log_ratio", log_ratio)
    log_ratio = _accumulable(log_ratio)
    a = torch.as_tensor(alpha / m, dtype=log_ratio.dtype, device=log_ratio.device)
    return torch.logaddexp(torch.log1p(-a), torch.log(a) + log_ratio).mean(dim=-1)


def _prepare(
    positive: Tensor, negative: Tensor, alpha: float | Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    """Checked scores in the dtype they are added up in, log α, log β and m."""
    _check_scores("positive", positive)
    _check_scores("negative", negative)
    if positive.ndim < 1 or positive.shape[-1] < 1:
        raise ValueError(
            f"positive has shape {tuple(positive.shape)}; valid: (…, n) with n at least 1"
        )
    if negative.ndim < 2 or negative.shape[-1] < 1:
        raise ValueError(
            f"negative has shape {tuple(negative.shape)}; "
            "valid: (…, n, m − 1) with m at least 2, one row of negatives for each positive"
        )
    if negative.shape[-2] != positive.shape[-1]:
        raise ValueError(
            f"negative has shape {tuple(negative.shape)} beside positive with shape "
            f"{tuple(positive.shape)}; valid: (…, n, m − 1) with n = {positive.shape[-1]}"
        )
    try:
        torch.broadcast_shapes(positive.shape[:-1], negative.shape[:-2])
    except RuntimeError:
        raise ValueError(
            f"negative has batch dimensions {tuple(negative.shape[:-2])}; valid: dimensions that "
            f"broadcast with those of positive, {tuple(positive.shape[:-1])}"
        ) from None
    m = negative.shape[-1] + 1
    _check_alpha(alpha, m)
    dtype = torch.promote_types(_accumulable(positive).dtype, _accumulable(negative).dtype)
    # A negative at −inf has weight zero. The clamp keeps that weight at exactly zero and makes its
    # gradient zero too, where the derivative of a logsumexp of nothing but −inf would be NaN.
    negative = negative.to(dtype).clamp(min=torch.finfo(dtype).min / 4)
    weight = torch.as_tensor(alpha, dtype=dtype, device=positive.device)
    log_beta = torch.log((m - weight) / (m - 1))
    return positive.to(dtype), negative, torch.log(weight), log_beta, m


def _finite(log_normaliser: Tensor) -> Tensor:
    """A normaliser above −inf, so that a critic of zero gives the value −inf and not NaN."""
    return log_normaliser.clamp(min=torch.finfo(log_normaliser.dtype).min)


def _accumulable(scores: Tensor) -> Tensor:
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def _check_scores(name: str, scores: Tensor) -> None:
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        kind = scores.dtype if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(f"{name} is {kind}; valid: a floating-point tensor of scores")
    if torch.compiler.is_compiling() or scores.numel() == 0:
        return  # a compiled graph can not branch on values
    largest = scores.detach().amax().item()  # NaN wins a maximum, so one reduction finds both
    if not largest < math.inf:
        raise ValueError(f"{name} contains {largest}; valid: finite scores or −inf")


def _check_alpha(alpha: float | Tensor, m: int) -> None:
    if isinstance(alpha, Tensor):
        if torch.compiler.is_compiling():
            return
        inside = bool(((alpha > 0) & (alpha <= m)).all())
    else:
        inside = isinstance(alpha, Real) and 0 < alpha <= m
    if not inside:
        raise ValueError(f"alpha is {alpha}; valid: 0 < alpha <= m = {m}")


def _check_count(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} is {value!r}; valid: an integer of at least {least}")
