"""What programs keep of weights, and how their memory is shared out."""

from __future__ import annotations

from ctypes import c_float
from math import prod
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.inference.builder import Builder, Place
from chainrule.backends.onednn.inference.compiled import share_out
from chainrule.backends.onednn.primitives import describe, plain, strided
from chainrule.backends.onednn.runtime import Current, runtime
from chainrule.engine.program import Program


def read(at: int, shape: tuple[int, ...]) -> Any:
    return np.array((c_float * prod(shape)).from_address(at)).reshape(shape)


def test_a_weight_is_laid_out_once_for_each_layout() -> None:
    _ = cr.zeros(1) + 1
    Current.thread.refresh()
    w = np.arange(6 * 4, dtype=np.float32).reshape(6, 4)
    shared: dict[Any, Any] = {}

    def place(*strides: int) -> int:
        layout = strided((6, 4), strides)
        ends = plain((3, 4)), layout, None, plain((3, 6))
        kind, engine = "inner_product_forward", runtime().engine
        found = describe(kind, engine, c.FORWARD_INFERENCE, *ends, slow=True)
        assert found is not None
        return Builder(Program([], [], [], {}, {}, shared), []).laid_out(w, (6, 4), found)

    plainly, turned, wide = place(4, 1), place(1, 6), place(8, 1)
    np.testing.assert_array_equal(read(plainly, (6, 4)), w)
    np.testing.assert_array_equal(read(turned, (4, 6)), w.T)
    np.testing.assert_array_equal(read(wide, (5, 8))[:, :4], w[:5])
    assert (place(4, 1), place(1, 6), place(8, 1)) == (plainly, turned, wide)


def test_memory_is_shared_by_what_does_not_live_at_once() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        places = []
        for _ in range(20):
            born = int(rng.integers(0, 30))
            size = int(rng.integers(1, 500))
            places.append(Place((size,), born=born, dies=born + int(rng.integers(1, 8))))
        total = share_out(places)
        assert total < sum(p.nbytes + 64 for p in places)
        for i, a in enumerate(places):
            assert 0 <= a.offset <= total - a.nbytes
            assert a.offset % 64 == 0
            for b in places[:i]:
                together = a.born < b.dies and b.born < a.dies
                apart = a.offset + a.nbytes <= b.offset or b.offset + b.nbytes <= a.offset
                assert apart or not together
