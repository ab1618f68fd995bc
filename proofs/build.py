"""What `make proofs` runs: compile the proofs, check them again, compare what they say.

    python3 proofs/build.py             refuses if a statement differs from statements.txt
    python3 proofs/build.py --write     after a wanted change: the new text; read the diff

Needs Rocq (Coq) and Coquelicot, which it installs on Debian and Ubuntu where it may. Uses nothing
but Python's own library.
"""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGES = ["coq", "libcoq-coquelicot"]
INSTALL = "apt-get install --yes --no-install-recommends " + " ".join(PACKAGES)
# What Rocq's real numbers rest on; nothing else is assumed anywhere.
AXIOMS = {
    "ClassicalDedekindReals.sig_not_dec",
    "ClassicalDedekindReals.sig_forall_dec",
    "FunctionalExtensionality.functional_extensionality_dep",
    "Classical_Prop.classic",
}
WIDTH = 78


class Refusal(Exception):
    """What is wrong, in one message."""


def run(*command: str, folder: Path = HERE) -> str:
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise Refusal(f"{' '.join(command[:2])} failed\n{done.stdout[-3000:]}")
    return done.stdout


def installed() -> bool:
    if not shutil.which("coqc"):
        return False
    library = subprocess.run(["coqc", "-where"], capture_output=True, text=True).stdout.strip()
    return Path(library, "user-contrib/Coquelicot/Coquelicot.vo").is_file()


def install() -> None:
    """Rocq and Coquelicot from the system's packages, if this machine and this user may."""
    if installed():
        return
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    may = bool(shutil.which("apt-get")) and (not root or bool(shutil.which("sudo")) and
          subprocess.run([*root, "true"], capture_output=True).returncode == 0)
    if not may:
        raise Refusal("Rocq and Coquelicot are missing. On Debian and Ubuntu:  sudo " + INSTALL)
    print("installing " + " and ".join(PACKAGES), flush=True)
    run(*root, "apt-get", "update", "--quiet")
    run(*root, *INSTALL.split())
    if not installed():
        raise Refusal("Rocq or Coquelicot is still missing after: " + INSTALL)


def files() -> list[str]:
    """The files in the order in which they build on each other."""
    return re.findall(r"^(\w+)\.v$", (HERE / "_CoqProject").read_text(), re.MULTILINE)


def ledger() -> dict:
    return json.loads((HERE / "ledger.json").read_text())


def compile_all() -> None:
    run("coq_makefile", "-f", "_CoqProject", "-o", "Makefile.coq")
    run("make", "-f", "Makefile.coq", "-j", str(min(4, os.cpu_count() or 1)))


def checker() -> subprocess.Popen:
    """The independent checker, started; it reads the compiled files and everything below them."""
    return subprocess.Popen(
        ["coqchk", "-silent", "-o", "-Q", ".", "MLCPC", *(f"MLCPC.{name}" for name in files())],
        cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )


def verdict(running: subprocess.Popen) -> list[str]:
    """The axioms that the checker found below all files of ours; nothing else may be assumed."""
    text, _ = running.communicate()
    axioms = re.search(r"\* Axioms:\n((?: {4}.*\n)*)", text)
    if running.returncode or not axioms:
        raise Refusal("coqchk said\n" + text[-3000:])
    for guard in ("type-in-type", "unsafe (co)fixpoints", "positivity is assumed"):
        if not re.search(rf"{re.escape(guard)}: <none>", text):
            raise Refusal(f"coqchk does not say that nothing relies on {guard}\n{text[-3000:]}")
    found = sorted(axioms.group(1).split())
    for axiom in found:
        if not any(axiom.endswith("." + known) for known in AXIOMS):
            raise Refusal(f"coqchk found an axiom that is not one of the reals: {axiom}")
    return found


def names() -> list[tuple[str, str, str]]:
    """(kind, file, name) of everything that is printed."""
    book = ledger()
    listed = [("definition", entry["file"], entry["name"]) for entry in book["definitions"]]
    for entry in book["statements"]:
        listed += [("statement", entry["file"], name) for name in entry["theorems"]]
        if entry["twin"]:
            listed.append(("false twin", entry["file"], entry["twin"]))
    for entry in book["known_values"]:
        listed += [("known value", entry["file"], name) for name in entry["names"]]
    return list(dict.fromkeys(listed))


def printed() -> str:
    """What Rocq prints about every name of the ledger, and the axioms below it.

    The headlines one by one; `Print Assumptions` walks through the whole library, so the other
    names of a file are taken together.
    """
    lines = [f"From MLCPC Require {' '.join(files())}.",
             f"From MLCPC Require Import {' '.join(files())}.", f"Set Printing Width {WIDTH}."]
    whole = {file: [] for file in files()}
    headlines = ledger()["headlines"]
    for kind, file, name in names():
        lines.append(f'Goal True. idtac "=== {kind}: {file}.{name}". Abort.')
        lines.append(f"Print {file}.{name}." if kind == "definition" else f"Check @{file}.{name}.")
        if kind != "definition":
            whole[file].append(f"@{file}.{name}")
        if name in headlines:
            lines += ['Goal True. idtac "--- rests on". Abort.',
                      f"Print Assumptions {file}.{name}."]
    for file, listed in whole.items():
        if listed:
            lines += [f"Definition whole_{file} := ({', '.join(listed)}).",
                      f'Goal True. idtac "=== all of {file}: {len(listed)} names". Abort.',
                      'Goal True. idtac "--- rests on". Abort.',
                      f"Print Assumptions whole_{file}."]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "printed.v").write_text("\n".join(lines))
        text = run("coqc", "-q", "-w", "none", "-Q", ".", "MLCPC", str(Path(folder, "printed.v")))
    return tidy(text)


def tidy(text: str) -> str:
    """One block a name: its kind, what was printed, the names of the axioms."""
    blocks = []
    for block in text.split("=== ")[1:]:
        title, _, body = block.partition("\n")
        said, asked, assumed = body.partition("--- rests on\n")
        said = re.split(r"\n\s*\nArguments |\nArguments ", said)[0].rstrip()
        axioms = sorted(set(re.findall(r"^([\w.]+)\s*(?::|$)", assumed, re.MULTILINE)) - {"Axioms"})
        rests = f"--- rests on: {', '.join(axioms) or 'nothing'}" if asked else ""
        blocks.append("\n".join(filter(None, [f"=== {title}", said, rests])) + "\n")
    return "\n".join(blocks)


def judge(text: str) -> None:
    """Headlines and files rest on the four axioms of the reals, and on no other."""
    found = re.findall(r"^=== (.*)\n(?:(?!===).*\n)*?--- rests on: (.*)$", text, re.MULTILINE)
    if len(found) < len(ledger()["headlines"]):
        raise Refusal("a headline was not printed")
    for title, assumed in found:
        if set(assumed.split(", ")) != AXIOMS:
            raise Refusal(f"{title} rests on {assumed}\nallowed: {', '.join(sorted(AXIOMS))}")


def sentences(proof: str) -> list[tuple[str, str]]:
    """(comment, sentence) of a proof script; a comment belongs to the sentence after it."""
    token = re.compile(r"\s*(?:\(\*(?P<note>.*?)\*\)|(?P<close>\})|(?P<open>[-+*{])(?=\s)"
                       r"|(?P<tactic>[^\s].*?\.)(?=\s|$))", re.DOTALL)
    found, note, prefix = [], "", ""
    for match in token.finditer(proof):
        if match["note"]:
            note = " ".join(match["note"].split())
        elif match["close"]:
            found[-1] = (found[-1][0], found[-1][1] + " }")
        elif match["open"]:
            prefix += match["open"] + " "
        else:
            found.append((note, prefix + " ".join(match["tactic"].split())))
            note = prefix = ""
    return found


def gibbs_states() -> str:
    """The proof of Gibbs' inequality: each sentence, the facts it adds, what is left to show."""
    source = (HERE / "mutual_information.v").read_text()
    section = re.search(r"Section Gibbs\.\n(.*?)(?=\(\*\* `lem-gibbs`)", source, re.DOTALL).group(1)
    statement, proof = re.search(r"(Theorem gibbs : .*?)\nProof\.\n(.*?)Qed\.", source,
                                 re.DOTALL).groups()
    steps = sentences(proof)
    script = ["From MLCPC Require Import finite mutual_information.", "Open Scope R_scope.",
              f"Set Printing Width {WIDTH}.", "Section Gibbs.", section, statement, "Proof.",
              "Check O.", "Show."]
    for _, tactic in steps:
        script += [tactic, "Check O.", "Show."]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "states.v")
        path.write_text("\n".join([*script, "Qed.", "End Gibbs."]))
        text = run("coqc", "-q", "-w", "none", "-Q", ".", "MLCPC", str(path))
    states = [state(part) for part in re.split(r"^0%nat\n +: nat\n", text, flags=re.MULTILINE)[1:]]
    parts = [f"{statement}\n>>> {states[0][1]}"]
    for (note, tactic), before, after in zip(steps, states, states[1:], strict=False):
        new = [fact for fact in after[0] if fact not in before[0]]
        parts.append("\n".join([f"(* {note} *)", tactic, *(f"+++ {fact}" for fact in new),
                                f">>> {after[1]}"]))
    if len(states) != len(steps) + 1:
        raise Refusal("the proof of gibbs has sentences whose state was not printed")
    return "\n\n".join(parts) + "\n"


def state(text: str) -> tuple[list[str], str]:
    """(facts, what is left to show) of the first goal that `Show` prints."""
    facts, line, goal = re.split(r"\n( *={10,})\n", text)[:3] if "=====" in text else ("", "", "")
    if not line:
        return [], "nothing is left of this part"
    named = re.findall(r"^  (\w[\w, ]* :[= ](?:.|\n   )*)$", facts, re.MULTILINE)
    goal = re.split(r"\n\s*\n", goal)[0]
    return [" ".join(fact.split()) for fact in named], " ".join(goal.split())


def compare(path: Path, text: str, write: bool) -> None:
    if write:
        path.write_text(text)
    elif not path.is_file() or path.read_text().split() != text.split():
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as new:
            new.write(text)
            new.flush()
            done = subprocess.run(["diff", "-u", str(path), new.name], capture_output=True,
                                  text=True)
        raise Refusal(f"{path.name} is not what Rocq prints. If the change is wanted: "
                      f"python3 proofs/build.py --write\n{done.stdout[:3000]}")


def build(write: bool) -> None:
    install()
    fresh = not list(HERE.glob("*.vo"))
    began = time.monotonic()
    compile_all()
    compiled = time.monotonic()
    running = checker()
    try:
        text = printed()
        judge(text)
        compare(HERE / "statements.txt", text, write)
        compare(HERE / "gibbs.txt", gibbs_states(), write)
        axioms = verdict(running)
    finally:
        running.kill()
        running.wait()
    ended = time.monotonic()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    facts = {
        "rocq": re.search(r"version ([\w.+]+)", run("coqc", "--version")).group(1),
        "processors": os.cpu_count(),
        "files": len(files()),
        "lines": sum(len((HERE / f"{name}.v").read_text().splitlines()) for name in files()),
        "compile_seconds": round(compiled - began),
        "check_seconds": round(ended - compiled),
        "processor_seconds": round(used.ru_utime + used.ru_stime),
        "peak_memory_gib": round(used.ru_maxrss / 2**20, 2),
        "axioms_of_the_checker": axioms,
    }
    if write and fresh:
        (HERE / "build.json").write_text(json.dumps(facts, indent=2) + "\n")
    print(f"{facts['lines']} lines in {facts['files']} files: compiled in "
          f"{facts['compile_seconds']} s, checked again and printed in {facts['check_seconds']} s, "
          f"{facts['peak_memory_gib']} GiB at most. {len(names())} printed names and the "
          f"{len(axioms)} axioms are as committed.")


if __name__ == "__main__":
    try:
        build("--write" in sys.argv[1:])
    except Refusal as refusal:
        sys.exit(f"error: {refusal}")
