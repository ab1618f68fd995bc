r"""Where negatives wait: a queue of keys, one slot per sample, and who is of another class.

:class:`KeyQueue` keeps the last K embeddings of a key encoder (MoCo, He et al. 2020, arXiv
1911.05722), :class:`SampleMemory` one embedding for each sample (Wu et al. 2018, arXiv 1805.01978;
for distillation Tian et al. 2020, arXiv 1910.10699). :class:`OtherClasses` names the samples that
are negatives of a labelled anchor. All hold unit vectors, so inner products are cosines. Their
state is in persistent buffers, and gradients flow only through the vectors that are passed in.
"""

import math
import warnings
from collections.abc import Iterator

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from mlcpc.config import check_count, refuse
from mlcpc.shapes import Float, Int, Tensor

# Half precision leaves a unit vector's norm within 5e-4 of 1, bfloat16 within 4e-3.
UNIT_TOLERANCE = 1e-2

# Scores of so many pairs of a query and a sample are in memory at a time.
PAIRS_AT_A_TIME = 3 * 2**18

# A gathered score costs as much as so many scores of a product with the whole memory, which reads
# every vector in order (2 cores, dim 128).
GATHERED_COST = 12

Positions = Int[Tensor, "n"]
Ages = Int[Tensor, "size"]
Labels = Int[Tensor, "samples"]


class KeyQueue(nn.Module):
    """The last K keys, first in, first out: negatives for every anchor of a batch.

    A new key takes the place of the oldest. Batches may have any size up to K, also one that does
    not divide K. At first the queue holds random unit vectors; :meth:`ages` tells them apart.

    ``keys`` (K, dim) is what an objective reads, for example ``allpairs.ml_cpc(x, y, temperature,
    keys=queue.keys)``. Compute the objective and its gradient before :meth:`push`, which writes in
    place. Memory: 4·K·dim bytes in float32 (K = 4,096 of dim 128: 2 MiB).

    Args:
        size: K.
        dim: length of a key.
        dataset_size: N images in the training set, to be warned if K exceeds it.
        generator: source of the first vectors; None for PyTorch's default.

    Raises:
        ValueError: a size below 1.

    Warns:
        UserWarning: K > N. Most anchors then meet older keys of their own image among their
            negatives, see :func:`own_key_chance`.
    """

    def __init__(
        self,
        size: int,
        dim: int,
        dataset_size: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_count("size", size)
        check_count("dim", dim)
        if dataset_size is not None and size > dataset_size:
            warnings.warn(
                f"the queue holds {size:,} keys of {dataset_size:,} images: "
                f"{own_key_chance(size, dataset_size):.0%} of the anchors meet a key of their own "
                "image among their negatives",
                stacklevel=2,
            )
        self.register_buffer("keys", _random_unit_vectors(size, dim, generator))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))

    def push(self, keys: Float[Tensor, "n dim"]) -> None:
        """Puts keys in, in order, in place of the oldest. The gradient stops here.

        Raises:
            ValueError: another shape than (n, dim), no key, more keys than the queue holds, keys
                that are not of unit norm. The queue is then as before.
        """
        size, dim = self.keys.shape
        if keys.dim() != 2 or keys.shape[1] != dim or not 1 <= len(keys) <= size:
            raise ValueError(
                f"keys has shape {tuple(keys.shape)}; valid: (n, {dim}) with n from 1 to {size}, "
                "the size of the queue"
            )
        keys = keys.detach()
        _check_unit("keys", keys)
        steps = torch.arange(len(keys), device=self.keys.device)
        self.keys.index_copy_(0, (self.pushed + steps) % size, keys.to(self.keys.dtype))
        self.pushed += len(keys)

    def ages(self) -> Ages:
        """How many keys came in behind each one, (K,): 0 the newest, −1 a random first vector."""
        size = len(self.keys)
        places = torch.arange(size, device=self.keys.device)
        ages = (self.pushed - 1 - places) % size
        return ages.where(ages < self.pushed, -1)


def own_key_chance(size: int, dataset_size: int) -> float:
    r"""Chance that an anchor meets an older key of its own image in a queue.

    Every epoch visits N images once, in a new random order. The image's last visit lies N − u + v
    visits back, with u, v its uniform places in the last and in this epoch. A queue of K holds it
    if that is at most K:

    .. math:: P = \frac{K(K+1)}{2N^2} \;(K ≤ N), \qquad
              P = 1 - \frac{(2N-K)(2N-K-1)}{2N^2} \;(N ≤ K ≤ 2N), \qquad P = 1 \;(K ≥ 2N)

    It holds behind the first epoch and for single visits; a batch of n visits shifts the places
    by less than n.

    Args:
        size: K keys.
        dataset_size: N images.

    Raises:
        ValueError: a number below 1.
    """
    check_count("size", size)
    check_count("dataset_size", dataset_size)
    if size <= dataset_size:
        return size * (size + 1) / (2 * dataset_size**2)
    beyond = max(2 * dataset_size - size, 0)
    return 1 - beyond * max(beyond - 1, 0) / (2 * dataset_size**2)


class SampleMemory(nn.Module):
    r"""One unit vector for each sample, that follows the sample's embeddings.

    .. math:: m_i ← \frac{μ\, m_i + (1-μ)\, v_i}{‖μ\, m_i + (1-μ)\, v_i‖}

    Contrast in both directions takes two memories, since each network's embedding is trained:
    scores of a student's embedding against the teacher's memory move the student's projection only.

    Memory: 4·N·dim bytes in float32 (N = 50,000, dim = 128: 24.4 MiB), and 4·n·m for the scores of
    n queries with m samples each (n = 64, m = 16,385: 4 MiB). Gathering their rows would take
    4·n·m·dim bytes (512 MiB).

    Args:
        samples: N.
        dim: length of a vector.
        momentum: μ in [0, 1); the literature takes 0.5.
        generator: source of the first vectors; None for PyTorch's default.

    Raises:
        ValueError: a size below 1, a momentum outside [0, 1).
    """

    def __init__(
        self,
        samples: int,
        dim: int,
        momentum: float = 0.5,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_count("samples", samples)
        check_count("dim", dim)
        if not 0 <= momentum < 1:
            refuse("momentum", momentum, "0 up to but not including 1")
        self.momentum = momentum
        self.register_buffer("vectors", _random_unit_vectors(samples, dim, generator))

    def scores(
        self,
        queries: Float[Tensor, "n dim"],
        positions: Int[Tensor, "n m"] | None = None,
    ) -> Float[Tensor, "n m"]:
        """Inner products of queries with the vectors of chosen samples.

        Where m is not far below N, the product of some queries with the whole memory, and then a
        choice among its columns: the same numbers as gathering n·m rows first, without the rows.
        For m far below N, the rows, some queries at a time. The memory gets no
        gradient, and is read again when the queries get theirs: :meth:`update` before that is
        PyTorch's error, and so is a second derivative.

        Args:
            queries: (n, dim).
            positions: samples for each query, (n, m), repetitions allowed; None for all, m = N.

        Raises:
            ValueError: another width than the memory's, positions outside 0 to N − 1.
        """
        dim = self.vectors.shape[1]
        if queries.dim() != 2 or queries.shape[1] != dim:
            raise ValueError(f"queries has shape {tuple(queries.shape)}; valid: (n, {dim})")
        vectors = self.vectors.to(queries.dtype)
        if positions is None:
            return queries @ vectors.T
        if positions.dim() != 2 or len(positions) != len(queries):
            raise ValueError(
                f"positions has shape {tuple(positions.shape)}; valid: ({len(queries)}, m)"
            )
        _check_positions("positions", positions, len(self.vectors))
        few = GATHERED_COST * positions.shape[1] < len(vectors)
        return (_GatheredScores if few else _ChosenScores).apply(queries, vectors, positions)

    @torch.no_grad()
    def update(self, positions: Positions, vectors: Float[Tensor, "n dim"]) -> None:
        """Moves the vectors of some samples towards new ones. The gradient stops here.

        Call it behind ``backward``: it writes in place what the scores' gradient reads.

        Args:
            positions: samples, (n,), each at most once.
            vectors: their new unit vectors, (n, dim).

        Raises:
            ValueError: shapes that do not fit, a sample twice or outside 0 to N − 1, vectors that
                are not of unit norm. The memory is then as before.
        """
        samples, dim = self.vectors.shape
        if vectors.dim() != 2 or tuple(vectors.shape) != (len(positions), dim):
            raise ValueError(
                f"vectors has shape {tuple(vectors.shape)}; valid: ({len(positions)}, {dim})"
            )
        _check_positions("positions", positions, samples)
        if len(positions.unique()) < len(positions):
            raise ValueError("positions names a sample twice; valid: each at most once")
        _check_unit("vectors", vectors)
        moved = self.vectors[positions].lerp(vectors.to(self.vectors.dtype), 1 - self.momentum)
        self.vectors[positions] = nn.functional.normalize(moved, dim=1)


class _ChosenScores(torch.autograd.Function):
    """Entry (i, j): query i times the vector at positions[i, j]. Only queries get a gradient."""

    @staticmethod
    def forward(ctx, queries: Tensor, vectors: Tensor, positions: Tensor) -> Tensor:
        ctx.save_for_backward(vectors, positions)
        scores = queries.new_empty(positions.shape)
        for rows in _blocks_of_rows(len(queries), len(vectors)):
            torch.gather(queries[rows] @ vectors.T, 1, positions[rows].long(), out=scores[rows])
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        vectors, positions = ctx.saved_tensors
        of_queries = gradient.new_empty(len(gradient), vectors.shape[1])
        for rows in _blocks_of_rows(len(gradient), len(vectors)):
            spread = gradient.new_zeros(len(gradient[rows]), len(vectors))
            spread.scatter_add_(1, positions[rows].long(), gradient[rows])
            torch.mm(spread, vectors, out=of_queries[rows])
        return of_queries, None, None


class _GatheredScores(torch.autograd.Function):
    """:class:`_ChosenScores` of few positions among many: the rows are gathered, some at a time."""

    @staticmethod
    def forward(ctx, queries: Tensor, vectors: Tensor, positions: Tensor) -> Tensor:
        ctx.save_for_backward(vectors, positions)
        scores = queries.new_empty(positions.shape)
        for rows in _blocks_of_rows(len(queries), positions.shape[1] * vectors.shape[1]):
            chosen = vectors[positions[rows]]
            scores[rows] = (chosen @ queries[rows, :, None]).squeeze(2)
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        vectors, positions = ctx.saved_tensors
        of_queries = gradient.new_empty(len(gradient), vectors.shape[1])
        for rows in _blocks_of_rows(len(gradient), positions.shape[1] * vectors.shape[1]):
            chosen = vectors[positions[rows]]
            of_queries[rows] = (gradient[rows, None] @ chosen).squeeze(1)
        return of_queries, None, None


class OtherClasses(nn.Module):
    """The samples of other classes than an anchor's: its negatives where there are labels.

    Samples are sorted by class once, and a draw from the others is a draw from the positions
    outside the block of a class. Classes may have any sizes. The buffers follow from the labels,
    so ``state_dict`` leaves them out. Memory: 16·N bytes and 16 for each class.

    Args:
        labels: class of each sample, (N,), integers from 0.

    Raises:
        ValueError: labels that are no such integers, or all of one class: nothing is negative.
    """

    def __init__(self, labels: Labels) -> None:
        super().__init__()
        if labels.dim() != 1 or labels.is_floating_point() or labels.dtype == torch.bool:
            raise ValueError(
                f"labels has shape {tuple(labels.shape)} and type {labels.dtype}; valid: one "
                "integer for each sample"
            )
        if not len(labels) or int(labels.min()) < 0:
            least = int(labels.min()) if len(labels) else "absent"
            raise ValueError(f"the least label is {least}; valid: 0 or more")
        labels = labels.to(torch.int64)
        counts = labels.bincount()
        if int(counts.max()) == len(labels):
            raise ValueError("labels names one class; valid: at least two, or nothing is negative")
        buffers = {"labels": labels.clone(), "order": labels.argsort(stable=True)}
        buffers |= {"counts": counts, "starts": counts.cumsum(0) - counts}
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)

    def in_all(self) -> int:
        """How many negatives an anchor has when all are taken: N − c with c samples in each class.

        Raises:
            ValueError: classes of different sizes, where anchors have different numbers of
                negatives, so that no rectangle holds them.
        """
        sizes = self.counts[self.counts > 0]
        least, most = int(sizes.min()), int(sizes.max())
        if least < most:
            raise ValueError(
                f"negatives is all, and classes have {least} to {most} samples; valid: classes "
                "of one size, or sampled"
            )
        return len(self.labels) - most

    def draw(
        self,
        positions: Positions,
        negatives: str = "sampled",
        count: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Int[Tensor, "n m"]:
        """Negatives of some samples.

        Args:
            positions: the anchors, (n,).
            negatives: ``sampled``: ``count`` for each anchor, drawn with replacement, all samples
                of other classes alike. ``all``: every one, in the order of classes.
            count: how many to draw; the literature takes 16,384.
            generator: source of the draws, on the device of the labels; None for PyTorch's default.

        Returns:
            samples, (n, count) or (n, N − c) with c samples in each class, never the anchor nor
            one of its class; of four bytes each, since there are as many as scores.

        Raises:
            ValueError: an unknown kind, a count missing, below 1 or given with ``all``, positions
                outside 0 to N − 1; ``all`` as :meth:`in_all`.
        """
        samples = len(self.labels)
        if negatives not in ("sampled", "all"):
            refuse("negatives", negatives, "sampled, all")
        if positions.dim() != 1:
            raise ValueError(f"positions has shape {tuple(positions.shape)}; valid: (n,)")
        _check_positions("positions", positions, samples)
        own = self.labels[positions]
        starts, counts = self.starts[own, None], self.counts[own, None]
        if negatives == "sampled":
            check_count("count", count)
        elif count is not None:
            raise ValueError(f"count is {count} with negatives all; valid: None")
        else:
            count = self.in_all()
        drawn = torch.empty(len(positions), count, dtype=torch.int32, device=own.device)
        for rows in _blocks_of_rows(len(drawn), 8 * count):
            shape = drawn[rows].shape
            if negatives == "sampled":
                # Of a number below 2^62, the remainder is uniform up to one part in 2^62 / N.
                places = torch.randint(2**62, shape, generator=generator, device=own.device)
                places.remainder_(samples - counts[rows])
            else:
                places = torch.arange(count, device=own.device).expand(shape)
            # Places from the anchor's own block on lie one block further.
            drawn[rows] = self.order[places + (places >= starts[rows]) * counts[rows]].int()
        return drawn


def _blocks_of_rows(rows: int, columns: int) -> Iterator[slice]:
    """Slices of rows that hold no more than PAIRS_AT_A_TIME entries, but one row at least."""
    size = max(1, PAIRS_AT_A_TIME // max(columns, 1))
    return (slice(start, start + size) for start in range(0, rows, size))


def _random_unit_vectors(n: int, dim: int, generator: torch.Generator | None) -> Tensor:
    device = None if generator is None else generator.device
    return nn.functional.normalize(torch.randn(n, dim, generator=generator, device=device), dim=1)


def _check_positions(name: str, positions: Tensor, samples: int) -> None:
    if positions.is_floating_point() or positions.dtype == torch.bool:
        raise ValueError(f"{name} has type {positions.dtype}; valid: integers")
    if positions.numel():
        least, most = (int(each) for each in positions.aminmax())
        if least < 0 or most >= samples:
            raise ValueError(f"{name} go from {least} to {most}; valid: 0 to {samples - 1}")


def _check_unit(name: str, vectors: Tensor) -> None:
    norms = torch.linalg.vector_norm(vectors.float(), dim=1)
    off = float((norms - 1).abs().max()) if len(vectors) else 0.0
    if math.isnan(off) or off > UNIT_TOLERANCE:
        raise ValueError(f"{name} have norms up to {off:.3g} from 1; valid: unit norm")
