"""What axe-core finds wrong on a page, and where the Tab key leads on it.

axe-core is a tool of these tests alone (MPL-2.0), installed by `npm ci` from `tests/package-lock.json`; nothing of it is shipped.
It is evaluated through the debugging protocol, which no policy of the page forbids: in the page as people get it.
"""

import asyncio
import json
from pathlib import Path

from tests.browser import Tab

AXE = Path(__file__).with_name("node_modules") / "axe-core" / "axe.min.js"
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa")
# The lists of choices are drawn by the browser, and their hundreds of zones cost more than the rest of a page.
_RUN = """
axe.run(
  {include: ["html"], exclude: ["option"]}, {runOnly: %s, resultTypes: ["violations"], preload: false}
).then((found) => found.violations.flatMap(
  (one) => one.nodes.map((node) => `${one.id}: ${node.target.join(" ")}: ${node.failureSummary.split("\\n").slice(1).join(" ")}`)
))
"""
# Where Tab should stop, in the order of the page, and where it did. A box that scrolls is one, too: it has its own tabindex.
_WATCH = """
(() => {
  const all = document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']");
  const stops = [...all].filter((one) => one.checkVisibility({visibilityProperty: true}) && !one.disabled);
  window.stops = stops;
  window.stopped = [];
  document.body.tabIndex = -1;
  document.body.focus();  // Tab begins here, wherever the page had put the focus
  document.body.removeAttribute("tabindex");
  document.addEventListener("focusin", ({target}) => {
    const {outlineStyle, outlineWidth} = getComputedStyle(target);
    const {bottom, right} = target.getBoundingClientRect();
    const seen = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 && bottom > 0 && right > 0;
    window.stopped.push([stops.indexOf(target), seen]);
  });
  const parts = {date: 4, time: 4, "datetime-local": 7};
  return stops.reduce((sum, one) => sum + (parts[one.type] ?? 1), 0);
})()
"""
_TOLD = """
window.stops.map((one, index) => {
  const [at, seen] = window.stopped[index] ?? [-1, false];
  const name = `${one.tagName.toLowerCase()}#${one.id}.${one.className} ${one.textContent.trim().slice(0, 30)}`;
  return at !== index ? `Tab does not come to ${name}, number ${index}, but to ${at}` : seen ? "" : `no sign of focus: ${name}`;
}).filter(Boolean)
"""


class NoAxeError(Exception):
    """axe-core is not installed; the tests never pass by not running."""

    def __init__(self) -> None:
        super().__init__("No axe-core: `make test-pages` installs it where npm is, as `npm ci --prefix tests` does.")


def axe() -> str:
    """The tool's script. Raises NoAxeError."""
    if not AXE.exists():
        raise NoAxeError
    return AXE.read_text(encoding="utf-8")


async def violations(tab: Tab, script: str, *, rules: tuple[str, ...] = ()) -> list[str]:
    """What breaks WCAG 2.1 A or AA on the page as it is shown now: rule, place, how to mend it. `rules` narrows it to those."""
    if not await tab.evaluate("'axe' in window"):
        await tab.evaluate(f"{script}; true")
    only = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": TAGS}
    found: list[str] = await tab.evaluate(_RUN % json.dumps(only))
    return found


async def lost_stops(tab: Tab) -> list[str]:
    """The controls that Tab does not come to in the order of the page, or on which nothing shows that it did."""
    presses = await tab.evaluate(_WATCH)
    for _ in range(presses):
        await press(tab, "Tab")
    found: list[str] = await tab.evaluate(_TOLD)
    return found


async def press(tab: Tab, key: str) -> None:
    """A key, as somebody presses it."""
    codes = {"Tab": 9, "Enter": 13}
    event = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key], "text": "\r" if key == "Enter" else ""}
    down = tab.send("Input.dispatchKeyEvent", type="keyDown" if key == "Enter" else "rawKeyDown", **event)
    await asyncio.gather(down, tab.send("Input.dispatchKeyEvent", type="keyUp", **event))


async def type_in(tab: Tab, text: str) -> None:
    """Text, where the focus is."""
    await tab.send("Input.insertText", text=text)
