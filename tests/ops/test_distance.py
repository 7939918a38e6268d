"""Distances, cosines and the bilinear layer: by SciPy and by loops, edges, errors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy.spatial import distance

import chainrule as cr
from chainrule.ops import distance as module

F = cr.nn.functional
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((7, 4)), RNG.standard_normal((5, 4))
NAN, INF = np.nan, np.inf


def leaf(values: Any) -> Any:
    return cr.tensor(np.array(values, np.float64), requires_grad=True)


@pytest.mark.parametrize("p", [1, 1.5, 2, 3, INF])
@pytest.mark.parametrize("at_once", [1, 60, 1 << 20])
def test_cdist_as_scipy(p: float, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many differences are held at once."""
    monkeypatch.setattr(module, "_AT_ONCE", at_once)
    name = {1: "cityblock", 2: "euclidean", INF: "chebyshev"}.get(p, "minkowski")
    options = {"p": p} if name == "minkowski" else {}
    z = cr.cdist(cr.tensor(X), cr.tensor(Y), p)
    np.testing.assert_allclose(z, distance.cdist(X, Y, name, **options), rtol=1e-13)
    report = cr.gradcheck(lambda x, y: cr.cdist(x, y, p), (cr.tensor(X), cr.tensor(Y)))
    assert report, str(report)


def test_cdist_by_products_is_the_same() -> None:
    x, y = RNG.standard_normal((2, 30, 4)), RNG.standard_normal((3, 1, 6, 4))
    gz, plain = RNG.standard_normal((3, 2, 30, 6)), "donot_use_mm_for_euclid_dist"
    pairs = []
    for mode in (plain, "use_mm_for_euclid_dist", "use_mm_for_euclid_dist_if_necessary"):
        a, b = leaf(x), leaf(y)
        z = cr.cdist(a, b, compute_mode=mode)
        z.backward(cr.tensor(gz))
        pairs.append((z.detach().numpy(), a.grad.numpy(), b.grad.numpy()))
    for other in pairs[1:]:
        for mine, theirs in zip(pairs[0], other, strict=True):
            np.testing.assert_allclose(theirs, mine, rtol=1e-9, atol=1e-12)
    assert pairs[0][0].shape == (3, 2, 30, 6)


def test_cdist_counts_for_p_zero() -> None:
    z = cr.cdist(cr.tensor([[0.0, 1.0, 2.0]]), cr.tensor([[0.0, 1.0, 5.0], [1.0, 2.0, 3.0]]), 0)
    assert z.tolist() == [[1, 3]]


def test_the_gradient_of_no_distance_is_zero() -> None:
    for p in (0.5, 1, 1.5, 2, 3, INF):
        x = leaf(X)
        cr.cdist(x, cr.tensor(X), p).sum().backward()
        assert np.isfinite(x.grad.numpy()).all()
        x = leaf([[1.0, 2.0]])
        for mode in ("use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"):
            cr.cdist(x, x.detach(), p, mode).sum().backward()
        assert x.grad.tolist() == [[0, 0]], p


def test_equal_largest_differences_get_the_gradient_whole() -> None:
    x = leaf([[1.0, -1.0, 0.5]])
    cr.cdist(x, cr.zeros(1, 3, dtype=cr.float64), INF).sum().backward()
    assert x.grad.tolist() == [[1, -1, 0]]


@pytest.mark.parametrize("p", [1, 2, 3, INF])
def test_pdist_as_scipy(p: float) -> None:
    z = cr.pdist(cr.tensor(X), p)
    if p < INF:
        np.testing.assert_allclose(z, distance.pdist(X, "minkowski", p=p), rtol=1e-13)
    np.testing.assert_allclose(z, cr.cdist(cr.tensor(X), cr.tensor(X), p)[np.triu_indices(7, 1)])
    report = cr.gradcheck(lambda x: cr.pdist(x, p), cr.tensor(X))
    assert report, str(report)
    assert cr.pdist(cr.tensor(X[:1]), p).shape == cr.pdist(cr.tensor(X[:0]), p).shape == (0,)


@pytest.mark.parametrize("p", [0.5, 1, 2, 3, INF, -INF, -1, 0])
@pytest.mark.parametrize("keepdim", [False, True])
def test_pairwise_distance_by_a_loop(p: float, keepdim: bool) -> None:
    z = F.pairwise_distance(cr.tensor(X[:5]), cr.tensor(Y), p, 1e-3, keepdim)
    expected = [np.linalg.norm(a - b + 1e-3, p) for a, b in zip(X, Y, strict=False)]
    np.testing.assert_allclose(z, np.reshape(expected, (5, 1) if keepdim else 5), rtol=1e-13)
    if p:
        report = cr.gradcheck(
            lambda x, y: F.pairwise_distance(x, y, p, 1e-3), (cr.tensor(X[:5]), cr.tensor(Y))
        )
        assert report, str(report)


def test_pairwise_distance_of_whole_numbers_is_float32() -> None:
    assert F.pairwise_distance(cr.tensor([[1, 2]]), cr.tensor([[1, 4]])).dtype == np.float32


@pytest.mark.parametrize(
    ("a", "b", "dim"),
    [((5, 4), (5, 4), 1), ((4,), (4,), 0), ((3, 1, 4), (5, 4), -1), ((2, 4, 3), (4, 1), 1)],
)
def test_cosine_similarity_as_scipy(a: Any, b: Any, dim: int) -> None:
    x, y = RNG.standard_normal(a), RNG.standard_normal(b)
    z = cr.cosine_similarity(cr.tensor(x), cr.tensor(y), dim)
    u, v = (np.moveaxis(m, dim, -1) for m in np.broadcast_arrays(x, y))
    expected = np.zeros(u.shape[:-1])
    for place in np.ndindex(expected.shape):
        expected[place] = 1 - distance.cosine(u[place], v[place])
    np.testing.assert_allclose(z, expected, rtol=1e-12, atol=1e-14)


def test_short_vectors_are_divided_by_eps() -> None:
    x, y = leaf([[3e-3, 4e-3], [0.0, 0.0]]), leaf([[3.0, 4.0], [1.0, 0.0]])
    z = cr.cosine_similarity(x, y, eps=1e-2)
    np.testing.assert_allclose(z.detach(), [0.5, 0])
    z.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()
    assert x.grad[1].tolist() == [100, 0]


def test_cosine_of_long_vectors_stays_within_one() -> None:
    x = (1e15 * RNG.standard_normal((100, 50))).astype(np.float32)
    z = cr.cosine_similarity(cr.tensor(x), cr.tensor(3 * x)).numpy()
    np.testing.assert_allclose(z, 1, rtol=1e-6)


def test_bilinear_by_a_loop() -> None:
    x, z = RNG.standard_normal((2, 3, 4)), RNG.standard_normal((2, 3, 5))
    w, b = RNG.standard_normal((6, 4, 5)), RNG.standard_normal(6)
    y = F.bilinear(*(cr.tensor(v) for v in (x, z, w, b))).numpy()
    for n, r, o in np.ndindex(y.shape):
        np.testing.assert_allclose(y[n, r, o], x[n, r] @ w[o] @ z[n, r] + b[o], rtol=1e-12)
    assert F.bilinear(cr.tensor(x[0, 0]), cr.tensor(z[0, 0]), cr.tensor(w)).shape == (6,)


def test_nothing_warns() -> None:
    odd = cr.tensor([[NAN, INF], [0.0, -INF], [0.0, 0.0]], requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for p in (0, 0.5, 1, 2, 3, INF):
            cr.cdist(odd, odd, p).sum().backward()
            cr.pairwise_distance(odd, odd, p).sum().backward()
        cr.cosine_similarity(odd, odd).sum().backward()
        F.bilinear(odd, odd, cr.ones(1, 2, 2)).sum().backward()


def test_shapes_on_meta() -> None:
    x, y = cr.zeros(3, 7, 4, device="meta"), cr.zeros(5, 4, device="meta")
    assert cr.cdist(x, y).shape == (3, 7, 5)
    assert cr.cosine_similarity(x, x, 2).shape == (3, 7)
    assert cr.pairwise_distance(x, x).shape == (3, 7)
    assert F.bilinear(y, y, cr.zeros(2, 4, 4, device="meta")).shape == (5, 2)


ROWS = cr.ones(2, 3)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: cr.cdist(ROWS, cr.ones(2, 4)), ValueError,
         "cdist: expected vectors of one length: 3 = 4; got x1 float32 (2, 3), x2 float32 (2, 4)"),
        (lambda: cr.cdist(cr.ones(3), ROWS), ValueError, "rows of vectors"),
        (lambda: cr.cdist(ROWS, ROWS, -1), ValueError, "p of at least 0, not -1.0"),
        (lambda: cr.cdist(ROWS, ROWS, "2"), TypeError, "cdist p: expected a number"),
        (lambda: cr.cdist(ROWS, ROWS, compute_mode="mm"), ValueError, "compute_mode 'mm'"),
        (lambda: cr.cdist(cr.tensor([[1]]), cr.tensor([[1]])), TypeError, "a floating-point input"),
        (lambda: cr.cdist(cr.ones(2, 2, 3), cr.ones(3, 2, 3)), ValueError, "x1_batch (2,)"),
        (lambda: cr.pdist(cr.ones(3)), ValueError, "a matrix of vectors (N, M)"),
        (lambda: cr.pdist(ROWS, -2), ValueError, "p of at least 0"),
        (lambda: cr.pdist(cr.tensor([[1]])), TypeError, "pdist: expected a floating-point input"),
        (lambda: cr.pairwise_distance(ROWS, cr.ones(2, 4)), ValueError, "sizes that are equal"),
        (lambda: cr.pairwise_distance(ROWS, ROWS, "a"), TypeError, "pairwise_distance p"),
        (lambda: cr.pairwise_distance(ROWS, ROWS, eps="a"), TypeError, "pairwise_distance eps"),
        (lambda: cr.pairwise_distance(ROWS, ROWS, keepdim=2), TypeError, "keepdim"),
        (lambda: cr.cosine_similarity(ROWS, ROWS, 2), IndexError,
         "cosine_similarity: expected dim in [-2, 1]"),
        (lambda: cr.cosine_similarity(ROWS, cr.ones(2, 4)), ValueError, "sizes that are equal"),
        (lambda: cr.cosine_similarity(ROWS, ROWS, eps="a"), TypeError, "cosine_similarity eps"),
        (lambda: cr.cosine_similarity(cr.tensor([[1]]), cr.tensor([[1]])), TypeError, "floating"),
        (lambda: F.bilinear(ROWS, ROWS, cr.ones(4, 3, 2)), ValueError,
         "bilinear: expected a weight (out, 3, 3), for the inputs' last sizes"),
        (lambda: F.bilinear(ROWS, cr.ones(1, 3), cr.ones(4, 3, 3)), ValueError, "that agree but"),
        (lambda: F.bilinear(ROWS, ROWS, cr.ones(4, 3, 3), cr.ones(3)), ValueError, "a bias (4,)"),
        (lambda: F.bilinear(ROWS, ROWS, cr.ones(4, 3, 3, dtype=cr.float64)), TypeError,
         "tensors of one dtype"),
        (lambda: F.bilinear(*(cr.ones(*s, dtype=cr.bool) for s in ((2,), (2,), (1, 2, 2)))),
         TypeError, "numbers, not booleans"),
        (lambda: F.bilinear(1.0, ROWS, ROWS), TypeError, "bilinear: expected tensors"),
    ],
)  # fmt: skip
def test_errors(call: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)
    assert isinstance(caught.value, cr.ChainruleError)
