"""Gates on the built site that need no browser: alt text, external requests, internal links."""

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup
from project import SITE, Refusal, main

ALT_LENGTH = 25  # a shorter text can not say what a figure shows
# A browser fetches these without being asked; a link that a reader follows is another matter.
FETCHED = [("script", "src"), ("img", "src"), ("img", "srcset"), ("iframe", "src"),
           ("source", "src"), ("source", "srcset"), ("video", "src"), ("video", "poster"),
           ("audio", "src"), ("embed", "src"), ("object", "data"), ("image", "href")]
FETCHED_LINKS = {"stylesheet", "preload", "icon", "shortcut", "modulepreload", "prefetch",
                 "preconnect", "dns-prefetch", "manifest", "apple-touch-icon"}
CSS_ADDRESS = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s]+)""")


@cache
def parsed(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def html_pages(site: Path) -> list[Path]:
    """The pages of the site; what extensions leave in _static is not a page."""
    return sorted(path for path in site.rglob("*.html")
                  if not path.relative_to(site).parts[0].startswith("_"))


def alt_faults(site: Path) -> list[str]:
    """Content images whose alternative text does not describe them."""
    faults = []
    for page in html_pages(site):
        article = parsed(page).find("article") or parsed(page)
        for image in article.find_all("img"):
            alt = " ".join((image.get("alt") or "").split())
            stem = Path(urlsplit(image.get("src", "")).path).stem
            holder = image.find_parent("figure")
            label = holder.get("id", "") if holder else ""
            if not alt:
                why = "is empty"
            elif stem in alt or re.fullmatch(r"\S*[0-9a-f]{16,}\S*", alt):
                why = "is a file name or hash"
            elif label and alt == label:
                why = "is the label of the figure"
            elif len(alt) < ALT_LENGTH:
                why = f"has {len(alt)} characters, at least {ALT_LENGTH} are needed"
            else:
                continue
            faults.append(f"{page.relative_to(site)}: alt text {alt!r} of {stem} {why}")
    return faults


def external(address: str) -> bool:
    return bool(re.match(r"\s*(https?:)?//", address))


def request_faults(site: Path) -> list[str]:
    """Addresses on other servers that a page or a style sheet would fetch by itself."""
    faults = []
    for page in html_pages(site):
        where, soup = page.relative_to(site), parsed(page)
        for tag, attribute in FETCHED:
            faults += [f"{where}: <{tag}> fetches {element[attribute]}"
                       for element in soup.find_all(tag, attrs={attribute: True})
                       if external(element[attribute])]
        faults += [f"{where}: <link rel={' '.join(element['rel'])}> fetches {element['href']}"
                   for element in soup.find_all("link", rel=True, href=True)
                   if FETCHED_LINKS & set(element["rel"]) and external(element["href"])]
        styles = [element.get_text() for element in soup.find_all("style")]
        styles += [element["style"] for element in soup.find_all(style=True)]
        faults += [f"{where}: a style fetches {address}"
                   for style in styles for address in CSS_ADDRESS.findall(style)]
    for sheet in sorted(site.rglob("*.css")):
        text = re.sub(r"/\*.*?\*/", "", sheet.read_text(encoding="utf-8"), flags=re.DOTALL)
        faults += [f"{sheet.relative_to(site)}: fetches {address}"
                   for address in CSS_ADDRESS.findall(text)]
    return faults


@cache
def anchors(path: Path) -> frozenset[str]:
    soup = parsed(path)
    named = {element["name"] for element in soup.find_all("a", attrs={"name": True})}
    return frozenset(named | {element["id"] for element in soup.find_all(id=True)})


def link_faults(site: Path) -> list[str]:
    """Links and fetched files inside the site that lead nowhere."""
    faults, root = [], site.resolve()
    for page in html_pages(site):
        wanted = {(element.name, element.get("href") or element.get("src"))
                  for element in parsed(page).find_all(["a", "img", "script", "link"])}
        for tag, address in sorted(pair for pair in wanted if pair[1]):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            here, target = page.resolve(), page.resolve()
            if parts.path:
                target = (here.parent / unquote(parts.path)).resolve()
            if target.is_dir():
                target /= "index.html"
            where = f"{page.relative_to(site)}: <{tag}> leads to {address}"
            if not target.is_relative_to(root) or not target.is_file():
                faults.append(f"{where}, which is not in the site")
            elif parts.fragment and tag == "a" and target.suffix == ".html":
                if unquote(parts.fragment) not in anchors(target):
                    faults.append(f"{where}, but the page has no such anchor")
    return faults


def source_faults(site: Path) -> list[str]:
    """Tables, formulas and images whose source a reader sees in place of themselves."""
    faults = []
    for page in html_pages(site):
        for piece in (parsed(page).find("article") or parsed(page)).find_all(["p", "li", "td"]):
            if not re.search(r"[|$\\]|!\[", piece.get_text()):
                continue
            words = " ".join(text for text in piece.find_all(string=True)
                             if not text.find_parent(["pre", "code", "mjx-container"])
                             and "math" not in text.parent.get("class", []))
            found = re.search(r"^\s*\|.*\|[^|]*$|\$[^$\s][^$]*[\\^_][^$]*\$|\\[(\[]|!\[.*\]\(",
                              words, re.DOTALL)
            if found:
                faults.append(f"{page.relative_to(site)}: shows its source: {found[0][:60]!r}")
    return faults


def faults(site: Path) -> list[str]:
    return alt_faults(site) + request_faults(site) + link_faults(site) + source_faults(site)


def check() -> None:
    found = faults(SITE)
    if found:
        raise Refusal("\n".join(found))


if __name__ == "__main__":
    main(check, speak=print)
