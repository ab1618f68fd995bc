"""gather=True on 2 and 4 processes against one process that holds the whole batch."""

import multiprocessing
import traceback

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mlcpc import allpairs, losses

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
                    ({"keys": keys, "exclude": own}, {"keys": keys, "exclude": own[rows]}),
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

    for kind in (losses.MLCPCLoss, losses.CPCLoss):
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
        losses.MLCPCLoss(gather=True)(good, good, scale)
    for bound in BOUNDS:
        for arguments, there, elsewhere in cases:
            with pytest.raises(ValueError, match=there if last else elsewhere):
                bound(*arguments, gather=True, tile=2)


def marks_equal_one_process(rank, world):
    """Masks, ids, labels, own negatives and values of each row, in a batch and beside keys."""
    for counts in SIZES[:2]:
        counts = counts[:world]
        n, rows = sum(counts), rows_of(rank, counts)
        x, y, keys = drawn(n, D, seed=1), drawn(n, D, seed=2), drawn(9, D, seed=3)
        negatives, t = drawn(n, 3, D, seed=4), torch.tensor(0.7, dtype=torch.float64)
        generator = torch.Generator().manual_seed(5)
        ids, labels = (torch.randint(0, 4, (n + 9,), generator=generator) for _ in range(2))
        mask = torch.rand(n, n, generator=generator) < 0.2
        listed = torch.rand(n, n, generator=generator).argsort(1)[:, :2]
        listed[0, 1] = -1
        of_one_rank = torch.arange(n)[:, None] % 9
        of_one_rank[0] = -1  # padding where the other ranks have none
        of_keys = {"key_ids": ids[n:], "key_labels": labels[n:]}
        forms = [
            {"ids": ids[:n]}, {"labels": labels[:n]}, {"exclude": mask}, {"exclude": listed},
            {"exclude": mask, "ids": ids[:n], "labels": labels[:n]},
            {"keys": keys, "negatives": negatives},
            {"keys": keys, "ids": ids[:n], "labels": labels[:n], **of_keys},
            {"keys": keys, "exclude": of_one_rank},
            {"keys": keys, "negatives": negatives, "exclude": mask[:, :9] if n >= 9 else None},
        ]  # fmt: skip
        local = {"ids", "labels", "exclude", "negatives"}
        for whole in forms:
            whole = {name: mark for name, mark in whole.items() if mark is not None}
            part = {name: mark[rows] if name in local else mark for name, mark in whole.items()}
            for bound in BOUNDS:
                compare(bound, 0.6, rows, (x, y, t), whole, part)
            values_of_rows(rows, (x, y, t), whole, part)


def values_of_rows(rows, inputs, whole, part):
    x, y, t = (each.clone().requires_grad_() for each in inputs)
    weights = torch.linspace(1, 2, len(x), dtype=torch.float64)
    expected = allpairs.cpc(x, y, t, 0.6, **whole, tile=0, reduction="none")
    (weights * expected).sum().backward()
    own_x, own_y = (each[rows].clone().requires_grad_() for each in inputs[:2])
    own_t = inputs[2].clone().requires_grad_()
    found = allpairs.cpc(own_x, own_y, own_t, 0.6, **part, tile=3, gather=True, reduction="none")
    close(found.detach(), expected.detach()[rows])
    (weights[rows] * found).sum().backward()
    close(own_x.grad, x.grad[rows])
    close(own_y.grad, y.grad[rows])
    close(summed(own_t.grad), t.grad)


def both_views_equal_one_process(rank, world):
    counts = SIZES[0][:world]
    rows = rows_of(rank, counts)
    views = [drawn(sum(counts), D, seed=seed) for seed in (5, 6)]
    labels = torch.arange(sum(counts)) // 2
    for kind in (losses.MLCPCLoss, losses.CPCLoss):
        for marks in ({}, {"labels": labels}, {"ids": labels}):
            leaves = [each.clone().requires_grad_() for each in views]
            expected = kind(0.5, 0.6, both_views=True)(*leaves, **marks, output_dict=True)
            expected["loss"].backward()
            own = [each[rows].clone().requires_grad_() for each in views]
            part = {name: mark[rows] for name, mark in marks.items()}
            found = kind(0.5, 0.6, both_views=True, gather=True)(*own, **part, output_dict=True)
            close(found["loss"].detach(), expected["loss"].detach())
            close(found["ceiling"], expected["ceiling"])
            found["loss"].backward()
            for one, other in zip(own, leaves, strict=True):
                close(one.grad, other.grad[rows])


def bad_marks_of_one_rank_are_an_error_everywhere(rank, world):
    good, last = drawn(3, D, seed=8), rank == world - 1
    alike = torch.zeros(3, dtype=torch.long)
    different = torch.arange(3) + 3 * rank
    here = f"of rank {world - 1} were refused"
    short = torch.zeros(2, dtype=torch.long)
    far = torch.full((3,), 3 * world)
    crowd = torch.ones(3, 3 * world, dtype=torch.bool)
    cases = [
        ({"ids": short if last else different}, "ids has shape", here),
        ({"labels": different.double() if last else different}, "labels is torch.float64", here),
        ({"ids": different.to("meta") if last else different}, "ids is on meta", here),
        ({"exclude": far if last else different}, "exclude contains", here),
        ({"exclude": crowd if last else ~crowd}, "row 0 has no negative left", here),
        ({"labels": alike}, "row 0 has no negative left", "row 0 has no negative left"),
        ({"ids": different} if last else {}, "kinds of marks is", "kinds of marks is"),
    ]
    for bound in BOUNDS:
        for options, there, elsewhere in cases:
            with pytest.raises(ValueError, match=there if last else elsewhere):
                bound(good, good, 0.5, **options, gather=True, tile=2)


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
    marks_equal_one_process,
    both_views_equal_one_process,
    bad_marks_of_one_rank_are_an_error_everywhere,
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
    multiprocessing.set_forkserver_preload(["mlcpc.losses", "pytest"])  # imported once for all
    context = mp.start_processes(
        work, (request.param, folder), nprocs=request.param, join=False, start_method="forkserver"
    )
    for process in context.processes:
        process.join(timeout=300)
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
