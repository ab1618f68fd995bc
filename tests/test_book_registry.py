"""Pages made from records: complete, honest about age, and what the tools make of them now."""

import json
import re
from pathlib import Path

import devtools
import paper
import pytest
import registry
from conftest import ROOT
from project import LEDGER, PAPER, REGISTRY, RESULTS, Refusal

from mlcpc import records
from mlcpc.book import published
from mlcpc.records import Metric

PAGES = {"toy-run": ["boundary", "many_anchors"]}


def record(name="toy-run", **change):
    fields = {
        "name": name, "experiment": "boundary", "version": 1, "profile": "quick",
        "command": "mlcpc run boundary --steps 3", "config": {"alpha": 0.5, "seeds": [0, 1]},
        "seeds": [0, 1], "metrics": {"gap": Metric("nats", (0.1, 0.3)),
                                     "speed": Metric("ms", (2.0,), "run")},
        "provenance": records.provenance(90.0, {"digits train": "f50d44ee10c5aa"}),
        "arrays": {"curve": [[1.0, 2.0, 3.0]] * 2, "warnings": []},
    }  # fmt: skip
    return records.Record(**{**fields, **change})


def test_a_page_holds_all_of_its_record():
    text = registry.page(record(), PAGES)
    for part in (
        "# toy-run", "[boundary](../../chapters/boundary.ipynb); [many_anchors](",
        "```sh\nmlcpc run boundary --steps 3\n```", "It took 1.5 minutes of work",
        "* - `alpha`\n  - `0.5`",
        "* - `gap`\n  - 0.2\n  - [-1.071, 1.471]\n  - 1.633\n  - nats\n  - 0.1, 0.3",
        "* - `speed`\n  - 2\n  - one value\n  - none\n  - ms\n  - 2", "* - Data: digits train\n",
        "* - Array: `curve`\n  - 2 × 3", "* - Experiment\n  - `boundary`, version 1",
        'records/toy-run.json">',
    ):  # fmt: skip
        assert part in text, part
    assert "stale" not in text.lower()


def test_a_stale_record_is_marked_and_not_hidden():
    # what an older program left: its version is not the one that the experiment has now
    old = record("second")
    object.__setattr__(old, "version", 7)
    text = registry.listing([record("first"), old], PAGES)
    assert "Records: 2. Stale, since their experiment has a newer version: 1." in text
    assert "* - [first](records/first.md)\n  - current\n" in text
    assert "- stale: version 7 of boundary, now 1\n" in text
    assert "This record is stale: version 7 of boundary, now 1." in registry.page(old, PAGES)


def test_files_that_were_not_those_of_the_commit_are_told():
    made = record()
    made.provenance["commit"] = "0123456789ab-dirty"
    assert "Made near commit `0123456789ab`: when the run began" in registry.page(made, PAGES)


def test_a_placeholder_in_a_command_is_explained():
    named = record(command="python benchmarks/peers.py toy --python ENVIRONMENT/bin/python")
    assert "`ENVIRONMENT` is a folder with the other package" in registry.page(named, PAGES)
    assert "ENVIRONMENT" not in registry.page(record(), PAGES)


def test_chapters_are_those_that_read_the_record(project):
    assert registry.readers() == {"used": ["01_first"]}
    assert registry.chapters(record("unread"), PAGES, "..") == "no page"


def test_a_damaged_record_is_a_refusal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLCPC_RESULTS", str(tmp_path / "results"))
    path = records.write(record())
    registry.write()
    assert (tmp_path / "book/generated/records/toy-run.md").is_file()
    path.write_text(path.read_text().replace("0.1", "0.2", 1))
    with pytest.raises(Refusal, match="toy-run.json does not fit its checksum"):
        registry.write()


def test_the_generated_pages_are_those_that_the_tools_make_now(real):
    """An edit of a generated page by hand, or of a tool without a build, is found here."""
    kept = {path: path.read_text() for path in Path("book/generated").rglob("*.md")
            if path.parent.name != "course"
            if path != LEDGER and not {"kernel", "proofs"} & set(path.parts)}  # fmt: skip
    pages = registry.readers()
    stored = list(records.read_all("*", RESULTS).values())
    now = {REGISTRY: registry.listing(stored, pages)}
    now |= {PAPER: paper.page(published.numbers())}
    now |= {REGISTRY.with_suffix("") / f"{each.name}.md": registry.page(each, pages)
            for each in stored}  # fmt: skip
    assert kept == now


SCRIPT = """
document.addEventListener("DOMContentLoaded", () => {
  const rows = () => [...document.querySelectorAll("table.records tbody tr")]
    .filter((row) => !row.hidden).map((row) => row.cells[0].textContent);
  const selects = [...document.querySelectorAll("select")];
  const options = selects.map((each) => [...each.options].map((option) => option.value));
  const choose = (place, value) => {
    selects[place].value = value;
    selects[place].dispatchEvent(new Event("change", {bubbles: true}));
    return [rows(), document.querySelector("output").textContent];
  };
  const first = rows();
  const answer = {options, first, full: choose(1, "full"), stale: choose(3, "stale"),
                  both: choose(0, "staircase"),
                  none: choose(2, "A, 2 cores"), again: [choose(0, "all"), choose(1, "all"),
                  choose(2, "all"), choose(3, "all")].at(-1)};
  document.body.textContent = JSON.stringify(answer);
});
"""


def test_the_filters(tmp_path, chromium):
    rows = [["one", "current", "boundary", "full", "A, 2 cores", "3", "x"],
            ["two", "stale: version 1 of a, now 2", "boundary; staircase", "full", "B", "3", "x"],
            ["three", "stale: version 1 of b, now 2", "staircase", "quick", "A, 2 cores", "3", "x"]]
    cells = "".join("<tr>" + "".join(f"<td>{each}</td>" for each in row) + "</tr>" for row in rows)
    head = "".join(f"<th>{each}</th>" for each in registry.COLUMNS)
    script = (ROOT / "book/_static/records.js").read_text()
    page = tmp_path / "page.html"
    page.write_text(
        f'<!doctype html><head><meta charset="utf-8"><script>{script}{SCRIPT}</script></head>'
        f'<body><table class="records"><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table>'
        "</body>"
    )
    with devtools.chromium() as tab:
        tab.open(page.as_uri())
        answer = json.loads(tab.run("document.body.textContent"))
    assert answer["options"] == [
        ["all", "boundary", "staircase"], ["all", "full", "quick"],
        ["all", "A, 2 cores", "B"], ["all", "current", "stale"],
    ]  # fmt: skip
    assert answer["first"] == ["one", "two", "three"]
    assert answer["full"] == [["one", "two"], "2 of 3 records"]
    assert answer["stale"] == [["two"], "1 of 3 records"]
    assert answer["both"] == [["two"], "1 of 3 records"]
    assert answer["none"] == [[], "0 of 3 records"]
    assert answer["again"] == [["one", "two", "three"], "3 of 3 records"]


# ---------------------------------------------------------------------------------------------
# The paper's numbers
# ---------------------------------------------------------------------------------------------


def number(value, unit="nats", note=""):
    return published.Published(value, unit, "printed", "a paper", note)


def test_every_published_number_is_on_the_page(real):
    text, numbers = paper.page(published.numbers()), published.numbers()
    assert all(text.count(f"* - `{name}`\n") == 1 for name in numbers)
    counts = dict(re.findall(r"^\* - ([a-z ]+)\n  - (\d+)$", text, re.MULTILINE))
    assert list(counts) == list(published.VERDICTS)
    assert sum(map(int, counts.values())) == len(numbers)
    assert "The record `staircase-gaussian-joint` has not been made." in text or (
        Path("results/staircase-gaussian-joint.json").is_file()
    )


def test_the_paper_page_says_how_far_a_record_can_be_trusted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLCPC_RESULTS", str(tmp_path / "results"))
    name = "staircase-gaussian-joint"
    records.write(record(name, experiment="gone"))
    text = paper.page({"bias cpc:1 at 2, joint": number(-0.17)})
    assert f"Ours: [{name}](records/{name}.md), profile `quick`, of an unknown exp" in text


def test_a_number_that_no_group_is_for_is_refused(real):
    with pytest.raises(Refusal, match="'accuracy of a cat' belongs to 0 groups"):
        paper.page({"accuracy of a cat": number(0.5)})


def test_a_record_that_is_missing_is_not_attempted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = paper.page({"bias cpc:1 at 2, joint": number(-0.17)})
    assert "Not attempted: The record `staircase-gaussian-joint` has not been made." in text
    assert "  - -0.17 nats, printed\n  - none\n  - not attempted\n" in text
