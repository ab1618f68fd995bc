"""Two pages in Chinese hold the formulas, numbers, links, code and rows of the English ones."""

import re
import sys
from collections import Counter
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, "book/_tools")
import course
import lint
from project import Refusal

FINDINGS = re.sub(r"\]\((\w+\.ipynb)\)", r"](chapters/\1)",
                  lint.prose(Path("notebooks/findings.md")))
PAIRS = {"intro": (Path("book/intro.md").read_text(), Path("book/intro_zh.md").read_text()),
         "findings": (FINDINGS, Path("book/findings_zh.md").read_text())}
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
WORDS = {"three": "三", "four": "四", "five": "五", "eight": "八", "nine": "九", "ten": "十",
         "thirteen": "十三", "twenty": "二十", "thirty": "三十", "two hundred": "二百"}


def formulas(text: str) -> Counter:
    text = FENCE.sub("", text)
    shown = re.findall(r"^\$\$\n(.*?)\n\$\$$", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"\$([^$\n]+)\$", re.sub(r"^\$\$\n.*?\n\$\$$", "", text,
                                                flags=re.MULTILINE | re.DOTALL))
    return Counter([each.strip(" .,") for each in [*shown, *inline]])


def plain(text: str) -> str:
    """Without code, formulas and targets of links."""
    for pattern in (FENCE, re.compile(r"\$[^$\n]+\$"), re.compile(r"`[^`]*`"),
                    re.compile(r"\]\([^)]*\)"), re.compile(r"^:.*$", re.MULTILINE)):
        text = pattern.sub(" ", text)
    return text


def numbers(text: str) -> Counter:
    """Numbers as digits, and words from three on, in either language, as Chinese words."""
    said = plain(text).lower()
    english = re.findall("|".join(rf"\b{word}\b" for word in sorted(WORDS, key=len, reverse=True)),
                         said)
    chinese = re.findall("[二三四五六七八九十百]{2,}|[三四五六七八九十]", said)
    return Counter([WORDS[word] for word in english] + chinese + re.findall(r"\d+", said))


def kept(name: str) -> dict:
    """What a translation keeps, and how it is found."""
    found = {
        "formula": formulas,
        "citation": lambda text: Counter(re.findall(r"\{cite(?::t)?\}`\w+`", text)),
        "code": lambda text: Counter([each for each in FENCE.findall(text)
                                      if each.startswith("```python")]
                                     + re.findall(r"`[\w./(]+\)?`", FENCE.sub("", text))),
        "row": lambda text: Counter(f"| {len(line.split('|'))} cells" for line in text.splitlines()
                                    if line.startswith("|")),
        "heading": lambda text: Counter(re.findall("^#+ ", text, re.MULTILINE)),
    }
    return {**found, "number": numbers} if name == "findings" else found


def faults(name: str, english: str, chinese: str) -> list[str]:
    """What the translation has too much or too little."""
    found = []
    for what, read in kept(name).items():
        mine, theirs = read(english), read(chinese)
        found += [f"{what} {each!r} is missing" for each in (mine - theirs).elements()]
        found += [f"{what} {each!r} is not in the original" for each in (theirs - mine).elements()]
    targets = [re.findall(r"\]\(([^)]+)\)", FENCE.sub("", text)) for text in (english, chinese)]
    return found + [f"link {each} is missing" for each in targets[0] if each not in targets[1]]


@pytest.mark.parametrize("name", PAIRS)
def test_the_translation_is_whole(name):
    assert faults(name, *PAIRS[name]) == []
    assert len(re.findall("[\u4e00-\u9fff]", PAIRS[name][1])) > 700


@pytest.mark.parametrize("name, old, new, said", [
    ("intro", r"2 \log n - 1", r"2 \log n - 2", "formula"),
    ("intro", r"\log(m/\alpha)", "x", "formula"),
    ("intro", "chapters/in_batch.ipynb", "chapters/cpc.ipynb", "link"),
    ("intro", "bounds.split(scores)", "bounds.cut(scores)", "code"),
    ("intro", "{cite}`oord2018cpc`", "", "citation"), ("intro", "\n| [定理]", "\n [定理]", "row"),
    ("findings", "$0.1$", "$0.2$", "formula"), ("findings", "五个种子", "三个种子", "number"),
    ("findings", "十三对中的十对", "十三对中的八对", "number"),
    ("findings", "CIFAR-10", "CIFAR", "number"),
    ("findings", "`held_out`", "`test`", "code"), ("findings", "\n## 估计", "\n估计", "heading"),
    ("findings", "chapters/counter_examples.ipynb", "chapters/cpc.ipynb", "link"),
])
def test_a_planted_difference_is_found(name, old, new, said):
    english, chinese = PAIRS[name]
    assert old in chinese
    assert any(fault.startswith(said)
               for fault in faults(name, english, chinese.replace(old, new)))


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """A page that prints a table, in the place of the executed findings."""
    def write(text: str) -> None:
        output = nbformat.v4.new_output("display_data", {"text/markdown": text})
        cell = nbformat.v4.new_code_cell("table()", outputs=[output])
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "findings.ipynb")

    monkeypatch.setattr(course, "CHAPTERS", tmp_path)
    return write


def test_the_numbers_of_the_tables_are_those_of_the_executed_page(executed):
    assert course.tables_zh() == []
    executed("| task | accuracy |\n| --- | --- |\n| cubic | -2.34 [-2.35, -2.32] |")
    assert course.tables_zh() == [
        "| 任务 | 准确率 |\n| --- | --- |\n| 立方 | -2.34 [-2.35, -2.32] |\n"]
    executed("| task | accuracy |\n| --- | --- |\n| spiral | 1 |")
    with pytest.raises(Refusal, match="no words for spiral"):
        course.tables_zh()


def test_the_page_shows_each_table_once():
    shown = re.findall(r"findings_zh_(\d)\.md", PAIRS["findings"][1])
    cells = Path("notebooks/findings.md").read_text().count("\ntable(")
    assert shown == [str(place) for place in range(1, cells + 1)]
