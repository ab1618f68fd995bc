"""Distillation: losses against naive loops, an epoch written out, stop and resume, errors."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcpc import bounds, datasets, files, images, networks, records, training
from mlcpc.__main__ import main
from mlcpc.distillation import OBJECTIVES, PAIRS, Contrast, contrast_loss, crd_loss, kd_loss
from mlcpc.experiments import base, distill
from mlcpc.experiments.distill import EXPERIMENT, DistillConfig

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
    return datasets.load("digits").first(12), datasets.load("digits", "test").first(5)


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


def weights(tensors):
    return torch.cat([each.flatten() for each in tensors.values()])


def taught(config, sets, teacher=None, path=None, seed=0):
    """A network that is trained, as the cells train theirs."""
    given = config.of_network(config.student, seed, config.epochs)
    ask = None if teacher is None else partial(distill._ask, teacher, None)
    learner = distill.Learner(
        "student", given, sets[0], config if teacher else None, ask, teacher and teacher.feature_dim
    )
    header = {"alpha": config.alpha}
    return learner, training.fit(learner, path, header)


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


@pytest.mark.parametrize("objective", ["crd", "cpc", "ml_cpc"])
def test_gradients_reach_both_projections(objective, digits):
    contrast = Contrast(objective, 6, 4, digits[0].labels, generator(), count=50, dim=8)
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


@pytest.mark.parametrize("change, message", [
    ({"alpha": 1e5}, "alpha is 100000.0; valid: 0 < alpha <= 16385"),
    ({"weights": (1.0, 0.5)}, r"weights is \(1.0, 0.5\); valid: none, or the three numbers"),
    ({"weights": (0.0, 0.0, 0.0)}, "valid: at least one above 0"),
    ({"weights": (1.0, -1.0, 0.0)}, "weights is -1.0; valid: .* of at least 0"),
    ({"objective": "kd", "weights": (1.0, 1.0, 1.0)}, "valid: b = 0 for the objective kd"),
])  # fmt: skip
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        DistillConfig(**change)


def test_a_contrast_of_weight_zero_is_said():
    """The example in the authors' notes: -r 0.1 -a 0.9 -b 0 trains plain KD."""
    with pytest.warns(UserWarning, match="b of the contrast is 0: this trains no ml_cpc"):
        DistillConfig(objective="ml_cpc", weights=(0.1, 0.9, 0.0))


@pytest.mark.filterwarnings("ignore:the weight b")
def test_a_contrast_of_weight_zero_is_plain_kd():
    """Its cells are those of KD, so it is not even another training."""
    zero = DistillConfig(**{**TINY, "objective": "ml_cpc", "weights": (0.1, 0.9, 0.0)})
    plain = DistillConfig(**{**TINY, "objective": "kd"})
    assert EXPERIMENT.cells(zero) == EXPERIMENT.cells(plain)


def test_cells_depend_on_what_matters_and_on_nothing_else():
    """A teacher is that of every objective; a plain student that of every teacher."""
    config = DistillConfig(objective="cpc", seeds=(0, 1), teacher_epochs=30)

    def changed(**change):
        there = {each.name: each for each in EXPERIMENT.cells(replace(config, **change))}
        return [each.name for each in EXPERIMENT.cells(config) if there.get(each.name) != each]

    students = ["seed-0", "seed-1", "neighbours"]
    assert changed(objective="ml_cpc") == changed(alpha=0.5) == changed(count=5) == students
    assert changed(weights=(1.0, 0.0, 0.8)) == []
    of_teacher = ["teacher-resnet32x4-seed-0", "doubts", *students]
    assert changed(teacher_epochs=31) == of_teacher
    assert len(changed(held_out=0.2)) == len(changed(padding=1)) == 7
    assert changed(negatives="all") == students
    assert len(EXPERIMENT.cells(config)) == 7
    keep = {each.name: each.keep for each in EXPERIMENT.cells(config)}
    assert keep["seed-1"] == "run" and keep["plain-resnet8x4-seed-1"] == "shared"


# ---------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_epoch_is_that_of_the_formulas(objective, digits, teacher, small):
    train, _ = digits
    rab = (0.7, 0.3, 0.0 if objective == "kd" else 0.4)
    config = DistillConfig(**{**TINY, "objective": objective, "weights": rab, "epochs": 1})
    learner, _ = taught(config, digits, teacher, seed=3)
    assert len(train) // config.batch == 3
    with torch.random.fork_rng():
        torch.manual_seed(3)
        student = networks.build("wrn-10-1", 10, 1).train()
        contrast = Contrast(
            objective if objective != "kd" else "cpc", teacher.feature_dim, student.feature_dim,
            train.labels, training.generator(3), count=50, dim=8,
        )  # fmt: skip
    parameters = [*student.parameters(), *(contrast.parameters() if objective != "kd" else [])]
    optimiser = torch.optim.SGD(parameters, 0.02, 0.9, weight_decay=5e-4)
    order = torch.randperm(len(train), generator=training.generator(3, 0))
    banks = [contrast.teachers.vectors.clone(), contrast.students.vectors.clone()]
    log_scale = [None, None]
    for step in range(3):
        index = order[40 * step : 40 * step + 40]
        pixels = images.shifted(
            train.images[index], train.mean, train.std, training.generator(3, 0, step, 0), 1, 0.0
        )
        features, known = student.features(pixels), teacher.features(pixels).detach()
        logits = student.classifier(features)
        loss = 0.7 * torch.nn.functional.cross_entropy(logits, train.labels[index])
        loss = loss + 0.3 * kd_loss(logits, teacher.classifier(known).detach())
        if objective != "kd":
            others = contrast.others.draw(index, "sampled", 50, training.generator(3, 0, step, 1))
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
    found = weights(learner.network.state_dict())
    assert torch.allclose(found, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    "name, given, first", [("wrn-10-1", None, 0.05), ("MobileNetV2", None, 0.01),
                           ("MobileNetV2", 0.3, 0.3)]
)  # fmt: skip
def test_step_sizes_fall_three_times(name, given, first, digits):
    """From five, six and seven eighths of the epochs on, as 150, 180 and 210 of 240."""
    config = DistillConfig(**{**TINY, "learning_rate": given})
    learner = distill.Learner("", config.of_network(name, 0, 8), digits[0])
    rates = []
    for epoch in range(8):
        learner.begin(epoch)
        rates.append(learner.optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([first] * 5 + [first / 10, first / 100, first / 1000])


def test_a_stopped_student_goes_on_to_the_same_numbers(
    digits, teacher, small, tmp_path, monkeypatch
):
    """CRD has the most state: two memories and the scales that its first batch sets."""
    config = DistillConfig(**{**TINY, "objective": "crd", "epochs": 3})
    whole, _ = taught(config, digits, teacher)
    save = training._save

    def save_and_stop(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    for _ in range(2):
        monkeypatch.setattr(training, "_save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            taught(config, digits, teacher, tmp_path / "student")
    monkeypatch.setattr(training, "_save", save)
    resumed, epochs = taught(config, digits, teacher, tmp_path / "student")
    assert len(epochs) == 3
    for one, two in zip(whole.modules.values(), resumed.modules.values(), strict=True):
        assert torch.equal(weights(one.state_dict()), weights(two.state_dict()))


def test_broken_weights_stop_before_they_replace_a_checkpoint(digits, teacher, small, tmp_path):
    path = tmp_path / "student"
    with pytest.raises(ValueError, match="student stopped in epoch 0, step .*lower learning_rate"):
        taught(DistillConfig(**{**TINY, "learning_rate": 1e30}), digits, teacher, path)
    assert not path.exists()
    learner, _ = taught(DistillConfig(**{**TINY, "epochs": 1}), digits)
    next(learner.network.parameters()).data.fill_(math.inf)
    with pytest.raises(ValueError, match="network.* is not finite"):
        learner.end(0)


def test_accuracy_is_the_share_of_right_answers(digits, teacher):
    """A network that always says 7, asked about twelve of each digit and two more sevens."""
    train, _ = digits
    rows = torch.cat([torch.arange(len(train)), torch.nonzero(train.labels == 7)[:2, 0]])
    more = datasets.ImageSet(
        train.images[rows], train.labels[rows], train.classes, "more", "a test"
    )
    with torch.no_grad():
        teacher.classifier.weight.zero_()
        teacher.classifier.bias.copy_(torch.nn.functional.one_hot(torch.tensor(7), 10))
    assert distill.accuracy(teacher.train(), more, train) == 14 / 122


def test_settings_that_do_not_fit_the_images_are_refused_before_a_teacher_is_trained(digits):
    job = base.Job(train=digits[0], test=digits[1])

    def refused(message, **change):
        with pytest.raises(ValueError, match=message):
            EXPERIMENT.check(DistillConfig(**{**TINY, **change}), job)

    refused("batch is 200; valid: at most the 120 training images", batch=200)
    refused("alpha is 110.0; valid: 0 < alpha <= 109 cand", negatives="all", alpha=110.0)
    refused("held_out is 0.01, which is 0 of the 12 images of the class '0'", held_out=0.01)
    refused("each is 13; valid: 1 to 12, the size of the smallest class", each=13)
    kept = torch.arange(len(digits[0])) != 3
    fewer = datasets.ImageSet(digits[0].images[kept], digits[0].labels[kept], digits[0].classes,
                            "fewer", "a test")  # fmt: skip
    with pytest.raises(ValueError, match="classes have 11 to 12 samples; valid: classes of one"):
        EXPERIMENT.check(DistillConfig(**{**TINY, "negatives": "all"}), base.Job(train=fewer))


# ---------------------------------------------------------------------------------------------
# The experiment
# ---------------------------------------------------------------------------------------------


def test_students_that_read_the_answers_of_a_teacher_are_the_same(digits, small):
    torch.set_default_dtype(torch.float32)
    config, job = DistillConfig(**{**TINY, "flip": 0.5}), base.Job(train=digits[0], test=digits[1])
    one, two = (base.results_of(EXPERIMENT, replace(config, share_answers=each), job)
                for each in (False, True))  # fmt: skip
    assert torch.equal(weights(one["seed-0"].tensors), weights(two["seed-0"].tensors))
    assert EXPERIMENT.metrics(config, one) == EXPERIMENT.metrics(config, two)
    assert two["answers-wrn-10-2-seed-0"].tensors["logits"].shape == (2, 3, 40, 10)
    assert one["neighbours"].values["shared"] == [None, None]  # five images of each class
    shared = [[each for each in EXPERIMENT.cells(replace(config, share_answers=True, **change))
               if each.keep == "shared"] for change in ({}, {"objective": "crd"})]  # fmt: skip
    assert shared[0] == shared[1] and len(shared[0]) == 3


def test_with_images_held_out_the_test_images_are_not_looked_at(digits, small):
    train, test = digits
    noise = datasets.ImageSet(
        255 - test.images, test.labels.flip(0), test.classes, test.name, "a test"
    )
    config = DistillConfig(**{**TINY, "held_out": 0.25, "epochs": 1})
    kept, aside = distill.split(train, 0.25)
    assert (len(kept), len(aside)) == (90, 30)
    assert (
        kept.labels.bincount().tolist() == [9] * 10 and aside.labels.bincount().tolist() == [3] * 10
    )
    rows = {tuple(each.flatten().tolist()) for part in (kept, aside) for each in part.images}
    assert rows == {tuple(each.flatten().tolist()) for each in train.images}
    assert torch.equal(distill.split(train, 0.25)[1].images, aside.images)
    found = [EXPERIMENT.metrics(config, base.results_of(EXPERIMENT, config, base.Job(
        train=train, test=each))) for each in (test, noise)]  # fmt: skip
    assert found[0] == found[1]
    assert found[0]["neighbours shared with teacher, student"].values == (None,)  # three a class
    student = found[0]["accuracy student"].values[0] * 30
    assert student == pytest.approx(round(student))


def test_the_command_writes_a_record_and_networks_that_can_be_read_back(
    small, tmp_path, monkeypatch, capsys
):
    torch.set_default_dtype(torch.float32)
    monkeypatch.setenv("MLCPC_RESULTS", str(tmp_path))
    arguments = ["run", "distill", "--dataset", "digits", "--pair", "wrn-40-2-wrn-16-2"]
    arguments += "--each 12 --batch 40 --epochs 2 --count 64 --padding 1".split()
    assert main([*arguments, "--objective", "cpc", "--seeds", "0", "1"]) == 0
    record = records.read("distill-digits-wrn-40-2-wrn-16-2-cpc")
    assert record.profile == "quick" and record.seeds == [0, 1]
    found = {name: each.values for name, each in record.metrics.items()}
    assert record.metrics["accuracy teacher"].per == "run"
    gains = [a - b for a, b in zip(found["accuracy student"], found["accuracy plain student"],
                                   strict=True)]  # fmt: skip
    assert gains == pytest.approx(found["gain over plain student"])
    for of in ("student", "plain student"):
        assert all(0 < each < 1 for each in found[f"neighbours shared with teacher, {of}"])

    def kept(pattern):
        return sorted(path.name for path in (tmp_path / "weights").glob(pattern))

    assert len(kept("digits-*")) == 3
    assert kept("distill-*") == [f"{record.name}-seed-{seed}.safetensors" for seed in (0, 1)]
    again = distill.load(tmp_path / "weights" / kept("distill-*")[1])
    train, test = (datasets.load("digits", split).first(12) for split in datasets.SPLITS)
    assert (again.accuracy, again.seed) == (found["accuracy student"][1], 1)
    assert distill.accuracy(again.network, test, train) == again.accuracy and len(again.epochs) == 2
    teacher = distill.load(tmp_path / "weights" / kept("digits-teacher-wrn-10-2-*")[0])
    assert (teacher.accuracy,) == found["accuracy teacher"]
    assert files.state_checksum(teacher.network.state_dict()) == record.arrays["teacher"]
    files.save_state(tmp_path / "other", {}, {"values": {}})
    with pytest.raises(ValueError, match="other holds no teacher or student"):
        distill.load(tmp_path / "other")
    capsys.readouterr()
    assert main([*arguments, "--objective", "kd", "--weights", "0.5", "0.5", "0"]) == 0
    said = capsys.readouterr()
    assert len(kept("digits-*")) == 3 and "teacher-wrn" not in said.err  # no bar: nothing trained
    other = records.read("distill-digits-wrn-40-2-wrn-16-2-kd")
    assert other.config["weights"] == [0.5, 0.5, 0.0] and "--weights 0.5 0.5 0.0" in other.command
    assert bool(other.arrays["warnings"]) == ("warning: the teacher (" in said.out)
    assert main([*arguments, "--objective", "kd", "--teacher_epochs", "3"]) == 2
    mine = base.Job(train=train, test=test)  # another name and other pixels
    config = DistillConfig.from_dict(record.config)
    base.perform(EXPERIMENT, config, mine, only=["plain-wrn-10-1-seed-0"])
    assert len(kept("digits-plain-*")) == 2
    assert len(kept("digits-first-12-of-each-class-plain-*")) == 1


def test_a_student_of_another_teacher_is_not_put_into_a_record(digits, small):
    torch.set_default_dtype(torch.float32)
    config = DistillConfig(**{**TINY, "objective": "kd", "epochs": 1})
    found = base.results_of(EXPERIMENT, config, base.Job(train=digits[0], test=digits[1]))
    teacher = found["teacher-wrn-10-2-seed-0"]
    teacher.tensors["classifier.bias"] += 1
    with pytest.raises(ValueError, match="the student of seed 0 had a teacher with other weights"):
        EXPERIMENT.metrics(config, found)


def test_a_teacher_that_is_no_better_is_said_before_students_train(digits, small, capsys):
    # better than the worst seed, and still no better than the student
    expected = "the teacher (0.6000) is no better than the plain student (0.6500)"
    assert distill.doubts(0.6, [0.5, 0.8]) == [expected]
    assert distill.doubts(0.8, [0.6, 0.5]) == []
    config = DistillConfig(**TINY, seeds=(0, 1))
    names = [each.name for each in EXPERIMENT.cells(config)]
    assert names.index("doubts") < names.index("seed-0")
    cell = next(each for each in EXPERIMENT.cells(config) if each.name == "doubts")
    given = dict(zip(cell.needs, (0.6, 0.5, 0.8), strict=True))
    inputs = {name: base.Result({"accuracy": each}) for name, each in given.items()}
    done = EXPERIMENT.run(cell, config, inputs, base.Job(train=digits[0], test=digits[1]))
    assert done.values["warnings"] == [expected]
    assert capsys.readouterr().out == f"warning: {expected}\n"


def test_the_scale_of_crd_is_set_once(digits):
    """log Z of a direction: N times the mean of e^score in the first batch."""
    contrast = Contrast("crd", 6, 4, digits[0].labels, generator(), count=50, dim=8)
    student, known = torch.randn(5, 4), torch.randn(5, 6)
    contrast(torch.arange(5), student, known, generator(1))
    first = contrast.log_scale.clone()
    others = contrast.others.draw(torch.arange(5), "sampled", 50, generator(1))
    positions = torch.cat([torch.arange(5)[:, None], others], 1)
    scores_ = contrast.teachers.scores(contrast.of_student(student), positions) / 0.07
    assert abs(first[0] - (scores_.exp().mean() * len(digits[0])).log()) < 1e-10
    contrast(torch.arange(5), student * 2, known, generator(2))
    assert torch.equal(contrast.log_scale, first)
