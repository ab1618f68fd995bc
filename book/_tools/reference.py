"""References of the quick run: text outputs for nbval, arrays behind figures for our comparer.

    make reference      writes tests/reference, and the README's figure, from book/chapters

nbval compares text only, and passes a cell that was never run. So a guard asks every code cell of
a reference for an execution count, and arrays are compared here, with the tolerance kept beside
them.
"""

import json
from base64 import b64decode
from pathlib import Path

import nbformat
import numpy as np
from project import (
    CHAPTERS,
    NOTEBOOKS,
    REFERENCE,
    Refusal,
    all_outputs,
    code_cells,
    main,
    names,
    read_notebook,
    replacing,
    tags,
)

README_FIGURE = ("fig-ml-ceilings", Path("book/_static/readme-figure.png"))


def stripped(output) -> dict:
    """An output as text: no images, no metadata, no numbers of ours."""
    kept = nbformat.from_dict(dict(output))
    if "data" in kept:
        kept.data = {kind: value for kind, value in output.data.items() if "image/" not in kind}
        kept.metadata = {}
    if "execution_count" in kept:
        kept.execution_count = None
    return kept


def text_reference(chapter) -> nbformat.NotebookNode:
    """The code cells of an executed chapter with their text outputs, and nothing else."""
    cells = []
    for cell in code_cells(chapter):
        if "injected-parameters" in tags(cell):
            continue
        number = len(cells) + 1
        cells.append(nbformat.v4.new_code_cell(
            cell.source, id=f"cell-{number:02}", execution_count=number,
            outputs=[stripped(output) for output in all_outputs(cell)],
            metadata={"tags": tags(cell)} if tags(cell) else {},
        ))
    return nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": chapter.metadata["kernelspec"]}
    )


def arrays(chapter) -> dict[str, dict]:
    """Figure name -> {rtol, atol, arrays} as `figures.keep` published them."""
    found = {}
    for cell in code_cells(chapter):
        for output in all_outputs(cell):
            kept = output.get("metadata", {}).get("mlcpc_arrays")
            if kept:
                found[kept["name"]] = {key: kept[key] for key in ("rtol", "atol", "arrays")}
    return found


def array_faults(reference: dict, fresh: dict, origin: str) -> list[str]:
    """Where fresh arrays leave the reference, by the tolerance that the reference holds."""
    faults = [f"{origin}: figure {name} is gone" for name in reference.keys() - fresh.keys()]
    faults += [f"{origin}: figure {name} has no reference"
               for name in fresh.keys() - reference.keys()]
    for name in sorted(reference.keys() & fresh.keys()):
        old, new = reference[name], fresh[name]
        if old["arrays"].keys() != new["arrays"].keys():
            faults.append(f"{origin}: {name} keeps {', '.join(new['arrays'])}, "
                          f"the reference {', '.join(old['arrays'])}")
            continue
        for key, values in old["arrays"].items():
            before, after = np.asarray(values, float), np.asarray(new["arrays"][key], float)
            if before.shape != after.shape:
                faults.append(f"{origin}: {name}.{key} has shape {after.shape}, "
                              f"the reference {before.shape}")
            elif not np.allclose(after, before, old["rtol"], old["atol"], equal_nan=True):
                worst = np.max(np.abs(after - before))
                faults.append(f"{origin}: {name}.{key} differs from the reference by {worst:.3g} "
                              f"(rtol {old['rtol']:g}, atol {old['atol']:g})")
    return faults


def chapter_of(name: str):
    """The executed chapter; only the quick profile has references."""
    chapter = read_notebook(CHAPTERS / f"{name}.ipynb")
    profile = chapter.metadata["mlcpc"]["profile"]
    if profile != "quick":
        raise Refusal(f"{name} was executed at profile {profile!r}; references are of 'quick'")
    return chapter


def arrays_file(name: str, folder: Path = REFERENCE) -> Path:
    return folder / "arrays" / f"{name}.json"


def guard_faults(folder: Path = REFERENCE) -> list[str]:
    """References that nbval would pass without comparing, or that belong to other code."""
    faults, present = [], {path.stem for path in folder.glob("*.ipynb")}
    faults += [f"{name} has no reference; run make reference" for name in names()
               if name not in present or not arrays_file(name, folder).is_file()]
    faults += [f"reference {name} has no notebook" for name in sorted(present - set(names()))]
    for name in sorted(present & set(names())):
        cells = code_cells(read_notebook(folder / f"{name}.ipynb"))
        faults += [f"reference {name}: code cell {number} has no execution count"
                   for number, cell in enumerate(cells, start=1) if cell.execution_count is None]
        faults += [f"reference {name}: code cell {number} warns: {output.text.strip()[:200]}"
                   for number, cell in enumerate(cells, start=1) for output in all_outputs(cell)
                   if output.get("name") == "stderr"]
        source = code_cells(read_notebook(NOTEBOOKS / f"{name}.md"))
        if [cell.source for cell in cells] != [cell.source for cell in source]:
            faults.append(f"reference {name} holds other code than the notebook; "
                          "run make reference and read the diff")
    return faults


def as_text(figures: dict) -> str:
    """JSON with one array a line, so that a diff can be read."""
    def figure(kept: dict) -> str:
        lines = [f'  "{key}": {json.dumps(kept[key])}' for key in ("rtol", "atol")]
        rows = ",\n".join(f"   {json.dumps(key)}: {json.dumps(values)}"
                          for key, values in sorted(kept["arrays"].items()))
        return "{\n" + ",\n".join([*lines, '  "arrays": {\n' + rows + "\n  }"]) + "\n }"

    entries = [f" {json.dumps(name)}: {figure(figures[name])}" for name in sorted(figures)]
    return "{\n" + ",\n".join(entries) + "\n}\n"


def image(chapter, label: str) -> bytes | None:
    """The figure of this label as PNG, if the chapter draws it."""
    for cell in code_cells(chapter):
        if cell.metadata.get("mystnb", {}).get("figure", {}).get("name") == label:
            drawn = [output.data["image/png"] for output in cell.outputs
                     if "image/png" in output.get("data", {})]
            return b64decode(drawn[-1])
    return None


def write() -> None:
    label, figure = README_FIGURE
    for name in names():
        chapter = chapter_of(name)
        drawn = image(chapter, label)
        if drawn:
            with replacing(figure) as scratch:
                scratch.write_bytes(drawn)
        with replacing(REFERENCE / f"{name}.ipynb") as scratch:
            nbformat.write(text_reference(chapter), scratch)
        with replacing(arrays_file(name)) as scratch:
            scratch.write_text(as_text(arrays(chapter)))
    for path in [*REFERENCE.glob("*.ipynb"), *arrays_file("").parent.glob("*.json")]:
        if path.stem not in names():
            path.unlink()


if __name__ == "__main__":
    main(write, speak=print)
