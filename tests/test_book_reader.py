"""What a reader meets: each gate fails on a planted fault, and the book passes them all."""

import os
import re
import shutil
import struct
import subprocess
import zlib

import browser
import devtools
import finish
import formulas
import launch
import pages
import pytest
from bs4 import BeautifulSoup

SOLUTION = ('<div class="solution admonition"><p>Nine.</p></div><div class="cell tag_hide-input">'
            '<details class="hide"><summary><p class="collapsed">Show</p><p class="expanded">Hide'
            '</p></summary><pre>code</pre></details><div class="cell_output"><pre>115</pre></div>'
            "</div>")
WIDE = "word " * 200
# Body of a page, screen, and what the gate must say of it.
PLANTED = {
    "wide": ('<div class="broad" style="width: 400px">wide</div>', "phone",
             r"4\d\d px wide on a screen of 360 px: DIV\.broad"),
    "formula": ('<span class="math">\\(x\\)</span>', "phone", r"1 formulas written, 0 set"),
    "plain": ("<mjx-mi>x</mjx-mi>", "phone", "formula in a font of text"),
    "throwing": ("<script>const a = 1</script><script>const a = 2</script>", "phone",
                 r"SyntaxError: Identifier 'a' has already been declared"),
    "lost": ('<script src="lost.js"></script>', "phone", "404"),
    "fetching": ("<script>new Image().src = 'http://127.0.0.1:9/x.png'</script>", "phone",
                 "fetches http://127.0.0.1:9/x.png"),
    "faint": ('<p style="color: #9ca4af; background: #ced6dd">pale</p>', "phone",
              r"contrast 1\.\d of 'pale in .*, at least 4\.5"),
    "folded": ('<details><summary>More</summary><p style="color: #ccc">pale</p></details>',
               "phone", r"contrast 1\.\d of 'pale"),
    "dark": ('<p class="p">pale</p><style>@media (prefers-color-scheme: dark) { body { background:'
             " #121212; color: #eee; } .p { color: #555; } }</style>", "desk, dark",
             r"contrast 2\.\d of 'pale"),
    "stop": ('<pre tabindex="0">code</pre>', "phone", r"a tab stop .*: PRE"),
    "sideways": ('<div class="cell_output"><pre style="overflow: auto; white-space: pre">'
                 f"{WIDE}</pre></div>", "desk, dark", "an output that scrolls sideways: word word"),
    "solution": (SOLUTION, "phone", "the output of a solution is open: 115"),
    "unsized": ('<img src="light.png" alt="x">', "phone", "a figure without width and height"),
    "small": ('<img src="light.png" alt="x" width="640" height="400" style="max-width: 100%">',
              "phone", "a figure too small to read on a phone"),
    "glaring": ('<img src="light.png" alt="x" width="64" height="40">', "desk, dark",
                "a figure that glares on a dark page"),
    "headings": ("<h2>Two</h2><h1>One again</h1>", "phone", "heading out of order: h1 One again"),
    "skipped": ("<h3>Three</h3>", "phone", "heading out of order: h3 Three"),
    "shifting": ('<div id="a"></div><p style="height: 400px">Text that moves.</p>'
                 "<script>new PerformanceObserver(() => { document.getElementById('a')"
                 ".style.height = '500px'; }).observe({type: 'paint', buffered: true})</script>",
                 "phone",
                 r"its layout shifts by 0\.\d+, at most 0\.1"),
    "slow": ("<script>for (let i = 0; i < 4e9; i += 1);</script>", "phone",
             r"formulas stand after \d+\.\d s at a quarter of the speed"),
    "split": ('<pre style="break-inside: auto">code</pre>', "phone", "on paper pre is split: code"),
    "broad": ('<table style="width: 900px; display: table"><tr><td>cut</table>', "phone",
              "on paper table is too wide: cut"),
    "high": ('<img src="light.png" alt="a tower" width="64" style="height: 300mm">', "phone",
             "on paper img is too tall: a tower"),
    "endless": ('<p style="height: 9000mm">x</p>', "phone", "35 sheets of paper, at most 30"),
    "heavy": ('<script src="heavy.js"></script>', "phone", r"a first load takes 1\.6 MB"),
}
DRAWN = ("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame("
         "() => setTimeout(done))))")
HEAD = ('<!doctype html><html lang="en"><head><meta charset="utf-8"><title>x</title>'
        '<meta name="viewport" content="width=device-width"></head>'
        "<style>body { margin: 8px; } pre { white-space: pre-wrap; break-inside: avoid; }"
        "</style>")


def png(path, dots_a_metre: int = 0) -> None:
    """A white picture of 64 × 40 dots."""
    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    density = struct.pack(">IIB", dots_a_metre, dots_a_metre, 1)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 40, 8, 0, 0, 0, 0))
        + (chunk(b"pHYs", density) if dots_a_metre else b"")
        + chunk(b"IDAT", zlib.compress((b"\0" + b"\xff" * 64) * 40)) + chunk(b"IEND", b""))


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """What the gates say of one page for each fault, and of one without any."""
    if devtools.browser() is None:
        if os.environ.get("MLCPC_REQUIRE_BROWSER"):
            pytest.fail(f"MLCPC_REQUIRE_BROWSER is set; looked for {', '.join(devtools.NAMES)}")
        pytest.skip(f"no browser on this machine; looked for {', '.join(devtools.NAMES)}")
    site = tmp_path_factory.mktemp("planted")
    png(site / "light.png")
    (site / "favicon.ico").write_bytes(b"")
    (site / "heavy.js").write_text("/*" + "x" * 1_600_000 + "*/")
    for name, (body, _, _) in {**PLANTED, "good": ("<h2>Two</h2><pre>x</pre>", "", "")}.items():
        (site / f"{name}.html").write_text(
            f"{HEAD}<body><article><h1>One</h1><p>Text.</p>{body}</article></body></html>")
    return {key: browser.faults_of(report) for key, report in browser.measured(site).items()}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(reports, name):
    _, screen, message = PLANTED[name]
    found = reports[f"{name}.html", screen]
    assert [fault for fault in found if re.search(message, fault)], found


def test_a_page_without_faults_passes(reports):
    assert reports["good.html", "phone"] == reports["good.html", "desk, dark"] == []


def test_what_scrolls_takes_the_keyboard_once_it_is_unfolded(real, tmp_path, chromium):
    (tmp_path / "reader.js").write_bytes((real / "book/_static/reader.js").read_bytes())
    (tmp_path / "x.html").write_text(
        f'{HEAD}<script src="reader.js"></script><body><article><div style="display: none">'
        f'<pre style="overflow: auto; white-space: pre">{WIDE}</pre></div><pre>code</pre>')
    with browser.serving(tmp_path) as address, devtools.chromium() as page:
        page.open(f"{address}/x.html")
        stops = "[...document.querySelectorAll('pre')].map((each) => each.tabIndex)"
        assert page.run(stops) == [-1, -1]
        page.run("document.querySelector('div').style.display = ''")
        assert page.run(f"{DRAWN}.then(() => {stops})") == [0, -1]


AXE_PAGES = ("intro", "chapters/ml_cpc", "chapters/staircase_records", "notation", "live", "lab",
             "search", "teach", "generated/ledger", "404")


def test_the_book_passes_all_gates(real, chromium, axe):
    """Chapters and prose; of the records and of the proofs one page each, since all are alike.

    Axe takes longer than all else, so it sees a page of each kind, on a desk in daylight, too.
    """
    site = real / "book/_build/html"
    alike = ("generated/records/", "generated/proofs/")
    names = browser.readable(site)
    chosen = [name for name in names if not name.startswith(alike)]
    chosen += [next(name for name in names if name.startswith(each)) for each in alike]
    seen = [f"{name}.html" for name in AXE_PAGES]
    found = browser.measured(site, [name for name in chosen if name not in seen])
    screens = (*browser.SCREENS, ("desk", browser.DESK, False))
    found |= browser.measured(site, seen, axe, screens)
    (real / "book/_build/pages.tsv").write_text(browser.table(found) + "\n")
    assert [f"{page} ({screen}): {fault}" for (page, screen), report in found.items()
            for fault in browser.faults_of(report)] == []


@pytest.fixture(scope="session")
def axe(tmp_path_factory) -> str:
    """The text of axe-core, from npm, since it is too large for the repository; else nothing."""
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("axe")
    if npm:
        subprocess.run([npm, "install", "--silent", "--prefix", folder, "axe-core@4.10.3"],
                       capture_output=True, timeout=300)
    source = folder / "node_modules/axe-core/axe.min.js"
    return source.read_text() if source.is_file() else ""


def test_axe_finds_a_picture_without_words(tmp_path, chromium, axe):
    if not axe:
        pytest.skip("npm could not fetch axe-core")
    (tmp_path / "bad.html").write_text(f'{HEAD}<body><main><h1>x</h1><img src="a.png"></main>')
    report = browser.measured(tmp_path, axe=axe)["bad.html", "phone"]
    assert "axe: image-alt: img" in browser.faults_of(report)
    assert browser.table({("bad.html", "phone"): report}).splitlines()[1].split("\t")[7] == "1+0"


def head_faults(site) -> list[str]:
    """Pages that tell a search engine or a link preview nothing, and what a site must have."""
    found = [f"no {name}" for name in ("404.html", "_static/favicon.svg")
             if not (site / name).is_file()]
    for page in pages.html_pages(site):
        text = page.read_text()
        if 'http-equiv="refresh"' in text[:200].lower():
            continue
        found += [f"{page.name} has no {mark}" for mark in (
            'name="description"', 'property="og:title"', 'property="og:description"',
            'rel="icon"', 'class="imprint"') if mark not in text and page.name != "404.html"]
    return found


def test_every_page_describes_itself(real, tmp_path):
    assert head_faults(real / "book/_build/html") == []
    (tmp_path / "x.html").write_text("<html><head></head></html>")
    assert len(head_faults(tmp_path)) == 7
    footer = BeautifulSoup((real / "book/_build/html/notation.html").read_text(),
                           "html.parser").find(class_="imprint").get_text()
    assert all(word in footer for word in ("MIT licence", "Version 0.", "20", "How to cite",
                                           "Found a mistake?"))


def test_outputs_of_solutions_are_folded_and_others_are_not():
    soup = BeautifulSoup(SOLUTION + SOLUTION.partition("</div>")[2], "html.parser")
    plain = BeautifulSoup(SOLUTION.partition("</div>")[2], "html.parser")
    finish.fold_solutions(soup)
    finish.fold_solutions(plain)
    assert all(output.find_parent("details") for output in soup.select(".cell_output"))
    assert not plain.select_one(".cell_output").find_parent("details")


def test_figures_have_the_size_of_their_density(tmp_path):
    for name, dots, size in (("plain", 0, (64, 40)), ("once", 4331, (64, 40)),
                             ("twice", 8661, (32, 20))):
        png(tmp_path / f"{name}.png", dots)
        assert finish.dimensions(tmp_path / f"{name}.png") == size
    (tmp_path / "x.svg").write_text("<svg/>")
    assert finish.dimensions(tmp_path / "x.svg") is None


def test_formulas_are_found_where_they_are_written():
    text = ('<span class="math notranslate nohighlight">\\(a &lt; b\\)</span><div class="math '
            'notranslate nohighlight" id="e"><span class="eqno">(1)</span>\\[c\\]</div>')
    assert formulas.written(text) == [("a < b", False), ("c", True)]
    done = formulas.inserted(text, {("a < b", False): "<mjx>1</mjx>", ("c", True): "<mjx>2</mjx>"})
    assert "<mjx>1</mjx></span>" in done and '<span class="eqno">(1)</span><mjx>2</mjx>' in done


def test_formulas_carry_mathml_and_need_no_script(real, chromium):
    text = (real / "book/_build/html/chapters/ml_cpc.html").read_text()
    shown = BeautifulSoup(pages.parsed(real / "book/_build/html/chapters/ml_cpc.html").find(
        "article").decode(), "html.parser")
    for code in shown.find_all("pre"):
        code.extract()
    assert "<math" in text and "\\(" not in shown.get_text()
    assert "tex-chtml.js" not in text and "formulas.css" in text


def test_the_page_says_how_to_run_it(monkeypatch):
    box = '<div class="cost">Reading</div>'
    soup = BeautifulSoup(box, "html.parser")
    monkeypatch.setattr(launch, "repository", lambda: "")
    finish.run_block(soup, "ml_cpc")
    assert "make lab PAGE=ml_cpc" in str(soup) and "colab" not in str(soup)
    monkeypatch.setattr(launch, "repository", lambda: "owner/book")
    soup = BeautifulSoup(box, "html.parser")
    finish.run_block(soup, "ml_cpc")
    assert "colab.research.google.com/github/owner/book/blob/notebooks/ml_cpc.ipynb" in str(soup)
    assert "issues/new?title=Mistake+on+chapters/ml_cpc" in finish.footer("../", "chapters/ml_cpc")


def test_the_first_page_tells_minutes_and_prerequisites(real):
    soup = BeautifulSoup((real / "book/_build/html/intro.html").read_text(), "html.parser")
    row = next(row for row in soup.select("tbody tr")
               if row.find("a", href="chapters/ml_cpc.html"))
    cells = row.find_all("td")
    assert int(cells[2].get_text()) > 5
    assert cells[3].find("a", href="chapters/cpc.html")


@pytest.mark.parametrize("name", ["PDF", "EPUB"])
def test_editions_are_linked_if_they_are_built(real, name):
    site = real / "book/_build/html"
    if not (site / "editions").is_dir():
        pytest.skip("no editions: run make editions")
    assert f">{name}</a>" in (site / "intro.html").read_text()
