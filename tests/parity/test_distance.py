"""Distances, cosines and the bilinear layer against PyTorch: values, gradients, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr
from tests.parity.harness import _compare_gradients, _same, check, misuse

RNG = np.random.default_rng(0)
NAN, INF = np.nan, float("inf")
ORDERS = [0.0, 0.5, 1, 1.3, 2.0, 3, INF]
PLAIN = "donot_use_mm_for_euclid_dist"


def normal(*shape: int) -> Any:
    return RNG.standard_normal(shape)


def whole(*shape: int) -> Any:
    """Whole numbers, among which differences of 0 and ties are frequent."""
    return RNG.integers(-1, 2, shape).astype(float)


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize(
    ("a", "b"),
    [((5, 3), (4, 3)), ((1, 1), (1, 1)), ((2, 5, 3), (2, 4, 3)), ((2, 1, 5, 3), (3, 4, 3)),
     ((0, 3), (4, 3)), ((5, 3), (0, 3)), ((5, 0), (4, 0)), ((0, 5, 3), (4, 3))],
)  # fmt: skip
def test_cdist(p: float, a: Any, b: Any) -> None:
    check(lambda lib, x, y: lib.cdist(x, y, p), normal(*a), normal(*b))
    check(lambda lib, x, y: lib.cdist(x, y, p=p), whole(*a), whole(*b))


@pytest.mark.parametrize("mode", [PLAIN, "use_mm_for_euclid_dist",
                                  "use_mm_for_euclid_dist_if_necessary"])  # fmt: skip
@pytest.mark.parametrize("size", [3, 25, 26, 40])
def test_cdist_by_products(mode: str, size: int) -> None:
    x, y = normal(size, 6), normal(2, 5, 6)
    check(lambda lib, x, y: lib.cdist(x, y, 2.0, mode), x, y, rtol=1e-4)
    check(lambda lib, x, y: lib.cdist(y, x, compute_mode=mode), x, y, rtol=1e-4)
    check(lambda lib, x, y: lib.cdist(x, y, 1, mode), x, y)


def test_cdist_of_other_memory_orders() -> None:
    x, y = normal(4, 6), normal(4, 10)
    check(lambda lib, x, y: lib.cdist(x.t(), y.t()[::2]), x, y)


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize("n", [0, 1, 2, 6])
def test_pdist(p: float, n: int) -> None:
    backward = n > 1  # of fewer vectors PyTorch's backward crashes
    check(lambda lib, x: lib.nn.functional.pdist(x, p), normal(n, 3), gradients=backward)
    check(lambda lib, x: lib.pdist(x, p), whole(n, 3), gradients=backward)


@pytest.mark.parametrize("p", [*ORDERS, -1.0, -INF])
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize(
    ("a", "b"),
    [((5, 3), (5, 3)), ((5, 3), (3,)), ((3,), (3,)), ((2, 1, 3), (4, 3)), ((0, 3), (3,)),
     ((1, 1), (1, 1))],
)  # fmt: skip
def test_pairwise_distance(p: float, keepdim: bool, a: Any, b: Any) -> None:
    x, y = normal(*a), normal(*b)
    check(lambda lib, x, y: lib.nn.functional.pairwise_distance(x, y, p, 0.1, keepdim), x, y)
    check(lambda lib, x, y: lib.pairwise_distance(x, y, p, keepdim=keepdim), x, y)
    if p >= 1:
        check(
            lambda lib, x, y: lib.pairwise_distance(x, y, p, eps=0.0, keepdim=keepdim),
            whole(*a),
            whole(*b),
        )


@pytest.mark.parametrize("eps", [1e-8, 0.5, 2.0])
@pytest.mark.parametrize(
    ("a", "b", "dim"),
    [((5, 3), (5, 3), 1), ((5, 3), (5, 3), 0), ((3,), (3,), 0), ((5, 3), (3,), -1),
     ((2, 1, 3), (4, 3), 1), ((2, 1, 3), (4, 3), 2), ((2, 4, 3, 2), (4, 1, 1), 1),
     ((0, 3), (0, 3), 1), ((3, 0), (3, 0), 1), ((), (), 0)],
)  # fmt: skip
def test_cosine_similarity(eps: float, a: Any, b: Any, dim: int) -> None:
    x, y = np.asarray(normal(*a)), np.asarray(normal(*b))
    check(lambda lib, x, y: lib.nn.functional.cosine_similarity(x, y, dim, eps), x, y)
    x, y = np.asarray(whole(*a)), np.asarray(whole(*b))
    check(lambda lib, x, y: lib.cosine_similarity(x, y, dim=dim, eps=eps), x, y)


def test_cosine_similarity_at_special_values() -> None:
    x = np.array([[0.0, 0.0], [NAN, 1.0], [INF, 1.0], [1e-9, 0.0], [1e15, -1e15]])
    check(lambda lib, x, y: lib.cosine_similarity(x, y), x, np.ones((5, 2)))


def test_cosine_similarity_of_mixed_kinds() -> None:
    check(lambda lib, x, y: lib.cosine_similarity(x, y), normal(4, 3), np.arange(12).reshape(4, 3))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lead", [(), (4,), (2, 3), (0,), (2, 0)])
def test_bilinear(bias: bool, lead: Any) -> None:
    def run(lib: Any, x: Any, z: Any, w: Any, b: Any = None) -> Any:
        return lib.nn.functional.bilinear(x, z, w, b)

    given = (normal(*lead, 3), normal(*lead, 5), normal(4, 3, 5)) + bias * (normal(4),)
    check(run, *given)
    for sizes in ((1, 1, 1), (2, 3, 1)):
        _, m, n = sizes
        check(run, normal(*lead, m), normal(*lead, n), normal(*sizes))


def test_bilinear_of_other_memory_orders() -> None:
    check(
        lambda lib, x, z, w: lib.bilinear(x.t(), z[::2, :, 0], w.permute(2, 0, 1)),
        normal(3, 4), normal(8, 5, 2), normal(3, 5, 6),
    )  # fmt: skip


def test_misuse() -> None:
    x, y = normal(4, 3), normal(4, 2)
    misuse(lambda lib, x, y: lib.cdist(x, y), x, y)
    misuse(lambda lib, x: lib.cdist(x[0], x), x)
    misuse(lambda lib, x: lib.cdist(x, x, -1.0), x)
    misuse(lambda lib, x: lib.cdist(x, x, "2"), x)
    misuse(lambda lib, x: lib.cdist(x, x, 2.0, "fast"), x)
    misuse(lambda lib, x: lib.cdist(x, x), x.astype(int))
    misuse(lambda lib, x: lib.cdist(x.reshape(2, 2, 3), x.reshape(4, 1, 3)), x)
    misuse(lambda lib, x: lib.pdist(x[0]), x)
    misuse(lambda lib, x: lib.pdist(x[None]), x)
    misuse(lambda lib, x: lib.pdist(x, -1.0), x)
    misuse(lambda lib, x: lib.pdist(x), x.astype(int))
    misuse(lambda lib, x, y: lib.pairwise_distance(x, y), x, y)
    misuse(lambda lib, x: lib.pairwise_distance(x, x, "2"), x)
    misuse(lambda lib, x: lib.pairwise_distance(x, [1.0]), x)
    misuse(lambda lib, x, y: lib.cosine_similarity(x, y), x, y)
    misuse(lambda lib, x: lib.cosine_similarity(x, x, 2), x)
    misuse(lambda lib, x: lib.cosine_similarity(x, x, -3), x)
    misuse(lambda lib, x: lib.cosine_similarity(x[0], x[0]), x)
    misuse(lambda lib, x: lib.cosine_similarity(x, x), x.astype(int))
    misuse(lambda lib, x: lib.cosine_similarity(x, x, 1.0), x)
    misuse(lambda lib, x: lib.cosine_similarity(x, x, 1, "a"), x)
    w = normal(5, 3, 2)
    calls: list[Any] = [
        lambda f, x, y, w: f(x, x, w),
        lambda f, x, y, w: f(y, y, w),
        lambda f, x, y, w: f(x[:2], y, w),
        lambda f, x, y, w: f(x, y[0], w),
        lambda f, x, y, w: f(x, y, w[0]),
        lambda f, x, y, w: f(x, y, w, w[0, 0]),
        lambda f, x, y, w: f(x.double(), y, w),
        lambda f, x, y, w: f(1.0, y, w),
    ]
    for call in calls:
        misuse(lambda lib, x, y, w, call=call: call(lib.nn.functional.bilinear, x, y, w), x, y, w)
    misuse(lambda lib: lib.nn.Bilinear(0, 2, 3))
    misuse(lambda lib: lib.nn.Bilinear(2, 2, -3))


LAYERS: list[Any] = [
    (lambda nn: nn.Bilinear(3, 2, 5), ((4, 3), (4, 2))),
    (lambda nn: nn.Bilinear(3, 2, 1, bias=False), ((2, 4, 3), (2, 4, 2))),
    (lambda nn: nn.CosineSimilarity(), ((4, 3), (4, 3))),
    (lambda nn: nn.CosineSimilarity(0, 0.5), ((4, 3), (4, 3))),
    (lambda nn: nn.PairwiseDistance(), ((4, 3), (4, 3))),
    (lambda nn: nn.PairwiseDistance(1, 0.1, True), ((4, 3), (3,))),
]


@pytest.mark.parametrize("case", LAYERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layers(case: Any, dtype: str) -> None:
    build, shapes = case
    theirs, ours = build(torch.nn), build(cr.nn)
    assert repr(ours) == repr(theirs)
    for key, value in vars(theirs).items():
        if not key.startswith("_") and key != "training":
            assert getattr(ours, key) == value, key
    if dtype == "float64":
        theirs, ours = theirs.double(), ours.double()
    state = {k: v.numpy() for k, v in theirs.state_dict().items()}
    assert ours.load_state_dict(state) == ([], [])
    arrays = [normal(*shape).astype(dtype) for shape in shapes]
    t_in, o_in = ([lib.tensor(a, requires_grad=True) for a in arrays] for lib in (torch, cr))
    t, o = theirs(*t_in), ours(*o_in)
    _same("output", t, o, None, None)
    leaves = [*t_in, *theirs.parameters()], [*o_in, *ours.parameters()]
    _compare_gradients([t], [o], *leaves, None, None)
