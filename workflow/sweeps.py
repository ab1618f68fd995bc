"""What workflow/sweeps.yaml asks for: the runs of each sweep, by the names of their records."""

import contextlib
import io
import itertools
import re
import shlex
from pathlib import Path

import yaml

from mlcpc import distillation, runs
from mlcpc.__main__ import CONFIGS, config_from, parser

KEYS = {"command", "settings", "grid", "name"}


class Refusal(Exception):
    """A mistake in the file of sweeps, told in one message."""


class _Loader(yaml.SafeLoader):
    """YAML whose mappings name nothing twice; PyYAML would silently take the last."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value
                if key.tag != "tag:yaml.org,2002:merge"]
        twice = {str(key) for key in keys if keys.count(key) > 1}
        if twice:
            raise Refusal(f"{node.start_mark.name}: {', '.join(sorted(twice))} stands twice")
        return super().construct_mapping(node, deep)


def fitting(text: str) -> str:
    """The text as a part of a record's name: ml_cpc -> ml-cpc, 0.1 -> 0-1."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def points(grid: dict, sweep: str) -> list[tuple[dict, dict]]:
    """(labels of the axes, options) of each point of a grid, in the order of the file."""
    axes = []
    if not (isinstance(grid, dict) and grid):
        raise Refusal(f"sweep {sweep}: grid is {grid!r}; valid: axes with their values")
    for axis, values in grid.items():
        if isinstance(values, dict) and values:
            for label, options in values.items():
                if not isinstance(options, dict):
                    raise Refusal(f"sweep {sweep}: {label} of the axis {axis} is {options!r}; "
                                  "valid: options with their values")
            axes.append([({axis: str(label)}, options) for label, options in values.items()])
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


def read(path: Path, results: Path) -> dict[str, dict[str, str]]:
    """Sweep -> name of a record -> arguments of the command that makes it.

    Raises:
        Refusal: no such file, or not one of sweeps; unknown or missing keys, an unknown command,
            options or values that the command refuses, a name that no record can have, two runs of
            one name, a record of other settings or one that is cut off.
    """
    found, taken = {}, set()
    for sweep, given in _content(path).items():
        if not isinstance(given, dict):
            raise Refusal(f"sweep {sweep} is {given!r}; valid: {', '.join(sorted(KEYS))}")
        unknown, missing = set(given) - KEYS, {"command", "grid", "name"} - set(given)
        if unknown or missing:
            raise Refusal(f"sweep {sweep}: unknown keys {sorted(map(str, unknown))}, missing keys "
                          f"{sorted(missing)}; valid: {', '.join(sorted(KEYS))}")
        if given["command"] not in CONFIGS:
            raise Refusal(f"sweep {sweep}: command is {given['command']!r}; "
                          f"valid: {', '.join(CONFIGS)}")
        settings = given.get("settings", {})
        if not isinstance(settings, dict):
            raise Refusal(f"sweep {sweep}: settings is {settings!r}; "
                          "valid: options with their values")
        found[sweep] = {}
        for labels, options in points(given["grid"], sweep):
            options = {**settings, **options}
            try:
                name = str(given["name"]).format_map({k: fitting(v) for k, v in labels.items()})
            except (KeyError, IndexError, ValueError, AttributeError) as error:
                raise Refusal(f"sweep {sweep}: name asks for {error}, which is no axis; "
                              f"valid: {', '.join(labels)}") from None
            if not re.fullmatch("[a-z0-9-]*[a-z0-9][a-z0-9-]*", name):
                raise Refusal(f"sweep {sweep}: name gives {name!r}; "
                              "valid: lower case letters, digits and hyphens")
            if name in taken:
                raise Refusal(f"sweep {sweep}: two runs would be named {name}")
            taken.add(name)
            found[sweep][name] = command(given["command"], options, name)
            check(found[sweep][name], sweep, results)
    return found


def check(arguments: str, sweep: str, results: Path) -> None:
    """Refuse a run that its command would refuse, before any job starts."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            name, config = settings_of(arguments)
            runs.check_settings(name, config, results)
    except (SystemExit, ValueError) as error:
        reason = said.getvalue().strip().splitlines()[-1:] or [str(error)]
        raise Refusal(f"sweep {sweep}: mlcpc {arguments}: {reason[0]}") from None


def parts(arguments: str) -> dict[str, dict[str, str]]:
    """What a run may have trained by jobs of their own: kind -> file of weights -> arguments.

    A distillation has a teacher, and for each seed a plain student and a student. Runs that share a
    teacher or plain students name the same files. Other commands have no parts.
    """
    if shlex.split(arguments)[0] != "distill":
        return {}
    name, config = settings_of(arguments)

    def alone(kind: str, seed: int) -> str:
        # of options that stand twice the last is taken
        return shlex.join([*shlex.split(arguments), "--seeds", literal([seed]), "--only", kind])

    teacher = distillation.classifier_file(config.of_teacher(), config.teacher, config.teacher_seed)
    plain = {each: distillation.classifier_file(config, config.student, each)
             for each in config.seeds}
    return {
        "teacher": {teacher: alone("teacher", config.seeds[0])},
        "plain": {file: alone("plain", seed) for seed, file in plain.items()},
        "students": {distillation.student_file(name, seed): alone("students", seed)
                     for seed in config.seeds},
    }


def settings_of(arguments: str) -> tuple[str, object]:
    """The name of the record and the configuration of a run."""
    options = parser().parse_args(shlex.split(arguments))
    return options.name, config_from(options, CONFIGS[options.command])


def _content(path: Path) -> dict:
    try:
        with path.open() as file:
            content = yaml.load(file, _Loader)
    except OSError:
        raise Refusal(f"no file {path}; valid: a file of sweeps, or none") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Refusal(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not (isinstance(content, dict) and content):
        raise Refusal(f"{path} holds {content!r}; valid: sweeps by their names")
    return content
