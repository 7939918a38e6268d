"""The optimiser's update by scaled sums of the library, beside NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.dispatch import Backend

SIZE = 1 << 19


def steps(backend: str, size: int, **options: Any) -> np.ndarray:
    rng = np.random.default_rng(0)
    with cr.use_backend(backend):
        w = cr.tensor(rng.standard_normal(size, np.float32), requires_grad=True)
        optimizer = cr.optim.SGD([w], lr=0.1, momentum=0.9, **options)
        for _ in range(4):
            w.grad = cr.tensor(rng.standard_normal(size, np.float32))
            optimizer.step()
        return w.detach().numpy()


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("maximize", [False, True])
def test_the_update_is_numpys(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, decay: float, nesterov: bool, maximize: bool
) -> None:
    ran: list[bool] = []
    scaled = backend.scale_add
    monkeypatch.setattr(backend, "scale_add", lambda *a: ran.append(scaled(*a)) or ran[-1])
    options = {"weight_decay": decay, "nesterov": nesterov, "maximize": maximize}
    fast, slow = (steps(name, SIZE, **options) for name in ("onednn", "numpy"))
    assert len(ran) == 3 * (2 + nesterov + (decay > 0))  # the first step makes the momentum
    assert all(ran)
    np.testing.assert_allclose(fast, slow, rtol=1e-5, atol=2e-6)


def test_small_and_other_arrays_are_left_to_numpy(backend: Backend) -> None:
    a = np.ones(SIZE, np.float32)
    assert not backend.scale_add(a[:100], a[:100], 1.0, 1.0)
    assert not backend.scale_add(a.astype(np.float64), a.astype(np.float64), 1.0, 1.0)
    assert not backend.scale_add(a[::2], a[::2], 1.0, 1.0)
    assert (a == 1).all()
