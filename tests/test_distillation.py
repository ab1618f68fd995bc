"""Distillation: losses against naive loops, an epoch written out, stop and resume, errors."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcpc import bounds, distillation, images, networks, runs
from mlcpc.__main__ import main
from mlcpc.distillation import OBJECTIVES, PAIRS, DistillConfig, contrast_loss, crd_loss, kd_loss

TINY = {
    "dataset": "digits",
    "pair": "wrn-40-2-wrn-16-2",
    "count": 50,
    "dim": 8,
    "epochs": 2,
    "batch": 40,
    "padding": 1,
    "flip": 0.0,
    "learning_rate": 0.02,
}


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def digits():
    return images.load("digits").first(12), images.load("digits", "test").first(5)


@pytest.fixture
def small(monkeypatch):
    """A pair that trains in a second."""
    monkeypatch.setitem(PAIRS, "wrn-40-2-wrn-16-2", ("wrn-10-2", "wrn-10-1"))


@pytest.fixture
def teacher():
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return networks.build("wrn-10-2", 10, 1).eval()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def scores(n=5, k=7, seed=0):
    drawn = torch.randn(n, k + 1, generator=generator(seed)) * 3
    return drawn[:, 0], drawn[:, 1:]


def weights(trained):
    return torch.cat([each.flatten() for each in trained.network.state_dict().values()])


# ---------------------------------------------------------------------------------------------
# Losses
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_kd_is_a_sum_over_classes(temperature):
    student, teacher = torch.randn(2, 6, 5, generator=generator()) * 3
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        p = [math.exp(each / temperature) for each in t]
        q = [math.exp(each / temperature) for each in s]
        p, q = ([each / sum(one) for each in one] for one in (p, q))
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    expected = temperature**2 * total / 6
    assert abs(kd_loss(student, teacher, temperature).item() - expected) < 1e-10
    assert abs(kd_loss(teacher + 3, teacher, temperature).item()) < 1e-10


def test_kd_refuses():
    with pytest.raises(ValueError, match=r"student has shape \(2, 3\), teacher \(2, 4\)"):
        kd_loss(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"student has shape \(0, 3\), .*neither of them 0"):
        kd_loss(torch.zeros(0, 3), torch.zeros(0, 3))
    with pytest.raises(ValueError, match="temperature is 0; valid: temperature > 0"):
        kd_loss(torch.zeros(2, 3), torch.zeros(2, 3), 0)


def naive_crd(positive, negative, samples, z):
    total = 0.0
    for own, others in zip(positive.tolist(), negative.tolist(), strict=True):
        noise = len(others) / samples
        h = math.exp(own) / z
        total += math.log(h / (h + noise))
        for other in others:
            h = math.exp(other) / z
            total += math.log(noise / (h + noise))
    return -total / len(positive)


@pytest.mark.parametrize("samples, z", [(100, 1.0), (7, 250.0), (50_000, 3e4)])
def test_crd_is_the_loop_of_its_paper(samples, z):
    positive, negative = scores()
    found = crd_loss(positive, negative, samples, math.log(z)).item()
    assert abs(found - naive_crd(positive, negative, samples, z)) < 1e-10


def test_crd_survives_large_scores_and_refuses_shapes():
    positive, negative = (each * 1e4 for each in scores())
    assert crd_loss(positive, negative, 100, 0.0).isfinite()
    with pytest.raises(ValueError, match=r"positive has shape \(4,\), negative \(5, 7\)"):
        crd_loss(torch.zeros(4), torch.zeros(5, 7), 100, 0.0)
    with pytest.raises(ValueError, match=r"positive has shape \(0,\), .* of one n > 0"):
        crd_loss(torch.zeros(0), torch.zeros(0, 7), 100, 0.0)
    with pytest.raises(ValueError, match="samples is 0"):
        crd_loss(torch.zeros(5), torch.zeros(5, 7), 0, 0.0)


@settings(max_examples=50, deadline=None)
@given(
    n=st.integers(1, 6),
    k=st.integers(1, 6),
    constant=st.floats(-30, 30),
    alpha=st.floats(0.05, 2.0),
    seed=st.integers(0, 99),
)
def test_a_constant_cancels_in_cpc_and_ml_cpc(n, k, constant, alpha, seed):
    """So the normaliser Z of CRD has no part in them."""
    positive, negative = scores(n, k, seed)
    for objective in ("cpc", "ml_cpc"):
        plain = contrast_loss(objective, positive, negative, alpha)
        moved = contrast_loss(objective, positive + constant, negative + constant, alpha)
        assert abs(plain - moved) < 1e-10
        assert plain > -1e-12
    moved = contrast_loss("crd", positive + 5, negative + 5, samples=100)
    assert abs(contrast_loss("crd", positive, negative, samples=100) - moved) > 1e-3


@pytest.mark.parametrize("alpha", [1.0, 0.1])
def test_contrast_is_ceiling_minus_bound(alpha):
    """The authors' form: mean positive and mean negative over the batch, or in a row."""
    positive, negative = scores()
    m = negative.shape[1] + 1
    beta = (m - alpha) / (m - 1)
    weighted = alpha * positive.exp() + beta * negative.exp().sum(1)
    of_rows = -(positive - weighted.log()).mean() - math.log(alpha)
    of_batch = -positive.mean() + weighted.mean().log() - math.log(alpha)
    assert abs(contrast_loss("cpc", positive, negative, alpha) - of_rows) < 1e-10
    assert abs(contrast_loss("ml_cpc", positive, negative, alpha) - of_batch) < 1e-10


def test_unknown_contrast():
    with pytest.raises(ValueError, match="objective is 'kd'; valid: crd, cpc, ml_cpc"):
        contrast_loss("kd", *scores())


@pytest.mark.parametrize("objective", ["crd", "cpc", "ml_cpc"])
def test_gradients_reach_both_projections(objective, digits):
    config = DistillConfig(**{**TINY, "objective": objective})
    labels = digits[0].labels
    contrast = distillation.Contrast(config, 6, 4, labels, generator())
    student = torch.randn(5, 4, requires_grad=True)
    loss, *embedded = contrast(torch.arange(5), student, torch.randn(5, 6), generator(1))
    loss.backward()
    assert student.grad.abs().sum() > 0
    for module in (contrast.of_student, contrast.of_teacher):
        assert all(each.grad.abs().sum() > 0 for each in module.parameters())
    before = contrast.students.vectors.clone(), contrast.teachers.vectors.clone()
    contrast.remember(torch.arange(5), *(each.detach() for each in embedded))
    for old, bank, new in zip(
        before, (contrast.students, contrast.teachers), embedded, strict=True
    ):
        expected = torch.nn.functional.normalize((old[:5] + new.detach()) / 2, dim=1)
        assert torch.allclose(bank.vectors[:5], expected, atol=1e-12)
        assert torch.equal(bank.vectors[5:], old[5:])


def test_the_scale_of_crd_is_set_once(digits):
    """log Z of a direction: N times the mean of e^score in the first batch."""
    config = DistillConfig(**{**TINY, "objective": "crd"})
    contrast = distillation.Contrast(config, 6, 4, digits[0].labels, generator())
    student, known = torch.randn(5, 4), torch.randn(5, 6)
    contrast(torch.arange(5), student, known, generator(1))
    first = contrast.log_scale.clone()
    others = contrast.others.draw(torch.arange(5), "sampled", 50, generator(1))
    positions = torch.cat([torch.arange(5)[:, None], others], 1)
    scores_ = contrast.teachers.scores(contrast.of_student(student), positions) / 0.07
    assert abs(first[0] - (scores_.exp().mean() * len(digits[0])).log()) < 1e-10
    contrast(torch.arange(5), student * 2, known, generator(2))
    assert torch.equal(contrast.log_scale, first)


# ---------------------------------------------------------------------------------------------
# Configuration
# ---------------------------------------------------------------------------------------------


def test_thirteen_pairs_can_be_built():
    assert len(PAIRS) == 13 and len({teacher for teacher, _ in PAIRS.values()}) == 6
    with torch.device("meta"):
        for name, (teacher, student) in PAIRS.items():
            assert name == f"{teacher}-{student}"
            sizes = [
                sum(each.numel() for each in networks.build(one, 10, 1).parameters())
                for one in (teacher, student)
            ]
            assert sizes[0] > sizes[1]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"pair": "vgg13-vgg9"}, "pair is 'vgg13-vgg9'; valid: wrn-40-2-wrn-16-2, .*ShuffleNetV1"),
        ({"objective": "nce"}, "objective is 'nce'; valid: kd, crd, cpc, ml_cpc"),
        ({"alpha": 0.0}, "alpha is 0.0; valid: alpha > 0"),
        ({"alpha": 1e5}, "alpha is 100000.0; valid: 0 < alpha <= 16385"),
        ({"weights": (1.0, 0.5)}, r"weights is \(1.0, 0.5\); valid: \(\) or \(r, a, b\)"),
        ({"weights": 1.0}, r"weights is 1.0; valid: \(\) or \(r, a, b\)"),
        ({"weights": ("a", 1, 2)}, r"weights is \('a', 1, 2\); valid: \(\) or \(r, a, b\)"),
        ({"weights": (0.0, 0.0, 0.0)}, "valid: at least one above 0"),
        ({"weights": (1.0, -1.0, 0.0)}, r"valid: \(\) or \(r, a, b\) of at least 0"),
        ({"objective": "kd", "weights": (1.0, 1.0, 1.0)}, "for kd; valid: b = 0"),
        ({"negatives": "some"}, "negatives is 'some'; valid: sampled, all"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; valid: learning_rate > 0"),
        ({"learning_rate": "a"}, "learning_rate is 'a'; valid: learning_rate > 0"),
        ({"flip": "a"}, "flip is 'a'; valid: 0 to 1"),
        ({"memory_momentum": None}, "memory_momentum is None; valid: 0 up to"),
        ({"weight_decay": True}, "weight_decay is True; valid: at least 0"),
        ({"seeds": 0}, r"seeds is 0; valid: a tuple of integers, such as \(0, 1, 2\)"),
        ({"memory_momentum": 1.0}, "memory_momentum is 1.0; valid: 0 up to"),
        ({"flip": 2.0}, "flip is 2.0; valid: 0 to 1"),
        ({"padding": -1}, "padding is -1; valid: an integer of at least 0"),
        ({"seeds": (1, 1)}, r"seeds is \(1, 1\); valid: different integers"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        DistillConfig(**change)


def test_a_contrast_of_weight_zero_is_said():
    """The example in the authors' notes: -r 0.1 -a 0.9 -b 0 trains plain KD."""
    with pytest.warns(UserWarning, match="b of the contrast is 0: this trains no ml_cpc"):
        DistillConfig(objective="ml_cpc", weights=(0.1, 0.9, 0.0))


def test_a_contrast_of_weight_zero_is_plain_kd(digits, teacher, small):
    with pytest.warns(UserWarning, match="trains no ml_cpc"):
        zero = DistillConfig(**{**TINY, "objective": "ml_cpc", "weights": (0.1, 0.9, 0.0)})
    plain = DistillConfig(**{**TINY, "objective": "kd"})
    one, two = (distillation.distill(each, 0, teacher, *digits) for each in (zero, plain))
    assert torch.equal(weights(one), weights(two))


# ---------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_epoch_is_that_of_the_formulas(objective, digits, teacher, small):
    train, test = digits
    rab = (0.7, 0.3, 0.0 if objective == "kd" else 0.4)
    config = DistillConfig(**{**TINY, "objective": objective, "weights": rab, "epochs": 1})
    ours = distillation.distill(config, 3, copy.deepcopy(teacher).train(), train, test)
    assert len(train) // config.batch == 3
    with torch.random.fork_rng():
        torch.manual_seed(3)
        student = networks.build("wrn-10-1", 10, 1).train()
        contrast = distillation.Contrast(
            config, teacher.feature_dim, student.feature_dim, train.labels, runs.generator(3)
        )
    parameters = [*student.parameters(), *(contrast.parameters() if objective != "kd" else [])]
    optimiser = torch.optim.SGD(parameters, 0.02, 0.9, weight_decay=5e-4)
    order = torch.randperm(len(train), generator=runs.generator(3, 0))
    banks = [contrast.teachers.vectors.clone(), contrast.students.vectors.clone()]
    log_scale = [None, None]
    for step in range(3):
        index = order[40 * step : 40 * step + 40]
        pixels = images.shifted(
            train.images[index], train.mean, train.std, runs.generator(3, 0, step, 0), 1, 0.0
        )
        features, known = student.features(pixels), teacher.features(pixels).detach()
        logits = student.classifier(features)
        loss = 0.7 * torch.nn.functional.cross_entropy(logits, train.labels[index])
        loss = loss + 0.3 * kd_loss(logits, teacher.classifier(known).detach())
        if objective != "kd":
            others = contrast.others.draw(index, "sampled", 50, runs.generator(3, 0, step, 1))
            embedded = [contrast.of_student(features), contrast.of_teacher(known)]
            for place, (anchor, bank) in enumerate(zip(embedded, banks, strict=True)):
                positive = (anchor * bank[index]).sum(1) / 0.07
                negative = torch.einsum("nd,nkd->nk", anchor, bank[others]) / 0.07
                if log_scale[place] is None:
                    every = torch.cat([positive[:, None], negative], 1).detach()
                    log_scale[place] = (every.exp().mean() * len(train)).log()
                if objective == "crd":
                    loss = loss + 0.4 * crd_loss(positive, negative, len(train), log_scale[place])
                else:
                    value = {"cpc": bounds.cpc, "ml_cpc": bounds.ml_cpc}[objective]
                    loss = loss + 0.4 * (math.log(51) - value(positive, negative, 1.0))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if objective != "kd":
            for bank, new in zip(banks, embedded[::-1], strict=True):
                moved = (bank[index] + new.detach()) / 2
                bank[index] = torch.nn.functional.normalize(moved, dim=1)
    expected = torch.cat([each.flatten() for each in student.state_dict().values()])
    assert torch.allclose(weights(ours), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    "name, given, first", [("wrn-10-1", None, 0.05), ("MobileNetV2", None, 0.01),
                           ("MobileNetV2", 0.3, 0.3)]
)  # fmt: skip
def test_step_sizes_fall_three_times(name, given, first, digits, monkeypatch):
    """From five, six and seven eighths of the epochs on, as 150, 180 and 210 of 240."""
    config = DistillConfig(**{**TINY, "epochs": 8, "learning_rate": given})
    run = distillation._Run(config, name, 0, *digits, "cpu", None)
    rates = []

    def remember(index, step):
        rates.append(run.optimiser.param_groups[0]["lr"])
        return {"loss": torch.zeros(())}

    monkeypatch.setattr(run, "_step", remember)
    run.train(None, progress=False)
    expected = [first] * 5 + [first / 10, first / 100, first / 1000]
    assert rates == pytest.approx([each for each in expected for _ in range(3)])


@pytest.mark.parametrize("objective", ["kd", "crd"])
def test_a_stopped_student_goes_on_to_the_same_numbers(
    objective, digits, teacher, small, tmp_path, monkeypatch
):
    config = DistillConfig(**{**TINY, "objective": objective, "epochs": 3})
    whole = distillation.distill(config, 0, teacher, *digits)
    save = runs.save_training

    def save_and_stop(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    for _ in range(2):
        monkeypatch.setattr(runs, "save_training", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            distillation.distill(config, 0, teacher, *digits, path=tmp_path / "student")
    monkeypatch.setattr(runs, "save_training", save)
    resumed = distillation.distill(config, 0, teacher, *digits, path=tmp_path / "student")
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.accuracy == whole.accuracy
    assert [each["loss"] for each in resumed.epochs] == [each["loss"] for each in whole.epochs]


@pytest.fixture
def stopped(digits, teacher, small, tmp_path, monkeypatch):
    """The checkpoint of a student that was killed behind its first epoch."""
    save = runs.save_training

    def save_and_stop(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runs, "save_training", save_and_stop)
        distillation.distill(DistillConfig(**TINY), 0, teacher, *digits, path=tmp_path / "student")
    return tmp_path / ".student.partial"


def test_other_code_refuses_a_checkpoint(digits, teacher, stopped, monkeypatch):
    monkeypatch.setattr(runs, "code_hash", lambda names: dict.fromkeys(names, "0" * 64))
    with pytest.raises(ValueError, match="another run: code.distillation.distill: '0000.* there"):
        distillation.distill(
            DistillConfig(**TINY), 0, teacher, *digits, path=stopped.parent / "student"
        )
    assert stopped.exists()


def test_another_teacher_or_setting_refuses_the_checkpoint(digits, teacher, stopped):
    path = stopped.parent / "student"
    other = networks.build("wrn-10-2", 10, 1)
    with pytest.raises(ValueError, match="is of another run: teacher: "):
        distillation.distill(DistillConfig(**TINY), 0, other, *digits, path=path)
    changed = DistillConfig(**{**TINY, "alpha": 0.5})
    with pytest.raises(ValueError, match="config.alpha: 0.5 here, 1.0 there"):
        distillation.distill(changed, 0, teacher, *digits, path=path)
    assert stopped.exists() and not path.exists()


def test_a_student_that_is_there_is_not_trained_twice(
    digits, teacher, small, tmp_path, monkeypatch, capsys
):
    """Read if it is of this run, trained again for another teacher or code, else refused."""
    path = tmp_path / "student"
    config = DistillConfig(**{**TINY, "epochs": 1, "objective": "kd"})

    def student(config=config, of=teacher):
        return distillation.distill(config, 0, of, *digits, path=path)

    made = student()
    assert [each.name for each in tmp_path.iterdir()] == ["student"]
    with monkeypatch.context() as patch:
        patch.setattr(distillation._Run, "train", None)
        found = student()
        assert torch.equal(weights(found), weights(made)) and found.epochs == made.epochs
        assert (found.accuracy, found.seed) == (made.accuracy, 0) and not found.network.training
        content = path.read_bytes()
        with pytest.raises(ValueError, match="of another run: config.alpha: 0.5 here, 1.0 there; "):
            student(DistillConfig(**{**TINY, "epochs": 1, "objective": "kd", "alpha": 0.5}))
        with pytest.raises(ValueError, match="of another run: seed: 1 here, 0 there; valid: anoth"):
            distillation.distill(config, 1, teacher, *digits, path=path)
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 4]))
        with pytest.raises(ValueError, match="does not fit its checksum"):
            student()
        path.write_bytes(content)
    assert capsys.readouterr().out == ""
    other = copy.deepcopy(teacher)
    with torch.no_grad():
        other.classifier.bias += torch.arange(10.0)
    assert not torch.equal(weights(student(of=other)), weights(made))
    assert f"{path} is trained again: teacher: " in capsys.readouterr().out
    distillation.classifier(config, config.student, 0, *digits, tmp_path)
    monkeypatch.setattr(runs, "code_hash", lambda names: dict.fromkeys(names, "0" * 64))
    student(of=other)
    assert "student is trained again: code.distillation.distill: " in capsys.readouterr().out
    distillation.classifier(config, config.student, 0, *digits, tmp_path)
    assert "is trained again: code.distillation.classifier: " in capsys.readouterr().out
    assert len(list(tmp_path.iterdir())) == 2


def test_jobs_that_share_a_record_write_what_one_command_writes(
    small, tmp_path, monkeypatch, capsys
):
    torch.set_default_dtype(torch.float32)
    arguments = ["distill", "--dataset", "digits", "--pair", "wrn-40-2-wrn-16-2", "--epochs", "1"]
    arguments += ["--batch", "128", "--count", "64", "--padding", "1", "--name", "both"]
    found = []
    for place, jobs in enumerate(([], ["students", "plain", "teacher"])):
        monkeypatch.setenv("MLCPC_RESULTS", str(tmp_path / str(place)))
        for kind in jobs:
            for seed in ("(0,)",) if kind == "teacher" else ("(1,)", "(0,)"):
                assert main([*arguments, "--seeds", seed, "--only", kind]) == 0
        assert list((tmp_path / str(place)).glob("*.json")) == []
        capsys.readouterr()
        assert main([*arguments, "--seeds", "(0, 1)"]) == 0
        assert ("step" in capsys.readouterr().err) == (not jobs)  # bars of what is trained now
        found.append(runs.read("both"))
    one, shared = found
    assert one.metrics == shared.metrics and one.config == shared.config
    assert one.arrays["teacher"] == shared.arrays["teacher"] and one.seeds == shared.seeds == [0, 1]
    files = [
        sorted(path.name for path in (tmp_path / place / "weights").iterdir()) for place in "01"
    ]
    assert files[0] == files[1] and len(files[0]) == 1 + 2 + 2
    with pytest.raises(SystemExit):
        main([*arguments, "--only", "student"])
    assert "choose from teacher, plain, students" in capsys.readouterr().err.replace("'", "")


def test_wrong_teachers_devices_and_batches(digits, teacher, small):
    config = DistillConfig(**TINY)
    with pytest.raises(ValueError, match="teacher is for 3 classes and 1 channels; valid: 10 and"):
        distillation.distill(config, 0, networks.build("wrn-10-2", 3, 1), *digits)
    with pytest.raises(ValueError, match="teacher is a NoneType; valid: a trained mlcpc.networks"):
        distillation.distill(config, 0, None, *digits)
    with pytest.raises(ValueError, match="other shapes; valid: a wrn-10-2 with stem_stride 1, the"):
        distillation.distill(config, 0, networks.build("wrn-10-1", 10, 1), *digits)
    with pytest.raises(ValueError, match="device is 'tpu'; valid: cpu, cuda"):
        distillation.distill(config, 0, teacher, *digits, device="tpu")
    with pytest.raises(ValueError, match="batch is 200 for 120 images"):
        distillation.distill(DistillConfig(**{**TINY, "batch": 200}), 0, teacher, *digits)


def test_all_negatives_need_classes_of_one_size(digits, teacher, small):
    config = DistillConfig(**{**TINY, "negatives": "all", "epochs": 1})
    assert 0 <= distillation.distill(config, 0, teacher, *digits).accuracy <= 1
    train, test = digits
    kept = torch.arange(len(train)) != 3
    fewer = images.ImageSet(
        train.images[kept], train.labels[kept], train.classes, "fewer", "a test"
    )
    with pytest.raises(ValueError, match="classes have 11 to 12 samples; valid: classes of one"):
        distillation.distill(config, 0, teacher, fewer, test)
    with pytest.raises(ValueError, match="alpha is 110.0; valid: 0 < alpha <= 109 candidates"):
        distillation.other_classes(DistillConfig(negatives="all", alpha=110.0), train.labels)


def test_commands_warn_and_refuse_in_whole_sentences(tmp_path, monkeypatch, capsys):
    """A warning without Python's file and line; advice only where it helps."""
    monkeypatch.setenv("MLCPC_RESULTS", str(tmp_path))
    arguments = ["distill", "--dataset", "digits", "--pair", "wrn-40-2-wrn-16-2"]
    assert main([*arguments, "--weights", "(1, 0.9, 0)", "--device", "tpu"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("warning: the weight b of the contrast is 0: this trains no ml_cpc")
    assert said[1:] == ["error: device is 'tpu'; valid: cpu, cuda"]
    assert main([*arguments, "--stem_stride", "2"]) == 2
    said = capsys.readouterr().err
    assert "stopped in epoch 0, step 0: images has shape (64, 1, 8, 8); valid: (n, 1, hei" in said
    assert "learning_rate" not in said


def test_labels_are_refused_before_a_teacher_is_trained(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLCPC_RESULTS", str(tmp_path))
    arguments = ["distill", "--dataset", "digits", "--pair", "wrn-40-2-wrn-16-2"]
    assert main([*arguments, "--negatives", "all"]) == 2
    assert "negatives is all, and classes have 127 to 161 samples" in capsys.readouterr().err
    assert not (tmp_path / "weights").exists()


def test_a_loss_that_is_not_finite_stops(digits, teacher, small, tmp_path):
    config = DistillConfig(**{**TINY, "learning_rate": 1e30})
    with pytest.raises(ValueError, match="student-wrn-10-1-seed-0 stopped in epoch 0, step"):
        distillation.distill(config, 0, teacher, *digits, path=tmp_path / "student")


def test_weights_that_the_last_step_broke_replace_no_checkpoint(
    digits, teacher, small, tmp_path, monkeypatch
):
    config = DistillConfig(**{**TINY, "epochs": 2})
    step, last = distillation._Run._step, len(digits[0]) // config.batch - 1

    def poisoned(self, index, place):
        parts = step(self, index, place)
        if self.epoch == 1 and place == last:
            next(self.network.parameters()).data.fill_(math.inf)
        return parts

    monkeypatch.setattr(distillation._Run, "_step", poisoned)
    said = f"epoch 1, step {last}: network.* is not finite.*holds the epoch before"
    with pytest.raises(ValueError, match=said):
        distillation.distill(config, 0, teacher, *digits, path=tmp_path / "student")
    _, state = runs.load_state(tmp_path / ".student.partial")
    assert state["progress"][0] == 1


def test_accuracy_is_the_share_of_right_answers(digits, teacher):
    """A network that always says 7, asked about twelve of each digit and two more sevens."""
    train, _ = digits
    rows = torch.cat([torch.arange(len(train)), torch.nonzero(train.labels == 7)[:2, 0]])
    more = images.ImageSet(train.images[rows], train.labels[rows], train.classes, "more", "a test")
    with torch.no_grad():
        teacher.classifier.weight.zero_()
        teacher.classifier.bias.copy_(torch.nn.functional.one_hot(torch.tensor(7), 10))
    assert distillation.accuracy(teacher.train(), more, train) == 14 / 122


def test_kept_classifiers_are_reused_and_checked(digits, tmp_path, monkeypatch):
    config = DistillConfig(**{**TINY, "epochs": 1})
    made = distillation.classifier(config, "wrn-10-1", 0, *digits, tmp_path)
    plain = distillation._Run(config, "wrn-10-1", 0, *digits, "cpu", None).train(None, False)
    assert torch.equal(weights(made), weights(plain)) and made.accuracy == plain.accuracy
    (path,) = tmp_path.iterdir()
    monkeypatch.setattr(distillation._Run, "train", None)
    kept = distillation.classifier(
        DistillConfig(**{**TINY, "epochs": 1, "objective": "crd"}), "wrn-10-1", 0, *digits, tmp_path
    )
    assert torch.equal(weights(kept), weights(made)) and kept.epochs == made.epochs
    content = bytearray(path.read_bytes())
    content[-9] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match="does not fit its checksum"):
        distillation.classifier(config, "wrn-10-1", 0, *digits, tmp_path)


def test_the_command_writes_a_record_with_teacher_and_plain_student(
    small, tmp_path, monkeypatch, capsys
):
    torch.set_default_dtype(torch.float32)
    monkeypatch.setenv("MLCPC_RESULTS", str(tmp_path))
    arguments = ["distill", "--dataset", "digits", "--pair", "wrn-40-2-wrn-16-2", "--epochs", "2"]
    arguments += ["--batch", "128", "--count", "64", "--padding", "1", "--flip", "0"]
    assert main([*arguments, "--objective", "cpc", "--seeds", "(0, 1)"]) == 0
    record = runs.read("distill-digits-wrn-40-2-wrn-16-2-cpc")
    assert runs.stale(record) == [] and record.profile == "quick" and record.seeds == [0, 1]
    found = {name: each["values"] for name, each in record.metrics.items()}
    assert len(found["accuracy student"]) == len(found["accuracy plain student"]) == 2
    assert len(found["accuracy teacher"]) == 1
    for of in ("student", "plain student"):
        shared = found[f"neighbours shared with teacher, {of}"]
        assert len(shared) == 2 and all(0 < each < 1 for each in shared)
    gains = [a - b for a, b in zip(found["accuracy student"], found["accuracy plain student"],
                                   strict=True)]  # fmt: skip
    assert gains == pytest.approx(found["gain over plain student"])

    def kept(pattern):
        return sorted(path.name for path in (tmp_path / "weights").glob(pattern))

    shared = kept("*classifier*")
    assert len(shared) == 3
    assert kept("distill-*") == [f"{record.name}-seed-{seed}.safetensors" for seed in (0, 1)]
    again = distillation.load(tmp_path / "weights" / kept("distill-*")[1])
    assert again.accuracy == found["accuracy student"][1] and again.seed == 1
    train, test = (images.load("digits", split) for split in images.SPLITS)
    assert distillation.accuracy(again.network, test, train) == again.accuracy
    (of_teacher,) = (name for name in shared if "wrn-10-2" in name)
    found_teacher = distillation.load(tmp_path / "weights" / of_teacher)
    assert found_teacher.accuracy == found["accuracy teacher"][0]
    assert runs.state_hash(found_teacher.network) == record.arrays["teacher"]
    runs.save_state(tmp_path / "other", {}, {"config": {}})
    with pytest.raises(ValueError, match="other holds no teacher or student"):
        distillation.load(tmp_path / "other")
    capsys.readouterr()
    assert main([*arguments, "--objective", "kd"]) == 0
    assert kept("*classifier*") == shared
    said = capsys.readouterr()
    assert "classifier" not in said.err
    weaker = "warning: the teacher (" in said.out
    other = runs.read("distill-digits-wrn-40-2-wrn-16-2-kd").arrays
    assert bool(other["warnings"]) == weaker and other["teacher"] == record.arrays["teacher"]
    assert main([*arguments, "--objective", "kd", "--teacher_epochs", "3"]) == 2
    assert "of other settings (teacher_epochs: 3 here, None there)" in capsys.readouterr().err
    named = ["--objective", "kd", "--teacher_epochs", "3", "--name", "longer"]
    assert main([*arguments, *named]) == 0
    assert len(kept("*classifier*")) == 4  # another teacher, the same student
    assert runs.read("longer").arrays["teacher"] != record.arrays["teacher"]
    assert "classifier-wrn-16-2" not in capsys.readouterr().err
    assert main([*arguments, "--teacher_epochs", "0"]) == 2
    assert "teacher_epochs is 0; valid: an integer of at least 1" in capsys.readouterr().err
    assert main([*arguments, "--pair", "vgg13-vgg9"]) == 2
    assert "pair is 'vgg13-vgg9'; valid: wrn-40-2-wrn-16-2" in capsys.readouterr().err


def test_a_teacher_that_is_no_better_is_said():
    network = networks.build("wrn-10-1", 10, 1)
    weak, strong, best = (
        distillation.Classifier(network, each, ({"seconds": 1.0},), 0) for each in (0.5, 0.6, 0.8)
    )
    record = distillation.record(
        DistillConfig(), [strong], [strong], weak, {}, "name", "command", {}, {}
    )
    assert record.arrays["warnings"] == [
        "the teacher (0.5000) is no better than the plain student (0.6000)"
    ]
    # better than the worst seed, and still no better than the student
    assert distillation.doubts(strong, [weak, best]) == [
        "the teacher (0.6000) is no better than the plain student (0.6500)"
    ]
    assert distillation.doubts(best, [strong, weak]) == []
