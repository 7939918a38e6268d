"""An evaluation as files: tables, JSON, the confusion and pictures of examples."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from chainrule.errors import KindError, expect, failure
from chainrule.formats.atomic import write_atomic
from chainrule.retrieval.evaluation import Evaluation
from chainrule.retrieval.evaluation_tables import classes_csv, modes_csv, queries_csv
from chainrule.retrieval.examples import Examples, examples_png
from chainrule.retrieval.metrics import Scores
from chainrule.training.plots import confusion_png
from chainrule.training.tables import confusion_csv

JSON, MODES_CSV, CLASSES_CSV = "evaluation.json", "evaluation.csv", "classes.csv"
QUERIES_CSV, CONFUSION_CSV = "queries.csv", "confusion.csv"
CONFUSION_PNG, EXAMPLES_PNG = "confusion.png", "examples.png"
_GAIN = ("map", "low", "high")
FILES = (MODES_CSV, CLASSES_CSV, QUERIES_CSV, CONFUSION_CSV, CONFUSION_PNG, EXAMPLES_PNG, JSON)
"""All that `write` may write, in this order."""


@dataclass(frozen=True)
class Written:
    """The names of the files that were written, and why others were not."""

    files: tuple[str, ...]
    left_out: dict[str, str]


def write(
    folder: str | os.PathLike[str],
    evaluation: Evaluation,
    classes: Sequence[str],
    *,
    settings: Mapping[str, Any] | None = None,
    ids: Sequence[Any] | None = None,
    examples: Examples | None = None,
) -> Written:
    """Write an evaluation into a folder, which is made if need be; each file whole or not at all.

    - evaluation.csv: a row a mode; classes.csv: a row for each mode and class; queries.csv: a row
      a query, with its number, or what `ids` (Q,) call it, and each mode's average precision;
      confusion.csv: counts, rows true and columns predicted, where predictions are there.
    - confusion.png, and with `examples` examples.png.  Where matplotlib is missing they are left
      out, and `left_out` says so.
    - evaluation.json: all of it but the queries, with `settings` (plain values); it comes last, so
      that it is there if the others are.

    Undefined values are empty cells, and null.  Files of these names that do not come of this
    evaluation are removed.  Paths are in none of them unless `ids` or `settings` hold them.
    Raises ShapeError unless there is a name for each class and query, KindError for settings that
    JSON cannot hold, OSError if the disk refuses.

    >>> import tempfile
    >>> import numpy as np
    >>> from chainrule.retrieval.evaluation import evaluate
    >>> found = evaluate(lambda mode: [(slice(0, 1), np.array([[0.9, 0.2]]))], [0], [0, 1])
    >>> write(tempfile.mkdtemp(), found, ["cat", "dog"]).files
    ('evaluation.csv', 'classes.csv', 'queries.csv', 'evaluation.json')
    """
    e, names = evaluation, list(classes)
    expect(len(names) == e.classes, "write", f"a name for each of {e.classes} classes", names=names)
    count = len(e.labels)
    fits = ids is None or len(ids) == count
    expect(fits, "write", f"an id for each of {count} queries", ids=len(ids or ()))
    contents: dict[str, bytes | str] = {
        MODES_CSV: modes_csv(e),
        CLASSES_CSV: classes_csv(e, names),
        QUERIES_CSV: queries_csv(e, names, ids),
    }
    left_out: dict[str, str] = {}
    confusion = e.confusion
    if confusion is not None:
        contents[CONFUSION_CSV] = confusion_csv(confusion, names)
        title = f"queries: {100 * e.accuracy:.1f} % predicted rightly"
        _draw(contents, left_out, CONFUSION_PNG, lambda: confusion_png(confusion, names, title))
    if examples is not None:
        _draw(contents, left_out, EXAMPLES_PNG, lambda: examples_png(e, names, examples))
    contents[JSON] = _json(e, names, settings or {}, left_out)
    where = Path(folder)
    where.mkdir(parents=True, exist_ok=True)
    (where / JSON).unlink(missing_ok=True)  # until it is there again, the others may be of two
    for name in FILES:
        if name in contents:
            write_atomic(where / name, contents[name])
        else:
            (where / name).unlink(missing_ok=True)
    return Written(tuple(name for name in FILES if name in contents), left_out)


def _draw(
    contents: dict[str, bytes | str], left_out: dict[str, str], name: str, draw: Callable[[], bytes]
) -> None:
    """Draw a picture where matplotlib is there, else note that it is not."""
    if find_spec("matplotlib") is None:
        left_out[name] = "matplotlib is not installed; pip install chainrule[demo]"
    else:
        contents[name] = draw()


def to_dict(evaluation: Evaluation, classes: Sequence[str]) -> dict[str, Any]:
    """Give all that was measured but the single queries, as plain values ready for JSON.

    What is not defined is None.

    >>> import numpy as np
    >>> from chainrule.retrieval.evaluation import evaluate
    >>> found = evaluate(lambda mode: [(slice(0, 1), np.array([[0.9, 0.2]]))], [0], [0, 1])
    >>> to_dict(found, ["cat", "dog"])["modes"]["hard"]["means"]["ap"]
    1.0
    """
    e = evaluation
    gains = {mode: e.gain(mode) for mode in e.rankings if mode != "off"}
    confusion = e.confusion
    found = {
        "queries": len(e.labels),
        "rows": len(e.row_labels),
        "classes": list(classes),
        "places": list(e.rankings["off"].places),
        "seed": e.seed,
        "grouped": e.groups is not None,
        "accuracy": e.accuracy,
        "confusion": None if confusion is None else confusion.tolist(),
        "modes": {mode: _scores(scores) for mode, scores in e.scores.items()},
        "gain_over_off": {
            mode: dict(zip(_GAIN, gain, strict=True)) for mode, gain in gains.items()
        },
    }
    return {name: _defined(value) for name, value in found.items()}


def _scores(scores: Scores) -> dict[str, Any]:
    return {
        "queries": scores.queries,
        "without": scores.without,
        "interval": list(scores.interval),
        "means": scores.means,
        "macro": scores.macro,
        "classes": {name: values.tolist() for name, values in scores.classes.items()},
        "support": scores.support.tolist(),
    }


def _defined(value: Any) -> Any:
    """Put None in the place of NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {name: _defined(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_defined(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json(
    evaluation: Evaluation,
    classes: Sequence[str],
    settings: Mapping[str, Any],
    left_out: Mapping[str, str],
) -> str:
    found = {"settings": dict(settings), **to_dict(evaluation, classes), "left_out": dict(left_out)}
    try:
        return json.dumps(found, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as error:
        rule = f"settings that JSON can hold ({error})"
        raise failure("write", rule, error=KindError, settings=settings) from error
