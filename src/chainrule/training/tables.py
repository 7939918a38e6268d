"""Tables of an evaluation as CSV: confusion, classes, calibration."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from chainrule.engine.op import Array
from chainrule.errors import ShapeError, expect
from chainrule.formats.atomic import write_atomic
from chainrule.training.metrics import ClassTable, Evaluation, confusion_percent
from chainrule.training.metrics_calibration import Calibration
from chainrule.training.metrics_checks import as_array
from chainrule.training.records import csv_text

CONFUSION, PERCENT = "confusion.csv", "confusion_percent.csv"
PER_CLASS, CALIBRATION = "per_class.csv", "calibration.csv"
TABLES = (CONFUSION, PERCENT, PER_CLASS, CALIBRATION)
"""The files that `write_tables` writes."""

_FORMULA = "=+-@\t\r'"  # what a spreadsheet takes for a formula, and the mark that says it is none


def write_tables(
    folder: str | os.PathLike[str], evaluation: Evaluation, classes: Sequence[str]
) -> list[str]:
    """Write the tables that the evaluation has, each whole or not at all; gives their names.

    Raises ShapeError where `classes` are not as many as those measured, OSError if the disk
    refuses.

    >>> import tempfile, numpy as np
    >>> write_tables(tempfile.mkdtemp(), Evaluation(0.1, 1.0, np.eye(2, dtype=int)), ["a", "b"])
    ['confusion.csv', 'confusion_percent.csv', 'per_class.csv']
    """
    texts: dict[str, str] = {}
    if evaluation.confusion.size:
        texts[CONFUSION] = confusion_csv(evaluation.confusion, classes)
        texts[PERCENT] = confusion_percent_csv(evaluation.confusion, classes)
    table = evaluation.per_class
    if table is not None:
        texts[PER_CLASS] = per_class_csv(table, classes)
    if evaluation.calibration is not None:
        texts[CALIBRATION] = calibration_csv(evaluation.calibration)
    for name, text in texts.items():
        write_atomic(Path(folder) / name, text)
    return list(texts)


def confusion_csv(confusion: Any, classes: Sequence[str]) -> str:
    """Write counts (C, C): a row for each true class, a column for each predicted one.

    Names are quoted where CSV needs it.  One that a spreadsheet would take for a formula (it
    begins with =, +, -, @, a tab or a return, and is no number) gets an apostrophe in front; so
    does one that begins with an apostrophe, so that no two names become one.

    >>> print(confusion_csv([[3, 1], [0, 4]], ["cat", 'the "other", =x']).strip())
    true/predicted,cat,"the ""other"", =x"
    cat,3,1
    "the ""other"", =x",0,4
    """
    counts = as_array(confusion)
    _check_names("confusion_csv", counts, classes)
    return _square(classes, ([str(int(value)) for value in row] for row in counts))


def confusion_percent_csv(confusion: Any, classes: Sequence[str]) -> str:
    """Write each count (C, C) in per cent of its row; cells of a class without images are empty.

    >>> print(confusion_percent_csv([[3, 1], [0, 0]], ["cat", "=dog"]).strip())
    true/predicted,cat,'=dog
    cat,75.0000,25.0000
    '=dog,,
    """
    counts = as_array(confusion)
    _check_names("confusion_percent_csv", counts, classes)
    percent = confusion_percent(counts)
    return _square(classes, ([_number(value, 4) for value in row] for row in percent))


def per_class_csv(table: ClassTable, classes: Sequence[str]) -> str:
    """Write precision, recall, F1 and support, a class (or label) a row; undefined is empty.

    >>> import numpy as np
    >>> counts = np.array([3, 0]), np.array([4, 0]), np.array([3, 1])
    >>> print(per_class_csv(ClassTable(*counts), ["cat", "dog"]).strip())
    class,precision,recall,f1,support
    cat,0.750000,1.000000,0.857143,3
    dog,,0.000000,0.000000,1
    """
    _check_names("per_class_csv", table.support, classes)
    shares = zip(table.precision, table.recall, table.f1, strict=True)
    rows = (
        [guarded(name), *(_number(value, 6) for value in values), str(int(support))]
        for name, values, support in zip(classes, shares, table.support, strict=True)
    )
    return csv_text(["class", "precision", "recall", "f1", "support"], rows)


def calibration_csv(calibration: Calibration) -> str:
    """Write the bins: their edges, images, mean confidence and share of right answers.

    >>> import numpy as np
    >>> bins = Calibration(np.array([0, 4]), np.array([0.0, 3.6]), np.array([0, 3]))
    >>> print(calibration_csv(bins).strip())
    above,up_to,images,confidence,accuracy
    0.000000,0.500000,0,,
    0.500000,1.000000,4,0.900000,0.750000
    """
    edges, c = calibration.edges, calibration
    rows = (
        [
            _number(edges[b], 6),
            _number(edges[b + 1], 6),
            str(int(c.counts[b])),
            _number(c.confidence[b], 6),
            _number(c.accuracy[b], 6),
        ]
        for b in range(len(c.counts))
    )
    return csv_text(["above", "up_to", "images", "confidence", "accuracy"], rows)


def _check_names(name: str, values: Array, classes: Sequence[str]) -> None:
    rule = f"a name for each of {len(values)} classes"
    expect(len(values) == len(classes), name, rule, error=ShapeError, names=len(classes))


def _square(classes: Sequence[str], rows: Iterable[list[str]]) -> str:
    names = [guarded(name) for name in classes]
    lines = ([name, *row] for name, row in zip(names, rows, strict=True))
    return csv_text(["true/predicted", *names], lines)


def guarded(name: str) -> str:
    """Put an apostrophe before what a spreadsheet would compute.

    >>> guarded("=1+1"), guarded("-3.5"), guarded("cat")
    ("'=1+1", '-3.5', 'cat')
    """
    if not name or name[0] not in _FORMULA:
        return name
    try:
        float(name)
    except ValueError:
        return "'" + name
    return name


def _number(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"
