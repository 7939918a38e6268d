"""All pages as somebody meets them: readable, without faults, on any screen."""

from __future__ import annotations

import pytest

from tests.lab.browser.conftest import Watched, fits

pytestmark = pytest.mark.browser

PAGES = ("/", "/circuit", "/network", "/training", "/look", "/retrieval", "/nowhere")


@pytest.mark.parametrize("path", PAGES)
def test_no_serious_fault_of_accessibility(opened: Watched, path: str) -> None:
    opened.open(path)
    opened.accessible()
    opened.shoot("wide" + path.replace("/", "-"))


@pytest.mark.parametrize("path", PAGES)
def test_fits_a_phone(phone: Watched, path: str) -> None:
    page = phone.open(path)
    fits(page)
    phone.accessible()
    phone.shoot("phone" + path.replace("/", "-"))


def test_the_keyboard_comes_first_to_the_content(opened: Watched) -> None:
    page = opened.open("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
