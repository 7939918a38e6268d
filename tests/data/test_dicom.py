from __future__ import annotations

import hashlib
import json
import os
import struct
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from chainrule.data import DICOM_ENDINGS, DicomFile, is_dicom
from chainrule.errors import DataError
from tests.data.dicom_files import SECRETS, file, oracle, scan, written
from tests.data.places import shared_data

SYNTAXES = [
    *(ImplicitVRLittleEndian, ExplicitVRLittleEndian),
    *(ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian),
]
RAMP = np.arange(35, dtype=np.int16).reshape(5, 7) * 1000 - 15000  # odd sizes, both signs


def little(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(pixels.dtype.newbyteorder("<"))


def test_real_files_hold_what_they_are_known_to_hold() -> None:
    folder = shared_data("dicom")
    known = json.loads((folder / "expected.json").read_text())
    assert len(known) == 10
    for name, facts in known.items():
        found = DicomFile.open(folder / name)
        pixels = little(found.stored())
        if "shape" not in facts or facts["shape"] is None:  # JPEG-LS, of the same pixels as this
            facts = {**facts, **known["MR_small.dcm"]}
        told = {
            "modality": found.modality,
            "rows": found.rows,
            "columns": found.columns,
            "photometric": found.photometric,
            "shape": list(pixels.shape),
            "dtype": pixels.dtype.str,
            "min": int(pixels.min()),
            "max": int(pixels.max()),
            "sum": int(pixels.sum(dtype=np.int64)),
            "md5_little_endian_bytes": hashlib.md5(pixels.tobytes()).hexdigest(),
        }
        assert told == {key: facts[key] for key in told}, name
        assert found.channels == facts["samples_per_pixel"]
        assert found.secondary_capture == facts["sop_class"].startswith("1.2.840.10008.5.1.4.1.1.7")
        for data in (found.image(), *found.images()):
            assert data.shape == (found.channels, found.rows, found.columns)
            assert data.dtype == np.float32
            assert data.flags.c_contiguous
            assert 0 <= data.min() < data.max() <= 1
        assert is_dicom(folder / name)
        assert is_dicom((folder / name).read_bytes())


def test_one_slice_in_five_encodings_is_one_picture() -> None:
    folder = shared_data("dicom")
    names = ["", "_RLE", "_bigendian", "_implicit", "_jpeg_ls_lossless"]
    pictures = [DicomFile.open(folder / f"MR_small{name}.dcm").image() for name in names]
    for other in pictures[1:]:
        assert np.array_equal(pictures[0], other)
    # its window: 600 around 1600 would be darker than the whole range of the values
    values = DicomFile.open(folder / "MR_small.dcm").values()
    assert np.array_equal(values, DicomFile.open(folder / "MR_small.dcm").stored())


def test_hounsfield_units() -> None:
    found = DicomFile.open(shared_data("dicom") / "CT_small.dcm")
    assert np.array_equal(found.values(), found.stored() - 1024.0)
    assert found.values().dtype == np.float64


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4"])
def test_plain_pixels_of_every_depth(syntax: str, dtype: str) -> None:
    rng = np.random.default_rng(4)
    info = np.iinfo(dtype)
    for shape in [(3, 5), (2, 3, 5), (1, 1)]:
        pixels = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
        found = DicomFile.open(file(pixels, syntax))
        frames = [found.stored(number) for number in range(found.frames)]
        assert np.array_equal(np.stack(frames).reshape(shape), pixels)
        assert frames[0].dtype == np.dtype(dtype)
        assert np.array_equal(np.stack(frames).reshape(shape), oracle(file(pixels, syntax)))


def test_bytes_kept_as_words_of_the_other_order() -> None:
    """Big-endian OW of 8 bits has its bytes in pairs, also where a frame begins within one."""
    pixels = np.arange(45, dtype=np.uint8).reshape(3, 3, 5)
    made = scan(pixels, ExplicitVRBigEndian)
    data = made.PixelData
    made.PixelData = np.frombuffer(data, np.uint16).byteswap().tobytes()
    made["PixelData"].VR = "OW"
    whole = written(made)
    found = DicomFile.open(whole)
    assert np.array_equal(np.stack([found.stored(number) for number in range(3)]), pixels)
    assert np.array_equal(oracle(whole), pixels)


@pytest.mark.parametrize("signed", [0, 1])
def test_bits_that_are_not_used_are_cleared_or_take_the_sign(signed: int) -> None:
    stored = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    noisy = stored | 0xA000  # an overlay in the highest bits, as old machines have it
    data = file(noisy, BitsStored=12, HighBit=11, PixelRepresentation=signed)
    found = DicomFile.open(data).stored()
    wanted = np.where(stored >= 2048, stored.astype(int) - 4096, stored) if signed else stored
    assert np.array_equal(found, wanted)
    assert found.dtype == (np.int16 if signed else np.uint16)
    assert np.array_equal(found, oracle(data))


@pytest.mark.parametrize("shape", [(8, 8), (3, 5), (1, 15), (7, 1)])
def test_single_bits_whose_frames_begin_within_bytes(shape: tuple[int, int]) -> None:
    bits = np.random.default_rng(1).integers(0, 2, (9, *shape)).astype(np.uint8)
    made = scan(bits, BitsAllocated=1, BitsStored=1, HighBit=0)
    data = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    made.PixelData = data + b"\0" * (len(data) % 2)
    found = DicomFile.open(written(made))
    assert found.frames == 9
    assert np.array_equal(np.stack([found.stored(number) for number in range(9)]), bits)
    assert set(np.unique(found.image(3))) <= {0.0, 1.0}


@pytest.mark.parametrize("planar", [0, 1])
def test_colours_in_planes_or_not(planar: int) -> None:
    pixels = np.arange(2 * 3 * 5 * 3, dtype=np.uint8).reshape(2, 3, 5, 3)
    made = scan(pixels, PlanarConfiguration=planar)
    if planar:
        made.PixelData = pixels.transpose(0, 3, 1, 2).tobytes()
    found = DicomFile.open(written(made))
    assert found.channels == 3
    assert np.array_equal(np.stack([found.stored(0), found.stored(1)]), pixels)
    assert np.allclose(found.image(1), pixels[1].transpose(2, 0, 1) / 255, atol=1e-7)


def test_colours_of_16_bits() -> None:
    pixels = np.array([[[0, 4095, 2000]]], np.uint16)
    found = DicomFile.open(file(pixels, BitsStored=12, HighBit=11))
    assert np.allclose(found.image().ravel(), [0, 1, 2000 / 4095])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_pixels_that_are_floats(dtype: str) -> None:
    pixels = np.array([[-2.5, 0, 1.5], [np.nan, np.inf, -1.5]], dtype)
    for syntax in SYNTAXES[:3]:
        found = DicomFile.open(file(pixels, syntax, Rows=2))
        assert np.array_equal(found.stored(), pixels, equal_nan=True)
        assert found.stored().dtype == np.dtype(dtype)
        # from the smallest to the largest that is finite; no number at all is black
        assert np.allclose(found.image(), [[[0, 0.625, 1], [0, 1, 0.25]]])


def test_facts_of_a_header(tmp_path: Path) -> None:
    data = file(RAMP, BurnedInAnnotation="YES", ImageType=["DERIVED", "SECONDARY", "AXIAL"])
    path = tmp_path / "a.dcm"
    path.write_bytes(data)
    for found in (DicomFile.open(data), DicomFile.open(path), DicomFile.open(str(path))):
        assert found.patient == SECRETS["PatientID"]
        assert found.study == SECRETS["StudyInstanceUID"]
        assert found.burned_in
        assert not found.secondary_capture  # a computed slice is no capture of a screen
        assert found.tag("ImageType") == "DERIVED\\SECONDARY\\AXIAL"
        assert found.tag("PatientName") == SECRETS["PatientName"]
        assert found.tag("Rows") == "5"
        assert found.tag("SliceThickness") == ""
    none = DicomFile.open(file(RAMP, PatientID=None, StudyInstanceUID=None, Modality=None))
    assert (none.patient, none.study, none.modality, none.burned_in) == ("", "", "", False)


@pytest.mark.parametrize("kind", ["7", "7.1", "7.2", "7.3", "7.4"])
def test_secondary_captures(kind: str) -> None:
    uid = "1.2.840.10008.5.1.4.1.1."
    assert DicomFile.open(file(RAMP, SOPClassUID=uid + kind)).secondary_capture
    assert not DicomFile.open(file(RAMP, SOPClassUID=uid + "77.1.1")).secondary_capture
    for said in ("SECONDARY", "PRIMARY"):  # where there is no class, this tells
        found = DicomFile.open(without_class(file(RAMP, ImageType=["DERIVED", said])))
        assert found.secondary_capture == (said == "SECONDARY")


def without_class(data: bytes) -> bytes:
    """Take the SOP class out of a file of explicit types."""
    at = data.index(b"\x08\0\x16\0UI")
    (length,) = struct.unpack_from("<H", data, at + 6)
    return data[:at] + data[at + 8 + length :]


def test_tags_that_are_none() -> None:
    found = DicomFile.open(file(RAMP), "a.dcm")
    with pytest.raises(DataError, match=r"a.dcm: DICOM has no element of the name 'Nonsense'"):
        found.tag("Nonsense")
    made = scan(RAMP)
    made.ReferencedStudySequence = [scan(None)]
    made.EncapsulatedDocument = b"12"
    found = DicomFile.open(written(made), "a.dcm")
    for keyword in ("ReferencedStudySequence", "EncapsulatedDocument"):
        with pytest.raises(DataError, match=f"a.dcm: {keyword} is no text"):
            found.tag(keyword)


def test_what_is_dicom(tmp_path: Path) -> None:
    data = file(RAMP)
    bare = file(RAMP, ImplicitVRLittleEndian)
    bare = bare[144 + struct.unpack_from("<I", bare, 140)[0] :]
    meta = data[132:]
    assert is_dicom(data)
    assert not is_dicom(bare)  # bytes alone have no name
    for number, ending in enumerate((*DICOM_ENDINGS, ".DCM", ".IMA")):
        for content in (data, bare, meta):
            path = tmp_path / f"{number}{ending}"
            path.write_bytes(content)
            assert is_dicom(path)
            assert np.array_equal(DicomFile.open(path).stored(), RAMP)
    for name, content in [
        ("a.bin", bare),
        ("b.dcm", b""),
        ("c.dcm", b"\x89PNG\r\n\x1a\n" + bytes(200)),
        ("d.dcm", b"\x08\0\x05\0" + bytes(3000)),
        ("e.dcm", b"\x08\0"),
        ("f.dcm", b"some text, longer than the preamble of a file would be" * 9),
    ]:
        (tmp_path / name).write_bytes(content)
        assert not is_dicom(tmp_path / name)
    assert not is_dicom(tmp_path / "absent.dcm")
    assert not is_dicom(tmp_path)
    (tmp_path / "named_otherwise").write_bytes(data)
    assert is_dicom(tmp_path / "named_otherwise")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.dcm")
    assert not is_dicom(tmp_path / "pipe.dcm")
    with pytest.raises(DataError, match=r"pipe.dcm: is not a regular file"):
        DicomFile.open(tmp_path / "pipe.dcm")


def test_frames_that_are_not_there() -> None:
    found = DicomFile.open(file(np.zeros((2, 3, 4), np.uint8)), "a.dcm")
    for number in (-1, 2, 10**9):
        with pytest.raises(DataError, match=r"a.dcm: expected a frame of 0 to 1, got"):
            found.image(number)


def test_a_long_file_is_read_frame_by_frame(tmp_path: Path) -> None:
    frames, rows = 200, 128
    pixels = np.arange(frames, dtype=np.uint16)[:, None, None] * np.ones((1, rows, rows), np.uint16)
    path = tmp_path / "long.dcm"
    path.write_bytes(file(pixels))
    size = path.stat().st_size
    found = DicomFile.open(path)
    next(iter(found.images()))  # loads what is loaded once
    tracemalloc.start()
    found = DicomFile.open(path)
    for number, frame in enumerate(found.images()):
        assert frame.shape == (1, rows, rows)
        assert found.stored(number)[0, 0] == number
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < size / 4, (most, size)


def test_a_file_that_is_changed_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(file(np.zeros((9, 64, 64), np.uint16)))
    found = DicomFile.open(path)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(DataError, match="has become shorter"):
        found.stored(8)
    path.unlink()
    with pytest.raises(DataError, match="no such file"):
        found.stored(0)


def test_several_threads_at_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    volumes = [rng.integers(-900, 900, (6, 32, 40)).astype(np.int16) for _ in range(4)]
    files = []
    for number, pixels in enumerate(volumes):
        made = scan(pixels, WindowCenter=10, WindowWidth=900)
        if number % 2:
            made.compress("1.2.840.10008.1.2.5", encoding_plugin="pydicom")
        files.append(written(made))
    shared = [DicomFile.open(data) for data in files]
    alone = [[frame.copy() for frame in found.images()] for found in shared]
    fresh = [DicomFile.open(data) for data in files]  # nothing of them was asked for yet

    def work(turn: int) -> bool:
        number, frame = turn % 4, turn % 6
        opened = DicomFile.open(files[number])
        same = np.array_equal(opened.image(frame), alone[number][frame])
        also = np.array_equal(fresh[number].image(frame), alone[number][frame])
        exact = np.array_equal(fresh[number].stored(frame), volumes[number][frame])
        return same and also and exact and fresh[number].tag("PatientID") == "SECRETID4711"

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(240)))
