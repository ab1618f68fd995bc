"""Files: whole or not there, checked on reading, and one process at a time."""

import errno
import os
import subprocess
import sys

import pytest
import torch
from conftest import started, until

from mlcpc import files

STATE = {"step": 3, "config": {"alpha": 0.5}}


def tensors():
    return {"weight": torch.arange(6.0).view(2, 3), "alive": torch.tensor([True, False]),
            "half": torch.ones(2, dtype=torch.bfloat16)}  # fmt: skip


def test_checkpoint_round_trip(tmp_path):
    path = tmp_path / "deep" / "state.safetensors"
    files.save_state(path, tensors(), STATE)
    found, state = files.load_state(path)
    assert state == STATE and found.keys() == tensors().keys()
    assert all(torch.equal(found[name], each) for name, each in tensors().items())
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert files.state_checksum(found) == files.state_checksum(tensors())
    changed = {**tensors(), "half": torch.zeros(2, dtype=torch.bfloat16)}
    assert files.state_checksum(changed) != files.state_checksum(tensors())


@pytest.mark.parametrize("damage", ["cut", "flip", "other", "state"])
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "state.safetensors"
    files.save_state(path, tensors(), STATE)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-5]
    elif damage == "flip":
        content[-1] ^= 1
    elif damage == "other":
        content = b"not a checkpoint"
    else:
        content = bytes(content).replace(b"0.5", b"0.6")
    path.write_bytes(content)
    with pytest.raises(ValueError, match="state.safetensors (is not a whole|does not fit)"):
        files.load_state(path)


def test_a_missing_checkpoint_and_a_state_that_json_does_not_hold(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        files.load_state(tmp_path / "none")
    with pytest.raises(ValueError):
        files.save_state(tmp_path / "x", {}, {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "kept.txt"
    files.write(path, "old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"could not write {path}: No space left"):
        files.write(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


HOLDER = """
import sys, time
from pathlib import Path
from mlcpc import files
with files.locked(Path(sys.argv[1])):
    time.sleep(600)
"""


def test_a_lock_keeps_others_away_and_goes_with_its_process(tmp_path):
    path = tmp_path / ".run.lock"
    with started([sys.executable, "-c", HOLDER, str(path)]) as process:
        until(lambda: path.exists() and "process" in path.read_text(), process)
        with pytest.raises(files.Busy, match=rf"held by process {process.pid} on .*another name"):
            with files.locked(path):
                pass
        process.kill()
        process.wait()
    with files.locked(path):  # a killed run never blocks the next one
        assert f"process {os.getpid()}" in path.read_text()
    assert not path.exists()


def test_a_lock_can_be_waited_for(tmp_path, capsys):
    path = tmp_path / ".teacher.lock"
    program = HOLDER.replace("time.sleep(600)", "time.sleep(1)")
    with started([sys.executable, "-c", program, str(path)]) as process:
        until(lambda: path.exists() and "process" in path.read_text(), process)
        with files.locked(path, wait=True):
            assert process.poll() is not None or not path.read_text().startswith(
                f"process {process.pid}"
            )
    assert "waiting for process" in capsys.readouterr().out


def test_results_are_found_above_or_made_here(tmp_path, monkeypatch):
    monkeypatch.delenv("MLCPC_RESULTS", raising=False)
    (tmp_path / "project/deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project/deep")
    assert files.results() == tmp_path / "project/deep/results"
    (tmp_path / "project/results").mkdir()
    assert files.results() == tmp_path / "project/results"
    monkeypatch.setenv("MLCPC_RESULTS", str(tmp_path / "other"))
    assert files.results() == tmp_path / "other"


def test_differences_are_named_by_path():
    ours = {"config": {"steps": 5, "same": 1}, "seed": 0}
    theirs = {"config": {"steps": 6, "same": 1}}
    assert (
        files.differences(ours, theirs) == "config.steps: 5 here, 6 there; seed: 0 here, None there"
    )


def test_the_folder_of_results_cannot_be_written(tmp_path):
    program = f"""
import os
from pathlib import Path
import filelock
from mlcpc import files
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    with files.locked(Path({str(tmp_path / "locked")!r}) / ".run.lock"):
        pass
except OSError as error:
    print(error)
"""
    (tmp_path / "locked").mkdir(mode=0o555)
    tmp_path.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "could not write" in done.stdout, done.stdout + done.stderr
