"""The staircase: parity with the usual loop, resume, divergence, summaries."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mlcpc import critics, training
from mlcpc.experiments import staircase
from mlcpc.experiments.staircase import Curves, StaircaseConfig, StaircaseStack

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import staircase as benchmark
from test_critics import plain_joint, plain_separable

TINY = StaircaseConfig(
    levels=(1.0, 2.0), steps=6, seeds=(0, 1), dim=3, batch=5, width=8, depth=2, embedding=4
)
EVERY = ("cpc:1", "ml_cpc:0.5", "nwj", "dv", "mine", "mine:0.5", "js", "tuba", "interpolated:0.2")


def trained(stack):
    """Values (steps, seeds, estimators) of a stack."""
    training.fit(stack)
    return stack.state.values


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("change, message", [
    ({"critic": "concat"}, "critic is 'concat'; valid: separable"),
    ({"estimators": ("cpc:6",)}, "alpha is 6.0; valid: 0 < alpha <= m = 5"),
    ({"levels": (-1.0,)}, "levels is -1.0; valid: a finite number of at least 0"),
])  # fmt: skip
def test_bad_settings_are_refused_before_any_step(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)


# ---------------------------------------------------------------------------------------------
# The stack against the usual loop
# ---------------------------------------------------------------------------------------------


class Plain(torch.nn.Module):
    """A member of a stack as the loop's critic: plain layers with the same first weights."""

    def __init__(self, config, seed):
        super().__init__()
        stack = critics.build(config.critic_config(), config.dim, config.dim, (seed,))
        transcribe = plain_separable if config.critic == "separable" else plain_joint
        self.scores = transcribe(stack, 0)
        cells = [each.cell_contents for each in self.scores.__closure__]
        nets = [net for cell in cells for net in (cell if isinstance(cell, list) else [cell])]
        self.nets = torch.nn.ModuleList(nets)

    def forward(self, x, y):
        return self.scores(x, y)


@pytest.mark.parametrize("critic", ["separable", "joint"])
def test_every_curve_equals_the_loop(critic, double, monkeypatch):
    """Stacked over seeds and estimators, to 1e-10 in float64; samples drawn step by step."""
    monkeypatch.setattr(staircase, "_BLOCK", 1)
    names = ("cpc:1", "cpc:0.1", "ml_cpc:1", "ml_cpc:0.1")
    config = replace(TINY, critic=critic, estimators=names, seeds_at_once=2)
    values = staircase.train(config).values
    assert values.shape == (2, 4, 12)
    for s, seed in enumerate(config.seeds):
        for e, name in enumerate(names):
            alone = list(benchmark.loop(config, name, Plain(config, seed), seed))
            assert np.abs(values[s, e] - alone).max() < 1e-10


def test_stacking_seeds_changes_nothing(double):
    together = staircase.train(replace(TINY, seeds_at_once=2)).values
    apart = staircase.train(TINY).values
    assert np.abs(together - apart).max() < 1e-10


def test_an_estimator_does_not_feel_its_neighbours(double):
    """All bounds in one stack, and each alone."""
    config = replace(TINY, estimators=(*EVERY, "smile:1", "ml_cpc_fresh:1"), seeds=(3,))
    together = staircase.train(config).values
    assert np.isfinite(together).all()
    for place, name in enumerate(config.estimators):
        if name == "ml_cpc_fresh:1":
            continue  # it draws fresh y, and so other samples than a stack without it
        estimators = (name, "ml_cpc_fresh:1")
        alone = staircase.train(replace(config, estimators=estimators)).values
        assert np.abs(together[0, place] - alone[0, 0]).max() < 1e-10


def test_samples_do_not_repeat_the_stream_of_the_weights():
    drawn = torch.rand(4, generator=StaircaseStack(TINY).generators[0])
    assert not torch.equal(drawn, torch.rand(4, generator=torch.Generator().manual_seed(0)))


def test_training_raises_the_value():
    config = replace(TINY, steps=150, levels=(1.0,), batch=32, width=32, learning_rate=5e-3)
    values = staircase.train(replace(config, estimators=EVERY)).values
    assert (values[..., -20:].mean(-1) > values[..., :20].mean(-1) + 0.2).all()
    assert (values[..., -50:].mean((0, 2)) < 1.1).all()


# ---------------------------------------------------------------------------------------------
# Interruptions and divergence
# ---------------------------------------------------------------------------------------------


def test_a_replicate_that_diverges_does_not_stop_the_others(double):
    estimators = ("cpc:1", "nwj", "ml_cpc:1")
    config = replace(TINY, steps=8, seeds=(0,), estimators=estimators)
    calm, wild = StaircaseStack(config), StaircaseStack(config)
    with torch.no_grad():
        for parameter in wild.critic.parameters():
            parameter.unflatten(0, (-1, 3))[:, 1] *= 1e60
    calm, wild = (trained(stack).permute(1, 2, 0).numpy() for stack in (calm, wild))
    assert np.isnan(wild[0, 1]).all()
    assert np.array_equal(wild[0, [0, 2]], calm[0, [0, 2]])
    curves = Curves(config, wild)
    found = staircase.metrics(curves)
    assert found["bias nwj at 1"].values == (None,) and found["bias cpc:1 at 1"].numbers
    assert "nwj: seed 0 diverged at step 0" in staircase.warnings(curves)
    assert staircase.thinned(curves)["curves"]["nwj"]["mean"][0] is None


# ---------------------------------------------------------------------------------------------
# Summaries
# ---------------------------------------------------------------------------------------------


def made_curves(values, **change):
    config = replace(TINY, **change)
    return Curves(config, np.asarray(values))


def test_bias_variance_and_mse_of_known_curves():
    """Two seeds, one level: the first half of the steps does not count."""
    values = [[[9, 9, 1.0, 2.0]], [[9, 9, 2.0, 4.0]]]
    curves = made_curves(values, steps=4, levels=(1.5,), estimators=("cpc:1",))
    found = staircase.metrics(curves)
    bias, variance, mse = (found[f"{kind} cpc:1 at 1.5"].values
                           for kind in ("bias", "variance", "mse"))  # fmt: skip
    assert bias == (0.0, 1.5) and variance == (0.25, 1.0) and mse == (0.25, 3.25)
    with_one_lost = np.asarray(values)
    with_one_lost[0, 0, 3] = math.nan
    lost = staircase.metrics(replace(curves, values=with_one_lost))
    assert lost["bias cpc:1 at 1.5"].values == (None, 1.5)


def test_warnings_say_what_is_wrong_and_only_that():
    generator = np.random.default_rng(0)
    settings = {"steps": 400, "levels": (2.0,), "estimators": ("cpc:1",), "seeds": (0, 1, 2)}
    noise = 0.1 * generator.standard_normal((3, 1, 400))
    assert staircase.warnings(made_curves(1.8 + noise, **settings)) == []
    (said,) = staircase.warnings(made_curves(2.5 + noise, **settings))
    assert said.startswith("cpc:1: 0.50 nats above the truth at 2 nats")
    rising = np.linspace(0, 1, 400) + noise
    (said,) = staircase.warnings(made_curves(rising, **settings))
    assert said.startswith("cpc:1: not converged at 2 nats, 0.25 nats up")
    broken = 1.8 + noise
    broken[1, 0, 77:] = math.nan
    assert "cpc:1: seed 1 diverged at step 77" in staircase.warnings(
        made_curves(broken, **settings)
    )
    low = {**settings, "estimators": ("ml_cpc:0.01",)}
    assert staircase.warnings(made_curves(1.8 + noise, **low)) == [
        "ml_cpc:0.01: not a guaranteed bound"
    ]


class Stop(Exception):
    pass


def test_a_stopped_stack_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    """Averages of MINE, learned baselines and Adam, stopped in the middle of a block."""
    config = replace(TINY, steps=30, estimators=EVERY)
    monkeypatch.setattr(staircase, "_BLOCK", 5)
    whole, path = trained(StaircaseStack(config)), tmp_path / "stack"
    stopped = StaircaseStack(config)
    step = stopped.step

    def stop_at_40(epoch, place):
        if epoch == 8:
            raise Stop
        return step(epoch, place)

    stopped.step = stop_at_40
    with pytest.raises(Stop):
        training.fit(stopped, path)
    resumed = StaircaseStack(config)
    assert len(training.fit(resumed, path)) == 12
    assert torch.equal(resumed.state.values, whole) and whole.isfinite().all()
    assert resumed.value_of.averages is resumed.state.averages  # what MINE reads is what is kept
