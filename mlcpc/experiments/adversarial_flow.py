r"""An encoder that loses nothing and hides everything from a linear classifier.

A flow g with scales is trained against a linear classifier of its codes: the classifier takes a few
steps on the labels for each step of g, which asks for equal probabilities of all classes. Then a
new linear classifier is fitted to the codes, to its end. Expected before any run:

    accuracy   of the new classifier falls below that of the pixels
    inverse    of the flow is right in float32, so that I(g(X); Y) = I(X; Y) all the same, and the
               pixels, taken back from the codes, have the accuracy that they had

Source: Tschannen et al. 2019, arXiv 1907.13625, section 3.1. Their scale is a softplus + 1e-7,
their flow has 30 couplings and 4,001 steps at 1e-5, ten of the classifier for each. Here a scale
lies between 1/stretch and stretch: with factors up to 1,000 a flow of four couplings is no longer
invertible in float32 after 20 steps, and the run stops. So few steps need larger ones. Step sizes
were chosen in four trials with seed 0, by the accuracy itself, and so seed 0 is no default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mlcpc import flows, training
from mlcpc.config import setting
from mlcpc.experiments.base import Cell, Experiment, Job, Result
from mlcpc.experiments.halves import Halves, HalvesConfig, halves, probe
from mlcpc.records import Metric
from mlcpc.shapes import Tensor

_BATCH, _CHECKED = 4, 1000  # a stream of random numbers; test images that are taken back


@dataclass(frozen=True)
class AdversarialFlowConfig(HalvesConfig):
    """The flow, its opponent, and how they take turns.

    Settings are declared with their help and range; ``mlcpc run adversarial-flow --help`` lists
    them.
    """

    seeds: tuple[int, ...] = setting(
        (1, 2, 3), "random seeds of weights, batches and the probe", least=0
    )
    steps: int = setting(80, "training steps of the flow", least=1)
    every: int = setting(20, "steps of the flow between two looks at the probe", least=1)
    batch: int = setting(128, "images of a step", least=1)
    learning_rate: float = setting(2e-3, "step size of Adam for the flow", above=0)
    classifier_rate: float = setting(3e-3, "step size of Adam for the classifier", above=0)
    classifier_steps: int = setting(3, "steps of the classifier for each of the flow", least=1)
    warm_up: int = setting(100, "steps of the classifier before the first of the flow", least=0)
    couplings: int = setting(4, "couplings of the flow", least=1)
    width: int = setting(128, "units of each hidden layer of a coupling", least=1)
    stretch: float = setting(1.5, "largest factor of the scale of a coupling", above=1)


class Duel(training.Trainee):
    """A flow and a linear classifier of its codes, taking turns."""

    def __init__(self, of: Halves, config: AdversarialFlowConfig, seed: int) -> None:
        self.title, self.of, self.config, self.seed = f"seed {seed}", of, config, seed
        self.flow = flows.Flow(of.dim, config.couplings, config.width, config.stretch, seed)
        self.classifier = nn.Linear(of.dim, int(of.labels.max()) + 1)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)
        self.modules = {"flow": self.flow, "classifier": self.classifier}
        self.optimiser = torch.optim.Adam([
            {"params": list(self.flow.parameters()), "lr": config.learning_rate},
            {"params": list(self.classifier.parameters()), "lr": config.classifier_rate},
        ])  # fmt: skip
        begins = range(0, config.steps, config.every)
        self.steps = [min(config.every, config.steps - begin) for begin in begins]

    def drawn(self, *key: int) -> tuple[Tensor, Tensor]:
        """A batch of rows and labels."""
        generator = training.generator(_BATCH, self.seed, *key)
        rows = torch.randint(len(self.of.x), (self.config.batch,), generator=generator)
        return self.of.x[rows], self.of.labels[rows]

    def descend(self, loss: Tensor) -> None:
        """Move what the loss depends on; a parameter without a gradient stays as it is."""
        training.refuse_infinite(loss)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    def teach(self, *key: int) -> Tensor:
        """One step of the classifier."""
        x, labels = self.drawn(*key)
        with torch.no_grad():
            codes = self.flow(x)
        loss = nn.functional.cross_entropy(self.classifier(codes), labels)
        self.descend(loss)
        return loss.detach()

    def step(self, epoch: int, step: int) -> dict[str, Tensor]:
        first = epoch == step == 0
        for turn in range(self.config.classifier_steps + first * self.config.warm_up):
            of_classifier = self.teach(epoch, step, turn + 1)
        x, _ = self.drawn(epoch, step, 0)
        weights = (each.detach() for each in (self.classifier.weight, self.classifier.bias))
        logits = nn.functional.linear(self.flow(x), *weights)
        loss = -logits.log_softmax(1).mean()  # cross entropy to equal probabilities
        self.descend(loss)
        return {"loss": loss.detach(), "classifier": of_classifier}

    def end(self, epoch: int) -> dict[str, float]:
        training.refuse_broken(self.modules)
        return self.seen(sum(self.steps[: epoch + 1]))

    def seen(self, step: int) -> dict[str, float]:
        """Accuracy of a new linear classifier, and the largest error of the inverse."""
        error = flows.check_invertible(self.flow, self.of.test_x[:_CHECKED], step)
        accuracy = probe(self.flow, self.of, self.config.probed, self.seed)
        return {"step": step, "inverse error": error, "accuracy": accuracy}


class AdversarialFlow(Experiment):
    """Train an invertible encoder against a linear classifier of its codes."""

    name, version, Config = "adversarial-flow", 2, AdversarialFlowConfig
    tiny = AdversarialFlowConfig(
        dataset="digits", seeds=(0, 1), steps=3, every=2, batch=16, probed=200, couplings=2,
        width=8, classifier_steps=2, warm_up=3,
    )  # fmt: skip

    def check(self, config: AdversarialFlowConfig, job: Job) -> None:
        halves(config, job)

    def cells(self, config: AdversarialFlowConfig) -> list[Cell]:
        settings = config.to_dict()
        del settings["seeds"]
        return [Cell(f"seed-{seed}", {**settings, "seed": seed}) for seed in config.seeds]

    def run(
        self, cell: Cell, config: AdversarialFlowConfig, inputs: Mapping[str, Result], job: Job
    ) -> Result:
        of, seed = halves(config, job), cell.settings["seed"]
        duel = Duel(of, config, seed)
        first = duel.seen(0)
        header = {**cell.settings, "experiment": self.name}
        curve = [first, *training.fit(duel, job.path, header, 1, job.progress)]
        back = probe(lambda x: duel.flow.inverse(duel.flow(x)), of, config.probed, seed)
        pixels = probe(lambda x: x, of, config.probed, seed)
        return Result({"curve": curve, "pixels": pixels, "taken back": back})

    def metrics(
        self, config: AdversarialFlowConfig, results: Mapping[str, Result]
    ) -> dict[str, Metric]:
        seeds = [each.values for each in results.values()]
        return {
            "accuracy pixels": Metric("share", tuple(each["pixels"] for each in seeds)),
            "accuracy": Metric("share", tuple(each["curve"][-1]["accuracy"] for each in seeds)),
            "accuracy taken back": Metric("share", tuple(each["taken back"] for each in seeds)),
        }

    def arrays(
        self, config: AdversarialFlowConfig, results: Mapping[str, Result]
    ) -> dict[str, Any]:
        """Steps; accuracy of a new classifier and error of the inverse: seeds → steps."""
        curves = [each.values["curve"] for each in results.values()]
        return {
            "steps": [look["step"] for look in curves[0]],
            **{key: [[look[key] for look in curve] for curve in curves]
               for key in ("accuracy", "inverse error")},
        }  # fmt: skip

    def full(self, config: AdversarialFlowConfig) -> bool:
        """On all images, with three seeds, half of the paper's steps."""
        return config.steps >= 2000 and len(config.seeds) >= 3 and config.dataset == "fashion-mnist"


EXPERIMENT = AdversarialFlow()
