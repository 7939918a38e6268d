"""Write src/chainrule/__init__.pyi: what the lazily loaded public face offers, for type checkers.

Run `python tools/face.py` after a public name was added; a test compares the file.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import chainrule as cr
from chainrule import _DTYPE_ALIASES, _DTYPES, _HOME, _METHODS_ONLY, _ROOMS
from chainrule.engine.op import FUNCTIONS

STUB = Path(cr.__file__).with_name("__init__.pyi")


def stub() -> str:
    """Give the text of the stub."""
    names: dict[str, list[str]] = defaultdict(list)
    aliases: dict[str, str] = {}
    for name, home in _HOME.items():
        room, _, original = home.partition(":")
        names[room].append(original or name)
        if original:
            aliases[name] = original
    for name, function in FUNCTIONS.items():
        if name not in _METHODS_ONLY:
            own = function.__name__
            names[function.__module__].append(own)
            if own != name:
                aliases[name] = own
    aliases = dict(sorted(aliases.items()))
    lines = ['"""The public face; written by tools/face.py."""', "", "import numpy as np", ""]
    lines += [f"from chainrule import {room} as {room}" for room in _ROOMS]
    for room in sorted(names):
        lines += [_line(room, name) for name in sorted(set(names[room]))]
    lines.append("")
    lines += [f"{name} = {own}" for name, own in aliases.items()]
    lines += ["", "__version__: str"]
    lines += [f"{name}: np.dtype[np.{name}]" for name in sorted(_DTYPES)]
    kinds = {**_DTYPE_ALIASES, "bool": "bool_"}
    lines += [f"{name}: np.dtype[np.{kinds[name]}]" for name in sorted(_DTYPE_ALIASES)]
    return "\n".join(lines) + "\n"


def _line(room: str, name: str) -> str:
    line = f"from {room} import {name} as {name}"
    return line if len(line) <= 100 else f"from {room} import (\n    {name} as {name},\n)"


if __name__ == "__main__":
    cr.exp  # noqa: B018 - loads the operations
    STUB.write_text(stub(), encoding="utf-8")
    print(f"wrote {STUB}")
