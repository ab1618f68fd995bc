"""What the live figures show of records, as one small script: a page may not fetch from a file.

Numbers are those of the records, rounded; means are over seeds.
"""

import json
from pathlib import Path

from project import RESULTS

TARGET = "live-data.js"
STAIRCASES = ("gaussian-separable", "gaussian-joint", "cubic-separable")
RIVALS = "rivals-gaussian-separable"
CHOOSING = "choosing-alpha"
POINTS = 100  # of a curve


def record(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def errors(found: dict, place: str, estimator: str, level: float) -> dict[str, list[float]]:
    """Bias and squared error of an estimator at a level, seed by seed."""
    return {kind: [round(value, 4) for value in
                   found["metrics"][f"{kind} {place}{estimator} at {level:g}"]["values"]]
            for kind in ("bias", "mse")}  # fmt: skip


def levels(found: dict, place: str, estimator: str) -> list[dict]:
    return [errors(found, place, estimator, level) for level in found["config"]["levels"]]


def about(found: dict, *keys: str) -> dict:
    """Settings that a figure says, and whether the record is long enough to conclude from."""
    return {key: found["config"][key] for key in keys} | {"profile": found["profile"]}


def curve(values: list, every: int) -> list[float | None]:
    return [None if each is None else round(each, 2) for each in values[every // 2 :: every]]


def staircase(name: str) -> dict:
    found = record(f"staircase-{name}")
    every = max(1, len(found["arrays"]["steps"]) // POINTS)
    return about(found, "levels", "batch", "steps", "seeds") | {
        "at": curve(found["arrays"]["steps"], every),
        "estimators": {
            each: {kind: curve(values, every)
                   for kind, values in found["arrays"]["curves"][each].items()}
            | {"levels": levels(found, "", each)}
            for each in found["config"]["estimators"]
        },
    }  # fmt: skip


def rivals() -> dict:
    from mlcpc import estimators

    found = record(RIVALS)
    batch = found["config"]["batch"]
    return about(found, "levels", "batch", "steps", "seeds") | {
        "estimators": {
            each: {"promise": estimators.promise(estimators.Estimator.parse(each), batch),
                   "levels": levels(found, "", each)}
            for each in found["config"]["estimators"]
        },
    }  # fmt: skip


def choosing() -> dict:
    """The estimators of the Gaussians in twenty dimensions, batch by batch."""
    found = record(CHOOSING)
    names = {key.split()[3] for key in found["metrics"] if " gaussian-20 " in key}
    return about(found, "levels", "seeds", "steps") | {
        "batches": {
            batch: {each: levels(found, f"gaussian-20 n={batch} ", each) for each in sorted(names)
                    if f"bias gaussian-20 n={batch} {each} at 2" in found["metrics"]}
            for batch in found["config"]["batches"]
        },
    }  # fmt: skip


def collect() -> dict:
    """All that there is a record of."""
    there = lambda name: (RESULTS / f"{name}.json").is_file()  # noqa: E731
    return {
        "staircases": {name: staircase(name) for name in STAIRCASES if there(f"staircase-{name}")},
        "rivals": rivals() if there(RIVALS) else None,
        "choosing": choosing() if there(CHOOSING) else None,
    }


def write(folder: Path) -> None:
    text = json.dumps(collect(), separators=(",", ":"))
    (folder / TARGET).write_text(f"const LIVE_DATA = {text};\n", encoding="utf-8")
