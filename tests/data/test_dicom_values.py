from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from chainrule.data import DicomFile, Window
from chainrule.data.dicom_values import Curve, Greys, Line, colours, segments, spread
from chainrule.errors import DataError
from tests.data.dicom_files import again, file, scan, written

RAMP = (np.arange(600, dtype=np.int16) * 3 - 900).reshape(20, 30)
PLAIN = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]


def shade(value: float, centre: float, width: float, function: str = "LINEAR") -> float:
    """Give the grey of one value, by the pseudo code of PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    if function == "SIGMOID":
        return 1 / (1 + math.exp(min(700, -4 * (value - centre) / width)))
    if function == "LINEAR":
        if value <= centre - 0.5 - (width - 1) / 2:
            return 0.0
        if value > centre - 0.5 + (width - 1) / 2:
            return 1.0
        return (value - (centre - 0.5)) / (width - 1) + 0.5
    if value <= centre - width / 2:
        return 0.0
    if value > centre + width / 2:
        return 1.0
    return (value - centre) / width + 0.5


def shades(values: np.ndarray, *how: Any) -> np.ndarray:
    return np.vectorize(lambda value: shade(float(value), *how), otypes=[float])(values)


def test_windows_are_read_and_refused() -> None:
    assert Window.parse("40,400") == Window(40.0, 400.0)
    assert Window.parse(" -600 , 1500.5 ") == Window(-600.0, 1500.5)
    for text in ("", "40", "40,", "40,400,1", "a,b", "40;400"):
        with pytest.raises(DataError, match=r"Window: expected CENTRE,WIDTH such as 40,400, got"):
            Window.parse(text)
    for text in ("40,0", "40,-1"):
        with pytest.raises(DataError, match="Window: expected a width above 0"):
            Window.parse(text)
    for text in ("nan,4", "inf,4", "1,inf", "1,nan"):
        with pytest.raises(DataError, match="Window: expected a finite centre and width"):
            Window.parse(text)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(40, 400), (-7.5, 33.25), (0, 1), (100, 2)])
def test_windows_of_the_file_by_the_formulas(function: str, centre: float, width: float) -> None:
    tags = {"WindowCenter": centre, "WindowWidth": width, "VOILUTFunction": function}
    found = DicomFile.open(file(RAMP, **tags))
    wanted = shades(RAMP, centre, width, function)
    assert np.allclose(found.image()[0], wanted, atol=1e-6)
    # and as pydicom has it, whose result is between the smallest and largest number of the type
    theirs = (apply_voi_lut(RAMP, again(file(RAMP, **tags))) + 2.0**15) / (2**16 - 1)
    assert np.allclose(found.image()[0], theirs, atol=1e-6)


@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (0.25, 3.5), (-2, 10)])
def test_the_modality_comes_before_the_window(slope: float, intercept: float) -> None:
    tags = {"RescaleSlope": slope, "RescaleIntercept": intercept}
    found = DicomFile.open(file(RAMP, **tags))
    hounsfield = RAMP * slope + intercept
    assert np.array_equal(found.values(), hounsfield)
    assert np.array_equal(found.values(), apply_modality_lut(RAMP, again(file(RAMP, **tags))))
    assert np.allclose(found.image(0, Window(40, 400))[0], shades(hounsfield, 40, 400), atol=1e-6)
    low, high = hounsfield.min(), hounsfield.max()
    assert np.allclose(found.image()[0], (hounsfield - low) / (high - low), atol=1e-6)


def test_the_callers_window_comes_before_the_files() -> None:
    data = file(RAMP, WindowCenter=[300, 0], WindowWidth=[50, 10], VOILUTFunction="SIGMOID")
    found = DicomFile.open(data)
    assert np.allclose(found.image()[0], shades(RAMP, 300, 50, "SIGMOID"), atol=1e-6)
    assert np.allclose(found.image(window=Window(40, 400))[0], shades(RAMP, 40, 400), atol=1e-6)
    narrow = shades(RAMP, 40, 0.5, "LINEAR_EXACT")
    assert np.allclose(found.image(window=Window(40, 0.5))[0], narrow, atol=1e-6)


@pytest.mark.parametrize("width", ["0", "-5", "nan", "1e999"])
def test_a_window_that_is_none_is_not_used(width: str) -> None:
    with pydicom.config.disable_value_validation():
        data = file(RAMP, WindowCenter="40", WindowWidth="123456")
    data = data.replace(b"123456", width.ljust(6).encode())
    assert np.allclose(DicomFile.open(data).image()[0].ravel(), np.linspace(0, 1, 600), atol=1e-6)


def test_smallest_is_white() -> None:
    tags = {"WindowCenter": 40, "WindowWidth": 400}
    black = DicomFile.open(file(RAMP, **tags)).image()
    for more in (
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PresentationLUTShape": "INVERSE"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    ):
        found = DicomFile.open(file(RAMP, **tags, **more))
        assert found.channels == 1
        assert np.allclose(found.image(), 1 - black, atol=1e-6)
    spread_out = DicomFile.open(file(RAMP, PhotometricInterpretation="MONOCHROME1")).image()
    assert np.allclose(spread_out.ravel(), np.linspace(1, 0, 600), atol=1e-6)
    shown = file(RAMP, **tags, PresentationLUTShape="IDENTITY")
    assert np.array_equal(DicomFile.open(shown).image(), black)


def test_padding_does_not_count() -> None:
    pixels = np.array([[-2000, -2000, 0, 50, 100]], np.int16)
    for tags in (
        {"PixelPaddingValue": -2000},
        {"PixelPaddingValue": -1500, "PixelPaddingRangeLimit": -2500},
        {"PixelPaddingValue": -2500, "PixelPaddingRangeLimit": -1500},
    ):
        for more in ({}, {"RescaleSlope": 2, "RescaleIntercept": 7}):
            for syntax in PLAIN:
                found = DicomFile.open(file(pixels, syntax, **tags, **more))
                assert np.allclose(found.image().ravel(), [0, 0, 0, 0.5, 1])
    assert DicomFile.open(file(pixels)).image().ravel()[2] == pytest.approx(2000 / 2100)
    assert not DicomFile.open(file(pixels[:, :2], PixelPaddingValue=-2000)).image().any()
    made = scan(pixels)  # with the sign that the pixels have not
    made.add_new("PixelPaddingValue", "US", 65536 - 2000)
    assert np.allclose(DicomFile.open(written(made)).image().ravel(), [0, 0, 0, 0.5, 1])
    made = scan(pixels.astype(np.uint16))
    made.add_new("PixelPaddingValue", "SS", -2000)
    assert np.allclose(DicomFile.open(written(made)).image().ravel(), [1, 1, 0, 0.5, 1])
    floats = np.array([[-5, 1, 2]], np.float32)
    found = DicomFile.open(file(floats, FloatPixelPaddingValue=-5.0))
    assert found.image().ravel().tolist() == [0, 0, 1]


def test_one_value_alone_is_black() -> None:
    assert not DicomFile.open(file(np.full((3, 3), 77, np.uint8))).image().any()


def lut(entries: list[int], first: int, bits: int, words: bool, syntax: str) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
    if words:
        order = ">u2" if syntax == ExplicitVRBigEndian else "<u2"
        item.add_new("LUTData", "OW", np.array(entries, order).tobytes())
    else:
        item.add_new("LUTData", "US", entries)
    return item


@pytest.mark.parametrize("syntax", PLAIN)
@pytest.mark.parametrize("words", [True, False])
def test_tables_of_modality_and_voi(syntax: str, words: bool) -> None:
    pixels = (np.arange(12, dtype=np.int16) - 6).reshape(3, 4)
    modality = [100, 110, 140, 150, 120]
    made = scan(pixels, syntax, ModalityLUTSequence=[lut(modality, -2, 16, words, syntax)])
    found = DicomFile.open(written(made))
    assert np.array_equal(found.values(), apply_modality_lut(pixels, made))
    assert np.array_equal(found.values().ravel(), [100] * 5 + [110, 140, 150] + [120] * 4)
    voi = [0, 1023, 512, 256]
    made.VOILUTSequence = [lut(voi, 120, 10, words, syntax), lut([1, 2], 0, 10, words, syntax)]
    found = DicomFile.open(written(made))
    theirs = apply_voi_lut(apply_modality_lut(pixels, made), made) / 1023
    assert np.allclose(found.image()[0], theirs, atol=1e-6)
    looked = np.array(voi)[np.clip(found.values().astype(int) - 120, 0, 3)] / 1023
    assert np.allclose(found.image()[0], looked, atol=1e-6)
    # the caller's window replaces the table
    assert np.allclose(
        found.image(window=Window(120, 40))[0], shades(found.values(), 120, 40), atol=1e-6
    )


def test_tables_that_are_damaged() -> None:
    for entries, count in (([1, 2], 3), ([5], 0)):
        item = lut(entries, 0, 16, True, ExplicitVRLittleEndian)
        item.LUTDescriptor = [count, 0, 16]
        data = file(RAMP, VOILUTSequence=[item])
        with pytest.raises(DataError, match=r"a.dcm: one of its lookup tables has fewer entries"):
            DicomFile.open(data, "a.dcm").image()
    item.LUTDescriptor = [1, 0, 99]
    with pytest.raises(DataError, match="expected 1 to 16 bits in LUTDescriptor"):
        DicomFile.open(file(RAMP, ModalityLUTSequence=[item])).values()


def functional(**groups: dict[str, Any]) -> Dataset:
    """Make an item of functional groups out of sequences of one item each."""
    made = Dataset()
    for keyword, tags in groups.items():
        item = Dataset()
        for name, value in tags.items():
            setattr(item, name, value)
        setattr(made, keyword, [item])
    return made


def test_enhanced_files_have_a_way_for_each_frame() -> None:
    pixels = np.stack([RAMP, RAMP + 100, RAMP])
    windows = [(0, 100, "LINEAR"), (50, 300, "LINEAR_EXACT"), (9, 90, "SIGMOID")]
    made = scan(pixels, WindowCenter=9999, WindowWidth=1, RescaleSlope=5, RescaleIntercept=5)
    shared = {"RescaleSlope": 1, "RescaleIntercept": -10, "RescaleType": "HU"}
    made.SharedFunctionalGroupsSequence = [
        functional(
            PixelValueTransformationSequence=shared,
            FrameVOILUTSequence={"WindowCenter": 1, "WindowWidth": 7},
        )
    ]
    own = [
        {"WindowCenter": centre, "WindowWidth": width, "VOILUTFunction": function}
        for centre, width, function in windows
    ]
    made.PerFrameFunctionalGroupsSequence = [
        functional(FrameVOILUTSequence=own[0]),
        functional(
            FrameVOILUTSequence=own[1],
            PixelValueTransformationSequence={"RescaleSlope": 2, "RescaleIntercept": 1},
        ),
        functional(),
    ]
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        made.file_meta.TransferSyntaxUID = syntax
        found = DicomFile.open(written(made))
        assert np.array_equal(found.values(0), RAMP - 10)
        assert np.array_equal(found.values(1), 2 * (RAMP + 100) + 1)
        assert np.allclose(found.image(0)[0], shades(RAMP - 10, *windows[0]), atol=1e-6)
        wanted = shades(2 * (RAMP + 100) + 1, *windows[1])
        assert np.allclose(found.image(1)[0], wanted, atol=1e-6)
        assert np.allclose(found.image(2)[0], shades(RAMP - 10, 1, 7), atol=1e-6)


def with_palette(bits: int, first: int, count: int, syntax: str) -> tuple[pydicom.FileDataset, Any]:
    rng = np.random.default_rng(bits + count)
    pixels = np.arange(24, dtype=np.uint8 if first >= 0 else np.int8).reshape(4, 6)
    made = scan(pixels, syntax, PhotometricInterpretation="PALETTE COLOR")
    table = rng.integers(0, 2**bits, (count, 3))
    order = ">u2" if syntax == ExplicitVRBigEndian else "<u2"
    for channel, name in enumerate(("Red", "Green", "Blue")):
        keyword = f"{name}PaletteColorLookupTable"
        kind = "SS" if first < 0 else "US"
        made.add_new(keyword + "Descriptor", kind, [count, first, bits])
        entries = table[:, channel].astype(order if bits > 8 else np.uint8).tobytes()
        made.add_new(keyword + "Data", "OW", entries + b"\0" * (len(entries) % 2))
    return made, table


@pytest.mark.parametrize(("bits", "first", "count"), [(8, 0, 16), (8, 3, 10), (16, 2, 256)])
def test_palettes(bits: int, first: int, count: int) -> None:
    for syntax in PLAIN[:2]:
        made, table = with_palette(bits, first, count, syntax)
        found = DicomFile.open(written(made))
        assert found.channels == 3
        assert np.array_equal(found.stored(), np.arange(24).reshape(4, 6))
        theirs = apply_color_lut(found.stored(), again(written(made)))
        wanted = table[np.clip(np.arange(24) - first, 0, count - 1)].reshape(4, 6, 3)
        assert np.array_equal(theirs, wanted)
        picture = found.image().transpose(1, 2, 0)
        assert np.allclose(picture, wanted / (2**bits - 1), atol=1e-6)
    if bits == 16:
        made, table = with_palette(bits, first, count, ExplicitVRBigEndian)
        again_found = DicomFile.open(written(made)).image().transpose(1, 2, 0)
        assert np.allclose(again_found, wanted / 65535, atol=1e-6)


def test_a_segmented_palette() -> None:
    #        4 as they are      to 65535 in 6 steps  the first two segments once more
    words = [0, 4, 0, 9, 500, 7, 1, 6, 65535, 2, 2, 0, 0]
    wanted = [0, 9, 500, 7]
    wanted += [round(7 + (65535 - 7) * step / 6) for step in range(1, 7)]
    wanted += wanted.copy()
    made, _ = with_palette(16, 0, 20, ExplicitVRLittleEndian)
    for name in ("Red", "Green", "Blue"):
        del made[f"{name}PaletteColorLookupTableData"]
        keyword = f"Segmented{name}PaletteColorLookupTableData"
        made.add_new(keyword, "OW", np.array(words, "<u2").tobytes())
    found = DicomFile.open(written(made))
    red = np.array(wanted)[np.clip(np.arange(24), 0, 19)]
    assert np.allclose(found.image()[0].ravel(), red / 65535, atol=1e-6)
    assert np.array_equal(
        apply_color_lut(found.stored(), again(written(made)))[..., 0].ravel(), red
    )


def test_segments_by_hand() -> None:
    # bytes: what begins at byte 5 is repeated, of two segments only the first
    table = np.array([0, 3, 10, 20, 30, 0, 2, 7, 8, 2, 1, 5, 0, 0, 0])
    assert segments(table, 7, 1).tolist() == [10, 20, 30, 7, 8, 7, 8]
    # words: byte 10 is the fifth word
    assert segments(np.array([0, 3, 10, 20, 30, 0, 2, 7, 8, 2, 1, 10, 0]), 7, 2).tolist() == [
        *(10, 20, 30, 7, 8, 7, 8)
    ]
    for damaged in (
        [1, 3, 5],
        [9, 1, 1],
        [2, 1, 0, 0],
        [0, 2, 1, 2, 2, 9, 8, 0],
        [0, 9, 1],
        [0, 1],
    ):
        with pytest.raises((ValueError, IndexError)):
            segments(np.array(damaged), 3, 2)


def test_a_palette_that_is_absent() -> None:
    data = file(np.zeros((2, 2), np.uint8), PhotometricInterpretation="PALETTE COLOR")
    with pytest.raises(DataError, match=r"a.dcm: has no RedPaletteColorLookupTableDescriptor"):
        DicomFile.open(data, "a.dcm").image()


def test_luminance_and_colour_become_rgb() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (9, 6, 3))
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    light = 0.299 * red + 0.587 * green + 0.114 * blue
    ybr = np.stack([light, (blue - light) / 1.772 + 128, (red - light) / 1.402 + 128], axis=-1)
    full = np.clip(np.rint(ybr), 0, 255).astype(np.uint8)
    found = DicomFile.open(file(full, PhotometricInterpretation="YBR_FULL"))
    assert np.array_equal(found.stored(), full)
    assert np.abs(found.image().transpose(1, 2, 0) * 255 - rgb).max() < 2.0
    theirs = pydicom.pixels.pixel_array(
        io.BytesIO(file(full, PhotometricInterpretation="YBR_FULL"))
    )
    assert np.abs(found.image().transpose(1, 2, 0) * 255 - theirs).max() < 0.51
    # with room at both ends: black is 16, white 235, colours 16..240
    part = np.array([[[16, 128, 128], [235, 128, 128], [81, 90, 240]]], np.uint8)
    found_part = colours(part, "YBR_PARTIAL_422", 8)[0]
    assert np.allclose(found_part, [[0, 0, 0], [1, 1, 1], [1, 0, 0]], atol=0.01)


@pytest.mark.parametrize("kind", ["YBR_FULL_422", "YBR_PARTIAL_422"])
def test_two_pixels_that_share_their_colour(kind: str) -> None:
    rows, columns = 3, 6
    pairs = np.arange(2 * rows * columns // 2 * 4, dtype=np.uint8).reshape(2, -1, 4)
    made = scan(np.zeros((2, rows, columns, 3), np.uint8), PhotometricInterpretation=kind)
    made.PixelData = pairs.tobytes()
    found = DicomFile.open(written(made))
    for frame in range(2):
        wanted = [[y, blue, red] for y1, y2, blue, red in pairs[frame].tolist() for y in (y1, y2)]
        assert np.array_equal(found.stored(frame).reshape(-1, 3), wanted)
    if kind == "YBR_FULL_422":
        theirs = pydicom.pixels.pixel_array(io.BytesIO(written(made)), raw=True)
        assert np.array_equal(theirs, np.stack([found.stored(0), found.stored(1)]))


def test_shading_every_value_once_is_shading_each() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(-32768, 32767, (50, 60)).astype(np.int16)
    for way in (
        Greys(),
        Greys(Line(2, 5), Curve(Window(3, 20000)), None, True),
        Greys(padding=(-32768.0, -20000.0)),
    ):
        assert np.array_equal(way.picture(pixels), way.picture(pixels.astype(np.int32)))


def test_numbers_at_the_ends_of_floats() -> None:
    huge = np.array([[-1.7e308, 0, 1.7e308]])
    assert spread(huge, np.ones((1, 3), bool)).tolist() == [[0.0, 0.5, 1.0]]
    assert Greys().picture(huge).tolist() == [[0.0, 0.5, 1.0]]
    for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        for window in (Window(0, 1e-300), Window(1e308, 1e308), Window(-1e308, 5)):
            grey = Greys(voi=Curve(window, function)).picture(huge)  # type: ignore[arg-type]
            assert ((grey >= 0) & (grey <= 1)).all()
    assert Greys(Line(0.0, math.inf)).picture(huge).tolist() == [[0.0, 0.0, 0.0]]
