"""The proofs in Rocq, as far as they can be read without Rocq; with Rocq, `make proofs` itself."""

import json
import re
import sys
from pathlib import Path

import kernel
import pytest
from sphinx.addnodes import pending_xref

ROOT = Path(__file__).resolve().parent.parent
PROOFS = ROOT / "proofs"
# The book has a tool of the name build, too, which other tests import.
_other = sys.modules.pop("build", None)
sys.path.insert(0, str(PROOFS))
import build  # noqa: E402  (proofs/build.py)
import plant  # noqa: E402  (proofs/plant.py)

sys.path.remove(str(PROOFS))
del sys.modules["build"]
if _other is not None:
    sys.modules["build"] = _other

SOURCES = {path.stem: path.read_text() for path in sorted(PROOFS.glob("*.v"))}
LEDGER = json.loads((PROOFS / "ledger.json").read_text())
PRINTED = kernel.blocks((PROOFS / "statements.txt").read_text())
# Words that assume something, leave a gap, or switch a check of the kernel off.
GAPS = re.compile(
    r"\b(?:Admitted|admit|give_up|Axioms?|Parameters?|Conjectures?|Primitive|Declare|Extract"
    r"|Unset|bypass_check|Admit|Obligations?|Guard|Positivity|Universe|Typing)\b"
)


def code(source: str) -> str:
    """The source without its comments, which may be nested."""
    kept, depth = [], 0
    for piece in re.split(r"(\(\*|\*\))", source):
        depth += piece == "(*"
        if depth == 0:
            kept.append(piece)
        depth -= piece == "*)"
    return "".join(kept)


def gaps(source: str) -> list[str]:
    """What would weaken the files: a forbidden word, or a hypothesis outside every section."""
    text = code(source)
    found, depth = GAPS.findall(text), 0
    for line in text.splitlines():
        depth += bool(re.match(r"\s*Section\b", line)) - bool(re.match(r"\s*End\b", line))
        if depth == 0 and re.match(r"\s*(?:Hypothes[ie]s|Variables?|Context)\b", line):
            found.append(line.strip())
    return found


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_is_assumed(name):
    assert gaps(SOURCES[name]) == []


@pytest.mark.parametrize("gap", [
    "Lemma a : True. Proof. Admitted.", "Lemma a : True. Proof. admit. Qed.", "Axiom a : False.",
    "Parameter a : nat.", "Hypothesis a : False.", "Unset Guard Checking.", "Conjecture a : 0 = 1.",
    "Section A.\nEnd A.\nVariable a : False.",
])
def test_a_gap_is_found(gap):
    assert gaps("(* Admitted (* nested *) *)\n" + gap)


def test_comments_and_sections_are_no_gap():
    assert gaps("(* Axiom *)\nSection A.\nHypothesis a : False.\nEnd A.\n") == []


def test_every_file_is_compiled():
    assert sorted(build.files()) == sorted(SOURCES)


def test_every_chapter_of_the_ledger_has_its_file():
    named = {entry["file"] for part in ("definitions", "statements", "known_values")
             for entry in LEDGER[part]}
    assert named <= set(SOURCES)


@pytest.mark.parametrize("entry", LEDGER["statements"], ids=lambda entry: entry["label"])
def test_statement_stands_in_its_file_and_is_proved(entry):
    text = code(SOURCES[entry["file"]])
    for name in [*entry["theorems"], *filter(None, [entry["twin"]])]:
        proof = re.search(rf"^(?:Theorem|Lemma|Corollary) {name}\b.*?Proof\..*?(Qed|Abort)\.",
                          text, re.MULTILINE | re.DOTALL)
        assert proof and proof.group(1) == "Qed", name
        assert f"{entry['file']}.{name}" in PRINTED


@pytest.mark.parametrize("entry", LEDGER["statements"], ids=lambda entry: entry["label"])
def test_label_stands_in_the_file(entry):
    assert f"`{entry['label']}`" in SOURCES[entry["file"]]


@pytest.mark.parametrize("entry", LEDGER["statements"], ids=lambda entry: entry["label"])
def test_label_stands_in_the_book(entry, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert entry["label"] in kernel.book_labels()


def test_a_label_has_one_entry():
    labels = [entry["label"] for entry in LEDGER["statements"]]
    assert sorted(labels) == sorted(set(labels))


def test_every_headline_is_a_statement():
    known = {name for entry in LEDGER["statements"] for name in entry["theorems"]}
    assert set(LEDGER["headlines"]) <= known


def test_committed_statements_rest_on_the_four_axioms():
    build.judge((PROOFS / "statements.txt").read_text())


def test_another_axiom_is_refused():
    text = (PROOFS / "statements.txt").read_text()
    with pytest.raises(build.Refusal, match="rests on"):
        build.judge(text.replace("rests on: ", "rests on: my_axiom, ", 1))


def test_checker_found_the_four_axioms():
    found = json.loads((PROOFS / "build.json").read_text())["axioms_of_the_checker"]
    assert len(found) == len(build.AXIOMS)
    assert all(any(axiom.endswith(known) for axiom in found) for known in build.AXIOMS)


def test_names_that_are_printed_are_those_of_the_ledger():
    assert {f"{file}.{name}" for _, file, name in build.names()} == {
        name for name, item in PRINTED.items() if not item[0].startswith("all of")}


@pytest.mark.parametrize("number", [1, 2])
def test_exercise_and_solution_have_one_statement(number):
    pattern = rf"Theorem exercise_{number} .*?Proof\."
    texts = [re.search(pattern, SOURCES[name], re.DOTALL) for name in ("exercises", "solutions")]
    assert texts[0].group() == texts[1].group()


def test_exercises_are_open_and_solutions_are_not():
    assert code(SOURCES["exercises"]).count("Abort.") == 2
    assert "Qed." not in code(SOURCES["exercises"])
    assert "Abort" not in code(SOURCES["solutions"])


def test_planted_mistakes_fit_the_sources_and_all_failed():
    rows = json.loads((PROOFS / "plants.json").read_text())
    assert [row["what"] for row in rows] == [what for what, *_ in plant.PLANTS]
    assert len(rows) >= 10
    for what, file, old, new in plant.PLANTS:
        assert plant.planted(file, old, new) != SOURCES[file], what
    for row in rows:
        assert re.search(rf"\b{row['failed_in']}\b", SOURCES[row["file"]])


def test_sentences_keep_comments_and_bullets():
    proof = "(* one *)\n intros x.\n - (* two *) lra.\n { apply a, b.c. exact d. }\n"
    assert build.sentences(proof) == [
        ("one", "intros x."), ("two", "- lra."), ("", "{ apply a, b.c."), ("", "exact d. }")]


def test_pages_show_what_is_committed(monkeypatch):
    monkeypatch.chdir(ROOT)
    labels = kernel.book_labels()
    text = kernel.statements(PRINTED, labels)
    for entry in LEDGER["statements"]:
        for name in entry["theorems"]:
            assert PRINTED[f"{entry['file']}.{name}"][1] in text
    for name, source in SOURCES.items():
        page = kernel.page(name, labels, {"gibbs", "exercise_1"})
        claim = re.compile(r"Theorem [\w']{2,} ?.*")  # and not a word on Theorem A
        assert claim.findall(code(source)) == claim.findall(code(page))


def test_box_names_its_proofs():
    import rocq

    entry = LEDGER["statements"][0]
    line = rocq.line(entry, "chapters/x")
    assert line.astext().startswith("Checked in Rocq: " + ", ".join(entry["theorems"]))
    references = [node["reftarget"] for node in line.findall(pending_xref)]
    assert references == [kernel.target(entry["file"], name).lower() for name in entry["theorems"]]


@pytest.mark.skipif(not build.installed(), reason="Rocq is not installed; make proofs installs it")
def test_rocq_prints_the_committed_statements(monkeypatch):
    if not (PROOFS / "in_batch.vo").is_file():
        pytest.skip("the proofs are not compiled; make proofs does that")
    build.compile_all()
    text = build.printed()
    build.judge(text)
    assert text.split() == (PROOFS / "statements.txt").read_text().split()
    assert build.gibbs_states() == (PROOFS / "gibbs.txt").read_text()
