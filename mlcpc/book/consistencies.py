"""What pages show of the tests of self-consistency: verdicts, tables, three panels.

Trained critics and perfect ones are shown alike: both are metrics by the names of
:func:`mlcpc.experiments.consistency.name_of`, such as ``baseline t=4 cpc:1``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from mlcpc import bounds, statistics
from mlcpc.book import figures
from mlcpc.book.tables import Table, fixed, table
from mlcpc.experiments.consistency import ConsistencyConfig
from mlcpc.records import Metric

Metrics = Mapping[str, Metric]
WITHIN = 0.1  # of the ideal ratio, and nats of the baseline, that a test forgives
IDEAL = {"processing": 1, "additivity": 2}
MARKS = {"cpc:1": "o-", "ml_cpc:0.01": "s-", "ml_cpc:0.001": "^--", "smile:5": "D-."}


def colour(name: str) -> str:
    """Colour of an estimator, whatever its setting."""
    return figures.COLOURS[name.partition(":")[0]]


def passed(found: Metrics, rows: Sequence[int], ratio_rows: Sequence[int], name: str) -> dict:
    """Which tests the means over seeds of an estimator pass, each within a tenth."""
    baseline = [found[f"baseline t={t} {name}"].mean for t in rows]
    pairs = zip(baseline, baseline[1:], strict=False)
    tests = {
        "zero at t = 0": abs(baseline[0]) < WITHIN,
        "never falls": all(after > before - WITHIN for before, after in pairs),
    }
    for test, ideal in IDEAL.items():
        ratios = [found[f"ratio {test} t={t} {name}"].mean for t in ratio_rows]
        tests[test] = all(abs(ratio - ideal) <= WITHIN for ratio in ratios)
    return tests


def passes_all(
    found: Metrics, rows: Sequence[int], ratio_rows: Sequence[int], names: Sequence[str]
) -> list[str]:
    """Estimators that pass every test."""
    return [name for name in names if all(passed(found, rows, ratio_rows, name).values())]


def verdicts(who: Mapping[str, Metrics], config: ConsistencyConfig) -> Table:
    """A row for each estimator and kind of critic, a column for each test."""
    rows, header = [], ["estimator", "critic"]
    for name in config.estimators:
        for kind, found in who.items():
            tests = passed(found, config.rows, config.ratio_rows, name)
            rows.append([name, kind, *("yes" if good else "no" for good in tests.values())])
    return table(rows, [*header, *tests])


def numbers(
    who: Mapping[str, Metrics], title: str, rows: Sequence[int], names: Sequence[str],
    truth: Sequence[float] = (),
) -> Table:  # fmt: skip
    """Means over seeds of one test: a row for each estimator and kind of critic, a column for t.

    Args:
        who: kind of critic → metrics.
        title: ``baseline`` or ``ratio additivity``, the first words of the metrics.
        rows: rows t of the columns.
        names: estimators.
        truth: what is true at each t, for a first row.
    """
    lines = [["", "counted", *map(fixed, truth)]] if truth else []
    for name in names:
        lines += [[name, kind, *(fixed(found[f"{title} t={t} {name}"].mean) for t in rows)]
                  for kind, found in who.items()]  # fmt: skip
    return table(lines, [title, "critic", *(f"t = {t}" for t in rows)])


def above(of_seeds: Metric, truth: float) -> bool:
    """Whether the 95 % interval of the mean over seeds lies above the truth."""
    interval = statistics.summary(of_seeds).interval
    return interval is not None and interval[0] > truth


def panels(
    found: Metrics, best: Metrics, truth: Mapping[int, float], config: ConsistencyConfig,
    title: str, promises: Mapping[str, str],
) -> tuple[Figure, dict[str, list]]:  # fmt: skip
    """Three tests: mean over seeds, bars from the lowest to the highest, perfect critics dotted.

    Returns:
        the figure, and the arrays that it draws.
    """
    fig, axes = plt.subplot_mosaic(
        [["baseline", "baseline"], ["processing", "additivity"]], figsize=(6.4, 7.2),
        layout="constrained",
    )  # fmt: skip
    top, arrays = axes["baseline"], {}
    fig.suptitle(title)
    top.plot(config.rows, [truth[t] for t in config.rows], color=figures.COLOURS["truth"],
             label="counted")  # fmt: skip
    ceiling = bounds.ceiling(config.batch)
    top.axhline(ceiling, ls="--", lw=1, color=figures.COLOURS["ceiling"])
    top.text(20, ceiling + 0.3, "log m", color=figures.COLOURS["ceiling"])
    top.set(ylabel="I(X; Y_t) (nats)", title="baseline")
    for test, ideal in IDEAL.items():
        axes[test].axhspan(ideal - WITHIN, ideal + WITHIN, color="0.9")
        axes[test].axhline(ideal, color=figures.COLOURS["truth"], lw=1)
        axes[test].set(title=f"{test}, ideal {ideal}", ylim=(0.65, 2.3),
                       xlabel="rows t that are kept")  # fmt: skip
    axes["processing"].set(ylabel="ratio to I(X; Y_t)")
    for name in config.estimators:
        for test, ax in axes.items():
            rows = config.rows if test == "baseline" else config.ratio_rows
            titles = [f"{'' if test == 'baseline' else 'ratio '}{test} t={t} {name}" for t in rows]
            trained = _series(ax, rows, [found[each] for each in titles], name, promises[name])
            arrays.setdefault(test, []).append(trained)
            if test != "processing":  # a perfect critic is on its line
                of_best = [best[each].mean for each in titles]
                ax.plot(rows, of_best, ":" + MARKS[name][0], lw=1, ms=7, mfc="none",
                        color=colour(name))  # fmt: skip
                arrays.setdefault(f"perfect_{test}", []).append(of_best)
    top.plot([], [], "ko:", mfc="none", ms=7, lw=1, label="dotted: each with its perfect critic")
    fig.legend(*top.get_legend_handles_labels(), fontsize=8, loc="outside lower center")
    return fig, arrays


def _series(ax: Any, rows: Sequence[int], of_rows: list[Metric], name: str, said: str) -> list:
    """Draw the means of an estimator with bars over seeds; returns the means."""
    mean = [each.mean for each in of_rows]
    ends = zip(mean, of_rows, strict=True)
    bars = [(at - min(each.numbers), max(each.numbers) - at) for at, each in ends]
    ax.errorbar(rows, mean, list(zip(*bars, strict=True)), fmt=MARKS[name], ms=4, capsize=2,
                label=f"{name}, {said}", color=colour(name))  # fmt: skip
    return mean
