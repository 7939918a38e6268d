"""Run one expression with torch and with chainrule and compare values, gradients, exceptions.

Both libraries answer to the same names, so a case is a function of the library:
`check(lambda lib, x: lib.nn.functional.relu(x), array)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr

torch.set_num_threads(1)  # small tensors; its threads only wait for each other

TOLERANCE = {
    np.dtype("float16"): (2e-3, 2e-3),
    np.dtype("float32"): (2e-5, 2e-5),
    np.dtype("float64"): (1e-10, 1e-10),
}


def check(
    fn: Callable[..., Any],
    *inputs: Any,
    dtypes: Sequence[str] = ("float32", "float64"),
    gradients: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
) -> None:
    """Assert equal outputs and equal gradients of every float input, in each dtype.

    Float arrays are cast to the dtype and want a gradient; integer and boolean arrays are passed
    as tensors; anything else (None, numbers, tuples) is handed over as it is.
    """
    for dtype in dtypes:
        theirs_in = [_give(torch.tensor, v, dtype, gradients) for v in inputs]
        ours_in = [_give(cr.tensor, v, dtype, gradients) for v in inputs]
        theirs, ours = _outputs(fn(torch, *theirs_in)), _outputs(fn(cr, *ours_in))
        assert len(theirs) == len(ours)
        for i, (t, o) in enumerate(zip(theirs, ours, strict=True)):
            _same(f"output {i}", t, o, rtol, atol)
        if gradients:
            _compare_gradients(theirs, ours, theirs_in, ours_in, rtol, atol)


def misuse(fn: Callable[..., Any], *inputs: Any) -> None:
    """Assert that both libraries refuse the call, and that ours is caught by torch's habit."""
    with pytest.raises(Exception) as theirs:  # noqa: PT011 - whatever torch raises is the oracle
        fn(torch, *[_give(torch.tensor, v, "float32", False) for v in inputs])
    kind = next(
        k
        for k in (NotImplementedError, IndexError, TypeError, ValueError, RuntimeError, Exception)
        if issubclass(theirs.type, k)
    )
    with pytest.raises(kind) as ours:
        fn(cr, *[_give(cr.tensor, v, "float32", False) for v in inputs])
    assert isinstance(ours.value, cr.ChainruleError | NotImplementedError), repr(ours.value)


def _give(make: Callable[..., Any], value: Any, dtype: str, gradients: bool) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind == "f":
        tensor = make(np.ascontiguousarray(value.astype(dtype)).reshape(value.shape))
        return tensor.requires_grad_() if gradients else tensor
    return make(value)


def _outputs(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def _array(value: Any) -> Any:
    return value.detach().numpy() if hasattr(value, "detach") else np.asarray(value)


def _same(what: str, theirs: Any, ours: Any, rtol: float | None, atol: float | None) -> None:
    t, o = _array(theirs), _array(ours)
    assert o.shape == t.shape, f"{what}: shape {o.shape}, torch has {t.shape}"
    assert o.dtype == t.dtype, f"{what}: dtype {o.dtype}, torch has {t.dtype}"
    if t.dtype.kind != "f":
        np.testing.assert_array_equal(o, t, err_msg=what)
        return
    r, a = TOLERANCE[t.dtype]
    scale = float(np.nanmax(np.abs(t[np.isfinite(t)]), initial=0.0))
    np.testing.assert_allclose(
        o, t, rtol=rtol or r, atol=(atol or a) * max(1.0, scale), err_msg=what, equal_nan=True
    )


def _compare_gradients(
    theirs: list[Any],
    ours: list[Any],
    theirs_in: list[Any],
    ours_in: list[Any],
    rtol: float | None,
    atol: float | None,
) -> None:
    rng = np.random.default_rng(1)
    live = [i for i, t in enumerate(theirs) if isinstance(t, torch.Tensor) and t.requires_grad]
    for i, o in enumerate(ours):
        assert getattr(o, "requires_grad", False) == (i in live), f"output {i}: requires_grad"
    for i in live:
        gy = rng.standard_normal(tuple(theirs[i].shape)).astype(_array(theirs[i]).dtype)
        theirs[i].backward(torch.tensor(gy), retain_graph=True)
        ours[i].backward(cr.tensor(gy), retain_graph=True)
    for i, (t, o) in enumerate(zip(theirs_in, ours_in, strict=True)):
        if isinstance(t, torch.Tensor) and t.requires_grad:
            assert (t.grad is None) == (o.grad is None), f"gradient of input {i}"
            if t.grad is not None:
                _same(f"gradient of input {i}", t.grad, o.grad, rtol, atol)
