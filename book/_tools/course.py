"""What other sources say of a course: glossary, graph, wrong pictures, plans, Chinese tables.

    python book/_tools/course.py

Sources are book/course/*.yml, the openings of the notebooks, and the executed findings. The pages
book/glossary.md, misconceptions.md, teach.md and findings_zh.md include what is written here.
"""

import re
from collections.abc import Callable
from functools import cache
from html import escape
from pathlib import Path

import lint
import yaml
from project import CHAPTERS, NOTEBOOKS, Refusal, main, names, read_notebook, replacing

SOURCES = Path("book/course")
COURSE = Path("book/generated/course")
TERMS = 80  # at least
LINK = re.compile(r"\[[^\]]*\]\((?:chapters/)?(\w+)\.ipynb\)")
LABEL = re.compile(r"\{prf:ref\}`(?:[^`<]*<)?([\w-]+)>?`")
BOX, GAP, ROW = (128, 30), 8, 62  # pixels of the graph


def read(name: str) -> list[dict]:
    """Entries of a source file of the course."""
    path = SOURCES / f"{name}.yml"
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise Refusal(f"{path} is no YAML: {error}") from None


def checked(name: str, faults: Callable[[list[dict]], list[str]]) -> list[dict]:
    """Entries without a fault; a refusal names all faults."""
    entries = read(name)
    if found := faults(entries):
        raise Refusal("\n".join(found))
    return entries


def path_of(page: str) -> Path:
    return NOTEBOOKS / f"{page}.md" if page in names() else Path("book") / f"{page}.md"


def link(page: str) -> str:
    """Target of a link from a page of the folder book."""
    return f"chapters/{page}.ipynb" if page in names() else f"{page}.md"


def title(page: str) -> str:
    return re.search(r"^# (.+)$", path_of(page).read_text(encoding="utf-8"), re.MULTILINE).group(1)


def opening(page: str) -> str:
    """What a reader meets before the first cell of a page."""
    text = path_of(page).read_text(encoding="utf-8")
    text = text[re.search(r"^# .+$", text, re.MULTILINE).end():]
    return re.split(r"^```\{code-cell\}", text, maxsplit=1, flags=re.MULTILINE)[0].strip()


# ------------------------------------------------------------------------------- glossary


def pattern(entry: dict) -> re.Pattern:
    """What a page says when it uses a term."""
    said = entry.get("find") or re.escape(entry["term"]).replace(r"\ ", " ")
    return re.compile(rf"(?<!\w)(?:{said.replace(' ', chr(92) + 's+')})(?:(?<!\w)|(?!\w))",
                      re.IGNORECASE)


def first_page(entry: dict, texts: dict[str, str]) -> str:
    """The page that an entry names, or else the first one that uses the term; a refusal if none."""
    said, pages = pattern(entry), [entry["first"]] if "first" in entry else list(texts)
    for page in pages:
        if page not in texts:
            raise Refusal(f"glossary: {entry['term']}: there is no page {page!r}")
        if said.search(texts[page]):
            return page
    raise Refusal(f"glossary: no page says {entry['term']!r}; looked on "
                  + (pages[0] if len(pages) == 1 else "all pages"))


def glossary_faults(entries: list[dict]) -> list[str]:
    """Terms that occur twice, lack a part, or are too few."""
    found = []
    for key in ("term", "zh"):
        seen = set()
        for entry in entries:
            word = str(entry.get(key, "")).lower()
            found += [f"glossary: {word} occurs twice"] if word in seen else []
            found += [] if word else [f"glossary: {entry} has no {key}"]
            seen.add(word)
    found += [f"glossary: {entry['term']} needs one sentence" for entry in entries
              if not re.fullmatch(r"[A-Z].*\.", entry.get("means", ""), re.DOTALL)]
    if len(entries) < TERMS:
        found.append(f"glossary: {len(entries)} terms; at least {TERMS}")
    return found


@cache
def texts() -> dict[str, str]:
    """Prose of the pages that a term may first occur on."""
    return {page: lint.prose(path_of(page)) for page in [*names(), "intro"]}


def glossary() -> str:
    entries = checked("glossary", glossary_faults)
    said, lines = texts(), [":::{glossary}", ":sorted:", ""]
    for entry in entries:
        page = first_page(entry, said)
        symbol = f" In formulas {entry['symbol']}." if "symbol" in entry else ""
        lines += [entry["term"], entry["zh"],
                  f"  {entry['means']}{symbol} First on [{title(page)}]({link(page)}).", ""]
    return "\n".join([*lines, ":::"]) + "\n"


# ------------------------------------------------------------------------------- the graph


def defined() -> dict[str, str]:
    """Label -> page of every numbered statement."""
    return {label: page for page in names()
            for label in lint.labels(path_of(page).read_text(encoding="utf-8"))}


def needs(page: str, where: dict[str, str]) -> list[str]:
    """Earlier pages that a page says it needs, in the order of the book.

    They are named in the paragraph that begins with "You need"; a page without one continues the
    pages that its opening links to.
    """
    order, text = names(), opening(page)
    asked = re.search(r"^\**You need\**.*?(?=\n\n|\Z)", text, re.DOTALL | re.MULTILINE)
    said = asked.group() if asked else text
    found = set(LINK.findall(said))
    if asked:
        found |= {where[label] for label in LABEL.findall(said) if label in where}
    earlier = [other for other in order[:order.index(page)] if other in found]
    if not earlier and page != order[0]:
        raise Refusal(f"{page}: the opening names no earlier page that it needs; write a paragraph "
                      "that begins with **You need**")
    return earlier


def graph() -> dict[str, list[str]]:
    where = defined()
    return {page: needs(page, where) for page in names()}


def depths(edges: dict[str, list[str]]) -> dict[str, int]:
    """Length of the longest path to each page."""
    found = {}
    for page, before in edges.items():
        found[page] = 1 + max((found[other] for other in before), default=-1)
    return found


def picture(edges: dict[str, list[str]]) -> str:
    """The graph as SVG: a page is a link, and an arrow leads to each page that needs it."""
    rows: dict[int, list[str]] = {}
    for page, depth in depths(edges).items():
        rows.setdefault(depth, []).append(page)
    widest = max(map(len, rows.values()))
    width, height = widest * (BOX[0] + GAP) + GAP, len(rows) * ROW + GAP
    place = {}
    for depth, pages in rows.items():
        left = (width - len(pages) * (BOX[0] + GAP) + GAP) / 2
        for count, page in enumerate(pages):
            place[page] = (left + count * (BOX[0] + GAP), GAP + depth * ROW)
    lines = ['<div style="overflow-x: auto">',
             f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="group" '
             'aria-label="The pages of the book as boxes; an arrow leads from each page to those '
             'that need it. The list below says the same." style="font-size: 10.5px; '
             'max-width: none">',
             '<g fill="none" stroke="currentColor" stroke-opacity="0.35">']
    for page, before in edges.items():
        for other in before:
            x0, y0 = place[other][0] + BOX[0] / 2, place[other][1] + BOX[1]
            x1, y1 = place[page][0] + BOX[0] / 2, place[page][1]
            lines.append(f'<path d="M{x0:.0f} {y0} C{x0:.0f} {y0 + 20} {x1:.0f} {y1 - 20} '
                         f'{x1:.0f} {y1}"/>')
    lines.append("</g>")
    for page, (x, y) in place.items():
        words = page.replace("_", " ")
        lines.append(
            f'<a href="chapters/{page}.html"><title>{escape(title(page))}</title>'
            f'<rect x="{x:.0f}" y="{y}" width="{BOX[0]}" height="{BOX[1]}" rx="4" '
            'fill="var(--pst-color-surface, #f3f4f5)" stroke="currentColor"/>'
            f'<text x="{x + BOX[0] / 2:.0f}" y="{y + 19}" text-anchor="middle" '
            f'fill="currentColor">{words}</text></a>')
    return "\n".join([*lines, "</svg>", "</div>"])


def graph_page() -> str:
    edges = graph()
    rows = [f"- [{title(page)}]({link(page)}) needs "
            + (", ".join(f"[{title(other)}]({link(other)})" for other in before)
               or "nothing but finite probability") + "."
            for page, before in edges.items()]
    return ("```{raw} html\n" + picture(edges) + "\n```\n\n:::{dropdown} The same as a list\n"
            + "\n".join(rows) + "\n:::\n")


# ------------------------------------------------------------------------------- misconceptions


def squeezed(text: str) -> str:
    return " ".join(text.split())


def misconception_faults(entries: list[dict]) -> list[str]:
    """Pages without a wrong picture, and quotations that no longer stand in the opening."""
    pages = {entry["page"] for entry in entries}
    found = [f"misconceptions: {page} has none" for page in names() if page not in pages]
    for entry in entries:
        if entry["page"] not in names():
            found.append(f"misconceptions: there is no page {entry['page']!r}")
        elif squeezed(entry["says"]) not in squeezed(opening(entry["page"])):
            found.append(f"misconceptions: the opening of {entry['page']} no longer says "
                         f"{entry['says']!r}")
    return found


def misconceptions() -> str:
    entries = checked("misconceptions", misconception_faults)
    return "\n".join(
        f"- *{entry['wrong']}* {entry['right']} "
        f"See [{title(entry['page'])}]({link(entry['page'])})."
        for entry in entries) + "\n"


# ------------------------------------------------------------------------------- plans


def plan_faults(courses: list[dict]) -> list[str]:
    """Sessions that do not fill their time, lack a part, or name a page that there is not."""
    found = []
    for course in courses:
        for number, session in enumerate(course["sessions"], start=1):
            here = f"plans: {course['name']}, session {number}"
            lacking = {"title", "pages", "aims", "board", "skip", "ask", "answers"} - set(session)
            if lacking:
                found.append(f"{here} has no {', '.join(sorted(lacking))}")
                continue
            minutes = sum(entry[0] for entry in session["board"])
            if minutes != course["minutes"]:
                found.append(f"{here} plans {minutes} minutes of {course['minutes']}")
            found += [f"{here}: there is no page {page!r}" for page in session["pages"]
                      if page not in names()]
    return found


def plans() -> str:
    courses = checked("plans", plan_faults)
    lines = []
    for course in courses:
        lines += [f"## {course['name']}", "", course["about"].strip(), ""]
        for number, session in enumerate(course["sessions"], start=1):
            if len(course["sessions"]) > 1:
                lines += [f"### Session {number}: {session['title']}", ""]
            lines += ["Pages: " + ", ".join(f"[{title(page)}]({link(page)})"
                                            for page in session["pages"]) + ".", "",
                      "Afterwards the class can:", ""]
            lines += [f"- {aim}" for aim in session["aims"]]
            lines += ["", "| From minute | To minute | On the board |", "|---|---|---|"]
            clock = 0
            for minutes, what in session["board"]:
                lines.append(f"| {clock} | {clock + minutes} | {what} |")
                clock += minutes
            lines += ["", f"**Skip:** {session['skip']}", "",
                      f"**Ask the class:** {session['ask']}", "", "Answers to expect:", ""]
            lines += [f"- {answer}" for answer in session["answers"]] + [""]
    return "\n".join(lines) + "\n"


def tables_zh() -> list[str]:
    """The printed tables of the executed page "What the reproduction says", with Chinese words."""
    page = CHAPTERS / "findings.ipynb"
    words, found = read("tables_zh"), []
    for cell in read_notebook(page).cells if page.is_file() else []:
        for output in cell.get("outputs", []):
            text = "".join(output.get("data", {}).get("text/markdown", ""))
            for word in sorted(words, key=len, reverse=True):
                text = text.replace(word, words[word])
            if left := re.findall(r"[a-z]{2,}[\w ]*", text):
                raise Refusal(f"{SOURCES}/tables_zh.yml has no words for {', '.join(left)}")
            found += [text + "\n"] if text else []
    return found


def write() -> None:
    pages = {"glossary": glossary(), "graph": graph_page(), "misconceptions": misconceptions(),
             "plans": plans()}
    pages |= {f"findings_zh_{place}": text for place, text in enumerate(tables_zh(), start=1)}
    for name, text in pages.items():
        with replacing(COURSE / f"{name}.md") as scratch:
            scratch.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(write)
