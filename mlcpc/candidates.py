r"""Who is a candidate of whom: masks, identities and labels of the pairs of a batch.

Row i has one positive of its own, y_i, and looks at K columns. A column that carries the label of
the row is one more positive; one that is excluded, or carries the id of the row, is no candidate;
all others are negatives. So each row has p_i positives, q_i negatives, and m_i candidates for each
positive:

.. math:: m_i = \frac{p_i + q_i}{p_i}, \qquad β_i = \frac{m_i - α}{m_i - 1}

Nothing here reads an embedding, and nothing is as large as the matrix of pairs.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from mlcpc.ranks import Alone, Ranks
from mlcpc.shapes import Float, Tensor

# Pairs that are listed at a time where a mask is read.
PAIRS_AT_A_TIME = 2**22


@dataclass(frozen=True)
class Marks:
    """What a caller says of the rows and of the columns; None where nothing is said.

    Args:
        exclude, ids, key_ids, labels, key_labels: as in :func:`mlcpc.allpairs.ml_cpc`.
        own: positions count from the first row of this rank, not of all ranks.
    """

    exclude: Tensor | None = None
    ids: Tensor | None = None
    key_ids: Tensor | None = None
    labels: Tensor | None = None
    key_labels: Tensor | None = None
    own: bool = False

    def of_all_ranks(self, first: int) -> "Marks":
        """The same with positions that count from the first row of all ranks."""
        if not self.own or self.exclude is None:
            return self
        return replace(self, exclude=self.exclude + first, own=False)

    def tensors(self) -> tuple[Tensor | None, ...]:
        """The fields in order."""
        return self.exclude, self.ids, self.key_ids, self.labels, self.key_labels

    def uneven(self, in_batch: bool) -> bool:
        """Whether rows may have different numbers of candidates."""
        listed = self.exclude is not None and self.exclude.dtype != torch.bool
        # A graph that is compiled cannot look for padding; the operator can.
        # In a batch a row may name its own positive, which is no negative anyway.
        padded = listed and (
            in_batch or torch.compiler.is_compiling() or bool((self.exclude < 0).any())
        )
        masked = self.exclude is not None and not listed
        return self.ids is not None or self.labels is not None or padded or masked

    def empty(self) -> bool:
        """Whether nothing is said."""
        return all(each is None for each in self.tensors())

    def width(self) -> int:
        """Columns that every row leaves out, where all rows leave out as many."""
        return 0 if self.exclude is None else self.exclude.reshape(len(self.exclude), -1).shape[1]

    def check_shapes(self, n: int, columns: int | None, keys: int | None, device: str) -> None:
        """Raise for what can be seen without reading a value.

        Args:
            n: rows.
            columns: columns, or None where other ranks hold some of them.
            keys: keys, or None for the batch form.
            device: where the embeddings are.
        """
        for name, count in (
            ("ids", n), ("labels", n), ("key_ids", keys), ("key_labels", keys)
        ):  # fmt: skip
            mark, partner = getattr(self, name), name.removeprefix("key_")
            if name.startswith("key_"):
                if mark is not None and keys is None:
                    raise ValueError(f"{name} is given without keys; valid: one for each key")
                if (mark is None) != (getattr(self, partner) is None) and keys is not None:
                    raise ValueError(
                        f"{name if mark is None else partner} is missing beside "
                        f"{partner if mark is None else name}; valid: both, where there are keys"
                    )
            if mark is None:
                continue
            kind = mark.dtype if isinstance(mark, Tensor) else type(mark).__name__
            if kind not in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
                raise ValueError(f"{name} is {kind}; valid: an integer tensor ({count},)")
            if mark.shape != (count,):
                raise ValueError(f"{name} has shape {tuple(mark.shape)}; valid: ({count},)")
            _check_device(name, mark, device)
        if self.exclude is not None:
            self._check_exclude(n, columns, device)

    def _check_exclude(self, n: int, columns: int | None, device: str) -> None:
        exclude, width = self.exclude, "K" if columns is None else columns
        kind = exclude.dtype if isinstance(exclude, Tensor) else type(exclude).__name__
        if kind not in (torch.int64, torch.int32, torch.bool):
            raise ValueError(
                f"exclude is {kind}; valid: an integer tensor (n,) or (n, e), or a boolean (n, K)"
            )
        _check_device("exclude", exclude, device)
        shape = tuple(exclude.shape)
        if kind == torch.bool:
            if exclude.ndim != 2 or shape[0] != n or (columns is not None and shape[1] != columns):
                raise ValueError(f"exclude has shape {shape}; valid for a mask: ({n}, {width})")
        elif exclude.ndim not in (1, 2) or shape[0] != n or 0 in shape:
            raise ValueError(f"exclude has shape {shape}; valid: ({n},) or ({n}, e), e at least 1")

    def check_values(self, columns: int) -> None:
        """Raise for positions that are no columns, or that a row names twice."""
        exclude = self.exclude
        if exclude is None:
            return
        if exclude.dtype == torch.bool:
            if exclude.shape[1] != columns:
                raise ValueError(
                    f"exclude has shape {tuple(exclude.shape)}; valid: one column for each of "
                    f"the {columns} candidates of all ranks"
                )
            return
        places = exclude.reshape(len(exclude), -1).sort(dim=1).values
        if places.min() < -1 or places.max() >= columns:
            bad = places.min() if places.min() < -1 else places.max()
            raise ValueError(
                f"exclude contains {bad}; valid: 0 to K - 1 = {columns - 1}, or -1 for none"
            )
        if ((places.diff(dim=1) == 0) & (places[:, 1:] >= 0)).any():
            raise ValueError("exclude repeats a position in a row; valid: different positions")


class Given(NamedTuple):
    """The arguments of a bound."""

    x: Tensor
    y: Tensor
    temperature: Any  # a number or a tensor with one element, as alpha
    alpha: Any
    keys: Tensor | None = None
    negatives: Tensor | None = None
    marks: Marks = Marks()


class Candidates:
    """The marks of the rows of this rank beside those of all columns, and what they count to."""

    def __init__(self, marks: Marks, n: int, columns: int, in_batch: bool, ranks: Alone | Ranks):
        self.n, self.columns = n, columns
        shared = isinstance(ranks, Ranks) and marks.exclude is not None
        self.uneven = shared or marks.uneven(in_batch)
        self.first = ranks.first if in_batch else None  # row i's own positive is column first + i
        self.exclude = marks.exclude
        if self.exclude is not None and self.exclude.dtype != torch.bool:
            self.exclude = self.exclude.reshape(n, -1)

        def paired(own: Tensor | None, of_keys: Tensor | None) -> tuple:
            if own is None:
                return None, None
            return _codes(own, ranks.rows_of_all(own) if in_batch else of_keys)

        self.ids, self.column_ids = paired(marks.ids, marks.key_ids)
        self.labels, self.column_labels = paired(marks.labels, marks.key_labels)

    def excluded(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Rows and columns of the pairs that ``exclude`` names, but for a row's own positive."""
        part = self.exclude[rows]
        row, place = part.nonzero(as_tuple=True) if part.dtype == torch.bool else (
            (part >= 0).nonzero(as_tuple=True)
        )  # fmt: skip
        column = place if part.dtype == torch.bool else part[row, place].long()
        row = row + rows.start
        if self.first is not None:
            other = column != row + self.first
            row, column = row[other], column[other]
        return row, column

    def blocks(self) -> Iterator[slice]:
        """Slices of rows whose pairs are listed together."""
        step = max(1, PAIRS_AT_A_TIME // max(1, self.columns))
        return (slice(start, min(start + step, self.n)) for start in range(0, self.n, step))

    def counts(self, own_negatives: int) -> tuple[Tensor, Tensor]:
        """p_i and q_i of each row, its own negatives included, (n,)."""
        device = next(
            each.device for each in (self.exclude, self.ids, self.labels) if each is not None
        )
        own = 0 if self.first is None else 1
        positives = torch.zeros(self.n, dtype=torch.int64, device=device)
        dropped = torch.zeros_like(positives)
        if self.labels is not None:
            positives += _matches(self.labels, self.column_labels) - own
        if self.ids is not None:
            dropped += _matches(self.ids, self.column_ids) - own
            if self.labels is not None:  # a partner of one's own label and id stays a positive
                size = int(max(self.ids.max(), self.column_ids.max())) + 1
                both = self.labels.long() * size + self.ids
                dropped -= _matches(both, self.column_labels.long() * size + self.column_ids) - own
        excluded = torch.zeros_like(positives)
        if self.exclude is not None:
            for rows in self.blocks():
                row, column = self.excluded(rows)
                excluded += row.bincount(minlength=self.n)
                labelled = torch.zeros_like(row, dtype=torch.bool)
                if self.labels is not None:
                    labelled = self.labels[row] == self.column_labels[column]
                    positives -= row[labelled].bincount(minlength=self.n)
                if self.ids is not None:
                    same = (self.ids[row] == self.column_ids[column]) & ~labelled
                    dropped -= row[same].bincount(minlength=self.n)
        negatives = self.columns - own - positives - dropped - excluded
        return positives + 1, negatives + own_negatives

    def partners(self, columns: Float[Tensor, "k d"]) -> Float[Tensor, "n d"]:
        """Sum of the columns that carry the label of a row, its own positive left out."""
        classes = int(max(self.labels.max(), self.column_labels.max())) + 1
        of_class = columns.new_zeros(classes, columns.shape[1])
        of_class.index_add_(0, self.column_labels.long(), columns)
        sums = of_class[self.labels.long()]
        if self.first is not None:
            sums -= columns[self.first : self.first + self.n]
        for row, column in self._labelled_but_excluded():
            sums.index_add_(0, row, columns[column], alpha=-1)
        return sums

    def add_to_partners(self, of_columns: Tensor, rows: Float[Tensor, "n d"]) -> None:
        """The transpose of :meth:`partners`: adds rows to the columns of their label."""
        classes = int(max(self.labels.max(), self.column_labels.max())) + 1
        of_class = rows.new_zeros(classes, rows.shape[1]).index_add_(0, self.labels.long(), rows)
        of_columns += of_class[self.column_labels.long()]
        if self.first is not None:
            of_columns[self.first : self.first + self.n] -= rows
        for row, column in self._labelled_but_excluded():
            of_columns.index_add_(0, column, rows[row], alpha=-1)

    def _labelled_but_excluded(self) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in self.blocks() if self.exclude is not None else ():
            row, column = self.excluded(rows)
            labelled = self.labels[row] == self.column_labels[column]
            yield row[labelled], column[labelled]

    def same_label(self, rows: slice, columns: slice) -> Tensor:
        """Where a tile has pairs of one label."""
        return self.labels[rows, None] == self.column_labels[columns]

    def leave_out(self, tile: Tensor, rows: slice, columns: slice) -> None:
        """Write −inf into a tile of scores where a pair is no candidate."""
        height, width = tile.shape
        if self.first is not None:
            offset = self.first + rows.start - columns.start
            if -height < offset < width:
                tile.diagonal(offset).fill_(-math.inf)
        if self.exclude is not None:
            if self.exclude.dtype == torch.bool:
                tile.masked_fill_(self.exclude[rows, columns], -math.inf)
            else:
                places = self.exclude[rows] - columns.start
                row, which = ((places >= 0) & (places < width)).nonzero(as_tuple=True)
                tile[row, places[row, which]] = -math.inf
        if self.ids is not None:
            same = self.ids[rows, None] == self.column_ids[columns]
            if self.labels is not None:
                same &= ~self.same_label(rows, columns)
            tile.masked_fill_(same, -math.inf)


def _codes(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """The same marks as small numbers from 0, which are quick to compare."""
    _, codes = torch.cat([left.long(), right.long()]).unique(return_inverse=True)
    return codes[: len(left)].int(), codes[len(left) :].int()


def _matches(left: Tensor, right: Tensor) -> Tensor:
    """How many of ``right`` are equal to each of ``left``."""
    values, counts = right.unique(return_counts=True)
    place = torch.searchsorted(values, left).clamp(max=len(values) - 1)
    return torch.where(values[place] == left, counts[place], 0)


def _check_device(name: str, mark: Tensor, device: str) -> None:
    if str(mark.device) != device:
        raise ValueError(f"{name} is on {mark.device}; valid: the device of x, {device}")
