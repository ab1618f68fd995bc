"""Four plans by which ranks meet all keys of a step, run on processes of one machine and counted.

*gather* and *copies* are those of :mod:`mlcpc.allpairs`; *ring* and *shards* are written out here,
without the running maximum, for scores that are small. All return J_α and the gradients of the
rows that this rank owns, by x and, if y is the batch's, by y.
"""

import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import multiprocessing
from torch.utils.flop_counter import FlopCounterMode

from mlcpc import allpairs
from mlcpc.shapes import Tensor

WORLD, TAU, ALPHA, WIDTH, KEYS = 4, 0.5, 1.5, 64, 512


@dataclass(frozen=True, eq=False)
class Team:
    """The ranks that take a step together, as one of them sees it.

    Args:
        group: process group.
        me: place of this rank in the group.
        size: R, how many ranks there are.
        n: anchors of all ranks.
    """

    group: "dist.ProcessGroup"
    me: int
    size: int
    n: int


def ring(team: Team, x: Tensor, y: Tensor) -> tuple[float, Tensor, Tensor]:
    """Blocks of y go round; the sums of a block follow it, one step behind."""
    g = (x @ y.T / TAU).exp().fill_diagonal_(0)
    negatives, of_x, of_y = g.sum(), g @ y, g.T @ x
    (block,) = onward(team, y)
    sums = torch.zeros_like(y)
    for hop in range(1, team.size):
        g = (x @ block.T / TAU).exp()
        negatives, of_x = negatives + g.sum(), of_x + g @ block
        sums = sums + g.T @ x
        if hop < team.size - 1:
            block, sums = onward(team, block, sums)
    of_y = of_y + onward(team, sums)[0]
    J, w, b = from_parts(team, x, y, negatives, team.n)
    return J, (w * y - b * of_x) / TAU, (w * x - b * of_y) / TAU


def shards(team: Team, x: Tensor, y: Tensor, keys: Tensor) -> tuple[float, Tensor]:
    """Each rank holds its own keys; anchors visit all ranks, and their sums come back."""
    every = [torch.empty_like(x) for _ in range(team.size)]
    dist.all_gather(every, x, group=team.group)
    g = (torch.cat(every) @ keys.T / TAU).exp()
    sums = (g @ keys).split(team.n // team.size)
    for rank, block in enumerate(sums):
        dist.reduce(block, group=team.group, group_dst=rank)
    J, w, b = from_parts(team, x, y, g.sum(), KEYS + 1)
    return J, (w * y - b * sums[team.me]) / TAU


def gather(team: Team, x: Tensor, y: Tensor) -> tuple[float, Tensor, Tensor]:
    """Every rank gets all y, and hands sums to the rank that owns the row."""
    x, y = x.requires_grad_(), y.requires_grad_()
    J = allpairs.ml_cpc(x, y, TAU, ALPHA, gather=True, group=team.group)
    J.backward()
    return J.item(), x.grad, y.grad


def copies(team: Team, x: Tensor, y: Tensor, queue: Tensor) -> tuple[float, Tensor]:
    """Every rank holds the whole queue, and gets all new keys."""
    x = x.requires_grad_()
    J = allpairs.ml_cpc(x, y, TAU, ALPHA, queue, gather=True, group=team.group)
    J.backward()
    dist.all_gather([torch.empty_like(y) for _ in range(team.size)], y, group=team.group)
    return J.item(), x.grad


def from_parts(
    team: Team, x: Tensor, y: Tensor, negatives: Tensor, m: int
) -> tuple[float, Tensor, float]:
    """J_α, weights w of positives (n_local, 1) and β/Z; the ranks share three numbers."""
    f, beta = (x * y).sum(1) / TAU, (m - ALPHA) / (m - 1)
    shared = torch.tensor([f.exp().sum(), f.sum(), negatives], dtype=torch.float64)
    dist.all_reduce(shared, group=team.group)
    own, of_f, others = shared.tolist()
    Z = ALPHA * own + beta * others
    J = math.log(team.n * m) + of_f / team.n - math.log(Z)
    return J, (1 / team.n - ALPHA * f.exp() / Z)[:, None], beta / Z


def onward(team: Team, *tensors: Tensor) -> list[Tensor]:
    """Give tensors to the next rank and take those of the one before."""
    after, before = (team.me + 1) % team.size, (team.me - 1) % team.size
    new, moves = [torch.empty_like(each) for each in tensors], []
    for old, room in zip(tensors, new, strict=True):
        moves.append(dist.isend(old, group=team.group, group_dst=after))
        moves.append(dist.irecv(room, group=team.group, group_src=before))
    for move in moves:
        move.wait()
    return new


@dataclass(frozen=True)
class Measured:
    """What one rank found of a plan.

    Args:
        plan, R, n: name of the plan, ranks and anchors of all ranks.
        error: largest difference of value and gradients from one process that holds everything.
        sent: bytes that must reach another rank, by the sizes of tensors.
        written: bytes given to the operating system; None where it does not count.
        operations: of matrix products; those of the package's own kernel are not seen.
    """

    plan: str
    R: int
    n: int
    error: float
    sent: int
    written: int | None
    operations: int


def measure(sizes: Sequence[int]) -> dict[tuple[str, int, int], list[Measured]]:
    """Take a step by each plan with 2 and with 4 ranks: (plan, R, n) → what every rank found.

    Args:
        sizes: anchors of all ranks, multiples of 4.

    Raises:
        ValueError: a size that four ranks cannot share evenly.
    """
    if any(n < WORLD or n % WORLD for n in sizes):
        raise ValueError(f"sizes is {tuple(sizes)}; valid: multiples of {WORLD}")
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_rank, (folder, tuple(sizes)), nprocs=WORLD)
        rows = [Measured(**row) for rank in range(WORLD)
                for row in json.loads(Path(folder, str(rank)).read_text())]  # fmt: skip
    found: dict[tuple[str, int, int], list[Measured]] = {}
    for row in rows:
        found.setdefault((row.plan, row.R, row.n), []).append(row)
    return found


def _rank(rank: int, folder: str, sizes: tuple[int, ...]) -> None:
    """Everything that one process does."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=WORLD)
    found = []
    for ranks in ([0, 1], [0, 1, 2, 3]):
        group = dist.new_group(ranks)
        if rank in ranks:
            for n in sizes:
                found += _all_plans(Team(group, ranks.index(rank), len(ranks), n))
    Path(folder, str(rank)).write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


def _all_plans(team: Team) -> list[dict]:
    rows = team.n // team.size
    mine = slice(team.me * rows, (team.me + 1) * rows)
    x, y, queue = (_unit(count, seed) for seed, count in enumerate((team.n, team.n, KEYS), start=1))
    own_keys = queue.chunk(team.size)[team.me]
    plans: list[tuple[Callable, tuple]] = [
        (gather, ()), (ring, ()), (copies, (queue,)), (shards, (own_keys,)),
    ]  # fmt: skip
    found = []
    for plan, more in plans:
        whole = [each.clone().requires_grad_() for each in (x, y)]
        expected = allpairs.ml_cpc(*whole, TAU, ALPHA, keys=queue if more else None)
        expected.backward()
        own = x[mine].clone(), y[mine].clone()
        dist.barrier(team.group)
        before = _written()
        with _ledger(team) as sent, FlopCounterMode(display=False) as products:
            J, *slopes = plan(team, *own, *more)
        after = _written()
        error = abs(J - expected.item())
        for of_whole, slope in zip(whole, slopes, strict=False):  # a queue takes no gradient
            error = max(error, (of_whole.grad[mine] - slope).abs().max().item())
        found.append({
            "plan": plan.__name__, "R": team.size, "n": team.n, "error": error, "sent": sum(sent),
            "written": None if after is None else after - before,
            "operations": products.get_total_flops(),
        })  # fmt: skip
    return found


@contextmanager
def _ledger(team: Team) -> Iterator[list[int]]:
    """Bytes that collective operations must bring to other ranks, a number for each call."""
    shares: dict[str, tuple[int, Callable[[dict], int]]] = {  # place of the tensor, receivers
        "all_gather": (1, lambda options: team.size - 1),
        "all_reduce": (0, lambda options: team.size - 1),
        "isend": (0, lambda options: 1),
        "reduce": (0, lambda options: options["group_dst"] != team.me),
    }
    sent: list[int] = []
    plain = {name: getattr(dist, name) for name in shares}

    def counted(name: str, place: int, share: Callable[[dict], int]) -> Callable:
        def wrapped(*arguments, **options):
            sent.append(share(options) * arguments[place].nbytes)
            return plain[name](*arguments, **options)

        return wrapped

    try:
        for name, (place, share) in shares.items():
            setattr(dist, name, counted(name, place, share))
        yield sent
    finally:
        for name, function in plain.items():
            setattr(dist, name, function)


def _written() -> int | None:
    """Bytes that this process gave to the system, where that is known."""
    path = Path("/proc/self/io")
    if not os.access(path, os.R_OK):
        return None
    return int(dict(line.split(": ") for line in path.read_text().splitlines())["wchar"])


def _unit(rows: int, seed: int) -> Tensor:
    drawn = torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn)
