"""The page Circuit as somebody uses it: typing, stepping, clicking, taking it along."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from xml.etree import ElementTree

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from chainrule.lab.circuit_examples import EXAMPLES, Example
from tests.lab.browser.conftest import Watched, fits
from tests.lab.known import KNOWN
from tests.lab.process import Served

pytestmark = pytest.mark.browser

BY_NAME = {example.name: example for example in EXAMPLES}


def address(example: str, **state: Any) -> str:
    found = BY_NAME[example]
    return "/circuit?" + urlencode({"e": found.expression, "v": found.values, **state})


def gates(page: Page) -> dict[str, list[str]]:
    rows = page.locator("#gates tbody tr").all()
    cells = [row.locator("th, td").all_inner_texts() for row in rows]
    return {row[0]: row[1:] for row in cells}


def svg_texts(page: Page, kind: str) -> list[str]:
    return page.locator(f"#graph text.{kind}").all_text_contents()


def state_of(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.name)
def test_the_lectures_answers_stand_in_text_and_picture(opened: Watched, example: Example) -> None:
    page = opened.open("/circuit")
    page.get_by_role("link", name=example.name, exact=True).click()
    page.wait_for_url(re.compile(r"[?&]e="))  # the first example is shown before, too
    expect(page.get_by_label("Expression")).to_have_value(example.expression)
    page.get_by_label("Digits").fill("8")
    page.get_by_role("button", name="Compute").click()
    page.wait_for_url(re.compile(r"d=8"))
    expect(page.get_by_label("Digits")).to_have_value("8")
    result, gradients = KNOWN[example.name]
    found, drawn = gates(page), svg_texts(page, "gradient")
    top = list(found)[-1]
    near = 5e-6 if "Softmax" in example.name else 5e-8
    assert float(found[top][1]) == pytest.approx(result, abs=near)
    assert found[top][1] in svg_texts(page, "value")
    for name, gradient in gradients.items():
        if np.size(gradient) > 16:
            page.locator(f"#gate-{name}").click()
            cells = page.locator("#gradients td")
            expect(cells).to_have_count(np.size(gradient))
            shown = np.array(cells.all_inner_texts(), float)
            np.testing.assert_allclose(shown, np.ravel(gradient), atol=near)
            continue
        text = found[name][2]
        np.testing.assert_allclose(np.array(json.loads(text), float), gradient, atol=near)
        assert text in drawn or f"sum {text}" in drawn
    opened.shoot(f"circuit-{EXAMPLES.index(example):02}")


def test_stepping_by_buttons_keys_and_history(opened: Watched) -> None:
    page = opened.open(address("Sum, then product"))
    step = page.locator("#step")
    expect(step).to_have_text("10")
    expect(page.get_by_role("link", name="Next")).to_have_attribute("aria-disabled", "true")
    page.get_by_role("link", name="First").click()
    expect(step).to_have_text("1")
    assert svg_texts(page, "value") == ["-2"]
    assert svg_texts(page, "gradient") == []
    page.get_by_role("link", name="Next").click()
    expect(step).to_have_text("2")
    assert page.evaluate("document.activeElement.id") == "next"
    page.keyboard.press("ArrowRight")
    expect(step).to_have_text("3")
    expect(page.locator("#said-step")).to_have_text("q1 = x + y = 3")
    expect(page.locator("#heard")).to_have_text("q1 = x + y = 3")  # where screen readers listen
    opened.shoot("circuit-step-3")
    opened.accessible()
    page.keyboard.press("ArrowLeft")
    expect(step).to_have_text("2")
    page.go_back()
    expect(step).to_have_text("3")
    page.go_back()
    page.go_back()
    expect(step).to_have_text("1")
    page.go_forward()
    expect(step).to_have_text("2")
    page.reload()
    expect(step).to_have_text("2")
    page.get_by_role("link", name="Last").click()
    expect(step).to_have_text("10")
    assert "step" not in state_of(page)


def test_ten_quick_presses_are_ten_steps_and_none_is_left_over(opened: Watched) -> None:
    page = opened.open(address("A neuron", step=1))
    step = page.locator("#step")
    for _ in range(10):
        page.evaluate("document.getElementById('next').click()")
    expect(step).to_have_text("11")
    for _ in range(14):  # five more than there are
        page.evaluate("document.getElementById('next').click()")
    expect(step).to_have_text("20")
    page.wait_for_timeout(300)
    page.get_by_role("link", name="Back", exact=True).click()
    expect(step).to_have_text("19")
    page.wait_for_timeout(300)
    expect(step).to_have_text("19")


def test_arrow_keys_move_the_cursor_in_a_field(opened: Watched) -> None:
    page = opened.open(address("Sum, then product", step=4))
    page.get_by_label("Expression").focus()
    page.keyboard.press("ArrowRight")
    page.locator("#graph").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(200)
    expect(page.locator("#step")).to_have_text("4")


def test_a_gate_is_clicked_in_the_picture_and_in_the_list(opened: Watched) -> None:
    page = opened.open(address("Sum, then product"))
    page.get_by_label("q1: x + y, value 3, gradient -4").click()
    expect(page.locator("#gate")).to_have_text("Gate q1: x + y")
    assert page.locator(".product").all_inner_texts() == ["1 * -4 = -4"] * 2
    assert state_of(page)["gate"] == ["q1"]
    expect(page.locator("#graph a[aria-current]")).to_have_count(1)
    opened.shoot("circuit-gate")
    opened.accessible()
    page.locator("#gate-f").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#gate")).to_have_text("Gate f: q1 * z")
    assert page.locator(".product").all_inner_texts() == ["-4 * 1 = -4", "3 * 1 = 3"]


def test_a_sum_of_branches_and_a_number_of_a_matrix(opened: Watched) -> None:
    page = opened.open(address("Gradients add at branches", gate="x"))
    expect(page.locator("#sum")).to_have_text("7")
    opened.shoot("circuit-branches")
    page = opened.open(address("Matrix product", gate="q1"))
    page.get_by_label("q1[1,2] = 11").click()
    expect(page.locator("#explained")).to_contain_text("q1[1, 2] = 11 is the sum of 3 products")
    opened.shoot("circuit-matrix")
    page.get_by_text("Jacobian dq1/dx: 8 x 6").click()
    expect(page.locator("#jacobian-1 tr")).to_have_count(8)
    opened.accessible()


@pytest.mark.parametrize(
    ("expression", "values", "said"),
    [
        ("__import__('os')", "x=1", "no function of that name"),
        ("9**9**9", "x=1", "not finite"),
        ("(" * 1500, "x=1", "expected at most"),
        ("1e400*x", "x=1", "at most 1.8e308"),
        ("<img src=x onerror=alert(1)>", "x=1", "cannot be read"),
        ("x*2", "<img src=x onerror=alert(1)>=1", "<img: expected NAME=VALUE"),
    ],
)
def test_what_is_refused_stays_in_the_form(
    opened: Watched, expression: str, values: str, said: str
) -> None:
    page = opened.open("/circuit")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.get_by_label("Expression").fill(expression)
    page.get_by_label("Values").fill(values)
    begun = time.perf_counter()
    page.get_by_role("button", name="Compute").click()
    expect(page.get_by_role("alert")).to_contain_text(said)
    assert time.perf_counter() - begun < 3
    expect(page.get_by_label("Expression")).to_have_value(expression)
    expect(page.get_by_label("Values")).to_have_value(values)
    assert not dialogs
    opened.accessible()
    page.get_by_role("link", name="A neuron").click()
    expect(page.locator("#step")).to_have_text("20")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_big_circuit_answers_quickly(opened: Watched) -> None:
    typed = {"e": "max(" + ",".join(["x"] * 990) + ")", "v": "x=2"}
    page = opened.open("/circuit?" + urlencode(typed))
    begun = time.perf_counter()
    page.get_by_role("link", name="First").click()
    expect(page.locator("#step")).to_have_text("1")
    assert time.perf_counter() - begun < 3  # 0.1 s beside other work
    expect(page.locator("#graph a.now")).to_have_count(1)
    page.locator("#graph a").nth(3).click()
    expect(page.locator("#gates tr[aria-current]")).to_have_count(1)
    row, box = (page.locator(where).bounding_box() for where in ("#gates [aria-current]", "#gates"))
    assert row is not None
    assert box is not None
    assert box["y"] <= row["y"]
    assert row["y"] + row["height"] <= box["y"] + box["height"]
    opened.shoot("circuit-big")
    opened.accessible()


def test_what_is_reached_is_kept_in_view(opened: Watched) -> None:
    page = opened.open(address("Softmax, the cat", step=1))
    inside = """() => {
        const box = document.getElementById('graph').getBoundingClientRect();
        const gate = document.querySelector('.gate-link.now').getBoundingClientRect();
        const list = document.getElementById('steps').getBoundingClientRect();
        const line = document.querySelector('#steps [data-now]').getBoundingClientRect();
        return gate.left >= box.left && gate.right <= box.right
            && line.top >= list.top && line.bottom <= list.bottom;
    }"""
    scrolled = set()
    for count in range(2, 26):
        page.keyboard.press("ArrowRight")
        expect(page.locator("#step")).to_have_text(str(count))
        assert page.evaluate(inside), count
        scrolled.add(page.evaluate("document.getElementById('graph').scrollLeft"))
    assert len(scrolled) > 1, "the picture is wider than its box here"
    assert page.evaluate("scrollY") == 0


def test_without_scripts_all_works(browser: Browser, server: Served) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(server.address + "/circuit")
    page.get_by_label("Expression").fill("f = x * x")
    page.get_by_label("Values").fill("x=3")
    page.get_by_role("button", name="Compute").click()
    expect(page.locator("#step")).to_have_text("5")
    page.get_by_role("link", name="Back", exact=True).click()
    expect(page.locator("#step")).to_have_text("4")
    page.get_by_label("x: input, value 3, gradient 3").click()
    expect(page.locator("#gate")).to_have_text("Gate x, an input")
    expect(page.get_by_role("button", name="Copy the command")).to_be_hidden()
    with page.expect_download() as started:
        page.get_by_role("link", name="Download as SVG").click()
    assert started.value.suggested_filename == "circuit.svg"
    context.close()


def test_the_picture_and_the_command_are_taken_along(browser: Browser, server: Served) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    watched = Watched(context, server.address)
    page = watched.open(address("Matrix product", step=9))
    with page.expect_download() as started:
        page.get_by_role("link", name="Download as SVG").click()
    texts = ["".join(t.itertext()) for t in ElementTree.parse(started.value.path()).iter()]
    assert "[[0, 16, -9], [-24, 9, -30]]" in texts
    assert "[[28, 3, -18, 0], [-30, 7, 13, 33], [-22, -7, 17, -15]]" not in texts  # step 10
    page.get_by_role("button", name="Copy the command").click()
    expect(page.locator("#said")).to_have_text("Copied.")
    command = page.evaluate("navigator.clipboard.readText()")
    words = [sys.executable, "-m", *shlex.split(command)]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "dL/dx = [[0, 16, -9], [-24, 9, -30]]" in printed
    context.close()
    watched.at_home()


def test_a_screen_reader_hears_each_step(opened: Watched) -> None:
    page = opened.open(address("Sum, then product", step=1))
    page.get_by_role("link", name="Next").click()
    expect(page.locator("#heard")).to_have_text("y = 5")


@pytest.mark.parametrize("example", ["A neuron", "Matrix product", "Fully connected layer"])
def test_it_is_read_on_a_phone(phone: Watched, example: str) -> None:
    page = phone.open(address(example, gate="q1"))
    fits(page)
    phone.accessible()
    phone.shoot(f"phone-circuit-{EXAMPLES.index(BY_NAME[example]):02}")
    page.get_by_role("link", name="Back", exact=True).tap()
    expect(page.locator("#said-step")).to_be_in_viewport()
    fits(page)
