"""Sweeps: what the file asks for, and runs that are killed, that fail, and that are there."""

import argparse
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml
from conftest import started, until

from mlcpc import distillation, estimation, pretraining, runs
from mlcpc.__main__ import add_config, config_from
from mlcpc.__main__ import parser as main_parser

ROOT = Path(__file__).resolve().parent.parent
specification = importlib.util.spec_from_file_location("sweeps", ROOT / "workflow/sweeps.py")
sweeps = importlib.util.module_from_spec(specification)
specification.loader.exec_module(sweeps)

CONFIGS = {
    "staircase": estimation.StaircaseConfig,
    "pretrain": pretraining.PretrainConfig,
    "distill": distillation.DistillConfig,
}
SMALL = {
    "small": {
        "command": "staircase",
        "settings": {
            "levels": [1.0, 2.0], "width": 16, "batch": 16, "estimators": ["cpc:1", "mine"],
            "save_every": 50,
        },
        "grid": {"length": {"short": {"steps": 100}, "long": {"steps": 1200, "seeds": [0, 1]}}},
        "name": "small-{length}",
    }
}  # fmt: skip


def read(tmp_path, content, results=None):
    (tmp_path / "sweeps.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return sweeps.read(tmp_path / "sweeps.yaml", results or tmp_path)


# ---------------------------------------------------------------------------------------------
# The file
# ---------------------------------------------------------------------------------------------


def test_every_run_of_the_book_is_one_that_its_command_takes():
    asked = sweeps.read(ROOT / "workflow/sweeps.yaml", ROOT / "results")
    assert list(asked) == ["mi", "pretrain", "distill"]
    assert len(asked["distill"]) == 13 * 4
    for name, arguments in [each for found in asked.values() for each in found.items()]:
        command, *options = shlex.split(arguments)
        parser = argparse.ArgumentParser()
        add_config(parser, CONFIGS[command])
        parser.add_argument("--name")
        options = parser.parse_args(options)
        config_from(options, CONFIGS[command])
        assert options.name == name
        runs.check_name(name)


def test_a_grid_is_every_combination(tmp_path):
    content = {"one": {"command": "pretrain", "settings": {"epochs": 3},
               "name": "x-{length}-{objective}",
               "grid": {"objective": ["cpc", "ml_cpc"],
                        "length": {"0.1": {"epochs": 1, "dim": 8}, "b": {}}}}}  # fmt: skip
    assert read(tmp_path, content) == {
        "one": {
            "x-0-1-cpc": "pretrain --epochs 1 --objective cpc --dim 8 --name x-0-1-cpc",
            "x-b-cpc": "pretrain --epochs 3 --objective cpc --name x-b-cpc",
            "x-0-1-ml-cpc": "pretrain --epochs 1 --objective ml_cpc --dim 8 --name x-0-1-ml-cpc",
            "x-b-ml-cpc": "pretrain --epochs 3 --objective ml_cpc --name x-b-ml-cpc",
        }
    }  # fmt: skip


@pytest.mark.parametrize(
    "value, text",
    [([0, 1], "(0, 1, )"), (["cpc:1"], "('cpc:1', )"), ([[1, 2]], "((1, 2, ), )"), (0.1, "0.1"),
     ("cpc", "cpc"), (False, "False")],
)  # fmt: skip
def test_values_are_written_as_commands_read_them(value, text):
    assert sweeps.literal(value) == text


@pytest.mark.parametrize(
    "change, message",
    [
        ({"comand": "x"}, r"unknown keys \['comand'\]"),
        ({"command": ...}, r"missing keys \['command'\]"),
        ({"grid": {"length": []}}, r"the axis length is \[\]; valid: a list of values"),
        ({"name": "small-{width}"}, "name asks for 'width', which is no axis; valid: length"),
        ({"name": "small-{}"}, "name asks for .*, which is no axis; valid: length"),
        ({"name": "small-{length.x}"}, "name asks for .*, which is no axis; valid: length"),
        ({"name": "small"}, "two runs would be named small"),
        ({"name": "Small-{length}"}, "name gives 'Small-short'; valid: lower case letters"),
        ({"name": "{length}/.."}, "name gives 'short/..'; valid: lower case letters"),
        ({"command": "train"}, "command is 'train'; valid: boundary, staircase, pretrain, distill"),
        ({"grid": {}}, "grid is {}; valid: axes with their values"),
        ({"grid": None}, "grid is None; valid: axes with their values"),
        ({"grid": {"length": {}}}, r"the axis length is {}; valid: a list of values"),
        ({"grid": {"length": {"short": 3}}}, "short of the axis length is 3; valid: options"),
        ({"settings": [3]}, r"settings is \[3\]; valid: options with their values"),
        ({"settings": {"stepz": 3}}, "unrecognized arguments: --stepz 3"),
        ({"settings": {"batc": 16}}, "unrecognized arguments: --batc 16"),  # no short forms
        ({"settings": {"task": "cube"}}, "task is 'cube'; valid: gaussian, cubic"),
        ({"settings": {"width": "wide"}}, "argument --width: invalid int value: 'wide'"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path, change, message):
    given = {**SMALL["small"], **change}
    given = {key: value for key, value in given.items() if value is not ...}
    with pytest.raises(sweeps.Refusal, match=f"sweep small: .*{message}"):
        read(tmp_path, {"small": given})


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "sweeps.yaml holds None; valid: sweeps by their names"),
        ("[1, 2]", r"sweeps.yaml holds \[1, 2\]; valid"),
        ("small: 3", "sweep small is 3; valid: command, grid, name, settings"),
        ("small: {a: [}", "sweeps.yaml is not YAML: .* line 1"),
        ("one: {name: a}\none: {name: b}", "sweeps.yaml: one stands twice"),
        ("one: {name: a, name: b}", "sweeps.yaml: name stands twice"),
        ("one: {1: a, b: c}", r"sweep one: unknown keys \['1', 'b'\], missing keys"),
        (b"one: \xff", "sweeps.yaml is not YAML"),
    ],
)
def test_what_is_no_file_of_sweeps_is_refused(tmp_path, text, message):
    (tmp_path / "sweeps.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(sweeps.Refusal, match=message):
        sweeps.read(tmp_path / "sweeps.yaml", tmp_path)
    for path in (tmp_path / "gone.yaml", tmp_path):
        with pytest.raises(sweeps.Refusal, match=f"no file {path}; valid: a file of sweeps"):
            sweeps.read(path, tmp_path)


def test_labels_may_be_numbers_and_settings_may_be_shared(tmp_path):
    (tmp_path / "sweeps.yaml").write_text(
        "one: &one\n  command: pretrain\n  name: x-{a}\n"
        "  grid: {a: {1: {alpha: 1.0}, 0.1: {dim: 3}}}\n"
        "two: {<<: *one, name: 'y-{a}'}\n"
    )
    found = sweeps.read(tmp_path / "sweeps.yaml", tmp_path)
    assert [*found["one"], *found["two"]] == ["x-1", "x-0-1", "y-1", "y-0-1"]
    assert found["two"]["y-0-1"] == "pretrain --dim 3 --name y-0-1"


@pytest.mark.parametrize("content", ['{"config": {"steps"', "[]", "{}", '{"config": 3}'])
def test_a_damaged_record_is_no_done_run(tmp_path, content):
    (tmp_path / "small-short.json").write_text(content)
    with pytest.raises(sweeps.Refusal, match="small-short.json"):
        read(tmp_path, SMALL)


def test_a_record_of_other_settings_is_refused(tmp_path):
    record = runs.read("staircase-gaussian-separable", ROOT / "results")
    _, config = sweeps.settings_of(read(tmp_path, SMALL)["small"]["small-short"])
    config = asdict(config)
    made = replace(record, name="small-short", config=config)
    runs.write(made, tmp_path)
    assert len(read(tmp_path, SMALL)["small"]) == 2
    runs.write(replace(made, config={**config, "steps": 90}), tmp_path)
    with pytest.raises(sweeps.Refusal, match="of other settings .steps: 100 here, 90 there"):
        read(tmp_path, SMALL)


def test_parts_are_the_files_that_the_command_writes():
    """Six teachers and nine students of 13 pairs; a student of every pair, objective and seed."""
    asked = sweeps.read(ROOT / "workflow/sweeps.yaml", ROOT / "results")
    assert all(sweeps.parts(each) == {} for each in [*asked["mi"].values(),
                                                     *asked["pretrain"].values()])  # fmt: skip
    of_kind = {kind: {} for kind in distillation.PARTS}
    for arguments in asked["distill"].values():
        for kind, files in sweeps.parts(arguments).items():
            of_kind[kind] |= files
    assert {kind: len(files) for kind, files in of_kind.items()} == {
        "teacher": 6, "plain": 9 * 3, "students": 13 * 4 * 3,
    }  # fmt: skip
    name = "distill-fashion-mnist-vgg13-vgg8-kd"
    arguments = sweeps.parts(asked["distill"][name])["students"][f"{name}-seed-2.safetensors"]
    options = main_parser().parse_args(shlex.split(arguments))
    assert (options.seeds, options.only, options.epochs) == ((2,), "students", 60)


# ---------------------------------------------------------------------------------------------
# Snakemake
# ---------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """As much of the project as a sweep needs, with a results folder of its own."""
    for path in ("workflow", "profiles", "book/_tools", "book/_ext"):
        shutil.copytree(ROOT / path, tmp_path / path, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", tmp_path)
    (tmp_path / "mlcpc").symlink_to(ROOT / "mlcpc")
    for path in ("notebooks", "results"):
        (tmp_path / path).mkdir()
    (tmp_path / "results/paper.csv").write_text("")
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    return tmp_path


def line(*arguments, profile=None):
    """Snakemake's command; without a profile it takes profiles/default."""
    chosen = ["--workflow-profile", f"profiles/{profile}"] if profile else []
    return [sys.executable, "-m", "snakemake", *arguments, *chosen]


def finished(folder, *arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    with started(line(*arguments, **options), cwd=folder, env=environment,
                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:  # fmt: skip
        said, _ = process.communicate(timeout=300)
    return process.returncode, said


SWEEP = ("sweep_small", "--config", "sweeps=small.yaml")


def test_a_killed_sweep_is_finished_by_the_same_command(folder):
    first = folder / "results/small-short.json"
    checkpoint = folder / "results/.small-long.partial/seeds-0.safetensors"
    with started(
        line(*SWEEP), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(folder)},
    ) as running:  # fmt: skip
        until(lambda: first.exists() and checkpoint.exists(), running)
    assert not (folder / "results/small-long.json").exists()
    kept, changed = first.read_bytes(), first.stat().st_mtime_ns
    code, said = finished(folder, *SWEEP)
    assert code == 0, said
    assert (first.read_bytes(), first.stat().st_mtime_ns) == (kept, changed)
    assert runs.read("small-long", folder / "results").seeds == [0, 1]
    # It began where the killed one had been, and the first run was not asked for again.
    log = (folder / ".snakemake/sweeps/small-long.log").read_text()
    assert re.search(r"seeds \(0,\): +[1-9]\d*%", re.split(r"[\r\n]", log.strip())[0]), log[:300]
    assert "run_small" in said and "small-short" not in re.sub("input: .*", "", said)
    assert not (folder / "results/.small-long.partial").exists()
    code, said = finished(folder, *SWEEP)
    assert code == 0 and "Nothing to be done" in said
    # Neither is a record made again, which would remove it first, for how the next is to be run.
    settings = SMALL["small"]["settings"] | {"device": "cuda"}
    changed = {"small": SMALL["small"] | {"settings": settings}}
    (folder / "small.yaml").write_text(yaml.safe_dump(changed))
    code, said = finished(folder, *SWEEP, "--dry-run")
    assert code == 0 and "Nothing to be done" in said, said


def test_a_run_that_fails_is_reported_and_does_not_stop_the_others(folder):
    content = {"small": {**SMALL["small"], "name": "small-{task}", "grid": {
        "task": {"tpu": {"device": "tpu"}, "cubic": {"task": "cubic"}, "gaussian": {}},
    }}}  # fmt: skip
    content["small"]["settings"] = {**SMALL["small"]["settings"], "steps": 100}
    (folder / "small.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    code, said = finished(folder, *SWEEP)
    assert code == 1 and "error: device is 'tpu'; valid: cpu, cuda" in said
    assert sorted(path.stem for path in (folder / "results").glob("*.json")) == [
        "small-cubic", "small-gaussian",
    ]  # fmt: skip
    code, said = finished(folder, *SWEEP, "--dry-run")
    assert code == 0 and re.search(r"^run_small +1$", said, re.MULTILINE)


def test_a_distillation_is_a_job_for_each_network(folder):
    """Two sweeps that share teacher and plain students; a stop, and the same record again."""
    of_all = {
        "command": "distill",
        "settings": {
            "dataset": "digits", "pair": "wrn-40-2-wrn-16-2", "epochs": 1, "batch": 256,
            "count": 32, "seeds": [0, 1],
        },
    }  # fmt: skip
    content = {
        each: {**of_all, "grid": {"objective": [each]}, "name": "{objective}"}
        for each in ("kd", "crd")
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(content))
    chosen = ("--config", "sweeps=small.yaml")
    student = "results/weights/kd-seed-1.safetensors"
    code, said = finished(folder, student, *chosen)
    assert code == 0, said
    assert {path.name[:5] for path in (folder / "results/weights").iterdir()} == {"digit", "kd-se"}
    code, said = finished(folder, "sweep_kd", *chosen)
    assert code == 0, said
    for rule, count in {"run_kd": 1, "train_students": 1, "train_plain": 2}.items():
        assert re.search(rf"^{rule} +{count}$", said, re.MULTILINE), said
    assert not re.search(r"^train_teacher", said, re.MULTILINE)
    found = runs.read("kd", folder / "results")
    assert found.seeds == [0, 1] and len(found.metrics["accuracy student"]["values"]) == 2
    log = (folder / ".snakemake/sweeps/kd.log").read_text()
    assert "step/s" not in log  # the record's own job trains nothing
    code, said = finished(folder, "sweep_crd", *chosen, "--dry-run")
    assert code == 0 and re.search(r"^train_students +2$", said, re.MULTILINE), said
    assert not re.search(r"^train_(teacher|plain)", said, re.MULTILINE)
    shutil.rmtree(folder / "results/weights")  # a record that is there needs no weights
    code, said = finished(folder, "sweep_kd", *chosen, "--dry-run")
    assert code == 0 and "Nothing to be done" in said, said


def test_a_sweep_that_is_not_there_is_named(folder):
    code, said = finished(folder, "sweep_smal", "--config", "sweeps=small.yaml")
    assert code == 1 and "no sweep sweep_smal; valid: sweep_small" in said, said
    assert "Traceback" not in said


@pytest.mark.parametrize("profile", ["slurm", "kubernetes"])
def test_profiles_of_clusters_plan_every_run(folder, profile):
    """A dry run. Without the plugin of the cluster, with Snakemake's own in its place."""
    instead = []
    if importlib.util.find_spec(f"snakemake_executor_plugin_{profile}") is None:
        instead = ["--executor", "dryrun", "--default-storage-provider", "none"]
    code, said = finished(folder, "sweep_distill", "--dry-run", *instead, profile=profile)
    assert code == 0, said
    jobs = {"run_distill": 52, "train_students": 156, "train_plain": 27, "train_teacher": 6}
    for rule, count in jobs.items():
        assert re.search(rf"^{rule} +{count}$", said, re.MULTILINE), said
    assert "mem_mb=16000" in said and "threads: 8" in said


def test_building_the_book_makes_no_record(folder):
    done = subprocess.run(
        line("results/small-short.json", "--dry-run", "--config", "sweeps=none"), cwd=folder,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and "MissingRuleException" in done.stdout + done.stderr
    sys.path.insert(0, str(ROOT / "book/_tools"))
    import build

    assert "sweeps=none" in build.command("quick", "")
