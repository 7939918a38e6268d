"""The optimiser's update by our own kernel, and by scaled sums of the library, beside NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.backends.onednn import backend as module
from chainrule.engine.dispatch import Backend
from chainrule.optim.sgd import Step
from tests.backends.onednn.compare import Executed
from tests.backends.onednn.conftest import of_kernels

SIZE = 1 << 19


def steps(backend: str, size: int, **options: Any) -> np.ndarray:
    rng = np.random.default_rng(0)
    with cr.use_backend(backend):
        w = cr.tensor(rng.standard_normal(size, np.float32), requires_grad=True)
        optimizer = cr.optim.SGD([w], **{"lr": 0.1, "momentum": 0.9} | options)
        for _ in range(4):
            w.grad = cr.tensor(rng.standard_normal(size, np.float32))
            optimizer.step()
        return w.detach().numpy()


OPTIONS = [
    {"weight_decay": decay, "nesterov": nesterov, "maximize": maximize}
    for decay in (0.0, 0.05)
    for nesterov in (False, True)
    for maximize in (False, True)
]


def near(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6)


@of_kernels
@pytest.mark.parametrize("size", [1, 7, 16, 4099, SIZE + 3])
@pytest.mark.parametrize(
    "options",
    [*OPTIONS, {"momentum": 0.0}, {"momentum": 0.0, "weight_decay": 0.1}, {"dampening": 0.3}],
    ids=repr,
)
def test_the_update_is_numpys(
    backend: Backend, count_primitives: None, size: int, options: dict[str, Any]
) -> None:
    before = Executed.count
    fast = steps("onednn", size, **options)
    assert Executed.count == before + 4
    near(fast, steps("numpy", size, **options))


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_the_update_by_sums_is_numpys(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    ran: list[bool] = []
    scaled = module._scale_add
    monkeypatch.setattr(module, "have_kernels", lambda: False)
    monkeypatch.setattr(module, "_scale_add", lambda *a: ran.append(scaled(*a)) or ran[-1])
    fast, slow = (steps(name, SIZE, **options) for name in ("onednn", "numpy"))
    # The first step makes the momentum.
    assert len(ran) == 3 * (2 + options["nesterov"] + (options["weight_decay"] > 0))
    assert all(ran)
    near(fast, slow)


def test_other_arrays_are_left_to_numpy(backend: Backend) -> None:
    a, step = np.ones(SIZE, np.float32), Step(0.1, 0.0, 0.9, 1.0, False, False)
    assert not backend.sgd_step(a.astype(np.float64), a.astype(np.float64), None, step)
    assert not backend.sgd_step(a[::2], a[::2], None, step)
    assert (a == 1).all()


def test_a_parameter_that_may_not_be_written_is_refused(backend: Backend) -> None:
    with cr.use_backend("onednn"):
        w = cr.tensor(np.ones(64, np.float32), requires_grad=True)
        w.grad = cr.tensor(np.ones(64, np.float32))
        optimizer = cr.optim.SGD([w], lr=0.1)
        w.array.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            optimizer.step()
    assert (w.array == 1).all()
