"""The records of long runs as pages: one that lists them all, and one for each.

Whether the code of a record has changed since is computed here, at every build.
"""

import re
import shutil
from pathlib import Path

from project import REGISTRY, RESULTS, Refusal, main, replacing

from mlcpc import runs

COLUMNS = ["Record", "Chapter", "Profile", "Device", "Seeds", "Made on", "State"]


def number(value: float) -> str:
    return f"{value:.4g}"


def code(text: object) -> str:
    """Inline code; no text of ours holds a backtick."""
    return f"`{text}`" if str(text) else ""


def table(columns: list[str], rows: list[list[str]], name: str) -> str:
    """A list table; the class names it for styles and scripts."""
    lines = ["* - " + "\n  - ".join(cells) for cells in [columns, *rows]]
    return "\n".join([":::{list-table}", ":header-rows: 1", f":class: {name}", "", *lines, ":::"])


def size(array: object) -> str:
    """Shape of nested lists as 5 × 10; what is no list is one value."""
    sizes = []
    while isinstance(array, list):
        sizes.append(len(array))
        array = array[0] if array else None
    return " × ".join(map(str, sizes)) or "1"


def state(record) -> str:
    changed = runs.stale(record)
    return f"stale: {', '.join(map(code, changed))}" if changed else "fits the code"


def chapter(record, pages: set[str], up: str) -> str:
    """A link to the page that shows the record, once the book has that page."""
    page = f"chapters/{record.chapter}"
    return f"[{record.chapter}]({up}/{page}.ipynb)" if page in pages else record.chapter


def row(record, pages: set[str]) -> list[str]:
    where = record.provenance
    return [
        f"[{record.name}](records/{record.name}.md)", chapter(record, pages, ".."), record.profile,
        where["device"], str(len(record.seeds)), where.get("date") or "unknown", state(record),
    ]


def metric_row(name: str, metric: dict) -> list[str]:
    interval = metric["interval"]
    return [
        code(name), number(metric["mean"]),
        f"[{number(interval[0])}, {number(interval[1])}]" if interval else "one value",
        metric["unit"], ", ".join(map(number, metric["values"])),
    ]


def page(record, pages: set[str]) -> str:
    """The page of one record."""
    where, changed = record.provenance, runs.stale(record)
    lines = [f"# {record.name}", ""]
    if changed:
        lines += [
            ":::{warning}",
            f"Stale: {', '.join(map(code, changed))} changed after this record was made. "
            "The numbers below are those of the older code.", ":::", "",
        ]
    lines += [
        f"Shown in {chapter(record, pages, '../..')}, profile {code(record.profile)}. "
        f'The record itself: <a href="../../_static/records/{record.name}.json">'
        f"{record.name}.json</a>. [All records](../records.md).", "",
        "## Make it again", "",
        f"At commit {code(where.get('commit') or 'unknown')}:", "",
        "```sh", record.command, "```", "",
        f"It took {where['wall_seconds'] / 60:.1f} minutes of work on {where['device']}.", "",
        "## Configuration", "",
        table(["Setting", "Value"],
              [[code(key), code(value)] for key, value in sorted(record.config.items())],
              "record-config"), "",
        f"Seeds: {', '.join(map(str, record.seeds))}.", "",
        "## Metrics", "",
        "Mean over seeds, with a bootstrap interval of the mean that covers 95 of 100.", "",
        table(["Metric", "Mean", "Interval", "Unit", "Each seed"],
              [metric_row(*each) for each in sorted(record.metrics.items())],
              "record-metrics"), "",
        "## Where it comes from", "",
        table(["What", "Which"], provenance_rows(record, changed), "record-provenance"), "",
    ]
    return "\n".join(lines)


def provenance_rows(record, changed: list[str]) -> list[list[str]]:
    where = record.provenance
    return [
        ["Device", where["device"]], ["Threads", str(where.get("threads", "unknown"))],
        ["Made on", where.get("date") or "unknown"], ["Commit", code(where.get("commit"))],
        *[[f"Version of {name}", code(each)] for name, each in sorted(where["versions"].items())],
        *[[f"Data: {name}", code(digest[:12])] for name, digest in
          sorted((where.get("data") or {}).items())],
        *[[f"Code: {code(name)}",
           code(digest[:12]) + (", changed since" if name in changed else "")]
          for name, digest in sorted(where["code"].items())],
        *[[f"Array: {code(name)}", size(array)] for name, array in sorted(record.arrays.items())],
    ]


def listing(records: list, pages: set[str]) -> str:
    """The page of all records."""
    old = sum(bool(runs.stale(record)) for record in records)
    return "\n".join([
        "# Records", "",
        "Numbers that take long to make were made once and kept, each run as one record. "
        "A record says what was run, on what, and what came out. "
        "This page is made from the records at every build.", "",
        f"Records: {len(records)}. Stale, since their code has changed after them: {old}.", "",
        table(COLUMNS, [row(record, pages) for record in records], "records"), "",
    ])


def pages_of(toc: str) -> set[str]:
    """Pages that the table of contents names."""
    return set(re.findall(r"^\s*- file: (\S+)$", toc, re.MULTILINE))


def write() -> None:
    try:
        records = [runs.read(path.stem) for path in sorted(RESULTS.glob("*.json"))]
    except ValueError as error:
        raise Refusal(f"a record can not be read: {error}") from None
    pages = pages_of(Path("_toc.yml").read_text())
    folder = REGISTRY.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
    for record in records:
        with replacing(folder / f"{record.name}.md") as scratch:
            scratch.write_text(page(record, pages))
    with replacing(REGISTRY) as scratch:
        scratch.write_text(listing(records, pages))


if __name__ == "__main__":
    main(write)
