"""Every example in a docstring runs and prints what it says; public functions have one."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path
from types import ModuleType

import pytest

import chainrule as cr
from chainrule.engine.op import FUNCTIONS

ROOT = Path(cr.__file__).parent
MODULES = sorted(
    ".".join(("chainrule", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
    if path.stem != "__main__"
)


def run_examples(module: ModuleType) -> str:
    """Run a module's examples, each docstring on its own; give what failed."""
    report: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    for test in doctest.DocTestFinder().find(module):
        cr.manual_seed(0)
        runner.run(test, out=report.append)
    return "".join(report)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)
    failed = run_examples(module)
    assert not failed, failed


def test_every_function_has_an_example() -> None:
    importlib.import_module("chainrule.ops")
    without = [
        name
        for name, function in FUNCTIONS.items()
        if function.__module__.startswith("chainrule.ops") and ">>>" not in (function.__doc__ or "")
    ]
    assert FUNCTIONS
    assert not without, f"public functions without an example: {', '.join(without)}"


def test_wrong_example_is_caught() -> None:
    module = ModuleType("planted")
    module.__doc__ = ">>> 1 + 1\n3\n"
    assert "Expected:" in run_examples(module)
    module.__doc__ = ">>> 1 / 0\n"
    assert "ZeroDivisionError" in run_examples(module)
    module.__doc__ = ">>> 1 + 1\n2\n"
    assert run_examples(module) == ""
