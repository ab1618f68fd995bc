"""What `mlcpc.estimate` costs: seconds, memory and error, beside two nearest-neighbour packages.

    python benchmarks/estimation.py                          a table, targets met or MISSED
    python benchmarks/estimation.py --only "1,000 rows, 1"   some cases
    python benchmarks/estimation.py --ennemi PYTHON --record     results/estimate-speed.json

Every measurement is a process of its own with one thread. A call on a hundred rows comes before it:
what a process loads once, such as PyTorch's optimisers, is no cost of an estimate. Targets are
judged by the seconds of the processor, which on a quiet machine are those of the clock, and which
other work disturbs less.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Case:
    """Normal pairs of columns, and what an estimate of them may cost.

    Args:
        rows: of samples.
        pairs: correlated pairs of columns.
        nats: true information.
        limit: seconds at most.
        error: nats at most, unless a warning says why not; None if any.
        columns: of x and of y, the rest of them noise; 0 for as many as pairs.
    """

    rows: int
    pairs: int
    nats: float
    limit: float
    error: float | None = None
    columns: int = 0

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((2, self.rows, self.columns or self.pairs))
        square = -math.expm1(-2 * self.nats / self.pairs)  # of the correlation
        known = math.sqrt(square) * x[:, : self.pairs]
        y[:, : self.pairs] = known + math.sqrt(1 - square) * y[:, : self.pairs]
        x[:, self.pairs :] *= 0.1
        y[:, self.pairs :] *= 0.1
        return x, y


CASES = {
    "1,000 rows, 1 + 1": Case(1000, 1, 0.5, 2.5),
    "1,000 rows, 5 + 5": Case(1000, 5, 1.0, 2.5),
    "10,000 rows, 5 + 5": Case(10_000, 5, 2.0, 5, 0.05),
    "10,000 rows, 5 + 5, independent": Case(10_000, 5, 0.0, 5, 0.05),
    "10,000 rows, 1 + 1, 4 nats": Case(10_000, 1, 4.0, 10, 0.1),
    "10,000 rows, 1 + 1, 6 nats": Case(10_000, 1, 6.0, 10, 0.3),
    "100,000 rows, 1 + 1": Case(100_000, 1, 0.5, 30),
    "1,000,000 rows, 1 + 1": Case(1_000_000, 1, 0.5, 120),
    "2,000 rows, 2,352 + 2,352": Case(2000, 3, 2.5, 60, columns=2352),
}
GIBIBYTES = 4
OURS, SKLEARN, ENNEMI = "ours", "scikit-learn", "ennemi"


def one(name: str, method: str) -> dict:
    """A measurement, in this process."""
    x, y = CASES[name].draw()
    if method == OURS:
        import torch

        import mlcpc

        torch.set_num_threads(1)
        call = lambda x, y: mlcpc.estimate(x, y)  # noqa: E731
    elif method == SKLEARN:
        from sklearn.feature_selection import mutual_info_regression

        call = lambda x, y: mutual_info_regression(x, y[:, 0], random_state=0)[0]  # noqa: E731
    else:
        import ennemi

        call = lambda x, y: np.squeeze(ennemi.estimate_mi(y[:, 0], x, max_threads=1))  # noqa: E731
    call(x[:100, :1], y[:100, :1])
    wall, cpu = time.perf_counter(), time.process_time()
    found = call(x, y)
    seconds = {"seconds": time.perf_counter() - wall, "cpu seconds": time.process_time() - cpu}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return seconds | {
        "nats": float(found),
        "gibibytes": peak / (2**30 if sys.platform == "darwin" else 2**20),
        "warnings": list(getattr(found, "warnings", ())),
    }


def measured(name: str, method: str, python: str) -> dict:
    """The same in a process of its own; what went wrong under "failed"."""
    done = subprocess.run(
        [python, __file__, "--one", name, method], capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no answer"])[-1][:200]}
    return json.loads(done.stdout.splitlines()[-1])


def verdicts(found: dict[str, dict]) -> list[tuple[str, bool]]:
    """What was promised of ours, and whether it holds: case → measurement."""
    said = []
    for name, each in found.items():
        case = CASES[name]
        if "failed" in each:
            said.append((f"{name}: a value", False))
            continue
        said.append((f"{name}: at most {case.limit:g} s", each["cpu seconds"] <= case.limit))
        said.append((f"{name}: under {GIBIBYTES} GiB", each["gibibytes"] < GIBIBYTES))
        if case.error is not None:
            near = abs(each["nats"] - case.nats) <= case.error
            said.append((f"{name}: within {case.error:g} nats, or a warning",
                         near or bool(each["warnings"])))  # fmt: skip
    pair = [found.get(f"10,000 rows, 5 + 5{end}") for end in ("", ", independent")]
    if all(each and "failed" not in each for each in pair):
        dependent, independent = (each["cpu seconds"] for each in pair)
        said.append(("independent columns cost no more", independent <= dependent))
    return said


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        return print(json.dumps(one(*sys.argv[2:4])))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--ennemi", help="an interpreter that has ennemi (left out)")
    parser.add_argument("--record", action="store_true", help="write results/estimate-speed.json")
    options = parser.parse_args()
    pythons = {OURS: sys.executable, SKLEARN: sys.executable, ENNEMI: options.ennemi}
    rows = []
    for name in options.only:
        for method, python in pythons.items():
            if python is None or (method != OURS and CASES[name].draw()[0].shape[1] > 1):
                continue  # neighbours in many columns: those packages take one
            each = measured(name, method, python)
            rows.append({"case": name, "method": method, "truth": CASES[name].nats, **each})
            told = each.get("failed") or (
                f"{each['cpu seconds']:8.2f} s of a core ({each['seconds']:.2f} of the clock), "
                f"{each['gibibytes']:.2f} GiB, {each['nats']:.3f} of {CASES[name].nats:g} nats"
            )
            print(f"{name:32} {method:13} {told}", flush=True)
    ours = {row["case"]: row for row in rows if row["method"] == OURS}
    judged = verdicts(ours)
    for promise, held in judged:
        print("met   " if held else "MISSED", promise)
    if not options.record:
        return None
    from mlcpc import estimation, records

    units = {"cpu seconds": "s", "seconds": "s", "gibibytes": "GiB", "nats": "nats"}
    record = records.Record(
        name="estimate-speed", experiment="benchmarks/estimation.py", version=1,
        profile="full" if len(ours) == len(CASES) else "quick",
        command="python benchmarks/estimation.py --ennemi ENVIRONMENT/bin/python --record",
        config={"cases": {name: vars(case) for name, case in CASES.items()}, "threads": 1,
                "estimate version": estimation.VERSION},
        seeds=[0], arrays={"rows": rows, "promises": [list(each) for each in judged]},
        metrics={key: records.Metric(unit, [row.get(key) for row in rows], per="run")
                 for key, unit in units.items()},
        provenance=records.provenance(sum(row.get("seconds", 0) for row in rows)),
    )  # fmt: skip
    print(f"wrote {records.write(record)}")


if __name__ == "__main__":
    main()
