"""The page on known information: what its helpers say, and its figure computes what Python does."""

import json
import math
import re
from dataclasses import replace

import devtools
import numpy as np
import pytest
import torch
from conftest import ROOT

from mlcpc import bounds, records, sameclass
from mlcpc.book import known
from mlcpc.book.published import Published
from mlcpc.records import Metric, Record

BIT = math.log(2)
CONFUSION = [[2472, 28], [37, 2463]]
NAMES = ("cpc:1", "ml_cpc:1", "ml_cpc:0.0446", "dv")


@pytest.fixture
def record():
    config = known.KnownInformationConfig()
    metrics = {
        known.metric_name(kind, name, bits): Metric(
            "bits", (bits * share, None if name == "dv" and bits == 10 else bits * share + 0.1))
        for kind, add in (("value", 0.0), ("held out", -0.2))
        for name, share in zip(NAMES, (0.5 + add, 0.45 + add, 0.7 + add, 0.9 + add), strict=True)
        for bits in config.levels
    }  # fmt: skip
    ends = {
        f"{bits:g}": [10 * sameclass.band(_table(), sameclass.flipped(flip)).low / BIT, 0.0, bits]
        for bits, flip in config.channel.items()
    }
    return Record(
        name="run", experiment="known-information", version=1, profile="quick", command="mlcpc run",
        config=config.to_dict(), seeds=[0, 1], metrics=metrics,
        arrays={"bands": ends, "confusion": CONFUSION}, provenance=records.provenance(1.0, {}),
    )  # fmt: skip


def _table():
    return torch.tensor(CONFUSION)


def test_places_are_those_of_all_seeds(record):
    assert known.where([1.0, 1.2], 0.9, 2) == "inside" and known.where([0.8, 1], 0.9, 2) == "across"
    assert known.where([0.1], 0.9, 2) == "below" and known.where([3, 2.1], 0.9, 2) == "above"
    assert known.places(record, "cpc:1") == ["below"] * 5
    assert known.places(record, "dv")[1] == "inside"
    assert known.low(record)[-1] == pytest.approx(8.2788, abs=1e-4)


def test_ours_beside_theirs_has_the_verdict_of_the_rule(record):
    theirs = {
        f"known sentences: value cpc:1 at {bits}": Published(value, "bits", "read-off", "s", note)
        for bits, value, note in ((2, 1.2, ""), (4, 2.06, ""), (6, 9.0, "understated: so"))
    }
    three = [known.theirs(theirs, "sentences", "cpc:1")[bits].value for bits in (2, 4, 6)]
    assert three == [1.2, 2.06, 9.0]
    full = theirs | {
        f"known sentences: value cpc:1 at {bits}": Published(value, "bits", "read-off", "s", "")
        for bits, value in ((8, 4.2), (10, 8.0))
    }
    table, count = known.beside(record, "sentences", full, ("cpc:1",))
    assert count["no comparison"] == 1 and sum(count.values()) == 5
    assert table.rows[0][5].endswith("(8.00), differs") and count["inside"] == 3
    spread = {**record.metrics, "value cpc:1 at 10": Metric("bits", (4.0, 9.0))}
    wide, _ = known.beside(replace(record, metrics=spread), "sentences", full, ("cpc:1",))
    assert wide.rows[0][5] == "-1.50 (8.00), wide"
    assert "no comparison" in table.rows[0][3] and table.rows[0][1].startswith("-0.15 (1.20)")
    gaps = known.against(record, "ml_cpc:0.0446", "cpc:1")
    assert gaps[0].mean == pytest.approx(0.4) and gaps[4].mean == pytest.approx(2.0)


def test_a_seed_that_diverged_is_left_out(record):
    assert known.means(record, "dv")[-1] == pytest.approx(9.0)
    lost = {**record.metrics, "value dv at 10": Metric("bits", (None, None))}
    gone = replace(record, metrics=lost)
    assert np.isnan(known.means(gone, "dv")[-1])
    assert known.recorded(gone, ("dv",))["values"]["dv"][-1] is None


PROGRAM = """
document.addEventListener("DOMContentLoaded", () => {
const grid = [];
for (const sources of [1, 10]) for (const p of [0, 0.031, 0.2, 0.5])
  grid.push([sources, p, known.information(sources, p), known.lower(sources, p, %s)]);
const find = (name) => document.querySelector(`[data-known="${name}"]`);
const all = () => [find("summary").textContent, document.querySelectorAll("circle").length];
const said = [all()];
const set = (name, value) => {
  find(name).value = value;
  find(name).dispatchEvent(new Event("input"));
  said.push(all());
};
set("alpha", -2); set("m", 7); set("flip", 0.5); set("sources", 1);
const inputs = [...document.querySelectorAll("input")].map((each) =>
  [each.type, each.closest("label") !== null, each.tabIndex, each.getAttribute("aria-valuetext")]);
document.body.textContent = JSON.stringify({
  grid, said, inputs, ceilings: [known.ceiling(64, 1), known.ceiling(64, 0.0446)],
  batch: [2, 3, 64].map(known.alphaBatch), alt: document.querySelector("svg") !== null});
});
"""


@pytest.fixture
def answer(tmp_path, record, chromium):
    script = (ROOT / "book/_static/known.js").read_text()
    page = tmp_path / "page.html"
    page.write_text(
        f'<!doctype html><head><meta charset="utf-8"><script>{script}'
        f"{PROGRAM % json.dumps(CONFUSION)}</script></head><body>"
        f"{known.sliders(record, NAMES)}</body>"
    )
    with devtools.chromium() as tab:
        tab.open(page.as_uri())
        return json.loads(tab.run("document.body.textContent"))


def test_the_figure_and_the_package_agree(answer):
    assert len(answer["grid"]) == 8
    for sources, p, high, low in answer["grid"]:
        band = sameclass.band(_table(), sameclass.flipped(p)).times(sources)
        assert math.isclose(high * BIT, band.high, abs_tol=1e-12)
        assert math.isclose(low * BIT, band.low, abs_tol=1e-12)
    for bits, alpha in zip(answer["ceilings"], (1, 0.0446), strict=True):
        assert math.isclose(bits * BIT, bounds.ceiling(64, alpha), rel_tol=1e-12)
    for n, smallest in zip([2, 3, 64], answer["batch"], strict=True):
        assert math.isclose(smallest, bounds.alpha_batch(n), rel_tol=1e-12)


def test_the_sliders_move_summary_and_points(answer):
    said = answer["said"]
    first, points = said[0]
    assert "share 10.00 bits" in first and "at least 8.28" in first
    assert "proved in the batch" in first and "below" not in first
    assert "Recorded at 10 bits: cpc:1 5.05, ml_cpc:0.0446 7.05, dv 9.00." in first
    assert "CPC says at most 6.00 bits, ML-CPC at most 10.48" in first and points == 15
    assert "below what is proved in the batch" in said[1][0]
    assert "Recorded values are for 10 sources and m = 64" in said[2][0] and said[2][1] == 0
    assert "share 0.00 bits" in said[3][0] and said[4][1] == 0
    # reached and moved by the keyboard, each under its label
    assert [each[:3] for each in answer["inputs"]] == [["range", True, 0]] * 4
    assert [each[3] for each in answer["inputs"]] == ["1", "0.500", "128", "0.0100"]


def test_without_javascript_there_is_a_text_and_a_name(record):
    page = known.sliders(record, NAMES)
    assert 'role="img" aria-label="Bits against' in page and 'aria-live="polite"' in page
    assert "Without JavaScript: 10 sources without a flip share 10 bits" in page
    held = json.loads(re.search('data-recorded="(.*?)"', page).group(1).replace("&quot;", '"'))
    assert held["values"]["cpc:1"][0] == pytest.approx(1.05)
