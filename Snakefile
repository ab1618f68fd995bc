# notebooks/*.md -> book/chapters/*.ipynb -> book/generated/ledger.md -> book/_build/html
# results/* -> book/generated/records, book/generated/paper.md -> book/_build/html
# A file is made again when a file it depends on, its profile or its rule has changed.
import sys
from pathlib import Path

sys.path.insert(0, "book/_tools")
sys.path.insert(0, "book/_ext")
import dependencies
import launch
import project

PYTHON = sys.executable
PROFILE = project.check_profile(config.get("profile", "quick"))
ONLY = config.get("notebook", "")  # the profile asked for is this notebook's alone, if given
NAMES = project.names()
# Found here and not in the rule: there Snakemake would take an old page for a source if this failed.
INPUTS = {name: dependencies.inputs(name) for name in NAMES}
CHAPTERS = expand("book/chapters/{name}.ipynb", name=NAMES)
RECORDS = sorted(map(str, project.RESULTS.glob("*.json")))
PUBLISHED = str(project.RESULTS / "paper.csv")
MODULES = sorted(map(str, project.PACKAGE.rglob("*.py")))
PROOFS = sorted(map(str, [
    *Path("proofs").glob("*.v"), *Path("proofs").glob("*.txt"), *Path("proofs").glob("*.json"),
]))
COURSE = sorted(map(str, Path("book/course").glob("*.yml")))
SHARED = ["requirements.lock", "book/_tools/project.py"]
PAGES = ["_config.yml", "_toc.yml", *sorted(map(str, [
    *Path("book").glob("*.md"), *Path("book").glob("*.bib"),
    *Path("book/_ext").glob("*.py"), *Path("book/_static").glob("*.*"),
    *Path("book/quizzes").glob("*.yml"),
]))]


def profile_of(wildcards):
    return PROFILE if ONLY in ("", wildcards.name) else "quick"


rule all:
    input: "book/_build/html/index.html"


rule chapter:
    input:
        lambda wildcards: INPUTS[wildcards.name],
        SHARED,
        "book/_tools/execute.py",
        "book/_tools/budget.py",
        "book/_tools/dependencies.py",
    output: "book/chapters/{name}.ipynb"
    params: profile=profile_of
    resources: notebooks=1
    shell:
        "{PYTHON} book/_tools/execute.py notebooks/{wildcards.name}.md {output}"
        " --set profile={params.profile}"


rule ledger:
    input:
        CHAPTERS, SHARED, "book/_tools/ledger.py", "book/_tools/kernel.py",
        [path for path in PROOFS if path.endswith("ledger.json")],
    output: "book/generated/ledger.md"
    shell: "{PYTHON} book/_tools/ledger.py"


# From the committed texts of the proofs: the book is built without Rocq.
if PROOFS:
    rule kernel:
        input:
            PROOFS, SHARED, "book/_tools/kernel.py",
            expand("notebooks/{name}.md", name=NAMES),
        output: directory("book/generated/proofs"), directory("book/generated/kernel")
        shell: "{PYTHON} book/_tools/kernel.py"


# Whether a record is stale depends on the version of its experiment.
rule registry:
    input:
        RECORDS, MODULES, SHARED, expand("notebooks/{name}.md", name=NAMES),
        "book/_tools/dependencies.py", "book/_tools/registry.py",
    output: "book/generated/records.md", directory("book/generated/records")
    shell: "{PYTHON} book/_tools/registry.py"


rule paper:
    input:
        RECORDS, PUBLISHED, SHARED, MODULES,
        "book/_tools/registry.py", "book/_tools/paper.py",
    output: "book/generated/paper.md"
    shell: "{PYTHON} book/_tools/paper.py"


# What a course needs and other sources say: glossary, graph of the pages, wrong pictures, plans.
if COURSE:
    rule course:
        input:
            COURSE, SHARED, "book/intro.md", expand("notebooks/{name}.md", name=NAMES),
            [path for path in CHAPTERS if path.endswith("/findings.ipynb")],
            "book/_tools/course.py", "book/_tools/lint.py",
        output: directory("book/generated/course")
        shell: "{PYTHON} book/_tools/course.py"


rule site:
    input:
        CHAPTERS, PAGES, RECORDS, SHARED,
        rules.ledger.output, rules.registry.output, rules.paper.output,
        rules.kernel.output if PROOFS else [],
        rules.course.output if COURSE else [],
        [f"book/_tools/{tool}.py" for tool in (
            "render", "finish", "formulas", "livedata", "publish", "search", "devtools", "pages")],
    output: "book/_build/html/index.html"
    params: repository=launch.repository()
    shell: "{PYTHON} book/_tools/render.py"


# Left out of `make book`, which reads records and must never make one.
if config.get("sweeps") != "none":
    include: "workflow/sweeps.smk"
