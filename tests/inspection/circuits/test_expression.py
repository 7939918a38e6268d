"""Expressions: known answers, gradients against central differences, and what is refused."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ChainruleError, DataError, KindError
from chainrule.inspection.circuits import (
    circuit,
    circuit_of_expression,
    read_value,
    read_values,
    split_values,
)

KNOWN: list[tuple[str, dict[str, float], float, dict[str, float]]] = [
    ("(x+y)*z", {"x": -2, "y": 5, "z": -4}, -12, {"x": -4, "y": -4, "z": 3}),
    (
        "sigmoid(w0*x0 + w1*x1 + w2)",
        {"w0": 2, "x0": -1, "w1": -3, "x1": -2, "w2": -3},
        0.7310586,
        {"w0": -0.1966119, "x0": 0.3932239, "w1": -0.3932239, "x1": -0.5898358, "w2": 0.1966119},
    ),
    ("x * y", {"x": 3, "y": 7}, 21, {"x": 7, "y": 3}),
    ("x*x + 3*x", {"x": 2}, 10, {"x": 7}),
]


def gradients(text: str, values: dict[str, Any]) -> dict[str, np.ndarray]:
    gates = circuit_of_expression(text, values).gates
    return {g.name: np.asarray(g.gradients[0]) for g in gates if g.kind == "input"}


@pytest.mark.parametrize(("text", "values", "value", "wanted"), KNOWN)
def test_the_lectures_circuits(
    text: str, values: dict[str, float], value: float, wanted: dict[str, float]
) -> None:
    end = circuit_of_expression(text, values).outputs[0]
    assert end.value == pytest.approx(value, abs=5e-8)
    found = gradients(text, values)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert found[name] == pytest.approx(gradient, abs=5e-8)


def test_the_lectures_circuits_in_text_and_svg() -> None:
    drawing = circuit("(x+y)*z", x=-2, y=5, z=-4)
    assert str(drawing).splitlines() == [
        "forward",
        *("x = -2", "y = 5", "q1 = x + y = 3", "z = -4", "f = q1 * z = -12"),
        *("", "backward"),
        "df/df = 1",
        "df/dq1 = 1 * -4 = -4",
        "df/dz = 1 * 3 = 3",
        "df/dx = df/dq1 * dq1/dx = -4 * 1 = -4",
        "df/dy = df/dq1 * dq1/dy = -4 * 1 = -4",
        *("", "gradients"),
        *("df/dx = -4", "df/dy = -4", "df/dz = 3"),
    ]
    for number in ("-12", "-4", "3", "5", "-2"):
        assert f">{number}</text>" in drawing.svg
    text = str(circuit("x*x + 3*x", x=2))
    assert "df/dx = 5 + df/dq1 * dq1/dx = 5 + 1 * 2 = 7   (branches add)" in text


def test_the_lectures_matrix_product_goes_back_by_the_transposed() -> None:
    x, w = [[2, 1, -3], [-3, 4, 2]], [[3, 2, 1, -1], [2, 1, 3, 2], [3, 2, 1, -2]]
    g = [[2, 3, -3, 9], [-8, 1, 4, 6]]
    found = circuit_of_expression(
        f"sum({g} * (x @ w))".replace("* (", "* (0*x@w + "), {"x": x, "w": w}
    )
    by_name = {gate.name: gate for gate in found.gates}
    np.testing.assert_array_equal(by_name["x"].gradients[0], [[0, 16, -9], [-24, 9, -30]])
    np.testing.assert_array_equal(
        by_name["w"].gradients[0], [[28, 3, -18, 0], [-30, 7, 13, 33], [-22, -7, 17, -15]]
    )
    text = str(circuit("sum(x @ w)", x=x, w=w))
    assert "upstream @ (w)^T" in text
    assert "(x)^T @ upstream" in text


EXPRESSIONS = [
    "exp(x) / (1 + y*y)",
    "log(x*x + 1) - sqrt(y + 9)",
    "tanh(x) * relu(y) + max(x, y)",
    "min(x, y, 3) ** 2 + abs(x)",
    "square(sin(x)) + cos(y) * pi",
    "mean(softmax(W @ V) * W.T) + sum(matmul(V, W)) + x * y",
    "-x + +y - max(W) * min(V)",
    "pow(y, 3) / e",
]
VALUES = {"x": -0.7, "y": 1.3, "W": [[1.0, -2.0], [0.5, 3.0]], "V": [[0.3, 1.1], [-1.0, 2.0]]}


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_gradients_against_central_differences(text: str) -> None:
    values = {k: np.array(v, float) for k, v in VALUES.items() if k in text}
    values = {k: v for k, v in values.items() if k in "xy" or text.count(k)}
    for name, gradient in gradients(text, values).items():
        for place in np.ndindex(gradient.shape):
            results = []
            for h in (1e-6, -1e-6):
                moved = {k: v.copy() for k, v in values.items()}
                moved[name][place] += h
                results.append(float(circuit_of_expression(text, moved).outputs[0].value))
            assert gradient[place] == pytest.approx((results[0] - results[1]) / 2e-6, abs=1e-7)


REFUSED = [
    ("__import__('os')", "__import__: no function of that name"),
    ("9**9**9", r"9 \*\* 9 \*\* 9: is inf here, and not finite"),
    ("(" * 10_000 + ")" * 10_000, "at most 2,000 characters"),
    ("(" * 900 + "x" + ")" * 900, "at most 50 brackets"),
    ("-" * 1900 + "x", "at most 200 operations"),
    ("x" + "+x" * 900, "at most 200 operations"),
    ("x ^ 2", r"a power is written x \*\* 2"),
    ("x.real", "means nothing here"),
    ("x.__class__", "means nothing here"),
    ("[i for i in x]", "means nothing here"),
    ("lambda: x", "means nothing here"),
    ("x if x else x", "means nothing here"),
    ("x < 2", "means nothing here"),
    ("sigmoid(x, y=2)", "means nothing here"),
    ("x(2)", "x: no function"),
    ("f'{x}'", "means nothing here"),
    ("'a' * 9", "expected a number or a matrix"),
    ("True * x", "expected a number or a matrix"),
    ("1j * x", "expected a number or a matrix"),
    ("[[1, 2], [3]] * x", "rows of one length"),
    ("1 / 0 * x", "is inf here|is nan here"),
    ("log(0 * x)", "is -inf here"),
    ("9" * 400 + " * x", "at most 1.8e308"),
    ("x +", "cannot be read as an expression"),
    ("exp(x", "was never closed"),
    ("\0", "cannot be read|got nothing"),
    ("  ", "got nothing"),
    ("y * x", "y: has no value; give one, as y=2"),
    ("3 + 4", "has no x, for which a value is given"),
    ("x", "an expression that computes"),
    ("x = x + 1", "a value and the result at once"),
    ("max()", "takes another number of arguments"),
    ("sigmoid(x, x)", "takes another number of arguments"),
    ("3 @ 4 + x", "expected matrices"),
    ("x @ x", "x @ x: "),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_is_refused_and_how_quickly(text: str, message: str) -> None:
    begun = time.perf_counter()
    with pytest.raises(DataError, match=message) as error:
        circuit_of_expression(text, {"x": 2.0})
    assert time.perf_counter() - begun < 1
    assert len(str(error.value)) < 500


def test_values_are_read_and_checked() -> None:
    assert read_value(" -2.5 ") == -2.5
    assert read_value("[[1, 2], [3, -4]]") == [[1, 2], [3, -4]]
    for text in ("x", "[]", "__import__('os')", "1+1", "'a'", "{1}", "[1, 'a']"):
        with pytest.raises(DataError):
            read_value(text)
    for value in ("a", [], float("nan"), [[1], [2, 3]], None):
        with pytest.raises(DataError, match="x: expected"):
            circuit_of_expression("x * 2", {"x": value})
    with pytest.raises(DataError, match="a name of letters"):
        circuit_of_expression("x * 2", {"x y": 1})


def test_an_output_may_have_a_name() -> None:
    assert circuit_of_expression("loss = x * x", {"x": 3}).outputs[0].name == "loss"


@pytest.mark.parametrize("value", ["3", "a", True, 1j, None, [[1, 2], [3]], 10**400, object(), {}])
def test_values_that_are_no_numbers(value: Any) -> None:
    with pytest.raises(DataError, match=r"^x: expected") as caught:
        circuit("x * 2", x=value)
    assert len(str(caught.value)) < 200


def test_tensors_are_values() -> None:
    for tensor in (cr.tensor(3.0), cr.tensor(3.0, requires_grad=True), cr.tensor(3)):
        assert circuit("x * 2", x=tensor).circuit.end.value == 6
    with pytest.raises(DataError, match="a matrix of numbers"):
        circuit("x * 2", x=cr.tensor(3.0, device="meta"))


def test_arguments_of_another_kind() -> None:
    for text in (3, None, b"x", ["x"]):
        with pytest.raises(KindError, match="an expression as text"):
            circuit(text, x=1)  # type: ignore[arg-type]
        with pytest.raises(KindError, match="as text"):
            read_value(text)  # type: ignore[arg-type]
    for values in (3, [1], "x"):
        with pytest.raises(KindError, match="values by name: x=2, or a mapping"):
            circuit("x * 2", values)  # type: ignore[arg-type]
        with pytest.raises(KindError, match="values by name"):
            circuit_of_expression("x * 2", values)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="x: expected one value, got two"):
        circuit("x * 2", {"x": 1}, x=2)
    with pytest.raises(DataError, match="3: expected a name"):
        circuit("x * 2", {3: 1})  # type: ignore[dict-item]
    for digits in ("a", 0, True, 18, 0.5):
        with pytest.raises(ChainruleError, match="digits"):
            circuit("x * 2", x=1, digits=digits)  # type: ignore[arg-type]


VALUES_TYPED = [
    ("x=-2 y=5 z=-4", {"x": -2, "y": 5, "z": -4}),
    ("W=[[1, 2], [3, 4]] x = 1", {"W": [[1, 2], [3, 4]], "x": 1}),
    (" x=1,y=2 ; z=[1,2],\n", {"x": 1, "y": 2, "z": [1, 2]}),
    ("", {}),
]


@pytest.mark.parametrize(("text", "wanted"), VALUES_TYPED)
def test_values_are_read_from_one_line(text: str, wanted: dict[str, Any]) -> None:
    assert read_values(split_values(text)) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "x: expected NAME=VALUE"),
        ("x y=1", "x: expected NAME=VALUE"),
        ("x=1 x=2", "x: expected one value, got two"),
        ("x=", "x: expected a number or a matrix after =, got nothing"),
        ("x==1", "cannot be read"),
        ("x=1y=2", "cannot be read"),
        ("x=y", "expected a number or a matrix"),
    ],
)
def test_values_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_values(split_values(text))


def test_matrices_of_strangers_are_counted_before_they_are_made() -> None:
    column = {"x": [[1.0]] * 100}
    assert circuit_of_expression("x @ x.T", column, largest=10_100).outputs[0].shape == (100, 100)
    for text in ("x @ x.T", "matmul(x, x.T)", "x + x.T", "max(x, x.T)"):
        with pytest.raises(DataError, match="at most 10,099 numbers in all matrices together"):
            circuit_of_expression(text, column, largest=10_099)
    for text in ("sum(x * 2) + sum(x)", "--x", "x.T.T", "exp(exp(x))"):
        with pytest.raises(DataError, match="at most 150 numbers"):
            circuit_of_expression(text, column, largest=150)
    begun = time.perf_counter()
    with pytest.raises(DataError, match="at most 1,000,000 numbers"):
        circuit_of_expression("y @ y.T", {"y": [[1.0]] * 100_000}, largest=1_000_000)
    assert time.perf_counter() - begun < 1
    with pytest.raises(DataError, match="x @ y: matmul"):  # what does not fit is said as such
        circuit_of_expression("x @ y", {"x": [[1.0, 2.0]], "y": [[1.0]]}, largest=10)


def test_what_is_not_finite_is_told_in_few_words() -> None:
    with pytest.raises(DataError, match=r"30 x 30 in inf\.\.inf here, and not finite") as error:
        circuit_of_expression("1 / x", {"x": [[0.0] * 30] * 30})
    assert len(str(error.value)) < 100
