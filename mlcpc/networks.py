r"""Encoders for small images, and the families of the 13 teacher-student pairs.

Every network is a :class:`Network`: a body that turns images into a feature map, the mean of that
map over its positions (the features), and a linear classifier on the features.

| names | paper |
|---|---|
| resnet8 to resnet110, resnet8x4, resnet32x4, resnet8x2 | He et al. 2016, arXiv 1512.03385 |
| ResNet18, ResNet50 | the same, with the first layer that suits small images |
| wrn-16-1 to wrn-40-2, and any wrn-d-k | Zagoruyko & Komodakis 2016, arXiv 1605.07146 |
| vgg8 to vgg19 | Simonyan & Zisserman 2015, arXiv 1409.1556, with batch normalisation |
| MobileNetV2 | Sandler et al. 2018, arXiv 1801.04381, half width |
| ShuffleNetV1 | Zhang et al. 2018, arXiv 1707.01083 |
| ShuffleNetV2 | Ma et al. 2018, arXiv 1807.11164 |

Where the networks that the literature on the 13 pairs trains differ from their papers, these are
the literature's: its accuracies belong to them. Each such place says so.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from mlcpc.config import check_count, refuse
from mlcpc.shapes import Float, Tensor

Images = Float[Tensor, "n channels height width"]
Logits = Float[Tensor, "n classes"]
Features = Float[Tensor, "n features"]


class Network(nn.Module):
    """An image classifier whose penultimate features are at hand.

    Args:
        body: module that turns images (n, channels, h, w) into a map (n, feature_dim, h', w').
        feature_dim: channels of that map.
        num_classes: logits; 0 for no classifier, and a call then gives the features.
        in_channels: channels of an image.
        least_side: smallest height and width of an image.

    A call returns logits (n, num_classes), before any softmax.
    """

    def __init__(
        self, body: nn.Module, feature_dim: int, num_classes: int, in_channels: int,
        least_side: int = 8,
    ) -> None:  # fmt: skip
        super().__init__()
        self.feature_dim, self.num_classes = feature_dim, num_classes
        self.in_channels, self.least_side = in_channels, least_side
        self.body = body
        self.classifier = nn.Linear(feature_dim, num_classes) if num_classes else nn.Identity()

    def features(self, images: Images) -> Features:
        """What the classifier reads, (n, feature_dim): the mean of the map over its positions.

        Raises:
            ValueError: images that are not (n, in_channels, height, width), or are too small.
        """
        shape, least = tuple(images.shape), self.least_side
        if images.dim() != 4 or shape[1] != self.in_channels or min(shape[2:]) < least:
            raise ValueError(
                f"images has shape {shape}; valid: (n, {self.in_channels}, height, width), "
                f"height and width at least {least}"
            )
        return self.body(images).mean(dim=(2, 3))

    def forward(self, images: Images) -> Logits:
        return self.classifier(self.features(images))


def build(
    name: str,
    num_classes: int,
    in_channels: int = 3,
    *,
    stem_stride: int = 1,
    norm_groups: int = 1,
) -> Network:
    """A network by its name, with fresh weights from PyTorch's default generator.

    Args:
        name: one of ``NETWORKS``, or wrn-d-k with d = 6 i + 4 and any widening k.
        num_classes: logits; 0 for no classifier, and a call then gives the features.
        in_channels: channels of an image.
        stem_stride: 2 halves the image's sides in the first layer, which makes everything behind
            it about four times cheaper; 1 is the literature's. MobileNetV2 halves them in any
            case, so 2 quarters them there.
        norm_groups: above 1, batch normalisation is a :class:`SplitBatchNorm2d` of that many
            groups. Parameters and buffers keep their names, so weights move between both kinds.

    Raises:
        ValueError: an unknown name (the error lists the known ones), a number out of range.
    """
    check_count("num_classes", num_classes, 0)
    check_count("in_channels", in_channels)
    check_count("stem_stride", stem_stride)
    check_count("norm_groups", norm_groups)
    if stem_stride > 2:
        refuse("stem_stride", stem_stride, "1 or 2")
    body, feature_dim = _family(name)(in_channels, stem_stride)
    # four stages halve the sides, and so may the stem; nothing may be left of less than a pixel
    network = Network(body, feature_dim, num_classes, in_channels, 8 * stem_stride)
    return network if norm_groups == 1 else _split_norms(network, norm_groups)


class Projection(nn.Module):
    """Features to embeddings of unit norm, for a contrastive objective.

    .. math:: z = g(h) / ‖g(h)‖

    with g linear, or ``mlp``: linear, rectifier, linear, with as many hidden units as inputs.

    Args:
        feature_dim: length of the features h.
        dim: length of the embeddings z.
        kind: ``linear``, as in contrastive distillation (Tian et al. 2020, with dim 128), or
            ``mlp``, as in MoCo v2 (Chen et al. 2020).

    Input (n, feature_dim), output (n, dim).

    Raises:
        ValueError: an unknown kind, a length below 1.
    """

    def __init__(self, feature_dim: int, dim: int = 128, kind: str = "linear") -> None:
        super().__init__()
        check_count("feature_dim", feature_dim)
        check_count("dim", dim)
        if kind not in ("linear", "mlp"):
            refuse("kind", kind, "linear, mlp")
        last = nn.Linear(feature_dim, dim)
        hidden = [nn.Linear(feature_dim, feature_dim), nn.ReLU(inplace=True)]
        self.layers = last if kind == "linear" else nn.Sequential(*hidden, last)

    def forward(self, features: Features) -> Float[Tensor, "n dim"]:
        return nn.functional.normalize(self.layers(features), dim=1)


class SplitBatchNorm2d(nn.BatchNorm2d):
    r"""Batch normalisation whose batch is cut into groups that do not see each other.

    It does on one device what batch normalisation does on many: with it, and with keys that pass
    through in a shuffled order, a query cannot recognise its key by the statistics of the batch
    they share.

    If the number of groups G divides n, row i belongs to group i mod G. Otherwise n = qG + r: the
    first r(q + 1) rows are dealt in turn to r groups of q + 1 rows, the others to G - r groups of
    q rows. While training, each group is normalised by its own mean and variance, and the running
    statistics move towards the mean over the groups:

    .. math:: s ← (1 - λ)\, s + λ\, \frac1G \sum_g s_g

    with momentum λ and s_g the mean, or the unbiased variance, of group g. In evaluation it is
    plain batch normalisation. It works on contiguous images: those that are ``channels_last`` are
    copied, which costs more than that order of memory saves.

    Args:
        channels: C of images (n, C, h, w).
        groups: G, at least 1.
        eps: added to a variance.
        momentum: λ.

    Raises:
        ValueError: while training, fewer than two rows in a group, n < 2G.

    Source: He et al. 2020, arXiv 1911.05722, section 3.3, on shuffling; the authors' demonstration
    for one GPU cuts the batch.
    """

    def __init__(
        self, channels: int, groups: int, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__(channels, eps, momentum)
        check_count("groups", groups)
        self.groups = groups

    def forward(self, images: Images) -> Images:
        if not self.training or self.groups == 1:
            return super().forward(images)
        self._check_input_dim(images)
        n, groups = len(images), self.groups
        if n < 2 * groups:
            raise ValueError(f"batch has {n} rows, in {groups} groups; valid: {2 * groups} or more")
        rows, larger = divmod(n, groups)
        cut = larger * (rows + 1)
        parts = [(images[:cut], larger), (images[cut:], groups - larger)]
        done = [self._normalise(part, count) for part, count in parts if count]
        normalised, means, variances = zip(*done, strict=True)
        self.num_batches_tracked += 1
        self.running_mean.lerp_(torch.cat(means).mean(dim=0), self.momentum)
        self.running_var.lerp_(torch.cat(variances).mean(dim=0), self.momentum)
        return normalised[0] if len(normalised) == 1 else torch.cat(normalised)

    def _normalise(self, images: Tensor, groups: int) -> tuple[Tensor, Tensor, Tensor]:
        """Images of equal groups, each normalised by itself, and its statistics (groups, C)."""
        n, channels, *sides = images.shape
        # A group's channels stand beside those of the others, as channels of fewer, wider images.
        wide = images.reshape(n // groups, groups * channels, *sides)
        mean, variance = self.running_mean.new_zeros(2, groups * channels)
        # With momentum 1 the statistics that the call keeps are those of its batch.
        weight, bias = self.weight.repeat(groups), self.bias.repeat(groups)
        wide = nn.functional.batch_norm(
            wide, mean, variance, weight, bias, training=True, momentum=1.0, eps=self.eps
        )
        return wide.reshape(images.shape), mean.view(groups, -1), variance.view(groups, -1)


def _split_norms(module: nn.Module, groups: int) -> nn.Module:
    """The module with batch normalisation of groups in place of that of the whole batch."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            # built where the network is, a real device or "meta"
            with torch.device(child.weight.device):
                split = SplitBatchNorm2d(child.num_features, groups, child.eps, child.momentum)
            setattr(module, name, split)
        else:
            _split_norms(child, groups)
    return module


# ----- blocks that the families share: each takes and gives a feature map (n, channels, h, w) -----


def _conv(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)


def _conv_norm(
    inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    layers = [_conv(inputs, outputs, size, stride, groups), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *[nn.ReLU(inplace=True)] * relu)


class _Sum(nn.Module):
    """branch(x) + shortcut(x)."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.branch, self.shortcut = branch, shortcut or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x) + self.shortcut(x)


class _Beside(nn.Module):
    """The maps of two branches, one's channels behind the other's."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.first(x), self.second(x)], dim=1)


class _SecondHalf(nn.Module):
    """The first half of the channels as it is, the branch of the second half behind it."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = x.chunk(2, dim=1)
        return torch.cat([kept, self.branch(changed)], dim=1)


class _PreActivation(nn.Module):
    """A block of a wide residual network: it normalises and rectifies before it convolves.

    Where the number of channels changes, the shortcut starts behind the first rectifier.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True))
        self.branch = nn.Sequential(
            *_conv_norm(inputs, outputs, stride=stride), _conv(outputs, outputs)
        )
        same = inputs == outputs
        self.shortcut = None if same else _conv(inputs, outputs, size=1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        active = self.before(x)
        return self.branch(active) + (x if self.shortcut is None else self.shortcut(active))


# ----- families: each gives the body and the channels of its last map -----

Body = tuple[nn.Sequential, int]


def _residual(branch: nn.Module, inputs: int, outputs: int, stride: int) -> nn.Sequential:
    same = inputs == outputs and stride == 1
    shortcut = None if same else _conv_norm(inputs, outputs, 1, stride, relu=False)
    return nn.Sequential(_Sum(branch, shortcut), nn.ReLU(inplace=True))


def _basic(inputs: int, width: int, stride: int) -> nn.Sequential:
    second = _conv_norm(width, width, relu=False)
    branch = nn.Sequential(_conv_norm(inputs, width, stride=stride), second)
    return _residual(branch, inputs, width, stride)


def _bottleneck(inputs: int, width: int, stride: int) -> nn.Sequential:
    branch = nn.Sequential(
        _conv_norm(inputs, width, 1),
        _conv_norm(width, width, 3, stride),
        _conv_norm(width, 4 * width, 1, relu=False),
    )
    return _residual(branch, inputs, 4 * width, stride)


def _resnet(
    stem: int,
    widths: Sequence[int],
    depths: Sequence[int],
    block: Callable[[int, int, int], nn.Module],
    in_channels: int,
    stem_stride: int,
) -> Body:
    """Residual network; every stage but the first halves the sides."""
    layers, inputs = [_conv_norm(in_channels, stem, stride=stem_stride)], stem
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for place in range(depth):
            layers.append(block(inputs, width, 2 if stage and not place else 1))
            inputs = 4 * width if block is _bottleneck else width
    return _started(layers), inputs


def _small_resnet(depth: int, widening: int, in_channels: int, stem_stride: int) -> Body:
    """6 i + 2 layers in three stages. Shortcuts are 1 × 1 convolutions where the shape changes, as
    in the literature of the pairs; the paper's own are without weights.
    """
    stem = 8 * max(2, widening)  # the literature's x4 has a stem of 32, not of 64
    widths = [base * widening for base in (16, 32, 64)]
    return _resnet(stem, widths, [(depth - 2) // 6] * 3, _basic, in_channels, stem_stride)


def _wide_resnet(depth: int, widening: int, in_channels: int, stem_stride: int) -> Body:
    layers, inputs = [_conv(in_channels, 16, stride=stem_stride)], 16
    for stage, base in enumerate((16, 32, 64)):
        for place in range((depth - 4) // 6):
            outputs = base * widening
            layers.append(_PreActivation(inputs, outputs, 2 if stage and not place else 1))
            inputs = outputs
    return _started([*layers, nn.BatchNorm2d(inputs), nn.ReLU(inplace=True)]), inputs


def _vgg(depths: Sequence[int], in_channels: int, stem_stride: int) -> Body:
    """Five stages of convolutions; a maximum over 2 × 2 follows each of the first three.

    The convolutions keep a bias, which the normalisation behind them cancels: the published counts
    include it. As in the literature of the pairs, one linear layer takes the place of the paper's
    three, and the mean over positions that of the last two maxima.
    """
    layers, inputs = [], in_channels
    for stage, (width, depth) in enumerate(zip((64, 128, 256, 512, 512), depths, strict=True)):
        for place in range(depth):
            stride = stem_stride if not stage and not place else 1
            layers += [nn.Conv2d(inputs, width, 3, stride, 1), nn.BatchNorm2d(width)]
            layers += [nn.ReLU(inplace=True)]
            inputs = width
        layers += [nn.MaxPool2d(2)] * (stage < 3)
    return _started(layers), inputs


def _mobilenet_v2(in_channels: int, stem_stride: int) -> Body:
    """Inverted residuals at half width: t × expansion, depthwise convolution, linear projection.

    The literature's: plain rectifiers, an expansion layer also where t = 1, the second stage at
    full resolution, and 1,280 features at every width up to 1.
    """
    # (expansion t, channels c at full width, blocks n, stride s), table 2 of the paper
    stages = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
    stages = (*stages, (6, 160, 3, 2), (6, 320, 1, 1))
    inputs = 16
    layers = [_conv_norm(in_channels, inputs, stride=2)]
    if stem_stride == 2:
        layers.append(nn.AvgPool2d(2))
    for expansion, full, blocks, first_stride in stages:
        outputs = full // 2
        for place in range(blocks):
            stride, hidden = 1 if place else first_stride, expansion * inputs
            branch = nn.Sequential(
                _conv_norm(inputs, hidden, 1),
                _conv_norm(hidden, hidden, 3, stride, groups=hidden),
                _conv_norm(hidden, outputs, 1, relu=False),
            )
            layers.append(_Sum(branch) if inputs == outputs and stride == 1 else branch)
            inputs = outputs
    return _started([*layers, _conv_norm(inputs, 1280, 1)]), 1280


def _shuffle_net_v1(in_channels: int, stem_stride: int) -> Body:
    """Pointwise convolutions in three groups, whose channels are then dealt anew.

    The literature's: a 1 × 1 stem without the maximum behind it, and a rectifier behind the
    depthwise convolution.
    """
    inputs, groups = 24, 3
    layers = [_conv_norm(in_channels, inputs, 1, stem_stride)]
    for outputs, blocks in ((240, 4), (480, 8), (960, 4)):
        for place in range(blocks):
            halves = place == 0
            added = outputs - inputs if halves else outputs
            # The first layer has too few channels for groups, says the paper.
            first = 1 if inputs == 24 else groups
            width = added // 4
            branch = nn.Sequential(
                _conv_norm(inputs, width, 1, groups=first),
                *[nn.ChannelShuffle(groups)] * (first == groups),
                _conv_norm(width, width, 3, 2 if halves else 1, groups=width),
                _conv_norm(width, added, 1, groups=groups, relu=False),
            )
            around = _Beside(branch, nn.AvgPool2d(3, 2, 1)) if halves else _Sum(branch)
            layers += [around, nn.ReLU(inplace=True)]
            inputs = outputs
    return nn.Sequential(*layers), inputs


def _shuffle_net_v2(in_channels: int, stem_stride: int) -> Body:
    """Half of the channels pass each block untouched; then all are dealt anew. The stem is the
    literature's, 1 × 1 without the maximum behind it.
    """
    inputs = 24
    layers = [_conv_norm(in_channels, inputs, 1, stem_stride)]
    for outputs, blocks in ((116, 4), (232, 8), (464, 4)):
        half = outputs // 2
        for place in range(blocks):
            halves = place == 0
            branch = nn.Sequential(
                _conv_norm(inputs if halves else half, half, 1),
                _conv_norm(half, half, 3, 2 if halves else 1, groups=half, relu=False),
                _conv_norm(half, half, 1),
            )
            if halves:
                other = nn.Sequential(
                    _conv_norm(inputs, inputs, 3, 2, groups=inputs, relu=False),
                    _conv_norm(inputs, half, 1),
                )
            layers += [_Beside(other, branch) if halves else _SecondHalf(branch)]
            layers += [nn.ChannelShuffle(2)]
            inputs = outputs
    return nn.Sequential(*layers, _conv_norm(inputs, 1024, 1)), 1024


def _started(layers: list[nn.Module]) -> nn.Sequential:
    """The layers in a row, their convolutions drawn as He et al. 2015 (arXiv 1502.01852) do, with
    the variance of the gradient kept. The ShuffleNets of the literature keep PyTorch's own start.
    """
    body = nn.Sequential(*layers)
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return body


# Name -> the body of that network, given in_channels and stem_stride.
_BODIES: dict[str, Callable[[int, int], Body]] = {
    **{f"resnet{d}": partial(_small_resnet, d, 1) for d in (8, 14, 20, 32, 44, 56, 110)},
    "resnet8x2": partial(_small_resnet, 8, 2),  # ours, for short runs
    "resnet8x4": partial(_small_resnet, 8, 4),
    "resnet32x4": partial(_small_resnet, 32, 4),
    "ResNet18": partial(_resnet, 64, (64, 128, 256, 512), (2, 2, 2, 2), _basic),
    "ResNet50": partial(_resnet, 64, (64, 128, 256, 512), (3, 4, 6, 3), _bottleneck),
    **{f"wrn-{d}-{k}": partial(_wide_resnet, d, k) for d in (16, 40) for k in (1, 2)},
    # The number counts the paper's three linear layers.
    "vgg8": partial(_vgg, (1, 1, 1, 1, 1)),
    "vgg11": partial(_vgg, (1, 1, 2, 2, 2)),
    "vgg13": partial(_vgg, (2, 2, 2, 2, 2)),
    "vgg16": partial(_vgg, (2, 2, 3, 3, 3)),
    "vgg19": partial(_vgg, (2, 2, 4, 4, 4)),
    "MobileNetV2": _mobilenet_v2,
    "ShuffleNetV1": _shuffle_net_v1,
    "ShuffleNetV2": _shuffle_net_v2,
}
NETWORKS = tuple(_BODIES)


def _family(name: str) -> Callable[[int, int], Body]:
    if name in _BODIES:
        return _BODIES[name]
    wide = re.fullmatch(r"wrn-([1-9]\d*)-([1-9]\d*)", name) if isinstance(name, str) else None
    if wide and int(wide[1]) >= 10 and int(wide[1]) % 6 == 4:
        return partial(_wide_resnet, int(wide[1]), int(wide[2]))
    refuse("network", name, f"{', '.join(NETWORKS)}, or wrn-d-k with d = 10, 16, 22, …")
