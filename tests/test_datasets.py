"""Data sets are what they claim to be, or refused."""

import gzip
import hashlib
import io
import lzma
import sys
import tarfile
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from mlcpc import datasets
from mlcpc.datasets import ImageSet

ROOT = Path(__file__).resolve().parent.parent
DEBIAN = datasets.DEBIAN


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No test reads what is installed, set or cached here, or asks a server."""

    def no_server(url):
        raise OSError("no server in tests")

    monkeypatch.delenv("MLCPC_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets, "DEBIAN", tmp_path / "no package")
    monkeypatch.setattr(datasets, "_fetch", no_server)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pixels(count=6, channels=1, size=4, seed=0):
    shape = (count, channels, size, size)
    return torch.randint(0, 256, shape, generator=generator(seed), dtype=torch.uint8)


def small(count=6, classes=3, **options):
    labels = torch.arange(count) % classes
    names = tuple("abcdefgh"[:classes])
    return ImageSet(pixels(count, **options), labels, names, "small", "a test")


# ---------------------------------------------------------------------------------------------
# The set
# ---------------------------------------------------------------------------------------------


def test_set_describes_itself():
    made = small()
    assert len(made) == 6
    assert made.describe() == {
        "name": "small",
        "source": "a test",
        "sha256": made.sha256,
        "shape": [6, 1, 4, 4],
        "classes": 3,
    }
    assert str(made).startswith("small: 6 images of 1 × 4 × 4 in 3 classes, from a test, sha256 ")


def test_hash_sees_pixels_labels_and_shape_and_nothing_else():
    one = small()
    same = ImageSet(one.images.clone(), one.labels.clone(), ("x", "y", "z"), "other", "elsewhere")
    assert same.sha256 == one.sha256
    moved = one.images.clone()
    moved[3, 0, 1, 2] ^= 1
    swapped = one.labels.flip(0)
    flat = one.images.view(6, 1, 2, 8)
    for other in ((moved, one.labels), (one.images, swapped), (flat, one.labels)):
        assert ImageSet(*other, one.classes, "small", "a test").sha256 != one.sha256
    strided = one.images.transpose(2, 3).contiguous().transpose(2, 3)
    assert ImageSet(strided, one.labels, one.classes, "small", "a test").sha256 == one.sha256


def test_moments_are_those_of_all_pixels():
    made = small(channels=3)
    channels = made.images.double().div(255).transpose(0, 1).flatten(1)
    assert torch.allclose(made.mean.double(), channels.mean(1), atol=1e-7)
    assert torch.allclose(made.std.double(), channels.std(1, correction=0), atol=1e-7)


def test_constant_channel_has_no_std():
    made = ImageSet(
        torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.tensor([0, 1]), ("a", "b"), "n", "s"
    )
    with pytest.raises(ValueError, match="constant channel"):
        made.std  # noqa: B018


@pytest.mark.parametrize("change, message", [
    ({"images": pixels().float()}, r"images is float32 \(6, 1, 4, 4\); valid: uint8"),
    ({"images": pixels()[:, 0]}, r"images is uint8 \(6, 4, 4\)"),
    ({"images": pixels()[:0], "labels": torch.arange(0)}, r"images is uint8 \(0, 1, 4, 4\)"),
    ({"labels": torch.arange(6).int() % 3}, r"labels of small is int32 \(6,\)"),
    ({"labels": torch.arange(5) % 3}, r"int64 \(5,\); valid: int64 \(6,\)"),
    ({"labels": torch.tensor([0, 1, 2, 3, 0, 1])}, "holds 3 in row 3; valid: 0 to 2"),
    ({"labels": torch.tensor([0, 1, 2, -1, 0, 1])}, "holds -1 in row 3"),
    ({"labels": torch.tensor([0, 1, 0, 1, 0, 1])}, "class 'c' of small has no image"),
])  # fmt: skip
def test_set_that_is_wrong_is_refused(change, message):
    made = small()
    fields = {"images": made.images, "labels": made.labels, **change}
    with pytest.raises(ValueError, match=message):
        ImageSet(fields["images"], fields["labels"], made.classes, "small", "a test")


def test_first_of_each_class_in_their_order():
    labels = torch.tensor([2, 0, 0, 1, 2, 1, 0, 2, 1])
    made = ImageSet(pixels(9), labels, ("a", "b", "c"), "small", "a test")
    part = made.first(2)
    rows = [0, 1, 2, 3, 4, 5]
    assert torch.equal(part.images, made.images[rows])
    assert torch.equal(part.labels, labels[rows])
    assert part.name == "small, first 2 of each class"
    for each in (0, 4):
        with pytest.raises(ValueError, match=f"each is {each}; valid: 1 to 3"):
            made.first(each)


# ---------------------------------------------------------------------------------------------
# Fashion-MNIST
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split, each", [("train", 1000), ("test", 200)])
def test_subset_is_balanced(split, each):
    subset = datasets.load("fashion-mnist-subset", split)
    assert subset.images.shape == (10 * each, 1, 28, 28)
    assert torch.bincount(subset.labels).tolist() == [each] * 10
    assert subset.source == "the package mlcpc"
    assert subset.classes[9] == "Ankle boot"


@pytest.mark.skipif(
    not datasets._file(DEBIAN, "train-images-idx3-ubyte"),
    reason="the Debian package dataset-fashion-mnist is not installed",
)
@pytest.mark.parametrize("split, each", [("train", 1000), ("test", 200)])
def test_subset_is_the_first_of_each_class_of_the_full_data(split, each, monkeypatch):
    monkeypatch.setattr(datasets, "DEBIAN", DEBIAN)
    full = datasets.load("fashion-mnist", split)
    assert full.source == "the Debian package dataset-fashion-mnist"
    assert len(full) == {"train": 60_000, "test": 10_000}[split]
    assert datasets.load("fashion-mnist-subset", split).sha256 == full.first(each).sha256
    if split == "train":
        assert round(full.mean.item(), 4) == 0.2860 and round(full.std.item(), 4) == 0.3530


@pytest.mark.parametrize("damage", [
    lambda packed: packed[:-1000],
    lambda packed: packed[:200_000] + b"\0" + packed[200_001:],
    lambda packed: lzma.compress(b"other data", preset=0),
    lambda packed: b"no archive",
], ids=["truncated", "changed", "foreign", "no archive"])  # fmt: skip
def test_damaged_subset_is_refused(damage, monkeypatch, tmp_path):
    packed = ROOT.joinpath("mlcpc/data", datasets._SUBSET_FILE).read_bytes()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / datasets._SUBSET_FILE).write_bytes(damage(packed))
    monkeypatch.setattr(datasets, "resources", types.SimpleNamespace(files=lambda _: tmp_path))
    datasets._subset.cache_clear()
    with pytest.raises(ValueError, match=r"fashion-mnist-subset\.xz of the package"):
        datasets.load("fashion-mnist-subset")
    datasets._subset.cache_clear()


def idx(array):
    """The idx format: magic number of uint8 data, sizes as big-endian integers, data."""
    header = bytes([0, 0, 8, array.ndim])
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + sizes + array.tobytes()


@pytest.fixture
def fake(monkeypatch):
    """A tiny Fashion-MNIST whose hashes count as the published ones: file name -> content."""
    contents, hashes = {}, {}
    for split, begin in (("train", "train"), ("test", "t10k")):
        shown = pixels(20, size=28, seed=len(split)).numpy()[:, 0]
        files = {
            f"{begin}-images-idx3-ubyte": idx(shown),
            f"{begin}-labels-idx1-ubyte": idx(np.arange(20, dtype=np.uint8) % 10),
        }
        contents |= files
        hashes[split] = tuple((n, hashlib.sha256(c).hexdigest()) for n, c in files.items())
    monkeypatch.setattr(datasets, "_FASHION_FILES", hashes)
    return contents


def lay(folder, contents, packed=True):
    folder.mkdir(parents=True)
    for name, content in contents.items():
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)
    return folder


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("split", datasets.SPLITS)
def test_idx_files_are_read(fake, tmp_path, packed, split):
    found = datasets.load("fashion-mnist", split, lay(tmp_path / "d", fake, packed))
    assert torch.equal(found.images, pixels(20, size=28, seed=len(split)))
    assert found.labels.tolist() == [i % 10 for i in range(20)]
    assert found.name == "fashion-mnist" and found.source == "the folder that was asked for"


def test_sources_are_asked_in_their_order(fake, tmp_path, monkeypatch):
    argument, variable, package = (tmp_path / name for name in ("a", "v", "p"))
    asked = []
    monkeypatch.setattr(datasets, "DEBIAN", package)
    monkeypatch.setattr(
        datasets,
        "_fetch",
        lambda url: asked.append(url) or gzip.compress(fake[url.rpartition("/")[2][:-3]]),
    )
    assert datasets.load("fashion-mnist").source.startswith(datasets._GITHUB)
    assert len(asked) == 2
    lay(package, fake)
    assert datasets.load("fashion-mnist").source == "the Debian package dataset-fashion-mnist"
    monkeypatch.setenv("MLCPC_DATA", str(variable))
    assert datasets.load("fashion-mnist").source == "the Debian package dataset-fashion-mnist"
    lay(variable / "fashion-mnist", fake)
    assert datasets.load("fashion-mnist").source == "the folder MLCPC_DATA"
    lay(argument, fake)
    assert datasets.load("fashion-mnist", path=argument).source == "the folder that was asked for"
    assert len(asked) == 2


def test_download_is_kept_once_it_is_checked(fake, monkeypatch, tmp_path, capsys):
    asked = []

    def fetch(url):
        asked.append(url)
        return gzip.compress(fake[url.rpartition("/")[2][:-3]])

    monkeypatch.setattr(datasets, "_fetch", fetch)
    first, second = datasets.load("fashion-mnist"), datasets.load("fashion-mnist")
    assert asked == [
        datasets._GITHUB + "train-images-idx3-ubyte.gz",
        datasets._GITHUB + "train-labels-idx1-ubyte.gz",
    ]
    assert first.sha256 == second.sha256
    kept = sorted(each.name for each in (tmp_path / "cache/mlcpc/fashion-mnist").iterdir())
    assert kept == ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]
    assert "fetching" in capsys.readouterr().err


def test_wrong_download_is_refused_and_not_kept(fake, monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "_fetch", lambda url: gzip.compress(b"a page: not found"))
    with pytest.raises(ValueError, match="is not the published train-images-idx3-ubyte"):
        datasets.load("fashion-mnist")
    assert not list((tmp_path / "cache").rglob("*ubyte*"))


DAMAGES = {
    "another image": lambda content: gzip.compress(content[:-1] + bytes([content[-1] ^ 1])),
    "one byte less": lambda content: gzip.compress(content[:-1]),
    "truncated gzip": lambda content: gzip.compress(content)[:-2000],
    "changed gzip": lambda content: (
        (packed := gzip.compress(content))[:5000] + bytes([packed[5000] ^ 255]) + packed[5001:]
    ),
    "no gzip": lambda content: content,
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_wrong_file_is_refused_by_name_and_hashes(fake, tmp_path, damage, monkeypatch):
    """And no other source is asked, although one has the right file."""
    bad = lay(tmp_path / "bad", fake)
    monkeypatch.setenv("MLCPC_DATA", str(bad))
    monkeypatch.setattr(datasets, "DEBIAN", lay(tmp_path / "good", fake))
    name = "train-images-idx3-ubyte"
    (bad / f"{name}.gz").write_bytes(DAMAGES[damage](fake[name]))
    with pytest.raises(ValueError) as caught:
        datasets.load("fashion-mnist")
    said = str(caught.value)
    assert f"{bad / name}.gz is not the published {name}" in said
    assert f"valid: {hashlib.sha256(fake[name]).hexdigest()}" in said
    assert "sha256 " in said.partition("valid")[0]
    assert len(datasets.load("fashion-mnist", "test")) == 20  # whose files are whole


def test_missing_data_say_what_was_looked_at(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load("fashion-mnist")
    said = str(caught.value)
    for each in ("MLCPC_DATA is not set", "no package lacks train-images-idx3-ubyte and",
                 "the download failed: no server", "dataset-fashion-mnist", datasets._GITHUB,
                 "fashion-mnist-subset"):  # fmt: skip
        assert each in said
    monkeypatch.setenv("MLCPC_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere/fashion-mnist lacks .*nowhere lacks"):
        datasets.load("fashion-mnist")
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load("fashion-mnist", path=tmp_path / "asked")
    assert "asked lacks" in str(caught.value) and "nowhere" not in str(caught.value)


@pytest.mark.parametrize("arguments, message", [
    (("mnist",), "name is 'mnist'; valid: fashion-mnist, fashion-mnist-subset, digits"),
    (("fashion-mnist", "valid"), "split is 'valid'; valid: train, test"),
    (("fashion-mnist-subset", "train", "x"), "path is 'x' for fashion-mnist-subset"),
    (("digits", "train", "x"), "path is 'x' for digits"),
])  # fmt: skip
def test_bad_names_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.load(*arguments)


# ---------------------------------------------------------------------------------------------
# digits, CIFAR, folders
# ---------------------------------------------------------------------------------------------


def test_digits():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    train, test = datasets.load("digits"), datasets.load("digits", "test")
    assert (len(train), len(test)) == (1438, 359)
    assert train.images.shape[1:] == (1, 8, 8) and int(train.images.max()) == 16
    assert train.classes == tuple("0123456789")


def test_digits_split_and_missing_library(monkeypatch):
    given = types.SimpleNamespace(
        images=np.arange(11)[:, None, None] + np.zeros((11, 8, 8)),
        target=np.arange(11) % 2,
        target_names=np.array([0, 1]),
    )
    stub = types.ModuleType("sklearn.datasets")
    stub.load_digits = lambda: given
    monkeypatch.setitem(sys.modules, "sklearn", types.ModuleType("sklearn"))
    monkeypatch.setitem(sys.modules, "sklearn.datasets", stub)
    train, test = datasets.load("digits"), datasets.load("digits", "test")
    assert test.images[:, 0, 0, 0].tolist() == [4, 9]
    assert train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 10]
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"digits needs sklearn.*mlcpc\[experiments\]"):
        datasets.load("digits")


@pytest.fixture
def cifar(monkeypatch, tmp_path):
    """A function that writes a CIFAR with a few images in its real format."""
    counts = {"cifar10": 20, "cifar100": 200}
    for name, count in counts.items():
        kind = datasets._CIFAR[name]
        few = {split: dict.fromkeys(files, count) for split, files in kind.files.items()}
        monkeypatch.setitem(datasets._CIFAR, name, kind._replace(files=few))

    def write(name, packed=False):
        kind = datasets._CIFAR[name]
        folder = tmp_path / kind.folder
        folder.mkdir()
        shown = []
        for files in kind.files.values():
            for file, count in files.items():
                fine = np.arange(count, dtype=np.uint8)[::-1] % kind.classes
                coarse = [] if kind.label_bytes == 1 else [fine[:, None] // 5]
                shown.append(np.random.default_rng(len(shown)).integers(0, 256, (count, 3072)))
                rows = np.hstack([*coarse, fine[:, None], shown[-1].astype(np.uint8)])
                (folder / file).write_bytes(rows.astype(np.uint8).tobytes())
        names = "".join(f"class {i}\n" for i in range(kind.classes)) + "\n"
        (folder / kind.names).write_text(names)
        if not packed:
            return folder, shown
        archive = tmp_path / kind.archive
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(folder, kind.folder)
        for each in folder.iterdir():
            each.unlink()
        folder.rmdir()
        return archive, shown

    return write


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name, files", [("cifar10", 5), ("cifar100", 1)])
def test_cifar_is_read(cifar, tmp_path, name, files, packed, monkeypatch):
    where, shown = cifar(name, packed)
    train = datasets.load(name, "train", where)
    test = datasets.load(name, "test", tmp_path)  # the folder that holds it
    assert torch.equal(train.images, torch.tensor(np.vstack(shown[:files])).view(-1, 3, 32, 32))
    assert torch.equal(test.images, torch.tensor(shown[files]).view(-1, 3, 32, 32))
    classes = len(train.classes)
    assert test.labels.tolist() == [i % classes for i in reversed(range(len(test)))]
    assert train.classes[7] == "class 7" and train.name == name
    monkeypatch.setenv("MLCPC_DATA", str(tmp_path))
    assert datasets.load(name).sha256 == train.sha256


def test_full_cifar_lengths_are_asked_for(tmp_path):
    kind = datasets._CIFAR["cifar10"]
    folder = tmp_path / kind.folder
    folder.mkdir()
    (folder / "test_batch.bin").write_bytes(bytes(3073 * 10))
    (folder / kind.names).write_text("a\n" * 10)
    with pytest.raises(ValueError, match=r"has 30,730 bytes; valid: 30,730,000, that is 10,000"):
        datasets.load("cifar10", "test", folder)


def change(path, edit):
    content = bytearray(path.read_bytes())
    edit(content)
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("file, edit, message", [
    ("data_batch_3.bin", lambda c: c.pop(), "data_batch_3.bin in .* bytes; valid: 61,460"),
    ("data_batch_1.bin", lambda c: c.__setitem__(3073, 11), "holds 11 in row 1; valid: 0 to 9"),
    (
        "data_batch_1.bin",
        lambda c: c.__setitem__(0, 3),
        "has 9 to 11 images a class; valid: 10",
    ),
    ("batches.meta.txt", lambda c: c.extend(b"eleven\n"), "has not 10 names"),
    ("batches.meta.txt", lambda c: c.__setitem__(0, 255), "has not 10 names"),
])  # fmt: skip
def test_wrong_cifar_is_refused(cifar, file, edit, message):
    folder, _ = cifar("cifar10")
    change(folder / file, edit)
    with pytest.raises(ValueError, match=message):
        datasets.load("cifar10", path=folder)


def test_fine_labels_are_the_second_byte(cifar):
    folder, _ = cifar("cifar100")
    change(folder / "test.bin", lambda c: c.__setitem__(0, 99))  # a coarse label, not read
    assert len(datasets.load("cifar100", "test", folder).classes) == 100
    change(folder / "test.bin", lambda c: c.__setitem__(1, 100))
    with pytest.raises(ValueError, match="holds 100 in row 0"):
        datasets.load("cifar100", "test", folder)


@pytest.mark.parametrize("cut", [0.5, 0.99])
def test_truncated_archive_is_refused(cifar, cut):
    archive, _ = cifar("cifar10", packed=True)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz (is damaged|lacks)"):
        datasets.load("cifar10", path=archive)


def test_archive_of_another_set_is_refused(cifar):
    archive, _ = cifar("cifar100", packed=True)
    with pytest.raises(ValueError, match=r"lacks data_batch_1\.bin, .*; valid: the binary version"):
        datasets.load("cifar10", path=archive)


def test_changed_archive_is_refused(cifar):
    """The checksum of gzip sees it, if the packed bytes can be read at all."""
    archive, _ = cifar("cifar10", packed=True)
    change(archive, lambda c: c.__setitem__(len(c) // 2, c[len(c) // 2] ^ 16))
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz is damaged"):
        datasets.load("cifar10", path=archive)


def test_pickles_are_never_loaded(tmp_path, monkeypatch):
    import pickle

    def never(*_, **__):
        raise AssertionError("a pickle was loaded")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, never)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "batches.meta").write_bytes(b"\x80\x04.")
    (tmp_path / "cifar-100-python.tar.gz").write_bytes(b"")
    for name, path in (
        ("cifar10", folder),
        ("cifar10", tmp_path),
        ("cifar100", tmp_path),
        ("cifar100", tmp_path / "cifar-100-python.tar.gz"),
    ):
        with pytest.raises(ValueError, match=r"a pickle, .* valid: the binary version, cifar-10"):
            datasets.load(name, path=path)


def test_missing_cifar_says_what_was_looked_at(tmp_path):
    with pytest.raises(FileNotFoundError, match="MLCPC_DATA is not set.*cifar-10-binary.tar.gz"):
        datasets.load("cifar10")
    (tmp_path / "train").mkdir()  # of another set, not the pickle of that name
    with pytest.raises(FileNotFoundError, match="looked at .* for train.bin"):
        datasets.load("cifar100", path=tmp_path)


def picture(path, width, height, colour=(255, 0, 0), mode="RGB"):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    path.parent.mkdir(parents=True, exist_ok=True)
    made = image.new("RGB", (width, height), (0, 0, 255))
    made.paste(colour, (width // 4, height // 4, width - width // 4, height - height // 4))
    made.convert(mode).save(path)


def test_folder_of_class_folders(tmp_path):
    picture(tmp_path / "dog/b.png", 90, 60)
    picture(tmp_path / "dog/a.jpg", 30, 45)
    picture(tmp_path / "cat/x.JPEG", 16, 16)
    picture(tmp_path / "cat/grey.png", 50, 50, mode="L")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes.txt").write_text("beside the classes")
    found = datasets.image_folder(tmp_path, 14)
    assert found.classes == ("cat", "dog") and found.labels.tolist() == [0, 0, 1, 1]
    assert found.images.shape == (4, 3, 14, 14) and found.images.dtype == torch.uint8
    assert found.name == tmp_path.name
    grey, dog = found.images[0], found.images[3]
    assert torch.equal(grey[0], grey[1])
    # Scaled to 24 × 16 and cut in the middle: red in columns 1 to 13, blue above and below.
    assert dog[:, 7, 7].tolist() == [255, 0, 0] and dog[:, 0, 7].tolist() == [0, 0, 255]
    assert dog[:, 7, 2].tolist() == [255, 0, 0]


def test_folder_lists_what_it_can_not_read(tmp_path):
    picture(tmp_path / "cat/good.png", 20, 20)
    picture(tmp_path / "cat/cut.png", 200, 200)
    whole = (tmp_path / "cat/cut.png").read_bytes()
    (tmp_path / "cat/cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cat/text.png").write_text("no image")
    (tmp_path / "cat/readme.md").write_text("no image either")
    with pytest.raises(ValueError) as caught:
        datasets.image_folder(tmp_path, 8)
    said = str(caught.value)
    assert "3 files that are no whole images" in said
    assert all(f"cat/{name} (" in said for name in ("cut.png", "text.png", "readme.md"))
    assert "good.png" not in said


def test_bad_folders_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="which is no folder"):
        datasets.image_folder(tmp_path / "none", 8)
    with pytest.raises(ValueError, match="holds no folder; valid: one for each class"):
        datasets.image_folder(tmp_path, 8)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no file; valid: at least one image"):
        datasets.image_folder(tmp_path, 8)
    for size in (0, 8.0, True):
        with pytest.raises(ValueError, match="size is .*; valid: an integer of at least 1"):
            datasets.image_folder(tmp_path, size)


# ---------------------------------------------------------------------------------------------
# Packaging
# ---------------------------------------------------------------------------------------------


def test_wheel_holds_the_subset_and_its_licence(wheel):
    with zipfile.ZipFile(io.BytesIO(wheel.read_bytes())) as inside:
        for path in (ROOT / "mlcpc/data").iterdir():
            assert inside.read(f"mlcpc/data/{path.name}") == path.read_bytes()


def test_a_folder_of_ones_own(tmp_path):
    folder = tmp_path / "My Photos"
    for split, count in (("train", 3), ("test", 1)):
        for label in ("owl", "Dog"):
            for each in range(count):
                picture(folder / split / label / f"{each}.png", 20, 20, colour=(9 * each, 0, 0))
    train, test = (datasets.load("folder", each, folder, 16) for each in datasets.SPLITS)
    assert train.name == test.name == "my-photos" and train.classes == test.classes
    assert train.images.shape == (6, 3, 16, 16) and train.sha256 != test.sha256
    with pytest.raises(ValueError, match="path is None for folder; valid: a folder with train/"):
        datasets.load("folder")
    with pytest.raises(FileNotFoundError, match="nowhere/train, which is no folder"):
        datasets.load("folder", path=tmp_path / "nowhere")
    (folder / "test" / "owl").rename(folder / "test" / "owls")
    with pytest.raises(ValueError, match="class 'owl' is in one of train and test of .*My Photos"):
        datasets.load("folder", "test", folder)


def test_train_labels_are_no_test_labels(fake, tmp_path):
    folder = lay(tmp_path / "d", fake, packed=False)
    (folder / "train-labels-idx1-ubyte").write_bytes(fake["t10k-labels-idx1-ubyte"][:-1] + b"\0")
    with pytest.raises(ValueError, match="train-labels-idx1-ubyte is not the published"):
        datasets.load("fashion-mnist", path=folder)
