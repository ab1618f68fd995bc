r"""Encoders that lose nothing: flows, trained with bounds of an information they cannot change.

g and h are one-to-one, so I(g(X); h(Y)) = I(X; Y) before, during and after training. Expected
before any run:

    bound      rises on held-out images for every objective, since the critic is better served
    inverse    of the flow is right to 1e-5 in float32, since additive couplings keep volumes
    accuracy   of a linear probe of g(x) moves, although the information does not; the paper reports
               that it rises above that of the pixels, for CPC and NWJ, on MNIST

Whether it rises for ML-CPC, and whether a higher bound goes with a better probe, nobody has said.
Setting and question are those of Tschannen et al. 2019, arXiv 1907.13625, section 3.1, with fewer
couplings and steps; their flows have 30 couplings, hidden layers of 512 and 21,000 steps.
"""

from dataclasses import dataclass

from torch import nn

from mlcpc import flows
from mlcpc.config import setting
from mlcpc.experiments.halves import OBJECTIVES, Halves, HalvesConfig, OnHalves

_CHECKED = 1000  # test images that are taken back


@dataclass(frozen=True)
class BijectiveConfig(HalvesConfig):
    """Objectives, and the size of the flows.

    Settings are declared with their help and range; ``mlcpc run bijective --help`` lists them.
    """

    objectives: tuple[str, ...] = setting(
        tuple(OBJECTIVES), "lower bounds that are raised", choices=tuple(OBJECTIVES)
    )
    couplings: int = setting(4, "couplings of each flow", least=1)
    width: int = setting(128, "units of each hidden layer of a coupling", least=1)


class Bijective(OnHalves):
    """Train invertible encoders of two halves of an image: the information cannot change."""

    name, Config = "bijective", BijectiveConfig
    tiny = BijectiveConfig(
        dataset="digits", objectives=("cpc", "ml_cpc_batch"), seeds=(0, 1), steps=12, every=5,
        batch=16, learning_rate=0.01, critic_rate=0.03, probed=200, couplings=2,
        width=8,
    )  # fmt: skip

    def encoders(self, config: BijectiveConfig, dim: int, seed: int) -> list[nn.Module]:
        return [flows.Flow(dim, config.couplings, config.width, seed=2 * seed + side)
                for side in (0, 1)]  # fmt: skip

    def look(
        self, config: BijectiveConfig, encoder: nn.Module, of: Halves, step: int
    ) -> dict[str, float]:
        """Largest error of the flow's inverse on test images."""
        return {"inverse error": flows.check_invertible(encoder, of.test_x[:_CHECKED], step)}


EXPERIMENT = Bijective()
