"""The cases that onnx generates for every operator: none is wrong, and the page tells the truth."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from tests.formats.onnx.test_load import model, node
from tools.onnx_cases import BEGIN, PAGE, Outcome, counts, page, run, run_all


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return run_all()


def test_none_is_wrong(outcomes: list[Outcome]) -> None:
    wrong = [f"{o.name}: {o.why}" for o in outcomes if o.result == "wrong"]
    assert not wrong, "\n".join(wrong)
    found = counts(outcomes)
    assert found["passed"] >= 600
    assert found["passed"] + found["refused"] == len(outcomes)


def test_the_page_tells_what_ran(outcomes: list[Outcome]) -> None:
    text = PAGE.read_text("utf-8")
    if f"cases of onnx {onnx.__version__}," not in text.partition(BEGIN)[2]:
        pytest.skip(f"docs/onnx.md lists another version's cases than onnx {onnx.__version__}'s")
    assert page(outcomes) == text, "run python -m tools.onnx_cases"


@pytest.mark.parametrize(
    ("expected", "result"),
    [
        (np.array([1.0, 0.0], np.float32), "passed"),
        (np.array([1.0, 0.1], np.float32), "wrong"),
        (np.array([1.0, 0.0], np.float64), "wrong"),
        (np.array([[1.0, 0.0]], np.float32), "wrong"),
    ],
)
def test_the_runner_finds_planted_errors(expected: np.ndarray, result: str) -> None:
    case = SimpleNamespace(
        name="planted", model=model([node("Relu", "x")]), rtol=1e-3, atol=1e-7,
        data_sets=[([np.array([1.0, -1.0], np.float32)], [expected])],
    )  # fmt: skip
    assert run(case).result == result


def test_the_runner_tells_refusals_from_failures() -> None:
    data = [([np.ones(2, np.float32)], [np.ones(2, np.float32)])]
    settings = {"name": "planted", "rtol": 1e-3, "atol": 1e-7, "data_sets": data}
    unknown = model([node("Bernoulli", "x")])
    assert run(SimpleNamespace(model=unknown, **settings)).result == "refused"
    broken = model([node("Relu", "nothing")])
    assert run(SimpleNamespace(model=broken, **settings)).result == "wrong"
