"""What an experiment is, and the one runner that carries out all of them.

An experiment states its science: a config, its cells (pieces of work and what they depend on), how
a cell is run, and the metrics of the results. :func:`perform` does the rest: it refuses bad input
before work is lost, keeps each finished cell on disk, goes on where a run was interrupted, shares
what runs have in common, and writes the record. A new experiment is one file like this::

    class Coin(Experiment):
        \"\"\"Toss a coin.\"\"\"

        name, version, Config, tiny = "coin", 1, CoinConfig, CoinConfig(tosses=3)

        def cells(self, config):
            return [Cell(f"seed-{seed}", {"seed": seed}) for seed in config.seeds]

        def run(self, cell, config, inputs, job):
            return Result({"heads": toss(cell.settings["seed"], config.tosses)})

        def metrics(self, config, results):
            return {"heads": Metric("tosses", [each.values["heads"] for each in results.values()])}

    EXPERIMENT = Coin()

It is in the package as ``mlcpc/experiments/coin.py`` and runs as ``mlcpc run coin``, or it is a
file anywhere and runs as ``mlcpc run path/to/coin.py``.
"""

import argparse
import importlib
import importlib.util
import json
import os
import pkgutil
import re
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from mlcpc import config as settings
from mlcpc import datasets, embeddings, estimation, files, records
from mlcpc.config import Config
from mlcpc.records import Metric, Record

WHERE = "Records go to ./results, made on first use, or to the folder that MLCPC_RESULTS names."


@dataclass(frozen=True)
class Cell:
    """A piece of work that does not depend on others, but for the results of some.

    Args:
        name: name of the cell in its run, lower case with hyphens, such as ``seed-0``.
        settings: everything its result depends on, as JSON holds it; another result is refused.
        needs: names of the cells whose results it is given.
        keep: "" for a result that only the record needs, "run" for one that outlives the run as
            ``weights/RECORD-CELL.safetensors``, "shared" for one that other runs use too.
    """

    name: str
    settings: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    keep: str = ""


@dataclass(frozen=True, eq=False)
class Result:
    """A result holds what a cell gave.

    Args:
        values: numbers and texts, as JSON holds them.
        tensors: weights or curves by name.
        seconds: what the work took, set by the runner where it is 0.
    """

    values: dict[str, Any]
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Job:
    """Where and on what a cell runs.

    Args:
        device: cpu or cuda.
        train, test: images or embeddings, for an experiment whose config names a data set.
        path: file for the checkpoint of a training; None keeps nothing.
        progress: show bars.
    """

    device: str = "cpu"
    train: datasets.ImageSet | embeddings.EmbeddingSet | None = None
    test: datasets.ImageSet | embeddings.EmbeddingSet | None = None
    path: Path | None = None
    progress: bool = False

    @property
    def data(self) -> dict[str, str]:
        """Name of each set of images → its sha256."""
        both = zip(datasets.SPLITS, (self.train, self.test), strict=True)
        return {f"{each.name} {split}": each.sha256 for split, each in both if each is not None}


class Experiment:
    """Base of every experiment; its first docstring line is the help of its command.

    Attributes:
        name: name of the command.
        version: raised by hand when the numbers of a config may change; records of an older
            version are shown as stale.
        Config: the dataclass of its settings.
        tiny: a config that runs in a second, for the golden test and the tests of resuming.
    """

    name: str
    version: int = 1
    Config: type[Config]
    tiny: Config

    @property
    def summary(self) -> str:
        """Return the first line of the docstring."""
        return (self.__doc__ or self.name).strip().splitlines()[0]

    def record_name(self, config: Any, job: Job) -> str:
        """Default name of the record."""
        return self.name

    def check(self, config: Any, job: Job) -> None:
        """Refuse, with a ValueError, a config that does not fit its data or device."""

    def cells(self, config: Any) -> list[Cell]:
        """The pieces of work, each after those that it needs."""
        raise NotImplementedError

    def run(self, cell: Cell, config: Any, inputs: Mapping[str, Result], job: Job) -> Result:
        """Work through one cell, given the results it needs."""
        raise NotImplementedError

    def metrics(self, config: Any, results: Mapping[str, Result]) -> dict[str, Metric]:
        """Values with units, one for each seed where ``per`` is "seed"."""
        raise NotImplementedError

    def arrays(self, config: Any, results: Mapping[str, Result]) -> dict[str, Any]:
        """Nested lists that figures and tables draw; texts under "warnings" are printed."""
        return {}

    def full(self, config: Any) -> bool:
        """Whether a run of this config can carry a conclusion."""
        return False


# ---------------------------------------------------------------------------------------------
# Finding experiments
# ---------------------------------------------------------------------------------------------


def names() -> list[str]:
    """Names of the experiments of the package."""
    folder = str(Path(__file__).parent)
    found = (each.name for each in pkgutil.iter_modules([folder]))
    return sorted(each for each in found if each not in ("base", "halves", "sweeps"))


def find(name: str) -> Experiment:
    """The experiment of a name, or of a file that holds one as ``EXPERIMENT``.

    Raises:
        ValueError: no such experiment; the message lists those there are.
    """
    if name.endswith(".py"):
        path = Path(name)
        if not path.is_file():
            raise ValueError(f"experiment is {name!r}, and there is no such file")
        spec = importlib.util.spec_from_file_location(f"experiment_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    elif name.replace("-", "_") in names():
        module = importlib.import_module(f"mlcpc.experiments.{name.replace('-', '_')}")
    else:
        raise ValueError(
            f"experiment is {name!r}; valid: {', '.join(names())}, or the path of a file"
        )
    if not isinstance(found := getattr(module, "EXPERIMENT", None), Experiment):
        raise ValueError(f"experiment is {name!r}, which holds no EXPERIMENT; valid: one that does")
    return found


def state(record: Record) -> str:
    """Whether the numbers of a record are those that the code would give now, in words."""
    try:
        now = find(record.experiment).version
    except (ValueError, ImportError):
        made = record.config.get("estimate version", estimation.VERSION)
        if made != estimation.VERSION:
            return f"stale: version {made} of estimate, now {estimation.VERSION}"
        return "of a script" if record.experiment.endswith(".py") else "of an unknown experiment"
    if now == record.version:
        return "current"
    return f"stale: version {record.version} of {record.experiment}, now {now}"


def parser(experiment: Experiment, called: str) -> argparse.ArgumentParser:
    """The parser of an experiment's command: its settings, and how the run is done."""
    # A shortened option would run, and a sweep would not see that it sets what a record is.
    found = argparse.ArgumentParser(
        prog=f"mlcpc run {called}", description=experiment.summary, epilog=WHERE, allow_abbrev=False
    )
    settings.add_arguments(found, experiment.Config)
    run = found.add_argument_group("the run")
    run.add_argument("--name", help="name of the record")
    run.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    run.add_argument(
        "--data",
        help="folder of the images, or npz file of embeddings (default: where datasets.load looks)",
    )
    run.add_argument("--jobs", type=int, default=1, help="processes that share the cells")
    run.add_argument(
        "--cells", nargs="+", default=[],
        help="run these cells alone and write no record, so that machines can share the work",
    )  # fmt: skip
    return found


# ---------------------------------------------------------------------------------------------
# Running one
# ---------------------------------------------------------------------------------------------


def job_for(config: Any, device: str = "cpu", data: str | None = None, progress=False) -> Job:
    """The job of a config: its device, and its images if it names a data set.

    Raises:
        ValueError, FileNotFoundError: a device or data that are not there, or damaged.
    """
    settings.device(device)
    if not hasattr(config, "dataset"):
        if data is not None:
            raise ValueError(f"data is {data!r}; valid: none, since the experiment has no images")
        return Job(device, progress=progress)
    if config.dataset == embeddings.NAME:
        train, test = (embeddings.load(each, data) for each in embeddings.SPLITS)
        return Job(device, train, test, progress=progress)
    size = getattr(config, "image_size", 32)  # of a folder of images of any size
    train, test = (datasets.load(config.dataset, each, data, size) for each in datasets.SPLITS)
    return Job(device, train, test, progress=progress)


def perform(
    experiment: Experiment,
    config: Any,
    job: Job,
    name: str | None = None,
    jobs: int = 1,
    only: Sequence[str] = (),
    source: str = "",
) -> Record | None:
    """Run an experiment and write its record, from where an interrupted run left it.

    Args:
        experiment: what to run.
        config: its settings.
        job: where and on what.
        name: name of the record; None for the experiment's own.
        jobs: processes that share the cells, each with one thread.
        only: names of cells; these alone are run, and no record is written, so that the jobs of a
            cluster can share the work of a record.
        source: what the command names, where it is not the name of the experiment.

    Returns:
        the record, None with ``only`` and on ranks that do not write.

    Raises:
        ValueError: bad settings, a record or files of other settings under the same name.
        files.Busy: another process works on the same run.
    """
    name = experiment.record_name(config, job) if name is None else name
    records.check_name(name)
    if jobs < 1:
        settings.refuse("jobs", jobs, "an integer of at least 1")
    experiment.check(config, job)
    refuse_other_settings(name, config)
    run = Run(experiment, config, job, name, source)
    if unknown := set(only) - set(run.cells):
        settings.refuse("cells", min(unknown), ", ".join(run.cells))
    if run.rank > 0 or only:
        run.work(list(only), jobs)
        return None
    with files.locked(files.results() / f".{name}.lock"):
        try:
            results = run.work([], jobs)
        except KeyboardInterrupt:
            where = run.scratch if run.scratch.exists() else files.results()
            raise KeyboardInterrupt(
                f": {where} holds what is done; the same command goes on from here"
            ) from None
        record = run.record(results)
        print(f"wrote {records.write(record)}", flush=True)
        shutil.rmtree(run.scratch, ignore_errors=True)
    return record


def results_of(experiment: Experiment, config: Any, job: Job | None = None) -> dict[str, Result]:
    """The results of all cells of a config, run here and now, with nothing kept on disk."""
    job = job or job_for(config)
    experiment.check(config, job)
    found: dict[str, Result] = {}
    for cell in experiment.cells(config):
        inputs = {need: found[need] for need in cell.needs}
        found[cell.name] = _timed(experiment, cell, config, inputs, job)
    return found


def refuse_other_settings(name: str, config: Config, folder: Path | None = None) -> None:
    """Raise a ValueError if a record of other settings stands under a name, before it is lost."""
    path = (folder or files.results()) / f"{name}.json"
    if not path.is_file():
        return
    there = records.read(name, folder).config
    try:
        there = type(config).from_dict(there).to_dict()
    except ValueError:  # of another experiment, or of settings that are no longer valid
        there = type(config)().to_dict() | there
    if (here := config.to_dict()) != there:
        raise ValueError(
            f"{path} holds a record of other settings ({files.differences(here, there)}); valid: "
            "another --name, or remove that record first"
        )


def command(experiment: Experiment, config: Config, name: str, job: Job, source: str = "") -> str:
    """The command that makes a record: what differs from the defaults is said."""
    words = ["mlcpc", "run", source or experiment.name]
    for key, value in config.changed().items():
        words += [
            f"--{key}",
            *shlex.split(settings.spelled(value) if value is not None else "none"),
        ]
    if name != experiment.record_name(config, job):
        words += ["--name", name]
    if getattr(config, "dataset", "") in ("folder", embeddings.NAME):
        words += ["--data", job.train.name]  # not its path, which means nothing elsewhere
    if job.device != "cpu":
        words += ["--device", job.device]
    if (ranks := int(os.environ.get("WORLD_SIZE", 1))) > 1:
        words[:1] = ["torchrun", "--standalone", "--nproc_per_node", str(ranks), "-m", "mlcpc"]
    return shlex.join(words)


@dataclass(frozen=True, eq=False)
class Run:
    """The cells of one record and where their results lie."""

    experiment: Experiment
    config: Any
    job: Job
    name: str
    source: str

    @property
    def cells(self) -> dict[str, Cell]:
        """Return the cells by name."""
        return {cell.name: cell for cell in self.experiment.cells(self.config)}

    @property
    def rank(self) -> int:
        """Return the rank of this process, 0 where a run has one process."""
        return int(os.environ.get("RANK", 0))

    @property
    def scratch(self) -> Path:
        """Return the folder of results that only the record needs."""
        return files.results() / f".{self.name}.partial"

    def path(self, cell: Cell) -> Path:
        """The file of a cell's result."""
        if cell.keep == "shared":
            mark = files.checksum([self.header(cell), sorted(self.job.data.items())])[:12]
            where = self.job.train.name if self.job.train is not None else self.experiment.name
            where = re.sub("[^A-Za-z0-9]+", "-", where)  # a set may have any name
            return files.results() / "weights" / f"{where}-{cell.name}-{mark}.safetensors"
        if cell.keep == "run":
            return files.results() / "weights" / f"{self.name}-{cell.name}.safetensors"
        return self.scratch / f"{cell.name}.safetensors"

    def header(self, cell: Cell) -> dict[str, Any]:
        """Say what a result depends on."""
        return {
            "experiment": self.experiment.name,
            "version": self.experiment.version,
            "settings": json.loads(json.dumps(dict(cell.settings))),
            "data": self.job.data,
        }

    def work(self, only: list[str], jobs: int) -> dict[str, Result]:
        """Results of all cells, or of some and of what they need."""
        cells, wanted = self.cells, set()
        waiting = list(only or cells)
        while waiting:
            wanted.add(name := waiting.pop())
            waiting += cells[name].needs
        ordered = [cell for name, cell in cells.items() if name in wanted]
        if jobs > 1:
            self._side_by_side([cell for cell in ordered if not self.path(cell).exists()], jobs)
        found: dict[str, Result] = {}
        for place, cell in enumerate(ordered, start=1):
            inputs = {need: found[need] for need in cell.needs}
            found[cell.name] = self._result(cell, inputs, f"[{place}/{len(ordered)}]")
        return found

    def _side_by_side(self, cells: list[Cell], jobs: int) -> None:
        """Run cells in processes, those that need nothing of each other at the same time."""
        context = torch.multiprocessing.get_context("spawn")
        left = {cell.name: cell for cell in cells}
        with context.Pool(min(jobs, max(1, len(cells))), torch.set_num_threads, (1,)) as pool:
            while left:
                ready = [each for each in left.values() if not set(each.needs) & set(left)]
                given = (self.source or self.experiment.name, self.config.to_dict(), self.job)
                work = [(*given, self.name, cell.name) for cell in ready]
                pool.starmap(_work_on, work, chunksize=1)
                for each in ready:
                    del left[each.name]

    def _result(self, cell: Cell, inputs: Mapping[str, Result], place: str) -> Result:
        """The result of a cell: read if it is there, else made now and put there."""
        path = self.path(cell)
        if self.rank > 0:  # takes part in what rank 0 makes
            return self._read(path, cell) if path.exists() else self._made(cell, inputs, path)
        with files.locked(path.with_name(f".{path.name}.lock"), wait=True):
            if path.exists():
                return self._read(path, cell)
            result = self._made(cell, inputs, path)
            values = {"header": self.header(cell), "values": result.values}
            files.save_state(path, result.tensors, values | {"seconds": result.seconds})
            _checkpoint(path).unlink(missing_ok=True)
        if self.job.progress:
            print(f"{place} {cell.name}, {result.seconds:.0f} s", flush=True)
        return result

    def _made(self, cell: Cell, inputs: Mapping[str, Result], path: Path) -> Result:
        job = replace(self.job, path=_checkpoint(path))
        return _timed(self.experiment, cell, self.config, inputs, job)

    def _read(self, path: Path, cell: Cell) -> Result:
        tensors, found = files.load_state(path)
        if (header := self.header(cell)) != found.get("header"):
            other = files.differences(header, found.get("header") or {})
            raise ValueError(
                f"{path} is of another run: {other}; valid: another --name, or remove that file"
            )
        return Result(found["values"], tensors, found["seconds"])

    def record(self, results: Mapping[str, Result]) -> Record:
        """Make the record of all results."""
        experiment, config = self.experiment, self.config
        found, arrays = experiment.metrics(config, results), experiment.arrays(config, results)
        for line in arrays.get("warnings", ()):
            print(f"    {line}", flush=True)
        # Shared results were paid for by the run that made them.
        shared = {name for name, cell in self.cells.items() if cell.keep == "shared"}
        seconds = sum(each.seconds for name, each in results.items() if name not in shared)
        return Record(
            name=self.name,
            experiment=self.source or experiment.name,
            version=experiment.version,
            profile="full" if experiment.full(config) else "quick",
            command=command(experiment, config, self.name, self.job, self.source),
            config=config.to_dict(),
            seeds=list(getattr(config, "seeds", [])),
            metrics=found,
            arrays=arrays,
            provenance=records.provenance(seconds, self.job.data, self.job.device),
        )


def _checkpoint(path: Path) -> Path:
    return path.with_name(f".{path.name}.checkpoint")


def _timed(
    experiment: Experiment, cell: Cell, config: Any, inputs: Mapping[str, Result], job: Job
) -> Result:
    begin = time.monotonic()
    result = experiment.run(cell, config, inputs, job)
    return result if result.seconds else replace(result, seconds=time.monotonic() - begin)


def _work_on(source: str, config: dict, job: Job, name: str, cell: str) -> None:
    """Run one cell in a process of its own."""
    experiment, given = find(source), source if source.endswith(".py") else ""
    settings_of = experiment.Config.from_dict(config)
    Run(experiment, settings_of, replace(job, progress=False), name, given).work([cell], 1)
