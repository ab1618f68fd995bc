"""Records: round trip, refusal of damaged or foreign files, and what a commit is called."""

import json
import re
import subprocess

import pytest

from mlcpc import files, records
from mlcpc.records import Metric

WHERE = {"device": "a machine", "versions": {}, "wall_seconds": 1.0, "data": {}}


def record(**change):
    fields = {
        "name": "toy-run", "experiment": "boundary", "version": 1, "profile": "quick",
        "command": "mlcpc run boundary", "config": {"alpha": 0.5}, "seeds": [0, 1],
        "metrics": {"gap": Metric("nats", (0.1, None)), "floor": Metric("share", (0.5,), "run")},
        "provenance": records.provenance(1.23, {"toy": "ab"}), "arrays": {"curve": [[1.0, 2.0]]},
    }  # fmt: skip
    return records.Record(**{**fields, **change})


def test_round_trip(results):
    path = records.write(record())
    assert path == results / "toy-run.json" and records.read("toy-run") == record()
    assert [each.name for each in results.iterdir()] == ["toy-run.json"]
    assert list(records.read_all("toy-*")) == ["toy-run"] and records.read_all("x*") == {}
    assert "mean" not in path.read_text() and "interval" not in path.read_text()


def test_metric():
    metric = Metric("nats", [1, None, 2])
    assert metric.numbers == [1, 2] and metric.mean == 1.5
    for bad in ((), (float("nan"),), (float("inf"),), (True,), ("1",), (10**400,)):
        with pytest.raises((ValueError, OverflowError)):
            Metric("nats", bad)
    with pytest.raises(ValueError, match="per is 'epoch'"):
        Metric("nats", (1.0,), "epoch")
    with pytest.raises(ValueError, match="unit is ''"):
        Metric("", (1.0,))


def test_provenance_says_where_a_number_comes_from():
    where = records.provenance(3.14159, {"toy": "ab"})
    assert where["wall_seconds"] == 3.1 and where["data"] == {"toy": "ab"} and where["device"]
    assert set(where["versions"]) == {"python", "torch", "numpy"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", where["date"])


@pytest.mark.parametrize("change, message", [
    ({"schema": 1}, "schema is 1; valid: 2"), ({"name": "Bad Name"}, "name is 'Bad Name'"),
    ({"name": "../up"}, "name is"), ({"name": 3}, "name is 3"), ({"version": 0}, "version is 0"),
    ({"profile": "huge"}, "profile is 'huge'; valid: quick, full"), ({"config": None}, "config is"),
    ({"metrics": {"gap": 1.0}}, "metric gap is 1.0"),
    ({"metrics": {"gap": {"unit": "nats"}}}, "metric"),
    ({"metrics": {"gap": Metric("nats", (0.1,))}},
    "metric gap has 1 values for 2 seeds; valid: one"),
    ({"seeds": (0, 1)}, r"seeds is \(0, 1\)"), ({"seeds": ["0"]}, "seeds is"),
    ({"command": ""}, "command is ''; valid: a text"), ({"experiment": None}, "experiment is None"),
    ({"provenance": {}}, "provenance lacks data, device, versions, wall_seconds"),
    ({"provenance": {**WHERE, "wall_seconds": "3"}}, "values holds '3'"),
    ({"arrays": {"curve": [float("nan")]}}, "cannot be written as JSON"),
])  # fmt: skip
def test_a_bad_record_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        record(**change)


@pytest.mark.parametrize("damage, message", [
    (lambda text: text[: len(text) // 2], "is not a whole record"),
    (lambda text: text.replace("0.1", "0.2", 1), "does not fit its checksum"),
    (lambda text: "[]", "is not a whole record"), (lambda text: "{}", "is not a whole record"),
])  # fmt: skip
def test_a_damaged_file_is_refused_by_name(results, damage, message):
    path = records.write(record())
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=f"toy-run.json {message}"):
        records.read("toy-run")


@pytest.mark.parametrize("change, message", [
    ({"extra": 1}, "unknown fields: extra"), ({"config": ...}, "lacks fields"),
    ({"seeds": 3}, "toy-run.json: seeds is 3"),
    ({"name": "other"}, "holds the record other; valid"),
])  # fmt: skip
def test_foreign_content_is_refused(results, change, message):
    path = records.write(record())
    content = json.loads(path.read_text())
    del content["checksum"]
    for key, value in change.items():
        content.pop(key) if value is ... else content.update({key: value})
    path.write_text(json.dumps({**content, "checksum": files.checksum(content)}))
    with pytest.raises(ValueError, match=message):
        records.read("toy-run")


def test_a_missing_record_names_those_there_are(results):
    records.write(record())
    with pytest.raises(FileNotFoundError, match="no record .*other.json; there are: toy-run"):
        records.read("other")


def test_a_commit_is_dirty_with_changed_or_foreign_files(tmp_path, monkeypatch):
    def git(*words):
        who = ["-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    def commit():
        records.commit.cache_clear()
        return records.commit()

    monkeypatch.setattr(records, "PACKAGE", tmp_path)
    try:
        assert commit() is None
        git("init")
        (tmp_path / "records.py").write_text("ONE = 1\n")
        git("commit", "--allow-empty", "-m", "none")
        assert commit() is None  # the folder's repository does not hold the package
        git("add", "records.py")
        git("commit", "-m", "first")
        assert re.fullmatch("[0-9a-f]{12}", clean := commit())
        (tmp_path / "records.py").write_text("ONE = 2\n")
        assert commit() == f"{clean}-dirty"
        (tmp_path / "records.py").write_text("ONE = 1\n")
        (tmp_path / "results").mkdir()
        (tmp_path / "results/first.json").write_text("{}")
        assert commit() == clean  # a record of a run before this one
    finally:
        records.commit.cache_clear()
