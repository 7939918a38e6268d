"""Tables of a training as a page has them: its epochs, the health of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chainrule.lab.runs import Health
from chainrule.lab.standing import NAMES, number, share
from chainrule.training.rows import Row

ROWS = 500
"""Epochs that are shown, the last ones."""

MEASURES = {
    "activation_rms": "Values",
    "dead": "Dead",
    "saturated": "Saturated",
    "gradient_rms": "Gradient",
    "update_ratio": "Step",
}
"""The measures of a layer, and the heads of their columns."""


class Table(NamedTuple):
    """Heads of the columns, and rows: each its own head, and cells."""

    heads: list[str]
    rows: list[tuple[str, list[str]]]


def epoch_table(rows: Sequence[Row]) -> Table:
    """Write epochs as a table, the last one first.

    >>> table = epoch_table([Row(1, 0.1, 0.5, 0.8, 0.4, 0.9), Row(2, 0.05, 0.25, 0.9, 0.3, 0.95)])
    >>> table.heads
    ['Rate', 'Loss', 'Accuracy', 'Test loss', 'Test accuracy']
    >>> table.rows[0]
    ('2', ['0.05', '0.25', '90.00 %', '0.3', '95.00 %'])
    """
    last = rows[-1].to_dict() if rows else {}
    score = next((name for name in NAMES if f"test_{name}" in last), "")
    columns = [("Rate", "lr")]
    for part in ("train", "validation", "test"):
        for what, said in (("loss", "loss"), (score, NAMES.get(score, ""))):
            if f"{part}_{what}" in last:
                title = said if part == "train" else f"{part} {said}"
                columns.append((title.capitalize(), f"{part}_{what}"))
    found = [
        (str(row.epoch), [_cell(row, column, score) for _, column in columns])
        for row in rows[::-1][:ROWS]
    ]
    return Table([head for head, _ in columns], found)


def _cell(row: Row, column: str, score: str) -> str:
    value = row.to_dict().get(column)
    if column == "lr":
        return f"{row.lr:.3g}"
    return number(value) if column.endswith("loss") else share(score, value)


def health_table(health: Health) -> Table:
    """Write the newest measurements, a row a layer; measures that no layer has are left out.

    >>> health_table(Health(1, {"fc": {"dead": 0.5, "loss": 1.0}}))
    Table(heads=['Dead'], rows=[('fc', ['50.0 %'])])
    """
    layers = health.layers
    there = [name for name in MEASURES if any(name in values for values in layers.values())]
    rows = [
        (layer, [_measure(name, values.get(name)) for name in there])
        for layer, values in layers.items()
    ]
    return Table([MEASURES[name] for name in there], rows)


def _measure(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{100 * value:.1f} %" if name in ("dead", "saturated") else f"{value:.1e}"
