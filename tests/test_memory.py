"""Memories: nothing lost, nothing of another norm, never a negative of the own class."""

import copy

import pytest
import torch
from torch.nn.functional import normalize

from mlcpc import memory
from mlcpc.memory import KeyQueue, OtherClasses, SampleMemory, own_key_chance


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def units(n, dim, seed=0, dtype=torch.float64):
    return normalize(torch.randn(n, dim, generator=seeded(seed), dtype=torch.float64), dim=1).to(
        dtype
    )


def norms(vectors):
    return vectors.norm(dim=1)


# ----- queue -----


@pytest.mark.parametrize("batches", [(3, 3, 3, 3, 3), (7, 1, 5, 7, 2, 6), (1,) * 16, (4, 3)])
def test_the_queue_holds_the_last_keys_of_batches_of_any_size(batches):
    queue = KeyQueue(7, 5, generator=seeded()).double()
    first, pushed = queue.keys.clone(), units(sum(batches), 5, seed=1)
    done = 0
    for n in batches:
        queue.push(pushed[done : done + n])
        done += n
        ages = queue.ages()
        kept = min(done, 7)
        assert sorted(ages.tolist()) == [-1] * (7 - kept) + list(range(kept))
        for place, age in enumerate(ages.tolist()):
            wanted = first[place] if age < 0 else pushed[done - 1 - age]
            assert torch.equal(queue.keys[place], wanted)
        assert torch.allclose(norms(queue.keys), torch.ones(7).double(), rtol=0, atol=1e-6)
    assert int(queue.pushed) == sum(batches)


def test_a_fresh_queue_holds_unit_vectors_of_all_directions():
    queue = KeyQueue(4000, 16, generator=seeded())
    assert torch.allclose(norms(queue.keys), torch.ones(4000), rtol=0, atol=1e-6)
    # a mean of 4,000 unit vectors has squared length 1/4000 give or take a third of that
    assert float(queue.keys.mean(dim=0).square().sum()) < 3 / 4000
    again, other = (KeyQueue(4000, 16, generator=seeded(seed)) for seed in (0, 1))
    assert torch.equal(queue.keys, again.keys) and not torch.equal(queue.keys, other.keys)


def test_a_restored_queue_goes_on_as_the_first():
    queue, restored = KeyQueue(5, 3, generator=seeded()), KeyQueue(5, 3, generator=seeded(9))
    assert set(queue.state_dict()) == {"keys", "pushed"}
    queue.push(units(4, 3, seed=1).float())
    restored.load_state_dict(copy.deepcopy(queue.state_dict()))
    for each in (queue, restored):
        each.push(units(3, 3, seed=2).float())
    assert torch.equal(queue.keys, restored.keys)
    assert torch.equal(queue.ages(), restored.ages())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_keys_of_another_precision_enter(dtype):
    queue = KeyQueue(64, 8)
    queue.push(units(32, 8, dtype=dtype))
    assert queue.keys.dtype == torch.float32
    assert torch.allclose(norms(queue.keys), torch.ones(64), rtol=0, atol=memory.UNIT_TOLERANCE)


@pytest.mark.parametrize("keys, named", [
    (units(6, 3), r"keys has shape \(6, 3\); valid: \(n, 3\) with n from 1 to 5"),
    (units(2, 4), r"keys has shape \(2, 4\)"),
    (units(2, 3)[0], r"keys has shape \(3,\)"),
    (units(2, 3)[:0], r"keys has shape \(0, 3\)"),
    (units(2, 3) * 1.05, "keys have norms up to 0.05 from 1"),
    (units(2, 3) * 0.95, "keys have norms up to 0.05 from 1"),
    (units(2, 3) * torch.tensor([[1.0], [torch.nan]]), "keys have norms up to nan"),
    (units(2, 3) * torch.tensor([[1.0], [torch.inf]]), "keys have norms up to inf"),
    (torch.zeros(2, 3), "keys have norms up to 1 from 1"),
])  # fmt: skip
def test_keys_that_do_not_belong_are_refused_and_nothing_changes(keys, named):
    queue = KeyQueue(5, 3).double()
    queue.push(units(3, 3, seed=4))
    before = copy.deepcopy(queue.state_dict())
    with pytest.raises(ValueError, match=named):
        queue.push(keys)
    assert all(torch.equal(before[key], value) for key, value in queue.state_dict().items())


@pytest.mark.parametrize("options", [{"size": 0}, {"dim": 0}, {"size": 2.5}, {"dataset_size": 0}])
def test_bad_sizes_of_a_queue_are_named(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} is {options[name]}; valid: an integer"):
        KeyQueue(**{"size": 4, "dim": 3, **options})


def test_a_queue_beyond_the_data_set_warns(recwarn):
    KeyQueue(50, 3, dataset_size=50)
    assert not recwarn
    with pytest.warns(UserWarning, match="holds 66 keys of 50 images: 78% of the anchors"):
        KeyQueue(66, 3, dataset_size=50)


@pytest.mark.parametrize("size", [1, 3, 9, 10, 11, 15, 19, 20, 40])
def test_chance_of_an_own_key_counts_all_places(size):
    n = 10
    # last visit at place u of an epoch, this one at place v of the next
    met = [n - u + v <= size for u in range(n) for v in range(n)]
    assert own_key_chance(size, n) == pytest.approx(sum(met) / n**2, abs=1e-12)


def test_chance_of_an_own_key_in_the_authors_command():
    assert own_key_chance(65_536, 50_000) == pytest.approx(0.762, abs=5e-4)
    with pytest.raises(ValueError, match="dataset_size is 0"):
        own_key_chance(5, 0)


# ----- memory of samples -----


def gathered(vectors, queries, positions):
    """Scores by gathering rows, as the literature does."""
    return torch.einsum("nmd,nd->nm", vectors[positions], queries)


@pytest.mark.parametrize("cost", [0, memory.GATHERED_COST])  # both ways, the cheaper one first
@pytest.mark.parametrize("at_a_time", [1, 11, 22, 40, 2**19])
def test_scores_equal_gathering_rows_in_value_and_gradient(at_a_time, cost, monkeypatch):
    monkeypatch.setattr(memory, "PAIRS_AT_A_TIME", at_a_time)
    monkeypatch.setattr(memory, "GATHERED_COST", cost)
    kept = SampleMemory(11, 6, generator=seeded()).double()
    positions = torch.randint(11, (4, 30), generator=seeded(1))  # with repetitions
    weights = torch.randn(4, 30, generator=seeded(2), dtype=torch.float64)
    results = []
    for function in (kept.scores, lambda q, p: gathered(kept.vectors, q, p)):
        queries = units(4, 6, seed=3).requires_grad_()
        scores = function(queries, positions)
        assert scores.shape == (4, 30)
        (weights * scores.exp()).sum().backward()
        results.append((scores.detach(), queries.grad))
    for one, two in zip(*results, strict=True):
        assert torch.allclose(one, two, rtol=0, atol=1e-10)
    assert torch.equal(kept.scores(units(4, 6)), units(4, 6) @ kept.vectors.T)
    assert not kept.vectors.requires_grad


def test_the_cheaper_way_is_taken(monkeypatch):
    taken = []
    for name in ("_ChosenScores", "_GatheredScores"):
        way = getattr(memory, name)
        monkeypatch.setattr(
            way, "apply", lambda *inputs, name=name: taken.append(name) or inputs[0]
        )
    kept = SampleMemory(2000, 4)
    for count in (10, 1000):
        kept.scores(units(2, 4, dtype=torch.float32), torch.zeros(2, count, dtype=torch.int64))
    assert taken == ["_GatheredScores", "_ChosenScores"]


def test_a_second_derivative_of_scores_is_refused():
    kept, queries = SampleMemory(6, 3).double(), units(2, 3).requires_grad_()
    scores = kept.scores(queries, torch.tensor([[0, 1], [2, 3]]))
    (first,) = torch.autograd.grad(scores.exp().sum(), queries, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize("at_a_time", [1, 500, 2**19])
def test_a_draw_in_pieces_is_the_same_draw(at_a_time, monkeypatch):
    others = OtherClasses(torch.tensor([0, 2, 2, 0, 5, 2]))
    anchors = torch.tensor([1, 4, 0, 3])
    whole = others.draw(anchors, count=40, generator=seeded())
    monkeypatch.setattr(memory, "PAIRS_AT_A_TIME", at_a_time)
    assert torch.equal(others.draw(anchors, count=40, generator=seeded()), whole)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_update_is_a_renormalised_average(momentum):
    kept = SampleMemory(9, 4, momentum, generator=seeded()).double()
    before, new = kept.vectors.clone(), units(3, 4, seed=5).requires_grad_()
    kept.update(torch.tensor([7, 0, 2]), new)
    for row, place in enumerate((7, 0, 2)):
        mixed = momentum * before[place] + (1 - momentum) * new.detach()[row]
        assert torch.allclose(kept.vectors[place], mixed / mixed.norm(), rtol=0, atol=1e-12)
    others = [1, 3, 4, 5, 6, 8]
    assert torch.equal(kept.vectors[others], before[others])
    assert not kept.vectors.requires_grad


def test_a_restored_memory_goes_on_as_the_first():
    kept, restored = (SampleMemory(6, 3, generator=seeded(seed)) for seed in (0, 1))
    assert set(kept.state_dict()) == {"vectors"}
    kept.update(torch.tensor([1, 4]), units(2, 3, dtype=torch.float32))
    restored.load_state_dict(copy.deepcopy(kept.state_dict()))
    for each in (kept, restored):
        each.update(torch.tensor([4, 5]), units(2, 3, seed=7, dtype=torch.float32))
    assert torch.equal(kept.vectors, restored.vectors)


def test_an_update_before_backward_is_an_error_and_no_wrong_gradient():
    kept, queries = SampleMemory(6, 3).double(), units(2, 3).requires_grad_()
    total = kept.scores(queries, torch.tensor([[0, 1], [2, 3]])).sum()
    kept.update(torch.tensor([0]), units(1, 3, seed=1))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


@pytest.mark.parametrize("positions, vectors, named", [
    ([0, 0], units(2, 3), "positions names a sample twice"),
    ([0, 6], units(2, 3), "positions go from 0 to 6; valid: 0 to 5"),
    ([-1, 2], units(2, 3), "positions go from -1 to 2; valid: 0 to 5"),
    ([0, 1], units(1, 3), r"vectors has shape \(1, 3\); valid: \(2, 3\)"),
    ([0, 1], units(2, 4), r"vectors has shape \(2, 4\); valid: \(2, 3\)"),
    ([0, 1], 2 * units(2, 3), "vectors have norms up to 1 from 1"),
    ([0.0, 1.0], units(2, 3), "positions has type torch.float32"),
])  # fmt: skip
def test_updates_that_do_not_fit_are_refused_and_nothing_changes(positions, vectors, named):
    kept = SampleMemory(6, 3).double()
    before = kept.vectors.clone()
    with pytest.raises(ValueError, match=named):
        kept.update(torch.tensor(positions), vectors)
    assert torch.equal(kept.vectors, before)


@pytest.mark.parametrize("queries, positions, named", [
    (units(2, 4), None, r"queries has shape \(2, 4\); valid: \(n, 3\)"),
    (units(2, 3), torch.tensor([0, 1]), r"positions has shape \(2,\); valid: \(2, m\)"),
    (units(2, 3), torch.tensor([[0]]), r"positions has shape \(1, 1\); valid: \(2, m\)"),
    (units(2, 3), torch.tensor([[0], [6]]), "positions go from 0 to 6"),
])  # fmt: skip
def test_scores_that_do_not_fit_are_refused(queries, positions, named):
    with pytest.raises(ValueError, match=named):
        SampleMemory(6, 3).double().scores(queries, positions)


@pytest.mark.parametrize("options, named", [
    ({"samples": 0}, "samples is 0"),
    ({"dim": 0}, "dim is 0"),
    ({"momentum": 1.0}, "momentum is 1.0; valid: 0 up to but not including 1"),
    ({"momentum": -0.1}, "momentum is -0.1"),
    ({"momentum": float("nan")}, "momentum is nan"),
])  # fmt: skip
def test_bad_sizes_of_a_memory_are_named(options, named):
    with pytest.raises(ValueError, match=named):
        SampleMemory(**{"samples": 6, "dim": 3, **options})


# ----- samples of other classes -----

# unbalanced, in no order, a class of one, and number 2 without a sample
LABELS = torch.tensor([3, 0, 1, 3, 0, 3, 3, 4, 0, 3, 3, 1])


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_a_draw_is_never_of_the_own_class(dtype):
    drawn = OtherClasses(LABELS.to(dtype)).draw(torch.arange(12), count=2000, generator=seeded())
    assert drawn.shape == (12, 2000) and drawn.dtype == torch.int32
    assert bool((LABELS[drawn] != LABELS[:, None]).all())


def test_all_others_are_drawn_alike():
    draws = 20_000
    drawn = OtherClasses(LABELS).draw(torch.arange(12), count=draws, generator=seeded(1))
    for anchor, row in enumerate(drawn):
        others = [j for j in range(12) if LABELS[j] != LABELS[anchor]]
        counts = row.bincount(minlength=12)
        assert int(counts.sum()) == int(counts[others].sum()) == draws
        wanted = draws / len(others)
        statistic = float(((counts[others] - wanted) ** 2 / wanted).sum())
        freedom = len(others) - 1
        # chi-square: mean ν, variance 2ν; five standard deviations above, for each of 12 anchors
        assert statistic < freedom + 5 * (2 * freedom) ** 0.5, (anchor, counts)


def test_draws_of_a_row_do_not_hang_together():
    drawn = OtherClasses(LABELS).draw(torch.tensor([0, 3]), count=30_000, generator=seeded(2))
    # both anchors are of class 3 and have 6 others: pairs of neighbours fill 36 cells alike
    place = torch.full((12,), -1).scatter(0, (LABELS != 3).nonzero()[:, 0], torch.arange(6))
    for first, second in ((drawn[0, :-1], drawn[0, 1:]), (drawn[0], drawn[1])):
        cells = (6 * place[first] + place[second]).bincount(minlength=36)
        wanted = float(cells.sum()) / 36
        assert float(((cells - wanted) ** 2 / wanted).sum()) < 35 + 5 * 70**0.5


def test_the_generator_decides_the_draw():
    others = OtherClasses(LABELS)
    rows = [others.draw(torch.tensor([5]), count=9, generator=seeded(s)) for s in (0, 0, 1)]
    assert torch.equal(rows[0], rows[1]) and not torch.equal(rows[0], rows[2])


def test_all_negatives_are_all_samples_of_other_classes():
    labels = torch.tensor([2, 0, 5, 5, 0, 2])  # two of each, numbers without a sample between
    drawn = OtherClasses(labels).draw(torch.tensor([4, 2, 0, 4]), "all")
    assert drawn.shape == (4, 4)
    for anchor, row in zip((4, 2, 0, 4), drawn.tolist(), strict=True):
        assert sorted(row) == [j for j in range(6) if labels[j] != labels[anchor]]


def test_all_negatives_of_unequal_classes_are_refused():
    with pytest.raises(ValueError, match="classes have 1 to 6 samples; valid: classes of one size"):
        OtherClasses(LABELS).draw(torch.tensor([0]), "all")


@pytest.mark.parametrize("labels, named", [
    (torch.tensor([1, 1, 1]), "labels names one class"),
    (torch.tensor([0]), "labels names one class"),
    (torch.tensor([0, -1]), "the least label is -1; valid: 0 or more"),
    (torch.tensor([], dtype=torch.int64), "the least label is absent"),
    (torch.tensor([0.0, 1.0]), "type torch.float32; valid: one integer"),
    (torch.tensor([True, False]), "type torch.bool"),
    (torch.tensor([[0, 1]]), r"labels has shape \(1, 2\)"),
])  # fmt: skip
def test_labels_without_negatives_are_refused(labels, named):
    with pytest.raises(ValueError, match=named):
        OtherClasses(labels)


@pytest.mark.parametrize("positions, options, named", [
    ([12], {"count": 3}, "positions go from 12 to 12; valid: 0 to 11"),
    ([-1], {"count": 3}, "positions go from -1"),
    ([[1]], {"count": 3}, r"positions has shape \(1, 1\); valid: \(n,\)"),
    ([1], {"count": 0}, "count is 0"),
    ([1], {}, "count is None"),
    ([1], {"negatives": "some"}, "negatives is 'some'; valid: sampled, all"),
    ([1], {"negatives": "all", "count": 3}, "count is 3 with negatives all"),
])  # fmt: skip
def test_draws_that_make_no_sense_are_refused(positions, options, named):
    with pytest.raises(ValueError, match=named):
        OtherClasses(LABELS).draw(torch.tensor(positions), **options)


def test_everything_follows_its_module_to_another_device():
    for module in (KeyQueue(4, 3), SampleMemory(4, 3), OtherClasses(LABELS)):
        assert all(each.device.type == "meta" for each in module.to("meta").buffers())
        assert not [name for name, value in vars(module).items() if torch.is_tensor(value)]


def test_labels_are_no_state():
    others = OtherClasses(LABELS)
    assert others.state_dict() == {}
    shared = LABELS.clone()
    others = OtherClasses(shared)
    shared[:] = 0
    assert torch.equal(others.labels, LABELS)


def test_keys_leave_their_gradient_outside_the_queue():
    queue, keys = KeyQueue(4, 3), units(2, 3, dtype=torch.float32).requires_grad_()
    queue.push(keys)
    assert not queue.keys.requires_grad


def test_chance_of_an_own_key_by_a_queue_of_numbers():
    n, size, generator, met, visits = 200, 260, seeded(3), 0, 0
    queue = []
    for epoch in range(60):
        for image in torch.randperm(n, generator=generator).tolist():
            if epoch >= 2:
                met, visits = met + (image in queue), visits + 1
            queue = [*queue, image][-size:]
    # 58 epochs of 200 visits; those of an epoch hang together, so the error is that of epochs
    assert met / visits == pytest.approx(own_key_chance(size, n), abs=0.03)


def test_vectors_stay_on_the_sphere():
    kept = SampleMemory(20, 8, generator=seeded())
    assert torch.allclose(norms(kept.vectors), torch.ones(20), rtol=0, atol=1e-6)
    for step in range(30):
        positions = torch.randperm(20, generator=seeded(step))[:7]
        kept.update(positions, units(7, 8, seed=step, dtype=torch.float32))
    assert torch.allclose(norms(kept.vectors), torch.ones(20), rtol=0, atol=1e-6)
