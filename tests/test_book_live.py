"""The live figures compute what the package computes, and answer a hand as well as a key."""

import json
import math
import re

import devtools
import livedata
import numpy as np
import pytest
import torch
from conftest import ROOT
from scipy.integrate import quad
from scipy.special import gammaln, kv

from mlcpc import bounds, exact, problems, records
from mlcpc.book import laws
from mlcpc.experiments import staircase

FIGURES = re.compile(r"```\{raw\} html\n(.*?)```", re.DOTALL)
DRAWN = ("board", "copies", "reweighted", "designs", "anchors", "staircase", "rivals", "choosing")


@pytest.fixture(scope="module")
def page(tmp_path_factory, chromium):
    """A tab with all live figures of the book and their scripts."""
    folder = tmp_path_factory.mktemp("live")
    livedata.write(folder)
    scripts = (folder / livedata.TARGET).read_text() + "".join(
        (ROOT / f"book/_static/{name}.js").read_text() for name in ("caps", "live"))
    figures = "".join("".join(FIGURES.findall((ROOT / f"book/{name}.md").read_text()))
                      for name in ("intro", "live"))
    path = folder / "page.html"
    path.write_text(f'<!doctype html><meta charset="utf-8"><script>{scripts}</script>'
                    f"<body>{figures}</body>")
    with devtools.chromium() as tab:
        tab.open(path.as_uri())
        yield tab


def test_the_caps_agree_with_the_package(page):
    grid = [(n, m, share * m) for n in (1, 2, 7, 128, 1024) for m in (2, 3, 16, 128, 1024)
            for share in np.geomspace(1e-4, 1, 9)]
    assert len(grid) >= 200
    found = page.run(f"{json.dumps(grid)}.map(([n, m, a]) => "
                     "[caps.alphaMin(n, m), caps.ceiling(m, a), caps.alphaBatch(Math.max(n, 2))])")
    wanted = [(bounds.alpha_min(n, m), bounds.ceiling(m, a), bounds.alpha_batch(max(n, 2)))
              for n, m, a in grid]
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def board_grid() -> list:
    draws = np.random.default_rng(0)
    return [((draws.normal(size=(n, n)) * scale).tolist(), float(alpha))
            for n in (2, 3, 5, 8) for scale in (0.1, 3, 30, 300)
            for alpha in np.geomspace(1e-3, 0.99 * n, 13)]


def test_the_board_agrees_with_the_package(page):
    grid = board_grid()
    assert len(grid) >= 200
    found = page.run(f"{json.dumps(grid)}.map(([scores, alpha]) => {{"
                     "const b = live.board(scores, alpha); return [b.J, b.L, b.cap, b.logZ]; })")
    wanted = []
    for scores, alpha in grid:
        pair = bounds.split(torch.tensor(scores, dtype=torch.float64))
        wanted.append([bounds.ml_cpc(*pair, alpha).item(), bounds.cpc(*pair, alpha).item(),
                       bounds.ceiling(len(scores), alpha)])
        wanted[-1].append(pair[0].mean().item() - wanted[-1][0])
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
    with pytest.raises(AssertionError):  # the comparison can fail
        np.testing.assert_allclose(np.array(found) + 2e-6, wanted, rtol=0, atol=1e-6)


def test_the_copies_agree_with_the_package(page):
    grid = [(n, K, ratio * bounds.alpha_min(n, n)) for n in (2, 3, 5, 16, 64, 200)
            for K in (2, 3, 7, 40, 500, 4000) for ratio in (0.5, 0.75, 2 / math.e, 0.9, 1, 1.5)]
    assert len(grid) >= 200
    found = page.run(f"{json.dumps(grid)}.map(([n, K, a]) => live.copyGap(n, K, a))")
    wanted = [float(laws.copy_gap(*each)) for each in grid]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


def agree(page, script: str, grid: list, wanted: list) -> None:
    """The script, a function of a row of the grid, gives what is wanted; another value does not."""
    assert len(grid) >= 200
    found = page.run(f"{json.dumps(grid)}.map({script})")
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(np.array(found) + 2e-6, wanted, rtol=0, atol=1e-6)


def test_the_broken_weights_agree_with_the_package(page):
    grid = [(p, g, alpha) for p in (0.5, 0.6, 0.75, 0.9, 1.0) for g in (1, 2, 5, 30, 100)
            for alpha in (0.02, 0.1, 0.3, 0.5, 2 / math.e, 1, 1.2, 1.5)]
    wanted = []
    for p, g, alpha in grid:
        joint = exact.Joint([[p / 2, (1 - p) / 2], [(1 - p) / 2, p / 2]])
        scores = math.log(g) * torch.eye(2, dtype=torch.float64)
        value = exact.expected(bounds.cpc, joint, scores, 1, 2, alpha, "independent")
        wanted.append((float(value), float(joint.mi)))
    agree(page, "(at) => { const f = live.reweighted(...at); return [f.L, f.I]; }", grid, wanted)


def test_the_proved_weights_agree_with_the_package(page):
    grid = [(n, m) for n in (1, 2, 3, 7, 16, 64, 127, 500, 1024)
            for m in range(2, 30)] + [(n, n) for n in range(2, 40)]
    wanted = [(bounds.alpha_safe("shared", n, m, "row"), bounds.alpha_safe("independent", n, m),
               bounds.alpha_safe("shared", n, m),
               bounds.alpha_safe("in_batch", n, n) if n == m else -1) for n, m in grid]
    agree(page, "(at) => { const f = live.proved(...at);"
                "return [f.cpc, f.independent, f.shared, f.in_batch ?? -1]; }", grid, wanted)


def test_what_many_anchors_miss_agrees_with_the_package(page):
    grid = [(level, m, alpha) for level in (0.1, 1, 4, 8, 14) for m in (4, 64, 1024)
            for alpha in np.geomspace(1e-5, 1, 14)]
    ratios = torch.tensor([[level] for level, _, _ in grid], dtype=torch.float64)
    wanted = [float(bounds.skew_bias(ratio, m, alpha))
              for ratio, (_, m, alpha) in zip(ratios, grid, strict=True)]
    agree(page, "([level, m, alpha]) => live.least(level, alpha / m)", grid, wanted)

    def density(w):  # of a difference of two gamma variables of shape ten
        w = max(abs(w), 1e-9)
        return math.exp(9.5 * math.log(w / 2) - gammaln(10)) * kv(9.5, w) / math.sqrt(math.pi)

    places = np.linspace(-60, 60, 4001)
    weights = np.array([density(w) for w in places]) * (places[1] - places[0])
    assert quad(density, -60, 60, points=[0])[0] == pytest.approx(1, abs=1e-8)
    wanted = [float((weights * np.log1p(alpha / m * np.expm1(
        level + math.sqrt(-math.expm1(-level / 10)) * places))).sum()) for level, m, alpha in grid]
    agree(page, "([level, m, alpha]) => live.skewBias(level, alpha / m)", grid, wanted)


def test_the_law_of_the_gaussians_is_theirs():
    problem = problems.CorrelatedGaussian(6.0)
    sample = problem.log_ratio(*problem.sample(200_000, torch.Generator().manual_seed(0)))
    draws = np.random.default_rng(0).gamma(10, size=(2, 200_000))
    ours = 6 + math.sqrt(-math.expm1(-0.6)) * (draws[0] - draws[1])
    both = [np.quantile(each, np.linspace(0.05, 0.95, 19)) for each in (sample.numpy(), ours)]
    np.testing.assert_allclose(*both, atol=0.06)


def test_the_spread_and_the_least_batch(page):
    grid = [(n, alpha) for n in (2, 3, 16, 128, 2048) for alpha in np.geomspace(1e-4, 1, 40)]
    wanted = [math.sqrt((2 * (n - a) / (n - 1) / (a * n) + 1 / n) / 4) for n, a in grid]
    agree(page, "(at) => live.spread(...at)", grid, wanted)
    for level in (*np.linspace(0.3, 4, 40), 6, 10, 13):
        n = page.run(f"live.leastBatch({level}, 0.1)")
        for size, fine in ((n, True), (n - 1, False)):
            missed = math.log1p(bounds.alpha_min(size, size) / size * math.expm1(level))
            assert (missed <= 0.1 + 1e-12) == fine


def test_the_recorded_figures_show_the_records():
    data = livedata.collect()
    checked = 0
    for name, shown in data["staircases"].items():
        record = records.read(f"staircase-{name}")
        for estimator, of in shown["estimators"].items():
            for place, level in enumerate(record.config["levels"]):
                for kind, values in of["levels"][place].items():
                    metric = record.metrics[staircase.metric_name(kind, estimator, level)]
                    np.testing.assert_allclose(values, metric.values, atol=6e-5)
                    checked += len(values)
            assert len(of["mean"]) == len(shown["at"]) == livedata.POINTS
    assert checked >= 200 and len(data["staircases"]) == 3
    assert data["rivals"]["estimators"]["dv"]["promise"] == "not a guaranteed bound"
    for batch, estimators in data["choosing"]["batches"].items():
        edge = 4 * bounds.alpha_min(batch, batch)
        assert any(abs(float(name.split(":")[1]) / edge - 1) < 0.01 for name in estimators)


def test_the_staircase_says_the_error_of_a_seed(page):
    record = records.read("staircase-gaussian-separable")
    bias = record.metrics[staircase.metric_name("bias", "ml_cpc:0.01", 8.0)].values
    said = page.run("""(() => {
      const find = live.find(document.querySelector("[data-live=staircase]"));
      find("alpha").value = "0.01"; find("level").value = 3;
      find("alpha").dispatchEvent(new Event("input", {bubbles: true}));
      find("seed").value = "2"; find("seed").dispatchEvent(new Event("input", {bubbles: true}));
      return find("summary").textContent; })()""")
    assert f"ML-CPC {'−' if bias[2] < 0 else '+'}{abs(bias[2]):.2f}" in said and "seed 2" in said
    hovered = page.run("""(() => {
      const find = live.find(document.querySelector("[data-live=staircase]"));
      const box = find("chart").getBoundingClientRect();
      const clientX = box.left + 0.2 * box.width;
      find("chart").dispatchEvent(new PointerEvent("pointermove", {clientX}));
      return find("summary").textContent; })()""")
    assert "Error at I = 2" in hovered


def test_the_sliders_of_the_caps_move_the_summary(page):
    def summary(**values: int) -> str:
        moves = "".join(f"find('{name}').value = {value};" for name, value in values.items())
        return page.run(
            "(() => { const find = (name) => document.querySelector(`[data-caps='${name}']`);"
            f"{moves} find('alpha').dispatchEvent(new Event('input'));"
            "return find('summary').textContent + ' | ' + find('alpha-value').textContent; })()")

    cap = math.log(128 * 127 + 1)
    first = summary(n=7, m=7, alpha=0)
    assert f"{cap:.2f} nats; a proved lower bound" in first and first.endswith("= 1.00 αmin")
    assert "With negatives from the batch α ≥ 0.0226 is proved." in first
    second = summary(alpha=-4)
    assert f"{cap + math.log(4):.2f} nats; α is below α_min" in second
    assert second.endswith("= 0.250 αmin")
    assert summary(n=0, m=1, alpha=0).startswith("1 anchor, 2 candidates each, 1 negative. ")


@pytest.mark.parametrize("root", DRAWN)
def test_every_slider_answers_an_arrow_key(page, root):
    sliders = f"document.querySelectorAll('[data-live={root}] [type=range]')"
    page.run(f"{sliders}.forEach((each) => {{ each.value = each.defaultValue;"
             "each.dispatchEvent(new Event('input', {bubbles: true})); })")
    for place in range(page.run(f"{sliders}.length")):
        page.run(f"{sliders}[{place}].focus()")
        text = f"document.querySelector('[data-live={root}] [data-live=summary]').textContent"
        before = page.run(text)
        for kind in ("keyDown", "keyUp"):
            page.call("Input.dispatchKeyEvent", type=kind, key="ArrowLeft", code="ArrowLeft",
                      windowsVirtualKeyCode=37)
        assert page.run(text) != before, f"slider {place}"


def test_every_figure_has_words_and_a_fallback():
    figures = [figure for name in ("intro", "live", "lab")
               for figure in FIGURES.findall((ROOT / f"book/{name}.md").read_text())]
    assert len(figures) == 2 + len(DRAWN)
    for figure in figures:
        assert re.search(r'role="img" aria-label="[^"]{60,}', figure)
        assert "Without JavaScript" in figure
        assert len(re.findall("<(?:input|select|textarea)", figure)) <= figure.count("<label")
