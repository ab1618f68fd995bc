"""Estimators of several packages on the same samples: errors, who is closest, who solves what.

A row of a race is what one method said of one sample: a ``value`` in nats, or why it ``failed`` or
was ``skipped``, as ``benchmarks/peers.py`` records it. A method is named by (package, method).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mlcpc.book import figures
from mlcpc.book.tables import Table, fixed, table
from mlcpc.records import Record

Method = tuple[str, str]
OURS, SCORES = ("mlcpc", "estimate"), ("mlcpc", "normal scores")
CCA, KSG, KSG_SCORES = (("benchmark-mi", each) for each in ("CCA", "KSG", "KSG, scores"))
SHORT = {  # method → short name: b of benchmark-mi, t of torch-mist, s on normal scores
    OURS: "ours", SCORES: "scores", CCA: "CCA", KSG: "KSG", KSG_SCORES: "sKSG",
    ("benchmark-mi", "InfoNCE"): "bNCE", ("torch-mist", "smile"): "tSMILE",
    ("torch-mist", "mine"): "tMINE", ("ennemi", "estimate_mi"): "ennemi",
    ("ennemi", "estimate_mi, scores"): "sennemi",
    ("scikit-learn", "mutual_info_regression"): "sklearn",
    ("scikit-learn", "mutual_info_regression, scores"): "ssklearn",
}  # fmt: skip
SOLVED = 1.5  # the benchmark of Czyż et al. 2023: solved is within this factor of the truth
_SAMPLES = 4000  # bootstrap samples of the problems


def word(value: float, truth: float) -> str:
    """``low``, ``solved`` or ``high``, by the rule of the benchmark."""
    if value <= 0 or value < truth / SOLVED:
        return "low"
    return "high" if value > SOLVED * truth else "solved"


@dataclass(frozen=True)
class Race:
    """What every method said of every problem; made by :func:`race`.

    Args:
        truth: problem → information in nats.
        rows: method → problem → seed of the sample → row.
        family: method → its kind, such as neural.
        short: method → short name, of those that are compared, in their order.
        ours: the method that others are compared with.
    """

    truth: Mapping[str, float]
    rows: Mapping[Method, Mapping[str, Mapping[int, Mapping[str, Any]]]]
    family: Mapping[Method, str]
    short: Mapping[Method, str]
    ours: Method

    def row(self, method: Method, problem: str, seed: int = 0) -> Mapping[str, Any]:
        return self.rows[method].get(problem, {}).get(seed, {"skipped": "not run"})

    def draws(self, method: Method) -> list[int]:
        """Seeds of the samples that it was run on."""
        return sorted({seed for of in self.rows[method].values() for seed in of})

    def value(self, method: Method, problem: str, seed: int | None = None) -> float:
        """In nats, of one draw or the mean of all; NaN where there is none."""
        asked = self.draws(method) if seed is None else [seed]
        values = [self.row(method, problem, each).get("value", math.nan) for each in asked]
        return float(np.mean(values))

    def failed(self, method: Method, problem: str) -> str:
        """Why one of its draws failed, or nothing."""
        rows = [self.row(method, problem, seed) for seed in self.draws(method)]
        return next((row["failed"] for row in rows if "failed" in row), "")

    def error(self, method: Method, problem: str, seeds: Iterable[int] | None = None) -> float:
        """Mean |value − truth| over draws; infinite for a failure, NaN where it was not run."""
        if self.failed(method, problem):
            return math.inf
        asked = self.draws(method) if seeds is None else seeds
        off = [self.value(method, problem, seed) - self.truth[problem] for seed in asked]
        return float(np.mean(np.abs(off)))

    def takes(self, method: Method, problems: Iterable[str]) -> list[str]:
        """Problems that it was run on."""
        return [name for name in problems if not math.isnan(self.error(method, name))]

    def solved(self, method: Method, problems: Iterable[str]) -> int:
        """How many problems the mean of its draws says within the factor."""
        return sum(word(self.value(method, name), self.truth[name]) == "solved"
                   for name in self.takes(method, problems)
                   if not self.failed(method, name))  # fmt: skip

    def median(
        self, method: Method, problems: Sequence[str], seeds: Iterable[int] | None = None
    ) -> float:
        return float(np.median([self.error(method, name, seeds) for name in problems]))

    def resampled(
        self, method: Method, problems: Sequence[str], seeds: Iterable[int] | None = None
    ) -> np.ndarray:
        """Median errors of bootstrap samples of the problems, the same samples for everyone."""
        draws = np.random.default_rng(0).integers(len(problems), size=(_SAMPLES, len(problems)))
        errors = np.array([self.error(method, name, seeds) for name in problems])
        return np.median(errors[draws], axis=1)

    def winner(self, problem: str, methods: Iterable[Method]) -> Method:
        """Who of these is closest."""
        return min((each for each in methods if self.takes(each, [problem])),
                   key=lambda each: self.error(each, problem))  # fmt: skip

    def best_of(self, package: str, problems: Sequence[str]) -> Method | None:
        """The method of a package, not ours, with the lowest median among those that ran on all."""
        whole = [each for each in self.short if each[0] == package and each != self.ours
                 and len(self.takes(each, problems)) == len(problems)]  # fmt: skip
        return min(whole, default=None, key=lambda each: self.median(each, problems))


def race(
    records: Sequence[Record], truth: Mapping[str, float], short: Mapping[Method, str], ours: Method
) -> Race:
    """Join records of packages that were given the same samples.

    Args:
        records: ours first, which holds all problems; its samples are those of all.
        truth: problem → information in nats, in the order of tables and figures.
        short: short names of the methods to compare; those without a row are left out.
        ours: the method that others are compared with.

    Raises:
        ValueError: a record with other truths, or with other samples than the first.
    """
    digests = records[0].arrays["digests"]
    if records[0].arrays["truths"] != dict(truth):
        raise ValueError(f"{records[0].name} has other problems or truths than truth")
    rows: dict[Method, dict[str, dict[int, Mapping]]] = {}
    family = {}
    for record in records:
        for name, mi in record.arrays["truths"].items():
            if (mi, record.arrays["digests"][name]) != (truth[name], digests[name]):
                raise ValueError(
                    f"{record.name} has other samples of {name} than {records[0].name}"
                )
        package = record.config["package"]
        for row in record.arrays["rows"]:
            of_method = rows.setdefault((package, row["method"]), {})
            of_method.setdefault(row["problem"], {})[row["seed"]] = row
        for method, how in record.config["methods"].items():
            family[package, method] = how["family"]
    return Race(truth, rows, family, {k: v for k, v in short.items() if k in rows}, ours)


def values(of: Race, methods: Sequence[Method], starred: Iterable[str] = ()) -> Table:
    """What each method says of each problem in nats, the mean of its draws."""
    starred, lines = set(starred), []
    for name, truth in of.truth.items():
        line = [name + (" *" if name in starred else ""), fixed(truth, 3)]
        for method in methods:
            value = of.value(method, name)
            line.append("failed" if of.failed(method, name)
                        else "." if math.isnan(value) else fixed(value, 3))  # fmt: skip
        lines.append(line)
    return table(lines, ["nats", "truth", *(of.short.get(each, each[1]) for each in methods)])


def closest(of: Race, problems: Sequence[str], title: str) -> Table:
    """A row for each method, the lowest median error first, over the problems that it takes."""
    taken = {each: of.takes(each, problems) for each in of.short}
    order = sorted((each for each in taken if taken[each]),
                   key=lambda each: of.median(each, taken[each]))  # fmt: skip
    rows = []
    for each in order:
        low, high = np.quantile(of.resampled(each, taken[each]), [0.025, 0.975])
        seconds = np.median([of.row(each, n).get("cpu_seconds", math.nan) for n in taken[each]])
        rows.append([
            of.short[each], str(len(of.draws(each))), fixed(of.median(each, taken[each]), 3),
            f"{fixed(low, 3)} to {fixed(high, 3)}",
            f"{of.solved(each, taken[each])} of {len(taken[each])}", fixed(seconds),
        ])  # fmt: skip
    header = [title, "draws", "median |error|, nats", "interval", "solved", "seconds of one core"]
    return table(rows, header)


def against(of: Race, lists: Mapping[str, Sequence[str]]) -> Table:
    """Ours against the best method of each package, on each list, over the draws of both."""
    rows = []
    for title, problems in lists.items():
        for package in dict.fromkeys(method[0] for method in of.short):
            best = of.best_of(package, problems)
            if best is None:
                continue
            both = [seed for seed in of.draws(best) if seed in of.draws(of.ours)]
            theirs, mine = (of.median(each, problems, both) for each in (best, of.ours))
            lists_of = [of.resampled(each, problems, both) for each in (of.ours, best)]
            often = (lists_of[0] <= lists_of[1]).mean()
            rows.append([title, of.short[best], str(len(both)), fixed(theirs, 3), fixed(mine, 3),
                         "no worse" if mine <= theirs else "worse", f"{often:.0%}"])  # fmt: skip
    return table(rows, ["problems", "rival", "draws", "its median", "ours", "ours is",
                        "no worse in resampled lists"])  # fmt: skip


def dots(
    of: Race,
    methods: Sequence[Method],
    panels: Mapping[str, Sequence[str]],
    starred: Iterable[str] = (),
) -> Figure:
    """Value / truth of a few methods, a row for each problem and a panel for each list."""
    starred, names = set(starred), list(panels.values())
    fig, axes = plt.subplots(
        len(panels), 1, figsize=(6.4, 0.26 * sum(map(len, names)) + 1), sharex=True,
        layout="constrained", squeeze=False, height_ratios=[len(each) for each in names],
    )  # fmt: skip
    colours = ("ml_cpc", "donsker_varadhan", "cpc", "nwj")
    for ax, (title, problems) in zip(axes[:, 0], panels.items(), strict=True):
        ax.axvspan(1 / SOLVED, SOLVED, alpha=0.15, color="grey")
        for method, marker, colour in zip(methods, "ox^s", colours, strict=False):
            said = [of.value(method, name) / of.truth[name] for name in problems]
            ax.plot(np.clip(said, 0, 1.6), range(len(problems)), marker,
                    color=figures.COLOURS[colour], label=of.short[method])  # fmt: skip
        labels = [name + (" *" if name in starred else "") for name in problems]
        ax.set_yticks(range(len(problems)), labels, fontsize=7)
        ax.invert_yaxis()
        ax.set_title(title)
    axes[0, 0].legend(loc="upper left")
    axes[-1, 0].set_xlabel("estimate / truth, at most 1.6")
    figures.keep("fig-beyond-errors", said=np.array(
        [[of.value(each, name) for name in of.truth] for each in methods]))  # fmt: skip
    return fig
