"""Probes: equal to loops, blind to test labels, and they see a collapse."""

import sys
import warnings

import pytest
import torch
from torch import nn

from mlcpc import networks, probes


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def clusters(n, classes=4, dim=6, distance=3.0, seed=0):
    """Features around one centre for each class, and their labels."""
    labels = torch.arange(n) % classes
    centres = distance * normal(classes, dim, seed=99)
    return centres[labels] + normal(n, dim, seed=seed), labels


# ----- features -----


def test_features_are_those_of_evaluation_and_leave_the_network_as_it_was():
    torch.manual_seed(0)
    network = networks.build("resnet8", 10, 1)
    network.body[1].eval()  # a frozen part stays frozen, the rest goes on training
    modes = [module.training for module in network.modules()]
    state = {key: value.clone() for key, value in network.state_dict().items()}
    images = torch.randn(7, 1, 28, 28)
    found = probes.features_of(network, images, batch=3)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())
    assert found.shape == (7, 64) and not found.requires_grad

    with torch.no_grad():
        wanted = network.eval().features(images)
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-5)
    one_by_one = probes.features_of(network, (image[None] for image in images))
    assert torch.allclose(one_by_one, wanted, rtol=1e-4, atol=1e-5)


def test_an_error_leaves_the_network_in_its_mode():
    network = networks.build("resnet8", 10, 1)
    with pytest.raises(ValueError, match="images has shape"):
        probes.features_of(network, torch.zeros(2, 3, 28, 28))
    assert all(module.training for module in network.modules())


@pytest.mark.parametrize("images, options, named", [
    (torch.zeros(0, 1, 28, 28), {}, "images is empty"),
    ([], {}, "images is empty"),
    (torch.zeros(2, 1, 28, 28), {"batch": 0}, "batch is 0"),
    (torch.full((2, 1, 28, 28), torch.nan), {}, "features hold NaN or infinity"),
])  # fmt: skip
def test_images_without_features_are_refused(images, options, named):
    with pytest.raises(ValueError, match=named):
        probes.features_of(networks.build("resnet8", 10, 1), images, **options)


def test_pixels_are_the_images_less_the_mean_training_image():
    train, test = normal(5, 2, 3, 4) + 7, normal(2, 2, 3, 4, seed=1) + 7
    of_train, of_test = probes.pixels(train, test)
    assert torch.allclose(of_train.mean(dim=0), torch.zeros(24).double(), atol=1e-12)
    assert torch.allclose(of_test + train.mean(dim=0).flatten(), test.flatten(1), atol=1e-12)


def test_images_of_two_shapes_are_refused():
    for train, test in (((5, 2, 3, 4), (2, 1, 3, 4)), ((0, 1, 3, 4), (2, 1, 3, 4))):
        with pytest.raises(ValueError, match="n at least 1, the rest alike"):
            probes.pixels(torch.zeros(train), torch.zeros(test))


# ----- nearest neighbours -----


def vote_by_loop(train, labels, test, k, temperature):
    predicted = []
    for x in test:
        cosines = [float(x @ each / (x.norm() * each.norm())) for each in train]
        nearest = sorted(range(len(train)), key=lambda i: -cosines[i])[:k]
        tally = dict.fromkeys(sorted(set(labels.tolist())), 0.0)
        for i in nearest:
            tally[int(labels[i])] += float(torch.tensor(cosines[i] / temperature).exp())
        predicted.append(max(tally, key=tally.get))
    return torch.tensor(predicted)


@pytest.mark.parametrize("k, temperature", [(1, 0.1), (5, 0.1), (20, 0.1), (20, 1.0), (60, 0.5)])
@pytest.mark.parametrize("at_once", [1, 130, 2**24])
def test_the_vote_equals_a_loop(k, temperature, at_once, monkeypatch):
    monkeypatch.setattr(probes, "SIMILARITIES", at_once)
    train, labels = clusters(60, distance=0.6)
    test, _ = clusters(33, distance=0.6, seed=1)
    scale = 10 ** normal(60, 1, seed=2)  # lengths do not count
    found = probes.knn(train * scale, labels, test, k, temperature)
    assert torch.equal(found, vote_by_loop(train, labels, test, k, temperature))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_small_temperatures_do_not_overflow(dtype):
    train, labels = clusters(40)
    found = probes.knn(train.to(dtype), labels, train.to(dtype), 20, temperature=1e-3)
    assert torch.equal(found, labels)  # each is its own nearest neighbour


def test_features_of_no_length_are_like_none():
    similarities, _ = probes.neighbours(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.eye(2), 2)
    assert similarities.tolist() == [[1, 0], [0, 0]]


TRAIN, LABELS = clusters(12)
FINE = {"train_features": TRAIN, "train_labels": LABELS, "test_features": TRAIN[:2]}


@pytest.mark.parametrize("wrong, named", [
    ({"k": 0}, "k is 0; valid: an integer from 1 to 12"),
    ({"k": 13}, "k is 13; valid: an integer from 1 to 12"),
    ({"k": 2.0}, "k is 2.0"),
    ({"k": 2, "temperature": 0.0}, "temperature is 0.0"),
    ({"k": 2, "temperature": float("nan")}, "temperature is nan"),
])  # fmt: skip
def test_bad_votes_are_named(wrong, named):
    with pytest.raises(ValueError, match=named):
        probes.knn(**FINE, **wrong)


@pytest.mark.parametrize("probe", [lambda **given: probes.knn(**given, k=3), probes.linear_probe])
@pytest.mark.parametrize("wrong, named", [
    ({"train_features": TRAIN[:0]}, "train_features has shape"),
    ({"test_features": TRAIN[:0]}, "test_features has shape"),
    ({"test_features": TRAIN[:, :3]}, "test_features has shape"),
    ({"train_features": TRAIN[0]}, "train_features has shape"),
    ({"train_features": TRAIN.long()}, "train_features is not finite numbers"),
    ({"test_features": TRAIN * torch.nan}, "test_features is not finite numbers"),
    ({"train_labels": LABELS[:3]}, r"train_labels has shape \(3,\)"),
    ({"train_labels": LABELS.double()}, "type torch.float64"),
    ({"train_labels": LABELS - 1}, "an integer from 0 on"),
])  # fmt: skip
def test_bad_features_and_labels_are_named(probe, wrong, named):
    with pytest.raises(ValueError, match=named):
        probe(**{**FINE, **wrong})


# ----- linear probe -----


@pytest.fixture
def sklearn():
    return pytest.importorskip("sklearn")


def objective(x, y, weights, bias, penalty):
    loss = nn.functional.cross_entropy(x @ weights + bias, y)
    return loss + penalty / 2 * weights.square().sum()


def test_the_linear_probe_finds_the_minimum(sklearn, monkeypatch):
    monkeypatch.setattr(probes, "TOLERANCE", 1e-6)
    train, labels = clusters(300, distance=0.5)
    test, _ = clusters(200, distance=0.5, seed=1)
    found = probes.linear_probe(5 * train + 3, labels, 5 * test + 3, penalties=[0.01])
    assert found.converged and found.penalty == 0.01 and found.validation == {}

    x, new = ((each - train.mean(0)) / train.std(0, correction=0) for each in (train, test))
    weights = torch.zeros(6, 4, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([weights, bias], max_iter=500, line_search_fn="strong_wolfe")

    def closure():
        search.zero_grad()
        value = objective(x, labels, weights, bias, 0.01)
        value.backward()
        return value

    search.step(closure)
    assert float(weights.grad.abs().max()) < 1e-5
    logits = (new @ weights + bias).detach()
    best = logits.topk(2, dim=1).values
    sure = best[:, 0] - best[:, 1] > 0.01  # float32 there, float64 here
    assert int(sure.sum()) > 190
    assert torch.equal(found.predicted[sure], logits.argmax(dim=1)[sure])


def test_the_penalty_is_chosen_on_the_training_set_alone(sklearn):
    train, labels = clusters(400, distance=0.4, dim=40)
    test, truth = clusters(50, distance=0.4, dim=40, seed=1)
    found = probes.linear_probe(train, labels, test)
    tried = list(found.validation)
    assert tried == list(probes.PENALTIES[: len(tried)])
    best = max(found.validation.values())
    assert found.validation[found.penalty] == best
    assert 0.5 < best <= 1  # four classes, and the chance of a guess is a quarter
    # accuracies of 80 held-out samples
    assert all((80 * share) == pytest.approx(round(80 * share)) for share in tried and [best])
    # other test samples change nothing
    again = probes.linear_probe(train, labels, test[:3] * 2)
    assert again.validation == found.validation and again.penalty == found.penalty
    assert probes.accuracy(found.predicted, truth) > 0.5
    # another division may choose otherwise, the same one chooses the same
    same = probes.linear_probe(train, labels, test)
    assert torch.equal(same.predicted, found.predicted)
    other = probes.linear_probe(train, labels, test, seed=1)
    assert other.validation != found.validation


def test_the_choice_stops_where_held_out_accuracy_falls(sklearn):
    train, labels = clusters(300, classes=3, distance=0.3, dim=60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing to warn of
        found = probes.linear_probe(train, labels, train[:2])
    shares = list(found.validation.values())
    assert len(shares) < len(probes.PENALTIES) and shares[-1] < shares[-2] == max(shares)


def test_features_that_do_not_vary_and_missing_labels_do_no_harm(sklearn):
    train, labels = clusters(80, classes=2)
    train[:, 2] = 7.0
    labels = 3 * labels + 2  # 2 and 5, no other
    found = probes.linear_probe(train, labels, train, penalties=[0.01])
    assert torch.equal(found.predicted, labels) and found.predicted.dtype == torch.int64


def test_rounding_is_no_feature(sklearn):
    x, y = clusters(300, distance=0.5)
    noise = 1e-8 * normal(600, 40, seed=3)
    new = clusters(300, distance=0.5, seed=1)[0]
    plain = probes.linear_probe(x[:300], y[:300], new[:300])
    wide = probes.linear_probe(torch.cat([x[:300], noise[:300]], 1), y[:300],
                               torch.cat([new[:300], noise[300:]], 1))  # fmt: skip
    assert torch.equal(plain.predicted, wide.predicted) and plain.penalty == wide.penalty


def test_warnings_say_what_to_distrust(sklearn):
    train, labels = clusters(200, distance=0.5)
    with pytest.warns(UserWarning, match="has not converged in 2 steps"):
        found = probes.linear_probe(train, labels, train, penalties=[1e-4], max_iterations=2)
    assert not found.converged
    # a signal under noise that a second feature knows: the fit must be free to subtract it
    noise, labels = 3 * normal(200, seed=4), torch.arange(200) % 2
    train = torch.stack([2.0 * labels + noise, noise], dim=1)
    with pytest.warns(UserWarning, match="the weakest penalty was chosen, 0.0001"):
        probes.linear_probe(train, labels, train, penalties=[1000, 1e-4])


@pytest.mark.parametrize("wrong, named", [
    ({"penalties": []}, "penalties is"),
    ({"penalties": [0.1, 0.1]}, "valid: falling numbers above 0"),
    ({"penalties": [0.1, 1.0]}, "valid: falling numbers above 0"),
    ({"penalties": [0.1, 0.0]}, "valid: falling numbers above 0"),
    ({"penalties": [float("nan")]}, "valid: falling numbers above 0"),
    ({"held_out": 0.0}, "held_out is 0.0"),
    ({"held_out": 1.0}, "held_out is 1.0"),
    ({"train_labels": LABELS * 0}, "1 classes, the least of 12"),
    ({"train_labels": torch.arange(12).clamp(max=1)}, "2 classes, the least of 1"),
])  # fmt: skip
def test_bad_linear_probes_are_named(wrong, named):
    with pytest.raises(ValueError, match=named):
        probes.linear_probe(**{**FINE, **wrong})


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"pip install 'mlcpc\[experiments\]'"):
        probes.linear_probe(**FINE)
    assert len(probes.knn(**FINE, k=3)) == 2


# ----- accuracy, spread, rank -----


def test_accuracy_is_the_share_of_equals():
    assert probes.accuracy(torch.tensor([0, 1, 2]), torch.tensor([0, 2, 2])) == 2 / 3


def test_predictions_of_other_samples_are_refused():
    for wrong in (torch.tensor([0, 1]), torch.tensor([[0, 1, 2]])):
        with pytest.raises(ValueError, match="one of each for every sample"):
            probes.accuracy(wrong, torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="one of each"):
        probes.accuracy(torch.tensor([]), torch.tensor([]))


def test_spread_is_one_on_the_sphere_and_nought_at_a_point():
    # over 20,000 directions the standard deviations err by half a percent, their mean by less
    assert probes.spread(normal(20_000, 16)) == pytest.approx(1, abs=0.01)
    assert probes.spread(3 * normal(1, 16).expand(50, -1)) == pytest.approx(0, abs=1e-7)
    axes = torch.eye(4).repeat(2, 1)  # each coordinate is 1 in a quarter of 8 rows
    assert probes.spread(axes) == pytest.approx(4**0.5 * (8 / 7 * 3 / 16) ** 0.5, abs=1e-12)
    near = normal(1, 16) + 0.1 * normal(500, 16, seed=1)
    assert 0 < probes.spread(near) < 0.2


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_effective_rank_counts_equal_directions(rank):
    # columns of a Hadamard matrix: orthogonal, of mean zero and of one length
    hadamard = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(4):
        hadamard = torch.cat(
            [torch.cat([hadamard, hadamard], 1), torch.cat([hadamard, -hadamard], 1)]
        )
    turned = torch.linalg.qr(normal(7, 7)).Q[:rank]
    features = hadamard[:, 1 : 1 + rank] @ turned + normal(1, 7, seed=5)
    assert probes.effective_rank(features) == pytest.approx(rank, abs=1e-5)


def test_effective_rank_of_unequal_directions():
    hadamard = torch.tensor([[1, 1], [-1, 1], [1, -1], [-1, -1]], dtype=torch.float64)
    features = hadamard * torch.tensor([3.0, 1.0])
    wanted = -(0.75 * torch.tensor(0.75).log() + 0.25 * torch.tensor(0.25).log())
    assert probes.effective_rank(features) == pytest.approx(float(wanted.exp()), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_collapse_has_no_rank(dtype):
    collapsed = (normal(1, 64) + 1e-8 * normal(200, 64, seed=1)).to(dtype)
    assert probes.effective_rank(collapsed) == 0
    assert probes.effective_rank(torch.zeros(5, 3, dtype=dtype)) == 0
    assert 50 < probes.effective_rank(normal(2000, 64).to(dtype)) <= 64


@pytest.mark.parametrize("measure", [probes.spread, probes.effective_rank])
def test_bad_features_of_a_measure_are_named(measure):
    for wrong in (normal(1, 4), normal(4), normal(0, 4)):
        with pytest.raises(ValueError, match="n at least 2"):
            measure(wrong)
    with pytest.raises(ValueError, match="features is not finite numbers"):
        measure(torch.tensor([[1.0], [torch.inf]]))


# ----- neighbours that two networks share -----


def naive_shared(one, two, labels, k):
    total = 0
    for i in range(len(labels)):
        near = []
        for features in (one, two):
            others = [j for j in range(len(labels)) if j != i and labels[j] == labels[i]]
            cosine = nn.functional.cosine_similarity
            others.sort(key=lambda j: -float(cosine(features[i], features[j], dim=0)))
            near.append(set(others[:k]))
        total += len(near[0] & near[1])
    return total / (k * len(labels))


@pytest.mark.parametrize("k", [1, 3])
def test_shared_neighbours_are_those_of_a_loop(k):
    (one, labels), (two, _) = clusters(24), clusters(24, dim=4, seed=1)
    found = probes.shared_neighbours(one, two, labels, k)
    assert found == naive_shared(one, two, labels, k) and 0 < found < 1
    assert found == probes.shared_neighbours(two, 3 * one, labels, k)


def test_shared_neighbours_of_one_geometry_and_of_none():
    one, labels = clusters(400, dim=8)
    turned = torch.linalg.qr(normal(8, 8)).Q
    assert probes.shared_neighbours(one, one @ turned, labels) == 1
    noise = normal(400, 8, seed=5)  # 4,000 draws, of which 10 in 99 are shared
    assert abs(probes.shared_neighbours(one, noise, labels) - 10 / 99) < 4 * 0.005


def test_shared_neighbours_refuse():
    one, labels = clusters(40)
    with pytest.raises(ValueError, match="k is 10 with 10 samples in a class; valid: 1 to 9"):
        probes.shared_neighbours(one, one, labels)
    with pytest.raises(ValueError, match="have 40, 39 and"):
        probes.shared_neighbours(one, one[1:], labels)
    with pytest.raises(ValueError, match="k is 0"):
        probes.shared_neighbours(one, one, labels, 0)
    with pytest.raises(ValueError, match="two is not finite"):
        probes.shared_neighbours(one, one * torch.inf, labels)


def test_the_vote_is_weighted_by_similarity():
    train = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.6, -0.8]])
    labels, test = torch.tensor([1, 0, 0]), torch.tensor([[1.0, 0.0]])
    assert probes.knn(train, labels, test, 3, temperature=0.1).tolist() == [1]  # e^10 > 2 e^6
    assert probes.knn(train, labels, test, 3, temperature=1.0).tolist() == [0]  # e^1 < 2 e^0.6


def test_neighbours_come_nearest_first():
    train, _ = clusters(30)
    similarities, positions = probes.neighbours(train, train[:4], 30)
    assert positions[:, 0].tolist() == [0, 1, 2, 3]
    assert torch.allclose(similarities[:, 0], torch.ones(4).double(), atol=1e-12)
    assert bool((similarities.diff(dim=1) <= 0).all())
    assert sorted(positions[0].tolist()) == list(range(30))


def test_random_labels_cannot_be_read(sklearn):
    train, test = normal(500, 5), normal(2000, 5, seed=1)
    labels = torch.randint(4, (2500,), generator=torch.Generator().manual_seed(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = probes.linear_probe(train, labels[:500], test)
    # a quarter, with a standard error of 0.01
    assert abs(probes.accuracy(found.predicted, labels[500:]) - 0.25) < 0.05
