"""Flows and their inverses, residual networks, Jacobians and condition numbers."""

import math

import pytest
import torch
from torch import nn

from mlcpc import flows
from mlcpc.flows import Flow, Residual


def rows(count=7, dim=6, seed=0):
    return torch.rand(count, dim, generator=torch.Generator().manual_seed(seed)).double()


def moved(module, size=0.3, seed=1):
    """The module in double precision, far from where it began."""
    generator = torch.Generator().manual_seed(seed)
    module.double()
    with torch.no_grad():
        for each in module.parameters():
            each += size * torch.randn(each.shape, generator=generator).double()
    return module


def written_out(flow, x):
    """A flow as the definition has it, entry by entry."""
    half, codes = x.shape[1] // 2, []
    for row in x:
        for coupling, order in zip(flow.couplings, flow.orders, strict=True):
            first, second = row[:half], row[half:]
            said = coupling.hyper(first).view(len(second), -1)
            new = []
            for place, value in enumerate(second):
                shift, *scale = said[place]
                if scale:  # zuko bends the logarithm so that it stays within ± log 3
                    (value_of,) = scale
                    log = value_of / (1 + abs(value_of) / math.log(3))
                    value = value * log.exp()
                new.append(value + shift)
            whole = torch.cat([first, torch.stack(new)])
            row = torch.stack([whole[int(place)] for place in order])
        codes.append(row)
    return torch.stack(codes)


@pytest.mark.parametrize("scale", [None, 3.0])
@pytest.mark.parametrize("dim", [2, 5, 6])
def test_a_flow_is_what_is_written_and_its_inverse_takes_it_back(scale, dim):
    flow, x = moved(Flow(dim, 3, 8, scale)), rows(dim=dim)
    assert torch.allclose(flow(x), written_out(flow, x), atol=1e-12, rtol=0)
    assert (flow(x) - x).abs().max() > 0.1
    assert torch.allclose(flow.inverse(flow(x)), x, atol=1e-10, rtol=0)
    assert max(flows.inverse_errors(flow, x)) < 1e-10


def test_an_additive_flow_keeps_volumes_and_a_scale_does_not():
    x = rows()
    volumes = [flows.jacobians(moved(Flow(6, 3, 8, scale)), x).det().abs() for scale in (None, 3.0)]
    assert torch.allclose(volumes[0], torch.ones(7).double(), atol=1e-10)
    assert (volumes[1] - 1).abs().max() > 0.1


@pytest.mark.parametrize("scale", [None, 3.0])
def test_a_flow_begins_as_a_permutation(scale):
    flow, x = Flow(6, 4, 8, scale, seed=3), rows().float()
    order = torch.arange(6)
    for each in flow.orders:
        order = order[each]
    assert (flow(x) - x[:, order]).abs().max() < 1e-3
    assert not torch.equal(order, torch.arange(6))
    again, other = Flow(6, 4, 8, scale, seed=3), Flow(6, 4, 8, scale, seed=4)
    assert torch.equal(again(x), flow(x)) and not torch.equal(other(x), flow(x))


def test_a_flow_leaves_the_generator_of_pytorch_as_it_was():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Flow(4, 2, 3)
    Residual(4, 2)
    assert torch.equal(torch.rand(3), expected)


def test_a_flow_that_rounds_too_much_is_named_by_step_and_coupling():
    flow, x = Flow(6, 4, 8), rows().float()
    assert flows.check_invertible(flow, x, 3) < 1e-6
    flow.couplings[2].hyper[-1].bias.data[:] = 1e5  # the third adds 1e5 and takes it away
    with pytest.raises(ValueError, match="step 12 .* float32: coupling 3 of 4 .* 0.00") as said:
        flows.check_invertible(flow, x, 12)
    assert "at most 0.001 (lower learning_rate)" in str(said.value)
    assert flows.check_invertible(flow.double(), x.double(), 12) < 1e-9  # a fault of float32 alone
    flow.couplings[1].hyper[-1].bias.data[:] = math.inf
    with pytest.raises(ValueError, match="with an error of nan"):
        flows.check_invertible(flow, x.double(), 12)


def test_a_residual_network_is_what_is_written():
    network, x = moved(Residual(6, 3)), rows()
    z = x
    for each in network.layers[:-1]:
        z = z + (z @ each.weight.T + each.bias).clamp(min=0)
    z = z + z @ network.layers[-1].weight.T + network.layers[-1].bias
    assert torch.allclose(network(x), z, atol=1e-12)
    assert (Residual(6, 3)(x.float()) - x).abs().max() < 1e-2


def test_jacobians_are_the_product_over_layers():
    network, x = moved(Residual(6, 3)), rows()
    found = flows.jacobians(network, x, rows=3)
    for row, jacobian in zip(x, found, strict=True):
        expected, z = torch.eye(6).double(), row
        for place, each in enumerate(network.layers):
            inner = each(z)
            last = place == 2
            slope = torch.ones(6).double() if last else (inner > 0).double()
            expected = (torch.eye(6) + slope[:, None] * each.weight) @ expected
            z = z + (inner if last else inner.clamp(min=0))
        assert torch.allclose(jacobian, expected, atol=1e-10)


def test_conditions_of_known_maps():
    x = rows()
    scales = torch.tensor([8.0, 1.0, 2.0, 0.5, 1.0, 4.0]).double()
    assert torch.allclose(flows.conditions(Flow(6, 2, 4).double(), x), torch.zeros(7).double(),
                          atol=1e-2)  # fmt: skip
    stretched = nn.Linear(6, 6, bias=False).double()
    stretched.weight.data = scales.diag()
    assert torch.allclose(flows.conditions(stretched, x), torch.full((7,), math.log(16)).double())
    stretched.weight.data[0] = 0
    assert flows.conditions(stretched, x).isinf().all()


@pytest.mark.parametrize(
    "ask, message",
    [
        (lambda: flows.jacobians(nn.Linear(6, 4), rows().float()),
         "codes of length 4 from rows of 6; valid: the same length"),
        (lambda: flows.conditions(nn.Linear(6, 4), rows().float()), "codes of length 4"),
        (lambda: flows.jacobians(nn.Linear(6, 6), rows().float()[0]), r"x is \(6,\); valid"),
        (lambda: Flow(1, 2, 3), "dim is 1; valid: an integer of at least 2"),
        (lambda: Flow(4, 0, 3), "couplings is 0"),
        (lambda: Flow(4, 2, 0), "width is 0"),
        (lambda: Flow(4, 2, 3, 1.0), "scale is 1.0; valid: above 1"),
        (lambda: Residual(4, 0), "layers is 0"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()
