r"""The log density ratio of a normal pair, in closed form, with as few directions as hold.

Any normal pair has canonical coordinates u of x and v of y: uncorrelated, of variance 1, and only
u_i and v_i are correlated, with ρ_i. Its log density ratio is a sum over them,

.. math:: f(x, y) = -\frac12 \sum_i \left[\log(1 - ρ_i^2)
          + \frac{ρ_i^2 (u_i^2 + v_i^2) - 2 ρ_i u_i v_i}{1 - ρ_i^2}\right]

With many columns and few rows the fitted correlations are mostly noise. So :func:`fit` makes
candidates from the training rows (principal components, few pairs, entries that stand out, and
correlations that are shrunk) and keeps the one whose log ratio is largest on validation rows: as
E[f] ≤ I for the log ratio of normalised densities, the largest is the best.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from mlcpc.shapes import Float, Tensor

_EXACT = 400  # columns up to which all principal components are computed
_COLUMNS = 2**20  # pairs of columns up to which entries that stand out are searched
_KEPT = 160  # components that are kept of more
_LEVELS = (1, 2, 3, 5, 8, 12, 20, 32, 64)  # principal components of a candidate
_THRESHOLDS = (2.0, 2.5, 3.0, 3.5, 4.0)  # standard errors that an entry must exceed
_SHRUNK = (1.0, 0.9, 0.75, 0.5, 0.35, 0.2, 0.1, 0.05, 0.02)  # share of each ρ²/(1 − ρ²) kept
_FAR = 5.0  # coordinates are cut off there: far rows must not decide
_LARGEST = 1 - 1e-12  # of ρ²: pairs that determine each other stay finite


@dataclass(frozen=True, eq=False)
class Canonical:
    """A fitted normal pair in canonical coordinates, all in float64.

    Args:
        mean_x, mean_y: means that are subtracted first.
        of_x, of_y: (d_x, k) and (d_y, k), columns to coordinates.
        rho: (k,) correlations of the coordinates.
        gain: mean log ratio on the validation rows, in nats.
        components: principal components that it reads, None for all; what was chosen.
    """

    mean_x: Tensor
    mean_y: Tensor
    of_x: Tensor
    of_y: Tensor
    rho: Tensor
    gain: float
    components: int | None

    def coordinates(self, x: Float[Tensor, "n dx"], y: Float[Tensor, "k dy"]) -> tuple:
        """u (n, k) and v (n, k) of standardised columns."""
        u, v = (x - self.mean_x) @ self.of_x, (y - self.mean_y) @ self.of_y
        return u.clamp(-_FAR, _FAR), v.clamp(-_FAR, _FAR)


def log_ratio(
    u: Float[Tensor, "*r n k"], v: Float[Tensor, "*r m k"], rho: Float[Tensor, "*r k"]
) -> Float[Tensor, "*r n m"]:
    """Log ratios of all pairs of coordinates, in float64: its terms are far larger than their sum.

    Args:
        u, v: canonical coordinates of x and of y.
        rho: correlations; 0 drops a pair of coordinates.
    """
    share = rho / (1 - rho**2)
    own = -0.5 * share * rho
    constant = -0.5 * torch.log1p(-(rho**2)).sum(-1)
    of_u = (u**2 @ own[..., None]) + constant[..., None, None]
    of_v = (v**2 @ own[..., None]).mT
    return torch.baddbmm(of_v + of_u, u * share[..., None, :], v.mT) if u.ndim == 3 else (
        (u * share) @ v.mT + of_u + of_v
    )  # fmt: skip


def fit(
    x: Float[Tensor, "n dx"],
    y: Float[Tensor, "n dy"],
    valid_x: Float[Tensor, "v dx"],
    valid_y: Float[Tensor, "v dy"],
    generator: torch.Generator,
) -> Canonical:
    """The candidate that fits the validation rows best.

    Args:
        x, y: standardised columns of the training rows, float64.
        valid_x, valid_y: the same of the validation rows.
        generator: draws the start of a search for principal components of many columns.
    """
    mean_x, mean_y = x.mean(0), y.mean(0)
    white_x, white_y = (_whitening(z - z.mean(0), generator) for z in (x, y))
    cross = ((x - mean_x) @ white_x).mT @ ((y - mean_y) @ white_y) / len(x)
    at_x, at_y = (valid_x - mean_x) @ white_x, (valid_y - mean_y) @ white_y
    best = None
    for level, left, correlations, right in _candidates(cross, white_x, white_y, len(x)):
        u, v = at_x[:, : len(left)] @ left, at_y[:, : len(right)] @ right
        strength = correlations.clamp(0, math.sqrt(_LARGEST)) ** 2
        strength = (strength / (1 - strength))[None] * x.new_tensor(_SHRUNK)[:, None]
        rho = (strength / (1 + strength)).sqrt().clamp(max=math.sqrt(_LARGEST))
        # New rows vary less along directions that were chosen for their variance, or more.
        size_u, size_v = (z.square().mean(0).sqrt().clamp(min=1e-6) for z in (u, v))
        u, v = (u / size_u).clamp(-_FAR, _FAR), (v / size_v).clamp(-_FAR, _FAR)
        squares, product = (u**2 + v**2).mean(0).clamp(min=2.0), (u * v).mean(0)
        gain = -0.5 * (
            torch.log1p(-(rho**2)) + (rho**2 * squares - 2 * rho * product) / (1 - rho**2)
        )
        total = gain.cumsum(1)  # (shrinkages, pairs kept)
        place = int(total.argmax())
        shrunk, pairs = divmod(place, total.shape[1])
        value = float(total.view(-1)[place])
        if best is None or value > best.gain:
            kept = slice(0, pairs + 1)
            of_x = white_x[:, : len(left)] @ left[:, kept] / size_u[kept]
            of_y = white_y[:, : len(right)] @ right[:, kept] / size_v[kept]
            best = Canonical(mean_x, mean_y, of_x, of_y, rho[shrunk, kept], value, level)
    return best


def _whitening(x: Tensor, generator: torch.Generator) -> Tensor:
    """Principal directions (d, p), largest first, scaled so that each component has variance 1."""
    if x.shape[1] <= _EXACT:
        values, vectors = torch.linalg.eigh(x.mT @ x / len(x))
        values, vectors = values.flip(0), vectors.flip(1)
    else:
        basis = torch.randn(x.shape[1], _KEPT, generator=generator, dtype=x.dtype)
        for _ in range(4):
            basis = torch.linalg.qr(x.mT @ (x @ basis))[0]
        _, singular, right = torch.linalg.svd(x @ basis, full_matrices=False)
        values, vectors = singular**2 / len(x), basis @ right.mT
    kept = values > max(1e-12, 1e-10 * float(values[0]))
    kept[0] = True
    kept[max(1, len(x) // 2) :] = False  # the rows must outnumber the components
    return vectors[:, kept] / values[kept].clamp(min=1e-12).sqrt()


def _candidates(
    cross: Tensor, white_x: Tensor, white_y: Tensor, rows: int
) -> Iterator[tuple[int | None, Tensor, Tensor, Tensor]]:
    """Principal components read, and the singular triplets of their correlations."""
    most, columns = max(cross.shape), len(white_x) * len(white_y)
    for level in (*(each for each in _LEVELS if each < most), None):
        part = cross[:level, :level]
        left, singular, right = torch.linalg.svd(part, full_matrices=False)
        yield level, left, singular, right.mT
    if cross.numel() < 16 or columns > _COLUMNS:
        return
    # Entries of columns, not of components, may stand out: rotate back, keep the largest.
    turn_x, turn_y = (z / z.norm(dim=0) for z in (white_x, white_y))
    of_columns = turn_x @ cross @ turn_y.mT
    for threshold in _THRESHOLDS:
        kept = of_columns.where(of_columns.abs() > threshold / math.sqrt(rows), 0.0)
        left, singular, right = torch.linalg.svd(kept, full_matrices=False)
        if singular[0] > 0:
            yield None, turn_x.mT @ left, singular.clamp(max=0.9999), turn_y.mT @ right.mT
