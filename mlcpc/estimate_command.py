"""``mlcpc estimate``: the information between columns of a file."""

import argparse
import csv
import json
from pathlib import Path

import numpy as np

from mlcpc.estimation import estimate

_PANDAS = (".parquet", ".feather", ".xlsx", ".json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options of the command."""
    parser.add_argument("file", type=Path, help=".csv, .tsv, .npz, or what pandas reads")
    parser.add_argument("--x", required=True, help="columns of x, separated by commas")
    parser.add_argument("--y", required=True, help="columns of y, separated by commas")
    parser.add_argument(
        "--time", action="store_true", help="rows are a time series, alike their neighbours"
    )
    parser.add_argument("--groups", help="column of groups: rows of one are not independent")
    parser.add_argument("--discrete", help="columns to read as classes, separated by commas")
    parser.add_argument("--steps", type=int, default=5000, help="training steps at most")
    parser.add_argument("--seed", type=int, default=0, help="seed of splits and first weights")
    parser.add_argument("--device", default="cpu", help="cpu, cuda (default: cpu)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--plot", type=Path, help="file of a picture, such as out.png")


def run(options: argparse.Namespace) -> None:
    """Estimate what the options say and print it.

    Raises:
        ValueError: a file that cannot be read, a column that it lacks, samples that cannot be used.
        OSError: a file that is not there, or a picture that cannot be written.
    """
    columns = read_columns(options.file)
    classes = _names(options.discrete) if options.discrete else []
    for name in classes:
        _pick(columns, [name], "discrete", options.file)
    x_names, y_names = _names(options.x), _names(options.y)
    if shared := set(x_names) & set(y_names):
        raise ValueError(f"column {min(shared)} is in x and in y; valid: different columns")
    x = _pick(columns, x_names, "x", options.file)
    y = _pick(columns, y_names, "y", options.file)
    groups = None
    if options.groups:
        groups = _pick(columns, [options.groups], "groups", options.file)[:, 0].astype(str)
    discrete = "auto"
    if classes:
        discrete = tuple(_mask(columns, names, classes) for names in (x_names, y_names))
    if options.plot is not None and not options.plot.parent.is_dir():
        raise ValueError(f"plot is {options.plot}; valid: a file in a folder that is there")
    found = estimate(
        x, y, groups=groups, order="time" if options.time else None, discrete=discrete,
        steps=options.steps, seed=options.seed, device=options.device, progress=not options.json,
    )  # fmt: skip
    if options.json:
        print(json.dumps({"x": x_names, "y": y_names, "estimate": found.to_dict()}, indent=1))
    else:
        print(f"{', '.join(x_names)} ({found.x}) and {', '.join(y_names)} ({found.y}), "
              f"{found.rows} rows")  # fmt: skip
        print(found)
    if options.plot is not None:
        axes = found.plot()
        axes.set_title(f"{', '.join(x_names)} – {', '.join(y_names)}")
        axes.figure.savefig(options.plot)


def read_columns(path: Path) -> dict[str, np.ndarray]:
    """Columns of a file by name; text where a column holds anything but numbers.

    A two-dimensional array ``a`` of an .npz file is the columns ``a``, all of them.

    Raises:
        ValueError: another format, rows of different lengths, no rows.
        OSError: no such file.
    """
    if path.suffix == ".npz":
        try:
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path} cannot be read: {error}; valid: arrays of numbers") from None
    if path.suffix in _PANDAS:
        return _with_pandas(path)
    if path.suffix not in (".csv", ".tsv", ".txt"):
        valid = ", ".join((".csv", ".tsv", ".npz", *_PANDAS))
        raise ValueError(f"{path} ends in {path.suffix!r}; valid: {valid}")
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            rows = [row for row in csv.reader(file, delimiter=_delimiter(path)) if row]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is no table of text: {error}") from None
    if len(rows) < 2:
        raise ValueError(f"{path} holds {len(rows)} lines; valid: names and at least one row")
    names, *rows = rows
    names = [name.strip() for name in names]
    if len(set(names)) < len(names):
        raise ValueError(f"{path} has two columns of one name; valid: names that differ")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise ValueError(
                f"{path} has {len(row)} cells in line {number}; valid: {len(names)}, as in line 1"
            )
    return {
        name: _column(cells) for name, cells in zip(names, zip(*rows, strict=True), strict=True)
    }


def _delimiter(path: Path) -> str:
    if path.suffix == ".tsv":
        return "\t"
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = file.readline()
    return max(",;\t", key=first.count)


def _column(cells: tuple[str, ...]) -> np.ndarray:
    """Numbers with NaN where a cell is empty, or text."""
    cells = [cell.strip() for cell in cells]
    try:
        return np.array([float(c) if c.lower() not in ("", "na", "n/a", "null") else np.nan
                         for c in cells])  # fmt: skip
    except ValueError:
        return np.array([cell or None for cell in cells], dtype=object)


def _with_pandas(path: Path) -> dict[str, np.ndarray]:
    try:
        import pandas
    except ImportError:
        raise ValueError(f"{path} needs pandas; valid: pip install pandas, or .csv") from None
    reader = {".parquet": "read_parquet", ".feather": "read_feather", ".xlsx": "read_excel",
              ".json": "read_json"}[path.suffix]  # fmt: skip
    try:
        table = getattr(pandas, reader)(path)
    except OSError:
        raise
    except Exception as error:  # each reader has errors of its own
        raise ValueError(f"{path} cannot be read: {error}") from None
    return {str(name): table[name].to_numpy() for name in table.columns}


def _names(text: str) -> list[str]:
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise ValueError("no column is named; valid: names, separated by commas")
    return found


def _pick(columns: dict[str, np.ndarray], names: list[str], option: str, path: Path) -> np.ndarray:
    """The named columns side by side, (N, d)."""
    for name in names:
        if name not in columns:
            raise ValueError(
                f"{option} names {name!r}, which {path} lacks; valid: {', '.join(columns)}"
            )
    picked = [columns[name] for name in names]
    picked = [each[:, None] if each.ndim == 1 else each for each in picked]
    if any(each.dtype.kind == "O" for each in picked):
        picked = [each.astype(object) for each in picked]
    if len({len(each) for each in picked}) > 1:
        raise ValueError(f"{option} names columns of different lengths; valid: one length")
    return np.concatenate(picked, axis=1)


def _mask(columns: dict[str, np.ndarray], names: list[str], classes: list[str]) -> np.ndarray:
    """Which columns of the named ones are classes; text always is."""
    parts = []
    for name in names:
        width = 1 if columns[name].ndim == 1 else columns[name].shape[1]
        parts.append(np.full(width, name in classes or columns[name].dtype.kind not in "fiu"))
    return np.concatenate(parts)
