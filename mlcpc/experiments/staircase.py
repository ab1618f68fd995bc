"""The staircase: critics are trained while the information of a problem climbs in steps.

All seeds of a cell and all estimators are trained in one program, a
:class:`mlcpc.stacks.Stack`. Bias, variance
and mean squared error are read off the last half of each level.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from mlcpc import bounds, critics, estimators, problems, training
from mlcpc.config import Config, setting
from mlcpc.estimators import Estimator
from mlcpc.experiments import base
from mlcpc.experiments.base import Cell, Experiment, Job, Result
from mlcpc.records import Metric
from mlcpc.shapes import Tensor
from mlcpc.stacks import Stack

_BLOCK = 50  # steps whose samples are drawn at once: an epoch of the training loop
_EVERY = 10  # blocks between two checkpoints


@dataclass(frozen=True)
class StaircaseConfig(Config):
    """What a staircase trains.

    Settings are declared with their help and range; ``mlcpc run staircase --help`` lists them.
    """

    task: str = setting(
        "gaussian", "problem whose information climbs", choices=tuple(problems.STAIRCASES)
    )
    levels: tuple[float, ...] = setting(
        problems.LEVELS, "true information of each level, in nats", least=0
    )
    steps: int = setting(4000, "training steps of each level", least=2)
    estimators: tuple[str, ...] = setting(
        tuple(f"{name}:{alpha}" for name in ("cpc", "ml_cpc")
              for alpha in (1, 0.1, 0.01, 0.001, 0.0001)),
        "bounds with their settings, such as ml_cpc:0.1",
    )  # fmt: skip
    seeds: tuple[int, ...] = setting(
        (0, 1, 2, 3, 4),
        "random seeds of samples and first weights; the estimators of a seed share both", least=0,
    )  # fmt: skip
    critic: str = setting("separable", "kind of the critic", choices=critics.KINDS)
    width: int = setting(256, "units of each hidden layer of the critic", least=1)
    depth: int = setting(3, "hidden layers of the critic", least=1)
    embedding: int = setting(32, "length of the embeddings of a separable critic", least=1)
    dim: int = setting(20, "dimension of x and of y", least=1)
    batch: int = setting(128, "pairs of a step; all others of the batch are negatives", least=3)
    learning_rate: float = setting(5e-4, "step size of Adam", above=0)
    seeds_at_once: int = setting(1, "seeds that are trained in one stack", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        problems.staircase(self.task, self.levels, self.dim)
        for each in map(Estimator.parse, self.estimators):
            if each.bound in estimators.WITH_ALPHA:
                bounds._check_alpha(each.setting, self.batch)

    def critic_config(self) -> critics.CriticConfig:
        return critics.CriticConfig(self.critic, self.width, self.depth, self.embedding)


# ---------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------


class StaircaseStack(Stack):
    """Critics of all seeds and estimators of a config; a block lies on one level.

    Args:
        config: what to train.
        device: cpu or cuda.
    """

    def __init__(self, config: StaircaseConfig, device: str = "cpu") -> None:
        self.config = config
        self.levels = problems.staircase(config.task, config.levels, config.dim)
        self.blocks = [
            (level, min(_BLOCK, config.steps - begin))
            for level in range(len(config.levels))
            for begin in range(0, config.steps, _BLOCK)
        ]
        super().__init__(
            config.estimators, config.seeds, config.critic_config(), (config.dim, config.dim),
            config.learning_rate, [steps for _, steps in self.blocks], device,
        )  # fmt: skip

    def draw(self, epoch: int) -> tuple[Tensor, Tensor]:
        level, steps = self.blocks[epoch]
        batch = self.config.batch
        count = batch * (2 if self.value_of.fresh else 1)
        drawn = [self.levels[level].sample(steps * count, each) for each in self.generators]
        x, y = (
            torch.stack(each, dim=1).view(steps, count, self.shape[0], -1)
            for each in zip(*drawn, strict=True)
        )
        # x of its partners y alone, and behind them fresh y where they are asked for
        return x[:, :batch], y


def train_stack(settings: Mapping[str, Any], job: Job) -> Result:
    """Train one stack: its values (seeds, estimators, steps) in nats.

    Args:
        settings: those of a :class:`StaircaseConfig`; all its seeds are trained at once.
        job: where; a checkpoint at ``job.path`` is gone on from.
    """
    stack = StaircaseStack(StaircaseConfig.from_dict(settings), job.device)
    header = {**settings, "device": job.device, "version": EXPERIMENT.version}
    history = training.fit(stack, job.path, header, _EVERY, job.progress)
    seconds = sum(each["seconds"] for each in history)
    return Result({}, {"values": stack.state.values.permute(1, 2, 0)}, seconds)


# ---------------------------------------------------------------------------------------------
# What the curves say
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Curves:
    """What a staircase gave.

    Args:
        config: what was trained.
        values: value of each step in nats, (seeds, estimators, levels · steps), NaN from the step
            on at which a replicate diverged.
    """

    config: StaircaseConfig
    values: np.ndarray

    def window(self, level: int) -> np.ndarray:
        """Last half of a level, (seeds, estimators, steps/2): bias and variance are read off it."""
        steps = self.config.steps
        return self.values[..., level * steps + steps // 2 : (level + 1) * steps]


def train(config: StaircaseConfig, device: str = "cpu", progress: bool = False) -> Curves:
    """Train a staircase here and now, with nothing kept on disk."""
    job = replace(base.job_for(config, device), progress=progress)
    return joined(config, base.results_of(EXPERIMENT, config, job))


def joined(config: StaircaseConfig, results: Mapping[str, Result]) -> Curves:
    """The curves of all cells."""
    found = [results[cell.name].tensors["values"] for cell in EXPERIMENT.cells(config)]
    return Curves(config, torch.cat(found).numpy().astype(np.float64))


def metric_name(kind: str, estimator: str, truth: float) -> str:
    """Name of a metric, such as ``bias ml_cpc:0.1 at 6``."""
    return f"{kind} {estimator} at {truth:g}"


def metrics(curves: Curves) -> dict[str, Metric]:
    r"""Bias, variance and mean squared error of every estimator at every level, seed by seed.

    With values v_t over the window of a level whose true information is I:

    .. math:: \text{bias} = \bar v - I, \quad \text{variance} = \overline{(v_t - \bar v)^2},
              \quad \text{mse} = \overline{(v_t - I)^2}

    A seed that diverged has None.
    """
    config, found = curves.config, {}
    for place, estimator in enumerate(config.estimators):
        for level, truth in enumerate(config.levels):
            window = curves.window(level)[:, place]
            kept = np.isfinite(window).all(axis=1)
            window = window[kept]
            kinds = {
                "bias": ("nats", window.mean(1) - truth),
                "variance": ("nats²", window.var(1)),
                "mse": ("nats²", ((window - truth) ** 2).mean(1)),
            }
            for kind, (unit, values) in kinds.items():
                left = iter(values.tolist())
                of_seeds = tuple(next(left) if there else None for there in kept)
                found[metric_name(kind, estimator, truth)] = Metric(unit, of_seeds)
    return found


def thinned(curves: Curves, points: int = 40) -> dict[str, Any]:
    """Curves of means over parts of each level: the mean, lowest and highest seed, by estimator."""
    config = curves.config
    many = min(points, config.steps) * len(config.levels)
    parts = np.array_split(np.arange(curves.values.shape[-1]), many)
    means = np.stack([curves.values[..., part].mean(-1) for part in parts], axis=-1)
    kinds = (("mean", np.mean), ("lowest", np.min), ("highest", np.max))
    lines = {
        estimator: {
            kind: [None if math.isnan(value) else round(float(value), 4)
                   for value in reduce(means[:, place], axis=0)]
            for kind, reduce in kinds
        }
        for place, estimator in enumerate(config.estimators)
    }  # fmt: skip
    return {"steps": [float(part.mean()) for part in parts], "curves": lines}


def warnings(curves: Curves) -> list[str]:
    """What a reader of the numbers must know: a sentence each, none if all is well.

    Diverged replicates; estimators that promise nothing; a mean above the truth by more than 3
    standard errors over seeds (over tenths of the window for a single seed); levels whose value
    still rises, by more than 3 standard errors and 0.05 nats between the halves of the window.
    """
    config, found = curves.config, []
    for place, name in enumerate(config.estimators):
        if (said := estimators.promise(Estimator.parse(name), config.batch)) != "bound":
            found.append(f"{name}: {said}")
        for seed, values in zip(config.seeds, curves.values[:, place], strict=True):
            if np.isnan(values).any():
                step = int(np.isnan(values).argmax())
                found.append(f"{name}: seed {seed} diverged at step {step}")
        for level, truth in enumerate(config.levels):
            window = curves.window(level)[:, place]
            window = window[np.isfinite(window).all(axis=1)]
            if len(window) and window.shape[1] >= 20:
                found += [f"{name}: {each}" for each in _warnings_of(window, truth)]
    return found


def _warnings_of(window: np.ndarray, truth: float) -> list[str]:
    """Warnings of one estimator at one level, from the windows of its seeds."""
    found = []
    excess = window.mean(1) - truth
    if len(window) == 1:
        excess = np.array([tenth.mean() for tenth in np.array_split(window[0] - truth, 10)])
    error = excess.std(ddof=1) / math.sqrt(len(excess))
    if excess.mean() > 3 * error:
        found.append(
            f"{excess.mean():.2f} nats above the truth at {truth:g} nats, more than 3 standard "
            f"errors ({error:.3f})"
        )
    halves = [np.array_split(half, 5, axis=1) for half in np.array_split(window, 2, axis=1)]
    first, second = (np.array([part.mean() for part in half]) for half in halves)
    rise = second.mean() - first.mean()
    error = math.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 5)
    if rise > max(3 * error, 0.05):
        found.append(f"not converged at {truth:g} nats, {rise:.2f} nats up in its last half")
    return found


# ---------------------------------------------------------------------------------------------
# The experiment
# ---------------------------------------------------------------------------------------------


class Staircase(Experiment):
    """Train critics with many estimators while the true information climbs in steps."""

    name, Config = "staircase", StaircaseConfig
    tiny = StaircaseConfig(
        levels=(1.0, 2.0), steps=60, seeds=(0, 1), dim=3, batch=16, width=8, depth=2, embedding=4,
        estimators=("cpc:1", "ml_cpc:0.1", "nwj", "mine", "tuba", "smile:5"),
    )  # fmt: skip

    def record_name(self, config: StaircaseConfig, job: Job) -> str:
        return f"staircase-{config.task}-{config.critic}"

    def cells(self, config: StaircaseConfig) -> list[Cell]:
        settings = config.to_dict()
        many = settings.pop("seeds_at_once")
        stacks = [config.seeds[i : i + many] for i in range(0, len(config.seeds), many)]
        return [
            Cell(f"seeds-{'-'.join(map(str, seeds))}", {**settings, "seeds": list(seeds)})
            for seeds in stacks
        ]

    def run(
        self, cell: Cell, config: StaircaseConfig, inputs: Mapping[str, Result], job: Job
    ) -> Result:
        return train_stack(cell.settings, job)

    def metrics(
        self, config: StaircaseConfig, results: Mapping[str, Result]
    ) -> dict[str, Metric]:
        return metrics(joined(config, results))

    def arrays(self, config: StaircaseConfig, results: Mapping[str, Result]) -> dict[str, Any]:
        curves = joined(config, results)
        return {**thinned(curves), "warnings": warnings(curves)}

    def full(self, config: StaircaseConfig) -> bool:
        """Say whether it is as long as the paper's curves and has five seeds."""
        return config.steps >= 4000 and len(config.seeds) >= 5


EXPERIMENT = Staircase()
