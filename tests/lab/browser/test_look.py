"""The page Look as somebody uses it: methods side by side, a layer, a unit, own pictures."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from chainrule.inspection.figures import figure_png
from chainrule.inspection.looking import Look
from chainrule.inspection.methods import look
from chainrule.lab.looks import SIGHTS
from chainrule.training.using import Member
from tests.lab.attacks import REFUSED, SVG, png, written
from tests.lab.browser.conftest import WIDE, Watched, fits
from tests.lab.process import Served

pytestmark = pytest.mark.browser

RUN = "/look?net=run:lenet"


def all_there(page: Page, seconds: float = 60) -> None:
    """Wait until no part is at work any more and every picture is loaded."""
    expect(page.locator("[data-refresh]")).to_have_count(0, timeout=1000 * seconds)
    for image in page.locator(".sights img").all():
        expect(image).to_have_js_property("complete", True)


def hand_in(page: Page, name: str, data: bytes) -> None:
    """Choose a file and send it."""
    page.set_input_files(
        "#picture-file", {"name": name, "mimeType": "application/octet-stream", "buffer": data}
    )
    page.click("#picture-send")


@pytest.fixture
def plain(browser: Browser, server: Served) -> Iterator[Page]:
    """A page without scripts."""
    context = browser.new_context(viewport=WIDE, java_script_enabled=False)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(server.address + RUN)
    yield page
    context.close()


def test_all_methods_side_by_side(opened: Watched) -> None:
    page = opened.open(RUN)
    all_there(page)
    for sight in SIGHTS.values():
        expect(page.get_by_role("heading", name=sight.title, exact=True)).to_be_visible()
        expect(page.get_by_text(sight.tells.replace("  ", " "))).to_be_visible()
        expect(page.get_by_role("img", name=f"{sight.title}: ")).to_be_visible()
    pictures = page.locator(".sights img")
    expect(pictures).to_have_count(len(SIGHTS))
    assert pictures.evaluate_all("all => all.every((image) => image.naturalWidth > 200)")
    opened.accessible()
    opened.shoot("look-wide")
    page.locator("#part-occlusion").scroll_into_view_if_needed()
    opened.shoot("look-wide-more")


def test_a_figure_is_saved_as_it_was_computed(opened: Watched, trained: Path) -> None:
    page = opened.open(f"{RUN}&picture=test-1&method=occlusion")
    all_there(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as PNG (Occlusion)").click()
    assert download.value.suggested_filename == "run_lenet-test-1-occlusion.png"
    member = Member.load(trained / "lenet")
    x = member.samples(2)[0][1:]
    best = int(member.scores(x)[0, 0].argmax())
    wanted = figure_png(look("occlusion", Look(member.model, member.config.classes, x, None, best)))
    assert download.value.path().read_bytes() == wanted


def test_a_picture_a_class_a_layer_and_a_unit(opened: Watched) -> None:
    page = opened.open(RUN)
    shown = page.locator("#part-saliency figcaption")
    expect(shown).to_contain_text("Saliency: '3'")
    page.get_by_role("link", name="test-1 7").click()
    expect(shown).to_contain_text("Saliency: '7'")
    expect(page.locator(".answer")).to_contain_text("The picture shows 7.")
    page.select_option("#target", label="4")
    expect(shown).to_contain_text("Saliency: '4'")
    page.select_option("#layer", "conv2")
    expect(shown).to_contain_text("of layer 'conv2'")
    page.fill("#unit", "3")
    page.press("#unit", "Enter")
    expect(shown).to_contain_text("unit 3 of layer 'conv2'")
    made = page.locator("#part-activation-maximization figcaption")
    expect(made).to_contain_text("layer 'conv2': unit 3")
    expect(page.locator("#part-grad-cam figcaption")).to_contain_text("of layer 'conv2': '4'")
    all_there(page)
    opened.accessible()
    opened.shoot("look-unit")
    # the address holds all of it
    fresh = opened.open(page.url.removeprefix(opened.address))
    expect(fresh.locator("#part-saliency figcaption")).to_contain_text("unit 3 of layer 'conv2'")
    expect(fresh.locator("#target")).to_have_value("4")
    expect(fresh.locator(".tiles a[aria-current]")).to_contain_text("7")
    # and the way back leads through each of the steps once
    fresh.go_back()
    expect(fresh).to_have_url(re.compile(r"target=4&layer=conv2(?!.*unit)"))
    expect(shown).to_contain_text("of layer 'conv2'")
    fresh.go_back()
    expect(shown).to_contain_text("Saliency: '4'")
    fresh.go_back()
    expect(shown).to_contain_text("Saliency: '7'")
    fresh.go_forward()
    expect(shown).to_contain_text("Saliency: '4'")


def test_methods_are_ticked_on_and_off(opened: Watched) -> None:
    page = opened.open(RUN)
    for name in list(SIGHTS)[1:]:
        page.uncheck(f"#tick-{name}")
        expect(page.locator(f"#part-{name}")).to_have_count(0)
    expect(page.locator("article")).to_have_count(1)
    page.uncheck("#tick-saliency")
    expect(page.get_by_text("No method is ticked")).to_be_visible()
    page.focus("#tick-grad-cam")
    page.keyboard.press("Space")
    expect(page.locator("article h3")).to_have_text("Grad-CAM")
    assert page.evaluate("document.activeElement.id") == "tick-grad-cam"
    page.click("#tile-test-2")
    expect(page.locator("article")).to_have_count(1)  # another picture, the same methods
    page.select_option("#net", "model:lenet5")
    page.click("#net-show")
    expect(page.get_by_text("drawn at random")).to_be_visible()
    expect(page.locator("article")).to_have_count(1)  # another network, too


def test_ten_quick_clicks_end_with_the_last(opened: Watched) -> None:
    page = opened.open(RUN)
    page.evaluate(
        """() => [...document.querySelectorAll(".tiles a")].slice(0, 10).forEach((a) =>
            a.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true })))"""
    )
    expect(page).to_have_url(re.compile(r"picture=test-9"))
    all_there(page)
    for image in page.locator(".sights img").all():
        if "activation" not in image.get_attribute("src"):
            assert "picture=test-9" in image.get_attribute("src")


def test_a_refusal_is_told_in_place_of_the_figure(opened: Watched) -> None:
    page = opened.open(f"{RUN}&layer=fc1")
    part = page.locator("#part-grad-cam")
    expect(part).to_contain_text("take a convolution")
    expect(part.locator("img")).to_have_count(0)
    expect(page.locator("#part-saliency img")).to_be_visible()
    all_there(page)
    opened.accessible()


def test_what_the_address_asks_in_vain(opened: Watched) -> None:
    page = opened.open(f"{RUN}&layer=conv1&unit=77")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("layer 'conv1' has units 0 to 5; got 77")
    expect(page.locator("#unit")).to_have_value("77")
    opened.accessible()
    page.fill("#unit", "2")
    page.press("#unit", "Enter")
    expect(alert).to_have_count(0)
    expect(page.locator("#part-saliency figcaption")).to_contain_text("unit 2")


def test_slow_work_is_shown_as_such(opened: Watched) -> None:
    page = opened.open("/look?net=model:resnet18&method=saliency&method=occlusion")
    part = page.locator("#part-occlusion")
    expect(part).to_have_attribute("aria-busy", "true")
    expect(part.get_by_role("progressbar")).to_be_visible()
    opened.accessible()
    expect(page.locator("#part-saliency img")).to_be_visible(timeout=30_000)
    expect(part).to_contain_text(re.compile(r"At work, \d+ s so far"), timeout=30_000)
    opened.shoot("look-resnet-working")
    all_there(page, 120)
    assert part.get_attribute("aria-busy") is None
    opened.shoot("look-resnet")


def test_on_a_phone(phone: Watched) -> None:
    page = phone.open(f"{RUN}&layer=conv2")
    all_there(page)
    fits(page)
    phone.accessible()
    phone.shoot("look-phone")
    page.locator("#part-saliency").scroll_into_view_if_needed()
    phone.shoot("look-phone-figures")


def test_a_picture_of_one_s_own(opened: Watched) -> None:
    page = opened.open(f"{RUN}&layer=conv2&unit=3&method=saliency")
    pixels = np.full((60, 40), 255, np.uint8)
    pixels[8:52, 17:23] = 0
    hand_in(page, "one.png", written(Image.fromarray(pixels), "PNG"))
    expect(page.locator(".tiles a[aria-current]")).to_contain_text("yours")
    expect(page.locator("#part-saliency figcaption")).to_contain_text("unit 3 of layer 'conv2'")
    expect(page.locator(".answer")).not_to_contain_text("The picture shows")
    expect(page.locator("article")).to_have_count(1)
    opened.accessible()
    opened.shoot("look-own")


@pytest.mark.parametrize("name", ["script.svg", "page.png", "large.png", "bomb.png", "short.jpg"])
def test_what_is_no_picture_is_refused_where_the_form_is(opened: Watched, name: str) -> None:
    page = opened.open(f"{RUN}&picture=test-2&layer=conv2&unit=3&method=saliency")
    data, words = REFUSED[name]
    hand_in(page, name, data)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(words)
    expect(alert).to_contain_text(name)
    expect(page.locator("#picture-file")).to_be_visible()
    expect(page.locator(".tiles a[aria-current]")).to_contain_text("3")
    expect(page.locator("#part-saliency figcaption")).to_contain_text("unit 3 of layer 'conv2'")
    opened.accessible()
    opened.shoot(f"look-refused-{name}")
    hand_in(page, "good.png", written(Image.new("L", (9, 9), 3), "PNG"))  # the way on
    page.get_by_role("link", name="test-1 7").click()
    expect(alert).to_have_count(0)


def test_no_file_and_too_large_a_file(opened: Watched, plain: Page, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(b"x" * 33_000_000)
    page = opened.open(f"{RUN}&method=saliency")
    page.click("#picture-send")
    expect(page.get_by_role("alert")).to_contain_text("choose a file first")
    sent = len(opened.requests)
    page.set_input_files("#picture-file", large)
    page.click("#picture-send")
    expect(page.locator("#said")).to_contain_text("larger than 32 MB")
    assert not [url for url in opened.requests[sent:] if "/pictures" in url]
    page.set_input_files("#picture-file", [])
    page.click("#picture-send")  # and can be sent again
    expect(page.get_by_role("alert")).to_contain_text("choose a file first")
    plain.set_input_files("#picture-file", large)
    plain.click("#picture-send")
    expect(plain.get_by_role("alert")).to_contain_text("Expected a file of at most 32 MB")
    expect(plain.locator("#picture-file")).to_be_visible()


def test_all_of_it_without_scripts(plain: Page) -> None:
    # the page asks for itself until all is there
    expect(plain.locator(".sights img")).to_have_count(len(SIGHTS), timeout=60_000)
    assert plain.locator("noscript meta, head meta[http-equiv]").count() == 0
    plain.select_option("#layer", "conv2")
    plain.uncheck("#tick-occlusion")
    plain.click("#look-show")
    expect(plain.locator("#part-occlusion")).to_have_count(0)
    expect(plain.locator("#part-saliency figcaption")).to_contain_text(
        "of layer 'conv2'", timeout=30_000
    )
    hand_in(plain, "x.svg", SVG)
    expect(plain.get_by_role("alert")).to_contain_text("x.svg: not a picture in a format")
    expect(plain.locator("#layer")).to_have_value("conv2")
    hand_in(plain, "bomb.png", png(60_000, 60_000, rows=b"\0"))
    expect(plain.get_by_role("alert")).to_contain_text("60,000 x 60,000 are more")
    digit = Image.new("L", (30, 30), 255)
    digit.paste(0, (13, 4, 17, 26))
    hand_in(plain, "one.png", written(digit, "PNG"))
    expect(plain.locator(".tiles a[aria-current]")).to_contain_text("yours")


def test_the_server_is_alive_after_all_of_it(opened: Watched, server: Served) -> None:
    page = opened.open(RUN)
    for name, (data, words) in REFUSED.items():
        answer = page.request.post(
            f"{server.address}/pictures?back=look.page&net=run:lenet&method=none",
            multipart={"picture": {"name": name, "mimeType": "image/png", "buffer": data}},
        )
        assert answer.status == 200
        assert words in answer.text().replace("&#39;", "'")
    assert server.process.poll() is None
    page.reload()
    all_there(page)
    assert Image.open(io.BytesIO(page.request.get(f"{server.address}/look/saliency.png").body()))
