"""Published numbers beside ours: what a paper says, how far ours may be, one rule that judges."""

import csv
import math
from dataclasses import dataclass

from mlcpc import files
from mlcpc.records import Metric
from mlcpc.statistics import summary


@dataclass(frozen=True)
class Published:
    """A number of a paper.

    Args:
        value: the number.
        unit: its unit.
        kind: printed (in a table or text), read-off (measured in a figure) or abstract.
        source: paper and place.
        note: what a reader must know, or empty.
    """

    value: float
    unit: str
    kind: str
    source: str
    note: str


def numbers() -> dict[str, Published]:
    """Name → number of a paper, from ``results/paper.csv``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that lacks a field, a kind that is unknown, a name that stands twice.
    """
    path, found = files.results() / "paper.csv", {}
    with path.open(newline="") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            name = row.pop("name", None)
            if row.get("kind") not in ("printed", "read-off", "abstract") or None in row.values():
                raise ValueError(f"{path}, line {line}: {row} is not a whole entry")
            if name in found:
                raise ValueError(f"{path}, line {line}: {name} stands twice")
            found[name] = Published(**{**row, "value": float(row["value"])})
    return found


@dataclass(frozen=True)
class Tolerance:
    """How far a number of ours may be from a published one and still be within tolerance.

    Args:
        within: largest difference, in the unit of the numbers.
        factor: largest ratio either way, for numbers that are never negative, such as variances;
            None where a difference counts.
        digit: half a unit of the last published digit, which a ratio is given on top.

    Raises:
        ValueError: a difference or digit below 0, a factor below 1.
    """

    within: float = 0.0
    factor: float | None = None
    digit: float = 0.0

    def __post_init__(self) -> None:
        for name in ("within", "digit"):
            if not 0 <= (value := getattr(self, name)) < math.inf:
                raise ValueError(f"{name} is {value}; valid: at least 0")
        if self.factor is not None and not 1 <= self.factor < math.inf:
            raise ValueError(f"factor is {self.factor}; valid: at least 1, or None")

    def __str__(self) -> str:
        if self.factor is None:
            return f"a difference of {self.within:g}"
        return f"a factor of {self.factor:g}"


VERDICTS = ("inside our interval", "within tolerance", "differs", "not comparable", "not attempted")


def verdict(theirs: Published, ours: Metric | None, tolerance: Tolerance) -> tuple[str, str]:
    """The one rule that judges a published number by ours.

    It is *not attempted* without a number of ours, and *not comparable* if the published one is
    known to be wrong by an unknown amount. Else it is *inside our interval* or, failing that,
    *within tolerance*: |ours − theirs| ≤ within, or, where a factor counts,
    (theirs − digit) / factor ≤ ours ≤ (theirs + digit) · factor. Else it *differs*.

    Args:
        theirs: the published number.
        ours: our values; None if there are none.
        tolerance: how far apart the two may be.

    Returns:
        one of ``VERDICTS``, and by how much the two differ, in words; empty if they do not.

    Raises:
        ValueError: the units are not the same.
    """
    if ours is None or not ours.numbers:
        return "not attempted", ""
    if ours.unit != theirs.unit:
        raise ValueError(f"unit is {ours.unit!r} of ours; valid: {theirs.unit!r}, as published")
    if "understated" in theirs.note or "overstated" in theirs.note:
        return "not comparable", ""
    found = summary(ours)
    mean, interval = found.mean, found.interval
    if interval is not None and interval[0] <= theirs.value <= interval[1]:
        return "inside our interval", ""
    if tolerance.factor is None:
        close = abs(mean - theirs.value) <= tolerance.within
        by = f"by {mean - theirs.value:+.2g} {theirs.unit}"
    else:
        low = (theirs.value - tolerance.digit) / tolerance.factor
        high = (theirs.value + tolerance.digit) * tolerance.factor
        close = low <= mean <= high
        by = f"by a factor {mean / theirs.value:.2g}" if theirs.value else f"{mean:.2g} against 0"
    return ("within tolerance", "") if close else ("differs", by)
