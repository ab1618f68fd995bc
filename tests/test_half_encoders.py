"""Encoders of image halves, levels of a bound, dependent pairs: and what is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mlcpc import bounds, critics, datasets, exact, half_encoders, statistics, training
from mlcpc.__main__ import main
from mlcpc.experiments import base, critic_capacity, dependent_pairs, matched_bound
from mlcpc.experiments.dependent_pairs import SharedGaussian

IMAGES = {key: datasets.load("digits", key) for key in ("train", "test")}


def stack(encoder="mlp", widths=(8, 4), kind="bilinear", level=None, **more):
    given = {"seeds": (3, 5), "batch": 16, "steps": 4, "learning_rate": 1e-2, "probed": 200}
    return half_encoders.HalvesStack(
        IMAGES, ("cpc:1", "nwj"), encoder=encoder, widths=widths, level=level,
        critic=critics.CriticConfig(kind, 6, 1, 4), **(given | more),
    )  # fmt: skip


def test_a_stack_scores_as_each_member_alone():
    """The conv and the perceptron, of a naive transcription with one replicate's weights."""
    for encoder, widths in (("mlp", (8, 4)), ("conv", (3, 5, 4))):
        made = half_encoders.Encoded(
            encoder, widths, critics.CriticConfig("bilinear"), (4, 8), (0, 1), 2
        ).double()
        x, y = torch.rand(2, 4, 6, 32, dtype=torch.float64)
        scores = made(x, y)
        part = made.of_x
        if encoder == "mlp":
            hidden = (x[2] @ part.weights[0][2] + part.biases[0][2]).relu()
            code = hidden @ part.weights[1][2] + part.biases[1][2]
        else:
            conv = torch.nn.functional.conv2d
            hidden = conv(x[2].view(6, 1, 4, 8), part.first[2], stride=2, padding=2).relu()
            hidden = conv(hidden, part.second[2], stride=2, padding=2).relu()
            mean = hidden.mean((1, 2, 3), keepdim=True)
            spread = (hidden - mean).square().mean((1, 2, 3), keepdim=True)
            hidden = (hidden - mean) / (spread + 1e-5).sqrt()
            code = hidden.mean((2, 3)) @ part.last[2] + part.bias[2]
        naive = code @ made.critic.weight[2] @ made.of_y(y)[2].T
        assert (scores[2] - naive).abs().max() < 1e-10
        assert scores.shape == (4, 6, 6)
        first = next(part.parameters())
        assert torch.equal(first[0], first[1]) and not torch.equal(first[0], first[2])


@pytest.mark.parametrize("kind", critic_capacity.KINDS)
def test_gradients_reach_both_encoders(kind):
    made = stack(kind=kind)
    made.begin(0)
    made.step(0, 0)
    for part in (made.critic.of_x, made.critic.of_y):
        assert all(bool((each.grad != 0).flatten(1).any(1).all()) for each in part.parameters()
                   if each is not part.biases[-1])  # fmt: skip


def test_a_level_is_held_from_both_sides():
    made = stack(level=0.3)
    values = torch.tensor([[0.1, 0.5]], requires_grad=True)
    made.objective(values).sum().backward()
    assert values.grad.tolist() == [[1.0, -1.0]]
    assert stack().objective(values) is values


def test_the_held_out_bound_is_of_test_images():
    made = stack()
    training.fit(made)
    x, y = made.data["test"]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:1000]
    replicate, found = 3, []  # of the second seed, the second estimator
    for part in order.split(16)[: len(order) // 16]:
        with torch.no_grad():
            one, two = (each[part].expand(4, -1, -1) for each in (x, y))
            scores = made.critic(one, two)[replicate]
        positive, negative = bounds.split(scores)
        found.append(bounds.nwj(positive + 1, negative + 1).double())
    naive = torch.stack(found).mean()
    assert abs(made.state.on_sets[-1, 1, 1, 1] - naive) < 1e-5
    assert made.state.on_sets.shape == (1, 2, 2, 2)


def test_codes_are_those_of_the_top_half():
    made = stack()
    codes = made.codes("train")
    assert codes.shape == (4, 200, 4)
    with torch.no_grad():
        alone = made.critic.of_x(made.data["train"][0][:200].expand(4, -1, -1))
    assert (codes - alone).abs().max() < 1e-5


@pytest.mark.parametrize("change, said", [
    ({"encoder": "deep"}, "encoder is 'deep'; valid: mlp, conv"),
    ({"encoder": "conv"}, "widths is .* two numbers of channels and the length of the code"),
    ({"batch": 400}, "batch is 400; valid: at most 359"),
    ({"probed": 9999}, "probed is 9999; valid: at most 1438"),
    ({"kind": "loud"}, "kind is 'loud'; valid: separable"),
])  # fmt: skip
def test_wrong_stacks_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        stack(**change)


# ---------------------------------------------------------------------------------------------
# Analysis of variance
# ---------------------------------------------------------------------------------------------


def test_variance_against_a_regression():
    """Sums of squares as the fall of the residual when indicator columns are added."""
    table = np.random.default_rng(4).normal(size=(2, 3, 4))
    found = statistics.variance(table.tolist(), ("one", "two"))
    i, j, s = (each.ravel() for each in np.indices(table.shape))

    def left(*columns):
        design = np.column_stack([np.ones(24), *columns])
        return ((table.ravel() - design @ np.linalg.lstsq(design, table.ravel())[0]) ** 2).sum()

    one, two, both, seed = ([(place == k) * 1.0 for k in range(place.max() + 1)]
                            for place in (i, j, 3 * i + j, s))  # fmt: skip
    assert abs(found["one"].squares - (left() - left(*one))) < 1e-10
    assert abs(found["two"].squares - (left() - left(*two))) < 1e-10
    assert abs(found["interaction"].squares - (left(*one, *two) - left(*both))) < 1e-10
    assert abs(found["seed"].squares - (left() - left(*seed))) < 1e-10
    by_seed = [[(place == k) * 1.0 for k in range(place.max() + 1)]
               for place in (4 * i + s, 4 * j + s)]  # fmt: skip
    assert abs(found["one × seed"].squares - (left(*one, *seed) - left(*by_seed[0]))) < 1e-10
    assert abs(found["two × seed"].squares - (left(*two, *seed) - left(*by_seed[1]))) < 1e-10
    assert abs(found["rest"].squares - left(*both, *by_seed[0], *by_seed[1])) < 1e-10
    assert found["rest"].freedom == 6 and found["interaction"].freedom == 2
    assert abs(sum(each.share for each in found.values()) - 1) < 1e-10


def test_two_levels_are_the_paired_t_test():
    from scipy.stats import ttest_rel

    table = np.random.default_rng(5).normal(size=(2, 3, 4))
    found = statistics.variance(table.tolist(), ("one", "two"))["one"]
    naive = ttest_rel(table[0].mean(0), table[1].mean(0))
    assert abs(found.f - naive.statistic**2) < 1e-10 and abs(found.p - naive.pvalue) < 1e-10


def test_tables_without_a_variance_are_refused():
    for table in ([[[1.0, 2.0]], [[1.0, 2.0]]], [[[1.0], [2.0]]] * 2, [[[1.0, math.nan]] * 2] * 2):
        with pytest.raises(ValueError, match="valid: finite"):
            statistics.variance(table, ("one", "two"))


# ---------------------------------------------------------------------------------------------
# Levels, cells, commands
# ---------------------------------------------------------------------------------------------


def test_a_level_above_the_ceiling_is_refused():
    most = bounds.ceiling(64)
    matched_bound.MatchedBoundConfig(levels=(most - 0.01,))
    with pytest.raises(ValueError, match="levels is 4.2.*ceiling of cpc:1 with a batch of 64"):
        matched_bound.MatchedBoundConfig(levels=(1.0, 4.2))
    matched_bound.MatchedBoundConfig(levels=(4.2,), estimators=("nwj",))  # has no ceiling
    matched_bound.MatchedBoundConfig(levels=(4.2,), estimators=("ml_cpc:0.5",))


def test_a_missed_level_is_named():
    experiment = matched_bound.EXPERIMENT
    config = experiment.tiny
    found = experiment.metrics(config, base.results_of(experiment, config))
    assert matched_bound.missed(found, replace(config, levels=(0.5,)), 0.5) == [
        f"{encoder} {name}" for encoder in config.encoders for name in config.estimators
        if abs(found[f"training bound {encoder} {name} at 0.5"].mean - 0.5) > 0.2
    ]  # fmt: skip


@pytest.mark.parametrize("line", [
    "critic_capacity --critics deep", "critic_capacity --estimators mine",
    "critic_capacity --batch 99999", "critic_capacity --probed 999999",
    "matched_bound --levels 9", "matched_bound --levels 0", "matched_bound --encoders resnet",
    "matched_bound --critic deep", "matched_bound --channels 8",
    "dependent_pairs --cases weather", "dependent_pairs --own 1", "dependent_pairs --batch 2",
])  # fmt: skip
def test_wrong_commands_end_with_a_message(line, results, capsys):
    name, *words = line.split()
    assert main(["run", name, "--dataset", "digits", *words]) == 2
    said = capsys.readouterr().err
    assert "error: " in said and "valid: " in said and "Traceback" not in said


# ---------------------------------------------------------------------------------------------
# Pairs that depend on each other
# ---------------------------------------------------------------------------------------------


def test_the_gaussians_have_their_covariances():
    generator = torch.Generator().manual_seed(1)
    x, y = SharedGaussian().sample(200_000, 2, True, generator)
    one = torch.cat([x, y], dim=1)[..., 0].T  # x_1, x_2, y_1, y_2
    expected = torch.tensor([[2, 1, 0.4, -0.5], [1, 2, -0.5, 0.4], [0.4, -0.5, 2, 1],
                             [-0.5, 0.4, 1, 2]])  # fmt: skip
    assert (torch.cov(one) - expected).abs().max() < 0.03
    x, y = SharedGaussian().sample(200_000, 2, False, generator)
    assert abs((x[:, 0] * y[:, 1]).mean()) < 0.02 and abs((x * y).mean() - 0.4) < 0.02


def test_closed_forms_of_the_gaussians():
    of = SharedGaussian()
    assert round(of.mi, 4) == 0.0204
    pair, apart = (torch.tensor([[2, c], [c, 2]], dtype=torch.float64) for c in (0.4, -0.5))
    normal = torch.distributions.MultivariateNormal
    zero = torch.zeros(2, dtype=torch.float64)
    naive = torch.distributions.kl_divergence(normal(zero, pair), normal(zero, apart))
    assert abs(of.apart - float(naive)) < 1e-10
    assert abs(of.given - -0.5 * math.log(1 - 0.81)) < 1e-10
    with pytest.raises(ValueError, match="own is 1; valid: between -1 and 1"):
        SharedGaussian(own=1)


def test_letters_share_nothing_and_are_valued():
    given = dependent_pairs.letters()
    mean = exact.Joint(given.table.mean(0))
    assert float(mean.mi) < 1e-12
    found = dependent_pairs.truths("letters", dependent_pairs.DependentPairsConfig(), 10)
    assert abs(found["apart"] - 0.5 * math.log(16 / 15)) < 1e-10
    assert abs(found["given"] - (0.5 * math.log(4 / 3) + 0.5 * math.log(8 / 9))) < 1e-10


def test_images_have_the_classes_that_they_should():
    labels = torch.tensor([2, 0, 1, 1, 0, 2, 2])
    pictures = dependent_pairs.Pictures(labels[:, None].float(), labels)
    generator = torch.Generator().manual_seed(0)
    x, y = pictures.classes(50, 6, True, generator)
    assert torch.equal(x, y) and bool((x == x[:, :1]).all()) and len(x.unique()) == 3
    x, y = pictures.classes(50, 6, False, generator)
    assert torch.equal(x, y) and not bool((x == x[:, :1]).all())
    x, y = pictures.letters(20_000, 2, True, generator)
    for shared, (first, second) in enumerate([(x[:, 0], y[:, 1]), (x[:, 0], y[:, 0])]):
        both = (first == second).double().mean()
        assert abs(both - (0.375, 0.5)[shared]) < 0.02


def test_a_sorted_batch_needs_two_classes(results, capsys, tmp_path):
    one = datasets.ImageSet(torch.zeros(4, 1, 8, 8, dtype=torch.uint8),
                            torch.zeros(4, dtype=torch.int64), ("shirt",), "shirts", "a test")
    experiment = dependent_pairs.EXPERIMENT
    for case in ("classes", "letters"):
        with pytest.raises(ValueError, match=f"shirts has 1 class; valid for {case}: at least 2"):
            experiment.check(replace(experiment.tiny, cases=(case,)), base.Job("cpu", one, one))
    experiment.check(replace(experiment.tiny, cases=("gaussian",)), base.Job("cpu", one, one))
    from PIL import Image

    for split in ("train", "test"):
        (tmp_path / split / "shirt").mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / split / "shirt" / "a.png")
    line = ["--dataset", "folder", "--data", str(tmp_path), "--cases", "classes"]
    assert main(["run", "dependent_pairs", *line]) == 2
    assert "has 1 class" in capsys.readouterr().err
