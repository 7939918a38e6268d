"""The page Circuit, asked directly: its numbers, its steps, and what it refuses."""

from __future__ import annotations

import json
import re
import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import numpy as np
import pytest
from flask.testing import FlaskClient
from typer.testing import CliRunner

from chainrule.cli.main import app
from chainrule.inspection.circuits import circuit, read_values, split_values
from chainrule.inspection.circuits.gates import local_jacobian
from chainrule.lab.circuit_examples import EXAMPLES, Example
from chainrule.lab.circuits import walk_of
from tests.lab.conftest import Ask
from tests.lab.html import Part, read
from tests.lab.known import KNOWN

BY_NAME = {example.name: example for example in EXAMPLES}
FIRST = BY_NAME["Sum, then product"]
BIG = {"e": "max(" + ",".join(["x"] * 990) + ")", "v": "x=2"}


def address(example: Example | None = None, **state: Any) -> str:
    typed = {"e": example.expression, "v": example.values} if example else {}
    return "/circuit?" + urlencode({**typed, **state})


def gates(page: Part) -> dict[str, list[str]]:
    """Give the rows of the list of gates by name: what it computes, value, gradient."""
    return {row[0]: row[1:] for row in page.one("div", id="gates").rows()[1:]}


def numbers(text: str) -> Any:
    return np.array(json.loads(text), float)


def svg_texts(page: Part, kind: str) -> list[str]:
    return [part.text for part in page.one("svg").all("text", class_=kind)]


def test_every_example_has_its_answer() -> None:
    assert {example.name for example in EXAMPLES} == set(KNOWN)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.name)
def test_the_lectures_numbers(ask: Ask, example: Example) -> None:
    page = read(ask(address(example, d=9)))
    result, gradients = KNOWN[example.name]
    found = gates(page)
    top = list(found)[-1]
    tolerance = 5e-6 if "Softmax" in example.name else 5e-8
    assert numbers(found[top][1]) == pytest.approx(result, abs=tolerance)
    assert found[top][2] == "1"
    drawn = svg_texts(page, "gradient")
    for name, gradient in gradients.items():
        if np.size(gradient) > 16:  # too many for a line: the gate has them as a table
            rows = read(ask(address(example, d=9, gate=name))).one("div", id="gradients").rows()
            np.testing.assert_allclose(np.array(rows, float), gradient, atol=tolerance)
            continue
        text = found[name][2]
        np.testing.assert_allclose(numbers(text), gradient, atol=tolerance)
        assert text in drawn or f"sum {text}" in drawn
    assert found[top][1] in svg_texts(page, "value")
    chosen = [part.text for part in page.one("dl", class_="examples").all("a", **CURRENT)]
    assert chosen == [example.name]


CURRENT = {"aria-current": "true"}


def test_the_first_visit_shows_a_circuit_and_the_examples(ask: Ask) -> None:
    page = read(ask("/circuit"))
    assert page.one("input", name="e")["value"] == FIRST.expression
    assert page.one("input", name="v")["value"] == FIRST.values
    listed = page.one("dl", class_="examples").all("a")
    assert [part.text for part in listed] == [example.name for example in EXAMPLES]
    for part in listed:
        ask(part["href"])


STEPS = [
    (["-2"], []),
    (["-2", "5"], []),
    (["-2", "5", "3"], []),
    (["-2", "5", "3", "-4"], []),
    (["-2", "5", "3", "-4", "-12"], []),
    (["-2", "5", "3", "-4", "-12"], ["1"]),
    (["-2", "5", "3", "-4", "-12"], ["-4", "1"]),
    (["-2", "5", "3", "-4", "-12"], ["-4", "3", "1"]),
    (["-2", "5", "3", "-4", "-12"], ["-4", "-4", "3", "1"]),
    (["-2", "5", "3", "-4", "-12"], ["-4", "-4", "-4", "3", "1"]),
]


@pytest.mark.parametrize("count", range(1, 11))
def test_the_picture_shows_what_is_known_by_then(ask: Ask, count: int) -> None:
    page = read(ask(address(FIRST, step=count)))
    values, gradients = STEPS[count - 1]
    assert sorted(svg_texts(page, "value")) == sorted(values)
    assert sorted(svg_texts(page, "gradient")) == sorted(gradients)
    [fresh] = page.one("svg").all("text", class_="fresh")
    said = page.one(id="said-step").text
    assert fresh.text == said.split(" = ")[-1]
    assert fresh["class"] == ("value fresh" if count <= 5 else "gradient fresh")
    assert page.one(id="step").text == str(count)
    said = [text for row in gates(page).values() for text in row[1:] if text]
    assert len(said) == min(count, 5) + len({*[], *gradients_known(count)})


def gradients_known(count: int) -> list[str]:
    return ["f", "q1", "z", "x", "y"][: max(0, count - 5)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.name)
def test_the_steps_are_the_librarys_in_its_order(ask: Ask, example: Example) -> None:
    values = read_values(split_values(example.values))
    text = str(circuit(example.expression, values)).split("\n\n")
    lines = [line for part in text[:2] for line in part.splitlines()[1:]]
    for count in (1, len(lines) // 2, len(lines)):
        page = read(ask(address(example, step=count)))
        listed = page.one("div", id="steps").all("li")
        shown = [part.text for part in listed]
        assert shown[:count] == [" ".join(line.split()) for line in lines[:count]]
        coming = [line.split(" = ")[0] for line in lines[count:]]
        assert shown[count:] == [f"{name} = ?" for name in coming]
        now = [k for k, part in enumerate(listed, 1) if part.get("aria-current") == "step"]
        assert now == [count]
        assert page.one(id="said-step").text == shown[count - 1]


def test_the_buttons_lead_one_step_and_stop_at_the_ends(ask: Ask) -> None:
    for count in (1, 2, 5, 9, 10):
        page = read(ask(address(FIRST, step=count, gate="q1")))
        leads = {"first": 1, "back": count - 1, "next": count + 1, "last": 10}
        for name, to in leads.items():
            button = page.one(id=name)
            ends = count == 1 if name in ("first", "back") else count == 10
            if ends:
                assert button.get("href") == ""
                assert button["aria-disabled"] == "true"
                continue
            assert button["data-swap"] == "step"
            there = read(ask(button["href"]))
            assert there.one(id="step").text == str(to)
            assert there.one(id="gate").text.startswith("Gate q1")


def test_a_gate_writes_local_times_upstream(ask: Ask) -> None:
    page = read(ask(address(FIRST, gate="q1")))
    assert page.one(id="gate").text == "Gate q1: x + y"
    assert [part.text for part in page.all("span", class_="product")] == ["1 * -4 = -4"] * 2
    assert page.one("dl", class_="facts").text == "Value q1 = 3 Upstream gradient df/dq1 = -4"
    page = read(ask(address(FIRST, gate="f")))
    rows = page.one("div", id="inputs").rows()[1:]
    assert [row[:3] for row in rows] == [["q1", "3", "df/dq1 = -4"], ["z", "-4", "df/dz = 3"]]
    assert rows[0][3] == "df/dq1 * df/df = -4 * 1 = -4"


def test_what_is_not_known_yet_is_not_told(ask: Ask) -> None:
    page = read(ask(address(FIRST, gate="f", step=4)))
    rows = page.one("div", id="inputs").rows()[1:]
    assert rows[0] == ["q1", "3", "df/dq1", "not known yet"]
    assert "-12" not in page.one("section", **{"aria-labelledby": "gate"}).text
    page = read(ask(address(FIRST, gate="z", step=2)))
    assert (
        page.one("dl", class_="facts").text == "Value not known yet Upstream gradient not known yet"
    )


def test_gradients_add_where_branches_meet(ask: Ask) -> None:
    example = BY_NAME["Gradients add at branches"]
    seen = []
    for count in (7, 8, 9, 10):
        page = read(ask(address(example, gate="x", step=count)))
        panel = page.one("section", **{"aria-labelledby": "gate"})
        rows = panel.one("table").rows()[1:]
        assert [row[0] for row in rows[:3]] == ["q2 = 3 * x", "q1 = x * x", "q1 = x * x"]
        seen.append([row[1] for row in rows if row[1] != "not known yet"])
    assert seen == [[], ["3", "3"], ["3", "2", "5"], ["3", "2", "2", "7"]]
    assert "sum 7" in svg_texts(page, "gradient")
    assert rows[-1][0] == "Sum"
    early = read(ask(address(example, step=9)))
    assert "sum 5" in svg_texts(early, "gradient")


def test_a_matrix_product_goes_back_by_the_transposed(ask: Ask) -> None:
    page = read(ask(address(BY_NAME["Matrix product"], gate="q1")))
    products = [part.text for part in page.all("span", class_="product")]
    upstream = "[[2, 3, -3, 9], [-8, 1, 4, 6]]"
    turned = "[[3, 2, 3], [2, 1, 2], [1, 3, 1], [-1, 2, -2]]"
    assert products[0] == (
        f"upstream @ (w)^T = {upstream} @ {turned} = [[0, 16, -9], [-24, 9, -30]]"
    )
    assert products[1].startswith("(x)^T @ upstream = [[2, -3], [1, 4], [-3, 2]] @ ")
    assert gates(page)["q1"][1] == "[[-1, -1, 2, 6], [5, 2, 11, 7]]"


@pytest.mark.parametrize(
    ("name", "gate"),
    [("Matrix product", "q1"), ("ReLU of a vector", "q1"), ("Squared error", "q3")],
)
def test_jacobians_are_outputs_by_inputs(ask: Ask, name: str, gate: str) -> None:
    example = BY_NAME[name]
    page = read(ask(address(example, gate=gate)))
    found = walk_of(example.expression, example.values, 4).gate(gate)
    assert found is not None
    tables = [part for part in page.all("div") if part.get("id").startswith("jacobian-")]
    wanted = [local_jacobian(found, place) for place in range(len(found.inputs))]
    wanted = [w for w in wanted if w is not None and w.size > 1]
    assert tables
    assert len(tables) == len(wanted)
    for table, jacobian in zip(tables, wanted, strict=True):
        np.testing.assert_allclose(np.array(table.rows(), float), jacobian, rtol=1e-3)


def test_one_number_of_a_matrix(ask: Ask) -> None:
    example = BY_NAME["Matrix product"]
    page = read(ask(address(example, gate="q1")))
    cells = page.one("div", id="numbers").all("a")
    assert [part.text for part in cells] == ["-1", "-1", "2", "6", "5", "2", "11", "7"]
    assert cells[6]["aria-label"] == "q1[1,2] = 11"
    there = read(ask(cells[6]["href"]))
    lines = there.one("pre", id="explained").text
    assert "q1[1, 2] = 11 is the sum of 3 products" in lines
    assert "x[1, 1] * w[1, 2] = 4 * 3 = 12" in lines
    vector = read(ask(address(BY_NAME["ReLU of a vector"], gate="q1", at="2")))
    assert "x[2] gets 1" in vector.one("pre", id="explained").text


EXPRESSIONS = [
    ("exp(x) / (1 + y*y)", "x=0.3 y=-1.2"),
    ("tanh(x) * relu(y) + max(x, y, 0.5)", "x=-0.7 y=1.3"),
    ("L = log(x*x + 1) - sqrt(y + 9) + abs(x) ** 2", "x=1.5 y=2"),
    ("-x + square(sin(x)) * cos(y) * pi", "x=0.25 y=3"),
]


@pytest.mark.parametrize(("expression", "values"), EXPRESSIONS)
def test_products_and_sums_are_right_at_every_gate(ask: Ask, expression: str, values: str) -> None:
    state = {"e": expression, "v": values, "d": 15}
    table = gates(read(ask("/circuit?" + urlencode(state))))
    arrived: dict[str, float] = dict.fromkeys(table, 0.0)
    for name in table:
        page = read(ask("/circuit?" + urlencode({**state, "gate": name})))
        for row in page.all("div", id="inputs"):
            for cells in row.rows()[1:]:
                if cells[-1].startswith("a constant"):
                    continue
                factors, total = cells[-1].split(" = ")[1:3]
                local, upstream = map(float, factors.split(" * "))
                assert local * upstream == pytest.approx(float(total), abs=1e-12)
                assert upstream == float(table[name][2])
                arrived[cells[0]] += float(total)
    for name, total in arrived.items():
        if table[name][2] and name != list(table)[-1]:
            assert total == pytest.approx(float(table[name][2]), abs=1e-12)


def moved(text: str, name: str, by: float) -> dict[str, Any]:
    values = read_values(split_values(text))
    values[name] += by
    return values


@pytest.mark.parametrize(("expression", "values"), EXPRESSIONS)
def test_gradients_are_those_of_central_differences(ask: Ask, expression: str, values: str) -> None:
    table = gates(read(ask("/circuit?" + urlencode({"e": expression, "v": values, "d": 12}))))
    for name in read_values(split_values(values)):
        one, other = (
            float(circuit(expression, moved(values, name, h)).circuit.outputs[0].value)
            for h in (1e-6, -1e-6)
        )
        assert float(table[name][2]) == pytest.approx((one - other) / 2e-6, abs=1e-7)


LONG = "x=[" + ",".join(["[1]"] * 499) + "]"  # its products with itself have 249,001 numbers
REFUSED = [
    ({"e": "__import__('os')", "v": "x=1"}, "no function of that name"),
    ({"e": "9**9**9", "v": "x=1"}, "is inf here, and not finite"),
    ({"e": "(" * 10_000 + "x" + ")" * 10_000, "v": "x=1"}, "at most 4,000 characters"),
    ({"e": "(" * 1500 + "x" + ")" * 1500, "v": "x=1"}, "at most 2,000 characters"),
    ({"e": "(" * 900 + "x" + ")" * 900, "v": "x=1"}, "at most 50 brackets"),
    ({"e": "-" * 1900 + "x", "v": "x=1"}, "at most 200 operations"),
    ({"e": "1e400 * x", "v": "x=1"}, "at most 1.8e308"),
    ({"e": "x * 2", "v": "x=1e400"}, "at most 1.8e308"),
    ({"e": "<script>alert(1)</script>", "v": "x=1"}, "cannot be read as an expression"),
    ({"e": "x * 2", "v": "<b>x</b>=1"}, "'<b>x</b>': expected a name of letters"),
    ({"e": "x * 2", "v": "<img src=x onerror=alert(1)>"}, "expected NAME=VALUE"),
    ({"e": "x * 2", "v": ""}, "'x': has no value"),
    ({"e": "", "v": "x=1"}, "Expected an expression"),
    ({"e": "x.__class__.__bases__", "v": "x=1"}, "means nothing here"),
    ({"e": "x * 2", "v": "x=1 x=2"}, "expected one value, got two"),
    ({"e": "x * 2", "v": "x=__import__('os')"}, "expected a number or a matrix"),
    ({"e": "x * 2", "v": "x="}, "'x': expected a number or a matrix after =, got nothing"),
    ({"e": "x @ x.T" + " + x @ x.T" * 3, "v": LONG}, "1,000,000 numbers in all matrices"),
    ({"e": "(x + x.T) * (x - x.T) / (x + 2*x.T)", "v": LONG}, "1,000,000 numbers in all"),
    ({"e": "1 / x", "v": "x=[" + ",".join(["0"] * 900) + "]"}, "and not finite"),
    ({"e": "x * 2", "v": "x=1", "d": "0"}, "D: expected a whole number from 1 to 17"),
    ({"e": "x * 2", "v": "x=1", "d": "<b>"}, "D: expected a whole number from 1 to 17"),
    ({"e": "x\0", "v": "x=1"}, "cannot be read"),
]


@pytest.mark.parametrize(("state", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_hostile_expressions_are_refused_in_words(
    ask: Ask, state: dict[str, str], message: str
) -> None:
    begun = time.perf_counter()
    text = ask("/circuit?" + urlencode(state), 400)
    assert time.perf_counter() - begun < 2
    page = read(text)
    alert = page.one("p", role="alert").text
    assert message in alert
    assert len(alert) < 700
    assert page.one("input", name="e")["value"] == state["e"]
    assert page.one("input", name="v")["value"] == state["v"]
    assert page.one("input", name="d")["value"] == state.get("d", "4")
    assert not page.all("svg")
    for tag in ("b", "img"):
        assert not page.all(tag)
    assert all(part.get("src") for part in page.all("script"))


ODD = [
    ({"step": "0"}, "Step: expected a whole number from 1 to 10"),
    ({"step": "11"}, "Step: expected a whole number from 1 to 10"),
    ({"step": "9" * 3000}, "Step: expected a whole number from 1 to 10"),
    ({"step": "2.5"}, "Step: expected a whole number"),
    ({"gate": "nobody"}, "Gate: expected one of this circuit's; got 'nobody'"),
    ({"gate": "<script>"}, "got '<script>'"),
    ({"from": "6"}, "From: expected a whole number from 1 to 5"),
    ({"gate": "q1", "at": "0"}, "At: expected"),
    ({"gate": "q1", "at": "x" * 4001}, "at most 4,000 characters"),
]


@pytest.mark.parametrize(("state", "message"), ODD)
def test_an_odd_address_shows_the_circuit_and_says_what_is_wrong(
    ask: Ask, state: dict[str, str], message: str
) -> None:
    page = read(ask(address(FIRST, **state), 400))
    assert message in page.one("p", role="alert").text
    assert page.one(id="step").text == "10"
    assert gates(page)["f"] == ["q1 * z", "-12", "1"]
    ask(
        address(FIRST, **state).replace("/circuit?", "/circuit.svg?"),
        400 if "step" in state else 200,
    )


def test_a_message_keeps_a_name_as_it_was_typed(ask: Ask) -> None:
    page = read(ask(address(e="x + y", v="y"), 400))
    assert "'y': expected NAME=VALUE" in page.one("p", role="alert").text


@pytest.mark.parametrize("at", ["0", "2,0", "0,4", "-1,0", "a", "0,0,0", "", "1e9,0"])
def test_a_number_that_there_is_not(ask: Ask, at: str) -> None:
    example = BY_NAME["Matrix product"]
    page = read(ask(address(example, gate="q1", at=at), 400 if at else 200))
    if at:
        assert "expected a place in 2 x 4, counted from 0" in page.one("p", role="alert").text


def test_names_that_look_like_markup_stay_text(ask: Ask) -> None:
    evil = "x*2 # </title></svg><script>1</script>"
    page = read(ask("/circuit?" + urlencode({"e": evil, "v": "x=1"})))
    assert [evil in part.text for part in page.all("title")] == [True, True]
    assert page.one("input", name="e")["value"].endswith("</script>")
    assert all(part.get("src") for part in page.all("script"))


def test_a_result_of_several_numbers_says_how_to_go_back(ask: Ask) -> None:
    page = read(ask("/circuit?" + urlencode({"e": "x * 2", "v": "x=[1, 2]", "gate": "f"})))
    assert "f has 2 numbers, and gradients are those of one number" in page.one("main").text
    assert page.one(id="step").text == "2"
    assert "no gradient arrives" in page.one("div", id="inputs").text


def test_a_thousand_gates_are_shown_in_parts(ask: Ask) -> None:
    ask("/circuit?" + urlencode(BIG))
    begun = time.perf_counter()
    text = ask("/circuit?" + urlencode({**BIG, "step": 1500}))
    assert time.perf_counter() - begun < 2  # 30 ms beside other work
    page = read(text)
    assert len(page.one("div", id="steps").all("li")) == 100
    assert len(page.one("div", id="gates").rows()) == 101
    assert "990 gates are too many to draw one by one" in page.one("main").text
    assert len(page.one("svg").all("a")) < 70
    now = page.one("svg").one("a", class_="now")
    assert re.match(r"operations [\d,]+ to [\d,]+: \d+ maximum", now["aria-label"])
    assert len(text) < 1_000_000
    parts = [part.text for part in page.all("p", class_="part")]
    assert parts[0].startswith("1401 to 1500 of 2,969")


def test_a_value_with_a_thousand_readers_lists_some(ask: Ask) -> None:
    page = read(ask("/circuit?" + urlencode({**BIG, "gate": "x"})))
    rows = page.one("section", **{"aria-labelledby": "gate"}).one("table").rows()
    assert rows[-2] == ["and 940 more"]
    assert rows[-1] == ["Sum", "1"]
    assert len(rows) == 53


def test_the_link_to_this_view_leads_back_to_it(ask: Ask) -> None:
    for where in ("/circuit", address(FIRST, step=4, gate="q1"), address(e="x *", v="x=1")):
        status = 400 if "x+%2A" in where else 200
        page = read(ask(where, status))
        assert page.one("a", id="permalink")["href"] == where
        assert read(ask(page.one("a", id="permalink")["href"], status)).text == page.text


def test_many_at_once_get_their_own_answers(client: FlaskClient) -> None:
    paths = [address(example, step=4) for example in EXAMPLES] * 4

    def get(path: str) -> str:
        return client.application.test_client().get(path).text

    alone = [get(path) for path in paths]
    walk_of.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(get, paths)) == alone


def test_every_part_of_a_long_list_is_reached(ask: Ask) -> None:
    where: str | None = "/circuit?" + urlencode({**BIG, "from": 1})
    names: list[str] = []
    while where:
        page = read(ask(where))
        names += gates(page)
        where = next((a["href"] for a in page.all("a") if a.text == "later gates"), None)
    assert names == ["x", *(f"q{k}" for k in range(1, 989)), "f"]
    assert [a.text for a in page.all("a") if "gates" in a.text] == ["earlier gates"]
    back = read(ask(next(a["href"] for a in page.all("a") if a.text == "earlier gates")))
    assert next(iter(gates(back))) == "q800"


def test_every_link_of_the_page_leads_somewhere(ask: Ask) -> None:
    for state in ({"gate": "q1"}, {"gate": "c1", "step": 3}, {"gate": "L", "step": 5}):
        page = read(ask(address(BY_NAME["Fully connected layer"], **state)))
        found = {a["href"] for a in page.one("main").all("a") if a.get("href")}
        assert len(found) > 30
        for where in found:
            ask(where)


def test_a_box_of_the_picture_leads_to_its_gate(ask: Ask) -> None:
    page = read(ask(address(FIRST, step=3)))
    boxes = page.one("svg").all("a")
    said = [box["aria-label"] for box in boxes]
    assert said == ["x: input, value -2", "y: input, value 5", "q1: x + y, value 3", "z: input",
                    "f: q1 * z"]  # fmt: skip
    for box, name in zip(boxes, ["x", "y", "q1", "z", "f"], strict=True):
        there = read(ask(box["href"]))
        assert there.one(id="gate").text.startswith(f"Gate {name}")
        assert there.one("svg").one("a", **CURRENT)["aria-label"].startswith(f"{name}: ")
        assert there.one("div", id="gates").one("tr", **CURRENT).text.startswith(name)
        assert there.one(id="step").text == "3"


def test_the_picture_as_a_file(client: FlaskClient) -> None:
    answer = client.get(address(FIRST, step=7).replace("/circuit?", "/circuit.svg?"))
    assert answer.mimetype == "image/svg+xml"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="circuit.svg"'
    root = ElementTree.fromstring(answer.text)
    texts = ["".join(t.itertext()) for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"-2", "5", "3", "-12", "1", "-4"} <= set(texts)
    assert texts.count("-4") == 2  # z, and the gradient of q1, which is the only one by then
    assert not list(root.iter("{http://www.w3.org/2000/svg}a"))
    page = read(client.get(address(FIRST, step=7)).text)
    where = next(a for a in page.all("a") if a.text == "Download as SVG")
    assert client.get(where["href"]).text == answer.text


COMMANDS = [
    *((example.expression, example.values, 4) for example in EXAMPLES),
    ("x*2 # $(exit 9) `exit 9` !! \\ \"'", "x=1", 7),
    ("-x * 2", "x=-1", 4),
]


@pytest.mark.parametrize(("expression", "values", "digits"), COMMANDS)
def test_the_command_line_prints_the_same(
    ask: Ask, expression: str, values: str, digits: int
) -> None:
    state = {"e": expression, "v": values, "d": digits}
    page = read(ask("/circuit?" + urlencode(state)))
    command = "".join(map(str, page.one("pre", id="command").parts))
    words = shlex.split(command)
    assert words[:2] == ["chainrule", "circuit"]
    assert expression in words
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, result.output
    shown = [part.text for part in page.one("div", id="steps").all("li")]
    printed = [" ".join(line.split()) for line in result.output.splitlines()]
    assert [line for line in printed if line in shown][: len(shown)] == shown


def test_the_lectures_command_line(ask: Ask) -> None:
    page = read(ask("/circuit?" + urlencode({"e": "(x+y)*z", "v": "x=-2 y=5 z=-4"})))
    assert page.one("pre", id="command").text == 'chainrule circuit "(x+y)*z" x=-2 y=5 z=-4'


def test_the_address_in_the_documentation(ask: Ask) -> None:
    page = read(ask("/circuit?e=(x+%2B+y)+*+z&v=x=-2+y=5+z=-4&step=7"))
    assert page.one(id="said-step").text == "df/dq1 = 1 * -4 = -4"
