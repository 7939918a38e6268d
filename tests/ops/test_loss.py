"""Losses: values by loops over Python numbers, the slides' answers, edges, errors."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

import chainrule as cr
from chainrule.ops.loss import L1Loss, MSELoss
from chainrule.ops.loss_binary import BinaryCrossEntropyWithLogits
from chainrule.ops.loss_class import CrossEntropy, SoftCrossEntropy
from chainrule.ops.loss_labels import NLLLoss
from chainrule.ops.loss_margin import MultiMarginLoss

F = cr.nn.functional
RNG = np.random.default_rng(0)
NAN, INF = np.nan, np.inf
SCORES = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])  # cat, car, frog
RIGHT = np.array([0, 1, 2])
each_reduction = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])


def value(tensor):
    return tensor.detach().numpy()


def gradients(function, *arrays):
    """Give the gradients of the sum of a function's value by each float array."""
    leaves = [cr.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    function(*leaves).sum().backward()
    return [None if leaf.grad is None else leaf.grad.numpy() for leaf in leaves]


def reduce(errors, reduction, divisor=None):
    if reduction == "none":
        return errors
    divisor = np.size(errors) if divisor is None else divisor
    return np.sum(errors) / (divisor if reduction == "mean" else 1)


# The slides' answers


def test_the_slides_svm():
    """deck 002 prints 10.9 for the third image, by two slips; 12.9 is right."""
    mine = value(F.multi_margin_loss(cr.tensor(SCORES), cr.tensor(RIGHT), reduction="none"))
    np.testing.assert_allclose(3 * mine, [2.9, 0, 12.9], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(mine, [0.9667, 0, 4.3], atol=5e-5)
    mean = 3 * F.multi_margin_loss(cr.tensor(SCORES), cr.tensor(RIGHT)).item()
    assert math.isclose(mean, 5.2667, abs_tol=5e-5)


def test_the_slides_softmax_loss():
    losses = value(F.cross_entropy(cr.tensor(SCORES), cr.tensor(RIGHT), reduction="none"))
    assert math.isclose(losses[0], 2.04036, abs_tol=5e-6)
    assert math.isclose(math.exp(-losses[0]), 0.12998, abs_tol=5e-6)


def test_the_slides_squared_error():
    o, y = RNG.standard_normal((2, 5))
    half = gradients(lambda o, y: 0.5 * F.mse_loss(o, y, reduction="sum"), o, y)[0]
    np.testing.assert_allclose(half, o - y)
    whole = gradients(lambda o, y: F.mse_loss(o, y, reduction="sum"), o, y)[0]
    np.testing.assert_allclose(whole, 2 * (o - y))
    mean = gradients(F.mse_loss, o, y)[0]
    np.testing.assert_allclose(mean, 2 * (o - y) / 5)


def test_the_gradient_of_softmax_loss_is_p_minus_one_hot():
    gx = gradients(F.cross_entropy, SCORES, RIGHT)[0]
    np.testing.assert_allclose(gx, (special.softmax(SCORES, 1) - np.eye(3)) / 3, atol=1e-15)


# By loops


@each_reduction
def test_squared_and_absolute_error(reduction):
    x, t, w = RNG.standard_normal((3, 4, 5))
    w = abs(w)
    for function, error in ((F.mse_loss, lambda d: d * d), (F.l1_loss, abs)):
        y = value(function(cr.tensor(x), cr.tensor(t), reduction=reduction))
        np.testing.assert_allclose(y, reduce(error(x - t), reduction), rtol=1e-13)
        y = value(function(cr.tensor(x), cr.tensor(t), reduction=reduction, weight=cr.tensor(w)))
        np.testing.assert_allclose(y, reduce(w * error(x - t), reduction, w.sum()), rtol=1e-13)


def slow_cross_entropy(x, t, w, ignored, smoothing, reduction):
    """Cross-entropy of (N, C) scores by loops and math.fsum."""
    errors, counted = [], []
    for scores, label in zip(x.tolist(), t.tolist(), strict=True):
        if label == ignored:
            errors.append(0.0)
            continue
        top = max(scores)
        log_sum = top + math.log(math.fsum(math.exp(s - top) for s in scores))
        q = [smoothing / len(scores)] * len(scores)
        q[label] += 1 - smoothing
        each = [-w[c] * q[c] * (scores[c] - log_sum) for c in range(len(scores))]
        # The smoothing's share is not weighted by the label's weight but by each class's own.
        errors.append(math.fsum(each))
        counted.append(w[label])
    return reduce(np.array(errors), reduction, math.fsum(counted))


@each_reduction
@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy(reduction, smoothing, weighted):
    x, t = 4 * RNG.standard_normal((40, 6)), RNG.integers(0, 6, 40)
    w = RNG.uniform(0.1, 3, 6) if weighted else np.ones(6)
    y = F.cross_entropy(
        cr.tensor(x), cr.tensor(t), cr.tensor(w) if weighted else None,
        ignore_index=2, label_smoothing=smoothing, reduction=reduction,
    )  # fmt: skip
    expected = slow_cross_entropy(x, t, w, 2, smoothing, reduction)
    np.testing.assert_allclose(value(y), expected, rtol=1e-12)


@each_reduction
def test_places_are_images_too(reduction):
    """(N, C, H, W) with (N, H, W) labels is (N * H * W, C) with as many labels."""
    x, t = RNG.standard_normal((2, 5, 3, 4)), RNG.integers(0, 5, (2, 3, 4))
    w = RNG.uniform(0.1, 3, 5)
    options = {"reduction": reduction, "ignore_index": 3}
    flat = np.moveaxis(x, 1, -1).reshape(-1, 5)
    for name in ("cross_entropy", "nll_loss"):
        function = getattr(F, name)
        wide = value(function(cr.tensor(x), cr.tensor(t), cr.tensor(w), **options))
        narrow = value(function(cr.tensor(flat), cr.tensor(t.reshape(-1)), cr.tensor(w), **options))
        np.testing.assert_allclose(np.reshape(wide, narrow.shape), narrow, rtol=1e-13)


def test_cross_entropy_is_log_softmax_then_nll():
    x, t, w = RNG.standard_normal((7, 4)), RNG.integers(0, 4, 7), RNG.uniform(0.1, 3, 4)
    two = lambda x, t, w: F.nll_loss(F.log_softmax(x, 1), t, w)  # noqa: E731
    one = lambda x, t, w: F.cross_entropy(x, t, w)  # noqa: E731
    inputs = [cr.tensor(v) for v in (x, t, w)]
    assert math.isclose(one(*inputs).item(), two(*inputs).item(), rel_tol=1e-14)
    for a, b in zip(gradients(one, x, t, w), gradients(two, x, t, w), strict=True):
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-14)


@each_reduction
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_one_hot_probabilities_are_labels(reduction, smoothing):
    x, t = RNG.standard_normal((7, 4)), RNG.integers(0, 4, 7)
    options = {"reduction": reduction, "label_smoothing": smoothing}
    a = value(F.cross_entropy(cr.tensor(x), cr.tensor(t), **options))
    b = value(F.cross_entropy(cr.tensor(x), cr.tensor(np.eye(4)[t]), **options))
    np.testing.assert_allclose(a, b, rtol=1e-13)


@each_reduction
def test_nll(reduction):
    x, t, w = RNG.standard_normal((9, 4)), RNG.integers(0, 4, 9), RNG.uniform(0.1, 3, 4)
    expected = [-w[c] * x[i, c] for i, c in enumerate(t)]
    y = value(F.nll_loss(cr.tensor(x), cr.tensor(t), cr.tensor(w), reduction=reduction))
    np.testing.assert_allclose(y, reduce(np.array(expected), reduction, w[t].sum()), rtol=1e-13)


@each_reduction
@pytest.mark.parametrize("p", [1, 2])
def test_multi_margin(reduction, p):
    x, t, w = RNG.standard_normal((9, 4)), RNG.integers(0, 4, 9), RNG.uniform(0.1, 3, 4)
    expected = [
        sum(w[c] * max(0, 0.7 - x[i, c] + x[i, j]) ** p for j in range(4) if j != c) / 4
        for i, c in enumerate(t)
    ]
    y = F.multi_margin_loss(cr.tensor(x), cr.tensor(t), p, 0.7, cr.tensor(w), reduction=reduction)
    np.testing.assert_allclose(value(y), reduce(np.array(expected), reduction), rtol=1e-12)


@each_reduction
def test_binary_cross_entropy(reduction):
    x, t = 3 * RNG.standard_normal((4, 5)), RNG.random((4, 5))
    w, v = RNG.uniform(0.1, 3, 5), RNG.uniform(0.1, 3, (4, 1))
    expected = -w * (v * t * special.log_expit(x) + (1 - t) * special.log_expit(-x))
    y = F.binary_cross_entropy_with_logits(
        cr.tensor(x), cr.tensor(t), cr.tensor(w), reduction=reduction, pos_weight=cr.tensor(v)
    )
    np.testing.assert_allclose(value(y), reduce(expected, reduction), rtol=1e-12)
    expected = -w * (t * special.log_expit(x) + (1 - t) * special.log_expit(-x))
    y = F.binary_cross_entropy(
        cr.tensor(special.expit(x)), cr.tensor(t), cr.tensor(w), reduction=reduction
    )
    np.testing.assert_allclose(value(y), reduce(expected, reduction), rtol=1e-10)


# Precision and extremes


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e4, 1e4), st.booleans())
def test_binary_cross_entropy_keeps_its_digits(x, t):
    """Relative precision, however sure the right answer is."""
    y = F.binary_cross_entropy_with_logits(
        cr.tensor(np.array([x])), cr.tensor(np.array([t], float))
    )
    expected = float(np.logaddexp(0, -x if t else x))
    assert math.isclose(y.item(), expected, rel_tol=1e-13, abs_tol=1e-300)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=2, max_size=6), st.data())
def test_cross_entropy_of_any_finite_scores_is_finite(scores, data):
    label = data.draw(st.integers(0, len(scores) - 1))
    x = cr.tensor([scores], requires_grad=True)
    loss = F.cross_entropy(x, cr.tensor([label]))
    loss.backward()
    assert 0 <= loss.item() < INF
    assert np.isfinite(x.grad.numpy()).all()
    assert abs(x.grad.numpy().sum()) < 1e-6


def test_nothing_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = cr.tensor([[INF, 1.0], [-INF, -INF], [NAN, 0.0]], requires_grad=True)
        for loss in (
            F.cross_entropy(x, cr.tensor([0, 1, 0])),
            F.cross_entropy(x, cr.tensor([-100] * 3)),
            F.cross_entropy(x, cr.tensor([0, 1, -100]), label_smoothing=0.1),
            F.cross_entropy(x, cr.zeros(3, 2)),
            F.nll_loss(x, cr.tensor([-100] * 3)),
            F.multi_margin_loss(x, cr.tensor([0, 1, 0])),
            F.mse_loss(x, x),
            F.l1_loss(x, cr.zeros(3, 2)),
            F.binary_cross_entropy_with_logits(x, cr.ones(3, 2)),
            F.binary_cross_entropy(
                cr.tensor([0.0, 1.0], requires_grad=True), cr.tensor([1.0, 0.0])
            ),
        ):
            loss.backward()


def test_nothing_gives_nan_for_the_mean_and_zero_for_the_sum():
    none, labels = cr.zeros(0, 3), cr.zeros(0, dtype=cr.int64)
    cases = [
        (F.mse_loss, none, none),
        (F.l1_loss, none, none),
        (F.binary_cross_entropy, none, none),
        (F.binary_cross_entropy_with_logits, none, none),
        (F.cross_entropy, none, labels),
        (F.cross_entropy, none, none),
        (F.nll_loss, none, labels),
        (F.multi_margin_loss, none, labels),
        (F.cross_entropy, cr.zeros(2, 3), cr.tensor([-100, -100])),
        (F.nll_loss, cr.zeros(2, 3), cr.tensor([-100, -100])),
    ]
    for function, x, t in cases:
        x = x.detach().requires_grad_()
        assert math.isnan(function(x, t).item()), function
        assert function(x, t, reduction="sum").item() == 0, function
        assert function(x, t, reduction="none").numel() == t.numel() or t.ndim == 2
        function(x, t).backward()
        assert not x.grad.numpy().any(), function


def test_ignored_places_count_for_nothing():
    x, t = RNG.standard_normal((4, 3)), np.array([0, 7, 2, 7])
    for function in (F.cross_entropy, F.nll_loss):
        loss = function(cr.tensor(x), cr.tensor(t), ignore_index=7)
        assert loss.item() == function(cr.tensor(x[::2]), cr.tensor(t[::2])).item()
        gx = gradients(lambda a, b, f=function: f(a, b, ignore_index=7), x, t)[0]
        assert not gx[1::2].any()
        assert gx[::2].any()


def test_the_mean_of_many_stays_accurate():
    """A million float32 places."""
    x = RNG.standard_normal((1000, 2, 1000)).astype(np.float32)
    t = RNG.integers(0, 2, (1000, 1000))
    exact = float(
        np.mean(np.logaddexp(0, np.diff(x.astype(np.float64), axis=1)[:, 0] * (1 - 2 * t)))
    )
    assert math.isclose(F.cross_entropy(cr.tensor(x), cr.tensor(t)).item(), exact, rel_tol=1e-6)
    half = x[:, 0].astype(np.float16)
    mean = F.mse_loss(cr.tensor(half), cr.tensor(half * 0)).item()
    assert math.isclose(mean, float((half.astype(float) ** 2).mean()), rel_tol=1e-3)


def test_nan_at_ignored_places_stays_there():
    x, t, w = np.array([[NAN, NAN], [1.0, 2.0]]), np.array([-100, 1]), np.array([0.5, 2.0])
    for function in (F.cross_entropy, F.nll_loss):
        errors = function(cr.tensor(x), cr.tensor(t), reduction="none").tolist()
        assert errors[0] == 0
        assert math.isfinite(function(cr.tensor(x), cr.tensor(t)).item())
        assert np.isfinite(gradients(function, x, t, w)[2]).all()
    assert math.isfinite(F.cross_entropy(cr.tensor(x), cr.tensor(t), label_smoothing=0.1).item())


def test_infinite_logits_of_binary_cross_entropy():
    """As PyTorch answers: -inf is 0 * inf or inf - inf somewhere in the formula."""
    x, errors = cr.tensor([INF, -INF]), []
    for t in (0.0, 1.0):
        y = F.binary_cross_entropy_with_logits(x, cr.tensor([t, t]), reduction="none")
        errors.append(y.tolist())
    np.testing.assert_equal(errors, [[INF, NAN], [NAN, NAN]])


def test_no_class_is_a_mean_of_nothing():
    assert math.isnan(F.cross_entropy(cr.zeros(2, 0), cr.zeros(2, 0)).item())
    assert F.cross_entropy(cr.zeros(2, 0), cr.zeros(2, 0), reduction="none").tolist() == [0, 0]


def test_margins_of_nan_do_not_count():
    x = cr.tensor([[NAN, 0.0, 2.0], [1.0, NAN, 2.0]])
    y = F.multi_margin_loss(x, cr.tensor([0, 0]), reduction="none")
    np.testing.assert_allclose(value(y), [0, 2 / 3], rtol=1e-6)


# Kinks


def test_kinks():
    gx, gt = gradients(F.l1_loss, np.array([1.0, 2.0, NAN]), np.array([1.0, 3.0, 0.0]))
    assert gx.tolist() == [0, -1 / 3, 0]
    assert gt.tolist() == [0, 1 / 3, 0]
    gx = gradients(F.multi_margin_loss, np.array([[1.0, 0.0, 2.0]]), np.array([0]))[0]
    np.testing.assert_allclose(gx, [[-1 / 3, 0, 1 / 3]])


def test_binary_cross_entropy_is_cut_at_100():
    x, t = np.array([0.0, 1.0]), np.array([1.0, 0.0])
    y = F.binary_cross_entropy(cr.tensor(x), cr.tensor(t), reduction="none")
    assert y.tolist() == [100, 100]
    np.testing.assert_allclose(gradients(F.binary_cross_entropy, x, t)[0], [-5e11, 5e11])


# Dtypes and layouts


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes_are_kept(dtype):
    kind = np.dtype(dtype)
    x = cr.tensor(RNG.random((4, 3)).astype(kind), requires_grad=True)
    t = cr.tensor(RNG.random((4, 3)).astype(kind))
    labels, w = cr.tensor([0, 1, 2, 0]), cr.ones(3, dtype=kind)
    for function, *rest in (
        (F.mse_loss, t), (F.l1_loss, t), (F.binary_cross_entropy, t, w), (F.cross_entropy, t, w),
        (F.binary_cross_entropy_with_logits, t, w), (F.cross_entropy, labels, w),
        (F.nll_loss, labels, w), (F.multi_margin_loss, labels),
    ):  # fmt: skip
        for reduction in ("mean", "sum", "none"):
            x.grad = None
            y = function(x, *rest, reduction=reduction)
            assert y.dtype == kind
            y.sum().backward()
            assert x.grad.dtype == kind


def test_two_dtypes():
    """The wider of the two, but of binary cross-entropy the target's, as in PyTorch."""
    x, t = cr.tensor([0.25, 0.5]), cr.tensor(np.array([0.5, 1.0]))
    for function in (F.mse_loss, F.l1_loss, F.cross_entropy):
        assert function(x, t).dtype == np.float64
        assert function(t, x).dtype == np.float64
    assert F.binary_cross_entropy_with_logits(x, t).dtype == np.float64
    assert F.binary_cross_entropy_with_logits(t, x).dtype == np.float32
    assert F.l1_loss(cr.tensor([1, 2]), cr.tensor([3, 5]), reduction="none").tolist() == [2, 3]
    small = cr.tensor(np.array([3, 200], np.uint8))
    total = F.l1_loss(small, cr.tensor(np.zeros(2, np.uint8)), reduction="sum")
    assert (total.item(), total.dtype) == (203, np.int64)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64"])
def test_labels_of_any_integer_kind(dtype):
    t = cr.tensor(RIGHT.astype(dtype))
    for function in (F.cross_entropy, F.nll_loss, F.multi_margin_loss):
        a, b = function(cr.tensor(SCORES), t), function(cr.tensor(SCORES), cr.tensor(RIGHT))
        assert a.item() == b.item()


def test_cross_entropy_keeps_channels_last():
    x = RNG.standard_normal((2, 4, 5, 3)).transpose(0, 3, 1, 2)
    for t in (RNG.integers(0, 3, (2, 4, 5)), np.abs(x)):
        leaf = cr.Tensor(x, requires_grad=True)
        F.cross_entropy(leaf, cr.Tensor(t)).backward()
        assert leaf.grad.array.strides == x.strides


# Arguments


def test_the_flags_of_old():
    x, t = cr.tensor(SCORES), cr.tensor(RIGHT)
    for options, reduction in (
        ({"size_average": False}, "sum"),
        ({"reduce": False}, "none"),
        ({"size_average": True}, "mean"),
        ({"size_average": False, "reduce": False}, "none"),
    ):
        with pytest.warns(UserWarning, match=f"write reduction='{reduction}'") as seen:
            y = F.cross_entropy(x, t, **options)
        assert seen[0].filename == __file__
        assert np.array_equal(value(y), value(F.cross_entropy(x, t, reduction=reduction)))


def test_sizes_that_differ_warn_at_the_caller():
    for function in (F.mse_loss, F.l1_loss):
        with pytest.warns(UserWarning, match=r"input \(2, 3\) and target \(3,\) differ") as seen:
            y = function(cr.zeros(2, 3), cr.tensor([1.0, 1.0, 1.0]))
        assert seen[0].filename == __file__
        assert y.item() == 1


ONES, THREE = cr.ones(3, 4), cr.tensor([0, 1, 2])


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: F.cross_entropy(ONES, cr.tensor([0, 1, 7])), IndexError,
         "cross_entropy: expected labels in 0..3; got label 7, position (2,); in CrossEntropy("
         "reduction='mean', ignore_index=-100, label_smoothing=0.0); the one label that is "
         "ignored is -100"),
        (lambda: F.nll_loss(ONES, cr.tensor([0, -1, 7])), IndexError,
         "nll_loss: expected labels in 0..3; got label -1, position (1,)"),
        (lambda: F.nll_loss(ONES, cr.tensor([-1, 5, -1]), ignore_index=-1), IndexError,
         "label 5, position (1,)"),
        (lambda: F.cross_entropy(cr.ones(2, 3, 2), cr.tensor([[0, 1], [3, 2]])), ValueError,
         "labels in 0..2; got label 3, position (1, 0)"),
        (lambda: F.cross_entropy(cr.ones(4), cr.tensor(4)), IndexError, "label 4, position ()"),
        (lambda: F.multi_margin_loss(ONES, cr.tensor([0, 1, 4])), IndexError,
         "multi_margin_loss: expected labels in 0..3; got label 4, position (2,)"),
        (lambda: F.cross_entropy(cr.ones(2, 0), cr.tensor([0, -100])), IndexError,
         "expected at least one class; got label 0, position (0,)"),
        (lambda: F.nll_loss(cr.ones(2, 0), cr.tensor([-100, -100])), IndexError,
         "expected at least one class; got label -100, position (0,)"),
        (lambda: F.cross_entropy(ONES, cr.tensor([0, 1])), ValueError,
         "cross_entropy: expected batch sizes that agree: 3 = 2; got input float32 (3, 4), "
         "target int64 (2,)"),
        (lambda: F.cross_entropy(cr.ones(2, 4, 5), cr.ones(2, 6, dtype=cr.int64)), RuntimeError,
         "expected labels (2, 5) for scores (2, 4, 5)"),
        (lambda: F.cross_entropy(cr.tensor(1.0), cr.tensor([0])), ValueError,
         "expected scores (C,), (N, C) or (N, C, d1, ...)"),
        (lambda: F.cross_entropy(ONES, cr.tensor([0.0, 1.0, 2.0])), TypeError,
         "cross_entropy: expected integer labels (3,) or probabilities (3, 4); got input "
         "float32 (3, 4), target float32 (3,)"),
        (lambda: F.cross_entropy(ONES, cr.tensor([True, False, True])), TypeError,
         "expected integer labels (3,)"),
        (lambda: F.cross_entropy(cr.ones(3, 4, dtype=cr.int64), THREE), TypeError,
         "expected a floating-point input; got input int64 (3, 4)"),
        (lambda: F.cross_entropy(ONES, cr.ones(3, 4, dtype=cr.int64)), TypeError,
         "expected floating class probabilities (3, 4) or integer labels (3,)"),
        (lambda: F.cross_entropy(ONES, ONES, ignore_index=0), ValueError, "no ignore_index with"),
        (lambda: F.cross_entropy(ONES, THREE, label_smoothing=-0.1), ValueError,
         "expected label_smoothing in [0, 1]; got label_smoothing -0.1"),
        (lambda: F.cross_entropy(ONES, THREE, cr.ones(3)), ValueError,
         "expected a weight for each of 4 classes; got input float32 (3, 4), weight float32 (3,)"),
        (lambda: F.cross_entropy(ONES, ONES, cr.ones(3)), ValueError, "each of 4 classes"),
        (lambda: F.nll_loss(ONES, THREE, cr.ones(4, dtype=cr.float64)), TypeError,
         "expected a weight of the input's dtype; got input float32 (3, 4), weight float64 (4,)"),
        (lambda: F.nll_loss(ONES, THREE, reduction="avg"), ValueError,
         "nll_loss: expected reduction 'none', 'mean' or 'sum'; got reduction 'avg'"),
        (lambda: F.multi_margin_loss(ONES, THREE, 3), ValueError, "expected p of 1 or 2; got p 3"),
        (lambda: F.multi_margin_loss(cr.ones(2, 3, 4), THREE), ValueError,
         "expected scores (C,) or (N, C) of at least one class"),
        (lambda: F.multi_margin_loss(ONES, cr.tensor([0, 1])), ValueError,
         "expected a label for each image, 3 in all"),
        (lambda: F.mse_loss(cr.tensor([1]), cr.tensor([2])), TypeError,
         "mse_loss: expected a floating-point input or target; got input int64 (1,), target "
         "int64 (1,); convert one first: x.float()"),
        (lambda: F.l1_loss(cr.tensor([1]), cr.tensor([2])), TypeError, "floating-point input or"),
        (lambda: F.mse_loss(cr.ones(2), cr.ones(2), weight=cr.ones(1)), ValueError,
         "mse_loss: expected a weight of the input's shape (2,)"),
        (lambda: F.binary_cross_entropy(cr.tensor([0.5, 1.5]), cr.ones(2)), ValueError,
         "binary_cross_entropy: expected input values between 0 and 1; got lowest 0.5, highest "
         "1.5"),
        (lambda: F.binary_cross_entropy(cr.ones(2), cr.tensor([0.5, NAN])), RuntimeError,
         "expected target values between 0 and 1"),
        (lambda: F.binary_cross_entropy(cr.ones(2), cr.ones(2, 1)), ValueError,
         "expected a target of the input's shape (2,)"),
        (lambda: F.binary_cross_entropy(cr.ones(2), cr.ones(2, dtype=cr.float64)), TypeError,
         "expected a target of the input's dtype"),
        (lambda: F.binary_cross_entropy_with_logits(cr.ones(2), cr.tensor([1, 0])), TypeError,
         "binary_cross_entropy_with_logits: expected a floating-point target"),
        (lambda: F.binary_cross_entropy_with_logits(cr.ones(2), cr.ones(2), cr.ones(3, 2)),
         ValueError, "expected a weight that broadcasts to the input's shape, not to (3, 2)"),
        (lambda: F.binary_cross_entropy_with_logits(cr.ones(2), cr.ones(2), pos_weight=cr.ones(3)),
         ValueError, "expected sizes that are equal or 1, where axis -1 has 2 and 3"),
    ],
)  # fmt: skip
def test_errors(call, kind, text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(kind) as caught:
            call()
    assert text in str(caught.value)
    assert isinstance(caught.value, cr.ChainruleError)


def test_bare_arrays():
    """As `chainrule.flat` uses them."""
    loss, saved = CrossEntropy().forward(np, SCORES, RIGHT)
    dx, dt = CrossEntropy().backward(np, saved, np.ones(()), (True, False))
    assert math.isclose(float(loss[0]), F.cross_entropy(cr.tensor(SCORES), cr.tensor(RIGHT)).item())
    np.testing.assert_allclose(dx, (special.softmax(SCORES, 1) - np.eye(3)) / 3, atol=1e-15)
    assert dt is None
    (svm,), saved = MultiMarginLoss(reduction="none").forward(np, SCORES, RIGHT)
    np.testing.assert_allclose(3 * svm, [2.9, 0, 12.9], rtol=1e-12, atol=1e-15)
    dx, _ = MultiMarginLoss(reduction="none").backward(np, saved, np.full(3, 3.0), (True, False))
    np.testing.assert_allclose(dx, [[-1, 1, 0], [0, 0, 0], [1, 1, -2]])


def test_names_in_errors_are_the_functions():
    named = (MSELoss, L1Loss, NLLLoss, CrossEntropy, SoftCrossEntropy, MultiMarginLoss)
    assert [op().name for op in named] == (
        ["mse_loss", "l1_loss", "nll_loss", "cross_entropy", "cross_entropy", "multi_margin_loss"]
    )
    assert BinaryCrossEntropyWithLogits().name == "binary_cross_entropy_with_logits"
