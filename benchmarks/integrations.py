"""The losses of other libraries and ours in their place: one short training each, side by side.

    python benchmarks/integrations.py            the table
    python benchmarks/integrations.py --record   also write results/integrations.json, with versions

Two views of the same random samples go through one linear encoder. Each pair of losses starts from
the same weights and sees the same batches. The score is not the loss, whose scales differ, but how
often the nearest of the other views is the right one. A library that is absent is skipped.
"""

import argparse
import importlib
import time
from collections.abc import Callable
from importlib import metadata

import allpairs as shared
import torch

from mlcpc import records
from mlcpc.integrations import lightly, metric_learning, open_clip

SAMPLES, WIDTH, BATCH, STEPS, SEEDS = 2048, 32, 256, 60, (0, 1, 2)


def _open_clip() -> Callable:
    return importlib.import_module("open_clip").ClipLoss()


def _lightly() -> Callable:
    return importlib.import_module("lightly.loss").NTXentLoss(0.1)


def _metric_learning() -> Callable:
    return importlib.import_module("pytorch_metric_learning.losses").SupConLoss(0.1)


def _ranking(name: str, ours: bool) -> Callable:
    """A loss of sentence-transformers, of embeddings: the model hands on what it is given."""

    class Given(torch.nn.Module):
        def forward(self, features: dict) -> dict:
            return features

    if ours:
        module = importlib.import_module("mlcpc.integrations.sentence_transformers")
        loss = module.MLCPCRankingLoss(Given(), scale=10.0)
    else:
        module = importlib.import_module("sentence_transformers.sentence_transformer.losses")
        loss = module.MultipleNegativesRankingLoss(Given(), scale=10.0)
    return lambda x, y: loss([{"sentence_embedding": each} for each in (x, y)], None)


def _unit(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(x, dim=1)


def _clip(loss: Callable) -> Callable:
    return lambda x, y: loss(_unit(x), _unit(y), torch.tensor(10.0))


def _labelled(loss: Callable) -> Callable:
    return lambda x, y: loss(torch.cat([x, y]), torch.arange(len(x)).repeat(2))


# library -> its distribution, its loss, ours
PAIRS = {
    "sentence-transformers": (
        "sentence-transformers", lambda: _ranking("theirs", False), lambda: _ranking("ours", True)
    ),
    "open_clip": (
        "open_clip_torch", lambda: _clip(_open_clip()), lambda: _clip(open_clip.ClipLoss())
    ),
    "lightly": ("lightly", _lightly, lambda: lightly.NTXentLoss(0.1)),
    "pytorch-metric-learning": (
        "pytorch-metric-learning",
        lambda: _labelled(_metric_learning()),
        lambda: _labelled(metric_learning.MLCPCLoss(0.1)),
    ),
}  # fmt: skip


def train(loss: Callable, seed: int) -> dict:
    """Loss of each step, top-1 retrieval afterwards, ms a step, MiB beyond the start."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(SAMPLES, 8, generator=generator)
    mixing = torch.randn(2, 8, WIDTH, generator=generator)
    noise = torch.randn(2, SAMPLES, WIDTH, generator=generator)
    views = hidden @ mixing + 2.0 * noise
    encoders = [torch.nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(2)]
    with torch.no_grad():
        for encoder in encoders:
            encoder.weight.copy_(torch.randn(WIDTH, WIDTH, generator=generator) / WIDTH**0.5)
    optimiser = torch.optim.Adam([each.weight for each in encoders], 3e-3)
    curve, seconds, before = [], [], shared.forget_peak()
    for _ in range(STEPS):
        index = torch.randint(0, SAMPLES, (BATCH,), generator=generator).unique()
        start = time.perf_counter()
        value = loss(*(e(view[index]) for e, view in zip(encoders, views, strict=True)))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        seconds.append(time.perf_counter() - start)
        curve.append(value.item())
    memory = shared.status("VmHWM") - before
    with torch.no_grad():
        x, y = (_unit(e(view)) for e, view in zip(encoders, views, strict=True))
        found = (x @ y.T).argmax(dim=1) == torch.arange(SAMPLES)
    milliseconds = 1e3 * sorted(seconds)[len(seconds) // 2]
    return {"curve": curve, "top1": found.float().mean().item(), "ms": milliseconds, "MiB": memory}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--record", action="store_true", help="write results/integrations.json")
    arguments = parser.parse_args()
    start = time.perf_counter()
    shared.make_torchvision_importable()
    versions, skipped, arrays, metrics = {}, {}, {}, {}
    for library, (distribution, theirs, ours) in PAIRS.items():
        try:
            losses = {"theirs": theirs(), "ours": ours()}
            versions[library] = metadata.version(distribution)
        except (ImportError, RuntimeError, metadata.PackageNotFoundError) as error:
            skipped[library] = f"{type(error).__name__}: {error}".splitlines()[0]
            print(f"{library}: skipped, {skipped[library]}")
            continue
        for side, loss in losses.items():
            runs_ = [train(loss, seed) for seed in SEEDS]
            arrays[f"{library}, {side}"] = {"curves": [each["curve"] for each in runs_]}
            for name, unit in (("top1", "share"), ("ms", "ms"), ("MiB", "MiB")):
                values = [each[name] for each in runs_]
                metrics[f"{name}, {library}, {side}"] = records.Metric(unit, tuple(values))
            first, last = runs_[0]["curve"][0], runs_[0]["curve"][-1]
            top1 = [f"{each['top1']:.3f}" for each in runs_]
            print(
                f"{library} {versions[library]}, {side}: loss {first:.3f} to {last:.3f}, "
                f"top-1 {' '.join(top1)}, {runs_[0]['ms']:.2f} ms, {runs_[0]['MiB']:.1f} MiB"
            )
    if arguments.record:
        config = {"samples": SAMPLES, "width": WIDTH, "batch": BATCH, "steps": STEPS,
                  "libraries": versions, "skipped": skipped}  # fmt: skip
        record = records.Record(
            name="integrations", experiment="benchmarks/integrations.py", version=1, profile="full",
            command="python benchmarks/integrations.py --record", config=config, seeds=list(SEEDS),
            metrics=metrics, provenance=records.provenance(time.perf_counter() - start),
            arrays=arrays,
        )  # fmt: skip
        path = records.write(record)
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
