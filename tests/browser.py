"""Headless Chromium for tests of pages, through the WebDriver protocol of its own driver."""

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
MISSING = "needs chromium and chromedriver on the PATH (Debian: apt-get install chromium chromium-driver)"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--hide-scrollbars",
)


class Browser:
    """A browser window; a context manager that ends the processes it started."""

    def __init__(self, width: int = 1300, height: int = 1000, flags: tuple[str, ...] = ()):
        self._folder = tempfile.TemporaryDirectory()
        environment = {**os.environ, "XDG_RUNTIME_DIR": self._folder.name, "HOME": self._folder.name}
        self._driver = subprocess.Popen(
            [DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        self._session = ""
        try:
            started = (re.search(r"successfully on port (\d+)", line) for line in self._driver.stdout)
            self._url = f"http://127.0.0.1:{next(filter(None, started))[1]}"
            arguments = [*FLAGS, f"--window-size={width},{height}", f"--user-data-dir={self._folder.name}", *flags]
            options = {"binary": CHROMIUM, "args": arguments}
            capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            answer = self._send("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
            self._session = f"/session/{answer['sessionId']}"
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Ends the browser and its driver."""
        try:
            if self._session:
                self._send("DELETE", "", None)
        finally:
            self._driver.terminate()
            self._driver.wait(30)
            self._driver.stdout.close()
            self._folder.cleanup()

    def open(self, path) -> None:
        """Loads a file."""
        self._send("POST", "/url", {"url": path.resolve().as_uri()})

    def resize(self, width: int, height: int) -> None:
        """Sets the size of the page's viewport, which may be narrower than a window."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._send("POST", "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics})

    def run(self, script: str):
        """The value that a script returns."""
        return self._send("POST", "/execute/sync", {"script": script, "args": []})

    def wait(self, condition: str, seconds: float = 120):
        """Waits until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(f"return {condition}"):
            if time.monotonic() > end:
                raise TimeoutError(f"{condition}: not within {seconds} s; console: {self.console()}")
            time.sleep(0.1)

    def console(self) -> list[str]:
        """Warnings and errors of the console since the last call."""
        entries = self._send("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("WARNING", "SEVERE")]

    def screenshot(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(self._send("GET", "/screenshot", None))

    def press(self, key: str) -> None:
        """Types a key into the focused element."""
        actions = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._send("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def drag(self, start: tuple[int, int], end: tuple[int, int], button: int = 0) -> None:
        """Drags the mouse between two points of the viewport; button 2 is the right one."""

        def move(point):
            return {"type": "pointerMove", "duration": 50, "x": point[0], "y": point[1]}

        actions = [move(start), {"type": "pointerDown", "button": button}, move(end)]
        actions.append({"type": "pointerUp", "button": button})
        self._send("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": actions}]})

    def _send(self, method: str, path: str, content):
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{self._url}{self._session}{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.loads(answer.read())["value"]
