"""The benchmark of training steps compares the same work: same losses, same gradients."""

import argparse
import importlib.util
import math
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mlcpc import allpairs, memory, records
from mlcpc.experiments.distill import DistillConfig
from mlcpc.training import generator

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(FOLDER))
    before = sys.modules.pop("allpairs", None)
    spec = importlib.util.spec_from_file_location("benchmark_training", FOLDER / "training.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(FOLDER))
    sys.modules.pop("allpairs")
    if before is not None:
        sys.modules["allpairs"] = before


def test_the_usual_loop_has_our_loss(benchmark, monkeypatch):
    small = replace(benchmark.PRETRAIN, network="resnet8", batch=8, queue=16, dim=4)
    monkeypatch.setattr(benchmark, "PRETRAIN", small)
    loop = benchmark.Usual("cpu")
    x, y = (torch.nn.functional.normalize(torch.randn(8, 4), dim=1) for _ in range(2))
    before = loop.queue.T.clone()
    ours = math.log(17) - allpairs.cpc(x, y, small.temperature, keys=before)
    assert abs(loop.loss(x, y) - ours) < 1e-5
    assert torch.equal(loop.queue.T[:8], y) and torch.equal(loop.queue.T[8:], before[8:])
    first = [each.clone() for each in loop.key_encoder.parameters()]
    loop.step(0)
    loop.step(1)
    moved = zip(first, loop.key_encoder.parameters(), strict=True)
    assert any((one - two).abs().max() > 0 for one, two in moved)


@pytest.mark.parametrize("objective", ["crd", "ml_cpc"])
def test_gathered_rows_have_our_loss(benchmark, monkeypatch, objective):
    small = DistillConfig(count=20, batch=6, dim=8)
    monkeypatch.setattr(benchmark, "DISTILL", small)
    monkeypatch.setattr(benchmark, "SAMPLES", 50)
    ours, rows = (_steps(benchmark.contrast(objective, gathered)) for gathered in (False, True))
    assert torch.allclose(ours, rows, atol=1e-5) and len(set(ours.tolist())) == 3


def _steps(build):
    with torch.random.fork_rng():
        torch.manual_seed(0)  # of the projections
        step = build("cpu")
        return torch.stack([step(k) for k in range(3)])


def test_gathered_rows_have_our_gradient(benchmark):
    ours, rows = memory.SampleMemory(30, 8), benchmark.RowGathering(30, 8)
    rows.load_state_dict(ours.state_dict())
    positions = torch.randint(30, (5, 12), generator=generator(0))
    queries = torch.randn(5, 8)
    found = []
    for each in (ours, rows):
        x = queries.clone().requires_grad_()
        each.scores(x, positions).exp().sum().backward()
        found.append(x.grad)
    assert torch.allclose(*found, rtol=1e-4)


def test_a_peer_that_is_missing_is_skipped(benchmark, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "lightly", None)
    assert "ImportError" in benchmark.measure("lightly", 1)["skipped"] or (
        "ModuleNotFoundError" in benchmark.measure("lightly", 1)["skipped"]
    )


def test_a_measurement(benchmark, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FOLDER.parent), *sys.path]))
    monkeypatch.setenv("MLCPC_WINDOW", "0.2")
    found = benchmark.in_own_process("scores-crd", 1)
    assert len(found["milliseconds"]) >= 5 and found["mebibytes"] > 0
    assert sum(found["milliseconds"]) >= 200


def test_the_bare_networks_are_those_of_a_step(benchmark, monkeypatch):
    small = replace(benchmark.PRETRAIN, network="resnet8", batch=8, queue=16, dim=4)
    monkeypatch.setattr(benchmark, "PRETRAIN", small)
    bare = benchmark.Bare("cpu")
    bare.step(0)
    assert all(each.grad is not None for each in bare.encoder.parameters())
    assert all(each.grad is None for each in bare.key_encoder.parameters())
    assert [each.shape for each in bare.ready] == [(8, 1, 28, 28)] * 2
    table = {"ours-cpc": {8: [{"milliseconds": [2.2]}]}, "bare": {8: [{"milliseconds": [2.0]}]}}
    assert benchmark.targets(table) == []
    [(title, found, kind, limit)] = benchmark.targets(table, "cuda")
    assert title == "CPC, ours: time of a step over its bare networks"
    assert found == pytest.approx(1.1) and (kind, limit) == ("at most", 1.15)


def test_records_hold_what_was_measured(benchmark, tmp_path, monkeypatch):
    def cells(*milliseconds):
        return [{"milliseconds": [each, each + 1], "mebibytes": 5.0} for each in milliseconds]

    table = {
        "ours-cpc": {256: cells(2.0, 4.0, 6.0)},
        "usual": {256: cells(4.0, 4.0, 18.0)},
        "lightly": {256: [{"skipped": "absent"}]},
    }
    arguments = argparse.Namespace(rounds=3, threads=2, device="cpu", network="resnet8x2")
    [record] = benchmark.records_of(table, arguments, 9.0)
    assert records.read(records.write(record, tmp_path).stem, tmp_path) == record
    assert record.name == "pretraining-speed"
    assert record.config["skipped"] == {"lightly": "absent"}
    values = {name: list(each.values) for name, each in record.metrics.items()}
    assert values["ours-cpc milliseconds"] == [2.5, 4.5, 6.5]
    assert values["usual over ours-cpc"] == pytest.approx([4.5 / 2.5, 1.0, 18.5 / 6.5])
    assert values["usual extra memory"] == [5.0] * 3
    assert not any("lightly" in name or "ml-cpc" in name for name in values)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    arguments.device = "cuda"
    [record] = benchmark.records_of(table, arguments, 9.0)
    assert record.name == "pretraining-speed-cuda"
    assert record.command.endswith("--record --device cuda --network resnet8x2")


def test_targets_are_judged_from_ratios_of_a_round(benchmark):
    def cells(milliseconds, mebibytes=10.0):
        return [{"milliseconds": [each], "mebibytes": mebibytes} for each in milliseconds]

    table = {
        "ours-cpc": {256: cells([2.0, 4.0, 6.0])},
        "usual": {256: cells([4.0, 4.0, 18.0])},
        "lightly": {256: [{"skipped": "absent"}]},
        "scores-crd": {64: cells([1.0, 1.0], 6.0)},
        "rows-crd": {64: cells([8.0, 4.0], 100.0)},
    }
    judged = {title: (found, kind, limit) for title, found, kind, limit in benchmark.targets(table)}
    assert judged == {
        "CPC, ours: images a second over the usual loop": (2.0, "at least", 1.0),
        "CRD: times as fast as gathered rows": (6.0, "at least", 5.0),
        "CRD: memory as a share of gathered rows'": (0.06, "at most", 0.05),
    }
