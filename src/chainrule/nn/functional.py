"""The operations that layers call, under the names of torch.nn.functional."""

from chainrule.ops.activation import (
    bnll,
    elu,
    leaky_relu,
    logsigmoid,
    relu,
    sigmoid,
    softplus,
    tanh,
)
from chainrule.ops.activation_channel import glu, maxout, prelu
from chainrule.ops.activation_hard import (
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    relu6,
    softshrink,
    threshold,
)
from chainrule.ops.activation_inplace import (
    celu_,
    elu_,
    hardtanh_,
    leaky_relu_,
    relu_,
    rrelu_,
    selu_,
    threshold_,
)
from chainrule.ops.activation_random import gumbel_softmax, rrelu
from chainrule.ops.activation_smooth import celu, gelu, mish, selu, silu, softsign, tanhshrink
from chainrule.ops.bilinear import bilinear
from chainrule.ops.caffe import (
    accuracy,
    argmax_top_k,
    batch_reindex,
    binary_threshold,
    crop,
    eltwise,
    filter_batch,
    inner_product,
    reduction,
    scaled_exp,
    scaled_log,
    scaled_power,
)
from chainrule.ops.conv import conv1d, conv2d, conv3d
from chainrule.ops.conv_map import conv2d_map, conv_transpose2d_map
from chainrule.ops.conv_transpose import conv_transpose1d, conv_transpose2d, conv_transpose3d
from chainrule.ops.distance import cosine_similarity, pairwise_distance, pdist
from chainrule.ops.dropout import (
    alpha_dropout,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
)
from chainrule.ops.embedding import embedding, one_hot
from chainrule.ops.embedding_bag import embedding_bag
from chainrule.ops.fold import fold, fold1d, fold3d, unfold, unfold1d, unfold3d
from chainrule.ops.fused import add_relu, batch_norm_relu, conv2d_relu, relu_max_pool2d
from chainrule.ops.grid_sample import affine_grid, grid_sample
from chainrule.ops.linear import linear
from chainrule.ops.loss import l1_loss, mse_loss
from chainrule.ops.loss_binary import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    sigmoid_cross_entropy,
)
from chainrule.ops.loss_class import cross_entropy, linear_cross_entropy
from chainrule.ops.loss_ctc import ctc_loss
from chainrule.ops.loss_embedding import (
    contrastive_loss,
    cosine_embedding_loss,
    l1_hinge_embedding_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from chainrule.ops.loss_hinge import (
    hinge_embedding_loss,
    hinge_loss,
    margin_loss,
    margin_ranking_loss,
    soft_margin_loss,
)
from chainrule.ops.loss_infogain import infogain_loss, multinomial_logistic_loss
from chainrule.ops.loss_labels import nll_loss
from chainrule.ops.loss_likelihood import gaussian_nll_loss, kl_div, poisson_nll_loss
from chainrule.ops.loss_margin import multi_margin_loss
from chainrule.ops.loss_multilabel import multilabel_margin_loss, multilabel_soft_margin_loss
from chainrule.ops.loss_smooth import euclidean_loss, huber_loss, l1_cost, smooth_l1_loss
from chainrule.ops.norm import batch_norm
from chainrule.ops.norm_contrast import (
    contrastive_norm,
    divisive_norm,
    mean_variance_norm,
    subtractive_norm,
)
from chainrule.ops.norm_group import group_norm, instance_norm
from chainrule.ops.norm_layer import layer_norm, rms_norm
from chainrule.ops.norm_local import local_response_norm, local_response_norm_within
from chainrule.ops.normalize import normalize
from chainrule.ops.pad import pad
from chainrule.ops.passthrough import gradient_reversal, l1_penalty
from chainrule.ops.pool_average import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
)
from chainrule.ops.pool_fractional import (
    fractional_max_pool2d,
    fractional_max_pool2d_with_indices,
    fractional_max_pool3d,
    fractional_max_pool3d_with_indices,
)
from chainrule.ops.pool_max import (
    adaptive_max_pool1d,
    adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d,
    adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d,
    adaptive_max_pool3d_with_indices,
    max_pool1d,
    max_pool1d_with_indices,
    max_pool2d,
    max_pool2d_with_indices,
    max_pool3d,
    max_pool3d_with_indices,
)
from chainrule.ops.pool_power import lp_pool1d, lp_pool2d, lp_pool3d
from chainrule.ops.pool_pyramid import (
    global_avg_pool,
    global_max_pool,
    spatial_pyramid_pool1d,
    spatial_pyramid_pool2d,
    spatial_pyramid_pool3d,
)
from chainrule.ops.resample import interpolate, upsample, upsample_bilinear, upsample_nearest
from chainrule.ops.shuffle import (
    channel_shuffle,
    native_channel_shuffle,
    pixel_shuffle,
    pixel_unshuffle,
)
from chainrule.ops.softmax import log_softmax, softmax, softmin
from chainrule.ops.sparse import sparse_linear
from chainrule.ops.subsample import subsampling1d, subsampling2d, subsampling3d
from chainrule.ops.unpool import max_unpool1d, max_unpool2d, max_unpool3d

__all__ = [
    "accuracy",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices",
    "add_relu",
    "affine_grid",
    "alpha_dropout",
    "argmax_top_k",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "batch_norm_relu",
    "batch_reindex",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "binary_threshold",
    "bnll",
    "celu",
    "celu_",
    "channel_shuffle",
    "contrastive_loss",
    "contrastive_norm",
    "conv1d",
    "conv2d",
    "conv2d_map",
    "conv2d_relu",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose2d_map",
    "conv_transpose3d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "crop",
    "cross_entropy",
    "ctc_loss",
    "divisive_norm",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "eltwise",
    "elu",
    "elu_",
    "embedding",
    "embedding_bag",
    "euclidean_loss",
    "feature_alpha_dropout",
    "filter_batch",
    "fold",
    "fold1d",
    "fold3d",
    "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
    "gaussian_nll_loss",
    "gelu",
    "global_avg_pool",
    "global_max_pool",
    "glu",
    "gradient_reversal",
    "grid_sample",
    "group_norm",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "hinge_embedding_loss",
    "hinge_loss",
    "huber_loss",
    "infogain_loss",
    "inner_product",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_cost",
    "l1_hinge_embedding_loss",
    "l1_loss",
    "l1_penalty",
    "layer_norm",
    "leaky_relu",
    "leaky_relu_",
    "linear",
    "linear_cross_entropy",
    "local_response_norm",
    "local_response_norm_within",
    "log_softmax",
    "logsigmoid",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "margin_loss",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "maxout",
    "mean_variance_norm",
    "mish",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "multinomial_logistic_loss",
    "native_channel_shuffle",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "pdist",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "prelu",
    "reduction",
    "relu",
    "relu6",
    "relu_",
    "relu_max_pool2d",
    "rms_norm",
    "rrelu",
    "rrelu_",
    "scaled_exp",
    "scaled_log",
    "scaled_power",
    "selu",
    "selu_",
    "sigmoid",
    "sigmoid_cross_entropy",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "sparse_linear",
    "spatial_pyramid_pool1d",
    "spatial_pyramid_pool2d",
    "spatial_pyramid_pool3d",
    "subsampling1d",
    "subsampling2d",
    "subsampling3d",
    "subtractive_norm",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "unfold",
    "unfold1d",
    "unfold3d",
    "upsample",
    "upsample_bilinear",
    "upsample_nearest",
]
