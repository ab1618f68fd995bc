"""The benchmark compares what it says: same value, same work, processes of their own."""

import importlib.util
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mlcpc import allpairs

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


def load(name):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def benchmark():
    return load("allpairs")


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return [
        torch.nn.functional.normalize(torch.randn(40, 16, generator=generator), dim=1)
        for _ in range(2)
    ]


@pytest.mark.parametrize("alpha", [0.2, 1.0, 7.0])
def test_authors_formulation_is_the_same_loss(benchmark, pair, alpha):
    loss = math.log(40 / alpha) - allpairs.ml_cpc(*pair, benchmark.TEMPERATURE, alpha)
    # Their divergence is from the weighted flat softmax: the α of the positives stays inside.
    assert abs(benchmark.authors(*pair, alpha) - loss) < 1e-5


class Products(TorchDispatchMode):
    """Counts the operations of matrix products, those that add in place too."""

    operations = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket.__name__ in ("mm", "addmm", "addmm_"):
            left, right = args[-2:]
            self.operations += 2 * left.shape[0] * left.shape[1] * right.shape[1]
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name, count", [("three-products", 3), ("four-products", 4)])
def test_the_floor_is_bare_products(benchmark, pair, name, count):
    for variant in benchmark.IMPLEMENTATIONS[name].build(*pair):
        with Products() as products:
            variant()
        assert products.operations == count * 2 * 40 * 40 * 16


def test_a_measurement_and_a_peer_that_is_missing(benchmark, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FOLDER.parent), *sys.path]))
    monkeypatch.setenv("MLCPC_WINDOW", "0.2")
    found = benchmark.in_own_process("ours-ml-cpc", 64, 1, 2)
    assert len(found["milliseconds"]) >= 2 and found["mebibytes"] > 0
    assert sum(found["milliseconds"]) >= 200
    assert "GPU only" in benchmark.measure("inf-cl", 64, 1, 2)["skipped"]


def test_targets_are_judged_from_ratios_of_a_round(benchmark):
    def cell(milliseconds, mebibytes=10.0):
        return {"milliseconds": milliseconds, "mebibytes": mebibytes}

    table = {
        "ours-ml-cpc": {8192: [cell([2.0]), cell([4.0]), cell([9.0])], 256: [{"skipped": "x"}]},
        "three-products": {8192: [cell([2.0]), cell([2.0]), cell([3.0])]},
        "authors": {8192: [cell([20.0], 100.0)] * 3},
    }
    assert benchmark.ratios(table, "ours-ml-cpc", "three-products", 8192)["rounds"] == [1, 2, 3]
    judged = {title: (found, limit) for title, found, _, limit in benchmark.targets(table)}
    assert judged["ML-CPC over three products, n = 8192"] == (2.0, 1.2)
    assert judged["memory as a share of the authors', n = 8192"][0] == pytest.approx(0.1)
    assert not any("256" in title for title in judged)


def test_triton_kernel(monkeypatch):
    """Compiled where there is a GPU, elsewhere in the interpreter, which is chosen at import."""
    pytest.importorskip("triton")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FOLDER.parent), *sys.path]))
    monkeypatch.setenv("TRITON_INTERPRET", "0" if torch.cuda.is_available() else "1")
    done = subprocess.run(
        [sys.executable, FOLDER / "allpairs_triton.py", "--check"], capture_output=True, text=True
    )
    errors = [float(line.split()[-1]) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(errors) == 4 and max(errors) < 1e-5, done.stderr
