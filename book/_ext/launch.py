"""Addresses of the executed notebook of a page: Colab, Binder and download.

Jupyter Book's buttons point at the text source, which Colab can not open. These point at the
executed notebook: on the branch `notebooks` of the repository, and beside the page. Without a
GitHub repository only the download is offered. The block "Run this page" shows them.
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
    """Text and address of each way to open `x.ipynb`; `download` is the address of its copy."""
    offered = [("Download", download)]
    if slug:
        colab = f"https://colab.research.google.com/github/{slug}/blob/{BRANCH}/{notebook}"
        binder = f"https://mybinder.org/v2/gh/{slug}/{BRANCH}?labpath={notebook}"
        offered += [("Open in Colab", colab), ("Open in Binder", binder)]
    return [{"text": f"{text} the executed notebook of this page", "url": url}
            for text, url in offered]


def setup(app) -> dict:
    # Jupyter Book sets this option of an extension that we leave out; unknown options are errors.
    app.add_config_value("comments_config", {}, "html")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
