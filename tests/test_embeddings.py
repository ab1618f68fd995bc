"""Embeddings from an npz file: labels of any name, and every file that is not one."""

import zipfile

import numpy as np
import pytest
import torch

from mlcpc import embeddings


def write(path, vectors=None, labels=None, **more):
    """A file of the form that a user brings: rows of class 3 and of class 7."""
    rng = np.random.default_rng(0)
    labels = np.array([3] * 9 + [7] * 14) if labels is None else labels
    if vectors is None:
        vectors = rng.normal(size=(len(labels), 4)) + (labels == labels[-1])[:, None]
        vectors = vectors.astype(np.float16)
    np.savez(path, embeddings=vectors, labels=labels, **more)
    return path


def test_labels_are_mapped_and_split_by_class(tmp_path):
    path = write(tmp_path / "mine.npz")
    train, test = (embeddings.load(each, path) for each in ("train", "test"))
    assert train.classes == ("3", "7") and train.name == "mine"
    assert train.labels.unique().tolist() == test.labels.unique().tolist() == [0, 1]
    assert len(train) + len(test) == 23 and len(test) == 1 + 2
    assert train.vectors.dtype == torch.float32
    assert train.sha256 != test.sha256 and "mine: 20 embeddings of 4 in 2 classes" in str(train)
    with np.load(path) as file:
        assert torch.equal(test.vectors[0], torch.from_numpy(file["embeddings"][4]).float())


@pytest.mark.parametrize("labels", [
    np.array(["good"] * 5 + ["bad"] * 6), np.array([-1.0] * 5 + [1.0] * 6),
    np.array([False] * 5 + [True] * 6), np.array([100] * 5 + [2**40] * 6),
])  # fmt: skip
def test_labels_of_every_kind_are_taken(tmp_path, labels):
    found = embeddings.load("train", write(tmp_path / "a.npz", np.ones((11, 2)), labels))
    assert found.classes == tuple(map(str, np.unique(
        labels.astype(int) if labels.dtype.kind == "f" else labels)))  # fmt: skip
    assert sorted(torch.bincount(found.labels).tolist()) == [4, 5]


def test_a_class_of_two_has_one_of_each(tmp_path):
    path = write(tmp_path / "a.npz", np.arange(10.0).reshape(5, 2), np.array([0, 1, 0, 1, 0]))
    train, test = (embeddings.load(each, path) for each in ("train", "test"))
    assert torch.bincount(train.labels).tolist() == [2, 1]
    assert torch.bincount(test.labels).tolist() == [1, 1]


def test_where_it_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("MLCPC_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="MLCPC_DATA is not set and no path is given"):
        embeddings.load()
    monkeypatch.setenv("MLCPC_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="holds no npz file"):
        embeddings.load()
    write(tmp_path / "other.npz")
    assert embeddings.load().name == "other" and "folder MLCPC_DATA" in embeddings.load().source
    (tmp_path / "embeddings").mkdir()
    write(tmp_path / "embeddings/mine.npz")
    assert embeddings.load().name == "mine"
    assert embeddings.load("train", tmp_path).name == "other"
    write(tmp_path / "third.npz")
    with pytest.raises(FileNotFoundError, match="holds 2 npz files; valid: one"):
        embeddings.load("train", tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no npz file"):
        embeddings.load("train", tmp_path / "nowhere.npz")
    with pytest.raises(ValueError, match="split is 'all'; valid: train, test"):
        embeddings.load("all", tmp_path / "other.npz")


def broken(**arrays):
    return lambda path: np.savez(path, **arrays)


ROWS, TWO = np.ones((4, 2)), np.array([0, 0, 1, 1])
BROKEN = {
    "lacks embeddings and labels": broken(x=ROWS),
    "lacks labels": broken(embeddings=ROWS),
    "is not finite in 1 rows, the first is row 2": broken(
        embeddings=np.array([[1, 2], [3, 4], [np.nan, 5], [6, 7.0]]), labels=TWO),
    "is not finite in 2 rows, the first is row 0": broken(
        embeddings=np.array([[np.inf, 2], [3, 4], [1, 5], [6, -np.inf]]), labels=TWO),
    "class '1' of .* has one sample; valid: at least two": broken(
        embeddings=ROWS, labels=np.array([0, 0, 0, 1])),
    "holds 1 class; valid: at least 2": broken(embeddings=ROWS, labels=np.zeros(4, int)),
    r"labels of .* is int64 \(3,\); valid": broken(embeddings=ROWS, labels=np.array([0, 1, 1])),
    r"labels of .* is float64": broken(embeddings=ROWS, labels=np.array([0, 0.5, 1, 1])),
    "labels of .* is complex": broken(embeddings=ROWS, labels=TWO.astype(complex)),
    r"embeddings of .* is float64 \(4,\)": broken(embeddings=ROWS[:, 0], labels=TWO),
    r"embeddings of .* is float64 \(4, 0\)": broken(embeddings=ROWS[:, :0], labels=TWO),
    "embeddings of .* is <U1": broken(embeddings=ROWS.astype("U1"), labels=TWO),
    "pickle": broken(embeddings=ROWS, labels=np.array([None] * 4)),
    "no whole npz file|pickle": lambda path: path.write_bytes(b"nothing"),
    "no whole npz file": lambda path: path.write_bytes(b""),
}  # fmt: skip


@pytest.mark.parametrize("message", BROKEN)
def test_broken_files_are_refused(tmp_path, message):
    BROKEN[message](path := tmp_path / "a.npz")
    with pytest.raises(ValueError, match=message):
        embeddings.load("train", path)


def test_a_file_that_was_cut_is_refused(tmp_path):
    path = write(tmp_path / "a.npz", np.ones((500, 9)), np.arange(500) % 2)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        inside = file.infolist()[0].header_offset + 2000
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="no whole npz file"):
        embeddings.load("train", path)
    path.write_bytes(whole[:inside] + b"\x07" * 8 + whole[inside + 8 :])
    embeddings._read.cache_clear()
    with pytest.raises(ValueError, match="no whole npz file"):
        embeddings.load("train", path)
