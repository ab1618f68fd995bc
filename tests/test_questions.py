"""Relevance, pairs of columns, and conditional information."""

import math

import numpy as np
import pytest

import mlcpc
from mlcpc import estimation

QUICK = {"steps": 40, "eval_every": 20, "width": 8, "folds": 2, "batch": 64}


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((600, 3))
    y = z[:, 0] + 0.5 * rng.standard_normal(600)
    return np.c_[z, np.ones(600)], y


def test_relevance_scores_every_column(samples):
    X, y = samples
    values, p_values = mlcpc.relevance(X, y, **QUICK)
    assert abs(values[0] - 0.5 * math.log(5)) < 0.15 and p_values[0] == 0.001
    assert (values[1:] < 0.02).all() and (p_values[1:3] > 0.01).all()
    assert values[3] == 0 and p_values[3] == 1


def test_columns_in_a_stack_are_what_they_are_alone(samples, monkeypatch):
    X, y = samples
    X = np.c_[X[:, :2], np.round(X[:, 2] * 2)]  # the last is read as counts and as classes
    monkeypatch.setattr(estimation, "_STACKED", 2)
    values, p_values = mlcpc.relevance(X, y, **QUICK)
    alone = [mlcpc.estimate(column, y, **QUICK) for column in X.T]
    assert np.allclose(values, [max(0.0, each.mi) for each in alone], rtol=0, atol=1e-5)
    assert np.allclose(p_values, [each.p_value for each in alone], rtol=0, atol=2e-3)
    together = estimation.several([(X[:, 0], y, "auto"), (X[:, 1], y, "auto")], **QUICK)
    for column, ours, theirs in zip(X.T, together, alone, strict=False):
        assert ours.warnings == theirs.warnings and ours.steps.tolist() == theirs.steps.tolist()
        assert np.allclose(ours.curve, theirs.curve, rtol=0, atol=1e-5, equal_nan=True)
        scores = [each.critic(column[:5], y[:5]) for each in (ours, theirs)]
        assert np.allclose(*scores, rtol=0, atol=1e-4)


def test_relevance_is_a_score_of_scikit_learn(samples):
    selection = pytest.importorskip("sklearn.feature_selection")
    X, y = samples
    chosen = selection.SelectKBest(lambda a, b: mlcpc.relevance(a, b, **QUICK), k=1).fit(X, y)
    assert chosen.get_support().tolist() == [True, False, False, False]


def test_relevance_of_chosen_columns(samples):
    X, y = samples
    values, _ = mlcpc.relevance(X, y, columns=[1], **QUICK)
    assert np.isnan(values).tolist() == [True, False, True, True]
    with pytest.raises(ValueError, match=r"columns is \[4\]; valid: places from 0 to 3"):
        mlcpc.relevance(X, y, columns=[4], **QUICK)


def test_relevance_of_text_for_labels():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    X = np.array([["a", "b", "c"][k] for k in labels])[:, None]
    values, p_values = mlcpc.relevance(X, labels, **QUICK)
    assert values[0] > 0.8 * math.log(3) and p_values[0] == 0.001


def test_pairwise_is_symmetric(samples):
    X, y = samples
    found = mlcpc.pairwise(np.c_[y, X[:, [0, 3]]], **QUICK)
    assert np.isnan(found.diagonal()).all() and np.array_equal(found, found.T, equal_nan=True)
    assert found[0, 1] > 0.6 and found[0, 2] == 0


def test_conditional_information_by_the_chain_rule():
    """x and y share z and nothing else; y and w share more than z."""
    rng = np.random.default_rng(0)
    z, own, noise = rng.standard_normal((3, 1200))
    x, y = z + own, z + 0.5 * own + 0.5 * noise
    nothing = mlcpc.conditional(z + 0.5 * noise, z + own, z, **QUICK)
    assert abs(float(nothing)) < 0.1
    found = mlcpc.conditional(x, y, z, **QUICK)
    assert abs(found.mi - 0.5 * math.log(2)) < 0.12
    assert str(found).startswith(f"about {found.mi:.3f} nats, no bound:")
    assert found.mi == found.joint.mi - found.known.mi
    with pytest.raises(ValueError, match="z has 9 samples; valid: as many as x, 1200"):
        mlcpc.conditional(x, y, z[:9], **QUICK)
