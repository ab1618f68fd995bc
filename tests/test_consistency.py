"""The tests of self-consistency: counted information, samples, what training and records hold."""

import math

import pytest
import torch
from conftest import ROOT

from mlcpc import datasets, problems, records
from mlcpc.estimators import SAMPLE_SEED
from mlcpc.experiments import base, consistency
from mlcpc.experiments.consistency import ConsistencyConfig
from mlcpc.problems import ROW_TESTS, TopRows


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def few(count=8, height=6, width=3, seed=0):
    """Images of few values, so that top rows repeat."""
    drawn = torch.randint(0, 2, (count, height, width), generator=generator(seed)).float()
    drawn[:, 0] = 0
    return drawn


def joint_information(pairs):
    """Mutual information of equally likely pairs, by counting."""

    def entropy(of):
        counts = torch.unique(of, dim=0, return_counts=True)[1].double()
        share = counts / counts.sum()
        return -(share * share.log()).sum().item()

    x, y = pairs
    return entropy(x) + entropy(y) - entropy(torch.cat([x, y], dim=1))


class Listed:
    """Stands for torch.randint: gives every index once, or every pair of them."""

    def __init__(self, count):
        self.count = count

    def __call__(self, high, size, **_):
        every = torch.arange(high)
        if size[0] == 1:
            return every[None]
        return torch.stack([every.repeat_interleave(high), every.repeat(high)])


@pytest.mark.parametrize("test", ROW_TESTS)
@pytest.mark.parametrize("rows", [0, 1, 2, 4, 6])
def test_counted_information_is_that_of_all_pairs(test, rows, monkeypatch):
    """Every image, or every pair of images, once: the law itself, not a sample of it."""
    if test == "processing" and rows < 4:
        pytest.skip("processing leaves out three rows")
    made = TopRows(few(width=1), rows, test)
    monkeypatch.setattr(torch, "randint", Listed(8))
    x, y = made.sample(0, generator())
    assert x.shape[1] == made.dim_x and y.shape[1] == made.dim_y
    assert abs(joint_information((x, y)) - made.mi) < 1e-12
    if rows <= 1:
        assert made.mi == 0
    if rows == 4:
        assert 0 < made.mi < 2 * math.log(8)


def test_information_never_falls_with_more_rows():
    found = [TopRows(few(40), rows).mi for rows in range(7)]
    assert found == sorted(found) and found[-1] <= math.log(40) + 1e-12
    assert len(set(found)) > 3


def test_repeats_are_counted():
    shown = torch.zeros(6, 4, 1)
    shown[3:5, 1] = 1
    shown[5, 1] = 2
    shown[:, 3, 0] = torch.arange(6.0)
    assert consistency.repeats(TopRows(shown, 0)) == [[6, 1]]
    assert consistency.repeats(TopRows(shown, 3)) == [[1, 1], [2, 1], [3, 1]]
    assert consistency.repeats(TopRows(shown, 4)) == [[1, 6]]
    shown[5, 1] = 0
    shown[0, 1] = 2
    shown[1, 1] = 2
    assert consistency.repeats(TopRows(shown, 3)) == [[2, 3]]


def test_samples_are_images_with_their_own_rows():
    shown = torch.arange(5.0)[:, None, None] * 100 + torch.arange(18.0).view(6, 3)
    for test in ROW_TESTS:
        x, y = TopRows(shown, 5, test).sample(40, generator(1))
        assert torch.equal(y[:, :15], x[:, :15])
        if test == "processing":
            assert torch.equal(x[:, :18], x[:, 18:]) and torch.equal(y[:, 15:], x[:, :6])
        if test == "additivity":
            assert torch.equal(y[:, 15:], x[:, 18:33])
            assert not torch.equal(x[:, :18], x[:, 18:])
    assert len(x[:, 0].unique()) == 5


@pytest.mark.parametrize("arguments, message", [
    ((few()[0], 1), r"images has shape \(6, 3\); valid: \(N, H, W\)"),
    ((few(), 7), "rows is 7; valid: 0 to 6 for baseline"),
    ((few(), -1), "rows is -1"),
    ((few(), 3, "processing"), "rows is 3; valid: 4 to 6 for processing"),
    ((few(), 1, "classes"), "test is 'classes'; valid: baseline, processing, additivity"),
])  # fmt: skip
def test_bad_problems_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TopRows(*arguments)


@pytest.mark.parametrize("settings, message", [
    ({"dataset": "mnist"}, "dataset is 'mnist'; valid: fashion-mnist"),
    ({"rows": (0, 7)}, "ratio_rows is 4; valid: those of rows"),
    ({"estimators": ("cpcc",)}, "estimator is 'cpcc'"),
    ({"estimators": ("cpc:129",)}, "alpha is 129"),
])  # fmt: skip
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ConsistencyConfig(**settings)


@pytest.fixture
def data():
    """Forty small grey images in two classes, in place of every data set."""
    shown = torch.randint(0, 256, (40, 1, 6, 4), generator=generator(3), dtype=torch.uint8)
    return datasets.ImageSet(shown, torch.arange(40) % 2, ("a", "b"), "tiny", "a test")


TINY = {
    "rows": (0, 4),
    "ratio_rows": (4,),
    "estimators": ("cpc:1", "smile:5"),
    "class_estimators": ("cpc:1", "nwj"),
    "seeds": (0, 1),
    "width": 32,
    "batch": 16,
}


def test_problems_are_standardised(data):
    made = consistency.problem({"test": "additivity", "rows": 4}, data)
    assert abs(made.images.mean()) < 1e-5 and abs(made.images.std(correction=0) - 1) < 1e-4
    pairs = consistency.problem({"test": "classes"}, data)
    assert isinstance(pairs, problems.SameClassImages) and abs(pairs.mi - math.log(2)) < 1e-12
    colour = datasets.ImageSet(data.images.repeat(1, 3, 1, 1), data.labels, data.classes, "c", "t")
    with pytest.raises(ValueError, match="c has 3 channels; valid: 1"):
        consistency.problem({"test": "baseline", "rows": 4}, colour)


def test_training_learns_what_is_there(data):
    """Forty distinct images: log 40 is above the ceiling of 16 candidates, log 16 = 2.77."""
    config = ConsistencyConfig(**TINY, steps=150, tested=20)
    whole = consistency.problem({"test": "baseline", "rows": 4}, data)
    assert abs(whole.mi - math.log(40)) < 1e-9
    values = consistency.train(whole, config.estimators, config, base.Job())
    assert values.shape == (2, 2) and values.dtype == torch.float64
    assert ((2.3 < values[:, 0]) & (values[:, 0] < math.log(16))).all()
    nothing = consistency.problem({"test": "baseline", "rows": 0}, data)
    values = consistency.train(nothing, config.estimators, config, base.Job())
    assert nothing.mi == 0 and (values[:, 0].abs() < 0.05).all()


def test_replicates_share_samples_and_do_not_touch_each_other(data):
    config = ConsistencyConfig(**TINY, steps=20, tested=5)
    pairs = consistency.problem({"test": "classes"}, data)
    both = consistency.train(pairs, ("cpc:1", "nwj"), config, base.Job())
    alone = consistency.train(pairs, ("nwj",), config, base.Job())
    assert torch.allclose(both[:, 1:], alone, atol=1e-4)
    assert both[0, 1] != both[1, 1]


def test_every_seed_draws_samples_of_its_own(data):
    asked = set()

    class Spied(TopRows):
        def sample(self, count, generator):
            asked.add(generator.initial_seed())
            return super().sample(count, generator)

    shown = consistency.problem({"test": "baseline", "rows": 4}, data).images
    config = ConsistencyConfig(**TINY, steps=1, tested=1)
    consistency.train(Spied(shown, 4), ("cpc:1",), config, base.Job())
    assert asked == {SAMPLE_SEED, SAMPLE_SEED + 1}


def test_a_replicate_that_diverges_leaves_the_others_alone(data):
    config = ConsistencyConfig(**{**TINY, "seeds": (0,)}, steps=60, tested=5, learning_rate=30.0)
    pairs = consistency.problem({"test": "baseline", "rows": 4}, data)
    values = consistency.train(pairs, ("nwj", "cpc:1"), config, base.Job())[0]
    assert values[0].isnan() and values[1].isfinite()


def test_record_holds_values_truths_and_ratios(data, results):
    config = ConsistencyConfig(dataset="digits", **TINY, steps=5, tested=3)
    found = base.perform(consistency.EXPERIMENT, config, base.Job("cpu", data, data))
    assert found.provenance["data"] == {"tiny train": data.sha256, "tiny test": data.sha256}
    assert found.profile == "quick" and found.seeds == [0, 1]
    assert found.arrays["repeats"] == {"t=0": [[40, 1]], "t=4": [[1, 40]]}
    assert found.arrays["truths"]["additivity t=4 truth"] == pytest.approx(2 * math.log(40))
    assert found.arrays["truths"]["classes truth"] == pytest.approx(math.log(2))
    titles = ("baseline t=0", "baseline t=4", "processing t=4", "additivity t=4",
              "ratio processing t=4", "ratio additivity t=4")  # fmt: skip
    assert set(found.metrics) == {
        f"{title} {name}" for title in titles for name in ("cpc:1", "smile:5")
    } | {"classes cpc:1", "classes nwj"}
    for test in ("processing", "additivity"):
        ratios, values, below = (
            found.metrics[name].values
            for name in (f"ratio {test} t=4 smile:5", f"{test} t=4 smile:5", "baseline t=4 smile:5")
        )
        assert ratios == pytest.approx([a / b for a, b in zip(values, below, strict=True)])


@pytest.mark.parametrize("settings, full", [
    ({}, True), ({"steps": 4000, "seeds": (0, 1), "rows": (28,), "ratio_rows": (28,)}, True),
    ({"steps": 999}, False), ({"tested": 20}, False), ({"width": 64}, False),
    ({"seeds": (0,)}, False),
    ({"dataset": "fashion-mnist-subset"}, False),
])  # fmt: skip
def test_a_run_shorter_than_that_of_the_book_is_quick(settings, full):
    assert consistency.EXPERIMENT.full(ConsistencyConfig(**settings)) is full


@pytest.mark.parametrize("name", ["self-consistency", "self-consistency-longer"])
def test_records_of_the_book_fit_their_own_truths(name):
    found = records.read(name, ROOT / "results")
    config = ConsistencyConfig.from_dict(found.config)
    assert found.profile == "full" and consistency.EXPERIMENT.full(config)
    for t in config.rows:
        times, kinds = torch.tensor(found.arrays["repeats"][f"t={t}"]).double().T
        share = times / 60_000
        assert (kinds * share).sum() == pytest.approx(1)
        entropy = -(kinds * share * share.log()).sum().item()
        assert entropy == pytest.approx(found.arrays["truths"][f"baseline t={t} truth"], abs=1e-9)
