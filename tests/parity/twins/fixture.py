"""What a network is compared by: a twin with drawn weights, its files, and one step of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from tests.parity.twins import TWINS


def twin(name: str, seed: int = 0, **sizes: int) -> nn.Module:
    """Build a twin with weights of its own: He's rule, biases, and statistics that are not 0 and 1.

    torch's own first values would not do: through nineteen layers of VGG nothing would come of the
    image but what the biases say, and fresh running statistics do nothing.

    A batch norm's channel is on or off almost everywhere: what lies near 0 may round to the
    other side of the next ReLU in one of the libraries, which changes gradients by more than
    rounding, and in fifty layers something always does.
    """
    net = TWINS[name](**sizes)
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for path, value in net.state_dict().items():
            layer, _, kind = path.rpartition(".")
            _draw(kind, value, source, isinstance(net.get_submodule(layer), nn.BatchNorm2d))
    for layer in net.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0  # two libraries draw two masks
    return net


def _draw(kind: str, value: Any, source: torch.Generator, norm: bool) -> None:
    """Draw the values that stand under a name, in place."""
    if kind in ("table", "bell", "num_batches_tracked"):
        return
    if norm and kind == "weight":
        value.uniform_(0.3, 0.6, generator=source)
    elif norm and kind == "bias":
        on = torch.empty_like(value).bernoulli_(0.7, generator=source)
        value.uniform_(1.0, 1.5, generator=source).mul_(2 * on - 1)
    elif kind == "running_var" or (value.ndim == 1 and kind == "weight"):
        value.uniform_(0.5, 1.5, generator=source)
    elif kind == "codes":
        value.bernoulli_(0.5, generator=source).mul_(2).sub_(1)
    elif kind == "weight":
        value.normal_(0.0, (2 / value[0].numel()) ** 0.5, generator=source)
    else:  # biases, running means, the Neocognitron's inhibition
        value.normal_(0.0, 0.1, generator=source)


class Files(NamedTuple):
    """The weights of one twin in both forms."""

    torch: Path
    safetensors: Path


def save(net: nn.Module, folder: Path) -> Files:
    """Write the state dict as `torch.save` does, zipped, and as safetensors."""
    files = Files(folder / "twin.pth", folder / "twin.safetensors")
    torch.save(net.state_dict(), files.torch)
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, files[1])
    return files


class Batch(NamedTuple):
    """Images, channels-last in memory, and a class for each."""

    images: np.ndarray
    labels: np.ndarray


def batch(n: int, channels: int, height: int, width: int, classes: int, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, height, width, channels)).astype(np.float32)
    return Batch(np.moveaxis(x, -1, 1), rng.integers(0, classes, n))


WEIGHTS = (1.0, 0.3, 0.3)
"""Of the classifiers in GoogLeNet's loss: the last, and the two in the middle."""


def loss(lib: Any, output: Any, labels: Any) -> Any:
    """Cross-entropy, in either library; of all classifiers where there are several."""
    outputs = output if isinstance(output, tuple) else (output,)
    losses = [lib.nn.functional.cross_entropy(y, labels) for y in outputs]
    return sum(w * value for w, value in zip(WEIGHTS, losses, strict=False))


Values = dict[str, np.ndarray]
"""What came out, by a name that says of what."""


def step(lib: Any, net: Any, given: Batch) -> Values:
    """Run one training step without the change: all scores, gradients and buffers by name.

    The network has to be in the mode that is wanted; gradients of earlier steps are dropped.
    """
    net.zero_grad()
    x = lib.tensor(given.images, requires_grad=True)
    output = net(x)
    loss(lib, output, lib.tensor(given.labels)).backward()
    outputs = output if isinstance(output, tuple) else (output,)
    found = {f"scores {i}": y.detach().numpy() for i, y in enumerate(outputs)}
    found["gradient of the images"] = x.grad.numpy()
    for path, parameter in net.named_parameters():
        found[f"gradient of {path}"] = parameter.grad.numpy()
    return found | {path: buffer.numpy() for path, buffer in net.named_buffers()}


def differences(ours: Values, theirs: Values, tolerance: float) -> list[str]:
    """Tell what differs by more than `tolerance` of the largest value.

    That of a gradient is the largest of its layer: before a batch norm the sum over the images
    takes a bias's gradient away, and leaves what rounding left.
    """
    assert list(ours) == list(theirs)
    largest: dict[str, float] = {}
    for name, value in theirs.items():
        size = _largest(value)
        largest[_scale(name)] = max(largest.get(_scale(name), 0.0), size)
    told = []
    for name, value in theirs.items():
        mine, scale = ours[name], largest[_scale(name)]
        assert mine.shape == value.shape, name
        assert mine.dtype == value.dtype, name
        assert scale > 0 or not name.startswith(("scores", "gradient")), f"nothing in {name}"
        apart = _apart(mine, value)
        if not apart <= tolerance * scale:
            told.append(f"{name}: {apart:.2g} apart, the largest is {scale:.2g}")
    return told


def _largest(value: np.ndarray) -> float:
    """Give the largest absolute value, NaN if there is one; no copy, for a layer may have 100M."""
    return float(np.maximum(value.max(), -value.min()))


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """Give the largest difference, NaN if there is one; in parts, for the same reason."""
    parts = [np.array_split(x.reshape(-1), 1 + x.size // 2**22) for x in (a, b)]
    return float(np.max([_largest(p - q) for p, q in zip(*parts, strict=True)]))


def _scale(name: str) -> str:
    """Name what a value is measured by."""
    of_layer = name.startswith("gradient of ") and "." in name
    return name.rpartition(".")[0] if of_layer else name
