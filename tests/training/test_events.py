from __future__ import annotations

import importlib
import math
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ChainruleError, DataError, KindError, ShapeError
from chainrule.training.events import EventWriter

protocol = pytest.importorskip(
    "tensorboardX.proto.event_pb2", reason="tensorboardX is in the tensorboard extra"
)


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum, bit by bit (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    """The checksum as TFRecord files hold it: turned by 15 bits, plus a constant."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def read(path: Path) -> list[Any]:
    """Read a file of events back, with both checksums of every record."""
    data, found, place = path.read_bytes(), [], 0
    while place < len(data):
        (length, check) = struct.unpack_from("<QI", data, place)
        assert check == masked(data[place : place + 8])
        content = data[place + 12 : place + 12 + length]
        (check,) = struct.unpack_from("<I", data, place + 12 + length)
        assert check == masked(content)
        found.append(protocol.Event.FromString(content))
        place += 16 + length
    return found


def test_the_checksum_is_the_standards() -> None:
    assert crc32c(b"123456789") == 0xE3069283


def png() -> bytes:
    io, image = importlib.import_module("io"), importlib.import_module("PIL.Image")
    buffer = io.BytesIO()
    image.fromarray(np.zeros((4, 7, 3), np.uint8)).save(buffer, "PNG")
    data: bytes = buffer.getvalue()
    return data


def test_a_file_comes_back(tmp_path: Path) -> None:
    with EventWriter(tmp_path / "deep" / "er") as events:
        events.scalars({"loss/train": 0.5, "lr": np.float32(0.25), "bad": math.nan}, step=3)
        events.image("confusion", png(), step=4)
        events.text("config", "lr = **0.1** \u2026")
        events.scalar("count", 7, step=5)
    first, *found = read(events.path)
    assert first.file_version == "brain.Event:2"
    assert all(event.wall_time > 1e9 for event in [first, *found])
    assert [event.step for event in found] == [3, 3, 3, 4, 0, 5]
    values = [event.summary.value[0] for event in found]
    names = ["loss/train", "lr", "bad", "confusion", "config", "count"]
    assert [value.tag for value in values] == names
    assert [values[k].simple_value for k in (0, 1, 5)] == [0.5, 0.25, 7.0]
    assert math.isnan(values[2].simple_value)
    image = values[3].image
    assert (image.width, image.height, image.colorspace) == (7, 4, 3)
    assert image.encoded_image_string == png()
    assert values[4].metadata.plugin_data.plugin_name == "text"
    assert list(values[4].tensor.string_val) == ["lr = **0.1** \u2026".encode()]
    assert values[4].tensor.tensor_shape.dim[0].size == 1


def test_a_resumed_run_hides_what_came_later(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as first:
        first.scalar("loss", 1.0, step=1)
    with EventWriter(tmp_path, purge_step=1) as second:
        second.scalar("loss", 2.0, step=1)
    assert first.path != second.path  # in the same second and process
    assert first.path.name < second.path.name
    start = read(second.path)[1]
    assert (start.step, start.session_log.status) == (1, protocol.SessionLog.START)
    assert len(read(first.path)) == 2


def test_flushed_events_outlive_the_process(tmp_path: Path) -> None:
    program = (
        "import os, sys; from chainrule.training.events import EventWriter\n"
        "events = EventWriter(sys.argv[1]); events.scalar('loss', 0.5, 1); events.flush()\n"
        "os._exit(9)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(cr.__file__).parent.parent)}
    command = [sys.executable, "-c", program, str(tmp_path)]
    assert subprocess.run(command, env=environment, check=False).returncode == 9
    (path,) = tmp_path.iterdir()
    assert [len(event.summary.value) for event in read(path)] == [0, 1]


def test_misuse(tmp_path: Path) -> None:
    events = EventWriter(tmp_path)
    for wrong in ("1", None, True, 1j):
        with pytest.raises(KindError, match="events: expected a number as 'loss'"):
            events.scalar("loss", wrong, 1)
    for broken in (b"", b"GIF89a" + bytes(40), png()[:20]):
        with pytest.raises(DataError, match="the bytes of a PNG file as 'plot'"):
            events.image("plot", broken, 1)
    events.close()
    events.close()
    for use in (lambda: events.scalar("loss", 1.0, 1), events.flush):
        with pytest.raises(ShapeError, match=r"a writer that is open; got path .*tfevents"):
            use()
    assert len(read(events.path)) == 1


def test_without_tensorboardx_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboardX"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ChainruleError, match=r"pip install 'chainrule\[tensorboard\]'"):
        EventWriter(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_it_is_loaded_when_it_is_used() -> None:
    program = "import sys, chainrule.training.events; sys.exit('tensorboardX' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(cr.__file__).parent.parent)}
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, env=environment, check=False).returncode == 0
