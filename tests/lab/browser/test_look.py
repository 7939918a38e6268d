"""The page Look as somebody uses it: methods side by side, a layer, a unit, own pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from chainrule.lab.looks import SIGHTS
from tests.lab.browser.conftest import Watched

pytestmark = pytest.mark.browser

RUN = "/look?net=run:lenet"


def all_there(page: Page, seconds: float = 60) -> None:
    """Wait until no part is at work any more."""
    expect(page.locator("[data-refresh]")).to_have_count(0, timeout=1000 * seconds)
    page.wait_for_function("[...document.images].every((image) => image.complete)")


def test_all_methods_side_by_side(opened: Watched, trained: Path) -> None:
    page = opened.open(RUN)
    all_there(page)
    for sight in SIGHTS.values():
        expect(page.get_by_role("heading", name=sight.title, exact=True)).to_be_visible()
    pictures = page.locator(".sights img")
    expect(pictures).to_have_count(len(SIGHTS))
    assert pictures.evaluate_all("all => all.every((image) => image.naturalWidth > 200)")
    opened.accessible()
    opened.shoot("look-wide")
    page.locator("#part-saliency").scroll_into_view_if_needed()
    opened.shoot("look-wide-figures")
