"""The two editions: every page in its place, every link to something, XML that is well formed."""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
import zipfile

import editions
import pytest
from conftest import ROOT
from project import Refusal

MATH = ('<span class="math notranslate nohighlight"><mjx-container><mjx-math></mjx-math>'
        '<mjx-assistive-mml display="inline"><math><mi>α</mi></math></mjx-assistive-mml>'
        "</mjx-container></span>")
ONE = ('<section id="one"><h1>One<a class="headerlink" href="#one">#</a></h1>'
       f'<p>Take {MATH} &amp; go <a href="chapters/two.html#there">there</a>, '
       '<a href="search.html">not there</a>.</p>'
       "<details><summary>More</summary><p>Folded<br>words.</p></details></section>")
TWO = ('<section id="two"><h1>Two</h1><p id="there">Here. <a href="../one.html">Back</a></p>'
       '<img src="../_images/a.png" alt="A picture" loading="lazy"></section>')


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "_toc.yml").write_text("root: one\nchapters:\n  - file: chapters/two\n")
    folder = tmp_path / "site"
    (folder / "chapters").mkdir(parents=True)
    (folder / "_images").mkdir()
    (folder / "_static").mkdir()
    shutil.copy(ROOT / "book/_static/book.css", folder / "_static")
    (folder / "_images/a.png").write_bytes(b"\x89PNG")
    for name, text in (("one", ONE), ("chapters/two", TWO)):
        style = (folder / "_static/book.css").as_uri()
        (folder / f"{name}.html").write_text(
            f"<html><link rel='stylesheet' href='{style}'><article class='a'>{text}</article>"
            "</html>")
    return folder


def epub_faults(path) -> list[str]:
    """What a reader of e-books would stumble over; a part of what epubcheck looks at."""
    found = []
    with zipfile.ZipFile(path) as book:
        names = book.namelist()
        if names[0] != "mimetype" or book.infolist()[0].compress_type != zipfile.ZIP_STORED:
            found.append("mimetype is not first and unpacked")
        anchors, links = {}, []
        for name in names:
            if name.endswith((".xhtml", ".opf", ".xml")):
                try:
                    tree = ElementTree.fromstring(book.read(name))
                except ElementTree.ParseError as error:
                    found.append(f"{name}: {error}")
                    continue
                ids = [each.get("id") for each in tree.iter() if each.get("id")]
                found += [f"{name}: id {each} twice" for each in set(ids) if ids.count(each) > 1]
                anchors[name] = set(ids)
                links += [(name, each.get(key)) for each in tree.iter() for key in ("href", "src")
                          if each.get(key) and not re.match("[a-z]+:", each.get(key))]
        for name, link in links:
            path, _, anchor = link.partition("#")
            target = path or name
            if target not in names:
                found.append(f"{name}: {link} is not in the book")
            elif anchor and anchor not in anchors.get(target, set()):
                found.append(f"{name}: {link} has no such anchor")
        listed = set(re.findall(r' href="([^"]+)"', book.read("content.opf").decode()))
        found += [f"{name} is not in the manifest" for name in names
                  if name not in listed | {"mimetype", "content.opf", "META-INF/container.xml"}]
    return found


def test_the_epub_is_whole(site, tmp_path):
    articles = editions.chapters(site)
    assert list(articles) == ["one", "chapters/two"]
    editions.write_epub(site, articles, tmp_path / "a.epub")
    assert epub_faults(tmp_path / "a.epub") == []
    with zipfile.ZipFile(tmp_path / "a.epub") as book:
        one, two = book.read("one.xhtml").decode(), book.read("chapters-two.xhtml").decode()
        nav = book.read("nav.xhtml").decode()
    assert '<math xmlns="http://www.w3.org/1998/Math/MathML"><mi>α</mi></math>' in one
    assert "mjx" not in one and 'href="chapters-two.xhtml#there"' in one and "search" not in one
    assert 'src="_images/a.png"' in two and "<details" not in one
    assert nav.index("One") < nav.index("Two")


@pytest.mark.parametrize("old, new, message", [
    ("#there", "#nowhere", "has no such anchor"),
    ("<h1>One", '<h1 id="one">One', None),  # mended: an id stands once
    ("../_images/a.png", "../_images/b.png", None),
])
def test_a_broken_epub_is_found(site, tmp_path, old, new, message):
    for page in (site / "one.html", site / "chapters/two.html"):
        page.write_text(page.read_text().replace(old, new))
    articles = editions.chapters(site)
    if "b.png" in new:
        with pytest.raises(FileNotFoundError):
            editions.write_epub(site, articles, tmp_path / "a.epub")
        return
    editions.write_epub(site, articles, tmp_path / "a.epub")
    found = epub_faults(tmp_path / "a.epub")
    assert found == [] if message is None else message in found[0]


def test_the_pdf_has_an_outline_numbers_and_links(site, tmp_path, chromium):
    pypdf = pytest.importorskip("pypdf")
    editions.write_pdf(site, editions.chapters(site), tmp_path / "a.pdf")
    book = pypdf.PdfReader(tmp_path / "a.pdf")
    assert [each.title for each in book.outline] == ["One", "Two"]
    for number, sheet in enumerate(book.pages, 1):
        words = sheet.extract_text().split()
        assert str(number) in words and str(3 - number) not in words
    assert "Folded" in book.pages[0].extract_text()  # paper has no folds
    links = [[book.get_page_number(link.get_object()["/Dest"][0].get_object())
              for link in sheet["/Annots"]] for sheet in book.pages]
    assert links == [[1], [0]]  # the link to a page outside the book is gone


def test_editions_need_a_site(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refusal, match="no site: run make book first"):
        editions.build()


def test_the_editions_of_the_book(real):
    folder = real / "book/_build/html/editions"
    if not folder.is_dir():
        pytest.skip("no editions: run make editions")
    assert epub_faults(folder / editions.EPUB) == []
    if shutil.which("java") and shutil.which("epubcheck"):
        done = subprocess.run(["java", "-jar", shutil.which("epubcheck"),
                               folder / editions.EPUB], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    pdf = pytest.importorskip("pypdf").PdfReader(folder / editions.PDF)
    assert len(pdf.outline) == len(editions.chapters(real / "book/_build/html"))
    assert 400 < len(pdf.pages) < 1000
