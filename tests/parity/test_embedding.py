"""Embeddings, their bags and one-hot vectors against PyTorch: values, gradients, refusals."""

from __future__ import annotations

import copy
import itertools
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr
from tests.parity.harness import _compare_gradients, _same, check, misuse

RNG = np.random.default_rng(0)
TABLE = RNG.standard_normal((7, 3))
INF = float("inf")


def rows(*shape: int, high: int = 7) -> Any:
    return RNG.integers(0, high, shape)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 5), (2, 3, 2), (0,), (0, 3), (2, 0)])
@pytest.mark.parametrize("padding", [None, 0, 3, -1, -7])
@pytest.mark.parametrize("by_frequency", [False, True])
@pytest.mark.parametrize("kind", ["int64", "int32"])
def test_embedding(shape: Any, padding: Any, by_frequency: bool, kind: str) -> None:
    check(
        lambda lib, i, w: lib.nn.functional.embedding(
            i, w, padding, scale_grad_by_freq=by_frequency
        ),
        rows(*shape).astype(kind),
        TABLE,
    )


def test_embedding_of_other_memory_orders() -> None:
    check(lambda lib, i, w: lib.nn.functional.embedding(i.t(), w.t()), rows(3, 4, high=3), TABLE)
    check(lambda lib, i, w: lib.nn.functional.embedding(i[::2, 1:], w[1:, ::2]), rows(3, 4, high=6),
          TABLE)  # fmt: skip
    check(
        lambda lib, w, i: lib.nn.functional.embedding(i, w), np.arange(6).reshape(3, 2), rows(2) % 3
    )
    check(lambda lib, i, w: lib.nn.functional.embedding(i, w), rows(2), np.zeros((7, 0)))


@pytest.mark.parametrize("p", [2.0, 1, 0.5, 3, INF])
@pytest.mark.parametrize("longest", [0.5, 1, 1.5, 100])
def test_rows_are_scaled_in_place(p: float, longest: float) -> None:
    i = rows(2, 2)

    def run(lib: Any, w: Any) -> Any:
        y = lib.nn.functional.embedding(lib.tensor(i), w, None, longest, p)
        z = lib.nn.functional.embedding_bag(lib.tensor(i[::-1].copy()), w, None, longest, p)
        return y, z, w.detach()

    check(run, TABLE, gradients=False)
    check(lambda lib, w: run(lib, w)[:2], TABLE)


BEGINS = [[0], [0, 2, 2, 5], [0, 0, 6], [0, 6, 6]]


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding", [None, 1, -6])
@pytest.mark.parametrize("begins", BEGINS, ids=str)
def test_bags_with_offsets(mode: str, padding: Any, begins: Any) -> None:
    # PyTorch divides by the frequency of another index: equal frequencies give what it says.
    mixed, even = np.array([1, 4, 1, 0, 4, 6]), np.array([1, 4, 1, 0, 4, 0])
    ends = np.array([*begins, 6])
    for by_frequency in (False,) if mode == "max" else (False, True):
        for last in (False, True):
            check(
                lambda lib, i, w, o, f=by_frequency, last=last: lib.nn.functional.embedding_bag(
                    i, w, o, mode=mode, scale_grad_by_freq=f, include_last_offset=last,
                    padding_idx=padding,
                ),
                even if by_frequency else mixed, TABLE, ends if last else ends[:-1],
            )  # fmt: skip


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("shape", [(3, 4), (1, 1), (2, 1), (0, 3)])
def test_bags_of_rows(mode: str, shape: Any) -> None:
    for padding in (None, 2):
        check(
            lambda lib, i, w, p=padding: lib.nn.functional.embedding_bag(
                i, w, mode=mode, padding_idx=p
            ),
            rows(*shape),
            TABLE,
        )


@pytest.mark.parametrize("padding", [None, 4])
def test_bags_of_weighed_samples(padding: Any) -> None:
    i = np.array([1, 4, 1, 0, 4, 6])
    for begins in BEGINS:
        check(
            lambda lib, i, w, s, o: lib.nn.functional.embedding_bag(
                i, w, o, mode="sum", per_sample_weights=s, padding_idx=padding
            ),
            i, TABLE, RNG.standard_normal(6), np.array(begins),
        )  # fmt: skip
    check(
        lambda lib, i, w, s: lib.nn.functional.embedding_bag(
            i, w, mode="sum", per_sample_weights=s
        ),
        i.reshape(2, 3), TABLE, RNG.standard_normal((2, 3)),
    )  # fmt: skip


def test_maxima_at_ties() -> None:
    i, whole = np.array([[0, 1, 2], [2, 1, 0]]), np.array([[1.0, 2], [1, 3], [0, 3]])
    check(lambda lib, i, w: lib.nn.functional.embedding_bag(i, w, mode="max"), i, whole)


def test_indices_and_offsets_of_several_kinds() -> None:
    for a, b in itertools.product(("int64", "int32"), repeat=2):
        check(
            lambda lib, i, w, o: lib.nn.functional.embedding_bag(i, w, o),
            rows(4).astype(a), TABLE, np.array([0, 3]).astype(b),
        )  # fmt: skip


def test_old_order_of_arguments() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(lambda lib, i, w: lib.nn.functional.embedding_bag(w, i), rows(2, 3), TABLE)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("classes", [-1, 7, 9])
def test_one_hot(shape: Any, classes: int) -> None:
    check(lambda lib, i: lib.nn.functional.one_hot(i, classes), rows(*shape))
    check(lambda lib, i: lib.nn.functional.one_hot(i, num_classes=3), np.zeros((0, 2), np.int64))


def test_misuse() -> None:
    i, bag = rows(2), rows(2, 3)
    for wrong in (np.array([7]), np.array([-1])):
        misuse(lambda lib, i, w: lib.nn.functional.embedding(i, w), wrong, TABLE)
        misuse(lambda lib, i, w: lib.nn.functional.embedding_bag(i[None], w), wrong, TABLE)
        misuse(lambda lib, i, w: lib.nn.functional.embedding(i, w, None, 1.0), wrong, TABLE)
    for kind in ("int16", "uint8", "bool", "float32"):
        misuse(lambda lib, i, w: lib.nn.functional.embedding(i, w), i.astype(kind), TABLE)
        misuse(lambda lib, i, w: lib.nn.functional.embedding_bag(i, w), bag.astype(kind), TABLE)
        misuse(lambda lib, i: lib.nn.functional.one_hot(i), i.astype(kind))
    misuse(lambda lib, i: lib.nn.functional.one_hot(i), i.astype("int32"))
    for table in (TABLE[0], TABLE[None], TABLE[0, 0]):
        misuse(lambda lib, i, w: lib.nn.functional.embedding(i, w), i, np.asarray(table))
        misuse(lambda lib, i, w: lib.nn.functional.embedding_bag(i, w), bag, np.asarray(table))
    for padding in (7, -8):
        misuse(lambda lib, i, w, p=padding: lib.nn.functional.embedding(i, w, p), i, TABLE)
        misuse(
            lambda lib, i, w, p=padding: lib.nn.functional.embedding_bag(i, w, padding_idx=p),
            bag, TABLE,
        )  # fmt: skip
    misuse(lambda lib, w: lib.nn.functional.embedding([0], w), TABLE)
    calls: list[Any] = [
        lambda f, i, w, o: f(i, w),
        lambda f, i, w, o: f(i, w, o[None]),
        lambda f, i, w, o: f(i[None], w, o),
        lambda f, i, w, o: f(i[None, None], w),
        lambda f, i, w, o: f(i, w, o + 1),
        lambda f, i, w, o: f(i, w, 3 * o),
        lambda f, i, w, o: f(i, w, o, mode="min"),
        lambda f, i, w, o: f(i, w, o, mode="max", scale_grad_by_freq=True),
        lambda f, i, w, o: f(i, w, o, mode="max", sparse=True),
        lambda f, i, w, o: f(i, w, o, mode="sum", per_sample_weights=w[0]),
        lambda f, i, w, o: f(i, w, o, mode="mean", per_sample_weights=w[0, :2]),
        lambda f, i, w, o: f(i, w, o, mode="max", per_sample_weights=w[0, :2]),
        lambda f, i, w, o: f(i, w, o, mode="sum", per_sample_weights=w[0, :2].double()),
        lambda f, i, w, o: f(i, w.long(), o),
        lambda f, i, w, o: f(i, w, o.float()),
        lambda f, i, w, o: f(i, w, o[:0], include_last_offset=True),
    ]
    for call in calls:
        misuse(
            lambda lib, i, w, o, call=call: call(lib.nn.functional.embedding_bag, i, w, o),
            i, TABLE, np.array([0, 1]),
        )  # fmt: skip
    for values, classes in (
        ([1, 3], 3),
        ([-1, 2], -1),
        ([-1, 2], 4),
        ([1], -2),
        ([1], 0),
        ([], -1),
    ):
        misuse(
            lambda lib, i, c=classes: lib.nn.functional.one_hot(i, c), np.array(values, np.int64)
        )
    misuse(lambda lib, i: lib.nn.functional.one_hot(i, 9.0), i)


LAYERS: list[Any] = [
    (lambda nn: nn.Embedding(7, 3), (rows(2, 4),)),
    (lambda nn: nn.Embedding(7, 3, 2), (rows(9),)),
    (lambda nn: nn.Embedding(7, 3, padding_idx=-1, scale_grad_by_freq=True), (rows(9),)),
    (lambda nn: nn.Embedding(7, 3, max_norm=0.7, norm_type=3.0), (rows(4),)),
    (lambda nn: nn.Embedding(7, 3, 1, 1.0, 1.0, True), (rows(4),)),
    (lambda nn: nn.EmbeddingBag(7, 3), (rows(2, 4),)),
    (lambda nn: nn.EmbeddingBag(7, 3, mode="sum", padding_idx=2), (rows(6), np.array([0, 2]))),
    (lambda nn: nn.EmbeddingBag(7, 3, 0.7, 1.0, mode="max"), (rows(6), np.array([0, 2]))),
    (
        lambda nn: nn.EmbeddingBag(7, 3, None, 2.0, True, "sum", include_last_offset=True),
        (rows(6), np.array([0, 2, 6])),
    ),
]


@pytest.mark.parametrize("case", LAYERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layers(case: Any, dtype: str) -> None:
    build, inputs = case
    theirs, ours = build(torch.nn), build(cr.nn)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in vars(theirs).items():
        if not key.startswith("_") and key != "training":
            assert getattr(ours, key) == value, key
    if theirs.padding_idx is not None:
        assert not ours.weight.detach().numpy()[theirs.padding_idx].any()
    if dtype == "float64":
        theirs, ours = theirs.double(), ours.double()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    t, o = (m(*[lib.tensor(v) for v in inputs]) for m, lib in ((theirs, torch), (ours, cr)))
    _same("output", t, o, None, None)
    _compare_gradients([t], [o], [theirs.weight], [ours.weight], None, None)
    _same("weight", theirs.weight, ours.weight, None, None)
    assert repr(copy.deepcopy(ours)) == repr(theirs)


@pytest.mark.parametrize("kind", ["Embedding", "EmbeddingBag"])
@pytest.mark.parametrize("freeze", [True, False])
def test_layers_around_a_table(kind: str, freeze: bool) -> None:
    made = []
    for lib in (torch, cr):
        layer = getattr(lib.nn, kind).from_pretrained(lib.tensor(TABLE), freeze, padding_idx=2)
        assert layer.weight.requires_grad != freeze
        made.append((repr(layer), layer(lib.tensor([[0, 2, 1]])).detach().numpy()))
    assert made[0][0] == made[1][0]
    np.testing.assert_allclose(made[1][1], made[0][1], rtol=1e-12)


def test_layers_refuse() -> None:
    for kind in ("Embedding", "EmbeddingBag"):
        misuse(lambda lib, kind=kind: getattr(lib.nn, kind)(3, 2, padding_idx=3))
        misuse(lambda lib, kind=kind: getattr(lib.nn, kind)(3, 2, padding_idx=-4))
        misuse(lambda lib, kind=kind: getattr(lib.nn, kind)(-3, 2))
        misuse(lambda lib, kind=kind: getattr(lib.nn, kind)(3, 2, _weight=lib.ones(2, 3)))
        misuse(lambda lib, kind=kind: getattr(lib.nn, kind).from_pretrained(lib.ones(3)))
        misuse(lambda lib, kind=kind: getattr(lib.nn, kind)(3, 2)(lib.tensor([[3]])))
