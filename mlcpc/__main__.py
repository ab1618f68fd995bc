"""Mutual information by multi-label contrastive predictive coding."""

import argparse
import sys
import warnings
from pathlib import Path

import mlcpc
from mlcpc import config, estimate_command, files, records
from mlcpc.experiments import base, sweeps

OLD = ("boundary", "staircase", "pretrain", "distill")  # commands of version 0.1, now `run NAME`
SUMMARY = "Bounds on mutual information by multi-label contrastive predictive coding, in nats."


def parser() -> argparse.ArgumentParser:
    """The parser of everything but the settings of an experiment."""
    parser = argparse.ArgumentParser(prog="mlcpc", description=SUMMARY, epilog=base.WHERE)
    parser.add_argument("--version", action="version", version=f"mlcpc {mlcpc.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    estimate = commands.add_parser("estimate", help="the information between columns of a file")
    estimate_command.add_arguments(estimate)
    run = commands.add_parser(
        "run", help="run an experiment and write its record", add_help=False, allow_abbrev=False
    )
    run.add_argument("experiment", nargs="?")
    sweep = commands.add_parser("sweep", help="run the grid of a file of sweeps on this machine")
    sweep.add_argument("file", type=Path, help="such as workflow/sweeps.yaml")
    sweep.add_argument("sweep", help="name of a sweep in the file")
    sweep.add_argument("--dry-run", action="store_true", help="only list the runs")
    probe = commands.add_parser("probe", help="ask what a pretrained encoder knows of the labels")
    probe.add_argument("weights", type=Path, help="file that `mlcpc run pretrain` left")
    probe.add_argument("--dataset", help="name of the images (default: those of the pretraining)")
    probe.add_argument("--data", help="folder of the images (default: where datasets.load looks)")
    commands.add_parser("records", help="list the records and whether they are current")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run a command; bad input ends with a message and exit status 2."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] and words[0] in OLD:
        words.insert(0, "run")
    with warnings.catch_warnings():
        # without the file and the line of code that Python names
        warnings.showwarning = lambda said, *_: print(f"warning: {said}", file=sys.stderr)
        try:
            _dispatch(words)
        except BrokenPipeError:  # whoever read the output has seen enough
            return 0
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "alloc" not in str(error).lower():
                raise
            print("error: not enough memory for these settings", file=sys.stderr)
            return 2
        except (ValueError, OSError, ImportError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt as interruption:
            print(f"interrupted{interruption}", file=sys.stderr)
            return 130
    return 0


def _dispatch(words: list[str]) -> None:
    if words[:1] == ["run"]:
        return _run(words[1:])
    options = parser().parse_args(words)
    {"estimate": estimate_command.run, "sweep": _sweep, "probe": _probe, "records": _records}[
        options.command
    ](options)


def _run(words: list[str]) -> None:
    """``mlcpc run EXPERIMENT …``: the settings are those of the experiment's config."""
    if not words or words[0] in ("-h", "--help"):
        print("usage: mlcpc run EXPERIMENT [settings]; mlcpc run EXPERIMENT --help lists them\n")
        for name in base.names():
            print(f"  {name.replace('_', '-'):<18}{base.find(name).summary}")
        print("  path/to/file.py   an experiment of your own\n\n" + base.WHERE)
        return
    experiment = base.find(words[0])
    options = base.parser(experiment, words[0]).parse_args(words[1:])
    found = config.from_arguments(options, experiment.Config)
    job = base.job_for(found, options.device, options.data, progress=True)
    if job.train is not None:
        print(job.train, job.test, sep="\n", flush=True)
    source = words[0] if words[0].endswith(".py") else ""
    base.perform(experiment, found, job, options.name, options.jobs, options.cells, source)


def _sweep(options: argparse.Namespace) -> None:
    runs = sweeps.read(options.file, files.results())
    if options.sweep not in runs:
        config.refuse("sweep", options.sweep, ", ".join(runs))
    for name, arguments in runs[options.sweep].items():
        there = (files.results() / f"{name}.json").is_file()
        print(f"{name}: {'there' if there else f'mlcpc {arguments}'}", flush=True)
        if not there and not options.dry_run:
            _run(sweeps.words(arguments)[1:])


def _probe(options: argparse.Namespace) -> None:
    from mlcpc.experiments import pretrain

    pretrain.probe(options.weights, options.dataset, options.data)


def _records(options: argparse.Namespace) -> None:
    found = records.read_all()
    if not found:
        print(f"no records in {files.results()}")
    for record in found.values():
        seeds = f"{len(record.seeds)} seed{'s' * (len(record.seeds) != 1)}"
        print(f"{record.name}  {record.profile}  {seeds}  {base.state(record)}")
        print(f"    {record.command}")


if __name__ == "__main__":
    sys.exit(main())
