"""The proofs in Rocq as pages: every source file, and what the page on the kernel includes.

Reads the committed texts of proofs/ and needs no Rocq. `make proofs` compares the same texts with
what Rocq prints.
"""

import json
import re
import shutil
from pathlib import Path

from project import NOTEBOOKS, TOC, main, replacing

PROOFS = Path("proofs")
PAGES = Path("book/generated/proofs")
PARTS = Path("book/generated/kernel")
SHORT = 3  # lines of a proof that is shown and not folded

ITEM = re.compile(
    r"^(?:Local )?(?:Theorem|Lemma|Corollary|Example|Definition|Fixpoint|Let)\s+(?P<name>[\w']+)"
)


def ledger() -> dict:
    """What proofs/ledger.json says; empty where a book has no proofs."""
    path = PROOFS / "ledger.json"
    if not path.is_file():
        return {"headlines": [], "definitions": [], "statements": [], "known_values": []}
    return json.loads(path.read_text())


def target(file: str, name: str) -> str:
    """The label of a name on the page of its file."""
    return f"rocq-{file}-{name}"


def link(file: str, name: str) -> str:
    return f"{{ref}}`{name} <{target(file, name)}>`"


def checked() -> dict[str, str]:
    """For each label of the book that Rocq has checked: names with links, and what is covered."""
    cells = {}
    for entry in ledger()["statements"]:
        names = ", ".join(link(entry["file"], name) for name in entry["theorems"])
        covers = entry["covers"]
        whole = covers.startswith("all") and not covers.startswith("all but")
        part = "" if whole else " (in part)"
        cells[entry["label"]] = names + part
    return cells


def book_labels() -> set[str]:
    """The labels that a page may link to: those of the chapters in the table of contents."""
    chapters = re.findall(r"chapters/(\w+)", TOC.read_text())
    return {label for name in chapters
            for label in re.findall(r"^:label:\s*(\S+)", (NOTEBOOKS / f"{name}.md").read_text(),
                                    re.MULTILINE)}


def blocks(text: str) -> dict[str, tuple[str, str, str]]:
    """name: (kind, what Rocq printed, axioms or nothing) of proofs/statements.txt."""
    found = {}
    for block in text.split("=== ")[1:]:
        title, _, body = block.partition("\n")
        kind, _, name = title.partition(": ")  # or: all of FILE: 7 names
        said, _, axioms = body.partition("--- rests on: ")
        found[name] = (kind, said.strip(), axioms.strip())
    return found


def fence(code: str) -> str:
    return f"```coq\n{code.rstrip()}\n```\n"


def prose(comment: str, labels: set[str]) -> str:
    """A documentation comment as Markdown: code in brackets, labels of the book as links."""
    text = "\n".join(line.strip() for line in comment.strip().splitlines())
    text = re.sub(r"\[([^\[\]]+)\]", r"`\1`", text)

    def label(match: re.Match) -> str:
        return f"{{prf:ref}}`{match[1]}`" if match[1] in labels else match[0]

    return re.sub(r"`((?:def|lem|thm|prp|cor)-[\w-]+)`", label, text) + "\n"


def paragraphs(source: str) -> list[tuple[str, str]]:
    """('prose', comment) and ('code', lines) in the order of a file."""
    parts, place = [], 0
    for match in re.finditer(r"^\(\*\* (.*?)\*\)\n", source, re.MULTILINE | re.DOTALL):
        parts += [("code", source[place:match.start()]), ("prose", match[1])]
        place = match.end()
    parts.append(("code", source[place:]))
    return [(kind, text) for kind, text in parts if text.strip()]


def code(text: str, file: str, anchored: set[str]) -> str:
    """Code with a target before each name of the ledger, and long proofs folded."""
    lines, out, plain = text.strip("\n").splitlines(), [], []

    def flush() -> None:
        if "".join(plain).strip():
            out.append(fence("\n".join(plain).strip("\n")))
        plain.clear()

    place = 0
    while place < len(lines):
        item = ITEM.match(lines[place])
        if item and item["name"] in anchored:
            flush()
            out.append(f"({target(file, item['name'])})=")
        if lines[place].startswith("Proof.") and not re.search(r"(Qed|Abort)\.$", lines[place]):
            end = next(number for number in range(place, len(lines))
                       if re.match(r"(Qed|Abort)\.$", lines[number]))
            if end - place - 1 > SHORT:
                flush()
                out.append(f":::{{dropdown}} Proof, {end - place - 1} lines\n"
                           + fence("\n".join(lines[place:end + 1])) + ":::\n")
            else:
                plain += lines[place:end + 1]
            place = end + 1
            continue
        plain.append(lines[place])
        place += 1
    flush()
    return "\n".join(out)


def title(file: str) -> str:
    first = (PROOFS / f"{file}.v").read_text().splitlines()[0]
    return re.sub(r"\s*\*\)$", "", first.removeprefix("(** # "))


def page(file: str, labels: set[str], anchored: set[str]) -> str:
    source = (PROOFS / f"{file}.v").read_text()
    parts = [prose(text, labels) if kind == "prose" else code(text, file, anchored)
             for kind, text in paragraphs(source)]
    head, _, rest = parts[0].partition("\n")
    return "\n".join([f"{head}: `{file}.v`\n", rest.strip() + "\n", *parts[1:]])


def statements(printed: dict, labels: set[str]) -> str:
    """Every statement as Rocq prints it, under the label of its box."""
    parts, chapter = [], ""
    for entry in ledger()["statements"]:
        file = entry["file"]
        if file != chapter:
            chapter = file
            parts.append(f"### {title(file)}\n")
        label = entry["label"]
        shown = f"{{prf:ref}}`{label}`" if label in labels else f"`{label}`"
        names = ", ".join(f"`{name}`" for name in entry["theorems"])
        twin = entry["twin"]
        kept = [printed[f"{file}.{name}"] for name in entry["theorems"]]
        asked = any(item[2] for item in kept)
        axioms = " Rests on the four axioms of the reals." if asked else ""
        parts += [
            f"{shown}: {names}. Covered: {entry['covers']}.{axioms}\n",
            f":::{{dropdown}} {', '.join(entry['theorems'])}\n",
            *(fence(item[1]) for item in kept),
            (f"The false twin is refuted:\n\n{fence(printed[f'{file}.{twin}'][1])}"
             if twin else ""),
            "Proofs: " + ", ".join(link(file, name) for name in
                                   [*entry["theorems"], *([twin] if twin else [])]) + ".\n:::\n",
        ]
    return "\n".join(parts)


def definitions(printed: dict) -> str:
    parts = []
    for entry in ledger()["definitions"]:
        name = f"{entry['file']}.{entry['name']}"
        parts.append(f":::{{dropdown}} `{entry['name']}`: {entry['says']}\n"
                     f"{fence(printed[name][1])}:::\n")
    return "\n".join(parts)


def known(printed: dict) -> str:
    return "\n".join(fence(printed[f"{entry['file']}.{name}"][1])
                     for entry in ledger()["known_values"] for name in entry["names"])


def assumptions(printed: dict) -> str:
    """The axioms as printed, and which names were asked one by one."""
    axioms = sorted({axiom for item in printed.values() if item[2]
                     for axiom in item[2].split(", ")})
    single = [name.split(".")[1] for name, (kind, _, said) in printed.items()
              if said and not kind.startswith("all of")]
    return (fence("\n".join(axioms))
            + f"\nAsked one by one: {', '.join(f'`{name}`' for name in single)}. The other names "
              "were asked together with those of their file. The answer was the same each time.\n")


def plants() -> str:
    lines = [["The mistake", "Planted in", "Stopped at"]]
    for row in json.loads((PROOFS / "plants.json").read_text()):
        lines.append([row["what"], f"`{row['planted_in']}.v`",
                      f"`{row['failed_in']}` in `{row['file']}.v`"])
    table = "\n".join("* - " + "\n  - ".join(cells) for cells in lines)
    return f":::{{list-table}}\n:header-rows: 1\n\n{table}\n:::\n"


def gibbs() -> str:
    """The proof line by line: the comment, the sentence, new facts, what is left to show."""
    parts = []
    for number, part in enumerate((PROOFS / "gibbs.txt").read_text().strip().split("\n\n")):
        lines = part.splitlines()
        left = [line.removeprefix(">>> ") for line in lines if line.startswith(">>> ")]
        facts = [line.removeprefix("+++ ") for line in lines if line.startswith("+++ ")]
        rest = [line for line in lines if not line.startswith((">>> ", "+++ "))]
        note = rest.pop(0)[3:-3] if rest[0].startswith("(* ") else "The claim."
        said = [*(f"known   {fact}" for fact in facts), *(f"to show {goal}" for goal in left)]
        parts.append(f"**{number}.** {note}\n\n{fence(chr(10).join(rest))}\n"
                     f"```text\n{chr(10).join(said)}\n```\n")
    return "\n".join(parts)


def unchecked(labels: set[str]) -> str:
    """The statements of Part I that Rocq has not seen, chapter by chapter."""
    seen, lines = set(checked()), []
    part = next(part for part in TOC.read_text().split("caption:") if "chapters/" in part)
    for name in re.findall(r"chapters/(\w+)", part):
        text = (NOTEBOOKS / f"{name}.md").read_text()
        left = [label for label in re.findall(r"^:label:\s*((?:lem|thm|prp|cor)-\S+)", text,
                                              re.MULTILINE) if label in labels - seen]
        if left:
            chapter = re.search(r"^# (.*)$", text, re.MULTILINE).group(1)
            links = ", ".join(f"{{prf:ref}}`{label}`" for label in left)
            lines.append(f"- {chapter}: {links}.")
    return "\n".join(lines) + "\n"


def facts() -> str:
    built = json.loads((PROOFS / "build.json").read_text())
    return (f"There are {built['lines']} lines in {built['files']} files. Compiling them, checking "
            f"them again and printing every statement takes {built['processor_seconds']} processor "
            f"seconds and {built['peak_memory_gib']} GiB of memory at most, with Rocq "
            f"{built['rocq']}.\n")


def write() -> None:
    labels = book_labels()
    printed = blocks((PROOFS / "statements.txt").read_text())
    parts = {"statements": statements(printed, labels), "definitions": definitions(printed),
             "known": known(printed), "assumptions": assumptions(printed), "plants": plants(),
             "gibbs": gibbs(), "facts": facts(), "unchecked": unchecked(labels),
             "example": fence(printed["ml_cpc.MLCPC_shared_valid"][1]),
             "exercises": fence((PROOFS / "exercises.v").read_text())}
    for name, text in parts.items():
        with replacing(PARTS / f"{name}.md") as scratch:
            scratch.write_text(text)
    shutil.rmtree(PAGES, ignore_errors=True)
    anchored = {name.split(".")[1] for name in printed if "." in name}
    anchored |= {"exercise_1", "exercise_2"}
    for path in sorted(PROOFS.glob("*.v")):
        with replacing(PAGES / f"{path.stem}.md") as scratch:
            scratch.write_text(page(path.stem, labels, anchored))


if __name__ == "__main__":
    main(write)
