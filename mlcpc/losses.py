r"""The two bounds as losses for training loops: what is missing to a bound's ceiling, in nats.

:class:`MLCPCLoss` and :class:`CPCLoss` put :func:`mlcpc.allpairs.ml_cpc` and
:func:`mlcpc.allpairs.cpc` where a contrastive loss stands in a training loop. They normalise
embeddings, know the schedule of the weight α, and may learn the temperature.
:mod:`mlcpc.integrations` has them for the trainers of other libraries.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

import torch
import torch.distributed as dist
from torch import nn

from mlcpc import allpairs
from mlcpc.candidates import Marks
from mlcpc.shapes import Tensor


@dataclass(frozen=True)
class Schedule:
    r"""A weight of the positives that moves from one number to another: α of a step.

    .. math:: \text{geometric } α_0^{1-t} α_1^t, \quad \text{linear } (1-t)\,α_0 + t\,α_1, \quad
              \text{cosine } α_1 + \tfrac12 (α_0 - α_1)(1 + \cos πt), \qquad
              t = \min(1, \text{step}/\text{steps})

    It can be pickled, which a lambda cannot, and a compiled graph takes all of its weights.

    Args:
        first: α_0 > 0, the weight of step 0.
        last: α_1 > 0, the weight from step ``steps`` on.
        steps: how many steps the way takes.
        kind: geometric, linear or cosine.

    Raises:
        ValueError: a weight that is not above zero, fewer than one step, an unknown kind.
    """

    first: float
    last: float
    steps: int
    kind: str = "geometric"

    def __post_init__(self) -> None:
        for name in ("first", "last"):
            value = getattr(self, name)
            if not (isinstance(value, Real) and 0 < float(value) < math.inf):
                raise ValueError(f"{name} is {value!r}; valid: 0 < {name} < inf")
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 1:
            raise ValueError(f"steps is {self.steps!r}; valid: an integer of at least 1")
        if self.kind not in ("geometric", "linear", "cosine"):
            raise ValueError(f"kind is {self.kind!r}; valid: geometric, linear, cosine")

    def __call__(self, step: int | Tensor) -> float | Tensor:
        """α of a step; a tensor for a tensor."""
        t: float | Tensor
        cosine: float | Tensor
        if isinstance(step, Tensor):
            t = (step / self.steps).clamp(max=1.0).double()
            cosine = torch.cos(math.pi * t)
        else:
            t = min(step / self.steps, 1.0)
            cosine = math.cos(math.pi * t)
        if self.kind == "geometric":
            return self.first * (self.last / self.first) ** t
        if self.kind == "linear":
            return (1 - t) * self.first + t * self.last
        return self.last + (self.first - self.last) * (1 + cosine) / 2


class _Loss(nn.Module):
    """What the two losses share: temperature, schedule of α, named parts."""

    _shared: bool
    step: Tensor
    alpha: float | Callable[..., float | Tensor]

    def __init__(
        self,
        temperature: float = 0.1,
        alpha: float | Callable[[int], float] = 1.0,
        *,
        learnable_temperature: bool = False,
        normalise: bool = True,
        symmetric: bool = False,
        both_views: bool = False,
        reduction: str = "mean",
        gather: bool = False,
        ddp: bool = False,
        group: "dist.ProcessGroup | None" = None,
        tile: int | None = None,
    ) -> None:
        super().__init__()
        _check_settings(self._shared, temperature, alpha, symmetric, both_views, reduction)
        if ddp and not gather:
            raise ValueError("ddp is True without gather; valid: ddp=True with gather=True")
        self.temperature = None if learnable_temperature else float(temperature)
        if learnable_temperature:
            self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self.alpha, self.reduction = alpha, reduction
        self.normalise, self.symmetric, self.both_views = normalise, symmetric, both_views
        self.gather, self.ddp, self.group, self.tile = gather, ddp, group, tile
        self._again = (-1, 0)  # the backward pass at work, and how many calls it has repeated

    def extra_repr(self) -> str:
        names = ("normalise", "symmetric", "both_views", "gather", "ddp")
        chosen = "".join(f", {name}=True" for name in names if getattr(self, name))
        return f"temperature={self.temperature or 'learned'}, alpha={self.alpha}{chosen}"

    def forward(
        self,
        x: Tensor,
        y: Tensor,
        logit_scale: float | Tensor | None = None,
        *,
        keys: allpairs.Keys | None = None,
        negatives: allpairs.OwnNegatives | None = None,
        exclude: Tensor | None = None,
        ids: Tensor | None = None,
        key_ids: Tensor | None = None,
        labels: Tensor | None = None,
        key_labels: Tensor | None = None,
        output_dict: bool = False,
    ) -> Tensor | dict[str, Tensor]:
        """Loss of two views, or of images and texts: ceiling − bound, in nats.

        Args:
            x: anchors, (n, d): first view, images or queries. Tokens (B, T, d) are flattened to
                (B·T, d), with a warning: all other tokens of the batch are then negatives.
            y: positives, of the shape of x: second view, texts or keys of the same samples.
            logit_scale: 1/τ for this call, as CLIP models return it: a number, or a tensor that
                may require a gradient.
            keys, negatives, exclude, ids, key_ids, labels, key_labels: as in
                :func:`mlcpc.allpairs.ml_cpc`.
            output_dict: return named parts for a log in place of the loss alone.

        Returns:
            the loss, (n,) with the reduction "none"; or a dictionary of it (``loss``), and without
            gradient the bound and the ceiling in nats (``bound``, ``ceiling``) and the share of
            the ceiling used (``share``). The guarantee of ``bound`` is for negatives that are all
            counted, see :func:`mlcpc.bounds.ml_cpc`.

        Raises:
            ValueError: as in :func:`mlcpc.allpairs.ml_cpc`; symmetric or both_views beside keys,
                negatives or exclude; logit_scale beside a learned temperature, or outside (0, ∞).
        """
        alpha = self._alpha()
        x, y, ids, labels = _flattened(x, y, ids, labels)
        marks = Marks(exclude, ids, key_ids, labels, key_labels)
        value, log_m = self._value(x, y, logit_scale, alpha, keys, negatives, marks)
        log_alpha = alpha.log() if isinstance(alpha, Tensor) else math.log(alpha)
        ceiling = log_m - log_alpha
        loss = (ceiling - value).to(value.dtype)
        if self.ddp:
            world = dist.get_world_size(self.group)
            loss = loss + (world - 1) * (loss - loss.detach())  # the gradient alone is multiplied
        if not output_dict:
            return loss
        return _named(loss, value.detach(), ceiling)

    def _alpha(self) -> float | Tensor:
        """The weight of this call; counts the step, once where activations are checkpointed.

        A checkpoint calls the loss again inside the backward pass, the last call first. Such a
        call takes the weight of the call that it repeats.
        """
        alpha, back = self.alpha, 0
        if torch.compiler.is_compiling():
            back = int(self.training)
            self.step += back
        elif self.training:
            back, task = 1, torch._C._current_graph_task_id()
            if task < 0:
                self.step += 1
            else:
                back += self._again[1] if self._again[0] == task else 0
                self._again = (task, back)
        if not callable(alpha):
            return alpha
        if isinstance(alpha, Schedule) and torch.compiler.is_compiling():
            return alpha(self.step - back)
        return alpha(int(self.step) - back)

    def _value(self, x, y, logit_scale, alpha, keys, negatives, marks) -> tuple:
        temperature = self._temperature(logit_scale)
        several = (keys, negatives, marks.exclude)
        if (self.symmetric or self.both_views) and any(each is not None for each in several):
            raise ValueError(
                "keys, negatives or exclude are given to a symmetric loss; valid: negatives from "
                "the batch, and ids for pairs that are left out"
            )
        if self.both_views and not self.gather:  # before the views are one, an error would say so
            allpairs.check_shapes(allpairs.Given(x, y, temperature, alpha, marks=marks))
        if self.normalise:
            x, y, keys, negatives = (unit(each) for each in (x, y, keys, negatives))
        if self.both_views:
            x, y, marks = _both_views(x, y, marks)
        given = allpairs.Given(x, y, temperature, alpha, keys, negatives, marks)
        options = (self.gather, self.group, self.tile, self.reduction)
        value, log_m = allpairs.bound_and_log_m(self._shared, given, *options)
        # Without marks J is the same in both directions.
        if self.symmetric and not (self._shared and marks.empty()):
            given = given._replace(x=y, y=x)
            back, _ = allpairs.bound_and_log_m(self._shared, given, *options)
            value = (value + back) / 2
        return value, log_m

    def _temperature(self, logit_scale: float | Tensor | None) -> float | Tensor:
        if logit_scale is None:
            return self.log_temperature.exp() if self.temperature is None else self.temperature
        if self.temperature is None:
            raise ValueError(
                "logit_scale is given to a loss that learns its temperature; valid: one of them"
            )
        if not (self.gather and isinstance(logit_scale, Tensor)):  # all ranks refuse together
            _check_scale(logit_scale)
        return 1 / logit_scale


def _named(loss: Tensor, bound: Tensor, ceiling: float | Tensor) -> dict[str, Tensor]:
    """The parts of a loss, for a log."""
    ceiling = torch.as_tensor(ceiling, dtype=bound.dtype, device=bound.device)
    share = torch.where(ceiling == 0, math.nan, bound / ceiling)
    return {"loss": loss, "bound": bound, "ceiling": ceiling, "share": share}


def _check_settings(
    shared: bool,
    temperature: float,
    alpha: object,
    symmetric: bool,
    both_views: bool,
    reduction: str,
) -> None:
    """Refuse settings of a loss that are out of range or do not go together."""
    if not (isinstance(temperature, Real) and 0 < temperature < math.inf):
        raise ValueError(f"temperature is {temperature!r}; valid: 0 < temperature < inf")
    if not callable(alpha) and not (isinstance(alpha, Real) and alpha > 0):
        raise ValueError(f"alpha is {alpha!r}; valid: 0 < alpha <= m, or a schedule of it")
    if both_views and symmetric:
        raise ValueError("both_views is True beside symmetric; valid: one of them")
    valid = ("mean",) if shared else ("mean", "none")
    if reduction not in valid:
        why = ", since all anchors share one normaliser" if shared else ""
        raise ValueError(f"reduction is {reduction!r}; valid: {', '.join(valid)}{why}")


def _flattened(x: Tensor, y: Tensor, ids: Tensor | None, labels: Tensor | None) -> tuple:
    """Tokens (B, T, d) as rows (B·T, d), with a warning; anything else as it is."""
    if not (isinstance(x, Tensor) and isinstance(y, Tensor) and x.ndim == 3 == y.ndim):
        return x, y, ids, labels
    warnings.warn(
        f"x has shape {tuple(x.shape)}: flattened to ({x.shape[0] * x.shape[1]}, "
        f"{x.shape[2]}), so that all other tokens of the batch are negatives of a token",
        stacklevel=4,
    )
    flat = [
        each.flatten() if isinstance(each, Tensor) and each.shape == x.shape[:2] else each
        for each in (ids, labels)
    ]
    return x.flatten(0, 1), y.flatten(0, 1), *flat


def _both_views(x: Tensor, y: Tensor, marks: Marks) -> tuple[Tensor, Tensor, Marks]:
    """Both views as anchors, the other one as the positive, and oneself left out."""
    if not (isinstance(x, Tensor) and isinstance(y, Tensor) and x.shape == y.shape):
        return x, y, marks  # to be refused by name, by every rank at once
    n = len(x)
    # Row i has the view i + n as its positive. The view that is itself stands there, too.
    itself = (torch.arange(2 * n, device=x.device) + n) % (2 * n)
    ids, labels = (
        torch.cat([each, each]) if isinstance(each, Tensor) and each.ndim == 1 else each
        for each in (marks.ids, marks.labels)
    )
    marks = Marks(exclude=itself, ids=ids, labels=labels, own=True)
    return torch.cat([x, y]), torch.cat([y, x]), marks


class MLCPCLoss(_Loss):
    """Multi-label CPC as a loss, log(m/α) − J_α: non-negative, zero when the ceiling is reached.

    Call it with two views, ``loss(x, y)``, or with images and texts,
    ``loss(image_features, text_features, logit_scale, output_dict=True)``. It stands where these
    libraries have their losses:

    - lightly: ``criterion = MLCPCLoss(0.5, both_views=True)``, then ``criterion(z0, z1)``;
    - pytorch-metric-learning: in place of ``SelfSupervisedLoss(NTXentLoss(0.5))``, the same, as
      ``loss(embeddings, ref_emb)``; with labels ``loss(x, y, labels=labels)``;
    - open_clip and sentence-transformers: the adapters of :mod:`mlcpc.integrations`.

    Args:
        temperature: τ > 0.
        alpha: weight of a positive in (0, m], or a schedule: step -> weight, such as
            :class:`Schedule`. The step counts the calls in training mode and is part of the
            state.
        learnable_temperature: learn log τ, from ``temperature`` on.
        normalise: scale embeddings to length one, so that scores are cosines over τ.
        symmetric: mean of both directions. J_α of a batch is the same in both, so this changes
            nothing here, unless ids or labels are given.
        both_views: SimCLR's negatives: 2n anchors, and both views of all other samples as their
            2n − 2 negatives each, m = 2n − 1.
        reduction: "mean"; :class:`CPCLoss` has "none", too, for the loss of each anchor.
        gather: the batch is spread over ranks, see :func:`mlcpc.allpairs.ml_cpc`.
        ddp: with ``gather``: multiply the gradient, not the value, by the number of ranks.
            DistributedDataParallel divides by it, and what is left is the gradient of the whole
            batch. A learned temperature must be inside the module that it wraps.
        group, tile: as in :func:`mlcpc.allpairs.ml_cpc`.

    Example:
        >>> loss = MLCPCLoss(temperature=0.5)
        >>> round(loss(torch.eye(4), torch.eye(4)).item(), 3)
        0.341
    """

    _shared = True


class CPCLoss(_Loss):
    """CPC (InfoNCE) as a loss, log(m/α) − L_α: at α = 1 the cross entropy of InfoNCE.

    Arguments as in :class:`MLCPCLoss`, except that ``symmetric`` matters: the mean of picking y
    for x and x for y, which is CLIP's loss. ``both_views`` is SimCLR's NT-Xent.

    Example:
        >>> loss = CPCLoss(temperature=0.5, symmetric=True)
        >>> round(loss(torch.eye(4), torch.eye(4)).item(), 3)
        0.341
    """

    _shared = False


def unit(embeddings: Tensor | None) -> Tensor | None:
    """Rows of length one; a row shorter than 1e-36 has no direction, stays zero and is not moved.

    What is no tensor of embeddings is left to the checks of all ranks.
    """
    if not (isinstance(embeddings, Tensor) and embeddings.is_floating_point()):
        return embeddings
    embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    if not embeddings.numel():
        return embeddings
    # Squares of what is beyond 1e19 overflow, and the row would come out as zero.
    largest = embeddings.detach().abs().amax(dim=-1, keepdim=True)
    directed = largest >= 1e-36
    scaled = embeddings / torch.where(directed, largest, 1.0)
    length = torch.where(directed, torch.linalg.vector_norm(scaled, dim=-1, keepdim=True), 1.0)
    directed = torch.where(directed, scaled / length, 0.0)
    return torch.where(largest.isfinite(), directed, embeddings)  # refused under its own value


def _check_scale(logit_scale: float | Tensor) -> None:
    """1/τ is no name for τ; what cannot be read here is refused later, as a temperature."""
    if isinstance(logit_scale, Tensor):
        if logit_scale.numel() != 1 or not logit_scale.is_floating_point():
            raise ValueError(
                f"logit_scale is a tensor of {logit_scale.dtype} with shape "
                f"{tuple(logit_scale.shape)}; valid: one floating-point number"
            )
        if torch.compiler.is_compiling() or allpairs.transformed():
            return
        logit_scale = logit_scale.item()
    if not (isinstance(logit_scale, Real) and 0 < logit_scale < math.inf):
        raise ValueError(f"logit_scale is {logit_scale!r}; valid: 0 < logit_scale < inf")
