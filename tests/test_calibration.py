"""Benchmarks of estimate: truths and summary of the calibration, a run that is killed; targets."""

import importlib.util
import json
import sys

import numpy as np
import pytest
from conftest import ROOT

from mlcpc import problems


def benchmark(name):
    path = ROOT / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def calibration():
    return benchmark("calibration")


def test_truths_are_those_of_the_problems(calibration):
    rng = np.random.default_rng(0)
    for rows, noise in ((50, 0.1), (50, 0.4)):
        truth = calibration.additive(rows, noise)(rng)[2]
        assert abs(truth - float(problems.AdditiveUniform(noise).mi)) < 1e-6
    known = problems.beyond_gaussian()
    for name, dim, freedom in (("student 1x1 dof 1", 1, 1), ("student 5x5 dof 2", 5, 2)):
        truth = calibration.student(50, dim, freedom, 0.0)(rng)[2]
        assert abs(truth - float(known[name].mi)) < 1e-6
    x, y, truth, _ = calibration.labels(100_000, 3, 1.5)(rng)
    one = np.exp(-((x[:, None] - 1.5 * np.arange(3)) ** 2) / 2)
    ratio = np.log(one[np.arange(len(x)), y] / one.mean(1))
    assert abs(ratio.mean() - truth) < 5 * ratio.std() / np.sqrt(len(x))


def test_forty_kinds_with_truths_that_do_not_depend_on_chance(calibration):
    assert len(calibration.KINDS) == 40
    for name, draw in calibration.KINDS.items():
        x, y, truth, _ = draw(np.random.default_rng(0))
        assert len(x) == len(y) >= 200 and truth >= -1e-9, name
        assert ("independent" in name) == (truth < 1e-9), name


def line(truth, mi, lower, p_value=0.5, warnings=()):
    return {"kind": f"{truth}", "truth": truth, "mi": mi, "lower": lower, "p_value": p_value,
            "warnings": list(warnings), "cpu_seconds": 1.0}  # fmt: skip


def test_summary_counts_what_it_says(calibration):
    found = calibration.summary(
        [line(1.0, 0.5, 0.4, warnings=["few rows"]), line(1.0, 0.6, 1.1), line(1.0, 0.9, 0.8),
         line(0.0, -0.01, -0.02, p_value=0.03), line(0.0, 0.0, -0.1, p_value=0.6)]
    )  # fmt: skip
    assert found["lower limit below the truth"] == 0.8
    assert found["misses above 25 %"] == 2 and found["misses that are warned of"] == 0.5
    assert found["p-values at most 0.05"] == 0.5 and found["independent data sets"] == 2


def test_a_killed_run_goes_on(calibration, tmp_path, monkeypatch, capsys):
    path, asked = tmp_path / "lines.jsonl", []

    def measure(kind, seed):
        asked.append((kind, seed))
        if len(asked) == 5:
            raise KeyboardInterrupt
        return {**line(1.0, 0.9, 0.8), "kind": kind, "seed": seed}

    monkeypatch.setattr(calibration, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        calibration.main([str(path), "--seeds", "1"])
    with path.open("a") as file:
        file.write('{"kind": "cut')
    assert calibration.main([str(path), "--seeds", "1"]) == 0
    assert len(asked) == 41 and len(set(asked)) == 40
    said = capsys.readouterr().out
    assert json.loads(said[said.rindex("\n{") :])["data sets"] == 40


def test_targets_of_cost_are_met_or_missed():
    cost = benchmark("estimation")
    x, y = cost.Case(100_000, 2, 1.0, 1.0, columns=3).draw()
    rho = np.corrcoef(x.T, y.T)[[0, 1, 2], [3, 4, 5]]
    assert np.allclose(-np.log1p(-(rho**2)) / 2, [0.5, 0.5, 0.0], atol=0.02)
    name, other = "10,000 rows, 5 + 5", "10,000 rows, 5 + 5, independent"
    row = {"cpu seconds": 5.5, "gibibytes": 1.0, "nats": 2.04, "warnings": []}
    said = dict(cost.verdicts({name: row, other: {**row, "cpu seconds": 4.0, "nats": 0.06}}))
    assert [key for key, held in said.items() if not held] == [
        f"{name}: at most 5 s", f"{other}: within 0.05 nats, or a warning",
    ]  # fmt: skip
