r"""Teach an encoder without labels: two views of an image must find each other.

One encoder is trained for each seed with CPC or ML-CPC. Negatives are keys of a slowly moving copy
of the encoder that wait in a queue (MoCo), or the second views of the other images of the batch (as
SimCLR, in one direction). Then the frozen features are asked what they know of the labels.

Every random draw of a step follows from the seed, the epoch and the step, so a run that was killed
goes on as if nothing had happened. A batch is cut into ``norm_groups`` groups, which are normalised
and augmented apart, on one device or on as many as divide their number: the numbers are the same.
"""

import copy
import math
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mlcpc import config as settings
from mlcpc import datasets, encoders, images, losses, memory, probes, training
from mlcpc.config import Config, setting
from mlcpc.datasets import ImageSet
from mlcpc.encoders import Encoder, Pixels
from mlcpc.experiments import base
from mlcpc.experiments.base import Cell, Experiment, Job, Result
from mlcpc.records import Metric
from mlcpc.shapes import Float, Tensor
from mlcpc.training import generator

LOSSES = {"cpc": losses.CPCLoss, "ml_cpc": losses.MLCPCLoss}
SCHEDULES = ("constant", "linear", "cosine", "geometric")
# Keys for each image that a queue may hold; from two on every anchor meets a key of its own.
MOST_KEYS = 10


@dataclass(frozen=True)
class PretrainConfig(Config):
    """How an encoder is trained.

    Settings are declared with their help and range; ``mlcpc run pretrain --help`` lists them.

    Raises:
        ValueError: a value outside its range.
    """

    dataset: str = setting("fashion-mnist-subset", "name of the images", choices=datasets.DATASETS)
    image_size: int = setting(
        32, "height and width to which the images of a folder are brought", least=8
    )
    network: str = setting("resnet8", "name of the encoder, one of networks.NETWORKS")
    stem_stride: int = setting(
        1, "2 halves the images' sides in the first layer, which is four times cheaper",
        least=1, most=2,
    )  # fmt: skip
    dim: int = setting(128, "length of an embedding", least=1)
    projection: str = setting(
        "mlp", "map from features to embeddings", choices=("mlp", "linear")
    )
    objective: str = setting("ml_cpc", "loss that is minimised", choices=tuple(LOSSES))
    alpha: float = setting(1.0, "weight of the positives in the first epoch", above=0)
    alpha_last: float | None = setting(
        None, "weight that the schedule goes to; the authors go from 10 to 0.1", above=0
    )
    alpha_schedule: str = setting(
        "constant", "way from alpha to alpha_last, epoch by epoch", choices=SCHEDULES
    )
    divide_by_alpha: bool = setting(
        False, "divide the loss by alpha, as the authors' code does; the step size then grows as "
        "alpha falls"
    )  # fmt: skip
    negatives: str = setting(
        "queue", "queue: keys of a moving copy of the encoder; batch: the other images",
        choices=("queue", "batch"),
    )  # fmt: skip
    queue: int = setting(
        4096, "keys in the queue; the authors take 65,536 for 50,000 images", least=1
    )
    key_momentum: float = setting(
        0.99, "share of its weights that the moving copy keeps at a step", least=0, below=1
    )
    temperature: float = setting(0.07, "scores are cosines divided by it", above=0)
    norm_groups: int = setting(
        1, "groups of a batch that are normalised and augmented apart, as on so many devices; "
        "above 1 the keys are shuffled among them", least=1,
    )  # fmt: skip
    crop_low: float = setting(
        0.2, "least share of an image's area that a view keeps", above=0, most=1
    )
    flip: float = setting(
        0.5, "probability of a horizontal flip; 0 suits digits", least=0, most=1
    )
    jitter: float = setting(
        0.4, "strength of the changes of brightness, contrast and colour", least=0, most=1
    )
    batch: int = setting(256, "images of a step, over all devices", least=2)
    epochs: int = setting(20, "passes through the images", least=1)
    learning_rate: float = setting(
        0.06, "step size of stochastic gradient descent, which falls as a half cosine to zero",
        above=0,
    )  # fmt: skip
    sgd_momentum: float = setting(
        0.9, "momentum of stochastic gradient descent", least=0, below=1
    )
    weight_decay: float = setting(1e-4, "weight decay of stochastic gradient descent", least=0)
    probe_every: int = setting(
        5, "epochs between two looks at the nearest-neighbour accuracy; the last epoch is always "
        "looked at", least=1,
    )  # fmt: skip
    precision: str = setting(
        "no", "arithmetic of the encoder: no is single precision", choices=("no", "fp16", "bf16")
    )
    seeds: tuple[int, ...] = setting((0,), "random seeds; one encoder is trained for each", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_schedule()
        if self.negatives == "queue" and self.queue < self.batch:
            settings.refuse("queue", self.queue, f"at least the batch, {self.batch}")
        if self.batch % self.norm_groups or self.batch < 2 * self.norm_groups:
            raise ValueError(
                f"norm_groups is {self.norm_groups} for batches of {self.batch}; valid: a number "
                "that divides the batch into groups of at least 2"
            )

    def _check_schedule(self) -> None:
        if self.alpha_schedule != "constant" and self.alpha_last is None:
            settings.refuse("alpha_last", None, f"a weight, for a {self.alpha_schedule} schedule")
        if self.alpha_schedule == "constant" and self.alpha_last == self.alpha:
            object.__setattr__(self, "alpha_last", None)  # two ways to say the same
        if self.alpha_schedule == "constant" and self.alpha_last is not None:
            raise ValueError(
                f"alpha_last is {self.alpha_last} for a constant alpha of {self.alpha}; valid: "
                "no alpha_last, or another alpha_schedule"
            )
        for name in ("alpha", "alpha_last"):
            if (value := getattr(self, name)) is not None and value > self.candidates:
                raise ValueError(
                    f"{name} is {value}; valid: 0 < {name} <= m = {self.candidates} candidates"
                )

    @property
    def candidates(self) -> int:
        """m: the positive and the negatives of an anchor."""
        return self.queue + 1 if self.negatives == "queue" else self.batch

    def views(self) -> images.ViewConfig:
        """How the two views of an image are drawn."""
        return images.ViewConfig(crop_low=self.crop_low, flip=self.flip, jitter=self.jitter)

    def encoder(self) -> dict[str, Any]:
        """Arguments of :class:`mlcpc.encoders.Encoder`, without the channels."""
        return encoders.arguments(self.to_dict())


def alpha_at(config: PretrainConfig, epoch: int) -> float:
    r"""Weight of the positives in an epoch, with t = epoch / epochs.

    .. math:: \text{linear } (1-t)\,α_0 + t\,α_1, \quad
              \text{cosine } α_1 + \tfrac12 (α_0 - α_1)(1 + \cos πt), \quad
              \text{geometric } α_0^{1-t} α_1^t

    As in the authors' code the last epoch, t = 1 − 1/epochs, does not quite reach α_1.

    Source: Song & Ermon 2020, their code (geometric).
    """
    t, first, last = epoch / config.epochs, config.alpha, config.alpha_last
    if config.alpha_schedule == "linear":
        return (1 - t) * first + t * last
    if config.alpha_schedule == "cosine":
        return last + (first - last) * (1 + math.cos(math.pi * t)) / 2
    if config.alpha_schedule == "geometric":
        return first ** (1 - t) * last**t
    return first


# ---------------------------------------------------------------------------------------------
# The training
# ---------------------------------------------------------------------------------------------


def train(
    config: PretrainConfig,
    seed: int,
    train: ImageSet,
    test: ImageSet,
    path: Path | None = None,
    device: str = "cpu",
    progress: bool = False,
    header: Mapping[str, Any] | None = None,
) -> tuple[Encoder, list[dict[str, float]]]:
    """Train an encoder, on this process or, where a launcher started them, on several together.

    Args:
        config: how to train.
        seed: random seed of the first weights, the order, the views and the shuffles.
        train: images to learn from; their labels are used by the looks alone.
        test: images of the looks.
        path: file of the checkpoint, written after every epoch; None keeps nothing.
        device: cpu or cuda.
        progress: show a bar with the bound in nats and its ceiling.
        header: what the checkpoint says that it is of.

    Returns:
        the encoder after the last epoch, on the CPU, and for each epoch: loss, bound, ceiling and
        share of it (means over steps, nats), alpha, seconds, and on looks knn, the accuracy.

    Raises:
        ValueError: as :meth:`Pretrain.check`; a checkpoint of another run or a damaged one; a loss
            or weights that are not finite.
    """
    check(config, train, test, device)
    trainee = Pretraining(config, seed, train, test, accelerator_for(config, device))
    history = training.fit(trainee, path, header, progress=progress)
    # A new one: accelerate may have wrapped the call of the one that was trained.
    encoder = encoders.untrained(seed, in_channels=train.images.shape[1], **config.encoder())
    encoder.load_state_dict(trainee.encoder.state_dict())
    return encoder.eval(), history


def check(config: PretrainConfig, train: ImageSet, test: ImageSet, device: str = "cpu") -> None:
    """Refuse, with a ValueError and before any work, what does not fit the images or the device."""
    settings.device(device)
    count, shape = len(train), train.images.shape[1:]
    if count < config.batch:
        raise ValueError(f"batch is {config.batch} for {count} images; valid: at most that")
    if test.images.shape[1:] != shape or test.classes != train.classes:
        raise ValueError("train and test differ in shape or classes; valid: the same of both")
    if config.negatives == "queue" and config.queue > MOST_KEYS * count:
        raise ValueError(
            f"queue is {config.queue:,} for {count:,} images; valid: at most {MOST_KEYS} times "
            f"the images, {MOST_KEYS * count:,}"
        )
    with torch.device("meta"):  # shapes without numbers: refuses a name, or images too small
        Encoder(**config.encoder(), in_channels=shape[0]).eval()(torch.empty(2, *shape))
    if config.precision == "fp16" and device == "cpu":
        settings.refuse("precision", config.precision, "no, bf16 on the cpu")
    if config.norm_groups % (ranks := int(os.environ.get("WORLD_SIZE", 1))):
        raise ValueError(
            f"norm_groups is {config.norm_groups} on {ranks} ranks; valid: a multiple of the ranks"
        )


def accelerator_for(config: PretrainConfig, device: str) -> "Accelerator":  # noqa: F821
    """Device, precision and ranks of a training; several ranks where a launcher started them.

    Raises:
        ImportError: accelerate is missing.
    """
    accelerate = datasets.needs("accelerate", "pretraining")
    # Buffers differ by rank on purpose: each holds the statistics of its groups.
    apart = accelerate.DistributedDataParallelKwargs(broadcast_buffers=False)
    return accelerate.Accelerator(
        cpu=device == "cpu", mixed_precision=config.precision, kwargs_handlers=[apart]
    )


class Pretraining(training.Trainee):
    """State of a training: encoder, its moving copy, queue, loss, optimiser.

    Args:
        config, seed, train, test: as in :func:`train`.
        accelerator: device, precision and ranks.
    """

    def __init__(self, config, seed, train, test, accelerator) -> None:
        self.config, self.seed, self.accelerator = config, seed, accelerator
        self.title, self.scaler = f"seed {seed}", accelerator.scaler
        self.rank, self.ranks = accelerator.process_index, accelerator.num_processes
        device = accelerator.device
        self.train, self.test = train.to(device), test.to(device)
        per_epoch = len(train) // config.batch
        self.steps = [per_epoch] * config.epochs
        # A rank normalises its own groups alone.
        groups = config.norm_groups // self.ranks
        # Images whose channels lie together are faster, but groups would be copied back and forth.
        self.layout = torch.channels_last if groups == 1 else torch.contiguous_format
        encoder = config.encoder() | {"norm_groups": groups}
        self.encoder = encoders.untrained(seed, in_channels=train.images.shape[1], **encoder)
        self.encoder.to(device, memory_format=self.layout)
        self.loss = LOSSES[config.objective](
            config.temperature,
            lambda step: alpha_at(config, step // per_epoch),
            gather=self.ranks > 1,
            ddp=self.ranks > 1,
        )
        self.modules = {"encoder": self.encoder, "loss": self.loss}
        if config.negatives == "queue":
            self.key_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
            self.queue = memory.KeyQueue(
                config.queue, config.dim, len(train), generator(seed)
            ).to(device)
            self.modules |= {"key_encoder": self.key_encoder, "queue": self.queue}
        optimiser = torch.optim.SGD(
            self.encoder.parameters(), config.learning_rate, config.sgd_momentum,
            weight_decay=config.weight_decay,
        )  # fmt: skip
        self.wrapped, self.optimiser = accelerator.prepare(self.encoder, optimiser)

    def begin(self, epoch: int) -> None:
        config = self.config
        # a half cosine per epoch, as in the authors' code
        rate = config.learning_rate * (1 + math.cos(math.pi * epoch / config.epochs)) / 2
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.encoder.train()
        self.order = list(
            images.Batches(len(self.train), config.batch, generator(self.seed, epoch))
        )

    def step(self, epoch: int, step: int) -> dict[str, Tensor]:
        return self.train_on(self.order[step], epoch, step)

    def train_on(self, index: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """Train on the images of a batch; the loss and its parts, the same on every rank."""
        key = (self.seed, epoch, step)
        if self.config.negatives == "queue":
            parts, keys = self._with_queue(index, key)
        else:
            parts, keys = self._with_batch(index, key), None
        training.refuse_infinite(parts["loss"], "lower learning_rate, or raise temperature")
        self.optimiser.zero_grad()
        divisor = alpha_at(self.config, epoch) if self.config.divide_by_alpha else 1.0
        self.accelerator.backward(parts["loss"] / divisor)
        self.optimiser.step()
        if keys is not None:
            self.queue.push(keys)
        return {name: value.detach() for name, value in parts.items()}

    def _with_queue(self, index: Tensor, key: tuple) -> tuple[dict[str, Tensor], Tensor]:
        follow(self.key_encoder, self.encoder, self.config.key_momentum)
        # Keys are shuffled among the groups, so that none shares its group with its query.
        order = torch.arange(len(index))
        if self.config.norm_groups > 1:
            order = torch.randperm(len(index), generator=generator(*key))
        queries = self._views(index, key, "query")
        with torch.no_grad(), self.accelerator.autocast():
            keys = self.key_encoder(self._views(index[order], key, "key"))
        keys = keys.to(self.queue.keys.dtype)  # autocast may have lowered it
        keys = of_all_ranks(self.accelerator, keys)[order.argsort().to(keys.device)]
        embedded = self.wrapped(queries)
        mine = keys[self.rank :: self.ranks]
        return self.loss(embedded, mine, keys=self.queue.keys, output_dict=True), keys

    def _with_batch(self, index: Tensor, key: tuple) -> dict[str, Tensor]:
        both = [self._views(index, key, which) for which in ("query", "key")]
        first, second = self.wrapped(torch.cat(both)).chunk(2)
        return self.loss(first, second, output_dict=True)

    def _views(self, index: Tensor, key: tuple, which: str) -> Pixels:
        groups = range(self.rank, self.config.norm_groups, self.ranks)
        found = group_views(self.config, self.train, index, groups, key, which)
        return found.contiguous(memory_format=self.layout)

    def end(self, epoch: int) -> dict[str, float]:
        average_buffers(self.accelerator, (self.encoder, getattr(self, "key_encoder", None)))
        # The last step of an epoch has no loss behind it: it may have broken the weights.
        training.refuse_broken(self.modules)
        train, network = self.train, self.encoder.network
        probes.features_of(network, images.normalise(train.images[:32], train.mean, train.std))
        seen = {"alpha": alpha_at(self.config, epoch)}
        if (epoch + 1) % self.config.probe_every == 0 or epoch + 1 == self.config.epochs:
            both = (encoders.features(network, each, train) for each in (train, self.test))
            learned, asked = both
            predicted = probes.knn(learned, train.labels, asked)
            seen["knn"] = probes.accuracy(predicted, self.test.labels)
        return seen

    def say(self, parts: dict[str, Tensor], seconds: float, step: int) -> str:
        return (
            f"bound {parts['bound']:.2f} of {parts['ceiling']:.2f} nats, "
            f"{(step + 1) * self.config.batch / seconds:.0f} images/s"
        )

    def wait(self) -> None:
        self.accelerator.wait_for_everyone()


@torch.no_grad()
def follow(moving: nn.Module, new: nn.Module, keep: float) -> None:
    """Move the weights of a copy towards those of the original: keep·old + (1 − keep)·new."""
    for old, each in zip(moving.parameters(), new.parameters(), strict=True):
        old.lerp_(each, 1 - keep)


def group_views(
    config: PretrainConfig, train: ImageSet, index: Tensor, groups: range, key: tuple, which: str
) -> Pixels:
    """A view of each image of some groups of a batch, in the order of the batch.

    Row i of the batch is in group i mod norm_groups; each group draws from a seed of its own.

    Args:
        config: how views are drawn, and in how many groups.
        train: the images.
        index: rows of a batch.
        groups: the groups of this rank, as far apart as there are ranks.
        key: seed, epoch and step.
        which: query or key.
    """
    found = None
    for place, group in enumerate(groups):
        seen = images.view(
            train.images[index[group :: config.norm_groups].to(train.images.device)],
            train.mean,
            train.std,
            generator(*key, group, ("query", "key").index(which)),
            config.views(),
        )
        if found is None:
            found = seen.new_empty(len(groups) * len(seen), *seen.shape[1:])
        found[place :: len(groups)] = seen
    return found


def of_all_ranks(accelerator: "Accelerator", rows: Tensor) -> Float[Tensor, "n dim"]:  # noqa: F821
    """Rows of the whole batch, in its order, from every rank's rows."""
    ranks = accelerator.num_processes
    if ranks == 1:
        return rows
    gathered = accelerator.gather(rows.contiguous())  # rank by rank
    return gathered.view(ranks, len(rows), -1).transpose(0, 1).flatten(0, 1)


def average_buffers(
    accelerator: "Accelerator", modules: Iterable[nn.Module | None]  # noqa: F821
) -> None:
    """Running statistics: the mean over ranks, as the mean over groups on one device."""
    if accelerator.num_processes == 1:
        return
    for module in filter(None, modules):
        for buffer in module.buffers():
            if buffer.is_floating_point():
                buffer.copy_(accelerator.reduce(buffer, reduction="mean"))


# ---------------------------------------------------------------------------------------------
# The experiment
# ---------------------------------------------------------------------------------------------


class Pretrain(Experiment):
    """Train encoders on two views of images, and ask what their features know of the labels."""

    name, Config = "pretrain", PretrainConfig
    # Few and small steps: many large ones would blow up the rounding of another processor.
    tiny = PretrainConfig(
        dataset="digits", network="wrn-10-1", dim=16, batch=478, queue=600, epochs=2, flip=0.0,
        norm_groups=2, learning_rate=0.001, seeds=(0,),
    )  # fmt: skip

    def record_name(self, config: PretrainConfig, job: Job) -> str:
        return f"pretrain-{job.train.name}-{config.objective.replace('_', '-')}"

    def check(self, config: PretrainConfig, job: Job) -> None:
        check(config, job.train, job.test, job.device)

    def cells(self, config: PretrainConfig) -> list[Cell]:
        kept = config.to_dict()
        del kept["seeds"]
        network = {name: kept[name] for name in ("network", "stem_stride")}
        return [
            *(Cell(f"seed-{seed}", kept | {"seed": seed}, keep="run") for seed in config.seeds),
            Cell("pixels", {}, keep="shared"),
            *(Cell(f"untrained-{seed}", network | {"seed": seed}, keep="shared")
              for seed in config.seeds),
        ]  # fmt: skip

    def run(
        self, cell: Cell, config: PretrainConfig, inputs: Mapping[str, Result], job: Job
    ) -> Result:
        if cell.name.startswith("seed-"):
            return self._trained(cell, config, job)
        if int(os.environ.get("RANK", 0)) > 0:
            return Result({})  # rank 0 does this alone
        if cell.name == "pixels":
            return Result(encoders.evaluate_pixels(job.train, job.test))
        channels, each = job.train.images.shape[1], cell.settings
        network = encoders.untrained(in_channels=channels, **each).network
        return Result(encoders.evaluate_network(network, job.train, job.test, each["seed"]))

    def _trained(self, cell: Cell, config: PretrainConfig, job: Job) -> Result:
        seed = cell.settings["seed"]
        header = {"version": self.version, "settings": dict(cell.settings), "data": job.data}
        encoder, epochs = train(
            config, seed, job.train, job.test, job.path, job.device, job.progress, header
        )
        seconds, begin = sum(each["seconds"] for each in epochs), time.perf_counter()
        if int(os.environ.get("RANK", 0)) > 0:
            return Result({}, seconds=seconds)
        found = encoders.evaluate_network(encoder.network, job.train, job.test, seed)
        values = {
            "probes": found,
            "epochs": [{k: round(v, 5) for k, v in each.items()} for each in epochs],
            "last": {kind: epochs[-1][kind] for kind in ("bound", "ceiling", "share")},
            "in_channels": job.train.images.shape[1],
        }
        return Result(values, encoder.state_dict(), seconds + time.perf_counter() - begin)

    def metrics(
        self, config: PretrainConfig, results: Mapping[str, Result]
    ) -> dict[str, Metric]:
        trained = [results[f"seed-{seed}"].values for seed in config.seeds]
        untrained = [results[f"untrained-{seed}"].values for seed in config.seeds]
        found = {}
        for kind, unit in encoders.UNITS.items():
            of_trained = tuple(each["probes"][kind] for each in trained)
            found[f"{kind} trained"] = Metric(unit, of_trained)
            found[f"{kind} untrained"] = Metric(unit, tuple(each[kind] for each in untrained))
            found[f"{kind} pixels"] = Metric(unit, (results["pixels"].values[kind],), "run")
        for kind, unit in {"bound": "nats", "ceiling": "nats", "share": "1"}.items():
            found[f"last {kind}"] = Metric(unit, tuple(each["last"][kind] for each in trained))
        return found

    def arrays(self, config: PretrainConfig, results: Mapping[str, Result]) -> dict[str, Any]:
        return {"epochs": [results[f"seed-{seed}"].values["epochs"] for seed in config.seeds]}

    def full(self, config: PretrainConfig) -> bool:
        """Say whether it tells of small encoders; nothing here tells of the paper's."""
        real = ("fashion-mnist", "cifar10", "cifar100")
        return config.dataset in real and config.epochs >= 15 and len(config.seeds) >= 3


def probe(weights: Path, dataset: str | None = None, data: str | None = None) -> None:
    """Print what a pretrained encoder, its floors and the pixels know of the labels of images.

    Args:
        weights: file that ``mlcpc run pretrain`` left.
        dataset: name of the images; None for those of the pretraining.
        data: folder of the images; None where :func:`mlcpc.datasets.load` looks.

    Raises:
        FileNotFoundError, ValueError: weights or images that are not there, are damaged, or do not
            fit each other.
    """
    encoder, trained = encoders.load(weights)
    config = PretrainConfig(dataset=dataset or trained["dataset"], image_size=trained["image_size"])
    job = base.job_for(config, data=data)
    channels, width = job.train.images.shape[1], encoder.network.in_channels
    if channels != width:
        raise ValueError(f"images have {channels} channels; valid: {width}, as in the pretraining")
    seed = trained["seed"]
    found = {"trained": encoders.evaluate_network(encoder.network, job.train, job.test, seed)}
    found |= encoders.floors(encoders.arguments(trained), seed, job.train, job.test)
    for name, values in found.items():
        print(f"{name:10}" + "  ".join(f"{kind} {value:.4f}" for kind, value in values.items()))


EXPERIMENT = Pretrain()
