"""Settings of long runs: one declaration gives validation, ``--help``, parsing and JSON.

A config is a frozen dataclass whose fields are made by :func:`setting`. The annotation says the
kind of a value, the setting its default, its help and its range::

    @dataclass(frozen=True)
    class TrainConfig(Config):
        epochs: int = setting(20, "passes through the images", least=1)
        seeds: tuple[int, ...] = setting((0,), "random seeds; one run each", least=0)

Kinds are ``int``, ``float``, ``str``, ``bool``, one of these or None, and tuples of these or of
pairs. A command spells them ``--epochs 3``, ``--seeds 0 1 2``, ``--pairs 2x3 3x3``, ``--flag``.
"""

import argparse
import ast
import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import torch

LARGEST = torch.finfo(torch.float32).max  # settings end up in single precision


def setting(
    default: Any,
    help: str,
    *,
    choices: tuple | Callable[[], tuple] = (),
    least: int | float | None = None,
    most: int | float | None = None,
    above: int | float | None = None,
    below: int | float | None = None,
    empty: bool = False,
    unique: bool = True,
) -> Any:
    """A field of a config: its default, its help and the range of its value, or of each entry.

    Args:
        default: value where none is given.
        help: what it is, in a few words.
        choices: the valid values, or a function that lists them.
        least, most: ends of the range that are valid themselves.
        above, below: ends of the range that are not.
        empty: whether a tuple may be empty.
        unique: whether a tuple may hold no value twice.
    """
    rules: dict[str, Any] = {"least": least, "most": most, "above": above, "below": below}
    rules |= {"help": help, "choices": choices, "empty": empty, "unique": unique}
    return dataclasses.field(default=default, metadata=rules)


@dataclasses.dataclass(frozen=True)
class Config:
    """Base of every config: refuses a value of the wrong kind or outside its range.

    Raises:
        ValueError: the message names the setting, its value and the valid range.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = _checked(field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON holds them."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Any:
        """The config of what :meth:`to_dict` gave; settings that are not there have defaults.

        Raises:
            ValueError: an unknown setting, or one out of range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        if unknown := sorted(set(stored) - set(known)):
            raise ValueError(f"unknown setting {unknown[0]!r}; valid: {', '.join(known)}")
        return cls(**stored)

    def changed(self) -> dict[str, Any]:
        """The settings that differ from their defaults."""
        fields = dataclasses.fields(self)
        found = {field.name: getattr(self, field.name) for field in fields}
        return {field.name: found[field.name] for field in fields
                if found[field.name] != field.default}  # fmt: skip


def refuse(name: str, value: object, valid: str) -> typing.NoReturn:
    """Raise the one form of message that a bad value gets."""
    raise ValueError(f"{name} is {value!r}; valid: {valid}")


def check_count(name: str, value: object, least: int = 1) -> None:
    """Refuse anything but an integer of at least ``least``."""
    if type(value) is not int or value < least:
        refuse(name, value, f"an integer of at least {least}")


def device(name: str) -> str:
    """The name of a device that is there, else a ValueError."""
    if name not in ("cpu", "cuda"):
        refuse("device", name, "cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, and PyTorch finds none; valid: cpu")
    return name


def _checked(field: dataclasses.Field, value: Any) -> Any:
    """The value in its own kind: lists become tuples, integers become floats where floats go."""
    entry, shape, optional = _kind(field.type)
    if value is None and optional:
        return None
    if shape == "one":
        return _checked_entry(field, entry, value)
    if not isinstance(value, (tuple, list)):
        refuse(field.name, value, f"a tuple of {_words(field, entry, shape)}")
    if not value and not field.metadata["empty"]:
        refuse(field.name, value, "at least one")
    if shape == "fixed":
        return _checked_pair(field, entry, value)
    if shape == "many":
        found = tuple(_checked_entry(field, entry, each) for each in value)
    else:
        found = tuple(_checked_pair(field, entry, each) for each in value)
    if len(set(found)) < len(found) and field.metadata["unique"]:
        refuse(field.name, value, "no value twice")
    return found


def _checked_pair(field: dataclasses.Field, entry: tuple, value: Any) -> tuple:
    if not isinstance(value, (tuple, list)) or len(value) != len(entry):
        refuse(field.name, value, f"{len(entry)} values together")
    return tuple(_checked_entry(field, kind, each) for kind, each in zip(entry, value, strict=True))


def _checked_entry(field: dataclasses.Field, kind: type, value: Any) -> Any:
    right = isinstance(value, (int, float) if kind is float else kind)
    if kind is not bool and isinstance(value, bool):
        right = False
    rules = field.metadata
    if right and (choices := _choices(field)):
        right = value in choices
    if right and kind in (int, float):
        right = -LARGEST <= value <= LARGEST or kind is int
        right = right and all((
            rules["least"] is None or value >= rules["least"],
            rules["most"] is None or value <= rules["most"],
            rules["above"] is None or value > rules["above"],
            rules["below"] is None or value < rules["below"],
        ))  # fmt: skip
    if not right:
        refuse(field.name, value, _words(field, kind, "one"))
    return float(value) if kind is float else value


def _choices(field: dataclasses.Field) -> tuple:
    choices = field.metadata["choices"]
    return choices() if callable(choices) else choices


def _words(field: dataclasses.Field, kind: Any, shape: str) -> str:
    """The valid values in words: ``an integer of at least 1``."""
    if choices := _choices(field):
        return ", ".join(map(str, choices))
    if shape == "fixed":
        return f"{len(kind)} values, each {_words(field, kind[0], 'one')}"
    if shape == "pairs" or isinstance(kind, tuple):
        return "values that belong together, such as 2x3"
    many = shape == "many"
    word = {
        int: ("an integer", "integers"), float: ("a finite number", "finite numbers"),
        bool: ("True or False", "True or False"), str: ("a text", "texts"),
    }[kind][many]  # fmt: skip
    ends = {"least": "of at least", "above": "above", "most": "of at most", "below": "below"}
    range_ = [f"{said} {field.metadata[end]:g}" for end, said in ends.items()
              if field.metadata[end] is not None]  # fmt: skip
    return f"{word} {' and '.join(range_)}".strip()


def _kind(annotation: Any) -> tuple[Any, str, bool]:
    """(kind of an entry, "one", "many", "fixed" or "pairs", whether None is valid)."""
    if isinstance(annotation, types.UnionType):
        inner = next(each for each in annotation.__args__ if each is not type(None))
        return *_kind(inner)[:2], True
    if typing.get_origin(annotation) is tuple:
        entry, *rest = typing.get_args(annotation)
        if rest != [...]:
            return (entry, *rest), "fixed", False
        if typing.get_origin(entry) is tuple:
            return typing.get_args(entry), "pairs", False
        return entry, "many", False
    return annotation, "one", False


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


# ---------------------------------------------------------------------------------------------
# The command line
# ---------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser, config: type[Config]) -> None:
    """Give a parser an option for each setting, with its help, its range and its default."""
    for field in dataclasses.fields(config):
        kind, shape, _ = _kind(field.type)
        names = [f"--{field.name}"]
        if "_" in field.name:
            names.append(f"--{field.name.replace('_', '-')}")
        more: dict[str, Any] = {} if shape == "one" else {"nargs": "*"}
        if kind is bool:
            more = {"nargs": "?", "const": "True"}
        default = spelled(field.default) or "none"
        valid = "" if kind is bool else f"; {_words(field, kind, shape)}"
        parser.add_argument(
            *names, dest=field.name, metavar=field.name.upper(), default=argparse.SUPPRESS,
            help=f"{field.metadata['help']}{valid} (default: {default})".replace("%", "%%"), **more,
        )  # fmt: skip


def from_arguments(options: argparse.Namespace, config: type[Config]) -> Any:
    """The config of what the parser read.

    Raises:
        ValueError: a text that is not of the setting's kind, or out of its range.
    """
    given = {field.name: _read(field, getattr(options, field.name))
             for field in dataclasses.fields(config) if hasattr(options, field.name)}  # fmt: skip
    return config(**given)


def _read(field: dataclasses.Field, text: str | list[str]) -> Any:
    kind, shape, optional = _kind(field.type)
    if shape == "one":
        if optional and str(text).lower() == "none":
            return None
        return _read_one(field, kind, str(text))
    words = [text] if isinstance(text, str) else text
    if len(words) == 1 and words[0][:1] in ("(", "["):  # as Python writes a tuple
        try:
            return ast.literal_eval(words[0])
        except (ValueError, SyntaxError):
            refuse(
                field.name, words[0], f"values with spaces between, {_words(field, kind, shape)}"
            )
    words = [word for each in words for word in each.split(",") if word]
    if shape == "many":
        return tuple(_read_one(field, kind, word) for word in words)
    if shape == "fixed":
        return tuple(_read_one(field, kind[0], word) for word in words)
    return tuple(_read_together(field, kind, word) for word in words)


def _read_together(field: dataclasses.Field, kinds: tuple, word: str) -> tuple:
    parts = word.rsplit(":", len(kinds) - 1) if ":" in word else word.split("x")
    if len(parts) != len(kinds):
        refuse(field.name, word, f"{len(kinds)} values together, such as 2x3 or name:3")
    return tuple(_read_one(field, kind, part) for kind, part in zip(kinds, parts, strict=True))


def _read_one(field: dataclasses.Field, kind: type, word: str) -> Any:
    if kind is str:
        return word
    if kind is bool:
        if word.lower() not in ("true", "false"):
            refuse(field.name, word, "True or False")
        return word.lower() == "true"
    try:
        return kind(word)
    except ValueError:
        refuse(field.name, word, _words(field, kind, "one"))


def spelled(value: Any) -> str:
    """A value as a command spells it: (0, 1) is ``0 1``, ((2, 3),) is ``2x3``."""
    if isinstance(value, tuple):
        return " ".join(
            (":" if isinstance(each[0], str) else "x").join(map(str, each))
            if isinstance(each, tuple)
            else str(each)
            for each in value
        )
    return str(value)
