"""What perfect critics say of top rows, and how pages show trained ones beside them."""

import math

import matplotlib.pyplot as plt
import pytest
import torch

from mlcpc import bounds, exact
from mlcpc.book import consistencies, toprows
from mlcpc.experiments.consistency import ConsistencyConfig, repeats
from mlcpc.problems import TopRows
from mlcpc.records import Metric


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_informations_by_whole_tables_are_entropies():
    pixels, chance = torch.tensor([[0, 0], [0, 1], [1, 1]]), torch.tensor([0.5, 0.25, 0.25])
    found = toprows.informations(pixels, chance.double())
    entropies = [0, 0.75 * math.log(4 / 3) + 0.25 * math.log(4), 1.5 * math.log(2)]
    expected = torch.tensor(entropies, dtype=torch.float64)
    for name, factor in (("one", 1), ("entropy", 1), ("two", 2)):
        assert torch.allclose(found[name], factor * expected, atol=1e-12)
    assert torch.allclose(found["copied"][2, 1:], expected[2].expand(2), atol=1e-12)


def test_chances_and_letters_are_those_of_the_images():
    of = TopRows(torch.tensor([[[0.0]], [[0]], [[1]], [[2]]]), 1)
    p, chance = toprows.chances(repeats(of))
    assert -chance @ p.log() == pytest.approx(of.mi)
    two, chance_two = toprows.chances(repeats(of), 2)
    assert -chance_two @ two.log() == pytest.approx(2 * of.mi)
    law, kind = toprows.letters(repeats(of))
    assert sorted(law[kind].tolist()) == [0.25, 0.25, 0.5, 0.5]


@pytest.mark.parametrize("m", [2, 3])
def test_cpc_by_counting_is_the_mean_over_all_boards(m):
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    copy = exact.Joint(torch.diag(p))
    whole = exact.expected(bounds.cpc, copy, copy.log_ratio, m, m, 1.0, "in_batch")
    assert abs(toprows.cpc_by_counting(p, p, m) - whole) < 1e-10


def test_drawn_means_agree_with_the_sum_and_lie_above_the_limit():
    names, of = ("cpc:1", "ml_cpc:0.1", "smile:1", "dv"), [[1, 4], [4, 1]]
    found = toprows.values({1: of}, names, 400, 16, generator(), pairs=(1,))
    for name in names:
        title = f"baseline t=1 {name}"
        other = toprows.many_anchors(name, *toprows.chances(of), 16)
        assert found.metrics[title].mean > other - 5 * found.errors[title]
        assert found.metrics[f"ratio processing t=1 {name}"].mean == 1
    by_sum = toprows.cpc_by_counting(*toprows.chances(of, 2), 16)
    title = "additivity t=1 cpc:1"
    assert abs(found.metrics[title].mean - by_sum) < 5 * found.errors[title]


def test_values_on_distinct_images_are_the_ceiling_and_log_n():
    p, kind = toprows.letters([[1, 50]])
    log_r = toprows.log_ratios(p, kind[:8][None])
    for name, said in (("cpc:1", math.log(8)), ("ml_cpc:0.5", math.log(16)),
                       ("smile:2", math.log(50) + 2)):  # fmt: skip
        assert abs(toprows.perfect(name, log_r) - said) < 1e-10
    with pytest.raises(ValueError, match="tuba"):
        toprows.perfect("tuba", log_r)


def metrics(values):
    """Baselines at rows 0 and 4, and ratios at 4, of one estimator."""
    titles = ("baseline t=0", "baseline t=4", "ratio processing t=4", "ratio additivity t=4")
    pairs = zip(titles, values, strict=True)
    return {f"{title} cpc:1": Metric("nats", of) for title, of in pairs}


def test_verdicts_and_panels():
    good = metrics([(0.0, 0.0), (2.0, 2.2), (1.0, 1.05), (1.95, 2.0)])
    low = metrics([(0.0, 0.0), (2.0, 2.2), (1.0, 1.05), (1.0, 1.1)])
    assert consistencies.passes_all(good, (0, 4), (4,), ("cpc:1",)) == ["cpc:1"]
    assert not consistencies.passed(low, (0, 4), (4,), "cpc:1")["additivity"]
    config = ConsistencyConfig(rows=(0, 4), ratio_rows=(4,), estimators=("cpc:1",), seeds=(0, 1))
    shown = consistencies.verdicts({"good": good, "low": low}, config)
    assert [row[-1] for row in shown.rows] == ["yes", "no"]
    found = consistencies.numbers({"good": good}, "baseline", (0, 4), ("cpc:1",), (0.0, 2.1))
    assert found.rows[1] == ("cpc:1", "good", "0.00", "2.10")
    fig, arrays = consistencies.panels(
        good, low, {0: 0.0, 4: 2.1}, config, "not converged", {"cpc:1": "bound"}
    )
    plt.close(fig)
    assert fig.get_suptitle() == "not converged"
    assert arrays["perfect_additivity"] == [[pytest.approx(1.05)]]


def test_above_asks_the_interval_over_seeds():
    assert consistencies.above(Metric("nats", (2.0, 2.1, 2.05)), 1.5)
    assert not consistencies.above(Metric("nats", (1.4, 2.1, 2.05)), 1.5)
    assert not consistencies.above(Metric("nats", (2.0,)), 1.5)
