"""What holds for every registered transform."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.data.transforms import TRANSFORMS, Compose, Transform, parse_transform
from chainrule.data.transforms.pixels import white_of
from chainrule.errors import KindError, ShapeError
from tests.data.transforms.cases import CASES, KINDS, MISSING, Case, pictures

every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.text)
random = pytest.mark.parametrize(
    "case", [case for case in CASES if case.chance], ids=lambda case: case.text
)


def check_equal(a: Any, b: Any) -> None:
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def run(transform: Transform, images: Any, seed: int = 3) -> Any:
    return transform(images, cr.Generator(seed))


def alike(a: Any, b: Any) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_every_transform_has_a_case() -> None:
    assert not MISSING, f"without a case in cases.py: {MISSING}"
    assert len(TRANSFORMS) > 20


@every
@given(
    n=st.integers(1, 3),
    c=st.integers(0, 3),
    h=st.integers(1, 12),
    w=st.integers(1, 12),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**32),
)
@example(n=1, c=0, h=1, w=1, kind=np.uint8, seed=0)
@example(n=2, c=1, h=1, w=150, kind=np.float32, seed=1)
@example(n=2, c=0, h=150, w=1, kind=np.uint8, seed=2)
@example(n=1, c=1, h=3, w=200, kind=np.uint16, seed=3)
@settings(max_examples=25)
def test_shape_type_range_and_repetition(
    case: Case, n: int, c: int, h: int, w: int, kind: Any, seed: int
) -> None:
    c = case.channels[c % len(case.channels)]
    h, w = max(h, case.least), max(w, case.least)
    images = pictures((n, c, h, w), kind, seed % 1000)
    before = images.copy()
    transform = case.made(images)
    out = run(transform, images, seed)
    np.testing.assert_array_equal(images, before)
    check_equal(out, run(transform, images, seed))  # the same seed, the same result
    assert len(out) == n
    for image in out:
        if case.shape is not None:
            assert image.shape == case.shape(c, h, w)
        assert image.ndim >= 3
        assert image.dtype == (np.float32 if case.floats else images.dtype)
        assert np.isfinite(image).all()
        if case.bounded and not case.floats and image.dtype.kind == "f":
            assert image.min() >= 0.0
            assert image.max() <= white_of(image) * (1 + 1e-6)


@every
@pytest.mark.parametrize("kind", KINDS)
def test_one_image_a_batch_and_a_list_agree(case: Case, kind: Any) -> None:
    c = case.channels[-1]
    images = pictures((3, c, 7, 9), kind)
    transform = case.made(images)
    batch = run(transform, images)
    check_equal(run(transform, list(images)), batch)
    single = run(transform, images[0])
    check_equal([single], run(transform, images[:1]))
    assert isinstance(run(Compose([transform]), list(images)), np.ndarray) or case.shape is None


@every
def test_lists_of_several_sizes(case: Case) -> None:
    c = case.channels[-1]
    images = [pictures((c, *size), np.uint8) for size in ((7, 9), (8, 5), (7, 9))]
    if case.name == "PerPixelMean":
        with pytest.raises(ShapeError, match=r"expected images of the training images' shape"):
            run(case.made(images[:1]), images)
        return
    before = [image.copy() for image in images]
    transform = case.made(images)
    out = run(transform, images)
    assert isinstance(out, list)
    if case.shape is not None:
        assert [image.shape for image in out] == [case.shape(*image.shape) for image in images]
    check_equal(images, before)
    check_equal(out, run(transform, images))


@random
def test_seeds_and_images_draw_for_themselves(case: Case) -> None:
    one = pictures((1, 3, 16, 20), np.float32)
    images = np.repeat(one, 12, axis=0)
    transform = case.made(images)
    out = run(transform, images, 0)
    assert not alike(out, run(transform, images, 1))
    found = {image.tobytes() for image in out}
    assert len(found) > 1, "all images of a batch have drawn the same"
    generator = cr.Generator(5)
    first = transform(images, generator)
    assert not alike(first, transform(images, generator)), "the stream goes on"
    cr.manual_seed(8)
    first = transform(images)
    cr.manual_seed(8)
    check_equal(first, transform(images))


@every
def test_use_draws_nothing(case: Case) -> None:
    images = pictures((2, case.channels[-1], 7, 9), np.uint8)
    transform = case.made(images).eval()
    generator = cr.Generator(0)
    before = generator.get_state()
    first = transform(images, generator)
    assert generator.get_state() == before
    check_equal(first, transform(images, cr.Generator(1)))
    assert transform.eval() == transform
    if not case.chance:
        check_equal(first, run(case.made(images), images))
        assert generator.get_state() == before


@every
def test_text_and_arrays_round_trip(case: Case) -> None:
    plain = parse_transform(case.text)
    assert parse_transform(repr(plain)) == plain
    assert hash(parse_transform(repr(plain))) == hash(plain)
    images = pictures((2, case.channels[-1], 7, 9), np.uint8)
    for made in (case.made(images), case.made(images).eval()):
        again = parse_transform(repr(made)).with_arrays(made.arrays())
        assert again == made
        check_equal(run(again, images), run(made, images))


@every
def test_views_are_changed_one_by_one(case: Case) -> None:
    views = pictures((2, 3, case.channels[-1], 7, 9), np.uint8)
    transform = case.made(views)
    flat = views.reshape(6, *views.shape[2:])
    if case.shape is None or "FiveCrop" in case.text or "TenCrop" in case.text:
        with pytest.raises(ShapeError, match="not views of them"):
            run(transform, views)
        return
    out = run(transform, views)
    assert out.shape[:2] == (2, 3)
    check_equal(out.reshape(6, *out.shape[2:]), run(transform, flat))


@every
def test_memory_order_does_not_matter(case: Case) -> None:
    images = pictures((3, 7, 9, case.channels[-1]), np.uint8).transpose(0, 3, 1, 2)[:, :, ::-1]
    dense = np.ascontiguousarray(images)
    check_equal(run(case.made(dense), dense), run(case.made(images), images))


@every
def test_what_is_no_image_is_refused(case: Case) -> None:
    if case.text == "Compose([])":
        return
    transform = case.made(pictures((2, case.channels[-1], 7, 9), np.uint8))
    inner = case.name if case.name != "Compose" else "RandomHorizontalFlip"
    with pytest.raises(ShapeError, match=rf"{inner}: expected an image \(C, H, W\)"):
        transform(np.zeros((4, 4)))
    with pytest.raises(KindError, match=f"{inner}: expected images of numbers"):
        transform(np.full((1, 4, 4), "a"))
    with pytest.raises(ShapeError, match=f"{inner}: expected images with pixels"):
        transform(np.zeros((0, 1, 4, 4)))
