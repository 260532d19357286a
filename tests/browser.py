"""Chromium without a window, over its debugging protocol: pages as people get them, and everything that goes wrong there.

A tab notes each console error, uncaught exception, refused resource and request to another host; tests look at `problems`.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect

# On a machine that others use as well.
START_SECONDS = 60.0
WAIT_SECONDS = 60.0
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
Reply = dict[str, Any]


class NoBrowserError(Exception):
    """There is no Chromium here; these tests never pass by not running."""

    def __init__(self) -> None:
        super().__init__("No chromium: install it (apt-get install chromium), or name it in AGORA_BROWSER.")


@contextlib.contextmanager
def chromium() -> Iterator[str]:
    """One Chromium with a profile of its own, for as long as the block lasts: the address at which it is spoken to."""
    program = os.environ.get("AGORA_BROWSER") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise NoBrowserError
    with tempfile.TemporaryDirectory(prefix="agora-browser-", ignore_cleanup_errors=True) as profile:
        command = [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield _address(Path(profile) / "DevToolsActivePort")
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(file: Path) -> str:
    """Where it listens; it writes that down when it does."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    raise TimeoutError("chromium did not start")


class Browser:
    """A connection to Chromium, for as long as the `async with` lasts."""

    def __init__(self, address: str) -> None:
        self.socket: ClientConnection
        self.tabs: dict[str, Tab] = {}
        self._address = address
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._reading: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self.socket = await connect(self._address, max_size=None, proxy=None, open_timeout=START_SECONDS)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.socket.close()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def send(self, method: str, session: str | None = None, **parameters: Any) -> Reply:
        number = next(self._numbers)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        message = {"id": number, "method": method, "params": parameters}
        await self.socket.send(json.dumps(message if session is None else {**message, "sessionId": session}))
        answer = await asyncio.wait_for(future, WAIT_SECONDS)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: Reply = answer["result"]
        return result

    async def _read(self) -> None:
        async for text in self.socket:
            message = json.loads(text)
            if "id" in message:
                future = self._waiting.pop(message["id"])
                if not future.done():
                    future.set_result(message)
            elif (tab := self.tabs.get(message.get("sessionId", ""))) is not None:
                tab.note(message["method"], message["params"])

    @contextlib.asynccontextmanager
    async def tab(self, origin: str, *, width: int = 1440, dark: bool = False) -> AsyncIterator["Tab"]:
        """A tab with cookies of its own, for pages of this origin."""
        context = (await self.send("Target.createBrowserContext"))["browserContextId"]
        target = (await self.send("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
        session = (await self.send("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        opened = self.tabs[session] = Tab(self, session, origin)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await opened.send(f"{domain}.enable")
        await opened.look(width=width, dark=dark)
        try:
            yield opened
        finally:
            del self.tabs[session]
            await self.send("Target.disposeBrowserContext", browserContextId=context)


class Tab:
    """One page at a time, and what went wrong on all that were opened in it."""

    def __init__(self, browser: Browser, session: str, origin: str) -> None:
        self.origin = origin
        self.problems: list[str] = []
        self.expected_statuses: set[int] = set()  # refusals a test provokes; the console would tell of them as errors
        self._browser = browser
        self._session = session
        self._loads = 0
        self._width = 0

    async def send(self, method: str, **parameters: Any) -> Reply:
        return await self._browser.send(method, self._session, **parameters)

    def note(self, event: str, told: Reply) -> None:
        if event == "Page.loadEventFired":
            self._loads += 1
        elif event == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif event == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.problems.append(" ".join(str(part.get("value", part.get("description"))) for part in told["args"]))
        elif event == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            entry = told["entry"]
            if not any(f"status of {status}" in entry["text"] for status in self.expected_statuses):
                self.problems.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")
        elif event == "Network.requestWillBeSent":
            address = urlsplit(told["request"]["url"])
            if address.scheme in ("http", "https", "ws", "wss") and address.netloc != urlsplit(self.origin).netloc:
                self.problems.append(f"asked another host: {told['request']['url']}")

    async def look(self, *, width: int | None = None, dark: bool | None = None, media: str = "") -> None:
        """Through a window of this width, by day or by night, on screen or (`print`) on paper."""
        if width is not None:
            self._width = width
            await self.send(
                "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
            )
        if dark is not None or media:
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            await self.send("Emulation.setEmulatedMedia", media=media, features=[scheme])

    async def open(self, path: str) -> None:
        """Go to a page and wait until it is loaded."""
        before = self._loads
        await self.send("Page.navigate", url=f"{self.origin}{path}")
        await self.loaded(after=before)

    @property
    def loads(self) -> int:
        return self._loads

    async def loaded(self, *, after: int) -> None:
        until = time.monotonic() + WAIT_SECONDS
        while self._loads <= after:
            assert time.monotonic() < until, "the page did not load"
            await asyncio.sleep(0.01)

    async def evaluate(self, expression: str) -> Any:
        answer = await self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, expression: str, *, seconds: float = WAIT_SECONDS) -> float:
        """Wait until the expression is true, and tell how long that took."""
        begun = time.monotonic()
        while not await self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() - begun < seconds, f"not within {seconds} s: {expression}\n{self.problems}"
            await asyncio.sleep(0.02)
        return time.monotonic() - begun

    async def fill(self, selector: str, text: str) -> None:
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).value = {json.dumps(text)}")

    async def press(self, selector: str) -> None:
        """Click what leads to another page, and wait for it."""
        before = self._loads
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")
        await self.loaded(after=before)

    async def overflow(self) -> list[str]:
        """What is wider than the window: elements that make the page scroll sideways."""
        found: list[str] = await self.evaluate(_OVERFLOW)
        return found

    async def picture(self) -> bytes:
        """The whole page as a PNG."""
        size = (await self.send("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": self._width, "height": max(size["height"], 1), "scale": 1}
        shot = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(shot["data"])

    async def keep(self, name: str) -> None:
        """Leave a picture in the folder of AGORA_SCREENSHOTS, where somebody named one."""
        if folder := os.environ.get("AGORA_SCREENSHOTS"):
            _leave(await self.picture(), Path(folder) / f"{name}.png")


def _leave(picture: bytes, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(picture)


_OVERFLOW = """
(() => {
  const wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= wide) return [];
  return [...document.querySelectorAll("body *")]
    .filter((one) => one.getBoundingClientRect().right > wide + 1)
    .map((one) => `${one.tagName.toLowerCase()}.${one.className}`);
})()
"""
