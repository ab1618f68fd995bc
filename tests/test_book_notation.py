"""The notation page names Python objects that exist."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "book" / "notation.md").read_text()


def missing_names(page):
    """Names such as `bounds.cpc` on a page that can not be imported from mlcpc."""
    missing = []
    for name in re.findall(r"`((?:[a-z_]+)\.[A-Za-z_.]+)`", page):
        module, *attributes = name.split(".")
        try:
            target = importlib.import_module(f"mlcpc.{module}")
            for attribute in attributes:
                fields = getattr(target, "__dataclass_fields__", {})
                target = None if attribute in fields else getattr(target, attribute)
        except (ImportError, AttributeError):
            missing.append(name)
    return missing


def test_every_name_of_the_notation_page_exists():
    assert "bounds.ml_cpc" in PAGE and missing_names(PAGE) == []


@pytest.mark.parametrize("name", ["bounds.mlcpc", "nowhere.cpc", "exact.Joint.entropy"])
def test_a_name_that_does_not_exist_is_caught(name):
    assert missing_names(PAGE + f"\n| $x$ | planted | | `{name}` |\n") == [name]
