"""The search: questions of readers, and the page that must be among the first two."""

import json

import devtools
import pytest
import search
from bs4 import BeautifulSoup

QUERIES = {
    "InfoNCE": "cpc", "contrastive predictive coding": "cpc",
    "alpha_min": "ml_cpc_theorem notation.html",
    "α_min": "ml_cpc_theorem notation.html",
    "Jensen": "variational_bounds ml_cpc_theorem mutual_information notation.html cpc",
    "mutual information": "mutual_information", "Gibbs inequality": "mutual_information",
    "data processing": "data_processing", "Donsker Varadhan": "variational_bounds",
    "NWJ": "variational_bounds rivals", "best critic": "cpc_best",
    "density ratio": "notation.html cpc_best glossary.html", "re-weighting": "reweighting",
    "ceiling": "notation.html reweighting", "weights below one": "reweighting_below",
    "ML-CPC": "ml_cpc ml_cpc_code", "one normaliser": "ml_cpc",
    "lower bound proof": "ml_cpc_theorem", "two over e": "two_over_e",
    "2/e": "two_over_e notation.html", "counter-example": "counter_examples",
    "negatives from the batch": "in_batch", "in-batch": "in_batch notation.html",
    "alpha_batch": "in_batch notation.html", "many anchors": "many_anchors",
    "small weight": "small_weights", "staircase": "staircase staircase_records",
    "MINE": "rivals rivals_records", "SMILE": "rivals rivals_records",
    "choose alpha": "choosing_alpha", "heavy tails": "beyond_gaussians",
    "your own samples": "your_own_samples", "self-consistency": "self_consistency",
    "encoder": "representations representations_records",
    "distillation": "distillation distillation_records",
    "teacher student": "distillation distillation_records", "memory of the loss": "loss_cost",
    "several machines": "past_one_machine", "errata": "errata.html",
    "birthday": "counter_examples", "cite": "how_to.html", "NT-Xent": "cpc other_losses.html",
    "additivity": "glossary.html", "互信息": "glossary.html",
    "温度": "glossary.html", "lab": "lab.html",
}  # fmt: skip


def answers(site, queries) -> dict[str, list[str]]:
    """The first two pages of each query, as the reader's browser finds them."""
    with devtools.chromium() as page:
        page.open((site / "search.html").resolve().as_uri())
        return page.run(
            f"(() => {{ const ready = prepared(SEARCH_INDEX); return Object.fromEntries("
            f"{json.dumps(list(queries))}.map((query) => [query, find(query, ready).slice(0, 2)"
            ".map((page) => page.address)])); })()")


def missed(found: dict[str, list[str]], queries: dict[str, str]) -> list[str]:
    """Queries without any of their pages among the first two."""
    def wanted(query: str) -> set[str]:
        return {name if name.endswith(".html") else f"chapters/{name}.html"
                for name in queries[query].split()}

    return [f"{query}: {found[query]}" for query in queries
            if not wanted(query) & set(found[query])]


def test_the_right_page_is_among_the_first_two(real, chromium):
    site = real / "book/_build/html"
    assert len(QUERIES) >= 40
    found = answers(site, QUERIES)
    assert missed(found, QUERIES) == []
    assert missed(found, {"InfoNCE": "past_one_machine"})  # a wrong answer would be found


def test_the_index_has_no_code_and_no_records(real):
    text = (real / "book/_build/html/_static/search-index.js").read_text()
    entries = json.loads(text.removeprefix("const SEARCH_INDEX = ").rstrip(";\n"))
    kinds = {"page", "section", "statement", "symbol", "exercise", "term"}
    assert {entry["k"] for entry in entries} == kinds
    assert not [entry for entry in entries if entry["a"].startswith("generated/")]
    assert not [entry for entry in entries if "\\" in entry["x"] or "import torch" in entry["x"]]


@pytest.mark.parametrize("tex, text", [
    (r"\alpha_{\min}", "α_min"), (r"\log\frac{m}{\alpha}", "log m/α"), (r"\frac2e", "2/e"),
    (r"\hat\alpha_m", "α_m"), (r"J_\alpha \le I", "J_α ≤ I"),
])
def test_formulas_are_searched_as_they_are_typed(tex, text):
    assert search.readable(tex) == text


PAGE = """<section id="top"><h1>Title</h1><p>Words of the page.</p>
<div class="cell"><pre>import torch</pre></div>
<div class="proof" id="thm-a"><p class="admonition-title">Theorem 1 (A claim)</p>
<p>Two is <span class="math">\\(\\alpha\\)</span>.</p></div>
<dl class="simple glossary"><dt id="term-a">anchor</dt><dt id="term-1">锚点</dt>
<dd>A sample.</dd></dl>
<section id="more"><h2>More</h2><p>Further words.</p></section></section>"""


def test_a_page_is_cut_into_its_pieces():
    found = search.entries(BeautifulSoup(PAGE, "html.parser"), "chapters/x.html")
    assert [(each["k"], each["a"], each["t"]) for each in found] == [
        ("term", "chapters/x.html#term-a", "anchor"), ("term", "chapters/x.html#term-1", "锚点"),
        ("statement", "chapters/x.html#thm-a", "Theorem 1 (A claim)"),
        ("section", "chapters/x.html#more", "More"), ("page", "chapters/x.html", "Title"),
    ]
    assert [each["x"] for each in found] == [
        "A sample.", "A sample.", "Two is α.", "Further words.", "Words of the page."]
    assert search.entries(BeautifulSoup(PAGE, "html.parser"), "generated/records/x.html") == []
