from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.data import ArrayDataset, ConcatDataset, DataLoader, Subset, random_split
from chainrule.errors import KindError, LabelError, ShapeError


def numbered(n: int, start: int = 0, classes: int = 300) -> ArrayDataset:
    images = np.arange(start, start + n, dtype=np.float32).reshape(n, 1, 1, 1)
    return ArrayDataset(images, np.arange(start, start + n), classes, f"from {start}")


@given(n=st.integers(1, 40), chosen=st.lists(st.integers(-1000, 1000), max_size=30))
def test_a_subset_is_the_images_at_its_numbers(n: int, chosen: list[int]) -> None:
    numbers = [number % (2 * n) - n for number in chosen]
    part = Subset(numbered(n), numbers)
    assert len(part) == len(numbers)
    assert [int(image[0, 0, 0]) for image, _ in part] == [number % n for number in numbers]
    assert part.targets.tolist() == [number % n for number in numbers]
    if numbers:
        images, targets = part[:]
        assert images.ravel().tolist() == targets.tolist() == part.targets.tolist()
        assert part.describe(0) == f"from 0, image {numbers[0] % n}"


def test_subsets_nest_and_load() -> None:
    inner = Subset(Subset(numbered(10), np.arange(10) % 2 == 1), [4, 0])
    assert inner.targets.tolist() == [9, 1]
    (batch,) = DataLoader(inner, 2)
    assert batch[0].ravel().tolist() == [9, 1]
    assert inner.describe(0) == "from 0, image 9"


@pytest.mark.parametrize(
    ("indices", "error", "text"),
    [
        ([3], LabelError, r"0\.\.2; got index 3"),
        ([0, -4], LabelError, "got index -4"),
        ([0.5], KindError, "integers as indices"),
        ([[0]], ShapeError, r"indices \(M,\)"),
        (np.array([True]), ShapeError, r"a mask \(3,\)"),
    ],
)
def test_wrong_numbers_are_refused(indices: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Subset(numbered(3), indices)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_sets_in_a_row(sizes: list[int]) -> None:
    starts = np.cumsum([0, *sizes]).tolist()
    whole = ConcatDataset([numbered(n, start) for n, start in zip(sizes, starts, strict=False)])
    assert len(whole) == sum(sizes)
    assert whole.cumulative_sizes == starts[1:]
    assert [int(image[0, 0, 0]) for image, _ in whole] == list(range(sum(sizes)))
    assert whole.targets.tolist() == list(range(sum(sizes)))
    last = len(whole) - 1
    assert whole.describe(last) == f"from {starts[-2]}, image {sizes[-1] - 1}"
    assert sum(len(labels) for _, labels in DataLoader(whole, 4)) == len(whole)


def test_sets_that_differ_are_refused() -> None:
    with pytest.raises(ShapeError, match="at least one"):
        ConcatDataset([])
    with pytest.raises(ShapeError, match="the task and classes of"):
        ConcatDataset([numbered(2), numbered(2, classes=7)])
    with pytest.raises(KindError, match="data sets"):
        ConcatDataset([numbered(2), [1]])  # type: ignore[list-item]


@given(n=st.integers(2, 60), share=st.floats(0, 1), seed=st.integers(0, 9))
def test_random_parts_are_whole(n: int, share: float, seed: int) -> None:
    data = numbered(n)
    parts = random_split(data, [share, 1 - share], cr.Generator(seed))
    assert sorted(np.concatenate([part.targets for part in parts]).tolist()) == list(range(n))
    assert abs(len(parts[0]) - share * n) <= 1
    again = random_split(data, [share, 1 - share], cr.Generator(seed))
    assert [p.targets.tolist() for p in parts] == [p.targets.tolist() for p in again]
    exact = random_split(data, [n - 2, 2], cr.Generator(seed))
    assert [len(part) for part in exact] == [n - 2, 2]


def test_the_global_generator_is_the_default() -> None:
    cr.manual_seed(3)
    first = random_split(numbered(20), [0.5, 0.5])[0].targets
    second = random_split(numbered(20), [0.5, 0.5])[0].targets
    cr.manual_seed(3)
    np.testing.assert_array_equal(first, random_split(numbered(20), [0.5, 0.5])[0].targets)
    assert (first != second).any()


@pytest.mark.parametrize("lengths", [[], [1, 2], [0.5, 0.2], [-1, 6], [5, 1], [float("nan")]])
def test_lengths_that_do_not_fit_are_refused(lengths: list[float]) -> None:
    with pytest.raises(ShapeError, match="lengths"):
        random_split(numbered(5), lengths)
