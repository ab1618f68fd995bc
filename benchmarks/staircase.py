r"""What a staircase costs: ours, all curves in one stack, against the usual loop, one curve a run.

    python benchmarks/staircase.py                   both critics, ratios, share of the product rate
    python benchmarks/staircase.py --critics joint --steps 20 --rounds 3
    python benchmarks/staircase.py --record          also write results/staircase-speed.json

Every measurement is a process of its own. Ours runs as its command does with ``--jobs``: for each
core a process with one thread and a stack of all ten curves of one seed; the loop has all threads.
A round runs each implementation once, one after the other; ratios are taken inside a round, so that
a slow minute of the machine hits both sides.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mlcpc import critics, estimators, problems, records
from mlcpc.experiments import staircase
from mlcpc.records import Metric

# ---------------------------------------------------------------------------------------------
# The usual loop: one estimator, one critic, everything written out
# ---------------------------------------------------------------------------------------------


def perceptron(inputs: int, config: critics.CriticConfig, outputs: int) -> nn.Sequential:
    layers, widths = [], [inputs, *[config.width] * config.depth]
    for a, b in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))


class LoopSeparable(nn.Module):
    def __init__(self, dim: int, config: critics.CriticConfig) -> None:
        super().__init__()
        self.of_x = perceptron(dim, config, config.embedding)
        self.of_y = perceptron(dim, config, config.embedding)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.of_x(x) @ self.of_y(y).T


class LoopJoint(nn.Module):
    def __init__(self, dim: int, config: critics.CriticConfig) -> None:
        super().__init__()
        self.of_pair = perceptron(2 * dim, config, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        n = len(x)
        pairs = torch.cat([x.repeat_interleave(n, dim=0), y.repeat(n, 1)], dim=1)
        return self.of_pair(pairs).view(n, n)


def loop_cpc(scores: Tensor, alpha: float) -> Tensor:
    n = len(scores)
    weights = torch.full((n, n), math.log((n - alpha) / (n - 1)), dtype=scores.dtype)
    weights.fill_diagonal_(math.log(alpha))
    return math.log(n) + (scores.diag() - (scores + weights).logsumexp(1)).mean()


def loop_ml_cpc(scores: Tensor, alpha: float) -> Tensor:
    n = len(scores)
    weights = torch.full((n, n), math.log((n - alpha) / (n - 1)), dtype=scores.dtype)
    weights.fill_diagonal_(math.log(alpha))
    return 2 * math.log(n) + scores.diag().mean() - (scores + weights).flatten().logsumexp(0)


def loop_critic(config: staircase.StaircaseConfig) -> nn.Module:
    kinds = {"separable": LoopSeparable, "joint": LoopJoint}
    return kinds[config.critic](config.dim, config.critic_config())


def loop(
    config: staircase.StaircaseConfig, estimator: str, critic: nn.Module, seed: int
) -> Iterator[float]:
    """Values of the steps of one estimator."""
    bound, alpha = estimator.split(":")
    value_of = {"cpc": loop_cpc, "ml_cpc": loop_ml_cpc}[bound]
    optimiser = torch.optim.Adam(critic.parameters(), lr=config.learning_rate)
    generator = torch.Generator().manual_seed(estimators.SAMPLE_SEED + seed)
    for problem in problems.staircase(config.task, config.levels, config.dim):
        for _ in range(config.steps):
            x, y = problem.sample(config.batch, generator)
            optimiser.zero_grad()
            value = value_of(critic(x, y), float(alpha))
            (-value).backward()
            optimiser.step()
            yield value.item()


# ---------------------------------------------------------------------------------------------
# One measurement, in a process of its own
# ---------------------------------------------------------------------------------------------


def gigaflops(config: staircase.StaircaseConfig) -> float:
    """Matrix products of one curve's training step, forward and both gradients, in 10⁹."""
    n, d, h, e = config.batch, config.dim, config.width, config.embedding
    if config.critic == "separable":
        network = d * h + (config.depth - 1) * h * h + h * e
        multiplications = 2 * n * network + n * n * e
    else:
        multiplications = 2 * n * d * h + n * n * ((config.depth - 1) * h * h + h)
    return 3 * 2 * multiplications / 1e9


def product_rate() -> float:
    """Gigaflops a second of a large single-precision product on this machine."""
    a = torch.randn(2048, 2048)
    best = math.inf
    for _ in range(6):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * 2048**3 / best / 1e9


def measure(name: str, config: staircase.StaircaseConfig, steps: int) -> float:
    """Milliseconds of a step of one curve."""
    many = len(config.estimators)
    if name == "ours":
        staircase._BLOCK = steps
        stack = staircase.StaircaseStack(config)
        stack.begin(0)
        for step in range(3):
            stack.step(0, min(step, steps - 1))
        start = time.perf_counter()
        stack.begin(1)
        for step in range(steps):
            stack.step(1, step)
        stack.end(1)
        return 1e3 * (time.perf_counter() - start) / steps / many
    seconds = []
    for estimator in (config.estimators[0], config.estimators[-1]):
        values = loop(config, estimator, loop_critic(config), 0)
        for _ in range(5):
            next(values)
        start = time.perf_counter()
        for _ in range(steps):
            next(values)
        seconds.append((time.perf_counter() - start) / steps)
    return 1e3 * statistics.mean(seconds)


def in_own_processes(name: str, critic: str, steps: int, threads: int, jobs: int = 1) -> float:
    """What one process measures; with more jobs, all at once, their mean over their number."""
    command = [sys.executable, __file__, "--child", name, critic, str(steps), str(threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(jobs)
    ]
    printed = [each.communicate()[0] for each in started]
    if any(each.returncode for each in started):
        raise RuntimeError(f"{' '.join(command)} failed")
    return statistics.mean(json.loads(each.splitlines()[-1]) for each in printed) / jobs


def child(name: str, critic: str, steps: str, threads: str) -> None:
    torch.set_num_threads(int(threads))
    if name == "rate":
        print(product_rate())
        return
    config = staircase.StaircaseConfig(critic=critic, seeds=(0,))
    print(measure(name, config, int(steps)))


TARGETS = {"separable": 1.8, "joint": 1.2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--critics", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--steps", type=int, help="steps of a measurement (100, joint: 6)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--record", action="store_true", help="write results/staircase-speed.json")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(*options.child)
    start, metrics, steps_of = time.perf_counter(), {}, {"separable": 100, "joint": 6}
    for critic in options.critics:
        steps = options.steps or steps_of[critic]
        rounds = []
        for _ in range(options.rounds):
            loop_ = in_own_processes("loop", critic, steps, options.threads)
            ours = in_own_processes("ours", critic, steps, 1, jobs=options.threads)
            rate = in_own_processes("rate", critic, steps, options.threads)
            rounds.append((loop_, ours, rate))
            print(f"  {critic}: loop {loop_:.2f} ms, ours {ours:.2f} ms a curve", file=sys.stderr)
        floor = gigaflops(staircase.StaircaseConfig(critic=critic))
        ratios = [loop_ / ours for loop_, ours, _ in rounds]
        shares = [1e3 * floor / ours / rate for _, ours, rate in rounds]
        metrics |= {
            f"{critic} loop": Metric("ms", tuple(each[0] for each in rounds), "round"),
            f"{critic} ours": Metric("ms", tuple(each[1] for each in rounds), "round"),
            f"{critic} ratio": Metric("times", tuple(ratios), "round"),
            f"{critic} share of product rate": Metric("share", tuple(shares), "round"),
        }
        ratio, limit = statistics.median(ratios), TARGETS[critic]
        print(
            f"{'met   ' if ratio >= limit else 'MISSED'} {critic}: loop over ours, per curve "
            f"{ratio:.2f}, at least {limit}; share of the product rate "
            f"{statistics.median(shares):.2f}"
        )
    if options.record:
        settings = {key: value for key, value in vars(options).items() if key != "child"}
        record = records.Record(
            name="staircase-speed",
            experiment="benchmarks/staircase.py",
            version=1,
            profile="full",
            command="python benchmarks/staircase.py --record",
            config=settings,
            seeds=[0],
            metrics=metrics,
            provenance=records.provenance(time.perf_counter() - start),
        )
        print(f"wrote {records.write(record)}")


if __name__ == "__main__":
    main()
