"""Estimators by name: a bound and its setting, what it promises, and values of many at once.

An estimator is named by its bound and one setting: ``ml_cpc:0.1`` is J_α with α = 0.1, ``smile:5``
clips at 5 nats, ``interpolated:0.5`` weighs both baselines alike, ``mine:0.9`` keeps nine tenths of
its average, ``nwj``, ``dv``, ``js`` and ``tuba`` have none.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from mlcpc import bounds, critics
from mlcpc.shapes import Float, Tensor

# Bound -> the setting it takes when none is named; None where it takes none.
SETTINGS = {
    "cpc": 1.0,
    "ml_cpc": 1.0,
    "ml_cpc_fresh": 1.0,
    "nwj": None,
    "dv": None,
    "mine": 0.9,
    "js": None,
    "tuba": None,
    "interpolated": 0.5,
    "smile": 5.0,
}
# Added to a seed for its samples: their stream must not repeat that of the first weights.
SAMPLE_SEED = 1_000_000_007
WITH_ALPHA = ("cpc", "ml_cpc", "ml_cpc_fresh")
WITH_BASELINE = ("tuba", "interpolated")


@dataclass(frozen=True)
class Estimator:
    """A bound and its setting: α, a clip, a decay or a weight.

    Args:
        bound: one of the names in ``SETTINGS``.
        setting: its number; None for its default, or for a bound that takes none.

    Raises:
        ValueError: an unknown bound, a setting where none is taken or that is out of range.
    """

    bound: str
    setting: float | None = None

    def __post_init__(self) -> None:
        if self.bound not in SETTINGS:
            raise ValueError(f"estimator is {self.bound!r}; valid: {', '.join(SETTINGS)}")
        default = SETTINGS[self.bound]
        if self.setting is None:
            object.__setattr__(self, "setting", default)
            return
        if default is None:
            raise ValueError(f"{self.bound} has setting {self.setting}; valid: none")
        above, most = 0.0, math.inf
        if self.bound == "mine":
            above, most = -math.inf, math.nextafter(1.0, 0.0)
        if self.bound == "interpolated":
            above, most = -math.inf, 1.0
        if not (above < self.setting <= most) or self.setting < 0:
            raise ValueError(f"{self.bound} has setting {self.setting}; valid: its range in bounds")

    @classmethod
    def parse(cls, text: str) -> "Estimator":
        """``"ml_cpc:0.1"`` → ML-CPC with α = 0.1; the setting may be left out."""
        name, _, setting = text.partition(":")
        try:
            return cls(name, float(setting) if setting else None)
        except ValueError as error:
            if str(error).startswith("could not convert"):
                raise ValueError(f"estimator is {text!r}; valid: name or name:number") from None
            raise

    def __str__(self) -> str:
        return self.bound if self.setting is None else f"{self.bound}:{self.setting:g}"


def promise(estimator: Estimator, batch: int) -> str:
    """What is proved of an estimator with negatives from a batch of this size.

    One of "bound", "bound with fresh negatives" (proved for fresh negatives of each anchor, and not
    for those of the batch) and "not a guaranteed bound"; the weights are those of
    :func:`mlcpc.bounds.alpha_safe`. ``ml_cpc_fresh`` brings a fresh y for each pair of the batch,
    and all anchors share them: that is between the two designs, and proved from 2/e on.
    """
    if estimator.bound in ("nwj", "js", "tuba", "interpolated"):
        return "bound"
    if estimator.bound not in WITH_ALPHA:
        return "not a guaranteed bound"
    alpha, candidates = estimator.setting, batch + (estimator.bound == "ml_cpc_fresh")
    if alpha >= bounds.TWO_OVER_E:  # a row by itself, and one normaliser is never above it
        return "bound"
    if estimator.bound == "ml_cpc" and alpha >= bounds.alpha_batch(batch):
        return "bound"
    if estimator.bound != "cpc" and alpha >= bounds.alpha_min(batch, candidates):
        return "bound with fresh negatives"
    return "not a guaranteed bound"


def trainer(estimator: Estimator) -> str:
    """Whose gradient trains the critic of an estimator; those of one answer can share a critic.

    Jensen-Shannon and SMILE with every clip follow the gradient of Jensen-Shannon, and differ in
    the value that they give to the critic.
    """
    return "js" if estimator.bound in ("js", "smile") else str(estimator)


class Values:
    """Values of a stack of critics, each trained with its own estimator.

    The scores of S seeds times E estimators come in one tensor. Neighbours in the list of
    estimators that share a bound are valued in one call. Besides the scores some bounds need a
    state, and this object holds it: the moving average of each MINE, and the learned baseline
    log a(x) of TUBA and of the interpolated bound, whose weights are trained with the critics.

    Args:
        estimators: the E estimators, in the order of the scores' second dimension.
        seeds: one seed for each of the S replicates; a baseline starts from the next seed, so that
            it does not repeat the first weights of the critic.
        dim_x: width of x, which a learned baseline reads.
        device: where the scores are.
    """

    def __init__(
        self, estimators: Sequence[Estimator], seeds: Sequence[int], dim_x: int, device: str
    ) -> None:
        self.groups, begin = [], 0
        for bound, members in itertools.groupby(estimators, key=lambda each: each.bound):
            members = list(members)
            if bound in ("mine", "smile"):  # their setting is one number, not a tensor
                runs_ = [[each] for each in members]
            else:
                runs_ = [members]
            for group in runs_:
                settings = [each.setting for each in group]
                if bound in (*WITH_ALPHA, "interpolated"):
                    settings = torch.tensor(settings, device=device)
                else:
                    settings = settings[0]
                self.groups.append((bound, slice(begin, begin + len(group)), settings))
                begin += len(group)
        self.fresh = any(each.bound == "ml_cpc_fresh" for each in estimators)
        self.averages = torch.full((len(seeds), len(estimators)), math.nan, device=device)
        self.learned = [i for i, each in enumerate(estimators) if each.bound in WITH_BASELINE]
        self.baseline = None
        if self.learned:
            self.baseline = critics.baseline(
                dim_x, seeds=[seed + 1 for seed in seeds], copies=len(self.learned)
            ).to(device)

    def parameters(self) -> list[Tensor]:
        """Weights of the learned baselines, to be trained with the critics; empty without any."""
        return list(self.baseline.parameters()) if self.baseline else []

    def __call__(
        self, scores: Float[Tensor, "seeds estimators n k"], x: Float[Tensor, "seeds n dim_x"]
    ) -> Float[Tensor, "seeds estimators"]:
        """Value of each seed and estimator in nats.

        Args:
            scores: scores of all pairs; entry (i, j) of the first n columns scores (x_i, y_j), so
                that the diagonal holds the positives. Columns behind n are scores with fresh y,
                and serve ``ml_cpc_fresh`` alone.
            x: the anchors, which a learned baseline reads.
        """
        n = scores.shape[-2]
        positive, negative = bounds.split(scores[..., :n])
        log_baseline = None
        if self.baseline is not None:
            repeated = x.repeat_interleave(len(self.learned), dim=0)
            log_baseline = self.baseline(repeated).view(len(x), len(self.learned), n)
        values = []
        for bound, where, setting in self.groups:
            of_positive, of_negative = positive[:, where], negative[:, where]
            if bound == "ml_cpc_fresh":
                of_negative = scores[:, where, :, n:]
            if bound in WITH_BASELINE:
                places = [self.learned.index(i) for i in range(where.start, where.stop)]
                value = _with_baseline(
                    bound, of_positive, of_negative, log_baseline[:, places], setting
                )
            elif bound == "mine":
                old = self.averages[:, where]
                old = None if old.isnan().any() else old
                value, self.averages[:, where] = bounds.mine(of_positive, of_negative, old, setting)
            else:
                value = PLAIN[bound](of_positive, of_negative, setting)
            values.append(value)
        return torch.cat(values, dim=1)


PLAIN: dict[str, Callable] = {
    "cpc": bounds.cpc,
    "ml_cpc": bounds.ml_cpc,
    "ml_cpc_fresh": bounds.ml_cpc,
    # Trained and valued at 1 + f, so that its best critic is the log ratio, as everyone's.
    "nwj": lambda positive, negative, _: bounds.nwj(positive + 1, negative + 1),
    "dv": lambda positive, negative, _: bounds.donsker_varadhan(positive, negative),
    "js": lambda positive, negative, _: bounds.nwj_by_jensen_shannon(positive, negative),
    "smile": bounds.smile,
}


def _with_baseline(
    bound: str, positive: Tensor, negative: Tensor, log_baseline: Tensor, setting: Tensor | None
) -> Tensor:
    if bound == "tuba":
        return bounds.tuba(positive, negative, log_baseline)
    return bounds.interpolated(positive, negative, log_baseline, setting)
