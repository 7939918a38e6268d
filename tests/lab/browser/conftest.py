"""A real server, a LeNet-5 that was really trained, and Chromium to look at both."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from chainrule.training.recipes import recipe
from chainrule.training.task import TrainTask
from tests.lab.process import Served

WIDE, PHONE = {"width": 1280, "height": 720}, {"width": 390, "height": 844}
SHOTS = "CHAINRULE_SHOTS"
"""A folder into which the tests put pictures of the pages, if it is named."""


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run, `lenet`: LeNet-5 as `make demo` trains it, in fewer epochs."""
    folder = tmp_path_factory.mktemp("browser") / "runs"
    TrainTask(recipe("lenet5-digits", epochs=8), folder / "lenet").run()
    return folder


@pytest.fixture(scope="session")
def server(trained: Path) -> Iterator[Served]:
    """One server for all tests that only look."""
    server = Served(trained)
    yield server
    server.end()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium: what CHROMIUM names, else the system's."""
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    path = next((shutil.which(name) for name in names if name and shutil.which(name)), None)
    assert path, "no Chromium was found; `make test-lab` installs it, or set CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


class Watched:
    """A page of the browser whose requests and errors are noted."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.address = address
        self.page: Page = context.new_page()
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._noted)

    def _noted(self, message: Any) -> None:
        if message.type == "error" and "status of 4" not in message.text:
            self.errors.append(message.text)

    def open(self, path: str) -> Page:
        """Visit a page of the lab and wait until it is there."""
        self.page.goto(self.address + path)
        self.page.wait_for_load_state("load")
        return self.page

    def shoot(self, name: str) -> None:
        """Keep a picture of the page, if somebody wants one."""
        folder = os.environ.get(SHOTS)
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=str(Path(folder) / f"{name}.png"))

    def accessible(self) -> None:
        """Let axe-core look at the page: nothing that it calls serious or critical may be left."""
        # The policy of the pages lets no script in; axe comes by the debugger's way.
        results = Axe().run(self.page).response
        faults = [
            f"{fault['id']} ({fault['impact']}): {fault['help']}: "
            + "; ".join(str(node["html"])[:160] for node in fault["nodes"][:4])
            for fault in results["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
        assert results["passes"], "axe looked at nothing"
        assert not faults, "\n".join(faults)

    def at_home(self) -> None:
        """Nothing went to another host, and no script failed."""
        strangers = [
            url for url in self.requests if not url.startswith((self.address, "data:", "blob:"))
        ]
        assert not strangers
        assert not self.errors


@pytest.fixture
def opened(browser: Browser, server: Served) -> Iterator[Watched]:
    """A fresh page at 1280x720; afterwards nothing may have left for another host."""
    context = browser.new_context(viewport=WIDE)  # type: ignore[arg-type]
    watched = Watched(context, server.address)
    yield watched
    context.close()
    watched.at_home()


@pytest.fixture
def phone(browser: Browser, server: Served) -> Iterator[Watched]:
    """The same on a phone."""
    context = browser.new_context(
        viewport=PHONE,  # type: ignore[arg-type]
        device_scale_factor=2,
        is_mobile=True,
        has_touch=True,
    )
    watched = Watched(context, server.address)
    yield watched
    context.close()
    watched.at_home()


def fits(page: Page) -> None:
    """Nothing is cut off at the side: the page scrolls up and down alone."""
    wide = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert wide <= 0, f"{wide} pixels too wide"
