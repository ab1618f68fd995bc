"""Shape annotations: jaxtyping's where it is installed, plain tensors elsewhere.

The package itself needs torch and numpy only, so a missing jaxtyping must not stop an import.
The tests install it and check every annotation at run time.
"""

from torch import Tensor

try:
    from jaxtyping import Bool, Float, Int
except ImportError:

    class _Unchecked:
        """Stand-in whose subscription returns the bare array type."""

        def __class_getitem__(cls, item: tuple[type, str]) -> type:
            return item[0]

    Bool = Float = Int = _Unchecked

__all__ = ["Bool", "Float", "Int", "Tensor"]
