"""Files that are whole or not there: results, checkpoints with checksums, locks between runs."""

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch


class Busy(OSError):
    """Another process works on the same run."""


def results() -> Path:
    """Find the folder of the records: ``$MLCPC_RESULTS``, or ``results`` here or in a folder above.

    Where there is none it is ``./results``, which is made when the first file is written.
    """
    if "MLCPC_RESULTS" in os.environ:
        return Path(os.environ["MLCPC_RESULTS"])
    here = Path.cwd()
    found = (folder / "results" for folder in (here, *here.parents))
    return next((each for each in found if each.is_dir()), here / "results")


def write(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        OSError: the message names the file; no partial file is left.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        with os.fdopen(handle, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise OSError(error.errno, f"could not write {path}: {error.strerror}") from error


@contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[None]:
    """Keep every other process away from a run while this one works on it.

    The lock is the kernel's own, so it goes with the process that holds it, in whatever way that
    process ends. The file says who holds it.

    Args:
        path: the lock file; it is gone after an orderly end.
        wait: wait for the other process to end, rather than refuse.

    Raises:
        Busy: another process holds the lock.
        OSError: the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        holder = path.read_text() if path.exists() else ""
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not wait:
                raise Busy(
                    f"{path} is held by {holder or 'another process'}, which works on the same "
                    "run; wait for it to end, or give this run another name"
                ) from None
            print(f"waiting for {holder or 'the process'} that holds {path}", flush=True)
            lock.acquire()
    except OSError as error:
        if isinstance(error, Busy):
            raise
        raise OSError(error.errno, f"could not write {path}: {error.strerror}") from error
    now = datetime.now(UTC).isoformat(timespec="seconds")
    path.write_text(f"process {os.getpid()} on {platform.node()} since {now}")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def save_state(path: Path, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
    """Write a checkpoint: tensors and a JSON state with one checksum over both.

    The file is in the safetensors format and appears whole or not at all.

    Raises:
        OSError: the message names the file; no partial file is left.
        ValueError: state that JSON does not hold.
    """
    from safetensors.torch import save

    text = json.dumps(state, sort_keys=True, allow_nan=False)
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write(path, save(kept, {"state": text, "checksum": state_checksum(kept, text)}))


def load_state(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read a checkpoint and check it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is truncated, damaged or of another kind; the message names it.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"no checkpoint {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        text, checksum = metadata["state"], metadata["checksum"]
        state = json.loads(text)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is not a whole checkpoint: {error!r}") from None
    if checksum != state_checksum(tensors, text):
        raise ValueError(f"{path} does not fit its checksum: it was edited or damaged")
    return tensors, state


def state_checksum(tensors: Mapping[str, torch.Tensor], text: str = "") -> str:
    """sha256 over named tensors and a text."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        tensor = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def checksum(content: Any) -> str:
    """sha256 of what JSON holds, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """What two nested dictionaries hold differently: ``config.steps: 5 here, 6 there``."""
    found = []
    for name in sorted(ours.keys() | theirs.keys()):
        here, there = ours.get(name), theirs.get(name)
        if isinstance(here, dict) and isinstance(there, dict):
            found += [f"{name}.{each}" for each in differences(here, there).split("; ") if each]
        elif here != there:
            found.append(f"{name}: {here!r} here, {there!r} there")
    return "; ".join(found)
