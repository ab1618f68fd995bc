"""Configs: one declaration gives validation, help, parsing and JSON."""

import argparse
import re
from dataclasses import dataclass

import pytest

from mlcpc import config
from mlcpc.config import Config, setting


@dataclass(frozen=True)
class Toy(Config):
    """Settings of every kind."""

    count: int = setting(3, "how many", least=1, most=9)
    rate: float = setting(0.5, "step size", above=0)
    share: float = setting(0.9, "share that is kept", least=0, below=1)
    kind: str = setting("a", "which", choices=("a", "b"))
    flag: bool = setting(False, "whether")
    limit: float | None = setting(None, "a limit, or none", above=0)
    seeds: tuple[int, ...] = setting((0,), "random seeds", least=0)
    names: tuple[str, ...] = setting(("x:1",), "names")
    sizes: tuple[tuple[int, int], ...] = setting(((1, 2),), "pairs", least=1)
    tasks: tuple[tuple[str, int], ...] = setting((("p-q", 2),), "tasks")
    shape: tuple[int, int] = setting((2, 2), "two sizes", least=1)
    weights: tuple[float, ...] = setting((), "weights", least=0, empty=True, unique=False)


def parsed(words: str) -> Toy:
    parser = argparse.ArgumentParser()
    config.add_arguments(parser, Toy)
    return config.from_arguments(parser.parse_args(words.split()), Toy)


@pytest.mark.parametrize("words, changed", [
    ("", {}), ("--count 4", {"count": 4}), ("--rate 1", {"rate": 1.0}), ("--flag", {"flag": True}),
    ("--flag False", {}), ("--flag true", {"flag": True}), ("--limit 2", {"limit": 2.0}),
    ("--limit none", {}), ("--seeds 5", {"seeds": (5,)}), ("--seeds 0 1 2", {"seeds": (0, 1, 2)}),
    ("--seeds 0,1", {"seeds": (0, 1)}),
    ("--names cpc:1 ml_cpc:0.1", {"names": ("cpc:1", "ml_cpc:0.1")}),
    ("--sizes 2x3 4x5", {"sizes": ((2, 3), (4, 5))}), ("--tasks a-b:3", {"tasks": (("a-b", 3),)}),
    ("--shape 3 3", {"shape": (3, 3)}), ("--weights 1 0 0.8", {"weights": (1.0, 0.0, 0.8)}),
    ("--weights 1 1", {"weights": (1.0, 1.0)}),
    ("--kind b --seeds 1", {"kind": "b", "seeds": (1,)}),
])  # fmt: skip
def test_natural_spellings(words, changed):
    found = parsed(words)
    assert found.changed() == changed
    assert Toy.from_dict(found.to_dict()) == found
    again = " ".join(f"--{key} {config.spelled(value)}" for key, value in changed.items())
    assert parsed(again) == found


def test_tuples_as_python_writes_them():
    parser = argparse.ArgumentParser()
    config.add_arguments(parser, Toy)
    options = parser.parse_args(["--seeds", "(0, 1)", "--sizes", "((1, 2),)"])
    assert config.from_arguments(options, Toy).changed() == {"seeds": (0, 1)}


@pytest.mark.parametrize("words, message", [
    ("--count 0", "count is 0; valid: an integer of at least 1 and of at most 9"),
    ("--count x", "count is 'x'; valid: an integer"), ("--count 1.5", "count is '1.5'"),
    ("--rate 0", "rate is 0.0; valid: a finite number above 0"), ("--rate nan", "rate is nan"),
    ("--rate inf", "rate is inf"), ("--rate 1e39", "rate is 1e[+]39"),
    ("--share 1", "share is 1.0"),
    ("--kind c", "kind is 'c'; valid: a, b"), ("--flag maybe", "flag is 'maybe'; valid: True or"),
    ("--limit 0", "limit is 0.0"), ("--limit x", "limit is 'x'"), ("--seeds", r"seeds is \(\)"),
    ("--seeds -1", "seeds is -1"), ("--seeds 1 1", r"seeds is \(1, 1\); valid: no value twice"),
    ("--seeds 0.5", "seeds is '0.5'"), ("--seeds (0", r"seeds is '\(0'"),
    ("--sizes 2", "sizes is '2'"),
    ("--sizes 2x3x4", "sizes is '2x3x4'"), ("--sizes 0x1", "sizes is 0"), ("--shape 3", "shape is"),
    ("--weights -1", "weights is -1.0"), ("--tasks gaussian", "tasks is 'gaussian'"),
])  # fmt: skip
def test_a_bad_value_is_named_with_what_is_valid(words, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        parsed(words)


@pytest.mark.parametrize("change, message", [
    ({"count": True}, "count is True"), ({"count": 3.0}, "count is 3.0"),
    ({"flag": 1}, "flag is 1"),
    ({"seeds": 3}, "seeds is 3; valid: a tuple of integers"), ({"seeds": "0"}, "seeds is '0'"),
    ({"kind": None}, "kind is None"), ({"sizes": ((1, 2, 3),)}, "sizes is"),
])  # fmt: skip
def test_a_value_of_another_kind_is_refused(change, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Toy(**change)


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValueError, match="unknown setting 'alhpa'; valid: count, rate"):
        Toy.from_dict({"alhpa": 1})


def test_help_says_range_and_default():
    parser = argparse.ArgumentParser()
    config.add_arguments(parser, Toy)
    said = re.sub(r"\s+", " ", parser.format_help())
    assert "how many; an integer of at least 1 and of at most 9 (default: 3)" in said
    assert (
        "which; a, b (default: a)" in said
        and "weights; finite numbers of at least 0 (default: none)" in said
    )


@pytest.mark.parametrize("name, message", [("tpu", "device is 'tpu'; valid: cpu, cuda")])
def test_device(name, message):
    with pytest.raises(ValueError, match=message):
        config.device(name)
    assert config.device("cpu") == "cpu"
