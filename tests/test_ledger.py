"""Checks pass what is true, fail what is not, and say what they saw."""

import math

import numpy as np
import pytest
import torch

from mlcpc import ledger


def test_holds(shown):
    ledger.holds("thm-toy", torch.tensor([-0.25, -1e-3]), "exact enumeration")
    data, metadata = shown[0]
    assert data["text/plain"] == (
        "thm-toy holds: exact enumeration, 2 instances, largest excess -1.0e-03"
    )
    check = metadata["mlcpc_check"]
    assert check["label"] == "thm-toy" and check["claim"] == "true"
    assert abs(check["excess"] + 1e-3) < 1e-6 and check["limit"] == ledger.ROUNDING


def test_rounding_noise_is_printed_as_zero(shown):
    ledger.holds("thm-toy", 3e-16, "symbolic")
    assert shown[0][0]["text/plain"] == "thm-toy holds: symbolic, 1 instance, largest excess 0"


@pytest.mark.parametrize(
    "excess, count",
    [
        (torch.tensor(-1.0), "1 instance,"),
        (-1, "1 instance,"),
        ([torch.full((2, 3), -1.0), np.full(4, -1.0), -1.0], "11 instances"),
    ],
)
def test_every_number_is_an_instance(shown, excess, count):
    ledger.holds("thm-toy", excess, "numeric")
    assert count in shown[0][0]["text/plain"]


def test_breaks(shown):
    ledger.breaks("thm-toy", "α below its range", [0.1, 0.2], "search", at_least=1e-2)
    data, metadata = shown[0]
    assert data["text/plain"] == (
        "thm-toy false twin (α below its range) broken: search, 2 instances, by 2.0e-01"
    )
    assert metadata["mlcpc_check"]["claim"] == "false twin"
    assert metadata["mlcpc_check"]["twin"] == "α below its range"


@pytest.mark.parametrize("excess", [1e-8, [0.0, 1.0], np.ones((2, 2)), math.nan, [0.0, math.nan]])
def test_a_false_claim_fails(shown, excess):
    with pytest.raises(AssertionError, match="thm-toy fails"):
        ledger.holds("thm-toy", excess, "numeric")
    assert not shown


@pytest.mark.parametrize("excess", [0.0, -1.0, 9e-3, math.nan])
def test_an_unbroken_twin_fails(shown, excess):
    with pytest.raises(AssertionError, match=r"false twin of thm-toy \(twin\) was not broken"):
        ledger.breaks("thm-toy", "twin", excess, "search", at_least=1e-2)
    assert not shown


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="kind is 'guess'; valid: exact enumeration"):
        ledger.holds("thm-toy", 0.0, "guess")
    with pytest.raises(ValueError, match="excess is empty"):
        ledger.holds("thm-toy", [], "numeric")
    with pytest.raises(ValueError, match="allowed is -1; valid: at least 0"):
        ledger.holds("thm-toy", 0.0, "numeric", allowed=-1)
    with pytest.raises(ValueError, match="at_least is 0; valid: above 0"):
        ledger.breaks("thm-toy", "twin", 1.0, "numeric", at_least=0)
