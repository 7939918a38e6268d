"""Files that are damaged, lie about themselves, or hold what must not be told."""

from __future__ import annotations

import io
import logging
import random
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

from chainrule.data import DicomFile, dicom_quiet, is_dicom
from chainrule.data.dicom_source import Reader, inflated
from chainrule.errors import DataError
from tests.data import test_dicom_compressed as compressed
from tests.data.dicom_files import file, inflated_by, packed, said, scan

GREY = (np.arange(48 * 32, dtype=np.int16) - 700).reshape(48, 32)


def pictures(data: bytes) -> list[np.ndarray]:
    return list(DicomFile.open(data, "a.dcm").images())


def told_of(data: bytes) -> str:
    """Give what is said of a file, "" if it is read."""
    try:
        pictures(data)
    except DataError as error:
        return str(error)
    return ""


def refusal(data: bytes) -> str:
    with pytest.raises(DataError) as error:
        pictures(data)
    assert error.value.__cause__ is None
    assert error.value.__context__ is None  # a traceback would show what pydicom said
    text = str(error.value)
    assert text.startswith("a.dcm: ")
    assert not said(text)
    return text


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("88.33", "a structured report"),
        ("88.59", "a selection of other objects"),
        ("481.3", "radiotherapy structures"),
        ("481.5", "a radiotherapy plan or record"),
        ("104.1", "an encapsulated document"),
        ("11.1", "a presentation state"),
        ("9.1.1", "a waveform"),
        ("66.1", "raw data or a registration"),
    ],
)
def test_files_without_pixels_say_what_they_hold(kind: str, told: str) -> None:
    data = file(None, SOPClassUID="1.2.840.10008.5.1.4.1.1." + kind)
    assert refusal(data) == f"a.dcm: holds {told} and no pixels; remove it from the pictures"


def test_files_without_pixels_of_no_kind() -> None:
    assert refusal(file(None)) == "a.dcm: holds no pixels; remove it from the pictures"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "not a DICOM file but an empty file"),
        (b"GIF89a", "not a DICOM file: it has no DICM"),
        (bytes(400), "not a DICOM file: it has no DICM"),
        (bytes(128) + b"DICM", "holds no pixels"),
        (bytes(128) + b"DICM" + bytes(3), "holds no pixels"),
    ],
)
def test_files_that_are_none(data: bytes, told: str) -> None:
    assert told in refusal(data)


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ({"Rows": 60000, "Columns": 60000}, "a frame has more than"),
        ({"Rows": 0}, "has no rows or no columns"),
        ({"Rows": None}, "its header has no Rows, without which"),
        ({"Rows": 49}, "is cut short: it holds 3,072 bytes of pixels, fewer than"),
        ({"NumberOfFrames": 2}, "is cut short"),
        ({"NumberOfFrames": 2**31 - 1}, "expected 1 to 16,777,216 frames"),
        ({"NumberOfFrames": -3}, "expected 1 to 16,777,216 frames"),
        ({"BitsAllocated": 12}, "expected 1, 8, 16, 32, 64 as BitsAllocated"),
        ({"BitsStored": 17}, "expected 1 to BitsAllocated as BitsStored"),
        ({"BitsStored": 0}, "expected 1 to BitsAllocated as BitsStored"),
        ({"SamplesPerPixel": 4}, "expected 1 or 3 samples per pixel"),
        ({"SamplesPerPixel": 3}, "with 3 samples per pixel its PhotometricInterpretation"),
        ({"PhotometricInterpretation": "CMYK"}, "with 1 samples per pixel its Photometric"),
        ({"PhotometricInterpretation": None}, "with 1 samples per pixel its Photometric"),
        ({"Rows": [3, 4]}, "expected one whole number as Rows"),
        ({"RescaleSlope": 1e308, "RescaleIntercept": 0}, ""),
    ],
)
def test_headers_that_cannot_be(tags: dict[str, object], told: str) -> None:
    if told:
        assert told in refusal(file(GREY, **tags))
    else:
        assert np.isfinite(DicomFile.open(file(GREY, **tags)).image()).all()


def test_plain_pixels_in_fragments() -> None:
    data = packed(scan(GREY), [GREY.tobytes()], RLELossless)
    plain = data.replace(RLELossless.encode() + b"\0", ExplicitVRLittleEndian.encode() + b"\0")
    assert len(plain) == len(data)
    assert "its transfer syntax says that they are plain" in refusal(plain)
    raw = file(GREY).replace(ExplicitVRLittleEndian.encode() + b"\0", RLELossless.encode() + b"\0")
    assert "is damaged within its compressed pixels" in refusal(raw)


def test_a_deflated_file_is_no_bomb() -> None:
    good = inflated_by(1000)
    assert DicomFile.open(good).stored().shape == (2, 2)
    bomb = inflated_by(300 << 20)
    assert len(bomb) < 1 << 20
    assert "is deflated and grows to more than 268,435,456 bytes" in refusal(bomb)
    assert "is deflated and cut short" in refusal(good[:-9])
    start = 144 + struct.unpack_from("<I", good, 140)[0]
    assert "is deflated and damaged" in refusal(good[:start] + b"\xff" * 40)
    with pytest.raises(DataError, match="grows to more than 99 bytes"):
        inflated(zlib.compress(bytes(100), wbits=-15), "a.dcm", 99)
    assert inflated(zlib.compress(bytes(99), wbits=-15), "a.dcm", 99) == bytes(99)


@pytest.mark.parametrize("kind", ["jpeg", "RLE", "JPEG SV1", "JPEG 14 colour"])
def test_a_stream_is_too_short_for_its_size(kind: str) -> None:
    """Header and stream agree on a size for which not even the shortest codes would suffice."""
    data = bytearray(samples()[kind])
    for tag in (b"\x28\0\x10\0US\2\0", b"\x28\0\x11\0US\2\0"):
        struct.pack_into("<H", data, data.index(tag) + 8, 13_000)
    for marker in (b"\xff\xc0\0", b"\xff\xc3\0"):
        at = data.find(marker, data.rindex(b"\xe0\x7f"))
        while at >= 0:
            struct.pack_into(">2H", data, at + 5, 13_000, 13_000)
            at = data.find(marker, at + 9)
    assert "stream is too short for its size" in refusal(bytes(data))


def test_a_header_without_end_is_left() -> None:
    reader = Reader(io.BytesIO(bytes(10)), 10, "a.dcm")

    def endless() -> None:
        for _ in range(4_000_000):
            reader.seek(0)
            reader.read(2)

    with pytest.raises(DataError, match=r"a.dcm: its header is larger than that of any picture"):
        endless()
    # a length that is claimed is not held
    assert Reader(io.BytesIO(bytes(10)), 10, "a.dcm").read(1 << 40) == bytes(10)


def nested(levels: int) -> bytes:
    """Give a data set of sequences within sequences, none of which ends."""
    head = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)
    return (head + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)) * levels


@pytest.mark.parametrize("levels", [10, 300, 100_000])
def test_sequences_within_sequences(levels: int) -> None:
    data = file(GREY)
    at = data.index(b"\x08\0\x16\0UI")
    begin = time.monotonic()
    refusal(data[:at] + nested(levels) + data[at:])
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize(
    "data",
    [
        file(GREY),
        file(GREY, ImplicitVRLittleEndian),
        file(GREY, ExplicitVRBigEndian),
        compressed.LOSSLESS["RLE"](GREY),
        compressed.LOSSLESS["JPEG-LS"](GREY),
        compressed.LOSSLESS["JPEG SV1"](GREY),
        packed(
            scan(GREY.astype(np.uint8)),
            [compressed.jpeg_of(GREY.astype(np.uint8))],
            JPEGBaseline8Bit,
        ),
    ],
)
def test_files_cut_anywhere(data: bytes) -> None:
    rng = random.Random(0)
    begin = data.rindex(b"\xe0\x7f") if b"\xe0\x7f" in data else len(data) - 3100
    for cut in (*rng.sample(range(len(data) - 2), 60), begin, begin + 8, len(data) - 9):
        assert refusal(data[:cut]), cut


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Collect what is warned of and logged, by whomever."""
    texts: list[str] = []
    caplog.set_level(logging.DEBUG)
    for name in ("pydicom", "pylibjpeg", "openjpeg"):
        caplog.set_level(logging.DEBUG, name)
    pydicom.config.debug(True, False)  # when it writes down every element
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield texts
            texts += [str(one.message) for one in caught]
        records = caplog.get_records("call")
        texts += [record.getMessage() for record in records]
        texts += [str(record.exc_info) for record in records if record.exc_info]
    finally:
        pydicom.config.debug(False, False)
    assert not [text for text in texts if said(text) or "Invalid value" in text]


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Change some bytes, mostly of the header, or cut the file."""
    changed = bytearray(data)
    begin = max(changed.rfind(b"\xe0\x7f\x10\0"), 0)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        low, high = rng.choice(
            ((0, len(changed)), (128, min(len(changed), 2500)), (begin, begin + 250))
        )
        at = min(rng.randrange(low, max(high, low + 1)), len(changed) - 1)
        changed[at] = rng.choice((0, 255, rng.randrange(256), changed[at] ^ 1 << rng.randrange(8)))
    if rng.random() < 0.1:
        del changed[rng.randrange(len(changed)) :]
    return bytes(changed)


def samples() -> dict[str, bytes]:
    """Make a small file of each kind that is read."""
    volume = np.stack([GREY, GREY + 1])
    found = {
        "implicit": file(GREY, ImplicitVRLittleEndian, WindowCenter=4, WindowWidth=9),
        "big": file(GREY, ExplicitVRBigEndian),
        "deflated": file(GREY, DeflatedExplicitVRLittleEndian),
        "frames": file(volume, RescaleSlope=2, RescaleIntercept=1),
        "colour": file(compressed.RGB),
        "jpeg": packed(
            scan(compressed.RGB, PhotometricInterpretation="YBR_FULL_422"),
            [compressed.jpeg_of(compressed.RGB)],
            JPEGBaseline8Bit,
        ),
    }
    for kind, make in compressed.LOSSLESS.items():
        found[kind] = make(volume)
        found[kind + " colour"] = make(compressed.RGB)
    item = Dataset()
    item.LUTDescriptor = [4, -5, 16]
    item.add_new("LUTData", "OW", struct.pack("<4H", 1, 500, 400, 900))
    found["table"] = file(GREY, VOILUTSequence=[item])
    return found


def test_nothing_of_a_header_is_told(heard: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(5)
    for data in samples().values():
        found = DicomFile.open(data, "a.dcm")
        list(found.images())
        assert found.tag("StudyDate") == "20191303"
        for _ in range(25):
            assert not said(told_of(damaged(data, rng)))
    out, err = capfd.readouterr()
    assert not said(out)
    assert not said(err)


def test_silence_is_of_this_thread_alone(heard: list[str]) -> None:
    """Threads that leave `catch_warnings` take back the filters of others, but not this."""
    data, stop = file(GREY), threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            with warnings.catch_warnings():
                warnings.simplefilter("always")

    helper = threading.Thread(target=disturb)
    helper.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: DicomFile.open(data).tag("StudyDate"), range(200)))
    finally:
        stop.set()
        helper.join()
    assert not dicom_quiet._reading.depth


def test_pydicom_warns_others_as_ever() -> None:
    data = file(GREY)
    DicomFile.open(data)
    with pytest.warns(UserWarning, match="Invalid value for VR UI"):
        _ = pydicom.dcmread(io.BytesIO(data)).StudyInstanceUID


def test_warnings_that_are_errors_change_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = DicomFile.open(file(GREY))
        assert found.study
        assert np.array_equal(found.stored(), GREY)


def test_pydicom_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = file(GREY)
    dicom_quiet._loaded.cache_clear()
    monkeypatch.setitem(sys.modules, "pydicom.filereader", None)
    try:
        assert is_dicom(data)  # which its first bytes tell
        told = "a.dcm: a DICOM file needs pydicom, which is not installed; "
        with pytest.raises(DataError) as error:
            DicomFile.open(data, "a.dcm")
        assert str(error.value) == told + "pip install chainrule[dicom]"
    finally:
        dicom_quiet._loaded.cache_clear()


def test_nothing_is_loaded_before_it_is_used() -> None:
    code = (
        "import sys, chainrule.data\n"
        "assert not {'pydicom', 'gdcm', 'PIL', 'openjpeg', 'jpeg_ls'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


FUZZ = """
import faulthandler, random, resource, sys
from chainrule.data import DicomFile
from chainrule.errors import DataError
from tests.data.test_dicom_hostile import damaged, samples
seed, count = int(sys.argv[1]), int(sys.argv[2])
made = list(samples().values())
for data in made:
    list(DicomFile.open(data).images())  # libraries are loaded
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
rng, read = random.Random(seed), 0
for number in range(count):
    faulthandler.dump_traceback_later(15, exit=True)  # what takes so long hangs
    try:
        found = DicomFile.open(damaged(made[number % len(made)], rng), "a.dcm")
        for frame, picture in zip(range(5), found.images()):
            assert picture.dtype == "float32" and picture.min() >= 0 and picture.max() <= 1
        read += 1
    except DataError as error:
        assert str(error).startswith("a.dcm: "), error
    faulthandler.cancel_dump_traceback_later()
print(count, read)
"""


def fuzz(seed: int, count: int) -> None:
    """Read damaged files in a process of its own, whose memory and time are bounded."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", FUZZ, str(seed), str(count)],
        capture_output=True,
        text=True,
        timeout=1200,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not said(done.stderr)
    assert not said(done.stdout)
    tried, read = map(int, done.stdout.split())
    assert tried == count
    assert count / 10 < read < count * 9 / 10  # both happened


def test_damaged_files_are_read_or_refused() -> None:
    fuzz(1, 400)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_many_damaged_files_are_read_or_refused(seed: int) -> None:
    fuzz(seed, 6000)
