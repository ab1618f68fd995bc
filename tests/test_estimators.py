"""Estimators by name: what they are called, what they refuse, and what they promise."""

import pytest
import torch

from mlcpc import bounds, estimators
from mlcpc.estimators import Estimator


def test_estimators_are_named_and_read_back():
    for text in ("ml_cpc:0.1", "smile:5", "nwj", "interpolated:0", "mine:0.5"):
        assert str(Estimator.parse(text)) == text
    assert Estimator.parse("cpc") == Estimator("cpc", 1.0)


@pytest.mark.parametrize("text, message", [
    ("infonce", "estimator is 'infonce'; valid: cpc, ml_cpc"),
    ("nwj:1", "nwj has setting 1.0; valid: none"),
    ("cpc:0", "cpc has setting 0.0"),
    ("cpc:x", "estimator is 'cpc:x'; valid: name or name:number"),
    ("mine:1", "mine has setting 1.0"),
    ("interpolated:2", "interpolated has setting 2.0"),
    ("smile:nan", "smile has setting nan"),
])  # fmt: skip
def test_bad_estimators_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        Estimator.parse(text)


def test_promises():
    said = {
        "cpc:1": "bound", "cpc:0.1": "not a guaranteed bound", "cpc:0.74": "bound",
        "ml_cpc:1": "bound", "ml_cpc:0.0227": "bound",
        "ml_cpc:0.0226": "bound with fresh negatives",
        "ml_cpc:0.01": "bound with fresh negatives", "ml_cpc:0.001": "not a guaranteed bound",
        "ml_cpc_fresh:0.01": "bound with fresh negatives",
        "ml_cpc_fresh:0.001": "not a guaranteed bound",
        "nwj": "bound", "dv": "not a guaranteed bound", "smile": "not a guaranteed bound",
    }  # fmt: skip
    assert {name: estimators.promise(Estimator.parse(name), 128) for name in said} == said


def test_fresh_negatives_are_those_of_a_second_batch():
    """At equal critics: J of the diagonal beside the scores with fresh y."""
    members = [Estimator.parse("ml_cpc_fresh:0.5")]
    value_of = estimators.Values(members, (0,), 3, "cpu")
    scores = torch.randn(
        1, 1, 4, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    expected = bounds.ml_cpc(scores[..., :4].diagonal(dim1=-2, dim2=-1), scores[..., 4:], 0.5)
    assert torch.equal(value_of(scores, torch.zeros(1, 4, 3)), expected)
