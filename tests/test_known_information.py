"""The staircase of known bits: samples, shared critics, what training and records hold."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT

from mlcpc import datasets, records
from mlcpc.__main__ import main
from mlcpc.experiments import base
from mlcpc.experiments import known_information as known
from mlcpc.experiments.known_information import BIT, KnownInformationConfig
from mlcpc.stacks import Stack


@pytest.fixture
def path(tmp_path):
    """Embeddings of two classes that a line tells apart, under labels 4 and 9."""
    rng = np.random.default_rng(1)
    labels = np.array([4, 9] * 40)
    vectors = rng.normal(size=(80, 3)) * 0.3
    vectors[:, 0] += np.where(labels == 9, 2.0, -2.0)
    np.savez(tmp_path / "two.npz", embeddings=vectors, labels=labels)
    return tmp_path / "two.npz"


TINY = KnownInformationConfig(
    sources=2, levels=(1.0, 2.0), steps=20, tested=4, width=16, depth=2, batch=16,
    estimators=("cpc:1", "ml_cpc:0.5", "mine", "js", "smile:5", "smile:inf"), seeds=(0, 1),
)  # fmt: skip


def job(path):
    return base.job_for(TINY, data=str(path))


def tiny_images(many=3):
    shown = torch.randint(0, 256, (30, 1, 4, 6), dtype=torch.uint8)
    labels, names = torch.arange(30) % many, tuple("abcdef"[:many])
    return datasets.ImageSet(shown, labels, names, "tiny", "a test")


def test_levels_are_flips():
    config = KnownInformationConfig()
    assert list(config.channel) == [2, 4, 6, 8, 10] and config.channel[10.0] == 0
    other = KnownInformationConfig(flips=(0.5, 0.1, 0.0))
    assert list(other.channel.values()) == [0.5, 0.1, 0.0]
    assert list(other.channel)[0] == 0 and list(other.channel)[2] == pytest.approx(10)


@pytest.mark.parametrize("settings, message", [
    ({"flips": (0.6,)}, "flips is 0.6; valid: a finite number of at least 0 and of at most 0.5"),
    ({"flips": (-0.1,)}, "flips is -0.1"),
    ({"levels": (2.0, 11.0)}, "levels is 11.0; valid: at most 10, a bit for each of the sources"),
    ({"classes": (1,)}, r"classes is \(1,\); valid: two numbers"),
    ({"classes": (1, 1)}, "no value twice"),
    ({"estimators": ("ml_cpc:65",)}, "alpha is 65"),
    ({"dataset": "sentences"}, "dataset is 'sentences'; valid: embeddings, fashion-mnist"),
    ({"sources": 0}, "sources is 0"),
])  # fmt: skip
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        KnownInformationConfig(**settings)


def test_samples_of_images_are_pooled_and_of_two_classes():
    data = tiny_images()
    config = replace(TINY, dataset="digits", classes=(2, 0), pool=2)
    x, labels = known.samples(data, data, config)
    assert x.shape == (20, 6) and labels.tolist() == [1, 0] * 10
    standard = (data.images[0, 0].double() / 255 - data.mean) / data.std
    assert x[0, 0].item() == pytest.approx(standard[:2, :2].mean().item(), abs=1e-5)
    with pytest.raises(ValueError, match="pool is 4; valid: a divisor of the sides.* 4 × 6"):
        known.samples(data, data, replace(config, pool=4))
    with pytest.raises(ValueError, match="classes is 3; valid: 0 to 2, the classes of tiny"):
        known.samples(data, data, replace(config, classes=(0, 3)))


def test_embeddings_are_as_they_come(path):
    given = job(path)
    x, labels = known.samples(given.train, given.train, TINY)
    assert torch.equal(x, given.train.vectors) and set(labels.tolist()) == {0, 1}
    with pytest.raises(ValueError, match="pool is 2; valid: 1, since embeddings have no squares"):
        known.samples(given.train, given.train, replace(TINY, pool=2))


def test_the_classifier_is_asked_on_held_out_samples(path):
    given = job(path)
    assert known.confusion(TINY, given) == [[8, 0], [0, 8]]
    wrong = replace(given.test, labels=1 - given.test.labels)
    assert known.confusion(TINY, replace(given, test=wrong)) == [[0, 8], [8, 0]]


def test_shared_critics_give_the_values_of_their_own(path):
    """Jensen-Shannon and all clips of SMILE follow one gradient: one critic, the same numbers."""

    class Alone(known.KnownStack):
        def __init__(self, *arguments):
            original = Stack.__init__

            def unshared(self, *given, share):
                original(self, *given)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Stack, "__init__", unshared)
                super().__init__(*arguments)

    given, found = job(path), []
    for kind in (known.KnownStack, Alone):
        stack = kind(TINY, 0, given)
        known.training.fit(stack)
        found.append((stack.state.values, stack.state.held, stack.critic.replicates))
    (shared, held, few), (own, own_held, many) = found
    assert (few, many) == (4, 6)
    assert torch.allclose(shared, own, atol=2e-4) and torch.allclose(held, own_held, atol=2e-4)
    assert not torch.equal(shared[..., 3], shared[..., 4])


def test_training_learns_and_the_average_of_mine_is_its_own(path):
    config = replace(
        TINY, steps=120, estimators=("cpc:1", "mine"), seeds=(0,), learning_rate=5e-3
    )
    result = known.train(config, 0, job(path))
    values = known.windows(result.tensors["values"].numpy() / BIT, config).mean(-1)
    held = result.tensors["held"].numpy().T / BIT
    assert values.shape == held.shape == (2, 2)
    assert 0.6 < values[0, 0] < 1.1 and 1.6 < values[0, 1] < 2.05
    assert 0.6 < held[0, 0] < 1.2 and 1.6 < held[0, 1] < 2.05
    stack = known.KnownStack(config, 0, job(path))
    known.training.fit(stack)
    before = stack.value_of.averages.clone()
    stack.tested(1)
    assert torch.equal(stack.value_of.averages[:, 1], before[:, 1])


def test_the_record_holds_values_bands_and_confusion(path, results):
    found = base.perform(known.EXPERIMENT, TINY, job(path), "run")
    assert found.profile == "quick" and found.arrays["confusion"] == [[8, 0], [0, 8]]
    assert set(found.arrays["bands"]) == {"1", "2"}
    assert found.arrays["bands"]["2"] == pytest.approx([2, 2, 2])
    curves = known._joined(TINY, base.results_of(known.EXPERIMENT, TINY, job(path)))[0]
    metric = found.metrics["value smile:5 at 2"]
    assert metric.unit == "bits" and len(metric.values) == 2
    assert metric.values == pytest.approx(curves[:, 4, 30:].mean(1))
    assert found.metrics["variance smile:5 at 2"].values == pytest.approx(curves[:, 4, 30:].var(1))
    assert len(found.metrics) == 3 * 6 * 2 and "--data two" in found.command
    assert found.provenance["data"].keys() == {"two train", "two test"}


def test_errors_of_the_classifier_open_the_band():
    ends = known.bands(KnownInformationConfig(), [[2472, 28], [37, 2463]])
    assert [each.high / BIT for each in ends.values()] == pytest.approx([2, 4, 6, 8, 10])
    assert ends[10.0].fano < ends[10.0].low < ends[10.0].high - 1
    assert ends[10.0].low / BIT == pytest.approx(8.2788, abs=1e-4)  # not the line of ten bits


def test_who_diverged_or_still_rises_is_said():
    config = replace(TINY, estimators=("cpc:1", "nwj"), steps=40)
    values = np.zeros((2, 2, 80))
    values[:, 0, 70:] = 1.0  # the last quarter of the last level
    values[1, 1, 5:] = np.nan
    said = known.warnings(config, values)
    assert said == [
        "cpc:1: not converged at 2 bits, 1.00 bits up in its last half", "nwj: diverged",
    ]  # fmt: skip


@pytest.mark.parametrize("settings, full", [
    ({}, True), ({"dataset": "digits", "seeds": (3, 4)}, True), ({"steps": 3999}, False),
    ({"width": 128}, False), ({"seeds": (0,)}, False), ({"sources": 5, "levels": (2.0,)}, False),
])  # fmt: skip
def test_a_run_shorter_than_the_published_is_quick(settings, full):
    assert known.EXPERIMENT.full(KnownInformationConfig(**settings)) is full


def test_commands_end_with_a_message(path, results, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MLCPC_DATA", raising=False)
    few = ["--steps", "2", "--sources", "2", "--levels", "2", "--width", "4", "--batch", "4",
           "--tested", "1", "--seeds", "0", "--estimators", "cpc:1"]  # fmt: skip
    np.savez(tmp_path / "nan.npz", embeddings=np.full((4, 2), np.nan), labels=[0, 0, 1, 1])
    np.savez(tmp_path / "alone.npz", embeddings=np.ones((3, 2)), labels=["up", "up", "down"])
    np.savez(tmp_path / "other.npz", x=np.ones(3))
    for data, message in (
        ("nan.npz", "is not finite in 4 rows, the first is row 0; valid: finite numbers"),
        ("alone.npz", "class 'down' of"), ("other.npz", "lacks embeddings and labels"),
        ("gone.npz", "holds no npz file"),
    ):  # fmt: skip
        assert main(["run", "known-information", *few, "--data", str(tmp_path / data)]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ") and message in said, said
    assert main(["run", "known-information", *few]) == 2
    assert "MLCPC_DATA is not set" in capsys.readouterr().err
    assert main(["run", "known-information", *few, "--data", str(path), "--name", "run"]) == 0
    assert records.read("run").metrics["value cpc:1 at 2"].unit == "bits"
    assert math.isfinite(records.read("run").metrics["held out cpc:1 at 2"].values[0])


@pytest.mark.parametrize("name", ["known-information-sentences", "known-information-images"])
def test_records_of_the_book_fit_their_own_band(name):
    found = records.read(name, ROOT / "results")
    config = KnownInformationConfig.from_dict(found.config)
    ends = known.bands(config, found.arrays["confusion"])
    for bits, each in ends.items():
        assert found.arrays["bands"][f"{bits:g}"] == pytest.approx(
            [each.low / BIT, each.fano / BIT, each.high / BIT], abs=1e-9
        )
    assert len(found.seeds) >= 2 and not found.provenance["commit"].endswith("dirty")
    for estimator in config.estimators:
        values = [found.metrics[f"value {estimator} at {bits:g}"].values for bits in ends]
        assert all(len(each) == len(found.seeds) for each in values)
        if estimator.startswith(("cpc", "ml_cpc")):  # no batch can say more
            cap = known.bounds.ceiling(config.batch, float(estimator.split(":")[1])) / BIT
            assert max(max(each) for each in values) <= cap + 1e-6
