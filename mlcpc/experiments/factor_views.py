r"""Views whose information is known exactly: does what they share beyond the class do harm?

Encoders are trained on pairs of :class:`mlcpc.problems.FactorImages`: class, position and texture
are independent, and an arm says which of them a pair shares. So the information of the views is
exact, and so is its part about the class. Then the frozen features are asked for each factor.

The InfoMin principle says that of all views that share the class the best share nothing else. What
we expected, written before any run:

1. With enough features the class is read as well from views that share everything as from views
   that share the class alone, to 0.02 of accuracy.
2. With two features only, and with five labels a class, views that share everything are worse.
3. Views that do not share the class are worse than all others, however much or little they share.

Source: InfoMin is Tian et al. 2020, arXiv 2005.10243; pictures, arms and sizes are ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from mlcpc import bounds, probes
from mlcpc.config import setting
from mlcpc.experiments import beliefs
from mlcpc.experiments.base import Cell, Experiment, Job, Result
from mlcpc.problems import FACTORS, FactorImages
from mlcpc.records import Metric
from mlcpc.training import generator

# What a pair shares: the chance that class, position and texture of y are those of x.
SHARED = {
    "class": (1.0, 0.0, 0.0),
    "class, position": (1.0, 1.0, 0.0),
    "class, texture": (1.0, 0.0, 1.0),
    "everything": (1.0, 1.0, 1.0),
    "half of class": (0.5, 0.0, 0.0),
    "half of class, all else": (0.5, 1.0, 1.0),
    "position": (0.0, 1.0, 0.0),
    "position, texture": (0.0, 1.0, 1.0),
}
UNITS = {
    "truth": "nats", "value": "nats", "ceiling": "nats", "information": "nats", "lower": "nats",
    "class": "share", "class, few labels": "share", "position": "share", "texture": "share",
}  # fmt: skip


@dataclass(frozen=True)
class FactorViewsConfig(beliefs.Training):
    """How encoders are trained on pictures of three factors.

    Settings are declared with their help and range; ``mlcpc run factor-views --help`` lists them.
    """

    narrow: int = setting(2, "length of the features of the narrow arms", least=1)
    noise: float = setting(
        0.2, "largest noise of a pixel; from 1/4 on it could hide a factor", least=0, below=0.25
    )
    shown: int = setting(2000, "pictures that the probes learn from, and are asked", least=100)
    labels: int = setting(5, "labels of each class for the probe with few labels", least=5)


def arms(config: FactorViewsConfig) -> dict[str, dict[str, Any]]:
    """Name of each arm → its settings: each way of sharing, with all features and with few."""
    names = ("width", "temperature", "batch", "steps", "learning_rate", "pairs", "critic_steps",
             "noise", "shown", "labels")  # fmt: skip
    base = {name: getattr(config, name) for name in names}
    base |= {"objective": "cpc", "alpha": 1.0, "m": config.batch, "network": "mlp"}
    wide = {"features": config.features, "dim": config.dim}
    narrow = {"features": config.narrow, "dim": config.narrow}
    found = {name: {**base, **wide, "agree": list(agree)} for name, agree in SHARED.items()}
    for name in ("class", "class, position", "class, texture", "everything"):
        found[f"{name}; narrow"] = {**base, **narrow, "agree": list(SHARED[name])}
    return found


class FactorViews(Experiment):
    """Train encoders on views of exactly known information, and ask for each factor."""

    name, version, Config = "factor_views", 2, FactorViewsConfig
    tiny = FactorViewsConfig(
        width=8, features=4, dim=4, batch=16, steps=10, pairs=60, critic_steps=1, shown=100,
        seeds=(0,),
    )  # fmt: skip

    def record_name(self, config: FactorViewsConfig, job: Job) -> str:
        return "factor-views"

    def cells(self, config: FactorViewsConfig) -> list[Cell]:
        return beliefs.cells_of(arms(config), config.seeds)

    def run(
        self, cell: Cell, config: FactorViewsConfig, inputs: Mapping[str, Result], job: Job
    ) -> Result:
        arm = cell.settings
        seed, of = arm["seed"], FactorImages(tuple(arm["agree"]), noise=arm["noise"])
        encoder, value = beliefs.trained(arm, of.sample, of.dim_x, job)
        found = {"truth": of.mi, "value": value}
        found["ceiling"] = bounds.ceiling(arm["m"], arm["alpha"])
        draws = generator(seed, 7)
        with torch.no_grad():
            held = [encoder.features(each) for each in of.sample(arm["pairs"], draws)]
            factors, _ = of.sample_factors(2 * arm["shown"], draws)
            features = encoder.features(of.pictures(factors, draws))
        numbers, said = beliefs.informed(*held, arm, "of features")
        found |= {kind: numbers[f"of features {kind}"] for kind in ("information", "lower")}
        learned, new = features.split(arm["shown"])
        for place, factor in enumerate(FACTORS):
            labels, truth = factors[:, place].split(arm["shown"])
            found[factor] = _accuracy(learned, labels, new, truth, seed)
        labels, truth = factors[:, 0].split(arm["shown"])
        few = torch.cat([torch.nonzero(labels == kind)[: arm["labels"], 0]
                         for kind in range(of.sizes[0])])  # fmt: skip
        found["class, few labels"] = _accuracy(learned[few], labels[few], new, truth, seed, (0.01,))
        warned = [f"{arm['arm']}, seed {seed}: {each}" for each in said]
        return Result({"numbers": found, "warnings": warned})

    def metrics(
        self, config: FactorViewsConfig, results: Mapping[str, Result]
    ) -> dict[str, Metric]:
        return beliefs.metrics_of(list(arms(config)), config.seeds, UNITS, results)

    def arrays(self, config: FactorViewsConfig, results: Mapping[str, Result]) -> dict[str, Any]:
        """Names of the arms, the part of their information about the class, and warnings."""
        return {
            "arms": list(arms(config)),
            "class information": [
                FactorImages(tuple(arm["agree"])).information(("class",))
                for arm in arms(config).values()
            ],
            "doubts": [said for each in results.values() for said in each.values["warnings"]],
        }

    def full(self, config: FactorViewsConfig) -> bool:
        """Say whether it is ten times as long as the run of the book, with five seeds."""
        return config.steps >= 3000 and len(config.seeds) >= 5


def _accuracy(learned, labels, new, truth, seed, penalties=probes.PENALTIES) -> float:
    found = probes.linear_probe(learned, labels, new, penalties, seed=seed)
    return probes.accuracy(found.predicted, truth)


EXPERIMENT = FactorViews()
