"""Checks pass what is true, fail what is not, and say what they saw in one line."""

import math

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from mlcpc.book import ledger


def test_holds(shown):
    ledger.holds("thm-toy", torch.tensor([-0.25, -1e-3]), "exact enumeration")
    data, metadata = shown[0]
    assert data["text/plain"] == "checked: exact, margin 0.001 (thm-toy)"
    (check,) = metadata["mlcpc_checks"]
    assert check["label"] == "thm-toy" and check["claim"] == "true"
    assert abs(check["excess"] + 1e-3) < 1e-6 and check["limit"] == ledger.ROUNDING


def test_rounding_noise_prints_the_same_on_every_machine(shown):
    for noise in (3e-16, -2e-12, 0.0):
        ledger.holds("thm-toy", noise, "symbolic")
    lines = {data["text/plain"] for data, _ in shown}
    assert lines == {"checked: symbolic, margin below 1e-9 (thm-toy)"}


def test_an_allowed_error_is_called_an_error(shown):
    ledger.holds("thm-toy", 2e-4, "numeric", allowed=1e-3)
    assert shown[0][0]["text/plain"] == (
        "checked: numeric, error 0.0002 of 0.001 allowed (thm-toy)"
    )


@pytest.mark.parametrize(
    "excess, count",
    [
        (torch.tensor(-1.0), 1),
        (-1, 1),
        ([torch.full((2, 3), -1.0), np.full(4, -1.0), -1.0], 11),
    ],
)
def test_every_number_is_an_instance(shown, excess, count):
    ledger.holds("thm-toy", excess, "numeric")
    assert shown[0][1]["mlcpc_checks"][0]["instances"] == count


def test_breaks(shown):
    ledger.breaks("thm-toy", "α below its range", [0.1, 0.2], "search", at_least=1e-2)
    data, metadata = shown[0]
    assert data["text/plain"] == "checked: search, twin broken by 0.2 (thm-toy)"
    (check,) = metadata["mlcpc_checks"]
    assert check["claim"] == "false twin" and check["twin"] == "α below its range"


CELL = """
from mlcpc.book import ledger
ledger.holds("thm-a", [-0.25], "exact enumeration")
print("printed by the cell")
ledger.holds("thm-a", [-0.5], "search")
ledger.breaks("thm-a", "too strong", 0.123, "search", at_least=0.1)
ledger.holds("lem-b", 0.0, "numeric")
ledger.breaks("lem-b", "one", 1.5, "numeric", at_least=0.1)
ledger.breaks("lem-b", "two", 2.5, "numeric", at_least=0.1)
"""
FAILING = """
ledger.holds("thm-a", -1.0, "numeric")
ledger.holds("thm-a", 1.0, "numeric")
"""
QUIET = "1 + 1"


def test_a_cell_shows_one_line_for_each_statement():
    """In a real kernel: what stands in one cell is said in one line, whatever fails there."""
    cells = [nbformat.v4.new_code_cell(source) for source in (CELL, FAILING, QUIET)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3", allow_errors=True).execute()
    first, failed, quiet = (cell.outputs for cell in notebook.cells)
    lines = [output for output in first if "mlcpc_checks" in output.get("metadata", {})]
    assert [output.data["text/plain"] for output in lines] == [
        "checked: exact and search, margin 0.25, twin broken by 0.12 (thm-a)",
        "checked: numeric, margin below 1e-9, twins broken by 1.5, 2.5 (lem-b)",
    ]
    assert [len(output.metadata["mlcpc_checks"]) for output in lines] == [3, 3]
    assert any("thm-a fails: excess 1" in output.get("evalue", "") for output in failed)
    assert [output.output_type for output in quiet] == ["execute_result"]


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
