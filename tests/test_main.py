"""Commands: records are written, killed runs go on to the same numbers, bad input is refused."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from conftest import started, until

from mlcpc import __main__ as commands
from mlcpc import exact, runs
from mlcpc.__main__ import CODE, main

SMALL = ["--sizes", "((1, 2),)", "--batch_sizes", "(2,)", "--steps", "10", "--restarts", "2"]


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("MLCPC_RESULTS", str(tmp_path))
    return tmp_path


def test_boundary_writes_its_record(results, capsys):
    assert main(["boundary", *SMALL, "--ratios", "(0.5, 1.0)", "--seeds", "(0,)"]) == 0
    record = runs.read("boundary", results)
    assert len(record.arrays["rows"]) == 6 and record.config["steps"] == 10
    assert record.provenance["code"] == runs.code_hash(CODE["boundary"])
    assert "[6/6]" in capsys.readouterr().out
    assert [path.name for path in results.iterdir()] == ["boundary.json"]
    assert main(["records"]) == 0
    assert "boundary  full  1 seeds  fits the code" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["boundary", "another"])
def test_the_command_in_a_record_makes_it_again(results, name):
    main(["boundary", *SMALL, "--ratios", "(0.5,)", "--seeds", "(0,)", "--name", name])
    first = runs.read(name, results)
    (results / f"{name}.json").unlink()
    subprocess.run(
        first.command.replace("python", sys.executable, 1), shell=True, check=True, env=os.environ
    )
    assert runs.read(name, results).arrays == first.arrays


def test_a_killed_run_goes_on_to_the_same_numbers(results):
    command = [
        *[sys.executable, "-m", "mlcpc", "boundary", "--sizes", "((1, 2),)"],
        *["--batch_sizes", "()", "--restarts", "2", "--steps", "8", "--seeds", "(0,)"],
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("[5/"):
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    assert not (results / "boundary.json").exists()
    resumed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "[1/" not in resumed.stdout
    record = runs.read("boundary", results)
    (results / "boundary.json").unlink()
    subprocess.run(command, check=True, capture_output=True)
    assert runs.read("boundary", results).arrays == record.arrays


def test_interruption_says_how_to_go_on(results):
    command = [sys.executable, "-m", "mlcpc", "boundary", "--steps", "100000"]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until((results / ".boundary.partial").exists, process)
        for _ in range(12):
            # Again, as a person would: an interrupt that falls into a callback of a library is
            # lost.
            process.send_signal(signal.SIGINT)
            try:
                _, errors = process.communicate(timeout=10)
                break
            except subprocess.TimeoutExpired:
                continue
    scratch = results / ".boundary.partial"
    assert process.returncode == 130
    assert f"{scratch} holds what is done; the same command goes on from here" in errors


def test_an_interruption_before_the_first_checkpoint_names_the_folder(results, monkeypatch):
    with pytest.raises(KeyboardInterrupt, match=f": {results} holds what is done; the same"):
        with commands._alone("early", exact.BoundaryConfig()):
            raise KeyboardInterrupt
    assert list(results.iterdir()) == []


def test_a_record_of_other_settings_is_not_overwritten(results, capsys):
    assert main(["boundary", *SMALL, "--seeds", "(0,)"]) == 0
    record = runs.read("boundary")
    assert main(["boundary", *SMALL, "--seeds", "(5,)"]) == 2
    said = capsys.readouterr().err
    assert "boundary.json holds a record of other settings (seeds: [5] here, [0] there)" in said
    assert "valid: another --name, or remove that record first" in said
    assert runs.read("boundary") == record
    older = {key: value for key, value in record.config.items() if key != "restarts"}
    runs.write(replace(record, name="older", config=older))
    config = exact.BoundaryConfig(**record.config)
    with pytest.raises(ValueError, match="of other settings .restarts: "):
        runs.check_settings("older", config)  # what it lacks counts as the default
    runs.check_settings("older", replace(config, restarts=exact.BoundaryConfig().restarts))
    runs.check_settings("boundary", config)


def test_help_says_all_of_a_setting(capsys):
    with pytest.raises(SystemExit):
        main(["pretrain", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "above 1 the keys are shuffled among them, as on so many devices. (default: 1)" in said


def test_options_are_written_out(capsys):
    with pytest.raises(SystemExit):
        main(["boundary", "--seed", "(0,)"])
    assert "unrecognized arguments: --seed" in capsys.readouterr().err


def test_a_record_is_carried_by_its_name(results, capsys):
    assert main(["boundary", *SMALL]) == 0
    assert main(["carry", "boundary", "--why", "nothing"]) == 2
    assert "record boundary fits the code; valid: a stale record" in capsys.readouterr().err
    old = runs.read("boundary")
    old.provenance["code"]["exact"] = "0" * 64
    runs.write(old)
    assert main(["records"]) == 0 and "stale: exact changed" in capsys.readouterr().out
    assert main(["carry", "boundary", "--why", "a function\n  moved"]) == 0
    assert f"wrote {results / 'boundary.json'}" in capsys.readouterr().out
    kept = runs.read("boundary")
    assert kept.provenance["carried"][0]["why"] == "a function moved"
    assert kept.arrays == old.arrays
    assert main(["records"]) == 0 and "carried to this code" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--ratios", "(0,)"], "ratios contains 0; valid: above 0"),
        (["--sizes", "((1, 1),)"], "m is 1; valid"),
        (["--restarts", "0"], "restarts is 0; valid: at least 1"),
        (["--alphabet", "(0, 2)"], "alphabet is 0; valid: at least 1"),
    ],
)
def test_bad_settings_are_named(results, capsys, arguments, message):
    assert main(["boundary", *SMALL, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (results / "boundary.json").exists()


def test_unknown_options_and_commands_are_refused(capsys):
    for arguments in (["boundary", "--colour", "red"], ["paint"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
