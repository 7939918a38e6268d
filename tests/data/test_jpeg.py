"""JPEG files by the quick way, against Pillow's reading of the same bytes."""

from __future__ import annotations

import io
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from chainrule.data import jpeg, pictures
from chainrule.data.pictures import Mode, read_picture
from chainrule.errors import DataError
from tests.data.places import shared_data

MODES: list[Mode | None] = [None, "L", "RGB"]
NO_BOUND = float("inf")


def written(channels: int, size: tuple[int, int] = (19, 13), **options: object) -> bytes:
    """Write a picture of smooth noise; `size` is height and width."""
    rng = np.random.default_rng(sum(size) + channels)
    coarse = rng.integers(0, 256, (5, 4, channels), np.uint8)
    small = Image.fromarray(coarse if channels > 1 else coarse[:, :, 0])
    buffer = io.BytesIO()
    small.resize(size[::-1], Image.Resampling.BICUBIC).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def slowly(data: bytes, mode: Mode | None) -> np.ndarray:
    """Read by Pillow alone."""
    return pictures._read(data, mode, "picture").transpose(2, 0, 1)


FORMS: dict[str, tuple[int, dict[str, object]]] = {
    "grey": (1, {}),
    "grey, progressive": (1, {"progressive": True}),
    "4:2:0": (3, {"subsampling": 2}),
    "4:2:2": (3, {"subsampling": 1}),
    "4:4:4": (3, {"subsampling": 0}),
    "progressive": (3, {"progressive": True, "quality": 30}),
    "best": (3, {"quality": 100}),
    "worst": (3, {"quality": 1}),
    "own tables": (3, {"optimize": True}),
    "restarts": (3, {"restart_marker_blocks": 1}),
    "comment and profile": (3, {"comment": b"\xff\xd8" * 9, "icc_profile": b"p" * 70_000}),
    "density": (1, {"dpi": (300, 300)}),
    "RGB kept": (3, {"keep_rgb": True}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (16, 17), (19, 13), (64, 64), (1, 300)])
def test_a_plain_file_is_read_quickly_and_as_pillow_reads_it(form, size):
    channels, options = FORMS[form]
    data = written(channels, size, **options)
    quick = jpeg.decoded(data, None, NO_BOUND)
    assert quick is not None
    assert quick.shape == (*size, channels)
    for mode in MODES:
        got = read_picture(data, mode)
        assert got.flags.writeable
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, slowly(data, mode))


def test_grey_becomes_colour_quickly_and_colour_becomes_grey_by_pillow():
    grey, colour = written(1), written(3)
    wide = jpeg.decoded(grey, True, NO_BOUND)
    assert wide is not None
    assert wide.shape == (19, 13, 3)
    assert jpeg.decoded(colour, False, NO_BOUND) is None
    np.testing.assert_array_equal(read_picture(colour, "L"), slowly(colour, "L"))


def exif(turn: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = turn
    return tags.tobytes()


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_turned_file_is_left_to_pillow(turn):
    data = written(3, exif=exif(turn))
    assert jpeg.decoded(data, None, NO_BOUND) is None
    assert read_picture(data).shape == ((3, 19, 13) if turn < 5 else (3, 13, 19))
    np.testing.assert_array_equal(read_picture(data), slowly(data, None))


def test_exif_behind_the_frame_still_counts():
    data = written(3, exif=exif(6))
    start = data.index(b"\xff\xe1")
    size = 2 + int.from_bytes(data[start + 2 : start + 4])
    segment, rest = data[start : start + size], data[:start] + data[start + size :]
    scan = rest.index(b"\xff\xda")
    moved = rest[:scan] + segment + rest[scan:]
    assert jpeg.decoded(rest, None, NO_BOUND) is not None
    assert jpeg.decoded(moved, None, NO_BOUND) is None
    assert read_picture(moved).shape == (3, 13, 19)


def test_cmyk_is_left_to_pillow():
    buffer = io.BytesIO()
    Image.new("CMYK", (4, 3), (10, 20, 30, 40)).save(buffer, "JPEG")
    assert jpeg.decoded(buffer.getvalue(), None, NO_BOUND) is None
    assert read_picture(buffer.getvalue()).shape == (3, 3, 4)


def test_a_picture_larger_than_the_bound_is_left_to_pillow_which_refuses_it(monkeypatch):
    data = written(3, (20, 20))
    assert jpeg.decoded(data, None, 400) is not None
    assert jpeg.decoded(data, None, 399) is None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 199)
    with pytest.raises(DataError, match="20 x 20 pixels are more than 398"):
        read_picture(data)


@pytest.mark.parametrize("form", ["grey", "4:2:0", "progressive"])
def test_a_file_cut_anywhere_is_refused_or_read_as_pillow_reads_it(form):
    channels, options = FORMS[form]
    data = written(channels, (16, 24), **options)
    for end in range(len(data)):
        same(data[:end])
    assert jpeg.decoded(data[: len(data) * 3 // 4], None, NO_BOUND) is None
    same(data + b"more", wanted=True)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(FORMS)), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255))))
def test_a_damaged_file_is_refused_or_read_as_pillow_reads_it(form, changes):
    channels, options = FORMS[form]
    data = bytearray(written(channels, (16, 24), **options))
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value
    same(bytes(data))


def same(data: bytes, wanted: bool = False) -> None:
    """What comes out is Pillow's, or a DataError."""
    quick = jpeg.decoded(data, None, 1e6)
    if quick is not None:
        np.testing.assert_array_equal(quick.transpose(2, 0, 1), slowly(data, None))
    elif wanted:
        raise AssertionError("expected the quick way")
    else:
        with suppress(DataError):
            read_picture(data)


def test_from_a_path_as_from_bytes(tmp_path):
    path = tmp_path / "a.jpg"
    for size in ((30, 20), (700, 900)):  # more than is read at once
        data = written(3, size, quality=100)
        path.write_bytes(data)
        assert pictures._jpeg(path, "a.jpg") == data
        np.testing.assert_array_equal(read_picture(path), read_picture(data))
    path.write_bytes(data[:-2000])
    with pytest.raises(DataError, match=r"a\.jpg: cannot be read as a picture"):
        read_picture(path)


def test_several_threads_read_at_once():
    data = [written(3, (40 + k, 50)) for k in range(8)]
    wanted = [read_picture(one) for one in data]
    wrong: list[int] = []

    def work() -> None:
        for _ in range(50):
            for k, one in enumerate(data):
                if not np.array_equal(read_picture(one), wanted[k]):
                    wrong.append(k)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_real_files():
    found = sorted(Path(shared_data("medical-mnist")).rglob("*.jpeg"))[::50]
    photos = sorted(Path(shared_data("photos")).glob("*.jpg"))
    for path in [*found, *photos]:
        np.testing.assert_array_equal(read_picture(path), slowly(path.read_bytes(), None))
