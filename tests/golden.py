"""Golden numbers: what a tiny run of every experiment gives, at the version that gave it.

    python tests/golden.py        write tests/golden/*.json, after a wanted change of numbers

A change of numbers needs a higher ``version`` in the experiment's file, so that records made
before are shown as stale. Runs are in double precision, and linear probes end close to their
minimum: else processors, which round differently, recognise an image more or less within a few
steps. Numbers are compared to a relative 1e-5.
"""

import json
import math
import sys
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"
RELATIVE = 1e-5


def numbers(experiment) -> dict:
    """Version, and values of every metric of the tiny config."""
    from mlcpc.experiments import base

    with _insensitive_to_rounding():
        job = base.job_for(experiment.tiny)
        results = base.results_of(experiment, experiment.tiny, job)
    found = experiment.metrics(experiment.tiny, results)
    values = {name: list(metric.values) for name, metric in sorted(found.items())}
    return {"version": experiment.version, "values": values}


@contextmanager
def _insensitive_to_rounding():
    import torch

    from mlcpc import probes

    before = torch.get_default_dtype(), probes.TOLERANCE
    torch.set_default_dtype(torch.float64)
    probes.TOLERANCE = 1e-6
    try:
        yield
    finally:
        torch.set_default_dtype(before[0])
        probes.TOLERANCE = before[1]


def fault(name: str, kept: dict, now: dict) -> str:
    """What is wrong, in a sentence; empty if nothing is."""
    if kept["version"] != now["version"]:
        return f"version of {name} is {now['version']}, its golden numbers are of {kept['version']}"
    if kept["values"].keys() != now["values"].keys():
        odd = min(kept["values"].keys() ^ now["values"].keys())
        return f"metric {odd!r} of {name} came or went: raise `version`, run make golden"
    for metric, values in kept["values"].items():
        for one, two in zip(values, now["values"][metric], strict=True):
            same = one == two or (
                None not in (one, two) and math.isclose(one, two, rel_tol=RELATIVE, abs_tol=1e-9)
            )
            if not same:
                return (f"{metric!r} of {name} was {one} and is {two}: if that is wanted, raise "
                        "`version` in its file and run make golden")  # fmt: skip
    return ""


if __name__ == "__main__":
    from mlcpc.experiments import base

    for name in [each.replace("-", "_") for each in sys.argv[1:]] or base.names():
        FOLDER.mkdir(exist_ok=True)
        text = json.dumps(numbers(base.find(name)), indent=1)
        (FOLDER / f"{name}.json").write_text(text + "\n")
        print(FOLDER / f"{name}.json")
