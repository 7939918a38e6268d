"""Layers: modules with parameters, made of the operations, under PyTorch's names."""

# ruff: noqa: I001 - packed: with a name a line these would be five hundred lines
# fmt: off
from chainrule.nn import connections, functional, fusing, init, keras, utils
from chainrule.nn.activation import (
    BNLL, CELU, ELU, GELU, GLU, SELU, Hardshrink, Hardsigmoid, Hardswish, Hardtanh, LeakyReLU,
    LogSigmoid, LogSoftmax, Maxout, Mish, PReLU, ReLU, ReLU6, RReLU, Sigmoid, SiLU, Softmax,
    Softmax2d, Softmin, Softplus, Softshrink, Softsign, Tanh, Tanhshrink, Threshold,
)
from chainrule.nn.adaptive import AdaptiveLogSoftmaxWithLoss
from chainrule.nn.branches import Concat, ConcatTable, DepthConcat, Parallel, ParallelTable
from chainrule.nn.caffe import (
    Accuracy, ArgMax, BatchReindex, Bias, BinaryThreshold, Crop, Eltwise, Filter, Reduction, Scale,
    Silence, Slice, Split, Tile,
)
from chainrule.nn.container import Identity, ModuleDict, ModuleList, ParameterList, Sequential
from chainrule.nn.conv import (
    Conv1d, Conv2d, Conv3d, Fold, Fold1d, Fold3d, Unfold, Unfold1d, Unfold3d,
)
from chainrule.nn.conv_map import ConvMap2d, ConvTransposeMap2d
from chainrule.nn.conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from chainrule.nn.depthwise import DepthwiseConv1d, DepthwiseConv2d, DepthwiseConv3d, RowConv1d
from chainrule.nn.distance import Cosine, CosineSimilarity, Euclidean, PairwiseDistance
from chainrule.nn.dropout import (
    AlphaDropout, Dropout, Dropout1d, Dropout2d, Dropout3d, FeatureAlphaDropout,
)
from chainrule.nn.embedding import Embedding, EmbeddingBag
from chainrule.nn.lazy import (
    LazyConv1d, LazyConv2d, LazyConv3d, LazyConvTranspose1d, LazyConvTranspose2d,
    LazyConvTranspose3d,
)
from chainrule.nn.linear import Bilinear, Flatten, InnerProduct, Linear, SparseLinear, Unflatten
from chainrule.nn.loss import (
    BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, EuclideanLoss, HuberLoss, L1Loss, MSELoss,
    MultiMarginLoss, NLLLoss, NLLLoss2d, SmoothL1Loss,
)
from chainrule.nn.loss_likelihood import (
    CTCLoss, GaussianNLLLoss, InfogainLoss, KLDivLoss, LinearCrossEntropyLoss,
    MultinomialLogisticLoss, PoissonNLLLoss,
)
from chainrule.nn.loss_margin import (
    ContrastiveLoss, CosineEmbeddingLoss, HingeEmbeddingLoss, HingeLoss, L1HingeEmbeddingLoss,
    MarginLoss, MarginRankingLoss, MultiLabelMarginLoss, MultiLabelSoftMarginLoss, SoftMarginLoss,
    TripletMarginLoss, TripletMarginWithDistanceLoss,
)
from chainrule.nn.loss_table import CriterionTable, L1Cost, MultiCriterion, ParallelCriterion
from chainrule.nn.module import Module
from chainrule.nn.normalization import (
    BatchNorm1d, BatchNorm2d, BatchNorm3d, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d,
)
from chainrule.nn.normalization_local import (
    ContrastiveNorm, CrossMapLRN2d, DivisiveNorm, GroupNorm, LayerNorm, LocalResponseNorm,
    LocalResponseNormWithin, MeanVarianceNorm, RMSNorm, SubtractiveNorm,
)
from chainrule.nn.padding import (
    CircularPad1d, CircularPad2d, CircularPad3d, ConstantPad1d, ConstantPad2d, ConstantPad3d,
    ReflectionPad1d, ReflectionPad2d, ReflectionPad3d, ReplicationPad1d, ReplicationPad2d,
    ReplicationPad3d, ZeroPad1d, ZeroPad2d, ZeroPad3d,
)
from chainrule.nn.parameter import Parameter
from chainrule.nn.pooling import (
    AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d, AdaptiveMaxPool1d, AdaptiveMaxPool2d,
    AdaptiveMaxPool3d, AvgPool1d, AvgPool2d, AvgPool3d, GlobalAvgPool, GlobalMaxPool, LPPool1d,
    LPPool2d, LPPool3d, MaxPool1d, MaxPool2d, MaxPool3d, MaxUnpool1d, MaxUnpool2d, MaxUnpool3d,
    SpatialPyramidPool1d, SpatialPyramidPool2d, SpatialPyramidPool3d,
)
from chainrule.nn.pooling_fractional import FractionalMaxPool2d, FractionalMaxPool3d
from chainrule.nn.resampling import (
    ChannelShuffle, PixelShuffle, PixelUnshuffle, Upsample, UpsamplingBilinear2d,
    UpsamplingNearest2d,
)
from chainrule.nn.simple import (
    Abs, Add, AddConstant, Clamp, CMul, Copy, Exp, GradientReversal, L1Penalty, Log, Max, Mean, Min,
    Mul, MulConstant, Narrow, Normalize, Padding, Power, Replicate, Reshape, Select, Sqrt, Square,
    Squeeze, Sum, Transpose, Unsqueeze, View,
)
from chainrule.nn.stateless import stateless
from chainrule.nn.subsampling import SubSampling1d, SubSampling2d, SubSampling3d
from chainrule.nn.table import (
    MM, CAddTable, CDivTable, CMulTable, CosineDistance, CSubTable, DotProduct, FlattenTable, Index,
    JoinTable, MixtureTable, NarrowTable, SelectTable, SplitTable,
)

__all__ = [
    "BNLL", "CELU", "ELU", "GELU", "GLU", "MM", "SELU", "Abs", "Accuracy", "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveLogSoftmaxWithLoss", "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d", "AdaptiveMaxPool3d", "Add", "AddConstant", "AlphaDropout", "ArgMax",
    "AvgPool1d", "AvgPool2d", "AvgPool3d", "BCELoss", "BCEWithLogitsLoss", "BatchNorm1d",
    "BatchNorm2d", "BatchNorm3d", "BatchReindex", "Bias", "Bilinear", "BinaryThreshold",
    "CAddTable", "CDivTable", "CMul", "CMulTable", "CSubTable", "CTCLoss", "ChannelShuffle",
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "Clamp", "Concat", "ConcatTable",
    "ConstantPad1d", "ConstantPad2d", "ConstantPad3d", "ContrastiveLoss", "ContrastiveNorm",
    "Conv1d", "Conv2d", "Conv3d", "ConvMap2d", "ConvTranspose1d", "ConvTranspose2d",
    "ConvTranspose3d", "ConvTransposeMap2d", "Copy", "Cosine", "CosineDistance",
    "CosineEmbeddingLoss", "CosineSimilarity", "CriterionTable", "Crop", "CrossEntropyLoss",
    "CrossMapLRN2d", "DepthConcat", "DepthwiseConv1d", "DepthwiseConv2d", "DepthwiseConv3d",
    "DivisiveNorm", "DotProduct", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "Eltwise",
    "Embedding", "EmbeddingBag", "Euclidean", "EuclideanLoss", "Exp", "FeatureAlphaDropout",
    "Filter", "Flatten", "FlattenTable", "Fold", "Fold1d", "Fold3d", "FractionalMaxPool2d",
    "FractionalMaxPool3d", "GaussianNLLLoss", "GlobalAvgPool", "GlobalMaxPool", "GradientReversal",
    "GroupNorm", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "HingeEmbeddingLoss",
    "HingeLoss", "HuberLoss", "Identity", "Index", "InfogainLoss", "InnerProduct", "InstanceNorm1d",
    "InstanceNorm2d", "InstanceNorm3d", "JoinTable", "KLDivLoss", "L1Cost", "L1HingeEmbeddingLoss",
    "L1Loss", "L1Penalty", "LPPool1d", "LPPool2d", "LPPool3d", "LayerNorm", "LazyConv1d",
    "LazyConv2d", "LazyConv3d", "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d",
    "LeakyReLU", "Linear", "LinearCrossEntropyLoss", "LocalResponseNorm", "LocalResponseNormWithin",
    "Log", "LogSigmoid", "LogSoftmax", "MSELoss", "MarginLoss", "MarginRankingLoss", "Max",
    "MaxPool1d", "MaxPool2d", "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d", "Maxout",
    "Mean", "MeanVarianceNorm", "Min", "Mish", "MixtureTable", "Module", "ModuleDict", "ModuleList",
    "Mul", "MulConstant", "MultiCriterion", "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss",
    "MultiMarginLoss", "MultinomialLogisticLoss", "NLLLoss", "NLLLoss2d", "Narrow", "NarrowTable",
    "Normalize", "PReLU", "Padding", "PairwiseDistance", "Parallel", "ParallelCriterion",
    "ParallelTable", "Parameter", "ParameterList", "PixelShuffle", "PixelUnshuffle",
    "PoissonNLLLoss", "Power", "RMSNorm", "RReLU", "ReLU", "ReLU6", "Reduction", "ReflectionPad1d",
    "ReflectionPad2d", "ReflectionPad3d", "Replicate", "ReplicationPad1d", "ReplicationPad2d",
    "ReplicationPad3d", "Reshape", "RowConv1d", "Scale", "Select", "SelectTable", "Sequential",
    "SiLU", "Sigmoid", "Silence", "Slice", "SmoothL1Loss", "SoftMarginLoss", "Softmax", "Softmax2d",
    "Softmin", "Softplus", "Softshrink", "Softsign", "SparseLinear", "SpatialPyramidPool1d",
    "SpatialPyramidPool2d", "SpatialPyramidPool3d", "Split", "SplitTable", "Sqrt", "Square",
    "Squeeze", "SubSampling1d", "SubSampling2d", "SubSampling3d", "SubtractiveNorm", "Sum", "Tanh",
    "Tanhshrink", "Threshold", "Tile", "Transpose", "TripletMarginLoss",
    "TripletMarginWithDistanceLoss", "Unflatten", "Unfold", "Unfold1d", "Unfold3d", "Unsqueeze",
    "Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d", "View", "ZeroPad1d", "ZeroPad2d",
    "ZeroPad3d", "connections", "functional", "fusing", "init", "keras", "stateless", "utils",
]
