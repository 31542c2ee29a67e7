"""Debian's Chromium, driven without a screen: what a page does when it is opened, moved over, narrowed and printed."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
DESKTOP, PHONE = (1280, 900), (360, 740)
"""Width and height of the window, in CSS pixels."""
PATIENCE = 60
"""Seconds to wait for what a page does by itself, on a busy machine."""
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",  # WebGL without a graphics card
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_INSIDE = ("data:", "blob:")
_OF_THE_DRIVER = "GL Driver Message"
"""What a graphics driver says of its own speed."""


needs_browser = pytest.mark.skipif(
    not (CHROMIUM.exists() and DRIVER.exists()),
    reason="needs Debian's chromium and chromium-driver, which continuous integration installs",
)
"""Marks a test that drives a browser."""


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Run a browser for the time of the block, with an empty profile of its own."""
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(str(DRIVER)))
    try:
        driver.set_page_load_timeout(PATIENCE)
        yield Browser(driver)
    finally:
        driver.quit()


class Browser:
    """A running browser with one page.

    Args:
        driver: what drives it.
    """

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, path: Path, size: tuple[int, int] = DESKTOP, *, dark: bool = False) -> None:
        """Open a file in a window of that size; what earlier pages said is forgotten."""
        self.driver.get("about:blank")
        self.resize(size)
        self.emulate(dark=dark)
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(path.resolve().as_uri())

    def resize(self, size: tuple[int, int]) -> None:
        """Give the window another size; a headless window itself is never as narrow as a phone."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < DESKTOP[0]}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def emulate(self, *, dark: bool) -> None:
        """Have the user prefer dark colours, or light ones, and no motion: a click waits for no scrolling."""
        wishes = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def js(self, code: str, *arguments: object) -> Any:
        """Return what the body of a function returns in the page."""
        return self.driver.execute_script(code, *arguments)

    def find(self, css: str) -> WebElement:
        """Return the first element that fits."""
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[WebElement]:
        """Return every element that fits."""
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def move_to(self, x: float, y: float) -> None:
        """Move the pointer to a place of the window."""
        for place in ((x - 3, y - 3), (x, y)):
            event = {"type": "mouseMoved", "x": place[0], "y": place[1]}
            self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    def choose(self, css: str, text: str) -> None:
        """Choose an option of a list by its text."""
        Select(self.find(css)).select_by_visible_text(text)

    def write(self, css: str, text: str) -> None:
        """Write a text into a field in the place of what it holds."""
        field = self.find(css)
        field.clear()
        field.send_keys(text)

    def press_tab(self) -> None:
        """Press the key that goes on to the next thing."""
        ActionChains(self.driver).send_keys(Keys.TAB).perform()

    def wait(self, code: str, *arguments: object) -> Any:
        """Return what an expression in the page becomes once it is true.

        Raises:
            TimeoutException: when it does not become true.
        """
        return WebDriverWait(self.driver, PATIENCE).until(lambda _: self.js(f"return {code}", *arguments), code)

    def said(self) -> list[str]:
        """Return warnings and errors in the console since the page was opened, of scripts and of the policy."""
        entries = [e for e in self.driver.get_log("browser") if e["level"] in ("WARNING", "SEVERE")]
        return [entry["message"] for entry in entries if _OF_THE_DRIVER not in entry["message"]]

    def asked_for(self) -> list[str]:
        """Return the addresses that the page asked for since it was opened, but for its own and what it carries."""
        own = self.driver.current_url.partition("#")[0]
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if url.partition("#")[0] != own and not url.startswith(_INSIDE)]

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Write a picture of the window, or of the whole page."""
        options = {"captureBeyondViewport": whole}
        found = self.driver.execute_cdp_cmd("Page.captureScreenshot", options)
        path.write_bytes(base64.b64decode(found["data"]))

    def print(self) -> bytes:
        """Return the page as a PDF."""
        found = self.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
        return base64.b64decode(found["data"])
