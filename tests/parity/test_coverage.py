"""Every public function and every layer has a case against PyTorch, or has no counterpart there."""

from __future__ import annotations

import re
from pathlib import Path

import torch

import chainrule as cr
from chainrule.engine.op import FUNCTIONS
from chainrule.nn.module import Module

TEXT = "\n".join(p.read_text("utf-8") for p in sorted(Path(__file__).parent.glob("test_*.py")))
PLACES = (torch, torch.nn.functional, torch.Tensor)


def missing(names: list[str], text: str) -> list[str]:
    """Find names that no case mentions; pool1d, pool2d, pool3d may be written as pool{d}d."""
    found = []
    for name in names:
        written = "|".join({name, re.sub(r"[123]d$", r"\\{\\w+\\}d", name)})
        if not re.search(rf"(?<![A-Za-z0-9_])({written})(?![A-Za-z0-9_])", text):
            found.append(name)
    return found


def test_every_function_that_torch_has_is_compared() -> None:
    cr.exp  # noqa: B018 - loads the operations
    shared = sorted(n for n in FUNCTIONS if any(hasattr(place, n) for place in PLACES))
    assert len(shared) >= 150
    assert missing(shared, TEXT) == []


def test_every_layer_that_torch_has_is_compared() -> None:
    layers = sorted(
        name
        for name, value in vars(cr.nn).items()
        if isinstance(value, type) and issubclass(value, Module) and hasattr(torch.nn, name)
    )
    assert len(layers) > 50
    assert missing(layers, TEXT) == []


def test_a_name_without_a_case_would_be_found() -> None:
    assert missing(["conv2d", "no_such_name"], TEXT.replace("no_such_name", "")) == ["no_such_name"]
