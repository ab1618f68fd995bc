"""ML-CPC for sentence-transformers, where ``MultipleNegativesRankingLoss`` stands.

One line of a training script changes::

    from mlcpc.integrations.sentence_transformers import MLCPCRankingLoss

    loss = MLCPCRankingLoss(model)  # was: losses.MultipleNegativesRankingLoss(model)

Tested with sentence-transformers 6.2.
"""

from collections.abc import Callable, Iterable

import torch
from sentence_transformers.base.losses.gradcache import CachedLossMixin
from sentence_transformers.util import all_gather_with_grad, cos_sim, dot_score, get_rank
from torch import Tensor, nn

from mlcpc import losses


class MLCPCRankingLoss(CachedLossMixin, nn.Module):
    """ML-CPC over anchors, positives and any number of columns of hard negatives.

    The negatives of an anchor are the positives of the other anchors, and the hard negatives of
    all. All anchors share one normaliser. With ``mini_batch_size`` the texts are embedded some at
    a time, twice (GradCache), with the same value and gradients.

    Args:
        model: a SentenceTransformer.
        scale: 1/τ > 0.
        similarity_fct: ``util.cos_sim`` or ``util.dot_score``.
        mini_batch_size: texts that are embedded at a time; None for all at once.
        gather_across_devices: take negatives from all devices. The value is that of the whole
            batch, and the gradient is what one device would give.
        alpha: weight of a positive, or a schedule of it such as :class:`mlcpc.losses.Schedule`.
        per_anchor: one normaliser for each anchor, which is CPC (InfoNCE).

    Raises:
        ValueError: another similarity, a scale or a size that is not above zero; fewer than two
            columns; as :func:`mlcpc.allpairs.ml_cpc`.

    Source: Song & Ermon 2020; GradCache is Gao et al. 2021, arXiv 2101.06983.
    """

    def __init__(
        self,
        model: nn.Module,
        scale: float = 20.0,
        similarity_fct: Callable = cos_sim,
        mini_batch_size: int | None = None,
        gather_across_devices: bool = False,
        *,
        alpha: float | Callable = 1.0,
        per_anchor: bool = False,
    ) -> None:
        super().__init__()
        if similarity_fct not in (cos_sim, dot_score):
            name = getattr(similarity_fct, "__name__", similarity_fct)
            raise ValueError(f"similarity_fct is {name}; valid: util.cos_sim, util.dot_score")
        if not (isinstance(scale, (int, float)) and scale > 0):
            raise ValueError(f"scale is {scale!r}; valid: scale > 0")
        if mini_batch_size is not None and not (
            isinstance(mini_batch_size, int) and mini_batch_size > 0
        ):
            raise ValueError(f"mini_batch_size is {mini_batch_size!r}; valid: None, or at least 1")
        self.model, self.scale, self.similarity_fct = model, scale, similarity_fct
        self.mini_batch_size, self.gather_across_devices = mini_batch_size, gather_across_devices
        self.uses_gradient_cache = mini_batch_size is not None
        kind = losses.CPCLoss if per_anchor else losses.MLCPCLoss
        gather = gather_across_devices and torch.distributed.is_initialized()
        self.loss = kind(
            1 / scale, alpha, normalise=similarity_fct is cos_sim, gather=gather, ddp=gather
        )

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """Loss in nats of a batch of columns: anchors, positives, and hard negatives if any."""
        columns = list(sentence_features)
        if len(columns) < 2:
            raise ValueError(f"{len(columns)} column is given; valid: anchors, positives, …")
        if self.uses_gradient_cache:
            return self.forward_cached(columns, labels)
        return self._of([self.model(column)["sentence_embedding"] for column in columns])

    def calculate_loss(
        self,
        reps: list[list[Tensor]],
        labels: Tensor | None = None,
        *,
        with_backward: bool = False,
    ) -> Tensor:
        """Loss of embeddings in mini-batches; its gradient is what the cache holds."""
        loss = self._of([torch.cat(column) for column in reps])
        if not with_backward:
            return loss
        loss.backward()
        return loss.detach()

    def _of(self, embeddings: list[Tensor]) -> Tensor:
        anchors, positives, *hard = embeddings
        if not hard:
            return self.loss(anchors, positives)
        first, columns = 0, [positives, *hard]
        if self.loss.gather:
            first = get_rank() * len(anchors)
            columns = [all_gather_with_grad(column) for column in columns]
        own = torch.arange(first, first + len(anchors), device=anchors.device)
        return self.loss(anchors, positives, keys=torch.cat(columns), exclude=own)

    def get_config_dict(self) -> dict:
        """Settings, for the model card."""
        return {
            "scale": self.scale,
            "similarity_fct": self.similarity_fct.__name__,
            "mini_batch_size": self.mini_batch_size,
            "gather_across_devices": self.gather_across_devices,
            "alpha": str(self.loss.alpha),
        }

    @property
    def citation(self) -> str:
        """BibTeX, for the model card."""
        return (
            "@inproceedings{song2020multi,\n"
            "    title = {Multi-label Contrastive Predictive Coding},\n"
            "    author = {Song, Jiaming and Ermon, Stefano},\n"
            "    booktitle = {Advances in Neural Information Processing Systems},\n"
            "    year = {2020},\n}"
        )
