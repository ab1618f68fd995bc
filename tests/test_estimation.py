"""Training: parity with the usual loop, resume, divergence, summaries, and a reader's own data."""

import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mlcpc import bounds, critics, estimation, problems, runs
from mlcpc.__main__ import main
from mlcpc.estimation import Curves, EstimateConfig, Estimator, StaircaseConfig

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import staircase as benchmark
from test_critics import plain_joint, plain_separable

TINY = StaircaseConfig(
    levels=(1.0, 2.0), steps=6, seeds=(0, 1), dim=3, batch=5, width=8, depth=2, embedding=4
)
EVERY = ("cpc:1", "ml_cpc:0.5", "nwj", "dv", "mine", "mine:0.5", "js", "tuba", "interpolated:0.2")


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


# ---------------------------------------------------------------------------------------------
# Estimators
# ---------------------------------------------------------------------------------------------


def test_estimators_are_named_and_read_back():
    for text in ("ml_cpc:0.1", "smile:5", "nwj", "interpolated:0", "mine:0.5"):
        assert str(Estimator.parse(text)) == text
    assert Estimator.parse("cpc") == Estimator("cpc", 1.0)


@pytest.mark.parametrize(
    "text, message",
    [
        ("infonce", "estimator is 'infonce'; valid: cpc, ml_cpc"),
        ("nwj:1", "nwj has setting 1.0; valid: none"),
        ("cpc:0", "cpc has setting 0.0"),
        ("cpc:x", "estimator is 'cpc:x'; valid: name or name:number"),
        ("mine:1", "mine has setting 1.0"),
        ("interpolated:2", "interpolated has setting 2.0"),
        ("smile:nan", "smile has setting nan"),
    ],
)
def test_bad_estimators_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        Estimator.parse(text)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"task": "cube"}, "task is 'cube'"),
        ({"levels": ()}, "levels is empty"),
        ({"seeds": (1, 1)}, "seeds is .* valid: no value twice"),
        ({"steps": 1}, "steps is 1; valid: an integer of at least 2"),
        ({"batch": 2}, "batch is 2"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"critic": "concat"}, "kind is 'concat'"),
        ({"estimators": ("cpc:6",)}, "alpha is 6.0; valid: 0 < alpha <= m = 5"),
        ({"levels": (-1.0,)}, "mi is -1.0"),
    ],
)
def test_bad_settings_are_refused_before_any_step(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)


def test_promises():
    said = {
        name: estimation.promise(Estimator.parse(name), 128)
        for name in (
            "cpc:1",
            "cpc:0.1",
            "ml_cpc:1",
            "ml_cpc:0.01",
            "ml_cpc:0.001",
            "ml_cpc_fresh:0.01",
            "ml_cpc_fresh:0.001",
            "nwj",
            "dv",
            "smile",
        )
    }
    assert said == {
        "cpc:1": "bound", "cpc:0.1": "not a guaranteed bound",
        "ml_cpc:1": "bound", "ml_cpc:0.01": "bound with fresh negatives",
        "ml_cpc:0.001": "not a guaranteed bound",
        "ml_cpc_fresh:0.01": "bound", "ml_cpc_fresh:0.001": "not a guaranteed bound",
        "nwj": "bound", "dv": "not a guaranteed bound", "smile": "not a guaranteed bound",
    }  # fmt: skip


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
    monkeypatch.setattr(estimation, "_BLOCK", 1)
    names = ("cpc:1", "cpc:0.1", "ml_cpc:1", "ml_cpc:0.1")
    config = replace(TINY, critic=critic, estimators=names, seeds_at_once=2)
    values = estimation.staircase(config).values
    assert values.shape == (2, 4, 12)
    for s, seed in enumerate(config.seeds):
        for e, name in enumerate(names):
            alone = list(benchmark.loop(config, name, Plain(config, seed), seed))
            assert np.abs(values[s, e] - alone).max() < 1e-10


def test_stacking_seeds_changes_nothing(double):
    together = estimation.staircase(replace(TINY, seeds_at_once=2)).values
    apart = estimation.staircase(TINY).values
    assert np.abs(together - apart).max() < 1e-10


def test_an_estimator_does_not_feel_its_neighbours(double):
    """All bounds in one stack, and each alone."""
    config = replace(TINY, estimators=(*EVERY, "smile:1", "ml_cpc_fresh:1"), seeds=(3,))
    together = estimation.staircase(config).values
    assert np.isfinite(together).all()
    for place, name in enumerate(config.estimators):
        if name == "ml_cpc_fresh:1":
            continue  # it draws fresh y, and so other samples than a stack without it
        estimators = (name, "ml_cpc_fresh:1")
        alone = estimation.staircase(replace(config, estimators=estimators)).values
        assert np.abs(together[0, place] - alone[0, 0]).max() < 1e-10


def test_fresh_negatives_are_those_of_a_second_batch(double):
    """At equal critics: J of the diagonal beside the scores with fresh y."""
    estimators = [Estimator.parse("ml_cpc_fresh:0.5")]
    value_of = estimation._Values(estimators, (0,), 3, "cpu")
    scores = torch.randn(1, 1, 4, 8, generator=torch.Generator().manual_seed(0))
    expected = bounds.ml_cpc(scores[..., :4].diagonal(dim1=-2, dim2=-1), scores[..., 4:], 0.5)
    assert torch.equal(value_of(scores, torch.zeros(1, 4, 3)), expected)


def test_samples_do_not_repeat_the_stream_of_the_weights():
    stack = estimation._Stack(TINY, (0,), "cpu")
    drawn = torch.rand(4, generator=stack.generators[0])
    assert not torch.equal(drawn, torch.rand(4, generator=torch.Generator().manual_seed(0)))


def test_training_raises_the_value():
    config = replace(TINY, steps=150, levels=(1.0,), batch=32, width=32, learning_rate=5e-3)
    values = estimation.staircase(replace(config, estimators=EVERY)).values
    assert (values[..., -20:].mean(-1) > values[..., :20].mean(-1) + 0.2).all()
    assert (values[..., -50:].mean((0, 2)) < 1.1).all()


# ---------------------------------------------------------------------------------------------
# Interruptions and divergence
# ---------------------------------------------------------------------------------------------


class Stop(Exception):
    pass


def test_a_stopped_run_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    config = replace(TINY, steps=30, estimators=EVERY)
    monkeypatch.setattr(estimation, "_BLOCK", 5)
    whole = estimation.staircase(config).values
    train_step, count = estimation._Stack._train_step, 0

    def stop_at_40(self, *samples):
        nonlocal count
        count += 1
        if count == 40:
            raise Stop
        return train_step(self, *samples)

    monkeypatch.setattr(estimation._Stack, "_train_step", stop_at_40)
    with pytest.raises(Stop):
        estimation.staircase(config, scratch=tmp_path, save_every=10)
    monkeypatch.setattr(estimation._Stack, "_train_step", train_step)
    assert [path.name for path in tmp_path.iterdir()] == ["seeds-0.safetensors"]
    resumed = estimation.staircase(config, scratch=tmp_path, save_every=10).values
    assert np.array_equal(resumed, whole)
    with pytest.raises(ValueError, match="is of another run: config.batch: 6 here, 5 there"):
        estimation.staircase(replace(config, batch=6), scratch=tmp_path)
    monkeypatch.setattr(runs, "code_hash", lambda names: dict.fromkeys(names, "0" * 64))
    with pytest.raises(ValueError, match="another run: code.estimation.staircase: '0000.* there"):
        estimation.staircase(config, scratch=tmp_path)


def test_devices_that_are_not_there_are_named():
    with pytest.raises(ValueError, match="device is 'tpu'; valid: cpu, cuda"):
        estimation.staircase(StaircaseConfig(), "tpu")


SMALL = ["--steps", "150", "--levels", "(1.0, 2.0)", "--seeds", "(0, 1)", "--width", "16",
         "--batch", "16", "--estimators", "('cpc:1', 'mine')"]  # fmt: skip


def test_a_killed_command_goes_on_to_the_same_record(tmp_path):
    environment = {**os.environ, "MLCPC_RESULTS": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mlcpc", "staircase", *SMALL, "--save_every", "50"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    scratch = tmp_path / ".staircase-gaussian-separable.partial"
    while process.poll() is None and not (scratch / "seeds-1.safetensors").exists():
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "staircase-gaussian-separable.json").exists()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    resumed = runs.read("staircase-gaussian-separable", tmp_path)
    assert not scratch.exists()
    (tmp_path / "staircase-gaussian-separable.json").unlink()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    whole = runs.read("staircase-gaussian-separable", tmp_path)
    assert resumed.metrics == whole.metrics and resumed.arrays == whole.arrays
    assert resumed.profile == "quick" and resumed.command == whole.command


def test_bad_settings_end_the_command_with_a_message(capsys):
    assert main(["staircase", "--task", "cube"]) == 2
    assert "error: task is 'cube'; valid:" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["truncated", "flipped", "foreign"])
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path, damage):
    config = replace(TINY, seeds=(0,))
    estimation.staircase(config, scratch=tmp_path)
    path = tmp_path / "seeds-0.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[-3] ^= 1
    else:
        content = bytearray(b"not a checkpoint")
    path.write_bytes(content)
    with pytest.raises(ValueError, match="seeds-0.safetensors (is not a whole|does not fit)"):
        estimation.staircase(config, scratch=tmp_path)


def test_a_replicate_that_diverges_does_not_stop_the_others(double):
    estimators = ("cpc:1", "nwj", "ml_cpc:1")
    config = replace(TINY, steps=8, seeds=(0,), estimators=estimators)
    calm = estimation._Stack(config, (0,), "cpu")
    wild = estimation._Stack(config, (0,), "cpu")
    with torch.no_grad():
        for parameter in wild.critic.parameters():
            parameter.unflatten(0, (-1, 3))[:, 1] *= 1e60
    calm, wild = (stack.train(None, 500, False)[0] for stack in (calm, wild))
    assert np.isnan(wild[0, 1]).all()
    assert np.array_equal(wild[0, [0, 2]], calm[0, [0, 2]])
    curves = Curves(config, wild)
    cell = estimation.summarise(curves)[2]
    assert cell.estimator == "nwj" and cell.bias is None and cell.diverged == (0,)
    assert "nwj: seed 0 diverged at step 0" in estimation.warnings(curves)
    record = estimation.record(curves, "toy", "none", {})
    assert "bias nwj at 1" not in record.metrics and "bias cpc:1 at 1" in record.metrics
    assert record.arrays["curves"]["nwj"]["mean"][0] is None


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
    (cell,) = estimation.summarise(curves)
    assert cell.bias["values"] == [0.0, 1.5] and cell.bias["mean"] == 0.75
    assert cell.variance["values"] == [0.25, 1.0]
    assert cell.mse["values"] == [0.25, 3.25]
    for bias, variance, mse in zip(
        *(getattr(cell, kind)["values"] for kind in ("bias", "variance", "mse")), strict=True
    ):
        assert abs(bias**2 + variance - mse) < 1e-12
    low, high = cell.bias["interval"]
    assert low == 0.0 and high == 1.5


def test_warnings_say_what_is_wrong_and_only_that():
    generator = np.random.default_rng(0)
    settings = {"steps": 400, "levels": (2.0,), "estimators": ("cpc:1",), "seeds": (0, 1, 2)}
    noise = 0.1 * generator.standard_normal((3, 1, 400))
    assert estimation.warnings(made_curves(1.8 + noise, **settings)) == []
    (said,) = estimation.warnings(made_curves(2.5 + noise, **settings))
    assert said.startswith("cpc:1: 0.50 nats above the truth at 2 nats")
    rising = np.linspace(0, 1, 400) + noise
    (said,) = estimation.warnings(made_curves(rising, **settings))
    assert said.startswith("cpc:1: not converged at 2 nats, 0.25 nats up")
    broken = 1.8 + noise
    broken[1, 0, 77:] = math.nan
    assert "cpc:1: seed 1 diverged at step 77" in estimation.warnings(
        made_curves(broken, **settings)
    )
    low = {**settings, "estimators": ("ml_cpc:0.01",)}
    assert estimation.warnings(made_curves(1.8 + noise, **low)) == [
        "ml_cpc:0.01: not a guaranteed bound"
    ]


# ---------------------------------------------------------------------------------------------
# A reader's own samples
# ---------------------------------------------------------------------------------------------

QUICK = {"steps": 300, "every": 50, "width": 32, "folds": 2, "batch": 128}


def samples(mi=0.8, dim=2, count=1000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return problems.CorrelatedGaussian(mi, dim).sample(count, generator)


def test_estimate_finds_the_information_of_gaussians():
    x, y = samples(count=3000)
    found = estimation.estimate(x, y, **{**QUICK, "steps": 2000}, learning_rate=5e-3)
    assert abs(found.mi - 0.8) < 0.12
    assert found.interval[0] < found.mi < found.interval[1] < found.mi + 0.15
    assert found.warnings == ()
    assert found.curve.shape == (len(found.steps), 2) and found.ceiling == math.log(1500)
    assert str(found).startswith(f"{found.mi:.3f} nats, 95 % interval")
    # Were the critic the log ratio and its normaliser known, this would be the error of the mean.
    ratio = problems.CorrelatedGaussian(0.8, 2).log_ratio(x, y)
    error = float(ratio.std()) / math.sqrt(len(ratio))
    assert 0.8 < (found.mi - found.interval[0]) / 1.96 / error < 1.3


def test_estimate_repeats_and_depends_on_its_seed():
    x, y = samples()
    one, two, other = (estimation.estimate(x, y, seed=seed, **QUICK).mi for seed in (1, 1, 2))
    assert one == two and one != other


def test_arrays_tensors_and_columns_are_taken_alike():
    x, y = samples(dim=1)
    of_tensors = estimation.estimate(x, y, **QUICK).mi
    assert estimation.estimate(x.numpy(), y.numpy(), **QUICK).mi == of_tensors
    assert estimation.estimate(x[:, 0], y.numpy()[:, 0], **QUICK).mi == of_tensors


def test_monotone_maps_of_columns_change_nothing():
    """Standardised by ranks, samples that were bent are the samples that they were."""
    x, y = samples()
    straight = estimation.estimate(x, y, **QUICK).mi
    assert estimation.estimate(x.double().sinh() * 50, y.double() ** 3, **QUICK).mi == straight
    bent = estimation.estimate(x.double().sinh() * 50, y, standardise="moments", **QUICK).mi
    assert bent != straight


def test_independent_samples_have_next_to_no_information():
    x, _ = samples(seed=1)
    _, y = samples(seed=2)
    found = estimation.estimate(x, y, **QUICK)
    assert abs(found.mi) < 0.05


def test_integer_labels_become_classes():
    """y is the sign of x, as the labels 3 and 7: log 2 nats."""
    x = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0))
    labels = torch.where(x[:, 0] > 0, 7, 3)
    found = estimation.estimate(x, labels, **QUICK)
    assert abs(found.mi - math.log(2)) < 0.05
    assert found.critic(x[:4], labels[:4]).shape == (4, 4)
    with pytest.raises(ValueError, match="y has unknown label 5"):
        found.critic(x[:1], torch.tensor([5]))
    with pytest.raises(ValueError, match="y holds 1000 integer labels in 1000 samples"):
        estimation.estimate(x[:1000], np.arange(1000), **QUICK)


def test_the_critic_takes_samples_as_they_were_given():
    x, y = samples(count=2000)
    problem = problems.CorrelatedGaussian(0.8, 2)
    found = estimation.estimate(1e3 * x + 7, y, **QUICK)
    scores = found.critic(1e3 * x[:200] + 7, y[:200])
    ratio = problem.log_ratio(x[:200, None], y[:200]).numpy()
    assert scores.shape == (200, 200)
    assert np.corrcoef(scores.ravel(), ratio.ravel())[0, 1] > 0.9
    assert found.critic(x[:3], y[:5]).shape == (3, 5)
    with pytest.raises(ValueError, match="x has 1 columns; valid: 2"):
        found.critic(x[:3, :1], y[:3])


def test_constant_columns_are_left_out_and_said():
    x, y = samples()
    wide = torch.cat([x, torch.ones(len(x), 2)], dim=1)
    found = estimation.estimate(wide, y, **QUICK)
    assert found.mi == estimation.estimate(x, y, **QUICK).mi
    assert "x has 2 constant columns, left out" in found.warnings


def test_warnings_near_the_ceiling_below_alpha_min_and_unconverged():
    x = torch.randn(200, 1, generator=torch.Generator().manual_seed(0))
    found = estimation.estimate(x, x, **QUICK, learning_rate=5e-3, estimator="cpc:1")
    assert any("near its ceiling of 4.61 nats" in each for each in found.warnings)
    assert any("more samples or fewer folds lift it" in each for each in found.warnings)
    assert any("may give up the guarantee" in each for each in found.warnings)
    found = estimation.estimate(*samples(), **{**QUICK, "steps": 20}, estimator="ml_cpc:0.0001")
    assert "ml_cpc:0.0001 is not a guaranteed bound" in found.warnings
    assert any("not converged in 20 steps" in each for each in found.warnings)


@pytest.mark.parametrize("critic, enough", [("separable", 2048), ("joint", 128)])
def test_more_samples_are_advised_while_they_lift_the_ceiling(critic, enough):
    kind = type("Kept", (), {"name": "x", "kept": np.ones(1, bool)})()
    config = EstimateConfig(critic=critic, folds=2)
    for held_out in (enough - 1, enough):
        said = " ".join(
            estimation._remarks(config, (7.0, 9.0), 7.5, True, 2 * held_out, kind, kind)
        )
        assert ("more samples" in said) == (held_out < enough)
        assert "near its ceiling of 7.50 nats" in said and "a lower alpha" in said


@pytest.mark.parametrize("name", ["cpc:1", "nwj", "dv", "js", "smile"])
@pytest.mark.parametrize("critic", ["separable", "joint", "bilinear"])
def test_every_bound_and_critic_estimates(name, critic):
    found = estimation.estimate(
        *samples(mi=0.4, count=400), **{**QUICK, "steps": 60, "batch": 64}, estimator=name,
        critic=critic,
    )  # fmt: skip
    assert math.isfinite(found.mi) and found.interval[0] < found.interval[1]


def test_candidates_of_the_joint_critic_are_the_own_y_and_others(double):
    """All of them give the value of the whole matrix; fewer give that of a part of it."""
    x, y = (each.double() for each in samples(count=100))
    config = EstimateConfig(estimator="ml_cpc:1", critic="joint", folds=2, width=8)
    folds = estimation._Folds(x, y, config, 0, "cpu")
    rows = folds.tested[:, :12]
    scores = folds.critic(x[rows], y[rows])
    whole = bounds.ml_cpc(*bounds.split(scores))
    assert torch.allclose(folds._values(rows, 99, folds.critic), whole, rtol=0, atol=1e-12)
    away = [round(k * 11 / 3) for k in range(4)]
    assert away == [0, 4, 7, 11]
    negative = torch.stack(
        [scores[:, range(12), [(i + k) % 12 for i in range(12)]] for k in away[1:]], dim=-1
    )
    expected = bounds.ml_cpc(scores.diagonal(dim1=1, dim2=2), negative)
    assert torch.allclose(folds._values(rows, 4, folds.critic), expected, rtol=0, atol=1e-12)


def test_folds_never_meet_what_they_are_tested_on():
    x, y = samples(count=103)
    folds = estimation._Folds(x, y, EstimateConfig(folds=5), 0, "cpu")
    for k in range(5):
        parts = [set(each[k].tolist()) for each in (folds.tested, folds.validated, folds.trained)]
        assert sum(map(len, parts)) == 103 and len(set.union(*parts)) == 103
    tested = folds.tested.flatten().tolist()
    assert len(set(tested)) == len(tested) == 100


def test_the_start_is_the_normal_ratio_of_the_training_part():
    """It has nearly all of a Gaussian's information at once, and never sees the tested rows."""
    x, y = samples(count=2000)
    few = {**QUICK, "steps": 1, "every": 1}
    assert abs(estimation.estimate(x, y, **few).mi - 0.8) < 0.1
    assert estimation.estimate(x, y, **few, start="none").mi < 0.1
    config = EstimateConfig(folds=2, width=8)
    before = estimation._Folds(x, y, config, 0, "cpu")
    changed = x.clone()
    changed[before.tested[0]] += 100
    after = estimation._Folds(changed, y, config, 0, "cpu")
    for one, two in zip(before.critic.fixed.buffers(), after.critic.fixed.buffers(), strict=True):
        assert torch.equal(one[0], two[0])
    assert not torch.equal(before.critic.fixed.mean_x[1], after.critic.fixed.mean_x[1])


def test_the_start_is_dropped_where_the_validation_part_rejects_it():
    """Uncorrelated, but dependent: any normal ratio but 0 loses, so the shrinkage is 1."""
    generator = torch.Generator().manual_seed(0)
    x, sign = torch.randn(600, 1, generator=generator), torch.rand(600, 1, generator=generator)
    y = x * (sign > 0.5).float().mul(2).sub(1)
    folds = estimation._Folds(x, y, EstimateConfig(folds=2, width=8), 0, "cpu")
    scores = folds.critic.fixed(x[folds.tested], y[folds.tested])
    assert scores.abs().max() < 0.1


def test_weights_are_averaged_over_steps(double):
    """A plain loop over the same batches, whose average is written out."""
    x, y = (each.double() for each in samples(count=200))
    config = EstimateConfig(
        estimator="ml_cpc:1",
        folds=2,
        width=8,
        batch=16,
        steps=12,
        every=6,
        learning_rate=0.01,
        start="none",
    )
    folds, plain = (estimation._Folds(x, y, config, 0, "cpu") for _ in range(2))
    curve, steps, converged = folds.train(progress=False)
    assert steps.tolist() == [0, 6, 12] and not converged and (curve[2] > curve[:2]).all()
    weights = list(plain.critic.parameters())
    optimiser = torch.optim.Adam(weights, 0.01)
    averaged = [each.detach().clone() for each in weights]
    for step in range(12):
        places = torch.randint(plain.trained.shape[1], (2, 16), generator=plain.generator)
        rows = plain.trained.gather(1, places)
        optimiser.zero_grad()
        (-bounds.ml_cpc(*bounds.split(plain.critic(x[rows], y[rows]))).sum()).backward()
        optimiser.step()
        keep = min(0.99, step / (step + 10))
        averaged = [
            keep * a + (1 - keep) * w.detach() for a, w in zip(averaged, weights, strict=True)
        ]
    for ours, expected in zip(folds.critic.parameters(), averaged, strict=True):
        assert torch.allclose(ours, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "count, starts",
    [(4096, [0]), (4100, [0, 2]), (9000, [0, 1226, 2452]), (12288, [0, 2048, 4096])],
)
def test_many_held_out_pairs_are_scored_in_equal_blocks_that_cover_them(count, starts):
    x, y = samples(count=count)
    folds = estimation._Folds(x, y, EstimateConfig(folds=2, width=8), 0, "cpu")
    values, _, ceiling = folds.test()
    assert ceiling == math.log(2048)
    parts = [folds._values(folds.tested[:, a : a + 2048], 0, folds.critic) for a in starts]
    assert starts[-1] + 2048 == folds.tested.shape[1]
    assert np.allclose(values, torch.stack(parts).mean(0).detach(), rtol=0, atol=1e-6)


def test_more_samples_never_lower_the_ceiling():
    ceilings = []
    for count in (300, 4000, 4094, 4096, 4098, 6000, 8190, 8194):
        x, y = samples(count=count)
        folds = estimation._Folds(x, y, EstimateConfig(folds=2, width=2, start="none"), 0, "cpu")
        ceilings.append(folds.test()[2])
    assert ceilings == sorted(ceilings) and ceilings[-1] == math.log(2048)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"start": "zero"}, "start is 'zero'; valid: normal, none"),
        ({"y": np.zeros((999, 2)) + np.arange(2)}, "y is constant|y has 999 samples"),
        ({"x": np.full((1000, 2), np.nan)}, "x contains nan in row 0; valid: finite numbers"),
        ({"x": np.ones((1000, 2))}, "x is constant; valid: at least one column that varies"),
        ({"x": np.zeros((1000, 2, 2))}, r"x has shape \(1000, 2, 2\); valid: \(N,\) or \(N, d\)"),
        ({"x": np.array(["a"] * 1000)}, "x is <U1; valid: numbers"),
        ({"widht": 3}, "setting widht is unknown; valid: batch, candidates, critic"),
        ({"folds": 1}, "folds is 1; valid: an integer of at least 2"),
        ({"candidates": 1}, "candidates is 1; valid: an integer of at least 2"),
        ({"folds": 100}, "x has 1000 samples; valid: at least 2000 for 100 folds"),
        ({"estimator": "tuba"}, "estimator is 'tuba'; valid: cpc, ml_cpc"),
        ({"standardise": "no"}, "standardise is 'no'; valid: ranks, moments"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
    ],
)
def test_bad_input_is_named(change, message):
    x, y = samples()
    with pytest.raises(ValueError, match=message):
        estimation.estimate(**{"x": x, "y": y, **QUICK, **change})


def test_lengths_must_agree():
    x, y = samples()
    with pytest.raises(ValueError, match="y has 999 samples; valid: as many as x, 1000"):
        estimation.estimate(x, y[:-1])
