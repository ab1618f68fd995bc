"""The loop: exact resume from any epoch, a stop that keeps the last good state, no other run."""

import math

import pytest
import torch
from torch import nn

from mlcpc import files, training
from mlcpc.training import Trainee, fit


class Line(Trainee):
    """Fit a line to noise, with draws from a running stream and from keys."""

    title = "line"

    def __init__(self, optimiser="sgd", epochs=4, breaks=(-1, -1), ends=-1):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
        self.modules = {"model": self.model}
        kinds = {"sgd": lambda p: torch.optim.SGD(p, 0.1, 0.9),
        "adam": lambda p: torch.optim.Adam(p),
                 "fused": lambda p: torch.optim.Adam(p, fused=True)}  # fmt: skip
        self.optimiser = kinds[optimiser](self.model.parameters())
        self.generators = [torch.Generator().manual_seed(7)]
        self.steps = [3] * (epochs - 1) + [2]
        self.breaks, self.ends = breaks, ends

    def step(self, epoch, step):
        x = torch.randn(8, 3, generator=self.generators[0])
        y = torch.randn(8, 1, generator=training.generator(0, epoch, step))
        loss = (self.model(x) - y).square().mean()
        if (epoch, step) == self.breaks:
            loss = loss * math.nan
        training.refuse_infinite(loss)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.detach()}

    def end(self, epoch):
        self.finished = epoch == self.ends
        training.refuse_broken(self.modules)
        return {"norm": float(sum(each.detach().norm() for each in self.model.parameters()))}


def numbers(history):
    return [{k: v for k, v in each.items() if k != "seconds"} for each in history]


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "fused"])
@pytest.mark.parametrize("until", [1, 2, 3])
def test_a_resumed_training_ends_with_the_same_bits(tmp_path, optimiser, until):
    whole = Line(optimiser)
    expected = fit(whole)
    path = tmp_path / "state"
    with pytest.raises(ValueError, match=f"line stopped in epoch {until}, step 1: loss is nan"):
        fit(Line(optimiser, breaks=(until, 1)), path, {"run": 1})
    resumed = Line(optimiser)
    assert numbers(fit(resumed, path, {"run": 1})) == numbers(expected)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])
    again = Line(optimiser)
    assert numbers(fit(again, path, {"run": 1})) == numbers(expected)  # nothing is left to do
    assert len(expected) == 4 and expected[0].keys() == {"loss", "norm", "seconds"}


def test_means_are_over_the_steps_of_an_epoch():
    history = fit(Line(epochs=2))
    line, losses = Line(epochs=2), []
    for epoch, steps in enumerate([3, 2]):
        losses.append(sum(line.step(epoch, step)["loss"].double() for step in range(steps)) / steps)
    assert [each["loss"] for each in history] == [float(each) for each in losses]


def test_checkpoints_are_kept_every_so_many_epochs(tmp_path):
    path = tmp_path / "state"
    with pytest.raises(ValueError, match="stopped in epoch 3.*state holds the epoch before"):
        fit(Line(breaks=(3, 0)), path, every=2)
    assert len(files.load_state(path)[1]["history"]) == 2
    with pytest.raises(ValueError, match=r"stopped in epoch 0, step 0: loss is nan.*\.$"):
        fit(Line(breaks=(0, 0)), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_training_may_end_early_and_stays_ended(tmp_path):
    path = tmp_path / "state"
    first = fit(Line(ends=1), path)
    assert len(first) == 2 and fit(Line(ends=1), path) == first


def test_broken_weights_replace_no_good_checkpoint(tmp_path):
    path, line = tmp_path / "state", Line()
    fit(Line(epochs=2), path)
    before = path.read_bytes()

    def overflow(epoch, step):
        with torch.no_grad():
            line.model[0].weight.mul_(math.inf)
        return {"loss": torch.tensor(1.0)}

    line.step = overflow
    with pytest.raises(ValueError, match="model.0.weight is not finite; lower learning_rate"):
        fit(line, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage, message", [
    (lambda path: path.write_bytes(path.read_bytes()[:-9]), "is not a whole checkpoint"),
    (lambda path: None, "is of another run: run: 2 here, 1 there; valid: another --name"),
])  # fmt: skip
def test_another_run_or_a_damaged_file_is_refused(tmp_path, damage, message):
    path = tmp_path / "state"
    fit(Line(epochs=2), path, {"run": 1})
    damage(path)
    with pytest.raises(ValueError, match=message):
        fit(Line(), path, {"run": 2})


def test_generators_of_keys():
    draws = {tuple(torch.rand(2, generator=training.generator(*key)).tolist())
             for key in ((0,), (1,), (0, 1), (1, 1))}  # fmt: skip
    assert len(draws) == 4
    assert torch.equal(*(torch.rand(3, generator=training.generator(5, 2)) for _ in range(2)))
