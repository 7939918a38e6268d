"""Writes the pages of the reference before Sphinx reads them: what the registries hold.

One page a family of operations, with each function, the formulas of the operations behind it and,
for activations, a figure of the function and its derivative; one page a room for all else.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib

import chainrule as cr
from chainrule.engine.op import FUNCTIONS, OPS

ROOMS = {
    "nn": "Layers",
    "optim": "Optimisers and schedules",
    "flat": "Pairs of functions on plain arrays",
    "models": "Networks",
    "inference": "Networks in use",
    "inspection": "Looking at networks",
    "data": "Data",
    "training": "Training",
    "retrieval": "Images found by likeness",
    "formats": "Files of weights",
    "engine": "Tensors and graphs",
    "errors": "Errors",
}
LINE = 90  # characters of a formula that the page shows without scrolling
SPAN = 4.0  # of a figure's axis, on either side of 0


def write_pages(app: Any) -> None:
    """Write everything under docs/reference; what did not change keeps its date."""
    folder = Path(app.srcdir) / "reference"
    pages = dict(_pages(folder))
    pages["index.md"] = _index(pages)
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for path in folder.rglob("*.md"):
        if str(path.relative_to(folder)) not in pages:
            path.unlink()


def _pages(folder: Path) -> Iterator[tuple[str, str]]:
    cr.exp  # noqa: B018 - loads the operations
    for module in _modules("ops"):
        functions = _functions_of(module)
        if functions:
            yield f"ops/{_stem(module)}.md", _family(module, functions, folder)
    for room, title in ROOMS.items():
        parts = list(_modules(room))
        text = [f"# {title}\n"]
        for module in parts:
            text.append(_directive("automodule", module.__name__, "members"))
        yield f"{room}.md", "\n".join(text)


def _index(pages: dict[str, str]) -> str:
    lines = ["# Reference\n", "```{toctree}\n:caption: Operations\n:maxdepth: 1\n"]
    lines += sorted(name.removesuffix(".md") for name in pages if name.startswith("ops/"))
    lines += ["```\n", "```{toctree}\n:caption: Everything else\n:maxdepth: 1\n"]
    lines += [f"{room}" for room in ROOMS]
    return "\n".join([*lines, "```", ""])


def _modules(room: str) -> Iterator[ModuleType]:
    """Load a room's modules, in the order of their names."""
    top = importlib.import_module(f"chainrule.{room}")
    if not hasattr(top, "__path__"):
        yield top
        return
    for found in pkgutil.walk_packages(top.__path__, f"chainrule.{room}."):
        yield importlib.import_module(found.name)


def _stem(module: ModuleType) -> str:
    return module.__name__.rsplit(".", 1)[1]


def _functions_of(module: ModuleType) -> list[str]:
    found = [n for n, f in FUNCTIONS.items() if f.__module__ == module.__name__]
    return [name for name in found if hasattr(cr, name)]


def _family(module: ModuleType, functions: list[str], folder: Path) -> str:
    summary = (module.__doc__ or _stem(module)).strip().split("\n")[0].rstrip(".")
    title, _, more = summary.partition(": ")
    text = [f"# {title}\n"]
    if more:
        text.append(f"{more[0].upper()}{more[1:]}.\n")
    for name in functions:
        text.append(f"## {name}\n")
        text.append(_directive("autofunction", f"chainrule.{name}"))
        formulas = [_formula(op) for op in _operations(FUNCTIONS[name])]
        if formulas:
            text.append("The operations behind it:\n\n```text\n" + "\n".join(formulas) + "\n```\n")
        if _stem(module).startswith("activation") and _draw(name, folder / "figures"):
            text.append(f"![{name} and its derivative](../figures/{name}.svg)\n")
    return "\n".join(text)


def _directive(kind: str, name: str, *options: str) -> str:
    lines = ["```{eval-rst}", f".. {kind}:: {name}", *[f"   :{option}:" for option in options]]
    return "\n".join([*lines, "```", ""])


def _operations(function: Any, depth: int = 2) -> list[type[Any]]:
    """Find the operations that a function names, or that its neighbours do which it calls."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    own = inspect.unwrap(function).__globals__
    found = [own[n] for n in sorted(names) if isinstance(own.get(n), type) and n in OPS]
    if found or not depth:
        return found
    near = [own[n] for n in sorted(names) if inspect.isfunction(own.get(n))]
    for other in near:
        if other is not function and other.__module__.startswith("chainrule.ops"):
            found += [op for op in _operations(other, depth - 1) if op not in found]
    return found[:3]


def _formula(op: type[Any]) -> str:
    lines = re.split(r"\n\s*", f"{op.__name__}: {(op.__doc__ or '').strip()}")
    indented = [lines[0], *[f"    {line}" for line in lines[1:]]]
    return "\n".join(textwrap.fill(x, LINE, subsequent_indent="    ") for x in indented)


def _draw(name: str, folder: Path) -> bool:
    """Draw a function of one tensor and its derivative; False where it needs more than that."""
    x = cr.linspace(-SPAN, SPAN, 401, requires_grad=True)
    try:
        y = getattr(cr, name)(x)
        y.sum().backward()
    except Exception:
        return False
    if y.shape != x.shape or x.grad is None:
        return False
    matplotlib.use("Agg")
    plot = importlib.import_module("matplotlib.pyplot")
    folder.mkdir(parents=True, exist_ok=True)
    matplotlib.rcParams["svg.hashsalt"] = name  # the same file each time
    figure, axes = plot.subplots(figsize=(4.2, 2.6), layout="constrained")
    axes.axhline(0, color="0.8", linewidth=0.8)
    axes.axvline(0, color="0.8", linewidth=0.8)
    axes.plot(x.detach().numpy(), y.detach().numpy(), label=name)
    axes.plot(x.detach().numpy(), x.grad.numpy(), "--", label="derivative")
    axes.legend(frameon=False)
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    plot.close(figure)
    return True


def _readable(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Let docstrings be plain text: a star or a bar in a formula begins no markup."""
    inside = False
    for i, line in enumerate(lines):
        inside = line.lstrip().startswith(">>>") or (inside and bool(line.strip()))
        if not inside:
            pieces = re.split(r"(`[^`]*`)", line)
            pieces[::2] = [re.sub(r"([*|\\]|_(?=\W|$))", r"\\\1", part) for part in pieces[::2]]
            lines[i] = "".join(pieces)


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", _readable)
    return {"parallel_read_safe": True}
