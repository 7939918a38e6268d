"""Layers of several tensors: tables, branches, embeddings, and Caffe's; every one is built here."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import chainrule as cr
from chainrule import nn
from chainrule.nn.table import Table
from tests.nn.simple_layers import ELSEWHERE

RNG = np.random.default_rng(0)
A, B = RNG.uniform(0.5, 2.0, (2, 3, 4))
INDEX = np.array([2, 0, 2])
GATE = RNG.uniform(0.1, 1.0, (3, 2))
MATRIX = np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]])

Case = tuple[str, Callable[[], nn.Module], tuple[Any, ...], Any]


def soft(a: Any, b: Any, axis: int) -> Any:
    return (a * b).sum(axis) / np.linalg.norm(a, axis=axis) / np.linalg.norm(b, axis=axis)


# A layer, its repr, what it takes, and what it gives on plain arrays (None: see below).
CASES: list[Case] = [
    ("CAddTable()", lambda: nn.CAddTable(), (A, B), A + B),
    ("CAddTable()", lambda: nn.CAddTable(), (A, B, A), 2 * A + B),
    ("CSubTable()", lambda: nn.CSubTable(), (A, B), A - B),
    ("CMulTable()", lambda: nn.CMulTable(), (A, B, B), A * B * B),
    ("CDivTable()", lambda: nn.CDivTable(), (A, B), A / B),
    ("JoinTable(dim=1)", lambda: nn.JoinTable(), (A, B), np.concatenate((A, B), 1)),
    ("JoinTable(dim=0)", lambda: nn.JoinTable(0), (A, B, B), np.concatenate((A, B, B))),
    ("SplitTable(dim=1)", lambda: nn.SplitTable(), (A,), tuple(A.T)),
    ("SelectTable(index=-1)", lambda: nn.SelectTable(-1), (A, B), B),
    ("NarrowTable(offset=1, length=2)", lambda: nn.NarrowTable(1, 2), (A, B, A), (B, A)),
    ("FlattenTable()", lambda: nn.FlattenTable(), (A, (B, [A, (B,)])), (A, B, A, B)),
    (
        "MixtureTable(dim=1)",
        lambda: nn.MixtureTable(),
        (GATE, (A, B)),
        GATE[:, :1] * A + GATE[:, 1:] * B,
    ),
    (
        "MixtureTable(dim=2)",
        lambda: nn.MixtureTable(2),
        (GATE, np.stack((A, B), 2)),
        GATE[:, :1] * A + GATE[:, 1:] * B,
    ),
    (
        "MixtureTable(dim=0)",
        lambda: nn.MixtureTable(0),
        (GATE[0], np.stack((A, B))),
        GATE[0, 0] * A + GATE[0, 1] * B,
    ),
    ("DotProduct()", lambda: nn.DotProduct(), (A, B), (A * B).sum(1)),
    ("CosineDistance()", lambda: nn.CosineDistance(), (A, B), soft(A, B, 1)),
    ("CosineSimilarity()", lambda: nn.CosineSimilarity(0), (A, B), soft(A, B, 0)),
    (
        "PairwiseDistance()",
        lambda: nn.PairwiseDistance(3, 0.1, True),
        (A, B),
        np.linalg.norm(A - B + 0.1, 3, axis=1, keepdims=True),
    ),
    ("MM(transpose_a=False, transpose_b=True)", lambda: nn.MM(False, True), (A, B), A @ B.T),
    ("MM(transpose_a=True, transpose_b=False)", lambda: nn.MM(True), (A, B), A.T @ B),
    ("Index(dim=1)", lambda: nn.Index(1), (A, INDEX), A[:, INDEX]),
    ("BatchReindex()", lambda: nn.BatchReindex(), (A, INDEX), A[INDEX]),
    ("Crop(dim=0, offset=(1, 2))", lambda: nn.Crop(0, (1, 2)), (A, B[:2, :2]), A[1:3, 2:4]),
    ("Filter()", lambda: nn.Filter(), (A, B, np.array([1, 0, 1])), (A[[0, 2]], B[[0, 2]])),
    (
        "Slice(points=(1, 3), dim=1)",
        lambda: nn.Slice((1, 3)),
        (A,),
        (A[:, :1], A[:, 1:3], A[:, 3:]),
    ),
    ("Slice(parts=3, dim=0)", lambda: nn.Slice(parts=3, dim=0), (A,), (A[:1], A[1:2], A[2:])),
    ("Split(copies=3)", lambda: nn.Split(3), (A,), (A, A, A)),
    ("Silence()", lambda: nn.Silence(), (A, B), ()),
    (
        "Eltwise(operation='max', coefficients=None)",
        lambda: nn.Eltwise("max"),
        (A, B),
        np.maximum(A, B),
    ),
    (
        "Eltwise(operation='sum', coefficients=(2, -1))",
        lambda: nn.Eltwise(coefficients=(2, -1)),
        (A, B),
        2 * A - B,
    ),
    (
        "ConcatTable(\n  (0): Identity()\n  (1): Square()\n)",
        lambda: nn.ConcatTable(nn.Identity(), nn.Square()),
        (A,),
        (A, A * A),
    ),
    (
        "ParallelTable(\n  (0): Identity()\n  (1): Square()\n)",
        lambda: nn.ParallelTable(nn.Identity(), nn.Square()),
        (A, B),
        (A, B * B),
    ),
    (
        "BinaryThreshold(threshold=1.0)",
        lambda: nn.BinaryThreshold(1.0),
        (A,),
        (A > 1).astype(float),
    ),
    (
        "ArgMax(top_k=2, out_max_val=False, dim=None)",
        lambda: nn.ArgMax(2),
        (A,),
        np.argsort(-A, axis=1)[:, :2],
    ),
    (
        "Accuracy(top_k=1, ignore_index=None, per_class=False)",
        lambda: nn.Accuracy(),
        (A, np.argmax(A, 1)),
        np.array(1.0),
    ),
    ("Embedding(6, 3)", lambda: nn.Embedding(6, 3), (INDEX,), None),
    (
        "Embedding(6, 3, padding_idx=5, max_norm=0.5, norm_type=1, scale_grad_by_freq=True, "
        "sparse=True)",
        lambda: nn.Embedding(6, 3, -1, 0.5, 1, True, True),
        (INDEX,),
        None,
    ),
    ("EmbeddingBag(6, 3, mode='mean')", lambda: nn.EmbeddingBag(6, 3), (INDEX[None],), None),
    (
        "EmbeddingBag(6, 3, max_norm=9.0, mode='sum', padding_idx=0)",
        lambda: nn.EmbeddingBag(6, 3, 9.0, mode="sum", padding_idx=0),
        (INDEX, np.array([0, 1])),
        None,
    ),
    (
        "Bilinear(in1_features=4, in2_features=4, out_features=5, bias=True)",
        lambda: nn.Bilinear(4, 4, 5),
        (A, B),
        None,
    ),
    (
        "Bilinear(in1_features=4, in2_features=4, out_features=5, bias=False)",
        lambda: nn.Bilinear(4, 4, 5, bias=False),
        (A, B),
        None,
    ),
    (
        "SparseLinear(in_features=3, out_features=2, bias=True)",
        lambda: nn.SparseLinear(3, 2),
        (sparse.csr_array(MATRIX),),
        None,
    ),
]
every = pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].split("(")[0])


def given(values: Any, requires_grad: bool = False) -> Any:
    """Make tensors of the arrays in a table."""
    if isinstance(values, tuple | list):
        return type(values)([given(v, requires_grad) for v in values])
    if not isinstance(values, np.ndarray):
        return values
    return cr.tensor(values, requires_grad=requires_grad and values.dtype.kind == "f")


def leaves(values: Any) -> list[Any]:
    if isinstance(values, tuple | list):
        return [leaf for value in values for leaf in leaves(value)]
    return [values]


def test_every_layer_that_takes_several_is_here() -> None:
    assert {type(make()) for _, make, _, _ in CASES} == ELSEWHERE


@every
def test_values_and_repr(case: Case) -> None:
    text, make, inputs, expected = case
    layer = make().double()
    assert repr(layer) == text
    y = layer(*given(inputs))
    if expected is not None:
        assert isinstance(y, tuple) == isinstance(expected, tuple)
        assert len(leaves(y)) == len(leaves(expected))
        for ours, theirs in zip(leaves(y), leaves(expected), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-13)
            assert ours.shape == theirs.shape


@every
def test_a_table_may_come_as_a_tuple_or_one_by_one(case: Case) -> None:
    _, make, inputs, _ = case
    layer = make().double()
    if isinstance(layer, Table | nn.ParallelTable):
        apart = layer(*given(inputs))
        for together in (given(tuple(inputs)), given(list(inputs))):
            for a, b in zip(leaves(layer(together)), leaves(apart), strict=True):
                np.testing.assert_array_equal(a, b)


@every
def test_gradients_against_differences(case: Case) -> None:
    _, make, inputs, _ = case
    if isinstance(make(), nn.BinaryThreshold | nn.ArgMax | nn.Accuracy | nn.Silence):
        return  # nothing flows back
    layer = make().double()
    if getattr(layer, "scale_grad_by_freq", False):
        return  # then it is not the derivative
    tensors = given(inputs)
    places = [i for i, x in enumerate(tensors) if isinstance(x, cr.Tensor) and x.dtype.kind == "f"]

    def run(*values: Any) -> Any:
        full = list(tensors)
        for place, value in zip(places, values, strict=False):
            full[place] = value
        # squares, so that the gradient of each output differs
        return sum((y * y).sum() for y in leaves(layer(*full)) if y.dtype.kind == "f")

    weights = list(layer.parameters())
    if places:
        report = cr.gradcheck(run, tuple(tensors[i] for i in places))
        assert report, str(report)
    if weights:
        start = weights[0].detach().clone()

        def by_weight(w: Any) -> Any:
            kept = layer._parameters["weight"]
            layer._parameters["weight"] = w
            try:
                return run(*[tensors[i] for i in places])
            finally:
                layer._parameters["weight"] = kept

        report = cr.gradcheck(by_weight, start)
        assert report, str(report)


@every
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_equal_and_independent(case: Case, duplicate: Callable[[Any], Any]) -> None:
    text, make, inputs, _ = case
    layer = make().double()
    twin = duplicate(layer)
    assert repr(twin) == text
    for a, b in zip(leaves(twin(*given(inputs))), leaves(layer(*given(inputs))), strict=True):
        np.testing.assert_array_equal(a.detach(), b.detach())
    for p, q in zip(layer.parameters(), twin.parameters(), strict=True):
        assert not np.shares_memory(p.array, q.array)


def test_by_hand_the_values_are_given_one_by_one() -> None:
    layer = nn.CMulTable()
    ga, gb = layer.backward(cr.tensor(A), cr.tensor(B), cr.ones(3, 4, dtype=cr.float64))
    np.testing.assert_array_equal(ga, B)
    np.testing.assert_array_equal(gb, A)


def test_branches_are_lists() -> None:
    net = nn.ConcatTable(nn.Abs()).append(nn.Square())
    net.extend([nn.Sqrt(), nn.Identity()])
    assert len(net) == 4
    assert isinstance(net[-1], nn.Identity)
    assert isinstance(net.pop(1), nn.Square)
    assert [type(m) for m in net] == [nn.Abs, nn.Sqrt, nn.Identity]
    names = [n for n, _ in nn.Concat(nn.Linear(2, 2), nn.Linear(2, 3)).named_parameters()]
    assert names == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_depth_concat_puts_small_outputs_into_the_middle() -> None:
    x = RNG.standard_normal((1, 1, 4, 5))
    y = nn.DepthConcat(nn.Identity(), nn.Narrow(3, 1, 2), nn.Select(2, 0)).append(nn.Identity())
    with pytest.raises(ValueError, match="one number of axes"):
        y(cr.tensor(x))
    y = nn.DepthConcat(nn.Identity(), nn.Sequential(nn.Narrow(3, 1, 2), nn.Narrow(2, 0, 3)))
    given_back = y(cr.tensor(x)).numpy()
    np.testing.assert_array_equal(given_back[:, :1], x)
    expected = np.zeros((1, 1, 4, 5))
    expected[:, :, 0:3, 1:3] = x[:, :, 0:3, 1:3]  # (4 - 3) // 2 = 0 before, (5 - 2) // 2 = 1
    np.testing.assert_array_equal(given_back[:, 1:], expected)


def test_a_block_of_branches_learns() -> None:
    """Branches, a join and a sum as one network: a gradient for every parameter."""
    net = nn.Sequential(
        nn.ConcatTable(nn.Linear(4, 3), nn.Sequential(nn.Linear(4, 3), nn.ReLU())),
        nn.ParallelTable(nn.Linear(3, 2), nn.Linear(3, 2)),
        nn.CAddTable(),
    )
    report = cr.gradcheck(net, cr.tensor(A))
    assert report, str(report)
    assert len(list(net.parameters())) == 8


def test_embeddings_begin_normal_with_a_row_of_zeros() -> None:
    layer = nn.Embedding(400, 50, padding_idx=-2)
    w = layer.weight.detach().numpy()
    assert layer.padding_idx == 398
    assert not w[398].any()
    assert abs(w.mean()) < 0.05
    assert 0.97 < w.std() < 1.03
    assert list(layer.state_dict()) == ["weight"]
    assert nn.EmbeddingBag(4, 2, padding_idx=1).weight[1].tolist() == [0, 0]
    assert nn.Embedding(10**9, 10**6, 3, device="meta").weight.is_meta
    assert nn.Embedding(2, 3, dtype=cr.float64).weight.dtype == np.float64


def test_embeddings_around_a_table() -> None:
    table = cr.tensor(A)
    for kind in (nn.Embedding, nn.EmbeddingBag):
        layer = kind.from_pretrained(table)
        assert not layer.weight.requires_grad
        assert np.shares_memory(layer.weight.array, table.array)
        assert kind.from_pretrained(table, freeze=False).weight.requires_grad
    assert not nn.Embedding(3, 4, _weight=table, _freeze=True).weight.requires_grad
    np.testing.assert_array_equal(nn.Embedding(3, 4, _weight=table).weight.detach(), A)


def test_bilinear_begins_within_its_bound() -> None:
    layer = nn.Bilinear(25, 40, 30)
    for p in layer.parameters():
        assert 0.15 < np.abs(p.detach().numpy()).max() <= 0.2


ROWS = cr.ones(2, 3)


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: nn.CAddTable()(), ValueError, "CAddTable: expected at least one value"),
        (lambda: nn.CSubTable()(ROWS), ValueError,
         "CSubTable: expected 2 values, as a tuple or one by one, not 1"),
        (lambda: nn.CDivTable()((ROWS, ROWS, ROWS)), ValueError, "not 3"),
        (lambda: nn.ParallelTable(nn.ReLU())((ROWS, ROWS)), ValueError, "1 values"),
        (lambda: nn.ConcatTable(3), TypeError, "ConcatTable: expected a Module"),
        (lambda: nn.Parallel(nn.ReLU())(ROWS), ValueError,
         "a slice for each of 1 modules along dim 1, not 3"),
        (lambda: nn.Concat(nn.ReLU(), dim="1"), TypeError, "Concat dim"),
        (lambda: nn.Concat(nn.ReLU(), dim=2)(ROWS), IndexError, "cat: expected dim"),
        (lambda: nn.ConcatTable(nn.ReLU())[1], IndexError, "an index in [-1, 0]"),
        (lambda: nn.JoinTable("1"), TypeError, "JoinTable dim"),
        (lambda: nn.SplitTable(2)(ROWS), IndexError, "unbind"),
        (lambda: nn.SelectTable(2)((ROWS, ROWS)), IndexError, "an index in [-2, 1]"),
        (lambda: nn.NarrowTable(1, 2)((ROWS, ROWS)), IndexError, "offset + length <= 2: 1, 3"),
        (lambda: nn.NarrowTable(1.5), TypeError, "NarrowTable offset"),
        (lambda: nn.MixtureTable()((cr.ones(1, 2, 3), ROWS)), ValueError, "a gate (N, n) or (n,)"),
        (lambda: nn.MixtureTable()((ROWS, (ROWS, ROWS))), ValueError, "experts for a gate (2, 3)"),
        (lambda: nn.MM(1), TypeError, "MM transpose_a"),
        (lambda: nn.MM()((cr.ones(3), ROWS)), ValueError, "matrices or batches"),
        (lambda: nn.Index()((ROWS, ROWS)), TypeError, "an index of integers"),
        (lambda: nn.Index(2)((ROWS, cr.tensor([0]))), IndexError, "Index: expected dim"),
        (lambda: nn.Slice(), ValueError, "either points or parts"),
        (lambda: nn.Slice((1,), 2), ValueError, "either points or parts"),
        (lambda: nn.Slice((2, 1))(ROWS), ValueError, "points that rise"),
        (lambda: nn.Slice((3,))(ROWS), ValueError, "below 3, the size at dim 1"),
        (lambda: nn.Slice(parts=2)(ROWS), ValueError, "3 % 2 = 0, not 1"),
        (lambda: nn.Slice(parts=0), ValueError, "Slice parts"),
        (lambda: nn.Split(-1), ValueError, "Split copies"),
        (lambda: nn.Embedding(-1, 2), ValueError, "Embedding num_embeddings"),
        (lambda: nn.Embedding(3, 2.0), TypeError, "Embedding embedding_dim"),
        (lambda: nn.Embedding(3, 2, 3), ValueError, "a padding_idx in [-3, 2]"),
        (lambda: nn.Embedding(3, 2, _weight=ROWS), ValueError, "a weight (3, 2)"),
        (lambda: nn.Embedding.from_pretrained(cr.ones(3)), ValueError,
         "Embedding.from_pretrained: expected a table"),
        (lambda: nn.EmbeddingBag(3, 2, mode="min")(cr.tensor([[0]])), ValueError, "one of ('sum'"),
        (lambda: nn.Bilinear(0, 2, 3), ValueError, "Bilinear in1_features: expected at least 1"),
        (lambda: nn.SparseLinear(3, 2)(ROWS), TypeError, "linear takes dense matrices"),
    ],
)  # fmt: skip
def test_errors(make: Callable[[], Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        make()
    assert text in str(caught.value)
    assert isinstance(caught.value, cr.ChainruleError)
