"""Multi-label contrastive predictive coding: bounds on mutual information, in nats."""

import importlib
from typing import Any

from mlcpc import bounds, exact

__all__ = ["Estimate", "bounds", "estimate", "exact"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Loaded when it is first asked for. Every page of the book imports this package, and a page
    # that estimates nothing need not be made again when the estimator changes.
    if name in ("Estimate", "estimate"):
        return getattr(importlib.import_module("mlcpc.estimation"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
