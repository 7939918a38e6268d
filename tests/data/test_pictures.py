from __future__ import annotations

import io
import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from chainrule.data.pictures import ENDINGS, read_header, read_picture
from chainrule.errors import DataError
from tests.data.places import shared_data

GREY = np.arange(0, 252, 12, dtype=np.uint8).reshape(3, 7)
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)  # (H, W, 3)
LOSSLESS = ["png", "webp", "tif", "bmp", "ppm"]


def written(image: Image.Image | np.ndarray, kind: str = "png", **options: object) -> bytes:
    """Give the bytes of a file."""
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    name = {"tif": "TIFF", "jpg": "JPEG"}.get(kind, kind.upper())
    buffer = io.BytesIO()
    picture.save(buffer, name, **({"lossless": True} if kind == "webp" else {}), **options)
    return buffer.getvalue()


def png(bits: int, colour: int, rows: bytes, size: tuple[int, int], *chunks: bytes) -> bytes:
    """Write a PNG by hand, in forms that Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0))
    extra = b"".join(chunk(data[:4], data[4:]) for data in chunks)
    end = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + extra + end


def tiff(pixels: np.ndarray, *, photometric: int = 1, kind: int = 1, pages: int = 1) -> bytes:
    """Write an uncompressed TIFF of one strip by hand, in the byte order of the array."""
    order = ">" if pixels.dtype.byteorder == ">" else "<"
    h, w, *channels = pixels.shape
    c = channels[0] if channels else 1
    bits = 8 * pixels.itemsize
    body = pixels.tobytes()
    start = 8 + len(body) + 8
    entries = [
        (256, 4, 1, w),
        (257, 4, 1, h),
        (258, 3, c, bits if c == 1 else 8 + len(body)),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, 8),
        (277, 3, 1, c),
        (278, 4, 1, h),
        (279, 4, 1, len(body)),
        (339, 3, 1, kind),
    ]
    table = b""
    for page in range(pages):
        table += struct.pack(f"{order}H", len(entries))
        for tag, form, count, value in entries:
            number = struct.pack(f"{order}HH", value, 0) if form == 3 and count == 1 else None
            table += struct.pack(f"{order}HHI", tag, form, count)
            table += number or struct.pack(f"{order}I", value)
        after = start + (page + 1) * (6 + 12 * len(entries))
        table += struct.pack(f"{order}I", after if page + 1 < pages else 0)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    depth = struct.pack(f"{order}4H", *[bits] * 4)
    return mark + struct.pack(f"{order}I", start) + body + depth + table


@pytest.mark.parametrize("kind", [*LOSSLESS, "gif"])
def test_grey_comes_through(kind: str, tmp_path: Path) -> None:
    data = written(GREY, kind)
    path = tmp_path / "x.any"
    path.write_bytes(data)
    for source in (data, path, str(path)):
        found = read_picture(source, "L")
        assert found.dtype == np.uint8
        assert found.flags.writeable
        np.testing.assert_array_equal(found, GREY[np.newaxis])
    np.testing.assert_array_equal(read_picture(data, "RGB"), np.stack([GREY] * 3))
    if kind not in ("webp", "gif"):  # these have no grey, or it is a palette
        assert read_picture(data).shape == (1, 3, 7)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_colour_comes_through(kind: str) -> None:
    data = written(COLOUR, kind)
    np.testing.assert_array_equal(read_picture(data), COLOUR.transpose(2, 0, 1))
    grey = read_picture(data, "L")
    luminance = COLOUR @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey[0] - luminance).max() <= 1
    assert read_header(data) == (3, np.dtype(np.uint8))


def test_every_form_of_png() -> None:
    rows = {1: b"\x00\xa0", 2: b"\x00\x1b", 4: b"\x00\x0f\x70", 8: b"\x00\x00\x11\x22\x33"}
    levels = {
        1: [255, 0, 255, 0],
        2: [0, 85, 170, 255],
        4: [0, 255, 119, 0],
        8: [0, 17, 34, 51],
    }
    for bits, row in rows.items():
        found = read_picture(png(bits, 0, row, (4, 1)))
        assert found.tolist() == [[levels[bits]]], bits
    wide = read_picture(png(16, 0, b"\0" + struct.pack(">3H", 0, 258, 65535), (3, 1)))
    assert wide.dtype == np.uint16
    assert wide.tolist() == [[[0, 258, 65535]]]
    palette = png(2, 3, b"\0\x1b", (4, 1), b"PLTE" + bytes(range(10, 22)))
    assert read_picture(palette)[:, 0, 3].tolist() == [19, 20, 21]
    assert read_header(palette).channels == 3


def test_transparency_is_filled_with_white() -> None:
    alpha = np.array([[0, 255, 51]], np.uint8)
    grey = np.array([[100, 100, 100]], np.uint8)
    layers = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
    for kind in ("png", "tif"):
        assert read_picture(written(layers, kind)).tolist() == [[[255, 100, 224]]]
    colour = Image.merge("RGBA", [Image.fromarray(grey)] * 3 + [Image.fromarray(alpha)])
    for kind in ("png", "tif", "webp"):
        found = read_picture(written(colour, kind, **({"exact": True} if kind == "webp" else {})))
        assert found.tolist() == [[[255, 100, 224]]] * 3, kind
    assert read_picture(written(colour), "L").tolist() == [[[255, 100, 224]]]
    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    palette.putpalette([9, 9, 9, 7, 7, 7, 100, 100, 100])
    whole, parts = written(palette, transparency=1), written(palette, transparency=b"\0\xff\x33")
    assert read_picture(whole)[0].tolist() == [[9, 255, 100]]
    assert read_picture(parts)[0].tolist() == [[255, 7, 224]]
    assert read_picture(written(palette, "gif", transparency=1))[0].tolist() == [[9, 255, 100]]
    one = png(8, 0, b"\0\x05\x06", (2, 1), b"tRNS\0\x05")
    assert read_picture(one).tolist() == [[[255, 6]]]
    bit = png(1, 0, b"\0\x40", (2, 1), b"tRNS\0\x00")
    assert read_picture(bit).tolist() == [[[255, 255]]]
    three = png(8, 2, b"\0\x01\x02\x03\x04\x05\x06", (2, 1), b"tRNS\0\x01\0\x02\0\x03")
    assert read_picture(three)[:, 0].tolist() == [[255, 4], [255, 5], [255, 6]]
    wide = png(16, 0, b"\0\x01\x00\x00\x07", (2, 1), b"tRNS\x01\x00")
    assert read_picture(wide).tolist() == [[[65535, 7]]]


def test_other_colours_are_converted() -> None:
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for kind in ("jpg", "tif"):
        red = read_picture(written(cmyk, kind))[:, 0, 0]
        assert red[0] > 240, kind
        assert max(red[1:]) < 15, kind
    luma = Image.fromarray(COLOUR).convert("YCbCr")
    expected = np.asarray(luma.convert("RGB")).transpose(2, 0, 1)
    data = written(luma, "tif")
    if Image.open(io.BytesIO(data)).mode == "YCbCr":
        np.testing.assert_array_equal(read_picture(data), expected)
    else:  # an older Pillow
        with pytest.raises(DataError, match="uncompressed YCbCr cannot be read"):
            read_picture(data)
    thinned = data.replace(
        struct.pack("<HHIHH", 530, 3, 2, 1, 1), struct.pack("<HHIHH", 530, 3, 2, 2, 2)
    )
    assert thinned != data
    with pytest.raises(DataError, match="uncompressed YCbCr cannot be read"):
        read_picture(thinned)
    lab = Image.new("LAB", (2, 1), (255, 128, 128))
    white = read_picture(written(lab, "tif"))
    assert white.shape == (3, 1, 2)
    assert white.min() > 250
    assert read_header(written(lab, "tif")).channels == 3


@pytest.mark.parametrize("order", ["<", ">"])
def test_deep_grey_of_tiff(order: str) -> None:
    wide = (GREY.astype(np.uint16) * 257).astype(f"{order}u2")
    found = read_picture(tiff(wide))
    assert found.dtype == np.dtype(np.uint16)
    np.testing.assert_array_equal(found[0], wide)
    assert read_picture(tiff(wide), "RGB").shape == (3, 3, 7)
    floats = (GREY / 255).astype(f"{order}f4")
    found = read_picture(tiff(floats, kind=3))
    assert found.dtype == np.dtype(np.float32)
    np.testing.assert_array_equal(found[0], floats)
    np.testing.assert_array_equal(read_picture(tiff(floats, kind=3, photometric=0))[0], 1 - floats)
    assert read_header(tiff(floats, kind=3)) == (1, np.dtype(np.float32))


def test_white_may_be_zero_in_tiff() -> None:
    wide = GREY.astype("<u2") * 257
    np.testing.assert_array_equal(read_picture(tiff(wide, photometric=0))[0], 65535 - wide)
    np.testing.assert_array_equal(read_picture(tiff(GREY, photometric=0))[0], 255 - GREY)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiff(compression: str) -> None:
    wide = GREY.astype(np.uint16) * 257
    for pixels in (GREY, wide, COLOUR):
        found = read_picture(written(pixels, "tif", compression=compression))
        rows = pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        np.testing.assert_array_equal(found, rows)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    ("data", "text"),
    [
        (png(16, 2, b"\0" + bytes(6), (1, 1)), "16 bits a channel"),
        (png(16, 4, b"\0" + bytes(4), (1, 1)), "16 bits a channel"),
        (png(16, 6, b"\0" + bytes(8), (1, 1)), "16 bits a channel"),
        (b"P6 1 1 65535\n" + bytes(6), "16 bits a channel"),
        (tiff(np.zeros((2, 2, 3), "<u2"), photometric=2), "16 bits a channel"),
        (tiff(np.zeros((2, 2), "<i4"), kind=2), "with a sign"),
        (tiff(np.zeros((2, 2), "<i2"), kind=2), "with a sign"),
        (tiff(np.zeros((2, 2), "i1"), kind=2), "with a sign"),
        (tiff(np.zeros((2, 2), "<u4")), "whole numbers of 32 bits"),
        (tiff(GREY, pages=3), "3 pages"),
        (tiff(np.full((2, 2), 1.5, "<f4"), kind=3), "floats in 0..1.* 1.5 to 1.5"),
        (tiff(np.full((2, 2), -0.5, "<f4"), kind=3), "floats in 0..1"),
        (tiff(np.full((2, 2), np.nan, "<f4"), kind=3), "floats in 0..1.* nan to nan"),
        (tiff(np.zeros((2, 2), "<f8"), kind=3), "cannot be read as a picture"),
        (b"", "empty file"),
        (b"hello", "not a picture in a format that is known"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not a picture"),
        (b"\x89PNG\r\n\x1a\n", "cannot be read"),
        (b"BM", "cannot be read"),
        (b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", "cannot be read"),
        (b"RIFF\0\0\0\0WEBP", "cannot be read"),
        (b"II*\0\xff\xff\xff\xff", "cannot be read"),
    ],
)
def test_what_cannot_come_through_is_refused(data: bytes, text: str, tmp_path: Path) -> None:
    path = tmp_path / "some picture.png"
    path.write_bytes(data)
    for source, name in ((path, str(path)), (data, "member 7")):
        with pytest.raises(DataError, match=text) as caught:
            read_picture(source, name="member 7" if isinstance(source, bytes) else None)
        assert str(caught.value).startswith(name)


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "bmp", "tif", "webp", "ppm"])
def test_truncated_files_are_refused(kind: str) -> None:
    noise = np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8)
    data = written(noise, kind)
    for length in (len(data) // 4, len(data) // 2, len(data) * 3 // 4):
        with pytest.raises(DataError, match=r"^half: .*remove it$"):
            read_picture(data[:length], name="half")


def test_orientation_by_exif() -> None:
    turned = {
        1: GREY,
        2: np.fliplr(GREY),
        3: np.rot90(GREY, 2),
        4: np.flipud(GREY),
        5: GREY.T,
        6: np.rot90(GREY, -1),
        7: np.rot90(GREY, 2).T,
        8: np.rot90(GREY, 1),
    }
    for value, expected in turned.items():
        exif = Image.Exif()
        exif[0x0112] = value
        for kind in ("png", "webp", "tif"):
            found = read_picture(written(GREY, kind, exif=exif), "L")
            np.testing.assert_array_equal(found[0], expected, err_msg=f"{kind} {value}")
            assert found.flags.writeable
        lzw = written(GREY, "tif", exif=exif, compression="tiff_lzw")
        np.testing.assert_array_equal(read_picture(lzw)[0], expected)
        photograph = written(GREY, "jpg", exif=exif, quality=100)
        assert np.abs(read_picture(photograph)[0] - expected.astype(int)).max() <= 3, value
        colours = read_picture(written(COLOUR, exif=exif))
        np.testing.assert_array_equal(colours[0], expected)
    for value in (0, 9, 60000):
        exif = Image.Exif()
        exif[0x0112] = value
        np.testing.assert_array_equal(read_picture(written(GREY, exif=exif))[0], GREY)


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03",
        b"nothing at all",
    ],
)
def test_damaged_exif_turns_nothing(exif: bytes) -> None:
    np.testing.assert_array_equal(read_picture(png_with(exif))[0], GREY)


def png_with(exif: bytes) -> bytes:
    rows = b"".join(b"\0" + row.tobytes() for row in GREY)
    return png(8, 0, rows, (7, 3), b"eXIf" + exif.removeprefix(b"Exif\0\0"))


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_the_first_frame_counts(kind: str) -> None:
    frames = [Image.new("RGB", (3, 3), (level, level, level)) for level in (40, 200)]
    data = written(frames[0], kind, save_all=True, append_images=frames[1:])
    assert (read_picture(data) == 40).all()


def test_enormous_pictures_are_refused_without_a_warning(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    data = written(Image.new("1", (3000, 3000)))
    assert len(data) < 10_000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    with pytest.raises(DataError, match=r"3,000 x 3,000 pixels are more than 2,000,000"):
        read_picture(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5_000_000)
    assert read_picture(data).shape == (1, 3000, 3000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert read_picture(data).shape == (1, 3000, 3000)
    assert not recwarn.list


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.png: no such file"):
        read_picture(tmp_path / "absent.png")
    with pytest.raises(DataError, match="not a regular file"):
        read_picture(tmp_path)
    with pytest.raises(DataError, match="cannot be opened"):
        read_picture("nul\0.png")
    with pytest.raises(DataError, match="expected 'L', 'RGB' or None"):
        read_picture(tmp_path, "RGBA")  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="not a regular file"):
        read_picture(tmp_path / "pipe.png")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all files")
def test_a_locked_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "locked.png"
    path.write_bytes(written(GREY))
    path.chmod(0)
    with pytest.raises(DataError, match=r"locked\.png: cannot be opened \(Permission denied\)"):
        read_picture(path)


@settings(max_examples=300)
@given(
    kind=st.sampled_from(["png", "jpg", "gif", "bmp", "tif", "webp", "ppm"]),
    at=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    end=st.floats(0, 1),
)
@pytest.mark.filterwarnings("ignore")
def test_damage_gives_a_picture_or_a_data_error(
    kind: str, at: list[tuple[float, int]], end: float
) -> None:
    data = bytearray(written(COLOUR, kind))
    for place, value in at:
        data[int(place * len(data))] = value
    for source in (bytes(data), bytes(data[: int(end * len(data))])):
        try:
            shape = read_picture(source, name="x").shape
        except DataError:
            continue
        assert len(shape) == 3
        assert shape[0] in (1, 3)


@given(
    channels=st.sampled_from([1, 3]),
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_any_size_comes_through(channels: int, h: int, w: int, seed: int) -> None:
    pixels = np.random.RandomState(seed).randint(0, 256, (h, w, channels)).astype(np.uint8)
    for kind in LOSSLESS:
        found = read_picture(written(pixels.squeeze(2) if channels == 1 else pixels, kind))
        assert (found == pixels.transpose(2, 0, 1)).all()


def test_threads_read_what_one_reads() -> None:
    pictures = [written(np.roll(COLOUR, k), kind) for k in range(40) for kind in ("png", "jpg")]
    expected = [read_picture(data) for data in pictures]
    with ThreadPoolExecutor(8) as pool:
        for found, one in zip(pool.map(read_picture, pictures * 3), expected * 3, strict=True):
            np.testing.assert_array_equal(found, one)


def test_endings_are_those_of_the_formats() -> None:
    known = Image.registered_extensions()
    formats = {known[ending] for ending in ENDINGS}
    assert formats == {"PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM"}


def test_real_pictures() -> None:
    folder = shared_data("photos")
    shapes = {path.name: read_picture(path).shape for path in sorted(folder.iterdir())}
    assert shapes["camera.png"] == (1, 512, 512)
    assert shapes["chelsea.png"] == (3, 300, 451)
    assert shapes["rocket.jpg"] == (3, 427, 640)
    assert read_picture(folder / "rocket.jpg", "L").shape == (1, 427, 640)
