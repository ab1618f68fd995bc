"""What pages show of encoders on two halves: bands, verdicts, and the figure with choices."""

import json
import re

import devtools
import numpy as np
import pytest
from conftest import ROOT

from mlcpc import statistics
from mlcpc.book import encodings
from mlcpc.experiments.halves import OBJECTIVES, TITLES
from mlcpc.records import Metric, Record


def record(**more):
    """Two objectives, two seeds, three looks."""
    arrays = {
        "steps": [0, 5, 10],
        "bound": {"cpc": [[0, 1, 2], [0, 1, 4]], "nwj": [[-1, 0, 1], [-1, 0, 1]]},
        "accuracy": {"cpc": [[0.7, 0.7, 0.8], [0.7, 0.7, 0.9]], "nwj": [[0.6] * 3, [0.5] * 3]},
        "condition 40": {"cpc": [[0, 1, 2], [0, 1, 2]], "nwj": [[0, 0, 0], [0, 0, 0]]},
        "condition 60": {"cpc": [[0, 3, 4], [0, 1, 4]], "nwj": [[2, 2, 2], [0, 0, 0]]},
    }
    metrics = {
        "accuracy pixels": Metric("share", (0.7, 0.8)),
        "accuracy cpc": Metric("share", (0.8, 0.9)),
        "accuracy nwj": Metric("share", (0.6, 0.5)),
    }
    provenance = {"device": "a", "versions": {}, "wall_seconds": 1.0, "data": {}}
    return Record("tiny", "bijective", 1, "quick", "mlcpc run", {"objectives": ["cpc", "nwj"]},
                  [0, 1], metrics, provenance, arrays | more)  # fmt: skip


def test_a_band_is_the_mean_and_students_interval():
    found = encodings.band([[1.0, 2.0], [3.0, 2.0], [5.0, 2.0]])
    half = statistics.student_t(2) * 2 / np.sqrt(3)
    assert np.allclose(found, [[3, 2], [3 - half, 2], [3 + half, 2]])


def test_differences_are_taken_seed_by_seed():
    assert encodings.against(record(), "cpc").mean == pytest.approx(0.1)
    assert encodings.against(record(), "cpc").clear  # both seeds agree
    assert encodings.since(record(), "cpc", "bound").mean == 3
    assert encodings.less(record(), "cpc", "nwj", "bound").mean == 2
    assert encodings.middle(record())["cpc"] == [[0, 2, 3], [0, 1, 3]]


def test_every_objective_has_a_colour_and_a_mark():
    assert set(OBJECTIVES) == set(encodings.COLOURS) == set(encodings.MARKS)
    assert len(set(encodings.COLOURS.values())) == len(set(encodings.MARKS.values())) == 4


def test_figures_keep_what_they_draw():
    _, drawn = encodings.curves(record())
    assert set(drawn) == {f"{what} {name}" for what in ("bound", "accuracy") for name in
                          ("cpc", "nwj")}  # fmt: skip
    assert np.allclose(drawn["accuracy cpc"][0], [70, 70, 85])
    _, drawn = encodings.percentiles(record(), (40, 60))
    assert np.allclose(drawn["cpc"][:3], [[0, 1, 2], [0, 2, 4], [0, 1.5, 3]])


def page():
    """What the figure with choices puts on a page."""
    return encodings.chooser_html({"flow <1>": record(), "other": record(steps=[0, 50, 100])})


def test_without_a_script_the_values_stand_in_a_table():
    found = page()
    assert "<td>flow &lt;1&gt;</td><td>CPC</td><td>3.00</td><td>85.0</td>" in found
    data = re.search(r'<script type="application/json" data-steps="data">(.*?)</script>', found)
    assert json.loads(data.group(1)) == encodings.choices({
        "flow <1>": record(), "other": record(steps=[0, 50, 100]),
    })  # fmt: skip
    assert 'data-steps="controls" hidden' in found and 'role="img" aria-label=' in found


PROGRAM = """
document.addEventListener("DOMContentLoaded", () => {
  const find = (name) => document.querySelector(`[data-steps="${name}"]`);
  const said = [find("summary").textContent];
  const set = (name, value) => {
    find(name).value = value;
    find(name).dispatchEvent(new Event("input"));
    said.push(find("summary").textContent);
  };
  set("step", 1); set("loss", "NWJ"); set("encoder", "other");
  const hidden = [find("controls").hidden, find("static").hidden];
  const drawn = find("chart").querySelectorAll("polyline, polygon, circle").length;
  const finite = !find("chart").innerHTML.includes("NaN");
  document.body.textContent = JSON.stringify({said, hidden, drawn, finite});
});
"""


def test_the_figure_says_what_the_record_holds(tmp_path, chromium):
    script = (ROOT / "book/_static/steps.js").read_text()
    path = tmp_path / "page.html"
    path.write_text(
        f'<!doctype html><head><meta charset="utf-8"><script>{script}{PROGRAM}</script></head>'
        f"<body>{page()}</body>"
    )
    with devtools.chromium() as tab:
        tab.open(path.as_uri())
        answer = json.loads(tab.run("document.body.textContent"))
    first, step, loss, other = answer["said"]
    assert "after 10 steps: bound 3.00 [" in first and "accuracy 85.0 [" in first
    assert f"{TITLES['cpc']}, after 5 steps: bound 1.00 [1.00, 1.00] nats" in step
    assert "NWJ, after 5 steps: bound 0.00" in loss and "pixels 75.0 %" in loss
    assert other.startswith("other, NWJ, after 50 steps")
    assert answer["hidden"] == [False, True] and answer["drawn"] == 6 and answer["finite"]
