"""Records of long runs: small JSON files that say what was run, on what, and what came out.

A record holds the whole configuration, the seeds, metrics with units and per-seed values, the
arrays that figures draw, and where the numbers come from. It carries its own checksum, so a
truncated or hand-edited file is refused.
"""

import csv
import hashlib
import itertools
import json
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from mlcpc import sources

SCHEMA = 1
PROFILES = ("quick", "full")
PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class Record:
    """What one run was and what it gave.

    Args:
        name: file name without ending, lower case with hyphens.
        chapter: notebook that shows it, such as ``06_boundary``.
        profile: "quick" or "full".
        command: the command that makes it again.
        config: every setting of the run.
        seeds: seeds used.
        metrics: name → what :func:`metric` returns.
        arrays: name → nested list of numbers that a figure or table draws.
        provenance: what :func:`provenance` returns.

    Raises:
        ValueError: a field of the wrong kind, an unknown profile, numbers that are not finite.
    """

    name: str
    chapter: str
    profile: str
    command: str
    config: dict
    seeds: list
    metrics: dict
    provenance: dict
    arrays: dict = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if type(self.schema) is not int or self.schema != SCHEMA:
            raise ValueError(f"schema is {self.schema!r}; valid: {SCHEMA}")
        check_name(self.name)
        if self.profile not in PROFILES:
            raise ValueError(f"profile is {self.profile!r}; valid: {', '.join(PROFILES)}")
        for key in ("config", "metrics", "arrays", "provenance"):
            if not isinstance(getattr(self, key), dict):
                raise ValueError(f"{key} is {getattr(self, key)!r}; valid: a dictionary")
        for key in ("chapter", "command"):
            if not (isinstance(value := getattr(self, key), str) and value):
                raise ValueError(f"{key} is {value!r}; valid: a text")
        if not isinstance(self.seeds, list) or not all(type(seed) is int for seed in self.seeds):
            raise ValueError(f"seeds is {self.seeds!r}; valid: a list of integers")
        _check_provenance(self.provenance)
        for key, value in self.metrics.items():
            _check_metric(key, value)
        try:
            json.dumps(asdict(self), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"record {self.name} can not be written as JSON: {error}") from None


def _check_provenance(where: dict) -> None:
    missing = {"device", "versions", "code", "wall_seconds"} - set(where)
    if missing:
        raise ValueError(f"provenance lacks {', '.join(sorted(missing))}")

    def texts(value: object) -> bool:
        return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())

    def lines(value: object) -> bool:
        return isinstance(value, list) and all(
            texts(line) and set(line) == {"date", "why"} for line in value
        )

    def count(value: object) -> bool:
        return type(value) is int and value > 0

    kinds = {
        "a text": (("device",), lambda value: isinstance(value, str)),
        "a text or None": (
            ("commit", "date"), lambda value: value is None or isinstance(value, str)
        ),
        "names with texts": (("versions", "code", "data"), texts),
        "a number of seconds": (("wall_seconds",), lambda value: _number(value) and value >= 0),
        "a positive integer": (("threads", "processes"), count),
        "a list of date and why": (("carried",), lines),
    }  # fmt: skip
    for valid, (keys, fits) in kinds.items():
        for key in keys:
            if key in where and not fits(where[key]):
                raise ValueError(f"provenance has {where[key]!r} as {key}; valid: {valid}")


def _number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _check_metric(key: str, value: dict) -> None:
    """Refuse what :func:`metric` does not return."""
    if not isinstance(value, dict) or set(value) != {"unit", "values", "mean", "interval"}:
        raise ValueError(f"metric {key} is {value!r}; valid: unit, values, mean, interval")
    ends = value["interval"] if value["interval"] is not None else [value["mean"]] * 2
    fits = isinstance(value["unit"], str) and isinstance(value["values"], list) and value["values"]
    fits = fits and isinstance(ends, list) and len(ends) == 2
    fits = fits and all(map(_number, (*value["values"], value["mean"], *ends)))
    if not fits or ends[0] > ends[1]:
        raise ValueError(
            f"metric {key} is {value!r}; valid: a unit, values and their mean as finite numbers, "
            "an interval of two numbers or None"
        )


def check_name(name: str) -> None:
    """Refuse a name that no record can have; to be asked before work that it would lose.

    Raises:
        ValueError: anything but lower case letters, digits and hyphens.
    """
    if not isinstance(name, str) or not re.fullmatch("[a-z0-9-]*[a-z0-9][a-z0-9-]*", name):
        raise ValueError(f"name is {name!r}; valid: lower case letters, digits and hyphens")


def check_settings(name: str, config: Any, folder: Path | None = None) -> None:
    """Refuse a name under which a record of other settings stands; before it is lost.

    Args:
        name: of the record that a run is about to write.
        config: its dataclass; fields that an older record lacks count as their defaults.
        folder: where the records are; None for :func:`results`.

    Raises:
        ValueError: such a record; the message names the settings that differ.
    """
    path = (folder or results()) / f"{name}.json"
    if not path.is_file():
        return
    stored = asdict(type(config)()) | read(name, folder).config
    here, there = (json.loads(json.dumps(each)) for each in (asdict(config), stored))
    if here != there:
        raise ValueError(
            f"{path} holds a record of other settings ({differences(here, there)}); valid: "
            "another --name, or remove that record first"
        )


def metric(values: Iterable[float], unit: str) -> dict:
    """Per-seed values with their mean and a 95 % bootstrap interval of the mean.

    Args:
        values: one number for each seed.
        unit: unit of the numbers, such as "nats".

    Returns:
        unit, values, mean and interval (None for a single seed).

    Raises:
        ValueError: no value, or one that is not finite.
    """
    values = [float(value) for value in values]
    if not values or not all(map(math.isfinite, values)):
        raise ValueError(f"values is {values}; valid: at least one finite number")
    interval = None
    if len(values) > 1:
        draws = np.random.default_rng(0).choice(values, (10_000, len(values)))
        interval = [float(end) for end in np.quantile(draws.mean(1), [0.025, 0.975])]
    return {"unit": unit, "values": values, "mean": float(np.mean(values)), "interval": interval}


def provenance(
    code: dict[str, str], wall_seconds: float, data: dict | None = None, device: str = "cpu"
) -> dict:
    """Where a number comes from: device, processes, versions, commit, hashes, seconds.

    Args:
        code: :func:`code_hash` of the modules used, taken when the run starts: a file may be
            edited while a long run still works with what it loaded.
        wall_seconds: how long the run took.
        data: name of a data set → its sha256, for runs on data.
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
        "commit": _commit(PACKAGE),
        "code": code,
        "data": data or {},
        "wall_seconds": round(wall_seconds, 1),
        "date": datetime.now(UTC).date().isoformat(),
    }


def code_hash(names: Iterable[str]) -> dict[str, str]:
    """Name → sha256 of its code, to tell whether a record still fits it.

    ``bounds`` is a whole module, ``bounds.ml_cpc`` a member of it, ``benchmarks/allpairs.measure``
    one of a script beside the package; each with all that it uses in the package, as
    :func:`mlcpc.sources.used_by` finds it. So what is written beside it later makes no record
    stale, and neither do better words.

    Raises:
        ValueError: a module that is neither in the package nor beside it, or a name that its
            module lacks.
    """
    _commit(PACKAGE)  # remembered: while a long run works, others may commit
    return {
        name: hashlib.sha256(sources.used_by(name, PACKAGE).encode()).hexdigest()
        for name in sorted(names)
    }


def stale(record: Record) -> list[str]:
    """Names of code that have changed, or gone, since the record was made."""
    changed = []
    for name, digest in record.provenance["code"].items():
        try:
            now = code_hash([name])[name]
        except ValueError:
            now = None
        if now != digest:
            changed.append(name)
    return changed


def carried(record: Record, why: str) -> Record:
    """The record with the hashes that its code has now, and a line that says why it still holds.

    For a change of the code that touches no number. Whoever carries a record has to show that;
    the reason and the day stand on the record's page.

    Raises:
        ValueError: no reason; a record that fits the code as it is; code that has gone.
    """
    if not why.strip():
        raise ValueError(f"why is {why!r}; valid: the reason why no number changes")
    if not stale(record):
        raise ValueError(f"record {record.name} fits the code; valid: a stale record")
    where = record.provenance
    line = {"date": datetime.now(UTC).date().isoformat(), "why": " ".join(why.split())}
    return replace(
        record,
        provenance={
            **where, "code": code_hash(where["code"]), "carried": [*where.get("carried", []), line]
        },
    )  # fmt: skip


def results() -> Path:
    """Folder of the records: ``$MLCPC_RESULTS``, or the nearest ``results`` folder upwards."""
    if "MLCPC_RESULTS" in os.environ:
        return Path(os.environ["MLCPC_RESULTS"])
    for folder in (Path.cwd(), *Path.cwd().parents, PACKAGE.parent):
        if (folder / "results").is_dir():
            return folder / "results"
    raise FileNotFoundError("no folder named results here or above; set MLCPC_RESULTS to it")


def write(record: Record, folder: Path | None = None) -> Path:
    """Write a record with its checksum; the file appears whole or not at all.

    Raises:
        OSError: the folder can not be written; nothing is left behind.
    """
    content = asdict(record)
    content["checksum"] = _checksum(content)
    path = (folder or results()) / f"{record.name}.json"
    write_atomically(path, json.dumps(content, indent=1, sort_keys=True) + "\n")
    return path


def read(name: str, folder: Path | None = None) -> Record:
    """Read a record and check it.

    Raises:
        FileNotFoundError: no such record; the message lists those there are.
        ValueError: not JSON, unknown or missing fields, fields of the wrong kind, a checksum or a
            name that does not fit. The message names the file.
    """
    folder = folder or results()
    path = folder / f"{name}.json"
    if not path.is_file():
        there = ", ".join(sorted(each.stem for each in folder.glob("*.json"))) or "none"
        raise FileNotFoundError(f"no record {path}; there are: {there}")
    try:
        content = json.loads(path.read_text())
        checksum = content.pop("checksum")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a whole record: {error!r}") from None
    if checksum != _checksum(content):
        raise ValueError(f"{path} does not fit its checksum: it was edited or damaged")
    unknown = set(content) - set(Record.__dataclass_fields__)
    if unknown:
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


def read_all(pattern: str, folder: Path | None = None) -> dict[str, Record]:
    """Name → record, of every record whose name fits a pattern, in the order of names.

    For pages that show as much of a large grid as has been run.

    Args:
        pattern: a name with ``*`` for any letters, such as ``distill-fashion-mnist-*``.
        folder: where the records are; None for :func:`results`.

    Raises:
        ValueError: as :func:`read`.
    """
    paths = sorted((folder or results()).glob(f"{pattern}.json"))
    return {path.stem: read(path.stem, folder) for path in paths}


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


def paper() -> dict[str, Published]:
    """Name → number of a paper, from ``results/paper.csv``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that lacks a field, a kind that is unknown, a name that stands twice.
    """
    path, found = results() / "paper.csv", {}
    with path.open(newline="") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            name = row.pop("name", None)
            if row.get("kind") not in ("printed", "read-off", "abstract") or None in row.values():
                raise ValueError(f"{path}, line {line}: {row} is not a whole entry")
            if name in found:
                raise ValueError(f"{path}, line {line}: {name} stands twice")
            found[name] = Published(**{**row, "value": float(row["value"])})
    return found


def cite(record: Record) -> None:
    """Show, under a figure, which record it was drawn from, with a link to the record's page."""
    from IPython.display import publish_display_data

    changed, state = stale(record), ""
    if changed:
        state = f"; stale, since {', '.join(changed)} changed after it"
    elif record.provenance.get("carried"):
        state = "; carried to newer code, its page says why"
    minutes = record.provenance["wall_seconds"] / 60
    seeds = "1 seed" if len(record.seeds) == 1 else f"{len(record.seeds)} seeds"
    text = (
        f"Record {record.name}: profile {record.profile}, {seeds}, "
        f"{minutes:.0f} min of work on {record.provenance['device']}{state}."
    )
    html = text.replace(
        record.name, f'<a href="../generated/records/{record.name}.html">{record.name}</a>', 1
    )
    publish_display_data(
        {"text/plain": text, "text/html": f'<p class="record">{html}</p>'},
        {"mlcpc_record": record.name},
    )


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


def verdict(theirs: Published, ours: dict | None, tolerance: Tolerance) -> tuple[str, str]:
    """The one rule that judges a published number by ours.

    It is *not attempted* without a number of ours, and *not comparable* if the published one is
    known to be wrong by an unknown amount. Else it is *inside our interval* or, failing that,
    *within tolerance*: |ours − theirs| ≤ within, or, where a factor counts,
    (theirs − digit) / factor ≤ ours ≤ (theirs + digit) · factor. Else it *differs*.

    Args:
        theirs: the published number.
        ours: what :func:`metric` returned; None if there is none.
        tolerance: how far apart the two may be.

    Returns:
        one of ``VERDICTS``, and by how much the two differ, in words; empty if they do not.

    Raises:
        ValueError: the units are not the same.
    """
    if ours is None:
        return "not attempted", ""
    if ours["unit"] != theirs.unit:
        raise ValueError(f"unit is {ours['unit']!r} of ours; valid: {theirs.unit!r}, as published")
    if "understated" in theirs.note or "overstated" in theirs.note:
        return "not comparable", ""
    mean, interval = ours["mean"], ours["interval"]
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


def choose(profile: str, **settings: dict) -> dict:
    """Settings of a profile.

    Raises:
        ValueError: a profile that the notebook does not have; the message lists those it has.
    """
    if profile not in settings:
        raise ValueError(f"profile is {profile!r}; valid: {', '.join(settings)}")
    return settings[profile]


def sweep(
    cells: Iterable[dict], work: Callable[[dict], dict], scratch: Path, config: dict
) -> list[dict]:
    """Work through cells, keeping each finished one on disk, so that a killed run can go on.

    Args:
        cells: what is to be done; each a small dictionary that names one piece of work.
        work: takes a cell, returns its result as a dictionary of numbers.
        scratch: file of finished cells, a line each; the caller removes it when all is safe.
        config: settings of the run; a scratch file of other settings is refused.

    Returns:
        the results, in the order of the cells.

    Raises:
        ValueError: ``scratch`` belongs to another configuration, or is damaged.
    """
    done = {}
    header = json.dumps({"config": config}, sort_keys=True)
    if scratch.exists():
        lines = scratch.read_text(errors="replace").splitlines()
        if lines and lines[0] != header:
            raise ValueError(f"{scratch} holds another run: {lines[0]}; this one is {header}")
        for place, line in enumerate(lines[1:], start=2):
            try:
                entry = json.loads(line)
                whole = entry.pop("checksum") == _checksum(entry)
            except (ValueError, KeyError, AttributeError, TypeError):
                whole = False
            if whole:
                done[json.dumps(entry["cell"], sort_keys=True)] = entry["result"]
            elif place < len(lines):
                raise ValueError(
                    f"{scratch}, line {place}, does not fit its checksum: it was edited or "
                    "damaged; remove the file to begin again"
                )
            # else the line that was being written when the run was killed
    finished = [_line_of_sweep(json.loads(cell), result) for cell, result in done.items()]
    write_atomically(scratch, "\n".join([header, *finished]) + "\n")
    for cell in (cells := list(cells)):
        key = json.dumps(cell, sort_keys=True)
        if key in done:
            continue
        done[key] = work(cell)
        try:
            with scratch.open("a") as file:
                file.write(_line_of_sweep(cell, done[key]) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OSError(error.errno, f"could not write {scratch}: {error.strerror}") from error
    return [done[json.dumps(cell, sort_keys=True)] for cell in cells]


def _line_of_sweep(cell: dict, result: dict) -> str:
    entry = {"cell": cell, "result": result}
    return json.dumps(entry | {"checksum": _checksum(entry)})


class Busy(OSError):
    """Another process works on the same run."""


@contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[None]:
    """Keep every other process away from a run while this one works on it.

    The lock is the kernel's own on an open file. It goes when the process that holds it ends, in
    whatever way, so a killed run never blocks the next one. The file says who holds it.

    Args:
        path: the lock file; it is there while the lock is held, and gone after an orderly end.
        wait: wait for the other process to end, rather than refuse.

    Raises:
        Busy: another process holds the lock; the message says which, on which host and since when.
        OSError: the folder can not be written.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system: there the user has to keep runs apart
        yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+")
    except OSError as error:
        raise OSError(error.errno, f"could not write {path}: {error.strerror}") from error
    told = False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(path)
            if not wait:
                file.close()
                raise Busy(
                    f"{path} is held by {holder}, which works on the same run; wait for it to "
                    "end, or give this run another name",
                ) from None
            if not told:
                print(f"waiting for {holder}, which holds {path}", flush=True)
                told = True
            time.sleep(1)
            continue
        except OSError as error:  # some network file systems have no locks
            warnings.warn(
                f"{path} can not be locked ({error.strerror}): see to it that no other process "
                "works on this run",
                stacklevel=3,
            )
        # Another process may have removed the file between our opening and our locking it.
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            break
        file.close()
        file = open(path, "a+")
    with file:
        file.truncate(0)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        file.write(f"process {os.getpid()} on {platform.node()} since {now}")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _holder(path: Path) -> str:
    try:
        return path.read_text() or "a process that has just begun"
    except FileNotFoundError:
        return "a process that has just ended"


def save_state(path: Path, tensors: dict[str, torch.Tensor], state: dict) -> None:
    """Write a checkpoint: tensors and a JSON state with one checksum over both.

    The file is in the safetensors format and appears whole or not at all.

    Raises:
        OSError: the message names the file; no partial file is left.
        ValueError: state that JSON does not hold.
    """
    from safetensors.torch import save

    text = json.dumps(state, sort_keys=True, allow_nan=False)
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    metadata = {"state": text, "checksum": _state_checksum(tensors, text)}
    write_atomically(path, save(tensors, metadata))


def load_state(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """Read a checkpoint and check it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is truncated, damaged or of another kind; the message names it.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"no checkpoint {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        text, checksum = metadata["state"], metadata["checksum"]
        state = json.loads(text)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is not a whole checkpoint: {error!r}") from None
    if checksum != _state_checksum(tensors, text):
        raise ValueError(f"{path} does not fit its checksum: it was edited or damaged")
    return tensors, state


def save_training(
    path: Path,
    modules: dict[str, torch.nn.Module],
    optimiser: torch.optim.Optimizer,
    header: dict,
    progress: list,
) -> None:
    """Write a checkpoint of modules and the momentum of their optimiser (SGD).

    Args:
        path: the file.
        modules: name → module; all of its state is kept.
        optimiser: of parameters in any of the modules.
        header: what the run is; :func:`resume_training` refuses another one.
        progress: how far it is, as JSON holds it.
    """
    tensors = {
        name: value.detach().cpu() for name, value in _training_state(modules, optimiser).items()
    }
    save_state(path, tensors, header | {"progress": progress})


def not_finite(modules: dict[str, torch.nn.Module]) -> list[str]:
    """Names of weights and of running statistics that hold NaN or infinity.

    To be asked before :func:`save_training`, which would put them in the place of good ones.
    """
    return [
        f"{name}.{key}"
        for name, module in modules.items()
        for key, value in itertools.chain(module.named_parameters(), module.named_buffers())
        if (isinstance(value, torch.nn.Parameter) or "running_" in key)
        and not bool(value.isfinite().all())
    ]


def kept_before(path: Path | None) -> str:
    """What a training that stops says of its checkpoint, if there is one."""
    if path is None or not path.exists():
        return ""
    return f" {path} holds the epoch before, for these settings alone."


def resume_training(
    path: Path,
    modules: dict[str, torch.nn.Module],
    optimiser: torch.optim.Optimizer,
    header: dict,
) -> list:
    """Fill modules and optimiser from a checkpoint, and return its progress.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, or one of a run with another header; nothing is filled.
    """
    tensors, found = load_state(path)
    progress = found.pop("progress", None)
    if progress is None or found != json.loads(json.dumps(header)):
        raise ValueError(
            f"{path} is of another run: {differences(header, found) or 'no progress'}; valid: "
            "another --name, or remove that file to start anew"
        )
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    state = _training_state(modules, optimiser)
    if state.keys() != tensors.keys():
        odd = ", ".join(sorted(state.keys() ^ tensors.keys()))
        raise ValueError(f"{path} is of another run: {odd} here or there alone")
    with torch.no_grad():
        for name, value in state.items():
            value.copy_(tensors[name])
    return progress


def _training_state(
    modules: dict[str, torch.nn.Module], optimiser: torch.optim.Optimizer
) -> dict[str, torch.Tensor]:
    """All state by name; the same tensors that training changes."""
    named = {
        f"{name}.{key}": value
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    parameters = [each for group in optimiser.param_groups for each in group["params"]]
    for place, parameter in enumerate(parameters):
        momentum = optimiser.state.get(parameter, {}).get("momentum_buffer")
        if momentum is not None:
            named[f"momentum.{place}"] = momentum
    return named


def generator(*key: int) -> torch.Generator:
    """A random generator of its own for each key, such as (seed, epoch, step), on the CPU.

    Draws that follow from a key need no state in a checkpoint, and are the same on every rank.
    """
    seed = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(seed[0]))


def state_hash(module: torch.nn.Module) -> str:
    """sha256 of all state of a module: which weights a run was given."""
    state = {name: value.detach().cpu() for name, value in module.state_dict().items()}
    return _state_checksum({name: value.contiguous() for name, value in state.items()}, "")


def differences(ours: dict, theirs: dict) -> str:
    """What two nested dictionaries hold differently: ``config.steps: 5 here, 6 there``."""
    found = []
    for name in sorted(ours.keys() | theirs.keys()):
        here, there = ours.get(name), theirs.get(name)
        if isinstance(here, dict) and isinstance(there, dict):
            found += [f"{name}.{each}" for each in differences(here, there).split("; ") if each]
        elif here != there:
            found.append(f"{name}: {here!r} here, {there!r} there")
    return "; ".join(found)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        OSError: the message names the file; no partial file is left.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        with os.fdopen(handle, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise OSError(error.errno, f"could not write {path}: {error.strerror}") from error


def _checksum(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _state_checksum(tensors: dict[str, torch.Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@cache
def _commit(folder: Path) -> str | None:
    """The commit of a folder, with -dirty if files differ from it or are not part of it."""

    def git(*words: str) -> str | None:
        try:
            answer = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True)
        except FileNotFoundError:
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    commit = git("rev-parse", "--short=12", "HEAD")
    # An installed package may lie inside a repository that is not its own.
    if not commit or not git("ls-files", "--error-unmatch", "runs.py"):
        return None
    # Records that earlier runs of a sweep have left are no code.
    changed = git("status", "--porcelain", "--", ":(top,exclude)results")
    return commit if changed == "" else f"{commit}-dirty"


def _processor() -> str:
    """Name of the processor and its cores; the platform module leaves it empty on Linux."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = names[0].split(":")[1].strip() if names else name
    return f"{name}, {os.cpu_count()} cores"
