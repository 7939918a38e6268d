"""The table of old names: every row is built and run, every name is there, the page is current."""

from __future__ import annotations

import re

import pytest

from tools.blocks import PAGE, named, page, run, tensors
from tools.blocks_table import TABLE, Row

ROWS = [row for rows in TABLE.values() for row in rows]
WITHOUT = {
    "nn.Silence",
    "cr.argmax",
    "F.accuracy",
    "F.binary_threshold",
    "cr.gradcheck",
    "cr.optim.SGD",
}
"""Rows whose result has no gradient."""

NAMES = """
Sequential Concat DepthConcat Parallel ConcatTable ParallelTable JoinTable SplitTable
SelectTable NarrowTable FlattenTable MixtureTable CAddTable CSubTable CMulTable CDivTable
CriterionTable ParallelCriterion MultiCriterion Identity Copy Container Module Criterion Linear
SparseLinear Add AddConstant Mul MulConstant CMul Bilinear Euclidean Cosine CosineDistance
DotProduct PairwiseDistance MM LookupTable Index Narrow Select Reshape View Replicate Transpose
Squeeze Unsqueeze Padding Normalize Mean Sum Max Min Power Sqrt Square Abs Exp Log Clamp
L1Penalty GradientReversal Dropout SpatialDropout BatchNormalization Sigmoid Tanh ReLU ReLU6
LeakyReLU PReLU RReLU ELU Threshold HardTanh HardShrink SoftShrink TanhShrink SoftPlus SoftSign
SoftMax SoftMin LogSoftMax LogSigmoid SpatialSoftMax Maxout bnll TemporalConvolution
SpatialConvolution VolumetricConvolution SpatialConvolutionMM SpatialDilatedConvolution
SpatialFullConvolution VolumetricFullConvolution SpatialFullDilatedConvolution
SpatialConvolutionMap SpatialFullConvolutionMap TemporalRowConvolution unfold fold im2col col2im
TemporalMaxPooling SpatialMaxPooling VolumetricMaxPooling SpatialAveragePooling SpatialLPPooling
SpatialSubSampling SpatialAdaptiveMaxPooling SpatialAdaptiveAveragePooling
SpatialFractionalMaxPooling SpatialMaxUnpooling SPP global_pooling SpatialCrossMapLRN cudnn_lcn
SpatialBatchNormalization VolumetricBatchNormalization SpatialContrastiveNormalization
SpatialDivisiveNormalization SpatialSubtractiveNormalization mvn SpatialZeroPadding
SpatialReflectionPadding SpatialReplicationPadding SpatialUpSamplingNearest
SpatialUpSamplingBilinear TemporalUpSamplingLinear MSECriterion euclidean_loss AbsCriterion
SmoothL1Criterion ClassNLLCriterion SpatialClassNLLCriterion CrossEntropyCriterion
multinomial_logistic_loss BCECriterion sigmoid_cross_entropy_loss DistKLDivCriterion
MarginCriterion MultiMarginCriterion MultiLabelMarginCriterion MarginRankingCriterion
HingeEmbeddingCriterion L1HingeEmbeddingCriterion CosineEmbeddingCriterion contrastive_loss
infogain_loss L1Cost accuracy argmax batch_reindex concat crop eltwise embed exp filter flatten
inner_product log power reduction reshape scale bias silence slice split tile threshold
StochasticGradient
"""


@pytest.mark.parametrize("row", ROWS, ids=[row.old for row in ROWS])
def test_row(row: Row) -> None:
    assert named(row.ours) is not None
    result = run(row)
    assert result is not None
    if row.ours not in WITHOUT:
        assert any(t.requires_grad for t in tensors(result)), row


@pytest.mark.parametrize("name", NAMES.split())
def test_every_name_of_the_lectures_is_in_the_table(name: str) -> None:
    known = {word for row in ROWS for word in re.findall(r"\w+", row.old)}
    assert name in known


def test_the_page_is_what_the_command_writes() -> None:
    assert PAGE.read_text("utf-8") == page(), "run python -m tools.blocks"
