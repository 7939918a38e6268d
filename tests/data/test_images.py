from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from chainrule.data import frame_digit, load_digits, read_image
from chainrule.errors import DataError

RAMP = np.arange(0, 252, 12, dtype=np.uint8).reshape(3, 7)


def saved(tmp_path: Path, image: Image.Image, name: str = "x.png", **options: object) -> Path:
    path = tmp_path / name
    image.save(path, **options)
    return path


def test_grey_comes_through_exactly(tmp_path: Path) -> None:
    for name in ("x.png", "x.bmp", "x.tif", "x.pgm", "x.webp"):
        options = {"lossless": True} if name.endswith("webp") else {}
        found = read_image(saved(tmp_path, Image.fromarray(RAMP), name, **options))
        np.testing.assert_array_equal(found, RAMP)
        assert found.dtype == np.uint8
        assert found.flags.writeable


def test_colour_becomes_luminance(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 2), (200, 100, 50))
    expected = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert abs(int(read_image(saved(tmp_path, image))[0, 0]) - expected) <= 1
    cmyk = Image.new("CMYK", (2, 2), (0, 0, 0, 255))
    assert read_image(saved(tmp_path, cmyk, "x.jpg")).max() < 40


def test_palette_and_one_bit(tmp_path: Path) -> None:
    palette = Image.fromarray(RAMP).convert("RGB").quantize(32)
    np.testing.assert_array_equal(
        read_image(saved(tmp_path, palette)), np.asarray(palette.convert("L"))
    )
    bits = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert read_image(saved(tmp_path, bits)).tolist() == [[0, 255]]


@pytest.mark.parametrize("ink", [0, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_transparent_paper_shows_the_ink(tmp_path: Path, ink: int, mode: str) -> None:
    grey = np.full((6, 6), ink, np.uint8)
    alpha = np.zeros((6, 6), np.uint8)
    alpha[2:4, 2:4] = 255
    if mode in ("RGBA", "LA"):
        layers = [Image.fromarray(grey)] * (3 if mode == "RGBA" else 1)
        path = saved(tmp_path, Image.merge(mode, [*layers, Image.fromarray(alpha)]))
    elif mode == "P":
        image = Image.fromarray((alpha > 0).astype(np.uint8)).convert("P")
        image.putpalette([7, 7, 7, ink, ink, ink])
        path = saved(tmp_path, image, transparency=0)
    else:
        clear = np.where(alpha > 0, ink, 128).astype(np.uint8)
        path = saved(tmp_path, Image.fromarray(clear), transparency=128)
    found = read_image(path)
    assert (found[2:4, 2:4] == ink).all()
    assert found[0, 0] == 255 - ink


def test_sixteen_bits_and_floats_are_scaled(tmp_path: Path) -> None:
    wide = Image.fromarray(RAMP.astype(np.uint16) * 257)
    for name in ("x.png", "x.tif"):
        np.testing.assert_array_equal(read_image(saved(tmp_path, wide, name)), RAMP)
    unit = Image.fromarray(RAMP.astype(np.float32) / 255.0)
    np.testing.assert_array_equal(read_image(saved(tmp_path, unit, "x.tif")), RAMP)
    bytes_as_floats = Image.fromarray(RAMP.astype(np.float32))
    np.testing.assert_array_equal(read_image(saved(tmp_path, bytes_as_floats, "x.tif")), RAMP)
    signed = Image.fromarray(RAMP.astype(np.float32) - 100.0)
    found = read_image(saved(tmp_path, signed, "x.tif"))
    assert (found.min(), found.max()) == (0, 255)
    nan = np.full((2, 2), np.nan, np.float32)
    with pytest.raises(DataError, match=r"x\.tif: cannot be read .*not finite"):
        read_image(saved(tmp_path, Image.fromarray(nan), "x.tif"))


def test_the_rotation_of_photographs_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    path = saved(tmp_path, Image.fromarray(RAMP), "x.png", exif=exif)
    np.testing.assert_array_equal(read_image(path), np.rot90(RAMP, -1))


def test_the_first_frame_counts(tmp_path: Path) -> None:
    frames = [Image.new("L", (3, 3), level) for level in (40, 200)]
    path = saved(tmp_path, frames[0], "x.gif", save_all=True, append_images=frames[1:])
    assert read_image(path).tolist() == [[40] * 3] * 3


def test_wrong_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, text: str) -> None:
        with pytest.raises(DataError) as caught:
            read_image(path)
        assert str(path) in str(caught.value)
        assert text in str(caught.value)

    refused(tmp_path / "absent.png", "no such file")
    refused(tmp_path, "not a regular file")
    path = tmp_path / "x.png"
    path.write_bytes(b"hello")
    refused(path, "not a picture")
    path.write_bytes(b"")
    refused(path, "not a picture")
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue()[:1500])
    refused(path, "cannot be read")
    Image.new("1", (4000, 4000)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    refused(path, "cannot be read")


def drawn(dark: bool, size: tuple[int, int] = (120, 160), at: tuple[int, int] = (30, 20)) -> object:
    paper, ink = (235, 20) if dark else (10, 240)
    image = Image.new("L", size, paper)
    x, y = at
    ImageDraw.Draw(image).line([(x, y), (x + 50, y), (x + 20, y + 90)], fill=ink, width=8)
    return np.asarray(image)


@pytest.mark.parametrize("dark", [True, False])
def test_drawings_are_framed_as_mnist_is(dark: bool) -> None:
    digit = frame_digit(drawn(dark))
    assert digit.shape == (28, 28)
    assert digit.dtype == np.uint8
    rows, columns = np.flatnonzero(digit.any(1)), np.flatnonzero(digit.any(0))
    assert rows[-1] - rows[0] + 1 == 20  # the longer side fills the box
    assert columns[-1] - columns[0] + 1 <= 20
    mass = digit.astype(float)
    for k in (0, 1):
        centre = (mass.sum(axis=1 - k) * (np.arange(28) + 0.5)).sum() / mass.sum()
        assert abs(centre - 14) <= 0.51
    assert digit[0].max() == 0
    assert digit.max() > 200


def test_place_size_and_polarity_do_not_matter() -> None:
    reference = frame_digit(drawn(True)).astype(int)
    for other in (
        drawn(False),
        drawn(True, (300, 200), (200, 90)),
        np.kron(drawn(True), np.ones((2, 2))),
    ):
        assert np.abs(frame_digit(np.asarray(other, np.uint8)).astype(int) - reference).mean() < 3


def test_own_size_comes_through_unchanged() -> None:
    x = np.zeros((28, 28), np.uint8)
    x[0:5, 3:9] = 200
    np.testing.assert_array_equal(frame_digit(x), x)
    np.testing.assert_array_equal(frame_digit(255 - x), x)
    np.testing.assert_array_equal(frame_digit(x, ink="dark"), 255 - x)
    np.testing.assert_array_equal(frame_digit(255 - x, ink="light"), 255 - x)


def test_ink_can_be_said() -> None:
    grey = np.full((50, 50), 100, np.uint8)
    grey[20:30, 10:40] = 0
    grey[5:8, 5:8] = 255
    assert frame_digit(grey, ink="dark").max() > 200
    with pytest.raises(DataError, match="no dark ink"):
        frame_digit(np.where(grey == 0, 100, grey).astype(np.uint8), ink="dark")


def test_blank_pictures_are_refused() -> None:
    for grey in (np.full((40, 30), 77, np.uint8), np.zeros((28, 28), np.uint8)):
        with pytest.raises(DataError, match=r"five\.png: blank"):
            frame_digit(grey, name="five.png")


@pytest.mark.parametrize("size", [(1, 50), (50, 1), (2, 300), (2, 2)])
def test_extreme_shapes_are_framed(size: tuple[int, int]) -> None:
    grey = np.full(size, 255, np.uint8)
    grey[size[0] // 2, size[1] // 2] = 0
    digit = frame_digit(grey)
    assert digit.shape == (28, 28)
    assert digit.max() == 255


def test_a_picture_of_one_pixel_is_blank() -> None:
    with pytest.raises(DataError, match="blank"):
        frame_digit(np.zeros((1, 1), np.uint8))


def test_real_digits_enlarged_on_paper_are_framed_as_they_were() -> None:
    pytest.importorskip("sklearn", reason="the digits are in the demo extra")
    images = load_digits().test.images[:60, 0].astype(float) * (255 / 16)
    differences = []
    for image in np.rint(images).astype(np.uint8):
        large = Image.fromarray(image).resize((80, 80), Image.Resampling.NEAREST)
        on_paper = 255 - np.pad(np.asarray(large), ((30, 60), (90, 20)))
        differences.append(np.abs(frame_digit(on_paper, 8, 8).astype(float) - image).mean())
    assert np.median(differences) < 25  # of 255; a digit moved by one of its pixels has about 60


@pytest.mark.filterwarnings("error")
def test_large_pictures_are_read_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, Image.new("L", (30, 30), 9))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)  # under twice that it only warns
    assert read_image(path).shape == (30, 30)
