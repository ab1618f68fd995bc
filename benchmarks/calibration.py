"""Does `mlcpc.estimate` keep its word? Forty kinds of samples whose information is known.

    python benchmarks/calibration.py results.jsonl --seeds 10       all kinds, ten data sets each
    python benchmarks/calibration.py results.jsonl --summary        what the lines say so far
    python benchmarks/calibration.py results.jsonl --seeds 10 --record     results/calibration.json
    python benchmarks/calibration.py --unseen          is it seen? results/unseen.json

One JSON line a data set: kind, seed, rows, truth, estimate, lower limit, p-value, warnings and
seconds. The same command goes on where it stopped. Kinds are taken in turn, so that a run that is
stopped early has seen all of them.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import kstest

Draw = Callable[[np.random.Generator], tuple]


def normal(rows: int, dim: int, rho: float, other: int | None = None) -> Draw:
    """``dim`` correlated pairs of columns, and columns of noise up to ``other`` in x and y."""

    def draw(rng: np.random.Generator) -> tuple:
        x = rng.standard_normal((rows, other or dim))
        y = rng.standard_normal((rows, other or dim))
        y[:, :dim] = rho * x[:, :dim] + math.sqrt(1 - rho**2) * y[:, :dim]
        return x, y, -dim / 2 * math.log1p(-(rho**2)), {}

    return draw


def mapped(base: Draw, map_x: Callable, map_y: Callable | None = None) -> Draw:
    """The same with columns bent by monotone maps, which change no information."""

    def draw(rng: np.random.Generator) -> tuple:
        x, y, truth, options = base(rng)
        return map_x(x), (map_y or map_x)(y), truth, options

    return draw


def rotated(base: Draw) -> Draw:
    """The same with columns mixed."""

    def draw(rng: np.random.Generator) -> tuple:
        x, y, truth, options = base(rng)
        turns = [np.linalg.qr(rng.standard_normal((z.shape[1],) * 2))[0] for z in (x, y)]
        return x @ turns[0], y @ turns[1], truth, options

    return draw


def student(rows: int, dim: int, freedom: int, rho: float) -> Draw:
    """Normal pairs that share a scale: dependent even where they are uncorrelated."""
    matrix = np.eye(2 * dim)
    matrix[:dim, dim:] = matrix[dim:, :dim] = rho * np.eye(dim)

    def draw(rng: np.random.Generator) -> tuple:
        z = rng.standard_normal((rows, 2 * dim)) @ np.linalg.cholesky(matrix).T
        z /= np.sqrt(rng.chisquare(freedom, (rows, 1)) / freedom)
        return z[:, :dim], z[:, dim:], _student_information(dim, freedom, rho), {}

    return draw


def _student_information(dim: int, freedom: int, rho: float) -> float:
    """The normal part, and what the shared scale adds."""
    from scipy.special import digamma, gammaln

    def part(k: int) -> float:
        half = (freedom + k) / 2
        return gammaln(half) - half * digamma(half)

    shared = gammaln(freedom / 2) + part(2 * dim) - 2 * part(dim)
    shared += digamma(freedom / 2) * (freedom + 2 * dim - 2 * (freedom + dim)) / 2
    return -dim / 2 * math.log1p(-(rho**2)) + shared


def additive(rows: int, noise: float) -> Draw:
    """y = x + noise, both uniform, the noise within ±``noise`` ≤ 1/2."""

    def draw(rng: np.random.Generator) -> tuple:
        x = rng.random(rows)
        y = x + noise * (2 * rng.random(rows) - 1)
        return x, y, noise - math.log(2 * noise), {}

    return draw


def labels(rows: int, classes: int, distance: float, text: bool = False) -> Draw:
    """A class, and a normal column around the place of its class on a line."""

    def draw(rng: np.random.Generator) -> tuple:
        label = rng.integers(0, classes, rows)
        x = distance * label + rng.standard_normal(rows)
        at = np.linspace(-8, 8 + distance * (classes - 1), 20_001)
        each = np.exp(-((at - distance * np.arange(classes)[:, None]) ** 2) / 2)
        density = each.mean(0) / math.sqrt(2 * math.pi)
        entropy = -np.trapezoid(density * np.log(density + 1e-300), at)
        truth = entropy - 0.5 * math.log(2 * math.pi * math.e)
        return x, np.array(list("abcdefgh"))[label] if text else label, truth, {}

    return draw


def table(rows: int, size: int, strength: float) -> Draw:
    """Two classes from a random table of chances."""

    def draw(rng: np.random.Generator) -> tuple:
        chances = rng.random((size, size + 1)) ** strength
        chances /= chances.sum()
        cells = rng.choice(chances.size, rows, p=chances.ravel())
        product = np.outer(chances.sum(1), chances.sum(0))
        truth = float((chances * np.log(chances / product)).sum())
        return *np.divmod(cells, size + 1), truth, {"discrete": True}

    return draw


def counts(rows: int, shared: float) -> Draw:
    """Poisson counts with a part in common."""

    def draw(rng: np.random.Generator) -> tuple:
        both = rng.poisson(shared, rows) if shared else 0
        x, y = (both + rng.poisson(3, rows) for _ in range(2))
        return x, y, _poisson_information(shared), {}

    return draw


def _poisson_information(shared: float) -> float:
    from scipy.stats import poisson

    most = 40
    joint = np.zeros((2 * most, 2 * most))
    own = poisson.pmf(np.arange(most), 3)
    for k, chance in enumerate(poisson.pmf(np.arange(most), shared)):
        joint[k : k + most, k : k + most] += chance * np.outer(own, own)
    product = np.outer(joint.sum(1), joint.sum(0))
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / product[seen])).sum())


def square(rows: int, noise: float) -> Draw:
    """y = x² + noise: uncorrelated and dependent."""

    def draw(rng: np.random.Generator) -> tuple:
        x = rng.standard_normal(rows)
        at = np.linspace(-6, 6, 4001)
        y_at = np.linspace(-6 * noise, 30, 8001)
        weight = np.exp(-(at**2) / 2) / math.sqrt(2 * math.pi) * (at[1] - at[0])
        spread = np.exp(-(((y_at[:, None] - at**2) / noise) ** 2) / 2)
        density = spread @ weight / (noise * math.sqrt(2 * math.pi))
        entropy = -np.trapezoid(density * np.log(density + 1e-300), y_at)
        truth = entropy - 0.5 * math.log(2 * math.pi * math.e * noise**2)
        return x, x**2 + noise * rng.standard_normal(rows), truth, {}

    return draw


def series(rows: int, dim: int, kept: float, rho: float) -> Draw:
    """Autoregressive series whose pairs of columns have correlation ρ at each time."""

    def draw(rng: np.random.Generator) -> tuple:
        x, y, truth, _ = normal(rows, dim, rho)(rng)
        for z in (x, y):
            for k in range(1, rows):
                z[k] = kept * z[k - 1] + math.sqrt(1 - kept**2) * z[k]
        return x, y, truth, {"order": "time"}

    return draw


def grouped(groups: int, size: int, dim: int, share: float, rho: float) -> Draw:
    """Groups whose rows share a part of x and of y, with the same correlation ρ."""

    def draw(rng: np.random.Generator) -> tuple:
        of_group, own = (normal(n, dim, rho)(rng) for n in (groups, groups * size))
        x, y = (
            math.sqrt(share) * np.repeat(a, size, 0) + math.sqrt(1 - share) * b
            for a, b in zip(of_group[:2], own[:2], strict=True)
        )
        return x, y, own[2], {"groups": np.repeat(np.arange(groups), size)}

    return draw


def repeated(base: Draw, times: int) -> Draw:
    """Every row several times: no more information than once."""

    def draw(rng: np.random.Generator) -> tuple:
        x, y, truth, options = base(rng)
        return np.repeat(x, times, 0), np.repeat(y, times, 0), truth, options

    return draw


KINDS: dict[str, Draw] = {
    # independent
    "normal 1, 200 rows, independent": normal(200, 1, 0),
    "normal 1, 1000 rows, independent": normal(1000, 1, 0),
    "normal 5, 500 rows, independent": normal(500, 5, 0),
    "normal 20, 500 rows, independent": normal(500, 20, 0),
    "normal 50, 1000 rows, independent": normal(1000, 50, 0),
    "lognormal 3, 500 rows, independent": mapped(normal(500, 3, 0), np.exp),
    "cauchy 2, 500 rows, independent": mapped(normal(500, 2, 0), lambda z: np.tan(1.2 * z)),
    "labels 4, 500 rows, independent": labels(500, 4, 0.0),
    "table 5, 500 rows, independent": table(500, 5, 0.0),
    "counts, 500 rows, independent": counts(500, 0.0),
    "series 0.9, 1000 rows, independent": series(1000, 2, 0.9, 0),
    "groups 100 x 5, independent": grouped(100, 5, 2, 0.8, 0),
    "rows 150 x 4, independent": repeated(normal(150, 2, 0), 4),
    # dependent
    "normal 1, 200 rows, 0.5": normal(200, 1, 0.5),
    "normal 1, 1000 rows, 0.9": normal(1000, 1, 0.9),
    "normal 1, 5000 rows, 0.3": normal(5000, 1, 0.3),
    "normal 1, 2000 rows, 0.9999": normal(2000, 1, 0.9999),
    "normal 3, 2000 rows, 0.99": normal(2000, 3, 0.99),
    "normal 5, 500 rows, 0.5": normal(500, 5, 0.5),
    "normal 20, 1000 rows, 0.4": normal(1000, 20, 0.4),
    "normal 50, 1000 rows, 0.2": normal(1000, 50, 0.2),
    "normal 50, 2000 rows, 0.4, mixed": rotated(normal(2000, 50, 0.4)),
    "normal 2 of 50, 1000 rows, 0.8, mixed": rotated(normal(1000, 2, 0.8, 50)),
    "cubic 2, 1000 rows, 0.7": mapped(normal(1000, 2, 0.7), lambda z: z**3),
    "lognormal 1 and exp, 500 rows, 0.6": mapped(normal(500, 1, 0.6), np.exp, np.sinh),
    "uniform 2, 1000 rows, 0.8": mapped(normal(1000, 2, 0.8), np.arctan),
    "student 1, 1000 rows, 2, 0": student(1000, 1, 2, 0.0),
    "student 2, 2000 rows, 3, 0.5": student(2000, 2, 3, 0.5),
    "student 5, 1000 rows, 2, 0": student(1000, 5, 2, 0.0),
    "additive 0.1, 1000 rows": additive(1000, 0.1),
    "additive 0.4, 2000 rows": additive(2000, 0.4),
    "square, 1000 rows": square(1000, 0.5),
    "labels 3 as text, 500 rows": labels(500, 3, 1.5, text=True),
    "labels 6, 1000 rows": labels(1000, 6, 2.0),
    "table 4, 1000 rows": table(1000, 4, 3.0),
    "counts, 1000 rows": counts(1000, 3.0),
    "series 0.9, 2000 rows, 0.6": series(2000, 1, 0.9, 0.6),
    "groups 200 x 5, 0.6": grouped(200, 5, 2, 0.5, 0.6),
    "groups 100 x 10, 0.8": grouped(100, 10, 1, 0.8, 0.8),
    "rows 300 x 3, 0.7": repeated(normal(300, 2, 0.7), 3),
}


def measure(kind: str, seed: int) -> dict:
    """One data set: what is true, and what is said."""
    import mlcpc

    place = list(KINDS).index(kind)
    x, y, truth, options = KINDS[kind](np.random.default_rng([place, seed]))
    begin, cpu = time.perf_counter(), time.process_time()
    found = mlcpc.estimate(x, y, seed=seed, **options)
    return {
        "kind": kind, "seed": seed, "rows": len(x), "truth": truth, "mi": found.mi,
        "lower": found.lower, "interval": list(found.interval), "p_value": found.p_value,
        "ceiling": found.ceiling, "unseen": found.unseen, "warnings": list(found.warnings),
        "learning_curve": [list(each) for each in found.learning_curve],
        "seconds": round(time.perf_counter() - begin, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
    }  # fmt: skip


def summary(lines: list[dict]) -> dict:
    """What the data sets say together; the four questions of the calibration."""
    covered = [line["lower"] <= line["truth"] + 1e-9 for line in lines]
    null = [line["p_value"] for line in lines if line["truth"] < 1e-9]
    missed = [line for line in lines if line["truth"] > 1e-9 and line["mi"] < 0.75 * line["truth"]]
    warned = [bool(line["warnings"]) for line in missed]
    return {
        "data sets": len(lines),
        "kinds": len({line["kind"] for line in lines}),
        "lower limit below the truth": float(np.mean(covered)) if lines else None,
        "independent data sets": len(null),
        "p-values at most 0.05": float(np.mean(np.array(null) <= 0.05)) if null else None,
        "p-value of uniform p-values": float(kstest(null, "uniform").pvalue) if null else None,
        "misses above 25 %": len(missed),
        "misses that are warned of": float(np.mean(warned)) if missed else None,
        "median error": float(np.median([abs(e["mi"] - e["truth"]) for e in lines])),
        "cpu seconds, median": float(np.median([line["cpu_seconds"] for line in lines])),
    }


def record(lines: list[dict], seeds: int) -> "records.Record":  # noqa: F821
    """All data sets as one record, kind after kind and in each seed after seed."""
    from mlcpc import estimation, records

    found = {(line["kind"], line["seed"]): line for line in lines}
    rows = [found[kind, seed] for kind in KINDS for seed in range(seeds)]
    units = {"truth": "nats", "mi": "nats", "lower": "nats", "p_value": "1", "cpu_seconds": "s"}
    metrics = {
        name: records.Metric(unit, tuple(row[name] for row in rows), per="run")
        for name, unit in units.items()
    }
    return records.Record(
        name="calibration", experiment="benchmarks/calibration.py", version=1, profile="full",
        command=f"python benchmarks/calibration.py FILE.jsonl --seeds {seeds} --record",
        config={"kinds": {kind: found[kind, 0]["rows"] for kind in KINDS},
                "estimate version": estimation.VERSION},
        seeds=list(range(seeds)), metrics=metrics,
        provenance=records.provenance(sum(row["seconds"] for row in rows)),
        arrays={"kind": [row["kind"] for row in rows], "seed": [row["seed"] for row in rows],
                "warnings": [row["warnings"] for row in rows]},
    )  # fmt: skip


def unseen(sets: int = 12, rows: int = 500) -> "records.Record":  # noqa: F821
    """Normal samples with as much information as ``unseen`` says would mostly have shown.

    It is in one pair of columns or in all of them, and the columns are mixed.
    """
    from mlcpc import estimation, records, valuation

    metrics, begin = {}, time.perf_counter()
    for dim, pairs in ((1, 1), (5, 1), (5, 5), (20, 20)):
        nats = valuation.unseen(rows, dim, dim)
        draw = rotated(normal(rows, pairs, math.sqrt(-math.expm1(-2 * nats / pairs)), dim))
        drawn = [draw(np.random.default_rng([dim, pairs, seed]))[:2] for seed in range(sets)]
        name = f"{pairs} pairs of {dim} + {dim} columns"
        found = estimation.several([(x, y, "auto") for x, y in drawn])
        each = {"lower": [one.lower for one in found], "p_value": [one.p_value for one in found],
                "truth": [nats] * sets}  # fmt: skip
        metrics |= {f"{name}, {key}": records.Metric("1" if key == "p_value" else "nats", values)
                    for key, values in each.items()}  # fmt: skip
        print(f"{name}: {nats:.3f} nats, seen in {np.mean([one.unseen is None for one in found])}")
    return records.Record(
        name="unseen", experiment="benchmarks/calibration.py", version=1, profile="full",
        command="python benchmarks/calibration.py --unseen", seeds=list(range(sets)),
        config={"rows": rows, "estimate version": estimation.VERSION}, metrics=metrics,
        provenance=records.provenance(time.perf_counter() - begin),
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Measure what is missing from the file, kind by kind and seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?", help="JSON lines to go on with")
    parser.add_argument("--unseen", action="store_true", help="write results/unseen.json, no file")
    parser.add_argument("--seeds", type=int, default=10, help="data sets of a kind (default: 10)")
    parser.add_argument("--summary", action="store_true", help="only say what is there")
    parser.add_argument("--record", action="store_true", help="write results/calibration.json")
    options = parser.parse_args(arguments)
    if options.unseen:
        from mlcpc import records

        print(f"wrote {records.write(unseen())}")
        return 0
    if options.file is None:
        parser.error("file is missing; valid: a path, or --unseen")
    lines = []
    if options.file.exists():
        for text in filter(str.strip, options.file.read_text().splitlines()):
            try:
                lines.append(json.loads(text))
            except ValueError:  # a line that a kill cut off is measured again
                continue
    if not options.summary:
        done = {(line["kind"], line["seed"]) for line in lines}
        work = [(k, s) for s in range(options.seeds) for k in KINDS if (k, s) not in done]
        with options.file.open("a") as file:
            print(file=file)  # ends a line that a kill cut off
            for place, (kind, seed) in enumerate(work, start=1):
                line = measure(kind, seed)
                lines.append(line)
                print(json.dumps(line), file=file, flush=True)
                print(
                    f"[{place}/{len(work)}] {kind}, seed {seed}: true {line['truth']:.3f}, "
                    f"estimate {line['mi']:.3f}, at least {line['lower']:.3f}, "
                    f"p {line['p_value']:.3f}, {line['cpu_seconds']:.1f} s",
                    flush=True,
                )
    print(json.dumps(summary(lines), indent=1))
    if options.record:
        from mlcpc import records

        print(f"wrote {records.write(record(lines, options.seeds))}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
