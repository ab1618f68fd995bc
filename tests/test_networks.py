"""Networks: the counts of the literature, one contract for all, groups that are kept apart."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mlcpc import networks
from mlcpc.networks import NETWORKS, Projection, SplitBatchNorm2d


def without_memory(name, num_classes, *args, **options):
    with torch.device("meta"):
        return networks.build(name, num_classes, *args, **options)


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


def images(n, channels=3, side=32, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, channels, side, side, generator=generator, dtype=dtype)


# ----- counts -----

# Printed tables. zoo: README of chenyaofo/pytorch-cifar-models at d1c8e99, whose VGG has two more
# linear layers of 512 units. WRN: tables 4 and 5 of arXiv 1605.07146. He: table 6 of arXiv
# 1512.03385, whose shortcuts have no weights (too few for the printed digits). weiaicunzai: README
# of weiaicunzai/pytorch-cifar100 at 01781f9. In millions, as printed.
HIDDEN = 2 * (512 * 512 + 512)
PRINTED = [
    ("resnet20", 10, 0, "0.27"),  # zoo
    ("resnet20", 100, 0, "0.28"),
    ("resnet32", 100, 0, "0.47"),
    ("resnet44", 100, 0, "0.67"),
    ("resnet56", 10, 0, "0.86"),
    ("resnet56", 100, 0, "0.86"),
    ("vgg11", 10, HIDDEN, "9.76"),
    ("vgg11", 100, HIDDEN, "9.80"),
    ("vgg13", 100, HIDDEN, "9.99"),
    ("vgg16", 100, HIDDEN, "15.30"),
    ("vgg19", 100, HIDDEN, "20.61"),
    ("ShuffleNetV2", 10, 0, "1.26"),
    ("ShuffleNetV2", 100, 0, "1.36"),
    ("wrn-40-1", 10, 0, "0.6"),  # WRN
    ("wrn-40-2", 10, 0, "2.2"),
    ("wrn-16-8", 10, 0, "11.0"),
    ("wrn-28-10", 10, 0, "36.5"),
    ("resnet110", 10, 0, "1.7"),  # He
    ("ResNet18", 100, 0, "11.2"),  # weiaicunzai
    ("ResNet50", 100, 0, "23.7"),
]


@pytest.mark.parametrize("name, classes, more, printed", PRINTED)
def test_parameters_as_printed(name, classes, more, printed):
    digits = len(printed.split(".")[1])
    count = size(without_memory(name, classes)) + more
    assert f"{count / 1e6:.{digits}f}" == printed


# For these no printed table of the pairs' own widths was found: counted layer by layer from the
# definitions in HobbitLong/RepDistiller at b84f547, for 100 classes.
DEFINED = {
    "resnet8x4": 1_233_540, "resnet32x4": 7_433_860, "resnet110": 1_736_564,
    "wrn-16-2": 703_284, "wrn-40-2": 2_255_156, "wrn-40-1": 569_780,
    "vgg8": 3_965_028, "vgg13": 9_462_180, "ResNet50": 23_705_252,
    "MobileNetV2": 812_836, "ShuffleNetV1": 949_258,
}  # fmt: skip


@pytest.mark.parametrize("name", DEFINED)
def test_parameters_layer_by_layer(name):
    assert size(without_memory(name, 100)) == DEFINED[name]


# Multiplications of a forward pass at 32 pixels, in millions, as the zoo's README prints them: they
# tell at which resolution a stage works, which a count of parameters does not. The zoo's VGG
# takes a maximum before its last stage too, which then has a quarter of the positions.
@pytest.mark.parametrize("name, last_stage, printed", [
    ("resnet20", 0, "40.82"),
    ("resnet32", 0, "69.13"),
    ("resnet44", 0, "97.44"),
    ("resnet56", 0, "125.75"),
    ("vgg11", 2, "153.34"),
    ("vgg13", 2, "228.84"),
    ("vgg16", 3, "313.77"),
    ("vgg19", 4, "398.71"),
])  # fmt: skip
def test_multiplications_as_printed(name, last_stage, printed):
    network = without_memory(name, 100)
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, 32, 32, device="meta"))
    count = counter.get_total_flops() / 2
    if last_stage:
        count += 2 * 512 * 512 - 3 / 4 * last_stage * 512 * 512 * 9 * 16
    assert f"{count / 1e6:.2f}" == printed


@pytest.mark.parametrize(
    "name, side",
    [("resnet8", 8), ("wrn-16-1", 8), ("ResNet18", 4), ("ResNet50", 4), ("vgg8", 4)]
    + [("MobileNetV2", 2), ("ShuffleNetV1", 4), ("ShuffleNetV2", 4)],
)
def test_side_of_the_last_map(name, side):
    network = without_memory(name, 10)
    assert network.body(torch.empty(2, 3, 32, 32, device="meta")).shape[2:] == (side, side)


# ----- transcriptions: what a network computes, written out from its paper -----


class Layers:
    """Convolutions and normalisations of a network, applied one by one in order."""

    def __init__(self, body):
        self.convs = iter([each for each in body.modules() if isinstance(each, nn.Conv2d)])
        self.norms = iter([each for each in body.modules() if isinstance(each, nn.BatchNorm2d)])

    def conv(self, x, stride=1, groups=1):
        layer = next(self.convs)
        padding = layer.weight.shape[-1] // 2
        return nn.functional.conv2d(x, layer.weight, layer.bias, stride, padding, 1, groups)

    def norm(self, x):
        n = next(self.norms)
        mean, variance, weight, bias = (
            each[:, None, None] for each in (n.running_mean, n.running_var, n.weight, n.bias)
        )
        return (x - mean) / (variance + n.eps).sqrt() * weight + bias

    def conv_norm(self, x, stride=1, groups=1):
        return self.norm(self.conv(x, stride, groups))

    def conv_norm_relu(self, x, stride=1, groups=1):
        return self.conv_norm(x, stride, groups).relu()


def stages(depths):
    """Stride and whether the shape changes, for each block; stages but the first halve."""
    return [
        (2 if stage and not i else 1, not i) for stage, n in enumerate(depths) for i in range(n)
    ]


def basic(layers, x, depths, first_changes):
    x = layers.conv_norm_relu(x)
    for number, (stride, first) in enumerate(stages(depths)):
        branch = layers.conv_norm(layers.conv_norm_relu(x, stride))
        changes = first and (first_changes or number > 0)
        x = (branch + (layers.conv_norm(x, stride) if changes else x)).relu()
    return x


def bottleneck(layers, x, depths):
    x = layers.conv_norm_relu(x)
    for stride, first in stages(depths):
        branch = layers.conv_norm_relu(layers.conv_norm_relu(x), stride)
        branch = layers.conv_norm(branch)
        x = (branch + (layers.conv_norm(x, stride) if first else x)).relu()
    return x


def wide(layers, x, depths):
    x = layers.conv(x)
    for stride, first in stages(depths):
        active = layers.norm(x).relu()
        branch = layers.conv(layers.norm(layers.conv(active, stride)).relu())
        x = branch + (layers.conv(active, stride) if first else x)
    return layers.norm(x).relu()


def vgg(layers, x, depths):
    for stage, n in enumerate(depths):
        for _ in range(n):
            x = layers.conv_norm_relu(x)
        if stage < 3:
            x = nn.functional.max_pool2d(x, 2)
    return x


def mobilenet(layers, x):
    x = layers.conv_norm_relu(x, 2)
    for blocks, first in ((1, 1), (2, 1), (3, 2), (4, 2), (3, 1), (3, 2), (1, 1)):
        for i in range(blocks):
            wide = layers.conv_norm_relu(x)
            wide = layers.conv_norm_relu(wide, 1 if i else first, wide.shape[1])
            x = layers.conv_norm(wide) + (x if i else 0)
    return layers.conv_norm_relu(x)


def dealt(x, groups):
    n, channels, *sides = x.shape
    return x.reshape(n, groups, channels // groups, *sides).transpose(1, 2).reshape(x.shape)


def shuffle_v1(layers, x):
    x = layers.conv_norm_relu(x)
    for stage, blocks in enumerate((4, 8, 4)):
        for i in range(blocks):
            early = stage == 0 and i == 0
            branch = layers.conv_norm_relu(x, 1, 1 if early else 3)
            branch = branch if early else dealt(branch, 3)
            branch = layers.conv_norm_relu(branch, 1 if i else 2, branch.shape[1])
            branch = layers.conv_norm(branch, 1, 3)
            if i:
                x = (branch + x).relu()
            else:
                pooled = nn.functional.avg_pool2d(x, 3, 2, 1)
                x = torch.cat([branch, pooled], 1).relu()
    return x


def shuffle_v2(layers, x):
    x = layers.conv_norm_relu(x)
    for blocks in (4, 8, 4):
        for i in range(blocks):
            if i:
                left, right, stride = x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :], 1
            else:
                left, right, stride = layers.conv_norm(x, 2, x.shape[1]), x, 2
                left = layers.conv_norm_relu(left)
            right = layers.conv_norm_relu(right)
            right = layers.conv_norm_relu(layers.conv_norm(right, stride, right.shape[1]))
            x = dealt(torch.cat([left, right], 1), 2)
    return layers.conv_norm_relu(x)


def small_bottleneck():
    body, width = networks._resnet(8, (4, 8), (2, 2), networks._bottleneck, 3, 1)
    return networks.Network(body, width, 10, 3)


@pytest.mark.parametrize("make, transcription", [
    ("resnet14", lambda layers, x: basic(layers, x, (2, 2, 2), False)),
    ("resnet8x4", lambda layers, x: basic(layers, x, (1, 1, 1), True)),
    ("ResNet18", lambda layers, x: basic(layers, x, (2, 2, 2, 2), False)),
    (small_bottleneck, lambda layers, x: bottleneck(layers, x, (2, 2))),
    ("wrn-16-2", lambda layers, x: wide(layers, x, (2, 2, 2))),
    ("vgg8", lambda layers, x: vgg(layers, x, (1, 1, 1, 1, 1))),
    ("MobileNetV2", mobilenet),
    ("ShuffleNetV1", shuffle_v1),
    ("ShuffleNetV2", shuffle_v2),
])  # fmt: skip
def test_equals_its_transcription(make, transcription):
    torch.manual_seed(0)
    network = make() if callable(make) else networks.build(make, 10)
    network = network.double().eval()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):  # statistics that are not those of the start
            norm.running_mean.normal_(std=0.1)
            norm.running_var.uniform_(0.5, 2)
            norm.weight.data.uniform_(0.8, 1.5)
            norm.bias.data.normal_(std=0.1)
    # without this the signal of grouped convolutions fades, and differences with it
    for layer in network.body.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in")
    with torch.no_grad():
        x, layers = images(2, side=16, dtype=torch.float64), Layers(network.body)
        wanted = transcription(layers, x).mean(dim=(2, 3))
        assert next(layers.convs, None) is None and next(layers.norms, None) is None
        found = network.features(x)
        assert wanted.std() > 1e-3
        assert torch.allclose(found, wanted, rtol=1e-10, atol=1e-10)


# ----- one contract for all -----


@pytest.mark.parametrize("name", NETWORKS)
def test_contract(name):
    channels, classes = 1, 10
    network = networks.build(name, classes, channels)
    x, y = images(2, channels, 28), torch.tensor([0, classes - 1])

    # one train step
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    logits = network(x)
    assert logits.shape == (2, classes)
    nn.functional.cross_entropy(logits, y).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
    optimiser.step()
    after = network.state_dict()
    # a bias in front of a normalisation does nothing, and is in VGG only
    still = [key for key in after if torch.equal(before[key], after[key])]
    assert [key for key in still if not (name.startswith("vgg") and key.endswith("bias"))] == []

    # features, and evaluation that neither changes nor looks at the other images
    network.eval()
    with torch.no_grad():
        features, logits = network.features(x), network(x)
        assert features.shape == (2, network.feature_dim)
        assert features.isfinite().all() and features.std() > 0
        assert torch.equal(network.classifier(features), logits)
        assert torch.equal(network(x), logits)
        assert torch.allclose(network(x[:1]), logits[:1], rtol=1e-3, atol=1e-4)

        # the state is all there is: a network with arbitrary contents becomes the same by it
        again = without_memory(name, classes, channels).to_empty(device="cpu")
        again.load_state_dict(network.state_dict())
        assert torch.equal(again.eval()(x), logits)


@pytest.mark.parametrize(
    "name", "resnet8x2 ResNet18 wrn-16-2 vgg19 MobileNetV2 ShuffleNetV1 ShuffleNetV2".split()
)
def test_smallest_images_and_a_halving_stem(name):
    for stride, least in ((1, 8), (2, 16)):
        network = without_memory(name, 5, 1, stem_stride=stride)
        assert network(torch.empty(2, 1, least, least, device="meta")).shape == (2, 5)
        with pytest.raises(ValueError, match=f"height and width at least {least}"):
            network(torch.empty(2, 1, least, least - 1, device="meta"))
    whole, halved = (without_memory(name, 5, 1, stem_stride=stride) for stride in (1, 2))
    sides = []
    for network in (whole, halved):
        body = network.body(torch.empty(2, 1, 64, 64, device="meta"))
        sides.append(body.shape[-1])
    assert sides[1] * 2 == sides[0] and size(whole) == size(halved)


def test_features_of_each_image_reach_the_logits():
    network = networks.build("resnet8", 0, 1).eval()
    x = images(3, 1, 28)
    assert torch.equal(network(x), network.features(x))
    assert size(network) == size(network.body)


@pytest.mark.parametrize("name", ["resnet8", "wrn-16-1", "ShuffleNetV2", "MobileNetV2"])
def test_the_order_of_channels_in_memory_changes_nothing(name):
    torch.manual_seed(0)
    network = networks.build(name, 10, norm_groups=2).double()
    x = images(4, dtype=torch.float64)
    wanted = network(x)
    network = network.to(memory_format=torch.channels_last)
    found = network(x.contiguous(memory_format=torch.channels_last))
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "name", ["resnet50", "resnet18", "wrn-12-1", "wrn-4-1", "wrn-16-0", "wrn-16", "", None, 3]
)
def test_unknown_names_are_refused_with_a_list(name):
    with pytest.raises(ValueError, match="valid: resnet8, .*ShuffleNetV2, or wrn-d-k"):
        networks.build(name, 10)


@pytest.mark.parametrize("options, named", [
    ({"num_classes": -1}, "num_classes is -1"),
    ({"num_classes": True}, "num_classes is True"),
    ({"num_classes": 2.0}, "num_classes is 2.0"),
    ({"num_classes": 2, "in_channels": 0}, "in_channels is 0"),
    ({"num_classes": 2, "stem_stride": 3}, "stem_stride is 3; valid: 1 or 2"),
    ({"num_classes": 2, "norm_groups": 0}, "norm_groups is 0"),
])  # fmt: skip
def test_bad_sizes_are_named(options, named):
    with pytest.raises(ValueError, match=named):
        networks.build("resnet8", **options)


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (2, 32, 32), (2, 1, 7, 32)])
def test_images_that_do_not_fit_are_named(shape):
    network = networks.build("resnet8", 10, 1)
    with pytest.raises(ValueError, match=r"images has shape .*valid: \(n, 1, height, width\)"):
        network(torch.zeros(shape))


# ----- projection -----


@pytest.mark.parametrize("kind, layers", [("linear", 1), ("mlp", 2)])
def test_projections_equal_their_formulas(kind, layers):
    torch.manual_seed(0)
    head = Projection(6, 4, kind).double()
    features = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    found = head(features)
    linear = [each for each in head.modules() if isinstance(each, nn.Linear)]
    assert len(linear) == layers
    wanted = features @ linear[0].weight.T + linear[0].bias
    if kind == "mlp":
        wanted = wanted.clamp(min=0) @ linear[1].weight.T + linear[1].bias
    wanted = wanted / wanted.norm(dim=1, keepdim=True)
    assert torch.allclose(found, wanted, rtol=0, atol=1e-12)
    found.sum().backward()
    assert features.grad.abs().sum() > 0


@pytest.mark.parametrize("options, named", [
    ({"feature_dim": 0}, "feature_dim is 0"),
    ({"feature_dim": 4, "dim": 0}, "dim is 0"),
    ({"feature_dim": 4, "kind": "deep"}, "kind is 'deep'; valid: linear, mlp"),
])  # fmt: skip
def test_bad_projections_are_named(options, named):
    with pytest.raises(ValueError, match=named):
        Projection(**options)


# ----- split batch normalisation -----


def groups_of(n, groups):
    """Rows of each group, as the docstring deals them."""
    rows, larger = divmod(n, groups)
    cut = larger * (rows + 1)
    first = [list(range(group, cut, larger)) for group in range(larger)]
    return first + [list(range(cut + g, n, groups - larger)) for g in range(groups - larger)]


def plain_norm(channels, seed=1):
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.3).double()
    for each in (norm.weight.data, norm.bias.data, norm.running_mean):
        each.normal_()
    norm.running_var.uniform_(0.5, 2)
    return norm


def split_norm(channels, groups):
    split = SplitBatchNorm2d(channels, groups, eps=1e-3, momentum=0.3).double()
    split.load_state_dict(plain_norm(channels).state_dict())
    return split


@pytest.mark.parametrize("n, groups", [(8, 1), (8, 2), (8, 4), (7, 3), (11, 4), (9, 2)])
def test_each_group_is_normalised_by_itself(n, groups):
    x = images(n, 3, 5, dtype=torch.float64).requires_grad_()
    split, weights = split_norm(3, groups), images(n, 3, 5, seed=2, dtype=torch.float64)
    found = split(x)
    gradients = torch.autograd.grad(
        (found * weights).sum(), [x, split.weight, split.bias], retain_graph=True
    )

    alone = [plain_norm(3) for _ in range(groups)]
    wanted, total = torch.empty_like(found), 0
    dealt = groups_of(n, groups)
    assert sorted(sum(dealt, [])) == list(range(n))
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1
    own = torch.zeros_like(x), torch.zeros(3).double(), torch.zeros(3).double()
    for norm, rows in zip(alone, dealt, strict=True):
        out = norm(x[rows])
        wanted[rows] = out.detach()
        total = (out * weights[rows]).sum()
        for sum_, each in zip(
            own, torch.autograd.grad(total, [x, norm.weight, norm.bias]), strict=True
        ):
            sum_ += each
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)
    for one, two in zip(gradients, own, strict=True):
        assert torch.allclose(one, two, rtol=0, atol=1e-10)
    for buffer in ("running_mean", "running_var"):
        mean = torch.stack([getattr(norm, buffer) for norm in alone]).mean(dim=0)
        assert torch.allclose(getattr(split, buffer), mean, rtol=0, atol=1e-12)
    assert split.num_batches_tracked == alone[0].num_batches_tracked


def test_other_groups_do_not_reach_a_group():
    x = images(8, 3, 5, dtype=torch.float64)
    changed = x.clone()
    changed[1::2] += 3
    found, wanted = split_norm(3, 2)(changed), split_norm(3, 2)(x)
    assert torch.equal(found[::2], wanted[::2])
    whole = plain_norm(3)
    assert not torch.allclose(whole(changed)[::2], whole(x)[::2])


def test_evaluation_is_that_of_plain_normalisation():
    x, split, plain = images(5, 3, 5, dtype=torch.float64), split_norm(3, 4), plain_norm(3)
    assert torch.equal(split.eval()(x), plain.eval()(x))
    assert torch.equal(split.running_mean, plain.running_mean)


def test_groups_of_one_row_are_refused():
    split = SplitBatchNorm2d(3, 4)
    assert split(images(8, 3, 5)).isfinite().all()
    with pytest.raises(ValueError, match="batch has 7 rows, in 4 groups; valid: 8 or more"):
        split(images(7, 3, 5))
    with pytest.raises(ValueError, match="groups is 0"):
        SplitBatchNorm2d(3, 0)


def test_a_network_of_groups_takes_the_weights_of_a_plain_one():
    torch.manual_seed(0)
    plain, split = networks.build("wrn-16-1", 10), networks.build("wrn-16-1", 10, norm_groups=4)
    norms = [each for each in split.modules() if isinstance(each, nn.BatchNorm2d)]
    assert len(norms) == 13
    assert all(isinstance(each, SplitBatchNorm2d) and each.groups == 4 for each in norms)
    split.load_state_dict(plain.state_dict())
    x = images(8)
    assert not torch.allclose(split(x), plain(x))
    split.load_state_dict(plain.state_dict())
    assert torch.equal(split.eval()(x), plain.eval()(x))


def test_the_seed_decides_the_weights():
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(networks.build("resnet8", 10).state_dict()["body.0.0.weight"])
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
