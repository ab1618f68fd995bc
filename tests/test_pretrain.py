"""Pretraining: the step against one written out, stop and resume, ranks against groups."""

import copy
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import started

from mlcpc import bounds, datasets, encoders, files, images, memory, records
from mlcpc.__main__ import main
from mlcpc.experiments import pretrain
from mlcpc.experiments.pretrain import PretrainConfig, alpha_at
from mlcpc.training import fit, generator

ROOT = Path(__file__).resolve().parent.parent
TINY = {
    "dataset": "digits", "network": "wrn-10-1", "dim": 16, "batch": 64, "queue": 100, "epochs": 3,
    "flip": 0.0, "temperature": 0.2, "probe_every": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def digits():
    """200 training and 50 test images of 8 × 8 pixels."""
    return datasets.load("digits").first(20), datasets.load("digits", "test").first(5)


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def weights(encoder):
    return torch.cat([each.flatten() for each in encoder.state_dict().values()])


def untimed(epochs):
    return [{k: v for k, v in each.items() if k != "seconds"} for each in epochs]


def trainee_of(config, seed, digits):
    accelerator = pretrain.accelerator_for(config, "cpu")
    return pretrain.Pretraining(config, seed, *digits, accelerator)


# ---------------------------------------------------------------------------------------------
# Configuration and schedules
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change, message", [
    ({"alpha_last": 0.1}, "alpha_last is 0.1 for a constant alpha of 1.0; valid"),
    ({"alpha_schedule": "linear"}, "alpha_last is None; valid: a weight, for a linear"),
    ({"alpha": 4098.0}, "alpha is 4098.0; valid: 0 < alpha <= m = 4097"),
    ({"negatives": "batch", "alpha": 300.0}, "<= m = 256 candidates"),
    ({"queue": 255}, "queue is 255; valid: at least the batch, 256"),
    ({"norm_groups": 3}, "norm_groups is 3 for batches of 256; valid: a number that divides"),
    ({"norm_groups": 256}, "norm_groups is 256 for batches of 256; valid"),
])  # fmt: skip
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        PretrainConfig(**change)


def test_alpha_alone_is_a_constant_weight():
    config = PretrainConfig(alpha=0.3)
    assert {alpha_at(config, each) for each in range(20)} == {0.3}
    assert PretrainConfig(alpha=0.3, alpha_last=0.3) == config


def test_geometric_schedule_is_that_of_the_authors():
    config = PretrainConfig(alpha=10.0, alpha_last=0.1, alpha_schedule="geometric", epochs=200)
    for epoch in (0, 1, 77, 199):
        theirs = math.exp((math.log(10) - math.log(0.1)) * (1 - epoch / 200) + math.log(0.1))
        assert abs(alpha_at(config, epoch) - theirs) < 1e-12


@pytest.mark.parametrize("change, message", [
    ({"batch": 300, "queue": 300}, "batch is 300 for 200 images; valid: at most that"),
    ({"queue": 10**8}, "queue is 100,000,000 for 200 images; valid: at most 10 times"),
    ({"network": "resnet9"}, "network is 'resnet9'; valid: resnet8, "),
    ({"stem_stride": 2}, "height and width at least 16"),
    ({"precision": "fp16"}, "precision is 'fp16'; valid: no, bf16 on the cpu"),
])  # fmt: skip
def test_what_does_not_fit_the_images_is_refused_before_work(change, message, digits):
    with pytest.raises(ValueError, match=message):
        pretrain.train(PretrainConfig(**{**TINY, **change}), 0, *digits)


def test_a_queue_larger_than_the_data_is_said(digits):
    config = PretrainConfig(**{**TINY, "epochs": 1, "queue": 300})
    with pytest.warns(UserWarning, match="the queue holds 300 keys of 200 images"):
        pretrain.train(config, 0, *digits)


# ---------------------------------------------------------------------------------------------
# One step, written out
# ---------------------------------------------------------------------------------------------


def written_out(config, seed, train):
    """The weights after all epochs, from whole matrices of scores."""
    encoder = encoders.untrained(seed, in_channels=1, **config.encoder()).train()
    moving = copy.deepcopy(encoder)
    queue = memory.KeyQueue(config.queue, config.dim, generator=generator(seed)).keys
    optimiser = torch.optim.SGD(
        encoder.parameters(), 1.0, config.sgd_momentum, weight_decay=config.weight_decay
    )
    bound_of = {"cpc": bounds.cpc, "ml_cpc": bounds.ml_cpc}[config.objective]
    for epoch in range(config.epochs):
        cosine = (1 + math.cos(math.pi * epoch / config.epochs)) / 2
        optimiser.param_groups[0]["lr"] = config.learning_rate * cosine
        order = torch.randperm(len(train), generator=generator(seed, epoch))
        for step, index in enumerate(order.split(config.batch)):

            def view(which, rows, key=(seed, epoch, step)):
                """Group by group, each from a seed of its own."""
                groups, found = config.norm_groups, {}
                for g in range(groups):
                    seen = images.view(
                        train.images[rows[g::groups]],
                        train.mean,
                        train.std,
                        generator(*key, g, which),
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
                        places = torch.randperm(len(index), generator=generator(*key))
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


@pytest.mark.parametrize("change", [
    {},
    {"objective": "cpc"},
    {"negatives": "batch"},
    {"alpha": 0.1},
    {"alpha": 0.1, "divide_by_alpha": True},
    {"projection": "linear", "queue": 64},
    {**CURRICULUM, "divide_by_alpha": True},
    {"norm_groups": 2},
    {"norm_groups": 4, "negatives": "batch"},
], ids=str)  # fmt: skip
def test_an_epoch_is_that_of_the_formulas(change, digits, double):
    config = PretrainConfig(
        **{**TINY, "batch": 40, "epochs": 1, "learning_rate": 0.05, "weight_decay": 0.01, **change}
    )
    train, test = digits
    encoder, epochs = pretrain.train(config, 3, train, test)
    ours = torch.cat([each.flatten() for each in encoder.parameters()])
    expected = written_out(config, 3, train)
    assert torch.allclose(ours, expected, rtol=0, atol=1e-9)
    assert len(train) // 40 >= 2
    last = epochs[-1]
    assert abs(last["loss"] + last["bound"] - last["ceiling"]) < 1e-9
    alpha = alpha_at(config, config.epochs - 1)
    assert abs(last["ceiling"] - bounds.ceiling(config.candidates, alpha)) < 1e-12


# ---------------------------------------------------------------------------------------------
# Stop and resume
# ---------------------------------------------------------------------------------------------


def test_seeds_differ_and_repeat_and_leave_pytorch_alone(digits):
    config, before = PretrainConfig(**{**TINY, "epochs": 1}), torch.random.get_rng_state()
    one, same, other = (weights(pretrain.train(config, k, *digits)[0]) for k in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("poison", [math.nan, 1e30])
def test_weights_that_the_last_step_broke_replace_no_checkpoint(digits, tmp_path, poison):
    """A loss is looked at before its step; the last step of an epoch has no loss behind it."""
    trainee, path = trainee_of(PretrainConfig(**TINY), 0, digits), tmp_path / "x"
    train_on, last = trainee.train_on, trainee.steps[0] - 1

    def poisoned(index, epoch, step):
        parts = train_on(index, epoch, step)
        if (epoch, step) == (1, last):
            for each in trainee.encoder.network.parameters():
                each.data.fill_(poison)
        return parts

    trainee.train_on = poisoned
    with pytest.raises(ValueError, match=f"stopped in epoch 1, step {last}: .*holds the epoch be"):
        fit(trainee, path)
    assert len(files.load_state(path)[1]["history"]) == 1
    assert len(fit(trainee_of(PretrainConfig(**TINY), 0, digits), path)) == 3


# ---------------------------------------------------------------------------------------------
# Commands, alone and on two ranks
# ---------------------------------------------------------------------------------------------

COMMAND = [
    *("--dataset", "digits", "--network", "wrn-10-1", "--dim", "16", "--batch", "128"),
    *("--queue", "256", "--epochs", "2", "--flip", "0", "--norm_groups", "2", "--name", "tiny"),
]


def test_pretrain_and_probe(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLCPC_RESULTS", str(tmp_path))
    assert main(["pretrain", *COMMAND, "--seeds", "0", "1"]) == 0
    record = records.read("tiny")
    assert record.seeds == [0, 1] and record.profile == "quick"
    assert record.metrics["knn pixels"].per == "run" and record.metrics["knn pixels"].mean > 0.9
    train, test = (datasets.load("digits", each) for each in datasets.SPLITS)
    config = PretrainConfig.from_dict(record.config)
    fresh = encoders.untrained(1, in_channels=1, **config.encoder()).network
    found = encoders.evaluate_network(fresh, train, test, 1)
    assert found["knn"] == record.metrics["knn untrained"].values[1]
    assert found["linear"] == record.metrics["linear untrained"].values[1]
    assert [len(each) for each in record.arrays["epochs"]] == [2, 2]
    capsys.readouterr()
    path = tmp_path / "weights" / "tiny-seed-1.safetensors"
    assert main(["probe", str(path)]) == 0
    told = capsys.readouterr().out
    for kind in ("knn", "linear"):
        for of in ("trained", "untrained"):
            assert f"{kind} {record.metrics[f'{kind} {of}'].values[1]:.4f}" in told
    encoder, trained = encoders.load(path)
    assert trained["seed"] == 1 and not encoder.training
    assert main(["probe", str(path), "--dataset", "cifar10"]) == 2
    assert main(["probe", str(tmp_path / "weights" / "tiny-seed-2.safetensors")]) == 2
    files.save_state(tmp_path / "other", {}, {"header": {}})
    assert main(["probe", str(tmp_path / "other")]) == 2
    assert "other holds no pretrained encoder" in capsys.readouterr().err


def launched(folder, ranks, *target):
    """What a command said on so many ranks, which a launcher starts again once if one dies."""
    # Without the last one a restarted rank may read a dead one's address (PyTorch issue 135712).
    environment = {**os.environ, "MLCPC_RESULTS": str(folder), "OMP_NUM_THREADS": "1",
                   "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # fmt: skip
    many = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks),
            "--max_restarts", "1"]  # fmt: skip
    line = [sys.executable, *(many if ranks > 1 else []), *target]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with started(line, env=environment, cwd=ROOT, **streams) as process:
        said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said[-3000:]
    return records.read("tiny", Path(folder))


@pytest.mark.parametrize("negatives", ["queue", "batch"])
def test_two_ranks_give_the_numbers_of_one(negatives, tmp_path):
    """Six steps: rounding differs between the two, and more steps would blow that up."""
    few = ("--batch", "478", "--queue", "600", "--learning_rate", "0.01", "--negatives", negatives)
    target = ("-m", "mlcpc", "run", "pretrain", *COMMAND, *few)
    one, two = (launched(tmp_path / str(ranks), ranks, *target) for ranks in (1, 2))
    for here, there in zip(one.arrays["epochs"][0], two.arrays["epochs"][0], strict=True):
        assert abs(here["bound"] - there["bound"]) < 1e-4
    assert (one.provenance["processes"], two.provenance["processes"]) == (1, 2)
    many = "torchrun --standalone --nproc_per_node 2 -m mlcpc"
    assert two.command.replace(many, "mlcpc") == one.command
    for name, found in one.metrics.items():
        assert abs(found.mean - two.metrics[name].mean) < 1e-3 * max(3, found.mean)


# Rank 0, which holds the lock and writes the checkpoints, dies in the middle of the second epoch.
# Each rank says where it began.
RANK = """
import os, signal, sys
from mlcpc.__main__ import main
from mlcpc.experiments import pretrain

restart, began = int(os.environ["TORCHELASTIC_RESTART_COUNT"]), set()
train_on = pretrain.Pretraining.train_on

def watched(self, index, epoch, step):
    if not began:
        began.add(epoch)
        with open(sys.argv[1], "a") as file:
            file.write(f"{restart} {self.rank} {epoch} {step}\\n")
    if (restart, self.rank, epoch, step) == (0, 0, 1, 3):
        os.kill(os.getpid(), signal.SIGKILL)
    return train_on(self, index, epoch, step)

pretrain.Pretraining.train_on = watched
sys.exit(main(sys.argv[2:]))
"""


def test_a_launcher_restarts_the_ranks_and_no_number_changes(tmp_path):
    (tmp_path / "rank.py").write_text(RANK)
    target = ("run", "pretrain", *COMMAND)
    whole = launched(tmp_path / "whole", 2, "-m", "mlcpc", *target)
    began = tmp_path / "began"
    broken = launched(tmp_path / "broken", 2, str(tmp_path / "rank.py"), str(began), *target)
    # restart, rank, epoch, step
    assert sorted(began.read_text().splitlines()) == ["0 0 0 0", "0 1 0 0", "1 0 1 0", "1 1 1 0"]
    assert broken.metrics == whole.metrics
    assert untimed(broken.arrays["epochs"][0]) == untimed(whole.arrays["epochs"][0])
    assert not list(tmp_path.rglob(".*"))


def test_ranks_that_do_not_divide_the_groups(digits, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="norm_groups is 1 on 2 ranks; valid: a multiple"):
        pretrain.check(PretrainConfig(**TINY), *digits)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "geometric"])
def test_schedules_fall_from_one_end_to_the_other(schedule):
    config = PretrainConfig(alpha=4.0, alpha_last=0.25, alpha_schedule=schedule, epochs=8)
    found = [alpha_at(config, epoch) for epoch in range(9)]
    middle = {"linear": 2.125, "cosine": 2.125, "geometric": 1.0}[schedule]
    assert found[0] == 4 and abs(found[4] - middle) < 1e-12 and abs(found[8] - 0.25) < 1e-12
    assert sorted(found, reverse=True) == found


def test_keys_get_no_gradient_and_follow_slowly(digits):
    trainee = trainee_of(PretrainConfig(**{**TINY, "key_momentum": 0.5}), 0, digits)
    start = [each.detach().clone() for each in trainee.encoder.parameters()]
    trainee.begin(0)
    for step in range(trainee.steps[0]):
        trainee.step(0, step)
    copies = list(trainee.key_encoder.parameters())
    assert all(each.grad is None for each in copies)
    own = trainee.encoder.parameters()
    nearer = [(a - c).norm() < (b - c).norm() for a, b, c in zip(copies, start, own, strict=True)]
    assert sum(nearer) > len(nearer) / 2


@pytest.mark.parametrize("negatives", ["queue", "batch"])
def test_a_stopped_training_goes_on_to_the_same_numbers(negatives, digits, tmp_path, monkeypatch):
    config = PretrainConfig(**{**TINY, "negatives": negatives, "norm_groups": 2})
    whole, epochs = pretrain.train(config, 0, *digits)
    wait = pretrain.Pretraining.wait

    def stop(self):
        wait(self)
        if files.load_state(tmp_path / "x")[1]["history"][1:]:
            raise KeyboardInterrupt

    monkeypatch.setattr(pretrain.Pretraining, "wait", stop)
    with pytest.raises(KeyboardInterrupt):
        pretrain.train(config, 0, *digits, tmp_path / "x")
    monkeypatch.undo()
    resumed, again = pretrain.train(config, 0, *digits, tmp_path / "x")
    assert torch.equal(weights(resumed), weights(whole)) and untimed(again) == untimed(epochs)
    assert ["knn" in epoch for epoch in epochs] == [False, True, True]
