"""Formulas set while the site is built: pages need no script for them, and MathML comes with each.

MathJax, which lies in the site, runs in a headless Chromium. Without a Chromium the pages keep
their TeX, and MathJax sets what is on the screen in the reader's browser.
"""

import json
import re
from html import unescape
from pathlib import Path

import devtools

WRITTEN = re.compile(
    r'(<(span|div) class="(?:amsmath )?math notranslate nohighlight"[^>]*>)(.*?)</\2>', re.DOTALL)
TEX = re.compile(r"\\\((.*?)\\\)|\\\[(.*?)\\\]|(\\begin\{.*\\end\{\w+\*?\})", re.DOTALL)
# Attributes that neither the style sheet nor a reader needs.
SURPLUS = (r' (?:class="MathJax"|style="position: relative;"|unselectable="on"'
           r'|xmlns="http://www.w3.org/1998/Math/MathML")')
SETTER = """<!doctype html><meta charset="utf-8"><script>
window.MathJax = {
  startup: {typeset: false}, tex: {tags: "none"}, options: {enableMenu: false},
  chtml: {fontURL: "mathjax/output/chtml/fonts/woff-v2", matchFontHeight: false},
};</script><script src="mathjax/tex-chtml.js"></script>"""
SET = """(async () => {
  await MathJax.startup.promise;
  const found = [];
  for (const [tex, display] of FORMULAS)
    found.push((await MathJax.tex2chtmlPromise(tex, {display})).outerHTML);
  return [found, MathJax.chtmlStylesheet().textContent];
})()"""


def piece(found: re.Match) -> tuple[str, bool]:
    """TeX, and whether it stands on a line of its own."""
    inline, display, block = found.groups()
    return unescape(inline or display or block), inline is None


def written(text: str) -> list[tuple[str, bool]]:
    """All formulas of a page."""
    return [piece(found) for outer in WRITTEN.finditer(text)
            for found in TEX.finditer(outer[3])]


def typeset(site: Path, wanted: set[tuple[str, bool]]) -> dict[tuple[str, bool], str]:
    """HTML of each formula; their style sheet goes to the site. Nothing without a browser."""
    if not wanted or devtools.browser() is None:
        return {}
    order = sorted(wanted)
    setter = site / "_static/setter.html"
    setter.write_text(SETTER, encoding="utf-8")
    with devtools.chromium() as page:
        page.open(setter.resolve().as_uri())
        found, style = page.run(SET.replace("FORMULAS", json.dumps(order)))
    setter.unlink()
    (site / "_static/formulas.css").write_text(style, encoding="utf-8")
    return dict(zip(order, [re.sub(SURPLUS, "", each) for each in found], strict=True))


def inserted(text: str, done: dict[tuple[str, bool], str]) -> str:
    """A page with its formulas set."""
    return WRITTEN.sub(
        lambda outer: f"{outer[1]}{TEX.sub(lambda found: done[piece(found)], outer[3])}"
        f"</{outer[2]}>", text)
