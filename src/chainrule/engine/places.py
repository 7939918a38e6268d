"""The methods of tensors that choose, order, count and rearrange elements.

As in operators.py each looks up the public function of its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule.engine.operators import Operators, _call, _method, _sized

if TYPE_CHECKING:
    from chainrule.engine.tensor import Tensor


class Places(Operators):
    """Methods by family; `engine.methods.Methods` has what is no operation."""

    __slots__ = ()

    def __lshift__(self, other: Any) -> Tensor:
        return _call("bitwise_left_shift", self, other)

    def __rlshift__(self, other: Any) -> Tensor:
        return _call("bitwise_left_shift", other, self)

    def __rshift__(self, other: Any) -> Tensor:
        return _call("bitwise_right_shift", self, other)

    def __rrshift__(self, other: Any) -> Tensor:
        return _call("bitwise_right_shift", other, self)

    def unfold(self, dimension: int, size: int, step: int) -> Tensor:
        """Give the windows along an axis: `chainrule.windows`, not `nn.functional.unfold`."""
        return _call("windows", self, dimension, size, step)

    # By index and mask
    gather = _method("gather")
    scatter = _method("scatter")
    scatter_add = _method("scatter_add")
    scatter_reduce = _method("scatter_reduce")
    index_select = _method("index_select")
    index_add = _method("index_add")
    index_copy = _method("index_copy")
    index_fill = _method("index_fill")
    index_reduce = _method("index_reduce")
    index_put = _method("index_put")
    put = _method("put")
    take = _method("take")
    take_along_dim = _method("take_along_dim")
    masked_select = _method("masked_select")
    masked_scatter = _method("masked_scatter")
    nonzero = _method("nonzero")
    argwhere = _method("argwhere")

    # Order and counts
    sort = _method("sort")
    argsort = _method("argsort")
    msort = _method("msort")
    topk = _method("topk")
    kthvalue = _method("kthvalue")
    median = _method("median")
    nanmedian = _method("nanmedian")
    mode = _method("mode")
    quantile = _method("quantile")
    nanquantile = _method("nanquantile")
    unique = _method("unique")
    unique_consecutive = _method("unique_consecutive")
    bincount = _method("bincount")
    histc = _method("histc")

    # Running and other reductions
    cumprod = _method("cumprod")
    cummax = _method("cummax")
    cummin = _method("cummin")
    logcumsumexp = _method("logcumsumexp")
    norm = _method("norm")
    dist = _method("dist")
    aminmax = _method("aminmax")
    nansum = _method("nansum")
    nanmean = _method("nanmean")

    # Products
    inner = _method("inner")
    kron = _method("kron")
    cross = _method("cross")
    addmm = _method("addmm")
    addmv = _method("addmv")
    addr = _method("addr")
    baddbmm = _method("baddbmm")
    addbmm = _method("addbmm")

    # Diagonals and triangles
    trace = _method("trace")
    diag = _method("diag")
    diagonal = _method("diagonal")
    diag_embed = _method("diag_embed")
    diagflat = _method("diagflat")
    tril = _method("tril")
    triu = _method("triu")

    # Copies, parts, turns
    repeat = _sized("repeat")
    tile = _sized("tile")
    repeat_interleave = _method("repeat_interleave")
    tensor_split = _method("tensor_split")
    hsplit = _method("hsplit")
    vsplit = _method("vsplit")
    dsplit = _method("dsplit")
    split_with_sizes = _method("split_with_sizes")
    unsafe_chunk = _method("unsafe_chunk")
    unsafe_split = _method("unsafe_split")
    rot90 = _method("rot90")
    fliplr = _method("fliplr")
    flipud = _method("flipud")

    # Bits
    bitwise_and = _method("bitwise_and")
    bitwise_or = _method("bitwise_or")
    bitwise_xor = _method("bitwise_xor")
    bitwise_not = _method("bitwise_not")
    bitwise_left_shift = _method("bitwise_left_shift")
    bitwise_right_shift = _method("bitwise_right_shift")
