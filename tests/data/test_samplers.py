from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.data import (
    ArrayDataset,
    BalancedSampler,
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from chainrule.errors import KindError, ShapeError

LABELS = np.array([0] * 10 + [1] * 3 + [2] * 7)


def samplers() -> dict[str, Sampler]:
    return {
        "random": RandomSampler(range(20)),
        "replacement": RandomSampler(range(20), replacement=True),
        "more": RandomSampler(range(20), num_samples=50),
        "subset": SubsetRandomSampler(range(0, 20, 2)),
        "weighted": WeightedRandomSampler(np.arange(20), 30),
        "weighted once": WeightedRandomSampler(np.arange(20), 12, replacement=False),
        "balanced": BalancedSampler(LABELS),
    }


@pytest.mark.parametrize("name", samplers())
def test_orders_come_from_the_generator_alone(name: str) -> None:
    def drawn(seed: int) -> list[list[int]]:
        sampler, generator = samplers()[name], cr.Generator(seed)
        return [sampler.draw(generator).tolist() for _ in range(2)]

    first, second = drawn(1)
    assert first != second
    assert drawn(1) == [first, second]
    assert drawn(2) != [first, second]
    assert len(first) == len(samplers()[name])
    assert set(first) <= set(range(20))


@pytest.mark.parametrize("name", samplers())
def test_iterating_draws_from_the_own_generator_or_the_global_one(name: str) -> None:
    sampler = samplers()[name]
    cr.manual_seed(5)
    from_global = list(sampler)
    sampler.generator = cr.Generator(5)
    assert list(sampler) == from_global == samplers()[name].draw(cr.Generator(5)).tolist()


@given(n=st.integers(1, 30), wanted=st.integers(1, 90), seed=st.integers(0, 99))
def test_without_replacement_every_number_comes_equally_often(
    n: int, wanted: int, seed: int
) -> None:
    drawn = list(RandomSampler(range(n), num_samples=wanted, generator=cr.Generator(seed)))
    counts = np.bincount(drawn, minlength=n)
    assert len(drawn) == wanted
    assert counts.max() - counts.min() <= 1
    if wanted >= n:
        assert sorted(drawn[:n]) == list(range(n))


def test_random_numbers_with_replacement_repeat() -> None:
    drawn = RandomSampler(range(10), True, 10_000).draw(cr.Generator(0))
    assert np.abs(np.bincount(drawn, minlength=10) - 1000).max() < 150  # five deviations


@given(
    weights=st.lists(st.sampled_from([0.0, 1e-300, 0.5, 3.0, 1e300]), min_size=1, max_size=12),
    seed=st.integers(0, 99),
    replacement=st.booleans(),
)
def test_weights_of_zero_are_never_drawn(
    weights: list[float], seed: int, replacement: bool
) -> None:
    able = [k for k, weight in enumerate(weights) if weight]
    if not able:
        with pytest.raises(ShapeError, match="weights above 0; got count 0"):
            WeightedRandomSampler(weights, 1, replacement)
        return
    wanted = 40 if replacement else len(able)
    drawn = WeightedRandomSampler(weights, wanted, replacement).draw(cr.Generator(seed)).tolist()
    assert len(drawn) == wanted
    assert set(drawn) <= set(able)
    if not replacement:
        assert sorted(drawn) == able


def test_weights_are_the_shares() -> None:
    drawn = WeightedRandomSampler([1, 2, 5], 8000).draw(cr.Generator(0))
    assert np.abs(np.bincount(drawn) - [1000, 2000, 5000]).max() < 220  # five deviations
    # of pairs without replacement, the chance that 0 is missing is the sum over both orders
    pairs = [
        WeightedRandomSampler([1, 2, 5], 2, False).draw(generator)
        for generator in [cr.Generator(7)]
        for _ in range(4000)
    ]
    missing = sum(0 not in pair for pair in pairs) / len(pairs)
    assert missing == pytest.approx(2 / 8 * 5 / 6 + 5 / 8 * 2 / 3, abs=0.04)


@given(
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    wanted=st.integers(1, 80),
    seed=st.integers(0, 99),
)
def test_balanced_is_equal_between_and_within_classes(
    counts: list[int], wanted: int, seed: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    if not labels.size:
        with pytest.raises(ShapeError, match="N > 0"):
            BalancedSampler(labels)
        return
    drawn = BalancedSampler(labels, wanted).draw(cr.Generator(seed))
    assert len(drawn) == wanted
    times = np.bincount(drawn, minlength=len(labels))
    by_class = [times[labels == label] for label in np.unique(labels)]
    sums = [int(group.sum()) for group in by_class]
    assert max(sums) - min(sums) <= 1
    assert all(group.max() - group.min() <= 1 for group in by_class)


def test_balanced_mixes_the_classes_and_who_comes_once_more() -> None:
    generator = cr.Generator(3)
    sampler = BalancedSampler(ArrayDataset(np.zeros((20, 1, 1, 1)), LABELS), 20)
    walks = [LABELS[sampler.draw(generator)] for _ in range(40)]
    assert all((np.diff(walk) != 0).sum() > 3 for walk in walks)
    assert {tuple(np.bincount(walk)) for walk in walks} == {(7, 7, 6), (7, 6, 7), (6, 7, 7)}


@given(n=st.integers(0, 20), size=st.integers(1, 25), drop=st.booleans())
def test_batches_of_any_sampler(n: int, size: int, drop: bool) -> None:
    ours = BatchSampler(SequentialSampler(range(n)), size, drop)
    other = BatchSampler(list(range(n)), size, drop)
    batches = list(ours)
    assert batches == list(other)
    assert len(batches) == len(ours) == (n // size if drop else -(-n // size))
    assert [k for batch in batches for k in batch] == list(range(n))[: size * len(batches)]


def test_misuse_is_refused_in_words() -> None:
    class Endless:
        def __iter__(self) -> Iterator[int]:
            while True:
                yield 0

    with pytest.raises(KindError, match="sampler with a length"):
        list(BatchSampler(Endless(), 2))
    with pytest.raises(KindError, match="chainrule Generator"):
        RandomSampler(range(3), generator=np.random.default_rng())  # type: ignore[arg-type]
    with pytest.raises(KindError, match="integer num_samples"):
        RandomSampler(range(3), num_samples=2.0)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="num_samples >= 1"):
        RandomSampler(range(3), num_samples=0)
    with pytest.raises(ShapeError, match="not empty"):
        RandomSampler([])
    with pytest.raises(ShapeError, match="batch_size >= 1"):
        BatchSampler([1], 0)
    with pytest.raises(ShapeError, match="finite and not negative"):
        WeightedRandomSampler([1.0, -1.0], 1)
    with pytest.raises(ShapeError, match="finite and not negative"):
        WeightedRandomSampler([1.0, np.nan], 1)
    with pytest.raises(ShapeError, match=r"weights \(N,\)"):
        WeightedRandomSampler(np.ones((2, 2)), 1)
    with pytest.raises(ShapeError, match="at least 3 weights above 0; got count 2"):
        WeightedRandomSampler([1, 0, 1], 3, replacement=False)
    with pytest.raises(KindError, match="integer labels"):
        BalancedSampler(np.array([0.5]))
    with pytest.raises(ShapeError, match="one label an image"):
        BalancedSampler(np.zeros((3, 2), int))
    with pytest.raises(KindError, match="integers as numbers"):
        SubsetRandomSampler([0.5])  # type: ignore[list-item]
    with pytest.raises(ShapeError, match="numbers of images"):
        SubsetRandomSampler([[0]])  # type: ignore[list-item]


def test_subsets_come_whole() -> None:
    sampler = SubsetRandomSampler([5, 9, 9, 2])
    assert Counter(sampler) == Counter([5, 9, 9, 2])
    assert list(SubsetRandomSampler([])) == []
