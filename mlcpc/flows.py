r"""Encoders of known shape: flows that can be inverted, residual networks that may lose that.

A flow is a chain of *couplings*, each followed by a fixed permutation of the entries. A coupling
keeps the first half of its input and moves the other half by what a small network says of the
first,

.. math:: (a, b) ↦ (a, b ⊙ e^{s(a)} + t(a)), \qquad s = 0 \text{ if the coupling is additive,}

so that its inverse is written down and not searched. Both kinds of network begin near the identity.
What a network does to small changes of its input is its Jacobian, :func:`jacobians`; how unevenly,
:func:`conditions`.
"""

from functools import partial

import torch
from torch import nn

from mlcpc.config import check_count, refuse
from mlcpc.datasets import needs
from mlcpc.shapes import Float, Tensor

Rows = Float[Tensor, "n d"]

# An inverse that is further off, in any entry of any row, is none.
LARGEST_ERROR = 1e-3
NEAR_ZERO = 1e-4  # deviation of weights that begin near zero


class Flow(nn.Module):
    """An encoder that is one-to-one: couplings of zuko, each followed by a fixed permutation.

    At first it is a permutation of the entries, up to 1e-3: the last layer of every network begins
    near zero.

    Args:
        dim: length of a row, at least 2; the code has the same.
        couplings: how many.
        width: units of each of the two hidden layers of a coupling's network.
        scale: largest factor, above 1, by which a coupling stretches or shrinks an entry; None for
            couplings that shift alone, and so keep volumes.
        seed: of weights and permutations; PyTorch's own generator is left as it was.

    Raises:
        ValueError: a number outside its range.
        ImportError: zuko is not installed.
    """

    def __init__(
        self, dim: int, couplings: int, width: int, scale: float | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        check_count("dim", dim, 2)
        check_count("couplings", couplings)
        check_count("width", width)
        if scale is not None and not 1 < scale < float("inf"):
            refuse("scale", scale, "above 1, finite, or None")
        needs("zuko", "a flow")
        from zuko.flows.coupling import GeneralCouplingTransform
        from zuko.transforms import AdditiveTransform, MonotonicAffineTransform

        kind, shapes = AdditiveTransform, ((),)
        if scale is not None:
            kind, shapes = partial(MonotonicAffineTransform, slope=1 / scale), ((), ())
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)
            self.couplings = nn.ModuleList(
                GeneralCouplingTransform(
                    dim, mask=torch.arange(dim) < dim // 2, univariate=kind, shapes=shapes,
                    hidden_features=[width] * 2,
                )
                for _ in range(couplings)
            )  # fmt: skip
            orders = torch.stack([torch.randperm(dim) for _ in range(couplings)])
            for each in self.couplings:
                nn.init.trunc_normal_(each.hyper[-1].weight, std=NEAR_ZERO)
                nn.init.zeros_(each.hyper[-1].bias)
        self.register_buffer("orders", orders)

    def forward(self, x: Rows) -> Rows:
        """Codes of rows."""
        return self.path(x)[-1]

    def path(self, x: Rows) -> list[Tensor]:
        """The rows, and what they are after each coupling and its permutation."""
        found = [x]
        for coupling, order in zip(self.couplings, self.orders, strict=True):
            found.append(coupling()(found[-1])[:, order])
        return found

    def way_back(self, z: Rows) -> list[Tensor]:
        """What :meth:`path` would hold of a code z, found from its end by the written inverses."""
        found = [z]
        for coupling, order in zip(reversed(self.couplings), self.orders.flip(0), strict=True):
            found.append(coupling().inv(found[-1][:, order.argsort()]))
        return found[::-1]

    def inverse(self, z: Rows) -> Rows:
        """Rows of codes."""
        return self.way_back(z)[0]


def inverse_errors(flow: Flow, x: Rows) -> list[float]:
    """Largest error before each coupling, in any entry, when the code of x is taken back.

    Args:
        flow: the flow.
        x: rows.

    Returns:
        an error for each coupling, the first one that of x itself; NaN where numbers overflow.
    """
    with torch.no_grad():
        there = flow.path(x)
        back = flow.way_back(there[-1])
    return [float((one - two).abs().max()) for one, two in zip(there, back, strict=True)][:-1]


def check_invertible(flow: Flow, x: Rows, step: int) -> float:
    """The largest error of :func:`inverse_errors`, if it is at most ``LARGEST_ERROR``.

    Raises:
        ValueError: it is above; the message names the step and the last coupling at which, on the
            way back, it is.
    """
    errors = inverse_errors(flow, x)
    for place in reversed(range(len(errors))):
        if not errors[place] <= LARGEST_ERROR:
            raise ValueError(
                f"after step {step} the flow is not invertible in {str(x.dtype)[6:]}: coupling "
                f"{place + 1} of {len(errors)} is taken back with an error of "
                f"{errors[place]:.2g}; valid: at most {LARGEST_ERROR:g} (lower learning_rate)"
            )
    return max(errors)


class Residual(nn.Module):
    r"""An encoder of residual layers x + relu(W x + b), the last one x + W x + b.

    It begins within 1e-2 of the identity on rows of images, since every W begins near zero.
    Nothing keeps it invertible.

    Args:
        dim: length of a row and of its code.
        layers: how many, at least 1.
        seed: of the weights; PyTorch's own generator is left as it was.

    Source: Tschannen et al. 2019, arXiv 1907.13625, section 3.1.
    """

    def __init__(self, dim: int, layers: int, seed: int = 0) -> None:
        super().__init__()
        check_count("dim", dim)
        check_count("layers", layers)
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)
            self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(layers))
            for each in self.layers:
                nn.init.trunc_normal_(each.weight, std=NEAR_ZERO)
                nn.init.zeros_(each.bias)

    def forward(self, x: Rows) -> Rows:
        """Codes of rows."""
        for each in self.layers[:-1]:
            x = x + each(x).relu()
        return x + self.layers[-1](x)


def jacobians(encoder: nn.Module, x: Rows, rows: int = 16) -> Float[Tensor, "n d d"]:
    r"""Jacobian of an encoder at each row: entry (i, j) is ∂g_i(x)/∂x_j.

    Args:
        encoder: rows (n, d) to codes (n, d), each row by itself.
        x: (n, d).
        rows: rows at once.

    Raises:
        ValueError: x that is no matrix, codes of another length than rows.
    """
    if x.dim() != 2 or not len(x):
        refuse("x", tuple(x.shape), "a shape (n, d), n at least 1")
    with torch.no_grad():
        code = encoder(x[:1])
    if code.shape[1:] != x.shape[1:]:
        raise ValueError(
            f"encoder makes codes of length {code.shape[-1]} from rows of {x.shape[1]}; valid: "
            "the same length, else the Jacobian is not square and has no condition number"
        )

    def of_one(row: Tensor) -> Tensor:
        return encoder(row[None])[0]

    each = torch.func.vmap(torch.func.jacrev(of_one))
    return torch.cat([each(part) for part in x.detach().split(rows)]).detach()


def conditions(encoder: nn.Module, x: Rows) -> Float[Tensor, " n"]:
    r"""Logarithm of the condition number of the Jacobian at each row.

    .. math:: \log \frac{σ_1(x)}{σ_d(x)}

    with σ the singular values of the Jacobian, in double precision. It is 0 for an identity, a
    permutation or a rotation, and infinite where a direction is lost.

    Args:
        encoder, x: as for :func:`jacobians`.

    Raises:
        ValueError: as :func:`jacobians`.

    Source: Tschannen et al. 2019, arXiv 1907.13625, section 3.1.
    """
    values = torch.linalg.svdvals(jacobians(encoder, x).double())
    return (values[:, 0] / values[:, -1]).log()
