"""Quizzes: one right option, a word on each, plain HTML that a keyboard can use."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup

sys.path.insert(0, "book/_tools")
sys.path.insert(0, "book/_ext")
import quiz
from project import names

FILES = sorted(Path("book/quizzes").glob("*.yml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_quiz_is_of_a_page_and_whole(path):
    assert path.stem in names()
    assert quiz.faults(quiz.read(path)) == []


def test_every_page_has_a_quiz():
    assert set(names()) == {path.stem for path in FILES}


def planted(change):
    questions = yaml.safe_load(FILES[0].read_text())
    change(questions)
    return quiz.faults(questions)


@pytest.mark.parametrize("change, said", [
    (lambda q: q.pop(), "4 questions; valid: 5 to 8"),
    (lambda q: [option.__setitem__(0, True) for option in q[0]["options"]], "3 right options"),
    (lambda q: [option.__setitem__(0, False) for option in q[0]["options"]], "0 right options"),
    (lambda q: q[1]["options"][0].pop(), "is not [true or false, option, feedback]"),
    (lambda q: q[1]["options"][0].__setitem__(2, " "), "is not [true or false, option, feedback]"),
    (lambda q: q[1]["options"][0].__setitem__(1, False), "is not [true or false"),
    (lambda q: q[2]["options"].pop(0), "options; valid: 3 to 5"),
    (lambda q: q[2]["options"][0].__setitem__(1, q[2]["options"][1][1]), "an option twice"),
    (lambda q: q[2]["options"][0].__setitem__(2, q[2]["options"][1][2]), "the same of two options"),
    (lambda q: q[3].__setitem__("ask", q[0]["ask"]), "a question stands twice"),
    (lambda q: q[3].pop("ask"), "must have `ask` and `options`"),
])
def test_a_planted_fault_is_found(change, said):
    assert any(said in fault for fault in planted(change)), planted(change)


def test_a_file_that_is_no_quiz_is_named(tmp_path):
    for text in ("- {ask", "just a text", ""):
        (tmp_path / "x.yml").write_text(text)
        with pytest.raises(quiz.Fault, match="x.yml"):
            quiz.read(tmp_path / "x.yml")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_html_can_be_used_with_a_keyboard_and_read_aloud(path):
    questions = quiz.read(path)
    made = BeautifulSoup(quiz.html(questions), "html.parser")
    assert len(made.find_all("fieldset")) == len(questions)
    marks = [element["id"] for element in made.find_all(id=True)]
    assert len(set(marks)) == len(marks)
    for group, question in zip(made.find_all("fieldset"), questions, strict=True):
        inputs = group.find_all("input")
        assert {each["type"] for each in inputs} == {"radio"}
        assert len({each["name"] for each in inputs}) == 1 and group.find("legend")
        assert [each["data-quiz"] for each in inputs].count("right") == 1
        for each in inputs:
            assert group.find("label", attrs={"for": each["id"]})
            said = made.find(id=each["aria-describedby"]).get_text()
            assert said.startswith(each["data-quiz"].capitalize())
        assert len(inputs) == len(question["options"])


def test_the_place_of_the_right_option_says_nothing():
    places = [next(place for place, option in enumerate(
        quiz.shuffled(question["options"], question["ask"])) if option[0])
        for path in FILES for question in quiz.read(path)]
    shares = [places.count(place) / len(places) for place in range(3)]
    assert min(shares) > 0.2 and max(shares) < 0.47


def test_formulas_and_code_become_html():
    said = quiz.inline("a < b, $x < 1$ and `f(x)`")
    assert said == ("a &lt; b, <span class=\"math notranslate nohighlight\">\\(x &lt; 1\\)</span> "
                    "and <code>f(x)</code>")


def test_a_quiz_comes_before_what_survives():
    body = '<section id="a">A</section><section id="what-survives">B</section>'
    assert quiz.insert(body, "Q").endswith('Q<section id="what-survives">B</section>')
    assert quiz.insert("<p>all</p>", "Q") == "<p>all</p>Q"


def test_formulas_are_closed():
    for path in FILES:
        for question in quiz.read(path):
            for text in [question["ask"], *(text for option in question["options"]
                                            for text in option[1:])]:
                assert text.count("$") % 2 == 0 and text.count("`") % 2 == 0, text
                assert not re.search(r"[\x00-\x1f]", text), repr(text)
