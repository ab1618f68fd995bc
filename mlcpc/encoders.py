r"""Encoders that learn without labels, and what their frozen features know of the labels.

:class:`Encoder` maps images to embeddings of unit norm. :func:`features` gives what stands before
its projection, :func:`evaluate` asks these features about the labels, :func:`floors` says what
training must beat, and :func:`load` reads the weights that ``mlcpc run pretrain`` left.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mlcpc import files, images, networks, probes
from mlcpc.datasets import ImageSet
from mlcpc.shapes import Float, Tensor

Pixels = Float[Tensor, "n channels height width"]
# Kind of number that :func:`evaluate` gives → its unit.
UNITS = {"knn": "share", "linear": "share", "spread": "1", "effective rank": "dimensions"}


class Encoder(nn.Module):
    """A network and a projection: images to embeddings of unit norm.

    Args:
        network: name of the network, one of networks.NETWORKS.
        in_channels: channels of an image.
        dim: length of an embedding.
        projection: mlp or linear, the map from features to embeddings.
        stem_stride, norm_groups: as in :func:`mlcpc.networks.build`.

    Raises:
        ValueError: a name or a number outside its range.
    """

    def __init__(
        self,
        network: str,
        in_channels: int,
        dim: int = 128,
        projection: str = "mlp",
        stem_stride: int = 1,
        norm_groups: int = 1,
    ) -> None:
        super().__init__()
        sizes = {"stem_stride": stem_stride, "norm_groups": norm_groups}
        self.network = networks.build(network, 0, in_channels, **sizes)
        self.projection = networks.Projection(self.network.feature_dim, dim, projection)

    def forward(self, pixels: Pixels) -> Float[Tensor, "n dim"]:
        return self.projection(self.network(pixels))


def untrained(seed: int, network: str, in_channels: int, **more: Any) -> Encoder:
    """An encoder before any step, on the CPU; PyTorch's own generator is left as it was.

    Args:
        seed: random seed of its weights.
        network, in_channels, more: as for :class:`Encoder`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        return Encoder(network, in_channels, **more)


def features(
    network: networks.Network, of: ImageSet, like: ImageSet
) -> Float[Tensor, "count features"]:
    """Features of a set of images, normalised by the mean and the deviation of another."""
    batches = (images.normalise(part, like.mean, like.std) for part in of.images.split(500))
    return probes.features_of(network, batches)


def evaluate(
    learned: Float[Tensor, "train d"],
    asked: Float[Tensor, "test d"],
    train: ImageSet,
    test: ImageSet,
    seed: int = 0,
) -> dict[str, float]:
    """What features know of the labels, and whether they have collapsed.

    Args:
        learned, asked: features of the training and of the test images.
        train, test: the images.
        seed: random seed that draws the part of the training set on which the penalty of the
            linear probe is chosen.

    Returns:
        knn and linear, which are accuracies on the test set, and spread and effective rank of the
        training features.
    """
    linear = probes.linear_probe(learned, train.labels, asked, seed=seed).predicted
    return {
        "knn": probes.accuracy(probes.knn(learned, train.labels, asked), test.labels),
        "linear": probes.accuracy(linear, test.labels),
        "spread": probes.spread(learned),
        "effective rank": probes.effective_rank(learned),
    }


def evaluate_network(
    network: networks.Network, train: ImageSet, test: ImageSet, seed: int = 0
) -> dict[str, float]:
    """:func:`evaluate` of the features of a network, normalised by the training images."""
    return evaluate(*(features(network, each, train) for each in (train, test)), train, test, seed)


def evaluate_pixels(train: ImageSet, test: ImageSet) -> dict[str, float]:
    """:func:`evaluate` of the pixels themselves, the floor of no network at all."""
    plain = (images.normalise(each.images, train.mean, train.std) for each in (train, test))
    return evaluate(*probes.pixels(*plain), train, test)


def floors(
    encoder: Mapping[str, Any], seed: int, train: ImageSet, test: ImageSet
) -> dict[str, dict[str, float]]:
    """What training must beat: the pixels, and the network of a seed before any step.

    Args:
        encoder: arguments of :class:`Encoder`, without the channels.
        seed: random seed of the untrained weights, and as in :func:`evaluate`.
        train, test: the images.

    Returns:
        pixels and untrained, each as :func:`evaluate` gives it.
    """
    network = untrained(seed, in_channels=train.images.shape[1], **encoder).network
    return {
        "pixels": evaluate_pixels(train, test),
        "untrained": evaluate_network(network, train, test, seed),
    }


def load(path: str | Path) -> tuple[Encoder, dict[str, Any]]:
    """Read an encoder that ``mlcpc run pretrain`` left in the folder of the weights.

    Returns:
        the encoder in evaluation mode, and the settings of its training, "seed" among them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, or one that holds no encoder of ours.
    """
    tensors, state = files.load_state(Path(path))
    try:
        settings = state["header"]["settings"]
        encoder = untrained(0, in_channels=state["values"]["in_channels"], **arguments(settings))
        encoder.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} holds no pretrained encoder: {error!r}") from None
    return encoder.eval(), settings


def arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings of a training that say what its encoder is."""
    names = ("network", "dim", "projection", "stem_stride", "norm_groups")
    return {name: settings[name] for name in names}
