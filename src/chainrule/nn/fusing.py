"""Running neighbouring layers as one operation, where nobody looks between them.

A network keeps its layers, with their names, and calls these functions with them.  Where all are
as they were made, one fused operation runs, which gives the same values; where one of them has
hooks, was replaced by another kind of layer or has a setting that the operation lacks, and while
`detect_anomaly` watches, they are called one by one.  Nothing is deferred: what runs is decided
at each call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from chainrule.engine import state
from chainrule.engine.tensor import Tensor
from chainrule.errors import ChainruleError
from chainrule.nn import functional as F
from chainrule.nn.activation import ReLU
from chainrule.nn.container import Sequential
from chainrule.nn.conv import Conv2d
from chainrule.nn.module import Module
from chainrule.nn.normalization import BatchNorm1d, BatchNorm2d, BatchNorm3d
from chainrule.nn.pooling import MaxPool2d
from chainrule.nn.tracking import note_path

NORMS = (BatchNorm1d, BatchNorm2d, BatchNorm3d)


def _plain(module: Any, *kinds: type[Module]) -> bool:
    """Tell whether a module is of these very classes, and nobody looks at or changes its call."""
    return type(module) in kinds and not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or "forward" in module.__dict__
    )


def _conv(module: Any) -> bool:
    return _plain(module, Conv2d) and module.padding_mode == "zeros"


def _norm(module: Any) -> bool:
    return _plain(module, *NORMS)


def _relu(module: Any) -> bool:
    return _plain(module, ReLU)


def _pool(module: Any) -> bool:
    return _plain(module, MaxPool2d) and not module.return_indices


def _apart() -> bool:
    """Tell whether every layer must run by itself: an anomaly is told by the layer it began in."""
    return state.ANOMALY.get()


def conv_relu(conv: Module, relu: Module, x: Tensor) -> Tensor:
    """Give relu(conv(x)), as one operation where nobody looks between the two.

    Shapes, values and errors are the layers'.

    >>> import chainrule as cr
    >>> conv, relu = cr.nn.Conv2d(1, 2, 3), cr.nn.ReLU()
    >>> conv_relu(conv, relu, cr.zeros(4, 1, 8, 8)).grad_fn.op.name
    'conv2d_relu'
    >>> hook = relu.register_forward_hook(lambda module, inputs, output: print("seen"))
    >>> conv_relu(conv, relu, cr.zeros(4, 1, 8, 8)).grad_fn.op.name
    seen
    'relu'
    """
    if _apart() or not (_conv(conv) and _relu(relu)):
        return _called(relu, conv(x))
    return _fused_conv(conv, x)


def norm_relu(norm: Module, relu: Module, x: Tensor) -> Tensor:
    """Give relu(norm(x)), as one operation where nobody looks between the two.

    Shapes, values, errors and the running statistics are the layers'.

    >>> import chainrule as cr
    >>> norm = cr.nn.BatchNorm2d(3)
    >>> norm_relu(norm, cr.nn.ReLU(), cr.randn(4, 3, 8, 8)).grad_fn.op.name
    'batch_norm_relu'
    >>> norm.num_batches_tracked
    tensor(1)
    """
    if _apart() or not (_norm(norm) and _relu(relu)):
        return _called(relu, norm(x))
    return _fused_norm(norm, x)


def relu_pool(relu: Module, pool: Module, x: Tensor) -> Any:
    """Give pool(relu(x)), as one operation where nobody looks between the two.

    Shapes, values and errors are the layers'.

    >>> import chainrule as cr
    >>> relu_pool(cr.nn.ReLU(), cr.nn.MaxPool2d(2), cr.tensor([[[-1.0, 2.0], [3.0, -4.0]]]))
    tensor([[[3.0]]])
    """
    if _apart() or not (_relu(relu) and _pool(pool)):
        return pool(relu(x))
    return _fused_pool(pool, x)


def add_relu(relu: Module, a: Tensor, b: Tensor) -> Tensor:
    """Give relu(a + b), as one operation unless somebody looks at the ReLU.

    Shapes and values are those of the sum; it is the end of a residual block.

    >>> import chainrule as cr
    >>> add_relu(cr.nn.ReLU(), cr.tensor([1.0, -3.0]), cr.tensor([2.0, 2.0]))
    tensor([3.0, 0.0])
    """
    if _apart() or not _relu(relu):
        return _called(relu, a + b)
    return F.add_relu(a, b)


def _called(module: Module, x: Tensor) -> Tensor:
    y: Tensor = module(x)
    return y


def _fused_conv(conv: Any, x: Tensor) -> Tensor:
    settings = conv.stride, conv.padding, conv.dilation, conv.groups
    try:
        return F.conv2d_relu(x, conv.weight, conv.bias, *settings)
    except ChainruleError as error:
        note_path(error, conv)
        raise


def _fused_norm(norm: Any, x: Tensor) -> Tensor:
    try:
        y: Tensor = norm.normalise(F.batch_norm_relu, x)
    except ChainruleError as error:
        note_path(error, norm)
        raise
    return y


def _fused_pool(pool: Any, x: Tensor) -> Tensor:
    settings = pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode
    try:
        return F.relu_max_pool2d(x, *settings)
    except ChainruleError as error:
        note_path(error, pool)
        raise


def chain(layers: Iterable[Any], x: Any) -> Any:
    """Pass x through layers, neighbours as one operation where nobody looks between them.

    What is fused: a convolution and its ReLU; batch norm and its ReLU; ReLU and the max pooling
    after it, which then leaves the convolution before them alone.

    >>> import chainrule as cr
    >>> nn = cr.nn
    >>> layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.ReLU(), nn.MaxPool2d(2)]
    >>> graph = cr.capture(lambda x: chain(layers, x), cr.zeros(1, 1, 6, 6))
    >>> [gate.op.name for gate in graph if gate.op]
    ['conv2d_relu', 'conv2d', 'relu_max_pool']
    """
    left = deque(layers)
    apart = _apart()
    while left:
        layer = left.popleft()
        after = left[0] if left and not apart else None
        if _relu(layer) and _pool(after):
            x = _fused_pool(left.popleft(), x)
        elif _relu(after) and _norm(layer):
            left.popleft()
            x = _fused_norm(layer, x)
        elif _relu(after) and _conv(layer) and not (len(left) > 1 and _pool(left[1])):
            left.popleft()
            x = _fused_conv(layer, x)
        else:
            x = layer(x)
    return x


class Chain(Sequential):
    """A Sequential that runs neighbours as one operation where nobody looks between them.

    See `chain` for what is fused.  Names, `state_dict`, slices and all else are Sequential's, and
    so are the values.

    >>> import chainrule as cr
    >>> net = Chain(cr.nn.Conv2d(1, 4, 3), cr.nn.ReLU(), cr.nn.Flatten())
    >>> net(cr.zeros(2, 1, 6, 6)).shape, list(net.state_dict())
    ((2, 64), ['0.weight', '0.bias'])
    """

    def forward(self, input: Any) -> Any:
        """Pass the input through all modules."""
        return chain(self._modules.values(), input)
