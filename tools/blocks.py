"""Write docs/blocks.md: every block by its old name, with ours, its formula and its reference.

`python -m tools.blocks` writes the page; a test compares it, and builds and runs every row.  The
formulas are the operations' own, read off the graph of the run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.engine.tensor import Tensor
from chainrule.nn import functional as F
from tools.blocks_table import TABLE, Row

PAGE = Path(__file__).parent.parent / "docs" / "blocks.md"
HEAD = """# Every block by its old name

The names of Torch 7's `nn`, of `THNN` and of Caffe, and what they are called here. A name that
PyTorch has too is PyTorch's, with its arguments. The formulas are those of the operations that ran;
a layer's own page tells shapes and edges. Written by `python -m tools.blocks`.
"""


def run(row: Row) -> Any:
    """Build and run a row's expression."""
    generator = np.random.default_rng(0)

    def t(*shape: int) -> Tensor:
        return cr.tensor(generator.standard_normal(shape, np.float32), requires_grad=True)

    def k(*shape: int, high: int) -> Tensor:
        return cr.tensor(generator.integers(0, high, shape))

    cr.manual_seed(0)
    return eval(row.run, {"t": t, "k": k, "nn": nn, "F": F, "cr": cr, "np": np})


def named(name: str) -> Any:
    """Find what a row calls ours."""
    found: Any = {"nn": nn, "F": F, "cr": cr}
    first, *rest = name.split(".")
    found = found[first]
    for part in rest:
        found = getattr(found, part)
    return found


def operations(result: Any) -> list[type[Any]]:
    """List the operations behind a result, the last first, each once."""
    found: list[type[Any]] = []
    waiting = [t._node for t in tensors(result)]
    while waiting:
        node = waiting.pop(0)
        if node is None:
            continue
        if type(node.op) not in found:
            found.append(type(node.op))
        waiting += [edge[0] for edge in node.edges if type(edge) is tuple]
    return found


def tensors(value: Any) -> list[Tensor]:
    """List the tensors of a result: itself, or those in its tuples and lists."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [t for part in value for t in tensors(part)]
    return []


def formula(op: type[Any]) -> str:
    """Give the formula in an operation's docstring, in one line that a table can hold."""
    text = re.sub(r"\s+", " ", (op.__doc__ or "").strip().split("\n\n")[0])
    return text.replace("|", "\\|")


def reference(name: str) -> str:
    """Link to the page of the reference on which a name stands."""
    first, *rest = name.split(".")
    if first == "nn":
        room = "nn.keras" if rest[0] == "keras" else "nn"
        return f"reference/{room.split('.')[0]}.md"
    home = named(name).__module__
    if home.startswith("chainrule.ops."):
        return f"reference/ops/{home.rsplit('.', 1)[1]}.md"
    return f"reference/{home.split('.')[1]}.md"


def page() -> str:
    """Give the page's text."""
    lines = [HEAD]
    for section, rows in TABLE.items():
        lines += [f"## {section}\n", "| old name | here | formula |", "|---|---|---|"]
        for row in rows:
            formulas = "<br>".join(formula(op) for op in operations(run(row))[:2])
            lines.append(f"| {row.old} | [`{row.ours}`]({reference(row.ours)}) | {formulas} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
