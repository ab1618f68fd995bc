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

The pass is in :mod:`mlcpc.tiles`; who is a candidate of whom, in :mod:`mlcpc.candidates`.
"""

import inspect
import math
from collections.abc import Callable
from numbers import Real
from types import SimpleNamespace

import torch
import torch.distributed as dist

from mlcpc import bounds, tiles
from mlcpc.candidates import Candidates, Given, Marks
from mlcpc.ranks import Alone, Ranks
from mlcpc.shapes import Bool, Float, Int, Tensor

Embeddings = Float[Tensor, "n d"]
Keys = Float[Tensor, "k d"]
Excluded = Int[Tensor, "n"] | Int[Tensor, "n e"] | Bool[Tensor, "n k"]
OwnNegatives = Float[Tensor, "n negatives d"]
OfRows = Int[Tensor, "n"]
OfKeys = Int[Tensor, "k"]
Number = Float[Tensor, ""]
RowValues = Float[Tensor, "n"]


def ml_cpc(
    x: Embeddings,
    y: Embeddings,
    temperature: float | Tensor,
    alpha: float | Tensor = 1.0,
    keys: Keys | None = None,
    *,
    negatives: OwnNegatives | None = None,
    exclude: Excluded | None = None,
    ids: OfRows | None = None,
    key_ids: OfKeys | None = None,
    labels: OfRows | None = None,
    key_labels: OfKeys | None = None,
    gather: bool = False,
    group: "dist.ProcessGroup | None" = None,
    tile: int | None = None,
) -> Number:
    r"""Multi-label contrastive predictive coding from embeddings.

    .. math:: J_α = \frac1n \sum_i \log \frac{n m\, e^{⟨x_i, y_i⟩/τ}}{
              α \sum_j e^{⟨x_j, y_j⟩/τ} + β \sum_j \sum_k e^{⟨x_j, k_{jk}⟩/τ}}

    Candidates come from

    - the batch (default): the negatives of x_i are the y_j with j ≠ i, and m = n;
    - a queue, ``keys`` (K, d): all K keys are negatives of every anchor, and m = K + 1. So
      ``keys=cat([y, queue]), exclude=arange(n)`` takes negatives from batch and queue;
    - ``negatives`` (n, h, d): h negatives for each anchor alone. Alone they give m = h + 1; beside
      ``keys`` they are h more. For h more beside the batch pass ``keys=y, exclude=arange(n)``.

    ``exclude`` and ``ids`` leave pairs out, and ``labels`` make pairs positive. Then row i has p_i
    positives, q_i negatives, m_i = (p_i + q_i)/p_i candidates for each positive and
    β_i = (m_i − α)/(m_i − 1), and

    .. math:: J_α = \frac1n \sum_i \frac1{p_i} \sum_{j ∈ P_i} f_{ij} - \log \frac1n \sum_i
              \frac{α \sum_{j ∈ P_i} e^{f_{ij}} + β_i \sum_{k ∈ N_i} e^{f_{ik}}}{p_i + q_i}

    which is the formula above where all rows are alike and have one positive.

    Embeddings are used as given: normalise them first if scores are to be cosines. Gradients go
    to x, y, keys, negatives and temperature, and only those asked for are computed.

    Args:
        x: anchors, (n, d), any floating dtype; half precision is added up in float32, and
            gradients are rounded to it last, after the factor of a gradient scaler.
        y: positives, (n, d), row i belongs to anchor i.
        temperature: τ > 0, a number or a tensor with one element, which may require a gradient.
        alpha: weight α of a positive in (0, m], m the least of a row. A tensor with one element
            lets a compiled graph take any weight.
        keys: negatives of every anchor, (K, d).
        negatives: own negatives of each anchor, (n, h, d).
        exclude: pairs that are left out: positions in ``keys`` (in the batch without keys; of all
            ranks, in their order), (n,) or (n, e), −1 for none; or True for them, (n, K).
        ids: who a row is, (n,): equal ids are never negatives of each other. For duplicates in a
            batch, and for several captions of an image.
        key_ids: who a key is, (K,); beside ids, where there are keys.
        labels: class of a row, (n,): all pairs of one class are positive, also those of equal ids.
        key_labels: class of a key, (K,); beside labels, where there are keys.
        gather: the batch is spread over the ranks of ``group``. Each rank passes its own rows, as
            many as it has. Every rank gets the value of the whole batch, and the gradient that a
            single process with the whole batch would give to its rows. What all ranks hold
            (temperature, keys, the weights of an encoder) gets a part of the gradient on each
            rank, and the parts add up to the whole. DistributedDataParallel takes the mean over
            ranks in place of that sum, so multiply the value by the number of ranks before
            ``backward``; the modules' ``ddp=True`` does it. Call ``backward`` on every rank.
        group: process group of ``gather``; None is the default group.
        tile: None picks the size of a tile; 0 is the plain path, with the whole matrix of scores
            and PyTorch's own derivatives of any order; above 0, the rows and columns of a tile.
            Tiles run under ``torch.compile``, ``torch.func.grad`` and ``torch.func.vmap``. They
            have reverse-mode first derivatives only. The plain path does not run inside ``vmap``,
            since it is checked for NaN.

    Returns:
        J_α in nats, at most the mean of log(m_i/α) over rows; the higher the tighter. float32, or
        float64 if an input is. In expectation it is at most the mutual information as
        :func:`mlcpc.bounds.ml_cpc` says; with ``exclude``, if the mask is chosen without a look at
        the pairs. With ``ids`` negatives come from another law than the positives, and the value
        may be above the mutual information. With ``labels`` and α = 1 it is at most the
        information between an embedding and the label, if x and y of one label are independent.

    Raises:
        ValueError: different shapes or devices, no rows, no negative left in a row, τ not in
            (0, ∞), α outside (0, m], NaN or infinite embeddings, scores that overflow. With
            ``gather``, on every rank. What needs a look at values is not checked by a plain path
            that is compiled.
        RuntimeError: a second derivative of the tiled path.
        NotImplementedError: forward-mode derivatives of the tiled path, from PyTorch.

    Source: Song & Ermon 2020, "Multi-label Contrastive Predictive Coding"; several positives are
    ours, after Khosla et al. 2020, "Supervised Contrastive Learning".
    """
    marks = Marks(exclude, ids, key_ids, labels, key_labels)
    given = Given(x, y, temperature, alpha, keys, negatives, marks)
    return bound_and_log_m(True, given, gather, group, tile)[0]


def cpc(
    x: Embeddings,
    y: Embeddings,
    temperature: float | Tensor,
    alpha: float | Tensor = 1.0,
    keys: Keys | None = None,
    *,
    negatives: OwnNegatives | None = None,
    exclude: Excluded | None = None,
    ids: OfRows | None = None,
    key_ids: OfKeys | None = None,
    labels: OfRows | None = None,
    key_labels: OfKeys | None = None,
    reduction: str = "mean",
    gather: bool = False,
    group: "dist.ProcessGroup | None" = None,
    tile: int | None = None,
) -> Number | RowValues:
    r"""Contrastive predictive coding (InfoNCE) from embeddings, one normaliser for each anchor.

    .. math:: L_α = \frac1n \sum_i \log \frac{m\, e^{⟨x_i, y_i⟩/τ}}{
              α e^{⟨x_i, y_i⟩/τ} + β \sum_k e^{⟨x_i, k_{ik}⟩/τ}}

    Arguments, gradients and errors as in :func:`ml_cpc`. At α = 1 it is log m minus the cross
    entropy of picking the positive, and with ``labels`` the mean of log(p_i + q_i) minus the loss
    SupCon. Memory O(n·d) beside a block of at least 64 whole rows.

    Args:
        reduction: "mean", or "none" for the value of each anchor, (n,); with ``gather``, of the
            anchors of this rank. Its gradient takes the scores once more, four products in all.

    Returns:
        L_α in nats, at most the mean of log(m_i/α); the higher the tighter.

    Source: van den Oord et al. 2018; the weight α is Song & Ermon 2020.
    """
    marks = Marks(exclude, ids, key_ids, labels, key_labels)
    given = Given(x, y, temperature, alpha, keys, negatives, marks)
    return bound_and_log_m(False, given, gather, group, tile, reduction)[0]


def bound_and_log_m(
    shared: bool,
    given: Given,
    gather: bool = False,
    group: "dist.ProcessGroup | None" = None,
    tile: int | None = None,
    reduction: str = "mean",
) -> tuple[Tensor, float | Tensor]:
    """The bound and log m, by the plain path, by tiles, or by the tiles of all ranks.

    log m is the mean over rows where their m differ, and a number of each row for the reduction
    "none".
    """
    if tile is not None and (isinstance(tile, bool) or not isinstance(tile, int) or tile < 0):
        raise ValueError(f"tile is {tile!r}; valid: None, 0 (plain) or a positive integer")
    if reduction not in ("mean", "none"):
        raise ValueError(f"reduction is {reduction!r}; valid: 'mean', 'none'")
    each = reduction == "none"
    if gather:
        return _gathered(shared, given, group, tile, each)
    m = check_shapes(given)
    if m is not None:
        _check_alpha(given.alpha, m)
    if tile == 0:
        if not torch.compiler.is_compiling():  # a graph cannot branch on values
            _check_values(given)
        value, log_m = _plain(shared, given, m, each)
        if not torch.compiler.is_compiling():
            tiles.check_finite(value.detach().sum().item())
        return value, log_m
    value, log_m = _tiled(shared, given, tile, each, None)
    return value, log_m if m is None else math.log(m)


def transformed() -> bool:
    """Whether a transform of torch.func (grad, vmap, …) is at work."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


# ---------------------------------------------------------------------------------------------
# Plain: the scores in full, derivatives by PyTorch
# ---------------------------------------------------------------------------------------------


def _plain(shared: bool, given: Given, m: int | None, each: bool) -> tuple[Tensor, float | Tensor]:
    with tiles.full_precision(given.x):
        positive, scores, own = _scores(given)
        if m is not None and given.marks.labels is None:
            negative = own if scores is None else _negatives_alone(given, scores, own)
            if each:  # every row is a batch of one anchor
                positive, negative = positive[:, None], negative[:, None]
            bound = bounds.ml_cpc if shared else bounds.cpc
            return bound(positive, negative, given.alpha), math.log(m)
        n, in_batch = len(given.x), given.keys is None
        candidates = Candidates(given.marks, n, scores.shape[1], in_batch, Alone(n))
        p, q = candidates.counts(0 if own is None else own.shape[1])
        rows = tiles.row_weights(p, q, given.alpha, shared)
        everywhere = slice(0, n), slice(0, scores.shape[1])
        kept = torch.zeros_like(scores).detach()
        candidates.leave_out(kept, *everywhere)
        weighed = scores + rows.log_b[:, None].to(scores.dtype)
        terms = positive / p
        if candidates.labels is not None:
            same = candidates.same_label(*everywhere) & (kept == 0)
            weighed = torch.where(same, scores + rows.log_a[:, None].to(scores.dtype), weighed)
            terms = torch.where(same, scores, 0.0).sum(dim=1) / p + terms
        weighed = (weighed + kept).clamp(min=-1e30)
        parts = [(positive + rows.log_a.to(scores.dtype))[:, None], weighed]
        if own is not None:
            parts.append(own + rows.log_b[:, None].to(scores.dtype))
        log_rows = torch.cat(parts, dim=1).logsumexp(dim=1)
        log_m = rows.log_m if each else rows.log_m.mean()
        if shared:
            return terms.mean() - log_rows.logsumexp(dim=0) + math.log(n), log_m
        return terms - log_rows if each else (terms - log_rows).mean(), log_m


def _scores(given: Given) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Scores of positives (n,), of all columns (n, K), and of own negatives (n, h)."""
    x, y, temperature, _, keys, negatives, _ = given
    dtype = tiles.working_dtype(x, y, keys, negatives)
    x, y = x.to(dtype), y.to(dtype)
    if isinstance(temperature, Tensor):
        temperature = temperature.to(dtype).reshape(())
    x = x / temperature  # n·d divisions, not n²
    positive, own, scores = (x * y).sum(dim=1), None, None
    if negatives is not None:
        own = (negatives.to(dtype) @ x[:, :, None]).squeeze(2)
    if keys is not None:
        scores = x @ keys.to(dtype).T
    elif negatives is None:
        scores = x @ y.T
    return positive, scores, own


def _negatives_alone(given: Given, scores: Tensor, own: Tensor | None) -> Tensor:
    """(n, m − 1) of rows that leave out as many columns each."""
    if given.keys is None and given.marks.exclude is None:
        scores = bounds.split(scores)[1]
    else:
        kept = torch.ones(scores.shape, dtype=torch.bool, device=scores.device)
        if given.keys is None:
            kept.fill_diagonal_(False)
        if given.marks.exclude is not None:
            kept.scatter_(1, given.marks.exclude.long().reshape(len(scores), -1), False)
        scores = scores[kept].reshape(len(scores), -1)
    return scores if own is None else torch.cat([scores, own], dim=1)


# ---------------------------------------------------------------------------------------------
# Tiles: value and gradients in one pass
# ---------------------------------------------------------------------------------------------


def _tiled(
    shared: bool, given: Given, tile: int | None, each: bool, ranks: Ranks | None
) -> tuple[Tensor, Tensor]:
    x, y, temperature, alpha, keys, negatives, marks = given
    if not isinstance(temperature, Tensor):
        temperature = torch.tensor(temperature, dtype=torch.float64)
    if not isinstance(alpha, Tensor):
        alpha = torch.tensor(alpha, dtype=torch.float64)
    if torch.compiler.is_compiling():  # a graph takes no tensor twice, and keys may be x or y
        y = y.view_as(y)
        keys = keys if keys is None else keys.view_as(keys)
    inputs = (x, y, keys, negatives, temperature)
    if transformed():
        # A batched tensor does not say whether what it wraps requires a gradient.
        needs = [tensor is not None for tensor in inputs]
    else:
        needs = [
            tensor is not None and tensor.requires_grad and torch.is_grad_enabled()
            for tensor in inputs
        ]
    rows, columns = (tile, tile) if tile else tiles.TILE.get(x.device.type, tiles.TILE["cpu"])
    small = len(x) * len(y if keys is None else keys) <= tiles.DENSE_SCORES
    if tile is None and small and not each and ranks is None and negatives is None:
        if marks.empty():
            rows = columns = 0  # one matrix, not tiles
    setting = (shared, each, needs, [rows, columns], ranks)
    return _OnePass.apply(*inputs, alpha, *marks.tensors(), *setting)[:2]


def _pass(inputs: tuple, weights: Tensor | None, each: bool, needs: list[bool], setting: tuple):
    """One pass of one process, as an operator if a graph is compiled, or of one of the ranks."""
    shared, tile, ranks = setting
    if ranks is None and (torch.compiler.is_compiling() or not _is_plain(*inputs)):
        return one_pass(*inputs, weights, shared, each, needs, tile)
    x, y, keys, negatives, temperature, alpha, *marks = inputs
    given = Given(x, y, temperature, alpha, keys, negatives, Marks(*marks))
    if not 0 < temperature.item() < math.inf:
        _check_values(given)
    if ranks is None:
        given.marks.check_values(len(y if keys is None else keys))
    try:
        if not tile[0]:
            return tiles.one_matrix(given, shared, needs)
        here = Alone(len(x)) if ranks is None else ranks
        return tiles.one_pass(given, weights, shared, each, needs, tile, here)
    except ValueError:
        if ranks is None:
            _check_values(given)  # with the name of what is not finite
        raise


def _is_plain(*inputs: Tensor | None) -> bool:
    """Whether no compiler traces these tensors, so that values can be read."""
    return all(type(tensor) in (Tensor, torch.nn.Parameter, type(None)) for tensor in inputs)


class _AsGiven(inspect.Signature):
    """A signature without defaults. PyTorch binds the arguments to it at each call, and of what has
    no defaults nothing is to be bound: for a small batch that was a tenth of the time.
    """

    def bind(self, *arguments):
        return SimpleNamespace(args=arguments, kwargs={}, apply_defaults=lambda: None)


def _signed(forward: Callable) -> Callable:
    """Keep the signature with the function: PyTorch asks for it at each call."""
    forward.__signature__ = _AsGiven(list(inspect.signature(forward).parameters.values()))
    return forward


class _OnePass(torch.autograd.Function):
    """The value and log m, with the gradients that were found on the way to them.

    For a value of each row the gradient of what follows is needed first, so the pass that finds
    gradients waits for it.
    """

    @staticmethod
    @_signed
    def forward(
        x, y, keys, negatives, temperature, alpha, exclude, ids, key_ids, labels, key_labels,
        shared, each, needs, tile, ranks,
    ):  # fmt: skip
        marks = (exclude, ids, key_ids, labels, key_labels)
        inputs = (x, y, keys, negatives, temperature, alpha, *marks)
        needs = [False] * 5 if each else needs
        return _pass(inputs, None, each, needs, (shared, tile, ranks))

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, shared, each, needs, tile, ranks = inputs
        _, log_m, *gradients = output
        ctx.mark_non_differentiable(log_m, *gradients)
        ctx.set_materialize_grads(False)  # no zeros, as large as the embeddings, for those
        ctx.each, ctx.needs, ctx.setting = each, needs, (shared, tile, ranks)
        ctx.save_for_backward(*(tensors if each else tensors[:5]), *([] if each else gradients))

    @staticmethod
    def backward(ctx, grad_value, *_):
        given = grad_value is not None
        saved = ctx.saved_tensors  # once: a checkpoint gives them out once
        inputs = saved[:5]
        if ctx.each:
            found = [None] * 5
            if given:
                with torch.no_grad():
                    weights = grad_value.double()
                    _, _, *found = _pass(saved, weights, False, ctx.needs, ctx.setting)
            factor = grad_value.new_ones(()) if given else None
        else:
            found, factor = saved[5:], grad_value
        wanted = [given and needed for needed in ctx.needs_input_grad[:5]]
        # Rounded to half precision last: a loss that is scaled up for it needs the range here.
        final = _Final.apply if torch.is_grad_enabled() or transformed() else _Final.forward
        gradients = (
            final(factor, gradient, *inputs).to(tensor.dtype) if want else None
            for gradient, tensor, want in zip(found, inputs, wanted, strict=True)
        )
        return *gradients, *(None,) * 11

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
        return tuple(torch.stack(each) for each in zip(*outputs, strict=True)), (0,) * 7


class _Final(torch.autograd.Function):
    """A gradient times the gradient of the value, tied to the inputs so that no second derivative
    is silently taken as zero."""

    generate_vmap_rule = True

    @staticmethod
    def forward(grad_value, gradient, x, y, keys, negatives, temperature):
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


@torch.library.custom_op("mlcpc::one_pass", mutates_args=())
def one_pass(
    x: Tensor,
    y: Tensor,
    keys: Tensor | None,
    negatives: Tensor | None,
    temperature: Tensor,
    alpha: Tensor,
    exclude: Tensor | None,
    ids: Tensor | None,
    key_ids: Tensor | None,
    labels: Tensor | None,
    key_labels: Tensor | None,
    weights: Tensor | None,
    shared: bool,
    each: bool,
    needs: list[bool],
    tile: list[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """One pass on one process, as an operator that torch.compile takes whole."""
    marks = Marks(exclude, ids, key_ids, labels, key_labels)
    given = Given(x, y, temperature, alpha, keys, negatives, marks)
    _check_values(given)  # what could not be checked before a graph was compiled
    m = check_shapes(given)
    if m is not None:
        bounds._check_alpha(alpha.item(), m)
    if not tile[0]:
        return tiles.one_matrix(given, shared, needs)
    return tiles.one_pass(given, weights, shared, each, needs, tile, Alone(len(x)))


@one_pass.register_fake
def _(x, y, keys, negatives, temperature, alpha, *rest):
    *_, each, needs, _ = rest
    dtype = tiles.working_dtype(x, y, keys, negatives)
    inputs = (x, y, keys, negatives, temperature)
    shape = x.shape[:1] if each else ()
    return (
        x.new_empty(shape, dtype=dtype),
        x.new_empty(shape, dtype=torch.float64),
        *(
            tensor.new_empty(tensor.shape, dtype=of_tensor) if need else x.new_empty(0)
            for tensor, of_tensor, need in zip(
                inputs, (dtype,) * 4 + (torch.float64,), needs, strict=True
            )
        ),
    )


# ---------------------------------------------------------------------------------------------
# The rows of several processes
# ---------------------------------------------------------------------------------------------


@torch.compiler.disable
def _gathered(
    shared: bool, given: Given, group: "dist.ProcessGroup | None", tile: int | None, each: bool
) -> tuple[Tensor, float | Tensor]:
    """The bound of the rows of all ranks together, and log m."""
    x, y, temperature, alpha, keys, negatives, marks = given
    ranks = Ranks(group, x.device if isinstance(x, Tensor) else torch.device("cpu"))
    in_batch = keys is None and negatives is None
    names = ("m", "width of x", "bits of x", "temperature", "alpha", "gradient of y")
    refusal, n, kinds, same = None, 0, 0, [0.0] * len(names)
    try:
        m = check_shapes(given, alone=False)
        # Padding may be on one rank alone, so rows are counted where anything is left out.
        m = m if marks.exclude is None else None
        _check_values(given, alone=False)
        bounds._check_alpha(float(alpha), math.inf if in_batch or m is None else m)
        bits = torch.finfo(tiles.working_dtype(x, y, keys, negatives)).bits
        # The gradients of y in a batch are summed over ranks, which all or none must do.
        summed = in_batch and y.requires_grad and torch.is_grad_enabled()
        n = len(x)
        kinds = sum(2**bit for bit, mark in enumerate(marks.tensors()) if mark is not None)
        numbers = [float(torch.as_tensor(each).detach()) for each in (temperature, alpha)]
        same = [0 if in_batch or m is None else m, x.shape[1], bits, *numbers, summed]
    except (ValueError, TypeError) as error:
        refusal = error if isinstance(error, ValueError) else ValueError(str(error))
    ranks.agree(refusal, n, dict(zip(names, same, strict=True)), kinds)
    if in_batch:
        if ranks.n < 2:
            raise ValueError("x has 1 row on all ranks together; valid: at least 2, or keys")
        if marks.exclude is not None:
            refusal, marks = None, marks.of_all_ranks(ranks.first)
            try:
                marks.check_values(ranks.n)
            except ValueError as error:
                refusal = error
            ranks.refuse(refusal)
        m = None if marks.uneven(True) else ranks.n
        if m is not None:
            bounds._check_alpha(float(alpha), m)
    value, log_m = _tiled(shared, given._replace(marks=marks), tile or None, each, ranks)
    return value, log_m if m is None else math.log(m)


# ---------------------------------------------------------------------------------------------
# Checks
# ---------------------------------------------------------------------------------------------


def check_shapes(given: Given, alone: bool = True) -> int | None:
    """m, or None if rows may differ in it; raises for what can be seen without reading a value."""
    x, y, temperature, _, keys, negatives, marks = given
    for name, tensor in (("x", x), ("y", y), ("keys", keys), ("negatives", negatives)):
        if tensor is None and name in ("keys", "negatives"):
            continue
        if not (isinstance(tensor, Tensor) and tensor.is_floating_point()):
            kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ValueError(f"{name} is {kind}; valid: a floating-point tensor of embeddings")
        if tensor.device != x.device:
            raise ValueError(f"{name} is on {tensor.device}; valid: the device of x, {x.device}")
    if x.ndim != 2 or 0 in x.shape:
        flat = "; tokens of a sequence are flattened first, x.flatten(0, 1)" if x.ndim == 3 else ""
        raise ValueError(f"x has shape {tuple(x.shape)}; valid: (n, d) with n, d at least 1{flat}")
    n, d = x.shape
    if y.shape != x.shape:
        raise ValueError(f"y has shape {tuple(y.shape)}; valid: that of x, ({n}, {d})")
    _check_temperature(temperature)
    if negatives is not None and (
        negatives.ndim != 3 or negatives.shape[::2] != x.shape or negatives.shape[1] < 1
    ):
        raise ValueError(
            f"negatives has shape {tuple(negatives.shape)}; "
            f"valid: ({n}, h, {d}), h at least 1 negatives for each anchor"
        )
    if keys is not None and (keys.ndim != 2 or keys.shape[1] != d or len(keys) < 1):
        raise ValueError(f"keys has shape {tuple(keys.shape)}; valid: (K, {d}) with K at least 1")
    in_batch = keys is None and negatives is None
    own = 0 if negatives is None else negatives.shape[1]
    if keys is None and negatives is not None and any(each is not None for each in marks.tensors()):
        raise ValueError(
            "exclude, ids or labels are given beside negatives alone; valid: beside keys or a batch"
        )
    if in_batch and alone and n < 2:
        raise ValueError(f"x has {n} row; valid: at least 2 rows, or keys or negatives")
    columns = n if in_batch else 0 if keys is None else len(keys)
    known = columns if alone or not in_batch else None
    marks.check_shapes(n, known, None if keys is None else len(keys), str(x.device))
    if marks.uneven(in_batch):
        return None
    m = columns - in_batch - marks.width() + own + 1
    if m < 2 and known is not None:
        raise ValueError(
            f"exclude has shape {tuple(marks.exclude.shape)}; valid: at least one of the "
            f"{columns} candidates of a row is left"
        )
    return m


def _check_temperature(temperature: float | Tensor) -> None:
    if isinstance(temperature, Tensor):
        if temperature.numel() != 1 or not temperature.is_floating_point():
            raise ValueError(
                f"temperature is a tensor of {temperature.dtype} with shape "
                f"{tuple(temperature.shape)}; valid: one floating-point number"
            )
    elif not (isinstance(temperature, Real) and 0 < temperature < math.inf):
        raise ValueError(f"temperature is {temperature!r}; valid: 0 < temperature < inf")


def _check_values(given: Given, alone: bool = True) -> None:
    x, y, temperature, _, keys, negatives, marks = given
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
    if keys is not None:
        marks.check_values(len(keys))
    elif alone:
        marks.check_values(len(x))


def _check_alpha(alpha: float | Tensor, m: int | float) -> None:
    """α in (0, m]; a compiled graph reads no value, so the operator looks."""
    if torch.compiler.is_compiling() or (transformed() and isinstance(alpha, Tensor)):
        return
    bounds._check_alpha(alpha, m)
