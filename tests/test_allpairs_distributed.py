"""gather=True on 2 and 4 processes against one process that holds the whole batch."""

import traceback

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mlcpc import allpairs

D = 6
SIZES = ([5, 3, 4, 2], [4, 4, 4, 4], [1, 1, 3, 1])  # rows of each rank; the last ones are uneven
BOUNDS = (allpairs.ml_cpc, allpairs.cpc)


def drawn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(left, right):
    assert left.shape == right.shape, (left.shape, right.shape)
    assert (left - right).abs().max() < 1e-10, (left, right)


def rows_of(rank, counts):
    return slice(sum(counts[:rank]), sum(counts[: rank + 1]))


def summed(tensor):
    """Sum over ranks of what each rank got a part of."""
    tensor = tensor.clone()
    dist.all_reduce(tensor)
    return tensor


def value_and_gradients_equal_one_process(rank, world):
    for counts, lengthen in [*((counts, 1.0) for counts in SIZES), (SIZES[0], 9.0)]:
        counts = counts[:world]
        n, rows = sum(counts), rows_of(rank, counts)
        x, y, keys = drawn(n, D, seed=1), drawn(n, D, seed=2), drawn(9, D, seed=3)
        x[: counts[0]] *= lengthen  # the first rank's scores need a running maximum, no others'
        negatives, t = drawn(n, 3, D, seed=4), torch.tensor(0.7, dtype=torch.float64)
        own = torch.arange(n) % 9
        for bound in BOUNDS:
            for alpha in (0.3, 1.0):
                forms = [
                    ({}, {}),
                    ({"keys": keys}, {"keys": keys}),
                    ({"keys": keys, "leave_out": own}, {"keys": keys, "leave_out": own[rows]}),
                    ({"negatives": negatives}, {"negatives": negatives[rows]}),
                ]
                for whole, part in forms:
                    compare(bound, alpha, rows, (x, y, t), whole, part)


def compare(bound, alpha, rows, inputs, whole, part):
    def leaf(tensor):
        return tensor.clone().requires_grad_() if tensor.is_floating_point() else tensor

    x, y, t = map(leaf, inputs)
    whole = {name: leaf(tensor) for name, tensor in whole.items()}
    expected = bound(x, y, t, alpha, **whole, tile=0)
    expected.backward()
    own_x, own_y, own_t = leaf(inputs[0][rows]), leaf(inputs[1][rows]), leaf(inputs[2])
    part = {name: leaf(tensor) for name, tensor in part.items()}
    value = bound(own_x, own_y, own_t, alpha, **part, gather=True, tile=3)
    close(value.detach(), expected.detach())
    value.backward()
    close(own_x.grad, x.grad[rows])
    close(own_y.grad, y.grad[rows])
    close(summed(own_t.grad), t.grad)
    if "keys" in part:
        close(summed(part["keys"].grad), whole["keys"].grad)
    if "negatives" in part:
        close(part["negatives"].grad, whole["negatives"].grad[rows])


def what_ddp_makes_of_it(rank, world):
    """DDP divides the gradient of the encoder by the number of ranks; ddp=True undoes that."""
    counts = SIZES[0][:world]
    rows = rows_of(rank, counts)
    views = drawn(sum(counts), D, seed=5), drawn(sum(counts), D, seed=6)

    def build(kind, **options):
        encoder = nn.Linear(D, D, dtype=torch.float64)
        with torch.no_grad():
            encoder.weight.copy_(drawn(D, D, seed=7))
            encoder.bias.zero_()
        return encoder, kind(0.5, alpha=0.6, symmetric=True, **options)

    for kind in (allpairs.MLCPCLoss, allpairs.CPCLoss):
        encoder, loss = build(kind)
        whole = loss(encoder(views[0]), encoder(views[1]))
        whole.backward()
        for ddp, factor in ((False, 1 / world), (True, 1.0)):
            own, loss = build(kind, gather=True, ddp=ddp)
            wrapped = DistributedDataParallel(own)
            both = wrapped(torch.cat([views[0][rows], views[1][rows]]))
            parts = loss(*both.chunk(2), output_dict=True)
            close(parts["loss"].detach(), whole.detach())
            assert parts["ceiling"].exp() * 0.6 == pytest.approx(sum(counts))
            parts["loss"].backward()
            close(own.weight.grad, factor * encoder.weight.grad)


def one_bad_rank_is_an_error_everywhere(rank, world):
    good = drawn(3, D, seed=8)
    last = rank == world - 1
    bad = good.clone()
    bad[0, 0] = torch.nan
    live = good.clone().requires_grad_()
    cases = [
        ((bad if last else good, good, 0.5), "x contains nan", f"of rank {world - 1} were refused"),
        ((good, good[:2] if last else good, 0.5), "y has shape", "were refused"),
        ((good[:0] if last else good, good[:0] if last else good, 0.5), "x has shape", "refused"),
        ((good, good, 0.0 if last else 0.5), "temperature is 0.0", "were refused"),
        ((good, good, 0.4 if last else 0.5), "temperature is \\[0.5", "temperature is \\[0.5"),
        ((good, good, 0.5, 0.2 if last else 0.3), "alpha is \\[0.3", "alpha is \\[0.3"),
        ((good, good, 0.5, 3.0 * world + 1), "alpha is .*m = ", "alpha is .*m = "),
        ((good[:, :2], good[:, :2]) + (0.5,) if last else (good, good, 0.5), "width", "width"),
        ((1e200 * good if last else good, 1e200 * good, 0.5), "x and y .* beyond", "beyond"),
        ((good, good if last else live, 0.5), "gradient of y is", "gradient of y is"),
    ]
    scale = torch.tensor(torch.nan if last else 2.0)
    with pytest.raises(ValueError, match="temperature is nan" if last else "were refused"):
        allpairs.MLCPCLoss(gather=True)(good, good, scale)
    for bound in BOUNDS:
        for arguments, there, elsewhere in cases:
            with pytest.raises(ValueError, match=there if last else elsewhere):
                bound(*arguments, gather=True, tile=2)


def no_rank_holds_the_whole_matrix(rank, world):
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                self.numbers = max(self.numbers, result.numel())
            return result

    x, y = (drawn(300, D, seed=seed + rank).requires_grad_() for seed in (10, 20))
    n = 300 * world
    with Largest() as largest:
        allpairs.ml_cpc(x, y, 0.5, gather=True, tile=32).backward()
    assert n * D <= largest.numbers <= max(n * D, 32 * 32), largest.numbers


SCENARIOS = (
    value_and_gradients_equal_one_process,
    what_ddp_makes_of_it,
    one_bad_rank_is_an_error_everywhere,
    no_rank_holds_the_whole_matrix,
)


def work(rank, world, folder):
    """All scenarios in one set of processes: starting them is what takes time."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=world)
    for scenario in SCENARIOS:
        try:
            scenario(rank, world)
            outcome = "passed"
        except BaseException:
            outcome = traceback.format_exc()
        (folder / f"{scenario.__name__}-{rank}").write_text(outcome)
        if outcome != "passed":
            return  # the ranks are out of step from here on
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 4])
def outcomes(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"ranks{request.param}")
    context = mp.start_processes(
        work, (request.param, folder), nprocs=request.param, join=False, start_method="spawn"
    )
    for process in context.processes:
        process.join(timeout=300)  # most of it imports, which a busy machine draws out
        if process.is_alive():
            process.kill()
    return request.param, folder


@pytest.mark.parametrize("scenario", [each.__name__ for each in SCENARIOS])
def test_ranks(outcomes, scenario):
    world, folder = outcomes
    for rank in range(world):
        path = folder / f"{scenario}-{rank}"
        assert path.is_file(), f"rank {rank} did not get to {scenario}"
        assert path.read_text() == "passed"
