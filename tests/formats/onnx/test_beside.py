"""Operators with many settings, beside onnxruntime; the gradients of those with graphs inside."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import chainrule as cr
from tests.formats.onnx.test_load import F32, I64, model, node, stored
from tests.formats.onnx.test_old_forms import IMAGES, ROWS, ints, weights

onnxruntime.set_default_logger_severity(3)

SEQUENCE = np.random.default_rng(2).standard_normal((5, 3, 4)).astype(np.float32)
LENGTHS = stored("n", [5, 2, 4], np.int32)


def recurrent(kind: str, gates: int, directions: int = 1, **attributes: Any) -> Any:
    """A layer with biases and lengths, and its weights."""
    d, h = directions, 3
    inits = [
        weights("w", d, gates * h, 4), weights("r", d, gates * h, h),
        weights("b", d, 2 * gates * h), LENGTHS,
    ]  # fmt: skip
    outputs = "y h c" if kind == "LSTM" else "y h"
    made = node(kind, "x w r b n", outputs, hidden_size=h, **attributes)
    return made, inits, outputs.split(" ")


CASES: dict[str, tuple[int, list[Any], list[Any], Any, tuple[str, ...]]] = {}


def add(name: str, opset: int, nodes: Any, inits: Any, x: Any, outputs: Any = ("y",)) -> None:
    CASES[name] = (opset, nodes if isinstance(nodes, list) else [nodes], inits, x, tuple(outputs))


for _direction, _count in (("forward", 1), ("reverse", 1), ("bidirectional", 2)):
    for _kind, _gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
        _node, _inits, _outputs = recurrent(_kind, _gates, _count, direction=_direction)
        add(f"{_kind} {_direction}", 14, _node, _inits, SEQUENCE, _outputs)
for _name, _kind, _gates, _settings in (
    ("clipped", "LSTM", 4, {"clip": 0.3}),
    ("coupled", "LSTM", 4, {"input_forget": 1}),
    ("other activations", "LSTM", 4, {"activations": ["HardSigmoid", "Softsign", "Relu"]}),
    ("reset later", "GRU", 3, {"linear_before_reset": 1}),
    ("with numbers", "RNN", 1, {"activations": ["LeakyRelu"], "activation_alpha": [0.2]}),
):
    _node, _inits, _outputs = recurrent(_kind, _gates, **_settings)
    add(f"{_kind} {_name}", 14, _node, _inits, SEQUENCE, _outputs)
add(
    "LSTM with peepholes and first states", 14,
    node("LSTM", "x w r   h0 c0 p", "y h c", hidden_size=3),
    [weights("w", 1, 12, 4), weights("r", 1, 12, 3), weights("h0", 1, 3, 3),
     weights("c0", 1, 3, 3), weights("p", 1, 9)],
    SEQUENCE, ("y", "h", "c"),
)  # fmt: skip

ROIS = stored("r", [[0, 0, 5, 6], [1, 2, 3.5, 4.2], [-1, 0, 2, 3]])
for _name, _opset, _settings in (
    ("adaptive 10", 10, {"output_height": 2, "output_width": 3}),
    ("sampled 16", 16, {"output_height": 2, "output_width": 2, "sampling_ratio": 2,
                        "spatial_scale": 0.8}),
    ("half 16", 16, {"coordinate_transformation_mode": "output_half_pixel",
                     "output_height": 3, "output_width": 2}),
):  # fmt: skip
    add(f"RoiAlign {_name}", _opset, node("RoiAlign", "x r i", **_settings),
        [ROIS, ints("i", 0, 1, 0)], IMAGES)  # fmt: skip
add("MaxRoiPool", 7, node("MaxRoiPool", "x r", pooled_shape=[2, 3], spatial_scale=0.5),
    [stored("r", [[0, 0, 0, 10, 12], [1, 2, 4, 8, 9]])], IMAGES)  # fmt: skip
add("DeformConv between pixels", 19,
    node("DeformConv", "x w o b m", kernel_shape=[2, 3], pads=[1] * 4),
    [weights("w", 4, 3, 2, 3), weights("o", 2, 12, 8, 6), weights("b", 4),
     weights("m", 2, 6, 8, 6)], IMAGES)  # fmt: skip
add("DequantizeLinear of an axis", 13,
    [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z")],
    [stored("s", [0.01, 0.02, 0.05]), stored("z", [3, 5, 128], np.uint8)], IMAGES)  # fmt: skip
add("QLinearMatMul by columns", 10,
    [node("QuantizeLinear", "x s z", "q"), node("QLinearMatMul", "q s z w t u p v", "r"),
     node("DequantizeLinear", "r p v")],
    [stored("s", 0.02), stored("z", 128, np.uint8), stored("t", [0.1, 0.2]),
     stored("w", np.arange(2 * ROWS.shape[-1]).reshape(-1, 2), np.uint8),
     stored("u", [3, 9], np.uint8), stored("p", 0.3), stored("v", 100, np.uint8)],
    ROWS)  # fmt: skip
add("ConcatFromSequence of a new axis", 11,
    [node("SplitToSequence", "x", "l", axis=1),
     node("ConcatFromSequence", "l", axis=-1, new_axis=1)],
    [], IMAGES)  # fmt: skip
add("GlobalLpPool", 7, node("GlobalLpPool", "x", p=3), [], IMAGES)
add("Resize a crop", 13,
    node("Resize", "x r s", mode="linear", coordinate_transformation_mode="tf_crop_and_resize",
         extrapolation_value=7.0),
    [stored("r", [0, 0, 0.1, -0.2, 1, 1, 0.9, 1.1]), stored("s", [1, 1, 2, 1.5])],
    IMAGES)  # fmt: skip
add("quantized and back", 13,
    [node("QuantizeLinear", "x s z", "q", axis=1), node("DequantizeLinear", "q s z", axis=1)],
    [stored("s", [0.1, 0.02, 0.3]), stored("z", [3, -7, 0], np.int8)], IMAGES)  # fmt: skip
add("quantized by its range", 11, node("DynamicQuantizeLinear", "x", "q s z"), [], ROWS,
    ("q", "s", "z"))  # fmt: skip
add("MaxPool with places", 12,
    node("MaxPool", "x", "y i", kernel_shape=[2, 3], pads=[1, 0, 0, 2], strides=[2, 2]), [], IMAGES,
    ("y", "i"))  # fmt: skip
add("unpooled", 11,
    [node("MaxPool", "x", "m i", kernel_shape=[2, 2], strides=[2, 2]),
     node("MaxUnpool", "m i", kernel_shape=[2, 2], strides=[2, 2])], [],
    IMAGES[:, :, :6])  # fmt: skip
add("ScatterND adds", 16, node("ScatterND", "x i u", reduction="add"),
    [stored("i", [[0], [2], [0]], np.int64), stored("u", np.ones((3, 4)))], ROWS)  # fmt: skip
add("ScatterElements multiplies", 16, node("ScatterElements", "x i u", axis=1, reduction="mul"),
    [stored("i", [[1, 1], [0, -1]], np.int64), stored("u", [[2, 3], [4, 5]])], ROWS)  # fmt: skip
add("GatherND in a batch", 12, node("GatherND", "x i", batch_dims=1),
    [stored("i", [[[0, 1]], [[2, -1]]], np.int64)], IMAGES)  # fmt: skip
add("Det", 11, node("Det", "x"), [], IMAGES[:, :, :4, :4])
add("Trilu", 14, node("Trilu", "x k", upper=0), [stored("k", -1, np.int64)], IMAGES)
add("STFT", 17, node("STFT", "x s w"),
    [stored("s", 3, np.int64), weights("w", 6)], SEQUENCE.reshape(1, -1, 1))  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_beside_onnxruntime(name: str) -> None:
    opset, nodes, initializers, x, outputs = CASES[name]
    made = model(nodes, initializers, opset=opset, outputs=outputs)
    for value in made.graph.output:
        value.type.tensor_type.ClearField("elem_type")
    session = onnxruntime.InferenceSession(
        onnx.shape_inference.infer_shapes(made).SerializeToString(),
        providers=["CPUExecutionProvider"],
    )
    theirs = session.run(list(outputs), {"x": x})
    with cr.no_grad():
        ours = cr.onnx.load(made)(x)
    for a, b in zip(ours if isinstance(ours, tuple) else (ours,), theirs, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-4, atol=1e-5)


def test_suppressed_boxes() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 1, (2, 30, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + rng.uniform(-0.5, 0.5, (2, 30, 2))], -1)
    scores = rng.uniform(0, 1, (2, 3, 30)).astype(np.float32)
    for center in (0, 1):
        made = model(
            [node("NonMaxSuppression", "x s m o t", center_point_box=center)],
            [ints("m", 7), stored("o", [0.3]), stored("t", [0.2])],
            inputs=(("x", F32, None), ("s", F32, None)),
        )
        made.graph.output[0].type.tensor_type.elem_type = I64
        session = onnxruntime.InferenceSession(
            made.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        given = {"x": np.abs(boxes.astype(np.float32)), "s": scores}
        (theirs,) = session.run(None, given)
        np.testing.assert_array_equal(cr.onnx.load(made)(**given).numpy(), theirs)


def inner(name: str, nodes: Any, inputs: Any, outputs: Any, inits: Any = ()) -> Any:
    return helper.make_graph(
        nodes, name,
        [helper.make_tensor_value_info(one, kind, None) for one, kind in inputs],
        [helper.make_tensor_value_info(one, kind, None) for one, kind in outputs], list(inits),
    )  # fmt: skip


def test_gradients_through_a_choice_and_a_loop() -> None:
    """y = x * w**3 by a loop, and by a choice times another parameter, or nothing."""
    body = inner(
        "body",
        [node("Identity", "go", "go2"), node("Mul", "v w", "v2")],
        [("i", I64), ("go", TensorProto.BOOL), ("v", F32)],
        [("go2", TensorProto.BOOL), ("v2", F32)],
    )
    then = inner("then", [node("Mul", "z k", "a")], [], [("a", F32)], [stored("k", 5.0)])
    other = inner("else", [node("Identity", "z", "b")], [], [("b", F32)])
    made = model(
        [
            node("Loop", "n  x", "z", body=body),
            node("ReduceSum", "x", "s", keepdims=0),
            node("Greater", "s zero", "c"),
            node("If", "c", then_branch=then, else_branch=other),
        ],
        [stored("w", 2.0), ints("n", 3), stored("zero", 0.0)],
    )
    made.graph.initializer[1].dims[:] = []
    net = cr.onnx.load(made)
    assert sorted(net.state_dict()) == ["k", "w", "zero"]
    x = cr.tensor([1.0, 2.0], requires_grad=True)
    y = net(x)
    assert y.tolist() == [40, 80]
    y.sum().backward()
    assert x.grad.tolist() == [40, 40]
    assert net.w.grad.item() == 5 * 3 * 4 * 3
    assert net.k.grad.item() == 24
    assert net(-x).tolist() == [-8, -16]


def test_statistics_inside_a_branch_and_in_constants() -> None:
    """They are buffers of the node that reads them, wherever they stand."""
    norm = node("BatchNormalization", "x w b m v", "a")
    branches = [inner(one, [norm], [], [("a", F32)]) for one in ("then", "else")]
    nodes = [
        helper.make_node("Constant", [], ["m"], value=stored("", [0.1, 0.2, 0.3])),
        node("If", "c", then_branch=branches[0], else_branch=branches[1]),
    ]
    inits = [stored("w", [1, 1, 1]), stored("b", [0, 0, 0]), stored("v", [1, 2, 3])]
    inputs = (("x", F32, None), ("c", TensorProto.BOOL, []))
    net = cr.onnx.load(model(nodes, inits, inputs=inputs))
    buffers = dict(net.named_buffers())
    assert len([name for name in buffers if name.startswith("v")]) == 2
    yes, no = np.array(True), np.array(False)
    before = net(IMAGES, yes).detach().numpy()
    np.testing.assert_array_equal(before, net(IMAGES, no).detach().numpy())
    net.train()(IMAGES, yes)
    after = net.eval()(IMAGES, yes).detach().numpy()
    assert not np.array_equal(after, before)


def test_a_branch_that_is_never_taken_may_hold_anything() -> None:
    then = inner("then", [node("Relu", "x", "a")], [], [("a", F32)])
    other = inner("else", [node("Bernoulli", "x", "b")], [], [("b", F32)])
    nodes = [node("If", "c", then_branch=then, else_branch=other)]
    net = cr.onnx.load(model(nodes, [stored("c", True, np.bool_)]))
    np.testing.assert_array_equal(net(ROWS).numpy(), np.maximum(ROWS, 0))
    with pytest.raises(cr.onnx.UnsupportedOperator, match="Bernoulli"):
        cr.onnx.load(model(nodes, [stored("c", False, np.bool_)]))
    open_ = model(nodes, inputs=(("x", F32, None), ("c", TensorProto.BOOL, [])))
    with pytest.raises(cr.onnx.UnsupportedOperator, match="Bernoulli"):
        cr.onnx.load(open_)


def test_a_file_in_training_mode_follows_the_module() -> None:
    made = model(
        [
            node("BatchNormalization", "x w b m v", "h mm vv", training_mode=1, momentum=0.8),
            node("Dropout", "h r t", "y mask"),
        ],
        [
            stored("w", [1, 1, 1]), stored("b", [0, 0, 0]), stored("m", [0.1, 0.2, 0.3]),
            stored("v", [1, 2, 3]), stored("r", 0.25), stored("t", True, np.bool_),
        ],
    )  # fmt: skip
    net = cr.onnx.load(made)
    shape = (3, 1, 1)
    mean = np.reshape([0.1, 0.2, 0.3], shape)
    wanted = (IMAGES - mean) / np.sqrt(np.reshape([1, 2, 3], shape) + 1e-5)
    np.testing.assert_allclose(net(IMAGES).detach().numpy(), wanted, rtol=1e-5, atol=1e-6)
    y = net.train()(IMAGES).detach().numpy()
    assert 0.1 < (y == 0).mean() < 0.4
    batch = IMAGES.mean((0, 2, 3))
    np.testing.assert_allclose(net.m.numpy(), 0.8 * mean[:, 0, 0] + 0.2 * batch, rtol=1e-5)
