"""Multi-label contrastive predictive coding: bounds on mutual information, in nats."""

from mlcpc import bounds, exact

__all__ = ["bounds", "exact"]
__version__ = "0.1.0"
