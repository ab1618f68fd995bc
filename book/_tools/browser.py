"""The site in a real browser at phone width: no overflow, equations set, no errors, no other host.

Headless Chromium has a smallest window that is wider than a phone, so one page of ours loads every
page of the site in an iframe of that width and sends back what it measured.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pages import html_pages
from project import SITE, Refusal, main

WIDTH = 360  # pixels: a small phone
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
TIMEOUT = 180  # seconds for the whole site

HARNESS = """<!doctype html><meta charset="utf-8"><body><script>
const pages = PAGES;
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
async function measure(address) {
  const frame = document.createElement("iframe");
  frame.style = "width: WIDTHpx; height: 740px; border: 0";
  const loaded = new Promise((done) => { frame.onload = done; });
  frame.src = "/" + address;
  document.body.append(frame);
  await loaded;
  let inside = frame.contentWindow;
  if (inside.document.querySelector("meta[http-equiv=refresh]")) {
    await wait(500);
    inside = frame.contentWindow;
  }
  const written = inside.document.querySelectorAll("span.math, div.math").length;
  if (written && inside.MathJax) await inside.MathJax.startup.promise;
  await inside.document.fonts.ready;
  await wait(50);
  const page = inside.document.documentElement;
  const scrolls = (element) => element && (element === inside.document.body ? false
    : inside.getComputedStyle(element).overflowX !== "visible" || scrolls(element.parentElement));
  const wide = [...inside.document.querySelectorAll("body *")]
    .filter((element) => element.getBoundingClientRect().right > WIDTH + 1
      && !scrolls(element.parentElement))
    .slice(0, 5).map((element) => element.tagName + "." + element.getAttribute("class"));
  const report = {
    width: page.scrollWidth, wide, written,
    set: inside.document.querySelectorAll("mjx-container").length,
    wrong: [...inside.document.querySelectorAll("mjx-merror, [data-mjx-error]")]
      .map((element) => element.getAttribute("data-mjx-error") || element.textContent),
    mishaps: inside.mishaps,
    fetched: inside.performance.getEntriesByType("resource").map((entry) => entry.name),
  };
  frame.remove();
  return report;
}
(async () => {
  const reports = {};
  for (const page of pages) {
    try { reports[page] = await measure(page); }
    catch (error) { reports[page] = {error: String(error)}; }
  }
  await fetch("/report", {method: "POST", body: JSON.stringify(reports)});
})();
</script>"""

# Served at the top of every page: what scripts throw, and files that do not load.
WATCH = b"""<script>
window.mishaps = [];
window.addEventListener("error", (event) => window.mishaps.push(
  event.message || "can not load " + (event.target.src || event.target.href)), true);
window.addEventListener("unhandledrejection", (event) => window.mishaps.push(String(event.reason)));
</script>"""


def browser() -> str | None:
    """The command of a Chromium, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Handler(SimpleHTTPRequestHandler):
    """Serves the site, the harness, and takes the report."""

    def do_GET(self) -> None:
        site = Path(self.directory)
        if self.path == "/harness":
            pages = [str(page.relative_to(site)) for page in html_pages(site)]
            text = HARNESS.replace("PAGES", json.dumps(pages)).replace("WIDTH", str(WIDTH)).encode()
        elif self.path.endswith(".html") and (site / self.path[1:]).is_file():
            head, tag, rest = (site / self.path[1:]).read_bytes().partition(b"<head>")
            text = head + tag + WATCH + rest
        else:
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self) -> None:
        self.server.report = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        self.server.reported.set()

    def log_message(self, *arguments) -> None:
        pass


@contextmanager
def serving(site: Path):
    """A server of the site on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site)))
    server.reported, server.report = threading.Event(), {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def showing(address: str):
    """Chromium on an address, with nothing of its own that talks to other hosts."""
    with tempfile.TemporaryDirectory(prefix="mlcpc-browser-", ignore_cleanup_errors=True) as folder:
        running = subprocess.Popen(
            [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
             "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--remote-debugging-port=0", f"--user-data-dir={folder}", address],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )
        try:
            yield running
        finally:
            os.killpg(running.pid, signal.SIGKILL)  # its own group: the browser and its helpers
            running.wait()


def measured(site: Path) -> dict[str, dict]:
    """What the browser saw on every page."""
    with serving(site) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        with showing(f"{address}/harness"):
            if not server.reported.wait(TIMEOUT):
                raise Refusal(f"the browser sent no report within {TIMEOUT} s")
        for report in server.report.values():
            report["fetched"] = [url for url in report.get("fetched", [])
                                 if not url.startswith((address, "data:", "blob:"))]
        return server.report


def faults(site: Path) -> list[str]:
    """Pages that a phone, or a reader without other servers, can not read."""
    found = []
    for page, report in measured(site).items():
        if "error" in report:
            found.append(f"{page}: {report['error']}")
            continue
        if report["width"] > WIDTH:
            found.append(f"{page}: {report['width']} px wide on a screen of {WIDTH} px: "
                         f"{', '.join(report['wide'])}")
        if report["written"] > report["set"]:
            found.append(f"{page}: {report['written']} formulas written, {report['set']} set")
        found += [f"{page}: formula with an error: {text}" for text in report["wrong"]]
        found += [f"{page}: {mishap}" for mishap in report["mishaps"]]
        found += [f"{page}: fetches {url}" for url in report["fetched"]]
    return found


def check() -> None:
    if browser() is None:
        raise Refusal(f"no browser; looked for {', '.join(NAMES)}")
    found = faults(SITE)
    if found:
        raise Refusal("\n".join(found))


if __name__ == "__main__":
    main(check, speak=print)
