"""The sweep of weights trains what it says and names what it gave."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mlcpc import bounds, estimation, estimators, problems, records
from mlcpc.experiments import base, choosing_alpha, staircase
from mlcpc.experiments.choosing_alpha import ChoosingAlphaConfig

TINY = choosing_alpha.EXPERIMENT.tiny


@pytest.mark.parametrize("batch", [3, 16, 64, 100, 256, 1000])
def test_weights_are_multiples_of_the_edge_up_to_one(batch):
    ratios = (0.0625, 0.25, 1.0, 4.0, 16.0, 64.0, 1e6)
    found, edge = choosing_alpha.weights(batch, ratios), bounds.alpha_min(batch, batch)
    assert found == sorted(set(found)) and found[-1] == 1.0
    below = [ratio for ratio in ratios if ratio * edge < 1]
    assert np.allclose(np.array(found[: len(below)]) / edge, below, rtol=1e-3)
    at_edge = estimators.Estimator("ml_cpc", found[below.index(1.0)])
    assert estimators.promise(at_edge, batch) == "bound with fresh negatives"
    lower = estimators.Estimator("ml_cpc", found[below.index(1.0) - 1])
    assert estimators.promise(lower, batch) == "not a guaranteed bound"


def test_names_of_estimators_keep_the_weight():
    for each in ChoosingAlphaConfig().staircases().values():
        kept = [estimators.Estimator.parse(name).setting for name in each.estimators[1:]]
        assert kept == choosing_alpha.weights(each.batch, ChoosingAlphaConfig().ratios)


def test_staircases_are_trained_as_the_sweep_says():
    config = TINY
    staircases = list(config.staircases().values())
    for each in staircases:
        for name in ("levels", "steps", "seeds", "width", "depth", "learning_rate"):
            assert getattr(each, name) == getattr(config, name)
    places = [((each.task, each.dim), each.batch) for each in staircases]
    assert places == [(task, batch) for task in config.tasks for batch in config.batches]


def test_a_shorter_sweep_is_quick():
    config = ChoosingAlphaConfig()
    assert choosing_alpha.EXPERIMENT.full(config)
    for shorter in ({"steps": config.steps - 1}, {"seeds": config.seeds[1:]}):
        assert not choosing_alpha.EXPERIMENT.full(dataclasses.replace(config, **shorter))


def test_the_halves_differ_in_task_and_dimension():
    tasks = ChoosingAlphaConfig().tasks
    assert all(task in problems.STAIRCASES for task, _ in tasks)
    derive, test = tasks[:2], tasks[2:]
    for place in (0, 1):
        assert not {each[place] for each in derive} & {each[place] for each in test}


def test_networks_have_the_size_of_those_of_estimate():
    ours, theirs = ChoosingAlphaConfig(), estimation.EstimateConfig().sized(10_000)
    assert (ours.width, ours.depth) == (theirs.width, theirs.depth)
    first = next(iter(ours.staircases().values()))
    assert (first.critic, first.embedding) == ("separable", theirs.embedding)


def test_metrics_are_what_the_staircases_gave():
    results = base.results_of(choosing_alpha.EXPERIMENT, TINY)
    found = choosing_alpha.EXPERIMENT.metrics(TINY, results)
    for place, each in TINY.staircases().items():
        # One seed a stack: as when each is trained alone.
        alone = staircase.metrics(staircase.train(dataclasses.replace(each, seeds_at_once=1)))
        for name, metric in alone.items():
            kind, estimator, _, level = name.split()
            if kind == "variance":
                continue
            mine = found.pop(choosing_alpha.metric_name(kind, place, estimator, float(level)))
            assert mine.unit == metric.unit
            assert np.allclose(mine.values, metric.values, rtol=0, atol=1e-4)
    assert not found
    said = choosing_alpha.EXPERIMENT.arrays(TINY, results)["warnings"]
    said = [line for line in said if "not a guaranteed bound" in line]
    assert len(said) == 4  # the lowest weight of each task and batch


def test_the_record_in_the_book_is_that_of_the_defaults():
    folder = Path(__file__).parent.parent / "results"
    record = records.read("choosing-alpha", folder)
    assert ChoosingAlphaConfig.from_dict(record.config) == ChoosingAlphaConfig()
    assert record.profile == "full" and base.state(record) == "current"
    assert record.command == "mlcpc run choosing-alpha"
