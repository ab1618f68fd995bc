"""What pages show of encoders that are trained on two halves of an image.

Records of :mod:`mlcpc.experiments.halves` hold a bound and an accuracy at each look, for each
objective and seed. Here these become means with intervals over seeds, figures, verdicts, and the
figure in which a reader chooses.
"""

import html
import json
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mlcpc import statistics
from mlcpc.book import figures
from mlcpc.experiments.halves import TITLES
from mlcpc.records import Metric, Record

COLOURS = {"cpc": "cpc", "nwj": "nwj", "ml_cpc": "ml_cpc", "ml_cpc_batch": "donsker_varadhan"}
MARKS = {"cpc": "o-", "nwj": "v:", "ml_cpc": "s--", "ml_cpc_batch": "D-."}


def band(seeds: Sequence[Sequence[float]]) -> np.ndarray:
    """Mean and 95 % interval at each look: (3, looks), of one list of values for each seed."""
    found = [statistics.summary(values) for values in zip(*seeds, strict=True)]
    ends = [each.interval or (each.mean, each.mean) for each in found]
    return np.array([[each.mean for each in found], *zip(*ends, strict=True)])


def against(record: Record, name: str) -> statistics.Summary:
    """Last accuracy of an objective less that of the pixels, seed by seed."""
    return statistics.difference(
        record.metrics[f"accuracy {name}"], record.metrics["accuracy pixels"]
    )


def since(record: Record, name: str, what: str) -> statistics.Summary:
    """How far a quantity has moved between the first look and the last, seed by seed."""
    curves = record.arrays[what][name]
    return statistics.summary([curve[-1] - curve[0] for curve in curves])


def less(record: Record, name: str, other: str, what: str) -> statistics.Summary:
    """The last value of one objective less that of another, seed by seed."""
    one, two = (Metric("1", tuple(curve[-1] for curve in record.arrays[what][each]))
                for each in (name, other))  # fmt: skip
    return statistics.difference(one, two)


def middle(record: Record) -> dict[str, list[list[float]]]:
    """Objective → seeds → log condition number halfway between its 40th and 60th percentile."""
    found = {}
    for name in record.config["objectives"]:
        pairs = zip(record.arrays["condition 40"][name], record.arrays["condition 60"][name],
                    strict=True)  # fmt: skip
        found[name] = [[(a + b) / 2 for a, b in zip(*pair, strict=True)] for pair in pairs]
    return found


def curves(record: Record, title: str = "") -> tuple[Figure, dict[str, np.ndarray]]:
    """Held-out bound and accuracy against steps, one line an objective, bands over seeds.

    A band that is much wider than the lines lie apart is cut off by its panel.

    Returns:
        the figure, and the arrays that it draws.
    """
    fig, axes = plt.subplots(2, 1, figsize=(6, 6.2), sharex=True, layout="constrained")
    drawn, steps = {}, record.arrays["steps"]
    for name in record.config["objectives"]:
        colour = figures.COLOURS[COLOURS[name]]
        for ax, what, scale in zip(axes, ("bound", "accuracy"), (1, 100), strict=True):
            mean, low, high = scale * band(record.arrays[what][name])
            ax.plot(steps, mean, MARKS[name], ms=4, color=colour, label=TITLES[name])
            ax.fill_between(steps, low, high, color=colour, alpha=0.15, lw=0)
            drawn[f"{what} {name}"] = np.array([mean, low, high])
    for ax in axes:
        means = np.concatenate([line.get_ydata() for line in ax.get_lines()])
        room = 0.6 * np.ptp(means)
        ax.set_ylim(means.min() - room, means.max() + room)
    floor = 100 * record.metrics["accuracy pixels"].mean
    axes[1].axhline(floor, color=figures.COLOURS["truth"], lw=1)
    axes[1].annotate("pixels", (steps[0], floor), ha="left", va="top", fontsize=9)
    axes[0].set(ylabel="bound, test images (nats)", title=title)
    axes[1].set(ylabel="linear accuracy (%)", xlabel="training steps")
    fig.legend(*axes[0].get_legend_handles_labels(), ncols=2, fontsize=9,
               loc="outside lower center")  # fmt: skip
    return fig, drawn


def percentiles(record: Record, each: Sequence[int]) -> tuple[Figure, dict[str, np.ndarray]]:
    """Percentiles of log(σ1/σd) against steps, a panel an objective, means over seeds.

    Returns:
        the figure, and the arrays that it draws.
    """
    names, steps, drawn = record.config["objectives"], record.arrays["steps"], {}
    fig, axes = plt.subplots(2, 2, figsize=(6, 5), sharex=True, sharey=True, layout="constrained")
    for ax, name in zip(axes.flat, names, strict=False):
        colour = figures.COLOURS[COLOURS[name]]
        lines = np.array([band(record.arrays[f"condition {p}"][name])[0] for p in each])
        for low, high in zip(lines, lines[1:], strict=False):
            ax.fill_between(steps, low, high, color=colour, alpha=0.25, lw=0)
        mean, low, high = band(middle(record)[name])
        ax.errorbar(steps, mean, [mean - low, high - mean], fmt=MARKS[name], ms=4, capsize=3,
                    color=colour)  # fmt: skip
        ax.set(title=TITLES[name])
        drawn[name] = np.array([*lines, mean, low, high])
    fig.supxlabel("training steps")
    fig.supylabel("log(σ₁/σ_d) of the Jacobian")
    return fig, drawn


def choices(records: Mapping[str, Record]) -> dict:
    """What the figure with choices holds: title of an encoder → steps, floor, bands."""
    return {
        title: {
            "steps": record.arrays["steps"],
            "pixels": round(100 * record.metrics["accuracy pixels"].mean, 2),
            "losses": {
                TITLES[name]: {
                    what: (scale * band(record.arrays[what][name])).round(3).tolist()
                    for what, scale in (("bound", 1), ("accuracy", 100))
                }
                for name in record.config["objectives"]
            },
        }
        for title, record in records.items()
    }


def chooser_html(records: Mapping[str, Record]) -> str:
    """HTML of :func:`chooser`: values as JSON, controls, and a table for where no script runs."""
    found = choices(records)
    first = next(iter(found.values()))
    rows = "".join(
        f"<tr><td>{html.escape(title)}</td><td>{html.escape(loss)}</td>"
        f"<td>{of['bound'][0][-1]:.2f}</td><td>{of['accuracy'][0][-1]:.1f}</td></tr>"
        for title, each in found.items() for loss, of in each["losses"].items()
    )  # fmt: skip
    table = (
        "<table><thead><tr><th>encoder</th><th>loss</th><th>last bound (nats)</th>"
        f"<th>last accuracy (%)</th></tr></thead><tbody>{rows}</tbody></table>"
    )
    data = json.dumps(found).replace("<", "\\u003c")  # no tag ends the script
    pick = "".join(
        f'<label><span>{word}</span><select data-steps="{word}">'
        + "".join(f"<option>{html.escape(each)}</option>" for each in options)
        + "</select></label>"
        for word, options in (("encoder", found), ("loss", first["losses"]))
    )
    return (
        '<div class="steps" data-steps="root">'
        f'<script type="application/json" data-steps="data">{data}</script>'
        f'<div data-steps="controls" hidden>{pick}<label><span>step</span>'
        f'<input data-steps="step" type="range" min="0" max="{len(first["steps"]) - 1}" value="0">'
        '<output data-steps="step-value"></output></label>'
        '<svg data-steps="chart" viewBox="0 0 560 420" role="img" aria-label="Bound and accuracy '
        'of the chosen encoder and loss against training steps, as told below."></svg></div>'
        f'<p data-steps="summary" aria-live="polite"></p><div data-steps="static">{table}</div>'
        "</div>"
    )


def chooser(records: Mapping[str, Record]) -> None:
    """Show the figure in which a reader chooses an encoder, a loss and a step; steps.js draws it.

    Args:
        records: title of the encoder → its record.
    """
    from IPython.display import publish_display_data

    publish_display_data({
        "text/plain": "bound and accuracy against steps: choose encoder, loss and step",
        "text/html": chooser_html(records),
    })  # fmt: skip
