"""One runner for all experiments: golden numbers, kills, locks, sweeps,
and a new file that joins."""

import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import golden
import pytest
from conftest import ROOT, started, until

from mlcpc import config, files, records
from mlcpc.__main__ import main
from mlcpc.experiments import base, sweeps

TOY = str(Path(__file__).parent / "toy_experiment.py")


def words(name: str) -> list[str]:
    """The command of an experiment's tiny run."""
    experiment, source = base.find(name), name if name.endswith(".py") else ""
    job = base.job_for(experiment.tiny)
    return shlex.split(base.command(experiment, experiment.tiny, "run", job, source))[1:]


# ---------------------------------------------------------------------------------------------
# Numbers
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", base.names())
def test_golden_numbers(name):
    kept = json.loads((golden.FOLDER / f"{name}.json").read_text())
    assert not golden.fault(name, kept, golden.numbers(base.find(name)))


def test_a_change_of_numbers_is_named(monkeypatch):
    from mlcpc import bounds

    true = bounds.alpha_min
    kept = json.loads((golden.FOLDER / "boundary.json").read_text())
    experiment = base.find("boundary")
    monkeypatch.setattr(bounds, "alpha_min", lambda n, m: 1.001 * true(n, m))
    said = golden.fault("boundary", kept, golden.numbers(experiment))
    assert "'largest J - I at or above alpha_min' of boundary was" in said and "version" in said
    newer = {**kept, "version": 2}
    assert golden.fault("boundary", kept, newer) == (
        "version of boundary is 2, its golden numbers are of 1"
    )


# Runs the command until it succeeds, each time in a fork, so that the packages are imported once.
# An attempt may be killed at a certain event, which is a call, a line or a return in the package's
# own code, counted from the lock of the run on: the same point however busy the machine is. Or it
# may meet a limit on the size of its files, or find the clock set back.
PROGRAM = """
import json, os, resource, signal, sys, time
import torch._dynamo
from mlcpc.__main__ import main
if any(each in sys.argv[1] for each in ("pretrain", "distill", "bijective", "flow", "invert")):
    import accelerate, kornia, zuko
if not any(each in sys.argv[1] for each in ("staircase", "boundary", "coin", "choosing")):
    import sklearn.datasets, sklearn.linear_model

events = 0

def attempt(arguments, kill=None, size=None, back=0.0):
    def watch(frame, event, argument):
        global events
        ours = frame.f_globals.get("__name__", "").startswith("mlcpc")
        if ours and (events or frame.f_code.co_name == "locked"):
            events += 1
            if events == kill:
                os.kill(os.getpid(), signal.SIGKILL)
        return watch if ours else None

    read, write = os.pipe()
    child = os.fork()
    if not child:
        if size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        if back:
            now = time.time
            time.time = lambda: now() - back
        sys.settrace(watch)
        code = main(arguments)
        sys.settrace(None)
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


def attempts(name: str, folder: Path, *each: dict) -> tuple[list[tuple[int, int]], str]:
    """Exit status and events of each attempt, and what was printed."""
    folder.mkdir(exist_ok=True)
    with started(
        [sys.executable, "-c", PROGRAM, json.dumps(words(name)), json.dumps(each)],
        env={**os.environ, "MLCPC_RESULTS": str(folder), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    ended = [line.split()[1:] for line in said.splitlines() if line.startswith("ended ")]
    assert ended, said
    return [(int(code), int(events)) for code, events in ended], said


def numbers(folder: Path) -> tuple:
    """What a record found, without the seconds that it took."""

    def without_seconds(value):
        if isinstance(value, dict):
            return {k: without_seconds(v) for k, v in value.items() if k != "seconds"}
        return [without_seconds(each) for each in value] if isinstance(value, list) else value

    (record,) = records.read_all("*", folder).values()
    return record.metrics, without_seconds(record.arrays)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Numbers and events of a tiny run without any fault."""
    made = {}

    def make(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("whole")
            (ended,), said = attempts(name, folder, {})
            assert ended[0] == 0, said
            assert {path.name for path in folder.iterdir()} <= {"run.json", "weights"}
            assert not list(folder.rglob(".*"))
            made[name] = (numbers(folder), ended[1])
        return made[name]

    return make


@pytest.mark.parametrize("name", [*base.names(), TOY])
def test_kills_at_random_points_change_no_number(name, whole, tmp_path):
    expected, events = whole(name)
    draw = random.Random(f"kill {Path(name).stem} at random")
    kills = [{"kill": int(events * draw.uniform(0.1, most))} for most in (0.95, 0.4, 0.4)]
    *killed, last = attempts(name, tmp_path, *kills, {})[0]
    assert 1 <= len(killed) and {code for code, _ in killed} == {-signal.SIGKILL}
    assert last[0] == 0
    assert numbers(tmp_path) == expected
    assert not list(tmp_path.rglob(".*"))


def test_a_full_disk_is_named_and_loses_nothing(whole, tmp_path):
    expected, _ = whole("staircase")
    ended, said = attempts("staircase", tmp_path, {"size": 4_000}, {})
    assert [code for code, _ in ended] == [2, 0]
    assert f"could not write {tmp_path}" in said and "File too large" in said
    assert numbers(tmp_path) == expected


def test_a_clock_that_was_set_back_changes_no_number(whole, tmp_path):
    expected, events = whole("staircase")
    ended, said = attempts("staircase", tmp_path, {"kill": int(events * 0.7)}, {"back": 3e7})
    assert [code for code, _ in ended] == [-signal.SIGKILL, 0], said
    assert numbers(tmp_path) == expected
    assert records.read("run", tmp_path).provenance["wall_seconds"] >= 0


# ---------------------------------------------------------------------------------------------
# A new experiment is one file
# ---------------------------------------------------------------------------------------------


def test_a_new_file_has_command_help_record_page_and_sweep(results, tmp_path, capsys):
    import registry

    assert main(["run", TOY, "--tosses", "5", "--seeds", "0", "1", "2"]) == 0
    record = records.read("coin")
    assert record.metrics["heads"].values == (3, 3, 2) and record.profile == "quick"
    assert record.config == {"tosses": 5, "seeds": [0, 1, 2]} and base.state(record) == "current"
    assert main(shlex.split(record.command)[1:] + ["--name", "again"]) == 0
    assert records.read("again").metrics == record.metrics
    with pytest.raises(SystemExit):
        main(["run", TOY, "--help"])
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "tosses of the coin; an integer of at least 1 (default: 10)" in said
    page = registry.page(record, {})
    assert "`heads`" in page and "version 1" in page and "3, 3, 2" in page
    (tmp_path / "sweeps.yaml").write_text(
        f"coins:\n  experiment: {TOY}\n  settings: {{seeds: [4, 5]}}\n"
        "  grid: {tosses: [2, 3]}\n  name: coin-{tosses}\n"
    )
    assert main(["sweep", str(tmp_path / "sweeps.yaml"), "coins"]) == 0
    assert records.read("coin-3").config == {"tosses": 3, "seeds": [4, 5]}
    assert main(["sweep", str(tmp_path / "sweeps.yaml"), "coins"]) == 0
    assert "coin-2: there" in capsys.readouterr().out


def test_cells_are_shared_by_processes_and_by_machines(results):
    tosses = ["run", TOY, "--seeds", "0", "1", "2", "3"]
    assert main([*tosses, "--jobs", "2", "--name", "side"]) == 0
    assert main([*tosses, "--cells", "seed-1", "seed-3", "--name", "apart"]) == 0
    assert not (results / "apart.json").exists()
    assert len(list((results / ".apart.partial").glob("*.safetensors"))) == 2
    assert main([*tosses, "--name", "apart"]) == 0
    assert records.read("apart").metrics == records.read("side").metrics
    assert not (results / ".apart.partial").exists()


def test_a_record_of_another_version_is_stale(results, monkeypatch):
    main(["run", TOY])
    made = records.read("coin")
    with monkeypatch.context() as patched:
        patched.setattr(base, "find", lambda name: type("Newer", (), {"version": 2}))
        assert base.state(made).startswith("stale: version 1 of")
    assert base.state(replace(made, experiment="gone")) == "of an unknown experiment"


def test_other_settings_never_replace_a_record_or_its_cells(results, capsys):
    assert main(["run", TOY, "--tosses", "5"]) == 0
    assert main(["run", TOY, "--tosses", "6"]) == 2
    assert "record of other settings (tosses: 6 here, 5 there)" in capsys.readouterr().err
    assert main(["run", TOY, "--tosses", "5"]) == 0
    main(["run", TOY, "--tosses", "7", "--name", "part", "--cells", "seed-0"])
    assert main(["run", TOY, "--tosses", "8", "--name", "part"]) == 2
    assert "settings.tosses: 8 here, 7 there; valid: another --name" in capsys.readouterr().err


def test_a_damaged_cell_is_refused(results, capsys):
    main(["run", TOY, "--name", "part", "--cells", "seed-0"])
    path = results / ".part.partial/seed-0.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    assert main(["run", TOY, "--name", "part"]) == 2
    assert "seed-0.safetensors is not a whole checkpoint" in capsys.readouterr().err


LONG = [sys.executable, "-m", "mlcpc", "run", "boundary", "--steps", "100000", "--name", "long"]


def test_an_interrupted_run_says_how_to_go_on_and_two_do_not_mix(tmp_path):
    environment = {**os.environ, "MLCPC_RESULTS": str(tmp_path), "OMP_NUM_THREADS": "1"}
    with started(LONG, env=environment, stderr=subprocess.PIPE) as first:
        lock = tmp_path / ".long.lock"
        until(lambda: lock.exists() and "process" in lock.read_text(), first)
        second = subprocess.run(LONG, env=environment, capture_output=True, text=True)
        assert second.returncode == 2
        assert f"{lock} is held by process {first.pid} on " in second.stderr
        until((tmp_path / ".long.partial").exists, first)
        first.send_signal(signal.SIGINT)
        _, said = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "interrupted: " in said and "the same command goes on from here" in said
    assert not lock.exists()


# ---------------------------------------------------------------------------------------------
# Command lines
# ---------------------------------------------------------------------------------------------

ANY = [  # of every experiment
    "--name Bad", "--name ../up", "--name ''", "--device tpu", "--jobs 0", "--jobs x",
    "--cells none",
    "--nonsense 3", "stray",
]  # fmt: skip
SEEDED = ["--seeds", "--seeds -1", "--seeds 0 0", "--seeds x", "--seeds (0", "--seeds 0.5"]
WRONG = {
    "boundary": ["--restarts -3", "--steps 0", "--ratios 0", "--ratios x", "--sizes 2",
     "--sizes 2x1",
                 "--batch_sizes 1", "--alphabet 2", "--data somewhere"],
    "staircase": ["--task cube", "--levels -1", "--levels nan", "--estimators none",
     "--estimators cpc:x",
                  "--estimators nwj:1", "--steps 1", "--critic deep", "--width 0", "--batch 2",
                  "--learning_rate 0", "--learning_rate inf", "--dim 0"],
    "pretrain": ["--dataset none", "--network none", "--alpha 0", "--alpha 1e9",
     "--queue 100000000",
                 "--queue 1", "--objective nwj", "--epochs 0", "--temperature 0", "--flip 2",
                 "--key_momentum 1", "--crop_low 0",
                 "--batch 1",
                 "--norm_groups 3", "--precision half", "--data /nowhere", "--alpha_schedule wave"],
    "distill": ["--pair resnet56", "--objective none", "--weights 1", "--weights -1 0 0",
     "--weights 0 0 0",
                "--alpha 0", "--count 0", "--negatives few", "--teacher_epochs 0", "--epochs 0.5",
                "--memory_momentum 1", "--dataset none", "--held_out 1", "--each 0"],
    "consistency": ["--rows -1", "--rows 0 999", "--batch 2", "--width 0", "--learning_rate 0",
                    "--estimators none", "--steps 0", "--dataset none"],
    "choosing-alpha": ["--ratios 0", "--batches 1", "--tasks gaussian", "--steps 0"],
    "bijective": ["--objectives none", "--objectives", "--steps 0", "--every 0", "--batch 1",
                  "--probed 99", "--probed 10001", "--batch 2001", "--couplings 0", "--noise -1",
                  "--learning_rate 0", "--dataset none", "--dataset cifar10 --data /nowhere"],
    "hard-to-invert": ["--objectives cpc:1", "--layers 0", "--jacobians 0", "--jacobians 2001",
                       "--critic_rate inf", "--width 3"],
    "adversarial-flow": ["--objectives cpc", "--warm_up -1", "--classifier_steps 0",
                         "--classifier_rate 0", "--width 0", "--probed 10001"],
    "critic-capacity": ["--critics deep", "--critics", "--estimators mine", "--widths 0",
                        "--batch 99999", "--probed 99999", "--dataset none"],
    "matched-bound": ["--levels 9", "--levels 0", "--encoders resnet", "--critic deep",
                      "--channels 8", "--estimators cpc:65"],
    "dependent-pairs": ["--cases weather", "--own 1", "--common -1", "--batch 2", "--tested 0"],
    "known-information": ["--dataset none", "--data /nowhere", "--flips 0.6", "--flips -0.1",
                          "--flips x", "--levels 11", "--levels -1", "--sources 0", "--classes 1",
                          "--classes 0 0", "--estimators none", "--steps 1", "--batch 2",
                          "--dataset digits --pool 3", "--dataset digits --classes 0 10"],
    "beliefs": ["--study all", "--dataset none", "--learned 1", "--learned 1000", "--pairs 9999",
                "--candidates 7", "--candidates 1", "--crops 0", "--jitters 2", "--strengths 2",
                "--patterns 1", "--temperature 0", "--steps 0", "--width 0"],
    "factor-views": ["--noise 0.25", "--noise -1", "--labels 4", "--shown 1", "--narrow 0",
                     "--pairs 3", "--data somewhere"],
}  # fmt: skip


@pytest.mark.parametrize("name, line", [
    (name, line) for name in WRONG for line in [*ANY, *SEEDED, *WRONG[name]]
])  # fmt: skip
def test_a_wrong_command_line_ends_with_a_message(name, line, results, capsys):
    try:
        code = main(["run", name, *shlex.split(line)])
    except SystemExit as exit:  # of argparse
        code = exit.code
    said = capsys.readouterr().err
    assert code == 2 and "error: " in said and "Traceback" not in said
    assert not results.exists() or not list(results.rglob("*.safetensors"))


NATURAL = {
    "boundary": ["--seeds 0", "--seeds 0 1 2", "--sizes 1x2 2x2", "--batch-sizes 2 3",
     "--alphabet 2 3",
                 "--ratios 0.5 1.0"],
    "staircase": ["--seeds 0", "--levels 2", "--levels 2 4", "--estimators cpc:1 ml_cpc:0.1",
                  "--estimators nwj", "--learning-rate 1e-3", "--critic joint"],
    "pretrain": ["--alpha 0.01", "--alpha 10 --alpha_last 0.1 --alpha_schedule geometric",
                 "--divide_by_alpha", "--divide_by_alpha False", "--objective cpc", "--seeds 3",
                 "--learning_rate 1", "--negatives batch"],
    "distill": ["--weights 1 0 0.8", "--teacher_epochs none", "--teacher_epochs 30", "--seeds 0 1",
                "--pair vgg13-vgg8", "--objective kd", "--learning_rate none"],
    "consistency": ["--rows 0 4 28 --ratio_rows 28", "--class_estimators", "--seeds 1"],
    "known-information": ["--levels 2 10", "--flips 0 0.1 0.5", "--dataset fashion-mnist-subset",
                          "--classes 1 9 --pool 2", "--estimators cpc:1 smile:inf", "--seeds 3"],
    "choosing-alpha": ["--tasks gaussian:20 cubic-rotated:10", "--batches 16 64", "--ratios 1 4"],
    "bijective": ["--objectives cpc nwj --couplings 30 --width 512", "--noise 0.05", "--seeds 4"],
    "hard-to-invert": ["--objectives ml_cpc_batch --layers 3", "--noise 0", "--jacobians 16"],
    "adversarial-flow": ["--warm_up 0 --classifier_steps 1", "--classifier-rate 0.01"],
    "critic-capacity": ["--critics joint", "--widths 300 300 100 --hidden 200", "--steps 21000"],
    "matched-bound": ["--levels 2 4 --batch 128", "--channels 64 128", "--critic bilinear"],
    "dependent-pairs": ["--cases gaussian", "--common 0.5 --own -0.2", "--estimators nwj"],
    "beliefs": ["--study measures --seeds 0", "--study views --jitters", "--candidates 8 512"],
    "factor-views": ["--narrow 3 --seeds 1 2", "--labels 10"],
}  # fmt: skip


@pytest.mark.parametrize("name, line", [(name, line) for name in NATURAL for line in NATURAL[name]])
def test_natural_command_lines_are_read(name, line):
    experiment = base.find(name)
    options = base.parser(experiment, name).parse_args(shlex.split(line))
    found = config.from_arguments(options, experiment.Config)
    assert experiment.Config.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_the_command_of_a_record_makes_it_again():
    for record in records.read_all("*", ROOT / "results").values():
        if record.experiment.endswith(".py"):
            continue
        called, *rest = shlex.split(record.command)[2:]
        experiment = base.find(called)
        options = base.parser(experiment, called).parse_args(rest)
        found = config.from_arguments(options, experiment.Config)
        stored = experiment.Config.from_dict(record.config)
        assert found.to_dict() | {"alpha_last": None} == stored.to_dict() | {"alpha_last": None}


def test_the_shipped_sweeps_fit_their_experiments(results):
    found = sweeps.read(ROOT / "workflow/sweeps.yaml", results)
    assert {"mi", "pretrain", "distill", "alpha", "held_out"} <= set(found)
    assert len(found["distill"]) == 52 and files.results() == results
