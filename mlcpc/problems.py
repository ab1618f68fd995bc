"""Joint distributions of real vectors whose mutual information is known.

Every problem has ``mi`` in nats, ``dim_x`` and ``dim_y``, and ``sample(count, generator)``, which
draws on the device of the generator. Where the density is known there is ``log_ratio(x, y)`` too,
log p(x, y)/(p(x) p(y)): the best critic of many bounds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar

import torch

from mlcpc.shapes import Float, Int, Tensor

X = Float[Tensor, "count dim_x"]
Y = Float[Tensor, "count dim_y"]
Pairs = tuple[X, Y]


# ---------------------------------------------------------------------------------------------
# Gaussians
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CorrelatedGaussian:
    r"""Standard normal x and y in d dimensions, correlated coordinate by coordinate.

    .. math:: y = ρ x + \sqrt{1 - ρ^2}\, ε, \qquad I = -\tfrac d2 \log(1 - ρ^2)

    Args:
        mi: mutual information in nats, at least 0.
        dim: dimension d of x and of y.

    Raises:
        ValueError: negative or infinite mi, dim below 1.

    Source: the benchmark problem of Belghazi et al. 2018 and Poole et al. 2019.
    """

    mi: float
    dim: int = 20

    def __post_init__(self) -> None:
        if not 0 <= self.mi < math.inf:
            raise ValueError(f"mi is {self.mi}; valid: nats from 0 up")
        if self.dim < 1:
            raise ValueError(f"dim is {self.dim}; valid: at least 1")

    @property
    def dim_x(self) -> int:
        return self.dim

    @property
    def dim_y(self) -> int:
        return self.dim

    @property
    def rho(self) -> float:
        """Correlation ρ of each coordinate pair."""
        return math.sqrt(-math.expm1(-2 * self.mi / self.dim))

    def sample(self, count: int, generator: torch.Generator) -> Pairs:
        """Draw pairs: x and y, each (count, dim), in the default dtype."""
        x = _normal(count, self.dim, generator)
        noise = _normal(count, self.dim, generator)
        return x, self.rho * x + math.exp(-self.mi / self.dim) * noise

    def log_ratio(
        self, x: Float[Tensor, "*#batch dim"], y: Float[Tensor, "*#batch dim"]
    ) -> Float[Tensor, "*batch"]:
        """log p(x, y)/(p(x) p(y)) of each pair, in nats; x and y broadcast."""
        variance = math.exp(-2 * self.mi / self.dim)  # 1 − ρ²
        quadratic = (2 * self.rho * x * y - self.rho**2 * (x**2 + y**2)).sum(-1)
        return self.mi + quadratic / (2 * variance)


@dataclass(frozen=True)
class MultivariateGaussian:
    r"""Normal (x, y) with any covariance.

    .. math:: I = \tfrac12 \log \frac{\det Σ_{xx} \det Σ_{yy}}{\det Σ}

    Args:
        covariance: Σ of (x, y), a tuple of rows, positive definite.
        dim_x: coordinates that belong to x; the rest is y.

    Raises:
        ValueError: a matrix that is not square, symmetric and positive definite; dim_x out of
            range.
    """

    covariance: tuple[tuple[float, ...], ...]
    dim_x: int

    def __post_init__(self) -> None:
        total = len(self.covariance)
        if any(len(row) != total for row in self.covariance):
            raise ValueError("covariance is not square; valid: a symmetric matrix")
        if not 1 <= self.dim_x < total:
            raise ValueError(f"dim_x is {self.dim_x}; valid: 1 to {total - 1}")
        matrix = self._matrix
        if not torch.allclose(matrix, matrix.T, rtol=0, atol=1e-12):
            raise ValueError("covariance is not symmetric; valid: a symmetric matrix")
        least = torch.linalg.eigvalsh(matrix).min().item()
        if not least > 1e-12:
            raise ValueError(f"covariance has eigenvalue {least:.3g}; valid: all above 0")

    @cached_property
    def _matrix(self) -> Tensor:
        return torch.tensor(self.covariance, dtype=torch.float64)

    @property
    def dim_y(self) -> int:
        return len(self.covariance) - self.dim_x

    @cached_property
    def mi(self) -> float:
        """Mutual information in nats."""
        of_x, of_y = _blocks(self._matrix, self.dim_x)
        return (_log_det(of_x) + _log_det(of_y) - _log_det(self._matrix)) / 2

    def sample(self, count: int, generator: torch.Generator) -> Pairs:
        """Draw pairs: x (count, dim_x) and y (count, dim_y), in the default dtype."""
        both = _normal(count, len(self.covariance), generator)
        root = torch.linalg.cholesky(self._matrix).to(both)
        return _halves(both @ root.T, self.dim_x)

    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """log p(x, y)/(p(x) p(y)) of each pair, in nats; leading dimensions broadcast."""
        whole, of_x, of_y = _squared_lengths(self._matrix, x, y)
        return self.mi + (of_x + of_y - whole) / 2


def dense_gaussian(dim_x: int, dim_y: int, off_diagonal: float = 0.5) -> MultivariateGaussian:
    """Unit variances, the same correlation between any two coordinates.

    Source: the tasks "multinormal-dense" of Czyż et al. 2023.
    """
    total = dim_x + dim_y
    matrix = [[1.0 if i == j else off_diagonal for j in range(total)] for i in range(total)]
    return MultivariateGaussian(tuple(map(tuple, matrix)), dim_x)


def sparse_gaussian(dim: int, pairs: int = 2, rho: float = 0.8) -> MultivariateGaussian:
    r"""Only the first ``pairs`` coordinates of x and y are correlated, each with its partner.

    .. math:: I = -\tfrac{\text{pairs}}2 \log(1 - ρ^2)

    Source: the tasks "2-pair" of Czyż et al. 2023, where ρ is 0.8.
    """
    if not 1 <= pairs <= dim:
        raise ValueError(f"pairs is {pairs}; valid: 1 to dim = {dim}")
    matrix = torch.eye(2 * dim, dtype=torch.float64)
    for i in range(pairs):
        matrix[i, dim + i] = matrix[dim + i, i] = rho
    return MultivariateGaussian(tuple(map(tuple, matrix.tolist())), dim)


# ---------------------------------------------------------------------------------------------
# Other densities
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StudentT:
    r"""Student-t (x, y): a normal pair of :class:`MultivariateGaussian` over √(χ²_ν/ν).

    .. math:: I = I_{\text{normal}} + c(ν) + c(ν + d_x + d_y) - c(ν + d_x) - c(ν + d_y),
              \quad c(t) = \log Γ(\tfrac t2) - \tfrac t2 ψ(\tfrac t2)

    The information is above zero even when x and y are uncorrelated: they share the scale.

    Args:
        normal: the normal pair, whose covariance is the dispersion here.
        dof: degrees of freedom ν, an integer of at least 1.

    Raises:
        ValueError: another dof.

    Source: Arellano-Valle et al. 2013; the tasks "student" of Czyż et al. 2023.
    """

    normal: MultivariateGaussian
    dof: int

    def __post_init__(self) -> None:
        if isinstance(self.dof, bool) or not isinstance(self.dof, int) or self.dof < 1:
            raise ValueError(f"dof is {self.dof!r}; valid: an integer of at least 1")

    @property
    def dim_x(self) -> int:
        return self.normal.dim_x

    @property
    def dim_y(self) -> int:
        return self.normal.dim_y

    @cached_property
    def mi(self) -> float:
        """Mutual information in nats."""

        def c(t: int) -> float:
            half = torch.tensor(t / 2, dtype=torch.float64)
            return (torch.lgamma(half) - half * torch.digamma(half)).item()

        nu, dim_x, dim_y = self.dof, self.dim_x, self.dim_y
        return self.normal.mi + c(nu) + c(nu + dim_x + dim_y) - c(nu + dim_x) - c(nu + dim_y)

    def sample(self, count: int, generator: torch.Generator) -> Pairs:
        """Draw pairs: x (count, dim_x) and y (count, dim_y), in the default dtype."""
        x, y = self.normal.sample(count, generator)
        scale = _normal(count, self.dof, generator).square().mean(1, keepdim=True).sqrt()
        return x / scale, y / scale

    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """log p(x, y)/(p(x) p(y)) of each pair, in nats; leading dimensions broadcast."""
        nu, dim_x, dim_y = self.dof, self.dim_x, self.dim_y
        of_x, of_y = _blocks(self.normal._matrix, dim_x)
        lengths = _squared_lengths(self.normal._matrix, x, y)
        log_density = [
            math.lgamma((nu + d) / 2)
            - math.lgamma(nu / 2)
            - _log_det(matrix) / 2
            - (nu + d) / 2 * torch.log1p(length / nu)
            for d, matrix, length in zip(
                (dim_x + dim_y, dim_x, dim_y),
                (self.normal._matrix, of_x, of_y),
                lengths,
                strict=True,
            )
        ]  # (νπ)^(d/2) cancels
        return log_density[0] - log_density[1] - log_density[2]


@dataclass(frozen=True)
class AdditiveUniform:
    r"""x uniform on [0, 1], y = x + u with u uniform on [−ε, ε].

    .. math:: I = ε - \log(2ε) \text{ for } ε \le \tfrac12, \qquad
              I = \tfrac{1}{4ε} \text{ for } ε \ge \tfrac12

    Args:
        noise: half width ε of the noise, above 0.

    Raises:
        ValueError: noise that is not above 0 and finite.

    Source: the tasks "additive" of Czyż et al. 2023.
    """

    noise: float
    dim_x: ClassVar[int] = 1
    dim_y: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 < self.noise < math.inf:
            raise ValueError(f"noise is {self.noise}; valid: noise > 0")

    @property
    def mi(self) -> float:
        """Mutual information in nats."""
        if self.noise <= 0.5:
            return self.noise - math.log(2 * self.noise)
        return 1 / (4 * self.noise)

    def sample(self, count: int, generator: torch.Generator) -> Pairs:
        """Draw pairs: x and y, each (count, 1), in the default dtype."""
        uniform = torch.rand(2, count, 1, generator=generator, device=generator.device)
        return uniform[0], uniform[0] + self.noise * (2 * uniform[1] - 1)

    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """log p(x, y)/(p(x) p(y)) of each pair, −inf where the pair is impossible."""
        x, y = x[..., 0], y[..., 0]
        overlap = (y + self.noise).clamp(max=1) - (y - self.noise).clamp(min=0)
        possible = ((y - x).abs() <= self.noise) & (x >= 0) & (x <= 1)
        return torch.where(possible, -overlap.clamp(min=1e-300).log(), -math.inf)


ROW_TESTS = ("baseline", "processing", "additivity")
BACK = 3  # rows that the second copy of Y lacks in the test of processing


@dataclass(frozen=True, eq=False)
class TopRows:
    r"""X an image drawn from finitely many, Y what one of the three tests makes of its top rows.

    .. math:: I(X; Y_t) = H(Y_t) = -\sum_y p(y) \log p(y)

    since Y_t is a function of X. With ``additivity`` it is twice that, with ``processing`` the
    same.

    Args:
        images: (N, H, W) numbers.
        rows: t, from 0 (Y is a constant) to H.
        test: baseline, processing or additivity.

    Raises:
        ValueError: images of another shape, rows out of range, an unknown test; processing needs
            more than 3 rows.

    Source: the tests of Song & Ermon 2020, "Understanding the Limitations of Variational Mutual
    Information Estimators".
    """

    images: Tensor
    rows: int
    test: str = "baseline"

    def __post_init__(self) -> None:
        if self.images.ndim != 3:
            raise ValueError(f"images has shape {tuple(self.images.shape)}; valid: (N, H, W)")
        if self.test not in ROW_TESTS:
            raise ValueError(f"test is {self.test!r}; valid: {', '.join(ROW_TESTS)}")
        least = BACK + 1 if self.test == "processing" else 0
        if not least <= self.rows <= self.images.shape[1]:
            raise ValueError(
                f"rows is {self.rows}; valid: {least} to {self.images.shape[1]} for {self.test}"
            )

    @property
    def dim_x(self) -> int:
        return self.images[0].numel() * (1 if self.test == "baseline" else 2)

    @property
    def dim_y(self) -> int:
        return sum(max(1, rows * self.images.shape[2]) for rows in self._shown)

    @property
    def _shown(self) -> tuple[int, ...]:
        """Rows of each part of Y."""
        second = {"processing": (self.rows - BACK,), "additivity": (self.rows,)}
        return (self.rows, *second.get(self.test, ()))

    @cached_property
    def codes(self) -> Int[Tensor, " count"]:
        """A number for each image: the same for two images exactly if their top rows are."""
        if self.rows == 0:
            return torch.zeros(len(self.images), dtype=torch.int64)
        top = self.images[:, : self.rows].flatten(1)
        return torch.unique(top, dim=0, return_inverse=True)[1]

    @cached_property
    def mi(self) -> float:
        """Mutual information in nats, of images drawn with replacement."""
        share = torch.bincount(self.codes).double() / len(self.images)
        entropy = -(share * share.log()).sum().item()
        return entropy * (2 if self.test == "additivity" else 1)

    def sample(self, count: int, generator: torch.Generator) -> Pairs:
        """Draw pairs: x (count, dim_x) and y (count, dim_y)."""
        independent = 2 if self.test == "additivity" else 1
        index = torch.randint(
            len(self.images), (independent, count), generator=generator, device=generator.device
        )
        drawn = [self.images[each] for each in index]
        if self.test == "processing":
            drawn = drawn * 2
        x = torch.cat([each.flatten(1) for each in drawn], dim=1)
        parts = [self._top(each, rows) for each, rows in zip(drawn, self._shown, strict=True)]
        return x, torch.cat(parts, dim=1)

    @staticmethod
    def _top(drawn: Tensor, rows: int) -> Tensor:
        # No row at all is a constant column: a critic needs one input at least.
        return drawn[:, :rows].flatten(1) if rows else drawn.new_zeros(len(drawn), 1)


@dataclass(frozen=True, eq=False)
class SameClassImages:
    r"""Two images of one class, drawn independently: I = H(class).

    The class is a function of the image, so x and y share it and nothing else. Classes are drawn
    as often as they occur among the labels.

    Args:
        images: (N, …), one image a row; flattened.
        labels: (N,) integers.

    Raises:
        ValueError: different lengths, an image that stands under two classes.

    Source: same-class sampling of Lee et al. 2024.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels) or self.labels.ndim != 1:
            raise ValueError(
                f"labels has shape {tuple(self.labels.shape)}; valid: ({len(self.images)},)"
            )
        flat = self.images.flatten(1)
        with_label = torch.cat([flat, self.labels[:, None].to(flat)], dim=1)
        if len(flat.unique(dim=0)) != len(with_label.unique(dim=0)):
            raise ValueError("images holds one image under two labels; valid: one class an image")
        object.__setattr__(self, "images", flat)

    @property
    def dim_x(self) -> int:
        return self.images.shape[1]

    @property
    def dim_y(self) -> int:
        return self.images.shape[1]

    @cached_property
    def _members(self) -> list[Tensor]:
        return [torch.nonzero(self.labels == label)[:, 0] for label in self.labels.unique()]

    @cached_property
    def mi(self) -> float:
        """Entropy of the class in nats."""
        share = torch.tensor([len(each) for each in self._members], dtype=torch.float64)
        share = share / share.sum()
        return -(share * share.log()).sum().item()

    def sample(self, count: int, generator: torch.Generator) -> Pairs:
        """Draw pairs: x and y, each (count, pixels)."""
        device = generator.device
        first = torch.randint(len(self.images), (count,), generator=generator, device=device)
        chance = torch.rand(count, generator=generator, device=device)
        second = torch.empty_like(first)
        classes = self.labels.to(device)[first]
        for members in self._members:
            here = classes == self.labels[members[0]].to(device)
            members = members.to(device)
            # rand can round up to one in single precision.
            place = (chance[here] * len(members)).long().clamp(max=len(members) - 1)
            second[here] = members[place]
        images = self.images.to(device)
        return images[first], images[second]


_GLYPHS = (  # 5 × 5, two of them alike in no more than half of their pixels
    "11111 10001 10001 10001 11111", "00100 00100 11111 00100 00100",
    "10001 01010 00100 01010 10001", "11111 00000 11111 00000 11111",
)  # fmt: skip
FACTORS = ("class", "position", "texture")


@dataclass(frozen=True)
class FactorImages:
    r"""Pictures of a class, a position and a texture, all independent; a pair agrees in some.

    A picture has 12 × 12 pixels: one of up to four shapes in one of up to four corners, on one of
    up to four textures, under bounded noise. Each factor of y is with probability q that of x, and
    else drawn anew, so with K equally likely values

    .. math:: I(X; Y) = \sum_f i(K_f, q_f), \quad i(K, q) = \log K + s \log s + (K - 1)\, o \log o,
              \quad o = \tfrac{1 - q}{K}, \quad s = q + o

    and the same sum over a set S of factors is the information that S of x has about y. It is
    exact: the noise is too small to hide a factor, so each is a function of the picture.

    Args:
        agree: q of class, position and texture, each from 0 to 1.
        sizes: number K of values of each, 2 to 4.
        noise: largest size of the noise of a pixel, at least 0 and below 1/4.

    Raises:
        ValueError: a number outside its range.

    Source: the three factors of the InfoMin experiments of Tian et al. 2020, arXiv 2005.10243,
    without their videos; the pictures are ours.
    """

    agree: tuple[float, float, float] = (1.0, 0.0, 0.0)
    sizes: tuple[int, int, int] = (4, 4, 4)
    noise: float = 0.2

    def __post_init__(self) -> None:
        if len(self.agree) != 3 or not all(0 <= each <= 1 for each in self.agree):
            raise ValueError(f"agree is {self.agree}; valid: three probabilities, 0 to 1")
        if len(self.sizes) != 3 or not all(each in (2, 3, 4) for each in self.sizes):
            raise ValueError(f"sizes is {self.sizes}; valid: three integers, each 2 to 4")
        if not 0 <= self.noise < 0.25:
            raise ValueError(f"noise is {self.noise}; valid: 0 <= noise < 0.25")

    @property
    def dim_x(self) -> int:
        return 144

    @property
    def dim_y(self) -> int:
        return 144

    def information(self, factors: tuple[str, ...] = FACTORS) -> float:
        """Information in nats that some factors of x have about y: I(S of x; y).

        Raises:
            ValueError: a name that is none of ``FACTORS``.
        """
        if unknown := set(factors) - set(FACTORS):
            raise ValueError(f"factors holds {min(unknown)!r}; valid: {', '.join(FACTORS)}")
        parts = dict(zip(FACTORS, zip(self.sizes, self.agree, strict=True), strict=True))
        return math.fsum(_agreement(*parts[each]) for each in set(factors))

    @property
    def mi(self) -> float:
        """Mutual information of a pair in nats."""
        return self.information()

    @cached_property
    def clean(self) -> Float[Tensor, "k1 k2 k3 144"]:
        """Pictures without noise, by class, position and texture."""
        row, column = torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
        waves = (row, column, row + column, row // 2 + column // 2)
        found = torch.stack([(wave % 2) * 0.5 - 0.25 for wave in waves[: self.sizes[2]]])
        found = found.repeat(*self.sizes[:2], 1, 1, 1)
        for kind, glyph in enumerate(_GLYPHS[: self.sizes[0]]):
            shape = torch.tensor([[float(each) for each in line] for line in glyph.split()])
            for place in range(self.sizes[1]):
                top, left = 6 * (place // 2), 6 * (place % 2)
                part = found[kind, place, :, top : top + 5, left : left + 5]
                part.copy_(torch.where(shape > 0, 1.0, part))
        return found.flatten(3)

    def sample_factors(
        self, count: int, generator: torch.Generator
    ) -> tuple[Int[Tensor, "count 3"], Int[Tensor, "count 3"]]:
        """Draw class, position and texture of x and of y."""

        def drawn() -> Tensor:
            chance = torch.rand(count, 3, generator=generator, device=generator.device)
            sizes = torch.tensor(self.sizes, device=chance.device)
            return (chance * sizes).long().minimum(sizes - 1)  # rand can round up to one

        of_x, anew = drawn(), drawn()
        chance = torch.rand(count, 3, generator=generator, device=generator.device)
        same = chance < torch.tensor(self.agree, device=chance.device)
        return of_x, torch.where(same, of_x, anew)

    def pictures(
        self, factors: Int[Tensor, "count 3"], generator: torch.Generator
    ) -> Float[Tensor, "count 144"]:
        """Draw a picture of each row of factors."""
        plain = self.clean.to(factors.device)[tuple(factors.T)]
        chance = torch.rand(plain.shape, generator=generator, device=generator.device)
        return plain + self.noise * (2 * chance - 1)

    def factors(self, pictures: Float[Tensor, "count 144"]) -> Int[Tensor, "count 3"]:
        """Read class, position and texture off pictures, without error."""
        plain = self.clean.to(pictures).flatten(0, 2)
        far = torch.cdist(pictures, plain, p=float("inf"))
        return torch.stack(torch.unravel_index(far.argmin(1), self.sizes), dim=1)

    def sample(self, count: int, generator: torch.Generator) -> Pairs:
        """Draw pairs: x and y, each (count, 144)."""
        of_x, of_y = self.sample_factors(count, generator)
        return self.pictures(of_x, generator), self.pictures(of_y, generator)


def _agreement(size: int, q: float) -> float:
    """Information of two uniform values that agree with probability q, and else are independent."""
    other = (1 - q) / size
    same = q + other
    rest = (size - 1) * other * math.log(other) if other > 0 else 0.0
    return math.log(size) + same * math.log(same) + rest


# ---------------------------------------------------------------------------------------------
# Maps that leave the information as it is
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Power:
    """sign(x)·|x|^exponent in every coordinate: 3 cubes, 1.5 is the half-cube."""

    exponent: float

    def __post_init__(self) -> None:
        if not 0 < self.exponent < math.inf:
            raise ValueError(f"exponent is {self.exponent}; valid: exponent > 0")

    def __call__(self, x: Tensor) -> Tensor:
        return x.sign() * x.abs() ** self.exponent

    def inverse(self, x: Tensor) -> Tensor:
        return x.sign() * x.abs() ** (1 / self.exponent)


@dataclass(frozen=True)
class Asinh:
    """Inverse hyperbolic sine in every coordinate: it shortens heavy tails."""

    def __call__(self, x: Tensor) -> Tensor:
        return x.asinh()

    def inverse(self, x: Tensor) -> Tensor:
        return x.sinh()


@dataclass(frozen=True)
class NormalCDF:
    """Distribution function of the standard normal in every coordinate."""

    def __call__(self, x: Tensor) -> Tensor:
        return torch.special.ndtr(x)

    def inverse(self, x: Tensor) -> Tensor:
        return torch.special.ndtri(x)


@dataclass(frozen=True)
class Rotation:
    """A random rotation of all coordinates, the same for the same dim and seed."""

    dim: int
    seed: int = 0

    def _matrix(self, like: Tensor) -> Tensor:
        return _orthogonal(self.dim, self.seed).to(like)

    def __call__(self, x: Tensor) -> Tensor:
        return x @ self._matrix(x)

    def inverse(self, x: Tensor) -> Tensor:
        return x @ self._matrix(x).T


@dataclass(frozen=True)
class Spiral:
    """Turn the plane of two coordinates by an angle of speed·|x|², which no turn changes."""

    speed: float = 1 / 3
    first: int = 0
    second: int = 1

    def _turn(self, x: Tensor, speed: float) -> Tensor:
        angle = speed * x.square().sum(-1)
        a, b = x[..., self.first], x[..., self.second]
        turned = x.clone()
        turned[..., self.first] = angle.cos() * a - angle.sin() * b
        turned[..., self.second] = angle.sin() * a + angle.cos() * b
        return turned

    def __call__(self, x: Tensor) -> Tensor:
        return self._turn(x, self.speed)

    def inverse(self, x: Tensor) -> Tensor:
        return self._turn(x, -self.speed)


Map = Power | Asinh | NormalCDF | Rotation | Spiral


@dataclass(frozen=True)
class Transformed:
    """Another problem seen through one-to-one maps of x and of y: the same information.

    Args:
        base: the problem.
        map_x, map_y: maps of x and of y; None leaves them alone.
    """

    base: "Problem"
    map_x: Map | None = None
    map_y: Map | None = None

    @property
    def mi(self) -> float:
        """Mutual information in nats, that of the base."""
        return self.base.mi

    @property
    def dim_x(self) -> int:
        return self.base.dim_x

    @property
    def dim_y(self) -> int:
        return self.base.dim_y

    def sample(self, count: int, generator: torch.Generator) -> Pairs:
        """Draw pairs of the base and map them."""
        x, y = self.base.sample(count, generator)
        return (self.map_x(x) if self.map_x else x), (self.map_y(y) if self.map_y else y)

    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """The ratio of the base at the pair that was mapped here."""
        x = self.map_x.inverse(x) if self.map_x else x
        y = self.map_y.inverse(y) if self.map_y else y
        return self.base.log_ratio(x, y)


Problem = (
    CorrelatedGaussian
    | MultivariateGaussian
    | StudentT
    | AdditiveUniform
    | SameClassImages
    | FactorImages
    | Transformed
)


# ---------------------------------------------------------------------------------------------
# Collections
# ---------------------------------------------------------------------------------------------


def both(base: Problem, map_: Map) -> Transformed:
    """The same map on x and on y."""
    return Transformed(base, map_, map_)


def _rotated(problem: Problem) -> Transformed:
    return Transformed(problem, Rotation(problem.dim_x, 1), Rotation(problem.dim_y, 2))


def _cubic(mi: float, dim: int) -> Transformed:
    return Transformed(CorrelatedGaussian(mi, dim), map_y=Power(3.0))


STAIRCASES: dict[str, Callable[[float, int], Problem]] = {
    "gaussian": CorrelatedGaussian,
    "cubic": _cubic,
    "gaussian-rotated": lambda mi, dim: _rotated(CorrelatedGaussian(mi, dim)),
    "cubic-rotated": lambda mi, dim: _rotated(_cubic(mi, dim)),
}
LEVELS = (2.0, 4.0, 6.0, 8.0, 10.0)


def staircase(task: str, levels: tuple[float, ...] = LEVELS, dim: int = 20) -> list[Problem]:
    """One problem for each level of true information: gaussian, cubic, or one of them rotated.

    ``cubic`` raises each coordinate of y to the third power; ``-rotated`` then turns x and y by
    fixed random rotations. None of this changes the information, and each makes it harder to see.

    Raises:
        ValueError: an unknown task, a negative level.

    Source: Poole et al. 2019; levels as in Song & Ermon 2020.
    """
    if task not in STAIRCASES:
        raise ValueError(f"task is {task!r}; valid: {', '.join(STAIRCASES)}")
    return [STAIRCASES[task](level, dim) for level in levels]


def beyond_gaussian() -> dict[str, Problem]:
    """Name → problem: heavy tails, sparse interactions, monotone maps and spirals, exact MI.

    Source: a selection of the tasks of Czyż et al. 2023, but for the spiral in 25 columns: theirs
    turns by |x|²/25 in place of |x|²/3.
    """
    two_pair = {dim: sparse_gaussian(dim) for dim in (3, 5, 25)}
    one = CorrelatedGaussian(-math.log1p(-(0.75**2)) / 2, 1)
    student = {
        (d, nu): StudentT(dense_gaussian(d, d, 0.0), nu)
        for d, nu in ((1, 1), (2, 1), (3, 2), (5, 2), (5, 3))
    }
    return (
        {
            "normal 1x1": one,
            "normal-cdf 1x1": both(one, NormalCDF()),
            "half-cube 1x1": both(one, Power(1.5)),
            "additive 0.1": AdditiveUniform(0.1),
            "additive 0.75": AdditiveUniform(0.75),
            "dense 5x5": dense_gaussian(5, 5),
            "dense 25x25": dense_gaussian(25, 25),
            "sparse 3x3": two_pair[3],
            "sparse 5x5": two_pair[5],
            "sparse 25x25": two_pair[25],
            "half-cube sparse 3x3": both(two_pair[3], Power(1.5)),
            "half-cube sparse 25x25": both(two_pair[25], Power(1.5)),
            "normal-cdf sparse 3x3": both(two_pair[3], NormalCDF()),
            "normal-cdf sparse 25x25": both(two_pair[25], NormalCDF()),
            "spiral sparse 3x3": _spiral(two_pair[3]),
            "spiral sparse 25x25": _spiral(two_pair[25]),
            "spiral normal-cdf sparse 3x3": _spiral(both(two_pair[3], NormalCDF())),
        }
        | {f"student {d}x{d} dof {nu}": problem for (d, nu), problem in student.items()}
        | {
            f"asinh student {d}x{d} dof {nu}": both(student[d, nu], Asinh())
            for d, nu in ((1, 1), (2, 1), (5, 2))
        }
    )


def _spiral(problem: Problem) -> Transformed:
    return Transformed(problem, Spiral(1 / 3, 0, 1), Spiral(1 / 3, 1, 2))


# ---------------------------------------------------------------------------------------------
# Helpers
# ---------------------------------------------------------------------------------------------


def _normal(count: int, dim: int, generator: torch.Generator) -> Tensor:
    return torch.randn(count, dim, generator=generator, device=generator.device)


def _halves(both_: Tensor, dim_x: int) -> Pairs:
    return both_[:, :dim_x], both_[:, dim_x:]


def _blocks(matrix: Tensor, dim_x: int) -> tuple[Tensor, Tensor]:
    return matrix[:dim_x, :dim_x], matrix[dim_x:, dim_x:]


def _log_det(matrix: Tensor) -> float:
    return torch.linalg.slogdet(matrix).logabsdet.item()


def _squared_lengths(matrix: Tensor, x: Tensor, y: Tensor) -> list[Tensor]:
    """zᵀ Σ⁻¹ z of the pair, of x and of y, each with its own block of Σ."""
    of_x, of_y = _blocks(matrix, x.shape[-1])
    leading = torch.broadcast_shapes(x.shape[:-1], y.shape[:-1])
    whole = torch.cat([x.expand(*leading, -1), y.expand(*leading, -1)], dim=-1)
    parts = ((matrix, whole), (of_x, x), (of_y, y))
    return [((z @ torch.linalg.inv(sigma).to(z)) * z).sum(-1) for sigma, z in parts]


@lru_cache(maxsize=32)
def _orthogonal(dim: int, seed: int) -> Tensor:
    drawn = torch.randn(dim, dim, generator=torch.Generator().manual_seed(seed))
    turned, upper = torch.linalg.qr(drawn.double())
    return turned * upper.diagonal().sign()  # signs fixed: uniform over all rotations
