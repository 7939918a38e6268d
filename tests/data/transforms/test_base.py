"""Pipelines and their text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import chainrule as cr
from chainrule.data.transforms import (
    MIXES,
    TRANSFORMS,
    CenterCrop,
    Compose,
    FiveCrop,
    Identity,
    Normalize,
    Pad,
    PerPixelMean,
    RandomApply,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResize,
    Resize,
    TenCrop,
    ToFloat,
    Transform,
    mix,
    parse_mix,
    parse_transform,
    parse_transforms,
    stacked,
    transform,
)
from chainrule.errors import ChainruleError, DataError, KindError, ShapeError
from tests.data.transforms.cases import pictures


def test_pipelines_read_as_they_are_written() -> None:
    texts = ["RandomCrop(32, padding=[4, 2])", "RandomHorizontalFlip", "Normalize(0.5, (0.1, 0.2))"]
    pipeline = parse_transforms(texts)
    assert repr(pipeline) == (
        "Compose([RandomCrop(size=32, padding=(4, 2)), RandomHorizontalFlip(), "
        "Normalize(mean=0.5, std=(0.1, 0.2))])"
    )
    assert parse_transform(repr(pipeline)) == pipeline
    nested = RandomApply([pipeline, Pad(1)], p=0.25)
    assert parse_transform(repr(nested)) == nested


def test_numbers_of_numpy_are_written_as_plain_ones() -> None:
    made = Normalize(np.float32(0.5), np.array([0.25, 0.5]))
    assert repr(made) == "Normalize(mean=0.5, std=(0.25, 0.5))"
    assert repr(Resize(np.int64(4))) == "Resize(size=4)"
    assert repr(Pad(np.array([1, 2]))) == "Pad(padding=(1, 2))"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("RandomCorp(3)", "no transform is called 'RandomCorp'; did you mean 'RandomCrop'"),
        ("Xyz()", "no transform is called 'Xyz'; there are CenterCrop, ColorJitter"),
        ("RandomCrop(3", r"'RandomCrop\(3' is not a call such as RandomCrop\(32\)"),
        ("3", r"'3' is not a call"),
        ("os.system('x')", "is not a call"),
        ("RandomCrop(open('x'))", "no transform is called 'open'"),
        ("RandomCrop(1 if 1 else 2)", "arguments that are not literal"),
        ("RandomCrop(**{'size': 3})", "arguments that are not literal"),
        ("RandomCrop(*[3])", "arguments that are not literal"),
        ("RandomCrop()", "missing 1 required positional argument"),
        ("RandomCrop(3, colour=1)", "unexpected keyword argument 'colour'"),
        ("RandomCrop('3')", "expected an integer as size"),
        ("Compose([3])", "Compose: expected transforms"),
        ("Pad(" + "9" * 70_000 + ")", "at most 65,536 letters"),
        ("(" * 5000 + ")" * 5000, "is not a call"),
    ],
)
def test_texts_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_transform(text)


def test_texts_of_mixes_that_are_refused() -> None:
    with pytest.raises(DataError, match="no mix is called 'MixUpp'; did you mean 'MixUp'"):
        parse_mix("MixUpp()")
    with pytest.raises(DataError, match=r"mix: '4' is not a call such as CutMix\(\)"):
        parse_mix("4")


def test_names_are_taken_once() -> None:
    with pytest.raises(ChainruleError, match="a name that is not taken: Pad"):
        transform(type("Pad", (Transform,), {}))
    with pytest.raises(ChainruleError, match="a name that is not taken: MixUp"):
        mix(type("MixUp", (MIXES["MixUp"],), {}))
    assert TRANSFORMS["Pad"] is Pad


def test_one_of_ones_own() -> None:
    @transform
    @dataclass(frozen=True, repr=False)
    class Negative(Transform):
        def apply(self, images, generator):  # type: ignore[no-untyped-def]
            return 255 - images

    try:
        made = parse_transform("Compose([Negative()])")
        assert made(np.full((1, 1, 1), 5, np.uint8)).item() == 250
    finally:
        del TRANSFORMS["Negative"]


def test_ten_crop_testing_goes_through_a_pipeline() -> None:
    images = pictures((2, 3, 12, 14), np.uint8)
    pipeline = Compose([Resize(10), TenCrop(8), Normalize((0.1, 0.2, 0.3), 0.5)]).eval()
    out = pipeline(images)
    assert out.shape == (2, 10, 3, 8, 8)
    views = TenCrop(8)(Resize(10)(images))
    for n, v in np.ndindex(2, 10):
        np.testing.assert_array_equal(out[n, v], pipeline.transforms[2](views[n, v]))
    assert pipeline(images[0]).shape == (10, 3, 8, 8)
    several = [images[0], pictures((3, 20, 11), np.uint8)]
    assert stacked(pipeline(several)).shape == (2, 10, 3, 8, 8)
    with pytest.raises(ShapeError, match="give it a place before the views"):
        FiveCrop(4)(views)
    with pytest.raises(ShapeError, match=r"RandomResize: expected images .* not views"):
        RandomResize(4, 9)(views)


def test_images_become_a_batch_once_they_have_one_size() -> None:
    several = [pictures((1, 9, 12), np.uint8), pictures((1, 14, 8), np.uint8)]
    out = Compose([RandomResize(8, 16), RandomCrop(8), ToFloat()])(several, cr.Generator(0))
    assert isinstance(out, np.ndarray)
    assert out.shape == (2, 1, 8, 8)
    with pytest.raises(
        ShapeError, match=r"images of one size; got sizes \(1, 9, 12\), \(1, 14, 8\)"
    ):
        stacked(several)


def test_members_are_fitted_on_what_reaches_them() -> None:
    images = pictures((20, 2, 8, 8), np.uint8)
    pipeline = Compose([RandomCrop(4), ToFloat(), Normalize(), PerPixelMean()])
    fitted = pipeline.fit(lambda: iter([images[:15], list(images[15:])]), 255.0)
    middle = CenterCrop(4)(images) / 255
    toward = fitted.transforms
    assert toward[1] == ToFloat(255.0)
    np.testing.assert_allclose(toward[2].mean, middle.mean(axis=(0, 2, 3)), atol=1e-4)
    np.testing.assert_allclose(toward[2].std, middle.std(axis=(0, 2, 3)), atol=1e-4)
    assert toward[2].white == 1.0
    assert list(fitted.arrays()) == ["3.mean"]
    out = fitted.eval()(images)
    np.testing.assert_allclose(out.mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(out.std(), 1.0, atol=0.1)
    again = parse_transform(repr(fitted)).with_arrays(fitted.arrays())
    np.testing.assert_array_equal(again.eval()(images), out)
    assert again.fit(lambda: iter([]), 1.0) == again  # nothing is learnt twice


def test_fit_walks_no_images_for_what_learns_nothing() -> None:
    def batches() -> object:
        raise AssertionError("walked")

    pipeline = Compose([RandomCrop(4), RandomApply([Pad(1)]), Normalize(0.5, 0.5)])
    assert pipeline.fit(batches) == pipeline  # type: ignore[arg-type]


def test_chance_leaves_use() -> None:
    pipeline = Compose([RandomHorizontalFlip(), RandomCrop(4, padding=1), Normalize(0.5, 0.5)])
    assert pipeline.eval() == Compose([Identity(), CenterCrop(4, padding=1), Normalize(0.5, 0.5)])


def test_random_apply() -> None:
    images = pictures((400, 1, 3, 3), np.uint8)
    out = RandomApply([RandomHorizontalFlip(1.0)], 0.3)(images, cr.Generator(0))
    same = (out == images).all(axis=(1, 2, 3))
    assert 0.6 < same.mean() < 0.8
    np.testing.assert_array_equal(out[~same], images[~same][:, :, :, ::-1])
    sizes = {image.shape for image in RandomApply([Pad(1)])(images, cr.Generator(0))}
    assert sizes == {(1, 3, 3), (1, 5, 5)}
    assert RandomApply([RandomCrop(2)], 0.9).eval() == Identity()
    assert RandomApply([RandomCrop(2)], 1.0).eval() == Compose([CenterCrop(2)])
    assert RandomApply([RandomCrop(2)], 0)(images) is not None
    fitted = RandomApply([PerPixelMean()], 1.0).fit(lambda: iter([images]))
    assert list(fitted.arrays()) == ["0.mean"]
    with pytest.raises(KindError, match="Compose: expected transforms; got transform 3"):
        RandomApply([3])
    with pytest.raises(ShapeError, match=r"RandomApply: expected p from 0 to 1, not 1.5"):
        RandomApply([], 1.5)
