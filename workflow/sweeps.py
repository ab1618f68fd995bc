"""What workflow/sweeps.yaml asks for: the runs of each sweep, by the names of their records."""

import itertools
import json
import re
import shlex
from pathlib import Path

import yaml

KEYS = {"command", "settings", "grid", "name"}


class Refusal(Exception):
    """A mistake in the file of sweeps, told in one message."""


def fitting(text: str) -> str:
    """The text as a part of a record's name: ml_cpc -> ml-cpc, 0.1 -> 0-1."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def points(grid: dict, sweep: str) -> list[tuple[dict, dict]]:
    """(labels of the axes, options) of each point of a grid, in the order of the file."""
    axes = []
    for axis, values in grid.items():
        if isinstance(values, dict):
            axes.append([({axis: label}, options) for label, options in values.items()])
        elif isinstance(values, list) and values:
            axes.append([({axis: str(value)}, {axis: value}) for value in values])
        else:
            raise Refusal(f"sweep {sweep}: the axis {axis} is {values!r}; valid: a list of values, "
                          "or labels with options")
    found = []
    for point in itertools.product(*axes):
        labels, options = {}, {}
        for more_labels, more_options in point:
            labels |= more_labels
            options |= more_options
        found.append((labels, options))
    return found


def literal(value: object) -> str:
    """A value as the commands read it: lists as tuples, texts as they are."""
    if isinstance(value, list):
        return f"({''.join(f'{literal_inside(each)}, ' for each in value)})"
    return str(value)


def literal_inside(value: object) -> str:
    return literal(value) if isinstance(value, list) else repr(value)


def command(name: str, options: dict, record: str) -> str:
    """The arguments of python -m mlcpc."""
    parts = [name]
    for key, value in options.items():
        parts += [f"--{key}", literal(value)]
    return shlex.join([*parts, "--name", record])


def other_settings(path: Path, options: dict) -> str:
    """How a record that is there differs from what the sweep asks for; empty if it does not.

    Options that say how to run, not what, such as the device, are in no configuration.
    """
    config = json.loads(path.read_text())["config"]
    return "; ".join(f"{key} is {config[key]!r} there, {value!r} here"
                     for key, value in options.items() if config.get(key, value) != value)


def read(path: Path, results: Path) -> dict[str, dict[str, str]]:
    """Sweep -> name of a record -> arguments of the command that makes it.

    Raises:
        Refusal: unknown or missing keys, two runs of one name, a record of other settings.
    """
    found, taken = {}, set()
    for sweep, given in yaml.safe_load(path.read_text()).items():
        unknown, missing = set(given) - KEYS, {"command", "grid", "name"} - set(given)
        if unknown or missing:
            raise Refusal(f"sweep {sweep}: unknown keys {sorted(unknown)}, missing keys "
                          f"{sorted(missing)}; valid: {', '.join(sorted(KEYS))}")
        found[sweep] = {}
        for labels, options in points(given["grid"], sweep):
            options = {**given.get("settings", {}), **options}
            try:
                name = given["name"].format_map({k: fitting(v) for k, v in labels.items()})
            except KeyError as error:
                raise Refusal(f"sweep {sweep}: name asks for {error}, which is no axis; "
                              f"valid: {', '.join(labels)}") from None
            if name in taken:
                raise Refusal(f"sweep {sweep}: two runs would be named {name}")
            taken.add(name)
            record = results / f"{name}.json"
            if record.is_file() and (other := other_settings(record, options)):
                raise Refusal(f"sweep {sweep}: {record} was made with other settings: {other}. "
                              "Give the sweep another name, or remove the record")
            found[sweep][name] = command(given["command"], options, name)
    return found
