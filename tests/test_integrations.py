"""Our losses inside other libraries, against what those compute; run by ``make peers``."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent


def importable_torchvision():
    """torchvision beside a CPU build of PyTorch, as the benchmark does it."""
    spec = importlib.util.spec_from_file_location(
        "for_torchvision", ROOT / "benchmarks/allpairs.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.make_torchvision_importable()


def drawn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def unit(*shape, seed=0):
    return torch.nn.functional.normalize(drawn(*shape, seed=seed), dim=1)


def same(ours, theirs, x, tolerance=1e-5):
    """Value and gradient of two losses of x."""
    leaves = x.clone().requires_grad_(), x.clone().requires_grad_()
    values = ours(leaves[0]), theirs(leaves[1])
    for value in values:
        value.backward()
    assert abs(values[0] - values[1]) < tolerance
    assert (leaves[0].grad - leaves[1].grad).abs().max() < tolerance


# ---------------------------------------------------------------------------------------------
# open_clip: the adapter needs no library
# ---------------------------------------------------------------------------------------------


def test_open_clips_loop_finds_one_entry():
    from mlcpc.integrations.open_clip import ClipLoss
    from mlcpc.losses import MLCPCLoss

    out = {"image_features": unit(6, 4), "text_features": unit(6, 4, seed=1)}
    out |= {"logit_scale": torch.tensor(5.0), "logit_bias": torch.tensor(-3.0, requires_grad=True)}
    found = ClipLoss(rank=0, world_size=1)(**out, output_dict=True)
    assert list(found) == ["contrastive_loss"]
    expected = MLCPCLoss(0.2)(out["image_features"], out["text_features"])
    assert abs(found["contrastive_loss"] - expected) < 1e-6
    sum(found.values()).backward()
    assert out["logit_bias"].grad == 0
    with pytest.raises(ValueError, match="logits is given; valid: image_features"):
        ClipLoss()(**out, logits=torch.ones(2))
    with pytest.raises(ValueError, match="use_horovod is True"):
        ClipLoss(use_horovod=True)


def test_open_clips_own_loss_is_the_one_with_a_normaliser_for_each_anchor():
    pytest.importorskip("open_clip_train")
    importable_torchvision()
    open_clip = pytest.importorskip("open_clip")
    from mlcpc.integrations.open_clip import ClipLoss

    texts, scale = unit(9, 4, seed=1), torch.tensor(12.0)
    ours, theirs = ClipLoss(per_anchor=True), open_clip.ClipLoss()
    same(lambda x: ours(x, texts, scale), lambda x: theirs(x, texts, scale), unit(9, 4))


def test_open_clips_model_trains():
    importable_torchvision()
    open_clip = pytest.importorskip("open_clip")
    from mlcpc.integrations.open_clip import ClipLoss

    torch.manual_seed(0)
    vision = {"image_size": 16, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 6, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1}
    model = open_clip.CLIP(16, vision, text, output_dict=True)
    images, texts = drawn(16, 3, 16, 16), torch.randint(1, 50, (16, 6))
    optimiser, loss = torch.optim.AdamW(model.parameters(), 3e-3), ClipLoss()
    values = []
    for _ in range(12):
        losses = loss(**model(images, texts), output_dict=True)
        total = sum(losses.values())
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        values.append(total.item())
    assert values[-1] < 0.7 * values[0]


# ---------------------------------------------------------------------------------------------
# lightly
# ---------------------------------------------------------------------------------------------


def test_lightlys_own_loss_is_the_one_with_a_normaliser_for_each_anchor():
    importable_torchvision()
    library = pytest.importorskip("lightly.loss")
    from mlcpc.integrations.lightly import NTXentLoss

    y = drawn(8, 5, seed=1)
    ours, theirs = NTXentLoss(0.3, per_anchor=True), library.NTXentLoss(0.3)
    same(lambda x: ours(x, y), lambda x: theirs(x, y), drawn(8, 5))
    torch.manual_seed(0)
    ours = NTXentLoss(0.3, memory_bank_size=(12, 5), per_anchor=True)
    torch.manual_seed(0)
    theirs = library.NTXentLoss(0.3, memory_bank_size=(12, 5))
    for step in range(3):  # the banks take the same keys in
        y = drawn(4, 5, seed=9 + step)
        same(lambda x, y=y: ours(x, y), lambda x, y=y: theirs(x, y), drawn(4, 5, seed=step))
    x, y = drawn(4, 5).requires_grad_(), drawn(4, 5, seed=1)
    assert NTXentLoss(0.3)(x, y) > 0
    assert NTXentLoss(0.3, memory_bank_size=(12, 5))(x, y) > 0


# ---------------------------------------------------------------------------------------------
# pytorch-metric-learning
# ---------------------------------------------------------------------------------------------

LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 3, 2])


def test_metric_learning_with_labels():
    from mlcpc.integrations.metric_learning import MLCPCLoss

    library = pytest.importorskip("pytorch_metric_learning.losses")
    supcon, ours = library.SupConLoss(0.2), MLCPCLoss(0.2, per_anchor=True)
    # Theirs leaves out anchors without a partner, and keeps log p: both are known numbers.
    partners = torch.tensor([2, 1, 2, 1, 1, 2, 1.0])
    less = partners.log().mean()
    same(
        lambda x: ours(x, LABELS) + less, lambda x: supcon(x, LABELS), drawn(8, 5), 1e-5
    )  # fmt: skip
    others, their_labels = drawn(6, 5, seed=1), torch.tensor([0, 1, 2, 3, 0, 1])
    less = torch.tensor([2, 2, 2, 1, 2, 2, 1, 1.0]).log().mean()
    arguments = {"ref_emb": others, "ref_labels": their_labels}
    same(
        lambda x: ours(x, LABELS, **arguments) + less,
        lambda x: supcon(x, LABELS, **arguments), drawn(8, 5), 1e-5,
    )  # fmt: skip


def test_metric_learning_refuses_by_name():
    from mlcpc.integrations.metric_learning import MLCPCLoss

    x, loss = drawn(8, 5), MLCPCLoss()
    assert loss(x, LABELS) > 0
    for arguments, message in (
        ((x, None), "labels is NoneType; valid"),
        ((x, LABELS.float()), "labels is torch.float32; valid"),
        ((x, LABELS[:3]), "labels has 3 entries; valid: 8"),
        ((x, torch.arange(8)), "labels has no two equal ones"),
        ((x, torch.zeros(8, dtype=torch.long)), "row 0 has no negative left"),
        ((x, LABELS, (1, 2, 3)), "indices_tuple is given"),
        ((x, LABELS, None, x), "ref_emb and ref_labels go together"),
    ):
        with pytest.raises(ValueError, match=message):
            loss(*arguments)


# ---------------------------------------------------------------------------------------------
# sentence-transformers
# ---------------------------------------------------------------------------------------------

WORDS = ["red", "blue", "green", "cat", "dog", "bird", "runs", "sleeps", "sings", "the", "a"]


@pytest.fixture
def tiny(tmp_path):
    """A BERT of one layer with random weights and a tokenizer of a few words: no downloads."""
    importable_torchvision()  # or transformers would not import beside it
    library = pytest.importorskip("sentence_transformers")
    import transformers

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary))
    tokenizer = transformers.BertTokenizerFast(str(tmp_path / "vocab.txt"))
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 64, "vocab_size": len(vocabulary)}
    sizes |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = transformers.BertConfig(**sizes)
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    parts = library.models if hasattr(library, "models") else library.sentence_transformer.modules
    transformer = parts.Transformer(str(tmp_path), max_seq_length=8)
    return library.SentenceTransformer(modules=[transformer, parts.Pooling(32)], device="cpu")


def columns(model, hard=False):
    animals = [f"the {colour} {animal}" for colour in WORDS[:3] for animal in WORDS[3:6]]
    texts = [animals, [f"a {each.split()[2]} {each.split()[1]}" for each in animals]]
    if hard:
        texts.append([f"a {each.split()[1]} {WORDS[6 + i % 3]}" for i, each in enumerate(animals)])
    tokenize = getattr(model, "preprocess", None) or model.tokenize
    return texts, [tokenize(each) for each in texts]


def gradients(model):
    found = [each.grad.clone() for each in model.parameters() if each.grad is not None]
    model.zero_grad()
    return found


@pytest.mark.parametrize("hard", [False, True])
def test_caching_changes_neither_value_nor_gradient(tiny, hard):
    from mlcpc.integrations.sentence_transformers import MLCPCRankingLoss

    _, features = columns(tiny, hard)
    values, found = [], []
    for size in (None, 2, 9):
        loss = MLCPCRankingLoss(tiny, mini_batch_size=size)
        value = loss([dict(each) for each in features], None)
        value.backward()
        values.append(value.item())
        found.append(gradients(tiny))
    assert max(values) - min(values) < 1e-5
    for other in found[1:]:
        assert max((a - b).abs().max() for a, b in zip(found[0], other, strict=True)) < 1e-5


@pytest.mark.parametrize("hard", [False, True])
def test_the_librarys_loss_is_the_one_with_a_normaliser_for_each_anchor(tiny, hard):
    library = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    from mlcpc.integrations.sentence_transformers import MLCPCRankingLoss

    _, features = columns(tiny, hard)
    found = []
    for loss in (
        MLCPCRankingLoss(tiny, per_anchor=True), library.MultipleNegativesRankingLoss(tiny)
    ):  # fmt: skip
        value = loss([dict(each) for each in features], None)
        value.backward()
        found.append((value.item(), gradients(tiny)))
    (one, ours), (other, theirs) = found
    assert one == pytest.approx(other, abs=1e-5)
    assert max((a - b).abs().max() for a, b in zip(ours, theirs, strict=True)) < 1e-5


@pytest.mark.parametrize("size", [None, 4])
def test_two_epochs_of_the_librarys_trainer(tiny, size, tmp_path):
    datasets = pytest.importorskip("datasets")
    library = pytest.importorskip("sentence_transformers")
    from mlcpc.integrations.sentence_transformers import MLCPCRankingLoss

    texts, features = columns(tiny)
    data = datasets.Dataset.from_dict({"anchor": texts[0] * 4, "positive": texts[1] * 4})
    loss = MLCPCRankingLoss(tiny, mini_batch_size=size)  # the line that changes
    arguments = library.SentenceTransformerTrainingArguments(
        str(tmp_path / "run"), num_train_epochs=2, per_device_train_batch_size=9,
        learning_rate=3e-3, report_to=[], save_strategy="no", logging_steps=1, use_cpu=True, seed=0,
    )  # fmt: skip
    with torch.no_grad():
        before = loss([dict(each) for each in features], None).item()
    trainer = library.SentenceTransformerTrainer(
        model=tiny, args=arguments, train_dataset=data, loss=loss
    )
    trainer.train()
    with torch.no_grad():
        after = loss([dict(each) for each in features], None).item()
    assert math.isfinite(after) and after < 0.8 * before


def test_bad_settings_of_sentence_transformers_are_named(tiny):
    from sentence_transformers import util

    from mlcpc.integrations.sentence_transformers import MLCPCRankingLoss

    for options, message in (
        ({"similarity_fct": util.euclidean_sim}, "similarity_fct is euclidean_sim; valid"),
        ({"scale": 0}, "scale is 0; valid: scale > 0"),
        ({"mini_batch_size": 0}, "mini_batch_size is 0; valid"),
    ):
        with pytest.raises(ValueError, match=message):
            MLCPCRankingLoss(tiny, **options)
    with pytest.raises(ValueError, match="1 column is given"):
        MLCPCRankingLoss(tiny)(columns(tiny)[1][:1], None)


def test_the_package_itself_imports_none_of_the_libraries():
    import subprocess
    import sys

    names = ("sentence_transformers", "open_clip", "lightly", "pytorch_metric_learning")
    code = (
        f"import sys\nfor name in {names}: sys.modules[name] = None\n"
        "import mlcpc.losses, mlcpc.integrations, mlcpc.integrations.open_clip\n"
        "import mlcpc.integrations.lightly, mlcpc.integrations.metric_learning"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
