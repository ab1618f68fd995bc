"""ML-CPC for lightly, where ``lightly.loss.NTXentLoss`` stands.

One line of a training script changes::

    from mlcpc.integrations.lightly import NTXentLoss

    criterion = NTXentLoss()  # then, as before: criterion(z0, z1)

Tested with lightly 1.6.
"""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from mlcpc import losses


class NTXentLoss(nn.Module):
    """ML-CPC of two views, with the arguments of lightly's loss of the same name.

    Without a memory bank, both views of all other images are negatives (SimCLR). With one, the
    keys of the bank are (MoCo), and lightly's own bank keeps them.

    Args:
        temperature: τ > 0.
        memory_bank_size: keys, or (keys, their length); 0 for no bank.
        gather_distributed: take negatives from all ranks. The value is that of the whole batch,
            and the gradient is what one rank would give.
        alpha: weight of a positive, or a schedule of it such as :class:`mlcpc.losses.Schedule`.
        per_anchor: one normaliser for each anchor, which is lightly's own loss.

    Raises:
        ValueError: as :func:`mlcpc.allpairs.ml_cpc`.

    Source: Song & Ermon 2020; both views are Chen et al. 2020, the bank is He et al. 2020.
    """

    def __init__(
        self,
        temperature: float = 0.5,
        memory_bank_size: int | Sequence[int] = 0,
        gather_distributed: bool = False,
        *,
        alpha: float | Callable = 1.0,
        per_anchor: bool = False,
    ) -> None:
        super().__init__()
        kind = losses.CPCLoss if per_anchor else losses.MLCPCLoss
        size = memory_bank_size if isinstance(memory_bank_size, int) else memory_bank_size[0]
        self.memory_bank = None
        if size:
            from lightly.models.modules.memory_bank import MemoryBankModule

            self.memory_bank = MemoryBankModule(memory_bank_size, gather_distributed)
        gather = gather_distributed and not size  # a bank is the same on every rank
        self.loss = kind(temperature, alpha, both_views=not size, gather=gather, ddp=gather)

    def forward(self, out0: Tensor, out1: Tensor) -> Tensor:
        """Loss in nats of the projections of two views, (n, d) each."""
        if self.memory_bank is None:
            return self.loss(out0, out1)
        out1 = losses.unit(out1)
        out1, keys = self.memory_bank(out1, update=out0.requires_grad)
        return self.loss(out0, out1, keys=keys.T.to(out0.device))
