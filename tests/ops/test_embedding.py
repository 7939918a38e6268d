"""Embedding, its bags, one-hot vectors and sparse rows: by loops and SciPy, edges, errors."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import chainrule as cr
from chainrule.ops.embedding import NONE, Embedding, table_row
from chainrule.ops.embedding_bag import MODES, EmbeddingBag

F = cr.nn.functional
RNG = np.random.default_rng(0)
TABLE = RNG.standard_normal((6, 3))
NAN, INF = np.nan, np.inf


def leaf(values: Any) -> Any:
    return cr.tensor(np.array(values, np.float64), requires_grad=True)


def test_embedding_by_a_loop() -> None:
    i = RNG.integers(0, 6, (4, 5))
    w = leaf(TABLE)
    y = F.embedding(cr.tensor(i), w)
    gy = RNG.standard_normal(y.shape)
    y.backward(cr.tensor(gy))
    expected, gw = np.zeros((4, 5, 3)), np.zeros((6, 3))
    for place in np.ndindex(i.shape):
        expected[place] = TABLE[i[place]]
        gw[i[place]] += gy[place]
    np.testing.assert_array_equal(y.detach(), expected)
    np.testing.assert_allclose(w.grad, gw, rtol=1e-14)


@pytest.mark.parametrize("padding", [2, -4])
def test_the_row_that_pads_gets_no_gradient(padding: int) -> None:
    i, w = np.array([2, 0, 2, 5]), leaf(TABLE)
    y = F.embedding(cr.tensor(i), w, padding_idx=padding)
    np.testing.assert_array_equal(y.detach(), TABLE[i])
    y.sum().backward()
    assert w.grad.tolist() == [[1.0] * 3, [0.0] * 3, [0.0] * 3, [0.0] * 3, [0.0] * 3, [1.0] * 3]


def test_gradients_divided_by_the_frequency() -> None:
    w = leaf(TABLE)
    F.embedding(cr.tensor([1, 1, 1, 4]), w, scale_grad_by_freq=True).sum().backward()
    np.testing.assert_allclose(w.grad[:, 0], [0, 1, 0, 0, 1, 0], rtol=1e-15)
    w = leaf(TABLE)
    begins = cr.tensor([0, 2])
    F.embedding_bag(
        cr.tensor([1, 1, 1, 4]), w, begins, mode="sum", scale_grad_by_freq=True
    ).sum().backward()
    np.testing.assert_allclose(w.grad[:, 0], [0, 1, 0, 0, 1, 0], rtol=1e-15)


@pytest.mark.parametrize("p", [1, 2, 3.5, INF])
def test_rows_looked_up_are_shortened_in_place(p: float) -> None:
    w = leaf(5 * TABLE)
    y = F.embedding(cr.tensor([[0, 3], [3, 0]]), w, max_norm=1.5, norm_type=p)
    norms = np.linalg.norm(w.detach().numpy(), p, axis=1)
    before = np.linalg.norm(5 * TABLE, p, axis=1)
    np.testing.assert_allclose(norms[[0, 3]], 1.5, rtol=1e-6)
    np.testing.assert_array_equal(norms[[1, 2, 4, 5]], before[[1, 2, 4, 5]])
    np.testing.assert_array_equal(y.detach(), w.detach().numpy()[[[0, 3], [3, 0]]])
    y.sum().backward()  # the table was written before the operation that is differentiated
    assert w.grad[0].tolist() == [2.0, 2.0, 2.0]


def test_short_rows_stay_as_they_are() -> None:
    w = cr.tensor(TABLE.copy())
    F.embedding(cr.tensor([0, 1]), w, max_norm=100.0)
    np.testing.assert_array_equal(w, TABLE)


def test_a_write_by_max_norm_is_noticed_by_earlier_graphs() -> None:
    w = leaf(5 * TABLE)
    y = w * w
    F.embedding(cr.tensor([0]), w, max_norm=0.5)
    with pytest.raises(RuntimeError):
        y.sum().backward()


def test_a_captured_graph_tells_that_it_does_not_write() -> None:
    with pytest.warns(UserWarning, match="max_norm"):
        cr.capture(lambda w: F.embedding(cr.tensor([0]), w, max_norm=0.5), leaf(TABLE))


def bag_by_a_loop(
    i: Any, ends: Any, w: Any, mode: str, s: Any = None, padding: int = NONE
) -> np.ndarray:
    y = np.zeros((len(ends) - 1, w.shape[1]))
    for b in range(len(ends) - 1):
        rows = [
            w[i[k]] * (1 if s is None else s[k])
            for k in range(ends[b], ends[b + 1])
            if i[k] != padding
        ]
        if rows:
            y[b] = {"sum": np.sum, "mean": np.mean, "max": np.max}[mode](rows, axis=0)
    return y


ENDS = np.array([0, 3, 3, 4, 9])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding", [None, 1])
def test_bags_by_a_loop(mode: str, padding: int | None) -> None:
    i = np.array([1, 0, 5, 1, 2, 2, 1, 4, 0])
    expected = bag_by_a_loop(i, ENDS, TABLE, mode, padding=NONE if padding is None else padding)
    for last in (False, True):
        begins = ENDS if last else ENDS[:-1]
        y = F.embedding_bag(
            cr.tensor(i), cr.tensor(TABLE), cr.tensor(begins), mode=mode,
            include_last_offset=last, padding_idx=padding,
        )  # fmt: skip
        np.testing.assert_allclose(y, expected, rtol=1e-14, atol=1e-15)
    report = cr.gradcheck(
        lambda w: F.embedding_bag(
            cr.tensor(i), w, cr.tensor(ENDS[:-1]), mode=mode, padding_idx=padding
        ),
        cr.tensor(TABLE),
    )
    assert report, str(report)


def test_rows_of_a_matrix_are_bags() -> None:
    i = RNG.integers(0, 6, (4, 5))
    s = RNG.standard_normal((4, 5))
    y = F.embedding_bag(cr.tensor(i), cr.tensor(TABLE), mode="sum", per_sample_weights=cr.tensor(s))
    expected = bag_by_a_loop(i.ravel(), np.arange(0, 21, 5), TABLE, "sum", s.ravel())
    np.testing.assert_allclose(y, expected, rtol=1e-13)
    report = cr.gradcheck(
        lambda w, s: F.embedding_bag(cr.tensor(i), w, mode="sum", per_sample_weights=s),
        (cr.tensor(TABLE), cr.tensor(s)),
    )
    assert report, str(report)


def test_maxima_go_to_the_first_and_pass_over_later_nan() -> None:
    w = leaf([[1.0, NAN], [1.0, 2.0], [-INF, 3.0], [NAN, 5.0]])
    y = F.embedding_bag(cr.tensor([[0, 1, 1], [2, 3, 2]]), w, mode="max")
    np.testing.assert_equal(y.tolist(), [[1.0, NAN], [-INF, 5.0]])
    y.sum().backward()
    assert w.grad.tolist() == [[1, 1], [0, 0], [1, 0], [0, 1]]


@pytest.mark.parametrize("mode", MODES)
def test_bags_without_entries(mode: str) -> None:
    w = leaf(TABLE)
    y = F.embedding_bag(cr.tensor(np.zeros(0, int)), w, cr.tensor([0, 0]), mode=mode)
    assert y.tolist() == [[0.0] * 3] * 2
    y.sum().backward()
    assert not w.grad.numpy().any()
    assert F.embedding_bag(cr.tensor(np.zeros((0, 4), int)), w, mode=mode).shape == (0, 3)
    assert F.embedding_bag(cr.tensor(np.zeros((2, 0), int)), w, mode=mode).tolist() == [[0] * 3] * 2


def test_inputs_that_came_in_the_old_order_warn() -> None:
    with pytest.warns(UserWarning, match="indices come first") as seen:
        y = F.embedding_bag(cr.tensor(TABLE), cr.tensor([[0, 1]]), mode="sum")
    assert seen[0].filename == __file__
    np.testing.assert_allclose(y, [TABLE[0] + TABLE[1]])


def test_one_hot_by_a_loop() -> None:
    i = RNG.integers(0, 4, (2, 3))
    y = F.one_hot(cr.tensor(i), 5).numpy()
    assert y.dtype == np.int64
    for place in np.ndindex(i.shape):
        assert y[place].tolist() == [int(c == i[place]) for c in range(5)]
    assert F.one_hot(cr.tensor([[3]])).shape == (1, 1, 4)
    assert F.one_hot(cr.zeros(2, dtype=cr.int64, device="meta"), 3).shape == (2, 3)


ROWS = sparse.random_array((5, 6), density=0.3, rng=np.random.default_rng(1), format="csr")


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
@pytest.mark.parametrize("old", [False, True])
def test_sparse_rows_of_scipy(kind: str, old: bool) -> None:
    """Arrays and matrices of every format give what their dense form gives."""
    w, b = leaf(RNG.standard_normal((4, 6))), leaf(RNG.standard_normal(4))
    matrix = (sparse.csr_matrix(ROWS) if old else ROWS).asformat(kind)
    y = cr.sparse_linear(matrix, w, b)
    dense = ROWS.toarray()
    np.testing.assert_allclose(y.detach(), dense @ w.detach().numpy().T + b.detach().numpy())
    gy = RNG.standard_normal(y.shape)
    y.backward(cr.tensor(gy))
    np.testing.assert_allclose(w.grad, gy.T @ dense, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(b.grad, gy.sum(0))


def test_sparse_rows_need_no_scipy() -> None:
    w = cr.tensor(RNG.standard_normal((4, 6)))
    expected = ROWS.toarray() @ w.numpy().T
    csr = SimpleNamespace(
        data=ROWS.data, indices=ROWS.indices, indptr=ROWS.indptr, shape=ROWS.shape
    )
    coo = ROWS.tocoo()
    order = RNG.permutation(coo.nnz)
    shuffled = SimpleNamespace(
        data=coo.data[order], row=coo.row[order], col=coo.col[order], shape=coo.shape
    )
    triple = (cr.tensor(ROWS.data), cr.tensor(ROWS.indices), cr.tensor(ROWS.indptr))
    for matrix in (csr, shuffled, triple, list(triple)):
        np.testing.assert_allclose(cr.sparse_linear(matrix, w), expected, rtol=1e-13, atol=1e-15)


def test_sparse_values_get_a_gradient() -> None:
    columns, starts = cr.tensor(ROWS.indices), cr.tensor(ROWS.indptr)
    report = cr.gradcheck(
        lambda values, w, b: cr.sparse_linear((values, columns, starts), w, b),
        (cr.tensor(ROWS.data), cr.tensor(RNG.standard_normal((4, 6))), cr.ones(4)),
    )
    assert report, str(report)


def test_sparse_values_take_the_weights_dtype() -> None:
    whole = sparse.csr_array(np.array([[0, 2, 0], [1, 0, 3]]))
    y = cr.sparse_linear(whole, cr.ones(2, 3))
    assert y.dtype == np.float32
    assert y.tolist() == [[2, 2], [4, 4]]


WORDS, TWO = cr.tensor([0, 1]), cr.tensor([0, 1])
WEIGHT = cr.tensor(TABLE)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: F.embedding(cr.tensor([6]), WEIGHT), IndexError,
         "embedding: expected indices in [0, 5], not 6"),
        (lambda: F.embedding(cr.tensor([0, -1]), WEIGHT), IndexError, "not -1"),
        (lambda: F.embedding(cr.tensor([0]), cr.zeros(0, 3)), IndexError, "a weight with rows"),
        (lambda: F.embedding(cr.tensor([0.0]), WEIGHT), TypeError,
         "indices that are int64 or int32; got input float32 (1,)"),
        (lambda: F.embedding(TWO, cr.ones(3)), ValueError,
         "a weight (num_embeddings, embedding_dim); got weight float32 (3,)"),
        (lambda: F.embedding([0], WEIGHT), TypeError, "embedding: expected a tensor for input"),
        (lambda: F.embedding(TWO, WEIGHT, 6), ValueError, "a padding_idx in [-6, 5]"),
        (lambda: F.embedding(TWO, WEIGHT, 1.0), TypeError, "embedding padding_idx"),
        (lambda: F.embedding(TWO, WEIGHT, max_norm="a"), TypeError, "embedding max_norm"),
        (lambda: F.embedding(TWO, WEIGHT.expand(2, 6, 3)[0], max_norm=1.0), ValueError,
         "a weight that can be written"),
        (lambda: F.embedding(cr.tensor([9]), WEIGHT, max_norm=1.0), IndexError, "not 9"),
        (lambda: F.embedding_bag(cr.tensor([[6]]), WEIGHT), IndexError, "[0, 5], not 6"),
        (lambda: F.embedding_bag(TWO, WEIGHT), ValueError, "a vector of offsets"),
        (lambda: F.embedding_bag(TWO, WEIGHT, cr.tensor([[0]])), ValueError, "a vector of offsets"),
        (lambda: F.embedding_bag(cr.tensor([[0]]), WEIGHT, TWO), ValueError, "no offsets with"),
        (lambda: F.embedding_bag(cr.tensor(0), WEIGHT, TWO), ValueError, "indices (N,) with"),
        (lambda: F.embedding_bag(TWO, WEIGHT, cr.tensor([1])), ValueError,
         "offsets that begin at 0, never fall, and end at most at 2"),
        (lambda: F.embedding_bag(TWO, WEIGHT, cr.tensor([0, 2, 1])), ValueError, "[0, 2, 1]"),
        (lambda: F.embedding_bag(TWO, WEIGHT, cr.tensor([0, 3])), ValueError, "[0, 3]"),
        (lambda: F.embedding_bag(TWO, WEIGHT, TWO, include_last_offset=True), ValueError,
         "end at 2, the number of indices"),
        (lambda: F.embedding_bag(TWO, WEIGHT, TWO[:0], include_last_offset=True), ValueError,
         "at least one offset"),
        (lambda: F.embedding_bag(TWO, WEIGHT, TWO, mode="min"), ValueError, "one of ('sum'"),
        (lambda: F.embedding_bag(TWO, WEIGHT, TWO, mode="max", sparse=True), ValueError,
         "neither scale_grad_by_freq nor sparse"),
        (lambda: F.embedding_bag(TWO, WEIGHT, TWO, per_sample_weights=cr.ones(3)), ValueError,
         "per_sample_weights of the indices' shape"),
        (lambda: F.embedding_bag(TWO, WEIGHT, TWO, mode="sum", per_sample_weights=cr.ones(2)),
         TypeError, "per_sample_weights of the weight's dtype"),
        (lambda: F.embedding_bag(TWO, cr.ones(3), TWO), ValueError, "a weight (num_embeddings"),
        (lambda: F.embedding_bag(TWO, cr.ones(3, 2, dtype=cr.int32), TWO), TypeError,
         "a floating-point input"),
        (lambda: F.one_hot(cr.tensor([1, 3]), 3), IndexError,
         "labels of 0..num_classes-1, num_classes = 3, not 3"),
        (lambda: F.one_hot(cr.tensor([-1])), IndexError, "not -1"),
        (lambda: F.one_hot(cr.tensor([1]), -2), ValueError, "num_classes of at least 1"),
        (lambda: F.one_hot(cr.tensor(np.zeros(0, int))), ValueError, "num_classes of at least 1"),
        (lambda: F.one_hot(cr.tensor([1.0])), TypeError, "labels that are int64"),
        (lambda: F.one_hot(cr.tensor([1]), 2.0), TypeError, "one_hot num_classes"),
        (lambda: cr.sparse_linear(ROWS, cr.ones(4, 5)), ValueError, "in_features = 5"),
        (lambda: cr.sparse_linear(cr.ones(2, 3), cr.ones(4, 3)), TypeError, "linear takes dense"),
        (lambda: cr.sparse_linear("x", cr.ones(4, 3)), TypeError, "a SciPy sparse matrix"),
        (lambda: cr.sparse_linear(SimpleNamespace(data=1, shape=(2, 3)), cr.ones(4, 3)), TypeError,
         "a SciPy sparse matrix"),
        (lambda: cr.sparse_linear(ROWS, cr.ones(4)), ValueError, "weight (out, in)"),
        (lambda: cr.sparse_linear(ROWS, cr.ones(4, 6, dtype=cr.int64)), TypeError, "floating"),
        (lambda: cr.sparse_linear(ROWS, cr.ones(4, 6), cr.ones(3)), ValueError, "a bias (4,)"),
        (lambda: cr.sparse_linear((cr.ones(1), cr.tensor([9]), TWO), cr.ones(4, 6)), IndexError,
         "[0, 5], not 9"),
    ],
)  # fmt: skip
def test_errors(call: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)
    assert isinstance(caught.value, cr.ChainruleError)


def test_weights_of_samples_are_for_sums() -> None:
    with pytest.raises(NotImplementedError, match="mode 'sum'"):
        F.embedding_bag(TWO, WEIGHT, TWO, mode="mean", per_sample_weights=cr.tensor(np.ones(2)))


def test_rows_count_from_the_end() -> None:
    assert [table_row("x", p, 5) for p in (None, 0, 4, -1, -5)] == [NONE, 0, 4, 4, 0]


def test_nothing_warns_and_nothing_is_written() -> None:
    w = np.array([[NAN, INF], [1.0, -INF]])
    i, begins = np.array([0, 1, 1]), np.array([0, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Embedding().forward(np, i, w)
        for mode in MODES:
            op = EmbeddingBag(mode)
            (y,), saved = op.forward(np, i, begins, w)
            op.backward(np, saved, y, (False, False, True))


def test_shapes_on_meta() -> None:
    i = cr.zeros(2, 3, dtype=cr.int64, device="meta")
    w = cr.zeros(5, 4, device="meta")
    assert F.embedding(i, w, max_norm=1.0).shape == (2, 3, 4)
    assert F.embedding_bag(i, w).shape == (2, 4)
    with pytest.raises(ValueError, match="depends on"):
        F.one_hot(i)
