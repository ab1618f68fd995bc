r"""The rows of a batch on one process, or spread over the ranks of a process group.

A loss over all pairs needs the rows of every rank, the sum of what the ranks found, and one error
on all of them if one of them was refused. :class:`Alone` gives the same answers where the whole
batch is on one process.
"""

import torch
import torch.distributed as dist

from mlcpc.shapes import Tensor


class Alone:
    """The whole batch is here."""

    first = 0

    def __init__(self, n: int) -> None:
        self.n = n

    def rows_of_all(self, rows: Tensor) -> Tensor:
        return rows

    def own_rows_of_sum(self, sums: Tensor) -> Tensor:
        return sums

    def refuse(self, refusal: ValueError | None) -> None:
        """Raise what was refused, if anything was."""
        if refusal is not None:
            raise refusal

    def largest(self, *values: float) -> tuple[float, ...]:
        return values

    def sums(self, *values: float) -> tuple[float, ...]:
        return values


class Ranks:
    """The batch is spread over the ranks of a process group, a block of rows on each."""

    def __init__(self, group: "dist.ProcessGroup | None", device: torch.device) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise ValueError(
                "gather is True but torch.distributed has no process group; "
                "valid: gather=True after torch.distributed.init_process_group"
            )
        self.group, self.device = group, device
        self.world, self.rank = dist.get_world_size(group), dist.get_rank(group)

    def agree(
        self, refusal: ValueError | None, n: int, same: dict[str, float], kinds: int = 0
    ) -> None:
        """Learn how many rows each rank has; raise on all ranks if one was refused.

        A rank that raised alone would leave the others waiting for it.
        """
        numbers = [0 if refusal else 1 + kinds, n, *same.values()]
        mine = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        table = self._all(mine).tolist()
        if refusal is not None:
            raise refusal
        for rank, (accepted, *_) in enumerate(table):
            if not accepted:
                raise ValueError(f"the arguments of rank {rank} were refused, see its own error")
        for place, name in ((0, "kinds of marks"), *enumerate(same, start=2)):
            values = [row[place] for row in table]
            if len(set(values)) > 1:
                raise ValueError(f"{name} is {values} on the ranks; valid: the same on each")
        self.counts = [int(row[1]) for row in table]
        self.n, self.first = sum(self.counts), sum(self.counts[: self.rank])

    def refuse(self, refusal: ValueError | None) -> None:
        """Raise on all ranks if one of them has something to refuse."""
        table = self._all(torch.tensor([refusal is not None], device=self.device)).flatten()
        if refusal is not None:
            raise refusal
        if table.any():
            rank = int(table.nonzero()[0])
            raise ValueError(f"the arguments of rank {rank} were refused, see its own error")

    def rows_of_all(self, rows: Tensor) -> Tensor:
        """(n_local, …) of each rank -> (n, …); one exchange of padded blocks."""
        largest = max(self.counts)
        padded = rows.new_zeros(largest, *rows.shape[1:])
        padded[: len(rows)] = rows
        blocks = self._all(padded)
        if min(self.counts) == largest:
            return blocks.flatten(0, 1)
        return torch.cat([block[:count] for block, count in zip(blocks, self.counts, strict=True)])

    def own_rows_of_sum(self, sums: Tensor) -> Tensor:
        """Sum of the (n, d) of all ranks, each rank its own rows."""
        for rank, block in enumerate(sums.split(self.counts)):
            dist.reduce(block, group=self.group, group_dst=rank)
        return sums.split(self.counts)[self.rank].clone()

    def largest(self, *values: float) -> tuple[float, ...]:
        return self._reduced(values, dist.ReduceOp.MAX)

    def sums(self, *values: float) -> tuple[float, ...]:
        return self._reduced(values, dist.ReduceOp.SUM)

    def _reduced(self, values: tuple[float, ...], operation: object) -> tuple[float, ...]:
        reduced = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(reduced, operation, group=self.group)
        return tuple(reduced.tolist())

    def _all(self, tensor: Tensor) -> Tensor:
        every = tensor.new_empty(self.world, *tensor.shape)
        dist.all_gather(list(every.unbind()), tensor.contiguous(), group=self.group)
        return every
