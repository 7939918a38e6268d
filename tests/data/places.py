"""Where real data lies on a developer's machine: $CHAINRULE_SHARED_DATA, or shared/data above."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def shared_data(name: str) -> Path:
    """Find a folder of real data, or skip the test that wants it."""
    wanted = os.environ.get("CHAINRULE_SHARED_DATA")
    here = Path(__file__).resolve()
    places = [Path(wanted)] if wanted else [up / "shared" / "data" for up in here.parents]
    for place in places:
        if (place / name).is_dir():
            return place / name
    pytest.skip(f"no real data: {name!r} is not in $CHAINRULE_SHARED_DATA or ../shared/data")
