"""Our kernels of losses, running sums, order and indices: the reference's values, at the edge of
memory, for every instruction set, also where nothing is finite or values are equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.backends.onednn.backend import ONEDNN
from chainrule.engine.op import OPS
from chainrule.errors import ChainruleError
from chainrule.ops.embedding_bag import EmbeddingBag
from tests.backends.onednn.edges import at_the_edge
from tests.backends.onednn.test_own import isa  # noqa: F401

pytestmark = pytest.mark.usefixtures("no_limits", "traps")

ODD = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1e30, -1e30, 80.0, -80.0]
SIZES = [1, 3, 8, 15, 16, 17, 20, 4096, 4099]


def edge(a: np.ndarray) -> np.ndarray:
    """Put floats, or whole numbers by their bits, where memory ends."""
    flat = np.ascontiguousarray(a).reshape(-1)
    return at_the_edge(flat.view(np.float32)).view(a.dtype).reshape(a.shape)


def compare(op: Any, *arrays: np.ndarray, close: float = 2e-6) -> None:
    """Hold a pair's results, and its gradients of random gy, beside the reference's."""
    pair: Any = ONEDNN.table[type(op)]
    given = [edge(a) for a in arrays]
    assert pair.supports(op, given)
    needs = tuple(a.dtype.kind == "f" for a in arrays)
    with np.errstate(all="ignore"):
        wanted, kept = op.forward(np, *arrays)
        found, saved = pair.forward(op, given)
        shape = np.shape(wanted[0])
        gy: Any = edge(np.random.default_rng(1).standard_normal(shape).astype(np.float32))
        gys = gy if len(wanted) == 1 else (gy, None)
        back = op.backward(np, kept, gys, needs)
    for y, right in zip(found, wanted, strict=True):
        np.testing.assert_allclose(y, right, rtol=close, atol=close)
    for g, right in zip(pair.backward(op, saved, gys, needs), back, strict=True):
        if right is not None:
            np.testing.assert_allclose(g, right, rtol=close, atol=close)


LOSSES = {
    "MSELoss": (),
    "L1Loss": (),
    "SmoothL1Loss": (0.5,),
    "HuberLoss": (1.5,),
    "BinaryCrossEntropyWithLogits": (),
    "SoftMarginLoss": (),
}


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", SIZES)
def test_losses(name: str, size: int, reduction: str) -> None:
    rng = np.random.default_rng(size)
    x = 4 * rng.standard_normal(size).astype(np.float32)
    compare(OPS[name](*LOSSES[name], reduction), x, rng.random(size, np.float32), close=2e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_what_is_not_finite(name: str) -> None:
    x = np.repeat(np.array(ODD, np.float32), len(ODD))
    t = np.tile(np.array(ODD, np.float32), len(ODD))
    op = OPS[name](*LOSSES[name], "none")
    with np.errstate(all="ignore"):
        (wanted,), _ = op.forward(np, x, t)
    (found,), _ = ONEDNN.table[type(op)].forward(op, [x, t])
    assert np.array_equal(np.isfinite(found), np.isfinite(wanted))
    compare(op, x, t, close=1e-5)


def test_a_long_mean_is_summed_by_pieces() -> None:
    x, op = np.full(1 << 22, 1.1, np.float32), OPS["MSELoss"]()
    (y,), _ = ONEDNN.table[type(op)].forward(op, [x, np.zeros_like(x)])
    assert abs(y - np.float64(x[0]) ** 2) < 1e-5


@pytest.mark.parametrize("shape", [(5,), (19, 7), (3, 20, 9), (2, 3, 33), (17, 1), (1, 17)])
@pytest.mark.parametrize("name", ["CumSum", "CumProd"])
def test_scans(name: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).uniform(0.5, 1.5, shape).astype(np.float32)
    for dim in range(len(shape)):
        compare(OPS[name](dim), x)
        for bad in (np.nan, np.inf, 0.0):
            odd = x.copy()
            odd.flat[x.size // 2] = bad
            compare(OPS[name](dim), odd)


@pytest.mark.parametrize("name", ["CumSum", "CumProd"])
def test_scans_are_exact_inside(name: str) -> None:
    """In doubles, as the reference: bit for bit."""
    x = np.random.default_rng(0).uniform(0.9, 1.1, (11, 1000)).astype(np.float32)
    for dim in (0, 1):
        op: Any = OPS[name](dim)
        (y,), _ = ONEDNN.table[type(op)].forward(op, [x])
        assert np.array_equal(y, op.forward(np, x)[0][0])


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("length", [1, 2, 7, 31, 32, 33, 100, 5000])
def test_sort_keeps_the_order_of_equals(length: int, descending: bool) -> None:
    rng = np.random.default_rng(length)
    # 0 / 0 has a sign: such a NaN is the largest as well.
    x = rng.choice(np.array([*ODD, *ODD, -np.nan], np.float32), (3, length))
    compare(OPS["Sort"](1, descending), x, close=0)
    compare(OPS["Sort"](1, descending), np.repeat(x[..., None], 5, 2), close=0)
    signs, right = (f(np, x) for f in (_sorted(descending), OPS["Sort"](1, descending).forward))
    assert np.array_equal(np.signbit(signs), np.signbit(right[0][0]))


def _sorted(descending: bool) -> Any:
    op: Any = OPS["Sort"](1, descending)
    return lambda xp, x: ONEDNN.table[type(op)].forward(op, [x])[0][0]


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("k", [1, 2, 31, 32, 33, 60])
def test_topk(k: int, largest: bool) -> None:
    rng = np.random.default_rng(k)
    x = rng.permutation(4 * 60).reshape(4, 60).astype(np.float32)
    x[1] = np.sort(x[1])
    x[2] = -np.sort(-x[2])
    x[3, 7] = -np.nan
    compare(OPS["TopK"](k, 1, largest), x, close=0)
    compare(OPS["TopK"](k, 1, largest), np.ascontiguousarray(x.reshape(2, 60, 2)), close=0)


@pytest.mark.parametrize("width", [*range(1, 21), 64, 130, 300])
def test_rows(width: int) -> None:
    rng = np.random.default_rng(width)
    w, i = rng.standard_normal((9, width)).astype(np.float32), rng.integers(0, 9, (5, 4))
    compare(OPS["Embedding"](3), i, w)
    compare(OPS["IndexSelect"](0), w, i[0])
    compare(OPS["IndexSelect"](1), np.stack([w, w]), i[0])
    compare(OPS["Gather"](0), w, rng.integers(0, 9, (4, width)))
    compare(OPS["Gather"](1), w, rng.integers(0, width, (9, 7)))
    for mode in ("sum", "mean"):
        for last in (False, True):
            offsets = np.array([0, 0, 5, 11, 20])
            compare(EmbeddingBag(mode, False, last, 3), i.reshape(-1), offsets, w)


@pytest.mark.parametrize("columns", [*range(1, 21), 33, 64, 130, 9000])
def test_distances(columns: int) -> None:
    rng = np.random.default_rng(columns)
    x, y = rng.standard_normal((2, 5, columns)).astype(np.float32)
    x[3, -1], y[4, 0], y[2] = np.nan, np.inf, x[2]
    for keepdim in (False, True):
        compare(OPS["PairwiseDistance"](2.0, 1e-3, keepdim), x, y)
    compare(OPS["PairwiseDistance"](2.0, 0.0), x, y)


WRONG = [
    ("Embedding", (), lambda w, i: (i, w)),
    ("IndexSelect", (0,), lambda w, i: (w, i)),
    ("Gather", (0,), lambda w, i: (w, np.stack([i] * 3, 1))),
    ("EmbeddingBag", (), lambda w, i: (i, np.array([0, 2]), w)),
]


@pytest.mark.parametrize("index", [-1, 4, 2**40])
@pytest.mark.parametrize(("name", "settings", "arrange"), WRONG)
def test_an_index_outside_is_refused(name: str, settings: Any, arrange: Any, index: int) -> None:
    op: Any = OPS[name](*settings)
    arrays = arrange(np.ones((4, 3), np.float32), np.array([0, 3, index, 1]))
    with pytest.raises(ChainruleError, match=f"not {index}"):
        ONEDNN.table[type(op)].forward(op, arrays)


@pytest.mark.parametrize("offsets", [[1, 2], [0, 3, 2], [0, 9], [0, -1, 3]])
def test_offsets_that_do_not_rise_are_refused(offsets: list[int]) -> None:
    op, w = EmbeddingBag("sum"), np.ones((4, 3), np.float32)
    with pytest.raises(ChainruleError, match="offsets that begin at 0"):
        ONEDNN.table[EmbeddingBag].forward(op, [np.array([0, 1, 2, 3]), np.array(offsets), w])
