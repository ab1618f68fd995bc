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


def positive(config: object, *names: str) -> None:
    """Attributes that are above zero and finite."""
    for name in names:
        if not 0 < (value := getattr(config, name)) < math.inf:
            raise ValueError(f"{name} is {value}; valid: {name} > 0")


def momenta(config: object, *names: str) -> None:
    """Attributes that are shares of the past that is kept: from 0 up to but not including 1."""
    for name in names:
        if not 0 <= (value := getattr(config, name)) < 1:
            raise ValueError(f"{name} is {value}; valid: 0 up to but not including 1")


def not_negative(config: object, *names: str) -> None:
    """Attributes that are finite and at least zero."""
    for name in names:
        if not 0 <= (value := getattr(config, name)) < math.inf:
            raise ValueError(f"{name} is {value}; valid: at least 0")


def seeds(config: object) -> None:
    """The attribute ``seeds``: different integers of at least zero, one or more."""
    found = config.seeds
    fitting = [not isinstance(s, bool) and isinstance(s, int) and s >= 0 for s in found]
    if not found or not all(fitting) or len(set(found)) < len(found):
        raise ValueError(f"seeds is {found!r}; valid: different integers of at least 0")


def device(name: str) -> None:
    """A device that is there."""
    if name not in ("cpu", "cuda"):
        raise ValueError(f"device is {name!r}; valid: cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, and PyTorch finds none; valid: cpu")
