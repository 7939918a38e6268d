"""One number's window, products and sum, against the operation itself."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import AxisError, DataError, GraphError, KindError


def numbers(line: str) -> list[float]:
    return [float(n) for n in re.findall(r"(?<=[=*] )-?[\d.e+-]+", line)]


SETTINGS = [
    {},
    {"stride": 2},
    {"padding": 1},
    {"dilation": 2},
    {"stride": (2, 1), "padding": (0, 2)},
    {"groups": 2, "padding": 1},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_number_of_a_convolution_is_the_sum_of_its_products(settings: dict) -> None:
    generator = cr.Generator(3)
    x = cr.randn(2, 4, 6, 6, generator=generator, requires_grad=True)
    w = cr.randn(4, 4 // settings.get("groups", 1), 3, 3, generator=generator, requires_grad=True)
    b = cr.randn(4, generator=generator, requires_grad=True)
    y = cr.nn.functional.conv2d(x, w, b, **settings)
    for place in [(0, 0, 0, 0), (1, 3, y.shape[2] - 1, y.shape[3] - 1), (1, 2, 1, 0)]:
        text = cr.explain(y, place, digits=9)
        products = [line for line in text.splitlines() if re.match(r"  x\[.*\* w\[", line)]
        assert all(numbers(p)[-1] == pytest.approx(np.prod(numbers(p)[:2]), rel=1e-6)
                   for p in products)  # fmt: skip
        total = sum(numbers(p)[-1] for p in products) + b[place[1]].item()
        assert total == pytest.approx(y[place].item(), abs=1e-5)
        gx, gw = cr.grad(y[place], (x, w), retain_graph=True)
        said = re.findall(r"  x\[([\d, ]+)\] gets w\[([\d, ]+)\] = (\S+), w\[\2\] gets (\S+)", text)
        assert len(said) == len(products)
        for at_x, at_w, to_x, to_w in said:
            i, j = (tuple(map(int, at.split(", "))) for at in (at_x, at_w))
            assert float(to_x) == pytest.approx(gx[i].item(), abs=1e-6)
            assert float(to_w) == pytest.approx(gw[j].item(), abs=1e-6)
        assert np.count_nonzero(gx.numpy()) == len(said)


def test_the_lectures_convolution() -> None:
    image = cr.tensor([[1.0, 2, 1, 2, 1, 0, 0], [0, 1, 2, 1, 1, 0, 1], [0, 0, 1, 0, 1, 1, 0]])
    w = cr.ones(1, 1, 3, 3, requires_grad=True)
    y = cr.nn.functional.conv2d(image[None, None], w)
    assert cr.explain(y, (0, 0, 0, 0)).startswith("y[0, 0, 0, 0] = 8 is the sum of 9 products\n")


def test_what_lies_in_the_padding_is_told() -> None:
    x, w = cr.ones(1, 1, 3, 3, requires_grad=True), cr.ones(1, 1, 3, 3, requires_grad=True)
    text = cr.explain(cr.nn.functional.conv2d(x, w, padding=1), (0, 0, 0, 0))
    assert "the sum of 4 products; 5 of the window lie in the padding and count 0" in text


def test_a_maximum_and_its_winner() -> None:
    x = cr.tensor([[3.0, 2, 3, 1], [0, 5, 3, 4], [1, 2, 2, 2], [7, 3, 1, 7]], requires_grad=True)
    p = cr.max_pool2d(x[None, None], 2)
    planes = x[None, None]
    y = cr.max_pool2d(planes, 2)
    for place, value, winner in [
        ((0, 0, 0, 0), 5, "0, 0, 1, 1"),
        ((0, 0, 0, 1), 4, "0, 0, 1, 3"),
        ((0, 0, 1, 1), 7, "0, 0, 3, 3"),
    ]:
        text = cr.explain(y, place)
        assert text.startswith(f"y[{', '.join(map(str, place))}] = {value} is the largest of 4")
        assert f"the whole gradient goes to planes[{winner}], 0 to the rest" in text
    assert p.shape == (1, 1, 2, 2)
    tied = cr.ones(1, 1, 2, 2, requires_grad=True)
    text = cr.explain(cr.max_pool2d(tied, 2), (0, 0, 0, 0))
    assert "goes to tied[0, 0, 0, 0]" in text
    assert "3 more as large, of which the first wins" in text


def test_rows_of_products() -> None:
    x = cr.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    w = cr.tensor([[5.0, 6.0], [7.0, 8.0]], requires_grad=True)
    b = cr.tensor([0.5, -0.5], requires_grad=True)
    y = cr.nn.functional.linear(x, w, b)
    text = cr.explain(y, (1, 0))
    assert "y[1, 0] = 39.5 is the sum of 2 products and a bias" in text
    assert "x[1, 1] * w[0, 1] = 4 * 6 = 24" in text
    z = x @ w
    text = cr.explain(z, (0, 1))
    assert "z[0, 1] = 22 is the sum of 2 products" in text
    assert "x[0, 1] gets w[1, 1] = 8, w[1, 1] gets 2" in text


def test_any_other_operation_by_its_backward() -> None:
    x = cr.tensor([1.0, 2.0, 3.0], requires_grad=True)
    text = cr.explain(cr.cumsum(x, 0), 1)
    assert "reaches 2 numbers of x" in text
    assert "x[0] gets 1" in text


def test_what_cannot_be_explained() -> None:
    x = cr.ones(2, 2, requires_grad=True)
    for index in ((0,), (0, 2), 0, (-3, 0)):
        with pytest.raises(AxisError, match="an index into"):
            cr.explain(x * 2, index)
    with pytest.raises(KindError, match="a value with the operation that made it"):
        cr.explain(x, (0, 0))
    large = cr.ones(1, 1, 40, 40, requires_grad=True)
    y = cr.nn.functional.conv2d(large, cr.ones(1, 1, 3, 3, requires_grad=True))
    assert "is the sum of 9 products" in cr.explain(y, (0, 0, 0, 0))  # a leaf is there as it is
    inner = large * 2
    z = cr.nn.functional.conv2d(inner, cr.ones(1, 1, 3, 3, requires_grad=True))
    text = cr.explain(z, (0, 0, 0, 0))  # the convolution saved its input
    assert "inner[0, 0, 2, 2] * c1[0, 0, 2, 2] = 2 * 1 = 2" in text.replace("w1[", "c1[")
    assert "is the largest of 4" in cr.explain(cr.max_pool2d(inner, 2), (0, 0, 0, 0))  # named
    with pytest.raises(GraphError, match="are not known: only small ones are kept"):
        cr.explain(cr.max_pool2d(inner, 2), (0, 0, 0, 0), names={})
    w = cr.ones(1, 1, 3, 3, requires_grad=True)
    z = cr.nn.functional.conv2d(large * 2, w)
    pooled = cr.max_pool2d(inner, 2)
    z.sum().backward()
    with pytest.raises(GraphError, match="are not known"):
        cr.explain(z, (0, 0, 0, 0))
    graph = cr.capture(lambda v: cr.nn.functional.conv2d(v * 2, cr.ones(1, 1, 3, 3)), large)
    assert "is the sum of 9 products" in cr.explain(graph, (0, 0, 0, 0))
    with cr.no_grad():
        inner.array[:] = 3
        inner.add_(1)  # its values are no longer those that were pooled
    with pytest.raises(GraphError, match="none that was written since"):
        cr.explain(pooled, (0, 0, 0, 0))
    for _ in range(201):
        x = x * 1
    with pytest.raises(DataError, match="more than 200"):
        cr.explain(x.sum())


def test_what_was_written_since_is_not_shown_as_if_it_had_been_so() -> None:
    w, c = cr.tensor([[1.0, 2.0]], requires_grad=True), cr.tensor([[3.0], [4.0]])
    y = w @ c
    with cr.no_grad():
        w.add_(100)
    with pytest.raises(GraphError, match="none that was written since"):
        cr.explain(y, (0, 0))
    text = cr.explain(y)
    assert "w = 1 x 2" in text
    assert "w @ [[3], [4]] = [[11]]" in text
    assert "written since they were used" in text
    x = cr.tensor([[3.0, 2.0], [0.0, 5.0]], requires_grad=True)
    pooled = cr.max_pool2d(x[None, None], 2)
    with cr.no_grad():
        x.mul_(-1)
    with pytest.raises(GraphError, match="none that was written since"):
        cr.explain(pooled, (0, 0, 0, 0))
    a, b = cr.tensor(7.0, requires_grad=True), cr.tensor(5.0)
    f = a + b
    b.add_(5)
    assert "15" not in str(cr.draw(f))
    parameter = cr.nn.Parameter(cr.ones(2, 2))
    optimizer = cr.optim.SGD([parameter], lr=1.0)
    loss = (parameter * parameter).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    assert "parameter = 2 x 2" in cr.explain(loss)
    assert "= 4\n" in cr.explain(loss)


INDICES = ["abcd", slice(0, 1), (slice(0, 1), 0), 0.5, (0.5, 0), True, (True, 0), (None, 0), ...,
           (..., 0), {0, 1}, {"a": 1}, np.zeros((1, 2), int), b"ab", object()]  # fmt: skip


@pytest.mark.parametrize("index", INDICES)
def test_an_index_of_another_kind(index: Any) -> None:
    y = cr.ones(2, 3, requires_grad=True) * 2
    rule = r"an index into \(2, 3\), one whole number for each axis; got index .*; one number is"
    with pytest.raises(KindError, match=rule) as caught:
        cr.explain(y, index)
    assert str(caught.value).endswith("such as index=(0, 0)")


def test_indices_of_all_kinds_that_are_whole() -> None:
    y = cr.arange(6.0).reshape(2, 3).requires_grad_() * 2
    texts = {
        cr.explain(y, index)
        for index in [
            (1, 2),
            [1, 2],
            (-1, -1),
            np.array([1, 2]),
            cr.tensor([1, 2]),
            (np.int8(1), 2),
        ]
    }
    assert len(texts) == 1
    assert texts.pop().startswith("y[1, 2] = 10 of y = ")
    total = y.sum()
    assert cr.explain(total, ()).startswith("total = 30 of total = sum(y)")


def test_an_index_and_a_gradient_at_once() -> None:
    y = cr.ones(2, requires_grad=True) * 2
    with pytest.raises(KindError, match="either an index, whose gradient is 1, or a gradient"):
        cr.explain(y, 0, gradient=[1.0, 2.0])


def test_one_number_of_the_second_of_several_values() -> None:
    x = cr.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    _, b = cr.split(x, 1)
    text = cr.explain(b, (0, 1))
    assert text.startswith("b[0, 1] = 4 of ")
    assert text.endswith("reaches 1 number of x:\n  x[1, 1] gets 1")
    graph = cr.capture(lambda v: cr.split(v, 1), cr.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert "gets 1\n(of 2 outputs the first; output= chooses: split[0], split[1])" in cr.explain(
        graph, (0, 1)
    )
    assert "v[1, 1] gets 1" in cr.explain(graph, (0, 1), output=1)


def test_values_without_history_say_how_to_get_one() -> None:
    y = cr.max_pool2d(cr.zeros(1, 1, 4, 4), 2)
    with pytest.raises(
        KindError, match=r"wants a gradient \(requires_grad_\(\)\), and by cr\.capture"
    ):
        cr.explain(y, (0, 0, 0, 0))


def test_a_number_that_no_gradient_leaves() -> None:
    x = cr.tensor([-1.0, 2.0], requires_grad=True)
    y = cr.relu(x)
    assert cr.explain(y, 0).endswith("reaches no number of x")
    assert cr.explain(y, 1).endswith("reaches 1 number of x:\n  x[1] gets 1")


def test_a_large_image_without_gradient_has_its_name() -> None:
    image = cr.rand(1, 3, 20, 20, generator=cr.Generator(0))
    other = cr.rand(1, 3, 20, 20, generator=cr.Generator(1))
    w = cr.ones(2, 3, 3, 3, requires_grad=True)
    for y in (cr.nn.functional.conv2d(image, w), cr.nn.functional.conv2d_relu(image, w)):
        text = cr.explain(y, (0, 0, 0, 0))
        assert f"  image[0, 0, 0, 0] * w[0, 0, 0, 0] = {image[0, 0, 0, 0].item():.4g} * 1" in text
    assert other.shape == image.shape  # of the same shape, and not taken for it
    twin = image.clone()
    assert "  c1[0, 0, 0, 0] * w[0, 0, 0, 0] = " in cr.explain(y, (0, 0, 0, 0))  # either could be
    assert twin is not image


def test_the_average_of_a_large_inner_value() -> None:
    image = cr.rand(1, 4, 20, 20, generator=cr.Generator(0)).requires_grad_()
    planes = image * 2
    y = cr.nn.functional.adaptive_avg_pool2d(planes, 1)
    text = cr.explain(y, (0, 3, 0, 0))
    assert f"y[0, 3, 0, 0] = {planes[0, 3].mean().item():.4g} is the average of 400 numbers" in text
    assert text.endswith("each of the 400 gets 1 / 400 = 0.0025")


def test_a_large_inner_value_that_was_written_is_not_shown() -> None:
    image = cr.ones(1, 1, 20, 20, requires_grad=True)
    inner = image * 2
    assert "inner = image * 2 = 1 x 1 x 20 x 20 in 2..2" in cr.explain(inner.sum())
    with cr.no_grad():
        inner.add_(1)
    total = inner.sum()
    assert "inner = image * 2 = 1 x 1 x 20 x 20\n" in cr.explain(total)
