"""Critics of little and of much capacity on the same encoders: the bound against the probe.

Two encoders of image halves are trained with a critic that is bilinear, an inner product, separable
or joint. A richer critic can reach a tighter bound; the question is whether its codes tell a linear
classifier more of the class.

Hypothesis, written before the first run: critics of more capacity give a higher bound on held-out
images, and a probe accuracy that is no higher.

Source: Tschannen et al. 2020, arXiv 1907.13625, section 3.2; there MNIST, 21,000 steps with step
size 1e-4, 20 runs, and a "test" bound that is a mean over training batches. Here it is held out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlcpc import half_encoders
from mlcpc.config import setting
from mlcpc.critics import CriticConfig
from mlcpc.experiments.base import Cell, Experiment, Job, Result
from mlcpc.half_encoders import HalfEncodersConfig
from mlcpc.records import Metric

KINDS = ("inner", "bilinear", "separable", "joint")  # in the order of their capacity


@dataclass(frozen=True)
class CriticCapacityConfig(HalfEncodersConfig):
    """What is trained on the halves of images.

    Settings are declared with their help and range; ``mlcpc run critic_capacity --help`` lists
    them.
    """

    critics: tuple[str, ...] = setting(KINDS, "kinds of critics", choices=KINDS)
    steps: int = setting(500, "training steps", least=1)
    widths: tuple[int, ...] = setting(
        (128, 128, 64), "units of the layers of an encoder; the last is the code", least=1,
        unique=False,
    )  # fmt: skip
    hidden: int = setting(64, "units of the hidden layer of the joint critic", least=1)

    def critic(self, kind: str) -> CriticConfig:
        """A critic with one hidden layer, where it has any; see :mod:`mlcpc.critics`."""
        code = self.widths[-1]
        width = self.hidden if kind == "joint" else code
        return CriticConfig(kind, width, 1, code)


def stack(
    config: CriticCapacityConfig, kind: str, job: Job, encoder: str = "mlp"
) -> half_encoders.HalvesStack:
    """Encoders and critics of one kind, of all seeds and estimators."""
    return half_encoders.HalvesStack(
        {"train": job.train, "test": job.test}, config.estimators, config.seeds, encoder,
        config.widths, config.critic(kind), config.batch, config.steps, config.learning_rate,
        config.probed, device=job.device,
    )  # fmt: skip


def name_of(kind: str, critic: str, estimator: str) -> str:
    """Name of a metric, such as ``bound joint cpc:1``."""
    return f"{kind} {critic} {estimator}"


def curves_of(found: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Steps, and the bound on held-out images by estimator, seed and evaluation, in nats."""
    return {"steps": found["steps"]} | {
        name: [[None if value is None else round(value, 4) for value in of_seed[place]]
               for of_seed in found["test"]]
        for place, name in enumerate(names)
    }  # fmt: skip


class CriticCapacity(Experiment):
    """Train encoders with critics of different capacity: held-out bound against linear probe."""

    name, Config = "critic-capacity", CriticCapacityConfig
    tiny = CriticCapacityConfig(
        dataset="digits", critics=("bilinear", "joint"), estimators=("cpc:1", "nwj"), seeds=(0,),
        steps=50, widths=(32, 8), hidden=32, batch=16, learning_rate=2e-2, probed=500,
    )  # fmt: skip

    def check(self, config: CriticCapacityConfig, job: Job) -> None:
        images = {"train": job.train, "test": job.test}
        half_encoders.cut(job.train.images)
        half_encoders.check_sizes(config.batch, config.probed, images)

    def cells(self, config: CriticCapacityConfig) -> list[Cell]:
        settings = config.to_dict()
        del settings["critics"]
        keys = ("dataset", "seeds", "widths", "estimators", "probed")
        untrained = {key: settings[key] for key in keys}
        found = [Cell(kind, {**settings, "critic": kind}) for kind in config.critics]
        return [Cell("floors", untrained), *found]

    def run(
        self, cell: Cell, config: CriticCapacityConfig, inputs: Mapping[str, Result], job: Job
    ) -> Result:
        if cell.name == "floors":
            found = half_encoders.floors(lambda of: stack(config, "inner", job, of), ("mlp",))
            return Result(found)
        header = {**cell.settings, "device": job.device, "version": self.version}
        made = stack(config, cell.settings["critic"], job)
        return Result(half_encoders.train(made, job.path, header, job.progress))

    def metrics(
        self, config: CriticCapacityConfig, results: Mapping[str, Result]
    ) -> dict[str, Metric]:
        """Bound after the last step on training and held-out images, accuracies, floors."""
        floors = results["floors"].values
        found = {
            "linear pixels": Metric("share", (floors["pixels"],), "run"),
            "linear untrained": Metric("share", tuple(floors["mlp"])),
        }
        for critic in config.critics:
            values = results[critic].values
            for place, name in enumerate(config.estimators):
                for kind, key in (("bound", "test"), ("training bound", "train")):
                    last = tuple(of_seed[place][-1] for of_seed in values[key])
                    found[name_of(kind, critic, name)] = Metric("nats", last)
                linear = tuple(of_seed[place] for of_seed in values["linear"])
                found[name_of("linear", critic, name)] = Metric("share", linear)
        return found

    def arrays(
        self, config: CriticCapacityConfig, results: Mapping[str, Result]
    ) -> dict[str, Any]:
        """The held-out bound of each critic while it is trained."""
        return {each: curves_of(results[each].values, config.estimators)
                for each in config.critics}  # fmt: skip

    def full(self, config: CriticCapacityConfig) -> bool:
        """As long as the run of the book, far shorter than the paper's, on its images and sizes."""
        least = CriticCapacityConfig()
        same = ("dataset", "widths", "hidden", "batch", "probed")
        alike = all(getattr(config, each) == getattr(least, each) for each in same)
        return alike and config.steps >= least.steps and len(config.seeds) >= len(least.seeds)


EXPERIMENT = CriticCapacity()
