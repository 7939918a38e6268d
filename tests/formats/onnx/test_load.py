"""Files as others write them: what is read, under which names, and what is refused."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import chainrule as cr
from chainrule.errors import ChainruleError, DataError, KindError, ShapeError
from chainrule.formats.onnx.reading.table import READERS

F32, I64 = TensorProto.FLOAT, TensorProto.INT64


def stored(name: str, value: Any, dtype: Any = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def model(
    nodes: list[Any],
    initializers: Any = (),
    *,
    opset: int = 17,
    inputs: Any = (("x", F32, None),),
    outputs: Any = ("y",),
    ir: int = 8,
    domains: Any = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(name, F32, None) for name in outputs],
        list(initializers),
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir)


def node(kind: str, inputs: str, outputs: str = "y", **attributes: Any) -> Any:
    return helper.make_node(
        kind, inputs.split(" "), outputs.split(" "), name=f"{kind.lower()} of {outputs}",
        **attributes,
    )  # fmt: skip


RNG = np.random.default_rng(0)
W = RNG.standard_normal((4, 3, 3, 3)).astype(np.float32)


def small() -> onnx.ModelProto:
    """A convolution, batch norm and ReLU."""
    return model(
        [
            node("Conv", "x conv.weight conv.bias", "c", kernel_shape=[3, 3]),
            node("BatchNormalization", "c bn.weight bn.bias bn.mean bn.var", "n"),
            node("Relu", "n"),
        ],
        [
            stored("conv.weight", W),
            stored("conv.bias", [0.1, 0.2, 0.3, 0.4]),
            stored("bn.weight", [1, 2, 1, 2]),
            stored("bn.bias", [0, 1, 0, 1]),
            stored("bn.mean", [0.1, 0, 0.2, 0]),
            stored("bn.var", [1, 2, 0.5, 1]),
        ],
    )


X = RNG.standard_normal((2, 3, 6, 5)).astype(np.float32)

# State


def test_names_modes_and_kinds() -> None:
    net = cr.onnx.load(small())
    assert list(net.state_dict()) == [
        "conv.weight", "conv.bias", "bn.weight", "bn.bias", "bn.mean", "bn.var",
    ]  # fmt: skip
    assert [name for name, _ in net.named_buffers()] == ["bn.mean", "bn.var"]
    assert net.conv.weight.shape == (4, 3, 3, 3)
    assert not net.training
    assert (net.inputs, net.outputs) == (["x"], ["y"])
    np.testing.assert_array_equal(net(X).detach().numpy(), net(x=X).detach().numpy())
    before = net.bn.mean.numpy().copy()
    net(X)
    np.testing.assert_array_equal(net.bn.mean.numpy(), before)
    net.train()
    y = net(X)
    c = cr.nn.functional.conv2d(cr.tensor(X), net.conv.weight, net.conv.bias)
    normal = (c - c.mean((0, 2, 3), keepdim=True)) / (
        c.var((0, 2, 3), unbiased=False, keepdim=True) + 1e-5
    ).sqrt()
    wanted = (normal * cr.tensor([1.0, 2, 1, 2]).reshape(-1, 1, 1)
              + cr.tensor([0.0, 1, 0, 1]).reshape(-1, 1, 1)).relu()  # fmt: skip
    np.testing.assert_allclose(y.detach().numpy(), wanted.detach().numpy(), atol=1e-5)
    moved = 0.9 * before + 0.1 * c.mean((0, 2, 3)).detach().numpy()
    np.testing.assert_allclose(net.bn.mean.numpy(), moved, atol=1e-6)


def test_settings_integers_and_constants_are_no_parameters() -> None:
    made = model(
        [
            node("Constant", "", "k", value=stored("", [2.0])),
            node("Mul", "x k", "m"),
            node("Clip", "m low high", "c"),
            node("Resize", "c  scales", "r", mode="nearest"),
            node("Gather", "r index", "g", axis=1),
            node("Add", "g b"),
        ],
        [
            stored("low", -1), stored("high", 0.5), stored("scales", [1, 1, 2, 2]),
            stored("index", [0, 2], np.int64), stored("b", 3), stored("unused", [1.0]),
        ],
    )  # fmt: skip
    made.graph.node[0].input.pop()
    net = cr.onnx.load(made)
    assert list(net.state_dict()) == ["b"]
    assert [name for name, _ in net.named_parameters()] == ["b"]
    wanted = np.clip(X * 2, -1, 0.5).repeat(2, 2).repeat(2, 3)[:, [0, 2]] + 3
    np.testing.assert_array_equal(net(X).detach().numpy(), wanted)


def test_names_that_cannot_be_paths_are_kept_apart() -> None:
    names = ["a", "a.b", "forward", "w::1", ".x", "y..z", "inputs", "training.w", "a_b"]
    chain = [f"v{i}" for i in range(len(names))] + ["y"]
    nodes = [node("Add", "x a", "v1")]
    nodes += [node("Add", f"{chain[i]} {names[i]}", chain[i + 1]) for i in range(1, len(names))]
    made = model(nodes, [stored(name, 10.0**-i) for i, name in enumerate(names)])
    net = cr.onnx.load(made)
    state = net.state_dict()
    assert len(state) == len(names)
    assert {"a", "a_b", "w::1"} <= state.keys()
    assert sorted(v.item() for v in state.values()) == sorted(
        float(np.float32(10.0**-i)) for i in range(len(names))
    )
    other = cr.onnx.load(made)
    other.load_state_dict(state)
    x = np.zeros((1,), np.float32)
    np.testing.assert_allclose(other(x).detach().numpy(), 1.11111111, rtol=1e-6)


def test_equal_parameters_written_once_are_apart_again() -> None:
    """PyTorch writes equal values once, with Identity; statistics may share theirs with a bias."""
    made = model(
        [
            node("Identity", "bn1.bias", "bn2.bias"),
            node("Identity", "bn1.bias", "bn2.mean"),
            node("BatchNormalization", "x w bn1.bias bn1.bias w", "h"),
            node("BatchNormalization", "h w bn2.bias bn2.mean w"),
        ],
        [stored("bn1.bias", [0, 0, 0]), stored("w", [1, 1, 1])],
    )
    net = cr.onnx.load(made)
    learned = {name for name, _ in net.named_parameters()}
    assert learned == {"bn1.bias", "bn2.bias", "w"}
    assert {"bn2.mean"} < {name for name, _ in net.named_buffers()}
    net.train()(X).sum().backward()
    moved = [b.numpy() for _, b in net.named_buffers()]
    assert len(moved) == 4
    assert len({id(b) for b in moved}) == 4
    assert not np.array_equal(moved[0], moved[2])
    np.testing.assert_array_equal(net.get_submodule("bn1").bias.detach().numpy(), 0)


def test_old_files_list_initializers_as_inputs() -> None:
    made = model(
        [node("Add", "x b")],
        [stored("b", [1.0])],
        inputs=(("x", F32, ["n"]), ("b", F32, [1])),
        opset=7,
        ir=3,
    )
    net = cr.onnx.load(made)
    assert net.inputs == ["x"]
    assert net(np.zeros(2, np.float32)).tolist() == [1, 1]


def test_dropout_acts_while_training() -> None:
    flag = stored("t", True, np.bool_)
    for made in (
        model([node("Dropout", "x", ratio=0.5)], opset=7),
        model([node("Dropout", "x r t", "y m")], [stored("r", 0.5), flag], outputs=("y", "m")),
    ):
        net = cr.onnx.load(made)
        x = np.ones((40, 50), np.float32)
        y = net(x)
        np.testing.assert_array_equal((y[0] if isinstance(y, tuple) else y).numpy(), x)
        cr.manual_seed(0)
        y = net.train()(x)
        if isinstance(y, tuple):
            np.testing.assert_array_equal(y[1].numpy(), y[0].numpy() > 0)
            y = y[0]
        assert set(np.unique(y.numpy())) == {0, 2}
        assert 0.45 < (y.numpy() > 0).mean() < 0.55


# What is refused


def test_everything_that_is_not_supported_is_told_at_once() -> None:
    made = model(
        [
            node("Bernoulli", "x", "a"),
            node("FancyOp", "a", "b", domain="com.acme"),
            node("FancyOp", "b", "c", domain="com.acme"),
            node("Relu", "c", "d", colour=3),
            node("BatchNormalization", "d s s s s", "e", spatial=0),
            node("Constant", "", "k", value_string="no"),
            node("Identity", "e"),
        ],
        [stored("s", [1.0])],
        domains=("com.acme",),
        opset=15,
    )
    made.graph.node[5].input.pop()
    with pytest.raises(cr.onnx.UnsupportedOperator) as caught:
        cr.onnx.load(made)
    text = str(caught.value)
    for part in (
        "Bernoulli (opset 15), 1 x: bernoulli of a",
        "FancyOp (domain com.acme, opset 1), 2 x: fancyop of b, fancyop of c",
        "attribute 'colour' of Relu",
        "attribute 'spatial' of BatchNormalization",
        "value_string of Constant",
    ):
        assert part in text


def test_opsets() -> None:
    with pytest.raises(cr.onnx.UnsupportedOperator, match="opset 6; 7 and later"):
        cr.onnx.load(model([node("Relu", "x")], opset=6))
    newest = onnx.defs.onnx_opset_version()
    with pytest.raises(cr.onnx.UnsupportedOperator, match=f"knows {newest}: update it"):
        cr.onnx.load(model([node("Relu", "x")], opset=newest + 1))
    with pytest.raises(cr.onnx.UnsupportedOperator, match="no such operator"):
        cr.onnx.load(model([node("LayerNormalization", "x x")], opset=16))


def test_readers_know_the_versions_that_they_name() -> None:
    """Each version that a reader lists is one of the standard's."""
    known: dict[str, set[int]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            known.setdefault(schema.name, set()).add(schema.since_version)
    for name, reader in READERS.items():
        if name in known:  # an older onnx lacks the newest operators
            newest = max(known[name])
            assert {v for v in reader.since if v <= newest} <= known[name], name


@pytest.mark.parametrize(
    ("nodes", "match"),
    [
        ([node("Relu", "nothing")], "reads 'nothing', which nothing makes"),
        ([node("Add", "x y")], "in a circle: 'add of y'"),
        ([node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "a")], "in a circle"),
        ([node("Relu", "x"), node("Tanh", "x")], "two values have the name 'y'"),
        ([node("Relu", "x", "z")], "no node makes the outputs"),
        ([node("Relu", "x x")], "2 inputs, expected 1 to 1"),
        ([node("Add", "x ")], "the input 'B' is left out"),
        ([node("Relu", "x", domain="else")], "domain 'else', which is not imported"),
        ([node("Cast", "x")], "attribute 'to' is missing"),
        ([node("Cast", "x", to="float")], "attribute 'to' is of the wrong kind"),
    ],
)
def test_what_is_no_graph(nodes: list[Any], match: str) -> None:
    with pytest.raises(DataError, match=match):
        cr.onnx.load(model(nodes))


def test_nodes_need_not_be_in_order() -> None:
    """Converters add their nodes at the end, which other programs take too."""
    inner = helper.make_graph(
        [node("Mul", "late x", "inside")], "inner", [],
        [helper.make_tensor_value_info("inside", F32, None)],
    )  # fmt: skip
    nodes = [
        node("If", "yes", "y", then_branch=inner, else_branch=inner),
        node("Exp", "early", "late"),
        node("Relu", "x", "early"),
    ]
    net = cr.onnx.load(model(nodes, [stored("yes", True, np.bool_)]))
    np.testing.assert_allclose(net(X).numpy(), np.exp(np.maximum(X, 0)) * X, rtol=1e-6)


def test_duplicate_names() -> None:
    with pytest.raises(DataError, match="names of their own"):
        cr.onnx.load(model([node("Add", "x b")], [stored("b", 1.0), stored("b", 2.0)]))


def test_inputs_are_checked_in_words() -> None:
    net = cr.onnx.load(model([node("Mul", "x z")], inputs=(("x", F32, ["n", 3]), ("z", F32, None))))
    a = np.ones((2, 3), np.float32)
    assert net(a, z=a).shape == (2, 3)
    with pytest.raises(KindError, match="one value for each of the inputs x, z"):
        net(a)
    with pytest.raises(KindError, match="one value for each"):
        net(a, a, a)
    with pytest.raises(KindError, match="float32 for the input 'x'"):
        net(np.ones((2, 3), np.int64), a)
    with pytest.raises(KindError, match="float32 for the input 'x'"):
        net(np.ones((2, 3)), a)
    with pytest.raises(ShapeError, match=r"2 axes, \(n, 3\), for the input 'x'"):
        net(np.ones(3, np.float32), a)


def test_an_error_names_the_node() -> None:
    net = cr.onnx.load(small())
    with pytest.raises(ShapeError, match=r"in node 'conv of c' \(Conv\)"):
        net(np.ones((2, 5, 6, 6), np.float32))


# Files


def test_what_is_no_file_of_onnx(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a folder; give the file"):
        cr.onnx.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        cr.onnx.load(tmp_path / "none.onnx")
    for content, match in (
        (b"", "empty"),
        (b"\x08\x08" + os.urandom(200), "not a model of ONNX"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<html><body>404</body></html>", "not a model of ONNX"),
        (small().SerializeToString()[:-40], "not a model of ONNX"),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "not a model of ONNX"),
    ):
        path = tmp_path / "m.onnx"
        path.write_bytes(content)
        with pytest.raises(DataError, match=match) as caught:
            cr.onnx.load(path)
        assert str(path) in str(caught.value)


BYTES = small().SerializeToString()


def attempt(data: bytes) -> None:
    with contextlib.suppress(ChainruleError, MemoryError):
        cr.onnx.load(data)(X)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(BYTES) - 1))
def test_cut_files_give_our_errors(length: int) -> None:
    attempt(BYTES[:length])


@settings(max_examples=600, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(BYTES) - 1), st.integers(0, 255)), min_size=1,
                max_size=4))  # fmt: skip
def test_flipped_bytes_give_our_errors(changes: list[tuple[int, int]]) -> None:
    data = bytearray(BYTES)
    for place, value in changes:
        data[place] = value
    attempt(bytes(data))


@pytest.mark.parametrize("source", [5, None, ["m.onnx"]])
def test_what_is_no_source(source: Any) -> None:
    with pytest.raises(TypeError, match="a path, the bytes of a file, or a ModelProto"):
        cr.onnx.load(source)
