"""Masks, ids, labels and own negatives: against loops, and what is refused."""

import math

import pytest
import torch

from mlcpc import allpairs, bounds, losses, tiles

BOTH = pytest.mark.parametrize("bound", [allpairs.ml_cpc, allpairs.cpc])
N, K, D, H = 7, 9, 3, 2


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def marks(form, seed=0):
    """Named sets of marks for rows against the batch or against keys."""
    generator = torch.Generator().manual_seed(seed)
    columns = N if form == "batch" else K

    def numbers(count):
        return torch.randint(0, 4, (count,), generator=generator)

    ids, labels = {"ids": numbers(N)}, {"labels": numbers(N)}
    if form != "batch":
        ids, labels = {**ids, "key_ids": numbers(K)}, {**labels, "key_labels": numbers(K)}
    mask = torch.rand(N, columns, generator=generator) < 0.2
    listed = torch.rand(N, columns, generator=generator).argsort(1)[:, :2]
    padded = listed.masked_fill(torch.rand(N, 2, generator=generator) < 0.3, -1)
    return {
        "nothing": {}, "ids": ids, "labels": labels, "mask": {"exclude": mask},
        "listed": {"exclude": listed}, "padded": {"exclude": padded},
        "ids and labels": {**ids, **labels}, "mask and ids": {"exclude": mask, **ids},
        "mask and labels": {"exclude": mask, **labels},
        "all": {"exclude": padded, **ids, **labels},
    }  # fmt: skip


def row_sums(i, x, y, t, keys, negatives, exclude, ids, key_ids, labels, key_labels):
    """Scores of the positives and of the negatives of anchor i, pair by pair."""
    in_batch = keys is None and negatives is None
    columns = y if in_batch else x[:0] if keys is None else keys
    positives, others, left_out = [x[i] @ y[i] / t], [], set()
    if exclude is not None:
        row = exclude[i]
        row = row.nonzero().flatten() if row.dtype == torch.bool else row.reshape(-1)
        left_out = set(row.tolist())
    for j, column in enumerate(columns):
        if (in_batch and i == j) or j in left_out:
            continue
        if labels is not None and labels[i] == (labels if in_batch else key_labels)[j]:
            positives.append(x[i] @ column / t)
        elif ids is None or ids[i] != (ids if in_batch else key_ids)[j]:
            others.append(x[i] @ column / t)
    others += [] if negatives is None else [x[i] @ k / t for k in negatives[i]]
    return positives, others


def naive(bound, x, y, t, alpha, keys=None, negatives=None, exclude=None, ids=None, key_ids=None,
          labels=None, key_labels=None, each=False):  # fmt: skip
    means, normalisers = [], []
    for i in range(len(x)):
        positives, others = row_sums(
            i, x, y, t, keys, negatives, exclude, ids, key_ids, labels, key_labels
        )
        p, q = len(positives), len(others)
        m = (p + q) / p
        beta = (m - alpha) / (m - 1)
        weighed = alpha * sum(f.exp() for f in positives) + beta * sum(f.exp() for f in others)
        means.append(sum(positives) / p)
        normalisers.append(weighed / (p + q))
    means, normalisers = torch.stack(means), torch.stack(normalisers)
    if bound is allpairs.ml_cpc:
        return means.mean() - normalisers.mean().log()
    rows = means - normalisers.log()
    return rows if each else rows.mean()


def with_gradients(function, *tensors):
    leaves = [each.clone().requires_grad_() for each in tensors]
    value = function(*leaves)
    weights = torch.linspace(1, 2, value.numel(), dtype=value.dtype).reshape(value.shape)
    return value.detach(), *torch.autograd.grad((weights * value).sum(), leaves)


def assert_close(left, right, tolerance=1e-10):
    for one, other in zip(left, right, strict=True):
        assert (one - other).abs().max() <= tolerance * (1 + other.abs().max())


@BOTH
@pytest.mark.parametrize("form", ["batch", "keys", "own", "keys and own"])
@pytest.mark.parametrize("temperature", [0.7, 0.03])  # scores that need no shift, and that need one
def test_marks_equal_loops_over_pairs_in_value_and_gradients(bound, form, temperature):
    x, y, t = drawn(N, D), drawn(N, D, seed=1), torch.tensor(temperature, dtype=torch.float64)
    more = {}
    if "keys" in form:
        more["keys"] = drawn(K, D, seed=2)
    if "own" in form:
        more["negatives"] = drawn(N, H, D, seed=3)
    every = {"nothing": {}} if form == "own" else marks(form.split()[0])
    for chosen in every.values():

        def expected(x, y, t, *tensors, chosen=chosen, **options):
            given = dict(zip(more, tensors, strict=True))
            return naive(bound, x, y, t, 0.8, **given, **chosen, **options)

        def found(x, y, t, *tensors, chosen=chosen, **options):
            given = dict(zip(more, tensors, strict=True))
            return bound(x, y, t, 0.8, **given, **chosen, **options)

        inputs = (x, y, t, *more.values())
        exact = with_gradients(expected, *inputs)
        for tile in (None, 0, 2, 5):
            assert_close(with_gradients(lambda *a, tile=tile: found(*a, tile=tile), *inputs), exact)
        if bound is allpairs.cpc:
            rows = with_gradients(lambda *a: expected(*a, each=True), *inputs)
            for tile in (None, 0, 3):
                options = {"tile": tile, "reduction": "none"}
                given = with_gradients(lambda *a, o=options: found(*a, **o), *inputs)
                assert_close(given, rows)


@BOTH
def test_workers_give_what_one_thread_gives(bound, monkeypatch):
    """Threads that own blocks of rows: the same sums, also where maxima differ between them."""
    monkeypatch.setattr(tiles, "WORKER_SCORES", 0)
    x, y = drawn(41, D), drawn(41, D, seed=1)
    x[:9] *= 20.0
    ids = torch.arange(41) // 2
    for temperature in (0.9, 0.05):

        def call(x, y, temperature=temperature):
            return bound(x, y, temperature, 0.7, ids=ids, tile=6)

        alone = with_gradients(call, x, y)
        for threads in (2, 3, 4):
            monkeypatch.setattr(tiles, "threads", lambda threads=threads: threads)
            assert_close(with_gradients(call, x, y), alone)
        monkeypatch.undo()
        monkeypatch.setattr(tiles, "WORKER_SCORES", 0)


def test_the_callers_threads_are_as_before(monkeypatch):
    monkeypatch.setattr(tiles, "WORKER_SCORES", 0)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        allpairs.ml_cpc(drawn(9, D), drawn(9, D, seed=1), 0.5, tile=2)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_labels_are_supcon_and_its_ceiling_is_zero():
    x, y = drawn(8, D), drawn(8, D, seed=1)
    labels = torch.tensor([0, 1, 0, 2, 1, 0, 2, 3])
    u, v = (each / each.norm(dim=1, keepdim=True) for each in (x, y))
    log_shares = (u @ v.T / 0.2).log_softmax(dim=1)
    same = labels[:, None] == labels
    supcon = -(same * log_shares).sum(1) / same.sum(1)
    found = losses.CPCLoss(0.2, reduction="none")(x, y, labels=labels)
    assert (found - (supcon - same.sum(1).double().log())).abs().max() < 1e-12
    # Where equal labels have equal embeddings, and others none in common, nothing is missing. One
    # normaliser reaches the ceiling with equal scores where all classes are as large.
    for loss, classes in ((losses.CPCLoss, labels), (losses.MLCPCLoss, torch.arange(8) // 2)):
        corners = torch.eye(4, dtype=torch.float64)[classes]
        assert loss(1e-2)(corners, corners, labels=classes).abs() < 1e-10


@BOTH
def test_masked_scores_of_independent_pairs_say_nothing(bound):
    """Four of five candidates left out of m would have been worth log 4."""
    x = torch.ones(8, 2, dtype=torch.float64)
    ids = torch.arange(8) // 2
    for tile in (None, 0, 3):
        assert bound(x, x, 1.0, ids=ids, tile=tile).abs() < 1e-12
    scores = torch.zeros(4, 4).masked_fill(torch.arange(4) > 0, -math.inf)
    pure = getattr(bounds, bound.__name__)
    assert pure(torch.zeros(4), scores).abs() < 1e-6


@pytest.mark.parametrize("loss", [losses.CPCLoss, losses.MLCPCLoss])
def test_duplicates_in_a_batch_are_no_negatives(loss):
    """A sample that stands twice: with ids its copy pulls nowhere."""
    x, y = drawn(6, D), drawn(6, D, seed=1)
    x[3], y[3] = x[0], y[0]
    ids = torch.tensor([0, 1, 2, 0, 4, 5])
    y.requires_grad_()
    value = loss(0.5)(x, y, ids=ids)
    (gradient,) = torch.autograd.grad(value, y)
    moved = y.detach().clone()
    moved[3] = -moved[3]  # the copy's own positive: only its own row may feel that
    rows = losses.CPCLoss(0.5, reduction="none")
    change = rows(x, moved, ids=ids) - rows(x, y.detach(), ids=ids)
    assert change[0] == 0 and (change[[1, 2, 4, 5]] != 0).all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("loss", [losses.CPCLoss, losses.MLCPCLoss])
def test_zero_rows_get_zero_gradients(loss):
    x, y = drawn(6, D).float(), drawn(6, D, seed=1).float()
    x[2], y[4] = 0.0, 0.0
    x[3] *= 1e-42  # no float32 has its inverse
    x.requires_grad_(), y.requires_grad_()
    loss(0.1)(x, y).backward()
    assert x.grad.isfinite().all() and y.grad.isfinite().all()
    assert (x.grad[2] == 0).all() and (x.grad[3] == 0).all() and (y.grad[4] == 0).all()
    assert (x.grad[[0, 1, 4, 5]] != 0).any(dim=1).all()


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_counts_one_step_and_repeats_its_weight(reentrant):
    from torch.utils.checkpoint import checkpoint

    x, y = drawn(6, D).requires_grad_(), drawn(6, D, seed=1)
    schedule = losses.Schedule(4.0, 0.5, 4)
    plain, kept = (losses.MLCPCLoss(0.5, schedule) for _ in range(2))
    for _ in range(3):
        first, second = plain(x, y), plain(2 * x, y + x)
        (expected,) = torch.autograd.grad(first + 3 * second, x)
        one = checkpoint(kept, x, y, use_reentrant=reentrant)
        two = checkpoint(kept, 2 * x, y + x, use_reentrant=reentrant)
        x.grad = None
        (one + 3 * two).backward()
        assert (x.grad - expected).abs().max() < 1e-12
    assert kept.step == plain.step == 6


def test_schedules_can_be_pickled_and_end_where_they_should():
    import pickle

    for kind, middle in (("geometric", 1.0), ("linear", 5.05), ("cosine", 5.05)):
        schedule = pickle.loads(pickle.dumps(losses.Schedule(10.0, 0.1, 10, kind)))
        assert schedule(0) == pytest.approx(10.0) and schedule(5) == pytest.approx(middle)
        assert schedule(10) == schedule(99) == pytest.approx(0.1)
        assert schedule(torch.tensor(5)).item() == pytest.approx(middle)
    for bad, message in (
        ((0, 1, 5), "first is 0; valid"), ((1, math.inf, 5), "last is inf"),
        ((1, 1, 0), "steps is 0"), ((1, 1, 5, "step"), "kind is 'step'"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            losses.Schedule(*bad)


def test_no_recompilation_at_another_weight():
    from torch._dynamo.testing import CompileCounter

    x, y = drawn(20, D).float(), drawn(20, D, seed=1).float()
    loss = losses.MLCPCLoss(0.3, losses.Schedule(4.0, 0.5, 6), tile=8)
    plain = losses.MLCPCLoss(0.3, losses.Schedule(4.0, 0.5, 6), tile=8)
    counter = CompileCounter()
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend=counter)
    for _ in range(6):
        assert (compiled(x, y) - plain(x, y)).abs() < 1e-6
    assert counter.frame_count == 1 and loss.step == 6


@BOTH
def test_compiled_marks(bound):
    x, y, labels = drawn(12, D), drawn(12, D, seed=1), torch.arange(12) // 3

    def call(x, y):
        return bound(x, y, 0.4, labels=labels, ids=labels // 2, tile=4)

    torch._dynamo.reset()
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    assert_close(with_gradients(compiled, x, y), with_gradients(call, x, y))


def test_tokens_are_flattened_with_a_message():
    x, y = drawn(2, 5, D), drawn(2, 5, D, seed=1)
    labels = torch.arange(10).reshape(2, 5) // 2
    loss = losses.MLCPCLoss(0.5)
    with pytest.warns(UserWarning, match=r"x has shape \(2, 5, 3\): flattened to \(10, 3\)"):
        value = loss(x, y, labels=labels)
    flat = loss(x.flatten(0, 1), y.flatten(0, 1), labels=labels.flatten())
    assert value == flat
    with pytest.raises(ValueError, match=r"valid: \(n, d\) .*x.flatten\(0, 1\)"):
        allpairs.ml_cpc(x, y, 0.5)


def test_both_views_with_labels_and_ids():
    """SupCon as its authors have it: every view of a label but oneself."""
    x, y = drawn(6, D), drawn(6, D, seed=1)
    labels = torch.tensor([0, 1, 0, 2, 1, 0])
    z = torch.cat([x, y])
    z = z / z.norm(dim=1, keepdim=True)
    both = torch.cat([labels, labels])
    logits = (z @ z.T / 0.3).fill_diagonal_(-math.inf)
    same = (both[:, None] == both).fill_diagonal_(False)
    supcon = -(logits.log_softmax(1).masked_fill(~same, 0.0)).sum(1) / same.sum(1)
    found = losses.CPCLoss(0.3, both_views=True, reduction="none")(x, y, labels=labels)
    assert (found - (supcon - same.sum(1).double().log())).abs().max() < 1e-12


ONES = torch.ones(3, 2)
KEYS = torch.ones(4, 2)
BAD = [
    ({"ids": torch.arange(2)}, r"ids has shape \(2,\); valid: \(3,\)"),
    ({"labels": torch.ones(3)}, "labels is torch.float32; valid: an integer tensor"),
    ({"labels": [0, 1, 2]}, "labels is list; valid"),
    ({"ids": torch.arange(3, device="meta")}, "ids is on meta; valid: the device of x, cpu"),
    ({"key_ids": torch.arange(4)}, "key_ids is given without keys"),
    ({"keys": KEYS, "ids": torch.arange(3)}, "key_ids is missing beside ids; valid: both"),
    ({"keys": KEYS, "key_labels": torch.arange(4)}, "labels is missing beside key_labels"),
    ({"keys": KEYS, "labels": torch.arange(3), "key_labels": torch.arange(3)},
     r"key_labels has shape \(3,\); valid: \(4,\)"),
    ({"ids": torch.tensor([5, 5, 5])}, "row 0 has no negative left; valid"),
    ({"labels": torch.tensor([1, 1, 1])}, "row 0 has no negative left"),
    ({"keys": KEYS, "exclude": torch.tensor([[0] * 4, [1] * 4, [0] * 4]).bool()},
     "row 1 has no negative left"),
    ({"exclude": torch.zeros(3, 2).bool()}, r"exclude has shape \(3, 2\); valid for a mask"),
    ({"exclude": torch.tensor([0, 1, 3])}, "exclude contains 3; valid: 0 to K - 1 = 2"),
    ({"alpha": 2.5, "ids": torch.tensor([0, 0, 1])}, "alpha is 2.5; valid: 0 < alpha <= m = 2"),
    ({"negatives": ONES[:, None], "ids": torch.arange(3)}, "exclude, ids or labels are given"),
]  # fmt: skip


@BOTH
@pytest.mark.parametrize("options, message", BAD)
@pytest.mark.parametrize("tile", [0, 2])
def test_bad_marks_are_named(bound, options, message, tile):
    with pytest.raises(ValueError, match=f"^{message}"):
        bound(ONES, ONES, 1.0, **{"tile": tile, **options})


def test_bad_reductions_are_named():
    with pytest.raises(ValueError, match="reduction is 'sum'; valid: 'mean', 'none'"):
        allpairs.cpc(ONES, ONES, 1.0, reduction="sum")
    with pytest.raises(ValueError, match="reduction is 'none'; valid: mean, since all anchors"):
        losses.MLCPCLoss(reduction="none")
