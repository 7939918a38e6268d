"""The operations that layers call, under the names of torch.nn.functional."""

from chainrule.ops.activation import (
    elu,
    leaky_relu,
    logsigmoid,
    relu,
    sigmoid,
    softplus,
    tanh,
)
from chainrule.ops.activation_channel import maxout, prelu
from chainrule.ops.conv import conv1d, conv2d, conv3d
from chainrule.ops.dropout import dropout, dropout1d, dropout2d, dropout3d
from chainrule.ops.fold import fold, unfold
from chainrule.ops.fused import add_relu, batch_norm_relu, conv2d_relu, relu_max_pool2d
from chainrule.ops.linear import linear
from chainrule.ops.loss import l1_loss, mse_loss
from chainrule.ops.loss_binary import binary_cross_entropy, binary_cross_entropy_with_logits
from chainrule.ops.loss_class import cross_entropy
from chainrule.ops.loss_labels import nll_loss
from chainrule.ops.loss_margin import multi_margin_loss
from chainrule.ops.norm import batch_norm, local_response_norm
from chainrule.ops.pad import pad
from chainrule.ops.pool_average import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
)
from chainrule.ops.pool_max import (
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool2d_with_indices,
    max_pool3d,
)
from chainrule.ops.softmax import log_softmax, softmax, softmin

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "add_relu",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "batch_norm_relu",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "conv1d",
    "conv2d",
    "conv2d_relu",
    "conv3d",
    "cross_entropy",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "fold",
    "l1_loss",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "max_pool1d",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "maxout",
    "mse_loss",
    "multi_margin_loss",
    "nll_loss",
    "pad",
    "prelu",
    "relu",
    "relu_max_pool2d",
    "sigmoid",
    "softmax",
    "softmin",
    "softplus",
    "tanh",
    "unfold",
]
