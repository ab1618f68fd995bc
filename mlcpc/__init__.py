"""Multi-label contrastive predictive coding: bounds on mutual information, in nats.

    estimate, Estimate      the information in your own samples, as a lower bound
    relevance, pairwise     the information of many columns with one, and of all pairs
    conditional             the information that a third variable leaves, Conditional
    MLCPCLoss, CPCLoss      losses for your own training loop
    bounds                  the equations: scores in, nats out
    exact                   finite joints: exact expectations, and searches for violations

Everything else of the package is a module to import by its name, such as ``mlcpc.critics``. The
public names above keep their meaning from version to version; other modules may change.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlcpc import bounds, exact
    from mlcpc.estimation import Estimate, estimate
    from mlcpc.losses import CPCLoss, MLCPCLoss
    from mlcpc.questions import Conditional, conditional, pairwise, relevance

__all__ = [
    "CPCLoss", "Conditional", "Estimate", "MLCPCLoss", "bounds", "conditional", "estimate", "exact",
    "pairwise", "relevance",
]  # fmt: skip
__version__ = "0.2.0"

_HOME = {
    **dict.fromkeys(("CPCLoss", "MLCPCLoss"), "losses"),
    **dict.fromkeys(("Estimate", "estimate"), "estimation"),
    **dict.fromkeys(("Conditional", "conditional", "pairwise", "relevance"), "questions"),
}
_MODULES = ("allpairs", "bounds", "exact")


def __getattr__(name: str) -> Any:
    # Loaded when it is first asked for: importing the package costs little more than torch.
    if name in _HOME:
        return getattr(importlib.import_module(f"mlcpc.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"mlcpc.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
