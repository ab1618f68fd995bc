"""Splits, blocks and training: what a critic may see, and what it may not."""

import numpy as np
import pytest
import torch

from mlcpc import critics, crossfit, problems
from mlcpc.estimation import EstimateConfig, _Design, _parts, _prepare
from mlcpc.samples import read


def design(x, y, groups=None, order=None, **options):
    options = {"folds": 2, "width": 8, "batch": 16, "steps": 12, "eval_every": 6, **options}
    return _Design.of(read("x", x), read("y", y), groups, order, EstimateConfig(**options))


def prepared(one):
    return _prepare([_parts(one, 0, "cpu")], one.config, (None, None), 0, "cpu")


def samples(count=200, mi=0.8, dim=2):
    generator = torch.Generator().manual_seed(0)
    x, y = problems.CorrelatedGaussian(mi, dim).sample(count, generator)
    return x.numpy(), y.numpy()


def test_every_row_is_held_out_once_and_learned_from_elsewhere():
    half, *folds = crossfit.splits(103, 5, 0, None, False)
    assert np.array_equal(np.sort(np.concatenate([each.test for each in folds])), np.arange(103))
    for rows in (half, *folds):
        parts = [rows.train, rows.valid, rows.test]
        assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(103))
    assert len(half.test) == 52


def test_rows_of_a_group_are_never_on_both_sides():
    groups = np.random.default_rng(0).integers(0, 60, 500)
    half, *folds = crossfit.splits(500, 4, 0, groups, False)
    assert np.array_equal(np.sort(np.concatenate([each.test for each in folds])), np.arange(500))
    for rows in (half, *folds):
        sides = [set(groups[each]) for each in (rows.train, rows.valid, rows.test)]
        assert all(sides)
        assert not (sides[0] & sides[2] or sides[1] & sides[2] or sides[0] & sides[1])


def test_no_two_rows_of_a_group_are_in_one_block():
    groups = np.random.default_rng(0).integers(0, 60, 500)
    half, *_ = crossfit.splits(500, 4, 0, groups, False)
    blocks = half.blocks(half.test, 20)
    for block in blocks:
        assert len(set(groups[block])) == len(block) and 10 <= len(block) <= 20
    kept = np.concatenate(blocks)
    assert len(set(kept)) == len(kept)


def test_blocks_cover_rows_and_are_of_near_equal_size():
    rows = crossfit.Rows(np.arange(5), np.arange(5), np.arange(4100))
    sizes = [len(each) for each in rows.blocks(rows.test)]
    assert sizes == [1367, 1367, 1366]


def test_a_time_series_is_cut_in_order_with_a_gap():
    for rows in crossfit.splits(1000, 5, 0, None, True):
        assert (np.diff(rows.test) == 1).all()
        known = np.concatenate([rows.train, rows.valid])
        distance = np.abs(known[:, None] - rows.test[[0, -1]]).min()
        assert distance > 20
        apart = np.abs(rows.train[:, None] - rows.valid[[0, -1]])
        assert apart.min() > 20
    blocks = rows.blocks(rows.test, 100)
    assert all((np.diff(each) == 2).all() for each in blocks)


@pytest.mark.parametrize("init", ["gaussian", "zero"])
def test_held_out_rows_change_nothing_that_is_learned(init):
    """Margins, normal pair, network inputs, weights: all of a split whose test rows are others."""
    x, y = samples(dim=40)
    fits = []
    for change in (False, True):
        x_now, y_now = x.copy(), y.copy()
        rows = crossfit.splits(len(x), 2, 0, None, False)[1].test
        if change:
            x_now[rows] = -7 * x[rows] ** 3
            y_now[rows] = y[rows][::-1]
        fit = prepared(design(x_now, y_now, init=init))
        fit.train()
        fits.append(fit)
    held = crossfit.splits(len(x), 2, 0, None, False)[1]
    known = np.concatenate([held.train, held.valid])
    assert torch.equal(fits[0].scores(1, known, known), fits[1].scores(1, known, known))
    assert not torch.equal(fits[0].scores(2, known, known), fits[1].scores(2, known, known))


def test_training_batches_hold_no_row_and_no_group_twice():
    x, y = samples()
    groups = np.arange(200) // 2
    fit = prepared(design(x, y, groups))
    size = fit.size
    for _ in range(30):
        batch = fit._batch(0, size)
        assert len(set(groups[batch])) == size
        assert set(batch) <= set(fit.parts[0].rows.train)


def test_the_critic_of_a_split_is_its_member_of_the_stack():
    shape = critics.CriticConfig("separable", 8, 2, 4)
    networks = critics.build(shape, 3, 2, [0, 1, 2])
    stack = crossfit.Stack(networks, ((), ()))
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(3, 5, dim, generator=generator) for dim in (3, 2))
    together = stack([0, 1, 2], list(x), list(y))
    assert torch.allclose(stack([0, 2], [x[0], x[2]], [y[0], y[2]]), together[[0, 2]], atol=1e-6)
    for k in range(3):
        assert torch.allclose(stack.one(k, x[k], y[k]), together[k], rtol=0, atol=1e-6)


def test_the_best_averaged_weights_of_each_split_are_kept():
    x, y = samples(400)
    fit = prepared(design(x, y, steps=60, init="zero"))
    fit.train()
    curve, steps, converged = fit.curve, np.array(fit.looks), fit.finished
    assert steps.tolist() == list(range(0, 61, 6)) and not converged
    assert np.allclose(fit._validate(), np.nanmax(curve, axis=0), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("batch", "threads"), [(16, 1), (160, 2)])
def test_small_batches_train_on_one_thread(batch, threads, monkeypatch):
    seen = set()
    monkeypatch.setattr(crossfit, "fit", lambda *_, **__: seen.add(torch.get_num_threads()))
    fit, before = prepared(design(*samples(800), batch=batch)), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        fit.train()
        assert seen == {threads} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_training_stops_by_itself_without_dependence():
    x, _ = samples(400)
    _, y = samples(400)
    y = np.random.default_rng(0).permutation(y)
    fit = prepared(design(x, y, steps=2000, patience=3))
    fit.train()
    steps, converged = fit.looks, fit.finished
    assert converged and steps[-1] < 200


def test_wide_samples_reach_the_network_as_components_and_columns():
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((200, 50)), generator.standard_normal((200, 2))
    fit = prepared(design(x, y))
    assert fit.parts[0].x.shape == (200, 71) and fit.parts[0].y.shape == (200, 3)
