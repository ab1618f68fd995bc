"""Encoders of the two halves of an image, trained with a critic, and what a linear probe reads.

x is the top half of an image and y its bottom half. Two encoders g and h of one shape, with weights
of their own, and a critic f are trained together on a bound on I(g(x); h(y)). Everything carries a
leading dimension of replicates, as in :mod:`mlcpc.critics`, so many seeds and estimators run as one
program.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mlcpc import critics, datasets, probes, training
from mlcpc.config import Config, refuse, setting
from mlcpc.shapes import Float, Int, Tensor
from mlcpc.stacks import Stack, check_estimators

ENCODERS = ("mlp", "conv")
_BLOCK = 50  # steps of an epoch of the training loop

Half = Float[Tensor, "count pixels"]


@dataclass(frozen=True)
class HalfEncodersConfig(Config):
    """What every training of encoders of halves has to say.

    Raises:
        ValueError: estimators with a state of their own, weights beyond the batch.
    """

    dataset: str = setting(
        "fashion-mnist-subset", "name of the images", choices=lambda: tuple(datasets.DATASETS)
    )
    estimators: tuple[str, ...] = setting(
        ("cpc:1", "nwj", "ml_cpc:1"), "bounds with their settings"
    )
    seeds: tuple[int, ...] = setting(
        (0, 1, 2), "random seeds of first weights and batches; all cells share both", least=0
    )
    batch: int = setting(64, "pairs of a step; all others of the batch are negatives", least=3)
    probed: int = setting(3000, "training images that the linear probe is fitted on", least=100)
    learning_rate: float = setting(1e-3, "step size of Adam", above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_estimators(self.estimators, self.batch)


def cut(images: Tensor) -> tuple[Half, Half]:
    """Top and bottom half of uint8 images (N, 1, H, W) as rows (N, H W/2) from 0 to 1.

    Raises:
        ValueError: colour images, or an odd number of rows of pixels.
    """
    datasets.check_images(images)
    channels, height = images.shape[1:3]
    if channels != 1 or height % 2:
        raise ValueError(
            f"images have {channels} channels and {height} rows; valid: 1 channel, an even number"
        )
    top, bottom = (images / 255).split(height // 2, dim=2)
    return top.flatten(1), bottom.flatten(1)


class ConvEncoder(nn.Module):
    """A stack of small convolutional encoders, (R, n, pixels) → (R, n, code).

    Two 5 × 5 convolutions with stride 2 and rectifiers, layer normalisation over all of an image,
    the mean over positions, one linear layer.

    Source: the ConvNet of Tschannen et al. 2020, section 3.3, there with 64 and 128 channels.
    """

    def __init__(
        self, start: Any, shape: tuple[int, int], channels: tuple[int, int], code: int
    ) -> None:
        super().__init__()
        first, second = channels
        self.shape = shape
        self.first = start(first, 1, 5, 5, inputs=25)
        self.second = start(second, first, 5, 5, inputs=25 * first)
        self.last = start(second, code, inputs=second)
        self.bias = start(1, code, inputs=second)

    def forward(self, x: Float[Tensor, "replicates n pixels"]) -> Tensor:
        images = x.unflatten(-1, (1, *self.shape))
        pooled = []
        for one, first, second in zip(images, self.first, self.second, strict=True):
            hidden = nn.functional.conv2d(one, first, stride=2, padding=2).relu()
            hidden = nn.functional.conv2d(hidden, second, stride=2, padding=2).relu()
            pooled.append(nn.functional.layer_norm(hidden, hidden.shape[1:]).mean((-2, -1)))
        return torch.baddbmm(self.bias, torch.stack(pooled), self.last)


class Encoded(nn.Module):
    """A stack of f(g(x), h(y)): two encoders and a critic of their codes.

    Args:
        encoder: "mlp", of hidden layers ``widths[:-1]`` and a code of ``widths[-1]`` numbers, or
            "conv", of channels ``widths[:2]`` and that code.
        widths: see above.
        critic: kind and sizes of the critic.
        shape: height and width of half an image.
        seeds, copies: as for :func:`mlcpc.critics.build`.

    Raises:
        ValueError: an unknown encoder, a wrong number of widths.
    """

    def __init__(
        self, encoder: str, widths: Sequence[int], critic: critics.CriticConfig,
        shape: tuple[int, int], seeds: Sequence[int], copies: int,
    ) -> None:  # fmt: skip
        super().__init__()
        if encoder not in ENCODERS:
            refuse("encoder", encoder, ", ".join(ENCODERS))
        if encoder == "conv" and len(widths) != 3:
            refuse("widths", widths, "two numbers of channels and the length of the code")
        # Three streams, so that no part repeats the first weights of another.
        for part, name in enumerate(("of_x", "of_y")):
            generators = [training.generator(seed, 17 + part) for seed in seeds]
            start = critics._Start(generators, copies)
            if encoder == "mlp":
                made = critics.MLP(start, [math.prod(shape), *widths])
            else:
                made = ConvEncoder(start, shape, tuple(widths[:2]), widths[2])
            self.add_module(name, made)
        self.critic = critics.build(critic, widths[-1], widths[-1], seeds, copies)

    def forward(self, x: critics.X, y: critics.Y) -> critics.AllPairs:
        return self.critic(self.of_x(x), self.of_y(y))


class HalvesStack(Stack):
    """Encoders and critics of all seeds and estimators on the halves of one set of images.

    A batch holds different images. After each block the bound is taken on held-out images too.

    Args:
        images: training and held-out images.
        names: estimators.
        seeds: random seeds of first weights and batches; the estimators of a seed share both.
        encoder, widths, critic: as for :class:`Encoded`.
        batch: pairs of a step.
        steps: training steps.
        learning_rate: step size of Adam.
        probed: training images that a probe is fitted on.
        level: level t at which the loss |J − t| holds the values, in nats; None lets them grow.
        device: cpu or cuda.

    Raises:
        ValueError: as :func:`split`; fewer images than a batch holds.
    """

    def __init__(
        self, images: Mapping[str, datasets.ImageSet], names: Sequence[str], seeds: Sequence[int],
        encoder: str, widths: Sequence[int], critic: critics.CriticConfig, batch: int, steps: int,
        learning_rate: float, probed: int, level: float | None = None, device: str = "cpu",
    ) -> None:  # fmt: skip
        self.encoder, self.widths, self.batch, self.level = encoder, widths, batch, level
        self.data = {
            key: [half.to(device) for half in cut(each.images)] for key, each in images.items()
        }
        self.labels = {"train": images["train"].labels[:probed], "test": images["test"].labels}
        height, width = images["train"].images.shape[2:]
        self.half = (height // 2, width)
        check_sizes(batch, probed, images)
        pixels = math.prod(self.half)
        blocks = [min(_BLOCK, steps - begin) for begin in range(0, steps, _BLOCK)]
        super().__init__(
            names, seeds, critic, (pixels, pixels), learning_rate, blocks, device
        )
        kept = torch.full((len(blocks), len(images), *self.shape), math.nan, dtype=torch.float64)
        self.state.register_buffer("on_sets", kept)  # the bound on each set after each block

    def build(
        self, config: critics.CriticConfig, dims: tuple[int, int], seeds: Sequence[int], copies: int
    ) -> nn.Module:
        return Encoded(self.encoder, self.widths, config, self.half, seeds, copies)

    def objective(self, values: Tensor) -> Tensor:
        return values if self.level is None else -(values - self.level).abs()

    def draw(self, epoch: int) -> tuple[Tensor, Tensor]:
        x, y = self.data["train"]
        drawn = []
        for generator in self.generators:
            orders = [torch.randperm(len(x), generator=generator, device=x.device)[: self.batch]
                      for _ in range(self.steps[epoch])]  # fmt: skip
            drawn.append(torch.stack(orders))
        places = torch.stack(drawn, dim=2)  # (steps, n, seeds)
        return x[places], y[places]

    def end(self, epoch: int) -> dict[str, float]:
        self.state.on_sets[epoch] = torch.stack([self.value_on(key) for key in self.data]).cpu()
        return super().end(epoch)

    @torch.no_grad()
    def value_on(self, key: str) -> Tensor:
        """Mean value on batches of up to 1,000 images of a set: (seeds, estimators), in nats.

        The batches are the same at every call, and no image is in two. NaN where a critic diverged.
        """
        x, y = self.data[key]
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        order = order[:1000].to(x.device)
        found = []
        for part in order.split(self.batch)[: len(order) // self.batch]:
            same = [half[part][:, None].expand(-1, self.shape[0], -1) for half in (x, y)]
            found.append(self.values(*same))
        mean = torch.stack(found).double().mean(0)
        return mean.where(self.state.alive, math.nan)

    @torch.no_grad()
    def codes(self, key: str) -> Float[Tensor, "replicates count code"]:
        """Codes g(x) of the probe's top halves; replicate s · E + e is of seed s, estimator e."""
        x, replicates = self.data[key][0][: len(self.labels[key])], math.prod(self.shape)
        parts = [self.critic.of_x(part[None].expand(replicates, -1, -1)) for part in x.split(500)]
        return torch.cat(parts, dim=1)

    def probe(self) -> list[list[float | None]]:
        """Accuracy of a linear probe of g(x) on the held-out images, by seed and estimator.

        None where a critic diverged, or where codes are not finite.
        """
        codes, (seeds, estimators) = {key: self.codes(key) for key in self.data}, self.shape
        alive = self.state.alive.flatten().tolist()
        found = []
        for place in range(seeds * estimators):
            both = [codes[key][place].cpu() for key in ("train", "test")]
            good = alive[place] and all(bool(each.isfinite().all()) for each in both)
            found.append(accuracy(*both, self.labels) if good else None)
        return [found[i : i + estimators] for i in range(0, len(found), estimators)]


def accuracy(
    train: Float[Tensor, "train d"], test: Float[Tensor, "test d"],
    labels: Mapping[str, Int[Tensor, " count"]],
) -> float:  # fmt: skip
    """Share of the held-out labels that a linear probe of features reads.

    The penalty of the probe is chosen on training images, see :func:`mlcpc.probes.linear_probe`.
    """
    import warnings

    with warnings.catch_warnings():  # of the weakest penalty: that is a choice, and no fault
        warnings.simplefilter("ignore", UserWarning)
        found = probes.linear_probe(train, labels["train"], test)
    return probes.accuracy(found.predicted, labels["test"])


def check_sizes(batch: int, probed: int, images: Mapping[str, datasets.ImageSet]) -> None:
    """Refuse a batch that a set cannot fill with different images, or a probe of too many."""
    least, most = min(map(len, images.values())), len(images["train"])
    if batch > least:
        refuse("batch", batch, f"at most {least}, the images of the smaller set")
    if probed > most:
        refuse("probed", probed, f"at most {most}, the training images")


def train(
    stack: HalvesStack, path: Any, header: Mapping[str, Any], progress: bool
) -> dict[str, Any]:
    """Train a stack and ask what it knows.

    Returns:
        steps of the evaluations; "train" and "test" values of the bound at each of them, in nats,
        as lists (seeds, estimators, evaluations), None where a critic diverged; accuracies
        "linear" at the end, (seeds, estimators).
    """
    training.fit(stack, path, header, 5, progress)
    found: dict[str, Any] = {"steps": torch.tensor(stack.steps).cumsum(0).tolist()}
    curves = stack.state.on_sets.permute(1, 2, 3, 0).tolist()  # (sets, seeds, estimators, blocks)
    for key, of_key in zip(stack.data, curves, strict=True):
        found[key] = [[list(map(_kept, each)) for each in of_seed] for of_seed in of_key]
    return found | {"linear": stack.probe()}


def floors(make: Callable[[str], HalvesStack], encoders: Sequence[str]) -> dict[str, Any]:
    """What training must beat: the pixels, and encoders before the first step, by seed.

    Args:
        make: gives the stack of an encoder; only its first estimator is asked.
        encoders: names of encoders.
    """
    found: dict[str, Any] = {}
    for encoder in encoders:
        stack = make(encoder)
        found[encoder] = [of_seed[0] for of_seed in stack.probe()]
    tops = [stack.data[key][0][: len(stack.labels[key])].cpu() for key in ("train", "test")]
    return found | {"pixels": accuracy(*tops, stack.labels)}


def _kept(value: float) -> float | None:
    return value if math.isfinite(value) else None
