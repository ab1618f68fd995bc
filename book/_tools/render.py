"""Build the site from the executed notebooks: clean, every warning an error, swapped in at the end.
"""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import finish
import livedata
from project import RESULTS, SITE, Refusal, main, plain, say

SCRATCH = Path("book/_build/scratch")
RECORDS = Path("book/_static/records")


def copy_records() -> None:
    """The records that captions link to, as files of the site, and what live figures show."""
    shutil.rmtree(RECORDS, ignore_errors=True)
    RECORDS.mkdir(parents=True)
    for record in RESULTS.glob("*.json"):
        shutil.copy(record, RECORDS)
    livedata.write(RECORDS)


def build() -> None:
    started = time.monotonic()
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.rmtree(SCRATCH, ignore_errors=True)
    copy_records()
    # --all: an incremental build does not repeat the warnings of unchanged pages.
    done = subprocess.run(
        [Path(sys.executable).with_name("jupyter-book"), "build", "book",
         "--config", "_config.yml", "--toc", Path("_toc.yml").resolve(),
         "--path-output", SCRATCH, "-W", "-n", "--keep-going", "--all"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    log = plain(done.stdout)
    print(log)
    if done.returncode:
        # MyST-NB writes cell 13, line 26 as line 130026.
        log = re.sub(r"(\.ipynb):(\d+)(\d{4}): ",
                     lambda found: f"{found[1]}, cell {found[2]}, line {int(found[3])}: ", log)
        faults = re.findall(r"^.*(?:WARNING|ERROR|CRITICAL|Error:).*$", log, re.MULTILINE)
        raise Refusal("the site has faults\n" + "\n".join(faults or log.splitlines()[-20:]))
    finish.finish(SCRATCH / "_build/html")
    (SCRATCH / "_build/html").rename(SITE)
    shutil.rmtree(SCRATCH)
    say(f"site {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main(build)
