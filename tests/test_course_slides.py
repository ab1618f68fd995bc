"""Slides: made from the pages, never older than them, and never wider or higher than the screen."""

import json
import re
import sys
from functools import cache

import pytest

sys.path.insert(0, "book/_tools")
import slides
from project import Refusal, names


@cache
def made(name: str) -> str:
    return slides.page(name, {})


@pytest.fixture
def decks(tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "DECKS", tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", names())
def test_a_deck_has_as_many_slides_as_a_lecture_takes(name):
    deck = made(name)
    assert slides.LEAST <= deck.count("<section>") == deck.count("</section>") <= slides.MOST
    assert 'class="notes"' in deck and "What survives" in deck
    for part in re.findall(r"<section>(.*?)</section>", deck, re.DOTALL):
        shown = re.sub(r"<aside.*</aside>|<[^>]+>", "", part, flags=re.DOTALL)
        assert len(shown.strip()) > 25 or "<img" in part or "<iframe" in part, part
        assert len(shown) < 1500, part


@pytest.mark.parametrize("name", names())
def test_no_directive_or_label_is_left(name):
    assert not re.search(r"\{(prf|eq|cite|numref)[:}]|:::|```", made(name))
    assert not slides.classroom.UNRESOLVED.search(made(name))
    assert not re.search(r'(src|href)="https?://[^"]*\.(js|css)', made(name))


@pytest.mark.parametrize("name", names())
def test_a_deck_has_every_statement_and_every_numbered_formula_of_its_page(name):
    text, deck = (slides.NOTEBOOKS / f"{name}.md").read_text(), made(name)
    stated = [box["title"].strip() for box in slides.classroom.BOX.finditer(text)
              if box["kind"] in slides.STATEMENTS]
    assert [title for title in stated if f": {slides.inline(title)}" not in deck] == []
    numbers = [slides.classroom.labels()[label] for label in slides.classroom.EQUATION.findall(
        re.sub(r"\{(exercise|solution)\}.*?\n(```|:::)", "", text, flags=re.DOTALL))]
    assert [number for number in numbers if number not in deck] == []


@pytest.mark.parametrize("name", slides.LIVE)
def test_live_figures_stand_in_frames(name):
    files = {}
    deck = slides.page(name, files)
    assert re.search(r"<h2>Try it.*?<aside class=.notes.>\n?<p>\w", deck, re.DOTALL)
    assert deck.count(f'<iframe src="live-{name}.html"') == 1
    script = slides.LIVE[name][0]
    assert f"data-{script}=" in files[f"live-{name}.html"].decode()
    assert {f"{script}.js", "book.css"} <= set(files)


def test_statements_come_before_their_proofs_and_proofs_in_steps():
    text = made("cpc")
    assert text.index("<h2>Theorem: CPC is a lower bound") < text.index("<h2>Proof: ")
    assert 'class="fragment"' in text


def test_formulas_survive_markdown():
    said = slides.html("so $a_b < c_d$ and $x*y*z$")
    assert "\\(a_b &lt; c_d\\)" in said and "\\(x*y*z\\)" in said and "<em>" not in said
    assert "\\[" in slides.html("$$\nx\n$$ (eq-label)\n") and "eq-label" not in slides.html(
        "$$\nx\n$$ (eq-label)\n")


def test_a_short_deck_is_filled_and_a_long_one_is_cut():
    few = [slides.Slide(str(number)) for number in range(4)]
    many = [slides.Slide(str(number), kind="proof") for number in range(60)]
    extra = [slides.Slide("more") for _ in range(30)]
    assert len(slides.trimmed(few, extra)) == slides.LEAST
    cut = slides.trimmed(many, extra)
    assert len(cut) == slides.MOST and cut[-1].title == "59" and cut[-2].title == "more"
    assert any("<h3>57</h3>" in note for slide in cut for note in slide.notes)


def test_a_sentence_that_leads_to_a_formula_stays_with_it():
    text = "One. " * 30 + "Two is so\n\n$$\n2\n$$\n\nThree."
    parts = [part for slide in slides.section(text, "T", False) for part in slide.parts]
    assert "Two is so" in parts[0] and "2" in parts[1] and len(parts) == 2
    assert slides.section("A word.", "T", True) == [] == slides.section(text[:150], "T", False)


def test_printed_tables_are_slides_if_they_are_short():
    def cell(rows):
        text = "| a | b |\n| --- | --- |" + "\n| 1 | 2 |" * rows
        return {"outputs": [{"data": {"text/markdown": text}}]}

    assert "<table>" in slides.printed(cell(3), "T", ["<p>Said.</p>"])[0].render()
    assert slides.printed(cell(30), "T", []) == slides.printed({"outputs": []}, "T", []) == []


def test_a_missing_deck_and_an_old_one_are_refused(decks, monkeypatch):
    assert slides.stale(["cpc"]) == ["there is no deck of cpc; run make slides"]
    slides.write(["cpc"])
    assert slides.stale(["cpc"]) == []
    monkeypatch.setattr(slides, "NOTEBOOKS", decks)  # the page has changed: it is gone
    assert slides.stale(["cpc"]) == ["the deck of cpc is older than its page; run make slides"]


def test_a_new_figure_makes_a_deck_old(decks, monkeypatch):
    monkeypatch.setattr(slides, "CHAPTERS", decks)
    before = slides.source_hash("cpc")
    cell = {"cell_type": "code", "outputs": [{"data": {"image/png": "new"}}]}
    (decks / "cpc.ipynb").write_text(json.dumps({"cells": [cell]}))
    assert slides.source_hash("cpc") != before


@pytest.mark.skipif(not slides.DECKS.is_dir(), reason="make slides has not been run")
def test_the_decks_that_stand_are_not_older_than_their_pages():
    assert slides.stale([name for name in names()
                         if (slides.DECKS / f"{name}.html").is_file()]) == []


def test_an_unknown_page_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["slides.py", "atlantis"])
    with pytest.raises(Refusal, match="unknown page atlantis"):
        slides.command_line()


def test_a_slide_that_overflows_is_seen(decks, chromium):
    slides.write(["cpc"])
    text = (decks / "cpc.html").read_text()
    tall = "<section><h2>Planted</h2>" + "<p>line</p>" * 60 + "</section>"
    (decks / "planted.html").write_text(text.replace("<section>", tall + "<section>", 1))
    found = slides.overflow(slides.measured(["cpc", "planted"], decks))
    assert len(found) == 1 and found[0].startswith("planted, slide 1 (Planted): 1280 x ")
    slides.write(["ml_cpc"])
    assert slides.overflow(slides.measured(["ml_cpc"], decks)) == []
    frame = decks / "live-ml_cpc.html"  # a figure that is higher than its frame
    frame.write_text(frame.read_text().replace("</body>", '<p style="height: 900px">x</p></body>'))
    assert "Try it" in slides.overflow(slides.measured(["ml_cpc"], decks))[0]
