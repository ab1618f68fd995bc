"""ML-CPC for open_clip, where ``open_clip.ClipLoss`` stands.

The training loop of open_clip calls its loss with what the model returns, and adds up the values of
the dictionary that comes back, so that has one entry::

    from mlcpc.integrations.open_clip import ClipLoss

    loss = ClipLoss(rank=args.rank, world_size=args.world_size)

Tested with open_clip_torch 3.3. The library itself is not imported.
"""

from collections.abc import Callable

from torch import Tensor, nn

from mlcpc import losses


class ClipLoss(nn.Module):
    """ML-CPC of images and texts, with the arguments of ``open_clip.ClipLoss``.

    Args:
        local_loss, gather_with_grad, cache_labels: taken and not needed: with more than one rank
            the value is that of the whole batch, with all gradients, and no rank holds the matrix.
        rank: taken and not needed.
        world_size: ranks; more than one gathers over them.
        use_horovod: must be False.
        alpha: weight of a positive, or a schedule of it such as :class:`mlcpc.losses.Schedule`.
        per_anchor: one normaliser for each image and for each text, which is CLIP's own loss.

    Raises:
        ValueError: horovod, a keyword of another model's loss; as :func:`mlcpc.allpairs.ml_cpc`.

    Source: Song & Ermon 2020.
    """

    def __init__(
        self,
        local_loss: bool = False,
        gather_with_grad: bool = False,
        cache_labels: bool = False,
        rank: int = 0,
        world_size: int = 1,
        use_horovod: bool = False,
        *,
        alpha: float | Callable = 1.0,
        per_anchor: bool = False,
    ) -> None:
        super().__init__()
        if use_horovod:
            raise ValueError("use_horovod is True; valid: False, with torch.distributed")
        kind = losses.CPCLoss if per_anchor else losses.MLCPCLoss
        gather = world_size > 1
        # The model has made unit vectors of its features.
        self.loss = kind(alpha=alpha, normalise=False, symmetric=True, gather=gather, ddp=gather)

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: Tensor,
        logit_bias: Tensor | None = None,
        output_dict: bool = False,
        **others: object,
    ) -> Tensor | dict[str, Tensor]:
        """Loss in nats, alone or as the one entry ``contrastive_loss`` of a dictionary.

        ``logit_bias`` adds the same to all scores, which changes nothing: it gets a gradient of
        zero.
        """
        if others:
            raise ValueError(
                f"{', '.join(sorted(others))} is given; valid: image_features, text_features, "
                "logit_scale, logit_bias, output_dict (CoCa and distilled models need more losses)"
            )
        loss = self.loss(image_features, text_features, logit_scale)
        if logit_bias is not None:
            loss = loss + 0 * logit_bias.sum()
        return {"contrastive_loss": loss} if output_dict else loss
