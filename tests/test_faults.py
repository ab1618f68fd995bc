"""What goes wrong on long runs: kills, full and read-only disks, clocks, two of the same run."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conftest import started, until

from mlcpc import runs
from mlcpc.__main__ import main

# Runs the command until it succeeds, each time in a fork, so that the packages are imported once.
# An attempt may be killed at a certain event, which is a call or a return in the package's own
# code, counted from the lock of the run on: that is the same point however busy the machine is. Or
# it may meet a limit on the size of its files; find the clock set back; or be another user.
PROGRAM = """
import json, os, resource, signal, sys, time
from mlcpc.__main__ import main
if "staircase" not in sys.argv[1]:
    import accelerate, kornia, sklearn.datasets, sklearn.linear_model

events = 0

def attempt(arguments, kill=None, size=None, back=0.0, other_user=False):
    def watch(frame, event, argument):
        global events
        ours = frame.f_globals.get("__name__", "").startswith("mlcpc")
        if ours and (events or frame.f_code.co_name == "locked"):
            events += 1
            if events == kill:
                os.kill(os.getpid(), signal.SIGKILL)

    read, write = os.pipe()
    child = os.fork()
    if not child:
        if size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        if other_user and os.geteuid() == 0:
            os.seteuid(65534)
        if back:
            now = time.time
            time.time = lambda: now() - back
        sys.setprofile(watch)
        code = main(arguments)
        sys.setprofile(None)
        os.write(write, str(events).encode())
        sys.stdout.flush()
        os._exit(code)
    os.close(write)
    seen = os.read(read, 100)
    os.close(read)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), int(seen or 0)

command, attempts = map(json.loads, sys.argv[1:])
for each in attempts:
    code, seen = attempt(command, **each)
    print("\\nended", code, seen, flush=True)
    if not code:
        break
"""
COMMANDS = {
    "staircase": ["--steps", "200", "--levels", "(1.0, 2.0)", "--seeds", "(0, 1)", "--width", "16",
                  "--batch", "16", "--estimators", "('cpc:1', 'mine')", "--save_every", "50"],
    "pretrain": ["--dataset", "digits", "--network", "wrn-10-1", "--dim", "16", "--batch", "128",
                 "--queue", "256", "--epochs", "3", "--flip", "0"],
    "distill": ["--dataset", "digits", "--pair", "resnet56-resnet20", "--batch", "256",
                "--count", "64", "--padding", "1", "--flip", "0", "--epochs", "2",
                "--objective", "ml_cpc"],
}  # fmt: skip


def attempts(command: str, folder: Path, *each: dict) -> tuple[list[tuple[int, int]], str]:
    """Exit status and events of each attempt, and what was printed."""
    folder.mkdir(exist_ok=True)
    arguments = json.dumps([command, *COMMANDS[command], "--name", "run"]), json.dumps(each)
    with started(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**os.environ, "MLCPC_RESULTS": str(folder), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    ended = [line.split()[1:] for line in said.splitlines() if line.startswith("ended ")]
    assert ended, said
    return [(int(code), int(events)) for code, events in ended], said


def numbers(folder: Path) -> tuple[dict, str]:
    """What a record found, without the seconds that it took."""
    record = runs.read("run", folder)
    arrays = json.dumps(
        [[{k: v for k, v in epoch.items() if k != "seconds"} for epoch in seed]
         for seed in record.arrays.get("epochs", [])]
    )  # fmt: skip
    return record.metrics, arrays + json.dumps(record.arrays.get("curves"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Numbers and events of each command without any fault."""
    made = {}

    def make(command):
        if command not in made:
            folder = tmp_path_factory.mktemp(command)
            (ended,), said = attempts(command, folder, {})
            assert ended[0] == 0, said
            left = {path.name for path in folder.iterdir()}
            assert left <= {"run.json", "weights"}
            assert not list(folder.rglob(".*"))
            made[command] = (*numbers(folder), ended[1])
        return made[command]

    return make


@pytest.mark.parametrize("command", COMMANDS)
def test_kills_at_random_points_change_no_number(command, whole, tmp_path):
    *expected, events = whole(command)
    draw = random.Random(f"kill {command} at random")
    kills = [{"kill": int(events * draw.uniform(0.1, most))} for most in (0.95, 0.4, 0.4)]
    *killed, last = attempts(command, tmp_path, *kills, {})[0]
    assert 1 <= len(killed) and {code for code, _ in killed} == {-signal.SIGKILL}
    assert last[0] == 0 and last[1] < 0.9 * events  # it did not begin again
    assert [*numbers(tmp_path)] == expected
    assert not list(tmp_path.rglob(".*"))


def test_a_full_disk_is_named_and_loses_nothing(whole, tmp_path):
    *expected, _ = whole("pretrain")
    ended, said = attempts("pretrain", tmp_path, {"size": 20_000}, {})
    assert [code for code, _ in ended] == [2, 0]
    assert f"could not write {tmp_path}/.run.partial/seed-0.safetensors: File too" in said
    assert [*numbers(tmp_path)] == expected


def test_a_clock_that_was_set_back_changes_no_number(whole, tmp_path):
    *expected, events = whole("staircase")
    ended, said = attempts("staircase", tmp_path, {"kill": int(events * 0.7)}, {"back": 3e7})
    assert [code for code, _ in ended] == [-signal.SIGKILL, 0], said
    assert [*numbers(tmp_path)] == expected
    assert runs.read("run", tmp_path).provenance["wall_seconds"] >= 0


def test_results_that_can_not_be_written_are_refused_before_the_work(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir(mode=0o555)
    ended, said = attempts("staircase", folder, {"other_user": True})
    assert ended == [(2, ended[0][1])] and f"could not write {folder}/.run.lock: Perm" in said
    assert list(folder.iterdir()) == []


LONG = [sys.executable, "-m", "mlcpc", "boundary", "--steps", "100000"]


@contextmanager
def begun(results: Path) -> Iterator[subprocess.Popen]:
    """A run that takes hours, from when it holds its lock."""
    lock = results / ".boundary.lock"
    with started(LONG, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        mine = f"process {process.pid} on "
        until(lambda: lock.exists() and lock.read_text().startswith(mine), process)
        yield process


def test_a_second_process_on_the_same_run_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLCPC_RESULTS", str(tmp_path))
    with begun(tmp_path) as first:
        assert main(LONG[3:]) == 2
        said = capsys.readouterr().err
        assert f"{tmp_path}/.boundary.lock is held by process {first.pid} on " in said
        assert "works on the same run; wait for it to end, or give this run another name" in said
    # The lock file of the killed process is still there, and stops nobody.
    assert (tmp_path / ".boundary.lock").exists()
    with begun(tmp_path) as second:
        until((tmp_path / ".boundary.partial").exists, second)
        for _ in range(12):  # as often as a person would: a library may swallow one
            second.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                second.wait(10)
                break
        assert second.returncode == 130 and not (tmp_path / ".boundary.lock").exists()


def test_one_that_waits_goes_on_when_the_other_ends(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from mlcpc import runs\n"
        f"path = Path({str(tmp_path / 'lock')!r})\n"
        "with runs.locked(path, wait=sys.argv[1] == 'wait'):\n"
        "    print('in', flush=True)\n"
        "    sys.argv[1] == 'hold' and time.sleep(600)\n"
    )
    line, options = [sys.executable, "-c", program], {"stdout": subprocess.PIPE}
    with started([*line, "hold"], **options) as hold:
        assert hold.stdout.readline() == "in\n"
        with started([*line, "wait"], **options) as wait:
            assert wait.stdout.readline().startswith(f"waiting for process {hold.pid} on ")
            hold.kill()
            hold.wait()
            assert wait.wait(200) == 0 and list(tmp_path.iterdir()) == []


def test_a_lock_is_released_by_errors(tmp_path):
    for _ in range(2):
        with pytest.raises(RuntimeError), runs.locked(tmp_path / "lock"):
            assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} on ")
            raise RuntimeError
        assert not (tmp_path / "lock").exists()


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    def unable(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unable)
    with pytest.warns(UserWarning, match="lock can not be locked .Operation not supported"):
        with runs.locked(tmp_path / "lock"):
            pass
