"""Information of a user's own samples: right values, and what is said where there can be none."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import mlcpc
from mlcpc import estimation, problems
from mlcpc.experiments import base

QUICK = {"steps": 60, "eval_every": 20, "width": 16, "folds": 2, "batch": 64}


def samples(mi=0.8, dim=2, count=600, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return problems.CorrelatedGaussian(mi, dim).sample(count, generator)


def normal_pair(mi, count, seed=0):
    """One column each in double precision."""
    rng = np.random.default_rng(seed)
    rho = math.sqrt(-math.expm1(-2 * mi))
    x, noise = rng.standard_normal((2, count))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def said(found):
    return " ".join(found.warnings)


# ---------------------------------------------------------------------------------------------
# The estimate and how it is told
# ---------------------------------------------------------------------------------------------


def test_information_of_gaussians_is_found_and_bounded():
    found = mlcpc.estimate(*samples(count=3000), steps=100)
    assert abs(found.mi - 0.8) < 0.08
    assert found.lower < found.mi and found.lower < 0.8
    assert found.interval[0] < found.lower < found.mi < found.interval[1]
    assert (
        found.p_value == 0.001
        and found.unseen is None
        and found.warnings == ("not converged in 100 steps: raise steps",)
    )
    assert str(found).startswith(f"at least {found.lower:.3f} nats (95 %), estimate {found.mi:.3f}")
    assert len(repr(found)) < 100
    assert float(found) == found.mi and found.bits == found.mi / math.log(2)
    assert json.loads(json.dumps(found.to_dict()))["lower"] == found.lower
    (few, _), (rows, value) = found.learning_curve
    assert few == 1500 and rows == 2400 and value == found.mi


def test_independent_samples_are_said_to_show_nothing():
    x, _ = samples()
    y, _ = samples(seed=1)
    found = mlcpc.estimate(x, y, **QUICK)
    assert found.lower < 0 < found.p_value and found.p_value > 0.01
    assert found.unseen is not None and "nothing found; less than about" in said(found)
    assert str(found).startswith("nothing found: estimate 0.000 nats, independence p = ")
    little = replace(found, unseen=None, p_value=0.002)
    assert str(little).startswith("at least 0.000 nats (95 %), estimate 0.000, independence p = 0.")


def test_a_little_information_of_few_rows_is_called_uncertain():
    few, more = (mlcpc.estimate(*normal_pair(0.08, n), steps=1, width=8) for n in (400, 8000))
    assert few.lower > 0 and few.interval[1] - few.mi > few.mi / 4
    assert "few rows for so little information: the value is uncertain by" in said(few)
    assert more.lower > 0 and "uncertain" not in said(more)


def test_dependence_that_only_the_p_value_shows_is_not_called_unseen():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((150, 2))
    y = 0.28 * x + rng.standard_normal((150, 2))
    found = mlcpc.estimate(x, y, steps=1, width=8, folds=2)
    assert found.lower < 0 and found.p_value < 0.05 and found.unseen is None
    assert "dependent (p = 0.00" in said(found) and "too few rows to say how much" in said(found)
    assert ", independence p = 0.00" in str(found)


def test_training_finds_what_no_normal_pair_shows():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(1500)
    y = x**2 + 0.5 * rng.standard_normal(1500)
    assert mlcpc.estimate(x, y, steps=1).mi < 0.1
    found = mlcpc.estimate(x, y, steps=600)
    assert found.mi > 0.6 and found.curve.shape == (len(found.steps), 6)


def test_same_seed_same_number_and_the_data_as_given():
    x, y = samples()
    one, two, other = (mlcpc.estimate(x, y, seed=seed, **QUICK).mi for seed in (1, 1, 2))
    assert one == two != other
    assert mlcpc.estimate(x.numpy(), y.numpy(), **QUICK).mi == mlcpc.estimate(x, y, **QUICK).mi
    assert (
        mlcpc.estimate(x[:, 0], y[:, 0].tolist(), **QUICK).mi
        == mlcpc.estimate(x[:, :1], y[:, :1], **QUICK).mi
    )


def test_monotone_maps_of_columns_change_nothing():
    x, y = samples(0.5)
    straight = mlcpc.estimate(x, y, **QUICK).mi
    assert mlcpc.estimate(x.double().sinh() * 50, y.double() ** 3, **QUICK).mi == straight


def test_the_critic_takes_samples_as_they_were_given():
    x, y = samples()
    found = mlcpc.estimate(1e3 * x + 7, y, **QUICK)
    scores = found.critic(1e3 * x[:40] + 7, y[:50])
    assert scores.shape == (40, 50)
    diagonal = scores[:, :40].diagonal()
    assert diagonal.mean() > scores.mean() + 0.3


def test_a_plot_shows_the_limits():
    pytest.importorskip("matplotlib").use("Agg")
    axes = mlcpc.estimate(*samples(), **QUICK).plot()
    labels = [each.get_text() for each in axes.get_legend().get_texts()]
    assert "at least (95 %)" in labels and "nats" in axes.get_ylabel()


# ---------------------------------------------------------------------------------------------
# What was wrong once
# ---------------------------------------------------------------------------------------------


def test_many_weak_columns_are_not_called_independent():
    """100 correlations of 0.1: 0.50 nats in all, of which 1600 rows show a part, and say so."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2000, 100))
    found = mlcpc.estimate(x, 0.1 * x + rng.standard_normal((2000, 100)), steps=20, eval_every=10)
    assert 0.1 < found.lower < found.mi < 0.55 and found.p_value == 0.001
    assert "still grows with more rows" in said(found)


def test_many_columns_of_moderate_correlation():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2000, 100))
    y = 0.3 * x + math.sqrt(0.91) * rng.standard_normal((2000, 100))
    found = mlcpc.estimate(x, y, steps=20, eval_every=10)
    assert 3.5 < found.mi < 4.8  # of 4.72; it was 2.32


def test_few_latent_directions_of_many_columns():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((3000, 3))
    to_x, to_y = rng.standard_normal((3, 39)), rng.standard_normal((3, 300))
    x = z @ to_x + 4 * rng.standard_normal((3000, 39))
    y = z @ to_y + 4 * rng.standard_normal((3000, 300))
    both = np.concatenate([to_x, to_y], 1)
    log_det = [np.linalg.slogdet(16 * np.eye(w.shape[1]) + w.T @ w)[1] for w in (to_x, to_y, both)]
    truth = (log_det[0] + log_det[1] - log_det[2]) / 2
    found = mlcpc.estimate(x, y, steps=20, eval_every=10)
    assert abs(found.mi - truth) < 0.1 * truth


def test_integers_are_numbers_unless_said_otherwise():
    """Counts with a shared part: 0.143 nats, whatever the type and the shape."""
    rng = np.random.default_rng(0)
    shared = rng.poisson(3, 3000)
    x, y = (shared + rng.poisson(3, 3000) for _ in range(2))
    settings = {"steps": 100, "folds": 3}
    found = mlcpc.estimate(x, y, **settings)
    assert 0.1 < found.mi < 0.17 and "also read as a number" in found.x
    assert mlcpc.estimate(x[:, None], y.astype(np.float32), **settings).mi == found.mi


def test_labels_and_text_are_classes():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 800)
    x = rng.standard_normal((800, 2)) + 4 * np.stack([labels % 2, labels // 2], 1)
    for given in (labels, np.array(["n", "e", "s", "w"])[labels]):
        found = mlcpc.estimate(x, given, steps=200, folds=2)
        assert 1.1 < found.mi < math.log(4) and "4 classes" in found.y


@pytest.mark.parametrize("kinks", [False, True])
def test_clusters_of_which_a_normal_pair_claims_too_much(kinks):
    rng = np.random.default_rng(0)
    centres, labels = rng.standard_normal((2, 10, 16)), rng.integers(0, 10, 1500)
    x, y = (each[labels] + 0.4 * rng.standard_normal((1500, 16)) for each in centres)
    if kinks:  # as features of a network with rectified units are
        x, y = np.maximum(x, 0), np.maximum(y, 0)
    found = mlcpc.estimate(x, y)
    assert 0.85 * math.log(10) < found.mi < math.log(10)


def test_columns_that_share_no_more_than_a_scale():
    truth = float(problems.beyond_gaussian()["student 5x5 dof 2"].mi)
    rng = np.random.default_rng(0)
    scale = np.sqrt(rng.chisquare(2, (1000, 1)) / 2)
    x, y = (rng.standard_normal((1000, 5)) / scale for _ in range(2))
    found = mlcpc.estimate(x, y)
    assert 0.5 * truth < found.mi < truth
    assert any("grows with more rows" in each for each in found.warnings)


def test_copies_of_rows_are_no_information():
    rng = np.random.default_rng(0)
    x, y = (np.repeat(rng.standard_normal((200, 2)), 5, 0) for _ in range(2))
    found = mlcpc.estimate(x, y, **QUICK)
    assert found.lower < 0 and found.mi < 0.05 and found.p_value > 0.01
    assert "only 200 of 1000 rows are distinct" in said(found)


def test_groups_are_never_each_others_negatives():
    """Ten noisy copies of each of 100 pairs; what two copies share is no information."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(100), 10)
    x, y = (
        np.repeat(rng.standard_normal((100, 2)), 10, 0) + 0.01 * rng.standard_normal((1000, 2))
        for _ in range(2)
    )
    blind = mlcpc.estimate(x, y, steps=400)
    assert blind.mi > 0.3  # what the groups are for
    found = mlcpc.estimate(x, y, groups=groups, **QUICK)
    assert found.lower < 0 and found.mi < 0.1
    words = np.array([f"patient {k}" for k in groups], dtype=object)
    assert abs(mlcpc.estimate(x, y, groups=words, **QUICK).lower) < 1


def test_a_time_series_is_asked_for_its_order():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((1500, 2, 2))
    series = np.zeros_like(noise)
    for k in range(1, len(noise)):
        series[k] = 0.97 * series[k - 1] + math.sqrt(1 - 0.97**2) * noise[k]
    x, y = series[:, 0], series[:, 1]
    blind = mlcpc.estimate(x, y, steps=100)
    assert "if they are a time series, pass order='time'" in said(blind)
    found = mlcpc.estimate(x, y, order="time", steps=100)
    assert found.lower < 0 and found.p_value > 0.01 and "time series" not in said(found)


def test_tensors_of_a_model():
    x, y = samples()
    plain = mlcpc.estimate(x, y, **QUICK).mi
    assert mlcpc.estimate(x.clone().requires_grad_(), y, **QUICK).mi == plain
    with torch.no_grad():
        assert mlcpc.estimate(x, y, **QUICK).mi == plain
    assert abs(mlcpc.estimate(x.bfloat16(), y.bfloat16(), **QUICK).mi - plain) < 0.1
    with torch.inference_mode(), pytest.raises(ValueError, match="inside torch.inference_mode"):
        mlcpc.estimate(x, y, **QUICK)


@pytest.mark.parametrize(
    "mi, error, margin",
    [(4.0, 0.1, "normal"), (6.0, 0.1, "uniform"), (8.0, 0.3, "normal"), (10.0, 0.6, "uniform")],
)
def test_strong_dependence_of_single_columns(mi, error, margin):
    x, y = normal_pair(mi, 10_000)
    if margin == "uniform":
        x, y = (torch.special.ndtr(torch.from_numpy(z)).numpy() for z in (x, y))
    found = mlcpc.estimate(x, y, steps=1, width=8)
    assert abs(found.mi - mi) < error and found.lower < mi


def test_a_copy_is_called_one():
    x, _ = normal_pair(1.0, 1000)
    found = mlcpc.estimate(x, x, **QUICK)
    assert found.mi > 4.5 and "the information may be infinite" in said(found)


def test_more_rows_than_needed_are_not_used(monkeypatch):
    x, y = normal_pair(0.5, 5000)
    monkeypatch.setattr(estimation, "_MOST", 2000)
    found = mlcpc.estimate(x, y, steps=1, width=8)
    assert abs(found.mi - 0.5) < 0.1 and found.rows == 2000
    assert "2,000 of 5,000 rows were used" in said(found)


# ---------------------------------------------------------------------------------------------
# Encoders and settings
# ---------------------------------------------------------------------------------------------


def test_an_encoder_reads_images_and_is_trained():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(800, 1, 4, 4, generator=generator)
    y = x[:, 0, 2, 3] + 0.3 * torch.randn(800, generator=generator)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    before = encoder[1].weight.clone()
    found = mlcpc.estimate(
        x, y, encoder_x=encoder, steps=400, patience=20, folds=2, width=16, learning_rate=1e-2
    )
    assert found.mi > 0.4 and found.x == "(1, 4, 4) through an encoder"
    assert torch.equal(encoder[1].weight, before)
    assert found.critic(x[:5], y[:7]).shape == (5, 7)


@pytest.mark.parametrize(
    "encoder, message",
    [
        (nn.Linear(7, 2), r"encoder_x cannot read \(4, 1, 6, 6\)"),
        (nn.Flatten(0), r"encoder_x returns \(144,\); valid: vectors \(n, d\)"),
        (abs, "encoder_x is builtin_function_or_method; valid: a torch.nn.Module"),
    ],
)
def test_bad_encoders_are_named(encoder, message):
    x, y = torch.zeros(100, 1, 6, 6), torch.arange(100.0)
    with pytest.raises(ValueError, match=message):
        mlcpc.estimate(x, y, encoder_x=encoder, **QUICK)


def test_numbers_of_numpy_are_settings():
    x, y = samples(count=100)
    settings = {**QUICK, "steps": np.int64(5), "learning_rate": np.float32(1e-3)}
    found = mlcpc.estimate(x, y, seed=np.int32(1), **settings)
    assert found.config.steps == 5 and json.dumps(found.to_dict())


def test_an_unproved_weight_is_called_so():
    x, y = samples(count=200)
    assert "not a guaranteed bound" in said(mlcpc.estimate(x, y, estimator="ml_cpc:0.001", **QUICK))
    for proved in ("cpc:1", "cpc:0.74", "ml_cpc:0.1", "auto"):
        assert "guaranteed" not in said(mlcpc.estimate(x, y, estimator=proved, **QUICK))


def test_the_estimator_is_the_one_that_is_asked_for():
    x, y = samples(count=200)
    found = mlcpc.estimate(x, y, estimator="ml_cpc:0.5", **QUICK)
    assert found.bound == ("ml_cpc:0.5", "ml_cpc:0.5") and found.ceiling == math.log(100 / 0.5)


class Indexed:
    """What is asked of a pandas series."""

    def __init__(self, values, index):
        self.values, self.index = values, Index(index)
        self.dtype = values.dtype

    def to_numpy(self, dtype=None):
        return self.values

    def __len__(self):
        return len(self.values)


class Index(list):
    def equals(self, other):
        return self == other


def test_rows_of_different_indices_are_not_paired_in_silence():
    x, y = normal_pair(1.0, 100)
    with pytest.raises(ValueError, match="x and y have different indices.*to_numpy"):
        mlcpc.estimate(Indexed(x, range(100)), Indexed(y, range(1, 101)), **QUICK)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"init": "normal"}, "init is 'normal'; valid: gaussian, zero"),
        ({"x": np.full((600, 2), np.nan)}, "x contains nan in row 0"),
        ({"y": np.zeros(500)}, "y is constant"),
        ({"y": np.arange(500.5)}, "y has 501 samples; valid: as many as x, 600"),
        ({"x": np.zeros((600, 2, 2))}, r"x has shape \(600, 2, 2\); .*encoder_x"),
        ({"widht": 3}, "setting widht is unknown; valid: batch, depth, device, discrete"),
        ({"random_state": 3}, r"random_state is unknown \(the seed is called seed\)"),
        ({"seed": None}, "seed is None; valid: an integer of at least 0"),
        ({"device": "foo"}, "device is 'foo'; valid: cpu, cuda"),
        ({"folds": 1}, "folds is 1; valid: an integer of at least 2"),
        ({"folds": 100}, "x has 600 samples; valid: at least 2000 for 100 folds"),
        ({"groups": np.arange(600) // 30}, "x has 20 groups; valid: at least 40 for 2 folds"),
        ({"groups": np.arange(9)}, r"groups has shape \(9,\); valid: one label a row, \(600,\)"),
        ({"order": "random"}, "order is 'random'; valid: None, 'time'"),
        ({"order": "time", "groups": np.arange(600)}, "groups and order are both given"),
        ({"estimator": "ksg"}, "estimator is 'ksg'; valid: auto, cpc, ml_cpc"),
        ({"estimator": "smile:5"}, "estimator is 'smile:5'; valid: auto, cpc, ml_cpc"),
        ({"standardise": "no"}, "standardise is 'no'; valid: ranks, smooth, moments"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"discrete": "no"}, "discrete is 'no'"),
    ],
)
def test_bad_input_is_named_before_any_step(change, message, monkeypatch):
    monkeypatch.setattr(estimation, "_prepare", None)
    x, y = samples()
    with pytest.raises(ValueError, match=message):
        mlcpc.estimate(**{"x": x, "y": y, **QUICK, **change})


def test_a_little_found_in_many_columns_is_doubted():
    """Two of 600 columns say half a nat, of which 400 rows show little."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 600))
    y = x[:, :2].sum(1) + rng.standard_normal(400)
    found = mlcpc.estimate(x, y, steps=1, width=8)
    assert found.mi < 0.5 * math.log(3) and (
        "few rows for so many columns" in said(found) or found.unseen is not None
    )


def test_numbers_of_another_version_make_records_stale():
    """Where this value moves, raise VERSION, and make the records of estimate again."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 400, 2))
    found = mlcpc.estimate(x, np.abs(x) + 0.5 * y, steps=100, folds=2)
    assert (estimation.VERSION, found.mi) == (2, pytest.approx(0.6029, abs=2e-3))
    old = SimpleNamespace(experiment="benchmarks/peers.py", config={"estimate version": 1})
    assert base.state(old) == "stale: version 1 of estimate, now 2"
    old.config = {"estimate version": 2}
    assert base.state(old) == base.state(SimpleNamespace(**{**vars(old), "config": {}}))
