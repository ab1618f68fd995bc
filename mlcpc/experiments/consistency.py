r"""Self-consistency: what estimators say of images, where theory knows ratios.

X is an image, Y_t its top t rows. Three tests ask for relations that hold whatever the images are:

    baseline      I(X; Y_t) is 0 at t = 0 and never falls as t grows
    processing    I([X, X]; [Y_t, Y_{t−3}]) / I(X; Y_t) = 1, since Y_{t−3} is a part of Y_t
    additivity    I([X, X′]; [Y_t, Y′_t]) / I(X; Y_t) = 2, X′ an independent image with its rows

The images of a data set are finitely many, and a batch is drawn from them with replacement. Of this
law the information is known too: I(X; Y_t) is the entropy of Y_t, which counting gives.

    classes       two images of one class, I = H(class)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mlcpc import bounds, critics, datasets, images, training
from mlcpc.config import Config, refuse, setting
from mlcpc.estimators import WITH_ALPHA, Estimator
from mlcpc.experiments.base import Cell, Experiment, Job, Result
from mlcpc.problems import SameClassImages, TopRows
from mlcpc.records import Metric
from mlcpc.shapes import Tensor
from mlcpc.stacks import Stack

_BLOCK, _EVERY = 50, 10  # steps of an epoch of the training loop, epochs between checkpoints


@dataclass(frozen=True)
class ConsistencyConfig(Config):
    """What is trained for the tests.

    Settings are declared with their help and range; ``mlcpc run consistency --help`` lists them.
    """

    dataset: str = setting(
        "fashion-mnist", "name of the images", choices=lambda: tuple(datasets.DATASETS)
    )
    rows: tuple[int, ...] = setting((0, 1, 4, 14, 28), "rows t of the baseline", least=0)
    ratio_rows: tuple[int, ...] = setting(
        (4, 14, 28), "rows t of processing and additivity, each one of rows", least=4, empty=True
    )
    estimators: tuple[str, ...] = setting(
        ("cpc:1", "ml_cpc:0.01", "ml_cpc:0.001", "smile:5"), "bounds with their settings"
    )
    class_estimators: tuple[str, ...] = setting(
        ("cpc:1", "ml_cpc:1", "ml_cpc:0.01", "ml_cpc:0.001", "nwj", "js", "dv", "smile:1",
         "smile:5"), "bounds with their settings, for pairs of one class", empty=True,
    )  # fmt: skip
    seeds: tuple[int, ...] = setting(
        (0, 1, 2), "random seeds of samples and first weights; estimators share both", least=0
    )
    steps: int = setting(1000, "training steps", least=1)
    tested: int = setting(100, "fresh batches that the trained critic is scored on", least=1)
    width: int = setting(128, "units of each hidden layer of the separable critic", least=1)
    depth: int = setting(2, "hidden layers of the critic", least=1)
    embedding: int = setting(32, "length of an embedding", least=1)
    batch: int = setting(128, "pairs of a step; all others of the batch are negatives", least=3)
    learning_rate: float = setting(1e-3, "step size of Adam", above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if alone := set(self.ratio_rows) - set(self.rows):
            refuse("ratio_rows", min(alone), f"those of rows, {self.rows}")
        for each in map(Estimator.parse, (*self.estimators, *self.class_estimators)):
            if each.bound in WITH_ALPHA:
                bounds.ceiling(self.batch, each.setting)

    def critic_config(self) -> critics.CriticConfig:
        return critics.CriticConfig("separable", self.width, self.depth, self.embedding)


def problem(
    cell: Mapping[str, Any], data: datasets.ImageSet, count: int | None = None
) -> TopRows | SameClassImages:
    """The problem of a cell, on standardised images, or on so many of them.

    Raises:
        ValueError: colour images, a test or rows out of range.
    """
    if data.images.shape[1] != 1:
        raise ValueError(f"{data.name} has {data.images.shape[1]} channels; valid: 1")
    shown = images.normalise(data.images[:count], data.mean, data.std)[:, 0]
    if cell["test"] == "classes":
        return SameClassImages(shown, data.labels)
    return TopRows(shown, cell["rows"], cell["test"])


class ConsistencyStack(Stack):
    """Critics of all seeds and estimators on one problem."""

    def __init__(
        self, of: TopRows | SameClassImages, names: Sequence[str], config: ConsistencyConfig,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        self.of, self.batch = of, config.batch
        steps = [min(_BLOCK, config.steps - i) for i in range(0, config.steps, _BLOCK)]
        super().__init__(
            names, config.seeds, config.critic_config(), (of.dim_x, of.dim_y),
            config.learning_rate, steps, device,
        )  # fmt: skip

    def draw(self, epoch: int) -> tuple[Tensor, Tensor]:
        return self.batches(self.steps[epoch])

    def batches(self, count: int) -> tuple[Tensor, Tensor]:
        """So many batches, x and y each (count, n, seeds, d)."""
        drawn = [[self.of.sample(self.batch, each) for _ in range(count)]
                 for each in self.generators]  # fmt: skip
        x, y = (
            torch.stack([torch.stack([pair[side] for pair in seed]) for seed in drawn], dim=2)
            for side in (0, 1)
        )
        return x, y


def train(
    of: TopRows | SameClassImages, names: Sequence[str], config: ConsistencyConfig, job: Job
) -> Tensor:
    """Train critics on a problem and score them on fresh batches.

    Returns:
        value of each seed and estimator, the mean over the fresh batches in nats, (S, E), float64;
        NaN where a critic diverged.
    """
    stack = ConsistencyStack(of, names, config, job.device)
    header = {**config.to_dict(), "names": list(names), "device": job.device}
    training.fit(stack, job.path, header, _EVERY, job.progress)
    with torch.no_grad():
        fresh = [stack.values(*(each[0] for each in stack.batches(1))).double()
                 for _ in range(config.tested)]  # fmt: skip
    mean = torch.stack(fresh).mean(0)
    return mean.where(stack.state.alive & mean.isfinite(), math.nan).cpu()


def repeats(of: TopRows) -> list[list[int]]:
    r"""How often top rows repeat: [times, kinds] for each number of times, from once on.

    It says all that the law of Y_t does but the names of its letters: with N images,

    .. math:: H(Y_t) = -\sum_{times} kinds \cdot \frac{times}{N} \log \frac{times}{N}

    Args:
        of: images and how many of their top rows are kept.
    """
    times, kinds = torch.bincount(of.codes).unique(return_counts=True)
    return torch.stack([times, kinds], dim=1).tolist()


def name_of(cell: Mapping[str, Any], estimator: str) -> str:
    """Name of the metric of a cell: ``additivity t=7 cpc:1``."""
    where = "" if cell["test"] == "classes" else f" t={cell['rows']}"
    return f"{cell['test']}{where} {estimator}"


class Consistency(Experiment):
    """Train critics on images whose information theory relates, or counting gives."""

    name, Config = "consistency", ConsistencyConfig
    tiny = ConsistencyConfig(
        dataset="digits", rows=(0, 4), ratio_rows=(4,), estimators=("cpc:1", "smile:5"),
        class_estimators=("cpc:1", "nwj"), seeds=(0, 1), steps=5, tested=3, width=8, depth=1,
        embedding=4, batch=16,
    )  # fmt: skip

    def record_name(self, config: ConsistencyConfig, job: Job) -> str:
        return "self-consistency"

    def check(self, config: ConsistencyConfig, job: Job) -> None:
        for cell in self.cells(config):
            if cell.settings["test"] != "classes":
                problem(cell.settings, job.train, count=4)

    def cells(self, config: ConsistencyConfig) -> list[Cell]:
        places = [{"test": "baseline", "rows": rows} for rows in config.rows]
        for test in ("processing", "additivity"):
            places += [{"test": test, "rows": rows} for rows in config.ratio_rows]
        if config.class_estimators:
            places.append({"test": "classes"})
        settings = config.to_dict()
        for key in ("rows", "ratio_rows", "estimators", "class_estimators"):
            del settings[key]
        return [
            Cell(
                "-".join(map(str, place.values())),
                {**settings, **place, "names": list(self.estimators_of(place, config))},
            )
            for place in places
        ]

    def estimators_of(self, cell: Mapping[str, Any], config: ConsistencyConfig) -> tuple[str, ...]:
        """Who is trained on the problem of a cell."""
        return config.class_estimators if cell["test"] == "classes" else config.estimators

    def run(
        self, cell: Cell, config: ConsistencyConfig, inputs: Mapping[str, Result], job: Job
    ) -> Result:
        of = problem(cell.settings, job.train)
        values = train(of, cell.settings["names"], config, job).tolist()
        found = {"truth": of.mi}
        if cell.settings["test"] == "baseline":
            found["repeats"] = repeats(of)
        found["values"] = [[None if math.isnan(each) else each for each in seed] for seed in values]
        return Result(found)

    def metrics(
        self, config: ConsistencyConfig, results: Mapping[str, Result]
    ) -> dict[str, Metric]:
        """Values in nats, and ratios to the baseline; None where a critic diverged."""
        found: dict[str, Metric] = {}
        for cell in self.cells(config):
            each, values = cell.settings, results[cell.name].values["values"]
            for place, name in enumerate(each["names"]):
                title = name_of(each, name)
                found[title] = Metric("nats", tuple(seed[place] for seed in values))
                if each["test"] in ("processing", "additivity"):
                    base = found[name_of({"test": "baseline", "rows": each["rows"]}, name)]
                    pairs = zip(found[title].values, base.values, strict=True)
                    ratios = tuple(a / b if a is not None and b else None for a, b in pairs)
                    found[f"ratio {title}"] = Metric("1", ratios)
        return found

    def arrays(self, config: ConsistencyConfig, results: Mapping[str, Result]) -> dict[str, Any]:
        """Truths in nats, :func:`repeats` of each t of the baseline, who diverged."""
        truths, counted, lost = {}, {}, []
        for cell in self.cells(config):
            each, result = cell.settings, results[cell.name].values
            truths[name_of(each, "truth")] = result["truth"]
            if each["test"] == "baseline":
                counted[f"t={each['rows']}"] = result["repeats"]
            for seed, values in zip(config.seeds, result["values"], strict=True):
                lost += [f"{name_of(each, name)} diverged with seed {seed}"
                         for name, value in zip(each["names"], values, strict=True)
                         if value is None]  # fmt: skip
        return {"truths": truths, "repeats": counted, "diverged": lost, "warnings": lost}

    def full(self, config: ConsistencyConfig) -> bool:
        """On all images, as long as the runs of the book, with a second seed at least."""
        least = ConsistencyConfig()
        sizes = ("steps", "tested", "width", "depth", "embedding", "batch")
        whole = all(getattr(config, each) >= getattr(least, each) for each in sizes)
        return whole and config.dataset == least.dataset and len(config.seeds) >= 2


EXPERIMENT = Consistency()
