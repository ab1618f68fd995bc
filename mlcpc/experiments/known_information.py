r"""Known information: a staircase on sentences or images whose labels hold a known number of bits.

x is d_s samples side by side, each of one of two classes that a fair coin chose; y is d_s others,
whose classes are those of their partners behind a channel that flips a bit with probability p. The
labels share d_s (1 − h(p)) bits, and p is chosen so that the steps are the levels of the config.
That is the upper end of a band, see :mod:`mlcpc.sameclass`; its lower end comes from the errors of
a linear classifier on held-out samples. Values of this experiment are in bits, as those of the
benchmark whose construction it takes: Lee & Rhee 2024, arXiv 2410.10924.

Said before any run:

1. On sentences, where a classifier errs, the values of NWJ, DV and MINE lie inside the band, below
   its upper end.
2. CPC ends at its ceiling, log2 of the batch. ML-CPC at its smallest proved weight in the batch is
   nearer to the band than CPC at the two highest levels, and at no level above it.
3. What is proved to be a bound exceeds the upper end at no level, on the samples that trained the
   critic and on others.
4. SMILE that clips at 1 nat is above the upper end at every level.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mlcpc import bounds, critics, datasets, embeddings, images, probes, sameclass, training
from mlcpc.config import Config, refuse, setting
from mlcpc.embeddings import EmbeddingSet
from mlcpc.estimators import WITH_ALPHA, Estimator
from mlcpc.experiments.base import Cell, Experiment, Job, Result
from mlcpc.records import Metric
from mlcpc.sameclass import ClassSources
from mlcpc.shapes import Tensor
from mlcpc.stacks import Stack

BIT = math.log(2)
_BLOCK = 10  # steps whose samples are drawn at once: an epoch of the training loop
_EVERY = 20  # blocks between two checkpoints
_POINTS = 20  # points of a drawn curve at each level
_PENALTY = (1e-2,)  # of the linear classifier


@dataclass(frozen=True)
class KnownInformationConfig(Config):
    """What is trained on sources of one bit.

    Settings are declared with their help and range; ``mlcpc run known-information --help`` lists
    them.
    """

    dataset: str = setting(
        embeddings.NAME, "name of the images, or embeddings for an npz file of yours",
        choices=(embeddings.NAME, *datasets.DATASETS),
    )  # fmt: skip
    classes: tuple[int, ...] = setting((0, 1), "numbers of the two classes", least=0)
    pool: int = setting(1, "side of the squares of pixels whose mean is a column", least=1)
    sources: int = setting(10, "samples side by side, each worth one bit", least=1)
    levels: tuple[float, ...] = setting(
        (2.0, 4.0, 6.0, 8.0, 10.0), "bits that the labels share at each level", least=0
    )
    flips: tuple[float, ...] = setting(
        (), "flip probabilities in place of the levels", least=0, most=0.5, empty=True
    )
    steps: int = setting(4000, "training steps of each level", least=2)
    tested: int = setting(50, "batches of held-out samples that score each level", least=1)
    estimators: tuple[str, ...] = setting(
        ("cpc:1", "ml_cpc:1", "ml_cpc:0.1", "ml_cpc:0.0446", "ml_cpc:0.01", "nwj", "dv", "mine:0.9",
         "js", "smile:1", "smile:5", "smile:inf"),
        "bounds with their settings; those that train alike share a critic",
    )  # fmt: skip
    seeds: tuple[int, ...] = setting(
        (0, 1), "random seeds of samples and first weights; estimators share both", least=0
    )
    critic: str = setting("joint", "kind of the critic", choices=critics.KINDS)
    width: int = setting(256, "units of each hidden layer of the critic", least=1)
    depth: int = setting(2, "hidden layers of the critic", least=1)
    embedding: int = setting(32, "length of the embeddings of a separable critic", least=1)
    batch: int = setting(64, "pairs of a step; all others of the batch are negatives", least=3)
    learning_rate: float = setting(5e-4, "step size of Adam", above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.classes) != 2:
            refuse("classes", self.classes, "two numbers")
        if self.flips and len(set(self.flips)) < len(self.flips):
            refuse("flips", self.flips, "no value twice")
        for each in self.levels:
            if each > self.sources:
                refuse("levels", each, f"at most {self.sources}, a bit for each of the sources")
        for each in map(Estimator.parse, self.estimators):
            if each.bound in WITH_ALPHA:
                bounds.ceiling(self.batch, each.setting)

    @property
    def channel(self) -> dict[float, float]:
        """Bits of each level → its flip probability."""
        if self.flips:
            return {sameclass.information(self.sources, p) / BIT: p for p in self.flips}
        return {bits: sameclass.flip_probability(bits * BIT, self.sources) for bits in self.levels}

    def critic_config(self) -> critics.CriticConfig:
        return critics.CriticConfig(self.critic, self.width, self.depth, self.embedding)


# ---------------------------------------------------------------------------------------------
# Samples
# ---------------------------------------------------------------------------------------------


def samples(
    data: datasets.ImageSet | EmbeddingSet, like: datasets.ImageSet | EmbeddingSet,
    config: KnownInformationConfig,
) -> tuple[Tensor, Tensor]:
    """The samples of two classes, one a row, and their labels 0 and 1.

    Embeddings are as they come. Images are standardised by those of ``like``, and squares of pixels
    are averaged.

    Raises:
        ValueError: a class that is not there, squares that do not fit, squares of embeddings.
    """
    many = len(data.classes)
    if (wrong := max(config.classes)) >= many:
        refuse("classes", wrong, f"0 to {many - 1}, the classes of {data.name}")
    first, second = (data.labels == each for each in config.classes)
    rows = first | second
    labels = second[rows].long()
    if isinstance(data, EmbeddingSet):
        if config.pool != 1:
            refuse("pool", config.pool, "1, since embeddings have no squares")
        return data.vectors[rows], labels
    if any(side % config.pool for side in data.images.shape[2:]):
        sides = " × ".join(map(str, data.images.shape[2:]))
        refuse("pool", config.pool, f"a divisor of the sides of the images, {sides}")
    shown = images.normalise(data.images[rows], like.mean, like.std)
    return torch.nn.functional.avg_pool2d(shown, config.pool).flatten(1), labels


def confusion(config: KnownInformationConfig, job: Job) -> list[list[int]]:
    """Held-out samples of each class (rows) by what a linear classifier says they are (columns)."""
    x, labels = samples(job.train, job.train, config)
    new, truth = samples(job.test, job.train, config)
    said = probes.linear_probe(x, labels, new, penalties=_PENALTY).predicted
    counts = torch.zeros(2, 2, dtype=torch.long)
    counts.index_put_((truth, said), torch.ones_like(said), accumulate=True)
    return counts.tolist()


# ---------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------


class KnownStack(Stack):
    """Critics of one seed and all estimators; a block lies on one level."""

    def __init__(self, config: KnownInformationConfig, seed: int, job: Job) -> None:
        self.config, self.seed = config, seed
        given = [samples(each, job.train, config) for each in (job.train, job.test)]
        flips = list(config.channel.values())
        self.levels, self.held_out = (
            [ClassSources(*each, config.sources, flip) for flip in flips] for each in given
        )
        self.blocks = [
            (level, min(_BLOCK, config.steps - begin))
            for level in range(len(flips))
            for begin in range(0, config.steps, _BLOCK)
        ]
        super().__init__(
            config.estimators, (seed,), config.critic_config(),
            (self.levels[0].dim_x, self.levels[0].dim_y), config.learning_rate,
            [steps for _, steps in self.blocks], job.device, share=True,
        )  # fmt: skip
        held = torch.full((len(flips), self.shape[1]), math.nan)
        self.state.register_buffer("held", held)

    def draw(self, epoch: int) -> tuple[Tensor, Tensor]:
        level, steps = self.blocks[epoch]
        x, y = self.levels[level].sample(steps * self.config.batch, self.generators[0])
        return tuple(each.view(steps, self.config.batch, 1, -1) for each in (x, y))

    def end(self, epoch: int) -> dict[str, float]:
        level = self.blocks[epoch][0]
        if epoch + 1 == len(self.blocks) or self.blocks[epoch + 1][0] > level:
            self.state.held[level] = self.tested(level)
        return super().end(epoch)

    @torch.no_grad()
    def tested(self, level: int) -> Tensor:
        """Mean value of each estimator on fresh batches of held-out samples, in nats."""
        generator, batch = training.generator(self.seed, level, 1), self.config.batch
        average = self.value_of.averages.clone()  # that of MINE belongs to the training
        found = []
        for _ in range(self.config.tested):
            x, y = self.held_out[level].sample(batch, generator)
            x, y = (each.to(self.weight.device)[:, None] for each in (x, y))
            found.append(self.values(x, y)[0].double())
        self.value_of.averages.copy_(average)
        mean = torch.stack(found).mean(0)
        return mean.where(mean.isfinite() & self.state.alive[0], math.nan).cpu()


def train(config: KnownInformationConfig, seed: int, job: Job) -> Result:
    """Train all estimators on one seed: values (E, steps) and held-out values (levels, E), nats."""
    stack = KnownStack(config, seed, job)
    header = {**config.to_dict(), "seed": seed, "device": job.device, "version": EXPERIMENT.version}
    history = training.fit(stack, job.path, header, _EVERY, job.progress)
    found = {"values": stack.state.values[:, 0].T.contiguous(), "held": stack.state.held}
    return Result({}, found, sum(each["seconds"] for each in history))


# ---------------------------------------------------------------------------------------------
# What the curves say
# ---------------------------------------------------------------------------------------------


def metric_name(kind: str, estimator: str, bits: float) -> str:
    """Name of a metric, such as ``value ml_cpc:0.1 at 6``."""
    return f"{kind} {estimator} at {bits:g}"


def bands(config: KnownInformationConfig, counts: list[list[int]]) -> dict[float, sameclass.Band]:
    """Bits of each level → the band of all its sources, in nats."""
    table = torch.tensor(counts)
    return {
        bits: sameclass.band(table, sameclass.flipped(flip)).times(config.sources)
        for bits, flip in config.channel.items()
    }


def windows(values: np.ndarray, config: KnownInformationConfig) -> np.ndarray:
    """Last half of each level, (…, levels, steps/2)."""
    levels = values.reshape(*values.shape[:-1], len(config.channel), config.steps)
    return levels[..., config.steps // 2 :]


def warnings(config: KnownInformationConfig, values: np.ndarray) -> list[str]:
    """Who diverged, and whose mean rose by 0.1 bits or more between the quarters of its window."""
    found = []
    last = windows(values, config)
    half = last.shape[-1] // 2
    for place, name in enumerate(config.estimators):
        if np.isnan(values[:, place]).any():
            found.append(f"{name}: diverged")
            continue
        for level, bits in enumerate(config.channel):
            window = last[:, place, level]
            rise = window[:, -half:].mean() - window[:, :half].mean()
            if rise > 0.1:
                found.append(f"{name}: not converged at {bits:g} bits, {rise:.2f} bits up in its "
                             "last half")  # fmt: skip
    return found


class KnownInformation(Experiment):
    """Train critics on sentences or images whose labels share a known number of bits."""

    name, Config = "known-information", KnownInformationConfig
    tiny = KnownInformationConfig(
        dataset="digits", pool=4, sources=3, levels=(1.0, 3.0), steps=30, tested=3, width=8,
        depth=1, batch=16, estimators=("cpc:1", "ml_cpc:0.1", "mine", "js", "smile:5"),
    )  # fmt: skip

    def record_name(self, config: KnownInformationConfig, job: Job) -> str:
        return f"known-information-{config.dataset}"

    def check(self, config: KnownInformationConfig, job: Job) -> None:
        for each in (job.train, job.test):
            samples(each, job.train, config)

    def cells(self, config: KnownInformationConfig) -> list[Cell]:
        settings = config.to_dict()
        del settings["seeds"]
        of_data = {key: settings[key] for key in ("dataset", "classes", "pool")}
        seeds = [Cell(f"seed-{seed}", {**settings, "seed": seed}) for seed in config.seeds]
        return [Cell("classifier", of_data), *seeds]

    def run(
        self, cell: Cell, config: KnownInformationConfig, inputs: Mapping[str, Result], job: Job
    ) -> Result:
        if cell.name == "classifier":
            return Result({"confusion": confusion(config, job)})
        return train(config, cell.settings["seed"], job)

    def metrics(
        self, config: KnownInformationConfig, results: Mapping[str, Result]
    ) -> dict[str, Metric]:
        """Mean and variance over the last half of each level, and the held-out mean; in bits."""
        values, held = _joined(config, results)
        last, found = windows(values, config), {}
        for place, name in enumerate(config.estimators):
            for level, bits in enumerate(config.channel):
                window = last[:, place, level]
                for kind, unit, numbers in (
                    ("value", "bits", window.mean(1)), ("variance", "bits²", window.var(1)),
                    ("held out", "bits", held[:, level, place]),
                ):  # fmt: skip
                    of_seeds = tuple(float(each) if math.isfinite(each) else None
                                     for each in numbers)  # fmt: skip
                    found[metric_name(kind, name, bits)] = Metric(unit, of_seeds)
        return found

    def arrays(
        self, config: KnownInformationConfig, results: Mapping[str, Result]
    ) -> dict[str, Any]:
        """Curves, the confusion of the classifier, and the band of each level in bits."""
        values, _ = _joined(config, results)
        counts = results["classifier"].values["confusion"]
        many = min(_POINTS, config.steps) * len(config.channel)
        parts = np.array_split(np.arange(values.shape[-1]), many)
        means = np.stack([values[..., part].mean(-1) for part in parts], axis=-1).mean(0)
        curves = {
            name: [round(each, 4) if math.isfinite(each) else None for each in line]
            for name, line in zip(config.estimators, means.tolist(), strict=True)
        }
        ends = {
            f"{bits:g}": [each.low / BIT, each.fano / BIT, each.high / BIT]
            for bits, each in bands(config, counts).items()
        }
        return {
            "confusion": counts, "bands": ends, "curves": curves,
            "steps": [float(part.mean()) for part in parts], "warnings": warnings(config, values),
        }  # fmt: skip

    def full(self, config: KnownInformationConfig) -> bool:
        """Say whether it is as long and as wide as the published curves, with a second seed."""
        least = KnownInformationConfig()
        sizes = ("steps", "width", "depth", "batch", "sources")
        return all(getattr(config, each) >= getattr(least, each) for each in sizes) and (
            len(config.seeds) >= 2
        )


def _joined(
    config: KnownInformationConfig, results: Mapping[str, Result]
) -> tuple[np.ndarray, np.ndarray]:
    """Values (seeds, E, steps) and held-out values (seeds, levels, E) of all seeds, in bits."""
    found = [results[f"seed-{seed}"].tensors for seed in config.seeds]
    return tuple(
        torch.stack([each[key] for each in found]).numpy().astype(np.float64) / BIT
        for key in ("values", "held")
    )


EXPERIMENT = KnownInformation()
