"""The training loop: epochs of steps, checkpoint and exact resume, a stop where numbers break.

A :class:`Trainee` says what one step does and which state there is. :func:`fit`
does everything else, for every training of the package. Draws that follow from a key, by
:func:`generator`, need no state; a trainee whose draws come from a running stream names its
generators, and the checkpoint keeps them.
"""

import itertools
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlcpc import files


def generator(*key: int) -> torch.Generator:
    """A random generator of its own for each key, such as (seed, epoch, step), on the CPU.

    Draws that follow from a key need no state in a checkpoint, and are the same on every rank.
    Keys that differ by zeros at their end have the same stream.
    """
    seed = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(seed[0]))


class Trainee:
    """What :func:`fit` trains: its state, and what happens in a step and around an epoch.

    Attributes:
        title: words for the progress bar and for messages.
        modules: name → module; all state of these is kept in a checkpoint.
        optimiser: the optimiser of their parameters.
        generators: random streams that run on from step to step, if there are any.
        steps: how many steps each epoch has.
        finished: set to True to end the training after this epoch.
        scaler: of the gradients in half precision, if there is one.
        rank: 0 on the process that writes; others only take part.
    """

    title: str = "training"
    modules: dict[str, nn.Module]
    optimiser: torch.optim.Optimizer
    generators: Sequence[torch.Generator] = ()
    steps: Sequence[int]
    finished: bool = False
    scaler: Any = None
    rank: int = 0

    def begin(self, epoch: int) -> None:
        """Set step size and mode before an epoch."""

    def step(self, epoch: int, step: int) -> dict[str, Tensor]:
        """Train once; return scalars whose mean over the epoch is kept, "loss" among them.

        Raises:
            ValueError: something that ends the training, such as a loss that is not finite.
        """
        raise NotImplementedError

    def end(self, epoch: int) -> dict[str, float]:
        """Look at what an epoch gave; what is returned is kept beside the means.

        Raises:
            ValueError: state that must not replace that of the epoch before, see
                :func:`refuse_broken`.
        """
        return {}

    def say(self, parts: dict[str, Tensor], seconds: float, step: int) -> str:
        """Words behind the progress bar."""
        return f"loss {float(parts['loss']):.3f}"

    def wait(self) -> None:
        """Wait for all ranks after a checkpoint."""


def fit(
    trainee: Trainee,
    path: Path | None = None,
    header: Mapping[str, Any] | None = None,
    every: int = 1,
    progress: bool = False,
) -> list[dict[str, float]]:
    """Train to the end, from a checkpoint if there is one.

    Args:
        trainee: what is trained.
        path: file of the checkpoint; a training that was killed goes on from there and ends with
            the same bits. None keeps nothing.
        header: what the training is; a checkpoint with another header is refused.
        every: epochs between two checkpoints; the last epoch is always kept.
        progress: show a bar with time left.

    Returns:
        one dictionary for each epoch: means over its steps, what :meth:`Trainee.end` added, and
        seconds.

    Raises:
        ValueError: a checkpoint that is damaged or of another run; a step that stopped: the
            message names epoch and step, and the checkpoint of the epoch before it is kept.
    """
    from tqdm import tqdm

    history: list[dict[str, float]] = []
    header = json.loads(json.dumps(header or {}))
    if path is not None and path.exists():
        history = _resume(path, trainee, header)
    if trainee.finished:
        return history
    total, done = sum(trainee.steps), sum(trainee.steps[: len(history)])
    hidden = not progress or trainee.rank > 0
    with tqdm(total=total, initial=done, desc=trainee.title, disable=hidden, unit="step") as bar:
        for epoch in range(len(history), len(trainee.steps)):
            history.append(_epoch(trainee, epoch, bar, path))
            last = trainee.finished or epoch + 1 == len(trainee.steps)
            if path is not None and (last or (epoch + 1) % every == 0):
                _save(path, trainee, header, history)
            if trainee.finished:
                break
    return history


def _epoch(trainee: Trainee, epoch: int, bar: Any, path: Path | None) -> dict[str, float]:
    begin, step = time.perf_counter(), 0
    sums: dict[str, Tensor] = {}
    trainee.begin(epoch)
    try:
        for step in range(trainee.steps[epoch]):
            parts = trainee.step(epoch, step)
            for name, value in parts.items():
                sums[name] = sums[name] + value.double() if name in sums else value.double()
            if not bar.disable:
                seconds = time.perf_counter() - begin
                bar.set_postfix_str(trainee.say(parts, seconds, step), refresh=False)
                bar.update()
        added = trainee.end(epoch)
    except ValueError as error:
        kept = ""
        if path is not None and path.exists():
            kept = f" {path} holds the epoch before, for these settings alone."
        raise ValueError(
            f"{trainee.title} stopped in epoch {epoch}, step {step}: {error}.{kept}"
        ) from error
    means = {name: float(value) / trainee.steps[epoch] for name, value in sums.items()}
    return means | added | {"seconds": time.perf_counter() - begin}


def refuse_infinite(loss: Tensor, advice: str = "lower learning_rate") -> None:
    """Raise a ValueError for a loss that is not finite, before it reaches the weights."""
    if not math.isfinite(value := loss.item()):
        raise ValueError(f"loss is {value}; valid: finite ({advice})")


def refuse_broken(modules: Mapping[str, nn.Module]) -> None:
    """Raise a ValueError for weights or running statistics that hold NaN or infinity.

    To be asked at the end of an epoch, so that a checkpoint of broken weights replaces no good one.
    """
    for name, module in modules.items():
        for key, value in itertools.chain(module.named_parameters(), module.named_buffers()):
            kept = isinstance(value, nn.Parameter) or "running_" in key
            if kept and not bool(value.isfinite().all()):
                raise ValueError(f"{name}.{key} is not finite; lower learning_rate")


def _state(trainee: Trainee) -> dict[str, Tensor]:
    """All state by name."""
    named = {
        f"{name}.{key}": value
        for name, module in trainee.modules.items()
        for key, value in module.state_dict().items()
    }
    for place, of_one in trainee.optimiser.state_dict()["state"].items():
        named |= {f"optimiser.{place}.{key}": value for key, value in of_one.items()
                  if value is not None}  # fmt: skip
    return named | {
        f"generator.{place}": each.get_state() for place, each in enumerate(trainee.generators)
    }


def _save(path: Path, trainee: Trainee, header: Mapping[str, Any], history: list) -> None:
    if trainee.rank == 0:
        state = {"header": header, "history": history, "finished": trainee.finished}
        if trainee.scaler is not None:
            state["scaler"] = trainee.scaler.state_dict()
        files.save_state(path, _state(trainee), state)
    trainee.wait()


def _resume(path: Path, trainee: Trainee, header: Mapping[str, Any]) -> list[dict[str, float]]:
    """Fill a trainee from a checkpoint; nothing is filled from one of another run."""
    tensors, found = files.load_state(path)
    if found.get("header") != header:
        other = files.differences(header, found.get("header") or {})
        raise ValueError(
            f"{path} is of another run: {other}; valid: another --name, or remove that file"
        )
    of_optimiser: dict[int, dict[str, Tensor]] = {}
    for name in [each for each in tensors if each.startswith("optimiser.")]:
        _, place, key = name.split(".", 2)
        of_optimiser.setdefault(int(place), {})[key] = tensors.pop(name)
    for number, each in enumerate(trainee.generators):
        each.set_state(tensors.pop(f"generator.{number}"))
    for name, module in trainee.modules.items():
        mine = {key.removeprefix(f"{name}."): value for key, value in tensors.items()
                if key.startswith(f"{name}.")}  # fmt: skip
        module.load_state_dict(mine)
    groups = trainee.optimiser.state_dict()["param_groups"]
    trainee.optimiser.load_state_dict({"state": of_optimiser, "param_groups": groups})
    if trainee.scaler is not None:
        trainee.scaler.load_state_dict(found["scaler"])
    trainee.finished = found["finished"]
    return found["history"]
