"""Two halves of an image: the cut, the objectives, batches, and what training writes down."""

import math

import pytest
import torch
from torch import nn

from mlcpc import bounds, datasets
from mlcpc.experiments import base, halves
from mlcpc.experiments.adversarial_flow import AdversarialFlowConfig, Duel
from mlcpc.experiments.bijective import EXPERIMENT, BijectiveConfig
from mlcpc.experiments.halves import Halves, TwoHalves


@pytest.fixture
def data():
    """Sixty small grey images in two classes, of a brighter and a darker top, in place of all."""
    generator = torch.Generator().manual_seed(3)
    shown = torch.randint(0, 200, (60, 1, 4, 4), generator=generator, dtype=torch.uint8)
    labels = torch.arange(60) % 2
    shown[:, :, :2] += (50 * labels)[:, None, None, None].to(torch.uint8)
    return datasets.ImageSet(shown, labels, ("a", "b"), "tiny", "a test")


TINY = {"probed": 200, "steps": 4, "every": 3, "batch": 8, "couplings": 2, "width": 4}


def of(data, noise=0.0):
    x, y = halves.cut(data.images)
    return Halves(x, y, data.labels, x, y, data.labels, noise)


def test_the_cut_is_the_top_and_the_bottom(data):
    x, y = halves.cut(data.images)
    assert torch.equal(x[5], data.images[5, 0, :2].flatten() / 255)
    assert torch.equal(y[5], data.images[5, 0, 2:].flatten() / 255)
    with pytest.raises(ValueError, match="3 channels and 4 rows; valid: 1 channel"):
        halves.cut(data.images.repeat(1, 3, 1, 1))
    with pytest.raises(ValueError, match="3 rows"):
        halves.cut(data.images[:, :, :3])


def test_objectives_are_the_bounds_of_the_package():
    scores = torch.randn(6, 6, generator=torch.Generator().manual_seed(1)).double()
    exp, diagonal = scores.exp(), scores.diag()
    other = exp.sum(1) - exp.diag()
    weight = bounds.alpha_batch(6)

    def multi(alpha):
        beta = (6 - alpha) / 5
        return (diagonal + math.log(36)).mean() - (alpha * exp.diag() + beta * other).sum().log()

    expected = {
        "cpc": (diagonal - (exp.sum(1) / 6).log()).mean(),
        "nwj": diagonal.mean() - other.sum() / 30 / math.e,
        "ml_cpc": multi(1.0),
        "ml_cpc_batch": multi(weight),
    }
    assert set(expected) == set(halves.OBJECTIVES) == set(halves.TITLES)
    for name, value in expected.items():
        assert abs(halves.objective(name, scores) - value) < 1e-10


def test_batches_follow_from_their_key_and_keep_pairs_together(data):
    of_data = of(data)
    x, y = of_data.batch((1, 2), 16)
    again, other = of_data.batch((1, 2), 16)[0], of_data.batch((1, 3), 16)[0]
    assert torch.equal(x, again) and not torch.equal(x, other)
    rows = [int((of_data.x == row).all(1).nonzero()[0]) for row in x]
    assert torch.equal(of_data.y[rows], y)


def test_noise_is_on_both_halves_and_fresh(data):
    noisy, still = of(data, 0.05), of(data)
    for one, two in zip(noisy.batch((1,), 500), still.batch((1,), 500), strict=True):
        assert abs(float((one - two).std()) - 0.05) < 0.005
    assert len(still.tests(16)) == 3  # whole batches alone
    assert torch.equal(torch.cat([x for x, _ in still.tests(16)]), still.test_x[:48])


def trainee(data, name="cpc", **more):
    config = BijectiveConfig(**{**TINY, "objectives": (name,), **more})
    encoders = EXPERIMENT.encoders(config, 8, 0)
    return TwoHalves(name, encoders, of(data), config, 0, lambda *_: {})


@pytest.mark.parametrize("name", halves.OBJECTIVES)
def test_before_any_step_the_critic_says_nothing(name, data):
    value = trainee(data, name).value(*of(data).batch((1,), 8))
    # of scores that are all zero: no bound has learned anything, and NWJ needs one to say so
    assert abs(float(value.detach()) - (-1 / math.e if name == "nwj" else 0)) < 1e-6


def test_a_step_moves_critic_and_encoders_and_raises_the_value(data):
    made = trainee(data, learning_rate=0.01, critic_rate=0.01, batch=32, steps=40, every=40)
    before = [each.clone() for each in made.encoders.parameters()]
    x, y = of(data).batch((9,), 32)
    for step in range(40):
        made.step(0, step)
    assert float(made.value(x, y).detach()) > 0.05
    assert all(not torch.equal(a, b)
               for a, b in zip(before, made.encoders.parameters(), strict=True))  # fmt: skip


def test_the_bound_is_held_out(data, monkeypatch):
    """It is the mean over batches of test pairs, and no training pair enters."""
    monkeypatch.setattr(halves, "probe", lambda *_: 0.5)
    made = trainee(data)
    made.critic.weight.data += 0.3
    made.of = Halves(torch.full((9, 8), math.nan), torch.full((9, 8), math.nan), data.labels,
                     *halves.cut(data.images), data.labels)  # fmt: skip
    found = made.seen(7)
    with torch.no_grad():
        each = [float(made.value(x, y)) for x, y in made.of.tests(8)]
    assert found == {"step": 7, "bound": pytest.approx(sum(each) / 7), "accuracy": 0.5}


def test_the_probe_reads_a_label_that_is_there(data):
    assert halves.probe(lambda x: x.mean(1, keepdim=True), of(data), 60, 0) > 0.7
    assert halves.probe(lambda x: 0 * x, of(data), 60, 0) == 0.5


def test_images_that_are_too_few_are_refused(data):
    job = base.Job(train=data, test=data)
    with pytest.raises(ValueError, match="probed is 200; valid: at most 60"):
        halves.halves(BijectiveConfig(**TINY), job)
    with pytest.raises(ValueError, match="probed is 99; valid: an integer of at least 100"):
        BijectiveConfig(**{**TINY, "probed": 99})


def test_a_flow_that_is_lost_in_training_stops_the_run(data, monkeypatch):
    monkeypatch.setattr(halves, "probe", lambda *_: 0.5)
    config = BijectiveConfig(**TINY)
    made = trainee(data)
    made.look = lambda encoder, of, step: EXPERIMENT.look(config, encoder, of, step)
    made.encoders[0].couplings[1].hyper[-1].bias.data[:] = 1e6
    from mlcpc import training

    with pytest.raises(ValueError, match="cpc, seed 0 stopped in epoch 0, step 2: after step 3 the "
                                         "flow is not invertible in float32: coupling 2 of 2"):
        training.fit(made)  # fmt: skip


def test_the_opponents_take_turns(data):
    config = AdversarialFlowConfig(probed=200, batch=16, couplings=2, width=4)
    duel = Duel(of(data), config, 0)
    flow = [each.clone() for each in duel.flow.parameters()]
    loss = duel.teach(0, 0, 1)
    assert abs(float(loss) - math.log(2)) < 1e-6  # it begins with equal probabilities
    assert all(torch.equal(a, b) for a, b in zip(flow, duel.flow.parameters(), strict=True))
    weight = duel.classifier.weight.clone()
    logits = nn.functional.linear(duel.flow(duel.drawn(0, 0, 0)[0]), weight.detach())
    duel.descend(-logits.log_softmax(1).mean())
    assert torch.equal(duel.classifier.weight, weight)
    assert any(not torch.equal(a, b) for a, b in zip(flow, duel.flow.parameters(), strict=True))
