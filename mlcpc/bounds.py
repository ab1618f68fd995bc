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

TWO_OVER_E = 2 / math.e  # with this weight of the positive, CPC is a lower bound for every m
_DESIGNS = ("independent", "shared", "in_batch")


def cpc(positive: Scores, negative: NegativeScores, alpha: float | Tensor = 1.0) -> Nats:
    r"""Contrastive predictive coding, with weight α on the positive of each row.

    .. math:: L_α = \frac1n \sum_i \log \frac{m\, g_{ii}}{α g_{ii} + β \sum_k g_{ik}}

    Args:
        positive: log-critic scores of the positive pairs, (…, n).
        negative: log-critic scores of the m − 1 negatives of each anchor, (…, n, m − 1).
            −inf leaves a negative out: m is then a number of each row, m_i, and so is β.
        alpha: weight of the positive in (0, m]; a tensor is broadcast over the batch dimensions.

    Returns:
        L_α in nats, (…,), at most ``ceiling(m, alpha)``. In expectation it is at most the mutual
        information for α ≥ 2/e, with every m and every design of negatives; below that, see
        :func:`alpha_safe`, it is not a guaranteed bound. The guarantee is for negatives that are
        all counted, see :func:`ml_cpc`.

    Raises:
        ValueError: bad shape, α outside (0, m], NaN or +inf scores, a row with no negative left.

    Source: van den Oord et al. 2018; the weight α is Song & Ermon 2020.

    Example:
        >>> positive, negative = split(torch.eye(4) * 3)
        >>> round(cpc(positive, negative).item(), 3)
        1.247
    """
    positive, negative, log_alpha, log_beta, m, left = _prepare(positive, negative, alpha)
    candidate, negative = _per_row(positive, negative, alpha, m, left)
    of_positive = log_alpha[..., None] + candidate
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
            −inf leaves a negative out: m is then a number of each row, m_i, and so is β, and row i
            enters the normaliser as the mean over its m_i candidates. J_α is then at most L_α.
        alpha: weight of a positive in (0, m]; a tensor is broadcast over the batch dimensions.

    Returns:
        J_α in nats, (…,), at most ``ceiling(m, alpha)``. In expectation it is at most the mutual
        information for α ≥ ``alpha_safe(negatives, n, m)``, which is (2/e) ``alpha_min(n, m)`` for
        independent negatives, ``alpha_min(n, m)`` for negatives that share their anchor, and
        ``alpha_batch(n)`` for negatives from the batch; else it is not a guaranteed bound. The
        guarantee is for negatives that are all counted. If which ones are left out depends on the
        data (equal letters, ids, labels), the value is no bound: leaving out all collisions of a
        copy of two letters gives 4.2 nats at n = 128, where I is 0.69.

    Raises:
        ValueError: bad shape, α outside (0, m], NaN or +inf scores, a row with no negative left.

    Source: Song & Ermon 2020, "Multi-label Contrastive Predictive Coding".

    Example:
        >>> positive, negative = split(torch.eye(4) * 3)
        >>> round(ml_cpc(positive, negative, alpha=0.5).item(), 3)
        1.78
    """
    positive, negative, log_alpha, log_beta, m, left = _prepare(positive, negative, alpha)
    n = positive.shape[-1]
    candidates, negative = _per_row(positive, negative, alpha, m, left)
    of_positives = log_alpha + torch.logsumexp(candidates, dim=-1)
    of_negatives = log_beta + torch.logsumexp(negative, dim=(-2, -1))
    log_normaliser = torch.logaddexp(of_positives, of_negatives)  # (…,): one for all anchors
    return math.log(n * m) + positive.mean(dim=-1) - _finite(log_normaliser)


def donsker_varadhan(positive: Scores, negative: NegativeScores) -> Nats:
    r"""Donsker-Varadhan, with the mean over all negatives in place of the expectation.

    .. math:: \frac1n \sum_i f_{ii} - \log \frac{1}{n(m-1)} \sum_{i,k} e^{f_{ik}}

    Shapes and errors as in :func:`cpc`. With the true expectation it is at most the mutual
    information; with a mean inside the logarithm it is not a bound. Nats, (…,).

    Source: Donsker & Varadhan 1983; Belghazi et al. 2018.

    Example:
        >>> positive, negative = split(torch.eye(4) * 3)
        >>> round(donsker_varadhan(positive, negative).item(), 3)
        3.0
    """
    positive, negative, *_, left = _prepare(positive, negative, 1.0)
    return positive.mean(dim=-1) - _log_mean(negative, left)


def nwj(positive: Scores, negative: NegativeScores) -> Nats:
    r"""Nguyen-Wainwright-Jordan; its best score is one plus the log density ratio.

    .. math:: \frac1n \sum_i f_{ii} - \frac{1}{e\,n(m-1)} \sum_{i,k} e^{f_{ik}}

    Shapes and errors as in :func:`cpc`. In expectation at most the mutual information. Nats, (…,).

    Source: Nguyen, Wainwright & Jordan 2010.

    Example:
        >>> positive, negative = split(torch.eye(4) * 3)
        >>> round(nwj(positive + 1, negative + 1).item(), 3)
        3.0
    """
    positive, negative, *_, left = _prepare(positive, negative, 1.0)
    return positive.mean(dim=-1) - _mean(torch.exp(negative - 1), left)


def mine(
    positive: Scores, negative: NegativeScores, log_average: Nats | None = None, decay: float = 0.9
) -> tuple[Nats, Nats]:
    r"""Donsker-Varadhan whose gradient divides by a moving average, as MINE does.

    .. math:: \bar z \leftarrow d \bar z + (1 - d)\, z, \qquad
              ∇ = \frac1n \sum_i ∇f_{ii} - \frac{∇z}{\bar z}, \qquad
              z = \frac{1}{n(m-1)} \sum_{i,k} e^{f_{ik}}

    The gradient of log z alone is biased, because z stands in a denominator and is a mean over
    one batch. A slow average in its place makes the bias smaller.

    Args:
        positive, negative: as in :func:`cpc`.
        log_average: log z̄ of the step before, (…,); None at the first step, which takes log z.
        decay: d in [0, 1); the authors of the smile-mi-estimator use 0.9.

    Returns:
        the value of :func:`donsker_varadhan` with that gradient, and the new log z̄, both (…,).

    Raises:
        ValueError: as in :func:`cpc`, and decay outside [0, 1).

    Source: Belghazi et al. 2018, section 3.2.

    Example:
        >>> positive, negative = split(torch.eye(4) * 3)
        >>> value, average = mine(positive, negative)
        >>> round(value.item(), 3)
        3.0
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay is {decay}; valid: 0 <= decay < 1")
    positive, negative, *_, left = _prepare(positive, negative, 1.0)
    log_mean = _log_mean(negative, left)
    new = log_mean.detach()
    if log_average is not None:
        kept = math.log(decay) if decay else -math.inf
        new = torch.logaddexp(log_average + kept, new + math.log1p(-decay))
    surrogate = positive.mean(dim=-1) - torch.exp(log_mean - new)
    return _with_gradient_of(surrogate, positive.mean(dim=-1) - log_mean), new


def jensen_shannon(positive: Scores, negative: NegativeScores) -> Nats:
    r"""What a critic that tells pairs from non-pairs maximises; no bound on the information.

    .. math:: -\frac1n \sum_i \log(1 + e^{-f_{ii}})
              - \frac{1}{n(m-1)} \sum_{i,k} \log(1 + e^{f_{ik}})

    Shapes and errors as in :func:`cpc`. Its best score is the log density ratio; there it is twice
    the Jensen-Shannon divergence minus 2 log 2. Nats, (…,).

    Source: Nowozin et al. 2016; Hjelm et al. 2019.

    Example:
        >>> positive, negative = split(torch.eye(4) * 3)
        >>> round(jensen_shannon(positive, negative).item(), 3)
        -0.742
    """
    positive, negative, *_, left = _prepare(positive, negative, 1.0)
    softplus = torch.nn.functional.softplus
    return -softplus(-positive).mean(dim=-1) - _mean(softplus(negative), left)


def nwj_by_jensen_shannon(positive: Scores, negative: NegativeScores) -> Nats:
    r"""NWJ of the score 1 + f, with the gradient of Jensen-Shannon, which has less noise.

    .. math:: 1 + \frac1n \sum_i f_{ii} - \frac{1}{n(m-1)} \sum_{i,k} e^{f_{ik}}

    Shapes and errors as in :func:`cpc`. In expectation at most the mutual information, whatever
    trained the critic. Nats, (…,).

    Source: Poole et al. 2019, section 2.3.

    Example:
        >>> positive, negative = split(torch.eye(4) * 3)
        >>> round(nwj_by_jensen_shannon(positive, negative).item(), 3)
        3.0
    """
    objective = jensen_shannon(positive, negative)
    return _with_gradient_of(objective, nwj(positive + 1, negative + 1))


def smile(positive: Scores, negative: NegativeScores, clip: float = 5.0) -> Nats:
    r"""Donsker-Varadhan with clipped exponentials, trained by Jensen-Shannon.

    .. math:: \frac1n \sum_i f_{ii}
              - \log \frac{1}{n(m-1)} \sum_{i,k} \min(\max(e^{f_{ik}}, e^{-τ}), e^{τ})

    Args:
        positive, negative: as in :func:`cpc`.
        clip: τ > 0, in nats; inf clips nothing.

    Returns:
        the value in nats, (…,), with the gradient of :func:`jensen_shannon`. Not a bound: at the
        log ratio it is off by −log(1 − u + v), where u and v are what clipping takes from large and
        adds to small ratios, and for other critics it has no upper limit, since the
        positives are not clipped.

    Raises:
        ValueError: as in :func:`cpc`, and clip that is not above zero.

    Source: Song & Ermon, "Understanding the Limitations of Variational MI Estimators", 2020.

    Example:
        >>> positive, negative = split(torch.eye(4) * 3)
        >>> round(smile(positive, negative, clip=1.0).item(), 3)
        3.0
    """
    if not clip > 0:
        raise ValueError(f"clip is {clip}; valid: clip > 0")
    objective = jensen_shannon(positive, negative)
    clipped = negative.clamp(-clip, clip).where(negative > -math.inf, negative)
    value = donsker_varadhan(positive, clipped)
    return _with_gradient_of(objective, value)


def tuba(positive: Scores, negative: NegativeScores, log_baseline: Scores) -> Nats:
    r"""Tractable unnormalised bound of Barber and Agakov's kind, with a baseline a for each anchor.

    .. math:: 1 + \frac1n \sum_i (f_{ii} - \log a_i)
              - \frac{1}{n(m-1)} \sum_{i,k} \frac{e^{f_{ik}}}{a_i}

    Args:
        positive, negative: as in :func:`cpc`.
        log_baseline: log a of each anchor, a function of the anchor alone, (…, n). A constant
            a = e gives :func:`nwj`, a = 1 that of the score 1 + f.

    Returns:
        nats, (…,); in expectation at most the mutual information for every baseline.

    Raises:
        ValueError: as in :func:`cpc`, and a baseline whose shape is not that of positive.

    Source: Poole et al. 2019, equation 8.

    Example:
        >>> positive, negative = split(torch.eye(4) * 3)
        >>> round(tuba(positive, negative, torch.zeros(4)).item(), 3)
        3.0
    """
    positive, negative, log_baseline, left = _with_baseline(positive, negative, log_baseline)
    of_negatives = _mean(torch.exp(negative - log_baseline[..., None]), left)
    return 1 + (positive - log_baseline).mean(dim=-1) - of_negatives


def interpolated(
    positive: Scores,
    negative: NegativeScores,
    log_baseline: Scores,
    weight: float | Tensor = 0.5,
) -> Nats:
    r"""TUBA whose baseline is a mixture of a learned one and of the mean over other samples.

    .. math:: 1 + \frac1n \sum_i \frac{1}{m-1} \sum_l \log \frac{g_{ii}}{A_{il}}
              - \frac{1}{n(m-1)} \sum_{i,k} \frac{g_{ik}}{A_i}

    .. math:: A_{il} = w \frac{g_{ii} + \sum_{k \ne l} g_{ik}}{m - 1} + (1 - w) a_i,
              \qquad A_i = w \frac{\sum_k g_{ik}}{m - 1} + (1 - w) a_i

    The positive term leaves out each negative l in turn, so that both mixtures are means over
    m − 1 samples. That makes it a bound for every w.

    Args:
        positive, negative: as in :func:`cpc`, with m at least 3 for w > 0.
        log_baseline: log a of each anchor, (…, n).
        weight: w in [0, 1]; 0 is :func:`tuba`, 1 has the ceiling log(m − 1). A tensor is broadcast
            over the batch dimensions.

    Returns:
        nats, (…,); in expectation at most the mutual information if the negatives share their
        anchor or come from the batch. Independent negatives, whose own anchors differ, need a
        baseline that is constant.

    Raises:
        ValueError: as in :func:`tuba`, weight outside [0, 1], m below 3.

    Source: Poole et al. 2019, equation 12.

    Example:
        >>> positive, negative = split(torch.eye(4) * 3)
        >>> round(interpolated(positive, negative, torch.zeros(4), 0.5).item(), 3)
        1.569
    """
    positive, negative, log_baseline, left = _with_baseline(positive, negative, log_baseline)
    count = left if left is not None else torch.tensor(negative.shape[-1])
    if not torch.compiler.is_compiling() and count.amin() < 2:
        raise ValueError(f"negative has {count.amin()} negatives an anchor; valid: at least 2")
    log_count = count.to(positive.dtype).log().to(positive.device)
    w = torch.as_tensor(weight, dtype=positive.dtype, device=positive.device)
    if not bool(((w >= 0) & (w <= 1)).all()):
        raise ValueError(f"weight is {weight}; valid: 0 <= weight <= 1")
    # A weight of 0 or 1 drops one side; −1e30 in place of −inf keeps its gradient zero, not NaN.
    log_w, log_rest = (torch.log(each).clamp(min=-1e30)[..., None] for each in (w, 1 - w))
    own = log_rest + log_baseline

    total = negative.logsumexp(dim=-1)  # log Σ_k g_ik
    of_negatives = torch.logaddexp(log_w + total - log_count, own)

    others = torch.logaddexp(positive[..., None], _logsumexp_without_each(negative))
    without = torch.logaddexp(log_w[..., None] + others - log_count[..., None], own[..., None])
    of_positives = positive[..., None] - without
    if left is not None:
        of_positives = of_positives.where(negative > torch.finfo(negative.dtype).min / 4, 0.0)
    of_negatives = torch.exp(negative - of_negatives[..., None])
    return 1 + _mean(of_positives, left) - _mean(of_negatives, left)


def split(scores: Float[Tensor, "*batch n n"]) -> tuple[Tensor, Tensor]:
    """Split an in-batch score matrix into positives and negatives.

    Args:
        scores: (…, n, n) with n ≥ 2; entry (i, j) scores the pair (x_i, y_j), so the diagonal
            holds the positives.

    Returns:
        positive (…, n) and negative (…, n, n − 1), row i without its diagonal entry; m = n.

    Raises:
        ValueError: a matrix that is not square, or n < 2.

    Example:
        >>> positive, negative = split(torch.arange(9.0).view(3, 3))
        >>> positive
        tensor([0., 4., 8.])
        >>> negative.shape
        torch.Size([3, 2])
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
    r"""The weight α of the paper's theorem: a positive weighs n times it, a negative as much.

    .. math:: α_{\min} = \frac{m}{n(m-1) + 1}

    At this α the ceiling is log(n(m − 1) + 1) nats, and J_α is a lower bound for independent
    negatives and for negatives that share their anchor. It is not the smallest such weight for
    independent negatives, and it is too small for negatives from a large batch (a theorem for all
    large n; copies show it at n = m = 115, the first among copies, and at every larger n that we
    summed). :func:`alpha_safe` gives a proved weight for each design.

    Raises:
        ValueError: n < 1 or m < 2.

    Source: Song & Ermon 2020.

    Example:
        >>> round(alpha_min(128, 128), 5)
        0.00787
    """
    _check_count("n", n, 1)
    _check_count("m", m, 2)
    return m / (n * (m - 1) + 1)


def alpha_batch(n: int) -> float:
    r"""A weight α from which on J_α is proved with negatives from the batch, n = m.

    .. math:: α_{\mathrm{batch}} = \frac{2}{e} \cdot \frac{n}{(a+1)(b+1)}, \qquad
              a = \lfloor (n-1)/2 \rfloor, \quad b = n - 1 - a

    This is (8/e)/(n + 2) for even n and (8/e) n/(n + 1)² for odd n: less than 2.944 times
    ``alpha_min(n, n)`` for every n. The ceiling there is close to 2 log n − 1.08 nats. For n ≥ 4
    the book proves 5/7 in place of 2/e, which gives a weight that is smaller by three percent.

    Raises:
        ValueError: n < 2.

    Source: derived in the book's chapter on negatives from the batch, which splits the board of
    n × n pairs into smaller boards; we know of no earlier statement.

    Example:
        >>> round(alpha_batch(128), 5)
        0.02264
    """
    _check_count("n", n, 2)
    a = (n - 1) // 2
    return TWO_OVER_E * n / ((a + 1) * (n - a))  # b + 1 = n − a


def alpha_safe(negatives: str, n: int, m: int, normaliser: str = "batch") -> float:
    r"""Weight α from which on this library calls the value a lower bound in expectation.

    It is proved, with one constant 2/e for every m.

    ==============  =============  ========================================================
    normaliser      negatives      proved from this weight on
    ==============  =============  ========================================================
    "row" (CPC)     any            2/e, for every m; no smaller number serves every m
    "batch"         independent    (2/e) ``alpha_min(n, m)``
    "batch"         shared         the smaller of ``alpha_min(n, m)`` and 2/e
    "batch"         in_batch       ``alpha_batch(n)``, with m = n
    ==============  =============  ========================================================

    Every α from there to m is proved as well. Below it the value is not a guaranteed bound: part
    of that range is refuted and the rest is open. One constant, 2/e, is used for every m; from
    m = 3 on the book proves 5/7 = 0.714, with an interval-arithmetic step, and 2/e = 0.736 is the
    end for m = 2.

    Args:
        negatives: "independent" (fresh pairs), "shared" (fresh y for the anchor's own x) or
            "in_batch" (the y of the other anchors, m = n).
        n: anchors.
        m: candidates of an anchor.
        normaliser: "batch" for :func:`ml_cpc`, where all anchors share one normaliser; "row" for
            :func:`cpc`, where each anchor has its own.

    Returns:
        the weight, in (0, 1).

    Raises:
        ValueError: an unknown design or normaliser, n < 1, m < 2, or m ≠ n with negatives from the
            batch.

    Source: α_min for independent and shared negatives is Song & Ermon 2020, with the step to
    shared anchors in the book. 2/e and α_batch are derived in the book's chapters on the boundary
    and on negatives from the batch; we know of no earlier statement.

    Example:
        >>> round(alpha_safe("in_batch", 128, 128), 5)
        0.02264
        >>> round(alpha_safe("in_batch", 128, 128, normaliser="row"), 4)
        0.7358
    """
    _check_count("n", n, 1)
    _check_count("m", m, 2)
    if negatives not in _DESIGNS:
        raise ValueError(f"negatives is {negatives!r}; valid: {', '.join(_DESIGNS)}")
    if normaliser not in ("batch", "row"):
        raise ValueError(f"normaliser is {normaliser!r}; valid: 'batch', 'row'")
    if negatives == "in_batch" and n != m:
        raise ValueError(f"m is {m}; valid with negatives from the batch: m = n = {n}")
    if normaliser == "row":
        return TWO_OVER_E
    if negatives == "independent":
        return TWO_OVER_E * alpha_min(n, m)
    if negatives == "shared":  # one anchor alone is CPC
        return min(alpha_min(n, m), TWO_OVER_E)
    return alpha_batch(n)


def ceiling(m: int, alpha: float = 1.0) -> float:
    """No board gives more nats to L_α or J_α than log(m/α).

    It holds for every α in (0, m]. It is a ceiling of a lower bound only where the value is one,
    for α ≥ ``alpha_safe(…)``: log n + 0.307 for CPC with negatives from a batch of n, and
    log(n / ``alpha_batch(n)``), about 2 log n − 1.08, for ML-CPC.

    Raises:
        ValueError: m < 2 or α outside (0, m].

    Source: Song & Ermon 2020.

    Example:
        >>> round(ceiling(128), 3)
        4.852
        >>> round(ceiling(128, alpha_batch(128)), 3)
        8.64
    """
    _check_count("m", m, 2)
    _check_alpha(alpha, m)
    return math.log(m / alpha)


def skew_bias(
    log_ratio: Float[Tensor, "*batch n"], m: int, alpha: float = 1.0
) -> Float[Tensor, "*batch"]:
    r"""What the limit of J_α for many anchors misses with its best critic.

    .. math:: I - \sup_f \lim_{n \to \infty} J_α
              = E_P\left[\log\left(1 - a + a\frac{dP}{dQ}\right)\right], \qquad a = α/m

    Args:
        log_ratio: log dP/dQ at pairs drawn from the joint P, (…, n).
        m: candidates of an anchor.
        alpha: weight of a positive in (0, m].

    Returns:
        the mean over the last dimension, nats, (…,); zero as α/m → 0 and I at α = m.

    Raises:
        ValueError: m < 2, α outside (0, m], NaN or +inf ratios.

    Source: the skewed divergence KL(P ‖ aP + (1 − a)Q); the book derives it for many anchors.

    Example:
        >>> ratios = torch.tensor([0.5, 1.5], dtype=torch.float64)
        >>> round(skew_bias(ratios, m=8).item(), 4)
        0.2196
    """
    _check_count("m", m, 2)
    _check_alpha(alpha, m)
    _check_scores("log_ratio", log_ratio)
    log_ratio = _accumulable(log_ratio)
    a = torch.as_tensor(alpha / m, dtype=log_ratio.dtype, device=log_ratio.device)
    return torch.logaddexp(torch.log1p(-a), torch.log(a) + log_ratio).mean(dim=-1)


def _prepare(
    positive: Tensor, negative: Tensor, alpha: float | Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, int, Tensor | None]:
    """Checked scores in the dtype they are added up in, log α, log β, m, and how many negatives
    are left in each row, (…, n), or None if all are."""
    _check_scores("positive", positive)
    least = _check_scores("negative", negative)
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
    left = None if least > -math.inf else _count_left(negative, alpha)
    dtype = torch.promote_types(_accumulable(positive).dtype, _accumulable(negative).dtype)
    # A negative at −inf has weight zero. The clamp keeps that weight at exactly zero and makes its
    # gradient zero too, where the derivative of a logsumexp of nothing but −inf would be NaN.
    negative = negative.to(dtype).clamp(min=torch.finfo(dtype).min / 4)
    weight = torch.as_tensor(alpha, dtype=dtype, device=positive.device)
    log_beta = torch.log((m - weight) / (m - 1))
    return positive.to(dtype), negative, torch.log(weight), log_beta, m, left


def _count_left(negative: Tensor, alpha: float | Tensor) -> Tensor:
    """How many negatives of each row are above −inf, (…, n)."""
    left = (negative > -math.inf).sum(dim=-1)
    if not torch.compiler.is_compiling():
        least = int(left.amin())
        if not least:
            row = tuple((left == 0).nonzero()[0].tolist())
            raise ValueError(
                f"negative is −inf throughout row {row[0] if len(row) == 1 else row}; "
                "valid: a negative above −inf in each row (a critic of zero is a very low score)"
            )
        _check_alpha(alpha, least + 1)
    return left


def _per_row(
    positive: Tensor, negative: Tensor, alpha: float | Tensor, m: int, left: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Scores whose rows weigh 1/m_i and β_i as if all rows had m candidates.

    Both are raised by log(m/m_i), and negatives by log(β_i/β) as well.
    """
    if left is None:
        return positive, negative
    alpha = torch.as_tensor(alpha, dtype=positive.dtype, device=positive.device)[..., None]
    rows = left.to(positive.dtype) + 1
    tiny = torch.finfo(positive.dtype).tiny
    quotient = (rows - alpha) * (m - 1) / ((rows - 1) * (m - alpha)).clamp(min=tiny)
    of_beta = quotient.clamp(min=tiny).log()  # α = m_i: next to nothing, and no NaN in a gradient
    raised = math.log(m) - rows.log()
    return positive + raised, negative + (raised + of_beta)[..., None]


def _mean(terms: Tensor, left: Tensor | None) -> Tensor:
    """Mean over rows of the mean over what is left of a row, (…,); other terms are zero."""
    if left is None:
        return terms.mean(dim=(-2, -1))
    return (terms.sum(dim=-1) / left).mean(dim=-1)


def _log_mean(negative: Tensor, left: Tensor | None) -> Tensor:
    """Logarithm of the mean exponential of all negatives, (…,)."""
    if left is not None:
        negative = negative - left.to(negative.dtype).log()[..., None]
        return torch.logsumexp(negative, dim=(-2, -1)) - math.log(negative.shape[-2])
    return torch.logsumexp(negative, dim=(-2, -1)) - math.log(math.prod(negative.shape[-2:]))


def _with_gradient_of(objective: Tensor, value: Tensor) -> Tensor:
    """The number ``value`` with the gradient of ``objective``."""
    return objective + (value - objective).detach()


def _with_baseline(
    positive: Tensor, negative: Tensor, log_baseline: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    _check_scores("log_baseline", log_baseline)
    positive, negative, *_, left = _prepare(positive, negative, 1.0)
    if log_baseline.shape[-1:] != positive.shape[-1:]:
        raise ValueError(
            f"log_baseline has shape {tuple(log_baseline.shape)}; "
            f"valid: (…, n) with n = {positive.shape[-1]}"
        )
    return positive, negative, log_baseline.to(positive.dtype), left


def _logsumexp_without_each(scores: Tensor) -> Tensor:
    """log Σ_{k ≠ l} exp(score_k) for each l of the last dimension.

    Subtracting one term from the whole sum loses all digits when it is the largest. So the largest
    is summed around, and the others, at most half of the sum, are subtracted.
    """
    largest = torch.nn.functional.one_hot(scores.argmax(-1), scores.shape[-1]).bool()
    around = scores.masked_fill(largest, -math.inf).logsumexp(-1, keepdim=True)
    total = scores.logsumexp(-1, keepdim=True)
    share = (scores - total).masked_fill(largest, -1.0)
    return torch.where(largest, around, total + torch.log1p(-torch.exp(share)))


def _finite(log_normaliser: Tensor) -> Tensor:
    """A normaliser above −inf, so that a critic of zero gives the value −inf and not NaN."""
    return log_normaliser.clamp(min=torch.finfo(log_normaliser.dtype).min)


def _accumulable(scores: Tensor) -> Tensor:
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def _check_scores(name: str, scores: Tensor) -> float:
    """The lowest score, −inf if it cannot be read."""
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        kind = scores.dtype if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(f"{name} is {kind}; valid: a floating-point tensor of scores")
    if torch.compiler.is_compiling() or scores.numel() == 0:
        return -math.inf  # a compiled graph cannot branch on values
    # NaN wins a maximum and a minimum, so one reduction finds all.
    least, largest = (each.item() for each in scores.detach().aminmax())
    if not largest < math.inf:
        raise ValueError(f"{name} contains {largest}; valid: finite scores or −inf")
    return least


def _check_alpha(alpha: float | Tensor, m: int | float) -> None:
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
