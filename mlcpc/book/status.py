"""What is proved, refuted and open: for each game the two ends of the range of α, from one source.

The upper end of the unknown is :func:`mlcpc.bounds.alpha_safe`. The lower end is the best of the
book's counter-examples, :mod:`mlcpc.book.laws`.
"""

from dataclasses import dataclass

from mlcpc import bounds
from mlcpc.book import laws

GAMES = {  # name -> negatives, normaliser
    "CPC, any negatives": ("in_batch", "row"),
    "ML-CPC, independent": ("independent", "batch"),
    "ML-CPC, shared anchor": ("shared", "batch"),
    "ML-CPC, in batch": ("in_batch", "batch"),
}


@dataclass(frozen=True)
class Range:
    """A game, the weight below which it is refuted and the weight from which it is proved.

    Between the two neither is shown here. The book's 5/7 in place of 2/e for three or more
    candidates is left out.
    """

    game: str
    refuted: float
    proved: float


def ranges(n: int, m: int | None = None) -> list[Range]:
    """The ranges of every game with n anchors and m candidates, m = n if it is not given.

    Raises:
        ValueError: n < 2, m < 2. A game in the batch is left out where m is not n.
    """
    bounds._check_count("n", n, 2)
    m = n if m is None else m
    found = []
    for game, (negatives, normaliser) in GAMES.items():
        if normaliser == "row":  # a row knows neither n nor the design
            found.append(Range(game, laws.two_point(m), bounds.alpha_safe("shared", n, m, "row")))
        elif negatives != "in_batch":
            refuted = bounds.alpha_min(n, m) * laws.two_point(n * (m - 1) + 1)
            found.append(Range(game, refuted, bounds.alpha_safe(negatives, n, m)))
        elif n == m:
            refuted = max(laws.copy_edge(n), laws.never_meet_edge(n, n))
            found.append(Range(game, refuted, bounds.alpha_safe(negatives, n, n)))
    return found
