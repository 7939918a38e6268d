"""A summary as text, JSON and HTML."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any

HEADINGS = (
    "layer", "kind", "output", "values", "parameters", "multiply-adds", "sees", "stride", "dropped",
)  # fmt: skip
_RIGHT = {3, 4, 5, 6, 7, 8}

_STYLE = """body{font:15px/1.4 system-ui,sans-serif;margin:2rem;color:#222}
table{border-collapse:collapse}th,td{padding:.25rem .7rem;text-align:left;white-space:nowrap}
th{border-bottom:2px solid #888}td{border-bottom:1px solid #ddd}
.n{text-align:right;font-variant-numeric:tabular-nums}dl{display:grid;grid-template-columns:
max-content auto;gap:.2rem 1rem}dt{color:#666}dd{margin:0}"""


def _cells(row: dict[str, Any]) -> list[str]:
    """Write a row's cells; nothing where there is nothing to say."""
    sees, stride = row["sees"], row["stride"]
    return [
        row["layer"] or "(model)",
        row["kind"],
        by(row["shape"]),
        f"{row['values']:,}" if row["values"] else "",
        f"{row['parameters']:,}" if row["parameters"] else "",
        f"{row['multiply_adds']:,}" if row["multiply_adds"] else "",
        "all" if sees is None else by(sees),
        "" if stride is None else by(stride),
        by(row["dropped"]) if any(row["dropped"]) else "",
    ]


def by(sizes: Sequence[int]) -> str:
    """Write 3x224x224.

    >>> by((3, 224, 224))
    '3x224x224'
    """
    return "x".join(map(str, sizes))


def in_bytes(count: int) -> str:
    """Write so many bytes in the unit that leaves up to four digits, of 1000 each.

    >>> in_bytes(60_950_432), in_bytes(12)
    ('60.95 MB', '12 B')
    """
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{count} B" if units[0] == "B" else f"{value:.2f} {units[0]}"


def _totals(found: dict[str, Any]) -> list[tuple[str, str]]:
    totals = found["totals"]
    forward, training = totals["forward_values"], totals["training_values"]
    lines = [
        ("parameters", f"{totals['parameters']:,} ({in_bytes(totals['parameter_bytes'])})"),
        ("multiply-adds", f"{totals['multiply_adds']:,}"),
        ("activations, forward", f"{forward:,} values ({in_bytes(totals['forward_bytes'])})"),
        ("with backward", f"{training:,} values ({in_bytes(totals['training_bytes'])})"),
    ]
    frozen = totals["parameters"] - totals["trainable_parameters"]
    if frozen:
        lines.insert(1, ("of these not trained", f"{frozen:,}"))
    if totals["unused_parameters"]:
        parts = [f"{name} {count:,}" for name, count in totals["unused_parameters"].items()]
        lines.insert(1, ("of these not run here", ", ".join(parts)))
    return lines


def as_text(found: dict[str, Any]) -> str:
    """Write the table in columns, and the totals under it."""
    rows = [list(HEADINGS), *[_cells(row) for row in found["rows"]]]
    widths = [max(len(row[k]) for row in rows) for k in range(len(HEADINGS))]

    def line(row: list[str]) -> str:
        padded = [
            cell.rjust(width) if k in _RIGHT else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    totals = _totals(found)
    label = max(len(name) for name, _ in totals)
    return "\n".join(
        [
            f"{found['model']}, input {by(found['input'])}",
            line(rows[0]),
            rule,
            *[line(row) for row in rows[1:]],
            rule,
            *[f"{name.ljust(label)}  {value}" for name, value in totals],
        ]
    )


def as_json(found: dict[str, Any]) -> str:
    """Write everything, one row a line."""
    head = {key: value for key, value in found.items() if key != "rows"}
    rows = ",\n    ".join(json.dumps(row) for row in found["rows"])
    text = json.dumps(head, indent=2)
    return f'{text[:-2]},\n  "rows": [\n    {rows}\n  ]\n}}'


def as_html(found: dict[str, Any]) -> str:
    """Write a page of its own."""

    def cell(k: int, text: str, tag: str = "td") -> str:
        kind = ' class="n"' if k in _RIGHT else ""
        return f"<{tag}{kind}>{html.escape(text)}</{tag}>"

    head = "".join(cell(k, text, "th") for k, text in enumerate(HEADINGS))
    body = "\n".join(
        f"<tr>{''.join(cell(k, text) for k, text in enumerate(_cells(row)))}</tr>"
        for row in found["rows"]
    )
    title = html.escape(f"{found['model']}, input {by(found['input'])}")
    totals = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
        for name, value in _totals(found)
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n<dl>{totals}</dl>\n"
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></body></html>\n"
    )
