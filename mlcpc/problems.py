"""Joint distributions of real vectors whose mutual information is known."""

import math
from dataclasses import dataclass

import torch

from mlcpc.shapes import Float, Tensor


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
    def rho(self) -> float:
        """Correlation ρ of each coordinate pair."""
        return math.sqrt(-math.expm1(-2 * self.mi / self.dim))

    def sample(
        self, count: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "count dim"], Float[Tensor, "count dim"]]:
        """Draw pairs: x and y, each (count, dim), in the default dtype."""
        x = torch.randn(count, self.dim, generator=generator)
        noise = torch.randn(count, self.dim, generator=generator)
        return x, self.rho * x + math.exp(-self.mi / self.dim) * noise

    def log_ratio(
        self, x: Float[Tensor, "*#batch dim"], y: Float[Tensor, "*#batch dim"]
    ) -> Float[Tensor, "*batch"]:
        """log p(x, y)/(p(x) p(y)) of each pair, in nats; x and y broadcast."""
        variance = math.exp(-2 * self.mi / self.dim)  # 1 − ρ²
        quadratic = (2 * self.rho * x * y - self.rho**2 * (x**2 + y**2)).sum(-1)
        return self.mi + quadratic / (2 * variance)
