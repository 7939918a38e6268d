"""The public face: every name is there, lazily, and type checkers see the same ones."""

from __future__ import annotations

import subprocess
import sys

import pytest

import chainrule as cr
from tools.face import STUB, stub


def test_the_stub_says_what_is_offered() -> None:
    cr.exp  # noqa: B018 - loads the operations
    assert STUB.read_text("utf-8") == stub(), "run: python tools/face.py, then make format"


def test_every_name_that_dir_offers_is_there() -> None:
    for name in dir(cr):
        assert hasattr(cr, name), name
    assert "backward" not in dir(cr)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_thing"):
        cr.no_such_thing  # noqa: B018


def test_importing_loads_nothing_that_is_not_used() -> None:
    code = (
        "import sys, chainrule; "
        "print(sorted(m for m in ('typer', 'rich', 'PIL', 'safetensors', 'matplotlib', "
        "'chainrule.ops', 'chainrule.nn') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tensors_made_without_the_face_find_their_operations() -> None:
    code = (
        "from chainrule.engine.creation import ones; "
        "x = ones(2, requires_grad=True); (x + x).backward(ones(2)); print(x.grad.tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[2.0, 2.0]"


def test_every_file_of_operations_is_loaded_with_its_room() -> None:
    code = (
        "import pathlib, sys, chainrule.ops as ops; "
        "files = {p.stem for p in pathlib.Path(ops.__path__[0]).glob('*.py')} - {'__init__'}; "
        "print(sorted(f for f in files if f'chainrule.ops.{f}' not in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", "name the file in chainrule/ops/__init__.py"
