"""A Triton kernel for ML-CPC's pass: an experiment, not part of the package until it is measured.

    TRITON_INTERPRET=1 python benchmarks/allpairs_triton.py    check it without a GPU
    python benchmarks/allpairs_triton.py                       check and time it on a GPU
    python benchmarks/allpairs_triton.py --check               check it only

The tiles of ``mlcpc.allpairs`` run on a GPU as plain PyTorch, where every tile goes through the
GPU's memory several times. This kernel keeps a tile in registers. A program owns a block of rows
and walks over all columns with a running maximum for each row. Rows of y are summed by a second
launch with the roles exchanged, so that no two programs add to the same place: four products in
place of three, in exchange for no traffic of tiles and the same result every time.

Checked in Triton's interpreter on a CPU only. No GPU was at hand: neither speed nor the compiled
kernel has been tested.
"""

import math
import sys
import time

import torch
import triton
import triton.language as tl

from mlcpc import allpairs


@triton.jit
def sum_rows(
    left, right, sums, tops, totals, rows, columns, width, scale,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Of a block of rows: largest score (in bits), Σ_j 2^(s_ij − top_i), Σ_j 2^(s_ij − top_i) r_j.

    The pair (i, i) is left out.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    along = tl.arange(0, WIDTH)
    inside = (row < rows)[:, None] & (along < width)[None, :]
    own = tl.load(left + row[:, None] * width + along[None, :], mask=inside, other=0.0)
    top = tl.full((ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    summed = tl.zeros((ROWS, WIDTH), tl.float32)
    for start in range(0, columns, COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        there = (column < columns)[:, None] & (along < width)[None, :]
        other = tl.load(right + column[:, None] * width + along[None, :], mask=there, other=0.0)
        scores = tl.dot(own, tl.trans(other), input_precision="ieee") * scale
        counts = (column < columns)[None, :] & (row[:, None] != column[None, :])
        scores = tl.where(counts, scores, float("-inf"))
        higher = tl.maximum(top, tl.max(scores, 1))
        # Rows that have met nothing but their own pair yet stay at zero, not at −inf − −inf.
        shift = tl.where(higher == float("-inf"), 0.0, higher)
        weights = tl.exp2(scores - shift[:, None])
        kept = tl.exp2(top - shift)
        total = total * kept + tl.sum(weights, 1)
        summed = summed * kept[:, None] + tl.dot(weights, other, input_precision="ieee")
        top = higher
    tl.store(tops + row, top, mask=row < rows)
    tl.store(totals + row, total, mask=row < rows)
    tl.store(sums + row[:, None] * width + along[None, :], summed, mask=inside)


def half_pass(left: torch.Tensor, right: torch.Tensor, temperature: float) -> tuple:
    """Largest score in bits, Σ 2^(s − top) over all pairs, and Σ_j 2^(s_ij − top) r_j."""
    rows, width = left.shape
    sums = torch.empty_like(left)
    tops, totals = left.new_empty(rows), left.new_empty(rows)
    block = 64
    sum_rows[(triton.cdiv(rows, block),)](
        left, right, sums, tops, totals, rows, len(right), width,
        1 / (temperature * math.log(2)),
        ROWS=block, COLUMNS=64, WIDTH=max(16, triton.next_power_of_2(width)),
    )  # fmt: skip
    top = tops.max()
    fall = torch.exp2(tops - top)
    return top, (totals.double() * fall).sum(), sums * fall[:, None]


def ml_cpc(x: torch.Tensor, y: torch.Tensor, temperature: float, alpha: float = 1.0) -> tuple:
    """J_α of a batch and its gradients by x and y; float32 embeddings (n, d)."""
    n = len(x)
    x, y = x.contiguous(), y.contiguous()
    top, total, of_x = half_pass(x, y, temperature)
    _, _, of_y = half_pass(y, x, temperature)
    positive = (x * y).sum(1).double() / temperature
    log_beta = math.log((n - alpha) / (n - 1))
    log_top = log_beta + top.double() * math.log(2)
    log_z = torch.logaddexp(math.log(alpha) + positive.logsumexp(0), log_top + total.log())
    weight = (1 / n - (positive + math.log(alpha) - log_z).exp()).float()[:, None]
    of_top = (log_top - log_z).exp().float()
    value = math.log(n * n) + positive.mean() - log_z
    return (
        value.float(),
        (weight * y - of_top * of_x) / temperature,
        (weight * x - of_top * of_y) / temperature,
    )


def worst_difference(n: int, width: int, temperature: float, alpha: float, device: str) -> float:
    """Largest error against the plain path in float64, relative to the largest gradient."""
    x, y = (
        torch.nn.functional.normalize(torch.randn(n, width, device=device), dim=1)
        for _ in range(2)
    )
    found = ml_cpc(x, y, temperature, alpha)
    leaves = [each.double().requires_grad_() for each in (x, y)]
    value = allpairs.ml_cpc(*leaves, temperature, alpha, tile=0)
    exact = (value.detach(), *torch.autograd.grad(value, leaves))
    return max(
        ((one - other).abs().max() / other.abs().max().clamp(min=1e-30)).item()
        for one, other in zip(found, exact, strict=True)
    )


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    for n, width, temperature, alpha in [
        (2, 3, 0.5, 1.0), (65, 16, 0.1, 0.3), (130, 24, 0.07, 1.0), (200, 128, 0.01, 5.0)
    ]:  # fmt: skip
        difference = worst_difference(n, width, temperature, alpha, device)
        print(f"n = {n}, d = {width}, temperature {temperature}: relative error {difference:.1e}")
    if device == "cpu" or "--check" in sys.argv:
        return
    for n in (4096, 16384, 65536):
        x, y = (torch.randn(n, 128, device=device) / 128**0.5 for _ in range(2))
        x.requires_grad_(), y.requires_grad_()
        variants = {
            "kernel": lambda x=x, y=y: ml_cpc(x.detach(), y.detach(), 0.1),
            "tiles": lambda x=x, y=y: allpairs.ml_cpc(x, y, 0.1).backward(),
        }
        for name, variant in variants.items():
            least = math.inf
            for _ in range(6):
                torch.cuda.synchronize()
                start = time.perf_counter()
                variant()
                torch.cuda.synchronize()
                least = min(least, time.perf_counter() - start)
            print(f"n = {n}, {name}: {1e3 * least:.2f} ms")


if __name__ == "__main__":
    main()
