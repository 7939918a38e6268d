"""Indexes for the lab's tests: of small pictures of three classes, by a network that knows them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chainrule.retrieval.making import Choices, Source, add_to_index, build_index
from chainrule.training.recipes import recipe
from chainrule.training.task import TrainTask

CLASSES = ("bars", "disc", "rows")
SIDE = 32

SECRETS = {
    "PatientName": "Secretname^Someone",
    "PatientID": "SECRETID4711",
    "StudyInstanceUID": "1.2.3.44444.55555",
    "StudyDescription": "Secretdisease",
    "InstitutionName": "Secrethospital",
    "ReferringPhysicianName": "Secretdoctor^Dr",
    "AccessionNumber": "SECRETACC99",
}
"""Values of a DICOM header that nobody may find again."""


def shape(kind: str, seed: int) -> np.ndarray:
    """Draw a picture (32, 32) in grey: upright bars, a disc, or rows, with noise of its own."""
    draw = np.random.default_rng([CLASSES.index(kind), seed])
    y, x = np.mgrid[:SIDE, :SIDE]
    shift, wide = draw.integers(0, 6), draw.integers(3, 5)
    forms = {
        "bars": (x + shift) // wide % 2,
        "rows": (y + shift) // wide % 2,
        "disc": (x - 12 - shift) ** 2 + (y - 16) ** 2 < (6 + wide) ** 2,
    }
    noise = draw.normal(0, 12, (SIDE, SIDE))
    return np.clip(40 + 150 * forms[kind] + noise, 0, 255).astype(np.uint8)


def write_pictures(folder: Path, seeds: range, kinds: tuple[str, ...] = CLASSES) -> Path:
    """Write pictures as PNG, in a folder for each class."""
    for kind in kinds:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            Image.fromarray(shape(kind, seed)).save(folder / kind / f"{kind}{seed}.png")
    return folder


def train_shapes(images: Path, run: Path) -> Path:
    """Train a network on the pictures, for a moment."""
    config = recipe("lenet5-digits", epochs=4, data=str(images), batch_size=8, lr=0.02, shift=0)
    TrainTask(config, run).run()
    return run


def build(run: Path, images: Path, out: Path, **choices: Any) -> Path:
    """Make an index."""
    build_index(run, Source(str(images)), out, Choices(**choices))
    return out


def add(index: Path, images: Path) -> None:
    """Put more pictures into an index."""
    add_to_index(index, Source(str(images)))


def scan(pixels: np.ndarray | None, **tags: Any) -> bytes:
    """Write grey pixels (H, W) or (frames, H, W) as a DICOM file with `SECRETS` in its header.

    Bytes become Hounsfield-like numbers: 4 for each step, from -200 on, with a window over all.
    """
    pydicom = pytest.importorskip("pydicom")
    uid, sets = pydicom.uid, pydicom.dataset
    made = sets.FileDataset("", {}, preamble=bytes(128), file_meta=sets.FileMetaDataset())
    made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = uid.CTImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = "1.2.3"
    made.Modality = "CT"
    for name, value in {**SECRETS, **tags}.items():
        setattr(made, name, value)
    if pixels is not None:
        made.Rows, made.Columns = pixels.shape[-2:]
        if pixels.ndim == 3:
            made.NumberOfFrames = len(pixels)
        made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
        made.BitsAllocated = made.BitsStored = 16
        made.HighBit, made.PixelRepresentation = 15, 1
        made.RescaleSlope, made.RescaleIntercept = 1, -200
        made.WindowCenter, made.WindowWidth = 310.5, 1021
        made.PixelData = (4 * pixels.astype("<i2")).tobytes()
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, made, enforce_file_format=True)
    return stream.getvalue()


def write_scans(folder: Path, seeds: range) -> Path:
    """Write DICOM files of each class, two of each patient, who are P0, P1, ..."""
    for kind in CLASSES:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            patient = f"P{CLASSES.index(kind)}{seed // 2}"
            data = scan(shape(kind, seed), PatientID=patient)
            (folder / kind / f"{kind}{seed}.dcm").write_bytes(data)
    return folder
