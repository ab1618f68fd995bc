"""What a setting may be: one message for each kind, for the configurations of long runs.

Every function takes an object and names of its attributes, and raises a ValueError that names the
attribute, its value and the valid ones.
"""

import math

import torch


def choices(config: object, **valid: tuple[str, ...]) -> None:
    """Attributes that are one of some words."""
    for name, words in valid.items():
        if (value := getattr(config, name)) not in words:
            raise ValueError(f"{name} is {value!r}; valid: {', '.join(words)}")


def counts(config: object, **least: int) -> None:
    """Attributes that are integers of at least a number."""
    for name, smallest in least.items():
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
            raise ValueError(f"{name} is {value!r}; valid: an integer of at least {smallest}")


def is_number(value: object) -> bool:
    """Whether a value is an integer or a float, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def positive(config: object, *names: str) -> None:
    """Attributes that are above zero and finite in single precision."""
    for name in names:
        value = getattr(config, name)
        if not is_number(value) or not 0 < value <= torch.finfo(torch.float32).max:
            raise ValueError(f"{name} is {value!r}; valid: {name} > 0, and finite")


def truths(config: object, *names: str) -> None:
    """Attributes that are True or False."""
    for name in names:
        if not isinstance(value := getattr(config, name), bool):
            raise ValueError(f"{name} is {value!r}; valid: True, False")


def momenta(config: object, *names: str) -> None:
    """Attributes that are shares of the past that is kept: from 0 up to but not including 1."""
    for name in names:
        value = getattr(config, name)
        if not is_number(value) or not 0 <= value < 1:
            raise ValueError(f"{name} is {value!r}; valid: 0 up to but not including 1")


def chances(config: object, *names: str) -> None:
    """Attributes that are probabilities."""
    for name in names:
        value = getattr(config, name)
        if not is_number(value) or not 0 <= value <= 1:
            raise ValueError(f"{name} is {value!r}; valid: 0 to 1")


def not_negative(config: object, *names: str) -> None:
    """Attributes that are finite and at least zero."""
    for name in names:
        value = getattr(config, name)
        if not is_number(value) or not 0 <= value < math.inf:
            raise ValueError(f"{name} is {value!r}; valid: at least 0")


def seeds(config: object) -> None:
    """The attribute ``seeds``: different integers of at least zero, one or more."""
    found = config.seeds
    if not isinstance(found, (tuple, list)):
        raise ValueError(f"seeds is {found!r}; valid: a tuple of integers, such as (0, 1, 2)")
    fitting = [not isinstance(s, bool) and isinstance(s, int) and s >= 0 for s in found]
    if not found or not all(fitting) or len(set(found)) < len(found):
        raise ValueError(f"seeds is {found!r}; valid: different integers of at least 0")


def device(name: str) -> None:
    """A device that is there."""
    if name not in ("cpu", "cuda"):
        raise ValueError(f"device is {name!r}; valid: cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, and PyTorch finds none; valid: cpu")
