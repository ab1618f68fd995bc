r"""Two halves of an image, two encoders and a critic: an experiment that several questions share.

x is the top half of an image and y its bottom half, both flattened, from 0 to 1. Encoders g and h
are trained with the bilinear critic

.. math:: f(x, y) = g(x)^\top W h(y)

to raise a lower bound of I(g(X); h(Y)). Every so many steps :class:`TwoHalves` writes down the
bound on test images, cut into batches, and what a linear probe on g(x) knows of the labels. W
begins at zero: at first the critic says nothing.

Source: Tschannen et al. 2019, arXiv 1907.13625. Their code takes what it calls the test bound over
batches of training images; here it is held out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from mlcpc import bounds, critics, datasets, probes, training
from mlcpc.config import Config, refuse, setting
from mlcpc.experiments.base import Cell, Experiment, Job, Result
from mlcpc.half_encoders import cut
from mlcpc.records import Metric
from mlcpc.shapes import Float, Tensor

OBJECTIVES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cpc": bounds.cpc,
    "nwj": bounds.nwj,
    "ml_cpc": bounds.ml_cpc,
    "ml_cpc_batch": lambda positive, negative: bounds.ml_cpc(
        positive, negative, bounds.alpha_batch(positive.shape[-1])
    ),
}
TITLES = {"cpc": "CPC", "nwj": "NWJ", "ml_cpc": "ML-CPC, α = 1",
          "ml_cpc_batch": "ML-CPC, α_batch"}  # fmt: skip
_TRAIN, _NOISE, _ORDER = 1, 2, 3  # streams of random numbers


def objective(name: str, scores: Float[Tensor, "n n"]) -> Tensor:
    """Value of an objective in nats, of the scores of all pairs of a batch.

    Each is a lower bound of the information on average over batches of independent pairs that the
    critic was not trained on; ``ml_cpc_batch`` has the smallest weight that is proved for negatives
    from the batch.
    """
    return OBJECTIVES[name](*bounds.split(scores))


@dataclass(frozen=True)
class HalvesConfig(Config):
    """What every experiment on two halves of an image has to say.

    Settings are declared with their help and range.
    """

    dataset: str = setting(
        "fashion-mnist-subset", "name of the images", choices=lambda: tuple(datasets.DATASETS)
    )
    seeds: tuple[int, ...] = setting(
        (0, 1, 2), "random seeds of weights, batches and the probe; objectives share them", least=0
    )
    steps: int = setting(120, "training steps", least=1)
    every: int = setting(40, "steps between two looks at bound and probe", least=1)
    batch: int = setting(128, "pairs of a step; all others of the batch are negatives", least=2)
    learning_rate: float = setting(5e-4, "step size of Adam for the encoders", above=0)
    critic_rate: float = setting(1e-4, "step size of Adam for the critic", above=0)
    probed: int = setting(2000, "training images that the linear probe is fitted on", least=100)
    noise: float = setting(0.0, "deviation of the noise on every pixel", least=0)


@dataclass(frozen=True, eq=False)
class Halves:
    """Images cut in two: rows x and y of training and of test images, and labels.

    Args:
        x, y, labels: of the training images, (N, d), (N, d) and (N,).
        test_x, test_y, test_labels: of the test images, in a fixed random order.
        noise: deviation of the noise; that of the test images and of the probe is fixed.
    """

    x: Tensor
    y: Tensor
    labels: Tensor
    test_x: Tensor
    test_y: Tensor
    test_labels: Tensor
    noise: float = 0.0

    @property
    def dim(self) -> int:
        """Return the length of a row."""
        return self.x.shape[1]

    def batch(self, key: Sequence[int], count: int) -> tuple[Tensor, Tensor]:
        """So many pairs, drawn with replacement by a key, with fresh noise."""
        generator = training.generator(*key)
        rows = torch.randint(len(self.x), (count,), generator=generator)
        return tuple(noisy(each[rows], self.noise, generator) for each in (self.x, self.y))

    def tests(self, count: int) -> list[tuple[Tensor, Tensor]]:
        """The test pairs in whole batches, without replacement."""
        whole = len(self.test_x) // count * count
        return list(zip(self.test_x[:whole].split(count), self.test_y[:whole].split(count),
                        strict=True))  # fmt: skip


def noisy(rows: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Rows with Gaussian noise on every entry; a deviation of 0 draws nothing."""
    if not deviation:
        return rows
    return rows + deviation * torch.randn(rows.shape, generator=generator)


def halves(config: HalvesConfig, job: Job) -> Halves:
    """The halves of a job's images.

    Raises:
        ValueError: images that cannot be cut, fewer of them than a batch or than the probe needs.
    """
    train, test = job.train, job.test
    if config.probed > len(train):
        refuse("probed", config.probed, f"at most {len(train)}, the images of {train.name}")
    if config.batch > len(test):
        refuse("batch", config.batch, f"at most {len(test)}, the test images of {test.name}")
    order = torch.randperm(len(test), generator=training.generator(_ORDER))
    still = training.generator(_NOISE)
    x, y = cut(train.images)
    test_x, test_y = (noisy(each[order], config.noise, still) for each in cut(test.images))
    return Halves(x, y, train.labels, test_x, test_y, test.labels[order], config.noise)


def probe(encoder: Callable[[Tensor], Tensor], of: Halves, probed: int, seed: int) -> float:
    """Accuracy on test images of a linear classifier of codes of x, from 0 to 1.

    Args:
        encoder: rows to codes.
        of: the halves.
        probed: training images that the classifier is fitted on; its penalty too is chosen there.
        seed: of these images and of the choice of the penalty.
    """
    generator = training.generator(_NOISE, seed)
    rows = torch.randperm(len(of.x), generator=generator)[:probed]
    fitted = noisy(of.x[rows], of.noise, generator)
    with torch.no_grad():
        codes = [torch.cat([encoder(part) for part in each.split(1000)])
                 for each in (fitted, of.test_x)]  # fmt: skip
    found = probes.linear_probe(codes[0], of.labels[rows], codes[1], seed=seed)
    return probes.accuracy(found.predicted, of.test_labels)


class TwoHalves(training.Trainee):
    """Two encoders and a bilinear critic, trained with one objective.

    Args:
        name: of the objective.
        encoders: of x and of y.
        of: the halves.
        config: how long, how fast.
        seed: of batches and probe.
        look: what else to measure: encoder of x, the halves and the step give numbers by name.
    """

    def __init__(
        self, name: str, encoders: Sequence[nn.Module], of: Halves, config: HalvesConfig,
        seed: int, look: Callable[[nn.Module, Halves, int], dict[str, float]],
    ) -> None:  # fmt: skip
        self.title, self.name = f"{name}, seed {seed}", name
        self.of, self.config, self.seed, self.look = of, config, seed, look
        with torch.no_grad():
            width = [each(of.x[:1]).shape[1] for each in encoders]
        self.critic = critics.build(critics.CriticConfig("bilinear"), *width, [seed])
        nn.init.zeros_(self.critic.weight)
        self.encoders = nn.ModuleList(encoders)
        self.modules = {"critic": self.critic, "encoders": self.encoders}
        self.optimiser = torch.optim.Adam([
            {"params": list(self.critic.parameters()), "lr": config.critic_rate},
            {"params": list(self.encoders.parameters()), "lr": config.learning_rate},
        ], fused=True)  # fmt: skip
        begins = range(0, config.steps, config.every)
        self.steps = [min(config.every, config.steps - begin) for begin in begins]

    def value(self, x: Tensor, y: Tensor) -> Tensor:
        """Value of the objective on a batch, in nats."""
        codes = [each(part)[None] for each, part in zip(self.encoders, (x, y), strict=True)]
        return objective(self.name, self.critic(*codes)[0])

    def step(self, epoch: int, step: int) -> dict[str, Tensor]:
        value = self.value(*self.of.batch((_TRAIN, self.seed, epoch, step), self.config.batch))
        training.refuse_infinite(value)
        self.optimiser.zero_grad()
        (-value).backward()
        self.optimiser.step()
        return {"loss": -value.detach()}

    def end(self, epoch: int) -> dict[str, float]:
        training.refuse_broken(self.modules)
        return self.seen(sum(self.steps[: epoch + 1]))

    def seen(self, step: int) -> dict[str, float]:
        """Held-out bound, accuracy of the probe, and what else is measured, after a step."""
        encoder = self.encoders[0]
        found = {"step": step, **self.look(encoder, self.of, step)}
        with torch.no_grad():
            tests = [float(self.value(*each)) for each in self.of.tests(self.config.batch)]
        found["bound"] = sum(tests) / len(tests)
        found["accuracy"] = probe(encoder, self.of, self.config.probed, self.seed)
        return found


class OnHalves(Experiment):
    """An experiment that trains two encoders of one kind with each objective.

    A subclass says which encoders and what else is measured.
    """

    def encoders(self, config: Any, dim: int, seed: int) -> list[nn.Module]:
        """Encoders of x and of y, with weights of their own."""
        raise NotImplementedError

    def look(self, config: Any, encoder: nn.Module, of: Halves, step: int) -> dict[str, float]:
        """What is measured of the encoder of x besides bound and probe."""
        return {}

    def check(self, config: Any, job: Job) -> None:
        halves(config, job)

    def cells(self, config: Any) -> list[Cell]:
        settings = config.to_dict()
        names, seeds = settings.pop("objectives"), settings.pop("seeds")
        floors = {key: settings[key] for key in ("dataset", "probed", "noise")}
        found = [Cell(f"pixels-seed-{seed}", {**floors, "seed": seed}) for seed in seeds]
        return found + [
            Cell(f"{name.replace('_', '-')}-seed-{seed}",
                 {**settings, "objective": name, "seed": seed})
            for name in names for seed in seeds
        ]  # fmt: skip

    def run(self, cell: Cell, config: Any, inputs: Mapping[str, Result], job: Job) -> Result:
        of, seed = halves(config, job), cell.settings["seed"]
        if "objective" not in cell.settings:
            return Result({"accuracy": probe(lambda rows: rows, of, config.probed, seed)})
        trainee = TwoHalves(
            cell.settings["objective"], self.encoders(config, of.dim, seed), of, config, seed,
            partial(self.look, config),
        )  # fmt: skip
        first = trainee.seen(0)
        return Result({"curve": [first, *training.fit(
            trainee, job.path, {**cell.settings, "experiment": self.name}, 1, job.progress
        )]})  # fmt: skip

    def curves(self, config: Any, results: Mapping[str, Result]) -> dict[str, list[list[dict]]]:
        """Objective → seeds → looks, each a dictionary of numbers."""
        return {
            name: [results[f"{name.replace('_', '-')}-seed-{seed}"].values["curve"]
                   for seed in config.seeds]
            for name in config.objectives
        }  # fmt: skip

    def metrics(self, config: Any, results: Mapping[str, Result]) -> dict[str, Metric]:
        floor = [results[f"pixels-seed-{seed}"].values["accuracy"] for seed in config.seeds]
        found = {"accuracy pixels": Metric("share", tuple(floor))}
        for name, seeds in self.curves(config, results).items():
            first, last = ([curve[place] for curve in seeds] for place in (0, -1))
            found[f"bound {name}"] = Metric("nats", tuple(each["bound"] for each in last))
            found[f"accuracy {name}"] = Metric("share", tuple(each["accuracy"] for each in last))
            found[f"first accuracy {name}"] = Metric(
                "share", tuple(each["accuracy"] for each in first)
            )
        return found

    def arrays(self, config: Any, results: Mapping[str, Result]) -> dict[str, Any]:
        """Steps, and for each number by name: objective → seeds → its value at each step."""
        curves = self.curves(config, results)
        looks = next(iter(curves.values()))[0]
        keys = [key for key in looks[0] if key != "step"]
        return {
            "steps": [look["step"] for look in looks],
            **{key: {name: [[look[key] for look in curve] for curve in seeds]
                     for name, seeds in curves.items()} for key in keys},
        }  # fmt: skip

    def full(self, config: Any) -> bool:
        """On all images, with all objectives and three seeds, a fifth of the paper's steps."""
        everyone = set(OBJECTIVES) <= set(config.objectives)
        long = config.steps >= 4000 and config.batch >= 128 and len(config.seeds) >= 3
        return long and everyone and config.dataset == "fashion-mnist"
