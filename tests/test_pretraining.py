"""Pretraining: the step against one written out, stop and resume, ranks against groups."""

import copy
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mlcpc import bounds, images, pretraining, runs
from mlcpc.__main__ import main
from mlcpc.pretraining import PretrainConfig, alpha_at

ROOT = Path(__file__).resolve().parent.parent
TINY = {
    "dataset": "digits",
    "network": "wrn-10-1",
    "stem_stride": 1,
    "dim": 16,
    "batch": 64,
    "queue": 100,
    "epochs": 3,
    "flip": 0.0,
    "temperature": 0.2,
    "probe_every": 2,
}


@pytest.fixture(scope="module")
def digits():
    """100 training and 50 test images of 8 × 8 pixels."""
    return images.load("digits").first(20), images.load("digits", "test").first(5)


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def weights(trained):
    return torch.cat([each.flatten() for each in trained.encoder.state_dict().values()])


def untimed(epochs):
    return [{k: v for k, v in each.items() if k != "seconds"} for each in epochs]


# ---------------------------------------------------------------------------------------------
# Configuration and schedules
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, message",
    [
        ({"dataset": "mnist"}, "dataset is 'mnist'; valid: fashion-mnist, "),
        ({"objective": "nce"}, "objective is 'nce'; valid: cpc, ml_cpc"),
        ({"alpha": 0.0}, "alpha is 0.0; valid: alpha > 0"),
        ({"alpha_last": 0.0, "alpha_schedule": "linear"}, "alpha_last is 0.0; valid"),
        ({"alpha_last": 0.1}, "alpha_last is 0.1 for a constant alpha of 1.0; valid"),
        ({"alpha": 4098.0, "alpha_last": 4098.0}, "alpha is 4098.0; valid: 0 < alpha <= 4097"),
        ({"negatives": "batch", "alpha": 300.0, "alpha_schedule": "linear"}, "<= 256 candidates"),
        ({"alpha_schedule": "step"}, "alpha_schedule is 'step'; valid: constant, linear"),
        ({"queue": 255}, "queue is 255 for batches of 256; valid: at least the batch"),
        ({"norm_groups": 3}, "norm_groups is 3 for batches of 256; valid: a number that divides"),
        ({"norm_groups": 256}, "norm_groups is 256 for batches of 256; valid"),
        ({"key_momentum": 1.0}, "key_momentum is 1.0; valid: 0 up to but not including 1"),
        ({"temperature": math.nan}, "temperature is nan; valid: temperature > 0"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0; valid: at least 0"),
        ({"epochs": 0}, "epochs is 0; valid: an integer of at least 1"),
        ({"seeds": (0, 0)}, r"seeds is \(0, 0\); valid: different integers"),
        ({"seeds": ()}, r"seeds is \(\); valid: different integers"),
        ({"crop_low": 0.0}, "crop_low is 0.0"),
        ({"precision": "int8"}, "precision is 'int8'; valid: no, fp16, bf16"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        PretrainConfig(**change)


def test_geometric_schedule_is_that_of_the_authors():
    config = PretrainConfig(alpha=10.0, alpha_last=0.1, alpha_schedule="geometric", epochs=200)
    for epoch in (0, 1, 77, 199):
        theirs = math.exp((math.log(10) - math.log(0.1)) * (1 - epoch / 200) + math.log(0.1))
        assert abs(alpha_at(config, epoch) - theirs) < 1e-12


@pytest.mark.parametrize("schedule", ["linear", "cosine", "geometric"])
def test_schedules_fall_from_one_end_to_the_other(schedule):
    config = PretrainConfig(alpha=4.0, alpha_last=0.25, alpha_schedule=schedule, epochs=8)
    found = [alpha_at(config, epoch) for epoch in range(9)]
    middle = {"linear": 2.125, "cosine": 2.125, "geometric": 1.0}[schedule]
    assert found[0] == 4 and abs(found[4] - middle) < 1e-12 and abs(found[8] - 0.25) < 1e-12
    assert sorted(found, reverse=True) == found


def test_a_constant_alpha_stays():
    assert {alpha_at(PretrainConfig(alpha=0.3, alpha_last=0.3), each) for each in range(20)} == {
        0.3
    }


# ---------------------------------------------------------------------------------------------
# One step, written out
# ---------------------------------------------------------------------------------------------


def written_out(config, seed, train):
    """The weights after all epochs, from whole matrices of scores."""
    encoder = pretraining._first_encoder(config, seed, 1).train()
    moving = copy.deepcopy(encoder)
    queue = pretraining.memory.KeyQueue(
        config.queue, config.dim, generator=runs.generator(seed)
    ).keys
    optimiser = torch.optim.SGD(
        encoder.parameters(), 1.0, config.sgd_momentum, weight_decay=config.weight_decay
    )
    bound_of = {"cpc": bounds.cpc, "ml_cpc": bounds.ml_cpc}[config.objective]
    for epoch in range(config.epochs):
        cosine = (1 + math.cos(math.pi * epoch / config.epochs)) / 2
        optimiser.param_groups[0]["lr"] = config.learning_rate * cosine
        order = torch.randperm(len(train), generator=runs.generator(seed, epoch))
        for step, index in enumerate(order.split(config.batch)):

            def view(which, rows, key=(seed, epoch, step)):
                """Group by group, each from a seed of its own."""
                groups, found = config.norm_groups, {}
                for g in range(groups):
                    seen = images.view(
                        train.images[rows[g::groups]],
                        train.mean,
                        train.std,
                        runs.generator(*key, g, which),
                        config.views(),
                    )
                    found |= {g + groups * i: each for i, each in enumerate(seen)}
                return torch.stack([found[i] for i in range(len(rows))])

            if config.negatives == "queue":
                with torch.no_grad():
                    for old, new in zip(moving.parameters(), encoder.parameters(), strict=True):
                        old.copy_(config.key_momentum * old + (1 - config.key_momentum) * new)
                    keys = torch.empty(len(index), config.dim)
                    places = torch.arange(len(index))
                    if config.norm_groups > 1:
                        key = (seed, epoch, step)
                        places = torch.randperm(len(index), generator=runs.generator(*key))
                    keys[places] = moving(view(1, index[places]))
                anchors = encoder(view(0, index))
                positive = (anchors * keys).sum(1) / config.temperature
                negative = anchors @ queue.T / config.temperature
                queue = torch.cat([queue, keys])[-config.queue :]
                m = config.queue + 1
            else:
                anchors, others = encoder(torch.cat([view(0, index), view(1, index)])).chunk(2)
                positive, negative = bounds.split(anchors @ others.T / config.temperature)
                m = config.batch
            alpha = alpha_at(config, epoch)
            loss = bounds.ceiling(m, alpha) - bound_of(positive, negative, alpha)
            optimiser.zero_grad()
            (loss / alpha if config.divide_by_alpha else loss).backward()
            optimiser.step()
    return torch.cat([each.flatten() for each in encoder.parameters()])


CURRICULUM = {"epochs": 2, "alpha": 4.0, "alpha_last": 0.25, "alpha_schedule": "geometric"}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"objective": "cpc"},
        {"negatives": "batch"},
        {"alpha": 0.1, "alpha_last": 0.1},
        {"alpha": 0.1, "alpha_last": 0.1, "divide_by_alpha": True},
        {"projection": "linear", "queue": 64},
        {**CURRICULUM, "divide_by_alpha": True},
        {"norm_groups": 2},
        {"norm_groups": 4, "negatives": "batch"},
    ],
    ids=str,
)
def test_an_epoch_is_that_of_the_formulas(change, digits, double):
    config = PretrainConfig(
        **{**TINY, "batch": 40, "epochs": 1, "learning_rate": 0.05, "weight_decay": 0.01, **change}
    )
    train, test = digits
    trained = pretraining.pretrain(config, 3, train, test)
    ours = torch.cat([each.flatten() for each in trained.encoder.parameters()])
    expected = written_out(config, 3, train)
    assert torch.allclose(ours, expected, rtol=0, atol=1e-9)
    assert len(train) // 40 >= 2
    last = trained.epochs[-1]
    assert abs(last["loss"] + last["bound"] - last["ceiling"]) < 1e-9
    alpha = alpha_at(config, config.epochs - 1)
    assert abs(last["ceiling"] - bounds.ceiling(config.candidates, alpha)) < 1e-12


def test_keys_get_no_gradient_and_follow_slowly(digits):
    train, test = digits
    config = PretrainConfig(**{**TINY, "key_momentum": 0.5})
    run = pretraining._Run(config, 0, train, test, pretraining.accelerator_for(config, "cpu"))
    path = [each.detach().clone() for each in run.encoder.parameters()]
    copies = []

    def remember(index, step, which, views=run._views):
        copies.append([each.clone() for each in run.key_encoder.parameters()])
        return views(index, step, which)

    run._views = remember
    run.train_epoch(run.bar(False), None)
    assert all(each.grad is None for each in run.key_encoder.parameters())
    # Before the first step the copy equals the encoder; it then stays on the way, behind it.
    assert all(torch.equal(a, b) for a, b in zip(copies[0], path, strict=True))
    own = list(run.encoder.parameters())
    nearer = [
        (a - c).norm() < (b - c).norm() for a, b, c in zip(copies[-1], path, own, strict=True)
    ]
    assert sum(nearer) > len(nearer) / 2


# ---------------------------------------------------------------------------------------------
# Stop and resume
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("negatives", ["queue", "batch"])
def test_a_stopped_run_goes_on_to_the_same_numbers(negatives, digits, tmp_path, monkeypatch):
    config = PretrainConfig(**{**TINY, "negatives": negatives, "norm_groups": 2})
    whole = pretraining.pretrain(config, 0, *digits)
    save = pretraining._Run.save

    def save_and_stop(self, path):
        save(self, path)
        if self.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(pretraining._Run, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        pretraining.pretrain(config, 0, *digits, scratch=tmp_path)
    monkeypatch.setattr(pretraining._Run, "save", save)
    resumed = pretraining.pretrain(config, 0, *digits, scratch=tmp_path)
    assert torch.equal(weights(resumed), weights(whole))
    assert untimed(resumed.epochs) == untimed(whole.epochs)
    assert ["knn" in epoch for epoch in whole.epochs] == [False, True, True]


def test_seeds_differ_and_repeat(digits):
    config = PretrainConfig(**{**TINY, "epochs": 1})
    one, same, other = (weights(pretraining.pretrain(config, k, *digits)) for k in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_pytorch_generator_is_left_as_it_was(digits):
    before = torch.random.get_rng_state()
    pretraining.pretrain(PretrainConfig(**{**TINY, "epochs": 1}), 0, *digits)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_checkpoints_of_other_code_are_refused(digits, tmp_path, monkeypatch):
    config = PretrainConfig(**{**TINY, "epochs": 1})
    pretraining.pretrain(config, 0, *digits, scratch=tmp_path)
    monkeypatch.setattr(runs, "code_hash", lambda names: dict.fromkeys(names, "0" * 64))
    with pytest.raises(ValueError, match="another run: code.pretraining.pretrain: '0000.* there"):
        pretraining.pretrain(config, 0, *digits, scratch=tmp_path)


def test_checkpoints_of_other_runs_and_damaged_ones_are_refused(digits, tmp_path):
    config = PretrainConfig(**{**TINY, "epochs": 1})
    pretraining.pretrain(config, 0, *digits, scratch=tmp_path)
    other = PretrainConfig(**{**TINY, "epochs": 1, "learning_rate": 0.07})
    with pytest.raises(ValueError, match="config.learning_rate: 0.07 here, 0.06 there"):
        pretraining.pretrain(other, 0, *digits, scratch=tmp_path)
    with pytest.raises(ValueError, match="seed-0.safetensors is of another run: data: "):
        pretraining.pretrain(config, 0, digits[0].first(19), digits[1], scratch=tmp_path)
    path = tmp_path / "seed-0.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="seed-0.safetensors does not fit its checksum"):
        pretraining.pretrain(config, 0, *digits, scratch=tmp_path)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(digits, tmp_path, monkeypatch):
    config = PretrainConfig(**TINY)
    epoch = pretraining._Run.train_epoch

    def poisoned(self, bar, path):
        if self.epoch == 1:
            next(self.encoder.parameters()).data.fill_(math.nan)
        epoch(self, bar, path)

    monkeypatch.setattr(pretraining._Run, "train_epoch", poisoned)
    with pytest.raises(ValueError, match="seed 0 stopped in epoch 1, step 0: .*holds the epoch be"):
        pretraining.pretrain(config, 0, *digits, scratch=tmp_path)
    _, state = runs.load_state(tmp_path / "seed-0.safetensors")
    assert state["progress"][0] == 1


@pytest.mark.parametrize("poison", [math.nan, 1e30])
def test_weights_that_the_last_step_broke_replace_no_checkpoint(
    digits, tmp_path, monkeypatch, poison
):
    """A loss is looked at before its step; the last step of an epoch has no loss behind it."""
    config = PretrainConfig(**TINY)
    average = pretraining._Run._average_buffers

    def poisoned(self):
        if self.epoch == 1:
            for each in self.encoder.network.parameters():
                each.data.fill_(poison)
        average(self)

    monkeypatch.setattr(pretraining._Run, "_average_buffers", poisoned)
    last = len(digits[0]) // config.batch - 1
    with pytest.raises(ValueError, match=f"stopped in epoch 1, step {last}: .*holds the epoch be"):
        pretraining.pretrain(config, 0, *digits, scratch=tmp_path)
    _, state = runs.load_state(tmp_path / "seed-0.safetensors")
    assert state["progress"][0] == 1
    monkeypatch.undo()
    resumed = pretraining.pretrain(config, 0, *digits, scratch=tmp_path)
    assert len(resumed.epochs) == config.epochs


@pytest.mark.parametrize(
    "change, message",
    [
        ({"divide_by_alpha": "False"}, "divide_by_alpha is 'False'; valid: True, False"),
        ({"learning_rate": math.inf}, "learning_rate is inf; valid: learning_rate > 0, and finite"),
        ({"learning_rate": 1e39}, "learning_rate is 1e[+]39; valid: learning_rate > 0, and finite"),
        ({"temperature": "warm"}, "temperature is 'warm'; valid: temperature > 0"),
        ({"seeds": 3}, "seeds is 3; valid: a tuple of integers"),
    ],
)
def test_settings_of_another_kind_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        PretrainConfig(**change)


def test_fewer_images_than_a_batch(digits):
    with pytest.raises(ValueError, match="batch is 300 for 200 images; valid: at most that"):
        config = PretrainConfig(**{**TINY, "batch": 300, "queue": 300})
        pretraining.pretrain(config, 0, *digits)


def test_devices_that_are_not_there():
    with pytest.raises(ValueError, match="device is 'tpu'; valid: cpu, cuda"):
        pretraining.accelerator_for(PretrainConfig(), "tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device is cuda, and PyTorch finds none"):
            pretraining.accelerator_for(PretrainConfig(), "cuda")


def test_a_queue_larger_than_the_data_is_said(digits):
    config = PretrainConfig(**{**TINY, "epochs": 1, "queue": 300})
    with pytest.warns(UserWarning, match="the queue holds 300 keys of 200 images"):
        pretraining.pretrain(config, 0, *digits)


# ---------------------------------------------------------------------------------------------
# Commands, alone and on two ranks
# ---------------------------------------------------------------------------------------------

COMMAND = [
    *("--dataset", "digits", "--network", "wrn-10-1", "--dim", "16", "--batch", "128"),
    *("--queue", "256", "--epochs", "2", "--flip", "0", "--norm_groups", "2", "--name", "tiny"),
]


def test_pretrain_and_probe(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLCPC_RESULTS", str(tmp_path))
    assert main(["pretrain", *COMMAND, "--seeds", "(0, 1)"]) == 0
    record = runs.read("tiny")
    assert record.seeds == [0, 1] and record.profile == "quick" and runs.stale(record) == []
    assert len(record.metrics["knn trained"]["values"]) == 2
    assert len(record.metrics["linear untrained"]["values"]) == 2
    assert record.metrics["knn pixels"]["mean"] > 0.9
    train, test = (images.load("digits", each) for each in images.SPLITS)
    config = PretrainConfig(**{**record.config, "seeds": tuple(record.config["seeds"])})
    fresh = pretraining._first_encoder(config, 1, 1).network
    both = (pretraining.features(fresh, each, train) for each in (train, test))
    found = pretraining.evaluate(*both, train, test, 1)
    assert found["knn"] == record.metrics["knn untrained"]["values"][1]
    assert found["knn"] < record.metrics["knn pixels"]["mean"]
    assert set(record.provenance["data"]) == {"digits train", "digits test"}
    assert [len(each) for each in record.arrays["epochs"]] == [2, 2]
    assert not (tmp_path / ".tiny.partial").exists()
    told = capsys.readouterr().out
    assert "digits: 1,438 images of 1 × 8 × 8" in told
    assert main(["probe", str(tmp_path / "weights" / "tiny-seed-1.safetensors")]) == 0
    told = capsys.readouterr().out
    for kind in ("knn", "linear"):
        assert f"{kind} {record.metrics[f'{kind} trained']['values'][1]:.4f}" in told
    assert told.count("untrained") == 1
    assert main(["probe", str(tmp_path / "tiny.json")]) == 2
    assert "tiny.json is not a whole checkpoint" in capsys.readouterr().err


def test_bad_names_and_keys_are_refused_before_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLCPC_RESULTS", str(tmp_path))
    assert main(["pretrain", "--name", "A_b"]) == 2
    assert "name is 'A_b'; valid: lower case" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["pretrain", "--widht", "3"])
    assert main(["pretrain", "--dataset", "cifar10", "--data", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def launched(tmp_path, ranks, *arguments):
    """The record of the command on so many ranks."""
    environment = {**os.environ, "MLCPC_RESULTS": str(tmp_path), "OMP_NUM_THREADS": "1"}
    many = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
    done = subprocess.run(
        [sys.executable, *(many if ranks > 1 else []), "-m", "mlcpc", "pretrain", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((tmp_path / "tiny.json").read_text())


@pytest.mark.parametrize("negatives", ["queue", "batch"])
def test_two_ranks_give_the_numbers_of_one(negatives, tmp_path):
    """Six steps: rounding differs between the two, and more steps would blow that up."""
    few = ("--batch", "478", "--queue", "600", "--learning_rate", "0.01", "--negatives", negatives)
    one, two = (launched(tmp_path / str(ranks), ranks, *COMMAND, *few) for ranks in (1, 2))
    for here, there in zip(one["arrays"]["epochs"][0], two["arrays"]["epochs"][0], strict=True):
        assert abs(here["bound"] - there["bound"]) < 1e-4
    assert (one["provenance"]["processes"], two["provenance"]["processes"]) == (1, 2)
    assert one["command"].startswith("python -m mlcpc pretrain --dataset digits")
    assert two["command"].replace("torchrun --standalone --nproc_per_node 2", "python") == (
        one["command"]
    )
    for name, found in one["metrics"].items():
        assert abs(found["mean"] - two["metrics"][name]["mean"]) < 1e-3 * max(3, found["mean"])


def test_ranks_that_do_not_divide_the_groups(tmp_path):
    with pytest.raises(AssertionError, match="norm_groups is 3 on 2 ranks; valid: a multiple"):
        launched(tmp_path, 2, *COMMAND, "--norm_groups", "3", "--batch", "129")
