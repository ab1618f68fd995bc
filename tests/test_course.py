"""The course: glossary, graph, misconceptions, plans, and commands that exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, "book/_tools")
import course
from project import Refusal, names

from mlcpc import __main__ as command
from mlcpc import config
from mlcpc.experiments import base

TEACH = Path("book/teach.md").read_text()
COMMANDS = re.findall(r"^ *((?:mlcpc|make) .+)$", TEACH, re.MULTILINE)


@pytest.fixture(scope="module")
def texts():
    return course.texts()


def test_every_term_stands_on_its_first_page(texts):
    entries = course.read("glossary")
    assert len(entries) >= 80 and course.glossary_faults(entries) == []
    for entry in entries:
        page = course.first_page(entry, texts)
        assert course.path_of(page).is_file()
        assert course.pattern(entry).search(texts[page]), entry["term"]


def test_the_made_glossary_holds_every_term_once_in_two_languages():
    made = course.glossary().splitlines()
    for entry in course.read("glossary"):
        assert made.count(entry["term"]) == 1
        # A few words are the same in both languages, such as a name.
        assert made.count(entry["zh"]) == 1 and re.search("[\u4e00-\u9fff]", entry["zh"])


@pytest.mark.parametrize("change, said", [
    ({"term": "CRITIC"}, "critic occurs twice"),
    ({"zh": "互信息"}, "互信息 occurs twice"),
    ({"zh": ""}, "has no zh"),
    ({"means": "no sentence"}, "needs one sentence"),
])
def test_a_planted_fault_of_the_glossary_is_found(change, said):
    entries = course.read("glossary")
    planted = {"term": "new", "zh": "新", "means": "A word.", **change}
    assert any(said in fault for fault in course.glossary_faults([*entries, planted]))


def test_a_glossary_that_is_too_short_is_a_fault():
    assert course.glossary_faults(course.read("glossary")[:79])[-1].endswith("at least 80")


@pytest.mark.parametrize("entry", [
    {"term": "phlogiston"}, {"term": "critic", "first": "loss_cost_of_all"},
    {"term": "phlogiston", "first": "cpc"},
])
def test_a_term_that_no_page_uses_is_refused(entry, texts):
    with pytest.raises(Refusal, match="glossary"):
        course.first_page(entry, texts)


def test_terms_are_words_and_not_parts_of_words():
    said = course.pattern({"term": "bit"})
    assert said.search("a bit of") and not said.search("a habit") and not said.search("bitter")
    assert course.pattern({"term": "joint distribution"}).search("joint\ndistribution")


def test_the_graph_is_of_earlier_pages_and_has_one_root():
    graph, order = course.graph(), names()
    assert [page for page, before in graph.items() if not before] == [order[0]]
    assert all(order.index(other) < order.index(page)
               for page, before in graph.items() for other in before)
    assert graph["in_batch"] == ["ml_cpc", "two_over_e"]
    picture = course.picture(graph)
    assert all(f'href="chapters/{page}.html"' in picture for page in order)
    assert picture.count("<path") == sum(map(len, graph.values()))


def test_boxes_of_the_graph_do_not_overlap():
    boxes = re.findall(r'<rect x="(\d+)" y="(\d+)"', course.picture(course.graph()))
    rows = {}
    for x, y in boxes:
        rows.setdefault(int(y), []).append(int(x))
    for places in rows.values():
        places.sort()
        assert all(b - a >= course.BOX[0] for a, b in zip(places, places[1:], strict=False))


def test_a_page_that_names_no_earlier_page_is_refused(monkeypatch):
    monkeypatch.setattr(course, "opening", lambda page: "Nothing is needed.")
    with pytest.raises(Refusal, match="You need"):
        course.needs("cpc", {})


def test_every_page_has_a_wrong_picture_in_its_own_words():
    assert course.misconception_faults(course.read("misconceptions")) == []


def test_planted_faults_of_the_misconceptions_are_found():
    entries = course.read("misconceptions")
    without = [entry for entry in entries if entry["page"] != "cpc"]
    stale = [{**entries[0], "says": "words that left the page"}, *entries[1:]]
    gone = [*entries, {**entries[0], "page": "atlantis"}]
    assert course.misconception_faults(without) == ["misconceptions: cpc has none"]
    assert "no longer says" in course.misconception_faults(stale)[0]
    assert "no page 'atlantis'" in course.misconception_faults(gone)[0]


def test_plans_fill_their_sessions_and_are_one_five_and_fourteen():
    courses = course.read("plans")
    assert course.plan_faults(courses) == []
    assert [len(each["sessions"]) for each in courses] == [1, 5, 14]
    assert all(len(session["answers"]) >= 2 for each in courses for session in each["sessions"])


@pytest.mark.parametrize("change, said", [
    ({"board": [[10, "all"]]}, "plans 10 minutes"), ({"pages": ["atlantis"]}, "atlantis"),
    ({"ask": None}, "has no ask"),
])
def test_a_planted_fault_of_a_plan_is_found(change, said):
    courses = course.read("plans")
    session = courses[0]["sessions"][0]
    session.update(change)
    if change.get("ask", "") is None:
        del session["ask"]
    assert said in course.plan_faults(courses)[0]


def parse(line: str) -> None:
    """Give a command to the parser that it is for; nothing runs."""
    words = shlex.split(line)
    if words[0] == "make":
        targets = re.findall(r"^(\w+):", Path("Makefile").read_text(), re.MULTILINE)
        assert words[1] in targets, line
    elif words[1] == "run":
        experiment = base.find(words[2])
        options = base.parser(experiment, words[2]).parse_args(words[3:])
        assert experiment.cells(config.from_arguments(options, experiment.Config))
    else:
        command.parser().parse_args(words[1:])


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_page_exists(line):
    parse(line)


@pytest.mark.parametrize("line", ["mlcpc run alchemy", "mlcpc run boundary --sizes banana",
                                  "mlcpc run staircase --colour red", "make gold"])
def test_a_planted_command_is_caught(line):
    with pytest.raises((ValueError, SystemExit, AssertionError)):
        parse(line)


def test_ten_projects_have_a_first_command_and_a_report():
    projects = TEACH.split("## Ten projects")[1]
    items = re.split(r"^### Project \d+: ", projects, flags=re.MULTILINE)[1:]
    assert len(items) == 10
    assert all("good report" in item and re.search(r"(mlcpc|make) ", item) for item in items)


def test_a_broken_source_is_named_without_a_traceback(tmp_path, monkeypatch):
    (tmp_path / "glossary.yml").write_text("- {term: a")
    monkeypatch.setattr(course, "SOURCES", tmp_path)
    with pytest.raises(Refusal, match="glossary.yml is no YAML"):
        course.read("glossary")


def test_the_pages_are_in_the_table_of_contents():
    toc = yaml.safe_load(Path("_toc.yml").read_text())
    listed = [entry["file"] for part in toc["parts"] for entry in part["chapters"]]
    assert {"teach", "glossary", "misconceptions"} <= set(listed)


def test_the_tool_writes_its_pages():
    done = subprocess.run([sys.executable, "book/_tools/course.py"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == ""
    made = {"glossary.md", "graph.md", "misconceptions.md", "plans.md"}
    made |= {f"findings_zh_{place}.md" for place, _ in enumerate(course.tables_zh(), start=1)}
    assert {path.name for path in course.COURSE.glob("*.md")} == made
