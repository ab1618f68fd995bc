"""`make book`: check the request, run Snakemake, show a line per notebook, print path and minutes.

Snakemake's own output goes to book/_build/build.log.
"""

import argparse
import fcntl
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from project import MARK, SITE, Refusal, check_profile, main, names

LOG = Path("book/_build/build.log")
# Held by Snakemake's process while it lives, so that a killed build never blocks the next one.
LOCK = Path("book/_build/build.lock")
SLOTS = 2  # notebooks at a time: each runs on one thread


def chosen(notebook: str) -> str:
    """The notebook's name, from `ml_cpc`, `ml_cpc.md` or `notebooks/ml_cpc.md`."""
    name = Path(notebook).name.removesuffix(".md").removesuffix(".ipynb")
    if name and name not in names():
        raise Refusal(f"unknown notebook {notebook!r}; notebooks: {', '.join(names())}")
    return name


def command(profile: str, name: str) -> list[str]:
    """Snakemake's command line."""
    line = [
        sys.executable, "-m", "snakemake", "--workflow-profile", "none",
        "--nolock", "--rerun-incomplete", "--keep-going",
        "--cores", str(max(SLOTS, os.cpu_count() or 1)), "--resources", f"notebooks={SLOTS}",
        "--config", f"profile={profile}", f"notebook={name}", "sweeps=none",
    ]
    return line + (["--forcerun", f"book/chapters/{name}.ipynb"] if name else [])


def follow(lines, log) -> list[str]:
    """Show progress while it happens; return what the tools said besides."""
    total, done, said = 0, 0, []
    for line in lines:
        log.write(line)
        log.flush()
        count = re.match(r"chapter +(\d+)$", line)  # in Snakemake's table of jobs
        total = int(count.group(1)) if count else total
        if not line.startswith(MARK):
            continue
        text = line.removeprefix(MARK).rstrip("\n")
        finished = re.fullmatch(r"done (\S+) (\d+)", text)
        if finished:
            done += 1
            text = f"[{done}/{total}] {finished.group(1)} {finished.group(2)} s"
        said.append(text)
        print(text, flush=True)
    return said


def explain(log: str) -> str:
    """What to tell when Snakemake failed and no tool of ours said why."""
    # Raised by the Snakefile itself, before any job.
    refusal = re.search(r"^Refusal in file .*:\n(.*)$", log, re.MULTILINE)
    if refusal:
        return f"error: {refusal.group(1)}"
    if "Errno 28" in log or "No space left" in log:
        return "no space left on the disk"
    if "Errno 30" in log or "Read-only file system" in log or "Permission denied" in log:
        return "a folder of the book can not be written"
    return "\n".join(log.splitlines()[-30:])


def build(profile: str, notebook: str) -> None:
    started = time.monotonic()
    check_profile(profile)
    name = chosen(notebook)
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with open(LOCK, "w") as lock, open(LOG, "w+") as log:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refusal("another build is running in this folder; wait for it to end") from None
        running = subprocess.Popen(
            command(profile, name), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            pass_fds=[lock.fileno()],
            # The package of this folder, whichever one is installed.
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()},
        )
        try:
            said = follow(running.stdout, log)
        finally:
            failed = running.wait()
        if failed and not any(text.startswith("error:") for text in said):
            log.seek(0)
            print(explain(log.read()))
        if failed:
            raise Refusal(f"the book was not built; the full log is {LOG}")
    minutes = (time.monotonic() - started) / 60
    state = f"built in {minutes:.1f} minutes" if said else "up to date, nothing to do"
    print(f"{SITE.resolve() / 'index.html'}  ({state})")


def command_line() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--notebook", default="")
    options = parser.parse_args()
    build(options.profile, options.notebook)


if __name__ == "__main__":
    main(command_line, speak=print)
