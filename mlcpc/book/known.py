"""What the page on known information shows: bands, values beside published ones, sliders.

All numbers are in bits, as the records of :mod:`mlcpc.experiments.known_information` hold them.
"""

import html
import json
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlcpc import sameclass, statistics
from mlcpc.book import figures, published
from mlcpc.book.published import Published
from mlcpc.book.tables import Table, fixed, signed, table
from mlcpc.experiments.known_information import KnownInformationConfig, metric_name
from mlcpc.records import Metric, Record

WITHIN = published.Tolerance(0.25)  # bits; as on the page of the papers' numbers
MARKS = {
    "cpc:1": "o-", "ml_cpc:1": "s--", "ml_cpc:0.0446": "s-", "ml_cpc:0.01": "s:", "nwj": "v-",
    "dv": "^-", "mine:0.9": "P-", "smile:1": "D-", "smile:5": "D--", "js": "x-",
    "smile:inf": "D:",
}  # fmt: skip


def config(record: Record) -> KnownInformationConfig:
    """The config of a record."""
    return KnownInformationConfig.from_dict(record.config)


def levels(record: Record) -> list[float]:
    """The upper end of each level in bits: what the labels share."""
    return list(config(record).channel)


def low(record: Record) -> list[float]:
    """The lower end of each level in bits: what the classifier's answers share."""
    return [record.arrays["bands"][f"{bits:g}"][0] for bits in levels(record)]


def means(record: Record, estimator: str, kind: str = "value") -> list[float]:
    """Mean over seeds at each level; NaN where all seeds diverged."""
    found = (record.metrics[metric_name(kind, estimator, bits)] for bits in levels(record))
    return [each.mean if each.numbers else np.nan for each in found]


def theirs(numbers: Mapping[str, Published], of: str, estimator: str) -> dict[float, Published]:
    """Published values of an estimator, "sentences" or "images": bits of the level → number."""
    head = f"known {of}: value {estimator} at "
    return {float(name.removeprefix(head)): each for name, each in numbers.items()
            if name.startswith(head)}  # fmt: skip


def where(values: Sequence[float], below: float, above: float) -> str:
    """Where all values lie: below, inside or above a band; "across" if they do not agree."""
    places = {
        "below" if each < below else "above" if each > above else "inside" for each in values
    }
    return places.pop() if len(places) == 1 else "across"


def places(record: Record, estimator: str, kind: str = "value") -> list[str]:
    """Where all seeds of an estimator lie at each level."""
    return [
        where(record.metrics[metric_name(kind, estimator, bits)].numbers, end, bits)
        for bits, end in zip(levels(record), low(record), strict=True)
    ]


# ---------------------------------------------------------------------------------------------
# Tables
# ---------------------------------------------------------------------------------------------


def beside(
    record: Record, of: str, numbers: Mapping[str, Published], names: Sequence[str]
) -> tuple[Table, dict[str, int]]:
    """Ours minus theirs at each level, with the verdict of the rule; and how often each is given.

    "wide" is an interval of ours that holds their number and is wider than the tolerance: it says
    that two seeds cannot tell.

    Args:
        record: ours.
        of: "sentences" or "images".
        numbers: the published numbers.
        names: estimators, a row each.
    """
    rows: list[list[str]] = []
    count: dict[str, int] = {}
    short = {"inside our interval": "inside", "within tolerance": "within", "differs": "differs",
             "not comparable": "no comparison"}  # fmt: skip
    for name in names:
        row = [name]
        for bits, each in theirs(numbers, of, name).items():
            ours = record.metrics[metric_name("value", name, bits)]
            verdict, _ = published.verdict(each, ours, WITHIN)
            said, off = short[verdict], ours.mean - each.value
            if said == "inside" and abs(off) > WITHIN.within:
                said = "wide"
            count[said] = count.get(said, 0) + 1
            row.append(f"{signed(off)} ({fixed(each.value)}), {said}")
        rows.append(row)
    head = [f"at {bits:g}" for bits in levels(record)]
    return table(rows, ["ours − theirs (theirs), bits", *head]), count


def against(record: Record, ours: str, other: str, kind: str = "value") -> list[statistics.Summary]:
    """Paired differences of two estimators at each level, over seeds."""
    return [
        statistics.difference(*(record.metrics[metric_name(kind, name, bits)]
                                for name in (ours, other)))
        for bits in levels(record)
    ]  # fmt: skip


def held_out(record: Record, names: Sequence[str]) -> Table:
    """Values on samples that trained the critic and on others, and where those lie."""
    rows = []
    for name in names:
        row = [name]
        ends = zip(
            means(record, name), means(record, name, "held out"),
            places(record, name, "held out"), strict=True,
        )  # fmt: skip
        row += [f"{fixed(value)} → {fixed(held)}, {place}" for value, held, place in ends]
        rows.append(row)
    return table(rows, ["trained → held out, bits", *(f"at {bits:g}" for bits in levels(record))])


# ---------------------------------------------------------------------------------------------
# Figures
# ---------------------------------------------------------------------------------------------


def draw_band(ax: Axes, bits: Sequence[float], low: Sequence[float], label: str) -> None:
    """The band as what lies between both ends, measured from the upper end."""
    below = np.subtract(low, bits)
    ax.fill_between(bits, below, 0, color="0.85", label=label)
    ax.plot(bits, np.zeros(len(bits)), color=figures.COLOURS["truth"], lw=1.2)


def draw_lines(ax: Axes, lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> None:
    """Values minus the upper end, a line for each estimator: name → (bits, values)."""
    for name, (bits, values) in lines.items():
        bound = {"dv": "donsker_varadhan"}.get(name, name.partition(":")[0])
        ax.plot(bits, np.subtract(values, bits), MARKS[name], ms=5, lw=1.4, label=name,
                color=figures.COLOURS[bound])  # fmt: skip


def panels(
    shown: Mapping[str, tuple[Sequence[float], Sequence[float], Mapping]], label: str
) -> tuple[Figure, dict[str, list]]:
    """A panel for each title: its band and its lines; returns the figure and its arrays.

    Args:
        shown: title → (bits of the levels, lower ends, lines as :func:`draw_lines` takes them).
        label: of the band.
    """
    fig, axes = plt.subplots(
        len(shown), 1, figsize=(6.4, 1.2 + 3.1 * len(shown)), sharex=True, layout="constrained",
        squeeze=False,
    )  # fmt: skip
    arrays = {}
    for ax, (title, (bits, ends, lines)) in zip(axes[:, 0], shown.items(), strict=True):
        draw_band(ax, bits, ends, label)
        draw_lines(ax, lines)
        ax.set(title=title, ylabel="value − upper end (bits)")
        arrays[f"{title.split()[0]} low"] = list(ends)
        arrays |= {f"{title.split()[0]} {name}": list(each) for name, (_, each) in lines.items()}
    axes[-1, 0].set(xlabel="upper end: bits that the labels share", xticks=bits)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), fontsize=8.5, ncols=3,
               loc="outside lower center")  # fmt: skip
    return fig, arrays


# ---------------------------------------------------------------------------------------------
# Sliders
# ---------------------------------------------------------------------------------------------

ALT = ("Bits against the flip probability: a grey band between what the labels share and what a "
       "classifier of the samples can prove, the ceiling of CPC and the higher one of ML-CPC as "
       "horizontal lines, and recorded values as points.")  # fmt: skip
KEYS = (
    ("#999", "band"), ("#d55e00", "CPC"), ("#0072b2", "ML-CPC"), ("#009e73", "DV"),
)  # fmt: skip


def recorded(record: Record, names: Sequence[str]) -> dict:
    """What the sliders need of a record: confusion, flips, values at each level, α of ML-CPC."""
    settings = config(record)
    return {
        "confusion": record.arrays["confusion"], "sources": settings.sources,
        "batch": settings.batch, "flips": list(settings.channel.values()),
        "bits": levels(record),
        "values": {name: [None if np.isnan(each) else round(each, 4)
                          for each in means(record, name)] for name in names},
    }  # fmt: skip


def sliders(record: Record, names: Sequence[str]) -> str:
    """The figure with sliders as HTML; ``book/_static/known.js`` draws it, without a kernel.

    Args:
        record: whose confusion gives the lower end, and whose values are the points.
        names: estimators whose values are shown, ML-CPC with the weights that were recorded.
    """
    data = html.escape(json.dumps(recorded(record, names)))
    best = sameclass.information(config(record).sources) / sameclass.information(1)
    inputs = (
        ("sources", "sources <i>d<sub>s</sub></i>", 1, 20, 1, config(record).sources),
        ("flip", "flip <i>p</i>", 0, 0.5, 0.005, 0),
        ("m", "candidates <i>m</i>, log2", 1, 12, 1, int(np.log2(config(record).batch))),
        ("alpha", "weight <i>&alpha;</i>, log10", -4, 0, 0.05, -1.35),
    )
    key = "".join(f'<span class="known-key"><i style="background:{colour}"></i>{text}</span>'
                  for colour, text in KEYS)
    labels = "".join(
        f'<label><span>{title}</span><input data-known="{name}" type="range" min="{least}" '
        f'max="{most}" step="{step}" value="{value}"><output data-known="{name}-value"></output>'
        "</label>"
        for name, title, least, most, step, value in inputs
    )
    return (
        f'<div class="caps" data-known="root" data-recorded="{data}">'
        f'<svg data-known="chart" viewBox="0 0 420 300" role="img" aria-label="{ALT}"></svg>'
        f'<p class="caps-key">{key}</p>{labels}'
        f'<p data-known="summary" aria-live="polite">Without JavaScript: {best:.0f} sources '
        f"without a flip share {best:.0f} bits; CPC says at most log m, ML-CPC at most "
        "log(m/&alpha;), and the figure above shows the recorded values.</p></div>"
    )


def metric(record: Record, kind: str, estimator: str, bits: float) -> Metric:
    """A metric of a record, such as the value of an estimator at a level."""
    return record.metrics[metric_name(kind, estimator, bits)]
