"""Encoder or estimator: accuracies of two encoders whose bound is held at the same level.

The loss is \\|J − t\\|, so that every encoder and every estimator reports the same number of nats.
What then decides the accuracy of a linear probe, the architecture or the bound?

Hypothesis, written before the first run: of the variance of the accuracy over (encoder, estimator,
seed), the encoder has a larger share than the estimator at every level that is reached.

Source: Tschannen et al. 2020, arXiv 1907.13625, section 3.3; there t = 2 and 4, 21,000 steps,
channels 64 and 128, a bilinear critic, MNIST. In runs
as short as ours neither a bilinear nor a separable critic reaches 2 nats with NWJ, so the default
is joint.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlcpc import bounds, half_encoders
from mlcpc.config import refuse, setting
from mlcpc.critics import CriticConfig
from mlcpc.estimators import WITH_ALPHA, Estimator
from mlcpc.experiments.base import Cell, Experiment, Job, Result
from mlcpc.experiments.critic_capacity import KINDS, curves_of
from mlcpc.half_encoders import ENCODERS, HalfEncodersConfig
from mlcpc.records import Metric

WITHIN = 0.2  # nats around t that count as reached, on training images


@dataclass(frozen=True)
class MatchedBoundConfig(HalfEncodersConfig):
    """What is trained to the same value.

    Settings are declared with their help and range; ``mlcpc run matched_bound --help`` lists them.
    """

    encoders: tuple[str, ...] = setting(ENCODERS, "kinds of encoders", choices=ENCODERS)
    levels: tuple[float, ...] = setting((1.0, 2.0), "levels t of the bound, in nats", above=0)
    critic: str = setting(
        "joint", "kind of the critic; the paper's is bilinear", choices=KINDS
    )
    steps: int = setting(400, "training steps", least=1)
    widths: tuple[int, ...] = setting(
        (128, 128), "units of the hidden layers of the MLP", least=1, unique=False
    )
    channels: tuple[int, int] = setting((8, 16), "channels of the ConvNet", least=1, unique=False)
    code: int = setting(64, "length of the code", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        for each in map(Estimator.parse, self.estimators):
            if each.bound in WITH_ALPHA:
                most = bounds.ceiling(self.batch, each.setting)
                if max(self.levels) >= most:
                    refuse("levels", max(self.levels), f"below {most:.3f} nats, the ceiling of "
                           f"{each} with a batch of {self.batch}")  # fmt: skip

    def critic_config(self) -> CriticConfig:
        """A critic with one hidden layer as wide as the code, where it has any."""
        return CriticConfig(self.critic, self.code, 1, self.code)

    def widths_of(self, encoder: str) -> tuple[int, ...]:
        """Sizes of an encoder, as :class:`mlcpc.half_encoders.Encoded` takes them."""
        return (*(self.channels if encoder == "conv" else self.widths), self.code)


def stack(
    config: MatchedBoundConfig, encoder: str, job: Job, level: float | None = None
) -> half_encoders.HalvesStack:
    """Encoders of one kind and critics, of all seeds and estimators."""
    return half_encoders.HalvesStack(
        {"train": job.train, "test": job.test}, config.estimators, config.seeds, encoder,
        config.widths_of(encoder), config.critic_config(), config.batch, config.steps,
        config.learning_rate, config.probed, level, job.device,
    )  # fmt: skip


def name_of(kind: str, encoder: str, estimator: str, level: float) -> str:
    """Name of a metric, such as ``linear conv cpc:1 at 2``."""
    return f"{kind} {encoder} {estimator} at {level:g}"


def missed(metrics: Mapping[str, Metric], config: MatchedBoundConfig, level: float) -> list[str]:
    """Encoders and estimators some seed of which did not come within ``WITHIN`` of a level."""
    return [
        f"{encoder} {name}" for encoder in config.encoders for name in config.estimators
        if not all(value is not None and abs(value - level) <= WITHIN for value
                   in metrics[name_of("training bound", encoder, name, level)].values)
    ]  # fmt: skip


class MatchedBound(Experiment):
    """Hold the bound of two encoders at one level: does the encoder or the estimator decide?"""

    name, Config = "matched-bound", MatchedBoundConfig
    tiny = MatchedBoundConfig(
        dataset="digits", levels=(0.5,), estimators=("cpc:1", "nwj"), seeds=(0,), steps=50,
        widths=(32,), channels=(4, 8), code=8, batch=16, learning_rate=2e-2, probed=500,
        critic="bilinear",
    )  # fmt: skip

    def check(self, config: MatchedBoundConfig, job: Job) -> None:
        half_encoders.cut(job.train.images)
        images = {"train": job.train, "test": job.test}
        half_encoders.check_sizes(config.batch, config.probed, images)

    def cells(self, config: MatchedBoundConfig) -> list[Cell]:
        settings = config.to_dict()
        del settings["encoders"], settings["levels"]
        keys = ("dataset", "seeds", "widths", "channels", "code", "estimators", "probed")
        untrained = {key: settings[key] for key in keys} | {"encoders": list(config.encoders)}
        return [Cell("floors", untrained)] + [
            Cell(f"{encoder}-at-{level:g}", {**settings, "encoder": encoder, "level": level})
            for level in config.levels for encoder in config.encoders
        ]  # fmt: skip

    def run(
        self, cell: Cell, config: MatchedBoundConfig, inputs: Mapping[str, Result], job: Job
    ) -> Result:
        if cell.name == "floors":
            return Result(half_encoders.floors(lambda of: stack(config, of, job), config.encoders))
        header = {**cell.settings, "device": job.device, "version": self.version}
        made = stack(config, cell.settings["encoder"], job, cell.settings["level"])
        return Result(half_encoders.train(made, job.path, header, job.progress))

    def metrics(
        self, config: MatchedBoundConfig, results: Mapping[str, Result]
    ) -> dict[str, Metric]:
        """Bound after the last step on training and held-out images, accuracies, floors."""
        floors = results["floors"].values
        found = {"linear pixels": Metric("share", (floors["pixels"],), "run")}
        for encoder in config.encoders:
            found[f"linear untrained {encoder}"] = Metric("share", tuple(floors[encoder]))
            for level in config.levels:
                values = results[f"{encoder}-at-{level:g}"].values
                for place, name in enumerate(config.estimators):
                    for kind, key in (("bound", "test"), ("training bound", "train")):
                        last = tuple(of_seed[place][-1] for of_seed in values[key])
                        found[name_of(kind, encoder, name, level)] = Metric("nats", last)
                    linear = tuple(of_seed[place] for of_seed in values["linear"])
                    found[name_of("linear", encoder, name, level)] = Metric("share", linear)
        return found

    def arrays(self, config: MatchedBoundConfig, results: Mapping[str, Result]) -> dict[str, Any]:
        """The held-out bound while it is trained, and who did not reach a level."""
        metrics = self.metrics(config, results)
        curves = {name: curves_of(each.values, config.estimators)
                  for name, each in results.items() if name != "floors"}  # fmt: skip
        lost = [f"{each} did not reach {level:g} nats with every seed"
                  for level in config.levels for each in missed(metrics, config, level)]
        return {**curves, "warnings": lost}

    def full(self, config: MatchedBoundConfig) -> bool:
        """As long as the run of the book, far shorter than the paper's, on its images and sizes."""
        least = MatchedBoundConfig()
        same = ("dataset", "widths", "channels", "code", "critic", "batch", "probed")
        alike = all(getattr(config, each) == getattr(least, each) for each in same)
        return alike and config.steps >= least.steps and len(config.seeds) >= len(least.seeds)


EXPERIMENT = MatchedBound()
