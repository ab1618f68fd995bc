r"""Teach an encoder without labels: two views of an image must find each other.

:func:`pretrain` trains one encoder for each seed with CPC or ML-CPC. Negatives are keys of a slowly
moving copy of the encoder that wait in a queue (MoCo), or the second views of the other images of
the batch (as SimCLR, in one direction).
:func:`evaluate` asks what the frozen features know of the labels.

Every random draw of a step follows from the seed, the epoch and the step, so a run that was killed
goes on as if nothing had happened. A batch is cut into ``norm_groups`` groups, which are normalised
and augmented apart, on one device or on as many as divide their number: the numbers are the same.
"""

import copy
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from mlcpc import allpairs, checks, images, memory, networks, probes, runs
from mlcpc.shapes import Float, Tensor

Pixels = Float[Tensor, "n channels height width"]

LOSSES = {"cpc": allpairs.CPCLoss, "ml_cpc": allpairs.MLCPCLoss}
SCHEDULES = ("constant", "linear", "cosine", "geometric")


@dataclass(frozen=True)
class PretrainConfig:
    """How :func:`pretrain` trains.

    Args:
        dataset: name of the images, one of images.DATASETS.
        network: name of the encoder, one of networks.NETWORKS.
        stem_stride: 2 halves the images' sides in the first layer, which is four times cheaper.
        dim: length of an embedding.
        projection: mlp or linear, from features to embeddings.
        objective: cpc or ml_cpc.
        alpha: weight of the positives in the first epoch.
        alpha_last: weight that the schedule goes to; the authors go from 10 to 0.1.
        alpha_schedule: constant, linear, cosine or geometric, per epoch.
        divide_by_alpha: divide the loss by alpha, as the authors' code does; the step size then
            grows as alpha falls.
        negatives: queue (keys of a moving copy of the encoder) or batch (the other images).
        queue: keys in the queue; the authors take 65,536 for 50,000 images.
        key_momentum: share of its weights that the copy keeps at a step.
        temperature: scores are cosines over it.
        norm_groups: groups of a batch that are normalised and augmented apart; above 1 the keys
            are shuffled among them, as on so many devices.
        crop_low: least share of an image's area that a view keeps.
        flip: chance of a horizontal flip; 0 for digits.
        jitter: strength of the changes of brightness and contrast, and of colour.
        batch: images of a step, over all devices.
        epochs: passes through the images.
        learning_rate: of stochastic gradient descent, falling as a half cosine to zero, per epoch.
        sgd_momentum: its momentum.
        weight_decay: its decay of weights.
        probe_every: epochs between looks at the nearest-neighbour accuracy; the last epoch is
            always looked at, and is what is reported.
        precision: no, fp16 or bf16: arithmetic of the encoder.
        seeds: one run each.

    Raises:
        ValueError: a value outside its range.
    """

    dataset: str = "fashion-mnist-subset"
    network: str = "resnet8"
    stem_stride: int = 1
    dim: int = 128
    projection: str = "mlp"
    objective: str = "ml_cpc"
    alpha: float = 1.0
    alpha_last: float = 1.0
    alpha_schedule: str = "constant"
    divide_by_alpha: bool = False
    negatives: str = "queue"
    queue: int = 4096
    key_momentum: float = 0.99
    temperature: float = 0.07
    norm_groups: int = 1
    crop_low: float = 0.2
    flip: float = 0.5
    jitter: float = 0.4
    batch: int = 256
    epochs: int = 20
    learning_rate: float = 0.06
    sgd_momentum: float = 0.9
    weight_decay: float = 1e-4
    probe_every: int = 5
    precision: str = "no"
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        checks.choices(
            self,
            dataset=images.DATASETS,
            projection=("mlp", "linear"),
            objective=tuple(LOSSES),
            alpha_schedule=SCHEDULES,
            negatives=("queue", "batch"),
            precision=("no", "fp16", "bf16"),
        )
        checks.counts(
            self, stem_stride=1, dim=1, queue=1, norm_groups=1, batch=2, epochs=1, probe_every=1
        )
        checks.positive(self, "alpha", "alpha_last", "temperature", "learning_rate")
        checks.momenta(self, "key_momentum", "sgd_momentum")
        checks.not_negative(self, "weight_decay")
        checks.truths(self, "divide_by_alpha")
        checks.seeds(self)
        if self.alpha_schedule == "constant" and self.alpha_last != self.alpha:
            raise ValueError(
                f"alpha_last is {self.alpha_last} for a constant alpha of {self.alpha}; valid: "
                f"alpha_last = {self.alpha}, or another alpha_schedule"
            )
        most = self.candidates
        for name in ("alpha", "alpha_last"):
            if (value := getattr(self, name)) > most:
                raise ValueError(f"{name} is {value}; valid: 0 < {name} <= {most} candidates")
        if self.negatives == "queue" and self.queue < self.batch:
            raise ValueError(
                f"queue is {self.queue} for batches of {self.batch}; valid: at least the batch"
            )
        if self.batch % self.norm_groups or self.batch < 2 * self.norm_groups:
            raise ValueError(
                f"norm_groups is {self.norm_groups} for batches of {self.batch}; valid: a number "
                "that divides the batch into groups of at least 2"
            )
        self.views()

    @property
    def candidates(self) -> int:
        """m: the positive and the negatives of an anchor."""
        return self.queue + 1 if self.negatives == "queue" else self.batch

    def views(self) -> images.ViewConfig:
        return images.ViewConfig(crop_low=self.crop_low, flip=self.flip, jitter=self.jitter)


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


class Encoder(nn.Module):
    """A network and a projection: images to embeddings of unit norm.

    Args:
        config: names and sizes.
        in_channels: channels of an image.
    """

    def __init__(self, config: PretrainConfig, in_channels: int) -> None:
        super().__init__()
        self.network = networks.build(
            config.network,
            0,
            in_channels,
            stem_stride=config.stem_stride,
            norm_groups=config.norm_groups,
        )
        self.projection = networks.Projection(
            self.network.feature_dim, config.dim, config.projection
        )

    def forward(self, pixels: Pixels) -> Float[Tensor, "n dim"]:
        return self.projection(self.network(pixels))


@dataclass(frozen=True, eq=False)
class Pretrained:
    """One trained encoder.

    Args:
        encoder: the encoder, on the CPU.
        epochs: what was measured in each epoch, a dictionary each: loss, bound, ceiling and share
            of it (mean over steps, nats), alpha, seconds, and on looks knn, the accuracy.
        seed: its seed.
    """

    encoder: Encoder
    epochs: tuple[dict[str, float], ...]
    seed: int


def pretrain(
    config: PretrainConfig,
    seed: int,
    train: images.ImageSet,
    test: images.ImageSet,
    accelerator: "Accelerator | None" = None,  # noqa: F821
    scratch: Path | None = None,
    progress: bool = False,
) -> Pretrained:
    """Train an encoder.

    Args:
        config: what to train.
        seed: of first weights, order, views and shuffles.
        train: images to learn from; their labels are used by the looks alone.
        test: images of the looks.
        accelerator: device, precision and ranks, from :func:`accelerator_for`; None makes one for
            the CPU. Call this on every rank.
        scratch: folder of the checkpoint, written after every epoch. A run that was killed goes on
            from there, with the same numbers. None keeps nothing.
        progress: show a bar with the bound in nats, its ceiling, images a second and time left.

    Returns:
        the encoder as it was after the last epoch, and its epochs.

    Raises:
        ValueError: fewer images than a batch, a checkpoint of another configuration or a damaged
            one, ranks that do not divide norm_groups, a loss that is not finite: the message says
            at which step, and the checkpoint of the epoch before it is kept.
    """
    if len(train) < config.batch:
        raise ValueError(f"batch is {config.batch} for {len(train)} images; valid: at most that")
    run = _Run(config, seed, train, test, accelerator or accelerator_for(config, "cpu"))
    path = None if scratch is None else scratch / f"seed-{seed}.safetensors"
    if path is not None and path.exists():
        run.resume(path)
    with run.bar(progress) as bar:
        while run.epoch < config.epochs:
            run.train_epoch(bar, path)
            if path is not None:
                run.save(path)
    # A new one: accelerate may have wrapped the call of the one that was trained.
    encoder = _first_encoder(config, seed, train.images.shape[1])
    encoder.load_state_dict(run.encoder.state_dict())
    return Pretrained(encoder.eval(), tuple(run.epochs), seed)


def accelerator_for(config: PretrainConfig, device: str) -> "Accelerator":  # noqa: F821
    """Device, precision and ranks of a run; several ranks where a launcher started them.

    Raises:
        ValueError: a device that is not there, ranks that do not divide norm_groups.
        ImportError: accelerate is missing.
    """
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError as error:
        raise ImportError(
            f"pretraining needs accelerate, which is not here ({error}): "
            "pip install 'mlcpc[experiments]'"
        ) from error
    checks.device(device)
    # Buffers differ by rank on purpose: each holds the statistics of its groups.
    apart = DistributedDataParallelKwargs(broadcast_buffers=False)
    found = Accelerator(
        cpu=device == "cpu", mixed_precision=config.precision, kwargs_handlers=[apart]
    )
    if config.norm_groups % found.num_processes:
        raise ValueError(
            f"norm_groups is {config.norm_groups} on {found.num_processes} ranks; "
            "valid: a multiple of the ranks"
        )
    return found


class _Run:
    """State of a run: encoder, its moving copy, queue, optimiser, what was measured."""

    def __init__(self, config, seed, train, test, accelerator) -> None:
        self.config, self.seed, self.accelerator = config, seed, accelerator
        self.code = runs.code_hash(["pretraining.pretrain"])  # no one resumes with other code
        self.rank, self.ranks = accelerator.process_index, accelerator.num_processes
        device = accelerator.device
        self.train, self.test = train.to(device), test.to(device)
        self.epoch, self.epochs = 0, []
        self.per_epoch = len(train) // config.batch
        # A rank normalises its own groups alone.
        local = replace(config, norm_groups=config.norm_groups // self.ranks)
        self.encoder = _first_encoder(local, seed, train.images.shape[1])
        # Images whose channels lie together are faster, but groups would be copied back and forth.
        together = local.norm_groups == 1
        self.layout = torch.channels_last if together else torch.contiguous_format
        self.encoder = self.encoder.to(device, memory_format=self.layout)
        self.key_encoder, self.queue = None, None
        if config.negatives == "queue":
            self.key_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
            self.queue = memory.KeyQueue(
                config.queue, config.dim, len(train), runs.generator(seed)
            ).to(device)
        self.loss = LOSSES[config.objective](
            config.temperature,
            lambda step: alpha_at(config, step // self.per_epoch),
            gather=self.ranks > 1,
            ddp=self.ranks > 1,
        )
        optimiser = torch.optim.SGD(
            self.encoder.parameters(),
            config.learning_rate,
            config.sgd_momentum,
            weight_decay=config.weight_decay,
        )
        self.wrapped, self.optimiser = accelerator.prepare(self.encoder, optimiser)

    def bar(self, shown: bool) -> "tqdm":  # noqa: F821
        from tqdm import tqdm

        total, begin = (each * self.per_epoch for each in (self.config.epochs, self.epoch))
        hidden = not shown or self.rank > 0
        return tqdm(
            total=total, initial=begin, desc=f"seed {self.seed}", disable=hidden, unit="step"
        )

    def train_epoch(self, bar: "tqdm", path: Path | None) -> None:  # noqa: F821
        config, begin = self.config, time.perf_counter()
        # a half cosine per epoch, as in the authors' code
        rate = config.learning_rate * (1 + math.cos(math.pi * self.epoch / config.epochs)) / 2
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.encoder.train()
        order = images.Batches(len(self.train), config.batch, runs.generator(self.seed, self.epoch))
        sums = {}
        for step, index in enumerate(order):
            parts = self._step(index, step, path)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value.double()
            seconds = time.perf_counter() - begin
            bar.set_postfix_str(
                f"bound {parts['bound']:.2f} of {parts['ceiling']:.2f} nats, "
                f"{(step + 1) * config.batch / seconds:.0f} images/s",
                refresh=False,
            )
            bar.update()
        self._average_buffers()
        self._refuse_broken(step, path)
        seen = {name: float(value) / self.per_epoch for name, value in sums.items()}
        seen |= {"alpha": alpha_at(config, self.epoch), "seconds": time.perf_counter() - begin}
        self.epoch += 1
        if self.epoch % config.probe_every == 0 or self.epoch == config.epochs:
            seen["knn"] = self._look()
        self.epochs.append(seen)

    def _step(self, index: Tensor, step: int, path: Path | None) -> dict[str, Tensor]:
        """Train on the images of a batch; the loss and its parts, the same on every rank."""
        config = self.config
        try:
            if config.negatives == "queue":
                parts, keys = self._with_queue(index, step)
            else:
                parts, keys = self._with_batch(index, step), None
            if not math.isfinite(value := parts["loss"].item()):
                raise ValueError(f"loss is {value}; valid: finite")
        except ValueError as error:
            raise self._stopped(error, step, path) from error
        self.optimiser.zero_grad()
        divisor = alpha_at(config, self.epoch) if config.divide_by_alpha else 1.0
        self.accelerator.backward(parts["loss"] / divisor)
        self.optimiser.step()
        if keys is not None:
            self.queue.push(keys)
        return {name: value.detach() for name, value in parts.items()}

    def _stopped(self, error: ValueError, step: int, path: Path | None) -> ValueError:
        finite = "finite" in str(error)
        advice = " Lower learning_rate, or raise temperature." if finite else ""
        return ValueError(
            f"seed {self.seed} stopped in epoch {self.epoch}, step {step}: {error}.{advice}"
            f"{runs.kept_before(path)}"
        )

    def _refuse_broken(self, step: int, path: Path | None) -> None:
        """Stop before a checkpoint of weights that the last step broke replaces a good one."""
        try:
            if broken := runs.not_finite(self._modules()):
                raise ValueError(f"{broken[0]} is not finite")
            some = images.normalise(self.train.images[:32], self.train.mean, self.train.std)
            probes.features_of(self.encoder.network, some)
        except ValueError as error:
            raise self._stopped(error, step, path) from error

    def _with_queue(self, index: Tensor, step: int) -> tuple[dict[str, Tensor], Tensor]:
        keep = self.config.key_momentum
        with torch.no_grad():
            pairs = zip(self.key_encoder.parameters(), self.encoder.parameters(), strict=True)
            for moving, new in pairs:
                moving.lerp_(new, 1 - keep)
        # Keys are shuffled among the groups, so that none shares its group with its query.
        if self.config.norm_groups > 1:
            order = torch.randperm(
                len(index), generator=runs.generator(self.seed, self.epoch, step)
            )
        else:
            order = torch.arange(len(index))
        queries = self._views(index, step, "query")
        with torch.no_grad(), self.accelerator.autocast():
            keys = self.key_encoder(self._views(index[order], step, "key"))
        keys = keys.to(self.queue.keys.dtype)  # autocast may have lowered it
        keys = self._of_all_ranks(keys)[order.argsort().to(keys.device)]
        embedded = self.wrapped(queries)
        mine = keys[self.rank :: self.ranks]
        return self.loss(embedded, mine, keys=self.queue.keys, output_dict=True), keys

    def _with_batch(self, index: Tensor, step: int) -> dict[str, Tensor]:
        both = [self._views(index, step, which) for which in ("query", "key")]
        first, second = self.wrapped(torch.cat(both)).chunk(2)
        return self.loss(first, second, output_dict=True)

    def _views(self, index: Tensor, step: int, which: str) -> Pixels:
        """A view of each of this rank's images: rows rank, rank + ranks, … of the batch.

        Row i is in group i mod norm_groups; each group draws from a seed of its own.
        """
        groups, found = self.config.norm_groups, None
        for group in range(self.rank, groups, self.ranks):
            seen = images.view(
                self.train.images[index[group::groups].to(self.train.images.device)],
                self.train.mean,
                self.train.std,
                runs.generator(self.seed, self.epoch, step, group, ("query", "key").index(which)),
                self.config.views(),
            )
            if found is None:
                found = seen.new_empty(len(index) // self.ranks, *seen.shape[1:])
            found[(group - self.rank) // self.ranks :: groups // self.ranks] = seen
        return found.contiguous(memory_format=self.layout)

    def _of_all_ranks(self, rows: Tensor) -> Tensor:
        """Rows of the whole batch, in its order, from every rank's rows."""
        if self.ranks == 1:
            return rows
        gathered = self.accelerator.gather(rows.contiguous())  # rank by rank
        return gathered.view(self.ranks, len(rows), -1).transpose(0, 1).flatten(0, 1)

    def _average_buffers(self) -> None:
        """Running statistics: the mean over ranks, as the mean over groups on one device."""
        if self.ranks == 1:
            return
        for module in filter(None, (self.encoder, self.key_encoder)):
            for buffer in module.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(self.accelerator.reduce(buffer, reduction="mean"))

    def _look(self) -> float:
        learned, asked = (
            features(self.encoder.network, each, self.train) for each in (self.train, self.test)
        )
        predicted = probes.knn(learned, self.train.labels, asked)
        return probes.accuracy(predicted, self.test.labels)

    def _header(self) -> dict:
        config = {key: value for key, value in asdict(self.config).items() if key != "seeds"}
        return {
            "config": config,
            "seed": self.seed,
            "data": [self.train.sha256, self.test.sha256],
            "code": self.code,
        }

    def _modules(self) -> dict[str, nn.Module]:
        found = {"encoder": self.encoder, "loss": self.loss}
        if self.queue is None:
            return found
        return found | {"key_encoder": self.key_encoder, "queue": self.queue}

    def save(self, path: Path) -> None:
        if self.rank == 0:
            scaler = self.accelerator.scaler  # of float16
            progress = [self.epoch, self.epochs, scaler.state_dict() if scaler else None]
            runs.save_training(path, self._modules(), self.optimiser, self._header(), progress)
        self.accelerator.wait_for_everyone()

    def resume(self, path: Path) -> None:
        progress = runs.resume_training(path, self._modules(), self.optimiser, self._header())
        self.epoch, self.epochs, scale = progress
        if scale:
            self.accelerator.scaler.load_state_dict(scale)


# ---------------------------------------------------------------------------------------------
# What was learned
# ---------------------------------------------------------------------------------------------


def features(
    network: networks.Network, of: images.ImageSet, like: images.ImageSet
) -> Float[Tensor, "count features"]:
    """Features of a set of images, normalised by the mean and the deviation of another."""
    batches = (images.normalise(part, like.mean, like.std) for part in of.images.split(500))
    return probes.features_of(network, batches)


def evaluate(
    learned: Float[Tensor, "train d"],
    asked: Float[Tensor, "test d"],
    train: images.ImageSet,
    test: images.ImageSet,
    seed: int = 0,
) -> dict[str, float]:
    """What features know of the labels, and whether they have collapsed.

    Args:
        learned, asked: features of the training and of the test images.
        train, test: the images.
        seed: of the part of the training set that chooses the penalty of the linear probe.

    Returns:
        knn and linear, accuracies on the test set; spread and effective rank of the training
        features.
    """
    linear = probes.linear_probe(learned, train.labels, asked, seed=seed).predicted
    return {
        "knn": probes.accuracy(probes.knn(learned, train.labels, asked), test.labels),
        "linear": probes.accuracy(linear, test.labels),
        "spread": probes.spread(learned),
        "effective rank": probes.effective_rank(learned),
    }


def floors(
    config: PretrainConfig, train: images.ImageSet, test: images.ImageSet
) -> dict[str, list[dict[str, float]]]:
    """What training must beat: the pixels, and the network of each seed before any step."""
    plain = [images.normalise(each.images, train.mean, train.std) for each in (train, test)]
    found = {"pixels": [evaluate(*probes.pixels(*plain), train, test)], "untrained": []}
    for seed in config.seeds:
        network = _first_encoder(config, seed, train.images.shape[1]).network
        both = (features(network, each, train) for each in (train, test))
        found["untrained"].append(evaluate(*both, train, test, seed))
    return found


def record(
    config: PretrainConfig,
    done: Sequence[Pretrained],
    found: dict[str, list[dict[str, float]]],
    name: str,
    command: str,
    code: dict[str, str],
    data: dict[str, str],
    device: str = "cpu",
) -> runs.Record:
    """A record of a pretraining: accuracies with floors and seeds, and every epoch.

    It is "full" on all 60,000 images of Fashion-MNIST with ResNet18 or ResNet50, 100 epochs and 3
    seeds, else "quick".

    Args:
        config: of the run.
        done: what was trained, one a seed.
        found: name, such as trained or pixels -> what :func:`evaluate` found for each seed.
        name, command, code, data, device: of the record.
    """
    full = (
        config.dataset == "fashion-mnist"
        and config.network in ("ResNet18", "ResNet50")
        and config.epochs >= 100
        and len(config.seeds) >= 3
    )
    units = {"knn": "share", "linear": "share", "spread": "1", "effective rank": "dimensions"}
    metrics = {
        f"{kind} {features_of}": runs.metric([each[kind] for each in of_seeds], units[kind])
        for features_of, of_seeds in found.items()
        for kind in units
    }
    for kind in ("bound", "ceiling", "share"):
        last = [each.epochs[-1][kind] for each in done]
        metrics[f"last {kind}"] = runs.metric(last, "1" if kind == "share" else "nats")
    epochs = [[{k: round(v, 5) for k, v in one.items()} for one in each.epochs] for each in done]
    return runs.Record(
        name=name,
        chapter="13_representations",
        profile="full" if full else "quick",
        command=command,
        config=json.loads(json.dumps(asdict(config))),
        seeds=list(config.seeds),
        metrics=metrics,
        arrays={"epochs": epochs},
        provenance=runs.provenance(
            code, sum(one["seconds"] for each in done for one in each.epochs), data, device
        ),
    )


def save(path: Path, trained: Pretrained, config: PretrainConfig, in_channels: int) -> None:
    """Write an encoder, with what :func:`load` needs to build it again."""
    state = {"config": asdict(config), "seed": trained.seed, "in_channels": in_channels}
    runs.save_state(path, trained.encoder.state_dict(), state)


def load(path: Path) -> tuple[Encoder, PretrainConfig]:
    """Read an encoder that :func:`save` wrote; the configuration names its seed alone.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, or one that holds no encoder of ours.
    """
    tensors, state = runs.load_state(path)
    try:
        config = PretrainConfig(**{**state["config"], "seeds": (state["seed"],)})
        encoder = Encoder(config, state["in_channels"])
        encoder.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} holds no pretrained encoder: {error}") from None
    return encoder.eval(), config


def _first_encoder(config: PretrainConfig, seed: int, in_channels: int) -> Encoder:
    """The encoder before any step, on the CPU; PyTorch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        return Encoder(config, in_channels)
