"""Mutual information of a user's own samples: :func:`estimate`."""

import copy
import inspect
import math
import numbers
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student_t
from torch import nn

from mlcpc import config as settings
from mlcpc import critics, crossfit
from mlcpc.config import Config, refuse, setting
from mlcpc.estimators import PLAIN, SAMPLE_SEED, Estimator
from mlcpc.samples import Table, read, repeated_rows, serial_correlation
from mlcpc.shapes import Tensor
from mlcpc.valuation import (
    PROVED,
    Valuation,
    permutation_p_value,
    shifted_p_value,
    standard_error,
    unseen,
)

VERSION = 2  # of the numbers: raise it with them, so that records of an older one are called stale
_NEAR = 2.0  # nats below the ceiling at which a bound begins to lag behind the information
_FOR_SAMPLES = ("auto", "cpc", "ml_cpc")
_LEVEL = 0.05  # of the p-value, up to which there is something
_MOST = 200_000  # rows that are used at most
_STACKED = 32  # pairs of samples whose critics are one stack
_LARGE = 5000  # rows from which networks and batches are larger, and folds fewer
_HIGH = 4.0  # nats below the ceiling of CPC from which ML-CPC is tried
_CORRELATED = 0.2  # serial correlation of x and of y that is a doubt


@dataclass(frozen=True)
class EstimateConfig(Config):
    """How :func:`estimate` trains and values critics; None is chosen by the number of rows.

    Raises:
        ValueError: a value outside its range.
    """

    estimator: str = setting(
        "auto", "the best of the proved bounds, chosen on training rows; or cpc:α or ml_cpc:α"
    )
    standardise: str = setting(
        "ranks",
        "margins of the columns: normal scores (and smoother ones where the dependence is strong), "
        "smooth ones only, or mean 0 and variance 1",
        choices=("ranks", "smooth", "moments"),
    )
    init: str = setting(
        "gaussian",
        "what the critic starts from: the log density ratio of a normal pair, or nothing",
        choices=("gaussian", "zero"),
    )
    folds: int | None = setting(
        None, "parts of the rows, each held out once; 5, and 3 from 5,000 rows on", least=2
    )
    width: int | None = setting(
        None, "units of a hidden layer; 64, and 128 from 5,000 rows on", least=1
    )
    depth: int = setting(2, "hidden layers", least=1)
    embedding: int = setting(32, "length of the vectors whose product is the score", least=1)
    batch: int | None = setting(
        None, "pairs of a training step; 128, and 256 from 5,000 rows on", least=3
    )
    steps: int = setting(5000, "training steps at most", least=1)
    eval_every: int = setting(50, "steps between looks at the validation rows", least=1)
    patience: int = setting(6, "looks without a rise after which a split stops", least=1)
    learning_rate: float = setting(2e-3, "step size of Adam", above=0)

    def __post_init__(self) -> None:
        for each in fields(self):  # numbers of numpy are as good as those of Python
            value = getattr(self, each.name)
            if isinstance(value, np.generic):
                object.__setattr__(self, each.name, value.item())
        name = str(self.estimator).partition(":")[0]
        if name not in _FOR_SAMPLES:
            refuse("estimator", self.estimator, ", ".join(_FOR_SAMPLES))
        if self.estimator != "auto":
            Estimator.parse(self.estimator)
        super().__post_init__()

    def sized(self, rows: int) -> "EstimateConfig":
        """With numbers in place of None."""
        large = rows >= _LARGE
        return replace(
            self,
            folds=self.folds or (3 if large else 5),
            width=self.width or (128 if large else 64),
            batch=self.batch or (256 if large else 128),
        )

    def objective(self, positive: Tensor, negative: Tensor) -> Tensor:
        """What training raises: CPC, or the estimator that was asked for."""
        if self.estimator == "auto":
            return PLAIN["cpc"](positive, negative, 1.0)
        chosen = Estimator.parse(self.estimator)
        return PLAIN[chosen.bound](positive, negative, chosen.setting)


@dataclass(frozen=True, eq=False, repr=False)
class Estimate:
    """What :func:`estimate` found, in nats.

    Args:
        mi: the estimate: a lower bound's value on pairs that the critics did not see.
        lower: with 95 % confidence the information is at least this.
        interval: 95 % interval of the bound's mean. It is none of the information, which may lie
            above it: it covers the noise of the samples, not what the critics failed to learn.
        p_value: of independence, exact: the rank of the held-out pairs among permuted ones.
        ceiling: the largest value that the bound can take with so many held-out pairs.
        learning_curve: (rows to learn from, value) with half of the rows held out, and with a fold.
        unseen: where neither the limit nor p ≤ 0.05 says that there is any, about the least
            information that one of them would have shown; else None.
        warnings: what a reader of the number must know, a sentence each.
        x, y: how the columns were read.
        rows: how many rows were used.
        bound: how the held-out pairs of each fold were valued.
        critic: takes x and y as they were given, returns the scores of all pairs.
        curve: values on the validation rows, (looks, 1 + folds), NaN where a split had stopped.
        steps: training step of each look.
        config: how it was trained.

    Example:
        >>> x = np.random.default_rng(0).standard_normal(200)
        >>> found = estimate(x, -x, steps=1, width=8)
        >>> found.bits > found.mi > found.lower > 3 and found.normalised > 0.99
        True
    """

    mi: float
    lower: float
    interval: tuple[float, float]
    p_value: float
    ceiling: float
    learning_curve: tuple[tuple[int, float], ...]
    unseen: float | None
    warnings: tuple[str, ...]
    x: str
    y: str
    rows: int
    bound: tuple[str, ...]
    critic: "FittedCritic"
    curve: np.ndarray
    steps: np.ndarray
    config: EstimateConfig

    def __float__(self) -> float:
        return self.mi

    @property
    def bits(self) -> float:
        """The estimate in bits."""
        return self.mi / math.log(2)

    @property
    def normalised(self) -> float:
        """√(1 − e^{−2I}) of the estimate: 0 at independence, the size of ρ for a normal pair."""
        return math.sqrt(-math.expm1(-2 * max(0.0, self.mi)))

    def to_dict(self) -> dict:
        """Everything but the critic, as plain numbers, lists and text, ready for JSON."""
        return {
            "mi": self.mi, "lower": self.lower, "interval": list(self.interval), "unit": "nats",
            "bits": self.bits, "normalised": self.normalised, "p_value": self.p_value,
            "ceiling": self.ceiling, "learning_curve": [list(each) for each in self.learning_curve],
            "unseen": self.unseen, "warnings": list(self.warnings), "x": self.x, "y": self.y,
            "rows": self.rows, "bound": list(self.bound),
            "config": self.config.to_dict(),
        }  # fmt: skip

    def __str__(self) -> str:
        shown = max(0.0, self.mi)
        p = f"p = {self.p_value:.3f}"
        if self.unseen is not None:
            said = f"nothing found: estimate {shown:.3f} nats, independence {p}"
        else:
            said = f"at least {max(0.0, self.lower):.3f} nats (95 %), estimate {shown:.3f}"
            if self.p_value > 0.01 or self.lower <= 0:
                said += f", independence {p}"
        return said + "".join(f"\n  warning: {each}" for each in self.warnings)

    def __repr__(self) -> str:
        return (
            f"<Estimate: {max(0.0, self.mi):.3f} nats, at least {max(0.0, self.lower):.3f} (95 %), "
            f"p = {self.p_value:.3f}, {len(self.warnings)} warnings>"
        )

    def plot(self, axes: Any = None) -> Any:
        """Draw the estimate, its lower limit and its ceiling over the rows learned from.

        Args:
            axes: of Matplotlib, or None for new ones.

        Returns:
            the axes.
        """
        if axes is None:
            import matplotlib.pyplot as plt

            _, axes = plt.subplots(layout="constrained")
        rows, values = zip(*self.learning_curve, strict=True)
        axes.plot(rows, values, "o-", label="estimate")
        axes.vlines(rows[-1], *self.interval, linewidth=4, alpha=0.4, label="interval of the bound")
        axes.axhline(self.lower, linestyle="--", label="at least (95 %)")
        if self.ceiling < 2 * max(self.interval[1], 0.5):
            axes.axhline(self.ceiling, color="grey", label="ceiling")
        axes.set(xlabel="rows to learn from", ylabel="information (nats)")
        axes.legend()
        return axes


class FittedCritic:
    """The mean of the folds' critics, with the columns that they were trained on.

    Args:
        fit: the trained splits; the first, of halves, is left out.
        x, y: the tables that they were read from; None where an encoder reads the samples.
    """

    def __init__(self, fit: crossfit.CrossFit, x: Table | None, y: Table | None) -> None:
        self.fit, self.x, self.y = fit, x, y

    @torch.no_grad()
    def __call__(self, x: object, y: object) -> np.ndarray:
        """Scores (n, k) of all pairs of x (n, …) and y (k, …)."""
        like = next(self.fit.stack.networks.parameters())
        given: list[Any] = [x, y]
        values = [None if table is None else table.rows_like(z).values
                  for z, table in zip(given, (self.x, self.y), strict=True)]  # fmt: skip
        total: Any = 0.0
        for k, part in list(enumerate(self.fit.parts))[1:]:
            u, v, *inputs = part.features.of(values[0], values[1], like)
            one, two = (torch.as_tensor(z).to(like) if i is None else i
                        for z, i in zip(given, inputs, strict=True))  # fmt: skip
            scores = self.fit.stack.one(self.fit.first + k, one, two)
            if (normal := part.features.normal) is not None:
                start = crossfit.canonical.log_ratio(u, v, normal.rho).to(like)
                scores = scores + self.fit.stack.trust[self.fit.first + k] * start
            total = total + scores
        return (total / (len(self.fit.parts) - 1)).cpu().numpy()


def estimate(
    x: object,
    y: object,
    *,
    estimator: str = "auto",
    discrete: object = "auto",
    groups: object = None,
    order: str | None = None,
    encoder_x: nn.Module | None = None,
    encoder_y: nn.Module | None = None,
    standardise: str = "ranks",
    init: str = "gaussian",
    folds: int | None = None,
    width: int | None = None,
    depth: int = 2,
    embedding: int = 32,
    batch: int | None = None,
    steps: int = 5000,
    eval_every: int = 50,
    patience: int = 6,
    learning_rate: float = 2e-3,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
    **unknown: object,
) -> Estimate:
    """A lower bound on the mutual information of samples, in nats.

    For each fold a critic is trained on the other rows: the log density ratio of a normal pair,
    fitted to as few directions as hold on validation rows, plus a network that is trained until
    the validation rows say stop. Its value on the fold, which it never saw, is that of a bound, so
    its mean is at most the information, however good or bad the critic is.

    Args:
        x, y: samples, (N,) or (N, d): arrays, tensors, lists, pandas series or data frames; row i
            of x goes with row i of y. Text, categories and booleans are classes.
        estimator: "auto", or cpc or ml_cpc with a weight α, such as "cpc:1".
        discrete: whether columns are classes: "auto", True, False, a truth value a column, or a
            pair of these, of x and of y.
        groups: (N,) labels; rows of a group are never on both sides of a split and never each
            other's negatives.
        order: "time" if rows are in the order of time and alike their neighbours: contiguous parts
            are held out, with a gap, and the error is that of the parts.
        encoder_x, encoder_y: a module that maps a batch of x, of any shape, to vectors (n, d); a
            copy for each split is trained with its critic.
        standardise, init, folds, width, depth, embedding: see :class:`EstimateConfig`.
        batch, steps, eval_every, patience, learning_rate: see :class:`EstimateConfig`.
        seed: of splits, first weights and batches.
        device: where to train, cpu or cuda.
        progress: show a bar with nats and time left.

    Returns:
        the estimate.

    Raises:
        ValueError: samples that cannot be read, lengths that differ, too few rows or groups, an
            unknown setting, or a call inside ``torch.inference_mode``.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal(1000)
        >>> found = estimate(x, x + rng.standard_normal(1000), steps=100)  # true: log(2) / 2
        >>> 0.25 < found.lower < found.mi < 0.45
        True
    """
    given = dict(locals())
    return _estimates([(given.pop("x"), given.pop("y"), given.pop("discrete"))], given)[0]


def several(pairs: Sequence[tuple[object, object, object]], **options: object) -> list[Estimate]:
    """Estimates of several pairs of samples, whose critics are trained as one stack.

    Each is what :func:`estimate` gives for the pair alone, up to rounding.

    Args:
        pairs: (x, y, discrete) of each, as :func:`estimate` takes them.
        options: further options of :func:`estimate`, for all of them.
    """
    known = inspect.signature(estimate).parameters
    given = {name: each.default for name, each in known.items()} | options
    given["unknown"] = {name: given[name] for name in options if name not in known}
    return _estimates(pairs, given)


def _estimates(pairs: Sequence[tuple], given: dict) -> list[Estimate]:
    seed, device = given["seed"], given["device"]
    encoders = (given["encoder_x"], given["encoder_y"])
    _refuse(given["unknown"], seed, device)
    config = EstimateConfig(**{each.name: given[each.name] for each in fields(EstimateConfig)})
    found: list[Estimate] = []
    for start in range(0, len(pairs), _STACKED):
        designs = []
        for x, y, discrete in pairs[start : start + _STACKED]:
            _same_rows(x, y)
            both = isinstance(discrete, tuple) and len(discrete) == 2
            sides = [
                _encoded(name, z, encoder) if encoder is not None else read(name, z, wish)
                for name, z, encoder, wish in zip(
                    "xy", (x, y), encoders, discrete if both else (discrete,) * 2, strict=True
                )
            ]
            groups, order = given["groups"], given["order"]
            designs.append(_Design.of(sides[0], sides[1], groups, order, config))
        found += _stacked(designs, encoders, int(seed), device, given["progress"])
    return found


def _stacked(
    designs: list["_Design"], encoders: tuple, seed: int, device: str, progress: bool
) -> list[Estimate]:
    """Estimates of some pairs of samples; those of one shape are trained together."""
    parts = [_parts(each, seed, device) for each in designs]
    shapes = [
        (some[0].x.shape[1:], some[0].y.shape[1:], crossfit.batch_size(some, design.config))
        for some, design in zip(parts, designs, strict=True)
    ]
    found: dict[int, Estimate] = {}
    for shape in dict.fromkeys(shapes):
        places = [place for place, each in enumerate(shapes) if each == shape]
        with torch.enable_grad():
            together = [parts[place] for place in places]
            fit = _prepare(together, designs[places[0]].config, encoders, seed, device)
            fit.train(progress)
        with torch.no_grad():
            for place, member in zip(places, crossfit.members(fit), strict=True):
                found[place] = _value(member, designs[place], seed)
    return [found[place] for place in range(len(designs))]


def _refuse(unknown: dict, seed: object, device: str) -> None:
    names = [
        each for each in inspect.signature(estimate).parameters if each not in ("x", "y", "unknown")
    ]
    if unknown:
        hint = " (the seed is called seed)" if "random_state" in unknown else ""
        raise ValueError(
            f"setting {min(unknown)} is unknown{hint}; valid: {', '.join(sorted(names))}"
        )
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or seed < 0:
        refuse("seed", seed, "an integer of at least 0")
    settings.device(device)
    if torch.is_inference_mode_enabled():
        raise ValueError(
            "estimate is called inside torch.inference_mode, where nothing can be trained; valid: "
            "outside of it, or inside torch.no_grad"
        )


def _same_rows(x: object, y: object) -> None:
    one: Any = getattr(x, "index", None)
    two: Any = getattr(y, "index", None)
    if hasattr(one, "equals") and hasattr(two, "equals") and not one.equals(two):
        raise ValueError(
            "x and y have different indices, so it is not clear which rows belong together; "
            "valid: the same index, or x.to_numpy() and y.to_numpy() to pair them by position"
        )


def _encoded(name: str, samples: object, encoder: object) -> Tensor:
    if not isinstance(encoder, nn.Module):
        raise ValueError(
            f"encoder_{name} is {type(encoder).__name__}; valid: a torch.nn.Module, or None"
        )
    samples = torch.as_tensor(samples).detach()
    if samples.ndim < 2:
        samples = samples[:, None]
    if samples.is_floating_point():
        samples = samples.to(torch.get_default_dtype())
        if not bool(samples.isfinite().all()):
            raise ValueError(f"{name} contains nan or inf; valid: finite numbers")
    return samples


@dataclass(frozen=True, eq=False)
class _Design:
    """The rows that are used, how they are split, and what is doubtful about them."""

    x: Table | Tensor
    y: Table | Tensor
    groups: np.ndarray | None
    ordered: bool
    config: EstimateConfig
    doubts: tuple[str, ...]

    @classmethod
    def of(
        cls, x: Table | Tensor, y: Table | Tensor, groups: Any, order: Any, config: EstimateConfig
    ) -> "_Design":
        if len(x) != len(y):
            raise ValueError(f"y has {len(y)} samples; valid: as many as x, {len(x)}")
        if order not in (None, "time"):
            refuse("order", order, "None, 'time'")
        if groups is not None and order is not None:
            raise ValueError("groups and order are both given; valid: one of them")
        doubts = [said for each in (x, y) for said in getattr(each, "warnings", ())]
        if groups is not None:
            groups = _group_numbers(groups, len(x))
        elif isinstance(x, Table) and isinstance(y, Table):
            if order is None and (groups := repeated_rows(x, y)) is not None:
                doubts.append(
                    f"only {groups.max() + 1} of {len(x)} rows are distinct: copies count as one "
                    "group, and never stand on both sides"
                )
            if order is None and groups is None:
                doubts += _serial(x, y)
        config = config.sized(len(x))
        assert config.folds is not None  # sized
        distinct = len(x) if groups is None else int(groups.max()) + 1
        if distinct < (least := 20 * config.folds):
            what = "samples" if groups is None else "groups"
            raise ValueError(
                f"x has {distinct} {what}; valid: at least {least} for {config.folds} folds"
            )
        return cls(x, y, groups, order == "time", config, tuple(doubts))._thinned()

    def independent_rows(self) -> int:
        """Groups, or roughly the independent rows of a time series."""
        if self.groups is not None:
            return int(self.groups.max()) + 1
        x, y = self.x, self.y
        if not (self.ordered and isinstance(x, Table) and isinstance(y, Table)):
            return len(x)
        kept = max(0.0, serial_correlation(x)) * max(0.0, serial_correlation(y))
        return max(2, round(len(self.x) * (1 - kept) / (1 + kept)))

    def _thinned(self) -> "_Design":
        """With at most so many rows: in equal steps of time, or at random."""
        count = len(self.x)
        if count <= _MOST:
            return self
        rows = np.linspace(0, count - 1, _MOST).round().astype(int)
        if not self.ordered:
            rows = np.sort(np.random.default_rng(SAMPLE_SEED).permutation(count)[:_MOST])
        said = f"{_MOST:,} of {count:,} rows were used: more would not change the value"
        x, y = (
            replace(z, values=z.values[rows]) if isinstance(z, Table) else z[torch.from_numpy(rows)]
            for z in (self.x, self.y)
        )
        groups = self.groups
        if groups is not None:
            groups = np.unique(groups[rows], return_inverse=True)[1]
        return replace(self, x=x, y=y, groups=groups, doubts=(*self.doubts, said))


def _group_numbers(groups: Any, rows: int) -> np.ndarray:
    if hasattr(groups, "to_numpy"):
        groups = groups.to_numpy()
    found = np.asarray(groups)
    if found.shape != (rows,):
        raise ValueError(f"groups has shape {found.shape}; valid: one label a row, ({rows},)")
    if found.dtype.kind == "f" and np.isnan(found).any():
        raise ValueError(f"groups contains nan in row {int(np.isnan(found).argmax())}")
    if found.dtype.kind == "O":
        found = found.astype(str)
    return np.unique(found, return_inverse=True)[1]


def _serial(x: Table, y: Table) -> Iterator[str]:
    found = [serial_correlation(each) for each in (x, y)]
    if min(found) > max(_CORRELATED, 4 / math.sqrt(len(x))):
        yield (
            f"rows are like the row before them, in x (correlation {found[0]:.2f}) and in y "
            f"({found[1]:.2f}): if they are a time series, pass order='time', or the value and "
            "its error are wrong"
        )


def _parts(design: _Design, seed: int, device: str) -> list[crossfit.Split]:
    """Splits with their features."""
    config = design.config
    assert config.folds is not None  # sized
    like = torch.zeros(0, device=device)
    x, y = (z if isinstance(z, Table) else None for z in (design.x, design.y))
    values = [None if z is None else z.values for z in (x, y)]
    raw = [None if isinstance(z, Table) else z.to(device) for z in (design.x, design.y)]
    parts = []
    for rows in crossfit.splits(len(design.x), config.folds, seed, design.groups, design.ordered):
        features = crossfit.features(x, y, rows, config.standardise, config.init, seed, device)
        u, v, *inputs = features.of(values[0], values[1], like)
        if features.normal is not None and float(features.normal.rho.max()) < crossfit.STABLE:
            u, v = u.to(like), v.to(like)
        one, two = (z if i is None else i for z, i in zip(raw, inputs, strict=True))
        parts.append(crossfit.Split(rows, features, u, v, one, two))
    return parts


def _prepare(
    parts: list[list[crossfit.Split]],
    config: EstimateConfig,
    encoders: tuple,
    seed: int,
    device: str,
) -> crossfit.CrossFit:
    """A stack of untrained critics for the splits of some pairs of samples."""
    every = [each for some in parts for each in some]
    assert config.width is not None  # sized
    copies = [
        [] if each is None else [copy.deepcopy(each).to(device) for _ in every] for each in encoders
    ]
    widths = [
        _width_of(name, encoder[0], z[:4]) if encoder else z.shape[1]
        for name, encoder, z in zip("xy", copies, (every[0].x, every[0].y), strict=True)
    ]
    shape = critics.CriticConfig("separable", config.width, config.depth, config.embedding)
    seeds = [seed * len(some) + k for some in parts for k in range(len(some))]
    networks = critics.build(shape, widths[0], widths[1], seeds).to(device)
    stack = crossfit.Stack(networks, copies)
    return crossfit.CrossFit(every, stack, config, seed, members=len(parts))


@torch.no_grad()
def _width_of(name: str, encoder: nn.Module, few: Tensor) -> int:
    try:
        found = copy.deepcopy(encoder).eval()(few)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ValueError(
            f"encoder_{name} cannot read {tuple(few.shape)}: {error}; valid: (n, …) → (n, d)"
        ) from None
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(few):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"encoder_{name} returns {shape}; valid: vectors (n, d)")
    return found.shape[1]


# ---------------------------------------------------------------------------------------------
# What held-out pairs say
# ---------------------------------------------------------------------------------------------


def _value(fit: crossfit.CrossFit, design: _Design, seed: int) -> Estimate:
    curve, steps, converged = np.stack(fit.curve), np.array(fit.looks), fit.finished
    found = [_of_split(fit, k, design.config) for k in range(len(fit.parts))]
    folds = found[1:]
    values = np.array([each.value for each in folds])
    sizes = np.array([len(each.influence) for each in folds])
    mi = float((values * sizes).sum() / sizes.sum())
    error, one, two = _error(design, folds, values)
    rows = tuple(len(fit.parts[k].rows.train) + len(fit.parts[k].rows.valid) for k in (0, 1))
    generator = np.random.default_rng([SAMPLE_SEED, seed, 2])
    lower, interval = mi - one * error, (mi - two * error, mi + two * error)
    p_value = _p_value(fit, design, generator)
    tables = [z if isinstance(z, Table) else None for z in (design.x, design.y)]
    widths = [z.varied if isinstance(z, Table) else z[0].numel() for z in (design.x, design.y)]
    hidden = unseen(design.independent_rows(), *widths)
    result = Estimate(
        mi=mi, lower=lower, interval=interval, p_value=p_value,
        ceiling=float(np.mean([each.ceiling for each in folds])),
        learning_curve=((rows[0], found[0].value), (rows[1], mi)),
        unseen=hidden if lower <= 0 and p_value > _LEVEL else None, warnings=design.doubts,
        x=_described(design.x), y=_described(design.y), rows=len(design.x),
        bound=tuple(str(each.how) for each in folds),
        critic=FittedCritic(fit, *tables), curve=curve, steps=steps, config=design.config,
    )  # fmt: skip
    doubts = list(_diagnose(result, fit, folds, converged))
    if lower > 0 and hidden > max(0.05, mi / 2):
        doubts.append(
            f"few rows for so many columns: they may hide about {hidden:.2g} nats beside what "
            "was found"
        )
    return replace(result, warnings=(*design.doubts, *doubts))


def _described(samples: Table | Tensor) -> str:
    if isinstance(samples, Table):
        return samples.describe()
    return f"{tuple(samples.shape[1:])} through an encoder"


@dataclass(frozen=True, eq=False)
class _Held:
    """Value of a split on its held-out rows, influence and row of each pair, and the ceiling."""

    value: float
    influence: np.ndarray
    rows: np.ndarray
    ceiling: float
    how: Valuation


def _of_split(fit: crossfit.CrossFit, k: int, config: EstimateConfig) -> _Held:
    rows = fit.parts[k].rows
    if config.estimator == "auto":
        how = _best_bound(fit, k)
    else:
        how = Valuation.of(Estimator.parse(config.estimator))
    values, influences, places = [], [], []
    for block in rows.blocks(rows.test)[: crossfit.BLOCKS if k else 2]:
        scores = fit.scores(k, block, block)
        value, influence = how(scores)
        values.append(value)
        influences.append(influence)
        places.append(block)
    sizes = np.array([len(each) for each in places])
    value = float((np.array(values) * sizes).sum() / sizes.sum())
    shifted = [each + v - value for each, v in zip(influences, values, strict=True)]
    return _Held(
        value, np.concatenate(shifted), np.concatenate(places), how.ceiling(int(sizes[0])), how
    )


def _best_bound(fit: crossfit.CrossFit, k: int) -> Valuation:
    """The proved bound that is higher on the validation rows.

    ML-CPC has the higher ceiling, and a larger spread: one normaliser serves all rows.
    """
    rows = fit.parts[k].rows
    block = rows.blocks(rows.valid)[0]
    scores = fit.scores(k, block, block)
    low, high = PROVED
    value, _ = low(scores)
    if value < low.ceiling(len(block)) - _HIGH:
        return low
    other, influence = high(scores)
    return high if other - standard_error(influence) > value else low


def _error(design: _Design, folds: list[_Held], values: np.ndarray) -> tuple[float, float, float]:
    """Standard error of the mean, and how many of it are 95 % on one side and on both."""
    if design.ordered:
        count = len(values)
        error = float(values.std(ddof=1) / math.sqrt(count))
        return error, float(student_t.ppf(0.95, count - 1)), float(student_t.ppf(0.975, count - 1))
    influence = np.concatenate([each.influence for each in folds])
    rows = np.concatenate([each.rows for each in folds])
    groups = None if design.groups is None else design.groups[rows]
    return standard_error(influence, groups), 1.645, 1.96


def _p_value(fit: crossfit.CrossFit, design: _Design, generator: np.random.Generator) -> float:
    rows = fit.parts[0].rows
    if design.ordered:
        test = rows.test[:: -(-len(rows.test) // crossfit.BLOCK)]
        scores = fit.scores(0, test, test)
        return shifted_p_value(scores, generator, max(1, len(test) // 50))
    test = rows.test if rows.groups is None else crossfit.layers(rows.test, rows.groups)[0]
    blocks = np.array_split(test, -(-len(test) // crossfit.BLOCK))[:4]
    return permutation_p_value([fit.scores(0, b, b) for b in blocks], generator)


def _diagnose(
    found: Estimate, fit: crossfit.CrossFit, folds: list[_Held], converged: bool
) -> Iterator[str]:
    """What a reader of the number must know."""
    if any(not each.how.proved(len(each.rows)) for each in folds):
        yield f"{found.config.estimator} is not a guaranteed bound with so small an alpha"
    normals = [each.features.normal for each in fit.parts if each.features.normal is not None]
    measured = all(z.fine for z in (found.critic.x, found.critic.y) if z is not None)
    if measured and any(float(each.rho.max()) ** 2 > 1 - 1e-8 for each in normals):
        yield (
            "a column of y is all but a function of one of x, or the other way round: the "
            "information may be infinite, and the value only says how many rows there are"
        )
    if found.interval[1] > found.ceiling - _NEAR:
        yield (
            f"the value is near its ceiling of {found.ceiling:.2f} nats, and the information may "
            "be far above it: more rows lift it"
        )
    (few, before), (rows, after) = found.learning_curve
    growth, reach = after - max(0.0, before), found.interval[1] - found.mi
    if growth > max(0.08 * after, reach / 2) and (found.lower > 0 or growth > 0.05):
        yield (
            f"still grows with more rows: {before:.2f} nats learned from {few} rows, {after:.2f} "
            f"from {rows}: the information is probably larger"
        )
    if found.lower > 0 and reach > found.mi / 4:
        yield (
            f"few rows for so little information: the value is uncertain by {reach:.2g} of "
            f"{found.mi:.2g} nats; more rows narrow it"
        )
    if found.unseen is not None:
        yield (
            f"nothing found; less than about {found.unseen:.2g} nats, or dependence of a form too "
            "wild for so many rows, would have gone unseen"
        )
    elif found.lower <= 0:
        yield f"dependent (p = {found.p_value:.3f}), but too few rows to say how much"
    if not converged:
        yield f"not converged in {found.config.steps} steps: raise steps"
