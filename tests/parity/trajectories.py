"""The same parameters under torch's optimiser and ours, by gradients that are alike to the bit."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

import chainrule as cr
from chainrule.engine.tensor import Tensor

STEPS = 100
NAMES = ("step", "mu_product")


def starts(dtype: str) -> list[np.ndarray]:
    """Parameters of many shapes; two lie in memory with gaps or in another order."""
    rng = np.random.default_rng(0)
    shapes = [(4, 3), (3,), (), (0, 2), (2, 3, 2, 2), (37,)]
    plain = [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]
    gaps = rng.standard_normal((6, 8)).astype(dtype)[::2, 1::2]
    turned = rng.standard_normal((5, 4)).astype(dtype).T
    return [*plain, gaps, turned]


@cache
def _noise(shape: tuple[int, ...], *seed: int) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


def slope(value: np.ndarray, k: int, step: int) -> np.ndarray | None:
    """Give a bounded gradient that depends on the value; the third parameter pauses at times."""
    if k == 2 and step % 3 == 0:
        return None
    noise = _noise(value.shape, k, step)
    found = np.asarray(np.sin(1.3 * value + k) * (1 + k) + 0.3 * noise, value.dtype)
    if k == 4 and step % 2:  # another order of memory
        found = np.ascontiguousarray(found.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)
    return found


def leaves(lib: Any, dtype: str) -> list[Any]:
    """Make the parameters of one library, in the memory that `starts` gives."""
    if lib is cr:
        return [Tensor(value, requires_grad=True) for value in starts(dtype)]
    return [torch.from_numpy(value).requires_grad_() for value in starts(dtype)]


def give(lib: Any, parameters: list[Any], step: int) -> None:
    """Set all gradients."""
    for k, p in enumerate(parameters):
        g = slope(p.detach().numpy(), k, step)
        if g is None:
            p.grad = None
        else:
            p.grad = Tensor(g) if lib is cr else torch.from_numpy(g)


def walk(lib: Any, optimizer: Any, parameters: list[Any], first: int, last: int) -> list[Any]:
    """Run some steps; give all values after each."""
    path = []
    for step in range(first, last):
        give(lib, parameters, step)
        optimizer.step()
        path.append([p.detach().numpy().copy() for p in parameters])
    return path


def compare(make: Any, dtype: str = "float64", tolerance: float = 1e-10) -> tuple[Any, Any]:
    """Hold a hundred steps beside torch's, and the state that they leave; give the optimisers."""
    paths, optimizers = [], []
    for lib in (torch, cr):
        parameters = leaves(lib, dtype)
        optimizers.append(make(lib, parameters))
        paths.append(walk(lib, optimizers[-1], parameters, 0, STEPS))
    near(paths[1], paths[0], tolerance)
    alike(*optimizers, tolerance)
    return optimizers[0], optimizers[1]


def near(ours: list[Any], theirs: list[Any], tolerance: float) -> None:
    """Hold two paths beside each other."""
    assert len(ours) == len(theirs)
    for step, (o, t) in enumerate(zip(ours, theirs, strict=True)):
        for a, b in zip(o, t, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=str(step))


def alike(theirs: Any, ours: Any, tolerance: float) -> None:
    """Hold all state beside torch's: the same names, shapes, dtypes and values."""
    found, wanted = ours.state_dict()["state"], theirs.state_dict()["state"]
    assert [name for name, own in found.items() if own] == [str(number) for number in wanted]
    for number, given in wanted.items():
        own = found[str(number)]
        state = {name: value for name, value in given.items() if value is not None}
        assert sorted(own) == sorted(state)
        for name, value in state.items():
            if name in NAMES:
                assert isinstance(own[name], int | float)
            else:
                assert own[name].shape == value.shape
                assert own[name].dtype == value.numpy().dtype
            scale = 1e-6 if name == "mu_product" else tolerance
            np.testing.assert_allclose(own[name], value.numpy(), rtol=scale, atol=scale)
