"""`make student`: notebooks for students, and for whoever teaches, from the same sources.

    python book/_tools/classroom.py [NAME ...] [--run]

Students get stubs and checks and no solutions; their notebooks run to the end unfilled. Instructors
get the solutions, the minutes of each section, and the wrong pictures of the page. A third edition
is for nbgrader, which gives points. With --run each student notebook named is executed, as a gate.
"""

import argparse
import ast
import builtins
import re
from functools import cache
from pathlib import Path

import budget
import course
import nbformat
from project import (
    NOTEBOOKS,
    Refusal,
    asked,
    code_cells,
    main,
    names,
    read_notebook,
    replacing,
    say,
    tags,
)

from mlcpc.book import mistakes

STUDENT = Path("book/_build/course/student")
INSTRUCTOR = Path("book/_build/course/instructor")
NBGRADER = Path("book/_build/course/nbgrader")
CONFIG = """# Sources for nbgrader 0.9.6, an assignment a page. In this folder, for the page cpc:
#   nbgrader generate_assignment cpc    makes release/cpc, without the answers
#   nbgrader autograde cpc              grades submitted/NAME/cpc/cpc.ipynb
#   nbgrader export                     writes grades.csv
# The kernel that grades needs mlcpc, which also holds the right answers: they are no secret.
c = get_config()
c.ClearSolutions.code_stub = {"python": "# your answer goes above or here"}
c.ExecutePreprocessor.timeout = 600
"""
FENCED = r"^(?P<fence>`{3,}|:{3,})\{%s\}(?P<title>[^\n]*)\n(?P<body>.*?)^(?P=fence)[ \t]*$"
OPTIONS = re.compile(r"\A(?::[\w-]+:[^\n]*\n)+\n?")
LABEL = re.compile(r"^:label:\s*(\S+)$", re.MULTILINE)
BOX = re.compile(FENCED % r"(?:prf:)?(?P<kind>[\w-]+)", re.MULTILINE | re.DOTALL)
KINDS = {"exercise": "Exercise", "solution": "Solution", "theorem": "Theorem", "lemma": "Lemma",
         "proposition": "Proposition", "corollary": "Corollary", "proof": "Proof",
         "definition": "Definition", "remark": "Remark", "example": "Example",
         "warning": "Warning", "admonition": "", "dropdown": ""}
ROLE = re.compile(r"\{(?P<kind>prf:ref|numref|eq|cite|cite:t|cite:p|ref)\}"
                  r"`(?:(?P<words>[^`<]+?)\s*<(?P<target>[^`]*)>|(?P<label>[^`]+))`")
NUMBERED = re.compile(r"^\$\$\n((?:(?!^\$\$).)*?)^\$\$ \(([\w:.-]+)\)$", re.MULTILINE | re.DOTALL)
EQUATION = re.compile(r"^\$\$ \(([\w:.-]+)\)$", re.MULTILINE)
BIBLIOGRAPHY = Path("book/references.bib")
UNRESOLVED = re.compile(r"\[(?:eq|thm|prp|lem|def|cor|fig|ex)-[\w-]+\](?!\()|\{[a-z:]+\}`")
HIDDEN = {"hide-input", "remove-cell", "remove-input"}


def exercises_begin(notebook) -> int:
    """The place of the cell that holds the heading of the exercises."""
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown" and re.search(r"^## Exercises$", cell.source, re.MULTILINE):
            return place
    return len(notebook.cells)


def exercises_end(notebook) -> int:
    """The place of the first cell with a heading after the exercises."""
    begin = exercises_begin(notebook)
    for place in range(begin + 1, len(notebook.cells)):
        cell = notebook.cells[place]
        if cell.cell_type == "markdown" and re.search(r"^## ", cell.source, re.MULTILINE):
            return place
    return len(notebook.cells)


def plain_box(found: re.Match) -> str:
    """A box of the book as Markdown that any notebook program shows."""
    kind, body = found["kind"], found["body"]
    if kind not in KINDS:
        return found.group()
    label = LABEL.search(body)
    name = f" <a id=\"{label.group(1)}\"></a>" if label else ""
    title = found["title"].strip() if kind != "solution" else ""
    head = ": ".join(filter(None, (KINDS[kind], title)))
    return f"**{head}.**{name}\n\n" + BOX.sub(plain_box, OPTIONS.sub("", body).strip())


@cache
def labels() -> dict[str, str]:
    """Label → words in its place: the title of a statement, (chapter.number) of a formula."""
    found = {}
    for chapter, name in enumerate(names(), start=1):
        text = (NOTEBOOKS / f"{name}.md").read_text(encoding="utf-8")
        for number, label in enumerate(EQUATION.findall(text), start=1):
            found[label] = f"({chapter}.{number})"
        for box in BOX.finditer(text):
            label = LABEL.search(box["body"])
            if label and box["kind"] in KINDS:
                found[label.group(1)] = f"{KINDS[box['kind']].lower()} “{box['title'].strip()}”"
    return found


@cache
def citations() -> dict[str, tuple[str, str]]:
    """Key of a source → its authors as a text names them, and the year."""
    found = {}
    for entry in re.split(r"^@", BIBLIOGRAPHY.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        said = dict(re.findall(r"\b(author|year)\s*= \{(.+?)\}(?=[,\s])", entry))
        who = [re.sub(r"[{}\\\"'.]", "", each.split(",")[0])
               for each in said.get("author", "").split(" and ")]
        named = " and ".join(who) if len(who) < 3 else f"{who[0]} et al."
        found[re.search(r"\{(.+?),", entry).group(1)] = named, said.get("year", "")
    return found


def plain_role(found: re.Match) -> str:
    kind, label = found["kind"], found["label"] or found["target"]
    if found["words"]:
        return found["words"]
    if kind.startswith("cite"):
        form = "{} ({})" if kind == "cite:t" else "{}, {}"
        said = "; ".join(form.format(*citations().get(key.strip(), (key, "no year")))
                         for key in label.split(","))
        return said if kind == "cite:t" else f"({said})"
    said = "the figure" if kind == "numref" else labels().get(label, f"[{label}]")
    begins = re.search(r"(?:\A|[.?!]\s+|\n\n|^- )\Z", found.string[:found.start()], re.MULTILINE)
    return said[0].upper() + said[1:] if begins else said


def plain_formula(found: re.Match) -> str:
    number = labels().get(found[2], "").strip("()")
    return f"$$\n{found[1].rstrip()}" + (f"\n\\tag{{{number}}}" if number else "") + "\n$$"


def plain(text: str) -> str:
    """Markdown without the directives and roles that only the book's builder knows."""
    text = ROLE.sub(plain_role, BOX.sub(plain_box, text))
    return NUMBERED.sub(plain_formula, text)


def stub(label: str):
    """A cell that asks for an answer, for an exercise whose page had no room for one."""
    exercise = mistakes.TABLE[label]
    what = "a function" if exercise.code else "a number"
    return nbformat.v4.new_code_cell(
        f"from mlcpc.book import exercises\n\nmy_answer = None  # {what}\n"
        f'exercises.check("{label}", my_answer)')


def student(notebook):
    """A notebook without solutions, that runs to the end with its stubs unfilled."""
    begin, end = exercises_begin(notebook), exercises_end(notebook)
    cells, waiting = [], None
    checked = set(re.findall(r'exercises\.check\("([\w-]+)"',
                             "\n".join(cell.source for cell in code_cells(notebook))))

    def missing():
        nonlocal waiting
        label, waiting = waiting, None
        if label and label in mistakes.TABLE and label not in checked:
            cells.append(stub(label))

    for place, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            if begin < place < end and HIDDEN & set(tags(cell)):
                continue  # a solution
            cells.append(nbformat.v4.new_code_cell(cell.source, metadata={"tags": tags(cell)}))
            continue
        for found in re.split(r"(?m)^(?=(?:`{3,}|:{3,})\{(?:exercise|solution)\})", cell.source):
            if re.match(r"(?:`{3,}|:{3,})\{exercise\}", found):
                missing()
                waiting = LABEL.search(found).group(1)
            elif re.search(r"^## ", found, re.MULTILINE):
                missing()
            text = plain(budget.without("solution", found)).strip()
            if text:
                cells.append(nbformat.v4.new_markdown_cell(text))
    missing()
    return finished(cells, notebook)


def section_minutes(cell) -> str:
    """Minutes that a section with these words and formulas takes on the board."""
    text = budget.without("solution", budget.without("exercise", cell.source))
    spoken = budget.words(text) / 100 + 0.75 * len(budget.DISPLAY.findall(text))
    return f"*About {max(1, round(spoken))} min on the board.*"


def instructor(notebook, name: str):
    """A notebook with solutions, minutes, and the wrong pictures that open the page."""
    wrong = [entry for entry in course.read("misconceptions") if entry["page"] == name]
    cells = []
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cells.append(nbformat.v4.new_code_cell(cell.source, metadata={"tags": tags(cell)}))
            continue
        text = plain(cell.source)
        if re.search(r"^## ", cell.source, re.MULTILINE):
            text = re.sub(r"^(## (?!Exercises).+)$", rf"\1\n\n{section_minutes(cell)}", text,
                          count=1, flags=re.MULTILINE)
        cells.append(nbformat.v4.new_markdown_cell(text))
        if place == 0:
            told = "\n".join(f"- *{each['wrong']}* {each['right']}" for each in wrong)
            cells.append(nbformat.v4.new_markdown_cell(
                "**For whoever teaches.** Wrong pictures that the class brings along:\n\n" + told
                + "\n\nThe cells with the tag `check` hold the false twins: show them first."))
    return finished(cells, notebook)


def graded(cell, **form) -> None:
    """Mark a cell as nbgrader wants it."""
    cell.metadata["nbgrader"] = {"schema_version": 3, "grade": False, "solution": False,
                                 "locked": False, "task": False, **form}


def nbgrader(notebook):
    """The student's notebook as nbgrader's source: answers between its marks, and cells of points.

    A checked exercise is graded by the number that its last cell shows, 1 or 0; the others have a
    text cell that somebody reads.
    """
    cells = []
    for cell in student(notebook).cells:
        cells.append(cell)
        asked = re.search(r'exercises\.check\("([\w-]+)", (\w+)\)', cell.source)
        if cell.cell_type == "code" and asked:
            label, name = asked.groups()
            cell.source = cell.source.replace(
                asked.group(), f'### BEGIN SOLUTION\n{name} = exercises.solution("{label}")\n'
                f"### END SOLUTION\n{asked.group()}")
            graded(cell, solution=True, grade_id=f"answer-{label}")
            cells.append(nbformat.v4.new_code_cell(f'exercises.points("{label}", {name})'))
            graded(cells[-1], grade=True, locked=True, points=1, grade_id=f"points-{label}")
        for label in re.findall(r'<a id="(ex-[\w-]+)"></a>', cell.source):
            if label not in mistakes.TABLE:
                cells.append(nbformat.v4.new_markdown_cell("Your answer:"))
                graded(cells[-1], grade=True, solution=True, points=1, grade_id=f"read-{label}")
    return finished(cells, notebook)


def finished(cells: list, notebook):
    made = nbformat.v4.new_notebook(cells=cells, metadata={
        "kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}})
    for number, cell in enumerate(made.cells):
        cell["id"] = f"cell-{number:03}"
    return made


def bound_names(tree: ast.AST) -> set[str]:
    """Names that code binds anywhere: a name that is bound nowhere is surely missing."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
    return found


def missing_names(notebook) -> list[str]:
    """Names that a cell uses and that neither it nor a cell before binds."""
    known, found = set(dir(builtins)) | {"get_ipython", "display"}, []
    for number, cell in enumerate(code_cells(notebook), start=1):
        tree = ast.parse(cell.source)
        known |= bound_names(tree)
        found += sorted({f"code cell {number} needs {node.id}" for node in ast.walk(tree)
                         if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
                         and node.id not in known})
    return found


def faults(name: str, made) -> list[str]:
    """What is wrong with a student's notebook, without running it."""
    text = "\n".join(cell.source for cell in made.cells)
    found = [f"{name}: {fault}, which only a solution made" for fault in missing_names(made)]
    if re.search(r"\*\*Solution|\{solution\}|def solution_", text):
        found.append(f"{name}: a solution is left in the student's notebook")
    found += [f"{name}: nothing stands for {each}" for each in UNRESOLVED.findall(text)]
    asked = re.findall(r'<a id="(ex-[\w-]+)"', text)
    found += [f"{name}: {label} has no cell to check it" for label in asked
              if label in mistakes.TABLE and f'exercises.check("{label}"' not in text]
    return found


def run(path: Path) -> None:
    """Execute a student's notebook; unfilled stubs must not stop it."""
    import nbclient

    notebook = nbformat.read(path, as_version=4)
    try:
        nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    except nbclient.exceptions.CellExecutionError as error:
        raise Refusal(f"{path} stops unfilled: {error.ename}: {error.evalue}") from None
    printed = "".join(output.get("text", "") for cell in code_cells(notebook)
                      for output in cell.outputs)
    say(f"{path} ran to the end; {printed.count('no answer yet')} stubs unfilled")


def write(chosen: list[str]) -> list[Path]:
    """Write the editions of the pages; a refusal names all that is wrong first."""
    found, made = [], {}
    for name in chosen:
        notebook = read_notebook(NOTEBOOKS / f"{name}.md")
        made[name] = student(notebook), instructor(notebook, name), nbgrader(notebook)
        found += faults(name, made[name][0])
    if found:
        raise Refusal("\n".join(found))
    for name, editions in made.items():
        folders = STUDENT, INSTRUCTOR, NBGRADER / "source" / name
        for folder, edition in zip(folders, editions, strict=True):
            with replacing(folder / f"{name}.ipynb") as scratch:
                nbformat.write(edition, scratch)
    (NBGRADER / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8")
    return [STUDENT / f"{name}.ipynb" for name in made]


def command_line() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="pages; all if none is named")
    parser.add_argument("--run", action="store_true", help="execute the students' notebooks")
    options = parser.parse_args()
    paths = write(asked(options.names))
    print(f"{len(paths)} notebooks each in {STUDENT}, {INSTRUCTOR} and {NBGRADER}")
    for path in paths if options.run else []:
        run(path)


if __name__ == "__main__":
    main(command_line, speak=print)
