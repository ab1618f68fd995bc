"""The index of the search: titles, statements, notation, glossary, prose; no code, no records."""

import copy
import re

from bs4 import BeautifulSoup, Tag

LEFT_OUT = ("generated/", "genindex", "search", "intro", "index", "bibliography", "api")
SILENT = {"pre", "script", "style", "svg", "figure", "details"}
GREEK = dict(zip(
    "alpha beta gamma delta epsilon theta lambda mu pi rho sigma tau phi Phi circ cdot infty le ge"
    " in to log exp max min times".split(),
    "α β γ δ ε θ λ μ π ρ σ τ φ Φ ° · ∞ ≤ ≥ ∈ → log exp max min ×".split(), strict=True))


def readable(tex: str) -> str:
    """TeX as a reader would type it: `\\alpha_{\\min}` is α_min."""
    text = re.sub(r"\\(?:text|mathrm|mathbb|mathcal|hat|bar|operatorname)\b\*?", "", tex)
    text = re.sub(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r" \1/\2", text)
    text = re.sub(r"\\[dt]?frac\s*(\w)\s*(\w)", r" \1/\2", text)
    text = re.sub(r"\\([a-zA-Z]+)", lambda found: GREEK.get(found[1], ""), text)
    return " ".join(re.sub(r"\\.|[{}$&]", "", text).split())


def plain(tag: Tag) -> str:
    """The words of an element, without code, outputs and figures."""
    pieces = []

    def walk(node) -> None:
        if not isinstance(node, Tag):
            pieces.append(str(node))
        elif node.name in SILENT or {"headerlink", "cell", "provenance", "section-number",
                                     "bibtex-citation"} & set(node.get("class", [])):
            return
        elif "math" in node.get("class", []):
            for label in node.find_all(class_="eqno"):
                label.extract()
            pieces.append(" " + readable(re.sub(r"\\[()\[\]]", "", node.get_text())) + " ")
        else:
            for child in node.children:
                walk(child)
            if node.name in {"p", "li", "td", "th", "h1", "h2", "h3", "div"}:
                pieces.append(" ")

    walk(tag)
    text = re.sub(r"\s+", " ", "".join(pieces))
    return re.sub(r" ([.,;:!?)])", r"\1", text).strip()


def entries(article: BeautifulSoup, address: str) -> list[dict]:
    """What a page offers: `a`ddress, `p`age, `t`itle, `k`ind, and the te`x`t of each piece."""
    title = article.find("h1")
    if address.startswith(LEFT_OUT) or title is None:
        return []
    page, found = plain(title), []
    article = copy.copy(article)  # pieces are taken out of it

    def add(kind: str, anchor: str, name: str, text: str) -> None:
        found.append({"a": f"{address}#{anchor}" if anchor else address, "p": page, "k": kind,
                      "t": name, "x": text})

    for row in article.select("table tr") if address == "notation.html" else []:
        cells = [plain(cell) for cell in row.find_all("td")]
        if len(cells) > 2:
            add("symbol", "", f"{cells[0]}: {cells[1]}".strip(": "), " ".join(cells[2:]))
    for term in article.select("dl.glossary > dt[id]"):
        add("term", term["id"], plain(term), plain(term.find_next_sibling("dd")))
    for terms in article.select("dl.glossary"):
        terms.extract()
    for box in article.select("div.proof[id], div.exercise[id]"):
        heading = box.find("p", class_="admonition-title")
        kind = "exercise" if "exercise" in box["class"] else "statement"
        name = plain(heading) if heading else ""
        if heading:
            heading.extract()
        add(kind, box["id"], name, plain(box))
        box.extract()
    for box in article.select("div.cost, details.run-page, div.solution, div.proof"):
        box.extract()
    for section in reversed(article.find_all("section")):  # the inner ones first
        heading = section.find(["h1", "h2", "h3", "h4"])
        if heading is None:
            continue
        name, level = plain(heading), heading.name
        heading.extract()
        add("page" if level == "h1" else "section", "" if level == "h1" else section["id"], name,
            plain(section))
        section.extract()
    return found
