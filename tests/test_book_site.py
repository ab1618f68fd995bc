"""Gates on the built site: each fails on a planted defect, and the book passes them."""

import re

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


def test_mathjax_is_served_by_the_site_where_formulas_are_not_set(project):
    """Without Chromium the pages keep their TeX, and a MathJax of the site sets it."""
    site, text = project / "book/_build/html", ""
    done = project.run("-c", """
import sys, pathlib
sys.path.insert(0, "book/_tools")
import devtools
devtools.browser = lambda: None
import render
render.build()
""")
    assert done.returncode == 0, done.stdout + done.stderr
    text = (site / "generated/ledger.html").read_text()
    script = re.search(r'src="(\.\./_static/mathjax/[\w-]+\.js)', text)
    if "class=\"math" in text:
        assert script and (site / "generated" / script.group(1)).is_file()
    assert (site / "_static/mathjax/tex-chtml.js").is_file()


@pytest.mark.parametrize("text", [
    "| m | ceiling |\n| --- | --- |\n| 2 | 0.69 |", "at $\\alpha_1$ it holds", "see \\(x\\)",
    "![a picture](a.png)",
])
def test_source_that_a_reader_sees_is_found(tmp_path, text):
    body = f"<article><p>5 | 3 of $20 and $30</p><pre>{text}</pre></article>"
    (tmp_path / "good.html").write_text(body)
    (tmp_path / "bad.html").write_text(body.replace("</p>", f"</p><p>{text}</p>"))
    assert [fault.split(":")[0] for fault in pages.source_faults(tmp_path)] == ["bad.html"]


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

    import publish

    publish.offer(project / "book/chapters", "owner/book")  # what a reader downloads is the same
    for name in ("01_first.ipynb", "02_second.ipynb"):
        offered, given = (read_notebook(project / folder / name) for folder in (
            "book/chapters", "out"))
        assert offered.cells[0].source == given.cells[0].source


def test_a_downloaded_page_runs_in_an_empty_folder(real, wheel, tmp_path):
    """With the wheel in place of the clone; a page that shows no record needs nothing else."""
    import os
    import shutil
    import subprocess
    import sys

    empty, packages = tmp_path / "empty", tmp_path / "packages"
    empty.mkdir()
    shutil.copy(real / "book/_build/html/_sources/chapters/mutual_information.ipynb", empty)
    install = ["pip", "install", "--quiet", "--no-deps", "--target", packages, wheel]
    subprocess.run([sys.executable, "-m", *install], check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(packages)}

    def run(*command: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, *command], cwd=empty, env=environment,
                              capture_output=True, text=True)

    assert str(packages) in run("-c", "import mlcpc; print(mlcpc.__file__)").stdout
    done = run("-m", "papermill", "--no-progress-bar", "mutual_information.ipynb", "done.ipynb")
    assert done.returncode == 0, done.stderr[-2000:]
    (packages / "mlcpc/book/__init__.py").write_text("raise ImportError")  # is found
    assert run("-m", "papermill", "--no-progress-bar", "mutual_information.ipynb",
               "done.ipynb").returncode


def unscripted(site, name: str, page) -> str:
    """What is missing on a page from the disk, with JavaScript off."""
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.open((site / name).resolve().as_uri())
    page.call("Emulation.setScriptExecutionDisabled", value=False)
    return page.run("""document.fonts.ready.then(() => {
      const seen = (each) => each.getBoundingClientRect().width > 0
        && each.checkVisibility({visibilityProperty: true});
      const all = (what) => [...document.querySelectorAll(`article :is(${what})`)]
        .filter((each) => !each.closest("details, .solution"));
      const bare = all("span.math, div.math")
        .filter((each) => !each.querySelector("mjx-container"));
      const lost = all("img").filter((each) => each.getAttribute("loading") !== "lazy"
        && !each.naturalWidth);
      const hidden = all("p, li, h1, h2, img, mjx-container").filter((each) => !seen(each)
        && !each.closest("mjx-assistive-mml, [hidden], [class^=quiz-]"));
      return [...bare, ...lost, ...hidden].map((each) => each.outerHTML.slice(0, 80)).join("\\n");
    })""")


def test_pages_can_be_read_from_the_disk_without_scripts(real, chromium, tmp_path):
    import devtools

    site = real / "book/_build/html"
    (tmp_path / "bad.html").write_text(
        '<article><p style="visibility: hidden">a</p><img src="lost.png" alt="b">'
        '<span class="math">\\(c\\)</span><script>document.body.textContent = ""</script>')
    with devtools.chromium() as page:
        assert len(unscripted(tmp_path, "bad.html", page).splitlines()) == 3
        assert {name: missing for name in ("intro", "chapters/ml_cpc", "chapters/findings", "live",
                                           "chapters/three_beliefs", "glossary", "kernel")
                if (missing := unscripted(site, f"{name}.html", page))} == {}
