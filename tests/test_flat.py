"""The lecture's pairs: values by loops, gradients by central differences, shapes, refusals."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import flat

RNG = np.random.default_rng(3)

Arrays = dict[str, np.ndarray]


def normal(*shape: int) -> np.ndarray:
    """Values far from ties and from 0."""
    size = int(np.prod(shape))
    ranks = RNG.permutation(size) - size // 2 + 0.5
    return (0.2 * ranks + RNG.uniform(-0.02, 0.02, size)).reshape(shape)


def numerical(fn: Callable[[np.ndarray], np.ndarray], x: np.ndarray, gy: np.ndarray) -> np.ndarray:
    """The gradient of sum(gy * fn(x)) by central differences."""
    gx, step = np.zeros_like(x), 1e-6
    for i in np.ndindex(*x.shape):
        high, low = x.copy(), x.copy()
        high[i] += step
        low[i] -= step
        gx[i] = (gy * (fn(high) - fn(low))).sum() / (2 * step)
    return gx


# name, forward of keyword arrays, backward of (gy, arrays) -> gradients by name, arrays
Pair = tuple[Callable[..., Any], Callable[..., dict[str, Any]], Arrays]


def fc_pair(x: np.ndarray, b: np.ndarray | None = None) -> Pair:
    arrays = {"x": x, "w": normal(4, 5)} | ({} if b is None else {"b": b})

    def backward(gy: np.ndarray, x: Any, w: Any, b: Any = None) -> dict[str, Any]:
        dx, dw, db = flat.fc_back(gy, x, w)
        return {"x": dx, "w": dw} | ({} if b is None else {"b": db})

    return flat.fc, backward, arrays


def conv_pair(x: np.ndarray, w: np.ndarray, b: Any, **settings: Any) -> Pair:
    def forward(x: Any, w: Any, b: Any) -> np.ndarray:
        return flat.conv(x, w, b, **settings)

    def backward(gy: np.ndarray, x: Any, w: Any, b: Any) -> dict[str, Any]:
        dx, dw, db = flat.conv_back(gy, x, w, b, **settings)
        return {"x": dx, "w": dw, "b": db}

    return forward, backward, {"x": x, "w": w, "b": np.asarray(b)}


def single_pair(name: str, x: np.ndarray, *settings: Any) -> Pair:
    forward, back = getattr(flat, name), getattr(flat, f"{name}_back")
    return (
        lambda x: forward(x, *settings),
        lambda gy, x: {"x": back(gy, x, *settings)},
        {"x": x},
    )


def norm_pair(x: np.ndarray, **statistics: Any) -> Pair:
    def forward(x: Any, gamma: Any, beta: Any) -> np.ndarray:
        return flat.batch_norm(x, gamma, beta, 1e-3, **statistics)

    def backward(gy: np.ndarray, x: Any, gamma: Any, beta: Any) -> dict[str, Any]:
        dx, dgamma, dbeta = flat.batch_norm_back(gy, x, gamma, 1e-3, **statistics)
        return {"x": dx, "gamma": dgamma, "beta": dbeta}

    channels = x.shape[0] if x.ndim == 3 else x.shape[1]
    return forward, backward, {"x": x, "gamma": normal(channels), "beta": normal(channels)}


PAIRS: dict[str, Pair] = {
    "fc vector": fc_pair(normal(5), normal(4)),
    "fc column": fc_pair(normal(5, 1), normal(4, 1)),
    "fc batch": fc_pair(normal(3, 5), normal(4)),
    "fc without bias": fc_pair(normal(3, 5)),
    "relu": single_pair("relu", normal(2, 3, 4)),
    "sigmoid": single_pair("sigmoid", normal(3, 4)),
    "tanh": single_pair("tanh", normal(5)),
    "softmax vector": single_pair("softmax", normal(4)),
    "softmax column": single_pair("softmax", normal(4, 1)),
    "softmax batch": single_pair("softmax", normal(3, 4)),
    "flatten image": single_pair("flatten", normal(2, 3, 4)),
    "flatten batch": single_pair("flatten", normal(2, 2, 3, 2)),
    "flatten plane": single_pair("flatten", normal(3, 4)),
    "maxpool plane": single_pair("maxpool", normal(5, 4), 2, 2),
    "maxpool image": single_pair("maxpool", normal(2, 5, 4), (3, 2), (1, 2)),
    "maxpool batch": single_pair("maxpool", normal(2, 2, 5, 5), 3, 2),
    "conv plane": conv_pair(normal(5, 4), normal(3, 2), 0.7),
    "conv plane, four axes": conv_pair(normal(5, 4), normal(2, 1, 3, 2), normal(2)),
    "conv image": conv_pair(normal(2, 5, 4), normal(3, 2, 2, 3), normal(3), padding=1),
    "conv batch": conv_pair(
        normal(2, 2, 5, 4), normal(3, 2, 3, 3), normal(3), stride=(2, 1), padding=(1, 2)
    ),
    "batch norm features": norm_pair(normal(4, 3)),
    "batch norm image": norm_pair(normal(2, 3, 4)),
    "batch norm batch": norm_pair(normal(2, 3, 2, 2)),
    "batch norm evaluation": norm_pair(normal(4, 3), mean=[0.1, 0.2, 0.3], var=[1.0, 2.0, 0.5]),
}
every = pytest.mark.parametrize("name", PAIRS)


@every
def test_backward_is_the_gradient(name: str) -> None:
    forward, backward, arrays = PAIRS[name]
    y = forward(**arrays)
    gy = RNG.standard_normal(y.shape)
    gradients = backward(gy, **arrays)
    assert set(gradients) == set(arrays)
    for key, value in arrays.items():
        found = gradients[key]
        assert found.shape == value.shape, key
        assert found.dtype == np.float64
        fn = lambda v, key=key: forward(**{**arrays, key: v})  # noqa: E731
        np.testing.assert_allclose(found, numerical(fn, value, gy), rtol=1e-6, atol=1e-7)


@every
def test_results_are_arrays_of_their_own(name: str) -> None:
    forward, backward, arrays = PAIRS[name]
    y = forward(**arrays)
    gy = np.ones(y.shape)
    results = [y, *backward(gy, **arrays).values()]
    for result in results:
        assert type(result) is np.ndarray
        for given in (gy, *arrays.values()):
            assert not np.may_share_memory(result, given)


@every
def test_inputs_are_left_alone(name: str) -> None:
    forward, backward, arrays = PAIRS[name]
    for a in arrays.values():
        a.setflags(write=False)
    gy = np.ones(forward(**arrays).shape)
    gy.setflags(write=False)
    backward(gy, **arrays)


@every
def test_single_precision_stays_and_integers_become_double(name: str) -> None:
    forward, backward, arrays = PAIRS[name]
    small = {k: v.astype(np.float32) for k, v in arrays.items()}
    y = forward(**small)
    if "evaluation" not in name:  # whose mean and variance come as lists, which are doubles
        assert y.dtype == np.float32
        gradients = backward(y, **small)
        assert {g.dtype for g in gradients.values()} == {np.dtype(np.float32)}
    whole = {k: np.round(5 * v).astype(np.int32) for k, v in arrays.items()}
    y = forward(**whole)
    assert y.dtype == np.float64
    expected = forward(**{k: v.astype(np.float64) for k, v in whole.items()})
    np.testing.assert_array_equal(y, expected)


@every
def test_strides_do_not_matter(name: str) -> None:
    forward, backward, arrays = PAIRS[name]
    turned = {k: np.flip(np.flip(v).copy()) for k, v in arrays.items()}
    y = forward(**arrays)
    gy = RNG.standard_normal(y.shape)
    np.testing.assert_allclose(forward(**turned), y, rtol=1e-12, atol=1e-12)
    gradients = backward(gy, **arrays)
    for key, value in backward(np.flip(np.flip(gy).copy()), **turned).items():
        np.testing.assert_allclose(value, gradients[key], rtol=1e-10, atol=1e-10)


@every
def test_a_wrong_upstream_is_refused(name: str) -> None:
    forward, backward, arrays = PAIRS[name]
    shape = forward(**arrays).shape
    for wrong in ((*shape, 2), (2, *shape), tuple(n + 1 for n in shape), ()):
        with pytest.raises(ValueError, match="dLdy of the output's shape"):
            backward(np.ones(wrong), **arrays)


# Values


def test_conv_by_loops() -> None:
    x, w, b = normal(2, 3, 6, 5), normal(4, 3, 3, 2), normal(4)
    y = flat.conv(x, w, b, stride=(2, 1), padding=(1, 0))
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    assert y.shape == (2, 4, 3, 4)
    for n, o, k, m in np.ndindex(*y.shape):
        window = padded[n, :, 2 * k : 2 * k + 3, m : m + 2]
        assert y[n, o, k, m] == pytest.approx((w[o] * window).sum() + b[o])


def test_fc_by_loops() -> None:
    w, b = normal(4, 5), normal(4)
    x = normal(3, 5)
    y = flat.fc(x, w, b)
    for n in range(3):
        for o in range(4):
            assert y[n, o] == pytest.approx(sum(w[o, i] * x[n, i] for i in range(5)) + b[o])
        np.testing.assert_allclose(flat.fc(x[n], w, b), y[n])
        np.testing.assert_allclose(flat.fc(x[n][:, None], w, b), y[n][:, None])
        np.testing.assert_allclose(flat.fc(x[n][:, None], w, b[:, None]), y[n][:, None])


def test_fc_of_one_feature_reads_rows_first() -> None:
    w = np.array([[2.0], [3.0]])
    assert flat.fc([[5.0]], w).tolist() == [[10.0, 15.0]]
    assert flat.fc([[5.0], [1.0]], w).shape == (2, 2)
    assert flat.fc([5.0], w).tolist() == [10.0, 15.0]


def test_fc_back_takes_a_single_upstream_in_any_line() -> None:
    w, x = normal(4, 5), normal(5, 1)
    gy = normal(4)
    expected = flat.fc_back(gy[:, None], x, w)
    for form in (gy, gy[None]):
        for a, b in zip(flat.fc_back(form, x, w), expected, strict=True):
            np.testing.assert_array_equal(a, b)
    assert [g.shape for g in expected] == [(5, 1), (4, 5), (4, 1)]
    assert [g.shape for g in flat.fc_back(gy, x[:, 0], w)] == [(5,), (4, 5), (4,)]
    with pytest.raises(ValueError, match="dLdy"):
        flat.fc_back(gy[None], normal(1, 5)[[0, 0]], w)


def test_maxpool_by_loops_and_first_of_equals() -> None:
    x = normal(2, 7, 5)
    y = flat.maxpool(x, 3, 2)
    for c, i, j in np.ndindex(*y.shape):
        assert y[c, i, j] == x[c, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max()
    assert flat.maxpool_back([[1.0]], np.zeros((2, 2)), 2, 2, [[0.0]]).tolist() == [[1, 0], [0, 0]]


def test_batch_norm_by_the_formula() -> None:
    x, gamma, beta, eps = normal(4, 3, 2, 5), normal(3), normal(3), 0.3
    mean, var = normal(3), np.array([0.5, 1.0, 2.0])

    def formula(m: np.ndarray, v: np.ndarray) -> np.ndarray:
        m, v, g, b = (a.reshape(3, 1, 1) for a in (m, v, gamma, beta))
        return np.asarray((x - m) / np.sqrt(v + eps) * g + b)

    own = formula(x.mean((0, 2, 3)), x.var((0, 2, 3)))
    np.testing.assert_allclose(flat.batch_norm(x, gamma, beta, eps), own, atol=1e-12)
    given = flat.batch_norm(x, gamma, beta, eps, mean, var)
    np.testing.assert_allclose(given, formula(mean, var), atol=1e-12)
    one = flat.batch_norm(x[:1], gamma, beta, eps)
    np.testing.assert_array_equal(flat.batch_norm(x[0], gamma, beta, eps), one[0])


def test_dropout_and_its_mask() -> None:
    x = normal(40, 5)
    y, mask = flat.dropout(x, 0.25, cr.Generator(3))
    np.testing.assert_allclose(y, np.where(mask, x / 0.75, 0))
    assert 0.6 < mask.mean() < 0.9
    gy = normal(40, 5)
    np.testing.assert_allclose(flat.dropout_back(gy, mask, 0.25), np.where(mask, gy / 0.75, 0))
    again, _ = flat.dropout(x, 0.25, cr.Generator(3))
    np.testing.assert_array_equal(again, y)
    assert not flat.dropout(x, 1.0)[0].any()
    np.testing.assert_array_equal(flat.dropout(x, 0.0)[0], x)
    for p, error in ((-0.1, ValueError), (1.1, ValueError), ("x", TypeError), (True, TypeError)):
        with pytest.raises(error):
            flat.dropout(x, p)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="boolean"):
        flat.dropout_back(gy, mask.astype(float))


@pytest.mark.parametrize("shape", [(5, 4), (2, 5, 4), (3, 2, 5, 4)])
@pytest.mark.parametrize("setting", [(2, 1, 0, 1), ((3, 2), (2, 1), (1, 2), (1, 2))])
def test_col2im_is_the_transpose_of_im2col(shape: tuple[int, ...], setting: Any) -> None:
    x = normal(*shape)
    columns = flat.im2col(x, *setting)
    other = RNG.standard_normal(columns.shape)
    image = flat.col2im(other, shape, *setting)
    assert image.shape == shape
    assert (columns * other).sum() == pytest.approx((x * image).sum())


def test_im2col_of_integers_and_bad_settings() -> None:
    assert flat.im2col([[1, 2], [3, 4]], 2).dtype == np.float64
    for wrong in ({"stride": 0}, {"padding": -1}, {"dilation": 0}, {"size": 0}):
        with pytest.raises(ValueError, match="at least"):
            flat.im2col(np.ones((3, 3)), **{"size": 2, **wrong})
    with pytest.raises(ValueError, match=r"\(3 \+ 2\*0 - 4\)/1 \+ 1 = 0"):
        flat.im2col(np.ones((3, 3)), 4)
    with pytest.raises(ValueError, match="columns"):
        flat.col2im(np.ones((4, 3)), (3, 3), 2)


# Losses


def by_hand(x: np.ndarray, t: np.ndarray) -> tuple[float, float]:
    """Cross-entropy and SVM loss, a row at a time."""
    entropy = svm = 0.0
    for row, right in zip(x, t, strict=True):
        entropy += np.log(np.exp(row).sum()) - row[right]
        svm += sum(max(0.0, s - row[right] + 1) for j, s in enumerate(row) if j != right)
    return entropy / len(x), svm / len(x)


def test_losses_by_hand_and_their_gradients() -> None:
    x, t = 0.3 * normal(6, 4), np.array([0, 3, 1, 1, 2, 0])
    entropy, svm = by_hand(x, t)
    loss, dx = flat.loss_cross_entropy_softmax(x, t)
    assert loss == pytest.approx(entropy)
    assert flat.svm_loss(x, t) == pytest.approx(svm)
    one = np.ones(())

    def cross(v: np.ndarray) -> Any:
        return flat.loss_ce_sm(v, t)[0]

    np.testing.assert_allclose(dx, numerical(cross, x, one), rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(flat.loss_ce_back(x, t), dx)
    found = flat.svm_loss_back(x, t)
    np.testing.assert_allclose(found, numerical(lambda v: flat.svm_loss(v, t), x, one), atol=1e-9)
    wide = flat.svm_loss_back(x, t, 2.5)
    expected = numerical(lambda v: flat.svm_loss(v, t, 2.5), x, one)
    np.testing.assert_allclose(wide, expected, atol=1e-9)
    assert wide.sum() == pytest.approx(0)


def test_single_scores_in_their_forms() -> None:
    x = normal(4)
    for loss in (lambda x, t: flat.loss_ce_sm(x, t)[0], flat.svm_loss):
        value = loss(x[None], np.array([2]))
        for scores in (x, x[:, None]):
            one_hot = np.eye(4)[2]
            targets = (2, np.int64(2), [2], one_hot, one_hot.reshape(scores.shape))
            for target in (*targets, one_hot.astype(int)):
                assert loss(scores, target) == pytest.approx(value)
    for shape in ((4,), (4, 1)):
        loss_value, dx = flat.loss_ce_sm(x.reshape(shape), 2)
        assert dx.shape == shape
        assert np.ndim(loss_value) == 0
        assert flat.svm_loss_back(x.reshape(shape), 2).shape == shape
        assert flat.softmax(x.reshape(shape)).sum() == pytest.approx(1)


def test_soft_targets() -> None:
    x, q = normal(3, 4), np.array([[0.1, 0.2, 0.3, 0.4]] * 3)
    loss, dx = flat.loss_ce_sm(x, q)
    p = flat.softmax(x)
    assert loss == pytest.approx(-(q * np.log(p)).sum() / 3)
    np.testing.assert_allclose(dx, (p - q) / 3, atol=1e-12)
    with pytest.raises(IndexError, match="one-hot"):
        flat.svm_loss(x, q)


def test_single_precision_losses() -> None:
    x = normal(3, 4).astype(np.float32)
    loss, dx = flat.loss_ce_sm(x, [0, 1, 2])
    assert loss.dtype == dx.dtype == np.float32
    assert flat.svm_loss(x, [0, 1, 2]).dtype == np.float32
    assert flat.svm_loss_back(x, [0, 1, 2]).dtype == np.float32


def test_huge_scores_do_not_overflow() -> None:
    loss, dx = flat.loss_ce_sm([1e4, 0.0], 1)
    assert loss == 1e4
    assert dx.tolist() == [1.0, -1.0]
    assert flat.softmax([1e4, 0.0]).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("loss", [flat.loss_ce_sm, flat.svm_loss, flat.svm_loss_back])
def test_targets_that_do_not_fit(loss: Callable[..., Any]) -> None:
    x = normal(3, 4)
    for labels in ([0, 1, 4], [0, -1, 2], [0, -100, 2]):
        with pytest.raises(IndexError, match=r"labels in 0\.\.3"):
            loss(x, labels)
    with pytest.raises(TypeError, match="integers"):
        loss(x, [0.0, 1.0, 2.0])
    for shape in ((2,), (4,), (3, 3), (3, 1), ()):
        with pytest.raises(ValueError, match=r"\(3,\)"):
            loss(x, np.zeros(shape, int))
    with pytest.raises(IndexError, match="row 1 sums to 2"):
        loss(x, [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1]])
    with pytest.raises(ValueError, match="at least one"):
        loss(np.zeros((0, 4)), np.zeros(0, int))
    with pytest.raises(ValueError, match="scores"):
        loss(normal(2, 3, 4), [0, 1])


# Refusals


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: flat.fc(normal(6), normal(4, 5)), r"x \(5,\), \(5, 1\) or \(N, 5\)"),
        (lambda: flat.fc(normal(5, 2, 2), normal(3, 4)), r"2\*2 = 4: flatten\(x\) is missing"),
        (lambda: flat.fc(normal(1, 2, 2), normal(3, 4)), r"1\*2\*2 = 4: flatten\(x\) is missing"),
        (lambda: flat.fc(normal(3, 4), normal(4, 5)), "transposed"),
        (lambda: flat.fc(normal(5), normal(5)), r"w \(out, in\)"),
        (lambda: flat.fc(normal(5), normal(4, 5), normal(5)), r"b \(4,\) or \(4, 1\)"),
        (lambda: flat.fc(normal(5), normal(4, 5), 1.0), r"b \(4,\)"),
        (lambda: flat.conv(normal(7, 7), normal(9, 9)), r"\(7 \+ 2\*0 - 9\)/1 \+ 1 = -1"),
        (lambda: flat.conv(normal(2, 7, 7), normal(1, 3, 3, 3)), "3 input channels.*got 2"),
        (lambda: flat.conv(normal(2, 7, 7), normal(3, 3)), r"\(H, W\) one filter"),
        (lambda: flat.conv(normal(2, 7, 7), normal(2, 3, 3)), r"w\[None\]"),
        (lambda: flat.conv(normal(7), normal(3, 3)), r"x \(H, W\)"),
        (lambda: flat.conv(normal(7, 7), normal(3, 3), normal(2)), r"b of shape \(\)"),
        (lambda: flat.conv(normal(7, 7), normal(2, 1, 3, 3), 1.0), r"b of shape \(2,\)"),
        (lambda: flat.conv(normal(7, 7), normal(3, 3), stride=0), "stride of at least 1"),
        (lambda: flat.conv(normal(7, 7), normal(3, 3), padding=-1), "padding of at least 0"),
        (lambda: flat.maxpool(normal(3, 3), 4, 1), r"\(3 \+ 2\*0 - 4\)/1 \+ 1 = 0"),
        (lambda: flat.maxpool(normal(3), 2, 1), r"x \(H, W\)"),
        (lambda: flat.maxpool(normal(3, 3), 2, 0), "stride"),
        (lambda: flat.flatten(1.0), r"x \(F,\)"),
        (lambda: flat.flatten(np.ones((1,) * 5)), r"x \(F,\)"),
        (lambda: flat.relu_back(normal(3), normal(3), normal(4)), "y of the output's shape"),
        (lambda: flat.softmax(normal(2, 3, 4)), "scores"),
        (lambda: flat.batch_norm(normal(4, 3), normal(4), normal(3)), r"\(3,\)"),
        (lambda: flat.batch_norm(normal(4), normal(4), normal(4)), r"x \(N, C\)"),
        (lambda: flat.batch_norm(normal(1, 3), normal(3), normal(3)), "more than 1 value"),
        (lambda: flat.batch_norm(normal(4, 3), normal(3), normal(3), mean=normal(3)), "both"),
        (lambda: flat.batch_norm(normal(4, 3), normal(3), normal(3), 0.0), "eps > 0"),
        (lambda: flat.relu([[1, 2], [3]]), "equal lengths"),
    ],
)
def test_shapes_that_do_not_fit(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        call()
    assert isinstance(caught.value, cr.ShapeError)


@pytest.mark.parametrize("bad", [cr.ones(3), "abc", None, [1j], np.array([object()])])
def test_only_plain_arrays_of_numbers(bad: Any) -> None:
    with pytest.raises(TypeError) as caught:
        flat.relu(bad)
    assert isinstance(caught.value, cr.KindError)
    if isinstance(bad, cr.Tensor):
        assert "detach().numpy()" in str(caught.value)


def test_an_image_too_small_says_so_in_the_backward_too() -> None:
    with pytest.raises(ValueError, match=r"\(2 \+ 2\*0 - 3\)/1 \+ 1 = 0"):
        flat.conv_back(np.ones((1, 1)), np.ones((2, 2)), np.ones((3, 3)))


def test_signatures_are_the_lectures() -> None:
    expected = {
        "fc": "x, w, b",
        "fc_back": "dLdy, x, w",
        "relu": "x",
        "relu_back": "dLdy, x",
        "maxpool": "x, size, stride",
        "maxpool_back": "dLdy, x, size, stride, y",
        "conv": "x, w, b, stride, padding",
        "conv_back": "dLdy, x, w, b, y, stride, padding",
        "loss_cross_entropy_softmax": "x, y_gt",
        "loss_ce_back": "x, y_gt",
        "svm_loss": "x, y_gt",
        "svm_loss_back": "x, y_gt",
    }
    for name, arguments in expected.items():
        own = list(inspect.signature(getattr(flat, name)).parameters)
        assert own[: len(arguments.split(", "))] == arguments.split(", "), name
    assert flat.pool is flat.maxpool
    assert flat.pool_back is flat.maxpool_back
    assert flat.loss_ce_sm is flat.loss_cross_entropy_softmax


def test_nothing_is_remembered() -> None:
    x, w, b = normal(2, 5, 5), normal(3, 2, 3, 3), normal(3)
    first = flat.conv_back(flat.conv(x, w, b), x, w, b)
    flat.conv_back(np.ones((3, 3, 3)), normal(2, 5, 5), w, b)
    for a, c in zip(first, flat.conv_back(flat.conv(x, w, b), x, w, b), strict=True):
        np.testing.assert_array_equal(a, c)
