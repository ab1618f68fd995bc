"""A line in every proof box whose statement Rocq has checked, with links to the proofs.

The table of labels is proofs/ledger.json; the text of the chapters knows nothing of it.
"""

import json
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref

LEDGER = Path(__file__).resolve().parents[2] / "proofs/ledger.json"


def entries() -> dict[str, dict]:
    """Entries of the ledger by label; none where a book has no proofs."""
    if not LEDGER.is_file():
        return {}
    return {entry["label"]: entry for entry in json.loads(LEDGER.read_text())["statements"]}


def reference(entry: dict, name: str, docname: str) -> pending_xref:
    node = pending_xref(
        "", refdomain="std", reftype="ref", reftarget=f"rocq-{entry['file']}-{name}".lower(),
        refexplicit=True, refwarn=True, refdoc=docname,
    )
    node += nodes.inline(name, name, classes=["xref", "std", "std-ref"])
    return node


def line(entry: dict, docname: str) -> nodes.paragraph:
    """`Checked in Rocq: name, name.`, and what is covered unless it is all."""
    paragraph = nodes.paragraph(classes=["rocq"])
    paragraph += nodes.Text("Checked in Rocq: ")
    for place, name in enumerate(entry["theorems"]):
        if place:
            paragraph += nodes.Text(", ")
        paragraph += reference(entry, name, docname)
    covers = entry["covers"]
    paragraph += nodes.Text("." if covers == "all" else f". Covered: {covers}.")
    return paragraph


def add(app, doctree) -> None:
    checked = entries()
    for node in list(doctree.findall(nodes.Element)):
        if "countertype" in node.attributes and node.get("label") in checked:
            bodies = [child for child in node.children if isinstance(child, nodes.section)]
            body = bodies[0] if bodies else node
            body += line(checked[node["label"]], app.env.docname)


def setup(app) -> dict:
    app.connect("doctree-read", add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
