"""A real browser, driven over its own pipe: headless Chromium, without a driver or a package."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from types import TracebackType
from typing import Any, Self

REQUIRED = "OPTFORMER_TESTS_NEED_CHROMIUM"
"""Environment variable under which a test may not be skipped for want of a browser."""

_SECONDS = 60.0  # for one answer on a busy machine
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-pipe",
)
# Chromium reads commands from its file 3 and writes answers to its file 4.
_LAUNCH = (
    "import fcntl, os, sys; "
    "read, write = (fcntl.fcntl(int(file), fcntl.F_DUPFD, 10) for file in sys.argv[1:3]); "
    "os.dup2(read, 3); os.dup2(write, 4); os.execvp(sys.argv[3], sys.argv[3:])"
)


def find_chromium() -> str | None:
    """The browser on this machine, None when there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Chromium:
    """One browser with one page in it.

    Attributes:
        complaints: Errors and warnings of the page's console.
        requests: Addresses that the page has asked for.
    """

    def __init__(self) -> None:
        found = find_chromium()
        assert found is not None, "there is no chromium; on Debian: apt-get install chromium"
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command, self._commands = os.pipe()
        self._answers, answer = os.pipe()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", _LAUNCH, str(command), str(answer), found, *_FLAGS),
                f"--user-data-dir={self._profile.name}",
                "about:blank",
            ],
            pass_fds=[command, answer],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(command)
        os.close(answer)
        self._read, self._sent = b"", 0
        self._session: str | None = None
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(_SECONDS)
        os.close(self._commands)
        os.close(self._answers)
        self._profile.cleanup()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Have the browser do something; see the DevTools protocol."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._sent:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result

    def show(
        self,
        url: str,
        *,
        width: int = 1280,
        height: int = 800,
        scale: float = 1,
        dark: bool = False,
    ) -> None:
        """Open an address and wait until its page is ready.

        Args:
            url: The address.
            width: Width of the window in its own pixels; below 600 it is a phone's.
            height: Its height.
            scale: Pixels of the screen for one of the window's.
            dark: Whether the visitor likes it dark.
        """
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setScrollbarsHidden", hidden=True)
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.call("Emulation.setEmulatedMedia", features=[scheme, still])
        self.call("Page.navigate", url=url)
        ready = (
            "document.readyState === 'complete' && (!document.querySelector('.chart, [data-part]')"
            " || document.documentElement.dataset.ready === 'yes')"
        )
        until = time.monotonic() + _SECONDS
        while not (self.evaluate("location.href !== 'about:blank'") and self.evaluate(ready)):
            assert time.monotonic() < until, f"{url} was not ready: {self.complaints}"
            time.sleep(0.05)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        told = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key, such as "Tab"."""
        codes = {"Tab": 9, "Enter": 13}
        for kind in ("rawKeyDown", "char", "keyUp") if key == "Enter" else ("rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=codes[key],
                **({"text": "\r"} if kind == "char" else {}),
            )

    def screenshot(self, top: float = 0, height: float | None = None) -> bytes:
        """The page as a PNG.

        Args:
            top: Where the picture begins, in the page's pixels.
            height: Its height; the rest of the page when absent.
        """
        size = "[document.documentElement.clientWidth, document.documentElement.scrollHeight]"
        width, whole = self.evaluate(size)
        clip = {"x": 0, "y": top, "width": width, "height": height or whole - top, "scale": 1}
        taken = self.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip
        )
        return base64.b64decode(taken["data"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            assert select.select([self._answers], [], [], _SECONDS)[0], "Chromium does not answer"
            chunk = os.read(self._answers, 1 << 20)
            assert chunk, "Chromium has ended"
            self._read += chunk
        message, _, self._read = self._read.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        self._note(answer.get("method", ""), answer.get("params", {}))
        return answer

    def _note(self, method: str, told: dict[str, Any]) -> None:
        if method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(str([each.get("value") for each in told["args"]]))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
