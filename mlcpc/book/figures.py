"""One style for every figure, one colour for every object, and the arrays behind each figure."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from mlcpc import bounds
from mlcpc.book import status

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
    "kd": "#E69F00",
    "crd": "#56B4E9",
    "independent": "#0072B2",
    "shared": "#009E73",
    "in_batch": "#E69F00",
    "refuted": "#D55E00",
    "proved": "#009E73",
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
    """Apply the book's style to every figure made after this call; in a notebook at twice the dots.

    The site gives a figure the width that its dots and their density say, so it stays as large.
    """
    from IPython import get_ipython

    mpl.rcParams.update(STYLE)
    if get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")


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


def graph(axes: mpl.axes.Axes, boxes: dict, arrows: list[tuple[str, str]], goal: str = "") -> None:
    """Draw boxes with text and arrows between them, such as the lemmas of a theorem.

    Args:
        axes: where to draw; its limits are set to the boxes and its frame is switched off.
        boxes: name → (x, y, text) of each box.
        arrows: pairs (from, to) of names; an arrow runs from one box to the other.
        goal: name of the box that stands out.

    Raises:
        ValueError: an arrow or a goal without a box.
    """
    for name in {end for arrow in arrows for end in arrow} | ({goal} if goal else set()):
        if name not in boxes:
            raise ValueError(f"{name!r} is no box; valid: {', '.join(boxes)}")
    places = np.array([box[:2] for box in boxes.values()], dtype=float)
    (left, low), (right, high) = places.min(0), places.max(0)
    axes.set(xlim=(left - 1.1, right + 1.1), ylim=(low - 0.5, high + 0.5))
    axes.axis("off")
    drawn = {
        name: axes.text(x, y, text, ha="center", va="center", fontsize=8.5,
                        bbox={"boxstyle": "round", "fc": "white",
                              "ec": COLOURS["ml_cpc"] if name == goal else "0.3"})
        for name, (x, y, text) in boxes.items()
    }
    axes.figure.canvas.draw()  # a box has its size only now, and an arrow ends at its edge
    for start, end in arrows:
        axes.annotate("", boxes[end][:2], boxes[start][:2], arrowprops={
            "arrowstyle": "-|>", "color": "0.4", "patchA": drawn[start].get_bbox_patch(),
            "patchB": drawn[end].get_bbox_patch(), "shrinkA": 1, "shrinkB": 1})


def status_map(n: int = 128) -> mpl.figure.Figure:
    """Which weights are proved, refuted and open for each game with n = m; keeps its arrays.

    Args:
        n: anchors and candidates, at least 2.

    Returns:
        a figure with one bar for each game over a logarithmic axis of α. Its ends come from
        :func:`mlcpc.book.status.ranges`.
    """
    found = status.ranges(n)
    left = 0.5 * min(each.refuted for each in found)
    edge = bounds.alpha_min(n, n)
    figure, axes = plt.subplots(figsize=(6.8, 2.7))
    for row, each in enumerate(found):
        parts = [
            (left, each.refuted, "refuted", "xx", "refuted"),
            (each.refuted, each.proved, "ceiling", "", "open"),
            (each.proved, n, "proved", "//", "proved"),
        ]
        for begin, end, colour, hatch, name in parts:
            axes.barh(
                -row,
                end - begin,
                left=begin,
                height=0.62,
                color=COLOURS[colour],
                alpha=0.45,
                hatch=hatch,
                edgecolor="white",
                label=name if row == 0 else None,
            )
        axes.text(each.proved * 1.06, -row, f"{each.proved:.2g}", va="center", fontsize=9)
    axes.axvline(edge, ls="--", lw=1, color=COLOURS["truth"])
    axes.axvline(1, ls=":", lw=1, color=COLOURS["truth"])
    axes.text(edge, 0.55, r"$\alpha_{\min}$", ha="center")
    axes.text(1, 0.55, "1", ha="center")
    axes.set(
        xscale="log",
        xlim=(left, 4),
        ylim=(-len(found) + 0.5, 0.9),
        xlabel=f"weight α of a positive, n = m = {n}",
    )
    axes.set_yticks([-row for row in range(len(found))], [each.game for each in found])
    axes.grid(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, 1.2), ncols=3, fontsize=9)
    keep(
        "fig-status",
        rtol=1e-4,
        refuted=[each.refuted for each in found],
        proved=[each.proved for each in found],
    )
    plt.close(figure)
    return figure
