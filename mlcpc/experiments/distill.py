"""Distillation: students of one teacher, plain students of the same seeds beside them."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mlcpc import config as settings
from mlcpc import datasets, distillation, files, images, networks, probes, training
from mlcpc.config import Config, setting
from mlcpc.distillation import OBJECTIVES, PAIRS, WEIGHTS
from mlcpc.experiments.base import Cell, Experiment, Job, Result
from mlcpc.records import Metric, metrics
from mlcpc.training import generator

# Step sizes of the literature: 0.05, and a fifth of it for these.
SMALL_STEPS = ("MobileNetV2", "ShuffleNetV1", "ShuffleNetV2")


@dataclass(frozen=True)
class DistillConfig(Config):
    """How a teacher, its students and their plain twins are trained.

    Settings are declared with their help and range; ``mlcpc run distill --help`` lists them. The
    defaults are those of Tian et al. 2020, their code.
    """

    dataset: str = setting(
        "fashion-mnist-subset", "name of the images", choices=datasets.DATASETS
    )
    image_size: int = setting(
        32, "height and width to which the images of a folder are brought", least=8
    )
    pair: str = setting(
        "resnet32x4-resnet8x4", "networks, teacher-student", choices=lambda: tuple(PAIRS)
    )
    objective: str = setting("ml_cpc", "what the student minimises", choices=OBJECTIVES)
    weights: tuple[float, ...] = setting(
        (), "weights r, a and b of cross entropy, KD and contrast, such as 1 0 0.8; those of the "
        "literature if none are given", least=0, empty=True, unique=False,
    )  # fmt: skip
    alpha: float = setting(1.0, "weight of the positives in cpc and ml_cpc", above=0)
    negatives: str = setting(
        "sampled", "which images of other classes are negatives: count of them, or all",
        choices=("sampled", "all"),
    )  # fmt: skip
    count: int = setting(16384, "negatives of an anchor when they are sampled", least=1)
    temperature: float = setting(0.07, "scores of the contrast are cosines over it", above=0)
    dim: int = setting(128, "length of an embedding", least=1)
    memory_momentum: float = setting(
        0.5, "share of its vector that a memory slot keeps", least=0, below=1
    )
    kd_temperature: float = setting(4.0, "temperature of the logits in KD", above=0)
    stem_stride: int = setting(
        1, "stride of the first layer of both networks; 2 halves the sides of an image", least=1
    )
    epochs: int = setting(240, "passes of a student through the images", least=1)
    teacher_epochs: int | None = setting(
        None, "passes of the teacher; as many as of a student if none are given", least=1
    )
    batch: int = setting(64, "images of a step", least=2)
    learning_rate: float | None = setting(
        None, "step size, a tenth of it from 5/8, 6/8 and 7/8 of the epochs on; the literature's "
        "0.05, or 0.01 for MobileNetV2 and the ShuffleNets, if none is given", above=0,
    )  # fmt: skip
    sgd_momentum: float = setting(0.9, "momentum of the optimiser", least=0, below=1)
    weight_decay: float = setting(5e-4, "weight decay of the optimiser", least=0)
    padding: int = setting(4, "pixels by which a training image is shifted at most", least=0)
    flip: float = setting(0.5, "chance that a training image is mirrored", least=0, most=1)
    each: int | None = setting(
        None, "images of each class to train on and to measure on; all if none is given", least=1
    )
    held_out: float = setting(
        0.0, "share of the training images of each class that nothing is trained on and accuracy "
        "is measured on, in the place of the test images, to choose settings", least=0, below=1,
    )  # fmt: skip
    share_answers: bool = setting(
        False, "keep what the teacher says of every view on disk, so that students of one seed "
        "with other objectives or weights need not ask it again",
    )  # fmt: skip
    teacher_seed: int = setting(0, "random seed of the teacher, one for all students", least=0)
    seeds: tuple[int, ...] = setting((0,), "random seeds; one student is trained for each", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.negatives == "sampled" and self.alpha > self.count + 1:
            settings.refuse("alpha", self.alpha, f"0 < alpha <= {self.count + 1}, the candidates")
        if len(self.weights) not in (0, 3):
            settings.refuse("weights", self.weights, "none, or the three numbers r, a and b")
        if not any(self.rab):
            settings.refuse("weights", self.weights, "at least one above 0")
        if self.objective == "kd" and self.rab[2] > 0:
            settings.refuse("weights", self.weights, "b = 0 for the objective kd")
        if self.objective != "kd" and self.rab[2] == 0:
            warnings.warn(
                f"the weight b of the contrast is 0: this trains no {self.objective}, but "
                "cross entropy and KD alone",
                stacklevel=3,
            )

    @property
    def rab(self) -> tuple[float, ...]:
        """Weights of cross entropy, KD and contrast."""
        return self.weights or WEIGHTS[self.objective]

    @property
    def teacher(self) -> str:
        """Name of the teacher's network."""
        return PAIRS[self.pair][0]

    @property
    def student(self) -> str:
        """Name of the student's network."""
        return PAIRS[self.pair][1]

    @property
    def of_contrast(self) -> dict[str, Any]:
        """The settings of the contrast; none where it has no weight."""
        if self.rab[2] == 0:
            return {}
        found = {"alpha": self.alpha, "negatives": self.negatives, "temperature": self.temperature}
        found |= {"dim": self.dim, "momentum": self.memory_momentum}
        return found | ({"count": self.count} if self.negatives == "sampled" else {})

    def of_network(self, name: str, seed: int, epochs: int) -> dict[str, Any]:
        """Everything that a network taught by labels alone depends on, but for the data."""
        rate = self.learning_rate or (0.01 if name in SMALL_STEPS else 0.05)
        kept = ("stem_stride", "batch", "sgd_momentum", "weight_decay", "padding", "flip")
        found = {"network": name, "seed": seed, "epochs": epochs, "learning_rate": rate}
        return found | {key: getattr(self, key) for key in (*kept, "each", "held_out")}


# ---------------------------------------------------------------------------------------------
# Networks
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained network.

    Args:
        network: on the CPU, in evaluation mode.
        accuracy: on the test images, after the last epoch.
        epochs: what was measured in each epoch, a dictionary each: mean loss over steps and its
            parts, and seconds.
        seed: its random seed.
    """

    network: networks.Network
    accuracy: float
    epochs: tuple[dict[str, float], ...]
    seed: int


def load(path: str | Path) -> Classifier:
    """Read a student, a plain student or a teacher from its file under ``results/weights``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, or one that holds no such network.
    """
    tensors, found = files.load_state(Path(path))
    try:
        return _classifier(Result(found["values"], tensors))
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} holds no teacher or student: {error!r}") from None


@torch.no_grad()
def accuracy(network: nn.Module, of: datasets.ImageSet, like: datasets.ImageSet) -> float:
    """Share of images whose class a network names, normalised by another set's mean and deviation.

    The network is in evaluation mode while it answers, and stays in it.
    """
    network.eval()
    right = 0
    for pixels, labels in zip(of.images.split(500), of.labels.split(500), strict=True):
        answers = network(images.normalise(pixels, like.mean, like.std)).argmax(1)
        right += int((answers == labels).sum())
    return right / len(of)


def split(train: datasets.ImageSet, share: float) -> tuple[datasets.ImageSet, datasets.ImageSet]:
    """The training images without a share of each class, and that share, for any seed the same.

    Raises:
        ValueError: a class of which nothing would be left, or nothing held out.
    """
    aside = torch.zeros(len(train), dtype=torch.bool)
    for label, name in enumerate(train.classes):
        rows = torch.nonzero(train.labels.cpu() == label)[:, 0]
        many = round(share * len(rows))
        if not 0 < many < len(rows):
            raise ValueError(
                f"held_out is {share}, which is {many} of the {len(rows)} images of the class "
                f"{name!r}; valid: some of them, and not all"
            )
        aside[rows[torch.randperm(len(rows), generator=generator(label))[:many]]] = True
    kept = ((~aside, f"{train.name} without {share:g} of each class"),
            (aside, f"{share:g} of each class of {train.name}"))  # fmt: skip
    return tuple(
        datasets.ImageSet(train.images[rows], train.labels[rows], train.classes, name, train.source)
        for rows, name in kept
    )


def doubts(teacher: float, plain: list[float]) -> list[str]:
    """What the accuracies of a teacher and of plain students say against a distillation."""
    mean = sum(plain) / len(plain)
    if teacher > mean:
        return []
    return [f"the teacher ({teacher:.4f}) is no better than the plain student ({mean:.4f})"]


# ---------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------


def batch_of(size: int, seed: int, epoch: int, step: int, count: int) -> Tensor:
    """Positions of the images of a step, in the order that a seed gives an epoch."""
    return torch.randperm(count, generator=generator(seed, epoch))[step * size :][:size]


def view(train: datasets.ImageSet, rows: Tensor, given: Mapping[str, Any], *key: int) -> Tensor:
    """The images of a step, shifted and mirrored as seed, epoch and step say."""
    of_images = train.images[rows], train.mean, train.std, generator(*key, 0)
    pixels = images.shifted(*of_images, given["padding"], given["flip"])
    return pixels.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def answers(teacher: nn.Module, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Features and logits of a teacher."""
    known = teacher.features(pixels)
    return known, teacher.classifier(known)


class Learner(training.Trainee):
    """A network in training: on labels alone, or with a teacher.

    Args:
        title: words for messages.
        given: settings of the network, as :meth:`DistillConfig.of_network` gives them.
        train: the images, on the device.
        config: settings of the distillation; None for labels alone.
        ask: gives the teacher's features and logits of a view, from epoch, step and pixels.
        teacher_dim: length of those features.
    """

    def __init__(self, title, given, train, config=None, ask=None, teacher_dim=0) -> None:
        self.title, self.given, self.train, self.config, self.ask = title, given, train, config, ask
        seed, device = given["seed"], train.images.device
        self.steps = [len(train) // given["batch"]] * given["epochs"]
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)
            self.network = built(given, train).to(device, memory_format=torch.channels_last)
            self.modules, self.contrast = {"network": self.network}, None
            if config is not None and config.rab[2] > 0:
                self.contrast = distillation.Contrast(
                    config.objective, teacher_dim, self.network.feature_dim, train.labels.cpu(),
                    generator(seed), **config.of_contrast,
                ).to(device)  # fmt: skip
                self.contrast.others.cpu()  # negatives are drawn there, alike for any device
                self.modules["contrast"] = self.contrast
        self.optimiser = torch.optim.SGD(
            [each for module in self.modules.values() for each in module.parameters()],
            given["learning_rate"], given["sgd_momentum"], weight_decay=given["weight_decay"],
        )  # fmt: skip

    def begin(self, epoch: int) -> None:
        passed = sum(8 * epoch >= eighths * len(self.steps) for eighths in (5, 6, 7))
        for group in self.optimiser.param_groups:
            group["lr"] = self.given["learning_rate"] * 0.1**passed
        self.network.train()

    def step(self, epoch: int, step: int) -> dict[str, Tensor]:
        key = (self.given["seed"], epoch, step)
        rows = batch_of(self.given["batch"], *key, len(self.train)).to(self.train.images.device)
        pixels = view(self.train, rows, self.given, *key)
        features = self.network.features(pixels)
        logits = self.network.classifier(features)
        parts = {"cross entropy": nn.functional.cross_entropy(logits, self.train.labels[rows])}
        training.refuse_infinite(parts["cross entropy"])
        embedded, weights = [], (1.0,)
        if self.config is not None:
            weights = self.config.rab
            known, taught = self.ask(epoch, step, pixels)
            parts["kd"] = distillation.kd_loss(logits, taught, self.config.kd_temperature)
            if self.contrast is not None:
                parts["contrast"], *embedded = self.contrast(
                    rows, features, known, generator(*key, 1)
                )
        loss = sum(weight * each for weight, each in zip(weights, parts.values(), strict=False))
        training.refuse_infinite(loss)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        if embedded:
            self.contrast.remember(rows, *(each.detach() for each in embedded))
        return {"loss": loss.detach(), **{name: each.detach() for name, each in parts.items()}}

    def end(self, epoch: int) -> dict[str, float]:
        training.refuse_broken({"network": self.network})
        some = images.normalise(self.train.images[:32], self.train.mean, self.train.std)
        with torch.no_grad():  # the next epoch sets the mode again
            if not bool(self.network.eval()(some).isfinite().all()):
                raise ValueError("answers of the network are not finite; lower learning_rate")
        return {}

    def say(self, parts: dict[str, Tensor], seconds: float, step: int) -> str:
        rate = (step + 1) * self.given["batch"] / seconds
        return f"loss {parts['loss']:.3f}, {rate:.0f} images/s"


def built(given: Mapping[str, Any], train: datasets.ImageSet) -> networks.Network:
    """The network of these settings, untrained."""
    sizes = len(train.classes), train.images.shape[1]
    return networks.build(given["network"], *sizes, stem_stride=given["stem_stride"])


def _trained(
    learner: Learner, test: datasets.ImageSet, job: Job, header: Mapping[str, Any]
) -> Result:
    """Train to the end and look at the test images."""
    epochs = training.fit(learner, job.path, header, progress=job.progress)
    network = learner.network.cpu().to(memory_format=torch.contiguous_format).eval()
    values = {key: learner.given[key] for key in ("network", "seed", "stem_stride")}
    values |= {"classes": network.num_classes, "in_channels": network.in_channels}
    values |= {"accuracy": accuracy(network, test, learner.train.to("cpu")), "epochs": epochs}
    seconds = sum(each["seconds"] for each in epochs)
    return Result(values, network.state_dict(), seconds)


def _classifier(result: Result) -> Classifier:
    values = result.values
    sizes = values["classes"], values["in_channels"]
    network = networks.build(values["network"], *sizes, stem_stride=values["stem_stride"])
    network.load_state_dict(result.tensors)
    return Classifier(network.eval(), values["accuracy"], tuple(values["epochs"]), values["seed"])


def _neighbours(
    teacher: Result, others: list[Result], train: datasets.ImageSet, test: datasets.ImageSet
) -> list[float | None]:
    """What each network shares with the teacher inside a class, None in classes of too few."""
    if int(torch.bincount(test.labels).min()) <= 10:
        return [None] * len(others)
    unseen = images.normalise(test.images, train.mean, train.std)
    known, *found = (probes.features_of(_classifier(each).network, unseen)
                     for each in (teacher, *others))  # fmt: skip
    return [probes.shared_neighbours(each, known, test.labels) for each in found]


def _cells(config: DistillConfig) -> list[Cell]:
    """Teacher, plain students, their doubts, answers if they are shared, students, neighbours."""
    of_teacher = config.of_network(
        config.teacher, config.teacher_seed, config.teacher_epochs or config.epochs
    )
    teacher = _named("teacher", of_teacher)
    own = [config.of_network(config.student, seed, config.epochs) for seed in config.seeds]
    plain = [_named("plain", each) for each in own]
    both = (teacher.name, *(each.name for each in plain))
    of_both = {"teacher": of_teacher, "plain": own}
    # A contrast without a weight is the same training for every objective.
    objective = config.objective if config.rab[2] else "kd"
    taught = {"teacher": of_teacher, "objective": objective, "weights": config.rab}
    taught |= {"kd_temperature": config.kd_temperature, **config.of_contrast}
    answers, students = [], []
    for each in own:
        asked, end = (teacher.name,), f"seed-{each['seed']}"
        if config.share_answers:
            views = ("seed", "epochs", "batch", "padding", "flip", "each", "held_out")
            of_views = {key: each[key] for key in views} | {"teacher": of_teacher}
            name = f"answers-{config.teacher.lower()}-{end}"
            answers.append(Cell(name, of_views, asked, keep="shared"))
            asked += (name,)
        students.append(Cell(end, each | taught, asked, keep="run"))
    all_of_them = (*both, *(each.name for each in students))
    return [
        teacher, *plain, Cell("doubts", of_both, both), *answers, *students,
        Cell("neighbours", of_both | {"students": taught}, all_of_them),
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------
# The experiment
# ---------------------------------------------------------------------------------------------


class Distill(Experiment):
    """Train students of a teacher, and plain students of labels alone beside them."""

    name, Config = "distill", DistillConfig
    tiny = DistillConfig(
        dataset="digits", pair="resnet56-resnet20", count=64, dim=8, epochs=2, batch=60,
        padding=1, each=12,
    )  # fmt: skip

    def record_name(self, config: DistillConfig, job: Job) -> str:
        data = config.dataset if job.train is None else job.train.name
        words = ("distill", data, config.pair, config.objective)
        return re.sub("[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")

    def check(self, config: DistillConfig, job: Job) -> None:
        train, _ = self.sets(config, job)
        if len(train) < config.batch:
            settings.refuse("batch", config.batch, f"at most the {len(train)} training images")
        if config.rab[2] > 0:
            distillation.other_classes(
                train.labels.cpu(), config.negatives, config.count, config.alpha
            )

    def sets(self, config: DistillConfig, job: Job) -> tuple[datasets.ImageSet, datasets.ImageSet]:
        """Images to learn from and images to measure on."""
        train, test = job.train, job.test
        if config.held_out:
            train, test = split(train, config.held_out)
        if config.each is not None:
            train, test = train.first(config.each), test.first(config.each)
        return train, test

    def cells(self, config: DistillConfig) -> list[Cell]:
        return _cells(config)

    def run(
        self, cell: Cell, config: DistillConfig, inputs: Mapping[str, Result], job: Job
    ) -> Result:
        train, test = self.sets(config, job)
        header = {"settings": cell.settings, "data": job.data}
        if not cell.needs:
            learner = Learner(cell.name, cell.settings, train.to(job.device))
            return _trained(learner, test, job, header)
        known, *others = (inputs[name] for name in cell.needs)
        if cell.name == "doubts":
            said = doubts(known.values["accuracy"], [each.values["accuracy"] for each in others])
            for line in said:  # before the students are trained
                print(f"warning: {line}", flush=True)
            return Result({"warnings": said})
        if cell.name == "neighbours":
            return Result({"shared": _neighbours(known, others, train, test)})
        teacher = _classifier(known).network.to(job.device, memory_format=torch.channels_last)
        teacher.requires_grad_(False)
        if cell.name.startswith("answers-"):
            return Result({}, _answers(teacher, train.to(job.device), cell.settings))
        learner = Learner(
            f"student-{config.student}-{cell.name}", cell.settings, train.to(job.device), config,
            partial(_ask, teacher, others[0].tensors if others else None), teacher.feature_dim,
        )  # fmt: skip
        of_teacher = {"teacher": files.state_checksum(known.tensors)}
        result = _trained(learner, test, job, header | of_teacher)
        return Result(result.values | of_teacher, result.tensors, result.seconds)

    def metrics(self, config: DistillConfig, results: Mapping[str, Result]) -> dict[str, Metric]:
        teacher, plain, students = self.parts(config, results)
        for each in students:
            if each.values["teacher"] != files.state_checksum(teacher.tensors):
                raise ValueError(
                    f"the student of seed {each.values['seed']} had a teacher with other weights; "
                    "valid: another --name, or remove that student's file"
                )
        of_plain, of_students = (
            tuple(each.values["accuracy"] for each in kind) for kind in (plain, students)
        )
        gains = tuple(a - b for a, b in zip(of_students, of_plain, strict=True))
        shared, many = results["neighbours"].values["shared"], len(plain)
        found = {
            "accuracy student": of_students,
            "accuracy plain student": of_plain,
            "gain over plain student": gains,
            "neighbours shared with teacher, student": shared[many:],
            "neighbours shared with teacher, plain student": shared[:many],
        }
        of_teacher = Metric("share", (teacher.values["accuracy"],), per="run")
        return metrics(found, "share") | {"accuracy teacher": of_teacher}

    def arrays(self, config: DistillConfig, results: Mapping[str, Result]) -> dict[str, Any]:
        teacher, _, students = self.parts(config, results)
        epochs = [[{key: round(value, 5) for key, value in epoch.items()}
                   for epoch in each.values["epochs"]] for each in students]  # fmt: skip
        return {
            "epochs": epochs,
            "warnings": results["doubts"].values["warnings"],
            "teacher": files.state_checksum(teacher.tensors),
        }

    def parts(
        self, config: DistillConfig, results: Mapping[str, Result]
    ) -> tuple[Result, list[Result], list[Result]]:
        """The teacher, the plain students and the students."""
        needs = next(each.needs for each in self.cells(config) if each.name == "neighbours")
        teacher, *others = (results[each] for each in needs)
        return teacher, others[: len(config.seeds)], others[len(config.seeds) :]

    def full(self, config: DistillConfig) -> bool:
        """Say whether it has all images, sixty epochs and three seeds at least."""
        return (
            config.dataset == "fashion-mnist"
            and config.epochs >= 60
            and len(config.seeds) >= 3
            and not (config.held_out or config.each)
        )


def _named(role: str, of_network: Mapping[str, Any]) -> Cell:
    name = f"{role}-{of_network['network'].lower()}-seed-{of_network['seed']}"
    return Cell(name, of_network, keep="shared")


def _answers(
    teacher: nn.Module, train: datasets.ImageSet, given: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Features and logits of every view of a seed: (epochs, steps, batch, …)."""
    steps, found = len(train) // given["batch"], []
    for epoch in range(given["epochs"]):
        for step in range(steps):
            key = (given["seed"], epoch, step)
            rows = batch_of(given["batch"], *key, len(train)).to(train.images.device)
            found.append(answers(teacher, view(train, rows, given, *key)))
    features, logits = (torch.stack(each).cpu() for each in zip(*found, strict=True))
    shape = (given["epochs"], steps)
    return {"features": features.unflatten(0, shape), "logits": logits.unflatten(0, shape)}


def _ask(
    teacher: nn.Module, kept: Mapping[str, Tensor] | None, epoch: int, step: int,
    pixels: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """What a teacher says of a view: read where it is kept, else asked now."""
    if kept is None:
        return answers(teacher, pixels)
    return tuple(kept[each][epoch, step].to(pixels.device) for each in ("features", "logits"))


EXPERIMENT = Distill()
