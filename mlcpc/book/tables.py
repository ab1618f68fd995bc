"""Tables of a page: rows in, Markdown on the page and aligned text everywhere else."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlcpc.statistics import Summary


@dataclass(frozen=True)
class Table:
    """A table that a notebook shows; made by :func:`table`.

    ``str`` gives its Markdown. The last expression of a cell is drawn as a table on the page, and
    as columns of equal width in a terminal or a text output.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def _repr_markdown_(self) -> str:
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        # A bar would end the cell, even inside a formula.
        cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
        return "\n".join("| " + " | ".join(line) + " |" for line in cells)

    def __str__(self) -> str:
        return self._repr_markdown_()

    def __repr__(self) -> str:
        lines = [self.header, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]
        padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
                  for line in lines]
        return "\n".join("  ".join(line).rstrip() for line in padded)


def table(rows: Iterable[Sequence[object]], header: Sequence[object]) -> Table:
    """A table with one line of headings.

    Args:
        rows: the cells of each row; anything is shown as its text, so format numbers before, for
            example with :func:`fixed`.
        header: the headings, one for each column.

    Raises:
        ValueError: no heading, or a row with another number of cells than the header.
    """
    headings = tuple(map(str, header))
    if not headings:
        raise ValueError("header is empty; valid: at least one heading")
    cells = tuple(tuple(map(str, row)) for row in rows)
    for number, row in enumerate(cells, start=1):
        if len(row) != len(headings):
            raise ValueError(
                f"row {number} has {len(row)} cells; valid: {len(headings)}, as the header"
            )
    return Table(headings, cells)


def fixed(value: object, digits: int = 2) -> str:
    """A number with a fixed number of decimals, without a minus sign on a zero.

    Args:
        value: anything that ``float`` takes, such as a tensor with one element.
        digits: decimals.
    """
    return f"{float(value):z.{digits}f}"


def signed(value: object, digits: int = 2) -> str:
    """A difference with its sign; what rounds to zero is shown as ±0."""
    text = f"{float(value):+z.{digits}f}"
    return text if float(text) else "±" + text[1:]


def interval(low: object, high: object, digits: int = 2) -> str:
    """An interval in brackets, such as ``[0.98, 1.02]``."""
    return f"[{fixed(low, digits)}, {fixed(high, digits)}]"


def estimate(found: Summary, digits: int = 2, scale: float = 1.0, sign: bool = False) -> str:
    """A mean with its interval over seeds, such as ``84.2 [83.6, 84.8]``; without one, the mean.

    Args:
        found: what :func:`mlcpc.statistics.summary` or ``difference`` gave.
        digits: decimals.
        scale: factor of all numbers, such as 100 for per cent.
        sign: show the sign of the mean, for differences.
    """
    text = (signed if sign else fixed)(scale * found.mean, digits)
    if found.interval is None:
        return text
    return f"{text} {interval(*(scale * end for end in found.interval), digits)}"
