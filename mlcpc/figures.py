"""One style for every figure, one colour for every object, and the arrays behind each figure."""

import matplotlib as mpl
import numpy as np

# The same object has the same colour in the whole book; the palette is Okabe and Ito's, which
# colour-blind readers can tell apart, and every line also differs by style or marker.
COLOURS = {
    "truth": "#000000",
    "ceiling": "#7f7f7f",
    "cpc": "#D55E00",
    "ml_cpc": "#0072B2",
    "donsker_varadhan": "#009E73",
    "nwj": "#CC79A7",
    "mine": "#F0E442",
    "js": "#56B4E9",
    "tuba": "#8C564B",
    "interpolated": "#B09C00",
    "smile": "#7B3FA0",
    "independent": "#0072B2",
    "shared": "#009E73",
    "in_batch": "#E69F00",
}
STYLE = {
    "figure.figsize": (6.4, 3.6),
    "figure.dpi": 110,
    "figure.facecolor": "white",  # opaque, so that a dark page does not swallow the axes
    "savefig.bbox": "tight",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.titlesize": "medium",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "font.size": 10,
}


def use_style() -> None:
    """Apply the book's style to every figure made after this call."""
    mpl.rcParams.update(STYLE)


def keep(name: str, rtol: float = 1e-6, atol: float = 1e-8, **arrays: object) -> None:
    """Publish the arrays that a figure draws, so that a test can compare them with a reference.

    Args:
        name: label of the figure, such as ``fig-capped``.
        rtol, atol: tolerance that the comparison uses, relative and absolute.
        arrays: what is drawn, as numbers, arrays or tensors.

    Raises:
        ValueError: no array, an empty one, or one with NaN.
    """
    from IPython.display import publish_display_data

    kept = {key: np.asarray(value, dtype=float) for key, value in arrays.items()}
    if not kept:
        raise ValueError("arrays is empty; valid: at least one named array")
    for key, value in kept.items():
        if value.size == 0 or np.isnan(value).any():
            raise ValueError(f"{key} of {name} is empty or contains NaN; valid: numbers")
    shapes = ", ".join(f"{key} {value.shape}" for key, value in kept.items())
    passport = {
        "name": name,
        "rtol": rtol,
        "atol": atol,
        "arrays": {key: value.tolist() for key, value in kept.items()},
    }
    publish_display_data(
        {"text/plain": f"arrays behind {name}: {shapes}"}, {"mlcpc_arrays": passport}
    )
