"""What pages show of staircases says who exceeds the truth and who is clearly better."""

import matplotlib
import numpy as np
import pytest

from mlcpc.book import staircases
from mlcpc.experiments.staircase import Curves, StaircaseConfig

matplotlib.use("Agg")

CONFIG = StaircaseConfig(
    levels=(1.0, 2.0), steps=40, batch=8, seeds=(0, 1, 2),
    estimators=("cpc:1", "cpc:0.1", "ml_cpc:1", "ml_cpc:0.1"),
)  # fmt: skip


@pytest.fixture
def run():
    """CPC at 0.1 is above the truth at both levels, ML-CPC has twice the bias of CPC."""
    noise = 0.01 * np.random.default_rng(0).standard_normal((3, 4, 80))
    truth = np.repeat(CONFIG.levels, CONFIG.steps)
    off = np.array([-0.2, 0.3, -0.4, -0.1])[:, None]
    return staircases.unrecorded(Curves(CONFIG, truth + off + noise))


def test_exceeding_means_an_interval_above_zero(run):
    found = {name: staircases.exceeding(run, name) for name in CONFIG.estimators}
    assert set(found["cpc:0.1"]) == {1.0, 2.0}
    assert found["cpc:0.1"][1.0] == pytest.approx(0.3, abs=0.01)
    assert not found["cpc:1"] and not found["ml_cpc:1"] and not found["ml_cpc:0.1"]


def test_a_high_mean_of_seeds_that_disagree_does_not_exceed():
    values = np.ones((3, 4, 80)) * np.repeat(CONFIG.levels, CONFIG.steps)
    values += np.array([-0.5, 0.5, 1.0])[:, None, None]  # mean +0.33, interval over zero
    run = staircases.unrecorded(Curves(CONFIG, values))
    assert not any(staircases.exceeding(run, name) for name in CONFIG.estimators)


def test_tables_say_what_is_proved_and_who_is_lower(run):
    shown = staircases.biases(run, CONFIG.estimators)
    assert shown.rows[1][:2] == ("CPC, α = 0.1", "not a guaranteed bound")
    assert shown.rows[1][2] == "+0.30!" and shown.rows[0][2] == "-0.20"
    shown = staircases.compared(run, [("ml_cpc:1", "cpc:1"), ("ml_cpc:0.1", "cpc:0.1")])
    assert shown.rows[0][1:] == ("CPC 1", "CPC 1")
    assert shown.rows[1][1:] == ("ML-CPC 0.1", "ML-CPC 0.1")
    same = staircases.compared(run, [("cpc:1", "cpc:1")])
    assert same.rows[0][1:] == ("–", "–")


def test_figures_draw_every_estimator(run):
    fig = staircases.grid(run, "a title")
    panels = [ax for ax in fig.axes if ax.lines]
    assert [ax.get_title(loc="left") for ax in panels] == ["α = 1", "α = 0.1"]
    assert all(len(ax.lines) == 3 for ax in panels)  # two curves and the ceiling
    (ax,) = staircases.plane(run).axes
    assert [line.get_label() for line in ax.lines if not line.get_label().startswith("_")] == list(
        CONFIG.estimators
    )
    assert staircases.mean_curves(run).shape == (4, 80)
    matplotlib.pyplot.close("all")
