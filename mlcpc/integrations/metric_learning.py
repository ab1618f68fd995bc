"""ML-CPC for pytorch-metric-learning, where ``SupConLoss`` or ``NTXentLoss`` stands.

One line of a training script changes::

    from mlcpc.integrations.metric_learning import MLCPCLoss

    loss_func = MLCPCLoss(0.1)  # then, as before: loss_func(embeddings, labels)

Tested with pytorch-metric-learning 2.9. The library itself is not imported.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mlcpc import losses


class MLCPCLoss(nn.Module):
    """ML-CPC with labels: all pairs of one label are positive, under one normaliser.

    Anchors without a partner of their label are left out, as the library does it. Each anchor needs
    one positive of its own; that is the first partner, and all others come by label.

    Args:
        temperature: τ > 0.
        alpha: weight of a positive, or a schedule of it such as :class:`mlcpc.losses.Schedule`.
        per_anchor: one normaliser for each anchor, which is SupCon up to a constant.

    Raises:
        ValueError: labels that are missing, of another length or not integers, tuples of a miner,
            no anchor with a partner, all embeddings of one label; as
            :func:`mlcpc.allpairs.ml_cpc`.

    Source: Song & Ermon 2020; labels are Khosla et al. 2020, "Supervised Contrastive Learning".
    """

    def __init__(
        self, temperature: float = 0.1, *, alpha: float | Callable = 1.0, per_anchor: bool = False
    ) -> None:
        super().__init__()
        self.loss = (losses.CPCLoss if per_anchor else losses.MLCPCLoss)(temperature, alpha)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        indices_tuple: tuple | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """Loss in nats of embeddings (n, d) with labels (n,), against ``ref_emb`` or themselves."""
        if indices_tuple is not None:
            raise ValueError("indices_tuple is given; valid: None, all pairs are looked at")
        if (ref_emb is None) != (ref_labels is None):
            raise ValueError("ref_emb and ref_labels go together; valid: both or none")
        alone = ref_emb is None
        if alone:
            ref_emb, ref_labels = embeddings, labels
        for name, marks, rows in (
            ("labels", labels, embeddings), ("ref_labels", ref_labels, ref_emb)
        ):  # fmt: skip
            kind = marks.dtype if isinstance(marks, Tensor) else type(marks).__name__
            if not isinstance(marks, Tensor) or marks.is_floating_point() or marks.ndim != 1:
                raise ValueError(f"{name} is {kind}; valid: integers, one for each embedding")
            if len(marks) != len(rows):
                raise ValueError(f"{name} has {len(marks)} entries; valid: {len(rows)}")
        labels, ref_labels = (each.to(embeddings.device) for each in (labels, ref_labels))
        itself = torch.arange(len(labels), device=labels.device) if alone else None
        own = _first_partner(labels, ref_labels, itself)
        kept = (own >= 0).nonzero().squeeze(1)
        if not len(kept):
            raise ValueError("labels has no two equal ones; valid: an anchor with a partner")
        own = own[kept]
        exclude = own[:, None] if alone is False else torch.stack([own, kept], dim=1)
        return self.loss(
            embeddings[kept], ref_emb[own], keys=ref_emb, exclude=exclude,
            labels=labels[kept], key_labels=ref_labels,
        )  # fmt: skip


def _first_partner(labels: Tensor, ref_labels: Tensor, itself: Tensor | None) -> Tensor:
    """First column of the label of each row that is not the row itself, −1 for none, (n,)."""
    order = ref_labels.argsort(stable=True)
    start = torch.searchsorted(ref_labels[order], labels)
    end = torch.searchsorted(ref_labels[order], labels, right=True)
    first = order[start.clamp(max=len(order) - 1)]
    if itself is not None:
        second = order[(start + 1).clamp(max=len(order) - 1)]
        start = torch.where(first == itself, start + 1, start)
        first = torch.where(first == itself, second, first)
    return torch.where(start < end, first, -1)
