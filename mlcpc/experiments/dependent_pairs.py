r"""Batches whose pairs depend on each other: what the bounds then say of the information.

A hidden Z is drawn once for a batch, and given Z its pairs are independent. What a pair tells is
I(X; Y), but the negatives of the batch are no draws from p(x) p(y): they are draws from
E_Z p(x | Z) p(y | Z). Each case has a control in which every pair has a Z of its own.

    gaussian   (X, Y) = Z + ε, correlation −0.5 in Z and 0.9 in ε
    letters    images of two classes; the classes are independent, and not so given Z
    classes    two images of one class; the batch is sorted, so Z is the class of all its images

Hypothesis, written before the first run: in ``gaussian`` and ``letters`` every bound is above the
truth and at most I(X; Y | Z); in ``classes`` every bound is near zero, far below the truth.

Source: Tschannen et al. 2020, arXiv 1907.13625, section 4, the Gaussians alone; there a batch of
128, five hidden layers of ten units, step size 1e-4, 20,000 steps and one run.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from mlcpc import datasets, exact, training
from mlcpc.config import Config, setting
from mlcpc.critics import CriticConfig
from mlcpc.experiments.base import Cell, Experiment, Job, Result
from mlcpc.records import Metric
from mlcpc.shapes import Float, Int, Tensor
from mlcpc.stacks import Stack, check_estimators

CASES = ("gaussian", "letters", "classes")
_BLOCK = 50  # steps of an epoch of the training loop
# p(x, y | z) of two bits for z = 0 and 1: their mean is uniform, so the bits are independent.
LETTERS = (((0.25, 0.5), (0.0, 0.25)), ((0.25, 0.0), (0.5, 0.25)))


def letters() -> exact.Joint:
    """Both tables p(x, y | z) of the letters, (2, 2, 2); their mean is p(x, y)."""
    return exact.Joint(torch.tensor(LETTERS, dtype=torch.float64))


@dataclass(frozen=True)
class SharedGaussian:
    r"""One-dimensional pairs (X, Y) = Z + ε, Z of the batch, ε of the pair.

    .. math:: Z \sim N(0, [1, c; c, 1]), \quad ε \sim N(0, [1, r; r, 1])

    Args:
        common: correlation c of Z, between −1 and 1.
        own: correlation r of ε, between −1 and 1.

    Raises:
        ValueError: a correlation out of range.
    """

    common: float = -0.5
    own: float = 0.9

    def __post_init__(self) -> None:
        for name in ("common", "own"):
            if not -1 < (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} is {value}; valid: between -1 and 1")

    @property
    def mi(self) -> float:
        """I(X; Y) in nats: the correlation of a pair is the mean of both."""
        return -0.5 * math.log1p(-(((self.common + self.own) / 2) ** 2))

    @property
    def given(self) -> float:
        """I(X; Y | Z) in nats."""
        return -0.5 * math.log1p(-(self.own**2))

    @property
    def apart(self) -> float:
        r"""KL(p(x_i, y_i) ‖ p(x_i, y_j)) in nats, the best mean of NWJ in such a batch.

        With the correlations a of a pair and b = c/2 of x_i and y_j, both of variance 2,

        .. math:: \frac{1 - ab}{1 - b^2} - 1 + \frac12 \log\frac{1 - b^2}{1 - a^2}
        """
        a, b = (self.common + self.own) / 2, self.common / 2
        return (1 - a * b) / (1 - b * b) - 1 + 0.5 * math.log((1 - b * b) / (1 - a * a))

    def sample(
        self, batches: int, count: int, shared: bool, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw x and y, each (batches, count, 1)."""
        normal = torch.randn(2, 2, batches, count, generator=generator, device=generator.device)
        z = normal[0, ..., :1] if shared else normal[0]
        x, y = z[0] + normal[1, 0], _second(z, self.common) + _second(normal[1], self.own)
        return x[..., None], y[..., None]


def _second(pair: Tensor, correlation: float) -> Tensor:
    """The second of two normal variables of a correlation, from two independent ones."""
    return correlation * pair[0] + math.sqrt(1 - correlation**2) * pair[1]


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pairs of images of given classes.

    Args:
        images: (N, pixels), one image a row.
        labels: (N,) classes from 0 on.
    """

    images: Float[Tensor, "count pixels"]
    labels: Int[Tensor, " count"]

    def classes(self, batches: int, count: int, shared: bool, generator: torch.Generator) -> Any:
        """Two images of one class, which a shared batch has in common."""
        size = (batches, 1 if shared else count)
        drawn = torch.randint(int(self.labels.max()) + 1, size, generator=generator,
                              device=generator.device).expand(batches, count)  # fmt: skip
        return self.of(drawn, generator), self.of(drawn, generator)

    def letters(self, batches: int, count: int, shared: bool, generator: torch.Generator) -> Any:
        """Images of the classes 0 and 1, which the tables of :func:`letters` draw."""
        device = generator.device
        size = (batches, 1 if shared else count)
        z = torch.randint(2, size, generator=generator, device=device).expand(batches, count)
        tables = letters().table.flatten(1).to(device, torch.get_default_dtype())
        cells = torch.stack([
            torch.multinomial(table, batches * count, True, generator=generator)
            for table in tables
        ]).view(2, batches, count)  # fmt: skip
        cells = torch.where(z == 0, cells[0], cells[1])
        return self.of(cells // 2, generator), self.of(cells % 2, generator)

    def of(self, classes: Int[Tensor, "batches n"], generator: torch.Generator) -> Tensor:
        """An image of each class, drawn with replacement: (batches, n, pixels)."""
        order = self.labels.argsort(stable=True)
        counts = self.labels.bincount()
        chance = torch.rand(classes.shape, generator=generator, device=classes.device)
        # rand can round up to one in single precision
        place = (chance * counts[classes]).long().clamp(max=counts[classes] - 1)
        return self.images[order[(counts.cumsum(0) - counts)[classes] + place]]


@dataclass(frozen=True)
class DependentPairsConfig(Config):
    """What is trained on pairs that depend on each other, and on pairs that do not.

    Settings are declared with their help and range; ``mlcpc run dependent_pairs --help`` lists
    them.
    """

    dataset: str = setting(
        "fashion-mnist-subset", "name of the images", choices=lambda: tuple(datasets.DATASETS)
    )
    cases: tuple[str, ...] = setting(CASES, "what the pairs are", choices=CASES)
    common: float = setting(-0.5, "correlation of Z, of the Gaussians", above=-1, below=1)
    own: float = setting(0.9, "correlation of a pair given Z, of the Gaussians", above=-1, below=1)
    estimators: tuple[str, ...] = setting(
        ("cpc:1", "nwj", "ml_cpc:1", "ml_cpc:0.0446"),
        "bounds with their settings; 0.0446 is the smallest weight proved in a batch of 64",
    )
    seeds: tuple[int, ...] = setting(
        (0, 1, 2), "random seeds of samples and first weights; estimators share both", least=0
    )
    steps: int = setting(400, "training steps", least=1)
    tested: int = setting(100, "fresh batches that the trained critic is scored on", least=1)
    batch: int = setting(64, "pairs of a step; all others of the batch are negatives", least=3)
    width: int = setting(10, "units of each hidden layer of the Gaussians' joint critic", least=1)
    depth: int = setting(2, "hidden layers of that critic", least=1)
    picture_width: int = setting(32, "units of the separable critic of images", least=1)
    learning_rate: float = setting(3e-3, "step size of Adam", above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_estimators(self.estimators, self.batch)

    def critic(self, case: str) -> CriticConfig:
        if case == "gaussian":
            return CriticConfig("joint", self.width, self.depth)
        return CriticConfig("separable", self.picture_width, 1, 16)


Draw = Callable[[int, int, bool, torch.Generator], tuple[Tensor, Tensor]]


def drawer(case: str, config: DependentPairsConfig, images: datasets.ImageSet) -> Draw:
    """How batches of a case are drawn; a class-sorted batch needs two classes to be sorted by.

    Raises:
        ValueError: images of fewer than two classes.
    """
    if case == "gaussian":
        return SharedGaussian(config.common, config.own).sample
    if len(images.classes) < 2:
        raise ValueError(
            f"{images.name} has 1 class; valid for {case}: at least 2, since a batch of one class "
            "is no sorted batch where there is no other"
        )
    pictures = Pictures(images.images.flatten(1) / 255, images.labels)
    return {"classes": pictures.classes, "letters": pictures.letters}[case]


def truths(case: str, config: DependentPairsConfig, classes: int) -> dict[str, float]:
    """I(X; Y), I(X; Y | Z) and the best mean of NWJ in a shared batch, in nats.

    Args:
        case: one of ``CASES``.
        config: has the correlations.
        classes: number of classes of the images, all as likely.
    """
    if case == "gaussian":
        of = SharedGaussian(config.common, config.own)
        return {"mi": of.mi, "given": of.given, "apart": of.apart}
    if case == "classes":
        return {"mi": math.log(classes), "given": 0.0, "apart": 0.0}
    tables = letters()
    mean = exact.Joint(tables.table.mean(0))
    apart = (mean.table * (mean.table / tables.product.mean(0)).log()).sum()
    return {"mi": float(mean.mi), "given": float(tables.mi.mean()), "apart": float(apart)}


class DependentStack(Stack):
    """Critics of all seeds and estimators on batches that share a Z, or not."""

    def __init__(
        self, draw: Draw, shared: bool, critic: CriticConfig, config: DependentPairsConfig,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        self.pairs, self.shared, self.batch = draw, shared, config.batch
        probe = draw(1, 2, shared, torch.Generator(device).manual_seed(0))[0]
        steps = [min(_BLOCK, config.steps - i) for i in range(0, config.steps, _BLOCK)]
        super().__init__(
            config.estimators, config.seeds, critic, (probe.shape[-1],) * 2,
            config.learning_rate, steps, device,
        )  # fmt: skip

    def draw(self, epoch: int) -> tuple[Tensor, Tensor]:
        return self.batches(self.steps[epoch], self.pairs)

    def batches(self, count: int, pairs: Draw) -> tuple[Tensor, Tensor]:
        """So many batches, x and y each (count, n, seeds, d)."""
        drawn = [pairs(count, self.batch, self.shared, each) for each in self.generators]
        x, y = (torch.stack(each, dim=2) for each in zip(*drawn, strict=True))
        return x, y


def train(stack: DependentStack, fresh: Draw, tested: int, header: Mapping, job: Job) -> Tensor:
    """Train, and score on fresh batches of the same kind: (seeds, estimators) in nats, float64.

    Args:
        stack: what is trained.
        fresh: draws the batches of the score, of other images than those of the training.
        tested: number of these batches.
        header, job: as for :func:`mlcpc.training.fit`.
    """
    training.fit(stack, job.path, header, 4, job.progress)
    found = []
    with torch.no_grad():
        for _ in range(tested):
            x, y = stack.batches(1, fresh)
            found.append(stack.values(x[0], y[0]).double())
    mean = torch.stack(found).mean(0)
    return mean.where(stack.state.alive & mean.isfinite(), math.nan).cpu()


def name_of(case: str, shared: bool, estimator: str) -> str:
    """Name of a metric: ``gaussian shared cpc:1`` or ``gaussian alone cpc:1``."""
    return f"{case} {'shared' if shared else 'alone'} {estimator}"


class DependentPairs(Experiment):
    """Train critics on batches that share something: how far from the truth are the bounds?"""

    name, Config = "dependent-pairs", DependentPairsConfig
    tiny = DependentPairsConfig(
        dataset="digits", seeds=(0,), steps=6, tested=5, batch=16, width=8, depth=1,
        picture_width=8, estimators=("cpc:1", "ml_cpc:0.2"), learning_rate=0.2,
    )  # fmt: skip

    def check(self, config: DependentPairsConfig, job: Job) -> None:
        for case in config.cases:
            drawer(case, config, job.train)

    def cells(self, config: DependentPairsConfig) -> list[Cell]:
        settings = config.to_dict()
        del settings["cases"]
        return [
            Cell(f"{case}-{'shared' if shared else 'alone'}",
                 {**settings, "case": case, "shared": shared})
            for case in config.cases for shared in (True, False)
        ]  # fmt: skip

    def run(
        self, cell: Cell, config: DependentPairsConfig, inputs: Mapping[str, Result], job: Job
    ) -> Result:
        case, shared = cell.settings["case"], cell.settings["shared"]
        seen, fresh = (drawer(case, config, each.to(job.device)) for each in (job.train, job.test))
        header = {**cell.settings, "device": job.device, "version": self.version}
        stack = DependentStack(seen, shared, config.critic(case), config, job.device)
        values = train(stack, fresh, config.tested, header, job).tolist()
        values = [[None if math.isnan(each) else each for each in seed] for seed in values]
        return Result({"values": values, **truths(case, config, len(job.train.classes))})

    def metrics(
        self, config: DependentPairsConfig, results: Mapping[str, Result]
    ) -> dict[str, Metric]:
        """Mean value over fresh batches of each case, in nats; None where a critic diverged."""
        found = {}
        for cell in self.cells(config):
            case, shared = cell.settings["case"], cell.settings["shared"]
            for place, name in enumerate(config.estimators):
                values = tuple(seed[place] for seed in results[cell.name].values["values"])
                found[name_of(case, shared, name)] = Metric("nats", values)
        return found

    def arrays(
        self, config: DependentPairsConfig, results: Mapping[str, Result]
    ) -> dict[str, Any]:
        """I(X; Y), I(X; Y | Z) and the best mean of NWJ of each case, in nats."""
        kinds = ("mi", "given", "apart")
        return {
            case: {kind: results[f"{case}-shared"].values[kind] for kind in kinds}
            for case in config.cases
        }

    def full(self, config: DependentPairsConfig) -> bool:
        """As long as the run of the book, far shorter than the paper's, with three seeds."""
        least = DependentPairsConfig()
        return config.steps >= least.steps and len(config.seeds) >= len(least.seeds)


EXPERIMENT = DependentPairs()
