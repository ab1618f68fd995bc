"""The site in a real browser: what a phone, a dark screen or a keyboard would meet."""

import os
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import devtools
from pages import html_pages
from project import SITE, Refusal, main

WIDTH = 360  # pixels: a small phone
DESK = 1440
SCREENS = ("phone", WIDTH, False), ("desk, dark", DESK, True)
CONTRAST = 4.5
SHIFT = 0.1
WEIGHT = 1.5e6  # bytes of a first load
FORMULAS = 3.0  # seconds until all is set, on a processor of a quarter of this one's speed
LUCK = 2  # a busy machine takes longer for the same work; the table has the bare number
SHEETS = 30  # of paper for a chapter
PAPER = 178, 261  # mm of an A4 sheet that print may use; as in book.css
# Nobody types here, but the browser takes the emulated screen for input: all shifts are counted.
SHIFTS = """window.shifted = 0; new PerformanceObserver((list) => list.getEntries().forEach(
  (entry) => { window.shifted += entry.value; })).observe({type: "layout-shift", buffered: true});
"""
# Formulas are set while the site is built: they stand when all is drawn with its fonts.
STANDS = """document.fonts.ready.then(() => new Promise((done) => requestAnimationFrame(() =>
  setTimeout(() => done((performance.getEntriesByName("first-contentful-paint")[0] || {}).startTime
  || 0)))))"""
AXE = """axe.run({resultTypes: ["violations"]}).then((done) => done.violations.map(
  (rule) => [rule.impact, `${rule.id}: ${rule.nodes[0].target}`]))"""
SHEET = """(() => {
  const article = document.querySelector("article") || document.body, cut = [];
  article.querySelectorAll("pre, img, svg, table, mjx-container[display]").forEach((each) => {
    const box = each.getBoundingClientRect(), tag = each.tagName.toLowerCase();
    const say = (why) => cut.push(`${tag} ${why}: ${
      (each.alt || each.textContent).trim().replace(/\\s+/g, " ").slice(0, 40)}`);
    if (!box.width) return;
    if (each.scrollWidth > each.clientWidth + 2 && each.clientWidth || box.right > innerWidth + 2)
      say("is too wide");
    if (tag !== "table" && box.height > HEIGHT) say("is too tall");
    else if (tag === "pre" && getComputedStyle(each).breakInside !== "avoid") say("is split");
  });
  return {cut, sheets: Math.ceil(article.getBoundingClientRect().height / HEIGHT)};
})()"""
# What the page looks like, as one object.
PROBE = (Path(__file__).parent / "probe.js").read_text(encoding="utf-8")


class Handler(SimpleHTTPRequestHandler):
    """Serves the site, and keeps quiet."""

    def log_message(self, *arguments) -> None:
        pass


@contextmanager
def serving(site: Path):
    """The address of a server of the site on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def happened(events: list[dict], address: str) -> tuple[list[str], list[str], int]:
    """What went wrong, what was asked of other hosts, and the bytes of a load."""
    mishaps, fetched, weight = [], [], 0
    for event in events:
        method, told = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            mishaps.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            mishaps.append(f"{told['entry']['text']} {told['entry'].get('url', '')}".strip())
        elif method == "Network.requestWillBeSent":
            url = told["request"]["url"]
            if not url.startswith((address, "data:", "blob:")):
                fetched.append(url)
        elif method == "Network.loadingFinished":
            weight += told["encodedDataLength"]
    return mishaps, fetched, weight


def readable(site: Path) -> list[str]:
    """The pages of the site, but for those that only lead to another."""
    return [str(path.relative_to(site)) for path in html_pages(site)
            if "http-equiv=\"refresh\"" not in path.read_text(encoding="utf-8")[:200].lower()]


def measured(site: Path, names: list[str] | None = None, axe: str = "",
             screens: tuple = SCREENS) -> dict[tuple[str, str], dict]:
    """What the browser saw of every page: on a phone in daylight, on a desk at night, on paper."""
    reports = {}
    with serving(site) as address, devtools.chromium() as page:
        page.call("Page.addScriptToEvaluateOnNewDocument", source=SHIFTS)
        page.call("Network.setCacheDisabled", cacheDisabled=True)
        page.call("Performance.enable", timeDomain="threadTicks")  # other processes do not count
        for screen, width, dark in screens:
            for name in names or readable(site):
                page.screen(width, dark=dark)
                page.open("about:blank")  # the clock starts anew
                page.open(f"{address}/{name}")
                first = page.run(STANDS)
                clock = {each["name"]: each["value"]
                         for each in page.call("Performance.getMetrics")["metrics"]}
                report = page.run(PROBE)
                report["first"], report["work"] = first, clock["TaskDuration"]
                report["mishaps"], report["fetched"], report["weight"] = happened(
                    page.events, address)
                if axe:
                    page.run(axe + ";0")
                    report["axe"] = page.run(AXE)
                if not dark:
                    report |= on_paper(page)
                reports[name, screen] = report
    return reports


def on_paper(page: devtools.Page) -> dict:
    """Sheets of the article of the open page, and what would be cut on them."""
    width, height = (round(millimetres * 96 / 25.4) for millimetres in PAPER)
    page.screen(width)
    page.call("Emulation.setEmulatedMedia", media="print")
    found = page.run(SHEET.replace("HEIGHT", str(height)))
    page.call("Emulation.setEmulatedMedia", media="")
    return found


def faults_of(report: dict) -> list[str]:
    """What is wrong with one page on one screen."""
    found = []
    if report["page_width"] > report["screen"]:
        found.append(f"{report['page_width']} px wide on a screen of {report['screen']} px: "
                     f"{', '.join(report['wide'])}")
    if report["written"] > report["set"] and not report["lazy"]:
        found.append(f"{report['written']} formulas written, {report['set']} set")
    if report["shift"] > SHIFT:
        found.append(f"its layout shifts by {report['shift']:.2f}, at most {SHIFT}")
    if report["weight"] > WEIGHT:
        found.append(f"a first load takes {report['weight'] / 1e6:.1f} MB, at most {WEIGHT / 1e6}")
    if 4 * report["work"] > LUCK * FORMULAS:
        found.append(f"its formulas stand after {4 * report['work']:.1f} s at a quarter of the "
                     f"speed, at most {FORMULAS}")
    if report.get("sheets", 0) > SHEETS:
        found.append(f"{report['sheets']} sheets of paper, at most {SHEETS}")
    found += [f"axe: {what}" for impact, what in report.get("axe", [])
              if impact in ("serious", "critical")]
    found += [f"contrast {ratio:.1f} of {text!r}, at least {CONTRAST}"
              for text, ratio in report["faint"]]
    for key, words in (
        ("wrong", "formula with an error:"), ("plain", "formula in a font of text:"),
        ("mishaps", ""), ("fetched", "fetches"),
        ("stops", "a tab stop that is no link or control:"),
        ("sideways", "an output that scrolls sideways:"),
        ("open_outputs", "the output of a solution is open:"),
        ("unsized", "a figure without width and height:"),
        ("glaring", "a figure that glares on a dark page:"),
        ("small", "a figure too small to read on a phone:"),
        ("headings", "heading out of order:"), ("cut", "on paper"),
    ):
        found += [f"{words} {each}".strip() for each in report.get(key, [])]
    return found


def faults(site: Path, names: list[str] | None = None) -> list[str]:
    """Pages that some reader can not read, each with the screen where it happens."""
    return [f"{name} ({screen}): {fault}"
            for (name, screen), report in measured(site, names).items()
            for fault in faults_of(report)]


def check() -> None:
    found = faults(SITE)
    if found:
        raise Refusal("\n".join(found))


def table(reports: dict[tuple[str, str], dict]) -> str:
    """A line a page and screen: `first` is the first text in ms as it came, `formulas` when all
    stands in ms at a quarter of the speed, `axe` serious findings + others.
    """
    lines = ["page\tscreen\tkB\twords\tshift\tfirst\tformulas\taxe\tsheets"]
    for (name, screen), report in reports.items():
        axe = [impact in ("serious", "critical") for impact, _ in report.get("axe", [])]
        lines.append("\t".join(map(str, (
            name, screen, round(report["weight"] / 1e3), report["words"],
            f"{report['shift']:.3f}", round(report["first"]), round(4000 * report["work"]),
            f"{sum(axe)}+{len(axe) - sum(axe)}" if "axe" in report else "-",
            report.get("sheets", "")))))
    return os.linesep.join(lines)


if __name__ == "__main__":
    main(check, speak=print)
