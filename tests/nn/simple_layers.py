"""Torch's and Caffe's small layers of one tensor, for the tests that walk all layers.

Each as one would write it, under its repr, with the shape it takes.
"""

from __future__ import annotations

from collections.abc import Callable

from chainrule import nn

IMAGES, ROWS = (2, 4, 6, 6), (3, 4)

SIMPLE: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Abs()": (lambda: nn.Abs(), IMAGES),
    "Add(4)": (lambda: nn.Add(4), ROWS),
    "AddConstant(constant=2.5)": (lambda: nn.AddConstant(2.5), IMAGES),
    "Bias(4, dim=1)": (lambda: nn.Bias(4), IMAGES),
    "CMul(1, 4, 1, 1)": (lambda: nn.CMul(1, 4, 1, 1), IMAGES),
    "Clamp(min=-0.5, max=0.5)": (lambda: nn.Clamp(-0.5, 0.5), IMAGES),
    "Concat(\n  dim=1\n  (0): Identity()\n  (1): Abs()\n)": (
        lambda: nn.Concat(nn.Identity(), nn.Abs()),
        IMAGES,
    ),
    "Copy(dtype=None)": (lambda: nn.Copy(), IMAGES),
    "Cosine(in_features=4, out_features=3)": (lambda: nn.Cosine(4, 3), ROWS),
    "DepthConcat(\n  dim=1\n  (0): Identity()\n  (1): MaxPool2d(kernel_size=3, stride=3, "
    "padding=0, dilation=1, ceil_mode=False)\n)": (
        lambda: nn.DepthConcat(nn.Identity(), nn.MaxPool2d(3)),
        IMAGES,
    ),
    "Euclidean(in_features=4, out_features=3)": (lambda: nn.Euclidean(4, 3), ROWS),
    "Exp(base=2, scale=0.5, shift=1)": (lambda: nn.Exp(2, 0.5, 1), IMAGES),
    "GradientReversal(scale=0.5)": (lambda: nn.GradientReversal(0.5), IMAGES),
    "InnerProduct(in_features=36, out_features=3, bias=True, dim=2)": (
        lambda: nn.InnerProduct(36, 3, dim=2),
        IMAGES,
    ),
    "L1Penalty(l1weight=0.1, size_average=False, provide_output=True)": (
        lambda: nn.L1Penalty(0.1),
        IMAGES,
    ),
    "Log(base=None, scale=0.1, shift=9.0)": (lambda: nn.Log(None, 0.1, 9.0), IMAGES),
    "Max(dim=1, keepdim=True)": (lambda: nn.Max(1, True), IMAGES),
    "Mean(dim=(2, 3), keepdim=False)": (lambda: nn.Mean((2, 3)), IMAGES),
    "Min(dim=-1, keepdim=False)": (lambda: nn.Min(), IMAGES),
    "Mul(1)": (lambda: nn.Mul(), IMAGES),
    "MulConstant(constant=0.0)": (lambda: nn.MulConstant(0.0), IMAGES),
    "Narrow(dim=1, start=1, length=2)": (lambda: nn.Narrow(1, 1, 2), IMAGES),
    "Normalize(p=2.0, dim=1, eps=1e-12)": (lambda: nn.Normalize(2.0), IMAGES),
    "Padding(dim=2, pad=-3, value=1.0)": (lambda: nn.Padding(2, -3, 1.0), IMAGES),
    "Parallel(\n  input_dim=1, output_dim=0\n  (0): Abs()\n  (1): Identity()\n  (2): Abs()\n  "
    "(3): Abs()\n)": (
        lambda: nn.Parallel(nn.Abs(), nn.Identity(), nn.Abs(), nn.Abs(), output_dim=0),
        IMAGES,
    ),
    "Power(power=2, scale=0.5, shift=1.0)": (lambda: nn.Power(2, 0.5, 1.0), IMAGES),
    "Reduction(operation='asum', dim=1, coefficient=1.0)": (
        lambda: nn.Reduction("asum", 1),
        IMAGES,
    ),
    "Replicate(copies=3, dim=1)": (lambda: nn.Replicate(3, 1), IMAGES),
    "Reshape(6, -1)": (lambda: nn.Reshape(6, -1), IMAGES),
    "Scale(4, 6, dim=1, bias=True)": (lambda: nn.Scale(4, 6, bias=True), IMAGES),
    "Scale(4, dim=1, bias=False)": (lambda: nn.Scale(4), IMAGES),
    "Select(dim=1, index=-1)": (lambda: nn.Select(1, -1), IMAGES),
    "Sqrt()": (lambda: nn.Sequential(nn.Abs(), nn.Sqrt())[1], IMAGES),
    "Square()": (lambda: nn.Square(), IMAGES),
    "Squeeze(dim=None)": (lambda: nn.Squeeze(), (2, 1, 3)),
    "Sum(dim=1, keepdim=True)": (lambda: nn.Sum(1, True), IMAGES),
    "Tile(tiles=2, dim=1)": (lambda: nn.Tile(2), IMAGES),
    "Transpose((1, 2), (0, 3))": (lambda: nn.Transpose((1, 2), (0, 3)), IMAGES),
    "Unsqueeze(dim=1)": (lambda: nn.Unsqueeze(1), IMAGES),
    "View(-1, 4)": (lambda: nn.View(-1, 4), IMAGES),
}

ELSEWHERE: set[type[nn.Module]] = {
    nn.Accuracy, nn.ArgMax, nn.BatchReindex, nn.Bilinear, nn.BinaryThreshold, nn.CAddTable,
    nn.CDivTable, nn.CMulTable, nn.CSubTable, nn.ConcatTable, nn.CosineDistance,
    nn.CosineSimilarity, nn.Crop, nn.DotProduct, nn.Eltwise, nn.Embedding, nn.EmbeddingBag,
    nn.Filter, nn.FlattenTable, nn.Index, nn.JoinTable, nn.MM, nn.MixtureTable, nn.NarrowTable,
    nn.PairwiseDistance, nn.ParallelTable, nn.SelectTable, nn.Silence, nn.Slice, nn.SparseLinear,
    nn.Split, nn.SplitTable,
}  # fmt: skip
"""Layers of several tensors, of whole numbers, or without a gradient; see test_table.py."""
