"""Plant a mistake in a definition or a statement, and see which proof stops the compiler.

    python3 proofs/plant.py            refuses if a mistake is not found or plants.json differs
    python3 proofs/plant.py --write    writes plants.json, the table of the book

Needs the compiled files of `make proofs`. Every mistake is planted in a copy.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from build import HERE, Refusal, files

# (what, file, text, text in its place)
PLANTS = [
    ("β with the wrong sign", "reweighting",
     "(INR m - alpha) / (INR m - 1).", "(alpha - INR m) / (INR m - 1)."),
    ("β divided by m in place of m − 1", "reweighting",
     "(INR m - alpha) / (INR m - 1).", "(INR m - alpha) / INR m."),
    ("m negatives in place of m − 1", "cpc",
     "E ys (py xs p) (m - 1) (fun negatives =>\n      ln (INR m * g x y / (g x y +",
     "E ys (py xs p) m (fun negatives =>\n      ln (INR m * g x y / (g x y +"),
    ("the joint law in place of the product of the marginals", "mutual_information",
     "px ys p (fst z) * py xs p (snd z).", "p (fst z) (snd z)."),
    ("the marginal of x twice in the mutual information", "mutual_information",
     "ln (p x y / (px ys p x * py xs p y)).", "ln (p x y / (px ys p x * px ys p x))."),
    ("the divergence with the ratio turned over", "mutual_information",
     ": R := ∑ a ∈ l, p a * ln (p a / q a).", ": R := ∑ a ∈ l, p a * ln (q a / p a)."),
    ("α_min without the one in its denominator", "ml_cpc",
     "INR m / (INR n * (INR m - 1) + 1).", "INR m / (INR n * (INR m - 1))."),
    ("α_min with m in place of m − 1", "ml_cpc",
     "INR m / (INR n * (INR m - 1) + 1).", "INR m / (INR n * INR m + 1)."),
    ("shared anchors without the factor n", "ml_cpc",
     "ln (INR n * INR m * row_positive g i /", "ln (INR m * row_positive g i /"),
    ("the positives counted among the negatives of a batch", "ml_cpc",
     "(∑ j ∈ batch, (∑ k ∈ batch, g (fst j) (snd k) - on g j))))).",
     "(∑ j ∈ batch, (∑ k ∈ batch, g (fst j) (snd k))))))."),
    ("the share lemma for a positive that is lighter", "reweighting",
     "Hypothesis Hw0 : w <= w0.", "Hypothesis Hw0 : w0 <= w."),
    ("NWJ with e in place of 1/e", "variational_bounds",
     "P z * f z - / exp 1 * (∑ z ∈ cells, Q z * exp (f z)).",
     "P z * f z - exp 1 * (∑ z ∈ cells, Q z * exp (f z))."),
    ("a critic that may be zero", "cpc",
     "forall x y, 0 < g x y.", "forall x y, 0 <= g x y."),
    ("Φ with m copies in place of m − 1", "reweighting",
     "exp (- E l w (m - 1) (fun t => ln (alpha * u a + beta m alpha * sum t u)))).",
     "exp (- E l w m (fun t => ln (alpha * u a + beta m alpha * sum t u))))."),
    ("Theorem A from 1/e on", "boundary",
     "  2 * exp (-1) <= alpha <= INR m -> valid m alpha.",
     "  exp (-1) <= alpha <= INR m -> valid m alpha."),
    ("α_batch with n / 2 in place of (n − 1) / 2", "in_batch",
     "let a := ((n - 1) / 2)%nat in 2 * exp (-1)", "let a := (n / 2)%nat in 2 * exp (-1)"),
    ("T1 from half of α_batch on", "in_batch",
     "(2 <= n)%nat -> alpha_batch n <= alpha <= INR n -> critic g ->",
     "(2 <= n)%nat -> / 2 * alpha_batch n <= alpha <= INR n -> critic g ->"),
    ("the mixture of the skewed divergence turned over", "many_anchors",
     "a * P z + (1 - a) * Q z.\nDefinition", "(1 - a) * P z + a * Q z.\nDefinition"),
]
ITEM = re.compile(r"^(?:Theorem|Lemma|Corollary|Example|Definition|Fixpoint|Let)\s+([\w']+)")


def planted(file: str, old: str, new: str) -> str:
    source = (HERE / f"{file}.v").read_text()
    if source.count(old) != 1:
        raise Refusal(f"{file}.v holds {old!r} {source.count(old)} times, once is needed")
    return source.replace(old, new)


def failure(file: str, old: str, new: str) -> dict:
    """The first proof that fails once the mistake is planted."""
    text = planted(file, old, new)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in files():
            shutil.copy(HERE / f"{name}.v", folder)
            shutil.copy(HERE / f"{name}.vo", folder)
        (folder / f"{file}.v").write_text(text)
        for name in files()[files().index(file):]:
            done = subprocess.run(
                ["coqc", "-q", "-w", "none", "-Q", ".", "MLCPC", f"{name}.v"], cwd=folder,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
            if "Syntax error" in done.stdout:  # the plant is at fault, not the statement
                raise Refusal(f"{name}.v with {new!r}: {done.stdout}")
            if done.returncode:
                return explained(name, (folder / f"{name}.v").read_text(), done.stdout)
    raise Refusal(f"nobody noticed: {old!r} is now {new!r} in {file}.v")


def explained(name: str, source: str, said: str) -> dict:
    line = int(re.search(r"line (\d+)", said).group(1))
    items = [found.group(1) for found in map(ITEM.match, source.splitlines()[:line]) if found]
    error = re.search(r"Error:\s*(.*)", said, re.DOTALL).group(1)
    error = re.sub(r"In environment\n.*?(?=\n\S*(?:Unable|The term|Illegal|No |Tactic))", "", error,
                   flags=re.DOTALL)
    first = " ".join(error.split())[:60]
    return {"file": name, "failed_in": items[-1], "said": re.sub(r"[`|\\*_$<>\[\]]", " ", first)}


def main(write: bool) -> None:
    rows = []
    for what, file, old, new in PLANTS:
        rows.append({"what": what, "planted_in": file, **failure(file, old, new)})
        print(f"{what}: {rows[-1]['file']}.{rows[-1]['failed_in']}", flush=True)
    text = "[\n" + ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n"
    path = HERE / "plants.json"
    if write:
        path.write_text(text)
    elif not path.is_file() or path.read_text() != text:
        raise Refusal("plants.json is not what happens; python3 proofs/plant.py --write")


if __name__ == "__main__":
    try:
        main("--write" in sys.argv[1:])
    except Refusal as refusal:
        sys.exit(f"error: {refusal}")
