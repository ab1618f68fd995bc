r"""What frozen features know of the labels, and whether they have collapsed.

Pure functions of features (N, d) and labels (N,): nearest neighbours, a linear classifier, the
spread of the features over the dimensions. Features come from :func:`features_of`. Two floors show
what training must beat: :func:`pixels`, and the features of a fresh :func:`mlcpc.networks.build`,
which nobody trained.

Labels of test images are compared with predictions and enter no choice.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mlcpc.config import check_count, refuse
from mlcpc.datasets import needs
from mlcpc.shapes import Float, Int, Tensor

TrainFeatures = Float[Tensor, "train d"]
TrainLabels = Int[Tensor, "train"]
TestFeatures = Float[Tensor, "test d"]
TestLabels = Int[Tensor, "test"]
Labels = Int[Tensor, "n"]
Images = Float[Tensor, "n channels height width"]
TrainImages = Float[Tensor, "train channels height width"]
TestImages = Float[Tensor, "test channels height width"]

# Penalties that the linear probe tries, from strong to weak: λ/2 on the squared weights beside the
# mean cross entropy, with features of unit variance.
PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
# A fit has converged when no derivative of its objective is above this. On pixels of
# Fashion-MNIST a tenth of it takes three times the steps and moves the accuracy by 0.0003.
TOLERANCE = 1e-3
# Share of the largest deviation of a column below which another one is rounding.
_ROUNDING = 1e-6
# Similarities that the nearest neighbours hold at once: 64 MiB of float32.
SIMILARITIES = 2**24


def features_of(
    network: nn.Module, images: Images | Iterable[Images], batch: int = 500
) -> Float[Tensor, "n d"]:
    """Features of images, by a network in evaluation mode, without gradients.

    Args:
        network: with a method ``features``, as :class:`mlcpc.networks.Network`. Every part of it is
            afterwards in the mode in which it was.
        images: (n, channels, height, width), cut into batches here; or batches one by one, where
            all images prepared at once would take too much memory.
        batch: images at once.

    Returns:
        (n, d), on the device of the images.

    Raises:
        ValueError: no image, a batch below 1, features that are not finite.
    """
    with torch.no_grad(), _evaluation(network):
        parts = [network.features(each) for each in _batches(images, batch)]
    features = torch.cat(parts)
    if not bool(features.isfinite().all()):
        raise ValueError("features hold NaN or infinity; valid: a network with finite features")
    return features


def pixels(
    train_images: TrainImages, test_images: TestImages
) -> tuple[Float[Tensor, "train pixels"], Float[Tensor, "test pixels"]]:
    """The images themselves as features, the floor of no network at all.

    The mean training image is subtracted from both: by cosine the differences count, and without
    the mean this floor is the higher one.

    Returns:
        pixels of the training and of the test images, one row for each image.

    Raises:
        ValueError: no training image, test images of another shape.
    """
    if not len(train_images) or train_images.shape[1:] != test_images.shape[1:]:
        raise ValueError(
            f"images have shapes {tuple(train_images.shape)} and {tuple(test_images.shape)}; "
            "valid: (n, channels, height, width), n at least 1, the rest alike"
        )
    mean = train_images.mean(dim=0)
    return (train_images - mean).flatten(1), (test_images - mean).flatten(1)


def neighbours(
    train_features: TrainFeatures, test_features: TestFeatures, k: int
) -> tuple[Float[Tensor, "test k"], Int[Tensor, "test k"]]:
    """The k training samples nearest to each test sample by cosine, nearest first.

    Features of zero length are at similarity 0 to all. Memory: ``SIMILARITIES`` numbers at once,
    but never less than one test sample's.

    Returns:
        similarities (test, k) and positions in the training set (test, k).

    Raises:
        ValueError: shapes that do not fit, features that are not finite, k outside 1 to the number
            of training samples.
    """
    _check_features(train_features=train_features, test_features=test_features)
    if type(k) is not int or not 1 <= k <= len(train_features):
        refuse("k", k, f"an integer from 1 to {len(train_features)}")
    train, test = (nn.functional.normalize(each, dim=1) for each in (train_features, test_features))
    rows = max(1, SIMILARITIES // len(train))
    found = [(part @ train.T).topk(k, dim=1) for part in test.split(rows)]
    similarities, positions = zip(*found, strict=True)
    return torch.cat(similarities), torch.cat(positions)


def knn(
    train_features: TrainFeatures,
    train_labels: TrainLabels,
    test_features: TestFeatures,
    k: int = 20,
    temperature: float = 0.1,
) -> TestLabels:
    r"""Labels by a weighted vote of the nearest neighbours.

    .. math:: \hat y(x) = \arg\max_c \sum_{i ∈ N_k(x)} e^{\cos(x, x_i)/τ}\, [y_i = c]

    Nothing is fitted, so nothing is chosen: k = 20 and τ = 0.1 are fixed beforehand.

    Args:
        train_features, train_labels: (train, d), (train,).
        test_features: (test, d).
        k: neighbours that vote.
        temperature: τ > 0; a small one leaves the vote to the nearest.

    Returns:
        a label for each test sample; the smallest of those that tie.

    Raises:
        ValueError: as :func:`neighbours`; labels that do not fit; τ not in (0, ∞).

    Source: Wu et al. 2018, arXiv 1805.01978, section 3.4 (there k = 200, τ = 0.07).
    """
    if not 0 < temperature < float("inf"):
        refuse("temperature", temperature, "above 0, finite")
    _check_features(train_features=train_features, test_features=test_features)
    _check_labels(train_labels, train_features)
    similarities, positions = neighbours(train_features, test_features, k)
    # Relative to the nearest, so that no exponential overflows.
    votes = ((similarities - similarities[:, :1]) / temperature).exp()
    classes = int(train_labels.max()) + 1
    tally = votes.new_zeros(len(votes), classes).scatter_add_(1, train_labels[positions], votes)
    return tally.argmax(dim=1)


def shared_neighbours(
    one: Float[Tensor, "n d"], two: Float[Tensor, "n e"], labels: Labels, k: int = 10
) -> float:
    r"""Share of its nearest neighbours inside its class that a sample has in both sets of features.

    .. math:: \frac1n \sum_i \frac{|N_k(x_i) ∩ N_k(y_i)|}{k}

    with neighbours by cosine among the other samples of the label. It is 1 for features that agree
    up to a rotation, and on average k/(c − 1) in classes of c samples for features that are
    independent given the label (the page on distillation).

    Args:
        one, two: features of the same samples by two networks.
        labels: (n,).
        k: neighbours.

    Raises:
        ValueError: shapes that do not fit, features that are not finite, a class with no more than
            k samples.
    """
    _check_features(one=one)
    _check_features(two=two)
    if len(two) != len(one) or labels.shape != one.shape[:1]:
        raise ValueError(
            f"one, two and labels have {len(one)}, {len(two)} and {tuple(labels.shape)} samples; "
            "valid: as many of each"
        )
    check_count("k", k)
    if (least := int(labels.unique(return_counts=True)[1].min())) <= k:
        raise ValueError(f"k is {k} with {least} samples in a class; valid: 1 to {least - 1}")
    both = 0
    for label in labels.unique():
        near = []
        for features in (one, two):
            unit = nn.functional.normalize(features[labels == label], dim=1)
            cosines = (unit @ unit.T).fill_diagonal_(-torch.inf)
            nearest = cosines.topk(k, dim=1).indices
            near.append(torch.zeros_like(cosines, dtype=torch.bool).scatter_(1, nearest, True))
        both += int((near[0] & near[1]).sum())
    return both / (k * len(labels))


@dataclass(frozen=True)
class LinearProbe:
    """What :func:`linear_probe` found.

    Args:
        predicted: a label for each test sample, (test,).
        penalty: the λ that was chosen.
        validation: accuracy on the held-out part of the training set, for each λ that was tried.
        converged: whether the last fit ended by its tolerance.
    """

    predicted: TestLabels
    penalty: float
    validation: dict[float, float]
    converged: bool


def linear_probe(
    train_features: TrainFeatures,
    train_labels: TrainLabels,
    test_features: TestFeatures,
    penalties: Sequence[float] = PENALTIES,
    held_out: float = 0.2,
    max_iterations: int = 1000,
    seed: int = 0,
) -> LinearProbe:
    r"""A linear classifier on frozen features: multinomial logistic regression.

    .. math:: \min_{W, b} \frac1N \sum_i -\log \mathrm{softmax}(W x_i + b)_{y_i}
              + \frac λ2 ‖W‖^2

    with features of zero mean and unit variance over the training set. The penalty λ is chosen on
    a part of the training set, of the same share in every class, that the fits of the choice do
    not see: from the strongest penalty on, until the accuracy on that part falls. The last fit
    takes the whole training set. Two classes share one vector of weights, which is this with 2λ.

    The objective is convex: one minimum, and no learning rate to choose. The paper's code looks for
    the minimum without penalty by 100 epochs of stochastic gradient descent on augmented images.

    Args:
        train_features, train_labels: (train, d), (train,).
        test_features: (test, d).
        penalties: values of λ, from strong to weak.
        held_out: share of the training set that chooses λ.
        max_iterations: most steps of a fit.
        seed: of the division of the training set.

    Raises:
        ValueError: shapes that do not fit, features that are not finite, penalties that do not
            fall or are not above 0, a class with one sample, or fewer than two classes.
        ImportError: scikit-learn is not installed.

    Warns:
        UserWarning: the last fit did not converge, or the weakest penalty of several was chosen.
    """
    _check_features(train_features=train_features, test_features=test_features)
    _check_labels(train_labels, train_features)
    penalties = [float(penalty) for penalty in penalties]
    falling = all(a > b for a, b in zip(penalties, penalties[1:], strict=False))
    if not penalties or not falling or not 0 < penalties[-1] <= penalties[0] < float("inf"):
        refuse("penalties", penalties, "falling numbers above 0")
    if not 0 < held_out < 1:
        refuse("held_out", held_out, "between 0 and 1")
    counts = train_labels.bincount()
    counts = counts[counts > 0]
    if len(counts) < 2 or int(counts.min()) < 2:
        raise ValueError(
            f"train_labels has {len(counts)} classes, the least of {int(counts.min())}; valid: at "
            "least 2 classes, each of at least 2"
        )
    needs("sklearn", "the linear probe")
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    x, new = _standardised(train_features, test_features)
    y = train_labels.cpu().numpy()

    def fit(rows: np.ndarray, penalty: float, model: LogisticRegression | None) -> tuple:
        start = model or LogisticRegression(tol=TOLERANCE, max_iter=max_iterations, warm_start=True)
        start.set_params(C=1 / (penalty * len(rows)))  # theirs weighs the sum of the losses
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            start.fit(x[rows], y[rows])
        return start, not any(issubclass(each.category, ConvergenceWarning) for each in caught)

    fitted, checked = train_test_split(
        np.arange(len(y)), test_size=held_out, stratify=y, random_state=seed
    )
    validation, model, best = {}, None, penalties[0]
    for penalty in penalties if len(penalties) > 1 else ():
        model, _ = fit(fitted, penalty, model)
        validation[penalty] = float((model.predict(x[checked]) == y[checked]).mean())
        if validation[penalty] < validation[best]:
            break
        if validation[penalty] > validation[best]:  # of two as good, the stronger one
            best = penalty
    model, converged = fit(np.arange(len(y)), best, model)
    if not converged:
        warnings.warn(f"the fit has not converged in {max_iterations} steps", stacklevel=2)
    if len(penalties) > 1 and best == penalties[-1]:
        warnings.warn(f"the weakest penalty was chosen, {best:g}: try weaker ones", stacklevel=2)
    predicted = torch.from_numpy(model.predict(new)).to(train_labels.device)
    return LinearProbe(predicted, best, validation, converged)


def accuracy(predicted: TestLabels, labels: TestLabels) -> float:
    """Share of labels that were predicted, from 0 to 1.

    Raises:
        ValueError: other shapes than (test,) twice, no label.
    """
    if predicted.shape != labels.shape or labels.dim() != 1 or not len(labels):
        raise ValueError(
            f"predicted has shape {tuple(predicted.shape)}, labels {tuple(labels.shape)}; "
            "valid: one of each for every sample"
        )
    return float((predicted == labels).double().mean())


def spread(features: Float[Tensor, "n d"]) -> float:
    r"""Standard deviation of unit-norm features over samples: 0 when they have collapsed.

    .. math:: s = \sqrt{d}\; \frac1d \sum_j \mathrm{std}_i\, \frac{x_{ij}}{‖x_i‖}

    It is 1 if directions are uniform on the sphere (for large n), and 0 if all are equal.

    Raises:
        ValueError: fewer than two samples, features that are not finite.

    Source: Chen & He 2021, arXiv 2011.10566, section 4.1, who plot it without the factor √d.
    """
    _check_features(features=features, least=2)
    unit = nn.functional.normalize(features.double(), dim=1)
    return float(unit.std(dim=0).mean()) * features.shape[1] ** 0.5


def effective_rank(features: Float[Tensor, "n d"]) -> float:
    r"""How many dimensions features fill, from 1 to d; 0 if all are equal.

    .. math:: \exp\Big(-\sum_j p_j \log p_j\Big), \qquad p_j = σ_j \Big/ \sum_k σ_k

    with σ the singular values of the features without their mean. It is r if they vary alike in
    r directions and in no other.

    Raises:
        ValueError: fewer than two samples, features that are not finite.

    Source: Roy & Vetterli 2007, "The effective rank". Garrido et al. 2023, arXiv 2210.02885, take
    it of features with their mean, which then counts as a direction of its own.
    """
    _check_features(features=features, least=2)
    wide = features.double()
    centred = wide - wide.mean(dim=0)
    # Rounding in float32, or in the mean, is no direction.
    if float(centred.abs().max()) <= 1e-6 * float(wide.abs().max()):
        return 0.0
    variances = torch.linalg.eigvalsh(centred.T @ centred).clamp(min=0)
    share = variances.sqrt() / variances.sqrt().sum()
    return float(torch.special.entr(share).sum().exp())


def _standardised(train_features: Tensor, test_features: Tensor) -> list[np.ndarray]:
    """Features less the mean over the training set, over its deviation; both know no labels."""
    dtype = torch.get_default_dtype()
    train, test = (each.detach().to(dtype) for each in (train_features, test_features))
    mean, scale = train.mean(dim=0), train.std(dim=0, correction=0)
    # A column that varies by rounding alone is a constant, and no noise of the size of the others.
    scale = torch.where(scale > _ROUNDING * scale.max(), scale, torch.ones_like(scale))
    return [((each - mean) / scale).cpu().numpy() for each in (train, test)]


@contextmanager
def _evaluation(network: nn.Module) -> Iterator[None]:
    """Every part of a network in evaluation mode, and afterwards each in its own."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _batches(images: Tensor | Iterable[Tensor], batch: int) -> Iterator[Tensor]:
    check_count("batch", batch)
    parts = images.split(batch) if isinstance(images, Tensor) else images
    seen = 0
    for part in filter(len, parts):
        seen += len(part)
        yield part
    if not seen:
        raise ValueError("images is empty; valid: at least one image")


def _check_features(least: int = 1, **named: Tensor) -> None:
    width = next(iter(named.values())).shape[-1:]
    for name, features in named.items():
        if features.dim() != 2 or len(features) < least or features.shape[-1:] != width:
            raise ValueError(
                f"{name} has shape {tuple(features.shape)}; valid: (n, d), one d for all, n at "
                f"least {least}"
            )
        if not features.is_floating_point() or not bool(features.isfinite().all()):
            raise ValueError(f"{name} is not finite numbers; valid: floats without NaN, infinity")


def _check_labels(labels: Tensor, features: Tensor) -> None:
    whole = not labels.is_floating_point() and labels.dtype != torch.bool
    if labels.shape != features.shape[:1] or not whole or int(labels.min()) < 0:
        raise ValueError(
            f"train_labels has shape {tuple(labels.shape)} and type {labels.dtype}; valid: an "
            f"integer from 0 on for each of {len(features)} samples"
        )
