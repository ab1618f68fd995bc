"""The sweep behind the chapter "Choosing α": ML-CPC over weights, batches, tasks and information.

    python benchmarks/choosing_alpha.py              write results/choosing-alpha.json
    python benchmarks/choosing_alpha.py --steps 50 --seeds "(0, 1)" --name choosing-alpha-small

Weights are multiples of α_min of their batch, up to α = 1, with CPC at α = 1 beside them. Networks
have the size of those of ``mlcpc.estimate``. A killed sweep goes on where it was.
"""

import argparse
import hashlib
import json
import math
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from mlcpc import bounds, estimation, runs
from mlcpc.__main__ import add_config, config_from

CODE = ["benchmarks/choosing_alpha.sweep", "runs.metric"]


@dataclass(frozen=True)
class SweepConfig:
    """What the sweep trains.

    Args:
        tasks: pairs of a task of the staircase and its dimension.
        batches: batch sizes n = m, all negatives from the batch.
        levels: true information of each level, in nats.
        ratios: weights as multiples of α_min; those that reach 1 are replaced by α = 1.
        steps: training steps of each level.
        seeds: seeds of samples and first weights.
        width: units of each hidden layer of the critic.
        depth: hidden layers of the critic.
        learning_rate: step size of Adam.

    Raises:
        ValueError: a value outside its range; no step is trained before.
    """

    tasks: tuple[tuple[str, int], ...] = (
        ("gaussian", 20),
        ("cubic", 20),
        ("gaussian-rotated", 5),
        ("cubic-rotated", 10),
    )
    batches: tuple[int, ...] = (16, 64, 256)
    levels: tuple[float, ...] = (2.0, 6.0, 10.0)
    ratios: tuple[float, ...] = (0.0625, 0.25, 1.0, 4.0, 16.0, 64.0)
    steps: int = 1200
    seeds: tuple[int, ...] = (0, 1, 2)
    width: int = 128
    depth: int = 2
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("tasks", "batches", "ratios"):
            value = getattr(self, name)
            if not value or len(set(value)) < len(value):
                raise ValueError(f"{name} is {value}; valid: at least one, no value twice")
        if not all(0 < ratio < math.inf for ratio in self.ratios):
            raise ValueError(f"ratios is {self.ratios}; valid: above 0")
        list(self.staircases())

    def staircases(self) -> Iterator[estimation.StaircaseConfig]:
        """One staircase for each task and batch."""
        for task, dim in self.tasks:
            for batch in self.batches:
                yield estimation.StaircaseConfig(
                    task=task,
                    dim=dim,
                    batch=batch,
                    levels=self.levels,
                    steps=self.steps,
                    seeds=self.seeds,
                    seeds_at_once=len(self.seeds),
                    estimators=("cpc:1", *map("ml_cpc:{:g}".format, weights(batch, self.ratios))),
                    width=self.width,
                    depth=self.depth,
                    learning_rate=self.learning_rate,
                )


def weights(batch: int, ratios: tuple[float, ...]) -> list[float]:
    """Multiples of α_min below 1, and 1, with four digits, rounded up: at α_min is not below it."""
    edge = bounds.alpha_min(batch, batch)
    found = {_rounded_up(ratio * edge) for ratio in ratios if ratio * edge < 1}
    return sorted(found | {1.0})


def _rounded_up(value: float) -> float:
    unit = 10.0 ** (math.floor(math.log10(value)) - 3)
    return float(f"{math.ceil(value / unit) * unit:.4g}")


def key(kind: str, staircase: estimation.StaircaseConfig, estimator: str, level: float) -> str:
    """Name of a metric, such as ``mse gaussian-20 n=64 ml_cpc:1 at 6``."""
    place = f"{staircase.task}-{staircase.dim} n={staircase.batch}"
    return f"{kind} {place} {estimator} at {level:g}"


def sweep(config: SweepConfig, scratch: Path, progress: bool = True) -> tuple[dict, list, float]:
    """Metrics (bias and mean squared error), warnings, and the seconds that the training took."""
    metrics, warnings, seconds = {}, [], 0.0
    for staircase in config.staircases():
        place = f"{staircase.task}-{staircase.dim} n={staircase.batch}"
        curves = estimation.staircase(staircase, scratch=scratch / place, progress=progress)
        for cell in estimation.summarise(curves):
            if cell.diverged:
                raise RuntimeError(f"{place} {cell.estimator}: seeds {cell.diverged} diverged")
            for kind in ("bias", "mse"):
                metrics[key(kind, staircase, cell.estimator, cell.truth)] = getattr(cell, kind)
        warnings += [f"{place} {each}" for each in estimation.warnings(curves)]
        seconds += curves.seconds
    return metrics, warnings, seconds


def profile_of(config: SweepConfig) -> str:
    """A run as long as that of the book, with as many seeds, is "full"."""
    least = SweepConfig()
    long = config.steps >= least.steps and len(config.seeds) >= len(least.seeds)
    return "full" if long else "quick"


def command_of(config: SweepConfig, name: str) -> str:
    changed = [
        f"--{each.name} {shlex.quote(str(getattr(config, each.name)))}"
        for each in fields(config)
        if getattr(config, each.name) != each.default
    ]
    named = [] if name == "choosing-alpha" else [f"--name {name}"]
    return " ".join(["python benchmarks/choosing_alpha.py", *changed, *named])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_config(parser, SweepConfig)
    parser.add_argument("--name", default="choosing-alpha", help="name of the record")
    options = parser.parse_args(arguments)
    try:
        config = config_from(options, SweepConfig)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    code = runs.code_hash(CODE)
    # Checkpoints of other settings or of other code are not these: their folder has another name.
    content = json.dumps([asdict(config), code], sort_keys=True).encode()
    digest = hashlib.sha256(content).hexdigest()[:12]
    scratch = runs.results() / f".{options.name}-{digest}.partial"
    metrics, warnings, seconds = sweep(config, scratch)
    record = runs.Record(
        name=options.name,
        chapter="10_choosing_alpha",
        profile=profile_of(config),
        command=command_of(config, options.name),
        config=json.loads(json.dumps(asdict(config))),
        seeds=list(config.seeds),
        metrics=metrics,
        arrays={"warnings": warnings},
        provenance=runs.provenance(code, seconds),
    )
    print(f"wrote {runs.write(record)}")
    for path in sorted(scratch.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    scratch.rmdir()
    return 0


if __name__ == "__main__":
    sys.exit(main())
