"""DICOM files made for tests, with pydicom."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

SECRETS = {
    "PatientName": "Secretname^Someone",
    "PatientID": "SECRETID4711",
    "PatientBirthDate": "19630229",  # there was no such day: readers may warn of it, and quote it
    "StudyDate": "20191303",
    "StudyInstanceUID": "1.2.3.4.55555.66666.007",  # no part may begin with 0
    "SeriesInstanceUID": "1.2.3.4.55555.77777",
    "InstitutionName": "Secrethospital" + "l" * 60,  # longer than 64 characters
    "ReferringPhysicianName": "Secretdoctor^Dr",
    "AccessionNumber": "SECRETACCESSION99",  # longer than 16
    "StudyDescription": "Secretdisease",
    "OperatorsName": "Secretoperator",
}
"""Header values that no message may hold, some of which are not allowed."""


def said(text: str) -> list[str]:
    """Tell which of the secrets stand in a text."""
    return [value for value in SECRETS.values() if value in text or value.split("^")[0] in text]


def scan(
    pixels: np.ndarray | None = None, syntax: str = ExplicitVRLittleEndian, **tags: Any
) -> FileDataset:
    """Make a data set of grey pixels, (rows, columns), (frames, rows, columns), or with 3 channels.

    `tags` are set on top, None takes one away.
    """
    made = FileDataset(
        "",
        {},
        preamble=bytes(128),
        file_meta=FileMetaDataset(),
        is_implicit_VR=syntax == ImplicitVRLittleEndian,
        is_little_endian=syntax != ExplicitVRBigEndian,
    )
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = CTImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = "1.2.3"
    made.Modality = "CT"
    with pydicom.config.disable_value_validation():
        for keyword, value in SECRETS.items():
            setattr(made, keyword, value)
    if pixels is not None:
        put(made, pixels, syntax)
    for keyword, value in tags.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    return made


def put(made: Dataset, pixels: np.ndarray, syntax: str = ExplicitVRLittleEndian) -> None:
    """Set plain pixels, and the elements that describe them."""
    colour = pixels.ndim > 2 and pixels.shape[-1] == 3
    shape = pixels.shape[:-1] if colour else pixels.shape
    made.Rows, made.Columns = shape[-2:]
    if len(shape) == 3:
        made.NumberOfFrames = shape[0]
    made.SamplesPerPixel = 3 if colour else 1
    made.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        made.PlanarConfiguration = 0
    made.BitsAllocated = made.BitsStored = 8 * pixels.dtype.itemsize
    made.HighBit = made.BitsStored - 1
    if pixels.dtype.kind in "iu":
        made.PixelRepresentation = int(pixels.dtype.kind == "i")
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    if pixels.dtype.kind == "f":
        setattr(made, "FloatPixelData" if pixels.itemsize == 4 else "DoubleFloatPixelData", data)
        return
    made.add_new(0x7FE00010, "OB" if pixels.itemsize == 1 else "OW", data + b"\0" * (len(data) % 2))


def written(made: FileDataset) -> bytes:
    """Give the bytes of a file."""
    stream = io.BytesIO()
    syntax = made.file_meta.TransferSyntaxUID
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.save_as(
            stream,
            implicit_vr=syntax == ImplicitVRLittleEndian,
            little_endian=syntax != ExplicitVRBigEndian,
            enforce_file_format=True,
        )
    return stream.getvalue()


def file(
    pixels: np.ndarray | None = None, syntax: str = ExplicitVRLittleEndian, **tags: Any
) -> bytes:
    """Give the bytes of `scan`'s file."""
    return written(scan(pixels, syntax, **tags))


def packed(made: FileDataset, frames: list[bytes], syntax: str, **how: Any) -> bytes:
    """Give the bytes of a file whose pixels are these compressed frames."""
    made.file_meta.TransferSyntaxUID = syntax
    made.PixelData = encapsulate(frames, **how)
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    return written(made)


def oracle(data: bytes) -> np.ndarray:
    """Decode the pixels by pydicom, without colours being changed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pydicom.dcmread(io.BytesIO(data), force=True)
        made: np.ndarray = pydicom.pixels.pixel_array(found, raw=True)
    return made


def again(data: bytes) -> FileDataset:
    """Read a file by pydicom."""
    return pydicom.dcmread(io.BytesIO(data), force=True)


def inflated_by(count: int) -> bytes:
    """Give a deflated file whose data set holds so many bytes of nothing."""
    made = file(np.zeros((2, 2), np.uint8), DeflatedExplicitVRLittleEndian)
    start = 144 + struct.unpack_from("<I", made, 140)[0]
    body = zlib.decompress(made[start:], -15)
    body += struct.pack("<HH2sHI", 0x7FE1, 0x1010, b"OB", 0, count) + bytes(count)
    machine = zlib.compressobj(9, wbits=-15)
    return made[:start] + machine.compress(body) + machine.flush()
