"""Execute one notebook: MyST text in, executed .ipynb with cost box and provenance line out.

    python book/_tools/execute.py notebooks/x.md book/chapters/x.ipynb --set profile=quick

The output appears only when every cell has run.
"""

import argparse
import ast
import hashlib
import logging
import re
import tempfile
import time
from pathlib import Path

import budget
import nbformat
import papermill
from dependencies import of
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from project import (
    Refusal,
    check_profile,
    code_cells,
    hide_arrays,
    main,
    plain,
    read_notebook,
    replacing,
    say,
    tags,
)

import mlcpc
from mlcpc.records import provenance

CELL_TIMEOUT = 3600  # seconds: a stuck cell must end, a full-profile cell may take long
WORDS_PER_MINUTE = 180


def declared(notebook, origin: str) -> dict[str, object]:
    """Names and default values of the cell tagged `parameters`."""
    tagged = [cell for cell in code_cells(notebook) if "parameters" in tags(cell)]
    if len(tagged) != 1:
        raise Refusal(f"{origin}: {len(tagged)} cells tagged `parameters`, exactly one is needed")
    values = {}
    for node in ast.parse(tagged[0].source).body:
        if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
            raise Refusal(f"{origin}: the parameters cell may hold assignments only, "
                          f"not `{ast.unparse(node)}`")
        try:
            values[node.targets[0].id] = ast.literal_eval(node.value)
        except ValueError:
            raise Refusal(f"{origin}: the default of a parameter must be a literal, "
                          f"not `{ast.unparse(node)}`") from None
    return values


def validated(settings: list[str], defaults: dict[str, object], origin: str) -> dict[str, object]:
    """`name=value` texts as values of the declared types; papermill accepts any name, we do not."""
    values = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise Refusal(f"{origin}: unknown parameter {name!r} without a value; write NAME=VALUE")
        if name not in defaults:
            raise Refusal(f"{origin}: unknown parameter {name!r}; "
                          f"valid parameters: {', '.join(defaults)}")
        value = text
        if not isinstance(defaults[name], str):
            try:
                value = ast.literal_eval(text)
            except (ValueError, SyntaxError):
                pass
            if type(value) is not type(defaults[name]):
                raise Refusal(f"{origin}: parameter {name!r} is {text!r}; "
                              f"it must be of type {type(defaults[name]).__name__}")
        values[name] = value
    if "profile" in values:
        check_profile(values["profile"])
    return values


def run(notebook, values: dict[str, object], name: str):
    """The executed notebook; a failing cell is a refusal that shows its traceback."""
    with tempfile.TemporaryDirectory(prefix="mlcpc-") as folder:
        source, result = Path(folder, "source.ipynb"), Path(folder, "result.ipynb")
        nbformat.write(notebook, source)
        try:
            papermill.execute_notebook(
                str(source), str(result), parameters=values, kernel_name="python3",
                progress_bar=False, execution_timeout=CELL_TIMEOUT,
            )
        except papermill.PapermillExecutionError as error:
            traceback = plain("\n".join(error.traceback))
            raise Refusal(
                f"{name}: a cell raised {error.ename}: {error.evalue}\n"
                f"{error.source}\n\n{traceback}"
            ) from None
        except (CellTimeoutError, DeadKernelError) as error:
            raise Refusal(f"{name}: {error}") from None
        return nbformat.read(result, as_version=4)


def cost_box(notebook, seconds: float, profile: str, device: str) -> str:
    """What the page takes: on a blackboard, at a desk, and on a machine."""
    words = sum(len(cell.source.split()) for cell in notebook.cells)
    reading = max(1, round(words / WORDS_PER_MINUTE))
    lecture = max(1, budget.size(notebook, "").minutes)
    return (
        ":::{admonition} Cost of this page\n:class: tip cost\n"
        f"Reading: about {reading} min. As a lecture: about {lecture} min. "
        f"Running: {seconds:.0f} s at profile `{profile}`, one thread of {device}.\n:::"
    )


def passport(origin: dict, records: list[Path], profile: str) -> str:
    """The last line of the page: what ran, in which state, with what."""
    read = [
        f"`{path.name}` ({hashlib.sha256(path.read_bytes()).hexdigest()[:12]})" for path in records
    ]
    return (
        ":::{div} provenance\n"
        f"Executed at profile `{profile}` with mlcpc {mlcpc.__version__}, "
        f"commit {origin['commit'] or 'unknown'}. "
        f"Python {origin['versions']['python']}, PyTorch {origin['versions']['torch']}. "
        f"Records read: {', '.join(read) or 'none'}.\n:::"
    )


def joined(outputs: list) -> list:
    """Printed text in one piece a stream: where the kernel cut it depends on its timing."""
    kept = []
    for output in outputs:
        last = kept[-1] if kept else {}
        if output.output_type == last.get("output_type") == "stream" and output.name == last.name:
            last.text += output.text
        else:
            kept.append(output)
    return kept


def finish(notebook, origin: dict, records: list[Path], profile: str):
    """The page: checks folded, injected cell hidden, cost box under the title, passport last."""
    for cell in code_cells(notebook):
        cell.outputs = joined(cell.outputs)
        hide_arrays(cell)
        if "injected-parameters" in tags(cell):
            cell.metadata["tags"] = [*tags(cell), "remove-cell"]
        elif "check" in tags(cell):  # the reader sees its line, and the code on a click
            cell.metadata["tags"] = [*tags(cell), "hide-input"]
    seconds = origin["wall_seconds"]
    box = cost_box(notebook, seconds, profile, origin["device"])
    title = notebook.cells[0]
    lines = title.source.splitlines()
    heading = next(number for number, line in enumerate(lines) if line.startswith("# "))
    lines[heading + 1 : heading + 1] = ["", box, ""]
    title.source = "\n".join(lines)
    last = nbformat.v4.new_markdown_cell(passport(origin, records, profile))
    notebook.cells.append(last)
    notebook.metadata["mlcpc"] = {"profile": profile, "seconds": seconds}
    return notebook


def execute(source: Path, target: Path, settings: list[str]) -> float:
    """Seconds that the notebook took."""
    text = source.read_bytes()
    notebook = read_notebook(source)
    defaults = declared(notebook, str(source))
    values = {**defaults, **validated(settings, defaults, str(source))}
    if "profile" not in values:
        raise Refusal(f"{source}: the parameters cell must set `profile`")
    if not re.search("^# ", notebook.cells[0].source, re.MULTILINE):
        raise Refusal(f"{source}: the page must begin with its title, `# ...`")
    records = of(source.stem)[1]
    started = time.monotonic()
    notebook = run(notebook, values, source.stem)
    seconds = time.monotonic() - started
    if source.read_bytes() != text:  # the output would look newer than the edit that it lacks
        raise Refusal(f"{source} was edited while it ran; run make book again")
    notebook = finish(notebook, provenance(seconds), records, values["profile"])
    with replacing(target) as scratch:
        nbformat.write(notebook, scratch)
    return seconds


def command_line() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    logging.getLogger("papermill").setLevel(logging.ERROR)
    seconds = execute(options.source, options.target, options.set)
    say(f"done {options.source.stem} {seconds:.0f}")


if __name__ == "__main__":
    main(command_line)
