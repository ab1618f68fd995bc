"""Same-class sampling: bits through a channel, the band from both sides, the drawn pairs."""

import itertools
import math

import pytest
import torch

from mlcpc import exact, sameclass
from mlcpc.sameclass import ClassSources

LOG2 = math.log(2)


def law(*shape):
    drawn = torch.rand(*shape).double() + 0.05
    return drawn / drawn.sum(-1, keepdim=True)


def pairs(given, labels):
    """Joint table of two samples, by a sum over both labels, one at a time."""
    found = torch.zeros(given.shape[1], given.shape[1], dtype=torch.float64)
    for c, d in itertools.product(range(len(given)), repeat=2):
        for x, y in itertools.product(range(given.shape[1]), repeat=2):
            found[x, y] += labels[c, d] * given[c, x] * given[d, y]
    return found


# ---------------------------------------------------------------------------------------------
# Bits
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flip", [0.0, 0.01, 0.2, 0.5])
def test_information_is_that_of_the_table(flip):
    assert sameclass.information(1, flip) == pytest.approx(
        exact.Joint(sameclass.flipped(flip)).mi.item(), abs=1e-12
    )
    two = torch.kron(sameclass.flipped(flip), sameclass.flipped(flip))
    assert sameclass.information(2, flip) == pytest.approx(
        exact.from_counts(two).mi.item(), abs=1e-12
    )


def test_the_flip_is_found_again():
    for bits in (0.0, 0.3, 2.0, 7.99, 10.0):
        flip = sameclass.flip_probability(bits * LOG2, 10)
        assert sameclass.information(10, flip) == pytest.approx(bits * LOG2, abs=1e-12)
    # flat at one half: the information of a flip of 1/2 − δ is 2δ²
    assert sameclass.flip_probability(0, 3) == pytest.approx(0.5, abs=1e-7)
    assert sameclass.flip_probability(3 * LOG2, 3) == 0
    # the published staircase of ten sources at two bits
    assert sameclass.flip_probability(2 * LOG2, 10) == pytest.approx(0.2430, abs=1e-4)


@pytest.mark.parametrize("call, message", [
    (lambda: sameclass.information(10, 0.51), "flip is 0.51; valid: 0 to 0.5"),
    (lambda: sameclass.information(10, -0.1), "flip is -0.1; valid: 0 to 0.5"),
    (lambda: sameclass.flipped(math.nan), "flip is nan; valid: 0 to 0.5"),
    (lambda: sameclass.information(0), "sources is 0; valid: an integer of at least 1"),
    (lambda: sameclass.flip_probability(8.0, 10), "mi is 8.0 nats; valid: 0 to 6.9315, 10 bits"),
    (lambda: sameclass.binary_entropy(1.5), "flip is 1.5; valid: 0 to 1"),
])  # fmt: skip
def test_bad_channels_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---------------------------------------------------------------------------------------------
# The band
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes, kinds", [(2, 2), (2, 6), (3, 5), (4, 9)])
def test_the_band_holds_the_information_of_the_samples(classes, kinds):
    """Samples of known law and every classifier by a table: nothing is estimated."""
    for _ in range(30):
        given, labels = law(classes, kinds), law(classes * classes).view(classes, classes)
        truth = exact.from_counts(pairs(given, labels)).mi.item()
        assert truth == pytest.approx(exact.Joint(pairs(given, labels)).mi.item(), abs=1e-12)
        readings = torch.randint(classes, (kinds,))
        said = torch.nn.functional.one_hot(readings, classes).double()
        found = sameclass.band(given @ said, labels)
        assert found.fano <= found.low + 1e-12
        assert found.low <= truth + 1e-12 and truth <= found.high + 1e-12
        whole = sameclass.band(given, labels)  # each kind is a reading of its own
        assert whole.low == pytest.approx(truth, abs=1e-12)
        assert (whole.fano is None) == (kinds != classes)


def test_the_ends_meet_without_errors_and_only_then():
    prior = law(3)
    same = sameclass.band(torch.eye(3) * torch.tensor([5, 9, 2])[:, None], prior.diag())
    entropy = -(prior * prior.log()).sum().item()
    for end in (same.low, same.fano, same.high):
        assert end == pytest.approx(entropy, abs=1e-12)
    one_error = torch.tensor([[5, 0, 0], [0, 8, 1], [0, 0, 2]])
    off = sameclass.band(one_error, prior.diag())
    assert off.fano < off.low < off.high - 0.01


def test_the_fano_end_by_hand():
    """Two classes, one error in a hundred: log 2 − 2 h(0.01); the readings give more."""
    found = sameclass.band(torch.tensor([[99, 1], [1, 99]]), sameclass.flipped(0))
    h = -0.01 * math.log(0.01) - 0.99 * math.log(0.99)
    assert found.fano == pytest.approx(LOG2 - 2 * h, abs=1e-12)
    twice = 2 * 0.01 * 0.99
    assert found.low == pytest.approx(LOG2 - sameclass.binary_entropy(twice), abs=1e-12)
    three = sameclass.band(torch.full((3, 3), 1.0) + 97 * torch.eye(3), torch.eye(3).double() / 3)
    lost = sameclass.fano_loss(0.02, 3)
    assert three.fano == pytest.approx(math.log(3) - 2 * lost, abs=1e-12)
    assert found.times(10).low == pytest.approx(10 * found.low)
    assert sameclass.band(torch.full((2, 2), 3), sameclass.flipped(0.2)).fano == 0


def test_unequal_labels_have_an_error_on_each_side():
    given = torch.tensor([[0.9, 0.1], [0.3, 0.7]]).double()
    labels = torch.tensor([[0.5, 0.2], [0.0, 0.3]]).double()
    found = sameclass.band(given, labels)
    of_x, of_y = 0.7 * 0.1 + 0.3 * 0.3, 0.5 * 0.1 + 0.5 * 0.3
    expected = found.high - sameclass.binary_entropy(of_x) - sameclass.binary_entropy(of_y)
    assert found.fano == pytest.approx(max(0, expected), abs=1e-12)


@pytest.mark.parametrize("confusion, labels, message", [
    (torch.ones(2, 2), torch.eye(3) / 3, r"labels has shape \(3, 3\) for a confusion of \(2, 2\)"),
    (torch.ones(2, 2), torch.eye(2), "labels sums to 2.0; valid: 1"),
    (torch.tensor([[1, 1], [0, 0]]), torch.eye(2) / 2, "no sample of class 1; valid: at least one"),
    (torch.tensor([[1, -1], [0, 1]]), torch.eye(2) / 2, "confusion is .* below 0"),
    (torch.full((2, 2), math.nan), torch.eye(2) / 2, "not finite"),
    (torch.ones(2, 1), torch.eye(2) / 2, "at least 2 classes and 2 readings"),
])  # fmt: skip
def test_bad_tables_are_refused(confusion, labels, message):
    with pytest.raises(ValueError, match=message):
        sameclass.band(confusion, labels)


# ---------------------------------------------------------------------------------------------
# The pairs
# ---------------------------------------------------------------------------------------------


def some(flip=0.0, sources=3):
    """Seven samples of one column: those of class 1 are 10 and more."""
    labels = torch.tensor([0, 1, 1, 0, 1, 0, 1])
    samples = (torch.arange(7.0) + 10 * labels)[:, None]
    return ClassSources(samples, labels, sources, flip)


def test_pairs_have_the_classes_that_the_channel_says():
    made = some(0.2)
    x, y = made.sample(20_000, torch.Generator().manual_seed(3))
    assert x.shape == y.shape == (20_000, 3) and made.dim_x == made.dim_y == 3
    of_x, of_y = x >= 10, y >= 10
    assert (of_x != of_y).double().mean() == pytest.approx(0.2, abs=0.01)
    assert of_x.double().mean() == pytest.approx(0.5, abs=0.01)
    assert torch.corrcoef(of_x.T.double())[0, 1].abs() < 0.03
    # within a class every sample is as likely, and x says nothing more of y
    counts = torch.stack([(x[:, 0] == value).sum() for value in (0, 3, 5)]).double()
    assert (counts / counts.sum()).tolist() == pytest.approx([1 / 3] * 3, abs=0.02)
    here = (x[:, 0] == 11) & of_y[:, 0]
    assert (y[here, 0] == 12).double().mean() == pytest.approx(1 / 4, abs=0.03)


def test_pairs_of_one_class_are_of_one_class():
    made = some()
    x, y = made.sample(500, torch.Generator().manual_seed(0))
    assert torch.equal(x >= 10, y >= 10) and not torch.equal(x, y)
    assert made.mi == pytest.approx(3 * LOG2)


@pytest.mark.parametrize("changes, message", [
    ({"labels": torch.tensor([0, 1, 2])}, r"labels holds \[0, 1, 2\]; valid: 0 and 1"),
    ({"labels": torch.tensor([1, 1, 1])}, r"labels holds \[1\]"),
    ({"labels": torch.tensor([0, 1])}, r"labels has shape \(2,\)"),
    ({"samples": torch.ones(3)}, "valid: one label for each row"),
    ({"flip": 0.6}, "flip is 0.6"),
    ({"sources": 0}, "sources is 0"),
])  # fmt: skip
def test_bad_sources_are_refused(changes, message):
    given = {"samples": torch.ones(3, 2), "labels": torch.tensor([0, 1, 1])}
    with pytest.raises(ValueError, match=message):
        ClassSources(**{**given, **changes})
