"""ML-CPC over weights, batches, tasks and information: the sweep behind the choice of α."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlcpc import bounds
from mlcpc.config import Config, setting
from mlcpc.experiments import staircase
from mlcpc.experiments.base import Cell, Experiment, Job, Result
from mlcpc.experiments.staircase import Curves, StaircaseConfig
from mlcpc.records import Metric


@dataclass(frozen=True)
class ChoosingAlphaConfig(Config):
    """Tasks, batches and weights of the sweep, and the length of its staircases.

    Weights are multiples of α_min of their batch, up to α = 1, with CPC at α = 1 beside them.
    Networks have the size of those of :func:`mlcpc.estimate` for many samples. Settings are
    declared with their help and range; ``mlcpc run choosing-alpha --help`` lists them.
    """

    tasks: tuple[tuple[str, int], ...] = setting(
        (("gaussian", 20), ("cubic", 20), ("gaussian-rotated", 5), ("cubic-rotated", 10)),
        "pairs of a task of the staircase and its dimension, such as gaussian:20",
    )  # fmt: skip
    batches: tuple[int, ...] = setting(
        (16, 64, 256), "batch sizes; all negatives come from the batch", least=3
    )
    levels: tuple[float, ...] = setting(
        (2.0, 6.0, 10.0), "true information of each level, in nats", least=0
    )
    ratios: tuple[float, ...] = setting(
        (0.0625, 0.25, 1.0, 4.0, 16.0, 64.0),
        "weights as multiples of alpha_min; those that reach 1 are replaced by alpha = 1", above=0,
    )  # fmt: skip
    steps: int = setting(1200, "training steps of each level", least=2)
    seeds: tuple[int, ...] = setting(
        (0, 1, 2), "random seeds of samples and first weights, trained in one stack", least=0
    )
    width: int = setting(128, "units of each hidden layer of the critic", least=1)
    depth: int = setting(2, "hidden layers of the critic", least=1)
    learning_rate: float = setting(1e-3, "step size of Adam", above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.staircases()

    def staircases(self) -> dict[str, StaircaseConfig]:
        """Place, such as ``gaussian-20 n=64`` → the staircase of that task and batch."""
        names = ("levels", "steps", "seeds", "width", "depth", "learning_rate")
        shared = {name: getattr(self, name) for name in names}
        return {
            f"{task}-{dim} n={batch}": StaircaseConfig(
                task=task,
                dim=dim,
                batch=batch,
                estimators=("cpc:1", *map("ml_cpc:{:g}".format, weights(batch, self.ratios))),
                seeds_at_once=len(self.seeds),
                **shared,
            )
            for task, dim in self.tasks
            for batch in self.batches
        }


def weights(batch: int, ratios: tuple[float, ...]) -> list[float]:
    """Multiples of α_min below 1, and 1, with four digits, rounded up: at α_min is not below it."""
    edge = bounds.alpha_min(batch, batch)
    found = {_rounded_up(ratio * edge) for ratio in ratios if ratio * edge < 1}
    return sorted(found | {1.0})


def _rounded_up(value: float) -> float:
    unit = 10.0 ** (math.floor(math.log10(value)) - 3)
    return float(f"{math.ceil(value / unit) * unit:.4g}")


def metric_name(kind: str, place: str, estimator: str, level: float) -> str:
    """Name of a metric, such as ``mse gaussian-20 n=64 ml_cpc:1 at 6``."""
    return f"{kind} {place} {estimator} at {level:g}"


class ChoosingAlpha(Experiment):
    """Train the multi-label bound with weights from far below the proved range up to one."""

    name, Config = "choosing-alpha", ChoosingAlphaConfig
    tiny = ChoosingAlphaConfig(
        tasks=(("gaussian", 3), ("cubic-rotated", 2)), batches=(4, 8), levels=(0.5, 1.0),
        ratios=(0.5, 1.0, 64.0), steps=40, seeds=(0, 1), width=16, depth=1,
    )  # fmt: skip

    def cells(self, config: ChoosingAlphaConfig) -> list[Cell]:
        found = []
        for place, stack in config.staircases().items():
            settings = stack.to_dict()
            del settings["seeds_at_once"]  # all of them
            found.append(Cell(place.replace(" n=", "-batch-"), settings))
        return found

    def run(
        self, cell: Cell, config: ChoosingAlphaConfig, inputs: Mapping[str, Result], job: Job
    ) -> Result:
        return staircase.train_stack(cell.settings, job)

    def curves(
        self, config: ChoosingAlphaConfig, results: Mapping[str, Result]
    ) -> dict[str, Curves]:
        """Place → curves of its staircase."""
        pairs = zip(config.staircases().items(), self.cells(config), strict=True)
        return {
            place: Curves(stack, results[cell.name].tensors["values"].numpy().astype(np.float64))
            for (place, stack), cell in pairs
        }

    def metrics(
        self, config: ChoosingAlphaConfig, results: Mapping[str, Result]
    ) -> dict[str, Metric]:
        found = {}
        for place, curves in self.curves(config, results).items():
            for name, metric in staircase.metrics(curves).items():
                kind, rest = name.split(" ", 1)
                if kind != "variance":
                    found[f"{kind} {place} {rest}"] = metric
        return found

    def arrays(
        self, config: ChoosingAlphaConfig, results: Mapping[str, Result]
    ) -> dict[str, Any]:
        found = self.curves(config, results).items()
        return {"warnings": [f"{place} {line}" for place, curves in found
                             for line in staircase.warnings(curves)]}  # fmt: skip

    def full(self, config: ChoosingAlphaConfig) -> bool:
        """At least as long as the defaults, with at least as many seeds."""
        least = ChoosingAlphaConfig()
        return config.steps >= least.steps and len(config.seeds) >= len(least.seeds)


EXPERIMENT = ChoosingAlpha()
