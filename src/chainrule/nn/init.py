"""Initial values, written in place: PyTorch's names; He's and Xavier's rules among them.

Without a generator, values come from the stream of the layer under construction (the same for
the same seed and place in the network), else from the global one.  On device "meta", and for
tensors of size 0, nothing is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.random import Generator, initialization_generator
from chainrule.engine.tensor import Tensor, mark_written
from chainrule.errors import KindError, failure
from chainrule.ops.arguments import integer

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Give the factor by which weights before a nonlinearity are larger than before none.

    1 for linear, convolutions and sigmoid, 5/3 for tanh, sqrt(2) for relu, sqrt(2 / (1 + a^2)) for
    leaky_relu with slope a = `param` (0.01), 3/4 for selu.  Raises ValueError for other names and
    for a `param` that is no number.

    >>> import chainrule as cr
    >>> round(cr.nn.init.calculate_gain("leaky_relu", 0.2), 4)
    1.3868
    """
    kernels = {f"conv{t}{d}d" for t in ("", "_transpose") for d in (1, 2, 3)}
    if nonlinearity in kernels or nonlinearity in ("linear", "sigmoid"):
        return 1.0
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + _slope(param) ** 2))
    gains = {"tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4}
    if nonlinearity not in gains:
        known = sorted({*gains, *kernels, "linear", "sigmoid", "leaky_relu"})
        raise failure("calculate_gain", f"one of {known}", nonlinearity=nonlinearity)
    return gains[nonlinearity]


def _slope(param: Any) -> float:
    if param is None:
        return 0.01
    if isinstance(param, bool) or not isinstance(param, int | float | np.number):
        raise failure("calculate_gain", "a slope that is a number", param=param)
    return float(param)


def fans(tensor: Tensor) -> tuple[int, int]:
    """Give (fan_in, fan_out): how many inputs an output sees, how many outputs an input reaches.

    (out, in, *kernel) -> (in * kernel, out * kernel).  Raises ValueError below 2 dimensions.

    >>> import chainrule as cr
    >>> cr.nn.init.fans(cr.zeros(6, 3, 5, 5))
    (75, 150)
    """
    if tensor.ndim < 2:
        raise failure("fans", "a weight (out, in, ...) of at least 2 dimensions", tensor=tensor)
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


_calculate_fan_in_and_fan_out = fans  # the name by which layers written for PyTorch call it


def _fill(tensor: Tensor, name: str, draw: Callable[[], Any], floating: bool = True) -> Tensor:
    """Write what `draw` gives, if there is something to write to; return the tensor."""
    if not isinstance(tensor, Tensor):
        raise failure(name, "a tensor", error=KindError, tensor=tensor)
    if floating and tensor.dtype.kind != "f":
        raise failure(name, "a floating-point tensor", error=KindError, tensor=tensor)
    if not tensor.is_meta and tensor.array.size:
        tensor.array[...] = draw()
        mark_written(tensor)
    return tensor


def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with uniform values in [a, b).  Raises ValueError for a > b.

    >>> import chainrule as cr
    >>> w = cr.nn.init.uniform_(cr.zeros(100), 2.0, 3.0)
    >>> bool(((w >= 2) & (w < 3)).all())
    True
    """
    if not a <= b:
        raise failure("uniform_", f"a <= b: {a} <= {b}")
    source = generator or initialization_generator()
    low, high = float(a), float(b)
    return _fill(tensor, "uniform_", lambda: source.uniform(tensor.shape, tensor.dtype, low, high))


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with normal values.  Raises ValueError for std < 0.

    >>> import chainrule as cr
    >>> cr.nn.init.normal_(cr.zeros(2), 3.0, 0.0)
    tensor([3.0, 3.0])
    """
    if not std >= 0:
        raise failure("normal_", "std of at least 0", std=std)
    source = generator or initialization_generator()
    settings = float(mean), float(std)
    return _fill(tensor, "normal_", lambda: source.normal(tensor.shape, tensor.dtype, *settings))


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal values, those outside [a, b] drawn again.

    a and b are values, not multiples of std.  Raises ValueError for std <= 0 or a >= b.

    >>> import chainrule as cr
    >>> w = cr.nn.init.trunc_normal_(cr.zeros(1000), std=2.0, a=-1.0, b=1.0)
    >>> bool((w.abs() <= 1).all())
    True
    """
    if not (std > 0 and a < b):
        raise failure("trunc_normal_", f"std > 0 and a < b: {std} > 0, {a} < {b}")
    source = generator or initialization_generator()
    low, high = (a - mean) / std, (b - mean) / std

    def draw() -> Array:
        values = mean + std * _truncated(source, tensor.array.size, low, high)
        return np.clip(values, a, b).reshape(tensor.shape)

    return _fill(tensor, "trunc_normal_", draw)


def _truncated(source: Generator, count: int, low: float, high: float) -> Array:
    """Draw standard normal values within [low, high] by rejection.

    Proposals are normal where the interval is wide around 0, uniform where it is narrow, and
    exponential in a far tail (Robert, 1995), so that most are accepted wherever it lies.
    """
    if high < 0:  # the upper tail, mirrored
        return -_truncated(source, count, -high, -low)
    nearest = max(low, 0.0)
    rate = (nearest + math.sqrt(nearest**2 + 4)) / 2
    kept = np.empty(0)
    while kept.size < count:
        n = 2 * (count - kept.size) + 16
        level = source.uniform((n,), FLOAT64, 0.0, 1.0)
        if low <= 0 and high - low > 2:
            z = source.normal((n,), FLOAT64, 0.0, 1.0)
            accepted = (z >= low) & (z <= high)
        elif high - nearest < 1 / rate:
            z = source.uniform((n,), FLOAT64, low, high)
            accepted = level <= np.exp((nearest**2 - z * z) / 2)
        else:
            z = low - np.log1p(-source.uniform((n,), FLOAT64, 0.0, 1.0)) / rate
            accepted = (level <= np.exp(-((z - rate) ** 2) / 2)) & (z <= high)
        kept = np.concatenate([kept, z[accepted]])
    return kept[:count]


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one number.

    >>> import chainrule as cr
    >>> cr.nn.init.constant_(cr.zeros(2), 0.3)
    tensor([0.3, 0.3])
    """
    return _fill(tensor, "constant_", lambda: val, floating=False)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones.

    >>> import chainrule as cr
    >>> cr.nn.init.ones_(cr.zeros(2))
    tensor([1.0, 1.0])
    """
    return _fill(tensor, "ones_", lambda: 1, floating=False)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros.

    >>> import chainrule as cr
    >>> cr.nn.init.zeros_(cr.ones(2))
    tensor([0.0, 0.0])
    """
    return _fill(tensor, "zeros_", lambda: 0, floating=False)


def eye_(tensor: Tensor) -> Tensor:
    """Make a matrix the identity: ones on the diagonal.  Raises ValueError unless it is 2-D.

    >>> import chainrule as cr
    >>> cr.nn.init.eye_(cr.zeros(2, 2))
    tensor([[1.0, 0.0],
            [0.0, 1.0]])
    """
    if tensor.ndim != 2:
        raise failure("eye_", "a matrix, 2 dimensions", tensor=tensor)
    return _fill(tensor, "eye_", lambda: np.eye(tensor.shape[0], tensor.shape[1]), floating=False)


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Make a convolution's weight pass its input on: one 1 at the middle of each filter.

    Within each of `groups`, output channel i copies input channel i while there are any.
    Raises ValueError unless the weight has 3, 4 or 5 dimensions and groups divide its outputs.

    >>> import chainrule as cr
    >>> cr.nn.init.dirac_(cr.zeros(1, 1, 3)).tolist()
    [[[0.0, 1.0, 0.0]]]
    """
    if tensor.ndim not in (3, 4, 5):
        raise failure("dirac_", "a weight of 3, 4 or 5 dimensions", tensor=tensor)
    outputs, inputs, *kernel = tensor.shape
    if integer(groups, "dirac_ groups") < 1 or outputs % groups:
        raise failure("dirac_", f"groups that divide the outputs: {outputs} % {groups} = 0")
    each = outputs // groups

    def draw() -> Array:
        values = np.zeros(tensor.shape)
        for g in range(groups):
            for i in range(min(each, inputs)):
                values[(g * each + i, i, *(k // 2 for k in kernel))] = 1
        return values

    return _fill(tensor, "dirac_", draw, floating=False)


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with uniform values in +-gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010).

    Raises ValueError below 2 dimensions.

    >>> import chainrule as cr
    >>> w = cr.nn.init.xavier_uniform_(cr.zeros(100, 50))
    >>> bool(w.abs().max() <= 0.2)
    True
    """
    bound = math.sqrt(3.0) * _xavier(tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with normal values of variance gain^2 * 2 / (fan_in + fan_out) (Glorot and Bengio).

    Raises ValueError below 2 dimensions.

    >>> import chainrule as cr
    >>> cr.nn.init.xavier_normal_(cr.zeros(3, 2)).shape
    (3, 2)
    """
    return normal_(tensor, 0.0, _xavier(tensor, gain), generator)


def _xavier(tensor: Tensor, gain: float) -> float:
    return gain * math.sqrt(2.0 / (sum(fans(tensor)) or 1))


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with uniform values in +-gain sqrt(3 / fan), He's rule (He et al., 2015).

    The gain is that of `nonlinearity` with slope `a`; `mode` is "fan_in", which keeps the forward's
    variance, or "fan_out", which keeps the backward's.  Raises ValueError below 2 dimensions and
    for other words.

    >>> import chainrule as cr
    >>> w = cr.nn.init.kaiming_uniform_(cr.zeros(100, 24), nonlinearity="relu")
    >>> bool(w.abs().max() <= 0.5)
    True
    """
    bound = math.sqrt(3.0) * _kaiming(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal values of variance gain^2 / fan: He's rule, 2 / fan_in for ReLU.

    Arguments and errors as in `kaiming_uniform_`.

    >>> import chainrule as cr
    >>> w = cr.nn.init.kaiming_normal_(cr.zeros(200, 50), nonlinearity="relu")
    >>> bool(0.18 < w.std() < 0.22)
    True
    """
    std = _kaiming(tensor, a, mode, nonlinearity)
    return normal_(tensor, 0.0, std, generator)


def _kaiming(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if not isinstance(mode, str) or mode.lower() not in ("fan_in", "fan_out"):
        raise failure("kaiming", "mode 'fan_in' or 'fan_out'", mode=mode)
    gain = calculate_gain(nonlinearity, a)
    if 0 in tensor.shape:
        return 0.0
    fan = fans(tensor)[mode.lower() == "fan_out"]
    return gain / math.sqrt(fan)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """Fill with an orthogonal matrix times `gain` (Saxe et al., 2013), uniformly distributed.

    The weight counts as a matrix (out, all the rest); its shorter side's vectors are orthonormal.
    Raises ValueError below 2 dimensions.

    >>> import chainrule as cr
    >>> w = cr.nn.init.orthogonal_(cr.zeros(2, 3))
    >>> bool(((w @ w.T - cr.eye(2)).abs() < 1e-6).all())
    True
    """
    if tensor.ndim < 2:
        raise failure("orthogonal_", "at least 2 dimensions", tensor=tensor)
    source = generator or initialization_generator()

    def draw() -> Array:
        rows = tensor.shape[0]
        columns = tensor.array.size // rows
        kind = FLOAT64 if tensor.dtype.itemsize == 8 else FLOAT32
        tall = source.normal((max(rows, columns), min(rows, columns)), kind, 0.0, 1.0)
        q, r = np.linalg.qr(tall)
        q *= np.copysign(1, np.diagonal(r)) * gain  # without the signs Q favours some rotations
        return (q if rows >= columns else q.T).reshape(tensor.shape)

    return _fill(tensor, "orthogonal_", draw)


def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None
) -> Tensor:
    """Fill with normal values, then set the given part of each column to 0 (Martens, 2010).

    Raises ValueError unless the tensor has 2 dimensions and `sparsity` lies in [0, 1].

    >>> import chainrule as cr
    >>> w = cr.nn.init.sparse_(cr.ones(10, 3), 0.4)
    >>> (w == 0).sum(dim=0).tolist()
    [4, 4, 4]
    """
    if tensor.ndim != 2 or not 0 <= sparsity <= 1:
        rule = f"2 dimensions and sparsity in [0, 1]: {sparsity}"
        raise failure("sparse_", rule, tensor=tensor)
    source = generator or initialization_generator()

    def draw() -> Array:
        rows, columns = tensor.shape
        values = source.normal((rows, columns), FLOAT64, 0.0, float(std))
        for j in range(columns):
            values[source.permutation(rows)[: math.ceil(sparsity * rows)], j] = 0
        return values

    return _fill(tensor, "sparse_", draw)
