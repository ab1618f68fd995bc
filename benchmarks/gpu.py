"""What the loss costs on a GPU, in less than eight minutes; on a CPU only a dry run.

    python benchmarks/gpu.py             everything, as JSON lines, to standard output
    python benchmarks/gpu.py --dry-run   the same program with small sizes, on any machine

Tiles, the Triton kernel, the floor of three products, a chunked sigmoid-style softmax and cross
entropy as rivals; bf16 and fp32; peak memory; errors against float64; a MoCo step; a staircase
stack. A part that fails says why, and the next one goes on. The clock is looked at before each
part, so that the whole ends in time.
"""

import argparse
import json
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from mlcpc import allpairs, bounds, losses, memory

LIMIT = 450.0  # seconds
TEMPERATURE = 0.1
START = time.perf_counter()


def say(**row: object) -> None:
    print(json.dumps({"seconds": round(time.perf_counter() - START, 1), **row}), flush=True)


def products(x: torch.Tensor, y: torch.Tensor) -> None:
    """The floor: scores and both gradients as bare products, in blocks of rows."""
    of_y = torch.zeros_like(y)
    for block in x.detach().split(4096):
        scores = block @ y.detach().T
        scores @ y.detach()
        of_y.addmm_(scores.T, block)


def cross_entropy(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(x @ y.T / TEMPERATURE, torch.arange(len(x), device=x.device))


def chunked(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Rows in chunks, each with a checkpoint: what loops over devices do for a sigmoid loss."""
    from torch.utils.checkpoint import checkpoint

    def rows(block: torch.Tensor, start: int) -> torch.Tensor:
        own = torch.arange(start, start + len(block), device=x.device)
        return F.cross_entropy(block @ y.T / TEMPERATURE, own, reduction="sum")

    parts = [
        checkpoint(rows, block, 4096 * place, use_reentrant=False)
        for place, block in enumerate(x.split(4096))
    ]
    return torch.stack(parts).sum() / len(x)


def triton_kernel(x: torch.Tensor, y: torch.Tensor) -> None:
    import allpairs_triton

    allpairs_triton.ml_cpc(x.detach().float(), y.detach().float(), TEMPERATURE)


VARIANTS = {
    "three products": products,
    "ML-CPC tiles": lambda x, y: allpairs.ml_cpc(x, y, TEMPERATURE),
    "CPC tiles": lambda x, y: allpairs.cpc(x, y, TEMPERATURE),
    "Triton": triton_kernel,
    "cross_entropy": cross_entropy,
    "chunked": chunked,
}


def milliseconds(call: Callable, device: str, calls: int = 3) -> float:
    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    call()
    least = float("inf")
    for _ in range(calls):
        wait()
        start = time.perf_counter()
        call()
        wait()
        least = min(least, time.perf_counter() - start)
    return 1e3 * least


def pair(n: int, d: int, dtype: torch.dtype, device: str) -> list[torch.Tensor]:
    generator = torch.Generator(device).manual_seed(0)
    return [
        F.normalize(torch.randn(n, d, generator=generator, device=device), dim=1)
        .to(dtype)
        .requires_grad_()
        for _ in range(2)
    ]


def cost(n: int, d: int, dtype: torch.dtype, device: str) -> None:
    floor = None
    for name, variant in VARIANTS.items():
        if name in ("cross_entropy",) and n > 65536:
            continue  # the matrix alone would be 256 GiB
        x, y = pair(n, d, dtype, device)

        def call(variant: Callable = variant, x=x, y=y) -> None:
            x.grad = y.grad = None
            value = variant(x, y)
            if value is not None:
                value.backward()

        try:
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
            took = milliseconds(call, device)
        except (RuntimeError, ImportError, ValueError) as error:
            say(part="cost", name=name, n=n, d=d, dtype=str(dtype), failed=str(error)[:200])
            continue
        floor = took if name == "three products" else floor
        peak = (torch.cuda.max_memory_allocated() - before) / 2**20 if device == "cuda" else None
        row = {"name": name, "n": n, "d": d, "dtype": str(dtype), "ms": took, "MiB": peak}
        say(part="cost", over_floor=took / floor if floor else None, **row)


def correctness(n: int, device: str) -> None:
    """Value and gradient of tiles against the whole matrix in float64."""
    for dtype in (torch.float32, torch.bfloat16):
        for bound in (allpairs.ml_cpc, allpairs.cpc):
            x, y = pair(n, 64, dtype, device)
            value = bound(x, y, TEMPERATURE, 0.7, tile=256)
            found = torch.autograd.grad(value, (x, y))
            exact_leaves = [each.detach().double().requires_grad_() for each in (x, y)]
            exact = bound(*exact_leaves, TEMPERATURE, 0.7, tile=0)
            gradients = torch.autograd.grad(exact, exact_leaves)
            errors = [
                ((a.double() - b).abs().max() / b.abs().max()).item()
                for a, b in zip(found, gradients, strict=True)
            ]
            value_error = abs(value.item() - exact.item())
            row = {"name": bound.__name__, "dtype": str(dtype), "gradient": max(errors)}
            say(part="correctness", value=value_error, **row)


def moco(n: int, size: int, device: str) -> None:
    """A step against a queue, with a small network around it and without our loss."""
    net = torch.nn.Sequential(
        torch.nn.Linear(512, 2048), torch.nn.ReLU(), torch.nn.Linear(2048, 128)
    ).to(device)
    queue = memory.KeyQueue(size, 128, generator=torch.Generator(device).manual_seed(0)).to(device)
    x = torch.randn(n, 512, device=device)
    loss = losses.MLCPCLoss(TEMPERATURE)

    def bare() -> None:
        net(x).square().mean().backward()

    def step() -> None:
        keys = F.normalize(net(x).detach(), dim=1)
        loss(net(x), keys, keys=queue.keys).backward()
        queue.push(keys)

    took = [milliseconds(each, device) for each in (bare, step)]
    say(part="moco", n=n, queue=size, bare_ms=took[0], step_ms=took[1])


def staircase(stack: int, n: int, device: str) -> None:
    """Scores of a stack of estimators at a time, and their bounds."""
    scores = torch.randn(stack, n, n, device=device, requires_grad=True)

    def step() -> None:
        scores.grad = None
        bounds.ml_cpc(*bounds.split(scores), 0.1).sum().backward()

    say(part="staircase", stack=stack, n=n, ms=milliseconds(step, device))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="small sizes, on any machine")
    dry = parser.parse_args().dry_run
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not dry:
        parser.error("no GPU is found; valid: --dry-run")
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    say(part="device", name=name, torch=torch.__version__, goal="65536 x 768 bf16 within 1.5")
    sizes = (512,) if dry else (8192, 65536, 262144)
    widths = (16,) if dry else (128, 768)
    parts = [lambda: correctness(300 if dry else 4096, device)]
    parts += [
        lambda n=n, d=d, dtype=dtype: cost(n, d, dtype, device)
        for n in sizes
        for d in widths
        for dtype in (torch.bfloat16, torch.float32)
    ]
    parts.insert(1, lambda: moco(64 if dry else 512, 256 if dry else 65536, device))
    parts.insert(1, lambda: staircase(4 if dry else 64, 32 if dry else 128, device))
    for part in parts:
        if time.perf_counter() - START > LIMIT:
            say(part="end", left_out="the clock ran out")
            break
        part()


if __name__ == "__main__":
    main()
