"""Problems know their mutual information: closed form, density ratio and samples agree."""

import math

import pytest
import torch

from mlcpc import problems
from mlcpc.problems import CorrelatedGaussian, StudentT

BEYOND = problems.beyond_gaussian()
CUBIC = {name: problems.STAIRCASES[name](3.0, 4) for name in problems.STAIRCASES}
WITH_RATIO = {**BEYOND, **CUBIC}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def double():
    """Maps and their inverses lose their tails in single precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("mi", [0.0, 0.1, 2.0, 10.0])
@pytest.mark.parametrize("dim", [1, 3, 20])
def test_mean_log_ratio_is_the_information(mi, dim):
    problem = CorrelatedGaussian(mi, dim)
    x, y = problem.sample(50_000, generator())
    ratio = problem.log_ratio(x.double(), y.double())
    error = ratio.std() / math.sqrt(len(ratio))
    assert abs(ratio.mean() - mi) <= 4 * error + 1e-9


@pytest.mark.parametrize("name", WITH_RATIO)
def test_mean_log_ratio_is_the_information_of_every_problem(name, double):
    """Within 4 standard errors, on 40,000 pairs: the sampler, the density and mi say one thing."""
    problem = WITH_RATIO[name]
    x, y = problem.sample(40_000, generator(1))
    assert x.shape == (40_000, problem.dim_x) and y.shape == (40_000, problem.dim_y)
    ratio = problem.log_ratio(x, y)
    assert ratio.isfinite().all()
    error = ratio.std() / math.sqrt(len(ratio))
    assert abs(ratio.mean() - problem.mi) <= 4 * error + 1e-9


@pytest.mark.parametrize("name", [name for name in WITH_RATIO if WITH_RATIO[name].mi < 0.6])
def test_ratio_integrates_to_one(name, double):
    """E over independent pairs of exp(log ratio) is 1; where I is large no mean could see it."""
    problem = WITH_RATIO[name]
    x, y = problem.sample(40_000, generator(2))
    ratio = problem.log_ratio(x, y.roll(1, dims=0)).exp()
    error = ratio.std() / math.sqrt(len(ratio))
    assert abs(ratio.mean() - 1) <= 5 * error


@pytest.mark.parametrize("name, mi", [
    ("normal 1x1", 0.4133),
    ("normal-cdf 1x1", 0.4133),
    ("additive 0.1", 1.7094),
    ("additive 0.75", 0.3333),
    ("dense 5x5", 0.5928),
    ("dense 25x25", 1.2922),
    ("sparse 3x3", 1.0217),
    ("sparse 25x25", 1.0217),
    ("spiral normal-cdf sparse 3x3", 1.0217),
    ("student 1x1 dof 1", 0.2242),
    ("student 2x2 dof 1", 0.4319),
    ("student 3x3 dof 2", 0.2909),
    ("student 5x5 dof 2", 0.4482),
    ("student 5x5 dof 3", 0.2985),
    ("asinh student 5x5 dof 2", 0.4482),
])  # fmt: skip
def test_information_published_for_the_benchmark(name, mi):
    """The truths of the tasks of Czyż et al. 2023, printed with four decimals."""
    assert abs(BEYOND[name].mi - mi) < 6e-5


def test_information_formula():
    problem = CorrelatedGaussian(3.0, 7)
    assert abs(-7 / 2 * math.log(1 - problem.rho**2) - 3.0) < 1e-12


def test_log_ratio_is_that_of_the_normal_densities():
    problem = CorrelatedGaussian(1.5, 2)
    x, y = torch.randn(2, 5, 2, dtype=torch.float64)
    rho = problem.rho
    pair = torch.distributions.MultivariateNormal(
        torch.zeros(2, dtype=torch.float64),
        torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64),
    )
    single = torch.distributions.Normal(torch.tensor(0.0).double(), torch.tensor(1.0).double())
    joint = pair.log_prob(torch.stack([x, y], -1)).sum(-1)
    expected = joint - single.log_prob(x).sum(-1) - single.log_prob(y).sum(-1)
    assert torch.allclose(problem.log_ratio(x, y), expected, rtol=0, atol=1e-10)


def test_two_gaussians_of_one_law_agree():
    """The coordinate-wise Gaussian, written as a covariance matrix."""
    one = CorrelatedGaussian(1.3, 2)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[0, 2] = matrix[2, 0] = matrix[1, 3] = matrix[3, 1] = one.rho
    two = problems.MultivariateGaussian(tuple(map(tuple, matrix.tolist())), 2)
    assert abs(two.mi - one.mi) < 1e-12
    x, y = torch.randn(2, 6, 2, dtype=torch.float64, generator=generator())
    assert torch.allclose(two.log_ratio(x, y), one.log_ratio(x, y), rtol=0, atol=1e-10)


def test_student_ratio_is_that_of_its_densities():
    """One dimension each: density of the pair over two of torch's StudentT."""
    problem = StudentT(problems.dense_gaussian(1, 1, 0.4), 3)
    x, y = torch.randn(2, 6, 1, dtype=torch.float64, generator=generator())
    single = torch.distributions.StudentT(torch.tensor(3.0, dtype=torch.float64))
    determinant = 1 - 0.4**2
    length = (x**2 + y**2 - 0.8 * x * y)[:, 0] / determinant
    joint = -(3 + 2) / 2 * torch.log1p(length / 3) - math.log(2 * math.pi * determinant**0.5)
    expected = joint - single.log_prob(x)[:, 0] - single.log_prob(y)[:, 0]
    assert torch.allclose(problem.log_ratio(x, y), expected, rtol=0, atol=1e-10)


def test_student_information_counts_its_correlation():
    """The mean of the log ratio over samples, with a dispersion that is not the identity."""
    problem = StudentT(problems.dense_gaussian(2, 1, 0.6), 2)
    ratios = problem.log_ratio(*problem.sample(20_000, generator()))
    error = float(ratios.std()) / math.sqrt(len(ratios))
    assert problem.normal.mi > 20 * error
    assert abs(float(ratios.mean()) - problem.mi) < 5 * error


def test_log_ratio_broadcasts_to_all_pairs():
    for problem in (CorrelatedGaussian(1.0, 3), BEYOND["sparse 3x3"], BEYOND["student 3x3 dof 2"]):
        x, y = torch.randn(2, 4, 3, dtype=torch.float64)
        table = problem.log_ratio(x[:, None], y)
        assert table.shape == (4, 4)
        assert torch.allclose(table.diagonal(), problem.log_ratio(x, y), rtol=0, atol=1e-12)


MAPS = {
    "cube": problems.Power(3.0),
    "half-cube": problems.Power(1.5),
    "asinh": problems.Asinh(),
    "normal-cdf": problems.NormalCDF(),
    "rotation": problems.Rotation(3, 4),
    "spiral": problems.Spiral(1 / 3, 1, 2),
}


@pytest.mark.parametrize("name", MAPS)
def test_maps_are_undone_by_their_inverses(name):
    x = torch.randn(50, 3, dtype=torch.float64, generator=generator())
    once = MAPS[name](x)
    assert not torch.allclose(once, x, atol=1e-3)
    assert torch.allclose(MAPS[name].inverse(once), x, rtol=0, atol=1e-8)


def test_rotations_keep_lengths_and_differ_by_seed():
    x = torch.randn(50, 5, dtype=torch.float64, generator=generator())
    one, two = problems.Rotation(5, 1)(x), problems.Rotation(5, 2)(x)
    assert torch.allclose(one.norm(dim=1), x.norm(dim=1), rtol=0, atol=1e-10)
    assert not torch.allclose(one, two)
    assert torch.equal(one, problems.Rotation(5, 1)(x))


def test_samples_are_standard_normal():
    problem = CorrelatedGaussian(2.0, 3)
    x, y = problem.sample(40_000, generator(1))
    covariance = torch.cov(torch.cat([x, y], 1).T)
    expected = torch.eye(6)
    for k in range(3):
        expected[k, 3 + k] = expected[3 + k, k] = problem.rho
    assert (covariance - expected).abs().max() < 4 * math.sqrt(2 / 40_000)


def test_staircase_has_its_levels_and_the_cube_is_a_cube():
    plain, cubic = problems.staircase("gaussian"), problems.staircase("cubic")
    assert [each.mi for each in plain] == [each.mi for each in cubic] == [2, 4, 6, 8, 10]
    (x, y), (same, cubed) = (each[2].sample(10, generator()) for each in (plain, cubic))
    assert torch.equal(x, same) and torch.allclose(cubed, y**3, rtol=1e-5, atol=1e-6)
    assert all(each.dim_x == each.dim_y == 20 for each in problems.staircase("cubic-rotated"))


@pytest.mark.parametrize("task", ["gaussian", "cubic"])
def test_rotated_staircases_turn_both_sides_differently(task):
    plain, rotated = (problems.staircase(name)[1] for name in (task, f"{task}-rotated"))
    (x, y), (turned_x, turned_y) = (each.sample(10, generator()) for each in (plain, rotated))
    turns = problems.Rotation(20, 1), problems.Rotation(20, 2)
    for given, turned, turn in zip((x, y), (turned_x, turned_y), turns, strict=True):
        assert torch.allclose(turn(given), turned, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(given, turned, atol=0.1)


@pytest.mark.parametrize("name", WITH_RATIO)
def test_samples_follow_the_generator(name):
    problem = WITH_RATIO[name]
    one, two, other = (problem.sample(8, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])
    assert not torch.equal(one[0], other[0])


def class_images():
    labels = torch.tensor([0] * 6 + [1] * 3 + [5])
    return problems.SameClassImages(torch.arange(40.0).view(10, 2, 2), labels)


def test_same_class_images_share_the_class_and_nothing_else():
    problem = class_images()
    p = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    assert abs(problem.mi + (p * p.log()).sum()) < 1e-12
    x, y = problem.sample(20_000, generator(1))
    assert x.shape == (20_000, 4)
    first, second = (each[:, 0].long() // 4 for each in (x, y))  # image numbers
    assert (problem.labels[first] == problem.labels[second]).all()
    # Within a class all 36 pairs of images are as likely: chi-square with 35 degrees of freedom,
    # whose 0.999 quantile is 66.6.
    here = first < 6
    counts = torch.bincount(first[here] * 6 + second[here], minlength=36).double()
    expected = here.sum() / 36
    assert ((counts - expected) ** 2 / expected).sum() < 66.6
    share = torch.bincount(problem.labels[first], minlength=6)[[0, 1, 5]] / 20_000
    assert ((share - p).abs() < 4 * (p * (1 - p) / 20_000).sqrt()).all()


@pytest.mark.parametrize("call, message", [
    (lambda: CorrelatedGaussian(-1.0), "mi is -1.0; valid: nats from 0 up"),
    (lambda: CorrelatedGaussian(math.inf), "mi is inf"),
    (lambda: CorrelatedGaussian(math.nan), "mi is nan"),
    (lambda: CorrelatedGaussian(1.0, 0), "dim is 0; valid: at least 1"),
    (lambda: problems.MultivariateGaussian(((1.0, 0.0),), 1), "covariance is not square"),
    (lambda: problems.MultivariateGaussian(((1.0, 0.5), (0.4, 1.0)), 1), "not symmetric"),
    (lambda: problems.dense_gaussian(1, 1, 1.0).mi, "covariance has eigenvalue"),
    (lambda: problems.MultivariateGaussian(((1.0, 0.0), (0.0, 1.0)), 2), "dim_x is 2"),
    (lambda: problems.sparse_gaussian(2, 3), "pairs is 3; valid: 1 to dim = 2"),
    (lambda: StudentT(problems.dense_gaussian(1, 1), 1.5), "dof is 1.5; valid: an integer"),
    (lambda: problems.AdditiveUniform(0.0), "noise is 0.0; valid: noise > 0"),
    (lambda: problems.Power(-1.0), "exponent is -1.0; valid: exponent > 0"),
    (lambda: problems.staircase("cube"), "task is 'cube'; valid: gaussian, cubic"),
    (lambda: problems.staircase("cubic", (2.0, -1.0)), "mi is -1.0"),
    (
        lambda: problems.SameClassImages(torch.zeros(3, 2), torch.tensor([0, 1])),
        r"labels has shape \(2,\); valid: \(3,\)",
    ),
    (
        lambda: problems.SameClassImages(torch.zeros(2, 2), torch.tensor([0, 1])),
        "one image under two labels",
    ),
])  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---------------------------------------------------------------------------------------------
# Pictures of three factors
# ---------------------------------------------------------------------------------------------


def every(sizes):
    """All values of the factors, one a row."""
    return torch.cartesian_prod(*(torch.arange(size) for size in sizes))


@pytest.mark.parametrize("agree", [(1, 0, 0), (0.5, 1, 0.2), (0, 0, 0), (1, 1, 1)])
@pytest.mark.parametrize("sizes", [(4, 4, 4), (2, 2, 2), (3, 2, 4)])
def test_information_of_every_subset_of_factors_is_that_of_the_table(agree, sizes):
    """Naive: the table of all values of the factors of x and of y, summed by hand."""
    problem = problems.FactorImages(agree, sizes)
    rows = every(sizes)
    table = torch.ones(len(rows), len(rows), dtype=torch.float64)
    for place, (size, q) in enumerate(zip(sizes, agree, strict=True)):
        same = (rows[:, None, place] == rows[None, :, place]).double()
        table = table * (q * same + (1 - q) / size) / size
    for subset in ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)):
        kept = torch.zeros(len(rows), dtype=torch.int64)
        for place in subset:
            kept = kept * sizes[place] + rows[:, place]
        part = torch.zeros(int(kept.max()) + 1, len(rows), dtype=torch.float64)
        part.index_add_(0, kept, table)
        ratio = part / (part.sum(1, keepdim=True) * part.sum(0))
        exact = torch.where(part > 0, part * ratio.clamp(min=1e-300).log(), 0.0).sum().item()
        found = problem.information(tuple(problems.FACTORS[place] for place in subset))
        assert abs(found - exact) < 1e-10
    assert problem.mi == problem.information()


def test_every_factor_is_a_function_of_the_picture():
    problem = problems.FactorImages((0.5, 0.5, 0.5), noise=0.249)
    plain = problem.clean.flatten(0, 2)
    apart = torch.cdist(plain, plain, p=float("inf")).fill_diagonal_(1)
    assert apart.min() >= 0.5  # twice the largest noise
    rows = every(problem.sizes).repeat(20, 1)
    assert (problem.factors(problem.pictures(rows, generator())) == rows).all()
    assert problem.sample(5, generator())[1].shape == (5, problem.dim_y)


def test_factors_agree_as_often_as_they_should():
    problem = problems.FactorImages((0.5, 1.0, 0.0))
    one, two = problem.sample_factors(40_000, generator(3))
    share = (one == two).double().mean(0)
    expected = torch.tensor([0.5 + 0.5 / 4, 1.0, 0.25], dtype=torch.float64)
    assert (share - expected).abs().max() < 0.01
    for column in (*one.T, *two.T):
        assert (column.bincount(minlength=4) / len(column) - 0.25).abs().max() < 0.01


@pytest.mark.parametrize("settings, said", [
    ({"agree": (1, 0, 1.5)}, "agree is (1, 0, 1.5); valid: three probabilities, 0 to 1"),
    ({"agree": (1, 0)}, "agree is (1, 0); valid"),
    ({"agree": (math.nan, 0, 0)}, "agree is (nan, 0, 0); valid"),
    ({"sizes": (4, 4, 5)}, "sizes is (4, 4, 5); valid: three integers, each 2 to 4"),
    ({"noise": 0.25}, "noise is 0.25; valid: 0 <= noise < 0.25"),
])  # fmt: skip
def test_bad_factors_are_refused(settings, said):
    with pytest.raises(ValueError) as error:
        problems.FactorImages(**settings)
    assert said in str(error.value)
    with pytest.raises(ValueError, match="factors holds 'colour'; valid: class, position, texture"):
        problems.FactorImages().information(("colour",))
