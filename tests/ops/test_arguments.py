"""Arguments at the border: what is accepted, what is refused, and in which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import AxisError, KindError, ShapeError
from chainrule.ops.arguments import axes, axis, int_tuple, integer, ntuple, numpy_names, pair


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3), cr.tensor(3)])
def test_integers_of_every_kind(value: Any) -> None:
    for result in (
        integer(value, "f"),
        axis(value, 5, "f"),
        *pair(value, "f"),
        *axes(value, 5, "f"),
    ):
        assert result == 3
        assert type(result) is int


@pytest.mark.parametrize("value", [True, np.bool_(True), np.array(True), 1.0, "3", None, [3], {}])
def test_what_is_no_integer(value: Any) -> None:
    with pytest.raises(KindError, match=r"^stride: expected an integer; got value"):
        integer(value, "stride")


def test_ntuple() -> None:
    assert ntuple(2, 3, "s") == (2, 2, 2)
    assert ntuple([1, 2, 3], 3, "s") == (1, 2, 3)
    assert ntuple((5,), 3, "s") == (5, 5, 5)
    assert ntuple(np.array([1, 2]), 2, "s") == (1, 2)
    assert all(type(v) is int for v in ntuple(np.array([1, 2]), 2, "s"))
    assert pair((-1, 0), "s") == (-1, 0)
    with pytest.raises(ShapeError, match=r"conv2d stride: expected 1 or 2 integers, not 3"):
        pair((1, 2, 3), "conv2d stride")
    with pytest.raises(ShapeError, match="not 0"):
        pair((), "s")
    for wrong in ((1, True), (1, 2.0), "12", True, 1.5, None, (1, None)):
        with pytest.raises(KindError, match="s: expected an integer or a tuple of 2 integers"):
            pair(wrong, "s")


def test_int_tuple_without_a_bare_number() -> None:
    assert int_tuple(7, "f") == (7,)
    with pytest.raises(KindError, match=r"write \(7,\)"):
        int_tuple(7, "f", bare=False)


@pytest.mark.parametrize("ndim", range(5))
def test_axis_counts_from_both_ends(ndim: int) -> None:
    n = max(ndim, 1)
    for dim in range(-n, n):
        assert axis(dim, ndim, "f") == list(range(n))[dim]
    for dim in (-n - 1, n, n + 7):
        with pytest.raises(AxisError) as caught:
            axis(dim, ndim, "sum")
        assert f"[{-n}, {n - 1}]" in str(caught.value)
        assert str(caught.value).endswith(f"got dim {dim}")
        assert isinstance(caught.value, IndexError)


def test_axes() -> None:
    assert axes(None, 3, "f") == (0, 1, 2)
    assert axes((), 3, "f") == ()
    assert axes([-1, 0], 3, "f") == (2, 0)
    assert axes(-2, 3, "f") == (1,)
    assert axes((0,), 0, "f") == axes(-1, 0, "f") == axes(None, 0, "f") == ()
    with pytest.raises(ShapeError, match="every dimension once"):
        axes((0, -3), 3, "f")
    with pytest.raises(AxisError):
        axes((0, 3), 3, "f")
    with pytest.raises(KindError):
        axes((0, True), 3, "f")


def test_numpy_names() -> None:
    @numpy_names
    def f(input: int, dim: int = 0, keepdim: bool = False, *, other: int = 0) -> Any:
        """Say so."""
        return input, dim, keepdim, other

    assert f(1, axis=2, keepdims=True) == (1, 2, True, 0)
    assert f(x=1, x2=5) == (1, 0, False, 5)
    assert f(1, 2, other=3) == (1, 2, False, 3)
    assert (f.__name__, f.__doc__) == ("f", "Say so.")
    for wrong in ({"dim": 1, "axis": 2}, {"axes": 2}):
        with pytest.raises(TypeError):
            f(1, **wrong)
    with pytest.raises(TypeError):
        f(1, 2, axis=2)
