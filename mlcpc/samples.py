"""A user's samples: read, checked, and turned into columns that critics can learn from.

:func:`read` turns whatever a user holds into a :class:`Table` and says how each column was read.
:class:`Standardiser` maps its columns to like scales, fitted on some rows and applied to others.
Every such map is a function of x alone or of y alone, so no map adds information (data processing
inequality), and a lower bound on the mapped samples is one on the user's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.special import ndtri
from scipy.stats import rankdata

from mlcpc.shapes import Tensor

FEW = 32  # values up to which an integer column is read as classes, too
PER_CLASS = 10  # rows a class must have on average
_RARE = 0.05  # least variance that an indicator is divided by: few rows must not weigh much
_STEP = 0.1  # distance of the knots of smooth normal scores, in standard deviations


@dataclass(frozen=True, eq=False)
class Table:
    """Samples of one variable as a table of numbers.

    Args:
        name: the argument that held them, x or y.
        values: float64, (N, d); a column of classes holds the place of each class in ``classes``.
        kinds: for each column "number", "classes", or "both": as a number and as classes.
        classes: for each column its sorted classes, or None for a number.
        columns: names of the columns; numbers as text where there are none.
        warnings: doubts about how columns were read.
    """

    name: str
    values: np.ndarray
    kinds: tuple[str, ...]
    classes: tuple[tuple | None, ...]
    columns: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def varied(self) -> int:
        """Columns that are not constant."""
        return int((np.ptp(self.values, axis=0) > 0).sum())

    @property
    def fine(self) -> bool:
        """Whether any column takes many values, as a measurement does."""
        return any(len(np.unique(column[:10_000])) > FEW for column in self.values.T)

    def describe(self) -> str:
        """How the columns were read, such as ``3 numbers, 1 column of 4 classes``."""
        said = []
        if numbers := self.kinds.count("number"):
            said.append(f"{numbers} number{'s' * (numbers > 1)}")
        for kind, classes in zip(self.kinds, self.classes, strict=True):
            if kind != "number":
                also = " (also read as a number)" if kind == "both" else ""
                said.append(f"1 column of {len(classes)} classes{also}")
        return ", ".join(said[:4] + (["…"] if len(said) > 4 else []))

    def rows_like(self, samples: object) -> "Table":
        """Other samples, read as these were.

        Raises:
            ValueError: another number of columns, or a class that these samples lack.
        """
        columns, names = _columns(self.name, samples)
        if len(columns) != len(self.kinds):
            raise ValueError(
                f"{self.name} has {len(columns)} columns; valid: {len(self.kinds)}, as before"
            )
        values = np.stack(
            [
                _numbers(self.name, each, name) if kind == "number" or _is_numeric(each)
                else _codes(self.name, each, classes)
                for each, kind, classes, name in zip(
                    columns, self.kinds, self.classes, names, strict=True
                )
            ], axis=1,
        )  # fmt: skip
        for place, (kind, classes) in enumerate(zip(self.kinds, self.classes, strict=True)):
            if kind == "classes" and _is_numeric(columns[place]):
                values[:, place] = _codes(self.name, values[:, place], classes)
        return Table(self.name, values, self.kinds, self.classes, names)


def read(name: str, samples: object, discrete: object = "auto") -> Table:
    """Read the samples of one variable.

    Text, categories, booleans and objects are classes. A column of whole numbers with at most 32
    values and at least ten rows a value is read as a number and as classes, whatever its type:
    both are functions of x, so nothing is lost by either. All other numbers are numbers.

    Args:
        name: what errors call them, x or y.
        samples: (N,) or (N, d): an array, a tensor, a list, a pandas series or data frame. Row i is
            sample i; (N,) is one column, read exactly as (N, 1).
        discrete: "auto"; True or False for all columns; or one truth value a column.

    Returns:
        the table.

    Raises:
        ValueError: another shape; missing or infinite values, with their number and a way out;
            numbers that are none; only constant columns; fewer than ten rows a class.
    """
    columns, names = _columns(name, samples)
    asked = _discrete(name, discrete, len(columns))
    values, kinds, classes, doubts = [], [], [], []
    for column, title, wish in zip(columns, names, asked, strict=True):
        numeric = _is_numeric(column)
        if wish is False and not numeric:
            raise ValueError(f"{name} holds text in {_title(title)}; valid: discrete=True for it")
        if not numeric or wish is True:
            _refuse_missing(name, column, title)
            known = tuple(np.unique(column).tolist())
            _check_classes(name, title, len(known), len(column))
            values.append(_codes(name, column, known))
            kinds.append("classes")
            classes.append(known)
            continue
        column = _numbers(name, column, title)
        known, counts = np.unique(column, return_counts=True)
        whole = bool((known == np.round(known)).all())
        few = 2 < len(known) <= FEW and len(column) >= PER_CLASS * len(known)
        both = wish is None and whole and few
        values.append(column)
        kinds.append("both" if both else "number")
        classes.append(tuple(known.tolist()) if both else None)
        if wish is None and whole and FEW < len(known) <= len(column) // PER_CLASS:
            doubts.append(
                f"{name} holds {len(known)} whole numbers in {_title(title)}, read as a number: "
                "pass discrete=True if they are labels"
            )
    table = Table(
        name, np.stack(values, 1), tuple(kinds), tuple(classes), tuple(names), tuple(doubts[:3])
    )
    if not table.varied:
        raise ValueError(f"{name} is constant; valid: at least one column that varies")
    if constant := len(kinds) - table.varied:
        said = f"{name} has {constant} constant columns, left out"
        table = replace(table, warnings=(*table.warnings, said))
    return table


def _columns(name: str, samples: object) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Columns and their names."""
    if hasattr(samples, "dtypes") and hasattr(samples, "columns"):  # a data frame
        names = tuple(str(each) for each in samples.columns)
        columns = [_array(samples[each]) for each in samples.columns]
    else:
        table = _array(samples)
        if table.ndim == 1:
            table = table[:, None]
        if table.ndim > 2:
            raise ValueError(
                f"{name} has shape {table.shape}; valid: (N,) or (N, d): flatten it with "
                f"{name}.reshape(len({name}), -1), or pass encoder_{name}="
            )
        if table.ndim == 2 and len(table) == 1 and table.shape[1] > 1:
            raise ValueError(
                f"{name} has shape {table.shape}, one sample; valid: (N,) or (N, d): "
                f"rows are samples, so pass {name}.T if columns are"
            )
        if table.ndim != 2 or 0 in table.shape:
            raise ValueError(f"{name} has shape {table.shape}; valid: (N,) or (N, d)")
        columns = [table[:, place] for place in range(table.shape[1])]
        names = tuple(str(place) for place in range(table.shape[1]))
    if not columns or not len(columns[0]):
        raise ValueError(f"{name} is empty; valid: (N,) or (N, d)")
    return columns, names


def _array(samples: object) -> np.ndarray:
    """A numpy array; a masked one keeps its mask."""
    if isinstance(samples, Tensor):
        samples = samples.detach().cpu()
        if samples.dtype in (torch.bfloat16, torch.float16):
            samples = samples.float()
        return samples.resolve_conj().numpy()
    if isinstance(samples, np.ma.MaskedArray):
        return samples
    if hasattr(samples, "dtype") and hasattr(samples, "to_numpy"):  # a series
        kind = object if str(samples.dtype) == "category" else None
        return np.asarray(samples.to_numpy(dtype=kind))
    return np.asarray(samples)


def _is_numeric(column: np.ndarray) -> bool:
    if column.dtype.kind in "fiu":
        return True
    if column.dtype.kind != "O":
        return False
    there = [each for each in column.tolist() if not _is_missing(each)]
    return all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in there)


def _is_missing(value: object) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and math.isnan(value)


def _refuse_missing(name: str, column: np.ndarray, title: str) -> None:
    if column.dtype.kind == "c":
        raise ValueError(f"{name} is {column.dtype}; valid: real numbers, text or truth values")
    missing = np.ma.getmaskarray(column).copy()
    if column.dtype.kind == "O":
        missing |= np.array([_is_missing(each) for each in column.tolist()])
    elif column.dtype.kind == "f":
        missing |= np.isnan(np.ma.getdata(column))
    elif column.dtype.kind in "mM":
        missing |= np.isnat(column)
    if missing.any():
        raise ValueError(
            f"{name} contains nan in row {int(missing.argmax())} of {_title(title)}, missing in "
            f"{int(missing.sum())} of {len(column)} rows; valid: finite numbers: leave those rows "
            "out of x and of y, or fill them in"
        )


def _numbers(name: str, column: np.ndarray, title: str) -> np.ndarray:
    if column.dtype.kind == "b":
        column = column.astype(np.float64)
    if not _is_numeric(column):
        raise ValueError(f"{name} is {column.dtype} in {_title(title)}; valid: numbers")
    _refuse_missing(name, column, title)
    numbers = np.ma.getdata(column).astype(np.float64)
    if not np.isfinite(numbers).all():
        row = int((~np.isfinite(numbers)).argmax())
        raise ValueError(
            f"{name} contains {numbers[row]} in row {row} of {_title(title)}; valid: finite numbers"
        )
    return numbers


def _codes(name: str, column: np.ndarray, classes: tuple) -> np.ndarray:
    places = {each: place for place, each in enumerate(classes)}
    found = [places.get(each, -1) for each in column.tolist()]
    if -1 in found:
        raise ValueError(f"{name} has unknown label {column.tolist()[found.index(-1)]!r}")
    return np.array(found, dtype=np.float64)


def _discrete(name: str, discrete: object, width: int) -> list[bool | None]:
    if isinstance(discrete, str) and discrete == "auto":
        return [None] * width
    if isinstance(discrete, (bool, np.bool_)):
        return [bool(discrete)] * width
    if isinstance(discrete, (Sequence, np.ndarray, Tensor)) and not isinstance(discrete, str):
        mask = np.asarray(discrete)
        if mask.dtype.kind == "b" and mask.shape == (width,):
            return mask.tolist()
    raise ValueError(
        f"discrete is {discrete!r}; valid: 'auto', True, False, or a truth value for each of the "
        f"{width} columns of {name}; a pair (of x, of y) of these"
    )


def _check_classes(name: str, title: str, classes: int, rows: int) -> None:
    if classes > max(2, rows // PER_CLASS):
        raise ValueError(
            f"{name} holds {classes} labels in {rows} samples in {_title(title)}; valid: ten "
            "samples a label, or numbers (discrete=False) if they are numbers"
        )


def _title(title: str) -> str:
    return f"column {title}"


class Standardiser:
    """Columns of like scale, fitted on some rows of a table and applied to any.

    Args:
        table: the samples.
        rows: places of the rows to fit.
        how: ``ranks`` for normal scores of each column (Φ⁻¹ of the share of rows below, ties at
            their middle); ``smooth`` for normal scores that interpolate between quantiles, so that
            nearby values stay apart; ``moments`` for mean 0 and variance 1. Classes are indicator
            columns with mean 0 and variance 1.
    """

    def __init__(self, table: Table, rows: np.ndarray, how: str) -> None:
        self.table, self.how = table, how
        fitted = table.values[rows]
        varied = np.ptp(table.values, axis=0) > 0
        self.numbers = [k for k, kind in enumerate(table.kinds) if kind != "classes" and varied[k]]
        self.sorted = np.sort(fitted[:, self.numbers], axis=0)
        self.knots = [_knots(column) for column in self.sorted.T] if how == "smooth" else []
        self.mean, self.scale = self.sorted.mean(0), np.maximum(self.sorted.std(0), 1e-300)
        self.shares = []
        for place, (kind, known) in enumerate(zip(table.kinds, table.classes, strict=True)):
            if kind != "number" and varied[place]:
                codes = np.arange(len(known)) if kind == "classes" else np.array(known)
                self.shares.append((place, codes, (fitted[:, place, None] == codes).mean(0)))

    @property
    def ordered(self) -> np.ndarray:
        """Which columns a normal pair reads: numbers, and indicators of what is no number."""
        kinds = [self.table.kinds[place] for place, codes, _ in self.shares for _ in codes]
        return np.array([True] * len(self.numbers) + [kind == "classes" for kind in kinds])

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Standardised columns (n, width) of rows of the table, or of one that was read alike."""
        parts = []
        for k, place in enumerate(self.numbers):
            parts.append(self._scores(k, values[:, place])[:, None])
        for place, codes, share in self.shares:
            found = values[:, place, None] == codes
            parts.append((found - share) / np.sqrt(np.maximum(share * (1 - share), _RARE)))
        return np.concatenate([np.zeros((len(values), 0)), *parts], axis=1)

    def _scores(self, k: int, column: np.ndarray) -> np.ndarray:
        known = self.sorted[:, k]
        if self.how == "moments":
            return (column - self.mean[k]) / self.scale[k]
        if self.how == "smooth":
            return np.interp(column, *self.knots[k])
        below = np.searchsorted(known, column, "left") + np.searchsorted(known, column, "right")
        return ndtri((below / 2 + 0.5) / (len(known) + 1))


def _knots(known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean value and mean normal score of neighbouring rows, a step of scores apart.

    Means, since single quantiles of x and of y differ by more than a strong dependence leaves. The
    ends go on in a straight line.
    """
    scores = ndtri((np.arange(len(known)) + 0.5) / len(known))
    step = np.floor(scores / _STEP).astype(int)
    step -= step.min()
    count = np.bincount(step)
    means = [np.bincount(step, z)[count > 0] / count[count > 0] for z in (known, scores)]
    values, where = np.unique(means[0], return_inverse=True)
    middle = np.bincount(where, means[1]) / np.bincount(where)
    if len(values) < 2:
        return values, middle
    for end, other in ((0, 1), (-1, -2)):
        slope = (values[end] - values[other]) / (middle[end] - middle[other])
        further = 3 * (1 if end else -1)
        place = 0 if end == 0 else len(values)
        values = np.insert(values, place, values[end] + slope * further)
        middle = np.insert(middle, place, middle[end] + further)
    return values, middle


def repeated_rows(x: Table, y: Table) -> np.ndarray | None:
    """A group for each row, the same for rows that repeat one another in x and y; None without any.

    Rows of whole numbers or of a few rounded values repeat by themselves. So rows count as copies
    only where, in a variable with many values, rows that are equal there are equal in the other,
    too, and where at least one row in fifty is new.
    """
    of_x, of_y = (_equal_rows(each.values) for each in (x, y))
    both = _equal_rows(np.stack([of_x, of_y], axis=1))
    distinct = both.max() + 1
    if distinct == len(x) or distinct < len(x) / 50:
        return None
    pairs = _pairs(both)
    for table, ids in ((x, of_x), (y, of_y)):
        fine = any(
            len(np.unique(column)) > FEW and (column != np.round(column)).any()
            for column in table.values.T
        )
        if fine and pairs >= 0.9 * _pairs(ids):
            return both
    return None


def _equal_rows(values: np.ndarray) -> np.ndarray:
    if values.shape[1] == 1:
        return np.unique(values[:, 0], return_inverse=True)[1]
    # equal rows have equal bytes once −0.0 is 0.0
    raw = np.ascontiguousarray(values + 0.0).view(f"V{values.shape[1] * values.itemsize}").ravel()
    return np.unique(raw, return_inverse=True)[1]


def _pairs(groups: np.ndarray) -> int:
    counts = np.bincount(groups).astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def serial_correlation(table: Table, lag: int = 1) -> float:
    """Largest correlation of a column's ranks with those of the row ``lag`` before it."""
    values = table.values[:200_000, :50]
    values = values[:, np.ptp(values, axis=0) > 0]
    ranks = rankdata(values, axis=0)  # ties share their rank: in the order of rows they would rise
    ranks -= ranks.mean(0)
    return float(((ranks[lag:] * ranks[:-lag]).mean(0) / ranks.var(0)).max())
