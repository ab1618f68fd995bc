"""Labelled embeddings: vectors of sentences, or of anything else, from an npz file of your own.

The file holds ``embeddings`` (N, d), finite numbers, and ``labels`` (N,): integers or texts. Labels
need not be 0 to C − 1; they are numbered in their order, and keep their names. Of each class every
fifth row is for testing, the rest for training.
"""

import hashlib
import os
import zipfile
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch

from mlcpc.config import refuse
from mlcpc.shapes import Float, Int, Tensor

NAME = "embeddings"  # as a config names them
SPLITS = ("train", "test")
_FIFTH = 5


@dataclass(frozen=True, eq=False)
class EmbeddingSet:
    """Labelled vectors.

    Args:
        vectors: float32 (N, d), finite.
        labels: int64 (N,), each an index into ``classes``.
        classes: label of each class in the file, as text.
        name: name of the set, that of its file.
        source: where it was found, in words that fit any machine.
    """

    vectors: Float[Tensor, "count d"]
    labels: Int[Tensor, " count"]
    classes: tuple[str, ...]
    name: str
    source: str

    def __len__(self) -> int:
        return len(self.vectors)

    def __str__(self) -> str:
        return (
            f"{self.name}: {len(self):,} embeddings of {self.vectors.shape[1]} in "
            f"{len(self.classes)} classes, from {self.source}, sha256 {self.sha256[:12]}"
        )

    @cached_property
    def sha256(self) -> str:
        """Hash of shape, vectors and labels: the same wherever the data came from."""
        digest = hashlib.sha256(str(tuple(self.vectors.shape)).encode())
        for each in (self.vectors, self.labels):
            digest.update(each.contiguous().numpy().tobytes())
        return digest.hexdigest()


def load(split: str = "train", path: str | Path | None = None) -> EmbeddingSet:
    """Read one split of a set of embeddings.

    Args:
        split: train or test.
        path: an npz file, or a folder that holds exactly one; None looks into ``$MLCPC_DATA``, at
            first in its folder ``embeddings``.

    Raises:
        ValueError: an unknown split, or a file that is damaged or not what it claims to be: an
            array that is missing, shapes that do not fit, numbers that are not finite, a class of
            one sample, fewer than two classes.
        FileNotFoundError: no file, or more than one; the message says where it was looked for.
    """
    if split not in SPLITS:
        refuse("split", split, ", ".join(SPLITS))
    source = "the folder MLCPC_DATA" if path is None else "the file that was asked for"
    vectors, labels, classes, name = _read(_find(path))
    rows = torch.nonzero(_for_testing(labels) == (split == "test"))[:, 0]
    return EmbeddingSet(vectors[rows], labels[rows], classes, name, source)


def _for_testing(labels: Tensor) -> Tensor:
    """Whether a row is for testing: every fifth of its class, the last of a class below five."""
    found = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        members = torch.nonzero(labels == label)[:, 0]
        found[members[min(_FIFTH, len(members)) - 1 :: _FIFTH]] = True
    return found


def _find(path: str | Path | None) -> Path:
    """The npz file that a path or ``$MLCPC_DATA`` names."""
    if path is None and "MLCPC_DATA" not in os.environ:
        raise FileNotFoundError(
            "no embeddings: MLCPC_DATA is not set and no path is given; valid: an npz file with "
            "embeddings and labels, or a folder that holds exactly one (--data FILE)"
        )
    base = Path(os.environ["MLCPC_DATA"] if path is None else path)
    if path is not None and base.is_file():
        return base
    looked = [base / NAME, base] if path is None else [base]
    for folder in looked:
        found = sorted(folder.glob("*.npz")) if folder.is_dir() else []
        if len(found) == 1:
            return found[0]
        if found:
            raise FileNotFoundError(
                f"{folder} holds {len(found)} npz files; valid: one, or the path of one of them"
            )
    raise FileNotFoundError(
        f"no embeddings: {', '.join(map(str, looked))} holds no npz file; valid: one with the "
        "arrays embeddings and labels"
    )


@lru_cache(maxsize=1)
def _read(path: Path) -> tuple[Tensor, Tensor, tuple[str, ...], str]:
    """Vectors, labels 0 to C − 1, their names, and the name of the set; kept for both splits."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if missing := [each for each in ("embeddings", "labels") if each not in file.files]:
                raise ValueError(
                    f"{path} lacks {' and '.join(missing)}; valid: an npz file with embeddings and "
                    f"labels (it holds {', '.join(file.files) or 'nothing'})"
                )
            vectors, labels = file["embeddings"], file["labels"]
    except (zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise ValueError(f"{path} is no whole npz file: {error}") from error
    vectors = _checked_vectors(path, vectors)
    codes, classes = _coded(path, labels, len(vectors))
    return vectors, codes, classes, path.stem


def _checked_vectors(path: Path, vectors: np.ndarray) -> Tensor:
    if vectors.ndim != 2 or 0 in vectors.shape or vectors.dtype.kind not in "fiu":
        raise ValueError(
            f"embeddings of {path} is {vectors.dtype} {vectors.shape}; valid: numbers (N, d)"
        )
    found = torch.from_numpy(vectors.astype(np.float32))
    broken = torch.nonzero(~found.isfinite().all(dim=1))
    if len(broken):
        raise ValueError(
            f"embeddings of {path} is not finite in {len(broken)} rows, the first is row "
            f"{int(broken[0])}; valid: finite numbers"
        )
    return found


def _coded(path: Path, labels: np.ndarray, rows: int) -> tuple[Tensor, tuple[str, ...]]:
    """Labels as 0 to C − 1, in the order of their values, and those values as texts."""
    whole = labels.dtype.kind == "f" and bool((np.isfinite(labels) & (labels % 1 == 0)).all())
    if labels.shape != (rows,) or not (labels.dtype.kind in "iubU" or whole):
        raise ValueError(
            f"labels of {path} is {labels.dtype} {labels.shape}; valid: integers or texts ({rows},)"
        )
    values, codes, counts = np.unique(
        labels.astype(np.int64) if whole else labels, return_inverse=True, return_counts=True
    )
    if len(values) < 2:
        raise ValueError(f"labels of {path} holds {len(values)} class; valid: at least 2")
    if counts.min() < 2:
        alone = values[counts.argmin()]
        raise ValueError(f"class {str(alone)!r} of {path} has one sample; valid: at least two")
    return torch.from_numpy(codes.reshape(-1).astype(np.int64)), tuple(map(str, values))
