"""The page Retrieval as somebody uses it: pictures handed in, parts of them, more like these."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.lab.attacks import SVG, written
from tests.lab.browser.conftest import PHONE, WIDE, Watched, fits
from tests.lab.indexes import add, scan, shape, write_pictures
from tests.lab.process import Served
from tests.lab.searched import Lab, make_lab

pytestmark = pytest.mark.browser

DISC = written(Image.fromarray(shape("disc", 77)).resize((96, 96)), "PNG")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return make_lab(tmp_path_factory.mktemp("searched"))


@pytest.fixture(scope="module")
def server(lab: Lab) -> Iterator[Served]:
    server = Served(lab.runs, "--index", str(lab.scans.path))
    yield server
    server.end()


@pytest.fixture
def plain(browser: Browser, server: Served) -> Iterator[Page]:
    """A page without scripts."""
    context = browser.new_context(viewport=WIDE, java_script_enabled=False)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{server.address}/retrieval?index=shapes")
    yield page
    context.close()


def hand_in(page: Page, data: bytes, name: str = "mine.png") -> None:
    page.set_input_files(
        "#picture-file", {"name": name, "mimeType": "application/octet-stream", "buffer": data}
    )
    page.click("#picture-send")
    expect(page.locator("#row-off")).to_be_visible()


def asked(opened: Watched, rest: str = "") -> Page:
    """Open the page with a picture that was handed in."""
    page = opened.open(f"/retrieval?index=shapes{rest}")
    hand_in(page, DISC)
    return page


def drag(page: Page, begin: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag over the picture, from one place to another, in shares of its sides."""
    page.locator("#frame").scroll_into_view_if_needed()
    box = page.locator("#frame").bounding_box()
    assert box
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (begin, end)]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=6)


def loaded(page: Page) -> None:
    """Every picture that is shown is there."""
    for image in page.locator("main img").all():
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("complete", True)
        assert image.evaluate("image => image.naturalWidth") > 0


def test_a_picture_is_chosen_and_both_rows_are_shown(opened: Watched) -> None:
    page = opened.open("/retrieval?index=shapes")
    loaded(page)
    opened.accessible()
    opened.shoot("retrieval-index")
    hand_in(page, DISC)
    expect(page.locator(".answer")).to_contain_text("The network sees disc")
    bars = page.locator(".bars meter")
    expect(bars).to_have_count(3)
    values = bars.evaluate_all("all => all.map((bar) => bar.value)")
    assert values == sorted(values, reverse=True)
    expect(page.locator(".bars")).to_contain_text("%")
    for row in ("With class prediction", "Without class prediction"):
        section = page.get_by_role("region", name=row)
        expect(section.locator("ol > li")).to_have_count(10)
        expect(section.locator("ol > li").first).to_contain_text("1. disc")
    loaded(page)
    opened.accessible()
    opened.shoot("retrieval-rows")
    page.reload()
    expect(page.locator("#row-soft")).to_be_visible()


def test_a_file_dropped_anywhere_is_searched_by(opened: Watched) -> None:
    page = opened.open("/retrieval?index=scans&k=5")
    data = base64.b64encode(scan(shape("disc", 77))).decode()
    page.evaluate(
        """(data) => {
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            const dropped = new DataTransfer();
            dropped.items.add(new File([bytes], "Secret_Jane.dcm"));
            const told = { dataTransfer: dropped, bubbles: true, cancelable: true };
            const target = document.querySelector("h1");
            target.dispatchEvent(new DragEvent("dragover", told));
            window.marked = document.body.classList.contains("dropping");
            target.dispatchEvent(new DragEvent("drop", told));
        }""",
        data,
    )
    expect(page.locator("#row-off")).to_be_visible()
    expect(page.locator(".hits").first.locator("li")).to_have_count(5)
    assert "Secret" not in page.content()
    assert "Secret" not in page.url
    expect(page.locator("#query-image")).to_have_js_property("naturalWidth", 32)


def test_the_class_as_a_filter_and_the_number_of_images(opened: Watched) -> None:
    page = asked(opened)
    page.select_option("#class", "hard")
    expect(page.get_by_role("heading", name="Of the predicted class alone")).to_be_visible()
    page.focus("#k")
    page.select_option("#k", "20")
    expect(page.locator(".hits").first.locator("li")).to_have_count(20)
    assert page.evaluate("document.activeElement.id") == "k"
    expect(page).to_have_url(re.compile("k=20&class=hard"))
    page.go_back()
    expect(page.locator(".hits").first.locator("li")).to_have_count(10)
    page.go_back()
    expect(page.locator("#row-soft")).to_be_visible()
    page.go_forward()
    expect(page.locator("#row-hard")).to_be_visible()


def test_a_part_is_dragged_typed_and_cleared(opened: Watched) -> None:
    page = asked(opened)
    part = page.locator("#part")
    drag(page, (0.25, 0.5), (0.75, 0.25))
    expect(part).to_be_visible()  # while it is dragged
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"region=24,24,48,24|region=24%2C24%2C48%2C24"))
    expect(page.locator("#region-x")).to_have_value("24")
    expect(page.locator("#region-height")).to_have_value("24")
    expect(page.locator(".answer")).to_contain_text("in this part")
    frame, box = page.locator("#frame").bounding_box(), part.bounding_box()
    assert frame
    assert box
    assert abs(box["x"] - frame["x"] - 0.25 * frame["width"]) < 2
    assert abs(box["height"] - 0.25 * frame["height"]) < 2
    opened.accessible()
    opened.shoot("retrieval-part")
    page.keyboard.press("Escape")
    expect(page).not_to_have_url(re.compile("region"))
    expect(part).to_be_hidden()
    page.go_back()
    expect(part).to_be_visible()
    page.fill("#region-width", "10")
    page.press("#region-width", "Enter")
    expect(page).to_have_url(re.compile("24.{1,3}24.{1,3}10.{1,3}24"))
    page.fill("#region-x", "95")
    page.eval_on_selector("#region", "form => form.noValidate = true")
    page.press("#region-x", "Enter")
    expect(page.get_by_role("alert")).to_contain_text("96 wide and 96 high; got x 95")
    expect(page.locator("#region-x")).to_have_value("95")
    opened.accessible()


def test_escape_gives_a_drag_up_and_a_click_is_none(opened: Watched) -> None:
    page = asked(opened)
    before = page.url
    drag(page, (0.2, 0.2), (0.6, 0.6))
    page.keyboard.press("Escape")
    page.mouse.up()
    expect(page.locator("#part")).to_be_hidden()
    page.locator("#frame").click()
    assert page.url == before
    # beyond the picture's edge counts as its edge
    drag(page, (0.5, 0.5), (1.6, 1.4))
    page.mouse.up()
    expect(page).to_have_url(re.compile("48.{1,3}48.{1,3}48.{1,3}48"))


def test_more_like_this_and_like_these(opened: Watched) -> None:
    page = asked(opened)
    page.check("#tick-soft-1")
    page.check("#tick-off-3")
    expect(page.locator(".these")).to_be_in_viewport()
    page.click("#these-and")
    expect(page.get_by_role("heading", name="And by these images")).to_be_visible()
    expect(page.locator(".query .tiles li")).to_have_count(2)
    expect(page).to_have_url(re.compile("picture=.*like=.*like="))
    loaded(page)
    opened.accessible()
    opened.shoot("retrieval-these")
    page.locator(".query .tiles a").first.click()
    expect(page.locator(".query .tiles li")).to_have_count(1)
    page.check("#tick-off-2")
    page.click("#these-alone")
    expect(page.locator("#frame")).to_have_count(0)
    expect(page.locator(".query .tiles li")).to_have_count(2)
    expect(page).not_to_have_url(re.compile("picture=|alone"))
    page.click("#more-off-1")
    expect(page.locator("#query-image")).to_be_visible()
    expect(page).to_have_url(re.compile("picture=[0-9a-f]{32}$"))
    page.go_back()
    expect(page.locator(".query .tiles li")).to_have_count(2)


def test_heat_maps_behind_a_switch(opened: Watched) -> None:
    page = asked(opened)
    expect(page.locator("img.heat")).to_have_count(0)
    page.check("#heat")
    expect(page.locator("img.heat")).to_have_count(20)
    loaded(page)
    opened.accessible()
    opened.shoot("retrieval-heat")
    page.locator("#shelf-1").click()  # of an image of the index, too
    expect(page).to_have_url(
        re.compile("picture=[0-9a-f]{32}&.*heat=1|heat=1.*picture=[0-9a-f]{32}")
    )
    loaded(page)


def test_the_keyboard_alone(opened: Watched) -> None:
    page = asked(opened)
    page.focus("#tick-soft-1")
    page.keyboard.press("Space")
    page.focus("#these-alone")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Searched by images of the index")).to_be_visible()
    page.focus("#more-soft-2")
    page.keyboard.press("Enter")
    expect(page.locator("#query-image")).to_be_visible()
    page.fill("#region-x", "0")
    page.fill("#region-y", "0")
    page.fill("#region-width", "16")
    page.fill("#region-height", "16")
    page.keyboard.press("Enter")
    expect(page.locator("#part")).to_be_visible()


def test_two_tabs_know_nothing_of_each_other(opened: Watched, server: Served) -> None:
    page = asked(opened)
    other = page.context.new_page()
    other.goto(page.url)
    other.select_option("#class", "hard")
    expect(other.locator("#row-hard")).to_be_visible()
    page.check("#own")
    expect(page).to_have_url(re.compile("own=1"))
    expect(page.locator("#row-soft")).to_be_visible()
    assert "own" not in other.url


def test_a_refusal_names_no_file(opened: Watched) -> None:
    page = asked(opened, "&k=5")
    page.set_input_files(
        "#picture-file", {"name": "Secret_Jane.svg", "mimeType": "image/svg+xml", "buffer": SVG}
    )
    page.click("#picture-send")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("the file: not a picture in a format", ignore_case=True)
    assert "Secret" not in page.content()
    expect(page.locator("#row-soft")).to_be_visible()  # what was there is still there
    opened.accessible()


def test_an_index_that_grows_is_asked_as_it_is(opened: Watched, lab: Lab, tmp_path: Path) -> None:
    page = asked(opened)
    new = write_pictures(tmp_path, range(77, 78), ("disc",))
    add(lab.shapes.path, new)
    page.click("#show")
    expect(page.get_by_text("shapes: 121 images")).to_be_visible()


def test_all_of_it_without_scripts(plain: Page) -> None:
    hand_in(plain, DISC)
    plain.check("#heat")
    plain.select_option("#k", "5")
    plain.click("#show")
    expect(plain.locator("img.heat")).to_have_count(10)
    for name, value in zip(("x", "y", "width", "height"), (4, 8, 40, 44), strict=True):
        plain.fill(f"#region-{name}", str(value))
    plain.click("#region-set")
    expect(plain.locator("#part")).to_be_visible()
    expect(plain).to_have_url(re.compile("region=4.{1,3}8.{1,3}40.{1,3}44"))
    plain.click("#region-clear")
    expect(plain.locator("#part")).to_be_hidden()
    plain.check("#tick-off-1")
    plain.check("#tick-off-2")
    plain.click("#these-alone")
    expect(plain.locator(".query .tiles li")).to_have_count(2)
    plain.click("#begin")
    plain.fill("#at", "30")
    plain.click("#at-show")
    expect(plain.locator("#shelf-30")).to_be_visible()
    plain.select_option("#index", "scans")
    plain.click("#show")
    expect(plain.get_by_text("scans: 18 images")).to_be_visible()


def test_on_a_phone(phone: Watched) -> None:
    page = phone.open("/retrieval?index=shapes&heat=1")
    fits(page)
    phone.accessible()
    phone.shoot("retrieval-phone-index")
    hand_in(page, DISC)
    loaded(page)
    fits(page)
    phone.accessible()
    page.locator("#frame").scroll_into_view_if_needed()
    phone.shoot("retrieval-phone")
    box = page.locator("#frame").bounding_box()
    assert box
    assert box["width"] <= PHONE["width"]
    touch(page, (0.25, 0.25), (0.75, 0.75))
    expect(page).to_have_url(re.compile("region=24.{1,3}24.{1,3}48.{1,3}48"))
    fits(page)
    page.locator("#row-soft").scroll_into_view_if_needed()
    phone.shoot("retrieval-phone-rows")


def touch(page: Page, begin: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a finger over the picture, as the browser's debugger can."""
    box = page.locator("#frame").bounding_box()
    assert box
    session = page.context.new_cdp_session(page)
    steps = [tuple(a + (b - a) * n / 5 for a, b in zip(begin, end, strict=True)) for n in range(6)]
    for n, (x, y) in enumerate(steps):
        point = {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}
        kind = "touchMove" if n else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
