from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.data import (
    ArrayDataset,
    BalancedSampler,
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    suggested_workers,
)
from chainrule.data.loader import IGNORED
from chainrule.data.transforms import Compose
from chainrule.engine.threads import get_num_threads, set_num_threads
from chainrule.errors import DataError, KindError, LabelError, ShapeError
from tests.data.pictures import WORKERS, Pictures, mixed, noise, numbers, plain


@given(
    n=st.integers(1, 40),
    size=st.integers(1, 16),
    seed=st.integers(0, 2**32),
    workers=st.sampled_from(WORKERS),
    factor=st.integers(1, 3),
    bad=st.sets(st.integers(0, 39), max_size=5),
    shuffle=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_the_same_batches_with_any_number_of_workers(
    n: int, size: int, seed: int, workers: int, factor: int, bad: set[int], shuffle: bool
) -> None:
    errors: dict[int, Exception] = {k: DataError(f"folder/{k}.png: torn") for k in bad}

    def loader(workers: int, factor: int) -> DataLoader:
        return DataLoader(
            *(Pictures(n, errors), size, shuffle),
            generator=cr.Generator(seed),
            num_workers=workers,
            prefetch_factor=factor,
            transform=noise,
            mix=mixed,
            skip_bad=True,
        )

    a, b = loader(0, 2), loader(workers, factor)
    if bad >= set(range(n)):
        for one in (a, b):
            with pytest.raises(DataError, match="all were left out"):
                list(one)
    else:
        for _ in range(2):
            assert plain(a) == plain(b)
    assert a.skipped == b.skipped
    assert {where for where, _ in a.skipped} == {f"folder/{k}.png" for k in bad if k < n}
    assert a.state_dict() == b.state_dict()


def test_a_batch_is_the_stream_of_its_number() -> None:
    """What the order and the augmentation are, in so many words."""
    loader = DataLoader(Pictures(6), 2, True, generator=cr.Generator(9), transform=noise)
    again = cr.Generator(9)
    order = again.permutation(6)
    number = int(again.integers(-(2**63), 2**63, ()))
    for batch, (images, targets) in enumerate(loader):
        chosen = order[2 * batch : 2 * batch + 2]
        pixels = np.broadcast_to(chosen.reshape(2, 1, 1, 1), (2, 1, 2, 2)).astype(np.float32)
        expected = noise(pixels, cr.Generator(number, path=(batch,)))
        np.testing.assert_array_equal(images, expected)
        assert targets.tolist() == (chosen % 3).tolist()


def test_nothing_is_drawn_where_nothing_can_use_it() -> None:
    generator = cr.Generator(0)
    before = generator.get_state()
    for transform in (None, np.negative, lambda images: images):
        list(DataLoader(Pictures(4), 2, generator=generator, transform=transform))
    assert generator.get_state() == before
    list(DataLoader(Pictures(4), 2, generator=generator, transform=Compose(())))
    assert generator.get_state() != before


@given(
    n=st.integers(1, 24),
    size=st.integers(1, 9),
    taken=st.integers(0, 30),
    workers=st.sampled_from((0, 3)),
    later=st.sampled_from((0, 2)),
    kind=st.sampled_from(("shuffle", "own", "shared", "global", "batches")),
    whole=st.integers(0, 2),
)
@settings(max_examples=60, deadline=None)
def test_a_state_goes_on_exactly(
    n: int, size: int, taken: int, workers: int, later: int, kind: str, whole: int
) -> None:
    data = Pictures(n)

    def loader(seed: int, workers: int) -> DataLoader:
        generator = cr.Generator(seed)
        if kind == "global":
            cr.manual_seed(seed)
            return DataLoader(data, size, True, num_workers=workers, transform=noise)
        if kind == "shuffle":
            options: dict[str, Any] = {"batch_size": size, "shuffle": True}
        else:
            own = generator if kind == "shared" else cr.Generator(seed + 1)
            options = {"batch_size": size, "sampler": BalancedSampler(data, generator=own)}
            if kind == "batches":
                options = {"batch_sampler": BatchSampler(RandomSampler(data, generator=own), size)}
        return DataLoader(
            data, generator=generator, num_workers=workers, transform=noise, mix=mixed, **options
        )

    first = loader(1, workers)
    for _ in range(whole):
        list(first)
    walk = iter(first)
    for _ in range(min(taken, len(first))):
        next(walk)
    state = json.loads(json.dumps(first.state_dict()))
    rest = plain(walk)
    after = [plain(first) for _ in range(2)]

    second = loader(77, later)
    second.load_state_dict(state)
    assert json.loads(json.dumps(second.state_dict())) == state
    assert plain(second) == rest
    assert [plain(second) for _ in range(2)] == after
    assert second.state_dict() == first.state_dict()


def test_what_was_made_ahead_does_not_count() -> None:
    loader = DataLoader(Pictures(20), 2, True, num_workers=3, generator=cr.Generator(0))
    walk = iter(loader)
    assert loader.state_dict()["walk"]["batches"] == 0
    next(walk)
    assert loader.state_dict()["walk"]["batches"] == 1
    assert len(list(walk)) == 9
    assert loader.state_dict()["walk"] is None


def test_a_state_after_the_last_batch_gives_an_empty_walk() -> None:
    loader = DataLoader(Pictures(4), 2, True, generator=cr.Generator(0))
    for _, _ in loader:
        state = loader.state_dict()
    following = plain(loader)
    loader.load_state_dict(state)
    assert plain(loader) == []
    assert plain(loader) == following


def test_states_that_do_not_fit_are_refused() -> None:
    loader = DataLoader(Pictures(4), 2)
    state = loader.state_dict()
    with pytest.raises(DataError, match="4 images in batches of 3; got one of 4 in batches of 2"):
        DataLoader(Pictures(4), 3).load_state_dict(state)
    with pytest.raises(DataError, match="5 images"):
        DataLoader(Pictures(5), 2).load_state_dict(state)
    before = loader.state_dict()
    for broken in (
        {},
        None,
        {**state, "now": {}},
        {**state, "walk": {"batches": 1}},
        {**state, "walk": {**state["now"], "batches": 3}},
        {**state, "walk": {**state["now"], "batches": -1}},
        {**state, "skipped": 3},
    ):
        with pytest.raises(DataError, match="expected"):
            loader.load_state_dict(broken)  # type: ignore[arg-type]
    assert loader.state_dict() == before


def test_skipped_files_are_in_the_state() -> None:
    bad: dict[int, Exception] = {1: ValueError("torn"), 5: OSError("gone")}
    loader = DataLoader(Pictures(6, bad), 2, skip_bad=True)
    walk = iter(loader)
    next(walk)
    state = json.loads(json.dumps(loader.state_dict()))
    other = DataLoader(Pictures(6, bad), 2, skip_bad=True)
    other.load_state_dict(state)
    assert other.skipped == [("folder/1.png", "ValueError: torn")]
    assert numbers(other) == [[2, 3], [4]]
    assert numbers(other) == [[0], [2, 3], [4]]
    assert other.skipped == [
        ("folder/1.png", "ValueError: torn"),
        ("folder/5.png", "OSError: gone"),
    ]


class Foreign:
    """A data set as PyTorch's programs write them."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Any:
        if index == 3:
            raise ValueError("torn")
        return np.full((1, 1, 1), index), index % 2


@pytest.mark.parametrize("workers", [0, 2])
def test_other_data_sets(workers: int) -> None:
    loader = DataLoader(Foreign(), 2, num_workers=workers, skip_bad=True)
    assert [(x.ravel().tolist(), y.tolist()) for x, y in loader] == [
        ([0, 1], [0, 1]),
        ([2], [0]),
        ([4], [0]),
    ]
    assert loader.skipped == [("Foreign, image 3", "ValueError: torn")]
    loader = DataLoader(Foreign(), 3, num_workers=workers, collate_fn=len, skip_bad=True)
    assert list(loader) == [3, 1]
    with pytest.raises(KindError, match=r"samples \(image, target\).*collate_fn"):
        list(DataLoader(["abc"], num_workers=workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_collate_takes_samples_and_gives_anything(workers: int) -> None:
    def collate(samples: list[Any]) -> Any:
        return {int(image.max()): int(target) for image, target in samples} or None

    data = ArrayDataset(np.arange(5).reshape(5, 1, 1, 1), np.arange(5) % 2)
    loader = DataLoader(data, 3, collate_fn=collate, num_workers=workers)
    assert list(loader) == [{0: 0, 1: 1, 2: 0}, {3: 1, 4: 0}]
    nothing = DataLoader(data, 3, collate_fn=lambda samples: None, num_workers=workers)
    assert list(nothing) == [None, None]


def test_samplers_and_batch_samplers() -> None:
    data = Pictures(6)
    assert numbers(DataLoader(data, 2, sampler=[5, 0, 5])) == [[5, 0], [5]]
    assert numbers(DataLoader(data, batch_sampler=[[1, 2, 3], [0]])) == [[1, 2, 3], [0]]
    assert numbers(DataLoader(data, batch_sampler=[])) == []
    batches = BatchSampler(SequentialSampler(data), 4, drop_last=True)
    loader = DataLoader(data, batch_sampler=batches)
    assert (numbers(loader), len(loader), loader.batch_size) == ([[0, 1, 2, 3]], 1, None)


def test_arguments_of_pytorch_without_effect_are_accepted() -> None:
    ignored = dict.fromkeys(IGNORED, 1)
    assert numbers(DataLoader(Pictures(2), prefetch_factor=None, shuffle=None, **ignored)) == [
        [0],
        [1],
    ]
    with pytest.raises(KindError, match="got argument 'pin_memry'; did you mean 'pin_memory'"):
        DataLoader(Pictures(2), pin_memry=True)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"shuffle": True, "sampler": [0]}, ShapeError, "not both"),
        ({"batch_sampler": [[0]], "batch_size": 2}, ShapeError, "beside a batch_sampler"),
        ({"batch_sampler": [[0]], "drop_last": True}, ShapeError, "beside a batch_sampler"),
        ({"num_workers": -1}, ShapeError, "num_workers >= 0"),
        ({"num_workers": 1.5}, KindError, "integer num_workers"),
        ({"prefetch_factor": 0}, ShapeError, "prefetch_factor >= 1"),
        ({"generator": np.random.default_rng()}, KindError, "chainrule Generator"),
        ({"collate_fn": len, "transform": noise}, ShapeError, "beside a collate_fn"),
    ],
)
def test_settings_at_odds(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        DataLoader(Pictures(3), **options)


@pytest.mark.parametrize("workers", [0, 2])
def test_numbers_outside_the_set(workers: int) -> None:
    for wrong in (3, -1):
        loader = DataLoader(Pictures(3), sampler=[0, wrong], num_workers=workers)
        with pytest.raises(LabelError, match=rf"0\.\.2; got number {wrong}"):
            iter(loader)
    with pytest.raises(ShapeError, match="batches that are not empty"):
        iter(DataLoader(Pictures(3), batch_sampler=[[0], []]))


def test_data_sets_that_will_not_do() -> None:
    with pytest.raises(KindError, match="length and images by number"):
        DataLoader(iter([1]))
    with pytest.raises(ShapeError, match="not empty"):
        DataLoader([])
    with pytest.raises(KindError, match="num_classes"):
        DataLoader(Foreign(), mix=mixed)


def test_transforms_with_and_without_a_generator() -> None:
    def with_setting(images: Any, scale: float = 2.0) -> Any:
        return images * scale

    def by_name(images: Any, generator: Any = None) -> Any:
        assert isinstance(generator, cr.Generator)
        return images

    def by_place(*given: Any) -> Any:
        images, generator = given
        return by_name(images, generator)

    for transform, factor in ((with_setting, 2), (np.negative, -1), (by_name, 1), (by_place, 1)):
        ((images, _),) = DataLoader(Pictures(3), 3, transform=transform)
        assert images[:, 0, 0, 0].tolist() == [0, factor, 2 * factor]


def test_suggested_workers() -> None:
    class Part:
        def __init__(self, dataset: Any) -> None:
            self.dataset = dataset

    class Joined:
        def __init__(self, *datasets: Any) -> None:
            self.datasets = list(datasets)

    memory, files = ArrayDataset(np.zeros((1, 1, 1, 1)), [0]), Pictures(3)
    before = get_num_threads()
    try:
        for threads, wanted in ((1, 0), (2, 1), (5, 4), (64, 7)):
            set_num_threads(threads)
            assert suggested_workers(files) == wanted
            assert suggested_workers(memory) == suggested_workers(Part(Joined(memory))) == 0
            assert suggested_workers(Joined(memory, Part(files))) == wanted
    finally:
        set_num_threads(before)
