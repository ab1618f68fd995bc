"""The records of long runs as pages: one that lists them all, and one for each.

Statistics are derived here, at every build, and so is whether a record is of the current version.
"""

import shutil

import dependencies
from project import REGISTRY, RESULTS, Refusal, main, names, replacing

from mlcpc import records as stored
from mlcpc import statistics
from mlcpc.experiments import base

COLUMNS = ["Record", "State", "Chapter", "Profile", "Device", "Seeds", "Made on"]


def number(value: float) -> str:
    return f"{value:.4g}"


def code(text: object) -> str:
    """Inline code; no text of ours holds a backtick."""
    return f"`{text}`" if str(text) else ""


def table(columns: list[str], rows: list[list[str]], name: str) -> str:
    """A list table, or a word where it would be empty; the class is for styles and scripts."""
    if not rows:
        return "None."
    lines = ["* - " + "\n  - ".join(cells) for cells in [columns, *rows]]
    return "\n".join([":::{list-table}", ":header-rows: 1", f":class: {name}", "", *lines, ":::"])


def size(array: object) -> str:
    """Shape of nested lists as 5 × 10; what is no list is one value."""
    sizes = []
    while isinstance(array, list):
        sizes.append(len(array))
        array = array[0] if array else None
    return " × ".join(map(str, sizes)) or "1"


def at_commit(commit: str | None) -> str:
    """Which code the command runs, as far as the record knows."""
    if not commit:
        return "Made at a commit that the record does not know:"
    if commit.endswith("-dirty"):
        return (
            f"Made near commit {code(commit.removesuffix('-dirty'))}: when the run began, some "
            "files were not those of the commit. "
            "The command is spelled as the present version takes it:"
        )
    return (f"Made at commit {code(commit)}. "
            "The command is spelled as the present version takes it:")


def placeholder(command: str) -> list[str]:
    """What a word of the command stands for that no other machine has."""
    if "ENVIRONMENT" not in command:
        return []
    return ["`ENVIRONMENT` is a folder with the other package in an environment of its own, "
            f"see the head of {code(command.split()[1])}.", ""]


def readers() -> dict[str, list[str]]:
    """Name of a record -> notebooks that read it."""
    found = {}
    for name in names():
        for path in dependencies.of(name)[1]:
            found.setdefault(path.stem, []).append(name)
    return found


def chapters(record, pages: dict[str, list[str]], up: str) -> str:
    """Links to the pages that show the record."""
    shown = [f"[{name}]({up}/chapters/{name}.ipynb)" for name in pages.get(record.name, [])]
    return "; ".join(shown) or "no page"


def row(record, pages: dict[str, list[str]]) -> list[str]:
    where = record.provenance
    return [
        f"[{record.name}](records/{record.name}.md)", base.state(record),
        chapters(record, pages, ".."), record.profile, where["device"], str(len(record.seeds)),
        where.get("date") or "unknown",
    ]


def metric_row(name: str, metric) -> list[str]:
    shown = ["none" if value is None else number(value) for value in metric.values]
    if not metric.numbers:
        return [code(name), "none", "none", "none", metric.unit, ", ".join(shown)]
    found = statistics.summary(metric)
    interval = "one value"
    if found.interval:
        interval = f"[{number(found.interval[0])}, {number(found.interval[1])}]"
    return [code(name), number(found.mean), interval,
            number(found.detectable) if found.detectable else "none", metric.unit,
            ", ".join(shown)]


def page(record, pages: dict[str, list[str]]) -> str:
    """The page of one record."""
    where, state = record.provenance, base.state(record)
    lines = [f"# {record.name}", ""]
    if state.startswith("stale"):
        lines += [":::{warning}", f"This record is {state}. The numbers below are those of the "
                  "older version.", ":::", ""]
    lines += [
        f"Shown in {chapters(record, pages, '../..')}, profile {code(record.profile)}. "
        f'The record itself: <a href="../../_static/records/{record.name}.json">'
        f"{record.name}.json</a>. [All records](../records.md).", "",
        "## Make it again", "",
        at_commit(where.get("commit")), "",
        "```sh", record.command, "```", "", *placeholder(record.command),
        f"It took {where['wall_seconds'] / 60:.1f} minutes of work on {where['device']}.", "",
        "## Configuration", "",
        table(["Setting", "Value"],
              [[code(key), code(value)] for key, value in sorted(record.config.items())],
              "record-config"), "",
        f"Seeds: {', '.join(map(str, record.seeds))}.", "",
        "## Metrics", "",
        "Mean, 95 of 100 interval of the mean by Student's t, and the difference from zero that so "
        "many values of this spread would show with probability 0.8. All three are computed when "
        "this page is made, from the values in the last column.", "",
        table(["Metric", "Mean", "Interval", "Detectable", "Unit", "Values"],
              [metric_row(*each) for each in sorted(record.metrics.items())],
              "record-metrics"), "",
        "## Where it comes from", "",
        table(["What", "Which"], provenance_rows(record), "record-provenance"), "",
    ]
    return "\n".join(lines)


def provenance_rows(record) -> list[list[str]]:
    where = record.provenance
    return [
        ["Device", where["device"]], ["Threads", str(where.get("threads", "unknown"))],
        *([["Processes", str(where["processes"])]] if where.get("processes", 1) > 1 else []),
        ["Made on", where.get("date") or "unknown"], ["Commit", code(where.get("commit"))],
        *[[f"Version of {name}", code(each)] for name, each in sorted(where["versions"].items())],
        *[[f"Data: {name}", code(digest[:12])] for name, digest in
          sorted((where.get("data") or {}).items())],
        ["Experiment", f"{code(record.experiment)}, version {record.version}"],
        *[[f"Array: {code(name)}", size(array)] for name, array in sorted(record.arrays.items())],
    ]


def listing(records: list, pages: dict[str, list[str]]) -> str:
    """The page of all records."""
    old = sum(base.state(record).startswith("stale") for record in records)
    return "\n".join([
        "# Records", "",
        "Numbers that take long to make were made once and kept, each run as one record. "
        "A record says what was run, on what, and every value that came out. "
        "This page is made from the records at every build.", "",
        f"Records: {len(records)}. Stale, since their experiment has a newer version: {old}.", "",
        table(COLUMNS, [row(record, pages) for record in records], "records"), "",
    ])


def write() -> None:
    try:
        records = list(stored.read_all(folder=RESULTS).values())
    except ValueError as error:
        raise Refusal(f"a record can not be read: {error}") from None
    pages = readers()
    folder = REGISTRY.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
    for record in records:
        with replacing(folder / f"{record.name}.md") as scratch:
            scratch.write_text(page(record, pages))
    with replacing(REGISTRY) as scratch:
        scratch.write_text(listing(records, pages))


if __name__ == "__main__":
    main(write)
