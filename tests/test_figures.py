"""The arrays behind figures are published whole, with their tolerance."""

import math

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import torch

from mlcpc.book import figures


def test_keep_publishes_arrays(shown):
    figures.keep("fig-toy", rtol=1e-3, x=[1, 2], y=torch.tensor([[0.5], [1.5]]))
    data, metadata = shown[0]
    assert data["text/plain"] == "arrays behind fig-toy: x (2,), y (2, 1)"
    passport = metadata["mlcpc_arrays"]
    assert passport["name"] == "fig-toy" and passport["rtol"] == 1e-3
    assert passport["arrays"] == {"x": [1.0, 2.0], "y": [[0.5], [1.5]]}


@pytest.mark.parametrize("arrays", [{}, {"x": []}, {"x": [1.0, math.nan]}])
def test_keep_refuses_nothing_and_nan(shown, arrays):
    with pytest.raises(ValueError, match="valid: "):
        figures.keep("fig-toy", **arrays)
    assert not shown


def test_style_is_applied_and_colours_are_colours():
    with mpl.rc_context():
        figures.use_style()
        assert mpl.rcParams["figure.facecolor"] == "white"
    assert all(mpl.colors.is_color_like(colour) for colour in figures.COLOURS.values())


def test_a_graph_draws_every_box_and_arrow():
    drawn, axes = plt.subplots()
    boxes = {"lemma": (0, 1, "a lemma"), "other": (2, 1, "another"), "goal": (1, 0, "the theorem")}
    figures.graph(axes, boxes, [("lemma", "goal"), ("other", "goal")], goal="goal")
    assert {text.get_text() for text in axes.texts if text.get_text()} == {
        "a lemma", "another", "the theorem"
    }
    arrows = [text for text in axes.texts if getattr(text, "arrow_patch", None)]
    assert [arrow.xy for arrow in arrows] == [(1, 0), (1, 0)]
    with pytest.raises(ValueError, match="'gone' is no box; valid: lemma, other, goal"):
        figures.graph(axes, boxes, [("gone", "goal")])
    plt.close(drawn)
