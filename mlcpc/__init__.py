"""Multi-label contrastive predictive coding: bounds on mutual information, in nats."""

from mlcpc import bounds, exact
from mlcpc.estimation import Estimate, estimate

__all__ = ["Estimate", "bounds", "estimate", "exact"]
__version__ = "0.1.0"
