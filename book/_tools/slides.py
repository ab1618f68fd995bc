"""`make slides`: a deck for each page, made from the page.

    python book/_tools/slides.py [NAME ...] [--check] [--measure]

Titles, statements, steps of proofs, formulas, figures and lists become slides; the prose beside
becomes speaker notes. Figures, live ones too, are those of the executed page, if it stands. --check
refuses decks that are older than their pages; --measure asks a browser whether every slide fits.
"""

import argparse
import hashlib
import json
import re
import shutil
import struct
import sys
from base64 import b64decode
from html import escape
from importlib.util import find_spec
from pathlib import Path

import browser
import budget
import classroom
import course
import devtools
import mdit_py_plugins.dollarmath
import yaml
from markdown_it import MarkdownIt
from project import CHAPTERS, NOTEBOOKS, Refusal, asked, main, names, read_notebook, replacing, tags

sys.path.insert(0, "book/_ext")
import quiz

DECKS = Path("book/_build/course/slides")
VENDORED = Path("book/slides")
LEAST, MOST = 12, 25  # slides of a deck
LINES = 12  # of text on a slide, before the letters become smaller
WORTH = 140  # characters of a text that is a slide by itself
ROWS = 9  # of a table on a slide
STATIC = Path("book/_static")
LIVE = {"ml_cpc": ("live", "board"), "ml_cpc_theorem": ("caps", "root"),
        "counter_examples": ("live", "copies"), "in_batch": ("live", "copies")}
MARKUP = re.compile(r"^```\{raw\} html\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = r"\qquad\quad\mathsf{("
LIST = re.compile(r"(?:[-*]|\d+\.) ")
STATEMENTS = {"theorem", "lemma", "proposition", "corollary", "definition"}
TIMEOUT = 240  # seconds for all decks
DISPLAY = re.compile(r"^\$\$.*?^\$\$(?: \([\w:.-]+\))?$|^\$\$[^\n]+\$\$$", re.MULTILINE | re.DOTALL)

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="mlcpc-source" content="{source}">
<title>{title}</title>
<link rel="stylesheet" href="reveal/reveal.css"><link rel="stylesheet" href="slides.css">
<script>window.MathJax = {{options: {{enableMenu: false}}}};</script>
<script defer src="tex-svg.js"></script>
<script defer src="reveal/reveal.js"></script><script defer src="reveal/notes.js"></script>
<script defer src="fit.js"></script></head>
<body><div class="reveal"><div class="slides">
{slides}
</div></div></body></html>
"""


# The scripts of a deck may not have run when the browser says that it has loaded.
READY = "new Promise((done) => { const ask = () => window.ready ? done(ready) " \
        ": setTimeout(ask, 50); ask(); })"
FRAME = """<!doctype html>
<html lang="en" data-theme="light"><head><meta charset="utf-8"><title>Live figure</title>
<link rel="stylesheet" href="book.css"><link rel="stylesheet" href="frame.css">
<script src="{script}.js"></script></head>
<body>{markup}</body></html>
"""


def markdown() -> MarkdownIt:
    def formula(content: str, options: dict) -> str:
        left, right = ("\\[", "\\]") if options.get("display_mode") else ("\\(", "\\)")
        return left + escape(content) + right

    return MarkdownIt("commonmark", {"html": False}).enable("table").use(
        mdit_py_plugins.dollarmath.dollarmath_plugin, renderer=formula, allow_labels=True,
        double_inline=True)


RENDER = markdown()


def html(text: str) -> str:
    """Markdown of a page as HTML; links to pages lead to their decks."""
    text = re.sub(r"\]\((?:chapters/)?(\w+)\.ipynb\)", r"](\1.html)", classroom.plain(text))
    text = re.sub(r'<a id="[^"]*"></a>', "", text)
    # MathJax sets tags as wide as the slide.
    text = re.sub(r"\n\\tag\{([\d.]+)\}", lambda found: f"{NUMBER}{found[1]})}}", text)
    return RENDER.render(re.sub(r"\]\([\w/]+\.md\)", "](#)", text))


def inline(text: str) -> str:
    """One line of Markdown, such as a title, as HTML."""
    return RENDER.renderInline(classroom.plain(text))


class Slide:
    """One idea: a title, parts that appear one after the other, and what the speaker says."""

    def __init__(self, title: str, parts: list[str] = (), kind: str = "section"):
        self.title, self.parts, self.kind = title, list(parts), kind
        self.notes: list[str] = []

    def render(self) -> str:
        head = "h1" if self.kind == "title" else "h2"
        lines = ["<section>", f"<{head}>{inline(self.title)}</{head}>"]
        for place, part in enumerate(self.parts):
            later = ' class="fragment"' if self.kind == "proof" and place else ""
            lines.append(f"<div{later}>{part}</div>")
        if self.notes:
            lines.append('<aside class="notes">' + "\n".join(self.notes) + "</aside>")
        return "\n".join([*lines, "</section>"])


def height(text: str) -> float:
    """Lines that a text takes on a slide, roughly."""
    formulas = DISPLAY.findall(text)
    tall = sum(2.2 + 1.5 * each.count(r"\\") + 0.4 * each.count(r"\frac") for each in formulas)
    rest = DISPLAY.sub("", text)
    return tall + sum(max(1, len(line) / 75) for line in re.split(r"\n\s*\n|\n- ", rest)
                      if line.strip())


def sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.?!])\s+(?=[A-Z*$])", " ".join(text.split()))


def paragraphs(text: str) -> list[str]:
    """Blocks of a Markdown text; a displayed formula stays with nothing else."""
    parts, last = [], 0
    for found in DISPLAY.finditer(text):
        parts += re.split(r"\n\s*\n", text[last:found.start()]) + [found.group()]
        last = found.end()
    parts += re.split(r"\n\s*\n", text[last:])
    return [part.strip() for part in parts if part.strip()]


def packed(title: str, blocks: list[str], kind: str) -> list[Slide]:
    """Blocks on as many slides as they need."""
    slides, used = [], 0.0
    for place, block in enumerate(blocks):
        need = room = height(block)
        after = blocks[place + 1] if place + 1 < len(blocks) else ""
        if DISPLAY.fullmatch(after) and block[-1] not in ".$":
            room += height(after)  # what leads to a formula stays with it
        step = kind == "proof" and re.match(r"\*{1,2}(?:Step )?\(?\w+[.)]", block) and used > 5
        if not slides or used + room > LINES or step:
            slides.append(Slide(title, kind=kind))
            used = 0.0
        slides[-1].parts.append(html(block))
        used += need
    return slides


def shortened(text: str, most: int) -> str:
    """The first sentence of a paragraph, and as many more as stay within so many characters."""
    said = sentences(text)
    kept = 1
    while kept < len(said) and len(" ".join(said[:kept + 1])) <= most:
        kept += 1
    return " ".join(said[:kept])


def ending(text: str, least: int) -> str:
    """The last sentences of a paragraph, so many that they are not shorter than ``least``."""
    said = sentences(text)
    begin = len(said) - 1
    while begin and len(" ".join(said[begin:])) < least:
        begin -= 1
    return " ".join(said[begin:])


def proof(text: str, of: str) -> list[Slide]:
    """A proof in the order of its steps; of a long step the rest is said by the speaker."""
    blocks, left = [], [html(aside.group()) for aside in classroom.BOX.finditer(text)]
    for block in paragraphs(classroom.BOX.sub("", text)):
        short = block if DISPLAY.fullmatch(block) or LIST.match(block) else shortened(block, 600)
        left += [] if len(short) >= len(" ".join(block.split())) else [html(block)]
        blocks.append(short)
    slides = packed(f"Proof: {of}", blocks, "proof")
    slides[0].notes += left
    return slides


def section(text: str, title: str, fresh: bool) -> list[Slide]:
    """Formulas, lists and tables of a piece of prose, each after the sentence that leads to it.

    A piece without any is a slide only if it begins a section (``fresh``).
    """
    blocks = [block for block in paragraphs(text) if not re.match(r"[`:]{3}|#|\(", block)]
    strong = [bool(DISPLAY.fullmatch(block) or LIST.match(block) or block[0] == "|")
              for block in blocks]
    if not any(strong) and not fresh:
        return []
    kept, said = [], 0
    for place, block in enumerate(blocks):
        leads = place + 1 < len(blocks) and strong[place + 1]
        if strong[place]:
            kept.append(block)
        elif leads and len(block) > 240:
            kept.append(ending(block, 120))
        elif leads or fresh and said < (2 if any(strong) else 4):
            kept.append(shortened(block, 240))
            said += 1
    if not any(strong) and len("".join(kept)) < WORTH:
        return []
    return packed(title, kept, "section")


def figure(cell, name: str, files: dict[str, bytes]) -> Slide | None:
    about = cell.metadata.get("mystnb", {})
    label = about.get("figure", {}).get("name", "")
    drawn = [output.data["image/png"] for output in cell.get("outputs", [])
             if "image/png" in output.get("data", {})]
    if not (label and drawn):
        return None
    place = f"{name}-{label}.png"
    files[place] = b64decode(drawn[-1])
    caption = " ".join(about["figure"].get("caption", "").split())
    alt = " ".join(about.get("image", {}).get("alt", "a figure").split()).replace('"', "'")
    head, *rest = sentences(caption) or ["What it looks like"]
    below = [f'<p class="small">{inline(shortened(" ".join(rest), 180))}</p>']
    wide, high = struct.unpack(">II", files[place][16:24])  # of a PNG
    shape = ' class="tall"' if high > wide else ""
    slide = Slide(head.rstrip("."), [f'<img{shape} src="{place}" alt="{alt}">']
                  + (below if rest else []), "figure")
    slide.notes.append(html(caption))
    return slide


def printed(cell, title: str, notes: list[str]) -> list[Slide]:
    """A slide for each short table that a cell of the executed page prints, with its prose."""
    said = ["".join(output.get("data", {}).get("text/markdown", ""))
            for output in cell.get("outputs", [])]
    slides = [Slide(title, [html(text)], "table") for text in said
              if text.startswith("|") and 2 < text.strip().count("\n") <= ROWS + 1]
    for slide in slides:
        slide.notes += notes
    return slides


def live(name: str, cells: list) -> tuple[str, str] | None:
    """Script and markup of the live figure that belongs to a page: its own, or one of the book."""
    for cell in cells:
        for output in cell.get("outputs", []):
            markup = "".join(output.get("data", {}).get("text/html", ""))
            if own := re.search(r'data-(known|steps)="root"', markup):
                return own.group(1), markup
    if name in LIVE:
        script, kind = LIVE[name]
        for page in ("intro", "live"):
            for markup in MARKUP.findall((Path("book") / f"{page}.md").read_text("utf-8")):
                if f'data-{script}="{kind}"' in markup:
                    return script, markup
    return None


def trial(name: str, cells: list, files: dict[str, bytes]) -> list[Slide]:
    """A slide with the live figure of a page, if it has one."""
    if (found := live(name, cells)) is None:
        return []
    script, markup = found
    files[f"live-{name}.html"] = FRAME.format(script=script, markup=markup).encode()
    for path in ("book.css", f"{script}.js"):
        files[path] = (STATIC / path).read_bytes()
    slide = Slide("Try it: move a slider and say first what will happen",
                  [f'<iframe src="live-{name}.html" title="A live figure of this page"></iframe>'],
                  "live")
    slide.notes = [f"<p>{shown}</p>" for shown in re.findall(r'aria-label="([^"]+)"', markup)]
    return [slide]


def of_text(text: str, title: str, fresh: bool, named: str) -> tuple[list[Slide], list[str], str]:
    """Slides of one piece of a page, the prose for the speaker, and the last statement's name."""
    slides, prose, last = [], [], 0
    for found in [*classroom.BOX.finditer(text), None]:
        said = text[last:found.start() if found else None]
        prose.append(said)
        slides += section(said, title, fresh and last == 0)
        if found is None:
            break
        last, kind = found.end(), found["kind"]
        body = classroom.OPTIONS.sub("", found["body"]).strip()
        if kind in STATEMENTS:
            named = found["title"].strip()
            head = f"{classroom.KINDS[kind]}: {named}".removesuffix(": ")
            slides += packed(head, paragraphs(body), "statement")
        elif kind == "proof":
            slides += proof(body, named)
        elif kind not in ("exercise", "solution"):
            prose.append(found.group())
    return slides, [part for part in prose if part.strip()], named


def first(name: str) -> list[Slide]:
    """The title with the wrong picture, and what the class can do afterwards."""
    wrong = [entry for entry in course.read("misconceptions") if entry["page"] == name]
    begin, _, after = course.opening(name).partition("this page you can")
    start = Slide(course.title(name), kind="title")
    start.parts = [html(shortened(paragraphs(begin)[0], 240)),
                   '<p class="small">What many think, and what this lecture corrects:</p>']
    start.parts += [f'<div class="box"><em>{inline(entry["wrong"])}</em></div>'
                    for entry in wrong]
    text = (NOTEBOOKS / f"{name}.md").read_text(encoding="utf-8")
    minutes = budget.size(read_notebook(NOTEBOOKS / f"{name}.md"), text).minutes
    start.notes = [f"<p>About {minutes} minutes with everything that the page says.</p>"]
    start.notes += [html(entry["right"]) for entry in wrong] + [html(course.opening(name))]
    goals = re.search(r"(?:^- .+(?:\n  .+)*\n?)+", after, re.MULTILINE)
    return [start] + ([Slide("Afterwards you can", [html(goals.group())])] if goals else [])


def questions(name: str) -> list[Slide]:
    """Questions of the quiz, for a deck that is short, and a vote before each answer."""
    path = Path("book/quizzes") / f"{name}.yml"
    found = []
    for question in yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else []:
        options = quiz.shuffled(question["options"], question["ask"])
        listed = "".join(f"<li>{inline(option[1])}</li>" for option in options)
        slide = Slide("Ask the class", [f"<p>{inline(question['ask'])}</p>",
                                        f'<ol type="A">{listed}</ol>'], "question")
        slide.notes = [f"<p>{letter} is {'right' if option[0] else 'wrong'}. "
                       f"{inline(option[2])}</p>"
                       for letter, option in zip("ABCDE", options, strict=False)]
        found.append(slide)
    return found


def tasks(notebook) -> list[Slide]:
    """All exercises by title on one slide, and then each on a slide of its own."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = [each for each in classroom.BOX.finditer(text) if each["kind"] == "exercise"]
    every = "\n".join(f"- {each['title'].strip()}" for each in found)
    slides = [Slide("Exercises", [html(every)], "exercise")] if found else []
    slides += [Slide(each["title"].strip(),
                     [html(classroom.OPTIONS.sub("", each["body"]).strip())], "exercise")
               for each in found]
    for each in slides[1:]:
        slides[0].notes += [f"<h3>{inline(each.title)}</h3>", *each.parts]
    return slides


def trimmed(slides: list[Slide], extra: list[Slide]) -> list[Slide]:
    """Between the least and the most slides: extra ones fill, the least needed go.

    The first two extra slides are always there. Plain sections go first, then figures, then the
    later slides of long proofs; their words stay as notes of the slide before.
    """
    body, last = slides[:-1], slides[-1:]
    always, more = extra[:2], extra[2:]
    for kind in ("section", "table", "figure", "proof", "statement"):
        while len(body) + len(always) + 1 > MOST:
            spare = [place for place in range(2, len(body)) if body[place].kind == kind
                     and not any(NUMBER in part for part in body[place].parts)]
            if len(spare) <= (kind == "figure"):  # one figure stays
                break
            lost = body.pop(spare[-1])
            body[spare[-1] - 1].notes += [f"<h3>{lost.title}</h3>", *lost.parts, *lost.notes]
    return body + more[:max(0, LEAST - len(slides) - len(always))] + always + last


def deck(name: str, files: dict[str, bytes]) -> list[Slide]:
    """The slides of a page; what they show besides goes into ``files``."""
    executed = CHAPTERS / f"{name}.ipynb"
    source = read_notebook(NOTEBOOKS / f"{name}.md")
    ran = classroom.code_cells(read_notebook(executed)) if executed.is_file() else []
    done = {cell.source: cell for cell in ran}
    slides, title, early, named, spoken = first(name), "", [], "", []
    last = Slide("What survives")
    begin, end = classroom.exercises_begin(source), classroom.exercises_end(source)
    for place, cell in enumerate(source.cells):
        if begin < place < end or place == 0:
            continue
        if cell.cell_type == "code":
            if cell.source in done and "remove-cell" not in tags(cell):
                made = figure(done[cell.source], name, files)
                (slides if title else early).extend([made] if made else printed(
                    done[cell.source], title or course.title(name), spoken))
            continue
        for piece in re.split(r"(?m)^(?=##+ )", cell.source):
            heading = re.match(r"##+ (.+)\n?", piece)
            if heading:
                title, piece = heading.group(1).replace(" ★", ""), piece[heading.end():]
            if title == "Exercises" or not piece.strip():
                continue
            if title == "What survives":
                last.parts.append(html(piece))
                continue
            made, prose, named = of_text(piece, title or course.title(name), heading is not None,
                                         named)
            slides += made
            spoken = [html(part) for part in prose]
            (made or slides)[0 if made else -1].notes += spoken
    # A figure above the first heading shows where the page leads: it comes last.
    slides += early + trial(name, ran, files)
    asked, exercises = questions(name), tasks(source)
    extra = [*asked[:1], *exercises[:1], *asked[1:], *exercises[1:]]
    return trimmed([*slides, last], extra)


def source_hash(name: str) -> str:
    """What a deck is made from: the page, its quiz, figures and wrong pictures, and the tools."""
    digest = hashlib.sha256(repr((classroom.labels(), classroom.citations())).encode())
    for path in [NOTEBOOKS / f"{name}.md", Path("book/quizzes") / f"{name}.yml",
                 course.SOURCES / "misconceptions.yml", Path("book/intro.md"), Path("book/live.md"),
                 Path(__file__), Path(classroom.__file__), Path(course.__file__),
                 *sorted(VENDORED.glob("*.*")), *sorted(STATIC.glob("*.[jc]s*"))]:
        digest.update(path.read_bytes() if path.is_file() else b"-")
    executed = CHAPTERS / f"{name}.ipynb"
    for cell in json.loads(executed.read_text())["cells"] if executed.is_file() else []:
        for output in cell.get("outputs", []):
            for kind in ("image/png", "text/html"):
                digest.update("".join(output.get("data", {}).get(kind, "")).encode())
    return digest.hexdigest()[:20]


def page(name: str, files: dict[str, bytes]) -> str:
    slides = "\n".join(slide.render() for slide in deck(name, files))
    return PAGE.format(source=source_hash(name), title=course.title(name), slides=slides)


def stale(chosen: list[str]) -> list[str]:
    """Decks that are missing, or older than their pages."""
    found = []
    for name in chosen:
        path = DECKS / f"{name}.html"
        made = re.search(r'mlcpc-source" content="(\w+)"',
                         path.read_text(encoding="utf-8")) if path.is_file() else None
        if made is None:
            found.append(f"there is no deck of {name}; run make slides")
        elif made.group(1) != source_hash(name):
            found.append(f"the deck of {name} is older than its page; run make slides")
    return found


def write(chosen: list[str]) -> None:
    DECKS.mkdir(parents=True, exist_ok=True)
    shutil.copytree(VENDORED / "reveal", DECKS / "reveal", dirs_exist_ok=True)
    for path in ("slides.css", "fit.js", "frame.css"):
        shutil.copy(VENDORED / path, DECKS)
    package = Path(find_spec("sphinx-mathjax-offline").origin).parent
    shutil.copy(package / "static/mathjax/tex-svg.js", DECKS)
    for name in chosen:
        files = {}
        text = page(name, files)
        count = text.count("<section>")
        if not LEAST <= count <= MOST:
            raise Refusal(f"the deck of {name} has {count} slides; valid: {LEAST} to {MOST}")
        for place, data in files.items():
            (DECKS / place).write_bytes(data)
        with replacing(DECKS / f"{name}.html") as scratch:
            scratch.write_text(text, encoding="utf-8")
    links = "\n".join(f'<li><a href="{name}.html">{course.title(name)}</a></li>'
                      for name in names() if (DECKS / f"{name}.html").is_file())
    (DECKS / "index.html").write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Slides</title><h1>Slides</h1>'
        f"<ol>{links}</ol></html>\n", encoding="utf-8")


def measured(chosen: list[str], folder: Path = DECKS) -> dict[str, list[dict]]:
    """What the browser saw of each slide at 1280 x 720."""
    found = {}
    with browser.serving(folder) as address, devtools.chromium() as tab:
        tab.screen(1280, 720)
        for deck in chosen:
            tab.open(f"{address}/{deck}.html")
            try:
                found[deck] = tab.run(READY)
            except Refusal as error:
                found[deck] = [{"good": False, "title": str(error), "height": 0, "width": 0}]
    return found


def overflow(reports: dict[str, list[dict]]) -> list[str]:
    """Slides that do not fit though their letters are as small as they may be."""
    return [f"{name}, slide {number} ({each['title']}): {each['width']} x {each['height']} on "
            "1280 x 720" for name, slides in reports.items()
            for number, each in enumerate(slides, start=1) if not each["good"]]


def command_line() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="pages; all if none is named")
    parser.add_argument("--check", action="store_true", help="only look for old decks")
    parser.add_argument("--measure", action="store_true", help="ask a browser what overflows")
    options = parser.parse_args()
    chosen = asked(options.names)
    if not options.check:
        write(chosen)
    found = stale(chosen)
    seen = options.measure and devtools.browser() is not None
    found += overflow(measured(chosen)) if seen else []
    if found:
        raise Refusal("\n".join(found))
    said = "" if seen or not options.measure else "; not measured, since there is no browser"
    print(f"{len(chosen)} decks in {DECKS}{said}")


if __name__ == "__main__":
    main(command_line, speak=print)
