"""Pages made from records: complete, honest about age, and what the tools make of them now."""

import json
import os
import re
import subprocess
from pathlib import Path

import browser
import paper
import pytest
import registry
from conftest import ROOT
from project import LEDGER, PAPER, REGISTRY, RESULTS, Refusal

from mlcpc import runs

PAGES = {"toy-run": ["06_boundary", "07_many_anchors"]}


def record(name="toy-run", stale=False, **change):
    code = runs.code_hash(["bounds.ml_cpc"])
    fields = {
        "name": name, "chapter": "06_boundary", "profile": "quick",
        "command": "python -m mlcpc boundary --steps 3", "config": {"alpha": 0.5, "seeds": [0, 1]},
        "seeds": [0, 1], "metrics": {"gap": runs.metric([0.1, 0.3], "nats"),
                                     "speed": runs.metric([2.0], "ms")},
        "provenance": runs.provenance(code, 90.0, {"digits train": "f50d44ee10c5aa"}),
        "arrays": {"curve": [[1.0, 2.0, 3.0]] * 2, "warnings": []},
    }  # fmt: skip
    made = runs.Record(**{**fields, **change})
    if stale:
        made.provenance["code"]["bounds.ml_cpc"] = "0" * 64
    return made


def test_a_page_holds_all_of_its_record():
    text = registry.page(record(), PAGES)
    for part in (
        "# toy-run", "[06_boundary](../../chapters/06_boundary.ipynb); [07_many_anchors](",
        "```sh\npython -m mlcpc boundary --steps 3\n```", "It took 1.5 minutes of work",
        "* - `alpha`\n  - `0.5`", "* - `gap`\n  - 0.2\n  - [0.1, 0.3]\n  - nats\n  - 0.1, 0.3",
        "* - `speed`\n  - 2\n  - one value\n  - ms\n  - 2", "* - Data: digits train\n",
        "* - Array: `curve`\n  - 2 × 3", "* - Code: `bounds.ml_cpc`\n", 'records/toy-run.json">',
    ):  # fmt: skip
        assert part in text, part
    assert "stale" not in text.lower() and "changed since" not in text


def test_a_stale_record_is_marked_and_not_hidden():
    records = [record("first"), record("second", stale=True)]
    text = registry.listing(records, PAGES)
    assert "Records: 2. Stale, since their code has changed after them: 1." in text
    assert "* - [first](records/first.md)\n  - fits the code\n" in text
    assert "* - [second](records/second.md)\n  - stale: `bounds.ml_cpc`\n" in text
    page = registry.page(records[1], PAGES)
    assert "Stale: `bounds.ml_cpc` changed after this record was made" in page
    assert "`000000000000`, changed since" in page


def test_a_record_that_was_carried_says_so():
    kept = runs.carried(record(stale=True), "an import line changed")
    kept.provenance["commit"] = "0123456789ab-dirty"
    assert "* - [toy-run](records/toy-run.md)\n  - carried to this code\n" in registry.listing(
        [kept], PAGES
    )
    page = registry.page(kept, PAGES)
    assert "* - Carried to newer code on 2" in page and "\n  - an import line changed\n" in page
    assert "Near commit `0123456789ab`: when the run began, some files were not" in page


def test_a_placeholder_in_a_command_is_explained():
    named = record(command="python benchmarks/peers.py toy --python ENVIRONMENT/bin/python")
    assert "`ENVIRONMENT` is a folder with the other package" in registry.page(named, PAGES)
    assert "ENVIRONMENT" not in registry.page(record(), PAGES)


def test_chapters_are_those_that_read_the_record(project):
    assert registry.readers() == {"used": ["01_first"]}
    unread = record("unread", chapter="99_later")
    assert registry.chapters(unread, PAGES, "..") == "99_later"


def test_a_damaged_record_is_a_refusal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLCPC_RESULTS", str(tmp_path / "results"))
    path = runs.write(record())
    registry.write()
    assert (tmp_path / "book/generated/records/toy-run.md").is_file()
    path.write_text(path.read_text().replace("0.1", "0.2", 1))
    with pytest.raises(Refusal, match="toy-run.json does not fit its checksum"):
        registry.write()


def test_the_generated_pages_are_those_that_the_tools_make_now(real):
    """An edit of a generated page by hand, or of a tool without a build, is found here."""
    kept = {path: path.read_text() for path in Path("book/generated").rglob("*.md")
            if path != LEDGER}  # fmt: skip
    pages = registry.readers()
    records = [runs.read(path.stem) for path in sorted(RESULTS.glob("*.json"))]
    now = {REGISTRY: registry.listing(records, pages)}
    now |= {PAPER: paper.page(runs.paper())}
    now |= {REGISTRY.with_suffix("") / f"{each.name}.md": registry.page(each, pages)
            for each in records}  # fmt: skip
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
                  both: choose(0, "08_staircase"),
                  none: choose(2, "A, 2 cores"), again: [choose(0, "all"), choose(1, "all"),
                  choose(2, "all"), choose(3, "all")].at(-1)};
  document.body.textContent = JSON.stringify(answer);
});
"""


def test_the_filters(tmp_path):
    if browser.browser() is None:
        if "MLCPC_REQUIRE_BROWSER" in os.environ:
            pytest.fail("no Chromium, and MLCPC_REQUIRE_BROWSER is set")
        pytest.skip("no Chromium on this machine")
    rows = [["one", "fits the code", "06_boundary", "full", "A, 2 cores", "3", "x"],
            ["two", "stale: bounds", "06_boundary; 08_staircase", "full", "B", "3", "x"],
            ["three", "stale: exact, bounds", "08_staircase", "quick", "A, 2 cores", "3", "x"]]
    cells = "".join("<tr>" + "".join(f"<td>{each}</td>" for each in row) + "</tr>" for row in rows)
    head = "".join(f"<th>{each}</th>" for each in registry.COLUMNS)
    script = (ROOT / "book/_static/records.js").read_text()
    page = tmp_path / "page.html"
    page.write_text(
        f'<!doctype html><head><meta charset="utf-8"><script>{script}{SCRIPT}</script></head>'
        f'<body><table class="records"><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table>'
        "</body>"
    )
    done = subprocess.run(
        [browser.browser(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        + ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        + [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    answer = json.loads(re.search(r"<body>(.*)</body>", done.stdout, re.S).group(1))
    assert answer["options"] == [
        ["all", "06_boundary", "08_staircase"], ["all", "full", "quick"],
        ["all", "A, 2 cores", "B"], ["all", "fits the code", "stale"],
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


def published(value, unit="nats", note=""):
    return runs.Published(value, unit, "printed", "a paper", note)


def test_every_published_number_is_on_the_page(real):
    text, numbers = paper.page(runs.paper()), runs.paper()
    assert all(text.count(f"* - `{name}`\n") == 1 for name in numbers)
    counts = dict(re.findall(r"^\* - ([a-z ]+)\n  - (\d+)$", text, re.MULTILINE))
    assert list(counts) == list(runs.VERDICTS)
    assert sum(map(int, counts.values())) == len(numbers)
    assert "The record `staircase-gaussian-joint` has not been made." in text or (
        Path("results/staircase-gaussian-joint.json").is_file()
    )


def test_the_paper_page_says_how_far_a_record_can_be_trusted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLCPC_RESULTS", str(tmp_path / "results"))
    name = "staircase-gaussian-joint"
    for stale, said in ((False, "fits the code"), (True, "stale: `bounds.ml_cpc`")):
        runs.write(record(name, stale=stale))
        text = paper.page({"bias cpc:1 at 2, joint": published(-0.17)})
        assert f"Ours: [{name}](records/{name}.md), profile `quick`, {said}. Toler" in text


def test_a_number_that_no_group_is_for_is_refused(real):
    with pytest.raises(Refusal, match="'accuracy of a cat' belongs to 0 groups"):
        paper.page({"accuracy of a cat": published(0.5)})


def test_a_record_that_is_missing_is_not_attempted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = paper.page({"bias cpc:1 at 2, joint": published(-0.17)})
    assert "Not attempted: The record `staircase-gaussian-joint` has not been made." in text
    assert "  - -0.17 nats, printed\n  - none\n  - not attempted\n" in text
