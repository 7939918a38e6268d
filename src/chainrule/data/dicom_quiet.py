"""pydicom loaded when it is needed, and kept from saying what stands in a file's header.

Its warnings and log lines quote values: names, dates, numbers of patients.  Filters of `warnings`
belong to the whole process, and any thread that leaves a `catch_warnings` takes back those that
others set.  So what pydicom calls to warn is exchanged once, for something that asks whether this
thread is reading a file here; its loggers ask the same.  Other threads, and other uses of pydicom,
find it as it was.
"""

from __future__ import annotations

import importlib
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from chainrule.errors import DataError

Result = TypeVar("Result")

EXTRA = "pip install chainrule[dicom]"
"""What brings pydicom and the decoders."""

_LOGGERS = (
    *("pydicom", "pydicom.pixels.decoders.base", "pydicom.pixels.utils"),
    *("pylibjpeg", "pylibjpeg.utils", "openjpeg", "openjpeg.utils"),
)
_NEEDED = ("pydicom.filereader", "pydicom.pixels.decoders.base", "pydicom.encaps", "pydicom.uid")


class _Reading(threading.local):
    """How many readings this thread is in, one within the other."""

    depth = 0


_reading = _Reading()


class _Warnings:
    """The module `warnings`, but silent in a thread that reads."""

    def __getattr__(self, name: str) -> Any:
        return getattr(warnings, name)

    def warn(
        self, message: Any, category: type[Warning] | None = None, stacklevel: int = 1
    ) -> None:
        if not _reading.depth:
            warnings.warn(message, category, stacklevel=stacklevel + 1)


class _Silence(logging.Filter):
    """Lets a record through unless its thread reads."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _reading.depth


def pydicom(name: str) -> Any:
    """Load pydicom, whose parts are then its attributes; `name` begins the message if it is absent.

    Raises DataError, which says how to install it.

    >>> pydicom("scan.dcm").uid.RLELossless.name
    'RLE Lossless'
    """
    try:
        return _loaded()
    except ImportError:
        pass
    raise DataError(f"{name}: a DICOM file needs pydicom, which is not installed; {EXTRA}")


@cache
def _loaded() -> Any:
    for part in _NEEDED:
        importlib.import_module(part)
    misc: Any = importlib.import_module("pydicom.misc")
    if not isinstance(misc.warnings, _Warnings):
        misc.warnings = _Warnings()  # the one place where pydicom warns
    silence = _Silence()
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(silence)
    return importlib.import_module("pydicom")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom silent in this thread until the `with` ends.

    >>> with quiet():
    ...     pydicom("scan.dcm").misc.warn_and_log("the name of somebody")
    """
    _reading.depth += 1
    try:
        yield
    finally:
        _reading.depth -= 1


def attempt(name: str, reason: str, work: Callable[[], Result]) -> Result:
    """Do some work of pydicom's in silence; whatever it raises becomes DataError with our words.

    The message is "NAME: REASON".  The error comes without its cause, whose text would quote the
    file.

    >>> attempt("scan.dcm", "is damaged; remove it", lambda: int("Somebody^Known"))
    Traceback (most recent call last):
    chainrule.errors.DataError: scan.dcm: is damaged; remove it
    """
    with quiet():
        try:
            return work()
        except DataError as error:
            known: DataError | None = error
        except Exception:  # anything at all, for damaged files
            known = None
    # out of the handler, and without what was being handled: a traceback would show its text
    told = known or DataError(f"{name}: {reason}")
    told.__cause__ = told.__context__ = None
    raise told
