"""Labelled images: data sets that are read by name or from folders, and checked.

A data set is read once, as uint8, and stays whole on one device.

    fashion-mnist          60,000 + 10,000, grey, 28 × 28: a folder, the Debian package, a download
    fashion-mnist-subset   10,000 + 2,000 of them, balanced; part of this package
    digits                 1,438 + 359, grey, 8 × 8; part of scikit-learn
    cifar10, cifar100      50,000 + 10,000, colour, 32 × 32: the binary version, from disk
    folder                 your own: FOLDER/train/CLASS/*.png and FOLDER/test/CLASS/*.png

:func:`load` reads these by name. Nothing replaces a data set that is missing or damaged: reading it
is an error that says what was looked at. ``$MLCPC_DATA`` names the folder in which data sets lie,
each in its own or all in one.
"""

import gzip
import hashlib
import http.client
import io
import lzma
import math
import os
import re
import sys
import tarfile
import urllib.request
import warnings
import zlib
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from importlib import import_module, resources
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch

from mlcpc import files
from mlcpc.config import refuse
from mlcpc.shapes import Float, Int, Tensor

SPLITS = ("train", "test")


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images, whole on one device.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,), each an index into ``classes``.
        classes: name of each class.
        name: name of the data set.
        source: where it was found, in words that fit any machine.

    Raises:
        ValueError: another dtype or shape, no image, a label out of range, a class without an
            image.
    """

    images: Tensor
    labels: Int[Tensor, " count"]
    classes: tuple[str, ...]
    name: str
    source: str

    def __post_init__(self) -> None:
        images, labels, many = self.images, self.labels, len(self.classes)
        check_images(images)
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"labels of {self.name} is {_kind(labels)}; valid: int64 ({len(images)},)"
            )
        if images.device != labels.device:
            raise ValueError(f"labels is on {labels.device}; valid: as images, {images.device}")
        wrong = torch.nonzero((labels < 0) | (labels >= many))
        if len(wrong):
            row = int(wrong[0])
            raise ValueError(
                f"labels of {self.name} holds {int(labels[row])} in row {row}; "
                f"valid: 0 to {many - 1}"
            )
        counts = torch.bincount(labels, minlength=many).tolist()
        if 0 in counts:
            empty = self.classes[counts.index(0)]
            raise ValueError(
                f"class {empty!r} of {self.name} has no image; valid: at least one a class"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __str__(self) -> str:
        size = " × ".join(map(str, self.images.shape[1:]))
        return (
            f"{self.name}: {len(self):,} images of {size} in {len(self.classes)} classes, from "
            f"{self.source}, sha256 {self.sha256[:12]}"
        )

    @cached_property
    def sha256(self) -> str:
        """Hash of shape, pixels and labels: the same wherever the data came from."""
        digest = hashlib.sha256(str(tuple(self.images.shape)).encode())
        for each in (self.images, self.labels):
            digest.update(each.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def mean(self) -> Float[Tensor, " channels"]:
        """Mean of each channel, on the scale where 255 is one; float32, on the CPU."""
        return self._moments[0]

    @cached_property
    def std(self) -> Float[Tensor, " channels"]:
        """Standard deviation of each channel, on the scale where 255 is one.

        Raises:
            ValueError: a channel that is constant.
        """
        if (self._moments[1] == 0).any():
            raise ValueError(
                f"images of {self.name} has a constant channel; valid: one that varies"
            )
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        # Counts of the 256 values: exact, and no float copy of the whole set.
        channels = self.images.transpose(0, 1).flatten(1)
        counts = torch.stack([torch.bincount(each, minlength=256) for each in channels]).cpu()
        value = torch.arange(256, dtype=torch.float64) / 255
        share = counts / counts.sum(1, keepdim=True, dtype=torch.float64)
        mean = share @ value
        return mean.float(), ((share * (value - mean[:, None]) ** 2).sum(1)).sqrt().float()

    def describe(self) -> dict[str, object]:
        """What a record says of its data: name, source, sha256, shape and number of classes."""
        return {
            "name": self.name, "source": self.source, "sha256": self.sha256,
            "shape": list(self.images.shape), "classes": len(self.classes),
        }  # fmt: skip

    def to(self, device: str | torch.device) -> "ImageSet":
        """The same set on another device."""
        images, labels = self.images.to(device), self.labels.to(device)
        return ImageSet(images, labels, self.classes, self.name, self.source)

    def first(self, each: int) -> "ImageSet":
        """The first so many images of every class, in their order, as a set of its own name.

        Raises:
            ValueError: ``each`` below 1, or above the size of the smallest class.
        """
        most = int(torch.bincount(self.labels).min())
        if not 1 <= each <= most:
            raise ValueError(f"each is {each}; valid: 1 to {most}, the size of the smallest class")
        rows = torch.cat(
            [torch.nonzero(self.labels == label)[:each, 0] for label in range(len(self.classes))]
        )
        rows = rows.sort().values
        name = f"{self.name}, first {each} of each class"
        return ImageSet(self.images[rows], self.labels[rows], self.classes, name, self.source)


# ---------------------------------------------------------------------------------------------
# Reading by name
# ---------------------------------------------------------------------------------------------


def load(
    name: str, split: str = "train", path: str | Path | None = None, size: int = 32
) -> ImageSet:
    """Read a data set by its name.

    Args:
        name: one of ``DATASETS``.
        split: train or test.
        path: folder to read from, and no other; None looks where the module's text says.
        size: height and width of the images of a folder of your own; other sets have theirs.

    Returns:
        the set, on the CPU.

    Raises:
        ValueError: unknown name or split, a path for a set that is not read from a folder, none
            for a folder of your own, data that are damaged or not what they claim to be.
        FileNotFoundError: not there; the message says what was looked at and how to get it.
    """
    if name not in DATASETS:
        refuse("name", name, ", ".join(DATASETS))
    if split not in SPLITS:
        refuse("split", split, ", ".join(SPLITS))
    if name == "folder":
        if path is None:
            raise ValueError(
                "path is None for folder; valid: a folder with train/CLASS and test/CLASS folders "
                "of images (--data FOLDER)"
            )
        return _read_folder(Path(path), split, size)
    if path is None:
        return _READERS[name](split)
    if name in ("fashion-mnist-subset", "digits"):
        raise ValueError(
            f"path is {str(path)!r} for {name}, which is part of a package; valid: None"
        )
    return _READERS[name](split, Path(path))


def needs(module: str, purpose: str) -> ModuleType:
    """An optional library, or an ImportError that says how to get it."""
    try:
        # What a library says of its own optional parts would stand in a reader's page.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs {module.partition('.')[0]}, which is not here ({error}): "
            "pip install 'mlcpc[experiments]'"
        ) from error


def _folders(name: str) -> list[Path]:
    """Where a data set may lie under ``$MLCPC_DATA``."""
    if "MLCPC_DATA" not in os.environ:
        return []
    base = Path(os.environ["MLCPC_DATA"])
    return [base / name, base]


def check_images(images: Tensor) -> None:
    """Raise a ValueError for anything but a batch of uint8 images."""
    if images.dtype != torch.uint8 or images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"images is {_kind(images)}; valid: uint8 (N, C, H, W), none of them 0")


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _set(
    images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], name: str, source: str
) -> ImageSet:
    # Copies: what is read from bytes cannot be written to, and torch warns of that.
    shown, found = torch.from_numpy(np.array(images)), torch.from_numpy(labels.astype(np.int64))
    return ImageSet(shown, found, classes, name, source)


# ---------------------------------------------------------------------------------------------
# Fashion-MNIST
# ---------------------------------------------------------------------------------------------

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
           "Bag", "Ankle boot")  # fmt: skip
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
_GITHUB = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
# Split → file, sha256 of the file as it is without gzip, whose bytes differ by mirror.
_FASHION_FILES = {
    "train": (
        ("train-images-idx3-ubyte",
         "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
        ("train-labels-idx1-ubyte",
         "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    ),
    "test": (
        ("t10k-images-idx3-ubyte",
         "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
        ("t10k-labels-idx1-ubyte",
         "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    ),
}  # fmt: skip
_SUBSET_FILE = "fashion-mnist-subset.xz"
_SUBSET_SHA256 = "d5b91c929ef64cdf3fac6a13820932f698037ef77030a9584f3d6499a1ccee00"
_SUBSET_IMAGES = {"train": 10_000, "test": 2_000}


def _read_fashion_mnist(split: str = "train", path: Path | None = None) -> ImageSet:
    """Fashion-MNIST from the first of: ``path``, ``$MLCPC_DATA``, the Debian package, a download.

    A folder holds the idx files of the split, as they are or with gzip. One that has them is read
    or refused; the next source is asked only where the files are missing. With a ``path`` no other
    source is asked. A download is kept in ``$MLCPC_DATA/fashion-mnist``, or in the user's cache.

    Source: Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747; MIT licence.
    """
    published = _FASHION_FILES[split]
    sources = [(each, "the folder MLCPC_DATA") for each in _folders("fashion-mnist")]
    sources += [(DEBIAN, "the Debian package dataset-fashion-mnist")]
    if path is not None:
        sources = [(path, "the folder that was asked for")]
    looked = [] if "MLCPC_DATA" in os.environ or path else ["MLCPC_DATA is not set"]
    for folder, source in sources:
        found = [_file(folder, file) for file, _ in published]
        missing = [file for (file, _), there in zip(published, found, strict=True) if there is None]
        if not missing:
            return _fashion(published, [_unpacked(each) for each in found], found, source)
        looked.append(f"{folder} lacks {' and '.join(missing)}")
    if path is None:
        try:
            return _download(published)
        except (OSError, http.client.HTTPException) as error:
            looked.append(f"the download failed: {error}")
    raise FileNotFoundError(
        f"no Fashion-MNIST: {'; '.join(looked)}. To get it, install the Debian package "
        f"dataset-fashion-mnist, or put the four files of {_GITHUB} into a folder and give it as "
        "path or as MLCPC_DATA. The set fashion-mnist-subset needs no file."
    )


def _file(folder: Path, name: str) -> Path | None:
    there = (each for each in (folder / name, folder / f"{name}.gz") if each.is_file())
    return next(there, None)


def _unpacked(path: Path) -> bytes:
    return _gunzip(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def _gunzip(packed: bytes) -> bytes:
    """The content of a gzip file; nothing of a damaged one, so that its hash is refused."""
    try:
        return gzip.decompress(packed)
    except (OSError, EOFError, zlib.error):
        return b""


def _fashion(
    published: tuple[tuple[str, str], ...], contents: list[bytes], names: list, source: str
) -> ImageSet:
    """The set of an image file and a label file, each checked."""
    for (file, expected), content, name in zip(published, contents, names, strict=True):
        if (actual := hashlib.sha256(content).hexdigest()) != expected:
            raise ValueError(
                f"{name} is not the published {file}: without gzip it has {len(content):,} bytes "
                f"and sha256 {actual}; valid: {expected}. Remove it or get it anew."
            )
    images = np.frombuffer(contents[0], np.uint8, offset=16).reshape(-1, 1, 28, 28)
    labels = np.frombuffer(contents[1], np.uint8, offset=8)
    return _set(images, labels, FASHION, "fashion-mnist", source)


def _download(published: tuple[tuple[str, str], ...]) -> ImageSet:
    """Read the files from the cache, where the missing ones are put once they are checked."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(os.environ.get("MLCPC_DATA") or Path(base) / "mlcpc") / "fashion-mnist"
    source, contents, names, fetched = f"{_GITHUB} or its cached copy", [], [], []
    for file, _ in published:
        path = cache / f"{file}.gz"
        if not path.is_file():
            url = _GITHUB + path.name
            print(f"fetching {url} into {cache}", file=sys.stderr)
            packed = _fetch(url)
            fetched.append((path, packed))
        else:
            packed = path.read_bytes()
        contents.append(_gunzip(packed))
        names.append(path if path.is_file() else url)
    images = _fashion(published, contents, names, source)
    for path, packed in fetched:
        files.write(path, packed)
    return images


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()


def _read_fashion_mnist_subset(split: str = "train") -> ImageSet:
    """The first 1,000 training and the first 200 test images of each class of Fashion-MNIST.

    They keep the order of the published files. The data are part of this package, with their own
    MIT licence beside them: one file of 4.3 MiB, the pixels and the labels of the training images,
    then those of the test images, packed by LZMA.
    """
    content = _subset()
    count = _SUBSET_IMAGES[split]
    begin = 0 if split == "train" else 785 * _SUBSET_IMAGES["train"]
    part = np.frombuffer(content, np.uint8, count=785 * count, offset=begin)
    images = part[: 784 * count].reshape(-1, 1, 28, 28)
    return _set(images, part[784 * count :], FASHION, "fashion-mnist-subset", "the package mlcpc")


@lru_cache(maxsize=1)
def _subset() -> bytes:
    """The unpacked file: 9 MB, kept, since both splits need it."""
    packed = resources.files("mlcpc").joinpath("data", _SUBSET_FILE).read_bytes()
    try:
        content = lzma.decompress(packed)
    except lzma.LZMAError as error:
        raise ValueError(
            f"{_SUBSET_FILE} of the package is damaged: {error}; install it anew"
        ) from error
    if (actual := hashlib.sha256(content).hexdigest()) != _SUBSET_SHA256:
        raise ValueError(
            f"{_SUBSET_FILE} of the package has sha256 {actual} unpacked; "
            f"valid: {_SUBSET_SHA256}; install it anew"
        )
    return content


# ---------------------------------------------------------------------------------------------
# Other sets
# ---------------------------------------------------------------------------------------------


def _read_digits(split: str = "train") -> ImageSet:
    """The 8 × 8 digits of scikit-learn, with values 0 to 16 as they come; every fifth is test.

    Source: Alpaydin & Kaynak 1998, UCI "Optical Recognition of Handwritten Digits".
    """
    given = needs("sklearn.datasets", "digits").load_digits()
    test = np.arange(len(given.images)) % 5 == 4
    rows = test if split == "test" else ~test
    images = given.images[rows, None].astype(np.uint8)
    classes = tuple(map(str, given.target_names))
    return _set(images, given.target[rows], classes, "digits", "scikit-learn")


class _Cifar(NamedTuple):
    """Files of one of the two sets, in its binary and in its python version."""

    folder: str  # of the binary version
    archive: str  # that holds it
    files: dict[str, dict[str, int]]  # split → file → images in it
    names: str  # file of the class names
    label_bytes: int  # before the pixels of an image; the last of them is the label
    classes: int
    pickled: tuple[str, ...]  # files and folders that only the python version has
    meta: str  # file of the python version's folder


_CIFAR = {
    "cifar10": _Cifar(
        "cifar-10-batches-bin", "cifar-10-binary.tar.gz",
        {"train": {f"data_batch_{i}.bin": 10_000 for i in range(1, 6)},
         "test": {"test_batch.bin": 10_000}},
        "batches.meta.txt", 1, 10,
        ("cifar-10-batches-py", "cifar-10-python.tar.gz", "batches.meta"), "batches.meta",
    ),
    "cifar100": _Cifar(
        "cifar-100-binary", "cifar-100-binary.tar.gz",
        {"train": {"train.bin": 50_000}, "test": {"test.bin": 10_000}},
        "fine_label_names.txt", 2, 100,
        ("cifar-100-python", "cifar-100-python.tar.gz", "meta"), "meta",
    ),
}  # fmt: skip
_CIFAR_PIXELS = 3 * 32 * 32


def _read_cifar(name: str, split: str = "train", path: Path | None = None) -> ImageSet:
    """CIFAR-10 or CIFAR-100 in its binary version, from ``path`` or ``$MLCPC_DATA``.

    A source is the folder of the ``.bin`` files, a folder that holds that folder or the
    ``.tar.gz`` archive, or the archive itself, which is read without being unpacked. The python
    version is a pickle, which runs code when it is loaded; it is refused. CIFAR-100 has its 100
    fine classes. No hash of the single files is published, so what is checked is their length, the
    range of the labels and that the classes are equally frequent.

    Source: Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html.
    """
    kind = _CIFAR[name]
    bases = [path] if path is not None else _folders(name)
    source = "the folder MLCPC_DATA" if path is None else "the folder that was asked for"
    wanted = [*kind.files[split], kind.names]
    for base in bases:
        for folder in (base, base / kind.folder):
            if all((folder / file).is_file() for file in wanted):
                contents = [(folder / file).read_bytes() for file in wanted]
                return _cifar(name, split, contents, folder, source)
        for archive in (base, base / kind.archive):
            if archive.is_file() and archive.name.endswith((".gz", ".tar")):
                if archive.name in kind.pickled:
                    break
                return _cifar(name, split, _members(archive, wanted), archive, source)
    for base in bases:
        for there in (base, *(base / each for each in kind.pickled)):
            if there.name in kind.pickled and (there.is_file() or (there / kind.meta).is_file()):
                raise ValueError(
                    f"{there} is the python version of {name}, a pickle, which is never loaded; "
                    f"valid: the binary version, {kind.archive}"
                )
    looked = ", ".join(map(str, bases)) or "no folder, since MLCPC_DATA is not set"
    raise FileNotFoundError(
        f"no {name}: looked at {looked} for {', '.join(wanted)}, the folder {kind.folder} or the "
        f"archive {kind.archive}. To get it, download the binary version from "
        "https://www.cs.toronto.edu/~kriz/cifar.html and give its folder as path or as MLCPC_DATA."
    )


def _members(archive: Path, wanted: list[str]) -> list[bytes]:
    """Content of the files of a tar archive, by their names without folders."""
    contents = {}
    try:
        # All of it first: tarfile stops before the checksum at the end of a gzip file.
        content = archive.read_bytes()
        if archive.name.endswith(".gz"):
            content = gzip.decompress(content)
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            for member in tar:
                file = Path(member.name).name
                if file in wanted and member.isfile():
                    contents[file] = tar.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{archive} is damaged: {error}; valid: a whole archive") from error
    missing = [file for file in wanted if file not in contents]
    if missing:
        raise ValueError(f"{archive} lacks {', '.join(missing)}; valid: the binary version")
    return [contents[file] for file in wanted]


def _cifar(name: str, split: str, contents: list[bytes], where: Path, source: str) -> ImageSet:
    kind = _CIFAR[name]
    *batches, names = contents
    record = kind.label_bytes + _CIFAR_PIXELS
    for (file, count), batch in zip(kind.files[split].items(), batches, strict=True):
        if len(batch) != count * record:
            raise ValueError(
                f"{file} in {where} has {len(batch):,} bytes; valid: {count * record:,}, "
                f"that is {count:,} images"
            )
    rows = np.frombuffer(b"".join(batches), np.uint8).reshape(-1, record)
    labels = rows[:, kind.label_bytes - 1]
    try:
        classes = tuple(line for line in names.decode("ascii").splitlines() if line.strip())
    except UnicodeDecodeError:
        classes = ()
    if len(classes) != kind.classes:
        raise ValueError(f"{kind.names} in {where} has not {kind.classes} names, a line each")
    images = rows[:, kind.label_bytes :].reshape(-1, 3, 32, 32)
    found = _set(images, labels, classes, name, source)
    counts = torch.bincount(found.labels)
    if len(counts.unique()) > 1:
        raise ValueError(
            f"{name} in {where} has {int(counts.min())} to {int(counts.max())} images a class; "
            f"valid: {len(found) // kind.classes} of each"
        )
    return found


ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


def image_folder(path: str | Path, size: int, name: str | None = None) -> ImageSet:
    """A folder with one folder of images for each class, as ImageNet's train and val are.

    Every image becomes colour, is scaled until its shorter side has ``size`` · 8/7 pixels, and its
    middle ``size`` × ``size`` pixels are kept (at 224 pixels this is the usual 256). All images are
    in memory at once: 100,000 of 64 × 64 pixels take 1.2 GB.

    Args:
        path: the folder. Classes are its folders in alphabetical order; names that begin with a dot
            are passed over.
        size: height and width in pixels.
        name: name of the set; None takes that of the folder.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: size below 1, no class folder, a class without a file, files that are no whole
            images; the message lists them.
        ImportError: Pillow is missing.
    """
    folder = Path(path)
    if type(size) is not int or size < 1:
        refuse("size", size, "an integer of at least 1")
    if not folder.is_dir():
        raise FileNotFoundError(
            f"path is {folder}, which is no folder; valid: one of class folders"
        )
    classes = [each for each in _visible(folder) if each.is_dir()]
    if not classes:
        raise ValueError(f"{folder} holds no folder; valid: one for each class")
    images, labels, faults = [], [], []
    for label, each in enumerate(classes):
        files = [file for file in _visible(each) if not file.is_dir()]
        if not files:
            raise ValueError(f"class folder {each} holds no file; valid: at least one image")
        for file in files:
            try:
                images.append(_middle(file, size))
                labels.append(label)
            except (OSError, ValueError, SyntaxError) as error:
                faults.append(f"{file.relative_to(folder)} ({error})")
    if faults:
        more = f" and {len(faults) - 10} more" if len(faults) > 10 else ""
        raise ValueError(
            f"{folder} has {len(faults)} files that are no whole images: "
            f"{'; '.join(faults[:10])}{more}"
        )
    names = tuple(each.name for each in classes)
    return _set(
        np.stack(images), np.array(labels), names, name or folder.name, "a folder of class folders"
    )


def _visible(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if not each.name.startswith("."))


def _middle(file: Path, size: int) -> np.ndarray:
    """The scaled and cropped image of a file, (3, size, size)."""
    image = needs("PIL.Image", "reading image files")
    if file.suffix.lower() not in ENDINGS:
        raise ValueError(f"valid endings: {', '.join(ENDINGS)}")
    try:
        with image.open(file) as opened:
            colour = opened.convert("RGB")
    except image.DecompressionBombError as error:
        raise ValueError(str(error)) from error
    scale = math.ceil(size * 8 / 7) / min(colour.size)
    width, height = (max(size, round(side * scale)) for side in colour.size)
    left, top = (width - size) // 2, (height - size) // 2
    scaled = colour.resize((width, height), image.Resampling.BILINEAR)
    middle = scaled.crop((left, top, left + size, top + size))
    return np.asarray(middle).transpose(2, 0, 1)


def _read_folder(path: Path, split: str, size: int) -> ImageSet:
    """A set of your own, named after its folder: lower case letters, digits and hyphens."""
    name = re.sub("[^a-z0-9]+", "-", path.resolve().name.lower()).strip("-") or "folder"
    found = image_folder(path / split, size, name)
    train = [each.name for each in _visible(path / "train") if each.is_dir()]
    if list(found.classes) != train:
        other = min(set(train) ^ set(found.classes))
        raise ValueError(f"class {other!r} is in one of train and test of {path}; valid: in both")
    return found


_READERS = {
    "fashion-mnist": _read_fashion_mnist,
    "fashion-mnist-subset": _read_fashion_mnist_subset,
    "digits": _read_digits,
    "cifar10": partial(_read_cifar, "cifar10"),
    "cifar100": partial(_read_cifar, "cifar100"),
}
DATASETS = (*_READERS, "folder")
