"""Sweeps: what the file asks for, and runs that are killed, that fail, and that are there."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from conftest import ROOT, started, until

from mlcpc import records
from mlcpc.experiments import sweeps

SMALL = {
    "small": {
        "experiment": "staircase",
        "settings": {
            "levels": [1.0, 2.0], "width": 16, "batch": 16, "estimators": ["cpc:1", "mine"],
        },
        "grid": {"length": {"short": {"steps": 100, "seeds": [0]},
                            "long": {"steps": 2000, "seeds": [0, 1]}}},
        "name": "small-{length}",
    }
}  # fmt: skip


def read(tmp_path, content, results=None):
    (tmp_path / "sweeps.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return sweeps.read(tmp_path / "sweeps.yaml", results or tmp_path)


# ---------------------------------------------------------------------------------------------
# The file
# ---------------------------------------------------------------------------------------------


def test_a_grid_is_every_combination(tmp_path):
    content = {"one": {"experiment": "pretrain", "settings": {"epochs": 3, "seeds": [0, 1]},
               "name": "x-{length}-{objective}",
               "grid": {"objective": ["cpc", "ml_cpc"],
                        "length": {"0.1": {"epochs": 1, "dim": 8}, "b": {}}}}}  # fmt: skip
    run = "run pretrain --epochs"
    assert read(tmp_path, content) == {
        "one": {
            "x-0-1-cpc": f"{run} 1 --seeds 0 1 --objective cpc --dim 8 --name x-0-1-cpc",
            "x-b-cpc": f"{run} 3 --seeds 0 1 --objective cpc --name x-b-cpc",
            "x-0-1-ml-cpc": f"{run} 1 --seeds 0 1 --objective ml_cpc --dim 8 --name x-0-1-ml-cpc",
            "x-b-ml-cpc": f"{run} 3 --seeds 0 1 --objective ml_cpc --name x-b-ml-cpc",
        }
    }


@pytest.mark.parametrize("change, message", [
    ({"comand": "x"}, r"unknown keys \['comand'\]"),
    ({"experiment": ...}, r"missing keys \['experiment'\]"),
    ({"grid": {"length": []}}, r"axis length of sweep small is \[\]; valid: a list"),
    ({"name": "small-{width}"}, "name asks for 'width', which is no axis; valid: length"),
    ({"name": "small-{}"}, "name asks for .*, which is no axis; valid: length"),
    ({"name": "small-{length.x}"}, "name asks for .*, which is no axis; valid: length"),
    ({"name": "small"}, "two runs would be named small"),
    ({"name": "Small-{length}"}, "name is 'Small-short'; valid: lower case letters"),
    ({"name": "{length}/.."}, "name is 'short/..'; valid: lower case letters"),
    ({"experiment": "train"}, "experiment is 'train'; valid: adversarial_flow, "),
    ({"grid": {}}, "grid of sweep small is {}; valid: axes with their values"),
    ({"grid": None}, "grid of sweep small is None"),
    ({"grid": {"length": {"short": 3}}}, "axis length of sweep small is {'short': 3}; valid"),
    ({"settings": [3]}, r"settings of sweep small is \[3\]; valid: options with"),
    ({"settings": {"stepz": 3}}, "unrecognized arguments: --stepz 3"),
    ({"settings": {"batc": 16}}, "unrecognized arguments: --batc 16"),  # no short forms
    ({"settings": {"task": "cube"}}, "task is 'cube'; valid: gaussian, cubic"),
    ({"settings": {"width": "wide"}}, "width is 'wide'; valid: an integer of at least 1"),
])  # fmt: skip
def test_mistakes_in_the_file_are_named(tmp_path, change, message):
    given = {**SMALL["small"], **change}
    given = {key: value for key, value in given.items() if value is not ...}
    with pytest.raises(ValueError, match=message):
        read(tmp_path, {"small": given})


@pytest.mark.parametrize("text, message", [
    ("", "sweeps.yaml is None; valid: sweeps by their names"),
    ("[1, 2]", r"sweeps.yaml is \[1, 2\]; valid"),
    ("small: 3", "sweep small is 3; valid: experiment, grid, name, settings"),
    ("small: {a: [}", "sweeps.yaml is not YAML: .* line 1"),
    ("one: {name: a}\none: {name: b}", "sweeps.yaml: one stands twice"),
    ("one: {name: a, name: b}", "sweeps.yaml: name stands twice"),
    ("one: {1: a, b: c}", r"sweep one: unknown keys \['1', 'b'\], missing keys"),
    (b"one: \xff", "sweeps.yaml is not YAML"),
])  # fmt: skip
def test_what_is_no_file_of_sweeps_is_refused(tmp_path, text, message):
    (tmp_path / "sweeps.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        sweeps.read(tmp_path / "sweeps.yaml", tmp_path)
    for path in (tmp_path / "gone.yaml", tmp_path):
        with pytest.raises(ValueError, match=f"no file {path}; valid: a file of sweeps"):
            sweeps.read(path, tmp_path)


@pytest.mark.parametrize("content", ['{"config": {"steps"', "[]", "{}", '{"config": 3}'])
def test_a_damaged_record_is_no_done_run(tmp_path, content):
    (tmp_path / "small-short.json").write_text(content)
    with pytest.raises(ValueError, match="small-short.json"):
        read(tmp_path, SMALL)


def test_a_record_of_other_settings_is_refused(tmp_path):
    record = records.read("staircase-gaussian-separable", ROOT / "results")
    _, config, _ = sweeps.settings_of(read(tmp_path, SMALL)["small"]["small-short"])
    made = replace(record, name="small-short", config=config.to_dict())
    records.write(made, tmp_path)
    assert len(read(tmp_path, SMALL)["small"]) == 2
    records.write(replace(made, config={**made.config, "steps": 90}), tmp_path)
    with pytest.raises(ValueError, match="of other settings .steps: 100 here, 90 there"):
        read(tmp_path, SMALL)


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
    checkpoint = folder / "results/.small-long.partial/.seeds-0.safetensors.checkpoint"
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
    assert records.read("small-long", folder / "results").seeds == [0, 1]
    # The first run was not asked for again, and the other one went on from its checkpoint.
    assert "run_small" in said and "small-short" not in re.sub("input: .*", "", said)
    assert not (folder / "results/.small-long.partial").exists()
    code, said = finished(folder, *SWEEP)
    assert code == 0 and "Nothing to be done" in said


def test_a_run_that_fails_is_reported_and_does_not_stop_the_others(folder):
    content = {"small": {**SMALL["small"], "name": "small-{task}", "grid": {
        "task": {"tpu": {"device": "tpu"}, "cubic": {"task": "cubic"}, "gaussian": {}},
    }}}  # fmt: skip
    content["small"]["settings"] = {**SMALL["small"]["settings"], "steps": 100, "seeds": [0]}
    (folder / "small.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    code, said = finished(folder, *SWEEP)
    assert code == 1 and "error: device is 'tpu'; valid: cpu, cuda" in said
    assert sorted(path.stem for path in (folder / "results").glob("*.json")) == [
        "small-cubic", "small-gaussian",
    ]  # fmt: skip
    code, said = finished(folder, *SWEEP, "--dry-run")
    assert code == 0 and re.search(r"^run_small +1$", said, re.MULTILINE)


def test_a_distillation_is_a_job_for_each_network(folder):
    """Two sweeps share teacher and plain students; a record that is there needs no weights."""
    of_all = {
        "experiment": "distill",
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
    code, said = finished(folder, "sweep_kd", *chosen)
    assert code == 0, said
    for rule, count in {"run_kd": 1, "cell": 7}.items():
        assert re.search(rf"^{rule} +{count}$", said, re.MULTILINE), said
    found = records.read("kd", folder / "results")
    assert found.seeds == [0, 1] and len(found.metrics["accuracy student"].values) == 2
    log = (folder / ".snakemake/sweeps/kd.log").read_text()
    assert "step/s" not in log  # the record's own job trains nothing
    code, said = finished(folder, "sweep_crd", *chosen, "--dry-run")
    assert code == 0 and re.search(r"^cell +4$", said, re.MULTILINE), said
    shutil.rmtree(folder / "results/weights")
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
    jobs = {"run_distill": 52}
    for rule, count in jobs.items():
        assert re.search(rf"^{rule} +{count}$", said, re.MULTILINE), said


def test_building_the_book_makes_no_record(folder):
    done = subprocess.run(
        line("results/small-short.json", "--dry-run", "--config", "sweeps=none"), cwd=folder,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and "MissingRuleException" in done.stdout + done.stderr
    sys.path.insert(0, str(ROOT / "book/_tools"))
    import build

    assert "sweeps=none" in build.command("quick", "")
