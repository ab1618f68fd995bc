"""Stacks of critics: each member equals a plain network, whatever stands beside it."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from mlcpc import critics, problems
from mlcpc.critics import CriticConfig

SMALL = {"width": 8, "depth": 2, "embedding": 4}


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def pairs(replicates, n=5, k=5, dim_x=3, dim_y=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(replicates, n, dim_x, generator=generator)
    y = torch.randn(replicates, k, dim_y, generator=generator)
    return x, y


def plain(weights, biases):
    """One replicate's network as nn.Linear layers."""
    layers = []
    for weight, bias in zip(weights, biases, strict=True):
        layer = nn.Linear(*weight.shape)
        layer.weight.data, layer.bias.data = weight.detach().T.clone(), bias.detach()[0].clone()
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def plain_separable(critic, r):
    of_x, of_y = critic.first_x, critic.first_y
    half = len(critic.first_x.weights[0])
    nets = []
    for first, where in ((of_x, r), (of_y, half + r)):
        weights = [first.weights[0][r], *(w[where] for w in critic.rest.weights)]
        biases = [first.biases[0][r], *(b[where] for b in critic.rest.biases)]
        nets.append(plain(weights, biases))
    return lambda x, y: nets[0](x) @ nets[1](y).T


def plain_joint(critic, r):
    first = torch.cat([critic.of_x[r], critic.of_y[r]])
    net = plain(
        [first, *(w[r] for w in critic.rest.weights)],
        [critic.bias[r], *(b[r] for b in critic.rest.biases)],
    )

    def scores(x, y):
        rows = [[net(torch.cat([one, two]))[0] for two in y] for one in x]
        return torch.stack([torch.stack(row) for row in rows])

    return scores


@pytest.mark.parametrize(
    "kind, transcription", [("separable", plain_separable), ("joint", plain_joint)]
)
@pytest.mark.parametrize("n, k", [(5, 5), (4, 7), (6, 2)])
def test_each_member_equals_a_plain_network(kind, transcription, n, k):
    critic = critics.build(CriticConfig(kind, **SMALL), 3, 2, seeds=(0, 1), copies=2)
    with torch.no_grad():  # members must differ, or a mix-up would not show
        for parameter in critic.parameters():
            parameter += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5))
    x, y = pairs(4, n, k, 3, 2)
    scores = critic(x, y)
    assert scores.shape == (4, n, k)
    for r in range(4):
        assert torch.allclose(scores[r], transcription(critic, r)(x[r], y[r]), rtol=0, atol=1e-10)


def test_depth_counts_hidden_layers():
    critic = critics.build(CriticConfig(depth=3, width=7, embedding=5), 3, 3)
    shapes = [tuple(w.shape[1:]) for w in [critic.first_x.weights[0], *critic.rest.weights]]
    assert shapes == [(3, 7), (7, 7), (7, 7), (7, 5)]


def test_bilinear_and_inner_equal_their_formulas():
    x, y = pairs(2, dim_x=3, dim_y=4)
    bilinear = critics.build(CriticConfig("bilinear"), 3, 4, seeds=(0, 1))
    expected = torch.einsum("rni,rij,rkj->rnk", x, bilinear.weight, y)
    assert torch.allclose(bilinear(x, y), expected, rtol=0, atol=1e-12)
    x, y = pairs(2)
    inner = critics.build(CriticConfig("inner"), 3, 3, seeds=(0, 1))
    assert torch.allclose(inner(x, y), x @ y.mT / 3**0.5, rtol=0, atol=1e-12)


def test_three_numbers_make_the_best_critic_of_the_gaussian():
    """log dP/dM of M = aP + (1 − a)Q, which ML-CPC looks for, up to a constant."""
    problem, a = problems.CorrelatedGaussian(1.5, 3), 0.01
    critic = critics.build(CriticConfig("saturated"), 3, 3)
    assert sum(each.numel() for each in critic.parameters()) == 3
    v = 1 - problem.rho**2
    with torch.no_grad():
        critic.product += problem.rho / v
        critic.length += problem.rho**2 / v
        critic.top += math.log((1 - a) / a) - problem.mi - critic.top
    x, y = pairs(1)
    ratio = problem.log_ratio(x[0][:, None], y[0])
    best = ratio - torch.log1p(a * torch.expm1(ratio))
    apart = critic(x, y)[0] - best
    assert torch.allclose(apart, apart[0, 0].expand_as(apart), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", critics.KINDS)
def test_copies_of_a_seed_start_equal_and_seeds_differ(kind):
    critic = critics.build(CriticConfig(kind, **SMALL), 3, 3, seeds=(0, 1), copies=2)
    again = critics.build(CriticConfig(kind, **SMALL), 3, 3, seeds=(0, 1), copies=2)
    for one, two in zip(critic.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    x, y = pairs(1)
    scores = critic(x.expand(4, -1, -1), y.expand(4, -1, -1))
    assert torch.equal(scores[0], scores[1]) and torch.equal(scores[2], scores[3])
    if kind not in ("inner", "saturated"):
        assert not torch.allclose(scores[0], scores[2])


@pytest.mark.parametrize("kind", critics.KINDS)
def test_a_stack_of_seeds_is_its_seeds_one_by_one(kind):
    config = CriticConfig(kind, **SMALL)
    x, y = pairs(4)
    together = critics.build(config, 3, 3, seeds=(5, 2), copies=2)(x, y)
    for r, seed in enumerate((5, 5, 2, 2)):
        alone = critics.build(config, 3, 3, seeds=(seed,))(x[r : r + 1], y[r : r + 1])
        assert torch.allclose(together[r], alone[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", critics.KINDS)
def test_members_do_not_touch_each_other(kind):
    critic = critics.build(CriticConfig(kind, **SMALL), 3, 3, copies=3)
    x, y = pairs(3)
    (critic(x, y)[1] - 1).square().sum().backward()
    for parameter in critic.parameters():
        stack = parameter.grad.unflatten(0, (-1, 3))  # the separable critic stacks x- and y-nets
        assert (stack[:, [0, 2]] == 0).all() and (stack[:, 1] != 0).any()


def test_first_weights_are_those_of_linear_layers():
    """Uniform within 1/√(inputs), as nn.Linear draws them."""
    critic = critics.build(CriticConfig(width=64), 16, 16)
    for weight, inputs in [(critic.first_x.weights[0], 16), (critic.rest.weights[0], 64)]:
        bound = inputs**-0.5
        assert weight.abs().max() <= bound
        assert abs(weight.std() / (bound / 3**0.5) - 1) < 0.05


@pytest.mark.parametrize("pairs_of_a_tile", [1, 11, 1024])
def test_tiles_of_the_joint_critic_change_nothing(monkeypatch, pairs_of_a_tile):
    """Value and gradients, against plain networks, over whole, ragged and single-row tiles."""
    critic = critics.build(CriticConfig("joint", width=8, depth=3), 3, 2, seeds=(0, 1))
    x, y = pairs(2, 7, 5, 3, 2)
    weigh = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(1))
    inputs = [x.requires_grad_(), y.requires_grad_(), *critic.parameters()]
    plain_scores = torch.stack([_scores_of_layers(critic, r, x[r], y[r]) for r in range(2)])
    expected = torch.autograd.grad((plain_scores * weigh).sum(), inputs)
    monkeypatch.setattr(critics, "_PAIRS", pairs_of_a_tile)
    scores = critic(x, y)
    assert torch.allclose(scores, plain_scores, rtol=0, atol=1e-12)
    found = torch.autograd.grad((scores * weigh).sum(), inputs)
    for one, two in zip(found, expected, strict=True):
        assert torch.allclose(one, two, rtol=0, atol=1e-12)


def _scores_of_layers(critic, r, x, y):
    """The joint critic of one replicate by autograd, on concatenated pairs."""
    n, k = len(x), len(y)
    both = torch.cat([x.repeat_interleave(k, dim=0), y.repeat(n, 1)], dim=1)
    hidden = both @ torch.cat([critic.of_x[r], critic.of_y[r]]) + critic.bias[r]
    for weight, bias in zip(critic.rest.weights, critic.rest.biases, strict=True):
        hidden = hidden.relu() @ weight[r] + bias[r]
    return hidden.view(n, k)


def test_two_forward_passes_before_a_backward_pass():
    """The second pass overwrites what the first had kept; its gradients must not change."""
    critic = critics.build(CriticConfig("joint", **SMALL), 3, 3)
    x, y = pairs(1)
    alone = torch.autograd.grad(critic(x, y).square().sum(), list(critic.parameters()))
    first = critic(x, y)
    second = critic(2 * y, x)
    found = torch.autograd.grad(first.square().sum(), list(critic.parameters()))
    for one, two in zip(found, alone, strict=True):
        assert torch.allclose(one, two, rtol=0, atol=1e-12)
    second.sum().backward()


def test_joint_critics_are_copied_and_pickled():
    critic = critics.build(CriticConfig("joint", **SMALL), 3, 3)
    x, y = pairs(1)
    scores = critic(x, y)
    for other in (copy.deepcopy(critic), pickle.loads(pickle.dumps(critic))):
        assert torch.equal(other(x, y), scores) and other._kept is not critic._kept


def test_second_derivatives_of_a_joint_critic_are_refused():
    critic = critics.build(CriticConfig("joint", **SMALL), 3, 3)
    x, y = pairs(1)
    with pytest.raises(RuntimeError, match="second derivatives of a joint critic"):
        torch.autograd.grad(critic(x.requires_grad_(), y).sum(), x, create_graph=True)


def test_weights_survive_saving():
    config = CriticConfig("joint", **SMALL)
    one, two = critics.build(config, 3, 3, seeds=(0,)), critics.build(config, 3, 3, seeds=(9,))
    two.load_state_dict(one.state_dict())
    x, y = pairs(1)
    assert torch.equal(one(x, y), two(x, y))


@pytest.mark.parametrize("call, message", [
    (lambda: CriticConfig("concat"), "kind is 'concat'; valid: separable, joint"),
    (lambda: CriticConfig(width=0), "width is 0; valid: an integer of at least 1"),
    (lambda: CriticConfig(depth=1.5), "depth is 1.5"),
    (lambda: critics.build(CriticConfig(), 0, 3), "dim_x is 0; valid: at least 1"),
    (lambda: critics.build(CriticConfig(), 3, 3, seeds=()), "seeds is empty"),
    (lambda: critics.build(CriticConfig("inner"), 3, 4), "dim_y is 4 .* valid: dim_x = 3"),
])  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
