"""Every module of Torch's nn and THNN and every layer of Caffe that the lectures name, and ours.

A row: the old names, ours, and an expression that builds and runs it.  In the expression `t(2, 3)`
is a tensor of that shape with a gradient, `k(4, high=3)` are integers below 3, and `nn`, `F`, `cr`
are what they are everywhere.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One block: its old names, ours, and how it is run."""

    old: str
    ours: str
    run: str


TABLE: dict[str, list[Row]] = {
    "Containers and tables": [
        Row("Sequential", "nn.Sequential", "nn.Sequential(nn.Linear(3, 4), nn.ReLU())(t(2, 3))"),
        Row("Container, Module", "nn.Module", "nn.Sequential(nn.Identity())(t(2))"),
        Row("Criterion", "nn.Module", "nn.MSELoss()(t(3), t(3))"),
        Row("Concat", "nn.Concat", "nn.Concat(nn.Linear(3, 4), nn.Linear(3, 2))(t(2, 3))"),
        Row(
            "DepthConcat, inception",
            "nn.DepthConcat",
            "nn.DepthConcat(nn.Conv2d(3, 4, 1), nn.Conv2d(3, 2, 3))(t(2, 3, 6, 6))",
        ),
        Row(
            "Parallel",
            "nn.Parallel",
            "nn.Parallel(nn.Linear(3, 4), nn.Linear(3, 4))(t(2, 2, 3))",
        ),
        Row("ConcatTable", "nn.ConcatTable", "nn.ConcatTable(nn.ReLU(), nn.Tanh())(t(2, 3))"),
        Row(
            "ParallelTable",
            "nn.ParallelTable",
            "nn.ParallelTable(nn.ReLU(), nn.Tanh())((t(2), t(3)))",
        ),
        Row("JoinTable", "nn.JoinTable", "nn.JoinTable(1)((t(2, 3), t(2, 1)))"),
        Row("SplitTable", "nn.SplitTable", "nn.SplitTable(1)(t(2, 3))"),
        Row("SelectTable", "nn.SelectTable", "nn.SelectTable(1)((t(2), t(3)))"),
        Row("NarrowTable", "nn.NarrowTable", "nn.NarrowTable(0, 2)((t(2), t(3), t(4)))"),
        Row("FlattenTable", "nn.FlattenTable", "nn.FlattenTable()((t(2), (t(3), t(4))))"),
        Row(
            "MixtureTable",
            "nn.MixtureTable",
            "nn.MixtureTable()((t(2, 3), (t(2, 4), t(2, 4), t(2, 4))))",
        ),
        Row("CAddTable, eltwise SUM", "nn.CAddTable", "nn.CAddTable()((t(2), t(2)))"),
        Row("CSubTable", "nn.CSubTable", "nn.CSubTable()((t(2), t(2)))"),
        Row("CMulTable, eltwise PROD", "nn.CMulTable", "nn.CMulTable()((t(2), t(2)))"),
        Row("CDivTable", "nn.CDivTable", "nn.CDivTable()((t(2), t(2)))"),
        Row("Identity", "nn.Identity", "nn.Identity()(t(2))"),
        Row("Copy", "nn.Copy", "nn.Copy()(t(2))"),
    ],
    "Dense and simple layers": [
        Row("Linear, inner_product", "nn.Linear", "nn.Linear(3, 4)(t(2, 3))"),
        Row(
            "SparseLinear",
            "nn.SparseLinear",
            "nn.SparseLinear(3, 4)((t(2), cr.tensor([0, 2]), cr.tensor([0, 1, 2])))",
        ),
        Row("Add, bias", "nn.Add", "nn.Add(3)(t(2, 3))"),
        Row("AddConstant", "nn.AddConstant", "nn.AddConstant(2.0)(t(2, 3))"),
        Row("Mul", "nn.Mul", "nn.Mul()(t(2, 3))"),
        Row("MulConstant", "nn.MulConstant", "nn.MulConstant(0.0)(t(2, 3))"),
        Row("CMul, scale", "nn.CMul", "nn.CMul(3)(t(2, 3))"),
        Row("Bilinear", "nn.Bilinear", "nn.Bilinear(3, 4, 2)(t(2, 3), t(2, 4))"),
        Row("Euclidean", "nn.Euclidean", "nn.Euclidean(3, 4)(t(2, 3))"),
        Row("Cosine", "nn.Cosine", "nn.Cosine(3, 4)(t(2, 3))"),
        Row("CosineDistance", "nn.CosineSimilarity", "nn.CosineSimilarity()(t(2, 3), t(2, 3))"),
        Row("DotProduct", "nn.DotProduct", "nn.DotProduct()((t(2, 3), t(2, 3)))"),
        Row("PairwiseDistance", "nn.PairwiseDistance", "nn.PairwiseDistance()(t(2, 3), t(2, 3))"),
        Row("MM", "nn.MM", "nn.MM()((t(2, 3), t(3, 4)))"),
        Row("LookupTable, embed", "nn.Embedding", "nn.Embedding(5, 3)(k(4, high=5))"),
        Row("Index", "nn.Index", "nn.Index(0)((t(4, 3), k(2, high=4)))"),
        Row("Narrow, crop", "nn.Narrow", "nn.Narrow(1, 0, 2)(t(2, 3))"),
        Row("Select", "nn.Select", "nn.Select(1, 0)(t(2, 3))"),
        Row("Reshape, reshape", "nn.Reshape", "nn.Reshape(6)(t(2, 2, 3))"),
        Row("View", "nn.View", "nn.View(-1, 3)(t(2, 2, 3))"),
        Row("flatten", "nn.Flatten", "nn.Flatten()(t(2, 2, 3))"),
        Row("Replicate", "nn.Replicate", "nn.Replicate(4)(t(2, 3))"),
        Row("Transpose", "nn.Transpose", "nn.Transpose((0, 1))(t(2, 3))"),
        Row("Squeeze", "nn.Squeeze", "nn.Squeeze()(t(2, 1, 3))"),
        Row("Unsqueeze", "nn.Unsqueeze", "nn.Unsqueeze(1)(t(2, 3))"),
        Row("Padding", "nn.Padding", "nn.Padding(1, 2)(t(2, 3))"),
        Row("Normalize", "F.normalize", "F.normalize(t(2, 3))"),
        Row("Mean", "nn.Mean", "nn.Mean(1)(t(2, 3))"),
        Row("Sum", "nn.Sum", "nn.Sum(1)(t(2, 3))"),
        Row("Max", "nn.Max", "nn.Max(1)(t(2, 3))"),
        Row("Min", "nn.Min", "nn.Min(1)(t(2, 3))"),
        Row("Power", "nn.Power", "nn.Power(2)(t(2, 3))"),
        Row("Sqrt", "nn.Sqrt", "nn.Sqrt()(t(2, 3).abs() + 1)"),
        Row("Square", "nn.Square", "nn.Square()(t(2, 3))"),
        Row("Abs, absval", "nn.Abs", "nn.Abs()(t(2, 3))"),
        Row("Exp", "nn.Exp", "nn.Exp()(t(2, 3))"),
        Row("Log", "nn.Log", "nn.Log()(t(2, 3).abs() + 1)"),
        Row("Clamp", "nn.Clamp", "nn.Clamp(-1, 1)(t(2, 3))"),
        Row("L1Penalty", "F.l1_penalty", "F.l1_penalty(t(2, 3), 0.1)"),
        Row("GradientReversal", "F.gradient_reversal", "F.gradient_reversal(t(2, 3))"),
        Row("Dropout", "nn.Dropout", "nn.Dropout(0.5)(t(2, 3))"),
        Row("SpatialDropout", "nn.Dropout2d", "nn.Dropout2d(0.5)(t(2, 3, 4, 4))"),
        Row("VolumetricDropout", "nn.Dropout3d", "nn.Dropout3d(0.5)(t(2, 3, 4, 4, 4))"),
        Row("BatchNormalization", "nn.BatchNorm1d", "nn.BatchNorm1d(3)(t(4, 3))"),
    ],
    "Activations": [
        Row("Sigmoid", "nn.Sigmoid", "nn.Sigmoid()(t(2, 3))"),
        Row("Tanh", "nn.Tanh", "nn.Tanh()(t(2, 3))"),
        Row("ReLU", "nn.ReLU", "nn.ReLU()(t(2, 3))"),
        Row("ReLU6", "nn.ReLU6", "nn.ReLU6()(t(2, 3))"),
        Row("LeakyReLU", "nn.LeakyReLU", "nn.LeakyReLU(0.1)(t(2, 3))"),
        Row("PReLU", "nn.PReLU", "nn.PReLU()(t(2, 3))"),
        Row("RReLU", "nn.RReLU", "nn.RReLU()(t(2, 3))"),
        Row("ELU", "nn.ELU", "nn.ELU()(t(2, 3))"),
        Row("Threshold", "nn.Threshold", "nn.Threshold(0.1, 0.0)(t(2, 3))"),
        Row("HardTanh", "nn.Hardtanh", "nn.Hardtanh()(t(2, 3))"),
        Row("HardShrink", "nn.Hardshrink", "nn.Hardshrink()(t(2, 3))"),
        Row("SoftShrink", "nn.Softshrink", "nn.Softshrink()(t(2, 3))"),
        Row("TanhShrink", "nn.Tanhshrink", "nn.Tanhshrink()(t(2, 3))"),
        Row("SoftPlus, bnll", "nn.Softplus", "nn.Softplus()(t(2, 3))"),
        Row("SoftSign", "nn.Softsign", "nn.Softsign()(t(2, 3))"),
        Row("SoftMax", "nn.Softmax", "nn.Softmax(1)(t(2, 3))"),
        Row("SoftMin", "nn.Softmin", "nn.Softmin(1)(t(2, 3))"),
        Row("LogSoftMax", "nn.LogSoftmax", "nn.LogSoftmax(1)(t(2, 3))"),
        Row("LogSigmoid", "nn.LogSigmoid", "nn.LogSigmoid()(t(2, 3))"),
        Row("SpatialSoftMax", "nn.Softmax2d", "nn.Softmax2d()(t(2, 3, 4, 4))"),
        Row("Maxout", "nn.Maxout", "nn.Maxout(2)(t(2, 4))"),
    ],
    "Convolution": [
        Row("TemporalConvolution", "nn.Conv1d", "nn.Conv1d(3, 4, 3)(t(2, 3, 9))"),
        Row(
            "SpatialConvolution, SpatialConvolutionMM, convolution",
            "nn.Conv2d",
            "nn.Conv2d(3, 4, 3, stride=2, padding=1)(t(2, 3, 9, 9))",
        ),
        Row(
            "VolumetricConvolution, VolumetricConvolutionMM",
            "nn.Conv3d",
            "nn.Conv3d(3, 4, 3)(t(1, 3, 5, 5, 5))",
        ),
        Row(
            "SpatialDilatedConvolution",
            "nn.Conv2d",
            "nn.Conv2d(3, 4, 3, dilation=2)(t(2, 3, 9, 9))",
        ),
        Row(
            "VolumetricDilatedConvolution",
            "nn.Conv3d",
            "nn.Conv3d(3, 4, 2, dilation=2)(t(1, 3, 5, 5, 5))",
        ),
        Row(
            "SpatialFullConvolution, deconvolution",
            "nn.ConvTranspose2d",
            "nn.ConvTranspose2d(3, 4, 3, stride=2)(t(2, 3, 5, 5))",
        ),
        Row(
            "VolumetricFullConvolution",
            "nn.ConvTranspose3d",
            "nn.ConvTranspose3d(3, 4, 2)(t(1, 3, 3, 3, 3))",
        ),
        Row(
            "SpatialFullDilatedConvolution, VolumetricFullDilatedConvolution",
            "nn.ConvTranspose2d",
            "nn.ConvTranspose2d(3, 4, 3, dilation=2)(t(2, 3, 5, 5))",
        ),
        Row(
            "SpatialConvolutionMap (LeNet-5's C3)",
            "nn.ConvMap2d",
            "nn.ConvMap2d(nn.connections.full(2, 3), 3)(t(1, 2, 5, 5))",
        ),
        Row(
            "SpatialFullConvolutionMap",
            "nn.ConvTransposeMap2d",
            "nn.ConvTransposeMap2d(nn.connections.full(2, 3), 3)(t(1, 2, 5, 5))",
        ),
        Row("TemporalRowConvolution", "nn.RowConv1d", "nn.RowConv1d(3, 3)(t(2, 9, 3))"),
        Row("unfold, im2col", "nn.Unfold", "nn.Unfold(3)(t(2, 3, 5, 5))"),
        Row("fold, col2im", "nn.Fold", "nn.Fold((5, 5), 3)(t(2, 27, 9))"),
        Row(
            "Keras Conv2D",
            "nn.keras.Conv2D",
            "nn.keras.Conv2D(4, 3, strides=2, padding='same')(t(2, 9, 9, 3))",
        ),
    ],
    "Pooling": [
        Row("TemporalMaxPooling", "nn.MaxPool1d", "nn.MaxPool1d(2)(t(2, 3, 8))"),
        Row("SpatialMaxPooling, pooling MAX", "nn.MaxPool2d", "nn.MaxPool2d(2)(t(2, 3, 8, 8))"),
        Row(
            "SpatialDilatedMaxPooling", "nn.MaxPool2d", "nn.MaxPool2d(2, dilation=2)(t(2, 3, 8, 8))"
        ),
        Row(
            "VolumetricMaxPooling, VolumetricDilatedMaxPooling",
            "nn.MaxPool3d",
            "nn.MaxPool3d(2)(t(1, 3, 4, 4, 4))",
        ),
        Row("SpatialAveragePooling, pooling AVE", "nn.AvgPool2d", "nn.AvgPool2d(2)(t(2, 3, 8, 8))"),
        Row("VolumetricAveragePooling", "nn.AvgPool3d", "nn.AvgPool3d(2)(t(1, 3, 4, 4, 4))"),
        Row("SpatialLPPooling", "nn.LPPool2d", "nn.LPPool2d(2, 2)(t(2, 3, 8, 8))"),
        Row("TemporalSubSampling", "nn.SubSampling1d", "nn.SubSampling1d(3, 2)(t(2, 3, 8))"),
        Row(
            "SpatialSubSampling (LeNet-5's S2)",
            "nn.SubSampling2d",
            "nn.SubSampling2d(3, 2)(t(2, 3, 8, 8))",
        ),
        Row(
            "SpatialAdaptiveMaxPooling",
            "nn.AdaptiveMaxPool2d",
            "nn.AdaptiveMaxPool2d(3)(t(2, 3, 8, 8))",
        ),
        Row(
            "SpatialAdaptiveAveragePooling",
            "nn.AdaptiveAvgPool2d",
            "nn.AdaptiveAvgPool2d(3)(t(2, 3, 8, 8))",
        ),
        Row(
            "SpatialFractionalMaxPooling",
            "nn.FractionalMaxPool2d",
            "nn.FractionalMaxPool2d(2, output_ratio=0.6)(t(2, 3, 8, 8))",
        ),
        Row(
            "VolumetricFractionalMaxPooling",
            "nn.FractionalMaxPool3d",
            "nn.FractionalMaxPool3d(2, output_ratio=0.6)(t(1, 2, 6, 6, 6))",
        ),
        Row(
            "SpatialMaxUnpooling",
            "nn.MaxUnpool2d",
            "nn.MaxUnpool2d(2)(*nn.MaxPool2d(2, return_indices=True)(t(2, 3, 8, 8)))",
        ),
        Row(
            "VolumetricMaxUnpooling",
            "nn.MaxUnpool3d",
            "nn.MaxUnpool3d(2)(*nn.MaxPool3d(2, return_indices=True)(t(1, 3, 4, 4, 4)))",
        ),
        Row("SPP", "nn.SpatialPyramidPool2d", "nn.SpatialPyramidPool2d((1, 2))(t(2, 3, 8, 8))"),
        Row("global_pooling", "nn.GlobalAvgPool", "nn.GlobalAvgPool()(t(2, 3, 8, 8))"),
    ],
    "Normalisation, padding, resampling": [
        Row(
            "Keras MaxPooling1D, MaxPooling2D, MaxPooling3D",
            "nn.keras.MaxPooling2D",
            "nn.keras.MaxPooling2D(3, 2, 'same')(t(2, 9, 9, 3))",
        ),
        Row(
            "Keras AveragePooling1D, AveragePooling2D, AveragePooling3D",
            "nn.keras.AveragePooling2D",
            "nn.keras.AveragePooling2D(3, 2, 'same')(t(2, 9, 9, 3))",
        ),
        Row(
            "Keras GlobalMaxPooling2D, GlobalAveragePooling2D",
            "nn.keras.GlobalAveragePooling2D",
            "nn.keras.GlobalAveragePooling2D()(t(2, 9, 9, 3))",
        ),
        Row(
            "SpatialCrossMapLRN, lrn",
            "nn.LocalResponseNorm",
            "nn.LocalResponseNorm(5)(t(2, 6, 4, 4))",
        ),
        Row(
            "lrn WITHIN_CHANNEL, cudnn_lcn",
            "nn.LocalResponseNormWithin",
            "nn.LocalResponseNormWithin(3)(t(2, 3, 6, 6))",
        ),
        Row(
            "SpatialBatchNormalization, batch_norm",
            "nn.BatchNorm2d",
            "nn.BatchNorm2d(3)(t(2, 3, 4, 4))",
        ),
        Row(
            "VolumetricBatchNormalization", "nn.BatchNorm3d", "nn.BatchNorm3d(3)(t(2, 3, 2, 2, 2))"
        ),
        Row(
            "SpatialSubtractiveNormalization",
            "nn.SubtractiveNorm",
            "nn.SubtractiveNorm(cr.ones(3, 3))(t(2, 3, 9, 9))",
        ),
        Row(
            "SpatialDivisiveNormalization",
            "nn.DivisiveNorm",
            "nn.DivisiveNorm(cr.ones(3, 3))(t(2, 3, 9, 9))",
        ),
        Row(
            "SpatialContrastiveNormalization",
            "nn.ContrastiveNorm",
            "nn.ContrastiveNorm(cr.ones(3, 3))(t(2, 3, 9, 9))",
        ),
        Row("mvn", "nn.MeanVarianceNorm", "nn.MeanVarianceNorm()(t(2, 3, 4, 4))"),
        Row("SpatialZeroPadding", "nn.ZeroPad2d", "nn.ZeroPad2d(1)(t(2, 3, 4, 4))"),
        Row(
            "SpatialReflectionPadding", "nn.ReflectionPad2d", "nn.ReflectionPad2d(1)(t(2, 3, 4, 4))"
        ),
        Row(
            "SpatialReplicationPadding",
            "nn.ReplicationPad2d",
            "nn.ReplicationPad2d(1)(t(2, 3, 4, 4))",
        ),
        Row(
            "VolumetricReplicationPadding",
            "nn.ReplicationPad3d",
            "nn.ReplicationPad3d(1)(t(1, 2, 3, 3, 3))",
        ),
        Row(
            "SpatialUpSamplingNearest",
            "nn.Upsample",
            "nn.Upsample(scale_factor=2, mode='nearest')(t(2, 3, 4, 4))",
        ),
        Row(
            "SpatialUpSamplingBilinear",
            "nn.Upsample",
            "nn.Upsample(scale_factor=2, mode='bilinear', align_corners=True)(t(2, 3, 4, 4))",
        ),
        Row(
            "TemporalUpSamplingNearest, TemporalUpSamplingLinear",
            "nn.Upsample",
            "nn.Upsample(scale_factor=2, mode='linear')(t(2, 3, 4))",
        ),
        Row(
            "VolumetricUpSamplingNearest, VolumetricUpSamplingTrilinear",
            "nn.Upsample",
            "nn.Upsample(scale_factor=2, mode='trilinear')(t(1, 2, 3, 3, 3))",
        ),
    ],
    "Losses": [
        Row("MSECriterion", "nn.MSELoss", "nn.MSELoss()(t(2, 3), t(2, 3))"),
        Row("euclidean_loss", "nn.EuclideanLoss", "nn.EuclideanLoss()(t(2, 3), t(2, 3))"),
        Row("AbsCriterion", "nn.L1Loss", "nn.L1Loss()(t(2, 3), t(2, 3))"),
        Row("SmoothL1Criterion", "nn.SmoothL1Loss", "nn.SmoothL1Loss()(t(2, 3), t(2, 3))"),
        Row(
            "ClassNLLCriterion",
            "nn.NLLLoss",
            "nn.NLLLoss()(F.log_softmax(t(2, 3), 1), k(2, high=3))",
        ),
        Row(
            "SpatialClassNLLCriterion",
            "nn.NLLLoss",
            "nn.NLLLoss()(F.log_softmax(t(2, 3, 4, 4), 1), k(2, 4, 4, high=3))",
        ),
        Row(
            "CrossEntropyCriterion, softmax_loss",
            "nn.CrossEntropyLoss",
            "nn.CrossEntropyLoss()(t(2, 3), k(2, high=3))",
        ),
        Row(
            "multinomial_logistic_loss",
            "nn.MultinomialLogisticLoss",
            "nn.MultinomialLogisticLoss()(F.softmax(t(2, 3), 1), k(2, high=3))",
        ),
        Row(
            "BCECriterion", "nn.BCELoss", "nn.BCELoss()(F.sigmoid(t(2)), F.sigmoid(t(2)).detach())"
        ),
        Row(
            "sigmoid_cross_entropy_loss",
            "nn.BCEWithLogitsLoss",
            "nn.BCEWithLogitsLoss()(t(2), F.sigmoid(t(2)).detach())",
        ),
        Row(
            "DistKLDivCriterion",
            "nn.KLDivLoss",
            "nn.KLDivLoss(reduction='batchmean')(F.log_softmax(t(2, 3), 1), F.softmax(t(2, 3), 1))",
        ),
        Row(
            "MarginCriterion", "nn.MarginLoss", "nn.MarginLoss()(t(3), cr.tensor([1.0, -1.0, 1.0]))"
        ),
        Row(
            "MultiMarginCriterion (multiclass SVM)",
            "nn.MultiMarginLoss",
            "nn.MultiMarginLoss(p=2)(t(2, 3), k(2, high=3))",
        ),
        Row("hinge_loss", "nn.HingeLoss", "nn.HingeLoss()(t(2, 3), k(2, high=3))"),
        Row(
            "MultiLabelMarginCriterion",
            "nn.MultiLabelMarginLoss",
            "nn.MultiLabelMarginLoss()(t(1, 3), cr.tensor([[1, 0, -1]]))",
        ),
        Row(
            "MarginRankingCriterion",
            "nn.MarginRankingLoss",
            "nn.MarginRankingLoss()(t(2), t(2), cr.tensor([1.0, -1.0]))",
        ),
        Row(
            "HingeEmbeddingCriterion",
            "nn.HingeEmbeddingLoss",
            "nn.HingeEmbeddingLoss()(t(2), cr.tensor([1.0, -1.0]))",
        ),
        Row(
            "L1HingeEmbeddingCriterion",
            "nn.L1HingeEmbeddingLoss",
            "nn.L1HingeEmbeddingLoss()(t(2, 3), t(2, 3), cr.tensor([1.0, -1.0]))",
        ),
        Row(
            "CosineEmbeddingCriterion",
            "nn.CosineEmbeddingLoss",
            "nn.CosineEmbeddingLoss()(t(2, 3), t(2, 3), cr.tensor([1.0, -1.0]))",
        ),
        Row(
            "contrastive_loss",
            "nn.ContrastiveLoss",
            "nn.ContrastiveLoss()(t(2, 3), t(2, 3), cr.tensor([1, 0]))",
        ),
        Row(
            "infogain_loss",
            "nn.InfogainLoss",
            "nn.InfogainLoss(cr.eye(3))(F.softmax(t(2, 3), 1), k(2, high=3))",
        ),
        Row("L1Cost", "nn.L1Cost", "nn.L1Cost()(t(2, 3))"),
        Row(
            "CriterionTable",
            "nn.CriterionTable",
            "nn.CriterionTable(nn.MSELoss())((t(3), t(3)))",
        ),
        Row(
            "ParallelCriterion",
            "nn.ParallelCriterion",
            "nn.ParallelCriterion().add(nn.MSELoss()).add(nn.L1Loss())((t(2), t(3)), (t(2), t(3)))",
        ),
        Row(
            "MultiCriterion",
            "nn.MultiCriterion",
            "nn.MultiCriterion().add(nn.MSELoss()).add(nn.L1Loss(), 0.5)(t(2), t(2))",
        ),
    ],
    "Caffe's other layers": [
        Row("accuracy", "F.accuracy", "F.accuracy(t(4, 3), k(4, high=3))"),
        Row("argmax", "cr.argmax", "cr.argmax(t(4, 3), 1)"),
        Row("batch_reindex", "F.batch_reindex", "F.batch_reindex(t(4, 3), k(2, high=4))"),
        Row("concat", "cr.cat", "cr.cat((t(2, 3), t(2, 1)), 1)"),
        Row("eltwise MAX", "F.eltwise", "F.eltwise((t(2), t(2)), 'max')"),
        Row("exp", "F.scaled_exp", "F.scaled_exp(t(2, 3), base=2.0)"),
        Row("filter", "F.filter_batch", "F.filter_batch((t(3, 2),), cr.tensor([1, 0, 1]))"),
        Row("log", "F.scaled_log", "F.scaled_log(t(2, 3).abs() + 1)"),
        Row("power", "F.scaled_power", "F.scaled_power(t(2, 3), 2.0, 0.5, 1.0)"),
        Row("reduction", "F.reduction", "F.reduction(t(2, 3), 'sumsq')"),
        Row("silence", "nn.Silence", "nn.Silence()(t(2), t(3))"),
        Row("slice, split", "cr.split", "cr.split(t(4, 3), 2)"),
        Row("tile", "cr.tile", "cr.tile(t(2, 3), (1, 2))"),
        Row("threshold (0 or 1)", "F.binary_threshold", "F.binary_threshold(t(2, 3), 0.5)"),
    ],
    "Torch's own checks": [
        Row("Jacobian, SparseJacobian testers", "cr.gradcheck", "cr.gradcheck(cr.tanh, t(2, 3))"),
        Row(
            "StochasticGradient", "cr.optim.SGD", "cr.optim.SGD([nn.Parameter(cr.ones(2))], lr=0.1)"
        ),
    ],
}
