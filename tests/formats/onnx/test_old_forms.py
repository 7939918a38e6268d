"""Operators as older opsets have them, beside onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

import chainrule as cr
from tests.formats.onnx.test_load import F32, I64, model, node, stored

onnxruntime.set_default_logger_severity(3)

RNG = np.random.default_rng(5)
IMAGES = RNG.standard_normal((2, 3, 7, 6)).astype(np.float32)
ROWS = RNG.standard_normal((3, 4)).astype(np.float32)


def ints(name: str, *values: int) -> Any:
    return stored(name, values, np.int64)


def weights(name: str, *shape: int) -> Any:
    return stored(name, np.random.default_rng(len(name) + sum(shape)).standard_normal(shape))


CASES: dict[str, tuple[int, list[Any], list[Any], np.ndarray]] = {
    # Attributes that became inputs
    "clip 7": (7, [node("Clip", "x", min=-0.5, max=0.7)], [], IMAGES),
    "clip without bounds 7": (7, [node("Clip", "x")], [], IMAGES),
    "clip 11": (11, [node("Clip", "x  b")], [stored("b", 0.3)], IMAGES),
    "pad 7": (7, [node("Pad", "x", pads=[0, 0, 1, 2, 0, 1, 0, 3], value=0.5)], [], IMAGES),
    "pad reflect 9": (9, [node("Pad", "x", pads=[0, 0, 1, 2, 0, 0, 0, 3], mode="reflect")], [],
                      IMAGES),
    "pad edge 10": (10, [node("Pad", "x", pads=[1, 0, 1, 0, 0, 2, 0, 3], mode="edge")], [], IMAGES),
    "pad cut 12": (12, [node("Pad", "x p")], [ints("p", 0, 0, -1, 2, 0, 0, 1, -2)], IMAGES),
    "pad axes 18": (18, [node("Pad", "x p v a")],
                    [ints("p", 1, 2, 0, 1), stored("v", 2), ints("a", -1, 1)], IMAGES),
    "pad wrap 19": (19, [node("Pad", "x p", mode="wrap")], [ints("p", 0, 0, 2, 1, 0, 0, 1, 3)],
                    IMAGES),
    "squeeze 7": (7, [node("Unsqueeze", "x", "u", axes=[0, 3]), node("Squeeze", "u", axes=[3])],
                  [], ROWS),
    "squeeze all 11": (11, [node("Unsqueeze", "x", "u", axes=[-1, 0]), node("Squeeze", "u")], [],
                       ROWS),
    "squeeze 13": (13, [node("Unsqueeze", "x a", "u"), node("Squeeze", "u b")],
                   [ints("a", 0, -1), ints("b", 0)], ROWS),
    "split 7": (7, [node("Split", "x", "a b", axis=1, split=[1, 3]), node("Concat", "b a", axis=1)],
                [], ROWS),
    "split equal 11": (11, [node("Split", "x", "a b", axis=-1), node("Sub", "b a")], [], ROWS),
    "split 13": (13, [node("Split", "x s", "a b", axis=1), node("Mul", "a b")],
                 [ints("s", 2, 2)], ROWS),
    "split uneven 18": (18, [node("Split", "x", "a b c", axis=0, num_outputs=3),
                             node("Concat", "c a", axis=0)], [],
                        RNG.standard_normal((7, 2)).astype(np.float32)),
    "slice 7": (7, [node("Slice", "x", starts=[1, -3], ends=[100, -1], axes=[2, 3])], [], IMAGES),
    "slice 10": (10, [node("Slice", "x s e a t")],
                 [ints("s", -1, 1), ints("e", -100, 5), ints("a", 2, 3), ints("t", -2, 2)], IMAGES),
    "slice back from before the first 13": (
        13, [node("Slice", "x s e a t")],
        [ints("s", -9), ints("e", -20), ints("a", 2), ints("t", -1)], IMAGES,
    ),
    "slice 13": (13, [node("Slice", "x s e")], [ints("s", 0, 1), ints("e", 2, 2**62)], IMAGES),
    "reduce 7": (7, [node("ReduceMean", "x", "m", axes=[1, 2], keepdims=1),
                     node("ReduceL2", "x", "n", axes=[3]), node("Mul", "m n")], [], IMAGES),
    "reduce negative 11": (11, [node("ReduceSum", "x", axes=[-1], keepdims=0)], [], IMAGES),
    "reduce all 12": (12, [node("ReduceMax", "x", keepdims=0)], [], IMAGES),
    "reduce 13": (13, [node("ReduceSum", "x a", keepdims=0)], [ints("a", 1)], IMAGES),
    "reduce logs 13": (13, [node("ReduceLogSumExp", "x", axes=[1]),], [], IMAGES),
    "reduce 18": (18, [node("ReduceMean", "x a")], [ints("a", -1, -2)], IMAGES),
    "topk 7": (7, [node("TopK", "x", "y i", k=2, axis=1)], [], ROWS),
    "topk 10": (10, [node("TopK", "x k", "y i", axis=0)], [ints("k", 2)], ROWS),
    "topk smallest 11": (11, [node("TopK", "x k", "y i", largest=0)], [ints("k", 3)], ROWS),
    "dropout 7": (7, [node("Dropout", "x", ratio=0.4)], [], IMAGES),
    "dropout 12": (12, [node("Dropout", "x")], [], IMAGES),
    # Other meanings
    "softmax over all behind 7": (7, [node("Softmax", "x")], [], IMAGES),
    "softmax axis 2, 11": (11, [node("Softmax", "x", axis=2)], [], IMAGES),
    "softmax 13": (13, [node("Softmax", "x", axis=1)], [], IMAGES),
    "log softmax 9": (9, [node("LogSoftmax", "x", axis=-1)], [], IMAGES),
    "log softmax 11": (11, [node("LogSoftmax", "x", axis=1)], [], IMAGES),
    "hardmax 7": (7, [node("Hardmax", "x", axis=1)], [], IMAGES),
    "batch norm 7": (7, [node("BatchNormalization", "x a b c d", epsilon=1e-3)],
                     [stored("a", [1, 2, 3]), stored("b", [0, 1, 2]), stored("c", [0.1, 0, 0.3]),
                      stored("d", [1, 2, 0.5])], IMAGES),
    "batch norm 15": (15, [node("BatchNormalization", "x a b c d")],
                      [stored("a", [1, 2, 3]), stored("b", [0, 1, 2]), stored("c", [0.1, 0, 0.3]),
                       stored("d", [1, 2, 0.5])], IMAGES),
    "upsample nearest 7": (7, [node("Upsample", "x", scales=[1.0, 1.0, 2.0, 3.0])], [], IMAGES),
    "upsample nearest 9": (9, [node("Upsample", "x s")], [stored("s", [1, 1, 2.5, 1])], IMAGES),
    "upsample linear 9": (9, [node("Upsample", "x s", mode="linear")], [stored("s", [1, 1, 2, 2])],
                          IMAGES),
    "resize nearest 10": (10, [node("Resize", "x s")], [stored("s", [1, 1, 2, 0.5])], IMAGES),
    "resize linear 10": (10, [node("Resize", "x s", mode="linear")], [stored("s", [1, 1, 1.5, 2])],
                         IMAGES),
    **{
        f"resize {mode} {how} 11": (
            11,
            [node("Resize", "x r s", mode=mode, coordinate_transformation_mode=how)],
            [stored("r", []), stored("s", scales)], IMAGES,
        )
        for mode in ("nearest", "linear", "cubic")
        for how in ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
        for scales in ([1, 1, 2, 1.5],)
    },
    **{
        f"resize {mode} {how} to a size 13": (
            13,
            [node("Resize", "x   z", mode=mode, coordinate_transformation_mode=how)],
            [ints("z", 2, 3, 4, 9)], IMAGES,
        )
        for mode in ("nearest", "linear", "cubic")
        for how in ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
    },
    **{
        f"resize by {how} 18": (
            18, [node("Resize", "x  s", nearest_mode=how)], [stored("s", [1, 1, 0.6, 1.7])], IMAGES,
        )
        for how in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
    },
    "resize antialias 18": (18, [node("Resize", "x   z", mode="linear", antialias=1)],
                            [ints("z", 2, 3, 4, 3)], IMAGES),
    "resize outside 18": (18, [node("Resize", "x  s", mode="cubic", exclude_outside=1)],
                          [stored("s", [1, 1, 2, 2])], IMAGES),
    "resize axes 18": (18, [node("Resize", "x   z", mode="linear", axes=[3, 2],
                                 keep_aspect_ratio_policy="not_larger")], [ints("z", 12, 21)],
                       IMAGES),
    # Windows
    **{
        f"conv {how}": (
            11, [node("Conv", "x w", auto_pad=how, strides=[2, 3], kernel_shape=[3, 2])],
            [weights("w", 4, 3, 3, 2)], IMAGES,
        )
        for how in ("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")
    },
    "conv uneven": (7, [node("Conv", "x w b", pads=[0, 1, 2, 0], dilations=[2, 1], group=3)],
                    [weights("w", 6, 1, 3, 2), weights("b", 6)], IMAGES),
    "conv 1d": (9, [node("Conv", "x w", pads=[2, 0])], [weights("w", 2, 4, 3)],
                ROWS[:, :, None] * np.ones(5, np.float32)),
    **{
        f"conv transpose {name}": (
            11, [node("ConvTranspose", "x w b", **attributes)],
            [weights("w", 3, 2, 3, 3), weights("b", 2)], IMAGES,
        )
        for name, attributes in {
            "plain": {"strides": [2, 1]},
            "uneven": {"pads": [0, 1, 2, 0], "strides": [2, 2]},
            "more": {"pads": [1, 1, 1, 1], "strides": [2, 3], "output_padding": [1, 2]},
            "to a size": {"output_shape": [15, 12], "strides": [2, 2]},
            "same": {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
            "same lower": {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        }.items()
    },
    **{
        f"{kind} {name}": (opset, [node(kind, "x", **attributes)], [], IMAGES)
        for kind in ("MaxPool", "AveragePool")
        for name, opset, attributes in (
            ("7", 7, {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}),
            ("ceil 10", 10, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
            ("same 11", 11, {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
            ("lower 11", 11, {"kernel_shape": [2, 3], "auto_pad": "SAME_LOWER"}),
            ("uneven 12", 12, {"kernel_shape": [3, 3], "pads": [2, 0, 0, 2]}),
        )
    },
    "average that counts 7": (7, [node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 0, 0, 2],
                                       count_include_pad=1)], [], IMAGES),
    "average that counts, ceil 19": (
        19, [node("AveragePool", "x", kernel_shape=[2, 3], pads=[0, 1, 1, 2], strides=[2, 2],
                  count_include_pad=1, ceil_mode=1)], [], IMAGES,
    ),
    "max pool dilated 10": (10, [node("MaxPool", "x", kernel_shape=[2, 2], dilations=[3, 2])], [],
                            IMAGES),
    "average dilated 19": (19, [node("AveragePool", "x", kernel_shape=[2, 2], dilations=[3, 2],
                                     pads=[1, 1, 1, 1])], [], IMAGES),
    "lp pool 11": (11, [node("LpPool", "x", kernel_shape=[3, 2], strides=[2, 1], p=3)], [], IMAGES),
    "global 7": (7, [node("GlobalAveragePool", "x", "a"), node("GlobalMaxPool", "x", "b"),
                     node("Sub", "a b")], [], IMAGES),
    "lrn 7": (7, [node("LRN", "x", size=3, alpha=0.1)], [], IMAGES),
    "instance norm 7": (7, [node("InstanceNormalization", "x a b")],
                        [stored("a", [1, 2, 3]), stored("b", [0, 1, 2])], IMAGES),
    # Matrices, shapes, arithmetic
    "gemm 7": (7, [node("Gemm", "x w b", alpha=0.5, beta=2.0, transA=1)],
               [weights("w", 3, 5), weights("b", 5)], ROWS),
    "gemm transposed 9": (9, [node("Gemm", "x w b", transB=1)],
                          [weights("w", 5, 4), weights("b", 5)], ROWS),
    "gemm without c 11": (11, [node("Gemm", "x w")], [weights("w", 4, 2)], ROWS),
    "gemm with a column 13": (13, [node("Gemm", "x w b")], [weights("w", 4, 2), weights("b", 3, 1)],
                              ROWS),
    "reshape 7": (7, [node("Reshape", "x s")], [ints("s", 0, -1, 2)], IMAGES),
    "flatten 9": (9, [node("Flatten", "x", axis=2)], [], IMAGES),
    "flatten 0": (11, [node("Flatten", "x", axis=0)], [], IMAGES),
    "expand 8": (8, [node("Expand", "x s")], [ints("s", 2, 1, 4)], ROWS),
    "tile 7": (7, [node("Tile", "x s")], [ints("s", 2, 3)], ROWS),
    "gather 7": (7, [node("Gather", "x i", axis=1)], [stored("i", [[0, 3], [1, 1]], np.int64)],
                 ROWS),
    "gather negative 11": (11, [node("Gather", "x i", axis=-1)], [ints("i", -1, 0)], ROWS),
    "scatter 9": (9, [node("Scatter", "x i u", axis=1)],
                  [stored("i", [[1], [0], [3]], np.int64), stored("u", [[5], [6], [7]])], ROWS),
    "shapes at run time 9": (9, [
        node("Shape", "x", "s"), node("Gather", "s zero", "n"),
        node("Unsqueeze", "n", "u", axes=[0]), node("Concat", "u rest", "t", axis=0),
        node("Reshape", "x t")],
        [stored("zero", 0, np.int64), ints("rest", -1)], IMAGES),
    "a constant of a shape 9": (9, [
        node("Shape", "x", "s"), node("ConstantOfShape", "s", "c", value=stored("v", [2.5])),
        node("Mul", "x c")], [], ROWS),
    "prelu 7": (7, [node("PRelu", "x s")], [stored("s", np.reshape([0.1, 0.2, 0.3], (3, 1, 1)))],
                IMAGES),
    "pow 7": (7, [node("Abs", "x", "a"), node("Pow", "a p")], [stored("p", 1.5)], ROWS),
    "mod 10": (10, [node("Mod", "x d", fmod=1)], [stored("d", 0.7)], ROWS),
    "cast 7": (7, [node("Cast", "x", "i", to=I64), node("Cast", "i", to=F32)], [], ROWS * 3),
    "where 9": (9, [node("Greater", "x z", "g"), node("Where", "g x n", "y")],
                [stored("z", 0), stored("n", -2)], ROWS),
    "one hot 9": (9, [node("ArgMax", "x", "i", axis=1, keepdims=0), node("OneHot", "i d v")],
                  [ints("d", 4), stored("v", [-1, 2])], ROWS),
    "cumsum 11": (11, [node("CumSum", "x a", exclusive=1, reverse=1)], [stored("a", 1, np.int64)],
                  ROWS),
    "depth to space 11": (11, [node("SpaceToDepth", "x", "d", blocksize=2),
                               node("DepthToSpace", "d", mode="CRD", blocksize=2)], [],
                          IMAGES[:, :, :6]),
    "mean variance 9": (9, [node("MeanVarianceNormalization", "x")], [], IMAGES),
    "einsum 12": (12, [node("Einsum", "x w", equation="bchw,oc->bohw")], [weights("w", 5, 3)],
                  IMAGES),
    "hard sigmoid 7": (7, [node("HardSigmoid", "x", "h", alpha=0.3, beta=0.4),
                           node("Selu", "h")], [], IMAGES),
    "elu and its kin 10": (10, [node("Elu", "x", "e", alpha=0.7),
                                node("ThresholdedRelu", "e", alpha=0.2)], [], IMAGES),
    "layer norm 17": (17, [node("LayerNormalization", "x a b", axis=-2)],
                      [weights("a", 7, 6), weights("b", 7, 6)], IMAGES),
    "group norm 21": (21, [node("GroupNormalization", "x a b", num_groups=3)],
                      [stored("a", [1, 2, 3]), stored("b", [0, 1, 2])], IMAGES),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_old_forms(name: str) -> None:
    opset, nodes, initializers, x = CASES[name]
    made = model(nodes, initializers, opset=opset)
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (theirs,) = session.run(["y"], {"x": x})
    with cr.no_grad():
        ours = cr.onnx.load(made)(x).numpy()
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
