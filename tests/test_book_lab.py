"""The lab estimates what the package estimates, refuses in sentences, and keeps samples at home."""

import json

import devtools
import lab
import numpy as np
import pytest
import torch
from scipy.special import ndtri

from mlcpc import canonical, crossfit, samples, valuation


@pytest.fixture(scope="module")
def page(tmp_path_factory, chromium):
    """A tab with the lab."""
    with devtools.chromium() as tab:
        tab.open(lab.write_page(tmp_path_factory.mktemp("lab")))
        tab.run("window.engine = labEngine(); 0")
        yield tab


def listed(values) -> str:
    return json.dumps(np.asarray(values).ravel().tolist())


@pytest.mark.parametrize("bound", ["cpc", "ml_cpc"])
def test_values_and_errors_are_those_of_the_package(page, bound):
    for n, scale in ((2, 1), (7, 3), (40, 10)):
        scores = torch.randn(n, n, dtype=torch.float64) * scale
        value, influence = valuation.Valuation(bound)(scores)
        found = page.run(f"""(() => {{
          const found = engine.valued("{bound}", Float64Array.from({listed(scores)}), {n});
          return [found.value, engine.standardError(found.influence)]; }})()""")
        assert found == pytest.approx([value, valuation.standard_error(influence)], abs=1e-9)


@pytest.mark.parametrize("how", ["ranks", "smooth", "moments"])
def test_columns_are_scaled_as_in_the_package(page, how):
    rng = np.random.default_rng(0)
    x = np.stack([rng.standard_normal(300), rng.integers(0, 5, 300), rng.exponential(size=300)], 1)
    rows = rng.permutation(300)[:200]
    wanted = samples.Standardiser(samples.read("x", x), rows, how)(x)
    found = page.run(f"""(() => {{
      const made = engine.standardised({json.dumps(x.T.tolist())}, {rows.tolist()}, "{how}");
      return [...made.values]; }})()""")
    np.testing.assert_allclose(np.reshape(found, wanted.shape), wanted, atol=1e-6)


def test_quantiles_of_the_normal_law(page):
    p = np.concatenate([np.geomspace(1e-9, 0.5, 150), 1 - np.geomspace(1e-9, 0.5, 150)])
    found = page.run(f"{listed(p)}.map(engine.quantile)")
    np.testing.assert_allclose(found, ndtri(p), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dx, dy, rho", [(1, 1, 0.9), (4, 6, 0.5), (7, 3, 0.1)])
def test_the_normal_pair_is_that_of_the_package(page, dx, dy, rho):
    x = torch.randn(400, dx, dtype=torch.float64)
    y = torch.randn(400, dy, dtype=torch.float64)
    y[:, 0] = rho * x[:, 0] + (1 - rho**2) ** 0.5 * y[:, 0]
    parts = x[:300], y[:300], x[300:], y[300:]
    wanted = canonical.fit(*parts, torch.Generator())
    ratio = canonical.log_ratio(*wanted.coordinates(*parts[2:]), wanted.rho)
    arrays = ",".join(f"Float64Array.from({listed(each)})" for each in parts)
    found = page.run(f"""(() => {{
      const [x, y, vx, vy] = [{arrays}], found = engine.normalPair(x, y, vx, vy, {dx}, {dy});
      return [found.gain, ...found.rho]; }})()""")
    np.testing.assert_allclose(found, [wanted.gain, *wanted.rho.tolist()], atol=1e-7)
    assert ratio.isfinite().all()


def test_the_gradient_is_that_of_differences(page):
    x, y = (np.random.default_rng(k).standard_normal((2, 60)).tolist() for k in (0, 1))
    worst = page.run(f"""(() => {{
      const [x, y] = {json.dumps([x, y])};
      const [rows] = engine.splitsOf(60, 3, engine.stream(0));
      const split = engine.prepared(x, y, rows, {{ width: 5, embedding: 3 }});
      const theta = engine.firstWeights(split.shape, engine.stream(1));
      const at = rows.train.slice(0, 9);
      const of = () => {{
        const gradient = new Float64Array(theta.length);
        return [engine.lossGradient(split, theta, at, gradient), gradient];
      }};
      const [, gradient] = of();
      let worst = 0;
      for (let i = 0; i < theta.length; i += 1) {{
        const kept = theta[i];
        theta[i] = kept + 1e-5; const [high] = of();
        theta[i] = kept - 1e-5; const [low] = of();
        theta[i] = kept;
        worst = Math.max(worst, Math.abs(gradient[i] + (high - low) / 2e-5));
      }}
      return worst; }})()""")
    assert worst < 1e-8


def test_settings_of_the_package_that_the_lab_repeats(page):
    assert page.run("[engine.SETTINGS.every, engine.SETTINGS.rate]") == [50, 2e-3]
    assert page.run("engine.unseen(500, 3, 4)") == pytest.approx(valuation.unseen(500, 3, 4))
    assert (crossfit.BLOCK, crossfit._VALIDATED, crossfit._GAIN) == (2048, 768, 0.002)


@pytest.mark.parametrize("name", ["normal pair", "independent", "cubic"])
def test_the_lab_agrees_with_the_package(page, name):
    x, y = next((x, y) for title, x, y in lab.tables() if title == name)
    page.events.clear()
    assert f"{len(x):,} rows and 2 columns read" in lab.give(page, lab.as_text(x, y))
    said = lab.estimated(page)
    kept = json.loads(lab.GOLDEN.read_text())[name]
    nats = float(said.lower().split("estimate ")[1].split(" ")[0])
    assert abs(nats - max(0.0, kept["mi"])) <= lab.LIMIT
    assert ("at least" in said) == (kept["lower"] > 0)
    shown = "document.querySelector('[data-lab=chart]').checkVisibility()"
    assert page.run(f"{shown} && !document.querySelector('[data-lab=warnings] li')") == (
        kept["lower"] > 0)  # nothing found is a warning
    asked = [each["params"]["request"]["url"] for each in page.events
             if each["method"] == "Network.requestWillBeSent"]
    assert all(url.startswith("blob:") for url in asked)


ROWS = "\n".join(f"{k % 7},{k}" for k in range(150))


@pytest.mark.parametrize("text, said", [
    ("", "There is nothing to read"),
    ("a,b", "no rows below them"),
    ("a\n1\n2", "There is one column; at least two"),
    ("a,b\n1,2\n3,blue", 'Column "b" holds text, "blue" in line 3'),
    ("1,2\n3,0x10", 'Column "column 2" holds text, "0x10" in line 2'),
    ("a,b\n1,2\n3,\n4,NA", 'Column "b" has no value in line 3, and in 2 of 3 rows'),
    ("a,b\n1,2\n3", "Line 3 has 1 cells, and the first line has 2."),
    (",".join(["1"] * 21), "There are 21 columns; the lab takes at most 20."),
    ("\n".join(["1,2"] * 5001), "There are 5,001 rows; the lab takes at most 5,000."),
    ("a;b\n1,5;2", 'Column "a" holds text, "1,5" in line 2: the lab reads numbers with a decimal'),
])
def test_a_bad_table_is_refused_in_a_sentence(page, text, said):
    assert said in lab.give(page, text)
    assert said in lab.estimated(page)  # the button leads nowhere else
    assert page.run("document.querySelectorAll('[data-lab=groups] select').length") == 0


@pytest.mark.parametrize("text, choices, said", [
    (ROWS, ["x", "x"], "No column belongs to y"),
    (ROWS, ["y", "leave out"], "No column belongs to x"),
    ("\n".join(f"1,{k}" for k in range(150)), ["x", "y"], "All columns of x are constant"),
    ("\n".join(f"{k * k},{k % 5}" for k in range(99)), ["x", "y"], "at least 100 are needed"),
])
def test_a_table_that_cannot_be_used_is_refused_in_a_sentence(page, text, choices, said):
    assert "columns read" in lab.give(page, text)
    page.run(f"""document.querySelectorAll('[data-lab=groups] select').forEach(
      (select, k) => {{ select.value = {json.dumps(choices)}[k]; }})""")
    assert said in lab.estimated(page)


def test_copies_and_series_are_told(page):
    rng = np.random.default_rng(0)
    x = np.repeat(rng.standard_normal(150), 2)
    walk = np.cumsum(rng.standard_normal((2, 300)), axis=1)
    quick = "{ width: 2, embedding: 1, steps: 1 }"
    for columns, words in (([x, x**2], "only 150 of 300 rows are distinct"),
                           (walk, "rows are like the row before them")):
        one, two = (json.dumps([each.tolist()]) for each in columns)
        found = page.run(f"engine.estimate({one}, {two}, 0, () => {{}}, {quick}).warnings.join()")
        assert words in found


def test_limits_are_those_of_the_package_and_a_p_value_is_not_called_nothing(page):
    draw = np.random.default_rng(3)
    x, noise = draw.standard_normal((2, 2, 150))
    quick = "{ width: 2, embedding: 1, steps: 1 }"
    said = {"few rows to say how much": 0, "nothing found": 0}
    for seed in range(8):
        y = 0.28 * (seed % 2) * x + noise
        given = f"{x.tolist()}, {y.tolist()}, {seed}"
        found = page.run(f"engine.estimate({given}, () => {{}}, {quick})")
        mi, lower, (low, high) = (found[key] for key in ("mi", "lower", "interval"))
        assert (mi - lower) / 1.645 == pytest.approx((high - low) / 3.92)
        for words in said:
            told = words in "".join(found["warnings"])
            assert not told or lower <= 0 and (found["pValue"] > 0.05) == (words[0] == "n")
            said[words] += told
    assert min(said.values()) > 0


def test_the_same_seed_gives_the_same_number(page):
    draw = np.random.default_rng(0).standard_normal((2, 100)).tolist()
    script = f"engine.estimate([{draw[0]}], [{draw[1]}], %d, () => {{}}, {{ steps: 2 }}).mi"
    assert page.run(script % 3) == page.run(script % 3) != page.run(script % 4)
