"""The sweep of weights trains what it says, writes it by its name, and goes on after a kill."""

import dataclasses
import importlib.util
import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from mlcpc import bounds, estimation, problems, runs

FILE = Path(__file__).resolve().parent.parent / "benchmarks" / "choosing_alpha.py"
SMALL = {
    "tasks": (("gaussian", 3), ("cubic-rotated", 2)),
    "batches": (4, 8),
    "levels": (0.5, 1.0),
    "ratios": (0.5, 1.0, 64.0),
    "steps": 40,
    "seeds": (0, 1),
    "width": 16,
    "depth": 1,
}
ARGUMENTS = [part for key, value in SMALL.items() for part in (f"--{key}", str(value))]


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark_choosing_alpha", FILE)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("MLCPC_RESULTS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("batch", [3, 16, 64, 100, 256, 1000])
def test_weights_are_multiples_of_the_edge_up_to_one(benchmark, batch):
    ratios = (0.0625, 0.25, 1.0, 4.0, 16.0, 64.0, 1e6)
    found, edge = benchmark.weights(batch, ratios), bounds.alpha_min(batch, batch)
    assert found == sorted(set(found)) and found[-1] == 1.0
    below = [ratio for ratio in ratios if ratio * edge < 1]
    assert np.allclose(np.array(found[: len(below)]) / edge, below, rtol=1e-3)
    at_edge = estimation.Estimator("ml_cpc", found[below.index(1.0)])
    assert estimation.promise(at_edge, batch) == "bound with fresh negatives"
    lower = estimation.Estimator("ml_cpc", found[below.index(1.0) - 1])
    assert estimation.promise(lower, batch) == "not a guaranteed bound"


def test_names_of_estimators_keep_the_weight(benchmark):
    for staircase in benchmark.SweepConfig().staircases():
        kept = [estimation.Estimator.parse(name).setting for name in staircase.estimators[1:]]
        assert kept == benchmark.weights(staircase.batch, benchmark.SweepConfig().ratios)


def test_staircases_are_trained_as_the_sweep_says(benchmark):
    config = benchmark.SweepConfig(**SMALL)
    staircases = list(config.staircases())
    for staircase in staircases:
        for name in ("levels", "steps", "seeds", "width", "depth", "learning_rate"):
            assert getattr(staircase, name) == getattr(config, name)
    places = [((each.task, each.dim), each.batch) for each in staircases]
    assert places == [(task, batch) for task in config.tasks for batch in config.batches]


def test_a_shorter_sweep_is_quick(benchmark):
    config = benchmark.SweepConfig()
    assert benchmark.profile_of(config) == "full"
    for shorter in ({"steps": config.steps - 1}, {"seeds": config.seeds[1:]}):
        assert benchmark.profile_of(dataclasses.replace(config, **shorter)) == "quick"


def test_the_halves_differ_in_task_and_dimension(benchmark):
    tasks = benchmark.SweepConfig().tasks
    assert all(task in problems.STAIRCASES for task, _ in tasks)
    derive, test = tasks[:2], tasks[2:]
    for place in (0, 1):
        assert not {each[place] for each in derive} & {each[place] for each in test}


def test_networks_have_the_size_of_those_of_estimate(benchmark):
    ours, theirs = benchmark.SweepConfig(), estimation.EstimateConfig()
    assert (ours.width, ours.depth) == (theirs.width, theirs.depth)
    staircase = next(ours.staircases())
    assert (staircase.critic, staircase.embedding) == (theirs.critic, theirs.embedding)


def test_record_holds_what_the_staircases_gave(benchmark, results):
    assert benchmark.main([*ARGUMENTS, "--name", "small"]) == 0
    assert [path.name for path in results.iterdir()] == ["small.json"]
    record = runs.read("small", results)
    assert record.profile == "quick" and record.seeds == [0, 1] and not runs.stale(record)
    config = benchmark.SweepConfig(**SMALL)
    for staircase in config.staircases():
        # One seed a stack: as when each is trained alone.
        alone = dataclasses.replace(staircase, seeds_at_once=1)
        for cell in estimation.summarise(estimation.staircase(alone)):
            for kind in ("bias", "mse"):
                name = f"{kind} {staircase.task}-{staircase.dim} n={staircase.batch} "
                name += f"{cell.estimator} at {cell.truth:g}"
                expected = getattr(cell, kind)["values"]
                assert np.allclose(record.metrics[name]["values"], expected, atol=1e-4)
    weights = [len(benchmark.weights(n, config.ratios)) + 1 for n in config.batches]
    assert len(record.metrics) == 2 * 2 * sum(weights) * len(config.levels)
    said = [line for line in record.arrays["warnings"] if "not a guaranteed bound" in line]
    assert len(said) == 4  # the lowest weight of each task and batch


def test_the_command_in_a_record_makes_it_again(benchmark, results):
    benchmark.main([*ARGUMENTS, "--name", "small"])
    record = runs.read("small", results)
    (results / "small.json").unlink()
    python, script, *arguments = shlex.split(record.command)
    assert (python, script) == ("python", "benchmarks/choosing_alpha.py")
    assert arguments == [*ARGUMENTS, "--name", "small"]
    benchmark.main(arguments)
    assert runs.read("small", results).metrics == record.metrics


def test_a_killed_sweep_goes_on(benchmark, results, monkeypatch):
    benchmark.main([*ARGUMENTS, "--name", "small"])
    whole = runs.read("small", results).metrics
    summarise, calls = estimation.summarise, []

    def kill_at_third(curves):
        calls.append(curves)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return summarise(curves)

    monkeypatch.setattr(estimation, "summarise", kill_at_third)
    with pytest.raises(KeyboardInterrupt):
        benchmark.main([*ARGUMENTS, "--name", "again"])
    assert not (results / "again.json").exists()
    (scratch,) = results.glob(".again-*")
    assert len(list(scratch.iterdir())) == 3
    trained = []
    step = estimation._Stack._block
    monkeypatch.setattr(
        estimation._Stack, "_block", lambda self: (trained.append(self.config.batch), step(self))
    )
    monkeypatch.setattr(estimation, "summarise", summarise)
    benchmark.main([*ARGUMENTS, "--name", "again"])
    assert set(trained) == {8}  # the fourth staircase alone
    assert runs.read("again", results).metrics == whole
    assert not list(results.glob(".again-*"))


def test_other_code_does_not_take_over_checkpoints(benchmark, results, monkeypatch):
    monkeypatch.setattr(benchmark, "sweep", lambda config, scratch: (scratch.mkdir(), 1 / 0))
    for code in ("a", "b"):
        monkeypatch.setattr(runs, "code_hash", lambda names, code=code: {"x": code})
        with pytest.raises(ZeroDivisionError):
            benchmark.main(ARGUMENTS)
    assert len(list(results.iterdir())) == 2


def test_a_seed_that_diverged_stops_the_sweep(benchmark, results, monkeypatch):
    monkeypatch.setattr(
        estimation._Values, "__call__", lambda self, scores, x: scores.mean((-2, -1)) * float("nan")
    )
    with pytest.raises(RuntimeError, match=r"gaussian-3 n=4 cpc:1: seeds \(0, 1\) diverged"):
        benchmark.main(ARGUMENTS)


@pytest.mark.parametrize(
    "argument, value, message",
    [
        ("batches", "()", "batches is (); valid: at least one"),
        ("ratios", "(1.0, 1.0)", "ratios is (1.0, 1.0); valid: at least one, no value twice"),
        ("ratios", "(0.0,)", "ratios is (0.0,); valid: above 0"),
        ("tasks", "(('spiral', 3),)", "task is 'spiral'; valid: gaussian"),
        ("batches", "(2,)", "batch is 2; valid: an integer of at least 3"),
        ("seeds", "(0, 0)", "seeds is (0, 0); valid: no value twice"),
    ],
)
def test_bad_settings_are_named(benchmark, results, capsys, argument, value, message):
    assert benchmark.main([f"--{argument}", value]) == 2
    assert message in capsys.readouterr().err
    assert not list(results.iterdir())


def test_the_record_in_the_book_is_that_of_the_defaults(benchmark):
    path = FILE.parent.parent / "results" / "choosing-alpha.json"
    if not path.is_file():
        pytest.skip("results/choosing-alpha.json is not there yet")
    record = runs.read("choosing-alpha", path.parent)
    own = json.loads(json.dumps(dataclasses.asdict(benchmark.SweepConfig())))
    assert record.config == own and record.profile == "full"
    assert record.command == "python benchmarks/choosing_alpha.py"
