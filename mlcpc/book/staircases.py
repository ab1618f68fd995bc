"""What pages show of staircases: curves in panels, biases in tables, comparisons seed by seed.

A *run* here is a record of a staircase, or what :func:`unrecorded` makes of curves that a page has
trained itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mlcpc import bounds, estimators, statistics
from mlcpc.book import figures
from mlcpc.book.tables import Table, signed, table
from mlcpc.estimators import Estimator
from mlcpc.experiments import staircase
from mlcpc.records import Metric, Record

NAMES = {"cpc": "CPC", "ml_cpc": "ML-CPC"}
LINES = {"cpc": "-", "ml_cpc": "--"}
MARKS = "os^Dv"


@dataclass(frozen=True)
class Unrecorded:
    """A staircase that was trained on a page, with the fields of a record."""

    config: dict[str, Any]
    metrics: dict[str, Metric]
    arrays: dict[str, Any]


Run = Record | Unrecorded


def unrecorded(curves: staircase.Curves) -> Unrecorded:
    """Curves of a page as figures and tables take them."""
    found = staircase.metrics(curves), staircase.thinned(curves)
    return Unrecorded(curves.config.to_dict(), *found)


def named(estimator: str) -> str:
    """A name for people: ``ml_cpc:0.1`` is ML-CPC, α = 0.1."""
    each = Estimator.parse(estimator)
    return f"{NAMES[each.bound]}, α = {each.setting:g}"


def metric(run: Run, kind: str, estimator: str, level: float) -> Metric:
    """Bias, variance or mse of an estimator at a level, seed by seed."""
    return run.metrics[staircase.metric_name(kind, estimator, level)]


def promise(run: Run, estimator: str) -> str:
    """What is proved of an estimator with the batch of a run."""
    return estimators.promise(Estimator.parse(estimator), run.config["batch"])


def weights(run: Run) -> list[float]:
    """The weights α of a run, the largest first."""
    found = map(Estimator.parse, run.config["estimators"])
    return sorted({each.setting for each in found if each.bound in NAMES}, reverse=True)


def exceeding(run: Run, estimator: str) -> dict[float, float]:
    """Level → mean bias, where the 95 % interval of the bias over seeds lies above zero."""
    found = {}
    for level in run.config["levels"]:
        summary = statistics.summary(metric(run, "bias", estimator, level))
        if summary.interval is not None and summary.interval[0] > 0:
            found[level] = summary.mean
    return found


def biases(run: Run, names: Iterable[str]) -> Table:
    """A row for each estimator, a column for each level: the mean bias, with ! where it exceeds."""
    rows = []
    for name in names:
        high = exceeding(run, name)
        rows.append([named(name), promise(run, name), *(
            signed(metric(run, "bias", name, level).mean) + ("!" if level in high else "")
            for level in run.config["levels"]
        )])  # fmt: skip
    levels = [f"I = {level:g}" for level in run.config["levels"]]
    return table(rows, [f"{run.config['task']}, {run.config['critic']}", "proved", *levels])


def error_beside(run: Run, ours: str, theirs: str) -> list[statistics.Summary]:
    """Difference of the mean squared errors of two estimators at each level, paired by seed."""
    return [
        statistics.difference(metric(run, "mse", ours, level), metric(run, "mse", theirs, level))
        for level in run.config["levels"]
    ]


def compared(run: Run, pairs: Sequence[tuple[str, str]]) -> Table:
    """Who of each pair has the lower error at each level, "–" where that is not clear."""
    rows = [
        [f"{named(ours)} / {named(theirs)}", *(
            "–" if not each.clear else named(ours if each.mean < 0 else theirs).split(",")[0]
            + (f" {Estimator.parse(ours if each.mean < 0 else theirs).setting:g}")
            for each in error_beside(run, ours, theirs)
        )]
        for ours, theirs in pairs
    ]  # fmt: skip
    levels = [f"I = {level:g}" for level in run.config["levels"]]
    return table(rows, [f"lower error ({run.config['task']}, {run.config['critic']})", *levels])


def grid(run: Run, title: str = "") -> Figure:
    """A panel for each weight: the curves of CPC and ML-CPC, the true staircase, the ceiling."""
    config, many = run.config, weights(run)
    batch, levels = config["batch"], config["levels"]
    fig, axes = plt.subplots(  # one column: a phone is narrow
        len(many), 1, figsize=(4.4, 2.1 * len(many) + 0.6), sharex=True, sharey=True,
        layout="constrained", squeeze=False,
    )  # fmt: skip
    ends = np.arange(len(levels) + 1) * config["steps"] / 1000
    for ax, alpha in zip(axes.flat, many, strict=True):
        said = [_curve(ax, run, bound, f"{bound}:{alpha:g}") for bound in NAMES]
        ax.stairs(levels, ends, baseline=None, color=figures.COLOURS["truth"], lw=1.4)
        ax.axhline(bounds.ceiling(batch, alpha), ls=(0, (5, 4)), lw=1.2,
                   color=figures.COLOURS["ceiling"])  # fmt: skip
        if alpha < bounds.alpha_safe("independent", batch, batch):
            ax.set_facecolor("0.9")
        ax.set_title(f"α = {alpha:g}", loc="left", fontsize=11)
        ax.set_title("\n".join(each for each in said if each), loc="right", fontsize=9)
        ax.set_ylabel("nats")
    fig.legend(handles=_keys(), loc="outside upper center", fontsize=10, ncols=2,
               title=title or None)  # fmt: skip
    highest = bounds.ceiling(batch, many[-1])
    axes.flat[0].set(ylim=(-0.5, highest + 0.7), xlim=(0, ends[-1]))
    axes.flat[-1].set_xlabel("step, thousands")
    return fig


def _curve(ax: Any, run: Run, bound: str, name: str) -> str:
    """Draw one estimator with its band over seeds; say what is proved of it."""
    if name not in run.config["estimators"]:
        return ""
    steps = np.array(run.arrays["steps"]) / 1000
    curve = {kind: np.array(values, dtype=float)
             for kind, values in run.arrays["curves"][name].items()}  # fmt: skip
    colour = figures.COLOURS[bound]
    ax.fill_between(steps, curve["lowest"], curve["highest"], color=colour, alpha=0.25, lw=0)
    ax.plot(steps, curve["mean"], LINES[bound], color=colour, lw=1.4)
    return f"{NAMES[bound]}: {promise(run, name)}"


def _keys() -> list[plt.Line2D]:
    drawn = [("truth", "-", "truth"), *((bound, LINES[bound], NAMES[bound]) for bound in NAMES),
             ("ceiling", (0, (5, 4)), "ceiling log(m/α)")]  # fmt: skip
    return [plt.Line2D([], [], color=figures.COLOURS[colour], ls=style, label=label)
            for colour, style, label in drawn]  # fmt: skip


def mean_curves(run: Run) -> np.ndarray:
    """Mean curve of every estimator, (estimators, points), zero where all seeds have diverged."""
    curves = run.arrays["curves"]
    found = [curves[name]["mean"] for name in run.config["estimators"]]
    return np.nan_to_num(np.array(found, dtype=float))


def plane(run: Run) -> Figure:
    """Bias against variance: a line for each estimator, a marker for each level.

    Markers are filled where the estimator is a proved lower bound with negatives from the batch.
    """
    fig, ax = plt.subplots(figsize=(6.4, 4.4))
    levels, seen = run.config["levels"], set()
    for name in run.config["estimators"]:
        bound = name.partition(":")[0]
        colour = figures.COLOURS["donsker_varadhan" if bound == "dv" else bound]
        face = colour if promise(run, name) == "bound" else "white"
        at = [[metric(run, kind, name, level).mean for level in levels]
              for kind in ("bias", "variance")]  # fmt: skip
        ax.plot(*at, "--" if bound in seen else "-", color=colour, lw=1, label=name)
        seen.add(bound)
        for *point, mark in zip(*at, MARKS, strict=False):
            ax.plot(*point, mark, color=colour, mfc=face, mew=1.5, ms=6)
    ax.axvline(0, color=figures.COLOURS["truth"], ls=":", lw=1)
    if max(map(abs, ax.get_xlim())) > 15:
        ax.set_xscale("symlog", linthresh=10)
    ax.set(yscale="log", xlabel="bias (nats)", ylabel="variance (nats²)")
    marks = [plt.Line2D([], [], ls="", marker=mark, color="0.3", label=f"I = {level:g}")
             for level, mark in zip(levels, MARKS, strict=False)]  # fmt: skip
    ax.legend(handles=ax.get_legend_handles_labels()[0] + marks, loc="upper left",
              bbox_to_anchor=(1.0, 1.02), fontsize=8)  # fmt: skip
    return fig
