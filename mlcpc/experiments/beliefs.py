r"""Three beliefs about information in contrastive learning, asked of small encoders.

An encoder f is trained on pairs with a contrastive bound, then frozen. The bound that training
printed is one number; the information of the representation, I(f(x); f(y)), is another, and
:func:`mlcpc.estimate` bounds it on pairs of images that no encoder saw.

    batches       pairs of one class, m candidates: does a small m limit the representation?
    measures      many encoders: which number goes with accuracy?
    views         crops and jitter: does less information of the views make better encoders?
    backgrounds   pairs of one class on patterns of strength η: what does nuisance do?

What we expected, written before any run:

1. The training value ends below log m and the information after training does not: for m = 8 it
   is above log 8. The probe loses less than 0.02 from m = 512 to m = 8.
2. The information of same-class pairs goes with accuracy (rank correlation above 0.8), that of
   augmented views and the training bound less so.
3. The best views are neither those of the least nor those of the most information, and the
   information of the views does not order the probes.
4. Backgrounds of a pair's own lower what training prints and hardly the probe; a shared background
   raises what training prints and lowers the probe.

Source: methods and beliefs after the abstract of Lee et al. 2023, arXiv 2308.15704, whose body was
not at hand: networks, settings and arms are ours.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mlcpc import bounds, estimation, images, networks, probes, training
from mlcpc.config import Config, refuse, setting
from mlcpc.datasets import DATASETS, ImageSet
from mlcpc.experiments.base import Cell, Experiment, Job, Result
from mlcpc.problems import SameClassImages
from mlcpc.records import Metric
from mlcpc.shapes import Float, Int, Tensor
from mlcpc.training import generator

_BLOCK = 50  # steps of an epoch of the training loop
_EVERY = 10  # blocks between two checkpoints
_STREAMS = {"train": 1, "held": 2, "match": 3, "shown": 4, "noise": 5}  # of random draws
STUDIES = ("batches", "measures", "views", "backgrounds")
BOUNDS = {"cpc": bounds.cpc, "ml_cpc": bounds.ml_cpc}
# Kind of a number → its unit.
UNITS = {
    "value": "nats", "ceiling": "nats", "held value": "nats", "own critic": "nats",
    "views bound": "nats",
    "class information": "nats", "class lower": "nats", "class ceiling": "nats",
    "views information": "nats", "views lower": "nats", "views ceiling": "nats",
    "linear": "share", "knn": "share", "background": "share",
}  # fmt: skip

Draw = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Training(Config):
    """How encoders are trained and what they are asked, in every study."""

    width: int = setting(256, "units of the hidden layer of an encoder", least=1)
    features: int = setting(64, "length of the features, which are frozen and asked", least=1)
    dim: int = setting(64, "length of an embedding", least=1)
    temperature: float = setting(0.2, "scores are cosines divided by it", above=0)
    batch: int = setting(512, "pairs of a step", least=2)
    steps: int = setting(150, "training steps of that batch", least=5)
    learning_rate: float = setting(
        2e-3, "step size of Adam, which falls as a half cosine to zero", above=0
    )
    pairs: int = setting(2000, "held-out pairs that information is estimated from", least=40)
    critic_steps: int = setting(5000, "training steps of an estimate's critics at most", least=1)
    seeds: tuple[int, ...] = setting((0, 1, 2), "random seeds; every arm is run with each", least=0)


@dataclass(frozen=True)
class BeliefsConfig(Training):
    """Which study is run, and how.

    Settings are declared with their help and range; ``mlcpc run beliefs --help`` lists them.
    """

    study: str = setting("batches", "which question is asked", choices=STUDIES)
    dataset: str = setting(
        "fashion-mnist-subset", "name of the grey images", choices=lambda: tuple(DATASETS)
    )
    learned: int = setting(
        500, "training images of each class that encoders learn from; estimates see the others",
        least=2,
    )  # fmt: skip
    candidates: tuple[int, ...] = setting(
        (8, 32, 128, 512), "batches: candidates m of an anchor", least=2
    )
    small_batch: bool = setting(
        True, "batches: also train with a batch of the least of these alone, in as many more steps"
    )
    crop_low: float = setting(0.4, "least share of the area that a view keeps", above=0, most=1)
    jitter: float = setting(0.4, "strength of the jitter of a view", least=0, most=1)
    crops: tuple[float, ...] = setting(
        (0.08, 0.2, 0.4, 0.6, 0.8, 1.0), "views: crop_low of an arm", above=0, most=1
    )
    jitters: tuple[float, ...] = setting(
        (0.0, 0.2, 0.8), "views: jitter of an arm", least=0, most=1, empty=True
    )
    strengths: tuple[float, ...] = setting(
        (0.0, 0.5, 1.0), "backgrounds: strength η", least=0, most=1
    )
    patterns: int = setting(16, "backgrounds: how many there are", least=2)

    def __post_init__(self) -> None:
        super().__post_init__()
        for m in self.candidates if self.study == "batches" else ():
            if self.batch % m:
                refuse("candidates", m, f"divisors of the batch, {self.batch}")


# ---------------------------------------------------------------------------------------------
# Pairs
# ---------------------------------------------------------------------------------------------


def same_class_pairs(
    labels: Sequence | np.ndarray | Tensor, seed: torch.Generator, names: Sequence[str] = ()
) -> Int[Tensor, "pairs 2"]:
    """Pairs of samples of one class, in which no sample stands twice.

    Every class is shuffled and cut into pairs; a class of odd size leaves one sample out. The pairs
    come in random order.

    Args:
        labels: (N,) class of each sample: integers, not necessarily 0 to C − 1, or texts.
        seed: random generator that shuffles.
        names: names of the classes, in the order of their labels, for messages.

    Raises:
        ValueError: labels that are not one a sample, no label, NaN, a class of one sample.
    """
    found = np.asarray(labels)
    if found.ndim != 1 or not len(found):
        raise ValueError(f"labels has shape {found.shape}; valid: (N,), N at least 2")
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise ValueError(f"labels holds {found[~np.isfinite(found)][0]}; valid: finite numbers")
    kinds, codes = np.unique(found, return_inverse=True)
    counts = np.bincount(codes)
    if counts.min() < 2:
        place = int(counts.argmin())
        name = names[place] if len(names) == len(kinds) else kinds[place]
        raise ValueError(f"class {str(name)!r} has one sample; valid: at least 2 of each class")
    pairs = []
    for place, count in enumerate(counts):
        members = torch.from_numpy(np.flatnonzero(codes == place))
        order = torch.randperm(int(count), generator=seed)
        pairs.append(members[order[: count // 2 * 2]].view(-1, 2))
    together = torch.cat(pairs)
    return together[torch.randperm(len(together), generator=seed)]


@dataclass(frozen=True, eq=False)
class Parts:
    """Images of half the side: those to learn from, those held out for estimates, and the test."""

    learned: ImageSet
    held: ImageSet
    test: ImageSet


def parts(train: ImageSet, test: ImageSet, learned: int) -> Parts:
    """Cut a training set in two, class by class, and halve the sides of all images.

    Raises:
        ValueError: colour images, a class that leaves fewer than two images.
    """
    if train.images.shape[1] != 1:
        raise ValueError(f"{train.name} has {train.images.shape[1]} channels; valid: 1")
    counts = torch.bincount(train.labels)
    if int(counts.min()) < learned + 2:
        name = train.classes[int(counts.argmin())]
        raise ValueError(
            f"learned is {learned}, and class {name!r} of {train.name} has {int(counts.min())} "
            f"images; valid: 2 to {int(counts.min()) - 2}, so that 2 are left"
        )
    first = torch.zeros(len(train), dtype=torch.bool)
    for label in range(len(train.classes)):
        first[torch.nonzero(train.labels == label)[:learned, 0]] = True

    def halved(of: ImageSet, rows: Tensor) -> ImageSet:
        small = F.avg_pool2d(of.images[rows].float(), 2).round().to(torch.uint8)
        return ImageSet(small, of.labels[rows], of.classes, of.name, of.source)

    every = torch.ones(len(test), dtype=torch.bool)
    return Parts(halved(train, first), halved(train, ~first), halved(test, every))


def backgrounds(count: int, size: tuple[int, int]) -> Tensor:
    """Smooth random patterns, uint8 (count, 1, H, W), always the same."""
    drawn = torch.rand(count, 1, 4, 4, generator=generator(0, _STREAMS["noise"]))
    smooth = F.interpolate(drawn, size, mode="bilinear", align_corners=False)
    low, high = smooth.amin((2, 3), keepdim=True), smooth.amax((2, 3), keepdim=True)
    return (255 * (smooth - low) / (high - low)).round().to(torch.uint8)


def composed(
    pictures: Tensor, places: Int[Tensor, " n"], patterns: Tensor, strength: float
) -> Tensor:
    """Pictures on patterns: p + η b (1 − p/255), so that what is white stays white; uint8."""
    if strength == 0:
        return pictures
    shown = pictures.float()
    return (shown + strength * patterns[places] * (1 - shown / 255)).round().to(torch.uint8)


@dataclass(frozen=True, eq=False)
class Images:
    """Pairs of an arm, drawn from the parts of a data set.

    Args:
        arm: the settings of a cell; "pairs" is class or views.
        parts: the images.
    """

    arm: Mapping[str, Any]
    parts: Parts

    @property
    def dim(self) -> int:
        """Pixels of an image."""
        return self.parts.learned.images[0].numel()

    @property
    def patterns(self) -> Tensor:
        size = tuple(self.parts.learned.images.shape[-2:])
        return backgrounds(self.arm["patterns"], size)

    def flat(self, pictures: Tensor) -> Float[Tensor, "n pixels"]:
        """Standardised pixels, by the images that encoders learn from."""
        learned = self.parts.learned
        return images.normalise(pictures, learned.mean, learned.std).flatten(1)

    def of_rows(
        self, of: ImageSet, rows: Int[Tensor, "n 2"], draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Pairs of images by their rows, on backgrounds if the arm has them."""
        strength, bank = self.arm.get("strength", 0.0), self.patterns
        first = torch.randint(len(bank), (len(rows),), generator=draws)
        second = torch.randint(len(bank), (len(rows),), generator=draws)
        places = (first, first if self.arm.get("shared") else second)
        return tuple(
            self.flat(composed(of.images[row], place, bank, strength))
            for row, place in zip(rows.T, places, strict=True)
        )

    def views(self, pictures: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """Two augmented views of each picture, flat."""
        arm, learned = self.arm, self.parts.learned
        how = images.ViewConfig(crop_low=arm["crop_low"], jitter=arm["jitter"])
        both = images.two_views(pictures, learned.mean, learned.std, draws, how)
        return both[0].flatten(1), both[1].flatten(1)

    def drawer(self) -> Draw:
        """Pairs to train on, drawn with replacement from the images that encoders learn from."""
        learned = self.parts.learned
        if self.arm["pairs"] == "class":
            rows = SameClassImages(torch.arange(len(learned))[:, None], learned.labels)

            def of_class(count: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
                return self.of_rows(learned, torch.cat(rows.sample(count, draws), dim=1), draws)

            return of_class

        def of_views(count: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
            rows = torch.randint(len(learned), (count,), generator=draws)
            return self.views(learned.images[rows], draws)

        return of_views

    def held(self, kind: str, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Independent held-out pairs: no image stands in two of them."""
        held, draws = self.parts.held, generator(seed, _STREAMS["held"])
        if kind == "class":
            pairs = same_class_pairs(held.labels, generator(seed, _STREAMS["match"]), held.classes)[
                :count
            ]
            return self.of_rows(held, pairs, draws)
        rows = torch.randperm(len(held), generator=draws)[:count]
        return self.views(held.images[rows], draws)

    def shown(self, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Learned images as the arm shows them, the background of each, and both of the test."""
        found = []
        for place, of in enumerate((self.parts.learned, self.parts.test)):
            draws = generator(seed, _STREAMS["shown"], place)
            behind = torch.randint(self.arm["patterns"], (len(of),), generator=draws)
            strength = self.arm.get("strength", 0.0)
            seen = composed(of.images, behind, self.patterns, strength)
            found += [self.flat(seen), behind]
        return tuple(found)


# ---------------------------------------------------------------------------------------------
# Encoders
# ---------------------------------------------------------------------------------------------


class SmallEncoder(nn.Module):
    """Pixels to features, and by a projection to embeddings of unit norm.

    Args:
        pixels: length of an input; a convolution takes it as a square.
        width: hidden units.
        features: length of the features.
        dim: length of an embedding.
        kind: "mlp" with one hidden layer, or "conv", two convolutions of stride 2.

    Raises:
        ValueError: an input of a convolution that is no square.
    """

    def __init__(self, pixels: int, width: int, features: int, dim: int, kind: str = "mlp") -> None:
        super().__init__()
        if kind == "conv":
            side = math.isqrt(pixels)
            if side * side != pixels:
                refuse("pixels", pixels, "a square, for a convolution")
            last = (side + 3) // 4
            self.body = nn.Sequential(
                nn.Unflatten(1, (1, side, side)),
                nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
                nn.Flatten(), nn.Linear(32 * last * last, features),
            )  # fmt: skip
        else:
            self.body = nn.Sequential(
                nn.Linear(pixels, width), nn.ReLU(), nn.Linear(width, features)
            )
        self.projection = networks.Projection(features, dim, "mlp")

    def features(self, pixels: Tensor) -> Tensor:
        """Features, which stand before the projection."""
        return self.body(pixels)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.projection(self.body(pixels))


def fresh(arm: Mapping[str, Any], pixels: int, seed: int) -> SmallEncoder:
    """The encoder of an arm before any step; PyTorch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        return SmallEncoder(pixels, arm["width"], arm["features"], arm["dim"], arm["network"])


def values_of(encoder: nn.Module, x: Tensor, y: Tensor, arm: Mapping[str, Any]) -> Tensor:
    r"""The bound of an arm on a batch, cut into groups of m pairs: nats, (n/m,).

    .. math:: f(x, y) = \cos(z(x), z(y)) / τ

    with the other m − 1 pairs of the group as negatives, so that m may change alone.
    """
    embedded = F.normalize(encoder(torch.cat([x, y])), dim=1)
    first, second = embedded.unflatten(0, (2, -1, arm["m"])).unbind()
    scores = first @ second.transpose(1, 2) / arm["temperature"]
    return BOUNDS[arm["objective"]](*bounds.split(scores), arm["alpha"])


class Contrast(training.Trainee):
    """An encoder of an arm and what it is trained on.

    Args:
        arm: settings of the cell.
        draw: pairs to train on.
        pixels: length of an input.
    """

    def __init__(self, arm: Mapping[str, Any], draw: Draw, pixels: int) -> None:
        self.arm, self.draw = arm, draw
        self.title = f"{arm['arm']}, seed {arm['seed']}"
        self.encoder = fresh(arm, pixels, arm["seed"])
        self.modules = {"encoder": self.encoder}
        self.optimiser = torch.optim.Adam(self.encoder.parameters(), arm["learning_rate"])
        total = arm["steps"]
        self.steps = [min(_BLOCK, total - begin) for begin in range(0, total, _BLOCK)]

    def step(self, epoch: int, step: int) -> dict[str, Tensor]:
        arm = self.arm
        done = (epoch * _BLOCK + step) / arm["steps"]
        for group in self.optimiser.param_groups:
            group["lr"] = arm["learning_rate"] * (1 + math.cos(math.pi * done)) / 2
        key = (arm["seed"], _STREAMS["train"], epoch, step + 1)
        value = values_of(self.encoder, *self.draw(arm["batch"], generator(*key)), arm).mean()
        training.refuse_infinite(value)
        self.optimiser.zero_grad()
        (-value).backward()
        self.optimiser.step()
        return {"loss": -value.detach(), "value": value.detach()}

    def end(self, epoch: int) -> dict[str, float]:
        training.refuse_broken(self.modules)
        return {}


def trained(arm: Mapping[str, Any], draw: Draw, pixels: int, job: Job) -> tuple[nn.Module, float]:
    """A trained encoder of an arm, and what training printed: the mean over its last fifth."""
    trainee = Contrast(arm, draw, pixels)
    history = training.fit(trainee, job.path, {**arm}, _EVERY, job.progress)
    last = max(1, len(history) // 5)
    return trainee.encoder.eval(), sum(each["value"] for each in history[-last:]) / last


def informed(
    x: Tensor, y: Tensor, arm: Mapping[str, Any], title: str
) -> tuple[dict[str, float], list[str]]:
    """Information of features by :func:`mlcpc.estimate`: value, lower limit, ceiling; warnings.

    Critics start from nothing: features form clusters, and from the ratio of a normal pair they
    reached 0.92 nats where they reach 1.38 so (one encoder, the first that was looked at).
    """
    found = estimation.estimate(
        x.numpy(), y.numpy(), folds=2, init="zero", steps=arm["critic_steps"], seed=arm["seed"]
    )
    numbers = {"information": found.mi, "lower": found.lower, "ceiling": found.ceiling}
    return {f"{title} {kind}": value for kind, value in numbers.items()}, list(found.warnings)


def asked(
    learned: Tensor, labels: Tensor, new: Tensor, truth: Tensor, seed: int
) -> dict[str, float]:
    """Accuracy of a linear probe and of nearest neighbours, on new features."""
    linear = probes.linear_probe(learned, labels, new, seed=seed).predicted
    return {
        "linear": probes.accuracy(linear, truth),
        "knn": probes.accuracy(probes.knn(learned, labels, new), truth),
    }


# ---------------------------------------------------------------------------------------------
# The studies
# ---------------------------------------------------------------------------------------------


def _base(config: BeliefsConfig) -> dict[str, Any]:
    names = ("width", "features", "dim", "temperature", "batch", "steps", "learning_rate",
             "crop_low", "jitter", "patterns", "pairs", "critic_steps")  # fmt: skip
    kept = {name: getattr(config, name) for name in names}
    return kept | {
        "pairs": "views", "objective": "cpc", "alpha": 1.0, "m": config.batch, "network": "mlp",
        "kept": config.pairs, "ask": ["class"], "learned": config.learned,
    }  # fmt: skip


def _batches(config: BeliefsConfig) -> dict[str, dict[str, Any]]:
    """Pairs of one class: m of a fixed batch, then a batch that is small itself."""
    found: dict[str, dict[str, Any]] = {}
    for m in config.candidates:
        found[f"cpc m={m}"] = {"m": m}
        found[f"ml_cpc m={m}"] = {"m": m, "objective": "ml_cpc", "alpha": bounds.alpha_batch(m)}
    least = min(config.candidates)
    if config.small_batch and least < config.batch:  # as many pairs are seen, in more steps
        steps = config.steps * config.batch // least
        found[f"batch of {least}"] = {"m": least, "batch": least, "steps": steps}
    return {name: {"pairs": "class"} | each for name, each in found.items()}


def _measures(config: BeliefsConfig) -> dict[str, dict[str, Any]]:
    """Encoders of all kinds; "pixels", "random" and "untrained" have no training."""
    short, few = max(5, config.steps // 10), max(2, config.batch // 64)
    shared = {"objective": "ml_cpc", "alpha": bounds.alpha_batch(config.batch)}
    return {
        "pixels": {"network": "pixels"},
        "random projection": {"network": "random"},
        "untrained": {"steps": 0},
        "untrained convolution": {"steps": 0, "network": "conv"},
        "views": {},
        "views, convolution": {"network": "conv"},
        "views, few steps": {"steps": short},
        "views, narrow": {"width": 16, "features": 8},
        "views, wide": {"width": 4 * config.width},
        "views, few candidates": {"m": few},
        "views, ml_cpc": {"objective": "ml_cpc"},
        "views, ml_cpc small weight": shared,
        "views, small crops": {"crop_low": 0.08, "jitter": 0.8},
        "views, no crops": {"crop_low": 1.0, "jitter": 0.0},
        "class": {"pairs": "class"},
        "class, few steps": {"pairs": "class", "steps": short},
        "class, narrow": {"pairs": "class", "width": 16, "features": 8},
        "class, ml_cpc": {"pairs": "class", "objective": "ml_cpc"},
    }


def _views(config: BeliefsConfig) -> dict[str, dict[str, Any]]:
    found = {f"crop {each:g}": {"crop_low": each} for each in config.crops}
    return found | {f"jitter {each:g}": {"jitter": each} for each in config.jitters}


def _backgrounds(config: BeliefsConfig) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for each in config.strengths:
        found[f"own {each:g}"] = {"strength": each}
        if each > 0:
            found[f"shared {each:g}"] = {"strength": each, "shared": True}
    return {name: {"pairs": "class"} | each for name, each in found.items()}


_ARMS = {"batches": _batches, "measures": _measures, "views": _views, "backgrounds": _backgrounds}
# What is estimated after training: of pairs of one class, of augmented views.
_ASK = {"batches": ("class",), "measures": ("class", "views"), "views": ("views",),
        "backgrounds": ("class",)}  # fmt: skip


def arms(config: BeliefsConfig) -> dict[str, dict[str, Any]]:
    """Name of each arm of a study → its settings, without the seed."""
    base = _base(config) | {"ask": list(_ASK[config.study])}
    if config.study == "backgrounds":
        base["background"] = True
    return {name: base | each for name, each in _ARMS[config.study](config).items()}


def frozen(
    arm: Mapping[str, Any], of: Images, job: Job
) -> tuple[Callable, Callable, dict[str, float]]:
    """Features and embeddings of an arm as functions of pixels, and what training printed."""
    if arm["network"] == "pixels":
        return (lambda x: x), (lambda x: x), {}
    if arm["network"] == "random":
        drawn = torch.randn(of.dim, arm["features"], generator=generator(arm["seed"]))
        return (lambda x: x @ drawn), (lambda x: x @ drawn), {}
    if arm["steps"] == 0:
        encoder = fresh(arm, of.dim, arm["seed"]).eval()
        return encoder.features, encoder.features, {}
    encoder, value = trained(arm, of.drawer(), of.dim, job)
    ceiling = bounds.ceiling(arm["m"], arm["alpha"])
    return encoder.features, encoder, {"value": value, "ceiling": ceiling}


@torch.no_grad()
def measured(arm: Mapping[str, Any], job: Job) -> Result:
    """Train an arm and measure all that its study asks of it."""
    of, seed = Images(arm, parts(job.train, job.test, arm["learned"])), arm["seed"]
    with torch.enable_grad():
        features, embed, found = frozen(arm, of, job)
    if found:  # the critic of training on held-out pairs: with its m, and with all candidates
        x, y = of.held(arm["pairs"], arm["kept"], seed)
        whole = len(x) // arm["m"] * arm["m"]
        if whole:
            found["held value"] = float(values_of(embed, x[:whole], y[:whole], arm).mean())
        every = {**arm, "objective": "cpc", "alpha": bounds.TWO_OVER_E, "m": len(x)}
        found["own critic"] = float(values_of(embed, x, y, every))
    if "views" in arm["ask"]:
        plain = Images({**arm, "pairs": "views"}, of.parts)
        cpc = {**arm, "objective": "cpc", "alpha": 1.0, "m": arm["batch"]}
        draw, shown = plain.drawer(), []
        for place in range(10):
            pair = draw(arm["batch"], generator(seed, _STREAMS["shown"], 9, place + 1))
            shown.append(float(values_of(embed, *pair, cpc).mean()))
        found["views bound"] = sum(shown) / len(shown)
    warned = []
    for kind in arm["ask"]:
        x, y = of.held(kind, arm["kept"], seed)
        numbers, said = informed(features(x), features(y), arm, kind)
        found |= numbers
        warned += [f"{arm['arm']}, seed {seed}, {kind}: {each}" for each in said]
    learned, behind, new, behind_new = of.shown(seed)
    learned, new = features(learned), features(new)
    found |= asked(learned, of.parts.learned.labels, new, of.parts.test.labels, seed)
    if arm.get("background"):
        predicted = probes.linear_probe(learned, behind, new, seed=seed).predicted
        found["background"] = probes.accuracy(predicted, behind_new)
    return Result({"numbers": found, "warnings": warned})


def metrics_of(
    names: Sequence[str],
    seeds: Sequence[int],
    units: Mapping[str, str],
    results: Mapping[str, Result],
) -> dict[str, Metric]:
    """Numbers of all arms, seed by seed: ``linear of cpc m=8``."""
    found = {}
    for place, name in enumerate(names):
        numbers = [results[f"arm-{place}-seed-{seed}"].values["numbers"] for seed in seeds]
        for kind, unit in units.items():
            if kind in numbers[0]:
                found[f"{kind} of {name}"] = Metric(unit, tuple(each[kind] for each in numbers))
    return found


def cells_of(of: Mapping[str, Mapping[str, Any]], seeds: Sequence[int]) -> list[Cell]:
    """A cell for each arm and seed."""
    return [
        Cell(f"arm-{place}-seed-{seed}", {**settings, "arm": name, "seed": seed})
        for place, (name, settings) in enumerate(of.items())
        for seed in seeds
    ]


class Beliefs(Experiment):
    """Ask three beliefs about information of small encoders on images."""

    name, version, Config = "beliefs", 2, BeliefsConfig
    tiny = BeliefsConfig(
        dataset="digits", study="backgrounds", learned=100, width=16, features=4, dim=4, batch=16,
        steps=20, pairs=60, critic_steps=1, strengths=(0.5,), patterns=2, seeds=(0,),
    )  # fmt: skip

    def record_name(self, config: BeliefsConfig, job: Job) -> str:
        return f"beliefs-{config.study}"

    def check(self, config: BeliefsConfig, job: Job) -> None:
        found = parts(job.train, job.test, config.learned)
        most = int((torch.bincount(found.held.labels) // 2).sum())
        if config.pairs > most:
            refuse("pairs", config.pairs, f"at most {most}, for the images that are held out")

    def cells(self, config: BeliefsConfig) -> list[Cell]:
        return cells_of(arms(config), config.seeds)

    def run(
        self, cell: Cell, config: BeliefsConfig, inputs: Mapping[str, Result], job: Job
    ) -> Result:
        return measured(cell.settings, job)

    def metrics(self, config: BeliefsConfig, results: Mapping[str, Result]) -> dict[str, Metric]:
        return metrics_of(list(arms(config)), config.seeds, UNITS, results)

    def arrays(self, config: BeliefsConfig, results: Mapping[str, Result]) -> dict[str, Any]:
        """Names of the arms, in their order, and what the estimates warn of."""
        return {
            "arms": list(arms(config)),
            "doubts": [said for each in results.values() for said in each.values["warnings"]],
        }

    def full(self, config: BeliefsConfig) -> bool:
        """Say whether it tells of small encoders on all images; nothing here tells of others."""
        whole = config.dataset == "fashion-mnist" and config.steps >= 3000
        return whole and len(config.seeds) >= 5


EXPERIMENT = Beliefs()
