"""Dropout: the law of the mask, what comes back untouched, generators, errors."""

import warnings

import numpy as np
import pytest

import chainrule as cr
from chainrule.ops.dropout import Dropout

F = cr.nn.functional
RNG = np.random.default_rng(0)
FUNCTIONS = {
    "dropout": (30, 40),
    "dropout1d": (6, 5, 7),
    "dropout2d": (6, 5, 4, 3),
    "dropout3d": (6, 5, 2, 2, 3),
}
each = pytest.mark.parametrize("name", FUNCTIONS)


@each
def test_untouched(name):
    x = cr.tensor(RNG.standard_normal(FUNCTIONS[name]), requires_grad=True)
    function = getattr(F, name)
    for y in (
        function(x, 0.5, False),
        function(x, training=False),
        function(x, 0.0),
        function(x, 0),
    ):
        assert y is x
    integers = cr.ones(*FUNCTIONS[name], dtype=cr.int64)
    assert function(integers, training=False) is integers


@each
@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_values_are_dropped_or_scaled(name, p):
    x = cr.tensor(RNG.standard_normal(FUNCTIONS[name]), requires_grad=True)
    y = getattr(F, name)(x, p, generator=cr.Generator(3))
    ratio = y.detach().numpy() / x.detach().numpy()
    kept = ratio != 0
    np.testing.assert_allclose(ratio[kept], 1 / (1 - p), rtol=1e-12)
    assert 0 < kept.mean() < 1
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), ratio, rtol=1e-12)
    if name != "dropout":
        images = kept.reshape(30, -1)
        assert (images.all(1) | ~images.any(1)).all()


@pytest.mark.parametrize(
    ("name", "shape", "decided"),
    [
        ("dropout1d", (50, 4), 1),
        ("dropout1d", (9, 8, 4), 2),
        ("dropout2d", (9, 8), 2),
        ("dropout2d", (9, 8, 4), 2),
        ("dropout3d", (50, 2, 3, 2), 1),
        ("dropout3d", (9, 8, 2, 3, 2), 2),
    ],
)
def test_axes_with_decisions_of_their_own(name, shape, decided):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = getattr(F, name)(cr.ones(*shape), 0.5, generator=cr.Generator(2)).numpy()
    slices = y.reshape(int(np.prod(shape[:decided])), -1)
    assert (slices == slices[:, :1]).all()
    assert 0.2 < (slices[:, 0] == 0).mean() < 0.8
    for axis in range(decided):
        assert (y != y.take([0], axis)).any()


@each
def test_one_generator_repeats(name):
    x = cr.ones(*FUNCTIONS[name])
    function = getattr(F, name)
    a, b, c = (function(x, generator=cr.Generator(s)).numpy() for s in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    cr.manual_seed(5)
    first, second = function(x).numpy(), function(x).numpy()
    cr.manual_seed(5)
    assert np.array_equal(function(x).numpy(), first)
    assert not np.array_equal(first, second)
    generator = cr.Generator(1)
    function(x, 0.0, generator=generator)
    function(x, 0.5, False, generator=generator)
    function(x, 1.0, generator=generator)
    assert np.array_equal(function(x, generator=generator).numpy(), a)  # nothing was drawn


def test_the_mask_does_not_depend_on_the_layout():
    x = RNG.standard_normal((2, 3, 4, 5))
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    a, b = (F.dropout(cr.Tensor(v), generator=cr.Generator(1)).numpy() for v in (x, last))
    assert np.array_equal(a, b)


def test_p_one():
    x = cr.tensor([1.0, -2.0], requires_grad=True)
    y = F.dropout(x, 1.0)
    y.sum().backward()
    assert y.tolist() == [0, 0]
    assert x.grad.tolist() == [0, 0]
    assert F.dropout(cr.tensor([1, 2]), 1.0).dtype == np.int64


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtype_and_size(dtype):
    y = F.dropout(cr.ones(0, 3, dtype=getattr(cr, dtype)), 0.3)
    assert y.dtype == dtype
    assert F.dropout(cr.ones((), dtype=getattr(cr, dtype)), 0.3).dtype == dtype


def test_expected_value_is_kept():
    y = F.dropout(cr.ones(200_000), 0.3, generator=cr.Generator(0)).numpy()
    assert abs(y.mean() - 1) < 5 * np.sqrt(0.3 / 0.7 / 200_000)


def test_meta_tensors_draw_nothing():
    generator = cr.Generator(1)
    y = F.dropout(cr.zeros(3, 4, device="meta"), 0.5, generator=generator)
    assert y.shape == (3, 4)
    assert y.is_meta
    again = cr.Generator(1)
    assert np.array_equal(
        F.dropout(cr.ones(9), generator=generator).numpy(),
        F.dropout(cr.ones(9), generator=again).numpy(),
    )


@pytest.mark.parametrize(
    ("name", "shape", "match"),
    [
        ("dropout2d", (2, 3, 4), "three dimensions are taken as .N, C, L."),
        ("dropout2d", (2, 3), "use dropout"),
        ("dropout3d", (2, 3, 4), "use dropout"),
    ],
)
def test_unusual_dimensions_warn_at_the_caller(name, shape, match):
    with pytest.warns(UserWarning, match=match) as seen:
        getattr(F, name)(cr.ones(*shape))
    assert seen[0].filename == __file__


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: F.dropout(cr.ones(2), 1.5), ValueError,
         "dropout: expected a probability p in [0, 1]; got p 1.5"),
        (lambda: F.dropout(cr.ones(2), -0.1, False), ValueError, "got p -0.1"),
        (lambda: F.dropout(cr.ones(2), float("nan")), ValueError, "got p nan"),
        (lambda: F.dropout(cr.ones(2), "a"), TypeError, "dropout p: expected a number"),
        (lambda: F.dropout(cr.ones(2, dtype=cr.int64)), TypeError,
         "dropout: expected a floating-point input; got input int64 (2,)"),
        (lambda: F.dropout1d(cr.ones(2, 3, 4, 5)), ValueError,
         "dropout1d: expected a tensor (N, C, L) or (C, L); got input float32 (2, 3, 4, 5)"),
        (lambda: F.dropout1d(cr.ones(2), training=False), RuntimeError, "(N, C, L)"),
        (lambda: F.dropout2d(cr.ones(2)), RuntimeError,
         "dropout2d: expected a tensor with channels; got input float32 (2,)"),
        (lambda: F.dropout3d(cr.tensor(1.0)), RuntimeError, "dropout3d: expected a tensor with"),
        (lambda: cr.nn.functional.dropout([1.0]), TypeError, "wrap lists"),
    ],
)  # fmt: skip
def test_errors(call, kind, text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(kind) as caught:
            call()
    assert text in str(caught.value)
    assert isinstance(caught.value, cr.ChainruleError)


def test_the_operation_checks_its_mask():
    with pytest.raises(TypeError, match="a boolean mask"):
        cr.engine.tensor.apply(Dropout(), cr.ones(2), cr.ones(2))
    for shape in ((3,), (1, 2), (0,)):
        with pytest.raises(ValueError, match="a mask of the input's sizes, or 1"):
            cr.engine.tensor.apply(Dropout(), cr.ones(2), np.ones(shape, bool))


def test_bare_arrays():
    x, mask = np.array([1.0, 2.0, 3.0]), np.array([True, False, True])
    (y,), saved = Dropout(2.0).forward(np, x, mask)
    assert y.tolist() == [2, 0, 6]
    assert Dropout(2.0).backward(np, saved, x, (True, False))[0].tolist() == [2, 0, 6]


ALPHA = {"alpha_dropout": (60, 50), "feature_alpha_dropout": (30, 20, 4, 3)}


@pytest.mark.parametrize("name", ALPHA)
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_alpha_dropout_scales_what_stays_and_saturates_the_rest(name, p):
    x = cr.tensor(RNG.standard_normal(ALPHA[name]), requires_grad=True)
    y = getattr(F, name)(x, p, True, generator=cr.Generator(3))
    y.sum().backward()
    kept, low = x.grad.numpy() != 0, 1.0507009873554805 * 1.6732632423543772
    scale = ((1 - p) * (1 + p * low**2)) ** -0.5
    shift = scale * low * p
    expected = np.where(kept, scale * x.detach().numpy() + shift, shift - scale * low)
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(x.grad.numpy(), kept * scale, rtol=1e-12)
    assert abs(kept.mean() - (1 - p)) < 0.1
    if name.startswith("feature"):
        maps = kept.reshape(600, -1)
        assert (maps.all(1) | ~maps.any(1)).all()
        assert kept.any(axis=(1, 2, 3)).all()


def test_alpha_dropout_keeps_mean_and_variance():
    x = cr.randn(300_000, generator=cr.Generator(1))
    y = F.alpha_dropout(x, 0.3, True, generator=cr.Generator(2)).numpy()
    assert abs(y.mean()) < 0.02
    assert abs(y.var() - 1) < 0.02


@pytest.mark.parametrize("name", ALPHA)
def test_alpha_dropout_at_the_ends(name):
    function, x = getattr(F, name), cr.ones(4, 3, 2)
    for y in (function(x), function(x, 0.5, False), function(x, 0.0, True)):
        assert y is x
    assert not function(x, 1.0, True).numpy().any()
    assert function(cr.zeros(0, 3), 0.5, True).shape == (0, 3)
    meta = function(cr.zeros(4, 3, 2, device="meta"), 0.5, True)
    assert meta.is_meta
    assert meta.shape == (4, 3, 2)
    a, b = (function(x, 0.5, True, generator=cr.Generator(1)).numpy() for _ in range(2))
    assert np.array_equal(a, b)
    assert function(cr.ones(5, 4, dtype=cr.float64), 0.5, True).dtype == np.float64


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: F.alpha_dropout(cr.ones(2), 1.5), ValueError,
         "alpha_dropout: expected a probability p in [0, 1]; got p 1.5"),
        (lambda: F.alpha_dropout(cr.ones(2), "a"), TypeError, "alpha_dropout p: expected a number"),
        (lambda: F.alpha_dropout(cr.tensor([1]), 0.5, True), TypeError, "a floating-point input"),
        (lambda: F.feature_alpha_dropout(cr.ones(2), 0.5, True), RuntimeError,
         "feature_alpha_dropout: expected a tensor (N, C, ...); got input float32 (2,)"),
        (lambda: cr.feature_dropout(cr.ones(2), 0.5), RuntimeError,
         "feature_dropout: expected a tensor with channels; got input float32 (2,)"),
        (lambda: cr.feature_dropout(cr.ones(2, 2), -1), ValueError, "got p -1"),
    ],
)  # fmt: skip
def test_errors_of_the_other_dropouts(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)
    assert isinstance(caught.value, cr.ChainruleError)
