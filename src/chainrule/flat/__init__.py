"""The lecture's pairs on plain NumPy arrays: each block as a function and its `_back`; deck 004.

No graph and nothing remembered: `y = relu(x)`, then `dx = relu_back(dLdy, x)`.  Arrays come in and
arrays come out, computed by the same formulas as in the layers; float64 stays float64, float32
stays float32, integers become float64.  Images are (C, H, W), batches (N, C, H, W), and where it
is natural one channel may be (H, W).  A `_back` takes the gradient of the output first, then what
the function took; the output itself may follow, as on the slides, and is not needed.
Shapes that do not fit raise ShapeError with the arithmetic; nothing is broadcast silently.
"""

from chainrule.flat.convolution import conv, conv_back
from chainrule.flat.dense import fc, fc_back, flatten, flatten_back
from chainrule.flat.elementwise import (
    batch_norm,
    batch_norm_back,
    dropout,
    dropout_back,
    relu,
    relu_back,
    sigmoid,
    sigmoid_back,
    tanh,
    tanh_back,
)
from chainrule.flat.losses import (
    loss_ce_back,
    loss_cross_entropy_softmax,
    softmax,
    softmax_back,
    svm_loss,
    svm_loss_back,
)
from chainrule.flat.windows import col2im, im2col, maxpool, maxpool_back

# The lecture's short names.
loss_ce_sm = loss_cross_entropy_softmax
pool = maxpool
pool_back = maxpool_back

__all__ = [
    "batch_norm",
    "batch_norm_back",
    "col2im",
    "conv",
    "conv_back",
    "dropout",
    "dropout_back",
    "fc",
    "fc_back",
    "flatten",
    "flatten_back",
    "im2col",
    "loss_ce_back",
    "loss_ce_sm",
    "loss_cross_entropy_softmax",
    "maxpool",
    "maxpool_back",
    "pool",
    "pool_back",
    "relu",
    "relu_back",
    "sigmoid",
    "sigmoid_back",
    "softmax",
    "softmax_back",
    "svm_loss",
    "svm_loss_back",
    "tanh",
    "tanh_back",
]
