"""Tables of the book: what is shown, and what is refused."""

import pytest
import torch

from mlcpc.book.tables import estimate, fixed, interval, signed, table
from mlcpc.statistics import summary


def test_markdown_has_a_line_of_dashes_and_every_cell():
    shown = table([["CPC", 1], ["ML-CPC", 0.5]], ["bound", "α"])
    assert str(shown) == "| bound | α |\n| --- | --- |\n| CPC | 1 |\n| ML-CPC | 0.5 |"
    assert shown._repr_markdown_() == str(shown)


def test_text_is_aligned():
    shown = table([["CPC", 1], ["ML-CPC", 0.5]], ["bound", "α"])
    assert repr(shown).splitlines() == ["bound   α", "CPC     1", "ML-CPC  0.5"]


def test_a_bar_in_a_cell_does_not_end_it():
    assert r"KL(P\|Q)" in str(table([["KL(P|Q)"]], ["divergence"]))


def test_rows_may_be_a_generator_and_empty():
    assert str(table((row for row in ([1, 2],)), ["a", "b"])).endswith("| 1 | 2 |")
    assert str(table([], ["a"])) == "| a |\n| --- |"


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="row 2 has 1 cells; valid: 2, as the header"):
        table([[1, 2], [3]], ["a", "b"])
    with pytest.raises(ValueError, match="header is empty"):
        table([], [])


@pytest.mark.parametrize(
    "value, text", [(1.004, "1.00"), (-1e-9, "0.00"), (torch.tensor(2), "2.00")]
)
def test_fixed(value, text):
    assert fixed(value) == text


@pytest.mark.parametrize("value, text", [(0.1, "+0.10"), (-0.1, "-0.10"), (-1e-9, "±0.00")])
def test_signed(value, text):
    assert signed(value) == text


def test_interval():
    assert interval(-0.001, 1) == "[0.00, 1.00]"


def test_a_mean_with_its_interval():
    found = summary([0.84, 0.86])  # t is 12.7 with one degree of freedom
    assert estimate(found, 0, 100) == "85 [72, 98]"
    assert estimate(found, 1, 100, sign=True) == "+85.0 [72.3, 97.7]"
    assert estimate(summary([0.5])) == "0.50"
