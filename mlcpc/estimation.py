"""Train critics until their bound says how much information there is.

:func:`staircase` trains any number of replicates (seeds × estimators) in one program on a problem
whose information climbs in steps, and :func:`summarise` turns the curves into bias, variance and
mean squared error. :func:`estimate` does it once, on a reader's own samples.

An estimator is named by its bound and one setting: ``ml_cpc:0.1`` is J_α with α = 0.1, ``smile:5``
clips at 5 nats, ``interpolated:0.5`` weighs both baselines alike, ``mine:0.9`` keeps nine tenths of
its average, ``nwj``, ``dv``, ``js`` and ``tuba`` have none.
"""

import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch

from mlcpc import bounds, checks, critics, problems, runs
from mlcpc.shapes import Tensor

Samples = np.ndarray | Tensor

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
_WITH_ALPHA = ("cpc", "ml_cpc", "ml_cpc_fresh")
_WITH_BASELINE = ("tuba", "interpolated")
_BLOCK = 50  # steps whose samples are drawn at once; checkpoints fall between blocks


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


@dataclass(frozen=True)
class StaircaseConfig:
    """What a staircase trains.

    Args:
        task: gaussian, cubic, gaussian-rotated or cubic-rotated.
        levels: true information of each level, in nats.
        steps: training steps of each level.
        estimators: bounds with their settings, such as "ml_cpc:0.1".
        seeds: seeds of samples and first weights; estimators of a seed share both.
        critic: separable, joint, bilinear or inner.
        width: units of each hidden layer of the critic.
        depth: hidden layers of the critic.
        embedding: embedding length of the separable critic.
        dim: dimension of x and of y.
        batch: pairs of a step, all others of the batch are negatives.
        learning_rate: step size of Adam.
        seeds_at_once: seeds that are trained in one stack.

    Raises:
        ValueError: a value outside its range; no step is trained before.
    """

    task: str = "gaussian"
    levels: tuple[float, ...] = problems.LEVELS
    steps: int = 4000
    estimators: tuple[str, ...] = tuple(
        f"{bound}:{alpha}" for bound in ("cpc", "ml_cpc") for alpha in (1, 0.1, 0.01, 0.001, 0.0001)
    )
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    critic: str = "separable"
    width: int = 256
    depth: int = 3
    embedding: int = 32
    dim: int = 20
    batch: int = 128
    learning_rate: float = 5e-4
    seeds_at_once: int = 1

    def __post_init__(self) -> None:
        for name in ("levels", "estimators", "seeds"):
            value = tuple(getattr(self, name))
            if not value:
                raise ValueError(f"{name} is empty; valid: at least one")
            if len(set(value)) < len(value):
                raise ValueError(f"{name} is {value}; valid: no value twice")
            object.__setattr__(self, name, value)
        for name, least in (("steps", 2), ("batch", 3), ("dim", 1), ("seeds_at_once", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value!r}; valid: an integer of at least {least}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate is {self.learning_rate}; valid: learning_rate > 0")
        problems.staircase(self.task, self.levels, self.dim)
        self.critic_config()
        for each in map(Estimator.parse, self.estimators):
            if each.bound in _WITH_ALPHA:
                bounds._check_alpha(each.setting, self.batch)

    def critic_config(self) -> critics.CriticConfig:
        return critics.CriticConfig(self.critic, self.width, self.depth, self.embedding)


# ---------------------------------------------------------------------------------------------
# Values of many estimators at once
# ---------------------------------------------------------------------------------------------


class _Values:
    """Values of a stack's scores, (seeds, estimators); neighbours with one bound are one call.

    Holds what the bounds need besides scores: MINE's averages and the baselines of TUBA.
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
                if bound in (*_WITH_ALPHA, "interpolated"):
                    settings = torch.tensor(settings, device=device)
                else:
                    settings = settings[0]
                self.groups.append((bound, slice(begin, begin + len(group)), settings))
                begin += len(group)
        self.fresh = any(each.bound == "ml_cpc_fresh" for each in estimators)
        self.averages = torch.full((len(seeds), len(estimators)), math.nan, device=device)
        self.learned = [i for i, each in enumerate(estimators) if each.bound in _WITH_BASELINE]
        self.baseline = None
        if self.learned:
            self.baseline = critics.baseline(
                dim_x, seeds=[seed + 1 for seed in seeds], copies=len(self.learned)
            ).to(device)

    def parameters(self) -> list[Tensor]:
        return list(self.baseline.parameters()) if self.baseline else []

    def __call__(self, scores: Tensor, x: Tensor) -> Tensor:
        """Values (S, E) of scores (S, E, n, n) of x (S, n, d); columns behind n are fresh y."""
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
            if bound in _WITH_BASELINE:
                places = [self.learned.index(i) for i in range(where.start, where.stop)]
                value = _with_baseline(
                    bound, of_positive, of_negative, log_baseline[:, places], setting
                )
            elif bound == "mine":
                old = self.averages[:, where]
                old = None if old.isnan().any() else old
                value, self.averages[:, where] = bounds.mine(of_positive, of_negative, old, setting)
            else:
                value = _PLAIN[bound](of_positive, of_negative, setting)
            values.append(value)
        return torch.cat(values, dim=1)


_PLAIN: dict[str, Callable] = {
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


# ---------------------------------------------------------------------------------------------
# The staircase
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curves:
    """What a staircase gave.

    Args:
        config: what was trained.
        values: value of each step in nats, (seeds, estimators, levels · steps), NaN from the step
            on at which a replicate diverged.
        seconds: what the training took, parts before an interruption included.
    """

    config: StaircaseConfig
    values: np.ndarray
    seconds: float = 0.0

    def window(self, level: int) -> np.ndarray:
        """Last half of a level, (seeds, estimators, steps/2): bias and variance are read off it."""
        steps = self.config.steps
        return self.values[..., level * steps + steps // 2 : (level + 1) * steps]


def staircase(
    config: StaircaseConfig,
    device: str = "cpu",
    scratch: Path | None = None,
    save_every: int = 500,
    progress: bool = False,
    jobs: int = 1,
) -> Curves:
    """Train all seeds and estimators of a configuration.

    Args:
        config: what to train.
        device: where.
        scratch: folder of checkpoints; a run that was killed goes on from the last one and ends
            with the same numbers. None keeps nothing.
        save_every: steps between checkpoints, rounded up to blocks of samples.
        progress: show a bar with nats and time left.
        jobs: processes that share the seeds, each with one thread; 1 stays in this process. On a
            CPU one thread a stack beats all threads on one stack.

    Returns:
        the curves.

    Raises:
        ValueError: a checkpoint of another configuration or of other code, or a damaged one; jobs
            below 1; a device that is not there.
    """
    checks.device(device)
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; valid: at least 1")
    work = [
        (config, seeds, device, scratch, save_every, progress)
        for seeds in _batched(config.seeds, config.seeds_at_once)
    ]
    if jobs == 1:
        done = [_train(*each) for each in work]
    else:
        with torch.multiprocessing.get_context("spawn").Pool(
            min(jobs, len(work)), torch.set_num_threads, (1,)
        ) as pool:
            done = pool.starmap(_train, work, chunksize=1)
    values, seconds = zip(*done, strict=True)
    return Curves(config, np.concatenate(values), sum(seconds))


def _train(
    config: StaircaseConfig,
    seeds: tuple[int, ...],
    device: str,
    scratch: Path | None,
    save_every: int,
    progress: bool,
) -> tuple[np.ndarray, float]:
    return _Stack(config, seeds, device).train(scratch, save_every, progress)


class _Stack:
    """Critics of some seeds × all estimators, their optimiser and their sample streams."""

    def __init__(self, config: StaircaseConfig, seeds: tuple[int, ...], device: str) -> None:
        self.config, self.seeds, self.device = config, seeds, device
        self.code = runs.code_hash(["estimation.staircase"])  # no one resumes with other code
        self.levels = problems.staircase(config.task, config.levels, config.dim)
        estimators = [Estimator.parse(each) for each in config.estimators]
        self.shape = (len(seeds), len(estimators))
        self.critic = critics.build(
            config.critic_config(), config.dim, config.dim, seeds, copies=len(estimators)
        ).to(device)
        self.value_of = _Values(estimators, seeds, config.dim, device)
        self.parameters = [*self.critic.parameters(), *self.value_of.parameters()]
        self.optimiser = torch.optim.Adam(self.parameters, config.learning_rate, fused=True)
        self.generators = [
            torch.Generator(device).manual_seed(SAMPLE_SEED + seed) for seed in seeds
        ]
        self.alive = torch.ones(self.shape, dtype=torch.bool, device=device)
        self.step, self.seconds = 0, 0.0
        self.values = torch.full((config.steps * len(config.levels), *self.shape), math.nan)

    def train(
        self, scratch: Path | None, save_every: int, progress: bool
    ) -> tuple[np.ndarray, float]:
        """Values (seeds, estimators, steps) and the seconds they took."""
        path = None
        if scratch is not None:
            path = Path(scratch) / f"seeds-{'-'.join(map(str, self.seeds))}.safetensors"
            if path.exists():
                self._resume(path)
        bar = _bar(progress, len(self.values), self.step, f"seeds {self.seeds}")
        saved = self.step
        while self.step < len(self.values):
            begin = time.monotonic()
            self._block()
            self.seconds += time.monotonic() - begin
            done = self.step == len(self.values)
            if path is not None and (done or self.step - saved >= save_every):
                self._save(path)
                saved = self.step
            last = self.values[max(0, self.step - _BLOCK) : self.step].mean(0).nanmean()
            bar.set_postfix_str(f"mean value {last:.2f} nats")
            bar.update(self.step - bar.n)
        bar.close()
        return self.values.permute(1, 2, 0).numpy().astype(np.float64), self.seconds

    def _block(self) -> None:
        """Train up to ``_BLOCK`` steps, all on one level."""
        config = self.config
        level, into = divmod(self.step, config.steps)
        steps = min(_BLOCK, config.steps - into)
        copies = 2 if self.value_of.fresh else 1
        drawn = [
            self.levels[level].sample(steps * copies * config.batch, each)
            for each in self.generators
        ]
        x, y = (
            torch.stack(each, dim=1).view(steps, copies * config.batch, len(self.seeds), -1)
            for each in zip(*drawn, strict=True)
        )
        values = torch.empty(steps, *self.shape, device=self.device)
        for step in range(steps):
            # (S, n, d): x of its partners y alone, and behind them fresh y where they are asked for
            x_now, y_now = x[step, : config.batch].transpose(0, 1), y[step].transpose(0, 1)
            values[step] = self._train_step(x_now.contiguous(), y_now.contiguous())
        self.values[self.step : self.step + steps] = values.cpu()
        self.step += steps

    def _train_step(self, x: Tensor, y: Tensor) -> Tensor:
        many = self.shape[1]
        scores = self.critic(x.repeat_interleave(many, dim=0), y.repeat_interleave(many, dim=0))
        scores = scores.unflatten(0, self.shape)
        # A replicate that diverged gets zeros, so that no check stops the others.
        self.alive &= scores.detach().sum((-2, -1)).isfinite()
        if not self.alive.all():
            scores = torch.where(self.alive[..., None, None], scores, 0.0)
        values = self.value_of(scores, x)
        self.optimiser.zero_grad()
        (-values.sum()).backward()
        self.optimiser.step()
        values = values.detach()
        self.alive &= values.isfinite()
        return values.where(self.alive, math.nan)

    def _tensors(self) -> dict[str, Tensor]:
        """All state, by name; the same tensors that training changes."""
        named = {f"parameter.{i}": each for i, each in enumerate(self.parameters)}
        for i, each in enumerate(self.parameters):
            for name, value in self.optimiser.state[each].items():
                named[f"adam.{name}.{i}"] = value
        named |= {"averages": self.value_of.averages, "alive": self.alive, "values": self.values}
        return named

    def _header(self) -> dict:
        return {
            "config": asdict(self.config),
            "seeds": list(self.seeds),
            "device": self.device,
            "code": self.code,
        }

    def _save(self, path: Path) -> None:
        generators = {f"generator.{i}": each.get_state() for i, each in enumerate(self.generators)}
        tensors = {name: each.detach().cpu() for name, each in self._tensors().items()}
        runs.save_state(
            path, tensors | generators, self._header() | {"progress": [self.step, self.seconds]}
        )

    def _resume(self, path: Path) -> None:
        tensors, header = runs.load_state(path)
        step, seconds = header.pop("progress")
        if header != (own := json.loads(json.dumps(self._header()))):
            differing = runs.differences(own, header)
            raise ValueError(f"{path} is of another run: {differing}")
        for parameter in self.parameters:  # Adam makes its state at its first step
            parameter.grad = torch.zeros_like(parameter)
        self.optimiser.step()
        with torch.no_grad():
            for name, each in self._tensors().items():
                each.copy_(tensors[name])
        for i, each in enumerate(self.generators):
            each.set_state(tensors[f"generator.{i}"])
        self.step, self.seconds = step, seconds


def _bar(shown: bool, total: int, begin: int, title: str) -> "tqdm":  # noqa: F821
    from tqdm import tqdm

    return tqdm(total=total, initial=begin, desc=title, disable=not shown, unit="step")


def _batched(items: Sequence, size: int) -> Iterator[tuple]:
    for begin in range(0, len(items), size):
        yield tuple(items[begin : begin + size])


# ---------------------------------------------------------------------------------------------
# What a staircase says
# ---------------------------------------------------------------------------------------------


def promise(estimator: Estimator, batch: int) -> str:
    """What is proved of an estimator with negatives from a batch of this size.

    One of "bound", "bound with fresh negatives" (in the batch the proof covers α ≥ 1 only) and
    "not a guaranteed bound". ``ml_cpc_fresh`` brings a fresh y for each pair of the batch, so it
    has ``batch + 1`` candidates and is a bound from their α_min on.
    """
    if estimator.bound in ("nwj", "js", "tuba", "interpolated"):
        return "bound"
    if estimator.bound in _WITH_ALPHA:
        if estimator.setting >= 1:
            return "bound"
        if estimator.bound == "ml_cpc_fresh":
            proved = estimator.setting >= bounds.alpha_min(batch, batch + 1)
            return "bound" if proved else "not a guaranteed bound"
        if estimator.bound == "ml_cpc" and estimator.setting >= bounds.alpha_min(batch, batch):
            return "bound with fresh negatives"
    return "not a guaranteed bound"


@dataclass(frozen=True)
class Cell:
    """One estimator at one level.

    Args:
        estimator: its name.
        truth: information of the level in nats.
        bias: mean of the last half of the level minus the truth, a metric over seeds, nats.
        variance: variance over the steps of that window, a metric over seeds, squared nats.
        mse: mean squared distance of those steps from the truth, a metric over seeds.
        diverged: seeds left out since they diverged. The metrics are None if none is left.
    """

    estimator: str
    truth: float
    bias: dict | None
    variance: dict | None
    mse: dict | None
    diverged: tuple[int, ...] = ()


def summarise(curves: Curves) -> list[Cell]:
    """Bias, variance and mean squared error of every estimator at every level, with intervals."""
    config, cells = curves.config, []
    for place, estimator in enumerate(config.estimators):
        for level, truth in enumerate(config.levels):
            window = curves.window(level)[:, place]
            kept = np.isfinite(window).all(axis=1)
            lost = tuple(np.array(config.seeds)[~kept].tolist())
            if not kept.any():
                cells.append(Cell(estimator, truth, None, None, None, lost))
                continue
            window = window[kept]
            metrics = (
                runs.metric(window.mean(1) - truth, "nats"),
                runs.metric(window.var(1), "nats²"),
                runs.metric(((window - truth) ** 2).mean(1), "nats²"),
            )
            cells.append(Cell(estimator, truth, *metrics, lost))
    return cells


def warnings(curves: Curves) -> list[str]:
    """What a reader of the numbers must know: a sentence each, none if all is well.

    Diverged replicates; estimators that promise nothing; a mean above the truth by more than 3
    standard errors over seeds (over tenths of the window for a single seed); levels whose value
    still rises, by more than 3 standard errors and 0.05 nats between the halves of the window.
    """
    config, found = curves.config, []
    for place, name in enumerate(config.estimators):
        estimator = Estimator.parse(name)
        if (said := promise(estimator, config.batch)) != "bound":
            found.append(f"{name}: {said}")
        for seed, values in zip(config.seeds, curves.values[:, place], strict=True):
            if np.isnan(values).any():
                step = int(np.isnan(values).argmax())
                found.append(f"{name}: seed {seed} diverged at step {step}")
        for level, truth in enumerate(config.levels):
            window = curves.window(level)[:, place]
            window = window[np.isfinite(window).all(axis=1)]
            if not len(window) or window.shape[1] < 20:
                continue
            excess = window.mean(1) - truth
            if len(window) == 1:
                tenths = np.array_split(window[0] - truth, 10)
                excess = np.array([each.mean() for each in tenths])
            error = excess.std(ddof=1) / math.sqrt(len(excess))
            if excess.mean() > 3 * error:
                found.append(
                    f"{name}: {excess.mean():.2f} nats above the truth at {truth:g} nats, more "
                    f"than 3 standard errors ({error:.3f})"
                )
            halves = [np.array_split(half, 5, axis=1) for half in np.array_split(window, 2, axis=1)]
            first, second = (np.array([part.mean() for part in half]) for half in halves)
            rise = second.mean() - first.mean()
            error = math.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 5)
            if rise > max(3 * error, 0.05):
                found.append(
                    f"{name}: not converged at {truth:g} nats, {rise:.2f} nats up in its last half"
                )
    return found


def record(
    curves: Curves, name: str, command: str, code: dict[str, str], device: str = "cpu"
) -> runs.Record:
    """A record of a staircase: every cell with its seeds, and the curves in 40 points a level.

    It is "full" from 4,000 steps a level and 5 seeds on, as in the paper's figure, else "quick".
    """
    config = curves.config
    profile = "full" if config.steps >= 4000 and len(config.seeds) >= 5 else "quick"
    metrics = {}
    for cell in summarise(curves):
        for kind in ("bias", "variance", "mse"):
            if (value := getattr(cell, kind)) is not None:
                metrics[f"{kind} {cell.estimator} at {cell.truth:g}"] = value
    points = min(40, config.steps) * len(config.levels)
    steps = np.array_split(np.arange(curves.values.shape[-1]), points)
    thinned = np.stack([curves.values[..., part].mean(-1) for part in steps], axis=-1)
    lines = {}
    for place, estimator in enumerate(config.estimators):
        of_seeds = thinned[:, place]
        lines[estimator] = {
            kind: [None if math.isnan(v) else round(float(v), 4) for v in reduce(of_seeds, axis=0)]
            for kind, reduce in (("mean", np.mean), ("lowest", np.min), ("highest", np.max))
        }
    middle = [float(part.mean()) for part in steps]
    return runs.Record(
        name=name,
        chapter="08_staircase",
        profile=profile,
        command=command,
        config=json.loads(json.dumps(asdict(config))),
        seeds=list(config.seeds),
        metrics=metrics,
        arrays={"steps": middle, "curves": lines, "warnings": warnings(curves)},
        provenance=runs.provenance(code, curves.seconds, device=device),
    )


# ---------------------------------------------------------------------------------------------
# A reader's own samples
# ---------------------------------------------------------------------------------------------

_NEAR = 2.0  # nats below the ceiling at which the bound begins to lag behind the information
_TESTED = 128  # candidates of the joint critic on held-out pairs
_SCORED = 2048  # held-out pairs that are scored against one another; more are seen in blocks
_GROUPS = 10  # groups of a fold that the jackknife leaves out in turn
_SHRINKAGES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # of the normal start; 1 is no start at all
_AVERAGED = 0.99  # share that the average of the weights keeps at a step
_FOR_SAMPLES = ("cpc", "ml_cpc", "nwj", "dv", "js", "smile")


@dataclass(frozen=True)
class EstimateConfig:
    """How :func:`estimate` trains.

    Args:
        estimator: bound with its setting; one of cpc, ml_cpc, nwj, dv, js, smile.
        standardise: ranks (normal scores of each column) or moments (mean 0, variance 1).
        start: normal (the critic is added to the log density ratio of a normal pair, fitted to the
            training part of a fold, with the shrinkage that the validation part prefers) or none.
        folds: parts of the samples; each is held out once, while the critic learns on the others.
        critic: separable, joint, bilinear or inner.
        width: units of each hidden layer.
        depth: hidden layers.
        embedding: embedding length of the separable critic.
        batch: pairs of a training step.
        candidates: m of the joint critic, which costs one evaluation a pair: each anchor's own y
            and m − 1 others of the batch. The other critics take all of the batch.
        steps: training steps at most.
        every: steps between looks at the validation part.
        patience: looks without a better value before a fold stops.
        learning_rate: step size of Adam.

    Raises:
        ValueError: a value outside its range.
    """

    estimator: str = "cpc:1"
    standardise: str = "ranks"
    start: str = "normal"
    folds: int = 5
    critic: str = "separable"
    width: int = 128
    depth: int = 2
    embedding: int = 32
    batch: int = 256
    candidates: int = 32
    steps: int = 5000
    every: int = 100
    patience: int = 5
    learning_rate: float = 2e-3

    def __post_init__(self) -> None:
        bound = Estimator.parse(self.estimator).bound
        if bound not in _FOR_SAMPLES:
            raise ValueError(f"estimator is {bound!r}; valid: {', '.join(_FOR_SAMPLES)}")
        checks.choices(self, standardise=("ranks", "moments"), start=("normal", "none"))
        checks.counts(self, folds=2, batch=3, candidates=2, steps=1, every=1, patience=1)
        checks.positive(self, "learning_rate")
        self.critic_config()

    def critic_config(self) -> critics.CriticConfig:
        return critics.CriticConfig(self.critic, self.width, self.depth, self.embedding)


@dataclass(frozen=True, eq=False)
class Estimate:
    """What :func:`estimate` found.

    Args:
        mi: estimate in nats: mean over folds of the bound on pairs that the critic did not see.
        interval: 95 % interval of that mean, from a jackknife over held-out pairs. It covers the
            noise of the samples, not what the critic failed to learn.
        critic: takes x and y as they were given, returns log-critic scores of all pairs.
        curve: values on the validation part, (looks, folds), NaN where a fold had stopped.
        steps: training step of each look.
        ceiling: largest value that the bound can take on a fold, inf if it has none.
        warnings: what a reader of the number must know.
        config: how it was trained.
    """

    mi: float
    interval: tuple[float, float]
    critic: "FittedCritic"
    curve: np.ndarray
    steps: np.ndarray
    ceiling: float
    warnings: tuple[str, ...]
    config: EstimateConfig

    def __str__(self) -> str:
        low, high = self.interval
        said = "".join(f"\n  warning: {each}" for each in self.warnings)
        return f"{self.mi:.3f} nats, 95 % interval {low:.3f} to {high:.3f}{said}"


class FittedCritic:
    """The mean of the folds' critics, with the standardisation that they were trained on."""

    def __init__(self, stack: torch.nn.Module, of_x: "_Standard", of_y: "_Standard") -> None:
        self.stack, self.of_x, self.of_y = stack, of_x, of_y

    @torch.no_grad()
    def __call__(self, x: Samples, y: Samples) -> np.ndarray:
        """Scores (n, k) of all pairs of x (n, d_x) and y (k, d_y)."""
        like = next(self.stack.parameters())
        folds = self.stack.replicates
        x, y = (
            torch.as_tensor(standard(samples)).to(like).expand(folds, -1, -1)
            for standard, samples in ((self.of_x, x), (self.of_y, y))
        )
        return self.stack(x, y).mean(0).cpu().numpy()


class _Standard:
    """Samples as a table of numbers with like columns; remembers how, for other samples."""

    def __init__(self, name: str, samples: Samples, how: str) -> None:
        self.name, self.how = name, how
        self.classes = None
        given = np.asarray(samples)
        if given.ndim == 1 and given.dtype.kind in "iub":
            self.classes = np.unique(given)
            if len(self.classes) > max(2, len(given) // 10):
                raise ValueError(
                    f"{name} holds {len(self.classes)} integer labels in {len(given)} samples; "
                    "valid: ten samples a label, or floats if they are numbers"
                )
        table = self._table(samples)
        self.width = table.shape[1]
        self.kept = np.ptp(table, axis=0) > 0
        if not self.kept.any():
            raise ValueError(f"{name} is constant; valid: at least one column that varies")
        table = table[:, self.kept]
        self.sorted = np.sort(table, axis=0)
        self.mean, self.scale = table.mean(0), table.std(0)

    def _table(self, samples: Samples) -> np.ndarray:
        if isinstance(samples, Tensor):
            samples = samples.detach().cpu().numpy()
        table = np.asarray(samples)
        if self.classes is not None:
            unknown = ~np.isin(table, self.classes)
            if unknown.any():
                raise ValueError(f"{self.name} has unknown label {table[unknown][0]}")
            return (table[:, None] == self.classes).astype(np.float64)
        if table.dtype.kind not in "fiub":
            raise ValueError(f"{self.name} is {table.dtype}; valid: numbers, (N,) or (N, d)")
        if table.ndim == 1:
            table = table[:, None]
        if table.ndim != 2 or 0 in table.shape:
            raise ValueError(f"{self.name} has shape {table.shape}; valid: (N,) or (N, d)")
        table = table.astype(np.float64)
        if not np.isfinite(table).all():
            row, column = np.argwhere(~np.isfinite(table))[0]
            raise ValueError(
                f"{self.name} contains {table[row, column]} in row {row}; valid: finite numbers"
            )
        return table

    def __call__(self, samples: Samples) -> np.ndarray:
        table = self._table(samples)
        if table.shape[1] != self.width:
            raise ValueError(f"{self.name} has {table.shape[1]} columns; valid: {self.width}")
        table = table[:, self.kept]
        if self.how == "moments" or self.classes is not None:
            return (table - self.mean) / self.scale
        ranks = np.stack(
            [
                (np.searchsorted(a, b, "left") + np.searchsorted(a, b, "right")) / 2
                for a, b in zip(self.sorted.T, table.T, strict=True)
            ],
            axis=1,
        )
        share = (ranks + 0.5) / (len(self.sorted) + 1)
        return torch.special.ndtri(torch.from_numpy(share)).numpy()


def estimate(
    x: Samples, y: Samples, seed: int = 0, device: str = "cpu", progress: bool = False, **settings
) -> Estimate:
    """Mutual information of samples, in nats.

    Columns are standardised (information does not change under monotone maps of a column), the
    samples are cut into folds, and for each fold a critic is trained on the others, from the log
    density ratio of a normal pair on, stopping when a validation part says so. Its weights are
    averaged over steps. The folds' critics are one stack. The value is that of the bound on
    pairs that no training saw, so for a guaranteed bound its mean is at most the information.

    Args:
        x, y: samples, (N,) or (N, d), arrays or tensors; row i of x goes with row i of y.
            A one-dimensional array of integers or booleans holds class labels and becomes one
            column a class. Constant columns are left out.
        seed: of folds, first weights and batches.
        device: where to train.
        progress: show a bar with nats and time left.
        **settings: fields of :class:`EstimateConfig`.

    Returns:
        the estimate.

    Raises:
        ValueError: lengths that differ, NaN, all columns constant, fewer than 20 samples a fold,
            an unknown setting.
    """
    unknown = set(settings) - (valid := {each.name for each in fields(EstimateConfig)})
    if unknown:
        raise ValueError(f"setting {min(unknown)} is unknown; valid: {', '.join(sorted(valid))}")
    config = EstimateConfig(**settings)
    of_x, of_y = _Standard("x", x, config.standardise), _Standard("y", y, config.standardise)
    if len(x) != len(y):
        raise ValueError(f"y has {len(y)} samples; valid: as many as x, {len(x)}")
    if len(x) < (least := 20 * config.folds):
        raise ValueError(
            f"x has {len(x)} samples; valid: at least {least} for {config.folds} folds"
        )
    like = torch.get_default_dtype()
    x, y = (torch.as_tensor(s(z)).to(device, like) for s, z in ((of_x, x), (of_y, y)))
    training = _Folds(x, y, config, seed, device)
    curve, steps, converged = training.train(progress)
    values, left_out, ceiling = training.test()
    # Jackknife: leaving out group g of fold k moves the mean over folds by (θ_k without g − θ_k)/K.
    moves = (left_out - left_out.mean(1, keepdims=True)) / config.folds
    error = math.sqrt((_GROUPS - 1) / _GROUPS * (moves**2).sum())
    mi = float(values.mean())
    interval = (mi - 1.96 * error, mi + 1.96 * error)
    return Estimate(
        mi=mi,
        interval=interval,
        critic=FittedCritic(training.critic, of_x, of_y),
        curve=curve,
        steps=steps,
        ceiling=ceiling,
        warnings=tuple(_remarks(config, interval, ceiling, converged, len(x), of_x, of_y)),
        config=config,
    )


def _remarks(
    config: EstimateConfig,
    interval: tuple[float, float],
    ceiling: float,
    converged: bool,
    samples: int,
    of_x: _Standard,
    of_y: _Standard,
) -> Iterator[str]:
    estimator = Estimator.parse(config.estimator)
    for standard in (of_x, of_y):
        if dropped := int((~standard.kept).sum()):
            yield f"{standard.name} has {dropped} constant columns, left out"
    held_out = samples // config.folds
    said = promise(estimator, min(held_out, _SCORED))
    if said != "bound":
        yield f"{estimator} is {'a ' if said.startswith('bound') else ''}{said}"
    if interval[1] > ceiling - _NEAR:
        # The joint critic has _TESTED candidates, whatever the number of samples.
        if held_out < (_TESTED if config.critic == "joint" else _SCORED):
            remedy = "more samples or fewer folds lift it; a lower alpha does too, "
        else:
            remedy = "a lower alpha lifts it, "
        yield (
            f"the value is near its ceiling of {ceiling:.2f} nats, and the information may be far "
            f"above it: {remedy}but may give up the guarantee"
        )
    if interval[1] < 0:
        yield "the value is below zero: the critic learned nothing that holds on other pairs"
    if not converged:
        yield f"not converged in {config.steps} steps: raise steps"


class _Folds:
    """One critic a fold, all in one stack, each trained without its fold."""

    def __init__(
        self, x: Tensor, y: Tensor, config: EstimateConfig, seed: int, device: str
    ) -> None:
        self.x, self.y, self.config = x, y, config
        self.generator = torch.Generator().manual_seed(SAMPLE_SEED + seed)
        shuffled = torch.randperm(len(x), generator=self.generator).to(device)
        size = len(x) // config.folds
        parts = [shuffled[k * size : (k + 1) * size] for k in range(config.folds)]
        rest = [
            torch.cat([*parts[:k], *parts[k + 1 :], shuffled[config.folds * size :]])
            for k in range(config.folds)
        ]
        held = max(10, len(rest[0]) // 5)
        self.tested = torch.stack(parts)  # (folds, size)
        self.validated = torch.stack([each[:held] for each in rest])
        self.trained = torch.stack([each[held:] for each in rest])
        seeds = [seed * config.folds + k for k in range(config.folds)]
        self.critic = critics.build(config.critic_config(), x.shape[1], y.shape[1], seeds).to(
            device
        )
        self.estimator = Estimator.parse(config.estimator)
        if config.start == "normal":
            self.critic = critics.Sum(self._normal_ratio(), self.critic)

    @torch.no_grad()
    def _normal_ratio(self) -> critics.NormalRatio:
        """Ratio of a normal pair a fold, with the shrinkage that its validation part prefers."""
        x, y = self.x[self.trained], self.y[self.trained]
        values = []
        for shrinkage in _SHRINKAGES:
            ratio = critics.NormalRatio(x, y, x.new_full((len(x),), shrinkage))
            values.append(self._held_out(self.validated, ratio))
        best = torch.stack(values).argmax(0)
        return critics.NormalRatio(x, y, x.new_tensor(_SHRINKAGES)[best])

    def _held_out(self, rows: Tensor, critic: torch.nn.Module) -> Tensor:
        """Value of each fold's critic on its held-out rows (folds, n): the mean over blocks.

        The blocks cover all rows and are of one size, so that more rows never lower the ceiling;
        where the size does not divide n, neighbours overlap.
        """
        n = rows.shape[1]
        size = min(n, _SCORED)
        count = -(-n // size)
        starts = [round(k * (n - size) / max(1, count - 1)) for k in range(count)]
        blocks = (rows[:, start : start + size] for start in starts)
        return sum(self._values(block, _TESTED, critic) for block in blocks) / count

    def _values(self, rows: Tensor, candidates: int, critic: torch.nn.Module) -> Tensor:
        """Value of each fold's critic on its rows (folds, n), at most so many candidates each."""
        x, y, n = self.x[rows], self.y[rows], rows.shape[1]
        m = min(candidates, n)
        if self.config.critic == "joint":
            # Row i meets y_i, and y at m − 1 distances that are spread over all others.
            away = torch.linspace(0, n - 1, m, device=rows.device).round().long()
            places = (torch.arange(n, device=rows.device)[:, None] + away) % n
            scores = critic.candidates(x, y, places)
            positive, negative = scores[..., 0], scores[..., 1:]
        else:
            positive, negative = bounds.split(critic(x, y))
        return _PLAIN[self.estimator.bound](positive, negative, self.estimator.setting)

    def train(self, progress: bool) -> tuple[np.ndarray, np.ndarray, bool]:
        """Validation values, their steps, and whether every fold stopped by itself."""
        config, device = self.config, self.x.device
        batch = min(config.batch, self.trained.shape[1])
        weights = list(self.critic.parameters())
        optimiser = torch.optim.Adam(weights, config.learning_rate, fused=True)
        best = torch.full((config.folds,), -math.inf, device=device)
        averaged, kept = ([each.detach().clone() for each in weights] for _ in range(2))
        waited = torch.zeros(config.folds, dtype=torch.long, device=device)
        curve, steps = [], []
        with _bar(progress, config.steps, 0, "estimate") as bar:
            for step in range(config.steps + 1):
                if step % config.every == 0 or step == config.steps:
                    with torch.no_grad():
                        trained = [each.clone() for each in weights]
                        torch._foreach_copy_(weights, averaged)
                        value = self._held_out(self.validated, self.critic)
                        torch._foreach_copy_(weights, trained)
                    running = waited < config.patience
                    better = running & (value > best)
                    best = torch.where(better, value, best)
                    waited = torch.where(better, 0, waited + 1)
                    for copy, now in zip(kept, averaged, strict=True):
                        # a separable critic stacks its x- and y-networks: 2 · folds
                        which = better.repeat(len(now) // config.folds)
                        copy[which] = now[which]
                    curve.append(torch.where(running, value, math.nan).cpu().numpy())
                    steps.append(step)
                    bar.set_postfix_str(f"{best.mean():.3f} nats")
                    if (waited >= config.patience).all():
                        break
                if step == config.steps:
                    break
                places = torch.randint(
                    self.trained.shape[1], (config.folds, batch), generator=self.generator
                )
                rows = self.trained.gather(1, places.to(device))
                optimiser.zero_grad()
                (-self._values(rows, config.candidates, self.critic).sum()).backward()
                optimiser.step()
                with torch.no_grad():
                    # At first the average covers about the last tenth of the steps.
                    share = 1 - min(_AVERAGED, step / (step + 10))
                    torch._foreach_lerp_(averaged, weights, share)
                bar.update()
        with torch.no_grad():
            torch._foreach_copy_(weights, kept)
        return np.stack(curve), np.array(steps), bool((waited >= config.patience).all())

    @torch.no_grad()
    def test(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Values (folds,), values with a group left out (folds, groups), and the ceiling."""
        n = self.tested.shape[1]
        values = self._held_out(self.tested, self.critic)
        left_out = []
        for group in range(_GROUPS):
            others = torch.arange(n, device=self.tested.device) % _GROUPS != group
            left_out.append(self._held_out(self.tested[:, others], self.critic))
        ceiling = math.inf
        if self.estimator.bound in _WITH_ALPHA:
            m = min(n, _TESTED if self.config.critic == "joint" else _SCORED)
            ceiling = bounds.ceiling(m, self.estimator.setting)
        return values.cpu().numpy(), torch.stack(left_out, 1).cpu().numpy(), ceiling
