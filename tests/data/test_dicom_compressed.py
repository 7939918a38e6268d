from __future__ import annotations

import io
import struct
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate, encapsulate_extended, get_frame
from pydicom.uid import (
    JPEG2000,
    MPEG2MPML,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from chainrule.data import DicomFile, dicom_decoders
from chainrule.data.dicom_streams import Damaged, jpeg, jpeg2000, lossless
from chainrule.errors import DataError
from tests.data.dicom_files import again, file, oracle, packed, scan, written

ROWS, COLUMNS = np.mgrid[:40, :56]
RGB = np.stack((COLUMNS * 4, ROWS * 6, COLUMNS + ROWS), axis=-1).astype(np.uint8)
DEEP = (COLUMNS * 300 + ROWS * 17 - 9000).astype(np.int16)
RAW12 = ((COLUMNS * 73 + ROWS) % 4096).astype(np.uint16)


def by_gdcm(data: bytes, process: str) -> bytes:
    """Compress a file's pixels as lossless JPEG, by GDCM."""
    gdcm: Any = pytest.importorskip("gdcm")
    with tempfile.TemporaryDirectory() as folder:
        source, target = str(Path(folder) / "a.dcm"), str(Path(folder) / "b.dcm")
        Path(source).write_bytes(data)
        reader = gdcm.ImageReader()
        reader.SetFileName(source)
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        kind = getattr(gdcm.TransferSyntax, process)
        change.SetTransferSyntax(gdcm.TransferSyntax(kind))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(target)
        assert writer.Write()
        return Path(target).read_bytes()


def by_pydicom(syntax: str, plugin: str, **how: Any) -> Callable[..., bytes]:
    """Compress by pydicom; its choice of an encoder may be GDCM's, which may end the program."""

    def made(pixels: np.ndarray, **tags: Any) -> bytes:
        found = scan(pixels, **tags)
        found.compress(syntax, encoding_plugin=plugin, **how)
        return written(found)

    return made


def stacked(data: bytes) -> np.ndarray:
    found = DicomFile.open(data)
    frames = [found.stored(number) for number in range(found.frames)]
    return np.stack(frames) if len(frames) > 1 else frames[0]


TWELVE = {"BitsStored": 12, "HighBit": 11}
LOSSLESS: dict[str, Callable[..., bytes]] = {
    "RLE": by_pydicom(RLELossless, "pydicom"),
    "JPEG 2000": by_pydicom(JPEG2000Lossless, "pylibjpeg"),
    "JPEG-LS": by_pydicom(JPEGLSLossless, "pyjpegls"),
    "JPEG SV1": lambda pixels, **tags: by_gdcm(file(pixels, **tags), "JPEGLosslessProcess14_1"),
    "JPEG 14": lambda pixels, **tags: by_gdcm(file(pixels, **tags), "JPEGLosslessProcess14"),
}


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize(
    ("pixels", "tags"),
    [
        *((DEEP, {}), (DEEP.view(np.uint16), {}), (RAW12, TWELVE)),
        *((RGB, {}), (RGB[..., 0].copy(), {}), (RGB[:37, :46].copy(), {})),
        (np.stack([DEEP, DEEP[::-1], DEEP + 1]), {}),
        (np.stack([RGB, RGB[::-1]]), {}),
    ],
)
def test_lossless_is_what_went_in(kind: str, pixels: np.ndarray, tags: dict[str, int]) -> None:
    data = LOSSLESS[kind](pixels, **tags)
    syntax = {"JPEG SV1": JPEGLosslessSV1, "JPEG 14": JPEGLossless}
    assert again(data).file_meta.TransferSyntaxUID == syntax.get(
        kind, again(data).file_meta.TransferSyntaxUID
    )
    found = stacked(data)
    assert np.array_equal(found, pixels)
    assert found.dtype == pixels.dtype
    assert np.array_equal(found, oracle(data))
    plain = list(DicomFile.open(file(pixels, **tags)).images())
    assert all(
        np.array_equal(*pair) for pair in zip(DicomFile.open(data).images(), plain, strict=True)
    )


@pytest.mark.parametrize("kind", ["JPEG 2000", "JPEG-LS", "JPEG SV1"])
def test_signed_values_of_12_bits(kind: str) -> None:
    pixels = (RAW12.astype(np.int16) - 2048).astype(np.int16)
    data = LOSSLESS[kind](pixels, **TWELVE)
    assert np.array_equal(stacked(data), pixels)
    assert np.array_equal(oracle(data), pixels)


def jpeg_of(pixels: np.ndarray, **how: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95, **how)
    return stream.getvalue()


@pytest.mark.parametrize("how", [{}, {"subsampling": 0}])
def test_jpeg_in_colour(how: dict[str, int]) -> None:
    data = packed(
        scan(RGB, PhotometricInterpretation="YBR_FULL_422"), [jpeg_of(RGB, **how)], JPEGBaseline8Bit
    )
    found = DicomFile.open(data)
    assert found.channels == 3
    assert np.abs(found.stored().astype(int) - oracle(data)).max() <= 1  # of another decoder
    theirs = np.asarray(Image.open(io.BytesIO(jpeg_of(RGB, **how)))) / 255
    assert np.abs(found.image().transpose(1, 2, 0) - theirs).max() < 3 / 255
    assert np.abs(found.image().transpose(1, 2, 0) - RGB / 255).mean() < 0.02


def test_jpeg_that_says_rgb_though_it_is_not() -> None:
    """A JFIF stream holds luminance and colours, whatever the header says."""
    data = packed(scan(RGB), [jpeg_of(RGB)], JPEGBaseline8Bit)
    picture = DicomFile.open(data).image().transpose(1, 2, 0)
    assert np.abs(picture - RGB / 255).mean() < 0.02


def test_jpeg_that_is_rgb() -> None:
    """Channels named R, G and B are not converted."""
    stream = jpeg_of(RGB, keep_rgb=True)
    for kind in ("RGB", "YBR_FULL_422"):
        data = packed(scan(RGB, PhotometricInterpretation=kind), [stream], JPEGBaseline8Bit)
        picture = DicomFile.open(data).image().transpose(1, 2, 0)
        assert np.abs(picture - RGB / 255).mean() < 0.02


def test_jpeg_with_adobes_marker() -> None:
    """Its transform 1 is luminance and colours, which Pillow converts, and nobody again."""
    stream = jpeg_of(RGB)
    adobe = b"\xff\xee" + struct.pack(">H", 14) + b"Adobe\0\x64\0\0\0\0\1"
    start = 2 + 2 + struct.unpack_from(">H", stream, 4)[0]
    stream = stream[:2] + adobe + stream[start:]  # in the place of JFIF's
    data = packed(scan(RGB, PhotometricInterpretation="YBR_FULL_422"), [stream], JPEGBaseline8Bit)
    picture = DicomFile.open(data).image().transpose(1, 2, 0)
    assert np.abs(picture - RGB / 255).mean() < 0.02


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGExtended12Bit])
def test_grey_jpeg(syntax: str) -> None:
    grey = RGB[..., 0].copy()
    data = packed(scan(grey), [jpeg_of(grey)], syntax)
    assert np.array_equal(stacked(data), np.asarray(Image.open(io.BytesIO(jpeg_of(grey)))))


def test_jpeg_2000_that_turns_its_colours() -> None:
    """The stream's own transform is undone by the decoder, so YBR_RCT comes as RGB."""
    stream = io.BytesIO()
    Image.fromarray(RGB).save(stream, "JPEG2000", no_jp2=True, irreversible=False, mct=1)
    data = packed(
        scan(RGB, PhotometricInterpretation="YBR_RCT"), [stream.getvalue()], JPEG2000Lossless
    )
    assert np.array_equal(stacked(data), RGB)
    picture = DicomFile.open(data).image()
    assert np.allclose(picture, RGB.transpose(2, 0, 1) / 255, atol=1e-6)


def test_lossy_jpeg_2000_and_near_lossless() -> None:
    data = by_pydicom(JPEG2000, "pylibjpeg", j2k_cr=[4.0])(RGB)
    assert np.abs(stacked(data).astype(int) - RGB).max() < 9
    near = by_pydicom(JPEGLSNearLossless, "pyjpegls", jls_error=2)(DEEP)
    assert 0 < np.abs(stacked(near).astype(int) - DEEP).max() <= 2


def rle_of(pixels: np.ndarray) -> list[bytes]:
    found = scan(pixels)
    found.compress(RLELossless, encoding_plugin="pydicom")
    return [
        get_frame(found.PixelData, number, number_of_frames=len(pixels))
        for number in range(len(pixels))
    ]


def halves(frame: bytes) -> list[bytes]:
    middle = len(frame) // 4 * 2
    return [frame[:middle], frame[middle:]]


def item(data: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(data)) + data


def test_fragments_by_each_table() -> None:
    volume = np.stack([DEEP, DEEP[::-1], DEEP + 1])
    frames = rle_of(volume)
    frames = [frame + b"\0" * (len(frame) % 2) for frame in frames]
    for how in ({"has_bot": True}, {"has_bot": False}, {"fragments_per_frame": 2}):
        data = packed(scan(volume), frames, RLELossless, **how)
        assert np.array_equal(stacked(data), volume), how
    made = scan(volume)
    pixels, offsets, lengths = encapsulate_extended(frames)
    made.ExtendedOffsetTable, made.ExtendedOffsetTableLengths = offsets, lengths
    assert len(encapsulate(frames)) > 0
    made.file_meta.TransferSyntaxUID = RLELossless
    made.PixelData = pixels
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    assert np.array_equal(stacked(written(made)), volume)
    made.ExtendedOffsetTable = offsets[:8] + offsets[:8] + offsets[:8]  # each points at the first
    assert np.array_equal(stacked(written(made))[1], volume[0])


def test_fragments_without_a_table() -> None:
    grey = np.stack([RGB[..., 0], RGB[..., 1]])
    frames = [jpeg_of(frame) for frame in grey]
    frames = [frame + b"\0" * (len(frame) % 2) for frame in frames]
    body = item(b"") + b"".join(item(part) for frame in frames for part in halves(frame))
    made = scan(grey)
    data = packed(made, frames, JPEGBaseline8Bit)
    whole = encapsulate(frames)
    assert whole in data
    found = stacked(data.replace(whole, body))
    assert np.array_equal(found, oracle(data))
    # one frame in three parts, its table untrue
    one = item(struct.pack("<I", 77)) + b"".join(map(item, (*halves(frames[0]), b"\0\0")))
    alone = packed(scan(grey[0]), frames[:1], JPEGBaseline8Bit)
    assert np.array_equal(stacked(alone.replace(encapsulate(frames[:1]), one)), found[0])


def test_frames_that_cannot_be_told_apart() -> None:
    volume = np.stack([DEEP, DEEP + 1])
    frames = rle_of(volume)
    frames = [frame + b"\0" * (len(frame) % 2) for frame in frames]
    data = packed(scan(volume), frames, RLELossless)
    parts = item(b"") + b"".join(item(part) for frame in frames for part in halves(frame))
    with pytest.raises(DataError, match=r"a.dcm: it cannot be told where its frames begin"):
        DicomFile.open(data.replace(encapsulate(frames), parts), "a.dcm")
    few = item(b"") + item(frames[0])
    with pytest.raises(DataError, match=r"a.dcm: has fewer frames than its header says"):
        DicomFile.open(data.replace(encapsulate(frames), few), "a.dcm")
    with pytest.raises(DataError, match=r"a.dcm: is damaged: its compressed pixels are absent"):
        DicomFile.open(data.replace(encapsulate(frames), b""), "a.dcm")
    for cut in (20, len(frames[1]) + 30):
        with pytest.raises(
            DataError, match=r"a.dcm: is cut short: its compressed pixels do not end"
        ):
            DicomFile.open(data[:-cut], "a.dcm")


@pytest.mark.parametrize("kind", [*LOSSLESS, "JPEG"])
def test_streams_of_another_size(kind: str) -> None:
    """Decoders would hold, and write, what the stream says; the header must say the same."""
    grey = RGB[..., 0].copy()
    jpeg_file = packed(scan(grey), [jpeg_of(grey)], JPEGBaseline8Bit)
    data = jpeg_file if kind == "JPEG" else LOSSLESS[kind](grey)
    for tag, value in ((b"\x28\0\x10\0US\2\0", 39), (b"\x28\0\x11\0US\2\0", 57)):
        at = data.index(tag) + 8
        lying = data[:at] + struct.pack("<H", value) + data[at + 2 :]
        found = DicomFile.open(lying, "a.dcm")
        if kind != "RLE":  # which has no size of its own
            with pytest.raises(DataError, match="have another size than its header says"):
                found.stored()


def test_syntaxes_that_nothing_reads() -> None:
    data = packed(scan(RGB), [b"\0\0\1\xb3" * 9], MPEG2MPML)
    with pytest.raises(DataError, match=r"a.dcm: MPEG2 Main Profile .* is read by no decoder here"):
        DicomFile.open(data, "a.dcm")
    made = scan(RGB)
    secret = "1.2.34567.8"
    with pytest.raises(
        DataError, match=r"a.dcm: an unknown transfer syntax is read by no"
    ) as error:
        DicomFile.open(
            packed(made, [b"12"], JPEGBaseline8Bit).replace(
                b"1.2.840.10008.1.2.4.50", secret.encode().ljust(22, b"\0")
            ),
            "a.dcm",
        )
    assert secret not in str(error.value)


@pytest.mark.parametrize(
    ("syntax", "shown"),
    [
        (JPEG2000Lossless, "JPEG 2000 Image Compression"),
        (HTJ2KLossless, "High-Throughput JPEG 2000"),
    ],
)
def test_a_decoder_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, syntax: str, shown: str
) -> None:
    monkeypatch.setattr(dicom_decoders.Compressed, "_installed", lambda self, decoder: False)
    with pytest.raises(DataError) as error:
        DicomFile.open(packed(scan(DEEP), [b"12"], syntax), "a.dcm")
    assert str(error.value).startswith(f"a.dcm: {shown}")
    assert str(error.value).endswith(
        "needs a decoder that is not installed; pip install chainrule[dicom]"
    )


def test_gdcm_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = LOSSLESS["JPEG SV1"](DEEP)
    monkeypatch.setitem(sys.modules, "gdcm", None)
    with pytest.raises(DataError, match=r"JPEG Lossless, Non-.* needs a decoder that is not"):
        DicomFile.open(data)


def test_jpeg_of_12_bits_says_who_reads_it() -> None:
    stream = jpeg_of(RGB[..., 0].copy()).replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc1\0\x0b\x0c")
    data = packed(scan(RAW12, **TWELVE), [stream], JPEGExtended12Bit)
    with pytest.raises(DataError, match=r"12 bits of it are read by pylibjpeg-libjpeg alone"):
        DicomFile.open(data).stored()


def test_streams_that_are_damaged() -> None:
    kinds = frozenset((0xC0,))
    good = jpeg_of(RGB)
    assert jpeg(good, kinds)[:5] == (0xC0, 40, 56, 3, 8)
    for damaged in (b"", good[:2], good[:30], b"\xff\xd8\xff\xd9", good[:2] + b"\0" + good[2:]):
        with pytest.raises(Damaged):
            jpeg(damaged, kinds)
    with pytest.raises(Damaged, match="another kind"):
        jpeg(good, frozenset((0xC3,)))
    with pytest.raises(Damaged, match="too many scans"):
        jpeg(good + b"\xff\xda" * 70, kinds)
    for damaged in (b"", b"\xff\x4f\xff\x51" + bytes(30), b"\xff\x4f\xff\x51" + bytes(60)):
        with pytest.raises(Damaged):
            jpeg2000(damaged)


@pytest.mark.parametrize("kind", ["JPEG-LS", "JPEG SV1", "JPEG 14"])
def test_streams_that_do_not_end(kind: str) -> None:
    """A decoder of JPEG-LS takes minutes to find that out."""
    data = LOSSLESS[kind](RGB)
    at = data.rindex(b"\xff\xd9")
    endless = data[:at] + b"\xfd\x59" + data[at + 2 :]
    found = DicomFile.open(endless, "a.dcm")
    with pytest.raises(DataError, match=r"a.dcm: its JPEG stream does not end; mend or remove it"):
        found.stored()


def test_every_decoder_in_several_threads() -> None:
    volume = np.stack([DEEP, DEEP[::-1], DEEP + 1])
    found = [DicomFile.open(make(volume)) for make in LOSSLESS.values()]

    def work(turn: int) -> bool:
        return np.array_equal(found[turn % len(found)].stored(turn % 3), volume[turn % 3])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(300)))


def test_lossless_streams_are_written_anew_or_refused() -> None:
    frame = get_frame(again(LOSSLESS["JPEG SV1"](RGB)).PixelData, 0, number_of_frames=1)
    clean = lossless(frame)
    assert b"Adobe" in frame
    assert b"Adobe" not in clean
    assert lossless(clean) == clean
    table, scanning = clean.index(b"\xff\xc4"), clean.index(b"\xff\xda")
    head = clean.index(b"\xff\xc3")

    def changed(at: int, value: int) -> bytes:
        return clean[:at] + bytes((value,)) + clean[at + 1 :]

    for damaged in (
        changed(table + 4, 9),  # a table's number
        changed(table + 5, 3),  # three codes of one bit
        changed(head + 4, 17),  # bits
        changed(head + 9, 2),  # channels
        changed(head + 11, 0x22),  # fewer colours than pixels
        changed(scanning + 4, 1),  # channels of the scan
        changed(scanning + 6, 0x30),  # a table that is not there
        changed(scanning + 11, 8),  # a predictor
        clean[:-2],  # no end
        clean[:-2] + b"\xff\xda\0\2\xff\xd9",  # another scan
    ):
        with pytest.raises(Damaged):
            lossless(damaged)


def test_gdcm_is_given_nothing_that_is_damaged() -> None:
    data = LOSSLESS["JPEG SV1"](DEEP)
    at = data.index(b"\xff\xc4", data.rindex(b"\xe0\x7f\x10\0")) + 4
    found = DicomFile.open(data[:at] + b"\x09" + data[at + 1 :], "a.dcm")
    with pytest.raises(DataError, match=r"a.dcm: its JPEG tables are damaged; mend or remove it"):
        found.stored()
