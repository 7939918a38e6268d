"""What a DICOM header says of its values' way: tables, lines, windows, padding and palettes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.data.dicom_layout import Layout
from chainrule.data.dicom_values import Curve, Function, Greys, Line, Table, Window, segments
from chainrule.engine.op import Array
from chainrule.errors import DataError

_FUNCTIONS: dict[str, Function] = {"LINEAR_EXACT": "LINEAR_EXACT", "SIGMOID": "SIGMOID"}
_MOST_ENTRIES = 1 << 16
_CHANNELS = ("Red", "Green", "Blue")


def greys(dataset: Any, layout: Layout, frame: int, name: str) -> Greys:
    """Collect the way of a grey frame's values; what is said of the frame itself comes first.

    Raises DataError for tables that are damaged, and numbers that are not finite.
    """
    values = _of_frame(dataset, frame, "PixelValueTransformationSequence") or dataset
    voi = _of_frame(dataset, frame, "FrameVOILUTSequence") or dataset
    inverse = str(dataset.get("PresentationLUTShape") or "").strip() == "INVERSE"
    return Greys(
        modality=_modality(values, layout, name),
        voi=_voi(voi, layout, name),
        padding=_padding(dataset, layout),
        inverted=inverse or layout.photometric == "MONOCHROME1",
    )


def palette(dataset: Any, layout: Layout, name: str) -> Table:
    """Read a palette: entries (n, 3), float32 in 0..1.

    Raises DataError for one that is absent or damaged.
    """
    found = [_channel(dataset, channel, layout, name) for channel in _CHANNELS]
    if any(len(one.entries) != len(found[0].entries) for one in found):
        raise DataError(f"{name}: the colours of its palette are not as many as each other")
    entries = np.stack([one.entries for one in found], axis=1).astype(np.float32)
    return Table(found[0].first, entries)


def _of_frame(dataset: Any, frame: int, keyword: str) -> Any:
    """Find the item of a functional group: the frame's own, else the one that all share."""
    own = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    shared = dataset.get("SharedFunctionalGroupsSequence") or ()
    for group in (own[frame] if frame < len(own) else None, shared[0] if shared else None):
        items = group.get(keyword) if group is not None else None
        if items:
            return items[0]
    return None


def _modality(dataset: Any, layout: Layout, name: str) -> Line | Table:
    tables = dataset.get("ModalityLUTSequence")
    if tables:
        return _table(tables[0], layout, name)[0]
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    line = Line(1.0 if slope is None else slope, 0.0 if intercept is None else intercept)
    if not (math.isfinite(line.slope) and math.isfinite(line.intercept)):
        raise DataError(f"{name}: its RescaleSlope or RescaleIntercept is not finite; mend it")
    return line


def _voi(dataset: Any, layout: Layout, name: str) -> Curve | Table | None:
    """Read the first table or window; a window that cannot be one counts as none."""
    tables = dataset.get("VOILUTSequence")
    if tables:
        table, bits = _table(tables[0], layout, name)
        return Table(table.first, table.entries / (2.0**bits - 1))
    centre, width = _number(dataset, "WindowCenter"), _number(dataset, "WindowWidth")
    if centre is None or width is None or not math.isfinite(centre):
        return None
    if not (math.isfinite(width) and width > 0):
        return None
    said = str(dataset.get("VOILUTFunction") or "").strip("\0 ").upper()
    return Curve(Window(centre, width), _FUNCTIONS.get(said, "LINEAR"))


def _padding(dataset: Any, layout: Layout) -> tuple[float, float] | None:
    before = {32: "Float", 64: "DoubleFloat"}[layout.allocated] if layout.floats else ""
    one = _number(dataset, before + "PixelPaddingValue")
    if one is None:
        return None
    other = _number(dataset, before + "PixelPaddingRangeLimit")
    ends = [_signed(end, layout) for end in (one, one if other is None else other)]
    return min(ends), max(ends)


def _signed(value: float, layout: Layout) -> float:
    """Give a value the sign of the pixels; many files write it as if they had the other."""
    span = 2.0**layout.allocated
    if layout.floats:
        return value
    if layout.signed:
        return value - span if value >= span / 2 else value
    return value + span if value < 0 else value


def _number(dataset: Any, keyword: str) -> float | None:
    """Read a number, the first if there are several; None for none."""
    value = dataset.get(keyword)
    if value is None or isinstance(value, str | bytes):
        return None  # of an empty element
    if not isinstance(value, int | float):
        value = value[0] if len(value) else None
    return None if value is None else float(value)


def _descriptor(dataset: Any, keyword: str, name: str) -> tuple[int, int, int]:
    """Read how many entries a table has, for which value the first is, and of how many bits."""
    words = dataset.get(keyword)
    if words is None or isinstance(words, bytes | str | int) or len(words) != 3:
        raise DataError(f"{name}: has no {keyword}, or a damaged one; mend or remove it")
    count, first, bits = (int(word) for word in words)
    count = (count & 0xFFFF) or _MOST_ENTRIES  # SS, of a signed image, has no other way to say it
    if not 1 <= bits <= 16:
        raise DataError(f"{name}: expected 1 to 16 bits in {keyword}; mend or remove it")
    return count, first, bits


def _table(item: Any, layout: Layout, name: str) -> tuple[Table, int]:
    """Read a table of a modality or of a window, and the bits of its entries."""
    count, first, bits = _descriptor(item, "LUTDescriptor", name)
    entries = _entries(item.get("LUTData"), layout, count, bits, name)
    return Table(first, entries.astype(np.float64)), bits


def _channel(dataset: Any, channel: str, layout: Layout, name: str) -> Table:
    """Read one colour of a palette, its entries in 0..1."""
    keyword = f"{channel}PaletteColorLookupTable"
    count, first, bits = _descriptor(dataset, keyword + "Descriptor", name)
    plain = dataset.get(keyword + "Data")
    if plain is None:
        data = dataset.get(f"Segmented{keyword}Data")
        entries = _segmented(data, layout, count, bits, name)
    else:
        entries = _entries(plain, layout, count, bits, name)
        bits = 8 * entries.dtype.itemsize  # what is kept counts, as 16 may be said of bytes
    return Table(first, np.minimum(entries / (2.0 ** (8 if bits <= 8 else 16) - 1), 1.0))


def _entries(data: Any, layout: Layout, count: int, bits: int, name: str) -> Array:
    """Read a table's entries: words, or bytes where there are only so many; uint16 or uint8."""
    if isinstance(data, bytes):
        if len(data) >= 2 * count:
            return _words(data[: 2 * count], layout)
        if len(data) in (count, count + (count % 2 if bits <= 8 else 0)):
            return _octets(data, layout)[:count]
    elif data is not None and not isinstance(data, str):
        found = np.atleast_1d(np.asarray(data, np.int64)) & 0xFFFF
        if found.ndim == 1 and len(found) >= count:
            return found[:count].astype(np.uint16)
    raise DataError(f"{name}: one of its lookup tables has fewer entries than it says; mend it")


def _segmented(data: Any, layout: Layout, count: int, bits: int, name: str) -> Array:
    each = 1 if bits <= 8 else 2
    if isinstance(data, bytes):
        numbers = data[: len(data) // each * each]
        try:
            found = _words(numbers, layout) if each == 2 else np.frombuffer(numbers, np.uint8)
            return segments(found, count, each)
        except (ValueError, IndexError):
            pass
    raise DataError(f"{name}: its palette is absent or damaged; mend or remove it")


def _words(data: bytes, layout: Layout) -> Array:
    return np.frombuffer(data, "<u2" if layout.little else ">u2").astype(np.uint16)


def _octets(data: bytes, layout: Layout) -> Array:
    """Give bytes that are kept as words, of which the low one comes first."""
    found = np.frombuffer(data, np.uint8)
    return found if layout.little else np.frombuffer(data, np.uint16).byteswap().view(np.uint8)
