"""Races of packages on the same samples, on three small problems; and what plans refuse."""

import math
from types import SimpleNamespace

import pytest

from mlcpc.book import plans, races

OURS, NEAR, FAR = ("mlcpc", "estimate"), ("other", "near"), ("other", "far")
TRUTH = {"a": 1.0, "c": 3.0, "b": 2.0}


def record(package, said, truths=TRUTH, digest="x"):
    """A record of a package whose methods said these values."""
    rows = [{"method": method, "problem": name, "seed": 0, **row}
            for method, of in said.items() for name, row in of.items()]  # fmt: skip
    return SimpleNamespace(
        name=f"peers-{package}",
        config={"package": package, "methods": {each: {"family": "neural"} for each in said}},
        arrays={"truths": truths, "digests": dict.fromkeys(truths, digest), "rows": rows},
    )


def race():
    ours = record("mlcpc", {"estimate": {n: {"value": v - 0.1} for n, v in TRUTH.items()}})
    near = {"a": {"value": 1.05}, "b": {"value": 2.3}, "c": {"value": 3.3}}
    other = record("other", {"near": near, "far": {"a": {"value": 9.0}, "b": {"failed": "no"}}})
    return races.race([ours, other], TRUTH, {OURS: "ours", NEAR: "near", FAR: "far"}, OURS)


def test_errors_winners_and_medians():
    of = race()
    assert of.error(FAR, "b") == math.inf and math.isnan(of.error(FAR, "c"))
    assert of.takes(FAR, TRUTH) == ["a", "b"] and of.solved(FAR, TRUTH) == 0
    assert of.winner("a", of.short) == NEAR and of.winner("c", of.short) == OURS
    assert of.median(NEAR, list(TRUTH)) == pytest.approx(0.3)
    assert of.best_of("other", list(TRUTH)) == NEAR and of.best_of("mlcpc", ["a"]) is None


def test_tables_of_a_race():
    of = race()
    assert [row[0] for row in races.values(of, [OURS]).rows] == list(TRUTH)
    assert races.values(of, list(of.short), ["b"]).rows[2] == (
        "b *", "2.000", "1.900", "2.300", "failed",
    )  # fmt: skip
    assert [row[0] for row in races.closest(of, list(TRUTH), "all").rows] == ["ours", "near", "far"]
    (row,) = races.against(of, {"all": list(TRUTH)}).rows
    assert row[:6] == ("all", "near", "1", "0.300", "0.100", "no worse")


def test_draws_are_averaged_and_compared_where_both_have_them():
    ours = record("mlcpc", {"estimate": {n: {"value": v - 0.1} for n, v in TRUTH.items()}})
    more = record("mlcpc", {"estimate": {n: {"value": v + 0.3} for n, v in TRUTH.items()}})
    ours.arrays["rows"] += [{**row, "seed": 1} for row in more.arrays["rows"]]
    other = record("other", {"near": {n: {"value": v + 0.15} for n, v in TRUTH.items()}})
    of = races.race([ours, other], TRUTH, {OURS: "ours", NEAR: "near"}, OURS)
    assert of.draws(OURS) == [0, 1] and of.value(OURS, "a") == pytest.approx(1.1)
    assert of.error(OURS, "a") == pytest.approx(0.2)
    (row,) = races.against(of, {"all": list(TRUTH)}).rows
    assert row[2:6] == ("1", "0.150", "0.100", "no worse")


def test_a_race_on_other_samples_is_refused():
    said = {"near": {"a": {"value": 1.0}}}
    for other in (record("other", said, digest="y"), record("other", said, {**TRUTH, "a": 2.0})):
        with pytest.raises(ValueError, match="other samples of a"):
            races.race([record("mlcpc", {"estimate": {}}), other], TRUTH, {OURS: "ours"}, OURS)
    with pytest.raises(ValueError, match="other problems"):
        races.race([record("mlcpc", {"estimate": {}})], {"a": 1.0}, {OURS: "ours"}, OURS)


@pytest.mark.parametrize("value, word", [(0.6, "low"), (0.7, "solved"), (1.6, "high"), (-1, "low")])
def test_solved_is_within_the_factor_of_the_benchmark(value, word):
    assert races.word(value, 1.0) == word


@pytest.mark.parametrize("sizes", [(6,), (8, 0)])
def test_plans_refuse_rows_that_ranks_cannot_share(sizes):
    with pytest.raises(ValueError, match="multiples of 4"):
        plans.measure(sizes)
