r"""One pass over tiles of scores: the value of a bound and all of its gradients.

Where the lengths of the embeddings show that all scores are moderate, exponentials are taken as
they are, and no tile is searched for its largest score. Else they are taken relative to a running
maximum. When it rises, what was summed up is scaled down. No shift is fixed in advance, so nothing
overflows, and nothing that matters underflows.

On a CPU each thread owns blocks of rows, and sums up the gradient of the columns for itself. So no
thread waits for another between two tiles, which is what costs most on a machine that has other
work to do. Not measured: a GPU. There the same tiles run, larger ones, as plain PyTorch.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from mlcpc import bounds
from mlcpc.candidates import Candidates, Given
from mlcpc.ranks import Alone, Ranks
from mlcpc.shapes import Tensor

# Rows and columns of a tile. 2 MiB of float32 are what the caches of two cores hold between the
# visits of a tile; a GPU wants fewer and larger ones, since it waits for the maximum of each.
TILE = {"cpu": (1024, 512), "cuda": (4096, 4096)}
# Up to this many scores one matrix of them is faster than tiles (2 cores, d = 128).
DENSE_SCORES = 1024 * 1024
# Threads that own blocks of rows, at most; the cores of a larger machine are shared out to them.
# Each beyond the first holds one more gradient of the columns.
WORKERS = 4
# From this many scores on the threads of a CPU own blocks of rows (2 cores, d = 128).
WORKER_SCORES = 2**20
# Scores that are known to lie within so many bits of zero need no shift: 2^40 times the number of
# pairs of any batch is far below the largest float32, and 2^-40 far above the smallest.
MODERATE = 40.0
# Scores that CPC holds at once, a block of whole rows (never fewer than 64 rows).
STRIP_SCORES = 16 * 2**20


def one_pass(
    given: Given, weights: Tensor | None, shared: bool, each: bool, needs: list[bool],
    tile: list[int], ranks: Alone | Ranks,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Value, log m, and gradients of x, y, keys, negatives and temperature; empty where not needed.

    Gradients have the dtype that they are added up in, float64 for the temperature. ``weights``
    (n,) are the factors of the rows of CPC in place of 1/n.
    """
    x, y, temperature, alpha, keys, negatives, marks = given
    need_x, need_y, need_keys, _, need_temperature = needs
    need_left = need_x or need_temperature
    with torch.no_grad(), full_precision(x):
        dtype, tau = working_dtype(x, y, keys, negatives), temperature.item()
        left, right = x.to(dtype), y.to(dtype)
        in_batch = keys is None and negatives is None
        if in_batch:
            columns = ranks.rows_of_all(right)
        else:
            columns = x.new_empty(0, x.shape[1], dtype=dtype) if keys is None else keys.to(dtype)
        candidates = Candidates(marks, len(x), len(columns), in_batch, ranks)
        own = None if negatives is None else negatives.to(dtype)
        count = 0 if own is None else own.shape[1]
        rows = _weights_of_rows(candidates, count, alpha, shared, ranks)
        board, partners = _scores_apart(left, right, own, columns, candidates, rows, tau)
        board.weights = torch.full_like(board.positive, 1 / ranks.n) if weights is None else weights
        tiles = _Tiles(
            left / (tau * math.log(2)),  # scores in bits: 2^s is much faster than e^s
            columns, candidates, rows, tile, need_left, need_y if in_batch else need_keys,
        )  # fmt: skip
        normalise = _one_normaliser if shared else _normaliser_of_each_row
        value, of_positive, of_negatives = normalise(tiles, board, ranks)
        of_scores, tensors = (of_positive, of_negatives), (left, right, own, partners)
        found = _gradients(tiles, board, of_scores, tensors, tau, needs, ranks)
        log_m = rows.log_m if each else rows.mean_log_m
        if not shared and not each:
            value = value.new_tensor(ranks.sums(value.sum().item())[0] / ranks.n)
        value = value.to(dtype)
        temperature_gradient = found[-1]
        if temperature_gradient is not None:
            found[-1] = temperature_gradient.to(temperature.device).reshape(temperature.shape)
        return (
            value,
            log_m.to(x.device),
            *(x.new_empty(0) if gradient is None else gradient.contiguous() for gradient in found),
        )


def _scores_apart(
    left: Tensor,
    right: Tensor,
    own: Tensor | None,
    columns: Tensor,
    candidates: Candidates,
    rows: "_Rows",
    tau: float,
) -> tuple["_Board", Tensor | None]:
    """Scores of positives and of own negatives; sums of the columns of a row's label, if any."""
    positive = (left * right).sum(dim=1).double() / tau
    of_own = None if own is None else (own @ left[:, :, None]).squeeze(2).double() / tau
    mean_positive, partners = positive, None
    if candidates.labels is not None:
        partners = candidates.partners(columns)
        mean_positive = (positive + (left * partners).sum(dim=1).double() / tau) / rows.p
    return _Board(positive, mean_positive, of_own), partners


def one_matrix(given: Given, shared: bool, needs: list[bool]) -> tuple[Tensor, ...]:
    """:func:`one_pass` of a small batch without marks, in as few operations as there can be.

    The matrix of scores becomes that of the slopes in place, and no gradient is added up.
    """
    x, y, temperature, alpha, keys, *_ = given
    need_x, need_y, need_keys, _, need_temperature = needs
    with torch.no_grad(), full_precision(x):
        dtype, tau, alpha = working_dtype(x, y, keys), temperature.item(), alpha.item()
        left, right = x.to(dtype), y.to(dtype)
        columns, bits = right if keys is None else keys.to(dtype), 1 / (tau * math.log(2))
        scores, factor = product(left, columns.T, bits), 1.0
        n, m = len(x), len(columns) + (keys is not None)
        if shared and keys is None and alpha == 1:
            value, factor = _slopes_of_equal_weights(scores, left, columns, tau)
        else:
            if keys is None:
                positive = scores.diagonal().clone()
                scores.fill_diagonal_(-math.inf)
            else:
                positive = (left * right).sum(dim=1) * bits
            slopes = _slopes_of_one_normaliser if shared else _slopes_of_each_row
            value, of_positive = slopes(scores, positive, alpha, m, tau)
            if keys is None:
                scores.diagonal().copy_(of_positive)
        of_x = of_y = of_keys = of_temperature = None
        if need_x or need_temperature:
            of_x = product(scores, columns, factor)
            if keys is not None:
                of_x.addcmul_(of_positive[:, None], right)
        if need_temperature:
            of_temperature = ((left * of_x).sum(dtype=torch.float64) / -tau).to(temperature.device)
            of_temperature = of_temperature.reshape(temperature.shape)
        if keys is None:
            of_y = product(scores.T, left, factor) if need_y else None
        else:
            of_y = left * of_positive[:, None] if need_y else None
            of_keys = scores.T @ left if need_keys else None
        found = (of_x if need_x else None, of_y, of_keys, None, of_temperature)
        log_m = torch.tensor(math.log(m), dtype=torch.float64, device=x.device)
        value = left.new_tensor(value + math.log(m) + (math.log(n) if shared else 0.0))
        return value, log_m, *(x.new_empty(0) if each is None else each for each in found)


def product(one: Tensor, other: Tensor, factor: float, out: Tensor | None = None) -> Tensor:
    """The matrix product times a factor, which costs nothing there."""
    return torch.addmm(one.new_empty(1), one, other, beta=0, alpha=factor, out=out)


def _slopes_of_equal_weights(
    scores: Tensor, left: Tensor, columns: Tensor, tau: float
) -> tuple[float, float]:
    """J less log(n m) where α = β = 1; leaves (∂J/∂f_ij)/τ in ``scores``, but for a factor.

    The positives need no weight of their own, and where the sum of all exponentials lies far from
    what overflows or vanishes, the scores need no shift: a small batch waits for the number of
    operations. Scores are in bits.
    """
    positive, top = scores.diagonal(), 0.0
    mean = positive.mean(dtype=torch.float64).item()
    check_finite(mean)
    total = scores.exp2_().sum().item()
    if not 2**-MODERATE < total < 2.0 ** (2 * MODERATE):
        product(left, columns.T, 1 / (tau * math.log(2)), out=scores)
        top = scores.amax().item()
        check_finite(top)
        total = scores.sub_(top).exp2_().sum().item()
    positive.sub_(total / len(scores))
    return (mean - top) * math.log(2) - math.log(total), -1 / (total * tau)


def _slopes_of_one_normaliser(
    scores: Tensor, positive: Tensor, alpha: float, m: int, tau: float
) -> tuple[float, Tensor]:
    """J less log(n m), (∂J/∂f_ii)/τ; leaves (∂J/∂f_ij)/τ in ``scores``. Scores are in bits."""
    least, most = (each.item() for each in positive.aminmax())
    highest = scores.amax().item()
    check_finite(highest, least, most)
    beta, n = math.exp(_log_beta(alpha, m)), len(positive)
    top = max(highest, most) if beta else most
    of_positive = (positive - top).exp2_()
    total = alpha * of_positive.sum().item()
    if beta:
        total += beta * scores.sub_(top).exp2_().sum().item()
    scores.mul_(-beta / (total * tau))
    value = (positive.mean(dtype=torch.float64).item() - top) * math.log(2) - math.log(total)
    return value, of_positive.mul_(-alpha / (total * tau)).add_(1 / (n * tau))


def _slopes_of_each_row(
    scores: Tensor, positive: Tensor, alpha: float, m: int, tau: float
) -> tuple[float, Tensor]:
    """L less log m, (∂L/∂f_ii)/τ; leaves (∂L/∂f_ij)/τ in ``scores``. Scores are in bits."""
    beta, n = math.exp(_log_beta(alpha, m)), len(positive)
    top = torch.maximum(scores.amax(dim=1), positive)
    check_finite(top.max().item(), *(each.item() for each in positive.aminmax()))
    if not beta:
        top, scores = positive, scores.fill_(-math.inf)
    of_positive = (positive - top).exp2_().mul_(alpha)
    total = scores.sub_(top[:, None]).exp2_().sum(dim=1).mul_(beta).add_(of_positive)
    share = total.reciprocal()
    scores.mul_((share * (-beta / (n * tau)))[:, None])
    value = ((positive - top).double() * math.log(2) - total.double().log()).mean().item()
    return value, of_positive.mul_(share).neg_().add_(1).div_(n * tau)


def _gradients(
    tiles: "_Tiles",
    board: "_Board",
    of_scores: tuple[Tensor, Tensor | None],
    tensors: tuple,
    tau: float,
    needs: list[bool],
    ranks: Alone | Ranks,
) -> list[Tensor | None]:
    """Gradients of x, y, keys, negatives and temperature from those of the scores."""
    (of_positive, of_negatives), (left, right, own, partners) = of_scores, tensors
    need_x, need_y, need_keys, need_negatives, need_temperature = needs
    of_x, of_columns, candidates = tiles.of_left, tiles.of_right, tiles.candidates
    # The score of a positive is <x_i, y_i>/τ, a path of its own to x and y.
    of_positive = (of_positive / tau).to(left.dtype)[:, None]
    of_y = of_temperature = of_own = None
    if partners is not None:
        share = (board.weights / tiles.rows_.p / tau).to(left.dtype)[:, None]
        if of_columns is not None:
            candidates.add_to_partners(of_columns, left * share)
    if own is not None:
        of_negatives = (of_negatives / tau).to(left.dtype)
        if needs[3]:
            of_own = of_negatives[:, :, None] * left[:, None]
    if of_x is not None:
        of_x.div_(tau).addcmul_(of_positive, right)
        if partners is not None:
            of_x.addcmul_(share, partners)
        if own is not None:
            of_x += (of_negatives[:, None] @ own).squeeze(1)
    if need_temperature:
        # τ divides every score, so its gradient is −<x, ∂J/∂x>/τ, summed over rows.
        of_temperature = (left * of_x).sum(dim=1).double().sum() / -tau
    if candidates.first is not None:
        if of_columns is not None:
            of_y = ranks.own_rows_of_sum(of_columns).addcmul_(of_positive, left)
        of_columns = None
    elif need_y:
        of_y = left * of_positive
    return [of_x if need_x else None, of_y, of_columns, of_own, of_temperature]


@dataclass
class _Rows:
    """What a pair of a row weighs in the normaliser: α/c_i a positive, β_i/c_i a negative.

    ``log_a``, ``log_b`` are their logarithms, up to ``offset``; ``log_ref`` is what the scores of
    the tiles leave out, and ``bias_a``, ``bias_b`` (in bits) what is added to them, None for none.
    """

    log_a: float | Tensor
    log_b: float | Tensor
    log_ref: float
    offset: float
    mean_log_m: Tensor
    log_m: Tensor
    p: Tensor | None = None
    bias_a: Tensor | None = None
    bias_b: Tensor | None = None


@dataclass
class _Board:
    """Scores that are no part of a tile: positives, their mean, own negatives; weights of rows."""

    positive: Tensor
    mean_positive: Tensor
    of_own: Tensor | None
    weights: Tensor | None = None


def _weights_of_rows(
    candidates: Candidates, own: int, alpha: Tensor, shared: bool, ranks: Alone | Ranks
) -> _Rows:
    """The weights, and one error on all ranks if a row of one has no negative or too small an m."""
    alpha, n = alpha.item(), candidates.n
    if not candidates.uneven:
        excluded = 0 if candidates.exclude is None else candidates.exclude.shape[1]
        excluded += candidates.first is not None
        m = candidates.columns - excluded + own + 1
        log_beta, log_m = _log_beta(alpha, m), torch.tensor(math.log(m), dtype=torch.float64)
        offset = math.log(m) + (math.log(ranks.n) if shared else 0.0)
        return _Rows(math.log(alpha), log_beta, log_beta, offset, log_m, log_m.expand(n))
    refusal, rows = None, None
    try:
        rows = row_weights(*candidates.counts(own), alpha, shared)
    except ValueError as error:
        refusal = error
    ranks.refuse(refusal)
    (ref,) = ranks.largest(rows.log_ref)  # one for all ranks, whose sums are added up
    rows.bias_a += (rows.log_ref - ref) / math.log(2)
    rows.bias_b += (rows.log_ref - ref) / math.log(2)
    rows.log_ref = ref
    alike = candidates.labels is None and rows.log_m.min() == rows.log_m.max()
    if alike and isinstance(ranks, Alone):  # then no bias is needed
        rows.log_a, rows.log_b = (each[0].item() for each in (rows.log_a, rows.log_b))
        rows.log_ref, rows.p, rows.bias_a, rows.bias_b = rows.log_b, None, None, None
    (sum_of_log_m,) = ranks.sums(rows.log_m.sum().item())
    rows.mean_log_m = rows.log_m.new_tensor(sum_of_log_m / ranks.n)
    if shared:
        rows.offset += math.log(ranks.n)
    return rows


def row_weights(p: Tensor, q: Tensor, alpha: float | Tensor, shared: bool) -> _Rows:
    """The weights of rows with p_i positives and q_i negatives."""
    compiling = torch.compiler.is_compiling()
    if not compiling and not q.all():
        row = int((q == 0).nonzero()[0])
        raise ValueError(
            f"row {row} has no negative left; valid: exclude, ids and labels that leave at least "
            "one candidate of a row as a negative"
        )
    c, p = (p + q).double(), p.double()
    m = c / p
    if not compiling:
        bounds._check_alpha(alpha, m.min().item())
    alpha = torch.as_tensor(alpha, dtype=torch.float64, device=p.device).reshape(())
    log_a = alpha.log() - c.log()
    log_b = ((m - alpha).clamp(min=0) / (m - 1)).log() - c.log()
    ref = max(log_a.max().item(), log_b.max().item()) if not compiling else 0.0
    bits = (log_a - ref) / math.log(2), (log_b - ref) / math.log(2)
    log_m = m.log()
    return _Rows(log_a, log_b, ref, 0.0, log_m.mean(), log_m, p, *bits)


class _Tiles:
    """Scores a tile at a time, in bits, and the products that gradients are summed up from."""

    def __init__(
        self,
        left: Tensor,
        right: Tensor,
        candidates: Candidates,
        rows: _Rows,
        tile: list[int],
        need_left: bool,
        need_right: bool,
    ) -> None:
        self.candidates, self.rows_ = candidates, rows
        pairs = len(left) * len(right)
        self.workers = 1
        if left.device.type == "cpu" and pairs >= WORKER_SCORES and threads() > 1:
            self.workers = min(threads(), WORKERS, len(left))
        # As many blocks of rows as workers, or a multiple of it.
        blocks = -(-len(left) // tile[0])
        blocks = -(-blocks // self.workers) * self.workers
        self.rows = max(1, -(-len(left) // blocks))
        self.columns = max(1, min(tile[1], len(right)))
        self.of_left = torch.zeros_like(left) if need_left else None
        self.of_right = torch.zeros_like(right) if need_right else None
        # |<x, k>| is at most the product of the lengths; NaN and infinity are not moderate. A
        # length is infinite from 2^64 on, and sums of shorter rows times 2^40 are finite.
        self.moderate = True
        if len(right):
            longest = (each.norm(dim=1).amax().item() for each in (left, right))
            self.moderate = math.prod(longest) <= MODERATE
        self.left, self.right = left, right
        self.bias_a, self.bias_b = (
            None if bias is None else bias.to(left.dtype)[:, None]
            for bias in (rows.bias_a, rows.bias_b)
        )
        self._cut()

    def _cut(self) -> None:
        self.lefts = self.left.split(self.rows)
        self.rights = self.right.split(self.columns) if len(self.right) else ()
        self.of_lefts = () if self.of_left is None else self.of_left.split(self.rows)

    def of_rights(self, worker: int) -> tuple[Tensor, ...]:
        """Blocks that a worker sums the gradient of the columns up in; the first has the result."""
        if self.of_right is None or not self.rights:
            return ()
        whole = self.of_right if worker == 0 else torch.zeros_like(self.of_right)
        return whole.split(self.columns)

    def scores(self, i: int, j: int, room: Tensor) -> Tensor:
        """Tile (i, j), in ``room``, plus what the weights of rows add; −inf where left out."""
        height, width = len(self.lefts[i]), len(self.rights[j])
        tile = room[: height * width].view(height, width)
        torch.mm(self.lefts[i], self.rights[j].T, out=tile)
        rows = slice(i * self.rows, i * self.rows + height)
        columns = slice(j * self.columns, j * self.columns + width)
        self.candidates.leave_out(tile, rows, columns)
        if self.candidates.labels is not None:
            same = self.candidates.same_label(rows, columns)
            tile += torch.where(same, self.bias_a[rows], self.bias_b[rows])
        elif self.bias_b is not None:
            tile += self.bias_b[rows]
        return tile

    def add(
        self, weights: Tensor, i: int, j: int, left: Tensor, of_rights: tuple, kept: tuple
    ) -> None:
        """Add weights·right to block i of ``of_left``, weightsᵀ·left to block j of ``of_rights``.

        ``kept`` are the two factors for what is there already.
        """
        if self.of_lefts:
            self.of_lefts[i].addmm_(weights, self.rights[j], beta=kept[0])
        if of_rights:
            of_rights[j].addmm_(weights.T, left, beta=kept[1])


def threads() -> int:
    """Threads that PyTorch may use here."""
    return torch.get_num_threads()


def _by_workers(work: Callable, count: int) -> list:
    """What ``work`` returns for each worker, in threads of their own if there are several."""
    if count == 1:
        return [work(0)]
    before, inference = threads(), torch.is_inference_mode_enabled()

    def alone(worker: int) -> object:
        torch.set_num_threads(max(1, before // count))  # of this thread
        with torch.inference_mode(inference), torch.no_grad():
            return work(worker)

    try:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(alone, range(count)))
    finally:
        torch.set_num_threads(before)


def _sweep(tiles: _Tiles, worker: int) -> tuple:
    """The blocks of rows of one worker: largest score in bits, sum relative to it, and blocks.

    Exponentials are relative to ``top``, the largest score so far. A block of sums stays relative
    to the top at its last visit, and is brought to the present one when it is visited again.
    """
    top, total = 0.0 if tiles.moderate else -math.inf, tiles.left.new_zeros((), dtype=torch.float64)
    top_of_left, top_of_right = {}, [None] * len(tiles.rights)
    of_rights = tiles.of_rights(worker)
    room = tiles.left.new_empty(tiles.rows * tiles.columns)
    for i in range(worker, len(tiles.lefts), tiles.workers):
        top_of_left[i] = None
        for j in range(len(tiles.rights)):
            scores = tiles.scores(i, j, room)
            if not tiles.moderate:
                highest = scores.amax().item()
                if not highest < math.inf:  # NaN too; refused later, by every rank at once
                    return math.inf, total, top_of_left, top_of_right, of_rights
                if highest > top:
                    total *= 2.0 ** (top - highest)
                    top = highest
                if top == -math.inf:
                    continue  # nothing but pairs that are left out, so far
                scores.sub_(top)
            scores.exp2_()
            total += scores.sum()
            kept = (_fall(top_of_left[i], top), _fall(top_of_right[j], top))
            tiles.add(scores, i, j, tiles.lefts[i], of_rights, kept)
            top_of_left[i] = top_of_right[j] = top
    return top, total, top_of_left, top_of_right, of_rights


def _one_normaliser(
    tiles: _Tiles, board: _Board, ranks: Alone | Ranks
) -> tuple[Tensor, Tensor, Tensor | None]:
    """ML-CPC: J and its slope by the scores of positives and of own negatives.

    Leaves Σ_j ∂J/∂f_ij k_j and Σ_i ∂J/∂f_ij x_i/τ in ``tiles``.
    """
    rows = tiles.rows_
    parts = _by_workers(lambda worker: _sweep(tiles, worker), tiles.workers)
    top_here = max(part[0] for part in parts)
    apart = [board.positive + rows.log_a]
    if board.of_own is not None:
        log_b = rows.log_b if isinstance(rows.log_b, float) else rows.log_b[:, None]
        apart.append((board.of_own + log_b).flatten())
    apart = torch.cat(apart)
    top, top_apart = ranks.largest(top_here, apart.max().item())
    check_finite(top if tiles.rights else 0.0, top_apart)
    total, total_apart, sum_of_positives = ranks.sums(
        sum(part[1].item() * _fall(part[0], top) for part in parts) if tiles.rights else 0.0,
        (apart - top_apart).exp().sum().item(),
        board.mean_positive.sum().item(),
    )
    log_apart = top_apart + math.log(total_apart)
    log_tiles = rows.log_ref + top * math.log(2) + (math.log(total) if total else -math.inf)
    larger = max(log_apart, log_tiles)
    log_z = larger + math.log(math.exp(log_apart - larger) + math.exp(log_tiles - larger))
    value = rows.offset + sum_of_positives / ranks.n - log_z

    slopes = (apart - log_z).exp()
    n = len(board.positive)
    of_positive = board.weights / (1.0 if rows.p is None else rows.p) - slopes[:n]
    of_own = None if board.of_own is None else -slopes[n:].view_as(board.of_own)
    of_top = -math.exp(rows.log_ref + top * math.log(2) - log_z)  # ∂J/∂f of the largest score
    for _, _, tops, _, _ in parts:
        for i, old in tops.items() if tiles.of_lefts else ():
            tiles.of_lefts[i].mul_(of_top * _fall(old, top))
    for worker, (_, _, _, tops, blocks) in enumerate(parts):
        for block, mine, old in zip(parts[0][4], blocks, tops, strict=False):
            factor = of_top * _fall(old, top) * math.log(2)
            block.mul_(factor) if worker == 0 else block.add_(mine, alpha=factor)
    return board.positive.new_tensor(value), of_positive, of_own


def _normaliser_of_each_row(
    tiles: _Tiles, board: _Board, ranks: Alone | Ranks
) -> tuple[Tensor, Tensor, Tensor | None]:
    """CPC: L of each row, and the slope of their mean by positives and own negatives.

    Leaves Σ_j ∂L/∂f_ij k_j and Σ_i ∂L/∂f_ij x_i/τ in ``tiles``. A strip holds the scores of a
    block of whole rows, tile by tile. Once it is full the normalisers of its rows are known, so
    they go into the factors beside the products.
    """
    rows = tiles.rows_
    log_z = board.positive + rows.log_a
    if board.of_own is not None:
        log_b = rows.log_b if isinstance(rows.log_b, float) else rows.log_b[:, None]
        log_z = torch.logaddexp(log_z, (board.of_own + log_b).logsumexp(dim=1))
    if tiles.rights:
        size = max(64, STRIP_SCORES // (len(tiles.right) * tiles.workers))
        if size < tiles.rows:
            tiles.rows = size
            tiles._cut()
        parts = _by_workers(lambda worker: _strips(tiles, board, log_z, worker), tiles.workers)
        for other in parts[1:]:
            for block, mine in zip(parts[0], other, strict=True):
                block += mine
    check_finite(*ranks.largest(log_z.max().item(), board.positive.max().item()))
    values = board.mean_positive - log_z + rows.offset
    slope = board.weights / (1.0 if rows.p is None else rows.p)
    of_positive = slope - board.weights * (board.positive + rows.log_a - log_z).exp()
    of_own = None
    if board.of_own is not None:
        of_own = -board.weights[:, None] * (board.of_own + log_b - log_z[:, None]).exp()
    return values, of_positive, of_own


def _strips(tiles: _Tiles, board: _Board, log_z: Tensor, worker: int) -> tuple[Tensor, ...]:
    """The strips of one worker: adds their part to log Z of their rows, and to the gradients."""
    rows_, of_rights = tiles.rows_, tiles.of_rights(worker)
    strip = tiles.left.new_empty(tiles.rows * len(tiles.rights) * tiles.columns)
    rooms = strip.split(tiles.rows * tiles.columns)
    for i in range(worker, len(tiles.lefts), tiles.workers):
        left = tiles.lefts[i]
        parts = [tiles.scores(i, j, room) for j, room in enumerate(rooms)]
        top = left.new_zeros(len(left))
        rows = slice(i * tiles.rows, i * tiles.rows + len(left))
        if not tiles.moderate:
            top = torch.stack([scores.amax(dim=1) for scores in parts]).amax(dim=0)
            top = torch.where(top == -math.inf, 0.0, top)  # a row with own negatives alone
            if not top.abs().max().item() < math.inf:
                log_z[rows] = math.inf  # refused later, by every rank at once
                break
            for scores in parts:
                scores.sub_(top[:, None])
        total = torch.zeros_like(top)
        for scores in parts:
            total += scores.exp2_().sum(dim=1)
        log_top = rows_.log_ref + top.double() * math.log(2)
        log_z[rows] = torch.logaddexp(log_z[rows], log_top + total.double().log())
        of_top = -((log_top - log_z[rows]).exp() * board.weights[rows])
        of_top = of_top.to(left.dtype)[:, None]
        weighted = left * (of_top * math.log(2))
        for j, scores in enumerate(parts):
            tiles.add(scores, i, j, weighted, of_rights, (1.0, 1.0))
        if tiles.of_lefts:
            tiles.of_lefts[i].mul_(of_top)
    return of_rights


def _fall(old: float | None, top: float) -> float:
    """Factor that makes sums relative to ``top`` of sums relative to an older one, in bits."""
    return 1.0 if old is None else 2.0 ** (old - top)


def _log_beta(alpha: float, m: int) -> float:
    return math.log((m - alpha) / (m - 1)) if alpha < m else -math.inf


def working_dtype(*tensors: Tensor | None) -> torch.dtype:
    """float32, or float64 if one of the tensors is."""
    wide = any(each is not None and each.dtype == torch.float64 for each in tensors)
    return torch.float64 if wide else torch.float32


def full_precision(x: Tensor):
    """Autocast switched off: the scores of half-precision embeddings are made in float32."""
    device = x.device.type
    if torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def check_finite(*scores: float) -> None:
    if not all(-math.inf < score < math.inf for score in scores):
        raise ValueError(
            "x and y (or keys) have scores beyond what their dtype holds; "
            "valid: embeddings and temperature with finite scores"
        )
