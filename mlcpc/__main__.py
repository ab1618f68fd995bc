"""Commands of the package: ``python -m mlcpc COMMAND``; ``--help`` lists them."""

import argparse
import ast
import inspect
import re
import shlex
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from mlcpc import distillation, estimation, exact, images, pretraining, probes, runs

# What the numbers of a record depend on, each with all that it uses.
CODE = {
    "boundary": ["exact", "runs.metric"],
    "staircase": ["estimation.staircase", "estimation.record", "runs.metric"],
    "pretrain": [
        *(f"pretraining.{name}" for name in ("pretrain", "evaluate", "floors", "record")),
        *("images.load", "runs.generator", "runs.metric"),
    ],
    "distill": [
        *(f"distillation.{name}" for name in ("distill", "classifier", "record")),
        *("images.load", "probes.shared_neighbours", "runs.generator", "runs.metric"),
    ],
}


# Commands that make a record -> their settings.
CONFIGS = {
    "boundary": exact.BoundaryConfig,
    "staircase": estimation.StaircaseConfig,
    "pretrain": pretraining.PretrainConfig,
    "distill": distillation.DistillConfig,
}


def parser() -> argparse.ArgumentParser:
    """Reads the arguments of every command."""
    parser = argparse.ArgumentParser(prog="python -m mlcpc", description=__doc__)
    # a shortened option would run, and a sweep would not see that it sets what a record differs in
    whole = partial(argparse.ArgumentParser, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=whole)
    boundary = commands.add_parser(
        "boundary", help="search the phase diagram of J − I and write its record"
    )
    add_config(boundary, CONFIGS["boundary"])
    boundary.add_argument("--name", help="name of the record (default: boundary)")
    staircase = commands.add_parser(
        "staircase", help="train critics while the information climbs and write the record"
    )
    add_config(staircase, CONFIGS["staircase"])
    staircase.add_argument("--device", default="cpu", help="cpu, cuda (default: cpu)")
    staircase.add_argument(
        "--save_every", type=int, default=500, help="steps between checkpoints (default: 500)"
    )
    staircase.add_argument(
        "--jobs", type=int, default=1, help="processes that share the seeds (default: 1)"
    )
    staircase.add_argument("--name", help="name of the record (default: staircase-TASK-CRITIC)")
    pretrain = commands.add_parser(
        "pretrain", help="train encoders on two views of images and write their record"
    )
    add_config(pretrain, CONFIGS["pretrain"])
    pretrain.add_argument("--device", default="cpu", help="cpu, cuda (default: cpu)")
    pretrain.add_argument("--data", help="folder of the images (default: where images.load looks)")
    pretrain.add_argument("--name", help="name of the record (default: pretrain-DATASET-OBJECTIVE)")
    distill = commands.add_parser(
        "distill", help="train students of a teacher, plain ones beside them, and write the record"
    )
    add_config(distill, CONFIGS["distill"])
    distill.add_argument("--device", default="cpu", help="cpu, cuda (default: cpu)")
    distill.add_argument("--data", help="folder of the images (default: where images.load looks)")
    distill.add_argument(
        "--name", help="name of the record (default: distill-DATASET-PAIR-OBJECTIVE)"
    )
    distill.add_argument(
        "--only",
        choices=distillation.PARTS,
        help="train these alone, leave them in results/weights and write no record, so that many "
        "jobs can share a record's work (default: all of them, and the record)",
    )
    probe = commands.add_parser(
        "probe", help="ask what the features of a pretrained encoder know of the labels"
    )
    probe.add_argument("weights", type=Path, help="file that pretrain left in results/weights")
    probe.add_argument("--dataset", help="name of the images (default: those of the pretraining)")
    probe.add_argument("--data", help="folder of the images (default: where images.load looks)")
    commands.add_parser("records", help="list the records, and those that the code has outgrown")
    carry = commands.add_parser(
        "carry", help="keep a stale record whose numbers a change of the code has not touched"
    )
    carry.add_argument("record", help="name of the record")
    carry.add_argument("--why", required=True, help="why no number changes, for the record's page")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run a command; bad input ends with a message and exit status 2."""
    options = parser().parse_args(arguments)
    try:
        run = {
            "boundary": _boundary,
            "staircase": _staircase,
            "pretrain": _pretrain,
            "distill": _distill,
            "probe": _probe,
            "records": _records,
            "carry": _carry,
        }
        with warnings.catch_warnings():
            # without the file and the line of code that Python names
            warnings.showwarning = lambda said, *_: print(f"warning: {said}", file=sys.stderr)
            run[options.command](options)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interruption:
        print(f"interrupted{interruption}", file=sys.stderr)
        return 130
    return 0


def add_config(parser: argparse.ArgumentParser, config: type) -> None:
    """Give a parser one option for each field of a config dataclass, with its default."""
    explained = _explained(config)
    for each in fields(config):
        default = each.default if each.default is not MISSING else None
        # bool("False") is True, so truth values are read as Python's literals, too.
        plain = isinstance(default, (int, float, str)) and not isinstance(default, bool)
        kind = type(default) if plain else ast.literal_eval
        parser.add_argument(
            f"--{each.name}",
            type=kind,
            default=default,
            help=f"{explained.get(each.name, '')} (default: {default})",
        )


def _explained(config: type) -> dict[str, str]:
    """What the docstring of a dataclass says of each field, over one line or more."""
    found, name = {}, None
    for line in inspect.cleandoc(config.__doc__ or "").splitlines():
        if starts := re.match(r"    (\w+): (.*)", line):
            name = starts[1]
            found[name] = starts[2]
        elif name and line.startswith(" " * 8):
            found[name] += " " + line.strip()
        else:
            name = None
    return found


def config_from(options: argparse.Namespace, config: type) -> Any:
    """The config dataclass filled with what the parser read."""
    return replace(config(), **{each.name: getattr(options, each.name) for each in fields(config)})


def command_of(name: str, config: Any) -> str:
    """The command that runs this configuration: what differs from the defaults is said."""
    changed = [
        f"--{key} {shlex.quote(str(value))}"
        for key, value in asdict(config).items()
        if value != getattr(type(config)(), key)
    ]
    return " ".join([f"python -m mlcpc {name}", *changed])


def _full_command(name: str, config: Any, options: argparse.Namespace) -> str:
    """The command with its device and the name of its record, where they are not the defaults."""
    command = command_of(name, config)
    for option in ("device", "name"):
        if (value := getattr(options, option, None)) not in (None, "cpu"):
            command += f" --{option} {shlex.quote(value)}"
    return command


def _hashes(train: images.ImageSet, test: images.ImageSet) -> dict[str, str]:
    """What a record says of its data."""
    named = zip(images.SPLITS, (train, test), strict=True)
    return {f"{each.name} {split}": each.sha256 for split, each in named}


@contextmanager
def _alone(name: str, config: Any) -> Iterator[Path]:
    """The scratch path of a run that no other process works on, removed after an orderly end."""
    scratch = runs.results() / f".{name}.partial"
    with runs.locked(runs.results() / f".{name}.lock"):
        runs.check_settings(name, config)
        try:
            yield scratch
        except KeyboardInterrupt:
            kept = scratch if scratch.exists() else scratch.parent  # before its first checkpoint
            raise KeyboardInterrupt(
                f": {kept} holds what is done; the same command goes on from here"
            ) from None
        if scratch.is_dir():
            shutil.rmtree(scratch)
        else:
            scratch.unlink(missing_ok=True)


def _boundary(options: argparse.Namespace) -> None:
    config = config_from(options, CONFIGS["boundary"])
    name = options.name or "boundary"
    runs.check_name(name)
    command = _full_command("boundary", config, options)
    cells = exact.boundary_cells(config)
    code = runs.code_hash(CODE["boundary"])
    begin = time.monotonic()

    def work(cell: dict) -> dict:
        start = time.monotonic()
        gap = exact.boundary_gap(cell, config)
        place = cells.index(cell) + 1
        print(f"[{place}/{len(cells)}] {cell} J - I {gap['gap']:+.2e} nats", flush=True)
        return {**gap, "seconds": time.monotonic() - start}

    with _alone(name, config) as scratch:
        done = runs.sweep(cells, work, scratch, {**asdict(config), "code": code})
        record = _boundary_record(name, command, config, cells, done, code, begin)
        print(f"wrote {runs.write(record)}")


def _boundary_record(
    name: str,
    command: str,
    config: exact.BoundaryConfig,
    cells: list[dict],
    done: list[dict],
    code: dict[str, str],
    begin: float,
) -> runs.Record:
    # A resumed run reports the seconds that its searches took, not those since it was resumed.
    seconds = max(sum(result["seconds"] for result in done), time.monotonic() - begin)
    rows = [
        [
            exact.DESIGNS.index(cell["design"]),
            cell["n"],
            cell["m"],
            cell["ratio"],
            cell["seed"],
            result["gap"],
        ]
        for cell, result in zip(cells, done, strict=True)
    ]
    # Rows are [design, n, m, ratio, seed, gap]; the largest gap of each seed where α ≥ α_min.
    inside = [
        max((row[-1] for row in rows if row[3] >= 1 and row[4] == seed), default=0.0)
        for seed in config.seeds
    ]
    return runs.Record(
        name=name,
        chapter="06_boundary",
        profile="full",
        command=command,
        config=asdict(config),
        seeds=list(config.seeds),
        metrics={"largest J - I at or above alpha_min": runs.metric(inside, "nats")},
        arrays={"rows": rows},
        provenance=runs.provenance(code, seconds),
    )


def _staircase(options: argparse.Namespace) -> None:
    config = config_from(options, CONFIGS["staircase"])
    name = options.name or f"staircase-{config.task}-{config.critic}"
    runs.check_name(name)
    code = runs.code_hash(CODE["staircase"])
    command = _full_command("staircase", config, options)
    with _alone(name, config) as scratch:
        curves = estimation.staircase(
            config, options.device, scratch, options.save_every, progress=True, jobs=options.jobs
        )
        record = estimation.record(curves, name, command, code, options.device)
        print(f"wrote {runs.write(record)}")
    for line in record.arrays["warnings"]:
        print(f"    {line}")


def _pretrain(options: argparse.Namespace) -> None:
    config = config_from(options, CONFIGS["pretrain"])
    name = options.name or f"pretrain-{config.dataset}-{config.objective.replace('_', '-')}"
    runs.check_name(name)
    code = runs.code_hash(CODE["pretrain"])
    accelerator = pretraining.accelerator_for(config, options.device)
    train, test = (images.load(config.dataset, each, options.data) for each in images.SPLITS)

    def trained(scratch: Path) -> list[pretraining.Pretrained]:
        return [
            pretraining.pretrain(config, seed, train, test, accelerator, scratch, progress=True)
            for seed in config.seeds
        ]

    if not accelerator.is_main_process:  # the main process holds the lock for all ranks
        trained(runs.results() / f".{name}.partial")
        return
    print(train, test, sep="\n")
    with _alone(name, config) as scratch:
        done = trained(scratch)
        found = {"trained": []}
        for each in done:
            both = (
                pretraining.features(each.encoder.network, part, train) for part in (train, test)
            )
            found["trained"].append(pretraining.evaluate(*both, train, test, each.seed))
            weights = runs.results() / "weights" / f"{name}-seed-{each.seed}.safetensors"
            pretraining.save(weights, each, config, train.images.shape[1])
            print(f"wrote {weights}")
        found |= pretraining.floors(config, train, test)
        _print_probes(found)
        command = _full_command("pretrain", config, options)
        if (ranks := accelerator.num_processes) > 1:
            launcher = f"torchrun --standalone --nproc_per_node {ranks} -m"
            command = command.replace("python -m", launcher, 1)
        data = _hashes(train, test)
        record = pretraining.record(config, done, found, name, command, code, data, options.device)
        print(f"wrote {runs.write(record)}")


def _distill(options: argparse.Namespace) -> None:
    config = config_from(options, CONFIGS["distill"])
    name = options.name or "-".join(
        ["distill", config.dataset, config.pair.lower(), config.objective.replace("_", "-")]
    )
    runs.check_name(name)
    code = runs.code_hash(CODE["distill"])
    train, test = (images.load(config.dataset, each, options.data) for each in images.SPLITS)
    print(train, test, sep="\n")
    if config.rab[2] > 0:
        distillation.other_classes(config, train.labels)
    weights = runs.results() / "weights"
    how = {"device": options.device, "progress": True}

    def kept(
        config: distillation.DistillConfig, network: str, seed: int
    ) -> distillation.Classifier:
        return distillation.classifier(config, network, seed, train, test, weights, **how)

    def teacher_of() -> distillation.Classifier:
        return kept(config.of_teacher(), config.teacher, config.teacher_seed)

    def plain_of() -> list[distillation.Classifier]:
        return [kept(config, config.student, seed) for seed in config.seeds]

    def students_of(teacher: distillation.Classifier) -> list[distillation.Classifier]:
        paths = [weights / distillation.student_file(name, seed) for seed in config.seeds]
        return [
            distillation.distill(config, seed, teacher.network, train, test, path=path, **how)
            for seed, path in zip(config.seeds, paths, strict=True)
        ]

    if options.only is not None:
        parts = {
            "teacher": teacher_of,
            "plain": plain_of,
            "students": lambda: students_of(teacher_of()),
        }
        parts[options.only]()
        return
    unseen = images.normalise(test.images, train.mean, train.std)
    with _alone(name, config):
        teacher = teacher_of()
        known = probes.features_of(teacher.network, unseen)  # before it moves to the device
        plain = plain_of()
        for line in distillation.doubts(teacher, plain):
            print(f"warning: {line}", flush=True)
        students = students_of(teacher)
        shared = {
            of: [
                probes.shared_neighbours(
                    probes.features_of(each.network, unseen), known, test.labels
                )
                for each in trained
            ]
            for of, trained in (("student", students), ("plain student", plain))
        }
        command = _full_command("distill", config, options)
        data = _hashes(train, test)
        record = distillation.record(
            config, students, plain, teacher, shared, name, command, code, data, options.device
        )
        for key, found in record.metrics.items():
            print(f"{key:45}", *(f"{value:.4f}" for value in found["values"]))
        print(f"wrote {runs.write(record)}")


def _probe(options: argparse.Namespace) -> None:
    encoder, config = pretraining.load(options.weights)
    name = options.dataset or config.dataset
    train, test = (images.load(name, each, options.data) for each in images.SPLITS)
    print(train, test, sep="\n")
    both = (pretraining.features(encoder.network, part, train) for part in (train, test))
    found = {"trained": [pretraining.evaluate(*both, train, test, config.seeds[0])]}
    _print_probes(found | pretraining.floors(config, train, test))


def _print_probes(found: dict[str, list[dict[str, float]]]) -> None:
    for features_of, of_seeds in found.items():
        for each in of_seeds:
            print(f"{features_of:10}", *(f"{kind} {value:.4f}" for kind, value in each.items()))


def _records(options: argparse.Namespace) -> None:
    for path in sorted(runs.results().glob("*.json")):
        record = runs.read(path.stem)
        changed = runs.stale(record)
        carried = record.provenance.get("carried")
        state = "carried to this code" if carried else "fits the code"
        if changed:
            state = f"stale: {', '.join(changed)} changed"
        print(f"{record.name}  {record.profile}  {len(record.seeds)} seeds  {state}")
        print(f"    {record.command}")


def _carry(options: argparse.Namespace) -> None:
    print(f"wrote {runs.write(runs.carried(runs.read(options.record), options.why))}")


if __name__ == "__main__":
    sys.exit(main())
