r"""What perfect critics say of the top rows of images that are drawn from a list.

Images are drawn with replacement, so the law of the top rows is known from how often each kind
*repeats*: pairs [times, kinds] of :func:`mlcpc.experiments.consistency.repeats`. The density ratio
of an image and rows y is 1/p(y) if y is the top of the image, and 0 if not.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from mlcpc import bounds, exact
from mlcpc.estimators import Estimator
from mlcpc.records import Metric
from mlcpc.shapes import Float, Int, Tensor

Repeats = Sequence[Sequence[int]]
NEVER = -1e9  # log ratio of a pair that is impossible
_AT_ONCE = 50  # batches that are scored together


def random_list(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Up to six different images of five black or white rows, (N, 5), and their chances, (N,)."""
    pixels = torch.randint(0, 2, (6, 5), generator=generator).unique(dim=0)
    chance = torch.rand(len(pixels), generator=generator).double()
    return pixels, chance / chance.sum()


def joint(pixels: Int[Tensor, "n rows"], chance: Float[Tensor, " n"], t: int, s: int = 0) -> Tensor:
    """Table of the image and its letter [Y_t, Y_s], the letters found from the pixels."""
    shown = torch.cat([torch.zeros(len(pixels), 1), pixels[:, :t], pixels[:, :s]], dim=1)
    codes = torch.unique(shown, dim=0, return_inverse=True)[1]
    table = torch.zeros(len(pixels), int(codes.max()) + 1, dtype=torch.float64)
    table[torch.arange(len(pixels)), codes] = chance
    return table


def informations(pixels: Tensor, chance: Tensor) -> dict[str, Tensor]:
    """By summing whole tables: I(X; Y_t), H(Y_t), that of two independent images, of two copies.

    Returns:
        nats: ``one``, ``entropy`` and ``two``, (rows + 1,) each, of t = 0, 1, …; ``copied``, of
        [X, X] with [Y_t, Y_s] for 1 ≤ s ≤ t, and 0 elsewhere, (rows + 1, rows + 1).
    """
    rows = range(pixels.shape[1] + 1)
    tables = [joint(pixels, chance, t) for t in rows]
    copied = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for t in rows:
        for s in range(1, t + 1):
            copied[t, s] = exact.Joint(joint(pixels, chance, t, s)).mi
    letters = [table.sum(0) for table in tables]
    return {
        "one": torch.stack([exact.Joint(table).mi for table in tables]),
        "entropy": torch.stack([-torch.special.xlogy(p, p).sum() for p in letters]),
        "two": torch.stack([exact.Joint(torch.kron(table, table)).mi for table in tables]),
        "copied": copied,
    }


def letters(repeats: Repeats) -> tuple[Float[Tensor, " kinds"], Int[Tensor, " images"]]:
    """Chance of each kind of top rows, and the kind of each image."""
    times, kinds = torch.tensor(repeats).T
    times = times.repeat_interleave(kinds)
    kind = torch.arange(len(times)).repeat_interleave(times)
    return times.double() / len(kind), kind


def chances(repeats: Repeats, at_once: int = 1) -> tuple[Tensor, Tensor]:
    """Chances p that a letter can have, and how likely Y is one of those letters.

    Args:
        repeats: pairs [times, kinds].
        at_once: 1, or 2 for two independent images.
    """
    times, kinds = torch.tensor(repeats).double().T
    p = times / (times @ kinds)
    chance = p * kinds
    if at_once == 2:
        return torch.outer(p, p).ravel(), torch.outer(chance, chance).ravel()
    return p, chance


def log_ratios(p: Tensor, kind: Int[Tensor, "images *batch n"]) -> Float[Tensor, "*batch n n"]:
    """log r of all pairs of batches; the first axis of ``kind`` counts images at once.

    Pairs that are impossible get a very low score, for a bound counts −∞ as no candidate.
    """
    same = (kind[..., :, None] == kind[..., None, :]).all(0)
    log_r = -p[kind].log().sum(0)  # independent images: their logarithms add up
    return torch.where(same, log_r[..., None, :], NEVER)


def perfect(name: str, log_r: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch"]:
    """Value of an estimator with the critic that is best for it, in nats.

    That is the log ratio, but for ML-CPC log dP/dM = log(r / (a r + 1 − a)) with a = α/m.

    Args:
        name: bound and setting, such as ``ml_cpc:0.01``.
        log_r: log ratios of a batch; row i belongs to anchor i.

    Raises:
        ValueError: a bound whose perfect critic is not known here.
    """
    each = Estimator.parse(name)
    positive, negative = bounds.split(log_r)
    if each.bound == "cpc":
        return bounds.cpc(positive, negative, each.setting)
    if each.bound == "ml_cpc":
        a = each.setting / log_r.shape[-1]
        log_a = torch.full_like(log_r, math.log(a))
        skewed = -torch.logaddexp(log_a, math.log1p(-a) - log_r)
        return bounds.ml_cpc(*bounds.split(skewed), each.setting)
    if each.bound == "smile":
        return bounds.smile(positive, negative, each.setting)
    if each.bound == "nwj":
        return bounds.nwj(1 + positive, 1 + negative)
    if each.bound == "js":
        return bounds.nwj_by_jensen_shannon(positive, negative)
    if each.bound == "dv":
        return bounds.donsker_varadhan(positive, negative)
    raise ValueError(f"name is {name!r}; valid: cpc, ml_cpc, smile, nwj, js, dv and a setting")


def cpc_by_counting(p: Tensor, chance: Tensor, m: int) -> Tensor:
    r"""Mean of CPC at α = 1 with the log ratio, in a batch of n = m pairs.

    .. math:: \log m - \sum_y p(y)\, \mathbb{E} \log(1 + K_y), \qquad
              K_y \sim \mathrm{Bin}(m - 1, p(y))

    Args:
        p, chance: what :func:`chances` returns.
        m: candidates.
    """
    k = torch.arange(m, dtype=torch.float64)
    ways = math.lgamma(m) - torch.lgamma(k + 1) - torch.lgamma(m - k)
    log_chance = (
        ways + torch.special.xlogy(k, p[:, None]) + torch.special.xlogy(m - 1 - k, 1 - p[:, None])
    )
    return math.log(m) - chance @ (log_chance.exp() @ torch.log1p(k))


def many_anchors(name: str, p: Tensor, chance: Tensor, m: int) -> float:
    """Value with the perfect critic and infinitely many anchors; of CPC the mean in a batch.

    By Jensen's inequality the mean in a batch is not below it, for ML-CPC and SMILE.
    """
    each = Estimator.parse(name)
    if each.bound == "cpc":
        return cpc_by_counting(p, chance, m).item()
    if each.bound == "ml_cpc":
        a = each.setting / m
        return -(chance @ torch.log(a + (1 - a) * p)).item()
    information = -(chance @ p.log()).item()
    if each.bound != "smile":  # dv, nwj and js say the information
        return information
    # Pairs of Q have r = 1/p with the chance p, and else r = 0.
    high = chance @ (1 - math.exp(each.setting) * p).clamp(min=0)
    low = math.exp(-each.setting) * (1 - chance @ p)
    return information - torch.log(1 - high + low).item()


@dataclass(frozen=True)
class Values:
    """What perfect critics say, with the names of metrics that a record of trained critics has.

    Args:
        metrics: ``baseline t=4 cpc:1`` and so on, in nats, and ratios, each one mean over batches.
        errors: standard error of each mean in nats.
    """

    metrics: Mapping[str, Metric]
    errors: Mapping[str, float]


def values(
    repeats: Mapping[int, Repeats], names: Sequence[str], batches: int, m: int,
    generator: torch.Generator, pairs: Sequence[int] = (),
) -> Values:  # fmt: skip
    """Means over drawn batches of what each estimator says with its perfect critic.

    Args:
        repeats: rows t → pairs [times, kinds].
        names: estimators with their settings.
        batches: how many batches of m pairs are drawn, for one image and for two.
        m: pairs of a batch.
        generator: source of the batches.
        pairs: rows t for which two images at once, and so ratios, are valued too.
    """
    found, errors = {}, {}
    for t, of_t in repeats.items():
        p, kind = letters(of_t)
        for at_once, test in ((1, "baseline"), (2, "additivity")):
            if test == "additivity" and t not in pairs:
                continue
            said: dict[str, list[Tensor]] = {name: [] for name in names}
            for _ in range(batches // _AT_ONCE):
                drawn = torch.randint(len(kind), (at_once, _AT_ONCE, m), generator=generator)
                log_r = log_ratios(p, kind[drawn])
                for name in names:
                    said[name].append(perfect(name, log_r))
            for name in names:
                of_batches, title = torch.cat(said[name]), f"{test} t={t} {name}"
                found[title] = of_batches.mean().item()
                errors[title] = (of_batches.std() / len(of_batches) ** 0.5).item()
    metrics = {title: Metric("nats", (mean,), "run") for title, mean in found.items()}
    for t in pairs:
        for name in names:
            two, one = found[f"additivity t={t} {name}"], found[f"baseline t={t} {name}"]
            # [X, X] and [Y_t, Y_s] are X and Y_t by other names, so processing is exact.
            for test, ratio in (("processing", 1.0 if one else None),
                                ("additivity", two / one if one else None)):  # fmt: skip
                metrics[f"ratio {test} t={t} {name}"] = Metric("1", (ratio,), "run")
    return Values(metrics, errors)
