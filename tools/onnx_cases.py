"""The node cases that the package onnx generates, run through our reader.

`python -m tools.onnx_cases` runs them all and writes the list in docs/onnx.md anew; `--check` only
runs them, `-v` prints every case.
"""

from __future__ import annotations

import re
import sys
import textwrap
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
KINDS = ("passed", "refused", "wrong")
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


def counts(outcomes: list[Outcome]) -> dict[str, int]:
    """Count how many passed, were refused and went wrong."""
    return {kind: sum(o.result == kind for o in outcomes) for kind in KINDS}


def listed(outcomes: list[Outcome]) -> str:
    """Write the page's generated part: the version, the counts, the cases by operator."""
    total = counts(outcomes)
    lines = [
        f"Of the {len(outcomes)} cases of onnx {onnx.__version__}, {total['passed']} pass, "
        f"{total['refused']} are refused and {total['wrong']} are wrong."
    ]
    for kind, title in (("passed", "Passed"), ("refused", "Refused")):
        lines += ["", f"### {title}", ""]
        found: dict[str, list[str]] = {}
        for one in outcomes:
            if one.result == kind:
                found.setdefault(_group(one), []).append(one.name.removeprefix("test_"))
        for group in sorted(found, key=str.lower):
            names = ", ".join(found[group])
            text = f"- {group} ({len(found[group])}): {names}"
            lines += textwrap.wrap(
                text, 110, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
            )
    return "\n".join(lines)


def _group(one: Outcome) -> str:
    """Give the heading of a case: its operators, and why it is refused in a few words."""
    if one.result != "refused":
        return one.operators
    why = one.why.removeprefix("onnx.load: ").removeprefix("not supported: ")
    why = re.sub(r", \d+ x: [^;]*", "", why)  # the nodes, which the case's name tells
    why = re.split("; in (?:node|layer)", why)[0]
    why = re.sub(r"onnx: node '[^']*' \([^)]*\): ", "", why)
    why = why.removesuffix(" is not supported").split(": convert it")[0]
    return f"{one.operators}; {why}"


def page(outcomes: list[Outcome]) -> str:
    """Give the page with its generated part anew."""
    text = PAGE.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{listed(outcomes)}\n\n{END}{tail}"


if __name__ == "__main__":
    found = run_all()
    for one in found:
        if one.result == "wrong" or "-v" in sys.argv:
            print(one.result, one.operators, one.name, " ".join(one.why.split())[:300])
    print(onnx.__version__, counts(found))
    if "--check" not in sys.argv:
        PAGE.write_text(page(found), "utf-8")
