from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.data import ArrayDataset, DataLoader, check_finite, check_labels, load_digits
from chainrule.data.sources import load_dataset
from chainrule.errors import DataError, KindError, LabelError, ShapeError


def images(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.float32).reshape(n, 1, 1, 1)


def test_the_first_nan_is_named() -> None:
    x = np.zeros((3, 1, 2, 2), np.float32)
    x[1, 0, 1, 0], x[2, 0, 0, 0] = np.nan, np.inf
    with pytest.raises(DataError, match=r"train images: nan at index \(1, 0, 1, 0\).* of 2 values"):
        ArrayDataset(x, np.zeros(3, int), name="train")


def test_finite_values_whose_sum_is_not_pass() -> None:
    check_finite(np.full(4, 1.7e308), "x")
    check_finite(np.array([1, 2]), "x")
    check_finite(np.zeros((0, 3)), "x")
    with pytest.raises(DataError, match="-inf at index"):
        check_finite(np.array([np.inf, -np.inf])[::-1], "x")


@pytest.mark.parametrize(
    ("x", "y", "error", "text"),
    [
        (np.zeros((3, 2, 2)), np.zeros(3, int), ShapeError, r"images \(N, C, H, W\)"),
        (np.zeros((3, 1, 2, 2)), np.zeros((3, 1), int), ShapeError, r"labels \(N,\)"),
        (np.zeros((3, 1, 2, 2)), np.zeros(4, int), ShapeError, "3 = 4"),
        (np.zeros((0, 1, 2, 2)), np.zeros(0, int), ShapeError, "at least one"),
        (np.zeros((1, 1, 2, 2)), np.zeros(1), KindError, "integer labels"),
        (np.array([[[["a"]]]]), np.zeros(1, int), KindError, "images of numbers"),
        (np.zeros((2, 1, 1, 1)), np.array([0, -1]), LabelError, "got label -1 at index 1"),
    ],
)
def test_misfits_are_refused(x: object, y: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        ArrayDataset(x, y)


def test_labels_outside_the_classes() -> None:
    with pytest.raises(IndexError, match=r"0\.\.2; got label 3 at index 0"):
        check_labels([3, 4], 3, "labels")
    assert ArrayDataset(images(2), [0, 1]).num_classes == 2
    assert ArrayDataset(images(2), [0, 1], classes=7).num_classes == 7


@given(n=st.integers(1, 50), size=st.integers(1, 60), drop=st.booleans(), shuffle=st.booleans())
def test_every_image_once_with_its_label(n: int, size: int, drop: bool, shuffle: bool) -> None:
    data = ArrayDataset(images(n), np.arange(n))
    loader = DataLoader(data, size, shuffle, drop_last=drop, generator=cr.Generator(0))
    batches = list(loader)
    assert len(batches) == len(loader) == (n // size if drop else -(-n // size))
    labels = [int(label) for _, y in batches for label in y]
    for x, y in batches:
        np.testing.assert_array_equal(x.reshape(-1), y)
    kept = (n // size) * size if drop else n
    assert len(labels) == kept == len(set(labels))
    if not shuffle:
        assert labels == list(range(kept))
    if not drop:
        assert all(len(y) == size for _, y in batches[:-1])


def test_orders_come_from_the_generator() -> None:
    data = ArrayDataset(images(40), np.arange(40))

    def walks(seed: int) -> list[list[int]]:
        loader = DataLoader(data, 40, True, generator=cr.Generator(seed))
        return [next(iter(loader))[1].tolist() for _ in range(2)]

    first, second = walks(1)
    assert first != second  # another order each epoch
    assert walks(1) == [first, second]  # the same for the same seed
    assert walks(2) != [first, second]


def test_loader_misuse() -> None:
    data = ArrayDataset(images(2), [0, 1])
    with pytest.raises(ShapeError, match="batch_size >= 1"):
        DataLoader(data, 0)
    with pytest.raises(KindError, match="integer batch_size"):
        DataLoader(data, 2.0)  # type: ignore[arg-type]
    with pytest.raises(KindError):
        DataLoader(data, True)


def test_the_digits_split_is_fixed_stratified_and_disjoint() -> None:
    data = load_digits()
    assert (len(data.train), len(data.test)) == (1438, 359)
    counts = np.bincount(data.test.labels)
    assert counts.tolist() == [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]
    assert data.white == data.train.images.max() == 16
    # a change of these would be another split: accuracies would no longer compare
    assert data.test.labels[:12].tolist() == EXPECTED_LABELS
    assert int(data.test.images.astype(np.int64).sum()) == EXPECTED_SUM
    both = np.concatenate([data.train.images, data.test.images])
    sklearn = pytest.importorskip("sklearn.datasets").load_digits().images
    assert np.array_equal(np.sort(both.reshape(1797, 64), 0), np.sort(sklearn.reshape(1797, 64), 0))


EXPECTED_LABELS = [3, 7, 3, 9, 0, 8, 7, 0, 8, 0, 3, 3]
EXPECTED_SUM = 111461


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match=r"pip install chainrule\[demo\]"):
        load_digits()


def test_unknown_sets_are_refused_with_the_nearest() -> None:
    with pytest.raises(DataError, match="did you mean 'digits'"):
        load_dataset("digit")
    with pytest.raises(DataError, match=r"there are cifar10, .*, mnist, or give a path"):
        load_dataset("imagenet")


def test_a_folder_for_digits_is_not_ignored() -> None:
    with pytest.raises(DataError, match=r"no folder.*elsewhere.*--data"):
        load_dataset("digits", "elsewhere")
