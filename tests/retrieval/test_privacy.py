"""Nothing of a removed image stays in any file, and names are nowhere in plain text."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest

from chainrule.errors import DataError
from chainrule.retrieval.creating import create_index
from chainrule.retrieval.privacy import Hasher, allowed_tags, hasher_of, new_key
from chainrule.retrieval.settings import IndexSettings, read_settings
from chainrule.retrieval.store import Entry
from chainrule.retrieval.verifying import verify
from chainrule.retrieval.writing import Writer
from tests.retrieval.shelves import (
    SETTINGS,
    built,
    check,
    entry,
    names_of,
    next_version,
    rows,
    traces,
    whole,
)


@pytest.mark.parametrize("removed", [3, 60, 200])
def test_nothing_of_a_removed_image_stays(tmp_path: Path, removed: int) -> None:
    """Also after many changes, which leave copies of lines on the database's pages."""
    shuffled = np.random.default_rng(2).permutation(names_of(600)).tolist()
    folder = built(tmp_path / "i", shuffled, 37)
    content = whole(folder)
    assert traces(content, "image-000001") == [
        "id", "source", "group", "phash", "vector", "classes", "thumbnail", "path"
    ]  # fmt: skip
    random = np.random.default_rng(0)
    names = random.choice(names_of(600), removed, replace=False).tolist()
    with Writer(folder) as writer:
        writer.rewrite(next_version, 8)
        for at in range(0, removed, 20):
            writer.remove(names[at : at + 20])
            writer.append(*rows(names_of(5, 1000 + at), 1.0))
    content = whole(folder)
    assert not {name: found for name in names if (found := traces(content, name))}
    ids, _ = check(folder)
    assert not ids & set(names)
    assert verify(folder) == []


def test_a_removal_leaves_no_page_out_of_use(tmp_path: Path) -> None:
    """The database is written anew: even what an older SQLite had left there is gone."""
    folder = built(tmp_path / "i", names_of(600))
    with Writer(folder) as writer:
        writer.note("big", "a secret " * 9000)
        writer._db.rows("PRAGMA secure_delete = OFF")
        writer.note("big", 1)
        assert b"a secret a secret" in whole(folder)
        writer.remove(names_of(1))
        assert writer._db.rows("PRAGMA freelist_count")[0][0] == 0
    assert b"a secret a secret" not in whole(folder)


def test_a_label_that_only_a_removed_image_had(tmp_path: Path) -> None:
    folder = built(tmp_path / "i", names_of(9))
    with Writer(folder) as writer:
        one = dataclasses.replace(entry("rare"), label="a-rare-finding")
        writer.append([one], *rows(["rare"])[1:])
        writer.remove(["rare"])
    assert b"a-rare-finding" not in whole(folder)
    check(folder, names_of(9))


def test_names_are_nowhere(tmp_path: Path) -> None:
    """Patients and paths go through the hasher; their bytes are in no file, in no form."""
    settings = IndexSettings(dimension=2)
    create_index(tmp_path / "i", settings, {})
    hasher = hasher_of(tmp_path / "i")
    people = [f"Mustermann^Erika-{number}" for number in range(40)]
    entries = [
        Entry(
            id=hasher.hash("image", f"{name}/0"),
            source=hasher.hash("path", f"/data/{name}.dcm"),
            group=hasher.group(name),
        )
        for name in people
    ]
    with Writer(tmp_path / "i") as writer:
        writer.append(entries, np.ones((40, 2)), np.zeros((40, 0)))
        writer.skip(hasher.hash("path", "/data/other.dcm"), "no pixels")
    content = whole(tmp_path / "i")
    assert entries[0].id.encode() in content
    for name in ["Mustermann", "Erika", "/data", "other.dcm", str(tmp_path)]:
        for form in (name.encode(), name.encode("utf-16-le"), name.encode().hex().encode()):
            assert form not in content
        plain = hashlib.blake2b(name.encode(), digest_size=16).digest()
        assert plain not in content


def test_hashes_depend_on_the_key_and_the_kind() -> None:
    one, other = Hasher(new_key()), Hasher(new_key())
    assert one.hash("path", "a") != other.hash("path", "a")
    assert one.group("a") != other.group("a")
    assert len({one.hash(kind, "a") for kind in ("patient", "path", "image")}) == 3
    assert one.hash("patha", "b") != one.hash("path", "ab")
    assert one.hash("path", "ä") == one.hash("path", "ä".encode())
    assert all(0 < one.group(str(number)) < 1 << 64 for number in range(1000))
    assert one.hash("path", "\udcff")  # a file name that is no UTF-8
    with pytest.raises(DataError, match="32 bytes"):
        Hasher(b"short")
    with pytest.raises(DataError, match="kind"):
        one.hash("", "a")


REFUSED = [
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "OtherPatientIDs",
    "PatientComments",
    "PatientAddress",
    "StudyInstanceUID",
    "SOPInstanceUID",
    "StudyDate",
    "AcquisitionTime",
    "ContentDate",
    "AcquisitionDateTime",
    "AccessionNumber",
    "StudyID",
    "InstitutionName",
    "InstitutionAddress",
    "ReferringPhysicianName",
    "OperatorsName",
    "PerformingPhysicianName",
    "PhysiciansOfRecord",
    "RequestingPhysician",
    "DeviceSerialNumber",
    "StationName",
    "StudyDescription",
    "SeriesDescription",
    "ImageComments",
    "ProtocolName",
    "RequestedProcedureID",
    "ScheduledStationAETitle",
    "DetectorID",
    "PlateID",
    "CassetteID",
    "GantryID",
    "DerivationDescription",
    "InstitutionalDepartmentName",
    "EthnicGroup",
    "MedicalAlerts",
    "Allergies",
    "Occupation",
    "PregnancyStatus",
    "AdditionalPatientHistory",
    "PatientState",
    "AdmissionID",
    "CurrentPatientLocation",
    "RequestingService",
    "PixelData",
    "RequestAttributesSequence",
    "ReasonForStudy",
    "TimezoneOffsetFromUTC",
    "AdmittingDiagnosesDescription",
    "ServiceEpisodeDescription",
    "IssuerOfPatientID",
    "PerformedLocation",
    "ResponsiblePerson",
    "ReviewerName",
    "CountryOfResidence",
    "RegionOfResidence",
    "MilitaryRank",
    "BranchOfService",
    "SmokingStatus",
    "TextComments",
    "FrameComments",
    "ContrastBolusAgent",
    "ClinicalTrialSubjectID",
    "SpecialNeeds",
    "VisitComments",
    "PatientSexNeutered",
    "RTPlanName",
    "RTPlanLabel",
    "StructureSetLabel",
    "VerifyingOrganization",
    "ContactDisplayName",
    "PrinterName",
    "WorklistLabel",
    "TopicKeywords",
    "ErrorComment",
    "UserContentLabel",
]
ALLOWED = [
    "Modality",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "BodyPartExamined",
    "ViewPosition",
    "Laterality",
    "SliceThickness",
    "KVP",
    "Exposure",
    "Manufacturer",
    "ManufacturerModelName",
    "PixelSpacing",
    "WindowCenter",
    "WindowWidth",
    "PhotometricInterpretation",
    "SeriesNumber",
    "InstanceNumber",
    "ImageType",
    "ConvolutionKernel",
    "MagneticFieldStrength",
    "EchoTime",
    "RepetitionTime",
    "PatientPosition",
    "Rows",
    "Columns",
]


@pytest.mark.parametrize("name", REFUSED)
def test_tags_that_identify_are_refused(name: str) -> None:
    pytest.importorskip("pydicom")
    with pytest.raises(DataError, match=f"{name} .*never kept"):
        allowed_tags(["Modality", name])


def test_tags_that_do_not_identify_are_kept() -> None:
    pytest.importorskip("pydicom")
    assert allowed_tags([*ALLOWED, "Modality"]) == tuple(ALLOWED)
    assert allowed_tags([]) == ()


def test_no_tag_of_a_kind_that_identifies_is_ever_kept() -> None:
    """All of DICOM's dictionary, by its own kinds of values."""
    table = pytest.importorskip("pydicom.datadict")
    kinds = {"PN", "UI", "DA", "DT", "TM", "AE", "SQ", "OB", "OW", "UN", "LT", "ST", "UT", "UR"}
    kept = 0
    for tag, (kind, _, _, _, keyword) in table.DicomDictionary.items():
        try:
            allowed_tags([keyword])
        except DataError:
            continue
        kept += 1
        assert not kinds & set(kind.split(" or ")), keyword
        four = {"PatientSex", "PatientAge", "PatientSize", "PatientWeight"}
        assert tag >> 16 != 0x0010 or keyword in four, keyword
    assert kept > 500


def test_an_unknown_tag_has_near_names() -> None:
    pytest.importorskip("pydicom")
    with pytest.raises(DataError, match="Modality"):
        allowed_tags(["Modalty"])
    with pytest.raises(DataError, match="keywords of DICOM"):
        allowed_tags(["0x00091001"])


def test_without_pydicom_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom.datadict", None)
    with pytest.raises(DataError, match=r"pip install chainrule\[dicom\]"):
        allowed_tags(["Modality"])


def test_settings_are_read_as_written(tmp_path: Path) -> None:
    for settings in (
        SETTINGS,
        IndexSettings(dimension=7, dtype="float16", ann=True, extra={"a": [1, {"b": None}]}),
    ):
        assert IndexSettings.from_json(settings.to_json()) == settings
    create_index(tmp_path / "i", SETTINGS, {})
    assert read_settings(tmp_path / "i") == SETTINGS


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", "{" * 100_000, '{"version": true}', '{"version": 1}', "\ud800"],
)
def test_damaged_settings(text: str) -> None:
    with pytest.raises(DataError, match=r"index\.json"):
        IndexSettings.from_json(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    "values",
    [
        {"dimension": 0},
        {"dimension": True},
        {"dimension": 1.5},
        {"dtype": "float64"},
        {"classes": ("a", "a")},
        {"classes": ("a", 1)},
        {"thumbnail": -1},
        {"keep_paths": 1},
        {"layer": None},
        {"extra": {"a": float("nan")}},
        {"extra": {"a": object()}},
    ],
)
def test_settings_outside_their_bounds(values: dict[str, object]) -> None:
    with pytest.raises(DataError):
        IndexSettings(**{"dimension": 4, **values})  # type: ignore[arg-type]
