"""Events that TensorBoard reads, written by tensorboardX, which is asked for only here."""

from __future__ import annotations

import importlib
import itertools
import os
import struct
import time
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chainrule.errors import ChainruleError, DataError, KindError, expect, failure

_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # of PNG's colour types
_PNG = b"\x89PNG\r\n\x1a\n"


class EventWriter:
    """Writes one file of events into a folder, which `tensorboard --logdir FOLDER` shows.

    The folder is made if it is not there; other files of events in it stay, and TensorBoard reads
    them all.  A run that goes on from a checkpoint says from which step: `purge_step` hides what
    older files say of that step and later.  Every call leaves whole records in the process's
    buffer; `flush` hands them to the system, so that a killed process loses none before it, and
    `close` does so too.  Raises ChainruleError without tensorboardX, OSError if the disk refuses.

    >>> import tempfile
    >>> with EventWriter(tempfile.mkdtemp()) as events:
    ...     events.scalars({"train/loss": 0.5, "test/loss": 0.75}, step=1)
    >>> events.path.name.startswith("events.out.tfevents."), events.closed
    (True, True)
    """

    def __init__(self, folder: str | os.PathLike[str], purge_step: int | None = None) -> None:
        self.closed = True  # until there is a file
        record_writer, self._event, self._summary = _tensorboardx()
        self.folder = Path(folder).absolute()  # 's3:' and such are folders, too
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = _unused(self.folder)
        self._file = record_writer(str(self.path))
        self.closed = False
        self._write(file_version="brain.Event:2")
        if purge_step is not None:
            start = self._event.SessionLog(status=self._event.SessionLog.START)
            self._write(purge_step, session_log=start)
        self.flush()

    def scalar(self, name: str, value: Any, step: int) -> None:
        """Add a number to a curve; NaN and infinity are shown as such.

        Raises KindError for what is not a number.
        """
        if isinstance(value, bool) or not isinstance(value, Real):
            raise failure("events", f"a number as {name!r}", error=KindError, value=value)
        self._add(step, tag=name, simple_value=float(value))

    def scalars(self, values: Mapping[str, Any], step: int) -> None:
        """Add a number to each of several curves: a row of `RecordWriter`, for instance."""
        for name, value in values.items():
            self.scalar(name, value, step)

    def image(self, name: str, png: bytes, step: int) -> None:
        """Add a picture, as the plots give it; raises DataError for bytes that are no PNG."""
        whole = len(png) >= 33 and png.startswith(_PNG) and png[12:16] == b"IHDR"
        rule = f"the bytes of a PNG file as {name!r}"
        expect(whole, "events", rule, error=DataError, first=png[:8])
        width, height, _, colours = struct.unpack(">IIBB", png[16:26])
        picture = self._summary.Summary.Image(
            height=height,
            width=width,
            colorspace=_CHANNELS.get(colours, 3),
            encoded_image_string=png,
        )
        self._add(step, tag=name, image=picture)

    def text(self, name: str, text: str, step: int = 0) -> None:
        """Add a text, which TensorBoard shows as Markdown."""
        tensors = importlib.import_module("tensorboardX.proto.tensor_pb2")
        shapes = importlib.import_module("tensorboardX.proto.tensor_shape_pb2")
        one = shapes.TensorShapeProto(dim=[shapes.TensorShapeProto.Dim(size=1)])
        tensor = tensors.TensorProto(
            dtype="DT_STRING", string_val=[text.encode()], tensor_shape=one
        )
        kind = self._summary.SummaryMetadata.PluginData(plugin_name="text")
        metadata = self._summary.SummaryMetadata(plugin_data=kind)
        self._add(step, tag=name, metadata=metadata, tensor=tensor)

    def flush(self) -> None:
        """Hand all that was written to the system."""
        self._expect_open()
        self._file.flush()

    def close(self) -> None:
        """Write what is left and close the file; nothing happens the second time."""
        if not self.closed:
            self.closed = True
            try:
                self._file.flush()
            finally:
                self._file.close()

    def _add(self, step: int, **value: Any) -> None:
        values = [self._summary.Summary.Value(**value)]
        self._write(step, summary=self._summary.Summary(value=values))

    def _write(self, step: int = 0, **content: Any) -> None:
        self._expect_open()
        event = self._event.Event(wall_time=time.time(), step=step, **content)
        self._file.write(event.SerializeToString())

    def _expect_open(self) -> None:
        expect(not self.closed, "events", "a writer that is open", path=str(self.path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def require_tensorboardx() -> None:
    """Raise ChainruleError where tensorboardX is missing, naming the extra that brings it."""
    _tensorboardx()


def _tensorboardx() -> tuple[Any, Any, Any]:
    """Give the writer of records and the modules of messages."""
    try:
        return (
            importlib.import_module("tensorboardX.record_writer").RecordWriter,
            importlib.import_module("tensorboardX.proto.event_pb2"),
            importlib.import_module("tensorboardX.proto.summary_pb2"),
        )
    except ModuleNotFoundError as error:
        raise ChainruleError(
            "TensorBoard's events are written by tensorboardX, which is not installed; "
            "pip install 'chainrule[tensorboard]'"
        ) from error


def _unused(folder: Path) -> Path:
    """Name a file after the second and the process, and after a count where that is taken.

    TensorBoard reads files in the order of their names: later ones continue earlier ones.
    """
    stem = f"events.out.tfevents.{int(time.time()):010d}.{os.getpid()}"
    names = (folder / f"{stem}.{count}" for count in itertools.count())
    return next(path for path in names if not path.exists())
