"""The records of long runs as pages: one that lists them all, and one for each.

Whether the code of a record has changed since is computed here, at every build.
"""

import shutil

import dependencies
from project import REGISTRY, RESULTS, Refusal, main, names, replacing

from mlcpc import runs

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


def state(record) -> str:
    changed = runs.stale(record)
    if changed:
        return f"stale: {', '.join(map(code, changed))}"
    return "carried to this code" if record.provenance.get("carried") else "fits the code"


def at_commit(commit: str | None) -> str:
    """Which code the command runs, as far as the record knows."""
    if not commit:
        return "At a commit that the record does not know:"
    if commit.endswith("-dirty"):
        return (
            f"Near commit {code(commit.removesuffix('-dirty'))}: when the run began, some files "
            "were not those of the commit."
        )
    return f"At commit {code(commit)}:"


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
    """Links to the pages that show the record; the page it was made for, if none does."""
    shown = [f"[{name}]({up}/chapters/{name}.ipynb)" for name in pages.get(record.name, [])]
    return "; ".join(shown) or record.chapter


def row(record, pages: dict[str, list[str]]) -> list[str]:
    where = record.provenance
    return [
        f"[{record.name}](records/{record.name}.md)", state(record),
        chapters(record, pages, ".."), record.profile, where["device"], str(len(record.seeds)),
        where.get("date") or "unknown",
    ]


def metric_row(name: str, metric: dict) -> list[str]:
    interval = metric["interval"]
    return [
        code(name), number(metric["mean"]),
        f"[{number(interval[0])}, {number(interval[1])}]" if interval else "one value",
        metric["unit"], ", ".join(map(number, metric["values"])),
    ]


def page(record, pages: dict[str, list[str]]) -> str:
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
        *([["Processes", str(where["processes"])]] if where.get("processes", 1) > 1 else []),
        ["Made on", where.get("date") or "unknown"], ["Commit", code(where.get("commit"))],
        *[[f"Version of {name}", code(each)] for name, each in sorted(where["versions"].items())],
        *[[f"Data: {name}", code(digest[:12])] for name, digest in
          sorted((where.get("data") or {}).items())],
        *[[f"Code: {code(name)}",
           code(digest[:12]) + (", changed since" if name in changed else "")]
          for name, digest in sorted(where["code"].items())],
        *[[f"Carried to newer code on {line['date']}", line["why"]]
          for line in where.get("carried", [])],
        *[[f"Array: {code(name)}", size(array)] for name, array in sorted(record.arrays.items())],
    ]


def listing(records: list, pages: dict[str, list[str]]) -> str:
    """The page of all records."""
    old = sum(bool(runs.stale(record)) for record in records)
    return "\n".join([
        "# Records", "",
        "Numbers that take long to make were made once and kept, each run as one record. "
        "A record says what was run, on what, and what came out. "
        "This page is made from the records at every build.", "",
        f"Records: {len(records)}. Stale, since their code has changed after them: {old}.", "",
        "A record is carried to newer code where a change of the code touches no number; "
        "its page says which change.", "",
        table(COLUMNS, [row(record, pages) for record in records], "records"), "",
    ])


def write() -> None:
    try:
        records = [runs.read(path.stem) for path in sorted(RESULTS.glob("*.json"))]
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
