r"""Teach a small network what a large one knows: KD, CRD, CPC and ML-CPC.

The loss of a student is

    r · cross entropy  +  a · KD  +  b · contrast

KD (Hinton et al. 2015) compares softened logits. Contrast compares embeddings: what teacher and
student say of one image must be told from what they say of images of other classes. It is CRD
(Tian et al. 2020), CPC or ML-CPC, in both directions, with one memory slot for each image.

:func:`distill` trains a student; :func:`classifier` trains a network on labels alone, which gives
the teachers, and the plain students that every row of a table needs beside it.
"""

import hashlib
import json
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from mlcpc import bounds, checks, images, memory, networks, runs
from mlcpc.shapes import Float, Tensor

Logits = Float[Tensor, "n classes"]
Positive = Float[Tensor, "n"]
Negative = Float[Tensor, "n k"]

# The 13 teachers and students of the literature, named teacher-student.
PAIRS = {
    f"{teacher}-{student}": (teacher, student)
    for teacher, student in (
        ("wrn-40-2", "wrn-16-2"),
        ("wrn-40-2", "wrn-40-1"),
        ("resnet56", "resnet20"),
        ("resnet110", "resnet20"),
        ("resnet110", "resnet32"),
        ("resnet32x4", "resnet8x4"),
        ("vgg13", "vgg8"),
        ("vgg13", "MobileNetV2"),
        ("ResNet50", "MobileNetV2"),
        ("ResNet50", "vgg8"),
        ("resnet32x4", "ShuffleNetV1"),
        ("resnet32x4", "ShuffleNetV2"),
        ("wrn-40-2", "ShuffleNetV1"),
    )
}
# Objective -> weights r, a, b where none are named.
WEIGHTS = {
    "kd": (0.1, 0.9, 0.0),  # scripts of Tian et al. 2020, their code
    "crd": (1.0, 0.0, 0.8),  # the same
    # The scripts of Song & Ermon 2020 say b = 0, which is plain KD; CRD's weights are our choice.
    "cpc": (1.0, 0.0, 0.8),
    "ml_cpc": (1.0, 0.0, 0.8),
}
OBJECTIVES = tuple(WEIGHTS)
# What a record needs, trained one by one or together.
PARTS = ("teacher", "plain", "students")
# Step sizes of the literature: 0.05, and a fifth of it for these.
_SLOW = ("MobileNetV2", "ShuffleNetV1", "ShuffleNetV2")


# ---------------------------------------------------------------------------------------------
# The losses
# ---------------------------------------------------------------------------------------------


def kd_loss(student: Logits, teacher: Logits, temperature: float = 4.0) -> Float[Tensor, ""]:
    r"""Knowledge distillation: softened predictions must agree.

    .. math:: T^2 \frac1n \sum_i \mathrm{KL}\big(\mathrm{softmax}(t_i / T) \,\|\,
              \mathrm{softmax}(s_i / T)\big)

    Args:
        student, teacher: logits s and t, (n, classes).
        temperature: T > 0. T² keeps the size of the gradient when T grows.

    Returns:
        the loss in nats, 0 where the predictions agree.

    Raises:
        ValueError: shapes that differ, no images, T not in (0, ∞).

    Source: Hinton, Vinyals & Dean 2015, arXiv 1503.02531; T = 4 is Tian et al. 2020.
    """
    if student.shape != teacher.shape or student.dim() != 2 or not student.numel():
        raise ValueError(
            f"student has shape {tuple(student.shape)}, teacher {tuple(teacher.shape)}; "
            "valid: (n, classes) twice, neither of them 0"
        )
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature is {temperature}; valid: temperature > 0")
    logs = [(each / temperature).log_softmax(1) for each in (student, teacher)]
    divergence = nn.functional.kl_div(*logs, reduction="batchmean", log_target=True)
    return temperature**2 * divergence


def crd_loss(
    positive: Positive, negative: Negative, samples: int, log_scale: float | Tensor
) -> Float[Tensor, ""]:
    r"""Contrastive representation distillation: is a pair of one image, or noise?

    .. math:: -\frac1n \sum_i \Big[ \log \frac{h(s_i)}{h(s_i) + K/N}
              + \sum_{k=1}^K \log \frac{K/N}{h(s_{ik}) + K/N} \Big], \qquad h(s) = e^s / Z

    Args:
        positive: scores s_i, (n,), cosines over the temperature.
        negative: scores s_ik of K others, (n, K).
        samples: N images in the memory; noise draws each with chance 1/N.
        log_scale: log Z, a constant that the literature sets in the first batch.

    Returns:
        the loss in nats, above 0.

    Raises:
        ValueError: shapes that do not fit, samples below 1.

    Source: Tian, Krishnan & Isola 2020, arXiv 1910.10699, equations 9 to 11, after Gutmann &
    Hyvärinen 2010. Their code adds 1e-7 to each denominator.
    """
    if positive.dim() != 1 or negative.dim() != 2 or not 0 < len(positive) == len(negative):
        raise ValueError(
            f"positive has shape {tuple(positive.shape)}, negative {tuple(negative.shape)}; "
            "valid: (n,) and (n, K) of one n > 0"
        )
    if samples < 1 or not negative.shape[1]:
        raise ValueError(
            f"samples is {samples}, of {negative.shape[1]} negatives; valid: 1 or more of both"
        )
    # log h − log(K/N): above zero where data are likelier than noise
    shift = log_scale + math.log(negative.shape[1] / samples)
    # softplus keeps one tensor for its backward, logsigmoid two; from 40 on log(1 + eˣ) is x
    missed = nn.functional.softplus(shift - positive, threshold=40)
    mistaken = nn.functional.softplus(negative - shift, threshold=40).sum(1)
    return (missed + mistaken).mean()


def contrast_loss(
    objective: str,
    positive: Positive,
    negative: Negative,
    alpha: float = 1.0,
    samples: int = 0,
    log_scale: float | Tensor = 0.0,
) -> Float[Tensor, ""]:
    r"""The contrast of one direction: :func:`crd_loss`, or ceiling minus bound.

    .. math:: \log \tfrac mα - L_α \quad\text{or}\quad \log \tfrac mα - J_α

    of :func:`mlcpc.bounds.cpc` and :func:`mlcpc.bounds.ml_cpc`, whose values no constant added to
    all scores changes.

    Args:
        objective: crd, cpc or ml_cpc.
        positive, negative: scores, (n,) and (n, m − 1).
        alpha: weight of the positives, for cpc and ml_cpc.
        samples, log_scale: N and log Z, for crd.

    Raises:
        ValueError: an unknown objective, shapes that do not fit, α outside (0, m].
    """
    if objective == "crd":
        return crd_loss(positive, negative, samples, log_scale)
    if objective not in ("cpc", "ml_cpc"):
        raise ValueError(f"objective is {objective!r}; valid: crd, cpc, ml_cpc")
    bound_of = bounds.cpc if objective == "cpc" else bounds.ml_cpc
    value = bound_of(positive, negative, alpha)
    return bounds.ceiling(negative.shape[1] + 1, alpha) - value


def other_classes(config: "DistillConfig", labels: Tensor) -> memory.OtherClasses:
    """Where the negatives of the contrast come from; to be asked before a teacher is trained.

    Raises:
        ValueError: labels of one class, ``negatives="all"`` for classes of different sizes, an
            alpha above the candidates.
    """
    others = memory.OtherClasses(labels)
    candidates = 1 + (others.in_all() if config.negatives == "all" else config.count)
    if config.alpha > candidates:
        raise ValueError(f"alpha is {config.alpha}; valid: 0 < alpha <= {candidates} candidates")
    return others


class Contrast(nn.Module):
    """Projections and memories of a teacher and a student, and the contrast of both directions.

    A student's embedding is held against the memory of the teacher's, and a teacher's against the
    memory of the student's. Each image's positive is its own slot.

    Args:
        config: objective, sizes, temperature, momentum, negatives.
        teacher_dim, student_dim: lengths of their features.
        labels: class of each training image, (N,).
        generator: of the first vectors of the memories.
    """

    def __init__(
        self,
        config: "DistillConfig",
        teacher_dim: int,
        student_dim: int,
        labels: Tensor,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.config = config
        self.of_student = networks.Projection(student_dim, config.dim)
        self.of_teacher = networks.Projection(teacher_dim, config.dim)
        self.students, self.teachers = (
            memory.SampleMemory(len(labels), config.dim, config.memory_momentum, generator)
            for _ in range(2)
        )
        self.others = other_classes(config, labels)
        # log Z of student's and of teacher's direction, set in the first batch (crd alone)
        self.register_buffer("log_scale", torch.full((2,), math.nan))

    def forward(
        self,
        index: Tensor,
        student: Float[Tensor, "n student_features"],
        teacher: Float[Tensor, "n teacher_features"],
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, ""], Tensor, Tensor]:
        """Loss of images by their features; and their embeddings, for :meth:`remember`.

        Args:
            index: their positions in the training set, (n,).
            student, teacher: features.
            generator: of the negatives.
        """
        config = self.config
        count = config.count if config.negatives == "sampled" else None
        drawn = self.others.draw(index.cpu(), config.negatives, count, generator)
        positions = torch.cat([index[:, None].int(), drawn.to(index.device)], dim=1)
        del drawn
        embedded = self.of_student(student), self.of_teacher(teacher)
        total = 0.0
        directions = zip(embedded, (self.teachers, self.students), strict=True)
        for place, (anchors, slots) in enumerate(directions):
            scores = slots.scores(anchors / config.temperature, positions)
            if config.objective == "crd" and bool(self.log_scale[place].isnan()):
                mean = scores.detach().logsumexp((0, 1)) - math.log(scores.numel())
                self.log_scale[place] = mean + math.log(len(slots.vectors))
            # one split, and not two slices, whose gradients would be two tensors as large
            positive, negative = scores.split([1, scores.shape[1] - 1], dim=1)
            total = total + contrast_loss(
                config.objective,
                positive[:, 0],
                negative,
                config.alpha,
                len(slots.vectors),
                self.log_scale[place],
            )
        return total, *embedded

    def remember(self, index: Tensor, student: Tensor, teacher: Tensor) -> None:
        """Move the images' slots towards their embeddings; behind ``backward``."""
        self.students.update(index, student)
        self.teachers.update(index, teacher)


# ---------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DistillConfig:
    """How :func:`distill` trains.

    Args:
        dataset: name of the images, one of images.DATASETS.
        pair: one of PAIRS, teacher-student.
        objective: kd, crd, cpc or ml_cpc.
        weights: r, a, b of cross entropy, KD and contrast; () takes those of the literature.
        alpha: weight of the positives in cpc and ml_cpc.
        negatives: sampled (``count`` images of other classes) or all of them.
        count: negatives of an anchor when they are sampled.
        temperature: scores of the contrast are cosines over it.
        dim: length of an embedding.
        memory_momentum: share of its vector that a memory slot keeps.
        kd_temperature: T of KD.
        stem_stride: 2 halves the images' sides in the first layer of teacher and student.
        epochs: passes through the images.
        teacher_epochs: passes of the teacher; None takes as many as the student's.
            A teacher is trained once and its students many times, so more of them cost little.
        batch: images of a step.
        learning_rate: of stochastic gradient descent, a tenth of it from 5/8, 6/8 and 7/8 of the
            epochs on; None takes the literature's, 0.05, or 0.01 for MobileNetV2 and ShuffleNets.
        sgd_momentum: its momentum.
        weight_decay: its decay of weights.
        padding: pixels by which an image is shifted at most.
        flip: chance of a horizontal flip.
        teacher_seed: seed of the teacher, one for all students.
        seeds: of the students.

    Raises:
        ValueError: a value outside its range.

    Source: settings of Tian et al. 2020, their code; 240 epochs there.
    """

    dataset: str = "fashion-mnist-subset"
    pair: str = "resnet32x4-resnet8x4"
    objective: str = "ml_cpc"
    weights: tuple[float, ...] = ()
    alpha: float = 1.0
    negatives: str = "sampled"
    count: int = 16384
    temperature: float = 0.07
    dim: int = 128
    memory_momentum: float = 0.5
    kd_temperature: float = 4.0
    stem_stride: int = 1
    epochs: int = 240
    teacher_epochs: int | None = None
    batch: int = 64
    learning_rate: float | None = None
    sgd_momentum: float = 0.9
    weight_decay: float = 5e-4
    padding: int = 4
    flip: float = 0.5
    teacher_seed: int = 0
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        checks.choices(
            self,
            dataset=images.DATASETS,
            pair=tuple(PAIRS),
            objective=OBJECTIVES,
            negatives=("sampled", "all"),
        )
        checks.counts(
            self, count=1, dim=1, stem_stride=1, epochs=1, batch=2, padding=0, teacher_seed=0
        )
        checks.positive(self, "alpha", "temperature", "kd_temperature")
        checks.momenta(self, "memory_momentum", "sgd_momentum")
        checks.not_negative(self, "weight_decay")
        checks.seeds(self)
        if self.negatives == "sampled" and self.alpha > self.count + 1:
            raise ValueError(f"alpha is {self.alpha}; valid: 0 < alpha <= {self.count + 1}")
        if self.teacher_epochs is not None:
            checks.counts(self, teacher_epochs=1)
        if self.learning_rate is not None:
            checks.positive(self, "learning_rate")
        checks.chances(self, "flip")
        if not isinstance(self.weights, (tuple, list)) or (
            self.weights
            and not (
                len(self.weights) == 3
                and all(checks.is_number(each) and 0 <= each < math.inf for each in self.weights)
            )
        ):
            raise ValueError(f"weights is {self.weights!r}; valid: () or (r, a, b) of at least 0")
        if not any(self.rab):
            raise ValueError(f"weights is {self.weights!r}; valid: at least one above 0")
        if self.objective != "kd" and self.rab[2] == 0:
            warnings.warn(
                f"the weight b of the contrast is 0: this trains no {self.objective}, but "
                "cross entropy and KD alone",
                stacklevel=3,
            )
        if self.objective == "kd" and self.rab[2] > 0:
            raise ValueError(f"weights is {self.weights!r} for kd; valid: b = 0")

    @property
    def rab(self) -> tuple[float, float, float]:
        """Weights of cross entropy, KD and contrast."""
        return self.weights or WEIGHTS[self.objective]

    @property
    def teacher(self) -> str:
        return PAIRS[self.pair][0]

    @property
    def student(self) -> str:
        return PAIRS[self.pair][1]

    def of_teacher(self) -> "DistillConfig":
        """The settings that train the teacher."""
        return replace(self, epochs=self.teacher_epochs or self.epochs)


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained network.

    Args:
        network: on the CPU, in evaluation mode.
        accuracy: on the test images, after the last epoch.
        epochs: what was measured in each epoch, a dictionary each: mean loss over steps and its
            parts, and seconds.
        seed: its seed.
    """

    network: networks.Network
    accuracy: float
    epochs: tuple[dict[str, float], ...]
    seed: int


def classifier(
    config: DistillConfig,
    name: str,
    seed: int,
    train: images.ImageSet,
    test: images.ImageSet,
    folder: Path,
    device: str = "cpu",
    progress: bool = False,
) -> Classifier:
    """A network that was taught by labels alone: a teacher, or a plain student.

    It is read from a folder, or trained now and put there, as :func:`classifier_file` names it, so
    that runs with the same teacher or the same plain student share it. One that other code or data
    made is trained again. A training that was killed goes on from its last epoch.

    Raises:
        ValueError: as :func:`distill`; a damaged file.
    """
    run = _Run(config, name, seed, train, test, device, None)
    return run.kept(folder / classifier_file(config, name, seed), progress)


def classifier_file(config: DistillConfig, name: str, seed: int) -> str:
    """The name of the file of a :func:`classifier`: network, seed, a hash of what matters to it."""
    settings = {key: getattr(config, key) for key in _OF_CLASSIFIERS}
    settings["learning_rate"] = _rate(config, name)
    mark = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    return f"{config.dataset}-classifier-{name}-seed-{seed}-{mark}.safetensors"


def student_file(name: str, seed: int) -> str:
    """The name of the file of a student of the record of that name."""
    return f"{name}-seed-{seed}.safetensors"


def distill(
    config: DistillConfig,
    seed: int,
    teacher: networks.Network,
    train: images.ImageSet,
    test: images.ImageSet,
    device: str = "cpu",
    path: Path | None = None,
    progress: bool = False,
) -> Classifier:
    """Train a student.

    Args:
        config: what to train.
        seed: of first weights, order, shifts and negatives.
        teacher: a trained network of the pair.
        train: images and labels to learn from.
        test: images of the last look.
        device: cpu or cuda.
        path: file of the student. If it is there and of this run, the student is read from it.
            A checkpoint beside it is written after every epoch, and a run that was killed goes on
            from there, with the same numbers. None keeps nothing.
        progress: show a bar with the loss, images a second and time left.

    Returns:
        the student as it was after the last epoch.

    Raises:
        ValueError: fewer images than a batch, no teacher or one of another kind, for other
            classes or images, a file or checkpoint of another configuration or a damaged one, a
            loss that is not finite: the message says at which step, and the checkpoint of the epoch
            before it is kept.
    """
    if not isinstance(teacher, networks.Network):
        raise ValueError(
            f"teacher is a {type(teacher).__name__}; valid: a trained mlcpc.networks.Network, such "
            "as that of mlcpc.distillation.classifier"
        )
    expected = (len(train.classes), train.images.shape[1])
    if (found := (teacher.num_classes, teacher.in_channels)) != expected:
        raise ValueError(
            f"teacher is for {found[0]} classes and {found[1]} channels; valid: {expected[0]} and "
            f"{expected[1]}, as the images"
        )
    weights, wanted = (
        {name: tuple(each.shape) for name, each in network.state_dict().items()}
        for network in (teacher, _build(config, config.teacher, train))
    )
    if weights != wanted:
        raise ValueError(
            f"teacher has weights of other shapes; valid: a {config.teacher} with stem_stride "
            f"{config.stem_stride}, the teacher of the pair {config.pair}"
        )
    run = _Run(config, config.student, seed, train, test, device, teacher)
    return run.train(None, progress) if path is None else run.kept(path, progress)


class _Run:
    """State of a training: network, contrast, optimiser, what was measured."""

    def __init__(self, config, name, seed, train, test, device, teacher) -> None:
        if len(train) < config.batch:
            raise ValueError(f"batch is {config.batch} for {len(train)} images; valid: at most it")
        checks.device(device)
        self.config, self.name, self.seed = config, name, seed
        kind = "classifier" if teacher is None else "distill"
        self.code = runs.code_hash([f"distillation.{kind}"])  # no one resumes with other code
        self.train_set, self.test_set = train.to(device), test.to(device)
        self.epoch, self.epochs = 0, []
        layout = {"memory_format": torch.channels_last}
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)
            self.network = _build(config, name, train).to(device, **layout)
            self.teacher, self.contrast = None, None
            if teacher is not None:
                self.teacher = teacher.to(device, **layout).eval().requires_grad_(False)
                if config.rab[2] > 0:
                    dims = self.teacher.feature_dim, self.network.feature_dim
                    start = runs.generator(seed)
                    self.contrast = Contrast(config, *dims, train.labels.cpu(), start).to(device)
                    self.contrast.others.cpu()  # negatives are drawn there, alike for any device
        trained = [self.network] if self.contrast is None else [self.network, self.contrast]
        self.rate = _rate(config, name)
        self.optimiser = torch.optim.SGD(
            [each for module in trained for each in module.parameters()],
            self.rate,
            config.sgd_momentum,
            weight_decay=config.weight_decay,
        )

    @property
    def title(self) -> str:
        kind = "classifier" if self.teacher is None else "student"
        return f"{kind}-{self.name}-seed-{self.seed}"

    def kept(self, path: Path, progress: bool) -> Classifier:
        """What the file holds, if this run made it; else trained now, and put there.

        Runs side by side want the same teacher: the first trains it, the others wait for it.
        """
        header = self._header()
        with runs.locked(path.with_name(f".{path.name}.lock"), wait=True):
            if (found := self._found(path, header)) is not None:
                return found
            partial = path.with_name(f".{path.name}.partial")
            done = self.train(partial, progress)
            state = {
                "accuracy": done.accuracy,
                "epochs": list(done.epochs),
                "classes": done.network.num_classes,
                "in_channels": done.network.in_channels,
            }
            runs.save_state(path, done.network.state_dict(), header | state)
            partial.unlink()
            return done

    def _found(self, path: Path, header: dict) -> Classifier | None:
        """What the file holds; None if it has to be trained, for the first time or again."""
        if not path.exists():
            return None
        tensors, state = runs.load_state(path)
        there = {key: state.get(key) for key in header}
        if there == header:
            network = _build(self.config, self.name, self.train_set)
            network.load_state_dict(tensors)
            done = tuple(state["epochs"])
            return Classifier(network.eval(), state["accuracy"], done, self.seed)
        changed = runs.differences(header, there)
        if any(there[key] != header[key] for key in ("config", "network", "seed")):
            raise ValueError(
                f"{path} is of another run: {changed}; valid: another --name, or remove that file"
            )
        print(f"{path} is trained again: {changed}", flush=True)
        return None

    def train(self, path: Path | None, progress: bool) -> Classifier:
        from tqdm import tqdm

        config = self.config
        if path is not None and path.exists():
            header = self._header()
            done = runs.resume_training(path, self._modules(), self.optimiser, header)
            self.epoch, self.epochs = done
        per_epoch = len(self.train_set) // config.batch
        with tqdm(
            total=config.epochs * per_epoch,
            initial=self.epoch * per_epoch,
            desc=self.title,
            disable=not progress,
            unit="step",
        ) as bar:
            while self.epoch < config.epochs:
                self._train_epoch(bar, path)
                if path is not None:
                    runs.save_training(
                        path,
                        self._modules(),
                        self.optimiser,
                        self._header(),
                        [self.epoch, self.epochs],
                    )
        network = self.network.cpu().to(memory_format=torch.contiguous_format).eval()
        found = accuracy(network, self.test_set.to("cpu"), self.train_set)
        return Classifier(network, found, tuple(self.epochs), self.seed)

    def _train_epoch(self, bar: "tqdm", path: Path | None) -> None:  # noqa: F821
        config, begin = self.config, time.perf_counter()
        passed = sum(8 * self.epoch >= eighths * config.epochs for eighths in (5, 6, 7))
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * 0.1**passed
        self.network.train()
        order = runs.generator(self.seed, self.epoch)
        sums, steps = {}, 0
        for index in images.Batches(len(self.train_set), config.batch, order):
            try:
                parts = self._step(index, steps)
            except ValueError as error:
                raise self._stopped(str(error), steps, path) from error
            steps += 1
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value.double()
            rate = steps * config.batch / (time.perf_counter() - begin)
            bar.set_postfix_str(f"loss {parts['loss']:.3f}, {rate:.0f} images/s", refresh=False)
            bar.update()
        try:  # before a checkpoint of weights that the last step broke replaces a good one
            if broken := runs.not_finite({"network": self.network}):
                raise ValueError(f"{broken[0]} is not finite")
            given = self.train_set
            some = images.normalise(given.images[:32], given.mean, given.std)
            with torch.no_grad():  # the next epoch sets the mode again
                answers = self.network.eval()(some)
            if not bool(answers.isfinite().all()):
                raise ValueError("answers of the network are not finite")
        except ValueError as error:
            raise self._stopped(str(error), steps - 1, path) from error
        seen = {name: float(value) / steps for name, value in sums.items()}
        self.epochs.append(seen | {"seconds": time.perf_counter() - begin})
        self.epoch += 1

    def _step(self, index: Tensor, step: int) -> dict[str, Tensor]:
        config, given = self.config, self.train_set
        key = (self.seed, self.epoch, step)
        rows = index.to(given.images.device)
        pixels = images.shifted(
            given.images[rows],
            given.mean,
            given.std,
            runs.generator(*key, 0),
            config.padding,
            config.flip,
        ).contiguous(memory_format=torch.channels_last)
        features = self.network.features(pixels)
        logits = self.network.classifier(features)
        parts = {"cross entropy": nn.functional.cross_entropy(logits, given.labels[rows])}
        _refuse_infinite(parts["cross entropy"])
        embedded, weights = None, (1.0,)
        if self.teacher is not None:
            weights = config.rab
            with torch.no_grad():
                known = self.teacher.features(pixels)
                taught = self.teacher.classifier(known)
            parts["kd"] = kd_loss(logits, taught, config.kd_temperature)
            if self.contrast is not None:
                parts["contrast"], *embedded = self.contrast(
                    rows, features, known, runs.generator(*key, 1)
                )
        loss = sum(weight * each for weight, each in zip(weights, parts.values(), strict=False))
        _refuse_infinite(loss)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        if embedded:
            self.contrast.remember(rows, *(each.detach() for each in embedded))
        return {"loss": loss.detach(), **{name: each.detach() for name, each in parts.items()}}

    def _stopped(self, why: str, step: int, path: Path | None) -> ValueError:
        advice = " Lower learning_rate." if "finite" in why else ""
        return ValueError(
            f"{self.title} stopped in epoch {self.epoch}, step {step}: {why}.{advice}"
            f"{runs.kept_before(path)}"
        )

    def _modules(self) -> dict[str, nn.Module]:
        found = {"network": self.network}
        return found if self.contrast is None else found | {"contrast": self.contrast}

    def _header(self) -> dict:
        """What the run is; of a teacher also which weights it has."""
        config = {**asdict(self.config), "learning_rate": self.rate}
        # the teacher's weights, hashed below, say more than how it was made
        del config["seeds"], config["teacher_seed"], config["teacher_epochs"]
        if self.teacher is None:
            config = {key: config[key] for key in _OF_CLASSIFIERS}
        of_teacher = None if self.teacher is None else runs.state_hash(self.teacher)
        return {
            "config": json.loads(json.dumps(config)),
            "network": self.name,
            "seed": self.seed,
            "teacher": of_teacher,
            "data": [self.train_set.sha256, self.test_set.sha256],
            "code": self.code,
        }


def _refuse_infinite(loss: Tensor) -> None:
    if not math.isfinite(value := loss.item()):
        raise ValueError(f"loss is {value}; valid: finite")


# Fields of the config that a classifier on labels alone depends on.
_OF_CLASSIFIERS = (
    *("dataset", "stem_stride", "epochs", "batch", "learning_rate", "sgd_momentum"),
    *("weight_decay", "padding", "flip"),
)


@torch.no_grad()
def accuracy(network: networks.Network, of: images.ImageSet, like: images.ImageSet) -> float:
    """Share of images whose class a network names, normalised by another set's mean and deviation.

    The network is in evaluation mode while it answers.
    """
    network.eval()
    right = 0
    for pixels, labels in zip(of.images.split(500), of.labels.split(500), strict=True):
        answers = network(images.normalise(pixels, like.mean, like.std)).argmax(1)
        right += int((answers == labels).sum())
    return right / len(of)


def load(path: Path) -> Classifier:
    """Read a student that :func:`distill` put into a file, or what :func:`classifier` put there.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, or one that holds no such network.
    """
    tensors, state = runs.load_state(path)
    try:
        stride = state["config"]["stem_stride"]
        sizes = state["classes"], state["in_channels"]
        network = networks.build(state["network"], *sizes, stem_stride=stride)
        network.load_state_dict(tensors)
        done = tuple(state["epochs"])
        return Classifier(network.eval(), state["accuracy"], done, state["seed"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} holds no teacher or student: {error}") from None


def doubts(teacher: Classifier, plain: Sequence[Classifier]) -> list[str]:
    """What speaks against a distillation before its students are trained."""
    mean = sum(each.accuracy for each in plain) / len(plain)
    if teacher.accuracy > mean:
        return []
    return [
        f"the teacher ({teacher.accuracy:.4f}) is no better than the plain student ({mean:.4f})"
    ]


def record(
    config: DistillConfig,
    students: Sequence[Classifier],
    plain: Sequence[Classifier],
    teacher: Classifier,
    shared: dict[str, list[float]],
    name: str,
    command: str,
    code: dict[str, str],
    data: dict[str, str],
    device: str = "cpu",
) -> runs.Record:
    """A record of a distillation: accuracies of student, plain student and teacher, and epochs.

    Its seconds are those of the students. Records share teacher and plain students; a hash says
    which teacher it was.

    ``shared`` says for "student" and "plain student" which share of their neighbours inside a class
    each seed has in common with the teacher, from :func:`mlcpc.probes.shared_neighbours`.

    It is "full" on all 60,000 images of Fashion-MNIST from 60 epochs on, else "quick".
    """
    metrics = {
        "accuracy student": runs.metric([each.accuracy for each in students], "share"),
        "accuracy plain student": runs.metric([each.accuracy for each in plain], "share"),
        "accuracy teacher": runs.metric([teacher.accuracy], "share"),
        "gain over plain student": runs.metric(
            [a.accuracy - b.accuracy for a, b in zip(students, plain, strict=True)], "share"
        ),
    }
    for of, values in shared.items():
        metrics[f"neighbours shared with teacher, {of}"] = runs.metric(values, "share")
    epochs = [
        [{k: round(v, 5) for k, v in one.items()} for one in each.epochs] for each in students
    ]
    seconds = sum(one["seconds"] for each in students for one in each.epochs)
    full = config.dataset == "fashion-mnist" and config.epochs >= 60
    return runs.Record(
        name=name,
        chapter="14_distillation",
        profile="full" if full else "quick",
        command=command,
        config=json.loads(json.dumps(asdict(config))),
        seeds=list(config.seeds),
        metrics=metrics,
        arrays={
            "epochs": epochs,
            "warnings": doubts(teacher, plain),
            "teacher": runs.state_hash(teacher.network),
        },
        provenance=runs.provenance(code, seconds, data, device),
    )


def _rate(config: DistillConfig, name: str) -> float:
    return config.learning_rate or (0.01 if name in _SLOW else 0.05)


def _build(config: DistillConfig, name: str, train: images.ImageSet) -> networks.Network:
    channels = train.images.shape[1]
    return networks.build(name, len(train.classes), channels, stem_stride=config.stem_stride)
