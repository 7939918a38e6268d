"""Caffe's small layers, gradient reversal and the L1 penalty: values, gradients, errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import chainrule as cr

F = cr.nn.functional
RNG = np.random.default_rng(0)
A, B, C = RNG.standard_normal((3, 2, 3, 4))


def leaf(values: Any) -> Any:
    return cr.tensor(np.array(values, np.float64), requires_grad=True)


def tensors(*arrays: Any) -> tuple[Any, ...]:
    return tuple([cr.tensor(a) for a in arrays])


@pytest.mark.parametrize(
    ("operation", "coefficients", "expected"),
    [
        ("sum", None, A + B + C),
        ("sum", (1, -0.5, 0.0), A - 0.5 * B),
        ("product", None, A * B * C),
        ("max", None, np.maximum(A, np.maximum(B, C))),
    ],
)
def test_eltwise(operation: str, coefficients: Any, expected: Any) -> None:
    y = cr.eltwise(tensors(A, B, C), operation, coefficients)
    np.testing.assert_allclose(y, expected, rtol=1e-14, atol=1e-15)
    report = cr.gradcheck(lambda *x: cr.eltwise(x, operation, coefficients), tensors(A, B, C))
    assert report, str(report)


def test_eltwise_shares_ties_evenly() -> None:
    xs = [leaf([2.0]) for _ in range(3)]
    cr.eltwise(xs, "max").sum().backward()
    np.testing.assert_allclose([x.grad.item() for x in xs], 1 / 3)


@pytest.mark.parametrize(
    ("operation", "rule"),
    [("sum", np.sum), ("asum", lambda x, axis: np.abs(x).sum(axis)),
     ("sumsq", lambda x, axis: (x * x).sum(axis)), ("mean", np.mean)],
)  # fmt: skip
@pytest.mark.parametrize("dim", [0, 1, 2, -1])
@pytest.mark.parametrize("coefficient", [1, -2.5])
def test_reduction(operation: str, rule: Any, dim: int, coefficient: float) -> None:
    axes = tuple(range(dim % 3, 3))
    y = cr.reduction(cr.tensor(A), operation, dim, coefficient)
    np.testing.assert_allclose(y, coefficient * rule(A, axis=axes), rtol=1e-13)
    np.testing.assert_allclose(cr.reduction(cr.tensor(A), operation, axis=dim), rule(A, axis=axes))
    report = cr.gradcheck(lambda x: cr.reduction(x, operation, dim, coefficient), cr.tensor(A))
    assert report, str(report)


@pytest.mark.parametrize("top_k", [1, 2, 4])
@pytest.mark.parametrize("ignored", [None, 1, -1])
def test_accuracy_by_a_loop(top_k: int, ignored: int | None) -> None:
    scores, labels = RNG.standard_normal((6, 4, 3, 2)), RNG.integers(0, 4, (6, 3, 2))
    labels[0] = 1 if ignored is None else ignored
    right, seen = np.zeros(4), np.zeros(4)
    for n, i, j in np.ndindex(labels.shape):
        label = labels[n, i, j]
        if label == ignored:
            continue
        best = np.argsort(-scores[n, :, i, j])[:top_k]
        seen[label] += 1
        right[label] += label in best
    share, each = cr.accuracy(cr.tensor(scores), cr.tensor(labels), top_k, ignored, True)
    np.testing.assert_allclose(share, right.sum() / seen.sum())
    np.testing.assert_allclose(each, right / np.maximum(seen, 1))
    assert share.dtype == each.dtype == np.float64
    assert not share.requires_grad


def test_accuracy_at_ties_and_without_labels() -> None:
    """As in Caffe a tie counts against; NaN is never right."""
    scores = cr.tensor([[1.0, 1.0, 0.0], [math.nan, 0.0, 0.0], [2.0, math.nan, 1.0]])
    labels = cr.tensor([0, 0, 0])
    assert cr.accuracy(scores, labels).item() == 0
    assert cr.accuracy(scores[:1], labels[:1], 2).item() == 1
    assert cr.accuracy(scores, labels, ignore_index=0).item() == 0
    assert cr.accuracy(scores[:0], labels[:0]).item() == 0
    assert cr.accuracy(cr.tensor([1.0, 5.0]), cr.tensor(1)).item() == 1
    assert cr.accuracy(scores, labels).dtype == np.float32


def test_argmax_top_k_by_sorting() -> None:
    x = cr.tensor(A)
    best = np.argsort(-A.reshape(2, 12), axis=1)[:, :3]
    np.testing.assert_array_equal(cr.argmax_top_k(x, 3), best)
    indices, values = cr.argmax_top_k(x, 2, out_max_val=True, dim=1)
    order = np.argsort(-A, axis=1)[:, :2]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_array_equal(values, np.take_along_axis(A, order, 1))
    assert indices.dtype == np.int64


def test_batch_reindex_adds_the_gradients_up() -> None:
    x = leaf(A)
    y = cr.batch_reindex(x, cr.tensor([1, 1, 0]))
    np.testing.assert_array_equal(y.detach(), A[[1, 1, 0]])
    y.sum().backward()
    assert x.grad[:, 0, 0].tolist() == [1, 2]


def test_crop_cuts_to_the_reference() -> None:
    x = leaf(RNG.standard_normal((2, 3, 6, 7)))
    y = cr.crop(x, cr.zeros(1, 9, 4, 3), offset=(2, 3))
    np.testing.assert_array_equal(y.detach(), x.detach().numpy()[:, :, 2:6, 3:6])
    y.sum().backward()
    assert x.grad.sum().item() == y.detach().numpy().size
    np.testing.assert_array_equal(
        cr.crop(x, (1, 1, 5, 5), 2, 1).detach(), x.detach()[:, :, 1:6, 1:6]
    )
    assert cr.crop(x, (2, 2, 5, 5), axis=-3, offset=0).shape == (2, 2, 5, 5)


def test_filter_keeps_what_is_selected() -> None:
    x = leaf(A)
    kept, labels = cr.filter_batch((x, cr.tensor([7, 8])), cr.tensor([[0.0], [1.0]]))
    np.testing.assert_array_equal(kept.detach(), A[1:])
    assert labels.tolist() == [8]
    kept.sum().backward()
    assert x.grad[:, 0, 0].tolist() == [0, 1]


def test_inner_product_flattens() -> None:
    w, b = RNG.standard_normal((5, 12)), RNG.standard_normal(5)
    expected = A.reshape(2, 12) @ w.T + b
    np.testing.assert_allclose(cr.inner_product(*tensors(A, w, b)), expected)
    np.testing.assert_allclose(cr.inner_product(*tensors(A, w.T, b), transpose=True), expected)
    rows = cr.inner_product(cr.tensor(A), cr.tensor(w[:, :4]), dim=2)
    np.testing.assert_allclose(rows, A @ w[:, :4].T)


def test_binary_threshold_is_strict() -> None:
    y = cr.binary_threshold(cr.tensor([0.0, 0.5, 0.6, math.nan]), 0.5)
    assert y.tolist() == [0, 0, 1, 0]
    assert y.dtype == np.float32
    assert cr.binary_threshold(cr.tensor([1, 2]), 1).tolist() == [0, 1]


@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (2.0, 0.5), (-1, 3)])
def test_power_exponential_and_logarithm(scale: float, shift: float) -> None:
    x = RNG.uniform(0.2, 2.0, 6)
    inner = shift + scale * x
    cases: list[tuple[Any, Any]] = [
        (lambda t: cr.scaled_power(t, 2.5, scale, shift), inner**2.5),
        (lambda t: cr.scaled_power(t, 1, scale, shift), inner),
        (lambda t: cr.scaled_exp(t, None, scale, shift), np.exp(inner)),
        (lambda t: cr.scaled_exp(t, 3, scale, shift), 3**inner),
        (lambda t: cr.scaled_log(t, None, scale, shift), np.log(inner)),
        (lambda t: cr.scaled_log(t, 10, scale, shift), np.log10(inner)),
    ]
    for ours, expected in cases:
        np.testing.assert_allclose(ours(cr.tensor(x)), expected, rtol=1e-13)
        report = cr.gradcheck(ours, cr.tensor(x))
        assert report, str(report)


@pytest.mark.parametrize("scale", [1.0, 0.25, -2, 0])
def test_gradient_reversal(scale: float) -> None:
    x, gy = leaf(A), RNG.standard_normal(A.shape)
    y = cr.gradient_reversal(x, scale)
    np.testing.assert_array_equal(y.detach(), A)
    y.backward(cr.tensor(gy))
    np.testing.assert_array_equal(x.grad, -scale * gy)


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("passes", [True, False])
def test_l1_penalty_is_the_gradient_of_a_loss_beside(average: bool, passes: bool) -> None:
    values = A.copy()
    values[0, 0, 0] = 0
    x, gy = leaf(values), RNG.standard_normal(A.shape)
    y = cr.l1_penalty(x, 0.3, average, passes)
    np.testing.assert_array_equal(y.detach(), values)
    y.backward(cr.tensor(gy))
    beside = leaf(values)
    penalty = 0.3 * (beside.abs().mean() if average else beside.abs().sum())
    (penalty + ((beside * cr.tensor(gy)).sum() if passes else 0)).backward()
    np.testing.assert_allclose(x.grad, beside.grad, rtol=1e-13)


ROWS = cr.ones(2, 3)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: cr.eltwise((ROWS, cr.ones(3))), ValueError,
         "eltwise: expected tensors of one shape, at least one; got shapes [(2, 3), (3,)]"),
        (lambda: cr.eltwise(()), ValueError, "at least one"),
        (lambda: cr.eltwise(ROWS), TypeError, "a tuple or list of tensors"),
        (lambda: cr.eltwise((ROWS,), "min"), ValueError, 'operation "sum", "product" or "max"'),
        (lambda: cr.eltwise((ROWS,), "max", (1,)), ValueError, "coefficients for sums alone"),
        (lambda: cr.eltwise((ROWS,), "sum", (1, 2)), ValueError, "one for each of 1 inputs"),
        (lambda: cr.eltwise((ROWS,), "sum", ("a",)), TypeError, "eltwise coefficients"),
        (lambda: cr.reduction(ROWS, "prod"), ValueError, "one of ('sum', 'asum'"),
        (lambda: cr.reduction(ROWS, dim=2), IndexError, "reduction: expected dim in [-2, 1]"),
        (lambda: cr.reduction(ROWS, coefficient="a"), TypeError, "reduction coefficient"),
        (lambda: cr.accuracy(ROWS, cr.tensor([0, 3])), IndexError, "accuracy: expected labels in"),
        (lambda: cr.accuracy(ROWS, cr.tensor([0])), ValueError, "batch sizes that agree"),
        (lambda: cr.accuracy(ROWS, cr.tensor([0, 1]), 4), ValueError, "top_k in [1, 3]"),
        (lambda: cr.accuracy(ROWS, cr.tensor([0, 1]), 0), ValueError, "top_k in [1, 3]"),
        (lambda: cr.accuracy(ROWS, cr.tensor([0, 1]), 1.0), TypeError, "accuracy top_k"),
        (lambda: cr.accuracy(ROWS, cr.tensor([0, 1]), 1, "a"), TypeError, "accuracy ignore_index"),
        (lambda: cr.accuracy(ROWS, cr.tensor([0, 1]), per_class=1), TypeError, "per_class"),
        (lambda: cr.argmax_top_k(ROWS, 4), ValueError, "topk: expected"),
        (lambda: cr.argmax_top_k(ROWS, 1, dim=2), IndexError, "dim in [-2, 1]"),
        (lambda: cr.argmax_top_k(ROWS, 1, out_max_val=1), TypeError, "out_max_val"),
        (lambda: cr.batch_reindex(ROWS, cr.tensor([2])), IndexError, "indices in [-2, 1]"),
        (lambda: cr.batch_reindex(ROWS, cr.tensor([[0]])), ValueError, "a vector of indices"),
        (lambda: cr.batch_reindex(ROWS, cr.tensor([0.0])), TypeError, "an index of integers"),
        (lambda: cr.crop(ROWS, (2, 4), 1), ValueError,
         "crop: expected offset + size within dim 1: 0 + 4 <= 3"),
        (lambda: cr.crop(ROWS, (2, 2), 1, -1), ValueError, "within dim 1: -1 + 2 <= 3"),
        (lambda: cr.crop(ROWS, (2,), 1), ValueError, "a reference of 2 axes"),
        (lambda: cr.crop(ROWS, 2, 1), TypeError, "crop reference"),
        (lambda: cr.crop(ROWS, (2, 2), 1, (0, 1)), ValueError, "1 or 1 offsets"),
        (lambda: cr.crop(ROWS, (2, 2)), IndexError, "crop: expected dim in [-2, 1]"),
        (lambda: cr.filter_batch((ROWS,), cr.tensor([1])), ValueError, "batches of 1"),
        (lambda: cr.inner_product(ROWS, cr.ones(4, 2)), ValueError, "in_features"),
        (lambda: cr.inner_product(ROWS, cr.ones(4, 3), transpose=1), TypeError, "transpose"),
        (lambda: cr.binary_threshold(ROWS, "a"), TypeError, "binary_threshold threshold"),
        (lambda: cr.scaled_power(ROWS, "a"), TypeError, "scaled_power power"),
        (lambda: cr.scaled_power(ROWS, 1, "a"), TypeError, "scaled_power scale"),
        (lambda: cr.scaled_exp(ROWS, shift="a"), TypeError, "scaled_exp shift"),
        (lambda: cr.scaled_exp(ROWS, -1), ValueError, "a base above 0, or None for e"),
        (lambda: cr.scaled_log(ROWS, 1), ValueError, "a base other than 1"),
        (lambda: cr.gradient_reversal(cr.tensor([1])), TypeError, "a floating-point input"),
        (lambda: cr.gradient_reversal(ROWS, "a"), TypeError, "gradient_reversal scale"),
        (lambda: cr.l1_penalty(cr.tensor([1]), 1.0), TypeError, "a floating-point input"),
        (lambda: cr.l1_penalty(ROWS, "a"), TypeError, "l1_penalty l1weight"),
        (lambda: cr.l1_penalty(ROWS, 1.0, 2), TypeError, "l1_penalty size_average"),
        (lambda: cr.l1_penalty(ROWS, 1.0, True, 2), TypeError, "l1_penalty provide_output"),
    ],
)  # fmt: skip
def test_errors(call: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)
    assert isinstance(caught.value, cr.ChainruleError)
