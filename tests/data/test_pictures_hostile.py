"""Files that say of themselves what is not true, to take time or memory."""

from __future__ import annotations

import io
import struct
import time

import numpy as np
import pytest
from PIL import Image

from chainrule.data.pictures import opened, read_header, read_picture
from chainrule.errors import DataError


def tiff(tags: dict[int, int], size: int = 400) -> bytes:
    """Write a TIFF file of one page with these tags, each one number, and bytes of 0x80 behind."""
    found = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return head + found + struct.pack("<I", 0) + b"\x80" * size


def pages(count: int) -> bytes:
    """Write a TIFF file of so many pages, all of the same pixels."""
    stream = io.BytesIO()
    Image.new("L", (8, 8)).save(stream, "TIFF")
    data = bytearray(stream.getvalue())
    (start,) = struct.unpack_from("<I", data, 4)
    (tags,) = struct.unpack_from("<H", data, start)
    table = bytes(data[start : start + 2 + 12 * tags])
    after = start + len(table)
    for _ in range(count - 1):
        struct.pack_into("<I", data, after, len(data))
        after = len(data) + len(table)
        data += table + bytes(4)
    return bytes(data)


@pytest.mark.parametrize(("count", "said"), [(2, "2 pages"), (99, "99 pages"), (40_000, "100 or")])
def test_pages_are_counted_up_to_some(count: int, said: str) -> None:
    data = pages(count)
    begin = time.monotonic()
    with pytest.raises(DataError, match=f"a file of {said}"):
        read_picture(data)
    # all of them took a minute, and four times as long for twice as many
    assert time.monotonic() - begin < 10


def test_a_damaged_second_page_is_told_as_any_damage() -> None:
    whole = pages(2)
    data = bytearray(whole)
    (start,) = struct.unpack_from("<I", data, 4)
    (tags,) = struct.unpack_from("<H", data, start)
    (second,) = struct.unpack_from("<I", data, start + 2 + 12 * tags)
    struct.pack_into("<H", data, second + 2, 65_000)  # where its width was
    for read in (read_picture, read_header):
        with pytest.raises(DataError, match=r"picture: cannot be read as a picture \(Missing dim"):
            read(bytes(data))


def test_tiles_may_not_be_far_larger_than_the_picture() -> None:
    tags = {256: 8, 257: 8, 258: 8, 259: 5, 262: 1, 277: 1, 324: 200, 325: 64}
    data = tiff({**tags, 322: 20_000, 323: 20_000})
    with pytest.raises(DataError, match="its tiles have 400,000,000 pixels each"):
        read_picture(data, name="lie.tif")  # libtiff would have held and filled 400 MB
    # tiles that a program may write are tried, and found to be damaged
    with pytest.raises(DataError, match="decoder error"):
        read_picture(tiff({**tags, 322: 1024, 323: 1024}))


def test_a_bound_of_pixels_can_be_asked_for() -> None:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(stream, "PNG")
    with opened(stream.getvalue(), "a.png", 1200) as image:
        assert image.size == (40, 30)
    said = "a.png: expected at most 1,199 pixels; 40 x 30 are more; scale it down first"
    with pytest.raises(DataError, match=said), opened(stream.getvalue(), "a.png", 1199):
        pass
