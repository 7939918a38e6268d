"""The page Training as somebody uses it: start, watch, pause, change, stop, go on."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Error, Page, expect

from chainrule.training.task import TrainTask
from tests.lab.browser.conftest import PHONE, WIDE, Watched, fits
from tests.lab.process import Served
from tests.lab.training import bits, is_worker, metrics, small, until

pytestmark = pytest.mark.browser

LONG = 120_000  # milliseconds: the machine may be busy


@pytest.fixture
def own(tmp_path: Path, browser: Browser) -> Iterator[Watched]:
    """A server and a folder of one's own, and a page of it."""
    server = Served(tmp_path / "my runs")
    context = browser.new_context(viewport=WIDE)  # type: ignore[arg-type]
    watched = Watched(context, server.address)
    watched.server = server  # type: ignore[attr-defined]
    yield watched
    context.close()
    server = watched.server  # type: ignore[attr-defined]
    workers = processes(server)
    server.end()
    assert not [worker for worker in workers if worker.is_running()], "a process stayed behind"
    watched.at_home()


def processes(server: Served) -> list[psutil.Process]:
    children = psutil.Process(server.process.pid).children(recursive=True)
    return [child for child in children if is_worker(child)]


def folder(watched: Watched) -> Path:
    found: Path = watched.server.runs  # type: ignore[attr-defined]
    return found


def begin(watched: Watched, name: str, epochs: int, **more: str) -> Page:
    page = watched.open("/training")
    for field, value in {"epochs": str(epochs), "name": name, **more}.items():
        page.fill(f"#start input[name={field}]", value)
    page.click("#begin-button")
    page.wait_for_selector("#curves")
    return page


def paused(page: Page) -> None:
    """Pause, however far the training has come to begin."""
    page.click("#do-pause")
    expect(page.locator(".state")).to_have_text(re.compile("^Paused"), timeout=LONG)


def running(page: Page) -> None:
    expect(page.locator("#place")).to_be_visible(timeout=LONG)


def comes(page: Page, what: str) -> None:
    """Wait for something in the page; its policy lets Playwright's own way not in."""
    until(lambda: page.evaluate(what))


def points(page: Page, plot: str) -> dict[str, Any]:
    """Give a plot's curves by name, as they are drawn."""
    found = page.evaluate(
        """(id) => Object.fromEntries(document.getElementById(id).data.map((trace) =>
            [trace.name, {x: [...trace.x], y: [...trace.y]}]))""",
        plot,
    )
    assert isinstance(found, dict)
    return found


def zoomed(page: Page, plot: str) -> None:
    """Draw a rectangle in the middle of a plot."""
    box = page.locator(f"#{plot} .nsewdrag").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()


def test_a_training_from_the_form_to_the_result(own: Watched, tmp_path: Path) -> None:
    TrainTask(small(4, recipe="", seed=5), tmp_path / "plain").run()
    page = begin(own, "first run", 4, seed="5")
    assert page.url.endswith("/training?run=first+run")
    state = page.locator(".state")
    expect(state).to_have_text(re.compile("^Finished after 4 epochs"), timeout=LONG)
    run = folder(own) / "first run"
    assert bits(run) == bits(tmp_path / "plain"), "the same as `chainrule train`"
    assert metrics(run) == metrics(tmp_path / "plain")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    comes(page, "document.getElementById('plot-loss').data?.at(-1).x.length == 4")
    drawn = points(page, "plot-loss")
    assert drawn["test"]["y"] == pytest.approx([row["test_loss"] for row in rows])
    assert drawn["training, epoch's mean"]["x"] == [1, 2, 3, 4]
    right = points(page, "plot-score")["test"]["y"]
    assert right == pytest.approx([100 * row["test_accuracy"] for row in rows])
    table = page.locator("#epochs table")
    expect(table.locator("tbody tr")).to_have_count(4)
    expect(table).to_contain_text(f"{100 * rows[-1]['test_accuracy']:.2f} %")
    expect(page.locator("#health")).to_contain_text("conv1")
    expect(page.locator("main")).to_contain_text("test images", timeout=LONG)
    link = page.locator(".pictures a").first
    expect(link).to_have_attribute("href", re.compile(r"/network\?net=run:first(%20|\+)run&pic"))
    own.accessible()
    own.shoot("training-finished")


def test_pause_rate_stop_and_resume(own: Watched) -> None:
    page = begin(own, "run", 200)
    running(page)
    own.shoot("training-running")
    paused(page)
    place = page.locator("#place").text_content()
    page.wait_for_timeout(1500)
    assert page.locator("#place").text_content() == place, "it stands still"
    page.fill("#peak", "fast")
    page.click("#do-rate")
    alert = page.locator("[role=alert]")
    expect(alert).to_contain_text("Rate: expected a number above 0 and at most 1e+06; got 'fast'")
    page.wait_for_timeout(2500)  # parts are asked for anew meanwhile
    expect(page.locator("#peak")).to_have_value("fast")
    assert page.url.endswith("/training?run=run"), "the address is that of the view"
    page.fill("#peak", "0.004")
    page.click("#do-rate")
    expect(alert).to_have_count(0)
    expect(page.locator("#epochs")).to_contain_text("Changes of the rate's peak: 0.004 after step")
    own.accessible()
    page.click("#do-go")
    expect(page.locator(".state")).to_have_text(re.compile("^Running"))
    comes(page, "document.getElementById('plot-rate').layout?.shapes.length == 1")
    page.focus("#do-stop")
    page.keyboard.press("Enter")
    expect(page.locator(".state")).to_have_text(re.compile("It can go on after step"), timeout=LONG)
    assert page.evaluate("document.activeElement.id") == "state"  # the button is gone
    expect(page.locator("#heard")).to_contain_text("It can go on after step")
    own.accessible()
    own.shoot("training-stopped")
    page.click("#resume")
    running(page)
    page.click("#do-stop")
    expect(page.locator("#resume")).to_be_visible(timeout=LONG)


def test_a_reload_and_a_second_tab_see_the_same_run(own: Watched) -> None:
    page = begin(own, "run", 200)
    running(page)
    other = page.context.new_page()
    other.goto(page.url)
    paused(other)
    expect(page.locator(".state")).to_have_text(re.compile("^Paused"), timeout=LONG)
    assert page.locator("#place").text_content() == other.locator("#place").text_content()
    page.reload()
    expect(page.locator(".state")).to_have_text(re.compile("^Paused"))
    page.click("#do-go")
    expect(other.locator(".state")).to_have_text(re.compile("^Running"), timeout=LONG)
    other.goto(own.address + "/training")
    expect(other.locator(".runs li").first).to_contain_text("Running.")
    other.locator(".runs a").first.click()
    other.wait_for_selector("#do-stop")
    other.click("#do-stop")
    expect(page.locator("#resume")).to_be_visible(timeout=LONG)
    server: Served = own.server  # type: ignore[attr-defined]
    assert not processes(server)


def test_clicks_ten_a_second(own: Watched) -> None:
    page = own.open("/training")
    page.fill("#start input[name=epochs]", "200")
    page.evaluate("for (let i = 0; i < 10; i++) document.getElementById('begin-button').click()")
    page.wait_for_selector("#curves", timeout=LONG)
    running(page)
    assert len(list(folder(own).glob("[!.]*"))) == 1, "one run, however often Start was pressed"
    for number in range(30):
        page.evaluate(
            "(id) => document.getElementById(id)?.click()", ("do-pause", "do-go")[number % 2]
        )
        page.wait_for_timeout(100)
    page.evaluate("document.getElementById('do-pause').click()")
    expect(page.locator(".state")).to_have_text(re.compile("^Paused"), timeout=LONG)
    page.dblclick("#do-pause", force=True)  # it is marked as of no use now
    page.wait_for_timeout(700)
    expect(page.locator(".state")).to_have_text(re.compile("^Paused"))


def test_typing_is_not_disturbed_and_a_zoom_stays(own: Watched) -> None:
    page = begin(own, "run", 200)
    running(page)
    comes(page, "document.getElementById('plot-loss').data?.[0].x.length > 3")
    zoomed(page, "plot-loss")
    seen = page.evaluate("document.getElementById('plot-loss').layout.xaxis.range")
    page.click("#peak")
    page.keyboard.press("Control+A")
    for letter in "0.0125":
        page.keyboard.press(letter)
        page.wait_for_timeout(400)
    assert page.input_value("#peak") == "0.0125"
    page.keyboard.press("Enter")
    expect(page.locator("#epochs")).to_contain_text("0.0125 after step", timeout=LONG)
    page.wait_for_timeout(1500)
    zoom = "document.getElementById('plot-loss').layout.xaxis.range"
    assert page.evaluate(zoom) == seen
    page.click("#plot-whole")
    comes(page, f"{zoom}[0] == 0 && {zoom}[1] > {seen[1]}")


def test_a_server_killed_and_started_again(own: Watched, browser: Browser) -> None:
    page = begin(own, "run", 200)
    running(page)
    server: Served = own.server  # type: ignore[attr-defined]
    (worker,) = processes(server)
    server.end(signal.SIGKILL)
    expect(page.locator("#said")).to_contain_text("The server does not answer", timeout=LONG)
    until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, 30)
    own.server = again = Served(server.runs)  # type: ignore[attr-defined]
    with urllib.request.urlopen(again.address + "/training") as answer:
        assert b"It can go on after step" in answer.read()
    context = browser.new_context(viewport=WIDE)  # type: ignore[arg-type]
    other = Watched(context, again.address)
    fresh = other.open("/training?run=run")
    fresh.click("#resume")
    running(fresh)
    context.close()
    other.at_home()
    own.errors.clear()  # of requests to the server that was killed


def test_a_failure_in_words(own: Watched) -> None:
    page = begin(own, "run", 5, lr="1e30")
    state = page.locator(".state")
    expect(state).to_have_text(re.compile("^Failed: training: the loss became"), timeout=LONG)
    own.accessible()
    own.shoot("training-failed")
    page.click("text=Start another one with these choices")
    expect(page.locator("#start input[name=lr]")).to_have_value("1e+30")


def test_wrong_choices_in_place(opened: Watched) -> None:
    page = opened.open("/training")
    page.fill("#start input[name=lr]", "fast")
    page.fill("#start input[name=epochs]", "-3")
    page.click("#begin-button")
    expect(page.locator("[role=alert]")).to_contain_text("expected a number; got 'fast'")
    field = page.locator("#start input[name=lr]")
    expect(field).to_have_value("fast")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#wrong-epochs")).to_be_visible()
    opened.accessible()
    opened.shoot("training-refused")


def test_recipes_fill_the_form_in(opened: Watched) -> None:
    page = opened.open("/training")
    page.select_option("#recipe", "resnet-cifar")
    expect(page.locator("#start input[name=epochs]")).to_have_value("164")
    assert page.url.endswith("/training?recipe=resnet-cifar")
    page.go_back()
    expect(page.locator("#start input[name=epochs]")).to_have_value("30")


def test_without_scripts(own: Watched, browser: Browser) -> None:
    context = browser.new_context(viewport=WIDE, java_script_enabled=False)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(own.address + "/training")
    page.fill("#start input[name=epochs]", "200")
    page.click("#begin-button")
    page.click("#do-pause")

    def reload() -> None:
        """Load the page again, unless it is being exchanged for another one just now."""
        with contextlib.suppress(Error):
            page.reload()

    def is_paused() -> bool:
        reload()
        return "Paused" in (page.locator(".state").text_content() or "")

    until(is_paused)
    page.fill("#peak", "0.004")
    page.click("#do-rate")
    assert "0.004 after step" in (page.locator("#epochs").text_content() or "")
    page.click("#do-go")
    page.click("#do-stop")

    def is_stopped() -> bool:
        reload()
        return page.locator("#resume").count() == 1

    until(is_stopped)
    context.close()


def test_on_a_phone(own: Watched, browser: Browser) -> None:
    begin(own, "run", 200)
    context = browser.new_context(
        viewport=PHONE,  # type: ignore[arg-type]
        device_scale_factor=2,
        is_mobile=True,
        has_touch=True,
    )
    phone = Watched(context, own.address)
    page = phone.open("/training?run=run")
    running(page)
    comes(page, "document.getElementById('plot-loss').data?.[0].x.length > 3")
    fits(page)
    phone.accessible()
    phone.shoot("training-phone")
    context.close()
    phone.at_home()
