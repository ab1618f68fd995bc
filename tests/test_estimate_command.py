"""``mlcpc estimate``: files, columns, and what it prints."""

import argparse
import json

import numpy as np
import pytest

from mlcpc import estimate_command


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(200)
    rows = ["a;b;who;kind"] + [
        f"{v};{v + 0.5 * rng.standard_normal()};{k // 2};{'left' if v > 0 else 'right'}"
        for k, v in enumerate(x)
    ]
    path = tmp_path / "data.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def run(*arguments):
    parser = argparse.ArgumentParser()
    estimate_command.add_arguments(parser)
    estimate_command.run(parser.parse_args([str(each) for each in arguments] + ["--steps", "5"]))


def test_a_table_of_text_is_estimated(table, capsys):
    run(table, "--x", "a", "--y", "b, kind")
    said = capsys.readouterr().out
    assert said.startswith("a (1 number) and b, kind (1 number, 1 column of 2 classes), 200 rows")
    assert "at least" in said and "nats (95 %)" in said


def test_json_holds_everything(table, capsys):
    run(table, "--x", "a", "--y", "b", "--groups", "who", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["x"] == ["a"] and found["estimate"]["mi"] > found["estimate"]["lower"]


def test_time_and_discrete_are_passed_on(table, monkeypatch):
    given = {}

    def note(x, y, **options):
        given.update(options, x=x, y=y)
        raise ValueError("enough")

    monkeypatch.setattr(estimate_command, "estimate", note)
    with pytest.raises(ValueError, match="enough"):
        run(table, "--x", "a,who", "--y", "kind", "--time", "--discrete", "who")
    assert given["order"] == "time" and given["x"].shape == (200, 2)
    assert [each.tolist() for each in given["discrete"]] == [[False, True], [True]]


def test_a_picture_is_drawn(table, tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    run(table, "--x", "a", "--y", "b", "--plot", tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 1000


def test_arrays_of_numpy(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, a=np.zeros((9, 2)), b=np.ones(9))
    columns = estimate_command.read_columns(path)
    assert estimate_command._pick(columns, ["a", "b"], "x", path).shape == (9, 3)


def test_pandas_is_asked_for_what_only_it_reads(tmp_path):
    path = tmp_path / "data.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(ValueError, match="data.parquet (needs pandas|cannot be read)"):
        estimate_command.read_columns(path)


@pytest.mark.parametrize("arguments, message", [
    (["--x", "c", "--y", "b"], "x names 'c', which .*data.csv lacks; valid: a, b, who, kind"),
    (["--x", "a", "--y", "a"], "column a is in x and in y"),
    (["--x", ",", "--y", "a"], "no column is named"),
    (["--x", "a", "--y", "b", "--groups", "g"], "groups names 'g'"),
    (["--x", "a", "--y", "b", "--discrete", "g"], "discrete names 'g'"),
    (["--x", "a", "--y", "b", "--plot", "/nowhere/out.png"], "plot is /nowhere/out.png"),
])  # fmt: skip
def test_bad_columns_are_named(table, arguments, message):
    with pytest.raises(ValueError, match=message):
        run(table, *arguments)


@pytest.mark.parametrize("name, content, message", [
    ("a.csv", b"a,b\n1,2\n3\n", r"a.csv has 1 cells in line 3; valid: 2, as in line 1"),
    ("a.csv", b"a,b\n", "a.csv holds 1 lines"),
    ("a.csv", b"a,a\n1,2\n", "a.csv has two columns of one name"),
    ("a.csv", b"a\xff\n1\n", "a.csv is no table of text"),
    ("a.npz", b"nothing", "a.npz cannot be read"),
    ("a.dat", b"1 2\n", "a.dat ends in '.dat'; valid: .csv"),
])  # fmt: skip
def test_bad_files_are_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        estimate_command.read_columns(path)


def test_cells_that_are_empty_are_missing(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,x\n,\nNA,y\n")
    columns = estimate_command.read_columns(path)
    assert np.isnan(columns["a"]).tolist() == [False, True, True]
    assert columns["b"].tolist() == ["x", None, "y"]


def test_a_missing_file_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError):
        estimate_command.read_columns(tmp_path / "gone.csv")
