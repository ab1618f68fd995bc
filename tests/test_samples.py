"""A user's samples: how columns are read, what is refused, and what makes rows doubtful."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from mlcpc.samples import Standardiser, read, repeated_rows, serial_correlation


@pytest.fixture
def rng():
    return np.random.default_rng(0)


class Series:
    """What is asked of a pandas series: values, an index, and a type by name."""

    def __init__(self, values, dtype=None):
        self.values = np.asarray(values, dtype=object if dtype == "category" else None)
        self.dtype = dtype or self.values.dtype

    def to_numpy(self, dtype=None):
        return self.values if dtype is None else self.values.astype(dtype)


class Frame:
    """What is asked of a pandas data frame."""

    def __init__(self, **columns):
        self.held = columns
        self.columns, self.dtypes = list(columns), None

    def __getitem__(self, name):
        return self.held[name]


def test_one_dimension_is_one_column(rng):
    for values in (rng.poisson(3, 400), rng.standard_normal(400), rng.integers(0, 2, 400) > 0):
        flat, column = read("x", values), read("x", values[:, None])
        assert flat.kinds == column.kinds and np.array_equal(flat.values, column.values)


def test_whole_numbers_are_read_alike_whatever_their_type(rng):
    counts = rng.poisson(3, 1000)
    found = [read("x", counts.astype(kind)) for kind in (np.int64, np.float32, np.uint8)]
    assert all(each.kinds == ("both",) for each in found)
    assert all(np.array_equal(each.values, found[0].values) for each in found)
    assert read("x", counts, True).kinds == ("classes",)
    assert read("x", counts, False).kinds == ("number",)
    many = read("x", rng.integers(0, 90, 1000))
    assert many.kinds == ("number",)
    assert "90 whole numbers in column 0, read as a number: pass discrete=True" in many.warnings[0]


def test_text_categories_and_truth_values_are_classes(rng):
    words = np.array(["red", "blue"])[rng.integers(0, 2, 100)]
    for given in (words, words.tolist(), Series(words, "category"), words == "red"):
        assert read("x", given).kinds == ("classes",)
    table = read("x", Frame(colour=Series(words, "category"), size=Series(rng.random(100))))
    assert table.kinds == ("classes", "number") and table.columns == ("colour", "size")
    assert table.classes[0] == ("blue", "red")
    mixed = np.array([[1.5, "a"], [2.5, "b"]] * 30, dtype=object)
    assert read("x", mixed).kinds == ("number", "classes")


def test_a_mask_says_which_columns_are_classes(rng):
    table = read("x", rng.integers(0, 3, (100, 2)), [True, False])
    assert table.kinds == ("classes", "number")
    with pytest.raises(ValueError, match="discrete is .*valid: 'auto', True, False, or a truth"):
        read("x", rng.integers(0, 3, (100, 2)), [True])
    with pytest.raises(ValueError, match="discrete is 'yes'"):
        read("x", rng.integers(0, 3, (100, 2)), "yes")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int32])
def test_tensors_of_a_model_are_read(dtype):
    values = torch.arange(200).view(100, 2).to(dtype)
    if dtype.is_floating_point:
        values.requires_grad_()
    assert read("x", values).values.shape == (100, 2)


MASKED = np.ma.masked_array(np.arange(100.0), np.arange(100) == 7)


@pytest.mark.parametrize("samples, message", [
    (np.full((100, 2), np.nan), "x contains nan in row 0 of column 0, missing in 100 of 100"),
    (MASKED, "x contains nan in row 7 .* missing in 1 of 100 rows; valid: .*leave those rows"),
    (np.array(["a", None] * 50, dtype=object), "x contains nan in row 1 .* in 50 of 100 rows"),
    (np.r_[np.inf, np.arange(99.0)], "x contains inf in row 0 of column 0; valid: finite"),
    (np.ones((100, 2)), "x is constant; valid: at least one column that varies"),
    (np.zeros((9, 3, 28, 28)), r"x has shape \(9, 3, 28, 28\); .*flatten it with x.reshape"),
    (np.zeros((1, 500)), r"x has shape \(1, 500\), one sample; .*so pass x.T"),
    (np.zeros((100, 0)), r"x has shape \(100, 0\)"),
    (np.array([f"id{k}" for k in range(100)]), "x holds 100 labels in 100 samples"),
    (np.zeros(100, dtype=complex), "x is complex128"),
])  # fmt: skip
def test_what_cannot_be_read_is_named(samples, message):
    with pytest.raises(ValueError, match=message):
        read("x", samples)


def test_text_cannot_be_a_number():
    with pytest.raises(ValueError, match="x holds text in column 0; valid: discrete=True"):
        read("x", ["a", "b"] * 50, False)


def test_constant_columns_are_left_out_and_said(rng):
    table = read("x", np.c_[np.ones(100), rng.random(100)])
    assert table.warnings == ("x has 1 constant columns, left out",)
    assert Standardiser(table, np.arange(100), "ranks")(table.values).shape == (100, 1)


def test_normal_scores_do_not_feel_monotone_maps(rng):
    x = rng.standard_normal((300, 1))
    straight, bent = read("x", x), read("x", np.sinh(x) * 50)
    rows = np.arange(200)
    of_straight, of_bent = (Standardiser(t, rows, "ranks")(t.values) for t in (straight, bent))
    assert np.array_equal(of_straight, of_bent)


def test_normal_scores_are_those_of_the_fitted_rows():
    table = read("x", np.arange(1.0, 5.0))
    scale = Standardiser(table, np.arange(3), "ranks")  # fitted on 1, 2, 3
    expected = norm.ppf([1 / 4, 2 / 4, 3 / 4, 3.5 / 4])
    assert np.allclose(scale(table.values)[:, 0], expected, rtol=0, atol=1e-12)


def test_smooth_scores_keep_near_values_apart(rng):
    x = rng.standard_normal((5000, 1))
    table = read("x", x)
    scale = Standardiser(table, np.arange(4000), "smooth")
    near = scale(np.array([[0.5], [0.5 + 1e-7]]))[:, 0]
    assert 0.8e-7 < near[1] - near[0] < 1.2e-7
    held = scale(x[4000:])[:, 0]
    assert abs(held.mean()) < 0.1 and abs(held.std() - 1) < 0.1


def test_unknown_labels_of_new_rows_are_named():
    table = read("x", ["a", "b"] * 50)
    assert table.rows_like(["b", "a"]).values[:, 0].tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="x has unknown label 'c'"):
        table.rows_like(["c", "a"])
    with pytest.raises(ValueError, match="x has 2 columns; valid: 1"):
        table.rows_like(np.zeros((3, 2)))


def test_repeated_rows_are_grouped(rng):
    x, y = (read(n, np.repeat(rng.standard_normal((50, 2)), 4, 0)) for n in "xy")
    groups = repeated_rows(x, y)
    assert groups.max() == 49 and (groups.reshape(50, 4) == groups.reshape(50, 4)[:, :1]).all()
    labels = read("y", np.repeat(rng.integers(0, 3, 50), 4))
    assert repeated_rows(x, labels).max() == 49


def test_rows_that_repeat_by_themselves_are_not_grouped(rng):
    """Labels, counts and rounded measurements: equal rows there are no copies."""
    z = rng.standard_normal(3000)
    rounded = [read(n, (z + rng.standard_normal(3000)).round(1)) for n in "xy"]
    counts = [read(n, rng.integers(0, 60, 3000)) for n in "xy"]
    fine = [read(n, rng.standard_normal(3000)) for n in "xy"]
    for x, y in (rounded, counts, fine, (fine[0], counts[1])):
        assert repeated_rows(x, y) is None


def test_ties_are_no_serial_correlation(rng):
    """Units of a network that are mostly zero, in rows of random order."""
    for threshold in (0.0, 1.0, 3.0):
        rectified = np.maximum(rng.standard_normal((2000, 1)) - threshold, 0)
        assert abs(serial_correlation(read("x", rectified))) < 0.1


def test_serial_correlation_of_an_autoregressive_series(rng):
    noise, x = rng.standard_normal(4000), np.zeros(4000)
    for k in range(1, 4000):
        x[k] = 0.8 * x[k - 1] + noise[k]
    assert abs(serial_correlation(read("x", x)) - 0.8) < 0.05
    assert abs(serial_correlation(read("x", noise))) < 0.05
