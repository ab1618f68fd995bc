"""Peers get the samples that everybody gets, and what fails or does not apply is said."""

import importlib.util
import json
import math
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from mlcpc import problems, records

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def peers():
    spec = importlib.util.spec_from_file_location("benchmark_peers", FOLDER / "peers.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def drawn(peers, tmp_path):
    path = tmp_path / "samples.npz"
    return path, peers.draw(60, 0, path)


def fails(x, y, seed):
    raise RuntimeError("no convergence")


def package_of(peers, **methods):
    methods = {name: peers.Method(run, "neural", "s", n) for name, (run, n) in methods.items()}
    return peers.Package("numpy", ("numpy",), methods)


def request(drawn, method, problem="sparse 3x3"):
    path, digests = drawn
    return {
        "method": method,
        "problem": problem,
        "seed": 3,
        "path": str(path),
        "sha256": digests[problem],
    }


def test_samples_repeat_differ_by_seed_and_keep_the_precision(peers, drawn, tmp_path):
    path, digests = drawn
    assert set(digests) == set(problems.beyond_gaussian())
    assert peers.draw(60, 0, tmp_path / "again.npz") == digests
    other = peers.draw(60, 1, tmp_path / "other.npz")
    assert not set(other.values()) & set(digests.values())
    x, y = peers.load(path, "dense 5x5", digests["dense 5x5"])
    assert x.shape == y.shape == (60, 5) and x.dtype == y.dtype == np.float64
    assert torch.get_default_dtype() == torch.float32


def test_problems_with_one_base_have_noise_of_their_own(peers, drawn):
    """The half-cube of sparse 3x3 is no map of the samples of sparse 3x3."""
    path, digests = drawn
    plain, _ = peers.load(path, "sparse 3x3", digests["sparse 3x3"])
    bent, _ = peers.load(path, "half-cube sparse 3x3", digests["half-cube sparse 3x3"])
    straight = np.sign(bent) * np.abs(bent) ** (1 / 1.5)
    assert abs(np.corrcoef(plain[:, 0], straight[:, 0])[0, 1]) < 0.6


def test_samples_that_are_not_the_ones_are_refused(peers, drawn, tmp_path):
    path, digests = drawn
    with np.load(path) as file:
        arrays = dict(file)
    arrays["dense 5x5 y"] = arrays["dense 5x5 y"].copy()
    arrays["dense 5x5 y"][7, 1] += 1e-12
    damaged = tmp_path / "damaged.npz"
    np.savez(damaged, **arrays)
    with pytest.raises(ValueError, match="samples of dense 5x5 in .* have sha256 .*; valid: "):
        peers.load(damaged, "dense 5x5", digests["dense 5x5"])
    peers.load(damaged, "sparse 3x3", digests["sparse 3x3"])
    swapped = peers.digest(arrays["sparse 3x3 y"], arrays["sparse 3x3 x"])
    assert swapped != digests["sparse 3x3"]


def test_an_answer_says_value_failure_or_what_is_taken(peers, drawn):
    package = package_of(
        peers,
        mean=(lambda x, y, seed: x.mean() * 0 + seed, math.inf),
        rich=(lambda x, y, seed: {"value": np.float32(0.5), "interval": [0, 1]}, math.inf),
        column=(lambda x, y, seed: 1.0, 1),
        broken=(fails, math.inf),
        nothing=(lambda x, y, seed: math.nan, math.inf),
    )
    found = peers.answer(package, request(drawn, "mean"))
    assert found["value"] == 3 and found["seconds"] >= 0 and found["cpu_seconds"] >= 0
    found = peers.answer(package, request(drawn, "rich"))
    assert found["value"] == 0.5 and found["interval"] == [0, 1] and json.dumps(found)
    assert "takes 1 column" in peers.answer(package, request(drawn, "column"))["skipped"]
    assert peers.answer(package, request(drawn, "column", "normal 1x1"))["value"] == 1
    failed = peers.answer(package, request(drawn, "broken"))["failed"]
    assert failed == "RuntimeError: no convergence"
    assert peers.answer(package, request(drawn, "nothing"))["failed"] == "value nan"


def test_solved_is_within_a_factor(peers):
    assert peers.solved(1.4, 1.0) and peers.solved(1.0, 1.4) and peers.solved(0.7, 1.0)
    assert not any(peers.solved(value, 1.0) for value in (1.6, 0.6, 0.0, -1.0))


def test_metrics_are_medians_of_each_seed(peers):
    rows = [
        {"method": "a", "problem": name, "seed": seed, "value": value}
        for seed, values in ((0, (1.0, 1.3, 3.0)), (1, (1.2, 0.9, 1.0)))
        for name, value in zip("pqr", values, strict=True)
    ] + [{"method": "b", "problem": "p", "seed": 0, "failed": "x"}]
    found = peers.metrics(rows, dict.fromkeys("pqr", 1.0), [0, 1])
    assert np.allclose(found["median |error| a"].values, [0.3, 0.1])
    assert found["solved a"].values == (2, 3) and "median |error| b" not in found


def options(**changes):
    given = {"package": "mlcpc", "python": sys.executable, "methods": None, "problems": None}
    given["tasks"] = None
    return Namespace(**{**given, "seeds": [0], "count": 10_000, "name": None, **changes})


def test_command_names_no_place_of_this_machine(peers):
    assert peers._command(options()) == "python benchmarks/peers.py mlcpc"
    said = peers._command(options(package="ennemi", python="/home/me/bin/python", seeds=[0, 1]))
    assert said == ("python benchmarks/peers.py ennemi --python ENVIRONMENT/bin/python --seeds 0 1")


@pytest.mark.parametrize("change, message", [
    ({"methods": ["smiel"]}, "methods has 'smiel' for mlcpc; valid: estimate"),
    ({"problems": ["cube"]}, r"problems is \['cube'\]; valid: normal 1x1, "),
])  # fmt: skip
def test_bad_options_are_named(peers, change, message):
    with pytest.raises(ValueError, match=message):
        peers.make(options(**change))


def test_a_package_that_is_absent_is_skipped_with_the_reason(peers, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLCPC_RESULTS", str(tmp_path))
    if importlib.util.find_spec("bmi"):
        pytest.skip("benchmark-mi is here")
    peers.make(options(package="benchmark-mi"))
    said = capsys.readouterr().out
    assert said == "skipped benchmark-mi: ModuleNotFoundError: No module named 'bmi'\n"
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_dies_is_a_failure_and_is_started_again(peers, drawn):
    worker = peers.Worker("mlcpc", sys.executable)
    assert worker.hello["numpy"] == np.__version__
    worker.process.kill()
    worker.process.wait()
    failed = worker.ask(request(drawn, "estimate"))
    assert "the process ended with status -9" in failed["failed"]
    with pytest.raises(ValueError, match="ValueError: samples of sparse 3x3 .* have sha256"):
        worker.ask({**request(drawn, "estimate"), "sha256": "0"})
    worker.close()


def test_a_run_goes_on_and_its_record_holds_every_row(peers, tmp_path, monkeypatch):
    monkeypatch.setenv("MLCPC_RESULTS", str(tmp_path))
    asked = []

    class Fake:
        hello = {"python": "3", "numpy": "2"}

        def __init__(self, name, python):
            pass

        def ask(self, request):
            asked.append(request)
            return {"value": 0.4, "seconds": 2.0, "cpu_seconds": 1.0}

        def close(self):
            pass

    monkeypatch.setattr(peers, "Worker", Fake)
    given = options(package="benchmark-mi", methods=["CCA"], count=30, python="elsewhere")
    peers.make(given)
    record = records.read("peers-benchmark-mi", tmp_path)
    assert record.profile == "quick" and record.provenance["versions"] == Fake.hello
    assert len(record.arrays["rows"]) == len(problems.beyond_gaussian()) == len(asked)
    assert record.provenance["wall_seconds"] == 2.0 * len(asked)
    assert record.config["methods"]["CCA"]["family"] == "closed form"
    assert "KSG" in record.config["not run"]
    truth = record.arrays["truths"]["dense 5x5"]
    assert truth == problems.beyond_gaussian()["dense 5x5"].mi
    peers.make(Namespace(**{**vars(given), "methods": ["CCA", "MINE"]}))
    new = asked[len(record.arrays["rows"]):]
    assert {each["method"] for each in new} == {"MINE"}
