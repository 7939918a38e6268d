"""The gradient checker, each of its answers shown with a planted error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn


def wrong(derivative: Any) -> Any:
    """Make y = x^2 (elementwise) whose backward is `derivative(x, gy)`."""

    class Square(cr.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            return derivative(x, g)

    return Square.apply


X = np.array([[0.5, -1.5, 2.0], [3.0, -0.7, 1.1], [0.3, 0.9, -2.2]])


def test_a_right_gradient_passes_and_counts_its_probes() -> None:
    report = cr.gradcheck(wrong(lambda x, g: 2 * x * g), X)
    assert report
    assert report.probes == 9
    assert "9 derivatives by input 0 agree" in str(report)


@pytest.mark.parametrize(
    ("derivative", "cause"),
    [
        (lambda x, g: -2 * x * g, "sign is reversed"),
        (lambda x, g: x * g, "constant factor 0.5"),
        (
            lambda x, g: 6 * x * g,
            r"factor 3 .*a sum that should be a mean: 3 is the size of axis 0",
        ),
        (lambda x, g: x * g * 0, "no gradient arrives"),
        (lambda x, g: (2 * x * g).T, "last two axes are exchanged"),
        (lambda x, g: cr.where(x < 0, g, 2 * x * g), "exactly where the value is negative"),
        (
            lambda x, g: 2 * x * g * cr.tensor([[1.0], [1.0], [0.0]], dtype=cr.float64),
            "last index of axis 0",
        ),
        (lambda x, g: 2 * x * g + 0.01 * x * x, "the formula of the backward"),
    ],
)
def test_a_planted_error_is_found_and_its_cause_named(derivative: Any, cause: str) -> None:
    report = cr.gradcheck(wrong(derivative), X)
    assert not report
    with pytest.raises(AssertionError, match=cause):
        raise AssertionError(str(report))


def test_the_report_names_layer_parameter_element_and_both_values() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.Sequential(nn.Linear(3, 2))

        def forward(self, x: Any) -> Any:
            layer = self.block[0]
            return wrong(lambda v, g: 3 * v * g)(layer.weight) @ x.T + layer.bias[:, None]

    report = cr.gradcheck(Net(), X)
    text = str(report)
    assert not report
    assert "block.0.weight of layer block.0 (Linear) at [" in text
    assert "backward gives" in text
    assert "differences give" in text
    assert "block.0.weight is read by Square()" in text
    assert {m.name for m in report.mismatches} == {"block.0.weight"}


def test_a_tiny_error_in_one_element_of_many_is_found() -> None:
    def derivative(x: Any, g: Any) -> Any:
        gx = (2 * x * g).numpy().copy()
        gx[1, 1] *= 1.001
        return cr.from_numpy(gx)

    report = cr.gradcheck(wrong(derivative), X)
    assert [m.element for m in report.mismatches] == [(1, 1)]


def test_kinks_are_told_apart_from_errors() -> None:
    at_and_near = np.array([0.0, 1e-6, -1e-6, 1.0, -1.0])
    report = cr.gradcheck(cr.relu, at_and_near)
    assert report
    assert report.kinks == 3
    assert "3 at kinks" in str(report)
    assert cr.gradcheck(lambda x: cr.maximum(x, cr.flip(x, (0,))), np.array([1.0, 1.0 + 1e-7]))
    assert cr.gradcheck(cr.abs, np.array([0.0, 2.0]))


def test_a_wrong_slope_at_a_kink_is_still_an_error() -> None:
    class BadReLU(cr.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return cr.relu(x)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return 1.5 * g * cr.sign(g)

    assert not cr.gradcheck(BadReLU.apply, np.array([0.0]))


def test_all_elements_up_to_a_thousand_else_fifty_and_a_direction() -> None:
    assert cr.gradcheck(lambda x: x * x, np.ones(1000)).probes == 1000
    assert cr.gradcheck(lambda x: x * x, np.ones(1001)).probes == 51


def test_the_direction_finds_what_the_fifty_miss() -> None:
    def derivative(x: Any, g: Any) -> Any:
        gx = (2 * x * g).numpy().copy()
        gx[::2] = 0
        return cr.from_numpy(gx)

    report = cr.gradcheck(wrong(derivative), np.linspace(1, 2, 5000))
    assert any(m.element is None for m in report.mismatches)


def test_random_masks_are_pinned_and_the_generator_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5))
    cr.manual_seed(3)
    report = cr.gradcheck(model, X)
    after = cr.rand(1).item()
    cr.manual_seed(3)
    assert report
    assert after == cr.rand(1).item()


def test_batch_norm_in_training_leaves_the_users_module_as_it_was() -> None:
    model = nn.BatchNorm1d(3)
    before = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    assert cr.gradcheck(model, X)
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key])
        assert model.weight.dtype == cr.float32


def test_several_outputs_and_integer_inputs() -> None:
    labels = np.array([0, 2, 1])
    assert cr.gradcheck(lambda x, t: nn.functional.cross_entropy(x, t), (X, labels)).probes == 9
    assert cr.gradcheck(lambda x: (x * 2, x.argmax(1), cr.exp(x)), X)


def test_nothing_to_check_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="floating-point input or parameter"):
        cr.gradcheck(lambda x: x * 2, np.array([1, 2]))


def test_jacobian_is_outputs_by_inputs() -> None:
    w = np.arange(6.0).reshape(2, 3)
    j = cr.jacobian(lambda x: cr.tensor(w) @ x, cr.tensor([1.0, 2.0, 3.0], dtype=cr.float64))
    np.testing.assert_array_equal(j, w)


def test_a_jacobian_that_would_not_fit_is_refused_with_the_figure() -> None:
    w = cr.zeros(4096, 4096)
    with pytest.raises(MemoryError, match=r"= 256 GiB"):
        cr.jacobian(lambda x: x @ w, cr.zeros(64, 4096))
    with pytest.raises(MemoryError, match=r"= 16,384 GiB"):
        cr.jacobian(lambda w: cr.zeros(64, 4096) @ w, w)


def test_vjp_agrees_with_the_jacobian_and_can_be_called_again() -> None:
    x = cr.tensor([0.3, -0.7], dtype=cr.float64)
    fn = lambda x: cr.exp(x) * cr.flip(x, (0,))  # noqa: E731
    y, pull = cr.vjp(fn, x)
    gy = cr.tensor([2.0, -3.0], dtype=cr.float64)
    for _ in range(2):
        np.testing.assert_allclose(pull(gy)[0], gy.numpy() @ cr.jacobian(fn, x).numpy())
    assert not y.requires_grad


def test_a_slight_error_in_one_element_is_not_called_a_factor_of_one() -> None:
    report = cr.gradcheck(wrong(lambda x, g: 2 * x * g * cr.where(x > 2.5, 1.00005, 1.0)), X)
    assert not report
    assert "factor" not in str(report)
