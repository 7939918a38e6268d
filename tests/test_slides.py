"""The slides' programs and numbers (with their slips put right), on arrays and on the graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import flat, nn
from chainrule.nn import functional as F

IMAGE = np.array(
    [
        [1, 2, 1, 2, 1, 0, 0],
        [0, 1, 2, 1, 1, 0, 1],
        [0, 0, 1, 0, 1, 1, 0],
        [1, 0, 0, 0, 1, 0, 1],
        [2, 0, 1, 0, 1, 2, 2],
        [0, 2, 1, 0, 1, 0, 1],
        [2, 2, 2, 0, 0, 1, 1],
    ]
)
SMALL = np.array([[3, 2, 3, 1], [0, 5, 3, 4], [1, 2, 2, 2], [7, 3, 1, 7]])
SCORES = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
CLASSES = np.array([0, 1, 2])  # cat, car, frog


def table(text: str) -> list[list[int]]:
    return [[int(n) for n in row.split()] for row in text.split("/")]


def leaf(value: Any) -> cr.Tensor:
    return cr.tensor(np.asarray(value, dtype=np.float64), requires_grad=True)


def grad(tensor: cr.Tensor) -> np.ndarray:
    assert tensor.grad is not None
    return np.array(tensor.grad)


def numerical(loss: Callable[[], float], x: np.ndarray) -> np.ndarray:
    """The gradient of a loss by an array that it reads, by central differences in place."""
    gx, step = np.zeros_like(x), 1e-6
    for i in np.ndindex(*x.shape):
        kept = x[i]
        x[i] = kept + step
        high = loss()
        x[i] = kept - step
        gx[i] = (high - loss()) / (2 * step)
        x[i] = kept
    return gx


def close(a: Any, b: Any, tolerance: float = 1e-7) -> None:
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


# Circuits


def test_sum_times_a_number() -> None:
    x, y, z = leaf(-2), leaf(5), leaf(-4)
    q = x + y
    q.retain_grad()
    f = q * z
    f.backward()
    assert (q.item(), f.item()) == (3, -12)
    assert [grad(t).item() for t in (x, y, z, q)] == [-4, -4, 3, -4]


def test_sigmoid_of_five_variables_by_the_staged_program() -> None:
    """Deck 002: every line of the forward has its line in the backward, in reverse."""
    w0, x0, w1, x1, w2 = (np.array(v) for v in (2.0, -1.0, -3.0, -2.0, -3.0))
    s0 = w0 * x0
    s1 = w1 * x1
    s2 = s0 + s1
    s3 = s2 + w2
    out = flat.sigmoid(s3)
    assert out == pytest.approx(0.7310586, abs=1e-7)

    ds3 = flat.sigmoid_back(1.0, s3, out)
    gradients = {"w0": ds3 * x0, "x0": ds3 * w0, "w1": ds3 * x1, "x1": ds3 * w1, "w2": ds3}
    known = {
        "w0": -0.1966119,
        "x0": 0.3932239,
        "w1": -0.3932239,
        "x1": -0.5898358,
        "w2": 0.1966119,
    }
    for name, value in known.items():
        assert gradients[name] == pytest.approx(value, abs=1e-7), name

    values = {"w0": 2.0, "x0": -1.0, "w1": -3.0, "x1": -2.0, "w2": -3.0}
    t = {name: leaf(value) for name, value in values.items()}
    cr.sigmoid(t["w0"] * t["x0"] + t["w1"] * t["x1"] + t["w2"]).backward()
    for name, value in known.items():
        assert grad(t[name]).item() == pytest.approx(value, abs=1e-7), name


def test_a_multiply_gate_swaps_its_inputs() -> None:
    x, y = leaf(3.5), leaf(-1.25)
    (x * y).backward(cr.tensor(np.array(2.0)))
    assert (grad(x).item(), grad(y).item()) == (-2.5, 7.0)


def test_gradients_add_where_a_value_branches() -> None:
    x = leaf(2)
    f = x * x + 3 * x
    f.backward()
    assert (f.item(), grad(x).item()) == (10, 7)


# Vectors and matrices


def test_relu_never_forms_its_jacobian() -> None:
    x, up = [1, -2, 3, -1], [4, -1, 5, 9]
    assert flat.relu(x).tolist() == [1, 0, 3, 0]
    assert flat.relu_back(up, x).tolist() == [4, 0, 5, 0]
    explicit = cr.jacobian(F.relu, cr.tensor(np.array(x, float)))
    np.testing.assert_array_equal(explicit, np.diag([1.0, 0, 1, 0]))
    np.testing.assert_array_equal(np.array(up) @ np.array(explicit), [4, 0, 5, 0])


def test_relu_has_no_gradient_at_zero() -> None:
    assert flat.relu_back([7.0], [0.0]).tolist() == [0.0]
    x = leaf([0.0])
    F.relu(x).backward(cr.tensor(np.array([7.0])))
    assert grad(x).tolist() == [0.0]


def test_matrix_product_and_its_gradients() -> None:
    x, w = leaf([[2, 1, -3], [-3, 4, 2]]), leaf([[3, 2, 1, -1], [2, 1, 3, 2], [3, 2, 1, -2]])
    up = np.array([[2.0, 3, -3, 9], [-8, 1, 4, 6]])
    y = x @ w
    assert y.tolist() == [[-1, -1, 2, 6], [5, 2, 11, 7]]
    y.backward(cr.tensor(up))
    dx, dw = [[0, 16, -9], [-24, 9, -30]], [[28, 3, -18, 0], [-30, 7, 13, 33], [-22, -7, 17, -15]]
    assert grad(x).tolist() == dx
    assert grad(w).tolist() == dw
    flat_dx, flat_dw, _ = flat.fc_back(up, x.detach().numpy(), w.detach().numpy().T)
    assert flat_dx.tolist() == dx
    assert flat_dw.T.tolist() == dw


def test_a_jacobian_of_gibibytes_is_refused_with_the_figure() -> None:
    x, w = cr.zeros(64, 4096), cr.zeros(4096, 4096)
    with pytest.raises(MemoryError, match="256 GiB"):
        cr.jacobian(lambda t: t @ w, x)
    with pytest.raises(MemoryError, match="16,384 GiB"):
        cr.jacobian(lambda t: x @ t, w)


def test_jacobians_are_outputs_by_inputs() -> None:
    w = cr.tensor(np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(cr.jacobian(lambda x: w @ x, cr.zeros(3, dtype=cr.float64)), w)


def test_grad_weight_is_upstream_times_the_explicit_jacobian() -> None:
    """Deck 000: W is 4x5, f = W n + b, and gradWeight = (1x4 upstream) (4x20 Jacobian), as 4x5."""
    rng = np.random.default_rng(0)
    n, w, b, up = rng.random((5, 1)), rng.random((4, 5)), rng.random((4, 1)), rng.random(4)
    explicit = np.kron(np.eye(4), n.T)
    assert explicit.shape == (4, 20)
    found = cr.jacobian(
        lambda t: F.linear(cr.tensor(n[:, 0]), t.reshape(4, 5)), cr.tensor(w.reshape(20))
    )
    close(found, explicit, 1e-12)
    expected = (up.reshape(1, 4) @ explicit).reshape(4, 5)

    m = flat.fc(n, w, b)
    close(m, w @ n + b, 1e-12)
    dn, dw, db = flat.fc_back(up, n, w)
    close(dw, expected, 1e-12)
    close(dn, w.T @ up[:, None], 1e-12)
    close(db, up[:, None], 1e-12)

    lin = nn.Linear(5, 4).double()
    with cr.no_grad():
        lin.weight.copy_(w)
        lin.bias.copy_(b[:, 0])
    close(lin.forward(cr.tensor(n[:, 0])).detach(), m[:, 0], 1e-12)
    close(lin.backward(cr.tensor(n[:, 0]), cr.tensor(up)), dn[:, 0], 1e-12)
    close(grad(lin.weight), expected, 1e-12)


# Losses


def test_svm_loss_of_three_images() -> None:
    for row, right, known in zip(SCORES, CLASSES, (2.9, 0, 12.9), strict=True):
        assert flat.svm_loss(row, right) == pytest.approx(known)
    assert flat.svm_loss(SCORES, CLASSES) == pytest.approx(5.2667, abs=5e-5)
    divided = F.multi_margin_loss(cr.tensor(SCORES), cr.tensor(CLASSES), reduction="none")
    close(divided, [2.9 / 3, 0, 4.3])
    assert divided[0].item() == pytest.approx(0.9667, abs=5e-5)


def test_softmax_loss_of_the_first_image() -> None:
    close(flat.softmax(SCORES[0]), [0.12998, 0.86905, 0.00097], 5e-6)
    loss, dx = flat.loss_cross_entropy_softmax(SCORES[0], 0)
    assert loss == pytest.approx(2.04036, abs=5e-6)
    close(dx, flat.softmax(SCORES[0]) - [1, 0, 0], 1e-12)
    assert F.cross_entropy(cr.tensor(SCORES[0]), cr.tensor(0)).item() == pytest.approx(loss)


def test_squared_error_with_and_without_the_half() -> None:
    o, y = leaf([1.0, 5.0, -2.0]), cr.tensor(np.array([2.0, 2.0, 2.0]))
    whole = F.mse_loss(o, y, reduction="sum")
    whole.backward()
    assert whole.item() == 26
    close(grad(o), 2 * (o.detach() - y))
    o.grad = None
    (0.5 * F.mse_loss(o, y, reduction="sum")).backward()
    close(grad(o), o.detach() - y)
    assert F.mse_loss(o, y).item() == pytest.approx(26 / 3)


# Deck 002: the staged SVM, and two layers with softmax; both with regularisation


def test_staged_svm() -> None:
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((6, 4)), rng.standard_normal((3, 4))
    labels, strength = np.array([0, 2, 1, 1, 0, 2]), 0.3
    images = np.arange(6)

    scores = x @ w.T
    margins = np.maximum(0, scores - scores[images, labels][:, None] + 1)
    margins[images, labels] = 0
    data_loss = margins.sum() / 6
    reg_loss = strength / 2 * (w * w).sum()
    loss = data_loss + reg_loss

    dmargins = (margins > 0) / 6
    dscores = dmargins.copy()
    dscores[images, labels] -= dmargins.sum(axis=1)
    dw = dscores.T @ x + strength * w

    assert flat.svm_loss(scores, labels) == pytest.approx(data_loss)
    close(flat.svm_loss_back(scores, labels), dscores, 1e-12)
    close(flat.fc(x, w), scores, 1e-12)
    _, by_pairs, _ = flat.fc_back(flat.svm_loss_back(scores, labels), x, w)
    close(by_pairs + strength * w, dw, 1e-12)

    def again() -> float:
        return float(flat.svm_loss(flat.fc(x, w), labels)) + strength / 2 * float((w * w).sum())

    assert again() == pytest.approx(loss)
    close(numerical(again, w), dw)

    t = leaf(w)
    graph = 3 * F.multi_margin_loss(F.linear(cr.tensor(x), t), cr.tensor(labels))
    graph = graph + strength / 2 * (t * t).sum()
    graph.backward()
    assert graph.item() == pytest.approx(loss)
    close(grad(t), dw, 1e-12)


def test_two_layers_with_softmax_and_regularisation() -> None:
    rng = np.random.default_rng(2)
    x, labels, strength = rng.standard_normal((5, 4)), np.array([0, 2, 1, 1, 0]), 0.1
    w1, b1 = rng.standard_normal((6, 4)), rng.standard_normal(6)
    w2, b2 = rng.standard_normal((3, 6)), rng.standard_normal(3)

    def forward() -> tuple[Any, ...]:
        a1 = flat.fc(x, w1, b1)
        h1 = flat.relu(a1)
        scores = flat.fc(h1, w2, b2)
        data_loss, dscores = flat.loss_cross_entropy_softmax(scores, labels)
        reg_loss = strength / 2 * ((w1 * w1).sum() + (w2 * w2).sum())
        return data_loss + reg_loss, a1, h1, scores, dscores

    loss, a1, h1, scores, dscores = forward()
    dh1, dw2, db2 = flat.fc_back(dscores, h1, w2, scores)
    dw2 = dw2 + strength * w2
    da1 = flat.relu_back(dh1, a1, h1)
    dx, dw1, db1 = flat.fc_back(da1, x, w1, a1)
    dw1 = dw1 + strength * w1

    gradients = {"x": dx, "w1": dw1, "b1": db1, "w2": dw2, "b2": db2}
    arrays = {"x": x, "w1": w1, "b1": b1, "w2": w2, "b2": b2}
    for name, array in arrays.items():
        close(gradients[name], numerical(lambda: float(forward()[0]), array))

    t = {name: leaf(array) for name, array in arrays.items()}
    hidden = F.relu(F.linear(t["x"], t["w1"], t["b1"]))
    total = F.cross_entropy(F.linear(hidden, t["w2"], t["b2"]), cr.tensor(labels))
    total = total + strength / 2 * ((t["w1"] ** 2).sum() + (t["w2"] ** 2).sum())
    total.backward()
    assert total.item() == pytest.approx(loss)
    for name, tensor in t.items():
        close(grad(tensor), gradients[name], 1e-12)


# Deck 004: the closing program


def closing_program(
    x: np.ndarray, w: dict[str, np.ndarray], label: Any, back: bool = True
) -> dict[str, Any]:
    """Three rounds of conv, relu, pool, then flatten and three dense layers, and all the way back.

    The slide hands `fc_back` no upstream gradient; here it gets one.
    """
    pred1 = flat.conv(x, w["w1"], padding=1)
    pred2 = flat.relu(pred1)
    pred3 = flat.pool(pred2, 2, 2)
    pred4 = flat.conv(pred3, w["w4"], padding=1)
    pred5 = flat.relu(pred4)
    pred6 = flat.pool(pred5, 2, 2)
    pred7 = flat.conv(pred6, w["w7"], w["b7"])
    pred8 = flat.relu(pred7)
    pred9 = flat.pool(pred8, 2, 1)
    pred10 = flat.flatten(pred9)
    pred11 = flat.fc(pred10, w["w10"])
    pred12 = flat.relu(pred11)
    pred13 = flat.fc(pred12, w["w12"], w["b12"])
    pred14 = flat.relu(pred13)
    pred15 = flat.fc(pred14, w["w14"])
    pred16, _ = flat.loss_ce_sm(pred15, label)

    g: dict[str, Any] = {"loss": pred16}
    if not back:
        return g
    up = flat.loss_ce_back(pred15, label)
    up, g["w14"], _ = flat.fc_back(up, pred14, w["w14"], pred15)
    up = flat.relu_back(up, pred13, pred14)
    up, g["w12"], g["b12"] = flat.fc_back(up, pred12, w["w12"], pred13)
    up = flat.relu_back(up, pred11, pred12)
    up, g["w10"], _ = flat.fc_back(up, pred10, w["w10"], pred11)
    up = flat.flatten_back(up, pred9, pred10)
    up = flat.pool_back(up, pred8, 2, 1, pred9)
    up = flat.relu_back(up, pred7, pred8)
    up, g["w7"], g["b7"] = flat.conv_back(up, pred6, w["w7"], w["b7"], pred7)
    up = flat.pool_back(up, pred5, 2, 2, pred6)
    up = flat.relu_back(up, pred4, pred5)
    up, g["w4"], _ = flat.conv_back(up, pred3, w["w4"], None, pred4, padding=1)
    up = flat.pool_back(up, pred2, 2, 2, pred3)
    up = flat.relu_back(up, pred1, pred2)
    g["x"], g["w1"], _ = flat.conv_back(up, x, w["w1"], None, pred1, padding=1)
    return g


def on_the_graph(x: cr.Tensor, w: dict[str, cr.Tensor], label: cr.Tensor) -> cr.Tensor:
    y = F.max_pool2d(F.relu(F.conv2d(x, w["w1"], padding=1)), 2)
    y = F.max_pool2d(F.relu(F.conv2d(y, w["w4"], padding=1)), 2)
    y = F.max_pool2d(F.relu(F.conv2d(y, w["w7"], w["b7"])), 2, 1)
    y = cr.flatten(y, 1 if y.ndim == 4 else 0)
    y = F.relu(F.linear(y, w["w10"]))
    y = F.relu(F.linear(y, w["w12"], w["b12"]))
    return F.cross_entropy(F.linear(y, w["w14"]), label)


@pytest.mark.parametrize(("shape", "label"), [((1, 12, 12), 2), ((2, 1, 12, 12), [2, 0])])
def test_closing_program(shape: tuple[int, ...], label: Any) -> None:
    rng = np.random.default_rng(7)
    x = rng.standard_normal(shape)
    shapes = {
        "w1": (2, 1, 3, 3),
        "w4": (3, 2, 3, 3),
        "w7": (4, 3, 2, 2),
        "b7": (4,),
        "w10": (12, 4),
        "w12": (9, 12),
        "b12": (9,),
        "w14": (3, 9),
    }
    w = {name: 0.7 * rng.standard_normal(s) for name, s in shapes.items()}
    found = closing_program(x, w, label)

    def loss() -> float:
        return float(closing_program(x, w, label, back=False)["loss"])

    for name, array in {"x": x, **w}.items():
        assert np.abs(found[name]).max() > 1e-6, name
        close(found[name], numerical(loss, array), 1e-6)

    tensors = {name: leaf(array) for name, array in w.items()}
    image = leaf(x)
    total = on_the_graph(image, tensors, cr.tensor(np.array(label)))
    total.backward()
    assert total.item() == pytest.approx(float(found["loss"]))
    for name, tensor in {"x": image, **tensors}.items():
        close(grad(tensor), found[name], 1e-10)


# Convolution and pooling


def test_sliding_a_filter_of_ones() -> None:
    ones = np.ones((3, 3))
    known = "8 10 10 7 5 / 5 5 7 5 6 / 5 2 5 6 9 / 7 4 5 5 9 / 12 8 6 5 9"
    assert flat.conv(IMAGE, ones).tolist() == table(known)
    assert flat.conv(IMAGE, ones, stride=2).tolist() == table("8 10 5 / 5 5 9 / 12 6 9")
    padded = (
        "4 7 9 8 5 3 1 / 4 8 10 10 7 5 2 / 2 5 5 7 5 6 3 / 3 5 2 5 6 9 6 / "
        "5 7 4 5 5 9 6 / 8 12 8 6 5 9 7 / 6 9 7 4 2 4 3"
    )
    assert flat.conv(IMAGE, ones, padding=1).tolist() == table(padded)
    thirds = flat.conv(IMAGE, ones, stride=3)  # (7 - 3)/3 + 1 = 2.33: the last column is dropped
    assert thirds.tolist() == table("8 7 / 7 5")
    with pytest.raises(ValueError, match=r"\(7 \+ 2\*0 - 9\)/1 \+ 1 = -1"):
        flat.conv(IMAGE, np.ones((9, 9)))


def test_sizes_and_parameters_of_the_examples() -> None:
    layer = nn.Conv2d(3, 10, 5, stride=1, padding=2)
    assert layer(cr.zeros(1, 3, 32, 32)).shape == (1, 10, 32, 32)
    assert sum(p.numel() for p in layer.parameters()) == 760
    assert nn.Conv2d(3, 6, 5)(cr.zeros(1, 3, 32, 32)).shape == (1, 6, 28, 28)


def test_max_pooling_and_where_its_gradient_goes() -> None:
    assert flat.maxpool(SMALL, 2, 2).tolist() == [[5, 4], [7, 7]]
    back = flat.maxpool_back([[1, 2], [3, 4]], SMALL, 2, 2, [[5, 4], [7, 7]])
    expected = np.zeros((4, 4))
    expected[1, 1], expected[1, 3], expected[3, 0], expected[3, 3] = 1, 2, 3, 4
    np.testing.assert_array_equal(back, expected)


def test_im2col_in_matlabs_order() -> None:
    sliding = [
        [3, 0, 2, 5],
        [0, 1, 5, 2],
        [1, 7, 2, 3],
        [2, 5, 3, 3],
        [5, 2, 3, 2],
        [2, 3, 2, 1],
        [3, 3, 1, 4],
        [3, 2, 4, 2],
        [2, 1, 2, 7],
    ]
    assert flat.im2col(SMALL.T, 2).T.tolist() == sliding
    distinct = [[3, 0, 2, 5], [1, 7, 2, 3], [3, 3, 1, 4], [2, 1, 2, 7]]
    assert flat.im2col(SMALL.T, 2, stride=2).T.tolist() == distinct


def test_gradients_of_convolution_by_the_sums() -> None:
    """dL/dx[i, j] takes w[i - m, j - n]: the slides print it the other way round."""
    rng = np.random.default_rng(5)
    x, w, up = rng.standard_normal((2, 5, 6)), rng.standard_normal((3, 2, 3, 2)), None
    up = rng.standard_normal((3, 3, 5))
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for d, m, n in np.ndindex(*up.shape):
        for c, a, b in np.ndindex(*w.shape[1:]):
            dx[c, m + a, n + b] += up[d, m, n] * w[d, c, a, b]
            dw[d, c, a, b] += up[d, m, n] * x[c, m + a, n + b]
    found_dx, found_dw, found_db = flat.conv_back(up, x, w)
    close(found_dx, dx, 1e-12)
    close(found_dw, dw, 1e-12)
    close(found_db, up.sum(axis=(1, 2)), 1e-12)


@pytest.mark.parametrize(("kernel", "padding"), [((2, 2), 0), ((3, 2), 0), ((3, 3), 1)])
def test_two_ways_to_the_gradient_by_the_image_agree(kernel: tuple[int, int], padding: int) -> None:
    """Deck 004: col2im(W^T L), or the filters in reverse order times im2col of the padded L."""
    rng = np.random.default_rng(6)
    x, w = rng.standard_normal((2, 5, 6)), rng.standard_normal((3, 2, *kernel))
    up = rng.standard_normal(flat.conv(x, w, padding=padding).shape)

    rows = w.reshape(3, -1)
    by_col2im = flat.col2im(rows.T @ up.reshape(3, -1), x.shape, kernel, padding=padding)

    reversed_filters = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3).reshape(2, -1)
    around = (kernel[0] - 1 - padding, kernel[1] - 1 - padding)
    by_im2col = (reversed_filters @ flat.im2col(up, kernel, padding=around)).reshape(x.shape)

    close(by_col2im, by_im2col, 1e-12)
    dx, dw, _ = flat.conv_back(up, x, w, padding=padding)
    close(dx, by_col2im, 1e-12)
    columns = flat.im2col(x, kernel, padding=padding)
    close(dw, (up.reshape(3, -1) @ columns.T).reshape(w.shape), 1e-12)
    close(flat.conv(x, w, padding=padding), (rows @ columns).reshape(up.shape), 1e-12)


def regions(weight: Any, bias: Any) -> int:
    """Count the patterns of firing ReLUs met on a fine grid of the plane."""
    side = np.linspace(-60.0, 60.0, 601) + 0.0137  # shifted, so that no point lies on a line
    points = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    units = cr.relu(cr.nn.functional.linear(cr.tensor(points), cr.tensor(weight), cr.tensor(bias)))
    return len(np.unique((units > 0).numpy(), axis=0))


def bound(n: int, d: int) -> int:
    """Zaslavsky: the regions that n hyperplanes in general position cut d dimensions into."""
    return sum(math.comb(n, s) for s in range(d + 1))


def test_three_lines_cut_the_plane_into_seven_regions_the_slides_three_into_six() -> None:
    assert bound(3, 2) == 7
    general = np.array([[2.0, 1.0], [-3.0, 1.0], [-1.0, 1.0]])
    assert regions(general, np.array([8.0, -12.0, 6.0])) == 7
    # y = -2x - 8, y = 3x + 12 and y = x + 4 all pass through (-4, 0)
    assert regions(general, np.array([8.0, -12.0, -4.0])) == 6


def test_the_pooling_example_of_which_only_the_result_is_printed() -> None:
    # the slide's picture is lost; these are rows that lead to its result
    image = [[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]
    np.testing.assert_array_equal(flat.maxpool(np.array(image), 2, 2), [[6, 8], [3, 4]])
