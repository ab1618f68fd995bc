"""`make editions`: the whole book as one PDF and as an EPUB 3, both from the finished site.

The PDF is what a reader would print, page by page; the formulas of the EPUB are MathML.
"""

import base64
import html
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from posixpath import normpath
from urllib.parse import unquote

import devtools
from bs4 import BeautifulSoup
from project import SITE, TOC, Refusal, main, say

TITLE = "Multi-label Contrastive Predictive Coding: an executed reproduction"
PDF, EPUB = "ml-cpc.pdf", "ml-cpc.epub"
ARTICLE = re.compile(r"<article [^>]*>(.*)</article>", re.DOTALL)
MATH = re.compile(r"<mjx-container.*?<math(\b.*?</math>)</mjx-assistive-mml></mjx-container>",
                  re.DOTALL)
NOT_PRINTED = ("script, style, button, form, input, .headerlink, details.run-page, .caps, .live, "
               ".doors, .toggle-details__summary")
# A page ready for paper: pictures loaded, a number at the foot, a link to each place, so that the
# PDF knows where it is. Gives level, words and place of each heading.
PREPARED = """(async () => {
  const article = document.querySelector("article"), links = document.createElement("div");
  article.querySelectorAll("[id]").forEach((place) => links.append(
    Object.assign(document.createElement("a"), {href: "#" + encodeURIComponent(place.id)})));
  article.append(links);
  document.head.append(Object.assign(document.createElement("style"), {textContent:
    "html { counter-reset: page BEFORE; } @page { @bottom-center { content: counter(page); } }"}));
  document.querySelectorAll("img").forEach((image) => { image.loading = "eager"; });
  document.querySelectorAll("details").forEach((fold) => { fold.open = true; });
  await document.fonts.ready;
  await Promise.all([...document.images].map((image) => image.decode().catch(() => 0)));
  return [...article.querySelectorAll("h1, h2, h3")].map((heading) => [Number(heading.tagName[1]),
    heading.innerText.replace(/#$/, "").trim(), (heading.closest("[id]") || {}).id || ""]);
})()"""
CONTAINER = """<?xml version="1.0"?><container version="1.0"
xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile
full-path="content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""
STYLE = """body { line-height: 1.5; } pre { white-space: pre-wrap; font-size: 0.8em; }
img { max-width: 100%; height: auto; }
div.admonition { border-left: 3px solid #888; padding-left: 1em; }
.admonition-title { font-weight: bold; } .eqno { float: right; } table { font-size: 0.85em; }"""


def chapters(site: Path) -> dict[str, str]:
    """Name → article of the pages of the book, in its order; pages of single records left out."""
    names = re.findall(r"^\s*(?:- file|root): ([\w/]+)$", TOC.read_text(), re.MULTILINE)
    found = {}
    for name in names:
        page = site / f"{name}.html"
        article = ARTICLE.search(page.read_text(encoding="utf-8")) if page.is_file() else None
        if article:
            found[name] = article[1]
    if not found:
        raise Refusal("no site: run make book first")
    return found


def relinked(article: str, name: str, book: set[str]) -> str:
    """An article with its links and pictures where the EPUB has them."""
    def link(found: re.Match) -> str:
        attribute, address = found.groups()
        address = html.unescape(address)
        if re.match(r"[a-z]+:", address):
            return found[0]
        path, _, anchor = address.partition("#")
        target = normpath(f"{name}/../{unquote(path)}") if path else f"{name}.html"
        if attribute == "src":
            return f'src="{target}"'
        stem = target.removesuffix(".html")
        if stem not in book:
            return 'data-left-out=""'
        return f'href="{stem.replace("/", "-")}.xhtml{"#" + anchor if anchor else ""}"'

    return re.sub(r'\b(href|src)="([^"]*)"', link, article)


def printed(page: devtools.Page, address: str, before: int) -> tuple[bytes, list]:
    """A page of the site as PDF, numbered after `before` others; its headings."""
    page.open(address)
    headings = page.run(PREPARED.replace("BEFORE", str(before)))
    done = page.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True,
                     generateTaggedPDF=False, transferMode="ReturnAsStream")
    data = b""
    while True:
        piece = page.call("IO.read", handle=done["stream"], size=1 << 20)
        data += base64.b64decode(piece["data"])
        if piece["eof"]:
            return data, headings


def write_pdf(site: Path, names: Iterable[str], target: Path) -> None:
    """Every chapter on a new page, an outline of its headings, links that stay in the book.

    Chromium prints one chapter at a time: the whole book at once would take gigabytes.
    """
    try:
        from pypdf import PdfReader, PdfWriter, annotations, generic
    except ModuleNotFoundError:
        raise Refusal("the PDF needs pypdf: rm -r .venv, then make editions") from None
    writer, root = PdfWriter(), f"{site.resolve().as_uri()}/"
    links, places = [], {}  # places: address -> number of the sheet, height on it
    with devtools.chromium() as page:
        for name in names:
            before, address = len(writer.pages), f"{root}{name}.html"
            data, headings = printed(page, address, before)
            part = PdfReader(BytesIO(data))
            places[address] = (before, None)
            for anchor, place in part.named_destinations.items():
                sheet = before + part.get_destination_page_number(place)
                places[f"{address}#{anchor.lstrip('/')}"] = sheet, place.top
            for number, sheet in enumerate(part.pages, before):
                for link in map(generic.IndirectObject.get_object, sheet.pop("/Annots", [])):
                    to = (f"{address}#{link['/Dest'].lstrip('/')}" if "/Dest" in link
                          else unquote(link["/A"]["/URI"]))
                    links.append((number, link["/Rect"], to))
            writer.append(part, import_outline=False)
            parents: list = []
            for level, title, anchor in headings:
                sheet, top = places.get(f"{address}#{anchor}", (before, None))
                del parents[level - 1 :]
                parents.append(writer.add_outline_item(
                    title=title, page_number=sheet, parent=parents[-1] if parents else None,
                    fit=generic.Fit.xyz(top=top), is_open=False))
    for number, rectangle, to in links:
        if to in places:
            sheet, top = places[to]
            link = annotations.Link(rect=rectangle, target_page_index=sheet,
                                    fit=generic.Fit.xyz(top=top))
        elif to.startswith("file:"):
            continue  # a page or a picture of the site that is not in the book
        else:
            link = annotations.Link(rect=rectangle, url=to)
        writer.add_annotation(number, link)
    writer.add_metadata({"/Title": TITLE})
    writer.write(target)


def xhtml(article: str, name: str, book: set[str]) -> tuple[str, str, set[str]]:
    """A page of the EPUB, its title, and the pictures that it needs."""
    article = MATH.sub(r'<math xmlns="http://www.w3.org/1998/Math/MathML"\1', article)
    soup = BeautifulSoup(relinked(article, name, book), "html.parser")
    for surplus in soup.select(NOT_PRINTED):
        surplus.decompose()
    for each in soup.find_all(True):
        if each.find_parent("math") is None and each.name != "math":
            for attribute in [key for key in each.attrs if key.startswith("data-") or key in (
                    "loading", "decoding", "role", "border", "align", "download", "valign")]:
                del each[attribute]
    for fold in soup.find_all(["details", "summary"]):
        fold.name = "div"
        fold.attrs.pop("open", None)
    for anchor in soup.find_all("a", href=False):
        anchor.name = "span"
        anchor.attrs.pop("target", None)
    for label in soup.find_all("label"):  # its input is not printed
        label.name = "span"
        label.attrs.pop("for", None)
    for drawing in soup.find_all("svg"):  # the parser writes names in lower case
        drawing["xmlns"] = "http://www.w3.org/2000/svg"
        if "viewbox" in drawing.attrs:
            drawing["viewBox"] = drawing.attrs.pop("viewbox")
    for entry in soup.find_all("dd"):
        before = entry.find_previous_sibling(True)
        if before is None or before.name not in ("dt", "dd"):  # nothing that it explains
            entry.insert_before(soup.new_tag("dt"))
    seen: set[str] = set()
    for each in soup.find_all(id=True):
        if each["id"] in seen:
            del each["id"]
        else:
            seen.add(each["id"])
    for holder in soup.find_all("p"):  # no block inside a paragraph
        if holder.find(["div", "p", "ul", "table", "figure"]):
            holder.name = "div"
    heading = soup.find("h1")
    title = " ".join(heading.get_text().split()) if heading else name
    pictures = {image["src"] for image in soup.find_all("img", src=True)}
    text = ('<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html>'
            '<html xmlns="http://www.w3.org/1999/xhtml" lang="en" xml:lang="en"><head>'
            f"<title>{html.escape(title)}</title>"
            '<link rel="stylesheet" type="text/css" href="style.css"/></head>'
            f"<body>{soup.decode(formatter='minimal')}</body></html>")
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", text), title, pictures


def write_epub(site: Path, articles: dict[str, str], target: Path) -> None:
    """A page a chapter, a table of contents, all pictures."""
    items, spine, contents, pictures = [], [], [], set()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr(zipfile.ZipInfo("mimetype"), "application/epub+zip")  # first, not packed
        book.writestr("META-INF/container.xml", CONTAINER)
        book.writestr("style.css", STYLE)
        for name, article in articles.items():
            flat = name.replace("/", "-")
            text, title, shown = xhtml(article, name, set(articles))
            book.writestr(f"{flat}.xhtml", text)
            holds = " ".join(kind for kind, mark in (("mathml", "<math"), ("svg", "<svg"))
                             if mark in text)
            holds = f' properties="{holds}"' if holds else ""
            items.append(f'<item id="{flat}" href="{flat}.xhtml"{holds} '
                         'media-type="application/xhtml+xml"/>')
            spine.append(f'<itemref idref="{flat}"/>')
            contents.append(f'<li><a href="{flat}.xhtml">{html.escape(title)}</a></li>')
            pictures |= shown
        for number, picture in enumerate(sorted(pictures)):
            kind = {"svg": "svg+xml", "jpg": "jpeg"}.get(picture[-3:], picture[-3:])
            book.write(site / picture, picture)
            items.append(f'<item id="p{number}" href="{picture}" media-type="image/{kind}"/>')
        book.writestr("nav.xhtml", (
            '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html><html lang="en" '
            'xml:lang="en" xmlns="http://www.w3.org/1999/xhtml" '
            'xmlns:epub="http://www.idpf.org/2007/ops"><head><title>Contents</title></head><body>'
            f'<nav epub:type="toc"><h1>Contents</h1><ol>{"".join(contents)}</ol></nav>'
            "</body></html>"))
        book.writestr("content.opf", (
            '<?xml version="1.0" encoding="utf-8"?><package version="3.0" unique-identifier="id" '
            'xml:lang="en" xmlns="http://www.idpf.org/2007/opf"><metadata '
            'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="id">'
            f"urn:mlcpc:book</dc:identifier><dc:title>{TITLE}</dc:title><dc:language>en"
            "</dc:language><dc:creator>The mlcpc authors</dc:creator><meta "
            f'property="dcterms:modified">{date()}</meta></metadata><manifest>'
            '<item id="nav" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>'
            '<item id="style" href="style.css" media-type="text/css"/>'
            f'{"".join(items)}</manifest><spine>{"".join(spine)}</spine></package>'))


def date() -> str:
    """The date of the commit, as EPUB wants it."""
    done = subprocess.run(["git", "log", "-1", "--format=%ct"], capture_output=True, text=True)
    moment = datetime.fromtimestamp(int(done.stdout.strip() or 0), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def build() -> None:
    if not (SITE / "index.html").is_file():
        raise Refusal("no site: run make book first")
    if not (SITE / "_static/formulas.css").is_file():
        raise Refusal("the formulas of the site are not set: install Chromium, then "
                      "rm book/_build/html/index.html and make book")
    articles = chapters(SITE)
    folder = SITE / "editions"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_epub(SITE, articles, folder / EPUB)
    write_pdf(SITE, articles, folder / PDF)
    link(SITE)
    for name in (PDF, EPUB):
        say(f"{folder / name}  {(folder / name).stat().st_size / 1e6:.1f} MB")


def link(site: Path) -> None:
    """Both editions in the first page's section on how to read the book, once."""
    page = site / "intro.html"
    text = page.read_text(encoding="utf-8")
    line = (f'<p class="editions">To print, or for a reader: <a href="editions/{PDF}">PDF</a>, '
            f'<a href="editions/{EPUB}">EPUB</a>.</p>')
    if 'class="editions"' not in text:
        page.write_text(re.sub(r"(</article>)", rf"{line}\1", text, count=1), encoding="utf-8")


if __name__ == "__main__":
    main(build, speak=print)
