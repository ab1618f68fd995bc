"""A new experiment in one file: how far a coin is from fair."""

from dataclasses import dataclass

import torch

from mlcpc.config import Config, setting
from mlcpc.experiments.base import Cell, Experiment, Result
from mlcpc.records import Metric


@dataclass(frozen=True)
class CoinConfig(Config):
    """How often the coin is tossed."""

    tosses: int = setting(10, "tosses of the coin", least=1)
    seeds: tuple[int, ...] = setting(
        (0, 1), "random seeds; the coin is tossed anew for each", least=0
    )


class Coin(Experiment):
    """Toss a coin, for each seed."""

    name, Config, tiny = "coin", CoinConfig, CoinConfig(tosses=3)

    def cells(self, config):
        return [Cell(f"seed-{seed}", {"seed": seed, "tosses": config.tosses})
                for seed in config.seeds]  # fmt: skip

    def run(self, cell, config, inputs, job):
        generator = torch.Generator().manual_seed(cell.settings["seed"])
        heads = torch.randint(2, (config.tosses,), generator=generator).sum()
        return Result({"heads": int(heads)})

    def metrics(self, config, results):
        return {"heads": Metric("tosses", tuple(each.values["heads"] for each in results.values()))}


EXPERIMENT = Coin()
