"""A headless Chromium by its own protocol over two pipes: no driver and no further library.

    with devtools.chromium() as page:
        page.open(address)
        page.run("document.title")
"""

import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager

from project import Refusal

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
TIMEOUT = 120  # seconds for one answer
# Nothing of the browser's own talks to other hosts.
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
         "--hide-scrollbars", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--allow-file-access-from-files"]


def browser() -> str | None:
    """The command of a Chromium, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One tab; every method waits for the browser's answer."""

    def __init__(self, write: int, read: int):
        self.write, self.read, self.rest, self.number, self.session = write, read, b"", 0, None
        self.events: list[dict] = []
        self.patience = TIMEOUT
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.next(method)
            if answer.get("id") == self.number:
                break
            self.events.append(answer)
        if "error" in answer:
            raise Refusal(f"the browser refuses {method}: {answer['error']['message']}")
        return answer["result"]

    def next(self, waiting: str) -> dict:
        """The next message of the browser."""
        deadline = time.monotonic() + self.patience
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.read], [], [], max(0, deadline - time.monotonic()))
            piece = os.read(self.read, 1 << 20) if ready else b""
            if not piece:
                raise Refusal(f"the browser sent no answer to {waiting} within {self.patience} s")
            self.rest += piece
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def screen(self, width: int, height: int = 900, dark: bool = False, scale: int = 1) -> None:
        """The size of the screen and the reader's wish for dark pages."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=scale, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def open(self, address: str) -> None:
        """Go to an address; returns when the page has loaded."""
        self.events.clear()
        self.call("Page.navigate", url=address)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.next(f"the load of {address}"))

    def run(self, script: str):
        """The value of an expression in the page; promises are awaited."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True,
                         returnByValue=True)
        if "exceptionDetails" in done:
            details = done["exceptionDetails"]
            raise Refusal(details.get("exception", {}).get("description", details["text"]))
        return done["result"].get("value")


@contextmanager
def chromium():
    """A tab of a fresh Chromium, of which nothing is left afterwards."""
    if browser() is None:
        raise Refusal(f"no browser; looked for {', '.join(NAMES)}")
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()

    def pipes() -> None:  # the browser reads from 3 and writes to 4
        kept = os.dup(theirs_in), os.dup(theirs_out)
        os.dup2(kept[0], 3)
        os.dup2(kept[1], 4)

    with tempfile.TemporaryDirectory(prefix="mlcpc-browser-", ignore_cleanup_errors=True) as folder:
        running = subprocess.Popen(
            [browser(), *QUIET, "--remote-debugging-pipe", f"--user-data-dir={folder}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            preexec_fn=pipes, close_fds=False,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            yield Page(ours_out, ours_in)
        finally:
            os.killpg(running.pid, signal.SIGKILL)  # its own group: the browser and its helpers
            running.wait()
            os.close(ours_out)
            os.close(ours_in)
