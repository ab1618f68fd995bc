r"""Estimators of other packages, and ours, on the same samples of the problems of chapter 11.

    python benchmarks/peers.py mlcpc
    python benchmarks/peers.py benchmark-mi --python ENVIRONMENT/bin/python
    python benchmarks/peers.py torch-mist --python ENVIRONMENT/bin/python --methods smile mine

Every package runs in a process of its own, with one thread, in the environment that ``--python``
names: some peers ask for a numpy that ours does not. That process needs numpy and the peer, not
mlcpc. All packages read the same arrays from one file a seed, and check their sha256. A package
that is absent is skipped with the reason, an estimate that fails is recorded with its error, and a
problem that an estimator does not take is recorded with what it takes.

Finished estimates stay in ``results/.peers``: the same command goes on where it stopped, and with
more ``--methods`` or ``--seeds`` it adds to what is there. The record holds what was asked for.
"""

import argparse
import hashlib
import importlib
import json
import math
import os
import platform
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np

LIMIT = 1200  # seconds after which an estimate counts as failed


# ---------------------------------------------------------------------------------------------
# What there is
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Method:
    """One estimator of a package.

    Args:
        run: takes x (N, d_x), y (N, d_y) and a seed; returns nats, or a dictionary with ``value``.
        family: neural, neighbours or closed form.
        settings: what it ran with, in words; the package's defaults where it does not say so.
        columns: most columns of x and of y that it takes.
        why_not: reason why it is left out unless it is asked for; empty if it is not.
    """

    run: Callable
    family: str
    settings: str
    columns: float = math.inf
    why_not: str = ""


@dataclass(frozen=True)
class Package:
    """A package and its estimators.

    Args:
        module: what to import to know that it is there.
        versions: names of the distributions whose versions are recorded.
        methods: name → estimator.
    """

    module: str
    versions: tuple[str, ...]
    methods: dict[str, Method] = field(default_factory=dict)


def _ours(**settings) -> Callable:
    def run(x: np.ndarray, y: np.ndarray, seed: int) -> dict:
        import mlcpc

        found = mlcpc.estimate(x, y, seed=seed, **settings)
        return {
            "value": found.mi,
            "interval": list(found.interval),
            "warnings": list(found.warnings),
        }

    return run


def _normal_scores(x: np.ndarray, y: np.ndarray, seed: int) -> float:
    import torch

    def directions(z: np.ndarray) -> torch.Tensor:
        ranks = torch.from_numpy(z).argsort(0).argsort(0).double()
        return torch.linalg.qr(torch.special.ndtri((ranks + 0.5) / len(z)))[0]

    correlations = torch.linalg.svdvals(directions(x).T @ directions(y))
    return -torch.log1p(-(correlations**2)).sum().item() / 2


def _mutual_info_regression(x: np.ndarray, y: np.ndarray, seed: int) -> float:
    from sklearn.feature_selection import mutual_info_regression

    return mutual_info_regression(x, y[:, 0], random_state=seed)[0]


def _ennemi(x: np.ndarray, y: np.ndarray, seed: int) -> float:
    import ennemi

    return float(np.squeeze(ennemi.estimate_mi(y[:, 0], x, max_threads=1)))


def _mist(estimator: str, **settings) -> Callable:
    def run(x: np.ndarray, y: np.ndarray, seed: int) -> float:
        import torch
        from torch_mist import estimate_mi

        torch.manual_seed(seed)
        np.random.seed(seed)  # the package shuffles with both
        data = tuple(z.astype(np.float32) for z in (x, y))
        return estimate_mi(data, estimator=estimator, verbose=False, logger=False, **settings)

    return run


def _bmi(name: str, seeded: bool = True) -> Callable:
    def run(x: np.ndarray, y: np.ndarray, seed: int) -> float:
        import bmi

        settings = {"verbose": False, "seed": seed} if seeded else {}
        return getattr(bmi.estimators, name)(**settings).estimate(x, y)

    return run


_MIST = "estimate_mi at its defaults: batch 128, at most 5,000 steps, patience 2 % of the epochs, "
_MIST += "one hidden layer of 128, value on all samples"
_BMI = "defaults: critic (16, 8), Adam 0.1, batch 256, at most 10,000 steps, half of the samples "
_BMI += "held out for the value, stopped after 2 looks without a better one"
_MULTI = "ml_cpc:1"
_TIME = "left out: the time for the peers was used up"
PACKAGES = {
    "mlcpc": Package(
        "mlcpc",
        ("torch", "numpy"),
        {
            "estimate": Method(_ours(), "neural", "mlcpc.estimate at its defaults"),
            "estimate, ML-CPC": Method(
                _ours(estimator=_MULTI), "neural", f"mlcpc.estimate with estimator={_MULTI!r}"
            ),
            "start alone": Method(
                _ours(steps=1),
                "closed form",
                "mlcpc.estimate with steps=1: the log ratio of the fitted normal pair that the "
                "training starts from, valued by the default bound on held-out pairs",
            ),
            "normal scores": Method(
                _normal_scores, "closed form", "CCA formula on the normal scores of each column"
            ),
        },
    ),
    "scikit-learn": Package(
        "sklearn.feature_selection",
        ("scikit-learn", "numpy"),
        {
            "mutual_info_regression": Method(
                _mutual_info_regression, "neighbours", "defaults: 3 neighbours", columns=1
            )
        },
    ),
    "ennemi": Package(
        "ennemi",
        ("ennemi", "scipy", "numpy"),
        {
            "estimate_mi": Method(_ennemi, "neighbours", "defaults: 3 neighbours", columns=1)
        },
    ),
    "torch-mist": Package(
        "torch_mist",
        ("torch-mist", "torch", "numpy", "pandas"),
        {
            "smile": Method(_mist("smile"), "neural", f"{_MIST}; the package's default estimator"),
            "infonce": Method(_mist("infonce"), "neural", _MIST),
            "mine": Method(_mist("mine"), "neural", _MIST),
            "smile trained long": Method(
                _mist("smile", neg_samples=8, patience=200),
                "neural",
                "as in the package's tutorial: 8 negatives, 5,000 steps, patience 200 epochs, the "
                "best weights of the validation part; value on all samples",
                why_not=_TIME,
            ),
            "nwj": Method(_mist("nwj"), "neural", _MIST, why_not=_TIME),
            "js": Method(_mist("js"), "neural", _MIST, why_not=_TIME),
            "doe": Method(_mist("doe"), "neural", _MIST, why_not=_TIME),
        },
    ),
    "benchmark-mi": Package(
        "bmi",
        ("benchmark-mi", "jax", "jaxlib", "scikit-learn", "numpy"),
        {
            "CCA": Method(
                _bmi("CCAMutualInformationEstimator", seeded=False), "closed form", "defaults"
            ),
            "KSG": Method(
                _bmi("KSGEnsembleFirstEstimator", seeded=False),
                "neighbours",
                "defaults: mean of 5 and 10 neighbours, Euclidean in x and in y",
            ),
            "InfoNCE": Method(_bmi("InfoNCEEstimator"), "neural", _BMI),
            "MINE": Method(_bmi("MINEEstimator"), "neural", _BMI),
            "D-V": Method(_bmi("DonskerVaradhanEstimator"), "neural", _BMI, why_not=_TIME),
            "NWJ": Method(_bmi("NWJEstimator"), "neural", _BMI, why_not=_TIME),
        },
    ),
}


# ---------------------------------------------------------------------------------------------
# The same samples for everyone
# ---------------------------------------------------------------------------------------------


def digest(x: np.ndarray, y: np.ndarray) -> str:
    """sha256 of two arrays: types, shapes and bytes."""
    found = hashlib.sha256()
    for z in (x, y):
        found.update(f"{z.dtype.str} {z.shape}".encode())
        found.update(np.ascontiguousarray(z).tobytes())
    return found.hexdigest()


def draw(count: int, seed: int, path: Path) -> dict[str, str]:
    """Write samples of every problem of ``problems.beyond_gaussian`` into one .npz file.

    Each problem has a stream of its own, so that no two share their noise. Samples are drawn in
    double precision: no map may turn two of them into one.

    Returns:
        name of the problem → sha256 of its samples.
    """
    import torch

    from mlcpc import problems

    arrays, digests = {}, {}
    default, threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)  # two threads round a product in another order
    try:
        for name, problem in problems.beyond_gaussian().items():
            stream = hashlib.sha256(f"{seed} {name}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(stream[:7], "big"))
            x, y = (z.numpy() for z in problem.sample(count, generator))
            arrays |= {f"{name} x": x, f"{name} y": y}
            digests[name] = digest(x, y)
    finally:
        torch.set_default_dtype(default)
        torch.set_num_threads(threads)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".partial.npz")
    np.savez(unfinished, **arrays)
    unfinished.replace(path)
    return digests


def load(path: Path, problem: str, expected: str) -> tuple[np.ndarray, np.ndarray]:
    """Samples x and y of a problem.

    Raises:
        ValueError: samples that do not have the sha256 that is expected.
    """
    with np.load(path) as file:
        x, y = file[f"{problem} x"], file[f"{problem} y"]
    if (found := digest(x, y)) != expected:
        raise ValueError(f"samples of {problem} in {path} have sha256 {found}; valid: {expected}")
    return x, y


# ---------------------------------------------------------------------------------------------
# The process of a package
# ---------------------------------------------------------------------------------------------


def serve(name: str) -> None:
    """Answer requests, a JSON line each, with estimates; the first line says what is here."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the package prints must not get between the answers
    package = PACKAGES[name]
    hello = {"python": platform.python_version()}
    try:
        importlib.import_module(package.module)
        hello |= {each: metadata.version(each) for each in package.versions}
    except ImportError as error:
        hello = {"absent": f"{type(error).__name__}: {error}"}
    print(json.dumps(hello), file=answers, flush=True)
    for line in sys.stdin:
        try:
            found = answer(package, json.loads(line))
        except (ValueError, KeyError, OSError) as error:
            found = {"refused": f"{type(error).__name__}: {error}"}
        print(json.dumps(found), file=answers, flush=True)


def answer(package: Package, request: dict) -> dict:
    """One estimate with its seconds, or why there is none.

    Raises:
        ValueError: samples that are not those of the request.
    """
    method = package.methods[request["method"]]
    x, y = load(Path(request["path"]), request["problem"], request["sha256"])
    if max(x.shape[1], y.shape[1]) > method.columns:
        return {"skipped": f"takes {method.columns} column of x and of y"}
    wall, processor = time.perf_counter(), time.process_time()
    try:
        found = method.run(x, y, request["seed"])
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"[:300]}
    seconds = {
        "seconds": round(time.perf_counter() - wall, 3),
        "cpu_seconds": round(time.process_time() - processor, 3),
    }
    found = found if isinstance(found, dict) else {"value": found}
    found["value"] = float(found["value"])
    if not math.isfinite(found["value"]):
        return {"failed": f"value {found['value']}", **seconds}
    return found | seconds


class Worker:
    """A process that serves a package; it is started again if it dies."""

    def __init__(self, name: str, python: str) -> None:
        self.name, self.python = name, python
        self._start()

    def _start(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        # jax: one thread too
        environment["XLA_FLAGS"] = (
            "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        )
        self.process = subprocess.Popen(
            [self.python, __file__, "--serve", self.name],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = []
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()
        self.hello = self._read() or {"absent": f"no answer: {self._last_words()}"}

    def _listen(self, process: subprocess.Popen) -> None:
        for line in process.stderr:
            self.said = [*self.said[-4:], line.strip()]

    def _read(self) -> dict | None:
        timer = threading.Timer(LIMIT, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        return json.loads(line) if line else None

    def _last_words(self) -> str:
        return f"the process ended with status {self.process.wait()}; {' / '.join(self.said)}"[:300]

    def ask(self, request: dict) -> dict:
        """The answer to a request; a process that died or took too long counts as failed.

        Raises:
            ValueError: a request that the process refused, since its samples are not the ones.
        """
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
        except BrokenPipeError:  # it died while it had nothing to do
            found = None
        else:
            found = self._read()
        if found is not None:
            if "refused" in found:
                raise ValueError(found["refused"])
            return found
        failed = {"failed": self._last_words()}
        self._start()
        return failed

    def close(self) -> None:
        """End the process: its input is over."""
        self.process.stdin.close()
        self.process.wait()


# ---------------------------------------------------------------------------------------------
# The record
# ---------------------------------------------------------------------------------------------


def solved(value: float, truth: float) -> bool:
    """Whether an estimate is within a factor of 1.5 of the truth, as Czyż et al. 2023 count."""
    return value > 0 and abs(math.log(value / truth)) < math.log(1.5)


def metrics(rows: list[dict], truths: dict[str, float]) -> Iterator[tuple[str, dict]]:
    """Median |error| over problems and the number solved, of each method, a value a seed."""
    from mlcpc import runs

    for method in dict.fromkeys(row["method"] for row in rows):
        errors, counts = {}, {}
        for row in rows:
            if row["method"] == method and "value" in row:
                truth = truths[row["problem"]]
                errors.setdefault(row["seed"], []).append(abs(row["value"] - truth))
                counts.setdefault(row["seed"], []).append(solved(row["value"], truth))
        if errors:
            medians = [float(np.median(each)) for each in errors.values()]
            yield f"median |error| {method}", runs.metric(medians, "nats")
            yield f"solved {method}", runs.metric([sum(e) for e in counts.values()], "problems")


def make(options: argparse.Namespace) -> None:
    """Run the methods on every problem and seed, and write the record."""
    from mlcpc import problems, runs

    package = PACKAGES[options.package]
    asked = options.methods or [
        name for name, method in package.methods.items() if not method.why_not
    ]
    unknown = set(asked) - set(package.methods)
    if unknown:
        valid = ", ".join(package.methods)
        raise ValueError(f"methods has {min(unknown)!r} for {options.package}; valid: {valid}")
    worker = Worker(options.package, options.python)
    if "absent" in worker.hello:
        print(f"skipped {options.package}: {worker.hello['absent']}")
        return
    beyond = problems.beyond_gaussian()
    names = [name for name in beyond if not options.problems or name in options.problems]
    if not names:
        raise ValueError(f"problems is {options.problems}; valid: {', '.join(beyond)}")
    uses = [f"benchmarks/peers.{name}" for name in ("PACKAGES", "answer", "draw", "metrics")]
    uses += ["estimation.estimate", "runs.metric"] if options.package == "mlcpc" else []
    code = runs.code_hash(uses)
    folder = runs.results() / ".peers"
    paths = {seed: folder / f"samples-{options.count}-{seed}.npz" for seed in options.seeds}
    digests = {seed: draw(options.count, seed, path) for seed, path in paths.items()}

    def work(cell: dict) -> dict:
        request = {
            **cell,
            "path": str(paths[cell["seed"]]),
            "sha256": digests[cell["seed"]][cell["problem"]],
        }
        found = worker.ask(request)
        said = next(found[key] for key in ("value", "failed", "skipped") if key in found)
        truth = beyond[cell["problem"]].mi
        print(cell["method"], cell["problem"], f"{truth:.3f}:", said, found.get("seconds", ""),
              flush=True)  # fmt: skip
        return found

    cells = [
        {"problem": name, "method": method, "seed": seed}
        for method in asked
        for seed in options.seeds
        for name in names
    ]
    settings = {name: method.settings for name, method in package.methods.items()}
    header = {"count": options.count, "versions": worker.hello, "settings": settings, "code": code}
    done = runs.sweep(cells, work, folder / f"{options.package}.partial", header)
    worker.close()
    rows = [{**cell, **found} for cell, found in zip(cells, done, strict=True)]
    truths = {name: beyond[name].mi for name in names}
    whole = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
    provenance = runs.provenance(
        code,
        sum(row.get("seconds", 0) for row in rows),
        {f"{options.count} samples a problem, seeds {options.seeds}": whole},
    )
    record = runs.Record(
        name=options.name or _record_name(options.package),
        chapter="11_beyond_gaussians",
        profile="full" if options.count >= 10_000 and len(names) == len(beyond) else "quick",
        command=_command(options),
        config={
            "package": options.package,
            "count": options.count,
            "methods": {
                name: {k: v for k, v in asdict(package.methods[name]).items()
                       if k in ("family", "settings")}
                for name in asked
            },
            "not run": {
                name: method.why_not or "not asked for"
                for name, method in package.methods.items() if name not in asked
            },
        },
        seeds=options.seeds,
        metrics=dict(metrics(rows, truths)),
        arrays={"rows": rows, "truths": truths, "digests": digests[options.seeds[0]]},
        provenance=provenance | {"versions": worker.hello, "threads": 1},
    )  # fmt: skip
    print(f"wrote {runs.write(record)}")


def _record_name(package: str) -> str:
    return "beyond-gaussian" if package == "mlcpc" else f"peers-{package}"


def _command(options: argparse.Namespace) -> str:
    words = ["python", "benchmarks/peers.py", options.package]
    if options.python != sys.executable:
        words += ["--python", "ENVIRONMENT/bin/python"]  # its place differs from machine to machine
    for option, default in (("methods", None), ("problems", None), ("seeds", [0])):
        if (value := getattr(options, option)) != default:
            words += [f"--{option}", *map(str, value)]
    for option, default in (("count", 10_000), ("name", None)):
        if (value := getattr(options, option)) != default:
            words += [f"--{option}", str(value)]
    return shlex.join(words)


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        return serve(sys.argv[2])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", choices=list(PACKAGES))
    parser.add_argument("--python", default=sys.executable, help="its interpreter (ours)")
    parser.add_argument("--methods", nargs="+", help="its estimators (those that take minutes)")
    parser.add_argument("--problems", nargs="+", help="names of problems (all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of the samples (0)")
    parser.add_argument("--count", type=int, default=10_000, help="samples a problem (10000)")
    parser.add_argument("--name", help="of the record (peers-PACKAGE)")
    options = parser.parse_args()
    try:
        make(options)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
