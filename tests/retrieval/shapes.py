"""Pictures that a small network can tell apart, and DICOM files of people who do not exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

KINDS = ("bar", "disc", "ring")


def shape(kind: str, seed: int, side: int = 48) -> Any:
    """Draw one, (side, side) bytes: its place and size by chance, with noise."""
    random = np.random.RandomState(seed)
    y, x = np.mgrid[:side, :side] - side / 2 - random.uniform(-4, 4, (2, 1, 1))
    size, far = random.uniform(0.22, 0.32) * side, np.hypot(x, y)
    inside = {
        "bar": (np.abs(x) < size / 3) & (np.abs(y) < size * 1.4),
        "disc": far < size,
        "ring": (far < size * 1.3) & (far > size * 0.8),
    }[kind]
    return np.uint8(np.clip(40 + 170 * inside + random.normal(0, 12, (side, side)), 0, 255))


def write_shapes(folder: Path, count: int, first: int = 0, side: int = 48) -> None:
    """Write so many of each into folders of their names."""
    for place, kind in enumerate(KINDS):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            pixels = shape(kind, 1000 * place + number, side)
            Image.fromarray(pixels).save(folder / kind / f"{number:03}.png")


def write_dicom(path: Path, pixels: Any, **tags: Any) -> None:
    """Write a CT image of 16 bits with these tags; pixels (H, W) or (frames, H, W)."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.file_meta.MediaStorageSOPClassUID = found.SOPClassUID = CTImageStorage
    found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    found.StudyInstanceUID, found.Modality = generate_uid(), "CT"
    array = np.asarray(pixels, np.uint16)
    found.Rows, found.Columns = array.shape[-2:]
    if array.ndim == 3:
        found.NumberOfFrames = len(array)
    found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
    found.BitsAllocated, found.BitsStored, found.HighBit = 16, 12, 11
    found.PixelRepresentation = 0
    found.PixelData = array.astype("<u2").tobytes()
    for name, value in tags.items():
        setattr(found, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    found.save_as(path, enforce_file_format=True)
