r"""The bounds of :mod:`mlcpc.bounds` from embeddings, without the n×n matrix of scores.

The score of a pair is its inner product over the temperature, f_ij = ⟨x_i, k_j⟩ / τ. The letters
n, m, α and β are those of :mod:`mlcpc.bounds`. Embeddings in, nats out.

ML-CPC has one normaliser Z for the whole batch. Its gradient is therefore a sum of unnormalised
terms, divided by Z once at the end:

.. math:: τ\, \frac{∂J_α}{∂x_i} = \Big(\frac1n - \frac{α e^{f_{ii}}}{Z}\Big) y_i
          - \frac{β}{Z} \sum_j e^{f_{ij}} k_j

So the value and every gradient come out of one pass over tiles of scores: three matrix products,
no tile kept, memory O(n·d) beside one tile. CPC has one normaliser for each row; its pass goes
over whole rows, a block of rows at a time, with the same three products.

Where the lengths of the embeddings show that all scores are moderate, exponentials are taken as
they are, and no tile is searched for its largest score. Else they are taken relative to a running
maximum. When it rises, what was summed up is scaled down. No shift is fixed in advance, so nothing
overflows, and nothing that matters underflows.

Not measured: a GPU. There the same tiles run, larger ones, as plain PyTorch.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from itertools import product
from numbers import Real

import torch
import torch.distributed as dist
from torch import nn

from mlcpc import bounds
from mlcpc.shapes import Float, Int, Tensor

Embeddings = Float[Tensor, "n d"]
Keys = Float[Tensor, "k d"]
LeftOut = Int[Tensor, "n"] | Int[Tensor, "n e"]
PairedNegatives = Float[Tensor, "n negatives d"]
Number = Float[Tensor, ""]

# Up to this many scores the full matrix is as fast as tiles (2 cores, d = 128).
PLAIN_SCORES = 384 * 384
# Rows and columns of a tile. 2 MiB of float32 are what the caches of two cores hold between the
# visits of a tile; a GPU wants fewer and larger ones, since it waits for the maximum of each.
TILE = {"cpu": (1024, 512), "cuda": (4096, 4096)}
# Scores that are known to lie within so many bits of zero need no shift: 2^40 times the number of
# pairs of any batch is far below the largest float32, and 2^-40 far above the smallest.
MODERATE = 40.0
# Scores that CPC holds at once, a block of whole rows (never fewer than 64 rows).
STRIP_SCORES = 16 * 2**20


def ml_cpc(
    x: Embeddings,
    y: Embeddings,
    temperature: float | Tensor,
    alpha: float = 1.0,
    keys: Keys | None = None,
    *,
    leave_out: LeftOut | None = None,
    negatives: PairedNegatives | None = None,
    gather: bool = False,
    group: "dist.ProcessGroup | None" = None,
    tile: int | None = None,
) -> Number:
    r"""Multi-label contrastive predictive coding from embeddings.

    .. math:: J_α = \frac1n \sum_i \log \frac{n m\, e^{⟨x_i, y_i⟩/τ}}{
              α \sum_j e^{⟨x_j, y_j⟩/τ} + β \sum_j \sum_k e^{⟨x_j, k_{jk}⟩/τ}}

    Negatives come from one of three places:

    - the batch (default): the negatives of x_i are the y_j with j ≠ i, and m = n;
    - a queue, ``keys`` (K, d): all K keys are negatives of every anchor, and m = K + 1. With
      ``leave_out`` (n,) or (n, e), the e positions it names are no negatives of that anchor, and
      m = K + 1 − e. So ``keys=y, leave_out=arange(n)`` is the batch form, and
      ``keys=cat([y, queue]), leave_out=arange(n)`` takes negatives from batch and queue;
    - pairs, ``negatives`` (n, m − 1, d): each anchor has its own.

    Embeddings are used as given: normalise them first if scores are to be cosines. Gradients go
    to x, y, keys, negatives and temperature, and only those asked for are computed.

    Args:
        x: anchors, (n, d), any floating dtype; half precision is added up in float32, and
            gradients are rounded to it last, after the factor of a gradient scaler.
        y: positives, (n, d), row i belongs to anchor i.
        temperature: τ > 0, a number or a tensor with one element, which may require a gradient.
        alpha: weight α of a positive in (0, m].
        keys: negatives of every anchor, (K, d).
        leave_out: positions in ``keys`` that are no negatives of an anchor, different ones in a
            row.
        negatives: own negatives of each anchor, (n, m − 1, d).
        gather: the batch is spread over the ranks of ``group``. Each rank passes its own rows, as
            many as it has. Every rank gets the value of the whole batch, and the gradient that a
            single process with the whole batch would give to its rows. What all ranks hold
            (temperature, keys, the weights of an encoder) gets a part of the gradient on each
            rank, and the parts add up to the whole. DistributedDataParallel takes the mean over
            ranks in place of that sum, so multiply the value by the number of ranks before
            ``backward``; the modules' ``ddp=True`` does it. Call ``backward`` on every rank.
        group: process group of ``gather``; None is the default group.
        tile: None picks the path by size; 0 is the plain one, with the whole matrix of scores and
            PyTorch's own derivatives of any order; above 0, the rows and columns of a tile.
            Tiles run under ``torch.compile``, ``torch.func.grad`` and ``torch.func.vmap``. They
            have reverse-mode first derivatives only. The plain path and ``negatives`` do not run
            inside ``vmap``, since they are checked for NaN.

    Returns:
        J_α in nats, at most ``bounds.ceiling(m, alpha)``; the higher the tighter. float32, or
        float64 if an input is.

    Raises:
        ValueError: different shapes or devices, no rows, no negatives, τ not in (0, ∞), α outside
            (0, m], NaN or infinite embeddings, scores that overflow. With ``gather``, on every
            rank. What needs a look at values is not checked by a plain path that is compiled.
        RuntimeError: a second derivative of the tiled path.
        NotImplementedError: forward-mode derivatives of the tiled path, from PyTorch.

    Source: Song & Ermon 2020, "Multi-label Contrastive Predictive Coding".
    """
    arguments = (x, y, keys, leave_out, negatives, temperature, alpha)
    return _bound(True, arguments, gather, group, tile)[0]


def cpc(
    x: Embeddings,
    y: Embeddings,
    temperature: float | Tensor,
    alpha: float = 1.0,
    keys: Keys | None = None,
    *,
    leave_out: LeftOut | None = None,
    negatives: PairedNegatives | None = None,
    gather: bool = False,
    group: "dist.ProcessGroup | None" = None,
    tile: int | None = None,
) -> Number:
    r"""Contrastive predictive coding (InfoNCE) from embeddings, one normaliser for each anchor.

    .. math:: L_α = \frac1n \sum_i \log \frac{m\, e^{⟨x_i, y_i⟩/τ}}{
              α e^{⟨x_i, y_i⟩/τ} + β \sum_k e^{⟨x_i, k_{ik}⟩/τ}}

    Arguments, gradients and errors as in :func:`ml_cpc`. At α = 1 it is log m minus the cross
    entropy of picking the positive. Memory O(n·d) beside a block of at least 64 whole rows.

    Returns:
        L_α in nats, at most ``bounds.ceiling(m, alpha)``; the higher the tighter.

    Source: van den Oord et al. 2018; the weight α is Song & Ermon 2020.
    """
    arguments = (x, y, keys, leave_out, negatives, temperature, alpha)
    return _bound(False, arguments, gather, group, tile)[0]


def _bound(
    shared: bool,
    arguments: tuple,
    gather: bool,
    group: "dist.ProcessGroup | None",
    tile: int | None,
) -> tuple[Tensor, int]:
    """The bound and m, by the plain path, by tiles, or by the tiles of all ranks."""
    if tile is not None and (isinstance(tile, bool) or not isinstance(tile, int) or tile < 0):
        raise ValueError(f"tile is {tile!r}; valid: None, 0 (plain) or a positive integer")
    if gather:
        return _gathered(shared, arguments, group, tile)
    m = _check_shapes(*arguments)
    x, y, keys, _, negatives, _, alpha = arguments
    bounds._check_alpha(alpha, m)
    small = len(x) * len(y if keys is None else keys) <= PLAIN_SCORES
    # Inside torch.func some values can not be read; the tiles have a rule for that.
    if negatives is not None or tile == 0 or (tile is None and small and not _transformed()):
        if torch.compiler.is_compiling():
            return _plain(shared, *arguments), m  # a graph can not branch on values
        _check_values(*arguments[:-1])
        value = _plain(shared, *arguments)
        _check_finite(value.item())
        return value, m
    return _tiled(shared, arguments, tile, None), m


def _transformed() -> bool:
    """Whether a transform of torch.func (grad, vmap, …) is at work."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


# ---------------------------------------------------------------------------------------------
# Plain: the scores in full, derivatives by PyTorch
# ---------------------------------------------------------------------------------------------


def _plain(
    shared: bool,
    x: Tensor,
    y: Tensor,
    keys: Tensor | None,
    leave_out: Tensor | None,
    negatives: Tensor | None,
    temperature: float | Tensor,
    alpha: float,
) -> Tensor:
    bound = bounds.ml_cpc if shared else bounds.cpc
    with _full_precision(x):
        return bound(*_scores(x, y, keys, leave_out, negatives, temperature), alpha)


def _scores(
    x: Tensor,
    y: Tensor,
    keys: Tensor | None,
    leave_out: Tensor | None,
    negatives: Tensor | None,
    temperature: float | Tensor,
) -> tuple[Tensor, Tensor]:
    """Scores of positives (n,) and of negatives (n, m − 1)."""
    dtype = _working_dtype(x, y, keys, negatives)
    x, y = x.to(dtype), y.to(dtype)
    if isinstance(temperature, Tensor):
        temperature = temperature.to(dtype).reshape(())
    x = x / temperature  # n·d divisions, not n²
    if keys is None and negatives is None:
        return bounds.split(x @ y.T)
    positive = (x * y).sum(dim=1)
    if negatives is not None:
        return positive, (negatives.to(dtype) @ x[:, :, None]).squeeze(2)
    negative = x @ keys.to(dtype).T
    if leave_out is not None:
        kept = torch.ones(negative.shape, dtype=torch.bool, device=x.device)
        kept.scatter_(1, leave_out.reshape(len(x), -1), False)
        negative = negative[kept].reshape(len(x), -1)
    return positive, negative


# ---------------------------------------------------------------------------------------------
# Tiles: value and gradients in one pass
# ---------------------------------------------------------------------------------------------


def _tiled(shared: bool, arguments: tuple, tile: int | None, ranks: "_Ranks | None") -> Tensor:
    x, y, keys, leave_out, _, temperature, alpha = arguments
    if not isinstance(temperature, Tensor):
        temperature = torch.tensor(temperature, dtype=torch.float64)
    if torch.compiler.is_compiling():  # a graph takes no tensor twice, and keys may be x or y
        y = y.view_as(y)
        keys = keys if keys is None else keys.view_as(keys)
    if _transformed():
        # A batched tensor does not say whether what it wraps requires a gradient.
        needs = [True, True, keys is not None, True]
    else:
        needs = [
            each is not None and each.requires_grad and torch.is_grad_enabled()
            for each in (x, y, keys, temperature)
        ]
    rows, columns = (tile, tile) if tile else TILE.get(x.device.type, TILE["cpu"])
    return _OnePass.apply(
        x, y, keys, leave_out, temperature, float(alpha), shared, needs, [rows, columns], ranks
    )[0]


class _OnePass(torch.autograd.Function):
    """The value, with the gradients that were found on the way to it."""

    @staticmethod
    def forward(x, y, keys, leave_out, temperature, alpha, shared, needs, tile, ranks):
        arguments = (x, y, keys, leave_out, temperature, alpha, shared, needs, tile)
        return one_pass(*arguments) if ranks is None else _one_pass(*arguments, ranks)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, y, keys, _, temperature, *_ = inputs
        _, *gradients = output
        ctx.mark_non_differentiable(*gradients)
        ctx.set_materialize_grads(False)  # no zeros, as large as the embeddings, for those
        ctx.save_for_backward(x, y, keys, temperature, *gradients)

    @staticmethod
    def backward(ctx, grad_value, *_):
        *inputs, of_x, of_y, of_keys, of_temperature = ctx.saved_tensors
        found = (of_x, of_y, of_keys, of_temperature)
        given = grad_value is not None
        wanted = [given and ctx.needs_input_grad[place] for place in (0, 1, 2, 4)]
        # Rounded to half precision last: a loss that is scaled up for it needs the range here.
        of_x, of_y, of_keys, of_temperature = (
            _Final.apply(grad_value, gradient, *inputs).to(each.dtype) if want else None
            for gradient, each, want in zip(found, inputs, wanted, strict=True)
        )
        return of_x, of_y, of_keys, None, of_temperature, None, None, None, None, None

    @staticmethod
    def vmap(info, in_dims, *inputs):
        """One pass after the other: a batch of passes would need a batch of tiles."""
        if inputs[-1] is not None:
            raise RuntimeError("gather=True does not run inside torch.func.vmap")
        outputs = []
        for index in range(info.batch_size):
            outputs.append(
                _OnePass.apply(
                    *(
                        each
                        if dim is None or not isinstance(each, Tensor)
                        else each.select(dim, index)
                        for each, dim in zip(inputs, in_dims, strict=True)
                    )
                )
            )
        return tuple(torch.stack(each) for each in zip(*outputs, strict=True)), (0,) * 5


class _Final(torch.autograd.Function):
    """A gradient times the gradient of the value, tied to the inputs so that no second derivative
    is silently taken as zero."""

    generate_vmap_rule = True

    @staticmethod
    def forward(grad_value, gradient, x, y, keys, temperature):
        return grad_value * gradient

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, *_):
        raise RuntimeError(
            "the tiled path has no second derivative, since it keeps no scores; "
            "valid: tile=0, which holds all scores at once"
        )


def _one_pass(
    x: Tensor,
    y: Tensor,
    keys: Tensor | None,
    leave_out: Tensor | None,
    temperature: Tensor,
    alpha: float,
    shared: bool,
    needs: list[bool],
    tile: list[int],
    ranks: "_Alone | _Ranks",
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Value, and gradients of x, y, keys and temperature; empty where not needed.

    Gradients have the dtype that they are added up in, float64 for the temperature.
    """
    need_x, need_y, need_keys, need_temperature = needs
    with torch.no_grad(), _full_precision(x):
        dtype = _working_dtype(x, y, keys)
        tau = temperature.item()
        left, right = x.to(dtype), y.to(dtype)
        columns = ranks.rows_of_all(right) if keys is None else keys.to(dtype)
        rows, width = tile
        if not shared:
            rows = min(rows, max(64, STRIP_SCORES // len(columns)))
        tiles = _Tiles(
            left / (tau * math.log(2)),  # scores in bits: 2^s is much faster than e^s
            columns,
            leave_out if leave_out is None else leave_out.reshape(len(x), -1),
            ranks.first if keys is None else None,
            (rows, width),
            need_x or need_temperature,
            need_y if keys is None else need_keys,
        )
        positive = (left * right).sum(dim=1).double() / tau
        normalise = _one_normaliser if shared else _normaliser_of_each_row
        value, of_positive = normalise(tiles, positive, alpha, ranks)
        of_x, of_columns = tiles.of_left, tiles.of_right

        # The score of a positive is <x_i, y_i>/τ, a path of its own to x and y.
        of_positive = (of_positive / tau).to(dtype)[:, None]
        of_y, of_keys = (of_columns, None) if keys is None else (None, of_columns)
        of_temperature = None
        if of_x is not None:
            of_x.div_(tau).addcmul_(of_positive, right)
        if need_temperature:
            # τ divides every score, so its gradient is −<x, ∂J/∂x>/τ, summed over rows.
            along = (left * of_x).sum(dim=1).double().sum()
            of_temperature = (along / -tau).to(temperature.device).reshape(temperature.shape)
        if of_y is not None:
            of_y = ranks.own_rows_of_sum(of_y).addcmul_(of_positive, left)
        elif need_y:
            of_y = left * of_positive
        found = (of_x if need_x else None, of_y, of_keys, of_temperature)
        return value.to(dtype), *(
            x.new_empty(0) if gradient is None else gradient.contiguous() for gradient in found
        )


@torch.library.custom_op("mlcpc::one_pass", mutates_args=())
def one_pass(
    x: Tensor,
    y: Tensor,
    keys: Tensor | None,
    leave_out: Tensor | None,
    temperature: Tensor,
    alpha: float,
    shared: bool,
    needs: list[bool],
    tile: list[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """One pass on one process, as an operator that torch.compile takes whole."""
    _check_values(x, y, keys, leave_out, None, temperature)
    return _one_pass(x, y, keys, leave_out, temperature, alpha, shared, needs, tile, _Alone(len(x)))


@one_pass.register_fake
def _(x, y, keys, leave_out, temperature, alpha, shared, needs, tile):
    dtype = _working_dtype(x, y, keys)
    dtypes = (dtype, dtype, dtype, torch.float64)
    return x.new_empty((), dtype=dtype), *(
        each.new_empty(each.shape, dtype=of_each) if need else x.new_empty(0)
        for each, of_each, need in zip((x, y, keys, temperature), dtypes, needs, strict=True)
    )


class _Tiles:
    """Scores a tile at a time, in bits, and the products that gradients are summed up from."""

    def __init__(
        self,
        left: Tensor,
        right: Tensor,
        leave_out: Tensor | None,
        first: int | None,
        tile: tuple[int, int],
        need_left: bool,
        need_right: bool,
    ) -> None:
        self.rows, self.columns = min(tile[0], len(left)), min(tile[1], len(right))
        self.first = first  # the positive of row i is column first + i; None if no column is
        excluded = 1 if first is not None else 0 if leave_out is None else leave_out.shape[1]
        self.negatives = len(right) - excluded  # m − 1
        self.of_left = torch.zeros_like(left) if need_left else None
        self.of_right = torch.zeros_like(right) if need_right else None
        # |<x, k>| is at most the product of the lengths; NaN and infinity are not moderate. A
        # length is infinite from 2^64 on, and sums of shorter rows times 2^40 are finite.
        longest = (each.norm(dim=1).amax().item() for each in (left, right))
        self.moderate = math.prod(longest) <= MODERATE
        self.lefts, self.rights = left.split(self.rows), right.split(self.columns)
        self.left_outs = None if leave_out is None else leave_out.split(self.rows)
        self.of_lefts = self.of_left.split(self.rows) if need_left else []
        self.of_rights = self.of_right.split(self.columns) if need_right else []

    def scores(self, i: int, j: int, room: Tensor) -> Tensor:
        """Tile (i, j), in ``room``; −inf where a pair is left out."""
        height, width = len(self.lefts[i]), len(self.rights[j])
        tile = room[: height * width].view(height, width)
        torch.mm(self.lefts[i], self.rights[j].T, out=tile)
        if self.first is not None:
            offset = self.first + i * self.rows - j * self.columns
            if -height < offset < width:
                tile.diagonal(offset).fill_(-math.inf)
        if self.left_outs is not None:
            places = self.left_outs[i] - j * self.columns
            row, which = ((places >= 0) & (places < width)).nonzero(as_tuple=True)
            tile[row, places[row, which]] = -math.inf
        return tile

    def add(self, weights: Tensor, i: int, j: int, left: Tensor, kept: tuple) -> None:
        """Add weights·right to block i of ``of_left`` and weightsᵀ·left to block j of ``of_right``.

        ``kept`` are the two factors for what is there already.
        """
        if self.of_lefts:
            self.of_lefts[i].addmm_(weights, self.rights[j], beta=kept[0])
        if self.of_rights:
            self.of_rights[j].addmm_(weights.T, left, beta=kept[1])


def _one_normaliser(
    tiles: _Tiles, positive: Tensor, alpha: float, ranks: "_Alone | _Ranks"
) -> tuple[Tensor, Tensor]:
    """ML-CPC: J and ∂J/∂f_ii; leaves Σ_j ∂J/∂f_ij k_j and Σ_i ∂J/∂f_ij x_i/τ in ``tiles``.

    Exponentials are relative to ``top``, the largest score so far. A block of sums stays relative
    to the top at its last visit, and is brought to the present one when it is visited again.
    """
    m = tiles.negatives + 1
    top, total = 0.0 if tiles.moderate else -math.inf, positive.new_zeros(())
    top_of_left, top_of_right = [None] * len(tiles.lefts), [None] * len(tiles.rights)
    room = tiles.lefts[0].new_empty(tiles.rows * tiles.columns)
    for i, j in product(range(len(tiles.lefts)), range(len(tiles.rights))):
        scores = tiles.scores(i, j, room)
        if not tiles.moderate:
            highest = scores.amax().item()
            if not highest < math.inf:
                top = math.inf  # NaN too; refused below, by every rank at once
                break
            if highest > top:
                total *= 2.0 ** (top - highest)
                top = highest
            if top == -math.inf:
                continue  # nothing but pairs that are left out, so far
            scores.sub_(top)
        scores.exp2_()
        total += scores.sum()
        kept = (_fall(top_of_left[i], top), _fall(top_of_right[j], top))
        tiles.add(scores, i, j, tiles.lefts[i], kept)
        top_of_left[i] = top_of_right[j] = top

    top_here = top
    top, top_of_positives = ranks.largest(top, positive.max().item())
    _check_finite(top, top_of_positives)
    total, total_of_positives, sum_of_positives = ranks.sums(
        total.item() * _fall(top_here, top),
        (positive - top_of_positives).exp().sum().item(),
        positive.sum().item(),
    )
    log_beta = _log_beta(alpha, m)
    log_positives = math.log(alpha) + top_of_positives + math.log(total_of_positives)
    log_negatives = log_beta + top * math.log(2) + math.log(total)
    larger = max(log_positives, log_negatives)
    log_z = larger + math.log(math.exp(log_positives - larger) + math.exp(log_negatives - larger))
    value = math.log(ranks.n * m) + sum_of_positives / ranks.n - log_z

    of_positive = 1 / ranks.n - (positive + (math.log(alpha) - log_z)).exp()
    of_top = -math.exp(log_beta + top * math.log(2) - log_z)  # ∂J/∂f of the largest score
    for block, old in zip(tiles.of_lefts, top_of_left, strict=False):
        block *= of_top * _fall(old, top)
    for block, old in zip(tiles.of_rights, top_of_right, strict=False):
        block *= of_top * _fall(old, top) * math.log(2)
    return positive.new_tensor(value), of_positive


def _normaliser_of_each_row(
    tiles: _Tiles, positive: Tensor, alpha: float, ranks: "_Alone | _Ranks"
) -> tuple[Tensor, Tensor]:
    """CPC: L and ∂L/∂f_ii; leaves Σ_j ∂L/∂f_ij k_j and Σ_i ∂L/∂f_ij x_i/τ in ``tiles``.

    A strip holds the scores of a block of whole rows, tile by tile. Once it is full the
    normalisers of its rows are known, so they go into the factors beside the products.
    """
    m = tiles.negatives + 1
    log_beta = _log_beta(alpha, m)
    log_z = torch.full_like(positive, math.inf)
    strip = tiles.lefts[0].new_empty(tiles.rows, len(tiles.rights) * tiles.columns).view(-1)
    rooms = strip.split(tiles.rows * tiles.columns)
    for i, left in enumerate(tiles.lefts):
        parts = [tiles.scores(i, j, room) for j, room in enumerate(rooms)]
        top = left.new_zeros(len(left))
        if not tiles.moderate:
            top = torch.stack([scores.amax(dim=1) for scores in parts]).amax(dim=0)
            if not top.abs().max().item() < math.inf:
                break  # refused below, by every rank at once
            for scores in parts:
                scores.sub_(top[:, None])
        total = torch.zeros_like(top)
        for scores in parts:
            total += scores.exp2_().sum(dim=1)
        rows = slice(i * tiles.rows, i * tiles.rows + len(left))
        log_top = log_beta + top.double() * math.log(2)
        log_z[rows] = torch.logaddexp(
            math.log(alpha) + positive[rows], log_top + total.double().log()
        )
        of_top = ((log_top - log_z[rows]).exp() / -ranks.n).to(left.dtype)[:, None]
        weighted = left * (of_top * math.log(2))
        for j, scores in enumerate(parts):
            tiles.add(scores, i, j, weighted, (1.0, 1.0))
        if tiles.of_lefts:
            tiles.of_lefts[i].mul_(of_top)

    _check_finite(*ranks.largest(log_z.max().item(), positive.max().item()))
    (value,) = ranks.sums((positive - log_z).sum().item())
    of_positive = (1 - (positive + (math.log(alpha) - log_z)).exp()) / ranks.n
    return positive.new_tensor(math.log(m) + value / ranks.n), of_positive


def _fall(old: float | None, top: float) -> float:
    """Factor that makes sums relative to ``top`` of sums relative to an older one, in bits."""
    return 1.0 if old is None else 2.0 ** (old - top)


def _log_beta(alpha: float, m: int) -> float:
    return math.log((m - alpha) / (m - 1)) if alpha < m else -math.inf


def _working_dtype(*tensors: Tensor | None) -> torch.dtype:
    """float32, or float64 if one of the tensors is."""
    wide = any(each is not None and each.dtype == torch.float64 for each in tensors)
    return torch.float64 if wide else torch.float32


def _full_precision(x: Tensor):
    """Autocast switched off: the scores of half-precision embeddings are made in float32."""
    device = x.device.type
    if torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


# ---------------------------------------------------------------------------------------------
# One process, or several
# ---------------------------------------------------------------------------------------------


class _Alone:
    """The whole batch is here."""

    first = 0

    def __init__(self, n: int) -> None:
        self.n = n

    def rows_of_all(self, rows: Tensor) -> Tensor:
        return rows

    def own_rows_of_sum(self, sums: Tensor) -> Tensor:
        return sums

    def largest(self, *values: float) -> tuple[float, ...]:
        return values

    def sums(self, *values: float) -> tuple[float, ...]:
        return values


class _Ranks:
    """The batch is spread over the ranks of a process group, a block of rows on each."""

    def __init__(self, group: "dist.ProcessGroup | None", device: torch.device) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise ValueError(
                "gather is True but torch.distributed has no process group; "
                "valid: gather=True after torch.distributed.init_process_group"
            )
        self.group, self.device = group, device
        self.world, self.rank = dist.get_world_size(group), dist.get_rank(group)

    def agree(self, refusal: ValueError | None, n: int, same: dict[str, float]) -> None:
        """Learn how many rows each rank has; raise on all ranks if one was refused.

        A rank that raised alone would leave the others waiting for it.
        """
        mine = torch.tensor(
            [refusal is None, n, *same.values()], dtype=torch.float64, device=self.device
        )
        table = self._all(mine).tolist()
        if refusal is not None:
            raise refusal
        for rank, (accepted, *_) in enumerate(table):
            if not accepted:
                raise ValueError(f"the arguments of rank {rank} were refused, see its own error")
        for place, name in enumerate(same, start=2):
            values = [row[place] for row in table]
            if len(set(values)) > 1:
                raise ValueError(f"{name} is {values} on the ranks; valid: the same on each")
        self.counts = [int(row[1]) for row in table]
        self.n, self.first = sum(self.counts), sum(self.counts[: self.rank])

    def rows_of_all(self, rows: Tensor) -> Tensor:
        """(n_local, d) of each rank -> (n, d); one exchange of padded blocks."""
        largest = max(self.counts)
        padded = rows.new_zeros(largest, rows.shape[1])
        padded[: len(rows)] = rows
        blocks = self._all(padded)
        if min(self.counts) == largest:
            return blocks.flatten(0, 1)
        return torch.cat([block[:count] for block, count in zip(blocks, self.counts, strict=True)])

    def own_rows_of_sum(self, sums: Tensor) -> Tensor:
        """Sum of the (n, d) of all ranks, each rank its own rows."""
        for rank, block in enumerate(sums.split(self.counts)):
            dist.reduce(block, group=self.group, group_dst=rank)
        return sums.split(self.counts)[self.rank].clone()

    def all_with_own(self, live: Tensor) -> Tensor:
        """What each rank has, (world, …); a gradient flows to the part of this rank."""
        every = self._all(live.detach())
        every[self.rank] = live
        return every

    def largest(self, *values: float) -> tuple[float, ...]:
        return self._reduced(values, dist.ReduceOp.MAX)

    def sums(self, *values: float) -> tuple[float, ...]:
        return self._reduced(values, dist.ReduceOp.SUM)

    def _reduced(self, values: tuple[float, ...], operation: object) -> tuple[float, ...]:
        reduced = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(reduced, operation, group=self.group)
        return tuple(reduced.tolist())

    def _all(self, tensor: Tensor) -> Tensor:
        every = tensor.new_empty(self.world, *tensor.shape)
        dist.all_gather(list(every.unbind()), tensor.contiguous(), group=self.group)
        return every


@torch.compiler.disable
def _gathered(
    shared: bool, arguments: tuple, group: "dist.ProcessGroup | None", tile: int | None
) -> tuple[Tensor, int]:
    """The bound of the rows of all ranks together, and m."""
    x, y, keys, leave_out, negatives, temperature, alpha = arguments
    ranks = _Ranks(group, x.device if isinstance(x, Tensor) else torch.device("cpu"))
    in_batch = keys is None and negatives is None
    names = ("m", "width of x", "bits of x", "temperature", "alpha", "gradient of y")
    refusal, n, same = None, 0, [0.0] * len(names)
    try:
        m = _check_shapes(*arguments, least=1)
        _check_values(x, y, keys, leave_out, negatives, temperature)
        bounds._check_alpha(alpha, math.inf if in_batch else m)
        bits = torch.finfo(_working_dtype(x, y, keys, negatives)).bits
        # The gradients of y in a batch are summed over ranks, which all or none must do.
        summed = in_batch and y.requires_grad and torch.is_grad_enabled()
        n = len(x)
        same = [0 if in_batch else m, x.shape[1], bits, float(temperature), alpha, summed]
    except ValueError as error:
        refusal = error
    ranks.agree(refusal, n, dict(zip(names, same, strict=True)))
    if in_batch:
        m = ranks.n
        if m < 2:
            raise ValueError("x has 1 row on all ranks together; valid: at least 2, or keys")
        bounds._check_alpha(alpha, m)
    if negatives is None:
        return _tiled(shared, arguments, tile, ranks), m
    with _full_precision(x):
        positive, negative = _scores(x, y, None, None, negatives, temperature)
        if shared:
            # J of the rows here says what their part of Z is; log Z of all is what is shared.
            local = bounds.ml_cpc(positive, negative, alpha)
            log_z = math.log(n * m) + positive.mean() - local
            parts = ranks.all_with_own(torch.stack([positive.sum(), log_z]))
            log_z = parts[:, 1].logsumexp(dim=0)
            return math.log(ranks.n * m) + parts[:, 0].sum() / ranks.n - log_z, m
        parts = ranks.all_with_own(n * bounds.cpc(positive, negative, alpha))
        return parts.sum() / ranks.n, m


# ---------------------------------------------------------------------------------------------
# Checks
# ---------------------------------------------------------------------------------------------


def _check_shapes(
    x: Tensor,
    y: Tensor,
    keys: Tensor | None,
    leave_out: Tensor | None,
    negatives: Tensor | None,
    temperature: float | Tensor,
    alpha: float,
    least: int = 2,
) -> int:
    """m; raises for what can be seen without reading a value."""
    for name, tensor in (("x", x), ("y", y), ("keys", keys), ("negatives", negatives)):
        if tensor is None and name in ("keys", "negatives"):
            continue
        if not (isinstance(tensor, Tensor) and tensor.is_floating_point()):
            kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ValueError(f"{name} is {kind}; valid: a floating-point tensor of embeddings")
        if tensor.device != x.device:
            raise ValueError(f"{name} is on {tensor.device}; valid: the device of x, {x.device}")
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"x has shape {tuple(x.shape)}; valid: (n, d) with n, d at least 1")
    n, d = x.shape
    if y.shape != x.shape:
        raise ValueError(f"y has shape {tuple(y.shape)}; valid: that of x, ({n}, {d})")
    if isinstance(temperature, Tensor):
        if temperature.numel() != 1 or not temperature.is_floating_point():
            raise ValueError(
                f"temperature is a tensor of {temperature.dtype} with shape "
                f"{tuple(temperature.shape)}; valid: one floating-point number"
            )
    elif not (isinstance(temperature, Real) and 0 < temperature < math.inf):
        raise ValueError(f"temperature is {temperature!r}; valid: 0 < temperature < inf")
    if negatives is not None:
        if keys is not None:
            raise ValueError("negatives is given beside keys; valid: one of the two")
        if negatives.ndim != 3 or negatives.shape[::2] != x.shape or negatives.shape[1] < 1:
            raise ValueError(
                f"negatives has shape {tuple(negatives.shape)}; "
                f"valid: ({n}, m - 1, {d}) with m at least 2"
            )
        return negatives.shape[1] + 1
    if keys is None:
        if leave_out is not None:
            raise ValueError("leave_out is given without keys; valid: positions in keys")
        if n < least:
            raise ValueError(f"x has {n} row; valid: at least {least} rows, or keys or negatives")
        return n
    if keys.ndim != 2 or keys.shape[1] != d or len(keys) < 1:
        raise ValueError(f"keys has shape {tuple(keys.shape)}; valid: (K, {d}) with K at least 1")
    if leave_out is None:
        return len(keys) + 1
    kind = leave_out.dtype if isinstance(leave_out, Tensor) else type(leave_out).__name__
    if kind not in (torch.int64, torch.int32):
        raise ValueError(f"leave_out is {kind}; valid: an integer tensor (n,) or (n, e)")
    wide = leave_out.reshape(len(leave_out), -1) if leave_out.ndim in (1, 2) else None
    if wide is None or len(wide) != n or not 1 <= wide.shape[1] < len(keys):
        raise ValueError(
            f"leave_out has shape {tuple(leave_out.shape)}; "
            f"valid: ({n},) or ({n}, e) with 1 <= e < K = {len(keys)}"
        )
    return len(keys) + 1 - wide.shape[1]


def _check_values(
    x: Tensor,
    y: Tensor,
    keys: Tensor | None,
    leave_out: Tensor | None,
    negatives: Tensor | None,
    temperature: float | Tensor,
) -> None:
    for name, tensor in (("x", x), ("y", y), ("keys", keys), ("negatives", negatives)):
        # A finite sum has finite terms, and is far cheaper than a look at each of them.
        if tensor is None or math.isfinite(tensor.detach().sum(dtype=torch.float32).item()):
            continue
        infinite = ~tensor.isfinite()
        if infinite.any():
            raise ValueError(
                f"{name} contains {tensor[infinite][0].item()}; valid: finite embeddings"
            )
    if isinstance(temperature, Tensor) and not 0 < (value := temperature.item()) < math.inf:
        raise ValueError(f"temperature is {value}; valid: 0 < temperature < inf")
    if leave_out is not None:
        places = leave_out.reshape(len(x), -1).sort(dim=1).values
        if places.min() < 0 or places.max() >= len(keys):
            bad = places.min() if places.min() < 0 else places.max()
            raise ValueError(f"leave_out contains {bad}; valid: 0 to K - 1 = {len(keys) - 1}")
        if (places.diff(dim=1) == 0).any():
            raise ValueError("leave_out repeats a position in a row; valid: different positions")


def _check_finite(*scores: float) -> None:
    if not all(-math.inf < score < math.inf for score in scores):
        raise ValueError(
            "x and y (or keys) have scores beyond what their dtype holds; "
            "valid: embeddings and temperature with finite scores"
        )


def _check_scale(logit_scale: float | Tensor) -> None:
    """1/τ is no name for τ; what can not be read here is refused later, as a temperature."""
    if isinstance(logit_scale, Tensor):
        if logit_scale.numel() != 1 or not logit_scale.is_floating_point():
            raise ValueError(
                f"logit_scale is a tensor of {logit_scale.dtype} with shape "
                f"{tuple(logit_scale.shape)}; valid: one floating-point number"
            )
        if torch.compiler.is_compiling() or _transformed():
            return
        logit_scale = logit_scale.item()
    if not (isinstance(logit_scale, Real) and 0 < logit_scale < math.inf):
        raise ValueError(f"logit_scale is {logit_scale!r}; valid: 0 < logit_scale < inf")


# ---------------------------------------------------------------------------------------------
# Modules
# ---------------------------------------------------------------------------------------------


class _Loss(nn.Module):
    """What the two losses share: temperature, schedule of α, named parts."""

    _shared: bool

    def __init__(
        self,
        temperature: float = 0.1,
        alpha: float | Callable[[int], float] = 1.0,
        *,
        learnable_temperature: bool = False,
        normalise: bool = True,
        symmetric: bool = False,
        both_views: bool = False,
        gather: bool = False,
        ddp: bool = False,
        group: "dist.ProcessGroup | None" = None,
        tile: int | None = None,
    ) -> None:
        super().__init__()
        if not (isinstance(temperature, Real) and 0 < temperature < math.inf):
            raise ValueError(f"temperature is {temperature!r}; valid: 0 < temperature < inf")
        if not callable(alpha) and not (isinstance(alpha, Real) and alpha > 0):
            raise ValueError(f"alpha is {alpha!r}; valid: 0 < alpha <= m, or a schedule of it")
        if both_views and (gather or symmetric):
            raise ValueError(
                "both_views is True beside gather or symmetric; valid: both_views alone"
            )
        if ddp and not gather:
            raise ValueError("ddp is True without gather; valid: ddp=True with gather=True")
        self.temperature = None if learnable_temperature else float(temperature)
        if learnable_temperature:
            self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self.alpha = alpha
        self.normalise, self.symmetric, self.both_views = normalise, symmetric, both_views
        self.gather, self.ddp, self.group, self.tile = gather, ddp, group, tile

    def extra_repr(self) -> str:
        names = ("normalise", "symmetric", "both_views", "gather", "ddp")
        chosen = "".join(f", {name}=True" for name in names if getattr(self, name))
        return f"temperature={self.temperature or 'learned'}, alpha={self.alpha}{chosen}"

    def forward(
        self,
        x: Embeddings,
        y: Embeddings,
        logit_scale: float | Tensor | None = None,
        *,
        keys: Keys | None = None,
        leave_out: LeftOut | None = None,
        negatives: PairedNegatives | None = None,
        output_dict: bool = False,
    ) -> Tensor | dict[str, Tensor]:
        """Loss of two views, or of images and texts: ceiling − bound, in nats.

        Args:
            x: anchors, (n, d): first view, images or queries.
            y: positives, (n, d): second view, texts or keys of the same samples.
            logit_scale: 1/τ for this call, as CLIP models return it: a number, or a tensor that
                may require a gradient.
            keys, leave_out, negatives: as in :func:`ml_cpc`.
            output_dict: return named parts for a log in place of the loss alone.

        Returns:
            the loss; or a dictionary of it (``loss``), and without gradient the bound and the
            ceiling in nats (``bound``, ``ceiling``) and the share of the ceiling used (``share``).

        Raises:
            ValueError: as in :func:`ml_cpc`; symmetric or both_views beside keys or negatives;
                logit_scale beside a learned temperature, or outside (0, ∞).
        """
        alpha = self.alpha
        if callable(alpha):
            alpha = alpha(self.step.item())
        if self.training:
            self.step += 1
        value, m = self._value(x, y, logit_scale, alpha, keys, leave_out, negatives)
        ceiling = math.log(m / alpha)
        loss = ceiling - value
        if self.ddp:
            world = dist.get_world_size(self.group)
            loss = loss + (world - 1) * (loss - loss.detach())  # the gradient alone is multiplied
        if not output_dict:
            return loss
        bound = value.detach()
        return {
            "loss": loss,
            "bound": bound,
            "ceiling": bound.new_tensor(ceiling),
            "share": bound / ceiling if ceiling else torch.full_like(bound, math.nan),
        }

    def _value(self, x, y, logit_scale, alpha, keys, leave_out, negatives) -> tuple[Tensor, int]:
        temperature = self.temperature
        if temperature is None:
            temperature = self.log_temperature.exp()
        if logit_scale is not None:
            if self.temperature is None:
                raise ValueError(
                    "logit_scale is given to a loss that learns its temperature; valid: one of them"
                )
            if not (self.gather and isinstance(logit_scale, Tensor)):  # all ranks refuse together
                _check_scale(logit_scale)
            temperature = 1 / logit_scale
        if (self.symmetric or self.both_views) and (keys is not None or negatives is not None):
            raise ValueError(
                "keys or negatives are given to a symmetric loss; valid: negatives from the batch"
            )
        if self.both_views:  # before the views are one tensor, where an error would name that
            _check_shapes(x, y, None, None, None, temperature, alpha)
        if self.normalise:
            x, y, keys, negatives = (_unit(each) for each in (x, y, keys, negatives))
        if self.both_views:
            n = len(x)
            anchors = torch.arange(2 * n, device=x.device)
            leave_out = torch.stack([anchors, (anchors + n) % (2 * n)], dim=1)
            x, y = torch.cat([x, y]), torch.cat([y, x])
            keys = x
        arguments = (x, y, keys, leave_out, negatives, temperature, alpha)
        value, m = _bound(self._shared, arguments, self.gather, self.group, self.tile)
        if self.symmetric and not self._shared:  # J is the same in both directions
            arguments = (y, x, *arguments[2:])
            back, _ = _bound(self._shared, arguments, self.gather, self.group, self.tile)
            value = (value + back) / 2
        return value, m


class MLCPCLoss(_Loss):
    """Multi-label CPC as a loss, log(m/α) − J_α: non-negative, zero when the ceiling is reached.

    Call it with two views, ``loss(x, y)``, or with images and texts,
    ``loss(image_features, text_features, logit_scale, output_dict=True)``. It stands where these
    libraries have their losses:

    - lightly: ``criterion = MLCPCLoss(0.5, both_views=True)``, then ``criterion(z0, z1)``;
    - pytorch-metric-learning: in place of ``SelfSupervisedLoss(NTXentLoss(0.5))``, the same, as
      ``loss(embeddings, ref_emb)``. There are no labels: row i belongs to row i;
    - open_clip: by position, as above. The values of our dictionary are for a log. A script that
      adds up the values of the dictionary, as theirs does, needs one with a single entry:
      ``lambda image_features, text_features, logit_scale, output_dict:
      {"contrastive_loss": loss(image_features, text_features, logit_scale)}``.

    Args:
        temperature: τ > 0.
        alpha: weight of a positive in (0, m], or a schedule: step -> weight. The step counts the
            calls in training mode and is part of the state.
        learnable_temperature: learn log τ, from ``temperature`` on.
        normalise: scale embeddings to length one, so that scores are cosines over τ.
        symmetric: mean of both directions. J_α of a batch is the same in both, so this changes
            nothing here.
        both_views: SimCLR's negatives: 2n anchors, and both views of all other samples as their
            2n − 2 negatives each, m = 2n − 1.
        gather: the batch is spread over ranks, see :func:`ml_cpc`.
        ddp: with ``gather``: multiply the gradient, not the value, by the number of ranks.
            DistributedDataParallel divides by it, and what is left is the gradient of the whole
            batch. A learned temperature must be inside the module that it wraps.
        group, tile: as in :func:`ml_cpc`.
    """

    _shared = True


class CPCLoss(_Loss):
    """CPC (InfoNCE) as a loss, log(m/α) − L_α: at α = 1 the cross entropy of InfoNCE.

    Arguments as in :class:`MLCPCLoss`, except that ``symmetric`` matters: the mean of picking y
    for x and x for y, which is CLIP's loss. ``both_views`` is SimCLR's NT-Xent.
    """

    _shared = False


def _unit(embeddings: Tensor | None) -> Tensor | None:
    """Rows of length one; what is no tensor of embeddings is left to the checks of all ranks."""
    if not (isinstance(embeddings, Tensor) and embeddings.is_floating_point()):
        return embeddings
    embeddings = embeddings.to(_working_dtype(embeddings))
    if not embeddings.numel():
        return embeddings
    # Squares of what is beyond 1e19 overflow, and the row would come out as zero.
    largest = embeddings.detach().abs().amax(dim=-1, keepdim=True)
    unit = nn.functional.normalize(embeddings / largest.clamp_min(1e-30), dim=-1)
    return torch.where(largest.isfinite(), unit, embeddings)  # to be refused under its own value
