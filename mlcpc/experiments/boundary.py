"""The phase diagram of J − I: where a search finds the multi-label value above the information."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlcpc import bounds, exact
from mlcpc.config import Config, setting
from mlcpc.experiments.base import Cell, Experiment, Result
from mlcpc.records import Metric


@dataclass(frozen=True)
class BoundaryConfig(Config):
    """The grid of designs, sizes, weights and seeds that is searched.

    Settings are declared with their help and range; ``mlcpc run boundary --help`` lists them.
    """

    sizes: tuple[tuple[int, int], ...] = setting(
        ((1, 2), (2, 2), (2, 3), (3, 2), (3, 3)),
        "pairs n x m that are searched with independent and with shared negatives", least=1,
    )  # fmt: skip
    batch_sizes: tuple[int, ...] = setting(
        (2, 3, 4), "values of n = m that are searched with negatives from the batch", least=2
    )
    ratios: tuple[float, ...] = setting(
        (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0, 1.2, 1.5),
        "values of alpha over alpha_min; those with alpha above m are left out", above=0,
    )  # fmt: skip
    alphabet: tuple[int, int] = setting((2, 2), "sizes of the two alphabets", least=1)
    seeds: tuple[int, ...] = setting((0, 1, 2), "random seeds of the search", least=0)
    restarts: int = setting(32, "starting points of one search", least=1)
    steps: int = setting(400, "ascent steps of one search", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        for n, m in self.sizes:
            bounds.alpha_min(n, m)


class Boundary(Experiment):
    """Search for joints and critics whose multi-label value exceeds the information."""

    name, Config = "boundary", BoundaryConfig
    tiny = BoundaryConfig(
        sizes=((1, 2),), batch_sizes=(2,), ratios=(0.5, 1.0), seeds=(0,), restarts=2, steps=5
    )

    def cells(self, config: BoundaryConfig) -> list[Cell]:
        places = [(n, m, design) for n, m in config.sizes for design in ("independent", "shared")]
        places += [(n, n, "in_batch") for n in config.batch_sizes]
        search = {"alphabet": config.alphabet, "restarts": config.restarts, "steps": config.steps}
        return [
            Cell(
                f"{design}-{n}x{m}-{ratio:g}-seed-{seed}",
                {"n": n, "m": m, "design": design, "ratio": ratio, "seed": seed, **search},
            )
            for n, m, design in places
            for ratio in config.ratios
            if ratio * bounds.alpha_min(n, m) <= m
            for seed in config.seeds
        ]

    def run(
        self, cell: Cell, config: BoundaryConfig, inputs: Mapping[str, Result], job: Any
    ) -> Result:
        each = cell.settings
        worst = exact.search(
            bounds.ml_cpc, each["n"], each["m"],
            each["ratio"] * bounds.alpha_min(each["n"], each["m"]), each["design"],
            config.alphabet, each["seed"], config.restarts, config.steps,
        )  # fmt: skip
        return Result({"gap": worst.gap})

    def metrics(self, config: BoundaryConfig, results: Mapping[str, Result]) -> dict[str, Metric]:
        inside = [
            max((row[-1] for row in self.rows(config, results) if row[3] >= 1 and row[4] == seed),
                default=0.0)
            for seed in config.seeds
        ]  # fmt: skip
        return {"largest J - I at or above alpha_min": Metric("nats", tuple(inside))}

    def arrays(self, config: BoundaryConfig, results: Mapping[str, Result]) -> dict[str, Any]:
        return {"rows": self.rows(config, results)}

    def rows(self, config: BoundaryConfig, results: Mapping[str, Result]) -> list[list[float]]:
        """[design, n, m, ratio, seed, gap] of every search."""
        found = []
        for cell in self.cells(config):
            each = cell.settings
            place = [each[key] for key in ("n", "m", "ratio", "seed")]
            design = exact.DESIGNS.index(each["design"])
            found.append([design, *place, results[cell.name].values["gap"]])
        return found

    def full(self, config: BoundaryConfig) -> bool:
        """Say whether each search is as long as the book's, with as many seeds."""
        least = BoundaryConfig()
        long = config.restarts >= least.restarts and config.steps >= least.steps
        return long and len(config.seeds) >= len(least.seeds)


EXPERIMENT = Boundary()
