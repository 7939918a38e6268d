from __future__ import annotations

import gzip
import hashlib
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from chainrule.data import read_idx
from chainrule.data.idx import read_idx_file
from chainrule.errors import DataError

TYPES = {8: "u1", 9: "i1", 11: "i2", 12: "i4", 13: "f4", 14: "f8"}


def encode(array: np.ndarray, code: int) -> bytes:
    head = struct.pack(">BBBB", 0, 0, code, array.ndim)
    head += struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("code", TYPES)
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (), (0, 3), (1, 1, 1, 1)])
@pytest.mark.parametrize("packed", [False, True])
def test_every_type_and_shape_is_read(
    tmp_path: Path, code: int, shape: tuple[int, ...], packed: bool
) -> None:
    array = (np.arange(int(np.prod(shape))) * 3 - 2).astype(TYPES[code]).reshape(shape)
    content = encode(array, code)
    path = tmp_path / "file"  # no .gz: whether it is packed is seen from the content
    path.write_bytes(gzip.compress(content) if packed else content)
    found = read_idx_file(path)
    np.testing.assert_array_equal(found.array, array)
    assert found.array.dtype == array.dtype
    assert found.array.dtype.isnative
    assert found.array.shape == shape
    assert found.array.flags.writeable
    assert found.md5 == hashlib.md5(content).hexdigest()


def refused(path: Path, *parts: str, magic: int | None = None) -> None:
    with pytest.raises(DataError) as caught:
        read_idx_file(path, magic)
    for part in (str(path), *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
def test_wrong_lengths_give_both_numbers(tmp_path: Path, packed: bool) -> None:
    content = encode(np.zeros((10, 28, 28), np.uint8), 8)
    path = tmp_path / "images.gz"

    def write(data: bytes) -> None:
        path.write_bytes(gzip.compress(data) if packed else data)

    write(content[:-1])
    refused(path, "expected 7,856 bytes", "10 x 28 x 28", "found 7,855: 1 are missing")
    write(content[:16])
    refused(path, "found 16: 7,840 are missing")
    write(content + b"abc")
    refused(path, "found 7,859: 3 too many")
    write(content + bytes(3_000_000))
    refused(path, "found 3,007,856: 3,000,000 too many")
    write(content[:10])
    refused(path, "16 bytes of header for 3 dimensions", "found 10")


def test_what_is_no_idx_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"")
    refused(path, "expected an IDX file", "an empty file")
    path.write_bytes(b"\0\0")
    refused(path, "found 0, 0")
    path.write_bytes(b"\x89PNG....")
    refused(path, "found 137, 80, 78, 71")
    path.write_bytes(bytes([0, 0, 10, 1, 0, 0, 0, 0]))
    refused(path, "0, 0, 10, 1")
    path.write_bytes(bytes([0, 0, 8, 200]) + bytes(800))
    refused(path, "at most 32 dimensions, found 200")
    refused(tmp_path / "absent", "no such file")
    refused(tmp_path, "not a regular file")


def test_magic_number_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(encode(np.zeros(4, np.uint8), 8))
    refused(
        path,
        "expected magic number 2051 (3 dimensions of uint8)",
        "found 2049 (1 dimension of uint8)",
        magic=2051,
    )


def test_damaged_gzip(tmp_path: Path) -> None:
    packed = gzip.compress(encode(np.arange(1000, dtype=np.int32), 12))
    path = tmp_path / "x.gz"
    path.write_bytes(packed[: len(packed) // 2])
    refused(path, "damaged gzip data", f"{len(packed) // 2:,} bytes")
    wrong = bytearray(packed)
    wrong[-6] ^= 0xFF  # the checksum at the end
    path.write_bytes(bytes(wrong))
    refused(path, "damaged gzip data")
    path.write_bytes(packed + b"garbage")
    refused(path, "damaged gzip data")
    path.write_bytes(packed[:2])
    refused(path, "damaged gzip data")


@pytest.mark.parametrize("packed", [False, True])
def test_a_lying_header_costs_no_memory(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "liar"
    content = struct.pack(">BBBBIII", 0, 0, 14, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1) + bytes(100)
    path.write_bytes(gzip.compress(content) if packed else content)
    tracemalloc.start()
    refused(path, f"expected {16 + 8 * (2**32 - 1) ** 3:,} bytes", "found 116")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000


def test_read_idx_gives_the_array(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(encode(np.array([7, 2, 1], np.uint8), 8))
    assert read_idx(os.fspath(path)).tolist() == [7, 2, 1]
