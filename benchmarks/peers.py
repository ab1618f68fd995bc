r"""Estimators of other packages, and ours, on the same samples, for the page "Beyond Gaussians".

    python benchmarks/peers.py mlcpc
    python benchmarks/peers.py benchmark-mi --python ENVIRONMENT/bin/python
    python benchmarks/peers.py torch-mist --python ENVIRONMENT/bin/python --methods smile mine
    python benchmarks/peers.py mlcpc --tasks ENVIRONMENT/bin/python     the tasks of Beyond Normal

With ``--tasks`` the problems are all 40 of Czyż et al. 2023 as the package benchmark-mi defines and
draws them, in the environment that has it; else they are ``problems.beyond_gaussian``.

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
from collections.abc import Callable
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


def scores(z: np.ndarray) -> np.ndarray:
    """Normal scores of each column: what a rank would be worth in a normal column."""
    from statistics import NormalDist

    ranks = z.argsort(0, kind="stable").argsort(0)
    values = np.array([NormalDist().inv_cdf((k + 0.5) / len(z)) for k in range(len(z))])
    return values[ranks]


def _scored(run: Callable) -> Callable:
    """The same estimator on the normal scores, which leave the information as it is."""
    return lambda x, y, seed: run(scores(x), scores(y), seed)


def _normal_scores(x: np.ndarray, y: np.ndarray, seed: int) -> float:
    directions = [np.linalg.qr(scores(z))[0] for z in (x, y)]
    correlations = np.linalg.svd(directions[0].T @ directions[1], compute_uv=False)
    return float(-np.log1p(-(correlations**2)).sum() / 2)


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
_SCORES = "on the normal scores of each column"
_TIME = "left out: the time for the peers was used up"
PACKAGES = {
    "mlcpc": Package(
        "mlcpc",
        ("torch", "numpy"),
        {
            "estimate": Method(_ours(), "neural", "mlcpc.estimate at its defaults"),
            "estimate, ML-CPC": Method(
                _ours(estimator=_MULTI),
                "neural",
                f"mlcpc.estimate with estimator={_MULTI!r}",
                why_not="the default chooses between the proved bounds by itself",
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
            ),
            "mutual_info_regression, scores": Method(
                _scored(_mutual_info_regression), "neighbours", f"defaults; {_SCORES}", columns=1
            ),
        },
    ),
    "ennemi": Package(
        "ennemi",
        ("ennemi", "scipy", "numpy"),
        {
            "estimate_mi": Method(_ennemi, "neighbours", "defaults: 3 neighbours", columns=1),
            "estimate_mi, scores": Method(
                _scored(_ennemi), "neighbours", f"defaults; {_SCORES}", columns=1
            ),
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
            "KSG, scores": Method(
                _scored(_bmi("KSGEnsembleFirstEstimator", seeded=False)),
                "neighbours",
                f"mean of 5 and 10 neighbours; {_SCORES}",
            ),
            "InfoNCE": Method(_bmi("InfoNCEEstimator"), "neural", _BMI),
            "InfoNCE, scores": Method(
                _scored(_bmi("InfoNCEEstimator")), "neural", f"{_BMI}; {_SCORES}", why_not=_TIME
            ),
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

    drawn = {}
    default, threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)  # two threads round a product in another order
    try:
        for name, problem in problems.beyond_gaussian().items():
            generator = torch.Generator().manual_seed(_stream(seed, name, 7))
            drawn[name] = [z.numpy() for z in problem.sample(count, generator)]
    finally:
        torch.set_default_dtype(default)
        torch.set_num_threads(threads)
    return _save(drawn, path)


def draw_tasks(count: int, seed: int, path: Path) -> dict:
    """The same for the 40 tasks of Beyond Normal, in a process that has benchmark-mi.

    Returns:
        truths: name of the task → its information in nats; digests: → sha256 of its samples.
    """
    import bmi

    drawn, truths = {}, {}
    for name, task in bmi.benchmark.BENCHMARK_TASKS.items():
        x, y = (np.asarray(z) for z in task.sample(count, _stream(seed, name, 3)))
        drawn[name], truths[name] = (x, y), float(task.mutual_information)
    return {"truths": truths, "digests": _save(drawn, path)}


def _stream(seed: int, name: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:size], "big")


def _save(drawn: dict, path: Path) -> dict[str, str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".partial.npz")
    np.savez(
        unfinished,
        **{f"{name} {k}": z for name, pair in drawn.items() for k, z in zip("xy", pair)},  # noqa: B905
    )
    unfinished.replace(path)
    return {name: digest(*pair) for name, pair in drawn.items()}


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


def metrics(rows: list[dict], truths: dict[str, float], seeds: list[int]) -> dict:
    """Median |error| over problems and the number solved, of each method, a value a seed."""
    from mlcpc.records import Metric

    found = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        medians, counts = [], []
        for seed in seeds:
            pairs = [(row["value"], truths[row["problem"]]) for row in rows
                     if row["method"] == method and row["seed"] == seed and "value" in row]
            errors = [abs(value - truth) for value, truth in pairs]
            medians.append(float(np.median(errors)) if errors else None)
            counts.append(sum(solved(*pair) for pair in pairs) if errors else None)
        if any(each is not None for each in medians):
            found[f"median |error| {method}"] = Metric("nats", medians)
            found[f"solved {method}"] = Metric("problems", counts)
    return found


def kept(folder: Path, header: dict, cell: dict, work: Callable[[dict], dict]) -> dict:
    """The result of a cell, from its file if an interrupted run of these settings left one."""
    from mlcpc import files

    path = folder / f"{files.checksum([header, cell])[:16]}.safetensors"
    if path.exists():
        return files.load_state(path)[1]["result"]
    result = work(cell)
    files.save_state(path, {}, {"result": result})
    return result


def make(options: argparse.Namespace) -> None:
    """Run the methods on every problem and seed, and write the record."""
    from mlcpc import estimation, files, problems, records

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
    folder = files.results() / ".peers"
    kind = "tasks" if options.tasks else "samples"
    paths = {seed: folder / f"{kind}-{options.count}-{seed}.npz" for seed in options.seeds}
    if options.tasks:
        drawn = {seed: tasks(options, seed, path) for seed, path in paths.items()}
        beyond = drawn[options.seeds[0]]["truths"]
        digests = {seed: each["digests"] for seed, each in drawn.items()}
    else:
        beyond = {name: each.mi for name, each in problems.beyond_gaussian().items()}
    names = [name for name in beyond if not options.problems or name in options.problems]
    if not names:
        raise ValueError(f"problems is {options.problems}; valid: {', '.join(beyond)}")
    if not options.tasks:
        digests = {seed: draw(options.count, seed, path) for seed, path in paths.items()}

    def work(cell: dict) -> dict:
        request = {
            **cell,
            "path": str(paths[cell["seed"]]),
            "sha256": digests[cell["seed"]][cell["problem"]],
        }
        found = worker.ask(request)
        said = next(found[key] for key in ("value", "failed", "skipped") if key in found)
        truth = beyond[cell["problem"]]
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
    header = {"count": options.count, "versions": worker.hello, "settings": settings}
    partial = folder / f"{options.package}.partial"
    done = [
        kept(partial, header | {"digests": digests[cell["seed"]]}, cell, work) for cell in cells
    ]
    worker.close()
    rows = [{**cell, **found} for cell, found in zip(cells, done, strict=True)]
    truths = {name: beyond[name] for name in names}
    whole = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
    provenance = records.provenance(
        sum(row.get("seconds", 0) for row in rows),
        {f"{options.count} samples a problem, seeds {options.seeds}": whole},
    )
    record = records.Record(
        name=options.name or _record_name(options),
        experiment="benchmarks/peers.py",
        version=1,
        profile="full" if options.count >= 10_000 and len(names) == len(beyond) else "quick",
        command=_command(options),
        config={
            "package": options.package,
            **({"estimate version": estimation.VERSION} if options.package == "mlcpc" else {}),
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
        metrics=metrics(rows, truths, options.seeds),
        arrays={"rows": rows, "truths": truths, "digests": digests[options.seeds[0]]},
        provenance=provenance | {"versions": worker.hello, "threads": 1},
    )  # fmt: skip
    print(f"wrote {records.write(record)}")


def tasks(options: argparse.Namespace, seed: int, path: Path) -> dict:
    """What :func:`draw_tasks` gives in the environment that ``--tasks`` names.

    Raises:
        ValueError: benchmark-mi is not there, or fails; with its last words.
    """
    words = [options.tasks, __file__, "--draw", str(options.count), str(seed), str(path)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"tasks is {options.tasks}, where {done.stderr.strip()[-200:]!r}; valid: "
                         "a Python with benchmark-mi")  # fmt: skip
    return json.loads(done.stdout)


def _record_name(options: argparse.Namespace) -> str:
    ours = options.package == "mlcpc"
    if options.tasks:
        return "beyond-normal" if ours else f"beyond-normal-{options.package}"
    return "beyond-gaussian" if ours else f"peers-{options.package}"


def _command(options: argparse.Namespace) -> str:
    words = ["python", "benchmarks/peers.py", options.package]
    if options.python != sys.executable:
        words += ["--python", "ENVIRONMENT/bin/python"]  # its place differs from machine to machine
    if options.tasks:
        words += ["--tasks", "ENVIRONMENT/bin/python"]
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
    if sys.argv[1:2] == ["--draw"]:
        count, seed, path = sys.argv[2:5]
        print(json.dumps(draw_tasks(int(count), int(seed), Path(path))))
        return None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", choices=list(PACKAGES))
    parser.add_argument("--python", default=sys.executable, help="its interpreter (ours)")
    parser.add_argument("--tasks", help="interpreter with benchmark-mi: its 40 tasks as problems")
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
