r"""Same-class sampling: pairs that share their class and nothing else, and what that is worth.

A pair is drawn by its labels: C for x and C′ for y from a table of labels, then x among the samples
of C and y among those of C′. Its information is bounded from both sides:

    above   I(X; Y) ≤ I(C; C′), and I(C; C′) = H(C) for pairs of one class
    below   I(X; Y) ≥ I(ĉ(X); ĉ(Y)) for every classifier ĉ, read off its confusion

Both ends meet where a classifier reads the class without an error. All values are in nats.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch

from mlcpc import exact
from mlcpc.shapes import Float, Int, Tensor

Table = Float[Tensor, "classes classes"]


# ---------------------------------------------------------------------------------------------
# Sources of one bit
# ---------------------------------------------------------------------------------------------


def binary_entropy(flip: float) -> float:
    r"""Entropy of one bit that is 1 with probability p, in nats.

    .. math:: h(p) = -p \log p - (1 - p) \log(1 - p)

    Raises:
        ValueError: a probability outside [0, 1].
    """
    if not 0 <= flip <= 1:
        raise ValueError(f"flip is {flip}; valid: 0 to 1")
    return -sum(each * math.log(each) for each in (flip, 1 - flip) if each > 0)


def information(sources: int, flip: float = 0.0) -> float:
    r"""Information of independent fair bits through a binary symmetric channel, in nats.

    .. math:: I = d_s \left(\log 2 - h(p)\right)

    Args:
        sources: number d_s of bits.
        flip: probability p with which a bit is flipped on its way.

    Raises:
        ValueError: fewer than one source, a flip outside [0, 1/2].

    Source: the benchmark of Lee & Rhee 2024, arXiv 2410.10924.
    """
    _check_sources(sources)
    _check_flip(flip)
    return sources * (math.log(2) - binary_entropy(flip))


def flip_probability(mi: float, sources: int) -> float:
    """The flip p at which so many sources hold ``mi`` nats, by bisection to the last bit.

    Raises:
        ValueError: fewer than one source, information below 0 or above ``sources`` bits.
    """
    _check_sources(sources)
    most = information(sources)
    if not 0 <= mi <= most * (1 + 1e-12):
        raise ValueError(f"mi is {mi} nats; valid: 0 to {most:.4f}, {sources} bits")
    low, high = 0.0, 0.5
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if information(sources, middle) > mi else (low, middle)
    return 0.0 if mi >= most else high


def flipped(flip: float) -> Table:
    """Joint table of a fair bit and of the same bit behind the channel, (2, 2) in float64.

    Raises:
        ValueError: a flip outside [0, 1/2].
    """
    _check_flip(flip)
    return torch.tensor([[1 - flip, flip], [flip, 1 - flip]], dtype=torch.float64) / 2


def _check_sources(sources: int) -> None:
    if isinstance(sources, bool) or not isinstance(sources, int) or sources < 1:
        raise ValueError(f"sources is {sources!r}; valid: an integer of at least 1")


def _check_flip(flip: float) -> None:
    if not 0 <= flip <= 0.5:
        raise ValueError(f"flip is {flip}; valid: 0 to 0.5")


# ---------------------------------------------------------------------------------------------
# The band
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Band:
    """Two ends between which the information of a pair lies, and a cruder lower end; in nats.

    Args:
        low: what the readings of a classifier share, I(ĉ(X); ĉ(Y)).
        fano: what follows from its share of errors alone, by Fano's inequality, at least 0; None
            where the classifier gives readings other than classes.
        high: what the labels share.
    """

    low: float
    fano: float | None
    high: float

    def times(self, sources: int) -> "Band":
        """The band of so many independent sources."""
        _check_sources(sources)
        fano = None if self.fano is None else sources * self.fano
        return Band(sources * self.low, fano, sources * self.high)


def band(confusion: Float[Tensor, "classes readings"], labels: Table) -> Band:
    r"""Bound the information of pairs that were drawn by their labels, from both sides.

    With Q(r | c) the share of the samples of class c to which a classifier gives the reading r,
    T the table of labels and X − C − C′ − Y,

    .. math:: I\left(Q^\top T Q\right) = I(\hat c(X); \hat c(Y)) \le I(X; Y) \le I(T)

    The cruder end needs the share of errors e = P(ĉ(X) ≠ C) alone, and e′ that of y:

    .. math:: I(X; Y) \ge I(T) - b(e) - b(e'), \qquad b(e) = h(e) + e \log(K - 1)

    Args:
        confusion: counts or shares of held-out samples, a row for each class and a column for each
            reading; with as many readings as classes, reading k says class k. Readings may be finer
            than classes, such as the class with its certainty.
        labels: joint table of the label of x and of y, probabilities in float64, (K, K).

    Returns:
        both ends, and the cruder one. The lower end holds for the law from which the samples were
        drawn, up to the chance of the counts; it says nothing of a finite list that is drawn from
        again and again, where the class is a function of the sample and the upper end is the truth.

    Raises:
        ValueError: shapes that do not fit, negative or infinite entries, a class without a sample,
            labels that do not sum to one.

    Source: data processing; Fano's inequality as in Cover & Thomas, section 2.10.
    """
    confusion, labels = confusion.double(), labels.double()
    for name, each in (("confusion", confusion), ("labels", labels)):
        if each.ndim != 2 or not bool((each.isfinite() & (each >= 0)).all()):
            raise ValueError(f"{name} is {tuple(each.shape)} or has an entry below 0 or not finite;"
                             " valid: a table of numbers from 0 up")  # fmt: skip
    classes, readings = confusion.shape
    if labels.shape != (classes, classes) or classes < 2 or readings < 2:
        raise ValueError(
            f"labels has shape {tuple(labels.shape)} for a confusion of {tuple(confusion.shape)}; "
            f"valid: ({classes}, {classes}), at least 2 classes and 2 readings"
        )
    if abs(labels.sum().item() - 1) > 1e-6:
        raise ValueError(f"labels sums to {labels.sum().item()}; valid: 1")
    if (empty := torch.nonzero(confusion.sum(1) == 0)).numel():
        raise ValueError(f"confusion has no sample of class {int(empty[0])}; valid: at least one")
    given = confusion / confusion.sum(1, keepdim=True)
    high = exact.from_counts(labels).mi.item()
    low = min(high, exact.from_counts(given.T @ labels @ given).mi.item())
    fano = None
    if classes == readings:
        right = given.diagonal()
        wrong = [1 - min(1.0, (labels.sum(side) * right).sum().item()) for side in (1, 0)]
        fano = max(0.0, high - sum(fano_loss(each, classes) for each in wrong))
    return Band(low, fano, high)


def fano_loss(wrong: float, classes: int) -> float:
    r"""The most that a class can still hold once a classifier has spoken, in nats.

    .. math:: H(C \mid \hat c) \le h(e) + e \log(K - 1)

    Args:
        wrong: share e of errors, 0 to 1.
        classes: number K of classes, at least 2.
    """
    return binary_entropy(wrong) + wrong * math.log(classes - 1)


# ---------------------------------------------------------------------------------------------
# The problem
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ClassSources:
    r"""Samples of two classes side by side; each pair of places shares a bit through a channel.

    x is d_s samples in a row, each of a class that a fair coin chose. y is d_s others: the class of
    each is that of its partner in x, but flipped with probability p.

    .. math:: I(X; Y) \le d_s \left(\log 2 - h(p)\right)

    with equality where the class is a function of the sample, as it is of a finite list.

    Args:
        samples: (N, d), one sample a row.
        labels: (N,) integers, 0 or 1.
        sources: number d_s of places.
        flip: probability p, 0 to 1/2.

    Raises:
        ValueError: other shapes or labels, a class without a sample, a flip outside [0, 1/2].

    Source: the benchmark of Lee & Rhee 2024, arXiv 2410.10924.
    """

    samples: Float[Tensor, "count d"]
    labels: Int[Tensor, " count"]
    sources: int = 10
    flip: float = 0.0

    def __post_init__(self) -> None:
        information(self.sources, self.flip)
        if self.samples.ndim != 2 or self.labels.shape != self.samples.shape[:1]:
            raise ValueError(
                f"labels has shape {tuple(self.labels.shape)} for samples of "
                f"{tuple(self.samples.shape)}; valid: one label for each row"
            )
        if (there := sorted(self.labels.unique().tolist())) != [0, 1]:
            raise ValueError(f"labels holds {there}; valid: 0 and 1, each at least once")

    @property
    def mi(self) -> float:
        """The information of the labels in nats: the upper end for samples."""
        return information(self.sources, self.flip)

    @property
    def dim_x(self) -> int:
        return self.sources * self.samples.shape[1]

    @property
    def dim_y(self) -> int:
        return self.dim_x

    @cached_property
    def _members(self) -> list[Tensor]:
        return [torch.nonzero(self.labels == label)[:, 0] for label in (0, 1)]

    def bits(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw the classes of pairs: of x and of y, each (count, sources), 0 or 1."""
        shape, device = (count, self.sources), generator.device
        of_x = torch.randint(2, shape, generator=generator, device=device)
        turned = torch.rand(shape, generator=generator, device=device) < self.flip
        return of_x, of_x ^ turned.long()

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw pairs: x and y, each (count, sources · d)."""
        return tuple(self._drawn(each, generator) for each in self.bits(count, generator))

    def _drawn(self, bits: Tensor, generator: torch.Generator) -> Tensor:
        """A sample of each class that is asked for, (count, sources · d)."""
        sizes = torch.tensor([len(each) for each in self._members], device=bits.device)[bits]
        chance = torch.rand(bits.shape, generator=generator, device=bits.device)
        # rand can round up to one in single precision.
        place = torch.minimum((chance * sizes).long(), sizes - 1)
        begin = bits * len(self._members[0])
        rows = torch.cat(self._members).to(bits.device)[begin + place]
        return self.samples.to(bits.device)[rows].flatten(1)
