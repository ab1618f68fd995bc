"""The bounds from embeddings: formulas, tiles against the full matrix, dtypes, torch, bad input."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from mlcpc import allpairs, bounds, losses, ranks, tiles

BOTH = pytest.mark.parametrize("bound", [allpairs.ml_cpc, allpairs.cpc])
LOSSES = pytest.mark.parametrize("loss", [losses.MLCPCLoss, losses.CPCLoss])


def drawn(*shape, seed=0, dtype=torch.float64, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(dtype)


def pair(n, d=4, seed=0, dtype=torch.float64, scale=1.0):
    return drawn(n, d, seed=2 * seed, dtype=dtype, scale=scale), drawn(
        n, d, seed=2 * seed + 1, dtype=dtype, scale=scale
    )


def with_gradients(function, *tensors):
    leaves = [each.detach().clone().requires_grad_() for each in tensors]
    value = function(*leaves)
    return value.detach(), torch.autograd.grad(value, leaves)


def assert_close(left, right, tolerance=1e-10):
    for one, other in zip((left[0], *left[1]), (right[0], *right[1]), strict=True):
        assert one.shape == other.shape
        rounding = 1e-13 * float(other.abs().max())  # a gradient may be in the thousands
        assert (one.double() - other.double()).abs().max() <= tolerance + rounding


# ---------------------------------------------------------------------------------------------
# What is computed
# ---------------------------------------------------------------------------------------------


@BOTH
@given(
    n=st.integers(2, 40),
    tile=st.integers(1, 17),
    seed=st.integers(0, 10_000),
    share=st.floats(1e-3, 1.0),
    excluded=st.integers(0, 3),
    count=st.integers(4, 30),
    temperature=st.sampled_from([0.6, 0.05]),  # scores that need no shift, and that need one
)
@settings(deadline=None, max_examples=90)
def test_tiles_equal_the_full_matrix_in_value_and_gradients(
    bound, n, tile, seed, share, excluded, count, temperature
):
    x, y = pair(n, d=3, seed=seed)
    temperature = torch.tensor(temperature, dtype=torch.float64)

    def batch(tile):
        return lambda x, y, t: bound(x, y, t, share * n, tile=tile)

    assert_close(
        with_gradients(batch(tile), x, y, temperature), with_gradients(batch(0), x, y, temperature)
    )

    keys, exclude = drawn(count, 3, seed=seed + 1), None
    generator = torch.Generator().manual_seed(seed)
    if excluded:
        exclude = torch.rand(n, count, generator=generator).argsort(1)[:, :excluded]

    def queue(tile):
        alpha = share * (count + 1 - excluded)
        return lambda x, y, keys, t: bound(x, y, t, alpha, keys, exclude=exclude, tile=tile)

    inputs = (x, y, keys, temperature)
    assert_close(with_gradients(queue(tile), *inputs), with_gradients(queue(0), *inputs))


@BOTH
@pytest.mark.parametrize("alpha", [0.05, 1.0, 6.0])
def test_queue_form_is_the_square_form_when_the_queue_is_the_batch(bound, alpha):
    """The queue holds the batch, and each anchor leaves out its own positive."""
    x, y = pair(6)
    square = with_gradients(lambda x, y: bound(x, y, 0.3, alpha), x, y)
    own = torch.arange(6)
    for tile in (0, 2, 4):
        queue = with_gradients(
            lambda x, y, tile=tile: bound(x, y, 0.3, alpha, keys=y, exclude=own, tile=tile), x, y
        )
        assert_close(queue, square)
    # With other positives than those in the queue nothing is left out, and m is one more.
    fresh = bound(x, y, 0.3, alpha, keys=drawn(5, 4, seed=9))
    assert fresh <= bounds.ceiling(6, alpha) + 1e-12


def test_one_normaliser_is_the_same_in_both_directions():
    x, y = pair(9)
    there, back = allpairs.ml_cpc(x, y, 0.4, 0.5, tile=4), allpairs.ml_cpc(y, x, 0.4, 0.5, tile=4)
    assert abs(there - back) < 1e-12
    assert abs(allpairs.cpc(x, y, 0.4, tile=4) - allpairs.cpc(y, x, 0.4, tile=4)) > 1e-6


# ---------------------------------------------------------------------------------------------
# Numbers: derivatives, extremes, precision, memory
# ---------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("tile", [0, 2, None])
def test_gradcheck(bound, tile):
    x, y, keys = drawn(4, 3), drawn(4, 3, seed=1), drawn(5, 3, seed=2)
    negatives, temperature = drawn(4, 2, 3, seed=3), torch.tensor(0.8, dtype=torch.float64)
    for inputs, call in [
        ((x, y, temperature), lambda x, y, t: bound(x, y, t, 0.4, tile=tile)),
        ((x, y, keys, temperature), lambda x, y, k, t: bound(x, y, t, 2.0, k, tile=tile)),
        ((x, y, negatives, temperature), lambda x, y, q, t: bound(x, y, t, 3.0, negatives=q)),
    ]:
        leaves = [each.clone().requires_grad_() for each in inputs]
        assert torch.autograd.gradcheck(call, leaves, atol=1e-6)


@BOTH
@pytest.mark.parametrize("order", ["rising", "falling"])
@pytest.mark.parametrize("tile, alpha", [(7, 0.5), (None, 0.5), (7, 40), (None, 40), (None, 1)])
def test_extreme_scores(bound, order, tile, alpha):
    """Cosines at temperature 1e-3: scores from −1000 to 1000, in the worst order for a maximum."""
    x, y = pair(40, d=3)
    x, y = (torch.nn.functional.normalize(each, dim=1) for each in (x, y))
    rank = (x @ y.T).amax(1).argsort(descending=order == "falling")
    x, y = x[rank], y[rank]
    exact = with_gradients(lambda x, y: bound(x, y, 1e-3, alpha, tile=0), x, y)

    def call(x, y):
        return bound(x, y, 1e-3, alpha, tile=tile)

    assert_close(with_gradients(call, x, y), exact, 1e-9)
    value, gradients = with_gradients(call, *(each.float() for each in (x, y)))
    assert abs(value - exact[0]) < 1e-2  # a score of 1000 is known to 1e-4 in float32
    assert all(each.isfinite().all() for each in gradients)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("dtype, precision", [(torch.float64, 1e-9), (torch.float32, 1e-2)])
def test_scores_that_all_lie_far_from_zero(sign, dtype, precision):
    """About ±1400 bits: exponentials as they are would be infinite, or all zero."""
    x, y = (1 + 0.01 * each for each in pair(40, d=3))
    x, y = x / x.norm(dim=1, keepdim=True), sign * y / y.norm(dim=1, keepdim=True)
    exact = with_gradients(lambda x, y: allpairs.ml_cpc(x, y, 1e-3, tile=0), x, y)
    found = with_gradients(lambda x, y: allpairs.ml_cpc(x, y, 1e-3), x.to(dtype), y.to(dtype))
    assert abs(found[0].double() - exact[0]) < precision
    for one, other in zip(found[1], exact[1], strict=True):
        assert (one.double() - other).abs().max() < precision * other.abs().max()


@BOTH
@pytest.mark.parametrize("alpha", [0.5, 1])
def test_a_positive_that_overflows_is_refused(bound, alpha):
    """Its score is −∞ in float32, and all others are moderate."""
    x = torch.tensor([[1e30, 0.0], [0.0, 1.0]])
    y = torch.tensor([[-1e30, 0.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="scores beyond what their dtype holds"):
        bound(x, y, 1.0, alpha)


@BOTH
@pytest.mark.parametrize("temperature", [0.06, 0.0206])  # scores of 24 bits, and of 70
@pytest.mark.parametrize("length", [1e-25, 1e-12, 1.0, 1e12, 1e19, 1e25])
def test_short_anchors_and_long_keys(bound, length, temperature):
    """Sums of long rows stay finite: 2^70 of them would not, without a shift."""
    x, noise = pair(48, seed=5, dtype=torch.float32)
    x = x / x.norm(dim=1, keepdim=True)
    y = x + 0.01 * noise
    x, y = x / length, y / y.norm(dim=1, keepdim=True) * length

    def value(tile):
        return lambda x, y: bound(x, y, temperature, 0.5, tile=tile)

    tiled, exact = with_gradients(value(16), x, y), with_gradients(value(0), x.double(), y.double())
    assert abs(tiled[0].double() - exact[0]) < 1e-5
    for one, other in zip(tiled[1], exact[1], strict=True):
        assert (one.double() - other).abs().max() < 1e-4 * other.abs().max()


def test_only_scores_that_need_it_are_searched_for_a_maximum(monkeypatch):
    searched = []
    fall = tiles._fall
    monkeypatch.setattr(tiles, "_fall", lambda *tops: searched.append(tops[1]) or fall(*tops))
    x, y = (each / each.norm(dim=1, keepdim=True) for each in pair(32, dtype=torch.float32))
    for temperature, shifted in ((0.07, False), (0.03, True)):
        searched.clear()
        allpairs.ml_cpc(x.requires_grad_(), y, temperature, tile=8)
        assert searched and any(searched) == shifted


def test_a_fixed_shift_would_underflow_here():
    """All scores far below the largest that the norms allow."""
    x = torch.tensor([[1.0, 0.0]] * 5) + 1e-3 * drawn(5, 2, dtype=torch.float32)
    y = torch.tensor([[-1.0, 0.0]] * 5) + 1e-3 * drawn(5, 2, seed=1, dtype=torch.float32)
    for bound in (allpairs.ml_cpc, allpairs.cpc):
        value, gradients = with_gradients(lambda x, y: bound(x, y, 5e-3, tile=2), x, y)  # noqa: B023
        exact = with_gradients(
            lambda x, y: bound(x, y, 5e-3, tile=0),  # noqa: B023
            x.double(),
            y.double(),
        )
        assert abs(value - exact[0]) < 1e-4
        for one, other in zip(gradients, exact[1], strict=True):
            assert (one - other).abs().max() < 1e-3 * other.abs().max()


@BOTH
@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize("dtype, bound_of_error", [
    (torch.float32, 2e-6), (torch.float16, 1e-3), (torch.bfloat16, 8e-3)
])  # fmt: skip
def test_half_precision_against_float64_of_the_same_numbers(bound, tile, dtype, bound_of_error):
    """Only the gradient is rounded to the dtype: scores and sums are float32."""
    x, y = pair(50, d=8)
    x, y = (torch.nn.functional.normalize(each, dim=1).to(dtype) for each in (x, y))
    exact = with_gradients(lambda x, y: bound(x, y, 0.1, tile=0), x.double(), y.double())
    value, gradients = with_gradients(lambda x, y: bound(x, y, 0.1, tile=tile), x, y)
    assert value.dtype == torch.float32 and abs(value - exact[0]) < 1e-5
    for one, other in zip(gradients, exact[1], strict=True):
        assert one.dtype == dtype
        assert (one.double() - other).abs().max() <= bound_of_error * other.abs().max()


@BOTH
def test_a_gradient_scaler_reaches_half_precision_gradients(bound):
    """Scaled by more than float16 holds: the factor comes first, the rounding last."""
    x, y = pair(50, d=8)
    x, y = (torch.nn.functional.normalize(each, dim=1).half() for each in (x, y))
    t = torch.tensor(0.1, dtype=torch.float16)

    def scaled(tile):
        return lambda x, y, t: 2.0**16 * bound(x, y, t, 0.5, tile=tile)

    _, exact = with_gradients(scaled(0), x.double(), y.double(), t.double())
    for tile in (0, 16):
        _, gradients = with_gradients(scaled(tile), x, y, t)
        for one, other in zip(gradients[:2], exact[:2], strict=True):
            assert one.dtype == torch.float16
            assert (one.double() - other).abs().max() <= 1e-3 * other.abs().max()
    # Far below what float16 holds, until it is scaled up.
    x = y = torch.eye(8, dtype=torch.float16)
    _, (gradient,) = with_gradients(lambda x: 2.0**16 * bound(x, y, 0.06, tile=4), x)
    _, (exact,) = with_gradients(lambda x: 2.0**16 * bound(x, y, 0.06, tile=0), x.double())
    assert 0 < exact.abs().max() / 2**16 < 2**-20
    assert (gradient.double() - exact).abs().max() <= 1e-3 * exact.abs().max()


@BOTH
def test_mixed_dtypes(bound):
    x, y = pair(20)
    value = bound(x.bfloat16(), y, 0.3, tile=6)
    assert value.dtype == torch.float64
    assert abs(value - bound(x.bfloat16().double(), y, 0.3, tile=0)) < 1e-12


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that an operation gives back."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numbers = max(self.numbers, result.numel())
        return result


@pytest.mark.parametrize("shared", [True, False])
def test_no_tensor_is_larger_than_the_embeddings_and_a_tile(shared, monkeypatch):
    monkeypatch.setattr(tiles, "STRIP_SCORES", 0)
    x, y = pair(1000, d=16, dtype=torch.float32)
    temperature = torch.tensor(0.1)
    with Largest() as largest:
        tiles.one_pass(
            allpairs.Given(x, y, temperature, torch.tensor(1.0)), None, shared, False,
            [True, True, False, False, True], [64, 64], ranks.Alone(1000),
        )  # fmt: skip
    strip = 64 * 1000 if not shared else 0  # whole rows, the fewest that are taken at once
    assert 1000 * 16 <= largest.numbers <= max(1000 * 16, 64 * 64, 1.05 * strip)


class Made(TorchDispatchMode):
    """Counts the tensors of a size that operations make, views of others left out."""

    def __init__(self, numbers):
        super().__init__()
        self.numbers, self.count = numbers, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.numel() == self.numbers:
            self.count += not function.is_view and function is not torch.ops.aten.detach.default
        return result


@BOTH
def test_backward_makes_the_two_gradients_and_nothing_else(bound):
    x, y = (each.requires_grad_() for each in pair(50, d=16))
    value = bound(x, y, 0.1, tile=8)
    with Made(50 * 16) as made:
        value.backward()
    assert made.count == 2


@BOTH
def test_no_gradient_no_work(bound, monkeypatch):
    seen = []
    add = tiles._Tiles.add
    monkeypatch.setattr(
        tiles._Tiles, "add",
        lambda self, *args: seen.append((self.of_left, self.of_right)) or add(self, *args),
    )  # fmt: skip
    x, y = pair(6)
    bound(x, y, 0.5, tile=3)
    with torch.no_grad():
        bound(x.clone().requires_grad_(), y, 0.5, tile=3)
    assert seen and all(left is None and right is None for left, right in seen)
    seen.clear()
    bound(x, y.clone().requires_grad_(), 0.5, tile=3).backward()
    assert all(left is None and right is not None for left, right in seen)
    seen.clear()
    queries = x.clone().requires_grad_()
    bound(queries, y, 0.5, keys=y, tile=3).backward()  # a queue takes no gradient
    assert all(left is not None and right is None for left, right in seen)
    assert queries.grad is not None


# ---------------------------------------------------------------------------------------------
# PyTorch around it
# ---------------------------------------------------------------------------------------------


@BOTH
def test_second_derivative_is_refused_by_tiles_and_given_by_the_plain_path(bound):
    x, y = pair(5)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(bound(x, y, 0.5, tile=2), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative.*valid: tile=0"):
        gradient.square().sum().backward()
    assert torch.autograd.gradgradcheck(lambda x: bound(x, y, 0.5, tile=0), x)


@BOTH
@pytest.mark.parametrize("tile", [0, 4])
def test_autocast_changes_nothing(bound, tile):
    x, y = pair(30, dtype=torch.float32)
    expected = with_gradients(lambda x, y: bound(x, y, 0.3, tile=tile), x, y)
    leaves = [each.clone().requires_grad_() for each in (x, y)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = bound(*leaves, 0.3, tile=tile)
    assert_close((value, torch.autograd.grad(value, leaves)), expected, 0)


@BOTH
def test_torch_func(bound):
    xs, ys = drawn(3, 6, 4), drawn(3, 6, 4, seed=1)
    t = torch.tensor(0.5, dtype=torch.float64)

    def call(x, y, t):
        return bound(x, y, t, 0.7)

    expected = [with_gradients(call, x, y, t) for x, y in zip(xs, ys, strict=True)]
    value, gradients = torch.func.grad_and_value(call, argnums=(0, 1, 2))(xs[0], ys[0], t)[::-1]
    assert_close((value, gradients), expected[0])
    values = torch.vmap(call, in_dims=(0, 0, None))(xs, ys, t)
    assert (values - torch.stack([each[0] for each in expected])).abs().max() < 1e-12
    each = torch.vmap(torch.func.grad(call, argnums=(0, 1, 2)), in_dims=(0, 0, None))(xs, ys, t)
    for index in range(3):
        assert_close((values[index], [part[index] for part in each]), expected[index])
    summed = torch.func.grad(lambda x: torch.vmap(call, (0, 0, None))(x, ys, t).sum())(xs)
    assert (summed - each[0]).abs().max() < 1e-12
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.func.grad(lambda x: torch.func.grad(call)(x, ys[0], t).sum())(xs[0])
    with pytest.raises(NotImplementedError, match="forward mode"):
        torch.func.hessian(call)(xs[0], ys[0], t)


@pytest.mark.parametrize("tile", [0, 16])
def test_compile(tile):
    """One graph without a break, value and gradients as without compilation."""
    x, y = pair(40, d=8, dtype=torch.float32)
    t = torch.tensor(0.3)

    def call(x, y, t):
        return allpairs.ml_cpc(2 * x, y, t, 0.7, tile=tile).sin()

    torch._dynamo.reset()
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    assert_close(with_gradients(compiled, x, y, t), with_gradients(call, x, y, t), 1e-6)


def test_compile_takes_a_module_whose_keys_are_its_anchors():
    x, y = pair(20, d=8, dtype=torch.float32)
    loss = losses.CPCLoss(0.3, both_views=True, tile=16)
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    assert_close(with_gradients(compiled, x, y), with_gradients(loss, x, y), 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("shared", [True, False])
def test_the_operator_gives_what_it_tells_the_compiler(shared, dtype):
    """Shapes, dtypes and strides, for embeddings that are not contiguous either."""
    x, y = (each.T for each in pair(4, d=9, dtype=dtype))
    keys, t = drawn(5, 4, dtype=dtype), torch.tensor([0.5], dtype=dtype)
    for queue in (None, keys, keys.repeat(1, 2)[:, ::2]):
        needs = [True, True, queue is not None, False, True]
        arguments = (x, y, queue, None, t, torch.tensor(1.0), *[None] * 6, shared, False)
        torch.library.opcheck(
            allpairs.one_pass, (*arguments, needs, [4, 4]),
            test_utils=("test_schema", "test_faketensor"),
        )  # fmt: skip


# ---------------------------------------------------------------------------------------------
# Modules
# ---------------------------------------------------------------------------------------------


def test_losses_are_the_known_ones():
    x, y = pair(7, dtype=torch.float32)
    u, v = (torch.nn.functional.normalize(each, dim=1) for each in (x, y))
    own = torch.arange(7)
    entropy = torch.nn.functional.cross_entropy
    logits = u @ v.T / 0.2
    assert abs(losses.CPCLoss(0.2)(x, y) - entropy(logits, own)) < 1e-5
    clip = (entropy(logits, own) + entropy(logits.T, own)) / 2
    assert abs(losses.CPCLoss(symmetric=True)(x, y, torch.tensor(5.0)) - clip) < 1e-5
    # MoCo: the positive first, then the queue.
    queue = torch.nn.functional.normalize(drawn(11, 4, seed=9, dtype=torch.float32), dim=1)
    moco = torch.cat([(u * v).sum(1, keepdim=True), u @ queue.T], 1) / 0.2
    expected = entropy(moco, torch.zeros(7, dtype=torch.long))
    assert abs(losses.CPCLoss(0.2)(x, y, keys=queue) - expected) < 1e-5
    # SimCLR's NT-Xent: both views of all others, never the sample itself.
    z = torch.cat([u, v])
    logits = (z @ z.T / 0.2).fill_diagonal_(-math.inf)
    ntxent = entropy(logits, torch.cat([own + 7, own]))
    assert abs(losses.CPCLoss(0.2, both_views=True)(x, y) - ntxent) < 1e-5
    # ML-CPC: a flat softmax with mass 1/n on each positive.
    flat = (u @ v.T / 0.2).flatten().log_softmax(0)[own * 8].mean()
    assert abs(losses.MLCPCLoss(0.2)(x, y) - (-math.log(7) - flat)) < 1e-5


@LOSSES
def test_named_parts(loss):
    x, y = pair(8, dtype=torch.float32)
    x.requires_grad_()
    parts = loss(0.3, alpha=0.5)(x, y, output_dict=True)
    assert set(parts) == {"loss", "bound", "ceiling", "share"}
    assert abs(parts["ceiling"] - math.log(16)) < 1e-6
    assert abs(parts["loss"] - (parts["ceiling"] - parts["bound"])) < 1e-6
    assert abs(parts["share"] - parts["bound"] / parts["ceiling"]) < 1e-6
    assert parts["loss"].requires_grad and not parts["bound"].requires_grad
    assert parts["loss"] == loss(0.3, alpha=0.5)(x, y) > 0
    assert loss(alpha=8.0)(x, y, output_dict=True)["share"].isnan()  # a ceiling of zero


@LOSSES
def test_schedule_and_learned_temperature_survive_saving(loss, tmp_path):
    def schedule(step):
        return 4.0 * 0.5**step

    def build():
        return loss(0.5, schedule, learnable_temperature=True, symmetric=True)

    x, y = pair(8, dtype=torch.float32)
    first = build()
    optimiser = torch.optim.SGD(first.parameters(), lr=0.1)
    ceilings = []
    for _ in range(3):
        parts = first(x, y, output_dict=True)
        ceilings.append(parts["ceiling"].item())
        optimiser.zero_grad()
        parts["loss"].backward()
        optimiser.step()
    assert ceilings == pytest.approx([math.log(2), math.log(4), math.log(8)])
    assert first.log_temperature.item() != pytest.approx(math.log(0.5))
    torch.save(first.state_dict(), tmp_path / "loss.pt")
    second = build()
    second.load_state_dict(torch.load(tmp_path / "loss.pt"))
    assert torch.equal(first.eval()(x, y), second.eval()(x, y))
    assert first.step == second.step == 3  # evaluation does not count
    assert set(first.state_dict()) == {"log_temperature", "step"}
    plain = loss(0.5, 2.0, both_views=True)
    for again in (copy.deepcopy(plain), pickle.loads(pickle.dumps(plain))):
        assert repr(again) == repr(plain) and torch.equal(again(x, y), plain(x, y))


@LOSSES
@pytest.mark.parametrize("scale", [1e-30, 1e25, 1e38])
def test_lengths_whose_squares_overflow_or_vanish_are_normalised(loss, scale):
    x, y = (each / each.abs().max() for each in pair(6, dtype=torch.float32))
    far = (scale * x).requires_grad_()
    value = loss(0.5)(far, y)
    assert torch.allclose(value, loss(0.5)(x, y), rtol=1e-5)
    value.backward()
    assert far.grad.isfinite().all()
    assert loss(0.5)(torch.zeros(4, 2), torch.zeros(4, 2)).isfinite()  # a row without direction


@LOSSES
def test_embeddings_are_normalised_unless_told_otherwise(loss):
    x, y = pair(6, dtype=torch.float16)
    assert abs(loss(0.5)(5 * x, y) - loss(0.5)(x, y)) < 1e-3
    bound = allpairs.ml_cpc if loss is losses.MLCPCLoss else allpairs.cpc
    assert math.log(6) - loss(0.5, normalise=False)(x, y) == pytest.approx(
        bound(x, y, 0.5).item(), abs=1e-5
    )


# ---------------------------------------------------------------------------------------------
# Bad input
# ---------------------------------------------------------------------------------------------

ONES = torch.ones(3, 2)
BAD = [
    ((ONES, torch.ones(4, 2), 1.0), {}, r"y has shape \(4, 2\); valid: that of x, \(3, 2\)"),
    ((ONES, torch.ones(3, 5), 1.0), {}, r"y has shape \(3, 5\); valid"),
    ((torch.ones(0, 2), torch.ones(0, 2), 1.0), {}, r"x has shape \(0, 2\); valid"),
    ((torch.ones(3, 0), torch.ones(3, 0), 1.0), {}, r"x has shape \(3, 0\); valid"),
    ((torch.ones(3), torch.ones(3), 1.0), {}, r"x has shape \(3,\); valid"),
    ((torch.ones(1, 2), torch.ones(1, 2), 1.0), {}, "x has 1 row; valid: at least 2"),
    ((ONES.long(), ONES, 1.0), {}, "x is torch.int64; valid: a floating-point tensor"),
    (([[1.0]], ONES, 1.0), {}, "x is list; valid"),
    ((ONES, None, 1.0), {}, "y is NoneType; valid"),
    ((ONES * math.nan, ONES, 1.0), {}, "x contains nan; valid: finite embeddings"),
    ((ONES, ONES * math.inf, 1.0), {}, "y contains inf; valid: finite embeddings"),
    ((ONES, ONES, 0), {}, "temperature is 0; valid: 0 < temperature < inf"),
    ((ONES, ONES, -0.1), {}, "temperature is -0.1; valid"),
    ((ONES, ONES, math.nan), {}, "temperature is nan; valid"),
    ((ONES, ONES, math.inf), {}, "temperature is inf; valid"),
    ((ONES, ONES, "1"), {}, "temperature is '1'; valid"),
    ((ONES, ONES, torch.tensor(-1.0)), {}, "temperature is -1.0; valid"),
    ((ONES, ONES, torch.ones(2)), {}, "temperature is a tensor .*; valid: one"),
    ((ONES, ONES, 1.0, 0), {}, "alpha is 0; valid: 0 < alpha <= m = 3"),
    ((ONES, ONES, 1.0, 3.1), {}, "alpha is 3.1; valid: 0 < alpha <= m = 3"),
    ((ONES, ONES, 1.0, math.nan), {}, "alpha is nan; valid"),
    ((ONES, ONES, 1.0, 3.1, torch.ones(2, 2)), {}, "alpha is 3.1; valid: 0 < alpha <= m = 3"),
    ((ONES, ONES, 1.0, 1.0, torch.ones(2, 3)), {}, r"keys has shape \(2, 3\); valid: \(K, 2\)"),
    ((ONES, ONES, 1.0, 1.0, torch.ones(0, 2)), {}, r"keys has shape \(0, 2\); valid"),
    ((ONES, ONES, 1.0, 1.0, ONES * math.nan), {}, "keys contains nan; valid"),
    ((ONES, ONES, 1.0), {"negatives": ONES}, r"negatives has shape \(3, 2\); valid: \(3, h, 2"),
    ((ONES, ONES, 1.0), {"negatives": torch.ones(3, 0, 2)}, "negatives has shape"),
    ((ONES, ONES, 1.0), {"negatives": torch.ones(3, 1, 2) / 0}, "negatives contains inf"),
    ((ONES, ONES, 1.0, 1.0, ONES), {"exclude": torch.arange(2)}, r"exclude has shape \(2,\)"),
    ((ONES, ONES, 1.0, 1.0, ONES), {"exclude": torch.arange(1, 4)}, "exclude contains 3"),
    ((ONES, ONES, 1.0, 1.0, ONES), {"exclude": torch.arange(-2, 1)}, "exclude contains -2"),
    ((ONES, ONES, 1.0, 1.0, ONES), {"exclude": torch.ones(3)}, "exclude is torch.float32"),
    ((ONES, ONES, 1.0, 1.0, ONES), {"exclude": torch.ones(3, 2).long()}, "exclude repeats"),
    ((ONES, ONES, 1.0, 1.0, ONES), {"exclude": torch.ones(3, 3).long()}, "exclude has shape"),
    ((ONES, ONES.to("meta"), 1.0), {}, "y is on meta; valid: the device of x, cpu"),
    ((ONES, ONES, 1.0, 1.0, ONES.to("meta")), {}, "keys is on meta; valid"),
    ((ONES, ONES, 1.0), {"negatives": torch.ones(3, 1, 2).to("meta")}, "negatives is on meta"),
    ((ONES, ONES, 1.0), {"tile": -1}, "tile is -1; valid"),
    ((ONES, ONES, 1.0), {"tile": True}, "tile is True; valid"),
    ((ONES, ONES, 1.0), {"gather": True}, "gather is True but torch.distributed has no"),
]


@BOTH
@pytest.mark.parametrize("arguments, options, message", BAD)
@pytest.mark.parametrize("tile", [0, 2])
def test_bad_input_is_named(bound, arguments, options, message, tile):
    with pytest.raises(ValueError, match=f"^{message}"):
        bound(*arguments, **{"tile": tile, **options})


@BOTH
@pytest.mark.parametrize("tile", [0, 2])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_scores_that_overflow_are_refused(bound, tile, sign):
    with pytest.raises(ValueError, match="; valid: "):
        bound(ONES * 1e30, sign * ONES * 1e30, 1.0, tile=tile)
    # A finite sum is only a quick look: large embeddings that do not overflow pass.
    assert bound(torch.ones(3, 2) * 1e38, ONES * 1e-38, 1.0, tile=tile).isfinite()


@LOSSES
def test_bad_settings_are_named(loss):
    for settings_, message in [
        ({"temperature": 0}, "temperature is 0"),
        ({"alpha": -1.0}, "alpha is -1.0"),
        ({"alpha": "1"}, "alpha is '1'"),
        ({"ddp": True}, "ddp is True without gather"),
        ({"both_views": True, "symmetric": True}, "both_views is True beside"),
    ]:
        with pytest.raises(ValueError, match=f"^{message}.*; valid: "):
            loss(**settings_)
    with pytest.raises(ValueError, match="^logit_scale is given"):
        loss(learnable_temperature=True)(ONES, ONES, torch.tensor(10.0))
    for scale in (0, -1.0, math.inf, math.nan, "1"):
        with pytest.raises(ValueError, match=f"^logit_scale is {scale!r}; valid: "):
            loss()(ONES, ONES, scale)
    for scale in (torch.tensor(0.0), torch.tensor(-1.0), torch.ones(2), torch.tensor(3)):
        with pytest.raises(ValueError, match="^logit_scale is .*; valid: "):
            loss()(ONES, ONES, scale)
    with pytest.raises(ValueError, match="^keys, negatives or exclude are given to a symmetric"):
        loss(symmetric=True)(ONES, ONES, keys=ONES)
    with pytest.raises(ValueError, match="^alpha is 40.0; valid: 0 < alpha <= m = 3"):
        loss(alpha=lambda step: 40.0)(ONES, ONES)


OF_EMBEDDINGS = [
    (*arguments[:2], message) for arguments, options, message in BAD
    if len(arguments) == 3 and not options and message.startswith(("x", "y has", "y is"))
]  # fmt: skip


@LOSSES
@pytest.mark.parametrize("options", [{}, {"normalise": False}, {"both_views": True}])
@pytest.mark.parametrize("x, y, message", OF_EMBEDDINGS)
def test_bad_embeddings_are_named_by_the_modules(loss, options, x, y, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        loss(**options)(x, y)


@LOSSES
def test_where_the_losses_of_other_libraries_stand(loss):
    """The loops that users of lightly, pytorch-metric-learning and open_clip write."""

    def two_views(encoder, x, y):
        return loss(0.5, both_views=True)(encoder(x), encoder(y))

    scale, images_and_texts = torch.nn.Parameter(torch.tensor(1.0)), loss(symmetric=True)

    def replacement(image_features, text_features, logit_scale, output_dict):
        return {"contrastive_loss": images_and_texts(image_features, text_features, logit_scale)}

    def open_clip(encoder, x, y):
        model_out = {
            "image_features": encoder(x), "text_features": y, "logit_scale": scale.exp()
        }  # fmt: skip
        losses = replacement(**model_out, output_dict=True)
        return sum(losses.values())

    for step in (two_views, open_clip):
        torch.manual_seed(0)
        x, y = pair(16, d=8, dtype=torch.float32)
        encoder = torch.nn.Linear(8, 8)
        optimiser = torch.optim.SGD([*encoder.parameters(), scale], lr=0.5)
        values = []
        for _ in range(8):
            value = step(encoder, x, x + 0.1 * y)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            values.append(value.item())
        assert values[-1] < 0.95 * values[0]
    assert scale.item() > 1.0  # the temperature that the model owns was learned
