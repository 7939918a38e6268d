"""All registered networks, and images that they read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.models import MODELS, list_models

LARGE = 30_000_000
"""So many parameters take their time: the networks that have more are run by `make test-slow`."""

BY_SIZE = [
    pytest.param(name, marks=pytest.mark.slow)
    if (MODELS[name].parameters or 0) > LARGE
    else pytest.param(name)
    for name in list_models()
]


def images(name: str, n: int = 2) -> Any:
    entry = MODELS[name]
    shape = (n, entry.channels, entry.smallest, entry.smallest)
    return cr.tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
