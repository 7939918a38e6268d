"""What a hostile reader tried on the engine: aliasing, hooks, generators, capture, misuse."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.nn import functional as F


class ReturnsSaved(cr.Function):
    """y = x^2/2 with a backward that hands out what it saved."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x / 2

    @staticmethod
    def backward(ctx: Any, gy: Any) -> Any:
        return ctx.saved_tensors[0]


def test_a_function_that_returns_its_saved_tensor_lends_no_memory() -> None:
    x = cr.tensor([3.0, 4.0], requires_grad=True)
    (ReturnsSaved.apply(x).sum() + x.sum()).backward()
    assert x.tolist() == [3.0, 4.0]
    assert x.grad is not None
    assert x.grad.tolist() == [4.0, 5.0]
    x.grad = None
    ReturnsSaved.apply(x).sum().backward()
    assert x.grad is not None
    assert not np.shares_memory(x.grad.array, x.array)


def test_a_functions_gradient_takes_the_inputs_dtype_and_none_outputs_pass() -> None:
    class Two(cr.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2, None

        @staticmethod
        def backward(ctx: Any, gy: Any, nothing: Any) -> Any:
            assert nothing is None
            return gy.double() * 2

    x = cr.tensor([3.0], requires_grad=True)
    y, nothing = Two.apply(x)
    assert nothing is None
    y.backward()
    assert x.grad is not None
    assert x.grad.dtype == np.float32


def test_no_grad_decorates_generators_step_by_step() -> None:
    seen: list[bool] = []

    @cr.no_grad()
    def steps() -> Iterator[bool]:
        try:
            yield cr.is_grad_enabled()
            yield cr.is_grad_enabled()
        finally:
            seen.append(cr.is_grad_enabled())

    run = steps()
    assert next(run) is False
    assert cr.is_grad_enabled()
    run.close()  # type: ignore[attr-defined]
    assert seen == [False]


def test_set_grad_enabled_decorates() -> None:
    @cr.set_grad_enabled(False)
    def mode() -> bool:
        return cr.is_grad_enabled()

    assert cr.is_grad_enabled()
    assert mode() is False


@pytest.mark.parametrize(("wrong", "error"), [(3, TypeError), (cr.zeros(5), ValueError)])
def test_a_hooks_result_is_checked(wrong: Any, error: type[Exception]) -> None:
    x = cr.tensor([1.0], requires_grad=True)
    x.register_hook(lambda g: wrong)
    with pytest.raises(error, match="hook"):
        (x * 2).backward()


def test_a_hook_may_write_to_its_gradient_and_harms_nobody_else() -> None:
    x, w = (cr.ones(2, requires_grad=True) for _ in range(2))
    above, recorded = cr.ones(2), []

    def hook(g: Any) -> None:
        g.mul_(10)
        recorded.append(cr.is_grad_enabled())

    x.register_hook(hook)
    (x + w).backward(above)
    assert x.grad is not None
    assert w.grad is not None
    assert (x.grad.tolist(), w.grad.tolist(), above.tolist()) == ([10, 10], [1, 1], [1, 1])
    assert recorded == [False]


def test_grad_gives_inner_gradients_of_their_own_memory() -> None:
    x = cr.ones(2, requires_grad=True)
    y, z = x * 1, x * 2
    gy, gz = cr.grad((y + z).sum(), [y, z])
    gy += 1
    assert (gy.tolist(), gz.tolist()) == ([2.0, 2.0], [1.0, 1.0])


@pytest.mark.parametrize(("wrong", "error"), [(3, TypeError), (cr.zeros(5), ValueError)])
def test_grad_is_a_tensor_of_the_same_shape(wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="grad"):
        cr.zeros(2).grad = wrong


def test_the_class_tensor_sends_to_the_function() -> None:
    with pytest.raises(TypeError, match=r"cr\.tensor"):
        cr.Tensor([1.0, 2.0])  # type: ignore[arg-type]


def test_writes_that_numpy_refuses_are_our_errors() -> None:
    for write in (
        lambda: cr.zeros(3).copy_(cr.zeros(4)),
        lambda: cr.zeros(1).expand(3).fill_(1),
        lambda: cr.zeros(1).expand(3).add_(1),
        lambda: cr.tensor([1], dtype=cr.uint8).add_(300),
    ):
        with pytest.raises(cr.ChainruleError):
            write()
    x = y = cr.tensor([3.0])
    x **= 2
    assert (x is y, y.tolist()) == (True, [9.0])


def test_capture_sees_updates_and_refuses_writes() -> None:
    def update(a: Any) -> Any:
        total = cr.zeros(1)
        total += a
        total *= 3
        return total

    graph = cr.capture(update, cr.tensor([1.0]))
    assert graph.forward(cr.tensor([5.0])).tolist() == [15.0]

    def write(a: Any) -> Any:
        b = a * 1
        b[0] = 5
        return b

    with pytest.raises(RuntimeError, match="capture"):
        cr.capture(write, cr.tensor([1.0]))


def test_capture_converts_new_inputs_and_refuses_integer_outputs() -> None:
    graph = cr.capture(lambda x, y: x * y, -2.0, 5.0)
    assert graph.forward(3, 4).dtype == np.float32
    assert [g.item() for g in graph.backward()] == [4.0, 3.0]
    with pytest.raises(TypeError, match=r"2\.0 for 2"):
        cr.capture(lambda x, y: x * y, -2, 5).backward()


@pytest.mark.parametrize(
    "leak",
    [
        lambda a: a * a.tolist()[0],
        lambda a: a * cr.capture(lambda b: b * b, a).forward(),
    ],
)
def test_capture_warns_of_lists_and_captures_inside(leak: Any) -> None:
    with pytest.warns(UserWarning, match="fixed in the graph"):
        cr.capture(leak, cr.tensor([3.0]))


def test_a_gradient_handed_out_by_a_gate_is_not_written_again() -> None:
    graph = cr.capture(lambda a: a * 1 + a * 2 + a * 3, cr.tensor(3.0))
    seen = []
    for gate in reversed(graph.nodes_topologically_sorted()):
        gate.backward()
        if graph.inputs[0].gradient is not None:
            seen.append(graph.inputs[0].gradient)
    assert seen[0].item() == 3.0
    assert seen[-1].item() == 6.0


def test_gradcheck_finds_a_detached_output() -> None:
    report = cr.gradcheck(lambda x: x.detach() * 2, cr.ones(3))
    assert not report
    assert "detached" in str(report)
    with pytest.raises(TypeError, match="floating-point output"):
        cr.gradcheck(lambda x: x.argmax(), cr.ones(3))


def test_gradcheck_pins_outside_generators_and_refuses_other_chance() -> None:
    own, other = cr.Generator(0), np.random.default_rng(0)
    assert cr.gradcheck(lambda x: F.dropout(x, 0.5, True) * cr.rand(8, generator=own), cr.ones(8))
    with pytest.raises(RuntimeError, match="the same each time"):
        cr.gradcheck(lambda x: x * other.random(), cr.ones(8))


def test_gradcheck_counts_kinks_apart() -> None:
    report = cr.gradcheck(lambda x: F.max_pool2d(x, 2), cr.zeros(1, 1, 4, 4))
    assert "passed: 0 derivatives" in str(report)
    assert "16 at kinks" in str(report)


def test_anomaly_tells_that_the_input_was_bad() -> None:
    with cr.detect_anomaly(), pytest.raises(cr.AnomalyError, match="inputs held 1 value that is"):
        cr.tensor([float("nan"), 1.0]) * 2


def test_numbers_that_do_not_fit_are_refused_when_tensors_are_made() -> None:
    for make in (
        lambda: cr.tensor([300], dtype=cr.uint8),
        lambda: cr.tensor([float("nan")], dtype=cr.int64),
        lambda: cr.tensor(2**70),
        lambda: cr.full((2,), 1e40),
        lambda: cr.full((2,), float("inf"), dtype=cr.int32),
        lambda: cr.arange(float("nan")),
        lambda: cr.eye(-1),
        lambda: cr.linspace(0, 1, -1),
        lambda: cr.randperm(-1),
    ):
        with pytest.raises(cr.ShapeError):
            make()
    assert cr.tensor(-1, dtype=cr.uint8).item() == 255
    assert cr.zeros(1, dtype=float).dtype == np.float64
    assert cr.arange(cr.tensor(3)).tolist() == [0, 1, 2]
    with pytest.raises(TypeError):
        cr.full((2,), None)
    with pytest.raises(TypeError, match="64 bits"):
        cr.from_numpy(np.ones(2, np.longdouble))


@pytest.mark.parametrize(
    "make",
    [
        lambda d: cr.arange(3, device=d),
        lambda d: cr.eye(3, device=d),
        lambda d: cr.linspace(0, 1, 3, device=d),
        lambda d: cr.ones_like(cr.zeros(3), device=d),
        lambda d: cr.rand_like(cr.zeros(3), device=d),
        lambda d: cr.randint(4, (3,), device=d),
        lambda d: cr.randperm(3, device=d),
    ],
)
def test_everything_can_be_made_without_data(make: Any) -> None:
    assert make("meta").is_meta
    assert make(None).shape == make("meta").shape
    with pytest.raises(NotImplementedError):
        make("cuda")


def test_signed_integers_and_uint64_have_no_common_dtype() -> None:
    with pytest.raises(TypeError, match="common integer dtype"):
        cr.result_type(cr.zeros(1, dtype=cr.int64), cr.zeros(1, dtype=cr.uint64))


def test_capture_without_leaks_is_silent() -> None:
    model = cr.nn.Sequential(cr.nn.Linear(2, 3), cr.nn.BatchNorm1d(3), cr.nn.ReLU())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cr.capture(model, cr.randn(4, 2))
