"""Records: round trip, refusal of damaged files, atomic writing, sweeps that survive a kill."""

import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap

import pytest
import torch

from mlcpc import runs


def record(**change):
    fields = {
        "name": "toy-run",
        "chapter": "05_ml_cpc",
        "profile": "quick",
        "command": "python -m mlcpc boundary",
        "config": {"alpha": 0.5},
        "seeds": [0, 1],
        "metrics": {"gap": runs.metric([0.1, 0.3], "nats")},
        "provenance": runs.provenance(runs.code_hash(["bounds"]), 1.23),
        "arrays": {"curve": [[1.0, 2.0]]},
    }
    return runs.Record(**{**fields, **change})


GAP = runs.metric([0.1, 0.3], "nats")
WHERE = {"device": "a machine", "versions": {}, "code": {}, "wall_seconds": 1.0}


def test_round_trip(tmp_path):
    path = runs.write(record(), tmp_path)
    assert path == tmp_path / "toy-run.json"
    assert runs.read("toy-run", tmp_path) == record()
    assert [each.name for each in tmp_path.iterdir()] == ["toy-run.json"]


def test_metric():
    metric = runs.metric([1, 2, 3, 4], "nats")
    assert metric["mean"] == 2.5 and metric["unit"] == "nats"
    low, high = metric["interval"]
    assert 1 <= low < 2.5 < high <= 4
    assert runs.metric([1.0], "nats")["interval"] is None
    for bad in ([], [float("nan")], [float("inf")]):
        with pytest.raises(ValueError, match="^values is"):
            runs.metric(bad, "nats")


def test_provenance_says_where_a_number_comes_from():
    where = runs.provenance(runs.code_hash(["exact", "bounds"]), 3.14159, {"toy": "ab"})
    assert list(where["code"]) == ["bounds", "exact"] and where["wall_seconds"] == 3.1
    assert set(where["versions"]) == {"python", "torch", "numpy"} and where["data"] == {"toy": "ab"}
    assert where["device"] and re.fullmatch(r"\d{4}-\d\d-\d\d", where["date"])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"schema": 99}, "schema is 99; valid: 1"),
        ({"name": "Bad Name"}, "name is 'Bad Name'"),
        ({"name": "../up"}, "name is"),
        ({"profile": "huge"}, "profile is 'huge'; valid: quick, full"),
        ({"config": None}, "config is None"),
        ({"metrics": {"gap": 1.0}}, "metric gap is 1.0"),
        ({"metrics": {"gap": {"unit": "nats", "values": [1.0], "mean": 1.0}}}, "metric gap is"),
        ({"metrics": {"gap": {**GAP, "values": []}}}, "metric gap is .*; valid: a unit, values"),
        ({"metrics": {"gap": {**GAP, "values": ["1"]}}}, "metric gap is .*; valid: a unit"),
        ({"metrics": {"gap": {**GAP, "interval": [0.1]}}}, "metric gap is .*; valid: a unit"),
        ({"metrics": {"gap": {**GAP, "mean": None}}}, "metric gap is .*; valid: a unit"),
        ({"metrics": {"gap": {**GAP, "unit": 3}}}, "metric gap is .*; valid: a unit"),
        ({"seeds": (0, 1)}, r"seeds is \(0, 1\); valid: a list of integers"),
        ({"seeds": ["0"]}, "seeds is .*; valid: a list of integers"),
        ({"seeds": 3}, "seeds is 3; valid: a list of integers"),
        ({"command": ["python"]}, "command is .*; valid: a text"),
        ({"command": ""}, "command is ''; valid: a text"),
        ({"chapter": None}, "chapter is None; valid: a text"),
        ({"provenance": {}}, "provenance lacks code, device, versions, wall_seconds"),
        *(
            ({"provenance": {**WHERE, key: value}}, f"provenance has .* as {key}; valid: a|names")
            for key, value in [
                ("device", 3),
                ("wall_seconds", "3"),
                ("wall_seconds", -1),
                ("wall_seconds", True),
                ("code", {"bounds": 3}),
                ("versions", []),
                ("data", 3),
                ("data", {"x": 3}),
                ("commit", 3),
                ("date", 3),
                ("processes", "2"),
                ("threads", 0),
                ("carried", 3),
                ("carried", [3]),
                ("carried", [{"why": "so"}]),
                ("carried", None),
                ("carried", [{"date": 1, "why": "so"}]),
            ]
        ),
        ({"name": 3}, "name is 3; valid: lower case"),
        ({"schema": True}, "schema is True"),
        ({"metrics": {"gap": {**GAP, "values": [10**400]}}}, "metric gap is .*; valid: a unit"),
        ({"metrics": {"gap": {**GAP, "values": [True]}}}, "metric gap is .*; valid: a unit"),
        ({"metrics": {"gap": {**GAP, "interval": [0.2, 0.1]}}}, "metric gap is .*; valid: a unit"),
        ({"arrays": {"curve": [float("nan")]}}, "can not be written as JSON"),
    ],
)
def test_a_bad_record_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        record(**change)


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda text: text[: len(text) // 2], "is not a whole record"),
        (lambda text: text.replace("0.1", "0.2", 1), "does not fit its checksum"),
        (lambda text: "[]", "is not a whole record"),
        (lambda text: "{}", "is not a whole record"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, damage, message):
    path = runs.write(record(), tmp_path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=f"toy-run.json {message}"):
        runs.read("toy-run", tmp_path)


@pytest.mark.parametrize(
    "change, message", [({"extra": 1}, "unknown fields: extra"), ({"config": ...}, "lacks fields")]
)
def test_foreign_fields_are_refused(tmp_path, change, message):
    path = runs.write(record(), tmp_path)
    content = json.loads(path.read_text())
    del content["checksum"]
    for key, value in change.items():
        content.pop(key, None) if value is ... else content.update({key: value})
    path.write_text(json.dumps({**content, "checksum": runs._checksum(content)}))
    with pytest.raises(ValueError, match=message):
        runs.read("toy-run", tmp_path)


def test_an_error_names_the_file(tmp_path):
    path = runs.write(record(), tmp_path)
    path.rename(tmp_path / "other.json")
    with pytest.raises(ValueError, match="other.json holds the record toy-run; valid"):
        runs.read("other", tmp_path)
    content = json.loads((tmp_path / "other.json").read_text()) | {"seeds": 3}
    del content["checksum"]
    content["checksum"] = runs._checksum(content)
    (tmp_path / "other.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="other.json: seeds is 3"):
        runs.read("other", tmp_path)


def test_a_commit_is_dirty_with_changed_or_foreign_files(tmp_path):
    def git(*words):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)

    def commit():
        runs._commit.cache_clear()
        return runs._commit(tmp_path)

    try:
        assert commit() is None
        git("init")
        (tmp_path / "runs.py").write_text("ONE = 1\n")
        git("-c", "user.name=n", "-c", "user.email=e", "commit", "--allow-empty", "-m", "none")
        assert commit() is None  # the folder's repository does not hold the package
        git("add", "runs.py")
        git("-c", "user.name=n", "-c", "user.email=e", "commit", "-m", "first")
        clean = commit()
        assert re.fullmatch("[0-9a-f]{12}", clean)
        (tmp_path / "beside.py").write_text("TWO = 2\n")
        assert commit() == f"{clean}-dirty"
        (tmp_path / "beside.py").unlink()
        assert runs._commit(tmp_path) == f"{clean}-dirty"  # remembered
        assert commit() == clean
        (tmp_path / "runs.py").write_text("ONE = 2\n")
        assert commit() == f"{clean}-dirty"
        (tmp_path / "runs.py").write_text("ONE = 1\n")
        (tmp_path / "results").mkdir()
        (tmp_path / "results/first.json").write_text("{}")
        assert commit() == clean  # a record of a run before this one
    finally:
        runs._commit.cache_clear()


def test_a_record_that_still_holds_is_carried_with_its_reason():
    with pytest.raises(ValueError, match="toy-run fits the code"):
        runs.carried(record(), "a function moved")
    old = record()
    old.provenance["code"]["bounds"] = "0" * 64
    with pytest.raises(ValueError, match="^why is ' '"):
        runs.carried(old, " ")
    once = runs.carried(old, "a function moved")
    assert runs.stale(once) == [] and runs.stale(old) == ["bounds"]
    (line,) = once.provenance["carried"]
    assert line["why"] == "a function moved" and re.fullmatch(r"\d{4}-\d\d-\d\d", line["date"])
    once.provenance["code"]["bounds"] = "1" * 64
    twice = runs.carried(once, "it moved back")
    assert [line["why"] for line in twice.provenance["carried"]] == [
        "a function moved", "it moved back"
    ]  # fmt: skip
    assert (twice.metrics, twice.arrays) == (old.metrics, old.arrays)
    old.provenance["code"]["gone"] = "0" * 64
    with pytest.raises(ValueError, match="module gone is not in mlcpc"):
        runs.carried(old, "a function moved")


def test_a_missing_record_lists_those_there_are(tmp_path):
    runs.write(record(), tmp_path)
    with pytest.raises(FileNotFoundError, match="there are: toy-run"):
        runs.read("other", tmp_path)


def test_all_records_of_a_pattern(tmp_path):
    assert runs.read_all("toy-*", tmp_path) == {}
    for name in ("toy-run-b", "toy-run-a", "other"):
        runs.write(record(name=name), tmp_path)
    found = runs.read_all("toy-*", tmp_path)
    assert list(found) == ["toy-run-a", "toy-run-b"]
    assert found["toy-run-b"] == record(name="toy-run-b")
    (tmp_path / "toy-run-a.json").write_text("{}")
    with pytest.raises(ValueError, match="toy-run-a.json is not a whole record"):
        runs.read_all("toy-*", tmp_path)


def test_stale_modules(tmp_path, monkeypatch):
    assert runs.stale(record()) == []
    old = record()
    old.provenance["code"].update(bounds="0" * 64, gone="0" * 64)
    assert runs.stale(old) == ["bounds", "gone"]
    with pytest.raises(ValueError, match="module gone is not in mlcpc; valid: __init__"):
        runs.code_hash(["gone"])


def checkpoint():
    return {
        "weights": torch.randn(3, 2),
        "on": torch.tensor([True, False]),
        "step": torch.tensor(7.0, dtype=torch.float64),
        "state": torch.Generator().manual_seed(1).get_state(),
    }


def test_checkpoints_come_back_as_they_were(tmp_path):
    tensors, state = checkpoint(), {"step": 5, "config": {"alpha": 0.1}}
    runs.save_state(tmp_path / "run.safetensors", tensors, state)
    found, header = runs.load_state(tmp_path / "run.safetensors")
    assert header == state and found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype
    assert [path.name for path in tmp_path.iterdir()] == ["run.safetensors"]


def test_every_flipped_byte_of_a_checkpoint_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    runs.save_state(path, {"weights": torch.arange(6.0)}, {"step": 5})
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="run.safetensors"):
            runs.load_state(path)
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="run.safetensors is not a whole checkpoint"):
        runs.load_state(path)
    with pytest.raises(FileNotFoundError, match="no checkpoint .*gone"):
        runs.load_state(tmp_path / "gone")


def test_differences_are_named():
    ours = {"config": {"batch": 5, "steps": 3}, "seeds": [0]}
    theirs = {"config": {"batch": 6, "steps": 3}, "seeds": [0, 1]}
    assert runs.differences(ours, ours) == ""
    assert runs.differences(ours, theirs) == (
        "config.batch: 5 here, 6 there; seeds: [0] here, [0, 1] there"
    )


def test_citation_links_to_the_record(monkeypatch):
    shown = []
    monkeypatch.setattr(
        "IPython.display.publish_display_data",
        lambda data, metadata: shown.append((data, metadata)),
    )
    runs.cite(record())
    data, metadata = shown[0]
    assert 'href="../generated/records/toy-run.html"' in data["text/html"]
    assert "stale" not in data["text/plain"] and metadata == {"mlcpc_record": "toy-run"}
    old = record()
    old.provenance["code"]["bounds"] = "0" * 64
    runs.cite(old)
    assert "stale, since bounds changed" in shown[1][0]["text/plain"]
    runs.cite(runs.carried(old, "a function moved"))
    assert "carried to newer code" in shown[2][0]["text/plain"]


def test_results_folder(tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert runs.results() == tmp_path / "results"
    monkeypatch.setenv("MLCPC_RESULTS", "/somewhere")
    assert str(runs.results()) == "/somewhere"


def test_unknown_profile_lists_the_known():
    assert runs.choose("quick", quick={"a": 1}, full={"a": 2}) == {"a": 1}
    with pytest.raises(ValueError, match="profile is 'fast'; valid: quick, full"):
        runs.choose("fast", quick={}, full={})


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk_leaves_the_old_file(tmp_path, monkeypatch, code):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match=f"could not write .*file: {os.strerror(code)}"):
        runs.write_atomically(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_real_file_size_limit_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(OSError, match="could not write"):
            runs.write_atomically(path, "x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(OSError, match="could not write"):
        runs.write(record(), tmp_path / "results")


CELLS = [{"k": k} for k in range(6)]


def square(cell):
    return {"value": cell["k"] ** 2 / 7}


def test_sweep_goes_on_after_an_interruption(tmp_path):
    scratch, calls = tmp_path / "partial", []

    def interrupted(cell):
        if cell["k"] == 3:
            raise KeyboardInterrupt
        return square(cell)

    def counted(cell):
        calls.append(cell["k"])
        return square(cell)

    with pytest.raises(KeyboardInterrupt):
        runs.sweep(CELLS, interrupted, scratch, {"a": 1})
    with scratch.open("a") as file:
        file.write('{"cell": {"k": 3}, "resu')  # what a kill in the middle of a write leaves
    resumed = runs.sweep(CELLS, counted, scratch, {"a": 1})
    assert resumed == [square(cell) for cell in CELLS] and calls == [3, 4, 5]


def test_sweep_refuses_the_work_of_other_settings(tmp_path):
    runs.sweep(CELLS, square, tmp_path / "partial", {"a": 1})
    with pytest.raises(ValueError, match="holds another run"):
        runs.sweep(CELLS, square, tmp_path / "partial", {"a": 2})


def test_sweep_refuses_a_damaged_line_and_forgets_a_half_one(tmp_path, monkeypatch):
    cells, scratch, seen = [{"n": n} for n in range(3)], tmp_path / "run.partial", []

    def work(cell):
        seen.append(cell["n"])
        return {"square": cell["n"] ** 2}

    runs.sweep(cells, work, scratch, {})
    whole = scratch.read_text()
    scratch.write_text(whole[:-5])  # killed while it wrote the last line
    seen.clear()
    assert runs.sweep(cells, work, scratch, {})[2] == {"square": 4} and seen == [2]
    first, second = whole.splitlines(keepends=True)[:2]
    for damaged in (
        whole.replace('"square": 1', '"square": 7'),
        whole.replace('"cell"', "", 1),
        whole.replace(second, "[1]\n"),
    ):
        scratch.write_text(damaged)
        with pytest.raises(ValueError, match="run.partial, line [23], does not fit its checksum"):
            runs.sweep(cells, work, scratch, {})
        assert scratch.read_text() == damaged
    scratch.write_bytes(whole.encode().replace(b'"square": 1', b'"squ\xffre": 1'))
    with pytest.raises(ValueError, match="run.partial, line 3, does not fit its checksum"):
        runs.sweep(cells, work, scratch, {})
    scratch.write_text(whole[:-5])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(OSError(28, "no space")))
        with pytest.raises(OSError, match="could not write .*run.partial"):
            runs.sweep(cells, work, scratch, {})


def test_sweep_survives_a_kill(tmp_path):
    program = textwrap.dedent(
        f"""
        import os, signal
        from pathlib import Path
        from mlcpc import runs

        def work(cell):
            if cell["k"] == 4:
                os.kill(os.getpid(), signal.SIGKILL)
            return {{"value": cell["k"] ** 2 / 7}}

        runs.sweep({CELLS}, work, Path({str(tmp_path / "partial")!r}), {{"a": 1}})
        """
    )
    killed = subprocess.run([sys.executable, "-c", program])
    assert killed.returncode == -signal.SIGKILL
    calls = []

    def counted(cell):
        calls.append(cell["k"])
        return square(cell)

    resumed = runs.sweep(CELLS, counted, tmp_path / "partial", {"a": 1})
    assert resumed == [square(cell) for cell in CELLS] and calls == [4, 5]


def test_published_numbers_have_a_source_each(monkeypatch):
    monkeypatch.delenv("MLCPC_RESULTS", raising=False)
    found = runs.paper()
    cell = found["bias ml_cpc:0.1 at 6, joint"]
    assert (cell.value, cell.unit, cell.kind) == (-0.98, "nats", "read-off")
    assert all(each.source and each.unit for each in found.values())


@pytest.mark.parametrize(
    "lines, message",
    [
        ("a,1,nats,guessed,somewhere,", "line 2: .* is not a whole entry"),
        ("a,1,nats,printed", "line 2: .* is not a whole entry"),
        ("a,1,nats,printed,x,\na,2,nats,printed,x,", "line 3: a stands twice"),
    ],
)
def test_bad_published_numbers_are_refused(tmp_path, monkeypatch, lines, message):
    monkeypatch.setenv("MLCPC_RESULTS", str(tmp_path))
    (tmp_path / "paper.csv").write_text("name,value,unit,kind,source,note\n" + lines + "\n")
    with pytest.raises(ValueError, match=message):
        runs.paper()


def theirs(value, unit="nats", note=""):
    return runs.Published(value, unit, "printed", "a paper", note)


@pytest.mark.parametrize(
    "value, ours, tolerance, expected",
    [
        (0.2, [0.1, 0.3], runs.Tolerance(), ("inside our interval", "")),
        (0.4, [0.1, 0.3], runs.Tolerance(0.25), ("within tolerance", "")),
        (0.5, [0.1, 0.3], runs.Tolerance(0.25), ("differs", "by -0.3 nats")),
        (-0.1, [0.1, 0.3], runs.Tolerance(0.25), ("differs", "by +0.3 nats")),
        (0.2, [0.2], runs.Tolerance(), ("within tolerance", "")),
        (0.2, [0.2001], runs.Tolerance(), ("differs", "by +0.0001 nats")),
        (0.01, [0.019], runs.Tolerance(factor=2.0), ("within tolerance", "")),
        (0.01, [0.0209], runs.Tolerance(factor=2.0), ("differs", "by a factor 2.1")),
        (0.01, [0.0209], runs.Tolerance(factor=2.0, digit=0.0005), ("within tolerance", "")),
        (0.01, [0.0049], runs.Tolerance(factor=2.0), ("differs", "by a factor 0.49")),
        (0.01, [0.0049], runs.Tolerance(factor=2.0, digit=0.0005), ("within tolerance", "")),
        (0.0, [0.1], runs.Tolerance(factor=2.0), ("differs", "0.1 against 0")),
    ],
)
def test_one_rule_judges_published_numbers(value, ours, tolerance, expected):
    assert runs.verdict(theirs(value), runs.metric(ours, "nats"), tolerance) == expected


def test_numbers_that_can_not_be_judged():
    ours = runs.metric([0.1, 0.3], "nats")
    assert runs.verdict(theirs(0.2), None, runs.Tolerance()) == ("not attempted", "")
    clipped = theirs(0.2, note="clipped at the top of the page: understated")
    assert runs.verdict(clipped, ours, runs.Tolerance()) == ("not comparable", "")
    with pytest.raises(ValueError, match="unit is 'nats' of ours; valid: 'bits', as published"):
        runs.verdict(theirs(0.2, "bits"), ours, runs.Tolerance())
    for bad in ({"within": -1.0}, {"factor": 0.5}, {"digit": float("nan")}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))} is .*; valid: at least"):
            runs.Tolerance(**bad)
    assert str(runs.Tolerance(0.5)) == "a difference of 0.5"
    assert str(runs.Tolerance(factor=2.0)) == "a factor of 2"
