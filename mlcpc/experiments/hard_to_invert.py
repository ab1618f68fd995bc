r"""Encoders that may lose something, and begin by losing nothing: how hard are they to invert?

g and h are residual networks that begin near the identity, on halves of images with a little noise.
Raising a bound of I(g(X); h(Y)) gives no reason to throw anything away. Expected before any run:

    conditions   log(σ1/σd) of the Jacobian of g grows with training, for every objective, so that
                 some directions come close to being lost; the paper shows it for CPC and NWJ
    bound        grows at the same time, and so does the accuracy of a linear probe at first

Whether ML-CPC does it less or more than CPC is open.
Setting and question are those of Tschannen et al. 2019, arXiv 1907.13625, section 3.1, with fewer
steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from mlcpc import flows
from mlcpc.config import refuse, setting
from mlcpc.experiments.base import Result
from mlcpc.experiments.halves import OBJECTIVES, Halves, HalvesConfig, OnHalves
from mlcpc.records import Metric

PERCENTILES = (0, 20, 40, 60, 80, 100)


@dataclass(frozen=True)
class HardToInvertConfig(HalvesConfig):
    """Objectives, and the size of the residual networks.

    Settings are declared with their help and range; ``mlcpc run hard-to-invert --help`` lists them.
    """

    objectives: tuple[str, ...] = setting(
        tuple(OBJECTIVES), "lower bounds that are raised", choices=tuple(OBJECTIVES)
    )
    steps: int = setting(80, "training steps", least=1)
    every: int = setting(40, "steps between two looks at bound, probe and Jacobian", least=1)
    noise: float = setting(0.05, "deviation of the noise on every pixel", least=0)
    layers: int = setting(5, "residual layers of each encoder, the last one linear", least=1)
    jacobians: int = setting(16, "test images whose Jacobian is decomposed", least=1)


class HardToInvert(OnHalves):
    """Train residual encoders from the identity on, and watch their Jacobian's condition number."""

    name, Config = "hard-to-invert", HardToInvertConfig
    tiny = HardToInvertConfig(
        dataset="digits", objectives=("cpc", "ml_cpc_batch"), seeds=(0, 1), steps=12, every=5,
        batch=16, learning_rate=0.01, critic_rate=0.03, probed=200,
        layers=2, jacobians=10,
    )  # fmt: skip

    def check(self, config: HardToInvertConfig, job: Any) -> None:
        super().check(config, job)
        if config.jacobians > len(job.test):
            refuse("jacobians", config.jacobians, f"at most {len(job.test)}, the test images")

    def encoders(self, config: HardToInvertConfig, dim: int, seed: int) -> list[nn.Module]:
        return [flows.Residual(dim, config.layers, 2 * seed + side) for side in (0, 1)]

    def look(
        self, config: HardToInvertConfig, encoder: nn.Module, of: Halves, step: int
    ) -> dict[str, float]:
        """Percentiles of log(σ1/σd) over test images."""
        logs = flows.conditions(encoder, of.test_x[: config.jacobians])
        return {f"condition {each}": float(logs.quantile(each / 100)) for each in PERCENTILES}

    def metrics(self, config: Any, results: Mapping[str, Result]) -> dict[str, Metric]:
        found = super().metrics(config, results)
        for name, seeds in self.curves(config, results).items():
            for place, word in ((0, "first "), (-1, "")):
                # the middle of the six is between two of them
                middle = tuple((curve[place]["condition 40"] + curve[place]["condition 60"]) / 2
                               for curve in seeds)  # fmt: skip
                found[f"{word}condition {name}"] = Metric("1", middle)
        return found


EXPERIMENT = HardToInvert()
