"""Sweeps: a grid of runs by the names of their records, read from a file.

    mi:                                 # name of the sweep
      experiment: staircase             # as `mlcpc run` takes it
      settings: {steps: 4000}           # options that all runs share
      grid:                             # axis -> values, or label -> options that belong together
        task: [gaussian, cubic]
        critic: {small: {width: 128}, large: {width: 512, depth: 2}}
      name: staircase-{task}-{critic}   # of the record

Every run is a job for each of its cells and one that writes the record, see ``workflow/``.
"""

import contextlib
import io
import itertools
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlcpc import config, files, records
from mlcpc.experiments import base

KEYS = {"experiment", "settings", "grid", "name"}


def read(path: Path, results: Path | None = None) -> dict[str, dict[str, str]]:
    """Sweep → name of a record → the command that makes it, without ``mlcpc``.

    Raises:
        ValueError: no such file, or not one of sweeps; unknown or missing keys, an unknown
            experiment, options or values that its command refuses, a name that no record can have,
            two runs of one name, a record of other settings or one that is cut off.
    """
    found: dict[str, dict[str, str]] = {}
    taken: set[str] = set()
    for sweep, given in _content(path).items():
        if not isinstance(given, dict):
            config.refuse(f"sweep {sweep}", given, ", ".join(sorted(KEYS)))
        unknown, missing = set(given) - KEYS, {"experiment", "grid", "name"} - set(given)
        if unknown or missing:
            raise ValueError(
                f"sweep {sweep}: unknown keys {sorted(map(str, unknown))}, missing keys "
                f"{sorted(missing)}; valid: {', '.join(sorted(KEYS))}"
            )
        shared = given.get("settings", {})
        if not isinstance(shared, dict):
            config.refuse(f"settings of sweep {sweep}", shared, "options with their values")
        found[sweep] = {}
        for labels, options in _points(given["grid"], sweep):
            name = _name(str(given["name"]), labels, sweep)
            if name in taken:
                raise ValueError(f"sweep {sweep}: two runs would be named {name}")
            taken.add(name)
            found[sweep][name] = _command(str(given["experiment"]), {**shared, **options}, name)
            _check(found[sweep][name], sweep, results)
    return found


def words(arguments: str) -> list[str]:
    """The words of a command that :func:`read` gave."""
    return shlex.split(arguments)


def cells(arguments: str, results: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Cell of a run → the file of its result in a folder of results, and the cells it needs."""
    experiment, found, options = settings_of(arguments)
    run = base.Run(experiment, found, base.job_for(found, "cpu", options.data), options.name, "")
    here = files.results()
    return {
        name: (str(results / run.path(cell).relative_to(here)), cell.needs)
        for name, cell in run.cells.items()
    }


def settings_of(arguments: str) -> tuple[base.Experiment, Any, Any]:
    """The experiment, the config and the other options of a command."""
    _, called, *rest = words(arguments)
    experiment = base.find(called)
    options = base.parser(experiment, called).parse_args(rest)
    return experiment, config.from_arguments(options, experiment.Config), options


def _name(form: str, labels: Mapping[str, str], sweep: str) -> str:
    fitting = {axis: re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
               for axis, label in labels.items()}  # fmt: skip
    try:
        name = form.format_map(fitting)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise ValueError(
            f"sweep {sweep}: name asks for {error}, which is no axis; valid: {', '.join(labels)}"
        ) from None
    try:
        records.check_name(name)
    except ValueError as error:
        raise ValueError(f"sweep {sweep}: {error}") from None
    return name


def _points(grid: Any, sweep: str) -> list[tuple[dict, dict]]:
    """(labels of the axes, options) of each point of a grid, in the order of the file."""
    if not (isinstance(grid, dict) and grid):
        config.refuse(f"grid of sweep {sweep}", grid, "axes with their values")
    axes = []
    for axis, values in grid.items():
        if isinstance(values, dict) and values:
            if not all(isinstance(options, dict) for options in values.values()):
                config.refuse(f"axis {axis} of sweep {sweep}", values, "labels with options")
            axes.append([({axis: str(label)}, options) for label, options in values.items()])
        elif isinstance(values, list) and values:
            axes.append([({axis: str(value)}, {axis: value}) for value in values])
        else:
            config.refuse(f"axis {axis} of sweep {sweep}", values, "a list, or labels with options")
    found = []
    for point in itertools.product(*axes):
        labels, options = {}, {}
        for more_labels, more_options in point:
            labels |= more_labels
            options |= more_options
        found.append((labels, options))
    return found


def _command(experiment: str, options: Mapping[str, Any], record: str) -> str:
    parts = ["run", experiment]
    for key, value in options.items():
        value = tuple(map(_tuple, value)) if isinstance(value, list) else value
        parts += [f"--{key}", *shlex.split(config.spelled(value))]
    return shlex.join([*parts, "--name", record])


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _check(arguments: str, sweep: str, results: Path | None) -> None:
    """Refuse a run that its command would refuse, before any job starts."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            _, found, options = settings_of(arguments)
            base.refuse_other_settings(options.name, found, results)
    except (SystemExit, ValueError) as error:
        reason = said.getvalue().strip().splitlines()[-1:] or [str(error)]
        raise ValueError(f"sweep {sweep}: mlcpc {arguments}: {reason[0]}") from None


def _content(path: Path) -> dict[str, Any]:
    import yaml

    class Loader(yaml.SafeLoader):
        """YAML whose mappings name nothing twice; PyYAML would silently take the last."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value
                    if key.tag != "tag:yaml.org,2002:merge"]  # fmt: skip
            if twice := {str(key) for key in keys if keys.count(key) > 1}:
                raise ValueError(f"{path}: {', '.join(sorted(twice))} stands twice")
            return super().construct_mapping(node, deep)

    try:
        content = yaml.load(path.read_text(), Loader)
    except OSError:
        raise ValueError(f"no file {path}; valid: a file of sweeps") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not (isinstance(content, dict) and content):
        config.refuse(str(path), content, "sweeps by their names")
    return content
