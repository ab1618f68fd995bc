"""The tests of self-consistency on images, as a record that chapter 12 shows.

    python benchmarks/self_consistency.py                write results/self-consistency.json
    python benchmarks/self_consistency.py --help         what can be changed

About forty minutes of one core. A run that was killed goes on with the same command.
"""

import argparse
import math
import sys
import time
from dataclasses import asdict

from mlcpc import __main__ as commands
from mlcpc import consistency, images, runs

CODE = ["benchmarks/self_consistency.write", "runs.metric"]


def main(arguments: list[str] | None = None) -> int:
    """Train what the options say, cell by cell, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands.add_config(parser, consistency.ConsistencyConfig)
    parser.add_argument("--name", default="self-consistency", help="name of the record")
    options = parser.parse_args(arguments)
    try:
        config = commands.config_from(options, consistency.ConsistencyConfig)
        write(config, options.name)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def write(config: consistency.ConsistencyConfig, name: str) -> None:
    """Work through the cells and write the record; finished cells are kept on the way."""
    code = runs.code_hash(CODE)
    data = images.load(config.data)
    print(data)
    cells = consistency.cells(config)
    scratch = runs.results() / f".{name}.partial"

    def work(cell: dict) -> dict:
        begin = time.monotonic()
        problem = consistency.problem(cell, data)
        estimators = consistency.estimators_of(cell, config)
        values = consistency.train(problem, estimators, config).tolist()
        values = [[None if math.isnan(each) else each for each in seed] for seed in values]
        seconds = time.monotonic() - begin
        print(f"[{cells.index(cell) + 1}/{len(cells)}] {cell}, {seconds:.0f} s", flush=True)
        return {"values": values, "truth": problem.mi, "seconds": seconds}

    done = runs.sweep(cells, work, scratch, {**asdict(config), "code": code, "data": data.sha256})
    command = commands.command_of("", config).replace(
        "python -m mlcpc ", "python benchmarks/self_consistency.py"
    )
    if name != "self-consistency":
        command += f" --name {name}"
    record = consistency.record(config, done, name, command, code, data)
    print(f"wrote {runs.write(record)}")
    scratch.unlink()


if __name__ == "__main__":
    sys.exit(main())
