"""The file of results: one JSON document that runs add to."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FILE = HERE / "results.json"
QUICK = HERE.parent / "build" / "bench" / "results.json"

Results = dict[str, Any]
SAME = ("machine", "libraries", "threads")
"""What must be the same for figures of two runs to stand in one table."""


def read(path: Path) -> Results:
    """Read results; an absent file is an empty one."""
    found: Results = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found


def begin(path: Path, setting: Mapping[str, Any]) -> Results:
    """Go on with the file's results if they were taken in the same setting, else afresh."""
    found = read(path)
    changed = [key for key in SAME if found and found.get(key) != setting[key]]
    if changed:
        print(f"{path.name} was of another setting ({', '.join(changed)}): beginning afresh")
        found = {}
    return {**found, **setting}


def write(path: Path, results: Results) -> None:
    """Write the whole file at once, with every list of numbers on one line."""
    text = json.dumps(results, indent=1, ensure_ascii=False)
    text = re.sub(r"\[[^\[\]{}\"]*\]", lambda found: " ".join(found[0].split()), text)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(text + "\n", "utf-8")
    os.replace(partial, path)
