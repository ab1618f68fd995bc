"""What the theme can not do: pages that are light, quiet for the keyboard, and fit to be read.

Works on the built site, page by page: the head, the article, what stands around it, the formulas,
and the index of the search.
"""

import json
import re
import shutil
import struct
import subprocess
import sys
from html import escape, unescape
from pathlib import Path

import formulas
import publish
import search
from bs4 import BeautifulSoup
from pages import html_pages

sys.path.insert(0, "book/_ext")
import launch

TITLE = "Multi-label Contrastive Predictive Coding: an executed reproduction"
ARTICLE = re.compile(r"(<article [^>]*>)(.*)(</article>)", re.DOTALL)
SCREEN_DPI = 110  # pixels of the page for an inch of a figure; the file may have twice as many
# Scripts and blocks of the theme that this book has no use for.
SURPLUS = [
    r'<script[^>]*src="[^"]*(?:fontawesome|searchtools|language_data|searchindex)\.js[^"]*"[^>]*>'
    r'</script>',
    r'<div id="jb-print-docs-body".*?(?=<div id="searchbox">)',  # contents again, before the title
    r'<div class="sidebar-primary-items__end.*?</div></div>\s*</div>',  # a place for advertisements
    r'<meta name="docsearch:[^>]*>',
    r'<meta name="viewport" content="width=device-width, initial-scale=1"\s*/>',  # a second one
    r'<script>var togglebuttonSelector[^<]*</script>\s*(?=<script>var togglebuttonSelector)',
]
ICON_RULES = (r"(?:\.fa-[\w-]+::?(?:before|after),?)+\{[^}]*\}"
              r"|@font-face\{[^}]*font-family:\"?Font ?Awesome[^}]*\}")
ICON = re.compile(r'class="(?:[^"]* )?fa[sr]?(?:-solid)? +(?:fa-lg +)?fa-([a-z-]+)')


def icons(site: Path, names: set[str]) -> str:
    """A style sheet with the few icons in use, cut out of the theme's 1.5 MB of them."""
    source = (site / "_static/scripts/fontawesome.js").read_text(encoding="utf-8")
    rules = []
    for name in sorted(names | {"xmark"}):  # the theme's script makes this one
        drawn = re.findall(rf'[{{,]"?{name}"?:\[(\d+),(\d+),\[[^]]*\],"\w+","(M[^"]*)"\]', source)
        if drawn:
            width, height, path = drawn[-1]  # the solid one comes last
            picture = (f"%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}'"
                       f"%3E%3Cpath d='{path}'/%3E%3C/svg%3E")
            rules.append(f".fa-{name} {{ --icon: url(\"data:image/svg+xml,{picture}\"); "
                         f"aspect-ratio: {width} / {height}; }}")
    return "\n".join(rules) + "\n"


def dimensions(path: Path) -> tuple[int, int] | None:
    """Width and height on the page of a PNG, from its header; None for other pictures."""
    head = path.read_bytes()[:4096]
    if not head.startswith(b"\x89PNG"):
        return None
    width, height = struct.unpack(">II", head[16:24])
    place = head.find(b"pHYs")
    dpi = struct.unpack(">I", head[place + 4 : place + 8])[0] * 0.0254 if place > 0 else SCREEN_DPI
    return round(width * SCREEN_DPI / dpi), round(height * SCREEN_DPI / dpi)


def size_figures(soup: BeautifulSoup, page: Path) -> None:
    """Figures keep their place while they load, and scroll where a phone is too narrow."""
    for image in soup.find_all("img", src=True):
        size = dimensions(page.parent / image["src"])
        image["decoding"] = "async"
        if size:
            image["width"], image["height"] = map(str, size)
            image["loading"] = "lazy"
            image.attrs.pop("style", None)
            if size[0] > 400:
                whole = image.parent if image.parent.name == "a" else image
                whole.wrap(soup.new_tag("div", attrs={"class": "wide-figure"}))


def fold_solutions(soup: BeautifulSoup) -> None:
    """What the code of a solution prints goes into the fold of that code."""
    for solution in soup.select("div.solution"):
        cell = solution.find_next_sibling()
        while cell and "tag_hide-input" in cell.get("class", []):
            fold, output = cell.find("details"), cell.find("div", class_="cell_output")
            if fold and output:
                fold.append(output.extract())
            if fold:
                for text, word in (("collapsed", "Show"), ("expanded", "Hide")):
                    fold.find("p", class_=text).string = f"{word} the solution's code and output"
            cell = cell.find_next_sibling()


def name_controls(soup: BeautifulSoup) -> None:
    """Folds are named by the words they show, and tables have a header row that says so."""
    for summary in soup.find_all("summary"):
        summary.attrs.pop("aria-label", None)
    for link in soup.find_all("a", class_="headerlink"):
        link["aria-label"] = link.get("title", "Link here")


def run_block(soup: BeautifulSoup, name: str) -> None:
    """Under the cost box: how to run this very page."""
    box = soup.find("div", class_="cost")
    if box is None:
        return
    ways = [f'<li>On your machine: <code>make lab PAGE={name}</code> opens this page in JupyterLab.'
            ' <a href="../how_to.html#run-it">Other editors</a></li>']
    offered = launch.buttons(f"{name}.ipynb", f"../_sources/chapters/{name}.ipynb",
                             launch.repository())
    ways += [f'<li><a href="{button["url"]}">{button["text"]}</a></li>' for button in offered]
    block = ('<details class="run-page"><summary>Run this page</summary>'
             f'<ul>{"".join(ways)}</ul></details>')
    box.insert_after(BeautifulSoup(block, "html.parser"))


def facts(article: str) -> dict:
    """Number, minutes and prerequisites of a chapter, as the chapter itself tells them."""
    soup = BeautifulSoup(article[:60_000], "html.parser")  # they stand at its beginning
    number = soup.find("span", class_="section-number")
    minutes = re.search(r"Reading: about (\d+) min", soup.get_text())
    needs: list[str] = []
    for paragraph in soup.find_all("p"):
        if paragraph.get_text().lstrip().startswith("You need"):
            needs = [link["href"].split("#")[0].removesuffix(".html")
                     for link in paragraph.find_all("a", href=re.compile(r"^\w+\.html"))]
            break
    return {"number": number.get_text().strip(" .") if number else "",
            "minutes": f"{minutes[1]} min" if minutes else "", "needs": list(dict.fromkeys(needs))}


def fill_table(soup: BeautifulSoup, known: dict[str, dict]) -> None:
    """Minutes and prerequisites in the tables of chapters of the first page."""
    for table in soup.find_all("table"):
        rows = [(row, row.find("a", href=re.compile("^chapters/")))
                for row in table.select("tbody tr")]
        names = [Path(link["href"]).stem if link else "" for _, link in rows]
        if not any(name in known for name in names):
            continue
        for text in ("Minutes", "Needs"):
            head = soup.new_tag("th", attrs={"class": "head"})
            head.string = text
            table.find("tr").append(head)
        for (row, _), name in zip(rows, names, strict=True):
            told = known.get(name, {"minutes": "", "needs": []})
            needs = ", ".join(f'<a href="chapters/{other}.html">{known[other]["number"]}</a>'
                              for other in told["needs"] if other in known)
            cells = f'<td>{told["minutes"].removesuffix(" min")}</td><td>{needs}</td>'
            row.append(BeautifulSoup(cells, "html.parser"))


def description(soup: BeautifulSoup) -> str:
    """The first sentences of a page, for search engines and link previews."""
    for paragraph in soup.find_all("p"):
        if paragraph.find_parent(["div", "details", "table"], class_=re.compile("admon|run|cell")):
            continue
        text = search.plain(paragraph)
        if len(text) > 60:
            return text if len(text) < 200 else text[:200].rsplit(" ", 1)[0] + " …"
    return TITLE


def head(text: str, about: str, title: str, home: str, static: str, math: bool) -> str:
    """The head of a page: description and preview in, unused scripts out."""
    for surplus in SURPLUS:
        text = re.sub(surplus, "", text, flags=re.DOTALL)
    kind = "website" if home == "" else "article"
    lines = [f'<meta name="description" content="{escape(about)}" />',
             f'<meta property="og:title" content="{escape(title)}" />',
             f'<meta property="og:description" content="{escape(about)}" />',
             f'<meta property="og:type" content="{kind}" />',
             f'<meta property="og:site_name" content="{escape(TITLE)}" />',
             f'<link rel="icon" type="image/svg+xml" href="{static}/favicon.svg" />',
             f'<link rel="stylesheet" href="{static}/icons.css" />']
    if math:
        lines.append(f'<link rel="stylesheet" href="{static}/formulas.css" />')
        lines += [f'<link rel="preload" as="font" type="font/woff" crossorigin href="{static}/'
                  f'mathjax/output/chtml/fonts/woff-v2/MathJax_{font}.woff" />'
                  for font in ("Main-Regular", "Math-Italic")]
    return text.replace("</title>", "</title>\n" + "\n".join(lines), 1)


def footer(root: str, page: str) -> str:
    """Licence, version, date, how to cite, and where to tell a mistake."""
    version = re.search(r'^version = "(.*)"', Path("pyproject.toml").read_text(), re.MULTILINE)[1] \
        if Path("pyproject.toml").is_file() else ""
    date = subprocess.run(["git", "log", "-1", "--format=%cs"], capture_output=True,
                          text=True).stdout.strip()
    said = ["By the mlcpc authors", "MIT licence", f"Version {version}" if version else "", date]
    if Path("book/how_to.md").is_file():
        said.append(f'<a href="{root}how_to.html#cite-it">How to cite</a>')
    slug = launch.repository()
    if slug:
        address = (f"https://github.com/{slug}/issues/new?title=Mistake+on+{page}"
                   f"&amp;body=Page:+{page}%0A%0AWhat+is+wrong:+")
        said.append(f'<a class="mistake" href="{address}">Found a mistake?</a>')
    elif Path("book/how_to.md").is_file():
        said.append(f'<a class="mistake" href="{root}how_to.html#found-a-mistake">'
                    "Found a mistake?</a>")
    return '<p class="imprint">' + " · ".join(filter(None, said)) + "</p>"


def around(text: str, root: str, page: str) -> str:
    """What surrounds the article: names for unnamed controls, a footer, captions that are none."""
    text = re.sub(r'<p aria-level="2" class="caption" role="heading">', '<p class="caption">', text)
    text = re.sub(
        r'(<a class="(?:current )?reference internal" href="[^"]*">)([^<]*)(.*?)(</a>)'
        r"<details([^>]*)><summary>",
        lambda found: f"{found[1]}{found[2]}{found[3]}{found[4]}<details{found[5]}>"
        f'<summary aria-label="Pages of {found[2].strip()}">', text)
    text = text.replace('<div id="pst-primary-sidebar"', '<div id="pst-primary-sidebar" '
                        'role="navigation" aria-label="Book"')
    text = re.sub(r'(<(?:i|span) class="[^"]*\bfa[s-][^"]*")', r'\1 aria-hidden="true"', text)
    text = re.sub(r'title="Toggle (primary|secondary) sidebar"',
                  lambda found: f'title="{"Chapters" if found[1] == "primary" else "On this page"}"'
                  f' aria-label="{"Chapters" if found[1] == "primary" else "On this page"}"', text)
    text = re.sub(r'(search-button__button pst-js-only" title="Search") aria-label="Search"', r"\1",
                  text)
    return re.sub(r'<p class="component-author">.*?</p>', lambda _: footer(root, page), text,
                  flags=re.DOTALL)


def finish_article(article: str, page: Path, name: str, known: dict) -> tuple[str, str, list[dict]]:
    """The article of a page, its description, and its entries of the search."""
    code = re.findall(r"<pre>.*?</pre>", article, re.DOTALL)  # most of the tags, and none of ours
    numbers = iter(range(len(code)))
    article = re.sub(r"<pre>.*?</pre>", lambda _: f"<pre>{next(numbers)}</pre>", article,
                     flags=re.DOTALL)
    soup = BeautifulSoup(article, "html.parser")
    entries, about = search.entries(soup, f"{name}.html"), description(soup)
    fold_solutions(soup)
    name_controls(soup)
    size_figures(soup, page)
    if name.startswith("chapters/"):
        run_block(soup, page.stem)
    if name == "intro":
        fill_table(soup, known)
    article = re.sub(r"<pre>(\d+)</pre>", lambda found: code[int(found[1])], str(soup))
    return article, about, entries


def finish_page(page: Path, site: Path, done: dict, known: dict) -> list[dict]:
    """One page of the site, in place; returns its entries of the search."""
    text = page.read_text(encoding="utf-8")
    name = str(page.relative_to(site).with_suffix(""))
    root = "../" * name.count("/")
    static = f"{root}_static"
    found = ARTICLE.search(text)
    place = (found.start(2), found.end(2)) if found else (len(text), len(text))
    before, middle, after = text[: place[0]], text[slice(*place)], text[place[1] :]
    article, about, entries = finish_article(middle, page, name, known)
    math = bool(formulas.written(text))
    title = re.search(r"<title>(.*?)(?: &#8212; .*)?</title>", before, re.DOTALL)
    before = head(before, about, unescape(title[1]) if title else TITLE, root, static,
                  math and bool(done))
    if done or not math:
        before = re.sub(r'<script>window\.MathJax.*?</script>|'
                        r'<script[^>]*mathjax/tex-chtml\.js"[^>]*></script>', "", before)
    if 'class="live' not in middle:  # their scripts are the largest of the book
        before = re.sub(r'<script[^>]*/live[\w-]*\.js[^>]*></script>', "", before)
    if name == "search":
        before = before.replace(
            "</head>", f'<script src="{static}/search-index.js"></script></head>', 1)
    text = around(before, root, name) + article + around(after, root, name)
    page.write_text(formulas.inserted(text, done) if done else text, encoding="utf-8")
    return entries


def finish(site: Path) -> None:
    """The whole site, in place."""
    pages = html_pages(site)
    texts = [page.read_text(encoding="utf-8") for page in pages]
    done = formulas.typeset(site, {each for text in texts for each in formulas.written(text)})
    names = {name for text in texts for name in ICON.findall(text)} | {"moon", "sun", "outdent",
                                                                        "circle-half-stroke"}
    (site / "_static/icons.css").write_text(icons(site, names), encoding="utf-8")
    known = {page.stem: facts(found[2]) for page, text in zip(pages, texts, strict=True)
             if page.parent.name == "chapters" and (found := ARTICLE.search(text))}
    entries = [entry for page in pages for entry in finish_page(page, site, done, known)]
    (site / "_static/search-index.js").write_text(
        "const SEARCH_INDEX = " + json.dumps(entries, ensure_ascii=False) + ";\n", encoding="utf-8")
    if launch.repository():
        publish.offer(site / "_sources/chapters", launch.repository())
    (site / "_static/404.html").replace(site / "404.html")
    for surplus in ("searchindex.js", "_static/scripts/fontawesome.js", "_static/searchtools.js"):
        (site / surplus).unlink(missing_ok=True)
    theme = site / "_static/styles/pydata-sphinx-theme.css"
    theme.write_text(re.sub(ICON_RULES, "", theme.read_text(encoding="utf-8")), encoding="utf-8")
    for source_map in site.rglob("*.map"):
        source_map.unlink()
    if done:  # only its fonts are needed
        fonts, mathjax = "output/chtml/fonts/woff-v2", site / "_static/mathjax"
        shutil.copytree(mathjax / fonts, site / "_static/kept")
        shutil.rmtree(mathjax)
        (mathjax / fonts).parent.mkdir(parents=True)
        (site / "_static/kept").rename(mathjax / fonts)
