"""Ten tables for the lab of the book: what it finds in a browser beside `mlcpc.estimate`.

    python tests/lab.py            all ten, with seconds; about ten minutes on one core
    python tests/lab.py --golden   writes what mlcpc.estimate finds to tests/golden/lab.json
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests/golden/lab.json"
LIMIT = 0.05  # nats by which the lab may differ
SECONDS = 30


def tables() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, x and y."""
    rng = np.random.default_rng(22)
    normal = rng.standard_normal
    x = normal(1000)
    yield "normal pair", x, 0.6 * x + 0.8 * normal(1000)
    yield "independent", normal(600), normal(600)
    x = rng.uniform(-1, 1, 2000)
    yield "parabola", x, x**2 + 0.2 * normal(2000)
    t = rng.uniform(0, 2 * np.pi, 3000)
    yield "circle", np.cos(t) + 0.2 * normal(3000), np.sin(t) + 0.2 * normal(3000)
    x = normal((2000, 4))
    yield "four normal pairs", x, 0.7 * x + 0.7 * normal((2000, 4))
    x = normal(2000)
    yield "cubic", x, (x + 0.05 * normal(2000)) ** 3
    k = rng.integers(0, 6, 3000)
    yield "six classes", k.astype(float), (k * k) % 5 + 0.5 * normal(3000)
    x = normal((5000, 10))
    yield "product among columns", x, x[:, 0] * x[:, 1] + 0.5 * normal(5000)
    scale = np.exp(normal(5000))
    yield "shared scale", scale * normal(5000), scale * normal(5000)
    x = normal((5000, 10))
    yield "twenty columns", x, 0.5 * x + normal((5000, 10))


def as_text(x: np.ndarray, y: np.ndarray) -> str:
    """The table as a file that names its columns."""
    x, y = (z.reshape(len(z), -1) for z in (x, y))
    names = [f"{name}{k}" for name, z in (("x", x), ("y", y)) for k in range(z.shape[1])]
    rows = [",".join(map(repr, row)) for row in np.concatenate([x, y], axis=1).tolist()]
    return "\n".join([",".join(names), *rows])


def write_page(folder: Path) -> str:
    """Address of a page with the lab and nothing else."""
    form = (ROOT / "book/lab.md").read_text().split("```{raw} html\n")[1].split("```")[0]
    script = (ROOT / "book/_static/live_lab.js").read_text()
    path = folder / "lab.html"
    path.write_text(f'<!doctype html><meta charset="utf-8"><script>{script}</script><body>{form}')
    return path.as_uri()


def give(page, text: str) -> str:
    """Paste a text into the lab; what it says of it."""
    return page.run(f"""(() => {{
      const find = (name) => document.querySelector(`[data-lab="${{name}}"]`);
      find("text").value = {json.dumps(text)};
      find("text").dispatchEvent(new Event("change"));
      return find("said").textContent; }})()""")


def estimated(page) -> str:
    """Press the button and wait; what the lab says then."""
    return page.run("""(async () => {
      const find = (name) => document.querySelector(`[data-lab="${name}"]`);
      find("start").click();
      while (!find("stop").disabled) await new Promise((done) => setTimeout(done, 50));
      return find("said").textContent; })()""")


def golden() -> None:
    import mlcpc

    found = {}
    for name, x, y in tables():
        each = mlcpc.estimate(x, y)
        found[name] = {"mi": round(each.mi, 4), "lower": round(each.lower, 4)}
        print(name, each, flush=True)
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")


def compare() -> None:
    import tempfile

    sys.path.insert(0, str(ROOT / "book/_tools"))
    import devtools

    kept = json.loads(GOLDEN.read_text())
    with tempfile.TemporaryDirectory() as folder, devtools.chromium() as page:
        page.patience = 600
        page.open(write_page(Path(folder)))
        for name, x, y in tables():
            give(page, as_text(x, y))
            began = time.monotonic()
            said = estimated(page)
            nats = float(said.lower().split("estimate ")[1].split(" ")[0])
            wanted = max(0.0, kept[name]["mi"])
            fault = "" if abs(nats - wanted) <= LIMIT else "  FAR"
            print(f"{name:22} lab {nats:.3f}, mlcpc.estimate {wanted:.3f}, "
                  f"{time.monotonic() - began:.1f} s{fault}", flush=True)


if __name__ == "__main__":
    golden() if "--golden" in sys.argv else compare()
