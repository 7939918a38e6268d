"""What the library refuses surfaces as BackendError: its status, the operation, the shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.dispatch import Backend
from chainrule.engine.op import Op
from chainrule.engine.tensor import apply_all
from chainrule.errors import BackendError
from tests.backends.onednn.conftest import BACKEND
from tests.backends.onednn.grid import cases

if BACKEND:
    from chainrule.backends.onednn import runtime

pytestmark = pytest.mark.usefixtures("no_limits")
LIBRARY: dict[Any, Any] = {**BACKEND.table, **BACKEND.displaced} if BACKEND else {}
PAIRS = sorted(op.__name__ for op, pair in LIBRARY.items() if pair is not None)


@pytest.fixture(autouse=True)
def _the_library_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Our own kernels have nothing to refuse: the library's pairs are in their places."""
    monkeypatch.setattr(runtime.runtime(), "kernels", None)
    served = {op: pair for op, pair in LIBRARY.items() if pair is not None}
    monkeypatch.setattr(BACKEND, "table", served)
    runtime.Current.thread.plans.clear()
    yield
    runtime.Current.thread.plans.clear()


def fast_case(backend: Backend, name: str) -> tuple[Op, Any]:
    for _, (op, arrays) in cases(name, 40, seed=31):
        if arrays[0].ndim > 1 and backend.select(op, arrays) is not backend.reference:
            return op, arrays
    raise AssertionError(f"no case of {name} runs fast")


def tensors(arrays: Any) -> list[Any]:
    return [cr.tensor(a, requires_grad=True) for a in arrays]


def tells(error: BackendError, status: str, op: Op, *shapes: tuple[int, ...]) -> None:
    """Require the status, the operation and one of the shapes, with or without a batch's axis."""
    text = str(error)
    assert status in text, text
    assert type(op).__name__ in text or op.name in text, f"{op.name} is not in: {text}"
    known = [str(shape) for shape in (*shapes, *((1, *shape) for shape in shapes))]
    assert any(shape in text for shape in known), f"none of {known} is in: {text}"


@pytest.mark.parametrize("name", PAIRS)
def test_a_forward_that_fails(backend: Backend, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    op, arrays = fast_case(backend, name)
    with cr.use_backend("onednn"):
        right = apply_all(op, *tensors(arrays))[0].array
        with monkeypatch.context() as patch:
            patch.setattr(runtime.runtime(), "execute", lambda *_: 5)
            with pytest.raises(BackendError) as caught:
                apply_all(op, *tensors(arrays))
        tells(caught.value, "runtime_error", op, arrays[0].shape)
        assert np.array_equal(apply_all(op, *tensors(arrays))[0].array, right)  # as if nothing was


@pytest.mark.parametrize("name", [name for name in PAIRS if name != "Add"])
def test_a_backward_that_fails(
    backend: Backend, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    op, arrays = fast_case(backend, name)
    with cr.use_backend("onednn"):
        inputs = tensors(arrays)
        y = apply_all(op, *inputs)[0]
        with monkeypatch.context() as patch:
            patch.setattr(runtime.runtime(), "execute", lambda *_: 5)
            with pytest.raises(BackendError) as caught:
                y.backward(cr.ones(*y.shape))
        tells(caught.value, "runtime_error", op, arrays[0].shape, y.shape)


@pytest.mark.parametrize("name", PAIRS)
def test_a_primitive_that_cannot_be_built(
    backend: Backend, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    op, arrays = fast_case(backend, name)
    runtime.Current.thread.plans.clear()
    with cr.use_backend("onednn"):
        with monkeypatch.context() as patch:
            patch.setattr(runtime.runtime().raw, "dnnl_primitive_create", lambda *_: 1)
            with pytest.raises(BackendError) as caught:
                apply_all(op, *tensors(arrays))
        tells(caught.value, "out_of_memory", op, arrays[0].shape)
        apply_all(op, *tensors(arrays))


@pytest.mark.parametrize("name", PAIRS)
def test_a_description_that_fails(
    backend: Backend, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    op, arrays = fast_case(backend, name)
    runtime.Current.thread.plans.clear()
    run = runtime.runtime()
    creators = _creators(run.raw)
    with cr.use_backend("onednn"):
        with monkeypatch.context() as patch:
            for creator in creators:
                patch.setattr(run.raw, creator, lambda *_: 1)
            with pytest.raises(BackendError) as caught:
                apply_all(op, *tensors(arrays))
        tells(caught.value, "out_of_memory", op, arrays[0].shape)
        with monkeypatch.context() as patch:  # what the library does not have, the reference does
            runtime.Current.thread.plans.clear()
            for creator in creators:
                patch.setattr(run.raw, creator, lambda *_: 3)
            before = backend.calls[name]
            apply_all(op, *tensors(arrays))
            assert (backend.calls[name] == before) or name == "Matmul"
        runtime.Current.thread.plans.clear()


def _creators(raw: Any) -> list[str]:
    kinds = [
        "binary", "concat", "matmul", "reduction", "reorder",
        *(f"{kind}_{way}" for kind in
          ("eltwise", "pooling", "batch_normalization", "lrn", "inner_product", "softmax", "prelu",
           "convolution", "resampling", "layer_normalization")
          for way in ("forward", "backward", "backward_data", "backward_weights")),
    ]  # fmt: skip
    names = [f"dnnl_{kind}_primitive_desc_create" for kind in kinds]
    return [name for name in names if hasattr(raw, name)]


def test_an_unknown_status_is_told() -> None:
    assert "status 77" in str(runtime.failed(77, "this"))


@pytest.mark.parametrize("name", PAIRS)
def test_detect_anomaly_runs_the_references(backend: Backend, name: str) -> None:
    op, arrays = fast_case(backend, name)
    with cr.use_backend("onednn"):
        before = backend.calls[name]
        with cr.detect_anomaly():
            y = apply_all(op, *tensors(arrays))[0]
            y.backward(cr.ones(*y.shape))
        assert backend.calls[name] == before
        apply_all(op, *tensors(arrays))
        assert backend.calls[name] == before + 1


def test_detect_anomaly_names_what_a_fast_pair_would_pass_on(backend: Backend) -> None:
    x = cr.tensor(np.full((2, 3, 8, 8), np.inf, np.float32), requires_grad=True)
    with (
        cr.use_backend("onednn"),
        cr.detect_anomaly(),
        pytest.raises(cr.AnomalyError, match="conv"),
    ):
        cr.nn.functional.conv2d(x - x, cr.ones(2, 3, 3, 3))
