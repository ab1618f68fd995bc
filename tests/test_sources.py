"""Which code a hash is taken of: all that a function uses, and nothing beside it."""

import pytest

from mlcpc import runs, sources
from mlcpc.__main__ import CODE

BASE = """import math

FACTOR = 2.0


class Config:
    width: int = 3

    def doubled(self):
        return 2 * self.width


def scaled(x):
    return FACTOR * x


def beside(x):
    return x
"""
TOY = """\"""A module.\"""

import math
from elsewhere import first, second as other, third
from toys import base, checks, runs
from toys.base import scaled as renamed

SCALE = 2.0
SCALE += 1.0
OTHER = 3.0
TABLE = {}
TABLE["a"] = 1.0
TABLE.update(b=2.0)
if OTHER:
    CHOSEN = 1.0
else:
    CHOSEN = 2.0


def helper(x):
    \"""Three
    times.\"""
    checks.positive(x)
    runs.metric(x)
    return SCALE * first(x, other) + CHOSEN + TABLE["a"]  # why


@decorated
def used(x: int, config: base.Config) -> int:
    # a comment

    return helper(x) + renamed(x)


class Settings:
    def width(self):
        return 3


def of(settings: Settings):
    return settings.width()


@of.register
def _(settings):
    return 0


def through(x):
    return base.scaled(x)


def after(x):
    return OTHER * x
"""


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "toys"
    folder.mkdir()
    (folder / "toy.py").write_text(TOY)
    (folder / "base.py").write_text(BASE)
    for name in ("checks", "runs"):
        (folder / f"{name}.py").write_text("def positive(x):\n    pass\n\n\nmetric = positive\n")
    return folder


CHANGES = {
    "what it returns": ("toy", "helper(x) + renamed", "helper(x) - renamed", True),
    "a function that it calls": ("toy", "SCALE * first", "SCALE + first", True),
    "a constant": ("toy", "SCALE = 2.0", "SCALE = 2.5", True),
    "what is added to a constant": ("toy", "SCALE += 1.0", "SCALE += 2.0", True),
    "an entry of a table": ("toy", '["a"] = 1.0', '["a"] = 1.5', True),
    "an update of a table": ("toy", "b=2.0", "b=2.5", True),
    "a constant under a condition": ("toy", "CHOSEN = 2.0", "CHOSEN = 3.0", True),
    "a decorator": ("toy", "@decorated", "@other", True),
    "another thing imported under a name": ("toy", "second as other", "fourth as other", True),
    "where it is imported from": ("toy", "from elsewhere", "from nowhere", True),
    "a constant of another module": ("base", "FACTOR = 2.0", "FACTOR = 3.0", True),
    "a method of a config of another module": ("base", "2 * self", "3 * self", True),
    "a function beside it": ("toy", "OTHER * x", "OTHER + x", False),
    "a function beside it in another module": ("base", "return x", "return -x", False),
    "a method of a class that it does not name": ("toy", "return 3", "return 4", False),
    "a name more in an import": ("toy", "import first, second", "import added, first, second",
                                 False),
    "a name less in an import": ("toy", "as other, third", "as other", False),
    "an import that it does not use": ("toy", "import math", "import cmath", False),
    "a docstring": ("toy", "Three\n    times.", "Thrice.", False),
    "a comment": ("toy", "# a comment", "# another", False),
    "a comment behind code": ("toy", "# why", "# because", False),
    "a blank line": ("toy", "# a comment\n\n", "# a comment\n", False),
    "what only checks": ("checks", "pass", "raise ValueError", False),
    "what only stores": ("runs", "pass", "return 1", False),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_function_depends_on(package, change):
    module, old, new, changes = CHANGES[change]
    path = package / f"{module}.py"
    assert path.read_text().count(old) == 1
    before = sources.used_by("toy.used", package)
    path.write_text(path.read_text().replace(old, new))
    assert (sources.used_by("toy.used", package) != before) == changes


def test_config_classes_registered_functions_and_modules(package):
    text = sources.used_by("toy.of", package)
    assert "return 3" in text and "return 0" in text and "helper" not in text
    text = sources.used_by("toy.through", package)
    assert "FACTOR = 2.0" in text and "class Config" not in text
    whole = sources.used_by("toy", package)
    assert all(part in whole for part in ("OTHER * x", "FACTOR = 2.0", "return 3"))
    assert "return x\n" not in whole  # a function of another module that nothing asks for
    assert sources.used_by("runs.metric", package).startswith("def positive")


def test_scripts_beside_the_package_and_names_that_are_not_there(package):
    (package.parent / "scripts").mkdir()
    (package.parent / "scripts/run.py").write_text("from toys import toy\n\nvalue = toy.used(1)\n")
    text = sources.used_by("scripts/run.value", package)
    assert "toy.used(1)" in text and "FACTOR = 2.0" in text
    with pytest.raises(ValueError, match="module gone is not in mlcpc; valid: base, checks"):
        sources.used_by("gone.x", package)
    with pytest.raises(ValueError, match="gone is not in mlcpc.base; valid: Config, FACTOR"):
        sources.used_by("base.gone", package)


@pytest.mark.parametrize(
    "command, parts",
    [
        ("staircase", ["def ml_cpc", "def summarise", "def critic_config", "class Separable"]),
        ("pretrain", ["class MLCPCLoss", "class KeyQueue", "def views", "def _augmentation"]),
        ("pretrain", ["def knn", "def linear_probe", "def pixels", "def accuracy", "def metric"]),
        ("distill", ["def crd_loss", "def teacher", "class OtherClasses", "def _small_resnet"]),
        ("distill", ["def shifted", "def generator", "def shared_neighbours"]),
        ("boundary", ["def search", "def ml_cpc", "def alpha_min", "class BoundaryConfig"]),
    ],
)
def test_records_depend_on_what_makes_their_numbers(command, parts):
    text = "\n".join(sources.used_by(name, runs.PACKAGE) for name in CODE[command])
    assert [part for part in parts if part not in text] == []
