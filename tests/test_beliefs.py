"""Encoders that beliefs are asked of: pairs, backgrounds, groups of candidates, bad input."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from mlcpc import bounds
from mlcpc.datasets import ImageSet
from mlcpc.experiments import base, beliefs, factor_views
from mlcpc.experiments.beliefs import BeliefsConfig


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def few(each=6, classes=3, side=8, seed=0):
    """A small set of grey images."""
    count = each * classes
    shown = torch.randint(0, 256, (count, 1, side, side), generator=generator(seed))
    labels = torch.arange(count) % classes
    names = tuple("abcdef"[:classes])
    return ImageSet(shown.to(torch.uint8), labels, names, "few", "a test")


# ---------------------------------------------------------------------------------------------
# Pairs of one class
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [
    [7, -2, 7, -2, 7, 7, -2, -2], ["cat", "dog", "dog", "cat"], [0.5, 0.5, 3.0, 3.0],
    [True, False, True, False, True],
])  # fmt: skip
def test_any_labels_are_mapped_and_no_sample_stands_twice(labels):
    pairs = beliefs.same_class_pairs(labels, generator())
    assert all(labels[i] == labels[j] and i != j for i, j in pairs.tolist())
    assert len(pairs.flatten().unique()) == pairs.numel()
    assert len(pairs) == sum(labels.count(kind) // 2 for kind in set(labels))


@pytest.mark.parametrize("labels, names, said", [
    ([0, 0, 1], ("shirt", "boot"), "class 'boot' has one sample; valid: at least 2 of each"),
    ([5, 5, 9], (), "class '9' has one sample"),
    (["a", "b", "a"], (), "class 'b' has one sample"),
    ([], (), "labels has shape (0,); valid: (N,)"),
    ([[0, 0]], (), "labels has shape (1, 2); valid: (N,)"),
    ([0.0, float("nan")], (), "labels holds nan; valid: finite numbers"),
])  # fmt: skip
def test_bad_labels_are_refused_by_name(labels, names, said):
    with pytest.raises(ValueError) as error:
        beliefs.same_class_pairs(labels, generator(), names)
    assert said in str(error.value)


def test_parts_share_no_image_and_have_all_classes():
    data = few()
    data.images[:, 0, :2, :2] = torch.arange(len(data), dtype=torch.uint8)[:, None, None]
    found = beliefs.parts(data, few(seed=1), 4)
    marks = [set(each.images[:, 0, 0, 0].tolist()) for each in (found.learned, found.held)]
    assert not marks[0] & marks[1] and marks[0] | marks[1] == set(range(len(data)))
    assert torch.bincount(found.learned.labels).tolist() == [4, 4, 4]
    assert found.test.images.shape == (18, 1, 4, 4)


def test_parts_refuse_colour_and_a_class_that_is_too_small():
    with pytest.raises(ValueError, match="learned is 5, and class 'a' of few has 6 images; valid"):
        beliefs.parts(few(), few(), 5)
    wide = few()
    colour = ImageSet(wide.images.repeat(1, 3, 1, 1), wide.labels, wide.classes, "few", "a test")
    with pytest.raises(ValueError, match="few has 3 channels; valid: 1"):
        beliefs.parts(colour, colour, 4)


def arm(**more):
    config = BeliefsConfig(
        study="backgrounds", learned=4, width=8, features=4, dim=4, batch=12, steps=5, pairs=40
    )
    return {**beliefs.arms(config)["own 0.5"], "arm": "own", "seed": 0, **more}


def test_pairs_to_train_on_are_of_one_class_and_backgrounds_are_shared_if_asked():
    found = beliefs.parts(few(), few(), 4)
    for label in range(3):  # one picture a class
        rows = found.learned.labels == label
        found.learned.images[rows] = torch.full((4, 4), 40 * label, dtype=torch.uint8)
    for name, same in (("shared", True), ("strength", False)):
        of = beliefs.Images(arm(strength=1.0, **{name: True} if same else {}), found)
        x, y = of.drawer()(40, generator())
        assert torch.equal(x, y) == same
    x, y = beliefs.Images(arm(strength=0.0), found).drawer()(40, generator())
    assert torch.equal(x, y)


def test_backgrounds_are_seen_where_the_image_is_dark():
    patterns = beliefs.backgrounds(3, (4, 4))
    assert patterns.amin((1, 2, 3)).tolist() == [0] * 3
    assert patterns.amax((1, 2, 3)).tolist() == [255] * 3
    pictures = torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None].expand(2, 1, 4, 4)
    seen = beliefs.composed(pictures, torch.tensor([1, 1]), patterns, 1.0)
    assert torch.equal(seen[0], patterns[1]) and (seen[1] == 255).all()
    half = beliefs.composed(pictures, torch.tensor([1, 1]), patterns, 0.5)
    assert (half[0].float() - patterns[1] / 2).abs().max() <= 0.5
    assert beliefs.composed(pictures, torch.tensor([1, 1]), patterns, 0.0) is pictures


# ---------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["cpc", "ml_cpc"])
def test_a_batch_in_groups_is_the_bound_of_each_group(objective):
    """Naive: every group alone, its scores one by one."""
    of = arm(objective=objective, m=4, alpha=0.5, batch=12)
    encoder = beliefs.fresh(of, 16, 0).double()
    x, y = torch.randn(2, 12, 16, generator=generator(), dtype=torch.float64)
    found = beliefs.values_of(encoder, x, y, of)
    for group in range(3):
        rows = slice(4 * group, 4 * group + 4)
        one, two = (F.normalize(encoder(each[rows]), dim=1) for each in (x, y))
        scores = torch.tensor([[float(a @ b) / 0.2 for b in two] for a in one]).double()
        naive = beliefs.BOUNDS[objective](*bounds.split(scores), 0.5)
        assert abs(found[group] - naive) < 1e-6
    assert (found <= bounds.ceiling(4, 0.5)).all()


def test_gradient_of_a_batch_in_groups_is_the_mean_of_theirs():
    of, (x, y) = arm(m=4), torch.randn(2, 12, 16, generator=generator(), dtype=torch.float64)
    encoder = beliefs.fresh(of, 16, 0).double()
    whole = torch.autograd.grad(beliefs.values_of(encoder, x, y, of).mean(), encoder.parameters())
    rows = [slice(4 * group, 4 * group + 4) for group in range(3)]
    split = [torch.autograd.grad(beliefs.values_of(encoder, x[r], y[r], of).mean(),
                                 encoder.parameters()) for r in rows]  # fmt: skip
    for place, one in enumerate(whole):
        assert (one - torch.stack([each[place] for each in split]).mean(0)).abs().max() < 1e-10


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_encoders_have_features_and_unit_embeddings(kind):
    encoder = beliefs.fresh(arm(network=kind), 49, 3)
    pixels = torch.randn(5, 49, generator=generator())
    assert encoder.features(pixels).shape == (5, 4)
    assert (encoder(pixels).norm(dim=1) - 1).abs().max() < 1e-6
    again = beliefs.fresh(arm(network=kind), 49, 3)
    assert torch.equal(encoder(pixels), again(pixels))


def test_every_study_has_arms_that_can_be_run():
    config = BeliefsConfig()
    counts = {}
    for study in beliefs.STUDIES:
        found = beliefs.arms(replace(config, study=study))
        counts[study] = len(found)
        for each in found.values():
            assert each["batch"] % each["m"] == 0 and 0 < each["alpha"] <= each["m"]
    assert counts["measures"] >= 12 and counts["batches"] == 9
    shared = factor_views.arms(factor_views.FactorViewsConfig())
    assert set(factor_views.SHARED) < set(shared)


@pytest.mark.parametrize("network", ["pixels", "random"])
def test_what_is_not_trained_has_no_training_value(network):
    job = base.job_for(beliefs.Beliefs.tiny)
    settings = {**beliefs.arms(beliefs.Beliefs.tiny)["own 0.5"], "network": network,
                "arm": network, "seed": 0}  # fmt: skip
    numbers = beliefs.measured(settings, job).values["numbers"]
    assert "value" not in numbers and 0.2 < numbers["linear"] <= 1
