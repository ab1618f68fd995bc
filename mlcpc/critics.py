"""Critics: functions that score a pair, many of them trained at once.

A critic takes samples x and y and returns the scores of all pairs. Every module here is a stack of
R critics of one shape, whose weights carry a leading dimension R: one program, R critics.

    separable   f(x, y) = ⟨a(x), b(y)⟩, two networks
    joint       f(x, y) = c(x, y), one network that reads both
    bilinear    f(x, y) = xᵀ W y
    inner       f(x, y) = ⟨x, y⟩/√d with a learned scale and offset
    saturated   f(x, y) = −log(e^−g + e^−t), g = s ⟨x, y⟩ − q (|x|² + |y|²)/2: three parameters

The log density ratio of a fitted normal pair, in closed form, is in :mod:`mlcpc.canonical`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from mlcpc.shapes import Float, Tensor

KINDS = ("separable", "joint", "bilinear", "inner", "saturated")
_PAIRS, _CUDA_PAIRS = 2048, 1 << 16  # pairs of a tile of the joint critic, on a GPU

X = Float[Tensor, "replicates n dim_x"]
Y = Float[Tensor, "replicates k dim_y"]
AllPairs = Float[Tensor, "replicates n k"]


@dataclass(frozen=True)
class CriticConfig:
    """Shape of a critic.

    Args:
        kind: separable, joint, bilinear, inner or saturated.
        width: units of each hidden layer.
        depth: hidden layers; 3 is what the authors' code builds when it is asked for 2.
        embedding: length of a(x) and b(y) of the separable critic.

    Raises:
        ValueError: an unknown kind, a size below 1.
    """

    kind: str = "separable"
    width: int = 256
    depth: int = 3
    embedding: int = 32

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}; valid: {', '.join(KINDS)}")
        for name in ("width", "depth", "embedding"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}; valid: an integer of at least 1")


def build(
    config: CriticConfig, dim_x: int, dim_y: int, seeds: Sequence[int] = (0,), copies: int = 1
) -> nn.Module:
    """A stack of ``len(seeds) * copies`` critics.

    Args:
        config: their shape.
        dim_x, dim_y: width of x and of y.
        seeds: seeds of the first weights.
        copies: critics that start from the weights of one seed. Replicate r has seed
            ``seeds[r // copies]``.

    Returns:
        a module that takes x (R, n, dim_x) and y (R, k, dim_y) and returns scores (R, n, k).

    Raises:
        ValueError: no seed, copies or a dimension below 1, an inner or saturated critic of unequal
            dimensions.
    """
    for name, value in (("dim_x", dim_x), ("dim_y", dim_y), ("copies", copies)):
        if value < 1:
            raise ValueError(f"{name} is {value}; valid: at least 1")
    if not seeds:
        raise ValueError("seeds is empty; valid: at least one seed")
    stack = _build(config, dim_x, dim_y, seeds, copies)
    stack.replicates = len(seeds) * copies
    return stack


def _build(
    config: CriticConfig, dim_x: int, dim_y: int, seeds: Sequence[int], copies: int
) -> nn.Module:
    start = _Start([torch.Generator().manual_seed(int(seed)) for seed in seeds], copies)
    if config.kind == "separable":
        return Separable(start, dim_x, dim_y, config)
    if config.kind == "joint":
        return JointCritic(start, dim_x, dim_y, config)
    if config.kind == "bilinear":
        return Bilinear(start, dim_x, dim_y)
    if dim_x != dim_y:
        raise ValueError(f"dim_y is {dim_y} for critic {config.kind}; valid: dim_x = {dim_x}")
    return Inner(start) if config.kind == "inner" else Saturated(start)


def baseline(
    dim: int, width: int = 512, depth: int = 2, seeds: Sequence[int] = (0,), copies: int = 1
) -> "MLP":
    """A stack of learned baselines log a(x), (R, n, dim) → (R, n, 1), for TUBA and its kin."""
    start = _Start([torch.Generator().manual_seed(int(seed)) for seed in seeds], copies)
    return MLP(start, [dim, *[width] * depth, 1])


@dataclass(frozen=True)
class _Start:
    """First weights: the same for all copies of a seed, uniform within 1/√(inputs)."""

    generators: list[torch.Generator]
    copies: int

    def __call__(self, *shape: int, inputs: int) -> nn.Parameter:
        bound = 1 / math.sqrt(inputs)
        drawn = [torch.rand(*shape, generator=each) for each in self.generators]
        weights = (2 * torch.stack(drawn) - 1) * bound
        return nn.Parameter(weights.repeat_interleave(self.copies, dim=0))

    @property
    def replicates(self) -> int:
        return len(self.generators) * self.copies


class MLP(nn.Module):
    """A stack of multilayer perceptrons with rectified hidden layers.

    Input (R, n, widths[0]), output (R, n, widths[-1]).
    """

    def __init__(self, start: _Start, widths: Sequence[int]) -> None:
        super().__init__()
        pairs = list(zip(widths, widths[1:], strict=False))
        self.weights = nn.ParameterList(start(a, b, inputs=a) for a, b in pairs)
        self.biases = nn.ParameterList(start(1, b, inputs=a) for a, b in pairs)

    def forward(self, x: Tensor) -> Tensor:
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            if layer < last:
                x = x.relu_()
        return x


class Separable(nn.Module):
    """⟨a(x), b(y)⟩: two networks, n + k evaluations for n·k scores.

    The networks differ in their first layer's input alone, so all later layers of both run as one
    stack of 2R.
    """

    def __init__(self, start: _Start, dim_x: int, dim_y: int, config: CriticConfig) -> None:
        super().__init__()
        width = config.width
        self.first_x = MLP(start, [dim_x, width])
        self.first_y = MLP(start, [dim_y, width])
        both = _Start(start.generators * 2, start.copies)
        self.rest = MLP(both, [*[width] * config.depth, config.embedding])

    def embed(self, x: X, y: Y) -> tuple[Tensor, Tensor]:
        """a(x) (R, n, embedding) and b(y) (R, k, embedding)."""
        n, k = x.shape[1], y.shape[1]
        if n == k:
            hidden = torch.cat([self.first_x(x), self.first_y(y)]).relu_()
            of_x, of_y = self.rest(hidden).chunk(2)
            return of_x, of_y
        # Rows that lack a partner are filled up and dropped again.
        of_x, of_y = (nn.functional.pad(z, (0, 0, 0, max(n, k) - z.shape[1])) for z in (x, y))
        of_x, of_y = self.embed(of_x, of_y)
        return of_x[:, :n], of_y[:, :k]

    def forward(self, x: X, y: Y) -> AllPairs:
        of_x, of_y = self.embed(x, y)
        return torch.bmm(of_x, of_y.mT)


class JointCritic(nn.Module):
    """c(x, y): one network on all n·k pairs.

    The first layer is linear in (x, y), so it is applied to x and to y once and added; no row of
    concatenated x and y is ever made. The rest runs in tiles of pairs that stay in the cache. Has
    first derivatives only.
    """

    def __init__(self, start: _Start, dim_x: int, dim_y: int, config: CriticConfig) -> None:
        super().__init__()
        width, inputs = config.width, dim_x + dim_y
        self.of_x = start(dim_x, width, inputs=inputs)
        self.of_y = start(dim_y, width, inputs=inputs)
        self.bias = start(1, width, inputs=inputs)
        self.rest = MLP(start, [*[width] * config.depth, 1])
        self._kept = _Kept()

    def forward(self, x: X, y: Y) -> AllPairs:
        of_x = torch.baddbmm(self.bias, x, self.of_x)
        of_y = torch.bmm(y, self.of_y)
        return _PairScores.apply(self._kept, of_x, of_y, *self.rest.weights, *self.rest.biases)


class _Kept:
    """Hidden layers of the last forward pass, in one piece of memory that all passes use.

    Allocating them anew takes longer than filling them: the system hands out such large pieces page
    by page. A backward pass that comes after another forward pass makes its layers again.
    """

    def __init__(self) -> None:
        self.memory, self.passes = torch.empty(0), 0

    def begin(self, like: Tensor, *shape: int) -> Tensor:
        self.passes += 1
        fits = self.memory.dtype == like.dtype and self.memory.device == like.device
        if not fits or self.memory.numel() < math.prod(shape):
            self.memory = like.new_empty(math.prod(shape))
        return self.memory[: math.prod(shape)].view(shape)

    def __deepcopy__(self, memo: dict) -> "_Kept":
        return _Kept()

    def __reduce__(self) -> tuple:
        return _Kept, ()


class _PairScores(torch.autograd.Function):
    """Scores (R, n, k) of rectified sums of all rows of x (R, n, h) and y (R, k, h) by an MLP."""

    @staticmethod
    def forward(ctx, kept: _Kept, of_x: Tensor, of_y: Tensor, *layers: Tensor) -> Tensor:
        ctx.save_for_backward(of_x, of_y, *layers)
        ctx.kept, ctx.memory = kept, None
        replicates, n, width = of_x.shape
        k, depth = of_y.shape[1], len(layers) // 2
        if any(ctx.needs_input_grad):
            ctx.memory = kept.begin(of_x, replicates, depth - 1, n * k, width)
            ctx.passes = kept.passes
        scores = of_x.new_empty(replicates, n, k)
        for r, rows, hidden in _tiles(of_x, of_y, layers, ctx.memory):
            last = torch.addmm(layers[-1][r], hidden[-1], layers[depth - 1][r])
            scores[r, rows] = last.view(-1, k)
        return scores

    @staticmethod
    def backward(ctx, of_scores: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "second derivatives of a joint critic; valid: backward with create_graph=False"
            )
        of_x, of_y, *layers = ctx.saved_tensors
        depth = len(layers) // 2
        weights = layers[:depth]
        gradients = [torch.zeros_like(each) for each in (of_x, of_y, *layers)]
        grad_x, grad_y = gradients[:2]
        grad_weights, grad_biases = gradients[2 : 2 + depth], gradients[2 + depth :]
        there = ctx.memory is not None and ctx.passes == ctx.kept.passes
        for r, rows, hidden in _tiles(of_x, of_y, layers, ctx.memory if there else None, there):
            grad = of_scores[r, rows].reshape(-1, 1)
            for layer in reversed(range(depth)):
                grad_weights[layer][r].addmm_(hidden[layer].T, grad)
                grad_biases[layer][r] += grad.sum(0)
                grad = grad @ weights[layer][r].T
                # the derivative of the rectifier: zero where its output is
                torch.ops.aten.threshold_backward.grad_input(
                    grad, hidden[layer], 0, grad_input=grad
                )
            grad = grad.view(-1, of_y.shape[1], grad.shape[1])
            torch.sum(grad, dim=1, out=grad_x[r, rows])
            grad_y[r] += grad.sum(0)
        return None, *gradients


def _tiles(
    of_x: Tensor,
    of_y: Tensor,
    layers: Sequence[Tensor],
    memory: Tensor | None,
    there: bool = False,
) -> Iterator[tuple[int, slice, list[Tensor]]]:
    """Replicate, anchors and rectified hidden layers (pairs, h) of each tile.

    Layers behind the first are written to ``memory`` (R, layers, n·k, h), or are ``there`` already;
    without memory the next tile overwrites them. The first is cheaper to make than to fetch.
    """
    n, k, width = of_x.shape[1], of_y.shape[1], of_x.shape[2]
    depth = len(layers) // 2
    rows = max(1, (_CUDA_PAIRS if of_x.is_cuda else _PAIRS) // k)
    tile = of_x.new_empty(1 if memory is not None else depth, min(rows, n) * k, width)
    for r in range(len(of_x)):
        for begin in range(0, n, rows):
            anchors = slice(begin, min(begin + rows, n))
            pairs = slice(anchors.start * k, anchors.stop * k)
            hidden = list(tile[:, : pairs.stop - pairs.start])
            if memory is not None:
                hidden += memory[r, :, pairs]
            first = hidden[0].view(-1, k, width)
            torch.add(of_x[r, anchors, None], of_y[r], out=first).relu_()
            for layer in range(depth - 1) if not there else ():
                weight, bias = layers[layer][r], layers[depth + layer][r]
                torch.addmm(bias, hidden[layer], weight, out=hidden[layer + 1]).relu_()
            yield r, anchors, hidden


class Bilinear(nn.Module):
    """xᵀ W y."""

    def __init__(self, start: _Start, dim_x: int, dim_y: int) -> None:
        super().__init__()
        self.weight = start(dim_x, dim_y, inputs=dim_x)

    def forward(self, x: X, y: Y) -> AllPairs:
        return torch.bmm(torch.bmm(x, self.weight), y.mT)


class Inner(nn.Module):
    """s·⟨x, y⟩/√d + o with a learned scale s, at first 1, and offset o, at first 0."""

    def __init__(self, start: _Start) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(start.replicates, 1, 1))
        self.offset = nn.Parameter(torch.zeros(start.replicates, 1, 1))

    def forward(self, x: X, y: Y) -> AllPairs:
        return torch.baddbmm(self.offset, self.scale * x, y.mT, alpha=1 / math.sqrt(x.shape[-1]))


class Saturated(nn.Module):
    r"""Three learned numbers s, q and t: a quadratic score that levels off at t.

    .. math:: f(x, y) = -\log\left(e^{-g} + e^{-t}\right), \qquad
              g = s \langle x, y \rangle - \tfrac q2 \left(|x|^2 + |y|^2\right)

    Of this form, up to a constant, is the best critic of J_α in the limit of many anchors for
    :class:`mlcpc.problems.CorrelatedGaussian`: s = ρ/(1 − ρ²), q = ρ²/(1 − ρ²), and
    t = log((m − α)/α) − I. At first s and q are 0, and t is 5.
    """

    def __init__(self, start: _Start) -> None:
        super().__init__()
        self.product, self.length = (
            nn.Parameter(torch.zeros(start.replicates, 1, 1)) for _ in range(2)
        )
        self.top = nn.Parameter(torch.full((start.replicates, 1, 1), 5.0))

    def forward(self, x: X, y: Y) -> AllPairs:
        lengths = x.square().sum(-1)[:, :, None] + y.square().sum(-1)[:, None, :]
        score = torch.baddbmm(-self.length / 2 * lengths, self.product * x, y.mT)
        return -torch.logaddexp(-score, -self.top)
