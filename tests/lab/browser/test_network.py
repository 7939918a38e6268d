"""The network's page as a user drives it: pictures, layers, maps, numbers, there and back."""

from __future__ import annotations

import io
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

import chainrule as cr
from chainrule.engine.op import Array
from chainrule.lab import Settings
from chainrule.lab.pictures import Pictures
from chainrule.lab.subjects import Subject, Subjects
from tests.lab.browser.conftest import WIDE, Watched, fits
from tests.lab.process import Served

pytestmark = pytest.mark.browser

NET = "/network?net=run:lenet"


@pytest.fixture(scope="module")
def subject(trained: Path) -> Subject:
    return Subjects(Settings(trained)).get("run:lenet")


def state(page: Page) -> dict[str, str]:
    return {name: found[0] for name, found in parse_qs(urlsplit(page.url).query).items()}


def number(page: Page) -> float:
    return float(page.locator("#on-the-map").inner_text())


def layer(subject: Subject, name: str, picture: str, target: int | None = None) -> Array:
    """What the library computes: a layer's values, or the gradient of a class's score by them."""
    x = cr.tensor(subject.seen(picture, Pictures(Path("nowhere"))), requires_grad=True)
    found = []
    module = dict(subject.member.model.named_modules())[name]
    handle = module.register_forward_hook(lambda _m, _i, y: found.append(y))
    scores = subject.member.model(x)
    handle.remove()
    if target is None:
        return found[0].detach().numpy()
    return cr.grad(scores[0, target], [found[0]])[0].numpy()


def settled(page: Page, **wanted: object) -> None:
    """Wait until the address says so."""
    for name, value in wanted.items():
        page.wait_for_url(re.compile(rf"[?&]{name}={re.escape(str(value))}(&|#|$)"))


def test_from_the_picture_to_a_number_and_back(opened: Watched, subject: Subject) -> None:
    page = opened.open("/")
    page.get_by_role("link", name="network of lenet").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Network: lenet (lenet5)")
    opened.shoot("network")
    opened.accessible()
    page.locator("#tile-test-3").click()
    settled(page, picture="test-3")
    expect(page.locator(".answer")).to_contain_text(f"It shows {subject.label('test-3')}.")
    page.locator('svg a.gate-link[aria-label^="conv2,"]').click()
    settled(page, layer="conv2")
    expect(page.locator("#layer-title")).to_be_in_viewport()
    assert page.locator("#layer .tiles img[alt^=Map]").count() == 16
    page.locator("#map-4").click()
    settled(page, channel=4)
    expect(page.locator("#number-title")).to_be_in_viewport()
    box = page.locator("input.map").bounding_box()
    assert box
    assert box["width"] == box["height"] == 320  # 10 x 10 numbers of 32 pixels
    page.mouse.click(box["x"] + 32 * 7.5, box["y"] + 32 * 2.5)
    settled(page, row=2, col=7)
    values = layer(subject, "conv2", "test-3")
    assert number(page) == pytest.approx(values[0, 4, 2, 7], rel=1e-5)
    opened.shoot("network-number")
    opened.accessible()
    page.locator("#way-back").click()
    settled(page, way="back")
    assert state(page)["row"] == "2"
    best = int(page.locator("tr[aria-current] th").first.inner_text()[0])
    gradient = layer(subject, "conv2", "test-3", best)
    assert number(page) == pytest.approx(gradient[0, 4, 2, 7], rel=1e-4, abs=1e-7)
    opened.shoot("network-back")
    opened.accessible()
    page.go_back()  # the address goes back at once, what is shown when it was fetched
    expect(page.locator("#number-title")).to_contain_text("Number conv2 [4, 2, 7]")
    assert number(page) == pytest.approx(values[0, 4, 2, 7], rel=1e-5)


def test_a_reload_and_a_link_restore_the_view(opened: Watched) -> None:
    page = opened.open(f"{NET}&layer=conv1&channel=3&row=5&col=6&way=back&picture=test-2&target=8")
    before = page.locator("main").inner_text()
    page.reload()
    assert page.locator("main").inner_text() == before
    link = page.locator("#permalink").get_attribute("href")
    assert link
    page.goto(opened.address + link)
    assert page.locator("main").inner_text() == before


def test_ten_quick_steps_all_count(opened: Watched, subject: Subject) -> None:
    page = opened.open(f"{NET}&layer=conv1&channel=1&row=4&col=5")
    page.evaluate("for (let k = 0; k < 10; k++) document.getElementById('right').click()")
    settled(page, col=15)
    page.evaluate("for (let k = 0; k < 3; k++) document.getElementById('down').click()")
    settled(page, row=7)
    assert number(page) == pytest.approx(layer(subject, "conv1", "test-0")[0, 1, 7, 15], rel=1e-5)


def test_steps_stop_at_the_border(opened: Watched) -> None:
    page = opened.open(f"{NET}&layer=conv1&channel=1&row=0&col=26")
    page.locator("#right").focus()
    for _ in range(4):
        page.keyboard.press("Enter")
    settled(page, col=27)
    page.wait_for_timeout(300)
    assert state(page)["col"] == "27"


def test_by_the_keyboard_alone(opened: Watched, subject: Subject) -> None:
    page = opened.open(NET)
    page.locator("#layer-conv1").focus()
    page.keyboard.press("Enter")
    settled(page, layer="conv1")
    assert page.evaluate("document.activeElement.id") == "layer"
    assert "conv1: Conv2d" in page.locator("#heard").inner_text()
    page.keyboard.press("Tab")  # on from the part that came, not from the table of layers
    assert page.evaluate("document.activeElement.id") == "way-there"
    page.locator("#map-2").focus()
    page.keyboard.press("Enter")
    settled(page, channel=2)
    assert page.evaluate("document.activeElement.id") == "number"
    page.locator("#row").fill("9")
    page.locator("#col").fill("11")
    page.locator("#col").press("Enter")
    settled(page, row=9, col=11)
    assert number(page) == pytest.approx(layer(subject, "conv1", "test-0")[0, 2, 9, 11], rel=1e-5)
    page.keyboard.press("Tab")  # from the column to the button: the map is no stop on the way
    assert page.evaluate("document.activeElement.textContent") == "Go"


def test_the_graphs_boxes_are_reached_by_the_keyboard(opened: Watched) -> None:
    page = opened.open(NET)
    page.locator("svg a.gate-link").nth(2).focus()
    page.keyboard.press("Enter")
    settled(page, layer="relu1")
    assert page.locator("svg a.gate-link[aria-current]").count() == 1


def test_what_is_chosen_is_in_view(opened: Watched) -> None:
    page = opened.open("/network?net=model:googlenet&depth=2&layer=inception4d.cat")
    boxes = [
        ("#graph", "svg a.gate-link[aria-current]"),
        ("#table", "tr[aria-current]"),
    ]
    for box, chosen in boxes:
        outer = page.locator(box).bounding_box()
        inner = page.locator(f"{box} {chosen}").bounding_box()
        assert outer
        assert inner
        assert outer["y"] <= inner["y"] <= outer["y"] + outer["height"]
        assert outer["x"] <= inner["x"] <= outer["x"] + outer["width"]


def test_choosing_network_target_and_detail(opened: Watched) -> None:
    page = opened.open(NET)
    page.locator("#target").select_option("5")
    settled(page, target=5)
    page.locator("#net").select_option("model:resnet20")
    settled(page, net="model%3Aresnet20")
    expect(page.locator(".notice")).to_contain_text("drawn at random")
    assert "target" not in state(page)
    few = page.locator("svg a.gate-link").count()
    page.locator("#depth").select_option("3")
    settled(page, depth=3)
    assert page.locator("svg a.gate-link").count() > few
    opened.shoot("network-resnet20")
    opened.accessible()


def test_an_upload_is_shown(opened: Watched) -> None:
    page = opened.open(f"{NET}&layer=conv1&channel=2")
    pixels = np.full((60, 50), 255, np.uint8)
    pixels[10:50, 22:28] = 0
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    page.locator("#picture-file").set_input_files(
        {"name": "one.png", "mimeType": "image/png", "buffer": stream.getvalue()}
    )
    page.get_by_role("button", name="Use this picture").click()
    page.wait_for_url(re.compile(r"picture=[0-9a-f]{20}"))
    assert state(page)["layer"] == "conv1"
    expect(page.locator(".answer")).to_contain_text("Nobody told what it shows")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("start", NET),
        ("forward", f"{NET}&layer=conv2&channel=2"),
        ("backward", f"{NET}&layer=conv1&channel=2&way=back"),
        ("dense", f"{NET}&layer=fc1&channel=2"),
        ("branches", "/network?net=model:googlenet&layer=inception3a.cat&channel=1&way=back"),
        ("refused", f"{NET}&layer=nothing"),
    ],
)
def test_fits_a_phone(phone: Watched, name: str, path: str) -> None:
    page = phone.open(path)
    fits(page)
    phone.accessible()
    phone.shoot(f"network-phone-{name}")


def test_on_a_phone_a_touch_finds_the_number(phone: Watched) -> None:
    page = phone.open(f"{NET}&layer=conv1&channel=2")
    box = page.locator("input.map").bounding_box()
    assert box
    page.locator("input.map").tap(position={"x": 11 * 20 + 5, "y": 11 * 3 + 5})
    settled(page, row=3, col=20)


def test_without_scripts(browser: Browser, server: Served, subject: Subject) -> None:
    context = browser.new_context(viewport=WIDE, java_script_enabled=False)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(server.address + NET)
    page.locator("#layer-conv1").click()
    page.locator("#map-3").click()
    page.locator("input.map").click(position={"x": 11 * 6 + 4, "y": 11 * 20 + 4})
    settled(page, row=20, col=6)
    assert number(page) == pytest.approx(layer(subject, "conv1", "test-0")[0, 3, 20, 6], rel=1e-5)
    page.locator("#left").click()
    settled(page, col=5)
    context.close()
