"""The walk: branches, chains, freeing, hooks, chosen inputs, ownership."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.node import SMALL


def leaf(*values: float) -> cr.Tensor:
    return cr.tensor(list(values), requires_grad=True)


def test_gradients_add_at_branches() -> None:
    x = cr.tensor(2.0, requires_grad=True)
    f = x * x + 3 * x
    f.backward()
    assert f.item() == 10
    assert x.grad.item() == 7


def test_a_chain_of_100_000_operations_runs_and_is_freed() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + x
    y.backward()
    assert x.grad.item() == 100_001
    del y  # the destructor must not recurse either
    gc.collect()


def test_a_second_backward_names_retain_graph() -> None:
    x = leaf(3.0)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(cr.GraphError, match="retain_graph=True"):
        y.backward()


def test_retain_graph_allows_a_second_backward_that_adds() -> None:
    x = leaf(3.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    first = x.grad
    y.backward()
    assert x.grad.item() == 12
    assert first.item() == 6, "the gradient handed out earlier was written to"


def test_saved_arrays_are_freed_by_backward() -> None:
    x = leaf(1.0, 2.0)
    inner = x * 2
    y = inner * inner
    gone = weakref.ref(inner)
    node = y.grad_fn
    y.sum().backward()
    assert node.saved is None
    del inner, y, node
    gc.collect()
    assert gone() is None


def test_an_operation_does_not_keep_a_large_input_that_it_did_not_save() -> None:
    x = cr.ones(SMALL + 1, requires_grad=True)
    inner = x + 1
    array = weakref.ref(inner.array)
    y = inner + 1
    del inner
    gc.collect()
    assert array() is None
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, np.ones(SMALL + 1))


def test_small_values_stay_to_be_looked_at() -> None:
    x = leaf(1.0, 2.0)
    y = (x + 1) * 3
    y.sum().backward()
    left, right, value = y.grad_fn.seen
    assert left.tolist() == [2, 3]
    assert right == 3
    assert value is y.array
    large = cr.ones(SMALL + 1, requires_grad=True) * 2
    left, right, value = large.grad_fn.seen
    assert left == value == (SMALL + 1,)
    assert right == 2


def test_a_vector_without_gradient_is_refused_and_says_how() -> None:
    with pytest.raises(cr.ShapeError, match=r"one element.*gradient="):
        (leaf(1.0, 2.0) * 2).backward()


def test_the_gradient_from_above_must_fit() -> None:
    with pytest.raises(cr.ShapeError, match=r"\(2,\)"):
        (leaf(1.0, 2.0) * 2).backward(cr.ones(3))


def test_backward_without_any_leaf_says_why() -> None:
    with pytest.raises(cr.GraphError, match="requires_grad=True"):
        (cr.tensor([1.0]) * 2).backward()


def test_create_graph_is_refused_as_first_order() -> None:
    x = leaf(1.0)
    with pytest.raises(NotImplementedError, match="first order"):
        (x * x).backward(create_graph=True)
    with pytest.raises(NotImplementedError, match="first order"):
        cr.grad(x * x, x, create_graph=True)


def test_branches_never_share_the_array_of_a_gradient() -> None:
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    gradient = cr.ones(2)
    (a + b).backward(gradient)
    a.grad.zero_()
    np.testing.assert_array_equal(b.grad, [1, 1])
    np.testing.assert_array_equal(gradient, [1, 1])


def test_the_same_tensor_twice_in_one_operation() -> None:
    x = leaf(1.0, 2.0)
    (x + x).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 2])


def test_grad_leaves_every_grad_as_it_was_and_reaches_inner_values() -> None:
    x = leaf(2.0)
    inner = x * x
    y = inner * 3
    gx, gi = cr.grad(y, [x, inner])
    assert (gx.item(), gi.item()) == (12, 3)
    assert x.grad is None


def test_grad_of_an_unused_input() -> None:
    x, unused = leaf(2.0), leaf(1.0)
    with pytest.raises(cr.GraphError, match="allow_unused"):
        cr.grad(x * 2, [unused])
    assert cr.grad(x * 2, [x, unused], allow_unused=True)[1] is None


def test_grad_walks_only_what_leads_to_the_inputs() -> None:
    x, w = leaf(2.0), leaf(5.0)
    ran: list[str] = []

    class Watched(cr.Function):
        @staticmethod
        def forward(ctx, v):
            return v * 1

        @staticmethod
        def backward(ctx, g):
            ran.append("yes")
            return g

    y = x * Watched.apply(w)
    (gx,) = cr.grad(y, [x], retain_graph=True)
    assert gx.item() == 5
    assert ran == []
    cr.grad(y, [w])
    assert ran == ["yes"]


def test_hooks_on_leaves_see_the_whole_gradient_once() -> None:
    x = leaf(3.0)
    seen: list[float] = []
    x.register_hook(lambda g: seen.append(g.item()))
    (x * x + x).backward()
    assert seen == [7]


def test_hooks_on_inner_values_replace_the_gradient_and_can_be_removed() -> None:
    x = leaf(3.0)
    y = x * 2
    handle = y.register_hook(lambda g: g * 10)
    (y * 1).backward(retain_graph=True)
    assert x.grad.item() == 20
    handle.remove()
    x.grad = None
    (y * 1).backward()
    assert x.grad.item() == 2


def test_retain_grad_keeps_inner_gradients() -> None:
    x = leaf(3.0)
    y = x * 2
    y.retain_grad()
    (y * y).backward()
    assert y.grad.item() == 12
    assert x.grad.item() == 24


def test_a_saved_value_written_in_place_is_noticed() -> None:
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = (x * w).sum()
    with cr.no_grad():
        w.mul_(2)
    with pytest.raises(cr.GraphError, match=r"Mul\(\).*written in place"):
        y.backward()


def test_a_write_through_a_view_is_noticed_too() -> None:
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = (x * w).sum()
    w.detach()[0:1].fill_(7)
    with pytest.raises(cr.GraphError, match="written in place"):
        y.backward()


def test_writing_a_value_that_was_not_saved_is_fine() -> None:
    x, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = (x + b).sum()
    with cr.no_grad():
        b.add_(1)
    y.backward()
    np.testing.assert_array_equal(b.grad, [1, 1])


def test_no_grad_records_nothing_and_enable_grad_does_within() -> None:
    x = leaf(1.0)
    with cr.no_grad():
        assert not (x * 2).requires_grad
        with cr.enable_grad():
            assert (x * 2).requires_grad
    assert (x * 2).requires_grad

    @cr.no_grad()
    def evaluate() -> cr.Tensor:
        return x * 2

    assert not evaluate().requires_grad
    assert not cr.no_grad(lambda: x * 2)().requires_grad


def test_detect_anomaly_names_the_forward_and_the_line() -> None:
    where = r"(?s)forward of Log\(.*\).*test_graph.py:\d+"
    with cr.detect_anomaly(), pytest.raises(cr.AnomalyError, match=where):
        cr.log(leaf(-1.0))


def test_detect_anomaly_names_the_backward_and_the_line_of_its_forward() -> None:
    with cr.detect_anomaly():
        y = cr.sqrt(leaf(0.0))
        with pytest.raises(cr.AnomalyError, match=r"backward of Sqrt\(\).*cr\.sqrt"):
            y.backward()


def test_gradients_in_threads_do_not_mix() -> None:
    from concurrent.futures import ThreadPoolExecutor

    def work(k: int) -> float:
        x = leaf(float(k))
        for _ in range(50):
            x.grad = None
            (x * x).backward()
        return x.grad.item()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(20))) == [2 * k for k in range(20)]


def test_a_kernel_may_hand_out_one_fresh_array_for_two_inputs() -> None:
    class Both(cr.Function):
        @staticmethod
        def forward(ctx, a, b):
            return a + b

        @staticmethod
        def backward(ctx, g):
            shared = g * 1
            return shared, shared

    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    inner_a, inner_b = a * 1, b * 1
    y = Both.apply(inner_a, inner_b)
    (y + inner_a * 5 + inner_a * 7).sum().backward()
    np.testing.assert_array_equal(a.grad, [13, 13])
    np.testing.assert_array_equal(b.grad, [1, 1])


def test_a_kernel_may_hand_out_a_read_only_view() -> None:
    class Spread(cr.Function):
        @staticmethod
        def forward(ctx, a):
            return a.sum()

        @staticmethod
        def backward(ctx, g):
            return cr.from_numpy(np.broadcast_to(g.numpy() * 1, (2,)))

    a = leaf(1.0, 2.0)
    inner = a * 1
    (Spread.apply(inner) + inner.sum() + inner.sum()).backward()
    np.testing.assert_array_equal(a.grad, [3, 3])


def test_a_rearranged_gradient_belongs_to_its_leaf_alone() -> None:
    given = cr.ones(3, 2)
    for make in (lambda x: x.T, lambda x: x.T * 2, lambda x: (x.T * 2).reshape(3, 2)):
        x = cr.ones(2, 3, requires_grad=True)
        make(x).backward(given)
        assert x.grad is not None
        x.grad.array[...] = 7
        assert np.array_equal(given.array, np.ones((3, 2)))
    x = cr.ones(2, 3, requires_grad=True)
    (x * 2).sum().backward()
    assert x.grad is not None
    assert x.grad.array.flags.writeable
    x = cr.ones(2, requires_grad=True)
    y = x * 1
    y.retain_grad()
    (y.reshape(2, 1) * 3).sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert not np.shares_memory(x.grad.array, y.grad.array)
