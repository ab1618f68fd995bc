r"""Self-consistency: what estimators say of images, where theory knows ratios.

X is an image, Y_t its top t rows. Three tests ask for relations that hold whatever the images are:

    baseline      I(X; Y_t) is 0 at t = 0 and never falls as t grows
    processing    I([X, X]; [Y_t, Y_{t−3}]) / I(X; Y_t) = 1, since Y_{t−3} is a part of Y_t
    additivity    I([X, X′]; [Y_t, Y′_t]) / I(X; Y_t) = 2, X′ an independent image with its rows

The images of a data set are finitely many, and a batch is drawn from them with replacement. Of this
law the information is known too: I(X; Y_t) is the entropy of Y_t, which counting gives.

    classes       two images of one class, I = H(class)
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import torch

from mlcpc import bounds, critics, estimation, images, problems, runs
from mlcpc.shapes import Int, Tensor

TESTS = ("baseline", "processing", "additivity", "classes")
BACK = 3  # rows that the second copy of Y lacks in the test of processing
Pairs = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class TopRows:
    r"""X an image drawn from finitely many, Y what one of the three tests makes of its top rows.

    .. math:: I(X; Y_t) = H(Y_t) = -\sum_y p(y) \log p(y)

    since Y_t is a function of X. With ``additivity`` it is twice that, with ``processing`` the
    same.

    Args:
        images: (N, H, W) numbers.
        rows: t, from 0 (Y is a constant) to H.
        test: baseline, processing or additivity.

    Raises:
        ValueError: images of another shape, rows out of range, an unknown test; processing needs
            more than 3 rows.

    Source: the tests of Song & Ermon 2020, "Understanding the Limitations of Variational Mutual
    Information Estimators".
    """

    images: Tensor
    rows: int
    test: str = "baseline"

    def __post_init__(self) -> None:
        if self.images.ndim != 3:
            raise ValueError(f"images has shape {tuple(self.images.shape)}; valid: (N, H, W)")
        if self.test not in TESTS[:3]:
            raise ValueError(f"test is {self.test!r}; valid: {', '.join(TESTS[:3])}")
        least = BACK + 1 if self.test == "processing" else 0
        if not least <= self.rows <= self.images.shape[1]:
            raise ValueError(
                f"rows is {self.rows}; valid: {least} to {self.images.shape[1]} for {self.test}"
            )

    @property
    def dim_x(self) -> int:
        return self.images[0].numel() * (1 if self.test == "baseline" else 2)

    @property
    def dim_y(self) -> int:
        return sum(max(1, rows * self.images.shape[2]) for rows in self._shown)

    @property
    def _shown(self) -> tuple[int, ...]:
        """Rows of each part of Y."""
        second = {"processing": (self.rows - BACK,), "additivity": (self.rows,)}
        return (self.rows, *second.get(self.test, ()))

    @cached_property
    def codes(self) -> Int[Tensor, " count"]:
        """A number for each image: the same for two images exactly if their top rows are."""
        if self.rows == 0:
            return torch.zeros(len(self.images), dtype=torch.int64)
        top = self.images[:, : self.rows].flatten(1)
        return torch.unique(top, dim=0, return_inverse=True)[1]

    @cached_property
    def mi(self) -> float:
        """Mutual information in nats, of images drawn with replacement."""
        share = torch.bincount(self.codes).double() / len(self.images)
        entropy = -(share * share.log()).sum().item()
        return entropy * (2 if self.test == "additivity" else 1)

    def sample(self, count: int, generator: torch.Generator) -> Pairs:
        """Draw pairs: x (count, dim_x) and y (count, dim_y)."""
        independent = 2 if self.test == "additivity" else 1
        index = torch.randint(
            len(self.images), (independent, count), generator=generator, device=generator.device
        )
        drawn = [self.images[each] for each in index]
        if self.test == "processing":
            drawn = drawn * 2
        x = torch.cat([each.flatten(1) for each in drawn], dim=1)
        parts = [self._top(each, rows) for each, rows in zip(drawn, self._shown, strict=True)]
        return x, torch.cat(parts, dim=1)

    @staticmethod
    def _top(drawn: Tensor, rows: int) -> Tensor:
        # No row at all is a constant column: a critic needs one input at least.
        return drawn[:, :rows].flatten(1) if rows else drawn.new_zeros(len(drawn), 1)


@dataclass(frozen=True)
class ConsistencyConfig:
    """What is trained for the tests.

    Args:
        data: name of the images, as images.load reads them; their training split.
        rows: t of the baseline.
        ratio_rows: t of processing and additivity; each must be a t of the baseline.
        estimators: bounds with their settings, for the three tests.
        class_estimators: bounds with their settings, for pairs of one class.
        seeds: seeds of samples and first weights; estimators of a seed share both.
        steps: training steps.
        tested: fresh batches that the trained critic is scored on.
        width: units of each hidden layer of the separable critic.
        depth: hidden layers.
        embedding: embedding length.
        batch: pairs of a step, all others of the batch are negatives.
        learning_rate: step size of Adam.

    Raises:
        ValueError: a value outside its range.
    """

    data: str = "fashion-mnist"
    rows: tuple[int, ...] = (0, 1, 4, 14, 28)
    ratio_rows: tuple[int, ...] = (4, 14, 28)
    estimators: tuple[str, ...] = ("cpc:1", "ml_cpc:0.01", "ml_cpc:0.001", "smile:5")
    class_estimators: tuple[str, ...] = (
        "cpc:1",
        "ml_cpc:1",
        "ml_cpc:0.01",
        "ml_cpc:0.001",
        "nwj",
        "js",
        "dv",
        "smile:1",
        "smile:5",
    )
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 1000
    tested: int = 100
    width: int = 128
    depth: int = 2
    embedding: int = 32
    batch: int = 128
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("rows", "ratio_rows", "estimators", "class_estimators", "seeds"):
            value = tuple(getattr(self, name))
            if len(set(value)) < len(value):
                raise ValueError(f"{name} is {value}; valid: no value twice")
            object.__setattr__(self, name, value)
        for name in ("rows", "estimators", "seeds"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty; valid: at least one")
        if self.data not in images.DATASETS:
            raise ValueError(f"data is {self.data!r}; valid: {', '.join(images.DATASETS)}")
        if alone := set(self.ratio_rows) - set(self.rows):
            raise ValueError(f"ratio_rows has {min(alone)}; valid: those of rows, {self.rows}")
        for name, least in (("steps", 1), ("tested", 1), ("batch", 3)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value!r}; valid: an integer of at least {least}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate is {self.learning_rate}; valid: learning_rate > 0")
        self.critic_config()
        for each in map(estimation.Estimator.parse, (*self.estimators, *self.class_estimators)):
            if "cpc" in each.bound:
                bounds.ceiling(self.batch, each.setting)

    def critic_config(self) -> critics.CriticConfig:
        return critics.CriticConfig("separable", self.width, self.depth, self.embedding)


def cells(config: ConsistencyConfig) -> list[dict]:
    """The pieces of work, each one problem: its test and, but for classes, its rows."""
    found = [{"test": "baseline", "rows": rows} for rows in config.rows]
    for test in ("processing", "additivity"):
        found += [{"test": test, "rows": rows} for rows in config.ratio_rows]
    if config.class_estimators:
        found.append({"test": "classes"})
    return found


def problem(cell: dict, data: images.ImageSet) -> TopRows | problems.SameClassImages:
    """The problem of a cell, on standardised images.

    Raises:
        ValueError: colour images, a test or rows out of range.
    """
    if data.images.shape[1] != 1:
        raise ValueError(f"{data.name} has {data.images.shape[1]} channels; valid: 1")
    shown = images.normalise(data.images, data.mean, data.std)[:, 0]
    if cell["test"] == "classes":
        return problems.SameClassImages(shown, data.labels)
    return TopRows(shown, cell["rows"], cell["test"])


def train(
    problem: TopRows | problems.SameClassImages,
    estimators: Sequence[str],
    config: ConsistencyConfig,
    device: str = "cpu",
) -> Tensor:
    """Train a stack of critics on a problem and score it on fresh batches.

    Returns:
        value of each seed and estimator, the mean over the fresh batches in nats, (S, E), float64;
        NaN where a replicate diverged.
    """
    shape = (len(config.seeds), len(estimators))
    critic = critics.build(
        config.critic_config(), problem.dim_x, problem.dim_y, config.seeds, copies=shape[1]
    ).to(device)
    value_of = estimation._Values(
        [estimation.Estimator.parse(each) for each in estimators],
        config.seeds,
        problem.dim_x,
        device,
    )
    parameters = [*critic.parameters(), *value_of.parameters()]
    optimiser = torch.optim.Adam(parameters, config.learning_rate, fused=True)
    generators = [
        torch.Generator(device).manual_seed(estimation.SAMPLE_SEED + seed) for seed in config.seeds
    ]
    alive = torch.ones(shape, dtype=torch.bool, device=device)

    def values() -> Tensor:
        drawn = [problem.sample(config.batch, each) for each in generators]
        x, y = (torch.stack(each) for each in zip(*drawn, strict=True))
        many = shape[1]
        scores = critic(x.repeat_interleave(many, dim=0), y.repeat_interleave(many, dim=0))
        scores = scores.unflatten(0, shape)
        # A replicate that diverged gets zeros, so that no check stops the others.
        alive.logical_and_(scores.detach().sum((-2, -1)).isfinite())
        if not alive.all():
            scores = torch.where(alive[..., None, None], scores, 0.0)
        return value_of(scores, x)

    for _ in range(config.steps):
        found = values()
        optimiser.zero_grad()
        (-found.sum()).backward()
        optimiser.step()
        alive &= found.detach().isfinite()
    with torch.no_grad():
        fresh = torch.stack([values().double() for _ in range(config.tested)])
    mean = fresh.mean(0)
    return mean.where(alive & mean.isfinite(), math.nan).cpu()


def repeats(problem: TopRows) -> list[list[int]]:
    r"""How often top rows repeat: [times, kinds] for each number of times, from once on.

    It says all that the law of Y_t does but the names of its letters: with N images,

    .. math:: H(Y_t) = -\sum_{times} kinds \cdot \frac{times}{N} \log \frac{times}{N}

    Args:
        problem: images and how many of their top rows are kept.
    """
    times, kinds = torch.bincount(problem.codes).unique(return_counts=True)
    return torch.stack([times, kinds], dim=1).tolist()


def name_of(cell: dict, estimator: str) -> str:
    """Name of the metric of a cell: ``additivity t=7 cpc:1``."""
    where = "" if cell["test"] == "classes" else f" t={cell['rows']}"
    return f"{cell['test']}{where} {estimator}"


def estimators_of(cell: dict, config: ConsistencyConfig) -> tuple[str, ...]:
    """Who is trained on the problem of a cell."""
    return config.class_estimators if cell["test"] == "classes" else config.estimators


def profile_of(config: ConsistencyConfig) -> str:
    """A run on all images, as long as that of the book, with a second seed at least, is "full"."""
    least = ConsistencyConfig()
    sizes = ("steps", "tested", "width", "depth", "embedding", "batch")
    whole = all(getattr(config, each) >= getattr(least, each) for each in sizes)
    whole = whole and config.data == least.data and len(config.seeds) >= 2
    return "full" if whole else "quick"


def record(
    config: ConsistencyConfig,
    results: list[dict],
    name: str,
    command: str,
    code: dict[str, str],
    data: images.ImageSet,
) -> runs.Record:
    """A record of all cells: values in nats, ratios to the baseline, and what counting gives.

    Its array ``repeats`` has :func:`repeats` of each t of the baseline: what critics could say at
    best follows from it without the images.

    Args:
        config: what was trained.
        results: one for each of :func:`cells`: ``values`` (seeds × estimators, None where a
            replicate diverged), ``truth`` in nats and ``seconds``.
        name, command, code: as :class:`runs.Record` and :func:`runs.provenance` take them.
        data: the images.
    """
    metrics, truths, lost, base, counted = {}, {}, [], {}, {}
    for cell, result in zip(cells(config), results, strict=True):
        truths[name_of(cell, "truth")] = result["truth"]
        if cell["test"] == "baseline":
            counted[f"t={cell['rows']}"] = repeats(problem(cell, data))
        for place, estimator in enumerate(estimators_of(cell, config)):
            title = name_of(cell, estimator)
            of_seeds = {
                seed: values[place]
                for seed, values in zip(config.seeds, result["values"], strict=True)
            }
            kept = {seed: value for seed, value in of_seeds.items() if value is not None}
            lost += [f"{title} diverged with seed {each}" for each in of_seeds.keys() - kept.keys()]
            if kept:
                metrics[title] = runs.metric(kept.values(), "nats")
            if cell["test"] == "baseline":
                base[cell["rows"], estimator] = kept
            elif cell["test"] in ("processing", "additivity"):
                below = base[cell["rows"], estimator]
                both = [seed for seed in kept if below.get(seed)]
                if both:
                    ratios = [kept[seed] / below[seed] for seed in both]
                    metrics[f"ratio {title}"] = runs.metric(ratios, "1")
    return runs.Record(
        name=name,
        chapter="12_self_consistency",
        profile=profile_of(config),
        command=command,
        config=json.loads(json.dumps(asdict(config))),
        seeds=list(config.seeds),
        metrics=metrics,
        arrays={
            "truths": truths,
            "repeats": counted,
            "diverged": lost,
            "data": data.describe(),
        },
        provenance=runs.provenance(
            code, sum(each["seconds"] for each in results), {data.name: data.sha256}
        ),
    )
