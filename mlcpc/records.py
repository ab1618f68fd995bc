"""Records of long runs: small JSON files that say what was run, on what, and what came out.

A record holds the whole configuration, the seeds, every value with its unit, the arrays that
figures draw, and where the numbers come from. No statistic is stored: means, intervals and verdicts
are derived on reading, by :mod:`mlcpc.statistics`. A record carries its own checksum, so a file
that was cut off or edited by hand is refused.
"""

import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from mlcpc import files

SCHEMA = 2
PROFILES = ("quick", "full")
PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class Metric:
    """Values of one quantity.

    Args:
        unit: unit of the values, such as "nats" or "share".
        values: one value for each seed, round or run; None where a seed gave none.
        per: what there is one value of: "seed", "round" (of a benchmark) or "run".

    Raises:
        ValueError: no value, one that is neither a finite number nor None, an unknown ``per``.
    """

    unit: str
    values: tuple[float | None, ...]
    per: str = "seed"

    def __post_init__(self) -> None:
        found = tuple(None if each is None else _finite(each) for each in self.values)
        if not found:
            raise ValueError("values is (); valid: at least one number or None")
        if self.per not in ("seed", "round", "run"):
            raise ValueError(f"per is {self.per!r}; valid: seed, round, run")
        if not isinstance(self.unit, str) or not self.unit:
            raise ValueError(f"unit is {self.unit!r}; valid: a text")
        object.__setattr__(self, "values", found)

    @property
    def numbers(self) -> list[float]:
        """Return the values that are not None."""
        return [each for each in self.values if each is not None]

    @property
    def mean(self) -> float:
        """Return the mean of these, or NaN if there is none."""
        return sum(self.numbers) / len(self.numbers) if self.numbers else math.nan


@dataclass(frozen=True)
class Record:
    """What one run was and what it gave.

    Args:
        name: file name without ending, lower case with hyphens.
        experiment: name of the experiment, or the path of the script that made it.
        version: version of the experiment whose numbers these are.
        profile: "quick" or "full"; a conclusion needs a full one.
        command: the command that makes it again.
        config: every setting of the run.
        seeds: random seeds of the run.
        metrics: name → values.
        provenance: what :func:`provenance` returns.
        arrays: name → nested list of numbers or texts that a figure or table draws.

    Raises:
        ValueError: a field of the wrong kind, an unknown profile, numbers that are not finite, a
            metric per seed with another number of values than seeds.
    """

    name: str
    experiment: str
    version: int
    profile: str
    command: str
    config: dict[str, Any]
    seeds: list[int]
    metrics: dict[str, Metric]
    provenance: dict[str, Any]
    arrays: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema is {self.schema!r}; valid: {SCHEMA}")
        check_name(self.name)
        if self.profile not in PROFILES:
            raise ValueError(f"profile is {self.profile!r}; valid: {', '.join(PROFILES)}")
        if type(self.version) is not int or self.version < 1:
            raise ValueError(f"version is {self.version!r}; valid: an integer of at least 1")
        for key in ("experiment", "command"):
            if not (isinstance(value := getattr(self, key), str) and value):
                raise ValueError(f"{key} is {value!r}; valid: a text")
        for key in ("config", "metrics", "arrays", "provenance"):
            if not isinstance(getattr(self, key), dict):
                raise ValueError(f"{key} is {getattr(self, key)!r}; valid: a dictionary")
        if not isinstance(self.seeds, list) or not all(type(seed) is int for seed in self.seeds):
            raise ValueError(f"seeds is {self.seeds!r}; valid: a list of integers")
        missing = {"device", "versions", "wall_seconds", "data"} - set(self.provenance)
        if missing:
            raise ValueError(f"provenance lacks {', '.join(sorted(missing))}")
        _finite(self.provenance["wall_seconds"])
        object.__setattr__(
            self, "metrics", {k: self._metric(k, v) for k, v in self.metrics.items()}
        )
        try:
            json.dumps(asdict(self), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"record {self.name} cannot be written as JSON: {error}") from None

    def _metric(self, name: str, value: Any) -> Metric:
        if isinstance(value, dict):
            try:
                value = Metric(**value)
            except TypeError as error:
                raise ValueError(f"metric {name}: {error}") from None
        if not isinstance(value, Metric):
            raise ValueError(f"metric {name} is {value!r}; valid: a Metric")
        if value.per == "seed" and len(value.values) != len(self.seeds):
            raise ValueError(
                f"metric {name} has {len(value.values)} values for {len(self.seeds)} seeds; "
                "valid: one for each, None where a seed gave none"
            )
        return value


def check_name(name: str) -> None:
    """Refuse a name that no record can have, before work that it would lose.

    Raises:
        ValueError: anything but lower case letters, digits and hyphens.
    """
    if not isinstance(name, str) or not re.fullmatch("[a-z0-9-]*[a-z0-9][a-z0-9-]*", name):
        raise ValueError(f"name is {name!r}; valid: lower case letters, digits and hyphens")


def write(record: Record, folder: Path | None = None) -> Path:
    """Write a record with its checksum; the file appears whole or not at all.

    Raises:
        OSError: the folder cannot be written; nothing is left behind.
    """
    content = json.loads(json.dumps(asdict(record)))
    content["checksum"] = files.checksum(content)
    path = (folder or files.results()) / f"{record.name}.json"
    files.write(path, json.dumps(content, indent=1, sort_keys=True) + "\n")
    return path


def read(name: str, folder: Path | None = None) -> Record:
    """Read a record and check it.

    Raises:
        FileNotFoundError: no such record; the message lists those there are.
        ValueError: not JSON, unknown or missing fields, fields of the wrong kind, a checksum or a
            name that does not fit. The message names the file.
    """
    folder = folder or files.results()
    path = folder / f"{name}.json"
    if not path.is_file():
        there = ", ".join(sorted(each.stem for each in folder.glob("*.json"))) or "none"
        raise FileNotFoundError(f"no record {path}; there are: {there}")
    try:
        content = json.loads(path.read_text())
        checksum = content.pop("checksum")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a whole record: {error!r}") from None
    if checksum != files.checksum(content):
        raise ValueError(f"{path} does not fit its checksum: it was edited or damaged")
    if unknown := set(content) - set(Record.__dataclass_fields__):
        raise ValueError(f"{path} has unknown fields: {', '.join(sorted(unknown))}")
    try:
        record = Record(**content)
    except TypeError as error:
        raise ValueError(f"{path} lacks fields: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if record.name != name:
        raise ValueError(f"{path} holds the record {record.name}; valid: a file of that name")
    return record


def read_all(pattern: str = "*", folder: Path | None = None) -> dict[str, Record]:
    """Name → record, of every record whose name fits a pattern, in the order of names.

    Args:
        pattern: a name with ``*`` for any letters, such as ``distill-fashion-mnist-*``.
        folder: where the records are; None for :func:`mlcpc.files.results`.

    Raises:
        ValueError: as :func:`read`.
    """
    paths = sorted((folder or files.results()).glob(f"{pattern}.json"))
    return {path.stem: read(path.stem, folder) for path in paths}


def provenance(
    wall_seconds: float, data: dict[str, str] | None = None, device: str = "cpu"
) -> dict[str, Any]:
    """Say where a number comes from: device, processes, versions, commit, data, seconds, date.

    Args:
        wall_seconds: how long the work took, interruptions left out.
        data: name of a data set → its sha256.
        device: cpu or cuda, where it ran.
    """
    return {
        "device": _processor() if device == "cpu" else torch.cuda.get_device_name(),
        "threads": torch.get_num_threads(),
        "processes": dist.get_world_size() if dist.is_initialized() else 1,
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("torch", "numpy")},
        },
        "commit": commit(),
        "data": data or {},
        "wall_seconds": round(wall_seconds, 1),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"values holds {value!r}; valid: finite numbers, or None")
    return value


@cache
def commit() -> str | None:
    """The commit of the package, with -dirty if its files differ from it; None if it has none."""

    def git(*words: str) -> str | None:
        try:
            answer = subprocess.run(["git", *words], cwd=PACKAGE, capture_output=True, text=True)
        except FileNotFoundError:
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    found = git("rev-parse", "--short=12", "HEAD")
    # An installed package may lie inside a repository that is not its own.
    if not found or not git("ls-files", "--error-unmatch", "records.py"):
        return None
    # Records that earlier runs of a sweep have left are no code.
    changed = git("status", "--porcelain", "--", ":(top,exclude)results")
    return found if changed == "" else f"{found}-dirty"


def _processor() -> str:
    """Name of the processor and its cores; the platform module leaves it empty on Linux."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = names[0].split(":")[1].strip() if names else name
    return f"{name}, {os.cpu_count()} cores"


def metrics(values: dict[str, Iterable[float | None]], unit: str, per: str = "seed") -> dict:
    """Make a metric of each entry, all in one unit."""
    return {name: Metric(unit, tuple(of_one), per) for name, of_one in values.items()}
