"""The methods that end in an underscore: the operation of the name, its result in this tensor.

Outside the graph the result is written into the tensor's memory.  Where gradients are recorded
the tensor takes the place of the result: its new array, and the node that made it.  The array
that it had stays as it was, for nodes that saved it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from chainrule.engine import state
from chainrule.engine.op import FUNCTIONS
from chainrule.engine.places import Places
from chainrule.engine.written import root
from chainrule.errors import GraphError, KindError, failure

if TYPE_CHECKING:
    from chainrule.engine.tensor import Tensor


def _in_place(name: str) -> Callable[..., Any]:
    """Make the method that computes `name` and keeps the result."""

    def method(self: Tensor, *args: Any, **options: Any) -> Tensor:
        return rewritten(self, name, args, options)

    return _documented(method, name)


def _reshaped(name: str) -> Callable[..., Any]:
    """Make the method that changes a tensor's axes: its memory is the same in another shape."""

    def method(self: Tensor, *args: Any, **options: Any) -> Tensor:
        _recorded(self, name, (*args, *options.values()))
        return _become(self, FUNCTIONS[name](self, *args, **options))

    return _documented(method, name)


def _documented(method: Any, name: str) -> Callable[..., Any]:
    method.__name__ = f"{name}_"
    method.__qualname__ = f"Tensor.{name}_"
    method.__doc__ = f"Do `chainrule.{name}` in place."
    return cast("Callable[..., Any]", method)


def _recorded(me: Tensor, name: str, others: tuple[Any, ...]) -> bool:
    """Tell whether the result belongs to a graph; refuse where the tensor cannot take its place."""
    me._need_data(f"{name}_")
    tracer = state.TRACER.get()
    if tracer is not None and any(tracer.follows(value) for value in (me, *others)):
        raise GraphError(
            f"{name}_: a value that capture() follows is not written in place, since the graph "
            f"would not know; build the new value with cr.{name}"
        )
    wants = [getattr(value, "_requires_grad", False) for value in (me, *others)]
    if not state.GRAD.get() or True not in wants:
        return False
    if me._requires_grad and me._node is None:
        raise GraphError(
            f"{name}_: a leaf tensor that requires grad is not written in place while gradients "
            f"are recorded; write inside no_grad(), or build the new value with cr.{name}"
        )
    return True


def rewritten(me: Tensor, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """Compute the operation on the tensor, and let the tensor be the result."""
    recorded = _recorded(me, name, (*args, *options.values()))
    y = FUNCTIONS[name](me if recorded else me.detach(), *args, **options)
    if recorded:
        return adopted(me, y)
    _check_fit(me, y)
    return me._filled(f"{name}_", y)


def _check_fit(me: Tensor, y: Tensor) -> None:
    if y.shape != me.shape:
        raise failure("in place", f"a result of the tensor's shape, {me.shape}", result=y)
    if not np.can_cast(y.dtype, me.dtype, "same_kind"):
        rule = f"a result that fits the tensor's dtype, {me.dtype}"
        raise failure("in place", rule, error=KindError, result=y)


def adopted(me: Tensor, y: Tensor) -> Tensor:
    """Let the tensor be another value of its shape and dtype, with that one's graph."""
    _check_fit(me, y)
    if getattr(root(me.array), "nbytes", -1) != me.array.nbytes:
        raise GraphError(
            "in place: a part of another tensor is not written while gradients are recorded, "
            "since the other's graph would not know; build the new value, with cr.where or cr.cat"
        )
    return _become(me, y if y.dtype == me.dtype else y.to(me.dtype))


def _become(me: Tensor, y: Tensor) -> Tensor:
    """Take the place of another tensor in the graph."""
    me.array, me._node, me._index = y.array, y._node, y._index
    me._requires_grad = y._requires_grad
    return me


class InPlace(Places):
    """In-place forms by family; those of arithmetic are in methods.py."""

    __slots__ = ()

    # By index and mask
    scatter_ = _in_place("scatter")
    scatter_add_ = _in_place("scatter_add")
    scatter_reduce_ = _in_place("scatter_reduce")
    index_add_ = _in_place("index_add")
    index_copy_ = _in_place("index_copy")
    index_fill_ = _in_place("index_fill")
    masked_fill_ = _in_place("masked_fill")
    masked_scatter_ = _in_place("masked_scatter")
    index_reduce_ = _in_place("index_reduce")
    index_put_ = _in_place("index_put")
    put_ = _in_place("put")

    # Elementwise
    abs_ = _in_place("abs")
    neg_ = _in_place("neg")
    exp_ = _in_place("exp")
    expm1_ = _in_place("expm1")
    log_ = _in_place("log")
    log1p_ = _in_place("log1p")
    log2_ = _in_place("log2")
    log10_ = _in_place("log10")
    sqrt_ = _in_place("sqrt")
    rsqrt_ = _in_place("rsqrt")
    square_ = _in_place("square")
    reciprocal_ = _in_place("reciprocal")
    sin_ = _in_place("sin")
    cos_ = _in_place("cos")
    tan_ = _in_place("tan")
    asin_ = _in_place("asin")
    acos_ = _in_place("acos")
    atan_ = _in_place("atan")
    sinh_ = _in_place("sinh")
    cosh_ = _in_place("cosh")
    asinh_ = _in_place("asinh")
    acosh_ = _in_place("acosh")
    atanh_ = _in_place("atanh")
    arcsin_ = _in_place("arcsin")
    arccos_ = _in_place("arccos")
    arctan_ = _in_place("arctan")
    arcsinh_ = _in_place("arcsinh")
    arccosh_ = _in_place("arccosh")
    arctanh_ = _in_place("arctanh")
    atan2_ = _in_place("atan2")
    arctan2_ = _in_place("arctan2")
    hypot_ = _in_place("hypot")
    deg2rad_ = _in_place("deg2rad")
    rad2deg_ = _in_place("rad2deg")
    exp2_ = _in_place("exp2")
    erf_ = _in_place("erf")
    erfc_ = _in_place("erfc")
    erfinv_ = _in_place("erfinv")
    sinc_ = _in_place("sinc")
    logit_ = _in_place("logit")
    xlogy_ = _in_place("xlogy")
    floor_ = _in_place("floor")
    ceil_ = _in_place("ceil")
    round_ = _in_place("round")
    trunc_ = _in_place("trunc")
    sign_ = _in_place("sign")
    clamp_ = _in_place("clamp")
    clip_ = _in_place("clip")
    clamp_min_ = _in_place("clamp_min")
    clamp_max_ = _in_place("clamp_max")
    fix_ = _in_place("fix")
    frac_ = _in_place("frac")
    nan_to_num_ = _in_place("nan_to_num")
    fmod_ = _in_place("fmod")
    copysign_ = _in_place("copysign")
    heaviside_ = _in_place("heaviside")
    lerp_ = _in_place("lerp")
    addcmul_ = _in_place("addcmul")
    addcdiv_ = _in_place("addcdiv")
    pow_ = _in_place("pow")
    remainder_ = _in_place("remainder")
    floor_divide_ = _in_place("floor_divide")
    sigmoid_ = _in_place("sigmoid")
    tanh_ = _in_place("tanh")
    relu_ = _in_place("relu")
    bitwise_and_ = _in_place("bitwise_and")
    bitwise_or_ = _in_place("bitwise_or")
    bitwise_xor_ = _in_place("bitwise_xor")
    bitwise_not_ = _in_place("bitwise_not")
    bitwise_left_shift_ = _in_place("bitwise_left_shift")
    bitwise_right_shift_ = _in_place("bitwise_right_shift")
    true_divide_ = _in_place("true_divide")
    eq_ = _in_place("eq")
    ne_ = _in_place("ne")
    lt_ = _in_place("lt")
    le_ = _in_place("le")
    gt_ = _in_place("gt")
    ge_ = _in_place("ge")
    logical_and_ = _in_place("logical_and")
    logical_or_ = _in_place("logical_or")
    logical_xor_ = _in_place("logical_xor")
    logical_not_ = _in_place("logical_not")

    # Along axes
    cumsum_ = _in_place("cumsum")
    cumprod_ = _in_place("cumprod")
    tril_ = _in_place("tril")
    triu_ = _in_place("triu")

    # Products
    addmm_ = _in_place("addmm")
    addmv_ = _in_place("addmv")
    addr_ = _in_place("addr")
    baddbmm_ = _in_place("baddbmm")
    addbmm_ = _in_place("addbmm")

    # Axes
    squeeze_ = _reshaped("squeeze")
    unsqueeze_ = _reshaped("unsqueeze")
    transpose_ = _reshaped("transpose")
    swapaxes_ = _reshaped("swapaxes")
    swapdims_ = _reshaped("swapdims")
    t_ = _reshaped("t")
