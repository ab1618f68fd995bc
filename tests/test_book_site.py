"""Gates on the built site: each fails on a planted defect, and the book passes them."""

import os
import re

import browser
import launch
import pages
import pytest

ALT = "A line that falls from two to zero as the weight grows to its limit"


@pytest.fixture
def site(tmp_path):
    """A site of two pages without faults; `write` adds to the body of the first."""
    folder = tmp_path / "site"
    folder.mkdir()

    def write(body: str = "", head: str = ""):
        (folder / "one.html").write_text(
            f"<!doctype html><html><head><title>One</title>{head}</head>"
            f'<body><article><p id="here">Text.</p>{body}</article></body></html>'
        )
        (folder / "two.html").write_text('<html><body><p id="there">More.</p></body></html>')
        (folder / "figure-1.png").write_bytes(b"")
        pages.parsed.cache_clear()
        pages.anchors.cache_clear()
        return folder

    return write


GOOD = f"""
<figure id="fig-a"><img src="figure-1.png" alt="{ALT}"></figure>
<a href="#here">here</a> <a href="two.html#there">there</a> <a href="https://example.org/">far</a>
"""


def test_good_site_has_no_fault(site):
    assert pages.faults(site(GOOD)) == []


@pytest.mark.parametrize("image, message", [
    ('<img src="figure-1.png">', "is empty"),
    ('<img src="figure-1.png" alt=" ">', "is empty"),
    ('<img src="figure-1.png" alt="../_images/figure-1.png with some words">', "file name"),
    (f'<img src="figure-1.png" alt="{"0123456789abcdef" * 4}">', "file name or hash"),
    ('<figure id="fig-of-the-capped-estimate-a"><img src="figure-1.png" '
     'alt="fig-of-the-capped-estimate-a"></figure>', "is the label"),
    ('<img src="figure-1.png" alt="A falling line">', "has 14 characters"),
])
def test_image_without_description_is_found(site, image, message):
    found = pages.alt_faults(site(image))
    assert len(found) == 1 and message in found[0]


@pytest.mark.parametrize("body, head", [
    ('<script src="https://example.org/chart.js"></script>', ""),
    ("", '<script src="//example.org/chart.js"></script>'),
    ("", '<link rel="stylesheet" href="https://example.org/x.css">'),
    ("", '<link rel="preload" href="https://example.org/x.woff2">'),
    ("", '<link rel="icon" href="https://example.org/x.ico">'),
    (f'<img src="https://example.org/x.png" alt="{ALT}">', ""),
    ('<iframe src="https://example.org/"></iframe>', ""),
    ('<p style="background: url(https://example.org/x.png)">x</p>', ""),
    ("", "<style>@import 'https://example.org/x.css';</style>"),
])
def test_external_request_is_found(site, body, head):
    found = pages.request_faults(site(body, head))
    assert len(found) == 1 and "example.org" in found[0]


def test_external_request_of_a_style_sheet_is_found(site):
    folder = site()
    (folder / "x.css").write_text('/* url(//example.org/a) */ @font-face {src: url("//x.org/f")}')
    assert pages.request_faults(folder) == ["x.css: fetches //x.org/f"]


@pytest.mark.parametrize("link, message", [
    ('<a href="three.html">x</a>', "not in the site"),
    ('<a href="../outside.html">x</a>', "not in the site"),
    ('<a href="two.html#nowhere">x</a>', "no such anchor"),
    ('<a href="#nowhere">x</a>', "no such anchor"),
    (f'<img src="lost.png" alt="{ALT}">', "not in the site"),
])
def test_broken_link_is_found(site, link, message):
    found = pages.link_faults(site(link))
    assert len(found) == 1 and message in found[0]


def test_the_book_passes_the_gates_without_a_browser(real):
    assert pages.html_pages(real / "book/_build/html")
    assert pages.faults(real / "book/_build/html") == []


def test_mathjax_is_served_by_the_site(real):
    text = (real / "book/_build/html/generated/ledger.html").read_text()
    script = re.search(r'src="(\.\./_static/mathjax/[\w-]+\.js)', text)
    assert script and (real / "book/_build/html/generated" / script.group(1)).is_file()


@pytest.fixture
def chromium():
    if browser.browser() is None:
        if os.environ.get("MLCPC_REQUIRE_BROWSER"):
            pytest.fail(f"MLCPC_REQUIRE_BROWSER is set; looked for {', '.join(browser.NAMES)}")
        pytest.skip(f"no browser on this machine; looked for {', '.join(browser.NAMES)}")


def test_browser_finds_what_a_reader_on_a_phone_would_meet(site, chromium):
    wide = '<div class="broad" style="width: 400px">wide</div>'
    folder = site(wide)
    (folder / "throwing.html").write_text(
        "<!doctype html><head></head><script>const a = 1</script><script>const a = 2</script>")
    (folder / "fetching.html").write_text(
        "<!doctype html><head></head><script>new Image().src = 'http://127.0.0.1:9/x.png'</script>")
    (folder / "formula.html").write_text(
        '<!doctype html><head></head><body><span class="math">\\(x\\)</span></body>')
    (folder / "boxed.html").write_text(
        f'<!doctype html><head></head><body><div style="overflow-x: auto">{wide}</div></body>')
    found = "\n".join(browser.faults(folder))
    assert re.search(r"one\.html: 4\d\d px wide on a screen of 360 px: DIV\.broad", found)
    assert "fetching.html: fetches http://127.0.0.1:9/x.png" in found
    assert "throwing.html: Uncaught SyntaxError: Identifier 'a' has already been declared" in found
    assert "formula.html: 1 formulas written, 0 set" in found
    assert "two.html" not in found and "boxed.html" not in found


def test_the_book_on_a_phone(real, chromium):
    assert browser.faults(real / "book/_build/html") == []


@pytest.mark.parametrize("origin, slug", [
    ("https://github.com/owner/a-book.git", "owner/a-book"),
    ("git@github.com:owner/a-book.git", "owner/a-book"),
    ("https://github.com/owner/a.book", "owner/a.book"),
    ("https://example.org/owner/a-book.git", ""),
    (None, ""),
])
def test_repository_comes_from_git(project, monkeypatch, origin, slug):
    import subprocess

    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    subprocess.run(["git", "init", "--quiet"], check=True)
    if origin:
        subprocess.run(["git", "remote", "add", "origin", origin], check=True)
    assert launch.repository() == slug


def test_buttons_point_to_executed_notebooks():
    offered = launch.buttons("05_x.ipynb", "../_sources/chapters/05_x.ipynb", "owner/book")
    assert [button["url"] for button in offered] == [
        "../_sources/chapters/05_x.ipynb",
        "https://colab.research.google.com/github/owner/book/blob/notebooks/05_x.ipynb",
        "https://mybinder.org/v2/gh/owner/book/notebooks?labpath=05_x.ipynb",
    ]
    assert len(launch.buttons("05_x.ipynb", "x", "")) == 1


def test_published_notebooks_install_the_package(project, monkeypatch):
    import subprocess

    from project import read_notebook

    monkeypatch.setenv("GITHUB_REPOSITORY", "owner/book")
    for command in (["init", "--quiet"], ["add", "notebooks"],
                    ["-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "-m", "x"]):
        subprocess.run(["git", *command], check=True)
    done = project.run("book/_tools/publish.py", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in (project / "out").iterdir()) == [
        "01_first.ipynb", "02_second.ipynb", "requirements.txt", "results",
    ]
    assert (project / "out/results/used.json").is_file()
    commit = re.search(
        r"mlcpc @ git\+https://github.com/owner/book@([0-9a-f]{40})",
        (project / "out/requirements.txt").read_text(),
    ).group(1)
    first = read_notebook(project / "out/01_first.ipynb").cells[0].source
    assert "git clone --quiet https://github.com/owner/book mlcpc-book" in first
    assert f"checkout --quiet {commit}" in first and "MLCPC_RESULTS=mlcpc-book/results" in first
