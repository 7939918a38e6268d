"""What may be known of a patient: names as keyed hashes, and the few DICOM tags that may be kept.

The list of identifying tags follows the Basic Application Level Confidentiality Profile of DICOM
PS3.15, table E.1-1, and is stricter: a kind of text that people write freely is never kept.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from chainrule.errors import DataError, expect, failure

KEY_BYTES = 32
"""The length of the secret with which an index hashes names."""

_KINDS = frozenset({"PN", "UI", "DA", "DT", "TM", "AE", "SQ", "LT", "ST", "UT", "UR"})
_BULK = frozenset({"OB", "OW", "OD", "OF", "OL", "OV", "UN"})
_TYPED = frozenset({"SH", "LO", "UC"})  # short texts, which people type as they like
_OF_MACHINES = frozenset(  # the short texts that machines write by themselves
    {
        *("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "ConvolutionKernel"),
        *("SequenceName", "PulseSequenceName", "ImagedNucleus", "ReceiveCoilName"),
        *("TransmitCoilName", "FilterType", "TypeOfFilters", "ImageFilter", "CollimatorGridName"),
        *("PlateType", "PhosphorType", "AcquisitionMode", "ViewName", "RescaleType"),
        *("ModalityLUTType", "CardiacFramingType", "ReconstructionMethod"),
        *("AttenuationCorrectionMethod", "ScatterCorrectionMethod", "Radionuclide"),
        *("ContrastBolusRoute", "Radiopharmaceutical", "RadiopharmaceuticalRoute"),
    }
)
_OF_THE_PATIENT = frozenset({"PatientSex", "PatientAge", "PatientSize", "PatientWeight"})
_PARTS = re.compile(
    "Accession|Address|Telephone|Phone|Telecom|SerialNumber|Physician|Operator|Institution|Station"
    "|Issuer|Reviewer|Author|Performer|Performing|Responsible|Recipient|Insurance|Custodial"
    "|Comments|Description|History|Residence|Occupation|Military|Admission|Admitting|Allerg"
    "|Medical(Alerts|Record)|Special(Needs)|Ethnic|Religious|Smoking|Pregnancy|Birth|Order"
    "|Requesting|RequestedContrast|ServiceEpisode|Visit|Consent|Trial|Protocol(Name|ID)"
    "|(ID|UID|IDs|Identifier|Identification|Location|Barcode)$"
)
_NAMED = frozenset(
    {
        "BranchOfService",
        "ClinicalTrialSponsorName",
        "ContrastBolusAgent",
        "DataSetTrailingPadding",
        "DeidentificationMethod",
        "Impressions",
        "IdentifyingComments",
        "InterpretationText",
        "LabelText",
        "PatientState",
        "PreMedication",
        "ReasonForStudy",
        "ReasonForTheImagingServiceRequest",
        "ReasonForTheRequestedProcedure",
        "SourceManufacturer",
        "TextString",
        "TimezoneOffsetFromUTC",
        "UnformattedTextValue",
    }
)


def new_key() -> bytes:
    """Draw the secret of a new index: 32 random bytes from the system.

    >>> len(new_key()), new_key() == new_key()
    (32, False)
    """
    return secrets.token_bytes(KEY_BYTES)


class Hasher:
    """Names as numbers that only the holder of the key can compute again.

    A hash is BLAKE2b under the index's key, so that nobody can try all names of a hospital
    without it.  The `kind` ("patient", "path", "image") keeps the same text in two roles apart.

    >>> hasher = Hasher(bytes(32))
    >>> hasher.hash("patient", "Doe") == hasher.hash("path", "Doe")
    False
    >>> len(hasher.hash("image", b"pixels")), hasher.group("Doe") == hasher.group("Roe")
    (32, False)
    """

    def __init__(self, key: bytes) -> None:
        expect(
            isinstance(key, bytes) and len(key) == KEY_BYTES,
            "Hasher",
            f"a key of {KEY_BYTES} bytes",
            length=len(key),
            error=DataError,
            hint="the file 'key' of an index holds it; it is made with the index",
        )
        self._key = key

    def hash(self, kind: str, content: str | bytes) -> str:
        """Hash a text (as UTF-8) or bytes: 32 hexadecimal digits."""
        return self._digest(kind, content, 16).hex()

    def group(self, text: str | bytes) -> int:
        """Hash a patient's name or number to a whole number from 1 to 2^64 - 1."""
        number = int.from_bytes(self._digest("patient", text, 8), "little")
        return number or 1  # 0 means that no patient is known

    def _digest(self, kind: str, content: str | bytes, size: int) -> bytes:
        expect(kind != "", "Hasher", "a kind that is not empty", error=DataError)
        data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        name = kind.encode()
        # the length first: no kind and content run together into those of another pair
        whole = len(name).to_bytes(4, "little") + name + data
        return hashlib.blake2b(whole, digest_size=size, key=self._key).digest()


def hasher_of(folder: str | os.PathLike[str]) -> Hasher:
    """Give the hasher of an index, by the key in its folder; DataError if the key is not whole."""
    path = Path(folder) / "key"
    try:
        return Hasher(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path}: missing; the index is not whole, build it anew") from error


def allowed_tags(names: Iterable[str]) -> tuple[str, ...]:
    """Check DICOM keywords whose values an index shall keep in plain text; give them once each.

    Refused is what could tell who the patient is, or who treated them and where: names,
    identifiers, dates and times, free text and labels, sequences, bulk data, private tags.  The
    patient's sex, age, size and weight may be kept.  Raises DataError for these, for a keyword
    that DICOM does not have, and where pydicom is not installed.

    >>> allowed_tags(["Modality", "PatientAge", "Modality"])
    ('Modality', 'PatientAge')
    >>> allowed_tags(["PatientName"])
    Traceback (most recent call last):
    chainrule.errors.DataError: keep-tags: PatientName tells who a patient is; it is never kept
    """
    wanted = tuple(dict.fromkeys(names))
    if not wanted:
        return ()
    table = _dictionary()
    for name in wanted:
        _check(name, table)
    return wanted


def _dictionary() -> Any:
    try:
        return importlib.import_module("pydicom.datadict")
    except ImportError as error:
        raise DataError(
            "keep-tags: DICOM's dictionary is needed to check the tags, and pydicom is not "
            "installed; pip install chainrule[dicom]"
        ) from error


def _check(name: str, table: Any) -> None:
    tag = table.tag_for_keyword(name) if name else None
    if tag is None:
        known = list(table.keyword_dict)
        near = difflib.get_close_matches(name, known, 3)
        hint = f"near it are {', '.join(near)}" if near else "private tags are never kept"
        raise failure("keep-tags", "keywords of DICOM", error=DataError, name=name, hint=hint)
    reason = _reason(name, int(tag) >> 16, str(table.dictionary_VR(tag)))
    if reason:
        raise DataError(f"keep-tags: {name} {reason}; it is never kept")


def _reason(name: str, group: int, kind: str) -> str:
    """Say why a tag is not kept; empty if it may be."""
    if group % 2:
        return "is private, and nobody knows what it holds"
    if group == 0x0010:
        return "" if name in _OF_THE_PATIENT else "tells who a patient is"
    kinds = set(kind.split(" or "))
    if kinds & _BULK:
        return "holds raw data"
    if kinds & _KINDS:
        words = {"PN": "names a person", "UI": "identifies one object in the world"}
        words |= {"AE": "names a machine", "SQ": "holds other tags", "DA": "is a date"}
        words |= {"DT": "is a date", "TM": "is a time"}
        return words.get(min(kinds & _KINDS), "is free text, which may name people")
    if kinds & _TYPED and name not in _OF_MACHINES:
        return "is text that people type, who may write names there"
    if name in _NAMED or _PARTS.search(name):
        return "may tell who the patient is, or who treated them and where"
    return ""
