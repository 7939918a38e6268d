"""Padding's gradient: whatever the widths, the transpose of its forward."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from chainrule.engine.op import Spec
from chainrule.errors import ShapeError
from chainrule.ops.pad import PadBorder


@pytest.mark.parametrize("size", range(1, 6))
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_a_borders_gradient_goes_where_it_came_from(mode: str, size: int) -> None:
    """Every pair of widths, negative ones crop: each unit vector's image, and gy against it."""
    units, ran = np.eye(size)[:, None], 0
    for widths in itertools.product(range(-6, 6), repeat=2):
        op = PadBorder(widths, mode)
        try:
            op.infer(Spec(units.shape, units.dtype))
        except ShapeError:
            continue
        (images,), shape = op.forward(np, units)
        gy = np.random.default_rng(0).standard_normal(images.shape[-1])
        (gx,) = op.backward(np, (1, 1, size), gy[None, None], (True,))
        np.testing.assert_allclose(gx[0, 0], images[:, 0] @ gy, atol=1e-12)
        assert shape == units.shape
        ran += 1
    assert ran >= 2 * size
