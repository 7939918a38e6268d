"""Settings of the activations, their in-place forms and the random ones, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr
from tests.parity.harness import check, misuse

RNG = np.random.default_rng(0)
NAN, INF = np.nan, np.inf
WHOLE = np.array([-3.0, -2, -1, -0.5, 0, 0.5, 1, 2, 3, 6, 20, 20.5])
PLAIN = 3 * RNG.standard_normal((3, 5))
INPUTS = (WHOLE, PLAIN, np.asarray(PLAIN[0, 0]), np.zeros((0, 3)), PLAIN.T[::2])


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


def run(expression: str) -> Any:
    """Make a function of the library and the inputs x, y of an expression."""

    def evaluate(lib: Any, *given: Any) -> Any:
        names = dict(zip("xy", given, strict=False))
        scope = {"lib": lib, "F": lib.nn.functional, "nan": NAN, "inf": INF, **names}
        return eval(expression, scope)

    return evaluate


SETTINGS = lines("""
    F.celu(x, 0.5)
    F.celu(x, 2)
    F.celu(x, alpha=-1.5, inplace=False)
    F.gelu(x, approximate='none')
    F.gelu(x, approximate='tanh')
    F.hardtanh(x, -0.5, 2.0)
    F.hardtanh(x, 0, 6)
    F.hardtanh(x, min_val=-1, max_val=-1)
    F.hardtanh(x, -inf, inf)
    F.hardtanh(x, -inf, 1.0, False)
    F.hardshrink(x, 1)
    F.hardshrink(x, lambd=0.0)
    F.hardshrink(x, -2.0)
    lib.hardshrink(x, 2)
    x.hardshrink(0.25)
    F.softshrink(x, 1)
    F.softshrink(x, lambd=0.0)
    F.threshold(x, 1.0, 20.0)
    F.threshold(x, -1, 0)
    F.threshold(x, threshold=2, value=-inf, inplace=False)
    F.rrelu(x, 0.1, 0.1, True)
    F.rrelu(x, 0.1, 0.3, False)
    F.rrelu(x, lower=-0.5, upper=1.0, training=False, inplace=False)
    F.silu(x, False)
    F.mish(x, inplace=False)
    F.hardswish(x, False)
    F.relu6(x, False)
    F.selu(x, False)
    lib.selu(x)
    lib.celu(x, 3.0)
    lib.threshold(x, 0.5, 0.25)
    lib.rrelu(x, 0.1, 0.4)
""")


@pytest.mark.parametrize("expression", SETTINGS)
def test_settings(expression: str) -> None:
    # PyTorch takes CELU's alpha and hard sigmoid's 1/6 in float32, even in float64
    for x in INPUTS:
        check(run(expression), x)


def test_celu_of_an_alpha_that_float32_rounds() -> None:
    """PyTorch's gradient divides by the alpha in float32, even in float64; ours does not."""
    check(run("F.celu(x, 0.8)"), PLAIN, rtol=1e-7)


@pytest.mark.parametrize("inside", ["inplace=True", "inplace=False"])
@pytest.mark.parametrize(
    "name",
    ["relu", "relu6", "elu", "celu", "selu", "leaky_relu", "rrelu", "hardtanh", "silu", "mish",
     "hardswish", "hardsigmoid"],
)  # fmt: skip
def test_inplace_is_accepted(name: str, inside: str) -> None:
    check(run(f"F.{name}(x + 0, {inside})"), PLAIN, rtol=1e-7)


INTEGERS = lines("""
    F.hardtanh(x)
    F.hardtanh(x, -1.7, 2.9)
    F.hardtanh(x, 1, 2)
    F.relu6(x)
    F.threshold(x, 1, 5)
    F.threshold(x, 1.9, 5.5)
    F.threshold(x, 0, -9)
    F.softsign(x)
    F.tanhshrink(x)
    F.glu(x)
    F.hardshrink(x)
    F.gelu(x)
    F.celu(x)
    F.hardtanh(x, 0, 1000)
    F.threshold(x, 0, 1000)
    F.threshold(x, 0, 1e20)
    F.hardtanh(x, -inf, inf)
""")


@pytest.mark.parametrize("kind", ["int64", "int32", "int8", "uint8", "bool"])
@pytest.mark.parametrize("expression", INTEGERS)
def test_integers(expression: str, kind: str) -> None:
    x = np.array([0, 1, 2, 7]).astype(kind)
    x = x if kind in ("uint8", "bool") else x - x.dtype.type(3)
    try:
        run(expression)(torch, torch.tensor(x))
    except Exception:
        misuse(run(expression), x)
    else:
        check(run(expression), x)


@pytest.mark.parametrize("dim", [-3, -1, 0, 1, 2])
@pytest.mark.parametrize("shape", [(4, 6, 2), (2, 2, 2), (0, 4, 2), (4, 0, 2), (2, 3, 4)])
def test_glu(shape: tuple[int, ...], dim: int) -> None:
    x = RNG.standard_normal(shape)
    if shape[dim] % 2:
        misuse(run(f"F.glu(x, {dim})"), x)
        return
    check(run(f"F.glu(x, {dim})"), x)
    check(run(f"F.glu(x.flip(0).transpose(0, {dim}), 0)"), x)
    check(run("F.glu(x)"), x) if shape[-1] % 2 == 0 else None


IN_PLACE = lines("""
    relu_(x)
    elu_(x)
    elu_(x, 0.5)
    celu_(x, alpha=2.0)
    selu_(x)
    leaky_relu_(x, 0.2)
    rrelu_(x, 0.25, 0.25)
    rrelu_(x, lower=0.1, upper=0.5, training=False)
    hardtanh_(x)
    hardtanh_(x, -0.5, 0.75)
    threshold_(x, 0.5, 2.0)
""")


@pytest.mark.parametrize("expression", IN_PLACE)
def test_in_place_the_tensor_holds_the_result(expression: str) -> None:
    name = expression.split("(")[0]

    def inner(lib: Any, x: Any) -> Any:
        y = x * 2
        z = y * 3
        result = run(f"F.{expression}")(lib, y)
        assert result is y
        return result * y + z

    check(inner, PLAIN)

    def outside(lib: Any, x: Any) -> Any:
        y = x.detach().clone()
        view = y[0]
        run(f"F.{expression}")(lib, y)
        return y, view

    check(outside, PLAIN, gradients=False)
    for lib in (torch, cr):
        leaf = lib.ones(2, 3, requires_grad=True)
        with pytest.raises(RuntimeError):
            run(f"F.{expression}")(lib, leaf)
        with lib.no_grad():
            run(f"F.{expression}")(lib, leaf)
        assert hasattr(lib, name) == hasattr(torch, name) or lib is cr
    misuse(run(f"F.{name}(3.0)" if name != "threshold_" else "F.threshold_(3.0, 1, 2)"))


REFUSED = lines("""
    F.celu(x, 0)
    F.celu(x, 0.0)
    F.celu(x, 'a')
    F.gelu(x, approximate='exact')
    F.gelu(x, approximate=1)
    F.gelu(x, approximate=None)
    F.gelu(x, 'tanh')
    F.glu(x, 2)
    F.glu(x, 1.0)
    F.glu(x[:, :3], 1)
    F.glu(x[0, 0])
    F.hardtanh(x, 2, 1)
    F.hardtanh(x, 'a')
    F.hardshrink(x, 'a')
    F.softshrink(x, -1)
    F.softshrink(x, nan)
    F.softshrink(x, inf)
    F.softshrink(x, 'a')
    F.threshold(x, 1)
    F.threshold(x, 'a', 1)
    F.threshold(x, 1, None)
    F.rrelu(x, 0.5, 0.1)
    F.rrelu(x, 0.5, 0.1, True)
    F.rrelu(x, -inf, 0.1)
    F.rrelu(x, 0.1, inf, True)
    F.rrelu(x, 0.1, nan, True)
    F.rrelu(x, 'a')
    F.relu6([1.0])
    F.gelu(None)
    F.silu([1.0])
    F.gumbel_softmax(x, dim=2)
    F.gumbel_softmax(x.long())
""")


@pytest.mark.parametrize("expression", REFUSED)
def test_refused(expression: str) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it is, PyTorch must refuse too
        run(expression)(torch, torch.ones(2, 4))
    if expression in ("F.threshold(x, 1)", "F.gelu(x, 'tanh')"):  # Python's own error
        with pytest.raises(TypeError):
            run(expression)(cr, cr.ones(2, 4))
        return
    misuse(run(expression), np.ones((2, 4)))


def test_rrelu_draws_from_the_same_law() -> None:
    for lib in (torch, cr):
        lib.manual_seed(0)
        x = -lib.ones(200, 200, requires_grad=True)
        leaf = x.detach().requires_grad_()
        y = lib.nn.functional.rrelu(leaf, 0.2, 0.6, True)
        slopes = -np.asarray(y.detach())
        assert slopes.min() >= 0.2
        assert slopes.max() < 0.6
        assert abs(slopes.mean() - 0.4) < 5 * 0.4 / np.sqrt(12 * 40_000)
        assert abs(slopes.std() - 0.4 / np.sqrt(12)) < 0.002
        y.sum().backward()
        np.testing.assert_array_equal(np.asarray(leaf.grad), slopes)
        above = lib.nn.functional.rrelu(lib.tensor([2.0, 0.0]), 0.2, 0.6, True)
        assert above.tolist() == [2.0, 0.0]


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("tau", [0.5, 1, 3.0])
def test_gumbel_softmax_draws_from_the_same_law(hard: bool, tau: float) -> None:
    shares = np.array([0.1, 0.6, 0.3])
    means, spreads = [], []
    for lib in (torch, cr):
        lib.manual_seed(0)
        logits = lib.tensor(np.log(shares)).expand(40_000, 3)
        y = np.asarray(lib.nn.functional.gumbel_softmax(logits, tau, hard))
        np.testing.assert_allclose(y.sum(1), 1, rtol=1e-6)
        winners = np.bincount(y.argmax(1), minlength=3) / len(y)
        np.testing.assert_allclose(winners, shares, atol=5 * 0.5 / np.sqrt(len(y)))
        means.append(y.mean(0))
        spreads.append(y.std(0))
        if hard:
            np.testing.assert_allclose(np.sort(y, 1), [[0, 0, 1]] * len(y), atol=1e-9)
    np.testing.assert_allclose(means[0], means[1], atol=0.012)
    np.testing.assert_allclose(spreads[0], spreads[1], atol=0.012)


def test_gumbel_softmax_along_a_dimension() -> None:
    for lib in (torch, cr):
        x = lib.ones(2, 3, 4, requires_grad=True)
        y = lib.nn.functional.gumbel_softmax(x, hard=True, dim=1)
        np.testing.assert_allclose(np.asarray(y.detach().sum(1)), 1, rtol=1e-6)
        (y * y.detach().cumsum(1)).sum().backward()
        np.testing.assert_allclose(np.asarray(x.grad.sum(1)), 0, atol=1e-6)
        with pytest.warns(UserWarning, match="eps"):
            lib.nn.functional.gumbel_softmax(x, eps=1e-3)
