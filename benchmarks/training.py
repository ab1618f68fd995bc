r"""What a step costs: of a pretraining, and of the contrast of a distillation.

    python benchmarks/training.py                       both tables, and whether targets are met
    python benchmarks/training.py --only ours-cpc usual --rounds 5
    python benchmarks/training.py --device cuda --only ours-cpc ours-ml-cpc bare --network ResNet18
    python benchmarks/training.py --record              also write what the book shows into results

A step of a pretraining is two views, the encoder forward and backward, its moving copy forward, the
loss, the optimiser and the queue. Ours runs beside the loop that everybody writes and beside
lightly's loss with its memory bank and its moving average, with the same model, views and images.
The bare networks are the encoder forward and backward and its copy forward, on views that are
ready: what a step costs beyond them is views, loss, queue, moving average and optimiser.

The contrast of a distillation is projections, draws of negatives, scores of both directions, loss,
backward and the update of both memories, with N = 50,000 images, K = 16,384 negatives, batch 64.
Ours makes all scores and picks; the literature's code picks the rows of the memory first. The
networks' own passes are the same for both, and not in it.

Processes, rounds, ratios and memory are as in ``allpairs.py``.
"""

import argparse
import copy
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import allpairs
import torch
import torch.nn.functional as F
from torch import Tensor

from mlcpc import datasets, distillation, encoders, images, memory, networks, records
from mlcpc.experiments import distill, pretrain
from mlcpc.experiments.pretrain import PretrainConfig
from mlcpc.records import Metric, Record
from mlcpc.training import generator

PRETRAIN = PretrainConfig(network="resnet8x2", stem_stride=2, temperature=0.2, objective="cpc")
SAMPLES, CLASSES, FEATURES = 50_000, 10, 256
DISTILL = distill.DistillConfig()  # its batch, negatives and lengths are the literature's


# ---------------------------------------------------------------------------------------------
# A step of a pretraining
# ---------------------------------------------------------------------------------------------


def ours(objective: str) -> Callable:
    def build(device: str) -> Callable[[int], object]:
        config = replace(PRETRAIN, objective=objective)
        train = datasets.load(config.dataset)
        accelerator = pretrain.accelerator_for(config, device)
        trainee = pretrain.Pretraining(config, 0, train, train, accelerator)
        trainee.begin(0)
        return lambda step: trainee.train_on(batch_of(len(train), step), 0, step)

    return build


def batch_of(count: int, step: int) -> Tensor:
    return torch.randperm(count, generator=generator(step))[: PRETRAIN.batch]


class Loop:
    """The usual loop: encoder, moving copy, views, optimiser, written out, in the usual layout."""

    def __init__(self, device: str) -> None:
        config = PRETRAIN
        self.train = datasets.load(config.dataset).to(device)
        channels = self.train.images.shape[1]
        encoder = encoders.untrained(0, in_channels=channels, **config.encoder())
        self.encoder = encoder.to(device).train()
        self.key_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.optimiser = torch.optim.SGD(
            self.encoder.parameters(),
            config.learning_rate,
            config.sgd_momentum,
            weight_decay=config.weight_decay,
        )

    def move(self) -> None:
        keep = PRETRAIN.key_momentum
        pairs = zip(self.key_encoder.parameters(), self.encoder.parameters(), strict=True)
        for moving, new in pairs:
            moving.data = moving.data * keep + new.data * (1 - keep)

    def views(self, step: int) -> tuple[Tensor, ...]:
        pixels = self.train.images[batch_of(len(self.train), step).to(self.train.images.device)]
        mean, std, views = self.train.mean, self.train.std, PRETRAIN.views()
        return tuple(
            images.view(pixels, mean, std, generator(step, which), views) for which in (0, 1)
        )

    def step(self, step: int) -> None:
        first, second = self.views(step)
        queries = self.encoder(first)
        with torch.no_grad():
            self.move()
            keys = self.key_encoder(second)
        loss = self.loss(queries, keys)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


class Usual(Loop):
    """Cross entropy of a matrix of logits, positives in its first column, and a ring of keys."""

    def __init__(self, device: str) -> None:
        super().__init__(device)
        self.queue = F.normalize(torch.randn(PRETRAIN.dim, PRETRAIN.queue), dim=0).to(device)
        self.place = 0

    def loss(self, queries: Tensor, keys: Tensor) -> Tensor:
        positive = torch.einsum("nc,nc->n", queries, keys)[:, None]
        negative = torch.einsum("nc,ck->nk", queries, self.queue.clone())
        logits = torch.cat([positive, negative], dim=1) / PRETRAIN.temperature
        self.queue[:, self.place : self.place + len(keys)] = keys.T
        self.place = (self.place + len(keys)) % self.queue.shape[1]
        labels = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        return F.cross_entropy(logits, labels)


class Lightly(Loop):
    def __init__(self, device: str) -> None:
        allpairs.lightly(None, None)  # imports it, or says why not
        from lightly.loss import NTXentLoss
        from lightly.models.utils import update_momentum

        super().__init__(device)
        self.update = update_momentum
        bank = (PRETRAIN.queue, PRETRAIN.dim)
        self.loss = NTXentLoss(PRETRAIN.temperature, memory_bank_size=bank).to(device)

    def move(self) -> None:
        self.update(self.encoder, self.key_encoder, PRETRAIN.key_momentum)


class Bare(Loop):
    """The networks of a step alone, in our layout of images."""

    def __init__(self, device: str) -> None:
        super().__init__(device)
        layout = {"memory_format": torch.channels_last}
        self.encoder, self.key_encoder = (
            each.to(**layout) for each in (self.encoder, self.key_encoder)
        )
        self.ready = [each.contiguous(**layout) for each in self.views(0)]
        self.slope = torch.randn(PRETRAIN.batch, PRETRAIN.dim).to(device)

    def step(self, step: int) -> None:
        with torch.no_grad():
            self.key_encoder(self.ready[1])
        self.encoder.zero_grad()
        (self.encoder(self.ready[0]) * self.slope).sum().backward()


# ---------------------------------------------------------------------------------------------
# The contrast of a distillation
# ---------------------------------------------------------------------------------------------


class RowGathering(memory.SampleMemory):
    """A memory that picks n·m rows and multiplies them, as the literature's code does."""

    def scores(self, queries: Tensor, positions: Tensor | None = None) -> Tensor:
        rows = self.vectors[positions.flatten()].view(*positions.shape, -1)
        return torch.bmm(rows, queries[:, :, None]).squeeze(2)


def contrast(objective: str, gathered: bool) -> Callable:
    def build(device: str) -> Callable[[int], object]:
        config = replace(DISTILL, objective=objective)
        labels = torch.arange(SAMPLES) % CLASSES
        module = distillation.Contrast(
            objective, FEATURES, FEATURES, labels, generator(0), **config.of_contrast
        )
        if gathered:
            for name in ("students", "teachers"):
                filled = getattr(module, name)
                rows = RowGathering(SAMPLES, config.dim, config.memory_momentum)
                rows.load_state_dict(filled.state_dict())
                setattr(module, name, rows)
        module.to(device).others.cpu()  # negatives are drawn there, as in a training

        def step(step: int) -> Tensor:
            index = torch.randperm(SAMPLES, generator=generator(step))[: config.batch]
            index = index.to(device)
            student, teacher = (
                torch.randn(len(index), FEATURES, generator=generator(step, side)).to(device)
                for side in (1, 2)
            )
            module.zero_grad()
            loss, *embedded = module(index, student.requires_grad_(), teacher, generator(step))
            loss.backward()
            module.remember(index, *(each.detach() for each in embedded))
            return loss.detach()

        return step

    return build


# ---------------------------------------------------------------------------------------------
# Measurements
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Implementation:
    """A line of a table: what runs, how it is made, images of a step, least steps of a process."""

    title: str
    build: Callable  # device -> callable of a step's number
    batch: int
    steps: int


PRETRAINED = ("ours-cpc", "ours-ml-cpc")
IMPLEMENTATIONS = {
    "ours-cpc": Implementation("CPC, ours", ours("cpc"), PRETRAIN.batch, 10),
    "ours-ml-cpc": Implementation("ML-CPC, ours", ours("ml_cpc"), PRETRAIN.batch, 10),
    "usual": Implementation(
        "CPC, the usual loop", lambda device: Usual(device).step, PRETRAIN.batch, 10
    ),
    "lightly": Implementation(
        "CPC, lightly's loss and memory bank", lambda device: Lightly(device).step,
        PRETRAIN.batch, 10,
    ),
    "bare": Implementation(
        "the bare networks", lambda device: Bare(device).step, PRETRAIN.batch, 10
    ),
} | {
    f"{kind}-{objective.replace('_', '-')}": Implementation(
        f"{title}, {kind}", contrast(objective, kind == "rows"), DISTILL.batch, 5
    )
    for objective, title in (("crd", "CRD"), ("ml_cpc", "ML-CPC"))
    for kind in ("scores", "rows")
}
PARTS = {
    "Pretraining, a step": ("ours-cpc", "ours-ml-cpc", "usual", "lightly", "bare"),
    "Distillation, the contrast of a step": ("scores-crd", "rows-crd", "scores-ml-cpc",
                                             "rows-ml-cpc"),
}  # fmt: skip
# Record of a part, and which times are divided by which.
RECORDS = {
    "Pretraining, a step": ("pretraining-speed", [
        (other, ours) for other in ("usual", "lightly", "bare") for ours in PRETRAINED
    ]),
    "Distillation, the contrast of a step": ("contrast-speed", [
        ("rows-crd", "scores-crd"), ("rows-ml-cpc", "scores-ml-cpc"),
    ]),
}  # fmt: skip


def measure(name: str, threads: int, device: str = "cpu") -> dict:
    torch.set_num_threads(threads)
    each = IMPLEMENTATIONS[name]
    torch.manual_seed(0)
    try:
        step = each.build(device)
    except (ImportError, RuntimeError, OSError) as error:
        return {"skipped": f"{type(error).__name__}: {error}".splitlines()[0]}
    before, count = allpairs.forget_peak(), itertools.count()

    def call() -> None:
        step(next(count))
        if device == "cuda":
            torch.cuda.synchronize()

    seconds = allpairs.times(call, each.steps)
    return {
        "milliseconds": [1e3 * one for one in seconds],
        "mebibytes": allpairs.status("VmHWM") - before,
    }


def in_own_process(name: str, threads: int, device: str = "cpu", network: str = "") -> dict:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, "--child", name, str(threads), "--device", device]
    command += ["--network", network or PRETRAIN.network]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no message"
        return {"skipped": f"exit {done.returncode}: {reason}"}
    return json.loads(done.stdout.splitlines()[-1])


def benchmark(
    names: list[str], rounds: int, threads: int, device: str = "cpu", network: str = ""
) -> dict:
    """name -> batch -> rounds of measurements, as ``allpairs.benchmark`` gives them."""
    table = {name: {IMPLEMENTATIONS[name].batch: []} for name in names}
    for round_ in range(rounds):
        for name in names:
            cells = table[name][IMPLEMENTATIONS[name].batch]
            if cells and "skipped" in cells[-1]:
                continue
            cells.append(in_own_process(name, threads, device, network))
            said = cells[-1].get("skipped") or f"{min(cells[-1]['milliseconds']):.1f} ms"
            print(f"  round {round_ + 1}, {name}: {said}", file=sys.stderr)
    return table


def targets(table: dict, device: str = "cpu") -> list[tuple[str, float, str, float]]:
    """Name, what was measured, "at most" or "at least", limit; only what was measured."""
    rows = []
    # A GPU has the power to hide the rest of a step behind its networks; two cores have not.
    if device == "cuda":
        for name in PRETRAINED:
            if found := allpairs.ratios(table, name, "bare", PRETRAIN.batch):
                said = f"{IMPLEMENTATIONS[name].title}: time of a step over its bare networks"
                rows.append((said, found["median"], "at most", 1.15))
    for other, title in (("usual", "the usual loop"), ("lightly", "lightly")):
        for name in PRETRAINED:
            if found := allpairs.ratios(table, other, name, PRETRAIN.batch):
                said = f"{IMPLEMENTATIONS[name].title}: images a second over {title}"
                rows.append((said, found["median"], "at least", 1.0))
    for objective, title in (("crd", "CRD"), ("ml-cpc", "ML-CPC")):
        pair = f"rows-{objective}", f"scores-{objective}"
        if found := allpairs.ratios(table, *pair, DISTILL.batch):
            rows.append((f"{title}: times as fast as gathered rows", found["median"],
                         "at least", 5.0))  # fmt: skip
            theirs, mine = (allpairs.peak(table, name, DISTILL.batch) for name in pair)
            rows.append((f"{title}: memory as a share of gathered rows'", mine / theirs,
                         "at most", 0.05))  # fmt: skip
    return rows


def show(table: dict, device: str = "cpu") -> None:
    for part, names in PARTS.items():
        print(f"\n{part}: ms median (minimum), images a second, extra MiB")
        for name in names:
            each = IMPLEMENTATIONS[name]
            cells = table.get(name, {}).get(each.batch, [])
            if not cells:
                continue
            if "skipped" in cells[-1]:
                print(f"  {each.title:38s} skipped: {cells[-1]['skipped']}")
                continue
            median = statistics.median(statistics.median(cell["milliseconds"]) for cell in cells)
            least = min(min(cell["milliseconds"]) for cell in cells)
            memory_ = allpairs.peak(table, name, each.batch)
            print(
                f"  {each.title:38s} {median:9.1f} ({least:.1f})"
                f" {1e3 * each.batch / median:8.0f} {memory_:8.1f}"
            )
    allpairs.show_targets(targets(table, device))


def records_of(table: dict, arguments: argparse.Namespace, seconds: float) -> list[Record]:
    """A record of each part that was measured: milliseconds, ratios of rounds, memory."""
    found = []
    for part, (name, pairs) in RECORDS.items():
        batches = {each: IMPLEMENTATIONS[each].batch for each in PARTS[part]}
        cells = {each: table.get(each, {}).get(batch, []) for each, batch in batches.items()}
        skipped = {each: of[-1]["skipped"] for each, of in cells.items()
                   if of and "skipped" in of[-1]}  # fmt: skip
        measured = {each: of for each, of in cells.items() if of and each not in skipped}
        if not measured:
            continue
        metrics = {}
        for each, of in measured.items():
            times = tuple(statistics.median(cell["milliseconds"]) for cell in of)
            metrics[f"{each} milliseconds"] = Metric("ms", times, "round")
            peaks = tuple(cell["mebibytes"] for cell in of)
            metrics[f"{each} extra memory"] = Metric("MiB", peaks, "round")
        for one, two in pairs:
            if ratio := allpairs.ratios(table, one, two, batches[one]):
                metrics[f"{one} over {two}"] = Metric("ratio", tuple(ratio["rounds"]), "round")
        command = "python benchmarks/training.py --record"
        if arguments.device != "cpu":
            name = f"{name}-{arguments.device}"
            command += f" --device {arguments.device} --network {arguments.network}"
        config = {each: getattr(arguments, each) for each in ("rounds", "threads", "device",
                                                              "network")}  # fmt: skip
        config |= {"batch": max(batches.values()), "skipped": skipped}
        config["titles"] = {each: IMPLEMENTATIONS[each].title for each in cells}
        found.append(Record(
            name=name, experiment="benchmarks/training.py", version=1, profile="full",
            command=command, config=config, seeds=[0], metrics=metrics,
            provenance=records.provenance(seconds, device=arguments.device),
        ))  # fmt: skip
    return found


def main() -> None:
    global PRETRAIN  # a child takes its network from the command line as well
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", nargs="+", choices=list(IMPLEMENTATIONS), metavar="NAME",
                        default=list(IMPLEMENTATIONS), help=", ".join(IMPLEMENTATIONS))  # fmt: skip
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--network", choices=networks.NETWORKS, metavar="NAME",
                        default=PRETRAIN.network, help="encoder of a pretraining")  # fmt: skip
    parser.add_argument("--record", action="store_true",
                        help=" and ".join(f"results/{name}.json" for name, *_ in RECORDS.values()))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    PRETRAIN = replace(PRETRAIN, network=arguments.network)
    if arguments.child:
        name, threads = arguments.child
        print(json.dumps(measure(name, int(threads), arguments.device)))
    else:
        start = time.perf_counter()
        torch.set_num_threads(arguments.threads)  # for the record: the processes set their own
        where = arguments.device, arguments.network
        table = benchmark(arguments.only, arguments.rounds, arguments.threads, *where)
        show(table, arguments.device)
        if arguments.record:
            for record in records_of(table, arguments, time.perf_counter() - start):
                print(f"wrote {records.write(record)}")


if __name__ == "__main__":
    main()
