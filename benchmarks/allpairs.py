r"""What the loss costs: time and memory of one forward and backward pass, ours and others'.

    python benchmarks/allpairs.py                       the table, and whether targets are met
    python benchmarks/allpairs.py --sizes 8192 --rounds 3 --only ours-ml-cpc three-products
    python benchmarks/allpairs.py --record              also write results/loss-cost.json
    python benchmarks/allpairs.py --busy 2              the same beside two other busy threads
    python benchmarks/allpairs.py --tune                tile shapes, and where tiles start to pay

Every measurement is a process of its own, so that no one inherits another's memory or caches. A
round runs every implementation once, one after the other; ratios are taken inside a round, so
that a slow minute of the machine hits both sides. Times are medians and minima, memory is the
peak of the process minus what it held before its first call (gradients included).
"""

import argparse
import gc
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from mlcpc import allpairs, bounds, records, tiles

WIDTH, TEMPERATURE = 128, 0.1
SIZES = (256, 1024, 4096, 8192, 16384, 65536)
WINDOW = float(os.environ.get("MLCPC_WINDOW", 3.0))  # seconds of calls in a process, at least
SHAPES = ((1024, 256), (512, 512), (2048, 256), (1024, 1024), (512, 4096))
# By luck of addresses the C library hands the memory of a small batch back to the system at every
# call, or never: the same code took 0.48 ms in one process and 0.39 in the next.
KEEP_FREED_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**28), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
DECLARED = []


# ---------------------------------------------------------------------------------------------
# What is measured
# ---------------------------------------------------------------------------------------------


def authors(x: torch.Tensor, y: torch.Tensor, alpha: float = 1.0) -> torch.Tensor:
    """The authors' formulation, written from its description: a flat softmax over all scores.

    Divergence between a mass of 1/n on each positive and the softmax over all n² scores,
    positives shifted by log α and negatives by log β. Equal to log m − J_α.
    """
    n = len(x)
    positive = torch.eye(n)
    beta = (n - alpha) / (n - 1)
    shift = positive * math.log(alpha) + (1 - positive) * math.log(beta)
    logits = (x @ y.T / TEMPERATURE + shift).flatten()
    return F.kl_div(logits.log_softmax(0), positive.flatten() / n, reduction="sum")


def cross_entropy(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(x @ y.T / TEMPERATURE, torch.arange(len(x)))


def info_nce(x: torch.Tensor, y: torch.Tensor) -> Callable:
    from info_nce import InfoNCE

    return InfoNCE(temperature=TEMPERATURE)


def metric_learning(x: torch.Tensor, y: torch.Tensor) -> Callable:
    from pytorch_metric_learning.losses import SupConLoss

    loss, labels = SupConLoss(temperature=TEMPERATURE), torch.arange(len(x))
    return lambda x, y: loss(x, labels, ref_emb=y, ref_labels=labels)


def make_torchvision_importable() -> None:
    """Declare torchvision's operators where its wheel, which is made for CUDA, misses them.

    Beside a CPU build of PyTorch the wheel does not import. No loss needs the operators, so empty
    declarations will do.
    """
    try:
        import torchvision  # noqa: F401
    except ImportError:
        return
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        declared = torch.library.Library("torchvision", "FRAGMENT")
        pooling = ("roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "deform_conv2d")
        for name in (*pooling, *(f"_{name}_backward" for name in pooling), "nms", "qnms"):
            declared.define(f"{name}() -> ()")
        declared.define("qroi_align() -> ()")
        DECLARED.append(declared)  # a library that is collected takes its operators along


def lightly(x: torch.Tensor, y: torch.Tensor) -> Callable:
    make_torchvision_importable()
    from lightly.loss import NTXentLoss

    return NTXentLoss(temperature=TEMPERATURE)


def inf_cl(x: torch.Tensor, y: torch.Tensor) -> Callable:
    if not torch.cuda.is_available():
        raise ImportError("inf-cl runs on a GPU only")
    raise ImportError("inf-cl is not measured: no GPU run has been set up")


def products(count: int) -> Callable:
    """``count`` products of the sizes that a loss needs, and nothing else: a floor.

    Three: scores, and the gradients of x and y. Four: the scores twice. Dense, and in tiles of
    several shapes; the fastest counts.
    """

    def build(x: torch.Tensor, y: torch.Tensor) -> list[Callable]:
        n = len(x)
        x, y = x.detach(), y.detach()
        of_x, of_y = torch.zeros_like(x), torch.zeros_like(y)

        def dense() -> None:
            for _ in range(count - 2):
                scores = x @ y.T
            torch.mm(scores, y, out=of_x)
            torch.mm(scores.T, x, out=of_y)

        def tiled(rows: int, columns: int) -> Callable:
            rows, columns = min(rows, n), min(columns, n)
            tile = torch.empty(rows, columns)
            lefts = list(zip(x.split(rows), of_x.split(rows), strict=True))
            rights = list(zip(y.split(columns), of_y.split(columns), strict=True))

            def run() -> None:
                for left, of_left in lefts:
                    for right, of_right in rights:
                        for _ in range(count - 2):
                            torch.mm(left, right.T, out=tile)
                        of_left.addmm_(tile, right)
                        of_right.addmm_(tile.T, left)

            return run

        return [dense] + [tiled(*shape) for shape in SHAPES]

    return build


@dataclass(frozen=True)
class Implementation:
    """One line of the table: what it computes, how it is made, how far it fits into memory."""

    title: str
    build: Callable  # (x, y) -> callable of (x, y) that gives a scalar
    largest: int = 16384
    smallest: int = 1
    floor: bool = False
    compiled: bool = False


def direct(function: Callable) -> Callable:
    return lambda x, y: function


IMPLEMENTATIONS = {
    "three-products": Implementation("three bare products", products(3), floor=True),
    "four-products": Implementation("four bare products", products(4), floor=True),
    "ours-ml-cpc": Implementation(
        "ML-CPC, ours", direct(lambda x, y: allpairs.ml_cpc(x, y, TEMPERATURE)), 65536
    ),
    "ours-cpc": Implementation(
        "CPC, ours", direct(lambda x, y: allpairs.cpc(x, y, TEMPERATURE)), 65536
    ),
    "plain": Implementation(
        "ML-CPC, full matrix",
        direct(lambda x, y: bounds.ml_cpc(*bounds.split(x @ y.T / TEMPERATURE))),
    ),
    "authors": Implementation("authors' formulation", direct(authors)),
    "authors-compiled": Implementation(
        "authors' formulation, torch.compile", direct(authors), 8192, 1024, compiled=True
    ),
    "cross-entropy": Implementation("InfoNCE, cross_entropy", direct(cross_entropy)),
    "info-nce-pytorch": Implementation("info-nce-pytorch", info_nce),
    "pytorch-metric-learning": Implementation(
        "pytorch-metric-learning, SupConLoss", metric_learning, 8192
    ),
    "lightly": Implementation("lightly, NTXentLoss", lightly, 8192),
    "inf-cl": Implementation("inf-cl", inf_cl),
}


# ---------------------------------------------------------------------------------------------
# One measurement, in a process of its own
# ---------------------------------------------------------------------------------------------


def status(field: str) -> float:
    """VmRSS or VmHWM of this process in MiB."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(field))
    return int(line.split()[1]) / 1024


def forget_peak() -> float:
    """Start a new peak of memory; MiB held now."""
    gc.collect()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return status("VmRSS")


def measure(name: str, n: int, threads: int, calls: int) -> dict:
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    x, y = (
        F.normalize(torch.randn(n, WIDTH, generator=generator), dim=1).requires_grad_()
        for _ in range(2)
    )
    implementation = IMPLEMENTATIONS[name]
    try:
        built = implementation.build(x, y)
    except (ImportError, RuntimeError, OSError) as error:
        return {"skipped": f"{type(error).__name__}: {error}".splitlines()[0]}
    if implementation.compiled:
        built = torch.compile(built)

    def call() -> None:
        x.grad = y.grad = None
        built(x, y).backward()

    (F.normalize(torch.randn(64, WIDTH)) @ torch.randn(WIDTH, 64)).exp().sum()  # wake the threads
    before = forget_peak()
    if implementation.floor:
        seconds = min((times(each, calls) for each in built), key=min)
    else:
        if implementation.compiled:
            call()  # what the compiler needs is not what the loss needs
            before = forget_peak()
        seconds = times(call, calls)
    return {"milliseconds": [1e3 * each for each in seconds], "mebibytes": status("VmHWM") - before}


def times(call: Callable, calls: int) -> list[float]:
    """Seconds of each call, after one that does not count (unless there is one call only).

    Short calls go on for a window of some seconds. One that takes a tenth of a second meets the
    other users of a machine or misses them; a window meets them as often as the next one does.
    """
    if calls == 1:
        return [once(call)]
    call()
    seconds = []
    while len(seconds) < calls or sum(seconds) < WINDOW:
        seconds.append(once(call))
    return seconds


def once(call: Callable) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_own_process(name: str, n: int, threads: int, calls: int) -> dict:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), **KEEP_FREED_MEMORY}
    command = [sys.executable, __file__, "--child", name, str(n), str(threads), str(calls)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no message"
        return {"skipped": f"exit {done.returncode}: {reason}"}
    return json.loads(done.stdout.splitlines()[-1])


# ---------------------------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------------------------


@contextmanager
def others(count: int) -> Iterator[None]:
    """Processes of one thread each that multiply matrices until the block ends."""
    work = "import torch\ntorch.set_num_threads(1)\nx = torch.randn(256, 256)\nwhile True: x @ x"
    started = [subprocess.Popen([sys.executable, "-c", work]) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def calls_at(n: int) -> int:
    """Least number of calls: one where a call takes half a minute."""
    return 3 if n <= 16384 else 1


def rounds_at(n: int, rounds: int) -> int:
    """One round where a round takes minutes."""
    return rounds if n <= 8192 else 1


def benchmark(sizes: list[int], names: list[str], rounds: int, threads: int) -> dict:
    """name → n → rounds of measurements; skipped ones with the reason."""
    table = {name: {} for name in names}
    for n in sizes:
        for round_ in range(rounds_at(n, rounds)):
            for name in names:
                each = IMPLEMENTATIONS[name]
                cells = table[name].setdefault(n, [])
                if not each.smallest <= n <= each.largest or (cells and "skipped" in cells[-1]):
                    continue
                cells.append(in_own_process(name, n, threads, calls_at(n)))
                said = cells[-1].get("skipped") or f"{min(cells[-1]['milliseconds']):.2f} ms"
                print(f"  n = {n}, round {round_ + 1}, {name}: {said}", file=sys.stderr)
    return table


def ratios(table: dict, name: str, other: str, n: int) -> dict | None:
    """How many times as long ``name`` takes as ``other``: medians of a round, and minima."""
    rounds = zip(table.get(name, {}).get(n, []), table.get(other, {}).get(n, []), strict=False)
    pairs = [
        (one["milliseconds"], two["milliseconds"])
        for one, two in rounds
        if "milliseconds" in one and "milliseconds" in two
    ]
    if not pairs:
        return None
    per_round = [statistics.median(one) / statistics.median(two) for one, two in pairs]
    minima = min(min(one) for one, _ in pairs) / min(min(two) for _, two in pairs)
    return {"rounds": per_round, "median": statistics.median(per_round), "minima": minima}


def peak(table: dict, name: str, n: int) -> float | None:
    peaks = [cell["mebibytes"] for cell in table.get(name, {}).get(n, []) if "mebibytes" in cell]
    return max(peaks) if peaks else None


def targets(table: dict) -> list[tuple[str, float, str, float]]:
    """Name, what was measured, "at most" or "at least", limit; only what was measured."""
    wanted = [
        ("ML-CPC over three products, n = 8192", "ours-ml-cpc", "three-products", 8192, 1.2),
        ("CPC over four products, n = 8192", "ours-cpc", "four-products", 8192, 1.3),
        ("ML-CPC over cross_entropy, n = 256", "ours-ml-cpc", "cross-entropy", 256, 1.3),
    ]
    rows = []
    for title, one, two, n, limit in wanted:
        if found := ratios(table, one, two, n):
            rows.append((title, found["median"], "at most", limit))
    for title, other, limit in [
        ("authors' formulation over ML-CPC, n = 8192", "authors", 5.0),
        ("cross_entropy over ML-CPC, n = 8192", "cross-entropy", 1.8),
        ("compiled authors' formulation over ML-CPC, n = 8192", "authors-compiled", 1.0),
    ]:
        if found := ratios(table, other, "ours-ml-cpc", 8192):
            rows.append((title, found["median"], "at least", limit))
    ours, theirs = peak(table, "ours-ml-cpc", 8192), peak(table, "authors", 8192)
    if ours and theirs:
        rows.append(("memory as a share of the authors', n = 8192", ours / theirs, "at most", 0.05))
    if large := peak(table, "ours-ml-cpc", 65536):
        rows.append(("extra MiB, n = 65536", large, "at most", 300.0))
    return rows


def show(table: dict, sizes: list[int]) -> None:
    for n in sizes:
        print(f"\nn = {n}: ms median (minimum), times three products [minima], extra MiB")
        for name, each in IMPLEMENTATIONS.items():
            cells = table.get(name, {}).get(n, [])
            if not cells:
                continue
            if "skipped" in cells[-1]:
                print(f"  {each.title:38s} skipped: {cells[-1]['skipped']}")
                continue
            medians = [statistics.median(cell["milliseconds"]) for cell in cells]
            least = min(min(cell["milliseconds"]) for cell in cells)
            ratio = ratios(table, name, "three-products", n)
            times_floor = f"{ratio['median']:6.2f} [{ratio['minima']:.2f}]" if ratio else ""
            print(
                f"  {each.title:38s} {statistics.median(medians):10.2f} ({least:.2f})"
                f" {times_floor:>15s} {peak(table, name, n):8.1f}"
            )
    show_targets(targets(table))


def show_targets(rows: list[tuple[str, float, str, float]]) -> None:
    """Name, what was measured, "at most" or "at least", limit, and whether it is met."""
    print("\nTargets (median of the ratios of the rounds)")
    for title, found, kind, limit in rows:
        met = found <= limit if kind == "at most" else found >= limit
        print(f"  {'met ' if met else 'MISSED'} {title}: {found:.3g}, {kind} {limit:g}")


def record(table: dict, arguments: argparse.Namespace, seconds: float) -> records.Record:
    arrays, skipped = {}, {}
    for name, rows in table.items():
        kept = {n: [c for c in cells if "milliseconds" in c] for n, cells in rows.items()}
        kept = {n: cells for n, cells in kept.items() if cells}
        for cell in (cell for cells in rows.values() for cell in cells if "skipped" in cell):
            skipped[name] = cell["skipped"]
        if kept:
            arrays[name] = {
                "n": list(kept),
                "milliseconds": [
                    [statistics.median(cell["milliseconds"]) for cell in cells]
                    for cells in kept.values()
                ],
                "least_milliseconds": [
                    min(min(cell["milliseconds"]) for cell in cells) for cells in kept.values()
                ],
                "mebibytes": [max(c["mebibytes"] for c in cells) for cells in kept.values()],
            }
    metrics = {}
    for one, two in [
        ("ours-ml-cpc", "three-products"), ("ours-cpc", "four-products"),
        ("authors", "ours-ml-cpc"), ("cross-entropy", "ours-ml-cpc"),
        ("ours-ml-cpc", "cross-entropy"),
        ("authors-compiled", "ours-ml-cpc"), ("ours-ml-cpc", "plain"),
    ]:  # fmt: skip
        for n in arguments.sizes:
            if found := ratios(table, one, two, n):
                metrics[f"{one} over {two}, n = {n}"] = records.Metric(
                    "ratio", tuple(found["rounds"]), per="round"
                )
    return records.Record(
        name=f"loss-cost-busy-{arguments.busy}" if arguments.busy else "loss-cost",
        experiment="benchmarks/allpairs.py",
        version=3,
        profile="full",
        command=f"python benchmarks/allpairs.py {shlex.join(sys.argv[1:])}",
        config={
            "busy": arguments.busy,
            "sizes": arguments.sizes,
            "rounds": arguments.rounds,
            "threads": arguments.threads,
            "width": WIDTH,
            "temperature": TEMPERATURE,
            "dtype": "float32",
            "titles": {name: IMPLEMENTATIONS[name].title for name in table},
            "skipped": skipped,
        },
        seeds=[0],
        metrics=metrics,
        arrays=arrays,
        provenance=records.provenance(seconds),
    )


# ---------------------------------------------------------------------------------------------
# Tuning
# ---------------------------------------------------------------------------------------------


def tune(threads: int, rounds: int) -> None:
    """Tile shapes at n = 4096, and plain against tiles at small n; interleaved minima."""
    torch.set_num_threads(threads)

    def least(variants: dict[object, Callable], calls: int) -> dict[object, float]:
        best = dict.fromkeys(variants, math.inf)
        for _ in range(calls):
            for key, variant in variants.items():
                best[key] = min(best[key], *times(variant, 1))
        return best

    def step(
        n: int, bound: Callable, tile: int | None, shape: tuple[int, int], tiles_from: int = 0
    ) -> Callable:
        x, y = (F.normalize(torch.randn(n, WIDTH), dim=1).requires_grad_() for _ in range(2))

        def run() -> None:
            tiles.TILE["cpu"], tiles.DENSE_SCORES = shape, tiles_from
            bound(x, y, TEMPERATURE, tile=tile).backward()

        return run

    chosen = tiles.TILE["cpu"]
    for bound in (allpairs.ml_cpc, allpairs.cpc):
        shapes = [(r, c) for r in (256, 512, 1024, 2048) for c in (128, 256, 512, 1024)]
        best = least({shape: step(4096, bound, None, shape) for shape in shapes}, rounds)
        print(f"{bound.__name__}, n = 4096, rows × columns of a tile: ms")
        for shape, seconds in sorted(best.items(), key=lambda item: item[1]):
            print(f"  {shape[0]} × {shape[1]}: {1e3 * seconds:.1f}")
    print("n: ms of the full matrix, of tiles")
    threshold, tiles.DENSE_SCORES = tiles.DENSE_SCORES, 0
    for n in (128, 192, 256, 320, 384, 512, 768, 1024):
        pair = {
            "matrix": step(n, allpairs.ml_cpc, None, chosen, tiles_from=n * n + 1),
            "tiles": step(n, allpairs.ml_cpc, None, chosen),
        }
        best = least(pair, 20 * rounds)
        print(f"  {n}: {1e3 * best['matrix']:.2f}, {1e3 * best['tiles']:.2f}")
    tiles.DENSE_SCORES, tiles.TILE["cpu"] = threshold, chosen


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), metavar="N")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", nargs="+", choices=list(IMPLEMENTATIONS), metavar="NAME",
                        default=list(IMPLEMENTATIONS), help=", ".join(IMPLEMENTATIONS))  # fmt: skip
    parser.add_argument("--busy", type=int, default=0, metavar="THREADS",
                        help="other threads that compute all the time")  # fmt: skip
    parser.add_argument("--record", action="store_true", help="write results/loss-cost.json")
    parser.add_argument("--tune", action="store_true", help="tile shapes and threshold, then stop")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, *numbers = arguments.child
        print(json.dumps(measure(name, *map(int, numbers))))
    elif arguments.tune:
        tune(arguments.threads, arguments.rounds)
    else:
        start = time.perf_counter()
        torch.set_num_threads(arguments.threads)  # for the record: the processes set their own
        with others(arguments.busy):
            table = benchmark(arguments.sizes, arguments.only, arguments.rounds, arguments.threads)
        show(table, arguments.sizes)
        if arguments.record:
            path = records.write(record(table, arguments, time.perf_counter() - start))
            print(f"\nwrote {path}")


if __name__ == "__main__":
    main()
