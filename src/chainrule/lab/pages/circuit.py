"""An expression as a circuit: stepped through there and back, each gate with its chain rule."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, render_template, request

from chainrule.errors import ChainruleError, DataError
from chainrule.inspection.circuits.expression import FUNCTION_NAMES
from chainrule.inspection.circuits.gates import Gate
from chainrule.inspection.circuits.signs import shaped
from chainrule.lab.circuit_examples import EXAMPLES
from chainrule.lab.circuit_gate import chosen_of, explained
from chainrule.lab.circuit_lists import gate_rows, part_with, step_lines
from chainrule.lab.circuits import Known, Walk, anchors_at, svg_at, walk_of
from chainrule.lab.query import Query, link

blueprint = Blueprint("circuit", __name__)

_DIGITS = 4

Address = Callable[..., str]


@blueprint.get("/circuit")
def page() -> tuple[str, int]:
    """Show a circuit after some of its steps.

    The address holds `e`, the expression; `v`, its values; `d`, the digits of a number; `step`, how
    many steps were taken, all if left out; `gate`, the one that is looked at, and `at`, a number of
    its value; `from`, the first gate of a long list.
    """
    asked = Query(request.args)
    try:
        walk = _walk(asked)
    except ChainruleError as error:
        kept = {name: request.args.get(name, "") for name in ("e", "v")}
        kept["d"] = request.args.get("d") or str(_DIGITS)
        return _rendered(kept, {"problem": _quoted(str(error), kept)}), HTTPStatus.BAD_REQUEST
    values = asked.text("v") or " ".join(walk.values)
    typed: dict[str, Any] = {"e": walk.expression, "v": values, "d": walk.digits}
    try:
        return _rendered(typed, _view(walk, asked, typed)), HTTPStatus.OK
    except DataError as error:  # of the view alone: the circuit is shown whole
        shown = {**_view(walk, Query({}), typed), "problem": str(error)}
        return _rendered(typed, shown), HTTPStatus.BAD_REQUEST


@blueprint.get("/circuit.svg")
def picture() -> Response:
    """Give the picture of the same address as a file."""
    asked = Query(request.args)
    walk = _walk(asked)
    svg = svg_at(walk, _known(walk, asked))
    name = {"Content-Disposition": 'attachment; filename="circuit.svg"'}
    return Response(svg, mimetype="image/svg+xml", headers=name)


def _walk(asked: Query) -> Walk:
    """Compute what was typed; the first example where nothing was."""
    digits = asked.integer("d", 1, 17, _DIGITS) or _DIGITS
    expression, values = asked.text("e"), asked.text("v")
    if not expression and not values:
        expression, values = EXAMPLES[0].expression, EXAMPLES[0].values
    return walk_of(expression, values, digits)


def _known(walk: Walk, asked: Query) -> Known:
    count = len(walk.steps)
    return walk.known(asked.integer("step", 1, count, count) or count)


def _gate(walk: Walk, asked: Query) -> Gate | None:
    name = asked.text("gate")
    gate = walk.gate(name)
    if name and gate is None:
        raise DataError(f"gate: expected one of this circuit's; got {name[:40]!r}")
    return gate


def _view(walk: Walk, asked: Query, typed: dict[str, Any]) -> dict[str, Any]:
    """Gather what is shown of a circuit in the state of an address."""
    known, gate = _known(walk, asked), _gate(walk, asked)
    gates, count = walk.circuit.gates, len(walk.steps)
    now = walk.steps[known.count - 1]
    shown = gates.index(gate or now.gate) + 1
    first = asked.integer("from", 1, len(gates), shown) or shown
    at = asked.text("at") if gate else ""
    address = _address(typed, count, known.count, gate)
    steps, rows = part_with(known.count, count), part_with(first, len(gates))
    return {
        "walk": walk,
        "count": count,
        "known": known,
        "now": now,
        "said": walk.text(now),
        "svg": svg_at(walk, known, anchors_at(walk, known, gate, lambda name: address(gate=name))),
        "file": link("circuit.picture", {**_state(typed), "step": known.count}),
        "go": address,
        "steps": steps,
        "lines": step_lines(walk, known, steps),
        "rows": rows,
        "gates": gate_rows(walk, known, rows),
        "gate": gate,
        "chosen": chosen_of(walk, known, gate) if gate else None,
        "at": at,
        "explained": explained(walk, gate, at) if gate and at else "",
        "shape": shaped(walk.end.shape),
    }


def _state(typed: dict[str, Any]) -> dict[str, Any]:
    return {"e": typed["e"], "v": typed["v"], "d": typed["d"] if typed["d"] != _DIGITS else None}


def _address(typed: dict[str, Any], count: int, step: int, gate: Gate | None) -> Address:
    """Give the function that writes addresses of this circuit in another state."""
    base = link("circuit.page", _state(typed))
    here: dict[str, Any] = {"step": step, "gate": gate.name if gate else None}

    def address(**changes: Any) -> str:
        state = {**here, **changes}
        if state["step"] == count:
            state["step"] = None
        more = urlencode({name: value for name, value in state.items() if value is not None})
        return f"{base}&{more}" if more else base

    return address


def _quoted(said: str, typed: dict[str, str]) -> str:
    """Put a name that was typed in quotes at the beginning of a message: no capital belongs there.

    >>> _quoted("x: given twice", {"e": "x + y", "v": "x=1 x=2"})
    "'x': given twice"
    """
    name, colon, rest = said.partition(": ")
    names = re.findall(r"\w+", " ".join((typed["e"], typed["v"])))
    return f"{name!r}: {rest}" if colon and name in names else said


def _rendered(typed: dict[str, Any], shown: dict[str, Any]) -> str:
    headings = [
        (heading, [(e, link("circuit.page", e=e.expression, v=e.values)) for e in examples])
        for heading, examples in groupby(EXAMPLES, lambda example: example.heading)
    ]
    return render_template(
        "circuit.html",
        page="circuit",
        typed=typed,
        headings=headings,
        functions=FUNCTION_NAMES,
        fresh=not request.args,
        same=lambda e: (e.expression, e.values) == (typed["e"], typed["v"]),
        **shown,
    )
