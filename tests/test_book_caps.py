"""The figure of the first page computes what the package computes."""

import json
import math
import os
import re
import subprocess

import browser
import pytest
from conftest import ROOT

from mlcpc import bounds

PROGRAM = """
document.addEventListener("DOMContentLoaded", () => {
const grid = [];
for (const n of [1, 2, 128]) for (const m of [2, 3, 128]) for (const share of [0.001, 0.3, 1])
  grid.push([n, m, share * m, caps.alphaMin(n, m), caps.ceiling(m, share * m)]);
const find = (name) => document.querySelector(`[data-caps="${name}"]`);
const first = find("summary").textContent;
find("alpha").value = -4;
find("alpha").dispatchEvent(new Event("input"));
document.body.textContent = JSON.stringify({
  grid, first, second: find("summary").textContent,
  capped: [caps.capped(3, 5), caps.capped(7, 5)]});
});
"""


@pytest.fixture
def answer(tmp_path):
    if browser.browser() is None:
        if "MLCPC_REQUIRE_BROWSER" in os.environ:
            pytest.fail("no Chromium, and MLCPC_REQUIRE_BROWSER is set")
        pytest.skip("no Chromium on this machine")
    script = (ROOT / "book/_static/caps.js").read_text()
    page = (ROOT / "book/intro.md").read_text()
    figure = re.search(r'<div class="caps".*?</div>', page, re.S).group(0)
    page = tmp_path / "page.html"
    page.write_text(
        f'<!doctype html><head><meta charset="utf-8"><script>{script}{PROGRAM}</script></head>'
        f"<body>{figure}</body>"
    )
    done = subprocess.run(
        [browser.browser(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        + ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        + [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return json.loads(re.search(r"<body>(.*)</body>", done.stdout, re.S).group(1))


def test_the_figure_and_the_package_agree(answer):
    assert len(answer["grid"]) == 27
    for n, m, alpha, smallest, cap in answer["grid"]:
        assert math.isclose(smallest, bounds.alpha_min(n, m), rel_tol=1e-12)
        assert math.isclose(cap, bounds.ceiling(m, alpha), rel_tol=1e-12, abs_tol=1e-12)
    assert answer["capped"] == [3, 5]


def test_the_sliders_move_the_summary(answer):
    cap = math.log(128 * 127 + 1)
    assert f"{cap:.2f} nats; a proved lower bound" in answer["first"]
    assert f"{math.log(128):.2f} nats" in answer["first"]
    assert f"{cap + math.log(4):.2f} nats; α is below α_min" in answer["second"]
