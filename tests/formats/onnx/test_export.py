"""ONNX as onnxruntime reads it: every network, every operation of the table, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import DataError, ShapeError
from chainrule.formats.onnx import files
from chainrule.models import MODELS, create_model, list_models
from chainrule.nn import functional as F

onnxruntime.set_default_logger_severity(3)


def run(model: onnx.ModelProto, x: np.ndarray) -> list[Any]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found: list[Any] = session.run(None, {"input": x})
    return found


def compare(model: Any, size: tuple[int, ...], batches: tuple[int, ...] = (1, 4)) -> Any:
    """Export, and hold onnxruntime's outputs beside ours at several sizes of the batch."""
    exported = cr.onnx.export(model, size)
    for batch in batches:
        x = np.random.default_rng(batch).standard_normal((batch, *size)).astype(np.float32)
        with cr.no_grad():
            ours = model.eval()(cr.tensor(x))
        ours = ours if isinstance(ours, tuple) else (ours,)
        theirs = run(exported, x)
        assert len(theirs) == len(ours)
        for a, b in zip(ours, theirs, strict=True):
            scale = float(np.abs(b).max())
            np.testing.assert_allclose(a.numpy(), b, rtol=1e-4, atol=1e-4 * max(scale, 1e-3))
    return exported


def with_statistics(model: Any) -> Any:
    """Give batch norms running statistics that are not 0 and 1."""
    rng = np.random.default_rng(0)
    for module in model.modules():
        if getattr(module, "running_mean", None) is not None:
            module.running_mean.array[...] = rng.standard_normal(module.running_mean.shape) / 10
            module.running_var.array[...] = rng.uniform(0.5, 2.0, module.running_var.shape)
    return model


LARGE = {name for name in list_models() if (MODELS[name].parameters or 0) > 50_000_000}


@pytest.mark.parametrize("name", sorted(set(list_models()) - LARGE))
def test_every_network(name: str) -> None:
    cr.manual_seed(0)
    entry = MODELS[name]
    model = with_statistics(create_model(name, 7))
    exported = compare(model, (entry.channels, entry.smallest, entry.smallest), (2,))
    check_names(model, exported)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LARGE))
def test_every_large_network(name: str) -> None:
    cr.manual_seed(0)
    entry = MODELS[name]
    compare(create_model(name, 7), (entry.channels, entry.smallest, entry.smallest), (1,))


def check_names(model: Any, exported: onnx.ModelProto) -> None:
    """Nodes bear their layers' names, each once, and parameters their own."""
    layers = {path for path, _ in model.named_modules()}
    names = [node.name for node in exported.graph.node]
    assert len(set(names)) == len(names)
    assert all(name.rsplit("/", 1)[0] in layers or "/" not in name or name for name in names)
    kept = {value.name for value in exported.graph.initializer}
    convolutions = [path for path, m in model.named_modules() if type(m) is nn.Conv2d]
    aux = ("aux1.", "aux2.")
    assert {f"{p}.weight" for p in convolutions if not p.startswith(aux)} <= kept
    assert exported.opset_import[0].version == 18
    assert exported.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


class Fn(nn.Module):
    """A function as a network."""

    def __init__(self, fn: Callable[[Any], Any]) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Any) -> Any:
        return self.fn(x)


IMAGE = (4, 9, 10)
ACTIVATIONS = (
    "relu leaky_relu elu celu selu gelu silu mish softplus softsign logsigmoid sigmoid tanh "
    "hardtanh relu6 hardsigmoid hardswish hardshrink softshrink tanhshrink"
)
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    **{name: getattr(F, name) for name in ACTIVATIONS.split(" ")},
    "gelu by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "softplus of 2": lambda x: F.softplus(x, 2.0),
    "threshold": lambda x: F.threshold(x, 0.3, -1.0),
    "glu": lambda x: F.glu(x, 1),
    "softmax": lambda x: F.softmax(x, 1),
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "arithmetic": lambda x: (x * 2 - 1) / (x * x + 3) + abs(x) ** 1.5,
    "functions": lambda x: (x.abs() + 1).sqrt() + x.exp().reciprocal() + (x * x + 1).log(),
    "trigonometry": lambda x: x.sin() + x.cos() + x.atan() + x.sinh() - x.cosh(),
    "sub with alpha": lambda x: cr.sub(x, x.tanh(), alpha=0.5),
    "rsqrt": lambda x: (x * x + 1).rsqrt(),
    "clamp": lambda x: x.clamp(-0.5, 0.7) + x.clamp(min=0.1),
    "sums": lambda x: x.sum((2, 3)) + x.mean(3).sum(2),
    "mean with its axis": lambda x: x - x.mean((1, 2), keepdim=True),
    "matmul": lambda x: x @ x.transpose(2, 3),
    "cat": lambda x: cr.cat((x, x * 2, x), 1),
    "split": lambda x: x.split([1, 3], 1)[1] + x.split(1, 1)[0],
    "chunk": lambda x: x.chunk(2, 1)[1],
    "permute": lambda x: x.permute(0, 3, 1, 2),
    "reshape": lambda x: x.reshape(x.shape[0], 2, 2, 90) * 2,
    "merged with the batch": lambda x: x.reshape(-1, 90).tanh(),
    "flatten": lambda x: x.flatten(2).flatten(1),
    "squeeze": lambda x: x.unsqueeze(2).squeeze(2),
    "expand": lambda x: x.unsqueeze(2).expand(-1, -1, 3, -1, -1),
    "max_pool2d": lambda x: F.max_pool2d(x, 3, 2, 1),
    "max_pool2d up": lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True),
    "max_pool2d dilated": lambda x: F.max_pool2d(x, 2, 2, 1, 2),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "avg_pool2d without padding": lambda x: F.avg_pool2d(x, 3, 2, 1, True, False),
    "avg_pool2d divided": lambda x: F.avg_pool2d(x, 2, divisor_override=3),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, (3, 5)),
    "adaptive_avg_pool2d ragged": lambda x: F.adaptive_avg_pool2d(x, (4, 7)),
    "adaptive_avg_pool2d to one": lambda x: F.adaptive_avg_pool2d(x, 1),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, (3, 5)),
    "adaptive_max_pool2d ragged": lambda x: F.adaptive_max_pool2d(x, (4, 7)),
    "pad": lambda x: F.pad(x, (1, 2, 0, 3), value=0.5),
    "pad reflect": lambda x: F.pad(x, (1, 2, 3, 1), "reflect"),
    "pad replicate": lambda x: F.pad(x, (1, 2, 3, 1), "replicate"),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 2),
    "local_response_norm": lambda x: F.local_response_norm(x, 3),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "nearest-exact": lambda x: F.interpolate(x, (13, 7), mode="nearest-exact"),
    "bilinear": lambda x: F.interpolate(x, (20, 15), mode="bilinear"),
    "bilinear with corners": lambda x: F.interpolate(x, (20, 15), None, "bilinear", True),
    "bicubic": lambda x: F.interpolate(x, scale_factor=1.5, mode="bicubic"),
    "zeros of the batch": lambda x: cr.cat((x, cr.zeros(x.shape[0], 2, 9, 10)), 1),
    "two results": lambda x: (x.relu(), x.sum(1)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_operation(name: str) -> None:
    compare(Fn(FUNCTIONS[name]), IMAGE)


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv1d": (lambda: nn.Conv1d(3, 4, 3, 2, 1), (3, 20)),
    "conv2d": (lambda: nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), groups=2), (4, 9, 10)),
    "conv2d same": (lambda: nn.Conv2d(4, 6, 4, padding="same", bias=False), (4, 9, 10)),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2), (2, 4, 5, 6)),
    "conv_transpose2d": (lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2), (4, 5, 6)),
    "linear of images": (lambda: nn.Linear(10, 3), (4, 9, 10)),
    "batch norm": (lambda: with_statistics(nn.BatchNorm2d(4)), (4, 9, 10)),
    "batch norm without": (lambda: with_statistics(nn.BatchNorm2d(4, affine=False)), (4, 9, 10)),
    "group norm": (lambda: nn.GroupNorm(2, 4), (4, 9, 10)),
    "layer norm": (lambda: nn.LayerNorm((9, 10)), (4, 9, 10)),
    "layer norm without": (lambda: nn.LayerNorm(10, elementwise_affine=False), (4, 9, 10)),
    "prelu": (lambda: nn.PReLU(4), (4, 9, 10)),
    "prelu of one": (lambda: nn.PReLU(), (4, 9)),
    "dropout": (lambda: nn.Dropout(), (4, 9)),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer(name: str) -> None:
    cr.manual_seed(0)
    build, size = LAYERS[name]
    compare(build(), size)


def test_all_that_is_not_there_is_listed_at_once() -> None:
    net = nn.Sequential(Fn(lambda x: x.cumsum(1)), nn.ReLU(), Fn(lambda x: x.sort(1)[0]))
    with pytest.raises(cr.onnx.UnsupportedOperator, match=r"cumsum.*sort"):
        cr.onnx.export(net, (4,))
    with pytest.raises(cr.onnx.UnsupportedOperator, match="an even number of channels"):
        cr.onnx.export(Fn(lambda x: F.local_response_norm(x, 4)), IMAGE)
    training = Fn(lambda x: F.batch_norm(x, None, None, training=True))
    with pytest.raises(NotImplementedError, match="batch norm while training"):
        cr.onnx.export(training, (4,))


def test_what_depends_on_the_batch_is_refused() -> None:
    with pytest.raises(ShapeError, match="depends on the size of the batch"):
        cr.onnx.export(Fn(lambda x: x * float(x.shape[0])), (4,))
    with pytest.raises(ShapeError, match="otherwise for another batch"):
        cr.onnx.export(Fn(lambda x: x.relu() if x.shape[0] == 2 else x.tanh()), (4,))
    with pytest.raises(TypeError, match="expected a Module"):
        cr.onnx.export(lambda x: x, (4,))  # type: ignore[arg-type]


def test_the_file_and_the_model_as_it_was(tmp_path: Path) -> None:
    model = create_model("resnet20", 3)
    model.layer1.eval()
    path = tmp_path / "m.onnx"
    cr.onnx.export(model, (3, 32, 32), path, about={"classes": ["a", "b", "c"]})
    assert model.training
    assert not model.layer1.training
    found = onnx.load(path)
    assert found.metadata_props[0].value == '{"classes": ["a", "b", "c"]}'
    assert found.producer_name == "chainrule"


def test_weights_too_large_for_one_file_lie_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LIMIT", 1000)
    model = create_model("lenet5").eval()
    with pytest.raises(DataError, match="give a path"):
        cr.onnx.export(model, (1, 32, 32))
    path = tmp_path / "m.onnx"
    cr.onnx.export(model, (1, 32, 32), path)
    assert path.stat().st_size < 20_000
    assert (tmp_path / "m.onnx.data").stat().st_size > 240_000
    onnx.checker.check_model(str(path), full_check=True)
    x = np.random.default_rng(0).standard_normal((2, 1, 32, 32)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    ours = model(cr.tensor(x)).detach().numpy()
    np.testing.assert_allclose(session.run(None, {"input": x})[0], ours, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(cr.onnx.load(path)(x).detach().numpy(), ours)


def test_equal_parameters_keep_their_names() -> None:
    exported = cr.onnx.export(nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3)), (3,))
    names = [one.name for one in exported.graph.initializer]
    kinds = ("weight", "bias", "running_mean", "running_var")
    assert sorted(names) == sorted(f"{i}.{kind}" for i in (0, 1) for kind in kinds)


class Own(nn.Module):
    """Constants that are made anew at each call, as the input is."""

    def forward(self, x: Any) -> Any:
        return x * cr.full_like(x[:1], 3.0) + cr.arange(10, dtype=x.dtype, device=x.device)


def test_constants_that_a_network_makes_keep_their_values() -> None:
    compare(Own(), (4, 9, 10), (2, 3))


def test_what_cannot_be_written_for_good() -> None:
    with pytest.raises(cr.GraphError, match="random numbers"):
        cr.onnx.export(Fn(lambda x: nn.functional.dropout(x, 0.5, True)), (3, 4, 4))
    with cr.device("meta"):
        model = cr.create_model("lenet5")
    with pytest.raises(cr.GraphError, match=r"no values.*conv1.*load weights"):
        cr.onnx.export(model, (1, 32, 32))
    with pytest.raises(TypeError, match=r"write \(32,\)"):
        cr.onnx.export(model, 32)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        cr.onnx.export(model, (1, 0, 32))


def test_modes_stay_as_they_were() -> None:
    model = cr.create_model("lenet5").train()
    model.conv2.eval()
    cr.onnx.export(model, (1, 32, 32))
    assert [m.training for m in model.modules()].count(False) == 1
