"""The node cases that the package onnx generates, run through our reader.

`python -m tools.onnx_cases` runs them all and writes the page docs/onnx.md anew, between its marks.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

import chainrule as cr

PAGE = Path(__file__).parents[1] / "docs" / "onnx.md"
BEGIN, END = "<!-- cases -->", "<!-- end of cases -->"


class Outcome(NamedTuple):
    """How a case went: "passed", "refused" or "wrong", with the reason of the last two."""

    name: str
    operators: str
    result: str
    why: str = ""


def cases() -> Iterator[Any]:
    """Give the cases of single operators, without those that spell a function out."""
    with warnings.catch_warnings(action="ignore"):
        found = load_model_tests(kind="node")
    for case in sorted(found, key=lambda case: case.name):
        if "_expanded" not in case.name:
            yield case


def run(case: Any) -> Outcome:
    """Run one case as it stands, with its own tolerances.

    Only our UnsupportedOperator is a refusal; any other error is as wrong as another value.
    """
    operators = "+".join(sorted({_shown(node) for node in case.model.graph.node}))
    try:
        network = cr.onnx.load(case.model)
        for inputs, expected in case.data_sets:
            _compare(_run(network, inputs), expected, case.rtol, case.atol)
    except cr.onnx.UnsupportedOperator as error:
        return Outcome(case.name, operators, "refused", str(error))
    except Exception as error:
        return Outcome(case.name, operators, "wrong", f"{type(error).__name__}: {error}")
    return Outcome(case.name, operators, "passed")


def _shown(node: Any) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else str(node.op_type)


def _run(network: Any, inputs: Any) -> list[Any]:
    with cr.no_grad():
        found = network(*[cr.tensor(_array(value)) for value in inputs])
    return [_numpy(y) for y in (found if isinstance(found, tuple) else (found,))]


def _numpy(value: Any) -> Any:
    """Give a tensor's array, or those of a list."""
    return [_numpy(item) for item in value] if isinstance(value, list) else value.numpy()


def _array(value: Any) -> Any:
    """Give a case's value; some stand as a file would hold them."""
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _compare(found: list[Any], expected: Any, rtol: float, atol: float) -> None:
    if len(found) != len(expected):
        raise AssertionError(f"{len(found)} outputs, expected {len(expected)}")
    for ours, theirs in zip(found, expected, strict=True):
        if isinstance(theirs, list):
            _compare(ours, theirs, rtol, atol)
            continue
        wanted = np.asarray(_array(theirs))
        if ours.dtype != wanted.dtype or ours.shape != wanted.shape:
            raise AssertionError(
                f"{ours.dtype} {ours.shape}, expected {wanted.dtype} {wanted.shape}"
            )
        np.testing.assert_allclose(ours, wanted, rtol=rtol, atol=atol)


def run_all() -> list[Outcome]:
    """Run every case."""
    with warnings.catch_warnings(action="ignore"):
        return [run(case) for case in cases()]


if __name__ == "__main__":
    outcomes = run_all()
    for one in outcomes:
        if one.result == "wrong" or "-v" in sys.argv:
            print(one.result, one.operators, one.name, one.why.replace("\n", " ")[:300])
    print(
        {kind: sum(o.result == kind for o in outcomes) for kind in ("passed", "refused", "wrong")}
    )
    print(onnx.__version__)
