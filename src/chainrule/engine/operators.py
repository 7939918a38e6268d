"""The operators and methods of tensors: each one looks up the public function of its name.

The engine knows no operation.  These methods are thin on purpose: the rule, the formula and
the documentation of each live with the function of the same name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from chainrule.engine.op import FUNCTIONS

if TYPE_CHECKING:
    from chainrule.engine.tensor import Tensor


def _call(name: str, *args: Any, **options: Any) -> Tensor:
    return cast("Tensor", FUNCTIONS[name](*args, **options))


def _method(name: str) -> Callable[..., Any]:
    """Make the method that calls the public function of the same name."""

    def method(self: Tensor, *args: Any, **options: Any) -> Any:
        return FUNCTIONS[name](self, *args, **options)

    return _named(method, name)


def _sized(name: str) -> Callable[..., Any]:
    """Make a method that takes its sizes one by one or as a tuple: x.reshape(2, 3)."""

    def method(self: Tensor, *sizes: Any, **options: Any) -> Any:
        given = len(sizes) == 1 and isinstance(sizes[0], tuple | list)
        if not sizes and options:
            return FUNCTIONS[name](self, **options)
        return FUNCTIONS[name](self, tuple(sizes[0]) if given else sizes, **options)

    return _named(method, name)


def _named(method: Any, name: str) -> Callable[..., Any]:
    method.__name__ = name
    method.__qualname__ = f"Tensor.{name}"
    method.__doc__ = f"Call `chainrule.{name}` with this tensor first."
    return cast("Callable[..., Any]", method)


class Operators:
    """Arithmetic, comparison, indexing, and the methods that name an operation."""

    __slots__ = ()

    def __add__(self, other: Any) -> Tensor:
        return _call("add", self, other)

    def __radd__(self, other: Any) -> Tensor:
        return _call("add", other, self)

    def __sub__(self, other: Any) -> Tensor:
        return _call("sub", self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return _call("sub", other, self)

    def __mul__(self, other: Any) -> Tensor:
        return _call("mul", self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return _call("mul", other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return _call("div", self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return _call("div", other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return _call("floor_divide", self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return _call("floor_divide", other, self)

    def __mod__(self, other: Any) -> Tensor:
        return _call("remainder", self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return _call("remainder", other, self)

    def __pow__(self, other: Any) -> Tensor:
        return _call("pow", self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return _call("pow", other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return _call("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return _call("matmul", other, self)

    def __neg__(self) -> Tensor:
        return _call("neg", self)

    def __pos__(self) -> Tensor:
        return cast("Tensor", self)

    def __abs__(self) -> Tensor:
        return _call("abs", self)

    def __invert__(self) -> Tensor:
        return _call("bitwise_not", self)

    def __and__(self, other: Any) -> Tensor:
        return _call("bitwise_and", self, other)

    def __or__(self, other: Any) -> Tensor:
        return _call("bitwise_or", self, other)

    def __xor__(self, other: Any) -> Tensor:
        return _call("bitwise_xor", self, other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return _call("eq", self, other) if other is not None else cast("Tensor", False)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return _call("ne", self, other) if other is not None else cast("Tensor", True)

    def __lt__(self, other: Any) -> Tensor:
        return _call("lt", self, other)

    def __le__(self, other: Any) -> Tensor:
        return _call("le", self, other)

    def __gt__(self, other: Any) -> Tensor:
        return _call("gt", self, other)

    def __ge__(self, other: Any) -> Tensor:
        return _call("ge", self, other)

    def __getitem__(self, key: Any) -> Tensor:
        return _call("getitem", self, key)

    # Elementwise
    add = _method("add")
    sub = _method("sub")
    mul = _method("mul")
    div = _method("div")
    true_divide = _method("true_divide")
    pow = _method("pow")
    neg = _method("neg")
    exp = _method("exp")
    log = _method("log")
    log2 = _method("log2")
    log10 = _method("log10")
    log1p = _method("log1p")
    expm1 = _method("expm1")
    sqrt = _method("sqrt")
    rsqrt = _method("rsqrt")
    square = _method("square")
    reciprocal = _method("reciprocal")
    abs = _method("abs")
    sign = _method("sign")
    sin = _method("sin")
    cos = _method("cos")
    tan = _method("tan")
    asin = _method("asin")
    acos = _method("acos")
    atan = _method("atan")
    sinh = _method("sinh")
    cosh = _method("cosh")
    asinh = _method("asinh")
    acosh = _method("acosh")
    atanh = _method("atanh")
    arcsin = _method("arcsin")
    arccos = _method("arccos")
    arctan = _method("arctan")
    arcsinh = _method("arcsinh")
    arccosh = _method("arccosh")
    arctanh = _method("arctanh")
    atan2 = _method("atan2")
    arctan2 = _method("arctan2")
    hypot = _method("hypot")
    deg2rad = _method("deg2rad")
    rad2deg = _method("rad2deg")
    exp2 = _method("exp2")
    erf = _method("erf")
    erfc = _method("erfc")
    erfinv = _method("erfinv")
    sinc = _method("sinc")
    logit = _method("logit")
    xlogy = _method("xlogy")
    floor = _method("floor")
    ceil = _method("ceil")
    round = _method("round")
    trunc = _method("trunc")
    clamp = _method("clamp")
    fix = _method("fix")
    frac = _method("frac")
    nan_to_num = _method("nan_to_num")
    clip = _method("clip")
    clamp_min = _method("clamp_min")
    clamp_max = _method("clamp_max")
    maximum = _method("maximum")
    minimum = _method("minimum")
    eq = _method("eq")
    ne = _method("ne")
    lt = _method("lt")
    le = _method("le")
    gt = _method("gt")
    ge = _method("ge")
    logical_and = _method("logical_and")
    logical_or = _method("logical_or")
    logical_xor = _method("logical_xor")
    logical_not = _method("logical_not")
    isnan = _method("isnan")
    isinf = _method("isinf")
    isfinite = _method("isfinite")
    equal = _method("equal")
    allclose = _method("allclose")
    isclose = _method("isclose")
    absolute = _method("absolute")
    subtract = _method("subtract")
    multiply = _method("multiply")
    divide = _method("divide")
    negative = _method("negative")
    floor_divide = _method("floor_divide")
    remainder = _method("remainder")
    fmod = _method("fmod")
    copysign = _method("copysign")
    heaviside = _method("heaviside")
    lerp = _method("lerp")
    addcmul = _method("addcmul")
    addcdiv = _method("addcdiv")
    prelu = _method("prelu")
    hardshrink = _method("hardshrink")

    # Reductions
    sum = _method("sum")
    mean = _method("mean")
    var = _method("var")
    std = _method("std")
    prod = _method("prod")
    max = _method("max")
    min = _method("min")
    amax = _method("amax")
    amin = _method("amin")
    argmax = _method("argmax")
    argmin = _method("argmin")
    logsumexp = _method("logsumexp")
    any = _method("any")
    all = _method("all")
    count_nonzero = _method("count_nonzero")
    cumsum = _method("cumsum")

    # Shape
    reshape = _sized("reshape")
    permute = _sized("permute")
    expand = _sized("expand")
    broadcast_to = _sized("broadcast_to")
    flip = _sized("flip")
    flatten = _method("flatten")
    unflatten = _method("unflatten")
    transpose = _method("transpose")
    swapaxes = _method("swapaxes")
    t = _method("t")
    movedim = _method("movedim")
    squeeze = _method("squeeze")
    unsqueeze = _method("unsqueeze")
    expand_as = _method("expand_as")
    narrow = _method("narrow")
    select = _method("select")
    split = _method("split")
    chunk = _method("chunk")
    unbind = _method("unbind")
    clone = _method("clone")
    contiguous = _method("contiguous")
    moveaxis = _method("moveaxis")
    ravel = _method("ravel")
    roll = _method("roll")
    swapdims = _method("swapdims")

    # Products
    matmul = _method("matmul")
    mm = _method("mm")
    bmm = _method("bmm")
    mv = _method("mv")
    dot = _method("dot")
    outer = _method("outer")

    # Activations
    sigmoid = _method("sigmoid")
    tanh = _method("tanh")
    relu = _method("relu")
    softmax = _method("softmax")
    log_softmax = _method("log_softmax")
