"""Buttons of our own on the pages made from notebooks: Colab, Binder and download.

Jupyter Book's buttons point at the text source, which Colab can not open. These point at the
executed notebook: on the branch `notebooks` of the repository, and beside the page. Without a
GitHub repository only the download is offered.
"""

import os
import re
import subprocess

BRANCH = "notebooks"


def repository() -> str:
    """`owner/name` on GitHub, from the workflow's environment or git's remote; else empty."""
    slug = os.environ.get("GITHUB_REPOSITORY", "")
    if not slug:
        done = subprocess.run(
            ["git", "config", "--get", "remote.origin.url"], capture_output=True, text=True
        )
        found = re.fullmatch(
            r"(?:https://|ssh://git@|git@)github\.com[/:]([\w.-]+/[\w.-]+?)(?:\.git)?/?",
            done.stdout.strip(),
        )
        slug = found.group(1) if found else ""
    return slug


def buttons(notebook: str, download: str, slug: str) -> list[dict]:
    """Buttons in the form of the theme, for `01_x.ipynb` and the address of its copy."""
    offered = [("Notebook", "Download", "fas fa-download", download)]
    if slug:
        colab = f"https://colab.research.google.com/github/{slug}/blob/{BRANCH}/{notebook}"
        binder = f"https://mybinder.org/v2/gh/{slug}/{BRANCH}?labpath={notebook}"
        offered += [("Colab", "Open in Colab", "fas fa-play", colab),
                    ("Binder", "Open in Binder", "fas fa-rocket", binder)]
    return [
        {"type": "link", "text": text, "tooltip": f"{tooltip} the executed notebook of this page",
         "icon": icon, "url": url, "label": f"launch-{text.lower()}"}
        for text, tooltip, icon, url in offered
    ]


def add(app, pagename, templatename, context, doctree) -> None:
    if not pagename.startswith("chapters/"):
        return
    notebook = pagename.removeprefix("chapters/") + ".ipynb"
    download = context["pathto"](f"_sources/{pagename}.ipynb", 1)
    context["header_buttons"][:0] = buttons(notebook, download, repository())


def setup(app) -> dict:
    # Jupyter Book sets this option of an extension that we leave out; unknown options are errors.
    app.add_config_value("comments_config", {}, "html")
    app.connect("html-page-context", add, priority=502)  # after the theme's own buttons
    return {"parallel_read_safe": True, "parallel_write_safe": True}
