"""Critics of many seeds and estimators, trained side by side in one program."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from mlcpc import bounds, critics, estimators, training
from mlcpc.config import refuse
from mlcpc.estimators import SAMPLE_SEED, WITH_ALPHA, Estimator
from mlcpc.shapes import Tensor


class _State(nn.Module):
    """What a stack keeps beside its weights: values so far, who is alive, averages of MINE."""

    def __init__(self, values: Tensor, alive: Tensor, averages: Tensor) -> None:
        super().__init__()
        self.register_buffer("values", values)  # (steps, seeds, estimators), NaN where diverged
        self.register_buffer("alive", alive)
        self.register_buffer("averages", averages)


def check_estimators(names: Sequence[str], batch: int) -> None:
    """Refuse estimators with a state of their own, and weights beyond the batch.

    Raises:
        ValueError: one of these.
    """
    for each in map(Estimator.parse, names):
        if each.bound in ("mine", "ml_cpc_fresh"):
            refuse("estimators", str(each), "bounds of the scores of one batch alone")
        if each.bound in WITH_ALPHA:
            bounds.ceiling(batch, each.setting)


class Stack(training.Trainee):
    """A critic for each seed and estimator; a subclass says by :meth:`draw` what they see.

    An epoch of the training loop is a block of steps, whose samples are drawn at once. A critic
    that diverged gets zeros for scores, so that it does not stop the others; its values are NaN.

    Args:
        names: estimators such as "ml_cpc:0.1".
        seeds: random seeds of samples and first weights; the estimators of a seed share both.
        config: kind and sizes of the critics.
        dims: widths of x and of y.
        learning_rate: step size of Adam.
        steps: steps of each block.
        device: cpu or cuda.
        share: estimators of a seed whose gradients are the same train one critic together, such as
            Jensen-Shannon and SMILE with every clip; to the same values, at a part of the cost.
    """

    def __init__(
        self,
        names: Sequence[str],
        seeds: Sequence[int],
        config: critics.CriticConfig,
        dims: tuple[int, int],
        learning_rate: float,
        steps: Sequence[int],
        device: str = "cpu",
        share: bool = False,
    ) -> None:
        members = [Estimator.parse(each) for each in names]
        trainers = [estimators.trainer(each) if share else i for i, each in enumerate(members)]
        kinds = list(dict.fromkeys(trainers))
        self.critic_of = [kinds.index(each) for each in trainers]  # place of each one's critic
        self.weight = 1 / torch.tensor([trainers.count(each) for each in trainers], device=device)
        self.title, self.steps = f"seeds {' '.join(map(str, seeds))}", list(steps)
        self.shape = (len(seeds), len(members))
        self.critic = self.build(config, dims, seeds, len(kinds)).to(device)
        self.value_of = estimators.Values(members, seeds, dims[0], device)
        self.state = _State(
            torch.full((sum(steps), *self.shape), math.nan),
            torch.ones(self.shape, dtype=torch.bool, device=device),
            self.value_of.averages,
        )
        self.modules = {"critic": self.critic, "state": self.state}
        if self.value_of.baseline is not None:
            self.modules["baseline"] = self.value_of.baseline
        parameters = [*self.critic.parameters(), *self.value_of.parameters()]
        self.optimiser = torch.optim.Adam(parameters, learning_rate, fused=True)
        self.generators = [
            torch.Generator(device).manual_seed(SAMPLE_SEED + seed) for seed in seeds
        ]

    def build(
        self, config: critics.CriticConfig, dims: tuple[int, int], seeds: Sequence[int], copies: int
    ) -> nn.Module:
        """The critics; a subclass may put encoders before them."""
        return critics.build(config, *dims, seeds, copies=copies)

    def objective(self, values: Tensor) -> Tensor:
        """What each seed and estimator makes large, from its value in nats: the value itself."""
        return values

    def draw(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Samples of a block: x (steps, n, seeds, d) and y (steps, n or more, seeds, d)."""
        raise NotImplementedError

    def begin(self, epoch: int) -> None:
        self.x, self.y = self.draw(epoch)
        self.block = torch.empty(self.steps[epoch], *self.shape, device=self.x.device)

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        """Value of each seed and estimator, in nats, of x (n, seeds, d) and y."""
        x, y = (each.transpose(0, 1).contiguous() for each in (x, y))
        many, alive = max(self.critic_of) + 1, self.state.alive
        scores = self.critic(x.repeat_interleave(many, dim=0), y.repeat_interleave(many, dim=0))
        scores = scores.unflatten(0, (self.shape[0], many))
        if many < self.shape[1]:
            scores = scores[:, self.critic_of]
        alive &= scores.detach().sum((-2, -1)).isfinite()
        if not alive.all():
            scores = torch.where(alive[..., None, None], scores, 0.0)
        return self.value_of(scores, x)

    def step(self, epoch: int, step: int) -> dict[str, Tensor]:
        values, alive = self.values(self.x[step], self.y[step]), self.state.alive
        self.optimiser.zero_grad()
        (-(self.objective(values) * self.weight).sum()).backward()
        self.optimiser.step()
        values = values.detach()
        alive &= values.isfinite()
        self.block[step] = values.where(alive, math.nan)
        return {"loss": -values.where(alive, 0.0).sum() / alive.sum().clamp(min=1)}

    def end(self, epoch: int) -> dict[str, float]:
        begin = sum(self.steps[:epoch])
        self.state.values[begin : begin + len(self.block)] = self.block.cpu()
        return {}

    def say(self, parts: dict[str, Tensor], seconds: float, step: int) -> str:
        return f"mean value {-float(parts['loss']):.2f} nats"
