"""The script that all pages share, on pages made for it: nothing lost, nothing doubled."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, redirect, render_template_string, request
from playwright.sync_api import Browser, BrowserContext, Page, expect
from werkzeug.serving import make_server

from chainrule.lab import Settings, create_app
from tests.lab.browser.conftest import WIDE, Watched

pytestmark = pytest.mark.browser

PAGE = """
{% extends "base.html" %}
{% block title %}Number {{ n }}{% endblock %}
{% block content %}
<h1>Number {{ n }}</h1>
<p id="n">{{ n }}</p>
{% if n > 0 %}<a id="back" href="/try?n={{ n - 1 }}" data-swap="step">Back</a>{% endif %}
{% if n < 12 %}<a id="next" href="/try?n={{ n + 1 }}" data-swap="step">Next</a>{% endif %}
<svg width="60" height="20"><a id="svg" href="/try?n={{ n + 1 }}" data-swap="step">
  <rect width="60" height="20"/></a></svg>
{% for k in range(20, 30) %}
<a id="to-{{ k }}" href="/try?n={{ k }}&wait=300" data-swap>To {{ k }}</a>
{% endfor %}
<a id="file" href="/try/file" data-swap>File</a>
<a id="part-page" href="/try/parts" data-swap>Parts</a>
<a id="plain" href="/circuit" data-swap>Circuit</a>
<form action="/try" data-swap="change">
  <label>n <input id="field" name="n" type="number" value="{{ n }}"></label>
  <label>other <input id="other" name="other" value="{{ other }}"></label>
  <label>wait <input id="wait" name="wait" value="{{ wait }}"></label>
  <button id="go">Go</button>
</form>
<form method="post" action="/try/add"><button id="add">Add</button></form>
<div class="scroll" id="box" tabindex="0" role="region" aria-label="Box"
  style="height: 60px; width: 200px">
  <div style="height: 1000px; width: 900px">tall</div></div>
{% endblock %}
"""

PARTS = """
{% extends "base.html" %}
{% block title %}Parts{% endblock %}
{% block content %}
<h1>Parts</h1>
<div id="one" data-refresh="0.2" data-from="/try/part" aria-busy="true">waits</div>
<a id="away" href="/try?n=5" data-swap>Away</a>
{% endblock %}
"""


class Site:
    """A lab with pages to try the script on, whose server can go away and come back."""

    def __init__(self, folder: Path) -> None:
        self.app = create_app(Settings(folder))
        self.visits: list[str] = []
        self.added = self.parts = 0
        self._route(self.app)
        self.port = 0
        self.start()

    def _route(self, app: Flask) -> None:
        @app.get("/try")
        def page() -> str:
            n, wait = request.args.get("n", 0, int), request.args.get("wait", 0, int)
            self.visits.append(request.full_path)
            time.sleep((wait or 60) / 1000)
            other = request.args.get("other", "")
            return render_template_string(PAGE, n=n, wait=wait or "", other=other)

        @app.get("/try/file")
        def file() -> tuple[bytes, dict[str, str]]:
            return b"a,b\n1,2\n", {
                "Content-Type": "text/csv",
                "Content-Disposition": "attachment; filename=numbers.csv",
            }

        @app.post("/try/add")
        def add() -> Any:
            self.added += 1
            time.sleep(0.3)
            return redirect(f"/try?n={self.added}")

        @app.get("/try/parts")
        def parts() -> str:
            return render_template_string(PARTS)

        @app.get("/try/part")
        def part() -> str:
            self.parts += 1
            done = " data-done" if self.parts >= 3 else ""
            return f"<p{done}>part {self.parts}</p>"

    def start(self) -> None:
        """Serve, on the port of before if there was one."""
        self.server = make_server("127.0.0.1", self.port, self.app, threaded=True)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Stop to answer."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.stop()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport=WIDE)  # type: ignore[arg-type]
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, site: Site) -> Page:
    watched = Watched(context, f"http://127.0.0.1:{site.port}")
    page = watched.open("/try?n=0")
    page.evaluate("window.mark = 'same document'")
    return page


def shows(page: Page, n: int) -> None:
    expect(page.locator("#n")).to_have_text(str(n))
    assert page.title().startswith(f"Number {n} ")


def press(page: Page, selector: str, times: int) -> None:
    """Press faster than the server answers: without waiting for anything."""
    page.evaluate(
        """([selector, times]) => {
            for (let k = 0; k < times; k++) document.querySelector(selector)
                .dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
        }""",
        [selector, times],
    )


def test_ten_quick_presses_are_ten_steps(page: Page, site: Site) -> None:
    press(page, "#next", 10)
    shows(page, 10)
    page.wait_for_timeout(300)
    shows(page, 10)
    assert [visit.split("?")[1] for visit in site.visits] == [f"n={k}" for k in range(11)]
    assert page.evaluate("window.mark") == "same document"
    assert page.url.endswith("/try?n=10")
    assert page.get_attribute("#permalink", "href").endswith("/try?n=10")


def test_real_clicks_and_keys_are_steps_too(page: Page) -> None:
    for _ in range(5):
        page.click("#next", no_wait_after=True)
    page.focus("#next")
    for _ in range(3):
        page.keyboard.press("Enter")
    shows(page, 8)
    assert page.evaluate("document.activeElement.id") == "next"  # the focus stays


def test_steps_within_a_drawing_count(page: Page) -> None:
    press(page, "#svg", 4)
    shows(page, 4)


def test_steps_end_where_there_are_no_more(page: Page, site: Site) -> None:
    press(page, "#next", 9)
    shows(page, 9)
    press(page, "#next", 8)  # three lead somewhere
    shows(page, 12)
    page.wait_for_timeout(300)
    press(page, "#back", 1)
    shows(page, 11)
    page.wait_for_timeout(400)
    shows(page, 11)  # what was pressed in vain is forgotten
    assert len(site.visits) == 14


def test_the_last_of_ten_links_wins(page: Page) -> None:
    for k in range(20, 30):
        press(page, f"#to-{k}", 1)
    shows(page, 29)
    page.wait_for_timeout(800)
    shows(page, 29)
    assert page.url.endswith("/try?n=29&wait=300")
    page.go_back()
    shows(page, 0)  # one entry of the history, not ten


def test_a_link_ends_the_steps_that_wait(page: Page) -> None:
    press(page, "#next", 5)
    press(page, "#to-25", 1)
    shows(page, 25)
    page.wait_for_timeout(600)
    shows(page, 25)


def test_back_and_forward(page: Page) -> None:
    for n in (1, 2, 3):
        page.click("#next")
        shows(page, n)
    page.go_back()
    shows(page, 2)
    page.go_back()
    shows(page, 1)
    assert page.url.endswith("/try?n=1")
    page.go_forward()
    shows(page, 2)
    page.click("#next")
    shows(page, 3)
    page.reload()
    shows(page, 3)
    page.go_back()
    shows(page, 2)


def test_back_ends_a_visit_under_way(page: Page) -> None:
    page.click("#next")
    shows(page, 1)
    press(page, "#to-21", 1)
    page.go_back()
    shows(page, 0)
    page.wait_for_timeout(600)
    shows(page, 0)


def test_a_jump_within_the_page_asks_for_nothing(page: Page, site: Site) -> None:
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.wait_for_timeout(300)
    assert len(site.visits) == 1


def test_the_scroll_of_a_box_stays(page: Page) -> None:
    page.evaluate("document.getElementById('box').scrollTo(120, 340)")
    page.click("#next")
    shows(page, 1)
    box = page.evaluate("(({ scrollLeft, scrollTop }) => [scrollLeft, scrollTop])(box)")
    assert box == [120, 340]


def test_the_page_that_is_shown_is_marked(page: Page) -> None:
    page.click("#plain")
    expect(page.locator("h1")).to_have_text("Circuit")
    current = page.locator("nav a[aria-current]")
    expect(current).to_have_text("Circuit")
    assert page.evaluate("window.mark") == "same document"
    page.go_back()
    shows(page, 0)
    expect(page.locator("nav a[aria-current]")).to_have_count(0)


def test_a_file_is_a_file(page: Page) -> None:
    with page.expect_download() as download:
        page.click("#file")
    assert download.value.suggested_filename == "numbers.csv"
    shows(page, 0)
    page.click("#next")
    shows(page, 1)


def test_forms_leave_out_what_is_empty(page: Page) -> None:
    page.fill("#field", "7")
    page.press("#field", "Enter")
    shows(page, 7)
    assert page.url.endswith("/try?n=7")
    page.fill("#other", "a&b=c <d>")
    page.click("#go")
    expect(page).to_have_url(re.compile(r"/try\?n=7&other=a%26b%3Dc\+%3Cd%3E$"))
    expect(page.locator("#other")).to_have_value("a&b=c <d>")


def test_what_is_asked_twice_is_once_in_the_history(page: Page, site: Site) -> None:
    page.fill("#field", "7")
    page.press("#field", "Enter")  # changes it and sends it
    shows(page, 7)
    press(page, "#to-20", 1)
    shows(page, 20)
    press(page, "#to-20", 1)
    page.wait_for_timeout(600)
    assert len([visit for visit in site.visits if "n=20" in visit]) == 2
    page.go_back()
    shows(page, 7)
    page.go_back()
    shows(page, 0)


def test_what_is_typed_meanwhile_stays(page: Page, site: Site) -> None:
    page.fill("#wait", "500")
    page.focus("#other")  # the change sends the form
    page.keyboard.type("half a wo")
    expect(page.locator("#wait")).to_have_js_property("defaultValue", "500")
    expect(page.locator("#other")).to_have_value("half a wo")
    page.keyboard.type("rd")
    expect(page.locator("#other")).to_have_value("half a word")
    assert [visit.split("?")[1] for visit in site.visits] == ["n=0", "n=0&wait=500"]
    page.focus("#field")  # leaving it sends it
    expect(page).to_have_url(re.compile(r"other=half\+a\+word"))
    assert len(site.visits) == 3


def test_a_form_that_changes_something_is_sent_once(page: Page, site: Site) -> None:
    page.evaluate("for (let k = 0; k < 10; k++) document.querySelector('#add').click()")
    shows(page, 1)
    page.wait_for_timeout(500)
    assert site.added == 1
    page.click("#add")
    shows(page, 2)
    page.go_back()  # and can be sent again after coming back
    page.click("#add")
    shows(page, 3)


def test_parts_are_followed_until_they_are_done(page: Page, site: Site) -> None:
    page.click("#part-page")
    expect(page.locator("#one")).to_have_text("part 3")
    page.wait_for_timeout(700)
    assert site.parts == 3
    assert page.get_attribute("#one", "aria-busy") is None


def test_the_server_goes_away_and_comes_back(page: Page, site: Site) -> None:
    site.stop()
    page.click("#next")
    said = page.locator("#said")
    expect(said).to_contain_text("The server does not answer")
    shows(page, 0)  # what was there is still there
    press(page, "#next", 3)
    expect(said).to_contain_text("The server does not answer")
    site.start()
    page.click("#next")
    shows(page, 1)
    expect(said).to_be_empty()
    page.wait_for_timeout(300)
    shows(page, 1)  # what was pressed in vain is not caught up on


def test_parts_go_on_once_the_server_is_back(page: Page, site: Site) -> None:
    page.click("#part-page")
    expect(page.locator("#one")).to_contain_text("part 1")
    site.stop()
    expect(page.locator("#said")).to_contain_text("goes on once it is back")
    site.start()
    expect(page.locator("#one")).to_have_text("part 3")
    expect(page.locator("#said")).to_be_empty()


def test_a_failure_is_shown_and_left_again(page: Page) -> None:
    page.evaluate("document.querySelector('#next').href = '/nowhere'")
    page.click("#next")
    expect(page.locator("h1")).to_have_text("There is no such page")
    expect(page.locator("#said")).to_contain_text("There is no page at this address")
    page.go_back()
    shows(page, 0)


def test_all_of_it_without_scripts(browser: Browser, site: Site) -> None:
    context = browser.new_context(viewport=WIDE, java_script_enabled=False)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{site.port}/try?n=3")
    page.click("#next")
    expect(page.locator("#n")).to_have_text("4")
    page.click("#back")
    expect(page.locator("#n")).to_have_text("3")
    page.fill("#field", "8")
    page.click("#go")
    expect(page.locator("#n")).to_have_text("8")
    page.click("#add")
    expect(page.locator("#n")).to_have_text("1")
    page.go_back()
    expect(page.locator("#n")).to_have_text("8")
    context.close()
